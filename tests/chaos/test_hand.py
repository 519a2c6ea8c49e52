"""The server is killed while a notebook goes from hand to hand: every edit of the person is kept, and told once."""

from __future__ import annotations

import asyncio
import os
import random
from pathlib import Path
from typing import Any

import psutil
import pytest

from jupyterlab_postdoc.templates import scaffold

from .harness import Server, git, integrity, steps_committed
from .test_kill import SEED, _until_done

KILLS = int(os.environ.get("POSTDOC_CHAOS_KILLS", "8")) // 2
CELL = '@app.cell\ndef by_hand_{n}():\n    "{n}"\n    return\n\n\nif __name__'


@pytest.mark.slow
@pytest.mark.timeout(120 + 20 * KILLS)
def test_kill_the_server_while_the_notebook_changes_hands(tmp_path: Path) -> None:
    scaffold(tmp_path / "templates" / "tiny", "tiny", "A tiny study")
    server = Server(tmp_path, tmp_path / "templates")
    try:
        asyncio.run(_chaos(server))
    finally:
        server.stop()
    assert integrity(server.database) == "ok"
    left = [p.info["cmdline"] for p in psutil.process_iter(["cmdline"]) if str(tmp_path) in str(p.info["cmdline"])]
    assert left == [], "processes were left behind"


async def _chaos(server: Server) -> None:
    chance = random.Random(SEED)
    server.start()
    await server.ready()
    chat = (await _until_done(server, "POST", "api/chats", {"title": "Hands"}, "new"))["id"]
    command = {"topic": "A study by four hands", "template": "tiny", "repo_name": "hands", "provider": "template"}
    await _until_done(server, "POST", f"api/chats/{chat}/research", command, "go")
    notebook = server.root / "research" / "hands" / "notebook.py"
    async with asyncio.timeout(60):
        while not (notebook.exists() and (await _chat(server, chat))["project"]):
            await asyncio.sleep(0.05)
    number = 0
    while server.kills < KILLS or number < 3:
        killer = asyncio.create_task(_kill_once(server, chance.uniform(0.0, 4.0)))
        await _until_done(server, "POST", f"api/chats/{chat}/notebook/take", {}, f"take-{number}")
        await _until(server, chat, "waiting", "finished")
        text = notebook.read_text()
        notebook.write_text(text.replace("if __name__", CELL.format(n=number)))
        await asyncio.sleep(chance.uniform(0.0, 0.5))
        given = await _until_done(server, "POST", f"api/chats/{chat}/notebook/give", {}, f"give-{number}")
        assert given["cells"][f"by_hand_{number}"] == "added"
        await killer
        number += 1
    await _until(server, chat, "finished")
    text = notebook.read_text()
    assert [n for n in range(number) if f'def by_hand_{n}():\n    "{n}"' not in text] == []
    root = notebook.parent
    steps = steps_committed(root)
    assert len(steps) == len(set(steps)), steps
    assert {f"hand:{n + 1}" for n in range(number)} <= {step.rpartition(".")[0] or step for step in steps} | set(steps)
    authors = git(root, "log", "--format=%an").splitlines()
    assert sum(not author.startswith("Postdoc") for author in authors) >= number
    assert git(root, "status", "--porcelain") == ""
    events = await server.request("GET", f"api/chats/{chat}/messages?limit=1000")
    hands = [event["hand"] for event in events if event["type"] == "notebook"]
    assert hands == ["person", "agent"] * number
    assert [event["success"] for event in events if event["type"] == "result"] == [True]


async def _kill_once(server: Server, after_s: float) -> None:
    await asyncio.sleep(after_s)
    server.kill()
    server.start()
    await server.ready()


async def _chat(server: Server, chat: str) -> dict[str, Any]:
    shown: dict[str, Any] = await _until_done(server, "GET", f"api/chats/{chat}", None, "")  # type: ignore[arg-type]
    return shown


async def _until(server: Server, chat: str, *states: str) -> None:
    async with asyncio.timeout(90):
        while (await _chat(server, chat))["state"] not in states:
            await asyncio.sleep(0.05)
