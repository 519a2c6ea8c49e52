"""The conversation so far, rebuilt from the log: what a provider is told of earlier exchanges."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from jupyterlab_postdoc.protocol import Event
from jupyterlab_postdoc.providers.base import Exchange, ToolCall, ToolOutcome, Turn

TYPES = ("user_message", "assistant_message", "tool_use", "tool_result")
UNKNOWN = ToolOutcome(False, "This call was cut off; its outcome is unknown.")


class _Open:
    """An exchange that is still being read."""

    def __init__(self, user: str) -> None:
        self.user = user
        self.turns: list[Turn] = []
        self._texts: list[str] = []
        self._calls: list[ToolCall] = []
        self._results: dict[str, ToolOutcome] = {}

    def take(self, body: dict[str, Any]) -> None:
        kind = body["type"]
        if kind == "tool_result":
            data = body.get("data") or {}
            self._results[body["toolId"]] = ToolOutcome(body["ok"], body["content"], data)
            return
        if self._calls and (self._results or kind == "assistant_message"):
            self.close()
        if kind == "assistant_message":
            self._texts.append(body["content"])
        else:
            self._calls.append(ToolCall(body["toolId"], body["toolName"], body["toolInput"]))

    def close(self) -> None:
        """End the turn: a call without a result is answered, so that no provider sees a dangling one."""
        if self._texts or self._calls:
            results = {call.id: self._results.get(call.id, UNKNOWN) for call in self._calls}
            self.turns.append(Turn("\n\n".join(self._texts), self._calls, results))
        self._texts, self._calls, self._results = [], [], {}


def exchanges(events: Iterable[Event], *, before_run: str | None = None) -> list[Exchange]:
    """The finished exchanges of a session's events, oldest first; those of ``before_run`` and later ones are left out.

    Replies that were cut off (``partial``) are no part of the conversation; a word in mid-run belongs to its run.
    """
    found: dict[str, _Open] = {}
    for event in events:
        if event.type not in TYPES or event.partial:
            continue
        body = event.body()
        run = body.get("runId") or event.run or f"seq:{event.seq}"
        if run == before_run:
            break
        if event.type == "user_message":
            if body.get("mode") != "steer":
                found.setdefault(run, _Open(body["content"]))
        elif run in found and not body.get("partial"):
            found[run].take(body)
    for exchange in found.values():
        exchange.close()
    return [Exchange(exchange.user, exchange.turns) for exchange in found.values()]
