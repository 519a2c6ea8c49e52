"""Who waits for which session, and the events that were published lately.

A channel holds what is new for *all* followers of a session: bounded memory, however many follow and however slow
they are. A follower
itself is a cursor; what the channel has let go it reads from the store.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections.abc import Iterable
from operator import attrgetter
from typing import Literal

from .protocol import Event

RING_EVENTS = 1024
RING_BYTES = 1 << 20

End = Literal["deleted", "reset", "stopped"]
_seq = attrgetter("seq")


class Signal:
    """Wakes all who wait now."""

    def __init__(self) -> None:
        self._waiters: set[asyncio.Future[None]] = set()

    async def wait(self) -> None:
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.add(waiter)
        try:
            await waiter
        finally:
            self._waiters.discard(waiter)

    def fire(self) -> None:
        waiters, self._waiters = self._waiters, set()
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)


class Channel:
    """One followed session. ``head`` is the highest committed ``seq`` known; the ring holds all events in ``(floor,
    last]``.
    """

    def __init__(self, session: str) -> None:
        self.session = session
        self.followers = 0
        self.head = 0
        self.end: End | None = None
        self.signal = Signal()
        self._floor = self._last = 0
        self._size = 0
        self._ring: list[Event] = []

    def since(self, cursor: int, limit: int) -> list[Event] | None:
        """Events after ``cursor`` from memory; None when they must be read from the store."""
        if not self._floor <= cursor < self._last:
            return None
        start = bisect_right(self._ring, cursor, key=_seq)
        return self._ring[start : start + limit]

    def publish(self, events: list[Event]) -> None:
        """Add the newest events of the session (consecutive numbers) and wake everybody."""
        if (
            not self._ring or events[0].seq != self._last + 1
        ):  # another process wrote in between: that part is in the store
            self._ring, self._size = [], 0
            self._floor = events[0].seq - 1
        self._ring += events
        self._last = events[-1].seq
        self._size += sum(len(e.payload) for e in events)
        if len(self._ring) > RING_EVENTS or self._size > RING_BYTES:
            self._trim()
        self.advance(self._last)

    def _trim(self) -> None:
        keep = len(self._ring)
        size = 0
        while keep > 0 and len(self._ring) - keep < RING_EVENTS // 2:
            size += len(self._ring[keep - 1].payload)
            if size > RING_BYTES // 2:
                break
            keep -= 1
        if keep:
            self._floor = self._ring[keep - 1].seq
            self._ring = self._ring[keep:]
            self._size = sum(len(e.payload) for e in self._ring)

    def advance(self, head: int) -> None:
        """The store holds events up to ``head``."""
        if head > self.head:
            self.head = head
            self.signal.fire()

    def close(self, end: End) -> None:
        self.end = self.end or end
        self.signal.fire()


class SessionFeed:
    """One follower of the session list: what changed since it last looked."""

    def __init__(self) -> None:
        self.changed: set[str] = set()
        self.end: End | None = None
        self.signal = Signal()

    def add(self, sessions: Iterable[str]) -> None:
        self.changed.update(sessions)
        if self.changed:
            self.signal.fire()

    def close(self, end: End) -> None:
        self.end = self.end or end
        self.signal.fire()


class Hub:
    """All channels and feeds of a process."""

    def __init__(self) -> None:
        self.channels: dict[str, Channel] = {}
        self.feeds: set[SessionFeed] = set()

    def join(self, session: str) -> Channel:
        channel = self.channels.get(session)
        if channel is None:
            channel = self.channels[session] = Channel(session)
        channel.followers += 1
        return channel

    def leave(self, channel: Channel) -> None:
        channel.followers -= 1
        if not channel.followers and self.channels.get(channel.session) is channel:
            del self.channels[channel.session]

    def publish(self, events: Iterable[Event]) -> None:
        """Events as committed; those of one session are consecutive."""
        followed: dict[str, list[Event]] = {}
        for event in events:
            if event.session in self.channels:
                followed.setdefault(event.session, []).append(event)
        for session, batch in followed.items():
            self.channels[session].publish(batch)

    def changed(self, sessions: set[str]) -> None:
        for feed in self.feeds:
            feed.add(sessions)

    def end(self, session: str, end: End) -> None:
        channel = self.channels.pop(session, None)  # who joins from now on gets a fresh one
        if channel is not None:
            channel.close(end)

    def end_all(self, end: End) -> None:
        for session in list(self.channels):
            self.end(session, end)
        for feed in self.feeds:
            feed.close(end)
