"""A server that is a program of ours: it runs below the supervisor, which ends all of it whatever happens to us."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import mcp_types
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.shared.message import SessionMessage

from jupyterlab_postdoc.connectors.offers import line
from jupyterlab_postdoc.errors import PostdocError
from jupyterlab_postdoc.secrets import redact
from jupyterlab_postdoc.workspace.processes import Limits, Process, spawn

if TYPE_CHECKING:
    from jupyterlab_postdoc.connectors.link import Link

MAX_MESSAGE = 8 << 20
"""Bytes of one message: a result with its pictures."""
LIMITS = Limits(memory_bytes=None, total_bytes=4 << 30)
"""Resident memory only: JavaScript's and Go's runtimes reserve far more addresses than they use."""
LEAVE_S, TERM_S = 2.0, 1.0
LOG_LINE, LOG_LINES, LOG_S = 500, 100, 60.0
LONGEST_LINE = 4 * LOG_LINE
PAUSE_S = 0.001
"""Between two pieces of error output: a program that floods it does not fill the loop."""

Streams = tuple[MemoryObjectReceiveStream[SessionMessage | Exception], MemoryObjectSendStream[SessionMessage]]

_log = logging.getLogger(__name__)


@asynccontextmanager
async def program(link: Link, env: Mapping[str, str]) -> AsyncIterator[AbstractAsyncContextManager[Streams]]:
    """Start the program; when this is left, all of its processes are gone.

    Raises PostdocError that says how the program ended, when that is what broke the connection.
    """
    entry = link.server.entry
    argv = [entry.command or "", *map(str, entry.args)]
    if not Path(link.server.folder).is_dir():
        raise PostdocError("tool_failed", f"{link.title} cannot be started: its folder does not exist.")
    process = await spawn(
        argv, cwd=Path(link.server.folder), env=env, limits=LIMITS, stdin=True, line_limit=MAX_MESSAGE
    )
    pipes = Pipes(link, process)
    try:
        yield pipes.streams()
    except Exception as e:
        if link.stopping or (why := await pipes.why()) is None:
            raise
        raise PostdocError("tool_failed", why) from e
    else:
        if not link.stopping and (why := await pipes.why()) is not None:
            raise PostdocError("tool_failed", why)
    finally:
        with anyio.CancelScope(shield=True):
            await pipes.close()


class Pipes:
    """Carries messages between a program and the client: a line of JSON each."""

    def __init__(self, link: Link, process: Process) -> None:
        self._link, self._process = link, process
        self._errors = Complaints(link.server.name)
        self._in, self._received = anyio.create_memory_object_stream[SessionMessage | Exception](0)
        self._sent, self._out = anyio.create_memory_object_stream[SessionMessage](0)
        self._why = ""
        self._reader = asyncio.create_task(self._read())
        self._tasks = [self._reader, asyncio.create_task(self._write()), asyncio.create_task(self._complain())]

    @asynccontextmanager
    async def streams(self) -> AsyncIterator[Streams]:
        """What the client reads from and writes to."""
        yield self._received, self._sent

    async def why(self) -> str | None:
        """A sentence about how the program ended; None when it still runs."""
        await asyncio.wait([self._reader], timeout=0.5)
        if not self._reader.done():
            return self._why or None
        said = f" It said last: {self._errors.last}" if self._errors.last else ""
        return f"{self._why or self._link.title + ' has ended.'}{said}"

    async def _read(self) -> None:
        assert self._process.stdout is not None
        try:
            async with self._in:
                while data := await self._process.stdout.readline():
                    try:
                        message = mcp_types.jsonrpc_message_adapter.validate_json(data, by_name=False)
                    except ValueError:  # a program that prints: heard, but no message
                        self._errors.say(data)
                        await asyncio.sleep(0)
                        continue
                    await self._in.send(SessionMessage(message))
        except ValueError:
            self._why = f"{self._link.title} sent a message of more than {MAX_MESSAGE >> 20} MiB and was ended."
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            pass  # the client has left
        else:
            self._why = await self._ending()
        self._link.lose()
        while await self._process.stdout.read(1 << 16):
            pass  # a program that cannot write cannot end

    async def _ending(self) -> str:
        """How the program ended, after it has closed its output."""
        try:
            code = await asyncio.wait_for(self._process.wait(), LEAVE_S)
        except TimeoutError:
            return f"{self._link.title} closed its output."
        except PostdocError as e:
            return f"{self._link.title} does not run. {e.message}"
        if self._process.end == "memory":
            return f"{self._link.title} used more than {(LIMITS.total_bytes or 0) >> 30} GiB of memory and was ended."
        if self._process.end == "processes":
            return f"{self._link.title} started more than {LIMITS.processes} processes and was ended."
        return f"{self._link.title} ended with the exit code {code}; it is started again when it is needed."

    async def _write(self) -> None:
        assert self._process.stdin is not None
        with suppress(ConnectionError, anyio.BrokenResourceError, anyio.ClosedResourceError):
            async with self._out:
                async for sent in self._out:
                    text = sent.message.model_dump_json(by_alias=True, exclude_unset=True)
                    self._process.stdin.write(text.encode() + b"\n")
                    await self._process.stdin.drain()

    async def _complain(self) -> None:
        assert self._process.stderr is not None
        while data := await self._process.stderr.read(1 << 16):
            self._errors.add(data)
            await asyncio.sleep(PAUSE_S)
        self._errors.add(b"")

    async def close(self) -> None:
        """Close its input and let it end by itself; then a signal; then everything is killed."""
        self._in.close()
        self._received.close()
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            with suppress(TimeoutError, PostdocError):
                await asyncio.wait_for(self._process.wait(), LEAVE_S)
            if self._process.running:
                await self._process.kill(TERM_S)
        finally:
            for task in self._tasks:
                task.cancel()
            await self._process.discard()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            for stream in (self._in, self._received, self._sent, self._out):
                stream.close()


class Complaints:
    """What a program says beside its messages: so much of it goes to the server's log, and its last line is kept."""

    def __init__(self, name: str) -> None:
        self._name, self.last = line(name, 60), ""
        self._since, self._lines, self._left_out = time.monotonic(), 0, 0
        self._rest, self._skip = b"", False

    def add(self, data: bytes) -> None:
        """A piece of its error output; an empty one at its end. Lines are put together: no secret is cut in two."""
        *lines, rest = (self._rest + (data or b"\n")).split(b"\n")
        if self._skip and lines:
            del lines[0]
            self._skip = False
        if len(rest) > LONGEST_LINE:
            if not self._skip:
                lines.append(rest)
            self._skip, rest = True, b""
        self._rest = rest
        if self._lines > LOG_LINES and len(lines) > 2:  # nobody will read them
            self._left_out += len(lines) - 2
            lines = lines[-2:]
        for raw in lines:
            self.say(raw)

    def say(self, raw: bytes) -> None:
        """A whole line."""
        text = line(redact(raw[:LONGEST_LINE].decode("utf-8", "replace")), LOG_LINE)
        if text:
            self.last = text[:200]
            self._write(text)

    def _write(self, text: str) -> None:
        now = time.monotonic()
        if now - self._since > LOG_S:
            if self._left_out:
                _log.info("MCP server %s: %d more lines", self._name, self._left_out)
            self._since, self._lines, self._left_out = now, 0, 0
        self._lines += 1
        if self._lines <= LOG_LINES:
            _log.info("MCP server %s: %s", self._name, text)
        else:
            self._left_out += 1
