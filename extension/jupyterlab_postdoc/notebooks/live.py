"""A notebook that is alive: what its managed editor is for others. Knows nothing of marimo, HTTP or processes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

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
    """One running editor, as the proxy uses it."""

    @property
    def status(self) -> EditorStatus: ...
    @property
    def upstream(self) -> Upstream: ...
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

    async def close(self, root: Path, *, reason: str = "") -> None:
        """Save, and end its processes."""
        ...
