"""Finding, checking and rendering templates; marimo itself is the judge of what a notebook file means."""

from __future__ import annotations

import ast
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from jupyterlab_postdoc.errors import PostdocError
from jupyterlab_postdoc.templates import CellSource, Template, TemplateRegistry, check, scaffold, warnings
from jupyterlab_postdoc.templates.names import Names, names
from jupyterlab_postdoc.templates.registry import package_root
from jupyterlab_postdoc.templates.source import NotebookSyntaxError, parse_cells, render_study

STARTER = package_root().parent / "extension" / "jupyterlab_postdoc" / "templates" / "starter" / "notebook.py.txt"
NOTEBOOKS = [*sorted(package_root().glob("*/notebook.py")), STARTER]
AWKWARD = '''
import marimo

app = marimo.App()

with app.setup(hide_code=True):
    # a comment first
    import marimo as mo

    text = """
    moves with the code
      two
    """


@app.cell
def study():
    study = {"a": 1}
    return (study,)


@app.cell
def load(
    study,  # a colon: here
    other: int = {"a": 1}["a"],
) -> None:
    # leading comment

    x = """abc
      def
stays left"""
    y = f"""
    {study}
      deeper
    """

    y  # tail
    # closing comment
    return x, y


@app.cell
def empty(x): return


@app.cell(hide_code=True, disabled=False)
def _(x):
    mo.md(
        rf"""
    hello \\alpha {x}
    """
    )
    return


@app.cell
def no_return(y):
    y
    # last words


@app.function
def f(a):
    """doc

    more
    """
    return a


@app.class_definition(hide_code=True)
class K:
    a = 1


if __name__ == "__main__":
    app.run()
'''


def marimo_cells(text: str) -> list[CellSource]:
    from marimo._internal.converters import MarimoConvert

    cells = MarimoConvert.from_py(text).to_notebook_v1()["cells"]
    return [CellSource(c["name"], c["code"].strip(), bool(c["config"].get("hide_code"))) for c in cells]


def marimo_file(cells: list[CellSource]) -> str:
    from marimo._internal.converters import MarimoConvert

    return MarimoConvert.from_notebook_v1(
        {
            "version": "1",
            "metadata": {"marimo_version": None},
            "cells": [
                {
                    "id": None,
                    "name": c.name,
                    "code": c.code,
                    "code_hash": None,
                    "config": {"hide_code": c.hide_code, "column": None, "disabled": False, "expand_output": None},
                }
                for c in cells
            ],
        }
    ).to_py()


def graph(path: Path) -> dict[str, tuple[set[str], set[str]]]:
    from marimo._ast.app import InternalApp
    from marimo._ast.load import load_app

    app = load_app(str(path))
    assert app is not None
    internal = InternalApp(app)
    names = {data.cell_id: data.name for data in internal.cell_manager.cell_data()}
    return {names[key]: (set(cell.defs), set(cell.refs)) for key, cell in internal.graph.cells.items()}


def compiled_names(code: str) -> Names:
    from marimo._ast.compiler import compile_cell

    cell = compile_cell(code, cell_id="1")  # type: ignore[arg-type]
    return Names(frozenset(cell.defs), frozenset(cell.refs))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.parent.name)
def test_cells_are_read_as_marimo_reads_them(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    ours = list(parse_cells(text))
    theirs = marimo_cells(text)
    assert [c.name for c in ours] == [c.name for c in theirs]
    for our, their in zip(ours, theirs, strict=True):
        # marimo drops a comment behind the last statement of a function; we keep it.
        assert our.code.startswith(their.code)
        assert ast.dump(ast.parse(our.code)) == ast.dump(ast.parse(their.code))
        assert our.hide_code == their.hide_code


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.parent.name)
def test_names_are_found_as_marimo_finds_them(path: Path) -> None:
    for cell in parse_cells(path.read_text(encoding="utf-8")):
        assert names(cell.code) == compiled_names(cell.code), cell.name


NAMES = """
import a.b, c as d
from e import f
x = [i for i in y if z(i)]
same = [same2 for same2 in same2]
def g(p: kind = q, r=r2, *, k=k) -> "R":
    loc = p + outside
    return [v * loc for v in seq] + list(args for args in g(p))
@deco
class K(Base, metaclass=meta):
    attr = about
    def m(self):
        return free
for n, (o, *rest) in rng:
    pass
try:
    pass
except Err as err:
    pass
match subject:
    case {"k": value, **others}:
        pass
    case Point(x=px) if px > limit:
        pass
    case [_, *more]:
        pass
_own = lambda w, /, u=u0: w + u + deep
(wal := call(_own))
count += 1
text = f"{shown} {[h for h in hs]!r}"
with opened() as (one, two["key"]):
    del one
"""


def test_every_way_to_bind_a_name() -> None:
    found = names(NAMES)
    assert found == compiled_names(NAMES)
    assert {"deep", "free", "outside", "about", "r2", "u0", "same2"} <= found.reads


def test_awkward_layouts_are_read_as_marimo_reads_them() -> None:
    ours, theirs = parse_cells(AWKWARD), marimo_cells(AWKWARD)
    assert ours[-3].code == "y\n# last words"  # marimo loses the line break here
    for our, their in zip(ours, theirs, strict=True):
        assert our.name == their.name
        assert our.name == "no_return" or our.code == their.code


@pytest.mark.parametrize("path", NOTEBOOKS[:-1], ids=lambda path: path.parent.name)
def test_generated_file_has_the_same_graph(path: Path, tmp_path: Path) -> None:
    template = TemplateRegistry().get(path.parent.name)
    cells = template.cells(topic="a topic", parameters=template.validate_parameters({}), study={"session": "s-1"})
    generated = tmp_path / "notebook.py"
    generated.write_text(marimo_file(cells), encoding="utf-8")
    assert graph(generated) == graph(path)
    assert parse_cells(generated.read_text(encoding="utf-8"))[1:] == tuple(cells)[1:]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("def broken(:\n", "not valid Python at line 1"),
        ("x = 1\x00", "not valid Python"),
        ('app._unparsable_cell("x =", name="a")\n', "not valid Python (line 1)"),
        ("@app.cell\ndef a(): x = 1; return (x,)\n", "on its own line"),
    ],
)
def test_unreadable_notebooks_are_refused(text: str, words: str) -> None:
    with pytest.raises(NotebookSyntaxError, match=words.replace("(", r"\(").replace(")", r"\)")):
        parse_cells(text)


plain_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=300, deadline=None)
@given(
    topic=st.text(st.characters(exclude_categories=["Cs"]))
    | st.sampled_from(['"""', "'''\n\\", "{x}\"'", "\\", "\x0c\u2028"]),
    values=st.dictionaries(st.text(), plain_json, max_size=5),
)
def test_a_topic_is_data_and_never_code(topic: str, values: dict[str, object]) -> None:
    code = render_study({"topic": topic, "parameters": values, "session": ""})
    tree = ast.parse(code)
    assert len(tree.body) == 1
    assert isinstance(tree.body[0], ast.Assign)
    assert ast.literal_eval(tree.body[0].value) == {"topic": topic, "parameters": values, "session": ""}
    # Nothing but literals: no name, call or f-string can be reached from a topic.
    assert not any(isinstance(node, ast.Call | ast.JoinedStr | ast.Attribute) for node in ast.walk(tree))
    # The file format indents the body; no line may start a new statement there.
    indented = "def study():\n" + "\n".join("    " + line for line in code.split("\n"))
    assert len(ast.parse(indented).body[0].body) == 1  # type: ignore[attr-defined]


def test_rendered_topic_survives_the_notebook_file() -> None:
    topic = 'Say "hi" to {study}; \\n """ mo.md(1)\n# heading'
    template = TemplateRegistry().get("group_comparison")
    text = marimo_file(template.cells(topic=topic, parameters={"data": "x"}, study={"seed": 3, "topic": "ignored"}))
    study = next(c.code for c in marimo_cells(text) if c.name == "study")
    value = ast.literal_eval(study.removeprefix("study = "))
    assert value == {
        "topic": topic,
        "template": "group_comparison",
        "version": template.version,
        "parameters": {"data": "x"},
        "session": "",
        "seed": 3,
    }


def test_values_that_are_not_json_are_refused() -> None:
    template = TemplateRegistry().get("group_comparison")
    for value in (float("nan"), {1, 2}, object()):
        with pytest.raises(PostdocError) as caught:
            template.cells(topic="t", parameters={"data": value}, study={})
        assert caught.value.code == "bad_message"


@pytest.fixture
def template() -> Template:
    return TemplateRegistry().get("group_comparison")


def test_parameters_are_coerced_and_completed(template: Template) -> None:
    assert template.validate_parameters({"data": "d.csv", "seed": "12", "margin": "0.5"}) == {
        "data": "d.csv",
        "group": "group",
        "outcome": "outcome",
        "reference": "",
        "margin": 0.5,
        "seed": 12,
    }


@pytest.mark.parametrize(
    ("given_values", "words"),
    [
        ({"seed": "1.5"}, ["`seed`", "'1.5'", "a whole number from 0 to 2147483647"]),
        ({"seed": "abc"}, ["`seed`", "whole number"]),
        ({"margin": "9"}, ["`margin`", "a number from 0 to 5"]),
        ({"margin": "nan"}, ["`margin`", "a number from 0 to 5"]),
        ({"group": ""}, ["`group`"]),
        ({"data": 3}, ["`data`", "a path to a data file"]),
        ({"seed": True}, ["`seed`"]),
    ],
)
def test_bad_parameters_are_explained(template: Template, given_values: dict[str, object], words: list[str]) -> None:
    with pytest.raises(PostdocError) as caught:
        template.validate_parameters(given_values)
    assert caught.value.code == "bad_message"
    assert caught.value.next
    for word in words:
        assert word in caught.value.message


def test_unknown_parameter_proposes_the_close_one(template: Template) -> None:
    with pytest.raises(PostdocError) as caught:
        template.validate_parameters({"grop": "x"})
    assert "`grop`" in caught.value.message
    assert "`group`" in caught.value.next


def test_unknown_template_proposes_the_close_one() -> None:
    with pytest.raises(PostdocError) as caught:
        TemplateRegistry().get("group-comparision")
    assert caught.value.code == "not_found"
    assert "`group_comparison`" in caught.value.next


@pytest.mark.parametrize(
    ("topic", "name"),
    [
        ("Compare the two groups of patients", "group_comparison"),
        ("Placebo versus drug", "group_comparison"),
        ("Data Quality of the survey", "dataset_profile"),
        ("Missing values in our messy tables", "dataset_profile"),
        ("quantum gravity", None),
        ("", None),
    ],
)
def test_a_topic_selects_its_template(topic: str, name: str | None) -> None:
    found = TemplateRegistry().match(topic)
    assert (found.name if found else None) == name


def write_template(root: Path, name: str, **changes: object) -> Path:
    folder = root / name
    scaffold(folder, name, f"Title of {name}")
    described = yaml.safe_load((folder / "template.yaml").read_text())
    (folder / "template.yaml").write_text(yaml.safe_dump({**described, **changes}))
    return folder


def test_a_tie_is_left_to_a_person(tmp_path: Path) -> None:
    write_template(tmp_path, "one", topics=["glacier melt"])
    write_template(tmp_path, "two", topics=["glacier melt"])
    write_template(tmp_path, "three", topics=["alpine glacier melt", "氷河"])
    registry = TemplateRegistry([tmp_path])
    assert registry.match("Melting: glaciers melt") is None
    assert [t.name for t in registry.candidates("glacier melt")] == ["one", "two"]
    assert registry.match("Alpine-Glacier melts").name == "three"  # type: ignore[union-attr]
    assert registry.match("日本の氷河について").name == "three"  # type: ignore[union-attr]


def test_user_templates_win_and_are_not_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    mine = tmp_path / "postdoc" / "templates" / "group_comparison"
    shutil.copytree(package_root() / "group_comparison", mine)
    registry = TemplateRegistry()
    assert registry.get("group_comparison").origin == "user"
    assert registry.get("group_comparison").path == mine
    assert registry.get("dataset_profile").origin == "package"
    (mine / "template.yaml").write_text("name: group_comparison\n")
    assert registry.get("group_comparison").origin == "package"
    problems = dict(registry.problems())
    assert "required property" in problems[mine]


def test_broken_templates_do_not_hide_good_ones(tmp_path: Path) -> None:
    broken = {
        "yaml": ("template.yaml", "a: [1", "not valid YAML"),
        "version": ("template.yaml", None, "version"),
        "code": ("notebook.py", "def (", "not valid Python"),
        "study": ("notebook.py", "import marimo\napp = marimo.App()\n", "no cell named `study`"),
        "script": ("script.yaml", "turns: []", "`turns`"),
        "binary": ("notebook.py", b"\xff\xfe\x00", "not a UTF-8"),
    }
    for name, (file, content, _) in broken.items():
        folder = write_template(tmp_path, name, **({"version": 1.0} if content is None else {}))
        if isinstance(content, bytes):
            (folder / file).write_bytes(content)
        elif content is not None:
            (folder / file).write_text(content)
    write_template(tmp_path, "good")
    registry = TemplateRegistry([tmp_path])
    names = [t.name for t in registry.list()]
    assert "good" in names
    assert not set(broken) & set(names)
    found = {path.name: sentence for path, sentence in registry.problems()}
    for name, (_, _, words) in broken.items():
        assert words in found[name]


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    folder = write_template(tmp_path, "mine", summary="first")
    registry = TemplateRegistry([tmp_path])
    first = registry.get("mine")
    assert registry.get("mine") is first
    text = (folder / "template.yaml").read_text().replace("summary: first", "summary: second words")
    (folder / "template.yaml").write_text(text)
    assert registry.get("mine").summary == "second words"


def test_entry_points_bring_templates_and_failures_are_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_template(tmp_path / "templates_of_plugin", "from_plugin")
    (tmp_path / "templates_of_plugin" / "__init__.py").write_text("")
    dist = tmp_path / "plugin-1.0.dist-info"
    dist.mkdir()
    (dist / "METADATA").write_text("Metadata-Version: 2.1\nName: plugin\nVersion: 1.0\n")
    (dist / "entry_points.txt").write_text(
        "[jupyterlab_postdoc.templates]\nours = templates_of_plugin\ngone = no_such_module_here\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    registry = TemplateRegistry()
    assert registry.get("from_plugin").origin == "entry_point"
    assert any("no_such_module_here" in sentence for _, sentence in registry.problems())
    assert "group_comparison" in [t.name for t in registry.list()]


@pytest.mark.parametrize(
    "folder", sorted(p.parent for p in package_root().glob("*/template.yaml")), ids=lambda p: p.name
)
def test_package_templates_pass_their_check(folder: Path) -> None:
    assert check(folder) == []
    assert warnings(folder) == []
    template = TemplateRegistry().get(folder.name)
    assert template.origin == "package"
    assert json.loads(json.dumps(template.summary_dict()))["name"] == folder.name
    for cell in (folder / "repairs").glob("*.py"):
        assert template.repair(cell.stem)


def test_check_names_every_problem(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    scaffold(folder, "mine", "Mine")
    assert check(folder) == []
    notebook = (folder / "notebook.py").read_text()
    notebook = notebook.replace("def limitations():", "def other():").replace(
        '"parameters": {"data": "synthetic"', '"parameters": {"data": "x"'
    )
    (folder / "notebook.py").write_text(notebook)
    script = (folder / "script.yaml").read_text()
    script = (
        script.replace("plan: 4", "plan: 9")
        .replace("tool: finish", "tool: nonsense")
        .replace("{{ topic }}", "{{ topic")
    )
    (folder / "script.yaml").write_text(script)
    (folder / "repairs").mkdir()
    (folder / "repairs" / "nothing.py").write_text("x =")
    problems = "\n".join(check(folder))
    for words in (
        "`limitations` is missing",
        "data = 'x'",
        "`plan` is 9",
        "every call needs a `tool`",
        "never calls `finish`",
        "not a valid Jinja template",
        "writes the cell `limitations`",
        "never writes the cell `other`",
        "no cell `nothing`",
        "repairs/nothing.py is not valid Python",
    ):
        assert words in problems
    assert "not a folder" in check(tmp_path / "nowhere")[0]


def test_cells_that_are_written_before_what_they_use_are_named(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    scaffold(folder, "mine", "Mine")
    assert warnings(folder) == []
    script = (folder / "script.yaml").read_text()
    late = script.replace("[make_data, read_data, load]", "[load]").replace(
        "[analyse, estimate, result, figure]",
        "[read_data, estimate, result, figure]\n      - tool: nb_edit\n        cells: [analyse, make_data]",
    )
    (folder / "script.yaml").write_text(late)
    assert check(folder) == []
    assert warnings(folder) == [
        "script.yaml, turn `data`: the cell `load` uses `make_data`, `read_data`, defined only in turn `effect`. "
        "In a live notebook it shows no output until then; write what it uses in the same call or before.",
        "script.yaml, turn `effect`: the cell `estimate` uses `analyse`, defined only in a later call of it. "
        "In a live notebook it shows no output until then; write what it uses in the same call or before.",
    ]
    (folder / "script.yaml").write_text(late.replace("tool: finish", "tool: nonsense"))
    assert warnings(folder) == [], "first things first"


def test_scaffold_runs_and_is_found(tmp_path: Path) -> None:
    folder = tmp_path / "postdoc" / "templates" / "my_study"
    written = scaffold(folder, "my_study", 'Is "{it}" a \\ problem?  ünïcode')
    assert {path.name for path in written} == {"template.yaml", "notebook.py", "script.yaml"}
    template = TemplateRegistry([folder.parent]).get("my_study")
    assert template.title == 'Is "{it}" a \\ problem? ünïcode'
    done = subprocess.run([sys.executable, "notebook.py"], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lint = subprocess.run(
        [sys.executable, "-m", "marimo", "check", "--strict", "notebook.py"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert lint.returncode == 0, lint.stdout + lint.stderr


@pytest.mark.parametrize("name", ["Bad", "1x", "a-b", "", "../x", "a" * 65])
def test_scaffold_refuses_bad_names(tmp_path: Path, name: str) -> None:
    with pytest.raises(PostdocError, match="cannot name a template"):
        scaffold(tmp_path / "x", name, "Title")


def test_scaffold_never_overwrites(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(PostdocError) as caught:
        scaffold(tmp_path, "mine", "Mine")
    assert caught.value.code == "id_conflict"
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_repair_stays_inside_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    scaffold(folder, "mine", "Mine")
    (folder / "repairs").mkdir()
    (folder / "repairs" / "result.py").write_text("mo.md('shorter')\n")
    template = TemplateRegistry([tmp_path]).get("mine")
    assert template.repair("result") == "mo.md('shorter')"
    assert template.repair("load") is None
    assert template.repair("../notebook") is None


def test_importing_templates_imports_nothing_heavy() -> None:
    code = (
        "import sys, jupyterlab_postdoc.templates as t; r = t.TemplateRegistry();"
        "print([m for m in ('marimo', 'numpy', 'pandas', 'yaml', 'jsonschema', 'jinja2') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", ["dataset_profile", "group_comparison"])
def test_repaired_cells_run_in_place_of_the_originals(name: str, tmp_path: Path) -> None:
    template = TemplateRegistry().get(name)
    cells = [
        CellSource(cell.name, template.repair(cell.name) or cell.code, cell.hide_code)
        for cell in template.cells(topic="t", parameters=template.validate_parameters({}), study={})
    ]
    assert [cell.code for cell in cells] != [cell.code for cell in template.sources]
    (tmp_path / "notebook.py").write_text(marimo_file(cells), encoding="utf-8")
    done = subprocess.run([sys.executable, "notebook.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
