"""Python environments of projects: what a study needs beyond this server's packages, outside of its repository.

An environment is a folder that is made once and never changed: a virtual environment with the packages that came from
an index, and behind them this server's own, so that marimo and our programs stay what they are. Projects that need the
same packages share one. A project's record says which is its own; without a record it uses this server's Python.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import secrets
import shutil
import site
import sys
import sysconfig
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec

from jupyterlab_postdoc.errors import PostdocError
from jupyterlab_postdoc.workspace.installed import Installed, normal
from jupyterlab_postdoc.workspace.installer import Installer, Job, requirement
from jupyterlab_postdoc.workspace.workspace import Python

KEPT = ("marimo", "msgspec")
"""With all that these need, they are the same in every environment: the programs that run notebooks are ours."""
OURS = {"jupyterlab-postdoc"}
"""It says what a whole server needs; its programs beside a notebook get by with what is kept."""
MAX_WANTED = 100
ROUNDS = 4
KEPT_S = 86_400.0
BEHIND = "zzz-postdoc-server.pth"  # .pth files are read in the order of their names


class Record(msgspec.Struct, forbid_unknown_fields=False):
    """What is kept of a project: ``wanted`` is what was asked for, ``packages`` all that came (names to versions)."""

    root: str
    environment: str
    wanted: list[str] = []
    packages: dict[str, str] = {}
    python: str = ""


@dataclass(frozen=True, slots=True)
class Installation:
    """What an installation did: ``added`` came now, ``packages`` is all that the project has of its own."""

    added: Mapping[str, str]
    packages: Mapping[str, str]
    seconds: float


class Environments:
    """The environments below ``folder``. ``find`` is what a :class:`Workspace` asks."""

    def __init__(self, folder: Path, installer: Installer | None = None) -> None:
        self.folder = folder
        self.installer = installer or Installer()
        self._locks: dict[str, asyncio.Lock] = {}
        self._removing: asyncio.Task[None] | None = None

    def find(self, root: Path) -> Python | None:
        """The project's own environment; None when it has none, or one that was made for another Python."""
        record = self.record(root)
        if record is None or not record.environment or record.python != _python():
            return None
        place = self.folder / record.environment
        executable = place / "bin" / "python"
        return Python(executable, place, _packages(place)) if executable.exists() else None

    def record(self, root: Path) -> Record | None:
        """What is known of a project; None when nothing was ever installed for it."""
        try:
            return msgspec.json.decode(self._record(root).read_bytes(), type=Record)
        except (OSError, msgspec.DecodeError):
            return None

    async def install(self, root: Path, wanted: Sequence[str]) -> Installation:
        """Give the project these packages (``scikit-learn>=1.4``) beside those that it has; its old environment stays
        as it is for the processes that use it.

        PostdocError: bad_message, tool_failed (no such package, no wheel, no way to the index …), storage_full. Then
        nothing was changed.
        """
        began, root = time.monotonic(), root.resolve()
        async with self._locks.setdefault(_key(root), asyncio.Lock()):
            old = self.record(root)
            whole = _merged(old.wanted if old else (), [requirement(text) for text in wanted])
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            work = self.folder / f".work-{secrets.token_hex(6)}"
            work.mkdir(mode=0o700)
            try:
                pins = await self._resolved(whole, work)
                name = await self._made(pins, work) if pins else ""
                record = Record(str(root), name, whole, pins, _python())
                await asyncio.to_thread(self._keep, root, record)
                if old is not None and old.environment:
                    _touch(self.folder / old.environment)  # processes may go on with it
            except OSError as error:
                code = "storage_full" if error.errno in (28, 122) else "tool_failed"
                raise PostdocError(code, f"The environment could not be made: {error.strerror}.") from error
            finally:
                await asyncio.to_thread(shutil.rmtree, work, True)
        before = old.packages if old is not None and old.python == _python() else {}
        added = {name: version for name, version in pins.items() if before.get(name) != version}
        return Installation(added, pins, time.monotonic() - began)

    async def start(self) -> None:
        """Remove what nobody needs any more, in the background."""
        if aside := await asyncio.to_thread(self.tidy):
            self._removing = asyncio.create_task(asyncio.to_thread(remove, aside))

    def adopt(self, source: Path, root: Path) -> None:
        """Let a copy of a project (a fork) have the packages of the original. Blocking, and quick."""
        record = self.record(source)
        if record is not None:
            self._keep(root, msgspec.structs.replace(record, root=str(root.resolve())))

    def tidy(self) -> list[Path]:
        """Forget projects that are gone, and put aside what belongs to nobody: the folders to be removed.

        Quick; see :func:`remove`. What was made, or went out of use, within ``KEPT_S`` stays: another server of the
        same data may be at work on it.
        """
        old_enough = time.time() - KEPT_S
        used, aside = set(), []
        for path in self.folder.glob("projects/*.json"):
            with suppress(OSError, msgspec.DecodeError):
                record = msgspec.json.decode(path.read_bytes(), type=Record)
                root = Path(record.root)
                if root.is_dir() or not root.parent.is_dir():  # a folder that is not mounted now may come back
                    used.add(record.environment)
                    continue
            with suppress(OSError):
                path.unlink()
        for place in self.folder.iterdir() if self.folder.is_dir() else ():
            with suppress(OSError):
                if place.name == "projects" or place.name in used or place.stat().st_mtime > old_enough:
                    continue
                aside.append(place.rename(place.with_name(f".old-{secrets.token_hex(6)}")))
        return aside

    async def _resolved(self, wanted: Sequence[str], work: Path) -> dict[str, str]:
        """What has to come, sorted. Where it replaces one of this server's packages, those that need the other version
        come along: pandas with an older numpy.
        """
        server = Installed()
        kept = await asyncio.to_thread(server.closure, KEPT)
        along: set[str] = set()
        for _ in range(ROUNDS):
            pins = await self.installer.resolve(Job([*wanted, *sorted(along)], kept), work)
            broken = await asyncio.to_thread(server.broken_by, pins) - along - OURS
            if not broken:
                return dict(sorted(pins.items()))
            along |= broken
        raise PostdocError(
            "tool_failed",
            f"{', '.join(wanted)} cannot stand beside the packages that are there: too many would have to change.",
            next="Ask for another version, or do without the package.",
        )

    async def _made(self, pins: Mapping[str, str], work: Path) -> str:
        """The environment with exactly these packages, made now if it is not there; its name."""
        listed = "\n".join([_python(), *_server_sites(), *(f"{name}=={version}" for name, version in pins.items())])
        name = hashlib.sha256(listed.encode()).hexdigest()[:20]
        place = self.folder / name
        if (place / "bin" / "python").exists():
            _touch(place)
            return name
        made, target = work / "environment", work / "packages"
        await self.installer.fetch(pins, target, work)
        await asyncio.to_thread(_assemble, made, target, place)
        try:
            made.rename(place)
        except OSError:
            if not (place / "bin" / "python").exists():  # else another project has just made the same
                raise
        return name

    def _record(self, root: Path) -> Path:
        return self.folder / "projects" / f"{_key(root)}.json"

    def _keep(self, root: Path, record: Record) -> None:
        path = self._record(root)
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        partial = path.with_suffix(f".{secrets.token_hex(4)}.new")
        partial.write_bytes(msgspec.json.encode(record))
        partial.replace(path)


def remove(folders: Sequence[Path]) -> None:
    """Delete what ``tidy`` has put aside. Blocking."""
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


def _assemble(made: Path, target: Path, place: Path) -> None:
    """A virtual environment at ``made``, to be moved to ``place``, with the packages that were unpacked in ``target``.

    Its Python never runs outside of the sandbox, not even to make it: the packages' .pth files are programs.
    """
    import venv  # not at every start of a server

    class Bare(venv.EnvBuilder):
        """Without activation scripts: nobody works in it by hand, and they would name a folder that is moved."""

        def setup_scripts(self, context: object) -> None: ...

    Bare(symlinks=os.name != "nt", with_pip=False).create(made)
    packages = _packages(made)
    packages.rmdir()
    (target / ".lock").unlink(missing_ok=True)  # uv's
    target.rename(packages)
    scripts = packages / "bin"
    for script in scripts.iterdir() if scripts.is_dir() else ():
        _script(script, made / "bin" / script.name, place)
    calls = "".join(f"; site.addsitedir({path!r})" for path in _server_sites())
    (packages / BEHIND).write_text(f"import site{calls}\n", encoding="utf-8")


def _touch(place: Path) -> None:
    with suppress(OSError):
        os.utime(place)


def _script(script: Path, into: Path, place: Path) -> None:
    """A package's command, made to run with the environment's Python."""
    first, _, rest = script.read_bytes().partition(b"\n")
    if into.exists() or not first.startswith(b"#!") or b"python" not in first or not script.is_file():
        return
    into.write_bytes(b"#!" + os.fsencode(place / "bin" / "python") + b"\n" + rest)
    into.chmod(0o755)


def _packages(place: Path) -> Path:
    variables = {"base": str(place), "platbase": str(place)}
    return Path(sysconfig.get_path("purelib", "venv", vars=variables))


def _server_sites() -> list[str]:
    """Where this server's packages are."""
    found = list(site.getsitepackages())
    if site.ENABLE_USER_SITE:
        found.append(site.getusersitepackages())
    return [path for path in dict.fromkeys(found) if os.path.isdir(path)]


def _python() -> str:
    """What must be the same for an environment to go on being used."""
    return f"{sys.implementation.cache_tag} {sys.prefix}"


def _key(root: Path) -> str:
    return hashlib.sha256(str(root.resolve()).encode()).hexdigest()[:20]


def _merged(old: Sequence[str], new: Sequence[str]) -> list[str]:
    """Requirements of both, one for each package; the newer one wins."""
    from packaging.requirements import Requirement

    whole = {normal(Requirement(text).name): text for text in [*old, *new]}
    if len(whole) > MAX_WANTED:
        raise PostdocError("too_large", f"A project can have at most {MAX_WANTED} packages of its own.")
    return [whole[name] for name in sorted(whole)]
