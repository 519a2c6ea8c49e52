"""Where a session's notebook is."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from jupyterlab_postdoc.errors import PostdocError
from jupyterlab_postdoc.forge import names
from jupyterlab_postdoc.log import EventLog
from jupyterlab_postdoc.sessions import User, visible
from jupyterlab_postdoc.store.base import SessionRow


@dataclass(frozen=True, slots=True)
class Place:
    """The project's folder, the notebook's path in it, and the session that it belongs to."""

    root: Path
    path: str
    row: SessionRow


async def place_of(log: EventLog, root_dir: Path, user: User, id: str) -> Place:
    """The notebook of a session that this user may see; raises not_found."""
    row = visible(await log.store.get_session(id), user, id)
    project = row.meta.get("project")
    path, notebook = (
        (str(project.get(k) or "") for k in ("path", "notebook")) if isinstance(project, dict) else ("", "")
    )
    if not path or not notebook:
        raise PostdocError("not_found", f"The chat {id!r} has no notebook yet.", next="It is made when a study begins.")
    try:
        inner = PurePosixPath(notebook).relative_to(path)
    except ValueError:
        inner = PurePosixPath("notebook.py")
    root = await asyncio.to_thread(_found, root_dir, path, str(inner), id)
    if root is None:
        raise PostdocError(
            "not_found",
            f"The project's folder {path} is gone: it was moved, renamed or deleted.",
            next="Put it back where it was, or start a new study.",
        )
    return Place(root, str(inner), row)


def _found(root_dir: Path, path: str, notebook: str, session: str) -> Path | None:
    """The folder, if it is the session's own and lies below the server's root (a symlink may lead out)."""
    top = root_dir.expanduser().resolve()
    root = (top / path).resolve()
    inside = root != top and root.is_relative_to(top) and (root / notebook).resolve().is_relative_to(root)
    return root if inside and names.read_marker(root / ".git").get("session") == session else None
