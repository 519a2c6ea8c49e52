"""Cells ↔ file through marimo's own generator. The file on disk is the truth: every edit reads it first and replaces
it whole.
"""

from __future__ import annotations

import ast
import keyword
import os
import re
import secrets
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from marimo._internal.converters import MarimoConvert
from marimo._schemas.serialization import (
    AppInstantiation,
    CellDef,
    Header,
    NotebookSerializationV1,
    SetupCell,
    UnparsableCell,
)

from jupyterlab_postdoc.notebooks.compare import same
from jupyterlab_postdoc.notebooks.worker import memo

memo.install()

RESERVED = {"app", "marimo", "_", "__"}
MAX_CELL = 200_000
MAX_CELLS = 500
LONE_MD = re.compile(r"\w+\.md\(")
OWNERS: dict[str, tuple[str, str]] = {}
"""Module → the distribution it comes from, and its pin, as first seen: other versions come with another process."""
HEADER = re.compile(r"(?m)^# /// script$\s(?P<content>(^#(| .*)$\s)+)^# ///$")


class Refused(Exception):
    """A request that was not carried out; ``code`` is one of the protocol's, ``details`` go into the error."""

    def __init__(self, code: str, message: str, next: str = "", **details: Any) -> None:
        super().__init__(message)
        self.code, self.message, self.next, self.details = code, message, next, details


@dataclass
class Cell:
    """One cell: its durable key, its body, and marimo's options (hide_code, disabled, column)."""

    key: str
    code: str
    options: dict[str, Any] = field(default_factory=dict)


@dataclass
class Notebook:
    """A parsed notebook file. ``text`` is exactly what is on disk."""

    text: str
    cells: list[Cell]
    app: dict[str, Any]
    header: str

    def copy(self) -> Notebook:
        """One whose cells can be changed."""
        cells = [replace(cell, options=dict(cell.options)) for cell in self.cells]
        return replace(self, cells=cells, app=dict(self.app))

    def index(self, key: str) -> int:
        for position, cell in enumerate(self.cells):
            if cell.key == key:
                return position
        names = ", ".join(c.key for c in self.cells) or "none yet"
        raise Refused("not_found", f"There is no cell {key!r}.", f"The cells are: {names}.")

    def has(self, key: str) -> bool:
        return any(cell.key == key for cell in self.cells)


def parse(text: str) -> Notebook:
    """Raises Refused when the text is no marimo notebook. The same text again costs nothing."""
    return _parse(text).copy()


@lru_cache(8)
def _parse(text: str) -> Notebook:
    try:
        ir = MarimoConvert.from_py(text).to_ir()
    except (SyntaxError, ValueError) as error:
        raise Refused("notebook_failed", f"The file is not a marimo notebook: {error}.", "Correct the file.") from error
    except (MemoryError, RecursionError) as error:
        raise Refused("notebook_failed", "The file holds code that is nested too deeply.", "Correct it.") from error
    if not ir.valid or "marimo.App(" not in text:
        raise Refused(
            "notebook_failed",
            "The file is not a marimo notebook: it has no `app = marimo.App()`.",
            "Use another file name, or convert it with `marimo convert`.",
        )
    names = [str(c.options.get("name") or c.name) if isinstance(c, UnparsableCell) else c.name for c in ir.cells]
    cells = [
        Cell(key, cell.code, {k: v for k, v in cell.options.items() if k != "name"})
        for key, cell in zip(keyed(names), ir.cells, strict=True)
    ]
    return Notebook(text, cells, dict(ir.app.options), ir.header.value if ir.header else "")


def keyed(names: Iterable[str]) -> list[str]:
    """The durable keys of cells with these names, in order: ``load``, ``_3`` for one without a name, ``load#2``."""
    keys: list[str] = []
    seen: dict[str, int] = {}
    for number, name in enumerate(names, 1):
        bare = name.lstrip("*")
        key = bare if bare not in ("", "_", "__") else f"_{number}"
        seen[key] = seen.get(key, 0) + 1
        keys.append(key if seen[key] == 1 else f"{key}#{seen[key]}")
    return keys


def name_of(key: str) -> str:
    """The name that marimo knows the cell of this key by."""
    return "_" if key.startswith("_") and key[1:].isdigit() else key.partition("#")[0]


def generate(notebook: Notebook) -> str:
    """The notebook's file. Raises Refused when marimo's generator does not give back what went in."""
    text = written(notebook)
    again = parse(text)
    before, after = notebook.cells, again.cells
    same = len(before) == len(after) and all(alike(a.code, b.code) for a, b in zip(before, after, strict=True))
    if not same or again.app != notebook.app:
        raise Refused("notebook_failed", "marimo cannot write these cells without changing them.", "Simplify the cell.")
    return text


def written(notebook: Notebook) -> str:
    """What marimo's generator makes of the cells, not looked at again. The same cells again cost nothing."""
    cells: list[CellDef] = []
    for cell in notebook.cells:
        name = name_of(cell.key)
        kind = SetupCell if name == "setup" else CellDef
        cells.append(kind(code=cell.code, name=name, options=dict(cell.options)))
    ir = NotebookSerializationV1(
        app=AppInstantiation(options=notebook.app), header=Header(value=notebook.header), cells=cells, filename="nb.py"
    )
    return _written(_Contents(repr(ir), ir))


@dataclass(frozen=True)
class _Contents:
    """A notebook's contents, compared by what they are in writing: settings may be lists, which have no hash."""

    key: str
    ir: NotebookSerializationV1 = field(compare=False)


@lru_cache(8)
def _written(contents: _Contents) -> str:
    return str(MarimoConvert.from_ir(contents.ir).to_py())


def alike(code: str, back: str) -> bool:
    """Whether what came back is the same code; marimo drops a comment at the end of the setup cell."""
    return comparable(code) == comparable(back) or (tree(code) is not None and tree(code) == tree(back))


def tree(code: str) -> str | None:
    """The code without its layout; of a lone ``mo.md(...)`` also without the white space of its text."""
    try:
        parsed = ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    if LONE_MD.match(code.strip()):
        for node in ast.walk(parsed):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                node.value = "".join(node.value.split())
    return ast.dump(parsed)


def comparable(code: str) -> str:
    """The code as it must come back; marimo sets the quotes and the indent of a lone ``mo.md(...)`` anew."""
    text = code.strip()
    if not LONE_MD.match(text):
        return text
    return re.sub(r"\s+|[rf]*[\"']+|\\", "", text)


def check_name(name: object, notebook: Notebook) -> str:
    """A cell's name becomes a function's name in the file."""
    if not isinstance(name, str) or not name:
        raise Refused("bad_message", "A change has no cell name.", 'Give "name": a Python identifier.')
    if notebook.has(name):
        return name
    if not name.isidentifier() or keyword.iskeyword(name) or not name.isascii():
        raise Refused("bad_message", f"{name!r} cannot name a cell.", "Use letters, digits and _, such as load_data.")
    if name in RESERVED or name.startswith("_"):
        raise Refused("bad_message", f"The name {name!r} is reserved.", "Choose another name without a leading _.")
    return name


def place(notebook: Notebook, after: object) -> int:
    """Where a cell goes: behind the cell ``after``; "" is the top (below setup); None is the end."""
    if after is None:
        return len(notebook.cells)
    if after == "":
        return 1 if notebook.cells and notebook.cells[0].key == "setup" else 0
    if not notebook.has(str(after)):
        keys = [cell.key for cell in notebook.cells]
        next = f"The cells are: {', '.join(keys) or 'none yet'}."
        raise Refused(
            "not_found", f"There is no cell {after!r} to put another one behind.", next, after=after, cells=keys
        )
    return notebook.index(str(after)) + 1


def put(notebook: Notebook, change: Mapping[str, Any]) -> str:
    name, code = check_name(change.get("name"), notebook), change.get("code")
    if not isinstance(code, str):
        raise Refused("bad_message", f"The change of cell {name!r} has no code.", 'Give "code": the body of the cell.')
    if len(code) > MAX_CELL:
        raise Refused(
            "too_large", f"Cell {name!r} has {len(code):,} characters; the limit is {MAX_CELL:,}.", "Split it."
        )
    code = clean(code)
    hide = change.get("hide_code")
    if notebook.has(name):
        cell = notebook.cells[notebook.index(name)]
        cell.code = code
    else:
        if len(notebook.cells) >= MAX_CELLS:
            raise Refused("too_large", f"A notebook holds at most {MAX_CELLS} cells.", "Merge cells.")
        cell = Cell(name, code)
        where = 0 if name == "setup" else place(notebook, change.get("after"))
        notebook.cells.insert(where, cell)
    if hide is not None:
        cell.options = {k: v for k, v in cell.options.items() if k != "hide_code"} | (
            {"hide_code": True} if hide else {}
        )
    return name


def clean(code: str) -> str:
    """Line ends and outer blank lines only: the rest is the author's."""
    lines = code.replace("\r\n", "\n").replace("\r", "\n").replace("\0", "").split("\n")
    while lines and not lines[0].strip():
        lines.pop(0)
    return "\n".join(lines).rstrip()


def delete(notebook: Notebook, change: Mapping[str, Any]) -> str:
    name = str(change.get("name"))
    notebook.cells.pop(notebook.index(name))
    return name


def move(notebook: Notebook, change: Mapping[str, Any]) -> str:
    name = str(change.get("name"))
    if name == "setup":
        raise Refused("bad_message", "The setup cell is always the first.", "Move another cell.")
    if change.get("after") == name:
        raise Refused("bad_message", f"Cell {name!r} cannot follow itself.", "Name another cell.")
    cell = notebook.cells.pop(notebook.index(name))
    notebook.cells.insert(place(notebook, change.get("after", "")), cell)
    return name


OPS: dict[str, Callable[[Notebook, Mapping[str, Any]], str]] = {"put": put, "delete": delete, "move": move}


def apply(notebook: Notebook, changes: Sequence[object]) -> tuple[Notebook, list[str], list[str]]:
    """A changed copy, the names put or moved, and the names deleted. Refuses the whole batch when one change is bad."""
    if not changes:
        raise Refused("bad_message", "The edit holds no change.", 'Give "changes": a list of put, delete and move.')
    new = notebook.copy()
    changed: list[str] = []
    deleted: list[str] = []
    for number, change in enumerate(changes, 1):
        if not isinstance(change, Mapping) or change.get("op") not in OPS:
            raise Refused("bad_message", f"Change {number} has no known op.", 'Use "op": "put", "delete" or "move".')
        name = OPS[change["op"]](new, change)
        target, other = (deleted, changed) if change["op"] == "delete" else (changed, deleted)
        if name in other:
            other.remove(name)
        if name not in target:
            target.append(name)
    return new, changed, deleted


def conflict(notebook: Notebook, changes: Sequence[object], known: Mapping[str, str]) -> None:
    """Refuse to replace a cell that somebody else has changed since we last read or wrote it."""
    for change in changes:
        if not isinstance(change, Mapping) or change.get("op") not in ("put", "delete"):
            continue
        name = str(change.get("name"))
        theirs = notebook.cells[notebook.index(name)].code if notebook.has(name) else None
        wanted = clean(str(change.get("code", ""))) if change["op"] == "put" else None
        if same(theirs, known.get(name)) or theirs == wanted:
            continue
        what = "was changed" if theirs is not None and name in known else "was written" if theirs else "was deleted"
        raise Refused(
            "version_conflict",
            f"Cell {name!r} {what} by somebody else since it was last read; nothing of this edit was written.",
            "Read their version below, decide which text to keep, and edit again.",
            cell=name,
            theirs=theirs,
        )


def requirements(notebook: Notebook) -> str:
    """The script header (PEP 723) with what the cells import added, pinned to the versions installed here."""
    found = HEADER.search(notebook.header)
    if found is None:
        return notebook.header
    try:
        content = "".join(line[2:] if line.startswith("# ") else line[1:] for line in found["content"].splitlines(True))
        listed = [str(d) for d in tomllib.loads(content).get("dependencies", [])]
    except tomllib.TOMLDecodeError:
        return notebook.header
    have = {normal(re.split(r"[^A-Za-z0-9._-]", item, maxsplit=1)[0]) for item in listed}
    missing = sorted(pin for name, pin in imported(notebook).items() if normal(name) not in have)
    if not missing:
        return notebook.header
    body = "".join(f'#     "{item}",\n' for item in [*listed, *missing])
    block = f"# dependencies = [\n{body}# ]\n"
    old = re.search(r"(?ms)^# dependencies = \[.*?\]\n", found["content"])
    content = found["content"].replace(old[0], block) if old else found["content"] + block
    return notebook.header.replace(found["content"], content)


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def imported(notebook: Notebook) -> dict[str, str]:
    """Distribution name → ``name==version`` of every installed package that a cell imports."""
    import importlib.metadata as metadata
    import sys

    from jupyterlab_postdoc.notebooks.worker.check import imports

    modules = {name for cell in notebook.cells for name, _ in imports(cell.code)}
    owners: Mapping[str, list[str]] | None = None
    for module in sorted(modules - set(sys.stdlib_module_names) - OWNERS.keys()):
        with suppress(metadata.PackageNotFoundError):
            OWNERS[module] = module, f"{module}=={metadata.version(module)}"
            continue
        owners = owners if owners is not None else metadata.packages_distributions()
        for name in owners.get(module, [module])[:1]:
            with suppress(metadata.PackageNotFoundError):
                OWNERS[module] = name, f"{name}=={metadata.version(name)}"
    return dict(sorted(OWNERS[module] for module in modules & OWNERS.keys()))


def write(path: Path, content: str | bytes) -> None:
    """Atomic: a reader sees the old file or the new one. Commits know the name that it has until then."""
    data = content if isinstance(content, bytes) else content.encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        with suppress(OSError):
            temporary.chmod(path.stat().st_mode & 0o777)
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


def load(path: Path) -> Notebook:
    try:
        return parse(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise Refused("not_found", f"There is no notebook {path.name!r}.", "Create it first.") from error
    except UnicodeDecodeError as error:
        raise Refused("notebook_failed", f"{path.name!r} is not UTF-8 text.", "Save it as UTF-8.") from error


def create(path: Path, title: str, header: str, width: str) -> Notebook:
    """An empty notebook; one that exists already is kept as it is."""
    if path.exists():
        return load(path)
    safe = " ".join(title.replace('"', "'").replace("\\", "/").split())
    safe = "".join(c for c in safe if c.isprintable())[:200]  # marimo writes the title between quotes as it is
    app = {"width": width if width in ("compact", "medium", "full", "columns") else "medium"}
    app |= {"app_title": safe} if safe else {}
    head = header.strip() + "\n" if header.strip() else default_header()
    notebook = Notebook("", [], app, head)
    write(path, generate(notebook))
    return load(path)


def default_header() -> str:
    import sys

    from marimo import __version__

    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    lines = [
        "/// script",
        f'requires-python = ">={python}"',
        "dependencies = [",
        f'    "marimo=={__version__}",',
        "]",
        "///",
    ]
    return "".join(f"# {line}\n" for line in lines)


def edit(
    path: Path, changes: Sequence[object], known: Mapping[str, str] | None
) -> tuple[Notebook, list[str], list[str]]:
    """Apply a batch to the file on disk, all or nothing; tries again when the file changes under its hands."""
    for _ in range(5):
        before = load(path)
        if known is not None:
            conflict(before, changes, known)
        after, changed, deleted = apply(before, changes)
        after.header = requirements(after)
        text = generate(after)
        if text == before.text:
            return before, changed, deleted
        if path.read_text(encoding="utf-8") == before.text:
            write(path, text)
            result = parse(text)
            renamed = {a.key: b.key for a, b in zip(after.cells, result.cells, strict=True)}
            return result, [renamed.get(name, name) for name in changed], deleted
    raise Refused("busy", "The notebook file changes all the time; the edit was not written.", "Try again.")
