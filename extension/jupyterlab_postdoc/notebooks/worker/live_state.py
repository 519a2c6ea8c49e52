"""What is known of the live notebook's kernel from what it says: cell by cell, and whether its state can be trusted."""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

from marimo._ast.compiler import extract_markdown
from marimo._messaging.notification import (
    CellNotification,
    CompletedRunNotification,
    ExecutionNotification,
    InterruptedNotification,
    NotebookDocumentTransactionNotification,
)
from marimo._messaging.serde import deserialize_kernel_message
from marimo._runtime import commands
from marimo._runtime.scratch import SCRATCH_CELL_ID
from marimo._session.events import SessionEventListener
from marimo._types.ids import ConsumerId

from jupyterlab_postdoc.notebooks.worker.live_book import Book
from jupyterlab_postdoc.notebooks.worker.live_outputs import Outputs
from jupyterlab_postdoc.notebooks.worker.tracks import Listener, Track

TAINTS = (commands.UpdateUIElementCommand, commands.ModelCommand, commands.DebugCellCommand)
OURS = "postdoc-"
Tell = Callable[[dict[str, Any]], None]


def ignore(*_: Any) -> None: ...


class State(Listener, SessionEventListener):  # type: ignore[misc]
    """Listens to one session. ``ran`` holds for each cell the codes that were executed, by the kernel that is."""

    def __init__(self, book: Book, tell: Tell) -> None:
        self.tracks: dict[str, Track] = {}
        super().__init__(self.tracks, ignore, ignore)
        self.book, self.tell = book, tell
        self.session: Any = None
        self.status, self.message = "none", ""
        self.going: set[str] = set()
        self.ran: dict[str, list[str]] = {}
        self.touched: set[str] = set()
        self.tainted = self.interrupted = self.instantiated = False
        self.waiting = ""
        self.asked, self.heard = 0, 0  # what people asked of the kernel: so many commands, so many it has carried out
        self.fences: dict[str, asyncio.Event] = {}
        self.since = 0.0
        self.others: set[str] = set()
        self.unread: deque[Any] = deque()
        self.reporting: asyncio.TimerHandle | None = None

    @property
    def consumer_id(self) -> ConsumerId:
        return ConsumerId("postdoc-live")

    def be(self, status: str, message: str = "") -> None:
        if (status, message) != (self.status, self.message):
            self.status, self.message = status, message
            self.tell({"type": "kernel", "status": status, "message": message, "live": self.live})

    @property
    def live(self) -> bool:
        """Whether what a page shows is from this kernel: every cell has run in it. marimo never runs one that is only
        prose; what it shows is its text.
        """
        return all(id in self.ran or plain(track.code) for id, track in self.tracks.items())

    def notify(self, notification: Any) -> None:
        """Pages come first: what the kernel says is read here when it is on its way to them."""
        self.unread.append(notification)
        loop = asyncio.get_running_loop()
        loop.call_soon(loop.call_soon, self.read)

    def read(self) -> None:
        if self.unread:
            self.hear(deserialize_kernel_message(self.unread.popleft()))

    def catch_up(self) -> None:
        """Read all that was not read yet."""
        while self.unread:
            self.read()

    def hear(self, message: Any) -> None:
        if isinstance(message, ExecutionNotification):
            self.execution(message)
        elif isinstance(message, CellNotification):
            if message.cell_id != SCRATCH_CELL_ID:
                self.cell(self.track(message.cell_id), message)
        elif isinstance(message, CompletedRunNotification):
            if not self.going and self.status == "busy":
                self.be("idle")
                self.outputs.ran()
            if message.run_id is not None and message.run_id == self.waiting:
                self.done.set()
            if (fence := self.fences.pop(message.run_id or "", None)) is not None:
                fence.set()
        elif isinstance(message, InterruptedNotification):
            self.interrupted = True
        elif isinstance(message, NotebookDocumentTransactionNotification):
            self.document(message.transaction)

    def execution(self, message: ExecutionNotification) -> None:
        id = message.cell_id
        if id == SCRATCH_CELL_ID:
            return
        if message.phase == "planned":
            self.going.add(message.execution_id)
            self.touched.add(id)
            self.ran.setdefault(id, []).append(message.code or "")
            self.track(id).again()
            if self.status == "idle":
                self.be("busy")
        elif message.phase == "completed":
            self.going.discard(message.execution_id)

    def track(self, id: str) -> Track:
        if id not in self.tracks:
            self.tracks[id] = Track(id, "")
            self.sync()
        return self.tracks[id]

    def sync(self) -> None:
        """Names, code and order as the document has them now."""
        names = self.book.ids()
        codes = {cell.id: cell.code for cell in self.book.rows()}
        old = dict(self.tracks)
        self.tracks.clear()
        for id, name in names.items():
            self.tracks[id] = cell = old.pop(id, None) or Track(name, codes[id])
            cell.key, cell.code = name, codes[id]
        self.tracks.update(old)

    def document(self, transaction: Any) -> None:
        """Somebody changed the notebook: tell it, unless it was us."""
        loop = asyncio.get_running_loop()
        loop.call_soon(self.sync)  # marimo's Host API hears of it after us
        gone = {change.cell_id for change in transaction.changes if type(change).__name__ == "DeleteCell"}
        self.tainted = self.tainted or any(self.ran.get(id) for id in gone)
        names = {id: self.tracks.pop(id).key for id in gone if id in self.tracks}
        for id in gone:
            self.ran.pop(id, None)
        if transaction.source in ("host", "kernel"):
            return
        ids = {str(id) for change in transaction.changes if (id := getattr(change, "cell_id", None))}
        self.others |= {names.get(id, id) for id in ids}
        if self.reporting is None:
            self.reporting = loop.call_later(0.5, self.report)

    def report(self) -> None:
        names = {self.tracks[id].key if id in self.tracks else id for id in self.others}
        self.reporting, self.others = None, set()
        self.tell({"type": "changed", "cells": sorted(names)})

    def on_received_command(self, session: Any, request: Any, from_consumer_id: Any) -> None:  # noqa: ARG002
        """Whatever changes the kernel's state beside running cells makes the next whole run start afresh."""
        self.asked += from_consumer_id is not None
        if isinstance(request, commands.CreateNotebookCommand):
            self.instantiated = True
        elif isinstance(request, TAINTS):
            self.tainted = True
        elif isinstance(request, commands.ExecuteScratchpadCommand):
            self.tainted = self.tainted or not (request.run_id or "").startswith(OURS)

    def states(self) -> list[dict[str, Any]]:
        """What became of every cell that ran; "stale" when it ran with other code than it has now."""
        found = []
        for id, track in self.tracks.items():
            if runs := self.ran.get(id):
                found.append(track.state() | ({} if runs[-1] == track.code else {"status": "stale"}))
        return found

    def pristine(self, root: Path, uses: Callable[[], Mapping[str, set[str]]]) -> bool:
        """Whether the kernel's state is that of a fresh run as far as cells ran: each once, with its present code,
        no control was moved, no file of the project was changed since.

        ``uses`` gives for each cell (by name) the cells that read what it defines.
        """
        if self.tainted or self.interrupted or self.status not in ("idle", "busy"):
            return False
        known = {id: self.ran[id] for id in self.ran if id in self.tracks}
        if any(runs != [self.tracks[id].code] for id, runs in known.items()):
            return False
        if any(self.tracks[id].status not in ("ok",) for id in known):
            return False
        done = {self.tracks[id].key for id in known}
        readers = uses() if known else {}
        if any(readers.get(track.key, set()) & done for id, track in self.tracks.items() if id not in known):
            return False
        return not known or not touched_since(root, self.since, self.book.path)

    @property
    def outputs(self) -> Outputs:
        return cast(Outputs, self.session.extensions.get(Outputs))


@lru_cache(1024)
def plain(code: str) -> bool:
    """Whether a cell computes nothing: it is empty, or a text without variables."""
    return not code.strip() or extract_markdown(code) is not None


def touched_since(root: Path, since: float, notebook: Path) -> bool:
    """Whether a file of the project, other than the notebook and what runs make, is younger than ``since``."""
    ours = {"__marimo__", "figures", "reports", "__pycache__", ".git"}
    left = 5_000
    for folder, names, files in os.walk(root):
        names[:] = [name for name in names if name not in ours]
        for name in files:
            left -= 1
            place = Path(folder) / name
            if place == notebook or (folder == str(root) and name == "results.json") or name.endswith(".tmp"):
                continue
            with suppress(OSError):
                if place.stat().st_mtime > since:
                    return True
            if left <= 0:
                return True  # too many to look at: a fresh kernel is the safe answer
    return False
