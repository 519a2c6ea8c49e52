"""A server that is killed again and again, and clients that write down everything they are sent."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import secrets
import signal
import socket
import sqlite3
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tornado.httpclient import AsyncHTTPClient, HTTPClientError, HTTPRequest
from tornado.websocket import websocket_connect

FINALS_THAT_END = ("result",)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Server:
    """One `jupyter server` over a folder; every start is the same server again."""

    home: Path
    templates: Path
    port: int = field(default_factory=free_port)
    token: str = field(default_factory=lambda: secrets.token_hex(16))
    process: subprocess.Popen[bytes] | None = None
    kills: int = 0
    env: dict[str, str] = field(default_factory=dict)
    more: list[str] = field(default_factory=list)
    """More of the environment and of the command line."""

    @property
    def root(self) -> Path:
        return self.home / "root"

    @property
    def database(self) -> Path:
        return next((self.home / "data").glob("*.db"))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/postdoc/"

    def start(self) -> None:
        self.root.mkdir(parents=True, exist_ok=True)
        env = {
            **os.environ,
            "JUPYTER_TOKEN": self.token,
            "JUPYTER_DATA_DIR": str(self.home / "jupyter"),
            "JUPYTER_RUNTIME_DIR": str(self.home / "runtime"),
            "JUPYTER_CONFIG_DIR": str(self.home / "config"),
            **self.env,
        }
        argv = [sys.executable, "-m", "jupyter_server", "--allow-root", "--no-browser", f"--port={self.port}"]
        argv += [f"--ServerApp.root_dir={self.root}", "--ServerApp.port_retries=0", "--ip=127.0.0.1"]
        argv += ["--ServerApp.jpserver_extensions={'jupyterlab_postdoc': True}"]
        argv += [f"--PostdocApp.data_dir={self.home / 'data'}", "--PostdocApp.allow_unsandboxed=True"]
        argv += [f"--PostdocApp.template_paths={self.templates}", *self.more]
        with (self.home / "server.log").open("ab") as log:
            self.process = subprocess.Popen(argv, env=env, stdout=log, stderr=log, start_new_session=True)

    def kill(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.kills += 1

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    async def request(self, method: str, path: str, body: dict[str, Any] | None = None, key: str = "") -> Any:
        request = HTTPRequest(
            self.url + path,
            method=method,
            headers={"Authorization": f"token {self.token}"} | ({"Idempotency-Key": key} if key else {}),
            body=json.dumps(body) if body is not None else None,
            allow_nonstandard_methods=True,
        )
        response = await AsyncHTTPClient().fetch(request)
        return json.loads(response.body) if response.body else None

    async def ready(self, timeout_s: float = 30.0) -> None:
        async with asyncio.timeout(timeout_s):
            while True:
                with contextlib.suppress(OSError, HTTPClientError):
                    await self.request("GET", "api/rooms")
                    return
                await asyncio.sleep(0.05)


@dataclass
class Client:
    """Follows one session over any number of sockets and keeps each frame in the order in which it came."""

    server: Server
    chat: str
    name: str
    frames: list[dict[str, Any]] = field(default_factory=list)
    sockets: int = 0
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def last(self) -> int:
        return self.frames[-1]["seq"] if self.frames else 0

    async def follow(self, chance: random.Random) -> None:
        """Until the result is there; drops its own socket now and then."""
        while not self.ended.is_set():
            try:
                await self._once(chance.uniform(0.3, 6.0))
            except (OSError, HTTPClientError, TimeoutError):
                await asyncio.sleep(0.05)

    async def _once(self, patience_s: float) -> None:
        url = self.server.url.replace("http://", "ws://") + "ws"
        request = HTTPRequest(url, headers={"Authorization": f"token {self.server.token}"}, connect_timeout=5.0)
        socket = await websocket_connect(request)
        self.sockets += 1
        try:
            await socket.write_message(json.dumps({"type": "subscribe", "chatId": self.chat, "after": self.last}))
            async with asyncio.timeout(patience_s):
                while (message := await socket.read_message()) is not None:
                    self._take(json.loads(message))
        finally:
            socket.close()

    def _take(self, frame: dict[str, Any]) -> None:
        if "seq" not in frame or frame.get("chatId") != self.chat:
            return
        self.frames.append(frame)
        if frame["type"] == "session_state" and frame["status"] in ("finished", "error", "stopped"):
            self.ended.set()


def transcript(frames: list[dict[str, Any]]) -> list[tuple[int, str]]:
    """What a client that reduces its frames ends with: final events, and partial ones that nothing has replaced."""
    kept: dict[int, dict[str, Any]] = {}
    for frame in frames:
        if replaces := frame.get("replaces"):
            for seq in [seq for seq, old in kept.items() if replaces[0] <= seq <= replaces[1] and _same(old, frame)]:
                del kept[seq]
        kept[frame["seq"]] = frame
    return [(seq, frame["type"]) for seq, frame in sorted(kept.items())]


def _same(partial: dict[str, Any], final: dict[str, Any]) -> bool:
    keys = ("itemId", "toolId")
    return "delta" in partial and any(key in partial and partial[key] == final.get(key) for key in keys)


def stored(database: Path, chat: str) -> list[tuple[int, str]]:
    """The events of a session as the database holds them."""
    with contextlib.closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        rows = connection.execute("SELECT seq, type FROM event WHERE session_id = ? ORDER BY seq", (chat,))
        return [(seq, type) for seq, type in rows]


def integrity(database: Path) -> str:
    with contextlib.closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        return str(connection.execute("PRAGMA integrity_check").fetchone()[0])


def git(root: Path, *args: str) -> str:
    return subprocess.run(["git", "-C", str(root), *args], check=True, capture_output=True, text=True).stdout.strip()


def steps_committed(root: Path) -> list[str]:
    """The journal keys of a repository's commits, oldest first."""
    out = git(root, "log", "--reverse", "--format=%(trailers:key=Research-Step,valueonly,separator=%x2C)")
    return [line for line in out.splitlines() if line]
