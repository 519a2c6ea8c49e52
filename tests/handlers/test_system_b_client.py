"""System B's own client: written from rows B1–B8 of the feature list alone, and as careless as such clients are.

It sends no ids and no hello, writes types in upper case and with spaces, adds fields of its own, looks only at the
messages it knows, and reconnects never. The one thing it had to learn is the token.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tornado.httpclient import HTTPClientError, HTTPRequest
from tornado.simple_httpclient import SimpleAsyncHTTPClient
from tornado.websocket import websocket_connect

from jupyterlab_postdoc.workspace.git import Git

KNOWN = {"history", "user_message", "assistant_message", "tool_use", "agent_status", "result", "error"}


class SystemB:
    """REST for chats, one socket for everything else."""

    def __init__(self, address: str, token: str) -> None:
        self.address = address
        self.headers = {"Authorization": f"token {token}"}
        self.heard: list[dict[str, Any]] = []

    async def rest(self, method: str, path: str, body: Any = None) -> Any:
        data = json.dumps(body) if method == "POST" else None
        request = HTTPRequest(f"http://{self.address}{path}", method, self.headers, data)
        answer = await SimpleAsyncHTTPClient(force_instance=True).fetch(request)
        return json.loads(answer.body) if answer.body else None

    async def connect(self) -> None:
        self.socket = await websocket_connect(HTTPRequest(f"ws://{self.address}/ws", headers=self.headers))

    async def say(self, type: str, **fields: Any) -> None:
        await self.socket.write_message(json.dumps({"type": f"  {type.upper()} ", "ui": {"theme": "dark"}, **fields}))

    async def hear(self, *types: str) -> dict[str, Any]:
        """The next message of one of these types; what the client does not know it ignores."""
        while (message := await self.socket.read_message()) is not None:
            frame = json.loads(message)
            if frame["type"] in KNOWN:
                self.heard.append(frame)
            if frame["type"] in types:
                return frame
        raise AssertionError(f"closed with {self.socket.close_code}")

    async def research(self, chat: str, topic: str, **repo_name: str) -> dict[str, Any]:
        """Start it and wait for its end."""
        self.heard.clear()
        await self.say("research", chatId=chat, topic=topic, **repo_name)
        return await self.hear("result")

    def of(self, type: str) -> list[dict[str, Any]]:
        return [frame for frame in self.heard if frame["type"] == type]


# --- the tests ---


@pytest.fixture
def jp_server_config(with_tiny_template):
    return with_tiny_template


@pytest.fixture
def client(listening, jp_base_url, jp_serverapp, jp_asyncio_loop):
    made = SystemB(f"{listening}{jp_base_url}postdoc", jp_serverapp.identity_provider.token)
    jp_asyncio_loop.run_until_complete(made.connect())
    yield made
    made.socket.close()


@pytest.mark.slow
async def test_a_topic_becomes_a_notebook_and_a_repository(client, jp_root_dir):
    """B1–B4 and B8, twice: with a derived name and with a given one."""
    chat = await client.rest("POST", "/api/chats", {"title": "Means", "colour": "red"})
    other = await client.rest("POST", "/api/chats", {})
    assert {chat["id"], other["id"]} <= {c["id"] for c in await client.rest("GET", "/api/chats")}
    assert (await client.rest("GET", f"/api/chats/{chat['id']}"))["title"] == "Means"
    for one in (chat, other):
        await client.say("subscribe", chatId=one["id"])
        assert (await client.hear("history"))["messages"] == []

    result = await client.research(chat["id"], "A tiny study of means")
    assert result["success"] is True, result
    assert result["duration_ms"] > 0
    check_run(client, chat["id"])
    await check_project(client, chat["id"], jp_root_dir, "a-tiny-study-of-means")

    result = await client.research(other["id"], "Tiny, once more", repo_name="my-own-name")
    assert result["success"] is True, result
    assert {frame["chatId"] for frame in client.heard} == {other["id"]}
    await check_project(client, other["id"], jp_root_dir, "my-own-name")

    await client.rest("DELETE", f"/api/chats/{chat['id']}")
    with pytest.raises(HTTPClientError, match="404"):
        await client.rest("GET", f"/api/chats/{chat['id']}")


def check_run(client: SystemB, chat: str) -> None:
    """What the client heard during a run: the promises of B2 and B4."""
    assert {frame["chatId"] for frame in client.heard} == {chat}
    assert client.heard[0]["type"] == "user_message"
    assert client.heard[-1]["type"] == "result"
    assert not client.of("error")
    for status in client.of("agent_status"):
        assert status["message"][0].isupper()
        assert " " in status["message"], "a line in plain words"
    tools = client.of("tool_use")
    assert {"nb_create", "nb_edit", "nb_run"} <= {tool["toolName"] for tool in tools}
    assert len({tool["toolId"] for tool in tools}) == len(tools)
    assert all(isinstance(tool["toolInput"], dict) for tool in tools)
    assert client.of("agent_status")
    assert all(reply["content"].strip() for reply in client.of("assistant_message"))
    assert client.of("assistant_message")


async def check_project(client: SystemB, chat: str, root: Path, name: str) -> None:
    """B8: the notebook, in a repository of that name; and B1: the messages can be read again."""
    project = (await client.rest("GET", f"/api/chats/{chat}"))["project"]
    assert project["repo"] == name
    notebook = root / project["notebook"]
    assert "marimo.App(" in notebook.read_text("utf-8")
    log = await Git().log(notebook.parent)
    assert len(log) > 2
    kept = await client.rest("GET", f"/api/chats/{chat}/messages")
    seen = [f for f in client.heard if f["type"] != "history"]
    assert [m for m in kept if m["type"] in KNOWN] == seen, "what was heard live is what is kept"


async def test_chat_is_heard_by_all_and_ends_honestly(client, listening, jp_base_url, jp_serverapp):
    """B2 and B5 without a model: broadcast, then an error that says what to do; the socket goes on."""
    listener = SystemB(client.address, jp_serverapp.identity_provider.token)
    await listener.connect()
    chat = (await client.rest("POST", "/api/chats", {}))["id"]
    for one in (client, listener):
        await one.say("subscribe", chatId=chat)
        await one.hear("history")
    for text in ("Hello?", "Are you there?"):
        await client.say("chat", chatId=chat, content=text)
        for one in (client, listener):
            assert (await one.hear("user_message"))["content"] == text
            error = await one.hear("error")
            assert error["code"] == "no_model"
            assert "model" in error["error"]
            assert error["next"]
            assert not one.of("assistant_message"), "never a fake reply"
    listener.socket.close()


async def test_a_bad_message_is_answered_and_the_socket_lives(client):
    """B7."""
    await client.say("dance", chatId="c1", partner="robot")
    error = await client.hear("error")
    for word in ("DANCE", "chatId", "partner", "ui"):
        assert word in error["error"]
    await client.socket.write_message("this is no JSON")
    assert (await client.hear("error"))["code"] == "bad_json"
    chat = (await client.rest("POST", "/api/chats", {}))["id"]
    await client.say("research", chatId=chat)
    assert "topic" in (await client.hear("error"))["error"]
    await client.say("subscribe", chatId=chat)
    assert (await client.hear("history"))["chatId"] == chat
