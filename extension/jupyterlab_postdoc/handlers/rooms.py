"""Rooms as system A knew them: post with one request, read with ``room``, ``limit`` and ``after_id``."""

from __future__ import annotations

from typing import Any

from jupyter_server.auth.decorator import authorized
from msgspec import UNSET, Struct, UnsetType
from tornado import web

from jupyterlab_postdoc import protocol
from jupyterlab_postdoc.errors import PostdocError
from jupyterlab_postdoc.protocol import Event, Name
from jupyterlab_postdoc.sessions import room_row

from .base import PostdocHandler, authorized_to_execute
from .frames import command

ROOM = "room:"
DEFAULT_ROOM = "general"


class NewMessage(Struct, kw_only=True):
    """Body of ``POST api/messages``; the limits of the fields are those of the ``post`` command."""

    content: str
    agent: Name | None = None
    kind: str | UnsetType = UNSET
    room: str = DEFAULT_ROOM
    id: str | None = None


def room_id(name: str) -> str:
    """``lab`` → ``room:lab``; the sentence about a bad name speaks of the room, not of a chat."""
    name = name.strip().removeprefix(ROOM)
    if not name or len(name) > 64 - len(ROOM) or any(ord(c) < 32 or ord(c) == 127 for c in name):
        raise PostdocError(
            "bad_message",
            f"A room's name has 1 to {64 - len(ROOM)} characters and no control characters.",
            next="Choose another name for `room`.",
        )
    return room_row(name, None).id


def message(event: Event) -> dict[str, Any]:
    """A room message as system A shows it: ``id`` is the seq in its room."""
    body = event.body()
    shown: dict[str, Any] = {"id": event.seq, "ts": protocol.iso(event.ts), "room": event.session.removeprefix(ROOM)}
    return shown | {k: body.get(k) for k in ("agent", "kind", "content", "by")}


class RoomMessagesHandler(PostdocHandler):
    """All that was said in one room."""

    @web.authenticated
    @authorized
    async def get(self) -> None:
        room = room_id(self.get_query_argument("room", DEFAULT_ROOM))
        limit, after = self.whole("limit", 100, 1, 1000), self.whole("after_id", -1)
        try:
            await self.sessions.check(self.user, room)
        except PostdocError as error:
            if error.code != "not_found":
                raise
            self.send([])  # nobody has said anything there yet
            return
        types = ["user_message"]
        if after >= 0:
            events = await self.event_log.read(room, after=after, limit=limit, types=types)
        else:
            events = [event for event in await self.event_log.tail(room, limit) if event.type in types]
        self.send([message(event) for event in events])

    @web.authenticated
    @authorized_to_execute
    async def post(self) -> None:
        new, user = self.body_as(NewMessage), self.user
        room = room_id(new.room)
        fields: dict[str, Any] = {"agent": new.agent or user.display, "content": new.content}
        if new.kind is not UNSET:
            fields["kind"] = new.kind
        key = self.request.headers.get("Idempotency-Key", new.id)
        ack = await self.sessions.submit(user, command(fields | {"type": "post", "chatId": room, "id": key}))
        (event,) = await self.event_log.read(room, after=ack.seq - 1, limit=1)
        self.send(message(event) | {"duplicate": ack.duplicate}, 200 if ack.duplicate else 201)


class RoomsHandler(PostdocHandler):
    """The rooms there are."""

    @web.authenticated
    @authorized
    async def get(self) -> None:
        self.send(await self.sessions.rooms(self.user))
