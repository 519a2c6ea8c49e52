"""The widget of a notebook cell: follows a real session from real kernels, and keeps its last status."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from jupyterlab_postdoc.follow import Follow, Summary
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


# --- live ---


def test_it_follows_a_run_to_its_end(jupyter: Jupyter, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in environment(jupyter).items():
        monkeypatch.setenv(name, value)
    chat = jupyter.research("Short Term Reversal")
    follow = Follow(chat)
    assert follow.status["state"] in ("queued", "starting", "running")
    lines: list[str] = []
    follow.observe(lambda change: lines.append(change["new"]["line"]), "status")
    assert follow.wait(90)
    assert follow.status["state"] == "finished"
    assert follow.status["result"]["verdict"]["supported"] is True
    assert any(re.match(r"Running cell \d+ of \d+", line) for line in lines), lines
    assert "finished" in repr(follow)
    assert TOKEN not in repr(follow) + json.dumps(follow.get_state(), default=repr)
    bundle = follow._repr_mimebundle_()
    data = bundle[0] if isinstance(bundle, tuple) else bundle
    assert "finished" in data["text/plain"]
    assert "<p>" in data["text/html"]
    follow.close()


def test_it_outlives_a_server_that_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Jupyter(tmp_path, app="server") as server:
        chat = server.research("waits please", template="waits")
        follow = Follow(chat, url=server.url, token=TOKEN)
        assert follow.status["state"] in ("queued", "starting", "running", "waiting")
        server.kill()
        deadline = [None] * 200
        while follow.status["problem"] is None and deadline:
            deadline.pop()
            follow._gone.wait(0.1)
        assert "no answer" in follow.status["problem"]["error"]
        assert TOKEN not in json.dumps(follow.status)
        server.start()
        deadline = [None] * 300
        while follow.status["problem"] is not None and deadline:
            deadline.pop()
            follow._gone.wait(0.1)
        assert follow.status["problem"] is None
        follow.close()


def test_what_is_missing_is_said(jupyter: Jupyter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    unknown = Follow("c_nobody", url=jupyter.url, token=TOKEN)
    assert unknown.wait(10)
    assert unknown.status["problem"]["error"]
    refused = Follow("c_nobody", url=jupyter.url, token="wrong")
    assert refused.wait(10)
    assert refused.status["problem"]["error"]
    assert "wrong" not in json.dumps(refused.status)
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path))
    monkeypatch.delenv("JPY_PARENT_PID", raising=False)
    monkeypatch.delenv("POSTDOC_URL", raising=False)
    alone = Follow("c_nobody")
    assert "No Jupyter server" in alone.status["problem"]["error"]
    assert "url=" in repr(alone)


def test_a_jupyter_notebook_keeps_the_last_status(jupyter: Jupyter, tmp_path: Path) -> None:
    chat = jupyter.research("Short Term Reversal")
    jupyter.wait_state(chat, "finished", limit_s=90)
    code = f"from jupyterlab_postdoc import Follow\nfollow = Follow({chat!r})\nfollow.wait(60)\nfollow"
    cell = {"cell_type": "code", "id": "a", "metadata": {}, "execution_count": None, "outputs": [], "source": code}
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}
    notebook = {"cells": [cell], "metadata": kernel, "nbformat": 4, "nbformat_minor": 5}
    (tmp_path / "follow.ipynb").write_text(json.dumps(notebook))
    command = [
        sys.executable,
        "-m",
        "jupyter",
        "nbconvert",
        "--to",
        "notebook",
        "--execute",
        "--inplace",
        "follow.ipynb",
    ]
    done = subprocess.run(command, cwd=tmp_path, env=environment(jupyter), capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "follow.ipynb").read_text()
    made = json.loads(text)
    output = made["cells"][0]["outputs"][0]["data"]
    assert "finished" in "".join(output["text/plain"])
    states = made["metadata"]["widgets"]["application/vnd.jupyter.widget-state+json"]["state"]
    assert any(model["state"].get("status", {}).get("state") == "finished" for model in states.values())
    assert TOKEN not in text


def test_a_marimo_notebook_keeps_the_last_status(jupyter: Jupyter, tmp_path: Path) -> None:
    chat = jupyter.research("Short Term Reversal")
    jupyter.wait_state(chat, "finished", limit_s=90)
    example = ROOT / "notebooks" / "follow_a_session.py"
    command = [sys.executable, "-m", "marimo", "export", "html", str(example), "-o", "page.html", "-f"]
    command += ["--", "--chat", chat]
    done = subprocess.run(command, cwd=tmp_path, env=environment(jupyter), capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stdout + done.stderr
    page = (tmp_path / "page.html").read_text()
    assert "Supported" in page or '"supported"' in page or "supported" in page
    assert chat in page
    assert TOKEN not in page


def test_importing_the_package_loads_no_widget() -> None:
    code = "import sys, jupyterlab_postdoc; print('anywidget' in sys.modules, hasattr(jupyterlab_postdoc, 'Nothing'))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=os.environ, timeout=30)
    assert done.stdout.split() == ["False", "False"], done.stderr
