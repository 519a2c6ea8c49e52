"""Reading the cells of a marimo notebook file with `ast` alone, and writing the one cell that carries the study.

marimo itself would take a second and 60 MB to import, which the server process cannot afford; the file format is plain
Python, so positions from `ast` are enough. The rules follow marimo's own reader, and the tests compare the two.
"""

from __future__ import annotations

import ast
import json
import pprint
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

STUDY_CELL = "study"
SETUP_CELL = "setup"
NOTEBOOK_LIMIT = 2_000_000  # characters; a template is written by hand


@dataclass(frozen=True)
class CellSource:
    """One cell: its name in the file, its body as marimo shows it, and whether the code is folded away."""

    name: str
    code: str
    hide_code: bool = False


class NotebookSyntaxError(ValueError):
    """The notebook file is not one this reader understands; the message is a sentence for a person."""


def read_cells(path: Path) -> tuple[CellSource, ...]:
    """The cells of a marimo file in their order. Raises NotebookSyntaxError or OSError."""
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise NotebookSyntaxError(f"{path.name} is not a UTF-8 text file.") from error
    return parse_cells(text)


def parse_cells(text: str) -> tuple[CellSource, ...]:
    """The cells of a marimo notebook given as text: setup, cells, functions and classes, in file order."""
    if len(text) > NOTEBOOK_LIMIT:
        raise NotebookSyntaxError(f"The notebook is longer than {NOTEBOOK_LIMIT:,} characters.")
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError) as error:
        where = f" at line {error.lineno}" if isinstance(error, SyntaxError) else ""
        raise NotebookSyntaxError(f"The notebook is not valid Python{where}: {error}.") from error
    lines = text.split("\n")
    cells: list[CellSource] = []
    for node in tree.body:
        cell = _cell(node, lines)
        if cell is not None:
            cells.append(cell)
    return tuple(cells)


def _cell(node: ast.stmt, lines: list[str]) -> CellSource | None:
    if isinstance(node, ast.With) and any(_app_attribute(item.context_expr) == "setup" for item in node.items):
        return CellSource(SETUP_CELL, _block(node.body, node.lineno, lines), _hidden(node.items[0].context_expr))
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        kinds = {kind: dec for dec in node.decorator_list if (kind := _app_attribute(dec))}
        if "cell" in kinds and not isinstance(node, ast.ClassDef):
            return CellSource(node.name, _function_body(node, lines), _hidden(kinds["cell"]))
        for kind in ("function", "class_definition"):
            if kind in kinds:
                return CellSource(node.name, _definition(node, kinds[kind], lines), _hidden(kinds[kind]))
    if isinstance(node, ast.Expr) and _app_attribute(node.value) == "_unparsable_cell":
        raise NotebookSyntaxError(f"The notebook holds a cell that is not valid Python (line {node.lineno}).")
    return None


def _app_attribute(node: ast.expr) -> str | None:
    """`cell` for `app.cell` or `app.cell(...)`, and so on; None for anything else."""
    target = node.func if isinstance(node, ast.Call) else node
    if isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name) and target.value.id == "app":
        return target.attr
    return None


def _hidden(decorator: ast.expr) -> bool:
    if not isinstance(decorator, ast.Call):
        return False
    return any(
        word.arg == "hide_code" and isinstance(word.value, ast.Constant) and word.value.value is True
        for word in decorator.keywords
    )


def _definition(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef, mark: ast.expr, lines: list[str]) -> str:
    """The source of a reusable function or class without its `@app.…` line."""
    others = [dec for dec in node.decorator_list if dec is not mark]
    first = min([node.lineno, *(dec.lineno for dec in others)])
    end = _with_trailing_comments(node.end_lineno or node.lineno, "    ", lines)
    return "\n".join(lines[first - 1 : end]).rstrip()


def _function_body(node: ast.FunctionDef | ast.AsyncFunctionDef, lines: list[str]) -> str:
    """A cell's body: what stands between the signature and the generated `return (names,)`."""
    signature_end = _signature_end(node, lines)
    if node.body[0].lineno <= signature_end:
        if isinstance(node.body[0], ast.Return):
            return ""
        raise NotebookSyntaxError(f"The body of cell `{node.name}` must start on its own line (line {node.lineno}).")
    return _block(node.body, signature_end, lines)


def _signature_end(node: ast.FunctionDef | ast.AsyncFunctionDef, lines: list[str]) -> int:
    """The line (1-based) of the colon that ends `def name(arguments) -> result:`."""
    parts: list[ast.expr | ast.arg] = [*ast.walk(node.args)]  # type: ignore[list-item]
    if node.returns is not None:
        parts.append(node.returns)
    last_line, last_column = node.lineno, node.col_offset
    for part in parts:
        if getattr(part, "end_lineno", None):
            last_line, last_column = max((last_line, last_column), (part.end_lineno or 0, part.end_col_offset or 0))
    if ":" in _after(lines[last_line - 1], last_column).split("#")[0]:
        return last_line
    for number in range(last_line + 1, node.body[0].lineno + 1):
        if ":" in lines[number - 1].split("#")[0]:
            return number
    return node.lineno


def _after(line: str, byte_column: int) -> str:
    # ast counts columns in UTF-8 bytes.
    return line.encode("utf-8")[byte_column:].decode("utf-8", errors="replace")


def _block(body: list[ast.stmt], header_line: int, lines: list[str]) -> str:
    """The dedented text of an indented block, comments included, without a final `return`."""
    first = body[0]
    indent = " " * first.col_offset if first.lineno > header_line else "    "
    if isinstance(body[-1], ast.Return):
        end = body[-1].lineno - 1
        body = body[:-1]
    else:
        end = _with_trailing_comments(body[-1].end_lineno or body[-1].lineno, indent, lines)
    return _dedent(lines, header_line, end, indent, _string_blocks(body)).strip("\n").rstrip()


def _with_trailing_comments(end: int, indent: str, lines: list[str]) -> int:
    """`ast` knows no comments: take the indented lines that follow the last statement."""
    last = end
    for number in range(end, len(lines)):
        line = lines[number]
        if line.strip() and not line.startswith(indent):
            break
        if line.strip():
            last = number + 1
    return last


def _string_blocks(body: list[ast.stmt]) -> list[tuple[int, int]]:
    """(first, last) line numbers of the interiors of multi-line strings, outermost ones only."""
    blocks: list[tuple[int, int]] = []
    stack: list[ast.AST] = list(body)
    while stack:
        node = stack.pop()
        if isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str | bytes)):
            if node.end_lineno and node.end_lineno > node.lineno:
                blocks.append((node.lineno + 1, node.end_lineno))
            continue
        stack.extend(ast.iter_child_nodes(node))
    return blocks


def _dedent(lines: list[str], header_line: int, end: int, indent: str, blocks: list[tuple[int, int]]) -> str:
    """Remove `indent` from lines header_line+1 … end.

    A multi-line string moves with the code around it, as marimo writes it. A string with a line left of the code cannot
    have been indented by marimo, so its lines stay as they are.
    """
    kept: set[int] = set()
    for first, last in blocks:
        if any(lines[n - 1].strip() and not lines[n - 1].startswith(indent) for n in range(first, last + 1)):
            kept.update(range(first, last + 1))
    out = []
    for number in range(header_line + 1, end + 1):
        line = lines[number - 1]
        if number in kept:
            out.append(line)
        elif line.startswith(indent):
            out.append(line[len(indent) :])
        else:
            out.append(line.lstrip(" \t"))
    return "\n".join(out)


def study_literal(code: str) -> dict[str, object]:
    """The value of a `study` cell: exactly one assignment of a literal dict. Raises NotebookSyntaxError otherwise."""
    try:
        tree = ast.parse(code)
    except SyntaxError as error:
        raise NotebookSyntaxError(f"The `study` cell is not valid Python: {error}.") from error
    statement = tree.body[0] if len(tree.body) == 1 else None
    if not (
        isinstance(statement, ast.Assign)
        and len(statement.targets) == 1
        and isinstance(statement.targets[0], ast.Name)
        and statement.targets[0].id == STUDY_CELL
    ):
        raise NotebookSyntaxError("The `study` cell must hold exactly one statement: `study = {…}`.")
    try:
        value = ast.literal_eval(statement.value)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError) as error:
        raise NotebookSyntaxError("The `study` cell must be a plain literal: no names, calls or f-strings.") from error
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise NotebookSyntaxError("The `study` cell must be a dict with text keys.")
    return value


def render_study(data: Mapping[str, object]) -> str:
    """`study = {…}` as a Python literal of JSON data. Raises ValueError for anything JSON cannot hold.

    Going through JSON first means that only dicts, lists, text, numbers, booleans and None can reach the file, and
    `pprint` writes each of them as a literal: a topic stays data whatever it contains.
    """
    try:
        plain = json.loads(json.dumps(dict(data), allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"The study's data cannot be written as JSON: {error}") from error
    lines = [f"{STUDY_CELL} = {{"]
    for key, value in plain.items():
        written = pprint.pformat(value, width=100, sort_dicts=False)
        lines.append(f"    {key!r}: " + written.replace("\n", "\n    ") + ",")
    return "\n".join([*lines, "}"])
