"""Files that nobody else may read: written whole or not at all, and refused when they are open to others."""

from __future__ import annotations

import os
import stat
import uuid
from pathlib import Path

from jupyterlab_postdoc.errors import PostdocError

LARGEST = 1 << 16


def write_private(path: Path, text: str) -> None:
    """Replace ``path`` (mode 0600) by this text, on the disk when this returns. OSError; then the old one is kept."""
    fresh = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0), 0o600)
    try:
        with open(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    except OSError:
        fresh.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """What was made or removed in it is on the disk when this returns."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def read_private(path: Path, what: str, setting: str) -> str:
    """The text of a file that others cannot read. PostdocError ``github_auth``; it never shows the text.

    ``what`` is the secret that it holds, ``setting`` the name of the setting that says where it is.
    """
    mend = f"Correct PostdocApp.{setting}." if setting else "Connect GitHub again."
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
        with open(handle, encoding="utf-8") as file:
            mode = os.fstat(file.fileno()).st_mode
            if not stat.S_ISREG(mode):
                raise PostdocError("github_auth", f"{path.name} is not a file.", next=mend)
            if os.name == "posix" and mode & 0o077:
                raise PostdocError(
                    "github_auth",
                    f"The file with the {what} can be read by others (mode {stat.S_IMODE(mode):04o}), "
                    "so it is not used.",
                    next=f"Run: chmod 600 {path}",
                )
            return file.read(LARGEST)
    except (OSError, UnicodeDecodeError) as exc:
        why = exc.strerror if isinstance(exc, OSError) else "it is not text"
        raise PostdocError(
            "github_auth",
            f"The file with the {what} cannot be read: {why}. Your commits are safe locally.",
            next=mend,
        ) from exc
