"""A plain ``marimo edit`` as the proxy sees an editor: a real process, started once for a module, without a sandbox.

What the managed editor adds (sandbox, Host API, limits) has tests of its own; here it is about the way to marimo.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from jupyterlab_postdoc.notebooks.live import EditorStatus, Upstream

BIG = 32 << 20
"""Bytes of ``public/big.bin``: the numbers from 0 to 255, again and again."""

NOTEBOOK = """import marimo

__generated_with = "0.25.2"
app = marimo.App()


@app.cell
def first():
    x = 20
    return (x,)


@app.cell
def second(x):
    y = x + 1
    y
    return (y,)


if __name__ == "__main__":
    app.run()
"""


class PlainEditor:
    """The part of :class:`Editor` that the proxy uses."""

    path = "notebook.py"

    def __init__(self, upstream: Upstream) -> None:
        self.upstream = upstream
        self.viewers = 0

    @property
    def status(self) -> EditorStatus:
        return EditorStatus("ready", kernel="idle", viewers=self.viewers)

    def viewer(self, change: int) -> None:
        self.viewers += change


class PlainEditors:
    """Editors that are all the same one; ``up`` says whether it is there."""

    def __init__(self, editor: PlainEditor, pool: Any) -> None:
        self.editor = editor
        self.pool = pool
        self.up = True
        self.opened: list[tuple[Path, str]] = []

    def get(self, _root: Path) -> PlainEditor | None:
        return self.editor if self.up else None

    def status(self, _root: Path) -> EditorStatus:
        return self.editor.status if self.up else EditorStatus("stopped")

    async def open(self, root: Path, path: str = "notebook.py") -> PlainEditor:
        self.opened.append((root, path))
        await asyncio.sleep(0)
        self.up = True
        return self.editor

    async def settled(self, _root: Path, _seconds: float) -> None:
        """It is never being started."""

    async def close(self, _root: Path, *, reason: str = "") -> None:  # noqa: ARG002
        self.up = False

    async def stop(self) -> None:
        """As the server's own pool is stopped, in whose place this stands."""
        await self.pool.stop()


@contextmanager
def marimo(folder: Path, notebook: str = NOTEBOOK) -> Iterator[PlainEditor]:
    """``marimo edit`` on ``folder/project/notebook.py``."""
    project = folder / "project"
    project.mkdir(parents=True)
    (project / "notebook.py").write_text(notebook)
    (project / "public").mkdir()
    (project / "public" / "a b.txt").write_text("public")
    (project / "public" / "big.bin").write_bytes(bytes(range(256)) * (BIG >> 8))
    token, home = secrets.token_urlsafe(24), folder / "home"
    home.mkdir()
    password = folder / "token"
    password.write_text(token)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        *(sys.executable, "-m", "marimo", "edit", str(project), "--headless", "--host", "127.0.0.1", "-p", str(port)),
        *("--token-password-file", str(password), "--skip-update-check", "--no-sandbox"),
    ]
    environ = {"PATH": os.environ["PATH"], "HOME": str(home), "XDG_STATE_HOME": str(home), "LANG": "C.UTF-8"}
    process = subprocess.Popen(
        command, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        _wait(f"http://127.0.0.1:{port}/health", process)
        yield PlainEditor(Upstream(None, port, token, "notebook.py"))
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _wait(url: str, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 30
    while time.monotonic() < end:
        assert process.poll() is None, "marimo does not start"
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.05)
    raise AssertionError("marimo does not answer")
