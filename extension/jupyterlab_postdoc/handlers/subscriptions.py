"""What one connection follows: sessions, and the list of sessions."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from jupyterlab_postdoc import protocol
from jupyterlab_postdoc.errors import PostdocError
from jupyterlab_postdoc.log import LogReset
from jupyterlab_postdoc.protocol import Event, Subscribe, Unsubscribe
from jupyterlab_postdoc.sessions import User

from . import frames
from .base import Services
from .outbound import EventFilter, control_bytes, history_bytes
from .outbox import Outbox

LIST = ""
"""The key of the session list among the subscriptions; no session has an empty id."""
LIST_PAUSE_S = 0.25
LIST_QUIET = frozenset({"lastSeq", "updatedAt"})
"""Fields of a chat that change with every event: alone they are no news for the list."""

log = logging.getLogger(__name__)


class Subscriptions:
    """The followers of one connection: a task per subscription, which sleeps in ``EventLog.follow`` and feeds the
    outbox.
    """

    LIMIT = 64

    __slots__ = ("_gone", "_outbox", "_services", "_tasks", "_user", "done")

    def __init__(self, services: Services, user: User, outbox: Outbox, gone: Callable[[str], Awaitable[None]]) -> None:
        self.done = False
        self._services = services
        self._user = user
        self._outbox = outbox
        self._gone = gone
        self._tasks: dict[str, asyncio.Task[None]] = {}

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self._tasks)

    def close(self) -> None:
        """End all of them."""
        for task in self._tasks.values():
            task.cancel()
        self._tasks.clear()

    async def subscribe(self, command: Subscribe) -> None:
        """Follow a session, or the list, from now on; a second subscription to the same replaces the first."""
        if command.chatId is None and not command.sessions:
            raise PostdocError(
                "bad_message",
                "The field `chatId` is missing.",
                next='Name a chat, or send "sessions": true for the list.',
            )
        wanted = {key for key in (command.chatId, LIST if command.sessions else None) if key is not None}
        if len(self._tasks.keys() | wanted) > self.LIMIT:
            raise PostdocError(
                "capacity",
                f"A connection follows at most {self.LIMIT} sessions.",
                next="Unsubscribe from one, or open another socket.",
            )
        if command.sessions:
            self._start(LIST, self._follow_list())
        if command.chatId is not None:
            await self._subscribe_chat(command.chatId, command)
        elif command.id is not None:
            self._send(frames.control("ack", id=command.id, duplicate=False, queued=False))

    def unsubscribe(self, command: Unsubscribe) -> None:
        """Follow it no longer. Not having followed it is no error."""
        task = self._tasks.pop(command.chatId or LIST, None)
        if task is not None:
            task.cancel()
        if command.id is not None:
            self._send(frames.control("ack", chat=command.chatId, id=command.id, duplicate=False, queued=False))

    async def _subscribe_chat(self, chat: str, command: Subscribe) -> None:
        keep = EventFilter(command.types, command.kinds)
        known = {"id": command.id} if command.id is not None else {}
        after = command.after
        if after is not None and after < -1:
            raise PostdocError("bad_message", "The field `after` is wrong: a seq, or -1 for live only.")
        if after is None:
            snapshot = await self._services.sessions.snapshot(self._user, chat)
            self._end(chat)
            self._outbox.put(history_bytes(chat, snapshot, self._outbox.envelope, keep, **known))
            after = snapshot.through_seq
        else:
            last = (await self._services.sessions.get(self._user, chat))["lastSeq"]
            self._end(chat)
            if after > last:
                self._send(frames.control("reset", chat=chat, **known))
                return
            after = last if after < 0 else after
            if known:
                self._send(frames.control("ack", chat=chat, **known, seq=after, duplicate=False, queued=False))
        self._start(chat, self._follow(chat, after, keep))

    def _start(self, key: str, work: Coroutine[Any, Any, None]) -> None:
        self._end(key)
        self._tasks[key] = asyncio.get_running_loop().create_task(work)

    def _end(self, key: str) -> None:
        task = self._tasks.pop(key, None)
        if task is not None:
            task.cancel()

    def _send(self, frame: frames.Frame) -> None:
        self._outbox.put(control_bytes(frame, self._outbox.envelope))

    # --- one session ---

    async def _follow(self, chat: str, after: int, keep: EventFilter) -> None:
        task = asyncio.current_task()
        try:
            await self._pump(chat, after, keep)
            if await self._exists(chat) or self._tasks.get(chat) is not task:
                return  # the server is stopping
            del self._tasks[chat]
            await self._gone(chat)
        except LogReset:
            self._tasks.pop(chat, None)
            self._send(frames.control("reset", chat=chat))
        except PostdocError as error:
            self._tasks.pop(chat, None)
            self._send(frames.error_frame(error, chatId=chat))
        except Exception:  # the boundary of a task: the client is told, the reason is in the log
            self._tasks.pop(chat, None)
            ref = protocol.new_id()[:12]
            log.exception("postdoc error %s while following", ref)
            lost = PostdocError(
                "internal", "Following this chat failed.", next="Subscribe again.", retryable=True, ref=ref
            )
            self._send(frames.error_frame(lost, chatId=chat))

    async def _pump(self, chat: str, after: int, keep: EventFilter) -> None:
        outbox = self._outbox
        async with contextlib.aclosing(self._services.log.follow(chat, after=after, types=keep.types)) as batches:
            async for batch in batches:
                await outbox.put_events(batch, keep if keep else None)
                if self.done:
                    self._done(batch)

    def _done(self, batch: list[Event]) -> None:
        """The alias that clients of old wait for after a ``result``."""
        for event in batch:
            if event.type == "result":
                body = event.body()
                del body["type"]
                self._send(frames.control("done", chat=event.session, of=event.seq, **body))

    async def _exists(self, chat: str) -> bool:
        try:
            await self._services.sessions.check(self._user, chat)
        except PostdocError as error:
            return error.code != "not_found"
        return True

    # --- the list ---

    async def _follow_list(self) -> None:
        """First ``sessions`` with all chats, then ``session`` for each that changed, or that is no longer there."""
        try:
            async with contextlib.aclosing(self._services.log.follow_sessions()) as changes:
                upcoming = asyncio.ensure_future(anext(changes))  # listen first, then look: no change falls between
                await asyncio.sleep(0)
                try:
                    chats = await self._services.sessions.list(self._user)
                    shown = {chat["id"]: _news(chat) for chat in chats}
                    self._send(frames.control("sessions", sessions=chats))
                    while True:
                        for id in sorted(await upcoming):
                            await self._show(id, shown)
                        await self._outbox.flushed()
                        await asyncio.sleep(LIST_PAUSE_S)
                        upcoming = asyncio.ensure_future(anext(changes))
                finally:
                    upcoming.cancel()
                    with contextlib.suppress(asyncio.CancelledError, StopAsyncIteration):
                        await upcoming
        except StopAsyncIteration:
            return
        except LogReset:
            self._tasks.pop(LIST, None)
            self._send(frames.control("reset"))
        except PostdocError as error:
            self._tasks.pop(LIST, None)
            self._send(frames.error_frame(error))

    async def _show(self, id: str, shown: dict[str, Any]) -> None:
        try:
            chat = await self._services.sessions.get(self._user, id)
        except PostdocError as error:
            if error.code == "not_found" and shown.pop(id, None) is not None:
                self._send(frames.control("session", chat=id, deleted=True))
            return
        news = _news(chat)
        if shown.get(id) != news:
            shown[id] = news
            self._send(frames.control("session", chat=id, session=chat))


def _news(chat: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in chat.items() if k not in LIST_QUIET}
