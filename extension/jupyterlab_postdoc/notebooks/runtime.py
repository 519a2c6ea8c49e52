"""The notebook runtime of a project: the live editor does the work while it is up, a batch worker at other times.

Which one is decided at each call. What was read and what came of runs is remembered here, for both.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from jupyterlab_postdoc.errors import PostdocError
from jupyterlab_postdoc.notebooks import messages
from jupyterlab_postdoc.notebooks.base import CellState, OnCell, Picture, RunReport
from jupyterlab_postdoc.notebooks.batch import CALL_S, GRACE_S, MEMORY, BatchRuntime
from jupyterlab_postdoc.notebooks.editor import START_S, LiveEditor
from jupyterlab_postdoc.notebooks.editors import EditorPool
from jupyterlab_postdoc.notebooks.live import unsaved
from jupyterlab_postdoc.notebooks.wire import WorkerDied
from jupyterlab_postdoc.workspace.workspace import Workspace

OUTDATED = "New packages are installed. The notebook is started again with them when you give it back."


class ProjectRuntime(BatchRuntime):
    """NotebookRuntime on the project's editor, when there is one, else on a worker of its own. ``close`` ends the
    worker, never the editor, which belongs to the people who look at it.
    """

    def __init__(
        self, workspace: Workspace, editors: EditorPool, path: str = "notebook.py", *, memory_bytes: int = MEMORY
    ) -> None:
        super().__init__(workspace, path, memory_bytes=memory_bytes)
        self.editors = editors
        self._drew: LiveEditor | None = None

    @property
    def live(self) -> bool:
        """Whether calls go to the live notebook now."""
        return self._editor() is not None

    async def warm(self, modules: Sequence[str] = ()) -> None:
        """Start the worker, unless the live notebook does the work."""
        if self._editor() is None:
            await super().warm(modules)

    async def run(
        self,
        on_cell: OnCell | None = None,
        *,
        args: Sequence[str] = (),
        timeout_s: float = 600.0,
        cells: Sequence[str] | None = None,
        ready: bool = False,
    ) -> RunReport:
        """Run the whole notebook from a fresh state, with its artifacts; or, live only, these cells and what depends on
        them, in the kernel as it is, with none; ``ready`` leaves those out that read what no cell defines yet.

        PostdocError("bad_message"): ``cells`` without a live notebook.
        """
        editor = await self._waited("run")
        if args or editor is None:
            if editor is not None:
                await self._save(editor)  # the worker reads the file
            self._drew = None
            return await super().run(on_cell, args=args, timeout_s=timeout_s, cells=cells, ready=ready)
        if editor.status.kernel == "dead":
            await editor.restart()
        self._drew = editor
        if self._worker is not None:
            worker, self._worker = self._worker, None  # not needed while the editor is there
            await worker.stop()
        if cells is None:
            return await super().run(on_cell, timeout_s=timeout_s)
        return await self._run_some(on_cell, cells, timeout_s, ready)

    async def _run_some(self, on_cell: OnCell | None, cells: Sequence[str], timeout_s: float, ready: bool) -> RunReport:
        """These cells, and what depends on them. What is known of the other cells stays."""
        began = time.monotonic()

        async def tell(event: Mapping[str, Any]) -> None:
            if on_cell is not None:
                await on_cell(messages.cell_event(event))

        fields: dict[str, Any] = {
            "args": [],
            "timeout_s": timeout_s,
            "cells": list(cells),
            "whole": False,
            "ready": ready,
        }
        try:
            answer = await self._call("run", tell, wait_s=timeout_s + GRACE_S, **fields)
        except WorkerDied as died:
            raise died.as_error() from died
        report = messages.run_report(answer, self.workspace, self.memory_bytes, timeout_s, time.monotonic() - began)
        self._ran |= {cell.name: cell for cell in report.cells}
        if report.ok:
            ran = messages.count(len(report.cells), "cell")
            report = replace(report, message=f"{ran} ran in the live notebook in {report.duration_s:.1f} s.")
        return self._compared(report, {**self._drawn, **messages.drawn(answer)})

    async def cells(self, *, seen: bool = True) -> list[CellState]:
        """The cells as they stand, also what is not saved yet, and what came of them, whoever ran them."""
        editor = await self._waited()
        if editor is None:
            return await super().cells(seen=seen)
        answer = await self._call("cells")
        self._remember(answer, seen=seen)
        self._ran |= {cell.name: cell for cell in messages.cells({"cells": answer.get("states")})}
        return [self._state(cell) for cell in messages.cells(answer)]

    async def pictures(self, names: Sequence[str]) -> list[Picture]:
        """What these cells drew in the last run, by whoever ran it."""
        if self._drew is None:
            return await super().pictures(names)
        if not names or not self._drew.up:
            return []
        try:
            return messages.pictures(await self._drew.ask("pictures", wait_s=CALL_S, names=list(names)))
        except WorkerDied:
            return []

    async def interrupt(self) -> None:
        """Ctrl-C for the running notebook, live or not."""
        await super().interrupt()
        if (editor := self._editor()) is not None:
            await editor.interrupt()

    async def renew(self) -> None:
        """The project's Python may be another one now: the worker ends, and an open notebook is started again when it
        is needed next by an agent; people who have it in hand are not disturbed.
        """
        await super().renew()
        editor = self.editors.get(self.root)
        if editor is not None:
            editor.outdated = True

    async def _renewed(self) -> None:
        """Start an open notebook again whose Python is another one by now. Raises what ``turn`` raises."""
        editor = self.editors.get(self.root)
        if editor is None or not editor.outdated:
            return
        if self.turn is not None:
            try:
                await self.turn()
            except BaseException:
                editor.condition.become(message=OUTDATED)
                raise
        await self.editors.renew(self.root)

    def _editor(self) -> LiveEditor | None:
        """The editor that shows this notebook and takes requests."""
        editor = self.editors.get(self.root)
        if editor is None or editor.path != self.path or editor.status.state != "ready":
            return None
        return editor

    async def _waited(self, op: str = "") -> LiveEditor | None:
        """The same, after waiting for one that is being started: else two would work on one file. What writes or runs
        does so with the packages that are there now.
        """
        await self.editors.settled(self.root, START_S)
        if op in ("edit", "run"):
            await self._renewed()
        return self._editor()

    async def _call(
        self, op: str, on_event: messages.OnEvent | None = None, *, wait_s: float = CALL_S, **fields: Any
    ) -> dict[str, Any]:
        if self._closed:
            raise PostdocError("notebook_failed", "The notebook was closed.", next="Open it again.")
        editor = None if fields.get("args") else await self._waited(op)
        if editor is None:
            return await self._own(op, on_event, wait_s=wait_s, **fields)
        if op == "run":
            fields = {"cells": None, "whole": True, **fields}
        try:
            return await editor.ask(op, on_event, wait_s=wait_s, **fields)
        except WorkerDied as died:
            if op == "run":
                raise
            raise died.as_error() from died

    async def _save(self, editor: LiveEditor) -> None:
        try:
            await editor.save()
        except PostdocError as error:
            if error.code == "version_conflict" or unsaved(error):
                raise
