"""Kill the server while a model speaks or a tool of it runs: what was seen is kept, what was done is not done again.

`make test` kills a few times; `POSTDOC_CHAOS_KILLS` says how many replies are to be cut off (`make chaos`).
"""

from __future__ import annotations

import asyncio
import os
import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.agent.example_study import TOPIC, TURNS
from tests.model_server import ModelServer, call, on, reply, words

from .harness import Client, Server, git, stored, transcript

TRIALS = int(os.environ.get("POSTDOC_CHAOS_KILLS", "4"))
SEED = int(os.environ.get("POSTDOC_CHAOS_SEED", "20261121"))
AT_ONCE = 4
KEY = "sk-ant-chaos-0123456789"


@pytest.fixture
def model(tmp_path: Path) -> Iterator[ModelServer]:
    with ModelServer(record=tmp_path / "requests.jsonl") as server:
        yield server


@pytest.fixture
def server(tmp_path: Path, model: ModelServer) -> Iterator[Server]:
    env = {"ANTHROPIC_BASE_URL": model.url, "ANTHROPIC_API_KEY": KEY}
    server = Server(tmp_path, tmp_path / "templates", env=env, more=["--PostdocApp.model_retry_wait_s=0.05"])
    yield server
    server.stop()


async def begin(server: Server, clients: list[Client], path: str, body: dict[str, Any]) -> Client:
    """A new chat with something to do, and a client that follows it."""
    chat = (await server.request("POST", "api/chats", {}))["id"]
    await server.request("POST", f"api/chats/{chat}/{path}", body)
    client = Client(server, chat, f"client {len(clients)}")
    clients.append(client)
    return client


def heard(client: Client) -> dict[str, str]:
    """All text that a client has seen forming, by item."""
    found: dict[str, str] = {}
    for frame in client.frames:
        if frame["type"] in ("token", "thinking") and "delta" in frame:
            found[frame["itemId"]] = found.get(frame["itemId"], "") + frame["delta"]
    return found


async def kept(server: Server, chat: str) -> list[dict[str, Any]]:
    events = await server.request("GET", f"api/chats/{chat}/messages?limit=1000")
    return list(events if isinstance(events, list) else events["events"])


@pytest.mark.timeout(90 + 12 * TRIALS)
def test_no_token_that_a_client_has_seen_is_lost(server: Server, model: ModelServer) -> None:
    spoken = reply(words(90), thinking=words(10, seed="thought"), tokens_per_s=90)
    model.rules([on(spoken)])
    asyncio.run(_cut_replies(server, random.Random(SEED)))


async def _cut_replies(server: Server, chance: random.Random) -> None:
    server.start()
    await server.ready()
    done = 0
    while done < TRIALS:
        count = min(AT_ONCE, TRIALS - done)
        clients: list[Client] = []
        for _ in range(count):
            await begin(server, clients, "messages", {"content": "Speak."})
        following = [asyncio.create_task(client.follow(chance)) for client in clients]
        async with asyncio.timeout(30):
            while not all(heard(client) for client in clients):
                await asyncio.sleep(0.005)
        await asyncio.sleep(chance.uniform(0, 0.8))
        server.kill()
        family = [client for client in clients if heard(client)]
        assert len(family) == count
        server.start()
        await server.ready()
        async with asyncio.timeout(60):
            await asyncio.gather(*following)
        for client in clients:
            await _check(server, client)
        done += count


async def _check(server: Server, client: Client) -> None:
    events = await kept(server, client.chat)
    texts = {event["itemId"]: event["content"] for event in events if "itemId" in event and "content" in event}
    for item, text in heard(client).items():
        assert texts[item].startswith(text), "a token that was seen is in the log"
    assert [event["type"] for event in events].count("result") == 1
    assert transcript(client.frames) == stored(server.database, client.chat)
    whole = [e for e in events if e["type"] == "assistant_message" and not e.get("partial")]
    assert [e["content"] for e in whole] == ["".join(words(90))]
    with closing(sqlite3.connect(f"file:{server.database}?mode=ro", uri=True)) as db:
        spent = db.execute("SELECT cost, estimated FROM spend WHERE session_id = ?", (client.chat,)).fetchall()
    assert 1 <= len(spent) <= 2, "one for each time the model was asked"
    assert all(cost > 0 for cost, _ in spent)
    (result,) = [event for event in events if event["type"] == "result"]
    assert result["cost"] == pytest.approx(sum(cost for cost, _ in spent)), "the call that was cut off counts"


@pytest.mark.timeout(120)
def test_a_command_that_was_cut_off_is_not_run_again_and_the_model_is_told(server: Server, model: ModelServer) -> None:
    looked = call("plan", {"items": [{"text": "looked"}]})
    run = call("shell", {"command": "echo once >> ran.txt; sleep 60", "timeout_s": 100})
    model.rules(
        [
            on(reply("I run it.", calls=[run]), says="A long command", turn=0),
            on(reply("I see.", calls=[call("read_file", {"path": "ran.txt"})]), says="A long command", turn=1),
            on(reply("It ran once.", calls=[looked]), says="A long command", turn=2),
            on(reply("Enough.")),
        ]
    )

    async def go() -> None:
        server.start()
        await server.ready()
        clients: list[Client] = []
        client = await begin(server, clients, "research", {"topic": "A long command", "provider": "anthropic"})
        following = asyncio.create_task(client.follow(random.Random(SEED)))
        ran = server.root / "research" / "a-long-command" / "ran.txt"
        async with asyncio.timeout(40):
            while not ran.exists():
                await asyncio.sleep(0.05)
        server.kill()
        server.start()
        await server.ready()
        async with asyncio.timeout(60):
            await following
        assert ran.read_text() == "once\n"
        results = [event for event in await kept(server, client.chat) if event["type"] == "tool_result"]
        assert "outcome is unknown" in results[0]["content"]
        assert "once" in results[1]["content"]
        assert transcript(client.frames) == stored(server.database, client.chat)

    asyncio.run(go())
    second = next(request for request in model.requests() if len(request.messages) == 3)
    assert "outcome is unknown" in str(second.messages[-1])


@pytest.mark.timeout(200)
def test_a_study_by_a_model_survives_kills(server: Server, model: ModelServer) -> None:
    """Killed at three moments: success, a clean repository, and no step done twice."""
    model.rules(
        [
            on(reply(said, calls=[call(name, given) for name, given in calls], tokens_per_s=400), turn=number)
            for number, (said, calls) in enumerate(TURNS)
        ]
    )

    async def go() -> dict[str, Any]:
        chance = random.Random(SEED)
        server.start()
        await server.ready()
        clients: list[Client] = []
        client = await begin(server, clients, "research", {"topic": TOPIC, "provider": "anthropic"})
        following = asyncio.create_task(client.follow(chance))
        for _ in range(3):
            await asyncio.sleep(chance.uniform(1.5, 4.0))
            if client.ended.is_set():
                break
            server.kill()
            server.start()
            await server.ready()
        async with asyncio.timeout(120):
            await following
        events = await kept(server, client.chat)
        assert transcript(client.frames) == stored(server.database, client.chat)
        assert [event["type"] for event in events].count("result") == 1
        shown: dict[str, Any] = await server.request("GET", f"api/chats/{client.chat}")
        (result,) = [event for event in events if event["type"] == "result"]
        assert result["success"] is True, result
        return shown

    shown = asyncio.run(go())
    server.stop()
    root = server.root / shown["project"]["path"]
    log = git(root, "log", "--format=%(trailers:key=Research-Step,valueonly,separator=%x2C)").split()
    assert len(log) == len(set(log))
    assert git(root, "status", "--porcelain") == ""
    assert server.kills >= 2
    for process in psutil.process_iter(["cmdline"]):
        assert str(root) not in " ".join(process.info["cmdline"] or [])
