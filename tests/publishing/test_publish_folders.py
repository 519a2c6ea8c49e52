"""Publishing with nothing but git: bare repositories in a folder are the remote, so this runs without Node.

How GitHub itself answers is tested against emulate (test_publish.py); here it is what is sent, and where it goes on.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from jupyterlab_postdoc import protocol
from jupyterlab_postdoc.errors import PostdocError
from jupyterlab_postdoc.forge.remote import Account, Remote
from jupyterlab_postdoc.protocol import PullRequest
from jupyterlab_postdoc.publishing.attempt import Attempt, PublishParts
from tests.agent.support import ANA, bodies, build, git, lean, research, settled

NAME = "ana/a-lean-study"
STEPS = ("create", "push", "topics", "branch", "pull_request")


@dataclass
class Folders:
    """A forge whose repositories are folders; ``writes`` holds every call that changes something."""

    folder: Path
    repos: dict[str, Remote] = field(default_factory=dict)
    pulls: dict[str, list[PullRequest]] = field(default_factory=dict)
    writes: list[str] = field(default_factory=list)
    host: str = "forge.example"
    git_host: str = ""
    credential: Any = field(default_factory=lambda: SimpleNamespace(source="stored"))

    async def of(self, _user: str) -> Folders:
        return self

    async def whoami(self) -> Account:
        return Account("ana", 1)

    async def get_repo(self, full_name: str) -> Remote | None:
        return self.repos.get(full_name)

    async def get_repo_by_id(self, id: int) -> Remote | None:
        return next((one for one in self.repos.values() if one.id == id), None)

    async def create_repo(self, owner: str, name: str, *, description: str, private: bool) -> Remote:
        full = f"{owner}/{name}"
        self.writes.append(f"create {full}")
        if full in self.repos:
            raise PostdocError("github_conflict", f"{full} exists.", reason="exists")
        bare = self.bare(full)
        bare.mkdir(parents=True)
        git(bare, "init", "-q", "--bare", "-b", "main")
        web = f"https://{self.host}/{full}"
        made = Remote(
            len(self.repos) + 1, full, web, bare.as_uri(), "main", private, description, created_at=time.time()
        )
        self.repos[full] = made
        return made

    async def set_topics(self, full_name: str, _topics: Sequence[str]) -> None:
        self.writes.append(f"topics {full_name}")

    async def find_pulls(self, full_name: str, branch: str) -> list[PullRequest]:
        return [one for one in self.pulls.get(full_name, []) if one.head == branch]

    async def open_pull(self, full_name: str, *, base: str, head: str, title: str, body: str) -> PullRequest:
        assert body
        self.writes.append(f"pull {full_name}")
        url = f"https://{self.host}/{full_name}/pull/1"
        made = PullRequest(number=1, url=url, title=title, state="open", draft=True, head=head, base=base)
        self.pulls.setdefault(full_name, []).append(made)
        return made

    async def pull(self, full_name: str, number: int) -> PullRequest:
        return next(one for one in self.pulls[full_name] if one.number == number)

    def bare(self, full_name: str) -> Path:
        return self.folder / f"{full_name}.git"


@asynccontextmanager
async def serving(home: Path, forge: Folders) -> AsyncIterator[Any]:
    if not (home / "templates" / "lean").exists():
        lean(home / "templates" / "lean")
    services = build(home, github_publish="ask")
    lab = services.sessions._commands.lab
    given: Any = forge
    parts = lab.publishing
    assert parts is not None
    ours = PublishParts(given, parts.publisher, parts.git, parts.settings)
    object.__setattr__(lab, "publishing", ours)  # no setting names a forge of folders
    await services.start()
    try:
        yield services
    finally:
        await services.stop(0.1)


async def publish(services: Any, chat: str, **fields: Any) -> dict[str, Any]:
    ack = await services.sessions.submit(ANA, protocol.Publish(chatId=chat, **fields))
    return await ended(services, chat, ack.extra["runId"])


async def ended(services: Any, chat: str, run: str) -> dict[str, Any]:
    async with asyncio.timeout(60):
        while True:
            for event in await services.log.read(chat, finals=True, types=["result"], limit=1000):
                if event.run == run:
                    return dict(event.body())
            await asyncio.sleep(0.02)


async def one_of_each(services: Any, forge: Folders, chat: str) -> None:
    row = await services.log.store.get_publication(chat)
    assert row.state == "published"
    branch, bare = row.shown["branch"]["name"], forge.bare(NAME)
    root = (
        services.sessions._commands.lab.root_dir / (await services.log.store.get_session(chat)).meta["project"]["path"]
    )
    assert list(forge.repos) == [NAME]
    assert git(bare, "for-each-ref", "--format=%(refname:short)").split() == [branch, "main"]
    assert git(bare, "rev-parse", branch) == git(root, "rev-parse", "HEAD") == row.shown["branch"]["commit"]
    assert git(bare, "rev-parse", "main") == git(root, "rev-list", "--max-parents=0", "HEAD")
    assert len(forge.pulls[NAME]) == 1
    assert [step["state"] for step in row.shown["steps"]].count("active") == 0
    made = await bodies(services, chat, "artifact")
    assert sorted(event["artifact"] for event in made if "url" in event) == ["branch", "compare", "pr", "repo"]


async def test_a_study_is_sent_and_what_is_new_of_it(tmp_path: Path) -> None:
    forge = Folders(tmp_path / "forge")
    async with serving(tmp_path, forge) as services:
        chat = await research(services)
        await settled(services, chat, limit_s=60)
        result = await publish(services, chat)
        assert result["success"], result["summary"]
        await one_of_each(services, forge, chat)
        writes = list(forge.writes)
        assert writes == [f"create {NAME}", f"topics {NAME}", f"pull {NAME}"]
        assert (await publish(services, chat))["success"]
        assert forge.writes == writes
        info = await services.sessions.get(ANA, chat)
        assert (info["state"], info["publication"]["pullState"]) == ("finished", "draft")


@pytest.mark.parametrize("step", STEPS)
async def test_a_crash_between_the_journal_and_the_row_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """The server goes down when the journal has the step as done and nothing was written after it."""
    forge, there = Folders(tmp_path / "forge"), asyncio.Event()
    save = Attempt.save

    async def saving(self: Attempt, *args: Any, **fields: Any) -> None:
        if self.steps[step].state in ("done", "skipped"):
            there.set()
            await asyncio.sleep(3600)
        await save(self, *args, **fields)

    async with serving(tmp_path, forge) as services:
        chat = await research(services)
        await settled(services, chat, limit_s=60)
        with monkeypatch.context() as patch:
            patch.setattr(Attempt, "save", saving)
            ack = await services.sessions.submit(ANA, protocol.Publish(chatId=chat))
            async with asyncio.timeout(60):
                await there.wait()
            await services.dispatcher.stop(0.1)
    async with serving(tmp_path, forge) as services:
        result = await ended(services, chat, ack.extra["runId"])
        assert result["success"], result["summary"]
        await one_of_each(services, forge, chat)
        assert forge.writes == [f"create {NAME}", f"topics {NAME}", f"pull {NAME}"]


async def test_the_guard_needs_no_forge_to_stop_a_push(tmp_path: Path) -> None:
    forge = Folders(tmp_path / "forge")
    async with serving(tmp_path, forge) as services:
        chat = await research(services)
        await settled(services, chat, limit_s=60)
        session = await services.log.store.get_session(chat)
        root = services.sessions._commands.lab.root_dir / session.meta["project"]["path"]
        secret = "ghp_" + "Q1w2E3r4T5y6U7i8O9p0Q1w2E3r4T5y6U7i8"
        (root / "config.py").write_text(f"key = '{secret}'\n")
        git(root, "add", "-A")
        git(root, "-c", "user.name=Ana", "-c", "user.email=ana@x.org", "commit", "-qm", "Config")
        result = await publish(services, chat)
        assert result["stop_reason"] == "publish_blocked"
        assert forge.writes == []
        row = await services.log.store.get_publication(chat)
        assert secret not in msgspec.json.encode(row.shown).decode()
        assert row.shown["problem"]["findings"][0]["path"] == "config.py"
