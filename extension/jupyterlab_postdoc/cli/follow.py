"""Follow a session on the screen: until its run ends, or for as long as a person looks."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from .client import Link
from .names import me
from .problems import Problem
from .render import Story
from .screen import Screen
from .server import Source
from .text import one_line

Frame = dict[str, Any]
ENDED = frozenset({"finished", "stopped", "error", "paused"})
SETTLE_S = 2.0


@dataclass
class Ending:
    """How a run ended: its `result`, the session's last state, the last error and what it made."""

    result: Frame | None = None
    state: str = ""
    reason: str = ""
    error: Frame | None = None
    unanswered: Frame | None = None
    artifacts: dict[str, Frame] = field(default_factory=dict)
    commits: int = 0

    @property
    def success(self) -> bool:
        """Whether the run did what it was asked for."""
        return bool(self.result and self.result.get("success"))

    def note(self, frame: Frame) -> None:
        """Remember what the end needs to know."""
        kind = frame.get("type")
        if kind == "result":
            self.result = frame
        elif kind == "session_state":
            self.state, self.reason = str(frame.get("status")), str(frame.get("reason") or "")
        elif kind == "error":
            self.error = frame
        elif kind == "artifact":
            self.artifacts[str(frame.get("artifact"))] = frame
            self.commits += frame.get("artifact") == "commit"


class Interrupts:
    """Ctrl-C: the first asks for a graceful stop, the second stops at once, the third gives up waiting."""

    def __init__(self, link: Link, say: Callable[[str], None], *, stoppable: bool) -> None:
        self._link = link
        self._say = say
        self._stoppable = stoppable
        self._count = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._main = asyncio.current_task()

    def __enter__(self) -> Interrupts:
        asyncio.get_running_loop().add_signal_handler(signal.SIGINT, self._interrupt)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.get_running_loop().remove_signal_handler(signal.SIGINT)
        for task in self._tasks:
            task.cancel()

    def _interrupt(self) -> None:
        self._count += 1
        if not self._stoppable and self._main is not None:
            self._main.cancel()
        elif self._count == 1:
            self._say("Stopping: the current step is finished first. Press Ctrl-C again to stop at once.")
            self._stop("graceful")
        elif self._count == 2:
            self._say("Stopping at once.")
            self._stop("now")
        elif self._main is not None:
            self._main.cancel()

    def _stop(self, how: str) -> None:
        async def ask() -> None:
            with contextlib.suppress(Problem):
                await self._link.send("stop", how=how)

        task = asyncio.create_task(ask())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class Prompt:
    """Asks the person at the terminal, without holding up the events; the answer may also come from elsewhere."""

    def __init__(self, link: Link, screen: Screen) -> None:
        self._link = link
        self._screen = screen
        self._open: Frame | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._last: Frame | None = None

    def ask(self, frame: Frame) -> None:
        """Wait for a line on standard input and send it as the answer to `frame`."""
        hint = "a number or text" if frame.get("options") else "text"
        hint = "y or n" if frame.get("type") == "approval_request" else hint
        self._screen.live("")
        self._screen.line(f"Your answer ({hint}), then Enter:", "bold")
        if self._open is None:
            asyncio.get_running_loop().add_reader(sys.stdin.fileno(), self._read)
        self._open = frame

    def close(self) -> None:
        """Stop asking: it was answered, or the run ended."""
        if self._open is not None:
            self._open = None
            asyncio.get_running_loop().remove_reader(sys.stdin.fileno())

    def _read(self) -> None:
        line = os.read(sys.stdin.fileno(), 65536)
        frame = self._open
        if not line or frame is None:
            self.close()
            return
        text = line.decode("utf-8", "replace").strip()
        if not text:
            return
        self.close()
        task = asyncio.create_task(self._answer(frame, text))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, frame: Frame, text: str) -> None:
        try:
            await self._link.send("respond", requestId=frame.get("requestId"), **answer_fields(frame, text))
        except Problem as problem:
            self._screen.line(f"! {problem.message}", "red")
            self.ask(frame)


def answer_fields(frame: Frame, text: str) -> dict[str, Any]:
    """What a person typed, as fields of `respond`: a decision for an approval, else the text or the numbered option."""
    if frame.get("type") == "approval_request":
        return {"decision": "allow" if text.lower() in {"y", "yes", "allow"} else "deny"}
    options = frame.get("options") or []
    if text.isdigit() and 1 <= int(text) <= len(options):
        text = str(options[int(text) - 1])
    return {"answer": text}


class Follower:
    """Shows a session's events, as words or as the frames themselves (`--json`)."""

    def __init__(self, source: Source, screen: Screen, *, as_json: bool) -> None:
        self._source = source
        self.screen = screen
        self.as_json = as_json
        self.story = Story(screen)
        self.ending = Ending()
        self.types: Sequence[str] | None = None
        self._prompt: Prompt | None = None
        self._run: str | None = None

    def say(self, text: str) -> None:
        """A word of this program itself: on the screen, or on standard error beside JSON."""
        if self.as_json:
            print(text, file=sys.stderr, flush=True)
        else:
            self.screen.line(text, "yellow")

    def link(self, chat: str, *, after: int = 0, types: Sequence[str] | None = None) -> Link:
        """The connection to follow `chat` with."""
        return Link(self._source, chat, after=after, types=types, notice=self.say)

    def show(self, frame: Frame, text: str) -> None:
        """Show one event, unless only other types are asked for."""
        if self.types and frame.get("type") not in self.types:
            return
        if self.as_json:
            self.screen.raw(text)
        else:
            self.story.show(frame)

    async def until_done(
        self,
        link: Link,
        *,
        command: str | None = None,
        leave: Callable[[Frame], bool] = lambda _: False,
        seen: int = 0,
        busy: bool = True,
        stoppable: bool = True,
    ) -> Ending:
        """Follow until the run that `command` started (or, without it, the run under way) has ended.

        Events up to `seen` are history; when the session is not `busy`, its end is among them. `leave` is asked at each
        question: when it answers True, the run is stopped and the question returned. Ctrl-C stops a `stoppable` run.
        """
        self._prompt = Prompt(link, self.screen) if stoppable and self._interactive else None
        with Interrupts(link, self.say, stoppable=stoppable):
            try:
                async for frame, text in _until_settled(link, self.ending, 0 if busy else seen):
                    self.show(frame, text)
                    if (seen == 0 or int(frame["seq"]) > seen or not busy) and self._concerns(frame, command):
                        self.ending.note(frame)
                        await self._ask(link, frame, leave)
            except BrokenPipeError:  # nobody reads what the run would say (`… | head`)
                if stoppable:
                    with contextlib.suppress(Problem, TimeoutError):
                        await asyncio.wait_for(link.send("stop", how="now"), 5)
                raise
        self.screen.close()
        return self.ending

    @property
    def _interactive(self) -> bool:
        return not self.as_json and self.screen.terminal and sys.stdin.isatty()

    def _concerns(self, frame: Frame, command: str | None) -> bool:
        """Whether an event belongs to the run that is waited for; a chat's queue may hold others before it."""
        if command and frame.get("type") == "user_message" and frame.get("id") == command:
            self._run = frame.get("runId")
        return self._run is None or frame.get("runId", self._run) == self._run

    async def _ask(self, link: Link, frame: Frame, leave: Callable[[Frame], bool]) -> None:
        kind = frame.get("type")
        if kind in {"question", "approval_request"}:
            if self._prompt is not None:
                self._prompt.ask(frame)
            elif leave(frame):
                self.ending.unanswered = frame
                with contextlib.suppress(Problem):
                    await link.send("stop", how="now")
            else:
                self.say(how_to_answer(link.chat, frame))
        elif kind in {"answered", "approval_resolved", "result"} and self._prompt is not None:
            self._prompt.close()


def how_to_answer(chat: str, frame: Frame) -> str:
    """The command that answers `frame`."""
    example = "allow|deny" if frame.get("type") == "approval_request" else '"…"'
    request = one_line(frame.get("requestId"))
    return f"It waits for an answer. Answer with: {me()} respond {chat} {request} {example}"


async def _until_settled(link: Link, ending: Ending, last: int) -> AsyncIterator[tuple[Frame, str]]:
    """Events until the result is there and the session's state says so too (or never does), or up to `last`."""
    events = link.events()
    try:
        while True:
            wait = SETTLE_S if ending.result is not None else None
            async with asyncio.timeout(wait):
                item = await anext(events)
            yield item
            if last:
                if item[0]["seq"] >= last:
                    return
                continue
            if ending.state in ENDED and (ending.result is not None or ending.state == "paused"):
                return
            if ending.result is not None and ending.state == "waiting":
                return
            if ending.state in {"stopped", "error"}:
                ending.result = ending.result or {}
    except TimeoutError:
        return
    finally:
        await events.aclose()
