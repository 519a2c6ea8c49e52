"""Where untrusted code runs: bubblewrap, or (explicitly) nothing.

Inside bubblewrap a program sees one workspace (writable, its ``.git`` read-only), the system's programs and this Python
(read-only), a private home and /tmp; no network, no other process, no other file of the machine.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import site
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from jupyterlab_postdoc.errors import PostdocError
from jupyterlab_postdoc.workspace.processes import Limits, run

HOME = "/tmp/home"
TMPFS_BYTES = 1 << 30
SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/nix/store", "/gnu/store")
ETC = [
    "alternatives",
    "fonts",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "localtime",
    "timezone",
    "passwd",
    "group",
    "hosts",
    "nsswitch.conf",
    "ssl",
    "ca-certificates",
    "pki",
    "mime.types",
    "services",
    "protocols",
]
KERNEL = (
    "/proc/sys",
    "/proc/sysrq-trigger",
    "/proc/irq",
    "/proc/bus",
    "/proc/fs",
    "/proc/acpi",
    "/proc/scsi",
    "/proc/mtrr",
    "/proc/pressure",
)
INSTALL = "Install bubblewrap (Debian, Ubuntu: apt install bubblewrap; Fedora: dnf install bubblewrap) and try again."
ALLOW = "or let the administrator set PostdocApp.allow_unsandboxed = True to run code without a sandbox."


@dataclass(frozen=True, slots=True)
class SandboxStatus:
    """What the probe found. ``why`` is a sentence for a person, ``install_hint`` the next step when not available."""

    name: str | None
    available: bool
    why: str
    install_hint: str = ""


class Sandbox(Protocol):
    """Wraps a command line so that it sees one workspace and nothing else of the machine."""

    name: str
    isolated: bool

    def wrap(
        self,
        argv: Sequence[str],
        *,
        root: Path,
        readonly: Sequence[Path] = (),
        writable: Sequence[Path] = (),
        network: bool = False,
    ) -> list[str]: ...
    def env(self, root: Path) -> dict[str, str]: ...


class BubblewrapSandbox:
    """New user, process, network, IPC and mount namespaces; every capability dropped."""

    name = "bubblewrap"
    isolated = True

    def __init__(self, program: str) -> None:
        self.program = program

    def wrap(
        self,
        argv: Sequence[str],
        *,
        root: Path,
        readonly: Sequence[Path] = (),
        writable: Sequence[Path] = (),
        network: bool = False,
    ) -> list[str]:
        """The full command line. Makes ``root/.git`` when absent: what does not exist cannot be protected."""
        place, git = str(root.resolve()), root.resolve() / ".git"
        if not git.exists():
            git.mkdir()
        command = [self.program, "--unshare-all", "--die-with-parent", "--new-session", "--cap-drop", "ALL"]
        command += ["--share-net", "--ro-bind-try", "/etc/resolv.conf", "/etc/resolv.conf"] if network else []
        command += ["--hostname", "postdoc", *_system(), "--proc", "/proc", "--dev", "/dev"]
        # A server that runs as root is root's uid inside, too, and /proc/sys goes by uid alone, without capabilities:
        # writing core_pattern there would run a program outside. Bubblewrap covers it only when access() says writable.
        for path in KERNEL:
            command += ["--ro-bind", path, path] if os.path.exists(path) else []
        for folder in ("/tmp", "/dev/shm"):
            command += ["--size", str(TMPFS_BYTES), "--perms", "1777", "--tmpfs", folder]
        command += ["--dir", HOME]
        for bound in [*python_paths(), *readonly]:
            command += ["--ro-bind", str(bound), str(bound)]
        for bound in writable:
            command += ["--bind", str(bound), str(bound)]
        command += ["--bind", place, place, "--ro-bind", str(git), str(git)]
        return [*command, "--remount-ro", "/", "--chdir", place, "--", *argv]

    def env(self, root: Path) -> dict[str, str]:  # noqa: ARG002
        """All that a program inside sees; bubblewrap itself is started with it too, since its environment is
        readable.
        """
        return _env(HOME, "/tmp")


class NoSandbox:
    """No isolation beyond a clean environment. Only for code that ships with the package, or by the administrator's
    leave.
    """

    name = "none"
    isolated = False

    def wrap(
        self,
        argv: Sequence[str],
        *,
        root: Path,  # noqa: ARG002
        readonly: Sequence[Path] = (),  # noqa: ARG002
        writable: Sequence[Path] = (),  # noqa: ARG002
        network: bool = False,  # noqa: ARG002
    ) -> list[str]:
        return list(argv)

    def env(self, root: Path) -> dict[str, str]:
        """Its home is a private folder per workspace, outside of it, so that caches do not reach the repository."""
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        home = cache / "jupyterlab-postdoc" / hashlib.sha256(str(root.resolve()).encode()).hexdigest()[:16]
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        return _env(str(home), tempfile.gettempdir())


def _env(home: str, tmp: str) -> dict[str, str]:
    env = {
        "PATH": f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin",
        "HOME": home,
        "LANG": "C.UTF-8",
        "TMPDIR": tmp,
    }
    if site.ENABLE_USER_SITE:  # packages of `pip install --user` are found by the home folder, which is another one now
        env["PYTHONUSERBASE"] = site.getuserbase()
    return env


def _system() -> Iterator[str]:
    for path in SYSTEM:
        if os.path.islink(path):
            yield from ("--symlink", os.readlink(path), path)
        elif os.path.isdir(path):
            yield from ("--ro-bind", path, path)
    for name in ETC:
        yield from ("--ro-bind-try", f"/etc/{name}", f"/etc/{name}")


def python_paths() -> list[Path]:
    """What this Python needs: environment, base installation, user packages, and this package where it lies."""
    wanted = [Path(p) for p in (sys.prefix, sys.exec_prefix, sys.base_prefix, sys.base_exec_prefix)]
    wanted += [Path(sys.executable).resolve().parent.parent, Path(__file__).resolve().parent.parent]
    if site.ENABLE_USER_SITE:
        wanted.append(Path(site.getusersitepackages()))
    found: list[Path] = []
    for path in wanted:
        covered = any(path == other or other in path.parents for other in [*found, Path("/usr")])
        if not covered and len(path.parts) > 2 and path.is_dir():
            found.append(path)
    return found


_status: SandboxStatus | None = None


async def probe(*, refresh: bool = False) -> SandboxStatus:
    """Run a real command in the sandbox once and remember what happened."""
    global _status
    if _status is None or refresh:
        _status = await _probe()
    return _status


async def _probe() -> SandboxStatus:
    if sys.platform != "linux":
        return SandboxStatus(None, False, "Bubblewrap exists only on Linux.", f"Use a Linux machine, {ALLOW}")
    program = shutil.which("bwrap")
    if program is None:
        return SandboxStatus(None, False, "Bubblewrap (bwrap) is not installed.", f"{INSTALL} Or {ALLOW[3:]}")
    sandbox = BubblewrapSandbox(program)
    with tempfile.TemporaryDirectory(prefix="postdoc-probe-") as folder:
        argv = sandbox.wrap([sys.executable, "-I", "-S", "-c", "print(6 * 7)"], root=Path(folder))
        try:
            done = await run(argv, cwd=Path(folder), env=sandbox.env(Path(folder)), timeout=20, limits=Limits())
        except PostdocError as error:
            return SandboxStatus(None, False, error.message, INSTALL)
    if done.returncode == 0 and done.stdout.strip() == "42":
        return SandboxStatus(sandbox.name, True, "Code runs in bubblewrap: no network, only its own workspace.")
    said = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
    return SandboxStatus(None, False, f"Bubblewrap does not work here: {said[0][:300]}", _hint(said[0]))


def _hint(said: str) -> str:
    if any(word in said.lower() for word in ("namespace", "permi", "uid map", "permitted")):
        return (
            "Unprivileged user namespaces are switched off: in a container start it with "
            "--security-opt seccomp=unconfined (or allow user namespaces); on Ubuntu 24.04 set "
            "sysctl kernel.apparmor_restrict_unprivileged_userns=0; " + ALLOW
        )
    return f"{INSTALL} Or {ALLOW[3:]}"


def choose(status: SandboxStatus, *, trusted: bool, allow_unsandboxed: bool) -> Sandbox:
    """Bubblewrap when it works; else nothing for trusted code or by the administrator's leave, else
    ``sandbox_missing``.
    """
    if status.available:
        program = shutil.which("bwrap")
        if program is not None:
            return BubblewrapSandbox(program)
    if trusted or allow_unsandboxed:
        return NoSandbox()
    raise PostdocError(
        "sandbox_missing",
        f"This code cannot be run safely here. {status.why}",
        next=status.install_hint or INSTALL,
    )
