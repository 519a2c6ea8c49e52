"""One execution of a notebook, told cell by cell, in a kernel of its own.

marimo's own headless run (``marimo._export.file.run_notebook``) gives its results only at the end. This one uses the
same session object and listens to its messages. The names used here are private to marimo, which is why its version
is pinned.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from marimo._cli.parse_args import parse_args
from marimo._config.manager import get_default_config_manager
from marimo._runtime.commands import AppMetadata
from marimo._runtime.patches import extract_docstring_from_header
from marimo._session.model import SessionMode
from marimo._session.notebook import load_notebook
from marimo._session.requests import InstantiateNotebookRequest
from marimo._session.session import SessionImpl
from marimo._session.startup import SessionStartup

from jupyterlab_postdoc.notebooks.worker import launch
from jupyterlab_postdoc.notebooks.worker.author import Notebook
from jupyterlab_postdoc.notebooks.worker.results import Results
from jupyterlab_postdoc.notebooks.worker.tracks import Emit, Listener, See, Track

POLL_S = 0.05
INTERRUPT_S = 1.0  # how long an interrupted kernel may take before it is killed
SETTLE_S = 0.03  # console text may arrive just after the end of the run
RUNTIME = {"on_cell_change": "autorun", "auto_instantiate": True, "auto_reload": "off", "watcher_on_save": "lazy"}


class Execution(Results):
    """What goes on in a kernel until it is done, interrupted, out of time or dead. ``interrupt`` may come any time."""

    def __init__(self, path: Path, file: Any, cells: dict[str, Track], timeout_s: float) -> None:
        super().__init__(path, file, cells, timeout_s)
        self.stop = asyncio.Event()

    def interrupt(self) -> None:
        self.stop.set()

    async def watch(self, session: Any, listener: Listener) -> None:
        began = time.monotonic()
        while not listener.done.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(listener.done.wait(), POLL_S)
            self.trim()
            if listener.done.is_set():
                break
            late = time.monotonic() - began > self.timeout_s
            if late or self.stop.is_set():
                self.end = "timeout" if late else "stopped"
                await self.halt(session, listener)
                return
            if (info := session.kernel_exit_info()) is not None:
                await asyncio.sleep(0.2)  # its last messages may still be in the pipe
                self.end, self.detail = "crashed", str(info_code(info, session))
                return

    async def halt(self, session: Any, listener: Listener) -> None:
        """Ctrl-C first, so that the running cell shows where it was; then the kernel is killed."""
        session.try_interrupt()
        with suppress(TimeoutError):
            await asyncio.wait_for(listener.done.wait(), INTERRUPT_S)
            return
        if pid := session.kernel_pid():
            with suppress(OSError):
                os.kill(pid, signal.SIGKILL)


class Run(Execution):
    """One execution of a whole notebook in a fresh kernel."""

    def __init__(self, path: Path, notebook: Notebook, args: list[str], timeout_s: float, emit: Emit, see: See) -> None:
        file = load_notebook(str(path))
        ids = [cell.cell_id for cell in file.app.cell_manager.cell_data()]
        super().__init__(
            path, file, {i: Track(c.key, c.code) for i, c in zip(ids, notebook.cells, strict=True)}, timeout_s
        )
        self.args, self.emit, self.see = args, emit, see
        self.notebook = notebook

    async def execute(self) -> None:
        """Run to the end, the time limit, an interrupt, or the kernel's death."""
        listener = Listener(self.cells, self.emit, self.see)
        launch.use()
        config = get_default_config_manager(current_path=self.file.path).with_overrides({"runtime": RUNTIME})
        session = await SessionImpl.create(
            startup=SessionStartup(),
            initialization_id="postdoc",
            session_consumer=listener,
            mode=SessionMode.EDIT,  # a kernel process of its own, whose console is captured
            app_metadata=AppMetadata(
                query_params={},
                filename=self.file.path,
                cli_args=parse_args(self.args) if self.args else {},
                argv=self.args,
                app_config=self.file.app.config,
                docstring=extract_docstring_from_header(self.file.app._app._header),
            ),
            app_file_manager=self.file,
            config_manager=config,
            virtual_file_storage=None,
            redirect_console_to_browser=False,
            ttl_seconds=None,
            auto_instantiate=True,
        )
        self.view = session.session_view
        try:
            session.instantiate(InstantiateNotebookRequest(object_ids=[], values=[]), http_request=None)
            await self.watch(session, listener)
            await asyncio.sleep(SETTLE_S)
        finally:
            session.close()
        self.conclude(listener)


def info_code(info: Any, session: Any) -> str:
    """How the kernel died, for a person: ``exit code 3``, ``killed by SIGKILL``."""
    code = getattr(getattr(session._kernel_manager, "kernel_task", None), "exitcode", None)
    if isinstance(code, int) and code < 0:
        with suppress(ValueError):
            return f"killed by {signal.Signals(-code).name}"
    return f"exit code {code}" if code is not None else str(info)
