"""How the cells of two versions of a notebook differ."""

from __future__ import annotations

import ast
import hashlib
import inspect
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import lru_cache
from typing import Literal

from jupyterlab_postdoc.notebooks.source import SourceCell, cells

MAX_ALIKE = 200
"""Cells without a name, of each of two versions, that are looked at for which became which."""

LONE_MD = re.compile(r"\s*\w+\.md\(")

Change = Literal["added", "changed", "removed", "moved", "same"]


@dataclass(frozen=True, slots=True)
class CellChange:
    """What became of a cell. ``before`` is None for one that is new, ``after`` for one that is gone."""

    name: str
    change: Change
    before: str | None
    after: str | None


def compare(before: str | None, after: str | None, name: str = "notebook.py") -> list[CellChange]:
    """What became of each cell, in the order of ``after``; those that are gone stand where they were.

    None: there is no file. When one of the two is no notebook, both are one piece of text called ``name``.
    """
    old, new = _or_nothing(before), _or_nothing(after)
    if old is None or new is None:
        return [_change(name, before, after)]
    pairs = _pairs(old, new)
    moved = _moved([pairs[at] for at in sorted(pairs)])
    # What is gone is shown behind the cell that it followed.
    gone: dict[int, list[CellChange]] = {}
    back, behind = {from_: at for at, from_ in pairs.items()}, -1
    for from_, cell in enumerate(old):
        if from_ not in back:
            gone.setdefault(behind, []).append(_change(cell.name, cell.code, None))
        elif from_ not in moved:
            behind = back[from_]
    changes = gone.get(-1, [])
    for at, cell in enumerate(new):
        was = pairs.get(at)
        changes.append(_change(cell.name, None if was is None else old[was].code, cell.code, was in moved))
        changes += gone.get(at, [])
    return changes


def same(one: str | None, other: str | None) -> bool:
    """Whether two texts of a cell say the same. The quotes and the indent of a lone ``mo.md(...)`` are of no account:
    marimo's page sets them anew when it shows the cell, and nobody has changed anything.
    """
    if one == other:
        return True
    if one is None or other is None:
        return False
    text = prose(one)
    return text is not None and text == prose(other)


def digest(code: str) -> str:
    """By which code is known again later; equal for texts that say the same."""
    text = prose(code)
    return hashlib.sha256((code if text is None else f"\0{text}").strip().encode("utf-8", "replace")).hexdigest()[:16]


def prose(code: str) -> str | None:
    """What a lone ``mo.md(...)`` says; None for any other cell."""
    if not LONE_MD.match(code):
        return None
    try:
        body = ast.parse(code.strip()).body
    except (SyntaxError, ValueError, RecursionError):
        return None
    match body:
        case [ast.Expr(ast.Call(ast.Attribute(ast.Name(), "md"), [ast.Constant() as text], []))]:
            parts: list[ast.expr] = [text]
        case [ast.Expr(ast.Call(ast.Attribute(ast.Name(), "md"), [ast.JoinedStr(values)], []))]:
            parts = values
        case _:
            return None
    said = ""
    for part in parts:
        match part:
            case ast.Constant(str(words)):
                said += words.replace("\0", "")
            case ast.FormattedValue():
                said += f"\0{ast.dump(part)}\0"
            case _:
                return None
    return inspect.cleandoc(said).strip()


def counts(changes: Sequence[CellChange]) -> dict[str, int]:
    """How many cells were added, changed and removed. A move alone is no change of a cell."""
    return {what: sum(change.change == what for change in changes) for what in ("added", "changed", "removed")}


def _or_nothing(text: str | None) -> tuple[SourceCell, ...] | None:
    return () if text is None else cells(text)


def _change(name: str, before: str | None, after: str | None, moved: bool = False) -> CellChange:
    what: Change = "same" if not moved else "moved"
    if not same(before, after):
        what = "added" if before is None else "removed" if after is None else "changed"
    return CellChange(name, what, before, after)


def _pairs(old: Sequence[SourceCell], new: Sequence[SourceCell]) -> dict[int, int]:
    """Position in ``new`` → position in ``old`` of the same cell: by its name, else by its code, else by likeness."""
    pairs: dict[int, int] = {}
    free = dict.fromkeys(range(len(old)))

    def pair(key: Callable[[SourceCell], object], *, among: Callable[[SourceCell, SourceCell], bool]) -> None:
        places: dict[object, list[int]] = {}
        for at in free:
            places.setdefault(key(old[at]), []).append(at)
        for at, cell in enumerate(new):
            here = places.get(key(cell), [])
            if at not in pairs and here and among(old[here[0]], cell):
                pairs[at] = here.pop(0)
                del free[pairs[at]]

    pair(lambda cell: cell.name, among=lambda one, other: one.named and other.named)
    pair(lambda cell: cell.code, among=lambda one, other: not (one.named and other.named))
    rest = [at for at, cell in enumerate(new) if at not in pairs and not cell.named]
    others = [at for at in free if not old[at].named]
    if max(len(rest), len(others)) <= MAX_ALIKE:
        for at in rest:
            best = max(others, key=lambda one: _alike(old[one].code, new[at].code), default=None)
            if best is not None and _alike(old[best].code, new[at].code) >= 0.5:
                pairs[at] = best
                others.remove(best)
    return pairs


@lru_cache(4096)
def _alike(one: str, other: str) -> float:
    """0 to 1, by whole lines: cheap whatever they hold."""
    return SequenceMatcher(None, one.splitlines()[:500], other.splitlines()[:500], autojunk=False).ratio()


def _moved(order: Sequence[int]) -> set[int]:
    """Of old positions in their new order, the fewest that were moved: all but the longest run that still rises."""
    tails: list[int] = []
    chain: list[int] = []
    back: dict[int, int | None] = {}
    for value in order:
        low, high = 0, len(tails)
        while low < high:
            middle = (low + high) // 2
            low, high = (middle + 1, high) if tails[middle] < value else (low, middle)
        back[value] = tails[low - 1] if low else None
        tails[low : low + 1] = [value]
    at = tails[-1] if tails else None
    while at is not None:
        chain.append(at)
        at = back[at]
    return set(order) - set(chain)
