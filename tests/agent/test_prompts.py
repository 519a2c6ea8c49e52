"""What a model is told: true of the tools and of marimo, stable within a session, and with its parts in their order."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests.notebooks.support import put, runtime

from jupyterlab_postdoc.agent import prompts
from jupyterlab_postdoc.agent.personas import Personas
from jupyterlab_postdoc.errors import PostdocError
from jupyterlab_postdoc.forge.local import LocalForge
from jupyterlab_postdoc.forge.study import Study
from jupyterlab_postdoc.notebooks.batch import BatchRuntime
from jupyterlab_postdoc.templates import TemplateRegistry
from jupyterlab_postdoc.tools.base import ToolBox
from jupyterlab_postdoc.tools.project import Project
from jupyterlab_postdoc.tools.registry import all_tools
from jupyterlab_postdoc.tools.talk import VERDICT_KEYS
from jupyterlab_postdoc.workspace.git import Git
from jupyterlab_postdoc.workspace.sandbox import choose, probe
from jupyterlab_postdoc.workspace.workspace import Workspace

TEXTS = {path.stem: path.read_text() for path in (Path(prompts.__file__).parent / "texts").glob("*.md")}
CELL = re.compile(r"^# --- (\w+)\n", re.M)


async def project(root: Path) -> Project:
    root.mkdir()
    workspace = Workspace(root, sandbox=choose(await probe(), trusted=True, allow_unsandboxed=True))
    study = Study("Do owls\nsleep?", "", "owls", "", "", "anthropic", "c1", "r1", "Ana", 0.0)
    return Project(study, workspace, BatchRuntime(workspace), Git(), LocalForge(root, Git()), "research/owls")


def example() -> dict[str, str]:
    block = TEXTS["study"].partition("```python\n")[2].partition("```")[0]
    parts = CELL.split(block)[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True))


def test_every_tool_that_is_named_exists() -> None:
    known = set(all_tools().names())
    for name, text in TEXTS.items():
        assert set(re.findall(r"^\[(\w+)\]", text, re.M)) <= known, name
        called = set(re.findall(r"`((?:nb|py|git|list|use|ask|read|write|edit|fetch)_\w+)`", text))
        assert called <= known, name


def test_the_keys_of_the_verdict_are_those_of_the_documentation() -> None:
    documented = re.search(r"plain JSON:\n\n(.+)\n", (Path(__file__).parents[2] / "docs/templates.md").read_text())
    assert documented is not None
    keys = [word.split(" (")[0] for word in documented[1].strip().split(", ")]
    assert tuple(keys) == VERDICT_KEYS
    told = TEXTS["study"].partition("exactly these keys:")[2].partition("Use None")[0]
    assert [key for key in re.findall(r"`(\w+)`", told) if key != "question"] == keys


async def test_the_example_is_a_notebook_that_runs_and_says_what_it_should(tmp_path: Path) -> None:
    cells = example()
    async with runtime(tmp_path) as notebook:
        await notebook.create("notebook.py", title="Example")
        edited = await notebook.edit([put(name, code) for name, code in cells.items()])
        assert edited.issues == ()
        assert edited.cells == tuple(cells)
        assert await notebook.check() == []
        report = await notebook.run()
    assert report.ok, report.message
    assert report.figures == ("figures/figure.png",)
    assert report.verdict is not None
    assert tuple(report.verdict) == VERDICT_KEYS
    assert report.verdict["supported"] is True
    said = {cell.name: cell.outputs[0].text for cell in report.cells if cell.outputs}
    assert f"{report.verdict['estimate']:.1f} ms" in said["result"]


@pytest.mark.parametrize(
    ("cells", "found"),
    [
        ({"a": "x = 1", "b": "x = 2"}, "is defined in cells a and b"),
        ({"a": "x = 1", "b": "x += 1"}, "is defined in cells a and b"),
        ({"a": "for i in range(3):\n    pass", "b": "for i in range(3):\n    pass"}, "is defined in cells a and b"),
        ({"a": "x = y", "b": "y = x"}, "need each other"),
        ({"a": "return 1"}, "not valid Python"),
        ({"a": "from math import *"}, "not valid Python"),
        ({"a": "import math", "b": "import math"}, "is defined in cells a and b"),
        ({"setup": "x = y", "a": "y = 1"}, "runs first"),
        ({"a": "import nobody_has_this"}, "not installed"),
        ({"a": "_x = 1", "b": "y = _x"}, "exists only in its own cell"),
    ],
)
async def test_what_the_rules_forbid_is_what_the_check_finds(tmp_path: Path, cells: dict[str, str], found: str) -> None:
    async with runtime(tmp_path) as notebook:
        await notebook.create("notebook.py", title="Rules")
        edited = await notebook.edit([put(name, code) for name, code in cells.items()])
    assert any(issue.severity == "error" and found in issue.message for issue in edited.issues), edited.issues


async def test_what_the_rules_say_of_private_names_values_controls_and_functions(tmp_path: Path) -> None:
    cells = {
        "setup": "import marimo as mo",
        "first": "_i = 1\nshown = _i\nshown",
        "second": "_i = 2\n_i",
        "slider_cell": "slider = mo.ui.slider(1, 9, value=4)",
        "value": "slider.value",
        "inside": "if True:\n    mo.md('not shown')",
        "some_name": "def double(x):\n    return 2 * x",
        "parameter": "n = int(mo.cli_args().get('n', 5))\nn",
        "formula": 'mo.md(rf"$\\frac{{1}}{{{n}}}$")',
    }
    async with runtime(tmp_path) as notebook:
        await notebook.create("notebook.py", title="Rules")
        edited = await notebook.edit([put(name, code) for name, code in cells.items()])
        assert edited.issues == ()
        assert "double" in edited.cells
        assert "@app.function\ndef double" in (notebook.root / "notebook.py").read_text()
        report = await notebook.run(args=["--n", "7"])
        with pytest.raises(PostdocError, match="reserved"):
            await notebook.edit([put("_hidden", "1")])
    shown = {cell.name: cell.outputs[0].text if cell.outputs else None for cell in report.cells}
    assert report.ok, report.message
    assert (shown["first"], shown["second"], shown["value"], shown["parameter"]) == ("1", "2", "4", "7")
    assert shown["inside"] is None
    assert shown["formula"] is not None
    assert "\\frac{1}{7}" in shown["formula"]


async def test_the_parts_go_with_the_tools(tmp_path: Path) -> None:
    place = await project(tmp_path / "p")
    personas, templates = Personas(), TemplateRegistry()
    tools = all_tools()

    def told(persona: str, project: Project | None = place, box: ToolBox = tools) -> str:
        cut = box.where(lambda tool: personas.get(persona).allows(tool.name))
        return prompts.system_prompt(
            personas.get(persona), base="BASE", project=project, templates=templates, tools=cut
        )

    researcher, reviewer = told("researcher"), told("reviewer")
    assert researcher == told("researcher")
    assert researcher.startswith("BASE\n\nYou are a research scientist.")
    assert "Do owls sleep?" in researcher
    assert "numpy 2" in researcher
    assert "`equity_signal`" in researcher
    assert "{packages}" not in researcher
    for heading in ("## Honesty", "## What counts as an instruction", "## marimo's rules", "## How you work",
                    "## What a good study is", "## Templates", "## This project"):  # fmt: skip
        assert researcher.count(heading) == 1
    assert "## The project you look at" in reviewer
    for absent in ("nb_edit", "nb_run", "use_template", "## How you work", "## Templates"):
        assert absent not in reviewer
    without = told("researcher", None, ToolBox([]))
    assert "## No project in this chat" in without
    assert "## How you work" not in without
    assert "delegate" not in told("researcher", place, tools.where(lambda tool: tool.name != "delegate"))
    for text in (researcher, reviewer, without):
        assert not re.search(r"^\[\w+\]", text, re.M)
        assert "\n\n\n" not in re.sub(r"```python.*?```", "code", text, flags=re.S)
    assert 1_200 <= len(researcher.split()) <= 2_400


def test_the_task_names_template_parameters_and_limits() -> None:
    registry = TemplateRegistry()
    given = {"topic": " Short-term reversal ", "params": {"lookback": 5, "data": None}, "budget": {"turns": 9}}
    fits = prompts.research_prompt(given, registry.get("equity_signal"), registry)
    assert "the template `equity_signal`" in fits
    assert '"lookback": 5' in fits
    assert "null" not in fits
    assert "You have 9 turns." in fits
    nothing = prompts.research_prompt({"topic": "Owls"}, None, registry)
    assert "\n\nOwls\n\nNo template fits by its keywords." in nothing
    several = prompts.research_prompt({"topic": "Forecast; versus"}, None, registry)
    assert "Several templates may fit: forecast, group_comparison." in several
