"""Cells to file and back, edits, conflicts, the check. One worker serves many small scenes."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from tests.notebooks.support import STUDY, Bench, put

from jupyterlab_postdoc.errors import PostdocError
from jupyterlab_postdoc.notebooks.base import Issue


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    made = Bench(tmp_path_factory.mktemp("author"))
    yield made
    made.close()


HEADER = '# /// script\n# requires-python = ">=3.11"\n# dependencies = ["marimo"]\n# ///\n'


def test_a_notebook_grows_by_batches_and_is_plain_marimo(bench: Bench) -> None:
    async def scene() -> None:
        async with bench.runtime() as nb:
            await nb.create("notebook.py", title='Say "hi"\n\\ {x}', header=HEADER, width="full")
            first = await nb.edit(
                [
                    put("setup", "import marimo as mo\nimport numpy as np"),
                    put("title", 'mo.md("# Hello")', hide_code=True),
                    put("double", "def double(x):\n    return 2 * np.asarray(x)"),
                    put("result", "r = double(4)\nr"),
                ]
            )
            assert first.cells == ("setup", "title", "double", "result")
            assert first.changed == first.cells
            assert [i for i in first.issues if i.severity == "error"] == []
            second = await nb.edit(
                [
                    put("data", "d = 3", after="title"),
                    {"op": "move", "name": "double", "after": ""},
                    put("result", "r = double(d)\nr"),
                    {"op": "delete", "name": "title"},
                ]
            )
            assert second.cells == ("setup", "double", "data", "result")
            assert second.deleted == ("title",)

    bench.go(scene())
    file = bench.root / "notebook.py"
    text = file.read_text()
    ast.parse(text)
    assert "@app.function\ndef double(x):" in text
    assert "with app.setup:\n    import marimo as mo" in text
    assert text.count("# /// script") == 1
    assert "numpy==" in text.partition("import marimo")[0]
    assert 'marimo.App(width="full", app_title="Say \'hi\' / {x}")' in text
    done = subprocess.run([sys.executable, str(file)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert [p.name for p in file.parent.iterdir() if p.suffix == ".tmp"] == []


@pytest.mark.parametrize(
    ("changes", "code", "words"),
    [
        ([], "bad_message", "no change"),
        ([{"op": "burn", "name": "a"}], "bad_message", "no known op"),
        ([put("two words", "1")], "bad_message", "cannot name a cell"),
        ([put("class", "1")], "bad_message", "cannot name a cell"),
        ([put("app", "1")], "bad_message", "reserved"),
        ([put("_x", "1")], "bad_message", "reserved"),
        ([{"op": "put", "name": "b"}], "bad_message", "no code"),
        ([{"op": "delete", "name": "nope"}], "not_found", "no cell 'nope'"),
        ([{"op": "move", "name": "a", "after": "nope"}], "not_found", "no cell 'nope'"),
        ([{**put("b", "y"), "after": "nope"}], "not_found", "no cell 'nope' to put another one behind"),
        ([{"op": "move", "name": "a", "after": "a"}], "bad_message", "cannot follow itself"),
        ([put("b", "x" * 300_000)], "too_large", "300,000 characters"),
    ],
)
def test_one_bad_change_refuses_the_whole_batch(bench: Bench, changes: Any, code: str, words: str) -> None:
    async def scene() -> None:
        async with bench.runtime() as nb:
            await nb.create("notebook.py", title="Shared")
            await nb.edit([put("a", "x = 1")])
            file = nb.root / "notebook.py"
            before = file.read_text()
            with pytest.raises(PostdocError) as info:
                await nb.edit([put("fine", "y = 1"), *changes] if changes else [])
            assert info.value.code == code
            assert words in info.value.message
            assert file.read_text() == before
            if "to put another one behind" in words:
                assert info.value.details == {"after": "nope", "cells": ["a", "fine"]}

    bench.go(scene())


def test_a_persons_change_is_never_overwritten_unseen(bench: Bench) -> None:
    async def scene() -> None:
        async with bench.runtime() as nb:
            await nb.create("notebook.py", title="t")
            await nb.edit([put("a", "x = 1"), put("b", "y = 2"), put("c", "z = 3")])
            file = nb.root / "notebook.py"
            file.write_text(file.read_text().replace("x = 1", "x = 100  # mine"))
            result = await nb.edit([put("b", "y = 20")])  # another cell: adapts
            assert result.changed == ("b",)
            assert "x = 100  # mine" in file.read_text()
            file.write_text(file.read_text().replace("y = 20", "y = 21"))
            before = file.read_text()
            with pytest.raises(PostdocError) as info:
                await nb.edit([put("c", "z = 4"), put("b", "y = 30")])
            assert info.value.code == "version_conflict"
            assert info.value.details == {"cell": "b", "theirs": "y = 21"}
            assert file.read_text() == before
            await nb.edit([put("b", "y = 30")])  # shown once, decided now
            assert "y = 30" in file.read_text()
            file.write_text(file.read_text().replace("@app.cell\ndef c():\n    z = 3\n    return\n", ""))
            with pytest.raises(PostdocError, match="was deleted by somebody else"):
                await nb.edit([put("c", "z = 5")])
            same = await nb.edit([put("b", "y = 30")])  # the same text again is no conflict and no write
            assert "c" not in same.cells

    bench.go(scene())


def test_code_that_does_not_parse_is_kept_and_reported(bench: Bench) -> None:
    broken = 'def f(:\n    """doc"""\n    return "\\n"'

    async def scene() -> tuple[list[Issue], str]:
        async with bench.runtime() as nb:
            await nb.create("notebook.py", title="t")
            await nb.edit([put("good", "x = 1"), put("bad", broken), put("setup", "import math")])
            cells = {c.name: c.code for c in await nb.cells()}
            issues = await nb.check()
            await nb.edit([put("bad", "def f():\n    return math.pi * x")])
            assert [i for i in await nb.check() if i.severity == "error"] == []
            return issues, cells["bad"]

    issues, kept = bench.go(scene())
    assert kept == broken
    assert [(i.code, i.cell, i.line) for i in issues if i.severity == "error"] == [("MB001", "bad", 1)]
    assert "not valid Python" in issues[0].message


def test_code_that_is_nested_too_deeply_for_python_is_said_to_be(bench: Bench) -> None:
    deep = "import marimo\n\napp = marimo.App()\n\n\n@app.cell\ndef deep():\n    " + "-" * 9000 + "1\n    return\n"

    async def scene() -> None:
        async with bench.runtime() as nb:
            (nb.root / "notebook.py").write_text(deep)
            with pytest.raises(PostdocError, match="nested too deeply"):
                await nb.edit([put("b", "x = 1")])
            assert (nb.root / "notebook.py").read_text() == deep

    bench.go(scene())


def test_the_check_finds_what_marimo_finds_and_what_it_does_not(bench: Bench) -> None:
    async def scene() -> list[Issue]:
        async with bench.runtime() as nb:
            await nb.create("notebook.py", title="t")
            await nb.edit(
                [
                    put("setup", "import marimo as mo\nzz = later"),
                    put("a", "x = 1\nq = undefined_thing + 1"),
                    put("b", "x = 2\nlater = 1"),
                    put("c", "c1 = d1"),
                    put("d", "d1 = c1"),
                    put(
                        "e", "import no_such_package_here\ntry:\n    import optional_one\nexcept ImportError:\n    pass"
                    ),
                    put("f", "[i for i in range(3)]\ndef g(u):\n    return u + len(__file__)\nopen"),
                ]
            )
            return await nb.check()

    found = {(i.code, i.cell): i for i in bench.go(scene())}
    assert found[("PD001", "a")].line == 2
    assert "'undefined_thing', which no cell defines" in found[("PD001", "a")].message
    assert "'x' is defined in cells a and b" in found[("MB002", "b")].message
    assert "c and d need each other" in found[("MB003", "c")].message
    assert ("MB004", "setup") in found
    assert "'no_such_package_here', which is not installed" in found[("PD002", "e")].message
    assert {cell for code, cell in found if code == "PD001"} == {"a"}
    assert [key for key in found if key[1] == "f"] == []


def test_every_cell_of_a_study_survives_the_way_through_the_runtime(bench: Bench) -> None:
    async def scene() -> str:
        async with bench.runtime() as nb:
            (nb.root / "source.py").write_text(STUDY.read_text())
            nb.path = "source.py"
            cells = await nb.cells()
            await nb.create(
                "notebook.py", title="Does the treatment help?", header=STUDY.read_text().partition("import")[0]
            )
            await nb.edit([put(c.name, c.code, hide_code=c.hide_code) for c in cells])
            return (nb.root / "notebook.py").read_text()

    made, wanted = bench.go(scene()), STUDY.read_text()
    assert made.partition("import marimo")[2].strip() == wanted.partition("import marimo")[2].strip()


def test_files_that_are_no_notebooks(bench: Bench) -> None:
    async def scene() -> None:
        async with bench.runtime() as nb:
            (nb.root / "script.py").write_text("print('hello')\n")
            (nb.root / "binary.py").write_bytes(b"\xff\xfe\x00")
            for name, code in [
                ("script.py", "notebook_failed"),
                ("binary.py", "notebook_failed"),
                ("no.py", "not_found"),
            ]:
                nb.path = name
                with pytest.raises(PostdocError) as info:
                    await nb.cells()
                assert info.value.code == code, name
            for name in ("../out.py", "/etc/x.py", ".git/x.py", "notes.txt"):
                with pytest.raises(PostdocError) as info:
                    await nb.create(name, title="t")
                assert info.value.code in ("forbidden", "bad_message"), name
            assert (nb.root / "script.py").read_text() == "print('hello')\n"

    bench.go(scene())


def test_unnamed_cells_of_a_person_can_be_addressed(bench: Bench) -> None:
    text = "import marimo\n\napp = marimo.App()\n\n\n@app.cell\ndef _():\n    x = 1\n    return (x,)\n\n\n@app.cell\ndef _(x):\n    x\n    return\n"  # noqa: E501

    async def scene() -> None:
        async with bench.runtime() as nb:
            (nb.root / "notebook.py").write_text(text)
            assert [c.name for c in await nb.cells()] == ["_1", "_2"]
            result = await nb.edit([put("_2", "x + 1"), put("named", "y = x")])
            assert result.cells == ("_1", "_2", "named")
            assert "x + 1" in (nb.root / "notebook.py").read_text()

    bench.go(scene())


def test_settings_of_a_notebook_that_are_lists(bench: Bench) -> None:
    text = 'import marimo\n\napp = marimo.App(auto_download=["html"])\n\n\n@app.cell\ndef a():\n    return\n'

    async def scene() -> None:
        async with bench.runtime() as nb:
            (nb.root / "notebook.py").write_text(text)
            await nb.edit([put("b", "x = 1")])
            assert 'auto_download=["html"]' in (nb.root / "notebook.py").read_text()

    bench.go(scene())


def test_what_the_generator_changes_is_accepted_only_when_it_is_the_same_code(bench: Bench) -> None:
    """marimo drops a comment at the end of the setup cell and sets the text of a lone mo.md(...) anew."""

    async def scene() -> None:
        async with bench.runtime() as nb:
            await nb.create("notebook.py", title="t")
            await nb.edit([put("setup", "import marimo as mo\nimport math  # for pi"), put("a", "math.pi")])
            await nb.edit([put("b", r'mo.md("one\n\ntwo")'), put("c", "mo.md('three')"), put("d", "x = 1  # kept")])
            cells = {cell.name: cell.code for cell in await nb.cells()}
            assert cells["setup"].startswith("import marimo as mo\nimport math")
            assert cells["d"] == "x = 1  # kept"
            assert "one\n\ntwo" in cells["b"]
            before = (nb.root / "notebook.py").read_text()
            with pytest.raises(PostdocError, match="cannot write these cells without changing them"):
                await nb.edit([put("e", 'y = "\x0c"')])  # a form feed inside of a string becomes something else
            assert (nb.root / "notebook.py").read_text() == before

    bench.go(scene())


def test_remembered_compilations_change_nothing(bench: Bench) -> None:
    """The worker patches marimo to compile each cell once: the file must be what an unpatched marimo writes, and
    options of one edit must not reach into the next.
    """

    async def scene() -> str:
        async with bench.runtime() as nb:
            (nb.root / "notebook.py").write_text(STUDY.read_text())
            cells = await nb.cells()
            for hide in (True, False):
                await nb.edit([put(c.name, c.code, hide_code=hide) for c in cells])
                await nb.check()
            await nb.edit([put("setup", cells[0].code + "\nimport json"), {"op": "delete", "name": "make_data"}])
            return (nb.root / "notebook.py").read_text()

    made = bench.go(scene())
    code = (
        "import sys; from marimo._internal.converters import MarimoConvert as M;"
        "sys.stdout.write(M.from_ir(M.from_py(sys.stdin.read()).to_ir()).to_py())"
    )
    plain = subprocess.run([sys.executable, "-c", code], input=made, capture_output=True, text=True, check=True)
    assert made == plain.stdout
    assert "hide_code" not in made
