"""Processes end when they should, whatever they do. Real processes; each leaves a unique marker in its argv that is
looked for.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

import psutil
import pytest

from jupyterlab_postdoc.errors import PostdocError
from jupyterlab_postdoc.workspace.processes import Capture, Limits, run, spawn
from jupyterlab_postdoc.workspace.supervisor import cgroups

T = TypeVar("T")
ENV = {"PATH": "/usr/local/bin:/usr/bin:/bin"}
DAEMON = "(setsid sh -c 'setsid sleep 300.{0} & sleep 300.{0}' >/dev/null 2>&1 &) ; sleep 300.{0}"


def go(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(work)


def marker() -> str:
    return str(int(secrets.token_hex(6), 16))


def alive(mark: str) -> list[list[str]]:
    """Command lines with the marker, zombies left out."""
    found = []
    for process in psutil.process_iter(["cmdline", "status"]):
        line = process.info["cmdline"] or []
        if any(mark in part for part in line) and process.info["status"] != psutil.STATUS_ZOMBIE:
            found.append(line)
    return found


def wait_for(condition: Any, seconds: float = 5.0) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return bool(condition())


def test_both_streams_and_the_exit_code_are_kept(tmp_path: Path) -> None:
    done = go(run(["sh", "-c", "echo out; echo err >&2; exit 7"], cwd=tmp_path, env=ENV, timeout=10))
    assert (done.returncode, done.stdout, done.stderr, done.end) == (7, "out\n", "err\n", "exit")


def test_a_signal_is_told_as_a_negative_code(tmp_path: Path) -> None:
    assert go(run(["sh", "-c", "kill -SEGV $$"], cwd=tmp_path, env=ENV, timeout=10)).returncode == -signal.SIGSEGV


def test_a_missing_program_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(PostdocError, match="'no-such-program' could not be started") as info:
        go(run(["no-such-program"], cwd=tmp_path, env=ENV, timeout=10))
    assert info.value.code == "tool_failed"
    with pytest.raises(PostdocError, match="could not be started"):
        go(run(["true"], cwd=tmp_path / "missing", env=ENV, timeout=10))


def test_the_child_gets_exactly_the_given_environment(tmp_path: Path) -> None:
    os.environ["POSTDOC_CANARY"] = "secret"
    try:
        done = go(run(["env"], cwd=tmp_path, env={**ENV, "A": "1"}, timeout=10))
    finally:
        del os.environ["POSTDOC_CANARY"]
    names = {line.partition("=")[0] for line in done.stdout.splitlines()}
    assert names - {"LC_CTYPE", "PWD", "SHLVL", "_"} == {"PATH", "A"}


def test_a_timeout_keeps_the_output_so_far_and_takes_daemons_along(tmp_path: Path) -> None:
    mark = marker()
    done = go(run(["sh", "-c", "echo before; " + DAEMON.format(mark)], cwd=tmp_path, env=ENV, timeout=0.6))
    assert done.timed_out
    assert done.stdout == "before\n"
    assert done.duration_s < 2.5
    assert alive(mark) == []


def test_a_daemon_does_not_survive_the_end_of_its_program(tmp_path: Path) -> None:
    mark = marker()
    script = f"(setsid sleep 300.{mark} >/dev/null 2>&1 &); sleep 0.1; echo done"
    done = go(run(["sh", "-c", script], cwd=tmp_path, env=ENV, timeout=10))
    assert done.stdout == "done\n"
    assert alive(mark) == []


def test_a_cancelled_task_leaves_nothing(tmp_path: Path) -> None:
    mark = marker()

    async def scene() -> None:
        task = asyncio.create_task(run(["sh", "-c", DAEMON.format(mark)], cwd=tmp_path, env=ENV, timeout=60))
        while len(alive(mark)) < 3:
            await asyncio.sleep(0.02)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    go(scene())
    assert wait_for(lambda: alive(mark) == [], 2)


def test_a_program_with_many_threads_takes_its_children_along(tmp_path: Path) -> None:
    """While its threads end one by one, its first one is a zombie that still has the children."""
    code = """
        import subprocess, threading, time
        child = subprocess.Popen(["sleep", "300"], start_new_session=True)
        data = bytearray(200 << 20)
        data[::4096] = b"x" * len(data[::4096])
        for _ in range(60):
            threading.Thread(target=time.sleep, args=(300,)).start()
        print(child.pid, flush=True)
    """

    async def scene() -> list[int]:
        left = []
        for _ in range(10):
            process = await spawn([sys.executable, "-c", textwrap.dedent(code)], cwd=tmp_path, env=ENV)
            assert process.stdout is not None
            child = int(await process.stdout.readline())
            await process.discard()
            if Path(f"/proc/{child}").exists():
                left.append(child)
        return left

    assert go(scene()) == []


def test_stop_is_over_within_two_seconds_for_a_program_that_ignores_sigterm(tmp_path: Path) -> None:
    mark = marker()

    async def scene() -> float:
        script = f"trap '' TERM INT; (setsid sleep 300.{mark} &); while :; do sleep 300.{mark}; done"
        process = await spawn(["sh", "-c", script], cwd=tmp_path, env=ENV)
        while len(alive(mark)) < 3:
            await asyncio.sleep(0.02)
        began = time.monotonic()
        await process.kill(grace_s=0.5)
        return time.monotonic() - began

    assert go(scene()) < 2
    assert alive(mark) == []


@pytest.mark.parametrize("victim", ["server", "supervisor"])
def test_nothing_survives_a_kill_9(tmp_path: Path, victim: str) -> None:
    mark = marker()
    program = textwrap.dedent(f"""
        import asyncio
        from pathlib import Path
        from jupyterlab_postdoc.workspace.processes import spawn
        async def main():
            process = await spawn(["sh", "-c", {DAEMON.format(mark)!r}], cwd=Path("."), env={ENV!r})
            print(process.pid, flush=True)
            await process.wait()
        asyncio.run(main())
    """)
    server = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, cwd=tmp_path)
    assert server.stdout is not None
    supervisor = int(server.stdout.readline())
    assert wait_for(lambda: len(alive(mark)) >= 4)
    if victim == "server":
        server.kill()
    else:  # only its direct child is sure to follow; bubblewrap's own --die-with-parent does the rest in a sandbox
        os.kill(supervisor, signal.SIGKILL)
        assert wait_for(lambda: not any(line[:2] == ["sh", "-c"] and "setsid sh" in line[2] for line in alive(mark)), 2)
        for process in psutil.process_iter(["cmdline"]):
            if any(mark in part for part in process.info["cmdline"] or []) and process.pid != server.pid:
                process.kill()
    server.kill()
    server.wait()
    server.stdout.close()
    assert wait_for(lambda: alive(mark) == [], 2), alive(mark)


def test_a_flood_fills_no_memory_and_does_not_block_the_loop(tmp_path: Path) -> None:
    ticks: list[float] = []

    async def scene() -> Any:
        async def tick() -> None:
            while True:
                began = time.monotonic()
                await asyncio.sleep(0.005)
                ticks.append(time.monotonic() - began)

        ticker = asyncio.create_task(tick())
        done = await run(["yes", "x" * 99], cwd=tmp_path, env=ENV, timeout=1.0, max_output=100_000)
        ticker.cancel()
        return done

    before = psutil.Process().memory_info().rss
    done = go(scene())
    assert done.truncated > 1_000_000
    assert 100_000 <= len(done.stdout) <= 100_200
    assert psutil.Process().memory_info().rss - before < 30 << 20
    assert sorted(ticks)[int(len(ticks) * 0.9)] < 0.1


def test_output_is_streamed_while_the_program_runs_and_stops_at_the_limit(tmp_path: Path) -> None:
    seen: list[tuple[float, str]] = []

    async def listen(text: str) -> None:
        seen.append((time.monotonic(), text))

    script = "printf 'gr\\303'; sleep 0.3; printf '\\274n\\n'"
    go(run(["sh", "-c", script], cwd=tmp_path, env=ENV, timeout=10, on_output=listen))
    assert "".join(text for _, text in seen) == "grün\n"
    assert seen[-1][0] - seen[0][0] > 0.2


def test_memory_is_limited_for_one_process_and_for_all_together(tmp_path: Path) -> None:
    one = [sys.executable, "-c", "bytearray(1 << 30)"]
    done = go(run(one, cwd=tmp_path, env=ENV, timeout=20, limits=Limits(memory_bytes=512 << 20)))
    assert done.returncode == 1
    assert "MemoryError" in done.stderr
    many = "import os,time\nfor _ in range(4):\n    if os.fork()==0: break\nx=bytearray(100<<20)\ntime.sleep(60)"
    limits = Limits(memory_bytes=None, total_bytes=300 << 20)
    done = go(run([sys.executable, "-c", many], cwd=tmp_path, env=ENV, timeout=20, limits=limits))
    assert done.end == "memory"


def abandoned_cages() -> list[str]:
    """Control groups of supervisors that are gone."""
    cages = [cage for folder in cgroups() for cage in Path(folder).glob("postdoc-*")]
    return [str(cage) for cage in cages if not psutil.pid_exists(int(cage.name.removeprefix("postdoc-")))]


def test_a_fork_bomb_is_ended(tmp_path: Path) -> None:
    mark = marker()
    bomb = f"f() {{ sleep 300.{mark} & f & f; }}; f; sleep 30"
    done = go(run(["bash", "-c", bomb], cwd=tmp_path, env=ENV, timeout=20, limits=Limits(processes=200)))
    assert done.end == "processes"
    assert done.duration_s < 10
    assert wait_for(lambda: alive(mark) == [], 3)
    assert wait_for(lambda: abandoned_cages() == [], 3)


def test_many_at_once(tmp_path: Path) -> None:
    async def scene() -> list[str]:
        runs = [run(["sh", "-c", f"echo {n}"], cwd=tmp_path, env=ENV, timeout=30) for n in range(20)]
        return [done.stdout for done in await asyncio.gather(*runs)]

    assert go(scene()) == [f"{n}\n" for n in range(20)]


def test_input_and_a_program_that_does_not_read_it(tmp_path: Path) -> None:
    data = os.urandom(300_000).hex().encode()
    assert go(run(["wc", "-c"], cwd=tmp_path, env=ENV, timeout=10, input=data)).stdout.strip() == str(len(data))
    assert go(run(["true"], cwd=tmp_path, env=ENV, timeout=10, input=data)).returncode == 0


def test_capture_keeps_head_and_tail_for_any_chunks() -> None:
    for size in (1, 7, 100, 5000):
        capture = Capture(100)
        data = b"".join(b"%06d\n" % n for n in range(1000))
        for start in range(0, len(data), size):
            capture.add(data[start : start + size])
        text = capture.text()
        assert text.startswith(data[:50].decode())
        assert text.endswith(data[-50:].decode())
        assert f"{len(data) - 100:,} bytes left out" in text
    capture = Capture(100)
    capture.add(b"a" * 60)
    capture.add(b"b" * 40)
    assert capture.text() == "a" * 60 + "b" * 40
