"""A study needs a package that is not there: somebody is asked, it comes for this project alone, or it does not."""

from __future__ import annotations

import importlib.metadata
import shutil
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from tests.agent.modelled import modelled, respond, say, told
from tests.agent.support import ANA, SANDBOX, lean, of, read_json, research, serving, settled, states, until
from tests.model_server import call, reply
from tests.workspace.wheels import index, wheel

from jupyterlab_postdoc import protocol
from jupyterlab_postdoc.app import Services

LOAD = "import owl_maths\n\ndata = [owl_maths.ONE, 2, 3]\n"
MATHS = {"owl_maths.py": "ONE = 1\n"}
DECLINED = "Do not install"


@pytest.fixture(autouse=True)
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that pip and uv take packages from, as a user would tell them. With the quicker one of both."""
    for name, value in index(tmp_path / "wheels", tmp_path / "user").items():
        if name.startswith(("PIP_", "UV_")):
            monkeypatch.setenv(name, value)
    wheel(tmp_path / "wheels", "owl-maths", "2.5", files=MATHS)
    return tmp_path / "wheels"


def template(home: Path, *, load: str = LOAD, requires: str = "marimo") -> None:
    folder = home / "templates" / "lean"
    folder.parent.mkdir(parents=True, exist_ok=True)
    lean(folder, load=load)
    described = folder / "template.yaml"
    described.write_text(described.read_text().replace("requires: [marimo]", f"requires: [{requires}]"))


async def asked(services: Services, chat: str) -> dict[str, Any]:
    """The one question that is open."""
    events = await settled(services, chat, "waiting", limit_s=120)
    return of(events, "question")[-1]


async def root_of(services: Services, home: Path, chat: str) -> Path:
    shown = await services.sessions.get(ANA, chat)
    return home / "root" / str(shown["project"]["path"])


def environments(home: Path) -> list[Path]:
    folder = home / "data" / "environments"
    return [path for path in folder.iterdir() if path.name != "projects"] if folder.is_dir() else []


async def test_it_is_asked_for_and_comes_into_the_projects_own_environment(tmp_path: Path) -> None:
    template(tmp_path)
    async with serving(tmp_path) as services:
        chat = await research(services)
        question = await asked(services, chat)
        said = question["question"]
        assert "The cell load needs the package owl-maths (for `import owl_maths`)" in said
        assert "this project's own environment" in said
        assert "package index" in said
        assert question["options"] == ["Install", DECLINED]
        assert environments(tmp_path) == [], "nothing is done, and no index is asked, before the answer"
        await respond(services, chat, question["requestId"], answer="Install")
        events = await settled(services, chat, "finished", limit_s=120)
        root = await root_of(services, tmp_path, chat)
    assert len(of(events, "question")) == 1
    edited = [event for event in of(events, "tool_result") if event["toolName"] == "nb_edit"][1]
    assert "Installed for this project: owl-maths 2.5." in edited["content"]
    assert edited["data"]["issues"] == []
    assert read_json(root / "results.json")["estimate"] == 6.0
    # the repository says what it needs, and holds nothing of it
    assert "owl-maths==2.5" in (root / "requirements.lock").read_text().split()
    assert f"marimo=={importlib.metadata.version('marimo')}" in (root / "requirements.lock").read_text().split()
    assert "owl-maths==2.5" in tomllib.loads((root / "pyproject.toml").read_text())["project"]["dependencies"]
    assert '#     "owl-maths==2.5",' in (root / "notebook.py").read_text().splitlines()
    assert len(environments(tmp_path)) == 1
    assert not list(root.rglob("owl_maths*"))
    with pytest.raises(importlib.metadata.PackageNotFoundError):
        importlib.metadata.version("owl-maths")


async def test_who_says_no_is_asked_once_and_the_study_says_why_it_ends(tmp_path: Path) -> None:
    template(tmp_path)
    async with serving(tmp_path) as services:
        chat = await research(services)
        question = await asked(services, chat)
        await respond(services, chat, question["requestId"], answer=DECLINED)
        events = await settled(services, chat, limit_s=120)
    assert len(of(events, "question")) == 1
    assert states(events)[-1] == "error"
    results = [event["content"] for event in of(events, "tool_result")]
    assert any("The researcher does not want owl-maths to be installed." in text for text in results)
    assert environments(tmp_path) == []


async def test_the_setting_never_asks_nobody(tmp_path: Path) -> None:
    template(tmp_path)
    async with serving(tmp_path, missing_packages="never") as services:
        chat = await research(services)
        events = await settled(services, chat, "error", limit_s=120)
    assert of(events, "question") == []
    assert any("this server installs no packages" in event["content"] for event in of(events, "tool_result"))
    assert environments(tmp_path) == []


async def test_the_setting_install_asks_nobody_either(tmp_path: Path) -> None:
    template(tmp_path)
    async with serving(tmp_path, missing_packages="install") as services:
        chat = await research(services)
        events = await settled(services, chat, "finished", limit_s=120)
    assert of(events, "question") == []
    assert len(environments(tmp_path)) == 1


async def test_what_a_template_requires_is_asked_for_before_it_begins(tmp_path: Path) -> None:
    template(tmp_path, requires="marimo, owl-maths")
    async with serving(tmp_path) as services:
        chat = await research(services)
        question = await asked(services, chat)
        assert "The study needs the package owl-maths" in question["question"]
        await respond(services, chat, question["requestId"], answer="Install")
        events = await settled(services, chat, "finished", limit_s=120)
        root = await root_of(services, tmp_path, chat)
    assert len(of(events, "question")) == 1
    assert "Installed for this project: owl-maths 2.5." in [event["message"] for event in of(events, "agent_status")]
    assert "owl-maths==2.5" in (root / "requirements.lock").read_text().split()


async def test_the_answer_may_come_after_a_restart(tmp_path: Path) -> None:
    template(tmp_path)
    async with serving(tmp_path) as services:
        chat = await research(services)
        question = await asked(services, chat)
    async with serving(tmp_path) as services:
        await respond(services, chat, question["requestId"], answer="Install")
        events = await settled(services, chat, "finished", limit_s=120)
    assert len(of(events, "question")) == 1
    assert len([event for event in of(events, "tool_use") if event["toolName"] == "nb_edit"]) == 3


async def test_what_shows_only_in_the_run_is_asked_for_there(tmp_path: Path, wheels: Path) -> None:
    """A package may need another one that it does not name; the check of the cells cannot see it."""
    files = {"owl_maths.py": "import owl_tables\nONE = owl_tables.ONE\n"}
    wheel(wheels, "owl-maths", "3.0", files=files)
    wheel(wheels, "owl-tables", "1.5", files={"owl_tables.py": "ONE = 1\n"})
    template(tmp_path)
    async with serving(tmp_path, missing_packages="install") as services:
        chat = await research(services)
        events = await settled(services, chat, "finished", limit_s=120)
    run = next(event for event in of(events, "tool_result") if event["toolName"] == "nb_run")
    assert "Installed for this project: owl-tables 1.5." in run["content"]
    assert run["ok"] is True


async def test_no_way_to_the_index_is_a_sentence_and_changes_nothing(tmp_path: Path, wheels: Path) -> None:
    shutil.rmtree(wheels)
    template(tmp_path)
    async with serving(tmp_path, missing_packages="install") as services:
        chat = await research(services)
        events = await settled(services, chat, "error", limit_s=120)
    edited = [event for event in of(events, "tool_result") if event["toolName"] == "nb_edit"][1]
    assert "owl-maths" in edited["content"]
    assert str(tmp_path) not in edited["content"]
    assert environments(tmp_path) == []


@pytest.mark.skipif(not SANDBOX, reason="without a sandbox every command of a model asks for leave")
async def test_a_model_is_told_what_came_and_its_kernel_has_it_too(tmp_path: Path) -> None:
    template(tmp_path)
    put = {"op": "put", "name": "sums", "code": "import owl_maths\n\nowl_maths.ONE"}
    replies = [
        reply("I look.", calls=[call("py_exec", {"code": "owls = 1"})]),
        reply("I make it.", calls=[call("nb_create", {"title": "Owls"}), call("nb_edit", {"changes": [put]})]),
        reply("I try it.", calls=[call("py_exec", {"code": "import owl_maths\nowl_maths.ONE + 41"})]),
        reply("I run it.", calls=[call("nb_run", {})]),
        reply("That is all."),
    ]
    async with modelled(tmp_path, *replies, max_turns=5) as (services, server):
        chat = await research(services, topic="Owls", template=None, provider="anthropic")
        question = await asked(services, chat)
        await respond(services, chat, question["requestId"], answer="please install owl-maths==2.5")
        events = await settled(services, chat, limit_s=120)
        requests = server.requests()
    assert "The cell sums needs the package owl-maths" in question["question"]
    assert any("Installed for this project: owl-maths 2.5." in text for text in told(requests[2]))
    assert any("42" in text and "this ran in a new one" in text for text in told(requests[3]))
    assert [event["ok"] for event in of(events, "tool_result") if event["toolName"] == "nb_run"] == [True]


@pytest.mark.skipif(not SANDBOX, reason="without a sandbox every command of a model asks for leave")
async def test_code_that_a_model_tries_asks_too_and_is_not_run_twice(tmp_path: Path) -> None:
    code = "with open('tried', 'a') as log: log.write('x')\nimport owl_maths\nowl_maths.ONE + 41"
    replies = [
        reply("I try it.", calls=[call("py_exec", {"code": code})]),
        reply("Again.", calls=[call("py_exec", {"code": "import owl_maths\nowl_maths.ONE + 41"})]),
        reply("Another.", calls=[call("py_exec", {"code": "import owl_tables"})]),
        reply("Once more.", calls=[call("py_exec", {"code": "import owl_tables"})]),
        reply("That is all."),
    ]
    async with modelled(tmp_path, *replies, max_turns=6) as (services, server):
        chat = await research(services, topic="Owls", template=None, provider="anthropic")
        question = await asked(services, chat)
        await respond(services, chat, question["requestId"], answer="Install")
        second = await until(services, chat, "question", count=2)
        await respond(services, chat, second["requestId"], answer=DECLINED)
        events = await settled(services, chat, limit_s=120)
        root = await root_of(services, tmp_path, chat)
        requests = server.requests()
    assert "The study needs the package owl-maths (for `import owl_maths`)" in question["question"]
    assert question["options"] == ["Install", DECLINED]
    assert (root / "tried").read_text() == "x"
    first = "".join(told(requests[1]))
    for said in ("ModuleNotFoundError", "Installed for this project: owl-maths 2.5.", "Its variables are gone"):
        assert said in first
    assert any("42" in text for text in told(requests[2]))
    assert any("The researcher does not want owl-tables to be installed." in text for text in told(requests[3]))
    assert any("ModuleNotFoundError" in text for text in told(requests[4]))
    assert len(of(events, "question")) == 2, "nobody is asked twice for the same"


@pytest.mark.skipif(not SANDBOX, reason="without a sandbox every command of a model asks for leave")
async def test_what_a_researcher_answers_instead_reaches_the_model(tmp_path: Path) -> None:
    put = {"op": "put", "name": "sums", "code": "import owl_maths"}
    replies = [
        reply("I make it.", calls=[call("nb_create", {"title": "Owls"}), call("nb_edit", {"changes": [put]})]),
        reply("Then so.", calls=[call("nb_edit", {"changes": [{**put, "code": "import owl_maths as maths"}]})]),
        reply("I stop."),
    ]
    async with modelled(tmp_path, *replies, max_turns=3) as (services, server):
        chat = await research(services, topic="Owls", template=None, provider="anthropic")
        question = await asked(services, chat)
        await respond(services, chat, question["requestId"], answer="Use numpy instead.")
        events = await settled(services, chat, limit_s=120)
        requests = server.requests()
    assert any("They say: Use numpy instead." in text for text in told(requests[1]))
    assert len([event for event in of(events, "question") if "owl-maths" in event["question"]]) == 1
    assert environments(tmp_path) == []


async def test_no_secret_of_the_server_reaches_the_installer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Seen with a program in the place of uv that writes down what it gets."""
    seen = tmp_path / "seen"
    program = tmp_path / "bin" / "uv"
    program.parent.mkdir()
    program.write_text(
        f"#!{sys.executable}\nimport os, sys\nopen({str(seen)!r}, 'a').write(repr((sys.argv, dict(os.environ))))\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("GITHUB_TOKEN_FOR_TESTS", "ghp_canary")
    monkeypatch.setenv("JUPYTER_TOKEN", "jupyter_canary")
    from jupyterlab_postdoc.workspace.environments import Environments
    from jupyterlab_postdoc.workspace.installer import Installer

    installer = Installer()
    installer.__dict__["uv"] = str(program)
    (tmp_path / "project").mkdir()
    await Environments(tmp_path / "environments", installer).install(tmp_path / "project", ["owl-maths"])
    assert "PIP_FIND_LINKS" in seen.read_text()
    assert "canary" not in seen.read_text()


async def test_a_chat_on_the_finished_study_uses_the_same_environment(tmp_path: Path) -> None:
    template(tmp_path)
    replies = [reply("I run it.", calls=[call("nb_run", {})]), reply("It runs.")]
    async with modelled(tmp_path, *replies, missing_packages="install") as (services, server):
        chat = await research(services, provider="template")
        await settled(services, chat, "finished", limit_s=120)
        await say(services, "Run it again.", chat)
        events = await settled(services, chat, limit_s=120)
        assert len(server.requests()) == 2
    assert [event["ok"] for event in of(events, "tool_result") if event["toolName"] == "nb_run"] == [True, True]


@pytest.mark.skipif(not SANDBOX, reason="without a sandbox every command of a model asks for leave")
async def test_the_live_notebook_starts_again_with_the_new_package(tmp_path: Path, wheels: Path) -> None:
    template(tmp_path)
    wheel(wheels, "owl-tables", "1.5", files={"owl_tables.py": "ONE = 1\n"})
    put = {"op": "put", "name": "tables", "code": "import owl_tables\n\nowl_tables.ONE + 41"}
    replies = [reply("I count.", calls=[call("nb_edit", {"changes": [put]})]), reply("There.")]
    async with modelled(tmp_path, *replies, missing_packages="install") as (services, _server):
        chat = await research(services, provider="template")
        await settled(services, chat, "finished", limit_s=120)
        root = await root_of(services, tmp_path, chat)
        await services.editors.open(root)
        await say(services, "Count the tables.", chat)
        events = await settled(services, chat, limit_s=120)
        state = services.editors.status(root).state
    assert state == "ready"
    edited = of(events, "tool_result")[-1]
    assert "Installed for this project: owl-maths 2.5" not in edited["content"], "that was there before"
    assert "Installed for this project: owl-tables 1.5." in edited["content"]
    assert "- tables: ok" in edited["content"]
    assert '#     "owl-tables==1.5",' in (root / "notebook.py").read_text().splitlines()


@pytest.mark.skipif(not SANDBOX, reason="without a sandbox every command of a model asks for leave")
async def test_a_notebook_in_a_persons_hand_starts_again_when_it_is_given_back(tmp_path: Path, wheels: Path) -> None:
    """They take it while the packages are being installed."""
    template(tmp_path)
    wheel(wheels, "owl-tables", "1.5", files={"owl_tables.py": "ONE = 1\n"})
    put = {"op": "put", "name": "tables", "code": "import owl_tables\n\nowl_tables.ONE + 41"}
    replies = [reply("I count.", calls=[call("nb_edit", {"changes": [put]})]), reply("There."), reply("Now.")]
    async with modelled(tmp_path, *replies, missing_packages="install") as (services, _server):
        chat = await research(services, provider="template")
        await settled(services, chat, "finished", limit_s=120)
        root = await root_of(services, tmp_path, chat)
        editor = await services.editors.open(root)
        slowly(services, tmp_path)
        await say(services, "Count the tables.", chat)
        await until(services, chat, "agent_status", message="Installing owl-tables for this project")
        await services.sessions.submit(ANA, protocol.NotebookTake(chatId=chat))
        (tmp_path / "go").touch()
        await settled(services, chat, "waiting", limit_s=120)
        assert services.editors.get(root) is editor, "nothing of the person's was closed"
        assert "when you give it back" in editor.status.message
        await services.sessions.submit(ANA, protocol.NotebookGive(chatId=chat))
        events = await settled(services, chat, limit_s=120)
        again = services.editors.get(root)
        assert again is not None
        assert again is not editor
        ran = await again.ask("run", args=[], timeout_s=30, cells=["tables"], whole=False)
    assert [cell["status"] for cell in ran["cells"] if cell["name"] == "tables"] == ["ok"]
    edited = of(events, "tool_result")[-1]
    assert edited["ok"], edited


def slowly(services: Services, home: Path) -> None:
    """From now on uv begins when the file ``go`` is there."""
    installer = services.environments.installer
    program = home / "uv"
    program.write_text(f'#!/bin/sh\nwhile [ ! -e {home}/go ]; do sleep 0.05; done\nexec {installer.uv} "$@"\n')
    program.chmod(0o755)
    installer.__dict__["uv"] = str(program)
