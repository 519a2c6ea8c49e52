"""The watch over pull requests: when it asks, what it writes, and what a bad day does to it."""

from __future__ import annotations

import asyncio
import logging
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from jupyterlab_postdoc.errors import PostdocError
from jupyterlab_postdoc.forge.remote import Rate
from jupyterlab_postdoc.log import EventLog
from jupyterlab_postdoc.protocol import Checks, Review
from jupyterlab_postdoc.publishing.pace import Pace
from jupyterlab_postdoc.publishing.watch import PullWatch
from jupyterlab_postdoc.store.base import RunRow
from jupyterlab_postdoc.store.sqlite import SqliteStore
from tests.publishing.board import BRANCH, SHA, Board, Clock, published, pull


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def board() -> Board:
    return Board()


def watch_of(log: EventLog, board: Board, clock: Clock, **more: Any) -> PullWatch:
    return PullWatch(log, board, clock=clock, pace=Pace(60.0, clock=clock, jitter=lambda: 1.0), **more)


@pytest.fixture
def watch(log: EventLog, board: Board, clock: Clock) -> PullWatch:
    return watch_of(log, board, clock)


async def turn(watch: PullWatch, clock: Clock, seconds: float = 0.0) -> float:
    """Let time pass, then one round with all its looks."""
    clock.go(seconds)
    wait = await watch.round()
    await watch.settled()
    return wait


async def news(log: EventLog, session: str = "s1") -> list[dict[str, Any]]:
    """The bodies of the events after the publish run's own."""
    events = await log.read(session, limit=1000, types=["publication", "artifact"])
    return [event.body() for event in events][1:]


async def row_of(log: EventLog, session: str = "s1"):  # type: ignore[no-untyped-def]
    row = await log.store.get_publication(session)
    assert row is not None
    return row


async def looked(log: EventLog, clock: Clock, session: str = "s1") -> float:
    """Seconds until the next look."""
    return float((await row_of(log, session)).look_at) - clock()


# --- what it finds ---


async def test_a_pull_request_opened_by_hand_is_found_and_named_once(log, board, clock, watch):
    await published(log, clock)
    await turn(watch, clock)
    assert await news(log) == []
    board.pulls.append(pull(4))
    await turn(watch, clock, 61)
    event, artifact = await news(log)
    assert (event["type"], event["pull"]["number"], event["pull"]["draft"]) == ("publication", 4, True)
    assert (artifact["artifact"], artifact["url"]) == ("pr", board.pulls[0].url)
    for _ in range(3):
        await turn(watch, clock, 700)
    assert len(await news(log)) == 2
    assert (await row_of(log)).shown["pull"]["number"] == 4
    assert (await row_of(log)).body["announced"] == [board.pulls[0].url], "publishing again will not name it again"


async def test_checks_review_and_merge_are_told_and_nothing_else(log, board, clock, watch):
    board.pulls.append(pull(1))
    await published(log, clock, pull=pull(1))
    await turn(watch, clock)
    steps = [
        {"checks": Checks(state="pending", total=2)},
        {"checks": Checks(state="passed", total=2, passed=2)},
        {"review": Review(state="approved", approvedBy=["bob"]), "comments": 1},
        {"draft": False, "mergeable": True},
        {"state": "merged"},
    ]
    for changes in steps:
        board.pulls[0] = msgspec.structs.replace(board.pulls[0], **changes)
        await turn(watch, clock, 601)
        await turn(watch, clock, 601)  # nothing new
    told = await news(log)
    assert [event["type"] for event in told] == ["publication"] * len(steps)
    assert told[1]["pull"]["checks"]["state"] == "passed"
    assert told[2]["pull"]["review"]["approvedBy"] == ["bob"]
    assert told[-1]["pull"]["state"] == "merged"
    assert "runId" not in told[-1]


async def test_a_second_pull_request_takes_the_place_of_a_closed_one(log, board, clock, watch):
    board.pulls += [pull(1, state="closed"), pull(2)]
    await published(log, clock, pull=pull(1))
    await turn(watch, clock)
    event, artifact = await news(log)
    assert event["pull"]["number"] == 2
    assert artifact["url"].endswith("/2")


async def test_commits_of_somebody_else_a_new_name_and_an_archive_are_notes(log, board, clock, watch):
    board.pulls.append(pull(1))
    await published(log, clock, pull=pull(1))
    board.tip, board.name, board.archived = "b" * 40, "ana/birds", True
    await turn(watch, clock)
    (event,) = await news(log)
    assert any(
        "Somebody else has pushed" in note and BRANCH in note and "bbbbbbbbbb" in note for note in event["notes"]
    )
    assert any("renamed" in note and "ana/birds" in note for note in event["notes"])
    assert any("archived" in note for note in event["notes"])
    await turn(watch, clock, 61)  # the repository is not looked at each time, and its notes stay
    assert len(await news(log)) == 1
    assert board.asked.count("repo") == 1
    board.tip, board.archived = SHA, False
    await turn(watch, clock, 601)
    assert [len(event["notes"]) for event in await news(log)] == [3, 1]


async def test_a_deleted_repository_is_told_once_and_asked_for_seldom(log, board, clock, watch):
    board.pulls.append(pull(1))
    await published(log, clock, pull=pull(1))
    await turn(watch, clock)
    board.gone = True
    await turn(watch, clock, 61)
    (event,) = await news(log)
    assert event["notes"] == [
        "The repository ana/owls is no longer on GitHub, or this account may not see it any more. "
        "All work is kept locally."
    ]
    assert event["pull"]["number"] == 1
    await turn(watch, clock, 86_401)
    assert pytest.approx(await looked(log, clock), abs=1) == 6 * 3600
    assert len(await news(log)) == 1


# --- when it asks ---


async def test_it_asks_less_often_while_nothing_happens_and_stops_after_the_end(log, board, clock, watch):
    board.pulls.append(pull(1))
    await published(log, clock, pull=pull(1))
    await turn(watch, clock)
    waits = []
    for _ in range(60):
        waits.append(await looked(log, clock))
        await turn(watch, clock, waits[-1])
    assert waits == sorted(waits)
    assert set(waits) == {60, 120, 240, 480, 600}
    board.pulls[0] = pull(1, checks=Checks(state="pending", total=1))
    await turn(watch, clock, 600)
    assert await looked(log, clock) == 60
    board.pulls[0] = pull(1, state="merged")
    await turn(watch, clock, 60)
    assert await looked(log, clock) == 60
    clock.go(86_400)
    await turn(watch, clock)
    assert await looked(log, clock) == 6 * 3600
    await turn(watch, clock, 6.5 * 86_400)
    assert (await row_of(log)).look_at is None
    asked = len(board.asked)
    assert await turn(watch, clock, 86_400) >= 60
    assert len(board.asked) == asked
    row = await watch.look("s1")  # a person may still ask
    assert row is not None
    assert len(board.asked) > asked
    assert (await row_of(log)).look_at is None


async def test_a_session_that_somebody_follows_is_asked_for_more_often(log, board, clock, watch):
    board.pulls.append(pull(1))
    await published(log, clock, pull=pull(1))
    await turn(watch, clock)
    asked = board.asked.count("pull")
    await turn(watch, clock, 15)
    assert board.asked.count("pull") == asked
    follow = log.follow("s1", after=0)
    await anext(follow)
    assert await turn(watch, clock) <= 15
    await turn(watch, clock, 14)
    assert board.asked.count("pull") == asked + 1
    await turn(watch, clock, 1)
    assert board.asked.count("pull") == asked + 2
    await follow.aclose()
    await turn(watch, clock, 15)
    assert board.asked.count("pull") == asked + 2


async def test_near_the_limit_it_slows_down_and_then_waits_for_the_reset(log, board, clock, watch):
    for name in ("s1", "s2", "s3"):
        await published(log, clock, name)
    board.left = Rate(5000, 900, clock() + 3000)
    await turn(watch, clock)
    assert await looked(log, clock) == 240
    board.left = Rate(5000, 49, clock() + 3000)
    await turn(watch, clock, 241)
    asked = len(board.asked)
    for _ in range(10):
        await turn(watch, clock, 250)
    assert len(board.asked) == asked
    with pytest.raises(PostdocError, match="limit is almost used up") as caught:
        await watch.look("s2")
    assert caught.value.code == "github_rate_limited"
    assert len(board.asked) == asked
    board.left = Rate(5000, 5000, clock() + 3600)
    await turn(watch, clock, 400)
    assert len(board.asked) > asked
    assert await news(log) == []


async def test_a_limit_that_is_used_up_is_no_problem_of_the_publication(log, board, clock, watch, caplog):
    await published(log, clock)
    until = clock() + 1800
    board.fail = PostdocError("github_rate_limited", "The limit is used up.", retryable=True, retry_at=until)
    with caplog.at_level(logging.WARNING, "jupyterlab_postdoc.publishing"):
        for _ in range(20):
            await turn(watch, clock, 60)
    assert board.asked == ["repo"]
    assert len(caplog.records) == 1
    assert await news(log) == []
    board.fail = None
    await turn(watch, clock, 700)
    assert len(board.asked) > 1


async def test_nothing_is_asked_when_nobody_is_connected_or_nothing_is_published(log, board, clock, watch):
    assert await turn(watch, clock) >= 60
    board.connected = False
    await published(log, clock)
    for _ in range(5):
        await turn(watch, clock, 200)
    assert board.asked == []
    assert await news(log) == []
    with pytest.raises(PostdocError, match="not connected"):
        await watch.look("s1")
    board.connected = True
    watch.connected("ana")
    await turn(watch, clock, 121)
    assert board.asked


# --- bad days ---


async def test_a_refused_token_is_a_problem_once_and_gone_when_it_works_again(log, board, clock, watch, caplog):
    for name in ("s1", "s2"):
        await published(log, clock, name)
    board.fail = PostdocError("github_auth", "GitHub refused the token.", next="Reconnect.")
    with caplog.at_level(logging.WARNING, "jupyterlab_postdoc.publishing"):
        for _ in range(15):
            await turn(watch, clock, 300)
    for name in ("s1", "s2"):
        (event,) = await news(log, name)
        assert (event["state"], event["problem"]["code"]) == ("published", "github_auth")
        assert event["problem"]["actions"] == ["connect"]
    assert len(caplog.records) == 1
    assert len(board.asked) < 12
    board.fail = None
    await turn(watch, clock, 4000)
    for name in ("s1", "s2"):
        assert "problem" not in (await news(log, name))[-1]
        assert len(await news(log, name)) == 2


async def test_a_server_that_hangs_holds_up_nobody_and_is_asked_less_and_less(log, board, clock, caplog):
    watch = watch_of(log, board, clock, look_timeout_s=0.05)
    for number in range(6):
        await published(log, clock, f"s{number}")
    board.hang_s = 30.0
    with caplog.at_level(logging.WARNING, "jupyterlab_postdoc.publishing"):
        async with asyncio.timeout(5):
            await turn(watch, clock)
            asked = [len(board.asked)]
            for _ in range(12):
                await turn(watch, clock, 60)
                asked.append(len(board.asked))
    assert board.most <= 2, "two at a time"
    assert asked[0] <= 2, asked
    assert asked[-1] <= 14, asked
    assert [record.message for record in caplog.records if "0123" in record.message] == []
    assert len(caplog.records) == 1
    board.hang_s = 0.0
    for _ in range(3):
        await turn(watch, clock, 700)
    assert {s for s in (f"s{n}" for n in range(6)) if (await row_of(log, s)).body["watch"]["at"]} == {
        f"s{n}" for n in range(6)
    }


async def test_the_word_belongs_to_a_publish_run_that_is_open(log, board, clock, watch):
    await published(log, clock)
    run = RunRow(id="r1", session="s1", kind="publish")
    await log.write(lambda tx: tx.insert_run(run))
    await turn(watch, clock)
    assert board.asked == []
    assert (await row_of(log)).body.get("watch") is None
    assert (await watch.look("s1")) == await row_of(log)
    assert board.asked == []
    await log.write(lambda tx: tx.update_run("r1", status="done"))
    await turn(watch, clock, 16)
    assert board.asked


async def test_a_look_that_a_publication_overtook_is_thrown_away(log, board, clock, watch):
    board.pulls.append(pull(1))
    await published(log, clock)
    board.hang_s = 0.1
    await watch.round()
    await asyncio.sleep(0.15)
    row = await published(log, clock, pull=pull(1, title="As the run wrote it"))
    await watch.settled()
    assert (await row_of(log)).shown == row.shown
    assert [event.get("type") for event in await news(log)] == ["publication"]  # the run's own second one


async def test_a_session_that_is_deleted_meanwhile_is_no_error(log, board, clock, watch, caplog):
    await published(log, clock)
    board.hang_s = 0.1
    await watch.round()
    await asyncio.sleep(0.05)
    await log.write(lambda tx: tx.delete_session("s1"))
    await watch.settled()
    assert await log.store.get_publication("s1") is None
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
    assert await watch.look("s1") is None


async def test_two_servers_on_one_database_share_the_looks(log, board, clock, data_dir: Path):
    other = EventLog(SqliteStore(data_dir), poll_s=0.02)
    await other.start()
    try:
        for number in range(8):
            board.pulls.append(pull(number + 1))
            await published(log, clock, f"s{number}")
        board.hang_s = 0.01
        watches = [watch_of(log, board, clock), watch_of(other, board, clock)]
        follows = [one.follow("s0", after=0) for one in (log, other)]
        for follow in follows:
            await anext(follow)
        await asyncio.gather(*(watch.round() for watch in watches))
        await asyncio.gather(*(watch.settled() for watch in watches))
        assert board.asked.count("tip") == 8, board.asked
        clock.go(15)
        await asyncio.gather(*(watch.round() for watch in watches))
        await asyncio.gather(*(watch.settled() for watch in watches))
        assert board.asked.count("tip") == 9
        for follow in follows:
            await follow.aclose()
    finally:
        await other.stop()


async def test_it_starts_wakes_by_itself_and_stops_clean(log, board):
    before = asyncio.all_tasks()
    watch = PullWatch(log, board, poll_s=60.0)
    await watch.start()
    await asyncio.sleep(0.05)
    await published(log, Clock(time.time()))
    await log.write(lambda tx: tx.insert_run(RunRow(id="r2", session="s1", status="done")))  # as a publish run ends
    async with asyncio.timeout(5):
        while not (await row_of(log)).body.get("watch", {}).get("at"):
            await asyncio.sleep(0.02)
    board.hang_s = 30.0
    due = msgspec.structs.replace(await row_of(log), look_at=1.0)
    await log.write(lambda tx: tx.put_publication(due))
    watch.wake()
    await asyncio.sleep(0.5)
    await watch.stop()
    await watch.stop()
    left = {task.get_name() for task in asyncio.all_tasks() - before}
    assert not {name for name in left if "pull watch" in name or "look" in name}
