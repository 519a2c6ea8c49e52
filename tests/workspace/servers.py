"""A web server on a real socket that answers with prepared bytes, so that it can also answer wrongly."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field


@dataclass
class Web:
    """``pages``: path → the raw answer; ``hold`` keeps the connection open behind it."""

    port: int = 0
    pages: dict[str, bytes] = field(default_factory=dict)
    hold: set[str] = field(default_factory=set)
    requests: list[str] = field(default_factory=list)

    @property
    def place(self) -> str:
        return f"127.0.0.1:{self.port}"

    def url(self, path: str) -> str:
        return f"http://{self.place}{path}"

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            self.requests.append(head)
            path = head.split()[1]
            writer.write(self.pages.get(path, page(b"nothing here", status="404 Not Found")))
            await writer.drain()
            if path in self.hold:
                await reader.read()  # until the client goes
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


def page(body: bytes, media_type: str = "text/csv", *, status: str = "200 OK", **headers: str) -> bytes:
    """A complete answer; headers may replace Content_Length."""
    lines = {"Content-Type": media_type, "Content-Length": str(len(body))}
    lines |= {name.replace("_", "-"): value for name, value in headers.items()}
    return raw(status, lines, body)


def raw(status: str, headers: Mapping[str, str], body: bytes = b"") -> bytes:
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {status}\r\n{head}\r\n".encode("latin-1") + body


def moved(location: str) -> bytes:
    return raw("302 Found", {"Location": location, "Content-Length": "0"})


@contextlib.asynccontextmanager
async def web(pages: Mapping[str, bytes] | None = None, *, tls: ssl.SSLContext | None = None) -> AsyncIterator[Web]:
    made = Web(pages=dict(pages or {}))
    server = await asyncio.start_server(made.answer, "127.0.0.1", 0, ssl=tls)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()
        await server.wait_closed()
