"""One run in the live kernel: the whole notebook, as it would be from a fresh state, or some cells and what depends on
them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence

from jupyterlab_postdoc.notebooks.worker.author import Notebook, Refused
from jupyterlab_postdoc.notebooks.worker.check import Graph
from jupyterlab_postdoc.notebooks.worker.execute import SETTLE_S, Execution
from jupyterlab_postdoc.notebooks.worker.live_kernel import Kernel
from jupyterlab_postdoc.notebooks.worker.live_state import ignore
from jupyterlab_postdoc.notebooks.worker.tracks import Emit, See, Track


class LiveRun(Execution):
    """``cells`` are all of the notebook's after a whole run, those that ran after a partial one."""

    def __init__(self, kernel: Kernel, timeout_s: float, emit: Emit, see: See) -> None:
        super().__init__(kernel.book.path, None, {}, timeout_s)
        self.kernel, self.emit, self.see = kernel, emit, see
        self.restarted = False

    async def whole(self) -> None:
        """Everything, in a fresh kernel unless this one is as good; then only what has not run yet."""
        kernel = self.kernel
        new = kernel.session is None or kernel.status == "dead"
        await kernel.up()
        kernel.sync()
        left = [id for id in kernel.tracks if not kernel.ran.get(id)]
        fresh = not kernel.ran and not kernel.tainted
        if not (new or fresh or kernel.pristine(self.path.parent, lambda: readers(kernel.book.read()))):
            await kernel.renew(blank=True)
            self.restarted, fresh, left = True, True, list(kernel.tracks)
        self.begin()
        if fresh or new:
            kernel.instantiate(run=True)
        else:
            for id in (id for id in kernel.tracks if id not in left):
                self.told(kernel.tracks[id])
            if left:
                kernel.execute(left)
        await self.wait()
        self.end_with({id: track for id, track in kernel.tracks.items() if id in kernel.book.ids()})

    async def some(self, names: Sequence[str], *, ready: bool = False) -> None:
        """These cells, what they need that has not run yet, and what depends on them.

        With ``ready`` those are left for later that read what no cell defines yet: a notebook that is being written
        from top to bottom shows no errors for what comes at its end.
        """
        kernel = self.kernel
        await kernel.up()
        kernel.sync()
        wanted = needed(kernel, set(names))
        if ready:
            wanted -= waiting(kernel.book.read())
            if not wanted:
                self.cells = {}
                return
        self.begin()
        if not kernel.instantiated:
            kernel.instantiate(run=False)
        kernel.execute([id for id, track in kernel.tracks.items() if track.key in wanted])
        await self.wait()
        self.end_with({id: track for id, track in kernel.tracks.items() if id in kernel.touched})

    def begin(self) -> None:
        """Raises Refused when it was stopped while the kernel was made ready."""
        if self.stop.is_set():
            raise stopped()
        kernel = self.kernel
        kernel.catch_up()
        kernel.started, kernel.emit, kernel.see = 0, self.emit, self.see
        kernel.touched.clear()
        kernel.interrupted = False
        self.file, self.view = kernel.session.app_file_manager, kernel.session.session_view

    def told(self, track: Track) -> None:
        """A cell that need not run again says so, with what it gave."""
        self.kernel.started += 1
        track.index = self.kernel.started
        if track.output is not None:
            self.see(track.key, track.output.mimetype, track.output.data)
        self.kernel.event(track)

    async def wait(self) -> None:
        kernel = self.kernel
        kernel.mark()
        kernel.free.clear()
        try:
            await self.watch(kernel.session, kernel)
        finally:
            kernel.free.set()
        await asyncio.sleep(SETTLE_S)
        if self.end == "ok" and kernel.interrupted:
            self.end = "stopped"

    def end_with(self, cells: dict[str, Track]) -> None:
        self.cells = cells
        self.conclude(self.kernel)
        self.kernel.emit, self.kernel.see = ignore, ignore


def stopped() -> Refused:
    return Refused("notebook_failed", "The run was stopped before it began.", "Run it again.")


def needed(kernel: Kernel, names: set[str]) -> set[str]:
    """These cells; what reads from them, directly or not, and has not run as it is now (the kernel runs the others by
    itself); and what all of these need that has not run as it is now.
    """
    notebook = kernel.book.read()
    behind = {track.key for id, track in kernel.tracks.items() if kernel.ran.get(id, [])[-1:] != [track.code]}
    down = readers(notebook)
    up = {name: {other for other in down if name in down[other]} | {"setup"} for name in down}
    reached = closure(names, lambda name: down.get(name, set()))
    wanted = names | (reached & behind)
    return wanted | (closure(wanted, lambda name: up.get(name, set()) & behind) & behind)


def outdated(kernel: Kernel, before: Notebook, names: Mapping[str, str], after: Notebook) -> set[str]:
    """Of a notebook that was replaced, the cells (by id) whose output is not that of their code, or of what they read.

    ``names`` are those that the cells had ``before``, by id.
    """
    now = kernel.book.ids()
    was = dict(zip(names, (cell.code for cell in before.cells), strict=True))
    was |= {id: codes[-1] for id, codes in kernel.ran.items() if codes}
    changed = {id for id, cell in zip(now, after.cells, strict=True) if was.get(id) != cell.code}
    gone = {name for id, name in names.items() if id not in now}
    down, old = readers(after), readers(before)
    new = closure({now[id] for id in changed}, lambda name: down.get(name, set()))
    lost = closure({names[id] for id in changed if id in names} | gone, lambda name: old.get(name, set()))
    return changed | {id for id in now if now[id] in new or names.get(id) in lost}


def waiting(notebook: Notebook) -> set[str]:
    """Cells that read a name which no cell defines, and what depends on them."""
    down = readers(notebook)
    lacking = {str(found["cell"]) for found in Graph(notebook).undefined()}
    return closure(lacking, lambda name: down.get(name, set()))


def closure(names: set[str], following: Callable[[str], set[str]]) -> set[str]:
    found, left = set(names), list(names)
    while left:
        more = following(left.pop()) - found
        found |= more
        left += more
    return found


def readers(notebook: Notebook) -> Mapping[str, set[str]]:
    """Cell → the cells that read a name it defines."""
    graph = Graph(notebook)
    return {
        name: {other for other, refs in graph.refs.items() if other != name and refs & defs}
        for name, defs in graph.defs.items()
    }
