"""Research runs from the command to the repository, on the real log, dispatcher, sandbox, marimo and git."""

from __future__ import annotations

import asyncio
import os
import socket
from pathlib import Path
from typing import Any

import pytest
from tests.agent.support import (
    ANA,
    bodies,
    git,
    lean,
    new_chat,
    of,
    processes_below,
    read_json,
    research,
    serving,
    settled,
    states,
    steps_committed,
    until,
)
from tests.scripted import EchoProvider

from jupyterlab_postdoc import protocol
from jupyterlab_postdoc.app import Services
from jupyterlab_postdoc.errors import PostdocError
from jupyterlab_postdoc.templates import scaffold

RUN_EVENTS = {cls.__struct_config__.tag for cls in protocol.FromRun.__subclasses__()} - {"user_message"}


async def only_project(services: Any, chat: str, home: Path) -> Path:
    project = (await services.sessions.get(ANA, chat))["project"]
    return home / "root" / str(project["path"])


# --- a whole run ---


async def test_a_topic_becomes_an_executed_notebook_in_a_repository(tmp_path: Path) -> None:
    scaffold(tmp_path / "templates" / "tiny", "tiny", "A tiny study")
    async with serving(tmp_path) as services:
        chat = await research(services, topic="Tiny effects", template="tiny")
        events = await settled(services, chat, "finished")
        shown = await services.sessions.get(ANA, chat)
    root = tmp_path / "root" / "research" / "tiny-effects"
    result = of(events, "result")[0]
    _check_events(events)
    assert len(of(events, "result")) == 1
    assert result["cost"] is None
    assert result["success"] is True
    assert result["verdict"] == read_json(root / "results.json")
    assert result["verdict"]["supported"] is True
    assert result["summary"] == result["verdict"]["summary"]
    _check_repository(root, events, result)
    assert shown["project"] == {
        "repo": "tiny-effects",
        "path": "research/tiny-effects",
        "notebook": "research/tiny-effects/notebook.py",
        "report": "research/tiny-effects/reports/report.html",
        "commit": git(root, "rev-parse", "HEAD"),
    }
    assert (shown["state"], shown["reason"], shown["provider"]) == ("finished", "end_turn", "template")
    assert processes_below(tmp_path) == []


def _check_events(events: list[dict[str, Any]]) -> None:
    types = [event["type"] for event in events]
    assert types[0] == "user_message"
    assert types[-2:] == ["result", "session_state"]
    assert states(events) == ["queued", "starting", "running", "finished"]
    assert "thinking" not in types
    for event in events:
        if event["type"] in RUN_EVENTS:
            assert event["provider"] == "template", event
            assert event["runId"] == events[0]["runId"]
    asked = [event["toolId"] for event in of(events, "tool_use")]
    answered = [event["toolId"] for event in of(events, "tool_result")]
    assert asked == answered
    assert len(set(asked)) == len(asked)
    assert all(event["ok"] for event in of(events, "tool_result"))
    for use, done in zip(of(events, "tool_use"), of(events, "tool_result"), strict=True):
        assert events.index(use) < events.index(done)
    plans = [[item["state"] for item in event["items"]] for event in of(events, "plan")]
    assert plans == [["done"] * n + ["active"] + ["pending"] * (4 - n) for n in range(5)]
    progress = [e["progress"] for e in of(events, "agent_status") if e["message"].startswith("Running cell")]
    assert progress == sorted(progress)
    assert 0 == progress[0] < progress[-1] < 1


def _check_repository(root: Path, events: list[dict[str, Any]], result: dict[str, Any]) -> None:
    assert steps_committed(root) == ["start", "turn:0", "turn:1", "turn:2", "turn:3", "turn:4", "describe"]
    commits = [e["data"]["commit"] for e in of(events, "artifact") if e["artifact"] == "commit"]
    assert commits == git(root, "log", "--reverse", "--format=%H").split()
    for key, value in (("Research-Session", None), ("Research-Run", events[0]["runId"])):
        found = set(git(root, "log", f"--format=%(trailers:key={key},valueonly)").split())
        assert len(found) == 1
        assert value is None or found == {value}
    assert git(root, "status", "--porcelain") == ""
    head = git(root, "rev-parse", "HEAD")
    assert git(root, "ls-remote", "origin", "refs/heads/main").split()[0] == head == result["artifacts"]["commit"]
    files = set(git(root, "ls-tree", "-r", "--name-only", "HEAD").splitlines())
    for wanted in ("notebook.py", "results.json", "reports/report.html", "figures/figure.png", "README.md",
                   "__marimo__/session/notebook.py.json", "data/MANIFEST.json", "pyproject.toml", "requirements.lock",
                   ".python-version", "CITATION.cff", "LICENSE", ".gitignore", ".gitattributes", "AGENTS.md",
                   "provenance.json", ".github/workflows/reproduce.yml"):  # fmt: skip
        assert wanted in files, wanted
    assert "no language model was used" in (root / "README.md").read_text()
    assert {e["artifact"] for e in of(events, "artifact")} == {"repo", "commit", "notebook", "report", "branch"}


# --- cells that fail ---


async def test_a_failing_cell_is_repaired_once(tmp_path: Path) -> None:
    lean(tmp_path / "templates" / "lean", load="data = [1, 2, study['nothing']]", repair="data = [1, 2, 3]\n")
    async with serving(tmp_path) as services:
        chat = await research(services)
        events = await settled(services, chat, "finished")
        runs = [e for e in of(events, "tool_result") if e["toolName"] == "nb_run"]
        assert [run["ok"] for run in runs] == [False, True]
        assert runs[0]["data"]["failed"] == ["load"]
        assert "KeyError" in runs[0]["content"]
        assert of(events, "result")[0]["verdict"]["estimate"] == 6
        assert of(events, "error") == []
        root = await only_project(services, chat, tmp_path)
        assert "study['nothing']" not in (root / "notebook.py").read_text()


@pytest.mark.parametrize("repair", [None, "raise RuntimeError('Still no owls')\n"])
async def test_a_cell_that_stays_broken_is_an_honest_failure(tmp_path: Path, repair: str | None) -> None:
    lean(tmp_path / "templates" / "lean", load="data = None\nraise RuntimeError('No owls here')", repair=repair)
    async with serving(tmp_path) as services:
        chat = await research(services)
        events = await settled(services, chat, "error")
        sentence = "Still no owls" if repair else "No owls here"
        error, result = of(events, "error")[0], of(events, "result")[0]
        assert (error["code"], sentence in error["error"], bool(error["next"])) == ("notebook_failed", True, True)
        assert (result["success"], result["partial"], result["cost"]) == (False, True, None)
        assert result.get("verdict") is None
        assert sentence in result["summary"]
        assert len([e for e in of(events, "tool_result") if e["toolName"] == "nb_run"]) == (2 if repair else 1)
        root = await only_project(services, chat, tmp_path)
        readme = (root / "README.md").read_text()
        assert "did not finish" in readme
        assert sentence in readme
        assert git(root, "status", "--porcelain") == ""
        assert git(root, "ls-remote", "origin", "refs/heads/main").split()[0] == git(root, "rev-parse", "HEAD")

        with pytest.raises(PostdocError, match="came to its end by itself") as refused:
            await services.sessions.submit(ANA, protocol.Resume(chatId=chat))
        assert "Start a new run" in refused.value.next

        (tmp_path / "templates" / "lean" / "notebook.py").unlink()
        lean(tmp_path / "templates" / "good", "good")
        await research(services, chat, template="good", topic="Second try")
        events = await settled(services, chat, "finished")
        assert [e["success"] for e in of(events, "result")] == [False, True]


async def test_a_script_of_the_wrong_form_is_a_sentence(tmp_path: Path) -> None:
    lean(tmp_path / "templates" / "lean", script="turns:\n  - {say: Hello, calls: [{input: {}}]}\n")
    async with serving(tmp_path) as services:
        events = await settled(services, await research(services), "error")
    error = of(events, "error")[0]
    assert error["code"] == "tool_failed"
    assert "templates check lean" in error["next"]


# --- the user's data ---


async def test_data_of_the_wrong_shape_fails_with_the_templates_own_sentence(tmp_path: Path) -> None:
    lean(tmp_path / "templates" / "lean")
    async with serving(tmp_path) as services:
        (tmp_path / "root" / "owls.csv").write_text("weight\n1\n2\n")
        chat = await research(services, params={"data": "owls.csv"})
        events = await settled(services, chat, "error")
        sentence = "The column 'value' is missing; found: weight."
        assert of(events, "error")[0]["error"].startswith(sentence)
        assert sentence in (await only_project(services, chat, tmp_path) / "README.md").read_text().replace("\\", "")


async def test_a_data_file_with_any_name_is_copied_and_used(tmp_path: Path) -> None:
    lean(tmp_path / "templates" / "lean")
    names = ["with space.csv", 'it\'s "quoted".csv', "two\nlines.csv", "Übergröße 鳥.csv", "$(touch x).csv", "-rf.csv"]
    async with serving(tmp_path, max_concurrent_runs=6) as services:
        for number, name in enumerate(names):
            (tmp_path / "root" / name).write_text(f"value\n{number}\n5\n")
        chats = [await research(services, params={"data": name}) for name in names]
        results = [of(await settled(services, chat, "finished"), "result")[0] for chat in chats]
    for number, result in enumerate(results):
        verdict, root = result["verdict"], tmp_path / "root" / result["artifacts"]["repo"]
        assert verdict["estimate"] == number + 5
        manifest = read_json(root / "data" / "MANIFEST.json")["files"]
        assert [entry["path"] for entry in manifest] == [verdict["data"]]
        assert (root / verdict["data"]).read_text() == f"value\n{number}\n5\n"
        assert git(root, "status", "--porcelain") == ""


def _outside(root: Path) -> None:
    (root.parent / "secret.csv").write_text("value\n1\n")


def _link_out(root: Path) -> None:
    _outside(root)
    (root / "link.csv").symlink_to(root.parent / "secret.csv")


def _pipe(root: Path) -> None:
    os.mkfifo(root / "pipe.csv")


def _socket(root: Path) -> None:
    # A path that fits into a socket address, whatever the length of the temporary folder.
    descriptor = os.open(root, os.O_RDONLY)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"/proc/self/fd/{descriptor}/socket.csv")
    os.close(descriptor)


@pytest.mark.parametrize(
    ("make", "path", "code", "word"),
    [
        (_outside, "../secret.csv", "forbidden", "outside"),
        (_link_out, "link.csv", "forbidden", "outside"),
        (lambda root: (root / "folder.csv").mkdir(), "folder.csv", "bad_message", "no data file"),
        (_pipe, "pipe.csv", "bad_message", "no data file"),
        (_socket, "socket.csv", "bad_message", "no data file"),
        (lambda root: (root / "empty.csv").touch(), "empty.csv", "bad_message", "empty"),
        (lambda root: (root / "paper.pdf").write_text("x"), "paper.pdf", "bad_message", "not a data file"),
        (lambda _: None, "nul\0.csv", "bad_message", "no data file"),
        (lambda _: None, "x" * 5000, "bad_message", "no data file"),
    ],
)
async def test_a_data_file_that_cannot_be_used_is_refused_before_anything_is_begun(
    tmp_path: Path, make: Any, path: str, code: str, word: str
) -> None:
    lean(tmp_path / "templates" / "lean")
    async with serving(tmp_path) as services:
        make(tmp_path / "root")
        chat = await new_chat(services)
        with pytest.raises(PostdocError) as caught:
            await research(services, chat, params={"data": path})
        assert caught.value.code == code
        assert word in caught.value.message
        assert caught.value.next
        assert len(caught.value.message) < 400
        assert await bodies(services, chat) == []
        assert not (tmp_path / "root" / "research").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
async def test_an_unreadable_data_file_is_refused(tmp_path: Path) -> None:
    lean(tmp_path / "templates" / "lean")
    async with serving(tmp_path) as services:
        (tmp_path / "root" / "mine.csv").write_text("value\n1\n")
        (tmp_path / "root" / "mine.csv").chmod(0)
        with pytest.raises(PostdocError, match="may not read"):
            await research(services, params={"data": "mine.csv"})


async def test_a_data_file_that_goes_away_before_the_run_is_a_sentence_and_resume_finds_it_again(
    tmp_path: Path,
) -> None:
    lean(tmp_path / "templates" / "lean")
    async with serving(tmp_path, max_concurrent_runs=1) as services:
        file = tmp_path / "root" / "late.csv"
        file.write_text("value\n1\n2\n")
        first = await research(services, topic="Keeps the only place busy")
        chat = await research(services, params={"data": "late.csv"}, repo_name="late")
        file.rename(file.with_suffix(".bak"))
        await settled(services, first, "finished")
        events = await settled(services, chat, "error")
        assert "no data file 'late.csv'" in of(events, "error")[0]["error"]
        file.with_suffix(".bak").rename(file)
        await services.sessions.submit(ANA, protocol.Resume(chatId=chat))
        events = await settled(services, chat, "finished")
        assert of(events, "result")[-1]["verdict"]["estimate"] == 3


# --- names ---


async def test_names_are_given_derived_and_made_different(tmp_path: Path) -> None:
    lean(tmp_path / "templates" / "lean")
    async with serving(tmp_path) as services:
        theirs = tmp_path / "root" / "research" / "owls"
        theirs.mkdir(parents=True)
        (theirs / "diary.txt").write_text("mine")
        chats = {
            "my-owls": await research(services, topic="x", repo_name="my-owls"),
            "owls-2": await research(services, topic="Owls"),
            "niao": await research(services, topic="鳥"),
        }
        refused = await research(services, topic="Owls", repo_name="owls")
        for name, chat in chats.items():
            await settled(services, chat, "finished")
            found = (await services.sessions.get(ANA, chat))["project"]["repo"]
            assert found == name or (name == "niao" and found.isascii() and found)
        events = await settled(services, refused, "error")
        error = of(events, "error")[0]
        assert error["code"] == "github_conflict"
        assert "owls-3" in error["next"]
        assert [path.name for path in theirs.iterdir()] == ["diary.txt"]


async def test_runs_of_one_topic_at_the_same_moment_get_a_repository_each(tmp_path: Path) -> None:
    lean(tmp_path / "templates" / "lean")
    async with serving(tmp_path) as services:
        topics = ["Κουκουβάγιες", "Κουκουβάγιες", "🦉🦉", "🦉🦉"]
        chats = await asyncio.gather(*[research(services, topic=topic) for topic in topics])
        results = [of(await settled(services, chat, "finished"), "result")[0] for chat in chats]
    names = [result["artifacts"]["repo"] for result in results]
    assert len(set(names)) == 4
    assert all(name.isascii() for name in names)
    for name, chat in zip(names, chats, strict=True):
        root = tmp_path / "root" / name
        assert set(git(root, "log", "--format=%(trailers:key=Research-Session,valueonly)").split()) == {chat}
        assert git(root, "ls-remote", "origin", "refs/heads/main").split()[0] == git(root, "rev-parse", "HEAD")
    assert len([path for path in (tmp_path / "root" / "research").iterdir()]) == 4


# --- budgets ---


async def stop_here(services: Services, chat: str, reason: str) -> list[dict[str, Any]]:
    """A run that has come to its limit asks whether to go on: say no."""
    events = await settled(services, chat, "waiting")
    assert of(events, "session_state")[-1]["reason"] == reason
    question = of(events, "question")[-1]
    assert question["options"] == ["Go on", "Stop here"]
    answer = protocol.Respond(chatId=chat, requestId=question["requestId"], answer="Stop here")
    await services.sessions.submit(ANA, answer)
    return await settled(services, chat, "error")


async def test_a_budget_of_turns_asks_and_ends_with_what_there_is(tmp_path: Path) -> None:
    lean(tmp_path / "templates" / "lean")
    async with serving(tmp_path) as services:
        chat = await research(services, budget=protocol.Budget(turns=2))
        events = await stop_here(services, chat, "max_turns")
        root = await only_project(services, chat, tmp_path)
    error, result = of(events, "error")[0], of(events, "result")[0]
    assert error["code"] == "budget_exceeded"
    assert "2 turns" in error["error"]
    assert (result["success"], result["partial"], result["stop_reason"]) == (False, True, "max_turns")
    assert "2 turns" in result["summary"]
    assert steps_committed(root) == ["start", "turn:0", "turn:1", "describe"]
    assert "2 turns" in (root / "README.md").read_text()
    assert git(root, "status", "--porcelain") == ""


async def test_after_go_on_a_study_comes_to_its_end(tmp_path: Path) -> None:
    lean(tmp_path / "templates" / "lean")
    async with serving(tmp_path) as services:
        chat = await research(services, budget=protocol.Budget(turns=2))
        events = await settled(services, chat, "waiting")
        while (state := of(events, "session_state")[-1])["status"] == "waiting":
            assert state["reason"] == "max_turns"
            request = of(events, "question")[-1]["requestId"]
            await services.sessions.submit(ANA, protocol.Respond(chatId=chat, requestId=request, answer="Go on"))
            events = await settled(services, chat)
    assert of(events, "result")[0]["success"] is True
    assert of(events, "question")


async def test_a_budget_of_minutes_ends_a_long_notebook_too(tmp_path: Path) -> None:
    lean(tmp_path / "templates" / "lean", load="import time\n\ndata = [1]\ntime.sleep(60)")
    async with serving(tmp_path) as services:
        chat = await research(services, budget=protocol.Budget(minutes=0.05))
        events = await stop_here(services, chat, "budget")
    error, result = of(events, "error")[0], of(events, "result")[0]
    assert error["code"] == "budget_exceeded"
    assert "0.05 minutes" in error["error"]
    assert result["duration_ms"] < 10_000
    assert result["stop_reason"] == "budget"


async def test_a_budget_of_turns_holds_in_free_chat_too(tmp_path: Path) -> None:
    async with serving(tmp_path, chat_provider=EchoProvider, max_turns=2) as services:
        chat = await new_chat(services)
        await services.sessions.submit(ANA, protocol.Chat(chatId=chat, content="steps 6"))
        events = await stop_here(services, chat, "max_turns")
    assert of(events, "error")[0]["code"] == "budget_exceeded"
    assert [(r["success"], r["partial"]) for r in of(events, "result")] == [(False, True)]
    assert len(of(events, "tool_result")) == 2


# --- what a script cannot do ---


async def test_a_persona_without_the_tools_is_refused_before_anything_is_begun(tmp_path: Path) -> None:
    lean(tmp_path / "templates" / "lean")
    async with serving(tmp_path) as services:
        chat = str((await services.sessions.create(ANA, persona="reviewer"))["id"])
        with pytest.raises(PostdocError, match="may not use finish, nb_create, nb_edit, nb_run"):
            await research(services, chat)
        assert await bodies(services, chat) == []


async def test_advice_in_mid_run_is_answered_honestly(tmp_path: Path) -> None:
    lean(tmp_path / "templates" / "lean", load="import time\n\ndata = [1, 2, 3]\ntime.sleep(1)")
    async with serving(tmp_path) as services:
        chat = await research(services)
        await until(services, chat, "agent_status", message="Running cell 3 of 4 (load)")
        advice = protocol.Chat(chatId=chat, content="Use weekly data instead", mode="steer")
        await services.sessions.submit(ANA, advice)
        events = await settled(services, chat, "finished")
    said = [e["content"] for e in of(events, "assistant_message")]
    assert [number for number, text in enumerate(said) if "cannot change its course" in text] == [3]
