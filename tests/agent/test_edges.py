"""Conversations at their edges: late words, ids that come twice, limits on top of limits, stops in between."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from tests.model_server import broken, call, failed, on, rate_limited, reply, too_long

from jupyterlab_postdoc import protocol

from .modelled import modelled, respond, say, settings, texts, told
from .support import ANA, SANDBOX, bodies, of, research, serving, settled, until

DEAR = {"claude-haiku-5-5": {"input": 100, "output": 1000}}


def plan(text: str, **fields: Any) -> dict[str, Any]:
    return call("plan", {"items": [{"text": text}]}, **fields)


def costs(events: list[dict[str, Any]]) -> float:
    return sum(usage["cost"] for usage in of(events, "usage"))


async def frames(services: Any, chat: str, count: int = 1) -> None:
    """Until so much of a reply is shown."""
    async with asyncio.timeout(10):
        while len(await bodies(services, chat, "token", finals=False)) < count:
            await asyncio.sleep(0.01)


async def asked(server: Any, count: int) -> None:
    """Until the model was asked so often."""
    async with asyncio.timeout(10):
        while len(server.requests()) < count:
            await asyncio.sleep(0.01)


# --- ids ---


async def test_an_id_that_comes_again_is_another_call(tmp_path: Path) -> None:
    first = reply(calls=[plan("one", id="toolu_1"), plan("two", id="toolu_1")])
    second = reply(calls=[plan("three", id="toolu_1")])
    async with modelled(tmp_path, first, second, reply("Done."), reply("Yes.")) as (services, server):
        chat = await say(services, "Go")
        events = await settled(services, chat, "finished")
        await say(services, "Sure?", chat)
        await settled(services, chat, "finished")
    assert [body["items"][0]["text"] for body in of(events, "plan")] == ["one", "two", "three"]
    uses = [use["toolId"] for use in of(events, "tool_use")]
    assert len(set(uses)) == 3
    assert [result["toolId"] for result in of(events, "tool_result")] == uses
    assert not any(request.problems for request in server.requests())


# --- words that come late ---


async def test_a_word_during_the_last_reply_is_answered_and_remembered(tmp_path: Path) -> None:
    last = reply("That is all there is to say about it.", tokens_per_s=20)
    async with modelled(tmp_path, last, reply("Snowy, then."), reply("Yes.")) as (services, server):
        chat = await say(services, "Study owls")
        await frames(services, chat)
        await say(services, "Only snowy ones", chat, mode="steer")
        events = await settled(services, chat, "finished")
        assert texts(events)[-1] == "Snowy, then."
        await say(services, "Sure?", chat)
        await settled(services, chat, "finished")
    _, second, third = server.requests()
    assert told(second)[-1] == "Only snowy ones"
    assert "Only snowy ones" in str(third.messages), "a word in mid-run is part of the conversation"


async def test_a_word_to_a_run_that_is_being_stopped_waits_for_the_next(tmp_path: Path) -> None:
    endless = reply("no end " * 500, tokens_per_s=100)
    async with modelled(tmp_path, endless, reply("Snowy, then.")) as (services, server):
        chat = await say(services, "Study owls")
        await frames(services, chat)
        await services.sessions.submit(ANA, protocol.Stop(chatId=chat))
        await say(services, "Only snowy ones", chat, mode="steer")
        events = await settled(services, chat, "finished")
    assert texts(events) == ["Snowy, then."]
    assert told(server.requests()[-1])[-1] == "Only snowy ones"


async def test_a_word_that_no_turn_has_seen_becomes_the_next_message(tmp_path: Path) -> None:
    script = [reply(calls=[plan("one")]), reply("One turn."), reply("Snowy, then."), reply("Yes.")]
    async with modelled(tmp_path, *script, max_turns=1) as (services, server):
        chat = await say(services, "Study owls")
        events = await settled(services, chat, "waiting")
        await say(services, "Only snowy ones", chat, mode="steer")
        await respond(services, chat, of(events, "question")[-1]["requestId"], answer="Stop here")
        events = await settled(services, chat, "finished")
        assert texts(events)[-1] == "Snowy, then."
        await say(services, "Sure?", chat)
        await settled(services, chat, "finished")
    *_, third, fourth = server.requests()
    assert told(third)[-1] == "Only snowy ones"
    assert "Snowy, then." in str(fourth.messages)
    assert not any(request.problems for request in server.requests())


async def test_a_message_that_was_changed_in_the_queue_is_remembered_as_changed(tmp_path: Path) -> None:
    slow = reply("One moment please.", tokens_per_s=20)
    async with modelled(tmp_path, slow, reply("Two."), reply("Three.")) as (services, server):
        chat = await say(services, "First")
        await frames(services, chat)
        await say(services, "Secnod", chat)
        (queued,) = of(await bodies_of(services, chat), "queue_changed")[-1]["pending"]
        change = protocol.QueueUpdate(chatId=chat, messageId=queued["id"], content="Second")
        await services.sessions.submit(ANA, change)
        await asked(server, 2)
        await settled(services, chat, "finished")
        await say(services, "Third", chat)
        await settled(services, chat, "finished")
    assert "Secnod" not in str(server.requests()[-1].messages)
    assert "Second" in str(server.requests()[-1].messages)


async def test_a_message_that_was_taken_back_is_not_told(tmp_path: Path) -> None:
    slow = reply("One moment please.", tokens_per_s=20)
    async with modelled(tmp_path, slow, reply("Two.")) as (services, server):
        chat = await say(services, "First")
        await frames(services, chat)
        await say(services, "A secret", chat, id="taken-back")
        await services.sessions.submit(ANA, protocol.QueueCancel(chatId=chat, messageId="taken-back"))
        await settled(services, chat, "finished")
        await say(services, "Second", chat)
        await settled(services, chat, "finished")
    assert "A secret" not in str(server.requests()[-1].messages)


async def bodies_of(services: Any, chat: str) -> list[dict[str, Any]]:
    return await bodies(services, chat, "queue_changed")


async def test_a_message_that_waits_while_the_chat_is_summed_up_is_remembered(tmp_path: Path) -> None:
    big = {"input_tokens": 5000, "output_tokens": 300}
    work = reply("Slowly now.", calls=[plan("one")], tokens_per_s=10, usage=big)
    script = [work, reply("A summary."), reply("Done."), reply("Two."), reply("Three.")]
    async with modelled(tmp_path, *script, compact_at_tokens=2_000) as (services, server):
        chat = await say(services, "First")
        await frames(services, chat)
        await say(services, "Is it the second?", chat)
        await asked(server, 4)
        events = await settled(services, chat, "finished")
        assert of(events, "context_summary")
        await say(services, "Third", chat)
        await settled(services, chat, "finished")
    assert "Is it the second?" in str(server.requests()[-1].messages)


# --- limits on top of limits ---


async def test_each_limit_has_its_own_question(tmp_path: Path) -> None:
    used = {"input_tokens": 1000, "output_tokens": 400}
    work = [reply(calls=[plan(str(n))], usage=used) for n in range(8)]
    summary = on(reply("So far."), says="reached its limit")
    config = {"model_prices": DEAR, "budget_usd_run": 1.5, "max_turns": 3}
    async with modelled(tmp_path, *work[:3], summary, **config) as (services, server):
        chat = await say(services, "Go")
        reasons: list[str] = []
        for _ in range(5):
            events = await settled(services, chat, "waiting")
            reasons.append(of(events, "session_state")[-1]["reason"])
            if reasons[-1] == "max_turns":
                break
            await respond(services, chat, of(events, "question")[-1]["requestId"], answer="Go on")
        assert reasons[0] == "budget"
        assert reasons[-1] == "max_turns"
        before = len(server.requests())
        await respond(services, chat, of(events, "question")[-1]["requestId"], answer="Stop here")
        events = await settled(services, chat, "error")
        assert len(server.requests()) == before, "nothing is asked again"
    assert of(events, "result")[-1]["stop_reason"] == "max_turns"
    assert len(of(events, "tool_result")) == 3


async def test_a_last_word_that_failed_is_not_tried_again_after_the_answer(tmp_path: Path) -> None:
    script = [reply(calls=[plan("one")]), failed(529, "overloaded_error", "no"), reply("Two."), reply("Odd.")]
    async with modelled(tmp_path, *script, max_turns=1, model_attempts=1) as (services, _):
        chat = await say(services, "Go")
        events = await settled(services, chat, "waiting")
        await respond(services, chat, of(events, "question")[-1]["requestId"], answer="Go on")
        events = await settled(services, chat, "finished")
    assert texts(events) == ["Two."]


async def test_a_budget_that_ends_before_a_summary_is_asked_about(tmp_path: Path) -> None:
    used = {"input_tokens": 12_000, "output_tokens": 100}
    script = [reply(calls=[plan("one")], usage=used), reply("A summary.", usage=used), reply("Done.", usage=used)]
    config = {"model_prices": DEAR, "budget_usd_run": 2.2, "compact_at_tokens": 5_000}
    async with modelled(tmp_path, *script, **config) as (services, _):
        chat = await say(services, "Go")
        events = await settled(services, chat, "waiting")
        assert of(events, "session_state")[-1]["reason"] == "budget"
        await respond(services, chat, of(events, "question")[-1]["requestId"], answer="Go on")
        events = await settled(services, chat, "finished")
        assert texts(events) == ["Done."]
        assert of(events, "context_summary")[-1]["content"] == "A summary."


async def test_what_is_too_long_to_be_summed_up_goes_on_from_a_plain_summary(tmp_path: Path) -> None:
    big = {"input_tokens": 9_000, "output_tokens": 100}
    script = [reply("Owls.", usage=big), too_long(), reply("Still there.")]
    async with modelled(tmp_path, *script, compact_at_tokens=2_000) as (services, server):
        chat = await say(services, "Tell me of owls. " * 500)
        await settled(services, chat, "finished")
        await say(services, "And now?", chat)
        events = await settled(services, chat, "finished")
    assert texts(events)[-1] == "Still there."
    assert "owls" in str(server.requests()[-1].messages), "what was said before is not forgotten"


async def test_what_stays_too_long_ends_with_a_sentence(tmp_path: Path) -> None:
    always = on(too_long())
    async with modelled(tmp_path, reply(calls=[plan("one")]), always) as (services, server):
        chat = await say(services, "Go")
        events = await settled(services, chat, "error")
    assert of(events, "error")[-1]["code"] == "too_large"
    assert len(server.requests()) <= 4


async def test_going_on_forgives_the_circles_so_far_and_no_others(tmp_path: Path) -> None:
    same = reply(calls=[plan("same")])
    script = [*[same] * 6, reply("Round."), reply(calls=[plan("other")]), *[same] * 6, reply("Round again.")]
    async with modelled(tmp_path, *script) as (services, _):
        chat = await say(services, "Go")
        events = await settled(services, chat, "waiting")
        await respond(services, chat, of(events, "question")[-1]["requestId"], answer="Go on")
        events = await settled(services, chat, "waiting")
    assert [s["reason"] for s in of(events, "session_state") if s["status"] == "waiting"] == ["stuck", "stuck"]
    assert len(of(events, "tool_result")) == 13


# --- what is shown ---


async def test_a_reply_without_words_is_closed_and_counted_before_it_is_asked_for_again(tmp_path: Path) -> None:
    empty = reply("", thinking="Hm. What is there to say?")
    async with modelled(tmp_path, empty, reply("Something.")) as (services, _):
        events = await settled(services, await say(services, "Go"), "finished")
    kinds = [event["type"] for event in events]
    assert kinds.index("thinking") < kinds.index("assistant_message"), "not only when all is over"
    assert len(of(events, "usage")) == 2
    assert of(events, "result")[-1]["cost"] == pytest.approx(costs(events))


async def test_a_call_in_a_reply_that_was_cut_by_its_length_is_closed_at_once(tmp_path: Path) -> None:
    cut = reply("One,", calls=[plan("one", id="toolu_cut")], stop_reason="max_tokens")
    async with modelled(tmp_path, cut, reply(" two.")) as (services, _):
        events = await settled(services, await say(services, "Count"), "finished")
    (use,) = of(events, "tool_use")
    assert (use["toolId"], use["partial"]) == ("toolu_cut", True)
    last = [event for event in events if event["type"] in ("tool_use", "assistant_message")][-1]
    assert last["type"] == "assistant_message"


# --- money ---


@pytest.mark.parametrize("refused", [failed(401, "authentication_error", "no"), rate_limited(0.01)])
async def test_what_was_refused_costs_nothing(tmp_path: Path, refused: Any) -> None:
    async with modelled(tmp_path, refused, refused, model_prices=DEAR, model_attempts=2) as (services, _):
        events = await settled(services, await say(services, "Go"), "error")
    assert of(events, "result")[-1]["cost"] == 0
    assert not of(events, "usage"), "there is nothing to tell of"


async def test_a_call_that_fell_silent_before_it_began_counts_its_input(tmp_path: Path) -> None:
    silent = broken(reply("Never."), "stall", after=0)
    config = {"model_prices": DEAR, "model_attempts": 1, "model_read_timeout_s": 1.0}
    async with modelled(tmp_path, silent, **config) as (services, _):
        events = await settled(services, await say(services, "Go"), "error")
    (usage,) = of(events, "usage")
    assert usage["estimated"] is True
    assert usage["tokens"]["output_tokens"] == 0
    assert 0 < of(events, "result")[-1]["cost"] == pytest.approx(usage["cost"])


async def test_a_stop_counts_what_sub_agents_were_being_told(tmp_path: Path) -> None:
    parts = [on(reply("Part. " * 500, tokens_per_s=50), says=f"Read part {n}") for n in (1, 2)]
    ask = on(reply(calls=[call("delegate", {"task": f"Read part {n}"}) for n in (1, 2)]), says="Go")
    async with modelled(tmp_path, ask, *parts, model_prices=DEAR) as (services, server):
        chat = await say(services, "Go")
        await asked(server, 3)
        await asyncio.sleep(0.3)
        await services.sessions.submit(ANA, protocol.Stop(chatId=chat, how="now"))
        events = await settled(services, chat, "stopped")
    assert len(of(events, "usage")) == 3
    assert of(events, "result")[-1]["cost"] == pytest.approx(costs(events))


# --- pauses ---


async def test_a_question_does_not_cut_off_the_reading_beside_it(tmp_path: Path) -> None:
    ask = reply(calls=[call("ask_user", {"question": "Which?"}), call("delegate", {"task": "Read part 1"})])
    slow = on(reply("It is fine.", first_s=0.5), says="Read part 1")
    async with modelled(tmp_path, slow, on(ask, says="Go", turn=0), on(reply("Ok."), says="Go", turn=1)) as (
        services,
        server,
    ):
        chat = await say(services, "Go")
        events = await settled(services, chat, "waiting")
        await respond(services, chat, of(events, "question")[-1]["requestId"], answer="that")
        events = await settled(services, chat, "finished")
    assert [result["content"] for result in of(events, "tool_result")] == ["It is fine.", "that"]
    assert len(server.requests()) == 3, "nothing was read twice"


async def test_two_questions_of_one_turn_are_both_answered(tmp_path: Path) -> None:
    ask = reply(calls=[call("ask_user", {"question": "Which?"}), call("ask_user", {"question": "When?"})])
    async with modelled(tmp_path, ask, reply("Ok.")) as (services, server):
        chat = await say(services, "Go")
        events = await settled(services, chat, "waiting")
        for question in of(events, "question"):
            await respond(services, chat, question["requestId"], answer=f"{question['question']} so")
        events = await settled(services, chat, "finished")
    assert len(of(events, "question")) == 2
    assert told(server.requests()[-1]) == ["Which? so", "When? so"]


async def test_leave_for_one_call_is_no_leave_for_another_with_a_long_id(tmp_path: Path) -> None:
    personas = tmp_path / "personas.yaml"
    personas.write_text("c:\n  title: C\n  system_prompt: x\n  default: true\n  approvals: {plan: ask}\n")
    long = "call_" + "0" * 60
    ask = reply(calls=[plan("one", id=f"{long}1"), plan("two", id=f"{long}2")])
    async with modelled(tmp_path, ask, reply("Well."), personas_file=str(personas)) as (services, _):
        chat = await say(services, "Go")
        events = await settled(services, chat, "waiting")
        (first,) = of(events, "approval_request")
        await respond(services, chat, first["requestId"], decision="allow")
        events = await settled(services, chat, "waiting")
        second = of(events, "approval_request")[-1]
        await respond(services, chat, second["requestId"], decision="deny")
        events = await settled(services, chat, "finished")
    assert [body["items"][0]["text"] for body in of(events, "plan")] == ["one"]
    assert [result["ok"] for result in of(events, "tool_result")] == [True, False]


@pytest.mark.skipif(not SANDBOX, reason="without a sandbox a command of a model asks for leave")
async def test_a_call_that_is_made_again_after_a_restart_has_one_result(tmp_path: Path) -> None:
    command = "test -e again || { touch again; echo hello; sleep 60; }"
    replies = [reply("Look.", calls=[call("shell", {"command": command})]), on(reply("No more."))]
    async with modelled(tmp_path, *replies) as (services, server):
        chat = await research(services, topic="Owls", template=None, provider="anthropic")
        await until(services, chat, "tool_use")
        async with asyncio.timeout(20):
            while not await bodies(services, chat, "tool_output", finals=False):
                await asyncio.sleep(0.02)
        await services.stop(0.1)
        async with serving(tmp_path, **settings(tmp_path, server)) as later:
            events = await settled(later, chat)
    assert len(of(events, "tool_result")) == 1


# --- stops ---


@pytest.mark.parametrize("how", ["graceful", "now"])
@pytest.mark.parametrize("doing", ["waiting to ask again", "summing up"])
async def test_a_stop_while_nothing_is_shown_is_quick_and_resume_carries_on(
    tmp_path: Path, how: Any, doing: str
) -> None:
    big = {"input_tokens": 5000, "output_tokens": 300}
    held = rate_limited(30) if doing == "waiting to ask again" else reply("A summary.", first_s=20.0)
    script = [reply(calls=[plan("one")], usage=big), held, reply("A summary."), reply("Done.")]
    config = {"compact_at_tokens": 2_000, "model_read_timeout_s": 30.0}
    async with modelled(tmp_path, *script, **config) as (services, server):
        chat = await say(services, "Go")
        await asked(server, 2)
        await asyncio.sleep(0.2)
        began = asyncio.get_running_loop().time()
        await services.sessions.submit(ANA, protocol.Stop(chatId=chat, how=how))
        await settled(services, chat, "stopped")
        assert asyncio.get_running_loop().time() - began < 2
        await services.sessions.submit(ANA, protocol.Resume(chatId=chat))
        events = await settled(services, chat, "finished")
    assert texts(events) == ["Done."]
    assert len(of(events, "tool_result")) == 1
    assert of(events, "result")[-1]["cost"] == pytest.approx(costs(events)), "resuming counts nothing twice"
