"""Reading and writing in a tree that somebody else may have prepared: never through a link, whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

from jupyterlab_postdoc.errors import PostdocError

MAX_READ = 16 << 20


def inside(root: Path, directory: str) -> Path:
    """The directory below ``root``, made if needed. PostdocError ``forbidden`` when a link leads out of the tree."""
    place = root
    for part in Path(directory).parts:
        place = place / part
        if place.is_symlink() or (place.exists() and not place.is_dir()):
            raise PostdocError(
                "forbidden",
                f"{place.relative_to(root)} in {root.name!r} is not a directory, so nothing was written there.",
                next="Move it away, then resume.",
            )
        place.mkdir(exist_ok=True)
    return place


def put(root: Path, path: str, text: str, *, keep: bool = False) -> None:
    """Write a file in one step. ``keep``: not when there is one. Unchanged content is left alone."""
    directory = inside(root, str(Path(path).parent))
    target = directory / Path(path).name
    if os.path.lexists(target) and (keep or (not target.is_symlink() and _same(target, text))):
        return
    if target.is_dir() and not target.is_symlink():
        raise PostdocError("forbidden", f"{path} in {root.name!r} is a directory.", next="Move it away, then resume.")
    fresh = directory / f".{target.name}.new"
    fresh.unlink(missing_ok=True)
    with fresh.open("x", encoding="utf-8", newline="\n") as file:
        file.write(text)
    fresh.replace(target)


def read(root: Path, path: str) -> str:
    """A text file of the tree; OSError when it is missing, a link, too large or not a regular file."""
    target = root / path
    handle = os.open(target, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with open(handle, encoding="utf-8", errors="replace") as file:
        if os.fstat(handle).st_size > MAX_READ:
            raise OSError(f"{path} is too large")
        return file.read()


def _same(target: Path, text: str) -> bool:
    data = text.encode("utf-8")
    return target.is_file() and target.stat().st_size == len(data) and target.read_bytes() == data
