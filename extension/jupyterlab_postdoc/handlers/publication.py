"""Where a session is published: the newest picture, a look on demand, and the comments of its pull request."""

from __future__ import annotations

from typing import Annotated, Any

from jupyter_server.auth.decorator import authorized
from msgspec import Meta, Struct
from tornado import web

from jupyterlab_postdoc import protocol
from jupyterlab_postdoc.errors import PostdocError
from jupyterlab_postdoc.models import GET_KEY
from jupyterlab_postdoc.sessions import Ack
from jupyterlab_postdoc.store.base import PublicationRow

from . import frames
from .base import PostdocHandler, authorized_to_execute

CommentId = Annotated[str, Meta(min_length=1, max_length=100)]


class Handed(Struct, kw_only=True):
    """Body of ``POST api/chats/{id}/publication/comments``."""

    ids: Annotated[list[CommentId], Meta(min_length=1, max_length=1000)]
    note: Annotated[str, Meta(max_length=protocol.MAX_CONTENT)] = ""


class _Answering(PostdocHandler):
    async def answer(self, id: str, row: PublicationRow | None) -> None:
        """The row's picture, or that it is only here."""
        if row is not None and row.shown:
            self.send({name: value for name, value in row.shown.items() if name != "type"})
            return
        project = (await self.sessions.get(self.user, id)).get("project") or {}
        connected = await self.services.watch.is_connected(self.user.name)
        self.send({"state": "local", "canPublish": bool(project.get("commit")), "connected": connected})


class PublicationHandler(_Answering):
    """The newest ``publication`` event; without one, whether there could be one."""

    @web.authenticated
    @authorized
    async def get(self, id: str) -> None:
        await self.sessions.check(self.user, id)
        await self.answer(id, await self.event_log.store.get_publication(id))


class RefreshHandler(_Answering):
    """Look at the forge now; answers the picture after that."""

    @web.authenticated
    @authorized_to_execute
    async def post(self, id: str) -> None:
        await self.sessions.check(self.user, id)
        await self.answer(id, await self.services.watch.look(id))


class CommentsHandler(PostdocHandler):
    """What people wrote at the pull request; ``POST`` hands some of it to the agent as one message."""

    @web.authenticated
    @authorized
    async def get(self, id: str) -> None:
        await self.sessions.check(self.user, id)
        self.send(await self.services.watch.comments.list(id))

    @web.authenticated
    @authorized_to_execute
    async def post(self, id: str) -> None:
        given, user = self.body_as(Handed), self.user
        await self.sessions.check(user, id)

        async def say(text: str, key: str) -> Ack:
            if not self.sessions.models.configured:
                raise PostdocError(
                    "no_model",
                    "There is no agent that could answer: no AI model is configured. Nothing was handed over.",
                    next=GET_KEY,
                )
            key = self.request.headers.get("Idempotency-Key") or key
            command: Any = protocol.Chat(id=key, chatId=id, content=text)
            return await self.sessions.submit(user, command)

        ack = await self.services.watch.comments.hand(id, given.ids, given.note, say)
        self.send(frames.ack_body(ack, id), 202)
