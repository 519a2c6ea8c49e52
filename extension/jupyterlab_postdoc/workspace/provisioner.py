"""Starts a Jupyter kernel as one of our own programs: in the sandbox, below the supervisor, with a clean environment.

Imported when the first kernel is started: it needs jupyter_client.
"""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from typing import Any, cast

from jupyter_client.connect import KernelConnectionInfo
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.provisioning.provisioner_base import KernelProvisionerBase

from jupyterlab_postdoc.workspace.processes import Process, spawn
from jupyterlab_postdoc.workspace.workspace import Workspace

# No file of the project may shadow a module of the kernel's own while it starts; afterwards its modules are importable.
LOOK_HERE = '--IPKernelApp.exec_lines=__import__("sys").path.insert(0, "")'
SPEC = KernelSpec(
    argv=["python", "-P", "-m", "ipykernel_launcher", "-f", "{connection_file}", LOOK_HERE],
    display_name="Agent (sandboxed Python)",
    language="python",
    interrupt_mode="message",
)


class SandboxProvisioner(KernelProvisionerBase):
    """The process of one kernel. ``folder`` holds its connection file and sockets; the sandbox sees it."""

    def __init__(self, *, workspace: Workspace, folder: Path, **fields: Any) -> None:
        super().__init__(**fields)
        self._workspace = workspace
        self._folder = folder
        self._process: Process | None = None
        self._drains: list[asyncio.Task[None]] = []
        self._said = bytearray()
        self.launches = 0

    def last_words(self) -> str:
        """The last line that the process wrote to its own output: why it did not start."""
        lines = self._said.decode("utf-8", "replace").strip().splitlines()
        return lines[-1] if lines else ""

    @property
    def has_process(self) -> bool:
        return self._process is not None

    async def poll(self) -> int | None:
        return None if self._process is not None and self._process.running else 0

    async def wait(self) -> int | None:
        process, self._process = self._process, None
        if process is None:
            return 0
        code = await process.wait()
        await process.discard()
        for task in self._drains:
            task.cancel()
        return code

    async def send_signal(self, signum: int) -> None:
        if self._process is None:
            return
        if signum == signal.SIGINT:
            self._process.interrupt()
        elif signum != 0:
            await self._process.kill(0.0 if signum == signal.SIGKILL else 0.5)

    async def kill(self, restart: bool = False) -> None:  # noqa: ARG002
        await self.send_signal(signal.SIGKILL)

    async def terminate(self, restart: bool = False) -> None:  # noqa: ARG002
        await self.send_signal(signal.SIGTERM)

    async def pre_launch(self, **kwargs: Any) -> dict[str, Any]:
        """Sockets in a folder take the place of ports: in the sandbox there is no network."""
        manager = cast(Any, self.parent)
        manager.write_connection_file()
        self.connection_info = manager.get_connection_info()
        kwargs.pop("extra_arguments", None)
        return await super().pre_launch(cmd=manager.format_kernel_cmd(), **kwargs)

    async def launch_kernel(self, cmd: list[str], **_: Any) -> KernelConnectionInfo:
        place, sandbox = self._workspace, self._workspace.sandbox
        process = await spawn(
            sandbox.wrap(
                [str(place.python), *cmd[1:]],
                root=place.root,
                readonly=[*place.readonly, self._folder],
                writable=[self._folder / "s"],
            ),
            cwd=place.root,
            env={**place.env(), "IPYTHONDIR": str(self._folder / "s" / "ipython")},
            limits=place.limits,
        )
        self._process = process
        self.launches += 1
        self._said.clear()
        self._drains = [asyncio.create_task(self._drain(stream)) for stream in (process.stdout, process.stderr)]
        return self.connection_info

    async def cleanup(self, restart: bool = False) -> None:  # noqa: ARG002
        if self._process is not None:
            await self._process.discard()

    async def _drain(self, stream: asyncio.StreamReader | None) -> None:
        """What a kernel prints before it speaks must not fill the pipe; only the end of it is of interest."""
        while stream is not None and (data := await stream.read(1 << 16)):
            self._said += data
            del self._said[:-2000]
