"""What the WebSocket costs: fan-out, replay and idle connections, one JSON row each.

    python bench/sockets.py [--quick]

A real Jupyter server with the extension runs in a process of its own, the clients in this one, so that the server's
CPU time is its own.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import socket
import struct
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

TOKEN = "bench"
TEXT = "x" * 110  # makes a frame of about 200 bytes


# --- the server's side (a child process) ---


def serve(port: int, root: Path) -> None:
    """A Jupyter server with the extension and one more route that appends events."""
    from jupyter_server.serverapp import ServerApp
    from tornado import web
    from traitlets.config import Config

    from jupyterlab_postdoc.protocol import AgentStatus

    config = Config({"ServerApp": {"jpserver_extensions": {"jupyterlab_postdoc": True}}})
    config.IdentityProvider.token = TOKEN
    config.PostdocApp.data_dir = str(root / "data")
    app = ServerApp(
        config=config, port=port, open_browser=False, allow_root=True, root_dir=str(root), log_level="CRITICAL"
    )
    app.initialize(argv=[])

    class Fill(web.RequestHandler):
        def check_xsrf_cookie(self) -> None: ...

        async def post(self, chat: str) -> None:
            count, size = int(self.get_argument("count")), int(self.get_argument("batch"))
            log = app.web_app.settings["postdoc"].log
            before = psutil.Process().cpu_times()
            for first in range(0, count, size):
                await log.append(chat, *(AgentStatus(message=TEXT) for _ in range(min(size, count - first))))
            after = psutil.Process().cpu_times()
            self.finish({"cpu": after.user + after.system - before.user - before.system})

    app.web_app.add_handlers(".*$", [("/bench/(.+)", Fill)])
    app.start()


class Server:
    """The child process and what it has used."""

    def __init__(self, root: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.root = root

    async def __aenter__(self) -> Server:
        environment = os.environ | {
            "JUPYTER_DATA_DIR": str(self.root / "jupyter"),
            "JUPYTER_RUNTIME_DIR": str(self.root),
        }
        self.child = await asyncio.create_subprocess_exec(
            sys.executable, __file__, "--serve", str(self.port), str(self.root), env=environment
        )
        self.process = psutil.Process(self.child.pid)
        for _ in range(400):
            try:
                await self.request("GET", "/postdoc/api/rooms")
                return self
            except (OSError, RuntimeError):
                await asyncio.sleep(0.05)
        raise RuntimeError("the server did not start")

    async def __aexit__(self, *_: object) -> None:
        self.child.kill()
        await self.child.wait()

    def cpu(self) -> float:
        times = self.process.cpu_times()
        return times.user + times.system

    def rss(self) -> int:
        return int(self.process.memory_info().rss)

    async def request(self, method: str, path: str, body: bytes = b"") -> Any:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        head = (
            f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\nAuthorization: token {TOKEN}\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        writer.write(head.encode() + body)
        answer = await reader.read()
        writer.close()
        status, _, rest = answer.partition(b"\r\n\r\n")
        if not status.startswith(b"HTTP/1.1 2"):
            raise RuntimeError(status[:200].decode())
        return json.loads(rest) if rest else None

    async def chat(self) -> str:
        return str((await self.request("POST", "/postdoc/api/chats", b"{}"))["id"])

    async def fill(self, chat: str, count: int, batch: int) -> None:
        await self.request("POST", f"/bench/{chat}?count={count}&batch={batch}")


# --- the clients' side ---


class Counter(asyncio.Protocol):
    """A WebSocket client that only counts frames: in each message the occurrences of ``"seq":``."""

    def __init__(self, port: int, frames: list[bytes]) -> None:
        self.port, self.frames = port, frames
        self.count = 0
        self.tail = b""
        self.upgraded = False
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.wanted = 0
        self.done: asyncio.Future[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.write(
            f"GET /postdoc/ws HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Authorization: token {TOKEN}\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
            "Sec-WebSocket-Version: 13\r\n\r\n".encode()
        )

    def data_received(self, data: bytes) -> None:
        if not self.upgraded:
            head, _, data = (self.tail + data).partition(b"\r\n\r\n")
            if not head.startswith(b"HTTP/1.1 101"):
                self.tail = head
                return
            self.upgraded, self.tail = True, b""
            for frame in self.frames:
                self.transport.write(struct.pack("!BBH", 0x81, 0x80 | 126, len(frame)) + b"\0\0\0\0" + frame)
        if not self.ready.done() and b'"type":"ack"' in data:
            self.ready.set_result(None)
            data = data[data.index(b'"type":"ack"') :].partition(b"}")[2]
        data = self.tail + data
        self.count += data.count(b'"seq":')
        self.tail = data[-5:]
        if self.done is not None and self.count >= self.wanted and not self.done.done():
            self.done.set_result(None)

    async def until(self, count: int) -> None:
        if self.count < count:
            self.wanted, self.done = count, asyncio.get_running_loop().create_future()
            await self.done


async def connect(server: Server, frames: list[dict[str, Any]]) -> Counter:
    sent = [json.dumps(frame).encode() for frame in frames]
    _, made = await asyncio.get_running_loop().create_connection(
        lambda: Counter(server.port, sent), "127.0.0.1", server.port
    )
    await made.ready
    return made


def hello(batch: bool) -> list[dict[str, Any]]:
    return [{"type": "hello", "caps": ["batch"] if batch else []}]


def subscribe(chat: str, after: int) -> dict[str, Any]:
    return {"type": "subscribe", "chatId": chat, "after": after, "id": "s"}


async def fan_out(server: Server, subscribers: int, events: int, *, batch: bool, per_commit: int) -> dict[str, Any]:
    chat = await server.chat()
    clients = [await connect(server, [*hello(batch), subscribe(chat, 0)]) for _ in range(subscribers)]
    unheard, base = await server.chat(), server.cpu()
    await server.fill(unheard, events, per_commit)  # what storing them costs is another row
    base = server.cpu() - base
    before, start = server.cpu(), asyncio.get_running_loop().time()
    await server.fill(chat, events, per_commit)
    await asyncio.gather(*(client.until(events) for client in clients))
    cpu, wall = max(server.cpu() - before - base, 0.01), asyncio.get_running_loop().time() - start
    for client in clients:
        client.transport.close()
    deliveries = subscribers * events
    return {
        "bench": "fan-out", "subscribers": subscribers, "events": events, "batch": batch, "events_per_commit":
        per_commit,
        "deliveries_per_cpu_s": round(deliveries / cpu), "deliveries_per_s": round(deliveries / wall),
        "cpu_s": round(cpu, 3), "wall_s": round(wall, 3),
    }  # fmt: skip


async def replay(server: Server, events: int, *, batch: bool) -> dict[str, Any]:
    chat = await server.chat()
    await server.fill(chat, events, 1000)
    before, start = server.cpu(), asyncio.get_running_loop().time()
    client = await connect(server, [*hello(batch), subscribe(chat, 0)])
    await client.until(events)
    cpu, wall = server.cpu() - before, asyncio.get_running_loop().time() - start
    client.transport.close()
    return {
        "bench": "replay", "events": events, "batch": batch, "events_per_s": round(events / wall),
        "events_per_cpu_s": round(events / cpu), "wall_s": round(wall, 3),
    }  # fmt: skip


async def idle(server: Server, connections: int) -> dict[str, Any]:
    chat = await server.chat()
    warm = [await connect(server, [subscribe(chat, 0)]) for _ in range(50)]
    before = server.rss()
    clients = [await connect(server, [subscribe(chat, 0)]) for _ in range(connections)]
    await asyncio.sleep(1)
    used = server.rss() - before
    for client in warm + clients:
        client.transport.close()
    return {"bench": "connections", "connections": connections, "bytes_each": round(used / connections)}


async def main(quick: bool, only: str | None, out: Callable[[str], None] = print) -> None:
    scale = 10 if quick else 1
    rows: list[tuple[str, Callable[[Server], Any]]] = [
        ("fan-out", lambda s: fan_out(s, 1, 200_000 // scale, batch=True, per_commit=100)),
        ("fan-out", lambda s: fan_out(s, 100, 20_000 // scale, batch=True, per_commit=100)),
        ("fan-out", lambda s: fan_out(s, 100, 5_000 // scale, batch=True, per_commit=1)),
        ("fan-out", lambda s: fan_out(s, 100, 2_000 // scale, batch=False, per_commit=100)),
        ("fan-out", lambda s: fan_out(s, 1000, 2_000 // scale, batch=True, per_commit=100)),
        ("replay", lambda s: replay(s, 100_000 // scale, batch=True)),
        ("replay", lambda s: replay(s, 100_000 // scale, batch=False)),
        ("connections", lambda s: idle(s, 2_000 // scale)),
    ]
    for name, measure in rows:
        if only in (None, name):
            with tempfile.TemporaryDirectory() as folder:
                async with Server(Path(folder)) as server:
                    out(json.dumps(await measure(server)))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        serve(int(sys.argv[2]), Path(sys.argv[3]))
    else:
        parser = argparse.ArgumentParser(description=__doc__)
        parser.add_argument("--quick", action="store_true", help="a tenth of the work")
        parser.add_argument("--only", help="fan-out, replay or connections")
        given = parser.parse_args()
        asyncio.run(main(given.quick, given.only))
