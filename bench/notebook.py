"""The notebook part of a research run against a bare ``marimo export session`` of the same notebook.

    python bench/notebook.py NOTEBOOK [-n 5]

Ours: start the worker in the sandbox, write the notebook from its cells, check it, run it, write session, figures,
results and both reports. Bare: the command alone, not sandboxed. The two alternate, so that a busy machine slows
both. One JSON row on stdout.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from jupyterlab_postdoc.notebooks.batch import BatchRuntime
from jupyterlab_postdoc.workspace.sandbox import choose, probe
from jupyterlab_postdoc.workspace.workspace import Workspace


def bare(notebook: Path) -> float:
    """Seconds of ``marimo export session`` on a copy of the notebook in an empty folder."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(shutil.copy(notebook, Path(folder) / "notebook.py"))
        began = time.perf_counter()
        command = [sys.executable, "-m", "marimo", "export", "session", str(copy), "--force-overwrite"]
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
        return time.perf_counter() - began


async def ours(notebook: Path) -> dict[str, float]:
    """Seconds of each phase of the same through the runtime."""
    sandbox = choose(await probe(), trusted=True, allow_unsandboxed=True)
    with tempfile.TemporaryDirectory() as folder:
        workspace = Workspace(Path(folder), sandbox=sandbox)
        shutil.copy(notebook, Path(folder) / "source.py")
        source = BatchRuntime(workspace, "source.py")
        cells = await source.cells()
        await source.close()
        runtime = BatchRuntime(workspace)
        marks = [time.perf_counter()]
        await runtime.create("notebook.py", title="Benchmark")
        marks.append(time.perf_counter())
        changes = [{"op": "put", "name": c.name, "code": c.code, "hide_code": c.hide_code} for c in cells]
        result = await runtime.edit(changes)
        issues = [issue for issue in await runtime.check() if issue.severity == "error"]
        marks.append(time.perf_counter())
        report = await runtime.run(timeout_s=600)
        marks.append(time.perf_counter())
        await runtime.close()
        marks.append(time.perf_counter())
        assert report.ok, report.message
        assert not issues, issues
        assert result.cells
    names = ("create", "edit_check", "run", "close")
    return {name: b - a for name, a, b in zip(names, marks, marks[1:], strict=False)} | {"total": marks[-1] - marks[0]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("notebook", type=Path)
    parser.add_argument("-n", type=int, default=5)
    options = parser.parse_args()
    bare(options.notebook)  # page cache, font cache
    pairs = [(bare(options.notebook), asyncio.run(ours(options.notebook))) for _ in range(options.n)]
    median = {name: statistics.median(p[1][name] for p in pairs) for name in pairs[0][1]}
    reference = statistics.median(p[0] for p in pairs)
    row = {
        "bench": "notebook",
        "notebook": options.notebook.name,
        "n": options.n,
        "ratio": round(statistics.median(p[1]["total"] / p[0] for p in pairs), 3),
        "bare_s": round(reference, 3),
        "ours_s": round(median["total"], 3),
        "phases_s": {name: round(value, 3) for name, value in median.items() if name != "total"},
        "load": round(os.getloadavg()[0], 2),
        "budget": 1.5,
    }
    print(json.dumps(row))


if __name__ == "__main__":
    main()
