"""Kill the server during research, again and again: nothing is lost, nothing is doubled, every run ends in its result.

`make test` runs a few kills; `make chaos N=200` runs as many as it is asked to. The seed decides all that chance does.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections import Counter
from pathlib import Path
from typing import Any

import psutil
import pytest
from tornado.httpclient import HTTPClientError

from jupyterlab_postdoc.templates import scaffold

from .harness import Client, Server, git, integrity, steps_committed, stored, transcript

KILLS = int(os.environ.get("POSTDOC_CHAOS_KILLS", "8"))
SEED = int(os.environ.get("POSTDOC_CHAOS_SEED", "20261121"))
AT_ONCE = 2
RUN_LIMIT_S = 120.0


@pytest.fixture
def server(tmp_path: Path) -> Any:
    scaffold(tmp_path / "templates" / "tiny", "tiny", "A tiny study")
    server = Server(tmp_path, tmp_path / "templates")
    yield server
    server.stop()


@pytest.mark.slow
@pytest.mark.timeout(60 + 12 * KILLS)
def test_kill_the_server_during_research(server: Server) -> None:
    asyncio.run(_chaos(server))


async def _chaos(server: Server) -> None:
    chance = random.Random(SEED)
    server.start()
    await server.ready()
    clients: list[Client] = []
    killer = asyncio.create_task(_keep_killing(server, chance))
    try:
        number = 0
        while server.kills < KILLS:
            batch = [asyncio.create_task(_research(server, number + k, chance, clients)) for k in range(AT_ONCE)]
            number += AT_ONCE
            await asyncio.gather(*batch)
    finally:
        killer.cancel()
        await asyncio.gather(killer, return_exceptions=True)
    server.stop()
    _check(server, clients)


async def _keep_killing(server: Server, chance: random.Random) -> None:
    while server.kills < KILLS:
        await asyncio.sleep(chance.uniform(0.2, 12.0))
        server.kill()
        server.start()
        await server.ready()


async def _research(server: Server, number: int, chance: random.Random, clients: list[Client]) -> None:
    """One research run with two clients; commands are sent again, with the same id, until they are acknowledged."""
    made = await _until_done(server, "POST", "api/chats", {"title": f"Chaos {number}"}, f"new-{number}")
    chat = made["id"]
    followers = [Client(server, chat, f"chaos-{number}") for _ in range(2)]
    clients += followers
    tasks = [asyncio.create_task(client.follow(random.Random(chance.random()))) for client in followers]
    command = {"topic": f"Chaos study {number}", "template": "tiny", "repo_name": f"chaos-{number}"}
    await _until_done(server, "POST", f"api/chats/{chat}/research", command, f"go-{number}")
    async with asyncio.timeout(RUN_LIMIT_S):
        await asyncio.gather(*tasks)


async def _until_done(server: Server, method: str, path: str, body: dict[str, Any], key: str) -> Any:
    deadline = time.monotonic() + 60
    while True:
        try:
            return await server.request(method, path, body, key)
        except (OSError, HTTPClientError) as e:
            said = e.response.body if isinstance(e, HTTPClientError) and e.response else b""
            refused = isinstance(e, HTTPClientError) and 400 <= e.code < 500
            if refused or time.monotonic() > deadline:
                pytest.fail(f"{method} {path} was not carried out: {e} {said!r}")
            await asyncio.sleep(0.1)


def _check(server: Server, clients: list[Client]) -> None:
    assert integrity(server.database) == "ok"
    for client in clients:
        seqs = [frame["seq"] for frame in client.frames]
        assert seqs == sorted(set(seqs)), f"{client.chat}: a client was sent an event twice or out of order"
        assert transcript(client.frames) == stored(server.database, client.chat), client.chat
        counts = Counter(frame["type"] for frame in client.frames)
        assert counts["result"] == 1, f"{client.chat}: {counts['result']} results"
        assert counts["user_message"] == 1
        result = next(frame for frame in client.frames if frame["type"] == "result")
        assert result["success"], result
    expected: list[str] | None = None
    for chat, name in sorted({(client.chat, client.name) for client in clients}):
        root = server.root / "research" / name
        steps = steps_committed(root)
        assert len(steps) == len(set(steps)), f"{chat}: a step was committed twice: {steps}"
        expected = expected or steps
        assert steps == expected, chat
        assert git(root, "status", "--porcelain") == ""
        assert git(root, "rev-parse", "HEAD") == git(root, "ls-remote", "origin", "refs/heads/main").split()[0]
    assert len(list((server.root / "research").iterdir())) == len({client.chat for client in clients})
    left = [p.info["cmdline"] for p in psutil.process_iter(["cmdline"]) if str(server.home) in str(p.info["cmdline"])]
    assert left == [], "processes were left behind"
