"""Bad days while a session is published: what is told, what is kept, and that the next attempt goes on where it was."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from jupyterlab_postdoc import protocol
from jupyterlab_postdoc.errors import PostdocError
from jupyterlab_postdoc.publishing import problems, state
from tests.agent.support import ANA, git
from tests.forge.emulated import BOB, Hub
from tests.forge.faults import Action, after, after_cut, cut, hang, html, status
from tests.forge.githttp import GH001, GH006, GH013_RULE, GH013_SECRET

from .conftest import NAME, Desk, desk_at

EXISTS = {"message": "Repository creation failed.", "errors": [{"message": "name already exists on this account"}]}


async def one_of_each(desk: Desk, chat: str) -> None:
    """After all: one repository, its two branches, one open draft pull request with everything in it."""
    hub, shown = desk.hub, await desk.shown(chat)
    assert shown["state"] == "published"
    name, branch = shown["repository"]["name"], shown["branch"]["name"]
    assert hub.repos() == [name]
    bare = hub.git.bare(name)
    assert git(bare, "for-each-ref", "--format=%(refname:short)").split() == [branch, "main"]
    assert git(bare, "rev-parse", branch) == git(await desk.root(chat), "rev-parse", "HEAD")
    (pull,) = hub.pulls(name)
    assert pull["draft"]
    info = await desk.services.sessions.get(ANA, chat)
    assert (info["state"], info["reason"]) == ("finished", "end_turn")


@pytest.mark.parametrize(
    ("method", "path", "action", "code", "says"),
    [
        (
            "POST",
            r"^/user/repos$",
            status(403, {}, {"message": "Resource not accessible"}),
            "github_forbidden",
            "may not create repositories in ana",
        ),
        ("POST", r"^/user/repos$", status(502, {}, "<h1>no</h1>"), "github_unreachable", "did not answer"),
        ("POST", r"^/user/repos$", html(), "github_unreachable", "not as GitHub does"),
        ("GET", r"^/repos/ana/a-lean-study$", cut(), "github_unreachable", "did not answer"),
        (
            "POST",
            r"/pulls$",
            status(403, {}, {"message": "Resource not accessible"}),
            "github_forbidden",
            "may not open pull requests",
        ),
        ("POST", r"/pulls$", status(500, {}, {"message": "no"}), "github_unreachable", "did not answer"),
    ],
    ids=["may-not-create", "create-502", "create-html", "look-cut", "may-not-pull", "pull-500"],
)
async def test_a_failure_is_a_sentence_and_the_next_attempt_goes_on(
    tmp_path: Path, hub: Hub, method: str, path: str, action: Action, code: str, says: str
) -> None:
    async with desk_at(tmp_path, hub) as desk:
        chat = await desk.study()
        head = git(await desk.root(chat), "rev-list", "--count", "HEAD")
        desk.faults.rule(method, path, action, times=99)
        result = await desk.publish(chat)
        assert result["stop_reason"] == code, result["summary"]
        shown = await desk.shown(chat)
        assert shown["state"] == "failed"
        assert says in shown["problem"]["error"]
        assert shown["problem"]["next"]
        assert "retry" in shown["problem"]["actions"]
        assert [step["state"] for step in shown["steps"]].count("failed") == 1
        assert int(git(await desk.root(chat), "rev-list", "--count", "HEAD")) >= int(head)
        info = await desk.services.sessions.get(ANA, chat)
        assert (info["state"], info["reason"]) == ("finished", "end_turn")
        desk.faults.clear()
        again = await desk.publish(chat)
        assert again["success"], again["summary"]
        await one_of_each(desk, chat)


@pytest.mark.parametrize("action", [after(502), after_cut()], ids=["502", "cut"])
async def test_every_answer_is_lost_and_all_is_made_once(tmp_path: Path, hub: Hub, action: Action) -> None:
    async with desk_at(tmp_path, hub) as desk:
        chat = await desk.study()
        for method, path in (("POST", r"^/user/repos$"), ("PUT", r"/topics$"), ("POST", r"/pulls$")):
            desk.faults.rule(method, path, action)
        hub.git.lose_answers = 2
        for _ in range(3):
            result = await desk.publish(chat)
            if result["success"]:
                break
            assert result["stop_reason"] == "github_unreachable", result["summary"]
        assert result["success"], result["summary"]
        await one_of_each(desk, chat)
        for method, path in (("POST", r"^/user/repos$"), ("POST", r"/pulls$")):
            assert len(desk.faults.asked(method, path)) == 1


async def test_topics_that_are_not_taken_are_a_note_and_set_later(tmp_path: Path, hub: Hub) -> None:
    async with desk_at(tmp_path, hub) as desk:
        chat = await desk.study()
        desk.faults.rule("PUT", r"/topics$", status(422, {}, {"message": "Validation Failed"}), times=9)
        assert (await desk.publish(chat))["success"]
        shown = await desk.shown(chat)
        assert any("topic labels could not be set" in note for note in shown["notes"])
        desk.faults.clear()
        assert (await desk.publish(chat))["success"]
        assert hub.get(f"/repos/{NAME}/topics")["names"] == ["marimo", "research", "a-lean-study"]
        assert not any("topic labels" in note for note in (await desk.shown(chat))["notes"])


@pytest.mark.parametrize(
    ("text", "says", "action"),
    [
        (GH001, "182", "squash"),
        (GH006, "protected", "branch"),
        (GH013_RULE, "through a pull request", "branch"),
        (GH013_SECRET, "notebook.py", "squash"),
    ],
    ids=["large", "protected", "rule", "secret"],
)
async def test_what_github_refuses_to_take_is_told_and_sent_later(
    tmp_path: Path, hub: Hub, text: str, says: str, action: str
) -> None:
    async with desk_at(tmp_path, hub) as desk:
        chat = await desk.study()
        hub.git.create(NAME)
        hub.git.reject(NAME, text)
        result = await desk.publish(chat)
        assert result["stop_reason"] == "push_rejected", result["summary"]
        problem = (await desk.shown(chat))["problem"]
        assert says in problem["error"]
        assert action in problem["actions"]
        (hub.git.bare(NAME) / "hooks" / "pre-receive").unlink()
        assert (await desk.publish(chat))["success"]
        await one_of_each(desk, chat)


async def test_somebody_was_faster_and_a_name_that_a_person_chose_is_kept(tmp_path: Path, hub: Hub) -> None:
    """The name is free when it is looked up, taken when it is asked for: no repository of another name is made."""
    async with desk_at(tmp_path, hub) as desk:
        chat = await desk.study()
        hub.post("/user/repos", {"name": "owls", "description": "Theirs."})
        desk.faults.rule("GET", r"^/repos/ana/owls$", status(404, {}, {"message": "Not Found"}))
        desk.faults.rule("POST", r"^/user/repos$", status(422, {}, EXISTS))
        result = await desk.publish(chat, name="owls")
        assert result["stop_reason"] == "github_conflict", result["summary"]
        problem = (await desk.shown(chat))["problem"]
        assert (problem["actions"], problem["proposal"]) == (["use_existing", "rename"], "owls-2")
        assert hub.repos() == ["ana/owls"]


async def test_a_renamed_repository_is_followed_only_when_a_person_says_so(tmp_path: Path, hub: Hub) -> None:
    async with desk_at(tmp_path, hub) as desk:
        chat = await desk.study()
        assert (await desk.publish(chat))["success"]
        hub.request("PATCH", f"/repos/{NAME}", {"name": "owls-of-old"})
        hub.git.bare(NAME).rename(hub.git.bare("ana/owls-of-old"))
        result = await desk.publish(chat)
        assert result["stop_reason"] == "github_conflict"
        problem = (await desk.shown(chat))["problem"]
        assert problem["error"].startswith("The repository is now ana/owls-of-old")
        assert problem["actions"] == ["moved"]
        assert (await desk.publish(chat, acceptMoved=True))["success"]
        assert (await desk.shown(chat))["repository"]["name"] == "ana/owls-of-old"
        await one_of_each(desk, chat)


async def test_a_deleted_repository_is_told_and_another_name_begins_anew(tmp_path: Path, hub: Hub) -> None:
    async with desk_at(tmp_path, hub) as desk:
        chat = await desk.study()
        assert (await desk.publish(chat))["success"]
        hub.request("DELETE", f"/repos/{NAME}")
        result = await desk.publish(chat)
        assert result["stop_reason"] == "github_conflict"
        problem = (await desk.shown(chat))["problem"]
        assert "is not on GitHub any more" in problem["error"]
        assert problem["actions"] == ["connect", "rename"]
        assert hub.repos() == []
        assert (await desk.publish(chat, name="owls"))["success"]
        await one_of_each(desk, chat)


async def test_another_account_after_a_failure_publishes_as_itself(tmp_path: Path, hub: Hub) -> None:
    async with desk_at(tmp_path, hub) as desk:
        chat = await desk.study()
        desk.faults.rule("POST", r"^/user/repos$", status(403, {}, {"message": "Resource not accessible"}))
        assert (await desk.publish(chat))["stop_reason"] == "github_forbidden"
        await desk.services.connection.credentials.store(ANA.name, BOB)
        assert (await desk.publish(chat))["success"]
        assert (await desk.shown(chat))["repository"]["name"] == "bob/a-lean-study"


async def test_a_closed_pull_request_stays_closed_until_there_is_something_new(tmp_path: Path, hub: Hub) -> None:
    async with desk_at(tmp_path, hub) as desk:
        chat = await desk.study()
        assert (await desk.publish(chat))["success"]
        hub.request("PATCH", f"/repos/{NAME}/pulls/1", {"state": "closed"})
        assert (await desk.publish(chat))["success"]
        assert [pull["number"] for pull in hub.pulls(NAME)] == [1]
        root = await desk.root(chat)
        (root / "more.txt").write_text("More.\n")
        git(root, "add", "-A")
        git(root, "-c", "user.name=Ana", "-c", "user.email=ana@x.org", "commit", "-qm", "More")
        assert (await desk.publish(chat))["success"]
        assert [pull["state"] for pull in hub.pulls(NAME)] == ["closed", "open"]
        assert (await desk.shown(chat))["pull"]["number"] == 2


async def test_other_choices_while_one_is_under_way_are_not_lost_in_silence(tmp_path: Path, hub: Hub) -> None:
    async with desk_at(tmp_path, hub) as desk:
        chat = await desk.study()
        desk.faults.rule("PUT", r"/topics$", hang(30))
        ack = await desk.services.sessions.submit(ANA, protocol.Publish(chatId=chat))
        while not desk.faults.asked("PUT", r"/topics$"):
            await asyncio.sleep(0.02)
        with pytest.raises(PostdocError) as refused:
            await desk.services.sessions.submit(ANA, protocol.Publish(chatId=chat, history="squashed"))
        assert refused.value.code == "busy"
        same = await desk.services.sessions.submit(ANA, protocol.Publish(chatId=chat))
        assert same.extra["runId"] == ack.extra["runId"]
        await desk.services.sessions.submit(ANA, protocol.Stop(chatId=chat, how="now"))
        assert (await desk.ended(chat, ack.extra["runId"], limit_s=5))["stop_reason"] == "stopped"


async def test_a_failure_that_nobody_foresaw_does_not_stay_publishing(
    tmp_path: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise ZeroDivisionError("nobody foresaw this")

    async with desk_at(tmp_path, hub) as desk:
        chat = await desk.study()
        with monkeypatch.context() as patch:
            patch.setattr("jupyterlab_postdoc.publishing.pull_text.topic_labels", broken)
            result = await desk.publish(chat)
        assert result["stop_reason"] == "internal", result
        shown = await desk.shown(chat)
        assert shown["state"] == "failed"
        assert shown["problem"]["actions"] == ["retry"]
        assert "active" not in [step["state"] for step in shown["steps"]]
        assert (await desk.services.sessions.get(ANA, chat))["state"] == "finished"
        assert (await desk.publish(chat))["success"]
        await one_of_each(desk, chat)


async def test_a_session_without_a_project_has_nothing_to_publish(tmp_path: Path, hub: Hub) -> None:
    async with desk_at(tmp_path, hub) as desk:
        made = await desk.services.sessions.create(ANA)
        with pytest.raises(PostdocError) as refused:
            await desk.publish(made["id"])
        assert refused.value.code == "not_found"
        assert "no project yet" in refused.value.message


def test_every_problem_offers_a_way_on() -> None:
    """Whatever stops a publication, there is something that a person can do."""
    for error in (
        problems.not_connected("owls"),
        problems.name_taken("ana/owls", "ana/owls-2"),
        problems.moved_to("ana/owls", "ana/eagles"),
        problems.gone("ana/owls"),
        problems.unrelated("ana/owls", "main"),
        PostdocError("internal", "Something broke.", next="Try again."),
    ):
        problem = problems.problem_of(error)
        assert problem.actions
        assert problem.next
    assert state.load(None).key == "/"
