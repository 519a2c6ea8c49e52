"""The outputs of an open notebook across processes: what was shown last comes back cell by cell, and the session file
is written only after something ran.

marimo's own cache is all or nothing: one changed cell, and it begins with no outputs and writes that over the file.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from marimo._export._session_cache import serialize_session_snapshot
from marimo._session.extensions.extensions import CachingExtension
from marimo._session.state.serialize import deserialize_session, get_session_cache_file
from marimo._utils.code import hash_code

from jupyterlab_postdoc.notebooks.worker.author import write

WRITE_S = 1.0


class Outputs(CachingExtension):  # type: ignore[misc]
    """In the place of marimo's; part of a session."""

    def __init__(self, **_: Any) -> None:
        super().__init__(enabled=False)
        self.changed = False
        self.later: asyncio.TimerHandle | None = None
        self.of: Any = None

    def on_attach(self, session: Any, event_bus: Any) -> None:  # noqa: ARG002
        self.of = session
        session.session_view.cell_notifications.update(remembered(session))

    def on_detach(self) -> None:
        self.flush()

    def ran(self) -> None:
        """Something ran: the file is written soon."""
        self.changed = True
        if self.later is None:
            self.later = asyncio.get_running_loop().call_later(WRITE_S, self.flush)

    def written(self) -> None:
        """Somebody wrote the file just now."""
        self.changed = False

    def flush(self) -> None:
        if self.later is not None:
            self.later.cancel()
            self.later = None
        if self.changed:
            self.changed = False
            with suppress(OSError):
                path = Path(self.of.app_file_manager.path)
                snapshot = serialize_session_snapshot(
                    self.of.session_view, notebook_path=path, cell_ids=self.of.document.cell_ids
                )
                write(get_session_cache_file(path), json.dumps(snapshot, indent=2))


def remembered(session: Any) -> dict[str, Any]:
    """Cell → what it showed last, of those whose code is still the same."""
    path = session.app_file_manager.path
    ids = {hash_code(cell.code): cell.id for cell in session.document.cells if cell.code}
    try:
        saved = json.loads(get_session_cache_file(Path(path)).read_text(encoding="utf-8"))
        saved["cells"] = [cell for cell in saved["cells"] if cell["code_hash"] in ids]
        return dict(deserialize_session(saved, ids).cell_notifications)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}  # no file, or not one of ours
