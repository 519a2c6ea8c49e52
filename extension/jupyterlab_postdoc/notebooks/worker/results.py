"""Everything that is made from one execution: session, figures, results, HTML. Nothing is executed here."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from marimo._config.manager import get_default_config_manager
from marimo._export._session_cache import serialize_session_snapshot, write_session_snapshot
from marimo._export.exporter import Exporter
from marimo._export.requests import HTMLExportRequest
from marimo._export.serialization import serialize_notebook_snapshot
from marimo._schemas.export_options import HTMLExportOptions

from jupyterlab_postdoc.notebooks.worker import outputs
from jupyterlab_postdoc.notebooks.worker.author import write
from jupyterlab_postdoc.notebooks.worker.drawings import drawings
from jupyterlab_postdoc.notebooks.worker.tracks import Listener, Track

CONSOLE_ROWS = 2_000


class Results:
    """An execution that ended. ``end`` says how it went; ``file`` is marimo's file manager, ``view`` what it shows."""

    def __init__(self, path: Path, file: Any, cells: dict[str, Track], timeout_s: float) -> None:
        self.path, self.file, self.cells, self.timeout_s = path, file, cells, timeout_s
        self.end, self.detail = "ok", ""
        self.view: Any = None

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
            target = folder / f"{cell.key}.png"
            write(target, outputs.signed(data, cell.key))
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
