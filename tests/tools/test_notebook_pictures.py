"""The model sees its plots; a script is sent none."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tests.tools.conftest import Recorder

from jupyterlab_postdoc.tools import notebook
from jupyterlab_postdoc.tools.base import ToolContext

PLOT = "_f, _a = plt.subplots(figsize=(2, 2))\n_a.plot([1, {}])\n_f"


def put(name: str, code: str) -> dict[str, Any]:
    return {"op": "put", "name": name, "code": code}


async def test_a_run_shows_changed_pictures_and_cells_show_theirs(context: ToolContext, recorder: Recorder) -> None:
    model = replace(context, provider="anthropic")
    await notebook.nb_create.call(model, {"title": "Owls"})
    cells = [put("lib", "import matplotlib.pyplot as plt"), put("one", PLOT.format(1)), put("two", PLOT.format(2))]
    await notebook.nb_edit.call(model, {"changes": [*cells, put("word", "print('hoo')\n'owl'"), put("bad", "1 / 0")]})
    ran = await notebook.nb_run.call(model, {})
    assert [image.title for image in ran.images] == ["one", "two"]
    assert all(recorder.blobs[image.blob].startswith(b"\x89PNG") for image in ran.images)
    assert "Pictures, in this order: one, two." in ran.content
    await notebook.nb_edit.call(model, {"changes": [put("two", PLOT.format(5))]})
    again = await notebook.nb_run.call(model, {})
    assert [image.title for image in again.images] == ["two"]
    assert "Pictures as in the last run: one." in again.content

    seen = await notebook.nb_cells.call(model, {"names": ["word", "one"]})
    assert [image.title for image in seen.images] == ["one"]
    assert "## output (text)\n" in seen.content
    assert "owl" in seen.content
    assert "# two" not in seen.content
    failed = await notebook.nb_cells.call(model, {"names": ["bad"]})
    assert "ZeroDivisionError" in failed.content
    missing = await notebook.nb_cells.call(model, {"names": ["three"]})
    assert not missing.ok
    assert "The cells are: lib, one" in missing.content

    recorder.blobs.clear()
    assert (await notebook.nb_run.call(context, {})).images == []
    assert (await notebook.nb_cells.call(context, {"names": ["one"]})).images == []
    assert recorder.blobs == {}
