"""What a command writes: plain lines, and on a terminal one live line and text that streams."""

from __future__ import annotations

import os
import shutil
import sys
from typing import TextIO

from .text import Cleaner, clean, one_line, wrap

_STYLES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "cyan": "36"}


class Screen:
    """Writes to `out`. Only a terminal gets colours (unless NO_COLOR), a live line and streamed text."""

    def __init__(self, out: TextIO | None = None) -> None:
        self.out = out or sys.stdout
        self.terminal = self.out.isatty() and os.environ.get("TERM") != "dumb"
        self.colour = self.terminal and not os.environ.get("NO_COLOR")
        self._live = ""
        self._column = 0
        self._cleaner = Cleaner()

    @property
    def width(self) -> int:
        """Columns to fill; anything that is not a terminal gets lines of any length."""
        return min(shutil.get_terminal_size((80, 24)).columns, 110) if self.terminal else 100_000

    def style(self, text: str, *names: str) -> str:
        """`text` with colours when this screen shows them."""
        if not self.colour or not names:
            return text
        return f"\x1b[{';'.join(_STYLES[name] for name in names)}m{text}\x1b[0m"

    def line(self, text: str = "", *styles: str, indent: str = "") -> None:
        """One paragraph, wrapped to the width. Everything unsafe for a terminal is taken out."""
        self._hide()
        lines = wrap(text, self.width, indent) if text else [""]
        self.out.write("".join(self.style(part, *styles) + "\n" for part in lines))
        self._show()
        self.out.flush()

    def raw(self, text: str) -> None:
        """One line that is already in its final form (JSON)."""
        self.out.write(text + "\n")
        self.out.flush()

    def live(self, text: str) -> None:
        """The line that says what goes on now; a terminal keeps it at the bottom, others do not show it."""
        if not self.terminal:
            return
        if self._column:
            return  # text is streaming: it says enough
        self._hide()
        self._live = one_line(text, self.width - 1)
        self._show()
        self.out.flush()

    def stream(self, piece: str, *styles: str) -> None:
        """A piece of text that goes on, wrapped at words. Call `end_stream` after the last one."""
        self._hide()
        for word in _words(self._cleaner.feed(piece)):
            if word == "\n":
                self._column = 0
                self.out.write("\n")
                continue
            if self._column + len(word.rstrip(" ")) > self.width - 1 and self._column:
                self.out.write("\n")
                self._column = 0
                word = word.lstrip(" ")
            self.out.write(self.style(word, *styles))
            self._column += len(word)
        self.out.flush()

    def end_stream(self) -> None:
        """The streamed text is complete."""
        self._cleaner = Cleaner()
        if self._column:
            self.out.write("\n")
            self._column = 0
        self._show()
        self.out.flush()

    def close(self) -> None:
        """Leave the terminal as it was found."""
        self._hide()
        self._live = ""
        self.out.flush()

    def _hide(self) -> None:
        if self._live and not self._column:
            self.out.write("\r\x1b[K")

    def _show(self) -> None:
        if self._live and not self._column:
            self.out.write(self.style(self._live, "dim"))


def _words(text: str) -> list[str]:
    """Words with the blanks that follow them, and newlines on their own."""
    words: list[str] = []
    for number, line in enumerate(clean(text).split("\n")):
        if number:
            words.append("\n")
        start = 0
        for at in range(1, len(line)):
            if line[at - 1] == " " and line[at] != " ":
                words.append(line[start:at])
                start = at
        if line[start:]:
            words.append(line[start:])
    return words
