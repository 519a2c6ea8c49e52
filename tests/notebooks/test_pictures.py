"""What cells draw, as PNGs for a model: real kernels, real charts, the sandbox."""

from __future__ import annotations

import base64
import json
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import pytest
from tests.notebooks.support import go, put, runtime

from jupyterlab_postdoc.notebooks import messages
from jupyterlab_postdoc.notebooks.base import RunReport

PLOT = "import matplotlib.pyplot as plt\n_f, _a = plt.subplots(figsize=({0}, 3))\n_a.plot([1, {1}])\n_f"
CHART = (
    "import altair as alt\nalt.Chart(alt.Data(values=[{{'a': 1, 'b': {0}}}, {{'a': 2, 'b': 3}}]))"
    ".mark_point().encode(x='a:Q', y='b:Q').properties(width={1}, height=200)"
)


def size(png: bytes) -> tuple[int, int]:
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = struct.unpack(">II", png[16:24])
    return int(width), int(height)


def test_plots_and_charts_are_pictures_and_only_the_changed_ones_are_redrawn(tmp_path: Path) -> None:
    async def scene() -> None:
        async with runtime(tmp_path) as nb:
            await nb.create("notebook.py", title="t")
            stacked = CHART.format(7, 300).replace("alt.Chart", "_c = alt.Chart") + "\nmo.vstack([mo.md('# two'), _c])"
            cells = {
                "setup_cell": "import marimo as mo",
                "plot": PLOT.format(4, 2),
                "chart": CHART.format(2, 300),
                "wide": CHART.format(5, 3000),
                "inside": stacked.replace("import altair as alt\n", ""),
                "plain": "1 + 1",
            }
            cells = {name: code.replace("import altair as alt\n", "") for name, code in cells.items()}
            await nb.edit([put(name, code) for name, code in {**cells, "lib": "import altair as alt"}.items()])
            assert await nb.pictures(["plot"]) == []
            first = await nb.run(timeout_s=60)
            assert first.ok, first.message
            assert first.pictured == first.redrawn == ("plot", "chart", "wide", "inside")
            found = {picture.cell: size(picture.png) for picture in await nb.pictures(first.redrawn)}
            assert list(found) == ["plot", "chart", "wide", "inside"]
            assert 300 < found["chart"][0] <= 1200
            assert 1000 < found["wide"][0] <= 1200
            assert not list(nb.root.glob("figures/chart*"))  # a chart is drawn for the model, not into the repository
            await nb.edit([put("chart", cells["chart"].replace("'b': 2", "'b': 9")), put("plain", "2 + 2")])
            second = await nb.run(timeout_s=60)
            assert second.pictured == first.pictured
            assert second.redrawn == ("chart",)
            assert [p.cell for p in await nb.pictures(["plot", "nothing", "plain"])] == ["plot"]
            await nb.edit([put("chart", "1 / 0")])
            third = await nb.run(timeout_s=60)
            assert third.pictured == ("plot", "wide", "inside")
            assert third.redrawn == ()

    go(scene())


def test_pictures_are_small_and_few(tmp_path: Path) -> None:
    noise = (
        "import numpy as np\nimport matplotlib.pyplot as plt\n_f = plt.figure(figsize=(13, 10), dpi=100)\n"
        "_f.figimage(np.random.default_rng(1).random((1000, 1300, 3)))\n_f"  # 3.9 MB as a PNG
    )

    async def scene() -> RunReport:
        async with runtime(tmp_path) as nb:
            await nb.create("notebook.py", title="t")
            small = {f"c{n}": PLOT.format(2, n).replace("import matplotlib.pyplot as plt\n", "") for n in range(9)}
            await nb.edit([put("noise", noise), *(put(name, code) for name, code in small.items())])
            report = await nb.run(timeout_s=60)
            assert len(report.redrawn) == 10
            found = await nb.pictures(report.redrawn)
            assert [picture.cell for picture in found] == list(report.redrawn[:8])
            assert all(len(picture.png) <= 1_000_000 and size(picture.png)[0] <= 1200 for picture in found)
            assert found[0].cell == "noise"
            return report

    assert go(scene()).ok


def renderer(items: object) -> list[dict[str, str]]:
    command = [sys.executable, "-P", "-m", "jupyterlab_postdoc.notebooks.worker.pictures"]
    done = subprocess.run(command, input=json.dumps(items).encode(), capture_output=True, timeout=60, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_what_cannot_be_drawn_is_left_out() -> None:
    header = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + struct.pack(">IIBBBBB", 90_000, 90_000, 8, 2, 0, 0, 0)
    bomb = header + struct.pack(">I", zlib.crc32(header[12:])) + bytes(50)
    secret = {"$schema": "https://vega.github.io/schema/vega-lite/v5.json", "mark": "nonsense"}
    fine = {"mark": "point", "data": {"values": [{"a": 1}]}, "encoding": {"x": {"field": "a", "type": "quantitative"}}}
    items = [["bomb", base64.b64encode(bomb).decode()], ["text", "!!"], ["bad", secret], ["empty", ""], ["fine", fine]]
    assert [item["cell"] for item in renderer(items)] == ["fine"]


def forged(**header: int) -> str:
    width, height = header.get("width", 10), header.get("height", 10)
    data = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + struct.pack(">II", width, height) + bytes(header.get("rest", 40))
    return base64.b64encode(data).decode()


@pytest.mark.parametrize(
    "png",
    [
        *("", "no base64!", base64.b64encode(b"<svg onload=alert(1)>" * 9).decode(), 7, None),
        *(forged(width=1201), forged(width=0), forged(height=10_000), forged(rest=1_000_001), forged(rest=2)),
    ],
)
def test_the_server_believes_no_picture_of_a_worker(png: object) -> None:
    assert messages.pictures({"pictures": [{"cell": "a", "png": png}]}) == []
    assert messages.pictures({"pictures": "x"}) == messages.pictures({}) == []
    fine = messages.pictures({"pictures": [{"cell": "a", "png": forged()}] * 20})
    assert len(fine) == 8
