"""Beginning with a template: what a model is told of them, and that all of one arrives at once, as data."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.agent.support import lean

from jupyterlab_postdoc.providers.base import ToolOutcome
from jupyterlab_postdoc.templates import TemplateRegistry
from jupyterlab_postdoc.templates.source import read_cells, study_literal
from jupyterlab_postdoc.tools import notebook, talk, templates
from jupyterlab_postdoc.tools.base import Tool, ToolContext
from jupyterlab_postdoc.tools.project import Project
from jupyterlab_postdoc.tools.resources import Resources

TOPIC = 'Owls""" + __import__("os").system("id") # {study}\n<script>'


@pytest.fixture
def registry(tmp_path: Path) -> TemplateRegistry:
    lean(tmp_path / "templates" / "lean")
    return TemplateRegistry([tmp_path / "templates"])


@pytest.fixture
def context(project: Project, recorder: Any, registry: TemplateRegistry) -> ToolContext:
    project.study = replace(project.study, topic=TOPIC)
    made: ToolContext = recorder.context(project, Resources(templates=registry))
    return made


async def call(tool: Tool, ctx: ToolContext, **given: Any) -> ToolOutcome:
    return await tool.call(ctx, given)


def cells_of(project: Project) -> dict[str, str]:
    return {cell.name: cell.code for cell in read_cells(project.root / "notebook.py")}


async def test_templates_are_listed_with_parameters_and_what_fits(recorder: Any, registry: TemplateRegistry) -> None:
    context = recorder.context(None, Resources(templates=registry))
    listed = await call(templates.list_templates, context, topic="A lean study")
    assert listed.ok
    assert listed.data["fitting"] == ["lean"]
    assert {"lean", "equity_signal", "forecast", "group_comparison", "dataset_profile"} <= {*listed.data["templates"]}
    assert 'data: a path to a data file, "synthetic" or "synthetic-null"; default \'synthetic\'' in listed.content
    assert "Fitting" not in (await call(templates.list_templates, context)).content


async def test_without_templates_there_is_a_sentence(recorder: Any, project: Project) -> None:
    for tool, given in ((templates.list_templates, {}), (templates.use_template, {"name": "lean"})):
        outcome = await call(tool, recorder.context(project), **given)
        assert not outcome.ok
        assert "no templates" in outcome.content


async def test_a_template_arrives_whole_with_the_topic_as_data_and_runs(context: ToolContext, recorder: Any) -> None:
    used = await call(templates.use_template, context, name="lean")
    assert used.ok, used.content
    assert used.data["template"] == "lean"
    assert used.data["parameters"] == {"data": "synthetic"}
    found = cells_of(context.project)
    assert list(found) == ["setup", "study", "load", "verdict"] == used.data["cells"]
    literal = study_literal(found["study"])
    assert (literal["topic"], literal["session"], literal["created"]) == (TOPIC, "c1", "1970-01-01")
    assert [event.artifact for event in recorder.events] == ["notebook"]
    ran = await call(notebook.nb_run, context)
    assert ran.ok, ran.content
    assert (await call(talk.finish, context, summary="The sum is 6.")).ends_run


async def test_a_data_file_of_the_project_is_used_and_another_is_refused(context: ToolContext) -> None:
    context.project.workspace.write_text("data/owls.txt", "value\n4\n5\n")
    for path, word in (("data/none.txt", "no data file"), ("../../secret", "..")):
        refused = await call(templates.use_template, context, name="lean", parameters={"data": path})
        assert not refused.ok
        assert word in refused.content
        assert not (context.project.root / "notebook.py").exists()
    assert (await call(templates.use_template, context, name="lean", parameters={"data": "data/owls.txt"})).ok
    assert (await call(notebook.nb_run, context)).data["verdict"]["estimate"] == 9


@pytest.mark.parametrize(
    ("given", "word"),
    [
        ({"name": "leen"}, "`lean`"),
        ({"name": "lean", "parameters": {"dta": "x"}}, "`data`"),
        ({"name": "lean", "parameters": {"data": 5}}, "must be"),
        ({"name": "lean", "parameters": "data"}, "parameters"),
    ],
)
async def test_wrong_names_and_parameters_are_answered(context: ToolContext, given: dict[str, Any], word: str) -> None:
    outcome = await call(templates.use_template, context, **given)
    assert not outcome.ok
    assert word in outcome.content


async def test_cells_that_are_there_are_replaced_only_when_asked(context: ToolContext) -> None:
    await call(notebook.nb_create, context, title="Mine")
    puts = [{"op": "put", "name": "verdict", "code": "1"}, {"op": "put", "name": "mine", "code": "x = 1"}]
    await call(notebook.nb_edit, context, changes=puts)
    refused = await call(templates.use_template, context, name="lean")
    assert not refused.ok
    assert "verdict, mine" in refused.content
    assert list(cells_of(context.project)) == ["verdict", "mine"]
    assert (await call(templates.use_template, context, name="lean", replace=True)).ok
    assert list(cells_of(context.project)) == ["setup", "study", "load", "verdict"]


async def test_after_a_crash_a_template_that_arrived_is_not_put_again(context: ToolContext) -> None:
    reconcile = templates.use_template.reconcile
    assert reconcile is not None
    given = templates.use_template.parse({"name": "lean"})
    await call(notebook.nb_create, context, title="Mine")
    assert await reconcile(context, given) is None
    used = await call(templates.use_template, context, name="lean")
    found = await reconcile(context, given)
    assert found is not None
    assert found.data == used.data


async def test_what_a_template_says_of_itself_stays_true_when_a_model_uses_it(context: ToolContext) -> None:
    assert (await call(templates.use_template, context, name="group_comparison")).ok
    text = (context.project.root / "notebook.py").read_text()
    assert templates.UNTOUCHED not in text
    assert templates.TOUCHED in text


async def test_finish_wants_the_verdict_of_the_notebook_as_it_stands(context: ToolContext) -> None:
    await call(templates.use_template, context, name="lean")
    await call(notebook.nb_run, context)
    load = {"op": "put", "name": "load", "code": "data = [1, 2]"}
    await call(notebook.nb_edit, context, changes=[load])
    stale = await call(talk.finish, context, summary="Done.")
    assert not stale.ok
    assert "load" in stale.content
    await call(notebook.nb_edit, context, changes=[load | {"code": "data = 1 / 0"}])
    await call(notebook.nb_run, context)
    failed = await call(talk.finish, context, summary="Done.")
    assert not failed.ok
    assert "load" in failed.content
    bare = {"op": "put", "name": "verdict", "code": 'verdict = {"claim": "x", "supported": "yes"}\nverdict'}
    await call(notebook.nb_edit, context, changes=[load, bare])
    await call(notebook.nb_run, context)
    incomplete = await call(talk.finish, context, summary="Done.")
    assert not incomplete.ok
    assert "p_value" in incomplete.content


async def test_reading_is_given_to_a_sub_agent_also_without_a_project(recorder: Any) -> None:
    outcome = await call(talk.delegate, recorder.context(None), task="Which owls?")
    assert (outcome.ok, outcome.content) == (True, "Read for: Which owls?")
    assert talk.delegate.risk == "read"
