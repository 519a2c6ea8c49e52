"""One execution of a notebook, told cell by cell; afterwards everything that is made from it: session, figures,
results, HTML.

marimo's own headless run (``marimo._export.file.run_notebook``) gives its results only at the end. This one uses the
same session object and listens to its messages. The names used here are private to marimo, which is why its version
is pinned.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from marimo._cli.parse_args import parse_args
from marimo._config.manager import get_default_config_manager
from marimo._export._session_cache import serialize_session_snapshot, write_session_snapshot
from marimo._export.exporter import Exporter
from marimo._export.requests import HTMLExportRequest
from marimo._export.serialization import serialize_notebook_snapshot
from marimo._messaging.cell_output import CellChannel
from marimo._messaging.notification import CellNotification, CompletedRunNotification
from marimo._messaging.serde import deserialize_kernel_message
from marimo._runtime.commands import AppMetadata
from marimo._runtime.patches import extract_docstring_from_header
from marimo._schemas.export_options import HTMLExportOptions
from marimo._session.consumer import SessionConsumer
from marimo._session.model import ConnectionState, SessionMode
from marimo._session.notebook import load_notebook
from marimo._session.requests import InstantiateNotebookRequest
from marimo._session.session import SessionImpl
from marimo._session.startup import SessionStartup
from marimo._types.ids import ConsumerId

from jupyterlab_postdoc.notebooks.worker import launch, outputs
from jupyterlab_postdoc.notebooks.worker.author import Notebook, write
from jupyterlab_postdoc.notebooks.worker.drawings import drawings

Emit = Callable[[dict[str, Any]], None]
See = Callable[[str, str, Any], None]
POLL_S = 0.05
INTERRUPT_S = 1.0  # how long an interrupted kernel may take before it is killed
SETTLE_S = 0.03  # console text may arrive just after the end of the run
CONSOLE_ROWS = 2_000
RUNTIME = {"on_cell_change": "autorun", "auto_instantiate": True, "auto_reload": "off", "watcher_on_save": "lazy"}
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

    def state(self) -> dict[str, Any]:
        names = ("status", "outputs", "error", "duration_ms")
        return {"name": self.key, "code": self.code, **{name: getattr(self, name) for name in names}}


class Listener(SessionConsumer):  # type: ignore[misc]
    """Turns the kernel's messages into cell events."""

    def __init__(self, cells: dict[str, Track], emit: Emit, see: See) -> None:
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


class Run:
    """One execution. ``interrupt`` may be called at any time; ``end`` says how it went."""

    def __init__(self, path: Path, notebook: Notebook, args: list[str], timeout_s: float, emit: Emit, see: See) -> None:
        self.path, self.args, self.timeout_s, self.emit, self.see = path, args, timeout_s, emit, see
        self.notebook = notebook
        self.file = load_notebook(str(path))
        ids = [cell.cell_id for cell in self.file.app.cell_manager.cell_data()]
        self.cells = {i: Track(c.key, c.code) for i, c in zip(ids, notebook.cells, strict=True)}
        self.stop = asyncio.Event()
        self.end, self.detail = "ok", ""
        self.view: Any = None

    def interrupt(self) -> None:
        self.stop.set()

    async def execute(self) -> None:
        """Run to the end, the time limit, an interrupt, or the kernel's death."""
        listener = Listener(self.cells, self.emit, self.see)
        launch.use()
        config = get_default_config_manager(current_path=self.file.path).with_overrides({"runtime": RUNTIME})
        session = await SessionImpl.create(
            startup=SessionStartup(),
            initialization_id="postdoc",
            session_consumer=listener,
            mode=SessionMode.EDIT,  # a kernel process of its own, whose console is captured
            app_metadata=AppMetadata(
                query_params={},
                filename=self.file.path,
                cli_args=parse_args(self.args) if self.args else {},
                argv=self.args,
                app_config=self.file.app.config,
                docstring=extract_docstring_from_header(self.file.app._app._header),
            ),
            app_file_manager=self.file,
            config_manager=config,
            virtual_file_storage=None,
            redirect_console_to_browser=False,
            ttl_seconds=None,
            auto_instantiate=True,
        )
        self.view = session.session_view
        try:
            session.instantiate(InstantiateNotebookRequest(object_ids=[], values=[]), http_request=None)
            await self.watch(session, listener)
            await asyncio.sleep(SETTLE_S)
        finally:
            session.close()
        self.conclude(listener)

    async def watch(self, session: Any, listener: Listener) -> None:
        began = time.monotonic()
        while not listener.done.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(listener.done.wait(), POLL_S)
            self.trim()
            if listener.done.is_set():
                break
            late = time.monotonic() - began > self.timeout_s
            if late or self.stop.is_set():
                self.end = "timeout" if late else "stopped"
                await self.halt(session, listener)
                return
            if (info := session.kernel_exit_info()) is not None:
                await asyncio.sleep(0.2)  # its last messages may still be in the pipe
                self.end, self.detail = "crashed", str(info_code(info, session))
                return

    async def halt(self, session: Any, listener: Listener) -> None:
        """Ctrl-C first, so that the running cell shows where it was; then the kernel is killed."""
        session.try_interrupt()
        with suppress(TimeoutError):
            await asyncio.wait_for(listener.done.wait(), INTERRUPT_S)
            return
        if pid := session.kernel_pid():
            with suppress(OSError):
                os.kill(pid, signal.SIGKILL)

    def trim(self) -> None:
        """marimo keeps all console text of a cell; a flood would fill our memory."""
        for note in self.view.cell_notifications.values() if self.view else ():
            if isinstance(note.console, list) and len(note.console) > CONSOLE_ROWS:
                del note.console[CONSOLE_ROWS // 2 : -CONSOLE_ROWS // 4]

    def conclude(self, listener: Listener) -> None:
        """Every cell gets a last word, also those that never ran."""
        for cell in self.cells.values():
            if cell.status in ("ok", "error", "skipped"):
                if self.end == "timeout" and cell.error and cell.error["name"] == "KeyboardInterrupt":
                    cell.error |= {k: v for k, v in self.cut().items() if k in ("name", "message")}
                continue
            if cell.status == "running" and self.end != "ok":
                cell.duration_ms = round((time.time() - cell.began) * 1000)
                cell.error, cell.status = self.cut(), "error"
                listener.event(cell)
            elif cell.errors:
                listener.finish(cell)
            elif self.end != "ok":
                cell.status = "skipped"
                listener.event(cell)
            else:
                listener.finish(cell)
        if self.end == "ok" and any(cell.status == "error" for cell in self.cells.values()):
            self.end = "failed"

    def cut(self) -> dict[str, Any]:
        names = {"timeout": "TimeoutError", "stopped": "KeyboardInterrupt"}
        sentence = {
            "timeout": f"The time limit of {self.timeout_s:g} s ended this cell.",
            "stopped": "This cell was interrupted.",
        }.get(self.end, f"The Python process ended while this cell ran ({self.detail}).")
        return {"name": names.get(self.end, "KernelDied"), "message": sentence, "line": None, "traceback": ""}

    def figures(self, folder: Path) -> list[str]:
        """Write the PNG of every named cell that drew one. After a complete run, those of earlier runs go."""
        written = []
        for cell in self.cells.values():
            if not cell.key.isidentifier() or cell.key.startswith("_") or cell.status != "ok":
                continue
            data = outputs.png(cell.output.mimetype, cell.output.data) if cell.output is not None else None
            if data is None:
                continue
            folder.mkdir(parents=True, exist_ok=True)
            target = folder / f"{cell.key}.png"
            temporary = target.with_suffix(".png.tmp")
            temporary.write_bytes(outputs.signed(data, cell.key))
            temporary.replace(target)
            written.append(f"{folder.name}/{target.name}")
            cell.outputs = outputs.summarise(cell.output.mimetype, cell.output.data, written[-1])
        if self.end == "ok":
            tidy(folder, written)
        return written

    def drawings(self) -> dict[str, list[Any]]:
        """What the cells that ran to their end drew, in the notebook's order; nothing is rendered yet."""
        found = {}
        for cell in self.cells.values():
            if cell.status == "ok" and cell.output is not None:
                with suppress(ValueError, TypeError, AttributeError, RecursionError):
                    if drawn := drawings(cell.output.mimetype, cell.output.data):
                        found[cell.key] = drawn
        return found

    def verdict(self, target: Path) -> tuple[dict[str, Any] | None, str | None]:
        """(the verdict, None) after writing results.json, or (None, why there is none)."""
        cell = next((c for c in self.cells.values() if c.key == "verdict"), None)
        if cell is None:
            return None, None
        if cell.status != "ok" or cell.output is None:
            return None, "The cell 'verdict' did not run to its end, so there are no results."
        try:
            value = outputs.verdict(cell.output.mimetype, cell.output.data)
        except outputs.BadVerdict as error:
            return None, str(error)
        except (ValueError, RecursionError) as error:
            return None, f"The verdict could not be read: {error}."
        write(target, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
        return value, None

    def session_file(self) -> dict[str, Any]:
        """Write ``__marimo__/session/<name>.json`` as ``marimo export session`` does, and return it."""
        ids = list(self.file.app.cell_manager.cell_ids())
        snapshot = serialize_session_snapshot(self.view, notebook_path=self.path, cell_ids=ids)
        write_session_snapshot(notebook_path=self.path, snapshot=snapshot)
        return dict(snapshot)

    def html(self) -> str:
        """The executed notebook as marimo's own interactive page (its scripts are not inside)."""
        config = get_default_config_manager(current_path=self.file.path).get_config()
        page, _ = Exporter().export_as_html(
            HTMLExportRequest(
                filename=self.file.filename,
                app_code=self.file.app.to_py(),
                app_config=self.file.app.config,
                snapshot=serialize_notebook_snapshot(
                    self.file.app, self.view, drop_virtual_file_outputs=False, include_model_notifications=True
                ),
                display_config=config["display"],
                options=HTMLExportOptions(files=(), include_code=True),
            )
        )
        return str(page)


def tidy(folder: Path, written: list[str]) -> None:
    """Remove figures of cells that no longer draw: only files that a run made and nobody changed."""
    for old in folder.glob("*.png"):
        with suppress(OSError):
            if f"{folder.name}/{old.name}" not in written and outputs.signature(old.stem) in old.read_bytes()[33:400]:
                old.unlink()


def info_code(info: Any, session: Any) -> str:
    """How the kernel died, for a person: ``exit code 3``, ``killed by SIGKILL``."""
    code = getattr(getattr(session._kernel_manager, "kernel_task", None), "exitcode", None)
    if isinstance(code, int) and code < 0:
        with suppress(ValueError):
            return f"killed by {signal.Signals(-code).name}"
    return f"exit code {code}" if code is not None else str(info)
