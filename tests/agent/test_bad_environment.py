"""Machines on which something is missing: a coded sentence, nothing lost, and later runs work."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.agent.support import (
    ANA,
    SANDBOX,
    git,
    lean,
    new_chat,
    of,
    research,
    serving,
    settled,
    states,
    steps_committed,
    until,
)

from jupyterlab_postdoc import protocol
from jupyterlab_postdoc.app import Services
from jupyterlab_postdoc.errors import PostdocError

REPO = Path(__file__).parents[2]


def in_child(home: Path, jobs: list[dict[str, Any]], env: Mapping[str, str] = os.environ) -> list[dict[str, Any]]:
    """What a process with this environment makes of the jobs (see child.py)."""
    argv = [sys.executable, "-m", "tests.agent.child", str(home), json.dumps(jobs)]
    done = subprocess.run(argv, cwd=REPO, env=dict(env), capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def only(folder: Path, *programs: str) -> dict[str, str]:
    """An environment whose PATH has these programs and no others."""
    folder.mkdir()
    for name in programs:
        if found := shutil.which(name):
            (folder / name).symlink_to(found)
    return {**os.environ, "PATH": str(folder)}


@contextmanager
def disk(place: Path, size: str) -> Iterator[None]:
    """A small file system of its own at ``place``; skips the test where that is not allowed."""
    place.mkdir(parents=True, exist_ok=True)
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", str(place)], capture_output=True, check=False)
    if made.returncode:
        pytest.skip("file systems cannot be mounted here")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def fill(place: Path) -> Path:
    """Leave no byte free on the file system of ``place``."""
    filler = place / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while file.write(b"x" * 4096):
                pass
        except OSError:
            return filler
    raise AssertionError("the disk has no end")


# --- programs that are missing ---


def test_without_a_sandbox_only_our_own_templates_run_unless_the_administrator_allows_it(tmp_path: Path) -> None:
    lean(tmp_path / "templates" / "lean")
    env, strict = only(tmp_path / "bin", "git"), {"allow_unsandboxed": False}
    refused, ours, allowed = in_child(
        tmp_path,
        [
            {"research": {"topic": "Ours or theirs"}, "config": strict},
            {
                "research": {"topic": "Owls", "template": "dataset_profile", "budget": {"turns": 1}},
                "config": strict,
            },
            {"research": {"topic": "Allowed"}, "config": {"allow_unsandboxed": True}},
        ],
        env,
    )
    error = of(refused["events"], "error")[0]
    assert (refused["state"], error["code"]) == ("error", "sandbox_missing")
    assert "apt install bubblewrap" in error["next"]
    assert "allow_unsandboxed" in error["next"]
    assert not (tmp_path / "root" / "research" / "ours-or-theirs").exists()
    assert of(refused["events"], "tool_use") == []
    assert refused["health"]["sandbox"]["ok"] is False

    def notices(job: dict[str, Any]) -> list[str]:
        return [e["message"] for e in of(job["events"], "agent_status") if "without a sandbox" in e["message"]]

    assert len(notices(ours)) == 1
    assert "bubblewrap" in notices(ours)[0]
    assert steps_committed(tmp_path / "root" / "research" / "owls") == ["start", "turn:0"]
    assert ours["state"] == "waiting", "at the limit of its turns it asks"
    assert (allowed["state"], len(notices(allowed))) == ("finished", 1)
    assert of(allowed["events"], "result")[0]["verdict"]["estimate"] == 6

    again = in_child(tmp_path, [{"resume": refused["chat"], "config": {"allow_unsandboxed": not SANDBOX}}])[0]
    assert again["state"] == "finished", "after bubblewrap was installed the same run carries on"


def test_without_git_the_sentence_says_so_and_the_run_can_be_resumed(tmp_path: Path) -> None:
    lean(tmp_path / "templates" / "lean")
    refused = in_child(tmp_path, [{"research": {"topic": "Owls"}}], only(tmp_path / "bin", "bwrap"))[0]
    error = of(refused["events"], "error")[0]
    assert (refused["state"], error["code"]) == ("error", "tool_failed")
    assert "git was not found" in error["error"]
    assert "apt install git" in error["next"]
    assert [r["success"] for r in of(refused["events"], "result")] == [False]
    assert refused["health"]["git"]["ok"] is False
    again = in_child(tmp_path, [{"resume": refused["chat"]}])[0]
    assert again["state"] == "finished"
    assert steps_committed(tmp_path / "root" / "research" / "owls")[-1] == "describe"


# --- disks that refuse ---


async def test_a_read_only_research_folder_is_a_sentence_and_resume_works_when_it_is_writable(tmp_path: Path) -> None:
    lean(tmp_path / "templates" / "lean")
    async with serving(tmp_path) as services:
        with disk(tmp_path / "root" / "research", "ro,size=1m"):
            chat = await research(services, topic="Owls")
            events = await settled(services, chat, "error")
        error = of(events, "error")[0]
        assert error["code"] == "forbidden"
        assert "read-only" in error["error"]
        assert "resume" in error["next"]
        await services.sessions.submit(ANA, protocol.Resume(chatId=chat))
        events = await settled(services, chat, "finished")
        assert [r["success"] for r in of(events, "result")] == [False, True]
        assert git(tmp_path / "root" / "research" / "owls", "status", "--porcelain") == ""


WAITING = """
import time

while Path("wait").exists():
    time.sleep(0.02)
data = [1, 2, 3]
"""


async def test_a_disk_that_is_full_before_the_run_or_in_the_middle_of_it(tmp_path: Path) -> None:
    lean(tmp_path / "templates" / "lean", load=WAITING)
    place = tmp_path / "root" / "research"
    with disk(place, "size=16m"):
        async with serving(tmp_path) as services:
            filler = fill(place)
            chat = await research(services, topic="Owls")
            events = await settled(services, chat, "error")
            assert of(events, "error")[0]["code"] == "storage_full"
            assert "resume" in of(events, "error")[0]["next"]
            filler.unlink()

            await services.sessions.submit(ANA, protocol.Resume(chatId=chat))
            await until(services, chat, "assistant_message", content="Now the data.")
            (place / "owls" / "wait").touch()
            await until(services, chat, "agent_status", message="Running cell 3 of 4 (load)")
            filler = fill(place)
            (place / "owls" / "wait").unlink()
            events = await settled(services, chat, "error")
            error = of(events, "error")[1]
            assert error["code"] == "storage_full", error
            filler.unlink()

            await services.sessions.submit(ANA, protocol.Resume(chatId=chat))
            events = await settled(services, chat, "finished")
            assert [r["success"] for r in of(events, "result")] == [False, False, True]
            steps = steps_committed(place / "owls")
            assert len(steps) == len(set(steps))
            assert git(place / "owls", "status", "--porcelain") == ""


async def until_refused(services: Services) -> tuple[list[str], PostdocError]:
    """Make chats until it is refused (the write-ahead log may still have room): those made, and the error."""
    made: list[str] = []
    while len(made) < 200:
        try:
            made.append(await new_chat(services))
        except PostdocError as e:
            return made, e
    raise AssertionError("nothing was refused")


async def test_a_full_disk_under_the_database_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with disk(home, "size=24m"):
        lean(home / "templates" / "lean", load=WAITING)
        async with serving(home) as services:
            chat = await research(services, topic="Owls")
            await until(services, chat, "assistant_message", content="Now the data.")
            (home / "root" / "research" / "owls" / "wait").touch()
            await until(services, chat, "agent_status", message="Running cell 3 of 4 (load)")
            filler = fill(home)
            chats, refused = await until_refused(services)
            assert refused.code == "storage_full"
            (home / "root" / "research" / "owls" / "wait").unlink()
            await asyncio.sleep(1.0)
            filler.unlink()
            assert {row["id"] for row in await services.sessions.list(ANA)} == {chat, *chats}
            events = await settled(services, chat)
            if states(events)[-1] == "error":
                await services.sessions.submit(ANA, protocol.Resume(chatId=chat))
                events = await settled(services, chat, "finished")
            assert of(events, "result")[-1]["success"] is True
            answered = [e["toolId"] for e in of(events, "tool_result")]
            assert len(answered) == len(set(answered))
            steps = steps_committed(home / "root" / "research" / "owls")
            assert len(steps) == len(set(steps))
