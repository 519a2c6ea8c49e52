"""Whether a lock file in a git directory belongs to somebody alive."""

from __future__ import annotations

import contextlib
import os
import re
import time
from pathlib import Path

YOUNG_S = 0.5
"""A lock younger than this is somebody's who is about to give it back."""

UNKNOWN_AGE_S = 600.0
"""Without a process list, a lock of this age counts as abandoned: no git call of ours may take that long."""

_HELD = re.compile(r"Unable to create '(.+?\.lock)': File exists|could not lock config file (.+?): File exists")


def lock_in(message: str) -> Path | None:
    """The lock file that git's error message says is held."""
    if (found := _HELD.search(message)) is None:
        return None
    return Path(found[1] or f"{found[2]}.lock")


def clear_stale(area: Path, lock: Path) -> bool:
    """Remove the lock that a killed git left. True when there is no lock any more.

    ``area`` is the checkout or the bare repository. A lock is stale when no living process has it open and no git
    works in the area (`git commit` keeps the lock while its user is in an editor, with the file closed).
    """
    inside = os.path.realpath(area)
    if not os.path.realpath(lock).startswith(inside + os.sep):
        return False
    try:
        before = lock.lstat()
    except FileNotFoundError:
        return True
    age = abs(time.time() - before.st_mtime)
    if age < YOUNG_S:
        return False
    alive = _git_at_work(inside, os.path.realpath(lock))
    if alive or (alive is None and age < UNKNOWN_AGE_S):
        return False
    with contextlib.suppress(FileNotFoundError):
        # Another server may have cleared it and a new git may have taken it since we looked.
        if lock.lstat().st_ino == before.st_ino:
            lock.unlink()
    return True


def _git_at_work(area: str, lock: str) -> bool | None:
    """Whether a process holds the lock or is a git inside ``area``. None: this system has no process list to read."""
    if not os.path.isdir("/proc/self/fd"):
        return None
    for name in os.listdir("/proc"):
        if not name.isdigit() or int(name) == os.getpid():
            continue
        with contextlib.suppress(OSError):
            if _is_git_inside(f"/proc/{name}", area):
                return True
        with contextlib.suppress(OSError):
            if _has_open(f"/proc/{name}/fd", lock):
                return True
    return False


def _is_git_inside(process: str, area: str) -> bool:
    with open(f"{process}/stat", "rb") as file:
        content = file.read()
    name, _, rest = content.partition(b"(")[2].rpartition(b")")
    if not name.startswith(b"git") or rest.split()[0] == b"Z":
        return False
    cwd = os.readlink(f"{process}/cwd")
    return cwd == area or cwd.startswith(area + os.sep)


def _has_open(handles: str, target: str) -> bool:
    for number in os.listdir(handles):
        with contextlib.suppress(FileNotFoundError):
            if os.readlink(f"{handles}/{number}") == target:
                return True
    return False
