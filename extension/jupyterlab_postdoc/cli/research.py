"""`jupyter postdoc research` and `resume`: start a run, follow it, and tell its end."""

from __future__ import annotations

import argparse
import contextlib
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .answers import finals
from .client import Link, Rest, new_id, segment
from .endings import exit_code, tell, waits
from .follow import Follower
from .names import me
from .problems import NO_CONNECTION, USAGE, Problem, usage
from .publish import followed, told
from .screen import Screen
from .server import Server, Source
from .text import one_line, table

Frame = dict[str, Any]


def data_file(parameters: Sequence[tuple[str, str]]) -> Path | None:
    """The file that `--param data=…` names, relative to the working directory; None for the synthetic sets."""
    given = dict(parameters).get("data")
    if given is None or given == "synthetic" or given.startswith("synthetic-"):
        return None
    path = Path(given).expanduser()
    path = path if path.is_absolute() else Path.cwd() / path
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise usage(f"The data file {given} {what}.", "Give a file, or data=synthetic for the synthetic set.")
    return path.resolve()


def _fields(args: argparse.Namespace, server: Server, data: Path | None) -> Frame:
    parameters: Frame = dict(args.param)
    if data is not None and server.root is not None:
        root = server.root.resolve()
        if not data.is_relative_to(root):
            raise usage(
                f"The data file {data} lies outside the server's folder {root}.", "Copy it there, or start with --root."
            )
        parameters["data"] = data.relative_to(root).as_posix()
    budget = {"usd": args.budget_usd, "minutes": args.budget_minutes, "turns": args.budget_turns}
    budget = {name: value for name, value in budget.items() if value is not None}
    fields: Frame = {"topic": args.topic.strip(), "repo_name": args.repo_name, "template": args.template}
    fields |= {"provider": args.provider, "model": args.model}
    return fields | {"params": parameters or None, "budget": budget or None}


async def _begin(link: Link, rest: Rest, fields: Frame) -> Frame:
    """Start the run. When the server refuses it, the chat that was made for it goes again."""
    try:
        return await link.send("research", **fields)
    except Problem as problem:
        if problem.exit_code == NO_CONNECTION:
            raise
        with contextlib.suppress(Problem):
            await rest("DELETE", f"api/chats/{segment(link.chat)}")
        if problem.code in {"not_found", "forbidden"}:
            problem.exit_code = USAGE  # an unknown template, a data file out of reach
        raise


async def research(args: argparse.Namespace, source: Source, screen: Screen) -> int:
    """Run one research session from topic to repository."""
    if not args.topic.strip():
        raise usage("The topic is empty.", 'Say what to research, e.g. jupyter postdoc research "Short Term Reversal".')
    data = data_file(args.param)
    source.wish.needs = data if not args.url else None
    screen.live("Looking for a server…")
    server = await source.get()
    rest = Rest(source)
    fields = _fields(args, server, data)
    title = args.title or one_line(args.topic, 100)
    chat = await rest(
        "POST", "api/chats", _given(title=title, persona=args.persona, repository=args.repo), key=new_id()
    )
    follower = Follower(source, screen, as_json=args.json)
    templates: list[Frame] = []
    if source.own is not None:
        source.own.keep_log = True  # until the end is known
    async with follower.link(chat["id"]) as link:
        ack = await _begin(link, rest, fields)
        if not args.json:
            _head(screen, args.topic, chat["id"], source)
            follower.story.hidden.add(str(ack.get("id")))  # the topic was just said
        templates = await rest("GET", "api/templates")
        names = {str(template.get("name")) for template in templates}
        ending = await follower.until_done(
            link, command=ack.get("id"), leave=lambda q: bool(q.get("options")) and set(q["options"]) <= names
        )
        publication = await followed(follower, link, ending)
    if source.own is not None:
        source.own.keep_log = ending.error is not None and ending.error.get("code") == "internal"
    if ending.waiting is not None:
        return waits(follower, chat["id"], ending.waiting)
    if ending.unanswered is not None:
        _choose(args, screen, templates)
        return USAGE
    if args.json:
        return exit_code(ending)
    chat = await rest("GET", f"api/chats/{segment(chat['id'])}")
    log = source.own.log if source.own is not None and source.own.keep_log else None
    code = tell(screen, ending, chat, server, _with_data(args), log)
    if publication is not None:  # whatever came of it, the research is done
        await told(screen, rest, chat["id"], publication)
    return code


async def resume(args: argparse.Namespace, source: Source, screen: Screen) -> int:
    """Carry on a run and follow it to its end."""
    server = await source.get()
    rest = Rest(source)
    chat = await rest("GET", f"api/chats/{segment(args.chat)}")
    follower = Follower(source, screen, as_json=args.json)
    follower.story.recall(await finals(rest, args.chat))  # a call may ask for leave again
    async with follower.link(args.chat, after=int(chat.get("lastSeq") or 0)) as link:
        ack = await link.send("resume")
        ending = await follower.until_done(link, command=ack.get("id"))
    if ending.waiting is not None:
        return waits(follower, args.chat, ending.waiting)
    if args.json:
        return exit_code(ending)
    chat = await rest("GET", f"api/chats/{segment(args.chat)}")
    return tell(screen, ending, chat, server, f'{me()} research "…" --param data=FILE.csv')


def _given(**fields: object) -> Frame:
    return {name: value for name, value in fields.items() if value is not None}


def _head(screen: Screen, topic: str, chat: str, source: Source) -> None:
    assert source.server is not None
    server = source.server
    screen.line(f"Research: {one_line(topic)}", "bold")
    how = "started for this command" if source.own else f"running at {server.where}"
    folder = f", folder {server.root}" if server.root else ""
    screen.line(f"Chat {chat}; server {how}{folder}", "dim")


def _again(args: argparse.Namespace) -> str:
    words = ["research", args.topic]
    for option in ("template", "provider", "model", "repo"):
        if getattr(args, option):
            words += [f"--{option}", getattr(args, option)]
    if args.root:
        words += ["--root", str(args.root)]
    for name, value in args.param:
        if name != "data":
            words += ["--param", f"{name}={value}"]
    return f"{me()} {shlex.join(words)}"


def _with_data(args: argparse.Namespace) -> str:
    """The same command for a file of the person's own, which must lie below the server's folder."""
    file = f"{args.root}/FILE.csv" if args.root else "FILE.csv"
    return f"{_again(args)} --param data={file}"


def _choose(args: argparse.Namespace, screen: Screen, templates: list[Frame]) -> None:
    """No template fits the topic: say which there are."""
    if args.json:
        raise Problem(
            "Which template should do this research? None was chosen.", exit_code=USAGE, code="template_needed",
            next="Name one with --template: " + ", ".join(str(t.get("name")) for t in templates) + ".",
        )  # fmt: skip
    screen.line()
    screen.line("Choose a template with --template. There are:", "bold")
    rows = [[one_line(t.get("name")), one_line(t.get("summary") or t.get("title"))] for t in templates]
    for line in table(rows, screen.width - 2):
        screen.line(line, indent="  ")
    screen.line(f"Then: {_again(args)} --template NAME", indent="  ")
