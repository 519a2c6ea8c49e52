"""What GitHub tells and `emulate` does not: rights, apps, renamed repositories, forks, plans without drafts."""

from __future__ import annotations

import asyncio
import logging
import time
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from tests.forge.faults import Asked, Faults, redirect, status
from tests.forge.test_github import BRANCH, NOWHERE, TOKEN, account, client, repo

from jupyterlab_postdoc.forge import github_read as read
from jupyterlab_postdoc.forge.github_address import address
from jupyterlab_postdoc.forge.remote import Owner
from jupyterlab_postdoc.protocol import Checks, Review


async def test_what_a_token_may(tmp_path: Path) -> None:
    user = {"login": "ana", "id": 3, "name": None}
    with Faults(NOWHERE) as faults:
        told = {"x-oauth-scopes": "repo, read:org", "github-authentication-token-expiration": "2026-12-01 10:00:00 UTC"}
        faults.rule("GET", "^/user$", status(200, told, user))
        member = {"role": "member", "organization": {"login": "owl-lab"}}
        admin = {"role": "admin", "organization": {"login": "bat-lab"}}
        faults.rule("GET", "^/user/memberships/orgs", status(200, {}, [member, admin]))
        faults.rule("GET", "^/orgs/owl-lab$", status(200, {}, {"members_can_create_repositories": False}))
        async with account(faults.url, tmp_path) as forge:
            who = await forge.whoami()
            assert who.scopes == ("repo", "read:org")
            assert who.lacks("workflow")
            assert who.expires == 1796119200.0
            assert await forge.owners() == [
                Owner("ana", "user", True),
                Owner("owl-lab", "organization", False),
                Owner("bat-lab", "organization", True),
            ]
        assert [one.path.split("?")[0] for one in faults.requests] == [
            "/user",
            "/user/memberships/orgs",
            "/orgs/owl-lab",
        ]
        assert {one.authorization for one in faults.requests} == {f"token {TOKEN}"}


async def test_a_fine_grained_token_tells_no_scopes(tmp_path: Path) -> None:
    with Faults(NOWHERE) as faults:
        faults.rule("GET", "^/user$", status(200, {}, {"login": "ana", "id": 3}))
        faults.rule("GET", "^/user/memberships/orgs", status(403, {}, {"message": "Resource not accessible"}))
        faults.rule("GET", "^/user/orgs", status(200, {}, [{"login": "owl-lab"}]))
        async with account(faults.url, tmp_path) as forge:
            assert (await forge.whoami()).scopes is None
            assert await forge.owners() == [Owner("ana", "user"), Owner("owl-lab", "organization")]


async def test_an_app_has_no_user(tmp_path: Path) -> None:
    refused = status(403, {}, {"message": "Resource not accessible by integration"})
    owner = {"login": "owl-lab", "id": 5}
    with Faults(NOWHERE) as faults:
        of_lab = [repo(f"owl-lab/{name}", faults.url, owner=owner, pushed_at=at) for name, at in _PUSHED]
        faults.rule("GET", "^/user$", refused)
        listed = status(200, {}, {"total_count": 2, "repositories": of_lab})
        faults.rule("GET", "^/installation/repositories", listed, times=2)
        faults.rule("GET", "^/users/owl-lab$", status(200, {}, {**owner, "type": "Organization"}))
        faults.rule("POST", "^/orgs/owl-lab/repos$", status(201, {}, repo("owl-lab/new", faults.url)))
        async with account(faults.url, tmp_path) as forge:
            who = await forge.whoami()
            assert (who.kind, who.login, who.scopes) == ("app", "owl-lab", None)
            assert await forge.owners() == [Owner("owl-lab", "organization")]
            assert [one.full_name for one in await forge.list_repos()] == ["owl-lab/young", "owl-lab/old"]
            assert (await forge.create_repo("owl-lab", "new", description="", private=True)).name == "new"


_PUSHED = [("old", "2026-01-01T00:00:00Z"), ("young", "2026-11-01T00:00:00Z")]


async def test_lists_are_read_to_their_end_and_show_what_can_be_pushed_to(tmp_path: Path) -> None:
    with Faults(NOWHERE) as faults:
        faults.rule("GET", "^/user$", status(200, {}, {"login": "ana", "id": 3}))
        many = [repo(f"ana/r{n}", faults.url, pushed_at="2026-01-01T00:00:00Z") for n in range(100)]
        last = [
            repo("ana/owls", faults.url, pushed_at="2025-01-01T00:00:00Z"),
            repo("ana/owls-archived", faults.url, archived=True),
            repo("bob/owls", faults.url, permissions={"push": False}),
        ]
        faults.rule("GET", r"^/user/repos\?.*page=1&", status(200, {}, many), times=2)
        faults.rule("GET", r"^/user/repos\?.*page=2&", status(200, {}, last))
        async with account(faults.url, tmp_path) as forge:
            assert [one.full_name for one in await forge.list_repos("owls")] == ["ana/owls"]
            assert len(await forge.list_repos(limit=3)) == 3
        assert len(faults.asked("GET", "^/user/repos")) == 3


async def test_a_renamed_repository_is_asked_with_the_whole_question(tmp_path: Path) -> None:
    """PyGithub follows a 301 without the query: all pull requests would look like those of the branch."""
    with Faults(NOWHERE) as faults:
        at = f"{faults.url}/repositories/7/pulls?state=all&head=ana%3A{BRANCH}"
        faults.rule("GET", "^/repos/ana/owls/pulls", redirect(at, 301))
        faults.rule("GET", "^/repositories/7/pulls", status(200, {}, []))
        faults.rule("GET", "^/repos/ana/owls$", redirect(f"{faults.url}/repositories/7", 301))
        faults.rule("GET", "^/repositories/7$", status(200, {}, repo("ana/eagles", faults.url)))
        async with account(faults.url, tmp_path) as forge:
            assert await forge.find_pulls("ana/owls", BRANCH) == []
            found = await forge.get_repo("ana/owls")
        assert found is not None
        assert found.full_name == "ana/eagles"
        at = urlsplit(faults.requests[1].path)
        assert (at.path, parse_qs(at.query)) == (
            "/repositories/7/pulls",
            {"state": ["all"], "head": [f"ana:{BRANCH}"]},
        )


async def test_pull_requests_of_forks_are_somebody_elses(tmp_path: Path) -> None:
    def pull(number: int, head: int | None, branch: str = BRANCH) -> dict[str, Any]:
        of = None if head is None else {"id": head}
        shown = {"number": number, "html_url": f"https://git.example/pull/{number}", "state": "closed"}
        return {**shown, "head": {"ref": branch, "repo": of}, "base": {"ref": "main", "repo": {"id": 7}}}

    with Faults(NOWHERE) as faults:
        listed = [pull(1, 7), pull(2, 8), pull(3, None), pull(4, 7, "other"), pull(5, 7)]
        faults.rule("GET", "/pulls", status(200, {}, listed))
        async with account(faults.url, tmp_path) as forge:
            assert [one.number for one in await forge.find_pulls("ana/owls", BRANCH)] == [5, 1]
        assert "head=ana%3A" in faults.requests[0].path


async def test_no_drafts_on_this_plan(tmp_path: Path) -> None:
    refused = {"message": "Draft pull requests are not supported in this repository.", "errors": []}
    shown = {"number": 1, "html_url": "x", "draft": False, "head": {"ref": "a"}, "base": {"ref": "main"}}
    with Faults(NOWHERE) as faults:
        faults.rule("POST", "/pulls$", status(422, {}, refused))
        faults.rule("POST", "/pulls$", status(201, {}, shown))
        async with account(faults.url, tmp_path) as forge:
            pull = await forge.open_pull("ana/owls", base="main", head="a", title="t" * 300, body="b" * 70000)
        assert not pull.draft
        sent = [one.json() for one in faults.asked("POST")]
        assert [one["draft"] for one in sent] == [True, False]
        assert (len(sent[0]["title"]), len(sent[0]["body"])) == (256, 65536)


async def test_checks_are_runs_and_statuses_as_far_as_they_may_be_read(tmp_path: Path) -> None:
    runs = {"check_runs": [{"status": "completed", "conclusion": "success"}]}
    statuses = {"statuses": [{"state": "failure"}, {"state": "success"}, {"state": "pending"}]}
    with Faults(NOWHERE) as faults:
        faults.rule("GET", "/check-runs", status(200, {}, runs))
        faults.rule("GET", "/status", status(200, {}, statuses))
        faults.rule("GET", "/check-runs", status(403, {}, {"message": "Resource not accessible by personal token"}))
        faults.rule("GET", "/status", status(404, {}, {"message": "Not Found"}))
        async with account(faults.url, tmp_path) as forge:
            found = await forge.checks("ana/owls", "abc")
            assert (found.state, found.total, found.passed, found.failed) == ("failed", 4, 2, 1)
            assert found.url.endswith("/ana/owls/commit/abc/checks")
            assert await forge.checks("ana/owls", "abc") == Checks()


def test_the_last_word_of_each_reviewer() -> None:
    def said(who: str, state: str, kind: str = "User") -> dict[str, Any]:
        return {"user": {"login": who, "type": kind}, "state": state}

    assert read.review([]).state == "none"
    assert read.review([said("bob", "COMMENTED")]).state == "commented"
    changed = [said("bob", "CHANGES_REQUESTED"), said("bob", "APPROVED"), said("bob", "COMMENTED")]
    assert read.review(changed) == Review(state="approved", approvedBy=["bob"])
    assert read.review([*changed, said("bob", "DISMISSED")]).state == "commented"
    two = [said("bob", "APPROVED"), said("eve", "CHANGES_REQUESTED"), said("ci[bot]", "APPROVED", "Bot")]
    assert read.review(two) == Review(state="changes_requested", approvedBy=["bob"], changesRequestedBy=["eve"])
    written = {"id": 1, "body": "b", "created_at": "2026-11-20T10:00:00Z"}
    assert read.comment({**written, "user": {"login": "ci[bot]"}}).bot
    assert read.comment({**written, "user": None}).author == "ghost"


async def test_writes_to_one_repository_wait_for_each_other(tmp_path: Path) -> None:
    with Faults(NOWHERE) as faults:
        running: list[str] = []
        most: dict[str, int] = {}

        def busy(asked: Asked) -> None:
            name = asked.path.split("/")[3]
            running.append(name)
            most[name] = max(most.get(name, 0), running.count(name))
            most["all"] = max(most.get("all", 0), len(running))
            time.sleep(0.1)
            running.remove(name)

        faults.on_request = busy
        faults.rule("PUT", "/topics", status(200, {}, {"names": []}), times=9)
        async with account(faults.url, tmp_path) as forge:
            names = ["ana/owls", "Ana/Owls", "ana/owls", "ana/bats"]
            await asyncio.gather(*(forge.set_topics(name, []) for name in names))
        assert {most["owls"], most.get("Owls", 1), most["bats"]} == {1}
        assert most["all"] == 2


async def test_whose_account_it_is(tmp_path: Path) -> None:
    with Faults(NOWHERE) as faults:
        faults.rule("GET", "^/user$", status(200, {}, {"login": "ana", "id": 3}), times=9)
        async with client(faults.url, tmp_path, token="") as github:
            assert await github.of("bob") is None
            tried = await github.connect("ghp_Tried0000000000000000000000000000000")
            assert (await tried.whoami()).login == "ana"
            assert await github.of("bob") is None
            assert "Tried" not in repr(tried)
        assert faults.requests[0].authorization == "token ghp_Tried0000000000000000000000000000000"


async def test_nothing_that_is_sent_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    import_module("github")  # which sets its level itself
    caplog.set_level(logging.DEBUG, "github")
    with Faults(NOWHERE) as faults:
        shown = {"id": 1, "body": "b", "user": {"login": "ana"}, "created_at": "2026-11-20T10:00:00Z"}
        faults.rule("POST", "/comments", status(201, {}, shown))
        async with account(faults.url, tmp_path) as forge:
            await forge.add_comment("ana/owls", 1, "a private remark")
            logging.getLogger("github.Requester").warning("sent with %s", TOKEN)
    assert "a private remark" not in caplog.text
    assert TOKEN not in caplog.text
    assert "[secret removed]" in caplog.text


@pytest.mark.parametrize(
    "page",
    ["javascript:alert(1)", "https://a.example/x) [y](https://b.example", "https://ana:pw@git.example/x",
     "https://git.example/a\nb", "data:text/html,x", "https://git.example/\x1b[31m", "//git.example/x", None],
)  # fmt: skip
def test_a_page_that_could_not_be_shown_as_a_link_is_left_out(page: str | None) -> None:
    at = address("https://api.github.com")
    told = {**repo("ana/owls", "https://api.github.com"), "html_url": page}
    assert read.remote(told, at).web_url == "https://github.com/ana/owls"
    shown = {"number": 1, "html_url": page, "head": {"ref": "a"}, "base": {"ref": "main"}}
    assert read.pull(shown).url == ""
    assert read.comment({"id": 1, "html_url": page}).url == ""
    good = "https://github.com/ana/owls/pull/1#discussion_r7"
    assert read.pull({**shown, "html_url": good}).url == good


@pytest.mark.parametrize("name", ["ana/..", "ana/a b", "../owls", "ana/owls?x", "ana/o\nwls", "ana", "a/b/c", "-x/y"])
def test_a_name_that_is_none_is_not_taken_for_one(name: str) -> None:
    with pytest.raises(ValueError, match="not the name"):
        read.remote(repo(name, "https://api.github.com"), address("https://api.github.com"))
