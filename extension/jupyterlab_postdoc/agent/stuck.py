"""Whether an agent goes round in circles: the same calls with the same outcomes again and again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from jupyterlab_postdoc.providers.base import Turn

Sign = tuple[Any, ...]


def repeats(turns: Sequence[Turn]) -> int:
    """How many turns in a row, up to the last, have done the same with the same outcome.

    Two turns that alternate count too: A B A B A B are six. A failing call counts by its error alone (its input may
    differ): three of the same error are as bad as four of the same call.
    """
    if not turns or not turns[-1].calls:
        return 0
    whole = [_sign(turn) for turn in turns]
    same = max(_run(whole, 1), _run(whole, 2) if _run(whole, 2) >= 6 else 0)
    failed = [_failures(turn) for turn in turns]
    same_error = _run(failed, 1) if failed[-1] else 0
    return max(same, same_error + 1 if same_error >= 3 else 0)


def _run(signs: Sequence[Sign], period: int) -> int:
    """The length of the tail in which every sign equals the one ``period`` before it."""
    length = period
    while length < len(signs) and signs[-length - 1] == signs[-length - 1 + period]:
        length += 1
    return min(length, len(signs))


def _sign(turn: Turn) -> Sign:
    return tuple(
        (call.name, msgspec.json.encode(call.input, order="sorted"), _answer(turn, call.id)) for call in turn.calls
    )


def _failures(turn: Turn) -> Sign:
    return tuple(
        (call.name, _answer(turn, call.id))
        for call in turn.calls
        if call.id in turn.results and not turn.results[call.id].ok
    )


def _answer(turn: Turn, call: str) -> str:
    outcome = turn.results.get(call)
    return outcome.content if outcome is not None else ""


def warning(count: int) -> str:
    """What the agent is told."""
    return (
        f"The last {count} turns did the same with the same outcome. Do something else: read the error again, look at "
        "the files or cells, try another way, or ask the researcher."
    )
