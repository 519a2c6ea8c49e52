"""The connections below the SDK, read in larger pieces while a reply streams.

A reply comes as hundreds of events, each in a packet of its own. To read each of them wakes the loop three times and
runs through a dozen layers; several at once cost a third of the processor time, and nobody sees text sooner than the
log's bucket of 50 ms. So a connection waits a little between two reads. The first byte is never waited for.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import urllib.request
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import httpcore2
import httpx2

READ_EVERY_S = 0.05
AT_ONCE = 3
"""Reads of an answer that never wait: its head, its beginning and the first of its text."""
LONGEST_S = 0.1
PER_STREAM_S = 0.0016
"""With many replies at once each is read less often, so that together they leave the loop to others."""

MAX_CONNECTIONS = 1000
KEPT_CONNECTIONS = 100
KEPT_S = 30.0
KEEPALIVE = [("TCP_KEEPINTVL", 60), ("TCP_KEEPCNT", 5), ("TCP_KEEPIDLE", 60)]


def transport() -> httpx2.AsyncBaseTransport | None:
    """Connections with a pace; None where a proxy is set: there the SDK's own way is the safe one."""
    proxies = urllib.request.getproxies()
    return None if {"http", "https", "all"} & proxies.keys() else PacedTransport()


class Pace:
    """How often the streams of one transport are read."""

    def __init__(self) -> None:
        self.streaming = 0

    @property
    def interval_s(self) -> float:
        return max(READ_EVERY_S, min(LONGEST_S, PER_STREAM_S * self.streaming))


class PacedTransport(httpx2.AsyncBaseTransport):
    """HTTP/1.1 over connections of a :class:`PacedBackend`, with the certificates that the environment names."""

    def __init__(self) -> None:
        self._pace = Pace()
        self._pool = httpcore2.AsyncConnectionPool(
            ssl_context=httpx2.create_ssl_context(),
            max_connections=MAX_CONNECTIONS,
            max_keepalive_connections=KEPT_CONNECTIONS,
            keepalive_expiry=KEPT_S,
            network_backend=PacedBackend(self._pace),
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


class PacedBackend(httpcore2.AsyncNetworkBackend):
    """Opens connections that are read at a pace."""

    def __init__(self, pace: Pace) -> None:
        self._backend = httpcore2.AnyIOBackend()
        self._pace = pace

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        stream = await self._backend.connect_tcp(host, port, timeout, local_address, socket_options)
        return PacedStream(stream, self._pace)

    async def sleep(self, seconds: float) -> None:
        await self._backend.sleep(seconds)


class PacedStream(httpcore2.AsyncNetworkStream):
    """A connection that is read again only some time after its last read. What came meanwhile comes in one piece."""

    def __init__(self, stream: httpcore2.AsyncNetworkStream, pace: Pace) -> None:
        self._stream = stream
        self._pace = pace
        self._not_before = 0.0
        self._at_once = AT_ONCE

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        clock = asyncio.get_running_loop().time
        if self._at_once > 0:
            self._at_once -= 1
        elif (wait := self._not_before - clock()) > 0:
            await asyncio.sleep(wait)
        data = await self._stream.read(max_bytes, timeout)
        more = len(data) == max_bytes  # the rest of a large piece is there already
        self._not_before = 0.0 if more else clock() + self._pace.interval_s
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._at_once = AT_ONCE
        await self._stream.write(buffer, timeout)

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore2.AsyncNetworkStream:
        return PacedStream(await self._stream.start_tls(ssl_context, server_hostname, timeout), self._pace)

    async def aclose(self) -> None:
        await self._stream.aclose()

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


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
