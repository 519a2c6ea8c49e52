"""The log of a session over plain HTTP: a page, a long poll, or server-sent events."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine
from typing import Any

from jupyter_server.auth.decorator import authorized
from tornado import web
from tornado.iostream import StreamClosedError

from jupyterlab_postdoc import protocol
from jupyterlab_postdoc.errors import PostdocError, not_found
from jupyterlab_postdoc.log import LogReset
from jupyterlab_postdoc.protocol import Event, Reset

from .base import PostdocHandler, authorized_to_execute

MAX_WAIT_S = 60.0
TICK_S = 15.0
PAGE_BYTES = 8 << 20


class EventsHandler(PostdocHandler):
    """``?after=&limit=&wait=&types=``; ``Accept: text/event-stream`` streams instead."""

    _running: asyncio.Task[None] | None = None
    _gone = False

    @web.authenticated
    @authorized
    async def get(self, id: str) -> None:
        if "text/event-stream" in self.request.headers.get("Accept", ""):
            await self._while_connected(self._stream(id))
            return
        after, limit = self.whole("after", 0), self.whole("limit", 200, 1, 1000)
        wait, types = self.seconds("wait", MAX_WAIT_S), self.names("types")
        await self.sessions.check(self.user, id)
        events = await self.event_log.read(id, after=after, limit=limit + 1, types=types)
        if not events and wait:
            await self._while_connected(self._wait(id, after, limit, wait, types))
            return
        self._page(events, limit)

    def _page(self, events: list[Event], limit: int, **rest: Any) -> None:
        page: list[bytes] = []
        size = 0
        for event in events[:limit]:
            size += len(event.payload)
            if page and size > PAGE_BYTES:
                break
            page.append(event.frame())
        self.send_events("events", page, more=len(events) > len(page), **rest)

    async def _wait(self, id: str, after: int, limit: int, wait: float, types: list[str] | None) -> None:
        found: list[Event] = []
        try:
            async with asyncio.timeout(wait):
                async with contextlib.aclosing(self.event_log.follow(id, after=after, types=types)) as batches:
                    async for batch in batches:
                        found = batch
                        break
        except TimeoutError:
            pass
        except LogReset:
            self._page([], limit, reset=True)
            return
        self._page(found, limit)

    async def _stream(self, id: str) -> None:
        after = self._last_event_id()
        await self.sessions.check(self.user, id)
        self.set_header("Content-Type", "text/event-stream; charset=utf-8")
        self.set_header("X-Accel-Buffering", "no")
        follow = self.event_log.follow(id, after=after, types=self.names("types"))
        self.write(b": follow\n\n")
        try:
            async with contextlib.aclosing(ticking(follow, self.settings.get("postdoc_tick_s", TICK_S))) as batches:
                await self.flush()
                async for batch in batches:
                    self.write(b"".join(map(sse, batch)) if batch else b": tick\n\n")
                    await self.flush()  # waits for the client: a slow one is served from the log, later
        except LogReset:
            self.write(b"data: " + protocol.encode(Reset(chatId=id)) + b"\n\n")

    def _last_event_id(self) -> int:
        given = self.request.headers.get("Last-Event-ID")
        if given is None:
            return self.whole("after", 0)
        if not given.isascii() or not given.isdigit() or len(given) > 16:
            raise PostdocError("bad_message", f"Last-Event-ID must be a seq number, not {given[:40]!r}.")
        return int(given)

    async def _while_connected(self, work: Coroutine[Any, Any, None]) -> None:
        """Run ``work`` and give it up when the client goes away."""
        self._running = asyncio.create_task(work)
        try:
            await self._running
        except StreamClosedError:
            self.log.debug("postdoc: the reader of %s went away", self.request.path)
        except asyncio.CancelledError:
            if not self._gone:
                raise

    def on_connection_close(self) -> None:
        self._gone = True
        if self._running is not None:
            self._running.cancel()
        super().on_connection_close()

    def update_api_activity(self) -> None:
        """Following is not activity: an open tab must not keep an idle server alive."""


class MessagesHandler(PostdocHandler):
    """Final events only, as a JSON array: those after a seq, or the last ones before it; ``POST`` says something in
    the chat.
    """

    @web.authenticated
    @authorized
    async def get(self, id: str) -> None:
        after, before = self.whole("after", 0), self.whole("before", 0)
        limit, types = self.whole("limit", 200, 1, 1000), self.names("types")
        if before and after:
            raise PostdocError("bad_message", "Give `after` or `before`, not both.")
        await self.sessions.check(self.user, id)
        if self.get_query_argument("before", None) is not None:
            events = await self.event_log.store.events_before(id, before, limit=limit, types=types)
        else:
            events = await self.event_log.read(id, after=after, limit=limit, finals=True, types=types)
        self.send_events("", [event.frame() for event in events])

    @web.authenticated
    @authorized_to_execute
    async def post(self, id: str) -> None:
        self.send(await self.submit("chat", id), 202)


class BlobHandler(PostdocHandler):
    """The whole of what was cut for a frame: an event by its seq, or a stored output by its hash."""

    @web.authenticated
    @authorized
    async def get(self, id: str, ref: str) -> None:
        await self.sessions.check(self.user, id)
        self.set_header("Content-Disposition", f'attachment; filename="{ref}"')
        self.set_header("Content-Security-Policy", "sandbox; default-src 'none'")
        if len(ref) < 64:
            events = await self.event_log.read(id, after=int(ref) - 1, limit=1)
            if not events or events[0].seq != int(ref):
                raise not_found("event", ref)
            self.send(events[0].frame())
            return
        row = await self.event_log.store.get_blob(id, ref)
        if row is None:
            raise not_found("blob", ref[:64])
        self.finish(await self.event_log.store.read_blob(ref), set_content_type=row.media_type)


def sse(event: Event) -> bytes:
    """An event as server-sent event; its seq is what ``Last-Event-ID`` sends back."""
    return b"id: %d\ndata: %b\n\n" % (event.seq, event.frame())


async def ticking(batches: AsyncIterator[list[Event]], every_s: float) -> AsyncGenerator[list[Event] | None, None]:
    """The batches, with a None whenever ``every_s`` seconds passed without one."""
    pending: asyncio.Future[list[Event]] | None = None
    try:
        while True:
            if pending is None:
                pending = asyncio.ensure_future(anext(batches))
            done, _ = await asyncio.wait((pending,), timeout=every_s)
            if not done:
                yield None
                continue
            try:
                batch = pending.result()
            except StopAsyncIteration:
                return
            pending = None
            yield batch
    finally:
        if pending is not None:
            pending.cancel()
            with contextlib.suppress(asyncio.CancelledError, StopAsyncIteration):
                await pending
        await batches.aclose()  # type: ignore[attr-defined]
