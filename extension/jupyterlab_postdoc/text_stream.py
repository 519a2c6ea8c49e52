"""Partial text: small pieces in, one committed event per ~50 ms out."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from .protocol import Body, Event, Thinking, Token, ToolInput, ToolOutput
from .secrets import StreamRedactor

BUCKET_S = 0.05
MAX_DELTA = 32_768
"""Characters per partial frame, so that a flood of output keeps within the size of a frame."""


INPUT_ITEM = ".in"
"""The input of call ``t1`` forms as item ``t1.in``, so that it is not taken for the call's output."""


def partial_body(type: str, item: str, delta: str, name: str = "") -> Body:
    """The body of one partial frame. ``name`` is the tool of a ``tool_input``."""
    if type == "token":
        return Token(itemId=item, delta=delta)
    if type == "thinking":
        return Thinking(itemId=item, delta=delta)
    if type == "tool_output":
        return ToolOutput(toolId=item, delta=delta)
    if type == "tool_input":
        return ToolInput(toolId=item.removesuffix(INPUT_ITEM), toolName=name, delta=delta)
    raise ValueError(f"no partial frames of type {type!r}")


class TextStream:
    """Collects deltas of one item and commits them in buckets; the first one of a quiet item goes out at once.

    One background task per busy period, not per event. End it by a final event with ``Draft(…, replaces=item)`` after
    ``flush()`` (:meth:`RunContext.emit` does that by itself). Secrets of this server are taken out on the way, also
    where they come in pieces.
    """

    def __init__(
        self,
        append: Callable[[Sequence[Body]], Awaitable[list[Event]]],
        item: str,
        type: str,
        bucket_s: float = BUCKET_S,
        name: str = "",
    ) -> None:
        partial_body(type, item, "")
        self.name = name
        self.item = item
        self.type = type
        self.first_seq: int | None = None
        self.last_seq: int | None = None
        self._append = append
        self._bucket_s = bucket_s
        self._parts: list[str] = []
        self._buffer: list[str] = []
        self._error: Exception | None = None
        self._closed = False
        self._redactor = StreamRedactor()
        self._hurry = asyncio.Event()
        self._pump: asyncio.Task[None] | None = None

    @property
    def text(self) -> str:
        """All that was written so far."""
        if len(self._parts) > 1:
            self._parts = ["".join(self._parts)]
        return self._parts[0] if self._parts else ""

    def _check(self) -> None:
        if self._error is not None:
            raise self._error

    async def write(self, delta: str) -> None:
        """Add text. Does not wait for the disk; an earlier failure is raised here, once more at every call."""
        self._check()
        if self._closed:
            raise RuntimeError("the text is final already")
        self._take(self._redactor.feed(delta))

    def _take(self, clean: str) -> None:
        if not clean:
            return
        self._parts.append(clean)
        self._buffer.append(clean)
        if self._pump is None or self._pump.done():
            self._hurry.clear()
            self._pump = asyncio.create_task(self._run(), name=f"text {self.item}")

    async def flush(self) -> None:
        """Everything written so far is committed and published, or the failure is raised."""
        self._take(self._redactor.flush())
        self._hurry.set()
        while (self._buffer and self._error is None) or (self._pump is not None and not self._pump.done()):
            if self._pump is None or self._pump.done():
                self._pump = asyncio.create_task(self._run(), name=f"text {self.item}")
            self._hurry.set()
            await asyncio.wait([self._pump])
        self._check()

    async def close(self) -> None:
        """Before the final event: nothing more is sent. What was not sent yet need not be: the final event holds it."""
        self._closed = True
        if rest := self._redactor.flush():
            self._parts.append(rest)
        self._buffer.clear()
        self._hurry.set()
        if self._pump is not None and not self._pump.done():
            await asyncio.wait([self._pump])

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while self._buffer and self._error is None:
            due = loop.time() + self._bucket_s
            text = "".join(self._buffer)
            self._buffer.clear()
            bodies = [
                partial_body(self.type, self.item, text[i : i + MAX_DELTA], self.name)
                for i in range(0, len(text), MAX_DELTA)
            ]
            try:
                events = await self._append(bodies)
            except Exception as error:  # noqa: BLE001 - a task's edge: the next write or flush raises it
                self._error = error
                return
            self.first_seq = events[0].seq if self.first_seq is None else self.first_seq
            self.last_seq = events[-1].seq
            await self._pause(due - loop.time())

    async def _pause(self, seconds: float) -> None:
        if seconds <= 0 or self._hurry.is_set():
            return
        try:
            async with asyncio.timeout(seconds):
                await self._hurry.wait()
        except TimeoutError:
            pass
