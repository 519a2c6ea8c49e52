"""The conversation so far, rebuilt from the log: what a provider is told of earlier exchanges."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from jupyterlab_postdoc.protocol import Event
from jupyterlab_postdoc.providers.base import Exchange, ToolCall, ToolOutcome, Turn
from jupyterlab_postdoc.store.base import Reads, RunRow

TYPES = ("user_message", "assistant_message", "tool_use", "tool_result", "result", "context_summary")
UNKNOWN = ToolOutcome(False, "This call was cut off; its outcome is unknown.")
CARRIED_ON = "(The conversation went on from the summary.)"
PAGE = 2_000


class _Open:
    """An exchange that is still being read. A word in mid-run is part of it, and comes before the next turn."""

    def __init__(self, user: str) -> None:
        self.user = user
        self.waits = True
        """Whether nothing has come of the message yet."""
        self.turns: list[Turn] = []
        self._steer: list[str] = []
        self._later: list[str] = []
        self._texts: list[str] = []
        self._calls: list[ToolCall] = []
        self._results: dict[str, ToolOutcome] = {}

    def steer(self, word: str) -> None:
        """What was said while the run was at work."""
        (self._later if self._texts or self._calls else self._steer).append(word)

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
            self.turns.append(Turn("\n\n".join(self._texts), self._calls, results, steer=self._steer))
            self._steer, self._later = self._later, []
        self._texts, self._calls, self._results = [], [], {}

    def end(self, *, heard: bool) -> None:
        """Nothing more comes; ``heard``: a word after the last turn has become a message of its own."""
        self.close()
        if self._steer and self.turns and not heard:
            self.turns.append(Turn("", [], {}, steer=self._steer))


def exchanges(
    events: Iterable[Event], *, before_run: str | None = None, prompts: Mapping[str, str] | None = None
) -> list[Exchange]:
    """The finished exchanges of a session's events, oldest first, as they are when ``before_run`` begins.

    ``prompts`` is what runs were asked in the end, by their ids: a message may have been changed in the queue.

    No part of the conversation: replies that were cut off (``partial``), what a sub-agent or the provider's own server
    did (``parent``, ``server``), exchanges that the model refused (they would make it refuse again), messages that
    still wait their turn or were taken back from the queue. The last ``context_summary`` stands for everything up to
    the event that it names.
    """
    told = [event for event in events if event.type in TYPES and not event.partial and event.run != before_run]
    summary = next((event.body() for event in reversed(told) if event.type == "context_summary"), None)
    through = summary["through"] if summary else 0
    summed_up = {event.run for event in told if event.type == "context_summary"}
    asked = {run: text for run, text in (prompts or {}).items() if run not in summed_up}
    found: dict[str, _Open] = {}
    good: set[str] = set()
    for event in told:
        if event.seq > through:
            _take(found, event, asked, summed_up=summary is not None)
        if event.type == "result" and event.body().get("success"):
            good.add(event.run or "")
    for run, exchange in found.items():
        exchange.end(heard=run in good)
    done = [exchange for exchange in found.values() if exchange.turns or not exchange.waits]
    told_of = [Exchange(exchange.user, exchange.turns) for exchange in done]
    if summary is None:
        return told_of
    first = told_of[0] if told_of else Exchange(CARRIED_ON, [])
    return [Exchange(first.user, first.turns, summary["content"]), *told_of[1:]]


def _take(found: dict[str, _Open], event: Event, asked: Mapping[str, str], *, summed_up: bool) -> None:
    body = event.body()
    run = body.get("runId") or event.run or f"seq:{event.seq}"
    if event.type == "user_message":
        if body.get("mode") != "steer":
            found.setdefault(run, _Open(asked.get(run) or body["content"]))
        elif run in found:
            found[run].steer(body["content"])
    elif event.type == "result":
        if body.get("stop_reason") in ("refusal", "cancelled"):
            found.pop(run, None)
        elif run in found:
            found[run].waits = False
    elif event.type != "context_summary" and not (body.get("partial") or body.get("parent") or body.get("server")):
        if run not in found and (run in asked or summed_up):
            found[run] = _Open(asked.get(run) or CARRIED_ON)
        if run in found:
            found[run].take(body)


async def read_history(store: Reads, session: str, *, before_run: str) -> tuple[list[Exchange], int]:
    """The earlier exchanges of a session and the ``seq`` of their last event, from its last summary on."""
    summaries = await store.read_events(session, finals=True, types=["context_summary"], limit=100_000)
    own = [event for event in summaries if event.run != before_run]
    after = min(own[-1].body()["through"], own[-1].seq - 1) if own else 0
    events: list[Event] = []
    while page := await store.read_events(session, after=after, finals=True, types=TYPES, limit=PAGE):
        events += page
        after = page[-1].seq
    before = [event for event in events if event.run != before_run]
    prompts = {run.id: _prompt(run) for run in await store.list_runs(session, limit=100_000)}
    return exchanges(events, before_run=before_run, prompts=prompts), before[-1].seq if before else 0


def _prompt(run: RunRow) -> str:
    return str(run.input.get("content") or run.input.get("topic") or "")
