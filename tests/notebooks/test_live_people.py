"""The live worker with pages open: people at the same notebook, kernels that die under them."""

from __future__ import annotations

import asyncio
import json
import statistics
import time
from pathlib import Path

import pytest
from tests.notebooks.live import pool, project, until, workspace
from tests.notebooks.live_support import CELLS, Failed, Page, cells_of, live, page, status
from tests.notebooks.support import go, put

from jupyterlab_postdoc.notebooks.base import CellEvent
from jupyterlab_postdoc.notebooks.runtime import ProjectRuntime


def test_what_a_person_types_is_not_overwritten(tmp_path: Path) -> None:
    async def scene() -> None:
        async with live(tmp_path) as nb:
            await nb.ask("create", title="T")
            known = nb.codes(await nb.put({}, **CELLS))
            async with page(nb) as person:
                ids = {c["name"]: c["id"] for c in await cells_of(nb, person)}
                await person.types(ids["a"], "a = 3  # mine")
                with pytest.raises(Failed) as caught:
                    await nb.put(known, a="a = 4", b="b = 0")
                assert caught.value.code == "version_conflict"
                assert caught.value.error["cell"] == "a"
                assert caught.value.error["theirs"] == "a = 3  # mine"
                assert nb.codes(await nb.ask("cells"))["b"] == known["b"]
                event = await nb.until(lambda e: e["type"] == "changed")
                assert event["cells"] == ["a"]
                await nb.put(known, b="b = a + 5\nb")  # another cell is free
                now = nb.codes(await nb.ask("cells"))
                assert (now["a"], now["b"]) == ("a = 3  # mine", "b = a + 5\nb")
                assert "# mine" in (nb.root / "notebook.py").read_text()  # a save keeps it, too
                await person.types(ids["a"], "a = (")  # half a thought stands in nobody's way
                await nb.put(known | {"a": "a = 3  # mine", "b": now["b"]}, c="c = b\nc")
                assert nb.codes(await nb.ask("cells"))["a"] == "a = ("
                await person.types(ids["a"], "a = 7")
                answer = await person.post("api/kernel/run", {"cellIds": [ids["a"]], "codes": ["a = 7"]})
                assert answer.status_code == 200
                await nb.until(lambda e: e["type"] == "kernel" and e["status"] == "idle", after=len(nb.events[0]))
                assert not any(m["op"] == "banner" for _, m in person.seen)
                states = {s["name"]: s for s in (await nb.ask("cells"))["states"]}
                assert states["a"]["status"] == "ok"

    go(scene())


def test_edits_and_outputs_reach_an_open_page_at_once(tmp_path: Path) -> None:
    async def scene() -> list[float]:
        took = []
        async with live(tmp_path) as nb:
            await nb.ask("create", title="T")
            await nb.put({}, **CELLS)
            await nb.run()
            async with page(nb, kiosk=True) as watcher:
                for number in range(12):
                    after = len(watcher.seen)
                    began = time.monotonic()
                    await nb.put(None, b=f"b = a * {number} + 7000\nb")
                    run = asyncio.create_task(nb.run("b"))
                    took.append(await watcher.shows(str(2 * number + 7000), after=after) - began)
                    await run
        return took

    took = go(scene())
    print(f"median {statistics.median(took) * 1000:.0f} ms, max {max(took) * 1000:.0f} ms")
    assert statistics.median(took) < 0.3  # 0.05 s on a quiet machine


def test_an_interrupt_a_death_and_a_revival_under_an_open_page(tmp_path: Path) -> None:
    async def scene() -> None:
        async with live(tmp_path) as nb:
            await nb.ask("create", title="T")
            await nb.put({}, **CELLS, slow="import time\ntime.sleep(60)")
            async with page(nb, kiosk=True) as watcher:
                run = asyncio.create_task(nb.run())
                await nb.until(lambda e: e.get("status") == "busy")
                await asyncio.sleep(1)
                number = nb.number
                began = time.monotonic()
                nb.say("interrupt", id=None)
                report = await run
                stopped = next(i for i, e in enumerate(nb.events[number]) if e["status"] == "error")
                assert nb.times[number][stopped] - began < 1.5
                assert report["end"] == "stopped"
                assert status(report)["c"] == "ok"
                assert status(report)["slow"] == "error"

                await nb.put(None, slow="import os\nos._exit(7)")
                began = time.monotonic()
                report = await nb.run("slow")
                assert report["end"] == "crashed"
                assert report["detail"] == "exit code 7"
                dead = await nb.until(lambda e: e.get("status") == "dead")
                assert "exit code 7" in dead["message"]
                assert (await nb.ask("cells"))["cells"]
                await nb.ask("restart")
                assert nb.events[0][-1]["status"] == "idle"
                assert nb.events[0][-1]["live"] is False
                await nb.put(None, slow="'alive again'")
                after = len(watcher.seen)
                assert (await nb.run("slow"))["end"] == "ok"
                await watcher.shows("alive again", after=after)

                await nb.put(None, slow="import os\nos._exit(9)")
                assert (await nb.run("slow"))["end"] == "crashed"
                after = len(watcher.seen)
                async with page(nb) as person:  # a person runs a cell of a dead kernel
                    ids = {c["name"]: c["id"] for c in await cells_of(nb, person)}
                    body = {"cellIds": [ids["c"]], "codes": [CELLS["c"] + "  # again"]}
                    assert (await person.post("api/kernel/run", body)).status_code == 200
                    await watcher.shows("21", after=after)
                assert watcher.closed is None

    go(scene())


def test_a_checkpoint_comes_back_and_keeps_outputs(tmp_path: Path) -> None:
    async def scene() -> None:
        async with live(tmp_path) as nb:
            await nb.ask("create", title="T")
            await nb.put({}, **CELLS)
            old = (nb.root / "notebook.py").read_text()
            await nb.run()
            await nb.put(None, b="b = 0", extra="1")
            async with page(nb) as person:
                ids = {c["name"]: c["id"] for c in await cells_of(nb, person)}
                back = await nb.ask("replace", text=old, known=None)
                assert nb.codes(back) == CELLS
                assert (nb.root / "notebook.py").read_text() == old
                assert person.closed is None
            async with page(nb) as person:
                kept = {c["name"]: c["id"] for c in await cells_of(nb, person)}
                assert kept == {name: ids[name] for name in CELLS}
            with pytest.raises(Failed, match="not a marimo notebook"):
                await nb.ask("replace", text="x = 1", known=None)
            # a file that was written outside is taken over
            (nb.root / "notebook.py").write_text(old.replace("a = 2", "a = 5"))
            assert nb.codes(await nb.ask("cells"))["a"] == "a = 5\nprint('a ran')"
            assert await nb.ask("save") == {"saved": False}
            assert await nb.ask("shutdown") == {"lost": ""}
            assert await nb.process.wait() == 0

    go(scene())


def test_outputs_of_other_code_are_marked_after_a_checkpoint_came_back(tmp_path: Path) -> None:
    def marks(watcher: Page, ids: dict[str, str], after: int) -> dict[str, bool]:
        names = {id: name for name, id in ids.items()}
        told = [m["data"] for _, m in watcher.seen[after:] if m["op"] == "cell-op"]
        return {names[m["cell_id"]]: m["stale_inputs"] for m in told if m.get("stale_inputs") is not None}

    async def scene() -> None:
        async with live(tmp_path) as nb:
            await nb.ask("create", title="T")
            await nb.put({}, **CELLS, alone="z = 1\nz")
            old = (nb.root / "notebook.py").read_text()
            await nb.run()
            await nb.put(None, b="b = 0\nb")
            await nb.run("b")
            new = (nb.root / "notebook.py").read_text()
            async with page(nb, kiosk=True) as watcher:
                ids = {c["name"]: c["id"] for c in await cells_of(nb, watcher)}
                after = len(watcher.seen)
                await nb.ask("replace", text=old)
                await watcher.sees(lambda m: m["op"] == "cell-op", after=after)
                await asyncio.sleep(0.3)
                assert marks(watcher, ids, after) == {"b": True, "c": True}
                after = len(watcher.seen)
                await nb.ask("replace", text=new)  # what they show is theirs again
                await watcher.sees(lambda m: m["op"] == "cell-op", after=after)
                await asyncio.sleep(0.3)
                assert marks(watcher, ids, after) == {"b": False, "c": False}
                await nb.ask("replace", text=old)
                after = len(watcher.seen)
            async with page(nb, kiosk=True) as later:
                await asyncio.sleep(0.5)
                assert marks(later, ids, 0) == {"b": True, "c": True}
            assert status(await nb.run("b")) == {"b": "ok", "c": "ok"}
            async with page(nb, kiosk=True) as later:
                await asyncio.sleep(0.5)
                assert marks(later, ids, 0) == {}

    go(scene())


def test_old_outputs_stay_until_something_else_was_computed(tmp_path: Path) -> None:
    def outputs(root: Path) -> dict[str, str]:
        saved = json.loads((root / "__marimo__/session/notebook.py.json").read_text())
        return {c["id"]: json.dumps(c["outputs"]) for c in saved["cells"] if c["outputs"]}

    async def scene() -> None:
        async with live(tmp_path) as nb:
            await nb.ask("create", title="T")
            await nb.put({}, **CELLS)
            await nb.run()
            before = outputs(nb.root)
            await nb.ask("shutdown")
        path = nb.root / "notebook.py"
        path.write_text(path.read_text().replace("c = b + 1", "c = b + 2"))
        async with live(tmp_path) as nb:
            await nb.until(lambda e: e.get("status") == "idle")
            async with page(nb) as person:  # the cells that are as they were show what they showed
                await person.shows("20")
                await asyncio.sleep(1.5)
            assert outputs(nb.root) == before  # nothing ran
            await nb.ask("restart")
            await nb.run("c")
            await nb.ask("shutdown")
            after = outputs(nb.root)
            assert "22" in after.pop(next(i for i, text in after.items() if "22" in text))
            assert any("20" in text for text in after.values())

    go(scene())


def test_a_run_waits_for_what_a_person_runs(tmp_path: Path) -> None:
    """Its time begins with its own cells; who stops it, stops nothing of the person's."""
    slow = "import time\ntime.sleep(3)\n'slow was here'"

    async def scene() -> None:
        async with live(tmp_path) as nb:
            await nb.ask("create", title="T")
            await nb.put({}, **CELLS, slow=slow, next="'the next one'")
            async with page(nb) as person:
                ids = {c["name"]: c["id"] for c in await cells_of(nb, person)}
                await person.runs(ids["slow"], slow)
                await person.runs(ids["next"], "'the next one'")  # it stands in the queue, too
                await nb.until(lambda e: e.get("status") == "busy")
                after = len(person.seen)
                began = time.monotonic()
                report = await nb.run("c", timeout_s=1.5)
                assert report["end"] == "ok", report
                assert status(report)["c"] == "ok"
                assert {"waits": "slow"} in nb.events[nb.number]
                assert await person.shows("slow was here", after=after) > began + 1.5, "it was not interrupted"
                await person.shows("the next one", after=after)

                for names in (["c"], []):  # some cells, or the whole notebook, which may need another kernel
                    await person.runs(ids["slow"], slow)
                    await nb.until(lambda e: e.get("status") == "busy", after=len(nb.events[0]))
                    after, number = len(person.seen), nb.number + 1
                    run = asyncio.create_task(nb.run(*names))
                    await asyncio.sleep(0.7)
                    began = time.monotonic()
                    nb.say("interrupt", id=number)
                    with pytest.raises(Failed, match="stopped before it began"):
                        await run
                    assert time.monotonic() - began < 0.5
                    await person.shows("slow was here", after=after)
                    assert [e for e in nb.events[number] if "waits" not in e] == []

                # the person interrupts it, or its kernel dies: the run begins
                for end in ("api/kernel/interrupt", ""):
                    code = slow if end else "import os\nimport time\ntime.sleep(1.5)\nos._exit(3)"
                    await person.runs(ids["slow"], code)
                    await nb.until(lambda e: e.get("status") == "busy", after=len(nb.events[0]))
                    run = asyncio.create_task(nb.run("c", timeout_s=20))
                    await asyncio.sleep(0.7)
                    assert not run.done()
                    if end:
                        assert (await person.post(end, {})).status_code == 200
                    report = await run
                    assert (report["end"], status(report)["c"]) == ("ok", "ok")
                    assert await nb.ask("restart") == {}

    go(scene())


def test_waiting_for_a_person_is_said_and_ends_no_editor(tmp_path: Path) -> None:
    slow = "import time\ntime.sleep(4)\n'slow was here'"
    events: list[CellEvent] = []

    async def hear(event: CellEvent) -> None:
        events.append(event)

    async def scene() -> None:
        root = project(tmp_path)
        async with pool() as editors:
            editor = await editors.open(root)
            nb = ProjectRuntime(await workspace(root), editors)
            await nb.edit([put("slow", slow)])
            async with page(editor) as person:
                ids = {c["name"]: c["id"] for c in await cells_of(nb, person)}
                await person.runs(ids["slow"], slow)
                await until(lambda: editor.status.kernel == "busy")
                answer = await editor.ask("run", args=[], timeout_s=1, cells=["second"], whole=False, wait_s=2)
                assert answer["end"] == "ok"
                await person.runs(ids["slow"], slow)
                await asyncio.sleep(0.5)
                assert (await nb.run(hear, timeout_s=1)).end == "timeout"  # of its own: slow runs in it
                assert editors.get(root) is editor
                assert editor.revivals == 0
                told = [event.sentence for event in events if event.waits]
                assert told == ["Waits for the cell that you are running (slow)"]
                assert next(event for event in events if not event.waits).cell == "first"
                await nb.close()

    go(scene())
