"""Configured servers for tests, and what a tool needs to run."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from jupyterlab_postdoc.connectors.client import Connectors
from jupyterlab_postdoc.providers.base import ToolOutcome
from jupyterlab_postdoc.tools.base import ToolContext
from jupyterlab_postdoc.tools.resources import Resources

HERE = Path(__file__).parent
REMOTE, OLD = HERE / "remote_server.py", HERE / "old_server.py"
PATIENCE_S = 30.0
"""The machine may be busy: how long tests wait for a first connection."""


def configure(folder: Path, **servers: dict[str, Any]) -> Path:
    """A file with these servers."""
    file = folder / "mcp.json"
    file.write_text(json.dumps({"mcpServers": servers}))
    return file


def remote(folder: Path, *modes: str, **more: Any) -> dict[str, Any]:
    """The server that is made with the package ``mcp``."""
    return {"command": sys.executable, "args": [str(REMOTE), *modes, str(folder)], **more}


def old(folder: Path, *modes: str, **more: Any) -> dict[str, Any]:
    """The server that is written by hand."""
    return {"command": sys.executable, "args": ["-I", "-S", str(OLD), str(folder), *modes], **more}


def connectors(file: Path | None, wait_s: float = PATIENCE_S) -> Connectors:
    return Connectors(file, wait_s=wait_s)


def notes(folder: Path) -> list[str]:
    """What the server wrote down."""
    file = folder / "notes.txt"
    return file.read_text().splitlines() if file.exists() else []


def pids(folder: Path) -> list[int]:
    """The processes that the server told of."""
    return [int(note.split()[1]) for note in notes(folder) if note.startswith("pid ")]


def running(pid: int) -> bool:
    """Whether it lives; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


async def until(condition: Any, seconds: float = 10.0) -> bool:
    """Whether it came true in time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        await asyncio.sleep(0.02)
    return bool(condition())


@contextmanager
def http_server(folder: Path, port: int = 0) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """(address, process) of a server on the network."""
    if not port:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, str(REMOTE), "http", str(port), str(folder)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=dict(os.environ),
    )
    try:
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}/mcp", process
    finally:
        process.kill()
        process.wait()


class Keeper:
    """Keeps the blobs of a tool."""

    def __init__(self) -> None:
        self.blobs: dict[str, tuple[bytes, str]] = {}

    async def put(self, data: bytes, media_type: str) -> str:
        digest = hashlib.sha256(data).hexdigest()
        self.blobs[digest] = (data, media_type)
        return digest

    def context(self) -> ToolContext:
        async def nothing(*_: Any) -> None: ...

        async def silent(_question: str, _options: list[str] | None) -> str:
            return ""

        async def delegate(_task: str) -> ToolOutcome:
            return ToolOutcome(False, "")

        return ToolContext("call1", "c1", nothing, nothing, nothing, silent, "test", Resources(), self.put, delegate)
