"""Every built-in tool on a real workspace, a real repository and a real notebook."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.tools.conftest import Recorder

from jupyterlab_postdoc.protocol import Artifact, Cell, Plan
from jupyterlab_postdoc.providers.base import ToolOutcome
from jupyterlab_postdoc.tools import files, git, notebook, shell, talk
from jupyterlab_postdoc.tools.base import MAX_RESULT, Tool, ToolBox, ToolContext, tool
from jupyterlab_postdoc.tools.registry import all_tools


async def call(a_tool: Tool, context: ToolContext, **given: Any) -> ToolOutcome:
    return await a_tool.call(context, given)


def put(name: str, code: str) -> dict[str, Any]:
    return {"op": "put", "name": name, "code": code}


def test_a_tool_is_described_by_its_signature_and_docstring() -> None:
    spec = files.read_file.spec()
    assert spec["name"] == "read_file"
    assert spec["description"].startswith("Read a text file")
    assert spec["input_schema"]["required"] == ["path"]
    assert spec["input_schema"]["properties"]["limit"]["maximum"] == 2000
    assert spec["input_schema"]["additionalProperties"] is False
    names = {"plan", "read_file", "write_file", "edit_file", "shell", "nb_create", "nb_cells", "nb_edit", "nb_check"}
    assert set(all_tools().names()) >= names | {"nb_run", "git_commit", "ask_user", "finish"}
    json.dumps(all_tools().specs())


def test_a_toolbox_holds_only_what_the_persona_may_use() -> None:
    box = all_tools().only(["plan", "no_such_tool"])
    assert box.names() == ["plan"]
    assert box.get("shell") is None
    assert ToolBox([]).only(None).names() == []


@pytest.mark.parametrize(
    ("given", "word"),
    [
        ({}, "path"),
        ({"path": 3}, "path"),
        ({"path": "a", "surprise": 1}, "surprise"),
        ({"path": "a", "limit": 0}, "limit"),
    ],
)
async def test_wrong_input_is_answered_with_the_name_of_what_is_wrong(
    context: ToolContext, given: dict[str, Any], word: str
) -> None:
    outcome = await call(files.read_file, context, **given)
    assert not outcome.ok
    assert word in outcome.content


async def test_a_long_answer_keeps_head_and_tail_and_the_whole_as_a_blob(
    context: ToolContext, recorder: Recorder
) -> None:
    whole = "a" * MAX_RESULT + "b" * MAX_RESULT

    @tool(risk="read", title="Talking")
    async def talk_a_lot(_ctx: ToolContext) -> ToolOutcome:
        """Talk."""
        return ToolOutcome(True, whole)

    outcome = await call(talk_a_lot, context)
    assert outcome.blob is not None
    assert recorder.blobs[outcome.blob].decode() == whole
    assert outcome.content.startswith("aaa")
    assert outcome.content.endswith("bbb")
    assert "characters left out" in outcome.content
    assert outcome.data["truncated"]
    assert len(outcome.content) < MAX_RESULT + 100


async def test_files_are_written_read_and_edited(context: ToolContext) -> None:
    assert (await call(files.write_file, context, path="data/notes.md", content="one\ntwo\ntwo\n")).ok
    read = await call(files.read_file, context, path="data/notes.md", offset=2, limit=1)
    assert read.content == "    2  two\n… 1 more lines; read on with offset=3"
    twice = await call(files.edit_file, context, path="data/notes.md", old="two", new="2")
    assert not twice.ok
    assert "occurs 2 times" in twice.content
    assert not (await call(files.edit_file, context, path="data/notes.md", old="three", new="3")).ok
    assert (await call(files.edit_file, context, path="data/notes.md", old="two", new="2", replace_all=True)).ok
    assert (context.project.root / "data/notes.md").read_text() == "one\n2\n2\n"


@pytest.mark.parametrize("path", ["../x", "/etc/passwd", ".git/config", "a/../../x", "x\0y"])
async def test_files_outside_the_project_are_out_of_reach(context: ToolContext, path: str) -> None:
    for outcome in (
        await call(files.write_file, context, path=path, content="x"),
        await call(files.read_file, context, path=path),
    ):
        assert not outcome.ok
        assert outcome.data["code"] in ("forbidden", "bad_message")


async def test_the_notebook_is_not_written_as_a_file(context: ToolContext) -> None:
    outcome = await call(files.write_file, context, path="notebook.py", content="x = 1")
    assert not outcome.ok
    assert "nb_edit" in outcome.content


async def test_an_edit_that_was_made_before_a_crash_is_recognised(context: ToolContext) -> None:
    given = {"path": "a.txt", "old": "cat", "new": "dog", "replace_all": False}
    await call(files.write_file, context, path="a.txt", content="a cat")
    assert files.edit_file.reconcile is not None
    assert await files.edit_file.reconcile(context, given) is None
    await call(files.edit_file, context, **given)
    again = await files.edit_file.reconcile(context, given)
    assert again is not None
    assert again.ok


async def test_shell_runs_in_the_project_without_secrets(context: ToolContext, recorder: Any) -> None:
    outcome = await call(shell.shell, context, command="pwd; echo $HOME; env | cut -d= -f1 | sort; exit 3")
    assert not outcome.ok
    assert outcome.data["returncode"] == 3
    assert "exit code 3" in outcome.content
    assert "TOKEN" not in outcome.content
    assert recorder.output


async def test_shell_is_stopped_at_its_time_limit_and_keeps_its_output(context: ToolContext) -> None:
    outcome = await call(shell.shell, context, command="echo begun; sleep 30", timeout_s=0.5)
    assert not outcome.ok
    assert "stopped after 0.5 s" in outcome.content
    assert "begun" in outcome.content


async def test_a_command_cut_off_by_a_crash_is_never_run_again(context: ToolContext) -> None:
    assert shell.shell.reconcile is not None
    outcome = await shell.shell.reconcile(context, {"command": "rm data"})
    assert outcome is not None
    assert not outcome.ok
    assert "unknown" in outcome.content


async def test_commits_are_named_and_made_once(context: ToolContext) -> None:
    await call(files.write_file, context, path="a.txt", content="a")
    first = await call(git.git_commit, context, message="Add a\n\nBecause.")
    assert first.ok
    assert git.git_commit.reconcile is not None
    found = await git.git_commit.reconcile(context, {"message": "Add a"})
    assert found is not None
    assert found.data["commit"] == first.data["commit"]
    await call(files.write_file, context, path="b.txt", content="b")
    sha = await context.project.commit("Again", step="call1")
    assert sha == first.data["commit"], "the same step commits once"


async def test_plan_and_question_reach_the_researcher(context: ToolContext, recorder: Any) -> None:
    items = [{"text": "load", "state": "done"}, {"text": "fit", "state": "active"}]
    assert (await call(talk.plan, context, items=items)).ok
    assert isinstance(recorder.events[-1], Plan)
    assert not (await call(talk.plan, context, items=[{"text": "x", "state": "maybe"}])).ok
    answer = await call(talk.ask_user, context, question="Which colour?", options=["red", "blue"])
    assert answer.content == "blue"
    assert recorder.questions == [("Which colour?", ["red", "blue"])]


async def test_finish_needs_a_verdict(context: ToolContext) -> None:
    early = await call(talk.finish, context, summary="Done.")
    assert not early.ok
    assert not early.ends_run
    assert "nb_run" in early.content
    context.project.workspace.write_text("results.json", '{"claim": "x", "supported": false}')
    outcome = await call(talk.finish, context, summary="Done.")
    assert outcome.ends_run
    assert outcome.data["verdict"]["supported"] is False


async def test_a_notebook_is_written_checked_and_run(context: ToolContext, recorder: Any) -> None:
    assert (await call(notebook.nb_create, context, title="Owls")).ok
    assert any(isinstance(event, Artifact) and event.artifact == "notebook" for event in recorder.events)
    changes = [put("numbers", "x = 2\ny = x * undefined_thing"), put("verdict", 'verdict = {"estimate": x}\nverdict')]
    edited = await call(notebook.nb_edit, context, changes=changes)
    assert edited.ok
    checked = await call(notebook.nb_check, context)
    assert not checked.ok
    assert "undefined_thing" in checked.content
    assert (await call(notebook.nb_edit, context, changes=[put("numbers", "x = 2\nprint('two')")])).ok
    assert (await call(notebook.nb_check, context)).ok
    ran = await call(notebook.nb_run, context)
    assert ran.ok, ran.content
    assert ran.data["verdict"] == {"estimate": 2}
    assert json.loads((context.project.root / "results.json").read_text()) == {"estimate": 2}
    assert {event.cell for event in recorder.events if isinstance(event, Cell)} == {"numbers", "verdict"}
    assert any("Running cell" in line for line, _ in recorder.lines)
    assert all(progress is None or 0 <= progress <= 1 for _, progress in recorder.lines)
    listed = await call(notebook.nb_cells, context)
    assert "# numbers [ok]" in listed.content


async def test_a_failing_cell_is_named_with_its_error(context: ToolContext, recorder: Any) -> None:
    await call(notebook.nb_create, context, title="Owls")
    changes = [put("bad", "z = 1 / 0"), put("after", "w = z + 1"), put("fine", "v = 1")]
    await call(notebook.nb_edit, context, changes=changes)
    ran = await call(notebook.nb_run, context)
    assert not ran.ok
    assert ran.data["failed"] == ["bad"]
    assert ran.data["skipped"] == ["after"]
    assert "ZeroDivisionError" in ran.data["errors"]["bad"]
    states = {event.cell: event.status for event in recorder.events if isinstance(event, Cell)}
    assert states == {"bad": "error", "after": "skipped", "fine": "ok"}


async def test_an_edit_of_cells_before_a_crash_is_recognised(context: ToolContext) -> None:
    await call(notebook.nb_create, context, title="Owls")
    given = {"changes": [put("a", "a = 1"), {"op": "delete", "name": "gone"}]}
    reconcile = notebook.nb_edit.reconcile
    assert reconcile is not None
    assert await reconcile(context, given) is None
    await call(notebook.nb_edit, context, changes=[put("a", "a = 1")])
    found = await reconcile(context, given)
    assert found is not None
    assert found.ok
    assert await reconcile(context, {"changes": [put("a", "a = 2")]}) is None


@pytest.mark.parametrize(
    "changes",
    [[], [{"op": "burn", "name": "a"}], [{"op": "put", "name": "a"}], [put("not a name", "x = 1")], "x"],
)
async def test_impossible_edits_are_refused_with_a_sentence(context: ToolContext, changes: Any) -> None:
    await call(notebook.nb_create, context, title="Owls")
    outcome = await call(notebook.nb_edit, context, changes=changes)
    assert not outcome.ok
    assert outcome.content


async def test_a_tool_of_another_package_is_a_function_with_hints(context: ToolContext) -> None:
    @tool(risk="read", title="Counting")
    async def count(ctx: ToolContext, words: list[str], least: int = 1) -> ToolOutcome:
        """Count long words."""
        return ToolOutcome(True, str(sum(len(word) >= least for word in words)))

    assert (await call(count, context, words=["a", "bb"], least=2)).content == "1"
    assert count.title({}) == "Counting"
