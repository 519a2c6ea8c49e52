"""A model for the servers of these tests: it does what the message says, word by word."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from jupyterlab_postdoc.errors import PostdocError
from jupyterlab_postdoc.providers.base import (
    ModelEvent,
    ModelInfo,
    TextDelta,
    ThinkingDelta,
    ToolCall,
    TurnEnd,
    TurnRequest,
)

USAGE = {"input_tokens": 3, "output_tokens": 5}
HOSTILE = "\x1b[2J\x1b]0;owned\x07\u202e"


class Speaker:
    """`say …`, `think …`, `long …` (until it is stopped), `ask …`, `look …` (for templates), `steps`, `fail`."""

    id = "speaker"
    label = "Speaker"

    async def stream(self, request: TurnRequest) -> AsyncIterator[ModelEvent]:
        verb, _, rest = str(request.task.get("content", "")).partition(" ")
        done = len(request.turns)
        if verb == "think":
            for word in ("Let ", "me ", f"see.{HOSTILE}"):
                yield ThinkingDelta(word)
            yield TextDelta(f"After thought: {rest}", 1)
        elif verb == "long":
            for number in range(600):
                yield TextDelta(f"word {number} ")
                await asyncio.sleep(0.05)
        elif verb in ("ask", "look") and not done:
            tool: tuple[str, dict[str, Any]] = ("ask_user", {"question": rest})
            if verb == "look":
                tool = ("list_templates", {"topic": f"about {rest}{HOSTILE}"})
            yield ToolCall(f"t_{request.run[-8:]}", *tool)
            yield TurnEnd("tool_use", USAGE)
            return
        elif verb in ("ask", "look"):
            (outcome,) = request.turns[-1].results.values()
            yield TextDelta(f"I heard: {outcome.content}")
        elif verb == "steps" and done < 40:
            yield TextDelta(f"Step {done}, heard {list(request.steer)}.")
            yield ToolCall(f"s_{request.run[-8:]}_{done}", "plan", {"items": [{"text": f"part {done}"}]})
            await asyncio.sleep(0.2)
            yield TurnEnd("tool_use", USAGE)
            return
        elif verb == "fail":
            raise PostdocError("provider_auth", "The key was not accepted.", next="Check ANTHROPIC_API_KEY.")
        else:
            yield TextDelta(f"{request.model}: {rest}{HOSTILE}")
        yield TurnEnd("end_turn", USAGE)

    def status(self) -> dict[str, Any]:
        return {"ok": True, "message": "The key works."}

    async def models(self) -> list[ModelInfo]:
        return [
            ModelInfo("claude-opus-5", "Claude Opus 5", "speaker", "opus", 1_000_000, 128_000),
            ModelInfo("claude-haiku-5", "Claude Haiku 5", "speaker", "haiku", 200_000, 64_000, True, (), 1.0, 5.0),
            ModelInfo("big-secret-1", "Big Secret", "speaker"),
        ]

    async def close(self) -> None:
        pass
