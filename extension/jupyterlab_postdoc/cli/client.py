"""Speak to a Postdoc server: REST requests, and one session's events over a socket that may break at any time."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import time
import uuid
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from tornado.httpclient import AsyncHTTPClient, HTTPClientError, HTTPRequest, HTTPResponse
from tornado.iostream import StreamClosedError
from tornado.simple_httpclient import HTTPStreamClosedError, HTTPTimeoutError
from tornado.websocket import WebSocketClientConnection, WebSocketClosedError, websocket_connect

from .names import me
from .problems import Problem, no_connection, refused
from .server import Server, Source

Frame = dict[str, Any]
_LOST = (OSError, StreamClosedError, HTTPStreamClosedError, HTTPTimeoutError, WebSocketClosedError, EOFError)
GIVE_UP_S = 300.0
_STOPPED_CODES = {4401: "the login is no longer valid", 4403: "it does not allow this", 4404: "the chat was deleted"}


def new_id() -> str:
    """A client-made command id: a resend with the same id does nothing twice."""
    return uuid.uuid4().hex


def _headers(server: Server) -> dict[str, str]:
    return {"Authorization": f"token {server.token}"} if server.token else {}


async def _fetch(server: Server, method: str, path: str, body: object, key: str | None, timeout: float) -> HTTPResponse:
    headers = _headers(server) | {"Accept": "application/json"}
    if body is not None:
        headers["Content-Type"] = "application/json"
    if key:
        headers["Idempotency-Key"] = key
    request = HTTPRequest(
        server.url + "postdoc/" + path,
        method=method,
        headers=headers,
        body=None if body is None else json.dumps(body),
        allow_nonstandard_methods=True,
        connect_timeout=min(timeout, 10.0),
        request_timeout=timeout,
        follow_redirects=False,
        # A certificate a person made for their own loopback server is signed by nobody.
        validate_cert=not server.local,
    )
    return await AsyncHTTPClient().fetch(request, raise_error=False)


async def answers(server: Server, *, explain: bool = False) -> bool:
    """Whether a server with Postdoc lets us in. With `explain`, raises Problem (exit 3) that says why not."""
    reason, next_step, code = (
        f"There is no answer from {server.where}.",
        "Check the address, or start the server.",
        "silent",
    )
    try:
        response = await _fetch(server, "GET", "api/chats?limit=1", None, None, 10.0 if explain else 3.0)
    except _LOST as error:
        if not isinstance(error, ConnectionRefusedError):
            reason = f"There is no answer from {server.where}: {error}."
    except HTTPClientError as error:
        reason = f"There is no answer from {server.where}: {error.message}."
    else:
        if response.code == 200:
            return True
        if response.code == 503 and explain:
            raise _coded(response) or no_connection(*_why_not(server, 503))
        reason, next_step, code = _why_not(server, response.code)
    if explain:
        raise no_connection(reason, next_step, code)
    return False


def _why_not(server: Server, status: int) -> tuple[str, str, str]:
    """(sentence, next step, code)"""
    if status in {401, 403} or 300 <= status < 400:
        what = "does not accept the token" if server.token else "wants a token"
        return (
            f"The server at {server.where} {what}.",
            "Give the right one with --token or POSTDOC_TOKEN; `jupyter server list` shows it.",
            "unauthorized",
        )
    if status == 404:
        return (
            f"The server at {server.where} runs without Postdoc.",
            "Install it into the environment of that server: pip install jupyterlab-postdoc.",
            "no_connection",
        )
    return f"The server at {server.where} answers with status {status}.", "Look into its log.", "no_connection"


def _coded(response: HTTPResponse) -> Problem | None:
    """The error object of Postdoc in an answer, if it is one."""
    with contextlib.suppress(ValueError):
        answer = json.loads(response.body or b"null")
        if isinstance(answer, dict) and "code" in answer and "error" in answer:
            return refused(answer)
    return None


class Rest:
    """JSON requests to the server of a :class:`Source`."""

    def __init__(self, source: Source) -> None:
        self._source = source

    async def __call__(
        self, method: str, path: str, body: object = None, *, key: str | None = None, **query: Any
    ) -> Any:
        """The decoded answer. Raises Problem with the server's own sentence, or with exit code 3."""
        assert self._source.server is not None
        server = self._source.server
        asked = {name: value for name, value in query.items() if value is not None}
        path = f"{path}?{urlencode(asked)}" if asked else path
        try:
            response = await _fetch(server, method, path, body, key, 30.0)
        except _LOST as error:
            raise no_connection(f"The connection to {server.where} failed: {error or 'no answer'}.") from error
        if response.code < 300:
            return json.loads(response.body) if response.body else None
        problem = _coded(response)
        if response.code in {401, 403} and (problem is None or problem.code == "unauthorized"):
            raise no_connection(*_why_not(server, response.code))
        if problem is not None:
            raise problem
        raise Problem(f"The server answered {method} {path.split('?')[0]} with status {response.code}.")


def segment(id: str) -> str:
    """An id as one segment of an address."""
    return quote(id, safe="")


@dataclass
class _Waiting:
    frame: Frame
    ack: asyncio.Future[Frame]


class Link:
    """Follows one session: every event once and in order, across lost connections and restarts of the server.

    Commands are repeated with the same id until they are acknowledged. `notice` is told when the connection is lost
    and when it is back.
    """

    def __init__(
        self,
        source: Source,
        chat: str,
        *,
        after: int = 0,
        types: Sequence[str] | None = None,
        notice: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._source = source
        self.chat = chat
        self._types = list(types) if types else None
        self._notice = notice
        self._waiting: dict[str, _Waiting] = {}
        self._socket: WebSocketClientConnection | None = None
        self._arrived: asyncio.Queue[tuple[Frame, str] | BaseException] = asyncio.Queue(1000)
        self._retry_after = 0.0
        self._subscription = ""
        self._task: asyncio.Task[None] | None = None
        self.last = after

    async def __aenter__(self) -> Link:
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._task is not None
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        if self._socket is not None:
            self._socket.close()

    async def events(self) -> AsyncGenerator[tuple[Frame, str], None]:
        """(event, its text as received), for ever. Raises Problem when the session cannot be followed any longer."""
        while True:
            arrived = await self._arrived.get()
            if isinstance(arrived, BaseException):
                raise arrived
            yield arrived

    async def send(self, type: str, *, id: str | None = None, **fields: Any) -> Frame:
        """Send a command and return its ack. Raises Problem when the server refuses it."""
        id = id or new_id()
        given = {name: value for name, value in fields.items() if value is not None}
        frame = {"type": type, "id": id, "chatId": self.chat, **given}
        waiting = _Waiting(frame, asyncio.get_running_loop().create_future())
        self._waiting[id] = waiting
        if self._socket is not None:
            with contextlib.suppress(*_LOST):
                await self._socket.write_message(json.dumps(frame))
        try:
            return await waiting.ack
        finally:
            self._waiting.pop(id, None)

    async def _run(self) -> None:
        try:
            await self._keep_connected()
        except Problem as problem:
            self._end(problem)
        except Exception as error:  # noqa: BLE001 - the boundary of this task: the reader of events must hear of it
            self._end(error)

    def _end(self, problem: Exception) -> None:
        for waiting in self._waiting.values():
            if not waiting.ack.done():
                waiting.ack.set_exception(problem)
                waiting.ack.exception()  # seen: the reader of events raises it too
        with contextlib.suppress(asyncio.QueueFull):
            self._arrived.put_nowait(problem)

    async def _keep_connected(self) -> None:
        attempt, lost_at = 0, 0.0
        while True:
            try:
                if attempt:
                    await self._source.again()
                await self._connect()
                if attempt:
                    self._notice("The connection is back.")
                attempt = 0
                await self._listen()
            except (*_LOST, HTTPClientError, Problem) as error:
                self._raise_if_final(error)
            if attempt == 0:
                lost_at = time.monotonic()
                self._notice("The connection was lost; trying again…")
            elif time.monotonic() - lost_at > GIVE_UP_S:
                raise no_connection(
                    f"The connection was lost, and no server answered for {GIVE_UP_S / 60:.0f} minutes.",
                    f"Carry on with: {me()} watch {self.chat} --after {self.last}",
                )
            delay = max(self._retry_after, min(10.0, 0.25 * 2**attempt)) * random.uniform(0.5, 1.0)
            self._retry_after = 0.0
            attempt += 1
            await asyncio.sleep(delay)

    def _raise_if_final(self, error: BaseException) -> None:
        """A refused login or a broken session is final; a server that does not answer may come back."""
        if isinstance(error, HTTPClientError) and error.code in {401, 403} and self._source.server:
            raise no_connection(*_why_not(self._source.server, error.code)) from error
        if isinstance(error, Problem) and error.code not in {"no_connection", "silent", "capacity"}:
            raise error

    async def _connect(self) -> None:
        server = self._source.server
        assert server is not None
        request = HTTPRequest(
            "ws" + server.url.removeprefix("http") + "postdoc/ws",
            headers=_headers(server),
            connect_timeout=10.0,
            validate_cert=not server.local,
        )
        self._socket = await websocket_connect(request, ping_interval=20, ping_timeout=20)
        subscribe: Frame = {"type": "subscribe", "id": new_id(), "chatId": self.chat, "after": self.last}
        if self._types:
            subscribe["types"] = self._types
        self._subscription = subscribe["id"]
        await self._socket.write_message(json.dumps(subscribe))
        for waiting in list(self._waiting.values()):
            await self._socket.write_message(json.dumps(waiting.frame))

    async def _listen(self) -> None:
        socket = self._socket
        assert socket is not None
        try:
            while (message := await socket.read_message()) is not None:
                text = message if isinstance(message, str) else message.decode("utf-8", "replace")
                await self._take(json.loads(text), text)
        finally:
            code, self._socket = socket.close_code, None
            socket.close()
        if code in _STOPPED_CODES:
            raise Problem(f"The server ended the connection: {_STOPPED_CODES[code]}.", exit_code=1, code="closed")

    async def _take(self, frame: Frame, text: str) -> None:
        kind, seq = frame.get("type"), frame.get("seq")
        if kind == "ack":
            self._settle(frame)
        elif kind == "error" and seq is None:
            self._fail(frame)
        elif kind == "reset":
            self.last = 0
            self._notice("The server's log was replaced; following it from its start.")
            raise EOFError
        elif kind == "bye":
            self._retry_after = float(frame.get("retryAfterMs") or 0) / 1000
        elif isinstance(seq, int) and seq > self.last and frame.get("chatId") == self.chat:
            self.last = seq
            await self._arrived.put((frame, text))

    def _settle(self, frame: Frame) -> None:
        waiting = self._waiting.get(str(frame.get("id")))
        if waiting and not waiting.ack.done():
            waiting.ack.set_result(frame)

    def _fail(self, frame: Frame) -> None:
        problem = refused(frame)
        waiting = self._waiting.get(str(frame.get("id")))
        if waiting and not waiting.ack.done():
            waiting.ack.set_exception(problem)
        elif frame.get("id") == self._subscription:
            raise problem
