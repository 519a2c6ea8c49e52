"""Real runtimes for the notebook tests: bubblewrap where it works, marimo always."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine
from pathlib import Path
from typing import Any, TypeVar

from jupyterlab_postdoc.notebooks.base import CellEvent, RunReport
from jupyterlab_postdoc.notebooks.batch import BatchRuntime
from jupyterlab_postdoc.workspace.sandbox import choose, probe
from jupyterlab_postdoc.workspace.workspace import Workspace

T = TypeVar("T")
STUDY = Path(__file__).with_name("data") / "study.py"


def go(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(work)


def put(name: str, code: str, **more: Any) -> dict[str, Any]:
    return {"op": "put", "name": name, "code": code, **more}


@contextlib.asynccontextmanager
async def runtime(root: Path, **options: Any) -> AsyncIterator[BatchRuntime]:
    """A runtime on ``root/project``, in the sandbox when there is one."""
    project = root / "project"
    project.mkdir(exist_ok=True)
    sandbox = choose(await probe(), trusted=False, allow_unsandboxed=True)
    made = BatchRuntime(Workspace(project, sandbox=sandbox), **options)
    try:
        yield made
    finally:
        await made.close()


class Bench:
    """One worker for many scenes in one folder, which each scene finds empty: for what does not run the notebook."""

    def __init__(self, folder: Path) -> None:
        self.loop = asyncio.new_event_loop()
        self.root = folder / "project"
        self.root.mkdir()
        sandbox = choose(self.loop.run_until_complete(probe()), trusted=False, allow_unsandboxed=True)
        self.workspace = Workspace(self.root, sandbox=sandbox)
        self.first = BatchRuntime(self.workspace)
        self.go(self.first.warm())

    def go(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(work)

    @contextlib.asynccontextmanager
    async def runtime(self) -> AsyncIterator[BatchRuntime]:
        for path in self.root.iterdir():
            if path.is_file():
                path.unlink()
        made = BatchRuntime(self.workspace)
        made._worker = self.first._worker
        yield made
        assert made._worker is self.first._worker

    def close(self) -> None:
        self.go(self.first.close())
        self.loop.close()


async def execute(
    root: Path, cells: dict[str, str], *, args: tuple[str, ...] = (), timeout_s: float = 60, **options: Any
) -> tuple[RunReport, list[CellEvent]]:
    """Create a notebook of the cells and run it once."""
    events: list[CellEvent] = []

    async def listen(event: CellEvent) -> None:
        events.append(event)

    async with runtime(root, **options) as made:
        await made.create("notebook.py", title="Test")
        await made.edit([put(name, code) for name, code in cells.items()])
        report = await made.run(listen, args=args, timeout_s=timeout_s)
    return report, events
