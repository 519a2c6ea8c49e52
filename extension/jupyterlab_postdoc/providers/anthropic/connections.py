"""Connections that are read in larger pieces while a reply streams.

A reply comes as hundreds of events, each in a packet of its own. To read each of them wakes the loop three times and
runs through a dozen layers; several at once cost a third of the processor time, and nobody sees text sooner than the
log's bucket of 50 ms. So a connection waits a little between two reads, below its encryption: a read above that gives
but one record, which is one event. The first bytes of an answer are never waited for.
"""

from __future__ import annotations

import asyncio
import select
import ssl
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import anyio
import anyio.abc
import httpcore2
from anyio.streams.tls import TLSStream

READ_EVERY_S = 0.08
"""Each read becomes one frame for every subscriber: at 50 ms an answer cost half as much again, on the wire and in
processor time (see bench/streams.py)."""
LONGEST_S = 0.1
PER_STREAM_S = 0.0016
"""With many replies at once each is read less often, so that together they leave the loop to others."""
AT_ONCE = 3
"""Reads of an answer that never wait: its head, its beginning and the first of its text."""
PIECE = 65_536

Attributes = Mapping[Any, Callable[[], Any]]


class Pace:
    """How often the connections of one transport are read."""

    def __init__(self) -> None:
        self.streaming = 0

    @property
    def interval_s(self) -> float:
        return max(READ_EVERY_S, min(LONGEST_S, PER_STREAM_S * self.streaming))


class PacedSocket(anyio.abc.ByteStream):
    """A socket that is read again only some time after its last read. What came meanwhile comes in one piece."""

    def __init__(self, stream: anyio.abc.ByteStream, pace: Pace) -> None:
        self._stream = stream
        self._pace = pace
        self._not_before = 0.0
        self._at_once = AT_ONCE

    async def receive(self, max_bytes: int = PIECE) -> bytes:
        clock = asyncio.get_running_loop().time
        if self._at_once > 0:
            self._at_once -= 1
        elif (wait := self._not_before - clock()) > 0:
            await asyncio.sleep(wait)
        data = await self._stream.receive(max_bytes)
        more = len(data) == max_bytes  # the rest of a large piece is there already
        self._not_before = 0.0 if more else clock() + self._pace.interval_s
        return data

    async def send(self, item: bytes) -> None:
        self._at_once = AT_ONCE  # what answers this is new
        await self._stream.send(item)

    async def send_eof(self) -> None:
        await self._stream.send_eof()

    async def aclose(self) -> None:
        await self._stream.aclose()

    @property
    def extra_attributes(self) -> Attributes:
        return self._stream.extra_attributes


class Connection(httpcore2.AsyncNetworkStream):
    """A connection as the HTTP layer wants it: its own errors, and an end that is an empty read."""

    def __init__(self, stream: anyio.abc.ByteStream) -> None:
        self._stream = stream

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        with _errors(httpcore2.ReadTimeout, httpcore2.ReadError), anyio.fail_after(timeout):
            try:
                return await self._stream.receive(max_bytes)
            except anyio.EndOfStream:
                return b""

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        if buffer:
            with _errors(httpcore2.WriteTimeout, httpcore2.WriteError), anyio.fail_after(timeout):
                await self._stream.send(buffer)

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore2.AsyncNetworkStream:
        """The same connection, encrypted."""
        try:
            with _errors(httpcore2.ConnectTimeout, httpcore2.ConnectError), anyio.fail_after(timeout):
                wrapped = await TLSStream.wrap(
                    self._stream,
                    ssl_context=ssl_context,
                    hostname=server_hostname,
                    server_side=False,
                    standard_compatible=False,
                )
        except BaseException:
            await self.aclose()
            raise
        return Connection(wrapped)

    def get_extra_info(self, info: str) -> Any:
        if info == "ssl_object":
            return self._stream.extra(anyio.streams.tls.TLSAttribute.ssl_object, None)
        raw = self._stream.extra(anyio.abc.SocketAttribute.raw_socket, None)
        if info == "socket":
            return raw
        if info == "is_readable":  # an idle connection with something to read has been closed by the server
            return raw is None or raw.fileno() < 0 or _readable(raw.fileno())
        kinds = {
            "client_addr": anyio.abc.SocketAttribute.local_address,
            "server_addr": anyio.abc.SocketAttribute.remote_address,
        }
        return self._stream.extra(kinds[info], None) if info in kinds else None


class Connector(httpcore2.AsyncNetworkBackend):
    """Opens connections that are read at a pace."""

    def __init__(self, pace: Pace) -> None:
        self._pace = pace

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        with _errors(httpcore2.ConnectTimeout, httpcore2.ConnectError), anyio.fail_after(timeout):
            stream = await anyio.connect_tcp(host, port, local_host=local_address)
            raw = stream.extra(anyio.abc.SocketAttribute.raw_socket)
            for option in socket_options or ():
                raw.setsockopt(*option)
        return Connection(PacedSocket(stream, self._pace))

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


def _readable(descriptor: int) -> bool:
    if not hasattr(select, "poll"):
        return bool(select.select([descriptor], [], [], 0)[0])
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(0))


@contextmanager
def _errors(late: type[Exception], broken: type[Exception]) -> Iterator[None]:
    try:
        yield
    except TimeoutError as e:
        raise late(str(e)) from e
    except (OSError, anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.EndOfStream) as e:
        raise broken(str(e)) from e
