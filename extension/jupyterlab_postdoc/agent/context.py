"""What the model is shown of the past: everything, until it is too much; then a summary and what came after it."""

from __future__ import annotations

from collections.abc import Sequence

from jupyterlab_postdoc.providers.base import Exchange, Turn, TurnRequest, Usage

CHARS_PER_TOKEN = 3.3
IMAGE_TOKENS = 1_600

SUMMARISE = (
    "The conversation has become too long to carry on as it is. Write a summary that takes its place: you will go on "
    "from it alone. Say, as facts: what the researcher asked for and decided, in their own words where they matter; "
    "the state of the notebook (cells by name, what each does, which fail), of files, data and commits; results with "
    "their numbers; what was tried and did not work; what is open and what comes next. Call no tool. Write only the "
    "summary."
)


class Context:
    """The past as the next request shows it."""

    def __init__(self, earlier: Sequence[Exchange] = ()) -> None:
        self.earlier: Sequence[Exchange] = earlier
        self.turns: list[Turn] = []
        self.summary = ""
        self.tokens: int | None = None
        """Tokens of the last request and its reply together, as the provider counted them."""
        self._since = sum(map(exchange_chars, earlier))

    def add(self, turn: Turn, usage: Usage | None) -> None:
        """A finished turn."""
        self.turns.append(turn)
        if usage:
            self.tokens = context_tokens(usage)
            self._since = 0
        self._since += answer_chars(turn)

    @property
    def size(self) -> int:
        """Tokens that the next request will have, about."""
        return (self.tokens or 0) + round(self._since / CHARS_PER_TOKEN)

    def replace(self, summary: str) -> None:
        """From now on ``summary`` stands for everything so far."""
        self.earlier, self.turns, self.summary = (), [], summary
        self.tokens, self._since = None, len(summary)


def context_tokens(usage: Usage) -> int:
    """What a request and its reply fill of the model's window."""
    kinds = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens", "output_tokens")
    return sum(usage.get(kind, 0) for kind in kinds)


def answer_chars(turn: Turn) -> int:
    """How much the tools' answers add to the next request, in characters; a picture counts as text of its size."""
    pictures = sum(len(outcome.images) for outcome in turn.results.values())
    text = sum(len(outcome.content) for outcome in turn.results.values())
    return text + round(pictures * IMAGE_TOKENS * CHARS_PER_TOKEN)


def exchange_chars(exchange: Exchange) -> int:
    """Characters of an earlier exchange."""
    said = sum(len(turn.text) + sum(len(str(call.input)) for call in turn.calls) for turn in exchange.turns)
    return len(exchange.user) + len(exchange.summary) + said + sum(answer_chars(turn) for turn in exchange.turns)


def estimate_tokens(request: TurnRequest, known: int | None = None) -> int:
    """Input tokens of a request, about. ``known`` is what the provider counted for all but what came after it."""
    new = sum(map(len, request.steer)) + sum(map(len, request.notes))
    if known is not None and request.turns:
        return known + round((new + answer_chars(request.turns[-1])) / CHARS_PER_TOKEN)
    chars = new + len(request.system) + len(request.prompt) + len(request.summary) + len(str(request.tools))
    chars += sum(exchange_chars(exchange) for exchange in request.earlier)
    chars += sum(len(turn.text) + len(str(turn.calls)) + answer_chars(turn) for turn in request.turns)
    return round(chars / CHARS_PER_TOKEN)


def plain_summary(prompt: str, turns: Sequence[Turn], earlier: Sequence[Exchange] = (), summary: str = "") -> str:
    """A summary without a model, for when the conversation is too long even to be summed up by one."""
    before = [summary, *(exchange.summary for exchange in earlier)]
    lines = [text[:8000] for text in before if text]
    lines += [f"The researcher said before: {exchange.user[:500]}" for exchange in earlier[-20:]]
    lines += [f"The task: {prompt[:4000]}", "What was done, step by step:"]
    for turn in turns[-60:]:
        if turn.text.strip():
            lines.append(f"- {turn.text.strip().splitlines()[0][:300]}")
        for call in turn.calls:
            outcome = turn.results.get(call.id)
            became = "no answer" if outcome is None else ("ok" if outcome.ok else f"failed: {outcome.content[:200]}")
            lines.append(f"  - {call.name}: {became}")
    return "\n".join(lines)
