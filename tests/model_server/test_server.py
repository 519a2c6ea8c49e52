"""The model server itself: what it says is what it was told, and it refuses what the real API refuses."""

from __future__ import annotations

import http.client
import json
from typing import Any

import pytest

from tests.model_server import ModelServer, broken, call, on, rate_limited, reply
from tests.model_server.history import problems

HEADERS = {"authorization": "Bearer k"}


def ask(server: ModelServer, messages: list[Any], **fields: Any) -> tuple[int, str]:
    """One request; the answer's status and body as far as it came."""
    body = {"model": "m", "max_tokens": 10, "messages": messages, "stream": True, **fields}
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    try:
        connection.request("POST", "/v1/messages", json.dumps(body), HEADERS)
        answer = connection.getresponse()
        try:
            return answer.status, answer.read().decode()
        except http.client.IncompleteRead as e:
            return answer.status, e.partial.decode() + "!"
    finally:
        connection.close()


def test_a_script_then_rules() -> None:
    user = {"role": "user", "content": "the moon"}
    with ModelServer() as server:
        server.script([reply("Hello there."), rate_limited(2), broken(reply("Half of it"), "drop", after=3)])
        server.rules([on(reply("To the moon."), says="moon", turn=0), on(reply("Back."), says="moon", turn=1)])
        assert ask(server, [user])[1].count("text_delta") == 2
        assert ask(server, [user])[0] == 429
        assert ask(server, [user])[1].endswith("!")
        assert "To the" not in ask(server, [{"role": "user", "content": "the sun"}])[1]
        assert '"To "' in ask(server, [user])[1]
        used = {"type": "tool_use", "id": "t1", "name": "x", "input": {}}
        result = {"type": "tool_result", "tool_use_id": "t1", "content": "ok"}
        talk = [user, {"role": "assistant", "content": [used]}, {"role": "user", "content": [result]}]
        assert '"Back."' in ask(server, talk)[1]
        requests = server.wait(lambda found: all(request.ended for request in found))
        assert [r.status for r in requests] == [200, 429, 200, 400, 200, 200]
        assert [r.ended for r in requests] == ["complete", "complete", "fault", "complete", "complete", "complete"]


def test_it_notices_who_leaves_and_ends_with_its_tests(capfd: pytest.CaptureFixture[str]) -> None:
    with ModelServer() as server:
        server.rules([on(reply(["a "] * 1000, tokens_per_s=50))])
        body = {"model": "m", "max_tokens": 10, "messages": [USER], "stream": True}
        for _ in range(2):
            connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
            connection.request("POST", "/v1/messages", json.dumps(body), HEADERS)
            connection.getresponse().read(300)
            if len(server.requests()) == 1:
                connection.close()
        (left, _) = server.wait(lambda found: len(found) == 2 and bool(found[0].ended))
        assert left.ended == "client"
        assert left.sent < 100
    connection.close()
    assert server.process.returncode == 0
    assert capfd.readouterr().err == ""


def test_calls_have_ids_of_their_own() -> None:
    with ModelServer() as server:
        server.rules([on(reply(calls=[call("a", {"x": 1}), call("b")]))])
        first, second = (ask(server, [{"role": "user", "content": "go"}])[1] for _ in range(2))
        ids = [part.split('"')[0] for text in (first, second) for part in text.split('"id": "toolu_')[1:]]
        assert len(set(ids)) == 4


USER = {"role": "user", "content": "a"}
ASSISTANT = {"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "x", "input": {}}]}
RESULT = {"type": "tool_result", "tool_use_id": "t1", "content": "ok"}
TEXT = {"type": "text", "text": "hm"}


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"temperature": 1.0}, "no longer supported"),
        ({"context_management": {}}, "Extra inputs"),
        ({"messages": [{"role": "user", "content": "a"}, ASSISTANT]}, "without tool_result"),
        (
            {"messages": [{"role": "user", "content": "a"}, ASSISTANT, {"role": "user", "content": [TEXT]}]},
            "without its",
        ),
        ({"messages": [{"role": "user", "content": [RESULT]}]}, "without its tool_use"),
        (
            {"messages": [USER, ASSISTANT, {"role": "user", "content": [TEXT, RESULT]}]},
            "come first",
        ),
        ({"messages": [USER, USER]}, "alternate"),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": " "}]}]}, "non-empty"),
        ({"system": [{**TEXT, "cache_control": {}}] * 5}, "at most 4"),
        ({"max_tokens": 0}, "max_tokens"),
    ],
)
def test_what_the_real_api_refuses(changes: dict[str, Any], why: str) -> None:
    body = {"model": "m", "max_tokens": 10, "messages": [{"role": "user", "content": "a"}], **changes}
    assert any(why in problem for problem in problems(body, HEADERS)), problems(body, HEADERS)


def test_a_valid_conversation() -> None:
    talk = [{"role": "user", "content": "a"}, ASSISTANT, {"role": "user", "content": [RESULT, TEXT]}]
    assert problems({"model": "m", "max_tokens": 10, "messages": talk}, HEADERS) == []
