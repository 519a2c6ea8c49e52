"""A notebook file taken apart for showing: its cells, without running or importing anything.

A file of the past may hold anything, and this runs in the server's process. So the text is only cut into tokens, which
needs no stack however deep it is nested; it is never compiled. What is no notebook is one piece of text.
"""

from __future__ import annotations

import ast
import io
import re
import textwrap
import token as kinds
import tokenize
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice, pairwise

MAX_TEXT = 2 << 20
"""Characters of a file that is taken apart; a longer one is shown as a whole."""
MAX_CELLS = 1000

Tokens = Sequence[tokenize.TokenInfo]

_START = re.compile(r"^app = (?:marimo|mo)\.App\(", re.M)
_LONG = frozenset(("STRING", "FSTRING_MIDDLE", "TSTRING_MIDDLE"))
_OPENS, _CLOSES = frozenset(("FSTRING_START", "TSTRING_START")), frozenset(("FSTRING_END", "TSTRING_END"))
_SILENT = frozenset((kinds.NL, kinds.COMMENT, kinds.NEWLINE, kinds.INDENT, kinds.DEDENT, kinds.ENCODING))


@dataclass(frozen=True, slots=True)
class SourceCell:
    """One cell as the file has it. A cell without a name is ``_3``: the third one."""

    name: str
    code: str

    @property
    def named(self) -> bool:
        return not (self.name.startswith("_") and self.name[1:].isdigit())


@lru_cache(64)
def cells(text: str) -> tuple[SourceCell, ...] | None:
    """The cells of a notebook's text in their order; None when it is no marimo notebook, damaged, or too long."""
    if len(text) > MAX_TEXT or _START.search(text) is None:
        return None
    text = text.replace("\r\n", "\n").replace("\r", "\n").lstrip("\ufeff")
    try:
        tokens = list(tokenize.generate_tokens(io.StringIO(text).readline))
        found = list(islice(_cells(text.split("\n"), tokens), MAX_CELLS + 1))
    except (tokenize.TokenError, SyntaxError, ValueError, IndexError, MemoryError):
        return None
    if len(found) > MAX_CELLS:
        return None
    seen: dict[str, int] = {}
    named: list[SourceCell] = []
    for number, (name, code) in enumerate(found, 1):
        key = name if name not in ("", "_", "__") else f"_{number}"
        seen[key] = seen.get(key, 0) + 1
        named.append(SourceCell(key if seen[key] == 1 else f"{key}#{seen[key]}", code))
    return tuple(named)


def _statements(tokens: Tokens) -> Iterator[Tokens]:
    """The statements that begin at the margin, each with its whole block."""
    depth, begin = 0, 0
    for at, token in enumerate(tokens):
        if token.type == kinds.INDENT:
            depth += 1
        elif token.type == kinds.DEDENT:
            depth -= 1
        line_ends = token.type == kinds.NEWLINE and not _indents(tokens, at + 1)
        if depth == 0 and (line_ends or token.type == kinds.DEDENT):
            yield tokens[begin : at + 1]
            begin = at + 1
    if begin < len(tokens):
        yield tokens[begin:]


def _indents(tokens: Tokens, at: int) -> bool:
    while at < len(tokens) and tokens[at].type in (kinds.NL, kinds.COMMENT):
        at += 1
    return at < len(tokens) and tokens[at].type == kinds.INDENT


def _cells(lines: list[str], tokens: Tokens) -> Iterator[tuple[str, str]]:
    """Name and code of each cell; what else stands at the margin belongs to none."""
    kind, begins = "", 0
    for statement in _statements(tokens):
        words = [token for token in statement if token.type not in _SILENT]
        said = [token.string for token in words[:4]]
        if said[:3] == ["@", "app", "."] and len(said) == 4:
            kind, begins = said[3], 0
        elif said[:1] == ["@"]:
            begins = begins or words[0].start[0]
        elif kind and said[:1] and said[0] in ("def", "class", "async"):
            name = words[2 if said[0] == "async" else 1].string
            if kind == "cell":
                yield name, _body(lines, statement)
            elif kind in ("function", "class_definition"):
                yield name, _whole(lines, begins or words[0].start[0], statement)
            kind = ""
        elif said == ["with", "app", ".", "setup"]:
            yield "setup", _body(lines, statement).removesuffix("\npass")
        elif said[:3] == ["app", ".", "_unparsable_cell"]:
            yield _unparsable(words)
        else:
            kind = ""


def _last_line(statement: Tokens) -> int:
    """The number of the last line that holds anything of the statement."""
    return max((t.end[0] for t in statement if t.type not in (kinds.DEDENT, kinds.NL, kinds.ENDMARKER)), default=0)


def _whole(lines: list[str], first: int, statement: Tokens) -> str:
    return "\n".join(lines[first - 1 : _last_line(statement)]).rstrip()


def _body(lines: list[str], statement: Tokens) -> str:
    """The block of a ``def`` or ``with`` without its indent, and without the ``return`` at its end."""
    colon = _colon(statement)
    after = statement[colon + 1]
    if after.type == kinds.COMMENT:
        after = statement[colon + 2]
    if after.type != kinds.NEWLINE:  # all of it in one line, as nobody writes it
        return lines[after.start[0] - 1][after.start[1] :].strip()
    first, last = after.end[0] + 1, _last_line(statement)
    returns = _last_return(statement, colon)
    if returns is not None:
        last = returns - 1
    return dedent(lines[first - 1 : last], first, statement)


def _colon(statement: Tokens) -> int:
    """Where the header of the block ends."""
    depth = 0
    for at, token in enumerate(statement):
        if token.type != kinds.OP:
            continue
        depth += {"(": 1, "[": 1, "{": 1, ")": -1, "]": -1, "}": -1}.get(token.string, 0)
        if token.string == ":" and depth == 0 and at + 2 < len(statement):
            return at
    raise ValueError("a block without a header")


def _last_return(statement: Tokens, colon: int) -> int | None:
    """The line of the ``return`` that ends the block; None when something else does."""
    depth, begins, found = 0, False, None
    for token in statement[colon + 1 :]:
        if token.type == kinds.INDENT:
            depth += 1
        elif token.type == kinds.DEDENT:
            depth -= 1
        elif token.type == kinds.NEWLINE:
            begins = True
        elif token.type not in _SILENT and token.type != kinds.ENDMARKER:
            if begins:
                found = token.start[0] if depth == 1 and token.string == "return" else None
            begins = False
    return found


def dedent(body: list[str], first: int, statement: Tokens) -> str:
    """The lines without the indent that all of them have; the inner lines of a text stay when they have it not.

    ``first`` is the number of the first line in the file.
    """
    inner = _inner_lines(statement)
    codes = [line for number, line in enumerate(body, first) if line.strip() and number not in inner]
    shift = min((len(line) - len(line.lstrip(" \t")) for line in codes), default=0)
    made: list[str] = []
    at = 0
    while at < len(body):
        end = at + 1
        if first + at in inner:
            while end < len(body) and inner.get(first + end) == inner[first + at]:
                end += 1
            block = [line for line in body[at:end] if line.strip()]
            keeps = any(len(line) - len(line.lstrip()) < shift for line in block)
            made += body[at:end] if keeps else [_without(line, shift) for line in body[at:end]]
        else:
            made.append(_without(body[at], shift))
        at = end
    return "\n".join(made).strip("\n").rstrip() if made else ""


def _without(line: str, shift: int) -> str:
    return line[min(shift, len(line) - len(line.lstrip(" \t"))) :]


def _inner_lines(statement: Tokens) -> dict[int, int]:
    """Number of each line that begins inside of a text → the line where that text begins."""
    inner: dict[int, int] = {}
    opened: list[int] = []
    for token in statement:
        name = kinds.tok_name.get(token.type, "")
        if name in _OPENS:
            opened.append(token.start[0])
        elif name in _CLOSES and opened:
            begin = opened.pop()
            inner |= dict.fromkeys(range(begin + 1, token.end[0] + 1), begin)
        elif name in _LONG and token.end[0] > token.start[0]:
            inner |= dict.fromkeys(range(token.start[0] + 1, token.end[0] + 1), token.start[0])
    return inner


def _unparsable(words: Tokens) -> tuple[str, str]:
    """``app._unparsable_cell(r\"\"\"…\"\"\", name="…")``: code that is no Python, kept as a text."""
    name, code = "_", ""
    for before, token in pairwise(words[1:]):
        if token.type == kinds.STRING and len(token.string) <= MAX_TEXT and "f" not in token.string[:2].lower():
            value = ast.literal_eval(token.string)  # one literal: nothing in it can be nested
            if before.string == "(" and isinstance(value, str):
                code = textwrap.dedent(value).strip()
            elif before.string == "=" and isinstance(value, str):
                name = value
    return name, code
