"""The log over plain HTTP: long polls and server-sent events."""

from __future__ import annotations

import asyncio
import json
import time

import pytest

from jupyterlab_postdoc.protocol import AgentStatus


@pytest.fixture
def new_chat(http):
    async def make():
        return (await http("POST", "api/chats", body={})).json["id"]

    return make


class Sse:
    """One event stream over a bare socket, so that it can be cut at any byte."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: bytes) -> None:
        self.reader, self.writer, self.head = reader, writer, head

    async def chunk(self) -> bytes:
        size = int(await self.reader.readline(), 16)
        data = await self.reader.readexactly(size + 2)
        return data[:-2]

    async def events(self, count: int) -> list[tuple[int, dict]]:
        """The next ``count`` events as (id, frame)."""
        found: list[tuple[int, dict]] = []
        while len(found) < count:
            for block in (await self.chunk()).decode().split("\n\n"):
                fields = dict(line.split(": ", 1) for line in block.split("\n") if line and not line.startswith(":"))
                if "data" in fields:
                    found.append((int(fields.get("id", 0)), json.loads(fields["data"])))
        return found

    def close(self) -> None:
        self.writer.close()


@pytest.fixture
def stream(listening, jp_auth_header, jp_base_url):
    open_streams: list[Sse] = []

    async def start(path: str, **headers: str) -> Sse:
        host, port = listening.split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        sent = {"Host": listening, "Accept": "text/event-stream", **jp_auth_header, **headers}
        lines = [f"GET {jp_base_url}postdoc/{path} HTTP/1.1", *(f"{k}: {v}" for k, v in sent.items()), "", ""]
        writer.write("\r\n".join(lines).encode())
        head = await reader.readuntil(b"\r\n\r\n")
        open_streams.append(Sse(reader, writer, head))
        return open_streams[-1]

    yield start
    for one in open_streams:
        one.close()


def statuses(first: int, last: int):
    return [AgentStatus(message=str(i)) for i in range(first, last + 1)]


# --- long poll ---


async def test_a_long_poll_answers_at_once_when_there_is_news(http, services, new_chat):
    id = await new_chat()
    await services.log.append(id, *statuses(1, 3))
    before = time.monotonic()
    page = (await http("GET", f"api/chats/{id}/events?after=1&wait=10")).json
    assert [e["seq"] for e in page["events"]] == [2, 3]
    assert time.monotonic() - before < 2


async def test_a_long_poll_waits_for_news(http, services, new_chat):
    id = await new_chat()
    asked = asyncio.create_task(http("GET", f"api/chats/{id}/events?after=0&wait=10"))
    await asyncio.sleep(0.1)
    assert not asked.done()
    await services.log.append(id, *statuses(1, 2))
    assert [e["seq"] for e in (await asked).json["events"]] == [1, 2]


async def test_a_long_poll_ends_empty(http, new_chat):
    id = await new_chat()
    before = time.monotonic()
    assert (await http("GET", f"api/chats/{id}/events?wait=0.3")).json == {"events": [], "more": False}
    assert 0.25 < time.monotonic() - before < 3


async def test_long_polls_in_a_row_see_each_event_once(http, services, new_chat):
    id = await new_chat()

    async def produce():
        for i in range(60):
            await services.log.append(id, AgentStatus(message=str(i)))
            await asyncio.sleep(0.002)

    producer = asyncio.create_task(produce())
    seen: list[int] = []
    while len(seen) < 60:
        page = (await http("GET", f"api/chats/{id}/events?after={seen[-1] if seen else 0}&wait=5&limit=7")).json
        seen += [e["seq"] for e in page["events"]]
    await producer
    assert seen == list(range(1, 61))


async def test_a_poll_from_the_future_says_that_the_log_was_replaced(http, new_chat):
    id = await new_chat()
    page = (await http("GET", f"api/chats/{id}/events?after=50&wait=5")).json
    assert page == {"events": [], "more": False, "reset": True}


async def test_a_reader_that_goes_away_leaves_nothing(http, listening, jp_auth_header, jp_base_url, new_chat, services):
    id = await new_chat()
    host, port = listening.split(":")
    _, writer = await asyncio.open_connection(host, int(port))
    auth = jp_auth_header["Authorization"]
    path = f"{jp_base_url}postdoc/api/chats/{id}/events?wait=60"
    writer.write(f"GET {path} HTTP/1.1\r\nHost: {listening}\r\nAuthorization: {auth}\r\n\r\n".encode())
    channels = services.log._hub.channels
    for _ in range(100):
        if id in channels:
            break
        await asyncio.sleep(0.01)
    assert id in channels
    writer.close()
    for _ in range(100):
        if id not in channels:
            break
        await asyncio.sleep(0.01)
    assert id not in channels


# --- server-sent events ---


async def test_a_stream_replays_and_goes_live(stream, services, new_chat):
    id = await new_chat()
    await services.log.append(id, *statuses(1, 3))
    sse = await stream(f"api/chats/{id}/events?after=1")
    assert b"200 OK" in sse.head
    assert b"text/event-stream" in sse.head
    assert [seq for seq, _ in await sse.events(2)] == [2, 3]
    await services.log.append(id, *statuses(4, 5))
    found = await sse.events(2)
    assert [seq for seq, _ in found] == [4, 5]
    assert found[0][1]["type"] == "agent_status"


async def test_a_cut_stream_resumes_after_the_last_event(stream, services, new_chat):
    id = await new_chat()

    async def produce():
        for i in range(200):
            await services.log.append(id, AgentStatus(message=str(i)))

    producer = asyncio.create_task(produce())
    seen: list[int] = []
    while len(seen) < 200:
        last = {"Last-Event-ID": str(seen[-1])} if seen else {}
        sse = await stream(f"api/chats/{id}/events?after=0", **last)
        seen += [seq for seq, _ in await sse.events(min(23, 200 - len(seen)))]
        sse.close()
    await producer
    assert seen == list(range(1, 201))


async def test_a_quiet_stream_ticks(stream, server, new_chat):
    server.web_app.settings["postdoc_tick_s"] = 0.05
    sse = await stream(f"api/chats/{await new_chat()}/events")
    assert await sse.chunk() == b": follow\n\n"
    assert await sse.chunk() == b": tick\n\n"
    assert await sse.chunk() == b": tick\n\n"


async def test_types_filter_a_stream(stream, services, new_chat):
    from jupyterlab_postdoc.protocol import Plan, PlanItem

    id = await new_chat()
    await services.log.append(id, *statuses(1, 3), Plan(items=[PlanItem(text="x")]))
    sse = await stream(f"api/chats/{id}/events?types=plan")
    assert [frame["type"] for _, frame in await sse.events(1)] == ["plan"]


async def test_a_stream_from_the_future_says_that_the_log_was_replaced(stream, new_chat):
    id = await new_chat()
    sse = await stream(f"api/chats/{id}/events", **{"Last-Event-ID": "99"})
    ((_, frame),) = await sse.events(1)
    assert frame["type"] == "reset"


async def test_a_bad_last_event_id_is_named(http, new_chat):
    id = await new_chat()
    answer = await http("GET", f"api/chats/{id}/events", headers={"Accept": "text/event-stream", "Last-Event-ID": "x"})
    assert (answer.status, answer.json["code"]) == (400, "bad_message")
    assert answer.headers["Content-Type"] == "application/json"


async def test_a_stream_ends_when_its_chat_is_deleted(stream, http, services, new_chat):
    id = await new_chat()
    sse = await stream(f"api/chats/{id}/events")
    assert await sse.chunk() == b": follow\n\n"
    await http("DELETE", f"api/chats/{id}")
    assert await sse.chunk() == b""
