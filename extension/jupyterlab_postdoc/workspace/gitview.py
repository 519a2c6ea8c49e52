"""Throw-away git directories that read a checkout's objects, and how those that a killed server left are found."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

PREFIX = "postdoc-git-"
LOCK = "postdoc.lock"
AGE_S = 3600.0
"""A view without a lock counts as left behind after so long: none is in use for longer than a call may take."""
TEMPORARY = ".*." + "[0-9a-f]" * 8 + ".tmp"
"""What a file of ours is called until it is whole (a pattern): nobody's work, and in no commit."""
CONFIG = "[core]\n\trepositoryformatversion = 0\n\tbare = false\n\tfilemode = true\n"


@contextlib.contextmanager
def borrowed(root: Path, head: str | None, *, branch: str | None = None) -> Iterator[Path]:
    """A temporary git directory with our configuration that reads the checkout's objects.

    ``branch`` also publishes ``head`` as that branch, so that another repository can fetch it from here.
    """
    view = Path(tempfile.mkdtemp(prefix=PREFIX))
    with _removed(view):
        for part in ("refs/heads", "objects/info", "info"):
            (view / part).mkdir(parents=True)
        (view / "info" / "exclude").write_text(f"{TEMPORARY}\n")
        (view / "objects" / "info" / "alternates").write_text(f"{root / '.git' / 'objects'}\n")
        (view / "config").write_text(CONFIG)
        if head is not None and branch is not None:
            ref = view / "refs" / "heads" / branch
            ref.parent.mkdir(parents=True, exist_ok=True)
            ref.write_text(f"{head}\n")
        (view / "HEAD").write_text(f"{head}\n" if head else "ref: refs/heads/main\n")
        yield view


@contextlib.contextmanager
def _removed(view: Path) -> Iterator[None]:
    """Remove the view in the end. Until then its lock is held: it ends with this process, however that ends."""
    import fcntl

    made = view / f"{LOCK}.new"
    held = os.open(made, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        made.rename(view / LOCK)  # under this name it is locked, or nobody's
        yield
    finally:
        shutil.rmtree(view, ignore_errors=True)
        os.close(held)


def sweep(*, older_s: float = AGE_S) -> None:
    """Remove the views that killed servers left behind, never one of a server that lives."""
    for view in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):
            info = view.lstat()
            if info.st_uid == os.getuid() and _left_behind(view, time.time() - info.st_mtime > older_s):
                shutil.rmtree(view, ignore_errors=True)


def _left_behind(view: Path, old: bool) -> bool:
    """Whether nobody holds the view's lock; of one without a lock, whether it is ``old``."""
    import fcntl

    try:
        lock = os.open(view / LOCK, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return old
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(lock)
    return True
