"""The transport below the SDK: its default one, over connections with a pace."""

from __future__ import annotations

import socket
import urllib.request
from collections.abc import AsyncIterable, AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import httpcore2
import httpx2

from jupyterlab_postdoc.providers.anthropic.connections import Connector, Pace

MAX_CONNECTIONS = 1000
KEPT_CONNECTIONS = 100
KEPT_S = 30.0
KEEPALIVE = [("TCP_KEEPINTVL", 60), ("TCP_KEEPCNT", 5), ("TCP_KEEPIDLE", 60)]


def transport() -> httpx2.AsyncBaseTransport | None:
    """Connections with a pace; None where a proxy is set: there the SDK's own way is the safe one."""
    proxies = urllib.request.getproxies()
    return None if {"http", "https", "all"} & proxies.keys() else PacedTransport()


class PacedTransport(httpx2.AsyncBaseTransport):
    """HTTP/1.1 with the certificates that the environment names."""

    def __init__(self) -> None:
        self._pace = Pace()
        self._pool = httpcore2.AsyncConnectionPool(
            ssl_context=httpx2.create_ssl_context(),
            max_connections=MAX_CONNECTIONS,
            max_keepalive_connections=KEPT_CONNECTIONS,
            keepalive_expiry=KEPT_S,
            network_backend=Connector(self._pace),
            socket_options=_socket_options(),
        )

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send the request; the answer's body is still to be read."""
        url = httpcore2.URL(
            scheme=request.url.raw_scheme,
            host=request.url.raw_host,
            port=request.url.port,
            target=request.url.raw_path,
        )
        asked = httpcore2.Request(
            method=request.method,
            url=url,
            headers=request.headers.raw,
            content=request.stream,
            extensions=request.extensions,
        )
        with _as_httpx():
            answer = await self._pool.handle_async_request(asked)
        body = _Body(answer.stream, self._pace)
        return httpx2.Response(answer.status, headers=answer.headers, stream=body, extensions=answer.extensions)

    async def aclose(self) -> None:
        """Close all connections."""
        with _as_httpx():
            await self._pool.aclose()


class _Body(httpx2.AsyncByteStream):
    """The body of an answer; while it is open it counts as a stream."""

    def __init__(self, stream: Any, pace: Pace) -> None:
        self._stream: AsyncIterable[bytes] = stream
        self._pace = pace
        self._open = True
        pace.streaming += 1

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with _as_httpx():
            async for piece in self._stream:
                yield piece

    async def aclose(self) -> None:
        if self._open:
            self._open = False
            self._pace.streaming -= 1
        close: Any = getattr(self._stream, "aclose", None)
        if close is not None:
            await close()


@contextmanager
def _as_httpx() -> Iterator[None]:
    """Errors of the layer below, as the SDK expects them: the same names, one layer up."""
    try:
        yield
    except Exception as e:
        for kind in type(e).__mro__:
            known = getattr(httpx2, kind.__name__, None)
            if kind.__module__.startswith("httpcore2") and known is not None and issubclass(known, httpx2.HTTPError):
                raise known(str(e)) from e
        raise


def _socket_options() -> list[tuple[int, int, int]]:
    """A connection that was lost silently is noticed after some minutes, as in the SDK's own client."""
    found = [(getattr(socket, name), seconds) for name, seconds in KEEPALIVE if hasattr(socket, name)]
    keep = (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    return [keep, *((socket.IPPROTO_TCP, option, value) for option, value in found)]
