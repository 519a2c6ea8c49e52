"""Clients of earlier systems, written from their descriptions alone, against recorded transcripts.

``POSTDOC_RECORD=1`` records them anew. What changes from run to run (ids, times, figures, texts) is replaced by its
kind, and of frames that are then equal only the first is kept: a transcript tells in which order what appears, not
how many tokens or cells there were.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from jupyterlab_postdoc.handlers import frames

TRANSCRIPTS = Path(__file__).parents[1] / "transcripts"
TOPIC = "Short Term Reversal"
KEPT = {"type", "v", "kind", "status", "reason", "success", "cost", "stop_reason", "ok", "phase", "toolName", "risk"}
KEPT |= {"artifact", "provider", "mode", "by", "code", "partial", "duplicate", "queued", "state", "hasMore"}
"""Fields whose value is part of the protocol; of all others only the kind of value is."""


def shape(value: Any) -> Any:
    if isinstance(value, dict):
        return "{}"
    if isinstance(value, list):
        return "[]"
    if isinstance(value, bool) or value is None:
        return value
    return {str: "…", int: 0, float: 0}[type(value)]


def normalise(frame: dict[str, Any]) -> dict[str, Any]:
    """The frame with its volatile values replaced; an envelope keeps its form."""
    if "payload" in frame and "kind" in frame:
        head = {k: v if k in ("v", "kind") else shape(v) for k, v in frame.items() if k != "payload"}
        return head | {"payload": normalise(frame["payload"])}
    if frame.get("type") == "cell":  # which cells have an output, and take any time at all, is the template's business
        frame = {k: v for k, v in frame.items() if k not in ("output", "duration_ms", "status")}
    made = {k: v if k in KEPT and not isinstance(v, dict | list) else shape(v) for k, v in sorted(frame.items())}
    if isinstance(frame.get("messages"), list):
        made["messages"] = [normalise(m) for m in frame["messages"]]
    return made


class Recorder:
    """Both directions of a conversation, normalised."""

    def __init__(self, client: Any) -> None:
        self.client = client
        self.lines: list[dict[str, Any]] = []
        self.raw: list[dict[str, Any]] = []

    def note(self, direction: str, frame: dict[str, Any]) -> None:
        line = {direction: normalise(frame)}
        if line not in self.lines:
            self.lines.append(line)

    async def send(self, frame: dict[str, Any]) -> None:
        self.note("client", frame)
        await self.client.send(frame)

    async def receive(self) -> dict[str, Any]:
        frame = await self.client.receive()
        assert frame is not None, f"closed with {self.client.code}"
        self.raw.append(frame)
        self.note("server", frame)
        return frame


def compare(name: str, lines: list[dict[str, Any]]) -> None:
    """With the committed transcript. An ack and the first events of its command race: the ack is compared apart."""
    path = TRANSCRIPTS / f"{name}.jsonl"
    if os.environ.get("POSTDOC_RECORD"):
        path.parent.mkdir(exist_ok=True)
        path.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), "utf-8")
    recorded = [json.loads(line) for line in path.read_text("utf-8").splitlines()]

    def split(of: list[dict[str, Any]]) -> tuple[list[Any], list[Any]]:
        return [line for line in of if is_ack(line)], [line for line in of if not is_ack(line)]

    assert split(lines) == split(recorded)


def is_ack(line: dict[str, Any]) -> bool:
    frame = line.get("server", {})
    return frame.get("payload", frame).get("type") == "ack"


def in_order(types: list[str], wanted: list[str]) -> bool:
    places = [types.index(type) for type in wanted]
    return places == sorted(places)


@pytest.mark.slow
async def test_a_research_run_as_system_b_and_system_e_see_it(http, connect):
    """System B: create a chat, subscribe → history, research → agent_status, tool_use, …, result. System E watches."""
    id = (await http("POST", "api/chats", body={})).json["id"]
    b, e = Recorder(await connect()), Recorder(await connect(envelope=True))
    await b.send({"type": "subscribe", "chatId": id})
    assert (await b.receive())["type"] == "history"
    await e.send({"v": 1, "kind": "subscribe", "sessionId": id, "seq": 0, "payload": {"type": "subscribe.session"}})
    assert (await e.receive())["kind"] == "snapshot"

    await b.send({"type": "research", "chatId": id, "topic": TOPIC})
    while (last := await b.receive())["type"] != "session_state" or last["status"] not in ENDED:
        pass
    types = [frame["type"] for frame in b.raw]
    assert in_order(types, ["history", "user_message", "agent_status", "tool_use", "tool_result", "result"])
    assert in_order(types, ["tool_use", "result"])
    assert in_order(types, ["assistant_message", "result"])
    (result,) = [frame for frame in b.raw if frame["type"] == "result"]
    assert result["success"] is True, result
    assert (result["cost"], result["provider"]) == (None, "template")
    assert result["verdict"]["claim"]
    events = [frame for frame in b.raw if frame["type"] not in ("history", "ack")]
    seqs = [frame["seq"] for frame in events]
    assert seqs == sorted(set(seqs))

    while (await e.receive())["seq"] < seqs[-1]:
        pass
    assert [lean(frames.to_flat(frame)) for frame in e.raw[1:]] == [lean(frame) for frame in events]
    title = {"type": "session.set", "id": "t1", "title": "Reversal"}
    await e.send({"v": 1, "kind": "command", "sessionId": id, "seq": 0, "payload": title})
    while {"ack", "event"} - {frame["kind"] for frame in e.raw[len(events) + 1 :]}:
        await e.receive()
    await e.send({"v": 1, "kind": "command", "sessionId": id, "seq": 0, "payload": {"type": "launch", "id": "t2"}})
    assert (await e.receive())["kind"] == "error"
    for frame in e.raw:
        assert frame.keys() == {"v", "kind", "sessionId", "ts", "seq", "payload"}
        assert frames.to_envelope(frames.to_flat(frame)) == frame
    compare("system_b_research", b.lines)
    compare("system_e_research", e.lines)


ENDED = ("finished", "error", "stopped")


def lean(frame: dict[str, Any]) -> dict[str, Any]:
    """Without what partial frames of the flat form leave out."""
    partial = frame["type"] in ("token", "tool_output") or (frame["type"] == "thinking" and "delta" in frame)
    return {k: v for k, v in frame.items() if not partial or k not in ("v", "ts")}


async def test_system_b_chat(http, connect):
    """One client says it, another one hears it: broadcast as ``user_message``. No model: an honest error, no fake
    reply.
    """
    id = (await http("POST", "api/chats", body={"title": "t"})).json["id"]
    speaker, listener = Recorder(await connect()), Recorder(await connect())
    for client in (speaker, listener):
        await client.send({"type": "subscribe", "chatId": id})
        await client.receive()
    await speaker.send({"type": "chat", "chatId": id, "content": "hello"})
    for client in (speaker, listener):
        while (await client.receive()).get("status") != "error":
            pass
    heard = [frame for frame in speaker.raw if frame["type"] not in ("ack", "history")]
    assert heard == listener.raw[1:]
    await speaker.send({"type": "Bogus", "chatId": id, "x": 1})
    await speaker.receive()
    assert [frame["type"] for frame in (await http("GET", f"api/chats/{id}/messages")).json] == [
        f["type"] for f in heard
    ]
    compare("system_b_chat", speaker.lines)


async def test_system_a_rooms(http, connect):
    """Post with one request; a feed hears it."""
    await http("POST", "api/messages", body={"agent": "codex", "kind": "status", "content": "1", "room": "lab"})
    feed = Recorder(await connect())
    await feed.send({"type": "subscribe", "chatId": "room:lab"})
    await feed.receive()
    posted = await http(
        "POST", "api/messages", body={"agent": "codex", "kind": "blocker", "content": "2", "room": "lab"}
    )
    feed.note("answer", posted.json)
    await feed.receive()
    compare("system_a_rooms", feed.lines)
