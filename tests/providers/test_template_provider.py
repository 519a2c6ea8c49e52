"""The template provider walks its script by what the tools answered; it keeps no state of its own."""

from __future__ import annotations

import asyncio
from pathlib import Path
from textwrap import dedent

import pytest

from jupyterlab_postdoc.errors import PostdocError
from jupyterlab_postdoc.providers.base import TextDelta, ToolCall, ToolOutcome, Turn, TurnEnd, TurnRequest
from jupyterlab_postdoc.providers.template import TemplateProvider
from jupyterlab_postdoc.templates import TemplateRegistry, scaffold

SCRIPT = """
turns:
  - id: write
    say: "Studies {{ topic }}."
    plan: 0
    calls:
      - tool: nb_create
        input: {path: notebook.py, title: "{{ topic }}"}
  - id: run
    say: Runs it.
    calls: [{tool: nb_run}]
  - id: finish
    say: "{{ verdict.summary }}"
    calls: [{tool: finish, input: {summary: "{{ verdict.summary }}"}}]
"""


@pytest.fixture
def registry(tmp_path: Path) -> TemplateRegistry:
    folder = tmp_path / "templates" / "tiny"
    scaffold(folder, "tiny", "A tiny study")
    (folder / "script.yaml").write_text(dedent(SCRIPT))
    (folder / "repairs").mkdir(exist_ok=True)
    (folder / "repairs" / "verdict.py").write_text("verdict = {}\nverdict\n")
    return TemplateRegistry([tmp_path / "templates"])


def reply(registry: TemplateRegistry, turns: list[Turn], topic: str = "owls") -> tuple[str, list[ToolCall], str]:
    """The provider's next turn: its text, its calls, its stop reason."""
    template = registry.get("tiny")
    task = {"topic": topic, "template": "tiny", "parameters": template.validate_parameters({}), "repo_name": "owls"}
    request = TurnRequest("c1", "r_0123456789", task, "", None, [], [], turns)

    async def collect() -> list[object]:
        return [event async for event in TemplateProvider(registry, pace_s=0).stream(request)]

    events = asyncio.run(collect())
    assert isinstance(events[-1], TurnEnd)
    text = "".join(event.text for event in events if isinstance(event, TextDelta))
    return text, [event for event in events if isinstance(event, ToolCall)], events[-1].stop_reason


def done(registry: TemplateRegistry, turns: list[Turn], *outcomes: ToolOutcome) -> Turn:
    """The next turn with these answers to its calls (ok for the rest)."""
    text, calls, _ = reply(registry, turns)
    answers = [*outcomes, *[ToolOutcome(True, "ok")] * (len(calls) - len(outcomes))]
    return Turn(text, calls, {call.id: answer for call, answer in zip(calls, answers, strict=True)})


def failed_run(cell: str) -> ToolOutcome:
    return ToolOutcome(
        False, "1 cell failed", {"failed": [cell], "errors": {cell: "ZeroDivisionError: division by zero"}}
    )


def test_text_calls_and_plan_come_from_the_script(registry: TemplateRegistry) -> None:
    text, calls, stop = reply(registry, [])
    assert text == "Studies owls."
    assert [call.name for call in calls] == ["plan", "nb_create"]
    assert calls[0].input["items"][0]["state"] == "active"
    assert {item["state"] for item in calls[0].input["items"][1:]} <= {"pending"}
    assert calls[1].input == {"path": "notebook.py", "title": "owls"}
    assert stop == "tool_use"


def test_call_ids_are_the_same_when_a_turn_is_asked_again(registry: TemplateRegistry) -> None:
    assert [call.id for call in reply(registry, [])[1]] == [call.id for call in reply(registry, [])[1]]
    later = reply(registry, [done(registry, [])])[1]
    assert not {call.id for call in later} & {call.id for call in reply(registry, [])[1]}


def test_verdict_reaches_the_last_turn_and_then_nothing_is_left_to_say(registry: TemplateRegistry) -> None:
    turns = [done(registry, [])]
    turns.append(done(registry, turns, ToolOutcome(True, "ran", {"verdict": {"summary": "It is 3 ± 1."}})))
    text, calls, _ = reply(registry, turns)
    assert text == "It is 3 ± 1."
    assert calls[0].input == {"summary": "It is 3 ± 1."}
    turns.append(done(registry, turns))
    assert reply(registry, turns) == ("", [], "end_turn")


def test_a_failing_cell_is_repaired_once_and_the_script_goes_on(registry: TemplateRegistry) -> None:
    turns = [done(registry, [])]
    turns.append(done(registry, turns, failed_run("verdict")))
    text, calls, _ = reply(registry, turns)
    assert "`verdict` failed: ZeroDivisionError" in text
    assert [call.name for call in calls] == ["nb_edit", "nb_run"]
    assert calls[0].input["changes"] == [{"op": "put", "name": "verdict", "code": "verdict = {}\nverdict"}]
    turns.append(
        done(registry, turns, ToolOutcome(True, "put"), ToolOutcome(True, "ran", {"verdict": {"summary": "S"}}))
    )
    assert reply(registry, turns)[1][0].name == "finish"


def test_a_second_failure_ends_honestly(registry: TemplateRegistry) -> None:
    turns = [done(registry, [])]
    turns.append(done(registry, turns, failed_run("verdict")))
    turns.append(done(registry, turns, ToolOutcome(True, "put"), failed_run("verdict")))
    text, calls, stop = reply(registry, turns)
    assert "division by zero" in text
    assert (calls, stop) == ([], "end_turn")


def test_a_cell_without_a_repair_ends_honestly(registry: TemplateRegistry) -> None:
    turns = [done(registry, [])]
    turns.append(done(registry, turns, failed_run("load")))
    text, calls, _ = reply(registry, turns)
    assert text.startswith("ZeroDivisionError: division by zero.")
    assert calls == []


@pytest.mark.parametrize("topic", ["{{ 7 * 7 }}", "{% raw %}", '"; rm -rf /', "a\nb", "{{ ''.__class__ }}"])
def test_a_topic_is_data_and_never_a_template(registry: TemplateRegistry, topic: str) -> None:
    text, calls, _ = reply(registry, [], topic)
    assert topic in text
    assert calls[1].input["title"] == topic.strip()


def test_a_script_that_reaches_into_python_is_refused(registry: TemplateRegistry) -> None:
    path = registry.get("tiny").path / "script.yaml"
    path.write_text(SCRIPT.replace("Studies {{ topic }}.", "{{ ''.__class__.__mro__ }}"))
    with pytest.raises(PostdocError, match="cannot be rendered"):
        reply(registry, [])


PARTS = """
turns:
  - id: first
    calls: [{tool: nb_edit, cells: [setup, make_data, analyse]}]
  - id: second
    calls:
      - {tool: nb_edit, cells: [study, verdict]}
      - {tool: nb_edit, cells: [controls, load]}
  - id: last
    calls: [{tool: nb_edit, cells: [title, estimate]}]
"""
"""Cells in another order than that of notebook.py."""


def places(calls: list[ToolCall]) -> dict[str, str]:
    """Each cell that the calls put, and the cell that it is put behind."""
    return {change["name"]: change["after"] for call in calls for change in call.input["changes"]}


@pytest.fixture
def in_parts(registry: TemplateRegistry) -> TemplateRegistry:
    (registry.get("tiny").path / "script.yaml").write_text(dedent(PARTS))
    return registry


def test_each_cell_goes_behind_the_nearest_one_that_is_there(in_parts: TemplateRegistry) -> None:
    order = [cell.name for cell in in_parts.get("tiny").sources]
    turns: list[Turn] = []
    notebook: list[str] = []
    while calls := reply(in_parts, turns)[1]:
        for name, after in places(calls).items():
            notebook.insert(notebook.index(after) + 1 if after else 0, name)
        assert notebook == [name for name in order if name in notebook]
        turns.append(done(in_parts, turns))
    assert len(turns) == 3
    assert len(notebook) == 9


def test_a_cell_that_a_person_deleted_is_nobodys_neighbour(in_parts: TemplateRegistry) -> None:
    turns = [done(in_parts, [])]
    assert places(reply(in_parts, turns)[1])["verdict"] == "analyse"
    gone = {"code": "not_found", "after": "analyse", "cells": ["setup", "make_data", "theirs"]}
    turns.append(done(in_parts, turns, ToolOutcome(False, "There is no cell 'analyse' …", gone)))
    text, calls, _ = reply(in_parts, turns)
    assert text.startswith("analyse is no longer in the notebook")
    assert places(calls) == {"study": "setup", "verdict": "load", "controls": "study", "load": "make_data"}
    turns.append(done(in_parts, turns))
    assert places(reply(in_parts, turns)[1]) == {"title": "study", "estimate": "load"}


def test_a_persons_cell_is_a_neighbour_as_long_as_it_is_there(in_parts: TemplateRegistry) -> None:
    turns = [done(in_parts, [])]
    theirs = {"code": "version_conflict", "cell": "study", "cells": ["study"]}
    turns.append(done(in_parts, turns, ToolOutcome(False, "The researcher has changed study.", theirs)))
    text, calls, _ = reply(in_parts, turns)
    assert text.startswith("The researcher has changed study")
    assert places(calls)["controls"] == "study"
    gone = {"code": "not_found", "after": "study", "cells": ["setup", "make_data", "analyse", "verdict"]}
    turns.append(done(in_parts, turns, ToolOutcome(True, "ok"), ToolOutcome(False, "There is no cell 'study' …", gone)))
    assert places(reply(in_parts, turns)[1])["controls"] == "setup"


def test_another_place_that_is_not_there_is_a_failure(in_parts: TemplateRegistry) -> None:
    gone = {"code": "not_found", "after": "elsewhere", "cells": []}
    text, calls, _ = reply(in_parts, [done(in_parts, [], ToolOutcome(False, "There is no cell 'elsewhere'.", gone))])
    assert text.startswith("There is no cell 'elsewhere'. The study stops here")
    assert calls == []
