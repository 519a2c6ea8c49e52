"""Follow a session on the screen: until its run ends, or for as long as a person looks."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from .asking import ASKS, SETTLES, Keyboard, Prompt, how_to_answer
from .client import Link
from .problems import Problem
from .render import Story
from .screen import Screen
from .server import Source

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
    waiting: Frame | None = None
    """What was asked when nobody was there to answer: the run waits, this command does not."""
    models: set[str] = field(default_factory=set)
    unpriced: bool = False
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
        elif kind == "usage":
            self.models.add(str(frame.get("model") or frame.get("provider") or ""))
            self.unpriced = self.unpriced or frame.get("cost") is None


class Interrupts:
    """Ctrl-C: the first asks for a graceful stop, the second stops at once, the third gives up waiting."""

    def __init__(
        self,
        link: Link,
        say: Callable[[str], None],
        *,
        stoppable: bool = True,
        idle: Callable[[], bool] = lambda: False,
    ) -> None:
        self._link = link
        self._say = say
        self._stoppable = stoppable
        self._idle = idle
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
        if (not self._stoppable or self._idle()) and self._main is not None:
            self._main.cancel()
        elif self._count == 1:
            self._say("Stopping: the current step is finished first. Press Ctrl-C again to stop at once.")
            self._stop("graceful")
        elif self._count == 2:
            self._say("Stopping at once.")
            self._stop("now")
        elif self._main is not None:
            self._main.cancel()

    def reset(self) -> None:
        """The run ended: the next Ctrl-C is a first one again."""
        self._count = 0

    def _stop(self, how: str) -> None:
        async def ask() -> None:
            with contextlib.suppress(Problem):
                await self._link.send("stop", how=how)

        task = asyncio.create_task(ask())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class Follower:
    """Shows a session's events, as words or as the frames themselves (`--json`)."""

    def __init__(self, source: Source, screen: Screen, *, as_json: bool) -> None:
        self._source = source
        self.screen = screen
        self.as_json = as_json
        self.story = Story(screen)
        self.ending = Ending()
        self.types: Sequence[str] | None = None
        self.patient = frozenset({"question"})
        """What is waited for when nobody is at the terminal; anything else that is asked ends the command."""
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
        self._prompt = prompt = Prompt(link, self.screen) if stoppable and self.interactive else None
        self._keyboard = Keyboard(lambda text: prompt.typed(text) if prompt and prompt.asking and text else None)
        with Interrupts(link, self.say, stoppable=stoppable):
            try:
                async with contextlib.aclosing(_until_settled(link, self.ending, 0 if busy else seen)) as events:
                    async for frame, text in events:
                        self.show(frame, text)
                        if (seen == 0 or int(frame["seq"]) > seen or not busy) and self._concerns(frame, command):
                            self.ending.note(frame)
                            await self._ask(link, frame, leave, stoppable)
                        if self.ending.waiting is not None:
                            break
            except BrokenPipeError:  # nobody reads what the run would say (`… | head`)
                if stoppable:
                    with contextlib.suppress(Problem, TimeoutError):
                        await asyncio.wait_for(link.send("stop", how="now"), 5)
                raise
            finally:
                self._keyboard.close()
        self.screen.close()
        return self.ending

    async def run(self, link: Link, run: str) -> Ending:
        """Follow this run, whose beginning is no message, to its end."""
        self.ending, self._run = Ending(), run
        return await self.until_done(link)

    @property
    def interactive(self) -> bool:
        return not self.as_json and self.screen.terminal and sys.stdin.isatty()

    def _concerns(self, frame: Frame, command: str | None) -> bool:
        """Whether an event belongs to the run that is waited for; a chat's queue may hold others before it."""
        if command and frame.get("type") == "user_message" and frame.get("id") == command:
            self._run = frame.get("runId")
        return self._run is None or frame.get("runId", self._run) == self._run

    async def _ask(self, link: Link, frame: Frame, leave: Callable[[Frame], bool], stoppable: bool) -> None:
        kind = frame.get("type")
        if kind in ASKS:
            if self._prompt is not None:
                self._prompt.ask(frame)
            elif leave(frame):
                self.ending.unanswered = frame
                with contextlib.suppress(Problem):
                    await link.send("stop", how="now")
            elif stoppable and kind not in self.patient:
                self.ending.waiting = frame
            else:
                self.say(how_to_answer(link.chat, frame))
        elif self._prompt is not None and kind in SETTLES:
            self._prompt.settled(frame)
        elif self._prompt is not None and kind == "result":
            self._prompt.drop()
        if self._prompt is not None:  # only now: a command in the background must not read from its terminal
            self._keyboard.open() if self._prompt.asking else self._keyboard.close()


async def _until_settled(link: Link, ending: Ending, last: int) -> AsyncGenerator[tuple[Frame, str], None]:
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
