"""`jupyter postdoc requests` and `respond`: what agents ask, in all chats, and the answers."""

from __future__ import annotations

import argparse
from typing import Any

from .asking import ASKS, SETTLES, answer_command
from .client import Rest, new_id, segment
from .output import acknowledged, dump
from .problems import DONE, Problem, usage
from .render import shown_input
from .screen import Screen
from .server import Source
from .text import clean, one_line, when

Frame = dict[str, Any]
AT_WORK = frozenset({"queued", "starting", "running", "waiting", "stopping", "interrupted"})
SHOWN_LINES = 8


async def finals(rest: Rest, chat: str) -> list[Frame]:
    """All final events of a chat."""
    events: list[Frame] = []
    while True:
        after = events[-1]["seq"] if events else 0
        page = await rest("GET", f"api/chats/{segment(chat)}/messages", after=after, limit=1000)
        if not page:
            return events
        events += page


def unsettled(events: list[Frame]) -> list[Frame]:
    """The requests among these events that nobody has answered, with the input of the call they are about."""
    calls = {e.get("toolId"): e.get("toolInput") for e in events if e.get("type") == "tool_use"}
    asked: dict[str, Frame] = {}
    for event in events:
        if event.get("type") in ASKS:
            more = {"toolInput": calls[event["toolId"]]} if event.get("toolId") in calls else {}
            asked[str(event.get("requestId"))] = event | more
        elif event.get("type") in SETTLES:
            asked.pop(str(event.get("requestId")), None)
        elif event.get("type") == "result":  # the run is over: nobody waits for an answer
            ended = event.get("runId")
            asked = {id: e for id, e in asked.items() if e.get("runId") != ended}
    return list(asked.values())


async def requests(args: argparse.Namespace, source: Source, screen: Screen) -> int:
    """List what waits for an answer, in one chat or in all that are at work."""
    await source.get()
    rest = Rest(source)
    if args.chat:
        chats = [await rest("GET", f"api/chats/{segment(args.chat)}")]
    else:
        chats = [c for c in await rest("GET", "api/chats", limit=1000) if c.get("state") in AT_WORK]
    found = [(chat, event) for chat in chats for event in unsettled(await finals(rest, chat["id"]))]
    if args.json:
        dump(screen, [event for _, event in found])
        return DONE
    if not found:
        screen.line("Nobody waits for an answer.")
    for chat, event in found:
        screen.line(f"{one_line(chat.get('title') or chat['id'])} ({chat['id']})", "dim")
        _show(screen, chat["id"], event)
    return DONE


def _show(screen: Screen, chat: str, event: Frame) -> None:
    if event.get("type") == "approval_request":
        tool = f" ({one_line(event['toolName'])})" if event.get("toolName") else ""
        screen.line(f"? May the agent do this: {clean(event.get('what', ''))}{tool}", "bold")
        lines = shown_input(event.get("toolInput") or {})
        for line in lines[:SHOWN_LINES]:
            screen.line(line, indent="    ")
        if len(lines) > SHOWN_LINES:
            screen.line(f"… and {len(lines) - SHOWN_LINES} more lines; `chats show {chat}` has them all", indent="    ")
    else:
        screen.line(f"? {clean(event.get('question', ''))}", "bold")
        for option in event.get("options") or []:
            screen.line(f"- {one_line(option)}", indent="    ")
    if event.get("deadline"):
        screen.line(f"until {when(event['deadline'])}", "dim", indent="  ")
    screen.line(answer_command(chat, event), indent="  ")
    screen.line()


async def respond(args: argparse.Namespace, source: Source, screen: Screen) -> int:
    """Answer a question or an approval."""
    await source.get()
    rest, path = Rest(source), f"api/chats/{segment(args.chat)}"
    asked = next((e for e in await finals(rest, args.chat) if e.get("requestId") == args.request), {})
    fields: Frame = {"requestId": args.request}
    if asked.get("type") == "approval_request":
        if args.answer not in {"allow", "deny"}:
            raise usage("The agent asks for leave: the answer is allow or deny.")
        fields |= {"decision": args.answer}
        if args.scope and args.answer == "allow":
            fields["scope"] = args.scope
    elif args.scope:
        raise usage("--scope is for `allow`; this is a question.", "Leave --scope out.")
    else:
        fields["answer"] = args.answer
    try:
        ack = await rest("POST", f"{path}/respond", fields, key=new_id())
    except Problem as problem:
        if problem.code == "not_found" and not problem.next:
            problem.next = "jupyter postdoc requests lists what waits for an answer."
        raise
    acknowledged(args, screen, ack, "Answered.")
    return DONE
