"""GitHub through PyGithub: every call, at the root of an API and below the path of an Enterprise Server."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.forge.emulated import BOB, TOKEN, Hub
from tests.forge.emulated import hub as hub

from jupyterlab_postdoc.errors import PostdocError
from jupyterlab_postdoc.forge.credentials import Credentials
from jupyterlab_postdoc.forge.github import GitHub, GitHubForge
from jupyterlab_postdoc.forge.github_address import address
from jupyterlab_postdoc.protocol import Review

NOWHERE = "http://127.0.0.1:9"
"""For a server whose answers are all scripted."""
BRANCH = "agent/owls/12345678"


@asynccontextmanager
async def client(url: str, folder: Path, token: str = TOKEN, **settings: Any) -> AsyncIterator[GitHub]:
    """Our client of the GitHub at ``url``, with the server's token."""
    credentials = Credentials(folder / "data", host="127.0.0.1", api_url=url, environ={"GITHUB_TOKEN": token})
    github = GitHub(credentials, api_url=url, throttle=False, **settings)
    try:
        yield github
    finally:
        await github.close()


@asynccontextmanager
async def account(url: str, folder: Path, token: str = TOKEN, **settings: Any) -> AsyncIterator[GitHubForge]:
    """The account of that token."""
    async with client(url, folder, token, **settings) as github:
        forge = await github.of("ana")
        assert forge is not None
        yield forge


def repo(name: str, base: str, **fields: Any) -> dict[str, Any]:
    """A repository as GitHub tells it."""
    told = {"id": 7, "full_name": name, "html_url": f"https://git.example/{name}", "url": f"{base}/repos/{name}"}
    return {**told, "private": True, "created_at": "2026-11-20T10:00:00Z", **fields}


def push_study(hub: Hub, folder: Path, name: str) -> str:
    """A first commit on main, two more on the branch, pushed by git; the tip."""
    work = folder / "work"
    work.mkdir()

    def git(*args: str) -> str:
        ours = ["-c", "user.name=P", "-c", "user.email=p@example.org", "-c", "init.defaultBranch=main"]
        return subprocess.run(["git", *ours, *args], cwd=work, capture_output=True, text=True, check=True).stdout

    url = hub.git_url.replace("//", f"//x-access-token:{TOKEN}@") + f"/{name}.git"
    git("init", "-q")
    (work / "README.md").write_text("# Owls\n")
    git("add", "-A")
    git("commit", "-qm", "Start the research project")
    git("push", "-q", url, "main")
    git("checkout", "-qb", BRANCH)
    for step in ("one", "two"):
        (work / f"{step}.py").write_text("print('Größe')\n")
        git("add", "-A")
        git("commit", "-qm", step)
    git("push", "-q", url, BRANCH)
    return git("rev-parse", "HEAD").strip()


@pytest.mark.parametrize("enterprise", [False, True], ids=["root", "enterprise"])
async def test_from_an_account_to_a_reviewed_pull_request(hub: Hub, tmp_path: Path, enterprise: bool) -> None:
    url = hub.enterprise_url if enterprise else hub.api_url
    async with account(url, tmp_path, git_url=hub.git_url) as forge:
        assert (await forge.whoami()).login == "ana"
        assert [owner.login for owner in await forge.owners()] == ["ana", "owl-lab"]

        began = time.time()
        made = await forge.create_repo("ana", "owls", description="How owls hear – Größe", private=True)
        assert (made.full_name, made.private, made.size, made.description) == (
            "ana/owls",
            True,
            0,
            "How owls hear – Größe",
        )
        assert made.git_url == f"{hub.git_url}/ana/owls.git"
        assert abs(made.created_at - began) < 5
        assert await forge.get_repo("ana/owls") == made == await forge.get_repo_by_id(made.id)
        assert await forge.get_repo("ana/bats") is None
        assert await forge.get_repo_by_id(4711) is None
        assert (await forge.create_repo("owl-lab", "bats", description="", private=False)).full_name == "owl-lab/bats"
        assert await forge.branch_tip("ana/owls", "main") is None

        await forge.set_topics("ana/owls", ["marimo", "owls"])
        assert hub.get("/repos/ana/owls/topics")["names"] == ["marimo", "owls"]
        tip = push_study(hub, tmp_path, "ana/owls")
        assert await forge.branch_tip("ana/owls", BRANCH) == tip
        assert await forge.branch_tip("ana/owls", "agent/owls") is None

        assert await forge.find_pulls("ana/owls", BRANCH) == []
        opened = await forge.open_pull("ana/owls", base="main", head=BRANCH, title="Owls", body="Why")
        assert (opened.number, opened.draft, opened.state, opened.base, opened.head) == (
            1,
            True,
            "open",
            "main",
            BRANCH,
        )
        assert [pull.number for pull in await forge.find_pulls("ana/owls", BRANCH)] == [1]
        assert await forge.find_pulls("ana/owls", "main") == []

        hub.request("PATCH", "/repos/ana/owls", {"private": False})
        hub.request("POST", "/repos/ana/owls/issues/1/comments", {"body": "Which owls?"}, token=BOB)
        at_code = {"body": "Why 2?", "commit_id": tip, "path": "two.py", "line": 1, "side": "RIGHT"}
        hub.request("POST", "/repos/ana/owls/pulls/1/comments", at_code, token=BOB)
        hub.request("POST", "/repos/ana/owls/pulls/1/reviews", {"event": "APPROVE", "body": "Fine"}, token=BOB)
        run = {"name": "ci", "head_sha": tip, "status": "completed", "conclusion": "success"}
        hub.post("/repos/ana/owls/check-runs", run)
        hub.post("/repos/ana/owls/check-runs", {"name": "slow", "head_sha": tip, "status": "in_progress"})

        seen = await forge.pull("ana/owls", 1)
        assert (seen.checks.state, seen.checks.total, seen.checks.passed) == ("pending", 2, 1)
        assert seen.checks.url == f"{seen.url}/checks"
        assert seen.review == Review(state="approved", approvedBy=["bob"])
        assert seen.comments == 3
        said = await forge.comments("ana/owls", 1)
        assert {(one.author, one.body, one.path, one.line, one.review) for one in said} == {
            ("bob", "Which owls?", "", None, ""),
            ("bob", "Why 2?", "two.py", 1, ""),
            ("bob", "Fine", "", None, "approved"),
        }
        assert [one.at for one in said] == sorted(one.at for one in said)
        assert len({one.id for one in said}) == 3
        ours = await forge.add_comment("ana/owls", 1, "Barn owls.")
        assert (ours.author, ours.body) == ("ana", "Barn owls.")
        assert (await forge.checks("ana/owls", tip)).total == 2

        assert "ana/owls" in [one.full_name for one in await forge.list_repos("OWL")]
        assert await forge.list_repos("no such name") == []
        rate = await forge.rate()
        assert rate is not None
        assert 0 < rate.remaining < rate.limit == 5000


async def test_a_merged_pull_request_and_one_of_a_taken_name(hub: Hub, tmp_path: Path) -> None:
    async with account(hub.api_url, tmp_path, git_url=hub.git_url) as forge:
        await forge.create_repo("ana", "owls", description="", private=True)
        with pytest.raises(PostdocError) as caught:
            await forge.create_repo("ana", "owls", description="", private=True)
        assert (caught.value.code, caught.value.details["reason"]) == ("github_conflict", "exists")
        assert caught.value.message.startswith("ana/owls exists. Use it, or create owls-2?")
        with pytest.raises(PostdocError) as caught:
            await forge.create_repo("ana", "no good!", description="", private=True)
        assert caught.value.code == "bad_message"
        push_study(hub, tmp_path, "ana/owls")
        await forge.open_pull("ana/owls", base="main", head=BRANCH, title="t", body="b", draft=False)
        hub.request("PUT", "/repos/ana/owls/pulls/1/merge", {})
        assert (await forge.pull("ana/owls", 1)).state == "merged"
        assert [pull.state for pull in await forge.find_pulls("ana/owls", BRANCH)] == ["merged"]
        with pytest.raises(PostdocError) as caught:
            await forge.pull("ana/owls", 9)
        assert caught.value.code == "not_found"


@pytest.mark.parametrize(
    ("api", "git", "host", "git_host", "url"),
    [
        ("https://api.github.com", "", "github.com", "github.com", "https://github.com/a/b.git"),
        ("https://github.com/", "", "github.com", "github.com", "https://github.com/a/b.git"),
        ("", "", "github.com", "github.com", "https://github.com/a/b.git"),
        ("https://ghe.example/api/v3/", "", "ghe.example", "ghe.example", "https://ghe.example/a/b.git"),
        ("https://api.lab.ghe.com", "", "lab.ghe.com", "lab.ghe.com", "https://lab.ghe.com/a/b.git"),
        ("http://ghe:81/api/v3", "", "ghe", "ghe:81", "http://ghe:81/a/b.git"),
        ("https://api.github.com", "https://Proxy:8443/", "github.com", "proxy:8443", "https://Proxy:8443/a/b.git"),
    ],
)
def test_addresses(api: str, git: str, host: str, git_host: str, url: str) -> None:
    found = address(api, git)
    assert (found.host, found.git_host, found.git_url("a/b")) == (host, git_host, url)


@pytest.mark.parametrize("wrong", ["ghe.example", "ftp://x", "https://", "https://u:p@x", "https://x:y", "https://x?y"])
def test_what_is_no_address(wrong: str) -> None:
    with pytest.raises(PostdocError, match="is not an address of GitHub"):
        address(wrong)


def test_pygithub_is_loaded_when_it_is_used() -> None:
    code = "import jupyterlab_postdoc.forge.github, sys; print([m for m in ('github', 'requests') if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"
