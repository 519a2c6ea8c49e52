"""Run the notebook again and compare its verdict with the committed results.json.

Usage: python3 reproduce.py [--rtol 1e-6] [--atol 1e-9] [--here]
Where the Python that runs this has not exactly the packages of requirements.lock, an environment that has them is made
in rerun/environment (once), and the notebook runs there; --here takes this Python and its packages as they are.
Exit status: 0 the same, 1 different, 2 the notebook failed, 3 a data file is missing or changed, 4 no environment.
Changes no file of the repository.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import importlib.metadata
import importlib.util
import json
import math
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
NUMBER = re.compile(r"[-+\u2212]?\d+(?:[.,]\d+)*(?:[eE][-+]?\d+)?")
SAME, DIFFERENT, FAILED, NO_DATA, NO_ENVIRONMENT = 0, 1, 2, 3, 4
LOCK = HERE / "requirements.lock"
ENVIRONMENT = HERE / "rerun" / "environment"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--rtol", type=float, default=1e-6, help="relative tolerance for numbers (default 1e-6)")
    parser.add_argument("--atol", type=float, default=1e-9, help="absolute tolerance for numbers (default 1e-9)")
    parser.add_argument("--here", action="store_true", help="use this Python and its packages as they are")
    options = parser.parse_args()

    results = HERE / "results.json"
    if not results.exists():
        print("There is no results.json here, so there is nothing to compare: the study has not reached a verdict, or")
        print("it is still on a branch of its own (see the pull requests; `git clone --branch NAME` takes a branch).")
        return FAILED
    if not options.here and (reason := differs_from_lock()):
        return in_own_environment(reason)
    committed = json.loads(results.read_text(encoding="utf-8"))
    if problems := list(check_data()):
        print("\n".join(problems))
        return NO_DATA
    print("Running notebook.py ...", flush=True)
    try:
        computed = run_notebook()
    except Exception as exc:  # noqa: BLE001 - a cell may raise anything
        print(f"The notebook failed: {type(exc).__name__}: {exc}")
        return FAILED
    differences = list(compare(committed, computed, options.rtol, options.atol))
    show(committed, computed)
    if differences:
        print(f"NOT reproduced: {len(differences)} difference(s).")
        print("\n".join(f"  {line}" for line in differences[:50]))
        return DIFFERENT
    count = len(list(leaves(committed)))
    print(f"Reproduced: all {count} values of results.json agree (relative tolerance {options.rtol:g}).")
    return SAME


def differs_from_lock() -> str:
    """In what this Python is not the one of the study, in a few words; empty when it has all that is locked."""
    if not LOCK.exists():
        return ""
    if wanted_python() not in ("", running_python()):
        return f"this is Python {running_python()}, the study ran with {wanted_python()}"
    for line in LOCK.read_text(encoding="utf-8").splitlines():
        name, _, version = line.partition("==")
        if not version or line.startswith("#"):
            continue
        try:
            found = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            return f"{name} is not installed"
        if found != version:
            return f"{name} is {found} here, the study ran with {version}"
    return ""


def wanted_python() -> str:
    """The version of .python-version, like 3.11; empty without such a file."""
    named = HERE / ".python-version"
    return named.read_text(encoding="utf-8").strip() if named.exists() else ""


def running_python() -> str:
    return f"{sys.version_info[0]}.{sys.version_info[1]}"


def in_own_environment(reason: str) -> int:
    """Make the locked environment, unless it is there already, and do the work with it; the exit status of that."""
    binary = ENVIRONMENT / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    stamp = ENVIRONMENT / "made-from.txt"
    made_from = f"Python {wanted_python()}, {LOCK.name} {hashlib.sha256(LOCK.read_bytes()).hexdigest()}"
    if not (binary.exists() and stamp.exists() and stamp.read_text(encoding="utf-8") == made_from):
        print(f"Making the environment of {LOCK.name} in {ENVIRONMENT.relative_to(HERE)} ({reason}) ...", flush=True)
        if problem := make_environment(binary):
            print(f"{problem}\nNothing was run. `--here` runs the study with this Python and its packages as they are.")
            return NO_ENVIRONMENT
        stamp.write_text(made_from, encoding="utf-8")
    return subprocess.run([str(binary), str(HERE / "reproduce.py"), "--here", *sys.argv[1:]], check=False).returncode


def make_environment(binary: Path) -> str:
    """Create it with the study's Python, by venv and pip or by uv; empty, or a sentence that says what failed."""
    wanted, uv = wanted_python() or running_python(), shutil.which("uv")
    python = sys.executable if wanted == running_python() else shutil.which(f"python{wanted}")
    if ENVIRONMENT.exists():
        shutil.rmtree(ENVIRONMENT)  # ours, and not what is wanted or left half made
    pip = [str(binary), "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--requirement", str(LOCK)]
    if python and ran([python, "-m", "venv", str(ENVIRONMENT)]):
        return "" if ran(pip) else f"pip could not install {LOCK.name}: see its message above."
    if uv and ran([uv, "venv", "--quiet", "--clear", "--python", wanted, str(ENVIRONMENT)]):
        done = ran([uv, "pip", "install", "--quiet", "--python", str(binary), "--requirement", str(LOCK)])
        return "" if done else f"uv could not install {LOCK.name}: see its message above."
    if python:
        return f"Python {wanted} could not make a virtual environment: see its message above."
    return f"The study needs Python {wanted}, and neither that nor uv (which fetches it) was found on this computer."


def ran(command: list[str]) -> bool:
    """Whether a program came to its end without an error."""
    return subprocess.run(command, check=False).returncode == 0


def check_data() -> Iterator[str]:
    """One sentence for each data file that is not what the study used."""
    manifest = HERE / "data" / "MANIFEST.json"
    entries = json.loads(manifest.read_text(encoding="utf-8"))["files"] if manifest.exists() else []
    for entry in entries:
        path = HERE / entry["path"]
        if not path.is_file():
            yield f"{entry['path']} is missing. Put the file there; its sha256 is {entry['sha256']}."
            continue
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if digest != entry["sha256"]:
            yield f"{entry['path']} is not the file the study used: sha256 {digest}, expected {entry['sha256']}."


def run_notebook() -> Any:
    """Execute every cell once; the value of the cell named `verdict`, as results.json would hold it."""
    source = HERE / "notebook.py"
    os.chdir(HERE)
    os.environ.setdefault("MPLBACKEND", "Agg")
    sys.dont_write_bytecode = True
    sys.argv = [str(source)]
    spec = importlib.util.spec_from_file_location("notebook", source)
    if spec is None or spec.loader is None:
        raise ImportError("notebook.py cannot be loaded")
    module = importlib.util.module_from_spec(spec)
    sys.modules["notebook"] = module
    spec.loader.exec_module(module)
    names = cell_names(source.read_text(encoding="utf-8"))
    outputs, _ = module.app.run()
    if "verdict" not in names or len(outputs) != len(names):
        raise LookupError("the notebook has no cell named `verdict`")
    return json.loads(json.dumps(outputs[names.index("verdict")], default=plain))


def cell_names(source: str) -> list[str]:
    """The names of the notebook's cells in order, without the setup block: the order of `app.run()`'s outputs."""
    found = []
    for node in ast.parse(source).body:
        for decorator in getattr(node, "decorator_list", []):
            target = decorator.func if isinstance(decorator, ast.Call) else decorator
            if isinstance(target, ast.Attribute) and ast.unparse(target.value) == "app":
                found.append(str(getattr(node, "name", "")))
    return found


def plain(value: Any) -> Any:
    """A NumPy scalar or array as plain JSON data."""
    return value.tolist() if hasattr(value, "tolist") else str(value)


def compare(old: Any, new: Any, rtol: float, atol: float, where: str = "") -> Iterator[str]:
    """One line for each value that differs by more than the tolerance."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted({*old, *new}):
            at = f"{where}.{key}" if where else key
            if key not in old or key not in new:
                yield f"{at}: only in the {'new' if key in new else 'committed'} results"
            else:
                yield from compare(old[key], new[key], rtol, atol, at)
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for index, (one, other) in enumerate(zip(old, new, strict=True)):
            yield from compare(one, other, rtol, atol, f"{where}[{index}]")
    elif not same(old, new, rtol, atol):
        yield f"{where or 'results'}: committed {old!r}, now {new!r}"


def same(old: Any, new: Any, rtol: float, atol: float) -> bool:
    """Whether two leaves agree; sentences do when their numbers differ by one unit of the last digit at most."""
    if isinstance(old, bool) or isinstance(new, bool):
        return old is new
    if isinstance(old, (int, float)) and isinstance(new, (int, float)):
        return math.isclose(old, new, rel_tol=rtol, abs_tol=atol)
    if isinstance(old, str) and isinstance(new, str) and old != new:
        pairs = zip(NUMBER.findall(old), NUMBER.findall(new), strict=False)
        return NUMBER.split(old) == NUMBER.split(new) and all(last_digit(one, other) for one, other in pairs)
    return bool(old == new)


def last_digit(one: str, other: str) -> bool:
    """Whether two printed numbers differ by no more than one unit of the last digit that is shown."""
    if one == other:
        return True
    try:
        first, second = (float(text.replace(",", "").replace("\u2212", "-")) for text in (one, other))
    except ValueError:
        return False
    mantissa, _, exponent = one.lower().partition("e")
    decimals = len(mantissa.partition(".")[2])
    return decimals > 0 and abs(first - second) <= 1.01 * 10.0 ** (int(exponent or 0) - decimals)


def leaves(value: Any) -> Iterator[Any]:
    """Every number, text, truth value or null inside."""
    if isinstance(value, (dict, list)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from leaves(item)
    else:
        yield value


def show(committed: Any, computed: Any) -> None:
    """The key figures side by side."""
    if isinstance(committed, dict) and isinstance(computed, dict):
        for key in ("supported", "estimate", "ci_low", "ci_high", "p_value", "n_obs"):
            if key in committed or key in computed:
                print(f"  {key:10} committed {committed.get(key)!r:24} now {computed.get(key)!r}")


if __name__ == "__main__":
    sys.exit(main())
