"""One research repository as tools see it: paths that cannot escape, files with limits, programs in the sandbox."""

from __future__ import annotations

import errno
import os
import secrets
import stat
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from jupyterlab_postdoc.errors import PostdocError
from jupyterlab_postdoc.workspace.processes import Completed, Limits, OnOutput, Process, run, spawn
from jupyterlab_postdoc.workspace.sandbox import Sandbox

SHELL_LIMITS = Limits(memory_bytes=4 << 30, file_bytes=2 << 30, open_files=1024, processes=256)


@dataclass(frozen=True, slots=True)
class Python:
    """What runs a project's code: its ``executable``, the ``folder`` that a sandbox must show, its own ``packages``
    (site-packages).
    """

    executable: Path
    folder: Path
    packages: Path


FindPython = Callable[[Path], "Python | None"]


class Workspace:
    """``root`` is an existing folder. Safe against what runs inside: symlinks planted there lead nowhere.

    ``find_python`` is asked anew for each program that is started: a project gets an environment of its own when its
    first package is installed. Without an answer it is this server's Python.
    """

    def __init__(
        self, root: Path, *, sandbox: Sandbox, limits: Limits | None = None, find_python: FindPython | None = None
    ) -> None:
        self.root = root.resolve(strict=True)
        self.sandbox = sandbox
        self.limits = limits or SHELL_LIMITS
        self._find_python = find_python

    @property
    def environment(self) -> Python | None:
        """The project's own environment, if it has one."""
        return self._find_python(self.root) if self._find_python is not None else None

    @property
    def python(self) -> Path:
        """The interpreter that runs this project's code now."""
        own = self.environment
        return own.executable if own is not None else Path(sys.executable)

    @property
    def readonly(self) -> tuple[Path, ...]:
        """What a sandbox shows beside the usual, and nobody can write there."""
        own = self.environment
        return (own.folder,) if own is not None else ()

    def env(self) -> dict[str, str]:
        """What a program of this project sees: the sandbox's, with the project's own Python first on the path."""
        env, own = self.sandbox.env(self.root), self.environment
        return env if own is None else {**env, "PATH": f"{own.executable.parent}:{env['PATH']}"}

    def resolve(self, path: str) -> Path:
        """The absolute path of ``path`` below the root, symlinks followed.

        PostdocError("forbidden") for anything that leads out or into ``.git``. An absolute path below the root is fine.
        """
        if "\0" in path or any(0xD800 <= ord(c) <= 0xDFFF for c in path):
            raise self._forbidden(path, "is not a file name")
        given = Path(path)
        if ".." in given.parts:
            raise self._forbidden(path, "contains '..'")
        if given.is_absolute() and not given.is_relative_to(self.root):
            raise self._forbidden(path, "lies outside of the research folder")
        try:
            full = (self.root / given).resolve()
        except (OSError, RuntimeError) as error:
            raise self._forbidden(path, "cannot be followed") from error
        if not full.is_relative_to(self.root):
            raise self._forbidden(path, "leads out of the research folder")
        if any(part.lower() == ".git" for part in full.relative_to(self.root).parts):
            raise self._forbidden(path, "is git's own; use the git tool instead")
        return full

    def relative(self, path: Path) -> str:
        """How messages and events name a file: relative to the root, with forward slashes."""
        return path.relative_to(self.root).as_posix()

    def read_bytes(self, path: str, *, max_bytes: int = 50_000_000) -> bytes:
        """PostdocError: not_found, forbidden, too_large."""
        full = self.resolve(path)
        descriptor = self._open(path, full, os.O_RDONLY | os.O_NONBLOCK)
        try:
            kind = os.fstat(descriptor)
            if not stat.S_ISREG(kind.st_mode):
                raise PostdocError("bad_message", f"{path!r} is not a file.", next="Name a file.")
            if kind.st_size > max_bytes:
                raise PostdocError(
                    "too_large",
                    f"{path!r} has {kind.st_size:,} bytes; the limit is {max_bytes:,}.",
                    next="Read a part of it with the shell, for example with head.",
                )
            with os.fdopen(descriptor, "rb", closefd=False) as file:
                return file.read(max_bytes)
        finally:
            os.close(descriptor)

    def read_text(self, path: str, *, max_bytes: int = 2_000_000) -> str:
        """UTF-8 (a byte order mark is dropped), UTF-16 by its mark. PostdocError: as read_bytes; bad_message for
        binary files.
        """
        data = self.read_bytes(path, max_bytes=max_bytes)
        encoding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError as error:
            text = ""
            if b"\0" not in data[:8192]:
                with suppress(UnicodeDecodeError):
                    text = data.decode("cp1252")  # spreadsheets still write it
            if not text:
                raise self._binary(path) from error
        if "\0" in text:
            raise self._binary(path)
        return text

    def write_text(self, path: str, text: str, *, max_bytes: int = 5_000_000) -> Path:
        """Atomic: the old file or the new one, never half. Makes parent folders. PostdocError: forbidden, too_large,
        storage_full.
        """
        return self.write_bytes(path, text.encode("utf-8", "surrogatepass"), max_bytes=max_bytes)

    def write_bytes(self, path: str, data: bytes, *, max_bytes: int = 50_000_000) -> Path:
        """As write_text."""
        if len(data) > max_bytes:
            raise PostdocError(
                "too_large", f"{len(data):,} bytes for {path!r}; the limit is {max_bytes:,}.", next="Write less."
            )
        full = self.resolve(path)
        if full == self.root or full.is_dir():
            raise PostdocError("bad_message", f"{path!r} is a folder.", next="Name a file.")
        temporary = full.with_name(f".{full.name[:80]}.{secrets.token_hex(4)}.tmp")
        try:
            full.parent.mkdir(parents=True, exist_ok=True)
            self._inside(path, full.parent)
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644)
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, full)
        except OSError as error:
            with suppress(OSError):
                temporary.unlink()
            raise self._failed(path, error) from error
        return full

    async def execute(
        self,
        command: str | Sequence[str],
        *,
        timeout: float = 120.0,
        on_output: OnOutput | None = None,
        env: Mapping[str, str] | None = None,
        max_output: int = 1_000_000,
    ) -> Completed:
        """Run a shell script (str) or argv in the sandbox, cwd = root, no network; stdout holds both streams in
        order.
        """
        argv = ["/bin/sh", "-c", command] if isinstance(command, str) else list(command)
        return await run(
            self.sandbox.wrap(argv, root=self.root, readonly=self.readonly),
            cwd=self.root,
            env={**self.env(), **(env or {})},
            timeout=timeout,
            limits=self.limits,
            on_output=on_output,
            max_output=max_output,
            merge=True,
        )

    async def spawn(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        limits: Limits | None = None,
        line_limit: int = 1 << 16,
        fds: Sequence[int] = (),
    ) -> Process:
        """Start a long-lived program in the sandbox with pipes on all three streams; it inherits ``fds``."""
        return await spawn(
            self.sandbox.wrap(argv, root=self.root, readonly=self.readonly),
            cwd=self.root,
            env={**self.env(), **(env or {})},
            limits=limits or self.limits,
            stdin=True,
            line_limit=line_limit,
            fds=fds,
        )

    def _open(self, path: str, full: Path, flags: int) -> int:
        """Open and then look at what was opened: a link swapped in after ``resolve`` is caught."""
        try:
            descriptor = os.open(full, flags | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError as error:
            raise self._failed(path, error) from error
        try:
            self._inside(path, full.parent)
        except PostdocError:
            os.close(descriptor)
            raise
        return descriptor

    def _inside(self, path: str, folder: Path) -> None:
        if folder.resolve() != folder or not folder.is_relative_to(self.root):
            raise self._forbidden(path, "leads out of the research folder")

    def _forbidden(self, path: str, why: str) -> PostdocError:
        return PostdocError(
            "forbidden", f"The path {path[:200]!r} {why}.", next="Use a path inside the research folder."
        )

    def _binary(self, path: str) -> PostdocError:
        return PostdocError(
            "bad_message", f"{path!r} is not a text file.", next="Open it in the notebook with a reader for its format."
        )

    def _failed(self, path: str, error: OSError) -> PostdocError:
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            return PostdocError("not_found", f"There is no file {path!r}.", next="List the folder, or write it first.")
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return PostdocError(
                "storage_full",
                f"The disk is full: {path!r} was not written and nothing was lost.",
                next="Free some space.",
            )
        if error.errno == errno.ELOOP:
            return self._forbidden(path, "is a symbolic link")
        if error.errno == errno.EISDIR:
            return PostdocError("bad_message", f"{path!r} is a folder.", next="Name a file.")
        return PostdocError(
            "tool_failed", f"{path!r} could not be used: {error.strerror}.", next="Check its permissions."
        )
