"""A notebook that is alive: what its managed editor is for others. Knows nothing of marimo, HTTP or processes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from jupyterlab_postdoc.errors import PostdocError
from jupyterlab_postdoc.notebooks.base import CellState

TYPED_S = 0.5
"""So long a page may keep what is typed before it tells its editor (it takes a third of a second)."""
AUTOSAVED_S = 2.0
"""The same where the editor only follows the file: the page saves a second after the last key."""

EditorState = Literal["stopped", "starting", "ready", "following", "failed"]
KernelState = Literal["none", "starting", "idle", "busy", "dead"]


@dataclass(frozen=True, slots=True)
class EditorStatus:
    """How an editor is.

    ``following``: the page is there, but marimo's Host API is not, so the agent works on the file beside it and the
    page follows the file. ``viewers`` counts open browser connections. ``outputs_from`` is when the outputs that the
    page shows were made, in UNIX seconds, when they are not from the kernel that runs now. ``since`` is when this state
    began.
    """

    state: EditorState
    message: str = ""
    kernel: KernelState = "none"
    viewers: int = 0
    sandboxed: bool = True
    outputs_from: float | None = None
    since: float = 0.0


@dataclass(frozen=True, slots=True)
class Upstream:
    """Where the proxy finds a running editor: a Unix socket (or a loopback port where no sandbox is), and the secret
    that marimo wants. Never shown to a browser, never logged.
    """

    socket: Path | None
    port: int
    token: str
    notebook: str
    """The notebook's file, as marimo's ``?file=`` names it."""


class Editor(Protocol):
    """One running editor. What is asked of it raises PostdocError("notebook_failed", retryable) when it is not up."""

    path: str
    """The notebook's file, relative to the project."""

    @property
    def status(self) -> EditorStatus: ...
    @property
    def upstream(self) -> Upstream:
        """Asking for it counts as use: ask for every request of a browser."""
        ...

    async def cells(self) -> list[CellState]:
        """The cells as they stand in the page, also what is not saved yet."""
        ...

    async def save(self) -> bool:
        """Write to disk what people have typed; whether there was anything to write."""
        ...

    async def replace(self, text: str, *, base: str | None) -> None:
        """Make the notebook equal to this text of a notebook file, in the page and on disk.

        ``base``: the file's text after the ``save`` on which this was decided; None: whatever is there. PostdocError
        ``version_conflict`` when somebody has changed the notebook since; then nothing was replaced.
        """
        ...

    async def restart(self) -> None:
        """A new kernel: all variables are lost."""
        ...

    async def interrupt(self) -> None:
        """Ctrl-C for whatever runs in the kernel."""
        ...

    def listen(self, hear: Callable[[Mapping[str, Any]], None]) -> Callable[[], None]:
        """Events: ``{"type": "kernel" | "changed" | "saved" | "state", …}``; returns what ends it.

        ``hear`` must neither wait nor fail.
        """
        ...

    def viewer(self, change: int) -> None:
        """A browser connection came (1) or went (-1)."""
        ...


class Editors(Protocol):
    """The editors of a server, at most one for each project folder."""

    def get(self, root: Path) -> Editor | None:
        """The editor of this project when it is up (ready or following)."""
        ...

    def status(self, root: Path) -> EditorStatus:
        """How it is, also when there is none."""
        ...

    async def open(self, root: Path, path: str = "notebook.py") -> Editor:
        """The editor of this project, started when there is none; waits until it is up.

        PostdocError: notebook_failed, sandbox_missing, capacity, not_found.
        """
        ...

    async def settled(self, root: Path, seconds: float) -> None:
        """Wait, at most so long, until an editor that is being started (again) is up or has failed."""
        ...

    async def close(self, root: Path, *, reason: str = "", anyway: bool = False) -> None:
        """Save, and end its processes. PostdocError when it cannot be saved; then it stays open, unless ``anyway``."""
        ...

    async def renew(self, root: Path) -> None:
        """Start the process of this project anew when there is one."""
        ...

    def running(self) -> list[EditorStatus]:
        """How all of them are that there are now."""
        ...


def unsaved(error: PostdocError) -> bool:
    """Whether it says that text of an open notebook could not be written; ``details["cells"]`` are the cells then."""
    return error.code in ("storage_full", "notebook_failed") and "cells" in error.details


async def typed(editor: Editor) -> None:
    """Wait until what is typed in open pages has reached the editor, or the file where the editor follows it."""
    if editor.status.viewers:
        await asyncio.sleep(AUTOSAVED_S if editor.status.state == "following" else TYPED_S)
