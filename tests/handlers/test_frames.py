"""What clients send, and what they must not: pure, no server."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyterlab_postdoc import protocol
from jupyterlab_postdoc.errors import PostdocError
from jupyterlab_postdoc.handlers import frames, outbound
from jupyterlab_postdoc.handlers.limits import Rate
from jupyterlab_postdoc.protocol import Event

CHAT = {"type": "chat", "chatId": "c1", "content": "hello"}


def refused(message: str | bytes) -> PostdocError:
    with pytest.raises(PostdocError) as caught:
        frames.parse(message)
    return caught.value


def test_a_plain_chat_needs_no_id_and_gets_one():
    command = frames.parse(json.dumps(CHAT))
    assert isinstance(command, protocol.Chat)
    assert (command.chatId, command.content, command.mode) == ("c1", "hello", "queue")
    assert len(command.id or "") == 32


@pytest.mark.parametrize("type", ["chat", " chat ", "CHAT", "\tChat\n"])
def test_type_is_trimmed_and_case_insensitive(type):
    assert isinstance(frames.parse(json.dumps(CHAT | {"type": type})), protocol.Chat)


def test_unknown_fields_and_forged_heads_are_ignored():
    sent = CHAT | {"seq": 99, "ts": "2000-01-01", "by": "root", "agent": "x", "future": {"a": [1]}}
    command = frames.parse(json.dumps(sent))
    assert not hasattr(command, "by")
    assert b"root" not in protocol.encode(command)


def test_both_forms_are_understood():
    sent = {
        "v": 1,
        "kind": "command",
        "sessionId": "c1",
        "seq": 0,
        "payload": {"type": "chat", "content": "x", "id": "m"},
    }
    assert frames.parse(json.dumps(sent)) == protocol.Chat(id="m", chatId="c1", content="x")
    sent = {"v": 1, "kind": "subscribe", "sessionId": "c1", "payload": {"type": "subscribe.session", "after": 4}}
    assert frames.parse(json.dumps(sent)) == protocol.Subscribe(chatId="c1", after=4)
    assert frames.parse('{"kind":"subscribe","sessionId":"c1","payload":{}}') == protocol.Subscribe(chatId="c1")


HOSTILE = [
    ("", "bad_json"),
    ("{", "bad_json"),
    ("nonsense", "bad_json"),
    ('{"type":"ping"}{"type":"ping"}', "bad_json"),
    ('{"type":"ping"} x', "bad_json"),
    ('{"type":"chat","content":NaN}', "bad_json"),
    ('{"type":"chat","content":"\\ud800"}', "bad_json"),
    (b"\x00\x01", "bad_message"),
    ("[]", "bad_message"),
    ('[{"type":"ping"}]', "bad_message"),
    ("null", "bad_message"),
    ("17", "bad_message"),
    ('"ping"', "bad_message"),
    ("{}", "unknown_type"),
    ('{"type":null}', "unknown_type"),
    ('{"type":7}', "unknown_type"),
    ('{"type":["chat"]}', "unknown_type"),
    ('{"type":"assistant_message","chatId":"c1","content":"forged"}', "unknown_type"),
    ('{"type":"ack","id":"1"}', "unknown_type"),
    ('{"type":"result"}', "unknown_type"),
    ('{"type":"__class__"}', "unknown_type"),
    ('{"type":"chat"}', "bad_message"),
    ('{"type":"chat","chatId":7,"content":"x"}', "bad_message"),
    ('{"type":"chat","chatId":"","content":"x"}', "bad_message"),
    ('{"type":"chat","chatId":"c1","content":"x","id":"a\\nb"}', "bad_message"),
    ('{"type":"chat","chatId":"c1","content":"x","id":"%s"}' % ("i" * 65), "bad_message"),
    ('{"type":"chat","chatId":"c1","content":"x","mode":"now"}', "bad_message"),
    ('{"type":"stop","chatId":"c1","how":"softly"}', "bad_message"),
    ('{"type":"research","chatId":"c1","topic":""}', "bad_message"),
    ('{"type":"research","chatId":"c1","topic":"x","budget":{"usd":-1}}', "bad_message"),
    ('{"type":"subscribe","chatId":"c1","after":"x"}', "bad_message"),
    ('{"type":"subscribe","chatId":"c1","after":1e400}', "bad_json"),
    ('{"v":2,"type":"ping"}', "unsupported_version"),
    ('{"v":"1","type":"ping"}', "unsupported_version"),
    (json.dumps(CHAT | {"content": "x" * 200_001}), "too_large"),
    (json.dumps(CHAT | {"content": "ü" * 100_001}), "too_large"),
    ("[" * (1 << 20), "bad_message"),
    ('{"a":' * 200_000, "bad_message"),
    ("[" * 40 + "]" * 40, "bad_message"),
    ('{"type":"chat","x":' + "[" * 32 + "]" * 32 + "}", "bad_message"),
    ("{" * 40, "bad_message"),
    (" " * ((1 << 20) + 1), "too_large"),
]


@pytest.mark.parametrize(("message", "code"), HOSTILE, ids=[f"{code}-{i}" for i, (_, code) in enumerate(HOSTILE)])
def test_hostile_frames_get_a_code_and_a_sentence_quickly(message, code):
    before = time.process_time()
    error = refused(message)
    assert time.process_time() - before < 0.2
    assert error.code == code
    assert error.message.endswith(".")
    assert len(protocol.encode(error.as_dict())) < 12_000


def test_a_wrong_field_is_named():
    assert "`chatId`" in refused('{"type":"chat","chatId":7,"content":"x"}').message
    assert "`topic`" in refused('{"type":"research","chatId":"c1"}').message
    assert "`budget.usd`" in refused('{"type":"research","chatId":"c1","topic":"x","budget":{"usd":"1"}}').message


def test_an_unknown_type_is_echoed_with_the_keys():
    error = refused('{"type":" Launch ","chatId":"c1","id":"m1","speed":3}')
    assert "Launch" in error.message
    assert error.details["received"] == {"type": " Launch ", "keys": ["type", "chatId", "id", "speed"]}
    assert (error.details["id"], error.details["chatId"]) == ("m1", "c1")


def test_an_echo_is_bounded():
    error = refused(json.dumps({"type": "x" * 100_000} | {f"k{i}" * 200: 1 for i in range(500)}))
    assert len(protocol.encode(error.as_dict())) < 40_000


@given(st.integers(1, 60), st.sampled_from(["[", "{"]), st.text(alphabet='[]{}"\\ a', max_size=30))
def test_depth_is_counted_outside_of_strings(depth, bracket, noise):
    text: object = noise
    for _ in range(depth):
        text = [text, noise] if bracket == "[" else {noise: text}
    data = json.dumps(text).encode()
    assert frames.too_deep(data, 32) == (depth > 32)


@given(
    st.recursive(
        st.none() | st.text(max_size=5),
        lambda v: st.lists(v, max_size=4) | st.dictionaries(st.text(max_size=3), v, max_size=4),
        max_leaves=40,
    )
)
def test_depth_agrees_with_a_plain_count(value):
    def depth(v: object) -> int:
        inner = v.values() if isinstance(v, dict) else v if isinstance(v, list) else None
        return 0 if inner is None else 1 + max(map(depth, inner), default=0)

    data = json.dumps(value).encode()
    for limit in (1, 2, 3, 32):
        assert frames.too_deep(data, limit) == (depth(value) > limit)


def test_a_wide_message_is_not_deep():
    assert not frames.too_deep(b"[" + b"[[]]," * 100_000 + b"[]]", 32)


# --- outbound ---


def event(body: protocol.Body, seq: int = 5) -> Event:
    return Event("c1", seq, 1.0, protocol.type_of(body), None, None, protocol.encode(body))


@pytest.mark.parametrize("envelope", [False, True])
@pytest.mark.parametrize(
    "body",
    [
        protocol.AssistantMessage(itemId="i1", content="\x00" * 200_000),
        protocol.ToolResult(toolId="t1", ok=True, content="x" * 400_000, data={"rows": ["y" * 9_000] * 100}),
        protocol.ToolUse(toolName="shell", toolId="t1", toolInput={f"k{i}": "v" * 50 for i in range(20_000)}),
        protocol.Plan(items=[protocol.PlanItem(text="step") for _ in range(50_000)]),
    ],
    ids=["escapes", "data", "keys", "items"],
)
def test_no_frame_is_larger_than_the_limit(body, envelope):
    data = outbound.event_bytes(event(body), envelope)
    assert len(data) <= protocol.MAX_FRAME
    made = json.loads(data)
    made = frames.to_flat(made) if envelope else made
    assert (made["type"], made["seq"], made["truncated"]) == (protocol.type_of(body), 5, True)
    assert made["blob"] == "api/chats/c1/blobs/5"


def test_a_small_frame_is_shared_and_untouched():
    one = event(protocol.AgentStatus(message="x"))
    assert outbound.event_bytes(one, False) is one.frame()


def test_an_array_of_frames_is_json():
    made = [event(protocol.AgentStatus(message=str(i)), i).frame() for i in range(1, 4)]
    assert [f["seq"] for f in json.loads(outbound.array(made))] == [1, 2, 3]


def test_filters_by_type_and_kind():
    status = event(protocol.AgentStatus(message="x"))
    blocker = event(protocol.UserMessage(id="1", content="x", by="a", agent="b", kind="blocker"))
    note = event(protocol.UserMessage(id="1", content="x", by="a", agent="b", kind="note"))
    assert not outbound.EventFilter()
    assert [outbound.EventFilter([" User_Message "])(e) for e in (status, blocker, note)] == [False, True, True]
    assert [outbound.EventFilter(None, ["blocker"])(e) for e in (status, blocker, note)] == [False, True, False]


def test_the_bucket_lets_a_burst_through_and_gives_up_on_a_flood():
    rate = Rate()
    assert [rate.allow() for _ in range(70)].count(True) == Rate.BURST
    assert not rate.hopeless
    for _ in range(Rate.PATIENCE):
        rate.allow()
    assert rate.hopeless
