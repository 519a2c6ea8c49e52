"""What a person has done by hand, in words: a line, the differences of cells, other files."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import unified_diff

from jupyterlab_postdoc.agent.hand import News
from jupyterlab_postdoc.forge.text import one_line
from jupyterlab_postdoc.notebooks.compare import CellChange

OUTPUTS = "__marimo__/"
"""Where marimo keeps what cells showed: it changes by itself."""
MAX_CELL, MAX_DIFFERENCES = 6_000, 60_000
MAX_FILES = 100


def subject(news: News) -> str:
    """What was done, for a commit: ``Change load and plot by hand``."""
    cells = list(news.cells)
    if not cells:
        return "Change the project by hand" if news.files else "Save the notebook as its editor writes it"
    shown = ", ".join(cells[:4]) + (f" and {len(cells) - 4} more" if len(cells) > 4 else "")
    return one_line(f"Change {shown} by hand")


def difference(change: CellChange) -> str:
    """One cell's difference as lines with ``+`` and ``-``; a new cell as it is."""
    head = f"## {change.name} ({change.change})"
    if change.before is None or change.change == "moved":
        return f"{head}\n{(change.after or '')[:MAX_CELL]}" if change.before is None else head
    before, after = (text.splitlines() for text in (change.before, change.after or ""))
    lines = [line.rstrip("\n") for line in unified_diff(before, after, lineterm="", n=2)][2:]
    return f"{head}\n" + "\n".join(lines)[:MAX_CELL]


def files_among(paths: Iterable[str], *, besides: str) -> list[str]:
    """What else was changed, at most a hundred: without ``besides``, and without the outputs of cells."""
    return [path for path in paths if path != besides and not path.startswith(OUTPUTS)][:MAX_FILES]
