"""`jupyter postdoc pr` against a real server whose GitHub is emulate."""

from __future__ import annotations

import asyncio
import json
import time
import urllib.request
from pathlib import Path
from typing import Any

import msgspec
import pytest

from jupyterlab_postdoc.log import EventLog
from jupyterlab_postdoc.store.sqlite import SqliteStore
from tests.forge.emulated import BOB, TOKEN, Emulated
from tests.publishing.on_github import BRANCH, on_github

from .conftest import Home, RunningServer

EVIL = "\x1b[2J\x1b]0;owned\x07\u202eevil"


class Desk:
    """A home whose server is connected to emulate, with one published chat."""

    def __init__(self, home: Home, hub: Emulated) -> None:
        self.home, self.hub, self.server = home, hub, RunningServer(home)
        config = {"PostdocApp": {"allow_unsandboxed": True, "github_api_url": hub.api_url, "model_attempts": 1}}
        (home.base / "config" / "jupyter_server_config.json").write_text(json.dumps(config))
        home.env["GITHUB_TOKEN"] = TOKEN
        # Somebody has to be there whom comments can be handed to.
        home.env |= {"ANTHROPIC_API_KEY": "sk-ant-test-0123456789abcdef", "ANTHROPIC_BASE_URL": "http://127.0.0.1:9"}
        self.server.start()
        self.chat = str(self.post("postdoc/api/chats", {"title": "Owls"})["id"])
        self.number = 0

    def post(self, path: str, body: Any) -> Any:
        request = urllib.request.Request(
            self.server.url + path,
            data=json.dumps(body).encode(),
            headers={"Authorization": f"token {self.server.token}", "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=20) as answer:
            return json.loads(answer.read())

    def publish(self) -> None:
        """Repository and branch on emulate, and a row with a hostile note; a pull request by hand, with comments."""

        async def run() -> None:
            log = EventLog(SqliteStore(self.home.base / "data" / "postdoc"))
            await log.start()
            session = await log.store.get_session(self.chat)
            assert session is not None
            await on_github(self.hub, log, self.chat, owner=session.owner, look_at=time.time() + 3600)
            row = await log.store.get_publication(self.chat)
            assert row is not None
            row = msgspec.structs.replace(row, shown={**row.shown, "notes": [f"A note {EVIL}"], "ahead": 2})
            await log.write(lambda tx: tx.put_publication(row))
            await log.stop()

        asyncio.run(run())
        body = {"title": f"Owls {EVIL}", "head": BRANCH, "base": "main", "body": ""}
        self.number = self.hub.post("/repos/ana/owls/pulls", body)["number"]
        for text in (f"Is n right? {EVIL}", "And the window?"):
            self.hub.post(f"/repos/ana/owls/issues/{self.number}/comments", {"body": text}, token=BOB)

    def run(self, *args: str) -> Any:
        return self.home.run(*args, POSTDOC_URL=self.server.url, POSTDOC_TOKEN=self.server.token)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Any:
    base: Path = tmp_path_factory.mktemp("pull")
    with Emulated(base / "emulate") as hub:
        made = Desk(Home(base), hub)
        yield made
        made.server.stop()


def test_a_publication_from_nothing_to_handed_comments(desk: Desk) -> None:
    local = desk.run("pr", desk.chat)
    assert local.code == 0, local.err
    assert "Not published: the work is here only." in local.out
    assert "There is nothing to publish yet." in local.out
    assert desk.run("pr", desk.chat, "--json").json == {"state": "local", "canPublish": False, "connected": True}
    none = desk.run("pr", desk.chat, "--comments")
    assert none.code == 1
    assert "no pull request yet" in none.err

    desk.publish()
    before = desk.run("pr", desk.chat)
    assert before.code == 0, before.err
    assert "Published: ana/owls (" in before.out
    assert "There is no pull request for the branch yet." in before.out
    assert "2 commits are not published yet" in before.out
    assert "- A note evil" in before.out

    shown = desk.run("pr", desk.chat, "--refresh", "--comments")
    assert shown.code == 0, shown.err
    assert f"#{desk.number} open: Owls evil" in " ".join(shown.out.split())
    assert "Checks        none" in shown.out
    assert "Comments      2" in shown.out
    assert f"/ana/owls/pull/{desk.number}" in shown.out
    assert "@bob" in shown.out
    assert "Is n right? evil" in shown.out
    assert not {"\x1b", "\x07", "\u202e"} & set(shown.out)

    listed = desk.run("pr", desk.chat, "--comments", "--json").json
    assert listed["pull"]["number"] == desk.number
    first, second = listed["commentList"]
    handed = desk.run("pr", desk.chat, "--hand", first["id"], "--note", "Answer this.")
    assert handed.code == 0, handed.err
    assert "Handed 1 comment to the agent." in handed.out
    again = desk.run("pr", desk.chat, "--hand", first["id"], "--note", "Answer this.")
    assert "The agent has it already." in again.out
    rest = desk.run("pr", desk.chat, "--hand-all", "--json")
    assert rest.code == 0, rest.err
    assert rest.json["chatId"] == desk.chat
    nothing = desk.run("pr", desk.chat, "--hand-all")
    assert nothing.code == 1
    assert "no new comment of a person" in nothing.err
    events = desk.server.get(f"postdoc/api/chats/{desk.chat}/messages")
    messages = [event["content"] for event in events if event["type"] == "user_message"]
    assert len(messages) == 2
    assert messages[0].startswith("Answer this.\n\nA comment from the pull request ana/owls#")
    assert "> And the window?" in messages[1]
    assert second["handed"] is False
    assert TOKEN not in shown.out + str(events)


def test_wrong_use_is_explained(desk: Desk) -> None:
    both = desk.run("pr", desk.chat, "--hand", "1", "--hand-all")
    assert (both.code, both.out) == (2, "")
    assert "give one of them" in both.err
    note = desk.run("pr", desk.chat, "--note", "Hm.")
    assert note.code == 2
    unknown = desk.run("pr", "c_nobody")
    assert unknown.code == 1
    assert "c_nobody" in unknown.err
