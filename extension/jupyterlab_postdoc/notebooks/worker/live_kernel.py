"""The live notebook's kernel: what it is doing, what ran in it, partial runs, and a new process in its place.

A kernel is exchanged below marimo's session, so that open pages stay as they are and the person's cursor, too.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

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
from marimo._session.extensions.extensions import HeartbeatExtension, NotificationListenerExtension, QueueExtension
from marimo._session.managers import QueueManagerImpl
from marimo._session.requests import InstantiateNotebookRequest
from marimo._types.ids import ConsumerId

from jupyterlab_postdoc.notebooks.worker import launch
from jupyterlab_postdoc.notebooks.worker.author import Refused
from jupyterlab_postdoc.notebooks.worker.execute import info_code
from jupyterlab_postdoc.notebooks.worker.live_book import Book
from jupyterlab_postdoc.notebooks.worker.live_outputs import Outputs
from jupyterlab_postdoc.notebooks.worker.tracks import Listener, Track

START_S = 60.0
TAINTS = (commands.UpdateUIElementCommand, commands.ModelCommand, commands.DebugCellCommand)
OURS = "postdoc-"
Tell = Callable[[dict[str, Any]], None]


def ignore(*_: Any) -> None: ...


class Kernel(Listener, SessionEventListener):  # type: ignore[misc]
    """Watches the session of one notebook, whoever started it, and knows of each cell what became of it."""

    def __init__(self, manager: Any, book: Book, tell: Tell) -> None:
        self.tracks: dict[str, Track] = {}
        super().__init__(self.tracks, ignore, ignore)
        self.manager, self.book, self.tell = manager, book, tell
        self.session: Any = None
        self.came, self.starting = asyncio.Event(), asyncio.Lock()
        self.status, self.message = "none", ""
        self.going: set[str] = set()
        self.ran: dict[str, list[str]] = {}
        self.touched: set[str] = set()
        self.tainted = False
        self.interrupted = False
        self.instantiated = False
        self.waiting = ""
        self.since = 0.0
        self.others: set[str] = set()
        self.reporting: asyncio.TimerHandle | None = None
        self.sentinel: int | None = None
        manager.event_bus.subscribe(self)

    # marimo's session

    @property
    def consumer_id(self) -> ConsumerId:
        return ConsumerId("postdoc-live")

    async def on_session_created(self, session: Any) -> None:
        if self.session is None and session.app_file_manager.path == str(self.book.path):
            session.connect_consumer(self, main=False)

    def on_attach(self, session: Any, event_bus: Any) -> None:
        self.session = session
        event_bus.subscribe(self)
        if beat := session.extensions.get(HeartbeatExtension):
            beat.on_detach()  # it would close the session of a dead kernel, and with it every page
        self.begun()
        self.came.set()

    def on_detach(self) -> None:
        session, self.session = self.session, None
        self.unwatch()
        if session is not None:
            with suppress(AttributeError, ValueError):
                session._event_bus.unsubscribe(self)
        self.going.clear()
        if self.status != "dead":
            self.be("none")

    def begun(self) -> None:
        """A kernel without a past."""
        self.tracks.clear()
        self.ran.clear()
        self.going.clear()
        self.tainted = self.interrupted = self.instantiated = False
        self.since = time.time()
        self.sync()
        task = self.session._kernel_manager.kernel_task
        self.sentinel = task.sentinel
        asyncio.get_running_loop().add_reader(task.sentinel, self.died)
        self.be("idle")

    def unwatch(self) -> None:
        if self.sentinel is not None:
            asyncio.get_running_loop().remove_reader(self.sentinel)
            self.sentinel = None

    def died(self) -> None:
        """The process ended and nobody asked for it."""
        self.unwatch()
        self.ended()
        task = self.session._kernel_manager.kernel_task
        task.join(0.1)
        why = info_code(None, self.session)
        self.be("dead", f"The notebook's Python process ended ({why}).")

    def ended(self) -> None:
        """What ran in the old process will not go on: marimo's record of it must not wait for its end."""
        self.going.clear()
        backend = self.book.bridge._backends.get(self.book.host.id)
        if backend is not None:
            backend._translators.clear()
        self.book.host._apply(self.book.host.executions.interrupt("failed"))

    def be(self, status: str, message: str = "") -> None:
        if (status, message) != (self.status, self.message):
            self.status, self.message = status, message
            self.tell({"type": "kernel", "status": status, "message": message, "live": self.live})

    @property
    def live(self) -> bool:
        """Whether what a page shows is from this kernel: every cell has run in it."""
        return all(id in self.ran for id, track in self.tracks.items() if track.code.strip())

    # what the kernel says

    def notify(self, notification: Any) -> None:
        message = deserialize_kernel_message(notification)
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
        if isinstance(request, commands.CreateNotebookCommand):
            self.instantiated = True
        elif isinstance(request, TAINTS):
            self.tainted = True
        elif isinstance(request, commands.ExecuteScratchpadCommand):
            self.tainted = self.tainted or not (request.run_id or "").startswith(OURS)

    # what we ask of it

    async def up(self) -> Any:
        """The session with a kernel that lives; started or revived when there is none. Raises Refused."""
        async with self.starting:
            if self.status == "dead" and self.session is not None:
                await self.renew()
            elif not self.attached:
                await self.begin()
        return self.session

    @property
    def attached(self) -> bool:
        """Whether marimo's Host API and we see the same session: before that an edit would not reach the kernel."""
        return self.session is not None and self.book.session is self.session

    async def begin(self) -> None:
        await self.book.load()
        host = self.book.host
        if host.runtime is not None and host.runtime.status == "failed":
            host.stop(request_id=secrets.token_hex(8))
        self.be("starting")
        host.start(request_id=secrets.token_hex(8))
        try:
            async with asyncio.timeout(START_S):
                while not self.attached:
                    if host.runtime is not None and host.runtime.status == "failed":
                        raise Refused("notebook_failed", f"No kernel could be started: {host.runtime.message}.", "")
                    self.came.clear()
                    with suppress(TimeoutError):
                        await asyncio.wait_for(self.came.wait(), 0.01)
        except (TimeoutError, Refused) as error:
            self.be("none")
            if isinstance(error, Refused):
                raise
            raise Refused("notebook_failed", "The notebook's kernel did not start in time.", "Try again.") from error

    def instantiate(self, *, run: bool) -> None:
        """Make the cells known to the kernel, and run them all if asked."""
        codes = {str(cell.id): cell.code for cell in self.book.host.document}
        request = InstantiateNotebookRequest(object_ids=[], values=[], auto_run=run, codes=codes)
        self.session.instantiate(request, http_request=None)

    def states(self) -> list[dict[str, Any]]:
        """What became of every cell that ran; "stale" when it ran with other code than it has now."""
        found = []
        for id, track in self.tracks.items():
            if runs := self.ran.get(id):
                found.append(track.state() | ({} if runs[-1] == track.code else {"status": "stale"}))
        return found

    def execute(self, ids: Sequence[str]) -> None:
        codes = [self.tracks[id].code for id in ids]
        command = commands.ExecuteCellsCommand(cell_ids=list(ids), codes=codes)
        self.session.put_control_request(command, from_consumer_id=None)

    def mark(self) -> None:
        """``done`` is set when the kernel has carried out everything asked of it until now."""
        self.done.clear()
        self.waiting = OURS + secrets.token_hex(8)
        command = commands.ExecuteScratchpadCommand(code="", run_id=self.waiting, allow_stdin=False)
        self.session.put_control_request(command, from_consumer_id=None)

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

    async def renew(self, *, blank: bool = False) -> None:
        """A new process in the place of the old one; pages keep their connection, and with it the old outputs unless
        ``blank``.
        """
        session = self.session
        self.unwatch()
        self.ended()
        self.be("starting")
        old = session._kernel_manager
        listener = session.extensions.get(NotificationListenerExtension)
        listener.on_detach()
        with suppress(OSError, ValueError):
            old.close_kernel()
        launch.again(self.book.modules())
        queues = QueueManagerImpl(use_multiprocessing=True)
        new = type(old)(
            queue_manager=queues,
            mode=old.mode,
            configs=session.app_file_manager.app.cell_manager.config_map(),
            app_metadata=old.app_metadata,
            config_manager=old.config_manager,
            virtual_file_storage=None,
            redirect_console_to_browser=old.redirect_console_to_browser,
        )
        await new.start_kernel()
        session._kernel_manager = new
        session.extensions.remove(listener)
        listener = NotificationListenerExtension(kernel_manager=new, queue_manager=queues)
        session.extensions.add(listener)
        session.extensions.get(QueueExtension).queue_manager = queues
        listener.on_attach(session, session._event_bus)
        forget(session.session_view, blank)
        self.begun()

    def stop(self) -> None:
        """End the process, and with it everything the session has."""
        for id, session in list(self.manager.sessions.items()):
            if session is self.session:
                self.unwatch()
                self.manager.close_session(id)

    def kill(self) -> None:
        if self.session is not None and (pid := self.session.kernel_pid()):
            with suppress(OSError):
                os.kill(pid, 9)


def forget(view: Any, blank: bool) -> None:
    """What a page that opens now must not be told any more: it is of the kernel before."""
    for name in ("variable_values", "ui_values", "model_states", "ui_element_messages"):
        getattr(view, name).clear()
    for name in ("cell_notifications", "last_executed_code", "last_execution_time") if blank else ():
        getattr(view, name).clear()


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
