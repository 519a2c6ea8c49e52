"""The live notebook beside others: another program writes the file, runs wait, somebody comes in the last moment."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from tests.notebooks.live import pool, project
from tests.notebooks.live_support import CELLS, Failed, cells_of, live, page
from tests.notebooks.support import go


def test_what_another_program_wrote_is_not_overwritten(tmp_path: Path) -> None:
    async def scene() -> None:
        async with live(tmp_path) as nb:
            file = nb.root / "notebook.py"
            await nb.ask("create", title="T")
            await nb.put({}, **CELLS)
            file.write_text(file.read_text().replace("a = 2", "a = 5"))
            await nb.ask("save")  # nobody has typed anything that is not in the file
            assert "a = 5" in file.read_text()
            assert nb.codes(await nb.ask("cells"))["a"].startswith("a = 5")

            good = file.read_text()
            file.write_text("This is no notebook yet.")  # somebody is in the middle of something
            await nb.ask("save")
            assert file.read_text() == "This is no notebook yet."
            file.write_text(good.replace("a = 5", "a = 6"))
            await nb.ask("restart")
            assert "a = 6" in file.read_text()

            async with page(nb) as person:
                ids = {c["name"]: c["id"] for c in await cells_of(nb, person)}
                await person.types(ids["b"], "b = 1  # mine")
                file.write_text(file.read_text().replace("a = 6", "a = 7"))
                await nb.ask("save")  # what was typed here wins
                assert "# mine" in file.read_text()

            file.write_text(file.read_text().replace("a = 6", "a = 8"))
            await nb.ask("shutdown")
            assert "a = 8" in file.read_text()

    go(scene())


def test_a_run_that_waits_for_another_is_stopped_alone(tmp_path: Path) -> None:
    async def scene() -> None:
        async with live(tmp_path) as nb:
            await nb.ask("create", title="T")
            await nb.put({}, slow="import time\ntime.sleep(2)\ns = 1", quick="open('ran.txt', 'w').write('x')\nq = 1")
            first = asyncio.create_task(nb.run("slow"))
            await asyncio.sleep(0.5)
            second = asyncio.create_task(nb.run("quick"))
            await asyncio.sleep(0.2)
            nb.say("interrupt", id=nb.number)  # as the server does when nobody waits for it any more
            with pytest.raises(Failed, match="before it began"):
                await second
            assert not (nb.root / "ran.txt").exists()
            assert (await first)["end"] == "ok"
            third = asyncio.create_task(nb.run("slow"))
            await asyncio.sleep(0.5)
            nb.say("interrupt", id=1)  # a request that is long over
            assert (await third)["end"] == "ok"

    go(scene())


def test_who_comes_while_an_idle_editor_is_saved_keeps_it(tmp_path: Path) -> None:
    async def scene() -> None:
        root = project(tmp_path)
        async with pool(idle_s=60) as editors:
            editor = await editors.open(root)
            closing = asyncio.create_task(editors._let_go(root, "Nobody needed it."))
            await asyncio.sleep(0)  # it is being saved
            asked = asyncio.create_task(editor.ask("run", args=[], timeout_s=30, cells=None, whole=True))
            assert not await closing
            assert (await asked)["end"] == "ok"
            assert editors.get(root) is editor

    go(scene())
