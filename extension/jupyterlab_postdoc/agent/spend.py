"""Money: what a run may still spend, and what it has spent. Nothing is asked of a model that cannot be paid for.

Every call stands in the store before it is made, with what it is expected to cost, so that calls of other runs at the
same time count it and a crash forgets nothing; afterwards with what it did cost. Looking what is left and taking a part
of it is one transaction: calls that begin together cannot take the same dollar.

How much a call sets aside: its input (as text that the provider caches, for that is dearer; what it has cached already
only while the cache is warm) and EXPECTED_OUTPUT, or what it may say at most where that is less. Of what its owner has
left for the day it may use DAY_SHARE at most, and EXPECTED_OUTPUT at least. So near the end of a budget everything that
may be said is set aside, and no number of parallel calls breaks it but by the error of the guessed input; far from the
end only calls that are much longer than expected, more than 1 / DAY_SHARE of them at once, could.
"""

from __future__ import annotations

import math
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec

from jupyterlab_postdoc.providers.base import Usage
from jupyterlab_postdoc.providers.prices import Prices
from jupyterlab_postdoc.store.base import Reads, SpendRow, Tx

EXPECTED_OUTPUT = 4_000
"""Tokens that a call is counted with until it is known what it used."""
DAY_SHARE = 1 / 16
CACHE_S = 240.0
"""So long after a call its text is surely in the provider's cache (which keeps it for five minutes)."""
LEAST_OUTPUT = 512
"""A call that could not be answered with so many tokens is not made."""
MOST_OUTPUT = 1_000_000
PROBE = 1_000
DAY_S = 86_400
CHARS_PER_TOKEN = 3.5

Write = Callable[[Callable[[Tx], Awaitable[Any]]], Awaitable[Any]]


@dataclass(frozen=True)
class Budgets:
    """The administrator's limits in US dollars; None: no limit. A day is one of UTC."""

    run_usd: float | None = None
    session_usd: float | None = None
    day_usd: float | None = None


class Payable(NamedTuple):
    """``max_tokens``: the most output that can be paid for (None: no limit). ``exceeded``: run, session or day, when
    the call cannot be made; then ``sentence`` says so and ``next`` what to do. ``unpriced``: the model has no known
    price, so dollars do not limit it. ``left_usd``: the least that one of the limits leaves before the call.
    """

    max_tokens: int | None = None
    exceeded: str | None = None
    sentence: str = ""
    next: str = ""
    unpriced: bool = False
    left_usd: float | None = None


class Purse:
    """What one run may spend: the user's limit for it, within the administrator's limits for session and day.

    ``run_usd`` is what the user gave for this run; the administrator's limit of a run holds where it is smaller. A user
    may go on beyond it (:meth:`extend`), each time by as much again; session and day have the last word.
    """

    def __init__(
        self,
        prices: Prices,
        budgets: Budgets,
        *,
        owner: str,
        session: str,
        run: str,
        provider: str,
        run_usd: float | None,
        reads: Reads,
        write: Write,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._prices = prices
        self._budgets = budgets
        self._row = SpendRow(id="", owner=owner, session=session, run=run, provider=provider)
        given = [limit for limit in (run_usd, budgets.run_usd) if limit is not None]
        self._run_usd = min(given) if given else None
        self._extended = 0
        self._reads = reads
        self._write = write
        self._now = now
        self._begun: dict[str, tuple[str, Usage]] = {}
        self._last = -math.inf

    def extend(self) -> None:
        """The user lets the run go on: as much again."""
        self._extended += 1

    async def affordable(self, model: str, input_tokens: int, cached_tokens: int = 0) -> Payable:
        """Whether a call with about so many input tokens, ``cached_tokens`` of them from the cache, could be paid for
        now. Sets nothing aside: :meth:`begin` decides.
        """
        return await self._payable(self._reads, model, self._input(input_tokens, cached_tokens))

    async def begin(self, id: str, model: str, input_tokens: int, cached_tokens: int = 0) -> Payable:
        """A call is about to be made: it counts from now on, with what it is expected to cost. When the answer says
        ``exceeded`` nothing was stored, and the call must not be made.
        """
        asked = self._input(input_tokens, cached_tokens)

        async def take(tx: Tx) -> Payable:
            payable = await self._payable(tx, model, asked)
            if payable.exceeded is None:
                most = EXPECTED_OUTPUT if payable.max_tokens is None else min(EXPECTED_OUTPUT, payable.max_tokens)
                usage = {**asked, "output_tokens": most}
                self._begun[id] = model, usage
                await tx.put_spend(self._call(id, model, usage, self._prices.cost(model, usage), True))
            return payable

        payable: Payable = await self._write(take)
        return payable

    def expected_input(self, id: str) -> Usage:
        """What a call that was begun and has not ended is expected to read."""
        expected = self._begun.get(id, ("", {}))[1]
        return {kind: count for kind, count in expected.items() if kind != "output_tokens"}

    async def settle(self, id: str, model: str, usage: Usage, *, estimated: bool) -> tuple[float | None, str]:
        """The call has ended, or was cut off (``estimated``). Its cost (None: no known price), and where the price is
        from. ``model`` is the one that answered; when only the one that was asked has a price, that counts. Without
        any usage the call stays counted as it was begun.
        """
        asked, expected = self._begun.pop(id, (model, {}))
        if not usage:
            usage, estimated = expected, True
        elif not estimated:
            self._last = self._now()
        if self._prices.is_own(asked) or self._prices.cost(model, usage) is None:
            model = asked
        cost = self._prices.cost(model, usage)
        if usage:
            row = self._call(id, model, usage, cost, estimated)
            await self._write(lambda tx: tx.put_spend(row))
        return cost, self._prices.source(model) if cost is not None else ""

    async def _payable(self, reads: Reads, model: str, asked: Usage) -> Payable:
        cost = self._prices.cost(model, asked)
        more = self._prices.cost(model, {**asked, "output_tokens": PROBE})
        if cost is None or more is None:
            return Payable(unpriced=True)
        if more == 0:
            return Payable()
        per_token = (more - cost) / PROBE  # at this length: a long request makes its answer dearer too
        most, least_left = MOST_OUTPUT, None
        for which, left, limit in await self._left(reads):
            out = (left - cost) / per_token if per_token > 0 else (MOST_OUTPUT if left >= cost else 0)
            out += 1e-6  # money is binary fractions: a whole token more or less is no matter, one too few is confusing
            if out < LEAST_OUTPUT:
                return Payable(0, which, *_sentence(which, limit, self._now()), left_usd=left)
            if which == "day":
                out = min(out, max(EXPECTED_OUTPUT, out * DAY_SHARE))
            most = min(most, math.floor(out))
            least_left = left if least_left is None else min(left, least_left)
        return Payable(most if most < MOST_OUTPUT else None, left_usd=least_left)

    async def _left(self, reads: Reads) -> list[tuple[str, float, float]]:
        row, limits = self._row, self._budgets
        left: list[tuple[str, float, float]] = []
        if self._run_usd is not None:
            limit = self._run_usd * (1 + self._extended)
            left.append(("run", limit - (await reads.spent(run=row.run)).cost, limit))
        if limits.session_usd is not None:
            spent = await reads.spent(session=row.session)
            left.append(("session", limits.session_usd - spent.cost, limits.session_usd))
        if limits.day_usd is not None:
            spent = await reads.spent(owner=row.owner, since=self._now() // DAY_S * DAY_S)
            left.append(("day", limits.day_usd - spent.cost, limits.day_usd))
        return left

    def _input(self, tokens: int, cached: int) -> Usage:
        warm = self._now() - self._last < CACHE_S
        cached = min(cached, tokens) if warm else 0
        return {"cache_creation_input_tokens": tokens - cached, "cache_read_input_tokens": cached}

    def _call(self, id: str, model: str, usage: Usage, cost: float | None, estimated: bool) -> SpendRow:
        changes = {"id": id, "model": model, "tokens": usage, "cost": cost, "estimated": estimated, "ts": self._now()}
        return msgspec.structs.replace(self._row, **changes)

    async def total(self) -> float | None:
        """What the run has cost until now; None when no call of it had a known price."""
        spent = await self._reads.spent(run=self._row.run)
        return spent.cost if spent.calls > spent.unpriced else None


def estimate_interrupted(known: Usage, chars: int) -> Usage:
    """The usage of a call that was cut off: its input was told at its start, its output follows from what was seen."""
    return {**known, "output_tokens": max(known.get("output_tokens", 0), math.ceil(chars / CHARS_PER_TOKEN))}


def _sentence(which: str, limit: float, now: float) -> tuple[str, str]:
    amount = f"${limit:,.2f}"
    if which == "run":
        return f"The budget of {amount} for this run is used up.", ""
    if which == "session":
        return (
            f"This chat has used up the {amount} that the administrator allows for one.",
            "Start a new chat, or ask the administrator to raise PostdocApp.budget_usd_session.",
        )
    hours = math.ceil((DAY_S - now % DAY_S) / 3600)
    return (
        f"You have used up the {amount} that the administrator allows for a day.",
        f"It is free again in {hours} h (at 00:00 UTC); or ask the administrator to raise PostdocApp.budget_usd_day.",
    )
