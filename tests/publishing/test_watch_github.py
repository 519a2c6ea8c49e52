"""The watch against emulate: a real REST server, and a proxy for what it cannot show."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jupyterlab_postdoc.forge.credentials import Credentials
from jupyterlab_postdoc.forge.github import GitHub
from jupyterlab_postdoc.publishing.pace import Pace
from jupyterlab_postdoc.publishing.watch import PullWatch
from tests.forge.emulated import BOB, TOKEN, Emulated
from tests.forge.faults import Faults, hang, limit_primary, status
from tests.publishing.board import Clock
from tests.publishing.on_github import BRANCH, on_github, write


@pytest.fixture
def emulated(tmp_path: Path) -> Iterator[Emulated]:
    with Emulated(tmp_path / "emulate") as running:
        yield running


class Bench:
    """A session published as ``ana/owls``, its watch, and the clock that it goes by."""

    def __init__(self, emulated: Emulated, faults: Faults, log: Any, data_dir: Path) -> None:
        self.emulated, self.faults, self.log, self.clock = emulated, faults, log, Clock(time.time())
        credentials = Credentials(data_dir, host="127.0.0.1", api_url=faults.url, environ={"GITHUB_TOKEN": TOKEN})
        self.github = GitHub(credentials, api_url=faults.url, throttle=False)
        pace = Pace(60.0, clock=self.clock, jitter=lambda: 1.0)
        self.watch = PullWatch(log, self.github, clock=self.clock, pace=pace)

    async def publish(self) -> None:
        self.commit = await on_github(self.emulated, self.log, "s1", owner="ana", look_at=self.clock())

    async def turn(self, seconds: float = 601.0) -> None:
        self.clock.go(seconds)
        await self.watch.round()
        await self.watch.settled()

    async def news(self) -> list[dict[str, Any]]:
        return [event.body() for event in await self.log.read("s1", types=["publication", "artifact"])]

    async def shown(self) -> dict[str, Any]:
        row = await self.log.store.get_publication("s1")
        return dict(row.shown)


@pytest.fixture
def bench(emulated: Emulated, log: Any, data_dir: Path, jp_asyncio_loop: asyncio.AbstractEventLoop) -> Iterator[Bench]:
    with Faults(emulated.api_url) as faults:
        bench = Bench(emulated, faults, log, data_dir)
        jp_asyncio_loop.run_until_complete(bench.publish())
        yield bench
        jp_asyncio_loop.run_until_complete(bench.watch.stop())
        jp_asyncio_loop.run_until_complete(bench.github.close())


def by_hand(bench: Bench) -> int:
    body = {"title": "Owls, by hand", "head": BRANCH, "base": "main", "body": "Look."}
    return int(bench.emulated.post("/repos/ana/owls/pulls", body)["number"])


async def test_from_a_pull_request_by_hand_to_its_merge(bench: Bench) -> None:
    await bench.turn()
    assert await bench.news() == []
    number = by_hand(bench)
    await bench.turn()
    event, artifact = await bench.news()
    assert (event["pull"]["number"], event["pull"]["title"]) == (number, "Owls, by hand")
    assert (artifact["artifact"], artifact["url"]) == ("pr", event["pull"]["url"])

    check = {"name": "reproduce", "head_sha": bench.commit, "status": "in_progress"}
    made = bench.emulated.post("/repos/ana/owls/check-runs", check)
    await bench.turn()
    assert (await bench.shown())["pull"]["checks"]["state"] == "pending"
    done = {"status": "completed", "conclusion": "success"}
    bench.emulated.request("PATCH", f"/repos/ana/owls/check-runs/{made['id']}", done)
    await bench.turn()
    assert (await bench.shown())["pull"]["checks"]["state"] == "passed"

    review = {"event": "APPROVE", "body": "Sound."}
    bench.emulated.post(f"/repos/ana/owls/pulls/{number}/reviews", review, token=BOB)
    bench.emulated.post(f"/repos/ana/owls/issues/{number}/comments", {"body": "Nice figure."}, token=BOB)
    await bench.turn()
    pull = (await bench.shown())["pull"]
    assert (pull["review"]["state"], pull["review"]["approvedBy"]) == ("approved", ["bob"])
    assert pull["comments"] >= 1
    comments = await bench.watch.comments.list("s1")
    assert {"Sound.", "Nice figure."} <= {comment["body"] for comment in comments}

    write(bench.emulated, "theirs.py")
    await bench.turn()
    assert any("Somebody else has pushed" in note for note in (await bench.shown())["notes"])
    bench.emulated.request("PUT", f"/repos/ana/owls/pulls/{number}/merge", {"merge_method": "squash"})
    await bench.turn()
    assert (await bench.shown())["pull"]["state"] == "merged"

    told = len(await bench.news())
    for _ in range(5):
        await bench.turn()
    assert len(await bench.news()) == told
    assert [body["type"] for body in await bench.news()].count("artifact") == 1


async def test_a_deleted_repository_is_a_note(bench: Bench) -> None:
    by_hand(bench)
    await bench.turn()
    bench.emulated.request("DELETE", "/repos/ana/owls")
    await bench.turn()
    assert any("no longer on GitHub" in note for note in (await bench.shown())["notes"])


async def test_the_limit_is_kept(bench: Bench) -> None:
    by_hand(bench)
    bench.faults.rule("GET", r"/repos/", limit_primary(3600), times=1)
    await bench.turn()
    assert len(bench.faults.requests) == 1
    for _ in range(28):
        await bench.turn(100)
    assert len(bench.faults.requests) == 1
    assert await bench.news() == []
    await bench.turn(1000)
    assert (await bench.shown())["pull"]["title"] == "Owls, by hand"
    assert len(bench.faults.requests) < 12


async def test_a_bad_token_is_a_problem_until_it_works_again(bench: Bench) -> None:
    bench.faults.rule("GET", r".", status(401, {}, {"message": "Bad credentials"}), times=1)
    await bench.turn()
    problem = (await bench.shown())["problem"]
    assert (problem["code"], problem["actions"]) == ("github_auth", ["connect"])
    assert TOKEN not in repr(await bench.news())
    bench.watch.connected("ana")
    await bench.turn(700)
    assert "problem" not in await bench.shown()


async def test_a_server_that_hangs_is_given_up(bench: Bench) -> None:
    bench.watch._timeout_s = 0.3
    bench.faults.rule("GET", r".", hang(2.0), times=1)
    async with asyncio.timeout(5):
        await bench.turn()
    row = await bench.log.store.get_publication("s1")
    assert row.look_at > bench.clock()
    assert await bench.news() == []
