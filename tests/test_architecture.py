"""Imports point one way, and nothing heavy is loaded before it is needed."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import jupyterlab_postdoc

PACKAGE = Path(jupyterlab_postdoc.__file__).parent
LAYERS = [
    ["secrets", "settings"],
    ["errors", "protocol"],
    ["store"],
    ["hub", "text_stream", "telemetry"],
    ["log"],
    ["run_context"],
    ["runs"],
    ["dispatch", "workspace"],
    ["notebooks", "forge", "templates", "connectors"],
    ["providers"],
    ["tools"],
    ["publishing"],
    ["agent"],
    ["models"],
    ["handover", "checkpoints"],
    ["health", "commands", "desk", "overview"],
    ["sessions"],
    ["handlers"],
    ["assemble"],
    ["app"],
]
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names}
HEAVY = [
    "marimo",
    "numpy",
    "pandas",
    "altair",
    "matplotlib",
    "pyarrow",
    "openpyxl",
    "anthropic",
    "github",
    "keyring",
    "cryptography",
    "opentelemetry",
    "mcp",
    "anywidget",
]


def part_of(module: str) -> str:
    """`jupyterlab_postdoc.store.base` → `store`."""
    return [*module.split("."), ""][1]


def imports_of(path: Path) -> set[str]:
    """Names of our own parts that a file imports, relative imports resolved."""
    package = ["jupyterlab_postdoc", *path.relative_to(PACKAGE).parent.parts]
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *(node.module or "").split(".")]).rstrip(".")
            found |= {module, *(f"{module}.{alias.name}" for alias in node.names)}
    return {part_of(name) for name in found if name.startswith("jupyterlab_postdoc.")} - {""}


def files_of(part: str) -> list[Path]:
    module = PACKAGE / f"{part}.py"
    return [module] if module.exists() else sorted((PACKAGE / part).rglob("*.py"))


@pytest.mark.parametrize("part", RANK)
def test_imports_point_down(part: str) -> None:
    files = files_of(part)
    assert files
    for path in files:
        up = {name for name in imports_of(path) if RANK.get(name, -1) >= RANK[part] and name != part}
        assert not up, f"{path.relative_to(PACKAGE)} imports {sorted(up)}"


def test_every_part_has_its_layer() -> None:
    parts = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert parts - set(RANK) == {"__init__", "cli", "follow"}


def test_the_command_line_speaks_http_only() -> None:
    for path in files_of("cli"):
        assert imports_of(path) <= {"cli", "templates", "errors", "__version__"}, path


def test_the_widget_is_a_client_too() -> None:
    """It runs in kernels: it finds a server as the command line does, and knows nothing of the server's inside."""
    for path in files_of("follow"):
        assert imports_of(path) <= {"cli", "follow"}, path


def test_the_extension_starts_light() -> None:
    """What the server imports at start leaves the notebooks' libraries alone: they belong to the notebook's process."""
    code = f"import jupyterlab_postdoc.app, sys; print([m for m in {HEAVY} if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"
