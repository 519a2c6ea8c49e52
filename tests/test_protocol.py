"""The wire types: the committed schema, the two forms, and how an event's bytes are made."""

from __future__ import annotations

import ast
import json
import math
import re
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyterlab_postdoc import protocol
from jupyterlab_postdoc.errors import HTTP_STATUS, PostdocError
from jupyterlab_postdoc.handlers import frames
from jupyterlab_postdoc.protocol import Event

RENEW = "python -m jupyterlab_postdoc.protocol > extension/jupyterlab_postdoc/schema/protocol.schema.json"


def event(body: protocol.Body, *, seq: int = 7, item: str | None = None) -> Event:
    return Event("c1", seq, 1_800_000_000.125, protocol.type_of(body), "r1", item, protocol.encode(body))


def test_the_committed_schema_is_the_one_of_the_types():
    committed = json.loads((files("jupyterlab_postdoc") / "schema/protocol.schema.json").read_text("utf-8"))
    assert committed == json.loads(protocol.encode(protocol.json_schema())), f"Run: {RENEW}"


def test_the_schema_knows_every_type_once():
    schema = protocol.json_schema()
    assert len(schema["commands"]) == len(protocol.COMMANDS)
    assert len(schema["events"]) == len(protocol.EVENT_TYPES)
    assert len(schema["control"]) == len(protocol.CONTROL_TYPES)
    names = [protocol.type_of(t) for t in protocol.EVENT_TYPES]  # type: ignore[arg-type]
    answers = [protocol.type_of(t) for t in protocol.CONTROL_TYPES]  # type: ignore[arg-type]
    assert len(set(names)) == len(names)
    assert len(set(answers)) == len(answers)
    assert not {*names, *answers} & set(protocol.COMMAND_TYPES), "a client could forge what the server says"
    assert set(names) & set(answers) == {"error"}, "only errors are both, told apart by their seq"


def test_every_reference_of_the_schema_leads_somewhere():
    schema = protocol.json_schema()
    text = protocol.encode(schema).decode()
    assert set(re.findall(r'"#/\$defs/(\w+)"', text)) <= set(schema["$defs"])
    for name, definition in schema["$defs"].items():
        assert definition["description"], f"{name} has no words for the front end's developer"
        assert set(definition.get("required", [])) <= set(definition.get("properties", {})), name


def test_what_is_always_sent_is_required_in_the_schema():
    defs = protocol.json_schema()["$defs"]
    assert {"type", "success", "cost"} <= set(defs["Result"]["required"])
    assert set(defs["Pong"]["required"]) == {"type", "v", "ts"}
    assert "next" not in defs["RequestError"]["required"]
    assert "retryable" in defs["RequestError"]["required"]
    assert "retryable" not in defs["Error"]["required"], "an event leaves its defaults out"
    assert json.loads(protocol.encode(protocol.Pong())).keys() == {"type", "v", "ts"}


def test_every_detail_of_our_errors_has_a_name_in_the_protocol():
    """What any file of the package gives a PostdocError beside code, message, next and retryable.

    What is known of a failed publication is read by publishing/problems.py; a frame keeps it apart, in ``details``.
    """
    known = {*protocol.RequestError.__struct_fields__, "retryable", "next"}
    apart = ("github_errors.py", "refusals.py", "problems.py")
    for path in Path(protocol.__file__).parents[1].rglob("*.py"):
        if path.name in apart:
            continue
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", None) == "PostdocError":
                given = {word.arg for word in node.keywords if word.arg}
                assert given <= known, f"{path.name}:{node.lineno}: {sorted(given - known)}"


def test_a_detail_that_the_protocol_does_not_name_is_kept_apart():
    error = frames.error_frame(PostdocError("internal", "x", ref="r1", colour="red"), id="m1", chatId=None)
    assert (error.id, error.ref, error.details) == ("m1", "r1", {"colour": "red"})
    odd = frames.error_frame(PostdocError("internal", "x", status=529), id="m1")
    assert (odd.id, odd.error, odd.details) == ("m1", "x", {"status": 529})


def test_done_says_all_that_result_says():
    result, done = protocol.Result.__struct_fields__, protocol.Done.__struct_fields__
    assert set(result) <= set(done)


def test_a_final_frame_has_head_and_body():
    made = json.loads(event(protocol.AgentStatus(message="Running cell 4 of 9", progress=0.5)).frame())
    assert made == {
        "v": 1, "chatId": "c1", "seq": 7, "ts": "2027-01-15T08:00:00.125Z",
        "type": "agent_status", "message": "Running cell 4 of 9", "progress": 0.5,
    }  # fmt: skip


def test_a_partial_frame_is_lean():
    frame = event(protocol.Token(itemId="i9", delta="…"), item="i9").frame()
    assert json.loads(frame) == {"type": "token", "chatId": "c1", "seq": 7, "itemId": "i9", "delta": "…"}
    assert len(frame) < 80


def test_an_unknown_cost_is_null_and_never_left_out():
    made = json.loads(event(protocol.Result(success=True, cost=None, duration_ms=3, stop_reason="end_turn")).frame())
    assert made["cost"] is None


@pytest.mark.parametrize("session", ['c"1', "c\\", "room:ü", "a\nb"])
def test_a_session_id_cannot_break_out_of_its_frame(session):
    made = Event(session, 1, 0.0, "token", None, None, b'{"type":"token"}')
    assert json.loads(made.frame())["chatId"] == session
    assert json.loads(made.envelope())["sessionId"] == session


def test_bytes_are_made_once():
    one = event(protocol.AgentStatus(message="x"))
    assert one.frame() is one.frame()
    assert one.envelope() is one.envelope()


def test_ids_are_random_and_safe():
    made = {protocol.new_id("c") for _ in range(1000)}
    assert len(made) == 1000
    assert all(id.startswith("c_") and id[2:].isalnum() and len(id) == 34 for id in made)


def test_every_error_code_has_a_status():
    assert all(400 <= status < 600 for status in HTTP_STATUS.values())
    assert math.isclose(len(HTTP_STATUS), 34)


@given(st.integers(0, 4_000_000_000_000))
def test_times_are_iso_8601_in_utc_with_milliseconds(ms):
    text = protocol.iso(ms / 1000)
    expected = datetime.fromtimestamp(ms // 1000, UTC).replace(microsecond=ms % 1000 * 1000)
    assert text.endswith("Z")
    assert datetime.fromisoformat(text) == expected
    assert len(text) == 24


# --- flat and envelope: no loss ---

names = st.text(min_size=1, max_size=12).filter(lambda k: k not in {*frames.HEAD, "messages"})
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
bodies = st.dictionaries(names, values, max_size=5)
chats = st.text(min_size=1, max_size=20)
stamps = st.floats(0, 4e9).map(protocol.iso)
types = st.sampled_from([protocol.type_of(t) for t in protocol.EVENT_TYPES])  # type: ignore[arg-type]
finals = st.builds(
    lambda body, type, chat, seq, ts: {**body, "v": 1, "type": type, "chatId": chat, "seq": seq, "ts": ts},
    bodies, types, chats, st.integers(1, 2**53), stamps,
)  # fmt: skip
partials = st.builds(
    lambda type, chat, seq, delta: {"type": type, "chatId": chat, "seq": seq, "itemId": "i1", "delta": delta},
    st.sampled_from(["token", "thinking", "tool_output"]), chats, st.integers(1, 2**53), st.text(),
)  # fmt: skip
controls = st.builds(
    lambda body, type, chat, ts: {**body, "v": 1, "type": type, "ts": ts} | ({"chatId": chat} if chat else {}),
    bodies, st.sampled_from(["welcome", "pong", "bye", "reset", "error", "sessions"]), st.none() | chats, stamps,
)  # fmt: skip
acks = st.builds(
    lambda chat, seq, ts: {"v": 1, "type": "ack", "chatId": chat, "ts": ts, "id": "m1", "seq": seq, "duplicate": False},
    chats, st.integers(0, 2**53), stamps,
)  # fmt: skip
histories = st.builds(
    lambda chat, ts, messages: {"v": 1, "type": "history", "chatId": chat, "ts": ts, "messages": messages},
    chats, stamps, st.lists(finals | partials, max_size=3),
)  # fmt: skip
commands = st.builds(
    lambda body, type, chat: {**body, "type": type, "chatId": chat},
    bodies, st.sampled_from(list(protocol.COMMAND_TYPES)), chats,
)  # fmt: skip


@given(finals | partials | controls | acks | histories | commands)
def test_flat_to_envelope_and_back_loses_nothing(flat):
    envelope = frames.to_envelope(flat)
    assert envelope.keys() <= {"v", "kind", "sessionId", "ts", "seq", "payload"}
    assert envelope["kind"] in {"event", "command", "ack", "error", "subscribe", "snapshot"}
    assert envelope["payload"]["type"] == flat["type"]
    assert envelope["seq"] == (flat.get("seq", 0) if flat["type"] != "ack" else 0)
    assert frames.to_flat(envelope) == flat
    assert frames.to_envelope(frames.to_flat(envelope)) == envelope


@given(st.text(max_size=50), st.integers(1, 2**53), st.floats(0, 4e9), st.booleans())
def test_both_forms_of_an_event_say_the_same(text, seq, ts, partial):
    body = protocol.Token(itemId="i1", delta=text) if partial else protocol.AgentStatus(message=text)
    made = Event("c1", seq, ts, protocol.type_of(body), None, "i1" if partial else None, protocol.encode(body))
    flat, envelope = json.loads(made.frame()), json.loads(made.envelope())
    lean = {k: v for k, v in frames.to_flat(envelope).items() if not partial or k not in ("v", "ts")}
    assert lean == flat
