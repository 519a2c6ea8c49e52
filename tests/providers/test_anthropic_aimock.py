"""The same provider at a model server that somebody else wrote."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from tests.model_server.aimock import Aimock
from tests.providers.claude import PLAN, calls, claude, end, failure, hear, request, said, turn

from jupyterlab_postdoc.providers.base import TextDelta, ThinkingDelta, ToolInputDelta

TOOLS = [PLAN, {"name": "list_files", "description": "Lists files.", "input_schema": {"type": "object"}}]


@pytest.fixture(scope="module")
def aimock() -> Iterator[Aimock]:
    with Aimock("owls.json") as server:
        yield server


async def journal(server: Aimock) -> list[dict[str, Any]]:
    return await asyncio.to_thread(server.journal)


async def test_a_chat(aimock: Aimock) -> None:
    async with claude(aimock.url) as provider:
        events = await hear(provider, request("what is an owl?"))
    assert said(events) == "An owl is a bird of the night."
    assert "".join(event.text for event in events if isinstance(event, ThinkingDelta)) == "Owls are birds."
    usage = end(events).usage
    assert usage is not None
    assert (usage["input_tokens"], usage["output_tokens"]) == (120, 9)
    asked = (await journal(aimock))[-1]
    assert asked["path"] == "/v1/messages"
    assert not {"temperature", "top_p", "top_k"} & asked["body"].keys()


async def test_tools_side_by_side_and_their_answers(aimock: Aimock) -> None:
    async with claude(aimock.url) as provider:
        events = await hear(provider, request("plan the study", tools=TOOLS))
        plan, files = calls(events)
        assert (plan.name, plan.input) == ("plan", {"items": [{"text": "Read", "state": "active"}]})
        assert (files.name, files.input) == ("list_files", {"path": "."})
        assert any(isinstance(event, ToolInputDelta) and event.text for event in events)
        assert end(events).stop_reason == "tool_use"
        done = turn(events, "Shown.", "data.csv")
        again = await hear(provider, request("plan the study", tools=TOOLS, turns=[done]))
    assert said(again) == "The data are there."


async def test_words_one_after_another(aimock: Aimock) -> None:
    async with claude(aimock.url) as provider:
        events = await hear(provider, request("slowly"))
    assert said(events) == "One word after another, as if they were typed."
    assert sum(isinstance(event, TextDelta) for event in events) > 5


async def test_failures(aimock: Aimock) -> None:
    async with claude(aimock.url) as provider:
        error, _ = await failure(provider, request("too fast"))
        assert (error.code, error.retryable, error.details["retry_after_s"]) == ("provider_rate_limited", True, 3.0)
        error, _ = await failure(provider, request("too many"))
        assert (error.code, error.retryable) == ("provider_overloaded", True)
        error, heard = await failure(provider, request("hang up"))
        assert (error.code, error.retryable) == ("provider_stream_error", True)
        assert said(heard) in "This sentence is long enough to be cut before its end, which nobody will ever read."
        error, _ = await failure(provider, request("something that no fixture knows"))
        assert not error.message.endswith("fixture")


async def test_a_list_of_models_with_gaps(aimock: Aimock) -> None:
    async with claude(aimock.url) as provider:
        found = await provider.models()
    assert found
    assert all(info.id and info.label for info in found)
