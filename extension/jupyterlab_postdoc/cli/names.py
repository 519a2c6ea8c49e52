"""How a person at this terminal calls our programs: by name when the PATH knows them, else by path."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path


def program(name: str) -> str:
    """`marimo`, or `.venv/bin/marimo` when only the environment of this program has it."""
    if shutil.which(name):
        return name
    beside = Path(sys.executable).parent / name
    if not beside.is_file():
        return name
    relative = os.path.relpath(beside, Path.cwd())
    return shlex.quote(str(beside) if relative.startswith("..") else relative)


def me() -> str:
    """This program: `jupyter postdoc`, or the path of its script."""
    script = program("jupyter-postdoc")
    return "jupyter postdoc" if script == "jupyter-postdoc" else script
