"""What a path in a repository may be called, and where a link in it may lead."""

from __future__ import annotations

import posixpath
import re

_WINDOWS = re.compile(r'[<>:"|?*]')
_DEVICES = {"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(1, 10))}
# Characters that some file systems leave out of a name when they compare it.
_IGNORED = re.compile("[\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff\u00ad]")


def nested_git(path: str) -> bool:
    """Whether a part of the path is `.git`, in any spelling that some file system takes for it."""
    for part in path.split("/"):
        folded = _IGNORED.sub("", part).casefold().rstrip(". ")
        if folded == ".git" or re.fullmatch(r"git~\d+", folded) or folded.startswith(".git:"):
            return True
    return False


def touches_workflows(path: str) -> bool:
    """Whether the path is in `.github/workflows`, or stands in its place."""
    folded = path.casefold()
    return folded in (".github", ".github/workflows") or folded.startswith(".github/workflows/")


def name_problem(path: str) -> tuple[str, bool] | None:
    """Why the name is a problem, and whether it may not be sent at all; None: it is none."""
    try:
        path.encode("utf-8")
    except UnicodeEncodeError:
        return "a name that is not UTF-8", True
    if any(ord(char) < 32 or 127 <= ord(char) < 160 for char in path):
        return "a name with control characters", True
    if "\\" in path:
        return "a name with a backslash, which some computers take for a directory", True
    parts = path.split("/")
    if any(len(part.encode()) > 255 for part in parts) or len(path.encode()) > 4000:
        return "a name that is too long", True
    if any(_WINDOWS.search(part) or part != part.rstrip(". ") for part in parts):
        return "a name that Windows cannot take", False
    if any(part.split(".")[0].rstrip().casefold() in _DEVICES for part in parts):
        return "a name that Windows keeps for a device", False
    return None


def leaves_tree(path: str, target: str) -> bool:
    """Whether a link at ``path`` leads out of the tree, or into its `.git`."""
    if not target or target.startswith(("/", "\\", "~")) or re.match(r"[A-Za-z]:", target):
        return True
    place = posixpath.normpath(posixpath.join(posixpath.dirname(path), target))
    return place == ".." or place.startswith("../") or nested_git(place)
