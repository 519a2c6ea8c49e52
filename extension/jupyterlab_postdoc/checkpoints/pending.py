"""Projects of forks whose session is not made yet: a crash leaves such a folder, and nobody knows of it.

A mark in its git directory says so, and is locked as long as its server lives. The unit that makes the session removes
the mark; a resent command takes the folder up again; the next start removes what nobody has taken up.
"""

from __future__ import annotations

import os
import shutil
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from jupyterlab_postdoc.forge import names
from jupyterlab_postdoc.forge.checkout import FORKING


class Pending:
    """The mark of one folder. Its lock ends with this object, or with the process."""

    def __init__(self, root: Path) -> None:
        import fcntl  # there is none on Windows

        self._path = root / ".git" / FORKING
        lock = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        weakref.finalize(self, os.close, lock)
        with suppress(OSError):  # an earlier sending of the command still holds it
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def over(self) -> None:
        """The session has the folder. Said within its transaction, so that no mark is left of a folder in use."""
        self._path.unlink(missing_ok=True)


@contextmanager
def left_behind(root: Path) -> Iterator[str | None]:
    """The session for which a folder was being made by a server that is gone, else None. Within this nobody takes it
    up.
    """
    import fcntl

    try:
        lock = os.open(root / ".git" / FORKING, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        yield None
        return
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        yield None
    else:
        yield str(names.read_marker(root / ".git").get("session") or "") or None
    finally:
        os.close(lock)


def folders(research: Path) -> list[Path]:
    """The projects that have a mark."""
    return [path.parent.parent for path in research.glob(f"*/.git/{FORKING}") if not path.parent.parent.is_symlink()]


def remove(root: Path) -> None:
    """Remove a folder that nobody has; what cannot be removed stays for the next time."""
    shutil.rmtree(root, ignore_errors=True)
