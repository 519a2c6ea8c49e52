"""Repositories that the user has registered, and those of the user's GitHub to choose from."""

from __future__ import annotations

from typing import Annotated

from jupyter_server.auth.decorator import authorized
from msgspec import Meta, Struct
from tornado import web

from .base import PostdocHandler, authorized_to_execute


class NewRepository(Struct, kw_only=True):
    """Body of ``POST api/repos``: ``owner/name`` on GitHub, or a git address."""

    repository: Annotated[str, Meta(min_length=1, max_length=1000)]


class RepositoriesHandler(PostdocHandler):
    """All registrations of the user; a new one."""

    @web.authenticated
    @authorized
    async def get(self) -> None:
        self.send(await self.services.repositories.list(self.user.name))

    @web.authenticated
    @authorized_to_execute
    async def post(self) -> None:
        given = self.body_as(NewRepository).repository
        shown, fresh = await self.services.repositories.add(self.user.name, given)
        self.set_header("Location", f"{self.request.path.rstrip('/')}/{shown['id']}")
        self.send(shown, 201 if fresh else 200)


class AvailableHandler(PostdocHandler):
    """What the user's GitHub account may push to."""

    @web.authenticated
    @authorized
    async def get(self) -> None:
        query = self.get_query_argument("query", "")
        self.send(await self.services.repositories.available(self.user.name, query))


class RepositoryHandler(PostdocHandler):
    """One registration. Deleting it deletes nothing else: the sessions in the repository go on."""

    @web.authenticated
    @authorized
    async def get(self, id: str) -> None:
        self.send(await self.services.repositories.get(self.user.name, id))

    @web.authenticated
    @authorized_to_execute
    async def delete(self, id: str) -> None:
        await self.services.repositories.remove(self.user.name, id)
        self.set_status(204)
        self.finish()
