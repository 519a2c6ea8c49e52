"""What code inside of bubblewrap can reach: its workspace, and nothing else of this machine."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

import pytest

from jupyterlab_postdoc.errors import PostdocError
from jupyterlab_postdoc.workspace.processes import Completed
from jupyterlab_postdoc.workspace.sandbox import BubblewrapSandbox, NoSandbox, SandboxStatus, choose, probe
from jupyterlab_postdoc.workspace.workspace import Workspace

T = TypeVar("T")
MISSING = SandboxStatus(None, False, "Bubblewrap (bwrap) is not installed.", "Install bubblewrap.")


def go(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(work)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    status = go(probe())
    if not status.available:
        pytest.skip(status.why)
    root = tmp_path / "mine"
    root.mkdir()
    return Workspace(root, sandbox=choose(status, trusted=False, allow_unsandboxed=False))


def sh(workspace: Workspace, command: str) -> Completed:
    return go(workspace.execute(command, timeout=30))


@pytest.mark.sandbox
def test_the_workspace_is_writable_and_what_is_written_stays(workspace: Workspace) -> None:
    done = sh(workspace, "pwd; echo hello > data.txt; cat data.txt")
    assert done.stdout.splitlines() == [str(workspace.root), "hello"]
    assert (workspace.root / "data.txt").read_text() == "hello\n"


@pytest.mark.sandbox
def test_other_projects_homes_and_databases_do_not_exist(workspace: Workspace, tmp_path: Path) -> None:
    other = tmp_path / "mine-other" / "secret.txt"
    other.parent.mkdir()
    other.write_text("canary")
    private = [
        str(other),
        "/etc/shadow",
        "/var",
        str(Path.home() / ".ssh"),
        str(Path.home() / ".local"),
        str(Path(__file__)),
    ]
    done = sh(workspace, "; ".join(f"test -e '{path}' && echo SEEN '{path}'" for path in private) + "; ls ..; true")
    assert "SEEN" not in done.stdout
    assert done.stdout.split() == ["mine"]


@pytest.mark.sandbox
def test_nothing_outside_can_be_written(workspace: Workspace) -> None:
    places = ["/", "/usr", "/etc", sys.prefix, sys.base_prefix, "/proc/sys/kernel"]
    done = sh(workspace, "; ".join(f"touch '{p}/x' 2>/dev/null && echo WROTE {p}" for p in places) + "; true")
    assert "WROTE" not in done.stdout
    sh(workspace, f"touch '{workspace.root.parent}/x'")  # a private /tmp when the workspace lies below /tmp
    assert not (workspace.root.parent / "x").exists()
    files = "/proc/sys/kernel/core_pattern /proc/sysrq-trigger /proc/sys/kernel/hostname"
    done = sh(workspace, f"for f in {files}; do test -w $f && echo WRITABLE $f; done; true")
    assert done.stdout == ""


@pytest.mark.sandbox
def test_the_servers_environment_and_processes_are_invisible(workspace: Workspace) -> None:
    os.environ["POSTDOC_CANARY"] = "canary-4711"
    try:
        done = sh(
            workspace,
            "cat /proc/*/environ /proc/*/cmdline 2>/dev/null | tr '\\0' '\\n'; env; ls -d /proc/[0-9]* | wc -l",
        )
    finally:
        del os.environ["POSTDOC_CANARY"]
    assert "canary-4711" not in done.stdout
    assert int(done.stdout.split()[-1]) < 10
    names = {line.partition("=")[0] for line in sh(workspace, "env").stdout.splitlines()}
    assert names <= {"PATH", "HOME", "LANG", "TMPDIR", "PWD", "SHLVL", "_", "LC_CTYPE", "OLDPWD"}


@pytest.mark.sandbox
def test_no_network_not_even_loopback(workspace: Workspace) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        code = f"import socket; socket.create_connection(('127.0.0.1', {port}), 2)"
        done = go(workspace.execute([sys.executable, "-c", code], timeout=30))
    assert done.returncode != 0
    assert "refused" in done.stdout.lower()
    assert (
        "UP" not in sh(workspace, "cat /sys/class/net/*/operstate 2>/dev/null; cat /proc/net/route | tail -n +2").stdout
    )


@pytest.mark.sandbox
@pytest.mark.parametrize("before", ["directory", "absent"])
def test_git_cannot_be_changed_from_inside(workspace: Workspace, before: str) -> None:
    git = workspace.root / ".git"
    if before == "directory":
        (git / "hooks").mkdir(parents=True)
        (git / "config").write_text("[core]\n")
    script = "mkdir -p .git/hooks; echo x > .git/hooks/pre-commit; echo x > .git/config; mv .git gone; rm -rf .git; mkdir .git; true"  # noqa: E501
    sh(workspace, script)
    assert git.is_dir()
    assert [p.name for p in git.rglob("*")] == (["hooks", "config"] if before == "directory" else []) or sorted(
        p.name for p in git.rglob("*")
    ) == ["config", "hooks"]
    if before == "directory":
        assert (git / "config").read_text() == "[core]\n"


@pytest.mark.sandbox
def test_the_private_tmp_is_bounded_and_gone_afterwards(workspace: Workspace) -> None:
    done = sh(workspace, "df --output=size -B1 /tmp /dev/shm | tail -n +2; echo x > /tmp/left; echo y > ~/left")
    assert all(int(size) <= 1 << 30 for size in done.stdout.split())
    assert sh(workspace, "ls /tmp/left ~/left 2>&1 | grep -c 'No such'").stdout.strip() == "2"


@pytest.mark.sandbox
def test_this_python_and_this_package_work_inside(workspace: Workspace) -> None:
    code = "import numpy, jupyterlab_postdoc; print(numpy.arange(3).sum(), jupyterlab_postdoc.__version__)"
    assert go(workspace.execute([sys.executable, "-c", code], timeout=60)).stdout.startswith("3 ")


@pytest.mark.sandbox
def test_a_timeout_ends_what_runs_inside(workspace: Workspace) -> None:
    done = go(workspace.execute("echo before; (setsid sleep 100 &); sleep 100", timeout=0.7))
    assert done.timed_out
    assert done.stdout == "before\n"
    assert done.duration_s < 2.7


@pytest.mark.sandbox
def test_the_start_costs_little(workspace: Workspace) -> None:
    times = sorted(sh(workspace, "true").duration_s for _ in range(5))
    assert times[0] < 0.25, times


def test_the_choice_is_safe_by_default() -> None:
    with pytest.raises(PostdocError) as info:
        choose(MISSING, trusted=False, allow_unsandboxed=False)
    assert info.value.code == "sandbox_missing"
    assert "not installed" in info.value.message
    assert info.value.next == "Install bubblewrap."
    assert isinstance(choose(MISSING, trusted=True, allow_unsandboxed=False), NoSandbox)
    assert isinstance(choose(MISSING, trusted=False, allow_unsandboxed=True), NoSandbox)


def test_without_a_sandbox_the_environment_is_still_clean(tmp_path: Path) -> None:
    sandbox = NoSandbox()
    env = sandbox.env(tmp_path)
    assert {"PATH", "HOME", "LANG", "TMPDIR"} <= set(env) <= {"PATH", "HOME", "LANG", "TMPDIR", "PYTHONUSERBASE"}
    assert not Path(env["HOME"]).is_relative_to(tmp_path)
    assert not sandbox.isolated


def test_a_link_as_workspace_is_bound_by_its_target(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    argv = BubblewrapSandbox("/usr/bin/bwrap").wrap(["true"], root=tmp_path / "link")
    assert str(tmp_path / "real") in argv
    assert str(tmp_path / "link") not in argv
