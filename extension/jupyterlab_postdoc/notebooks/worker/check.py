"""The notebook's check: marimo's own lint, and what it does not see (undefined names, missing packages)."""

from __future__ import annotations

import ast
import asyncio
import builtins
import importlib.machinery
import re
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from marimo._ast.parse import parse_notebook

from jupyterlab_postdoc.notebooks.worker import memo
from jupyterlab_postdoc.notebooks.worker.author import Notebook

Found = dict[str, Any]
OURS = {"MB001", "MB002", "MB003", "MB004", "MB005"}  # found here too, with the cell's name and when cells do not parse
SEVERITY = {"breaking": "error", "runtime": "warning", "formatting": "note"}
KNOWN = set(dir(builtins)) | {"__file__", "__name__", "__doc__", "__builtins__", "__annotations__", "__marimo__"}


def issue(code: str, cell: str | None, line: int | None, message: str, severity: str = "error") -> Found:
    return {"code": code, "cell": cell, "line": line, "message": message, "severity": severity}


def check(path: Path, notebook: Notebook, *, full: bool = True) -> list[Found]:
    """All findings, errors first, each with its cell; without ``full`` not marimo's own rules, which take most of the
    time.
    """
    graph = Graph(notebook)
    found = [*graph.syntax, *graph.multiple(), *graph.cycles(), *graph.setup(), *graph.undefined(), *graph.private()]
    found += [*missing(notebook, path.parent), *names(notebook)]
    found += lint(path, notebook) if full else []
    rank = {"error": 0, "warning": 1, "note": 2}
    return sorted(found, key=lambda item: rank[item["severity"]])


class Graph:
    """Which cell defines and reads which names, by marimo's own compiler."""

    def __init__(self, notebook: Notebook) -> None:
        self.notebook = notebook
        self.syntax: list[Found] = []
        self.defs: dict[str, set[str]] = {}
        self.refs: dict[str, set[str]] = {}
        self.code = {cell.key: cell.code for cell in notebook.cells}
        for cell in notebook.cells:
            try:
                compiled = memo.authored(cell.code)
            except SyntaxError as error:
                where = f" (line {error.lineno})" if error.lineno else ""
                message = f"Cell {cell.key!r} is not valid Python{where}: {error.msg}."
                self.syntax.append(issue("MB001", cell.key, error.lineno, message))
            except (ValueError, RecursionError, MemoryError) as error:
                self.syntax.append(issue("MB001", cell.key, None, f"Cell {cell.key!r} is not valid Python: {error}."))
            else:
                self.defs[cell.key], self.refs[cell.key] = set(compiled.defs), set(compiled.refs)
        self.owners: dict[str, list[str]] = defaultdict(list)
        for key, defined in self.defs.items():
            for name in sorted(defined):
                self.owners[name].append(key)

    def multiple(self) -> Iterator[Found]:
        for name, cells in self.owners.items():
            if len(cells) > 1:
                text = f"The name {name!r} is defined in cells {listing(cells)}; a name belongs to one cell. "
                text += f"Rename one, or write _{name} for a value that only its own cell uses."
                yield issue("MB002", cells[-1], first_line(self.code[cells[-1]], name, ast.Store), text)

    def parents(self, key: str) -> set[str]:
        return {owner for name in self.refs.get(key, ()) for owner in self.owners.get(name, ()) if owner != key}

    def cycles(self) -> Iterator[Found]:
        done: set[str] = set()
        for start in self.refs:
            path, stack = [start], [iter(sorted(self.parents(start)))]
            while stack and start not in done:
                step = next(stack[-1], None)
                if step is None:
                    stack.pop()
                    done.add(path.pop())
                elif step in path:
                    ring = path[path.index(step) :]
                    done.update(ring)
                    text = (
                        f"Cells {listing(sorted(ring))} need each other: each reads a name that the next one defines."
                    )
                    yield issue("MB003", ring[0], None, text)
                elif step not in done:
                    path.append(step)
                    stack.append(iter(sorted(self.parents(step))))

    def setup(self) -> Iterator[Found]:
        for name in sorted(self.refs.get("setup", set())):
            if others := [owner for owner in self.owners.get(name, ()) if owner != "setup"]:
                text = (
                    f"The setup cell reads {name!r} of cell {others[0]!r}; it runs first and may not read other cells."
                )
                yield issue("MB004", "setup", first_line(self.code["setup"], name, ast.Load), text)

    def undefined(self) -> Iterator[Found]:
        broken = {item["cell"] for item in self.syntax}
        unsure = set().union(*(stored(self.code[key]) for key in broken)) if broken else set()
        for key, refs in self.refs.items():
            for name in sorted(refs - set(self.owners) - KNOWN - unsure):
                text = f"Cell {key!r} uses {name!r}, which no cell defines."
                yield issue("PD001", key, first_line(self.code[key], name, ast.Load), text)

    def private(self) -> Iterator[Found]:
        """marimo neither reports nor runs a cell that reads another cell's ``_name``."""
        for key in self.refs:
            for name in sorted(foreign_private(self.code[key])):
                text = f"Cell {key!r} uses {name!r}, which it does not define; a name with a leading _ exists only in "
                text += f"its own cell. Write {name.lstrip('_')!r} in the cell that defines it."
                yield issue("PD004", key, first_line(self.code[key], name, ast.Load), text)


def stored(code: str) -> set[str]:
    """Names that a cell which does not parse may define: its later repair should not add findings elsewhere."""
    return set(re.findall(r"(?m)^(?:def |class |import |from \S+ import )?(\w+)", code)) | set(
        re.findall(r"(\w+) *=", code)
    )


def first_line(code: str, name: str, context: type[ast.expr_context]) -> int | None:
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Name) and node.id == name and isinstance(node.ctx, context):
            return node.lineno
    return None


@lru_cache(memo.CELLS)
def foreign_private(code: str) -> frozenset[str]:
    """Names like ``_x`` that the cell reads and nowhere binds."""
    read: set[str] = set()
    bound: set[str] = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Name):
            (read if isinstance(node.ctx, ast.Load) else bound).add(node.id)
        elif isinstance(node, ast.arg):
            bound.add(node.arg)
        elif isinstance(node, ast.alias):
            bound.add(node.asname or node.name.partition(".")[0])
        elif isinstance(node, ast.Global | ast.Nonlocal):
            bound.update(node.names)
        elif (name := getattr(node, "name", None) or getattr(node, "rest", None)) and isinstance(name, str):
            bound.add(name)  # functions, classes, `except … as`, `case … as`
    return frozenset(name for name in read - bound if name.strip("_") and name[0] == "_" and name[1] != "_")


@lru_cache(memo.CELLS)
def imports(code: str) -> tuple[tuple[str, int], ...]:
    """Top-level packages that a cell imports outside of ``try``, with the line."""
    try:
        todo: list[ast.AST] = [ast.parse(code)]
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return ()
    found: list[tuple[str, int]] = []
    while todo:
        node = todo.pop()
        if isinstance(node, ast.Import):
            found += ((alias.name.partition(".")[0], node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.append((node.module.partition(".")[0], node.lineno))
        elif not isinstance(node, ast.Try):
            todo.extend(ast.iter_child_nodes(node))
    return tuple(found)


def missing(notebook: Notebook, folder: Path) -> Iterator[Found]:
    """Packages that are not installed: an error now instead of a failed run later."""
    places = [str(folder), *sys.path]
    for cell in notebook.cells:
        for name, line in imports(cell.code):
            if name in sys.modules or name in sys.stdlib_module_names:
                continue
            if importlib.machinery.PathFinder.find_spec(name, places) is None:
                text = f"Cell {cell.key!r} imports {name!r}, which is not installed here."
                yield issue("PD002", cell.key, line, text)


def names(notebook: Notebook) -> Iterator[Found]:
    for cell in notebook.cells:
        if cell.key.startswith("_") and cell.code.strip():
            text = f"Cell {cell.key!r} has no name, so that its figure and its results cannot be found by name."
            yield issue("PD003", cell.key, None, text, "note")


def lint(path: Path, notebook: Notebook) -> Iterator[Found]:
    """marimo's rules other than OURS and those of format, each finding brought back from the file's line to the cell
    and its own line.
    """
    from marimo._lint.rule_engine import RuleEngine
    from marimo._lint.rules import DEFAULT_RULE_CODES

    rules = [rule() for code, rule in DEFAULT_RULE_CODES.items() if code not in OURS]
    engine = RuleEngine([rule for rule in rules if rule.severity.value != "formatting"])
    parsed = replace(parse_notebook(notebook.text, filepath=str(path)), filename=str(path))
    lines = cell_lines(notebook)
    for item in asyncio.run(engine.check_notebook(parsed, notebook.text)):
        at = item.line[0] if isinstance(item.line, list) else item.line
        cell, line = locate(lines, int(at or 0))
        message = re.sub(r"\s+", " ", item.message).strip().rstrip(".") + "."
        yield issue(item.code, cell, line, message, SEVERITY.get(item.severity.value, "note"))


def cell_lines(notebook: Notebook) -> Mapping[str, tuple[int, int]]:
    """Cell → (first, last) line of its body in the file, found by looking for the body's first line in order."""
    rows, places, at = notebook.text.splitlines(), {}, 0
    for cell in notebook.cells:
        body = [line.strip() for line in cell.code.splitlines()]
        if not body:
            continue
        for start in range(at, len(rows)):
            if rows[start].strip() == body[0]:
                places[cell.key] = (start + 1, start + len(body))
                at = start + len(body)
                break
    return places


def locate(lines: Mapping[str, tuple[int, int]], line: int) -> tuple[str | None, int | None]:
    for cell, (first, last) in lines.items():
        if first - 3 <= line <= last:
            return cell, max(1, line - first + 1)
    return None, None


def listing(names: list[str]) -> str:
    return ", ".join(names[:-1]) + " and " + names[-1] if len(names) > 1 else names[0]
