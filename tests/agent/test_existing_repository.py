"""Studies and chats in repositories that were there before: real git, real marimo, a real work tree."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.agent.modelled import modelled, say, told
from tests.agent.repos import THEIRS, blobs, foreign, run
from tests.agent.support import (
    ANA,
    NOTEBOOK,
    SANDBOX,
    bodies,
    git,
    lean,
    of,
    processes_below,
    read_json,
    research,
    serving,
    settled,
    until,
)
from tests.forge.faults import Faults, hang
from tests.forge.githttp import GitHttp
from tests.model_server import call, reply

from jupyterlab_postdoc import protocol
from jupyterlab_postdoc.app import Services
from jupyterlab_postdoc.errors import PostdocError

ISOLATED = pytest.mark.skipif(not SANDBOX, reason="without a sandbox every command of a model asks for leave")


async def chat_in(services: Services, place: Path, **fields: Any) -> str:
    """A new chat in that repository; its id."""
    made = await services.repositories.add(ANA.name, place.as_uri())
    return str((await services.sessions.create(ANA, repository=made[0]["id"], **fields))["id"])


async def work_tree(services: Services, home: Path, chat: str) -> Path:
    row = await services.log.store.get_session(chat)
    assert row is not None
    return home / "root" / row.meta["project"]["path"]


async def kept(services: Services, chat: str) -> dict[str, Any]:
    row = await services.log.store.get_session(chat)
    assert row is not None
    return dict(row.meta["checkout"])


async def test_a_study_is_added_and_their_files_stay(tmp_path):
    lean(tmp_path / "templates" / "lean")
    owls = foreign(tmp_path / "root" / "code" / "Owls.app", branch="trunk")
    before = blobs(owls)
    async with serving(tmp_path) as services:
        chat = await chat_in(services, owls)
        events = await settled(services, await research(services, chat, provider="template"), "finished", limit_s=60)
        root, place = await work_tree(services, tmp_path, chat), await kept(services, chat)
    tag = chat.removeprefix("c_")[-8:]
    assert root.name == f"owls-app-{tag}"
    assert (place["branch"], place["base"]) == (f"agent/a-lean-study/{tag}", "trunk")
    assert place["baseSha"] == run(owls, "rev-parse", "HEAD")
    assert git(root, "symbolic-ref", "--short", "HEAD") == place["branch"]
    assert git(root, "status", "--porcelain") == ""

    after = blobs(root)
    assert {path: after.get(path) for path in before} == before
    for path, text in THEIRS.items():
        assert (root / path).read_bytes() == text.encode()
    added = set(after) - set(before)
    assert {"STUDY.md", "notebook.py", "results.json", "provenance.json", "reports/report.html"} <= added
    assert not added & {"CITATION.cff", ".python-version", ".github/workflows/reproduce.yml"}
    assert "6" in (root / "STUDY.md").read_text()
    assert read_json(root / "provenance.json")["outcome"]["state"] == "done"

    bare = tmp_path / "data" / "repos" / "local" / f"{root.name}.git"
    assert run(bare, "rev-parse", place["branch"]) == run(root, "rev-parse", "HEAD")
    assert run(owls, "rev-parse", "HEAD") == place["baseSha"], "nothing is written in theirs"
    assert run(owls, "branch", "--format=%(refname:short)") == "trunk"
    said = [body["message"] for body in of(events, "agent_status")]
    assert any(message.startswith("Fetching code/Owls.app") for message in said), said
    assert any("11 files" in message and place["branch"] in message for message in said), said
    assert {body["title"] for body in of(events, "artifact") if body["artifact"] == "branch"} == {place["branch"]}


async def test_a_template_does_not_replace_a_notebook(tmp_path):
    lean(tmp_path / "templates" / "lean")
    owls = foreign(tmp_path / "root" / "owls", {"notebook.py": "print('mine')\n"})
    async with serving(tmp_path) as services:
        chat = await research(services, await chat_in(services, owls), provider="template")
        events = await settled(services, chat, "error")
        (error,) = of(events, "error")
        assert error["code"] == "github_conflict"
        assert "notebook.py already" in error["error"]
        assert "Let a model continue" in error["next"]
        assert not (tmp_path / "root" / "research").exists() or not list((tmp_path / "root" / "research").iterdir())


async def test_results_of_theirs_are_not_written_over(tmp_path):
    lean(tmp_path / "templates" / "lean")
    places = {"results.json": "{}\n"}, {"figures/verdict.png": "x"}, {"data": "a file\n"}, {"reports/report.html": "x"}
    async with serving(tmp_path) as services:
        for number, files in enumerate(places):
            owls = foreign(tmp_path / "root" / f"owls-{number}", files)
            chat = await research(services, await chat_in(services, owls), provider="template")
            (error,) = of(await settled(services, chat, "error"), "error")
            assert error["code"] == "github_conflict"
            assert next(iter(files)) in error["error"]


async def test_a_repository_of_postdoc_is_continued(tmp_path):
    lean(tmp_path / "templates" / "lean")
    made = {
        "README.md": "# An earlier study\n",
        "provenance.json": '{"generator": {"name": "jupyterlab-postdoc"}}\n',
        "results.json": "{}\n",
        "LICENSE": "kept\n",
    }
    owls = foreign(tmp_path / "root" / "owls", made)
    async with serving(tmp_path) as services:
        chat = await research(services, await chat_in(services, owls), provider="template")
        await settled(services, chat, "finished", limit_s=60)
        root = await work_tree(services, tmp_path, chat)
    assert "A lean study" in (root / "README.md").read_text()
    assert not (root / "STUDY.md").exists()
    assert (root / "LICENSE").read_text() == "kept\n"
    assert read_json(root / "results.json")["supported"] is True


async def test_an_empty_repository_gets_a_whole_study(tmp_path):
    lean(tmp_path / "templates" / "lean")
    owls = foreign(tmp_path / "root" / "owls", {})
    async with serving(tmp_path) as services:
        chat = await research(services, await chat_in(services, owls), provider="template")
        await settled(services, chat, "finished", limit_s=60)
        root, place = await work_tree(services, tmp_path, chat), await kept(services, chat)
    assert "branch" not in place
    assert git(root, "symbolic-ref", "--short", "HEAD") == "main"
    assert {"README.md", "LICENSE", "CITATION.cff", "pyproject.toml"} <= set(blobs(root))


async def test_a_taken_branch_and_a_removed_registration(tmp_path):
    lean(tmp_path / "templates" / "lean")
    owls = foreign(tmp_path / "root" / "owls", {"a.txt": "a\n"})
    async with serving(tmp_path) as services:
        chat = await chat_in(services, owls)
        tag = chat.removeprefix("c_")[-8:]
        run(owls, "branch", f"agent/a-lean-study/{tag}")
        (shown,) = await services.repositories.list(ANA.name)
        assert shown["sessions"] == 1
        await services.repositories.remove(ANA.name, shown["id"])
        assert await services.repositories.list(ANA.name) == []
        await settled(services, await research(services, chat, provider="template"), "finished", limit_s=60)
        place = await kept(services, chat)
        assert place["branch"] == f"agent/a-lean-study/{tag}-2"
        with pytest.raises(PostdocError, match="no registered repository"):
            await services.sessions.create(ANA, repository=shown["id"])


async def test_hostile_repositories_are_harmless(tmp_path):
    lean(tmp_path / "templates" / "lean")
    owls = foreign(tmp_path / "root" / "owls", {"a.txt": "a\n", "evil.sh": f"#!/bin/sh\ntouch {tmp_path}/ran\n"})
    evil = f"touch {tmp_path}/ran"
    (owls / ".gitattributes").write_text("*.txt filter=evil diff=evil\n* text=auto\n")
    (owls / "passwd").symlink_to("/etc/passwd")
    (owls / "README.md").symlink_to("../../../outside")
    (owls / "sub").mkdir()
    run(owls, "add", "--all")
    run(owls, "update-index", "--add", "--cacheinfo", f"160000,{'1' * 40},modules/evil")
    (owls / ".gitmodules").write_text('[submodule "modules/evil"]\n\tpath = modules/evil\n\turl = ../owls\n')
    run(owls, "add", ".gitmodules")
    run(owls, "commit", "--quiet", "-m", "evil")
    (tmp_path / "outside").write_text("kept")
    for key in ("filter.evil.smudge", "filter.evil.clean", "core.fsmonitor", "core.sshCommand"):
        run(owls, "config", key, evil)
    run(owls, "config", "include.path", str(tmp_path / "none"))
    for hook in ("post-checkout", "pre-commit", "reference-transaction", "post-commit"):
        (owls / ".git" / "hooks").mkdir(exist_ok=True)
        (owls / ".git" / "hooks" / hook).write_text(f"#!/bin/sh\n{evil}\n")
        (owls / ".git" / "hooks" / hook).chmod(0o755)
    (tmp_path / "ran").unlink(missing_ok=True)
    before = blobs(owls)
    async with serving(tmp_path) as services:
        chat = await research(services, await chat_in(services, owls), provider="template")
        await settled(services, chat, "finished", limit_s=60)
        root = await work_tree(services, tmp_path, chat)
    assert not (tmp_path / "ran").exists()
    assert (tmp_path / "outside").read_text() == "kept"
    after = blobs(root)
    assert {path: after.get(path) for path in before} == before
    assert not any((root / "modules" / "evil").iterdir())
    assert "STUDY.md" in after
    assert not (root / ".git" / "hooks").exists()
    config = (root / ".git" / "config").read_text()
    assert "evil" not in config
    assert "include" not in config


async def test_only_repositories_below_the_root_can_be_used_by_their_path(tmp_path):
    lean(tmp_path / "templates" / "lean")
    outside = foreign(tmp_path / "outside", {"a.txt": "a\n"})
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "link").symlink_to(outside)
    linked = tmp_path / "root" / "linked"
    linked.mkdir()
    (linked / ".git").write_text(f"gitdir: {outside}/.git\n")
    async with serving(tmp_path) as services:
        for place in (outside, tmp_path / "root" / "link", linked, tmp_path / "root" / ".." / "outside"):
            with pytest.raises(PostdocError) as refused:
                await services.repositories.add(ANA.name, f"file://{place}")
            assert refused.value.code == "forbidden", place
        assert await services.repositories.list(ANA.name) == []
        # Nor when it became a link after it was registered.
        owls = foreign(tmp_path / "root" / "owls", {"a.txt": "a\n"})
        chat = await chat_in(services, owls)
        owls.rename(tmp_path / "root" / "away")
        owls.symlink_to(outside)
        await research(services, chat, provider="template")
        (error,) = of(await settled(services, chat, "error"), "error")
        assert error["code"] == "forbidden"


async def test_a_crash_in_the_middle_is_finished(tmp_path):
    lean(tmp_path / "templates" / "lean")
    owls = foreign(tmp_path / "root" / "owls", {"a.txt": "a\n", "README.md": "theirs\n"})
    async with serving(tmp_path) as services:
        chat = await chat_in(services, owls)
        publisher = services.repositories.publisher
        whole = publisher.checkout

        async def half(*given: Any, **more: Any) -> str:
            """The work tree is made, and the server dies before anybody notes it."""
            await whole(*given, **more)
            raise OSError("power cut")

        publisher.checkout = half
        await settled(services, await research(services, chat, provider="template"), "error")
        publisher.checkout = whole
        (root,) = [path for path in (tmp_path / "root" / "research").iterdir() if not path.name.startswith(".")]
        (root / "a.txt").unlink()  # as if the checkout had not come so far
        (root / ".git" / "postdoc-checkout.json").write_text(
            (root / ".git" / "postdoc-checkout.json").read_text().replace('"done": true', '"done": false')
        )
        run(owls, "commit", "--allow-empty", "--quiet", "-m", "moved on meanwhile")
    async with serving(tmp_path) as services:
        await services.sessions.submit(ANA, protocol.Resume(chatId=chat))
        await settled(services, chat, "finished", limit_s=60)
        assert await work_tree(services, tmp_path, chat) == root
        place = await kept(services, chat)
    assert (root / "a.txt").read_text() == "a\n"
    assert run(root, "merge-base", "HEAD", place["baseSha"]) == place["baseSha"]
    assert run(owls, "rev-parse", "HEAD~1") == place["baseSha"]
    assert len(list((tmp_path / "root" / "research").iterdir())) == 1


async def test_a_second_study_of_a_session_goes_on_in_its_work_tree(tmp_path):
    lean(tmp_path / "templates" / "lean")
    owls = foreign(tmp_path / "root" / "owls", {"a.txt": "a\n"})
    other = foreign(tmp_path / "root" / "other", {"a.txt": "a\n"})
    async with serving(tmp_path) as services:
        chat = await research(services, await chat_in(services, owls), provider="template")
        await settled(services, chat, "finished", limit_s=60)
        await research(services, chat, provider="template", topic="Another lean study")
        (error,) = of(await settled(services, chat, "error"), "error")
        assert "notebook.py already" in error["error"]
        second = await services.repositories.add(ANA.name, other.as_uri())
        for fields in ({"repository": second[0]["id"]}, {"repo_name": "new"}):
            with pytest.raises(PostdocError) as refused:
                await research(services, chat, provider="template", **fields)
            assert refused.value.code in ("version_conflict", "bad_message")
        assert len(list((tmp_path / "root" / "research").iterdir())) == 1


async def test_research_itself_may_name_the_repository(tmp_path):
    lean(tmp_path / "templates" / "lean")
    owls = foreign(tmp_path / "root" / "owls", {"a.txt": "a\n"})
    async with serving(tmp_path) as services:
        await services.repositories.add(ANA.name, owls.as_uri())
        chat = await research(services, provider="template", repository="owls")
        await settled(services, chat, "finished", limit_s=60)
        row = await services.log.store.get_session(chat)
        assert row is not None
        assert row.meta["repository"].startswith("repo_")
        (asked,) = await bodies(services, chat, "user_message")
        assert asked["research"]["repository"] == "owls"
        own = await research(services, provider="template")
        await settled(services, own, "finished", limit_s=60)
        with pytest.raises(PostdocError, match="repository of its own"):
            await research(services, own, provider="template", repository="owls")
        with pytest.raises(PostdocError, match="no registered repository"):
            await research(services, provider="template", repository="nobody")


async def test_a_lost_remote_is_told_and_tried_again(tmp_path):
    lean(tmp_path / "templates" / "lean")
    owls = foreign(tmp_path / "root" / "owls", {"a.txt": "a\n"})
    async with serving(tmp_path) as services:
        chat = await chat_in(services, owls)
        owls.rename(tmp_path / "root" / "away")
        (error,) = of(await settled(services, await research(services, chat, provider="template"), "error"), "error")
        assert error["retryable"] is True
        assert "safe locally" not in error["error"]
        (tmp_path / "root" / "away").rename(owls)
        await services.sessions.submit(ANA, protocol.Resume(chatId=chat))
        await settled(services, chat, "finished", limit_s=60)


@ISOLATED
async def test_a_free_chat_changes_a_file_and_writes_nothing_else(tmp_path):
    owls = foreign(tmp_path / "root" / "owls")
    before = blobs(owls)
    edit = {"path": "src/owls.py", "old": "'hoo'", "new": "'hoo hoo'"}
    answers = (
        reply("I look.", calls=[call("read_file", {"path": "src/owls.py"}), call("shell", {"command": "ls"})]),
        reply("I change it.", calls=[call("edit_file", edit)]),
        reply("Done: it hoots twice."),
        reply("Nothing to do."),
    )
    async with modelled(tmp_path, *answers) as (services, server):
        chat = await chat_in(services, owls, title="Hoot twice")
        await say(services, "Let it hoot twice", chat)
        events = await settled(services, chat, "finished", limit_s=60)
        await say(services, "And now?", chat)
        await settled(services, chat, "finished", limit_s=60)
        root, place = await work_tree(services, tmp_path, chat), await kept(services, chat)
        first, *_, last = server.requests()
    system = "\n".join(block["text"] for block in first.body["system"])
    assert f"the branch `{place['branch']}`" in system
    assert "A repository of others" in system
    assert "What a good study is" not in system
    assert first.body["system"] == last.body["system"]
    assert place["branch"].startswith("agent/hoot-twice/")
    after = blobs(root)
    assert set(after) == set(before)
    assert {path for path in before if after[path] != before[path]} == {"src/owls.py"}
    assert "hoo hoo" in (root / "src" / "owls.py").read_text()
    (result,) = of(events, "result")
    assert result["artifacts"]["repo"] == f"research/{root.name}"
    assert result["artifacts"]["commit"] == git(root, "rev-parse", "HEAD")
    bare = tmp_path / "data" / "repos" / "local" / f"{root.name}.git"
    assert run(bare, "rev-parse", place["branch"]) == git(root, "rev-parse", "HEAD")
    assert git(root, "rev-list", "--count", f"{place['baseSha']}..HEAD") == "1"


@ISOLATED
async def test_a_model_continues_their_notebook(tmp_path):
    load = "    data = [1, 2, 3]"
    files = {"README.md": "theirs\n", "notebook.py": NOTEBOOK.format(name="theirs", load=load)}
    owls = foreign(tmp_path / "root" / "owls", files)
    change = {"changes": [{"op": "put", "name": "load", "code": "data = [4, 5, 6]"}]}
    answers = (
        reply("I read it.", calls=[call("nb_cells")]),
        reply("I change the data and run.", calls=[call("nb_edit", change), call("nb_run")]),
        reply("It is positive.", calls=[call("finish", {"summary": "The sum is 15."})]),
    )
    async with modelled(tmp_path, *answers) as (services, server):
        chat = await research(services, await chat_in(services, owls), topic="Sums", template=None)
        await settled(services, chat, "finished", limit_s=90)
        root = await work_tree(services, tmp_path, chat)
        asked = server.requests()[0]
    assert "this study continues it" in told(asked)[0]
    assert "data = [4, 5, 6]" in (root / "notebook.py").read_text()
    assert read_json(root / "results.json")["estimate"] == 15
    assert (root / "README.md").read_text() == "theirs\n"
    assert "15" in (root / "STUDY.md").read_text()


@ISOLATED
async def test_a_notebook_that_is_none_is_refused_for_a_model_too(tmp_path):
    owls = foreign(tmp_path / "root" / "owls", {"notebook.py": "print('mine')\n"})
    async with modelled(tmp_path) as (services, server):
        chat = await research(services, await chat_in(services, owls), topic="Sums", template=None)
        (error,) = of(await settled(services, chat, "error"), "error")
        assert error["code"] == "github_conflict"
        assert "not a marimo notebook" in error["error"]
        assert not server.requests()


async def test_stopping_in_the_middle_of_a_fetch(tmp_path):
    home = tmp_path / "home"
    lean(home / "templates" / "lean")
    with GitHttp(tmp_path) as server, Faults(server.url) as slow:
        run(foreign(tmp_path / "owls", {"a.txt": "a\n"}), "push", "--quiet", str(server.create("olga/owls")), "main")
        async with serving(home) as services:
            made, _ = await services.repositories.add(ANA.name, f"{slow.url}/olga/owls.git")
            chat = str((await services.sessions.create(ANA, repository=made["id"]))["id"])
            slow.requests.clear()
            slow.rule("POST", r"/git-upload-pack$", hang(60))
            await research(services, chat, provider="template")
            await until(services, chat, "agent_status", message=f"Fetching olga/owls from {made['host']}")
            await wait_for(lambda: any(asked.path.endswith("/git-upload-pack") for asked in slow.requests))
            assert processes_below(home / "data")
            await services.sessions.submit(ANA, protocol.Stop(chatId=chat))
            await settled(services, chat, "stopped", limit_s=5)
            assert not processes_below(home / "data")
            assert not (home / "root" / "research").exists()
            await services.sessions.submit(ANA, protocol.Resume(chatId=chat))
            await settled(services, chat, "finished", limit_s=60)
            assert (await work_tree(services, home, chat) / "a.txt").read_text() == "a\n"


async def wait_for(what: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not what():
            await asyncio.sleep(0.02)
