"""`jupyter postdoc chat`: one message and its answer, or a conversation at the terminal."""

from __future__ import annotations

import argparse
import asyncio
import re
import sys
from typing import Any

from .asking import ASKS, SETTLES, Keyboard, Prompt
from .client import Link, Rest, new_id, segment
from .endings import exit_code, waits
from .follow import ENDED, Follower, Interrupts
from .names import me
from .problems import DONE, Problem, usage
from .screen import Screen
from .server import Source
from .text import one_line

Frame = dict[str, Any]
_ID = re.compile(r"[A-Za-z0-9_.-]{1,64}")
HINT = "Your message, then Enter (Ctrl-D leaves):"
HINT_BUSY = "Type to steer the agent, Ctrl-C to stop it."


async def chat(args: argparse.Namespace, source: Source, screen: Screen) -> int:
    """Say something in a new or an old chat and follow the answer; without a message, go on until Ctrl-D."""
    if len(args.words) > 2:
        raise usage("Give the message as one text (in quotes).", 'jupyter postdoc chat "How strong is momentum?"')
    message = args.words[-1] if len(args.words) == 2 else None
    if not args.words and not sys.stdin.isatty():
        message = "-"
    if message == "-" or args.words == ["-"]:
        args.words, message = args.words[:-1], sys.stdin.read()
    if message is not None and not message.strip():
        raise usage("There is nothing to send.", 'jupyter postdoc chat "How strong is momentum?"')
    await source.get()
    rest = Rest(source)
    found = await _known(rest, args.words[0]) if args.words else None
    if found is None and len(args.words) == 1 and message is None:
        message = args.words[0]
    if message is None and (args.json or not screen.terminal or not sys.stdin.isatty()):
        raise usage("A conversation needs a terminal.", "Give a message, or `-` to read it from standard input.")
    opened = await _open(rest, args, found, message)
    follower = Follower(source, screen, as_json=args.json)
    follower.patient = frozenset()
    if not args.json:
        _head(screen, opened, source)
    async with follower.link(opened["id"], after=int(opened.get("lastSeq") or 0)) as link:
        if message is None:
            await Conversation(link, follower).hold()
            screen.line(f"Carry on: {me()} chat {opened['id']}", "dim")
            return DONE
        return await one_answer(link, follower, message)


async def one_answer(link: Link, follower: Follower, message: str, mode: str = "queue") -> int:
    """Send one message and follow its answer to the end; the exit code."""
    id = new_id()
    follower.story.hidden.add(id)
    await link.send("chat", id=id, content=message, mode=mode)
    ending = await follower.until_done(link, command=id)
    if ending.waiting is not None:
        return waits(follower, link.chat, ending.waiting)
    if ending.result and not follower.as_json:
        follower.story.result_line(ending.result)
    return exit_code(ending)


async def _known(rest: Rest, word: str) -> Frame | None:
    """The chat of this id. A word that is none is the message, unless it can only be an id."""
    if not _ID.fullmatch(word):
        return None
    try:
        found: Frame = await rest("GET", f"api/chats/{segment(word)}")
    except Problem as problem:
        if problem.code == "not_found" and not word.startswith("c_"):
            return None
        raise
    return found


async def _open(rest: Rest, args: argparse.Namespace, found: Frame | None, message: str | None) -> Frame:
    """The chat to talk in, with the model and the persona that were asked for."""
    given = {name: value for name, value in (("model", args.model), ("persona", args.persona)) if value}
    if found is not None and args.repo:
        raise usage("A chat that exists keeps its place.", "Leave --repo out, or begin a new chat with it.")
    if found is None:
        if len(args.words) == 2:
            raise usage(f"There is no chat {one_line(args.words[0], 60)!r}.", "jupyter postdoc chats lists them.")
        title = one_line(message, 60) if message else None
        given |= {name: value for name, value in (("title", title), ("repository", args.repo)) if value}
        made: Frame = await rest("POST", "api/chats", given, key=new_id())
        return made
    if given:
        changed: Frame = await rest("PATCH", f"api/chats/{segment(found['id'])}", given, key=new_id())
        return changed
    return found


def _head(screen: Screen, chat: Frame, source: Source) -> None:
    assert source.server is not None
    model = one_line(chat.get("model") or "no model")
    how = "started for this command" if source.own else f"running at {source.server.where}"
    screen.line(f"Chat {chat['id']}; {model}, {one_line(chat.get('persona') or '')}; server {how}", "dim")


class Conversation:
    """A chat at the terminal. What is typed while the agent works steers it; when it asks, the next line answers."""

    def __init__(self, link: Link, follower: Follower) -> None:
        self._link = link
        self._follower = follower
        self._screen = follower.screen
        self._prompt = Prompt(link, self._screen)
        self._busy = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._main = asyncio.current_task()

    async def hold(self) -> None:
        """Go on until the person leaves."""
        keyboard = Keyboard(self._typed)
        keyboard.open()
        self._screen.live(HINT)
        try:
            with Interrupts(self._link, self._follower.say, idle=lambda: not self._busy) as interrupts:
                async for frame, text in self._link.events():
                    self._take(frame, text, interrupts)
        except asyncio.CancelledError:
            pass  # Ctrl-D, or Ctrl-C with nothing to stop
        finally:
            keyboard.close()
            for task in self._tasks:
                task.cancel()
            self._screen.close()

    def _take(self, frame: Frame, text: str, interrupts: Interrupts) -> None:
        self._follower.show(frame, text)
        kind = frame.get("type")
        if kind in ASKS:
            self._prompt.ask(frame)
        elif kind in SETTLES:
            self._prompt.settled(frame)
        elif kind == "result":
            self._prompt.drop()
            self._follower.story.result_line(frame)
        elif kind == "session_state":
            self._busy = frame.get("status") not in ENDED
            if not self._busy:
                interrupts.reset()
                self._screen.live(HINT)
            elif not self._prompt.asking:
                self._screen.live(HINT_BUSY)

    def _typed(self, text: str | None) -> None:
        if text is None:
            if self._main is not None:
                self._main.cancel()
        elif self._prompt.asking:
            self._prompt.typed(text)
        else:
            task = asyncio.create_task(self._say(text))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _say(self, text: str) -> None:
        id = new_id()
        self._follower.story.hidden.add(id)  # the terminal has shown it as it was typed
        try:
            await self._link.send("chat", id=id, content=text, mode="steer" if self._busy else "queue")
        except Problem as problem:
            self._screen.line(f"! {problem.message}", "red")
            if problem.next:
                self._screen.line(problem.next, indent="  ")
