"""The checkpoints of a session: listed, compared, brought back. A fork from one is the command ``fork``."""

from __future__ import annotations

import re

from jupyter_server.auth.decorator import authorized
from tornado import web

from jupyterlab_postdoc import protocol
from jupyterlab_postdoc.errors import PostdocError

from .base import PostdocHandler, authorized_to_execute

LIMIT, MOST = 200, 1000
_SHA = re.compile(r"[0-9a-f]{40}")


def checked(sha: str) -> str:
    """A whole commit id; anything else is no checkpoint."""
    if _SHA.fullmatch(sha) is None:
        raise PostdocError(
            "bad_message", f"{sha[:80]!r} is not the id of a commit.", next="Give all 40 letters and digits of it."
        )
    return sha


class CheckpointsHandler(PostdocHandler):
    """``GET``: the newest ``limit`` checkpoints, newest first."""

    @web.authenticated
    @authorized
    async def get(self, id: str) -> None:
        limit = self.whole("limit", LIMIT, 1, MOST)
        row = await self.sessions.row(self.user, id)
        self.send(await self.sessions.checkpoints.list(row, limit))


class CheckpointHandler(PostdocHandler):
    """``GET``: what is different at one of them, against the one before, another one, or (``live``) the notebook."""

    @web.authenticated
    @authorized
    async def get(self, id: str, sha: str) -> None:
        against = self.get_query_argument("against", None)
        other = against if against in (None, "live") else checked(against)
        row = await self.sessions.row(self.user, id)
        self.send(await self.sessions.checkpoints.look(row, checked(sha), other))


class RestoreHandler(PostdocHandler):
    """``POST``: make the notebook what it was then. The same ``Idempotency-Key`` does it once."""

    @web.authenticated
    @authorized_to_execute
    async def post(self, id: str, sha: str) -> None:
        self.body()  # refuses what is no JSON object
        key = self.request.headers.get("Idempotency-Key") or protocol.new_id()
        row, user = await self.sessions.row(self.user, id), self.user
        restored = await self.sessions.checkpoints.restore(
            row, checked(sha), user=user.name, display=user.display, key=f"{user.name}/{key[:200]}"
        )
        self.send({"commit": restored.commit, "changed": restored.changed})
