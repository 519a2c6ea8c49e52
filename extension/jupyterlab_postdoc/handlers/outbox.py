"""The way out of one connection: a short queue that one task empties, and that makes its feeders wait when the client
is slow.

Nothing is ever dropped and nothing grows: whoever feeds events waits for room before it pulls more from the log, so
the log is the buffer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from tornado.websocket import WebSocketClosedError

from jupyterlab_postdoc.protocol import Event

from .outbound import EventFilter, array, event_bytes

FULL_BYTES = 512 << 10
"""Feeders wait beyond this. With the message in flight (256 KiB at most) a connection stays below 1 MiB unsent."""
FLUSH_BYTES = 64 << 10
FLUSH_S = 0.016
PAGE = 100
"""A batch of this many events is a replay: read on while the last page is still being written."""


class Outbox:
    """Frames on their way to one client; ``write`` sends messages and is done when the socket has taken them."""

    __slots__ = ("_enough", "_flushed", "_frames", "_last", "_size", "_task", "_write", "batch", "closed", "envelope")

    def __init__(self, write: Callable[[Sequence[bytes]], Awaitable[None]], *, envelope: bool = False) -> None:
        self.batch = False
        self.envelope = envelope
        self.closed = False
        self._write = write
        self._frames: list[bytes] = []
        self._size = 0
        self._last = 0.0
        self._task: asyncio.Task[None] | None = None
        self._flushed: list[asyncio.Future[None]] = []
        self._enough: asyncio.Future[None] | None = None

    @property
    def size(self) -> int:
        """Bytes that wait here."""
        return self._size

    def put(self, data: bytes) -> None:
        """Queue one frame. Control frames may always be put; their number is bounded by the reader."""
        if self.closed:
            return
        self._frames.append(data)
        self._size += len(data)
        self._start()

    async def put_events(self, events: Sequence[Event], keep: EventFilter | None) -> None:
        """Queue a batch and wait: for the flush while following live (so that meanwhile events gather), for room in a
        replay.
        """
        envelope, frames = self.envelope, self._frames
        for event in events:
            if keep is not None and not keep(event):
                continue
            data = event_bytes(event, envelope)
            frames.append(data)
            self._size += len(data)
            if self._size > FULL_BYTES:
                self._start()
                await self.room()
        if frames:
            self._start()
            await (self.room() if len(events) >= PAGE else self.flushed())

    async def room(self) -> None:
        """Until there is room for more."""
        while self._size > FULL_BYTES and not self.closed:
            await self._progress()

    async def flushed(self) -> None:
        """Until everything so far is with the socket."""
        while self._task is not None and not self.closed:
            await self._progress()

    def close(self) -> None:
        """Forget what is queued and let everybody go."""
        self.closed = True
        self._frames.clear()
        self._size = 0
        if self._task is not None:
            self._task.cancel()
        self._tell()

    async def _progress(self) -> None:
        waiter = asyncio.get_running_loop().create_future()
        self._flushed.append(waiter)
        await waiter

    def _tell(self) -> None:
        waiters, self._flushed = self._flushed, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    def _start(self) -> None:
        if self._task is None and not self.closed:
            self._task = asyncio.get_running_loop().create_task(self._empty())
        elif self._enough is not None and self._size >= FLUSH_BYTES:
            self._go_on()

    async def _empty(self) -> None:
        """The writer: lives while there is something to write, so that an idle connection costs no task."""
        loop = asyncio.get_running_loop()
        try:
            while self._frames and not self.closed:
                wait = self._last + FLUSH_S - loop.time()
                if self.batch and wait > 0 and self._size < FLUSH_BYTES:
                    await self._gather(wait)
                await self._write(self._take())
                self._last = loop.time()
                if self._frames:
                    self._tell()
        except WebSocketClosedError:
            self.closed = True  # a closed socket is a normal end
            self._frames.clear()
        finally:
            self._task = None
            self._tell()

    async def _gather(self, wait: float) -> None:
        """Until there is enough for a full message, at most ``wait`` seconds."""
        loop = asyncio.get_running_loop()
        self._enough = loop.create_future()
        timer = loop.call_later(wait, self._go_on)
        try:
            await self._enough
        finally:
            timer.cancel()
            self._enough = None

    def _go_on(self) -> None:
        if self._enough is not None and not self._enough.done():
            self._enough.set_result(None)

    def _take(self) -> list[bytes]:
        """The next messages, together at most 64 KiB (or a single larger one)."""
        frames, size, count = self._frames, 0, 0
        for data in frames:
            size += len(data)
            if count and size > FLUSH_BYTES:
                size -= len(data)
                break
            count += 1
        taken = frames[:count]
        del frames[:count]
        self._size -= size
        if not self.batch:
            return taken
        return [array(taken)]
