"""User-given text in Markdown, YAML, TOML and JSON, so that it is shown and never interpreted."""

from __future__ import annotations

import datetime
import json
import math
import re
from typing import Any

_UNPRINTABLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ufffe\uffff"
    "\U000e0000-\U000e007f]"
)
_MARKDOWN = re.compile(r"([\\`*{}\[\]#|~$!@^]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9]))")
_MENTION = re.compile(r"(?<![A-Za-z0-9_])@+(?=[A-Za-z0-9])")
_CLOSES = re.compile(
    r"\b(close[sd]?|fix(?:e[sd])?|resolve[sd]?)(:?\s+)"
    r"(?=(?:[\w.-]+/[\w.-]+)?#\d|gh-\d|https?://\S+/(?:issues|pull)/\d)",
    re.IGNORECASE,
)
_SIMULATED = re.compile(r"(?i)(?<![\w./-])synthetic(-null)?(?![\w/-]|\.\w)")
_BLOCK_START = re.compile(r"^(\d{1,9})([.)])(?=\s|$)|^([-+>:=])")


def clean(text: str) -> str:
    """Text without lone surrogates, control, direction-changing and hidden characters; line ends become line feeds."""
    whole = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return _UNPRINTABLE.sub("", re.sub("\r\n?|[\x0b\x0c\x85\u2028\u2029]", "\n", whole))


def one_line(text: str, limit: int = 200) -> str:
    """The text on one line of at most ``limit`` characters."""
    line = " ".join(clean(text).split())
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "…"


def markdown(text: str, limit: int = 2000) -> str:
    """One line that Markdown (GitHub's too) shows exactly as it is: no markup, HTML, link, mention or formula."""
    line = one_line(text, limit).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    line = _MARKDOWN.sub(r"\\\1", line)
    line = line.replace("://", "\\://").replace("www.", "www\\.")
    return _BLOCK_START.sub(lambda m: f"{m[1]}\\{m[2]}" if m[1] else f"\\{m[3]}", line)


def paragraphs(text: str, limit: int = 20_000) -> str:
    """Several lines as Markdown paragraphs, each line shown as it is."""
    kept = clean(text)[:limit]
    blocks = [[markdown(line) for line in block.splitlines() if line.strip()] for block in re.split(r"\n\s*\n", kept)]
    return "\n\n".join("  \n".join(block) for block in blocks if block)


def disarmed(text: str) -> str:
    """The message of a commit without what a forge would do for it: notify people, close issues on a merge."""
    return _CLOSES.sub(r"\1\2issue ", _MENTION.sub("", text))


def quoted(text: str) -> str:
    """A double-quoted scalar that YAML (1.1, 1.2) and TOML parsers read back as :func:`clean` text."""
    return '"' + "".join(_escaped(character) for character in clean(text)) + '"'


def _escaped(character: str) -> str:
    if character in '"\\':
        return "\\" + character
    if character == "\n":
        return "\\n"
    if character == "\t":
        return "\\t"
    if character.isprintable():
        return character
    code = ord(character)
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def json_text(value: Any) -> str:
    """Indented JSON with sorted keys and a final line end; what JSON cannot hold becomes null or text."""
    return json.dumps(_plain(value), indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {clean(str(key)): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, (bool, int)):
        return None if _huge(value) else value
    return clean(str(value))


def _huge(value: Any) -> bool:
    """Whether an integer is too large for a float: no measured figure is, and other programs could not read it."""
    return isinstance(value, int) and value.bit_length() > 1000


def figure(value: Any, digits: int = 4) -> str | None:
    """A finite number for people (``digits`` significant digits), or None for anything else."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or _huge(value) or not math.isfinite(value):
        return None
    if isinstance(value, int) or (value.is_integer() and abs(value) < 1e15):
        return f"{int(value):,}"
    return f"{value:.{digits}g}"


def day(seconds: float | None) -> str:
    """The UTC date of a UNIX time, ``2026-11-21``; empty for None."""
    return "" if seconds is None else moment(seconds)[:10]


def moment(seconds: float) -> str:
    """A UNIX time as ``2026-11-21T02:03:09Z``."""
    return datetime.datetime.fromtimestamp(int(seconds), datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def simulated(label: str) -> bool:
    """Whether a verdict's words about its data say that they are made up; a file may be called synthetic.csv."""
    return _SIMULATED.search(label) is not None
