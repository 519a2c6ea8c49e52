"""The live notebook's kernel: what it is doing, what ran in it, partial runs, and a new process in its place.

A kernel is exchanged below marimo's session, so that open pages stay as they are and the person's cursor, too.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from marimo._messaging.notification import CellNotification
from marimo._runtime import commands
from marimo._session.extensions.extensions import HeartbeatExtension, NotificationListenerExtension, QueueExtension
from marimo._session.managers import QueueManagerImpl
from marimo._session.requests import InstantiateNotebookRequest

from jupyterlab_postdoc.notebooks.worker import launch
from jupyterlab_postdoc.notebooks.worker.author import Refused
from jupyterlab_postdoc.notebooks.worker.execute import info_code
from jupyterlab_postdoc.notebooks.worker.live_book import Book
from jupyterlab_postdoc.notebooks.worker.live_state import OURS, State, Tell

START_S = 60.0
PATIENCE_S, AGAIN_S = 0.3, 1.0
"""A run that waits for people says so after this time, and again and again."""


class Kernel(State):
    """The kernel of one notebook, whoever started it."""

    def __init__(self, manager: Any, book: Book, tell: Tell) -> None:
        super().__init__(book, tell)
        self.manager = manager
        self.came, self.starting = asyncio.Event(), asyncio.Lock()
        self.free = asyncio.Event()  # no run waits for this kernel: a dead one may go
        self.free.set()
        self.sentinel: int | None = None
        self.stale: set[str] = set()
        self.tasks: set[asyncio.Task[None]] = set()
        manager.event_bus.subscribe(self)

    # marimo's session

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
        self.catch_up()
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
        """What ran in the old process will not go on: neither pages nor marimo's record may wait for its end."""
        self.catch_up()
        self.going.clear()
        for fence in self.fences.values():
            fence.set()
        self.fences.clear()
        for id, track in self.tracks.items():
            if track.status in ("queued", "running"):
                self.session.notify(CellNotification(cell_id=id, status="idle"), from_consumer_id=self.consumer_id)
        backend = self.book.bridge._backends.get(self.book.host.id)
        if backend is not None:
            backend._translators.clear()
        self.book.host._apply(self.book.host.executions.interrupt("failed"))

    def on_received_command(self, session: Any, request: Any, from_consumer_id: Any) -> None:
        super().on_received_command(session, request, from_consumer_id)
        if self.status == "dead" and from_consumer_id is not None and isinstance(request, commands.ExecuteCellsCommand):
            task = asyncio.create_task(self.revive(request))
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)

    async def revive(self, request: Any) -> None:
        """A person runs a cell, but the kernel is dead: in a new one, then."""
        with suppress(Refused):
            await self.up()
            if not self.instantiated:
                self.instantiate(run=False)
            self.session.extensions.get(QueueExtension).queue_manager.put_control_request(request)

    # what we ask of it

    async def up(self) -> Any:
        """The session with a kernel that lives; started or revived when there is none. Raises Refused."""
        async with self.starting:
            if self.status == "dead" and self.session is not None:
                await self.free.wait()
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

    def mark_stale(self, ids: set[str]) -> None:
        """Pages show the outputs of these cells as those of other code, until they run, and of no others."""
        for id in self.tracks:
            if (stale := id in ids) or id in self.stale:
                notification = CellNotification(cell_id=id, stale_inputs=stale)
                self.session.notify(notification, from_consumer_id=self.consumer_id)
        self.stale = set(ids)

    @property
    def free_of_people(self) -> bool:
        """Whether everything that people asked of the kernel has been carried out."""
        return self.heard == self.asked

    async def turn(self, stop: asyncio.Event, tell: Callable[[str], None]) -> None:
        """Wait until it is ``free_of_people``, or ``stop`` is set. ``tell`` hears again and again which cell runs.

        Otherwise an agent's cells would stand in the queue behind a person's, and its time limit would hit these.
        Raises Refused when there is no kernel.
        """
        while not self.free_of_people and not stop.is_set():
            await self.up()
            asked, fence = self.asked, asyncio.Event()
            id = OURS + secrets.token_hex(8)
            self.fences[id] = fence
            command = commands.ExecuteScratchpadCommand(code="", run_id=id, allow_stdin=False)
            self.session.put_control_request(command, from_consumer_id=None)
            waits = {asyncio.create_task(event.wait()) for event in (fence, stop)}
            patience = PATIENCE_S
            while not (await asyncio.wait(waits, timeout=patience, return_when=asyncio.FIRST_COMPLETED))[0]:
                patience = AGAIN_S
                tell(next((track.key for track in self.tracks.values() if track.status == "running"), ""))
            for wait in waits:
                wait.cancel()
            if fence.is_set():
                self.heard = asked

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
        session.extensions.get(QueueExtension).queue_manager = queues  # what pages ask meanwhile waits in there
        new = type(old)(
            queue_manager=queues,
            mode=old.mode,
            configs=session.app_file_manager.app.cell_manager.config_map(),
            app_metadata=old.app_metadata,
            config_manager=old.config_manager,
            virtual_file_storage=None,
            redirect_console_to_browser=old.redirect_console_to_browser,
        )
        try:
            await new.start_kernel()
        except (RuntimeError, OSError) as error:
            self.be("dead", f"No kernel could be started: {error}")
            raise Refused("notebook_failed", f"No kernel could be started: {error}.", "Try again.") from error
        session._kernel_manager = new
        session.extensions.remove(listener)
        listener = NotificationListenerExtension(kernel_manager=new, queue_manager=queues)
        session.extensions.add(listener)
        listener.on_attach(session, session._event_bus)
        forget(session.session_view, blank)
        self.begun()

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
