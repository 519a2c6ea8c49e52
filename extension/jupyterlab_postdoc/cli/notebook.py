"""`jupyter postdoc notebook`: how a chat's notebook is and who has it; take it over, give it back, mind its kernel."""

from __future__ import annotations

import argparse
from typing import Any

from .client import Rest, segment
from .names import me
from .output import dump
from .problems import DONE
from .screen import Screen
from .server import Source
from .text import one_line

Frame = dict[str, Any]
_STATES = {
    "stopped": "Not open",
    "starting": "Starting",
    "ready": "Open",
    "following": "Open, following the file",
    "failed": "Failed",
}


async def notebook(args: argparse.Namespace, source: Source, screen: Screen) -> int:
    """Show the notebook, or do one thing with it and show what it is then."""
    server = await source.get()
    rest, address = Rest(source), f"api/chats/{segment(args.chat)}/notebook"
    if args.do is None:
        found = await rest("GET", address)
    elif args.do in ("take", "give"):
        done = await rest("POST", f"{address}/{args.do}", {})
        if args.json:
            dump(screen, done)
            return DONE
        _said(screen, args, done)
        return DONE
    else:
        what = {"what": args.do} if args.do in ("kernel", "editor") else {}
        found = await rest("POST", f"{address}/{'restart' if what else args.do}", what)
    if args.json:
        dump(screen, found)
        return DONE
    _show(screen, found, f"{server.where.rstrip('/')}/postdoc/notebook/{segment(args.chat)}")
    return DONE


def _said(screen: Screen, args: argparse.Namespace, done: Frame) -> None:
    if args.do == "take":
        screen.line("You have the notebook: no agent changes it until you give it back.", "bold")
        if done.get("working"):
            screen.line("The agent finishes the step that it is at, then it waits.")
        screen.line(f"Give it back with: {me()} notebook {one_line(args.chat)} --give", "dim")
        return
    cells = done.get("cells") or {}
    shown = ", ".join(f"{one_line(name)} ({one_line(what)})" for name, what in cells.items())
    screen.line("The agent has the notebook again.", "bold")
    screen.line(f"Changed by you: {shown}." if shown else "No cell was changed.")
    if done.get("commit"):
        screen.line(f"Commit {one_line(done['commit'])[:10]}")
    if done.get("runId"):
        screen.line(f"The agent goes on. Follow it with: {me()} watch {one_line(args.chat)} --until-done", "dim")


def _show(screen: Screen, found: Frame, page: str) -> None:
    state = _STATES.get(str(found.get("state")), one_line(found.get("state")))
    screen.line(f"{state}: {one_line(found.get('path') or 'there is no notebook yet')}", "bold")
    if found.get("message"):
        screen.line(one_line(found["message"], 500), "yellow")
    if not found.get("path"):
        return
    if found.get("hand") == "person":
        who = "You have it" if found.get("mine") else f"{one_line(found.get('holder'))} has it"
        screen.line(f"{who}; the agent waits before its next step.")
    else:
        screen.line("The agent has it" + (" and is at work." if found.get("running") else "."))
    if found.get("state") in ("ready", "following"):
        screen.line(f"Kernel {one_line(found.get('kernel'))}, open in {found.get('viewers', 0)} places")
    if not found.get("sandboxed"):
        screen.line(f"Without a sandbox. {one_line((found.get('sandbox') or {}).get('why') or '', 500)}", "yellow")
    screen.line(f"Page: {page}", "dim")
