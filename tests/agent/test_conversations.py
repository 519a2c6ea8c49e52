"""Chats with a scripted model server: what is asked of it, what is shown, and every way in which a reply can fail."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest
from tests.model_server import (
    broken,
    call,
    error_event,
    failed,
    on,
    rate_limited,
    reply,
    search,
    text,
)

from jupyterlab_postdoc import protocol

from .modelled import KEY, modelled, respond, say, settings, texts, told
from .support import ANA, bodies, of, research, serving, settled, states, until

PLAN = {"items": [{"text": "look", "state": "active"}]}


def answers(events: list[dict[str, Any]]) -> dict[str, Any]:
    return of(events, "result")[-1]


async def test_a_chat_streams_thinking_and_text_and_remembers(tmp_path: Path) -> None:
    first = reply("Owls are birds. " * 20, thinking="What is an owl? " * 10, usage={"input_tokens": 1000})
    async with modelled(tmp_path, first, reply("I said so.")) as (services, server):
        chat = await say(services, "What are owls?")
        events = await settled(services, chat, "finished")
        assert texts(events) == [("Owls are birds. " * 20)]
        (thought,) = of(events, "thinking")
        assert thought["content"] == "What is an owl? " * 10
        assert thought["replaces"]
        result = answers(events)
        (usage,) = of(events, "usage")
        assert usage["tokens"]["input_tokens"] == 1000
        assert usage["cost"] == pytest.approx(result["cost"])
        assert 0 < usage["cost"] < 0.01
        assert usage["model"] == "claude-haiku-5-5"
        assert "genai-prices" in usage["prices"]
        await say(services, "Really?", chat)
        await settled(services, chat, "finished")
    one, two = server.requests()
    assert [m["role"] for m in two.messages] == ["user", "assistant", "user"]
    assert two.messages[0] == one.messages[0], "the beginning stays the same, or the cache is of no use"
    assert told(two) == ["Really?"]
    for request in (one, two):
        asked = request.body
        assert asked["system"][0]["cache_control"] == {"type": "ephemeral"}
        assert asked["cache_control"] == {"type": "ephemeral"}
        assert asked["thinking"] == {"type": "adaptive", "display": "summarized"}
        assert "anthropic-beta" not in request.headers, "no beta fields at a foreign address"
        assert not [tool for tool in asked["tools"] if tool.get("type", "").startswith("web_")]


async def test_thinking_goes_back_unchanged_while_the_tools_run(tmp_path: Path) -> None:
    ask = reply("I plan.", calls=[call("plan", PLAN)], thinking="First a plan.")
    async with modelled(tmp_path, ask, reply("Done.")) as (services, server):
        chat = await say(services, "Go")
        events = await settled(services, chat, "finished")
    assert texts(events) == ["I plan.", "Done."]
    _, second = server.requests()
    thought, said, used = second.messages[1]["content"]
    assert (thought["type"], thought["thinking"]) == ("thinking", "First a plan."), "the server checks the signature"
    assert said["text"] == "I plan."
    assert used["input"] == PLAN


async def test_the_input_of_a_call_is_shown_as_it_forms(tmp_path: Path) -> None:
    long = {"items": [{"text": "step " * 50, "state": "pending"}]}
    ask = reply("", calls=[call("plan", long)], tokens_per_s=200)
    async with modelled(tmp_path, ask, reply("Done.")) as (services, _):
        chat = await say(services, "Go")
        forming = ""
        async with asyncio.timeout(10):
            while not forming:
                frames = await bodies(services, chat, "tool_input", finals=False)
                forming = "".join(frame["delta"] for frame in frames)
                await asyncio.sleep(0.005)
        assert forming.startswith('{"items"')
        assert frames[0]["toolName"] == "plan"
        events = await settled(services, chat, "finished")
        assert not await bodies(services, chat, "tool_input", finals=False), "replaced by the whole call"
    (use,) = of(events, "tool_use")
    assert use["toolInput"] == long
    assert use["replaces"]


# --- failures ---


FAULTS = ["truncate", "drop", "reset", "corrupt", "garble", "stall", "overloaded_error", "api_error"]


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_reply_that_breaks_off_is_kept_as_partial_and_asked_for_again(tmp_path: Path, fault: Any) -> None:
    whole = reply("This one will never come to its end.", calls=[call("plan", PLAN)])
    cut = error_event(whole, fault, after=4) if fault.endswith("_error") else broken(whole, fault, after=4)
    async with modelled(tmp_path, cut, reply("All of it.")) as (services, server):
        chat = await say(services, "Go")
        events = await settled(services, chat, "finished")
    assert texts(events) == ["All of it."]
    assert "This one will never come to its end.".startswith("".join(texts(events, partial=True)))
    assert not of(events, "tool_result"), "nothing of a broken reply is carried out"
    assert [s["message"] for s in of(events, "agent_status") if s.get("phase") == "retry"]
    costs = of(events, "usage")
    assert [bool(usage.get("estimated")) for usage in costs] == [True, False]
    assert answers(events)["cost"] == pytest.approx(sum(usage["cost"] for usage in costs))
    first, second = server.requests()
    assert first.messages == second.messages


@pytest.mark.parametrize(
    ("status", "kind", "code"),
    [(529, "overloaded_error", "provider_overloaded"), (500, "api_error", "provider_stream_error")],
)
async def test_when_nothing_helps_it_says_so_and_the_chat_goes_on(
    tmp_path: Path, status: int, kind: str, code: str
) -> None:
    config = {"model_attempts": 3}
    replies = [*[failed(status, kind, "no")] * 3, reply("Here again.")]
    async with modelled(tmp_path, *replies, **config) as (services, server):
        chat = await say(services, "Go")
        events = await settled(services, chat, "error")
        (error,) = of(events, "error")
        assert (error["code"], error["retryable"]) == (code, True)
        assert answers(events)["success"] is False
        assert len(server.requests()) == 3
        await say(services, "And now?", chat)
        assert texts(await settled(services, chat, "finished")) == ["Here again."]


async def test_a_rate_limit_is_waited_for_as_long_as_it_asks(tmp_path: Path) -> None:
    slow = rate_limited(0.4)
    async with modelled(tmp_path, slow, reply("Now.")) as (services, _):
        began = time.monotonic()
        chat = await say(services, "Go")
        events = await settled(services, chat, "finished")
    assert time.monotonic() - began > 0.4
    assert texts(events) == ["Now."]


async def test_a_refused_key_offers_the_templates_and_never_takes_one_by_itself(tmp_path: Path) -> None:
    async with modelled(tmp_path, failed(401, "authentication_error", f"invalid bearer token {KEY}")) as (services, _):
        chat = await research(services, topic="Owls", template=None)
        events = await settled(services, chat, "error")
        (error,) = of(events, "error")
        assert error["code"] == "provider_auth"
        assert "template" in error["next"]
        assert KEY not in str(events)
        assert not any(event.get("provider") == "template" for event in events)
        health = await services.sessions.health(ANA)
        assert not health["parts"]["provider"]["ok"]


async def test_a_refusal_is_said_and_forgotten(tmp_path: Path) -> None:
    refused = reply("I canno", stop_reason="refusal")
    async with modelled(tmp_path, refused, reply("Gladly.")) as (services, server):
        chat = await say(services, "Something bad")
        events = await settled(services, chat, "error")
        assert of(events, "error")[0]["code"] == "provider_refusal"
        assert texts(events, partial=True) == ["I canno"]
        await say(services, "Something good", chat)
        assert texts(await settled(services, chat, "finished")) == ["Gladly."]
    assert "Something bad" not in str(server.requests()[-1].messages)


async def test_an_empty_answer_is_asked_for_again_then_said(tmp_path: Path) -> None:
    async with modelled(tmp_path, reply(""), reply("Something.")) as (services, _):
        events = await settled(services, await say(services, "Go"), "finished")
        assert texts(events) == ["Something."]
    async with modelled(tmp_path / "2", reply(""), reply("")) as (services, _):
        events = await settled(services, await say(services, "Go"), "error")
        assert "nothing" in of(events, "error")[0]["error"]


async def test_unknown_tools_and_wrong_inputs_are_answered_not_run(tmp_path: Path) -> None:
    wrong = [call("fly", {"to": "moon"}), call("plan", {"items": "all"}), call("read_file", {"path": "x"})]
    ask = reply(calls=wrong)
    async with modelled(tmp_path, ask, reply("I see.")) as (services, server):
        events = await settled(services, await say(services, "Go"), "finished")
    assert [result["ok"] for result in of(events, "tool_result")] == [False] * 3
    unknown, wrong, homeless = told(server.requests()[-1])
    assert "There is no tool 'fly'" in unknown
    assert "items" in wrong
    assert "There is no tool 'read_file'" in homeless, "what needs a project is not offered without one"


async def test_malformed_input_is_never_executed(tmp_path: Path) -> None:
    garbled = reply("", calls=[call("plan", raw='{"items": [1,}')])
    async with modelled(tmp_path, garbled, reply("Again.")) as (services, _):
        events = await settled(services, await say(services, "Go"), "finished")
    assert not of(events, "plan")
    assert texts(events) == ["Again."]


async def test_a_reply_that_was_cut_by_its_length_goes_on(tmp_path: Path) -> None:
    cut = reply("One, two,", calls=[call("plan", PLAN)], stop_reason="max_tokens")
    async with modelled(tmp_path, cut, reply(" three.")) as (services, server):
        events = await settled(services, await say(services, "Count"), "finished")
    assert texts(events) == ["One, two,", " three."]
    assert not of(events, "plan"), "a call in a cut reply is not carried out"
    second = server.requests()[-1]
    assert "cut off" in told(second)[-1]


async def test_a_pause_is_sent_back_as_it_is(tmp_path: Path) -> None:
    cited = {
        "type": "web_search_result_location",
        "url": "https://o.example",
        "title": "Owls",
        "cited_text": "Owls fly.",
        "encrypted_index": "y",
    }
    pause = reply(blocks=[search("owls", [{"title": "Owls", "url": "https://o.example"}])], stop_reason="pause_turn")
    end = reply(blocks=[text("They fly.", citations=[cited])])
    async with modelled(tmp_path, pause, end, reply("Yes."), web_tools=True) as (services, server):
        chat = await say(services, "Search")
        events = await settled(services, chat, "finished")
        await say(services, "Sure?", chat)
        await settled(services, chat, "finished")
    use, result = of(events, "tool_use")[0], of(events, "tool_result")[0]
    assert (use["server"], use["title"]) == (True, "Searching the web: owls")
    assert "https://o.example" in result["content"]
    (message,) = of(events, "assistant_message")
    assert message["citations"] == [{"url": "https://o.example", "title": "Owls", "text": "Owls fly."}]
    one, two, three = server.requests()
    assert "web_search_20260318" in [tool.get("type") for tool in one.body["tools"]]
    assert two.messages[-1]["role"] == "assistant"
    assert [block["type"] for block in two.messages[-1]["content"]] == ["server_tool_use", "web_search_tool_result"]
    assert "server_tool_use" not in str(three.messages), "later only the words count"


# --- tools side by side, sub-agents, leave, questions ---


async def test_reading_tools_run_side_by_side(tmp_path: Path) -> None:
    delegate = [call("delegate", {"task": f"Read part {n}"}) for n in (1, 2, 3)]
    parts = [on(reply(f"Part {n} is fine.", first_s=0.5), says=f"Read part {n}") for n in (1, 2, 3)]
    ask, end = on(reply(calls=delegate), says="Go", turn=0), on(reply("All fine."), says="Go", turn=1)
    async with modelled(tmp_path, ask, end, *parts) as (services, server):
        events = await settled(services, await say(services, "Go"), "finished")
    reads = [request for request in server.requests() if "Read part" in told(request)[0]]
    assert max(read.at for read in reads) < min(read.ended_at for read in reads), "all were under way at the same time"
    answers = [r["content"] for r in of(events, "tool_result")]
    assert sorted(answers) == [f"Part {n} is fine." for n in (1, 2, 3)]
    assert texts(events) == ["All fine."], "a sub-agent's words are not the agent's"
    assert len(of(events, "usage")) == 5
    sub = next(r for r in server.requests() if "Read part 1" in told(r)[0])
    names = {tool["name"] for tool in sub.body["tools"]}
    assert not names & {"delegate", "ask_user", "write_file", "shell"}


async def test_leave_is_asked_for_kept_over_a_restart_and_given(tmp_path: Path) -> None:
    personas = tmp_path / "personas.yaml"
    tmp_path.mkdir(exist_ok=True)
    personas.write_text(
        "careful:\n  title: Careful\n  system_prompt: Ask first.\n  default: true\n  approvals: {read: ask}\n"
    )
    ask = reply("May I?", calls=[call("plan", PLAN, id="toolu_a")])
    again = reply("Once more.", calls=[call("plan", PLAN, id="toolu_b")])
    end = reply("Thanks.")
    async with modelled(tmp_path, ask, again, end, personas_file=str(personas)) as (services, server):
        chat = await say(services, "Go")
        events = await settled(services, chat, "waiting")
        (request,) = of(events, "approval_request")
        assert (request["toolName"], request["risk"]) == ("plan", "read")
        assert request["deadline"] > request.get("ts", "")
        assert not of(events, "plan")
        await services.stop(1.0)
        async with serving(tmp_path, **settings(tmp_path, server, personas_file=str(personas))) as later:
            await respond(later, chat, request["requestId"], decision="allow", scope="session")
            events = await settled(later, chat, "finished")
    assert texts(events) == ["May I?", "Once more.", "Thanks."]
    assert len(of(events, "approval_request")) == 1, "leave for the session is not asked for twice"
    assert len(of(events, "plan")) == 2
    assert [r["ok"] for r in of(events, "tool_result")] == [True, True]


async def test_a_denied_call_is_not_done_and_the_model_learns_why(tmp_path: Path) -> None:
    personas = tmp_path / "personas.yaml"
    personas.write_text("c:\n  title: C\n  system_prompt: x\n  default: true\n  approvals: {plan: ask, write: never}\n")
    ask = reply(calls=[call("plan", PLAN)])
    config = {"personas_file": str(personas)}
    async with modelled(tmp_path, ask, reply("Well then."), **config) as (services, server):
        chat = await say(services, "Go")
        request = await until(services, chat, "approval_request")
        await settled(services, chat, "waiting")
        await respond(services, chat, request["requestId"], decision="deny", answer="not today")
        events = await settled(services, chat, "finished")
    assert not of(events, "plan")
    (denied,) = told(server.requests()[-1])
    assert "not today" in denied


async def test_leave_that_nobody_gives_is_denied_in_time(tmp_path: Path) -> None:
    personas = tmp_path / "personas.yaml"
    personas.write_text("c:\n  title: C\n  system_prompt: x\n  default: true\n  approvals: {plan: ask}\n")
    config = {"personas_file": str(personas), "approval_hours": 0.01}
    ask = reply(calls=[call("plan", PLAN)])
    async with modelled(tmp_path, ask, reply("Pity."), **config) as (services, server):
        chat = await say(services, "Go")
        request = await until(services, chat, "approval_request")
        await settled(services, chat, "waiting")
        row = await services.log.store.get_request(request["requestId"])
        assert row is not None
        assert row.deadline is not None
        assert 30 < row.deadline - time.time() <= 36
        await services.log.write(lambda tx: tx.resolve_request(request["requestId"], "expired", decision="expired"))
        events = await settled(services, chat, "finished")
    assert "in time" in told(server.requests()[-1])[0]
    assert texts(events) == ["Pity."]


async def test_a_question_waits_for_its_answer(tmp_path: Path) -> None:
    ask = reply("", calls=[call("ask_user", {"question": "Which owl?", "options": ["barn", "snowy"]})])
    async with modelled(tmp_path, ask, reply("Snowy it is.")) as (services, server):
        chat = await say(services, "Go")
        events = await settled(services, chat, "waiting")
        (question,) = of(events, "question")
        await respond(services, chat, question["requestId"], answer="snowy")
        events = await settled(services, chat, "finished")
    assert told(server.requests()[-1]) == ["snowy"]
    assert texts(events) == ["Snowy it is."]


# --- limits ---


async def test_at_the_limit_of_turns_it_sums_up_and_asks(tmp_path: Path) -> None:
    work = [reply(f"Turn {n}.", calls=[call("plan", {"items": [{"text": str(n)}]})]) for n in range(4)]
    script = [*work[:2], reply("I did two turns."), *work[2:], reply("Four now.")]
    async with modelled(tmp_path, *script, max_turns=2) as (services, _):
        chat = await say(services, "Go")
        events = await settled(services, chat, "waiting")
        assert of(events, "session_state")[-1]["reason"] == "max_turns"
        assert texts(events)[-1] == "I did two turns."
        (question,) = of(events, "question")
        assert "2 turns" in question["question"]
        await respond(services, chat, question["requestId"], answer="Go on")
        events = await settled(services, chat, "waiting")
        assert texts(events)[-2:] == ["Turn 3.", "Four now."]
        await respond(services, chat, of(events, "question")[-1]["requestId"], answer="Stop here")
        events = await settled(services, chat, "error")
    result = answers(events)
    assert (result["success"], result["partial"], result["stop_reason"]) == (False, True, "max_turns")
    assert "Four now." in result["summary"]
    assert result["cost"] == pytest.approx(sum(usage["cost"] for usage in of(events, "usage")))


async def test_a_budget_is_enforced_before_the_call_is_paid_for(tmp_path: Path) -> None:
    dear = {"claude-haiku-5-5": {"input": 100, "output": 1000}}
    used = {"input_tokens": 1000, "output_tokens": 400}
    work = [reply("Work.", calls=[call("plan", {"items": [{"text": str(n)}]})], usage=used) for n in range(9)]
    config = {"model_prices": dear, "budget_usd_run": 2.5}
    async with modelled(tmp_path, *work, **config) as (services, server):
        chat = await say(services, "Go")
        events = await settled(services, chat, "waiting")
        assert of(events, "session_state")[-1]["reason"] == "budget"
        spent = sum(usage["cost"] for usage in of(events, "usage"))
        assert 0 < spent <= 2.5
        calls = len(server.requests())
        assert all(request.body["max_tokens"] <= 2500 for request in server.requests())
        (question,) = of(events, "question")
        assert "$2.50" in question["question"]
        await respond(services, chat, question["requestId"], answer="Go on")
        events = await settled(services, chat, "waiting")
        assert len(server.requests()) > calls
        assert sum(usage["cost"] for usage in of(events, "usage")) <= 5.0


async def test_the_day_has_the_last_word(tmp_path: Path) -> None:
    config = {"budget_usd_day": 0.0001}
    async with modelled(tmp_path, reply("Never."), **config) as (services, server):
        events = await settled(services, await say(services, "Go"), "error")
    assert server.requests() == []
    assert of(events, "error")[0]["code"] == "budget_exceeded"
    assert "UTC" in of(events, "error")[0]["error"]


async def test_going_round_in_circles_is_warned_of_then_stopped(tmp_path: Path) -> None:
    same = on(reply(calls=[call("plan", PLAN)]))
    async with modelled(tmp_path, same) as (services, server):
        chat = await say(services, "Go")
        events = await settled(services, chat, "waiting")
    assert of(events, "session_state")[-1]["reason"] == "stuck"
    requests = server.requests()
    assert any("did the same" in told(request)[-1] for request in requests[:-1])
    assert len(of(events, "tool_result")) == 6


async def test_a_long_conversation_goes_on_from_a_summary(tmp_path: Path) -> None:
    first = reply("Long. " * 50, usage={"input_tokens": 5000, "output_tokens": 300})
    script = [first, reply("We spoke at length of owls."), reply("As I said."), reply("Indeed.")]
    async with modelled(tmp_path, *script, compact_at_tokens=2_000) as (services, server):
        chat = await say(services, "Tell me much. " * 600)
        await settled(services, chat, "finished")
        await say(services, "And?", chat)
        events = await settled(services, chat, "finished")
        (summary,) = of(events, "context_summary")
        assert summary["content"] == "We spoke at length of owls."
        assert texts(events)[-1] == "As I said."
        await say(services, "So?", chat)
        await settled(services, chat, "finished")
    *_, third, fourth = server.requests()
    for request in (third, fourth):
        assert "Tell me much" not in str(request.messages)
        assert "We spoke at length of owls." in str(request.messages)
    assert "As I said." in str(fourth.messages)


# --- stop, steer, queue ---


async def test_a_graceful_stop_ends_at_a_sentence_and_reads_no_further(tmp_path: Path) -> None:
    endless = reply("One sentence is here. " * 500, tokens_per_s=100)
    async with modelled(tmp_path, endless, reply("Back.")) as (services, server):
        chat = await say(services, "Go")
        async with asyncio.timeout(10):
            while not await bodies(services, chat, "token", finals=False):
                await asyncio.sleep(0.01)
        began = time.monotonic()
        await services.sessions.submit(ANA, protocol.Stop(chatId=chat))
        events = await settled(services, chat, "stopped")
        assert time.monotonic() - began < 3
        (cut,) = texts(events, partial=True)
        assert cut.strip().endswith(".")
        (usage,) = of(events, "usage")
        assert usage["estimated"] is True
        assert answers(events)["cost"] == pytest.approx(usage["cost"])
        async with asyncio.timeout(5):
            while server.requests()[0].ended != "client":
                await asyncio.sleep(0.02)
        await say(services, "Again", chat)
        assert texts(await settled(services, chat, "finished")) == ["Back."]


@pytest.mark.parametrize("how", ["graceful", "now"])
async def test_a_stop_before_the_first_word_is_quick(tmp_path: Path, how: Any) -> None:
    async with modelled(tmp_path, reply("Late.", first_s=20.0), model_read_timeout_s=30.0) as (services, server):
        chat = await say(services, "Go")
        async with asyncio.timeout(10):
            while not server.requests():
                await asyncio.sleep(0.01)
        began = time.monotonic()
        await services.sessions.submit(ANA, protocol.Stop(chatId=chat, how=how))
        events = await settled(services, chat, "stopped")
    assert time.monotonic() - began < 2
    assert answers(events)["stop_reason"] == "stopped"


async def test_steering_reaches_the_model_with_the_next_step(tmp_path: Path) -> None:
    slow = reply("Working on it now.", calls=[call("plan", PLAN)], tokens_per_s=20)
    async with modelled(tmp_path, slow, reply("Snowy, then.")) as (services, server):
        chat = await say(services, "Study owls")
        async with asyncio.timeout(10):
            while not await bodies(services, chat, "token", finals=False):
                await asyncio.sleep(0.01)
        await say(services, "Only snowy ones", chat, mode="steer")
        events = await settled(services, chat, "finished")
    assert told(server.requests()[-1])[-1] == "Only snowy ones"
    assert texts(events)[-1] == "Snowy, then."
    assert "waiting" not in states(events)
