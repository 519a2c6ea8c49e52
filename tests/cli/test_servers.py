"""Servers that are started for one command, that die, and that come back."""

from __future__ import annotations

import signal

import psutil
import pytest

from .conftest import RunningServer, wait_for


@pytest.fixture
def server(home):
    server = RunningServer(home)
    server.start()
    yield server
    server.stop()


def test_an_own_server_ends_with_the_command(home):
    answer = home.run("research", "waits please", "--json")
    assert answer.code == 0, answer.err
    assert answer.frames[-2]["type"] == "result"
    assert home.own_servers() == []
    assert not list((home.runtime / "postdoc-cli").iterdir()), "nothing is left in the runtime folder"
    assert (home.root / "research" / "waits-please" / ".git").is_dir()


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
def test_an_own_server_does_not_survive_its_command(home, how):
    running = home.start("research", "waits please")
    running.until("part 1")
    (pid,) = home.own_servers()
    family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    for process in family:
        words = " ".join(process.cmdline())
        assert "token" not in words.lower()
    running.process.send_signal(how)
    running.process.wait()
    wait_for(lambda: not [p for p in family if p.is_running() and p.status() != psutil.STATUS_ZOMBIE], 20)
    running.end()


def test_no_server_is_started_when_told_so(home):
    answer = home.run("chats", "--no-start")
    assert answer.code == 3
    assert "No Postdoc server runs here" in answer.err


def test_a_server_that_cannot_start_is_explained(home):
    blocked = home.base / "blocked"
    blocked.write_text("a file, not a folder")
    answer = home.run("chats", "--root", str(blocked))
    assert answer.code == 2
    assert "cannot be used" in answer.err
    (home.base / "data" / "postdoc" / "postdoc.db").write_bytes(
        b"not a database at all, but long enough to be one" * 50
    )
    answer = home.run("chats")
    assert answer.code in {1, 3}
    assert "server's log is" in answer.err
    assert "Traceback" not in answer.err


def test_killed_and_restarted_in_the_middle_the_research_goes_on(home, server):
    named = {"POSTDOC_URL": server.url, "POSTDOC_TOKEN": server.token}
    running = home.start("research", "waits please", "--json", **named)
    running.until("part 2")
    server.kill()
    server.start()
    answer = running.end()
    assert answer.code == 0, answer.err
    assert "lost" in answer.err
    assert "back" in answer.err
    seqs = [frame["seq"] for frame in answer.frames]
    assert seqs == sorted(set(seqs))
    chat = answer.frames[0]["chatId"]
    kept = server.get(f"postdoc/api/chats/{chat}/messages?limit=1000")
    seen = {frame["seq"]: frame for frame in answer.frames}
    assert [e for e in kept if seen.get(e["seq"]) != e] == [], "every event that is kept was shown, as it is kept"


@pytest.mark.slow
def test_an_own_server_that_dies_is_started_again(home):
    running = home.start("research", "waits please", "--json")
    running.until("part 2")
    (pid,) = home.own_servers()
    psutil.Process(pid).kill()
    answer = running.end()
    assert answer.code == 0, answer.err
    assert answer.frames[-2]["type"] == "result"
    assert home.own_servers() == []


def test_templates_are_made_and_checked_without_a_server(home):
    made = home.run("templates", "new", "my_study", "--json")
    assert made.code == 0, made.err
    assert {"template.yaml", "notebook.py", "script.yaml"} <= {path.rpartition("/")[2] for path in made.json}
    assert home.run("templates", "check", "my_study").code == 0
    assert home.run("templates", "new", "my_study").code == 2, "nothing is overwritten"
    (home.root / "my_study" / "script.yaml").write_text("turns: []")
    checked = home.run("templates", "check", "my_study")
    assert checked.code == 1
    assert "turns" in checked.out
    assert not home.runtime.exists(), "no server was looked for"


def test_help_imports_nothing_heavy(home):
    import subprocess
    import sys

    code = "import sys; from jupyterlab_postdoc.cli.parser import build; build().format_help(); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not set(loaded) & {"tornado", "asyncio", "msgspec", "jupyter_core", "jupyter_server", "marimo", "numpy"}
