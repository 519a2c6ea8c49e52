"""How far a run may go before it has to stop and ask."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

MAX_TURNS = 40
MAX_MINUTES = 60.0

STUCK_WARN = 4
"""So many turns that did the same with the same outcome, and the agent is told."""
STUCK_STOP = 6
"""So many, and the run stops and asks."""


@dataclass
class Limits:
    """Turns of one run and minutes of work in it; waiting for an answer does not count.

    ``worked_s`` is counted up by the agent from its journal, so that it is the same after a crash.
    """

    turns: int = MAX_TURNS
    minutes: float = MAX_MINUTES
    worked_s: float = 0.0
    extended: int = 0
    """How often the user said to go on; each time gives as much again."""

    @classmethod
    def of(cls, budget: Mapping[str, Any] | None, *, turns: int = MAX_TURNS, minutes: float = MAX_MINUTES) -> Limits:
        """The user's budget, never above the administrator's limits."""
        given = budget or {}
        return cls(min(given.get("turns") or turns, turns), min(given.get("minutes") or minutes, minutes))

    def seconds_left(self) -> float:
        """How long this run may still work."""
        return max(0.0, 60 * self.minutes * (1 + self.extended) - self.worked_s)

    def sentence(self, reason: str) -> str:
        """What :meth:`reached` answered, for a person."""
        times = 1 + self.extended
        used = f"{self.turns * times} turns" if reason == "max_turns" else f"{self.minutes * times:g} minutes"
        return f"The limit of {used} was reached before the work was finished."

    def reached(self, turns_done: int) -> str | None:
        """``max_turns`` or ``budget`` when the next turn may not begin."""
        if turns_done >= self.turns * (1 + self.extended):
            return "max_turns"
        if self.seconds_left() <= 0:
            return "budget"
        return None
