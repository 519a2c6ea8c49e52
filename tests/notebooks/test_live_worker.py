"""The live worker: edits, runs, what it keeps from a cell. Real marimo in the real sandbox."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import time
from pathlib import Path

import httpx
import pytest
from tests.notebooks.live_support import CELLS, HOST, TOKEN, Failed, cells_of, live, page, shown, status
from tests.notebooks.support import STUDY, go, runtime


def test_edits_and_partial_runs(tmp_path: Path) -> None:
    async def scene() -> None:
        async with live(tmp_path) as nb:
            assert (await nb.ask("create", title="Life"))["cells"] == []
            made = await nb.put({}, **CELLS)
            assert nb.codes(made) == CELLS
            assert made["changed"] == list(CELLS)
            assert made["issues"] == []
            text = (nb.root / "notebook.py").read_text()
            assert 'app_title="Life"' in text
            assert "def b(a):" in text
            assert nb.codes(await nb.ask("cells")) == CELLS

            ran = await nb.run("b")  # and what it needs, and what needs it
            assert ran["end"] == "ok"
            assert status(ran) == dict.fromkeys(CELLS, "ok")
            assert shown(ran, "c") == "21"
            assert "files" not in ran
            events = nb.events[nb.number]
            assert [e["cell"] for e in events if e["status"] == "running" and "console" not in e] == list(CELLS)
            assert "".join(e.get("console", "") for e in events) == "a ran\n"
            assert [e["outputs"][0]["text"] for e in events if e["status"] == "ok" and e["cell"] == "b"] == ["20"]

            await nb.put(CELLS, b="b = a * 100\nb")
            ran = await nb.run("b")
            assert status(ran) == {"b": "ok", "c": "ok"}
            assert shown(ran, "c") == "201"
            moved = await nb.ask(
                "edit", changes=[{"op": "move", "name": "c", "after": "a"}, {"op": "delete", "name": "b"}], known=None
            )
            assert list(nb.codes(moved)) == ["setup", "a", "c"]
            assert moved["deleted"] == ["b"]
            assert "b = a" not in (nb.root / "notebook.py").read_text()
            failing = await nb.run("c")
            assert failing["end"] == "failed"
            assert failing["cells"][0]["error"]["name"] == "NameError"
            assert failing["cells"][0]["error"]["line"] == 1
            with pytest.raises(Failed, match="cannot name a cell"):
                await nb.put(None, **{"not a name": "1"})
            issues = (await nb.ask("check"))["issues"]
            assert [i["cell"] for i in issues if i["severity"] == "error"] == ["c"]

    go(scene())


def test_what_was_written_is_what_the_next_start_reads(tmp_path: Path) -> None:
    """marimo drops a comment at the end of a function that reads another cell, and only when it sees that cell."""
    text = "import marimo\n\napp = marimo.App(auto_download=['html'])\n\n\n@app.cell\ndef a():\n    return\n"

    async def scene() -> None:
        async with live(tmp_path, text=text) as nb:
            await nb.put(None, g="def g(x):\n    return x")
            codes = nb.codes(await nb.put(None, f="def f():\n    return g(1)  # the first"))
            assert codes == nb.codes(await nb.ask("check")), "the check reads the file"
            assert "auto_download=[" in (nb.root / "notebook.py").read_text()

    go(scene())


def test_outputs_are_the_kernels_own_after_a_whole_run(tmp_path: Path) -> None:
    """Also with cells of prose, which marimo shows without running them."""

    async def scene() -> None:
        async with live(tmp_path) as nb:
            await nb.ask("create", title="Life")
            await nb.put({}, setup="import marimo as mo", method='mo.md(r"""\nThe **method**\n""")', a="a = 1\na")
            assert (await nb.run())["end"] == "ok"
            assert nb.events[0][-1]["status"] == "idle"
            assert nb.events[0][-1]["live"] is True

    go(scene())


def test_a_whole_run_gives_the_same_as_the_batch_run(tmp_path: Path) -> None:
    async def scene() -> None:
        async with live(tmp_path, text=STUDY.read_text(), env={"POSTDOC_PRELOAD": "numpy,pandas"}) as nb:
            report = await nb.run()
            pictures = await nb.ask("pictures", names=list(report["drawn"]))
        batch_root = tmp_path / "batch"
        batch_root.mkdir()
        async with runtime(batch_root) as batch:
            (batch.root / "notebook.py").write_text(STUDY.read_text())
            other = await batch.run(timeout_s=100)
        assert report["end"] == other.end == "ok"
        assert {c["name"]: (c["status"], c["code"]) for c in report["cells"]} == {
            c.name: (c.status, c.code) for c in other.cells
        }
        texts = {c["name"]: [(o["kind"], o["text"]) for o in c["outputs"]] for c in report["cells"]}
        assert texts == {c.name: [(o.kind, o.text) for o in c.outputs] for c in other.cells}
        assert report["verdict"] == other.verdict
        assert set(report["files"]) == set(other.files)
        assert tuple(report["drawn"]) == other.pictured
        assert {item["cell"] for item in pictures["pictures"]} == set(other.pictured)
        for name in report["files"]:
            assert (nb.root / name).stat().st_size > 50

    go(scene())


def test_a_whole_run_is_as_from_a_fresh_state(tmp_path: Path) -> None:
    cells = {
        "setup": "import marimo as mo\nimport os, pathlib",
        "pid": "os.getpid()",
        "data": "text = pathlib.Path('data.txt').read_text()\ntext",
        "use": "len(text)",
    }

    async def scene() -> None:
        async with live(tmp_path) as nb:
            (nb.root / "data.txt").write_text("one")
            os.utime(nb.root / "data.txt", (time.time() - 60, time.time() - 60))
            await nb.ask("create", title="T")
            await nb.put({}, **cells)
            first = await nb.run()
            assert (await nb.run())["cells"] == first["cells"]  # nothing was stale: nothing ran again
            assert [e["status"] for e in nb.events[nb.number]] == ["ok"] * 4
            await nb.put(None, more="1 + 1")
            grown = await nb.run()
            assert shown(grown, "pid") == shown(first, "pid")
            assert shown(grown, "more") == "2"
            await nb.run("use")
            again = await nb.run()  # a cell has run twice: not to be trusted
            assert shown(again, "pid") != shown(first, "pid")
            (nb.root / "data.txt").write_text("three")
            other = await nb.run()
            assert shown(other, "data") == "'three'"
            assert status(other) == dict.fromkeys([*cells, "more"], "ok")
            await nb.put(None, more="2 + 2")
            assert shown(await nb.run(), "more") == "4"

    go(scene())


def test_a_time_limit_and_a_cell_that_ignores_interrupts(tmp_path: Path) -> None:
    stubborn = (
        "import time\nfor _ in range(60):\n    try:\n        time.sleep(1)\n    except KeyboardInterrupt:\n        pass"
    )

    async def scene() -> None:
        async with live(tmp_path) as nb:
            await nb.ask("create", title="T")
            await nb.put({}, **CELLS, slow="import time\ntime.sleep(60)")
            report = await nb.run("slow", timeout_s=1)
            assert report["end"] == "timeout"
            assert report["cells"][-1]["error"]["name"] == "TimeoutError"
            assert report["cells"][-1]["error"]["message"] == "The time limit of 1 s ended this cell."
            await nb.put(None, slow=stubborn)
            run = asyncio.create_task(nb.run())
            await nb.until(lambda e: e.get("status") == "busy", after=len(nb.events[0]))
            await asyncio.sleep(1)
            began = time.monotonic()
            nb.say("interrupt", id=None)
            report = await run
            assert time.monotonic() - began < 3  # killed after one second
            assert report["end"] == "stopped"
            assert status(report)["slow"] == "error"
            assert [e["status"] for e in nb.events[0] if e["type"] == "kernel"][-1] == "dead"
            await nb.put(None, slow="'gone on'")  # revives it
            assert (await nb.run())["end"] == "ok"

    go(scene())


def test_a_stop_counts_from_the_moment_of_the_request(tmp_path: Path) -> None:
    """Also when both are read at once."""
    quick = "open('ran.txt', 'w').write('x')\nq = 1"

    async def scene() -> None:
        async with live(tmp_path) as nb:
            await nb.ask("create", title="T")
            await nb.put({}, quick=quick)
            assert nb.process.stdin is not None
            run = {"op": "run", "path": str(nb.root / "notebook.py"), "args": [], "timeout_s": 30, "cells": ["quick"]}
            nb.number += 1
            lines = [{**run, "id": nb.number}, {"op": "interrupt", "id": nb.number}]
            answer = nb.waiting[nb.number] = asyncio.get_running_loop().create_future()
            nb.process.stdin.write("".join(json.dumps(line) + "\n" for line in lines).encode())
            assert "stopped before it began" in (await asyncio.wait_for(answer, 20))["error"]["message"]
            assert not (nb.root / "ran.txt").exists()
            assert (await nb.run("quick"))["end"] == "ok"
            assert (nb.root / "ran.txt").exists()

    go(scene())


def test_a_new_kernel_has_the_libraries_and_the_end_of_stdin_is_the_end(tmp_path: Path) -> None:
    async def scene() -> None:
        async with live(tmp_path) as nb:
            await nb.ask("create", title="T")
            await nb.put(
                {}, early="import sys\nearly = 'numpy' in sys.modules\nearly", late="early\nimport numpy as np"
            )
            assert shown(await nb.run(), "early") == "False"
            await nb.ask("restart")
            assert shown(await nb.run(), "early") == "True"
            await nb.ask("restart")
            assert shown(await nb.run("late"), "early") == "True"
            async with page(nb) as person:
                ids = {c["name"]: c["id"] for c in await cells_of(nb, person)}
                await person.types(ids["late"], "typed = early")
                assert nb.process.stdin is not None
                nb.process.stdin.close()
                began = time.monotonic()
                assert await nb.process.wait() == 0
                assert time.monotonic() - began < 1.5
            assert "typed = early" in (nb.root / "notebook.py").read_text()  # nothing that was typed is lost

    go(scene())


def test_the_socket_wants_the_token_and_a_cell_gets_nowhere(tmp_path: Path) -> None:
    beside = tmp_path / "beside.txt"  # as another project's file, a key or the log would lie
    beside.write_text("not yours")
    jupyter = socket.create_server(("127.0.0.1", 0))  # any service of the machine
    probe = "\n".join(
        [
            "import os, socket, pathlib",
            "found = {}",
            "found['env'] = sorted(k for k in os.environ if 'TOKEN' in k or 'KEY' in k)",
            f"found['home'] = os.path.exists({str(beside)!r}) or os.path.exists('/etc/shadow')",
            f"try:\n    socket.create_connection({jupyter.getsockname()!r}, 1); found['net'] = True",
            "except OSError:\n    found['net'] = False",
            "found",
        ]
    )

    async def scene() -> None:
        async with live(tmp_path) as nb:
            assert (nb.folder / "s").stat().st_mode & 0o777 == 0o600
            transport = httpx.AsyncHTTPTransport(uds=str(nb.folder / "s"))
            async with httpx.AsyncClient(transport=transport) as http:
                assert (await http.get(f"http://{HOST}/api/status")).status_code == 401
                api = await http.post(f"http://{HOST}/api/marimo/v1/notebooks", headers={"Idempotency-Key": "1"})
                assert api.status_code in (401, 403, 404)
            await nb.ask("create", title="T")
            await nb.put({}, look=probe, big="bytearray(5 << 30)")
            report = await nb.run()
            found = next(c for c in report["cells"] if c["name"] == "look")["outputs"][0]["data"]
            assert found == {"env": [], "home": False, "net": False}
            assert next(c for c in report["cells"] if c["name"] == "big")["error"]["name"] == "MemoryError"
            assert TOKEN.encode() not in nb.errors
            with pytest.raises(Failed, match="This editor has"):
                await nb.ask("cells", path="/tmp/other.py")

    with jupyter:
        go(scene())


def test_without_the_host_api_the_page_follows_the_file(tmp_path: Path) -> None:
    text = SMALL

    async def scene() -> None:
        async with live(tmp_path, text=text, env={"MARIMO_ENABLE_HOST": "0"}) as nb:
            ready = nb.events[0][0]
            assert ready["host_api"] is False
            assert "Host API" in ready["why"]
            with pytest.raises(Failed) as caught:
                await nb.put(None, a="1")
            assert caught.value.code == "busy"
            async with page(nb, kiosk=True) as watcher:
                after = len(watcher.seen)
                (nb.root / "notebook.py").write_text(text.replace("40 + 2", "40 + 3"))
                await watcher.shows("43", after=after)

    go(scene())


SMALL = """import marimo

app = marimo.App()


@app.cell
def a():
    a = 40 + 2
    a
    return


if __name__ == "__main__":
    app.run()
"""
