"""Publications in odd situations: interrupted ones that cannot go on, a second study, what GitHub says of itself."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import msgspec
import pytest

from jupyterlab_postdoc import protocol
from jupyterlab_postdoc.errors import PostdocError
from jupyterlab_postdoc.forge.github_address import address
from jupyterlab_postdoc.publishing.places import read_address
from tests.agent.support import ANA, bodies, git, research, settled
from tests.forge.emulated import Hub
from tests.forge.faults import hang

from .conftest import NAME, Desk, desk_at


async def interrupted(desk: Desk, chat: str) -> str:
    """A publication that waits for GitHub's answer; its run."""
    desk.faults.rule("PUT", r"/topics$", hang(30), times=9)
    ack = await desk.services.sessions.submit(ANA, protocol.Publish(chatId=chat))
    async with asyncio.timeout(30):
        while not desk.faults.asked("PUT", r"/topics$"):
            await asyncio.sleep(0.02)
    return str(ack.extra["runId"])


async def test_an_interrupted_publication_whose_folder_is_gone_is_not_under_way_for_ever(
    tmp_path: Path, hub: Hub
) -> None:
    async with desk_at(tmp_path, hub) as desk:
        chat = await desk.study()
        run, root = await interrupted(desk, chat), await desk.root(chat)
    away = root.rename(tmp_path / "away")
    async with desk_at(tmp_path, hub) as desk:
        result = await desk.ended(chat, run)
        assert result["stop_reason"] == "not_found"
        row = await desk.services.log.store.get_publication(chat)
        assert row is not None
        assert row.state == "failed"
        shown = await desk.shown(chat)
        assert shown["state"] == "failed"
        assert "is gone" in shown["problem"]["error"]
        assert shown["problem"]["actions"] == ["retry"]
        assert not [step for step in shown["steps"] if step["state"] == "active"]
        away.rename(root)
        assert (await desk.publish(chat))["success"]


async def test_a_second_study_of_a_session_gets_a_repository_of_its_own(tmp_path: Path, hub: Hub) -> None:
    async with desk_at(tmp_path, hub) as desk:
        chat = await desk.study()
        assert (await desk.publish(chat))["success"]
        first = await desk.shown(chat)
        head = git(hub.git.bare(NAME), "rev-parse", first["branch"]["name"])
        await research(desk.services, chat, topic="Another lean study")
        await settled(desk.services, chat, "finished")
        result = await desk.publish(chat)
        assert result["success"], result["summary"]
        second = await desk.shown(chat)
        assert second["repository"]["name"] == "ana/another-lean-study"
        assert second["pull"]["url"] != first["pull"]["url"]
        assert hub.repos() == [NAME, "ana/another-lean-study"]
        assert git(hub.git.bare(NAME), "rev-parse", first["branch"]["name"]) == head
        links = [event["url"] for event in await bodies(desk.services, chat, "artifact") if "url" in event]
        assert len(links) == len(set(links)) == 8


async def test_the_default_branch_is_refused_with_a_way_out(tmp_path: Path, hub: Hub) -> None:
    async with desk_at(tmp_path, hub) as desk:
        chat = await desk.study()
        assert (await desk.publish(chat))["success"]
        result = await desk.publish(chat, branch="main")
        assert result["stop_reason"] == "publish_blocked"
        problem = (await desk.shown(chat))["problem"]
        assert "branch" in problem["actions"]
        assert (await desk.publish(chat, branch=problem["proposal"]))["success"]


async def test_the_work_of_somebody_in_the_checkout_is_left_alone(tmp_path: Path, hub: Hub) -> None:
    async with desk_at(tmp_path, hub) as desk:
        chat = await desk.study()
        root = await desk.root(chat)
        git(root, "checkout", "-q", "-b", "mine")
        before = git(root, "rev-parse", "HEAD")
        assert (await desk.publish(chat))["success"]
        assert git(root, "rev-parse", "mine") == before
        assert git(root, "symbolic-ref", "HEAD") == "refs/heads/mine"


async def test_results_that_nobody_can_read_do_not_keep_a_study_from_github(tmp_path: Path, hub: Hub) -> None:
    async with desk_at(tmp_path, hub) as desk:
        chat = await desk.study()
        root = await desk.root(chat)
        (root / "results.json").write_text("[" * 100_000 + "]" * 100_000)
        git(root, "add", "-A")
        git(root, "-c", "user.name=Ana", "-c", "user.email=ana@x.org", "commit", "-qm", "Deep")
        result = await desk.publish(chat)
        assert result["success"], result["summary"]


async def test_after_a_repository_that_did_not_fit_another_name_may_be_given(tmp_path: Path, hub: Hub) -> None:
    hub.post("/user/repos", {"name": "owls"})
    other = tmp_path / "other"
    other.mkdir()
    git(other, "init", "-q", "-b", "main")
    git(other, "-c", "user.name=A", "-c", "user.email=a@x.org", "commit", "-q", "--allow-empty", "-m", "Mine")
    hub.git.create("ana/owls")
    git(other, "push", "-q", str(hub.git.bare("ana/owls")), "main")
    async with desk_at(tmp_path, hub) as desk:
        chat = await desk.study()
        assert (await desk.publish(chat, name="owls", useExisting=True))["stop_reason"] == "github_conflict"
        problem = (await desk.shown(chat))["problem"]
        assert (problem["actions"], problem["proposal"]) == (["rename"], "owls-2")
        result = await desk.publish(chat, name=problem["proposal"])
        assert result["success"], result["summary"]
        assert (await desk.shown(chat))["repository"]["name"] == "ana/owls-2"
        assert git(hub.git.bare("ana/owls"), "rev-list", "--all", "--count") == "1"


async def test_who_wants_no_pull_request_gets_none_later_either(tmp_path: Path, hub: Hub) -> None:
    async with desk_at(tmp_path, hub) as desk:
        chat = await desk.study()
        assert (await desk.publish(chat, pullRequest=False))["success"]
        assert (await desk.publish(chat))["success"]
        assert hub.pulls(NAME) == []
        assert (await desk.publish(chat, pullRequest=True))["success"]
        assert len(hub.pulls(NAME)) == 1


async def test_a_repository_that_was_deleted_may_be_made_again_as_is_proposed(tmp_path: Path, hub: Hub) -> None:
    async with desk_at(tmp_path, hub) as desk:
        chat = await desk.study()
        assert (await desk.publish(chat))["success"]
        hub.request("DELETE", f"/repos/{NAME}")
        shutil.rmtree(hub.git.bare(NAME))
        assert (await desk.publish(chat))["stop_reason"] == "github_conflict"
        problem = (await desk.shown(chat))["problem"]
        assert problem["actions"] == ["connect", "rename"]
        result = await desk.publish(chat, name=problem["proposal"])
        assert result["success"], result["summary"]
        assert hub.repos() == [NAME]


@pytest.mark.parametrize("how", ["alternates", "commondir", "objects", "plain"])
def test_a_folder_that_borrows_from_outside_is_no_repository_to_register(tmp_path: Path, how: str) -> None:
    """A link in a repository must not show what lies outside of the folder that the server shows."""
    root, outside = tmp_path / "root", tmp_path / "outside.git"
    here = root / "here.git"
    root.mkdir()
    for bare in (outside, here):
        git(tmp_path, "init", "-q", "--bare", str(bare))
    if how == "alternates":
        (here / "objects" / "info" / "alternates").write_text(f"{outside}/objects\n")
    elif how == "commondir":
        (here / "commondir").write_text(f"{outside}\n")
    elif how == "objects":
        shutil.rmtree(here / "objects")
        (here / "objects").symlink_to(outside / "objects")
    github = address("https://api.github.com")
    if how == "plain":
        assert read_address(here.as_uri(), github=github, root_dir=root).name == "here.git"
        return
    with pytest.raises(PostdocError) as refused:
        read_address(here.as_uri(), github=github, root_dir=root)
    assert refused.value.code == "forbidden"


async def test_the_branch_of_the_session_is_published_whatever_is_checked_out(tmp_path: Path, hub: Hub) -> None:
    async with desk_at(tmp_path, hub) as desk:
        chat = await desk.study()
        root = await desk.root(chat)
        study = git(root, "rev-parse", "main")
        git(root, "checkout", "-q", "-b", "experiment")
        (root / "mine.txt").write_text("Mine alone.\n")
        git(root, "add", "-A")
        git(root, "-c", "user.name=A", "-c", "user.email=a@x.org", "commit", "-qm", "Mine")
        result = await desk.publish(chat)
        assert result["success"], result["summary"]
        shown = await desk.shown(chat)
        assert shown["branch"]["commit"] == study
        assert "Another branch is checked out in the project; what is published is main." in shown["notes"]
        assert "mine.txt" not in git(hub.git.bare(NAME), "log", "--format=", "--name-only", "--all")


async def test_another_github_is_another_place(tmp_path: Path, hub: Hub) -> None:
    async with desk_at(tmp_path, hub) as desk:
        chat = await desk.study()
        await desk.publish(chat)
        row = await desk.services.log.store.get_publication(chat)
        assert row is not None
        elsewhere = msgspec.structs.replace(row, host="github.example.org")
        await desk.services.log.write(lambda tx: tx.put_publication(elsewhere))
        result = await desk.publish(chat)
        assert result["success"], result["summary"]
        assert hub.repos() == [NAME, f"{NAME}-2"]
