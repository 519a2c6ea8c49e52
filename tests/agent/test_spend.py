"""Money: nothing is asked that cannot be paid for, everything that was paid for is counted."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jupyterlab_postdoc.agent.spend import DAY_S, EXPECTED_OUTPUT, Budgets, Purse, estimate_interrupted
from jupyterlab_postdoc.log import EventLog
from jupyterlab_postdoc.providers.prices import Prices
from jupyterlab_postdoc.store.base import SessionRow
from jupyterlab_postdoc.store.sqlite import SqliteStore

MODEL = "priced"
PRICES = Prices({MODEL: {"input": 1.0, "output": 10.0, "cache_read": 0.1}})  # US dollars per million tokens
USED = {"input_tokens": 100_000, "output_tokens": 40_000}  # 0.10 + 0.40


def purse(log: EventLog, limits: Budgets, run: str = "r1", **fields: Any) -> Purse:
    given = {"owner": "ana", "session": "c1", "provider": "test", "run_usd": None} | fields
    return Purse(PRICES, limits, run=run, reads=log.store, write=log.write, **given)


async def test_a_call_counts_from_its_beginning_and_then_what_it_was(log: EventLog) -> None:
    mine = purse(log, Budgets())
    assert await mine.total() is None, "unknown is not nothing"
    await mine.begin("r1:0", MODEL, 100_000)
    assert await mine.total() == pytest.approx(0.1 + EXPECTED_OUTPUT * 1e-5)
    cost, _ = await mine.settle("r1:0", MODEL, USED, estimated=False)
    assert cost == pytest.approx(0.5)
    assert await mine.total() == pytest.approx(0.5)


async def test_what_a_crash_left_open_stays_counted(log: EventLog) -> None:
    await purse(log, Budgets()).begin("r1:0", MODEL, 100_000)
    after = purse(log, Budgets(run_usd=0.115))
    assert (await after.affordable(MODEL, 10_000)).exceeded == "run"


async def test_the_most_that_can_be_paid_for_is_the_most_that_may_be_said(log: EventLog) -> None:
    mine = purse(log, Budgets(run_usd=1.0))
    assert (await mine.affordable(MODEL, 100_000)).max_tokens == 90_000
    assert (await mine.affordable(MODEL, 100_000, 100_000)).max_tokens == 99_000, "cached input is cheaper"
    await mine.settle("r1:0", MODEL, USED, estimated=False)
    assert (await mine.affordable(MODEL, 100_000)).max_tokens == 40_000
    refused = await mine.affordable(MODEL, 500_000)
    assert (refused.exceeded, refused.max_tokens) == ("run", 0)
    assert "$1.00" in refused.sentence
    mine.extend()
    assert (await mine.affordable(MODEL, 500_000)).max_tokens == 100_000


async def test_the_smallest_limit_holds_and_is_named(log: EventLog) -> None:
    limits = Budgets(run_usd=5.0, session_usd=0.6, day_usd=0.7)
    await purse(log, limits).settle("r1:0", MODEL, USED, estimated=False)
    second = purse(log, limits, "r2")
    assert (await second.affordable(MODEL, 0)).max_tokens == pytest.approx(10_000, abs=1)
    assert (await second.affordable(MODEL, 200_000)).exceeded == "session"
    other_chat = purse(log, limits, "r3", session="c2")
    assert (await other_chat.affordable(MODEL, 300_000)).exceeded == "day"
    assert (await purse(log, limits, "r4", session="c3", owner="bob").affordable(MODEL, 300_000)).exceeded is None


async def test_a_user_may_want_less_than_the_administrator_allows_and_not_more(log: EventLog) -> None:
    limits = Budgets(run_usd=1.0)
    assert (await purse(log, limits, run_usd=0.1).affordable(MODEL, 0)).max_tokens == 10_000
    assert (await purse(log, limits, run_usd=9.0).affordable(MODEL, 0)).max_tokens == 100_000


async def test_a_new_day_begins_at_midnight_utc(log: EventLog) -> None:
    noon = 20_000 * DAY_S + DAY_S / 2
    limits = Budgets(day_usd=0.5)
    await purse(log, limits, now=lambda: noon).settle("r1:0", MODEL, USED, estimated=False)
    late = await purse(log, limits, "r2", now=lambda: noon + 3600).affordable(MODEL, 0)
    assert late.exceeded == "day"
    assert "11 h" in late.next
    assert (await purse(log, limits, "r2", now=lambda: noon + DAY_S / 2).affordable(MODEL, 0)).exceeded is None


async def test_many_at_once_cannot_outrun_the_day(log: EventLog) -> None:
    limits = Budgets(day_usd=1.0)

    async def work(number: int) -> int:
        mine, calls = purse(log, limits, f"r{number}", session=f"c{number}"), 0
        while (await mine.affordable(MODEL, 20_000)).exceeded is None and calls < 50:
            await mine.begin(f"r{number}:{calls}", MODEL, 20_000)
            await asyncio.sleep(0)
            await mine.settle(
                f"r{number}:{calls}", MODEL, {"input_tokens": 20_000, "output_tokens": 1_000}, estimated=False
            )
            calls += 1
        return calls

    calls = sum(await asyncio.gather(*(work(number) for number in range(20))))
    spent = (await log.store.spent(owner="ana")).cost
    assert spent == pytest.approx(calls * 0.03)
    assert spent <= 1.0 + 20 * 0.03, "at most one call of each that was under way"


async def test_a_model_without_a_price_is_not_limited_by_dollars_and_costs_unknown(log: EventLog) -> None:
    mine = purse(log, Budgets(run_usd=0.01))
    assert (await mine.affordable("unheard-of", 10**9)).exceeded is None
    await mine.settle("r1:0", "unheard-of", USED, estimated=False)
    assert await mine.total() is None
    assert (await log.store.spent(run="r1")).unpriced == 1


def test_an_interrupted_call_is_estimated_from_what_was_seen() -> None:
    assert estimate_interrupted({"input_tokens": 7, "output_tokens": 1}, 350) == {
        "input_tokens": 7,
        "output_tokens": 100,
    }
    assert estimate_interrupted({"input_tokens": 7, "output_tokens": 900}, 350)["output_tokens"] == 900


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(calls=st.lists(st.tuples(st.integers(0, 200_000), st.integers(0, 60_000)), max_size=12))
def test_no_budget_is_overrun_by_more_than_the_guess_of_the_input(
    tmp_path_factory: pytest.TempPathFactory, calls: list[tuple[int, int]]
) -> None:
    """Whatever calls come: an answer within its max_tokens never breaks the budget when the input was known."""

    async def run() -> None:
        log = EventLog(SqliteStore(tmp_path_factory.mktemp("spend")))
        await log.start()
        try:
            mine = purse(log, Budgets(run_usd=0.5))
            for number, (into, wanted) in enumerate(calls):
                payable = await mine.affordable(MODEL, into)
                if payable.exceeded is not None:
                    continue
                said = min(wanted, payable.max_tokens if payable.max_tokens is not None else wanted)
                used = {"input_tokens": into, "output_tokens": said}
                await mine.settle(f"r1:{number}", MODEL, used, estimated=False)
            assert (await mine.total() or 0.0) <= 0.5 + 1e-9
        finally:
            await log.stop()

    asyncio.run(run())


async def test_leave_is_kept_for_a_session_or_for_all_and_goes_with_its_session(log: EventLog) -> None:
    from jupyterlab_postdoc.store.base import GrantRow, SpendRow, Tx

    async def unit(tx: Tx) -> None:
        await tx.insert_session(SessionRow(id="c1", owner="ana"))
        for session, tool in (("c1", "shell"), ("", "fetch_dataset"), ("c2", "py_exec")):
            await tx.put_grant(GrantRow(owner="ana", session=session, subject=tool))
            await tx.put_grant(GrantRow(owner="ana", session=session, subject=tool))
        await tx.put_spend(SpendRow(id="s1", owner="ana", session="c1", run="r1", cost=0.2, tokens={"input_tokens": 3}))

    await log.write(unit)
    assert await log.store.list_grants("ana", "c1") == {"shell", "fetch_dataset"}
    assert await log.store.list_grants("bob", "c1") == set()
    deleting: Callable[[Tx], Awaitable[bool]] = lambda tx: tx.delete_session("c1")  # noqa: E731
    await log.write(deleting)
    assert await log.store.list_grants("ana", "c1") == {"fetch_dataset"}
    assert (await log.store.spent(owner="ana")).cost == pytest.approx(0.2), "the day still counts it"
    assert await log.write(lambda tx: tx.delete_grant("ana", "", "fetch_dataset"))
    assert await log.store.list_grants("ana", "c1") == set()
