"""The model sees its plots; a script is sent none."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from tests.tools.conftest import Recorder

from jupyterlab_postdoc.notebooks.base import Output
from jupyterlab_postdoc.notebooks.worker import outputs
from jupyterlab_postdoc.protocol import Cell
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


CHART = (
    "alt.Chart(alt.Data(values=[{{'a': 1, 'b': {0}}}])).mark_point().encode(x='a:Q', y='b:Q').properties(title='Owls')"
)


def items(recorder: Recorder, cell: str) -> list[dict[str, Any]]:
    """What the newest event of a cell shows."""
    told = [event for event in recorder.events if isinstance(event, Cell) and event.cell == cell]
    return told[-1].output["items"]  # type: ignore[no-any-return]


async def test_people_see_what_cells_drew_whoever_works(context: ToolContext, recorder: Recorder) -> None:
    await notebook.nb_create.call(context, {"title": "Owls"})
    lib = "import altair as alt\nimport marimo as mo\nimport matplotlib.pyplot as plt\nimport pandas as pd"
    cells = {
        "lib": lib,
        "plot": PLOT.format(1),
        "chart": CHART.format(2),
        "both": f"mo.vstack([mo.md('# two'), {CHART.format(3)}, {CHART.format(4)}])",
        "frame": "pd.DataFrame({f'c{i}': range(30) for i in range(14)})",
        "text": "'owl'",
    }
    await notebook.nb_edit.call(context, {"changes": [put(name, code) for name, code in cells.items()]})
    assert (await notebook.nb_run.call(context, {})).images == []  # a script sees nothing
    for name, kinds in (("plot", ["image"]), ("chart", ["chart"]), ("both", ["html", "image", "image"])):
        shown = items(recorder, name)
        assert [item["kind"] for item in shown] == kinds
        for item in shown[-2:] if name == "both" else shown:
            assert item["mediaType"] == "image/png"
            assert recorder.blobs[item["blob"]].startswith(b"\x89PNG")
    assert items(recorder, "chart")[0]["text"] == "Owls"
    (table,) = items(recorder, "frame")
    assert (table["kind"], table["nRows"], table["nColumns"]) == ("table", 30, 14)
    assert table["columns"] == [f"c{i}" for i in range(12)]
    assert len(table["rows"]) <= 20
    assert table["rows"][1] == ["1"] * 12
    assert "blob" not in items(recorder, "text")[0]
    cut = [event for event in recorder.events if isinstance(event, Cell)]
    assert all(len(json.dumps(event.output)) < 10_000 for event in cut if event.output)

    before = {name: items(recorder, name) for name in ("plot", "both")}
    recorder.events.clear()
    await notebook.nb_edit.call(context, {"changes": [put("chart", CHART.format(9))]})
    await notebook.nb_run.call(context, {})
    assert {name: items(recorder, name) for name in before} == before  # the same pictures, not drawn again
    assert items(recorder, "chart")[0]["blob"] in recorder.blobs


def test_tables_in_html_are_tables() -> None:
    row = "<tr><td>Mean <b>return</b></td><td>3.2&nbsp;%</td></tr>"
    markup = f"<p>Before</p><table><tr><th>Item</th><th>Value</th></tr>{row * 30}</table><div>After</div>"
    before, table, after = outputs.summarise("text/html", markup, None)
    assert (before, after) == ({"kind": "html", "text": "Before"}, {"kind": "html", "text": "After"})
    assert (table["kind"], table["data"]["n_rows"], len(table["data"]["rows"])) == ("table", 30, 20)
    assert table["data"]["columns"] == ["Item", "Value"]
    assert table["data"]["rows"][0] == ["Mean return", "3.2 %"]
    (alone,) = outputs.summarise("text/markdown", f"<table>{row}</table>", None)
    assert alone["data"]["columns"] == ["", ""]
    for nothing in ("<table></table>", "<p>no &lt;table&gt;</p>", "<table><tr></tr></table>"):
        assert all(item["kind"] == "html" for item in outputs.summarise("text/html", nothing, None))


def test_a_table_of_a_stranger_is_cut_and_made_text(context: ToolContext) -> None:
    data = {"columns": ["a" * 500, None, 3], "rows": [[1.5, None, {"x": 1}], "nonsense", *[[1]] * 40], "n_rows": "many"}
    shown = notebook._output(context, Output("table", "t", data))
    assert shown["columns"] == ["a" * 80, "", "3"]
    assert shown["rows"][0] == ["1.5", "", "{'x': 1}"]
    assert len(shown["rows"]) == 20
    assert "nRows" not in shown
    assert notebook._output(context, Output("table", "t", {"columns": 1})) == {"kind": "table", "text": "t"}
    assert "data" not in notebook._output(context, Output("json", "{}", {"x": "y" * 5000}))
