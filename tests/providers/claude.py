"""What the tests of Claude's provider share: a provider at a model server, and requests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

from jupyterlab_postdoc.errors import PostdocError
from jupyterlab_postdoc.protocol import ImageRef
from jupyterlab_postdoc.providers.anthropic import AnthropicProvider
from jupyterlab_postdoc.providers.base import (
    Exchange,
    ModelEvent,
    TextDelta,
    ToolCall,
    ToolOutcome,
    Turn,
    TurnEnd,
    TurnRequest,
)

KEY = "sk-ant-test-0123456789abcdef"
HAIKU = "claude-haiku-5-5"
PLAN = {"name": "plan", "description": "Shows a plan.", "input_schema": {"type": "object", "properties": {}}}


def request(prompt: str = "Hello", **fields: Any) -> TurnRequest:
    given: dict[str, Any] = {"system": "Be brief.", "model": HAIKU, "tools": [PLAN], "earlier": [], "turns": []}
    return TurnRequest("chat", "run", {}, **{**given, "prompt": prompt, **fields})


@asynccontextmanager
async def claude(url: str | None, **options: Any) -> AsyncIterator[AnthropicProvider]:
    """A provider, closed afterwards."""
    provider = AnthropicProvider(**{"api_key": lambda: KEY, "base_url": url, "read_timeout_s": 5.0, **options})
    try:
        yield provider
    finally:
        await provider.close()


async def hear(provider: AnthropicProvider, asked: TurnRequest) -> list[ModelEvent]:
    """A whole reply."""
    async with aclosing(provider.stream(asked)) as events:  # type: ignore[type-var]
        return [event async for event in events]


async def failure(provider: AnthropicProvider, asked: TurnRequest) -> tuple[PostdocError, list[ModelEvent]]:
    """The error of a reply, and what was heard before it."""
    heard: list[ModelEvent] = []
    try:
        async with aclosing(provider.stream(asked)) as events:  # type: ignore[type-var]
            async for event in events:
                heard.append(event)
    except PostdocError as e:
        return e, heard
    raise AssertionError(f"no error, but {heard[-1:]}")


def said(events: list[ModelEvent]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))


def calls(events: list[ModelEvent]) -> list[ToolCall]:
    return [event for event in events if isinstance(event, ToolCall)]


def end(events: list[ModelEvent]) -> TurnEnd:
    assert isinstance(events[-1], TurnEnd)
    assert sum(isinstance(event, TurnEnd) for event in events) == 1
    return events[-1]


def turn(
    events: list[ModelEvent], *answers: str | ToolOutcome | None, ok: bool = True, images: list[ImageRef] | None = None
) -> Turn:
    """The finished turn that the loop makes of a reply; an answer of None is one that is missing."""
    asked = calls(events)
    results = {
        call.id: answer if isinstance(answer, ToolOutcome) else ToolOutcome(ok, answer, images=images or [])
        for call, answer in zip(asked, answers, strict=True)
        if answer is not None
    }
    last = end(events)
    return Turn(said(events), asked, results, blocks=last.blocks, stop_reason=last.stop_reason)


__all__ = ["HAIKU", "KEY", "PLAN", "Exchange", "ToolOutcome", "Turn", "calls", "claude", "end", "failure", "hear",
           "request", "said", "turn"]  # fmt: skip
