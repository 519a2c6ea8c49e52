"""One reply of a provider, from its first byte to its end: streamed into the log, counted, cut off where asked."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import msgspec
from msgspec import Struct

from jupyterlab_postdoc.errors import PostdocError
from jupyterlab_postdoc.log import TextStream
from jupyterlab_postdoc.protocol import AgentStatus, new_id
from jupyterlab_postdoc.providers.base import (
    Cited,
    Provider,
    ServerTool,
    TextDelta,
    ThinkingDelta,
    ToolCall,
    ToolInputDelta,
    TurnEnd,
    TurnRequest,
    Usage,
    UsageSoFar,
)
from jupyterlab_postdoc.runs import RunContext, Stopped
from jupyterlab_postdoc.text_stream import INPUT_ITEM

SENTENCE_ENDS = (".", "!", "?", ":", "\n")


class Text(Struct, frozen=True):
    """One text of a reply and the item id under which it was streamed."""

    item: str
    content: str
    citations: list[dict[str, Any]] = []


class Reply(Struct, frozen=True):
    """One finished reply of the provider, as the journal keeps it. ``cost`` is US dollars, None when unknown."""

    texts: list[Text]
    calls: list[ToolCall]
    stop_reason: str
    usage: Usage | None = None
    steer: list[str] = []
    notes: list[str] = []
    thinking: list[Text] = []
    served: list[ServerTool] = []
    blocks: list[dict[str, Any]] | None = None
    model: str | None = None
    cost: float | None = None
    prices: str = ""
    duration_ms: int = 0

    @property
    def text(self) -> str:
        """All texts of the reply."""
        return "\n\n".join(text.content for text in self.texts if text.content)

    @property
    def items(self) -> set[str]:
        """The items that get their end with this reply's events."""
        return {text.item for text in [*self.texts, *self.thinking]} | {call.id + INPUT_ITEM for call in self.calls}

    @property
    def empty(self) -> bool:
        """Whether the model said and asked nothing."""
        return not self.text.strip() and not self.calls and not self.served


class Listener:
    """Hears one attempt at a reply. ``silent`` (a sub-agent) shows nothing while it forms.

    Some servers number the calls of every reply anew: a call whose id is ``taken`` gets one of ours, so that every id
    stands for one call.
    """

    def __init__(self, ctx: RunContext, name: str, *, taken: set[str], silent: bool = False) -> None:
        self.ctx = ctx
        self._taken = taken
        self._ids: dict[str, str] = {}
        self.silent = silent
        self.usage: Usage = {}
        self.chars = 0
        """Characters of everything the model has written, for an estimate when it is interrupted."""
        self._name = name
        self._items: dict[tuple[str, int | str], tuple[str, TextStream | _Quiet]] = {}
        self._calls: list[ToolCall] = []
        self._served: dict[str, ServerTool] = {}
        self._cited: dict[int, list[dict[str, Any]]] = {}
        self._speaking: TextStream | _Quiet | None = None
        self.began = time.monotonic()
        self.first_token_s: float | None = None

    @property
    def items(self) -> list[str]:
        """The ids of all items that were shown while they formed."""
        return [item for item, _ in self._items.values()]

    async def hear(self, provider: Provider, request: TurnRequest) -> Reply:
        """The whole reply. Raises Stopped at the edge of a sentence, and PostdocError when the reply was cut off."""
        end: TurnEnd | None = None
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(None) as clock:
                watch = loop.create_task(self._watch(clock))
                try:
                    async with contextlib.aclosing(_generator(provider.stream(request))) as events:
                        async for event in events:
                            if isinstance(event, TurnEnd):
                                end = event
                            else:
                                await self._take(event)
                finally:
                    watch.cancel()
        except TimeoutError:
            if self.ctx.cancel.how != "graceful":
                raise
            raise Stopped("graceful") from None
        if end is None:
            raise PostdocError(
                "provider_stream_error",
                "The reply was cut off before its end. Nothing of it was carried out.",
                next="Resume the run to ask again.",
                retryable=True,
            )
        return await self._reply(end, request)

    async def _watch(self, clock: asyncio.Timeout) -> None:
        """A graceful stop lets a sentence come to its end; where none is being said, it need not wait for one."""
        if await self.ctx.cancel.wait() == "graceful" and self._may_end():
            clock.reschedule(asyncio.get_running_loop().time())

    def _may_end(self) -> bool:
        return self._speaking is None or self._speaking.text.rstrip(" ").endswith(SENTENCE_ENDS)

    async def _take(self, event: Any) -> None:
        if self.first_token_s is None and not isinstance(event, UsageSoFar):
            self.first_token_s = time.monotonic() - self.began
        if isinstance(event, TextDelta):
            self._speaking = self._stream("token", event.block)
            await self._write(self._speaking, event.text)
        elif isinstance(event, ThinkingDelta):
            self._speaking = None
            await self._write(self._stream("thinking", event.block), event.text)
        elif isinstance(event, ToolInputDelta):
            self._speaking = None
            await self._write(self._stream("tool_input", self._own(event.id), event.name), event.text)
        elif isinstance(event, ToolCall):
            self._call(event)
        elif isinstance(event, UsageSoFar):
            self.usage = event.usage
        elif isinstance(event, Cited):
            source = {"url": event.url, "title": event.title, "text": event.text}
            self._cited.setdefault(event.block, []).append(source)
        elif isinstance(event, ServerTool):
            self._speaking = None
            await self._serve(event)
        if self.ctx.cancel.how == "graceful" and self._may_end():
            raise Stopped("graceful")

    async def _write(self, stream: TextStream | _Quiet, text: str) -> None:
        self.chars += len(text)
        await stream.write(text)

    def _own(self, id: str) -> str:
        """The id by which this call is known here."""
        if id not in self._ids:
            self._ids[id] = new_id("toolu") if id in self._taken else id
            self._taken.add(self._ids[id])
        return self._ids[id]

    def _call(self, call: ToolCall) -> None:
        id = self._own(call.id)
        if any(other.id == id for other in self._calls):
            self._taken.add(id := new_id("toolu"))
        self._calls.append(msgspec.structs.replace(call, id=id))

    def _blocks(self, end: TurnEnd) -> list[dict[str, Any]] | None:
        """The provider's form of the reply, with the ids that its calls have here."""
        asked = [block for block in end.blocks or [] if block.get("type") == "tool_use"]
        if end.blocks is None or len(asked) != len(self._calls):
            return end.blocks
        ids = iter(self._calls)
        return [{**block, "id": next(ids).id} if block.get("type") == "tool_use" else block for block in end.blocks]

    async def _serve(self, event: ServerTool) -> None:
        if event.ok is None and not self.silent:
            await self.ctx.emit(AgentStatus(message=served_title(event)))
        self._served[event.id] = event

    def _stream(self, kind: str, block: int | str, name: str = "") -> TextStream | _Quiet:
        key = (kind, block)
        if key not in self._items:
            item = (
                f"{block}{INPUT_ITEM}" if kind == "tool_input" else f"{self._name}.{'th' * (kind == 'thinking')}{block}"
            )
            self._items[key] = (item, _Quiet() if self.silent else self.ctx.text(item, kind, name))
        return self._items[key][1]

    async def _reply(self, end: TurnEnd, request: TurnRequest) -> Reply:
        for _, stream in self._items.values():
            await stream.flush()
        return Reply(
            texts=[Text(item, text, self._cited.get(block, [])) for item, text, block in self._texts("token")],
            calls=self._calls if end.stop_reason == "tool_use" else [],
            stop_reason=end.stop_reason,
            usage=end.usage,
            steer=list(request.steer),
            notes=list(request.notes),
            thinking=[Text(item, text) for item, text, _ in self._texts("thinking")],
            served=[event for event in self._served.values() if event.ok is not None],
            blocks=self._blocks(end),
            model=end.model,
            duration_ms=round(1000 * (time.monotonic() - self.began)),
        )

    def _texts(self, kind: str) -> list[tuple[str, str, Any]]:
        return [(item, stream.text, block) for (of, block), (item, stream) in self._items.items() if of == kind]


class _Quiet:
    """Stands where a text stream is, and shows nothing."""

    def __init__(self) -> None:
        self._parts: list[str] = []

    @property
    def text(self) -> str:
        return "".join(self._parts)

    async def write(self, delta: str) -> None:
        self._parts.append(delta)

    async def flush(self) -> None:
        pass


async def _generator(events: AsyncIterator[Any]) -> AsyncGenerator[Any, None]:
    """An async generator around any iterator, so that it can be closed."""
    try:
        async for event in events:
            yield event
    finally:
        close = getattr(events, "aclose", None)
        if close is not None:
            await close()


def served_title(event: ServerTool) -> str:
    """A server tool's call in plain words."""
    what = str(event.input.get("query") or event.input.get("url") or "")[:100]
    return f"Searching the web: {what}" if event.name == "web_search" else f"Reading a web page: {what}"


def reply_of(stored: Any) -> Reply:
    """A reply from the journal."""
    return msgspec.convert(stored, Reply)
