"""Text for a terminal: nothing an agent wrote may move the cursor, change the window or hide what it says."""

from __future__ import annotations

import re
import textwrap
from datetime import datetime

_ESCAPES = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # CSI: colours, cursor
    r"|\x1b[\]PX^_].*?(?:\x07|\x1b\\|\x9c|$)"  # OSC, DCS, SOS, PM, APC: titles, clipboard, links
    r"|\x9b[0-?]*[ -/]*[@-~]"
    r"|\x1b[ -/]*[0-~]?",
    re.DOTALL,
)
_BIDI = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff"
_CONTROLS = re.compile(rf"[\x00-\x08\x0b-\x1f\x7f-\x9f{_BIDI}]")
_UNFINISHED = re.compile(r"(?:\x1b(?:\[[0-?]*[ -/]*|[\]PX^_][^\x07\x1b\x9c]*\x1b?|[ -/]*)|\x9b[0-?]*[ -/]*|\r)$")
_HELD = 4096


def clean(text: object) -> str:
    """`text` without escape sequences, control characters and direction overrides; newlines and tabs stay."""
    out = str(text).replace("\r\n", "\n").replace("\r", "\n").replace("\u2028", "\n").replace("\u2029", "\n")
    return _CONTROLS.sub("", _ESCAPES.sub("", out))


def one_line(text: object, width: int = 0) -> str:
    """`text` on one line, cut with an ellipsis when longer than `width` (0: any length)."""
    line = " ".join(clean(text).split())
    return line if not width or len(line) <= width else line[: max(width - 1, 0)] + "…"


class Cleaner:
    """`clean` for text that comes in pieces: an escape sequence cut in two is still taken out whole."""

    def __init__(self) -> None:
        self._held = ""

    def feed(self, piece: str) -> str:
        """The part of the text so far that is safe to show."""
        text = self._held + piece
        cut = _UNFINISHED.search(text)
        if cut and len(text) - cut.start() <= _HELD:
            self._held = text[cut.start() :]
            text = text[: cut.start()]
        else:
            self._held = ""
        return clean(text)


def wrap(text: str, width: int, indent: str = "") -> list[str]:
    """Paragraphs and list items folded at `width` columns; lines that fit stay as they are."""
    lines: list[str] = []
    for line in clean(text).expandtabs(4).split("\n"):
        if len(indent) + len(line) <= width:
            lines.append(indent + line if line else "")
            continue
        body = line.lstrip()
        marker = re.match(r"(?:[-*•]|\d+[.)])\s+", body)
        lead = indent + line[: len(line) - len(body)]
        hang = lead + " " * (marker.end() if marker else 0)
        lines += textwrap.wrap(
            body, max(width, 20), initial_indent=lead, subsequent_indent=hang, break_long_words=False
        ) or [""]
    return lines


def bar(progress: float, cells: int = 16) -> str:
    """A progress bar in plain characters."""
    full = round(max(0.0, min(1.0, progress)) * cells)
    return f"[{'#' * full}{'-' * (cells - full)}]"


def number(value: object) -> str:
    """A figure with as many digits as a reader wants."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return clean(value)
    if isinstance(value, int) or value == int(value):
        return f"{int(value):,}" if abs(value) < 1e15 else f"{value:.4g}"
    return f"{value:.4g}" if abs(value) < 1e4 else f"{value:,.0f}"


def when(stamp: object) -> str:
    """An ISO-8601 time in UTC (or UNIX seconds) as local date and minute."""
    try:
        if isinstance(stamp, int | float):
            moment = datetime.fromtimestamp(stamp).astimezone()
        else:
            moment = datetime.fromisoformat(str(stamp).replace("Z", "+00:00")).astimezone()
    except (ValueError, OverflowError, OSError):
        return clean(stamp or "")
    return moment.strftime("%Y-%m-%d %H:%M")


def duration(ms: object) -> str:
    """Milliseconds in words: `4.2 s`, `3 min 05 s`."""
    if not isinstance(ms, int | float):
        return ""
    seconds = ms / 1000
    return f"{seconds:.1f} s" if seconds < 60 else f"{int(seconds // 60)} min {int(seconds % 60):02d} s"


def table(rows: list[list[str]], width: int) -> list[str]:
    """Rows in columns; the last column takes what is left of the line."""
    if not rows:
        return []
    columns = [max(len(row[i]) for row in rows) for i in range(len(rows[0]) - 1)]
    left = max(width - sum(columns) - 2 * len(columns), 16)
    return [
        "  ".join([*(cell.ljust(n) for cell, n in zip(row, columns, strict=False)), one_line(row[-1], left)]).rstrip()
        for row in rows
    ]
