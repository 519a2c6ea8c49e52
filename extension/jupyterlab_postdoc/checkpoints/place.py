"""Where a session's checkpoints are: its repository, its notebook in it, and where its own commits begin."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from jupyterlab_postdoc.agent.lab import Lab
from jupyterlab_postdoc.errors import PostdocError
from jupyterlab_postdoc.forge import names
from jupyterlab_postdoc.publishing.places import kept_place
from jupyterlab_postdoc.store.base import SessionRow
from jupyterlab_postdoc.workspace import githistory
from jupyterlab_postdoc.workspace.git import Git

NOTEBOOK = "notebook.py"


@dataclass(frozen=True, slots=True)
class Place:
    """``base`` is the commit of somebody's repository that the session's branch began with, empty in one of its own:
    that and all before it are no checkpoints of ours.
    """

    root: Path
    notebook: str
    base: str


async def place_of(lab: Lab, session: SessionRow) -> Place:
    """PostdocError ``not_found`` when the session has no project, or it is not where it was."""
    shown = session.meta.get("project")
    path = str(shown.get("path") or "") if isinstance(shown, dict) else ""
    if not isinstance(shown, dict) or not path:
        raise PostdocError(
            "not_found",
            "This session has no project yet, so there are no checkpoints.",
            next="Start a research in it first; every step of it is a checkpoint.",
        )
    if not await asyncio.to_thread(_is_ours, lab.root_dir, path, session.id):
        raise PostdocError(
            "not_found",
            f"The project's folder {path} is gone: it was moved, renamed or deleted.",
            next="Put it back where it was, then look again.",
        )
    kept = kept_place(session.meta)
    return Place(lab.root_dir / path, _inner(shown.get("notebook"), path), kept.base_sha if kept is not None else "")


def _is_ours(root_dir: Path, path: str, session: str) -> bool:
    """Whether the folder is the session's, and below the server's root (a link may lead out of it)."""
    top = root_dir.resolve()
    root = (top / path).resolve()
    return root != top and root.is_relative_to(top) and names.read_marker(root / ".git").get("session") == session


def _inner(notebook: object, path: str) -> str:
    """The notebook's path in the project."""
    try:
        inner = PurePosixPath(str(notebook)).relative_to(path) if notebook else PurePosixPath(NOTEBOOK)
    except ValueError:
        return NOTEBOOK
    return NOTEBOOK if ".." in inner.parts or not inner.parts else inner.as_posix()


async def check(git: Git, place: Place, sha: str) -> None:
    """PostdocError ``not_found`` unless the commit is one of the session's checkpoints."""
    if not await githistory.holds(git, place.root, sha, since=place.base):
        raise PostdocError(
            "not_found",
            f"{sha[:7]} is not a checkpoint of this project. If it was one, the history was rewritten since.",
            next="Choose one of the checkpoints that are listed now.",
        )
