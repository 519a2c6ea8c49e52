"""A person takes the notebook over from an agent and gives it back: who waits, what is kept, who learns what."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import psutil
import pytest
from tests.model_server import call, reply
from tests.notebooks.live_support import cells_of, page

from jupyterlab_postdoc import protocol
from jupyterlab_postdoc.app import Services
from jupyterlab_postdoc.errors import PostdocError
from jupyterlab_postdoc.sessions import User

from .modelled import modelled, say, texts, told
from .support import (
    ANA,
    SANDBOX,
    SCRIPT,
    bodies,
    git,
    lean,
    new_chat,
    of,
    read_json,
    research,
    serving,
    settled,
    states,
    until,
)

BEN = User("ben", "Ben")
WAITS = """
import time

while not Path("go").exists():
    time.sleep(0.02)
data = [1, 2, 3]
"""
WORDY = SCRIPT.replace("Now the data.", "Now the data. " + "So many words. " * 400)
"""A second or more of talk before the data, in which somebody can take the notebook."""
OTHER_LOAD = """
@app.cell
def load():
    data = [40, 2]
    return (data,)


if __name__"""


async def take(services: Services, chat: str, user: User = ANA, **fields: Any) -> dict[str, Any]:
    return (await services.sessions.submit(user, protocol.NotebookTake(chatId=chat, **fields))).extra


async def give(services: Services, chat: str, user: User = ANA, **fields: Any) -> dict[str, Any]:
    return (await services.sessions.submit(user, protocol.NotebookGive(chatId=chat, **fields))).extra


async def paused(services: Services, chat: str) -> list[dict[str, Any]]:
    """Wait until the agent waits for the notebook."""
    events = await settled(services, chat, "waiting")
    row = await services.log.store.get_session(chat)
    assert row is not None
    assert row.reason == "taken_over", of(events, "error")
    return events


def project(home: Path) -> Path:
    (root,) = (path for path in (home / "root" / "research").iterdir() if (path / ".git").is_dir())
    return root


def change(root: Path, old: str, new: str) -> None:
    """Edit the notebook's file as an editor does that saves."""
    file = root / "notebook.py"
    text = file.read_text()
    assert old in text, text
    file.write_text(text.replace(old, new))


async def running(services: Services, home: Path) -> tuple[str, Path]:
    """A study of a script whose cell `load` waits for the file `go`; chat and project."""
    lean(home / "templates" / "lean", load=WAITS)
    chat = await research(services)
    await until(services, chat, "agent_status", message="Running cell 3 of 4 (load)")
    return chat, project(home)


# --- a script ---


async def test_a_script_waits_and_goes_on_with_what_the_person_made(tmp_path: Path) -> None:
    async with serving(tmp_path) as services:
        chat, root = await running(services, tmp_path)
        assert await take(services, chat) == {"hand": "person", "working": True}
        shown = (await services.sessions.get(ANA, chat))["notebook"]
        assert (shown["hand"], shown["holder"], shown["display"]) == ("person", "ana", "Ana")
        (root / "go").touch()  # the call that it has begun comes to its end
        events = await paused(services, chat)
        assert [result["ok"] for result in of(events, "tool_result")][-1]
        assert not of(events, "result")
        said = of(events, "agent_status")[-1]
        assert said["message"] == "Ana has the notebook; the agent goes on when it is given back"
        change(root, "data = [1, 2, 3]", "data = [40, 2]")
        await take(services, chat)  # a second click, when there is something of the person's already
        given = await give(services, chat)
        assert (given["hand"], given["cells"], given["runId"]) == ("agent", {"load": "changed"}, said["runId"])
        assert git(root, "show", "-s", "--format=%an <%ae>|%cn|%s", given["commit"]) == (
            "Ana <ana@localhost>|Postdoc research agent|Change load by hand"
        )
        trailers = git(root, "show", "-s", "--format=%(trailers:only,unfold)", given["commit"]).splitlines()
        assert trailers == [f"Research-Session: {chat}", f"Research-Run: {said['runId']}", "Research-Step: hand:1"]
        events = await settled(services, chat, "finished")
    assert "data = [40, 2]" in (root / "notebook.py").read_text()
    assert read_json(root / "results.json")["estimate"] == 42, "it ran again before it was finished"
    assert of(events, "result")[-1]["success"]
    hands = [(event["hand"], event["holder"]) for event in of(events, "notebook")]
    assert hands == [("person", "Ana"), ("agent", "")]
    assert of(events, "notebook")[0]["path"] == f"research/{root.name}/notebook.py"
    assert states(events)[-5:] == ["running", "waiting", "queued", "running", "finished"]
    assert given["commit"] in [event["data"]["commit"] for event in of(events, "artifact") if "data" in event]
    assert git(root, "status", "--porcelain") == ""


async def test_what_the_agent_was_at_is_the_agents(tmp_path: Path) -> None:
    """A call that ends right after the take leaves its files in a commit of the agent's."""
    async with serving(tmp_path) as services:
        chat, root = await running(services, tmp_path)
        asyncio.get_running_loop().call_later(0.3, (root / "go").touch)
        await take(services, chat)
        assert (root / "results.json").exists()
        assert git(root, "status", "--porcelain") == ""
        assert git(root, "log", "-1", "--format=%an %(trailers:key=Research-Step,valueonly)").split()[-1] == (
            "before-hand:1.2"
        )
        await paused(services, chat)
        assert await give(services, chat) == {
            "hand": "agent",
            "cells": {},
            "runId": of(await settled(services, chat, "finished"), "result")[-1]["runId"],
        }


async def test_a_script_leaves_out_the_cells_that_are_a_persons(tmp_path: Path) -> None:
    lean(tmp_path / "templates" / "lean", script=WORDY)
    async with serving(tmp_path) as services:
        chat = await research(services)
        await until(services, chat, "artifact", artifact="notebook")
        await take(services, chat)
        root = project(tmp_path)
        await paused(services, chat)
        change(root, "\nif __name__", OTHER_LOAD)
        assert (await give(services, chat))["cells"] == {"load": "added"}
        events = await settled(services, chat, "finished")
    refused = [result for result in of(events, "tool_result") if not result["ok"]]
    assert [result["data"]["cells"] for result in refused] == [["load"]]
    assert any("The researcher has changed load; their version stays." in text for text in texts(events))
    assert "data = [40, 2]" in (root / "notebook.py").read_text()
    assert read_json(root / "results.json")["estimate"] == 42


async def test_of_an_edit_the_rest_is_still_written(tmp_path: Path) -> None:
    script = WORDY.replace("      - {tool: nb_edit, cells: [setup, study]}\n", "")
    lean(tmp_path / "templates" / "lean", script=script.replace("cells: [load]", "cells: [setup, study, load]"))
    async with serving(tmp_path) as services:
        chat = await research(services)
        await until(services, chat, "artifact", artifact="notebook")
        await take(services, chat)
        root = project(tmp_path)
        await paused(services, chat)
        change(root, "\nif __name__", OTHER_LOAD)
        await give(services, chat)
        events = await settled(services, chat, "finished")
    edits = [use["toolInput"]["changes"] for use in of(events, "tool_use") if use["toolName"] == "nb_edit"]
    assert [[put["name"] for put in edit] for edit in edits] == [
        ["setup", "study", "load"],
        ["setup", "study"],
        ["verdict"],
    ]
    assert read_json(root / "results.json")["estimate"] == 42


async def test_nothing_changed_nothing_told(tmp_path: Path) -> None:
    async with serving(tmp_path) as services:
        chat, root = await running(services, tmp_path)
        await take(services, chat)
        (root / "go").touch()
        await paused(services, chat)
        given = await give(services, chat)
        assert given["cells"] == {}
        events = await settled(services, chat, "finished")
    runs = [use for use in of(events, "tool_use") if use["toolName"] == "nb_run"]
    assert len(runs) == 1


# --- stop, restart, other people ---


async def test_stop_works_while_it_waits_and_the_person_keeps_the_notebook(tmp_path: Path) -> None:
    async with serving(tmp_path) as services:
        chat, root = await running(services, tmp_path)
        await take(services, chat)
        (root / "go").touch()
        await paused(services, chat)
        change(root, "data = [1, 2, 3]", "data = [7]")
        await services.sessions.submit(ANA, protocol.Stop(chatId=chat))
        await settled(services, chat, "stopped")
        assert git(root, "status", "--porcelain") != "", "what a person has not given back is nobody's to commit"
        assert (await services.sessions.get(ANA, chat))["notebook"]["holder"] == "ana"
        given = await give(services, chat)
        assert given["cells"] == {"load": "changed"}
        assert "runId" not in given
        assert git(root, "show", "-s", "--format=%an", given["commit"]) == "Ana"
        assert git(root, "status", "--porcelain") == ""


async def test_the_readme_of_a_finished_study_says_that_the_notebook_was_changed(tmp_path: Path) -> None:
    lean(tmp_path / "templates" / "lean")
    async with serving(tmp_path) as services:
        chat = await research(services)
        await settled(services, chat, "finished")
        root = project(tmp_path)
        assert "by hand" not in (root / "README.md").read_text()
        await take(services, chat)
        change(root, "data = [1, 2, 3]", "data = [7]")
        await give(services, chat)
        assert "Ana has changed the notebook by hand" in (root / "README.md").read_text()
        assert git(root, "status", "--porcelain") == ""


async def test_a_stop_in_the_middle_of_a_call_commits_nothing_of_the_persons(tmp_path: Path) -> None:
    async with serving(tmp_path) as services:
        chat, root = await running(services, tmp_path)
        await take(services, chat)
        head = git(root, "rev-parse", "HEAD")
        assert "before-hand:1" in git(root, "show", "-s", "--format=%B", head), "the agent's work so far"
        await services.sessions.submit(ANA, protocol.Stop(chatId=chat, how="now"))
        await settled(services, chat, "stopped")
        assert git(root, "rev-parse", "HEAD") == head


async def test_the_lease_survives_the_server(tmp_path: Path) -> None:
    async with serving(tmp_path) as services:
        chat, root = await running(services, tmp_path)
        await take(services, chat)
        (root / "go").touch()
        await paused(services, chat)
    async with serving(tmp_path) as services:
        await asyncio.sleep(0.3)
        row = await services.log.store.get_session(chat)
        assert row is not None
        assert (row.state, row.reason) == ("waiting", "taken_over")
        change(root, "data = [1, 2, 3]", "data = [40, 2]")
        services.dispatcher.wake()
        await give(services, chat)
    async with serving(tmp_path) as services:  # stopped in the middle of what came after
        events = await settled(services, chat, "finished")
    assert read_json(root / "results.json")["estimate"] == 42
    assert len(of(events, "notebook")) == 2


async def test_a_server_that_starts_while_a_person_has_it_waits_at_the_next_call(tmp_path: Path) -> None:
    async with serving(tmp_path) as services:
        chat, root = await running(services, tmp_path)
        await take(services, chat)
    (root / "go").touch()
    async with serving(tmp_path) as services:  # the call was cut off: it is not begun again before the give-back
        events = await paused(services, chat)
        assert not [result for result in of(events, "tool_result") if result.get("toolName") == "nb_run"]
        await give(services, chat)
        await settled(services, chat, "finished")


async def test_who_may_take_and_give(tmp_path: Path) -> None:
    lean(tmp_path / "templates" / "lean")
    async with serving(tmp_path) as services:
        empty = await new_chat(services)
        with pytest.raises(PostdocError, match="no notebook yet") as refused:
            await take(services, empty)
        assert refused.value.code == "not_found"
        chat = await research(services)
        await settled(services, chat, "finished")
        with pytest.raises(PostdocError) as refused:
            await take(services, chat, BEN)
        assert refused.value.code == "not_found", "of other people's sessions nobody knows"
        changed: list[str] = []
        services.sessions.on_hand.append(changed.append)
        assert (await take(services, chat, id="t1"))["working"] is False
        again = await services.sessions.submit(ANA, protocol.NotebookTake(chatId=chat, id="t1"))
        assert again.duplicate
        await take(services, chat)  # a second click
        assert len(of(await settled(services, chat), "notebook")) == 1
        assert await give(services, chat) == {"hand": "agent", "cells": {}}
        assert await give(services, chat) == {"hand": "agent", "cells": {}}
        assert len(of(await settled(services, chat), "notebook")) == 2
        await take(services, chat)
        row = await services.log.store.get_session(chat)
        assert row is not None
        assert row.meta["notebook"]["number"] == 2
        await services.sessions.delete(ANA, chat)
        assert set(changed) == {chat}
        assert len(changed) >= 5


async def test_a_new_study_waits_before_it_makes_another_project(tmp_path: Path) -> None:
    lean(tmp_path / "templates" / "lean")
    async with serving(tmp_path) as services:
        chat = await research(services)
        await settled(services, chat, "finished")
        await take(services, chat)
        await research(services, chat, topic="Another one")
        await paused(services, chat)
        root = project(tmp_path)  # one only
        change(root, "data = [1, 2, 3]", "data = [40, 2]")
        assert (await give(services, chat))["cells"] == {"load": "changed"}
        await settled(services, chat, "finished")
    assert len([path for path in root.parent.iterdir() if (path / ".git").is_dir()]) == 2


async def test_the_folder_is_gone_and_the_notebook_can_be_given_back(tmp_path: Path) -> None:
    lean(tmp_path / "templates" / "lean")
    async with serving(tmp_path) as services:
        chat = await research(services)
        await settled(services, chat, "finished")
        await take(services, chat)
        root = project(tmp_path)
        root.rename(tmp_path / "elsewhere")
        assert await give(services, chat) == {"hand": "agent", "cells": {}}
        assert (await services.sessions.get(ANA, chat))["notebook"] is None
        with pytest.raises(PostdocError, match="is gone"):
            await take(services, chat)


# --- a model ---

needs_sandbox = pytest.mark.skipif(not SANDBOX, reason="without a sandbox every command of a model asks for leave")
EDIT = call("nb_edit", {"changes": [{"op": "put", "name": "load", "code": "data = [9, 9]"}]})
NOTE = call("write_file", {"path": "note.md", "content": "later"})


@needs_sandbox
async def test_a_model_is_told_and_decides_again(tmp_path: Path) -> None:
    lean(tmp_path / "templates" / "lean")
    replies = [reply("I change load.", calls=[EDIT, NOTE]), reply("I see, 42 it is.")]
    async with modelled(tmp_path, *replies) as (services, server):
        chat = await research(services, provider="template")
        await settled(services, chat, "finished")
        await take(services, chat)
        await say(services, "Use nines", chat)
        events = await paused(services, chat)
        assert [use["toolName"] for use in of(events, "tool_use")][-2:] == ["nb_edit", "write_file"]
        assert not [r for r in of(events, "tool_result") if r["toolId"] == of(events, "tool_use")[-2]["toolId"]]
        root = project(tmp_path)
        change(root, "data = [1, 2, 3]", "data = [40, 2]")
        commit = (await give(services, chat))["commit"]
        events = await settled(services, chat, "finished")
        first, second = told(server.requests()[1])[:2]
        assert first.startswith("Not carried out: the researcher (Ana) had the notebook")
        assert "Cells that they changed: load (changed)." in first
        assert "-data = [1, 2, 3]" in first.replace(" " * 4, "")
        assert "+data = [40, 2]" in first.replace(" " * 4, "")
        assert second.startswith("Not carried out either")
        assert [r["data"]["code"] for r in of(events, "tool_result")[-2:]] == ["taken_over", "taken_over"]
        assert not (root / "note.md").exists()
        assert "data = [9, 9]" not in (root / "notebook.py").read_text()
        last = git(root, "log", "-2", "--format=%H %s").splitlines()
        assert last[1].split()[0] == commit
        assert last[0].endswith("Bring the description up to date"), "it says now that the verdict is an older one's"
        await say(services, "Fine", chat)
        await settled(services, chat, "error")  # the script of replies is over
        assert not any("had the notebook" in word for word in told(server.requests()[-1])), "told once"


@needs_sandbox
async def test_a_model_that_asks_later_is_told_with_its_next_turn(tmp_path: Path) -> None:
    lean(tmp_path / "templates" / "lean")
    async with modelled(tmp_path, reply("Good.", calls=[EDIT]), reply("Done.")) as (services, server):
        chat = await research(services, provider="template")
        await settled(services, chat, "finished")
        root = project(tmp_path)
        for number in (40, 41):
            await take(services, chat)
            change(root, "data = [", f"data = [{number}, ")
            await give(services, chat)
        await say(services, "Go on", chat)
        events = await settled(services, chat, "finished")
        first, second = server.requests()
        said = "\n".join(told(first))
        assert "The researcher (Ana) had the notebook and has given it back. Their version stands." in said
        assert said.count("## load (changed)") == 2
        assert not any("had the notebook" in word for word in told(second))
        assert of(events, "tool_result")[-1]["ok"], "it knows, so its calls are carried out"
        assert "data = [9, 9]" in (root / "notebook.py").read_text()


@needs_sandbox
async def test_what_was_told_is_told_again_after_a_restart(tmp_path: Path) -> None:
    """The server stops between the answer to the call and the model's next word."""
    lean(tmp_path / "templates" / "lean")
    slow = reply("I see.", tokens_per_s=50, first_s=3.0)
    async with modelled(tmp_path, reply("I change load.", calls=[EDIT]), slow) as (services, _):
        chat = await research(services, provider="template")
        await settled(services, chat, "finished")
        await take(services, chat)
        await say(services, "Use nines", chat)
        await paused(services, chat)
        root = project(tmp_path)
        change(root, "data = [1, 2, 3]", "data = [40, 2]")
        await give(services, chat)
        await until(services, chat, "tool_result", ok=False)
        await services.stop(0.1)
    async with modelled(tmp_path, reply("I see, again.")) as (services, server):
        events = await settled(services, chat, "finished")
        assert told(server.requests()[0])[0].startswith("Not carried out: the researcher (Ana)")
        assert len([r for r in of(events, "tool_result") if r.get("data", {}).get("code") == "taken_over"]) == 1
    assert "data = [40, 2]" in (root / "notebook.py").read_text()


@needs_sandbox
async def test_a_later_run_overwrites_nothing_that_it_has_not_seen(tmp_path: Path) -> None:
    """Somebody edits the file between two runs, without taking the notebook: the next run has not seen that."""
    lean(tmp_path / "templates" / "lean")
    both = [EDIT, call("nb_edit", {"changes": [{"op": "put", "name": "more", "code": "m = 1"}]})]
    async with modelled(tmp_path, reply("I change load.", calls=both), reply("I see.")) as (services, server):
        chat = await research(services, provider="template")
        await settled(services, chat, "finished")
        root = project(tmp_path)
        change(root, "data = [1, 2, 3]", "data = [40, 2]")
        await say(services, "Use nines", chat)
        events = await settled(services, chat, "finished")
        first, second = of(events, "tool_result")[-2:]
        assert (first["ok"], second["ok"]) == (False, True)
        assert (first["data"]["code"], first["data"]["cell"]) == ("version_conflict", "load")
        assert "\n\n# load\n" in (said := told(server.requests()[1])[0])
        assert "data = [40, 2]" in said, "the model has seen what it decides about"
    assert "data = [40, 2]" in (root / "notebook.py").read_text()


@needs_sandbox
async def test_what_was_in_the_file_before_the_take_is_told_too(tmp_path: Path) -> None:
    lean(tmp_path / "templates" / "lean")
    async with modelled(tmp_path, reply("I change load.", calls=[EDIT]), reply("Done.")) as (services, server):
        chat = await research(services, provider="template")
        await settled(services, chat, "finished")
        root = project(tmp_path)
        change(root, "data = [1, 2, 3]", "data = [40, 2]")
        await take(services, chat)
        given = await give(services, chat)
        assert given["cells"] == {"load": "changed"}
        assert git(root, "show", "-s", "--format=%an|%s", given["commit"]) == "Ana|Change load by hand"
        await say(services, "Use nines", chat)
        await settled(services, chat, "finished")
        said = "\n".join(told(server.requests()[0]))
        assert "Cells that they changed: load (changed)." in said
        assert "data = [40, 2]" in said


@needs_sandbox
async def test_after_a_restart_a_run_knows_its_own_cells(tmp_path: Path) -> None:
    """Also those of a turn that was cut off before its commit. What somebody has changed meanwhile is a conflict, in
    the run's own cells, too, and in those that a commit of its own has taken along.
    """
    lean(tmp_path / "templates" / "lean")

    def edit(*changes: tuple[str, str]) -> dict[str, Any]:
        return call("nb_edit", {"changes": [{"op": "put", "name": name, "code": code} for name, code in changes]})

    def drop(name: str) -> dict[str, Any]:
        return call("nb_edit", {"changes": [{"op": "delete", "name": name}]})

    first = [edit(("mine", "a = 1"), ("theirs", "b = 1"), ("gone", "c = 1"), ("mended", "d = 1"))]
    first += [
        edit(("early", "e = 1")),
        drop("gone"),
        call("shell", {"command": "until [ -e on ]; do sleep 0.05; done"}),
    ]
    second = [edit(("wait", WAITS.replace("data =", "f ="))), call("nb_run", {})]
    second += [edit(("mine", "a = 2")), edit(("gone", "c = 2")), edit(("theirs", "b = 2"))]
    second += [edit(("early", "e = 2")), edit(("load", "data = [9, 9]")), edit(("mended", "d = 2"))]
    replies = [reply("I begin.", calls=first), reply("I work.", calls=second)]
    async with modelled(tmp_path, *replies) as (services, _):
        chat = await research(services, provider="template")
        await settled(services, chat, "finished")
        root = project(tmp_path)
        await say(services, "Work", chat)
        held = "Running a command: until [ -e on ]; do sleep 0.05; done"
        await until(services, chat, "agent_status", message=held)
        change(root, "data = [1, 2, 3]", "data = [40, 2]")
        change(root, "e = 1", "e = 'of a person'")
        (root / "on").touch()  # the turn's commit takes both along
        await until(services, chat, "agent_status", message="Running cell 9 of 9 (wait)")
        await services.stop(0.1)
    change(root, "b = 1", "b = 'of a person'")
    text = (root / "notebook.py").read_text()
    (root / "notebook.py").write_text(text.replace("d = 1", "d = 0"))
    (root / "go").touch()
    async with modelled(tmp_path, reply("Done.")) as (services, _):
        events = await settled(services, chat, "finished")
    last = [(result["ok"], (result["data"] or {}).get("cell")) for result in of(events, "tool_result")[-6:]]
    refused = [(False, name) for name in ("theirs", "early", "load", "mended")]
    assert last == [(True, None), (True, None), *refused]
    text = (root / "notebook.py").read_text()
    for code in ("a = 2", "c = 2", "b = 'of a person'", "e = 'of a person'", "data = [40, 2]", "d = 0"):
        assert code in text


# --- with a live editor, and when something dies ---


async def test_a_give_back_that_was_cut_off_is_made_up_for(tmp_path: Path) -> None:
    """The server died between the commit and the transaction; somebody typed on before it was given back again."""
    lean(tmp_path / "templates" / "lean")
    async with serving(tmp_path) as services:
        chat = await research(services)
        await settled(services, chat, "finished")
        root = project(tmp_path)
        await take(services, chat)
        change(root, "data = [1, 2, 3]", "data = [4]")
        row = await services.log.store.get_session(chat)
        assert row is not None
        await services.sessions.desk.handover.give(ANA, row)  # its unit is never carried out
        change(root, "data = [4]", "data = [40, 2]")
        given = await give(services, chat)
        assert given["cells"] == {"load": "changed"}
        assert git(root, "log", "-2", "--format=%(trailers:key=Research-Step,valueonly,separator=%x2C)").split() == [
            "hand:1.2",
            "hand:1",
        ]
        assert git(root, "rev-parse", "HEAD") == given["commit"]
        assert git(root, "status", "--porcelain") == ""


@needs_sandbox
async def test_in_the_live_notebook(tmp_path: Path) -> None:
    """The agent works in the editor; what the person does there is kept, although nothing was saved by hand."""
    script = SCRIPT.replace("The verdict, and the run.", "The verdict. " + "So many words. " * 400)
    lean(tmp_path / "templates" / "lean", script=script)
    async with serving(tmp_path) as services:
        chat = await research(services)
        await until(services, chat, "artifact", artifact="notebook")
        root = project(tmp_path)
        editor = await services.editors.open(root)
        await take(services, chat)
        await paused(services, chat)
        text = (root / "notebook.py").read_text()
        theirs = text.replace("data = [1, 2, 3]", "data = [40, 2]") if "def load" in text else ""
        await editor.replace(theirs or text.replace("\nif __name__", OTHER_LOAD), base=None)
        assert set((await give(services, chat))["cells"]) == {"load"}
        await settled(services, chat, "finished")
        assert read_json(root / "results.json")["estimate"] == 42
        assert any("data = [40, 2]" in cell.code for cell in await editor.cells())
        assert services.editors.get(root) is editor


@needs_sandbox
async def test_the_agent_waits_for_the_cell_that_a_person_left_running(tmp_path: Path) -> None:
    """It says so; a stop ends the waiting at once and nothing of the person's."""
    lean(tmp_path / "templates" / "lean")
    slow = WAITS + "\n'the slow one'"
    run = call("nb_run", {"cells": ["study"]})
    replies = [reply("I look.", calls=[run]), reply("Once more.", calls=[run]), reply("There.")]
    async with modelled(tmp_path, *replies) as (services, _):
        chat = await research(services, provider="template")
        await settled(services, chat, "finished")
        root = project(tmp_path)
        editor = await services.editors.open(root)
        await take(services, chat)
        async with page(editor) as person:
            ids = {cell["name"]: cell["id"] for cell in await cells_of(editor, person)}
            await person.types(ids["load"], slow)
            await person.runs(ids["load"], slow)
            await give(services, chat)
            await say(services, "Look at it.", chat)
            await until(services, chat, "agent_status", message="Waits for the cell that you are running (load)")
            began = asyncio.get_running_loop().time()
            await services.sessions.submit(ANA, protocol.Stop(chatId=chat, how="now"))
            await settled(services, chat, "stopped")
            assert asyncio.get_running_loop().time() - began < 3
            assert editor.status.kernel == "busy", "the person's cell runs on"
            await say(services, "Look again.", chat)
            await until(
                services, chat, "agent_status", count=2, message="Waits for the cell that you are running (load)"
            )
            (root / "go").touch()
            await person.shows("the slow one")
            events = await settled(services, chat, "finished")
        assert of(events, "tool_result")[-1]["ok"]


@needs_sandbox
async def test_a_dead_editor_is_told_in_the_log(tmp_path: Path) -> None:
    lean(tmp_path / "templates" / "lean")
    async with serving(tmp_path) as services:
        chat = await research(services)
        await settled(services, chat, "finished")
        root = project(tmp_path)
        editor = await services.editors.open(root)
        assert not await bodies(services, chat, "notebook"), "that it was opened is no news"
        await take(services, chat)
        line = "jupyterlab_postdoc.notebooks.worker.live"
        found = [p for p in psutil.process_iter(["cmdline"]) if line in p.info["cmdline"] and str(root) in str(p.info)]
        found[-1].kill()
        said = await until(services, chat, "notebook", count=2)
        assert said["state"] in ("starting", "failed")
        assert (said["hand"], said["holder"]) == ("person", "Ana"), "who has it, has it still"
        assert said["message"]
        await services.editors.settled(root, 20)
        assert editor.up
        await services.editors.close(root)


@needs_sandbox
async def test_where_the_page_alone_saves_its_last_words_are_waited_for(tmp_path: Path) -> None:
    """``following``: marimo's page writes the file, a second after the last key."""
    lean(tmp_path / "templates" / "lean")
    async with serving(tmp_path) as services:
        chat = await research(services)
        await settled(services, chat, "finished")
        root = project(tmp_path)
        editor = await services.editors.open(root)
        await take(services, chat)
        editor.condition.become(state="following")
        editor.viewer(1)
        saving = asyncio.get_running_loop().call_later(1.2, change, root, "data = [1, 2, 3]", "data = [40, 2]")
        given = await give(services, chat)
        saving.cancel()
        assert given["cells"] == {"load": "changed"}
        assert git(root, "status", "--porcelain", "notebook.py") == ""


async def test_what_the_editor_keeps_of_outputs_is_nobodys_change(tmp_path: Path) -> None:
    lean(tmp_path / "templates" / "lean")
    async with serving(tmp_path) as services:
        chat = await research(services)
        await settled(services, chat, "finished")
        await take(services, chat)
        (session,) = (project(tmp_path) / "__marimo__" / "session").iterdir()
        session.write_text("{}")
        head = git(project(tmp_path), "rev-parse", "HEAD")
        assert await give(services, chat) == {"hand": "agent", "cells": {}}
        assert git(project(tmp_path), "rev-parse", "HEAD") == head


async def test_taken_and_given_again_and_again_while_the_agent_works(tmp_path: Path) -> None:
    """Whatever moment it is, the study comes to its end, and each call is carried out once."""
    lean(tmp_path / "templates" / "lean", script=WORDY)
    async with serving(tmp_path) as services:
        chat = await research(services)
        await until(services, chat, "artifact", artifact="notebook")
        for number in range(40):
            await take(services, chat)
            await asyncio.sleep(0.001 * (number % 7) ** 2)
            await give(services, chat)
            await asyncio.sleep(0.002 * (number % 5) ** 2)
        events = await settled(services, chat, "finished")
    results = [result["toolId"] for result in of(events, "tool_result")]
    assert len(results) == len(set(results))
    assert [result["ok"] for result in of(events, "tool_result")] == [True] * len(results)
