"""A research session with Claude, end to end: the real provider and SDK against a model server on a real socket."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from tests.agent.example_study import STEPS, TOPIC, TURNS
from tests.agent.support import (
    ANA,
    SANDBOX,
    git,
    of,
    processes_below,
    read_json,
    research,
    serving,
    settled,
    states,
    steps_committed,
)
from tests.model_server import ModelServer, call, on, reply

from jupyterlab_postdoc import protocol
from jupyterlab_postdoc.providers.anthropic import AnthropicProvider

pytestmark = pytest.mark.skipif(not SANDBOX, reason="without a sandbox every command of a model asks for leave")
FORBIDDEN = {"temperature", "top_p", "top_k"}


class Claude(AnthropicProvider):
    """Claude at the model server's address."""

    url: ClassVar[str] = ""

    def __init__(self) -> None:
        super().__init__(api_key=lambda: "sk-ant-test-0000", base_url=self.url)


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with ModelServer() as made:
        Claude.url = made.url
        yield made


def replies() -> list[dict[str, Any]]:
    """The example study as replies of the server, each for its own turn, in large pieces."""
    return [
        on(reply(said, calls=[call(name, given) for name, given in calls]), turn=number)
        for number, (said, calls) in enumerate(TURNS)
    ]


async def test_claude_writes_a_notebook_repairs_a_cell_commits_and_finishes(
    tmp_path: Path, server: ModelServer
) -> None:
    server.rules(replies())
    async with serving(tmp_path, chat_provider=Claude) as services:
        chat = await research(services, topic=TOPIC, template=None, provider="anthropic")
        events = await settled(services, chat, "finished", limit_s=90)
        shown = await services.sessions.get(ANA, chat)
    root = tmp_path / "root" / shown["project"]["path"]
    assert states(events) == ["queued", "starting", "running", "finished"]
    result = of(events, "result")[-1]
    assert result["success"] is True
    assert result["verdict"] == read_json(root / "results.json")
    assert result["verdict"]["supported"] is True
    assert [e["ok"] for e in of(events, "tool_result") if e["toolName"] == "nb_run"] == [False, True]
    assert [event["content"] for event in of(events, "assistant_message")] == [said for said, _ in TURNS]
    assert all(event["provider"] == "anthropic" for event in of(events, "assistant_message"))
    assert [item["state"] for item in of(events, "plan")[-1]["items"]] == ["done"] * len(STEPS)
    assert "Repair the permutation: one shuffled row for each draw" in git(root, "log", "--format=%s")
    assert steps_committed(root)[0] == "start"
    assert git(root, "status", "--porcelain") == ""
    model = read_json(root / "provenance.json")["model"]
    first = server.requests()[0].body
    system = first["system"] if isinstance(first["system"], str) else first["system"][0]["text"]
    told = read_json(root / "provenance.json")["prompts_sha256"]
    assert set(told) == {"system", "task"}
    assert told["system"] == hashlib.sha256(system.encode()).hexdigest()
    assert model.startswith("claude-")
    assert f"written by the language model {model} (anthropic)" in (root / "README.md").read_text()
    assert processes_below(tmp_path) == []
    _check_requests([request.body for request in server.requests()])


def _check_requests(requests: list[dict[str, Any]]) -> None:
    """A valid history that only grows, the same beginning every time, nothing that newer models refuse."""
    assert len(requests) == len(TURNS)
    first = requests[0]
    told = str(first["messages"][0]["content"])
    assert TOPIC in told
    assert "## marimo's rules" in first["system"][0]["text"]
    for number, request in enumerate(requests):
        assert not FORBIDDEN & request.keys()
        assert request["system"] == first["system"]
        assert request["tools"] == first["tools"]
        assert [message["role"] for message in request["messages"]] == ["user", "assistant"] * number + ["user"]
        for asked, answered in zip(request["messages"][1::2], request["messages"][2::2], strict=True):
            calls = [block["id"] for block in asked["content"] if block["type"] == "tool_use"]
            results = [block["tool_use_id"] for block in answered["content"] if block["type"] == "tool_result"]
            assert calls == results
    failed = [block for block in requests[5]["messages"][-1]["content"] if block.get("is_error")]
    assert "AxisError" in str(failed)


async def test_a_chat_with_claude_goes_on_in_the_project_and_is_named_in_it(
    tmp_path: Path, server: ModelServer
) -> None:
    cell = {"op": "put", "name": "number", "code": "number = 7\nnumber"}
    bare = 'verdict = {"claim": "1 > 0", "supported": True, "summary": "Yes."}\nverdict'
    begin = [
        call("nb_create", {"title": "Sum"}),
        call("nb_edit", {"changes": [{"op": "put", "name": "verdict", "code": bare}]}),
        call("nb_run"),
    ]
    server.script(
        [
            reply("I write it.", calls=begin),
            reply("Done.", calls=[call("finish", {"summary": "Yes."})]),
            reply("I add it.", calls=[call("nb_edit", {"changes": [cell]}), call("nb_run")]),
            reply("It is there."),
        ]
    )
    async with serving(tmp_path, chat_provider=Claude) as services:
        chat = await research(services, topic="Is one more than zero?", template=None, provider="anthropic")
        events = await settled(services, chat, "finished", limit_s=60)
        await services.sessions.submit(ANA, protocol.Chat(chatId=chat, content="Add a number"))
        events = (await settled(services, chat, "finished", limit_s=60))[len(events) :]
        root = tmp_path / "root" / (await services.sessions.get(ANA, chat))["project"]["path"]
    assert of(events, "assistant_message")[-1]["content"] == "It is there."
    assert of(events, "result")[0]["artifacts"]["commit"] == git(root, "rev-parse", "HEAD")
    assert "changed later by the language model claude" in (root / "README.md").read_text()
    asked = server.requests()[2].body
    assert "Is one more than zero?" in str(asked["messages"][0]["content"])
    assert "Add a number" in str(asked["messages"][-1]["content"])
