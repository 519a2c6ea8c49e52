"""Sessions and commands on the real log, runs and dispatcher, without HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jupyterlab_postdoc import protocol
from jupyterlab_postdoc.app import PostdocApp, Services
from jupyterlab_postdoc.errors import PostdocError
from jupyterlab_postdoc.sessions import User

from .scripted import EchoProvider

ANA = User("ana", "Ana")
BEN = User("ben", "Ben")
IDLE = ("finished", "error", "stopped", "waiting")


def build(tmp_path: Path, **config: Any) -> Services:
    root = tmp_path / "root"
    root.mkdir(exist_ok=True)
    config = {"model_retry_wait_s": 0.01, **config}
    return PostdocApp(data_dir=str(tmp_path / "data"), chat_provider=EchoProvider, **config).build(root)


@pytest.fixture
def services(tmp_path: Path, jp_asyncio_loop: asyncio.AbstractEventLoop) -> Iterator[Services]:
    services = build(tmp_path)
    jp_asyncio_loop.run_until_complete(services.start())
    yield services
    jp_asyncio_loop.run_until_complete(services.stop(1.0))


async def bodies(services: Services, chat: str, *types: str) -> list[dict[str, Any]]:
    events = await services.log.read(chat, finals=True, types=types or None, limit=10_000)
    return [event.body() for event in events]


async def settled(services: Services, chat: str, state: str | None = None) -> list[dict[str, Any]]:
    """Wait until the session is at rest; its final events."""
    async with asyncio.timeout(20):
        while True:
            row = await services.log.store.get_session(chat)
            runs = await services.log.store.list_runs(chat, status=("queued", "running"))
            if row and not runs and row.state in ((state,) if state else IDLE):
                return await bodies(services, chat)
            await asyncio.sleep(0.02)


async def new_chat(services: Services, **fields: Any) -> str:
    return str((await services.sessions.create(ANA, **fields))["id"])


async def say(services: Services, chat: str, content: str, **fields: Any) -> Any:
    return await services.sessions.submit(ANA, protocol.Chat(chatId=chat, content=content, **fields))


def texts(events: list[dict[str, Any]], type: str = "assistant_message") -> list[str]:
    return [event["content"].strip() for event in events if event["type"] == type]


async def test_a_message_is_answered_and_the_events_come_in_order(services: Services) -> None:
    chat = await new_chat(services)
    ack = await say(services, chat, "echo hello there", id="m1")
    events = await settled(services, chat)
    assert [e["type"] for e in events] == [
        "user_message",
        "session_state",
        "session_state",
        "session_state",
        "assistant_message",
        "usage",
        "result",
        "session_state",
    ]
    assert events[0] | {"id": "m1", "content": "echo hello there", "by": "ana"} == events[0]
    assert [e["status"] for e in events if e["type"] == "session_state"] == [
        "queued",
        "starting",
        "running",
        "finished",
    ]
    assert texts(events) == ["hello there"]
    assert events[4]["provider"] == "echo"
    assert events[6]["success"] is True
    assert events[6]["cost"] is None
    assert ack.seq == 1
    assert not ack.queued


async def test_messages_queue_and_are_answered_one_after_another(services: Services) -> None:
    chat = await new_chat(services)
    acks = [await say(services, chat, f"slow answer {n} word word") for n in range(3)]
    assert [ack.queued for ack in acks] == [False, True, True]
    events = await settled(services, chat)
    assert texts(events) == [f"answer {n} word word" for n in range(3)]
    results = [number for number, e in enumerate(events) if e["type"] == "result"]
    answers = [number for number, e in enumerate(events) if e["type"] == "assistant_message"]
    assert all(answer < result for answer, result in zip(answers, results, strict=True))
    assert all(result < answer for result, answer in zip(results, answers[1:], strict=False))
    queue = [len(e["pending"]) for e in events if e["type"] == "queue_changed"]
    assert queue == [1, 2]


async def test_the_conversation_is_remembered(services: Services) -> None:
    chat = await new_chat(services)
    await say(services, chat, "echo one")
    await settled(services, chat)
    await say(services, chat, "recall two")
    assert texts(await settled(services, chat))[-1] == "two (before: ['echo one'])"


async def test_a_resend_gets_the_first_receipt_and_does_nothing(services: Services) -> None:
    chat = await new_chat(services)
    first = await say(services, chat, "echo once", id="m1")
    again = await say(services, chat, "echo once", id="m1")
    assert (again.seq, again.duplicate) == (first.seq, True)
    with pytest.raises(PostdocError) as caught:
        await say(services, chat, "echo other", id="m1")
    assert caught.value.code == "id_conflict"
    await settled(services, chat)
    assert len(await bodies(services, chat, "user_message")) == 1


async def test_two_resends_at_the_same_moment_are_one(services: Services) -> None:
    chat = await new_chat(services)
    acks = await asyncio.gather(*[say(services, chat, "echo once", id="m1") for _ in range(20)])
    assert sorted(ack.duplicate for ack in acks) == [False] + [True] * 19
    assert {ack.seq for ack in acks} == {1}


@pytest.mark.parametrize("how", ["graceful", "now"])
async def test_stop_stops_and_keeps_what_was_said(services: Services, how: Any) -> None:
    chat = await new_chat(services)
    await say(services, chat, "slow " + "a b c d. " * 100)
    async with asyncio.timeout(5):
        while not await services.log.read(chat, types=["token"]):
            await asyncio.sleep(0.02)
    loop = asyncio.get_running_loop()
    began = loop.time()
    await services.sessions.submit(ANA, protocol.Stop(chatId=chat, how=how))
    events = await settled(services, chat, "stopped")
    assert loop.time() - began < 2
    message = next(e for e in events if e["type"] == "assistant_message")
    assert message["partial"] is True
    assert message["content"].startswith("a b c d." if how == "graceful" else "a")
    result = next(e for e in events if e["type"] == "result")
    assert (result["success"], result["stop_reason"], result["partial"]) == (False, "stopped", True)
    assert [e["reason"] for e in events if e.get("status") == "stopping"] == ["user"]


async def test_stop_takes_the_queue_with_it(services: Services) -> None:
    chat = await new_chat(services)
    for n in range(3):
        await say(services, chat, f"slow {n} " + "word " * 200)
    await services.sessions.submit(ANA, protocol.Stop(chatId=chat, how="now"))
    events = await settled(services, chat, "stopped")
    assert len([e for e in events if e["type"] == "result"]) == 3
    assert len(texts(events)) <= 1


async def test_interrupt_stops_and_then_says(services: Services) -> None:
    chat = await new_chat(services)
    await say(services, chat, "slow " + "word " * 200)
    await asyncio.sleep(0.3)
    await say(services, chat, "echo instead", mode="interrupt")
    async with asyncio.timeout(10):
        while texts(await bodies(services, chat))[-1:] != ["instead"]:
            await asyncio.sleep(0.02)


async def test_steer_reaches_the_running_turns(services: Services) -> None:
    chat = await new_chat(services)
    await say(services, chat, "steps 6")
    await asyncio.sleep(0.15)
    ack = await say(services, chat, "look at owls", mode="steer")
    assert not ack.queued
    said = texts(await settled(services, chat))
    assert sum("look at owls" in text for text in said) == 1
    assert len([text for text in said if text.startswith("Step")]) == 6


async def test_waiting_messages_can_be_changed_and_taken_back(services: Services) -> None:
    chat = await new_chat(services)
    await say(services, chat, "slow " + "word " * 20, id="m1")
    await say(services, chat, "echo two", id="m2")
    await say(services, chat, "echo three", id="m3")
    submit = services.sessions.submit
    await submit(ANA, protocol.QueueUpdate(chatId=chat, messageId="m2", content="echo TWO"))
    await submit(ANA, protocol.QueueCancel(chatId=chat, messageId="m3"))
    snapshot = await services.sessions.snapshot(ANA, chat)
    assert [(m["id"], m["content"]) for m in snapshot.queue] == [("m2", "echo TWO")]
    with pytest.raises(PostdocError, match="No message 'm1' waits"):
        await submit(ANA, protocol.QueueCancel(chatId=chat, messageId="m1"))
    events = await settled(services, chat)
    assert texts(events)[-1] == "TWO"
    assert "three" not in str(texts(events))


@pytest.mark.parametrize(
    ("content", "code"), [("cut off here", "provider_stream_error"), ("fail", "provider_overloaded")]
)
async def test_a_failing_provider_ends_in_a_sentence_and_the_chat_goes_on(
    services: Services, content: str, code: str
) -> None:
    chat = await new_chat(services)
    await say(services, chat, content)
    events = await settled(services, chat, "error")
    error = next(e for e in events if e["type"] == "error")
    assert error["code"] == code
    assert error["next"]
    assert next(e for e in events if e["type"] == "result")["success"] is False
    await say(services, chat, "echo still here")
    assert texts(await settled(services, chat, "finished"))[-1] == "still here"


async def test_a_tool_outside_a_project_is_answered_not_run(services: Services) -> None:
    chat = await new_chat(services)
    await say(services, chat, "tool please")
    events = await settled(services, chat)
    result = next(e for e in events if e["type"] == "tool_result")
    assert result["ok"] is False
    assert "There is no tool 'nb_run'" in result["content"], "a chat without a project is not offered it"
    assert texts(events)[-1] == "please"


async def test_without_a_model_free_chat_says_so(tmp_path: Path, jp_asyncio_loop: Any) -> None:
    services = PostdocApp(data_dir=str(tmp_path / "data")).build(tmp_path)
    await services.start()
    try:
        chat = await new_chat(services)
        await say(services, chat, "hello")
        events = await settled(services, chat, "error")
        error = next(e for e in events if e["type"] == "error")
        assert error["code"] == "no_model"
        assert "equity_signal" in error["next"]
        assert texts(events) == []
    finally:
        await services.stop(1.0)


async def test_a_topic_that_fits_no_template_is_a_question_that_survives_a_restart(
    tmp_path: Path, jp_asyncio_loop: Any
) -> None:
    services = build(tmp_path)
    await services.start()
    chat = await new_chat(services)
    await services.sessions.submit(
        ANA, protocol.Research(chatId=chat, topic="zzz qqq", repo_name="odd", provider="template")
    )
    events = await settled(services, chat, "waiting")
    question = next(e for e in events if e["type"] == "question")
    assert "equity_signal" in question["options"]
    await services.stop(1.0)

    services = build(tmp_path)
    await services.start()
    try:
        assert (await services.sessions.get(ANA, chat))["state"] == "waiting"
        respond = protocol.Respond(chatId=chat, requestId=question["requestId"], answer="no such template")
        await services.sessions.submit(ANA, respond)
        async with asyncio.timeout(10):
            while len(await bodies(services, chat, "question")) < 2:
                await asyncio.sleep(0.05)
        await settled(services, chat, "waiting")
        with pytest.raises(PostdocError) as caught:
            await services.sessions.submit(ANA, respond)
        assert caught.value.code == "busy"
        await services.sessions.submit(ANA, protocol.Stop(chatId=chat))
        events = await settled(services, chat, "stopped")
        assert [e["success"] for e in events if e["type"] == "result"] == [False]
    finally:
        await services.stop(1.0)


@pytest.mark.parametrize(
    ("fields", "code", "word"),
    [
        ({"topic": "  "}, "bad_message", "empty"),
        ({"topic": "x", "template": "nope"}, "not_found", "nope"),
        ({"topic": "x", "template": "equity_signal", "params": {"lookbak": 1}}, "bad_message", "lookbak"),
        ({"topic": "x", "template": "equity_signal", "params": {"lookback": "many"}}, "bad_message", "lookback"),
        ({"topic": "x", "template": "equity_signal", "params": {"data": "gone.csv"}}, "bad_message", "gone.csv"),
        ({"topic": "x", "template": "equity_signal", "params": {"data": "/etc/passwd"}}, "forbidden", "/etc/passwd"),
        ({"topic": "x", "repo_name": "../up"}, "bad_message", "up"),
        ({"topic": "x", "provider": "oracle"}, "no_model", "oracle"),
    ],
)
async def test_impossible_research_is_refused_before_anything_is_begun(
    services: Services, fields: dict[str, Any], code: str, word: str
) -> None:
    chat = await new_chat(services)
    with pytest.raises(PostdocError) as caught:
        await services.sessions.submit(ANA, protocol.Research(chatId=chat, **fields))
    assert caught.value.code == code
    assert word in caught.value.message
    assert caught.value.next
    assert await bodies(services, chat) == []


async def test_a_session_belongs_to_its_user(services: Services) -> None:
    chat = await new_chat(services)
    sessions = services.sessions
    for attempt in (
        sessions.get(BEN, chat),
        sessions.delete(BEN, chat),
        sessions.snapshot(BEN, chat),
        sessions.submit(BEN, protocol.Chat(chatId=chat, content="hi")),
        sessions.submit(BEN, protocol.Stop(chatId=chat)),
        sessions.submit(BEN, protocol.SessionSet(chatId=chat, title="mine")),
    ):
        with pytest.raises(PostdocError) as caught:
            await attempt
        assert caught.value.code == "not_found"
    assert await sessions.list(BEN) == []
    with pytest.raises(PostdocError) as caught:
        await sessions.create(BEN, id=chat)
    assert caught.value.code == "id_conflict"


async def test_rooms_belong_to_everybody(services: Services) -> None:
    post = protocol.Post(chatId="room:lab", agent="codex", content="tests pass", kind=" Status ")
    ack = await services.sessions.submit(ANA, post)
    await services.sessions.submit(BEN, protocol.Post(chatId="room:lab", agent="ben", content="good"))
    (room,) = await services.sessions.rooms(BEN)
    assert (room["room"], room["messages"]) == ("lab", 2)
    first = (await bodies(services, "room:lab"))[0]
    assert first | {"agent": "codex", "kind": "status", "by": "ana", "content": "tests pass"} == first
    assert ack.extra["ts"].endswith("Z")
    with pytest.raises(PostdocError, match="cannot be the name of a room"):
        await services.sessions.submit(ANA, protocol.Post(chatId="room:../x", agent="a", content="b"))
    with pytest.raises(PostdocError, match="Agents do not work in rooms"):
        await say(services, "room:lab", "echo hi")


async def test_title_model_and_persona_are_set_with_a_version(services: Services) -> None:
    chat = await new_chat(services, title="One")
    submit = services.sessions.submit
    ack = await submit(ANA, protocol.SessionSet(chatId=chat, title="Two", persona="reviewer", version=1))
    found = await services.sessions.get(ANA, chat)
    assert (found["title"], found["persona"], found["version"]) == ("Two", "reviewer", ack.extra["version"])
    with pytest.raises(PostdocError) as caught:
        await submit(ANA, protocol.SessionSet(chatId=chat, title="Three", version=1))
    assert caught.value.code == "version_conflict"
    await say(services, chat, "echo hi")
    await settled(services, chat)
    with pytest.raises(PostdocError, match="persona is locked"):
        await submit(ANA, protocol.SessionSet(chatId=chat, persona="analyst"))
    with pytest.raises(PostdocError, match="persona"):
        await submit(ANA, protocol.SessionSet(chatId=chat, persona="wizard"))


async def test_a_fork_begins_with_the_events_up_to_its_point(services: Services) -> None:
    chat = await new_chat(services, title="Owls")
    await say(services, chat, "echo one")
    await settled(services, chat)
    upto = (await services.log.read(chat, types=["assistant_message"]))[0].seq
    ack = await services.sessions.submit(ANA, protocol.Fork(chatId=chat, at=upto))
    fork = ack.extra["chatId"]
    assert texts(await bodies(services, fork)) == ["one"]
    assert (await services.log.read(fork))[-1].seq <= upto
    await say(services, fork, "recall two")
    assert texts(await settled(services, fork))[-1] == "two (before: ['echo one'])"
    assert len(texts(await bodies(services, chat))) == 1


async def test_resume_carries_on_a_stopped_run(services: Services) -> None:
    chat = await new_chat(services)
    with pytest.raises(PostdocError, match="no stopped run"):
        await services.sessions.submit(ANA, protocol.Resume(chatId=chat))
    await say(services, chat, "steps 5")
    async with asyncio.timeout(5):
        while len(await bodies(services, chat, "tool_result")) < 2:
            await asyncio.sleep(0.02)
    await services.sessions.submit(ANA, protocol.Stop(chatId=chat))
    await settled(services, chat, "stopped")
    await services.sessions.submit(ANA, protocol.Resume(chatId=chat))
    events = await settled(services, chat, "finished")
    steps = [text for text in texts(events) if text.startswith("Step")]
    whole = [e["content"] for e in events if e["type"] == "assistant_message" and not e.get("partial")]
    assert len([text for text in whole if text.startswith("Step")]) == 5
    assert len(steps) <= 6
    ids = [e["toolId"] for e in events if e["type"] == "tool_result"]
    assert len(ids) == len(set(ids)) == 5


async def test_deleting_a_session_stops_it_and_leaves_nothing(services: Services) -> None:
    chat = await new_chat(services)
    await say(services, chat, "slow " + "word " * 300)
    await asyncio.sleep(0.3)
    await services.sessions.delete(ANA, chat)
    with pytest.raises(PostdocError):
        await services.sessions.get(ANA, chat)
    assert await services.log.store.list_runs(chat) == []
    other = await new_chat(services)
    await say(services, other, "echo alive")
    assert texts(await settled(services, other)) == ["alive"]


async def test_a_run_waits_for_a_server_with_its_own_root(tmp_path: Path, jp_asyncio_loop: Any) -> None:
    """The database is the user's, the files are the root directory's: another server must not take the run."""
    roots = [tmp_path / "a", tmp_path / "b"]
    for root in roots:
        root.mkdir()

    def server(root: Path) -> Services:
        return PostdocApp(data_dir=str(tmp_path / "data"), chat_provider=EchoProvider).build(root)

    first = server(roots[0])
    await first.start()
    chat = await new_chat(first)
    await say(first, chat, "steps 20")
    async with asyncio.timeout(5):
        while not await bodies(first, chat, "tool_result"):
            await asyncio.sleep(0.02)
    await first.stop(1.0)

    other = server(roots[1])
    await other.start()
    elsewhere = await new_chat(other)
    await say(other, elsewhere, "echo here")
    assert texts(await settled(other, elsewhere)) == ["here"]
    found = await other.sessions.get(ANA, chat)
    assert (found["state"], found["reason"]) == ("queued", "restart")
    await other.stop(1.0)

    again = server(roots[0])
    await again.start()
    try:
        said = texts(await settled(again, chat, "finished"))
        assert len([text for text in said if text.startswith("Step")]) >= 20
        ids = [e["toolId"] for e in await bodies(again, chat, "tool_result")]
        assert len(ids) == len(set(ids)) == 20
    finally:
        await again.stop(1.0)
