"""Running notebooks: results, figures, reports, failures, limits, and code that means harm. Real marimo in the real
sandbox.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from tests.notebooks.support import STUDY, execute, go, put, runtime

from jupyterlab_postdoc.notebooks.base import CellEvent, RunReport
from jupyterlab_postdoc.workspace.sandbox import probe


def cell(report: RunReport, name: str) -> Any:
    return next(c for c in report.cells if c.name == name)


def wait_for(condition: Any, seconds: float) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end and not condition():
        time.sleep(0.02)
    return bool(condition())


def alive(mark: str) -> int:
    return sum(
        any(mark in part for part in p.info["cmdline"] or []) and p.info["status"] != psutil.STATUS_ZOMBIE
        for p in psutil.process_iter(["cmdline", "status"])
    )


def test_a_study_gives_all_its_artifacts_from_one_run(tmp_path: Path) -> None:
    events: list[CellEvent] = []

    async def listen(event: CellEvent) -> None:
        events.append(event)

    async def scene() -> RunReport:
        async with runtime(tmp_path) as nb:
            (nb.root / "notebook.py").write_text(STUDY.read_text())
            report = await nb.run(listen, args=["--n", "300"], timeout_s=100)
            states = {c.name: c.status for c in await nb.cells()}
            assert set(states.values()) == {"ok"}
            await nb.edit([put("controls", "n = mo.ui.slider(50, 1000, value=60)")])
            assert {c.name: c.status for c in await nb.cells()}["controls"] == "stale"
            return report

    report = go(scene())
    root = tmp_path / "project"
    assert report.ok, report.message
    assert report.message.startswith("The notebook ran to its end: 12 cells in ")
    assert set(report.files) == {
        "__marimo__/session/notebook.py.json",
        "results.json",
        "figures/figure.png",
        "reports/report.html",
        "reports/interactive.html",
    }
    assert report.figures == ("figures/figure.png",)
    assert (root / "figures" / "figure.png").read_bytes().startswith(b"\x89PNG")
    results = json.loads((root / "results.json").read_text())
    assert results == report.verdict
    assert results["n_obs"] == 600  # the command line argument arrived
    session = json.loads((root / "__marimo__/session/notebook.py.json").read_text())
    assert [c["id"] for c in session["cells"]][:2] == ["setup", "Hbol"]
    progress = [e.sentence for e in events if e.status == "running" and not e.console]
    assert progress[3] == "Running cell 4 of 12 (controls)"
    assert [e.status for e in events if e.cell == "load" and not e.console] == ["running", "ok"]
    table = cell(report, "load").outputs[0]
    assert table.kind == "table"
    assert table.data["columns"][:2] == ["group", "count"]
    assert cell(report, "histogram").outputs[0].text == "Outcome by group (standard deviations)"
    assert cell(report, "figure").outputs[0].path == "figures/figure.png"
    assert all(c.duration_ms is not None for c in report.cells)


def test_failures_name_the_cell_the_line_and_what_was_skipped(tmp_path: Path) -> None:
    cells = {
        "setup": "import marimo as mo",
        "good": "a = 1\nprint('hello from good')",
        "bad": "b = a + 1\nc = 1 / 0",
        "after": "c + 1",
        "halt": "mo.stop(True, 'enough')\nd = 1",
        "below": "d",
        "test_fails": "assert a == 2, 'a is not two'",
        "checks": "def test_one():\n    assert a == 1\ndef test_two():\n    assert a == 3",
        "verdict": "{'claim': 'x', 'estimate': float('nan'), 'inner': {'p': float('inf')}}",
    }
    report, events = go(execute(tmp_path, cells))
    assert report.end == "failed"
    assert set(report.failed) == {"bad", "test_fails", "checks"}
    assert set(report.skipped) == {"after", "below"}
    error = cell(report, "bad").error
    assert (error.name, error.message, error.line) == ("ZeroDivisionError", "division by zero", 2)
    assert 'File "cell bad", line 2' in error.traceback
    assert "/tmp" not in error.traceback
    assert cell(report, "test_fails").error.message == "a is not two"
    assert cell(report, "checks").error.message == "1 of 2 tests failed: test_two: assert 1 == 3"
    assert cell(report, "halt").status == "ok"
    assert report.message.startswith(
        "Cell 'bad' failed in line 2: ZeroDivisionError: division by zero. 2 other cells failed"
    )
    assert "".join(e.console for e in events if e.cell == "good") == "hello from good\n"
    assert report.verdict is None
    assert report.verdict_error is not None
    assert "estimate" in report.verdict_error
    assert "inner.p" in report.verdict_error
    assert not (tmp_path / "project" / "results.json").exists()
    page = (tmp_path / "project" / "reports" / "report.html").read_text()
    assert "3 cells of this notebook failed" in page


def test_what_may_be_a_verdict(tmp_path: Path) -> None:
    """One worker, one run after the other, each in a kernel of its own."""
    numbers = "{'a': np.float64(1.5), 'b': np.int64(3), 'c': np.bool_(True), 'd': None, 'e': (1, 2.5)}"
    bad = {"{1, 2}": "must end in", "'text'": "must end in", "x = {'a': 1}": "must end in", "[1]": "must end in a dict"}

    async def scene() -> None:
        async with runtime(tmp_path) as nb:
            await nb.create("notebook.py", title="t")
            for code, words in bad.items():
                await nb.edit([put("verdict", code)])
                report = await nb.run(timeout_s=60)
                assert report.verdict is None, code
                assert words in (report.verdict_error or ""), code
            await nb.edit([put("verdict", f"import numpy as np\n{numbers}")])
            report = await nb.run(timeout_s=60)
            assert report.verdict == {"a": 1.5, "b": 3, "c": True, "d": None, "e": [1, 2.5]}

    go(scene())


def test_each_run_has_a_fresh_kernel_with_its_limits(tmp_path: Path) -> None:
    """Kernels are forked from one process: nothing of a run may reach the next, not even the random numbers."""
    code = (
        "import numpy as np, os, resource, sys, builtins\nseen = getattr(builtins, 'seen', 0)\nbuiltins.seen = 1\n"
        "_a = open(f'/proc/{os.getppid()}/cmdline').read()\n"
        "{'draw': np.random.random(), 'seen': seen, 'limit': resource.getrlimit(resource.RLIMIT_AS)[0],"
        " 'forked': 'forkserver' in _a, 'wanted': 'POSTDOC_PRELOAD' in os.environ}"
    )

    async def scene() -> list[Any]:
        async with runtime(tmp_path) as nb:
            await nb.warm(["numpy", "no such module", "os; x", "nothing_of_this_name"])
            await nb.create("notebook.py", title="t")
            await nb.edit([put("verdict", code)])
            return [(await nb.run(timeout_s=60)).verdict for _ in range(2)]

    first, second = go(scene())
    assert first is not None
    assert first.pop("draw") != second.pop("draw")
    assert first == second == {"seen": 0, "limit": 4 << 30, "forked": True, "wanted": False}


def test_figures_of_cells_that_draw_no_more_are_removed(tmp_path: Path) -> None:
    draw = "import matplotlib.pyplot as plt\n_f, _a = plt.subplots()\n_a.plot([1, {}])\n_f"

    async def scene() -> None:
        async with runtime(tmp_path) as nb:
            figures = nb.root / "figures"
            await nb.create("notebook.py", title="t")
            await nb.edit([put("one", draw.format(2)), put("two", "plt.figure(figsize=(1, 1)).gca().figure")])
            first = await nb.run(timeout_s=60)
            assert first.figures == ("figures/one.png", "figures/two.png"), first
            data = (figures / "one.png").read_bytes()
            (figures / "mine.png").write_bytes(data)  # a person's copy, and a person's own picture
            (figures / "three.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(40))
            await nb.edit([put("two", "1 / 0")])
            assert (await nb.run(timeout_s=60)).end == "failed"
            assert (figures / "two.png").exists()  # not a complete run: nothing goes
            await nb.edit([put("two", "'no picture'")])
            assert (await nb.run(timeout_s=60)).figures == ("figures/one.png",)
            assert sorted(p.name for p in figures.iterdir()) == ["mine.png", "one.png", "three.png"]

    go(scene())


def test_the_time_limit_keeps_what_there_is(tmp_path: Path) -> None:
    cells = {"first": "x = 41 + 1\nx", "slow": "import time\nprint('begin')\nx\ntime.sleep(60)", "last": "x"}
    began = time.monotonic()
    report, events = go(execute(tmp_path, cells, timeout_s=2))
    assert time.monotonic() - began < 9
    assert report.end == "timeout"
    assert report.message == "The notebook was still running after 2 s, in cell 'slow'; what came before it was kept."
    assert cell(report, "first").outputs[0].text == "42"
    assert report.failed == ("slow",)
    assert (tmp_path / "project" / "reports" / "report.html").exists()
    assert [e.cell for e in events if e.status == "running" and not e.console][:1] == ["first"]


@pytest.mark.parametrize("stubborn", [False, True])
def test_an_interrupt_takes_about_a_second(tmp_path: Path, stubborn: bool) -> None:
    body = "import signal, time\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\n" if stubborn else "import time\n"
    took: list[float] = []

    async def scene() -> RunReport:
        async with runtime(tmp_path) as nb:
            await nb.create("notebook.py", title="t")
            await nb.edit([put("loop", body + "print('up', flush=True)\nwhile True:\n    time.sleep(0.01)")])
            running = asyncio.Event()

            async def listen(event: CellEvent) -> None:
                if event.console:
                    running.set()

            task = asyncio.create_task(nb.run(listen, timeout_s=60))
            await asyncio.wait_for(running.wait(), 30)
            began = time.monotonic()
            await nb.interrupt()
            report = await task
            took.append(time.monotonic() - began - report.timings.get("artifacts_s", 0))
            assert (await nb.cells())[0].name == "loop"  # the worker lives on
            return report

    report = go(scene())
    assert report.end == "stopped"
    assert report.failed == ("loop",)
    assert took[0] < 3


def test_a_dead_kernel_is_a_sentence(tmp_path: Path) -> None:
    """The worker outlives its kernels."""
    cases = [
        ("import os\nos._exit(3)", "crashed", "exit code 3) while cell 'boom' ran"),
        ("import ctypes\nctypes.string_at(0)", "crashed", "SIGSEGV) while cell 'boom' ran"),
        ("b = bytearray(8 << 30)", "memory", "needed more than 4 GiB in cell 'boom'"),
    ]

    async def scene() -> None:
        async with runtime(tmp_path) as nb:
            await nb.create("notebook.py", title="t")
            for code, end, words in cases:
                await nb.edit([put("before", "x = 1\nx"), put("boom", f"x\n{code}")])
                report = await nb.run(timeout_s=60)
                assert report.end == end, report
                assert words in report.message
                assert "boom" in report.failed
                assert cell(report, "before").status == "ok"

    go(scene())


def test_a_cell_that_kills_what_is_above_it(tmp_path: Path) -> None:
    """The worker, and the process that kernels are forked from: a sentence, and the next run works."""
    worker = "import os\nos.kill(int(open(f'/proc/{os.getppid()}/stat').read().rpartition(')')[2].split()[1]), 9)"
    launcher = "import os, time\nos.kill(os.getppid(), 9)\ntime.sleep(30)"

    async def scene() -> None:
        async with runtime(tmp_path) as nb:
            await nb.create("notebook.py", title="t")
            for code in (worker, launcher):
                await nb.edit([put("boom", code)])
                report = await nb.run(timeout_s=60)
                assert report.end == "crashed", report
                assert "process ended" in report.message
                await nb.edit([put("boom", "1")])
                assert (await nb.run(timeout_s=60)).ok
            assert [c.code for c in await nb.cells()] == ["1"]

    go(scene())


def test_resident_memory_of_all_processes_together_is_limited(tmp_path: Path) -> None:
    code = "import os, time\nfor _ in range(6):\n    if os.fork() == 0:\n        b = bytearray(400 << 20)\n        time.sleep(60)\ntime.sleep(60)"  # noqa: E501
    report, _ = go(execute(tmp_path, {"many": code}, memory_bytes=1 << 30, timeout_s=40))
    assert report.end == "memory", report.message
    assert "needed more than 1 GiB in cell 'many'" in report.message


def test_cancelling_a_run_leaves_no_process(tmp_path: Path) -> None:
    mark = str(int(secrets.token_hex(6), 16))

    async def scene() -> float:
        async with runtime(tmp_path) as nb:
            await nb.create("notebook.py", title="t")
            code = f"import subprocess\nsubprocess.Popen(['setsid', 'sleep', '300.{mark}'])\nsubprocess.run(['sleep', '301.{mark}'])"  # noqa: E501
            await nb.edit([put("daemon", code)])
            task = asyncio.create_task(nb.run(timeout_s=60))
            while alive(mark) < 2:
                await asyncio.sleep(0.05)
            began = time.monotonic()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            while alive(mark) and time.monotonic() - began < 5:
                await asyncio.sleep(0.02)
            return time.monotonic() - began

    assert go(scene()) < 2
    assert alive(mark) == 0


HOSTILE = r"""
import os, subprocess, sys, pathlib
found = []
os.write(1, b'{"id": 3, "result": {"end": "ok", "cells": [], "forged": true}}\n')
print('{"id": 3, "result": {"end": "ok"}}')
sys.__stdout__.write("chatter\n")
for path in %r:
    try:
        found.append(pathlib.Path(path).read_bytes()[:200])
    except OSError:
        pass
for process in pathlib.Path("/proc").glob("[0-9]*/environ"):
    try:
        if b"canary-8899" in process.read_bytes():
            found.append(str(process))
    except OSError:
        pass
subprocess.Popen(["setsid", "sleep", "300.%s"], start_new_session=True)
os.close(1)
found
"""


@pytest.mark.sandbox
def test_a_hostile_notebook_finds_nothing_and_leaves_nothing(tmp_path: Path) -> None:
    if not go(probe()).available:
        pytest.skip("needs bubblewrap")
    other = tmp_path / "other" / "secret.txt"
    other.parent.mkdir()
    other.write_text("canary-8899")
    mark = str(int(secrets.token_hex(6), 16))
    os.environ["POSTDOC_CANARY"] = "canary-8899"
    try:
        cells = {"evil": HOSTILE % ([str(other), "/etc/shadow"], mark), "after": "1 + 1"}
        report, _ = go(execute(tmp_path, cells))
    finally:
        del os.environ["POSTDOC_CANARY"]
    assert report.ok, report.message
    assert cell(report, "evil").outputs[0].text == "[]"
    assert cell(report, "after").outputs[0].text == "2"
    assert wait_for(lambda: alive(mark) == 0, 3)


def test_a_flood_of_output_is_cut(tmp_path: Path) -> None:
    code = "for i in range(200):\n    print('x' * 50_000)\nprint('the end')"
    before = psutil.Process().memory_info().rss
    report, events = go(execute(tmp_path, {"flood": code, "after": "'fine'"}, timeout_s=60))
    assert report.ok, report.message
    shown = "".join(e.console for e in events)
    assert len(shown) < 30_000
    assert "more output of this cell is not shown" in shown
    assert psutil.Process().memory_info().rss - before < 100 << 20
    assert (tmp_path / "project" / "reports" / "report.html").stat().st_size < 2_000_000
