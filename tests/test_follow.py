"""The widget of a notebook cell: follows a real session from real kernels, and keeps its last status."""

from __future__ import annotations

import http.server
import json
import os
import re
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from jupyterlab_postdoc.follow import Follow, _parts
from jupyterlab_postdoc.follow.source import servers
from jupyterlab_postdoc.follow.summary import Summary, as_html, as_text, safe_link, verdict_text
from tests.ui.service import TOKEN, Jupyter

ROOT = Path(__file__).parents[1]
GOLDEN = ROOT / "labextension" / "src" / "__tests__" / "golden" / "research.jsonl"
EVENTS = [
    e for e in map(json.loads, GOLDEN.read_text(encoding="utf-8").splitlines()) if e.get("seq") and e["type"] != "ack"
]


@pytest.fixture(scope="module")
def jupyter(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with Jupyter(tmp_path_factory.mktemp("jupyter"), app="server") as server:
        yield server


@pytest.fixture(scope="module")
def finished(jupyter: Jupyter) -> str:
    """A session that has come to its end."""
    chat = jupyter.research("Short Term Reversal")
    jupyter.wait_state(chat, "finished", limit_s=90)
    return chat


@pytest.fixture(autouse=True)
def _no_thread_is_left(monkeypatch: pytest.MonkeyPatch) -> Any:
    for name in ("POSTDOC_URL", "POSTDOC_TOKEN", "JUPYTER_TOKEN", "JUPYTER_SERVER_URL", "JPY_PARENT_PID"):
        monkeypatch.delenv(name, raising=False)
    yield
    assert until(lambda: not following())


def following() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "postdoc-follow"]


def until(what: Any, limit_s: float = 20.0) -> bool:
    end = time.monotonic() + limit_s
    while time.monotonic() < end:
        if what():
            return True
        time.sleep(0.05)
    return False


def everything(follow: Follow) -> str:
    """All that can leave the kernel, and what a person sees of the object."""
    state = json.dumps(follow.get_state(), default=repr)
    return state + repr(follow) + str(follow) + json.dumps(follow._repr_mimebundle_(), default=repr)


def environment(jupyter: Jupyter) -> dict[str, str]:
    """A kernel's: it finds the server by its runtime file, like a kernel of that server."""
    assert jupyter.process is not None
    return jupyter.env | {"JPY_PARENT_PID": str(jupyter.process.pid), "PYTHONPATH": str(ROOT)}


# --- what is made of the events ---


def test_a_run_is_summed_up() -> None:
    summary = Summary("c1")
    states = set()
    for event in EVENTS:
        summary.take([event])
        states.add(summary.state)
    status = summary.as_dict()
    assert {"queued", "starting", "running", "finished"} <= states
    assert status["state"] == "finished"
    assert status["line"] == ""
    assert [item["state"] for item in status["plan"]] == ["done"] * 7
    assert status["result"]["verdict"]["supported"] is True
    assert status["result"]["provider"] == "template"
    assert 0 < status["ended"] - status["began"] < 60
    assert len(json.dumps(status)) < 8_000


def test_events_that_come_again_change_nothing() -> None:
    once, twice = Summary("c1"), Summary("c1")
    once.take(EVENTS)
    for cut in range(0, len(EVENTS), 7):
        twice.take(EVENTS[: cut + 7])
    first, second = once.as_dict(), twice.as_dict()
    assert first | {"updated": 0} == second | {"updated": 0}


def test_questions_are_shown_until_they_are_answered() -> None:
    summary = Summary("c1")
    summary.take([{"seq": 1, "type": "question", "requestId": "q1", "question": "Which?\nNow."}])
    assert summary.as_dict()["questions"] == ["Which? Now."]
    summary.take([{"seq": 2, "type": "answered", "requestId": "q1", "answer": "a", "by": "ana"}])
    assert summary.as_dict()["questions"] == []
    summary.take([{"seq": 3, "type": "approval_request", "requestId": "q2", "what": "Fetch it?"}])
    assert summary.as_dict()["questions"] == ["Fetch it?"]
    summary.take([{"seq": 4, "type": "session_state", "status": "stopped", "ts": "2026-11-21T09:00Z"}])
    assert summary.as_dict()["questions"] == []


def test_a_second_run_begins_anew() -> None:
    summary = Summary("c1")
    summary.take(EVENTS)
    last = summary.seq
    again = {"type": "session_state", "status": "running", "runId": "r_2", "ts": "2026-11-21T09:00:00.000Z"}
    summary.take([{"seq": last + 1, **again}])
    status = summary.as_dict()
    assert (status["state"], status["result"], status["plan"], status["live"]) == ("running", None, [], True)


def test_the_status_stays_small() -> None:
    """An agent that says much, and everywhere."""
    much = "word " * 100_000
    summary = Summary("c1")
    summary.take([
        {"seq": 1, "type": "session_state", "status": "running", "title": much, "ts": "2026-11-21"},
        {"seq": 2, "type": "agent_status", "message": much},
        {"seq": 3, "type": "plan", "items": [{"text": much, "state": "pending"}] * 500},
        {"seq": 4, "type": "assistant_message", "itemId": "i", "content": much},
        *({"seq": 5 + n, "type": "question", "requestId": f"q{n}", "question": much} for n in range(50)),
        {"seq": 90, "type": "error", "error": much, "next": much},
        {"seq": 91, "type": "artifact", "artifact": "pr", "url": f"https://example.org/{much}"},
        {"seq": 92, "type": "result", "success": True, "summary": much, "duration_ms": 1, "cost": 0.5,
         "verdict": {"claim": much, "supported": True, "unit": much, "estimate": 1.0}},
    ])  # fmt: skip
    assert len(json.dumps(summary.as_dict("http://127.0.0.1:1/"))) < 20_000


def test_links_hold_nothing_secret_and_do_no_harm() -> None:
    assert safe_link("https://ana:secret@example.org:8443/r?token=secret#secret") == "https://example.org:8443/r"
    assert safe_link("http://[::1]:8888/a b") == "http://[::1]:8888/a%20b"
    for bad in ("javascript:alert(1)", "data:text/html,x", "//example.org", "file:///etc/passwd", "http://[", None, ""):
        assert safe_link(bad) is None


def test_the_fallback_escapes_what_agents_say() -> None:
    evil = "<img src=x onerror=alert(1)>\x1b[2J\u202e"
    summary = Summary("c1")
    summary.take([
        {"seq": 1, "type": "session_state", "status": "running", "title": evil, "ts": "2026-11-21"},
        {"seq": 2, "type": "agent_status", "message": evil},
        {"seq": 3, "type": "artifact", "artifact": "repo", "url": 'https://example.org/"><script>alert(1)</script>'},
        {"seq": 4, "type": "error", "error": evil, "next": evil},
        {"seq": 5, "type": "result", "success": False, "summary": evil, "duration_ms": 1, "verdict": {"claim": evil}},
    ])  # fmt: skip
    page = as_html(summary.as_dict())
    assert "<img" not in page
    assert "<script" not in page
    assert "&lt;img" in page
    assert as_text(summary.as_dict()).isprintable()
    assert "\x1b" not in page + json.dumps(summary.as_dict()).replace("\\u001b", "\x1b")


def test_a_verdict_in_words() -> None:
    assert verdict_text({}) == ""
    assert verdict_text({"claim": "A.", "supported": None}) == "Undecided: A."
    whole = {"claim": "A.", "supported": False, "estimate": 1.23456, "ci_low": -1, "ci_high": 2, "unit": "m"}
    assert verdict_text(whole) == "Not supported: A. Estimate 1.235 m (95 % interval -1 to 2)."


def test_an_id_or_a_link() -> None:
    assert _parts("c_1") == (None, "c_1")
    assert _parts(" https://hub.example.org/user/a%40b/postdoc/s/c_1/?x=1#y ") == (
        "https://hub.example.org/user/a%40b",
        "c_1",
    )
    for empty in ("", "  ", "https://hub.example.org/postdoc/", "?c_1"):
        with pytest.raises(ValueError, match="id of a session"):
            Follow(empty)


# --- which server ---


def test_the_servers_that_are_asked(jupyter: Jupyter, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert jupyter.process is not None
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", jupyter.env["JUPYTER_RUNTIME_DIR"])
    found = servers()
    assert [(one.url, one.token) for one in found] == [(jupyter.url, TOKEN)]
    monkeypatch.setenv("JUPYTER_SERVER_URL", "http://gateway.example.org:8888/")
    monkeypatch.setenv("JUPYTER_TOKEN", "the-gateways-token")
    assert [one.url for one in servers()] == ["http://gateway.example.org:8888/", jupyter.url]
    monkeypatch.setenv("JPY_PARENT_PID", str(jupyter.process.pid))
    assert [one.url for one in servers()] == [jupyter.url, "http://gateway.example.org:8888/"]
    assert [one.token for one in servers()] == [TOKEN, "the-gateways-token"]
    assert [(one.url, one.token) for one in servers(jupyter.url, "given")] == [(jupyter.url, "given")]
    monkeypatch.setenv("POSTDOC_URL", "http://other.example.org/")
    assert [one.url for one in servers()] == ["http://other.example.org/"]


def test_a_token_is_not_carried_elsewhere() -> None:
    """A server that sends us on to another one (a login page, say) is not followed."""
    heard: list[str | None] = []

    class Elsewhere(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            heard.append(self.path)
            self.send_response(302)
            self.send_header("Location", f"http://127.0.0.1:{self.server.server_port}/steal")  # type: ignore[attr-defined]
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Elsewhere) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        follow = Follow("c_1", url=f"http://127.0.0.1:{server.server_port}/", token=TOKEN)
        assert follow.wait(10)
        server.shutdown()
    assert heard == ["/postdoc/api/chats/c_1"]
    assert "does not accept the token" in follow.status["problem"]["error"]
    assert TOKEN not in everything(follow)


# --- live ---


def test_it_follows_a_run_to_its_end(jupyter: Jupyter, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in environment(jupyter).items():
        monkeypatch.setenv(name, value)
    chat = jupyter.research("Short Term Reversal")
    follow = Follow(jupyter.url + f"postdoc/s/{chat}")
    assert follow.status["chat"] == chat
    assert follow.status["state"] in ("queued", "starting", "running")
    lines: list[str] = []
    follow.observe(lambda change: lines.append(change["new"]["line"]), "status")
    assert follow.wait(90)
    assert follow.status["state"] == "finished"
    assert follow.status["result"]["verdict"]["supported"] is True
    assert any(re.match(r"Running cell \d+ of \d+", line) for line in lines), lines
    assert "Finished. Supported" in repr(follow)
    assert TOKEN not in everything(follow)
    assert [link["text"] for link in follow.status["links"]] == ["Open the session", "Open the report"]
    page, report = (link["url"].removeprefix(jupyter.url) for link in follow.status["links"])
    assert (page, report) == (f"postdoc/s/{chat}", f"postdoc/api/chats/{chat}/report")
    bundle = follow._repr_mimebundle_()
    data = bundle[0] if isinstance(bundle, tuple) else bundle
    assert "application/vnd.jupyter.widget-view+json" in data
    assert "Finished" in data["text/plain"]
    assert "<strong>Supported:</strong>" in data["text/html"]
    assert until(lambda: not following(), 2)


def test_it_outlives_a_server_that_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Jupyter(tmp_path, app="server") as server:
        chat = server.research("waits please", template="waits")
        follow = Follow(chat, url=server.url, token=TOKEN)
        assert follow.status["state"] in ("queued", "starting", "running", "waiting")
        server.kill()
        assert until(lambda: follow.status["problem"])
        assert "no answer" in follow.status["problem"]["error"]
        assert follow.status["live"] is False
        assert TOKEN not in everything(follow)
        server.start()
        assert until(lambda: follow.status["problem"] is None, 60)
        follow.close()


def test_it_stops_at_once(jupyter: Jupyter) -> None:
    """Also in the middle of a request that waits for news."""
    chat = jupyter.research("asks please", template="asks")
    jupyter.wait_state(chat, "waiting", "paused")
    follow = Follow(chat, url=jupyter.url, token=TOKEN)
    assert follow.status["questions"]
    assert len(following()) == 1
    time.sleep(0.5)
    follow.close()
    assert until(lambda: not following(), 1)
    assert follow.status["problem"] is None


def test_an_interpreter_with_a_widget_ends(jupyter: Jupyter) -> None:
    chat = jupyter.research("asks please", template="asks")
    jupyter.wait_state(chat, "waiting", "paused")
    code = f"from jupyterlab_postdoc import Follow; print(Follow({chat!r}))"
    began = time.monotonic()
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, env=environment(jupyter), capture_output=True, text=True, timeout=30)
    assert "Needs your answer" in done.stdout
    assert done.stderr == ""
    assert time.monotonic() - began < 10


def test_what_is_missing_is_said(jupyter: Jupyter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    unknown = Follow("c_nobody", url=jupyter.url, token=TOKEN)
    assert unknown.wait(10)
    assert unknown.status["problem"]["error"]
    refused = Follow("c_nobody", url=jupyter.url, token="wrong")
    assert refused.wait(10)
    assert refused.status["problem"]["error"]
    assert "wrong" not in json.dumps(refused.status)
    unsendable = Follow("c_nobody", url=jupyter.url, token=f"{TOKEN}\nX: y")
    assert unsendable.wait(10)
    assert "Run the cell again" in unsendable.status["problem"]["next"]
    assert TOKEN not in everything(unsendable)
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path))
    alone = Follow("c_nobody")
    assert "No Jupyter server" in alone.status["problem"]["error"]
    assert "url=" in repr(alone)


def execute(cells: list[str], folder: Path, env: dict[str, str]) -> tuple[dict[str, Any], str]:
    """A notebook, run by a real kernel to its end: its JSON, and the text of its file."""
    code = {"cell_type": "code", "metadata": {}, "execution_count": None, "outputs": []}
    notebook = {
        "cells": [code | {"id": f"cell-{n}", "source": source} for n, source in enumerate(cells)],
        "metadata": {"kernelspec": {"name": "python3", "display_name": "Python 3"}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    file = folder / "follow.ipynb"
    file.write_text(json.dumps(notebook))
    command = [sys.executable, "-m", "jupyter", "nbconvert", "--to", "notebook", "--execute", "--inplace", file.name]
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stderr
    text = file.read_text()
    return json.loads(text), text


def saved_status(notebook: dict[str, Any]) -> dict[str, Any]:
    """What the notebook keeps of the widget."""
    states = notebook["metadata"]["widgets"]["application/vnd.jupyter.widget-state+json"]["state"]
    found = [model["state"]["status"] for model in states.values() if "status" in model["state"]]
    assert len(found) == 1
    return dict(found[0])


def test_a_jupyter_notebook_keeps_the_last_status(jupyter: Jupyter, tmp_path: Path) -> None:
    """Live from the first cell on; what the cell has shown is brought up to date while another one runs."""
    chat = jupyter.research("asks please", template="asks")
    jupyter.wait_state(chat, "waiting", "paused")
    stop = f"""
        import urllib.request
        from pathlib import Path
        from jupyterlab_postdoc.cli.server import running
        server = running(Path.cwd())[0]
        assert follow.status["live"] and follow.status["questions"]
        ask = urllib.request.Request(server.url + "postdoc/api/chats/{chat}/stop", b'{{}}', method="POST")
        ask.add_header("Authorization", "token " + server.token)
        urllib.request.urlopen(ask).read()
        assert follow.wait(60)
    """
    first = f"from jupyterlab_postdoc import Follow\nfollow = Follow({chat!r})\nfollow"
    notebook, text = execute([first, textwrap.dedent(stop), "1"], tmp_path, environment(jupyter))
    assert saved_status(notebook)["state"] == "stopped"
    (output,) = notebook["cells"][0]["outputs"]
    assert "Stopped by you" in "".join(output["data"]["text/plain"])
    assert "Stopped by you" in "".join(output["data"]["text/html"])
    assert TOKEN not in text
    command = [sys.executable, "-m", "jupyter", "nbconvert", "--to", "html", "follow.ipynb"]
    done = subprocess.run(command, cwd=tmp_path, env=environment(jupyter), capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "follow.html").read_text()
    assert 'class="postdoc-follow"' in page
    assert "Stopped by you" in page
    assert TOKEN not in page


def test_a_notebook_without_a_server_says_what_to_do(jupyter: Jupyter, tmp_path: Path) -> None:
    env = environment(jupyter) | {"JUPYTER_RUNTIME_DIR": str(tmp_path / "none")}
    notebook, _ = execute(["from jupyterlab_postdoc import Follow\nFollow('c_1')"], tmp_path, env)
    (output,) = notebook["cells"][0]["outputs"]
    assert "jupyter lab" in "".join(output["data"]["text/html"])


def export(folder: Path, env: dict[str, str], *arguments: str) -> str:
    """The example as marimo exports it."""
    example = ROOT / "notebooks" / "follow_a_session.py"
    command = [sys.executable, "-m", "marimo", "export", "html", str(example), "-o", "page.html", "-f", "--"]
    done = subprocess.run([*command, *arguments], cwd=folder, env=env, capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stdout + done.stderr
    return (folder / "page.html").read_text()


def test_a_marimo_notebook_keeps_the_last_status(jupyter: Jupyter, finished: str, tmp_path: Path) -> None:
    page = export(tmp_path, environment(jupyter), "--chat", finished)
    assert "Assets with low recent returns" in page
    assert TOKEN not in page


def test_the_example_says_that_there_is_no_server(jupyter: Jupyter, tmp_path: Path) -> None:
    page = export(tmp_path, environment(jupyter) | {"JUPYTER_RUNTIME_DIR": str(tmp_path / "none")})
    assert "jupyter lab" in page


def test_importing_the_package_loads_no_widget() -> None:
    code = "import sys, jupyterlab_postdoc; print('anywidget' in sys.modules, hasattr(jupyterlab_postdoc, 'Nothing'))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=os.environ, timeout=30)
    assert done.stdout.split() == ["False", "False"], done.stderr
