"""Kernels of agents: one for each session, in the sandbox, among the kernels that the Jupyter server shows."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from jupyterlab_postdoc.errors import PostdocError
from jupyterlab_postdoc.workspace.kernel_output import Execution
from jupyterlab_postdoc.workspace.workspace import Workspace

START_S = 60.0
PREFIX = "postdoc-kernel-"
INTERRUPT_S = 3.0
"""A kernel that does not react to an interrupt after a timeout is ended after this time."""
STOP_S = 1.0
"""The same when the run is stopped, which has to be over within two seconds."""
REPLY_S = 2.0
LOOK_EVERY_S = 30.0

OnOutput = Callable[[str], Awaitable[None]]
T = TypeVar("T")
_log = logging.getLogger(__name__)


@dataclass
class _Kernel:
    id: str
    manager: Any
    folder: Path
    client: Any = None
    launch: int = 0
    """Which of the manager's processes the client speaks with: people can restart the kernel."""
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    used: float = 0.0
    failed: tuple[str, Execution] | None = None
    """The call whose code was the last to run, when that failed, and what came of it."""


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
        self._had: set[str] = set()
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
        call: str = "",
    ) -> Execution:
        """Run code in the session's kernel. A cancelled task interrupts it. Raises tool_failed when none can start.
        ``call`` is the name under which :meth:`failure` finds what came of it.
        """
        while True:
            kernel, fresh = await self._kernel_of(session, workspace)
            async with kernel.lock:
                if self._kernels.get(session) is not kernel:  # ended while we waited for our turn
                    continue
                done = Execution(fresh=fresh, renewed=fresh and session in self._had)
                self._had.add(session)
                kernel.used = time.monotonic()
                try:
                    await self._run(session, kernel, code, timeout_s, done, on_output)
                finally:
                    kernel.used = time.monotonic()
                kernel.failed = (call, done) if done.end == "error" else None
                return done

    def failure(self, session: str, call: str) -> Execution | None:
        """What came of a call that failed, as long as nothing else ran in its kernel, which lives."""
        kernel = self._kernels.get(session)
        return kernel.failed[1] if kernel is not None and kernel.failed and kernel.failed[0] == call else None

    async def _run(
        self, session: str, kernel: _Kernel, code: str, timeout_s: float, done: Execution, on_output: OnOutput | None
    ) -> None:
        """Whatever ends this, the code does not run on."""
        await _skip_old(kernel)
        message = kernel.client.execute(code, allow_stdin=False, stop_on_error=True)
        over = False
        try:
            async with asyncio.timeout(timeout_s):
                await self._listen(kernel, message, done, on_output)
            over = True
        except TimeoutError:
            done.end = "timeout"
        finally:
            if not over:
                patience = INTERRUPT_S if done.end == "timeout" else STOP_S
                done.ended = not await _to_the_end(self._interrupt(session, kernel, message, patience))
        if done.end == "died":
            done.ended = True
            if not await kernel.manager.is_alive():  # else a person has restarted it
                await self.shutdown(session)

    async def _listen(self, kernel: _Kernel, message: str, done: Execution, on_output: OnOutput | None) -> None:
        """Take what the kernel says of this piece of code until it is idle again."""
        from queue import Empty

        reply: Mapping[str, Any] | None = None
        while True:
            try:
                said = await kernel.client.get_iopub_msg(timeout=1.0)
            except Empty:
                if not await _same(kernel):
                    done.end = "died"
                    return
                if reply is not None:  # a flood of output has swallowed the last message
                    break
                reply = await _reply(kernel, message, 0)
                continue
            if said["parent_header"].get("msg_id") != message:
                continue
            kind, content = said["header"]["msg_type"], said["content"]
            if kind == "status" and content.get("execution_state") == "idle":
                break
            text = done.take(kind, content)
            if text and on_output is not None:
                await on_output(text)
        reply = reply or await _reply(kernel, message, REPLY_S)
        if reply is not None and reply.get("status") == "aborted":
            done.end, done.error = "error", "This was not run: code of somebody else in the same kernel failed before."
        elif reply is not None and reply.get("status") == "error" and done.end == "ok":
            done.failed(reply)

    async def _interrupt(self, session: str, kernel: _Kernel, message: str, patience_s: float) -> bool:
        """Stop what runs; whether the variables are kept. A kernel that does not react is ended."""
        stopped = Execution()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience_s):
                await kernel.manager.interrupt_kernel()
                await self._listen(kernel, message, stopped, None)
                if stopped.end != "died":
                    return True
        await self.shutdown(session)
        return False

    # --- kernels ---

    async def _kernel_of(self, session: str, workspace: Workspace) -> tuple[_Kernel, bool]:
        async with self._starting.setdefault(session, asyncio.Lock()):
            known = self._kernels.get(session)
            if known is not None and await known.manager.is_alive():
                if await _same(known):
                    return known, False
                with contextlib.suppress(PostdocError):  # a person has restarted it: the same kernel, without variables
                    await self._connect(known)
                    return known, True
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
        kernel = _Kernel(id, manager, folder, used=time.monotonic())
        try:
            await self._launch(owner, manager, id, workspace, folder)
            await self._connect(kernel)
        except BaseException:
            with contextlib.suppress(Exception):
                await _to_the_end(self._end(kernel))
            raise
        return kernel

    async def _connect(self, kernel: _Kernel) -> None:
        if kernel.client is not None:
            kernel.client.stop_channels()
        provisioner = kernel.manager.provisioner
        kernel.launch = provisioner.launches
        kernel.client = kernel.manager.client()
        kernel.client.start_channels()
        try:
            await kernel.client.wait_for_ready(timeout=START_S)
        except RuntimeError as e:
            raise _not_started(provisioner.last_words() or str(e)) from e

    async def _launch(self, owner: Any, manager: Any, id: str, workspace: Workspace, folder: Path) -> None:
        """What the owner's ``start_kernel`` does, with a program of our own."""
        from jupyterlab_postdoc.workspace.provisioner import SPEC, SandboxProvisioner

        (folder / "s").mkdir(mode=0o700)  # the only part that the sandbox can write to
        manager.transport, manager.ip = "ipc", str(folder / "s" / "k")
        manager.connection_file = str(folder / "kernel.json")
        manager.autorestart = False  # silently without its variables? No: the agent is told
        manager._kernel_spec = SPEC
        manager.provisioner = SandboxProvisioner(
            workspace=workspace, folder=folder, kernel_id=id, kernel_spec=SPEC, parent=manager
        )
        await manager.start_kernel(kernel_id=id)
        owner._kernels[id] = manager
        if hasattr(
            owner, "_finish_kernel_start"
        ):  # the Jupyter server's own: it shows, restarts, counts and culls them
            from jupyter_server._tz import utcnow
            from jupyter_server.prometheus.metrics import KERNEL_CURRENTLY_RUNNING_TOTAL

            owner._kernel_connections[id] = 0
            manager.execution_state, manager.reason, manager.last_activity = "starting", "", utcnow()
            KERNEL_CURRENTLY_RUNNING_TOTAL.labels(type=manager.kernel_name).inc()
            await owner._finish_kernel_start(id)
            if not owner._initialized_culler:
                owner.initialize_culler()

    def _our_own(self) -> Any:
        if self._own is None:
            from jupyter_client.multikernelmanager import AsyncMultiKernelManager

            self._own = AsyncMultiKernelManager()
        return self._own

    async def _sweep(self) -> None:
        while self._kernels or any(lock.locked() for lock in self._starting.values()):
            await asyncio.sleep(min(LOOK_EVERY_S, self._idle_s))
            for session, kernel in list(self._kernels.items()):
                if kernel.lock.locked():
                    continue
                if not await kernel.manager.is_alive() or _unused_s(kernel) > self._idle_s:
                    await self.shutdown(session)

    async def shutdown(self, session: str) -> None:
        """End the session's kernel, when it has one."""
        kernel = self._kernels.pop(session, None)
        if kernel is not None:
            await self._end(kernel)

    async def _end(self, kernel: _Kernel) -> None:
        owner = self._given if self._given is not None else self._own
        if kernel.client is not None:
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
        ended = await asyncio.gather(*(self.shutdown(session) for session in self._kernels), return_exceptions=True)
        for error in ended:
            if isinstance(error, BaseException):
                _log.warning("A kernel of an agent did not end as it should: %s", error)


async def _same(kernel: _Kernel) -> bool:
    """Whether the process that the client speaks with still lives."""
    return bool(await kernel.manager.is_alive()) and kernel.launch == kernel.manager.provisioner.launches


async def _skip_old(kernel: _Kernel) -> None:
    """What threads and other people's code have said since the last call: unread, it would crowd out the new."""
    from queue import Empty

    with contextlib.suppress(Empty):
        for _ in range(10_000):
            await kernel.client.get_iopub_msg(timeout=0)


async def _reply(kernel: _Kernel, message: str, wait_s: float) -> Mapping[str, Any] | None:
    """The kernel's answer to this piece of code, when it has come."""
    from queue import Empty

    with contextlib.suppress(Empty):
        while True:
            said = await kernel.client.get_shell_msg(timeout=wait_s)
            if said["parent_header"].get("msg_id") == message:
                content: Mapping[str, Any] = said["content"]
                return content
    return None


def _unused_s(kernel: _Kernel) -> float:
    """Seconds since an agent or a person at a console used it."""
    ours, seen = time.monotonic() - kernel.used, getattr(kernel.manager, "last_activity", None)
    if getattr(kernel.manager, "execution_state", "") == "busy":
        return 0.0
    return ours if seen is None else min(ours, time.time() - float(seen.timestamp()))


async def _to_the_end(work: Coroutine[Any, Any, T]) -> T:
    """Carry it out although we are being cancelled."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise


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
