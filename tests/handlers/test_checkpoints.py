"""``api/chats/{id}/checkpoints`` on a real server, with the checkpoints of a real study."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from traitlets.config import Config

from tests.agent.support import git

NOWHERE = "0" * 40


@pytest.fixture
def jp_server_config(with_tiny_template: Config) -> Config:
    return with_tiny_template


@pytest.fixture
def root(server: Any) -> Path:
    return Path(server.root_dir)


async def studied(http: Any) -> str:
    chat = str((await http("POST", "api/chats", body={})).json["id"])
    answer = await http("POST", f"api/chats/{chat}/research", body={"topic": "A tiny study", "template": "tiny"})
    assert answer.status == 202, answer.json
    async with asyncio.timeout(90):
        while (await http("GET", f"api/chats/{chat}")).json["state"] not in ("finished", "error"):
            await asyncio.sleep(0.1)
    return chat


async def test_without_a_project(http: Any) -> None:
    chat = (await http("POST", "api/chats", body={})).json["id"]
    for verb, path in (
        ("GET", ""),
        ("GET", f"/{NOWHERE}"),
        ("GET", f"/{NOWHERE}?against=live"),
        ("POST", f"/{NOWHERE}/restore"),
    ):
        answer = await http(verb, f"api/chats/{chat}/checkpoints{path}")
        assert (answer.status, answer.json["code"]) == (404, "not_found"), path
        assert "no project yet" in answer.json["error"]
        assert answer.json["next"]
        assert (await http(verb, f"api/chats/nobody/checkpoints{path}")).status == 404
    for path in ("short", "Z" * 40, "..", f"{NOWHERE}?against=HEAD", f"{NOWHERE}?against=--all", "HEAD"):
        answer = await http("GET", f"api/chats/{chat}/checkpoints/{path}")
        assert (answer.status, answer.json["code"]) == (400, "bad_message"), path
    assert (await http("GET", f"api/chats/{chat}/checkpoints?limit=0")).status == 400
    assert (await http("POST", f"api/chats/{chat}/checkpoints/{NOWHERE}/restore", raw=b"[]")).status == 400
    assert (await http("POST", f"api/chats/{chat}/checkpoints")).status == 405
    answer = await http("POST", f"api/chats/{chat}/fork", body={"commit": NOWHERE})
    assert (answer.status, answer.json["code"]) == (404, "not_found")
    assert (await http("POST", f"api/chats/{chat}/fork", body={"commit": "main"})).status == 400


async def test_a_study_is_looked_at_brought_back_and_forked(http: Any, root: Path) -> None:
    chat = await studied(http)
    at = f"api/chats/{chat}/checkpoints"
    rows = (await http("GET", at)).json
    assert [set(row) for row in rows] == [{"sha", "short", "subject", "step", "run", "ts", "by", "cells"}] * len(rows)
    assert len((await http("GET", f"{at}?limit=1")).json) == 1
    first = next(row for row in reversed(rows) if row["cells"]["added"])
    found = (await http("GET", f"{at}/{first['sha']}")).json
    assert set(found) == {"sha", "against", "cells", "files"}
    assert [set(cell) for cell in found["cells"]] == [{"name", "change", "before", "after"}] * len(found["cells"])
    assert found["against"] == rows[rows.index(first) + 1]["sha"]
    live = (await http("GET", f"{at}/{first['sha']}?against=live")).json
    assert live["against"] == "live"
    assert any(cell["change"] == "removed" for cell in live["cells"])

    key = {"Idempotency-Key": "once"}
    answer = await http("POST", f"{at}/{first['sha']}/restore", headers=key)
    assert (answer.status, answer.json["changed"]) == (200, True)
    again = await http("POST", f"{at}/{first['sha']}/restore", headers=key)
    assert again.json == answer.json
    assert (await http("GET", at)).json[0]["sha"] == answer.json["commit"]

    forked = await http(
        "POST", f"api/chats/{chat}/fork", body={"commit": first["sha"]}, headers={"Idempotency-Key": "f"}
    )
    assert forked.status == 202
    project = (await http("GET", f"api/chats/{forked.json['fork']}")).json["project"]
    assert git(root / project["path"], "rev-parse", "HEAD") == first["sha"]
    assert (await http("POST", f"{at}/{NOWHERE}/restore")).status == 404
