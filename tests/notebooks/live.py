"""Real editors for the tests of live notebooks: marimo in bubblewrap where it works."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import psutil

from jupyterlab_postdoc.notebooks.editor import LiveEditor
from jupyterlab_postdoc.notebooks.editors import EditorPool
from jupyterlab_postdoc.notebooks.live import Upstream
from jupyterlab_postdoc.workspace.sandbox import choose, probe
from jupyterlab_postdoc.workspace.workspace import Workspace

NOTEBOOK = """import marimo

app = marimo.App()


@app.cell
def first():
    x = 1
    return (x,)


@app.cell
def second(x):
    y = x + 1
    y
    return (y,)


if __name__ == "__main__":
    app.run()
"""


async def workspace(root: Path) -> Workspace:
    return Workspace(root, sandbox=choose(await probe(), trusted=False, allow_unsandboxed=True))


@contextlib.asynccontextmanager
async def pool(**options: Any) -> AsyncIterator[EditorPool]:
    made = EditorPool(options.pop("make_workspace", workspace), **options)
    await made.start()
    try:
        yield made
    finally:
        await made.stop()


def project(folder: Path, name: str = "project", text: str = NOTEBOOK) -> Path:
    root = folder / name
    root.mkdir()
    (root / "notebook.py").write_text(text)
    return root


async def until(condition: Callable[[], object], seconds: float = 20.0) -> float:
    """Seconds until the condition holds; fails when it does not in time."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < seconds, "it did not come"
        await asyncio.sleep(0.02)
    return time.monotonic() - began


async def get(upstream: Upstream, path: str, token: str | None = None, **params: str) -> httpx.Response:
    """One request to the editor's socket, as the proxy makes it."""
    assert upstream.socket is not None
    headers = {"Authorization": f"Bearer {upstream.token if token is None else token}"}
    async with httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(uds=str(upstream.socket))) as client:
        return await client.get(f"http://127.0.0.1:{upstream.port}{path}", headers=headers, params=params)


def processes(mark: str) -> list[psutil.Process]:
    """Living processes with this text in their command line, the innermost last."""
    return [
        p
        for p in psutil.process_iter(["cmdline", "status"])
        if any(mark in part for part in p.info["cmdline"] or []) and p.info["status"] != psutil.STATUS_ZOMBIE
    ]


def kill(editor: LiveEditor) -> None:
    """SIGKILL for the worker itself, as the kernel's out-of-memory killer does."""
    found = [p for p in processes(str(editor.root)) if "worker.live" in " ".join(p.cmdline()[:5])]
    found[-1].kill()
