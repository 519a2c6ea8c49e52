"""The page's WebSocket: marimo tells on it what happens. What a watcher's page says on it goes nowhere."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from jupyter_server.auth.decorator import allow_unauthenticated
from jupyter_server.base.websocket import WebSocketMixin
from tornado import web
from tornado.httpclient import HTTPClientError, HTTPRequest
from tornado.iostream import StreamClosedError
from tornado.websocket import (
    WebSocketClientConnection,
    WebSocketClosedError,
    WebSocketHandler,
    WebSocketProtocol,
    WebSocketProtocol13,
    websocket_connect,
)

from jupyterlab_postdoc.errors import PostdocError
from jupyterlab_postdoc.notebooks.live import Editor

from . import filter, headers
from .access import TicketHandler, stopped
from .bursts import TOGETHER, Bursts, Message, together
from .tickets import LOOK_S
from .upstream import resolver

MAX_IN = 16 << 20
MAX_OUT = 64 << 20
CONNECT_S = 10.0
MOST = 16
"""Open connections of one ticket; a page has one."""
KEY = "postdoc_notebook_sockets"


class ProxySocket(WebSocketMixin, WebSocketHandler, TicketHandler):
    """``{base_url}postdoc/nt/<ticket>/ws``."""

    upstream: WebSocketClientConnection | None = None
    _editor: Editor | None = None
    _tasks: tuple[asyncio.Task[None], ...] = ()
    _chosen: str | None = None
    _left = False

    async def prepare(self) -> None:  # type: ignore[override]
        """Who may come in: the opaque origin of our page, with a ticket that holds. Then marimo is asked."""
        self.checked_host()
        if self.origin() != "null":
            raise web.HTTPError(403, "Requests from this origin are not allowed.")
        self.ticket = await self.find_ticket(at_once=True)
        if (self.request.headers.get("Upgrade") or "").lower() != "websocket":
            raise PostdocError("bad_message", "This address is a WebSocket.")
        if len(self.ticket.ends) >= MOST:
            raise PostdocError("rate_limited", f"This page has {MOST} connections already.")
        await self.settled()
        self._editor = self.editor()
        self.upstream = await self._connect(self._editor)
        if self._left:  # while marimo was asked: Tornado would open the socket, and never close it again
            raise web.Finish

    async def _connect(self, editor: Editor) -> WebSocketClientConnection:
        to = editor.upstream
        query = filter.socket_query(self.ticket.mode, self.query, to.notebook)
        given = {"Authorization": f"Bearer {to.token}", "Host": f"127.0.0.1:{to.port}"}
        request = HTTPRequest(
            f"ws://127.0.0.1:{to.port}/ws?{query}", headers=given, connect_timeout=CONNECT_S, request_timeout=CONNECT_S
        )
        named = (name.strip() for name in self.request.headers.get("Sec-WebSocket-Protocol", "").split(","))
        offered = [name for name in named if headers.TOKEN.fullmatch(name)]
        try:
            made = await websocket_connect(
                request, subprotocols=offered or None, max_message_size=MAX_OUT, resolver=resolver(to)
            )
        except HTTPClientError as error:
            if error.code == 403:
                raise web.HTTPError(403, "The notebook's editor refuses the connection.") from None
            raise stopped() from None
        except (OSError, StreamClosedError):
            raise stopped() from None
        self._chosen = made.selected_subprotocol
        return made

    get = allow_unauthenticated(WebSocketHandler.get)

    def check_origin(self, origin: str | None = None) -> bool:
        """Exactly the opaque origin."""
        return (origin or self.origin()) == "null"

    def select_subprotocol(self, subprotocols: list[str]) -> str | None:
        return self._chosen if self._chosen in subprotocols else None

    def get_compression_options(self) -> None:
        """None: a picture of some megabytes would keep this whole server busy for a third of a second."""

    def get_websocket_protocol(self) -> WebSocketProtocol | None:
        made = super().get_websocket_protocol()
        if isinstance(made, WebSocketProtocol13):
            made.params.ping_interval = 0  # Tornado would read our milliseconds as seconds; the mixin pings
        return made

    @property
    def max_message_size(self) -> int:
        return MAX_IN

    # --- life ---

    def open(self, *args: Any, **kwargs: Any) -> None:
        super().open(*args, **kwargs)
        self.set_nodelay(True)
        assert self._editor is not None
        self._editor.viewer(1)
        self.ticket.ends.add(self._revoked)
        self.settings.setdefault(KEY, set()).add(self)
        self._tasks = (asyncio.ensure_future(self._pump()), asyncio.ensure_future(self._watch()))

    async def _pump(self) -> None:
        """What marimo says, no faster than the browser reads; a short run's messages at once."""
        assert self.upstream is not None
        bursts, now = Bursts(), asyncio.get_running_loop().time
        reading = asyncio.ensure_future(self.upstream.read_message())
        try:
            while True:
                await asyncio.wait({reading}, timeout=bursts.wait(now()))
                if reading.done():
                    if (message := reading.result()) is None:
                        break
                    bursts.add(message, now())
                    reading = asyncio.ensure_future(self.upstream.read_message())
                if bursts.wait(now()) == 0:
                    await self._tell(bursts.take())
            await self._tell(bursts.take())
        except (WebSocketClosedError, StreamClosedError):
            return
        finally:
            reading.cancel()
        code = self.upstream.close_code
        self.close(code if code is not None and code not in (1005, 1006, 1015) else 1011, self.upstream.close_reason)

    async def _tell(self, messages: list[Message]) -> None:
        """To the page, in one go: to ours as one message."""
        if TOGETHER in self.query.split("&"):
            messages = together(messages)
        for message in messages:
            await self.write_message(message, binary=isinstance(message, bytes))

    async def _watch(self) -> None:
        """Look at the session from time to time: leave may have been taken away by any server's process."""
        try:
            while not self.ticket.expired and await self.still_allowed(self.ticket, at_once=False):
                self.ticket.used = max(self.ticket.used, self.ticket.looked)
                await asyncio.sleep(LOOK_S)
        finally:
            self._revoked()  # also when it cannot be seen any more

    def _revoked(self) -> None:
        self.close(4403, "no leave any more")

    async def on_message(self, message: str | bytes) -> None:
        """An editor's words; marimo knows none so far."""
        if self.ticket.mode == "edit" and self.upstream is not None:
            with contextlib.suppress(WebSocketClosedError, StreamClosedError):
                await self.upstream.write_message(message, binary=isinstance(message, bytes))

    def on_close(self) -> None:
        self._left = True
        if self.ping_callback is not None:
            self.ping_callback.stop()
        if self._tasks and self._editor is not None:
            self._editor.viewer(-1)
        for task in self._tasks:
            task.cancel()
        self._tasks = ()
        if hasattr(self, "ticket"):
            self.ticket.ends.discard(self._revoked)
        self.settings.get(KEY, set()).discard(self)
        self._hang_up()

    def on_finish(self) -> None:
        """Also when the handshake failed after marimo was asked."""
        if self.get_status() != 101:
            self._hang_up()

    def _hang_up(self) -> None:
        if self.upstream is not None:
            self.upstream.close()
            self.upstream = None


async def stop(settings: dict[str, Any]) -> None:
    """Close all: the server ends."""
    for client in list(settings.get(KEY, ())):
        client.close(1001, "the server ends")
