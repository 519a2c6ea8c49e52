"""Money: nothing is asked that cannot be paid for, everything that was paid for is counted."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import textwrap
from collections.abc import Awaitable, Callable
from pathlib import Path
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


async def test_what_a_killed_process_left_open_stays_counted(log: EventLog, data_dir: Path) -> None:
    code = """
        import asyncio, os, signal, sys
        from jupyterlab_postdoc.agent.spend import Budgets, Purse
        from jupyterlab_postdoc.log import EventLog
        from jupyterlab_postdoc.providers.prices import Prices
        from jupyterlab_postdoc.store.sqlite import SqliteStore

        async def main():
            log = EventLog(SqliteStore(sys.argv[1]))
            await log.start()
            own = {"priced": {"input": 1.0, "output": 10.0}}
            who = {"owner": "ana", "session": "c1", "run": "r1", "provider": "test", "run_usd": None}
            purse = Purse(Prices(own), Budgets(), reads=log.store, write=log.write, **who)
            await purse.begin("r1:0", "priced", 100_000)
            os.kill(os.getpid(), signal.SIGKILL)

        asyncio.run(main())
    """
    child = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", textwrap.dedent(code), str(data_dir)], timeout=30, check=False
    )
    assert child.returncode == -signal.SIGKILL
    after = purse(log, Budgets(run_usd=0.15))
    assert await after.total() == pytest.approx(0.14)
    assert (await after.begin("r1:1", MODEL, 10_000)).exceeded == "run"


async def test_the_most_that_can_be_paid_for_is_the_most_that_may_be_said(log: EventLog) -> None:
    mine = purse(log, Budgets(run_usd=1.0))
    assert (await mine.affordable(MODEL, 100_000)).max_tokens == 90_000
    await mine.settle("r1:0", MODEL, USED, estimated=False)
    assert (await mine.affordable(MODEL, 100_000)).max_tokens == 40_000
    assert (await mine.affordable(MODEL, 100_000, 100_000)).max_tokens == 49_000, "cached input is cheaper"
    refused = await mine.affordable(MODEL, 500_000)
    assert (refused.exceeded, refused.max_tokens) == ("run", 0)
    assert "$1.00" in refused.sentence
    mine.extend()
    assert (await mine.affordable(MODEL, 500_000)).max_tokens == 100_000


async def test_the_smallest_limit_holds_and_is_named(log: EventLog) -> None:
    limits = Budgets(run_usd=5.0, session_usd=0.6, day_usd=0.7)
    await purse(log, limits).settle("r1:0", MODEL, USED, estimated=False)
    second = purse(log, limits, "r2")
    assert (await second.affordable(MODEL, 0)).max_tokens == EXPECTED_OUTPUT, "a day is shared with other runs"
    alone = purse(log, Budgets(session_usd=0.6), "r2")
    assert (await alone.affordable(MODEL, 0)).max_tokens == 10_000
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


async def test_calls_that_begin_together_cannot_take_the_same_dollar(log: EventLog) -> None:
    mine = [purse(log, Budgets(day_usd=1.0), f"r{number}", session=f"c{number}") for number in range(50)]
    asked = await asyncio.gather(*(each.begin(f"r{n}:0", MODEL, 20_000) for n, each in enumerate(mine)))
    begun = [number for number, payable in enumerate(asked) if payable.exceeded is None]
    assert {payable.exceeded for payable in asked} == {None, "day"}
    assert len(begun) == 17, "0.06 each, and the last one has less to say"
    aside = await log.store.spent(owner="ana")
    assert aside.calls == 17, "what was refused was not stored"
    assert 0.99 < aside.cost <= 1.0 + 1e-9
    for number in begun:
        used = {"input_tokens": 20_000, "output_tokens": min(3_000, asked[number].max_tokens or 0)}
        await mine[number].settle(f"r{number}:0", MODEL, used, estimated=False)
    assert (await log.store.spent(owner="ana")).cost == pytest.approx(16 * 0.05 + 0.04)
    assert (await mine[49].begin("r49:1", MODEL, 20_000)).exceeded is None, "what was not used is free again"


async def test_near_the_end_of_a_day_nothing_overruns_it(log: EventLog) -> None:
    limits = Budgets(day_usd=0.3)  # its share is less than what a call sets aside anyway
    mine = [purse(log, limits, f"r{number}", session=f"c{number}") for number in range(30)]
    asked = await asyncio.gather(*(each.begin(f"{n}", MODEL, 5_000) for n, each in enumerate(mine)))
    for number, payable in enumerate(asked):
        if payable.exceeded is None:
            said = {"input_tokens": 5_000, "output_tokens": payable.max_tokens or 0}
            await mine[number].settle(f"{number}", MODEL, said, estimated=False)
    assert 0.28 < (await log.store.spent(owner="ana")).cost <= 0.3 + 1e-6


async def test_a_call_over_midnight_belongs_to_the_day_that_paid_for_it(log: EventLog) -> None:
    clock = [20_000 * DAY_S - 10.0]
    mine = purse(log, Budgets(day_usd=0.6), now=lambda: clock[0])
    assert (await mine.begin("r1:0", MODEL, 100_000)).exceeded is None
    clock[0] += 20
    await mine.settle("r1:0", MODEL, USED, estimated=False)
    assert (await log.store.spent(owner="ana", since=20_000.0 * DAY_S)).calls == 0
    assert (await mine.begin("r1:1", MODEL, 100_000)).exceeded is None


async def test_the_cache_is_counted_on_only_while_it_is_warm(log: EventLog) -> None:
    clock = [20_000.0 * DAY_S]
    mine = purse(log, Budgets(run_usd=1.0), now=lambda: clock[0])
    assert (await mine.affordable(MODEL, 100_000, 100_000)).max_tokens == 90_000, "nothing is known to be cached"
    await mine.settle("r1:0", MODEL, {"output_tokens": 10_000}, estimated=False)
    assert (await mine.affordable(MODEL, 100_000, 100_000)).max_tokens == 89_000
    clock[0] += 300
    assert (await mine.affordable(MODEL, 100_000, 100_000)).max_tokens == 80_000


async def test_a_long_request_makes_its_answer_dearer(log: EventLog) -> None:
    model, into = "claude-haiku-5-5", 150_000  # its price is five times higher beyond 100,000 tokens of input
    prices = Prices()
    mine = Purse(
        prices,
        Budgets(run_usd=0.2),
        owner="ana",
        session="c1",
        run="r1",
        provider="test",
        run_usd=None,
        reads=log.store,
        write=log.write,
    )
    payable = await mine.begin("r1:0", model, into)
    assert payable.max_tokens is not None
    used = {"cache_creation_input_tokens": into, "output_tokens": payable.max_tokens}
    cost, source = await mine.settle("r1:0", model, used, estimated=False)
    assert cost is not None
    assert 0.199 < cost <= 0.2
    assert source.startswith("genai-prices ")


async def test_a_reply_that_tells_no_usage_stays_counted_as_it_was_begun(log: EventLog) -> None:
    mine = purse(log, Budgets())
    await mine.begin("r1:0", MODEL, 100_000)
    cost, _ = await mine.settle("r1:0", MODEL, {}, estimated=False)
    assert cost == pytest.approx(0.14)
    assert await mine.total() == pytest.approx(0.14)


async def test_the_price_of_the_name_that_was_asked_counts_for_the_one_that_answers(log: EventLog) -> None:
    mine = purse(log, Budgets())
    for number, answering in enumerate(("llama-3", "claude-opus-5-5")):
        await mine.begin(f"r1:{number}", MODEL, 0)
        cost, source = await mine.settle(f"r1:{number}", answering, USED, estimated=False)
        assert (cost, source) == (pytest.approx(0.5), "PostdocApp.model_prices")


async def test_what_costs_nothing_can_be_paid_for_when_all_is_spent(log: EventLog) -> None:
    await purse(log, Budgets()).settle("r1:0", MODEL, USED, estimated=False)
    free = Prices({"local": {"input": 0, "output": 0}})
    mine = Purse(
        free,
        Budgets(day_usd=0.1),
        owner="ana",
        session="c1",
        run="r2",
        provider="test",
        run_usd=None,
        reads=log.store,
        write=log.write,
    )
    payable = await mine.begin("r2:0", "local", 5_000)
    assert (payable.exceeded, payable.max_tokens, payable.unpriced) == (None, None, False)
    assert await mine.settle("r2:0", "local", USED, estimated=False) == (0.0, "PostdocApp.model_prices")
    assert await mine.total() == 0.0


async def test_a_model_without_a_price_is_not_limited_by_dollars_and_costs_unknown(log: EventLog) -> None:
    mine = purse(log, Budgets(run_usd=0.01))
    payable = await mine.begin("r1:0", "unheard-of", 10**9)
    assert (payable.exceeded, payable.max_tokens, payable.unpriced) == (None, None, True)
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
@given(
    calls=st.lists(
        st.tuples(
            st.integers(0, 200_000),
            st.integers(-2_000, 2_000),
            st.integers(0, 60_000),
            st.sampled_from(["done", "cut", "crash"]),
        ),
        max_size=12,
    )
)
def test_no_budget_is_overrun_by_more_than_the_guess_of_the_input(
    tmp_path_factory: pytest.TempPathFactory, calls: list[tuple[int, int, int, str]]
) -> None:
    """Whatever calls come and however they end, everything is counted, and an answer within its max_tokens breaks the
    budget by no more than what the last guesses of an input were wrong by.
    """

    async def run() -> None:
        log = EventLog(SqliteStore(tmp_path_factory.mktemp("spend")))
        await log.start()
        try:
            mine, costs, wrong = purse(log, Budgets(run_usd=0.5)), [], 0
            for number, (guess, error, wanted, end) in enumerate(calls):
                id, into = f"r1:{number}", max(0, guess + error)
                payable = await mine.begin(id, MODEL, guess)
                if payable.exceeded is not None:
                    continue
                assert payable.max_tokens is not None
                if end == "crash":  # another process goes on
                    costs.append(guess * 1e-6 + min(EXPECTED_OUTPUT, payable.max_tokens) * 1e-5)
                    mine = purse(log, Budgets(run_usd=0.5))
                    continue
                wrong = max(wrong, into - guess)
                used = {"input_tokens": into, "output_tokens": min(wanted, payable.max_tokens)}
                cost, _ = await mine.settle(id, MODEL, used, estimated=end == "cut")
                assert cost is not None
                costs.append(cost)
            assert await mine.total() == (pytest.approx(sum(costs)) if costs else None)
            assert sum(costs) <= 0.5 + wrong * 1e-6 + 1e-9
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
