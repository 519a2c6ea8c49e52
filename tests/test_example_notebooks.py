"""The example notebooks run, pass marimo's check and their own tests."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

NOTEBOOKS = sorted((Path(__file__).parent.parent / "notebooks").glob("*.py"))


def run(*argv: str, cwd: Path) -> str:
    done = subprocess.run([sys.executable, "-m", *argv], cwd=cwd, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.timeout(420)
@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_an_example_is_clean_and_passes_its_own_tests(notebook: Path, tmp_path: Path) -> None:
    run("marimo", "check", "--strict", str(notebook), cwd=tmp_path)
    run("pytest", "-q", "-p", "no:cacheprovider", str(notebook), cwd=tmp_path)


def test_read_studies_shows_the_verdicts_of_a_folder(tmp_path: Path) -> None:
    for name, supported in (("owls", True), ("mice", False)):
        (tmp_path / "research" / name).mkdir(parents=True)
        verdict = {"claim": name, "supported": supported, "estimate": 2.0, "ci_low": 1.0, "ci_high": 3.0, "unit": "m"}
        (tmp_path / "research" / name / "results.json").write_text(json.dumps(verdict))
    page = tmp_path / "page.html"
    notebook = next(path for path in NOTEBOOKS if path.stem == "read_studies")
    run("marimo", "export", "html", str(notebook), "-o", str(page), "-f", "--", "--folder", "research", cwd=tmp_path)
    assert "1 of 2" in page.read_text()
