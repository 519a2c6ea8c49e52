"""Who is connected: asked of a real REST server, of one that hangs, and of one that refuses."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from jupyterlab_postdoc.errors import PostdocError
from jupyterlab_postdoc.forge.connection import NOT_CONNECTED, Connection
from jupyterlab_postdoc.forge.credentials import Credentials
from jupyterlab_postdoc.forge.github import GitHub
from jupyterlab_postdoc.forge.github_address import address
from jupyterlab_postdoc.forge.remote import Account, Owner
from jupyterlab_postdoc.forge.rights import FINE_GRAINED, kind_of, missing, rights

from .emulated import BOB, NO_WORKFLOW, TOKEN, Emulated
from .faults import Faults, hang, limit_primary, status

BAD = status(401, {}, {"message": "Bad credentials"})


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulated]:
    with Emulated(tmp_path_factory.mktemp("hub")) as running:
        yield running


@pytest.fixture
def faults(hub: Emulated) -> Iterator[Faults]:
    with Faults(hub.api_url) as proxy:
        yield proxy


@asynccontextmanager
async def connected(data_dir: Path, url: str, **more: Any) -> AsyncIterator[Connection]:
    credentials = Credentials(data_dir, host=address(url).host, api_url=url, environ=more.pop("environ", {}))
    github = GitHub(credentials, api_url=url, throttle=False)
    connection = Connection(github, credentials, **more)
    try:
        yield connection
    finally:
        await connection.close()
        await github.close()


def asked(faults: Faults, path: str) -> int:
    return len([one for one in faults.requests if one.path.partition("?")[0] == path])


async def test_nobody_is_connected_at_first(tmp_path: Path, faults: Faults) -> None:
    async with connected(tmp_path, faults.url) as connection:
        found = await connection.describe("ana")
        part = await connection.part("ana")
    assert found["connected"] is False
    assert (found["account"], found["source"], found["mine"], found["problem"]) == (None, None, False, None)
    assert found["choices"]["file"] is True
    assert [one["name"] for one in found["rights"]] == [name for name, _ in FINE_GRAINED]
    assert found["tokenUrl"] == f"{faults.url}/settings/personal-access-tokens/new"
    assert part["ok"] is True
    assert part["message"] == NOT_CONNECTED
    assert "github connect" in part["next"]
    assert faults.requests == []


async def test_a_token_is_tried_out_kept_and_described(tmp_path: Path, faults: Faults) -> None:
    async with connected(tmp_path, faults.url) as connection:
        found = await connection.store("ana", f" {TOKEN}\n")
        assert found["connected"] is True
        assert found["account"]["login"] == "ana"
        assert found["account"]["kind"] == "user"
        assert found["account"]["url"].endswith("/ana")
        assert (found["source"], found["mine"]) == ("stored", True)
        assert [(one["login"], one["kind"]) for one in found["owners"]] == [
            ("ana", "user"),
            ("owl-lab", "organization"),
        ]
        assert found["defaults"] == {"owner": "ana", "private": True, "publish": "end", "history": "full"}
        part = await connection.part("ana")
        other = await connection.describe("bob")
    assert part["ok"] is True
    assert "as ana" in part["message"]
    assert TOKEN not in repr((found, part))
    assert other["connected"] is False


async def test_scopes_tell_what_is_missing(tmp_path: Path, faults: Faults) -> None:
    """emulate tells no scopes: GitHub's header is put in."""
    faults.headers["X-OAuth-Scopes"] = "repo, user"
    async with connected(tmp_path, faults.url) as connection:
        found = await connection.store("ana", NO_WORKFLOW)
        part = await connection.part("ana")
    assert {one["name"]: one["ok"] for one in found["rights"]} == {"repo": True, "workflow": False}
    (sentence,) = found["missing"]
    assert "lacks 'workflow'" in sentence
    assert "without CI files" in sentence
    assert part["ok"] is True
    assert part["next"] == sentence
    assert "(rights: repo)" in part["message"]


async def test_a_token_that_github_refuses_is_not_kept(tmp_path: Path, faults: Faults) -> None:
    async with connected(tmp_path, faults.url) as connection:
        await connection.store("ana", TOKEN)
        faults.rule("GET", r"/user$", BAD, times=9)
        with pytest.raises(PostdocError) as caught:
            await connection.store("ana", BOB)
        assert caught.value.code == "github_auth"
        kept = await connection.credentials.of("ana")
        assert kept is not None
        assert await kept.token() == TOKEN
        with pytest.raises(PostdocError) as caught:
            await connection.store("carl", BOB)
        assert await connection.credentials.of("carl") is None


async def test_a_revoked_token_is_a_problem_and_not_a_connection(tmp_path: Path, faults: Faults) -> None:
    faults.rule("GET", r"/user$", BAD, times=9)
    async with connected(tmp_path, faults.url, environ={"GITHUB_TOKEN": TOKEN}) as connection:
        found = await connection.describe("ana")
        part = await connection.part("ana")
    assert found["connected"] is False
    assert found["source"] == "environment"
    assert found["problem"]["code"] == "github_auth"
    assert part["ok"] is False
    assert part["message"] == found["problem"]["error"]
    assert part["next"]


async def test_health_asks_github_once_a_minute(
    tmp_path: Path, faults: Faults, monkeypatch: pytest.MonkeyPatch
) -> None:
    from jupyterlab_postdoc.forge import connection as module

    async with connected(tmp_path, faults.url, environ={"GITHUB_TOKEN": TOKEN}) as connection:
        await asyncio.gather(*(connection.part(user) for user in ("ana", "bob", "ana", "bob")))
        for _ in range(5):
            await connection.part("ana")
        assert asked(faults, "/user") == 1
        monkeypatch.setattr(module, "KEEP_S", 0.0)
        await connection.part("ana")
        assert asked(faults, "/user") == 2


async def test_a_github_that_hangs_keeps_nobody_waiting(tmp_path: Path, faults: Faults) -> None:
    faults.rule("GET", r"/user$", hang(4.0))
    async with connected(tmp_path, faults.url, environ={"GITHUB_TOKEN": TOKEN}) as connection:
        begun = time.monotonic()
        part = await connection.part("ana")
        assert time.monotonic() - begun < 2.5
        assert "did not answer yet" in part["message"]
        assert part["ok"] is True, "research goes on without GitHub"
        begun = time.monotonic()
        found = await connection.describe("ana", patience_s=0.2)
        assert time.monotonic() - begun < 1.0
        assert found["connected"] is True
        assert found["problem"]["code"] == "github_unreachable"
        assert asked(faults, "/user") == 1, "one question is on its way, not three"


async def test_a_used_up_limit_is_told_and_is_no_failure(tmp_path: Path, faults: Faults) -> None:
    faults.rule("GET", ".*", limit_primary(600), times=9)
    async with connected(tmp_path, faults.url, environ={"GITHUB_TOKEN": TOKEN}) as connection:
        part = await connection.part("ana")
        found = await connection.describe("ana")
    assert part["ok"] is True
    assert found["connected"] is True
    assert found["problem"]["code"] == "github_rate_limited"


async def test_the_owner_of_the_settings_must_be_within_reach(tmp_path: Path, faults: Faults) -> None:
    async with connected(tmp_path, faults.url, environ={"GITHUB_TOKEN": TOKEN}, owner="other-lab") as connection:
        found = await connection.describe("ana")
    assert found["defaults"]["owner"] == "other-lab"
    assert any("does not reach other-lab" in sentence for sentence in found["missing"])
    async with connected(tmp_path, faults.url, environ={"GITHUB_TOKEN": TOKEN}, owner="Owl-Lab") as connection:
        found = await connection.describe("ana")
    assert not any("does not reach" in sentence for sentence in found["missing"])


async def test_forgetting_falls_back_to_the_servers_own(tmp_path: Path, faults: Faults) -> None:
    async with connected(tmp_path, faults.url, environ={"GITHUB_TOKEN": BOB}) as connection:
        assert (await connection.store("ana", TOKEN))["account"]["login"] == "ana"
        found = await connection.forget("ana")
    assert (found["source"], found["mine"]) == ("environment", False)
    assert found["account"]["login"] == "bob"


async def test_an_enterprise_server_has_its_own_addresses(tmp_path: Path, hub: Emulated) -> None:
    async with connected(tmp_path, hub.enterprise_url) as connection:
        found = await connection.store("ana", TOKEN)
    assert found["connected"] is True
    assert found["host"] == "127.0.0.1"
    assert found["tokenUrl"] == hub.enterprise_url.removesuffix("/api/v3") + "/settings/personal-access-tokens/new"


def test_what_a_token_says_of_itself() -> None:
    classic, silent = Account("ana", 1, scopes=("public_repo",)), Account("ana", 1)
    assert kind_of("ghp_x", classic) == "classic"
    assert kind_of("github_pat_x", Account("ana", 1, scopes=())) == "fine-grained"
    assert kind_of("ghs_x", silent) == "app"
    assert kind_of("of-an-old-server", silent) == "fine-grained"
    assert all(one["ok"] is None for one in rights(silent, "fine-grained"))
    assert [(one["name"], one["ok"]) for one in rights(classic, "classic")] == [
        ("repo", False),
        ("workflow", False),
        ("public_repo", True),
    ]

    def said(account: Account, owners: list[Owner], **more: Any) -> str:
        settings: dict[str, Any] = {"owner": "", "private": True, "now": 1_000_000.0} | more
        return " ".join(
            missing(account, "classic" if account.scopes is not None else "fine-grained", owners, **settings)
        )

    mine = [Owner("ana", "user", True), Owner("lab", "organization", False)]
    assert "cannot make them" in said(classic, mine)
    assert "neither make repositories nor push" in said(Account("ana", 1, scopes=()), mine)
    assert said(silent, mine) == ""
    assert "may not create repositories in lab. Needed: Administration: write." in said(silent, mine, owner="lab")
    for left, words in ((3600, "today"), (90_000, "tomorrow"), (3 * 86_400, "in 3 days")):
        assert f"expires {words}" in said(Account("ana", 1, expires=1_000_000.0 + left), mine)
    assert said(Account("ana", 1, expires=1_000_000.0 + 30 * 86_400), mine) == ""
