"""What a streamed answer of a model costs: wire, processor time, latency and disk; and what fifty at once do to others.

A real Jupyter server with the extension and a scripted model server run in processes of their own; the subscribers are
in this one, so that the server's figures are its own, the provider and its SDK included.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil
from tornado.httpclient import AsyncHTTPClient, HTTPRequest
from tornado.websocket import websocket_connect

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.model_server import ModelServer, on, reply, words

TOKEN = "bench"
TOKENS, RATE = 2_000, 100.0
SESSIONS, SESSION_TOKENS, SESSION_RATE = 50, 600, 60.0
HEAD = 4  # bytes of a WebSocket frame's head, for frames of 126 to 65,535 bytes


class Server:
    """The Jupyter server's process."""

    def __init__(self, home: Path, model: ModelServer) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        (home / "root").mkdir()
        env = {
            **os.environ,
            "JUPYTER_TOKEN": TOKEN,
            "JUPYTER_CONFIG_DIR": str(home / "config"),
            "JUPYTER_RUNTIME_DIR": str(home / "runtime"),
            "ANTHROPIC_BASE_URL": model.url,
            "ANTHROPIC_API_KEY": "sk-ant-bench-0123456789",
        }
        argv = [sys.executable, "-m", "jupyter_server", "--allow-root", "--no-browser", f"--port={self.port}"]
        argv += [f"--ServerApp.root_dir={home / 'root'}", "--ServerApp.port_retries=0", "--log-level=CRITICAL"]
        argv += ["--ServerApp.jpserver_extensions={'jupyterlab_postdoc': True}"]
        argv += [f"--PostdocApp.data_dir={home / 'data'}", "--PostdocApp.max_concurrent_runs=64"]
        self.process = subprocess.Popen(argv, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.usage = psutil.Process(self.process.pid)

    def cpu_s(self) -> float:
        times = self.usage.cpu_times()
        return float(times.user + times.system)

    def written(self) -> int:
        return int(self.usage.io_counters().write_bytes)

    async def fetch(self, method: str, path: str, body: Any = None) -> Any:
        request = HTTPRequest(
            f"http://127.0.0.1:{self.port}{path}",
            method=method,
            headers={"Authorization": f"token {TOKEN}"},
            body=json.dumps(body) if body is not None else None,
            request_timeout=60,
        )
        answer = await AsyncHTTPClient().fetch(request)
        return json.loads(answer.body) if answer.body else None

    async def ready(self) -> None:
        async with asyncio.timeout(60):
            while True:
                try:
                    await self.fetch("GET", "/postdoc/api/rooms")
                    return
                except OSError:
                    await asyncio.sleep(0.1)

    async def chat(self) -> str:
        return str((await self.fetch("POST", "/postdoc/api/chats", {}))["id"])

    async def say(self, chat: str, text: str) -> None:
        await self.fetch("POST", f"/postdoc/api/chats/{chat}/messages", {"content": text})

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(30)


class Subscriber:
    """Counts what it is sent, and notes when each piece of text came."""

    def __init__(self, *, batch: bool) -> None:
        self.batch = batch
        self.bytes = 0
        self.came: list[tuple[float, int]] = []
        self.done = asyncio.Event()

    async def follow(self, server: Server, chat: str) -> None:
        url = f"ws://127.0.0.1:{server.port}/postdoc/ws"
        self.socket = await websocket_connect(HTTPRequest(url, headers={"Authorization": f"token {TOKEN}"}))
        if self.batch:
            await self.socket.write_message(json.dumps({"type": "hello", "client": "bench", "caps": ["batch"]}))
        await self.socket.write_message(json.dumps({"type": "subscribe", "chatId": chat, "after": -1}))
        self.task = asyncio.create_task(self._read())

    async def _read(self) -> None:
        while (message := await self.socket.read_message()) is not None:
            now = time.time()
            frames = json.loads(message)
            for frame in frames if isinstance(frames, list) else [frames]:
                if frame["type"] == "token":
                    self.came.append((now, frame["delta"].count(" ")))
                if frame["type"] in ("token", "assistant_message"):
                    self.bytes += len(json.dumps(frame, separators=(",", ":"))) + (1 if self.batch else HEAD)
                if frame["type"] == "result":
                    self.done.set()


async def stream(server: Server, model: ModelServer, subscribers: int, *, batch: bool) -> dict[str, Any]:
    """One answer of 2,000 tokens at 100 a second."""
    chat = await server.chat()
    for number in range(3):
        await server.say(chat, f"short {number}")
    clients = [Subscriber(batch=batch) for _ in range(subscribers)]
    await asyncio.gather(*(client.follow(server, chat) for client in clients))
    await asyncio.sleep(1.5)
    for client in clients:
        client.bytes, client.came = 0, []
        client.done.clear()
    cpu, disk = server.cpu_s(), server.written()
    await server.say(chat, "a long answer")
    await asyncio.gather(*(client.done.wait() for client in clients))
    cpu, disk = server.cpu_s() - cpu, server.written() - disk
    asked = [request for request in model.requests() if "a long answer" in str(request.messages[-1])][-1]
    late = latencies(asked.at, clients)
    for client in clients:
        client.socket.close()
    return {
        "bench": "stream",
        "subscribers": subscribers,
        "batch": batch,
        "tokens": TOKENS,
        "bytes_per_token": round(statistics.mean(client.bytes for client in clients) / TOKENS, 1),
        "cpu_s": round(cpu, 2),
        "p50_ms": round(1000 * late[len(late) // 2], 1),
        "p99_ms": round(1000 * late[int(0.99 * len(late))], 1),
        "disk_mb": round(disk / 1e6, 2),
    }


def latencies(asked_at: float, clients: list[Subscriber]) -> list[float]:
    """Seconds from each token at the model to its frame at a client; the model sends them at an even pace."""
    found = []
    for client in clients:
        number = 0
        for came, count in client.came:
            for _ in range(count):
                found.append(came - (asked_at + number / RATE))
                number += 1
    return sorted(found)


async def fifty(server: Server) -> dict[str, Any]:
    """Fifty answers at 60 tokens a second, and what a request that has nothing to do with them waits."""
    idle = await unrelated(server, 4.0)
    chats = [await server.chat() for _ in range(SESSIONS)]
    clients = [Subscriber(batch=True) for _ in chats]
    await asyncio.gather(*(client.follow(server, chat) for client, chat in zip(clients, chats, strict=True)))
    await asyncio.gather(*(server.say(chat, "of fifty") for chat in chats))
    cpu, began = server.cpu_s(), time.monotonic()
    busy = await unrelated(server, SESSION_TOKENS / SESSION_RATE - 1.0)
    share = (server.cpu_s() - cpu) / (time.monotonic() - began)
    await asyncio.gather(*(client.done.wait() for client in clients))
    for client in clients:
        client.socket.close()
    return {
        "bench": "50 sessions",
        "tokens_per_s": SESSIONS * SESSION_RATE,
        "cpu_share": round(share, 2),
        "p50_ms": round(1000 * busy[len(busy) // 2], 1),
        "p99_ms": round(1000 * busy[int(0.99 * len(busy))], 1),
        "idle_p99_ms": round(1000 * idle[int(0.99 * len(idle))], 1),
        "load": round(os.getloadavg()[0], 1),
    }


async def unrelated(server: Server, seconds: float) -> list[float]:
    """Latencies of `GET /api/status`, twenty a second, sorted."""
    found, end = [], time.monotonic() + seconds
    while time.monotonic() < end:
        began = time.perf_counter()
        await server.fetch("GET", "/api/status")
        found.append(time.perf_counter() - began)
        await asyncio.sleep(0.05)
    return sorted(found)


async def main() -> None:
    with tempfile.TemporaryDirectory() as home, ModelServer(record=Path(home) / "requests.jsonl") as model:
        model.rules(
            [
                on(reply("Short."), says="short"),
                on(reply(words(TOKENS), tokens_per_s=RATE), says="a long answer"),
                on(reply(words(SESSION_TOKENS), tokens_per_s=SESSION_RATE), says="of fifty"),
            ]
        )
        server = Server(Path(home), model)
        try:
            await server.ready()
            for subscribers in (1, 10, 50):
                print(json.dumps(await stream(server, model, subscribers, batch=True)), flush=True)
            print(json.dumps(await stream(server, model, 50, batch=False)), flush=True)
            print(json.dumps(await fifty(server)), flush=True)
        finally:
            server.stop()


if __name__ == "__main__":
    asyncio.run(main())
