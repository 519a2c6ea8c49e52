"""What drives an agent: a provider answers one turn at a time, as a stream of model events.

The loop knows only this module. A provider keeps no state between turns: everything it may use is in the request, so
that a run which another process carries on after a crash gets the same answers.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol

from msgspec import Struct

from jupyterlab_postdoc.protocol import ImageRef

Usage = dict[str, int]
"""Tokens of one reply: input_tokens, output_tokens, cache_read_input_tokens, cache_creation_input_tokens; and
thinking_tokens (part of the output), web_search_requests, web_fetch_requests where there were any."""

# --- what a provider says while it answers ---


class ToolCall(Struct, frozen=True):
    """The model asks for one tool. ``id`` is unique in its session and the key of the journalled step.

    ``problem`` is a sentence when the input is no JSON object: the call is answered with it and not carried out.
    """

    id: str
    name: str
    input: dict[str, Any]
    problem: str = ""


class TextDelta(Struct, frozen=True):
    """A piece of the reply's text; ``block`` tells apart several texts of one reply."""

    text: str
    block: int = 0


class ThinkingDelta(Struct, frozen=True):
    """A piece of the model's (summarised) thinking."""

    text: str
    block: int = 0


class ToolInputDelta(Struct, frozen=True):
    """A piece of a call's input, as JSON text; the whole call follows as :class:`ToolCall`."""

    id: str
    name: str
    text: str


class ServerTool(Struct, frozen=True):
    """A tool that the provider runs itself (web search): first with ``ok`` None, then again with its outcome."""

    id: str
    name: str
    input: dict[str, Any]
    ok: bool | None = None
    content: str = ""
    data: dict[str, Any] = {}


class Cited(Struct, frozen=True):
    """A source of the text block ``block``."""

    block: int
    url: str
    title: str = ""
    text: str = ""


class UsageSoFar(Struct, frozen=True):
    """What the reply has used until now (cumulative): all that is known when it is interrupted."""

    usage: Usage


class TurnEnd(Struct, frozen=True):
    """The reply is complete. A stream that ends without one was cut off.

    ``stop_reason``: end_turn, stop_sequence, tool_use, max_tokens, pause_turn, refusal, model_context_window_exceeded.
    ``blocks`` is the reply in the provider's own form, sent back unchanged while the run lasts.
    """

    stop_reason: str
    usage: Usage | None = None
    blocks: list[dict[str, Any]] | None = None
    model: str | None = None


ModelEvent = TextDelta | ThinkingDelta | ToolInputDelta | ServerTool | Cited | UsageSoFar | ToolCall | TurnEnd

# --- what a provider is told ---


class ToolOutcome(Struct, frozen=True):
    """What a tool answered: text for the model, and the same as data where there is some.

    ``blob`` names the whole text when ``content`` is only its head and tail; ``images`` are shown to the model.
    """

    ok: bool
    content: str
    data: dict[str, Any] = {}
    ends_run: bool = False
    blob: str | None = None
    images: list[ImageRef] = []


class Turn(Struct, frozen=True):
    """One finished turn: what the model said, what it asked for, what came back (by call id).

    ``steer`` is what the user said in mid-run and ``notes`` what the harness had to tell, both just before this turn.
    """

    text: str
    calls: list[ToolCall]
    results: dict[str, ToolOutcome]
    steer: list[str] = []
    notes: list[str] = []
    blocks: list[dict[str, Any]] | None = None
    stop_reason: str = "end_turn"


class Exchange(Struct, frozen=True):
    """One user message of the conversation and the turns that followed it.

    ``summary`` stands for everything that came before it.
    """

    user: str
    turns: list[Turn]
    summary: str = ""


class TurnRequest(Struct, frozen=True):
    """All that a provider may use to answer the next turn.

    ``task`` is the input of the run (for research: topic, template, parameters, repo_name …) and ``prompt`` the same in
    words; ``earlier`` are the finished exchanges of the session, ``turns`` those of the current one; ``steer`` is what
    the user said in mid-run and ``notes`` what the harness tells, both since the last turn. ``summary`` stands for
    ``earlier`` and the turns that were left out of ``turns``. ``server_tools`` are tools of the provider's own that the
    persona may use; ``max_tokens`` is the most that this reply may cost in output; ``load`` gives the bytes of a blob.
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
    notes: Sequence[str] = ()
    prompt: str = ""
    summary: str = ""
    server_tools: Sequence[str] = ()
    max_tokens: int | None = None
    effort: str | None = None
    thinking: bool = True
    load: Callable[[str], Awaitable[bytes]] | None = None


class Provider(Protocol):
    """Answers turns. ``id`` is stamped on every event; ``label`` is what people read."""

    id: str
    label: str

    def stream(self, request: TurnRequest) -> AsyncIterator[ModelEvent]:
        """The next reply, as it forms. Raises PostdocError with a provider_* code.

        The error is ``retryable`` when asking again may help; its detail ``retry_after_s`` says how long to wait first.
        """
        ...


# --- models ---


class ModelInfo(Struct, frozen=True):
    """A model that a chat may use.

    ``line`` is its family (haiku, sonnet, opus …; None when unknown); ``context`` and ``output`` are its limits in
    tokens, ``input_price`` and ``output_price`` US dollars per million tokens.
    """

    id: str
    label: str
    provider: str
    line: str | None = None
    context: int | None = None
    output: int | None = None
    thinking: bool = True
    effort: tuple[str, ...] = ()
    input_price: float | None = None
    output_price: float | None = None


class ModelProvider(Provider, Protocol):
    """A provider with models to choose from."""

    def status(self) -> dict[str, Any]:
        """``{"ok", "message", "next"}`` for people, without asking the network: is there a key, did it work lately."""
        ...

    async def models(self) -> list[ModelInfo]:
        """What the key may use, most recent list first; a built-in list when the provider cannot be asked."""
        ...

    async def close(self) -> None:
        """Close connections."""
        ...
