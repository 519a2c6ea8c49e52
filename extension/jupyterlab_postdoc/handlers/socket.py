"""The WebSocket: one reader, one way out, and one follower per subscription.

A client sends commands (see :mod:`.frames`); every command that changes something goes through
``SessionManager.submit`` and is
acknowledged after COMMIT. What it subscribes to is followed in the log; the log is the buffer of a slow client.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Sequence
from typing import Any, cast

from jupyter_core.utils import ensure_async
from jupyter_server.auth.decorator import ws_authenticated
from jupyter_server.base.handlers import JupyterHandler
from jupyter_server.base.websocket import WebSocketMixin
from msgspec import UNSET
from tornado import web
from tornado.httputil import HTTPHeaders
from tornado.ioloop import IOLoop
from tornado.iostream import IOStream, StreamClosedError
from tornado.websocket import WebSocketClosedError, WebSocketHandler, WebSocketProtocol, WebSocketProtocol13

from jupyterlab_postdoc import __version__, protocol
from jupyterlab_postdoc.errors import PostdocError
from jupyterlab_postdoc.protocol import (
    Bye,
    Command,
    ConnectionLimits,
    Control,
    Hello,
    Person,
    Ping,
    Pong,
    Subscribe,
    Unsubscribe,
    Welcome,
)
from jupyterlab_postdoc.sessions import SessionManager, User

from . import frames
from .base import RESOURCE, JsonErrors, Services, login_holds, services_of, user_of
from .limits import Rate
from .outbound import control_bytes
from .outbox import Outbox
from .subscriptions import Subscriptions

HEARTBEAT_MS = 20_000
SEND_BUFFER = 256 << 10
MAX_BAD_FRAMES = 5
SOCKETS = "postdoc_sockets"
NO_HEADERS = HTTPHeaders()
"""Of all open sockets together: a handler cannot change its headers any more."""
BAD_FRAME = frozenset({"bad_json", "bad_message", "unknown_type", "unsupported_version", "too_large"})


class SocketHandler(JsonErrors, WebSocketMixin, WebSocketHandler, JupyterHandler):
    """``{base_url}postdoc/ws``."""

    auth_resource = RESOURCE
    outbox: Outbox
    subscriptions: Subscriptions
    rate: Rate
    _bad = 0
    _ending = False

    # --- the upgrade ---

    async def prepare(self) -> None:  # type: ignore[override]
        """Who may come in: a known user who may read, from an allowed origin. Without an Origin only a token will do.

        All of this is done here and not in ``get``, which is at work for as long as the connection lives.
        """
        await super().prepare()
        if self.current_user is None:
            raise web.HTTPError(403)
        services_of(self.settings)
        if not self.check_origin(self.get_origin()):
            raise web.HTTPError(403, "Requests from this origin are not allowed.")
        if not await self._authorized("read"):
            raise web.HTTPError(403, "You are not allowed to read sessions on this server.")

    get = ws_authenticated(WebSocketHandler.get)

    def check_origin(self, origin: str | None = None) -> bool:
        """A foreign page is refused even when it knows the token, unless the server's ``allow_origin`` names it."""
        origin = origin or self.get_origin()
        if origin is None:
            return bool(self.token_authenticated)
        return bool(super().check_origin(origin))

    def skip_check_origin(self) -> bool:
        """Jupyter lets a token stand in for the origin check; a socket does not."""
        return False

    def check_xsrf_cookie(self) -> None:
        """Nothing to protect: a socket has only GET, and that checks the origin."""

    def select_subprotocol(self, subprotocols: list[str]) -> str | None:
        return protocol.ENVELOPE_SUBPROTOCOL if protocol.ENVELOPE_SUBPROTOCOL in subprotocols else None

    @property
    def max_message_size(self) -> int:
        """Tornado cuts the connection at this size; up to it we can close with a code that the client gets to see."""
        return 2 * protocol.MAX_INBOUND

    @property
    def ping_interval(self) -> int:
        """Milliseconds, as Jupyter's mixin understands it."""
        return int(self.settings.get("ws_ping_interval", HEARTBEAT_MS))

    @property
    def ping_timeout(self) -> int:
        """Milliseconds without a sign of life after which the client counts as dead."""
        return int(self.settings.get("ws_ping_timeout", 3 * self.ping_interval))

    def get_websocket_protocol(self) -> WebSocketProtocol | None:
        made = super().get_websocket_protocol()
        if isinstance(made, WebSocketProtocol13):
            made.params.ping_interval = 0  # Tornado would read our milliseconds as seconds; the mixin pings
        return made

    # --- life ---

    def open(self, *args: Any, **kwargs: Any) -> None:
        super().open(*args, **kwargs)
        self.set_nodelay(True)
        self._forget_response()
        self.user: User = user_of(self)
        self._limit_kernel_buffer()
        self.outbox = Outbox(self._write, envelope=self.selected_subprotocol is not None)
        self.subscriptions = Subscriptions(self.services, self.user, self.outbox, self._chat_gone)
        self.rate = Rate()
        self.settings.setdefault(SOCKETS, set()).add(self)

    def _forget_response(self) -> None:
        """The answer to the upgrade has gone; its headers and its cookie would stay as long as the connection does,
        3 KB of each idle one.
        """
        self._headers = NO_HEADERS
        self.__dict__.pop("_new_cookie", None)

    def _limit_kernel_buffer(self) -> None:
        """What the kernel holds for a client that does not read is memory too, and delays the ping behind it."""
        stream = self.ws_connection.stream if self.ws_connection else None
        if isinstance(stream, IOStream):
            stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)

    async def _write(self, messages: Sequence[bytes]) -> None:
        """Send messages; done when the socket has taken them. They go out in one write: a task for each, as in
        Tornado's
        ``write_message``, costs more than all the rest. Bytes that had to wait were let go by the client's reading,
        which
        is as good as a pong: a slow client is not a dead one.
        """
        connection = self.ws_connection
        if connection is None or connection.is_closing() or (stream := connection.stream) is None:
            raise WebSocketClosedError
        try:
            sending = stream.write(b"".join(map(text_message, messages)))
            waited = stream.writing()
            await sending
        except StreamClosedError:
            raise WebSocketClosedError from None
        if waited:
            self.last_pong = IOLoop.current().time()

    def get_compression_options(self) -> None:
        """None: messages are written as they are (see ``_write``)."""

    def on_close(self) -> None:
        self.settings.get(SOCKETS, set()).discard(self)
        if self.ping_callback is not None:
            self.ping_callback.stop()
        if hasattr(self, "subscriptions"):
            self.subscriptions.close()
            self.outbox.close()

    async def send_ping(self) -> None:
        """The heartbeat, and with it another look at the login."""
        if not self._ending and not await self._still_welcome():
            await self.end(4401, "login expired")
            return
        super().send_ping()

    async def end(self, code: int, reason: str, *last: Control) -> None:
        """Send what is queued and the ``last`` frames (within a second), then close."""
        if self._ending:
            return
        self._ending = True
        self.subscriptions.close()
        for frame in last:
            self.send(frame)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1):
                await self.outbox.flushed()
        self.close(code, reason)

    async def _chat_gone(self, chat: str) -> None:
        """A followed chat was deleted: the end of a connection that followed nothing else."""
        gone = PostdocError("not_found", f"The chat {chat!r} was deleted.", next="Remove it from your list.")
        if self.subscriptions.count:
            self.send(frames.error_frame(gone, chatId=chat))
        else:
            await self.end(4404, "session deleted", frames.error_frame(gone, chatId=chat))

    # --- in ---

    async def on_message(self, message: str | bytes) -> None:
        """The reader. Tornado reads the next message when this one is done, so a client that does not read is not
        read either.
        """
        if self._ending:
            return
        self.last_pong = IOLoop.current().time()  # whoever talks is alive
        await self.outbox.room()
        if len(message) > protocol.MAX_INBOUND:
            await self.end(1009, "message too big")
            return
        try:
            command = self._accept(message)
        except PostdocError as error:
            await self._refuse(error)
            return
        try:
            await self._carry_out(command)
        except PostdocError as error:
            self.send(frames.error_frame(error, id=command.id, chatId=getattr(command, "chatId", None)))
        except Exception:  # the boundary of a connection: whatever it was, the socket stays usable
            ref = protocol.new_id()[:12]
            self.log.exception("postdoc error %s at a %s command", ref, type(command).__name__)
            lost = PostdocError(
                "internal", "Something went wrong in the server.", next=f"The server's log has it as {ref}.", ref=ref
            )
            self.send(frames.error_frame(lost, id=command.id, chatId=getattr(command, "chatId", None)))

    def _accept(self, message: str | bytes) -> Command:
        if self.rate.allow():
            return frames.parse(message)
        known: dict[str, Any] = {}
        if len(message) < 16_384:
            with contextlib.suppress(PostdocError):
                command = frames.parse(message)
                known = {k: v for k in ("id", "chatId") if (v := getattr(command, k, None)) is not None}
        raise PostdocError(
            "rate_limited",
            f"More than {Rate.PER_SECOND} messages a second.",
            next="Wait a moment and send it again with the same id.",
            retryable=True,
            **known,
        )

    async def _refuse(self, error: PostdocError) -> None:
        """Answer a message that is no command; enough of them in a row end the connection."""
        if error.code == "unknown_type":
            self.log.warning("postdoc: unknown message from %r: %.500r", self.user.name, error.details.get("received"))
        self._bad = self._bad + 1 if error.code in BAD_FRAME else self._bad
        self.send(frames.error_frame(error))
        if self._bad >= MAX_BAD_FRAMES:
            await self.end(4400, "bad frames")
        elif self.rate.hopeless:
            await self.end(4429, "rate limit")

    async def _carry_out(self, command: Command) -> None:
        self._bad = 0
        match command:
            case Hello():
                self._hello(command)
            case Ping():
                self.send(Pong(id=command.id or UNSET))
            case Subscribe():
                await self.subscriptions.subscribe(command)
            case Unsubscribe():
                self.subscriptions.unsubscribe(command)
            case _:
                await self._submit(command)

    def _hello(self, hello: Hello) -> None:
        known: list[str] = [cap for cap in ("batch", "done") if cap in hello.caps]
        limits = ConnectionLimits(
            message=protocol.MAX_INBOUND,
            content=protocol.MAX_CONTENT,
            frame=protocol.MAX_FRAME,
            depth=protocol.MAX_DEPTH,
            subscriptions=Subscriptions.LIMIT,
            perSecond=Rate.PER_SECOND,
            burst=Rate.BURST,
        )
        self.send(
            Welcome(
                id=hello.id or UNSET,
                server=f"postdoc/{__version__}",
                user=Person(name=self.user.name, display=self.user.display),
                caps=known,
                limits=limits,
                heartbeatMs=self.ping_interval,
            )
        )
        self.outbox.batch = "batch" in known
        self.subscriptions.done = "done" in known

    async def _submit(self, command: Command) -> None:
        if not await self._authorized("execute"):
            raise PostdocError(
                "forbidden", "You may watch here, but not send commands.", next="Ask the server's administrator."
            )
        ack = await self.sessions.submit(self.user, command)
        chat = cast(Any, command).chatId
        self.send(frames.ack(ack, chat))

    # --- helpers ---

    def send(self, frame: Control) -> None:
        """Queue a control frame."""
        self.outbox.put(control_bytes(frame, self.outbox.envelope))

    @property
    def services(self) -> Services:
        return services_of(self.settings)

    @property
    def sessions(self) -> SessionManager:
        return self.services.sessions

    async def _authorized(self, action: str) -> bool:
        return bool(await ensure_async(self.authorizer.is_authorized(self, self.current_user, action, RESOURCE)))

    async def _still_welcome(self) -> bool:
        """Does the login of the upgrade still hold?"""
        return await login_holds(self.application, self.request, self.user.name, "read")


def text_message(data: bytes) -> bytes:
    """One unmasked WebSocket text message (RFC 6455, 5.2)."""
    if len(data) < 126:
        return b"\x81%c%b" % (len(data), data)
    if len(data) < 1 << 16:
        return b"\x81\x7e%b%b" % (len(data).to_bytes(2, "big"), data)
    return b"\x81\x7f%b%b" % (len(data).to_bytes(8, "big"), data)


async def stop(
    settings: dict[str, Any], *, code: int = 1012, reason: str = "restart", retry_after_ms: int = 1000
) -> None:
    """Say ``bye`` on every open socket and close it: 1012 when the server will be back, 1001 when it will not."""
    bye = Bye(reason=reason, retryAfterMs=retry_after_ms)
    await asyncio.gather(*(client.end(code, reason, bye) for client in list(settings.get(SOCKETS, ()))))
