"""A script writes functions before what uses them; in the notebook each cell stands where the template has it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from jupyterlab_postdoc import protocol
from jupyterlab_postdoc.app import Services
from jupyterlab_postdoc.templates.source import parse_cells

from .support import ANA, SANDBOX, bodies, git, lean, of, read_json, research, serving, settled, until

SCRIPT = """\
turns:
  - id: start
    plan: 0
    say: I begin.
    calls:
      - {tool: nb_create, input: {path: notebook.py, title: "{{ topic }}"}}
      - {tool: nb_edit, cells: [setup, study]}
      - {tool: nb_edit, cells: [numbers, load]}
  - id: ask
    say: May I go on?
    calls: [{tool: ask_user, input: {question: "Go on?", options: ["yes", "no"]}}]
  - id: rest
    plan: 1
    say: The verdict, which adds.
    calls: [{tool: nb_edit, cells: [total, verdict]}]
  - id: run
    plan: 2
    say: The run.
    calls: [{tool: nb_run}]
  - id: finish
    say: "{{ verdict.summary }}"
    calls: [{tool: finish, input: {summary: "{{ verdict.summary }}"}}]
"""
FUNCTIONS = """
@app.function
def total(data):
    return sum(data)


@app.function
def numbers(count):
    return list(range(1, count + 1))


if __name__"""
ORDER = ["setup", "study", "load", "verdict", "total", "numbers"]


def template(home: Path, script: str = SCRIPT) -> None:
    folder = home / "templates" / "lean"
    lean(folder, load="data = numbers(3)", script=script)
    notebook = (folder / "notebook.py").read_text()
    notebook = notebook.replace("sum(data)", "total(data)").replace("\nif __name__", FUNCTIONS)
    (folder / "notebook.py").write_text(notebook)


async def asking(services: Services, home: Path) -> tuple[str, Path]:
    """A study whose script waits for an answer; chat and project."""
    chat = await research(services)
    await settled(services, chat, "waiting")
    (root,) = (path for path in (home / "root" / "research").iterdir() if (path / ".git").is_dir())
    return chat, root


async def go_on(services: Services, chat: str) -> list[dict[str, Any]]:
    """Answer the script's question and wait for the end; all events."""
    question = await until(services, chat, "question")
    await services.sessions.submit(ANA, protocol.Respond(chatId=chat, requestId=question["requestId"], answer="yes"))
    await settled(services, chat, "finished", limit_s=90)
    return await bodies(services, chat, finals=False)


def names_in(root: Path) -> list[str]:
    return [cell.name for cell in parse_cells((root / "notebook.py").read_text())]


async def test_cells_stand_in_the_templates_order(tmp_path: Path) -> None:
    template(tmp_path)
    async with serving(tmp_path) as services:
        chat, root = await asking(services, tmp_path)
        assert names_in(root) == ["setup", "study", "load", "numbers"]
        events = await go_on(services, chat)
        assert names_in(root) == ORDER
    found = [text for result in of(events, "tool_result") for text in (result["data"] or {}).get("issues", [])]
    assert not [text for text in found if "which no cell defines" in text]
    assert read_json(root / "results.json")["estimate"] == 6
    assert git(root, "status", "--porcelain") == ""


@pytest.mark.skipif(not SANDBOX, reason="live notebooks need a sandbox")
async def test_each_cell_shows_its_output_in_its_own_step(tmp_path: Path) -> None:
    template(tmp_path)
    async with serving(tmp_path) as services:
        chat, root = await asking(services, tmp_path)
        await services.editors.open(root)
        events = await go_on(services, chat)
        assert names_in(root) == ORDER
    ran = next(i for i, event in enumerate(events) if event.get("toolName") == "nb_run")
    early = [event for event in events[:ran] if event["type"] == "cell"]
    assert {event["cell"]: event["status"] for event in early} == dict.fromkeys(ORDER, "ok")
    assert next(event for event in early if event["cell"] == "verdict")["output"]


async def test_the_neighbour_of_a_cell_was_renamed_by_a_person(tmp_path: Path) -> None:
    template(tmp_path)
    async with serving(tmp_path) as services:
        chat, root = await asking(services, tmp_path)
        await services.sessions.submit(ANA, protocol.NotebookTake(chatId=chat))
        file = root / "notebook.py"
        file.write_text(file.read_text().replace("def load(", "def mine(").replace("numbers(3)", "numbers(4)"))
        await services.sessions.submit(ANA, protocol.NotebookGive(chatId=chat))
        events = await go_on(services, chat)
        assert names_in(root) == ["setup", "study", "verdict", "total", "mine", "numbers"]
    (refused,) = [result for result in of(events, "tool_result") if not result["ok"]]
    assert refused["content"].startswith("There is no cell 'load' to put another one behind.")
    said = [event["content"] for event in of(events, "assistant_message")]
    assert any(text.startswith("load is no longer in the notebook") for text in said)
    assert read_json(root / "results.json")["estimate"] == 10
    assert of(events, "result")[-1]["success"]
