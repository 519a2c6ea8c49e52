"""Figures on the server's own /metrics page: how much is done, what it costs, what fails.

The counters belong to the process: two apps in one process add to the same ones. No label comes from a person or from
an agent, and each has few values: whatever is not known is counted under one name for all.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping

from prometheus_client import Counter, Gauge, Histogram

from jupyterlab_postdoc.errors import HTTP_STATUS

KINDS = {"research", "chat"}
OUTCOMES = {"done", "error", "stopped", "waiting", "queued"}
STOP_REASONS = {
    "end_turn",
    "stop_sequence",
    "tool_use",
    "max_tokens",
    "pause_turn",
    "refusal",
    "model_context_window_exceeded",
    "interrupted",
}
TOKENS = {
    "input_tokens": "input",
    "output_tokens": "output",
    "cache_read_input_tokens": "cache_read",
    "cache_creation_input_tokens": "cache_write",
    "thinking_tokens": "thinking",
}
OTHER = "other"
TURN_BUCKETS = (0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600)
FIRST_TOKEN_BUCKETS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60)

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@/-]{0,63}")

RUNS = Counter("postdoc_runs", "Runs that came to an end or to a rest.", ["kind", "provider", "outcome"])
ACTIVE = Gauge("postdoc_runs_active", "Runs that an agent works on now.")
TURNS = Counter("postdoc_turns", "Replies of a provider.", ["provider", "model", "stop_reason"])
TOKEN_COUNT = Counter("postdoc_tokens", "Tokens used; thinking is part of output.", ["kind", "model"])
COST = Counter("postdoc_cost_usd", "Estimated cost in US dollars.", ["model"])
TOOLS = Counter("postdoc_tool_calls", "Calls of tools.", ["tool", "ok"])
ERRORS = Counter("postdoc_provider_errors", "Failed calls of a provider.", ["code"])
TURN_SECONDS = Histogram("postdoc_turn_seconds", "Seconds from the question to the whole reply.", buckets=TURN_BUCKETS)
FIRST_TOKEN_SECONDS = Histogram(
    "postdoc_time_to_first_token_seconds", "Seconds from the question to the first token.", buckets=FIRST_TOKEN_BUCKETS
)


class Names:
    """Lets the first ``limit`` well-formed names through, and those ``known`` before; all others are one."""

    def __init__(self, limit: int, known: Collection[str] = ()) -> None:
        self._limit = limit
        self._seen = set(known)

    def __call__(self, name: str | None) -> str:
        """The name, or "other"."""
        if name in self._seen:
            return str(name)
        if not name or len(self._seen) >= self._limit or not _NAME.fullmatch(name):
            return OTHER
        self._seen.add(name)
        return name


_models, _providers = Names(40), Names(10, ("anthropic", "template"))
_tools: set[str] = set()


def know_tools(names: Iterable[str]) -> None:
    """These tools are counted under their own names."""
    _tools.update(names)


def tool_label(name: str) -> str:
    """A tool's own name; "mcp" for those of MCP servers, "unknown" for what an agent made up."""
    if name.startswith("mcp__"):
        return "mcp"
    return name if name in _tools else "unknown"


def _one_of(known: Collection[str], value: str | None) -> str:
    return value if value is not None and value in known else OTHER


def count_run(kind: str, provider: str | None, outcome: str) -> None:
    """A run ended (done, error, stopped) or rests (waiting, queued)."""
    outcome = "done" if outcome == "finished" else outcome
    RUNS.labels(_one_of(KINDS, kind), _providers(provider), _one_of(OUTCOMES, outcome)).inc()


def count_turn(
    provider: str | None,
    model: str | None,
    stop_reason: str | None,
    *,
    usage: Mapping[str, int] | None = None,
    cost: float | None = None,
    seconds: float | None = None,
    first_token_s: float | None = None,
) -> None:
    """A reply was heard to its end, or cut off (``interrupted``); ``cost`` in US dollars."""
    label = _models(model)
    TURNS.labels(_providers(provider), label, _one_of(STOP_REASONS, stop_reason)).inc()
    count_usage(model, usage, cost)
    if seconds is not None:
        TURN_SECONDS.observe(seconds)
    if first_token_s is not None:
        FIRST_TOKEN_SECONDS.observe(first_token_s)


def count_usage(model: str | None, usage: Mapping[str, int] | None, cost: float | None = None) -> None:
    """Tokens and dollars alone."""
    label = _models(model)
    for name, kind in TOKENS.items():
        if number := (usage or {}).get(name):
            TOKEN_COUNT.labels(kind, label).inc(number)
    if cost:
        COST.labels(label).inc(cost)


def count_tool(name: str, ok: bool) -> None:
    """A tool was called and answered."""
    TOOLS.labels(tool_label(name), "true" if ok else "false").inc()


def count_error(code: str) -> None:
    """A call of a provider failed with this code."""
    ERRORS.labels(_one_of(HTTP_STATUS, code)).inc()
