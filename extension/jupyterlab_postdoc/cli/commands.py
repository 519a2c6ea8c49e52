"""The shorter commands: chats, watch, send, stop, post, rooms, status."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from typing import Any

from .answers import finals, unsettled
from .chat import one_answer
from .client import Link, Rest, new_id, segment
from .endings import exit_code
from .follow import Follower
from .output import acknowledged, dump, rows
from .problems import DONE, FAILED, usage
from .screen import Screen
from .server import Source
from .text import clean, one_line, when

Frame = dict[str, Any]
ROOM = "room:"


async def chats(args: argparse.Namespace, source: Source, screen: Screen) -> int:
    """List, show or delete chats."""
    if args.action != "list" and not args.chat:
        raise usage(f"`chats {args.action}` needs the id of a chat.", "jupyter postdoc chats lists them.")
    await source.get()
    rest = Rest(source)
    if args.action == "list":
        query = {"limit": min(args.limit, 1000), "archived": "true" if args.archived else None}
        return _list_chats(args, screen, await rest("GET", "api/chats", **query))
    if args.action == "delete":
        await rest("DELETE", f"api/chats/{segment(args.chat)}")
        if not args.json:
            screen.line(f"Deleted {one_line(args.chat)}. Its repository was left as it is.")
        return DONE
    chat = await rest("GET", f"api/chats/{segment(args.chat)}")
    events = await finals(rest, args.chat)
    if args.json:
        dump(screen, chat | {"messages": events})
        return DONE
    screen.line(one_line(chat.get("title") or chat["id"]), "bold")
    screen.line(f"{chat['id']}, {one_line(chat.get('state'))}, begun {when(chat.get('createdAt'))}", "dim")
    follower = Follower(source, screen, as_json=False)
    for event in events:
        if event.get("type") not in {"agent_status", "result"}:
            follower.story.show(event)
        elif event.get("type") == "result":
            follower.story.result_line(event)
    project = chat.get("project") or {}
    for name in ("path", "notebook", "report", "commit"):
        if project.get(name):
            screen.line(f"{name:<9} {one_line(project[name])}", "dim")
    return DONE


def _list_chats(args: argparse.Namespace, screen: Screen, found: list[Frame]) -> int:
    if args.json:
        dump(screen, found)
    elif not found:
        screen.line('There are no chats yet. Begin with: jupyter postdoc research "Short Term Reversal"')
    else:
        lines = [[c["id"], one_line(c.get("state")), when(c.get("updatedAt")), one_line(c.get("title"))] for c in found]
        rows(screen, ["CHAT", "STATE", "CHANGED", "TITLE"], lines)
    return DONE


async def watch(args: argparse.Namespace, source: Source, screen: Screen) -> int:
    """Follow a chat or a room."""
    if bool(args.chat) == bool(args.room):
        raise usage("Name a chat, or a room with --room.", "jupyter postdoc chats lists the chats.")
    if args.room:
        args.room, args.agent, args.kind, args.after_id = args.room, None, None, args.after
        return await _watch_room(args, source, screen)
    await source.get()
    chat = await Rest(source)("GET", f"api/chats/{segment(args.chat)}")
    follower = Follower(source, screen, as_json=args.json)
    if not args.until_done:
        async with follower.link(args.chat, after=args.after or 0, types=args.types) as link:
            await _look(link, follower)
        return DONE
    follower.types = args.types
    seen, busy = int(chat.get("lastSeq") or 0), _busy(chat)
    if chat.get("state") == "waiting" and (open := unsettled(await finals(Rest(source), chat["id"]))):
        seen, busy = min(int(event["seq"]) for event in open) - 1, True  # what is asked is not history
    async with follower.link(args.chat, after=args.after or 0) as link:
        ending = await follower.until_done(link, seen=seen, busy=busy, stoppable=False)
    return exit_code(ending)


def _busy(chat: Frame) -> bool:
    return chat.get("state") in {"queued", "starting", "running", "stopping", "interrupted"}


async def _look(link: Link, follower: Follower) -> None:
    """Show what comes until Ctrl-C."""
    _leave_on_interrupt()
    try:
        async for frame, text in link.events():
            follower.show(frame, text)
            if frame.get("type") == "result" and not follower.as_json:
                follower.story.result_line(frame)
    except asyncio.CancelledError:
        follower.screen.close()


def _leave_on_interrupt() -> None:
    """Ctrl-C is the normal end of watching."""
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, task.cancel)


async def send(args: argparse.Namespace, source: Source, screen: Screen) -> int:
    """Say something in a chat, and with --wait follow the answer."""
    text = args.text
    if text == "-":
        text = sys.stdin.read()
    if not text.strip():
        raise usage("There is nothing to send.")
    await source.get()
    rest = Rest(source)
    chat = await rest("GET", f"api/chats/{segment(args.chat)}")
    if not args.wait:
        ack = await rest(
            "POST", f"api/chats/{segment(args.chat)}/messages", {"content": text, "mode": args.mode}, key=new_id()
        )
        acknowledged(args, screen, ack, "Queued: the agent is busy." if ack.get("queued") else "Sent.")
        return DONE
    follower = Follower(source, screen, as_json=args.json)
    follower.patient = frozenset()
    async with follower.link(args.chat, after=int(chat.get("lastSeq") or 0)) as link:
        return await one_answer(link, follower, text, args.mode)


async def stop(args: argparse.Namespace, source: Source, screen: Screen) -> int:
    """Ask for the end of a run."""
    await source.get()
    how = "now" if args.now else "graceful"
    ack = await Rest(source)("POST", f"api/chats/{segment(args.chat)}/stop", {"how": how}, key=new_id())
    acknowledged(args, screen, ack, "Stopping at once." if args.now else "Stopping after the current step.")
    return DONE


async def post(args: argparse.Namespace, source: Source, screen: Screen) -> int:
    """Post a message in a room."""
    room, words = (args.room, args.words) if args.room else (args.words[0], args.words[1:])
    if len(words) != 1:
        raise usage("Give a room and one text (in quotes).", 'jupyter postdoc post lab "Tests pass." --agent codex')
    await source.get()
    body = {"room": room.removeprefix(ROOM), "content": words[0], "agent": args.agent, "kind": args.kind}
    message = await Rest(source)("POST", "api/messages", body, key=new_id())
    acknowledged(args, screen, message, f"Message {message['id']} in room {one_line(room)}.")
    return DONE


async def rooms(args: argparse.Namespace, source: Source, screen: Screen) -> int:
    """List rooms, read one or follow one."""
    if args.action != "list" and not args.room:
        raise usage(f"`rooms {args.action}` needs the name of a room.", "jupyter postdoc rooms lists them.")
    if args.action == "watch":
        return await _watch_room(args, source, screen)
    await source.get()
    rest = Rest(source)
    if args.action == "list":
        found = await rest("GET", "api/rooms")
        if args.json:
            dump(screen, found)
        elif not found:
            screen.line('There are no rooms yet. Posting makes one: jupyter postdoc post lab "Hello" --agent me')
        else:
            lines = [[one_line(r.get("room")), str(r.get("messages")), when(r.get("last"))] for r in found]
            rows(screen, ["ROOM", "MESSAGES", "LAST"], lines)
        return DONE
    query = {"room": args.room.removeprefix(ROOM), "limit": min(args.limit, 1000), "after_id": args.after_id}
    messages = await rest("GET", "api/messages", **query)
    if args.json:
        dump(screen, messages)
    for message in [] if args.json else messages:
        screen.line(_room_line(message))
    return DONE


def _room_line(message: Frame) -> str:
    seq = message.get("seq", message.get("id"))
    head = f"{seq}  {when(message.get('ts'))}  {one_line(message.get('agent'))} ({one_line(message.get('kind'))})"
    return f"{head}: {clean(message.get('content', ''))}"


async def _watch_room(args: argparse.Namespace, source: Source, screen: Screen) -> int:
    await source.get()
    room = args.room.removeprefix(ROOM)
    after = args.after_id
    if after is None:
        recent = await Rest(source)("GET", "api/messages", room=room, limit=20)
        after = int(recent[0]["id"]) - 1 if recent else 0
    follower = Follower(source, screen, as_json=args.json)
    _leave_on_interrupt()
    async with follower.link(ROOM + room, after=after, types=["user_message"]) as link:
        try:
            async for frame, text in link.events():
                if (args.agent and frame.get("agent") != args.agent) or (args.kind and frame.get("kind") != args.kind):
                    continue
                screen.raw(text) if args.json else screen.line(_room_line(frame))
        except asyncio.CancelledError:
            screen.close()
    return DONE


async def status(args: argparse.Namespace, source: Source, screen: Screen) -> int:
    """Which server, and how its parts are."""
    server = await source.get()
    health = await Rest(source)("GET", "api/health")
    how = "started for this command" if source.own else "running"
    if args.json:
        about = {"url": server.where, "root": str(server.root or ""), "started": source.own is not None}
        dump(screen, about | {"health": health})
        return DONE
    screen.line(f"Server     {how} at {server.where}" + (f", folder {server.root}" if server.root else ""))
    screen.line(f"Postdoc    {one_line(health.get('version', ''))}")
    for name, part in health.get("parts", {}).items():
        ok = bool(part.get("ok"))
        state = "ok" if ok else "NOT OK"
        screen.line(f"{one_line(name):<10} {state:<7} {one_line(part.get('message'))}", *([] if ok else ["yellow"]))
        for hint in [part.get("next"), *part.get("warnings", [])]:
            if hint:
                screen.line(clean(hint), indent=" " * 19)
    return DONE if health.get("ok") else FAILED
