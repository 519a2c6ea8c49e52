"""Open a session's notebook: its editor is started, and the one who asks gets an address for it."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path
from typing import Literal
from urllib.parse import quote

from msgspec import Struct
from tornado import web
from tornado.httputil import HTTPServerRequest

from jupyterlab_postdoc import protocol
from jupyterlab_postdoc.agent.hand import hand_of
from jupyterlab_postdoc.errors import PostdocError
from jupyterlab_postdoc.handlers.base import PostdocHandler, authorized_to_execute, login_holds
from jupyterlab_postdoc.notebooks.live import Editor
from jupyterlab_postdoc.store.base import SessionRow

from .place import Place, place_of
from .tickets import Tickets, tickets_of

WAIT_S = 40.0
POLL_S = 0.05


class Wish(Struct, kw_only=True):
    """Body of ``POST api/chats/{id}/notebook/open``."""

    mode: Literal["watch", "edit"] = "watch"


class OpenHandler(PostdocHandler):
    """An address for a frame, good for who asked: ``{"url", "mode", "expires"}``."""

    @web.authenticated
    @authorized_to_execute
    async def post(self, id: str) -> None:
        wish, user = self.body_as(Wish), self.user
        place = await place_of(self.event_log, Path(self.settings["server_root_dir"]), user, id)
        if wish.mode == "edit":
            check_hand(place.row, user.name)
        editor = await self._editor(place)
        login = partial(login_holds, self.application, _kept(self.request), user.name, "execute")
        ticket = self._tickets().issue(user.name, id, wish.mode, place.root, login)
        kiosk = "&kiosk=true" if wish.mode == "watch" else ""
        url = f"{self.base_url.rstrip('/')}/postdoc/nt/{ticket.secret}/?file={quote(editor.upstream.notebook)}{kiosk}"
        self.send({"url": url, "mode": wish.mode, "expires": protocol.iso(ticket.expires)})

    def _tickets(self) -> Tickets:
        """The tickets; those for editing end at once when a notebook changes hands."""
        tickets = tickets_of(self.settings)
        if not tickets.heard:
            tickets.heard = True
            self.sessions.on_hand.append(lambda session: tickets.revoke(session, "edit"))
        return tickets

    async def _editor(self, place: Place) -> Editor:
        """The editor, started when there is none. Who waits too long may come back: the start goes on."""
        starting = asyncio.ensure_future(self.services.editors.open(place.root, place.path))
        end = asyncio.get_running_loop().time() + WAIT_S
        await asyncio.wait({starting}, timeout=WAIT_S)
        if not starting.done():
            starting.add_done_callback(_heard)
            raise PostdocError(
                "capacity", "The notebook's editor is still starting.", next="Try again in a moment.", retryable=True
            )
        editor = starting.result()
        await _kernel(editor, end)
        return editor


async def _kernel(editor: Editor, end: float) -> None:
    """Wait (until ``end``) for the kernel: marimo sends a reader away who comes before it."""
    for _ in range(int(WAIT_S / POLL_S)):
        if editor.status.kernel not in ("none", "starting") or asyncio.get_running_loop().time() > end:
            return
        await asyncio.sleep(POLL_S)


def _kept(request: HTTPServerRequest) -> HTTPServerRequest:
    """A request without its body, to ask of its login later."""
    return HTTPServerRequest(
        request.method, request.uri, request.version, request.headers, connection=request.connection
    )


def _heard(task: asyncio.Future[Editor]) -> None:
    """Nobody waits any more; the editors' status tells how it went."""
    if not task.cancelled():
        task.exception()


def check_hand(row: SessionRow, user: str) -> None:
    """Raises busy when the notebook is the agent's, forbidden when it is another person's."""
    hand = hand_of(row)
    if hand is None:
        raise PostdocError("busy", "The notebook is in the agent's hands.", next="Take it over first.", reason="taken")
    if hand.holder != user:
        raise PostdocError("forbidden", f"{hand.display} has the notebook.", next="Look at it, or ask for it.")
