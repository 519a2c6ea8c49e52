"""How fast the forge may be asked: for each user what is left of the limit, and what holds the questions back."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from jupyterlab_postdoc.errors import PostdocError
from jupyterlab_postdoc.forge.remote import Rate, RemoteForge
from jupyterlab_postdoc.protocol import iso

LOW_SHARE = 0.2
STOP_AT = 50
SLOWEST_S = 600.0
REFUSED_S = 600.0
NOT_CONNECTED_S = 120.0
HOUR = 3600.0

logger = logging.getLogger("jupyterlab_postdoc.publishing")


class Forges(Protocol):
    """Who can ask the forge for a user: ``GitHub``."""

    async def of(self, user: str) -> RemoteForge | None: ...


@dataclass
class Hold:
    """The forge is not asked for one user until then (UNIX seconds), and why; no error: nothing is connected.
    ``times`` counts failures in a row.
    """

    until: float
    error: PostdocError | None = None
    times: int = 0


class Pace:
    """Of one server. ``clock`` tells UNIX seconds, ``jitter`` a factor near 1."""

    def __init__(
        self,
        poll_s: float,
        *,
        clock: Callable[[], float],
        jitter: Callable[[], float] = lambda: random.uniform(0.9, 1.2),
    ) -> None:
        self.clock = clock
        self.jitter = jitter
        self._poll_s = poll_s
        self._holds: dict[str, Hold] = {}
        self._rates: dict[str, Rate] = {}

    def held(self, user: str) -> Hold | None:
        """What holds back questions for this user now."""
        hold = self._holds.get(user)
        return hold if hold is not None and hold.until > self.clock() else None

    def low(self, user: str) -> bool:
        """Whether less than a fifth of the limit is left: others need it too."""
        rate = self._rates.get(user)
        return rate is not None and rate.remaining < LOW_SHARE * rate.limit and rate.reset_at > self.clock()

    def forget(self, user: str) -> None:
        """The user has another credential now."""
        self._holds.pop(user, None)
        self._rates.pop(user, None)

    def not_connected(self, user: str) -> float:
        """Nobody can be asked for this user; when to see whether that has changed."""
        until = self.clock() + NOT_CONNECTED_S
        self._holds[user] = Hold(until)
        return until

    def good(self, user: str, rate: Rate | None) -> None:
        """A question was answered, and so much is left."""
        hold = self._holds.pop(user, None)
        if hold is not None and hold.error is not None and hold.error.code != "github_rate_limited":
            logger.info("GitHub answers again.")
        if rate is None:
            return
        self._rates[user] = rate
        if rate.remaining < STOP_AT and rate.reset_at > self.clock():
            self._hold(user, _limited(rate.reset_at), rate.reset_at)

    def bad(self, user: str, error: PostdocError) -> None:
        """A question failed. What would fail for every publication of the user holds all of them back."""
        now, hold = self.clock(), self._holds.get(user)
        times = min(hold.times, 10) if hold is not None else 0
        if error.code == "github_rate_limited":
            self._hold(user, error, _ends_at(error.details, now) or now + REFUSED_S)
        elif error.code == "github_auth":
            self._hold(user, error, now + min(REFUSED_S * 2.0**times, HOUR) * self.jitter())
        elif error.code == "github_unreachable":
            self._hold(user, error, now + min(self._poll_s * 2.0**times, SLOWEST_S) * self.jitter())

    def _hold(self, user: str, error: PostdocError, until: float) -> None:
        before = self._holds.get(user)
        if before is None or before.error is None or before.error.code != error.code:
            logger.warning("publications are not looked at until %s: %s", iso(until), error.message)
        elif before.until > self.clock():
            return  # two looks at once heard the same
        self._holds[user] = Hold(until, error, (before.times if before is not None else 0) + 1)


def not_connected() -> PostdocError:
    """Nobody can ask the forge for this user."""
    return PostdocError(
        "github_auth",
        "GitHub is not connected, so it was not asked for news.",
        next="Connect GitHub, then look again. Nothing is lost meanwhile.",
        reason="not_connected",
    )


def _limited(until: float) -> PostdocError:
    return PostdocError(
        "github_rate_limited",
        f"GitHub's limit is almost used up; it is asked again at {iso(until)}.",
        next="Wait until then; work goes on locally.",
        retryable=True,
        retry_at=until,
    )


def _ends_at(details: Mapping[str, Any], now: float) -> float | None:
    value = details.get("retry_at")
    return float(value) if isinstance(value, int | float) and value > now else None
