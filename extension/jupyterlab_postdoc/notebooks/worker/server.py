"""The worker's requests, one at a time; only ``interrupt`` comes between."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from jupyterlab_postdoc.notebooks.worker import author
from jupyterlab_postdoc.notebooks.worker.author import Notebook, Refused, write
from jupyterlab_postdoc.notebooks.worker.check import check

LINE = 64 << 20


class Server:
    """Owns the notebook file ``path`` of each request; runs in the workspace as current folder."""

    def __init__(self, receive: int, send: int) -> None:
        self.receive, self.send = receive, send
        self.run: Any = None
        self.checked: tuple[str, list[dict[str, Any]]] = ("", [])

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
        data = json.dumps(message, default=str).encode() + b"\n"
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
        page = Page(path.parent)

        def emit(event: dict[str, Any]) -> None:
            self.write({"id": request["id"], "event": event})

        began = time.monotonic()
        self.run = run = Run(path, notebook, [str(a) for a in request["args"]], float(request["timeout_s"]), emit)
        try:
            await run.execute()
        finally:
            self.run = None
        executed = time.monotonic() - began
        try:
            return {**self.artifacts(run, path, notebook, page), "executed_s": executed}
        finally:
            page.close()

    def artifacts(self, run: Any, path: Path, notebook: Notebook, page: Page) -> dict[str, Any]:
        """Everything that is made from the one execution."""
        root, files = path.parent, []
        figures = run.figures(root / "figures")
        value, problem = run.verdict(root / "results.json")
        session = run.session_file()
        states = [cell.state() for cell in run.cells.values()]
        page.begin(notebook, session, states)
        files.append(f"__marimo__/session/{path.name}.json")
        write(root / "reports" / "interactive.html", run.html())
        files.append("reports/interactive.html")
        if value is not None:
            files.append("results.json")
        if page.end(root / "reports" / "report.html"):
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
    """The page renderer, a child of its own: it starts while the notebook runs, and its crash costs only the page."""

    def __init__(self, root: Path) -> None:
        command = [sys.executable, "-P", "-m", "jupyterlab_postdoc.notebooks.worker.render"]
        pipe = subprocess.PIPE
        self.child = subprocess.Popen(command, stdin=pipe, stdout=pipe, cwd=root, text=True)

    def begin(self, notebook: Notebook, session: dict[str, Any], states: list[dict[str, Any]]) -> None:
        assert self.child.stdin is not None
        cells = [
            {**state, "hide_code": bool(cell.options.get("hide_code"))}
            for state, cell in zip(states, notebook.cells, strict=True)
        ]
        with suppress(OSError):
            json.dump({"title": notebook.app.get("app_title"), "cells": cells, "session": session}, self.child.stdin)
            self.child.stdin.close()

    def end(self, target: Path) -> bool:
        assert self.child.stdout is not None
        text = self.child.stdout.read()
        if self.child.wait() != 0 or not text:
            return False
        write(target, text)
        return True

    def close(self) -> None:
        self.child.kill()
        self.child.wait()


def described(notebook: Notebook) -> dict[str, Any]:
    cells = [{"name": c.key, "code": c.code, "hide_code": bool(c.options.get("hide_code"))} for c in notebook.cells]
    return {"cells": cells}


def warm() -> None:
    """Import now what the first run needs: the person who edits does not notice, the run starts at once."""
    steps: tuple[Callable[[], object], ...] = (lambda: __import__("jupyterlab_postdoc.notebooks.worker.execute"),)
    for step in steps:
        step()
