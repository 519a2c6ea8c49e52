"""The worker's requests, one at a time; only ``interrupt`` comes between."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from jupyterlab_postdoc.notebooks.worker import author, launch, pictures
from jupyterlab_postdoc.notebooks.worker.author import Notebook, Refused, write
from jupyterlab_postdoc.notebooks.worker.check import check, imports
from jupyterlab_postdoc.notebooks.worker.outputs import finite

LINE = 64 << 20
PICTURES_S = 40.0


class Server:
    """Owns the notebook file ``path`` of each request; runs in the workspace as current folder."""

    def __init__(self, receive: int, send: int) -> None:
        self.receive, self.send = receive, send
        self.run: Any = None
        self.checked: tuple[str, list[dict[str, Any]]] = ("", [])
        self.drawings: dict[str, list[Any]] = {}
        self.page: Page | None = None

    async def serve(self) -> None:
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(limit=LINE)
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(self.receive, "rb", 0))
        loop.call_soon(warm)
        task: asyncio.Task[None] | None = None
        while line := await reader.readline():
            request = json.loads(line)
            if request["op"] == "interrupt":
                if self.run is not None:
                    self.run.interrupt()
                continue
            if task is not None:
                await task
            task = asyncio.create_task(self.answer(request))

    async def answer(self, request: dict[str, Any]) -> None:
        number = request["id"]
        try:
            result = await getattr(self, f"do_{request['op']}")(request)
            self.write({"id": number, "result": result})
        except Refused as error:
            body = {"code": error.code, "message": error.message, "next": error.next, **error.details}
            self.write({"id": number, "error": body})
        except OSError as error:
            code = "storage_full" if error.errno in (28, 122) else "notebook_failed"
            message = f"The notebook's files could not be written: {error.strerror}."
            self.write(
                {"id": number, "error": {"code": code, "message": message, "next": "Check disk and permissions."}}
            )
        except Exception as error:  # noqa: BLE001  task boundary: a sentence for the server, the traceback for stderr
            import traceback

            traceback.print_exc()
            message = f"The notebook worker failed: {type(error).__name__}: {error}"[:500]
            self.write({"id": number, "error": {"code": "notebook_failed", "message": message, "next": ""}})

    def write(self, message: dict[str, Any]) -> None:
        try:
            data = json.dumps(message, default=str, allow_nan=False).encode() + b"\n"
        except ValueError:
            data = json.dumps(finite(message), default=str).encode() + b"\n"
        while data:
            data = data[os.write(self.send, data) :]

    async def do_create(self, request: dict[str, Any]) -> dict[str, Any]:
        path = Path(request["path"])
        return described(
            author.create(path, request["title"], request.get("header", ""), request.get("width", "medium"))
        )

    async def do_cells(self, request: dict[str, Any]) -> dict[str, Any]:
        return described(author.load(Path(request["path"])))

    async def do_edit(self, request: dict[str, Any]) -> dict[str, Any]:
        path = Path(request["path"])
        notebook, changed, deleted = author.edit(path, request["changes"], request.get("known"))
        if modules := imported(notebook):
            launch.start(modules)
        issues = await asyncio.to_thread(check, path, notebook, full=False)
        return {**described(notebook), "changed": changed, "deleted": deleted, "issues": issues}

    async def do_check(self, request: dict[str, Any]) -> dict[str, Any]:
        path = Path(request["path"])
        notebook = author.load(path)
        return {**described(notebook), "issues": await self.issues(path, notebook)}

    async def issues(self, path: Path, notebook: Notebook) -> list[dict[str, Any]]:
        """The check of this very text, made once."""
        if self.checked[0] != notebook.text:
            self.checked = (notebook.text, await asyncio.to_thread(check, path, notebook))
        return self.checked[1]

    async def do_run(self, request: dict[str, Any]) -> dict[str, Any]:
        from jupyterlab_postdoc.notebooks.worker.execute import Run

        path = Path(request["path"]).absolute()
        notebook = author.load(path)
        launch.start(imported(notebook))
        if self.page is not None:
            await self.page.close()
        self.page = page = Page(path.parent)

        def emit(event: dict[str, Any]) -> None:
            self.write({"id": request["id"], "event": event})

        began = time.monotonic()
        args = [str(a) for a in request["args"]]
        self.drawings = {}
        self.run = run = Run(path, notebook, args, float(request["timeout_s"]), emit, page.see)
        try:
            await run.execute()
            self.run = None
            executed = time.monotonic() - began
            self.drawings = run.drawings()
            drawn = {name: digest(items) for name, items in self.drawings.items()}
            return {**await self.artifacts(run, path, notebook, page), "executed_s": executed, "drawn": drawn}
        except BaseException:
            await page.close()
            raise
        finally:
            self.run = None

    async def do_pictures(self, request: dict[str, Any]) -> dict[str, Any]:
        """What cells drew in the last run, as PNG; by a child, since a renderer may fall over its input. The page's
        renderer has drawn most of them already.
        """
        names = [name for name in request["names"] if name in self.drawings]
        ready = await self.page.pictures() if self.page is not None and names else {}
        made = {
            name: ready.get(name) or [pictures.quick(i) if isinstance(i, str) else None for i in self.drawings[name]]
            for name in names
        }
        left = [name for name in names if None in made[name]][: pictures.MOST]
        for name in left:
            made[name] = []
        for item in await self.drawn(left):
            made[item["cell"]].append(item["png"])
        found = [{"cell": name, "png": png} for name in names for png in made[name]]
        return {"pictures": found[: pictures.MOST]}

    async def drawn(self, names: list[str]) -> list[dict[str, str]]:
        """What these cells drew, by a renderer of its own."""
        wanted = [[name, item] for name in names for item in self.drawings[name]]
        if not wanted:
            return []
        command = [sys.executable, "-P", "-m", "jupyterlab_postdoc.notebooks.worker.pictures"]
        pipe = subprocess.PIPE
        child = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe)
        try:
            text, _ = await asyncio.wait_for(child.communicate(json.dumps(wanted).encode()), PICTURES_S)
        except TimeoutError:
            child.kill()
            await child.wait()
            text = b""
        return [json.loads(line) for line in text.splitlines() if line.endswith(b"}")]

    async def artifacts(self, run: Any, path: Path, notebook: Notebook, page: Page) -> dict[str, Any]:
        """Everything that is made from the one execution."""
        root, files = path.parent, []
        figures = run.figures(root / "figures")
        value, problem = run.verdict(root / "results.json")
        session = run.session_file()
        states = [cell.state() for cell in run.cells.values()]
        page.begin(notebook, session, states)
        files.append(f"__marimo__/session/{path.name}.json")
        write(root / "reports" / "interactive.html", await asyncio.to_thread(run.html))
        files.append("reports/interactive.html")
        if value is not None:
            files.append("results.json")
        if await page.end(root / "reports" / "report.html"):
            files.append("reports/report.html")
        return {
            "end": run.end,
            "detail": run.detail,
            "cells": states,
            "figures": figures,
            "files": [*files, *figures],
            "verdict": value,
            "verdict_error": problem,
        }


class Page:
    """The page renderer, a child of its own, whose crash costs only the page. It starts with the first output worth it
    and draws charts while the notebook still runs, so that little is left for the end.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.child: asyncio.subprocess.Process | None = None
        self.starting: asyncio.Task[None] | None = None
        self.waiting: list[bytes] = []
        self.made: dict[str, list[str | None]] | None = None

    def see(self, name: str, mimetype: str, data: Any) -> None:
        """A cell's output, as soon as it is there; only charts take time."""
        if "vegalite" in mimetype or (isinstance(data, str) and "vegalite" in data):
            self.tell({"name": name, "type": "data", "data": {mimetype: data}})

    def tell(self, message: dict[str, Any]) -> None:
        self.waiting.append(json.dumps(message).encode() + b"\n")
        if self.starting is None:
            self.starting = asyncio.create_task(self.start())
        self.flush()

    async def start(self) -> None:
        command = [sys.executable, "-P", "-m", "jupyterlab_postdoc.notebooks.worker.render"]
        pipe = subprocess.PIPE
        self.child = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, cwd=self.root, limit=LINE)
        self.flush()

    def flush(self) -> None:
        if self.child is not None and self.child.stdin is not None:
            self.child.stdin.writelines(self.waiting)
            self.waiting.clear()

    def begin(self, notebook: Notebook, session: dict[str, Any], states: list[dict[str, Any]]) -> None:
        cells = [
            {**state, "hide_code": bool(cell.options.get("hide_code"))}
            for state, cell in zip(states, notebook.cells, strict=True)
        ]
        self.tell({"title": notebook.app.get("app_title"), "cells": cells, "session": session})

    async def end(self, target: Path) -> bool:
        """Write the page. The child goes on with what it has not drawn yet."""
        assert self.starting is not None
        await self.starting
        assert self.child is not None
        assert self.child.stdin is not None
        assert self.child.stdout is not None
        self.child.stdin.close()
        try:
            text = await self.child.stdout.readexactly(int(await self.child.stdout.readline() or b"0"))
        except (ValueError, asyncio.IncompleteReadError):
            return False
        if text:
            write(target, text.decode())
        return bool(text)

    async def pictures(self) -> dict[str, list[str | None]]:
        """What the charts look like, as base64 PNGs; waits until they are drawn. Empty after a crash."""
        if self.made is None:
            self.made = {}
            if self.child is not None and self.child.stdout is not None:
                with suppress(ValueError, TimeoutError):
                    line = await asyncio.wait_for(self.child.stdout.readline(), PICTURES_S)
                    self.made = json.loads(line or b"{}")
        return self.made

    async def close(self) -> None:
        if self.starting is not None:
            await self.starting
        if self.child is not None and self.child.returncode is None:
            with suppress(ProcessLookupError):
                self.child.kill()
            await self.child.wait()


def digest(items: list[Any]) -> str:
    """Changes when what is drawn changes."""
    return hashlib.sha256(json.dumps(items, sort_keys=True, default=str).encode()).hexdigest()[:16]


def described(notebook: Notebook) -> dict[str, Any]:
    cells = [{"name": c.key, "code": c.code, "hide_code": bool(c.options.get("hide_code"))} for c in notebook.cells]
    return {"cells": cells}


def imported(notebook: Notebook) -> set[str]:
    """Packages that the cells import."""
    return {name for cell in notebook.cells for name, _ in imports(cell.code)}


def warm() -> None:
    """Import now what the first run needs: the person who edits does not notice, the run starts at once."""
    steps: tuple[Callable[[], object], ...] = (lambda: __import__("jupyterlab_postdoc.notebooks.worker.execute"),)
    for step in steps:
        step()
