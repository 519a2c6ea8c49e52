"""`jupyter postdoc repos`, and `--repo` of research and chat."""

from __future__ import annotations

import pytest

from tests.agent.repos import blobs, foreign


@pytest.fixture(scope="module")
def owls(shared):
    return foreign(shared.root / "owls", {"README.md": "theirs\n", "a.txt": "a\n"})


def test_repositories_are_registered_listed_shown_and_removed(shared, owls):
    assert "No repository is registered yet" in shared.run("repos").out
    added = shared.run("repos", "add", owls.as_uri())
    assert added.code == 0, added.err
    assert "Registered owls (this machine, branch main)" in added.out
    assert "--repo owls" in added.out
    listed = shared.run("repos")
    assert "owls" in listed.out
    (one,) = shared.run("repos", "list", "--json").json
    shown = shared.run("repos", "show", "OWLS")
    assert one["id"] in shown.out
    assert owls.as_uri() in shown.out
    removed = shared.run("repos", "remove", one["id"])
    assert removed.code == 0
    assert "Nothing else was deleted" in removed.out
    assert shared.run("repos", "list", "--json").json == []
    assert owls.is_dir()


def test_wrong_use_is_explained(shared):
    missing = shared.run("repos", "add")
    assert (missing.code, missing.out) == (2, "")
    assert "owner/name" in missing.err
    unknown = shared.run("repos", "show", "nobody/nothing")
    assert unknown.code == 2
    assert "repos lists them" in unknown.err
    refused = shared.run("repos", "add", "git@github.com:ana/owls.git")
    assert refused.code != 0
    assert "https://github.com/ana/owls" in refused.err
    available = shared.run("repos", "available")
    assert available.code != 0
    assert "GitHub is not connected" in available.err


def test_research_in_a_repository(shared, owls):
    shared.run("repos", "add", owls.as_uri())
    done = shared.run("research", "waits please", "--repo", "owls")
    assert done.code == 0, done.out + done.err
    assert "Fetching owls" in done.out
    (root,) = (shared.root / "research").glob("owls-*")
    assert blobs(root)["README.md"] == blobs(owls)["README.md"]
    assert "STUDY.md" in blobs(root)
    (one,) = shared.run("repos", "list", "--json").json
    assert one["sessions"] == 1
    assert not shared.own_servers()


def test_a_chat_that_exists_keeps_its_place(shared, owls):
    (chat,) = shared.run("chats", "--json").json
    refused = shared.run("chat", chat["id"], "Hello", "--repo", "owls")
    assert refused.code == 2
    assert "keeps its place" in refused.err
    lost = shared.run("research", "Owls", "--repo", "nobody", "--template", "none")
    assert lost.code != 0
    assert "no registered repository" in lost.err
