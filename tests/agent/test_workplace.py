"""Research by a model without a template, and chats that go on in its project: on the real log, marimo and git."""

from __future__ import annotations

import json
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from tests.agent.example_study import CELLS, TOPIC, TURNS, Call, puts
from tests.agent.support import (
    ANA,
    SANDBOX,
    git,
    lean,
    new_chat,
    of,
    processes_below,
    read_json,
    research,
    serving,
    settled,
    steps_committed,
    until,
)

from jupyterlab_postdoc import protocol
from jupyterlab_postdoc.providers.base import ModelEvent, TextDelta, ToolCall, TurnEnd, TurnRequest

pytestmark = pytest.mark.skipif(not SANDBOX, reason="without a sandbox every command of a model asks for leave")


class Scripted:
    """A model that says and does what it was given, run after run; it remembers what it was told."""

    id = "scripted"
    label = "A scripted model"
    runs: ClassVar[list[list[tuple[str, list[Call]]]]] = []
    ends: ClassVar[str] = "end_turn"
    told: ClassVar[list[TurnRequest]] = []
    seen: ClassVar[list[str]] = []

    @classmethod
    def plays(cls, *runs: list[tuple[str, list[Call]]], ends: str = "end_turn") -> type[Scripted]:
        cls.runs, cls.ends, cls.told, cls.seen = list(runs), ends, [], []
        return cls

    async def stream(self, request: TurnRequest) -> AsyncIterator[ModelEvent]:
        self.told.append(request)
        if request.run not in self.seen:
            self.seen.append(request.run)
        script = self.runs[self.seen.index(request.run)]
        said, calls = script[len(request.turns)] if len(request.turns) < len(script) else ("I am done.", [])
        yield TextDelta(said)
        for number, (name, given) in enumerate(calls):
            yield ToolCall(f"t_{request.run[-6:]}_{len(request.turns)}_{number}", name, given)
        yield TurnEnd("tool_use" if calls else self.ends)


def by_model(**fields: Any) -> dict[str, Any]:
    return {"topic": TOPIC, "template": None, "provider": "scripted"} | fields


async def say(services: Any, chat: str, text: str, state: str = "finished") -> list[dict[str, Any]]:
    """A message in this chat; the events that follow it."""
    before = len(await settled(services, chat))
    await services.sessions.submit(ANA, protocol.Chat(chatId=chat, content=text))
    return (await settled(services, chat, state, limit_s=60))[before:]


QUICK = [("Quickly.", [("nb_create", {"title": "Sum"}), puts("setup"), ("nb_edit", {"changes": [
    {"op": "put", "name": "verdict", "code": 'verdict = {"claim": "1 > 0", "supported": True, "summary": "Yes. It is."}'
     "\nverdict"}]}), ("nb_run", {})]), ("Done.", [("finish", {"summary": "Yes."})])]  # fmt: skip
NUMBER = {"op": "put", "name": "number", "code": "number = 7\nnumber"}
UNRUN = [("I add a cell.", [("nb_edit", {"changes": [NUMBER]})])]
RUN_AGAIN = [("I add a cell and run.", [("nb_edit", {"changes": [NUMBER]}), ("nb_run", {})])]


async def test_a_model_writes_a_study_from_nothing_repairs_a_cell_and_finishes(tmp_path: Path) -> None:
    async with serving(tmp_path, chat_provider=Scripted.plays(TURNS)) as services:
        chat = await research(services, **by_model())
        events = await settled(services, chat, "finished", limit_s=90)
        shown = await services.sessions.get(ANA, chat)
    root = tmp_path / "root" / shown["project"]["path"]
    result = of(events, "result")[0]
    assert result["success"] is True
    assert result["verdict"] == read_json(root / "results.json")
    assert (result["verdict"]["supported"], result["verdict"]["n_obs"]) == (True, 120)
    assert result["verdict"]["ci_high"] < 0
    runs = [event for event in of(events, "tool_result") if event["toolName"] == "nb_run"]
    assert [run["ok"] for run in runs] == [False, True]
    assert "AxisError" in runs[0]["content"]
    assert of(events, "question") == []
    _check_what_it_was_told()
    _check_repository(root, events)
    assert processes_below(tmp_path) == []


def _check_what_it_was_told() -> None:
    first = Scripted.told[0]
    assert first.prompt.startswith(f"Make a complete study of this topic, from the question to the verdict:\n\n{TOPIC}")
    assert "## marimo's rules" in first.system
    assert {request.system for request in Scripted.told} == {first.system}
    assert {request.prompt for request in Scripted.told} == {first.prompt}
    assert "finish" in [spec["name"] for spec in first.tools]


def _check_repository(root: Path, events: list[dict[str, Any]]) -> None:
    turns = [f"turn:{n}" for n in range(6)]
    own = [event["toolId"] for event in of(events, "tool_use") if event["toolName"] == "git_commit"]
    assert steps_committed(root) == ["start", *turns[:5], *own, turns[5], "describe"]
    assert len(own) == 1
    assert git(root, "status", "--porcelain") == ""
    assert git(root, "ls-remote", "origin", "refs/heads/main").split()[0] == git(root, "rev-parse", "HEAD")
    models = set(git(root, "log", "--format=%(trailers:key=Research-Model,valueonly,separator=%x2C)").split())
    assert len(models) == 1
    model = models.pop()
    readme = (root / "README.md").read_text()
    assert "written by the language model" in readme
    assert "with the persona Researcher" in readme
    assert "no language model was used" not in readme
    assert "template" not in readme
    assert "1. State the question and the rule before any result" in readme
    assert "figures/figure.png" in readme
    assert "(simulated: the figures say how the method works, not how the world does)" in readme
    assert "Reviewed by: nobody yet" in readme
    provenance = read_json(root / "provenance.json")
    assert provenance["model"] == model
    assert (provenance["template"], provenance["language_model_used"]) == (None, True)
    assert provenance["persona"] == "Researcher"
    assert set(provenance["packages"]) >= {"marimo", "numpy", "matplotlib"}
    cells = {cell for cell in CELLS if f"def {cell}(" in (root / "notebook.py").read_text()}
    assert len(cells) == len(CELLS) - 1  # all but the setup


async def test_a_template_that_fits_is_recommended_and_named_where_it_was_used(tmp_path: Path) -> None:
    lean(tmp_path / "templates" / "lean")
    script = [("I begin with the template.", [("use_template", {"name": "lean"}), ("nb_run", {})]), *QUICK[1:]]
    async with serving(tmp_path, chat_provider=Scripted.plays(script)) as services:
        chat = await research(services, **by_model(topic="A lean study", params={"data": "synthetic"}))
        await settled(services, chat, "finished", limit_s=60)
        root = tmp_path / "root" / (await services.sessions.get(ANA, chat))["project"]["path"]
    assert 'use_template("lean"' in Scripted.told[0].prompt
    assert "- `lean`" in Scripted.told[0].system
    assert "which began with template lean v0.1.0" in (root / "README.md").read_text()
    assert read_json(root / "provenance.json")["template"] == {"name": "lean", "version": "0.1.0"}


async def test_the_users_data_are_in_the_project_and_in_the_task(tmp_path: Path) -> None:
    async with serving(tmp_path, chat_provider=Scripted.plays(QUICK)) as services:
        (tmp_path / "root" / "owls.csv").write_text("night,sightings\n1,3\n2,5\n")
        chat = await research(services, **by_model(params={"data": "owls.csv"}))
        await settled(services, chat, "finished", limit_s=60)
        root = tmp_path / "root" / (await services.sessions.get(ANA, chat))["project"]["path"]
    assert '"data": "data/owls.csv"' in Scripted.told[0].prompt
    assert (root / "data" / "owls.csv").exists()


async def test_a_persona_that_cannot_write_is_refused_with_a_sentence(tmp_path: Path) -> None:
    async with serving(tmp_path, chat_provider=Scripted.plays([])) as services:
        chat = str((await services.sessions.create(ANA, persona="reviewer"))["id"])
        await services.sessions.submit(ANA, protocol.Research(chatId=chat, topic="Owls", provider="scripted"))
        events = await settled(services, chat, "error")
        assert "Reviewer may not use nb_edit, nb_run, finish" in of(events, "error")[0]["error"]
        assert not (tmp_path / "root" / "research").exists()


@pytest.mark.parametrize(
    ("ends", "code", "words"),
    [
        ("end_turn", "notebook_failed", "without a verdict from a notebook that has run"),
        ("refusal", "provider_refusal", "declined"),
    ],
)
async def test_a_model_that_does_not_finish_is_an_honest_failure(
    tmp_path: Path, ends: str, code: str, words: str
) -> None:
    started = [("I begin.", [("nb_create", {"title": "Owls"}), puts("setup", "question")])]
    async with serving(tmp_path, chat_provider=Scripted.plays(started, ends=ends)) as services:
        chat = await research(services, **by_model())
        events = await settled(services, chat, "error", limit_s=60)
        root = tmp_path / "root" / (await services.sessions.get(ANA, chat))["project"]["path"]
    error, result = of(events, "error")[0], of(events, "result")[0]
    assert error["code"] == code
    assert words in error["error"]
    assert "kept and committed" in error["next"]
    assert (result["success"], result["partial"]) == (False, True)
    assert git(root, "status", "--porcelain") == ""
    readme = (root / "README.md").read_text()
    assert "did not finish" in readme
    assert words in readme


# --- chats that go on in a project ---


async def test_a_chat_after_research_works_on_its_project(tmp_path: Path) -> None:
    answer: list[tuple[str, list[Call]]] = [("It is the sum.", [])]
    async with serving(tmp_path, chat_provider=Scripted.plays(QUICK, answer, RUN_AGAIN)) as services:
        chat = await research(services, **by_model())
        await settled(services, chat, "finished", limit_s=60)
        root = tmp_path / "root" / (await services.sessions.get(ANA, chat))["project"]["path"]
        head = git(root, "rev-parse", "HEAD")

        await say(services, chat, "What is it?")
        assert git(root, "rev-parse", "HEAD") == head
        asked = Scripted.told[-1]
        assert "## This project" in asked.system
        assert {"nb_edit", "nb_run"} <= {spec["name"] for spec in asked.tools}
        assert "finish" not in {spec["name"] for spec in asked.tools}
        assert asked.earlier

        events = await say(services, chat, "Add a number")
        artifacts = of(events, "result")[0]["artifacts"]
        new = git(root, "rev-parse", "HEAD")
        assert artifacts["commit"] == new != head
        assert (await services.sessions.get(ANA, chat))["project"]["commit"] == new
        assert git(root, "ls-remote", "origin", "refs/heads/main").split()[0] == new
        assert steps_committed(root) == ["start", "turn:0", "describe", "turn:0", "describe"]
        readme = (root / "README.md").read_text()
        assert "changed later by the language model" in readme
        assert "did not finish" not in readme
        provenance = read_json(root / "provenance.json")
        run = of(events, "user_message")[0]["runId"]
        assert [made["run"] for made in provenance["revisions"]] == [run]
        assert [step.get("run") for step in provenance["steps"]] == [None, None, None, run]
        assert provenance["created"] == read_json_at(root, head, "provenance.json")["created"]
    assert processes_below(tmp_path) == []


async def test_a_notebook_that_was_changed_and_not_run_is_called_so(tmp_path: Path) -> None:
    async with serving(tmp_path, chat_provider=Scripted.plays(QUICK, UNRUN, RUN_AGAIN)) as services:
        chat = await research(services, **by_model())
        await settled(services, chat, "finished", limit_s=60)
        root = tmp_path / "root" / (await services.sessions.get(ANA, chat))["project"]["path"]
        await say(services, chat, "Add a number")
        readme = (root / "README.md").read_text()
        assert "The notebook was changed after its last complete run." in readme
        assert "number" in readme
        await say(services, chat, "Now run it")
        assert "changed after its last complete run" not in (root / "README.md").read_text()
        assert len(read_json(root / "provenance.json")["revisions"]) == 2


async def test_a_chat_on_a_templates_study_says_that_a_model_changed_it(tmp_path: Path) -> None:
    lean(tmp_path / "templates" / "lean")
    async with serving(tmp_path, chat_provider=Scripted.plays(RUN_AGAIN)) as services:
        chat = await research(services, provider="template")
        await settled(services, chat, "finished")
        root = tmp_path / "root" / (await services.sessions.get(ANA, chat))["project"]["path"]
        before = read_json(root / "provenance.json")
        assert (before["language_model_used"], before["steps"][0].keys()) == (False, {"key", "title", "commit"})
        await say(services, chat, "Add a number")
        readme = (root / "README.md").read_text()
        assert "no language model was used until it was changed later by the language model" in readme
        after = read_json(root / "provenance.json")
        assert after["language_model_used"] is True
        assert (after["template"], after["plan"], after["parameters"]) == (
            before["template"],
            before["plan"],
            before["parameters"],
        )


async def test_a_chat_that_is_stopped_keeps_what_it_changed_and_says_so(tmp_path: Path) -> None:
    busy = [("I add a cell and wait.", [("nb_edit", {"changes": [NUMBER]}), ("shell", {"command": "sleep 60"})])]
    async with serving(tmp_path, chat_provider=Scripted.plays(QUICK, busy)) as services:
        chat = await research(services, **by_model())
        await settled(services, chat, "finished", limit_s=60)
        root = tmp_path / "root" / (await services.sessions.get(ANA, chat))["project"]["path"]
        head = git(root, "rev-parse", "HEAD")
        await services.sessions.submit(ANA, protocol.Chat(chatId=chat, content="Add a number"))
        await until(services, chat, "agent_status", message="Running a command: sleep 60")
        await services.sessions.submit(ANA, protocol.Stop(chatId=chat, how="now"))
        events = await settled(services, chat, "stopped")
    result = of(events, "result")[-1]
    assert result["artifacts"]["commit"] == git(root, "rev-parse", "HEAD") != head
    assert git(root, "status", "--porcelain") == ""
    readme = (root / "README.md").read_text()
    assert "The notebook was changed after its last complete run." in readme
    assert "changed later by the language model" in readme
    assert processes_below(tmp_path) == []


async def test_a_project_folder_that_is_gone_leaves_the_chat_alive(tmp_path: Path) -> None:
    async with serving(tmp_path, chat_provider=Scripted.plays(QUICK, [("Hello.", [])])) as services:
        chat = await research(services, **by_model())
        await settled(services, chat, "finished", limit_s=60)
        shutil.rmtree(tmp_path / "root" / (await services.sessions.get(ANA, chat))["project"]["path"])
        events = await say(services, chat, "Are you there?")
    assert any("is gone" in event["message"] for event in of(events, "agent_status"))
    assert of(events, "assistant_message")[0]["content"] == "Hello."
    assert "## No project in this chat" in Scripted.told[-1].system
    assert "nb_edit" not in {spec["name"] for spec in Scripted.told[-1].tools}


async def test_a_chat_without_a_project_has_the_tools_that_need_none(tmp_path: Path) -> None:
    script: list[tuple[str, list[Call]]] = [("I look.", [("list_templates", {}), ("nb_cells", {})])]
    async with serving(tmp_path, chat_provider=Scripted.plays(script)) as services:
        chat = await new_chat(services)
        events = await say(services, chat, "Which templates are there?")
    results = {event["toolName"]: event for event in of(events, "tool_result")}
    assert results["list_templates"]["ok"] is True
    assert "equity_signal" in results["list_templates"]["content"]
    assert results["nb_cells"]["ok"] is False


def read_json_at(root: Path, commit: str, path: str) -> Any:
    return json.loads(git(root, "show", f"{commit}:{path}"))
