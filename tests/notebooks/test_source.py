"""A notebook's text as cells: as marimo itself reads it, and whatever the text holds."""

from __future__ import annotations

import textwrap
import time
from pathlib import Path

import pytest

from jupyterlab_postdoc.notebooks import source
from jupyterlab_postdoc.notebooks.compare import compare, counts, same
from jupyterlab_postdoc.notebooks.source import SourceCell
from jupyterlab_postdoc.notebooks.worker import author

ROOT = Path(__file__).parents[2]
KNOWN = [*ROOT.glob("research_templates/*/notebook.py"), *ROOT.glob("notebooks/**/*.py")]


def notebook(*cells: tuple[str, str]) -> str:
    """A notebook's file with these cells, as marimo writes it."""
    made = author.Notebook("", [], {"width": "medium"}, "")
    made.cells = [author.Cell(name, code) for name, code in cells]
    return author.generate(made)


def cells_of(text: str) -> list[tuple[str, str]]:
    found = source.cells(text)
    assert found is not None
    return [(cell.name, cell.code) for cell in found]


@pytest.mark.parametrize("path", KNOWN, ids=lambda path: path.parent.name)
def test_the_cells_are_those_that_marimo_reads(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert cells_of(text) == [(cell.key, cell.code) for cell in author.parse(text).cells]


@pytest.mark.parametrize(
    "code",
    [
        "x = 1",
        "",
        "# only a comment",
        'text = """\nat the margin\n    and not\n"""\ny = text',
        'mo.md(f"""\n# A title\n{x}\n""")',
        "def f():\n    return 1\n\nf()",
        "def f():\n    return 1",
        "if x:\n    y = 1\nelse:\n    y = 2\n# after all",
        "x = (\n    1,\n\n    2,\n)",
        "x = {'a': lambda b: b}[  # why\n    'a']",
        "async def g():\n    await h()",
        "class A:\n    x: int = 1",
        "return_ = 1",
        "x = 1 +",
        "import os; y = 2",
        "for i in range(3):\n\n    print(i)\n",
    ],
)
def test_every_kind_of_cell_comes_back(code: str) -> None:
    text = notebook(("first", "x = 0"), ("", code), ("last", "z = 3"))
    assert cells_of(text) == [(cell.key, cell.code) for cell in author.parse(text).cells]
    assert cells_of(text.replace("\n", "\r\n")) == cells_of(text)


def test_a_setup_cell_and_a_header() -> None:
    text = "# /// script\n# dependencies = []\n# ///\n\n" + notebook(("setup", "import os"), ("a", "x = os.name"))
    assert cells_of(text) == [("setup", "import os"), ("a", "x = os.name")]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "print('no notebook')",
        "app = marimo.App()\n@app.cell\ndef f(:\n    x = '''",
        "app = marimo.App()\n\n@app.cell\ndef a():\n    x = 1\n  y = 2\n",
        "app = marimo.App()\n\n@app.cell\ndef a():\n\tx = 1\n        y = 2\n   z = 1",
        "app = marimo.App()\n" + "(" * 100_000,
        "app = marimo.App()\n@app.cell",
        "app = marimo.App()\n@app.cell\ndef",
        "app = marimo.App()\n@app.cell\ndef a",
        "app = marimo.App()\napp._unparsable_cell(",
        "app = marimo.App()\napp._unparsable_cell('\\x')",
        "app = marimo.App()\nwith app.setup",
        "app = marimo.App()\n" + "x" * (source.MAX_TEXT + 1),
        "app = marimo.App()\n" + "@app.cell\ndef a(): pass\n" * (source.MAX_CELLS + 1),
        "app = marimo.App()\0\n@app.cell\ndef a():\n    x = '\0'\n",
    ],
)
def test_what_is_no_notebook_is_none_or_harmless(text: str) -> None:
    found = source.cells(text)
    assert found is None or all(isinstance(cell, SourceCell) for cell in found)
    (change, *_rest) = compare(text, text + "\n# more") or [None]
    assert change is None or change.name


@pytest.mark.parametrize(
    "deep", ["-" * 200_000 + "1", "a" + ".b" * 200_000, "a" + "()" * 100_000, "not " * 100_000 + "a"]
)
def test_depth_costs_no_stack(deep: str) -> None:
    """Compiling such a line ends the process on some systems; it is only read."""
    text = f"import marimo\n\napp = marimo.App()\n\n\n@app.cell\ndef a():\n    x = {deep}\n    return (x,)\n"
    begin = time.monotonic()
    assert cells_of(text) == [("a", f"x = {deep}")]
    assert time.monotonic() - begin < 10


def test_cells_that_were_added_changed_removed_and_moved() -> None:
    before = notebook(("a", "x = 1"), ("b", "y = 2"), ("c", "z = 3"), ("d", "w = 4"))
    after = notebook(("d", "w = 4"), ("a", "x = 1"), ("b", "y = 20"), ("e", "v = 5"))
    found = compare(before, after)
    assert [(one.name, one.change) for one in found] == [
        ("d", "moved"),
        ("a", "same"),
        ("b", "changed"),
        ("c", "removed"),
        ("e", "added"),
    ]
    assert (found[2].before, found[2].after) == ("y = 2", "y = 20")
    assert counts(found) == {"added": 1, "changed": 1, "removed": 1}


def test_cells_without_names_are_known_by_what_they_hold() -> None:
    long = "\n".join(f"a{i} = {i}" for i in range(6))
    before = notebook(("", "x = 1"), ("", long), ("", "z = 3"))
    after = notebook(("", "new = 0"), ("", "x = 1"), ("", long.replace("a3 = 3", "a3 = 33")))
    assert [(one.name, one.change) for one in compare(before, after)] == [
        ("_1", "added"),
        ("_2", "same"),
        ("_3", "changed"),
        ("_3", "removed"),
    ]


def test_a_cell_that_got_a_name_is_the_same_cell() -> None:
    (change,) = compare(notebook(("", "x = 1")), notebook(("load", "x = 1")))
    assert (change.name, change.change) == ("load", "same")


def test_no_file_before_and_none_after() -> None:
    text = notebook(("a", "x = 1"))
    assert [one.change for one in compare(None, text)] == ["added"]
    assert [one.change for one in compare(text, None)] == ["removed"]
    assert compare(None, None) == []


def test_a_file_that_is_no_notebook_is_one_text() -> None:
    (change,) = compare(notebook(("a", "x = 1")), "not a notebook", "notebook.py")
    assert (change.name, change.change, change.after) == ("notebook.py", "changed", "not a notebook")


def test_many_cells_alike_take_no_time() -> None:
    code = "\n".join(f"x{i} = {i}" for i in range(40))
    many = "".join(
        f"@app.cell\ndef _():\n{textwrap.indent(code.replace('= 7', f'= {n}'), '    ')}\n    return\n\n\n"
        for n in range(300)
    )
    head = "import marimo\n\napp = marimo.App()\n\n\n"
    begin = time.monotonic()
    assert len(compare(head + many, head + many.replace("x1 =", "y1 ="))) >= 300
    assert time.monotonic() - begin < 10


def test_prose_that_an_editor_sets_anew_is_the_same() -> None:
    assert same('mo.md(f"three is {two + 1}")', 'mo.md(f"""\nthree is {two + 1}\n""")')
    assert same('mo.md(r"""\n    # A\n\n    b\n""")', 'mo.md("""\n# A\n\nb\n""")')
    assert not same('mo.md(f"three is {two + 1}")', 'mo.md(f"three is {two + 2}")')
    assert not same('mo.md("a b")', 'mo.md("ab")')
    assert not same('mo.md("a")\nx = 1', 'mo.md("a")\nx = 2')
    assert not same('mo.md("a")', None)
    assert not same("x = 1", "x  = 1")
