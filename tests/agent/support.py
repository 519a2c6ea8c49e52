"""A service without HTTP, tiny templates, and ways to look at what a research run has left behind."""

from __future__ import annotations

import asyncio
import json
import subprocess
import textwrap
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import psutil

from jupyterlab_postdoc import protocol
from jupyterlab_postdoc.app import PostdocApp, Services
from jupyterlab_postdoc.sessions import User
from jupyterlab_postdoc.templates import scaffold
from jupyterlab_postdoc.workspace import sandbox

ANA = User("ana", "Ana")
with closing(asyncio.new_event_loop()) as _loop:
    SANDBOX = _loop.run_until_complete(sandbox.probe()).available
"""Whether bubblewrap works on this machine. Where it does not, the tests' templates run without it."""
AT_REST = ("finished", "error", "stopped", "waiting")

NOTEBOOK = """\
import marimo

__generated_with = "0.25.2"
app = marimo.App()

with app.setup:
    from pathlib import Path

    import marimo as mo


@app.cell
def study():
    study = {{
        "topic": "",
        "template": "{name}",
        "version": "0.1.0",
        "parameters": {{"data": "synthetic"}},
        "session": "",
        "seed": 0,
    }}
    return (study,)


@app.cell
def load(study):
{load}
    return (data,)


@app.cell
def verdict(data, study):
    verdict = {{
        "claim": "The sum is positive.",
        "supported": bool(sum(data) > 0),
        "estimate": float(sum(data)),
        "ci_low": None,
        "ci_high": None,
        "p_value": None,
        "n_obs": len(data),
        "unit": "units",
        "summary": f"The sum is {{sum(data)}}. It comes from {{len(data)}} numbers.",
        "limits": ["None of this is real."],
        "data": study["parameters"]["data"],
        "seed": study["seed"],
    }}
    verdict
    return


if __name__ == "__main__":
    app.run()
"""

SCRIPT = """\
turns:
  - id: start
    plan: 0
    say: 'I will study "{{ topic }}". First the question.'
    calls:
      - {tool: nb_create, input: {path: notebook.py, title: "{{ topic }}"}}
      - {tool: nb_edit, cells: [setup, study]}
  - id: data
    plan: 1
    say: Now the data.
    calls:
      - {tool: nb_edit, cells: [load]}
  - id: run
    plan: 2
    say: The verdict, and the run.
    calls:
      - {tool: nb_edit, cells: [verdict]}
      - {tool: nb_run}
  - id: finish
    say: "{{ verdict.summary }}"
    calls:
      - {tool: finish, input: {summary: "{{ verdict.summary }}"}}
"""

DESCRIPTION = """\
name: {name}
version: "0.1.0"
title: A lean study
summary: The sum of some numbers.
topics: [{name}]
plan: [State the question, Load the data, Run the notebook]
parameters:
  type: object
  properties:
    data: {{title: Data, description: A text file with numbers., type: string, format: dataset, default: synthetic}}
requires: [marimo]
"""

LOAD = """\
if study["parameters"]["data"] == "synthetic":
    data = [1, 2, 3]
else:
    _rows = Path(study["parameters"]["data"]).read_text().split()
    if not _rows or _rows[0] != "value":
        raise ValueError(f"The column 'value' is missing; found: {', '.join(_rows[:1]) or 'nothing'}.")
    data = [float(_row) for _row in _rows[1:]]
"""


def lean(
    folder: Path, name: str = "lean", *, load: str = LOAD, repair: str | None = None, script: str = SCRIPT
) -> None:
    """A template that needs no scientific library, so that a whole run takes about two seconds."""
    scaffold(folder, name, "A lean study")
    body = textwrap.indent(textwrap.dedent(load).strip("\n"), "    ")
    (folder / "notebook.py").write_text(NOTEBOOK.format(name=name, load=body))
    (folder / "script.yaml").write_text(script)
    (folder / "template.yaml").write_text(DESCRIPTION.format(name=name))
    if repair is not None:
        (folder / "repairs").mkdir()
        (folder / "repairs" / "load.py").write_text(textwrap.dedent(repair))


def build(home: Path, **config: Any) -> Services:
    """The services over ``home``: root, data and templates lie below it. Build again for a second server."""
    root = home / "root"
    root.mkdir(parents=True, exist_ok=True)
    (home / "templates").mkdir(exist_ok=True)
    config = {"allow_unsandboxed": not SANDBOX} | config
    app = PostdocApp(data_dir=str(home / "data"), template_paths=[str(home / "templates")], **config)
    return app.build(root)


@asynccontextmanager
async def serving(home: Path, **config: Any) -> AsyncIterator[Services]:
    services = build(home, **config)
    await services.start()
    try:
        yield services
    finally:
        await services.stop(2.0)


async def new_chat(services: Services) -> str:
    return str((await services.sessions.create(ANA))["id"])


async def research(services: Services, chat: str | None = None, **fields: Any) -> str:
    """Ask for research in a new chat (or this one); the chat's id."""
    chat = chat or await new_chat(services)
    fields = {"topic": "A lean study", "template": "lean"} | fields
    await services.sessions.submit(ANA, protocol.Research(chatId=chat, **fields))
    return chat


async def bodies(services: Services, chat: str, *types: str, finals: bool = True) -> list[dict[str, Any]]:
    events = await services.log.read(chat, finals=finals, types=types or None, limit=10_000)
    return [event.body() for event in events]


async def settled(
    services: Services, chat: str, state: str | None = None, *, limit_s: float = 30
) -> list[dict[str, Any]]:
    """Wait until the session is at rest (in this state); its final events."""
    try:
        async with asyncio.timeout(limit_s):
            while True:
                row = await services.log.store.get_session(chat)
                runs = await services.log.store.list_runs(chat, status=("queued", "running"))
                if row and not runs and row.state in AT_REST:
                    break
                await asyncio.sleep(0.01)
    except TimeoutError:
        state = f"at rest within {limit_s} s"
    events = await bodies(services, chat)
    said = [body for body in events if body["type"] in ("error", "session_state")]
    assert state in (None, row.state if row else None), said
    return events


async def until(services: Services, chat: str, type: str, *, count: int = 1, **fields: Any) -> dict[str, Any]:
    """Wait for the count-th event of this type whose fields are these."""
    async with asyncio.timeout(30):
        while True:
            found = [b for b in await bodies(services, chat, type) if fields.items() <= b.items()]
            if len(found) >= count:
                return found[count - 1]
            await asyncio.sleep(0.01)


def of(events: list[dict[str, Any]], type: str) -> list[dict[str, Any]]:
    return [event for event in events if event["type"] == type]


def states(events: list[dict[str, Any]]) -> list[str]:
    return [event["status"] for event in of(events, "session_state")]


def git(root: Path, *args: str) -> str:
    return subprocess.run(["git", "-C", str(root), *args], check=True, capture_output=True, text=True).stdout.strip()


def steps_committed(root: Path) -> list[str]:
    """The journal keys of a repository's commits, oldest first."""
    out = git(root, "log", "--reverse", "--format=%(trailers:key=Research-Step,valueonly,separator=%x2C)")
    return out.split()


def processes_below(place: Path) -> list[str]:
    """Command lines of living processes that name this folder or work in it."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.status() == psutil.STATUS_ZOMBIE:
                continue
            line = " ".join(process.cmdline())
            if str(place) in line or process.cwd().startswith(str(place)):
                found.append(line)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


def read_json(path: Path) -> Any:
    return json.loads(path.read_text())
