"""The clients of systems A and E, written from rows A1–A8 and E5–E8 of the feature list alone.

System A's posts with one plain HTTP request, as `curl` does; system E's knows only its envelope.
"""

from __future__ import annotations

import asyncio
import http.client
import json
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from tornado.httpclient import HTTPRequest
from tornado.websocket import WebSocketClientConnection, websocket_connect


class Plain:
    """HTTP by the standard library, in a thread: the request, the status, the JSON."""

    def __init__(self, address: str, base: str, token: str) -> None:
        self.host, self.base = address, base
        self.headers = {"Authorization": f"token {token}"}

    def _send(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        connection = http.client.HTTPConnection(self.host, timeout=20)
        data = None if body is None else json.dumps(body)
        form = {"Content-Type": "application/x-www-form-urlencoded"} if data else {}  # what `curl -d` says
        connection.request(method, self.base + path, data, self.headers | form)
        answer = connection.getresponse()
        text = answer.read()
        connection.close()
        return answer.status, json.loads(text) if text else None

    async def __call__(self, method: str, path: str, body: Any = None) -> Any:
        status, answer = await asyncio.to_thread(self._send, method, path, body)
        assert 200 <= status < 300, answer
        return answer

    async def socket(self, **kwargs: Any) -> WebSocketClientConnection:
        return await websocket_connect(HTTPRequest(f"ws://{self.host}{self.base}ws", headers=self.headers), **kwargs)


@pytest.fixture
def plain(listening, jp_base_url, jp_serverapp):
    return Plain(listening, f"{jp_base_url}postdoc/", jp_serverapp.identity_provider.token)


async def hear(socket: WebSocketClientConnection) -> dict[str, Any]:
    message = await socket.read_message()
    assert message is not None, f"closed with {socket.close_code}"
    return json.loads(message)


# --- system A: agents report to rooms ---


async def test_several_agents_report_to_one_room(plain):
    """A1–A5: post, read with limit and after_id, a live feed, and rooms that exist once somebody speaks."""
    feed = await plain.socket()
    await feed.write_message(json.dumps({"type": "subscribe", "chatId": "room:lab bench"}))
    assert (await hear(feed))["messages"] == []
    said = [("codex", "status", "Tests pass."), ("claude", "blocker", "Kein Schlüssel ✗"), ("gemini", "result", "42")]
    answers = []
    for agent, kind, content in said:
        body = {"agent": agent, "kind": kind, "content": content, "room": "lab bench", "host": "laptop"}
        answers.append(await plain("POST", "api/messages", body))
    assert [a["id"] for a in answers] == sorted({a["id"] for a in answers})
    assert all(a["ts"].endswith("Z") for a in answers)
    for (agent, kind, content), answer in zip(said, answers, strict=True):
        live = await hear(feed)
        assert (live["agent"], live["kind"], live["content"]) == (agent, kind, content)
        assert (live["seq"], live["ts"]) == (answer["id"], answer["ts"])
    feed.close()

    async def read(**query: Any) -> list[tuple[str, str, str]]:
        found = await plain("GET", "api/messages?" + urlencode(query))
        return [(m["agent"], m["kind"], m["content"]) for m in found]

    assert await read(room="lab bench") == said
    assert await read(room="lab bench", limit=1) == said[-1:]
    assert await read(room="lab bench", after_id=answers[0]["id"]) == said[1:]
    assert await read(room="lab bench", after_id=answers[0]["id"], limit=1) == said[1:2]
    assert await read(room="lab bench", after_id=answers[2]["id"]) == []
    assert await read(room="elsewhere") == []
    (room,) = await plain("GET", "api/rooms")
    assert (room["room"], room["messages"]) == ("lab bench", 3)


async def test_a_reader_that_polls_misses_nothing(plain):
    """A3 as scripts use it: the last id seen is the next ``after_id``."""

    async def post(count: int) -> None:
        for number in range(count):
            await plain("POST", "api/messages", {"agent": "a", "kind": "note", "content": f"{number}", "room": "r"})

    posting = asyncio.create_task(post(25))
    last, seen = 0, []
    while len(seen) < 25:
        for message in await plain("GET", f"api/messages?room=r&limit=4&after_id={last}"):
            last = message["id"]
            seen.append(message["content"])
    await posting
    assert seen == [f"{number}" for number in range(25)]


async def test_the_quick_start_tells_an_agent_all_of_this(plain):
    """A7: the addresses in the text are the ones that work."""
    connection = http.client.HTTPConnection(plain.host, timeout=20)
    await asyncio.to_thread(connection.request, "GET", plain.base + "api/agents.md", None, plain.headers)
    text = (await asyncio.to_thread(connection.getresponse)).read().decode()
    connection.close()
    for word in (
        "api/messages",
        "after_id",
        "room=",
        f"{plain.host}{plain.base}",
        '"agent"',
        '"kind"',
        "Authorization",
    ):
        assert word in text


# --- system E: sessions in envelopes ---

FIELDS = {"v", "kind", "sessionId", "ts", "seq", "payload"}


class Manager:
    """Speaks envelopes only, and checks each that comes."""

    def __init__(self, socket: WebSocketClientConnection) -> None:
        self.socket = socket

    async def send(self, kind: str, session: str, payload: dict[str, Any]) -> None:
        frame = {"v": 1, "kind": kind, "sessionId": session, "ts": "2026-01-01T00:00:00.000Z", "seq": 0}
        await self.socket.write_message(json.dumps(frame | {"payload": payload}))

    async def hear(self, *kinds: str) -> dict[str, Any]:
        while True:
            frame = await hear(self.socket)
            assert frame.keys() == FIELDS
            assert (frame["v"], isinstance(frame["seq"], int)) == (1, True)
            assert (frame["seq"] > 0) == (frame["kind"] == "event")
            if frame["kind"] in kinds:
                return frame


async def test_a_session_as_the_manager_sees_it(plain):
    """E5–E8: subscribe → snapshot, command → ack and events, error; pages of the stored events; states."""
    session = (await plain("POST", "api/sessions", {}))["id"]
    manager = Manager(await plain.socket(subprotocols=["postdoc.v1.envelope"]))
    await manager.send("subscribe", session, {})
    snapshot = await manager.hear("snapshot")
    assert (snapshot["sessionId"], snapshot["payload"]["messages"]) == (session, [])
    live = []
    for number in (1, 2):
        text = {"type": "chat", "id": f"m{number}", "content": f"Question {number}"}
        await manager.send("command", session, text)
        heard = [await manager.hear("ack", "event")]
        while heard[-1]["payload"].get("status") != "error":
            heard.append(await manager.hear("ack", "event"))
        (ack,) = [frame for frame in heard if frame["kind"] == "ack"]
        assert ack["payload"]["id"] == f"m{number}"
        live += [frame for frame in heard if frame["kind"] == "event"]
    assert [f["seq"] for f in live] == sorted({f["seq"] for f in live})
    await manager.send("command", session, {"type": "explode", "id": "m3"})
    error = await manager.hear("error")
    assert (error["payload"]["code"], error["payload"]["id"]) == ("unknown_type", "m3")

    states = [f["payload"]["status"] for f in live if f["payload"]["type"] == "session_state"]
    assert set(states) <= {"queued", "starting", "running", "waiting", "finished", "error", "stopped"}
    assert (await plain("GET", f"api/sessions/{quote(session)}"))["state"] == "error"
    stored: list[dict[str, Any]] = []
    while True:
        page = await plain("GET", f"api/sessions/{session}/events?limit=3&after={stored[-1]['seq'] if stored else 0}")
        assert len(page["events"]) <= 3
        stored += page["events"]
        if not page["more"]:
            break
    assert [(e["seq"], e["type"]) for e in stored] == [(f["seq"], f["payload"]["type"]) for f in live]
    again = Manager(await plain.socket(subprotocols=["postdoc.v1.envelope"]))
    await again.send("subscribe", session, {"type": "subscribe.session"})
    assert (await again.hear("snapshot"))["payload"]["messages"] == live
    for one in (manager, again):
        one.socket.close()
    await plain("DELETE", f"api/sessions/{session}")
    assert session not in [s["id"] for s in await plain("GET", "api/sessions")]
