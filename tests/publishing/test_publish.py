"""A session is published: one repository, one branch, one draft pull request, however often and whatever happens."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from jupyterlab_postdoc import protocol
from jupyterlab_postdoc.errors import PostdocError
from jupyterlab_postdoc.publishing.publish import NOT_COMMITTED
from tests.agent.support import ANA, bodies, git, of, settled
from tests.forge.emulated import BOB, NO_WORKFLOW, TOKEN, Hub
from tests.forge.faults import after, hang, limit_primary, limit_secondary, status

from .conftest import NAME, desk_at


async def test_one_action_publishes_a_finished_session(tmp_path: Path, hub: Hub) -> None:
    async with desk_at(tmp_path, hub) as desk:
        chat = await desk.study()
        result = await desk.publish(chat)
        assert (result["success"], result["stop_reason"]) == (True, "published")
        assert result["summary"] == f"Published as {NAME}: draft pull request #1."

        shown = await desk.shown(chat)
        assert shown["state"] == "published"
        assert [step["state"] for step in shown["steps"]] == ["done"] * 6
        assert shown["repository"]["name"] == NAME
        assert shown["repository"]["private"]
        assert (shown["pull"]["number"], shown["pull"]["draft"], shown["pull"]["base"]) == (1, True, "main")
        made = await bodies(desk.services, chat, "artifact")
        links = {event["artifact"]: event["url"] for event in made if "url" in event}
        assert set(links) == {"repo", "branch", "compare", "pr"}

        # What GitHub has: the first commit on main, all of them on the branch, one draft pull request.
        root, bare = await desk.root(chat), hub.git.bare(NAME)
        branch = shown["branch"]["name"]
        assert git(bare, "rev-parse", branch) == git(root, "rev-parse", "HEAD") == shown["branch"]["commit"]
        assert git(bare, "rev-parse", "main") == git(root, "rev-list", "--max-parents=0", "HEAD")
        assert git(bare, "for-each-ref", "--format=%(refname:short)").split() == [branch, "main"]
        (pull,) = hub.pulls(NAME)
        assert pull["draft"]
        assert pull["head"]["sha"] == git(root, "rev-parse", "HEAD")
        assert hub.get(f"/repos/{NAME}/topics")["names"] == ["marimo", "research", "a-lean-study"]

        # The session is what it was, and says where it is.
        info = await desk.services.sessions.get(ANA, chat)
        assert (info["state"], info["reason"]) == ("finished", "end_turn")
        assert info["publication"]["url"] == shown["pull"]["url"]
        assert info["publication"]["pullState"] == "draft"


async def test_publishing_again_sends_what_is_new_and_makes_nothing_twice(tmp_path: Path, hub: Hub) -> None:
    async with desk_at(tmp_path, hub) as desk:
        chat = await desk.study()
        await desk.publish(chat)
        writes = len([one for one in desk.faults.requests if one.method != "GET"])
        again = await desk.publish(chat)
        assert again["success"]
        assert len([one for one in desk.faults.requests if one.method != "GET"]) == writes
        root = await desk.root(chat)
        assert (await desk.shown(chat))["notes"] == []
        (root / "more.txt").write_text("More.\n")
        assert (await desk.publish(chat))["success"]
        assert (await desk.shown(chat))["notes"] == [NOT_COMMITTED]
        git(root, "add", "-A")
        git(root, "-c", "user.name=Ana", "-c", "user.email=ana@x.org", "commit", "-qm", "More")
        assert (await desk.publish(chat))["success"]
        shown = await desk.shown(chat)
        assert shown["branch"]["commit"] == git(root, "rev-parse", "HEAD")
        assert shown["notes"] == []
        assert hub.repos() == [NAME]
        assert len(hub.pulls(NAME)) == 1
        made = await bodies(desk.services, chat, "artifact")
        assert [event["artifact"] for event in made if "url" in event] == ["repo", "branch", "compare", "pr"]


async def test_a_study_is_published_at_its_end_by_itself(tmp_path: Path, hub: Hub) -> None:
    async with desk_at(tmp_path, hub, github_publish="end") as desk:
        chat = await desk.study()
        events = await settled(desk.services, chat, "finished")
        first, second = of(events, "result")
        assert first["success"]
        assert first["verdict"]["supported"]
        assert second["stop_reason"] == "published"
        assert second["runId"] == first["followedBy"]
        assert hub.repos() == [NAME]


async def test_without_a_connection_all_stays_here_and_is_said_so(tmp_path: Path, hub: Hub) -> None:
    async with desk_at(tmp_path, hub, token=None, github_publish="end") as desk:
        chat = await desk.study()
        events = await settled(desk.services, chat, "finished")
        assert len(of(events, "result")) == 1
        with pytest.raises(PostdocError) as refused:
            await desk.publish(chat)
        assert refused.value.code == "github_auth"
        assert "Saved locally in a-lean-study. Connect GitHub to publish; nothing is lost." in refused.value.message
        assert await desk.services.log.store.get_publication(chat) is None
        assert desk.faults.requests == []


async def test_a_failure_to_publish_never_fails_the_study(tmp_path: Path, hub: Hub) -> None:
    async with desk_at(tmp_path, hub, github_publish="end") as desk:
        desk.faults.rule("GET", r"^/user$", status(401, {}, {"message": "Bad credentials"}), times=99)
        chat = await desk.study()
        events = await settled(desk.services, chat, "finished")
        study, publication = of(events, "result")
        assert study["success"]
        assert publication["stop_reason"] == "github_auth"
        assert of(events, "error") == []
        shown = await desk.shown(chat)
        assert "GitHub refused the token (expired or revoked)" in shown["problem"]["error"]
        assert shown["problem"]["actions"] == ["connect", "retry"]
        desk.faults.clear()
        assert (await desk.publish(chat))["success"]


async def test_an_answer_that_was_lost_makes_no_second_repository(tmp_path: Path, hub: Hub) -> None:
    async with desk_at(tmp_path, hub) as desk:
        chat = await desk.study()
        desk.faults.rule("POST", r"^/user/repos$", after(502))
        desk.faults.rule("POST", r"/pulls$", after(502))
        result = await desk.publish(chat)
        assert result["success"], result["summary"]
        assert hub.repos() == [NAME]
        assert len(hub.pulls(NAME)) == 1
        assert len(desk.faults.asked("POST", r"^/user/repos$")) == 1
        assert len(desk.faults.asked("POST", r"/pulls$")) == 1


async def test_a_push_whose_answer_was_lost_is_looked_up(tmp_path: Path, hub: Hub) -> None:
    async with desk_at(tmp_path, hub) as desk:
        chat = await desk.study()
        hub.git.lose_answers = 1
        first = await desk.publish(chat)
        if not first["success"]:
            assert (await desk.shown(chat))["problem"]["actions"] == ["retry"]
            first = await desk.publish(chat)
        assert first["success"], first["summary"]
        assert hub.repos() == [NAME]
        assert len(hub.pulls(NAME)) == 1


async def test_a_name_that_is_taken_is_a_question_when_a_person_chose_it(tmp_path: Path, hub: Hub) -> None:
    hub.post("/user/repos", {"name": "owls", "auto_init": True})
    async with desk_at(tmp_path, hub) as desk:
        chat = await desk.study()
        result = await desk.publish(chat, name="owls")
        assert result["stop_reason"] == "github_conflict"
        problem = (await desk.shown(chat))["problem"]
        assert problem["error"].startswith("ana/owls exists. Use it, or create owls-2?")
        assert (problem["actions"], problem["proposal"]) == (["use_existing", "rename"], "owls-2")
        assert (await desk.publish(chat, name="owls-2"))["success"]
        assert hub.repos() == ["ana/owls", "ana/owls-2"]


async def test_a_name_that_the_server_chose_gives_way(tmp_path: Path, hub: Hub) -> None:
    hub.post("/user/repos", {"name": "a-lean-study", "description": "Somebody's own."})
    async with desk_at(tmp_path, hub) as desk:
        chat = await desk.study()
        assert (await desk.publish(chat))["success"]
        shown = await desk.shown(chat)
        assert shown["repository"]["name"] == f"{NAME}-2"
        assert any("exists already" in note for note in shown["notes"])


async def test_an_empty_repository_that_is_there_can_be_used(tmp_path: Path, hub: Hub) -> None:
    hub.post("/user/repos", {"name": "owls", "description": "Mine."})
    async with desk_at(tmp_path, hub) as desk:
        chat = await desk.study()
        result = await desk.publish(chat, name="owls", useExisting=True)
        assert result["success"], result["summary"]
        assert hub.get("/repos/ana/owls")["description"] == "Mine."
        assert hub.get("/repos/ana/owls/topics")["names"] == []


async def test_a_repository_with_a_history_of_its_own_is_not_touched(tmp_path: Path, hub: Hub) -> None:
    hub.post("/user/repos", {"name": "owls"})
    other = tmp_path / "other"
    other.mkdir()
    git(other, "init", "-q", "-b", "main")
    (other / "README.md").write_text("Mine.\n")
    git(other, "add", "-A")
    git(other, "-c", "user.name=A", "-c", "user.email=a@x.org", "commit", "-qm", "Mine")
    hub.git.create("ana/owls")
    git(other, "push", "-q", str(hub.git.bare("ana/owls")), "main")
    async with desk_at(tmp_path, hub) as desk:
        chat = await desk.study()
        result = await desk.publish(chat, name="owls", useExisting=True)
        assert result["stop_reason"] == "github_conflict"
        assert "a history of its own" in result["summary"]
        assert git(hub.git.bare("ana/owls"), "rev-list", "--all", "--count") == "1"


@pytest.mark.parametrize(("limit", "code"), [("primary", "github_rate_limited"), ("secondary", "github_rate_limited")])
async def test_a_limit_is_told_and_publishing_goes_on_later(tmp_path: Path, hub: Hub, limit: str, code: str) -> None:
    async with desk_at(tmp_path, hub) as desk:
        chat = await desk.study()
        desk.faults.rule("POST", r"^/user/repos$", limit_primary(3600) if limit == "primary" else limit_secondary(900))
        result = await desk.publish(chat, limit_s=35)
        assert result["stop_reason"] == code
        problem = (await desk.shown(chat))["problem"]
        assert problem["retryable"]
        assert "limit" in problem["error"]
        assert problem["retryAt"]
        assert (await desk.publish(chat))["success"]
        assert hub.repos() == [NAME]


async def test_a_token_without_workflow_publishes_without_ci_files(tmp_path: Path, hub: Hub) -> None:
    async with desk_at(tmp_path, hub, token=NO_WORKFLOW) as desk:
        desk.faults.headers["X-OAuth-Scopes"] = "repo, user"
        chat = await desk.study()
        result = await desk.publish(chat)
        assert result["success"], result["summary"]
        shown = await desk.shown(chat)
        assert (
            "Token lacks 'workflow': pushed without CI files. With the scope, the next study has them."
            in shown["notes"]
        )
        files = git(hub.git.bare(NAME), "log", "--format=", "--name-only", "--all")
        assert ".github/workflows" not in files
        assert "notebook.py" in files
        root = await desk.root(chat)
        (root / "more.txt").write_text("More.\n")
        git(root, "add", "-A")
        git(root, "-c", "user.name=Ana", "-c", "user.email=ana@x.org", "commit", "-qm", "More")
        assert (await desk.publish(chat))["success"]


async def test_a_refusal_of_workflows_by_the_push_is_heard(tmp_path: Path, hub: Hub) -> None:
    async with desk_at(tmp_path, hub, token=NO_WORKFLOW) as desk:
        chat = await desk.study()
        hub.git.create(NAME)
        text = (
            "refusing to allow a Personal Access Token to create or update workflow "
            "`.github/workflows/reproduce.yml` without `workflow` scope"
        )
        hook = hub.git.bare(NAME) / "hooks" / "pre-receive"
        hook.parent.mkdir(exist_ok=True)
        hook.write_text(
            "#!/bin/sh\nwhile read old new ref; do git ls-tree -r --name-only $new | grep -q '^.github/workflows' "
            f"&& {{ echo '{text}' >&2; exit 1; }}; done; exit 0\n"
        )
        hook.chmod(0o755)
        result = await desk.publish(chat)
        assert result["success"], result["summary"]
        assert any("without CI files" in note for note in (await desk.shown(chat))["notes"])


async def test_a_secret_stops_the_push_and_one_commit_leaves_it_behind(tmp_path: Path, hub: Hub) -> None:
    async with desk_at(tmp_path, hub) as desk:
        chat = await desk.study()
        root = await desk.root(chat)
        secret = "ghp_" + "Q1w2E3r4T5y6U7i8O9p0Q1w2E3r4T5y6U7i8"
        for text in (f"key = '{secret}'\n", "key = None\n"):
            (root / "config.py").write_text(text)
            git(root, "add", "-A")
            git(root, "-c", "user.name=Ana", "-c", "user.email=ana@x.org", "commit", "-qm", "Config")
        result = await desk.publish(chat)
        assert result["stop_reason"] == "publish_blocked"
        shown = await desk.shown(chat)
        assert shown["problem"]["actions"] == ["squash", "retry"]
        (finding,) = [one for one in shown["problem"]["findings"] if one["kind"] == "secret"]
        assert (finding["path"], finding["line"]) == ("config.py", 1)
        assert secret not in str(shown)
        assert hub.repos() == []
        assert not hub.git.requests
        result = await desk.publish(chat, history="squashed")
        assert result["success"], result["summary"]
        assert secret not in git(hub.git.bare(NAME), "log", "-p", "--all")
        assert git(hub.git.bare(NAME), "rev-list", "--count", (await desk.shown(chat))["branch"]["name"]) == "2"


async def test_a_branch_that_somebody_changed_is_not_overwritten_unless_a_person_says_so(
    tmp_path: Path, hub: Hub
) -> None:
    async with desk_at(tmp_path, hub) as desk:
        chat = await desk.study()
        await desk.publish(chat)
        branch = (await desk.shown(chat))["branch"]["name"]
        other = tmp_path / "other"
        git(tmp_path, "clone", "-q", "-b", branch, str(hub.git.bare(NAME)), str(other))
        (other / "theirs.txt").write_text("Theirs.\n")
        git(other, "add", "-A")
        git(other, "-c", "user.name=B", "-c", "user.email=b@x.org", "commit", "-qm", "Theirs")
        git(other, "push", "-q", "origin", branch)
        theirs = git(other, "rev-parse", "HEAD")
        root = await desk.root(chat)
        (root / "ours.txt").write_text("Ours.\n")
        git(root, "add", "-A")
        git(root, "-c", "user.name=A", "-c", "user.email=a@x.org", "commit", "-qm", "Ours")
        result = await desk.publish(chat)
        assert result["stop_reason"] == "push_rejected"
        problem = (await desk.shown(chat))["problem"]
        assert problem["error"].startswith(f"Someone changed {branch}")
        assert (problem["actions"], problem["proposal"]) == (["branch", "force"], f"{branch}-2")
        assert git(hub.git.bare(NAME), "rev-parse", branch) == theirs
        again = await desk.publish(chat, branch=problem["proposal"])
        assert again["success"], again["summary"]
        assert git(hub.git.bare(NAME), "rev-parse", branch) == theirs
        assert git(hub.git.bare(NAME), "rev-parse", f"{branch}-2") == git(root, "rev-parse", "HEAD")


async def test_force_overwrites_only_what_was_seen(tmp_path: Path, hub: Hub) -> None:
    async with desk_at(tmp_path, hub) as desk:
        chat = await desk.study()
        await desk.publish(chat)
        branch, bare, root = (await desk.shown(chat))["branch"]["name"], hub.git.bare(NAME), await desk.root(chat)

        def change(text: str) -> str:
            tree = git(bare, "rev-parse", f"{branch}^{{tree}}")
            who = ["-c", "user.name=B", "-c", "user.email=b@x.org"]
            made = git(bare, *who, "commit-tree", tree, "-p", branch, "-m", text)
            git(bare, "update-ref", f"refs/heads/{branch}", made)
            return made

        change("first")
        (root / "ours.txt").write_text("Ours.\n")
        git(root, "add", "-A")
        git(root, "-c", "user.name=A", "-c", "user.email=a@x.org", "commit", "-qm", "Ours")
        assert (await desk.publish(chat))["stop_reason"] == "push_rejected"
        second = change("second")
        assert (await desk.publish(chat, force=True))["stop_reason"] == "push_rejected"
        assert git(bare, "rev-parse", branch) == second
        assert (await desk.publish(chat, force=True))["success"]
        assert git(bare, "rev-parse", branch) == git(root, "rev-parse", "HEAD")


async def test_a_second_click_is_the_same_publication(tmp_path: Path, hub: Hub) -> None:
    async with desk_at(tmp_path, hub) as desk:
        chat = await desk.study()
        first = await desk.services.sessions.submit(ANA, protocol.Publish(chatId=chat))
        second = await desk.services.sessions.submit(ANA, protocol.Publish(chatId=chat))
        assert first.extra["runId"] == second.extra["runId"]
        assert (await desk.ended(chat, first.extra["runId"]))["success"]
        assert hub.repos() == [NAME]


async def test_stop_stops_a_publication_and_the_next_one_goes_on(tmp_path: Path, hub: Hub) -> None:
    async with desk_at(tmp_path, hub) as desk:
        chat = await desk.study()
        desk.faults.rule("PUT", r"/topics$", hang(30))
        ack = await desk.services.sessions.submit(ANA, protocol.Publish(chatId=chat))
        while not desk.faults.asked("PUT", r"/topics$"):
            await asyncio.sleep(0.02)
        await desk.services.sessions.submit(ANA, protocol.Stop(chatId=chat, how="now"))
        result = await desk.ended(chat, ack.extra["runId"], limit_s=5)
        assert result["stop_reason"] == "stopped"
        desk.faults.release()
        assert (await desk.shown(chat))["problem"]["code"] == "stopped"
        info = await desk.services.sessions.get(ANA, chat)
        assert (info["state"], info["reason"]) == ("finished", "end_turn")
        assert (await desk.publish(chat))["success"]
        assert hub.repos() == [NAME]


async def test_somebody_elses_token_publishes_as_them(tmp_path: Path, hub: Hub) -> None:
    async with desk_at(tmp_path, hub, token=BOB) as desk:
        chat = await desk.study()
        assert (await desk.publish(chat))["success"]
        assert (await desk.shown(chat))["repository"]["name"] == "bob/a-lean-study"


async def test_an_organisation_owns_it_when_that_is_chosen(tmp_path: Path, hub: Hub) -> None:
    async with desk_at(tmp_path, hub) as desk:
        chat = await desk.study()
        result = await desk.publish(chat, owner="owl-lab", private=False)
        assert result["success"], result["summary"]
        shown = await desk.shown(chat)
        assert (shown["repository"]["name"], shown["repository"]["private"]) == ("owl-lab/a-lean-study", False)
        with pytest.raises(PostdocError) as refused:
            await desk.publish(chat, owner="ana")
        assert "published as owl-lab/a-lean-study already" in refused.value.message


async def test_an_enterprise_server_has_its_api_below_a_path(tmp_path: Path, hub: Hub) -> None:
    async with desk_at(tmp_path, hub, prefix="/api/v3") as desk:
        chat = await desk.study()
        result = await desk.publish(chat)
        assert result["success"], result["summary"]
        (pull,) = hub.pulls(NAME)
        assert pull["draft"]


async def test_a_token_of_the_environment_waits_to_be_asked(
    tmp_path: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_TOKEN", TOKEN)
    async with desk_at(tmp_path, hub, token=None, github_publish="auto") as desk:
        chat = await desk.study()
        (result,) = of(await settled(desk.services, chat, "finished"), "result")
        assert "followedBy" not in result
        assert desk.faults.requests == []
        assert (await desk.publish(chat))["success"]
        assert (await desk.services.connection.describe(ANA.name))["defaults"]["publish"] == "ask"


async def test_a_new_verdict_changes_the_pull_requests_text_unless_a_person_did(tmp_path: Path, hub: Hub) -> None:
    async with desk_at(tmp_path, hub) as desk:
        chat = await desk.study()
        await desk.publish(chat)
        root = await desk.root(chat)

        async def verdict(claim: str) -> dict[str, Any]:
            found = json.loads((root / "results.json").read_text()) | {"claim": claim, "supported": False}
            (root / "results.json").write_text(json.dumps(found))
            git(root, "add", "-A")
            git(root, "-c", "user.name=A", "-c", "user.email=a@x.org", "commit", "-qm", claim)
            assert (await desk.publish(chat))["success"]
            return hub.pulls(NAME)[0]

        changed = await verdict("The sum is zero.")
        assert "The sum is zero." in changed["body"]
        assert changed["title"].endswith("(not supported)")
        hub.request("PATCH", f"/repos/{NAME}/pulls/1", {"body": "My own words."})
        kept = await verdict("The sum is odd.")
        assert kept["body"] == "My own words."
        assert any("changed on GitHub" in note for note in (await desk.shown(chat))["notes"])


async def test_the_list_still_says_what_came_of_the_study(tmp_path: Path, hub: Hub) -> None:
    async with desk_at(tmp_path, hub) as desk:
        chat = await desk.study()
        before = (await desk.services.sessions.get(ANA, chat))["line"]
        await desk.publish(chat)
        assert (await desk.services.sessions.get(ANA, chat))["line"] == before == "The sum is 6."


async def test_what_a_person_changes_by_hand_is_counted_as_not_published(tmp_path: Path, hub: Hub) -> None:
    async with desk_at(tmp_path, hub) as desk:
        chat = await desk.study()
        await desk.publish(chat)
        assert (await desk.shown(chat)).get("ahead", 0) == 0
        sessions, root = desk.services.sessions, await desk.root(chat)
        notebook = root / "notebook.py"
        await sessions.submit(ANA, protocol.NotebookTake(chatId=chat))
        notebook.write_text(notebook.read_text().replace("data = [1, 2, 3]", "data = [40, 2]"))
        await sessions.submit(ANA, protocol.NotebookGive(chatId=chat))
        assert (await desk.shown(chat))["ahead"] == 1
        said = (await bodies(desk.services, chat, "publication"))[-1]
        assert (said["ahead"], said["state"]) == (1, "published")
        row = await desk.services.log.store.get_session(chat)
        assert row is not None
        first = git(root, "rev-list", "HEAD", "--", "notebook.py").split()[1]
        await sessions.checkpoints.restore(row, first, user=ANA.name, display=ANA.display, key="k")
        assert (await desk.shown(chat))["ahead"] == 2
        assert (await desk.publish(chat))["success"]
        assert (await desk.shown(chat)).get("ahead", 0) == 0
