"""The event log: group commit, following, partial text, other processes, cancelled callers."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
import time
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from jupyterlab_postdoc.errors import PostdocError
from jupyterlab_postdoc.hub import RING_EVENTS
from jupyterlab_postdoc.log import EventLog, LogReset
from jupyterlab_postdoc.protocol import AgentStatus, AssistantMessage, Event
from jupyterlab_postdoc.store.base import Draft, SessionRow, Tx
from jupyterlab_postdoc.store.sqlite import SqliteStore


def status(text: str) -> AgentStatus:
    return AgentStatus(message=text)


def texts(events: list[Event]) -> list[str]:
    return [e.body()["message"] for e in events]


async def new_session(log: EventLog, id: str = "s") -> None:
    await log.write(lambda tx: tx.insert_session(SessionRow(id=id, owner="ada")))


async def collect(log: EventLog, into: list[Event], until: int, session: str = "s", after: int = 0) -> None:
    async with aclosing(log.follow(session, after=after)) as batches:
        async for batch in batches:
            into += batch
            if into[-1].seq >= until:
                return


async def test_replay_then_live_without_gap_or_duplicate(log: EventLog) -> None:
    await new_session(log)
    await log.append("s", *(status(f"old {i}") for i in range(2500)))
    got: list[Event] = []
    reader = asyncio.create_task(collect(log, got, 4500))
    for i in range(200):
        await log.append("s", *(status(f"new {i}") for _ in range(10)))
    await asyncio.wait_for(reader, 5)
    assert [e.seq for e in got] == list(range(1, 4501))


async def test_live_events_are_shared_objects(log: EventLog) -> None:
    """One encoding for all followers: they get the very same event."""
    await new_session(log)
    lists: list[list[Event]] = [[], []]
    readers = [asyncio.create_task(collect(log, into, 2)) for into in lists]
    await asyncio.sleep(0.01)
    sent = await log.append("s", status("1"), status("2"))
    await asyncio.gather(*readers)
    assert lists[0][0] is lists[1][0] is sent[0]


async def test_after_minus_one_is_live_only_and_types_filter(log: EventLog) -> None:
    await new_session(log)
    await log.append("s", status("old"))
    live = log.follow("s", after=-1)
    finals = log.follow("s", after=0, types={"assistant_message"})
    first = asyncio.ensure_future(anext(live))
    second = asyncio.ensure_future(anext(finals))
    await asyncio.sleep(0.02)
    await log.append("s", status("new"))
    assert texts(await first) == ["new"]
    await log.append("s", AssistantMessage(itemId="i", content="c"))
    assert [e.seq for e in await second] == [3]
    await live.aclose()
    await finals.aclose()
    assert log._hub.channels == {}


async def test_no_such_session(log: EventLog) -> None:
    with pytest.raises(PostdocError, match="no chat"):
        await anext(log.follow("none", after=0))
    with pytest.raises(PostdocError, match="no chat"):
        await log.append("none", status("x"))
    assert log._hub.channels == {}


async def test_a_slow_follower_costs_a_cursor(log: EventLog) -> None:
    await new_session(log)
    slow = log.follow("s", after=0)
    await log.append("s", status("first"))
    assert [e.seq for e in await anext(slow)] == [1]
    quick: list[Event] = []
    reader = asyncio.create_task(collect(log, quick, 1 + 5 * RING_EVENTS))
    for _ in range(5):
        await log.append("s", *[status("y" * 1000)] * RING_EVENTS)
    await asyncio.wait_for(reader, 5)
    channel = log._hub.channels["s"]
    assert len(channel._ring) <= RING_EVENTS
    assert channel._size <= 1 << 20
    seen = [1]
    async for batch in slow:
        assert len(batch) <= 1000
        seen += [e.seq for e in batch]
        if seen[-1] == 1 + 5 * RING_EVENTS:
            break
    assert seen == list(range(1, 2 + 5 * RING_EVENTS))
    await slow.aclose()


async def test_a_follower_behind_gets_the_final_instead_of_its_frames(log: EventLog) -> None:
    await new_session(log)
    stream = log.text("s", "r", "i")
    for word in ("one ", "two ", "three"):
        await stream.write(word)
        await stream.flush()
    assert stream.text == "one two three"
    await log.append("s", Draft(AssistantMessage(itemId="i", content=stream.text), run="r", replaces="i"))
    batch = await anext(log.follow("s", after=1))
    assert [(e.seq, e.type) for e in batch] == [(4, "assistant_message")]
    assert batch[0].body()["replaces"] == [stream.first_seq, stream.last_seq] == [1, 3]


async def test_a_deleted_session_ends_its_followers(log: EventLog) -> None:
    await new_session(log)
    await log.append("s", status("1"))
    follower = log.follow("s", after=0)
    await anext(follower)
    waiting = asyncio.ensure_future(anext(follower, None))
    await asyncio.sleep(0.01)
    await log.write(lambda tx: tx.delete_session("s"))
    assert await asyncio.wait_for(waiting, 2) is None
    await new_session(log)
    await log.append("s", status("again"))
    assert texts(await anext(log.follow("s", after=0))) == ["again"]


async def test_stop_ends_followers_and_writers(log: EventLog) -> None:
    await new_session(log)
    waiting = asyncio.ensure_future(anext(log.follow("s", after=0), None))
    sessions = asyncio.ensure_future(anext(log.follow_sessions(), None))
    await asyncio.sleep(0.01)
    last = asyncio.ensure_future(log.append("s", status("last")))
    await asyncio.sleep(0)
    await log.stop()
    assert [e.seq for e in await last] == [1], "what was taken on is still stored"
    assert await waiting in (None, await last)
    await sessions
    with pytest.raises(PostdocError, match="stopping"):
        await log.append("s", status("late"))


async def test_session_list_feed(log: EventLog) -> None:
    feed = log.follow_sessions()
    first = asyncio.ensure_future(anext(feed))
    await asyncio.sleep(0.01)
    await new_session(log, "a")
    assert await first == {"a"}
    await new_session(log, "b")
    await log.append("a", status("x"))
    await log.append("b", Draft(status("partial"), item="i"))
    await log.write(lambda tx: tx.delete_session("b"))
    assert await anext(feed) == {"a", "b"}
    quiet = asyncio.ensure_future(anext(feed))
    await log.append("a", Draft(status("partial"), item="i"))
    await asyncio.sleep(0.05)
    assert not quiet.done(), "partial text does not change the list"
    quiet.cancel()


# --- callers and failures ---


async def test_cancelled_callers_never_harm_the_writer(log: EventLog) -> None:
    await new_session(log)
    for i in range(300):
        calls = [asyncio.ensure_future(log.append("s", status(f"{i}a"), status(f"{i}b"))) for _ in range(3)]
        for _ in range(i % 7):
            await asyncio.sleep(0)
        if i % 3 == 0:
            await asyncio.sleep(0.0004)
        calls[i % 3].cancel()
        await asyncio.gather(*calls, return_exceptions=True)
    await log.append("s", status("end"))
    events = await log.read("s", limit=5000)
    assert [e.seq for e in events] == list(range(1, len(events) + 1))
    words = texts(events)[:-1]
    assert len(words) >= 1200
    assert all(a[:-1] == b[:-1] and (a[-1], b[-1]) == ("a", "b") for a, b in zip(words[::2], words[1::2], strict=True))


async def test_units_are_isolated_and_cannot_wait_for_the_log(log: EventLog) -> None:
    await new_session(log)

    async def bad(tx: Tx) -> None:
        await tx.append("s", status("never"))
        raise PostdocError("busy", "No.")

    async def nested(tx: Tx) -> Any:
        return await log.append("s", status("never"))

    results = await asyncio.gather(
        log.write(bad), log.append("s", status("good")), log.write(nested), return_exceptions=True
    )
    assert isinstance(results[0], PostdocError)
    assert isinstance(results[2], RuntimeError)
    assert texts(await log.read("s")) == ["good"]


async def test_published_only_what_is_stored(log: EventLog) -> None:
    await new_session(log)
    got: list[Event] = []
    reader = asyncio.create_task(collect(log, got, 1))

    async def bad(tx: Tx) -> None:
        await tx.append("s", status("never"))
        raise PostdocError("busy", "No.")

    with pytest.raises(PostdocError):
        await log.write(bad)
    await log.append("s", status("good"))
    await reader
    assert texts(got) == ["good"]


# --- partial text ---


async def test_text_is_coalesced_and_the_first_piece_is_immediate(log: EventLog) -> None:
    await new_session(log)
    stream = log.text("s", "r", "i")
    follower = log.follow("s", after=0)
    began = time.perf_counter()
    await stream.write("first ")
    assert (await anext(follower))[0].body() == {"type": "token", "itemId": "i", "delta": "first "}
    assert time.perf_counter() - began < 0.045
    for _ in range(60):
        await stream.write(".")
        await asyncio.sleep(0.004)
    await stream.flush()
    events = await log.read("s")
    assert "".join(e.body()["delta"] for e in events) == stream.text == "first " + "." * 60
    assert 3 <= len(events) <= 10, "buckets of about 50 ms"
    assert all(e.item == "i" and e.run == "r" for e in events)
    await follower.aclose()


async def test_a_flood_of_text_is_cut_into_frames(log: EventLog) -> None:
    await new_session(log)
    stream = log.text("s", None, "t", "tool_output")
    await stream.write("x" * 1_000_000)
    await stream.flush()
    events = await log.read("s")
    assert max(len(e.frame()) for e in events) < 256 << 10
    assert sum(len(e.body()["delta"]) for e in events) == 1_000_000


async def test_a_failed_write_of_text_is_raised_at_the_next_call(log: EventLog) -> None:
    stream = log.text("none", None, "i")
    await stream.write("lost")
    with pytest.raises(PostdocError):
        await stream.flush()
    with pytest.raises(PostdocError):
        await stream.write("more")
    with pytest.raises(ValueError, match="partial"):
        log.text("s", None, "i", "agent_status")


async def test_nothing_follows_the_close_of_a_text(log: EventLog) -> None:
    await new_session(log)
    for i in range(20):
        stream = log.text("s", None, f"i{i}")
        for n in range(i):
            await stream.write(f"{n} ")
            await asyncio.sleep(0.001)
        await stream.close()
        await log.append("s", Draft(AssistantMessage(itemId=f"i{i}", content=stream.text), replaces=f"i{i}"))
    await asyncio.sleep(0.1)
    assert await log.store.open_frames("s") == []


# --- other processes ---

CHILD = """
import asyncio, sys
from jupyterlab_postdoc.log import EventLog
from jupyterlab_postdoc.protocol import AgentStatus
from jupyterlab_postdoc.store.base import SessionRow
from jupyterlab_postdoc.store.sqlite import SqliteStore

async def main(folder, count, writers):
    log = EventLog(SqliteStore(folder)); await log.start()
    async def write(n):
        for i in range(count):
            (event,) = await log.append("s", AgentStatus(message=f"{n}:{i}"))
            print(event.seq, flush=True)
    await asyncio.gather(*(write(n) for n in range(writers)))
    await log.stop()

asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
"""


def start_child(data_dir: Path, count: int, writers: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(CHILD), str(data_dir), str(count), str(writers)], stdout=subprocess.PIPE
    )


async def test_two_processes_on_one_file(log: EventLog, data_dir: Path) -> None:
    await new_session(log)
    got: list[Event] = []
    reader = asyncio.create_task(collect(log, got, 800))
    child = start_child(data_dir, 100, 4)
    try:
        for i in range(400):
            await log.append("s", status(f"mine {i}"))
            await asyncio.sleep(0.001)
        out, _ = await asyncio.to_thread(child.communicate, timeout=20)
    finally:
        child.kill()
    await asyncio.wait_for(reader, 5)
    assert [e.seq for e in got] == list(range(1, 801))
    stored = await log.read("s", limit=1000)
    assert [e.payload for e in stored] == [e.payload for e in got]
    assert sorted(map(int, out.split())) == [e.seq for e in stored if not e.body()["message"].startswith("mine")]


async def test_kill_9_loses_nothing_acknowledged(log: EventLog, data_dir: Path) -> None:
    await new_session(log)
    acked: set[int] = set()
    for round in range(4):
        child = start_child(data_dir, 10_000, 1 + 7 * round)
        assert child.stdout is not None
        lines = [await asyncio.to_thread(child.stdout.readline)]
        await asyncio.sleep(0.05 + 0.03 * round)
        os.kill(child.pid, signal.SIGKILL)
        lines += child.stdout.read().splitlines()
        child.wait()
        child.stdout.close()
        whole = [line for line in lines if line.strip()]
        acked |= {int(line) for line in whole[:-1]}  # the last line may be cut
    events: list[Event] = []
    while page := await log.read("s", after=len(events)):
        events += page
    assert [e.seq for e in events] == list(range(1, len(events) + 1))
    assert len(acked) > 50
    assert acked <= {e.seq for e in events}
    assert [tuple(r) for r in await log.store.fetch("PRAGMA quick_check")] == [("ok",)]  # type: ignore[attr-defined]


async def test_a_session_deleted_by_another_process(log: EventLog, data_dir: Path) -> None:
    await new_session(log)
    await log.append("s", status("1"))
    feed = log.follow_sessions()
    await anext(follower := log.follow("s", after=0))
    other = SqliteStore(data_dir)
    await other.open()
    await other.commit([lambda tx: tx.delete_session("s")])
    await other.close()
    assert await asyncio.wait_for(anext(feed), 2) == {"s"}
    assert await asyncio.wait_for(anext(follower, None), 2) is None
    await feed.aclose()


async def test_a_removed_database_resets_followers_and_is_made_anew(log: EventLog, data_dir: Path) -> None:
    await new_session(log)
    await log.append("s", status("1"))
    await anext(follower := log.follow("s", after=0))
    for file in data_dir.glob("postdoc.db*"):
        file.unlink()
    with pytest.raises(LogReset):
        await asyncio.wait_for(anext(follower), 5)
    await new_session(log)
    await log.append("s", status("anew"))
    assert texts(await log.read("s")) == ["anew"]
    with pytest.raises(LogReset):
        await anext(log.follow("s", after=7))


async def test_the_watcher_rests_when_nobody_follows(log: EventLog) -> None:
    await new_session(log)
    follower = log.follow("s", after=0)
    waiting = asyncio.ensure_future(anext(follower))
    await asyncio.sleep(0.05)
    assert log._watcher is not None
    assert not log._watcher.done()
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    await asyncio.sleep(0.1)
    assert log._watcher.done()


async def test_many_sessions_and_followers(log: EventLog) -> None:
    ids = [f"s{i}" for i in range(50)]
    for id in ids:
        await new_session(log, id)
    lists: dict[str, list[Event]] = {id: [] for id in ids}
    readers = [asyncio.create_task(collect(log, lists[id], 40, id)) for id in ids]

    async def write(id: str) -> None:
        for i in range(40):
            await log.append(id, status(str(i)))

    await asyncio.gather(*(write(id) for id in ids))
    await asyncio.wait_for(asyncio.gather(*readers), 5)
    for id in ids:
        assert [e.frame() for e in lists[id]] == [e.frame() for e in await log.read(id)]
