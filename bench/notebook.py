"""The notebook part of a research run against a bare ``marimo export session`` of the same notebook.

    python bench/notebook.py [TEMPLATE | NOTEBOOK.py] [-n 3]

Ours: start the worker in the sandbox, write the notebook with the edits of the template's script (a notebook file: in
one edit), check it, run it, write session, figures, results and both reports. Bare: the command alone on the notebook
that ours wrote, not sandboxed. The two alternate, so that a busy machine slows both. One JSON row on stdout: ``ratio``
of wall time and ``cpu_ratio`` of the CPU seconds of all processes, medians of the pairs.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from jupyterlab_postdoc.notebooks.batch import BatchRuntime
from jupyterlab_postdoc.templates import Template, TemplateRegistry
from jupyterlab_postdoc.templates.source import CellSource, read_cells
from jupyterlab_postdoc.workspace.sandbox import choose, probe
from jupyterlab_postdoc.workspace.workspace import Workspace

TOPIC = "Short Term Reversal"
Batch = list[dict[str, Any]]


def cpu() -> float:
    """CPU seconds of this process, of every process below it, and of those below them that have ended."""
    tick, found, todo = os.sysconf("SC_CLK_TCK"), 0, [os.getpid()]
    parents: dict[int, list[tuple[int, int]]] = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            fields = entry.read_bytes().rpartition(b")")[2].split()
            parents.setdefault(int(fields[1]), []).append((int(entry.parent.name), sum(map(int, fields[11:15]))))
    while todo:
        for pid, used in parents.pop(todo.pop(), []):
            found += used
            todo.append(pid)
    us = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return found / tick + sum(usage.ru_utime + usage.ru_stime for usage in us)


def puts(cells: list[CellSource]) -> Batch:
    return [{"op": "put", "name": c.name, "code": c.code, "hide_code": c.hide_code} for c in cells]


def edits(template: Template) -> Iterator[Batch]:
    """The edits of the template's script, as the template provider makes them."""
    parameters = template.validate_parameters({})
    cells = template.cells(topic=TOPIC, parameters=parameters, study={"session": "bench"})
    for turn in template.script:
        for call in turn.get("calls") or []:
            if call.get("cells"):
                yield puts([cell for cell in cells if cell.name in call["cells"]])


def bare(text: str) -> dict[str, float]:
    """``marimo export session`` of the notebook in an empty folder."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "notebook.py"
        copy.write_text(text, encoding="utf-8")
        before, began = cpu(), time.perf_counter()
        command = [sys.executable, "-m", "marimo", "export", "session", str(copy), "--force-overwrite"]
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
        return {"total": time.perf_counter() - began, "cpu": cpu() - before}


async def ours(batches: list[Batch], modules: Sequence[str]) -> tuple[dict[str, float], str]:
    """Seconds of each phase of the same through the runtime, and the notebook that was written."""
    sandbox = choose(await probe(), trusted=True, allow_unsandboxed=True)
    with tempfile.TemporaryDirectory() as folder:
        runtime = BatchRuntime(Workspace(Path(folder), sandbox=sandbox))
        used, marks = cpu(), [time.perf_counter()]
        await runtime.warm(modules)  # as the research run does
        await runtime.create("notebook.py", title=TOPIC)
        marks.append(time.perf_counter())
        for changes in batches:
            await runtime.edit(changes)
        marks.append(time.perf_counter())
        issues = [issue for issue in await runtime.check() if issue.severity == "error"]
        marks.append(time.perf_counter())
        report = await runtime.run(timeout_s=600)
        marks.append(time.perf_counter())
        used = cpu() - used
        await runtime.close()
        marks.append(time.perf_counter())
        assert report.ok, report.message
        assert not issues, issues
        assert "reports/report.html" in report.files, report.files
        text = (Path(folder) / "notebook.py").read_text(encoding="utf-8")
    names = ("create", "edits", "check", "run", "close")
    phases = {name: b - a for name, a, b in zip(names, marks, marks[1:], strict=False)}
    phases["artifacts"] = phases["run"] - report.timings["executed_s"]  # the part of ``run`` after the last cell
    return {**phases, "total": marks[-1] - marks[0], "cpu": used}, text


def row(name: str, pairs: list[tuple[dict[str, float], dict[str, float]]]) -> dict[str, Any]:
    def middle(which: int, figure: str) -> float:
        return round(statistics.median(pair[which][figure] for pair in pairs), 3)

    def ratio(figure: str) -> float:
        return round(statistics.median(pair[1][figure] / pair[0][figure] for pair in pairs), 3)

    return {
        "bench": "notebook",
        "notebook": name,
        "n": len(pairs),
        "ratio": ratio("total"),
        "cpu_ratio": ratio("cpu"),
        "bare_s": middle(0, "total"),
        "ours_s": middle(1, "total"),
        "bare_cpu_s": middle(0, "cpu"),
        "ours_cpu_s": middle(1, "cpu"),
        "phases_s": {name: middle(1, name) for name in pairs[0][1] if name not in ("total", "cpu")},
        "load": round(os.getloadavg()[0], 2),
        "budget": 1.5,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="?", default="equity_signal", help="a research template, or a notebook file")
    parser.add_argument("-n", type=int, default=3)
    options = parser.parse_args()
    file = Path(options.what)
    if file.suffix == ".py":
        batches, modules = [puts(list(read_cells(file)))], ()
    else:
        template = TemplateRegistry().get(file.name)
        batches, modules = list(edits(template)), template.requires
    _, text = asyncio.run(ours(batches, modules))  # page cache; and the notebook for the other one
    bare(text)
    pairs = [(bare(text), asyncio.run(ours(batches, modules))[0]) for _ in range(options.n)]
    print(json.dumps(row(file.name, pairs)))


if __name__ == "__main__":
    main()
