"""Projects of forks whose session is not made yet: a crash leaves such a folder, and nobody knows of it.

A mark in its git directory says so, and is locked as long as its server lives. It is made before the first file of the
project and never afterwards; the unit that makes the session removes it. A resent command takes the folder up again;
the next start removes what nobody has taken up.
"""

from __future__ import annotations

import os
import shutil
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from jupyterlab_postdoc.errors import PostdocError
from jupyterlab_postdoc.forge import names
from jupyterlab_postdoc.forge.checkout import FORKING, RECORD, unfinished


class Pending:
    """The mark of one folder, as one sending of the command has it: others of the same command may have it, too. Its
    lock ends with this object, or with the process.

    A folder that is complete gets no new mark: an earlier sending may have made the session meanwhile, and the project
    is in use. PostdocError ``busy`` while a start removes the folder.
    """

    def __init__(self, root: Path) -> None:
        import fcntl  # there is none on Windows

        self._path = root / ".git" / FORKING
        flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
        made = False
        try:
            try:
                lock = os.open(self._path, flags)
            except FileNotFoundError:
                if not unfinished(root):
                    return
                lock, made = os.open(self._path, flags | os.O_CREAT, 0o600), True
        except FileNotFoundError as e:  # the folder went after it was found
            raise _being_removed(root) from e
        weakref.finalize(self, os.close, lock)
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError as e:
            raise _being_removed(root) from e
        if made and not unfinished(root):  # by a sending to another server, between the two looks
            self.over()

    def over(self) -> None:
        """The session has the folder. Said within its transaction, so that no mark is left of a folder in use."""
        self._path.unlink(missing_ok=True)


def _being_removed(root: Path) -> PostdocError:
    return PostdocError(
        "busy",
        f"What an earlier attempt has left in {root.name} is just being removed; no session was made.",
        next="Send the command again in a moment.",
        retryable=True,
    )


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
        abandoned = os.fstat(lock).st_nlink > 0  # else it was over before the lock was ours
    except OSError:
        abandoned = False
    try:
        yield (str(names.read_marker(root / ".git").get("session") or "") or None) if abandoned else None
    finally:
        os.close(lock)


def folders(research: Path) -> list[Path]:
    """The projects that have a mark."""
    return [path.parent.parent for path in research.glob(f"*/.git/{FORKING}") if not path.parent.parent.is_symlink()]


def forget(root: Path) -> None:
    """Remove the mark of a folder that a session has."""
    with suppress(OSError):
        (root / ".git" / FORKING).unlink(missing_ok=True)


def remove(root: Path) -> None:
    """Remove a folder that nobody has; what cannot be removed stays for the next time."""
    with suppress(OSError):  # first: whatever else goes before the mark, nobody may take the folder for a complete one
        (root / ".git" / RECORD).unlink(missing_ok=True)
    shutil.rmtree(root, ignore_errors=True)
