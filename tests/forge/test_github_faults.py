"""GitHub on a bad day: what exactly was sent, which sentence came out, and that nobody waits for long."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from tests.forge.emulated import Hub
from tests.forge.emulated import hub as hub
from tests.forge.faults import (
    Action,
    Faults,
    after,
    after_cut,
    cut,
    hang,
    html,
    limit_primary,
    limit_secondary,
    redirect,
    status,
)
from tests.forge.test_github import NOWHERE, account, client, repo

from jupyterlab_postdoc.errors import PostdocError
from jupyterlab_postdoc.forge.github import TOTAL_S, GitHubForge
from jupyterlab_postdoc.forge.remote import Account

Work = Callable[[GitHubForge], Awaitable[Any]]
TIMES = 99
ANA = Account("ana", 3)


def create(forge: GitHubForge) -> Awaitable[Any]:
    """A write."""
    return forge.create_repo("owl-lab", "owls", description="", private=True)


def look(forge: GitHubForge) -> Awaitable[Any]:
    """A read."""
    return forge.get_repo("owl-lab/owls")


async def failure(forge: GitHubForge, work: Work, most_s: float = 3.0) -> PostdocError:
    """The error of this call, which must come within ``most_s`` seconds."""
    if work is create:
        (await forge._hub.state(forge.credential)).account = ANA
    began = time.monotonic()
    with pytest.raises(PostdocError) as caught:
        await work(forge)
    assert time.monotonic() - began < most_s
    return caught.value


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """One second for an answer and three for a call, in place of 10 and 30."""
    from jupyterlab_postdoc.forge import github_line

    assert github_line.CALL_S + 1 < TOTAL_S <= 35
    assert github_line.TIMEOUT_S * 3 <= github_line.CALL_S
    monkeypatch.setattr(github_line, "TIMEOUT_S", 1)
    monkeypatch.setattr(github_line, "CALL_S", 3.0)


@pytest.mark.parametrize("lost", [after(502), after(500), after_cut()], ids=["502", "500", "cut"])
async def test_the_answer_of_a_write_is_lost(hub: Hub, tmp_path: Path, lost: Action) -> None:
    """It was carried out: sent again, the repository would be one that exists already."""
    with Faults(hub.api_url) as faults:
        faults.rule("POST", "/repos$", lost)
        async with account(faults.url, tmp_path, git_url=hub.git_url) as forge:
            error = await failure(forge, create)
            assert (error.code, error.retryable, error.details["maybe_done"]) == ("github_unreachable", True, True)
            assert "did not answer" in error.message
            assert "Your commits are safe locally." in error.message
            made = await forge.get_repo("owl-lab/owls")
        assert made is not None
        assert made.size == 0
        assert len(faults.asked("POST")) == 1


@pytest.mark.parametrize(
    ("fault", "code", "reason", "says"),
    [
        (status(401, {}, {"message": "Bad credentials"}), "github_auth", "token", "refused the token (expired or revo"),
        (limit_primary(3600), "github_rate_limited", "primary", "GitHub's limit is used up; continuing at "),
        (limit_secondary(), "github_rate_limited", "secondary", "(1 min). Work goes on locally."),
        (limit_secondary(3600), "github_rate_limited", "secondary", "(60 min). Work goes on locally."),
        (
            status(429, {"Retry-After": "3600"}, {"message": "Too many requests"}),
            "github_rate_limited",
            "secondary",
            "(60 min)",
        ),
        (status(429, {"Retry-After": "7"}, {}), "github_rate_limited", "secondary", "(1 min)"),
        (html(), "github_unreachable", "not_github", "answers, but not as GitHub does"),
        (status(200, {}, []), "github_unreachable", "not_github", "answers, but not as GitHub does"),
        (status(200, {}, {"id": 7}), "github_unreachable", "not_github", "answers, but not as GitHub does"),
        (status(200, {}, '{"id": 7, "full'), "github_unreachable", "not_github", "answers, but not as GitHub does"),
        (
            status(200, {}, repo("owl-lab/owls", "https://other.example")),
            "github_unreachable",
            "host",
            "The server answers as other.example; set GitHub API address to that.",
        ),
        (
            status(403, {"X-GitHub-SSO": "required; url=https://git.example/orgs/owl-lab/sso?a=b"}, {}),
            "github_forbidden",
            "sso",
            "single sign-on of owl-lab",
        ),
        (
            status(
                403,
                {"X-Accepted-GitHub-Permissions": "administration=write,pull_requests=read; contents=write"},
                {"message": "Resource not accessible by personal access token"},
            ),
            "github_forbidden",
            "permission",
            "Needed: Administration: write, Pull requests: read.",
        ),
        (
            status(503, {"Retry-After": "3600"}, {"message": "Maintenance"}),
            "github_unreachable",
            "server",
            "status 503",
        ),
    ],
)
@pytest.mark.parametrize("work", [create, look])
async def test_asked_once(tmp_path: Path, work: Work, fault: Action, code: str, reason: str, says: str) -> None:
    with Faults(NOWHERE) as faults:
        faults.rule("POST", "", fault, TIMES)
        faults.rule("GET", "", fault, TIMES)
        async with account(faults.url, tmp_path) as forge:
            error = await failure(forge, work)
        assert (error.code, error.details["reason"]) == (code, reason)
        assert says in error.message
        assert error.next
        assert [one.method for one in faults.requests] == ["POST" if work is create else "GET"]
        if code == "github_rate_limited":
            told = fault.headers.get("x-ratelimit-reset")
            until = float(told) if told else time.time() + float(fault.headers["Retry-After"])
            assert abs(error.details["retry_at"] - until) < 5
        if reason == "sso":
            assert error.details["url"] == "https://git.example/orgs/owl-lab/sso?a=b"
        if reason == "permission":
            assert error.details["needed"] == ["Administration: write", "Pull requests: read"]
            assert "owl-lab" in error.message or work is look


async def test_what_creating_a_repository_needs(tmp_path: Path) -> None:
    with Faults(NOWHERE) as faults:
        faults.rule("POST", "", status(403, {}, {"message": "You need admin access to the organization."}))
        async with account(faults.url, tmp_path) as forge:
            error = await failure(forge, create)
    assert error.message.startswith("The token may not create repositories in owl-lab. Needed: Administration: write")
    assert "You need admin access" in error.message


@pytest.mark.parametrize("fault", [after(502), cut(), status(503)], ids=["502", "cut", "503"])
async def test_a_read_is_tried_again(hub: Hub, tmp_path: Path, fault: Action) -> None:
    hub.post("/orgs/owl-lab/repos", {"name": "owls"})
    with Faults(hub.api_url) as faults:
        faults.rule("GET", "", fault, 2)
        async with account(faults.url, tmp_path) as forge:
            assert await look(forge) is not None
            assert len(faults.requests) == 3
            faults.clear()
            faults.rule("GET", "", fault, TIMES)
            error = await failure(forge, look, 10)
        assert (error.code, error.details["maybe_done"]) == ("github_unreachable", False)
        assert len(faults.requests) == 4


async def test_a_short_wait_that_github_asks_for(tmp_path: Path) -> None:
    with Faults(NOWHERE) as faults:
        faults.rule("GET", "", status(429, {"Retry-After": "1"}, {"message": "Slow down"}), TIMES)
        async with account(faults.url, tmp_path) as forge:
            error = await failure(forge, look, 10)
        assert error.code == "github_rate_limited"
        assert 1 < len(faults.requests) <= 4


@pytest.mark.parametrize(("work", "times"), [(create, 1), (look, 3)])
@pytest.mark.usefixtures("hasty")
async def test_no_answer_at_all(tmp_path: Path, work: Work, times: int) -> None:
    with Faults(NOWHERE) as faults:
        faults.rule("GET", "", hang(60), TIMES)
        faults.rule("POST", "", hang(60), TIMES)
        async with account(faults.url, tmp_path) as forge:
            error = await failure(forge, work, 4.5)
        assert (error.code, error.details["reason"]) == ("github_unreachable", "timeout")
        assert error.details["maybe_done"] is (work is create)
        assert 1 <= len(faults.requests) <= times


@pytest.mark.usefixtures("hasty")
async def test_answers_that_come_late_and_are_errors(tmp_path: Path) -> None:
    """The time is the call's, however many requests it takes."""
    with Faults(NOWHERE) as faults:
        faults.rule("GET", "", Action(code=502, wait_s=0.8), TIMES)
        async with account(faults.url, tmp_path) as forge:
            error = await failure(forge, look, 4)
        assert (error.code, error.details["reason"]) == ("github_unreachable", "server")
        assert len(faults.requests) == 3


async def test_a_write_is_not_overtaken_by_the_next_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its caller has stopped to wait, its thread has not: the repository is still being written to."""
    monkeypatch.setattr("jupyterlab_postdoc.forge.github.TOTAL_S", 0.5)
    with Faults(NOWHERE) as faults:
        faults.rule("PUT", "", hang(1.2))
        faults.rule("PUT", "", status(200, {}, {"names": []}), TIMES)
        async with account(faults.url, tmp_path) as forge:
            for _ in range(2):
                error = await failure(forge, lambda forge: forge.set_topics("ana/owls", []), 1)
                assert error.details["reason"] == "timeout"
            assert len(faults.requests) == 1
            await asyncio.sleep(0.8)
            await forge.set_topics("ana/owls", [])
        assert len(faults.requests) == 2


@pytest.mark.parametrize("code", [301, 307, 308])
@pytest.mark.parametrize(
    "work",
    [
        lambda forge: forge.set_topics("ana/owls", ["a"]),
        lambda forge: forge.open_pull("ana/owls", base="main", head="a", title="t", body="b"),
        lambda forge: forge.add_comment("ana/owls", 1, "b"),
    ],
    ids=["topics", "pull", "comment"],
)
async def test_a_repository_that_was_renamed_is_not_written_to(tmp_path: Path, work: Work, code: int) -> None:
    with Faults(NOWHERE) as faults:
        for verb in ("POST", "PUT"):
            faults.rule(verb, "^/repos/ana/owls/", redirect(f"{faults.url}/repositories/7/x", code), TIMES)
        faults.rule("GET", "^/repos/ana/owls$", redirect(f"{faults.url}/repositories/7", 301))
        faults.rule("GET", "^/repositories/7$", status(200, {}, repo("ana/eagles", faults.url)))
        async with account(faults.url, tmp_path) as forge:
            error = await failure(forge, work)
        assert (error.code, error.details["reason"], error.details["proposal"]) == (
            "github_conflict",
            "moved",
            "ana/eagles",
        )
        assert error.message == "The repository is now ana/eagles. Update the link?"
        assert [one.method for one in faults.requests if one.method != "GET"] in (["POST"], ["PUT"])
        assert len(faults.requests) == 3


@pytest.mark.parametrize("work", [create, look])
async def test_a_redirect_to_another_host_gets_no_token(tmp_path: Path, work: Work) -> None:
    with Faults(NOWHERE) as other, Faults(NOWHERE) as faults:
        for verb in ("GET", "POST"):
            faults.rule(verb, "", redirect(f"{other.url}/repositories/7", 301), TIMES)
        async with account(faults.url, tmp_path) as forge:
            error = await failure(forge, work)
        assert error.details["reason"] == ("moved" if work is create else "host")
        assert other.requests == []
        assert len(faults.requests) == 1


async def test_a_redirect_in_a_circle(tmp_path: Path) -> None:
    with Faults(NOWHERE) as faults:
        faults.rule("GET", "", redirect(f"{faults.url}/repos/owl-lab/owls", 301), TIMES)
        async with account(faults.url, tmp_path) as forge:
            error = await failure(forge, look)
        assert error.details["reason"] == "not_github"
        assert len(faults.requests) == 3


@pytest.mark.parametrize("work", [create, look])
async def test_nobody_listens(tmp_path: Path, work: Work) -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{held.getsockname()[1]}"
        async with account(url, tmp_path) as forge:
            error = await failure(forge, work, 10)
    assert (error.code, error.details["reason"]) == ("github_unreachable", "network")


@pytest.mark.parametrize(
    ("said", "code", "reason"),
    [
        (
            {"message": "Validation Failed", "errors": [{"message": "name already exists on this account"}]},
            "github_conflict",
            "exists",
        ),
        ({"message": "Repository already exists"}, "github_conflict", "exists"),
        ({"message": "Validation Failed", "errors": [{"message": "name is reserved"}]}, "bad_message", "name"),
        ({"message": "Private repositories are switched off"}, "github_conflict", "refused"),
    ],
)
async def test_what_github_refuses(tmp_path: Path, said: Any, code: str, reason: str) -> None:
    with Faults(NOWHERE) as faults:
        faults.rule("POST", "", status(422, {}, said))
        async with account(faults.url, tmp_path) as forge:
            error = await failure(forge, create)
        assert (error.code, error.details["reason"]) == (code, reason)
        assert len(faults.requests) == 1


@pytest.mark.parametrize(
    ("text", "reason"),
    [("A pull request already exists for ana:a.", "pull_exists"), ("No commits between main and a", "no_commits")],
)
async def test_a_pull_request_that_cannot_be(tmp_path: Path, text: str, reason: str) -> None:
    with Faults(NOWHERE) as faults:
        faults.rule("POST", "", status(422, {}, {"message": "Validation Failed", "errors": [{"message": text}]}), TIMES)
        async with account(faults.url, tmp_path) as forge:
            error = await failure(
                forge, lambda forge: forge.open_pull("ana/owls", base="main", head="a", title="t", body="b")
            )
        assert (error.code, error.details["reason"]) == ("github_conflict", reason)
        assert len(faults.requests) == 1


async def test_an_archived_repository_and_an_empty_one(tmp_path: Path) -> None:
    with Faults(NOWHERE) as faults:
        faults.rule("PUT", "", status(403, {}, {"message": "Repository was archived so is read-only."}))
        faults.rule("GET", "/git/ref/", status(409, {}, {"message": "Git Repository is empty."}))
        async with account(faults.url, tmp_path) as forge:
            error = await failure(forge, lambda forge: forge.set_topics("ana/owls", []))
            assert (error.code, error.details["reason"]) == ("github_forbidden", "archived")
            assert await forge.branch_tip("ana/owls", "main") is None


async def test_a_limit_that_is_met_in_the_middle_is_no_missing_right(tmp_path: Path) -> None:
    """What may not be read is left out of the checks; what is refused for now is an error."""
    with Faults(NOWHERE) as faults:
        faults.rule("GET", "/check-runs", limit_primary(3600))
        async with account(faults.url, tmp_path) as forge:
            error = await failure(forge, lambda forge: forge.checks("ana/owls", "abc"))
    assert error.code == "github_rate_limited"


async def test_names_that_would_be_other_addresses(tmp_path: Path) -> None:
    with Faults(NOWHERE) as faults:
        faults.rule("GET", "", status(404, {}, {"message": "Not Found"}), TIMES)
        async with account(faults.url, tmp_path) as forge:
            for name in ("owls", "a/b/c", "../x", "a/..", "/x", "a/"):
                assert (await failure(forge, lambda forge, name=name: forge.get_repo(name))).code == "not_found"
            assert faults.requests == []
            assert await forge.get_repo("a/b?c=d") is None
        assert faults.requests[0].path == "/repos/a/b%3Fc%3Dd"


async def test_after_the_end(tmp_path: Path) -> None:
    with Faults(NOWHERE) as faults:
        async with client(faults.url, tmp_path) as github:
            forge = await github.of("ana")
            assert forge is not None
            await github.close()
            assert (await failure(forge, look)).code == "github_unreachable"
        assert faults.requests == []
