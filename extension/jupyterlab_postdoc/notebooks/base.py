"""What a notebook runtime does, and the values it answers with; knows nothing of marimo or of processes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

CellStatus = Literal["new", "queued", "running", "ok", "error", "skipped", "stale"]
Severity = Literal["error", "warning", "note"]
RunEnd = Literal["ok", "failed", "timeout", "stopped", "crashed", "memory"]


@dataclass(frozen=True, slots=True)
class CellError:
    """Why a cell failed. ``line`` counts from 1 in the cell's own code; ``traceback`` is the tail, plain text."""

    name: str
    message: str
    line: int | None = None
    traceback: str = ""


@dataclass(frozen=True, slots=True)
class Output:
    """One output of a cell, made small enough for a log row (the limits are in worker/outputs.py).

    ``kind``: text, markdown, html (all three as plain ``text``), table (``data``: {"columns", "rows", "n_rows",
    "n_columns"}), json (``data``), image (``path`` of the PNG in the workspace), chart (``text``: its title; ``data``:
    {"mark", "encoding"}).
    """

    kind: str
    text: str = ""
    data: Any = None
    path: str | None = None


@dataclass(frozen=True, slots=True)
class CellState:
    """One cell as it stands: its text on disk and what became of its last run."""

    name: str
    code: str
    status: CellStatus = "new"
    hide_code: bool = False
    outputs: tuple[Output, ...] = ()
    error: CellError | None = None
    duration_ms: int | None = None


@dataclass(frozen=True, slots=True)
class CellEvent:
    """A cell changed its status during a run. ``index`` counts from 1; ``total`` is the number of cells.

    ``status`` goes queued → running → ok | error | skipped; events with ``console`` are output while it runs. With
    ``waits`` the run has not begun: it waits for this cell ("": not known which), which a person has started.
    """

    cell: str
    status: CellStatus
    index: int
    total: int
    outputs: tuple[Output, ...] = ()
    console: str = ""
    error: CellError | None = None
    duration_ms: int | None = None
    waits: bool = False

    @property
    def sentence(self) -> str:
        """The progress line: ``Running cell 4 of 9 (returns)``."""
        if self.waits:
            return f"Waits for the cell that you are running{f' ({self.cell})' if self.cell else ''}"
        return f"Running cell {self.index} of {self.total} ({self.cell})"


@dataclass(frozen=True, slots=True)
class Issue:
    """A finding of the check; severity "error": it cannot run as written. ``line`` counts from 1 in the cell."""

    code: str
    cell: str | None
    line: int | None
    message: str
    severity: Severity = "error"


@dataclass(frozen=True, slots=True)
class EditResult:
    """An edit that was written to disk: the notebook's cell names in order, what changed, and the check's findings.
    ``written`` are the digests of the code that changed cells have now (see compare.py).
    """

    cells: tuple[str, ...]
    changed: tuple[str, ...]
    deleted: tuple[str, ...] = ()
    issues: tuple[Issue, ...] = ()
    written: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Picture:
    """What a cell drew, as a PNG of at most 1200 pixels in width and 1 MB."""

    cell: str
    png: bytes


@dataclass(frozen=True, slots=True)
class RunReport:
    """How a run ended. Paths are relative to the workspace; ``message`` is one sentence for a person.

    ``failed`` names the cells with an error of their own, ``skipped`` those that an ancestor's error kept from running.
    ``pictured`` names the cells that drew something, ``redrawn`` those of them that drew something else than last time.
    """

    end: RunEnd
    message: str
    cells: tuple[CellState, ...] = ()
    failed: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()
    verdict: Mapping[str, Any] | None = None
    verdict_error: str | None = None
    figures: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    pictured: tuple[str, ...] = ()
    redrawn: tuple[str, ...] = ()
    duration_s: float = 0.0
    timings: Mapping[str, float] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        return self.end == "ok"


OnCell = Callable[[CellEvent], Awaitable[None]]
Seen = tuple[Mapping[str, str], Mapping[str, str]]


class NotebookRuntime(Protocol):
    """One notebook file of one workspace. Calls are made one at a time; ``interrupt`` and ``close`` may come any time.

    While ``live`` is True the notebook is open in an editor: edits and runs show there, and ``run(cells=…)`` runs these
    cells and what depends on them in the kernel as it is, without artifacts. ``proven`` is each cell's code as it was
    when the whole notebook ran last through this runtime; None: it did not.

    An edit is refused when it would replace what its author has not seen: a cell is seen when ``cells`` told of it
    (unless ``seen`` is False: then only we have looked), when it was edited here, and when a conflict showed it. The
    attribute ``seen`` tells a new runtime what its author saw before: names to codes, and for cells that were edited
    since then names to digests; None: nothing is known, then nothing is refused.

    ``turn`` is asked before an open notebook is started again under the people who look at it: it waits, or raises what
    ends the call, while one of them has it in hand.

    Errors: ``PostdocError("notebook_failed" | "version_conflict" | "bad_message" | "not_found" | "sandbox_missing")``.
    """

    root: Path
    path: str
    turn: Callable[[], Awaitable[None]] | None
    seen: Callable[[], Awaitable[Seen | None]] | None

    async def warm(self, modules: Sequence[str] = ()) -> None: ...
    async def create(self, path: str, *, title: str, header: str = "", width: str = "medium") -> None: ...
    async def cells(self, *, seen: bool = True) -> list[CellState]: ...
    async def edit(self, changes: Sequence[Mapping[str, Any]]) -> EditResult: ...
    async def check(self) -> list[Issue]: ...
    @property
    def live(self) -> bool: ...
    @property
    def proven(self) -> Mapping[str, str] | None: ...
    async def run(
        self,
        on_cell: OnCell | None = None,
        *,
        args: Sequence[str] = (),
        timeout_s: float = 600.0,
        cells: Sequence[str] | None = None,
        ready: bool = False,
    ) -> RunReport: ...
    async def pictures(self, names: Sequence[str]) -> list[Picture]: ...
    async def interrupt(self) -> None: ...
    async def renew(self) -> None: ...
    async def close(self) -> None: ...
