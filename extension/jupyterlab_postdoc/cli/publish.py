"""`jupyter postdoc publish`: send a session's project to GitHub, follow that, and say where it is."""

from __future__ import annotations

import argparse
import shlex
from typing import Any

from .client import Link, Rest, segment
from .endings import exit_code
from .follow import Ending, Follower
from .names import me
from .pull import show
from .screen import Screen
from .server import Source
from .text import clean, one_line

Frame = dict[str, Any]


def _fields(args: argparse.Namespace) -> Frame:
    given: Frame = {
        "owner": args.owner,
        "name": args.name,
        "private": None if not (args.public or args.private) else bool(args.private),
        "useExisting": args.use_existing or None,
        "history": "squashed" if args.squash else None,
        "branch": args.branch,
        "force": args.force or None,
        "acceptMoved": args.accept_moved or None,
        "pullRequest": False if args.no_pr else None,
    }
    return {name: value for name, value in given.items() if value is not None}


async def publish(args: argparse.Namespace, source: Source, screen: Screen) -> int:
    """Publish a chat's project, or what is new of it, and wait for the end."""
    await source.get()
    rest = Rest(source)
    chat = await rest("GET", f"api/chats/{segment(args.chat)}")
    follower = Follower(source, screen, as_json=args.json)
    async with follower.link(args.chat, after=int(chat.get("lastSeq") or 0)) as link:
        ack = await link.send("publish", **_fields(args))
        ending = await follower.run(link, str(ack.get("runId")))
    if not args.json:
        await told(screen, rest, args.chat, ending)
    return exit_code(ending)


async def followed(follower: Follower, link: Link, ending: Ending) -> Ending | None:
    """Follow the publication that began by itself when a run ended; None when none did."""
    run = (ending.result or {}).get("followedBy")
    if not run:
        return None
    if not follower.as_json:
        follower.screen.line()
        follower.screen.line("Publishing on GitHub", "bold")
    return await follower.run(link, str(run))


async def told(screen: Screen, rest: Rest, chat: str, ending: Ending) -> None:
    """Say where everything is; when it did not come to that, why, and the command for each way on."""
    found: Frame = await rest("GET", f"api/chats/{segment(chat)}/publication")
    screen.line()
    show(screen, chat, found)
    if found.get("state") == "local" and ending.result is not None:
        screen.line(clean(ending.result.get("summary") or ""), "yellow")
    for what, command in _ways(chat, found.get("problem") or {}):
        screen.line(f"{what}: {command}", indent="  ")


def _ways(chat: str, problem: Frame) -> list[tuple[str, str]]:
    again = f"{me()} publish {one_line(chat)}"
    proposal = shlex.quote(one_line(problem.get("proposal") or ""))
    ways = {
        "retry": ("Try again", again),
        "rename": ("Another name", f"{again} --name {proposal}"),
        "use_existing": ("Use what is there", f"{again} --use-existing"),
        "connect": ("Connect", f"{me()} github connect"),
        "squash": ("Without the history", f"{again} --squash"),
        "branch": ("Another branch", f"{again} --branch {proposal}"),
        "force": ("Overwrite that branch", f"{again} --force"),
        "moved": ("Accept the new place", f"{again} --accept-moved"),
    }
    return [ways[action] for action in problem.get("actions") or [] if action in ways]
