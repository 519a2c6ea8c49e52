"""Chats, under system B's name ``api/chats`` and system E's name ``api/sessions``: the same sessions, the same
objects.
"""

from __future__ import annotations

import hashlib
from typing import Annotated

from jupyter_server.auth.decorator import authorized
from msgspec import Meta, Struct
from tornado import web

from jupyterlab_postdoc.protocol import Name

from .base import PostdocHandler, authorized_to_execute

Label = Annotated[str, Meta(min_length=1, max_length=100)]


class NewChat(Struct, kw_only=True):
    """Body of ``POST api/chats``."""

    title: Name | None = None
    model: Label | None = None
    persona: Label | None = None
    repository: Name | None = None


class ChatsHandler(PostdocHandler):
    """All chats of the user."""

    @web.authenticated
    @authorized
    async def get(self) -> None:
        self.send(
            await self.sessions.list(
                self.user,
                kind=self.get_query_argument("kind", None),
                limit=self.whole("limit", 200, 1, 1000),
                before=self.moment("before"),
                archived=self.flag("archived"),
            )
        )

    @web.authenticated
    @authorized_to_execute
    async def post(self) -> None:
        new, user = self.body_as(NewChat), self.user
        key = self.request.headers.get("Idempotency-Key")
        made = f"c_{hashlib.sha256(f'{user.name}/{key}'.encode()).hexdigest()[:32]}" if key else None
        chat = await self.sessions.create(
            user, title=new.title, model=new.model, persona=new.persona, repository=new.repository, id=made
        )
        self.set_header("Location", f"{self.request.path.rstrip('/')}/{chat['id']}")
        self.send(chat, 201)


class ChatHandler(PostdocHandler):
    """One chat."""

    @web.authenticated
    @authorized
    async def get(self, id: str) -> None:
        self.send(await self.sessions.get(self.user, id))

    @web.authenticated
    @authorized_to_execute
    async def patch(self, id: str) -> None:
        await self.submit("session.set", id)
        self.send(await self.sessions.get(self.user, id))

    @web.authenticated
    @authorized_to_execute
    async def delete(self, id: str) -> None:
        await self.sessions.delete(self.user, id)
        self.set_status(204)
        self.finish()


class CommandHandler(PostdocHandler):
    """``research``, ``publish``, ``stop``, ``respond``, ``resume``, ``fork``: the socket's commands as requests.

    Answers the ack, after COMMIT.
    """

    @web.authenticated
    @authorized_to_execute
    async def post(self, id: str, action: str) -> None:
        self.send(await self.submit(action, id), 202)
