"""Chats, under system B's name ``api/chats`` and system E's name ``api/sessions``: the same sessions, the same objects."""

from __future__ import annotations

import hashlib
from typing import Annotated

from jupyter_server.auth.decorator import authorized
from msgspec import Meta, Struct
from tornado import web

from ..errors import PostdocError
from ..protocol import Name
from .base import PostdocHandler

Label = Annotated[str, Meta(min_length=1, max_length=100)]

COMMANDS = {"messages": "chat", "research": "research", "stop": "stop", "respond": "respond", "resume": "resume", "fork": "fork"}
"""The last part of the address → the command it stands for."""


class NewChat(Struct, kw_only=True):
    """Body of ``POST api/chats``."""

    title: Name | None = None
    model: Label | None = None
    persona: Label | None = None


class ChatsHandler(PostdocHandler):
    """All chats of the user."""

    @web.authenticated
    @authorized
    async def get(self) -> None:
        before = self.get_query_argument("before", None)
        self.send(
            await self.sessions.list(
                self.user,
                kind=self.get_query_argument("kind", None),
                limit=self.whole("limit", 200, 1, 1000),
                before=before,
                archived=self.flag("archived"),
            )
        )

    @web.authenticated
    @authorized(action="execute")
    async def post(self) -> None:
        new, user = self.body_as(NewChat), self.user
        key = self.request.headers.get("Idempotency-Key")
        made = f"c_{hashlib.sha256(f'{user.name}/{key}'.encode()).hexdigest()[:32]}" if key else None
        try:
            chat = await self.sessions.create(user, title=new.title, model=new.model, persona=new.persona, id=made)
        except PostdocError as error:
            if made is None or error.code != "id_conflict":
                raise
            self.send(await self.sessions.get(user, made))  # the same request once more
            return
        self.set_header("Location", f"{self.request.path.rstrip('/')}/{chat['id']}")
        self.send(chat, 201)


class ChatHandler(PostdocHandler):
    """One chat."""

    @web.authenticated
    @authorized
    async def get(self, id: str) -> None:
        self.send(await self.sessions.get(self.user, id))

    @web.authenticated
    @authorized(action="execute")
    async def patch(self, id: str) -> None:
        await self.sessions.submit(self.user, self.command("session.set", chatId=id))
        self.send(await self.sessions.get(self.user, id))

    @web.authenticated
    @authorized(action="execute")
    async def delete(self, id: str) -> None:
        await self.sessions.delete(self.user, id)
        self.set_status(204)
        self.finish()


class CommandHandler(PostdocHandler):
    """The WebSocket's commands as requests: answers the ack, after COMMIT."""

    @web.authenticated
    @authorized(action="execute")
    async def post(self, id: str, action: str) -> None:
        ack = await self.sessions.submit(self.user, self.command(COMMANDS[action], chatId=id))
        body = {"chatId": id, "id": ack.id, "seq": ack.seq, "duplicate": ack.duplicate, "queued": ack.queued}
        self.send(body | ack.extra, 202)
