"""What one connection follows: sessions, and the list of sessions."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from typing import Any

import msgspec
from msgspec import UNSET

from jupyterlab_postdoc import protocol
from jupyterlab_postdoc.errors import PostdocError
from jupyterlab_postdoc.log import EventLog, LogReset
from jupyterlab_postdoc.protocol import (
    Ack,
    ChatInfo,
    Control,
    Done,
    Event,
    Reset,
    SessionChanged,
    SessionList,
    Subscribe,
    Unsubscribe,
)
from jupyterlab_postdoc.sessions import ROOM, Snapshot, User, room_row

from . import frames
from .base import Services
from .outbound import EventFilter, control_bytes, history_bytes
from .outbox import Outbox

LIST = ""
"""The key of the session list among the subscriptions; no session has an empty id."""
LIST_PAUSE_S = 0.25
LIST_QUIET = frozenset({"lastSeq", "updatedAt"})
"""Fields of a chat that change with every event: alone they are no news for the list."""

SILENCE = Snapshot(messages=[], state="finished", queue=[], from_seq=0, through_seq=0, has_more=False)
"""What there is to show of a room that nobody has posted to yet: as with an empty one."""

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
            self._send(Ack(id=command.id, duplicate=False, queued=False))

    def unsubscribe(self, command: Unsubscribe) -> None:
        """Follow it no longer. Not having followed it is no error."""
        task = self._tasks.pop(command.chatId or LIST, None)
        if task is not None:
            task.cancel()
        if command.id is not None:
            self._send(Ack(chatId=command.chatId or UNSET, id=command.id, duplicate=False, queued=False))

    async def _subscribe_chat(self, chat: str, command: Subscribe) -> None:
        keep = EventFilter.of(command.types, command.kinds)
        id = command.id or UNSET
        after = command.after
        if after is not None and after < -1:
            raise PostdocError("bad_message", "The field `after` is wrong: a seq, or -1 for live only.")
        silent = chat.startswith(ROOM) and not await self._exists(chat)
        if silent:
            room_row("", chat)  # a name that cannot be a room's is refused
        if after is None:
            snapshot = SILENCE if silent else await self._services.sessions.snapshot(self._user, chat)
            self._end(chat)
            self._outbox.put(history_bytes(chat, snapshot, self._outbox.envelope, keep, id))
            after = snapshot.through_seq
        else:
            last = 0 if silent else (await self._services.sessions.get(self._user, chat))["lastSeq"]
            self._end(chat)
            if after > last:
                self._send(Reset(chatId=chat, id=id))
                return
            after = last if after < 0 else after
            if id is not UNSET:
                self._send(Ack(chatId=chat, id=id, seq=after, duplicate=False, queued=False))
        self._start(chat, self._follow(chat, after, keep, silent))

    def _start(self, key: str, work: Coroutine[Any, Any, None]) -> None:
        self._end(key)
        self._tasks[key] = asyncio.get_running_loop().create_task(work)

    def _end(self, key: str) -> None:
        task = self._tasks.pop(key, None)
        if task is not None:
            task.cancel()

    def _send(self, frame: Control) -> None:
        self._outbox.put(control_bytes(frame, self._outbox.envelope))

    # --- one session ---

    async def _follow(self, chat: str, after: int, keep: EventFilter, silent: bool) -> None:
        task = asyncio.current_task()
        try:
            if silent and not await self._opened(chat):
                return  # the server is stopping
            batches = self._services.log.follow(chat, after=after, types=keep.types)
            try:
                async for batch in batches:
                    await self._outbox.put_events(batch, keep if keep else None)
                    if self.done:
                        self._done(batch)
            finally:
                await batches.aclose()
            if await self._exists(chat) or self._tasks.get(chat) is not task:
                return  # the server is stopping
            del self._tasks[chat]
            await self._gone(chat)
        except LogReset:
            self._tasks.pop(chat, None)
            self._send(Reset(chatId=chat))
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

    def _done(self, batch: list[Event]) -> None:
        """The alias that clients of old wait for after a ``result``."""
        for event in batch:
            if event.type == "result":
                body = event.body() | {"type": "done", "chatId": event.session, "of": event.seq}
                self._send(msgspec.convert(body, Done))

    async def _opened(self, room: str) -> bool:
        """Until somebody has said something in a room; False when the log stops before."""
        async with contextlib.aclosing(changes_from_now(self._services.log)) as changes:
            async for changed in changes:
                if (not changed or room in changed) and await self._exists(room):
                    return True
        return False

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
            async with contextlib.aclosing(changes_from_now(self._services.log)) as changes:
                await anext(changes)
                chats = await self._services.sessions.list(self._user)
                shown = {chat["id"]: _news(chat) for chat in chats}
                self._send(SessionList(sessions=msgspec.convert(chats, list[ChatInfo])))
                async for changed in changes:
                    await self._show(changed, shown)
                    await self._outbox.flushed()
                    await asyncio.sleep(LIST_PAUSE_S)
        except LogReset:
            self._tasks.pop(LIST, None)
            self._send(Reset())
        except PostdocError as error:
            self._tasks.pop(LIST, None)
            self._send(frames.error_frame(error))

    async def _show(self, changed: set[str], shown: dict[str, Any]) -> None:
        """One frame for each that looks different now, however often it has changed since the last look."""
        chats = await self._services.sessions.known(self._user, changed)
        for id in sorted(changed):
            if (chat := chats.get(id)) is None:
                if shown.pop(id, None) is not None:
                    self._send(SessionChanged(chatId=id, deleted=True))
            elif shown.get(id) != (news := _news(chat)):
                shown[id] = news
                self._send(SessionChanged(chatId=id, session=msgspec.convert(chat, ChatInfo)))


def _news(chat: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in chat.items() if k not in LIST_QUIET}


async def changes_from_now(log: EventLog) -> AsyncGenerator[set[str], None]:
    """As ``follow_sessions``, but begins with an empty set once it listens: what is looked up then misses no change."""
    async with contextlib.aclosing(log.follow_sessions()) as changes:
        upcoming = asyncio.ensure_future(anext(changes))
        await asyncio.sleep(0)
        try:
            yield set()
            while True:
                yield await upcoming
                upcoming = asyncio.ensure_future(anext(changes))
        except StopAsyncIteration:
            return
        finally:
            upcoming.cancel()
            with contextlib.suppress(asyncio.CancelledError, StopAsyncIteration):
                await upcoming
