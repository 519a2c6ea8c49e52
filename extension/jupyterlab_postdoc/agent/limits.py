"""How far a run may go before it has to stop and say so."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

MAX_TURNS = 40
MAX_MINUTES = 60.0


@dataclass
class Limits:
    """Turns of one run and minutes of one execution of it (waiting for an answer does not count)."""

    turns: int = MAX_TURNS
    minutes: float = MAX_MINUTES
    began: float = field(default_factory=time.monotonic)

    @classmethod
    def of(cls, budget: Mapping[str, Any] | None, *, turns: int = MAX_TURNS, minutes: float = MAX_MINUTES) -> Limits:
        """The user's budget, never above the administrator's limits."""
        given = budget or {}
        return cls(min(given.get("turns") or turns, turns), min(given.get("minutes") or minutes, minutes))

    def seconds_left(self) -> float:
        """How long this execution may still work."""
        return max(0.0, 60 * self.minutes - (time.monotonic() - self.began))

    def sentence(self, reason: str) -> str:
        """What :meth:`reached` answered, for a person."""
        used = f"{self.turns} turns" if reason == "max_turns" else f"{self.minutes:g} minutes"
        return f"The limit of {used} was reached before the work was finished."

    def reached(self, turns_done: int) -> str | None:
        """``max_turns`` or ``budget`` when the next turn may not begin."""
        if turns_done >= self.turns:
            return "max_turns"
        if self.seconds_left() <= 0:
            return "budget"
        return None
