"""Checkpoints on real repositories: what changed, going back, going on elsewhere, histories that nobody can trust."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from jupyterlab_postdoc import protocol, secrets
from jupyterlab_postdoc.agent.hand import Hand, kept_hand
from jupyterlab_postdoc.app import Services
from jupyterlab_postdoc.checkpoints import pending
from jupyterlab_postdoc.errors import PostdocError
from jupyterlab_postdoc.forge import names
from jupyterlab_postdoc.forge.checkout import FORKING as FORK_MARK
from jupyterlab_postdoc.notebooks.worker import author
from jupyterlab_postdoc.sessions import User
from jupyterlab_postdoc.store.base import RunRow, SessionRow
from tests.agent.repos import foreign
from tests.agent.support import ANA, SANDBOX, bodies, git, lean, new_chat, of, read_json, research, serving, settled
from tests.agent.test_workplace import UNRUN, Scripted
from tests.notebooks.live_support import cells_of, page
from tests.notebooks.support import put

BEN = User("ben", "Ben")
WithStudy = Callable[..., AbstractAsyncContextManager[tuple[Services, str, Path]]]
HEAD = "import marimo\n\n__generated_with = '0.25.2'\napp = marimo.App()\n\n\n"


async def row_of(services: Services, chat: str) -> SessionRow:
    row = await services.log.store.get_session(chat)
    assert row is not None
    return row


async def studied(home: Path, services: Services, **fields: Any) -> tuple[str, Path]:
    """A finished study; its chat and its folder."""
    if not (home / "templates" / "lean").exists():
        lean(home / "templates" / "lean")
    chat = await research(services, **fields)
    await settled(services, chat, "finished")
    return chat, home / "root" / (await row_of(services, chat)).meta["project"]["path"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the first test that needs one leaves a finished study, for the others to copy."""
    return tmp_path_factory.mktemp("made")


@pytest.fixture
def with_study(made: Path, tmp_path: Path) -> WithStudy:
    """``async with with_study(…) as (services, chat, root)``: a server of the test's own with one finished study."""

    @asynccontextmanager
    async def serve(**config: Any) -> AsyncIterator[tuple[Services, str, Path]]:
        if not (made / "chat").exists():
            async with serving(made / "home") as services:
                chat, root = await studied(made / "home", services)
            (made / "chat").write_text(f"{chat} {root.name}")
        chat, name = (made / "chat").read_text().split()
        shutil.copytree(made / "home", tmp_path, dirs_exist_ok=True, symlinks=True)
        async with serving(tmp_path, **config) as services:
            yield services, chat, tmp_path / "root" / "research" / name

    return serve


async def listed(services: Services, chat: str, limit: int = 200) -> list[dict[str, Any]]:
    return await services.sessions.checkpoints.list(await row_of(services, chat), limit)


async def look(services: Services, chat: str, sha: str, against: str | None = None) -> dict[str, Any]:
    return await services.sessions.checkpoints.look(await row_of(services, chat), sha, against)


async def restore(services: Services, chat: str, sha: str, *, user: User = ANA, key: str = "k1") -> Any:
    return await services.sessions.checkpoints.restore(
        await row_of(services, chat), sha, user=user.name, display=user.display, key=key
    )


async def fork(services: Services, chat: str, commit: str, **fields: Any) -> str:
    ack = await services.sessions.submit(ANA, protocol.Fork(chatId=chat, commit=commit, **fields))
    return str(ack.extra["chatId"])


def changes(found: dict[str, Any]) -> dict[str, str]:
    return {cell["name"]: cell["change"] for cell in found["cells"] if cell["change"] != "same"}


def cells_in(path: Path) -> list[str]:
    return [cell.key for cell in author.parse(path.read_text()).cells]


def by(rows: list[dict[str, Any]], step: str) -> dict[str, Any]:
    return next(row for row in rows if row["step"] == step)


async def refused(work: Any, code: str) -> str:
    with pytest.raises(PostdocError) as caught:
        await work
    assert caught.value.code == code, caught.value
    assert caught.value.next
    return caught.value.message


def commit_all(root: Path, message: str = "By hand") -> str:
    git(root, "add", "--all")
    git(root, "-c", "user.name=Ana <script>", "-c", "user.email=ana@example.org", "commit", "-qm", message)
    return git(root, "rev-parse", "HEAD")


# --- what changed ---


async def test_every_step_of_a_study_is_listed_with_what_it_did_to_the_cells(with_study):
    async with with_study() as (services, chat, root):
        rows = await listed(services, chat)
        assert [row["sha"] for row in rows] == git(root, "log", "--format=%H").split()
        assert by(rows, "start")["cells"] == {"added": 0, "changed": 0, "removed": 0}
        assert [row["cells"]["added"] for row in reversed(rows) if row["cells"]["added"]] == [2, 1, 1]
        newest = rows[0]
        assert newest["short"] == newest["sha"][:7]
        assert newest["by"] == ""
        assert newest["run"].startswith("r_")
        assert newest["ts"].startswith("20")
        assert all(row["subject"] for row in rows)
        assert len(await listed(services, chat, 2)) == 2

        added = next(row for row in rows if row["cells"]["added"] == 2)
        found = await look(services, chat, added["sha"])
        assert changes(found) == {"setup": "added", "study": "added"}
        assert found["against"] == git(root, "rev-parse", f"{added['sha']}^")
        assert "import marimo" in found["cells"][0]["after"]
        assert found["cells"][0]["before"] is None
        last = await look(services, chat, newest["sha"])
        assert {"path": "README.md", "change": "changed"} in last["files"]
        first = rows[-1]["sha"]
        assert (await look(services, chat, first))["against"] == ""
        whole = await look(services, chat, newest["sha"], against=first)
        assert set(changes(whole)) == {"setup", "study", "load", "verdict"}
        assert whole["against"] == first


async def test_against_the_notebook_as_it_is_now(with_study):
    async with with_study() as (services, chat, root):
        sha = (await listed(services, chat))[0]["sha"]
        assert changes(await look(services, chat, sha, "live")) == {}
        notebook = root / "notebook.py"
        notebook.write_text(notebook.read_text().replace("data = [1, 2, 3]", "data = [4]"))
        found = await look(services, chat, sha, "live")
        assert changes(found) == {"load": "changed"}
        (cell,) = [cell for cell in found["cells"] if cell["change"] == "changed"]
        assert "data = [4]" in cell["before"]
        assert "data = [1, 2, 3]" in cell["after"]
        notebook.unlink()
        assert set(changes(await look(services, chat, sha, "live")).values()) == {"added"}


# --- going back ---


async def test_going_back_is_a_commit_by_the_person_and_loses_nothing(with_study):
    async with with_study() as (services, chat, root):
        rows = await listed(services, chat)
        old = next(row for row in rows if row["cells"]["added"] == 2)
        notebook = root / "notebook.py"
        notebook.write_text(notebook.read_text().replace("data = [1, 2, 3]", "data = [4]"))
        before = notebook.read_text()
        made = await restore(services, chat, old["sha"])
        assert made.changed
        assert git(root, "rev-parse", "HEAD") == made.commit
        assert notebook.read_text() == git(root, "show", f"{old['sha']}:notebook.py") + "\n"
        assert git(root, "show", f"{made.commit}^:notebook.py") + "\n" == before
        assert git(root, "status", "--porcelain") == ""
        assert git(root, "log", "-1", "--format=%an %ae") == "Ana ana@localhost"
        message = git(root, "log", "-1", "--format=%B")
        assert f"Research-Session: {chat}" in message
        assert f"Research-Restored: {old['sha']}" in message
        now = await listed(services, chat)
        assert [row["by"] for row in now[:3]] == ["Ana", "Ana", ""]
        assert now[0]["cells"] == {"added": 0, "changed": 0, "removed": 2}
        told = [body["data"]["commit"] for body in of(await bodies(services, chat), "artifact") if "data" in body]
        assert told[-2:] == [now[1]["sha"], made.commit]
        assert (await row_of(services, chat)).meta["project"]["commit"] == made.commit

        record = read_json(root / "provenance.json")
        assert record["outcome"]["state"] == "changed"
        assert old["short"] in record["outcome"]["reason"]
        assert record["steps"][0]["key"] == "start"
        (given,) = (await row_of(services, chat)).meta["given"]
        assert given["cells"] == {"load": "removed", "verdict": "removed"}

        again = await restore(services, chat, old["sha"])
        assert again.commit == made.commit, "the same key does it once"
        same = await restore(services, chat, old["sha"], key="k2")
        assert (same.commit, same.changed) == (made.commit, False)


async def test_it_is_refused_while_an_agent_works_unless_a_person_has_the_notebook(with_study):
    async with with_study() as (services, chat, root):
        sha = (await listed(services, chat))[2]["sha"]
        head = git(root, "rev-parse", "HEAD")
        waits = RunRow(id="r_waits", session=chat, kind="chat", status="waiting", queue="none", input={"content": ""})
        await services.log.write(lambda tx: tx.insert_run(waits))
        assert "works" in await refused(restore(services, chat, sha), "busy")
        meta = (await row_of(services, chat)).meta

        async def take(user: User) -> None:
            hand = kept_hand(Hand(holder=user.name, display=user.display, since=1.0))
            await services.log.write(lambda tx: tx.update_session(chat, meta={**meta, "notebook": hand}))

        await take(BEN)
        assert "Ben" in await refused(restore(services, chat, sha), "forbidden")
        assert git(root, "rev-parse", "HEAD") == head
        await take(ANA)
        made = await restore(services, chat, sha)
        assert git(root, "rev-parse", "HEAD") == made.commit != head
        assert "given" not in (await row_of(services, chat)).meta, "giving it back tells the whole difference"


async def test_a_checkpoint_without_a_notebook_is_not_brought_back(with_study):
    async with with_study() as (services, chat, root):
        start = by(await listed(services, chat), "start")["sha"]
        before = (root / "notebook.py").read_bytes()
        assert "no notebook" in await refused(restore(services, chat, start), "not_found")
        assert (root / "notebook.py").read_bytes() == before


@pytest.mark.skipif(not SANDBOX, reason="the editor runs in the sandbox")
async def test_in_an_open_editor_the_page_is_changed_and_what_was_typed_is_kept(with_study):
    async with with_study() as (services, chat, root):
        rows = await listed(services, chat)
        old = next(row for row in rows if row["cells"]["added"] == 2)
        editor = await services.editors.open(root)
        assert len(await editor.cells()) == 4
        found = await look(services, chat, old["sha"], "live")
        assert changes(found) == {"load": "removed", "verdict": "removed"}
        made = await restore(services, chat, old["sha"])
        assert [cell.name for cell in await editor.cells()] == ["setup", "study"]
        assert cells_in(root / "notebook.py") == ["setup", "study"]
        assert git(root, "status", "--porcelain", "notebook.py") == ""
        assert (await look(services, chat, old["sha"], "live"))["cells"][0]["change"] == "same"
        await restore(services, chat, rows[0]["sha"], key="k2")
        assert [cell.name for cell in await editor.cells()] == ["setup", "study", "load", "verdict"]
        assert git(root, "rev-parse", "HEAD") != made.commit


@pytest.mark.skipif(not SANDBOX, reason="the editor runs in the sandbox")
async def test_what_is_typed_while_a_checkpoint_is_restored_is_in_a_commit(with_study):
    count = 24
    async with with_study() as (services, chat, root):
        old = next(row for row in await listed(services, chat) if row["cells"]["added"] == 2)
        editor = await services.editors.open(root)
        await editor.ask("edit", changes=[put(f"x{n}", f"x{n} = 0") for n in range(count)], known=None)
        async with page(editor) as person:
            ids = {cell["name"]: cell["id"] for cell in await cells_of(editor, person)}

            def gone() -> bool:
                return any("delete-cell" in json.dumps(message) for _, message in person.seen)

            async def type_on() -> list[str]:
                typed: list[str] = []
                for n in range(count):
                    await asyncio.sleep(0.03)
                    if gone():
                        return typed[:-2]  # there was no such cell any more
                    typed.append(f"x{n} = {n}  # typed")
                    await person.types(ids[f"x{n}"], typed[-1])
                return typed

            typing = asyncio.create_task(type_on())
            await restore(services, chat, old["sha"])
            typed = await typing
        assert len(typed) > 3
        history = git(root, "log", "--patch", "--", "notebook.py")
        now = "\n".join(cell.code for cell in await editor.cells())
        assert [text for text in typed if text not in history and text not in now] == []
        assert {"setup", "study"} <= {cell.name for cell in await editor.cells()}
        assert "load" not in {cell.name for cell in await editor.cells()}


async def test_a_restore_that_was_cut_off_keeps_what_was_written_since(with_study):
    async with with_study() as (services, chat, root):
        old = next(row for row in await listed(services, chat) if row["cells"]["added"] == 2)
        notebook = root / "notebook.py"
        notebook.write_text(notebook.read_text().replace("data = [1, 2, 3]", "data = [4]"))
        tag = hashlib.sha256(b"k1").hexdigest()[:16]
        trailers = f"Research-Session: {chat}\nResearch-Run: {names.read_marker(root / '.git')['run']}"
        commit_all(root, f"Keep what was there before going back\n\n{trailers}\nResearch-Step: kept:{tag}")
        notebook.write_text(notebook.read_text().replace("data = [4]", "data = [5]"))
        made = await restore(services, chat, old["sha"])
        assert "data = [5]" in git(root, "show", f"{made.commit}^:notebook.py")


async def test_a_notebook_that_can_be_in_no_commit_is_not_replaced(with_study):
    async with with_study() as (services, chat, root):
        old = next(row for row in await listed(services, chat) if row["cells"]["added"] == 2)
        notebook = root / "notebook.py"
        notebook.write_text(notebook.read_text().replace("data = [1, 2, 3]", f"data = '{'x' * 60_000_000}'"))
        before = notebook.read_bytes()
        assert "lose it" in await refused(restore(services, chat, old["sha"]), "notebook_failed")
        assert notebook.read_bytes() == before


# --- what cannot be trusted ---


async def test_without_a_project_and_with_one_that_is_gone(with_study, tmp_path):
    async with with_study() as (services, chat, root):
        empty = await new_chat(services)
        assert "no project" in await refused(listed(services, empty), "not_found")
        sha = git(root, "rev-parse", "HEAD")
        elsewhere = tmp_path / "elsewhere"
        root.rename(elsewhere)
        for work in (listed(services, chat), look(services, chat, sha), restore(services, chat, sha)):
            assert "gone" in await refused(work, "not_found")
        root.symlink_to(elsewhere)
        assert "gone" in await refused(listed(services, chat), "not_found"), "a link out of the server's folder"
        with pytest.raises(PostdocError, match="gone"):
            await fork(services, chat, sha)


async def test_a_commit_that_is_not_in_the_history_is_no_checkpoint(with_study):
    async with with_study() as (services, chat, root):
        rows = await listed(services, chat)
        lost = rows[0]["sha"]
        git(root, "reset", "--hard", "--quiet", rows[2]["sha"])
        assert [row["sha"] for row in await listed(services, chat)] == [row["sha"] for row in rows[2:]]
        assert git(root, "cat-file", "-t", lost) == "commit", "the object is still there"
        assert "rewritten" in await refused(look(services, chat, lost), "not_found")
        assert "rewritten" in await refused(look(services, chat, rows[3]["sha"], lost), "not_found")
        assert "rewritten" in await refused(restore(services, chat, lost), "not_found")
        with pytest.raises(PostdocError, match="rewritten"):
            await fork(services, chat, lost)
        assert "rewritten" in await refused(look(services, chat, "0" * 40), "not_found")
        tree = git(root, "rev-parse", "HEAD^{tree}")
        assert "rewritten" in await refused(look(services, chat, tree), "not_found")


HOSTILE = {
    "no notebook": b"print('x')",
    "bytes": b"\xff\xfe\x00app = marimo.App(\x80",
    "deep": HEAD.encode() + b"@app.cell\ndef a():\n    x = " + b"-" * 300_000 + b"1\n    return\n",
    "brackets": HEAD.encode() + b"(" * 100_000,
    "many cells": HEAD.encode() + b"@app.cell\ndef a(): pass\n" * 20_000,
    "long": HEAD.encode() + b"# " + b"x" * (5 << 20),
    "escapes": HEAD.encode() + b"@app.cell\ndef a():\n    x = '\x1b[31m\xe2\x80\xae'\n    return\n",
    "empty": b"",
}


async def test_whatever_a_checkpoint_holds_it_is_shown_as_data(with_study):
    async with with_study() as (services, chat, root):
        good = git(root, "rev-parse", "HEAD")
        for name, content in HOSTILE.items():
            (root / "notebook.py").write_bytes(content)
            bad = commit_all(root, "Bad\x1b[2J \u202e <img src=x onerror=alert(1)>")
            async with asyncio.timeout(60):
                (row, *_) = await listed(services, chat)
                found = await look(services, chat, bad)
            assert row["sha"] == bad
            assert row["subject"] == "Bad[2J <img src=x onerror=alert(1)>"
            assert row["by"] == "Ana script"
            assert json.loads(protocol.encode(found))["cells"]
            assert len(protocol.encode(found)) < 2 << 20
            if name not in ("no notebook", "bytes", "long", "escapes"):
                continue
            made = await restore(services, chat, good, key=f"{name} good")
            assert git(root, "diff", "--stat", good, made.commit, "--", "notebook.py") == ""
            back = restore(services, chat, bad, key=name)
            if name in ("bytes", "long"):
                assert "cannot be brought back" in await refused(back, "notebook_failed")
            else:
                await back
                assert (root / "notebook.py").read_bytes() == content


async def test_a_notebook_that_is_a_link_is_none(with_study, tmp_path):
    secret = tmp_path / "secret.txt"
    secret.write_text("of nobody's business")
    async with with_study() as (services, chat, root):
        good = git(root, "rev-parse", "HEAD")
        (root / "notebook.py").unlink()
        (root / "notebook.py").symlink_to(secret)
        bad = commit_all(root)
        found = await look(services, chat, bad)
        assert set(changes(found).values()) == {"removed"}
        assert b"nobody's" not in protocol.encode(await look(services, chat, good, "live"))
        await refused(restore(services, chat, bad), "not_found")
        await restore(services, chat, good)
        assert not (root / "notebook.py").is_symlink()
        assert secret.read_text() == "of nobody's business"


async def test_nothing_of_the_checkout_is_run_and_no_other_repository_is_read(with_study, tmp_path):
    private = foreign(tmp_path / "private", {"notebook.py": HEAD + "# theirs\n"})
    theirs = git(private, "rev-parse", "HEAD")
    async with with_study() as (services, chat, root):
        ran = tmp_path / "ran"
        program = tmp_path / "program"
        program.write_text(f"#!/bin/sh\ntouch {ran}\ncat\n")
        program.chmod(0o755)
        sha = (await listed(services, chat))[2]["sha"]
        for key in ("core.fsmonitor", "diff.x.textconv", "filter.x.smudge", "filter.x.clean", "core.pager"):
            git(root, "config", key, str(program))
        (root / ".git" / "hooks").mkdir(exist_ok=True)
        for hook in ("post-commit", "pre-commit", "reference-transaction", "post-checkout"):
            shutil.copy(program, root / ".git" / "hooks" / hook)
        (root / ".gitattributes").write_text("* filter=x diff=x\n")
        (root / ".git" / "info").mkdir(exist_ok=True)
        (root / ".git" / "info" / "attributes").write_text("* filter=x diff=x\n")
        await listed(services, chat)
        await look(services, chat, sha)
        await restore(services, chat, sha)
        await fork(services, chat, sha)
        assert not ran.exists()

        (root / ".git" / "objects" / "info").mkdir(exist_ok=True)
        (root / ".git" / "objects" / "info" / "alternates").write_text(f"{private / '.git' / 'objects'}\n")
        (root / ".git" / "HEAD").write_text(f"{theirs}\n")
        for work in (listed(services, chat), look(services, chat, theirs), restore(services, chat, theirs, key="k2")):
            assert "borrows" in await refused(work, "forbidden")
        with pytest.raises(PostdocError, match="borrows"):
            await fork(services, chat, theirs)


async def test_secrets_of_the_server_are_not_shown(with_study):
    async with with_study() as (services, chat, root):
        key = "sk-ant-api03-" + "k3yK3y" * 8
        (root / "notebook.py").write_text(HEAD + f"@app.cell\ndef a():\n    x = {key!r}\n    return\n")
        sha = commit_all(root, f"Add {key}")
        secrets.register(key)
        shown = protocol.encode([await listed(services, chat), await look(services, chat, sha)])
        assert key.encode() not in shown


# --- going on elsewhere ---


async def test_a_fork_has_a_project_of_its_own_that_begins_there(with_study, tmp_path):
    async with with_study() as (services, chat, root):
        rows = await listed(services, chat)
        old = next(row for row in rows if row["cells"]["added"] == 2)
        before = git(root, "rev-parse", "HEAD")
        command = protocol.Fork(id="f1", chatId=chat, commit=old["sha"])
        new = str((await services.sessions.submit(ANA, command)).extra["chatId"])
        assert (await services.sessions.submit(ANA, command)).extra["chatId"] == new
        row = await row_of(services, new)
        path = tmp_path / "root" / row.meta["project"]["path"]
        assert path.name == f"{root.name}-fork" == row.repo
        assert row.meta["project"]["notebook"] == f"research/{path.name}/notebook.py"
        assert row.meta["forkOf"] == chat
        assert git(path, "rev-parse", "HEAD") == old["sha"]
        assert git(path, "status", "--porcelain") == ""
        assert git(path, "remote") == ""
        assert cells_in(path / "notebook.py") == ["setup", "study"]
        assert git(root, "rev-parse", "HEAD") == before
        assert sorted(entry.name for entry in (tmp_path / "root" / "research").iterdir()) == sorted(
            [root.name, path.name]
        )
        told = [body["data"]["commit"] for body in of(await bodies(services, new), "artifact") if "data" in body]
        assert told[-1] == old["sha"], "what came after it is not taken along"
        assert [one["sha"] for one in await listed(services, new)] == git(path, "log", "--format=%H").split()
        # A second fork gets another folder, and a fork can be forked.
        other = await row_of(services, await fork(services, chat, old["sha"]))
        assert other.meta["project"]["path"].endswith("-fork-2")
        deeper = await row_of(services, await fork(services, new, old["sha"]))
        assert git(tmp_path / "root" / deeper.meta["project"]["path"], "rev-parse", "HEAD") == old["sha"]
        with pytest.raises(PostdocError, match="carry on"):
            await services.sessions.submit(ANA, protocol.Resume(chatId=new))


@pytest.mark.skipif(not SANDBOX, reason="without a sandbox every command of a model asks for leave")
async def test_an_agent_goes_on_in_the_fork(with_study, tmp_path):
    async with with_study(chat_provider=Scripted.plays(UNRUN)) as (services, chat, root):
        old = next(row for row in await listed(services, chat) if row["cells"]["added"] == 2)
        before = git(root, "rev-parse", "HEAD")
        new = await fork(services, chat, old["sha"])
        await services.sessions.submit(ANA, protocol.Chat(chatId=new, content="Add a number."))
        await settled(services, new, "finished", limit_s=60)
        path = tmp_path / "root" / (await row_of(services, new)).meta["project"]["path"]
        assert cells_in(path / "notebook.py") == ["setup", "study", "number"]
        assert git(root, "rev-parse", "HEAD") == before
        record = read_json(path / "provenance.json")
        assert record["session"] == new
        assert record["forked_from"] == {"sessions": [chat], "commit": old["sha"]}
        assert record["repository"] == path.name
        assert [step["key"] for step in record["steps"]][:2] == ["start", "turn:0"]
        rows = await listed(services, new)
        assert rows[0]["run"] != rows[-1]["run"]


async def test_a_fork_that_was_cut_off_is_finished_by_the_same_command(with_study):
    async with with_study() as (services, chat, root):
        sha = (await listed(services, chat))[1]["sha"]
        row = await row_of(services, chat)
        await services.sessions.checkpoints.fork(row, sha, owner="ana", key="f1", at=None)  # and then a crash
        made = root.with_name(f"{root.name}-fork")
        record = json.loads((made / ".git" / "postdoc-checkout.json").read_text())
        (made / ".git" / "postdoc-checkout.json").write_text(json.dumps({**record, "done": False}))
        (made / "notebook.py").unlink()
        new = await fork(services, chat, sha, id="f1")
        assert (await row_of(services, new)).meta["project"]["path"] == f"research/{made.name}"
        assert git(made, "status", "--porcelain") == ""


FORKING = """
import asyncio, os, signal, sys
from pathlib import Path
from tests.test_checkpoints import row_of, serving

async def main(home, chat, sha):
    async with serving(Path(home)) as services:
        await services.sessions.checkpoints.fork(await row_of(services, chat), sha, owner="ana", key="f1", at=None)
        os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main(*sys.argv[1:]))
"""


async def test_what_a_crash_left_of_a_fork_goes_at_the_next_start_and_nothing_else(with_study, tmp_path):
    async with with_study() as (services, chat, root):
        sha = (await listed(services, chat))[1]["sha"]
        kept = await row_of(services, await fork(services, chat, sha))
        gone = await fork(services, chat, sha)
        deleted = tmp_path / "root" / (await row_of(services, gone)).meta["project"]["path"]
        await services.sessions.delete(ANA, gone)
        making = await services.sessions.checkpoints.fork(
            await row_of(services, chat), sha, owner="ana", key="f0", at=None
        )
        being_made = root.with_name(f"{root.name}-fork-3")
        await services.sessions.tidy()  # another server's start
        assert (being_made / "notebook.py").exists()
        del making
    crashed = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", FORKING, str(tmp_path), chat, sha],
        capture_output=True,
        text=True,
        check=False,
    )
    cut_off = being_made  # the place of the first one, which went when that server started
    assert (crashed.returncode, (cut_off / "notebook.py").exists()) == (-9, True), crashed.stderr
    async with serving(tmp_path):
        assert not cut_off.exists()
        for path in (root, deleted, tmp_path / "root" / kept.meta["project"]["path"]):
            assert git(path, "status", "--porcelain") == ""


async def test_a_fork_that_was_sent_twice_is_never_taken_for_a_crashs(with_study, tmp_path):
    """The second sending looked for a receipt before the first one had written it: its unit never runs."""
    async with with_study() as (services, chat, _root):
        row, sha = await row_of(services, chat), (await listed(services, chat))[1]["sha"]
        new = await fork(services, chat, sha, id="f1")
        path = tmp_path / "root" / (await row_of(services, new)).meta["project"]["path"]
        await services.sessions.checkpoints.fork(row, sha, owner="ana", key="f1", at=None)
        assert not (path / ".git" / FORK_MARK).exists()
        await services.sessions.delete(ANA, new)
        await services.sessions.tidy()
        assert (path / "notebook.py").exists(), "projects stay when their session is deleted"


async def test_two_sendings_at_the_same_time_make_one_fork(with_study):
    async with with_study() as (services, chat, root):
        sha = (await listed(services, chat))[1]["sha"]
        one, other = await asyncio.gather(*(fork(services, chat, sha, id="f1") for _ in range(2)))
        assert one == other
        made = root.with_name(f"{root.name}-fork")
        assert git(made, "status", "--porcelain") == ""
        assert not (made / ".git" / FORK_MARK).exists()


async def test_a_mark_on_a_project_in_use_goes_at_the_next_start(with_study, tmp_path):
    async with with_study() as (services, chat, _root):
        new = await fork(services, chat, (await listed(services, chat))[1]["sha"])
        path = tmp_path / "root" / (await row_of(services, new)).meta["project"]["path"]
        (path / ".git" / FORK_MARK).touch()
        await services.sessions.tidy()
        await services.sessions.delete(ANA, new)
        await services.sessions.tidy()
        assert git(path, "status", "--porcelain") == ""


async def test_nobody_takes_up_what_a_start_removes(with_study):
    async with with_study() as (services, chat, root):
        row, sha = await row_of(services, chat), (await listed(services, chat))[1]["sha"]
        make = partial(services.sessions.checkpoints.fork, row, sha, owner="ana", key="f1", at=None)
        first = await make()
        second = await make()
        made = root.with_name(f"{root.name}-fork")
        del first
        with pending.left_behind(made) as found:
            assert found is None, "the other one is under way"
        del second
        with pending.left_behind(made) as found:
            assert found is not None
            with pytest.raises(PostdocError, match="just being removed") as refused:
                await make()
            assert (refused.value.code, refused.value.retryable) == ("busy", True)
            pending.remove(made)
        await make()
        assert git(made, "status", "--porcelain") == ""


async def test_large_data_comes_along_when_it_still_is_the_same(tmp_path):
    table = tmp_path / "root" / "big.csv"
    table.parent.mkdir(parents=True)
    table.write_text("value\n" + "1.5\n" * (3 << 20))
    async with serving(tmp_path) as services:
        chat, root = await studied(tmp_path, services, params={"data": "big.csv"})
        sha = (await listed(services, chat))[0]["sha"]
        assert "data/big.csv" not in git(root, "ls-files").split()
        new = await row_of(services, await fork(services, chat, sha))
        assert (
            tmp_path / "root" / new.meta["project"]["path"] / "data" / "big.csv"
        ).stat().st_size == table.stat().st_size
        (root / "data" / "big.csv").write_text("value\n2\n")
        other = await row_of(services, await fork(services, chat, sha))
        assert not (tmp_path / "root" / other.meta["project"]["path"] / "data" / "big.csv").exists()


# --- in somebody's repository ---


async def test_in_a_work_tree_only_the_sessions_own_commits_are_checkpoints(tmp_path):
    lean(tmp_path / "templates" / "lean")
    owls = foreign(tmp_path / "root" / "code" / "owls", branch="trunk")
    base = git(owls, "rev-parse", "HEAD")
    async with serving(tmp_path) as services:
        (made, *_) = await services.repositories.add(ANA.name, owls.as_uri())
        chat = str((await services.sessions.create(ANA, repository=made["id"]))["id"])
        chat, root = await studied(tmp_path, services, chat=chat)
        rows = await listed(services, chat)
        assert [row["sha"] for row in rows] == git(root, "log", "--format=%H", f"{base}..HEAD").split()
        assert "rewritten" in await refused(look(services, chat, base), "not_found")
        assert "rewritten" in await refused(restore(services, chat, base), "not_found")
        old = next(row for row in rows if row["cells"]["added"] == 2)
        first = await look(services, chat, rows[-1]["sha"])
        assert first["against"] == base
        assert all(file["change"] == "added" for file in first["files"]), "of theirs nothing was changed"
        theirs = {name: (root / name).read_bytes() for name in ("README.md", "LICENSE", "pyproject.toml")}
        await restore(services, chat, old["sha"])
        assert {name: (root / name).read_bytes() for name in theirs} == theirs
        assert git(root, "diff", "--name-only", old["sha"], "HEAD", "--", "notebook.py") == ""

        new = await fork(services, chat, old["sha"])
        row = await row_of(services, new)
        place, was = row.meta["checkout"], (await row_of(services, chat)).meta["checkout"]
        assert place["branch"].startswith("agent/")
        assert place["branch"] != was["branch"]
        assert (place["base"], place["baseSha"], place["name"]) == (was["base"], base, was["name"])
        path = tmp_path / "root" / row.meta["project"]["path"]
        assert git(path, "rev-parse", "--abbrev-ref", "HEAD") == place["branch"]
        assert git(path, "rev-parse", "HEAD") == old["sha"]
        assert [one["sha"] for one in await listed(services, new)] == git(
            path, "log", "--format=%H", f"{base}..HEAD"
        ).split()
        assert git(owls, "branch", "--list") == "* trunk"
        assert os.path.samefile(owls, tmp_path / "root" / "code" / "owls")
