"""Where the sockets and secrets of editors lie, and how what a killed server left there is found."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from contextlib import suppress
from pathlib import Path

SOCKET_PATH = 90  # characters of a socket's path; Linux takes 107


class RunFolder:
    """Where sockets and their secrets lie: of this user alone, short of name, and gone with the server. As long as a
    server lives it holds a lock on its folder, so that the next one knows which are left over.
    """

    def __init__(self, path: Path, lock: int) -> None:
        self.path, self._lock = path, lock

    @classmethod
    def make(cls) -> RunFolder:
        import fcntl  # there is none on Windows, where this is never called

        base = base_folder()
        for old in base.iterdir():
            sweep(old)
        path = Path(tempfile.mkdtemp(prefix="", dir=base))
        lock = os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX)
        return cls(path, lock)

    def remove(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._lock)


def base_folder() -> Path:
    """A folder of this user alone for the run folders of all of this user's servers."""
    for parent in (os.environ.get("XDG_RUNTIME_DIR"), tempfile.gettempdir(), "/tmp"):
        base = Path(parent or "/nowhere") / f"postdoc-{os.getuid()}"
        if len(str(base)) + 40 > SOCKET_PATH:
            continue
        with suppress(OSError):
            base.mkdir(mode=0o700, exist_ok=True)
            found = base.lstat()
            if base.is_dir() and not base.is_symlink() and found.st_uid == os.getuid() and not found.st_mode & 0o077:
                return base
    return Path(tempfile.mkdtemp(prefix="postdoc-"))  # somebody else has taken the name


def sweep(folder: Path) -> None:
    """Remove the run folder of a server that is gone; a living one holds its lock."""
    try:
        lock = os.open(folder / "lock", os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        if time.time() - folder.stat().st_mtime > 60:  # else it is just being made
            shutil.rmtree(folder, ignore_errors=True)
        return
    except OSError:
        return
    import fcntl

    try:
        with suppress(OSError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(lock)
