"""`jupyter postdoc notebook` against a real server: shown, taken over, given back."""

from __future__ import annotations

import json
from typing import Any

BY_HAND = """import marimo

app = marimo.App()


@app.cell
def note():
    "by hand"
    return
"""


def test_the_notebook_of_a_chat(shared: Any) -> None:
    env = {"POSTDOC_URL": shared.server.url, "POSTDOC_TOKEN": shared.server.token}
    made = shared.run("research", "waits please", "--json", **env)
    assert made.code == 0, made.err
    chat = made.frames[0]["chatId"]

    def run(*args: str) -> str:
        answer = shared.run("notebook", chat, *args, **env)
        assert answer.code == 0, answer.err
        return str(answer.out)

    shown = run()
    assert "Not open: research/" in shown
    assert "The agent has it." in shown
    assert f"/postdoc/notebook/{chat}" in shown
    assert shared.server.token not in shown
    assert "You have the notebook" in run("--take")
    assert "You have it; the agent waits" in run()
    (shared.root / json.loads(run("--json"))["path"]).write_text(BY_HAND)  # this template makes none
    given = run("--give")
    assert "Changed by you: note (added)." in given
    assert "Commit " in given
    assert "No cell was changed." in run("--give")
    answer = shared.run("notebook", chat, "--interrupt", **env)
    assert answer.code == 1
    assert "Open the notebook first." in answer.err
    told = shared.run("watch", chat, "--after", "0", "--until-done", **env)
    assert "has taken the notebook over." in told.out
    assert "The notebook was given back." in told.out
