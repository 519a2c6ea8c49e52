"""While a live page is open, what the agent writes runs there at once, and its answers say what came of it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from tests.notebooks.live import workspace
from tests.tools.conftest import Recorder

from jupyterlab_postdoc.notebooks.editors import EditorPool
from jupyterlab_postdoc.notebooks.runtime import ProjectRuntime
from jupyterlab_postdoc.protocol import Cell
from jupyterlab_postdoc.tools import notebook
from jupyterlab_postdoc.tools.base import ToolContext
from jupyterlab_postdoc.tools.project import Project

PLOT = "_f, _a = plt.subplots(figsize=(2, 2))\n_a.plot([1, {}])\n_f"


def put(name: str, code: str) -> dict[str, Any]:
    return {"op": "put", "name": name, "code": code}


@pytest.fixture
def editors(project: Project, jp_asyncio_loop: asyncio.AbstractEventLoop) -> Iterator[EditorPool]:
    """With the project's notebook, not open yet."""
    made = EditorPool(workspace)
    jp_asyncio_loop.run_until_complete(made.start())
    project.notebook = ProjectRuntime(project.workspace, made)
    yield made
    jp_asyncio_loop.run_until_complete(project.notebook.close())
    jp_asyncio_loop.run_until_complete(made.stop())


def cells(recorder: Recorder) -> list[tuple[str, str]]:
    return [(body.cell, body.status) for body in recorder.events if isinstance(body, Cell)]


async def test_an_edit_runs_in_the_open_page(
    context: ToolContext, recorder: Recorder, project: Project, editors: EditorPool
) -> None:
    model = replace(context, provider="anthropic")
    await notebook.nb_create.call(model, {"title": "Owls"})
    lib = [put("lib", "import matplotlib.pyplot as plt"), put("base", "x = 1"), put("plot", PLOT.format("x"))]
    quiet = await notebook.nb_edit.call(model, {"changes": [*lib, put("verdict", '{"x": x}')]})
    assert "ran" not in quiet.data
    assert cells(recorder) == []
    whole = await notebook.nb_run.call(model, {"cells": ["base"]})
    assert whole.content.startswith("No live page is open, so the whole notebook ran.")
    assert whole.data["verdict"] == {"x": 1}

    await editors.open(project.root)
    recorder.events.clear()
    edited = await notebook.nb_edit.call(model, {"changes": [put("base", "x = 5")]})
    assert edited.ok
    assert edited.data["changed"] == ["base"]
    assert edited.data["ran"]["failed"] == []
    assert {name for name, status in cells(recorder) if status == "ok"} == {"lib", "base", "plot", "verdict"}
    assert [image.title for image in edited.images] == ["plot"]
    assert "- base: ok" in edited.content
    assert "as the last nb_run of the whole notebook left them" in edited.content
    assert project.verdict() == {"x": 1}
    assert await project.stale() == ["base"]  # the verdict is of another text

    recorder.events.clear()
    failed = await notebook.nb_edit.call(model, {"changes": [put("more", "y = x / 0"), put("next", "z = y")]})
    assert failed.ok  # it was written
    assert "ZeroDivisionError" in failed.content
    assert failed.data["ran"]["failed"] == ["more"]
    assert ("more", "error") in cells(recorder)
    assert ("base", "ok") not in cells(recorder)

    await notebook.nb_edit.call(model, {"changes": [{"op": "delete", "name": n} for n in ("next", "more")]})
    some = await notebook.nb_run.call(model, {"cells": ["base"]})
    assert some.ok
    assert "ran in the live notebook" in some.content
    run = await notebook.nb_run.call(model, {})
    assert run.ok
    assert project.verdict() == {"x": 5}
    assert await project.stale() == []
