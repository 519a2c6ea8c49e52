"""JSON lines to a notebook process (worker/serve.py, worker/live.py), in the sandbox.

It shares its sandbox with the notebook's own code, so what it says is data from a stranger: typed, sized and checked
here and in messages.py. Requests may overlap; each has its own queue of answers.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import msgspec

from jupyterlab_postdoc.errors import HTTP_STATUS, PostdocError
from jupyterlab_postdoc.notebooks import messages
from jupyterlab_postdoc.workspace.processes import Capture, Process

LINE = 16 << 20
WAITING = 4_000  # answers of one request that nobody has taken yet; beyond it the process has to wait
THREADS = str(min(4, os.cpu_count() or 1))
ENV = {
    "OPENBLAS_NUM_THREADS": THREADS,
    "OMP_NUM_THREADS": THREADS,
    "POLARS_MAX_THREADS": THREADS,
    "MARIMO_SKIP_UPDATE_CHECK": "1",
    "PYTHONDONTWRITEBYTECODE": "1",
}
OURS = 768 << 20  # beside the kernel: worker 70 MB, the process it is forked from 200 MB, page renderer 110 MB and more
KILLED = {-signal.SIGKILL, -signal.SIGTERM, 128 + signal.SIGKILL, 128 + signal.SIGTERM}
"""Exit codes of a process that somebody ended; the sandbox gives them as a shell does."""
OnUnasked = Callable[[Mapping[str, Any]], None]
OnDeath = Callable[["WorkerDied"], object]


class WorkerDied(Exception):
    """The process ended before it answered; ``end`` is how (memory, timeout, crashed), ``why`` its last words."""

    def __init__(self, end: str, why: str) -> None:
        super().__init__(why)
        self.end, self.why = end, why

    def as_error(self) -> PostdocError:
        message = f"The notebook's process ended before it answered ({self.why})."
        return PostdocError(
            "notebook_failed", message, next="Try again; the notebook file is as it was.", retryable=True
        )


class Worker:
    """The process and its pipes. ``on_unasked`` hears the events that belong to no request, ``on_death`` the end."""

    def __init__(self, process: Process, on_unasked: OnUnasked | None = None, on_death: OnDeath | None = None) -> None:
        self.process = process
        self.number = 0
        self.errors = Capture(32_000)
        self.on_unasked, self.on_death = on_unasked, on_death
        self.drain = asyncio.create_task(self._drain())
        self.dead: WorkerDied | None = None
        self.death = asyncio.Event()
        self._waiting: dict[int, asyncio.Queue[Mapping[str, Any] | None]] = {}
        self.reader = asyncio.create_task(self._read())

    @property
    def requests(self) -> int:
        """Requests that have not been answered yet."""
        return len(self._waiting)

    def say(self, request: Mapping[str, Any]) -> None:
        assert self.process.stdin is not None
        with suppress(OSError, RuntimeError):
            self.process.stdin.write(json.dumps(request).encode() + b"\n")

    async def ask(
        self,
        request: Mapping[str, Any],
        on_event: messages.OnEvent | None = None,
        *,
        on_number: Callable[[int], None] | None = None,
    ) -> dict[str, Any]:
        """The result. Raises PostdocError for an error that the worker tells, WorkerDied when it ends or talks
        nonsense. ``on_number`` is told the request's number before it is sent.
        """
        self.number += 1
        number = self.number
        if on_number is not None:
            on_number(number)
        queue = self._waiting[number] = asyncio.Queue(WAITING)
        try:
            if self.dead is not None:
                raise self.dead
            self.say({**request, "id": number})
            while (message := await queue.get()) is not None:
                if isinstance(event := message.get("event"), dict):
                    if on_event is not None:
                        await on_event(event)
                elif isinstance(problem := message.get("error"), dict):
                    raise told(problem)
                elif isinstance(result := message.get("result"), dict):
                    return result
            raise self.dead or WorkerDied("crashed", "it ended")
        finally:
            self._waiting.pop(number, None)

    async def stop(self) -> None:
        """End it and everything it started, at once."""
        await self.process.discard()
        await asyncio.wait({self.drain, self.reader}, timeout=1)
        self.drain.cancel()
        self.reader.cancel()

    async def _read(self) -> None:
        assert self.process.stdout is not None
        died = WorkerDied("crashed", "it was stopped")
        try:
            while line := await self.process.stdout.readline():
                await self._message(msgspec.json.decode(line))
            with suppress(PostdocError):
                died = await self._death()
        except (ValueError, msgspec.DecodeError):
            died = WorkerDied("crashed", "it sent something unreadable")
        finally:
            self._over(died)

    def _over(self, died: WorkerDied) -> None:
        self.dead = died
        self.death.set()
        if self.on_death is not None:
            self.on_death(died)
        for queue in self._waiting.values():
            if queue.full():
                queue.get_nowait()
            queue.put_nowait(None)

    async def _message(self, message: object) -> None:
        if not isinstance(message, dict):
            return
        number = message.get("id")
        if number == 0:
            if self.on_unasked is not None and isinstance(event := message.get("event"), dict):
                self.on_unasked(event)
        elif isinstance(number, int):
            queue = self._waiting.get(number)
            while queue is not None and queue.full():  # whoever asked is slow, or has gone
                await asyncio.sleep(0.01)
                queue = self._waiting.get(number)
            if queue is not None:
                queue.put_nowait(message)

    async def _death(self) -> WorkerDied:
        code = await self.process.wait()
        await asyncio.wait({self.drain}, timeout=1)
        end = "memory" if self.process.end == "memory" else "crashed"
        last = [line for line in self.errors.text().splitlines() if line.strip()][-1:]
        why = {"processes": "it started too many processes", "stopped": "it was stopped"}.get(self.process.end)
        if code in KILLED:
            return WorkerDied(end, why or "it was killed")  # what it said before has nothing to do with it
        return WorkerDied(end, why or f"exit code {code}" + (f": {last[0][:300]}" if last else ""))

    async def _drain(self) -> None:
        """What marimo and the notebook print: kept short, read always, so that nobody waits for us."""
        assert self.process.stderr is not None
        while data := await self.process.stderr.read(1 << 16):
            self.errors.add(data)


def told(error: Mapping[str, Any]) -> PostdocError:
    """An error of the worker as ours; only known codes and plain details pass."""
    code = str(error.get("code"))
    details = {k: v for k, v in error.items() if k in ("cell", "theirs")}
    if isinstance(after := error.get("after"), str):
        details["after"] = after
    if isinstance(cells := error.get("cells"), list):
        details["cells"] = [str(cell) for cell in cells]
    return PostdocError(
        code if code in HTTP_STATUS else "notebook_failed",
        str(error.get("message", ""))[:2000],
        next=str(error.get("next", ""))[:2000],
        **details,
    )
