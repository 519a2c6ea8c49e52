"""A provider for tests, plugged in where a real one is: it does what the user's message says, word by word."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from jupyterlab_postdoc.errors import PostdocError
from jupyterlab_postdoc.providers.base import ModelEvent, TextDelta, ToolCall, TurnEnd, TurnRequest


class EchoProvider:
    """`echo …` repeats, `slow …` takes 50 ms a word, `cut …` has no end, `fail` is refused, `tool` asks for one."""

    id = "echo"
    label = "Echo"

    async def stream(self, request: TurnRequest) -> AsyncIterator[ModelEvent]:
        verb, _, rest = str(request.task["content"]).partition(" ")
        if verb == "fail":
            raise PostdocError("provider_overloaded", "The model is overloaded.", next="Try again.", retryable=True)
        if verb == "tool" and not request.turns:
            yield TextDelta("I ask for a tool.")
            yield ToolCall(f"t_{request.run[-6:]}", "nb_run", {})
            yield TurnEnd("tool_use")
            return
        if verb == "steps" and len(request.turns) < int(rest):
            yield TextDelta(f"Step {len(request.turns)}, heard {list(request.steer)}.")
            yield ToolCall(
                f"s_{request.run[-6:]}_{len(request.turns)}",
                "plan",
                {"items": [{"text": f"step {len(request.turns)}"}]},
            )
            await asyncio.sleep(0.1)
            yield TurnEnd("tool_use")
            return
        heard = f" (before: {[exchange.user for exchange in request.earlier]})" if verb == "recall" else ""
        for word in (rest + heard).split():
            yield TextDelta(word + " ")
            await asyncio.sleep(0.05 if verb == "slow" else 0)
        if verb != "cut":
            yield TurnEnd("end_turn", {"input_tokens": 3, "output_tokens": 5})
