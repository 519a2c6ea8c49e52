"""The connection to GitHub: who is connected, connecting, and disconnecting."""

from __future__ import annotations

from typing import Literal

import msgspec
from jupyter_server.auth.decorator import authorized
from tornado import web

from jupyterlab_postdoc import secrets
from jupyterlab_postdoc.errors import PostdocError
from jupyterlab_postdoc.forge.connection import Connection

from .base import PostdocHandler, authorized_to_execute


class Connect(msgspec.Struct):
    """The body of ``PUT api/github``: a token and where to keep it, or ``{"source": "gh"}``."""

    token: str | None = None
    store: Literal["file", "keyring"] = "file"
    source: Literal["gh"] | None = None

    def __repr__(self) -> str:
        return f"Connect(store={self.store!r}, source={self.source!r})"


class GitHubHandler(PostdocHandler):
    """The user's connection. No answer ever holds a token."""

    @property
    def connection(self) -> Connection:
        """The connections of this server."""
        return self.services.connection

    @web.authenticated
    @authorized
    async def get(self) -> None:
        self.send(await self.connection.describe(self.user.name))

    @web.authenticated
    @authorized_to_execute
    async def put(self) -> None:
        self._known_user()
        body = self.body()
        if isinstance(token := body.get("token"), str):
            secrets.register(token)  # before anything else can go wrong with it
        wish = self.body_as(Connect)
        if (wish.token is None) == (wish.source is None):
            raise PostdocError(
                "bad_message",
                "Connecting to GitHub needs either a `token` or the `source` gh.",
                next="Send one of the two.",
            )
        if wish.token is not None:
            self.send(await self.connection.store(self.user.name, wish.token, where=wish.store))
        else:
            self.send(await self.connection.use_gh(self.user.name))
        self.services.watch.connected(self.user.name)

    @web.authenticated
    @authorized_to_execute
    async def delete(self) -> None:
        self._known_user()
        self.send(await self.connection.forget(self.user.name))

    def _known_user(self) -> None:
        if self.user.anonymous:
            raise PostdocError(
                "forbidden",
                "Nobody is logged in here, so a token would belong to whoever comes by.",
                next="Start the server with a token or a password, then connect.",
            )
