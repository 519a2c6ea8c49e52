"""Runs: fence, journal, questions, stop, takeover."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest

from jupyterlab_postdoc.errors import PostdocError
from jupyterlab_postdoc.log import EventLog
from jupyterlab_postdoc.protocol import AgentStatus, AssistantMessage, Question, Result, ToolResult
from jupyterlab_postdoc.runs import (
    LeaseLost,
    Paused,
    RunContext,
    Runs,
    Stopped,
    Yielded,
    answer,
    cancel,
    requeue,
)
from jupyterlab_postdoc.store.base import Draft, RequestRow, RunRow, SessionRow, Tx, WorkerRow
from jupyterlab_postdoc.store.host import host_key, is_dead, process_started, this_worker
from jupyterlab_postdoc.store.sqlite import SqliteStore


def status(text: str) -> AgentStatus:
    return AgentStatus(message=text)


async def queue(log: EventLog, id: str = "r", session: str = "s", **fields: Any) -> None:
    async def unit(tx: Tx) -> None:
        if await tx.get_session(session) is None:
            await tx.insert_session(SessionRow(id=session, owner="ada"))
        await tx.insert_run(RunRow(id=id, session=session, **fields))

    await log.write(unit)


async def begin(log: EventLog, **fields: Any) -> tuple[Runs, RunContext]:
    """A started worker that holds one run."""
    runs = Runs(log)
    await runs.start()
    await queue(log, **fields)
    ctx = await runs.claim()
    assert ctx is not None
    return runs, ctx


def kinds(events: list[Any]) -> list[str]:
    return [e.type for e in events]


# --- journal ---


async def test_a_step_is_done_once(log: EventLog) -> None:
    runs, ctx = await begin(log)
    calls = []

    async def effect() -> dict[str, int]:
        calls.append(1)
        return {"n": len(calls)}

    for _ in range(3):
        assert await ctx.step("k", effect, record=lambda r: [status(f"did {r['n']}")]) == {"n": 1}
    assert calls == [1]
    assert [e.body()["message"] for e in await log.read("s")] == ["did 1"]
    step = (await ctx.steps())["k"]
    assert (step.status, step.result) == ("done", {"n": 1})
    await runs.stop()


async def test_a_started_step_is_reconciled_first(log: EventLog) -> None:
    runs, ctx = await begin(log)
    done: list[str] = []

    async def cut() -> str:
        done.append("effect")
        raise asyncio.CancelledError

    async def effect() -> str:
        done.append("again")
        return "new"

    async def found() -> str | None:
        return "found"

    async def nothing() -> str | None:
        return None

    for key in ("a", "b"):
        with pytest.raises(asyncio.CancelledError):
            await ctx.step(key, cut, reconcile=nothing)
    assert await ctx.step("a", effect, reconcile=found, record=lambda r: [status(r)]) == "found"
    assert await ctx.step("b", effect, reconcile=nothing, record=lambda r: [status(r)]) == "new"
    assert done == ["effect", "effect", "again"]
    assert [e.body()["message"] for e in await log.read("s")] == ["found", "new"]
    await runs.stop()


async def test_a_failed_step_stays_failed_unless_retryable(log: EventLog) -> None:
    runs, ctx = await begin(log)
    tries: list[bool] = []

    async def fail(retryable: bool) -> None:
        tries.append(retryable)
        raise PostdocError("tool_failed", "It broke.", next="Mend it.", retryable=retryable, cell="a")

    for _ in range(2):
        with pytest.raises(PostdocError) as final:
            await ctx.step("final", lambda: fail(False))
        assert (final.value.code, final.value.message, final.value.next, final.value.details) == (
            "tool_failed",
            "It broke.",
            "Mend it.",
            {"cell": "a"},
        )
        with pytest.raises(PostdocError):
            await ctx.step("again", lambda: fail(True))
    assert tries == [False, True, True]
    await runs.stop()


async def test_signals_leave_a_step_started(log: EventLog) -> None:
    runs, ctx = await begin(log)

    async def pause() -> None:
        raise Paused("question")

    async def stop() -> None:
        raise Stopped("now")

    with pytest.raises(Paused):
        await ctx.step("a", pause)
    with pytest.raises(Stopped):
        await ctx.step("b", stop)
    ctx.cancel.set("yield")
    with pytest.raises(Yielded):
        await ctx.step("c", pause)
    assert {k: s.status for k, s in (await ctx.steps()).items()} == {"a": "started", "b": "started"}
    await runs.stop()


# --- events of a run ---


async def test_events_carry_run_and_provider(log: EventLog) -> None:
    runs, ctx = await begin(log)
    ctx.provider = "template"
    (event,) = await ctx.emit(status("x"))
    assert (event.run, event.body()["runId"], event.body()["provider"]) == ("r", "r", "template")
    stream = ctx.text("i")
    await stream.write("partial")
    await stream.flush()
    await stream.write(" not yet sent")
    await ctx.emit(Draft(AssistantMessage(itemId="i", content=stream.text), replaces="i"))
    await asyncio.sleep(0.1)
    events = await log.read("s")
    assert kinds(events) == ["agent_status", "assistant_message"]
    assert events[1].body()["content"] == "partial not yet sent"
    await runs.stop()


async def test_finish_closes_everything_in_one_transaction(log: EventLog) -> None:
    runs, ctx = await begin(log)
    for item, kind in (("i", "token"), ("t", "thinking"), ("tool", "tool_output")):
        stream = ctx.text(item, kind)
        await stream.write(f"half {item}")
    with pytest.raises(Paused):
        await ctx.ask(RequestRow(id="q", session="s"), Question(requestId="q", question="?"))
    result = Result(success=False, cost=None, duration_ms=1, stop_reason="user")
    await ctx.finish("stopped", result, output={"a": 1}, then=lambda tx: tx.update_session("s", state="stopped"))
    assert ctx.ended
    events = await log.read("s")
    assert kinds(events) == ["question", "assistant_message", "thinking", "tool_result", "answered", "result"]
    assert events[4].body()["decision"] == "cancelled"
    assert events[1].body() | {"replaces": 0} == {
        "type": "assistant_message",
        "itemId": "i",
        "content": "half i",
        "partial": True,
        "runId": "r",
        "replaces": 0,
    }
    assert events[3].body()["ok"] is False
    run = await log.store.get_run("r")
    assert run is not None
    assert (run.status, run.output, run.owner, run.ended_at is not None) == ("stopped", {"a": 1}, None, True)
    assert (await log.store.get_request("q")).status == "cancelled"  # type: ignore[union-attr]
    assert (await log.store.get_session("s")).state == "stopped"  # type: ignore[union-attr]
    with pytest.raises(LeaseLost):
        await ctx.emit(status("late"))
    await log.append("s", status("a user may always write"))
    await runs.stop()


# --- questions ---


async def test_ask_pause_answer_resume_in_place(log: EventLog) -> None:
    runs, ctx = await begin(log)

    async def ask(ctx: RunContext) -> RequestRow:
        return await ctx.ask(RequestRow(id="q", session="s"), Question(requestId="q", question="Which?"))

    with pytest.raises(Paused) as paused:
        await ask(ctx)
    with pytest.raises(Paused):
        await ask(ctx)
    assert await ctx.pause(paused.value, then=lambda tx: tx.update_session("s", state="waiting")) is True
    runs.drop(ctx)
    assert kinds(await log.read("s")) == ["question"], "asked once"
    await queue(log, "later", priority=5)
    assert await runs.claim() is None
    await log.write(lambda tx: answer(tx, "q", answer="this one", by="ada"))
    ctx = await runs.claim()  # type: ignore[assignment]
    assert ctx.run.id == "r"
    assert (await ask(ctx)).answer == "this one"
    await ctx.finish("done")
    runs.drop(ctx)
    following = await runs.claim()
    assert following is not None
    assert following.run.id == "later"
    await runs.stop()


async def test_an_answer_faster_than_the_pause(log: EventLog) -> None:
    runs, ctx = await begin(log)
    with pytest.raises(Paused) as paused:
        await ctx.ask(RequestRow(id="q", session="s"))
    await log.write(lambda tx: answer(tx, "q", decision="allow", by="ada"))
    assert await ctx.pause(paused.value) is False
    runs.drop(ctx)
    again = await runs.claim()
    assert again is not None
    assert (await again.ask(RequestRow(id="q", session="s"))).decision == "allow"
    await runs.stop()


async def test_a_request_expires(log: EventLog) -> None:
    runs, ctx = await begin(log)
    with pytest.raises(Paused) as paused:
        await ctx.ask(RequestRow(id="q", session="s", deadline=time.time() - 1))
    await ctx.pause(paused.value)
    runs.drop(ctx)
    await runs.recover()
    assert (await log.read("s"))[-1].body() == {
        "type": "answered",
        "requestId": "q",
        "answer": "",
        "by": "",
        "decision": "expired",
    }
    again = await runs.claim()
    assert again is not None
    assert (await again.ask(RequestRow(id="q", session="s"))).status == "expired"
    await runs.stop()


async def test_a_pause_without_request_waits_for_requeue(log: EventLog) -> None:
    runs, ctx = await begin(log)
    await ctx.pause(Paused("budget"))
    runs.drop(ctx)
    assert await runs.claim() is None
    assert (await log.write(lambda tx: requeue(tx, "r"))).status == "queued"  # type: ignore[union-attr]
    assert await runs.claim() is not None
    await runs.stop()


# --- stop ---


async def test_cancel_by_state(log: EventLog) -> None:
    runs, ctx = await begin(log)
    assert (await runs.cancel("r", "graceful")).cancel == 1  # type: ignore[union-attr]
    assert ctx.cancel.how == "graceful"
    with pytest.raises(Stopped) as stopped:
        ctx.cancel.check()
    assert stopped.value.how == "graceful"
    assert (await runs.cancel("r", "now")).cancel == 2  # type: ignore[union-attr]
    assert (await runs.cancel("r", "graceful")).cancel == 2  # type: ignore[union-attr]
    assert ctx.cancel.how == "now"
    await ctx.finish("stopped")
    assert await runs.cancel("r", "now") is None
    await queue(log, "fresh")
    assert (await runs.cancel("fresh", "now")).status == "cancelled"  # type: ignore[union-attr]
    with pytest.raises(PostdocError):
        await runs.cancel("none", "now")
    resumed = await log.write(lambda tx: requeue(tx, "r"))
    assert resumed is not None
    assert (resumed.status, resumed.cancel) == ("queued", 0)
    assert await log.write(lambda tx: requeue(tx, "fresh")) is None
    await runs.stop()


async def test_a_waiting_run_is_stopped_by_its_own_execution(log: EventLog) -> None:
    runs, ctx = await begin(log)
    with pytest.raises(Paused) as paused:
        await ctx.ask(RequestRow(id="q", session="s"))
    await ctx.pause(paused.value)
    runs.drop(ctx)
    await log.write(lambda tx: cancel(tx, "r", "graceful"))
    assert (await log.store.get_request("q")).status == "cancelled"  # type: ignore[union-attr]
    again = await runs.claim()
    assert again is not None
    with pytest.raises(Stopped):
        again.cancel.check()
    await runs.stop()


# --- owners that vanish ---


def test_which_process_is_dead() -> None:
    me = this_worker()
    assert not is_dead(me, host_key())
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    started = process_started(child.pid)
    assert started
    row = WorkerRow(id="w", host=host_key(), pid=child.pid, started=started)
    assert not is_dead(row, host_key())
    assert is_dead(WorkerRow(id="w", host=host_key(), pid=child.pid, started="1"), host_key()), "a reused pid"
    assert not is_dead(row, "elsewhere")
    os.kill(child.pid, signal.SIGKILL)
    while process_started(child.pid) is not None:
        time.sleep(0.01)
    assert is_dead(row, host_key()), "a zombie is dead"
    child.wait()
    assert is_dead(row, host_key())


async def test_an_expired_lease_is_taken_over_and_the_old_owner_fenced(log: EventLog) -> None:
    runs, ctx = await begin(log)
    stream = ctx.text("i")
    await stream.write("half a sen")
    await stream.flush()
    tool = ctx.text("tool", "tool_output")
    await tool.write("out")
    await tool.flush()
    other = Runs(log)
    await other.start()
    assert await other.recover() == [], "a live owner keeps its run"
    await log.write(lambda tx: tx.update_run("r", lease_until=time.time() - 1))
    (taken,) = await other.recover()
    assert (taken.id, taken.crashes) == ("r", 1)
    with pytest.raises(LeaseLost):
        await ctx.emit(status("zombie"))
    with pytest.raises(LeaseLost):
        await ctx.step("k", lambda: asyncio.sleep(0))
    with pytest.raises(LeaseLost):
        await ctx.finish("done")
    new = await other.claim()
    assert new is not None
    events = await log.read("s")
    assert kinds(events) == ["tool_output", "assistant_message"], "tool output waits for its result"
    assert events[1].body()["content"] == "half a sen"
    assert events[1].body()["partial"] is True
    await runs.look()
    assert ctx.lost
    await new.emit(Draft(ToolResult(toolId="tool", ok=True, content="out"), replaces="tool"))
    assert kinds(await log.read("s")) == ["assistant_message", "tool_result"]
    await runs.stop()
    await other.stop()


async def test_renewal_notices_a_loss_and_a_deleted_session(log: EventLog) -> None:
    runs, ctx = await begin(log)
    before = (await log.store.get_run("r")).lease_until  # type: ignore[union-attr]
    await asyncio.sleep(0.01)
    await runs.renew()
    assert (await log.store.get_run("r")).lease_until > before  # type: ignore[union-attr]
    assert not ctx.lost
    await log.write(lambda tx: tx.delete_session("s"))
    await runs.renew()
    assert ctx.lost
    with pytest.raises(LeaseLost):
        await ctx.emit(status("x"))
    await runs.stop()


CHILD = r"""
import asyncio, os, pathlib, sys
from jupyterlab_postdoc.dispatch.local import LocalDispatcher
from jupyterlab_postdoc.log import EventLog
from jupyterlab_postdoc.protocol import AgentStatus
from jupyterlab_postdoc.runs import Runs
from jupyterlab_postdoc.store.sqlite import SqliteStore

folder, effects, lease = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), float(sys.argv[3])
out = os.open(effects, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

async def execute(ctx):
    for i in range(10):
        mark = f"{ctx.run.id}-{i}\n".encode()
        async def fn():
            await asyncio.sleep(0.004)
            ctx.check_lease()
            os.write(out, mark)  # one system call: done or not done, also for kill -9
            await asyncio.sleep(0.004)
            return i
        async def look():
            return i if mark in effects.read_bytes() else None
        stream = ctx.text(f"{ctx.run.id}-{i}")
        await stream.write("working")
        await ctx.step(f"s{i}", fn, reconcile=look, record=lambda r: [AgentStatus(message=f"step {r}")])
    await ctx.finish("done", AgentStatus(message="end"))

async def main():
    log = EventLog(SqliteStore(folder)); await log.start()
    dispatcher = LocalDispatcher(Runs(log, lease_s=lease), execute, sweep_s=0.1)
    await dispatcher.start()
    print("up", flush=True)
    while await log.store.list_runs(status=("queued", "running", "waiting")):
        await asyncio.sleep(0.02)
    await dispatcher.stop(); await log.stop()

asyncio.run(main())
"""


def start_child(data_dir: Path, effects: Path, lease: float = 30.0) -> subprocess.Popen[str]:
    child = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(CHILD), str(data_dir), str(effects), str(lease)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "up\n"
    return child


async def check_runs(log: EventLog, effects: Path, count: int) -> None:
    marks = effects.read_text().split()
    assert sorted(marks) == sorted(f"r{n}-{i}" for n in range(count) for i in range(10)), "each effect once"
    for n in range(count):
        run = await log.store.get_run(f"r{n}")
        assert run is not None
        assert run.status == "done", run
        events = await log.read(f"s{n}")
        messages = [e.body()["message"] for e in events if e.type == "agent_status"]
        assert messages == [f"step {i}" for i in range(10)] + ["end"]
        assert all(e.item is None for e in events), "no half text is left open"


async def test_kill_9_repeats_no_step_and_loses_none(log: EventLog, data_dir: Path, tmp_path: Path) -> None:
    effects = tmp_path / "effects"
    for n in range(3):
        await queue(log, f"r{n}", f"s{n}")
    for _ in range(5):
        child = start_child(data_dir, effects)
        await asyncio.sleep(0.03)
        child.kill()
        child.communicate()
    last = start_child(data_dir, effects)
    began = time.monotonic()
    await asyncio.to_thread(last.communicate, timeout=20)
    assert last.returncode == 0
    assert time.monotonic() - began < 10, "a dead owner is seen at once, not after its lease of 30 s"
    await check_runs(log, effects, 3)
    assert sum(r.attempt for r in await log.store.list_runs()) > 3, "something was in fact interrupted"


def stop_outside_a_transaction(pid: int, data_dir: Path) -> None:
    """A process that is suspended inside a transaction keeps everybody out until it goes on: try another moment."""
    while True:
        os.kill(pid, signal.SIGSTOP)
        probe = sqlite3.connect(data_dir / "postdoc.db", isolation_level=None, timeout=0.05)
        try:
            probe.execute("BEGIN IMMEDIATE")
            probe.execute("ROLLBACK")
            return
        except sqlite3.OperationalError:
            os.kill(pid, signal.SIGCONT)
            time.sleep(0.003)
        finally:
            probe.close()


async def test_a_stopped_process_wakes_up_fenced(log: EventLog, data_dir: Path, tmp_path: Path) -> None:
    effects = tmp_path / "effects"
    for n in range(2):
        await queue(log, f"r{n}", f"s{n}")
    zombie = start_child(data_dir, effects, lease=1.0)
    await asyncio.sleep(0.04)
    stop_outside_a_transaction(zombie.pid, data_dir)
    heir: subprocess.Popen[str] | None = None
    try:
        heir = start_child(data_dir, effects, lease=1.0)
        await asyncio.to_thread(heir.communicate, timeout=20)
        os.kill(zombie.pid, signal.SIGCONT)
        await asyncio.to_thread(zombie.communicate, timeout=20)
    finally:
        for child in (zombie, heir):
            if child is not None:
                child.kill()
                child.communicate()
    await check_runs(log, effects, 2)


async def test_two_workers_share_a_queue(data_dir: Path, jp_asyncio_loop: asyncio.AbstractEventLoop) -> None:
    logs = [EventLog(SqliteStore(data_dir)) for _ in range(2)]
    for log in logs:
        await log.start()
    workers = [Runs(log) for log in logs]
    for runs in workers:
        await runs.start()
    for n in range(20):
        await queue(logs[0], f"r{n}", f"s{n % 10}")
    taken: list[str] = []

    async def work(runs: Runs) -> None:
        while (ctx := await runs.claim()) is not None:
            taken.append(ctx.run.id)
            await ctx.step("k", lambda: asyncio.sleep(0.002))
            await ctx.finish("done")
            runs.drop(ctx)

    await asyncio.gather(*(work(r) for r in workers), *(work(r) for r in workers))
    assert sorted(taken) == sorted(f"r{n}" for n in range(20))
    for runs, log in zip(workers, logs, strict=True):
        await runs.stop()
        await log.stop()
