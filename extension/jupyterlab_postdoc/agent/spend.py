"""Money: what a run may still spend, and what it has spent. Nothing is asked of a model that cannot be paid for.

Every call stands in the store before it is made, with what it is expected to cost, so that calls of other runs at the
same time count it and a crash forgets nothing; afterwards with what it did cost.
"""

from __future__ import annotations

import math
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from jupyterlab_postdoc.providers.base import Usage
from jupyterlab_postdoc.providers.prices import PER_MILLION, Prices
from jupyterlab_postdoc.store.base import Reads, SpendRow, Tx

EXPECTED_OUTPUT = 1_000
"""Tokens that a call is counted with until it is known what it used."""
LEAST_OUTPUT = 512
"""A call that could not be answered with so many tokens is not made."""
MOST_OUTPUT = 1_000_000
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
    the call cannot be made; then ``sentence`` says so and ``next`` what to do.
    """

    max_tokens: int | None = None
    exceeded: str | None = None
    sentence: str = ""
    next: str = ""


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

    def extend(self) -> None:
        """The user lets the run go on: as much again."""
        self._extended += 1

    async def affordable(self, model: str, input_tokens: int, cached_tokens: int = 0) -> Payable:
        """Whether a call with about so many input tokens, ``cached_tokens`` of them from the cache, can be paid for."""
        price = self._prices.per_million(model)
        if price is None:
            return Payable()
        cost = self._prices.cost(model, _input(input_tokens, cached_tokens)) or 0.0
        most = MOST_OUTPUT
        for which, left, limit in await self._left():
            out = (left - cost) * PER_MILLION / price[1] if price[1] > 0 else (MOST_OUTPUT if left >= cost else 0)
            if out < LEAST_OUTPUT:
                return Payable(0, which, *_sentence(which, limit, self._now()))
            most = min(most, math.floor(out))
        return Payable(most if most < MOST_OUTPUT else None)

    async def _left(self) -> list[tuple[str, float, float]]:
        row, reads, limits = self._row, self._reads, self._budgets
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

    async def begin(self, id: str, model: str, input_tokens: int, cached_tokens: int = 0) -> None:
        """A call is about to be made: it counts from now on, with what it is expected to cost."""
        await self._put(id, model, {**_input(input_tokens, cached_tokens), "output_tokens": EXPECTED_OUTPUT}, True)

    async def settle(self, id: str, model: str, usage: Usage, *, estimated: bool) -> tuple[float | None, str]:
        """The call has ended, or was cut off (``estimated``). Its cost (None: no known price), and the price list."""
        return await self._put(id, model, usage, estimated), self._prices.version

    async def _put(self, id: str, model: str, usage: Usage, estimated: bool) -> float | None:
        cost = self._prices.cost(model, usage)
        base = self._row
        row = SpendRow(
            id=id,
            owner=base.owner,
            session=base.session,
            run=base.run,
            ts=self._now(),
            provider=base.provider,
            model=model,
            tokens=usage,
            cost=cost,
            estimated=estimated,
        )
        await self._write(lambda tx: tx.put_spend(row))
        return cost

    async def total(self) -> float | None:
        """What the run has cost until now; None when no call of it had a known price."""
        spent = await self._reads.spent(run=self._row.run)
        return spent.cost if spent.calls > spent.unpriced else None


def estimate_interrupted(known: Usage, chars: int) -> Usage:
    """The usage of a call that was cut off: its input was told at its start, its output follows from what was seen."""
    return {**known, "output_tokens": max(known.get("output_tokens", 0), math.ceil(chars / CHARS_PER_TOKEN))}


def _input(tokens: int, cached: int) -> Usage:
    cached = min(cached, tokens)
    return {"input_tokens": tokens - cached, "cache_read_input_tokens": cached}


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
