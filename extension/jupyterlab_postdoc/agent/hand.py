"""In whose hand a session's notebook is, as its runs see it: they wait while a person has it, and learn what changed.

The lease lives in the session's row, so it outlives every process. Only the commands ``notebook.take`` and
``notebook.give`` change it (see handover.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from jupyterlab_postdoc.errors import PostdocError
from jupyterlab_postdoc.forge.text import clean, one_line
from jupyterlab_postdoc.notebooks.base import Seen
from jupyterlab_postdoc.notebooks.source import cells
from jupyterlab_postdoc.run_context import Paused, RunContext
from jupyterlab_postdoc.secrets import redact
from jupyterlab_postdoc.store.base import SessionRow, Tx
from jupyterlab_postdoc.workspace import githistory
from jupyterlab_postdoc.workspace.git import Commit, Git, Identity

HAND, GIVEN, HANDS = "notebook", "given", "hands"
"""Keys of a session's ``meta``: who has the notebook, what no agent was told yet, how often it was taken."""
TAKEN = "taken_over"
"""Why a run waits while a person has the notebook; also the ``code`` of a call that was not carried out after that."""
LOOKED = 1000
"""Commits among which the newest one of a step of an earlier run is looked for."""
MAX_TOLD = 12_000
"""Characters of the differences that an agent is told at once; it reads the cells for the rest."""


class Hand(Struct, frozen=True, kw_only=True):
    """A person has the notebook. ``holder`` is the user's name, ``display`` what others call them, ``since`` UNIX
    seconds, ``number`` counts the takings of the session, ``path`` is the project below the server's root and
    ``notebook`` the file in it, ``base`` the blob with its text when it was taken (empty: there was none).
    """

    holder: str
    display: str
    since: float
    number: int = 1
    path: str = ""
    notebook: str = "notebook.py"
    base: str = ""


class News(Struct, frozen=True, kw_only=True):
    """What a person has done with the notebook of the project at ``path``: the cells (name → added, changed, removed
    or moved), other files that changed, the commit that holds it, and the blob with the differences as text.
    """

    number: int
    by: str
    path: str = ""
    cells: dict[str, str] = {}
    files: list[str] = []
    commit: str = ""
    blob: str = ""

    @property
    def empty(self) -> bool:
        """Whether nothing was changed."""
        return not (self.cells or self.files)


def hand_of(row: SessionRow | None) -> Hand | None:
    """Who has the session's notebook; None: the agent."""
    kept = row.meta.get(HAND) if row is not None else None
    if not isinstance(kept, dict) or kept.get("hand") != "person":
        return None
    return msgspec.convert(kept, Hand)


def kept_hand(hand: Hand) -> dict[str, Any]:
    """As the session's ``meta`` keeps it."""
    return {"hand": "person", **msgspec.to_builtins(hand)}


def person(name: str, display: str) -> Identity:
    """A user as the author of a commit. Of an address only the name is known, so it leads nowhere."""
    shown = one_line(display or name, 100).translate(str.maketrans("", "", "<>")).strip() or "somebody"
    local = "".join(c if c.isascii() and (c.isalnum() or c in "._+-") else "-" for c in name)[:64].strip(".-")
    return Identity(shown, f"{local or 'somebody'}@localhost")


def waiting(hand: Hand) -> str:
    """The line that a waiting session shows."""
    return f"{one_line(hand.display, 100)} has the notebook; the agent goes on when it is given back"


# --- what a run does about it ---


async def guard(ctx: RunContext, tx: Tx) -> None:
    """In the transaction in which something that changes the project begins. Raises Paused while a person has it."""
    if hand_of(await tx.get_session(ctx.session)) is not None:
        raise Paused(TAKEN)


async def wait(ctx: RunContext) -> None:
    """The same for what is no step of its own."""
    await ctx.write(lambda tx: guard(ctx, tx))


async def still_taken(ctx: RunContext, tx: Tx) -> bool:
    """Whether it is still to be waited for: it may have been given back while the run was on its way to wait."""
    return hand_of(await tx.get_session(ctx.session)) is not None


async def news(ctx: RunContext, path: str, at: str) -> list[News]:
    """What people have changed in the project at ``path`` and no agent of this session was told before, oldest first.

    Whoever asks under the same ``at`` again gets the same, also after a crash; nobody else gets it.
    """
    key = f"told:{at}"
    known = await ctx.log.store.get_step(ctx.run.id, key)
    if known is not None:
        return msgspec.convert(known.result, list[News])
    row = await ctx.log.store.get_session(ctx.session)
    if not _given(row, path):
        return []

    async def take(tx: Tx) -> Any:
        row = await tx.get_session(ctx.session)
        told = _given(row, path)
        meta = dict(row.meta) if row is not None else {}
        meta[GIVEN] = [one for one in meta.get(GIVEN, []) if one not in told]
        await tx.update_session(ctx.session, meta=meta)
        await tx.begin_step(ctx.run.id, key)
        await tx.end_step(ctx.run.id, key, "done", result=told)
        return told

    return msgspec.convert(await ctx.write(take), list[News])


async def seen(ctx: RunContext, git: Git, root: Path, notebook: str) -> Seen | None:
    """What the agents of the project at ``root`` have seen of its cells before this run was taken up: the newest commit
    of a step of earlier runs, then what this run was told and what it has written. None: no step was committed, or no
    cells can be told there.

    This run's own commits are no witness: they hold what somebody changed in the file meanwhile, too.
    """
    begin = next((one.sha for one in await git.log(root, limit=LOOKED) if _earlier(one, ctx.run.id)), None)
    if begin is None or (then := await _cells(git, root, begin, notebook)) is None:
        return None
    ours: dict[str, str] = {}
    for key, step in (await ctx.steps()).items():
        if step.status != "done":
            continue
        if key.startswith("told:"):
            for one in msgspec.convert(step.result, list[News]):
                now = (await _cells(git, root, one.commit, notebook) if one.commit else None) or {}
                _forget(one.cells, then, ours)
                then |= {name: now[name] for name in one.cells if name in now}
        elif key.startswith("tool:") and isinstance(step.result, dict):
            data = step.result.get("outcome", {}).get("data") or {}
            _forget(data.get("deleted") or [], then, ours)
            ours |= data.get("written") or {}
    return then, ours


def _earlier(commit: Commit, run: str) -> bool:
    """Whether a run begins with what is in this commit."""
    step = commit.trailers.get("Research-Step")
    return step is not None and (step == "start" or commit.trailers.get("Research-Run") != run)


async def _cells(git: Git, root: Path, commit: str, notebook: str) -> dict[str, str] | None:
    text = await githistory.text_of(git, root, commit, notebook)
    found = () if text is None else cells(text)
    return None if found is None else {cell.name: cell.code for cell in found}


def _forget(names: Iterable[str], *known: dict[str, str]) -> None:
    for name in names:
        for one in known:
            one.pop(name, None)


def _given(row: SessionRow | None, path: str) -> list[dict[str, Any]]:
    given = row.meta.get(GIVEN, []) if row is not None else []
    return [one for one in given if one.get("path", "") in ("", path)]


async def theirs(ctx: RunContext) -> set[str]:
    """The cells that are a person's by what this run was told so far. A script leaves them as they are."""
    steps = await ctx.steps()
    told = [msgspec.convert(step.result, list[News]) for key, step in steps.items() if key.startswith("told:")]
    return {name for records in told for one in records for name in one.cells}


async def sentences(ctx: RunContext, records: Sequence[News], *, undone: bool) -> str:
    """What a model is told. ``undone``: as the answer to a call that was not carried out because of it."""
    who = " and ".join(dict.fromkeys(one_line(one.by, 100) for one in records))
    begin = "Not carried out: the" if undone else "The"
    lines = [f"{begin} researcher ({who}) had the notebook and has given it back. Their version stands."]
    cells: dict[str, str] = {}
    for one in records:
        cells |= one.cells
    files = sorted({path for one in records for path in one.files})
    if cells:
        shown = ", ".join(f"{name} ({what})" for name, what in list(cells.items())[:40])
        lines.append(f"Cells that they changed: {shown}.")
    if files:
        lines.append(f"Other files that changed: {', '.join(files[:40])}.")
    lines += [await _differences(ctx, one, MAX_TOLD // len(records)) for one in records]
    lines.append(
        "Read the cells as they are now (nb_cells) and decide again what to do: keep their changes, and run the "
        "notebook before you rely on its results."
    )
    return "\n".join(line for line in lines if line)


async def _differences(ctx: RunContext, one: News, limit: int) -> str:
    if not one.blob:
        return ""
    try:
        text = (await ctx.log.store.read_blob(one.blob)).decode("utf-8", "replace")
    except PostdocError:  # removed by hand: the names above still say which cells to read
        return ""
    text = redact(clean(text))
    cut = "\n… the rest is left out; nb_cells shows it" if len(text) > limit else ""
    return text[:limit] + cut
