"""The checkpoints of a session as lists and differences show them. All of it may have been written by an agent."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from jupyterlab_postdoc.checkpoints.place import Place, check
from jupyterlab_postdoc.forge import objects, tree
from jupyterlab_postdoc.forge.text import one_line
from jupyterlab_postdoc.notebooks.compare import CellChange, compare, counts
from jupyterlab_postdoc.notebooks.live import Editors
from jupyterlab_postdoc.protocol import iso
from jupyterlab_postdoc.secrets import redact
from jupyterlab_postdoc.workspace import githistory
from jupyterlab_postdoc.workspace.git import Git, Identity
from jupyterlab_postdoc.workspace.githistory import NOTHING, FileChange, Step

LIVE = "live"
MOST = 1000
"""Checkpoints in a list."""
MAX_NOTEBOOK = 4 << 20
"""Bytes of a notebook that is taken apart."""
MAX_READ = 128 << 20
"""Bytes of notebooks that one list reads."""
TOO_LONG = b"(This file is too long to be shown.)"
MAX_FILES = 200
KNOWN = 4096

Counts = dict[str, int]
NONE: Counts = {"added": 0, "changed": 0, "removed": 0}


class Reader:
    """Lists and compares. What is known of two versions of a notebook stays known: they never change."""

    def __init__(self, git: Git) -> None:
        self._git = git
        self._known: OrderedDict[tuple[str, str], Counts] = OrderedDict()

    async def list(self, place: Place, limit: int) -> list[dict[str, Any]]:
        """The newest ``limit`` checkpoints, newest first."""
        found = await githistory.steps(self._git, place.root, limit=min(limit, MOST), since=place.base)
        cells = await self._count(place.root, [pair for step in found for pair in _versions(step.files, place)])
        return [self._row(step, place, cells) for step in found]

    def _row(self, step: Step, place: Place, cells: dict[tuple[str, str], Counts]) -> dict[str, Any]:
        pair = next(iter(_versions(step.files, place)), None)
        return {
            "sha": step.sha,
            "short": step.sha[:7],
            "subject": _shown(step.subject) or "…",
            "step": _shown(step.trailers.get("Research-Step", "")) or None,
            "run": _shown(step.trailers.get("Research-Run", "")) or None,
            "ts": iso(float(step.time)),
            "by": "" if step.email == Identity().email else _shown(step.author, 100),
            "cells": cells.get(pair, NONE) if pair is not None else NONE,
        }

    async def _count(self, root: Path, pairs: Sequence[tuple[str, str]]) -> dict[tuple[str, str], Counts]:
        new = [pair for pair in pairs if pair not in self._known]
        if new:
            texts = await self._texts(root, {blob for pair in new for blob in pair})

            def work() -> list[Counts]:
                return [counts(compare(_text(texts.get(old)), _text(texts.get(now)))) for old, now in new]

            self._known |= zip(new, await asyncio.to_thread(work), strict=True)
        found = {pair: self._known[pair] for pair in pairs}
        while len(self._known) > KNOWN:
            self._known.popitem(last=False)
        return found

    async def _texts(self, root: Path, blobs: Iterable[str]) -> dict[str, bytes]:
        """What each blob holds; :data:`TOO_LONG` in place of what is too long to be a notebook."""
        wanted = sorted(set(blobs) - {NOTHING})

        def work(reader: objects.Objects) -> dict[str, bytes]:
            texts: dict[str, bytes] = {}
            read = 0
            for blob in wanted:
                _, size, pieces = reader.pieces(blob)
                read += size
                if read > MAX_READ:
                    return texts | dict.fromkeys(wanted[len(texts) :], TOO_LONG)
                content = [piece for piece in pieces if size <= MAX_NOTEBOOK]
                texts[blob] = b"".join(content) if size <= MAX_NOTEBOOK else TOO_LONG
            return texts

        if not wanted:
            return {}
        with githistory.reading(root, None) as (view, _):
            return await objects.reading(self._git, view, work)

    async def content(self, place: Place, sha: str) -> bytes | None:
        """The notebook's file at a checkpoint; None: there was none then."""
        blob = await githistory.blob_of(self._git, place.root, sha, place.notebook)
        return None if blob is None else (await self._texts(place.root, [blob])).get(blob)

    async def look(self, place: Place, sha: str, against: str | None, editors: Editors | None) -> dict[str, Any]:
        """What is different at a checkpoint: against the commit before it, another one, or the notebook as it is."""
        await check(self._git, place, sha)
        files: list[FileChange] = []
        if against == LIVE:
            other = LIVE
            before = await live_text(place, editors)
        else:
            other = against or await githistory.parent(self._git, place.root, sha)
            if against is not None:
                await check(self._git, place, against)
            before = _text(await self.content(place, other)) if other else None
            files = await githistory.changes(self._git, place.root, other or _EMPTY, sha)
        after = _text(await self.content(place, sha))
        cells = await asyncio.to_thread(compare, before, after, place.notebook)
        return {
            "sha": sha,
            "against": other,
            "cells": [_cell(change) for change in cells],
            "files": [_changed(file) for file in files if file.path != place.notebook][:MAX_FILES],
        }


_EMPTY = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
"""git's tree without files."""


async def live_text(place: Place, editors: Editors | None) -> str | None:
    """The notebook as it is now: what an open editor has not saved yet counts. None when there is no such file."""
    editor = editors.get(place.root) if editors is not None else None
    if editor is not None and editor.status.state == "ready":
        await editor.save()
    try:
        return await asyncio.to_thread(tree.read, place.root, place.notebook)
    except OSError:
        return None


def _versions(files: Iterable[FileChange], place: Place) -> list[tuple[str, str]]:
    """The notebook's blobs before and after, if these changes touch it."""
    return [(file.before, file.after) for file in files if file.path == place.notebook]


def _text(content: bytes | None) -> str | None:
    return None if content is None else content.decode("utf-8", "replace")


def _cell(change: CellChange) -> dict[str, Any]:
    """Code only where it differs, and without secrets of this server: a notebook without a sandbox can find them."""
    differs = change.change not in ("same", "moved")
    before, after = (redact(code) if differs and code is not None else None for code in (change.before, change.after))
    return {"name": _shown(change.name, 100), "change": change.change, "before": before, "after": after}


def _changed(file: FileChange) -> dict[str, str]:
    what = {"A": "added", "D": "removed"}.get(file.letter, "changed")
    return {"path": _shown(file.path, 300), "change": what}


def _shown(text: str, limit: int = 200) -> str:
    return redact(one_line(text, limit))
