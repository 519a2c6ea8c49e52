"""The dispatcher in the server: what becomes of a run, however its execution ends."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from jupyterlab_postdoc.dispatch.local import Execute, LocalDispatcher
from jupyterlab_postdoc.errors import PostdocError
from jupyterlab_postdoc.log import EventLog
from jupyterlab_postdoc.protocol import AgentStatus, Error, Result
from jupyterlab_postdoc.runs import RunContext, Runs, Stopped, answer, cancel, requeue
from jupyterlab_postdoc.store.base import RequestRow, RunRow, SessionRow, Tx
from jupyterlab_postdoc.store.sqlite import SqliteStore


async def queue(log: EventLog, id: str = "r", session: str = "s", **fields: Any) -> None:
    async def unit(tx: Tx) -> None:
        if await tx.get_session(session) is None:
            await tx.insert_session(SessionRow(id=session, owner="ada"))
        await tx.insert_run(RunRow(id=id, session=session, **fields))

    await log.write(unit)


@asynccontextmanager
async def dispatching(log: EventLog, execute: Execute, **options: Any) -> AsyncIterator[LocalDispatcher]:
    runs = Runs(log, graceful_s=options.pop("graceful_s", 10.0))
    dispatcher = LocalDispatcher(runs, execute, **options)
    await dispatcher.start()
    try:
        yield dispatcher
    finally:
        await dispatcher.stop(grace_s=1.0)


async def settled(log: EventLog, id: str = "r", *states: str, within: float = 5.0) -> RunRow:
    """Wait for one of the states (default: an end)."""
    wanted = states or ("done", "error", "stopped", "cancelled")
    async with asyncio.timeout(within):
        while True:
            run = await log.store.get_run(id)
            if run is not None and run.status in wanted:
                return run
            await asyncio.sleep(0.005)


async def test_submitted_work_starts_at_once(log: EventLog) -> None:
    started: list[float] = []

    async def execute(ctx: RunContext) -> None:
        started.append(time.perf_counter())
        await ctx.emit(AgentStatus(message="hello"))

    async with dispatching(log, execute, sweep_s=60.0):
        await asyncio.sleep(0.05)
        submitted = time.perf_counter()
        await queue(log)
        run = await settled(log)
    assert run.status == "done", "execute that returns is done"
    assert started[0] - submitted < 0.2
    assert [w.id for w in await log.store.list_workers()] == []


async def test_concurrency_and_order_within_a_session(log: EventLog) -> None:
    active: set[str] = set()
    most = 0
    order: list[str] = []

    async def execute(ctx: RunContext) -> None:
        nonlocal most
        assert ctx.session not in active
        active.add(ctx.session)
        most = max(most, len(active))
        order.append(ctx.run.id)
        while len(order) < 3:  # three do fit in
            await asyncio.sleep(0.002)
        await asyncio.sleep(0.01)
        active.discard(ctx.session)

    for n in range(12):
        await queue(log, f"r{n}", f"s{n % 4}")
    async with dispatching(log, execute, concurrency=3):
        for n in range(12):
            await settled(log, f"r{n}")
    assert most == 3
    for s in range(4):
        assert [r for r in order if int(r[1:]) % 4 == s] == [f"r{s}", f"r{s + 4}", f"r{s + 8}"]


async def test_a_run_for_later_waits_for_its_time(log: EventLog) -> None:
    async def execute(ctx: RunContext) -> None:
        assert time.time() >= ctx.run.not_before

    async with dispatching(log, execute, sweep_s=60.0):
        await queue(log, not_before=time.time() + 0.3)
        await asyncio.sleep(0.1)
        assert (await settled(log, "r", "queued")).status == "queued"
        await settled(log, within=2)


async def test_an_unknown_failure_is_told_without_its_traceback(
    log: EventLog, caplog: pytest.LogCaptureFixture
) -> None:
    async def execute(ctx: RunContext) -> None:
        raise KeyError("secret detail")

    with caplog.at_level(logging.ERROR):
        async with dispatching(log, execute):
            await queue(log)
            run = await settled(log)
    assert run.status == "error"
    (event,) = await log.read("s")
    body = event.body()
    assert (body["type"], body["code"]) == ("error", "internal")
    assert "secret" not in event.payload.decode()
    assert body["ref"] in caplog.text
    assert "secret detail" in caplog.text
    assert run.error["code"] == "internal"


async def test_a_coded_failure_goes_to_on_crash(log: EventLog) -> None:
    seen: list[BaseException] = []

    async def execute(ctx: RunContext) -> None:
        raise PostdocError("notebook_failed", "Cell 3 failed.")

    async def on_crash(ctx: RunContext, error: BaseException) -> None:
        seen.append(error)
        result = Result(success=False, cost=None, duration_ms=1, stop_reason="error")
        await ctx.finish("error", Error(code="notebook_failed", error=str(error)), result)

    async with dispatching(log, execute, on_crash=on_crash):
        await queue(log)
        assert (await settled(log)).status == "error"
    assert isinstance(seen[0], PostdocError)
    assert [e.type for e in await log.read("s")] == ["error", "result"]


async def test_a_failing_on_crash_still_ends_the_run(log: EventLog, caplog: pytest.LogCaptureFixture) -> None:
    async def execute(ctx: RunContext) -> None:
        raise ValueError("first")

    async def on_crash(ctx: RunContext, error: BaseException) -> None:
        raise ValueError("second")

    async with dispatching(log, execute, on_crash=on_crash):
        await queue(log)
        assert (await settled(log)).status == "error"
    assert [e.type for e in await log.read("s")] == ["error"]


async def test_question_and_answer(log: EventLog) -> None:
    async def execute(ctx: RunContext) -> None:
        request = await ctx.ask(RequestRow(id="q", session="s"))
        await ctx.finish("done", AgentStatus(message=f"got {request.answer}"))

    async with dispatching(log, execute, sweep_s=60.0):
        await queue(log)
        await settled(log, "r", "waiting")
        await log.write(lambda tx: answer(tx, "q", answer="42", by="ada"))
        await settled(log, within=2)
    assert (await log.read("s"))[-1].body()["message"] == "got 42"


@pytest.mark.parametrize("own", [True, False], ids=["this process", "another process"])
async def test_stop_now_cancels_the_task(log: EventLog, data_dir: Path, own: bool) -> None:
    cleaned: list[str] = []

    async def execute(ctx: RunContext) -> None:
        try:
            await asyncio.sleep(60)
        finally:
            cleaned.append(str(ctx.cancel.how))

    async def on_crash(ctx: RunContext, error: BaseException) -> None:
        assert isinstance(error, Stopped)
        await ctx.finish("stopped", AgentStatus(message=error.how))

    async with dispatching(log, execute, on_crash=on_crash, sweep_s=60.0):
        await queue(log)
        await settled(log, "r", "running")
        await asyncio.sleep(0.05)
        if own:
            await log.write(lambda tx: cancel(tx, "r", "now"))
        else:
            store = SqliteStore(data_dir)
            await store.open()
            await store.commit([lambda tx: cancel(tx, "r", "now")])
            await store.close()
        assert (await settled(log, within=2)).status == "stopped"
    assert cleaned == ["now"]
    assert (await log.read("s"))[-1].body()["message"] == "now"


async def test_graceful_stop_becomes_now(log: EventLog) -> None:
    async def obedient(ctx: RunContext) -> None:
        await ctx.cancel.wait()
        ctx.cancel.check()

    async def deaf(ctx: RunContext) -> None:
        while True:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                if ctx.cancel.how == "now":
                    raise

    for id, execute in (("a", obedient), ("b", deaf)):
        async with dispatching(log, execute, graceful_s=0.2) as dispatcher:
            await queue(log, id, id)
            await settled(log, id, "running")
            await asyncio.sleep(0.02)
            await dispatcher.runs.cancel(id, "graceful")
            assert (await settled(log, id, within=2)).status == "stopped"


async def test_server_stop_yields_at_the_next_edge_and_continues(log: EventLog) -> None:
    done: list[str] = []

    async def execute(ctx: RunContext) -> None:
        for i in range(6):

            async def fn(i: int = i) -> None:
                await asyncio.sleep(0.03)
                done.append(f"{ctx.run.id}{i}")

            await ctx.step(f"s{i}", fn)
        await ctx.finish("done", AgentStatus(message="end"))

    async with dispatching(log, execute):
        await queue(log, "a", "a")
        await queue(log, "b", "b")
        await asyncio.sleep(0.1)
    for id in "ab":
        run = await log.store.get_run(id)
        assert run is not None
        assert (run.status, run.crashes, run.owner) == ("queued", 0, None)
    assert 2 <= len(done) < 12
    async with dispatching(log, execute):
        await settled(log, "a")
        await settled(log, "b")
    assert sorted(done) == sorted(f"{r}{i}" for r in "ab" for i in range(6)), "no step twice"


async def test_server_stop_cancels_what_does_not_yield(log: EventLog) -> None:
    async def execute(ctx: RunContext) -> None:
        await ctx.text("i").write("half")
        await asyncio.sleep(60)

    dispatcher = LocalDispatcher(Runs(log), execute)
    await dispatcher.start()
    await queue(log)
    await settled(log, "r", "running")
    await asyncio.sleep(0.02)
    began = time.perf_counter()
    await dispatcher.stop(grace_s=0.1)
    assert time.perf_counter() - began < 1
    assert (await settled(log, "r", "queued")).crashes == 0
    (event,) = await log.read("s")
    assert (event.type, event.body()["partial"]) == ("assistant_message", True)


async def test_a_run_that_ends_the_server_again_and_again_is_given_up(log: EventLog) -> None:
    calls: list[int] = []

    async def execute(ctx: RunContext) -> None:
        calls.append(1)

    await queue(log, max_attempts=2)
    runs = Runs(log)
    await runs.start()
    for _ in range(3):
        ctx = await runs.claim()
        assert ctx is not None
        await log.write(lambda tx, ctx=ctx: tx.interrupt("r", ctx.fence.epoch))
        runs.drop(ctx)
    await runs.stop()
    async with dispatching(log, execute):
        assert (await settled(log)).status == "error"
        assert calls == []
        (event,) = await log.read("s")
        assert "3 times in a row" in event.body()["error"]
        await log.write(lambda tx: requeue(tx, "r"))
        assert (await settled(log, "r", "done")).status == "done"
        assert calls == [1]


async def test_a_deleted_session_ends_its_run(log: EventLog) -> None:
    ended: list[Callable[[], None] | str] = []

    async def execute(ctx: RunContext) -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.append("lost" if ctx.lost else "?")

    async with dispatching(log, execute, sweep_s=60.0) as dispatcher:
        await queue(log)
        await settled(log, "r", "running")
        await asyncio.sleep(0.02)
        await log.write(lambda tx: tx.delete_session("s"))
        async with asyncio.timeout(2):
            while dispatcher.runs.held:
                await asyncio.sleep(0.005)
    assert ended == ["lost"]


async def test_an_execution_that_cannot_say_its_end_is_taken_up_again(log: EventLog) -> None:
    attempts: list[int] = []

    async def execute(ctx: RunContext) -> None:
        attempts.append(ctx.run.attempt)
        if len(attempts) == 1:
            raise PostdocError("storage_full", "The disk is full.", retryable=True)

    async def on_crash(ctx: RunContext, error: BaseException) -> None:
        ctx.ended = True  # as after a failed write: the row still says running, nobody holds it

    async with dispatching(log, execute, on_crash=on_crash, sweep_s=0.1):
        await queue(log)
        assert (await settled(log, within=3)).status == "done"
    assert attempts == [1, 2]
