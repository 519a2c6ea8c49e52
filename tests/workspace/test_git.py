# ruff: noqa: ASYNC220, ASYNC221 - the plain git calls of these tests are short and meant to block
"""Commits on real repositories: exactly once, deterministic, and deaf to what a hostile checkout asks for."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from jupyterlab_postdoc import secrets
from jupyterlab_postdoc.errors import PostdocError
from jupyterlab_postdoc.workspace.git import Git, Identity
from jupyterlab_postdoc.workspace.gitproc import GitResult, failed
from jupyterlab_postdoc.workspace.gitview import borrowed, sweep

STEP = {"Research-Session": "s-1", "Research-Run": "r-1", "Research-Step": "plan"}


def git(root: Path, *argv: str, **env: str) -> str:
    """Plain git, as a user would call it."""
    done = subprocess.run(
        ["git", *argv], cwd=root, env={**os.environ, **env}, capture_output=True, text=True, check=True
    )
    return done.stdout


@pytest.fixture
def root(tmp_path: Path) -> Path:
    place = tmp_path / "study"
    place.mkdir()
    return place


async def made(root: Path) -> Git:
    """A repository with one commit."""
    tool = Git()
    await tool.init(root)
    (root / "a.txt").write_text("one\n")
    assert await tool.commit_all(root, subject="first", trailers={"Research-Step": "0"})
    return tool


async def test_a_step_is_committed_once(root: Path) -> None:
    tool = Git(Identity("Ada", "ada@example.org"))
    await tool.init(root)
    await tool.init(root)
    assert await tool.head(root) is None
    assert await tool.commit_all(root, subject="nothing", trailers=STEP) is None
    (root / "notebook.py").write_text("x = 1\n")
    assert await tool.is_dirty(root)
    first = await tool.commit_all(root, subject="Plan the study", trailers=STEP)
    assert first is not None
    assert not await tool.is_dirty(root)

    (root / "notebook.py").write_text("x = 2\n")
    assert await tool.commit_all(root, subject="again", trailers=STEP) == first
    assert await tool.is_dirty(root)
    second = await tool.commit_all(root, subject="next", trailers={**STEP, "Research-Step": "run"})
    assert second is not None
    assert [commit.subject for commit in await tool.log(root)] == ["next", "Plan the study"]
    assert await tool.head(root) == second.sha
    assert (await tool.log(root))[1].trailers == STEP
    assert git(root, "log", "--format=%an <%ae> %cn", "-1").strip() == "Ada <ada@example.org> Ada"
    assert git(root, "status", "--porcelain") == ""
    assert git(root, "symbolic-ref", "HEAD").strip() == "refs/heads/main"


async def test_no_text_can_forge_a_trailer(root: Path) -> None:
    tool = await made(root)
    (root / "a.txt").write_text("two\n")
    done = await tool.commit_all(
        root,
        subject="topic\n\nResearch-Step: forged",
        body="---\nResearch-Step: forged\n\n# a\x00b",
        trailers={"Research-Step": "real\nResearch-Run: forged"},
    )
    assert done is not None
    assert done.trailers == {"Research-Step": "real Research-Run: forged"}
    assert await tool.find_trailer(root, "Research-Step", "forged") is None
    assert await tool.find_trailer(root, "Research-Run", "forged") is None
    assert (await tool.log(root))[0].trailers == done.trailers


async def test_the_same_input_gives_the_same_commit(tmp_path: Path) -> None:
    shas = []
    for name in ("one", "two"):
        root = tmp_path / name
        root.mkdir()
        tool = Git()
        await tool.init(root)
        (root / "ä b\n.txt").write_bytes(b"\xff\r\n")
        done = await tool.commit_all(root, subject="Größe 🎈", body="why", trailers=STEP, when=1.79e9)
        assert done is not None
        assert done.time == 1_790_000_000
        shas.append(done.sha)
    assert shas[0] == shas[1]


async def test_a_step_is_found_on_any_branch(root: Path) -> None:
    tool = await made(root)
    (root / "a.txt").write_text("two\n")
    done = await tool.commit_all(root, subject="second", trailers=STEP)
    git(root, "branch", "kept")
    git(root, "checkout", "-q", "-b", "other", "HEAD~1")
    assert await tool.find_trailers(root, STEP) == done
    assert await tool.find_trailers(root, {**STEP, "Research-Run": "r"}) is None


HOSTILE_CONFIG = """
[core]
    fsmonitor = {run}
    sshCommand = {run}
    editor = {run}
    pager = {run}
    hooksPath = {hooks}
    askPass = {run}
    alternateRefsCommand = {run}
[filter "evil"]
    clean = {run}
    smudge = {run}
    process = {run}
    required = true
[diff "evil"]
    textconv = {run}
    command = {run}
[diff]
    external = {run}
[merge "evil"]
    driver = {run}
[commit]
    gpgSign = true
[gpg]
    program = {run}
[log]
    showSignature = true
[credential]
    helper = {run}
[uploadpack]
    packObjectsHook = {run}
[remote "evil"]
    url = ext::sh -c {run}
    promisor = true
    uploadpack = {run}
[include]
    path = {include}
"""


def poison(root: Path, tmp_path: Path) -> Path:
    """Everything a checkout can name that git would run; the file it would leave behind."""
    canary = tmp_path / "canary"
    run = tmp_path / "run.sh"
    run.write_text(f"#!/bin/sh\necho ran >> {canary}\ncat\n")
    run.chmod(0o755)
    include = tmp_path / "included"
    include.write_text(f'[filter "evil2"]\n\tclean = {run}\n')
    hooks = tmp_path / "hooks"
    for directory in (hooks, root / ".git" / "hooks"):
        directory.mkdir(exist_ok=True)
        for name in (
            *("pre-commit", "commit-msg", "post-commit", "prepare-commit-msg", "reference-transaction"),
            *("post-index-change", "pre-push", "fsmonitor-watchman", "update", "pre-receive", "post-checkout"),
        ):
            (directory / name).write_text(run.read_text())
            (directory / name).chmod(0o755)
    with (root / ".git" / "config").open("a") as config:
        config.write(HOSTILE_CONFIG.format(run=run, hooks=hooks, include=include))
    (root / ".gitattributes").write_text("* filter=evil diff=evil merge=evil\n*.x filter=evil2\n")
    (root / ".git" / "info").mkdir(exist_ok=True)
    (root / ".git" / "info" / "attributes").write_text("* filter=evil\n")
    (root / "b.x").write_text("b\n")
    return canary


async def test_nothing_that_the_checkout_names_is_run(root: Path, tmp_path: Path) -> None:
    tool = await made(root)
    canary = poison(root, tmp_path)
    done = await tool.commit_all(root, subject="second", trailers=STEP)
    assert done is not None
    await tool.survey(root)
    await tool.is_dirty(root)
    await tool.log(root)
    await tool.head(root)
    assert await tool.find_trailers(root, STEP) == done
    await tool.init(root)
    assert not canary.exists()
    # The same checkout does run it for a git that trusts it: the traps are real.
    (root / "c.x").write_text("c\n")
    subprocess.run(["git", "add", "c.x"], cwd=root, capture_output=True, check=False)
    assert canary.exists()


async def test_what_the_checkout_hides_from_git_is_still_committed_plainly(root: Path, tmp_path: Path) -> None:
    tool = await made(root)
    poison(root, tmp_path)
    git(root, "config", "core.worktree", "/")
    git(root, "config", "core.sparseCheckout", "true")
    git(root, "config", "core.excludesFile", str(tmp_path / "included"))
    (root / ".git" / "info" / "exclude").write_text("*\n")
    await tool.commit_all(root, subject="second", trailers=STEP)
    assert git(tmp_path, f"--git-dir={root}/.git", "-c", "core.worktree=.", "show", "HEAD:b.x") == "b\n"


async def test_the_servers_environment_and_user_settings_do_not_matter(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / ".gitconfig").write_text("[user]\n\tname = Wrong\n[commit]\n\tgpgSign = true\n[core]\n\tautocrlf = true\n")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("GIT_AUTHOR_NAME", "Wrong")
    monkeypatch.setenv("GIT_CONFIG_PARAMETERS", "'core.bare=true'")
    tool = await made(root)
    (root / "dos.txt").write_bytes(b"a\r\n")
    assert await tool.commit_all(root, subject="x", trailers=STEP)
    monkeypatch.undo()
    assert git(root, "log", "-1", "--format=%an").strip() == "Postdoc research agent"
    assert git(root, "cat-file", "-s", "HEAD:dos.txt").strip() == "3"
    assert not (tmp_path / "elsewhere").exists()


async def test_unsafe_files_are_left_out_and_named(root: Path, tmp_path: Path) -> None:
    tool = await made(root)
    (tmp_path / "secret").write_text("secret")
    (root / "fine").symlink_to("a.txt")
    (root / "out").symlink_to("../secret")
    (root / "absolute").symlink_to(tmp_path / "secret")
    (root / "into-git").symlink_to(".git/config")
    (root / "chain").symlink_to("out")
    with (root / "large.bin").open("wb") as file:
        file.truncate((50 << 20) + 1)
    (root / "vendor").mkdir()
    git(root / "vendor", "init", "-q")
    (root / "vendor" / "code.py").write_text("1")
    (root / "fake" / "deep" / ".git").mkdir(parents=True)
    (root / "fake" / "deep" / "x").write_text("1")
    (root / "git~1").write_text("1")
    (root / "*[a]").write_text("kept")
    (root / ":(top)").write_text("kept")
    os.mkfifo(root / "pipe")
    done = await tool.commit_all(root, subject="second", trailers=STEP)
    assert done is not None
    reasons = {item.path: item.reason for item in done.excluded}
    assert set(reasons) == {"out", "absolute", "into-git", "chain", "large.bin", "vendor", "fake/deep", "git~1"}
    assert "50 MB" in reasons["large.bin"]
    assert {item.path for item in await tool.survey(root)} == set(reasons)
    assert git(root, "ls-files").split() == ["*[a]", ":(top)", "a.txt", "fine"]
    assert await tool.commit_all(root, subject="third", trailers={}) is None
    assert not await tool.is_dirty(root)

    # A file that grows too large keeps its last committed version; one that is deleted is deleted.
    (root / "a.txt").unlink()
    with (root / "*[a]").open("wb") as file:
        file.truncate(51 << 20)
    grown = await tool.commit_all(root, subject="grown", trailers={})
    assert grown is not None
    assert "*[a]" in {item.path for item in grown.excluded}
    assert git(root, "ls-files").split() == ["*[a]", ":(top)", "fine"]
    assert git(root, "show", "HEAD:*[a]") == "kept"


@pytest.mark.parametrize("lock", ["index.lock", "HEAD.lock", "refs/heads/main.lock"])
async def test_the_lock_of_a_dead_git_is_cleared(root: Path, lock: str) -> None:
    tool = await made(root)
    (root / ".git" / lock).write_bytes(b"")
    (root / "a.txt").write_text("two\n")
    assert await tool.commit_all(root, subject="second", trailers=STEP)
    assert not (root / ".git" / lock).exists()


async def test_the_lock_of_a_living_program_is_respected(root: Path) -> None:
    await made(root)
    tool = Git(lock_wait_s=0.5)
    (root / "a.txt").write_text("two\n")
    lock = root / ".git" / "index.lock"
    lock.touch()
    with lock.open("rb") as held:
        holder = subprocess.Popen(["sleep", "30"], stdin=held)
    try:
        with pytest.raises(PostdocError, match="Another git program") as caught:
            await tool.commit_all(root, subject="second", trailers=STEP)
        assert (caught.value.code, caught.value.retryable, lock.exists()) == ("busy", True, True)
    finally:
        holder.kill()
        holder.wait()
    assert await tool.commit_all(root, subject="second", trailers=STEP)


async def test_a_git_that_waits_in_an_editor_keeps_its_lock(root: Path, tmp_path: Path) -> None:
    await made(root)
    editor = tmp_path / "editor"
    editor.write_text("#!/bin/sh\nexec sleep 30\n")
    editor.chmod(0o755)
    (root / "a.txt").write_text("two\n")
    env = {**os.environ, "GIT_EDITOR": str(editor), "GIT_AUTHOR_NAME": "A", "GIT_AUTHOR_EMAIL": "a@a"}
    env |= {"GIT_COMMITTER_NAME": "A", "GIT_COMMITTER_EMAIL": "a@a"}
    user = subprocess.Popen(
        ["git", "commit", "-a"], cwd=root, env=env, start_new_session=True, stdout=subprocess.DEVNULL
    )
    try:
        while not (root / ".git" / "index.lock").exists():
            await asyncio.sleep(0.02)
        with pytest.raises(PostdocError, match="Another git program"):
            await Git(lock_wait_s=0.5).commit_all(root, subject="second", trailers=STEP)
    finally:
        os.killpg(user.pid, signal.SIGKILL)
        user.wait()
    assert await Git().commit_all(root, subject="second", trailers=STEP)


@pytest.mark.parametrize("content", [b"", b"garbage" * 20])
async def test_a_torn_index_costs_nothing(root: Path, content: bytes) -> None:
    tool = await made(root)
    (root / ".git" / "index").write_bytes(content)
    (root / "b.txt").write_text("b\n")
    assert await tool.commit_all(root, subject="second", trailers=STEP)
    assert git(root, "ls-tree", "--name-only", "HEAD").split() == ["a.txt", "b.txt"]
    assert git(root, "status", "--porcelain") == ""


async def test_a_program_that_works_in_the_tree_does_not_end_a_commit(root: Path) -> None:
    """Files that vanish between two looks of git at them: `git add` gives up then, as a whole."""
    tool = await made(root)
    secrets.register("a-secret-that-nothing-holds")
    work = """
import os, sys, itertools
for i in itertools.count():
    for name in (f"scratch-{i % 50}", f"lock-{i % 3}", f".notebook.py.json.{i % 50:08x}.tmp"):
        open(name, "w").close()
        os.unlink(name)
    os.symlink("a.txt", "link")
    os.unlink("link")
"""
    busy = subprocess.Popen([sys.executable, "-c", work], cwd=root)
    try:
        for number in range(40):
            (root / "b.txt").write_text(f"{number}\n")
            done = await tool.commit_all(root, subject=f"step {number}", trailers={"Research-Step": f"s{number}"})
            assert done is not None
            assert git(root, "show", "HEAD:b.txt") == f"{number}\n"
        assert busy.poll() is None
    finally:
        busy.kill()
        busy.wait()
    assert git(root, "log", "--format=", "--name-only", "--", ":(glob)**/*.tmp") == ""


async def test_a_file_that_is_not_whole_yet_is_in_no_commit(root: Path) -> None:
    tool = await made(root)
    (root / "__marimo__").mkdir()
    (root / "__marimo__" / ".notebook.py.json.0123abcd.tmp").write_text("half")
    assert not await tool.is_dirty(root)
    (root / ".mine.tmp").write_text("a person's")
    done = await tool.commit_all(root, subject="second", trailers=STEP)
    assert done is not None
    assert done.excluded == ()
    assert git(root, "ls-files").split() == [".mine.tmp", "a.txt"]

    # One that somebody has committed goes as all files do.
    git(root, "add", "--force", "__marimo__/.notebook.py.json.0123abcd.tmp")
    git(root, "-c", "user.name=a", "-c", "user.email=a@b.c", "commit", "-qm", "by hand")
    (root / "__marimo__" / ".notebook.py.json.0123abcd.tmp").unlink()
    assert await tool.commit_all(root, subject="third", trailers={"Research-Step": "3"})
    assert git(root, "ls-files").split() == [".mine.tmp", "a.txt"]


async def test_what_an_interrupted_step_staged_is_part_of_the_next_commit(root: Path) -> None:
    tool = await made(root)
    (root / "b.txt").write_text("b\n")
    git(root, "add", "b.txt")
    git(root, "write-tree")
    assert await tool.commit_all(root, subject="second", trailers=STEP)
    assert git(root, "ls-tree", "--name-only", "HEAD").split() == ["a.txt", "b.txt"]
    assert git(root, "fsck", "--strict") == ""


async def test_half_an_init_is_finished(root: Path) -> None:
    (root / ".git").mkdir()
    (root / ".git" / "postdoc.json").write_text("{}")
    (root / ".git" / "HEAD").write_text("ref: refs/heads/main\n")
    (root / ".git" / "config").write_text("")
    assert await made(root)
    assert (root / ".git" / "postdoc.json").exists()
    assert "worktree" not in (root / ".git" / "config").read_text()


async def test_a_git_directory_that_leads_elsewhere_is_refused(root: Path, tmp_path: Path) -> None:
    tool = await made(root)
    (root / "a.txt").write_text("two\n")
    target = tmp_path / "bashrc"
    target.write_text("")
    log = root / ".git" / "logs" / "HEAD"
    kept = log.read_bytes()
    log.unlink()
    log.symlink_to(target)
    with pytest.raises(PostdocError, match="not safe"):
        await tool.commit_all(root, subject="x", trailers=STEP)
    log.unlink()
    log.write_bytes(kept)
    (root / ".git" / "commondir").write_text("../../other")
    with pytest.raises(PostdocError, match="commondir"):
        await tool.commit_all(root, subject="x", trailers=STEP)
    (root / ".git" / "commondir").unlink()
    (root / ".git").rename(tmp_path / "moved")
    (root / ".git").write_text(f"gitdir: {tmp_path / 'moved'}\n")
    with pytest.raises(PostdocError, match="not a directory"):
        await tool.commit_all(root, subject="x", trailers=STEP)
    assert target.read_text() == ""


async def test_two_servers_that_commit_the_same_step_make_one_commit(root: Path) -> None:
    await made(root)
    (root / "a.txt").write_text("two\n")
    done = await asyncio.gather(*(Git().commit_all(root, subject="second", trailers=STEP) for _ in range(6)))
    assert git(root, "rev-list", "--count", "HEAD").strip() == "2"
    assert {commit.sha for commit in done if commit} == {git(root, "rev-parse", "HEAD").strip()}


WRITER = """
import asyncio, sys
from pathlib import Path
from jupyterlab_postdoc.workspace.git import Git
async def main(root):
    tool = Git()
    await tool.init(root)
    for step in range(6):
        (root / "notebook.py").write_text(f"step = {step}\\n")
        await tool.commit_all(root, subject=f"step {step}", trailers={"Research-Step": str(step)})
asyncio.run(main(Path(sys.argv[1])))
"""


async def test_a_killed_server_neither_loses_nor_doubles_a_step(root: Path) -> None:
    delays = [0.25, 0.3, 0.36, 0.43, 0.5, 0.6]
    for delay in [*delays, None]:
        writer = subprocess.Popen([sys.executable, "-c", WRITER, str(root)])
        if delay is None:
            assert writer.wait() == 0
        else:
            await asyncio.sleep(delay)
            writer.kill()
            writer.wait()
    subjects = git(root, "log", "--format=%s", "--reverse").splitlines()
    assert subjects == [f"step {step}" for step in range(6)]
    assert git(root, "fsck", "--strict", "--no-dangling") == ""


def script(path: Path, text: str) -> str:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


async def test_a_missing_or_old_git_says_what_to_install(root: Path, tmp_path: Path) -> None:
    for executable in (str(tmp_path / "none"), script(tmp_path / "old", "echo git version 2.30.9")):
        with pytest.raises(PostdocError, match=r"git 2\.31 or newer is needed") as caught:
            await Git(executable=executable).init(root)
        assert "apt install git" in caught.value.next
    assert await Git(executable=script(tmp_path / "new", "echo git version 2.31.0.windows.1")).version() == (2, 31, 0)
    with pytest.raises(PostdocError, match="does not exist"):
        await Git().run("status", cwd=tmp_path / "nowhere")


@pytest.fixture
def slow(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A git that starts a child and hangs; the file with both process ids."""
    pids = tmp_path / "pids"
    text = f'[ "$1" = --version ] && echo git version 2.40.0 && exit\nsleep 60 &\necho $$ $! > {pids}\nwait'
    yield script(tmp_path / "slow", text), pids
    if pids.exists():
        for pid in pids.read_text().split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)


def gone(pids: Path) -> bool:
    """Whether the processes have ended (a zombie of our own has)."""
    for _ in range(100):
        states = []
        for pid in pids.read_text().split():
            with contextlib.suppress(OSError):
                states.append(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0])
        if all(state == "Z" for state in states):
            return True
        time.sleep(0.02)
    return False


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")
async def test_a_hanging_git_is_ended_with_its_children(root: Path, slow: tuple[str, Path]) -> None:
    executable, pids = slow
    with pytest.raises(PostdocError, match="did not finish within"):
        await Git(executable=executable, timeout_s=0.3).run("status", cwd=root)
    assert gone(pids)
    pids.unlink()
    task = asyncio.ensure_future(Git(executable=executable).run("status", cwd=root))
    while not pids.exists() or not pids.read_text():
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert gone(pids)


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ("error: file write error: No space left on device", "storage_full"),
        ("fatal: Unable to create '/x/index.lock': Read-only file system", "forbidden"),
        ("error: insufficient permission: Permission denied", "forbidden"),
        ("fatal: bad object HEAD", "tool_failed"),
    ],
)
def test_a_failure_becomes_a_sentence(said: str, code: str) -> None:
    error = failed(["git", "add"], GitResult(128, b"", said))
    assert error.code == code
    assert error.message.endswith(".") or "bad object" in error.message


async def test_output_is_bounded(root: Path, tmp_path: Path) -> None:
    loud = script(tmp_path / "loud", '[ "$1" = --version ] && echo git version 2.40.0 && exit\nexec yes')
    with pytest.raises(PostdocError, match="more than 32 MB"):
        await Git(executable=loud).run("log", cwd=root)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The temporary directory, also of processes that the test starts."""
    place = tmp_path / "tmp"
    place.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    monkeypatch.setenv("TMPDIR", str(place))
    return place


def test_views_of_killed_servers_are_swept_and_of_no_other(root: Path, place: Path) -> None:
    code = (
        "import sys, time\nfrom pathlib import Path\nfrom jupyterlab_postdoc.workspace.gitview import borrowed\n"
        "with borrowed(Path(sys.argv[1]), None) as view: print(view, flush=True); time.sleep(60)"
    )
    servers = [
        subprocess.Popen([sys.executable, "-c", code, str(root)], stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    try:
        killed, other = (Path(server.stdout.readline().strip()) for server in servers if server.stdout)
        with borrowed(root, None) as own:
            sweep(older_s=-1.0)
            assert all(view.exists() for view in (killed, other, own))
            servers[0].kill()
            servers[0].wait()
            sweep()
            assert [view.exists() for view in (killed, other, own)] == [False, True, True]
    finally:
        for server in servers:
            server.kill()
            server.wait()


def test_a_view_that_was_never_locked_is_swept_when_it_is_old(root: Path, place: Path) -> None:
    old, new = place / "postdoc-git-old", place / "postdoc-git-new"
    for view in (old, new):
        view.mkdir()
    os.utime(old, (1, 1))
    sweep()
    assert (old.exists(), new.exists()) == (False, True)
    with borrowed(root, None):
        pass
    assert list(place.iterdir()) == [new]
