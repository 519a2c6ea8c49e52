"""Starts programs so that all of their processes end when they should: at the end, a timeout, a stop, our death.

Every program runs below a small supervisor (supervisor.py), which owns the process tree and watches a socket to us.
"""

from __future__ import annotations

import asyncio
import codecs
import json
import socket
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from jupyterlab_postdoc.errors import PostdocError

End = Literal["exit", "timeout", "stopped", "memory", "processes"]
OnOutput = Callable[[str], Awaitable[None]]

SUPERVISOR = Path(__file__).with_name("supervisor.py")
CHUNK = 1 << 16
GONE_S = 8.0  # the supervisor sweeps for at most 5 s; after this it is killed itself


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of a program: ``memory_bytes`` of address space for each process, ``total_bytes`` resident in all of them.

    ``total_bytes`` None means the same as ``memory_bytes``.
    """

    memory_bytes: int | None = 4 << 30
    file_bytes: int | None = 2 << 30
    open_files: int | None = 4096
    processes: int = 512
    total_bytes: int | None = None

    def options(self, fds: Sequence[int] = ()) -> str:
        """What supervisor.py reads; ``fds`` are descriptors that the program inherits."""
        return json.dumps(
            {
                "memory": self.memory_bytes,
                "total": self.total_bytes or self.memory_bytes,
                "file": self.file_bytes,
                "files": self.open_files,
                "core": 0,
                "processes": self.processes,
                "fds": list(fds),
            }
        )


@dataclass(frozen=True, slots=True)
class Completed:
    """A program that ended. Texts hold at most ``max_output`` bytes each, head and tail.

    ``truncated`` counts the bytes left out; a negative ``returncode`` is the signal that ended the program.
    """

    returncode: int
    stdout: str
    stderr: str
    duration_s: float
    end: End = "exit"
    truncated: int = 0

    @property
    def timed_out(self) -> bool:
        return self.end == "timeout"


class Capture:
    """Keeps the head and the tail of a stream, and counts what falls out between them."""

    def __init__(self, limit: int) -> None:
        self.limit, self.half = limit, limit // 2
        self.head, self.tail = bytearray(), bytearray()
        self.seen = 0

    def add(self, data: bytes) -> None:
        self.seen += len(data)
        room = self.half - len(self.head)
        if room > 0:
            self.head += data[:room]
            data = data[room:]
        self.tail += data
        if len(self.tail) > 2 * self.half:
            del self.tail[: -self.half or None]

    @property
    def left_out(self) -> int:
        return self.seen - len(self.head) - min(len(self.tail), self.half)

    def text(self) -> str:
        gap = f"\n… {self.left_out:,} bytes left out …\n".encode() if self.left_out else b""
        tail = self.tail[-self.half :] if self.half else b""
        return bytes(self.head + gap + tail).decode("utf-8", "replace")


class Process:
    """A running program and everything it started. ``pid`` is the supervisor's."""

    def __init__(self, inner: asyncio.subprocess.Process, control: socket.socket, name: str) -> None:
        self._inner, self._control, self._name = inner, control, name
        self._status: dict[str, Any] | None = None
        self.pid = inner.pid
        self.stdin, self.stdout, self.stderr = inner.stdin, inner.stdout, inner.stderr

    @property
    def running(self) -> bool:
        return self._inner.returncode is None

    @property
    def end(self) -> End:
        """Why it ended; "exit" while it runs."""
        end: End = (self._status or {}).get("end", "exit")
        return end

    async def wait(self) -> int:
        """The exit code; negative is a signal. When it returns, the whole tree is gone."""
        await self._inner.wait()
        if self._status is None:
            data = b""
            with suppress(OSError):
                data = self._control.recv(4096)
            self._status = json.loads(data) if data else {"code": -9, "end": "stopped"}
            self.close()
        if "error" in self._status:
            raise PostdocError(
                "tool_failed",
                f"The program {self._name!r} could not be started: {self._status['error']}.",
                next="Check that it is installed and on the PATH.",
            )
        return int(self._status["code"])

    def interrupt(self) -> None:
        """Ctrl-C to the program and its process group."""
        self._tell(b"i")

    async def kill(self, grace_s: float = 0.5) -> None:
        """SIGTERM to the program, after ``grace_s`` SIGKILL to the whole tree. Returns when all of it is gone."""
        if grace_s > 0 and self.running:
            self._tell(b"t")
            with suppress(TimeoutError):
                await asyncio.wait_for(self._inner.wait(), grace_s)
        self._tell(b"k")
        try:
            await asyncio.wait_for(self._inner.wait(), GONE_S)
        except TimeoutError:
            with suppress(ProcessLookupError):
                self._inner.kill()
        with suppress(PostdocError):
            await self.wait()

    def close(self) -> None:
        """End everything without waiting: the supervisor sees the socket close. For cancelled tasks and ``finally``."""
        self._control.close()
        if self.stdin is not None:
            self.stdin.close()

    async def discard(self) -> None:
        """End everything now, wait until it is gone, and give back the pipes. Safe to call twice and while being
        cancelled.
        """
        if self.running:
            await asyncio.shield(asyncio.ensure_future(self.kill(grace_s=0)))
        self.close()
        transport = getattr(self._inner, "_transport", None)
        if transport is not None:  # asyncio closes it only when every pipe has been read to its end
            transport.close()

    def _tell(self, order: bytes) -> None:
        with suppress(OSError):
            self._control.send(order)


async def spawn(
    argv: Sequence[str],
    *,
    cwd: Path,
    env: Mapping[str, str],
    limits: Limits | None = None,
    stdin: bool = False,
    merge: bool = False,
    line_limit: int = CHUNK,
    fds: Sequence[int] = (),
) -> Process:
    """Start ``argv`` with exactly ``env``; ``merge`` sends stderr to stdout. ``line_limit`` bounds ``stdout.readline``.
    The program inherits the descriptors ``fds`` by their numbers.

    Raises PostdocError("tool_failed") when the folder is missing; a missing program raises it from ``wait``.
    """
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    pipe = asyncio.subprocess.PIPE
    command = [
        sys.executable,
        "-I",
        "-S",
        "-E",
        str(SUPERVISOR),
        str(theirs.fileno()),
        (limits or Limits()).options(fds),
    ]
    try:
        inner = await asyncio.create_subprocess_exec(
            *command,
            "--",
            *argv,
            cwd=cwd,
            env=dict(env),
            stdin=pipe if stdin else asyncio.subprocess.DEVNULL,
            stdout=pipe,
            stderr=asyncio.subprocess.STDOUT if merge else pipe,
            start_new_session=True,
            pass_fds=(theirs.fileno(), *fds),
            limit=line_limit,
        )
    except BaseException as error:
        ours.close()
        if isinstance(error, OSError):
            raise PostdocError("tool_failed", f"The program {argv[0]!r} could not be started: {error}.") from error
        raise
    finally:
        theirs.close()
    return Process(inner, ours, argv[0])


async def run(
    argv: Sequence[str],
    *,
    cwd: Path,
    env: Mapping[str, str],
    timeout: float,
    limits: Limits | None = None,
    on_output: OnOutput | None = None,
    max_output: int = 1_000_000,
    input: bytes | None = None,
    merge: bool = False,
) -> Completed:
    """Run ``argv`` to its end; a cancelled task or a timeout takes the whole tree with it and keeps the output so
    far.
    """
    began = time.monotonic()
    process = await spawn(argv, cwd=cwd, env=env, limits=limits, stdin=input is not None, merge=merge)
    out, err = Capture(max_output), Capture(max_output)
    readers = [asyncio.create_task(_pump(process.stdout, out, on_output))]
    if not merge:
        readers.append(asyncio.create_task(_pump(process.stderr, err, on_output)))
    if input is not None:
        readers.append(asyncio.create_task(_feed(process, input)))
    timed_out = False
    try:
        try:
            code = await asyncio.wait_for(process.wait(), timeout)
        except TimeoutError:
            timed_out = True
            await process.kill(grace_s=0.3)
            code = await process.wait()
        await asyncio.gather(*readers)
    finally:
        for task in readers:
            task.cancel()
        await process.discard()
    end: End = "timeout" if timed_out else process.end
    took = time.monotonic() - began
    return Completed(code, out.text(), err.text(), took, end, out.left_out + err.left_out)


async def _pump(stream: asyncio.StreamReader | None, capture: Capture, on_output: OnOutput | None) -> None:
    """Read to the end. Beyond the limit nothing is passed on, and short pauses keep a flood from filling the loop."""
    assert stream is not None
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    while data := await stream.read(CHUNK):
        capture.add(data)
        if capture.seen > capture.limit:
            await asyncio.sleep(0.001)
        elif on_output is not None and (text := decoder.decode(data)):
            await on_output(text)


async def _feed(process: Process, data: bytes) -> None:
    assert process.stdin is not None
    with suppress(ConnectionError):
        process.stdin.write(data)
        await process.stdin.drain()
    process.stdin.close()
