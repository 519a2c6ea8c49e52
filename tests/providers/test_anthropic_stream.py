"""A reply of Claude, event by event, from a real server process."""

from __future__ import annotations

import asyncio
import json
import os
import time
from contextlib import aclosing

import pytest
from tests.model_server import ModelServer, broken, call, fetched, reply, search, text, thought, words
from tests.providers.claude import HAIKU, KEY, calls, claude, end, hear, request, said, turn

from jupyterlab_postdoc.providers.base import (
    Cited,
    ServerTool,
    TextDelta,
    ThinkingDelta,
    ToolInputDelta,
    UsageSoFar,
)


async def test_text_thinking_and_what_it_used(model_server: ModelServer) -> None:
    used = {
        "input_tokens": 50,
        "output_tokens": 40,
        "cache_read_input_tokens": 900,
        "cache_creation_input_tokens": 30,
        "output_tokens_details": {"thinking_tokens": 25},
        "server_tool_use": {"web_search_requests": 2, "web_fetch_requests": 0},
    }
    model_server.script([reply("An owl is a bird.", thinking="Owls. Birds.", usage=used, model="claude-haiku-5-5-x")])
    async with claude(model_server.url) as provider:
        events = await hear(provider, request("What is an owl?"))
    assert said(events) == "An owl is a bird."
    thinking = [event for event in events if isinstance(event, ThinkingDelta)]
    assert "".join(event.text for event in thinking) == "Owls. Birds."
    assert {event.block for event in thinking} == {0}
    assert {event.block for event in events if isinstance(event, TextDelta)} == {1}
    last = end(events)
    assert (last.stop_reason, last.model) == ("end_turn", "claude-haiku-5-5-x")
    assert last.usage == {
        "input_tokens": 50,
        "output_tokens": 40,
        "cache_read_input_tokens": 900,
        "cache_creation_input_tokens": 30,
        "thinking_tokens": 25,
        "web_search_requests": 2,
    }
    assert isinstance(events[0], UsageSoFar), "what the input costs is known before the first word"
    assert events[0].usage["cache_read_input_tokens"] == 900


async def test_a_call_forms_and_is_told_at_the_end(model_server: ModelServer) -> None:
    given = {"items": [{"text": 'zwölf Eulen\n"quoted"', "state": "active"}]}
    model_server.script([reply("I plan.", calls=[call("plan", given), call("nb_run")])])
    async with claude(model_server.url) as provider:
        events = await hear(provider, request())
    first, second = calls(events)
    assert (first.name, first.input, first.problem) == ("plan", given, "")
    assert (second.name, second.input, second.problem) == ("nb_run", {}, "")
    forming = [event for event in events if isinstance(event, ToolInputDelta) and event.id == first.id]
    assert forming[0].text == "", "that it calls is known before what"
    assert json.loads("".join(event.text for event in forming)) == given
    assert len(forming) > 3
    assert events.index(forming[-1]) < events.index(first)
    assert end(events).stop_reason == "tool_use"


@pytest.mark.parametrize("raw", ['{"a": nope}', '{"a": 1', "[1, 2]", '"text"', "null", "}{"])
async def test_a_malformed_input_is_told_and_not_raised(model_server: ModelServer, raw: str) -> None:
    model_server.script([reply("Now.", calls=[call("plan", raw=raw), call("plan", {"ok": 1})]), reply("Better.")])
    async with claude(model_server.url) as provider:
        events = await hear(provider, request())
        wrong, right = calls(events)
        assert wrong.input == {}
        assert "JSON" in wrong.problem
        assert (right.input, right.problem) == ({"ok": 1}, "")
        again = await hear(provider, request(turns=[turn(events, "no", "yes")]))
    assert said(again) == "Better.", "and the conversation goes on"


async def test_calls_of_a_reply_that_was_cut_by_its_limit_are_not_told(model_server: ModelServer) -> None:
    model_server.script([reply("I", calls=[call("plan", {"a": 1})], stop_reason="max_tokens"), reply("Yes.")])
    async with claude(model_server.url) as provider:
        events = await hear(provider, request())
        assert calls(events) == []
        assert end(events).stop_reason == "max_tokens"
        await hear(provider, request(turns=[turn(events)], notes=["You were cut off."]))
    second = model_server.requests()[1].messages
    assert [block["type"] for block in second[1]["content"]] == ["text"]


@pytest.mark.parametrize(
    "why", ["end_turn", "stop_sequence", "max_tokens", "refusal", "model_context_window_exceeded", "something_new"]
)
async def test_every_stop_reason_is_passed_on(model_server: ModelServer, why: str) -> None:
    model_server.script([reply("So far.", stop_reason=why)])
    async with claude(model_server.url) as provider:
        assert end(await hear(provider, request())).stop_reason == why


async def test_an_empty_answer_is_an_answer(model_server: ModelServer) -> None:
    model_server.script([reply(), reply("Sorry.")])
    async with claude(model_server.url) as provider:
        events = await hear(provider, request())
        assert end(events).blocks == []
        assert said(await hear(provider, request(turns=[turn(events)]))) == "Sorry."


async def test_a_search_and_what_it_found(model_server: ModelServer) -> None:
    hits = [{"title": "Owls", "url": "https://owls.example/a", "page_age": "2 days"}]
    location = {"type": "web_search_result_location", "url": "https://owls.example/a", "title": "Owls"}
    cited = {**location, "cited_text": "Owls fly.", "encrypted_index": "e30="}
    blocks = [text("I look."), search("owls", hits), fetched("https://owls.example/a", "Owls fly.", title="Owls")]
    model_server.script([reply(blocks=[*blocks, text("They fly.", citations=[cited])])])
    async with claude(model_server.url, web_tools=True) as provider:
        events = await hear(provider, request(server_tools=("web_search", "web_fetch")))
    begun, done, fetching, page = [event for event in events if isinstance(event, ServerTool)]
    assert (begun.name, begun.input, begun.ok) == ("web_search", {"query": "owls"}, None)
    assert (done.id, done.input, done.ok) == (begun.id, begun.input, True)
    assert done.content == "Owls\n  https://owls.example/a (2 days)"
    assert done.data == {"results": [{"title": "Owls", "url": "https://owls.example/a", "age": "2 days"}]}
    assert (fetching.name, page.ok, page.data["url"]) == ("web_fetch", True, "https://owls.example/a")
    assert "Owls fly." in page.content
    (source,) = [event for event in events if isinstance(event, Cited)]
    assert (source.url, source.title, source.text) == ("https://owls.example/a", "Owls", "Owls fly.")
    assert source.block == max(event.block for event in events if isinstance(event, TextDelta))
    assert model_server.requests()[0].problems == ()


async def test_a_search_that_failed(model_server: ModelServer) -> None:
    model_server.script([reply(blocks=[search("x", error="max_uses_exceeded"), text("No luck.")])])
    async with claude(model_server.url) as provider:
        _, done = [event for event in await hear(provider, request()) if isinstance(event, ServerTool)]
    assert done.ok is False
    assert "max_uses_exceeded" in done.content


async def test_a_pause_goes_back_unchanged(model_server: ModelServer) -> None:
    blocks = [thought("Hm."), text("I look."), search("owls", [])]
    model_server.script([reply(blocks=blocks, stop_reason="pause_turn"), reply("Found.")])
    async with claude(model_server.url) as provider:
        events = await hear(provider, request("Find owls"))
        last = end(events)
        assert last.stop_reason == "pause_turn"
        await hear(provider, request("Find owls", turns=[turn(events)]))
    question, paused = model_server.requests()[1].messages
    assert question["role"] == "user"
    assert paused == {"role": "assistant", "content": last.blocks}


# --- stop ---


async def test_nothing_is_read_after_a_stop(model_server: ModelServer) -> None:
    model_server.script([reply(words(5000), tokens_per_s=200)] * 2)
    async with claude(model_server.url) as provider:
        async with aclosing(provider.stream(request())) as events:  # type: ignore[type-var]
            async for event in events:
                if isinstance(event, TextDelta):
                    break
        stopped_at = time.time()

        async def listen() -> None:
            await hear(provider, request())

        task = asyncio.create_task(listen())
        await asyncio.sleep(0.3)
        task.cancel()
        began = time.perf_counter()
        await asyncio.wait([task])
        assert time.perf_counter() - began < 0.1
        assert task.cancelled()
        left, cancelled = await asyncio.to_thread(
            model_server.wait, lambda found: len(found) == 2 and all(one.ended for one in found)
        )
    assert (left.ended, cancelled.ended) == ("client", "client")
    assert left.ended_at - stopped_at < 0.2
    assert cancelled.sent < 200


async def test_a_stop_ends_a_silence_too(model_server: ModelServer) -> None:
    model_server.script([broken(reply("Hm, hm."), "stall", after=3)])
    async with claude(model_server.url, read_timeout_s=60.0) as provider:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.4):
                await hear(provider, request())
        (one,) = await asyncio.to_thread(model_server.wait, lambda found: bool(found[0].ended))
    assert one.ended == "client"


# --- the connection ---


async def test_the_first_word_comes_at_once_and_the_rest_in_handfuls(model_server: ModelServer) -> None:
    model_server.script([reply("warm"), reply(words(200), tokens_per_s=200)])
    async with claude(model_server.url) as provider:
        await hear(provider, request())
        began, first, at = time.perf_counter(), 0.0, set()
        async for event in provider.stream(request()):
            if isinstance(event, TextDelta):
                first = first or time.perf_counter() - began
                at.add(round(time.perf_counter(), 2))
    assert first < 0.04, "shorter than the pause between two reads"
    assert 10 <= len(at) <= 60, "200 words in about one second came in some twenty pieces"


async def test_one_connection_serves_turn_after_turn(model_server: ModelServer) -> None:
    model_server.script([reply("One."), reply("Two.")])
    async with claude(model_server.url) as provider:
        await hear(provider, request())
        await hear(provider, request())
    assert len({one.connection for one in model_server.requests()}) == 1


async def test_the_key_is_asked_for_at_each_call_and_nothing_else_is_used(
    model_server: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANTHROPIC_AUTH_TOKEN", "stray-token-000000000000")
    monkeypatch.setenv("ANTHROPIC_API_KEY", "stray-key-0000000000000000")
    monkeypatch.setenv("ANTHROPIC_BASE_URL", "http://127.0.0.1:9")
    model_server.script([reply(words(40), tokens_per_s=100), reply("Two.")])
    keys = [KEY, "sk-ant-test-another-key-000000"]
    async with claude(model_server.url, api_key=lambda: keys[0]) as provider:
        running = asyncio.create_task(hear(provider, request()))
        await asyncio.sleep(0.2)
        keys.pop(0)
        await hear(provider, request())
        assert len(said(await running).split()) == 40, "the old key's reply comes to its end"
    sent = [one.headers["authorization"] for one in model_server.requests()]
    assert sent == [f"Bearer {KEY}", "Bearer sk-ant-test-another-key-000000"]
    assert not any("stray" in json.dumps(one.headers) for one in model_server.requests())


async def test_through_a_proxy_of_the_environment(model_server: ModelServer, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("http_proxy", model_server.url)
    model_server.script([reply("Through.")])
    async with claude("http://model.invalid") as provider:
        assert said(await hear(provider, request(model=HAIKU))) == "Through."
    (one,) = model_server.requests("http://model.invalid/v1/messages")
    assert one.headers["host"] == "model.invalid"
