"""What the kernel says of each cell → cell events, and what is known of each cell afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from marimo._messaging.cell_output import CellChannel
from marimo._messaging.notification import CellNotification, CompletedRunNotification
from marimo._messaging.serde import deserialize_kernel_message
from marimo._session.consumer import SessionConsumer
from marimo._session.model import ConnectionState
from marimo._types.ids import ConsumerId

from jupyterlab_postdoc.notebooks.worker import outputs

Emit = Callable[[dict[str, Any]], None]
See = Callable[[str, str, Any], None]
NAMES = {
    "interruption": "KeyboardInterrupt",
    "syntax": "SyntaxError",
    "multiple-defs": "MultipleDefinitionError",
    "cycle": "CycleError",
    "setup-refs": "SetupRootError",
    "import-star": "ImportStarError",
}
SKIPPED = {"ancestor-prevented", "ancestor-stopped"}


@dataclass
class Track:
    """What is known of one cell while it runs."""

    key: str
    code: str
    status: str = "new"
    index: int = 0
    began: float = 0.0
    duration_ms: int | None = None
    output: Any = None
    errors: list[Any] = field(default_factory=list)
    error: dict[str, Any] | None = None
    console: str = ""
    console_left: int = outputs.CONSOLE_CHARS
    traceback: str = ""
    outputs: list[dict[str, Any]] = field(default_factory=list)

    def again(self) -> None:
        """The cell is about to run once more: what is known of its last run goes."""
        self.__dict__.update(vars(Track(self.key, self.code)), outputs=[], errors=[])

    def state(self) -> dict[str, Any]:
        names = ("status", "outputs", "error", "duration_ms")
        return {"name": self.key, "code": self.code, **{name: getattr(self, name) for name in names}}


class Listener(SessionConsumer):  # type: ignore[misc]
    """Turns the kernel's messages into cell events."""

    def __init__(self, cells: Mapping[str, Track], emit: Emit, see: See) -> None:
        self.cells, self.emit, self.see = cells, emit, see
        self.started = 0
        self.done = asyncio.Event()

    @property
    def consumer_id(self) -> ConsumerId:
        return ConsumerId("postdoc")

    def on_attach(self, session: Any, event_bus: Any) -> None: ...
    def on_detach(self) -> None: ...
    def connection_state(self) -> ConnectionState:
        return ConnectionState.OPEN

    def notify(self, notification: Any) -> None:
        message = deserialize_kernel_message(notification)
        if isinstance(message, CompletedRunNotification):
            self.done.set()
        elif isinstance(message, CellNotification) and (cell := self.cells.get(message.cell_id)):
            self.cell(cell, message)

    def cell(self, cell: Track, message: Any) -> None:
        output = message.output
        if output is not None:
            failed = output.channel == CellChannel.MARIMO_ERROR
            cell.errors, cell.output = (list(output.data), None) if failed else ([], output)
        rows = message.console if isinstance(message.console, list) else [message.console] if message.console else []
        for row in rows:
            self.console(cell, row)
        if message.status == "running":
            self.started += 1
            cell.status, cell.began, cell.index = "running", message.timestamp, self.started
            self.event(cell)
        elif message.status == "queued":
            cell.status = "queued"
        elif message.status == "idle" and cell.status == "running":
            cell.duration_ms = max(0, round((message.timestamp - cell.began) * 1000))
            self.finish(cell)

    def console(self, cell: Track, row: Any) -> None:
        text = str(row.data)
        if row.mimetype == "application/vnd.marimo+traceback":
            cell.traceback = text
        elif row.mimetype == "text/plain" and cell.console_left > 0:
            text = text[: cell.console_left]
            cell.console_left -= len(text)
            if cell.console_left <= 0:
                text += "\n… more output of this cell is not shown …\n"
            cell.console += text
            self.event(cell, console=text)

    def finish(self, cell: Track) -> None:
        """The cell's last word: ok, error or skipped, with its outputs made small."""
        cell.error = explain(cell)
        skipped = cell.index == 0 and any(error_type(error) == "interruption" for error in cell.errors)
        skipped = skipped or any(
            error_type(error) in SKIPPED or getattr(error, "raising_cell", None) for error in cell.errors
        )
        cell.status = "skipped" if skipped else "error" if cell.error else "ok"
        if skipped:
            cell.error = None
        if cell.output is not None and cell.output.data not in (None, ""):
            with suppress(ValueError, TypeError, AttributeError, RecursionError):
                cell.outputs = outputs.summarise(cell.output.mimetype, cell.output.data, None)
            self.see(cell.key, cell.output.mimetype, cell.output.data)
        self.event(cell)

    def event(self, cell: Track, console: str = "") -> None:
        body = {"cell": cell.key, "status": cell.status, "index": cell.index or self.started, "total": len(self.cells)}
        if console:
            self.emit({**body, "console": console})
        else:
            self.emit({**body, "outputs": cell.outputs, "error": cell.error, "duration_ms": cell.duration_ms})


def error_type(error: Any) -> str:
    tag = getattr(getattr(error, "__struct_config__", None), "tag", None)
    return str(tag or (error.get("type") if isinstance(error, dict) else ""))


def explain(cell: Track) -> dict[str, Any] | None:
    """The error of a cell in plain words: name, message, line in the cell, tail of the traceback."""
    if not cell.errors:
        failed = outputs.failed_tests(cell.console) if "def test_" in cell.code else None
        return {"name": "AssertionError", "message": failed, "line": None, "traceback": ""} if failed else None
    error = cell.errors[0]
    kind = error_type(error)
    name = getattr(error, "exception_type", None) or NAMES.get(kind, kind)
    text, line = outputs.traceback_text(cell.traceback or getattr(error, "traceback", None) or "", cell.key)
    message = error.describe() if hasattr(error, "describe") else str(error)
    if kind == "multiple-defs":
        message = f"The name {error.name!r} is defined by another cell, too."
    return {
        "name": str(name),
        "message": outputs.clip(message, 2000),
        "line": line or getattr(error, "lineno", None),
        "traceback": text,
    }
