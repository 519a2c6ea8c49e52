"""When an agent asks: what a person at the terminal may type, and what everybody else is told."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable
from typing import Any

from .client import Link
from .names import me
from .problems import Problem
from .screen import Screen
from .text import clean, one_line, when

Frame = dict[str, Any]
ASKS = frozenset({"question", "approval_request"})
SETTLES = frozenset({"answered", "approval_resolved"})
CHOICES = "a allow once, s allow in this chat, d deny"
_DECISIONS: dict[str, tuple[str, str | None]] = {
    **dict.fromkeys(("a", "y", "yes", "allow", "once"), ("allow", "once")),
    **dict.fromkeys(("s", "session"), ("allow", "session")),
    "always": ("allow", "always"),
    **dict.fromkeys(("d", "n", "no", "deny"), ("deny", None)),
}


def answer_fields(frame: Frame, text: str) -> dict[str, Any] | None:
    """What a person typed, as fields of `respond`: a decision for an approval, else the text or the numbered option.

    None for a decision that is none of the choices: nothing is allowed or denied by a slip.
    """
    if frame.get("type") == "approval_request":
        decision, scope = _DECISIONS.get(text.lower(), (None, None))
        return None if decision is None else {"decision": decision, "scope": scope}
    options = frame.get("options") or []
    if text.isdigit() and 1 <= int(text) <= len(options):
        text = str(options[int(text) - 1])
    return {"answer": text}


def answer_command(chat: str, frame: Frame) -> str:
    """The command that answers `frame`; pasted as it stands it answers nothing (with `|` a shell would allow)."""
    example = "allow/deny" if frame.get("type") == "approval_request" else '"…"'
    return f"{me()} respond {chat} {one_line(frame.get('requestId'))} {example}"


def how_to_answer(chat: str, frame: Frame) -> str:
    """What to do about `frame` away from this terminal."""
    until = f" Until {when(frame['deadline'])}, then it is denied." if frame.get("deadline") else ""
    return f"It waits for an answer.{until} Answer with: {answer_command(chat, frame)}"


class Keyboard:
    """Lines that a person types at the terminal, while events go on arriving; `line` gets each, None at the end."""

    def __init__(self, line: Callable[[str | None], None]) -> None:
        self._line = line
        self._on = False

    def open(self) -> None:
        """Begin to listen."""
        if not self._on:
            self._on = True
            asyncio.get_running_loop().add_reader(sys.stdin.fileno(), self._read)

    def close(self) -> None:
        """Listen no longer."""
        if self._on:
            self._on = False
            asyncio.get_running_loop().remove_reader(sys.stdin.fileno())

    def _read(self) -> None:
        data = os.read(sys.stdin.fileno(), 65536)
        if not data:
            self.close()
            self._line(None)
            return
        for line in data.decode("utf-8", "replace").splitlines():
            if text := line.strip():
                self._line(text)


class Prompt:
    """Asks the person at the terminal, without holding up the events; the answer may also come from elsewhere.

    Several requests may be open at once: they are asked one after another.
    """

    def __init__(self, link: Link, screen: Screen) -> None:
        self._link = link
        self._screen = screen
        self._open: dict[str, Frame] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def asking(self) -> bool:
        """Whether the next line is an answer."""
        return bool(self._open)

    def ask(self, frame: Frame) -> None:
        """Wait for a line that answers `frame`."""
        self._open[str(frame.get("requestId"))] = frame
        if len(self._open) == 1:
            self._hint(frame)

    def settled(self, frame: Frame) -> None:
        """A request was answered, here or elsewhere, or will never be."""
        first = next(iter(self._open), None)
        id = str(frame.get("requestId"))
        if self._open.pop(id, None) is not None and id == first:
            self._next()

    def drop(self) -> None:
        """The run ended: nobody waits for an answer any more."""
        self._open.clear()

    def typed(self, text: str) -> None:
        """Take one line as the answer to the oldest open request."""
        frame = next(iter(self._open.values()))
        fields = answer_fields(frame, text)
        if fields is None:
            self._screen.line(f"“{clean(text)}” is none of: {CHOICES}.", "yellow")
            return
        task = asyncio.create_task(self._answer(frame, fields))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _hint(self, frame: Frame) -> None:
        hint = "a number or text" if frame.get("options") else "text"
        hint = CHOICES if frame.get("type") == "approval_request" else hint
        self._screen.live("")
        self._screen.line(f"Your answer ({hint}), then Enter:", "bold")

    def _next(self) -> None:
        if frame := next(iter(self._open.values()), None):
            self._screen.line(f"Next: {one_line(frame.get('what') or frame.get('question'))}", "bold")
            self._hint(frame)

    async def _answer(self, frame: Frame, fields: dict[str, Any]) -> None:
        try:
            await self._link.send("respond", requestId=frame.get("requestId"), **fields)
        except Problem as problem:
            self._screen.line(f"! {problem.message}", "red")
            if frame.get("requestId") in self._open:
                self._hint(frame)
