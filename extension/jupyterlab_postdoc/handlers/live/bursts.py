"""When a page gets marimo's messages: those of a short run all at once, so that it draws once.

marimo tells a change of the notebook and each stage of the run that follows (queued, running, output, idle) one by
one, some milliseconds apart. A page draws each of them, and that takes longer than a short run: a person would see the
cell empty, then queued, and its output two pictures late. So what begins with a change or a run waits for the run's
end, but not for long.
"""

from __future__ import annotations

import re

HOLD_S = 0.04
"""A message waits no longer than this for the end of a run: nobody sees so short a delay."""
MOST = 1 << 20
"""Nor does more than this wait, in characters or bytes."""
BEGINS = frozenset({"notebook-document-transaction", "remove-ui-elements", "variables"})
"""After these a run may follow: of cells that were changed, that give up their controls, that define anew."""

TOGETHER = "postdoc=together"
"""In the query of a socket: the page can read several messages from one. Our script in marimo's page can."""
MARK = "\x1e"
"""Stands before each of several messages in one (RFC 7464); JSON holds none."""

Message = str | bytes


class Bursts:
    """The messages for one page, in their order; times are those of the event loop, in seconds."""

    def __init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        self._held: list[Message] = []
        self._size = 0
        self._until: float | None = None
        self._queued = self._ended = False

    def add(self, message: Message, now: float) -> None:
        """Take what comes next."""
        self._held.append(message)
        self._size += len(message)
        op = kind(message)
        queued = op == "cell-op" and isinstance(message, str) and '"status":"queued"' in message
        if self._until is None and (queued or op in BEGINS):
            self._until = now + HOLD_S
        self._queued = self._queued or queued
        self._ended = self._ended or (self._queued and op == "completed-run")  # one without a cell ends nothing

    def wait(self, now: float) -> float | None:
        """How long what is held stays; 0: it goes now, None: nothing is held."""
        if not self._held:
            return None
        if self._until is None or self._ended or self._size > MOST:
            return 0.0
        return max(0.0, self._until - now)

    def take(self) -> list[Message]:
        """All that is held, which goes out now."""
        held = self._held
        self._begin()
        return held


def kind(message: Message) -> str:
    """What marimo calls a message; empty for what is none of its messages."""
    found = re.match(r'\{"op": ?"([a-z-]+)"', message) if isinstance(message, str) else None
    return found[1] if found else ""


def together(messages: list[Message]) -> list[Message]:
    """Several messages as one, which a page handles as one; those that are not text stay as they are."""
    texts = [message for message in messages if isinstance(message, str)]
    if len(texts) < 2 or len(texts) < len(messages):
        return messages
    return ["".join(MARK + text for text in texts)]
