"""The versions a notebook was run with: what it imports, and everything that those packages need."""

from __future__ import annotations

import ast
import functools
import os
import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from jupyterlab_postdoc.workspace.installed import Installed, normal

ALWAYS = ("marimo",)
_READERS = {"pandas": ("pyarrow", "openpyxl"), "polars": ("pyarrow", "openpyxl")}
"""Packages that another one imports only when it meets such a file; no import statement shows them."""

MAX_NOTEBOOK = 4 << 20
_HEADER = re.compile(r"(?m)^# /// script$\n((?:^#(?:| .*)$\n)+?)^# ///$")
_LISTED = re.compile(r"(?ms)^# dependencies = \[.*?\]\n")


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


def keep_header(notebook: Path, direct: Mapping[str, str]) -> bool:
    """Bring the pins of the notebook's script header (PEP 723) in step with ``direct``; whether anything changed.

    What else the header says stays, and so does the file's time: no cell was changed, and its last run still counts.
    A notebook without a header, or with one that cannot be read, is left alone.
    """
    try:
        if notebook.is_symlink() or (about := notebook.stat()).st_size > MAX_NOTEBOOK:
            return False
        text = notebook.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return False
    fresh = with_pins(text, direct)
    if fresh == text:
        return False
    partial = notebook.with_name(f".{notebook.name}.new")
    partial.unlink(missing_ok=True)
    with partial.open("x", encoding="utf-8", newline="\n") as file:
        file.write(fresh)
    partial.chmod(about.st_mode & 0o777)
    os.utime(partial, ns=(about.st_atime_ns, about.st_mtime_ns))
    partial.replace(notebook)
    return True


def with_pins(text: str, direct: Mapping[str, str]) -> str:
    """A notebook's text whose header lists every one of ``direct`` with its version."""
    header = _HEADER.search(text)
    if header is None:
        return text
    import tomllib  # not at every start of a server

    try:
        given = tomllib.loads("".join(line[2:] for line in header[1].splitlines(keepends=True)))
        listed = [str(item) for item in given.get("dependencies", [])]
    except (tomllib.TOMLDecodeError, TypeError):
        return text
    wanted: dict[str, str] = {}
    for item in listed:
        name = normal(re.split(r"[^A-Za-z0-9._-]", item.strip(), maxsplit=1)[0])
        extras = re.match(r"[A-Za-z0-9._-]+\s*(\[[^\]]*\])", item.strip())
        wanted[name] = f"{name}{extras[1] if extras else ''}=={direct[name]}" if name in direct else item
    for name, version in direct.items():
        wanted.setdefault(name, f"{name}=={version}")
    if list(wanted.values()) == listed:
        return text
    block = "# dependencies = [\n" + "".join(f'#     "{item}",\n' for item in wanted.values()) + "# ]\n"
    changed = _LISTED.sub(lambda _: block, header[1], count=1) if _LISTED.search(header[1]) else header[1] + block
    try:  # nothing is written that would not read back as meant
        back = tomllib.loads("".join(line[2:] for line in changed.splitlines(keepends=True)))
    except tomllib.TOMLDecodeError:
        return text
    if back != {**given, "dependencies": list(wanted.values())}:
        return text
    return text[: header.start(1)] + changed + text[header.end(1) :]


def pinned(imports: Iterable[str], packages: Path | None = None) -> dict[str, str]:
    """Installed distributions that provide the imports (and marimo): name to version, sorted. Blocking.

    ``packages`` are a project's own, which go before this server's.
    """
    wanted = {*ALWAYS, *imports}
    for name in tuple(wanted):
        wanted.update(_READERS.get(name, ()))
    installed = _installed(packages)
    found: dict[str, str] = {}
    for name in wanted - sys.stdlib_module_names:
        for distribution in installed.providers.get(name, ()):
            if version := installed.version(distribution):
                found[normal(distribution)] = version
    return dict(sorted(found.items()))


def locked(direct: Iterable[str], packages: Path | None = None) -> dict[str, str]:
    """The distributions and all they require on this interpreter and platform, name to version, sorted."""
    return _installed(packages).closure(direct)


@functools.lru_cache(16)
def _installed(packages: Path | None) -> Installed:
    """An environment is never changed, so what is in it need not be looked at twice."""
    return Installed(packages)
