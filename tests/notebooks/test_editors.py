"""The pool of managed editors: start, limits, idle shutdown, room, revival, death. Real marimo in the real sandbox."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

import psutil
import pytest
from tests.notebooks.live import get, kill, pool, processes, project, until, workspace
from tests.notebooks.live_support import cells_of, page
from tests.notebooks.support import go

from jupyterlab_postdoc.assemble import Services, assemble
from jupyterlab_postdoc.commands import User
from jupyterlab_postdoc.errors import PostdocError
from jupyterlab_postdoc.notebooks.editor import LiveEditor
from jupyterlab_postdoc.notebooks.editors import EditorPool
from jupyterlab_postdoc.notebooks.live import Upstream, unsaved
from jupyterlab_postdoc.notebooks.run_folder import RunFolder, base_folder
from jupyterlab_postdoc.notebooks.wire import LINE, Worker
from jupyterlab_postdoc.settings import Settings
from jupyterlab_postdoc.workspace import sandbox
from jupyterlab_postdoc.workspace.workspace import Workspace

ANA = User("ana", "Ana")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def inode_of(path: Path) -> int:
    """Of the listening socket that is bound to this path."""
    lines = Path("/proc/net/unix").read_text().splitlines()
    return next(int(line.split()[6]) for line in lines if line.endswith(str(path)))


def descriptors(pid: int) -> list[str]:
    folder = Path(f"/proc/{pid}/fd")
    return [os.readlink(link) for link in folder.iterdir() if link.is_symlink()]


def test_an_editor_is_started_on_demand_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-hidden")
    show = "import os\nstr(sorted(os.environ))"

    async def scene() -> None:
        root = project(tmp_path)
        async with pool() as editors:
            assert editors.get(root) is None
            assert editors.status(root).state == "stopped"
            first, second = await asyncio.gather(editors.open(root), editors.open(root))
            assert first is second is editors.get(root)
            assert first.status.state == "ready"
            upstream = first.upstream
            assert upstream.socket is not None
            assert mode(upstream.socket.parent) == 0o700
            assert [path.name for path in upstream.socket.parent.iterdir()] == ["s"]
            assert mode(upstream.socket) & 0o077 == 0
            assert (await get(upstream, "/", file=upstream.notebook)).status_code == 200
            assert (await get(upstream, "/", "wrong", file=upstream.notebook)).status_code != 200
            await first.ask("edit", changes=[{"op": "put", "name": "show", "code": show}], known=None)
            answer = await first.ask("run", args=[], timeout_s=30, cells=["show"], whole=False)
            shown = next(cell for cell in answer["cells"] if cell["name"] == "show")["outputs"][0]
            assert "PATH" in str(shown)
            assert "ANTHROPIC_API_KEY" not in str(shown)
            worker = processes(str(root))[-1]
            kernels = worker.children(recursive=True)
            assert kernels
            assert str(inode_of(upstream.socket)) in str(descriptors(worker.pid))
            for process in kernels:  # none of the notebook's own processes has the door in its hands
                assert str(inode_of(upstream.socket)) not in str(descriptors(process.pid))
            for process in [*processes(str(root)), *kernels]:
                assert upstream.token not in str(process.cmdline()) + str(process.environ())
            await editors.close(root, reason="Closed by Ana.")
            assert (editors.status(root).state, editors.status(root).message) == ("stopped", "Closed by Ana.")
            assert not upstream.socket.parent.exists()
            assert not processes(str(root))
        assert "show" in (root / "notebook.py").read_text()

    go(scene())


def test_without_a_notebook_or_a_folder_nothing_is_started(tmp_path: Path) -> None:
    async def scene() -> None:
        async with pool() as editors:
            (tmp_path / "empty").mkdir()
            for root in (tmp_path / "empty", tmp_path / "gone"):
                with pytest.raises(PostdocError) as caught:
                    await editors.open(root)
                assert caught.value.code == "not_found"
            with pytest.raises(PostdocError):
                await editors.open(project(tmp_path), "../other.py")

    go(scene())


def test_a_missing_sandbox_is_said(tmp_path: Path) -> None:
    missing = sandbox.SandboxStatus(None, False, "Bubblewrap (bwrap) is not installed.", "Install it.")

    async def strict(root: Path) -> Workspace:
        return Workspace(root, sandbox=sandbox.choose(missing, trusted=False, allow_unsandboxed=False))

    async def lenient(root: Path) -> Workspace:
        return Workspace(root, sandbox=sandbox.choose(missing, trusted=False, allow_unsandboxed=True))

    async def scene() -> None:
        root = project(tmp_path)
        async with pool(make_workspace=strict) as editors:
            with pytest.raises(PostdocError) as caught:
                await editors.open(root)
            assert caught.value.code == "sandbox_missing"
            assert editors.status(root).state == "failed"
            assert "not installed" in editors.status(root).message
        async with pool(make_workspace=lenient) as editors:
            editor = await editors.open(root)
            assert (editor.status.state, editor.status.sandboxed) == ("ready", False)
            assert (await get(editor.upstream, "/health")).status_code == 200

    go(scene())


def test_nobody_needs_it_any_more(tmp_path: Path) -> None:
    """A viewer keeps it, so does what executes; then it is saved and closed, and says so."""
    busy = [{"op": "put", "name": "busy", "code": "import time\ntime.sleep(2.5)\ndone = 1"}]

    async def scene() -> None:
        root = project(tmp_path)
        async with pool(idle_s=0.8) as editors:
            editor = await editors.open(root)
            editor.viewer(1)
            await asyncio.sleep(1.5)
            assert editors.get(root) is editor
            await editor.ask("edit", changes=busy, known=None)
            run = asyncio.create_task(editor.ask("run", args=[], timeout_s=30, cells=["busy"], whole=False))
            editor.viewer(-1)
            await asyncio.sleep(1.5)
            assert editors.get(root) is editor
            assert (await run)["end"] == "ok"
            assert await until(lambda: editors.get(root) is None, 10) > 0.3
            assert editors.status(root).state == "stopped"
            assert "without use" in editors.status(root).message
            await until(lambda: not processes(str(root)))

    go(scene())


def test_the_longest_idle_makes_room(tmp_path: Path) -> None:
    async def scene() -> None:
        a, b, c = (project(tmp_path, name) for name in "abc")
        async with pool(most=2, parallel=1) as editors:
            one, two = await asyncio.gather(editors.open(a), editors.open(b))
            two.viewer(1)
            three = await editors.open(c)
            assert [editors.get(root) for root in (a, b, c)] == [None, two, three]
            assert "make room" in editors.status(a).message
            three.viewer(1)
            with pytest.raises(PostdocError) as caught:
                await editors.open(a)
            assert caught.value.code == "capacity"
            assert one.status.state == "stopped"

    go(scene())


async def page_word(upstream: Upstream) -> str:
    """What marimo's page shows with all that it sends."""
    text = (await get(upstream, "/", file="notebook.py")).text
    found = re.search(r'"?serverToken"?:\s*"([^"]+)"', text)
    assert found, text[:500]
    return found[1]


def test_it_is_revived_once(tmp_path: Path) -> None:
    async def scene() -> None:
        root = project(tmp_path)
        states: list[str] = []
        async with pool() as editors:
            editor = await editors.open(root)
            before = editor.upstream
            editor.listen(lambda _: states.append(editor.status.state))
            editor.viewer(1)
            word = await page_word(editor.upstream)
            kill(editor)
            await until(lambda: "starting" in states)
            assert editors.get(root) is None
            assert await editors.open(root) is editor  # whoever opens it waits for it
            assert editors.get(root) is editor
            assert "ended (it was killed) and was started again" in editor.status.message
            assert await page_word(editor.upstream) == word  # what an open page sends is not refused
            assert (editor.upstream.socket, editor.upstream.token) == (before.socket, before.token)
            assert (await get(editor.upstream, "/health")).status_code == 200
            assert len((await editor.ask("cells"))["cells"]) == 2
            kill(editor)
            await until(lambda: editor.status.state == "failed")
            assert "ended again" in editor.status.message
            with pytest.raises(PostdocError):
                await editor.save()
            again = await editors.open(root)
            assert again is not editor
            assert again.status.state == "ready"

    go(scene())


def test_a_dead_kernel_is_replaced(tmp_path: Path) -> None:
    async def scene() -> None:
        root = project(tmp_path)
        async with pool() as editors:
            editor = await editors.open(root)
            die = [{"op": "put", "name": "die", "code": "import os\nos._exit(3)"}]
            await editor.ask("edit", changes=die, known=None)
            answer = await editor.ask("run", args=[], timeout_s=30, cells=["die"], whole=False)
            assert answer["end"] == "crashed"
            await until(lambda: editor.status.kernel == "dead", 5)
            assert editor.status.message
            await editor.ask("edit", changes=[{"op": "delete", "name": "die"}], known=None)
            await editor.restart()
            answer = await editor.ask("run", args=[], timeout_s=30, cells=["first"], whole=False)
            assert answer["end"] == "ok"
            assert editor.status.message == ""

    go(scene())


def test_too_much_memory_ends_it_with_a_sentence(tmp_path: Path) -> None:
    """The kernel's own limit comes first; this is what all processes together may use."""

    async def scene() -> None:
        root = project(tmp_path)
        async with pool(memory_bytes=1 << 30) as editors:
            editor = await editors.open(root)
            eat = [{"op": "put", "name": "eat", "code": "eaten = bytearray(3 << 30)"}]
            await editor.ask("edit", changes=eat, known=None)
            answer = await editor.ask("run", args=[], timeout_s=30, cells=["eat"], whole=False)
            assert "MemoryError" in str(answer["cells"])
            assert editor.status.state == "ready"

    go(scene())


SERVER = """
import asyncio, sys
from pathlib import Path
from typing import Any
from tests.notebooks.live import pool
async def main():
    async with pool() as editors:
        editor = await editors.open(Path(sys.argv[1]))
        await editor.ask("run", args=[], timeout_s=30, cells=["first"], whole=False)
        print(editor.upstream.socket, flush=True)
        await asyncio.sleep(60)
asyncio.run(main())
"""


def test_a_killed_server_takes_everything_with_it(tmp_path: Path) -> None:
    root = project(tmp_path)
    here = Path(__file__).parents[2]
    child = subprocess.Popen([sys.executable, "-c", SERVER, str(root)], stdout=subprocess.PIPE, text=True, cwd=here)
    assert child.stdout is not None
    socket = Path(child.stdout.readline().strip())
    try:
        assert socket.is_socket()
        left = [p.pid for p in processes(str(root)) if p.pid != child.pid]
        assert left
    finally:
        os.kill(child.pid, signal.SIGKILL)
    child.wait()
    child.stdout.close()
    began = time.monotonic()
    while processes(str(root)):
        assert time.monotonic() - began < 1.0
        time.sleep(0.02)
    assert socket.parent.exists()  # a killed server tidies nothing up
    folder = RunFolder.make()
    try:
        assert not socket.parent.parent.exists()
        other = RunFolder.make()  # a server beside this one leaves its folder alone
        assert folder.path.exists()
        other.remove()
    finally:
        folder.remove()
    assert not folder.path.exists()


def test_run_folders_are_for_us_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    with tempfile.TemporaryDirectory() as short:
        monkeypatch.setenv("XDG_RUNTIME_DIR", short)
        base = base_folder()
        assert (str(base.parent), mode(base)) == (short, 0o700)
        base.rmdir()
        (Path(short) / "elsewhere").mkdir()
        base.symlink_to(Path(short) / "elsewhere")
        assert base_folder() != base
        monkeypatch.setenv("XDG_RUNTIME_DIR", short + "/long" * 30)
        assert len(str(base_folder())) < 60


def test_closing_while_it_starts(tmp_path: Path) -> None:
    async def scene() -> None:
        root = project(tmp_path)
        async with pool() as editors:
            waiting = asyncio.create_task(editors.open(root))
            await asyncio.sleep(0.2)
            assert editors.status(root).state == "starting"
            await editors.close(root)
            with pytest.raises(PostdocError):
                await waiting
            assert not processes(str(root))
            assert (await editors.open(root)).status.state == "ready"

    go(scene())


def test_the_pool_opens_nothing_by_itself(tmp_path: Path) -> None:
    made = EditorPool(workspace)
    assert made.running() == []
    assert made.status(tmp_path).state == "stopped"


def test_a_server_has_editors_and_ends_them(tmp_path: Path) -> None:
    (tmp_path / "root" / "research").mkdir(parents=True)
    root = project(tmp_path / "root" / "research")

    async def scene() -> None:
        services = assemble(Settings(data_dir=str(tmp_path / "data"), max_notebooks=3), tmp_path / "root")
        await services.start()
        try:
            assert services.editors.most == 3
            assert (await health(services))["message"].startswith("0 live notebooks")
            await services.editors.open(root)
            part = await health(services)
            assert (part["ok"], part["open"], part["failed"]) == (True, 1, 0)

            chat = (await services.sessions.create(ANA, title="Owls"))["id"]
            shown = {"path": "research/project"}
            await services.log.write(lambda tx: tx.update_session(chat, meta={"project": shown}))
            await services.sessions.delete(ANA, chat)
            assert "deleted" in services.editors.status(root).message
            await services.editors.open(root)
        finally:
            await services.stop(1.0)
        assert not processes(str(root))
        with pytest.raises(PostdocError):
            await services.editors.open(root)

    async def health(services: Services) -> dict[str, Any]:
        parts: dict[str, Any] = (await services.sessions.health(ANA))["parts"]["live"]
        return parts

    go(scene())


def test_what_cannot_be_saved_keeps_the_notebook_open(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Neither people nor the clock close it then; a server that stops says what is lost."""

    async def scene() -> None:
        root = project(tmp_path)
        file = root / "notebook.py"
        async with pool(idle_s=0.5) as editors:
            editor = await editors.open(root)
            async with page(editor) as person:
                ids = {cell["name"]: cell["id"] for cell in await cells_of(editor, person)}
                await person.types(ids["first"], "x = 41")
                editor.viewer(1)
                file.unlink()
                file.mkdir()  # nobody can write there
                for ask in (editors.close(root), editor.save()):
                    with pytest.raises(PostdocError) as caught:
                        await ask
                    assert unsaved(caught.value)
                    assert caught.value.details["cells"] == ["first"]
                    assert caught.value.message == "Not saved: first (Is a directory)."
                assert "stays in the open notebook" in editor.status.message
                await editor.restart()  # a kernel can be had all the same
                with pytest.raises(PostdocError, match="Not saved: first"):
                    await editor.ask("run", args=[], timeout_s=30, cells=["first"], whole=False)
            editor.viewer(-1)
            await asyncio.sleep(1.5)
            assert editors.get(root) is editor, "not after some minutes without use either"
            file.rmdir()
            await until(lambda: editors.get(root) is None, 10)
            assert "x = 41" in file.read_text()
            await until(lambda: "Nothing was lost" in editors.status(root).message, 5)

            editor = await editors.open(root)
            async with page(editor) as person:
                await person.types(ids["first"], "x = 42")
                editor.viewer(1)
                file.unlink()
                file.mkdir()
                with pytest.raises(PostdocError):
                    await editor.save()
                file.rmdir()
                assert await editor.save()
                assert editor.status.message == "", "it is over"
                await person.types(ids["second"], "y = 43")
                file.unlink()
                file.mkdir()
        status = editors.status(root)
        assert status.state == "failed"
        assert status.message == "The server was stopped. Not saved: second (Is a directory)."
        assert "Not saved: second" in caplog.text
        assert not processes(str(root))

    go(scene())


def test_what_fails_while_it_is_saved_is_as_unsaved_as_on_a_full_disk(tmp_path: Path) -> None:
    """Python cannot read this cell: whatever is raised then, the text is not thrown away without a word."""
    deep = "x = " + "-" * 9000 + "1"

    async def scene() -> None:
        root = project(tmp_path)
        async with pool() as editors:
            editor = await editors.open(root)
            async with page(editor) as person:
                ids = {cell["name"]: cell["id"] for cell in await cells_of(editor, person)}
                await person.types(ids["first"], deep)
                for ask in (editors.close(root), editor.save()):
                    with pytest.raises(PostdocError) as caught:
                        await ask
                    assert unsaved(caught.value)
                    assert caught.value.details["cells"] == ["first"]
                    assert caught.value.message == "Not saved: first (MemoryError)."
                assert editors.get(root) is editor
                assert "stays in the open notebook" in editor.status.message
                await person.types(ids["first"], "x = 5")
                assert await editor.save()
                await person.types(ids["first"], deep)
        status = editors.status(root)
        assert (status.state, status.message) == ("failed", "The server was stopped. Not saved: first (MemoryError).")
        assert "x = 5" in (root / "notebook.py").read_text()
        assert not processes(str(root))

    go(scene())


def test_an_edit_that_is_not_in_the_file_says_that_it_is_in_the_notebook(tmp_path: Path) -> None:
    deep = "-" * 9000 + "1"  # Python cannot read it

    def put(**cells: str) -> list[dict[str, str]]:
        return [{"op": "put", "name": name, "code": code} for name, code in cells.items()]

    async def scene() -> None:
        root = project(tmp_path)
        file = root / "notebook.py"
        async with pool() as editors:
            editor = await editors.open(root)

            async def refused(ask: Awaitable[object], said: str, *cells: str) -> None:
                with pytest.raises(PostdocError) as caught:
                    await ask
                assert unsaved(caught.value)
                where = "The change was made in the open notebook, but not in its file. "
                assert caught.value.message == f"{where}Not saved: {', '.join(cells)} ({said})."
                assert caught.value.details["cells"] == list(cells)
                assert "stays in the open notebook" in str(caught.value.next)
                assert caught.value.message in editor.status.message

            text = file.read_text()
            file.unlink()
            file.mkdir()
            await refused(editor.ask("edit", changes=put(new="n = 1"), known=None), "Is a directory", "new")
            assert [cell.name for cell in await editor.cells()] == ["first", "second", "new"]
            await refused(editor.replace(text.replace("x = 1", "x = 9"), base=None), "Is a directory", "first")
            assert (await editor.cells())[0].code == "x = 9"
            file.rmdir()
            await editor.ask("edit", changes=put(first="x = 9"), known=None)  # the same once more
            assert "x = 9" in file.read_text()
            assert editor.status.message == ""

            async with page(editor) as person:
                ids = {cell["name"]: cell["id"] for cell in await cells_of(editor, person)}
                await person.types(ids["second"], deep)
                with pytest.raises(PostdocError) as caught:  # what fails before anything is changed is no such thing
                    await editor.ask("edit", changes=put(new="n = 2"), known=None)
                assert not unsaved(caught.value)
                assert [cell.code for cell in await editor.cells()] == ["x = 9", deep]
                await person.types(ids["second"], "y = 3")

    go(scene())


def test_an_editor_that_hangs_is_closed_soon_and_says_what_may_be_lost(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def scene() -> None:
        root = project(tmp_path)
        async with pool() as editors:
            editor = await editors.open(root)
            assert editor._worker is not None
            supervisor = editor._worker.process.pid  # ours, outside of the sandbox
            for one in psutil.Process(supervisor).children(recursive=True):
                one.suspend()
            began = time.monotonic()
            await editors.close(root, reason="Closed by Ana.")
            assert time.monotonic() - began < 12
            status = editors.status(root)
            assert status.state == "failed"
            assert status.message.startswith("Closed by Ana. It did not answer and was ended. What was typed")
            assert "may be lost" in caplog.text
            assert not processes(str(root))
            assert (await editors.open(root)).status.state == "ready"

    go(scene())


REFUSES = """
import json, sys
print(json.dumps({"id": 0, "event": {"type": "ready", "host_api": True}}), flush=True)
for line in sys.stdin:
    error = {"code": "notebook_failed", "message": "It broke.", "next": ""}
    print(json.dumps({"id": json.loads(line)["id"], "error": error}), flush=True)
"""


@pytest.mark.parametrize(("program", "said"), [(REFUSES, "could not save: It broke."), ("input()", "before it had")])
def test_a_process_that_cannot_end_well_may_have_lost_something(tmp_path: Path, program: str, said: str) -> None:
    """Whatever speaks from inside the sandbox."""

    async def scene() -> None:
        root = project(tmp_path)
        space = await workspace(root)
        editor = LiveEditor(space, "notebook.py", tmp_path / "door", memory_bytes=1 << 30)
        editor._worker = Worker(await space.spawn([str(space.python), "-c", program], line_limit=LINE))
        began = time.monotonic()
        await editor.stop("Closed.", well="Nothing was lost.")
        assert time.monotonic() - began < 6
        assert editor.status.state == "failed"
        assert said in editor.status.message
        assert "may be lost" in editor.status.message
        assert "Nothing was lost" not in editor.status.message

    go(scene())


def test_another_notebook_of_the_project_is_not_taken_for_this_one(tmp_path: Path) -> None:
    async def scene() -> None:
        root = project(tmp_path)
        (root / "other.py").write_text((root / "notebook.py").read_text().replace("x = 1", "x = 7"))
        async with pool() as editors:
            one, other, broken = await asyncio.gather(
                editors.open(root),
                editors.open(root, "other.py"),
                editors.open(root, "gone.py"),
                return_exceptions=True,
            )
            assert [getattr(one, "path", one), getattr(other, "path", other)] == ["notebook.py", "other.py"]
            assert isinstance(broken, PostdocError)
            assert broken.code == "not_found"
            again = await editors.open(root, "other.py")
            assert (await again.cells())[0].code == "x = 7"
            waiting = asyncio.create_task(editors.open(root, "gone.py"))
            await asyncio.sleep(0)
            assert (await editors.open(root)).path == "notebook.py", "what fails is the other one"
            with pytest.raises(PostdocError):
                await waiting

    go(scene())
