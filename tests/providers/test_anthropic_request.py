"""What Claude is sent, as a real server received it. The server refuses what the real API refuses."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import Any

import pytest
from tests.model_server import ModelServer, call, on, reply, search, text, thought
from tests.providers.claude import (
    HAIKU,
    PLAN,
    Exchange,
    ToolOutcome,
    Turn,
    calls,
    claude,
    hear,
    request,
    turn,
)

import jupyterlab_postdoc.providers.anthropic as package
from jupyterlab_postdoc.errors import PostdocError
from jupyterlab_postdoc.protocol import ImageRef
from jupyterlab_postdoc.providers.base import ToolCall, TurnRequest

PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 60
SAMPLING = ("temperature", "top_p", "top_k")


async def sent(server: ModelServer, asked: TurnRequest, **options: Any) -> dict[str, Any]:
    """The body that this request becomes; the server finds nothing wrong with it."""
    server.rules([on(reply("Yes."))])
    async with claude(server.url, **options) as provider:
        await hear(provider, asked)
    received = server.requests()[-1]
    assert received.problems == ()
    body: dict[str, Any] = received.body
    assert not {*SAMPLING} & body.keys()
    return body


def kinds(message: dict[str, Any]) -> list[str]:
    return [block["type"] for block in message["content"]]


# --- the frame ---


async def test_the_simplest_request(model_server: ModelServer) -> None:
    body = await sent(model_server, request("Hello"))
    assert body["messages"] == [{"role": "user", "content": [{"type": "text", "text": "Hello"}]}]
    assert body["system"] == [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}]
    assert body["cache_control"] == {"type": "ephemeral"}
    assert body["tools"] == [PLAN]
    assert (body["model"], body["max_tokens"], body["stream"]) == (HAIKU, 32_000, True)
    assert body["thinking"] == {"type": "adaptive", "display": "summarized"}
    headers = model_server.requests()[0].headers
    assert "anthropic-beta" not in headers
    assert "x-api-key" not in headers


async def test_without_a_system_prompt_the_tools_are_marked(model_server: ModelServer) -> None:
    body = await sent(model_server, request(system=""))
    assert "system" not in body
    assert body["tools"] == [{**PLAN, "cache_control": {"type": "ephemeral"}}]


def test_nothing_in_the_source_samples() -> None:
    for path in Path(str(package.__file__)).parent.glob("*.py"):
        assert not re.search("|".join(SAMPLING), path.read_text(encoding="utf-8")), path


@pytest.mark.parametrize(
    ("fields", "limit", "thinking", "effort"),
    [
        ({}, 32_000, "adaptive", None),
        ({"max_tokens": 9_000}, 9_000, "adaptive", None),
        ({"max_tokens": 99_000}, 32_000, "adaptive", None),
        ({"max_tokens": 500}, 500, "disabled", None),
        ({"max_tokens": 0}, 1, "disabled", None),
        ({"thinking": False}, 32_000, "disabled", None),
        ({"effort": "high"}, 32_000, "adaptive", None),
        ({"effort": "high", "model": "claude-opus-5-5"}, 32_000, "adaptive", "high"),
        ({"effort": "warp", "model": "claude-opus-5-5"}, 32_000, "adaptive", None),
        ({"model": "some-local-model", "effort": "high"}, 8_192, None, None),
    ],
)
async def test_limits_thinking_and_effort_follow_the_model(
    model_server: ModelServer, fields: dict[str, Any], limit: int, thinking: str | None, effort: str | None
) -> None:
    body = await sent(model_server, request(**fields))
    assert body["max_tokens"] == limit
    assert body.get("thinking", {}).get("type") == thinking
    assert body.get("output_config") == ({"effort": effort} if effort else None)


async def test_server_tools_and_beta_fields_stay_at_home(model_server: ModelServer) -> None:
    asked = request(server_tools=("web_search", "web_fetch"))
    assert [tool["name"] for tool in (await sent(model_server, asked))["tools"]] == ["plan"]
    body = await sent(model_server, asked, web_tools=True, context_management=True)
    _, search_tool, fetch_tool = body["tools"]
    assert (search_tool["type"], search_tool["max_uses"]) == ("web_search_20260318", 8)
    assert fetch_tool["type"] == "web_fetch_20260318"
    assert [edit["type"] for edit in body["context_management"]["edits"]] == [
        "clear_thinking_20251015",
        "clear_tool_uses_20250919",
    ]
    assert model_server.requests()[-1].headers["anthropic-beta"].startswith("context-management-")
    body = await sent(model_server, request(thinking=False), web_tools=True, context_management=True)
    assert [edit["type"] for edit in body["context_management"]["edits"]] == ["clear_tool_uses_20250919"]
    assert len(body["tools"]) == 1, "the persona did not allow them"


# --- the conversation ---


async def test_a_tool_loop_keeps_its_beginning_byte_for_byte(model_server: ModelServer) -> None:
    """Thinking goes back with its signature, every call is answered first, and what was sent stays as it was."""
    model_server.rules(
        [
            *(
                on(reply(f"Step {n}.", thinking=f"Think {n}.", calls=[call("plan", {"n": n})] * 2), turn=n)
                for n in (0, 1)
            ),
            on(reply("Done."), turn=2),
        ]
    )
    turns: list[Turn] = []
    async with claude(model_server.url) as provider:
        for number in range(3):
            words = {"steer": ["Faster."], "notes": ["Two minutes left."]} if number == 1 else {}
            events = await hear(provider, request("Go", turns=turns, **words))
            if calls(events):
                made = turn(events, "first", "second")
                turns.append(Turn(made.text, made.calls, made.results, blocks=made.blocks, **words))  # type: ignore[arg-type]
    first, second, third = [one.body["messages"] for one in model_server.requests()]
    assert json.dumps(second[: len(first)]) == json.dumps(first)
    assert json.dumps(third[: len(second)]) == json.dumps(second)
    assert [message["role"] for message in third] == ["user", "assistant", "user", "assistant", "user"]
    assert kinds(third[1]) == ["thinking", "text", "tool_use", "tool_use"]
    assert third[1]["content"][0]["thinking"] == "Think 0."
    assert kinds(third[2]) == ["tool_result", "tool_result", "text", "text"]
    assert [block["text"] for block in third[2]["content"][2:]] == ["Faster.", "<note>\nTwo minutes left.\n</note>"]
    assert kinds(third[4]) == ["tool_result", "tool_result"]


async def test_a_missing_answer_and_a_failed_one(model_server: ModelServer) -> None:
    model_server.script([reply(calls=[call("plan"), call("plan"), call("plan")])])
    async with claude(model_server.url) as provider:
        events = await hear(provider, request())
    body = await sent(
        model_server, request(turns=[turn(events, None, ToolOutcome(False, "No."), ToolOutcome(True, ""))])
    )
    lost, failed, silent = body["messages"][2]["content"]
    assert lost["is_error"]
    assert "unknown" in lost["content"][0]["text"]
    assert (failed["is_error"], failed["content"]) == (True, [{"type": "text", "text": "No."}])
    assert "is_error" not in silent
    assert silent["content"]


async def test_a_turn_that_another_provider_made(model_server: ModelServer) -> None:
    made = Turn("I plan.", [ToolCall("t1", "plan", {"a": 1})], {"t1": ToolOutcome(True, "ok")}, stop_reason="tool_use")
    body = await sent(model_server, request(turns=[made]))
    assert kinds(body["messages"][1]) == ["text", "tool_use"]
    blocks = [{"type": "text", "text": "I plan."}]
    odd = Turn("I plan.", made.calls, made.results, blocks=blocks, stop_reason="tool_use")
    body = await sent(model_server, request(turns=[odd]))
    assert kinds(body["messages"][1]) == ["text", "tool_use"], "an answered call is never without its question"


async def test_what_was_not_carried_out_is_not_sent(model_server: ModelServer) -> None:
    cut = reply(blocks=[thought("Hm."), text("I."), call("plan"), text(" ")], stop_reason="max_tokens")
    only = reply(thinking="Nothing but thought.", stop_reason="max_tokens")
    begun = reply(
        blocks=[
            text("I look."),
            {"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {}, "raw": None, "cut": 1},
        ]
    )
    model_server.script([cut, only, begun])
    async with claude(model_server.url) as provider:
        turns = [turn(await hear(provider, request())) for _ in range(3)]
    body = await sent(model_server, request(turns=turns[:1], notes=["Cut."]))
    assert kinds(body["messages"][1]) == ["thinking", "text"]
    body = await sent(model_server, request(turns=turns[1:2], notes=["Cut."]))
    assert [message["role"] for message in body["messages"]] == ["user"]
    body = await sent(model_server, request(turns=turns[2:], notes=["Cut."]))
    assert kinds(body["messages"][1]) == ["text"], "a search without a result must not dangle"


async def test_the_model_never_has_the_last_word(model_server: ModelServer) -> None:
    body = await sent(model_server, request(turns=[Turn("So.", [], {})]))
    assert body["messages"][-1] == {"role": "user", "content": [{"type": "text", "text": "<note>\nGo on.\n</note>"}]}


async def test_a_searched_turn_goes_back_whole(model_server: ModelServer) -> None:
    cited = {
        "type": "web_search_result_location",
        "url": "https://a.example/",
        "title": "A",
        "cited_text": "A.",
        "encrypted_index": "e30=",
    }
    hits = [{"title": "A", "url": "https://a.example/"}]
    blocks = [search("a", hits), text("A.", citations=[cited]), call("plan")]
    model_server.script([reply(blocks=blocks)])
    async with claude(model_server.url, web_tools=True) as provider:
        events = await hear(provider, request(server_tools=("web_search",)))
    body = await sent(model_server, request(turns=[turn(events, "ok")]))
    use, result, said, _ = body["messages"][1]["content"]
    assert (use["input"], result["tool_use_id"]) == ({"query": "a"}, use["id"])
    assert result["content"][0]["encrypted_content"] == "e30="
    assert said["citations"] == [cited]


async def test_earlier_exchanges_and_summaries(model_server: ModelServer) -> None:
    worked = Turn("On it.", [ToolCall("t1", "plan", {})], {"t1": ToolOutcome(True, "ok")}, blocks=[], notes=["Mind."])
    dangling = Turn("", [ToolCall("t2", "plan", {})], {})
    earlier = [
        Exchange("First", [worked, Turn("Done.", [], {})], summary="Before that: owls."),
        Exchange("Second", []),
        Exchange("  ", [dangling]),
    ]
    body = await sent(model_server, request("Now", earlier=earlier, summary="Of late: moons."))
    messages = body["messages"]
    assert [message["role"] for message in messages] == ["user", "assistant"] * 3 + ["user"]
    assert "Before that: owls." in messages[0]["content"][0]["text"]
    assert messages[0]["content"][1]["text"] == "First"
    assert kinds(messages[2]) == ["tool_result"]
    assert messages[4]["content"][0]["text"] == "Second"
    last = messages[6]["content"]
    assert last[0]["is_error"]
    assert "Of late: moons." in last[1]["text"]
    assert last[2]["text"] == "Now"


async def test_the_worst_history_is_valid(model_server: ModelServer) -> None:
    nothing = Turn("", [], {})
    await sent(
        model_server, request("", earlier=[Exchange("", [nothing])], turns=[nothing, nothing], notes=[" "], steer=[""])
    )


# --- pictures ---


async def pictures(
    server: ModelServer, count: int, data: bytes = PNG, kind: str = "image/png", per_turn: int = 3
) -> list[dict[str, Any]]:
    """The messages when that many pictures came back, some in each turn."""

    async def load(blob: str) -> bytes:
        if blob == "gone":
            raise PostdocError("not_found", "No such blob.")
        return data + blob.encode()

    turns = []
    for start in range(0, count, per_turn):
        images = [
            ImageRef(blob=f"b{n}", mediaType=kind, title=f"p{n}") for n in range(start, min(count, start + per_turn))
        ]
        made = ToolCall(f"t{start}", "nb_run", {})
        turns.append(Turn("Look.", [made], {made.id: ToolOutcome(True, "ran", images=images)}))
    body = await sent(server, request(turns=turns, load=load))
    return list(body["messages"])


def shown(messages: list[dict[str, Any]]) -> list[bytes]:
    results = [block for message in messages for block in message["content"] if block["type"] == "tool_result"]
    images = [part for result in results for part in result["content"] if part["type"] == "image"]
    assert {part["source"]["type"] for part in images} <= {"base64"}
    return [base64.b64decode(part["source"]["data"]).removeprefix(PNG) for part in images]


async def test_pictures_are_shown_and_old_ones_left_out_in_steps(model_server: ModelServer) -> None:
    assert shown(await pictures(model_server, 2)) == [b"b0", b"b1"]
    assert len(shown(await pictures(model_server, 20))) == 20
    some = await pictures(model_server, 21)
    assert shown(some) == [b"b%d" % n for n in range(10, 21)]
    more = await pictures(model_server, 30)
    assert shown(more)[0] == b"b10", "nine more change nothing at the beginning"
    assert json.dumps(more[: len(some)]) == json.dumps(some)
    assert shown(await pictures(model_server, 31))[0] == b"b20"


async def test_pictures_that_cannot_be_shown(model_server: ModelServer) -> None:
    assert shown(await pictures(model_server, 1, b"x" * (5 << 20))) == []
    assert shown(await pictures(model_server, 1, kind="image/svg+xml")) == []
    assert len(shown(await pictures(model_server, 8, PNG + b"x" * (4 << 20), per_turn=8))) == 4, (
        "32 MiB is the API's limit"
    )
    gone = Turn("", [ToolCall("t", "nb_run", {})], {"t": ToolOutcome(True, "ran", images=[ImageRef(blob="gone")])})

    async def load(blob: str) -> bytes:
        raise PostdocError("not_found", f"No {blob}.")

    for way in (load, None):
        body = await sent(model_server, request(turns=[gone], load=way))
        assert "cannot be shown" in json.dumps(body["messages"][2])
