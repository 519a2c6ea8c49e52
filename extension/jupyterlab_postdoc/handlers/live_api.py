"""A session's notebook: how it is, taken and given back, its kernel and its editor. ``open`` is in handlers/live/."""

from __future__ import annotations

from typing import Literal

from jupyter_server.auth.decorator import authorized
from msgspec import Struct
from tornado import web

from .base import PostdocHandler, authorized_to_execute


class Restart(Struct, kw_only=True):
    """Body of ``POST …/notebook/restart``."""

    what: Literal["kernel", "editor"] = "kernel"


class NotebookHandler(PostdocHandler):
    """How the notebook is, and in whose hand."""

    @web.authenticated
    @authorized
    async def get(self, id: str) -> None:
        row = await self.sessions.row(self.user, id)
        self.send(await self.sessions.desk.show(self.user, row))


class NotebookCommandHandler(PostdocHandler):
    """``take`` and ``give``: the socket's commands as requests. Answers the ack, after COMMIT."""

    @web.authenticated
    @authorized_to_execute
    async def post(self, id: str, action: str) -> None:
        self.send(await self.submit(f"notebook.{action}", id), 202)


class NotebookActionHandler(PostdocHandler):
    """``restart``, ``close`` and ``interrupt``; each answers how the notebook is afterwards."""

    @web.authenticated
    @authorized_to_execute
    async def post(self, id: str, action: str) -> None:
        user, desk = self.user, self.sessions.desk
        row = await self.sessions.row(user, id)
        if action == "restart":
            await desk.restart(user, row, self.body_as(Restart).what)
        elif action == "close":
            await desk.close(user, row)
        else:
            await desk.interrupt(user, row)
        self.send(await desk.show(user, row))
