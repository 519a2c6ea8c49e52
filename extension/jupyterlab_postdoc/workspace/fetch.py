"""Files from the network, fetched by the server for an agent: one address at a time, checked at every step.

A name is resolved once, right where the connection is made, and the very addresses that were checked are connected to:
a name that leads elsewhere a moment later does not help. No cookies, no passwords, no proxies.
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import socket
import ssl
import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import suppress
from email.message import Message
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple
from urllib.parse import urljoin

from jupyterlab_postdoc.errors import PostdocError
from jupyterlab_postdoc.workspace import addresses
from jupyterlab_postdoc.workspace.addresses import Place, Policy

MAX_REDIRECTS = 5
CONNECT_S = 15.0
STALL_S = 30.0
BLOCK = 1 << 20
REDIRECTS = (301, 302, 303, 307, 308)
USER_AGENT = "jupyterlab-postdoc (research data fetcher)"

OnProgress = Callable[[int, int | None], Awaitable[None]]
"""Told about once a second: bytes so far, and all of them where the server said so."""
Resolve = Callable[[str, int], Awaitable[list[tuple[int, Any]]]]
"""A name and a port → (address family, socket address) of each; OSError when there are none."""


class Fetched(NamedTuple):
    """What was fetched. ``file_name`` is what the server proposes: data from a stranger, not yet a file name."""

    final_url: str
    media_type: str
    bytes: int
    sha256: str
    file_name: str = ""


async def resolve(host: str, port: int) -> list[tuple[int, Any]]:
    """The system's own resolver, in a thread."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys((family, address) for family, _, _, _, address in found))


class Fetcher:
    """Fetches files for agents. ``forbidden`` may grow: (address, port) of servers that are never asked."""

    def __init__(
        self,
        *,
        max_bytes: int,
        timeout_s: float,
        allowed_hosts: Sequence[str] = ("*",),
        private_hosts: Sequence[str] = (),
        forbidden: Collection[tuple[str, int]] = (),
        stall_s: float = STALL_S,
        resolve: Resolve = resolve,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.max_bytes, self.timeout_s, self.stall_s = max_bytes, timeout_s, stall_s
        self.forbidden = set(forbidden)
        self.policy = Policy(allowed_hosts, private_hosts, self.forbidden)
        self._resolve = resolve
        self._tls = tls

    async def download(self, url: str, target: Path, on_progress: OnProgress | None = None) -> Fetched:
        """Fetch ``url`` into the file ``target``: whole or not at all.

        PostdocError: bad_message (no address), forbidden (may not be reached), too_large, storage_full, tool_failed
        (everything that the network or the other server did).
        """
        try:
            async with asyncio.timeout(self.timeout_s):
                return await self._follow(addresses.parse(url), target, on_progress)
        except TimeoutError as error:
            raise _failed(f"The file did not arrive within {self.timeout_s:g} s; nothing was kept.") from error

    async def _follow(self, place: Place, target: Path, on_progress: OnProgress | None) -> Fetched:
        partial = target.with_name(f".{target.name[:80]}.part")
        for _ in range(MAX_REDIRECTS + 1):
            self.policy.check_place(place)
            try:
                answer = await self._get(place, partial, on_progress)
                if answer.location is None:
                    os.replace(partial, target)
                    return Fetched(place.url, answer.media_type, answer.received, answer.sha256, answer.file_name)
            except OSError as error:
                raise _disk(error) from error
            finally:
                partial.unlink(missing_ok=True)
            place = addresses.parse(urljoin(place.url, answer.location))
        raise _failed(f"The address was redirected more than {MAX_REDIRECTS} times.")

    async def _get(self, place: Place, partial: Path, on_progress: OnProgress | None) -> _Answer:
        stream = await self._connect(place)
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644)
        with os.fdopen(descriptor, "wb") as file:
            answer = _Answer(place, file, self.max_bytes, stream)
            reading = asyncio.ensure_future(_exchange(place, stream, answer))
            try:
                await self._watch(reading, answer, on_progress)
            finally:
                stream.close()
                reading.cancel()
                await asyncio.wait({reading})
            if answer.problem is not None:
                raise answer.problem
            if answer.location is None:
                if not answer.complete:
                    raise _failed(_cut(place, answer.received, answer.total))
                await answer.store()
        return answer

    async def _watch(self, reading: asyncio.Future[Any], answer: _Answer, on_progress: OnProgress | None) -> None:
        """Until it is read, or nothing has come for ``stall_s`` seconds."""
        tick = min(1.0, self.stall_s / 4)
        while not (await asyncio.wait({reading}, timeout=tick))[0]:
            if time.monotonic() - answer.heard > self.stall_s:
                raise _failed(
                    f"The server sent nothing for {self.stall_s:g} s, after {answer.received:,} bytes; "
                    "nothing was kept."
                )
            if on_progress is not None:
                await on_progress(answer.received, answer.total)
        if not reading.cancelled() and isinstance(error := reading.exception(), Exception) and answer.problem is None:
            raise _failed(f"The answer could not be read: {_said(error)}.") from error

    async def _connect(self, place: Place) -> Any:
        """A stream to an address that was checked. This is the only place where names become connections."""
        from tornado.netutil import Resolver
        from tornado.tcpclient import TCPClient

        fetcher = self

        class Checked(Resolver):
            async def resolve(self, host: str, port: int, family: int = 0) -> list[tuple[int, Any]]:  # noqa: ARG002
                found = await fetcher._resolve(host, port)
                for _, address in found:
                    fetcher.policy.check_address(host, port, str(address[0]))
                return found

        tls = await self._context() if place.scheme == "https" else None
        try:
            return await TCPClient(resolver=Checked()).connect(
                place.host, place.port, ssl_options=tls, timeout=CONNECT_S, max_buffer_size=8 << 20
            )
        except PostdocError:
            raise
        except socket.gaierror as error:
            raise _failed(f"There is no host {place.host!r} in the network.") from error
        except ssl.SSLError as error:
            raise _failed(f"{place.host} could not prove who it is: {_said(error)}.") from error
        except TimeoutError as error:
            raise _failed(f"{place.authority} did not answer within {CONNECT_S:g} s.") from error
        except (OSError, IndexError) as error:
            raise _failed(f"{place.authority} could not be reached: {_said(error)}.") from error

    async def _context(self) -> ssl.SSLContext:
        if self._tls is None:
            self._tls = await asyncio.to_thread(ssl.create_default_context)
        return self._tls


class _Answer:
    """One answer as it arrives (a tornado HTTPMessageDelegate). What is wrong with it goes to ``problem``."""

    def __init__(self, place: Place, file: BinaryIO, max_bytes: int, stream: Any) -> None:
        self.place, self.file, self.max_bytes, self.stream = place, file, max_bytes, stream
        self.heard = time.monotonic()
        self.problem: PostdocError | None = None
        self.location: str | None = None
        self.media_type = self.file_name = ""
        self.total: int | None = None
        self.received = 0
        self.complete = False
        self._digest = hashlib.sha256()
        self._waiting = bytearray()

    @property
    def sha256(self) -> str:
        """Of what was stored."""
        return self._digest.hexdigest()

    def headers_received(self, start_line: Any, headers: Any) -> None:
        self.heard = time.monotonic()
        if 100 <= start_line.code < 200:
            return
        if start_line.code in REDIRECTS and headers.get("Location"):
            self.location = headers["Location"]
            self.stream.close()
            return
        if start_line.code != 200:
            self._give_up(_failed(f"{self.place.host} answered {start_line.code} {_plain(start_line.reason)}.".strip()))
            return
        length = headers.get("Content-Length", "").partition(",")[0].strip()
        self.total = int(length) if length.isdecimal() and len(length) < 19 else None
        self.media_type = _plain(headers.get("Content-Type", "")).partition(";")[0].strip().lower()
        self.file_name = _proposed(headers.get("Content-Disposition", ""))
        encoding = headers.get("Content-Encoding", "").strip().lower()
        if encoding not in ("", "identity") and not self.place.path.partition("?")[0].endswith((".gz", ".zst", ".br")):
            why = f"{self.place.host} sent the file compressed ({_plain(encoding)}), which was not asked for."
            self._give_up(_failed(why))
        elif self.total is not None and self.total > self.max_bytes:
            self._give_up(self._too_large())

    async def data_received(self, chunk: bytes) -> None:
        self.heard = time.monotonic()
        if self.problem is not None or self.location is not None:
            return
        self.received += len(chunk)
        if self.received > self.max_bytes:
            self._give_up(self._too_large())
            return
        self._waiting += chunk
        if len(self._waiting) >= BLOCK:
            try:
                await self._write()
            except OSError as error:
                self._give_up(_disk(error))
            self.heard = time.monotonic()

    def finish(self) -> None:
        self.complete = True

    def on_connection_close(self) -> None:
        """It ended too early; ``complete`` says so."""

    async def store(self) -> None:
        """The rest goes to the disk."""
        await self._write()
        await asyncio.to_thread(os.fsync, self.file.fileno())

    async def _write(self) -> None:
        data, self._waiting = bytes(self._waiting), bytearray()

        def work() -> None:
            self._digest.update(data)
            self.file.write(data)
            self.file.flush()

        await asyncio.to_thread(work)

    def _give_up(self, problem: PostdocError) -> None:
        self.problem = problem
        self.stream.close()

    def _too_large(self) -> PostdocError:
        return PostdocError(
            "too_large",
            f"The file has more than {self.max_bytes / 1e6:,.0f} MB, the limit for fetched files; nothing was kept.",
            next="Fetch a part of it, for example by the query parameters of the source.",
        )


async def _exchange(place: Place, stream: Any, answer: _Answer) -> None:
    """One request and its answer. That the stream was closed is seen in the answer, not here."""
    from tornado.http1connection import HTTP1Connection, HTTP1ConnectionParameters
    from tornado.httputil import HTTPHeaders, RequestStartLine
    from tornado.iostream import StreamClosedError

    parameters = HTTP1ConnectionParameters(no_keep_alive=True, max_body_size=1 << 62)
    connection = HTTP1Connection(stream, True, parameters)
    headers = {
        "Host": place.authority,
        "User-Agent": USER_AGENT,
        "Accept": "*/*",
        "Accept-Encoding": "identity",
        "Connection": "close",
    }
    with suppress(StreamClosedError):
        await connection.write_headers(RequestStartLine("GET", place.path, ""), HTTPHeaders(headers))
        connection.finish()
        await connection.read_response(answer)  # type: ignore[arg-type]


def _proposed(disposition: str) -> str:
    """The file name of a Content-Disposition, in any of its spellings; empty when there is none."""
    message = Message()
    message["Content-Disposition"] = disposition[:1000]
    with suppress(LookupError, ValueError):  # an unknown character set
        return str(message.get_filename() or "")
    return ""


def _plain(text: str) -> str:
    """A few printable characters of a header: it is repeated in sentences."""
    return "".join(c for c in text[:120] if c.isprintable())


def _said(error: BaseException) -> str:
    return _plain(getattr(error, "strerror", None) or str(error) or type(error).__name__).rstrip(".")


def _cut(place: Place, received: int, total: int | None) -> str:
    of = f" of {total:,}" if total is not None else ""
    return f"{place.host} ended the connection after {received:,}{of} bytes; nothing was kept."


def _failed(message: str) -> PostdocError:
    return PostdocError("tool_failed", message, next="Check the address, or try again later.")


def _disk(error: OSError) -> PostdocError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return PostdocError(
            "storage_full", "The disk is full: the file was not kept and nothing was lost.", next="Free some space."
        )
    return PostdocError("tool_failed", f"The file could not be written: {_said(error)}.", next="Check permissions.")
