"""Registered repositories: what counts as one, what GitHub says of it, and who is told the token."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from jupyterlab_postdoc.app import Services
from jupyterlab_postdoc.errors import PostdocError
from jupyterlab_postdoc.forge.github_address import address
from jupyterlab_postdoc.forge.names import branch_name
from jupyterlab_postdoc.publishing.places import GIT, GITHUB, read_address
from jupyterlab_postdoc.sessions import User
from tests.agent.repos import THEIRS, blobs, foreign, run
from tests.agent.support import ANA, bodies, lean, of, research, serving, settled
from tests.forge.emulated import BOB, TOKEN, Hub
from tests.forge.githttp import GitHttp

PUBLIC = address("https://api.github.com")
OLGA = User("olga", "Olga")


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    with Hub(tmp_path_factory.mktemp("hub")) as running:
        yield running


@asynccontextmanager
async def connected(home: Path, hub: Hub, token: str = TOKEN, **config: Any) -> AsyncIterator[Services]:
    """A service whose server has this token."""
    file = home / "github.token"
    home.mkdir(exist_ok=True)
    file.touch(mode=0o600)
    file.write_text(token)
    urls = {"github_api_url": hub.api_url, "github_git_url": hub.git_url}
    config = {"github_publish": "ask"} | config
    async with serving(home, github_token_file=str(file), **urls, **config) as services:
        yield services


def on_hub(hub: Hub, tmp_path: Path, name: str, files: dict[str, str] | None = None, **more: Any) -> None:
    """A repository on that GitHub; with files it has one commit on ``main``."""
    hub.post("/user/repos", {"name": name, **more})
    bare = hub.git.create(f"ana/{name}")
    if files is not None:
        place = foreign(tmp_path / f"at-{name}", files)
        run(place, "push", "--quiet", str(bare), "main")
        hub.mirror(f"ana/{name}")


@pytest.mark.parametrize(
    ("given", "forge", "host", "name", "url"),
    [
        ("ana/owls", GITHUB, "github.com", "ana/owls", "https://github.com/ana/owls.git"),
        (" ana/Owls.git ", GITHUB, "github.com", "ana/Owls", "https://github.com/ana/Owls.git"),
        ("github.com/ana/owls", GITHUB, "github.com", "ana/owls", "https://github.com/ana/owls.git"),
        ("https://www.github.com/ana/owls/", GITHUB, "github.com", "ana/owls", "https://github.com/ana/owls.git"),
        ("https://github.com/ana/owls/pull/3", GITHUB, "github.com", "ana/owls", "https://github.com/ana/owls.git"),
        ("https://codeberg.org/a/b.git", GIT, "codeberg.org", "a/b", "https://codeberg.org/a/b.git"),
        ("https://GitLab.com/a/b/c", GIT, "gitlab.com", "a/b/c", "https://gitlab.com/a/b/c"),
        ("https://git.example:8443/x y/z".replace(" ", "%20"), GIT, "git.example:8443", "x y/z",
         "https://git.example:8443/x%20y/z"),
        ("http://127.0.0.1:81/a/b", GIT, "127.0.0.1:81", "a/b", "http://127.0.0.1:81/a/b"),
        ("https://[::1]:81/a/b", GIT, "[::1]:81", "a/b", "https://[::1]:81/a/b"),
    ],
)  # fmt: skip
def test_addresses(given: str, forge: str, host: str, name: str, url: str, tmp_path: Path) -> None:
    place = read_address(given, github=PUBLIC, root_dir=tmp_path)
    assert (place.forge, place.host, place.name, place.url) == (forge, host, name, url)
    assert place.key.count("/") == 2


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("git@github.com:ana/owls.git", "ssh"),
        ("ssh://git@example.org/ana/owls", "ssh"),
        ("me@host:owls", "ssh"),
        ("git://github.com/ana/owls", "neither"),
        ("ext::sh -c evil", "neither"),
        ("--upload-pack=evil", "neither"),
        ("owls", "neither"),
        ("a/b/c", "neither"),
        ("ana/..", "neither"),
        ("", "neither"),
        ("https://", "neither"),
        ("https://example.org", "neither"),
        ("https://example.org/a/../b", "neither"),
        ("https://example.org/a\nb/c", "neither"),
        ("https://example.org:99999/a/b", "neither"),
        ("https://ana:secret@example.org/a/b", "name, a password"),
        ("https://example.org/a/b?token=x", "name, a password"),
        ("http://example.org/a/b", "http address"),
        ("file:///etc", "below the folder"),
        ("file://example.org/a", "below the folder"),
    ],
)
def test_what_is_no_address(given: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(PostdocError) as refused:
        read_address(given, github=PUBLIC, root_dir=tmp_path)
    assert refused.value.code in ("bad_message", "forbidden")
    assert says in refused.value.message
    assert refused.value.next
    assert "secret" not in f"{refused.value.message} {refused.value.next}"


def test_an_ssh_address_is_answered_with_the_https_one(tmp_path: Path) -> None:
    with pytest.raises(PostdocError) as refused:
        read_address("git@example.org:ana/owls.git", github=PUBLIC, root_dir=tmp_path)
    assert "https://example.org/ana/owls" in refused.value.next


@pytest.mark.parametrize(
    ("taken", "branch"),
    [
        ((), "agent/owls/89abcdef"),
        (("main", "agent/owls/other"), "agent/owls/89abcdef"),
        (("agent/owls/89abcdef",), "agent/owls/89abcdef-2"),
        (("AGENT/owls/89abcdef", "agent/owls/89abcdef-2"), "agent/owls/89abcdef-3"),
        (("agent",), "agent-owls-89abcdef"),
        (("agent/owls",), "agent/owls-89abcdef"),
        (("agent/owls/89abcdef/x",), "agent/owls/89abcdef-2"),
    ],
)
def test_names_of_branches(taken: tuple[str, ...], branch: str) -> None:
    assert branch_name("Owls!", "c_0123456789abcdef", taken) == branch


async def test_without_github_only_addresses_can_be_used(tmp_path: Path) -> None:
    async with serving(tmp_path) as services:
        repositories = services.repositories
        for ask in (repositories.add("ana", "ana/owls"), repositories.available("ana")):
            with pytest.raises(PostdocError) as refused:
                await ask
            assert refused.value.code == "github_auth"
            assert "Connect GitHub" in refused.value.next


async def test_a_public_address_is_read_without_a_token(tmp_path: Path) -> None:
    with GitHttp(tmp_path) as server:
        place = foreign(tmp_path / "owls", THEIRS, branch="trunk")
        run(place, "push", "--quiet", str(server.create("olga/owls")), "trunk")
        run(server.bare("olga/owls"), "symbolic-ref", "HEAD", "refs/heads/trunk")
        async with serving(tmp_path / "home") as services:
            shown, fresh = await services.repositories.add("ana", server.git_url("olga/owls"))
            assert fresh
            assert (shown["name"], shown["host"], shown["forge"]) == ("olga/owls", server.host, GIT)
            assert (shown["defaultBranch"], shown["sessions"]) == ("trunk", 0)
            again, fresh = await services.repositories.add("ana", server.git_url("olga/owls"))
            assert (again["id"], fresh) == (shown["id"], False)
            with pytest.raises(PostdocError) as refused:
                await services.repositories.add("ana", server.git_url("olga/nothing"))
            assert refused.value.code == "not_found"
            assert "without a login" in refused.value.message
            assert [one["name"] for one in await services.repositories.list("ana")] == ["olga/owls"]
    assert {asked.authorization for asked in server.requests} == {""}


async def test_github_says_what_a_repository_is(tmp_path: Path, hub: Hub) -> None:
    on_hub(hub, tmp_path, "Owls", {"a.txt": "a\n"}, private=True, description="About owls")
    async with connected(tmp_path / "home", hub) as services:
        repositories = services.repositories
        found = await repositories.available("ana", "owl")
        assert [(one["name"], one["private"], one["registered"]) for one in found] == [("ana/Owls", True, None)]
        shown, fresh = await repositories.add("ana", "ana/Owls")
        assert fresh
        assert (shown["name"], shown["forge"], shown["private"]) == ("ana/Owls", GITHUB, True)
        assert shown["url"] == f"{hub.git_url}/ana/Owls.git"
        for other in (f"{hub.api_url}/ana/Owls", f"{hub.git_url}/ana/Owls.git", "ana/Owls"):
            again, fresh = await repositories.add("ana", other)
            assert (again["id"], fresh) == (shown["id"], False), other
        (found,) = await repositories.available("ana", "owl")
        assert found["registered"] == shown["id"]
        assert (await repositories.resolve("ana", "ANA/OWLS")).id == shown["id"]
        with pytest.raises(PostdocError, match="has no repository ana/none"):
            await repositories.resolve("ana", "ana/none")
        # Registrations are personal.
        assert await repositories.list(OLGA.name) == []
        for ask in (repositories.get(OLGA.name, shown["id"]), repositories.remove(OLGA.name, shown["id"])):
            with pytest.raises(PostdocError) as refused:
                await ask
            assert refused.value.code == "not_found"
        await repositories.remove("ana", shown["id"])
        assert await repositories.list("ana") == []
    assert "ana/Owls" in hub.repos()


async def test_a_renamed_repository_is_found_by_its_number(tmp_path: Path, hub: Hub) -> None:
    lean(tmp_path / "home" / "templates" / "lean")
    on_hub(hub, tmp_path, "before", {"a.txt": "a\n"}, private=True)
    async with connected(tmp_path / "home", hub) as services:
        shown, _ = await services.repositories.add("ana", "ana/before")
        chat = str((await services.sessions.create(ANA, repository="ana/before"))["id"])
        hub.request("PATCH", "/repos/ana/before", {"name": "after"})
        hub.git.rename("ana/before", "ana/after")
        await settled(services, await research(services, chat, provider="template"), "finished", limit_s=60)
        row = await services.log.store.get_session(chat)
        assert row is not None
        assert row.meta["checkout"]["name"] == "ana/after"
        now = await services.repositories.get("ana", shown["id"])
        assert (now["name"], now["sessions"]) == ("ana/after", 1)
        again, fresh = await services.repositories.add("ana", "ana/after")
        assert (again["id"], fresh) == (shown["id"], False)


async def test_a_private_repository_is_fetched_and_the_token_stays_here(tmp_path: Path, hub: Hub) -> None:
    home = tmp_path / "home"
    lean(home / "templates" / "lean")
    on_hub(hub, tmp_path, "secret-owls", THEIRS, private=True)
    hub.git.requests.clear()
    async with connected(home, hub) as services:
        chat = str((await services.sessions.create(ANA, repository="ana/secret-owls"))["id"])
        events = await settled(services, await research(services, chat, provider="template"), "finished", limit_s=60)
        row = await services.log.store.get_session(chat)
        assert row is not None
        root = home / "root" / row.meta["project"]["path"]
        everything = str(await bodies(services, chat)) + str(row)
    assert hub.git.requests[-1].user == "x-access-token"
    assert not hub.git.pushes()
    assert any(body["message"].startswith("Fetching ana/secret-owls") for body in of(events, "agent_status"))
    assert {path: about for path, about in blobs(root).items() if path in THEIRS} == blobs(tmp_path / "at-secret-owls")
    assert TOKEN not in everything
    for file in home.rglob("*"):
        if file.is_file() and file != home / "github.token":
            assert TOKEN.encode() not in file.read_bytes(), file


async def test_the_work_becomes_a_draft_pull_request(tmp_path: Path, hub: Hub) -> None:
    home = tmp_path / "home"
    lean(home / "templates" / "lean")
    on_hub(hub, tmp_path, "reviewed", THEIRS, private=True)
    main = hub.git.branches("ana/reviewed")["main"]
    async with connected(home, hub, github_publish="end") as services:
        chat = str((await services.sessions.create(ANA, repository="ana/reviewed"))["id"])
        await settled(services, await research(services, chat, provider="template"), "finished", limit_s=90)
        row = await services.log.store.get_session(chat)
        assert row is not None
        root, branch = home / "root" / row.meta["project"]["path"], row.meta["checkout"]["branch"]
        published = await services.log.store.get_publication(chat)
    assert published is not None
    assert published.state == "published", published.shown
    (pull,) = hub.pulls("ana/reviewed")
    assert (pull["head"]["ref"], pull["base"]["ref"], pull["draft"]) == (branch, "main", True)
    branches = hub.git.branches("ana/reviewed")
    assert branches["main"] == main
    assert branches.keys() == {"main", branch}
    assert branches[branch] == run(root, "rev-parse", "HEAD")


async def test_no_token_goes_to_another_host(tmp_path: Path, hub: Hub) -> None:
    with GitHttp(tmp_path / "other") as other:
        run(foreign(tmp_path / "owls", {"a.txt": "a\n"}), "push", "--quiet", str(other.create("ana/owls")), "main")
        async with connected(tmp_path / "home", hub) as services:
            await services.repositories.add("ana", other.git_url("ana/owls"))
    assert other.requests
    assert not any(asked.authorization for asked in other.requests)


async def test_a_token_that_may_not_see_it_says_so(tmp_path: Path, hub: Hub) -> None:
    on_hub(hub, tmp_path, "hidden", {"a.txt": "a\n"}, private=True)
    async with connected(tmp_path / "home", hub, BOB) as services:
        with pytest.raises(PostdocError) as refused:
            await services.repositories.add("ana", "ana/hidden")
    # GitHub says that there is none, emulate that it is forbidden.
    assert refused.value.code in ("not_found", "github_forbidden")
    assert refused.value.next
