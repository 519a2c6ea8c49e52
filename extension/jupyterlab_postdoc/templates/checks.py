"""`jupyter postdoc templates check PATH`: everything a template must have, one sentence per problem."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jupyterlab_postdoc.templates.model import TemplateError, read_yaml
from jupyterlab_postdoc.templates.names import names
from jupyterlab_postdoc.templates.parameters import description_problems
from jupyterlab_postdoc.templates.source import CellSource, NotebookSyntaxError, read_cells, study_literal

REQUIRED_CELLS = ("setup", "study", "title", "controls", "load", "analyse", "figure", "limitations", "verdict")
REQUIRED_PREFIXES = ("robustness", "test_")
STUDY_KEYS = ("topic", "template", "version", "parameters", "session", "seed")
TOOLS = frozenset(
    {"plan", "read_file", "write_file", "edit_file", "shell", "nb_create", "nb_cells", "nb_edit", "nb_check", "nb_run"}
    | {"git_commit", "ask_user", "finish"}
)


def check(path: Path) -> list[str]:
    """What is wrong with the template in folder `path`; an empty list means that it can be used."""
    path = Path(path)
    if not path.is_dir():
        return [f"{path} is not a folder; a template is a folder with template.yaml, notebook.py and script.yaml."]
    problems: list[str] = []
    described = _yaml(path / "template.yaml", problems)
    if described is not None:
        problems += description_problems(described)
    usable = described if isinstance(described, dict) and not problems else None
    cells = _cells(path / "notebook.py", problems)
    if cells is not None:
        problems += _cell_problems(cells, usable)
    script = _yaml(path / "script.yaml", problems)
    if script is not None:
        problems += _script_problems(script, cells or (), len(usable["plan"]) if usable else None)
    problems += _repair_problems(path / "repairs", cells or ())
    return problems


def warnings(path: Path) -> list[str]:
    """What works but could be better, one sentence each: cells that are written before the names that they use.

    Nothing while `check` finds problems.
    """
    path = Path(path)
    if check(path):
        return []
    cells = {cell.name: names(cell.code) for cell in read_cells(path / "notebook.py")}
    owner = {name: cell for cell, found in cells.items() for name in found.defines}
    steps = list(_steps(read_yaml(path / "script.yaml")))
    written = {cell: number for number, (_, put) in enumerate(steps) for cell in put}
    found: list[str] = []
    for number, (turn, put) in enumerate(steps):
        for cell in put:
            late = sorted(name for name in cells[cell].reads if name in owner and written[owner[name]] > number)
            if late:
                turns = dict.fromkeys(steps[written[owner[name]]][0] for name in late)
                found.append(_waits(turn, cell, late, list(turns)))
    return found


def _steps(script: dict[str, Any]) -> Iterator[tuple[str, list[str]]]:
    """(turn, cells) of each call that writes cells, in the script's order."""
    for turn in script["turns"]:
        for call in turn.get("calls") or []:
            if call.get("cells"):
                yield turn["id"], call["cells"]


def _waits(turn: str, cell: str, late: list[str], turns: list[str]) -> str:
    later = " and ".join("a later call of it" if name == turn else f"turn `{name}`" for name in turns)
    shown = ", ".join(f"`{name}`" for name in late[:4]) + (f" and {len(late) - 4} more" if len(late) > 4 else "")
    return (
        f"script.yaml, turn `{turn}`: the cell `{cell}` uses {shown}, defined only in {later}. "
        "In a live notebook it shows no output until then; write what it uses in the same call or before."
    )


def _yaml(path: Path, problems: list[str]) -> Any:
    try:
        return read_yaml(path)
    except TemplateError as error:
        problems.append(str(error))
        return None


def _cells(path: Path, problems: list[str]) -> tuple[CellSource, ...] | None:
    try:
        return read_cells(path)
    except NotebookSyntaxError as error:
        problems.append(f"notebook.py: {error}")
    except OSError as error:
        problems.append(f"notebook.py cannot be read: {error.strerror or error}.")
    return None


def _cell_problems(cells: tuple[CellSource, ...], described: dict[str, Any] | None) -> list[str]:
    names = [cell.name for cell in cells]
    problems = [f"notebook.py: the cell `{name}` is missing." for name in REQUIRED_CELLS if name not in names]
    for prefix in REQUIRED_PREFIXES:
        if not any(name.startswith(prefix) for name in names):
            problems.append(f"notebook.py: no cell is named `{prefix}…`.")
    if "_" in names:
        problems.append("notebook.py: every cell needs a name; one is called `_`.")
    problems += [
        f"notebook.py: two cells are named `{name}`." for name in sorted({n for n in names if names.count(n) > 1})
    ]
    for cell in cells:
        if cell.name == "study":
            problems += _study_problems(cell.code, described)
        if cell.name.startswith("test_") and _only_hides_tests(cell):
            problems.append(f"notebook.py: `{cell.name}` only defines functions; pytest runs the cell, never these.")
    return problems


def _only_hides_tests(cell: CellSource) -> bool:
    """A cell named test_… is one test for pytest; functions inside it are never called."""
    body = ast.parse(cell.code).body
    if len(body) == 1 and isinstance(body[0], ast.FunctionDef) and body[0].name == cell.name:
        return False
    return bool(body) and all(isinstance(node, ast.FunctionDef | ast.ClassDef) for node in body)


def _study_problems(code: str, described: dict[str, Any] | None) -> list[str]:
    try:
        study = study_literal(code)
    except NotebookSyntaxError as error:
        return [f"notebook.py: {error}"]
    problems = [f"notebook.py: `study` has no key `{key}`." for key in STUDY_KEYS if key not in study]
    given = study.get("parameters")
    if described is None or not isinstance(given, dict):
        return problems
    for key in ("name", "version"):
        own = study.get("template" if key == "name" else key)
        if own != described[key]:
            problems.append(f"notebook.py: `study` says {key} {own!r}, template.yaml says {described[key]!r}.")
    properties = described["parameters"]["properties"]
    for name in sorted(set(properties) ^ set(given)):
        place, other = ("template.yaml", "`study`") if name in properties else ("`study`", "template.yaml")
        problems.append(f"notebook.py: parameter `{name}` is in {place} but not in {other}.")
    for name in sorted(set(properties) & set(given)):
        if given[name] != properties[name]["default"]:
            problems.append(
                f"notebook.py: `study` holds {name} = {given[name]!r}, its default is {properties[name]['default']!r}."
            )
    return problems


def _script_problems(script: object, cells: tuple[CellSource, ...], steps: int | None) -> list[str]:
    turns = script.get("turns") if isinstance(script, dict) else None
    if not isinstance(turns, list) or not turns:
        return ["script.yaml needs `turns`: a list with at least one turn."]
    problems: list[str] = []
    ids: list[object] = []
    written: list[object] = []
    tools: list[object] = []
    for number, turn in enumerate(turns, 1):
        if not isinstance(turn, dict) or not isinstance(turn.get("id"), str):
            problems.append(f"script.yaml: turn {number} needs an `id`.")
            continue
        where = f"script.yaml, turn `{turn['id']}`"
        ids.append(turn["id"])
        if "plan" in turn and steps is not None and turn["plan"] not in range(steps):
            problems.append(f"{where}: `plan` is {turn['plan']!r}; template.yaml has {steps} steps, counted from 0.")
        problems += _text_problems(turn, where)
        calls = turn.get("calls", [])
        for call in calls if isinstance(calls, list) else [None]:
            if not isinstance(call, dict) or call.get("tool") not in TOOLS:
                problems.append(f"{where}: every call needs a `tool`, one of {', '.join(sorted(TOOLS))}.")
                continue
            tools.append(call["tool"])
            written += call.get("cells") or []
    problems += [
        f"script.yaml: two turns have the id `{i}`." for i in sorted({str(i) for i in ids if ids.count(i) > 1})
    ]
    return problems + _coverage_problems(written, tools, [cell.name for cell in cells])


def _coverage_problems(written: list[object], tools: list[object], names: list[str]) -> list[str]:
    problems = [
        f"script.yaml writes the cell `{n}`, which notebook.py does not have." for n in written if n not in names
    ]
    problems += [f"script.yaml never writes the cell `{n}`." for n in names if n not in written]
    problems += [
        f"script.yaml writes the cell `{n}` twice." for n in sorted({str(n) for n in written if written.count(n) > 1})
    ]
    problems += [f"script.yaml never calls `{t}`." for t in ("nb_create", "nb_run", "finish") if t not in tools]
    return problems


def _text_problems(value: object, where: str) -> list[str]:
    """Jinja syntax of every text in a turn."""
    import jinja2

    if isinstance(value, str):
        try:
            jinja2.Environment(autoescape=False).parse(value)
        except jinja2.TemplateSyntaxError as error:
            return [f"{where}: the text is not a valid Jinja template: {error}."]
        return []
    parts = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []
    return [problem for part in parts for problem in _text_problems(part, where)]


def _repair_problems(folder: Path, cells: tuple[CellSource, ...]) -> list[str]:
    problems = []
    names = {cell.name for cell in cells}
    for path in sorted(folder.glob("*.py")):
        if path.stem not in names:
            problems.append(f"repairs/{path.name}: notebook.py has no cell `{path.stem}`.")
        try:
            ast.parse(path.read_text(encoding="utf-8"))
        except (SyntaxError, ValueError) as error:
            problems.append(f"repairs/{path.name} is not valid Python: {error}.")
    return problems
