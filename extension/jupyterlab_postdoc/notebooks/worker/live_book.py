"""The open notebook's cells: our names ↔ marimo's ids, changes → one edit of marimo's Host API, document → file.

While the editor is up its document is the truth, also what a person has typed and not saved. Every edit names the
state that it was decided on (etags), so that nothing that came in between is overwritten.
"""

from __future__ import annotations

import secrets
import string
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from marimo._core import protocol
from marimo._core.document import Document, DocumentCell
from marimo._core.errors import Conflict, EditConflict, Invalid

from jupyterlab_postdoc.notebooks.worker import author
from jupyterlab_postdoc.notebooks.worker.author import Cell, Notebook, Refused
from jupyterlab_postdoc.notebooks.worker.check import imports

OPTIONS = ("column", "disabled", "hide_code", "expand_output")
TRIES = 8


@dataclass
class Edited:
    """The notebook after an edit, and the names of what was put or moved and deleted."""

    notebook: Notebook
    changed: list[str]
    deleted: list[str]


class Book:
    """One notebook file that marimo has open. ``load`` comes first."""

    def __init__(self, bridge: Any, path: Path) -> None:
        self.bridge, self.path = bridge, path
        self.host: Any = None
        self.disk = ""

    async def load(self) -> None:
        """Raises Refused when the file is no notebook or is not there."""
        if self.host is not None:
            return
        self.disk = author.load(self.path).text
        record = self.bridge.index.ensure(str(self.path))
        if record is None:
            raise Refused("not_found", f"There is no notebook {self.path.name!r}.", "Create it first.")
        try:
            self.host = await self.bridge.host.notebook(record.id)
        except Conflict as error:
            raise Refused(
                "notebook_failed", f"marimo could not open the notebook: {error}.", "Correct the file."
            ) from error

    @property
    def session(self) -> Any:
        """marimo's session of this notebook while there is a kernel."""
        return self.bridge._session_of(self.host.id)

    def ids(self) -> dict[str, str]:
        """marimo's id of each cell → our name, in the notebook's order."""
        rows = self.rows()
        return dict(zip((cell.id for cell in rows), author.keyed(cell.name for cell in rows), strict=True))

    def rows(self) -> list[DocumentCell]:
        """The cells. marimo shows one empty cell where there is none: that one does not count."""
        found = list(self.host.document)
        lone = len(found) == 1 and not found[0].code.strip() and author.name_of(author.keyed([found[0].name])[0]) == "_"
        return [] if lone else found

    def read(self) -> Notebook:
        """The notebook as it stands; ``text`` is what is on disk."""
        rows = self.rows()
        keys = author.keyed(cell.name for cell in rows)
        cells = [Cell(key, cell.code, options(cell.config)) for key, cell in zip(keys, rows, strict=True)]
        return Notebook(self.disk, cells, dict(self.host.document.app_config), self.header())

    def header(self) -> str:
        """The file's, since others keep it, too."""
        with suppress(Refused):
            return author.parse(self.changed_outside() or self.disk).header
        return ""

    def modules(self) -> set[str]:
        """What the cells import."""
        return {name for cell in self.rows() for name, _ in imports(cell.code)}

    # edits

    async def edit(self, changes: Sequence[object], known: Mapping[str, str] | None) -> Edited:
        """Apply the batch to the open notebook, all or nothing, and save it. Refused: see author.edit."""
        for _ in range(TRIES):
            before = self.read()
            if known is not None:
                author.conflict(before, changes, known)
            after, changed, deleted = author.apply(before, changes)
            after.header = author.requirements(after)
            changed = normal(after, changed)
            ids = {key: id for id, key in self.ids().items()}
            if await self.become(after, [ids.get(cell.key) for cell in after.cells]):
                self.save(header=after.header)
                return Edited(replace(self.read(), text=self.disk), changed, deleted)
        raise Refused("busy", "The notebook changes all the time; the edit was not made.", "Try again.")

    async def replace(self, text: str, base: str | None = None) -> Notebook:
        """Make the open notebook this one; cells with the same code keep their id and so their output.

        Refused (``version_conflict``) when a save would write something else now than ``base``.
        """
        wanted = author.parse(text)
        for _ in range(TRIES):
            if base is not None and self.text() != base:
                raise Refused(
                    "version_conflict", "The notebook was changed meanwhile; nothing was replaced.", "Look at it first."
                )
            if await self.become(wanted, match(self.read(), list(self.ids()), wanted)):
                self.options(wanted.app)
                self.save(header=wanted.header)
                return self.read()
        raise Refused("busy", "The notebook changes all the time; nothing was replaced.", "Try again.")

    async def become(self, wanted: Notebook, ids: Sequence[str | None]) -> bool:
        """One atomic edit that makes the cells ``wanted``; ``ids`` are those of cells that exist. False when the
        notebook changed meanwhile.
        """
        document = self.host.document
        used = {cell.id for cell in document} | {id for id in ids if id}
        order = [id or fresh(cell, used) for id, cell in zip(ids, wanted.cells, strict=True)]
        changes = batch(document, order, wanted.cells)
        if not changes:
            return True
        try:
            await self.bridge.edit(self.host.id, changes, request_id=secrets.token_hex(8))
        except EditConflict:
            return False
        except Invalid as error:
            raise Refused("bad_message", f"marimo refused the edit: {error}.", "Change it.") from error
        return True

    def options(self, app: Mapping[str, Any]) -> None:
        """The notebook's own settings (title, width), which no edit carries."""
        if self.session is not None and dict(app) != dict(self.host.document.app_config):
            self.session.app_file_manager.app.update_config(dict(app))
            self.bridge._mirror(self.host.id)

    # the file

    def text(self) -> str:
        """What the file holds after a ``save``."""
        outside = self.changed_outside()
        newer = outside is not None and self.host.saved_etag == self.host.document.etag
        return outside if outside is not None and newer else file_text(self.read())

    def save(self, header: str | None = None) -> bool:
        """Write the document to the file, atomically. False when it was there already, or when the file is newer than
        all that was done here.
        """
        if header is None and self.changed_outside() is not None and self.host.saved_etag == self.host.document.etag:
            return False
        notebook, etag = self.read(), self.host.document.etag
        if header is not None:
            notebook.header = header
        text = file_text(notebook)
        session = self.session
        if written := text != self.disk or self.changed_outside() is not None:
            if session is not None:
                with session.app_file_manager._save_lock:
                    author.write(self.path, text)
                    session.app_file_manager._mark_content_as_last_save(text)
            else:
                author.write(self.path, text)
                self.bridge._file_texts[self.host.id] = text
            self.disk = text
        self.host.mark_saved(etag)
        return written

    def unsaved(self) -> list[str]:
        """The cells whose text, as it stands here, is not in the file as we know it; those that it alone has, too."""
        here = {cell.key: cell.code for cell in self.read().cells}
        with suppress(Refused):
            there = {cell.key: cell.code for cell in author.parse(self.disk).cells}
            return [name for name in (*here, *(there.keys() - here)) if here.get(name) != there.get(name)]
        return list(here)

    def changed_outside(self) -> str | None:
        """The file's text when somebody else than marimo and we wrote it."""
        try:
            text = self.path.read_text(encoding="utf-8")
        except (OSError, UnicodeError):
            return None
        if text == self.disk:
            return None
        session = self.session
        if session is not None and session.app_file_manager.content_matches_last_save(text):
            self.disk = text  # the page saved
            return None
        return text

    async def refresh(self) -> bool:
        """Take over what was written to the file outside, unless there is unsaved work here, which wins."""
        text = self.changed_outside()
        if text is None or self.host.saved_etag != self.host.document.etag:
            return False
        try:
            author.parse(text)
        except Refused:
            return False
        self.disk = text
        await self.replace(text)
        return True


def options(config: protocol.CellConfig) -> dict[str, Any]:
    """Only what differs from a cell's defaults, as the file has it."""
    found = {name: getattr(config, name) for name in OPTIONS}
    return {name: value for name, value in found.items() if value is not None and value is not False}


def fresh(cell: Cell, used: set[str]) -> str:
    """An id for a new cell, in marimo's form; the setup cell has one of its own."""
    made = "setup" if cell.key == "setup" else ""
    while not made or made in used:
        made = "".join(secrets.choice(string.ascii_letters) for _ in range(4))
    used.add(made)
    return made


def batch(document: Document, order: Sequence[str], cells: Sequence[Cell]) -> list[Any]:
    """The changes that make the document's cells ``cells`` with the ids ``order``; empty when they are."""
    current = {cell.id: cell for cell in document}
    changes: list[Any] = [
        protocol.DeleteCell(base_etag=cell.etag, id=cell.id) for cell in document if cell.id not in set(order)
    ]
    staged = [cell.id for cell in document if cell.id in set(order)]
    previous: str | None = None
    for id, cell in zip(order, cells, strict=True):
        settings = {name: cell.options.get(name) or (None if name == "column" else False) for name in OPTIONS}
        wanted = DocumentCell(protocol.CellId(id), cell.code, author.name_of(cell.key), protocol.CellConfig(**settings))
        put = protocol.CellInput(
            id=wanted.id, code=wanted.code, name=wanted.name, config=protocol.CellConfigInput(**settings)
        )
        old = current.get(id)
        if old is None:
            at = staged.index(previous) + 1 if previous is not None else 0
            where = {"after": previous} if previous is not None else {"before": staged[0]} if staged else {}
            changes.append(protocol.PutCell(base_etag=None, cell=put, **where))
            staged.insert(at, id)
        elif (old.code, old.config) != (wanted.code, wanted.config) or named(old.name) != named(wanted.name):
            changes.append(protocol.PutCell(base_etag=old.etag, cell=put))
        previous = id
    if staged != list(order):
        changes.append(protocol.SetOrder(base_etag=document.order_etag, order=tuple(order)))
    return changes


def named(name: str) -> str:
    """marimo has several ways to say that a cell has no name."""
    return "_" if name in ("", "__") else name


def normal(notebook: Notebook, changed: Sequence[str]) -> list[str]:
    """Make the changed cells what the file will give back (marimo sets lone ``mo.md(...)`` anew and drops some
    comments), so that what was written now is still the same after the next start. Their names then.

    Refused: see author.generate; the other cells are of no account then: somebody may just be typing in one.
    """
    mine = [cell for cell in notebook.cells if cell.key in changed]
    try:
        again = author.parse(author.generate(notebook)).cells
    except Refused:
        found = author.parse(author.generate(Notebook("", mine, dict(notebook.app), ""))).cells
        backs = dict(zip((cell.key for cell in mine), found, strict=True))
        again = [backs.get(cell.key, cell) for cell in notebook.cells]
    keys = author.keyed(author.name_of(cell.key) for cell in notebook.cells)
    renamed = {cell.key: key for cell, key in zip(notebook.cells, keys, strict=True)}
    for cell, back in zip(notebook.cells, again, strict=True):
        if cell.key in changed:
            cell.code = back.code
    return [renamed[name] for name in changed]


def file_text(notebook: Notebook) -> str:
    """The file's text, also of a notebook with a cell that is being typed."""
    try:
        return author.generate(notebook)
    except Refused:
        return author.written(notebook)


def match(now: Notebook, ids: Sequence[str], wanted: Notebook) -> list[str | None]:
    """For each wanted cell the id of the present one that it continues: the same name and code, else the same code,
    else the same name.
    """
    left = dict(zip(ids, now.cells, strict=True))
    found: list[str | None] = [None] * len(wanted.cells)
    rules: tuple[Callable[[Cell, Cell], bool], ...] = (
        lambda a, b: a.key == b.key and a.code == b.code,
        lambda a, b: a.code == b.code and "setup" not in (a.key, b.key),
        lambda a, b: a.key == b.key and not a.key.startswith("_"),
    )
    for same in rules:
        for position, cell in enumerate(wanted.cells):
            if found[position] is None:
                id = next((id for id, old in left.items() if same(old, cell)), None)
                if id is not None:
                    found[position] = id
                    del left[id]
    return found
