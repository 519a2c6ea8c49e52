"""What every store must do, whatever its database. A second implementation adds one entry to STORES."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from jupyterlab_postdoc.errors import PostdocError
from jupyterlab_postdoc.protocol import AgentStatus, AssistantMessage, Error, Token, UserMessage
from jupyterlab_postdoc.store.base import (
    Append,
    BlobRow,
    CommandRow,
    Draft,
    Fence,
    GrantRow,
    LeaseLost,
    PublicationRow,
    RepositoryRow,
    RequestRow,
    RunRow,
    ScheduleRow,
    SessionRow,
    SpendRow,
    Spent,
    Store,
    Tx,
    WorkerRow,
)
from jupyterlab_postdoc.store.sqlite import SqliteStore

STORES: dict[str, Callable[[Path], Store]] = {"sqlite": lambda folder: SqliteStore(folder)}


@pytest.fixture(params=sorted(STORES))
def store(
    request: pytest.FixtureRequest, data_dir: Path, jp_asyncio_loop: asyncio.AbstractEventLoop
) -> Iterator[Store]:
    store = STORES[request.param](data_dir)
    jp_asyncio_loop.run_until_complete(store.open())
    yield store
    jp_asyncio_loop.run_until_complete(store.close())


async def one(store: Store, unit: Callable[[Tx], Awaitable[Any]]) -> Any:
    (outcome,) = await store.commit([unit])
    if outcome.error:
        raise outcome.error
    return outcome.value


async def new_session(store: Store, id: str = "s", **fields: Any) -> SessionRow:
    return await one(store, lambda tx: tx.insert_session(SessionRow(id=id, owner="ada", **fields)))


def status(text: str) -> AgentStatus:
    return AgentStatus(message=text)


def token(item: str, delta: str) -> Draft:
    return Draft(Token(itemId=item, delta=delta), item=item)


async def test_appended_events_come_back_in_order_with_their_text(store: Store) -> None:
    await new_session(store)
    events = await one(store, lambda tx: tx.append("s", status("ein"), status("zwei ☃"), run="r1"))
    assert [e.seq for e in events] == [1, 2]
    back = await store.read_events("s")
    assert [(e.seq, e.type, e.run, e.payload, e.ts) for e in back] == [
        (e.seq, e.type, e.run, e.payload, e.ts) for e in events
    ]
    assert back[1].body() == {"type": "agent_status", "message": "zwei ☃"}
    assert [e.frame() for e in back] == [e.frame() for e in events]


async def test_pages_types_runs_and_counts(store: Store) -> None:
    await new_session(store)
    await one(store, lambda tx: tx.append("s", *(status(str(i)) for i in range(5)), run="a"))
    await one(store, lambda tx: tx.append("s", UserMessage(id="m", content="x", by="ada"), token("i", "t"), run="b"))
    assert [e.seq for e in await store.read_events("s", after=1, limit=2)] == [2, 3]
    assert [e.seq for e in await store.read_events("s", types=["user_message", "token"])] == [6, 7]
    assert [e.seq for e in await store.read_events("s", run="b", finals=True)] == [6]
    assert await store.count_events("s") == 6
    assert await store.count_events("s", types=("user_message",)) == 1
    assert await store.heads(["s", "none"]) == {"s": 7}


async def test_older_events_come_in_pages_from_the_end(store: Store) -> None:
    await new_session(store)
    await one(store, lambda tx: tx.append("s", *(status(str(i)) for i in range(6)), token("i", "t")))
    await one(store, lambda tx: tx.append("s", UserMessage(id="m", content="x", by="ada")))
    assert [e.seq for e in await store.events_before("s", 9, limit=3)] == [5, 6, 8]  # 7 is partial
    assert [e.seq for e in await store.events_before("s", 5, limit=3)] == [2, 3, 4]
    assert [e.seq for e in await store.events_before("s", 2)] == [1]
    assert await store.events_before("s", 1) == await store.events_before("none", 9) == []
    assert [e.seq for e in await store.events_before("s", 99, limit=2, types=["agent_status"])] == [5, 6]


async def test_the_newest_of_each_type_in_many_sessions(store: Store) -> None:
    for id in ("s", "t", "u"):
        await new_session(store, id)
    reply = AssistantMessage(itemId="i", content="y")
    await one(store, lambda tx: tx.append("s", status("1"), status("2"), reply, token("j", "z")))
    await one(store, lambda tx: tx.append("t", status("3"), Error(code="internal", error="No.")))
    for types in (
        ["agent_status", "assistant_message", "error"],
        ["agent_status", "assistant_message", "error", "token"],
    ):
        found = await store.newest(["s", "t", "u", "none"], types)
        seen = {id: {type: event.seq for type, event in events.items()} for id, events in found.items()}
        assert seen == {"s": {"agent_status": 2, "assistant_message": 3}, "t": {"agent_status": 1, "error": 2}}
    assert found["s"]["agent_status"].body()["message"] == "2"
    assert await store.newest(["t"], ["user_message"]) == await store.newest([], ["error"]) == {}


async def test_merged_appends_fail_alone(store: Store) -> None:
    await new_session(store, "a")
    await new_session(store, "b")
    good, missing, fenced, more = await store.commit(
        [
            Append("a", (Draft(status("1")),)),
            Append("none", (Draft(status("2")),)),
            Append("b", (Draft(status("3")),), Fence("r", 9)),
            Append("a", (Draft(status("4")), token("i", "5"))),
        ]
    )
    assert [e.seq for e in good.value] == [1]
    assert [e.seq for e in more.value] == [2, 3]
    assert isinstance(missing.error, PostdocError)
    assert missing.error.code == "not_found"
    assert isinstance(fenced.error, LeaseLost)
    assert await store.heads(["a", "b"]) == {"a": 3, "b": 0}
    assert missing.events == fenced.events == []


async def test_same_session_fenced_and_unfenced_in_one_batch(store: Store) -> None:
    await new_session(store)
    out = await store.commit(
        [
            Append("s", (Draft(status("free")),)),
            Append("s", (Draft(status("late")),), Fence("r", 5)),
            Append("s", (Draft(status("valid")),), Fence("r", 0)),
            Append("s", (Draft(status("free too")),)),
        ]
    )
    assert [type(o.error) for o in out] == [type(None), LeaseLost, type(None), type(None)]
    assert [e.body()["message"] for e in await store.read_events("s")] == ["free", "valid", "free too"]
    assert [e.seq for e in await store.read_events("s")] == [1, 2, 3]


async def test_a_failing_unit_is_undone_alone(store: Store) -> None:
    await new_session(store)

    async def bad(tx: Tx) -> None:
        await tx.append("s", status("never"))
        await tx.insert_run(RunRow(id="r", session="s"))
        raise KeyError("mine")

    out = await store.commit(
        [lambda tx: tx.append("s", status("before")), bad, lambda tx: tx.append("s", status("after"))]
    )
    assert isinstance(out[1].error, KeyError)
    assert [e.body()["message"] for e in await store.read_events("s")] == ["before", "after"]
    assert [e.seq for e in out[2].value] == [2]
    assert await store.get_run("r") is None


async def test_final_event_replaces_its_partial_frames(store: Store) -> None:
    await new_session(store)
    await one(store, lambda tx: tx.append("s", token("i", "a"), token("j", "x"), token("i", "b")))
    final = Draft(AssistantMessage(itemId="i", content="ab"), replaces="i")
    (event,) = await one(store, lambda tx: tx.append("s", final))
    assert event.body()["replaces"] == [1, 3]
    assert [(e.seq, e.item) for e in await store.read_events("s")] == [(2, "j"), (4, None)]
    assert [e.seq for e in await store.tail_events("s")] == [2, 4]
    assert [e.item for e in await store.open_frames("s")] == ["j"]
    # In one call with its frames, and without any frame.
    events = await one(
        store,
        lambda tx: tx.append(
            "s", token("k", "1"), Draft(AssistantMessage(itemId="k", content="1"), replaces="k"), status("z")
        ),
    )
    assert [e.seq for e in events] == [5, 6, 7]
    assert events[1].body()["replaces"] == [5, 5]
    (bare,) = await one(store, lambda tx: tx.append("s", Draft(AssistantMessage(itemId="q", content=""), replaces="q")))
    assert "replaces" not in bare.body()


async def test_tail_is_the_last_finals_and_all_open_frames(store: Store) -> None:
    await new_session(store)
    await one(
        store, lambda tx: tx.append("s", token("old", "…"), *(status(str(i)) for i in range(9)), token("new", "…"))
    )
    assert [e.seq for e in await store.tail_events("s", 3)] == [1, 8, 9, 10, 11]


async def test_session_row(store: Store) -> None:
    row = await new_session(store, title="T", meta={"provider": "template"}, kind="research")
    assert row.created_at > 0
    assert await store.get_session("s") == row
    with pytest.raises(PostdocError, match="taken already") as taken:
        await new_session(store)
    assert taken.value.code == "id_conflict"
    changed = await one(
        store, lambda tx: tx.update_session("s", expect_version=1, title="U", meta={"a": [1]}, archived=True)
    )
    assert (changed.version, changed.title, changed.meta, changed.archived) == (2, "U", {"a": [1]}, True)
    with pytest.raises(PostdocError) as conflict:
        await one(store, lambda tx: tx.update_session("s", expect_version=1, title="V"))
    assert conflict.value.code == "version_conflict"
    assert conflict.value.details["version"] == 2
    with pytest.raises(PostdocError) as missing:
        await one(store, lambda tx: tx.update_session("none", title="V"))
    assert missing.value.code == "not_found"
    with pytest.raises(TypeError):
        await one(store, lambda tx: tx.update_session("s", nonsense=1))


async def test_session_list_pages_by_owner_and_kind(store: Store) -> None:
    for i in range(5):
        await new_session(store, f"s{i}", kind="room" if i == 4 else "chat", updated_at=100.0 + i)
    await one(store, lambda tx: tx.insert_session(SessionRow(id="foreign", owner="bob", updated_at=200.0)))
    assert [s.id for s in await store.list_sessions(owner="ada", kind="chat")] == ["s3", "s2", "s1", "s0"]
    assert [s.id for s in await store.list_sessions(owner="ada", limit=2)] == ["s4", "s3"]
    assert [s.id for s in await store.list_sessions(owner="ada", before=103.0, limit=2)] == ["s2", "s1"]
    assert await store.list_sessions(owner="ada", archived=True) == []


async def test_deleting_a_session_takes_everything_with_it(store: Store) -> None:
    await new_session(store)
    await new_session(store, "other")

    async def fill(tx: Tx) -> None:
        await tx.append("s", status("x"))
        await tx.insert_run(RunRow(id="r", session="s"))
        await tx.begin_step("r", "k")
        await tx.insert_request(RequestRow(id="q", session="s", run="r"))
        await tx.put_command(CommandRow(session="s", id="c", digest="d", result={}))
        await tx.put_blob(BlobRow(hash="0" * 64, session="s", media_type="text/plain", size=1))
        await tx.append("other", status("stays"))

    await one(store, fill)
    before = (await store.get_session("s")).updated_at  # type: ignore[union-attr]
    (outcome,) = await store.commit([lambda tx: tx.delete_session("s")])
    assert outcome.value is True
    assert outcome.deleted == {"s"}
    assert await one(store, lambda tx: tx.delete_session("s")) is False
    assert await store.get_session("s") is None
    assert await store.read_events("s") == []
    assert await store.get_run("r") is None
    assert await store.steps("r") == {}
    assert await store.get_request("q") is None
    assert await store.get_command("s", "c") is None
    assert await store.get_blob("s", "0" * 64) is None
    assert len(await store.read_events("other")) == 1
    assert "s" in await store.changed_since(before)


async def test_copied_events_keep_numbers_and_bytes(store: Store) -> None:
    await new_session(store)
    await one(store, lambda tx: tx.append("s", status("1"), token("i", "x"), status("3"), status("4")))
    await new_session(store, "fork")
    assert await one(store, lambda tx: tx.copy_events("s", "fork", upto=3)) == 2
    assert [(e.seq, e.body()["message"]) for e in await store.read_events("fork")] == [(1, "1"), (3, "3")]
    (event,) = await one(store, lambda tx: tx.append("fork", status("mine")))
    assert event.seq == 4


async def test_claim_order_and_one_run_per_session(store: Store) -> None:
    for id in "abc":
        await new_session(store, id)
    for id, session, priority in [("a1", "a", 0), ("a2", "a", 0), ("b1", "b", 0), ("c1", "c", 5)]:
        run = RunRow(id=id, session=session, priority=priority)
        await one(store, lambda tx, run=run: tx.insert_run(run))
    later = RunRow(id="later", session="c", not_before=4e9)
    await one(store, lambda tx: tx.insert_run(later))
    claimed = [await one(store, lambda tx: tx.claim("w")) for _ in range(4)]
    assert [r and r.id for r in claimed] == ["c1", "a1", "b1", None]
    assert claimed[1].status == "running"
    assert (claimed[1].attempt, claimed[1].owner, claimed[1].epoch) == (1, "w", 1)
    assert (await store.get_session("a")).epoch == 1  # type: ignore[union-attr]
    await one(store, lambda tx: tx.leave("a", Fence("a1", 1), "done", output={"x": 1}, ended_at=tx.now))
    assert (await store.get_run("a1")).output == {"x": 1}  # type: ignore[union-attr]
    second = await one(store, lambda tx: tx.claim("w"))
    assert (second.id, second.epoch) == ("a2", 3), "leaving raised the epoch as well: nobody can write late"


async def test_claim_by_queue(store: Store) -> None:
    await new_session(store)
    await one(store, lambda tx: tx.insert_run(RunRow(id="r", session="s", queue="gpu")))
    assert await one(store, lambda tx: tx.claim("w", queues=("agent",))) is None
    assert await store.next_run_at(queues=("agent",)) is None
    assert await store.next_run_at(queues=("gpu",)) == 0.0
    assert (await one(store, lambda tx: tx.claim("w", queues=("agent", "gpu")))).id == "r"
    assert await store.next_run_at() is None


async def test_fence_falls_when_the_run_moves_on(store: Store) -> None:
    await new_session(store)
    await one(store, lambda tx: tx.insert_run(RunRow(id="r", session="s")))
    old = await one(store, lambda tx: tx.claim("w1"))
    fence = Fence("r", old.epoch)
    assert await one(store, lambda tx: tx.renew("w1", [fence])) == {"r": 0}
    assert await one(store, lambda tx: tx.renew("w2", [fence])) == {}, "only the owner renews"
    back = await one(store, lambda tx: tx.interrupt("r", old.epoch))
    assert (back.status, back.interrupted, back.crashes) == ("queued", True, 1)
    for unit in (
        lambda tx: tx.append("s", status("zombie"), fence=fence),
        lambda tx: tx.check("s", fence),
        lambda tx: tx.leave("s", fence, "done"),
    ):
        with pytest.raises(LeaseLost):
            await one(store, unit)
    assert await one(store, lambda tx: tx.interrupt("r", old.epoch)) is None
    assert await one(store, lambda tx: tx.renew("w1", [fence])) == {}
    new = await one(store, lambda tx: tx.claim("w2"))
    assert new.interrupted
    assert new.epoch > old.epoch
    await one(store, lambda tx: tx.append("s", status("free"), status("user")))
    await one(store, lambda tx: tx.append("s", status("heir"), fence=Fence("r", new.epoch)))


async def test_crashes_count_only_without_progress(store: Store) -> None:
    await new_session(store)
    await one(store, lambda tx: tx.insert_run(RunRow(id="r", session="s")))
    counts = []
    for i in range(5):
        run = await one(store, lambda tx: tx.claim("w"))
        if i == 2:
            await one(store, lambda tx: tx.begin_step("r", "k"))
            await one(store, lambda tx: tx.end_step("r", "k", "done", result=1))
        counts.append((await one(store, lambda tx, run=run: tx.interrupt("r", run.epoch))).crashes)
    assert counts == [1, 2, 1, 2, 3]


async def test_steps(store: Store) -> None:
    row, new = await one(store, lambda tx: tx.begin_step("r", "b"))
    assert new
    assert (row.status, row.attempt) == ("started", 1)
    again, new = await one(store, lambda tx: tx.begin_step("r", "b"))
    assert not new
    assert (again.attempt, again.idem_key) == (2, row.idem_key)
    await one(store, lambda tx: tx.begin_step("r", "a"))
    await one(store, lambda tx: tx.end_step("r", "b", "done", result={"x": [1, None]}))
    await one(store, lambda tx: tx.end_step("r", "a", "failed", error={"code": "internal"}))
    steps = await store.steps("r")
    assert list(steps) == ["b", "a"]
    assert steps["b"].result == {"x": [1, None]}
    assert steps["a"].error == {"code": "internal"}
    done, new = await one(store, lambda tx: tx.begin_step("r", "b"))
    assert (done.status, done.attempt, new) == ("done", 2, False)


async def test_an_answered_run_goes_before_later_messages(store: Store) -> None:
    await new_session(store)
    await one(store, lambda tx: tx.insert_run(RunRow(id="first", session="s")))
    run = await one(store, lambda tx: tx.claim("w"))
    await one(store, lambda tx: tx.insert_request(RequestRow(id="q", session="s", run="first", body={"a": 1})))
    await one(store, lambda tx: tx.leave("s", Fence("first", run.epoch), "waiting"))
    await one(store, lambda tx: tx.insert_run(RunRow(id="urgent", session="s", priority=9)))
    assert await one(store, lambda tx: tx.claim("w")) is None, "a waiting run keeps its session"
    answered = await one(store, lambda tx: tx.resolve_request("q", "answered", answer="yes", by="ada"))
    assert (answered.status, answered.answer, answered.answered_by, answered.body) == (
        "answered",
        "yes",
        "ada",
        {"a": 1},
    )
    with pytest.raises(PostdocError) as twice:
        await one(store, lambda tx: tx.resolve_request("q", "answered", answer="no", by="bob"))
    assert twice.value.code == "busy"
    assert [r.id for r in await store.list_runs("s")] == ["first", "urgent"]
    assert (await one(store, lambda tx: tx.claim("w"))).id == "first"


async def test_run_rows_change_only_as_expected(store: Store) -> None:
    await new_session(store)
    await one(store, lambda tx: tx.insert_run(RunRow(id="r", session="s", input={"a": 1})))
    with pytest.raises(PostdocError):
        await one(store, lambda tx: tx.insert_run(RunRow(id="r", session="s")))
    with pytest.raises(PostdocError) as missing:
        await one(store, lambda tx: tx.insert_run(RunRow(id="q", session="none")))
    assert missing.value.code == "not_found"
    assert await one(store, lambda tx: tx.update_run("r", expect=("running",), status="done")) is None
    changed = await one(store, lambda tx: tx.update_run("r", expect=("queued",), input={"b": 2}))
    assert changed.input == {"b": 2}


async def test_commands_blobs_schedules_workers(store: Store) -> None:
    await new_session(store)
    command = CommandRow(session="s", id="c", digest="d", result={"seq": 4}, created_at=1.0)
    await one(store, lambda tx: tx.put_command(command))
    assert await store.get_command("s", "c") == command
    with pytest.raises(PostdocError):
        await one(store, lambda tx: tx.put_command(command))
    digest = await store.write_blob(b"data" * 1000)
    assert await store.write_blob(b"data" * 1000) == digest
    blob = BlobRow(hash=digest, session="s", media_type="text/plain", size=4000, created_at=2.0)
    await one(store, lambda tx: tx.put_blob(blob))
    assert await store.get_blob("s", digest) == blob
    assert await store.read_blob(digest) == b"data" * 1000
    for bad in ("../../etc/passwd", "0" * 64, ""):
        with pytest.raises(PostdocError) as missing:
            await store.read_blob(bad)
        assert missing.value.code == "not_found"
    schedule = ScheduleRow(id="sch", session="s", name="n", cron="0 9 * * *", template={"topic": "t"}, next_at=5.0)
    await one(store, lambda tx: tx.put_schedule(schedule))
    assert await store.list_schedules("s") == [schedule]
    assert await one(store, lambda tx: tx.delete_schedule("sch")) is True
    assert await one(store, lambda tx: tx.delete_schedule("sch")) is False
    await one(store, lambda tx: tx.put_worker(WorkerRow(id="w", host="h", pid=1, started="2")))
    (worker,) = await store.list_workers()
    assert (worker.id, worker.host, worker.pid, worker.started) == ("w", "h", 1, "2")
    assert worker.heartbeat_at > 0
    await one(store, lambda tx: tx.delete_worker("w"))
    assert await store.list_workers() == []


def paid(id: str, cost: float | None, **fields: Any) -> SpendRow:
    return SpendRow(id=id, **{"owner": "ada", "session": "s", "run": "r", "ts": 100.0, **fields}, cost=cost)


async def test_spending_is_summed_by_owner_session_and_run(store: Store) -> None:
    rows = [
        paid("a", 0.25, tokens={"input_tokens": 7}, estimated=True),
        paid("b", 0.5, session="t", run="q", ts=200.0),
        paid("c", None, run="q"),
        paid("d", 0.0, ts=300.0),
        paid("e", 8.0, owner="eve", session="u", run="v"),
    ]
    for row in rows:
        await one(store, lambda tx, row=row: tx.put_spend(row))
    assert await store.spent(owner="ada") == Spent(0.75, 4, 1)
    assert await store.spent(owner="ada", since=200.0) == Spent(0.5, 2, 0)
    assert await store.spent(session="s") == Spent(0.25, 3, 1)
    assert await store.spent(run="q") == Spent(0.5, 2, 1)
    assert await store.spent(owner="nobody") == Spent(0.0, 0, 0)
    for wrong in ({}, {"owner": "ada", "run": "q"}):
        with pytest.raises(TypeError):
            await store.spent(**wrong)


async def test_costs_and_requests_of_many_sessions(store: Store) -> None:
    for id in ("s", "t"):
        await new_session(store, id)
    await one(store, lambda tx: tx.insert_run(RunRow(id="live", session="s", queue="q")))
    assert await one(store, lambda tx: tx.claim("w", queues=["q"]))
    rows = [
        paid("a", 0.25),
        paid("b", None),
        paid("c", 0.5, estimated=True),  # of a run that was cut off: it did cost about that
        paid("d", 4.0, run="live", estimated=True),  # under way
        paid("e", 1.0, run="live"),
        paid("f", None, session="t"),
        paid("g", 0.0, session="t"),
        paid("h", 8.0, session="u"),
    ]
    for row in rows:
        await one(store, lambda tx, row=row: tx.put_spend(row))
    assert await store.costs(["s", "t", "none"]) == {"s": 1.75}
    assert await store.costs([]) == {}
    for id, session in (("1", "s"), ("2", "s"), ("3", "t")):
        row = RequestRow(id=id, session=session)
        await one(store, lambda tx, row=row: tx.insert_request(row))
    await one(store, lambda tx: tx.resolve_request("1", "answered", answer="x"))
    assert await store.open_requests(["s", "t", "none"]) == {"s": 1, "t": 1}
    assert await store.open_requests(["none"]) == {}


async def test_a_call_counts_once_and_for_the_time_at_which_it_began(store: Store) -> None:
    await one(store, lambda tx: tx.put_spend(paid("a", 0.25, estimated=True)))
    await one(store, lambda tx: tx.put_spend(paid("a", 2.0, ts=900.0)))
    assert await store.spent(owner="ada") == Spent(2.0, 1, 0)
    assert await store.spent(owner="ada", since=101.0) == Spent(0.0, 0, 0)
    await one(store, lambda tx: tx.put_spend(paid("now", 1.0, ts=0.0)))
    assert (await store.spent(owner="ada", since=1e9)).calls == 1


async def test_units_of_one_batch_see_what_the_others_spent(store: Store) -> None:
    async def spend(tx: Tx, id: str) -> bool:
        if (await tx.spent(owner="ada")).cost >= 3.0:
            return False
        await tx.put_spend(paid(id, 1.0))
        return True

    outcomes = await store.commit([lambda tx, n=n: spend(tx, f"c{n}") for n in range(10)])
    assert sum(outcome.value for outcome in outcomes) == 3


async def test_leave_is_remembered_for_a_session_or_for_all(store: Store) -> None:
    await new_session(store)
    grants = [("ada", "s", "shell"), ("ada", "", "web_fetch"), ("ada", "t", "py_exec"), ("eve", "s", "finish")]
    for owner, session, subject in [*grants, grants[0]]:
        row = GrantRow(owner=owner, session=session, subject=subject)
        await one(store, lambda tx, row=row: tx.put_grant(row))
    assert await store.list_grants("ada", "s") == {"shell", "web_fetch"}
    assert await store.list_grants("ada", "") == {"web_fetch"}
    assert await store.list_grants("eve", "s") == {"finish"}
    assert await one(store, lambda tx: tx.delete_grant("ada", "", "web_fetch")) is True
    assert await one(store, lambda tx: tx.delete_grant("ada", "", "web_fetch")) is False
    assert await store.list_grants("ada", "s") == {"shell"}


async def test_a_deleted_session_takes_its_grants_and_leaves_what_it_cost(store: Store) -> None:
    await new_session(store)
    await one(store, lambda tx: tx.put_spend(paid("a", 0.25)))
    for session in ("s", ""):
        row = GrantRow(owner="ada", session=session, subject=f"tool{session}")
        await one(store, lambda tx, row=row: tx.put_grant(row))
    assert await one(store, lambda tx: tx.delete_session("s")) is True
    assert await store.spent(owner="ada") == Spent(0.25, 1, 0)
    assert await store.list_grants("ada", "s") == {"tool"}


async def test_marker_moves_only_for_other_writers(
    store: Store, data_dir: Path, request: pytest.FixtureRequest
) -> None:
    await new_session(store)
    before = await store.marker()
    await one(store, lambda tx: tx.append("s", status("own")))
    assert await store.marker() == before
    other = STORES[request.node.callspec.params["store"]](data_dir)
    await other.open()
    try:
        await one(other, lambda tx: tx.append("s", status("theirs")))
    finally:
        await other.close()
    assert await store.marker() != before
    assert await store.heads(["s"]) == {"s": 2}


async def test_health(store: Store) -> None:
    health = await store.health()
    assert health["ok"] is True
    assert health["warnings"] == []


def repository(id: str, name: str, **fields: Any) -> RepositoryRow:
    given = {"owner": "ada", "forge": "github", "host": "github.com", "url": f"https://github.com/{name}.git"}
    return RepositoryRow(id=id, name=name, **{**given, **fields})


async def test_repositories_of_a_user(store: Store) -> None:
    await one(store, lambda tx: tx.put_repository(repository("r1", "ana/owls", remote_id=7, meta={"a": [1]})))
    await one(store, lambda tx: tx.put_repository(repository("r2", "ana/Bats", private=False)))
    await one(store, lambda tx: tx.put_repository(repository("r3", "ana/owls", owner="eve")))
    listed = await store.list_repositories("ada")
    assert [(row.id, row.name, row.private, row.remote_id) for row in listed] == [
        ("r2", "ana/Bats", False, None),
        ("r1", "ana/owls", True, 7),
    ]
    first = await store.get_repository("r1")
    assert first is not None
    assert first.meta == {"a": [1]}
    with pytest.raises(PostdocError) as refused:  # the same name in other letters
        await one(store, lambda tx: tx.put_repository(repository("r4", "Ana/OWLS")))
    assert refused.value.code == "id_conflict"

    await one(store, lambda tx: tx.put_repository(repository("r1", "ana/tawny-owls", remote_id=7)))
    renamed = await store.get_repository("r1")
    assert renamed is not None
    assert (renamed.name, renamed.created_at) == ("ana/tawny-owls", first.created_at)
    assert await one(store, lambda tx: tx.delete_repository("r1"))
    assert not await one(store, lambda tx: tx.delete_repository("r1"))
    assert await store.get_repository("r1") is None


def publication(session: str, **fields: Any) -> PublicationRow:
    return PublicationRow(session=session, **{"owner": "ada", "host": "github.com", "state": "published", **fields})


async def test_publications_are_looked_at_when_their_time_has_come(store: Store) -> None:
    for id in "abc":
        await new_session(store, id)
    assert await store.next_look() is None
    await one(store, lambda tx: tx.put_publication(publication("a", look_at=50.0, body={"n": 1})))
    await one(store, lambda tx: tx.put_publication(publication("b", look_at=20.0, shown={"state": "published"})))
    await one(store, lambda tx: tx.put_publication(publication("c")))
    assert await store.next_look() == 20.0
    assert [row.session for row in await store.due_publications(49.0)] == ["b"]
    assert [row.session for row in await store.due_publications(50.0)] == ["b", "a"]
    assert [row.session for row in await store.due_publications(50.0, limit=1)] == ["b"]
    found = await store.publications(["a", "b", "nowhere"])
    assert (found["a"].body, found["b"].shown, len(found)) == ({"n": 1}, {"state": "published"}, 2)

    (outcome,) = await store.commit([lambda tx: tx.put_publication(publication("a", state="failed"))])
    assert outcome.touched == {"a"}
    row = await store.get_publication("a")
    assert row is not None
    assert (row.state, row.look_at, row.body) == ("failed", None, {})


async def test_a_deleted_session_takes_its_publication(store: Store) -> None:
    await new_session(store)
    await one(store, lambda tx: tx.put_publication(publication("s", look_at=1.0)))
    await one(store, lambda tx: tx.delete_session("s"))
    assert await store.get_publication("s") is None
    assert await store.due_publications(10.0) == []
