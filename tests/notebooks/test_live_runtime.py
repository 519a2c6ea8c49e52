"""One runtime for a project: in the live notebook while it is open, in a worker of its own else. Real marimo."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from tests.notebooks.live import kill, pool, processes, project, until, workspace
from tests.notebooks.support import go, put

from jupyterlab_postdoc.errors import PostdocError
from jupyterlab_postdoc.notebooks.base import CellEvent
from jupyterlab_postdoc.notebooks.compare import digest
from jupyterlab_postdoc.notebooks.editors import EditorPool
from jupyterlab_postdoc.notebooks.runtime import ProjectRuntime

CHART = "import altair as alt\nalt.Chart({'values': [{'a': %d}]}).mark_bar().encode(x='a:Q')"


async def runtime(root: Path, editors: EditorPool) -> ProjectRuntime:
    return ProjectRuntime(await workspace(root), editors)


def batch_workers(root: Path) -> int:
    return sum("worker.serve" in " ".join(p.cmdline()) for p in processes("worker.serve") if p.cwd() == str(root))


def test_each_call_goes_where_the_notebook_is(tmp_path: Path) -> None:
    events: list[CellEvent] = []

    async def hear(event: CellEvent) -> None:
        events.append(event)

    async def scene() -> None:
        root = project(tmp_path)
        async with pool() as editors:
            nb = await runtime(root, editors)
            assert not nb.live
            assert nb.proven is None
            report = await nb.run()
            assert report.ok
            assert batch_workers(root) > 0
            with pytest.raises(PostdocError):
                await nb.run(cells=["first"])

            await editors.open(root)
            assert nb.live
            await nb.edit([put("first", "x = 40")])
            assert {c.name: c.status for c in await nb.cells()}["first"] == "stale"
            report = await nb.run(hear, cells=["first"])
            assert report.ok
            assert "in the live notebook" in report.message
            assert report.files == ()
            assert {c.name: c.status for c in report.cells} == {"first": "ok", "second": "ok"}
            assert [e.cell for e in events if e.status == "ok"] == ["first", "second"]
            assert batch_workers(root) == 0  # it had no more to do
            assert nb.proven is not None
            assert nb.proven["first"] == "x = 1"  # the whole notebook ran with another text
            assert "x = 40" in (root / "notebook.py").read_text()

            report = await nb.run()
            assert report.ok
            assert "reports/report.html" in report.files
            assert nb.proven["first"] == "x = 40"
            report = await nb.run(args=["--n", "3"])  # arguments need a process of their own
            assert report.ok
            assert batch_workers(root) > 0

            await editors.close(root)
            assert not nb.live
            assert (await nb.cells())[0].code == "x = 40"
            await nb.close()
            assert not processes(str(root))

    go(scene())


def test_what_others_changed_is_not_overwritten(tmp_path: Path) -> None:
    async def scene() -> None:
        root = project(tmp_path)
        async with pool() as editors:
            mine, theirs = await runtime(root, editors), await runtime(root, editors)
            await mine.cells()  # read in the worker, before the page was open
            await editors.open(root)
            await theirs.edit([put("first", "x = 2")])
            with pytest.raises(PostdocError) as caught:
                await mine.edit([put("first", "x = 3"), put("third", "z = 1")])
            assert caught.value.code == "version_conflict"
            assert caught.value.details == {"cell": "first", "theirs": "x = 2"}
            assert len(await theirs.cells()) == 2
            await mine.edit([put("first", "x = 3")])  # now it was seen
            assert (await theirs.cells(seen=False))[0].code == "x = 3"
            await theirs.edit([put("second", "y = x + 2")])  # what it tells of the first cell, nobody has looked at
            with pytest.raises(PostdocError) as caught:
                await theirs.edit([put("first", "x = 4")])
            assert caught.value.details == {"cell": "first", "theirs": "x = 3"}
            await theirs.cells()
            await theirs.edit([put("first", "x = 4")])
            await mine.edit([put("third", "z = 1")])
            with pytest.raises(PostdocError):
                await mine.edit([{"op": "delete", "name": "second"}])

            async def seen() -> tuple[dict[str, str], dict[str, str]]:
                codes = {"first": "x = 3", "second": "y = x + 2", "third": "z = 0"}
                return codes, {"third": digest("z = 1"), "fourth": digest("w = 1")}

            again = await runtime(root, editors)
            again.seen = seen
            await again.cells(seen=False)
            await again.edit([put("second", "y = x"), put("third", "z = 2")])
            for name in ("first", "fourth"):  # somebody else has changed it, and removed it
                with pytest.raises(PostdocError):
                    await again.edit([put(name, "v = 9")])
            await again.close()
            await mine.close()
            await theirs.close()

    go(scene())


def test_pictures_come_from_whoever_drew_them(tmp_path: Path) -> None:
    async def scene() -> None:
        root = project(tmp_path)
        async with pool() as editors:
            nb = await runtime(root, editors)
            await nb.edit([put("chart", CHART % 1)])
            report = await nb.run()
            assert report.redrawn == ("chart",)
            await editors.open(root)
            assert len(await nb.pictures(["chart"])) == 1  # the worker's
            report = await nb.run()
            assert (report.pictured, report.redrawn) == (("chart",), ())
            assert len(await nb.pictures(["chart"])) == 1  # the editor's
            await nb.edit([put("chart", CHART % 2)])
            report = await nb.run(cells=["chart"])
            assert report.redrawn == ("chart",)
            assert len(await nb.pictures(["chart"])) == 1
            await nb.close()

    go(scene())


def test_a_stop_interrupts_and_the_notebook_lives_on(tmp_path: Path) -> None:
    async def scene() -> None:
        root = project(tmp_path)
        async with pool() as editors:
            editor = await editors.open(root)
            nb = await runtime(root, editors)
            await nb.edit([put("slow", "import time\ntime.sleep(60)")])
            run = asyncio.create_task(nb.run(cells=["slow"]))
            await until(lambda: editor.status.kernel == "busy")
            await asyncio.sleep(0.3)
            run.cancel()
            assert await until(lambda: editor.status.kernel == "idle", 5) < 3
            with pytest.raises(asyncio.CancelledError):
                await run
            assert (await nb.run(cells=["first"])).ok
            run = asyncio.create_task(nb.run(cells=["slow"]))
            await until(lambda: editor.status.kernel == "busy")
            await asyncio.sleep(0.3)
            await nb.interrupt()
            assert (await run).end == "stopped"
            await nb.close()
            assert editors.get(root) is editor

    go(scene())


def test_death_is_told_and_work_goes_on(tmp_path: Path) -> None:
    async def scene() -> None:
        root = project(tmp_path)
        async with pool() as editors:
            editor = await editors.open(root)
            nb = await runtime(root, editors)
            await nb.edit([put("slow", "import time\ntime.sleep(60)")])
            run = asyncio.create_task(nb.run())
            await until(lambda: editor.status.kernel == "busy")
            await asyncio.sleep(0.3)
            kill(editor)
            report = await run
            assert report.end == "crashed"
            assert next(c for c in report.cells if c.name == "slow").error is not None
            await nb.edit([{"op": "delete", "name": "slow"}])  # waits for the revived one
            assert nb.live
            assert (await nb.run(cells=["first"])).ok

            await nb.edit([put("die", "import os\nos._exit(3)")])
            assert (await nb.run(cells=["die"])).end == "crashed"
            await until(lambda: editor.status.kernel == "dead", 5)
            await nb.edit([{"op": "delete", "name": "die"}])
            assert (await nb.run(cells=["second"])).ok  # in a new kernel, with what it needs
            await nb.close()

    go(scene())


def test_what_reads_names_that_come_later_runs_later(tmp_path: Path) -> None:
    """A notebook that is written from top to bottom shows no errors for the functions at its end."""

    async def scene() -> None:
        root = project(tmp_path)
        async with pool() as editors:
            await editors.open(root)
            nb = await runtime(root, editors)
            await nb.edit([put("load", "data = read(3)"), put("mean", "m = sum(data) / len(data)\nm")])
            early = await nb.run(cells=["load", "mean"], ready=True)
            assert early.ok
            assert early.cells == ()
            assert [(c.name, c.status) for c in await nb.cells() if c.name in ("load", "mean")] == [
                ("load", "new"),
                ("mean", "new"),
            ]
            asked = await nb.run(cells=["load"])  # asked for by name: it says what is wrong
            assert asked.failed == ("load",)
            await nb.edit([put("read", "def read(n):\n    return list(range(n))")])
            late = await nb.run(cells=["read"], ready=True)
            assert late.ok, late
            assert {c.name: c.status for c in late.cells} == {"read": "ok", "load": "ok", "mean": "ok"}
            assert next(c for c in late.cells if c.name == "mean").outputs[0].text == "1.0"
            await nb.close()

    go(scene())


def test_the_page_alone_leaves_the_agent_at_the_file(tmp_path: Path) -> None:
    """``following``: marimo's interface is another one; then the file is what both work on."""

    async def scene() -> None:
        root = project(tmp_path)
        async with pool() as editors:
            editor = await editors.open(root)
            editor.condition.become(state="following")
            nb = await runtime(root, editors)
            assert not nb.live
            await nb.edit([put("first", "x = 5")])
            assert "x = 5" in (root / "notebook.py").read_text()
            assert batch_workers(root) > 0
            await nb.close()

    go(scene())


def test_new_packages_need_a_new_process(tmp_path: Path) -> None:
    async def scene() -> None:
        root = project(tmp_path)
        async with pool() as editors:
            nb = await runtime(root, editors)
            await nb.cells()
            await nb.renew()
            assert batch_workers(root) == 0
            assert editors.get(root) is None
            before = await editors.open(root)
            await nb.edit([put("first", "x = 7")])
            await nb.renew()
            assert (await nb.cells())[0].code == "x = 7"
            assert editors.get(root) is before, "reading needs none of them"
            assert (await nb.run(cells=["first"])).ok
            after = editors.get(root)
            assert after is not None
            assert after is not before

            taken = True

            async def turn() -> None:
                if taken:
                    raise PostdocError("busy", "A person has it.", next="Wait.")

            nb.turn = turn
            await nb.renew()
            for _ in range(2):
                with pytest.raises(PostdocError, match="A person has it"):
                    await nb.edit([put("first", "x = 8")])
            assert editors.get(root) is after, "nobody who types is disturbed"
            assert "when you give it back" in after.status.message
            taken = False
            await nb.edit([put("first", "x = 8")])
            assert editors.get(root) not in (None, after)
            assert editors.status(root).message == ""
            await nb.close()

    go(scene())


def test_the_verdict_is_of_the_whole_notebook(tmp_path: Path) -> None:
    async def scene() -> None:
        root = project(tmp_path)
        async with pool() as editors:
            await editors.open(root)
            nb = await runtime(root, editors)
            await nb.edit([put("verdict", '{"x": x}')])
            report = await nb.run()
            assert report.verdict == {"x": 1}
            await nb.edit([put("first", "x = 2")])
            report = await nb.run(cells=["first"])
            assert report.verdict is None
            assert json.loads((root / "results.json").read_text()) == {"x": 1}
            report = await nb.run()
            assert report.verdict == {"x": 2}
            await nb.close()

    go(scene())
