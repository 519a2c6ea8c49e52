"""What drives an agent: a provider answers one turn at a time, as a stream of model events.

The loop knows only this module. A provider keeps no state between turns: everything it may use is in the request, so
that a run which another process carries on after a crash gets the same answers.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Protocol

from msgspec import Struct


class ToolCall(Struct, frozen=True):
    """The model asks for one tool. ``id`` is unique in its session and the key of the journalled step."""

    id: str
    name: str
    input: dict[str, Any]


class TextDelta(Struct, frozen=True):
    """A piece of the reply's text; ``block`` tells apart several texts of one reply."""

    text: str
    block: int = 0


class TurnEnd(Struct, frozen=True):
    """The reply is complete. A stream that ends without one was cut off."""

    stop_reason: str
    usage: dict[str, int] | None = None


ModelEvent = TextDelta | ToolCall | TurnEnd


class ToolOutcome(Struct, frozen=True):
    """What a tool answered: text for the model, and the same as data where there is some."""

    ok: bool
    content: str
    data: dict[str, Any] = {}
    ends_run: bool = False


class Turn(Struct, frozen=True):
    """One finished turn: what the model said, what it asked for, what came back (by call id)."""

    text: str
    calls: list[ToolCall]
    results: dict[str, ToolOutcome]
    steer: list[str] = []


class Exchange(Struct, frozen=True):
    """One user message of the conversation and the turns that followed it."""

    user: str
    turns: list[Turn]


class TurnRequest(Struct, frozen=True):
    """All that a provider may use to answer the next turn.

    ``task`` is the input of the run (for research: topic, template, parameters, repo_name …); ``earlier`` are the
    finished exchanges of the session, ``turns`` those of the current one; ``steer`` is what the user said in mid-run.
    """

    session: str
    run: str
    task: Mapping[str, Any]
    system: str
    model: str | None
    tools: Sequence[Mapping[str, Any]]
    earlier: Sequence[Exchange]
    turns: Sequence[Turn]
    steer: Sequence[str] = ()


class Provider(Protocol):
    """Answers turns. ``id`` is stamped on every event; ``label`` is what people read."""

    id: str
    label: str

    def stream(self, request: TurnRequest) -> AsyncIterator[ModelEvent]:
        """The next reply, as it forms. Raises PostdocError with a provider_* code."""
        ...
