"""The batch runtime: one worker process per notebook (worker.py, in the sandbox), spoken to by JSON lines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jupyterlab_postdoc.notebooks.base import CellState, EditResult, Issue, OnCell, RunReport
from jupyterlab_postdoc.workspace.workspace import Workspace


class BatchRuntime:
    """NotebookRuntime on one worker process; the process starts at ``create`` or at the first call, and ends at ``close``."""

    def __init__(self, workspace: Workspace, path: str = "notebook.py") -> None:
        self.workspace = workspace
        self.root: Path = workspace.root
        self.path = path

    async def create(self, path: str, *, title: str, header: str = "", width: str = "medium") -> None:
        raise NotImplementedError

    async def cells(self) -> list[CellState]:
        raise NotImplementedError

    async def edit(self, changes: Sequence[Mapping[str, Any]]) -> EditResult:
        raise NotImplementedError

    async def check(self) -> list[Issue]:
        raise NotImplementedError

    async def run(self, on_cell: OnCell | None = None, *, args: Sequence[str] = (), timeout_s: float = 600.0) -> RunReport:
        raise NotImplementedError

    async def interrupt(self) -> None:
        raise NotImplementedError

    async def close(self) -> None:
        raise NotImplementedError
