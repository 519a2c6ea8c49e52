"""The WebSocket, on a real server with real sockets."""

from __future__ import annotations

import asyncio
import json

import pytest

from jupyterlab_postdoc import handlers, protocol
from jupyterlab_postdoc.handlers.limits import Rate
from jupyterlab_postdoc.handlers.outbox import FULL_BYTES
from jupyterlab_postdoc.handlers.subscriptions import LIST_PAUSE_S, Subscriptions
from jupyterlab_postdoc.protocol import AgentStatus, UserMessage


@pytest.fixture
def new_chat(http):
    async def make(**body):
        return (await http("POST", "api/chats", body=body)).json["id"]

    return make


@pytest.fixture
def fill(services):
    """Append ``count`` numbered events to a chat."""

    async def append(id: str, count: int, start: int = 1, size: int = 0):
        for first in range(start, start + count, 500):
            last = min(first + 500, start + count)
            await services.log.append(id, *(AgentStatus(message=f"{i}" + "x" * size) for i in range(first, last)))

    return append


async def take(client, count: int) -> list[int]:
    return [(await client.receive())["seq"] for _ in range(count)]


# --- hello, ping, subscribe ---


async def test_hello_is_optional_and_answered_by_welcome(connect):
    client = await connect()
    assert (await client.ask({"type": "ping", "id": "p"}))["id"] == "p"
    welcome = await client.ask({"type": "hello", "client": "test/1", "caps": ["batch", "unknown"]})
    assert (welcome["type"], welcome["caps"], welcome["heartbeatMs"]) == ("welcome", ["batch"], 20_000)
    assert welcome["limits"]["message"] == 1 << 20
    assert welcome["user"]["name"]


async def test_subscribe_answers_history_then_live(connect, new_chat, fill):
    id = await new_chat()
    await fill(id, 3)
    client = await connect()
    history = await client.ask({"type": "subscribe", "chatId": id})
    assert [m["seq"] for m in history["messages"]] == [1, 2, 3]
    assert (history["fromSeq"], history["throughSeq"], history["hasMore"]) == (1, 3, False)
    assert (history["queue"], history["state"], history["v"]) == ([], "finished", 1)
    assert "seq" not in history
    await fill(id, 2, start=4)
    assert await take(client, 2) == [4, 5]


async def test_history_holds_the_last_200_and_says_that_there_is_more(connect, new_chat, fill):
    id = await new_chat()
    await fill(id, 250)
    history = await (await connect()).ask({"type": "subscribe", "chatId": id})
    assert (len(history["messages"]), history["fromSeq"], history["hasMore"]) == (200, 51, True)


async def test_a_large_history_is_cut_to_one_frame(connect, new_chat, fill):
    id = await new_chat()
    await fill(id, 10, size=60_000)
    client = await connect()
    await client.send({"type": "subscribe", "chatId": id})
    message = await client.connection.read_message()
    assert len(message) <= protocol.MAX_FRAME
    history = json.loads(message)
    assert [m["seq"] for m in history["messages"]] == [7, 8, 9, 10]
    assert (history["fromSeq"], history["throughSeq"], history["hasMore"]) == (7, 10, True)


async def test_after_replays_then_goes_live(connect, new_chat, fill):
    id = await new_chat()
    await fill(id, 2500)
    client = await connect()
    ack = await client.ask({"type": "subscribe", "chatId": id, "after": 40, "id": "s1"})
    assert (ack["type"], ack["id"]) == ("ack", "s1")
    assert await take(client, 2460) == list(range(41, 2501))
    await fill(id, 3, start=2501)
    assert await take(client, 3) == [2501, 2502, 2503]


async def test_live_only(connect, new_chat, fill):
    id = await new_chat()
    await fill(id, 5)
    client = await connect()
    await client.ask({"type": "subscribe", "chatId": id, "after": -1, "id": "s"})
    await fill(id, 1, start=6)
    assert await take(client, 1) == [6]


async def test_a_cursor_from_the_future_means_that_the_log_was_replaced(connect, new_chat):
    id = await new_chat()
    client = await connect()
    assert (await client.ask({"type": "subscribe", "chatId": id, "after": 9}))["type"] == "reset"
    assert (await client.ask({"type": "subscribe", "chatId": id}))["type"] == "history"


async def test_filters(connect, new_chat, services):
    id = await new_chat()

    def said(kind: str) -> UserMessage:
        return UserMessage(id=kind, content="x", by="a", agent="b", kind=kind)

    bodies = [AgentStatus(message="x"), said("status"), said("blocker"), said("note")]
    await services.log.append(id, *bodies)
    by_type, by_kind, both = [await connect() for _ in range(3)]
    history = await by_type.ask({"type": "subscribe", "chatId": id, "types": ["user_message"]})
    assert [m["seq"] for m in history["messages"]] == [2, 3, 4]
    history = await by_kind.ask({"type": "subscribe", "chatId": id, "kinds": ["blocker"]})
    assert [m["seq"] for m in history["messages"]] == [3]
    await both.send({"type": "subscribe", "chatId": id, "after": 0, "types": ["agent_status"]})
    assert await take(both, 1) == [1]
    await services.log.append(id, *bodies)
    assert await take(by_type, 3) == [6, 7, 8]
    assert await take(by_kind, 1) == [7]
    assert await take(both, 1) == [5]


@pytest.mark.parametrize("after", [None, 0, -1])
async def test_a_room_can_be_followed_before_the_first_message(connect, http, after):
    early = await connect()
    frame = {"type": "subscribe", "chatId": "room:quiet", "id": "s"} | ({} if after is None else {"after": after})
    answer = await early.ask(frame)
    assert (answer["type"], answer["id"]) == ("history" if after is None else "ack", "s")
    if after is None:
        assert (answer["messages"], answer["throughSeq"], answer["hasMore"]) == ([], 0, False)
    await http("POST", "api/messages", body={"agent": "a", "content": "elsewhere", "room": "other"})
    for number in (1, 2):
        said = {"agent": "codex", "kind": "note", "content": f"{number}", "room": "quiet"}
        assert (await http("POST", "api/messages", body=said)).status == 201
        heard = await early.receive()
        assert (heard["type"], heard["seq"], heard["content"]) == ("user_message", number, f"{number}")


async def test_following_a_quiet_room_makes_no_room(connect, http):
    client = await connect()
    assert (await client.ask({"type": "subscribe", "chatId": "room:quiet"}))["type"] == "history"
    assert (await http("GET", "api/rooms")).json == []
    assert (await client.ask({"type": "subscribe", "chatId": "room:quiet", "after": 5}))["type"] == "reset"
    assert (await client.ask({"type": "unsubscribe", "chatId": "room:quiet", "id": "u"}))["type"] == "ack"
    await http("POST", "api/messages", body={"agent": "a", "content": "1", "room": "quiet"})
    assert (await client.ask({"type": "ping"}))["type"] == "pong"


@pytest.mark.parametrize("name", ["room:", "room:a/b", "room:<b>", "room: x"])
async def test_a_name_that_cannot_be_a_room_is_refused(connect, name):
    client = await connect()
    for frame in (
        {"type": "subscribe"},
        {"type": "subscribe", "after": 0},
        {"type": "post", "agent": "a", "content": "x"},
    ):
        error = await client.ask(frame | {"chatId": name, "id": "s"})
        assert (error["type"], error["code"], error["id"]) == ("error", "bad_message", "s")


async def test_an_unknown_chat_is_not_found_however_it_is_asked_for(connect):
    client = await connect()
    for frame in ({}, {"after": 0}, {"after": -1}):
        assert (await client.ask({"type": "subscribe", "chatId": "c_no"} | frame))["code"] == "not_found"


async def test_unsubscribe_ends_the_stream(connect, new_chat, fill):
    id = await new_chat()
    client = await connect()
    await client.ask({"type": "subscribe", "chatId": id})
    assert (await client.ask({"type": "unsubscribe", "chatId": id, "id": "u"}))["type"] == "ack"
    await fill(id, 3)
    assert (await client.ask({"type": "ping"}))["type"] == "pong"
    await client.send({"type": "unsubscribe", "chatId": "never"})
    assert (await client.ask({"type": "ping"}))["type"] == "pong"


async def test_batches_are_arrays_only_for_those_who_asked(connect, new_chat, fill):
    id = await new_chat()
    plain, batched = await connect(), await connect()
    await batched.ask({"type": "hello", "caps": ["batch"]})
    for client in (plain, batched):
        await client.ask({"type": "subscribe", "chatId": id})
    await fill(id, 500)
    assert await take(plain, 500) == await take(batched, 500) == list(range(1, 501))
    await fill(id, 50, start=501)
    one, many = await plain.connection.read_message(), await batched.connection.read_message()
    assert one.startswith("{")
    assert len(json.loads(many)) > 1


async def test_done_follows_result_for_those_who_asked(connect, new_chat, services):
    id = await new_chat()
    client = await connect()
    assert (await client.ask({"type": "hello", "caps": ["done"]}))["caps"] == ["done"]
    await client.ask({"type": "subscribe", "chatId": id})
    await services.log.append(id, protocol.Result(success=True, cost=None, duration_ms=5, stop_reason="end_turn"))
    result, done = await client.receive(), await client.receive()
    assert (result["type"], done["type"], done["success"], done["of"]) == ("result", "done", True, result["seq"])
    assert "seq" not in done


# --- the session list ---


async def test_following_the_list(connect, http, new_chat, fill):
    first = await new_chat(title="one")
    client = await connect()
    listed = await client.ask({"type": "subscribe", "sessions": True})
    assert (listed["type"], [c["id"] for c in listed["sessions"]]) == ("sessions", [first])
    second = await new_chat(title="two")
    news = await client.receive()
    assert (news["type"], news["chatId"], news["session"]["title"]) == ("session", second, "two")
    await fill(first, 20)  # more text is no news for the list
    await http("PATCH", f"api/chats/{second}", body={"title": "renamed"})
    assert (await client.receive())["session"]["title"] == "renamed"
    await http("DELETE", f"api/chats/{second}")
    gone = await client.receive()
    assert (gone["chatId"], gone["deleted"]) == (second, True)


async def test_the_list_says_what_a_session_does_a_few_times_a_second(connect, new_chat, services):
    id = await new_chat(title="busy")
    client = await connect()
    await client.ask({"type": "subscribe", "sessions": True})
    await services.log.write(lambda tx: tx.update_session(id, state="running"))
    began = asyncio.get_running_loop().time()
    for i in range(60):
        await services.log.append(id, AgentStatus(message=f"Running cell {i} of 60"))
        await asyncio.sleep(0.02)
    frames = []
    while not frames or frames[-1]["session"]["line"] != "Running cell 59 of 60":
        frames.append(await client.receive())
    took = asyncio.get_running_loop().time() - began
    assert {frame["chatId"] for frame in frames} == {id}
    assert 2 <= len(frames) <= took / LIST_PAUSE_S + 2


# --- commands ---


async def test_an_ack_comes_after_commit_and_a_resend_is_a_duplicate(connect, new_chat, services):
    id = await new_chat()
    client = await connect()
    sent = {"type": "chat", "chatId": id, "content": "x", "id": "m1"}
    ack = await client.ask(sent)
    assert (ack["type"], ack["id"], ack["chatId"], ack["duplicate"]) == ("ack", "m1", id, False)
    (stored,) = await services.log.read(id, after=ack["seq"] - 1, limit=1)
    assert (stored.type, stored.body()["id"]) == ("user_message", "m1")
    again = await client.ask(sent)
    assert (again["seq"], again["duplicate"]) == (ack["seq"], True)
    other = await client.ask(sent | {"content": "y"})
    assert (other["code"], other["id"], other["chatId"]) == ("id_conflict", "m1", id)


async def test_the_sender_of_a_message_is_the_servers_word(connect, new_chat):
    id = await new_chat()
    client = await connect()
    await client.ask({"type": "subscribe", "chatId": id})
    await client.send({"type": "chat", "chatId": id, "content": "x", "by": "root", "seq": 99, "ts": "2000"})
    said = await client.until("user_message")
    assert (said["by"], said["seq"]) == ("local", 1)
    assert not said["ts"].startswith("2000")


async def test_an_error_finds_its_request_and_has_no_seq(connect):
    client = await connect()
    for type in ("chat", "stop", "fork", "subscribe"):
        answer = await client.ask({"type": type, "chatId": "absent", "content": "x", "id": f"i-{type}"})
        assert (answer["type"], answer["code"], answer["id"]) == ("error", "not_found", f"i-{type}")
        assert answer["chatId"] == "absent"
        assert "seq" not in answer


async def test_two_tabs_see_the_same(connect, new_chat):
    id = await new_chat()
    one, two = await connect(), await connect()
    for tab in (one, two):
        await tab.ask({"type": "subscribe", "chatId": id})
    await one.send({"type": "chat", "chatId": id, "content": "from one", "id": "a"})
    await two.send({"type": "chat", "chatId": id, "content": "from two", "id": "b"})
    seen = []
    for tab in (one, two):
        frames, results = [], 0
        while results < 2:
            frame = await tab.receive()
            results += frame["type"] == "result"
            if "seq" in frame and frame["type"] != "ack":
                frames.append(frame)
        seen.append(frames)
    assert seen[0] == seen[1]
    assert {f["content"] for f in seen[0] if f["type"] == "user_message"} == {"from one", "from two"}


async def test_a_room_message_by_socket_and_by_request(connect, http):
    await http("POST", "api/messages", body={"agent": "a", "content": "1", "room": "lab"})
    client = await connect()
    await client.ask({"type": "subscribe", "chatId": "room:lab"})
    await http("POST", "api/messages", body={"agent": "b", "content": "2", "room": "lab", "kind": "question"})
    heard = await client.receive()
    assert (heard["type"], heard["agent"], heard["kind"], heard["seq"]) == ("user_message", "b", "question", 2)
    await client.send({"type": "post", "chatId": "room:lab", "agent": "c", "content": "3", "id": "p"})
    assert (await client.until("ack"))["seq"] == 3
    assert [m["id"] for m in (await http("GET", "api/messages?room=lab")).json] == [1, 2, 3]


# --- the envelope ---


async def test_the_envelope_form(connect, new_chat, fill):
    id = await new_chat()
    await fill(id, 2)
    client = await connect(envelope=True)
    assert client.connection.selected_subprotocol == protocol.ENVELOPE_SUBPROTOCOL
    subscribe = {"v": 1, "kind": "subscribe", "sessionId": id, "seq": 0, "payload": {"type": "subscribe.session"}}
    snapshot = await client.ask(subscribe)
    assert (snapshot["kind"], snapshot["sessionId"], snapshot["seq"]) == ("snapshot", id, 0)
    assert [m["seq"] for m in snapshot["payload"]["messages"]] == [1, 2]
    assert {m["kind"] for m in snapshot["payload"]["messages"]} == {"event"}
    command = {"v": 1, "kind": "command", "sessionId": id, "payload": {"type": "chat", "id": "m1", "content": "x"}}
    await client.send(command)
    said, ack = None, None
    while said is None or ack is None:
        frame = await client.receive()
        assert frame.keys() == {"v", "kind", "sessionId", "ts", "seq", "payload"}
        said = frame if frame["payload"]["type"] == "user_message" else said
        ack = frame if frame["kind"] == "ack" else ack
    assert (said["kind"], said["seq"], said["payload"]["content"]) == ("event", 3, "x")
    assert (ack["seq"], ack["payload"]["seq"], ack["payload"]["id"]) == (0, 3, "m1")
    error = {"v": 1, "kind": "command", "sessionId": id, "payload": {"type": "launch", "id": "m2"}}
    await client.send(error)
    refused = await client.until("error")
    while refused["kind"] != "error":  # the run's own error is an event
        refused = await client.until("error")
    assert (refused["seq"], refused["payload"]["code"], refused["payload"]["id"]) == (0, "unknown_type", "m2")


# --- bad input ---


async def test_one_bad_message_never_closes_the_socket(connect, new_chat, caplog):
    id = await new_chat()
    client = await connect()
    for message, code in [
        ("{", "bad_json"),
        ('{"type":"ping"}{"type":"ping"}', "bad_json"),
        ('{"type":"launch","id":"m1","x":1}', "unknown_type"),
        ("[" * 1_000_000, "bad_message"),
        ('{"type":"chat","chatId":3}', "bad_message"),
        (json.dumps({"type": "chat", "chatId": id, "content": "x" * 200_001, "id": "m2"}), "too_large"),
    ]:
        answer = await client.ask(message)
        assert (answer["type"], answer["code"]) == ("error", code)
        assert "seq" not in answer
        assert (await client.ask({"type": "ping"}))["type"] == "pong"
    await client.connection.write_message(b"\x00\x01", binary=True)
    assert (await client.receive())["code"] == "bad_message"
    assert (await client.ask({"type": "ping"}))["type"] == "pong"
    assert any("launch" in record.getMessage() for record in caplog.records if record.levelname == "WARNING")


async def test_five_bad_messages_in_a_row_do(connect):
    client = await connect()
    for _ in range(4):
        await client.ask("{")
    await client.ask({"type": "ping"})
    for _ in range(5):
        assert (await client.ask("{"))["code"] == "bad_json"
    assert await client.closed() == 4400


async def test_a_message_over_the_limit_closes_with_1009(connect):
    client = await connect()
    await client.send(json.dumps({"type": "ping", "x": "x" * ((1 << 20) + 1)}))
    assert await client.closed() == 1009
    client = await connect()
    await client.send(json.dumps({"type": "ping", "x": "x" * ((1 << 20) - 100)}))
    assert (await client.receive())["type"] == "pong"


async def test_subscriptions_are_limited(connect, new_chat):
    ids = [await new_chat() for _ in range(Subscriptions.LIMIT + 1)]
    client = await connect()
    for n, id in enumerate(ids[:-1]):
        if n == 55:
            await asyncio.sleep(0.5)  # the rate limit is another test
        assert (await client.ask({"type": "subscribe", "chatId": id}))["type"] == "history"
    refused = await client.ask({"type": "subscribe", "chatId": ids[-1], "id": "s"})
    assert (refused["code"], refused["id"]) == ("capacity", "s")
    assert (await client.ask({"type": "subscribe", "sessions": True}))["code"] == "capacity"
    assert (await client.ask({"type": "subscribe", "chatId": ids[0]}))["type"] == "history"
    await client.send({"type": "unsubscribe", "chatId": ids[0]})
    assert (await client.ask({"type": "subscribe", "chatId": ids[-1]}))["type"] == "history"


async def test_a_flood_is_refused_and_then_cut_off(connect, new_chat):
    id = await new_chat()
    calm = await connect()
    await calm.ask({"type": "subscribe", "chatId": id})
    flood = await connect()
    total = Rate.BURST + 2 * Rate.PATIENCE
    for i in range(total):
        if flood.code is not None:
            break
        await flood.send({"type": "ping", "id": f"p{i}"})
    answers = []
    while (frame := await flood.receive()) is not None:
        answers.append(frame)
    assert flood.code == 4429
    refused = [a for a in answers if a["type"] == "error"]
    assert {a["code"] for a in refused} == {"rate_limited"}
    assert refused[0]["id"].startswith("p")
    assert (await calm.ask({"type": "ping"}))["type"] == "pong"


# --- ends ---


async def test_a_deleted_session_ends_its_socket(connect, http, new_chat):
    id, other = await new_chat(), await new_chat()
    one, several = await connect(), await connect()
    await one.ask({"type": "subscribe", "chatId": id})
    await several.ask({"type": "subscribe", "chatId": other})
    await several.ask({"type": "subscribe", "chatId": id})
    await http("DELETE", f"api/chats/{id}")
    assert (await one.receive())["code"] == "not_found"
    assert await one.closed() == 4404
    gone = await several.receive()
    assert (gone["code"], gone["chatId"]) == ("not_found", id)
    assert (await several.ask({"type": "ping"}))["type"] == "pong"


async def test_a_stopping_server_says_goodbye(connect, server, new_chat):
    id = await new_chat()
    client = await connect()
    await client.ask({"type": "subscribe", "chatId": id})
    await handlers.stop(server.web_app.settings, retry_after_ms=700)
    bye = await client.receive()
    assert (bye["type"], bye["retryAfterMs"]) == ("bye", 700)
    assert await client.closed() == 1012


async def test_a_silent_client_is_dead(connect, server):
    server.web_app.settings |= {"ws_ping_interval": 30, "ws_ping_timeout": 90}
    client = await connect()
    assert (await client.ask({"type": "ping"}))["type"] == "pong"
    await asyncio.sleep(0.3)  # Tornado's client answers pings by itself
    assert (await client.ask({"type": "ping"}))["type"] == "pong"
    client.connection.protocol._send_pong = lambda _data: None  # from now on it does not
    assert await client.closed() is None
    for _ in range(100):
        if not server.web_app.settings["postdoc_sockets"]:
            break
        await asyncio.sleep(0.02)
    assert not server.web_app.settings["postdoc_sockets"]


def test_the_heartbeat_is_in_milliseconds():
    from jupyterlab_postdoc.handlers.socket import HEARTBEAT_MS

    assert HEARTBEAT_MS == 20_000


# --- cut, slow, stuck ---


async def test_a_cut_socket_resumes_with_each_event_exactly_once(connect, new_chat, services):
    id = await new_chat()
    total = 600

    async def produce():
        for i in range(total):
            await services.log.append(id, AgentStatus(message=str(i)))

    producer = asyncio.create_task(produce())
    seen: list[int] = []
    for cut in (50, 130, 260, 400, total):
        client = await connect()
        if cut % 20:
            await client.ask({"type": "hello", "caps": ["batch"]})
        await client.send({"type": "subscribe", "chatId": id, "after": seen[-1] if seen else 0})
        while len(seen) < cut:
            seen.append((await client.receive())["seq"])
        client.connection.protocol.stream.close()  # no goodbye
    await producer
    assert seen == list(range(1, total + 1))


async def test_a_stuck_client_costs_little_and_nobody_else_anything(connect, new_chat, server, fill):
    id = await new_chat()
    stuck, healthy = await connect(), await connect()
    for client in (stuck, healthy):
        await client.ask({"type": "hello", "caps": ["batch"]})
        await client.ask({"type": "subscribe", "chatId": id})
    reading = asyncio.create_task(take(healthy, 8000))
    await fill(id, 8000, size=2000)  # 16 MB, more than the kernel's buffers hold
    assert await asyncio.wait_for(reading, 20) == list(range(1, 8001))

    sizes = [socket.outbox.size for socket in server.web_app.settings["postdoc_sockets"]]
    assert max(sizes) > 0, "the stuck client was not behind at all: this test shows nothing"
    assert max(sizes) <= FULL_BYTES + 5000
    assert await take(stuck, 8000) == list(range(1, 8001)), "what it missed comes from the log"
