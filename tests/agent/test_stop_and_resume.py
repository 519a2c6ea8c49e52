"""Stopping, pausing and carrying on: nothing is left running, nothing is lost, no step is done twice."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import time
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Literal

import psutil
import pytest
from tests.agent.support import (
    ANA,
    bodies,
    git,
    lean,
    new_chat,
    of,
    processes_below,
    read_json,
    research,
    serving,
    settled,
    states,
    steps_committed,
    until,
)

from jupyterlab_postdoc import protocol
from jupyterlab_postdoc.app import Services
from jupyterlab_postdoc.errors import PostdocError
from jupyterlab_postdoc.providers.base import ModelEvent, TextDelta, TurnEnd, TurnRequest

# Sleeps once: while the file `again` is missing. The background process leaves its session and ignores signals.
SLEEPY = """
import subprocess, sys, time

if not Path("again").exists():
    Path("again").touch()
    subprocess.Popen(
        ["/bin/sh", "-c", "trap '' TERM INT HUP; while :; do sleep {seconds}; done"], start_new_session=True
    )
    time.sleep(60)
data = [1, 2, 3]
"""
SECONDS = 100_000 + os.getpid()
"""How long the background process sleeps: a number by which this test process knows its own."""


def sleepy() -> str:
    return SLEEPY.replace("{seconds}", str(SECONDS))


async def stop(services: Services, chat: str, how: Literal["graceful", "now"]) -> Any:
    return await services.sessions.submit(ANA, protocol.Stop(chatId=chat, how=how))


async def resume(services: Services, chat: str) -> None:
    await services.sessions.submit(ANA, protocol.Resume(chatId=chat))


async def asleep(services: Services, chat: str, home: Path) -> Path:
    """Wait until the cell sleeps and its background process lives; the project's folder."""
    await until(services, chat, "agent_status", message="Running cell 3 of 4 (load)")
    async with asyncio.timeout(30):
        while not (sleepers() and list((home / "root" / "research").glob("*/again"))):
            await asyncio.sleep(0.02)
    return next((home / "root" / "research").glob("*/again")).parent


def sleepers() -> list[psutil.Process]:
    """The sleeping processes that the cell has started; bubblewrap's pid namespace does not hide them from us."""
    found = []
    for process in psutil.process_iter(["cmdline", "status"]):
        if process.info["cmdline"] == ["sleep", str(SECONDS)] and process.info["status"] != psutil.STATUS_ZOMBIE:
            found.append(process)
    return found


def no_step_twice(events: list[dict[str, Any]], root: Path) -> None:
    steps = steps_committed(root)
    assert len(steps) == len(set(steps)), steps
    answered = Counter(event["toolId"] for event in of(events, "tool_result"))
    assert set(answered.values()) == {1}
    whole = [event["content"] for event in of(events, "assistant_message") if not event.get("partial")]
    assert len(whole) == len(set(whole)) == 4


@pytest.mark.parametrize(("how", "limit_s"), [("now", 2.0), ("graceful", 10.0)])
async def test_stop_in_a_long_cell_ends_everything_in_time_and_resume_carries_on(
    tmp_path: Path, how: Literal["graceful", "now"], limit_s: float
) -> None:
    lean(tmp_path / "templates" / "lean", load=sleepy())
    async with serving(tmp_path) as services:
        chat = await research(services)
        root = await asleep(services, chat, tmp_path)
        began = time.monotonic()
        await stop(services, chat, how)
        events = await settled(services, chat, "stopped")
        took = time.monotonic() - began
        assert took <= limit_s
        assert sleepers() == []
        assert processes_below(tmp_path) == []

        assert states(events) == ["queued", "starting", "running", "stopping", "stopped"]
        result = of(events, "result")
        assert [(r["success"], r["partial"], r["stop_reason"], r["cost"]) for r in result] == [
            (False, True, "stopped", None)
        ]
        assert "resume" in result[0]["summary"]
        assert git(root, "status", "--porcelain") == "", "what was made before the stop is committed"
        assert steps_committed(root) == ["start", "turn:0", "turn:1", "kept:1"]
        assert "stopped before it finished" in (root / "README.md").read_text()
        shown = await services.sessions.get(ANA, chat)
        assert (shown["state"], shown["reason"]) == ("stopped", "user")
        assert shown["project"]["commit"] == git(root, "rev-parse", "HEAD") == result[0]["artifacts"]["commit"]
        assert result[0]["artifacts"]["notebook"] == "research/a-lean-study/notebook.py"
        assert "def verdict" in git(root, "show", "HEAD:notebook.py"), "the finished part of the cut-off turn"

        await resume(services, chat)
        events = await settled(services, chat, "finished")
        assert [r["success"] for r in of(events, "result")] == [False, True]
        assert states(events)[5:] == ["queued", "running", "finished"]
        no_step_twice(events, root)
        assert git(root, "status", "--porcelain") == ""
        assert of(events, "result")[1]["verdict"] == read_json(root / "results.json")
        assert "stopped before" not in (root / "README.md").read_text()
        assert git(root, "ls-remote", "origin", "refs/heads/main").split()[0] == git(root, "rev-parse", "HEAD")


async def test_stops_at_any_moment_never_do_a_step_twice(tmp_path: Path) -> None:
    chance = random.Random(20261121)
    lean(tmp_path / "templates" / "lean")
    async with serving(tmp_path) as services:
        chat = await research(services)
        for _ in range(4):
            await asyncio.sleep(chance.uniform(0.0, 1.2))
            how: Literal["graceful", "now"] = "now" if chance.random() < 0.5 else "graceful"
            await stop(services, chat, how)
            events = await settled(services, chat)
            if states(events)[-1] == "finished":
                break
            try:
                await resume(services, chat)
            except PostdocError as e:  # stopped before it was taken: such a run never began
                assert "no stopped run" in e.message  # noqa: PT017
                await research(services, chat)
        events = await settled(services, chat, "finished")
        root = tmp_path / "root" / str((await services.sessions.get(ANA, chat))["project"]["path"])
        no_step_twice(events, root)
        assert of(events, "result")[-1]["success"] is True
        assert git(root, "status", "--porcelain") == ""
        assert git(root, "ls-remote", "origin", "refs/heads/main").split()[0] == git(root, "rev-parse", "HEAD")


async def test_stop_twice_is_one_stop_and_now_overtakes_graceful(tmp_path: Path) -> None:
    lean(tmp_path / "templates" / "lean", load=sleepy())
    async with serving(tmp_path) as services:
        chat = await research(services)
        await asleep(services, chat, tmp_path)
        began = time.monotonic()
        acks = [await stop(services, chat, "graceful"), await stop(services, chat, "graceful")]
        acks.append(await stop(services, chat, "now"))
        assert [ack.extra for ack in acks] == [{"stopping": 1, "stopped": 0}] * 3
        events = await settled(services, chat, "stopped")
        assert time.monotonic() - began <= 2.5
        assert states(events)[-2:] == ["stopping", "stopped"]
        assert len(of(events, "result")) == 1
        assert (await stop(services, chat, "now")).extra == {"stopping": 0, "stopped": 0}
        assert len(await bodies(services, chat)) == len(events), "a stop of nothing says nothing"


async def test_a_run_that_has_not_begun_is_stopped_with_a_result(tmp_path: Path) -> None:
    lean(tmp_path / "templates" / "lean", load=sleepy())
    async with serving(tmp_path, max_concurrent_runs=1) as services:
        busy = await research(services)
        await asleep(services, busy, tmp_path)
        chat = await research(services)
        await stop(services, chat, "graceful")
        events = await settled(services, chat, "stopped")
        assert [r["stop_reason"] for r in of(events, "result")] == ["stopped"]
        assert states(events) == ["queued", "stopped"]
        await stop(services, busy, "now")
        await settled(services, busy, "stopped")


async def test_resume_after_the_folder_went_away_is_a_sentence_and_can_be_mended(tmp_path: Path) -> None:
    lean(tmp_path / "templates" / "lean", load=sleepy())
    async with serving(tmp_path) as services:
        chat = await research(services)
        root = await asleep(services, chat, tmp_path)
        await stop(services, chat, "now")
        await settled(services, chat, "stopped")
        shutil.move(root, tmp_path / "elsewhere")
        await resume(services, chat)
        events = await settled(services, chat, "error")
        error = of(events, "error")[0]
        assert error["code"] == "not_found"
        assert "moved, renamed or deleted" in error["error"]
        assert not root.exists()
        shutil.move(tmp_path / "elsewhere", root)
        await resume(services, chat)
        events = await settled(services, chat, "finished")
        no_step_twice(events, root)


async def test_a_server_that_stops_in_mid_run_carries_on_when_it_starts_again(tmp_path: Path) -> None:
    lean(tmp_path / "templates" / "lean", load=sleepy())
    async with serving(tmp_path) as services:
        chat = await research(services)
        root = await asleep(services, chat, tmp_path)
    assert sleepers() == []
    assert processes_below(tmp_path) == []
    async with serving(tmp_path) as services:
        events = await settled(services, chat, "finished")
    assert [r["success"] for r in of(events, "result")] == [True]
    assert states(events) == ["queued", "starting", "running", "queued", "running", "finished"]
    no_step_twice(events, root)
    assert git(root, "status", "--porcelain") == ""
    assert steps_committed(root) == ["start", "turn:0", "turn:1", "turn:2", "describe"]


# --- questions ---


async def test_a_question_is_answered_in_another_tab_and_the_run_goes_on(tmp_path: Path) -> None:
    lean(tmp_path / "templates" / "lean")
    async with serving(tmp_path) as services:
        chat = await research(services, topic="Zzz qqq", template=None)
        events = await settled(services, chat, "waiting")
        assert states(events) == ["queued", "starting", "running", "waiting"]
        question = of(events, "question")[0]
        assert "lean" in question["options"]
        answer = protocol.Respond(chatId=chat, requestId=question["requestId"], answer="lean")
        await services.sessions.submit(ANA, answer)
        events = await settled(services, chat, "finished")
        assert states(events)[4:] == ["queued", "running", "finished"]
        assert [(e["answer"], e["by"]) for e in of(events, "answered")] == [("lean", "ana")]
        assert of(events, "result")[0]["success"] is True
        with pytest.raises(PostdocError) as caught:
            await services.sessions.submit(ANA, answer)
        assert caught.value.code == "busy"


async def test_a_question_is_answered_on_another_server_of_the_same_database(tmp_path: Path) -> None:
    lean(tmp_path / "templates" / "lean")
    async with serving(tmp_path) as first, serving(tmp_path) as second:
        chat = await research(first, topic="Zzz qqq", template=None)
        question = of(await settled(second, chat, "waiting"), "question")[0]
        await second.sessions.submit(ANA, protocol.Respond(chatId=chat, requestId=question["requestId"], answer="lean"))
        events = await settled(first, chat, "finished")
        assert [r["success"] for r in of(events, "result")] == [True]
        assert events == await bodies(second, chat)


async def test_stop_while_waiting_cancels_the_question_and_resume_asks_it_anew(tmp_path: Path) -> None:
    lean(tmp_path / "templates" / "lean")
    async with serving(tmp_path) as services:
        chat = await research(services, topic="Zzz qqq", template=None)
        first = of(await settled(services, chat, "waiting"), "question")[0]
        await stop(services, chat, "graceful")
        events = await settled(services, chat, "stopped")
        assert states(events)[3:] == ["waiting", "stopping", "stopped"]
        assert [(e["requestId"], e["decision"]) for e in of(events, "answered")] == [(first["requestId"], "cancelled")]
        with pytest.raises(PostdocError) as caught:
            await services.sessions.submit(
                ANA, protocol.Respond(chatId=chat, requestId=first["requestId"], answer="lean")
            )
        assert caught.value.code == "busy"
        await resume(services, chat)
        second = await until(services, chat, "question", count=2)
        await settled(services, chat, "waiting")
        assert second["requestId"] != first["requestId"]
        await services.sessions.submit(ANA, protocol.Respond(chatId=chat, requestId=second["requestId"], answer="lean"))
        events = await settled(services, chat, "finished")
        assert [r["success"] for r in of(events, "result")] == [False, True]


async def test_resume_of_nothing_and_of_a_finished_run_is_refused(tmp_path: Path) -> None:
    lean(tmp_path / "templates" / "lean")
    async with serving(tmp_path) as services:
        chat = await new_chat(services)
        with pytest.raises(PostdocError, match="no stopped run"):
            await resume(services, chat)
        await research(services, chat)
        with pytest.raises(PostdocError, match="at work already"):
            await resume(services, chat)
        await settled(services, chat, "finished")
        with pytest.raises(PostdocError, match="no stopped run"):
            await resume(services, chat)


# --- what nobody foresaw ---


class BrokenOnce:
    """A provider with a fault of its own: it breaks while there is no file `mended` in the folder of `place`."""

    id = "broken"
    label = "Broken"
    place = Path()

    async def stream(self, _request: TurnRequest) -> AsyncIterator[ModelEvent]:
        yield TextDelta("I begin. ")
        if not (self.place / "mended").exists():
            raise RuntimeError("secret detail")
        yield TurnEnd("end_turn")


async def test_a_fault_in_the_server_is_a_sentence_with_a_reference_and_can_be_resumed(tmp_path: Path) -> None:
    class Broken(BrokenOnce):
        place = tmp_path

    async with serving(tmp_path, chat_provider=Broken) as services:
        chat = await new_chat(services)
        await services.sessions.submit(ANA, protocol.Chat(chatId=chat, content="hello"))
        events = await settled(services, chat, "error")
        error = of(events, "error")[0]
        assert (error["code"], len(of(events, "error"))) == ("internal", 1)
        assert error["ref"] in error["next"]
        assert "Resume" in error["next"]
        assert "secret detail" not in str(events)
        assert [r["success"] for r in of(events, "result")] == [False]
        assert [e.get("partial") for e in of(events, "assistant_message")] == [True]
        (tmp_path / "mended").touch()
        await resume(services, chat)
        events = await settled(services, chat, "finished")
        assert [r["success"] for r in of(events, "result")] == [False, True]
