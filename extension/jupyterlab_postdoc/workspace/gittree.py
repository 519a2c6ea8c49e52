"""What of a work tree may be committed, and whether its `.git` is one that we can trust to stay inside itself."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from jupyterlab_postdoc import secrets
from jupyterlab_postdoc.errors import PostdocError

MAX_FILE_BYTES = 50 << 20
"""GitHub warns above 50 MB and refuses above 100 MB: a file that cannot be published is not committed either."""


@dataclass(frozen=True, slots=True)
class Excluded:
    """A path that was left out of a commit, with the reason in words."""

    path: str
    reason: str


def check_layout(root: Path) -> None:
    """Refuse a `.git` that leads elsewhere: git would then write outside the checkout, in the server's name."""
    git_dir = root / ".git"
    if git_dir.is_symlink() or not git_dir.is_dir():
        raise _not_ours(root, ".git is not a directory")
    for name in ("commondir", "config.worktree", "objects/info/http-alternates"):
        if os.path.lexists(git_dir / name):
            raise _not_ours(root, f".git/{name} exists")
    for name in (
        "objects",
        "objects/info",
        "objects/pack",
        "refs",
        "refs/heads",
        "refs/remotes",
        "logs",
        "logs/refs",
        "info",
    ):
        if (git_dir / name).is_symlink():
            raise _not_ours(root, f".git/{name} is a symbolic link")
    for name in ("HEAD", "config", "index", "packed-refs", "logs/HEAD", "logs/refs/heads", "logs/refs/heads/main"):
        path = git_dir / name
        if path.is_symlink() or (path.exists() and not (path.is_file() or path.is_dir())):
            raise _not_ours(root, f".git/{name} is not a plain file")


def _not_ours(root: Path, why: str) -> PostdocError:
    return PostdocError(
        "forbidden",
        f"The repository {root.name!r} was changed in a way that is not safe to commit to ({why}).",
        next="Look at its .git directory, or start a new study; the files are untouched.",
    )


def examine(root: Path, paths: Iterable[str]) -> tuple[Excluded, ...]:
    """Which of ``paths`` (relative; a directory ends in `/`) must not be committed, sorted by path."""
    inside = os.path.realpath(root)
    nested: dict[str, bool] = {"": False}
    found: dict[str, str] = {}
    for path in paths:
        holder = _nested_repository(inside, path, nested)
        if holder is not None:
            found[holder] = "a repository inside the repository"
        elif reason := _refusal(inside, path):
            found[path] = reason
    return tuple(Excluded(path, found[path]) for path in sorted(found))


def _nested_repository(root: str, path: str, known: dict[str, bool]) -> str | None:
    """The outermost directory on the way to ``path`` that holds a `.git` of its own."""
    parts = path.rstrip("/").split("/")
    depth = len(parts) if path.endswith("/") else len(parts) - 1
    for length in range(1, depth + 1):
        directory = "/".join(parts[:length])
        if directory not in known:
            known[directory] = os.path.lexists(os.path.join(root, directory, ".git"))
        if known[directory]:
            return directory
    return None


def _refusal(root: str, path: str) -> str | None:
    """Why the single file must stay out, or None."""
    if any(_reserved(part) for part in path.split("/")):
        return "a name that git refuses"
    full = os.path.join(root, path)
    try:
        info = os.lstat(full)
    except OSError:
        return None  # tracked and deleted since: the deletion is committed
    if stat.S_ISLNK(info.st_mode):
        try:
            return None if _stays_inside(root, full) else "a symbolic link that leaves the repository"
        except OSError:
            return "not readable" if os.path.lexists(full) else None
    if not stat.S_ISREG(info.st_mode):
        return None if stat.S_ISDIR(info.st_mode) else "not a regular file"
    if info.st_size > MAX_FILE_BYTES:
        return f"{info.st_size / (1 << 20):.0f} MB: larger than {MAX_FILE_BYTES >> 20} MB"
    try:
        secret = secrets.in_file(full)
        readable = os.access(full, os.R_OK)
    except OSError:
        secret = readable = False
    if not readable:
        return "not readable" if os.path.lexists(full) else None  # a program took it away meanwhile
    return "it holds a secret: a key, a token or a password" if secret else None


def _reserved(part: str) -> bool:
    folded = part.casefold().rstrip(". ")
    return folded == ".git" or folded.startswith(("git~", ".git:")) or "\\" in part


def _stays_inside(root: str, link: str) -> bool:
    target = os.readlink(link)
    if os.path.isabs(target):
        return False
    for place in (os.path.normpath(os.path.join(os.path.dirname(link), target)), os.path.realpath(link)):
        if place != root and not place.startswith(root + os.sep):
            return False
        if place == os.path.join(root, ".git") or place.startswith(os.path.join(root, ".git") + os.sep):
            return False
    return True
