# ruff: noqa: ASYNC221 - each step is a short program whose end the test needs
"""A stranger runs the two commands of README and pull request; a figure that the notebook does not compute shows."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from importlib import resources
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from jupyterlab_postdoc.forge.published import commands
from jupyterlab_postdoc.forge.repository import Outcome, Study, add_dataset, write_home, write_results, write_skeleton
from jupyterlab_postdoc.publishing.pull_text import pull_body
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


HOME, BRANCH = "https://github.com/ana/owls", "agent/is-the-mean-positive/1234abcd"
STUDY = Study(
    topic="Is the mean positive?", title="Mean", repo_name="study", template="mean", template_version="1",
    provider="template", session="s", run="r", author="Ada", created=1.79e9,
)  # fmt: skip


def reproduce(clone: Path, *argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "reproduce.py", *argv], cwd=clone, capture_output=True, text=True, check=False, timeout=60
    )


async def publish(tmp_path: Path) -> tuple[Path, Path]:
    """A study and its bare repository as it is on GitHub: `main` has the first commit, the session's branch all."""
    root, source = tmp_path / "study", tmp_path / "returns.csv"
    root.mkdir()
    source.write_text("value\n1\n2\n3\n")
    git = Git()
    await git.init(root)
    await write_skeleton(root, STUDY)
    first = await git.commit_all(root, subject="Start", trailers={"Research-Step": "start"})
    assert first
    await add_dataset(root, source)
    (root / "notebook.py").write_text(NOTEBOOK.lstrip())
    (root / "results.json").write_text(json.dumps(VERDICT))
    await write_results(root, STUDY, VERDICT)
    assert await git.commit_all(root, subject="Study", trailers={"Research-Step": "1"})
    assert await write_home(root, STUDY, HOME, BRANCH)
    assert await git.commit_all(root, subject="Say where it is", trailers={"Research-Step": "published"})
    bare = tmp_path / "remote" / "ana" / "owls"
    subprocess.run(["git", "init", "-q", "--bare", "-b", "main", str(bare)], check=True)
    subprocess.run(
        ["git", "push", "-q", str(bare), f"{first.sha}:refs/heads/main", f"HEAD:refs/heads/{BRANCH}"],
        cwd=root, check=True,
    )  # fmt: skip
    return root, bare


def stranger(tmp_path: Path, text: str, *argv: str) -> tuple[Path, str, int]:
    """Run a text's two commands, as they stand there, in a new folder of a new user: the clone, what was said, and
    the exit status. github.com is ``remote`` below ``tmp_path``; ``argv`` is written behind the second command.
    """
    lines = text.partition("```sh\n")[2].partition("\n```")[0].splitlines()
    assert len(lines) == 2, lines
    new = Path(tempfile.mkdtemp(prefix="stranger-", dir=tmp_path))
    (new / "bin").mkdir()
    (new / "bin" / "python3").write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    (new / "bin" / "python3").chmod(0o755)  # "python3" is the one that these tests run with, with its packages
    env = {
        "HOME": str(new),
        "PATH": f"{new / 'bin'}:{os.environ['PATH']}",
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"url.{tmp_path / 'remote'}/.insteadOf",
        "GIT_CONFIG_VALUE_0": "https://github.com/",
        **{name: value for name, value in os.environ.items() if name.startswith(("PIP_", "SSL_", "LANG", "TMP"))},
    }
    said = ""
    for line in (lines[0], " ".join([lines[1], *argv])):
        done = subprocess.run(
            ["sh", "-c", line], cwd=new, env=env, capture_output=True, text=True, check=False, timeout=400
        )
        said += done.stdout + done.stderr
    return new / lines[0].split()[-1], said, done.returncode


async def test_a_stranger_reproduces_with_the_two_commands_of_the_pull_request(tmp_path: Path) -> None:
    _, bare = await publish(tmp_path)
    body = pull_body(STUDY, VERDICT, Outcome(), home=HOME, branch=BRANCH)
    clone, said, status = stranger(tmp_path, body)
    assert status == 0, said
    assert "Reproduced: all 7 values" in said
    assert "Making" not in said
    assert subprocess.run(["git", "status", "--porcelain"], cwd=clone, capture_output=True, check=True).stdout == b""

    # Before the merge, the README's commands reach the default branch, which says where the study is; then it is there.
    readme = (clone / "README.md").read_text()
    clone, said, status = stranger(tmp_path, readme)
    assert status == 2
    assert (
        "it is still on a branch of its own (see the pull requests; `git clone --branch NAME` takes a branch)" in said
    )
    assert "**under review** there until a person merges it" in (clone / "README.md").read_text()
    assert f"`git clone --branch {BRANCH} {HOME} owls`" in readme
    subprocess.run(["git", "update-ref", "refs/heads/main", f"refs/heads/{BRANCH}"], cwd=bare, check=True)
    clone, said, status = stranger(tmp_path, readme)
    assert (status, json.loads((clone / "results.json").read_text())) == (0, VERDICT), said


@pytest.mark.slow
async def test_a_stranger_without_any_package_reproduces_in_a_new_environment(tmp_path: Path) -> None:
    """The real thing: a Python that has nothing, and pip, which takes what is locked from where it is set up to."""
    base = Path(sys.base_prefix) / "bin" / f"python{sys.version_info.major}.{sys.version_info.minor}"
    if not base.exists():
        pytest.skip(f"there is no {base} beside the environment's Python")
    root, bare = await publish(tmp_path)
    subprocess.run(["git", "update-ref", "refs/heads/main", f"refs/heads/{BRANCH}"], cwd=bare, check=True)
    readme = (root / "README.md").read_text().replace("python3 owls", f"{base} owls")
    clone, said, status = stranger(tmp_path, readme)
    assert status == 0, said
    assert "Making the environment of requirements.lock in rerun/environment" in said
    assert "Reproduced: all 7 values" in said
    assert subprocess.run(["git", "status", "--porcelain"], cwd=clone, capture_output=True, check=True).stdout == b""
    python = clone / "rerun" / "environment" / "bin" / "python"
    found = subprocess.run(
        [str(python), "-m", "pip", "list", "--format", "freeze", "--disable-pip-version-check"],
        capture_output=True, text=True, check=True,
    ).stdout.splitlines()  # fmt: skip
    normal = {re.sub("[-_.]+", "-", line).lower() for line in found}
    locked = [line for line in (clone / "requirements.lock").read_text().splitlines() if not line.startswith("#")]
    assert {re.sub("[-_.]+", "-", line) for line in locked} <= normal
    again = subprocess.run(
        [str(base), str(clone / "reproduce.py")], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert again.returncode == 0, again.stdout + again.stderr
    assert "Making" not in again.stdout  # once is enough


async def test_a_changed_notebook_figure_or_file_is_noticed(tmp_path: Path) -> None:
    await publish(tmp_path)
    text = commands("study", HOME, BRANCH)
    clone, said, status = stranger(tmp_path, f"{text}\n")
    assert status == 0, said

    (clone / "notebook.py").write_text(NOTEBOOK.lstrip().replace("/ len(values)", "/ (len(values) + 1)", 1))
    done = reproduce(clone)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "NOT reproduced" in done.stdout
    assert re.search(r"\n  estimate: committed 0\.636\d+, now 0\.477", done.stdout)
    subprocess.run(["git", "checkout", "-q", "--", "notebook.py"], cwd=clone, check=True)

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


async def test_an_environment_that_cannot_be_made_is_told_and_nothing_runs(tmp_path: Path) -> None:
    await publish(tmp_path)
    clone, _, status = stranger(tmp_path, commands("study", HOME, BRANCH))
    assert status == 0
    (clone / "requirements.lock").write_text("no-such-package-of-anybody==1.0\n")
    done = subprocess.run(
        [sys.executable, "reproduce.py"], cwd=clone, capture_output=True, text=True, check=False,
        env={**os.environ, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "", "PIP_CONFIG_FILE": os.devnull},
    )  # fmt: skip
    assert done.returncode == 4, done.stdout + done.stderr
    assert "(no-such-package-of-anybody is not installed)" in done.stdout
    assert "pip could not install requirements.lock" in done.stdout
    assert "Running notebook.py" not in done.stdout
    assert reproduce(clone, "--here").returncode == 0

    (clone / ".python-version").write_text("3.99\n")
    done = subprocess.run(
        [sys.executable, "reproduce.py"], cwd=clone, capture_output=True, text=True, check=False,
        env={**os.environ, "PATH": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 4
    assert "needs Python 3.99, and neither that nor uv" in done.stdout


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
