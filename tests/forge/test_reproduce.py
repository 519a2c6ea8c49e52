# ruff: noqa: ASYNC221 - each step is a short program whose end the test needs
"""The two commands of the README work in a fresh clone, and notice when a figure is not what the notebook computes."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from importlib import resources
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from jupyterlab_postdoc.forge.local import LocalForge
from jupyterlab_postdoc.forge.repository import Study, add_dataset, write_results, write_skeleton
from jupyterlab_postdoc.workspace.git import Git

NOTEBOOK = """
import marimo

__generated_with = "0.25.2"
app = marimo.App()

with app.setup:
    import csv
    import math

    import marimo as mo


@app.cell
def study():
    study = {"parameters": {"data": "data/returns.csv"}}
    return (study,)


@app.cell(hide_code=True)
def title():
    mo.md("# A study")
    return


@app.function
def analyse(rows):
    values = [float(row["value"]) for row in rows]
    mean = sum(values) / len(values)
    return {
        "claim": "the mean is positive",
        "supported": mean > 0,
        "estimate": mean / math.pi,
        "p_value": None,
        "n_obs": len(values),
        "summary": f"The mean is {mean:.3f}.",
        "limits": ["three rows"],
    }


@app.cell
def verdict(rows):
    analyse(rows)
    return


@app.cell
def load(study):
    with (mo.notebook_dir() / study["parameters"]["data"]).open() as _file:
        rows = list(csv.DictReader(_file))
    return (rows,)


@app.cell
def test_rows(rows):
    assert rows
    return


if __name__ == "__main__":
    app.run()
"""
VERDICT = {
    "claim": "the mean is positive",
    "supported": True,
    "estimate": 2 / 3.141592653589793,
    "p_value": None,
    "n_obs": 3,
    "summary": "The mean is 2.000.",
    "limits": ["three rows"],
}


def reproduce(clone: Path, *argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "reproduce.py", *argv], cwd=clone, capture_output=True, text=True, check=False, timeout=60
    )


async def test_a_clone_reproduces_the_study_and_notices_a_changed_figure(tmp_path: Path) -> None:
    root, source = tmp_path / "study", tmp_path / "returns.csv"
    root.mkdir()
    source.write_text("value\n1\n2\n3\n")
    study = Study(
        topic="Is the mean positive?", title="Mean", repo_name="study", template="mean", template_version="1",
        provider="template", session="s", run="r", author="Ada", created=1.79e9,
    )  # fmt: skip
    git = Git()
    await git.init(root)
    await write_skeleton(root, study)
    await add_dataset(root, source)
    (root / "notebook.py").write_text(NOTEBOOK.lstrip())
    (root / "results.json").write_text(json.dumps(VERDICT))
    await write_results(root, study, VERDICT)
    assert await git.commit_all(root, subject="Study", trailers={"Research-Step": "1"})
    forge = LocalForge(tmp_path / "data")
    repo = await forge.create_repo("study", session="s", run="r")
    await forge.push(root, repo)
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "-q", repo.url, str(clone)], check=True)

    # The README's commands, with the installed environment instead of a new one: pip finds that every pin of the lock
    # file is met, without looking anywhere (no index).
    commands = (clone / "README.md").read_text().partition("```sh\n")[2].partition("\n```")[0].splitlines()
    assert len(commands) == 2
    minor = f"{sys.version_info.major}.{sys.version_info.minor}"
    assert commands[0].startswith(f"python{minor} -m venv .venv && ")
    install = commands[0].partition(" && ")[2].replace(".venv/bin/python", sys.executable)
    done = subprocess.run(
        [*install.split(), "--no-index", "--quiet", "--disable-pip-version-check", "--dry-run"],
        cwd=clone, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert commands[1] == ".venv/bin/python reproduce.py"
    done = reproduce(clone)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Reproduced: all 7 values" in done.stdout
    assert subprocess.run(["git", "status", "--porcelain"], cwd=clone, capture_output=True, check=True).stdout == b""

    (clone / "results.json").write_text(json.dumps({**VERDICT, "estimate": 0.64, "n_obs": 3}))
    done = reproduce(clone)
    assert done.returncode == 1
    assert re.search(r"NOT reproduced: 1 difference.*\n  estimate: committed 0\.64, now 0\.636", done.stdout)
    assert reproduce(clone, "--rtol", "0.01").returncode == 0

    (clone / "data" / "returns.csv").write_text("value\n1\n2\n4\n")
    assert reproduce(clone).returncode == 3
    (clone / "data" / "returns.csv").unlink()
    done = reproduce(clone)
    assert done.returncode == 3
    assert "data/returns.csv is missing" in done.stdout

    (clone / "data" / "MANIFEST.json").unlink()
    done = reproduce(clone)
    assert done.returncode == 2
    assert "The notebook failed" in done.stdout


@pytest.fixture
def script() -> ModuleType:
    """reproduce.py as a module."""
    module = ModuleType("reproduce")
    path = resources.files("jupyterlab_postdoc.forge").joinpath("files", "reproduce.py")
    module.__file__ = str(path)
    exec(compile(path.read_text(), str(path), "exec"), module.__dict__)
    return module


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        (1.0, 1.0 + 1e-9, True),
        (1.0, 1.0001, False),
        (0, 1e-12, True),
        (1, True, False),
        (None, 0, False),
        (None, None, True),
        (False, False, True),
        ("p = 0.050 (n = 1,200)", "p = 0.051 (n = 1,200)", True),
        ("p = 0.050 (n = 1,200)", "p = 0.052 (n = 1,200)", False),
        ("n = 12", "n = 13", False),
        ("supported", "not supported", False),
        ("gain 0.12", "gain \u22120.12", False),
        ("in 3e-05 of", "in 3.0e-05 of", False),
        ([1, 2], [1, 2, 3], False),
        ({"a": 1}, {"b": 1}, False),
        ({"a": [{"b": 1.0}]}, {"a": [{"b": 2.0}]}, False),
        ("same", "same", True),
    ],
)
def test_results_are_compared_within_tolerance(script: Any, old: Any, new: Any, same: bool) -> None:
    assert (list(script.compare(old, new, 1e-6, 1e-9)) == []) is same
