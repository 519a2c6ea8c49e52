"""Kernels of agents: real ones, in the sandbox, among those of a real Jupyter server."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from jupyterlab_postdoc.workspace import sandbox
from jupyterlab_postdoc.workspace.kernel_output import Execution
from jupyterlab_postdoc.workspace.kernels import KernelPool, _tidy
from jupyterlab_postdoc.workspace.processes import Limits
from jupyterlab_postdoc.workspace.workspace import Workspace

pytestmark = pytest.mark.sandbox
CANARY = "sk-ant-canary-in-the-environment"


@pytest.fixture
def workspace(tmp_path: Path, jp_asyncio_loop: asyncio.AbstractEventLoop) -> Workspace:
    status = jp_asyncio_loop.run_until_complete(sandbox.probe())
    if not status.available:
        pytest.skip(f"the sandbox is missing: {status.why}")
    root = tmp_path / "project"
    root.mkdir()
    box = sandbox.choose(status, trusted=False, allow_unsandboxed=False)
    return Workspace(root, sandbox=box, limits=Limits(memory_bytes=2 << 30, processes=64))


@pytest.fixture
def canary() -> Iterator[None]:
    os.environ["ANTHROPIC_API_KEY"] = CANARY
    yield
    del os.environ["ANTHROPIC_API_KEY"]


@asynccontextmanager
async def pool(manager: Any = None, **fields: Any) -> AsyncIterator[KernelPool]:
    made = KernelPool(manager, **fields)
    try:
        yield made
    finally:
        await made.shutdown_all()


async def test_variables_stay_between_calls_and_errors_are_plain(workspace: Workspace) -> None:
    said: list[str] = []

    async def hear(text: str) -> None:
        said.append(text)

    async with pool() as pooled:
        first = await pooled.execute("s", workspace, "x = 20\nprint('begun')\nx + 1", on_output=hear)
        assert (first.end, first.text, first.fresh) == ("ok", "begun\n21\n", True)
        assert "".join(said) == "begun\n21\n"
        failed = await pooled.execute("s", workspace, "x / 0")
        assert (failed.end, failed.fresh) == ("error", False)
        assert "ZeroDivisionError: division by zero" in failed.error
        assert "\x1b" not in failed.error
        other = await pooled.execute("other session", workspace, "x")
        assert "NameError" in other.error
        assert (await pooled.execute("s", workspace, "open('made.txt', 'w').write(str(x))")).ok
    assert (workspace.root / "made.txt").read_text() == "20"


async def test_pictures_come_back(workspace: Workspace) -> None:
    code = "import matplotlib.pyplot as plt\nplt.plot([1, 3, 2])\nplt.show()"
    async with pool() as pooled:
        done = await pooled.execute("s", workspace, code)
    (picture,) = done.images
    assert picture.startswith(b"\x89PNG")
    assert "(picture 1)" in done.text


async def test_a_timeout_interrupts_and_keeps_the_variables(workspace: Workspace) -> None:
    async with pool() as pooled:
        await pooled.execute("s", workspace, "x = 5")
        began = time.monotonic()
        done = await pooled.execute("s", workspace, "import time\nwhile True: time.sleep(0.05)", timeout_s=0.5)
        assert done.end == "timeout"
        assert time.monotonic() - began < 3
        assert (await pooled.execute("s", workspace, "x")).text == "5\n"


async def test_a_cancelled_call_stops_what_runs(workspace: Workspace) -> None:
    async with pool() as pooled:
        await pooled.execute("s", workspace, "x = 5")
        task = asyncio.create_task(pooled.execute("s", workspace, "import time\nfor i in range(999): time.sleep(0.05)"))
        await asyncio.sleep(0.3)
        task.cancel()
        began = time.monotonic()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert time.monotonic() - began < 2
        assert (await pooled.execute("s", workspace, "i < 999, x")).text == "(True, 5)\n"


async def test_what_does_not_react_is_ended(workspace: Workspace) -> None:
    stubborn = "import time\nwhile True:\n    try:\n        time.sleep(1)\n    except KeyboardInterrupt:\n        pass"
    async with pool() as pooled:
        done = await pooled.execute("s", workspace, stubborn, timeout_s=0.5)
        assert (done.end, done.ended) == ("timeout", True)
        again = await pooled.execute("s", workspace, "1")
        assert (again.fresh, again.renewed) == (True, True)
        stopped = asyncio.create_task(pooled.execute("s", workspace, stubborn))
        await asyncio.sleep(0.5)
        stopped.cancel()
        began = time.monotonic()
        with pytest.raises(asyncio.CancelledError):
            await stopped
        assert time.monotonic() - began < 2


async def test_code_does_not_run_on_when_its_output_cannot_be_written(workspace: Workspace) -> None:
    async def full(_: str) -> None:
        raise OSError("no space")

    async with pool() as pooled:
        with pytest.raises(OSError, match="no space"):
            await pooled.execute(
                "s",
                workspace,
                "print(1, flush=True)\nfor i in range(999): __import__('time').sleep(0.05)",
                on_output=full,
            )
        assert (await pooled.execute("s", workspace, "i < 999")).text == "True\n"


async def test_calls_of_one_session_take_turns_and_outlive_each_others_kernels(workspace: Workspace) -> None:
    async with pool() as pooled:
        calls = [pooled.execute("s", workspace, code) for code in ("import os; os._exit(1)", "print('after')")]
        died, after = await asyncio.gather(*calls)
    assert (died.end, after.ok, after.text) == ("died", True, "after\n")


async def test_a_file_named_like_a_module_does_not_break_the_start(workspace: Workspace) -> None:
    (workspace.root / "ipykernel_launcher.py").write_text("raise SystemExit('not this one')")
    (workspace.root / "helper.py").write_text("VALUE = 7")
    async with pool() as pooled:
        assert (await pooled.execute("s", workspace, "import helper; helper.VALUE")).text == "7\n"


async def test_its_connection_file_is_not_the_kernels_to_change(workspace: Workspace) -> None:
    async with pool() as pooled:
        await pooled.execute("s", workspace, "1")
        file = pooled._kernels["s"].folder / "kernel.json"
        done = await pooled.execute("s", workspace, f"import os; os.unlink({str(file)!r})")
        assert "Read-only" in done.error
        assert file.parent.stat().st_mode & 0o777 == 0o700


async def test_what_people_restart_is_known_to_be_empty(workspace: Workspace, jp_serverapp: Any, jp_fetch: Any) -> None:
    from jupyter_server.prometheus.metrics import KERNEL_CURRENTLY_RUNNING_TOTAL

    running = KERNEL_CURRENTLY_RUNNING_TOTAL.labels(type="python3")
    before = running._value.get()
    async with pool(jp_serverapp.kernel_manager) as pooled:
        await pooled.execute("s", workspace, "x = 1")
        assert running._value.get() == before + 1
        (listed,) = json.loads((await jp_fetch("api", "kernels")).body)
        await jp_fetch("api", "kernels", listed["id"], "restart", method="POST", body="{}")
        again = await pooled.execute("s", workspace, "x")
        assert "NameError" in again.error
        assert (again.fresh, again.renewed, pooled._kernels["s"].id) == (True, True, listed["id"])
        await jp_fetch("api", "kernels", listed["id"], method="DELETE")
        assert (await pooled.execute("s", workspace, "1")).renewed
    assert running._value.get() == before


async def test_without_a_sandbox_by_leave_it_works_too(workspace: Workspace, canary: None) -> None:
    plain = Workspace(workspace.root, sandbox=sandbox.NoSandbox(), limits=Limits(memory_bytes=2 << 30))
    async with pool() as pooled:
        done = await pooled.execute("s", plain, f"import os; {CANARY[:9]!r} + {CANARY[9:]!r} in str(os.environ)")
    assert done.text == "False\n"


async def test_a_dead_kernel_is_said_and_replaced(workspace: Workspace) -> None:
    async with pool() as pooled:
        assert (await pooled.execute("s", workspace, "import os; os._exit(1)")).end == "died"
        again = await pooled.execute("s", workspace, "1")
        assert (again.ok, again.fresh, again.renewed) == (True, True, True)


async def test_memory_is_bounded(workspace: Workspace) -> None:
    async with pool() as pooled:
        done = await pooled.execute("s", workspace, "b = bytearray(10 << 30)")
    assert done.end in ("error", "died")
    assert done.end == "died" or "MemoryError" in done.error


async def test_no_secret_no_network_no_other_folder(workspace: Workspace, canary: None) -> None:
    (workspace.root.parent / "other").mkdir()
    look = f"""
        import glob, os, socket
        canary = '{CANARY[:9]}' + '{CANARY[9:]}'
        found = [f for f in glob.glob('/proc/*/environ') if canary.encode() in open(f, 'rb').read()]
        print(found, canary in str(os.environ), os.path.exists('{workspace.root.parent / "other"}'))
        try:
            socket.create_connection(('127.0.0.1', 9), 1)
        except OSError as e:
            print(type(e).__name__)
        try:
            open('.git/hooks', 'w')
        except OSError as e:
            print(type(e).__name__)
    """
    async with pool() as pooled:
        done = await pooled.execute("s", workspace, textwrap.dedent(look))
    assert done.end == "ok", done.error
    first, *rest = done.text.splitlines()
    assert first == "[] False False"
    assert len(rest) == 2


async def test_output_is_bounded(workspace: Workspace) -> None:
    async with pool() as pooled:
        done = await pooled.execute("s", workspace, "for _ in range(3000): print('x' * 1000)")
    assert len(done.text) == 200_000
    assert done.left_out > 2_000_000


async def test_unused_kernels_go_and_leave_nothing(workspace: Workspace) -> None:
    async with pool(idle_s=0.3) as pooled:
        await pooled.execute("s", workspace, "1")
        (kernel,) = pooled._kernels.values()
        assert kernel.folder.exists()
        async with asyncio.timeout(10):
            while pooled._kernels:
                await asyncio.sleep(0.05)
            while kernel.folder.exists():
                await asyncio.sleep(0.05)
        assert (await pooled.execute("s", workspace, "2")).fresh


async def test_people_see_the_kernel_and_can_attach(
    workspace: Workspace, jp_serverapp: Any, jp_fetch: Any, jp_ws_fetch: Any
) -> None:
    async with pool(jp_serverapp.kernel_manager) as pooled:
        await pooled.execute("s", workspace, "shared = 'from the agent'")
        (listed,) = json.loads((await jp_fetch("api", "kernels")).body)
        socket = await jp_ws_fetch("api", "kernels", listed["id"], "channels")
        header = {
            "msg_id": uuid.uuid4().hex,
            "msg_type": "execute_request",
            "session": "me",
            "username": "",
            "version": "5",
        }
        content = {"code": "print(shared)", "silent": False, "store_history": False, "user_expressions": {}}
        request = {"header": header, "parent_header": {}, "metadata": {}, "content": content, "channel": "shell"}
        await socket.write_message(json.dumps({**request, "buffers": []}))
        async with asyncio.timeout(10):
            while True:
                said = json.loads(await socket.read_message())
                if said["header"]["msg_type"] == "stream":
                    break
        socket.close()
        assert said["content"]["text"] == "from the agent\n"
    assert json.loads((await jp_fetch("api", "kernels")).body) == []


HOLD = """
import asyncio, sys
from pathlib import Path
from jupyterlab_postdoc.workspace import sandbox
from jupyterlab_postdoc.workspace.kernels import KernelPool
from jupyterlab_postdoc.workspace.workspace import Workspace

async def main():
    box = sandbox.choose(await sandbox.probe(), trusted=False, allow_unsandboxed=False)
    done = await KernelPool().execute("s", Workspace(Path(sys.argv[1]), sandbox=box), "import os; os.getcwd()")
    print("up", done.text, flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""


def test_nothing_lives_on_after_the_server_is_killed(workspace: Workspace) -> None:
    server = subprocess.Popen([sys.executable, "-c", HOLD, str(workspace.root)], stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    assert "up" in server.stdout.readline()
    family = psutil.Process(server.pid).children(recursive=True)
    assert family
    os.kill(server.pid, signal.SIGKILL)
    server.wait()
    server.stdout.close()
    _, alive = psutil.wait_procs(family, timeout=5)
    assert alive == []
    _tidy()
    assert not list(Path("/tmp").glob(f"postdoc-kernel-{server.pid}-*")), "the next server removes its folder"


def test_pictures_and_texts_are_not_believed() -> None:
    done = Execution()
    for given in ("###x", base64.b64encode(b"hello").decode(), 7, "A" * (3 << 20)):
        done.take("display_data", {"data": {"image/png": given}})
    big = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + (9000).to_bytes(4) * 2 + bytes(30)
    done.take("display_data", {"data": {"image/png": base64.b64encode(big).decode()}})
    assert done.images == []
    assert done.text.count("left out") == 5
    small = base64.b64encode(big[:16] + (9).to_bytes(4) * 2 + bytes(30)).decode()
    for _ in range(10):
        done.take("display_data", {"data": {"image/png": small}})
    assert len(done.images) == 8
    assert done.text.count("more than 8)") == 2
    done.take("display_data", {"data": "nothing"})
    done.take("stream", {})


def test_html_becomes_text_in_linear_time() -> None:
    done = Execution()
    shown = "<style>b {}</style><p>a &amp; <b>b</b></p><script>alert(1)</script><li>c<br>d"
    done.take("execute_result", {"data": {"text/plain": "<IPython.core.display.HTML object>", "text/html": shown}})
    assert done.text == "a & b\nc\nd\n"
    began = time.monotonic()
    done.take("display_data", {"data": {"text/html": "<script" * 50_000 + "<" * 200_000}})
    assert time.monotonic() - began < 2


def test_an_execution_says_whether_it_was_good() -> None:
    assert Execution().ok
    assert not Execution(end="timeout").ok
