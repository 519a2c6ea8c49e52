"""The versions a notebook was run with: what it imports, and everything that those packages need."""

from __future__ import annotations

import ast
import functools
import re
import sys
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

ALWAYS = ("marimo",)
_READERS = {"pandas": ("pyarrow", "openpyxl"), "polars": ("pyarrow", "openpyxl")}
"""Packages that another one imports only when it meets such a file; no import statement shows them."""

MAX_NOTEBOOK = 4 << 20


def imported_names(notebook: Path) -> set[str]:
    """The top-level names that the notebook's code imports; empty when it cannot be read or parsed."""
    try:
        if notebook.is_symlink() or notebook.stat().st_size > MAX_NOTEBOOK:
            return set()
        tree = ast.parse(notebook.read_text(encoding="utf-8"))
    except (OSError, ValueError, SyntaxError, RecursionError, MemoryError):
        return set()
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found.update(alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.partition(".")[0])
    return found


def pinned(imports: Iterable[str]) -> dict[str, str]:
    """Installed distributions that provide the imports (and marimo): name to version, sorted. Blocking."""
    wanted = {*ALWAYS, *imports}
    for name in tuple(wanted):
        wanted.update(_READERS.get(name, ()))
    providers = _providers()
    found: dict[str, str] = {}
    for name in wanted - sys.stdlib_module_names:
        for distribution in providers.get(name, ()):
            if version := _version(distribution):
                found[_normal(distribution)] = version
    return dict(sorted(found.items()))


def locked(direct: Iterable[str]) -> dict[str, str]:
    """The distributions and all they require on this interpreter and platform, name to version, sorted."""
    found: dict[str, str] = {}
    todo: list[tuple[str, frozenset[str]]] = [(_normal(name), frozenset()) for name in direct]
    seen: set[tuple[str, frozenset[str]]] = set()
    while todo:
        name, extras = todo.pop()
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        if version := _version(name):
            found[name] = version
            todo.extend(_needs(name, extras))
    return dict(sorted(found.items()))


def _needs(name: str, extras: frozenset[str]) -> list[tuple[str, frozenset[str]]]:
    from packaging.requirements import InvalidRequirement, Requirement

    needs = []
    for line in metadata.requires(name) or ():
        try:
            requirement = Requirement(line)
        except InvalidRequirement:
            continue
        marker = requirement.marker
        if marker is None or any(marker.evaluate({"extra": extra}) for extra in extras or {""}):
            needs.append((_normal(requirement.name), frozenset(requirement.extras)))
    return needs


@functools.cache
def _providers() -> dict[str, list[str]]:
    return {name: list(found) for name, found in metadata.packages_distributions().items()}


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
