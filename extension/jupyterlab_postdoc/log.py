"""The event log: the one way in (append, write) and the one way out (follow).

All writes of a process go through one task, which takes whatever is waiting into one transaction ("group commit"
without a timer:
while one batch is being flushed to disk, the next one collects). Events are published only after COMMIT.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Sequence
from typing import Any, TypeVar, cast

from .errors import PostdocError, not_found
from .hub import Hub, SessionFeed, Signal
from .protocol import Body, Event
from .store.base import Append, Draft, Fence, Outcome, Store, Tx, Unit, as_draft
from .text_stream import TextStream as TextStream

T = TypeVar("T")
Listener = Callable[[], None]

MAX_BATCH = 1000
PAGE = 1000
REPLACED_EVERY = 10
"""Polls between two looks at the file itself."""
CLOCK_SLACK_S = 5.0

logger = logging.getLogger("jupyterlab_postdoc.log")


class LogReset(Exception):
    """The database was removed or exchanged under a follower: forget what was seen and begin again."""


class EventLog:
    """Appends with group commit and follows sessions. ``store`` may be read directly (``log.store.get_session(…)``).

    ``poll_s``: how often to look for what other processes have committed, while somebody here follows or listens.
    """

    def __init__(self, store: Store, *, poll_s: float = 0.1) -> None:
        self.store = store
        self._poll_s = poll_s
        self._hub = Hub()
        self._listeners: set[Listener] = set()
        self._pending: deque[tuple[Unit, asyncio.Future[Any]]] = deque()
        self._wake = Signal()
        self._writer: asyncio.Task[None] | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._stopping = True
        self._exchanged = False

    async def start(self) -> None:
        """Open the store and begin to write. PostdocError when the database cannot be used."""
        await self.store.open()
        self._stopping = False
        self._writer = asyncio.create_task(self._write_loop(), name="postdoc log writer")

    async def stop(self) -> None:
        """Commit what is pending, end all followers, close the store. Safe to call twice."""
        self._stopping = True
        self._hub.end_all("stopped")
        watcher, self._watcher = self._watcher, None
        if watcher is not None:
            watcher.cancel()
            await asyncio.wait([watcher])
        self._wake.fire()
        if self._writer is not None:
            await asyncio.wait([self._writer])
            self._writer = None
        await self.store.close()

    # --- in ---

    async def append(
        self, session: str, *bodies: Body | Draft, run: str | None = None, fence: Fence | None = None
    ) -> list[Event]:
        """Store the bodies and return their events after COMMIT. ``not_found``, LeaseLost, ``storage_full``…

        A caller that is cancelled does not know whether the bodies were stored: all of them are, or none.
        """
        if not bodies:
            return []
        drafts = (as_draft(bodies[0], run),) if len(bodies) == 1 else tuple(as_draft(b, run) for b in bodies)
        unit = Append(session, drafts, fence)
        return cast("list[Event]", await self._submit(unit))

    async def write(self, unit: Callable[[Tx], Awaitable[T]]) -> T:
        """Run one unit in the next transaction and return its value after COMMIT; what it raises undoes it alone.

        A unit holds up all other writers, so it may only await its ``tx``: no files, no network, and never this log.
        """
        return cast("T", await self._submit(unit))

    def _submit(self, unit: Unit) -> asyncio.Future[Any]:
        if self._stopping:
            raise PostdocError(
                "capacity", "The server is stopping. This change was not stored.", next="Try again.", retryable=True
            )
        if asyncio.current_task() is self._writer:
            raise RuntimeError("inside a unit use its tx: waiting for the log there would wait for ever")
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._pending.append((unit, future))
        self._wake.fire()
        return future

    async def _write_loop(self) -> None:
        while True:
            if self._exchanged and not self._stopping:
                await self._reopen()
            batch = [self._pending.popleft() for _ in range(min(len(self._pending), MAX_BATCH))]
            batch = [(unit, future) for unit, future in batch if not future.cancelled()]
            if batch:
                await self._commit(batch)
                if self._pending:
                    # Let those who were just answered speak again: one batch of all instead of two halves in turn.
                    await asyncio.sleep(0)
            elif not self._pending:
                if self._stopping:
                    return
                if not self._exchanged:
                    await self._wake.wait()

    async def _commit(self, batch: Sequence[tuple[Unit, asyncio.Future[Any]]]) -> None:
        try:
            outcomes = await self.store.commit([unit for unit, _ in batch])
        except Exception as error:
            if not isinstance(error, PostdocError):
                logger.exception("a batch could not be stored")
            for _, future in batch:
                if not future.done():
                    future.set_exception(_again(error))
            return
        try:
            self._publish(outcomes)
        except Exception:
            logger.exception("a listener failed")  # the writer must go on, and what is stored is stored
        for (_, future), outcome in zip(batch, outcomes, strict=True):
            if future.done():
                continue
            if outcome.error is None:
                future.set_result(outcome.value)
            else:
                future.set_exception(outcome.error)

    def _publish(self, outcomes: Sequence[Outcome]) -> None:
        if self._hub.channels:
            self._hub.publish(e for o in outcomes for e in o.events)
        if any(o.deleted for o in outcomes):
            for session in {s for o in outcomes for s in o.deleted}:
                self._hub.end(session, "deleted")
        if self._hub.feeds:
            self._hub.changed({s for o in outcomes for s in (*o.touched, *o.deleted)})
        if any(o.runs for o in outcomes):
            self._notify()

    def text(
        self,
        session: str,
        run: str | None,
        item: str,
        type: str = "token",
        *,
        name: str = "",
        fence: Fence | None = None,
    ) -> TextStream:
        """A stream of partial text: ``type`` is token, thinking, tool_output (``item`` is then the tool's id) or
        tool_input (the tool's id + ``.in``; ``name`` is the tool's).
        """

        async def append(bodies: Sequence[Body]) -> list[Event]:
            return await self.append(session, *(Draft(b, run, item) for b in bodies), fence=fence)

        return TextStream(append, item, type, name=name)

    # --- out ---

    async def read(
        self,
        session: str,
        *,
        after: int = 0,
        limit: int = 1000,
        finals: bool = False,
        types: Collection[str] | None = None,
    ) -> list[Event]:
        """One page of events, lowest ``seq`` first."""
        return await self.store.read_events(session, after=after, limit=limit, finals=finals, types=types)

    async def tail(self, session: str, limit: int = 200) -> list[Event]:
        """The last ``limit`` final events plus the partial frames still open, in seq order."""
        return await self.store.tail_events(session, limit)

    async def follow(
        self, session: str, *, after: int, types: Collection[str] | None = None
    ) -> AsyncGenerator[list[Event], None]:
        """Batches of events after ``after`` (-1: only what comes now): replay, then live, no gap and no duplicate.

        Pull based: nothing is read ahead, a slow reader costs a cursor. Ends when the session is deleted or the log
        stops;
        raises LogReset when the database was exchanged, ``not_found`` at the first step when there is no such session.
        """
        channel = self._hub.join(session)
        self._watch()
        try:
            head = (await self.store.heads([session])).get(session)
            if head is None:
                raise not_found("chat", session)
            channel.advance(head)
            if after > channel.head:
                raise LogReset(session)
            cursor = after if after >= 0 else head
            while channel.end is None:
                if cursor >= channel.head:
                    await channel.signal.wait()
                    continue
                events = channel.since(cursor, PAGE)
                if events is not None:
                    cursor = events[-1].seq
                    if types is not None:
                        events = [e for e in events if e.type in types]
                else:
                    head = channel.head
                    try:
                        events = await self.store.read_events(session, after=cursor, limit=PAGE, types=types)
                    except PostdocError:
                        if channel.end is None and not self._exchanged:
                            raise
                        if channel.end is None:
                            await channel.signal.wait()
                        continue  # the store was closed under us: the end says why
                    # A short page went to the end, and everything up to ``head`` was committed before it was read.
                    cursor = max(head if len(events) < PAGE else 0, events[-1].seq if events else cursor)
                if events:
                    yield events
            if channel.end == "reset":
                raise LogReset(session)
        finally:
            self._hub.leave(channel)

    async def follow_sessions(self) -> AsyncGenerator[set[str], None]:
        """Ids of sessions whose row changed or that were deleted, collected while the reader was busy. LogReset as
        above.
        """
        feed = SessionFeed()
        self._hub.feeds.add(feed)
        self._watch()
        try:
            while feed.end is None:
                if feed.changed:
                    changed, feed.changed = feed.changed, set()
                    yield changed
                else:
                    await feed.signal.wait()
            if feed.end == "reset":
                raise LogReset("sessions")
        finally:
            self._hub.feeds.discard(feed)

    def followed(self) -> set[str]:
        """The sessions that somebody follows here at this moment."""
        return set(self._hub.channels)

    def on_change(self, listener: Listener) -> Callable[[], None]:
        """Call ``listener`` when a run was made or changed here, and after any commit of another process.

        Returns the function that ends this.
        """
        self._listeners.add(listener)
        self._watch()
        return lambda: self._listeners.discard(listener)

    def _notify(self) -> None:
        for listener in list(self._listeners):
            listener()

    # --- other processes on the same database ---

    def _watched(self) -> bool:
        return bool(self._hub.channels or self._hub.feeds or self._listeners)

    def _watch(self) -> None:
        if not self._stopping and (self._watcher is None or self._watcher.done()):
            self._watcher = asyncio.create_task(self._watch_loop(), name="postdoc log watcher")

    async def _watch_loop(self) -> None:
        marker: int | None = None
        checked = time.time()
        polls = 0
        broken = False
        while self._watched():
            try:
                polls += 1
                if polls % REPLACED_EVERY == 0 and await self.store.replaced():
                    self._exchanged = True
                    self._wake.fire()
                    marker = None
                now, seen = time.time(), await self.store.marker()
                if seen != marker:
                    marker = seen
                    await self._catch_up(checked - CLOCK_SLACK_S)
                    checked = now
                broken = False
            except PostdocError as error:
                if not broken:
                    logger.warning("cannot see what other processes write: %s", error)
                broken, marker = True, None
            await asyncio.sleep(self._poll_s)

    async def _catch_up(self, since: float) -> None:
        known = {session: channel.head for session, channel in self._hub.channels.items()}
        heads = await self.store.heads(known)
        for session, before in known.items():
            channel = self._hub.channels.get(session)
            if channel is None:
                continue
            if session not in heads:
                if before:  # else its first follower is just about to be told that there is no such session
                    self._hub.end(session, "deleted")
            elif heads[session] < before:
                self._hub.end(session, "reset")
            else:
                channel.advance(heads[session])
        if self._hub.feeds:
            self._hub.changed(await self.store.changed_since(since))
        self._notify()

    async def _reopen(self) -> None:
        """In the writer's task, so between two transactions; what waits to be written waits a little longer."""
        logger.error("the database was removed or exchanged; opening what is there now")
        await self.store.close()
        try:
            await self.store.open()
        except PostdocError as error:
            logger.error("%s %s", error.message, error.next)
        self._exchanged = False
        self._hub.end_all("reset")


def _again(error: Exception) -> Exception:
    """An exception of its own for every caller: one object raised in many tasks would collect all their tracebacks."""
    if isinstance(error, PostdocError):
        copy = PostdocError(error.code, error.message, next=error.next, retryable=error.retryable, **error.details)
        copy.__cause__ = error.__cause__
        return copy
    return PostdocError(
        "internal", "The change could not be stored; nothing was changed.", next="Try again.", retryable=True
    )
