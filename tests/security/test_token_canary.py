"""A token that was stored here publishes a study, and is found nowhere but in its store and in what GitHub was sent.

A whole run over a real server: connect, a study whose notebook looks for tokens, its publication to a REST server and
a git server, a second press, a look, comments. Then every byte that was written or shown is searched.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from tests.agent.support import SANDBOX, lean
from tests.forge.emulated import TOKEN, Hub
from tests.forge.faults import Faults, status
from tests.security import canary
from tests.security.canary import Guarded
from tests.security.test_canary import everything_shown, fetch, live, settled

ELSEWHERE = {
    "GITHUB_TOKEN": "ghp_environment/9e4d51c0de+b4d5=6f3a2b",
    "GH_TOKEN": "ghp_second/of-the-environment+77aa03=c0ffee",
    "GH_ENTERPRISE_TOKEN": "ghp_enterprise/of-the-environment+0f7d=61",
    "GITHUB_ENTERPRISE_TOKEN": "ghp_enterprise-too/of-the-environment=5b21c9",
}
"""What the server's own environment holds: it is not used here, and nobody may see it either."""

# What a study does that wants the token: it looks where tokens are, and keeps and prints all that it finds.
LOOK = """
import glob, os, subprocess

found = [repr(dict(os.environ))]
for path in [*glob.glob("/proc/[0-9]*/environ"), *glob.glob("/proc/[0-9]*/cmdline"), *{files!r}, *glob.glob({store!r})]:
    try:
        found.append(path + " " + repr(open(path, "rb").read()))
    except OSError as e:
        found.append(path + " " + type(e).__name__)
for command in ("git config --list --show-origin", "git credential fill </dev/null", "gh auth token", "env; ps auxeww"):
    found.append(subprocess.run(command, shell=True, capture_output=True, text=True, timeout=20).stdout)
Path("found.txt").write_text("\\n".join(found))
print("\\n".join(found))
data = [1, 2, 3]
"""


def forms(value: str) -> set[bytes]:
    """The value in plain, hexadecimal, base64 wherever it may begin, and as addresses and JSON show it."""
    found = {value, quote(value, safe=""), quote_plus(value), json.dumps(value)[1:-1]}
    found |= {value.encode().hex(), value.encode().hex().upper()}
    found.add(re.sub("%[0-9A-F]{2}", lambda code: code[0].lower(), quote(value, safe="")))
    for before in range(3):
        whole = base64.b64encode(b"." * before + value.encode()).decode()
        sure = whole[-(-before * 8 // 6) : (before + len(value)) * 8 // 6]
        found |= {sure, sure.replace("+", "-").replace("/", "_")}
    # git sends "x-access-token:<token>" as Basic auth
    found.add(base64.b64encode(f"x-access-token:{value}".encode()).decode().rstrip("="))
    return {form.encode() for form in found}


@dataclass
class Spied(Guarded):
    """The server, and who has looked at all of its children all the time."""

    looked: set[str] = field(default_factory=set)
    """Programs that were seen among the server's children."""

    @contextlib.contextmanager
    def watched(self) -> Iterator[Guarded]:
        """Read command lines and environments straight from /proc, as often as the machine allows."""
        done = threading.Event()

        def watch() -> None:
            while not done.wait(0.004):
                self._look()

        thread = threading.Thread(target=watch, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            done.set()
            thread.join()

    def _look(self) -> None:
        assert self.process is not None
        parents: dict[int, int] = {}
        lines: dict[int, bytes] = {}
        for name in os.listdir("/proc"):
            if not name.isdigit():
                continue
            with contextlib.suppress(OSError, ValueError, IndexError):
                place = Path("/proc") / name
                parents[int(name)] = int((place / "stat").read_text().rpartition(")")[2].split()[1])
                lines[int(name)] = (place / "cmdline").read_bytes()
        own = lines.get(self.process.pid, b"")
        for pid, line in lines.items():
            self.seen += canary.leaks(line, f"command line of {pid}")
            if pid == self.process.pid or line in (own, b"") or not self._below(pid, parents):
                continue
            with contextlib.suppress(OSError):
                environment = (Path("/proc") / str(pid) / "environ").read_bytes()
                if (Path("/proc") / str(pid) / "cmdline").read_bytes() == line:  # it is that program still
                    words = line.split(b"\0")
                    self.looked |= {os.path.basename(word.decode("utf-8", "replace")) for word in words[:3]}
                    self.looked |= {word.decode("utf-8", "replace") for word in words if word == b"push"}
                    self.seen += canary.leaks(environment, f"environment of {words[:4]}")

    def _below(self, pid: int, parents: dict[int, int]) -> bool:
        assert self.process is not None
        for _ in range(64):
            if pid == self.process.pid:
                return True
            pid = parents.get(pid, 0)
            if pid <= 1:
                return False
        return False


@pytest.fixture
def canaries(monkeypatch: pytest.MonkeyPatch) -> None:
    """The scan of canary.py looks for our tokens instead of its own."""
    values = [TOKEN, *ELSEWHERE.values()]
    monkeypatch.setattr(canary, "FORMS", {form: value for value in values for form in forms(value)})


async def published(guarded: Guarded, chat: str, limit_s: float = 90) -> dict[str, Any]:
    """The publication when it has come to its end, and the session is at rest."""
    async with asyncio.timeout(limit_s):
        while True:
            shown: dict[str, Any] = await guarded.request("GET", f"api/chats/{chat}/publication")
            if shown["state"] in ("published", "failed"):
                await settled(guarded, chat)
                return shown
            await asyncio.sleep(0.2)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.skipif(not SANDBOX, reason="needs bubblewrap")
async def test_a_stored_token_is_found_nowhere_else(tmp_path: Path, canaries: None) -> None:
    guarded = Spied(tmp_path / "home", tmp_path / "home" / "templates")
    store = guarded.home / "data" / "github"
    with Hub(tmp_path / "hub") as hub, Faults(hub.api_url) as api:
        guarded.env = dict(ELSEWHERE)
        guarded.more = [f"--PostdocApp.github_api_url={api.url}", f"--PostdocApp.github_git_url={hub.git_url}"]
        files = [str(store), str(guarded.home / "data" / "postdoc.db"), "/proc/self/environ"]
        look = LOOK.replace("{files!r}", repr(files)).replace("{store!r}", repr(str(store / "*")))
        lean(guarded.templates / "lean", load=look)
        guarded.start()
        try:
            await guarded.ready()
            with guarded.watched():
                answers = await use_it(guarded, hub, api)
            assert len(list(store.glob("*.token"))) == 1
            assert TOKEN in next(store.glob("*.token")).read_text()
            hidden = [path for path in guarded.home.rglob("*") if path.is_relative_to(store)]
            kept = {path: path.read_bytes() for path in hidden if path.is_file()}
            assert sum(TOKEN.encode() in data for data in kept.values()) == 1, "once, in its store"
            # What was sent to GitHub had it: else this test shows nothing.
            assert {one.authorization.rpartition(" ")[2] for one in api.requests} == {TOKEN}
            await guarded.request("DELETE", "api/github")
        finally:
            await asyncio.to_thread(guarded.stop)
        assert "push" in guarded.looked, f"the push was seen, among {sorted(guarded.looked)}"
        found = [leak for where, data in answers.items() for leak in canary.leaks(data, where)]
        assert found + guarded.seen == []
        assert canary.scan(guarded.home) == [], "the store is empty again, and nothing else has it"
        (name,) = hub.repos()
        assert len(hub.pulls(name)) == 1
        assert canary._scan_repository(hub.git.bare(name)) == [], "and no commit that was pushed"
    seen = next(guarded.root.glob("research/*/found.txt")).read_text()
    assert "/proc/self/environ" in seen, "the study did look around"


async def use_it(guarded: Guarded, hub: Hub, api: Faults) -> dict[str, bytes]:
    """Connect, study, publish, publish again, look, comment; a refusal that repeats the token. All that was shown."""
    answers: dict[str, bytes] = {}

    async def ask(verb: str, path: str, body: Any = None) -> Any:
        got = await guarded.request(verb, path, body) if body is not None else await guarded.request(verb, path)
        answers[f"{verb} {path} {len(answers)}"] = json.dumps(got).encode()
        return got

    connected = await ask("PUT", "api/github", {"token": TOKEN, "store": "file"})
    assert connected["account"]["login"] == "ana", connected
    chat = (await ask("POST", "api/chats", {}))["id"]
    research = {"topic": "A lean study", "template": "lean", "provider": "template"}
    async with live(guarded, chat) as watched:
        await ask("POST", f"api/chats/{chat}/research", research)
        shown = await published(guarded, chat)
        answers["publication"] = json.dumps(shown).encode()
        assert shown["state"] == "published", shown
        assert shown["pull"]["url"]
        name = shown["repository"]["name"]
        assert re.fullmatch("[0-9a-f]{40}", shown["branch"]["commit"])
        hub.post(f"/repos/{name}/issues/{shown['pull']['number']}/comments", {"body": f"My token is {TOKEN}."})
        await ask("POST", f"api/chats/{chat}/publication/refresh", {})
        for path in ("publication/comments", "publication"):
            answers[path] = await fetch(guarded, f"postdoc/api/chats/{chat}/{path}")
        # GitHub repeats the token in its refusal.
        api.rule("GET", "/repos/", status(403, {}, {"message": f"Bad rights of {TOKEN}"}), times=3)
        await ask("POST", f"api/chats/{chat}/publish", {})
        await asyncio.sleep(1.0)
        await settled(guarded, chat)
        api.clear()
        await ask("POST", f"api/chats/{chat}/publish", {})
        await asyncio.sleep(1.0)
        await settled(guarded, chat)
    answers["live frames"] = "\n".join(watched).encode()
    for path in ("github", "repos", "repos/available", "health"):
        answers[path] = await fetch(guarded, f"postdoc/api/{path}")
    answers |= await everything_shown(guarded, [chat])
    assert b'"publication"' in answers[f"frames of {chat}"]
    return answers


def test_the_scan_sees_the_token_in_every_form(tmp_path: Path, canaries: None) -> None:
    """In a header of git, in a file name, in hexadecimal, in an address."""
    header = base64.b64encode(f"x-access-token:{TOKEN}".encode())
    for data in (header, TOKEN.encode().hex().encode(), quote(ELSEWHERE["GH_TOKEN"], safe="").encode()):
        assert canary.leaks(b"<" + data + b">", "here")
    assert canary.leaks(b"ghp_ and github_pat_ alone", "here") == []
    (tmp_path / "file").write_bytes(b"x" * 70_000 + header)
    assert canary.scan(tmp_path)


def test_the_spy_sees_a_child_that_has_the_token(tmp_path: Path, canaries: None) -> None:
    """In its environment, and as an argument, also of a child's child that lives a tenth of a second."""
    code = (
        "import os, subprocess, time; t = os.read(0, 99).decode();"
        "subprocess.run(['sleep', '0.1'], env={'PATH': os.environ['PATH'], 'PASSED': t});"
        "subprocess.run(['sh', '-c', 'sh -c \"sleep 0.1\" ' + t]); time.sleep(0.2)"
    )
    spied = Spied(tmp_path, tmp_path)
    spied.process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE)
    with spied.watched():
        spied.process.communicate(TOKEN.encode(), timeout=20)
    assert any("environment of" in leak and "sleep" in leak for leak in spied.seen), spied.seen
    assert any("command line of" in leak for leak in spied.seen), spied.seen
