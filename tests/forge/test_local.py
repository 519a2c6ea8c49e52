# ruff: noqa: ASYNC221 - the plain git calls of these tests are short and meant to block
"""Publishing to a bare repository on the same disk."""

from __future__ import annotations

import asyncio
import subprocess
from pathlib import Path

import pytest

from jupyterlab_postdoc.errors import PostdocError
from jupyterlab_postdoc.forge.base import FileChange, Forge
from jupyterlab_postdoc.forge.local import LocalForge
from jupyterlab_postdoc.workspace.git import Git


def git(root: Path | str, *argv: str) -> str:
    return subprocess.run(["git", *argv], cwd=root, capture_output=True, text=True, check=True).stdout


@pytest.fixture
def forge(tmp_path: Path) -> Forge:
    return LocalForge(tmp_path / "data")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    place = tmp_path / "study"
    place.mkdir()
    return place


async def commit(root: Path, name: str, content: str) -> str:
    await Git().init(root)
    (root / name).write_text(content)
    done = await Git().commit_all(root, subject=name, trailers={})
    assert done is not None
    return done.sha


async def test_push_is_idempotent_and_a_clone_has_everything(forge: Forge, root: Path, tmp_path: Path) -> None:
    first = await commit(root, "a.txt", "one\n")
    repo = await forge.create_repo("study", session="s", run="r")
    assert await forge.create_repo("study", session="s", run="r") == repo == await forge.get_repo("study")
    pushed = await forge.push(root, repo)
    assert (pushed.before, pushed.after, pushed.changed) == (None, first, True)
    assert not (await forge.push(root, repo)).changed
    second = await commit(root, "b.txt", "1\n2\n")
    pushed = await forge.push(root, repo)
    assert (pushed.before, pushed.after) == (first, second)

    git(tmp_path, "clone", "-q", repo.url, "clone")
    assert git(tmp_path / "clone", "rev-parse", "HEAD").strip() == second
    assert git(root, "remote", "get-url", "origin").strip() == repo.url
    assert git(root, "rev-parse", "origin/main").strip() == second
    assert git(repo.url, "fsck", "--strict") == ""
    assert not list(Path(repo.url).glob("objects/info/alternates"))

    compared = await forge.compare(repo, first, "main")
    assert (compared.ahead, compared.behind) == (1, 0)
    assert compared.files == (FileChange("b.txt", 2, 0),)
    assert (await forge.compare(repo, "main", first)).behind == 1
    for end in ("missing", "--output=x", "0" * 40):
        with pytest.raises(PostdocError) as caught:
            await forge.compare(repo, "main", end)
        assert caught.value.code == "not_found"


async def test_nothing_is_ever_overwritten(forge: Forge, root: Path, tmp_path: Path) -> None:
    await commit(root, "a.txt", "one\n")
    repo = await forge.create_repo("study", session="s", run="r")
    await forge.push(root, repo)
    git(tmp_path, "clone", "-q", repo.url, "other")
    theirs = await commit(tmp_path / "other", "theirs.txt", "x")
    git(tmp_path / "other", "push", "-q", "origin", "main")
    await commit(root, "ours.txt", "y")
    with pytest.raises(PostdocError, match="nothing was overwritten") as caught:
        await forge.push(root, repo)
    assert caught.value.code == "github_conflict"
    assert git(repo.url, "rev-parse", "main").strip() == theirs


async def test_a_name_belongs_to_the_run_that_made_it(forge: Forge, tmp_path: Path) -> None:
    await forge.create_repo("study", session="s", run="r1")
    assert await forge.is_taken("study", run="r2")
    assert not await forge.is_taken("study", run="r1")
    assert not await forge.is_taken("free", run="r1")
    with pytest.raises(PostdocError, match="already") as caught:
        await forge.create_repo("study", session="s", run="r2")
    assert caught.value.code == "github_conflict"
    with pytest.raises(PostdocError):
        await forge.create_repo("../study", session="s", run="r2")
    assert await forge.get_repo("free") is None


async def test_concurrent_creates_leave_one_owner(tmp_path: Path) -> None:
    async def create(run: str) -> str | None:
        try:
            await LocalForge(tmp_path).create_repo("study", session="s", run=run)
        except PostdocError:
            return None
        return run

    made = [run for run in await asyncio.gather(*(create(f"r{n}") for n in range(6))) if run]
    assert len(made) == 1
    assert [path.name for path in (tmp_path / "repos" / "local").iterdir()] == ["study.git"]


HOSTILE_CONFIG = """
[core]
    hooksPath = {hooks}
    sshCommand = {run}
    fsmonitor = {run}
[uploadpack]
    packObjectsHook = {run}
[url "ext::{run} "]
    insteadOf = /
[extensions]
    partialClone = evil
[remote "evil"]
    url = ext::{run}
    promisor = true
    uploadpack = {run}
[credential]
    helper = {run}
"""


async def test_a_hostile_checkout_cannot_make_the_push_run_or_send_elsewhere(
    forge: Forge, root: Path, tmp_path: Path
) -> None:
    await commit(root, "a.txt", "one\n")
    canary, run, hooks = tmp_path / "canary", tmp_path / "run.sh", tmp_path / "hooks"
    run.write_text(f"#!/bin/sh\necho ran >> {canary}\n")
    run.chmod(0o755)
    hooks.mkdir()
    for hook in ("pre-push", "reference-transaction", "update", "post-checkout"):
        (hooks / hook).write_text(run.read_text())
        (hooks / hook).chmod(0o755)
    with (root / ".git" / "config").open("a") as config:
        config.write(HOSTILE_CONFIG.format(hooks=hooks, run=run))
    repo = await forge.create_repo("study", session="s", run="r")
    assert (await forge.push(root, repo)).changed
    assert not canary.exists()
    # The traps are real: a plain git call in the same checkout runs one.
    subprocess.run(["git", "update-ref", "refs/heads/x", "HEAD"], cwd=root, check=False, capture_output=True)
    assert canary.exists()


async def test_an_origin_that_somebody_set_stays(forge: Forge, root: Path) -> None:
    await commit(root, "a.txt", "one\n")
    git(root, "remote", "add", "origin", "https://example.org/x.git")
    await forge.push(root, await forge.create_repo("study", session="s", run="r"))
    assert git(root, "remote", "get-url", "origin").strip() == "https://example.org/x.git"


async def test_nothing_to_push_is_a_sentence(forge: Forge, root: Path) -> None:
    await Git().init(root)
    repo = await forge.create_repo("study", session="s", run="r")
    with pytest.raises(PostdocError, match="no commit") as caught:
        await forge.push(root, repo)
    assert caught.value.code == "not_found"


@pytest.mark.parametrize("lock", ["refs/heads/main.lock", "config.lock"])
async def test_locks_of_a_killed_push_are_cleared(forge: Forge, root: Path, lock: str) -> None:
    await commit(root, "a.txt", "one\n")
    repo = await forge.create_repo("study", session="s", run="r")
    place = Path(repo.url) if lock.startswith("refs") else root / ".git"
    (place / lock).write_text("")
    assert (await forge.push(root, repo)).changed
    assert not (place / lock).exists()
