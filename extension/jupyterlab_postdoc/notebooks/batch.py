"""The batch runtime: one worker process per notebook (worker/serve.py, in the sandbox), spoken to by JSON lines.

The worker shares its sandbox with the notebook's own code, so its answers are data from a stranger: typed, sized and
checked here.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from jupyterlab_postdoc.errors import PostdocError
from jupyterlab_postdoc.notebooks import messages
from jupyterlab_postdoc.notebooks.base import CellEvent, CellState, EditResult, Issue, OnCell, Picture, RunReport, Seen
from jupyterlab_postdoc.notebooks.compare import digest
from jupyterlab_postdoc.notebooks.wire import ENV, LINE, OURS, Worker, WorkerDied
from jupyterlab_postdoc.workspace.processes import Limits
from jupyterlab_postdoc.workspace.workspace import Workspace

CALL_S = 120.0  # creating, editing and checking are a second's work
GRACE_S = 20.0  # after a run's own time limit the worker still writes what there is
MEMORY = 4 << 30


class BatchRuntime:
    """NotebookRuntime on one worker process, which starts at the first call (or ``warm``) and ends at ``close``."""

    def __init__(self, workspace: Workspace, path: str = "notebook.py", *, memory_bytes: int = MEMORY) -> None:
        self.workspace = workspace
        self.root: Path = workspace.root
        self.path = path
        self.memory_bytes = memory_bytes
        self.turn: Callable[[], Awaitable[None]] | None = None
        self.seen: Callable[[], Awaitable[Seen | None]] | None = None
        self._worker: Worker | None = None
        self._known: dict[str, str] | None = None
        """The cells as whoever edits has seen them."""
        self._codes: dict[str, str] = {}
        """The cells as they were when we heard of them last."""
        self._ran: dict[str, CellState] = {}
        self._proven: dict[str, str] | None = None
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
        self._remember(await self._call("create", title=title, header=header, width=width))
        self._known = dict(self._codes)

    async def cells(self, *, seen: bool = True) -> list[CellState]:
        """The cells on disk, each with what became of it in the last run."""
        answer = await self._call("cells")
        self._remember(answer, seen=seen)
        return [self._state(cell) for cell in messages.cells(answer)]

    async def edit(self, changes: Sequence[Mapping[str, Any]]) -> EditResult:
        """Apply the batch to the file on disk, all or nothing.

        PostdocError: bad_message, not_found, too_large; version_conflict with ``cell`` and ``theirs`` (somebody
        else's text).
        """
        known = await self._basis()
        try:
            answer = await self._call("edit", changes=[dict(change) for change in changes], known=known)
        except PostdocError as error:
            self._learn(error)
            raise
        self._remember(answer)
        result = messages.edit_result(answer)
        if known is None:
            self._known = dict(self._codes)
            return result
        # A cell without a name is called by its place, which any edit may change. One that is not there any more, and
        # that was not deleted here, is not forgotten: to write it again would undo what somebody else has done.
        kept = {name: code for name, code in known.items() if name not in result.deleted and not nameless(name)}
        ours = {name: code for name, code in self._codes.items() if name in result.changed or nameless(name)}
        self._known = kept | ours
        return result

    async def check(self) -> list[Issue]:
        """Errors first. An empty list means that the notebook can run."""
        answer = await self._call("check")
        return messages.issues(answer)

    @property
    def live(self) -> bool:
        """Whether a live notebook does the work: never here."""
        return False

    @property
    def proven(self) -> Mapping[str, str] | None:
        """Each cell's code when the whole notebook ran last, here; None: it did not."""
        return self._proven

    async def run(
        self,
        on_cell: OnCell | None = None,
        *,
        args: Sequence[str] = (),
        timeout_s: float = 600.0,
        cells: Sequence[str] | None = None,
        ready: bool = False,  # noqa: ARG002
    ) -> RunReport:
        """Execute the whole notebook once and write session, figures, results and reports. Never raises for a failing
        cell; PostdocError("bad_message") for single ``cells``, which need a live notebook.
        ``ready`` concerns these only.
        """
        if cells is not None:
            raise PostdocError(
                "bad_message",
                "Single cells can only be run while the live notebook is open.",
                next="Run the whole notebook.",
            )
        began = time.monotonic()
        seen: dict[str, CellEvent] = {}

        async def tell(event: Mapping[str, Any]) -> None:
            told = messages.cell_event(event)
            if not told.console and not told.waits:
                seen[told.cell] = told
            if on_cell is not None:
                await on_cell(told)

        try:
            answer = await self._call("run", tell, wait_s=timeout_s + GRACE_S, args=list(args), timeout_s=timeout_s)
        except WorkerDied as died:
            answer = messages.of_death(died.end, died.why, list(seen.values()), self._codes)
        report = messages.run_report(answer, self.workspace, self.memory_bytes, timeout_s, time.monotonic() - began)
        self._ran = {cell.name: cell for cell in report.cells}
        self._proven = {cell.name: cell.code for cell in report.cells}
        return self._compared(report, messages.drawn(answer))

    def _compared(self, report: RunReport, drawn: dict[str, str]) -> RunReport:
        """The report with what was drawn, and what of it is new."""
        before, self._drawn = self._drawn, drawn
        redrawn = tuple(name for name, digest in drawn.items() if before.get(name) != digest)
        return replace(report, pictured=tuple(drawn), redrawn=redrawn)

    async def pictures(self, names: Sequence[str]) -> list[Picture]:
        """What these cells drew in the last run, at most eight pictures; drawn now, in the sandbox.

        A cell whose picture cannot be drawn is left out, as are all after a restart of the worker.
        """
        if not names or self._worker is None:
            return []
        return messages.pictures(await self._own("pictures", names=list(names)))

    async def interrupt(self) -> None:
        """Ctrl-C for the running notebook; its run ends with "stopped" within about a second."""
        if self._worker is not None:
            self._worker.say({"op": "interrupt"})

    async def renew(self) -> None:
        """The project's Python may be another one now: the worker ends, and the next call starts one with it."""
        worker, self._worker = self._worker, None
        if worker is not None:
            await worker.stop()

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
            self._worker = await start(self.workspace, self.memory_bytes, self._modules)
        return self._worker

    async def _call(
        self, op: str, on_event: messages.OnEvent | None = None, *, wait_s: float = CALL_S, **fields: Any
    ) -> dict[str, Any]:
        """One request of whoever does the work."""
        return await self._own(op, on_event, wait_s=wait_s, **fields)

    async def _own(
        self, op: str, on_event: messages.OnEvent | None = None, *, wait_s: float = CALL_S, **fields: Any
    ) -> dict[str, Any]:
        """One request of our own worker. A cancelled or overlong one takes it along: its state would be unknown."""
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

    def _remember(self, answer: Mapping[str, Any], *, seen: bool = False) -> None:
        self._codes = {cell.name: cell.code for cell in messages.cells(answer)}
        if seen:
            self._known = dict(self._codes)

    async def _basis(self) -> dict[str, str] | None:
        """The cells as whoever edits has seen them, perhaps by an earlier runtime; None: nothing is known of that."""
        if self._known is None and self.seen is not None and (found := await self.seen()) is not None:
            codes, ours = found
            now = {cell.name: cell.code for cell in await self.cells(seen=False)}
            # Of a cell that somebody has changed since we wrote it, or removed, nobody has seen what there is now.
            self._known = {
                **codes,
                **{name: now[name] if name in now and digest(now[name]) == ours[name] else "" for name in ours},
            }
        return self._known

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


def nameless(name: str) -> bool:
    return name.startswith("_") and name[1:].isdigit()


async def start(workspace: Workspace, memory_bytes: int, modules: Sequence[str]) -> Worker:
    """A batch worker of its own."""
    argv = [str(workspace.python), "-P", "-m", "jupyterlab_postdoc.notebooks.worker.serve"]
    # The kernel alone gets the address space limit (serve.py); resident memory is limited for all of them together.
    limits = Limits(memory_bytes=None, total_bytes=memory_bytes + OURS)
    env = {**ENV, "POSTDOC_KERNEL_MEMORY": str(memory_bytes), "POSTDOC_PRELOAD": ",".join(modules)}
    return Worker(await workspace.spawn(argv, env=env, limits=limits, line_limit=LINE))
