"""One `git` process: its environment, its limits, and what its failure means to a person.

Nothing of the machine's or the user's configuration is read. What cannot be kept from being read (the checkout's own
``.git/config``, in the two calls that touch its refs) is overruled by the environment's configuration, which wins.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from jupyterlab_postdoc.errors import PostdocError

MAX_OUTPUT = 32 << 20
MAX_STDERR = 64 << 10

_PASSED_ON = ("PATH", "TMPDIR", "TMP", "TEMP", "SYSTEMROOT", "LD_LIBRARY_PATH")

_ENVIRONMENT = {
    "HOME": os.devnull,
    "LANG": "C.UTF-8",
    "LC_ALL": "C.UTF-8",
    "LANGUAGE": "C",
    "TZ": "UTC",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_ATTR_NOSYSTEM": "1",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_ASKPASS": "true",
    "SSH_ASKPASS": "true",
    "GIT_SSH_COMMAND": "false",
    "GIT_EDITOR": "true",
    "GIT_SEQUENCE_EDITOR": "true",
    "GIT_PAGER": "cat",
    "GIT_PROTOCOL_FROM_USER": "0",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_MERGE_AUTOEDIT": "no",
    "GIT_ADVICE": "0",
}

_CONFIG = {
    "core.hooksPath": os.devnull,
    "core.fsmonitor": "false",
    "core.attributesFile": os.devnull,
    "core.excludesFile": os.devnull,
    "core.sshCommand": "false",
    "core.askPass": "true",
    "core.pager": "cat",
    "core.editor": "true",
    "core.autocrlf": "false",
    "core.safecrlf": "false",
    "core.quotePath": "false",
    "core.splitIndex": "false",
    "core.logAllRefUpdates": "true",
    "credential.helper": "",
    "commit.gpgSign": "false",
    "tag.gpgSign": "false",
    "gpg.program": "false",
    "log.showSignature": "false",
    "diff.external": "",
    "gc.auto": "0",
    "maintenance.auto": "false",
    "fetch.recurseSubmodules": "false",
    "submodule.recurse": "false",
    "transfer.fsckObjects": "true",
    "protocol.ext.allow": "never",
}


@dataclass(frozen=True, slots=True)
class GitResult:
    """What one call gave: exit status, and both outputs (stdout undecoded)."""

    returncode: int
    stdout: bytes
    stderr: str

    @property
    def text(self) -> str:
        """The standard output without the last line end; undecodable bytes survive as surrogates."""
        return os.fsdecode(self.stdout).rstrip("\n")


def environment(
    *, transport: str | None, old_git: bool, extra: Mapping[str, str], config: Mapping[str, str]
) -> dict[str, str]:
    """The whole environment of a call. ``transport`` is the only protocol that may be used (None: no transfer)."""
    # A commit that was reported as made must outlive a power cut: objects, index and refs are all synced.
    durable = (
        {"core.fsyncObjectFiles": "true"} if old_git else {"core.fsync": "added,reference", "core.fsyncMethod": "batch"}
    )
    settings = {**_CONFIG, **durable, "protocol.allow": "never", **config}
    if transport is not None:
        settings[f"protocol.{transport}.allow"] = "always"
    env = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    env |= _ENVIRONMENT
    env |= {"GIT_ALLOW_PROTOCOL": transport or "none", "GIT_CONFIG_COUNT": str(len(settings))}
    for index, (key, value) in enumerate(settings.items()):
        env[f"GIT_CONFIG_KEY_{index}"] = key
        env[f"GIT_CONFIG_VALUE_{index}"] = value
    return env | dict(extra)


async def call(
    argv: Sequence[str],
    *,
    cwd: Path,
    env: Mapping[str, str],
    timeout_s: float,
    stdin: bytes | None = None,
    pass_fds: Sequence[int] = (),
) -> GitResult:
    """Run one process in its own process group; the group is gone when this returns, fails or is cancelled.

    ``pass_fds`` are descriptors of ours that it (and what it starts) has too, under the same numbers.
    """
    process = await _spawn(argv, cwd, env, DEVNULL if stdin is None else PIPE, pass_fds)
    try:
        try:
            async with asyncio.timeout(timeout_s):
                # A process that closes its input early says why on stderr.
                stdout, stderr, _ = await asyncio.gather(
                    _read(process.stdout, MAX_OUTPUT, strict=True),
                    _read(process.stderr, MAX_STDERR),
                    _feed(process.stdin, stdin),
                )
                returncode = await process.wait()
        except BaseException:
            await _kill(process)
            raise
    except TimeoutError as exc:
        raise PostdocError(
            "tool_failed",
            f"`git {_verb(argv)}` did not finish within {timeout_s:g} s and was stopped; earlier commits are kept.",
            next="Try again; if it happens again, look for a slow or full disk.",
            retryable=True,
        ) from exc
    return GitResult(returncode, stdout, stderr.decode("utf-8", "replace").strip())


async def _spawn(
    argv: Sequence[str], cwd: Path, env: Mapping[str, str], stdin: int, pass_fds: Sequence[int]
) -> asyncio.subprocess.Process:
    spawning = asyncio.ensure_future(
        asyncio.create_subprocess_exec(
            *argv,
            cwd=cwd,
            env=dict(env),
            stdin=stdin,
            stdout=PIPE,
            stderr=PIPE,
            start_new_session=True,
            pass_fds=pass_fds,
        )
    )
    try:
        return await asyncio.shield(spawning)
    except asyncio.CancelledError:
        # Cancelling the call itself would end the process but not its children.
        await _kill(await spawning)
        raise
    except (FileNotFoundError, PermissionError, NotADirectoryError) as exc:
        if not cwd.is_dir():
            raise PostdocError("not_found", f"The directory {cwd.name!r} does not exist any more.") from exc
        raise missing_git() from exc


async def _kill(process: asyncio.subprocess.Process) -> None:
    """End the whole group and wait for it; a descendant that holds the pipes open must not hold us."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    # Before waiting: asyncio reports the end only when the pipes are closed, and nobody reads them any more.
    process._transport.close()  # type: ignore[attr-defined]
    await asyncio.shield(process.wait())


async def _read(stream: asyncio.StreamReader | None, limit: int, *, strict: bool = False) -> bytes:
    """Everything the stream gives, but at most ``limit`` bytes: more is an error (strict) or dropped."""
    assert stream is not None
    kept = bytearray()
    while chunk := await stream.read(1 << 16):
        kept += chunk[: limit - len(kept)]
        if strict and len(kept) >= limit:
            raise PostdocError("too_large", f"git answered with more than {limit >> 20} MB.")
    return bytes(kept)


async def _feed(stream: asyncio.StreamWriter | None, data: bytes | None) -> None:
    if stream is None or data is None:
        return
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        stream.write(data)
        await stream.drain()
    stream.close()


def _verb(argv: Sequence[str]) -> str:
    return next((part for part in argv[1:] if not part.startswith("-")), "")


def missing_git(found: str = "") -> PostdocError:
    """The error for a machine without git, or with one that is too old."""
    state = f"git {found} was found" if found else "git was not found"
    return PostdocError(
        "tool_failed",
        f"git 2.31 or newer is needed; {state}. Nothing was changed.",
        next="Install git (Debian, Ubuntu: apt install git; macOS: xcode-select --install; conda: conda install git), "
        "then start again.",
    )


def failed(argv: Sequence[str], result: GitResult) -> PostdocError:
    """A person's sentence for a call that failed."""
    said = result.stderr
    lowered = said.lower()
    if "no space left" in lowered or "disk quota" in lowered:
        return PostdocError(
            "storage_full",
            "The disk is full: git could not store the change. Earlier commits are kept.",
            next="Free some space, then resume.",
            retryable=True,
        )
    if "read-only file system" in lowered or "permission denied" in lowered:
        return PostdocError(
            "forbidden",
            "git may not write here: the directory is read-only or belongs to somebody else.",
            next="Make the directory writable for the server's user, then resume.",
            git=said[:500],
        )
    first = next((line for line in said.splitlines() if line.startswith(("fatal:", "error:"))), said.split("\n")[0])
    return PostdocError(
        "tool_failed", f"`git {_verb(argv)}` failed: {first[:300] or result.returncode}", git=said[:2000]
    )
