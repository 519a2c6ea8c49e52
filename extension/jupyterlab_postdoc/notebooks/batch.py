"""The batch runtime: one worker process per notebook (worker/serve.py, in the sandbox), spoken to by JSON lines.

The worker shares its sandbox with the notebook's own code, so its answers are data from a stranger: typed, sized and
checked here.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

from jupyterlab_postdoc.errors import HTTP_STATUS, PostdocError
from jupyterlab_postdoc.notebooks import messages
from jupyterlab_postdoc.notebooks.base import CellEvent, CellState, EditResult, Issue, OnCell, Picture, RunReport
from jupyterlab_postdoc.workspace.processes import Capture, Limits, Process
from jupyterlab_postdoc.workspace.workspace import Workspace

LINE = 16 << 20
CALL_S = 120.0  # creating, editing and checking are a second's work
GRACE_S = 20.0  # after a run's own time limit the worker still writes what there is
MEMORY = 4 << 30
OURS = 768 << 20  # beside the kernel: worker 70 MB, the process it is forked from 200 MB, page renderer 110 MB and more
THREADS = str(min(4, os.cpu_count() or 1))
ENV = {
    "OPENBLAS_NUM_THREADS": THREADS,
    "OMP_NUM_THREADS": THREADS,
    "POLARS_MAX_THREADS": THREADS,
    "MARIMO_SKIP_UPDATE_CHECK": "1",
    "PYTHONDONTWRITEBYTECODE": "1",
}


class BatchRuntime:
    """NotebookRuntime on one worker process, which starts at the first call (or ``warm``) and ends at ``close``."""

    def __init__(self, workspace: Workspace, path: str = "notebook.py", *, memory_bytes: int = MEMORY) -> None:
        self.workspace = workspace
        self.root: Path = workspace.root
        self.path = path
        self.memory_bytes = memory_bytes
        self._worker: Worker | None = None
        self._known: dict[str, str] | None = None
        self._ran: dict[str, CellState] = {}
        self._drawn: dict[str, str] = {}
        self._lock = asyncio.Lock()
        self._closed = False
        self._modules: tuple[str, ...] = ()

    async def warm(self, modules: Sequence[str] = ()) -> None:
        """Start the worker now, and let it import ``modules`` for the kernel: returns at once, while others can use
        the two seconds that this takes.
        """
        self._modules = tuple(name for name in modules if name.isidentifier())
        async with self._lock:
            await self._ready()

    async def create(self, path: str, *, title: str, header: str = "", width: str = "medium") -> None:
        """An empty notebook at ``path``; an existing one is kept. Also starts the worker."""
        full = self.workspace.resolve(path)
        if full.suffix != ".py":
            raise PostdocError("bad_message", f"{path!r} is no notebook name.", next="Use a name that ends in .py.")
        self.path = self.workspace.relative(full)
        answer = await self._call("create", title=title, header=header, width=width)
        self._remember(answer)

    async def cells(self) -> list[CellState]:
        """The cells on disk, each with what became of it in the last run."""
        answer = await self._call("cells")
        self._remember(answer)
        return [self._state(cell) for cell in messages.cells(answer)]

    async def edit(self, changes: Sequence[Mapping[str, Any]]) -> EditResult:
        """Apply the batch to the file on disk, all or nothing.

        PostdocError: bad_message, not_found, too_large; version_conflict with ``cell`` and ``theirs`` (somebody
        else's text).
        """
        try:
            answer = await self._call("edit", changes=[dict(change) for change in changes], known=self._known)
        except PostdocError as error:
            self._learn(error)
            raise
        self._remember(answer)
        return messages.edit_result(answer)

    async def check(self) -> list[Issue]:
        """Errors first. An empty list means that the notebook can run."""
        answer = await self._call("check")
        return messages.issues(answer)

    async def run(
        self, on_cell: OnCell | None = None, *, args: Sequence[str] = (), timeout_s: float = 600.0
    ) -> RunReport:
        """Execute the whole notebook once and write session, figures, results and reports. Never raises for a failing
        cell.
        """
        began = time.monotonic()
        seen: dict[str, CellEvent] = {}

        async def tell(event: Mapping[str, Any]) -> None:
            told = messages.cell_event(event)
            if not told.console:
                seen[told.cell] = told
            if on_cell is not None:
                await on_cell(told)

        try:
            answer = await self._call("run", tell, wait_s=timeout_s + GRACE_S, args=list(args), timeout_s=timeout_s)
        except WorkerDied as died:
            answer = messages.of_death(died.end, died.why, list(seen.values()), self._known or {})
        report = messages.run_report(answer, self.workspace, self.memory_bytes, timeout_s, time.monotonic() - began)
        self._ran = {cell.name: cell for cell in report.cells}
        before, self._drawn = self._drawn, messages.drawn(answer)
        redrawn = tuple(name for name, digest in self._drawn.items() if before.get(name) != digest)
        return replace(report, pictured=tuple(self._drawn), redrawn=redrawn)

    async def pictures(self, names: Sequence[str]) -> list[Picture]:
        """What these cells drew in the last run, at most eight pictures; drawn now, in the sandbox.

        A cell whose picture cannot be drawn is left out, as are all after a restart of the worker.
        """
        if not names or self._worker is None:
            return []
        return messages.pictures(await self._call("pictures", names=list(names)))

    async def interrupt(self) -> None:
        """Ctrl-C for the running notebook; its run ends with "stopped" within about a second."""
        if self._worker is not None:
            self._worker.say({"op": "interrupt"})

    async def close(self) -> None:
        """End the worker and everything it started, at once."""
        self._closed = True
        worker, self._worker = self._worker, None
        if worker is not None:
            await worker.stop()

    async def _ready(self) -> Worker:
        if self._closed:
            raise PostdocError("notebook_failed", "The notebook was closed.", next="Open it again.")
        if self._worker is None or not self._worker.process.running:
            self._worker = await Worker.start(self.workspace, self.memory_bytes, self._modules)
        return self._worker

    async def _call(
        self, op: str, on_event: messages.OnEvent | None = None, *, wait_s: float = CALL_S, **fields: Any
    ) -> dict[str, Any]:
        """One request. A cancelled or overlong one takes the worker with it: its state would be unknown."""
        async with self._lock:
            worker = await self._ready()
            request = {"op": op, "path": str(self.workspace.resolve(self.path)), **fields}
            try:
                return await asyncio.wait_for(worker.ask(request, on_event), wait_s)
            except BaseException as error:
                if isinstance(error, PostdocError):
                    raise
                self._worker = None
                await worker.stop()
                if isinstance(error, WorkerDied) and op != "run":
                    raise error.as_error() from error
                if isinstance(error, TimeoutError):
                    raise WorkerDied("timeout", f"no answer within {wait_s:g} s") from error
                raise

    def _remember(self, answer: Mapping[str, Any]) -> None:
        self._known = {cell.name: cell.code for cell in messages.cells(answer)}

    def _learn(self, error: PostdocError) -> None:
        """After a conflict the other's text has been shown: the next edit may decide about it."""
        if error.code == "version_conflict" and self._known is not None:
            name, code = str(error.details.get("cell")), error.details.get("theirs")
            if isinstance(code, str):
                self._known[name] = code
            else:
                self._known.pop(name, None)

    def _state(self, cell: CellState) -> CellState:
        ran = self._ran.get(cell.name)
        if ran is None:
            return cell
        status = ran.status if ran.code == cell.code else "stale"
        return CellState(cell.name, cell.code, status, cell.hide_code, ran.outputs, ran.error, ran.duration_ms)


class WorkerDied(Exception):
    """The worker ended before it answered; ``end`` is how (memory, timeout, crashed), ``why`` its last words."""

    def __init__(self, end: str, why: str) -> None:
        super().__init__(why)
        self.end, self.why = end, why

    def as_error(self) -> PostdocError:
        message = f"The notebook's process ended before it answered ({self.why})."
        return PostdocError(
            "notebook_failed", message, next="Try again; the notebook file is as it was.", retryable=True
        )


class Worker:
    """The process and its pipes."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.number = 0
        self.errors = Capture(32_000)
        self.drain = asyncio.create_task(self._drain())

    @classmethod
    async def start(cls, workspace: Workspace, memory_bytes: int, modules: Sequence[str]) -> Worker:
        argv = [str(workspace.python), "-P", "-m", "jupyterlab_postdoc.notebooks.worker.serve"]
        # The kernel alone gets the address space limit (serve.py); resident memory is limited for all of them together.
        limits = Limits(memory_bytes=None, total_bytes=memory_bytes + OURS)
        env = {**ENV, "POSTDOC_KERNEL_MEMORY": str(memory_bytes), "POSTDOC_PRELOAD": ",".join(modules)}
        return cls(await workspace.spawn(argv, env=env, limits=limits, line_limit=LINE))

    def say(self, request: Mapping[str, Any]) -> None:
        assert self.process.stdin is not None
        with suppress(OSError, RuntimeError):
            self.process.stdin.write(json.dumps(request).encode() + b"\n")

    async def ask(self, request: Mapping[str, Any], on_event: messages.OnEvent | None) -> dict[str, Any]:
        """The result. Raises PostdocError for an error that the worker tells, WorkerDied when it ends or talks
        nonsense.
        """
        self.number += 1
        self.say({**request, "id": self.number})
        assert self.process.stdout is not None
        while True:
            try:
                line = await self.process.stdout.readline()
                message = msgspec.json.decode(line) if line else None
            except (ValueError, msgspec.DecodeError) as error:
                raise WorkerDied("crashed", "it sent something unreadable") from error
            if message is None:
                raise await self._death()
            if not isinstance(message, dict) or message.get("id") != self.number:
                continue
            if isinstance(event := message.get("event"), dict):
                if on_event is not None:
                    await on_event(event)
            elif isinstance(problem := message.get("error"), dict):
                raise told(problem)
            elif isinstance(result := message.get("result"), dict):
                return result

    async def _death(self) -> WorkerDied:
        code = await self.process.wait()
        await asyncio.wait({self.drain}, timeout=1)
        end = "memory" if self.process.end == "memory" else "crashed"
        last = [line for line in self.errors.text().splitlines() if line.strip()][-1:]
        why = {"processes": "it started too many processes", "stopped": "it was stopped"}.get(self.process.end)
        return WorkerDied(end, why or f"exit code {code}" + (f": {last[0][:300]}" if last else ""))

    async def stop(self) -> None:
        self.drain.cancel()
        await self.process.discard()

    async def _drain(self) -> None:
        """What marimo and the notebook print: kept short, read always, so that nobody waits for us."""
        assert self.process.stderr is not None
        while data := await self.process.stderr.read(1 << 16):
            self.errors.add(data)


def told(error: Mapping[str, Any]) -> PostdocError:
    """An error of the worker as ours; only known codes and plain details pass."""
    code = str(error.get("code"))
    details = {k: v for k, v in error.items() if k in ("cell", "theirs")}
    return PostdocError(
        code if code in HTTP_STATUS else "notebook_failed",
        str(error.get("message", ""))[:2000],
        next=str(error.get("next", ""))[:2000],
        **details,
    )
