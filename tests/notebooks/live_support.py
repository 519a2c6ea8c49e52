"""A live worker in the sandbox, spoken to directly, and pages that are open on it: what a browser would be."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import secrets
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import websockets
from websockets.asyncio.client import unix_connect

from jupyterlab_postdoc.notebooks.door import Door
from jupyterlab_postdoc.notebooks.editor import LiveEditor
from jupyterlab_postdoc.workspace.processes import Limits, Process
from jupyterlab_postdoc.workspace.sandbox import choose, probe
from jupyterlab_postdoc.workspace.workspace import Workspace

TOKEN = "marimo-" + secrets.token_hex(8)
HOST = "127.0.0.1:2718"
CELLS = {"setup": "import marimo as mo", "a": "a = 2\nprint('a ran')", "b": "b = a * 10\nb", "c": "c = b + 1\nc"}
ENV = {"MARIMO_ENABLE_HOST": "1", "MARIMO_SKIP_UPDATE_CHECK": "1", "POSTDOC_KERNEL_MEMORY": str(4 << 30)}


class Failed(Exception):
    """The worker answered with an error; ``error`` is all of it."""

    def __init__(self, error: dict[str, Any]) -> None:
        super().__init__(error["message"])
        self.error, self.code = error, error["code"]


class Live:
    """The worker of ``root/notebook.py``."""

    def __init__(self, process: Process, root: Path, folder: Path) -> None:
        self.process, self.root, self.folder = process, root, folder
        self.number = 0
        self.waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self.events: dict[int, list[dict[str, Any]]] = {0: []}
        self.times: dict[int, list[float]] = {0: []}
        self.news = asyncio.Condition()
        self.errors = bytearray()
        self.tasks = [asyncio.create_task(self.read()), asyncio.create_task(self.drain())]

    async def read(self) -> None:
        assert self.process.stdout is not None
        while line := await self.process.stdout.readline():
            message = json.loads(line)
            if "event" in message:
                self.events.setdefault(message["id"], []).append(message["event"])
                self.times.setdefault(message["id"], []).append(time.monotonic())
                async with self.news:
                    self.news.notify_all()
            elif (future := self.waiting.pop(message["id"], None)) is not None:
                future.set_result(message)
        for future in self.waiting.values():
            future.set_exception(ConnectionError(self.errors[-3000:].decode()))
        asyncio.get_running_loop().call_later(0.1, lambda: asyncio.ensure_future(self.wake()))

    async def wake(self) -> None:
        """The process ended: nobody need wait."""
        async with self.news:
            self.news.notify_all()

    async def drain(self) -> None:
        assert self.process.stderr is not None
        while data := await self.process.stderr.read(1 << 16):
            self.errors += data

    def say(self, op: str, **fields: Any) -> int:
        assert self.process.stdin is not None
        self.number += 1
        request = {"op": op, "id": self.number, "path": str(self.root / "notebook.py"), **fields}
        self.process.stdin.write(json.dumps(request).encode() + b"\n")
        return self.number

    async def ask(self, op: str, **fields: Any) -> dict[str, Any]:
        number = self.number + 1
        future = self.waiting[number] = asyncio.get_running_loop().create_future()
        assert self.say(op, **fields) == number
        message = await asyncio.wait_for(future, 60)
        if "error" in message:
            raise Failed(message["error"])
        result: dict[str, Any] = message["result"]
        return result

    async def put(self, known: dict[str, str] | None = None, **cells: str) -> dict[str, Any]:
        changes = [{"op": "put", "name": name, "code": code} for name, code in cells.items()]
        return await self.ask("edit", changes=changes, known=known)

    async def run(self, *names: str, timeout_s: float = 60) -> dict[str, Any]:
        return await self.ask("run", args=[], timeout_s=timeout_s, cells=list(names) or None)

    async def until(self, wanted: Callable[[dict[str, Any]], bool], *, seconds: float = 20, after: int = 0) -> Any:
        """The first unasked event (from number ``after`` on) that is ``wanted``."""
        async with asyncio.timeout(seconds):
            while True:
                for event in self.events[0][after:]:
                    if wanted(event):
                        return event
                if self.tasks[0].done():
                    raise ConnectionError(self.errors[-3000:].decode())
                async with self.news:
                    await self.news.wait()

    def codes(self, answer: dict[str, Any]) -> dict[str, str]:
        return {cell["name"]: cell["code"] for cell in answer["cells"]}


@contextlib.asynccontextmanager
async def live(root: Path, *, text: str | None = None, env: dict[str, str] | None = None) -> AsyncIterator[Live]:
    """A live worker on ``root/project``, in the sandbox when there is one."""
    project = root / "project"
    project.mkdir(exist_ok=True)
    if text is not None:
        (project / "notebook.py").write_text(text)
    folder = Path(tempfile.mkdtemp(prefix="nb-"))  # a socket's path is short
    door = Door(folder / "s", TOKEN)
    workspace = Workspace(project, sandbox=choose(await probe(), trusted=False, allow_unsandboxed=True))
    argv = [str(workspace.python), "-P", "-m", "jupyterlab_postdoc.notebooks.worker.live", str(project / "notebook.py")]
    process = await workspace.spawn(
        argv,
        env={**ENV, **door.env, **(env or {})},
        limits=Limits(memory_bytes=None, total_bytes=6 << 30),
        line_limit=16 << 20,
        fds=door.fds,
    )
    door.close()
    made = Live(process, project, folder)
    try:
        await made.until(lambda event: event["type"] == "ready", seconds=60)
        yield made
    finally:
        for task in made.tasks:
            task.cancel()
        await process.discard()
        shutil.rmtree(folder)


class Page:
    """An open page: what it is sent, and what its person does."""

    def __init__(self, socket: Any, http: httpx.AsyncClient, headers: dict[str, str]) -> None:
        self.socket, self.http, self.headers = socket, http, headers
        self.seen: list[tuple[float, dict[str, Any]]] = []
        self.news = asyncio.Condition()
        self.closed: Exception | None = None
        self.task = asyncio.create_task(self.read())

    async def read(self) -> None:
        try:
            async for message in self.socket:
                self.seen.append((time.monotonic(), json.loads(message)))
                async with self.news:
                    self.news.notify_all()
        except websockets.ConnectionClosed as closed:
            self.closed = closed

    async def sees(self, wanted: Callable[[dict[str, Any]], bool], *, after: int = 0, seconds: float = 10) -> float:
        """When it was told that, by the monotonic clock."""
        async with asyncio.timeout(seconds):
            while True:
                for when, message in self.seen[after:]:
                    if wanted(message):
                        return when
                async with self.news:
                    await self.news.wait()

    async def shows(self, text: str, *, after: int = 0, seconds: float = 10) -> float:
        """When an output with this text arrived."""

        def wanted(message: dict[str, Any]) -> bool:
            output = (message.get("data") or {}).get("output") if message["op"] == "cell-op" else None
            return output is not None and text in json.dumps(output["data"])

        return await self.sees(wanted, after=after, seconds=seconds)

    async def post(self, path: str, body: dict[str, Any]) -> httpx.Response:
        return await self.http.post(f"http://{HOST}/{path}", json=body, headers=self.headers)

    async def runs(self, cell: str, code: str) -> None:
        """A person runs the cell with this id."""
        (await self.post("api/kernel/run", {"cellIds": [cell], "codes": [code]})).raise_for_status()

    async def types(self, cell: str, code: str) -> None:
        """A person types into the cell with this id; nothing is saved."""
        change = {"type": "set-code", "cellId": cell, "code": code}
        (await self.post("api/document/transaction", {"changes": [change]})).raise_for_status()


@contextlib.asynccontextmanager
async def page(worker: Live | LiveEditor, *, kiosk: bool = False) -> AsyncIterator[Page]:
    """A page that is open in a browser."""
    token = TOKEN if isinstance(worker, Live) else worker.upstream.token
    transport = httpx.AsyncHTTPTransport(uds=str(worker.folder / "s"))
    name = f"s_{secrets.token_hex(3)}"
    async with httpx.AsyncClient(transport=transport) as http:
        address = f"http://{HOST}/?file=notebook.py&access_token={token}"
        text = (await http.get(address, follow_redirects=True)).text  # the answer sets a cookie
        found = re.search(r'"?serverToken"?:\s*"([^"]+)"', text)
        assert found, text[:500]
        headers = {"Marimo-Session-Id": name, "Marimo-Server-Token": found[1]}
        query = f"session_id={name}&file=notebook.py&access_token={token}" + ("&kiosk=true" if kiosk else "")
        async with unix_connect(str(worker.folder / "s"), f"ws://{HOST}/ws?{query}", max_size=None) as socket:
            made = Page(socket, http, headers)
            try:
                await made.sees(lambda message: message["op"] == "kernel-ready", seconds=20)
                yield made
            finally:
                made.task.cancel()


async def cells_of(nb: Any, person: Any) -> list[dict[str, str]]:
    ready = next(m for _, m in person.seen if m["op"] == "kernel-ready")["data"]
    return [{"id": i, "name": n} for i, n in zip(ready["cell_ids"], ready["names"], strict=True)]


def status(report: dict[str, Any]) -> dict[str, str]:
    return {cell["name"]: cell["status"] for cell in report["cells"]}


def shown(report: dict[str, Any], name: str) -> str:
    return next(cell["outputs"][0]["text"] for cell in report["cells"] if cell["name"] == name)
