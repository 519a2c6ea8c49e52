"""Kernels of agents: one for each session, in the sandbox, among the kernels that the Jupyter server shows."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jupyterlab_postdoc.errors import PostdocError
from jupyterlab_postdoc.workspace.workspace import Workspace

START_S = 60.0
PREFIX = "postdoc-kernel-"
INTERRUPT_S = 3.0
"""A kernel that does not react to an interrupt is ended after this time."""
LOOK_EVERY_S = 30.0
MAX_TEXT = 200_000
MAX_IMAGES = 8
MAX_IMAGE_BYTES = 1 << 20
_ANSI = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")
_TAG = re.compile(r"<[^>]{0,2000}>")

OnOutput = Callable[[str], Awaitable[None]]


@dataclass
class Execution:
    """What came of a piece of code. ``end``: ok, error, timeout or died; ``fresh``: the kernel was just started."""

    end: str = "ok"
    text: str = ""
    error: str = ""
    images: list[bytes] = field(default_factory=list)
    left_out: int = 0
    fresh: bool = False

    @property
    def ok(self) -> bool:
        """Whether the code ran to its end without an error."""
        return self.end == "ok"


@dataclass
class _Kernel:
    id: str
    manager: Any
    client: Any
    folder: Path
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    used: float = 0.0


class KernelPool:
    """``kernel_manager`` is the Jupyter server's, so that people see these kernels and can attach; None: one of ours.

    A kernel that was not used for ``idle_s`` is shut down; its variables are gone then.
    """

    def __init__(self, kernel_manager: Any = None, *, idle_s: float = 3600.0) -> None:
        self._given = kernel_manager
        self._own: Any = None
        self._idle_s = idle_s
        self._kernels: dict[str, _Kernel] = {}
        self._starting: dict[str, asyncio.Lock] = {}
        self._sweeper: asyncio.Task[None] | None = None

    # --- running code ---

    async def execute(
        self,
        session: str,
        workspace: Workspace,
        code: str,
        *,
        timeout_s: float = 120.0,
        on_output: OnOutput | None = None,
    ) -> Execution:
        """Run code in the session's kernel. A cancelled task interrupts it. Raises tool_failed when none can start."""
        kernel, fresh = await self._kernel_of(session, workspace)
        done = Execution(fresh=fresh)
        async with kernel.lock:
            kernel.used = time.monotonic()
            message = kernel.client.execute(code, allow_stdin=False, stop_on_error=True)
            try:
                async with asyncio.timeout(timeout_s):
                    await self._listen(kernel, message, done, on_output)
            except TimeoutError:
                done.end = "timeout"
                await self._interrupt(session, kernel, message)
            except asyncio.CancelledError:
                with contextlib.suppress(Exception):
                    await asyncio.shield(self._interrupt(session, kernel, message))
                raise
            finally:
                kernel.used = time.monotonic()
        if done.end == "died":
            await self.shutdown(session)
        return done

    async def _listen(self, kernel: _Kernel, message: str, done: Execution, on_output: OnOutput | None) -> None:
        """Take what the kernel says of this piece of code until it is idle again."""
        from queue import Empty

        while True:
            try:
                said = await kernel.client.get_iopub_msg(timeout=1.0)
            except Empty:
                if not await kernel.manager.is_alive():
                    done.end = "died"
                    return
                continue
            if said["parent_header"].get("msg_id") != message:
                continue
            kind, content = said["header"]["msg_type"], said["content"]
            if kind == "status" and content["execution_state"] == "idle":
                return
            text = _take(kind, content, done)
            if text and on_output is not None:
                await on_output(text)

    async def _interrupt(self, session: str, kernel: _Kernel, message: str) -> None:
        """Stop what runs and keep the variables; end the kernel when it does not react."""
        try:
            async with asyncio.timeout(INTERRUPT_S):
                await kernel.manager.interrupt_kernel()
                await self._listen(kernel, message, Execution(), None)
        except TimeoutError:
            await self.shutdown(session)

    # --- kernels ---

    async def _kernel_of(self, session: str, workspace: Workspace) -> tuple[_Kernel, bool]:
        async with self._starting.setdefault(session, asyncio.Lock()):
            known = self._kernels.get(session)
            if known is not None and await known.manager.is_alive():
                return known, False
            if known is not None:
                await self.shutdown(session)
            if self._sweeper is None or self._sweeper.done():
                self._sweeper = asyncio.create_task(self._sweep(), name="postdoc idle kernels")
            kernel = self._kernels[session] = await self._start(workspace)
            return kernel, True

    async def _start(self, workspace: Workspace) -> _Kernel:
        await asyncio.to_thread(_load)
        await asyncio.to_thread(_tidy)
        folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-", dir=_place()))
        owner = self._given if self._given is not None else self._our_own()
        manager, _, id = owner.pre_start_kernel(None, {})
        try:
            await self._launch(owner, manager, id, workspace, folder)
            client = manager.client()
            client.start_channels()
            try:
                await client.wait_for_ready(timeout=START_S)
            except RuntimeError as e:
                client.stop_channels()
                raise _not_started(str(e)) from e
        except BaseException:
            with contextlib.suppress(Exception):
                await manager.shutdown_kernel(now=True)
            owner._kernels.pop(id, None)
            shutil.rmtree(folder, ignore_errors=True)
            raise
        return _Kernel(id, manager, client, folder, used=time.monotonic())

    async def _launch(self, owner: Any, manager: Any, id: str, workspace: Workspace, folder: Path) -> None:
        """What the owner's ``start_kernel`` does, with a program of our own."""
        from jupyterlab_postdoc.workspace.provisioner import SPEC, SandboxProvisioner

        manager.transport, manager.ip = "ipc", str(folder / "k")
        manager.connection_file = str(folder / "kernel.json")
        manager.autorestart = False  # silently without its variables? No: the agent is told
        manager._kernel_spec = SPEC
        manager.kernel_cmd = [sys.executable, *SPEC.argv[1:]] if hasattr(manager, "kernel_cmd") else []
        manager.provisioner = SandboxProvisioner(
            workspace=workspace, folder=folder, kernel_id=id, kernel_spec=SPEC, parent=manager
        )
        await manager.start_kernel(kernel_id=id)
        owner._kernels[id] = manager
        if hasattr(owner, "start_watching_activity"):  # the Jupyter server's own: it shows and culls them
            from jupyter_server._tz import utcnow

            owner._kernel_connections[id] = 0
            manager.execution_state, manager.reason, manager.last_activity = "starting", "", utcnow()
            owner.start_watching_activity(id)

    def _our_own(self) -> Any:
        if self._own is None:
            from jupyter_client.multikernelmanager import AsyncMultiKernelManager

            self._own = AsyncMultiKernelManager()
        return self._own

    async def _sweep(self) -> None:
        while self._kernels or any(lock.locked() for lock in self._starting.values()):
            await asyncio.sleep(min(LOOK_EVERY_S, self._idle_s))
            limit = time.monotonic() - self._idle_s
            for session, kernel in list(self._kernels.items()):
                if kernel.used < limit and not kernel.lock.locked():
                    await self.shutdown(session)

    async def shutdown(self, session: str) -> None:
        """End the session's kernel, when it has one."""
        kernel = self._kernels.pop(session, None)
        if kernel is None:
            return
        owner = self._given if self._given is not None else self._own
        kernel.client.stop_channels()
        try:
            if kernel.id in owner:
                await owner.shutdown_kernel(kernel.id, now=True)
            else:
                await kernel.manager.shutdown_kernel(now=True)
        finally:
            shutil.rmtree(kernel.folder, ignore_errors=True)

    async def shutdown_all(self) -> None:
        """End every kernel that was started for a session."""
        if self._sweeper is not None:
            self._sweeper.cancel()
        for session in list(self._kernels):
            await self.shutdown(session)


def _place() -> str:
    """Where the sockets lie. A socket's path may have about a hundred characters, and a home folder's may be longer."""
    return "/tmp" if Path("/tmp").is_dir() else tempfile.gettempdir()


def _tidy() -> None:
    """Remove what servers that were killed have left behind."""
    for old in Path(_place()).glob(f"{PREFIX}*-*"):
        pid = old.name.removeprefix(PREFIX).partition("-")[0]
        with contextlib.suppress(OSError, ValueError):
            if old.stat().st_uid == os.getuid() and not _lives(int(pid)):
                shutil.rmtree(old, ignore_errors=True)


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _load() -> None:
    """Import what kernels need, beside the loop."""
    import jupyterlab_postdoc.workspace.provisioner  # noqa: F401


def _not_started(why: str) -> PostdocError:
    return PostdocError(
        "tool_failed",
        f"The Python kernel did not start: {why.splitlines()[0][:300] if why else 'no reason was given'}.",
        next="Check that ipykernel is installed where the Jupyter server runs.",
    )


def _take(kind: str, content: dict[str, Any], done: Execution) -> str:
    """Note one message; the text that is shown while the code runs."""
    if kind == "stream":
        return _note(done, str(content["text"]))
    if kind in ("execute_result", "display_data"):
        data = content["data"]
        picture = data.get("image/png")
        if isinstance(picture, str) and len(done.images) < MAX_IMAGES:
            raw = base64.b64decode(picture)
            if len(raw) <= MAX_IMAGE_BYTES:
                done.images.append(raw)
                return _note(done, f"(picture {len(done.images)})\n")
        text = data.get("text/plain") or _TAG.sub("", str(data.get("text/html", "")))
        return _note(done, f"{text}\n" if text else "")
    if kind == "error":
        done.end = "error"
        done.error = _plain("\n".join(content["traceback"]))[-6000:] or f"{content['ename']}: {content['evalue']}"
    return ""


def _note(done: Execution, text: str) -> str:
    text = _plain(text)
    room = max(0, MAX_TEXT - len(done.text))
    done.text += text[:room]
    done.left_out += len(text) - len(text[:room])
    return text[:room]


def _plain(text: str) -> str:
    return _ANSI.sub("", text).replace("\r\n", "\n")
