"""What is shipped, and with what it is built."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import jupyterlab_postdoc

ROOT = Path(__file__).resolve().parents[1]
PANEL = "share/jupyter/labextensions/jupyterlab-postdoc"
pytestmark = pytest.mark.skipif(not (ROOT / "hatch_build.py").exists(), reason="only in a checkout")


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))


@pytest.fixture
def hook(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location("hatch_build", ROOT / "hatch_build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.delenv("SKIP_JUPYTER_BUILDER", raising=False)
    return module


def fake_node(folder: Path, version: str) -> str:
    """A program called node, on a PATH of its own."""
    folder.mkdir()
    node = folder / "node"
    node.write_text(f"#!/bin/sh\necho {version}\n")
    node.chmod(0o755)
    return str(folder)


def test_there_is_one_version(project: dict[str, Any]) -> None:
    panel = json.loads((ROOT / "labextension" / "package.json").read_text("utf-8"))
    assert project["project"]["version"] == panel["version"] == jupyterlab_postdoc.__version__


def test_the_names_agree(project: dict[str, Any]) -> None:
    panel = json.loads((ROOT / "labextension" / "package.json").read_text("utf-8"))
    (place,) = jupyterlab_postdoc._jupyter_labextension_paths()
    assert project["project"]["name"] == panel["name"] == place["dest"]
    assert project["project"]["name"].replace("-", "_") == jupyterlab_postdoc.__name__
    built = (ROOT / "labextension" / panel["jupyterlab"]["outputDir"]).resolve()
    assert built == ROOT / "extension" / "jupyterlab_postdoc" / place["src"]
    shared = project["tool"]["hatch"]["build"]["targets"]["wheel"]["shared-data"]
    assert shared[built.relative_to(ROOT).as_posix()] == PANEL
    # A line of its own for install.json would collide with the folder's at the second editable installation.
    assert not any("install.json" in name for name in shared)


def test_node_comes_before_the_panel_is_built(project: dict[str, Any]) -> None:
    assert list(project["tool"]["hatch"]["build"]["hooks"]) == ["custom", "jupyter-builder"]


def test_a_node_is_asked_for_only_when_there_is_none(
    hook: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(hook.platform, "machine", lambda: "x86_64")
    for name, version, wanted in (("new", "v20.1.0", []), ("newer", "v24.0.0", []), ("old", "v18.20.0", [hook.NODE])):
        monkeypatch.setenv("PATH", fake_node(tmp_path / name, version))
        assert hook.needs() == wanted, version
    monkeypatch.setenv("PATH", str(tmp_path))
    assert hook.needs() == [hook.NODE]
    monkeypatch.setattr(hook.platform, "machine", lambda: "riscv64")
    assert hook.needs() == []  # no such wheel: the installation goes on without the panel


def test_a_built_or_unwanted_panel_needs_nothing(
    hook: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(hook, "needs", lambda: ["a node"])
    made = object.__new__(hook.NodeHook)
    monkeypatch.setattr(hook.NodeHook, "root", str(tmp_path), raising=False)
    assert made.dependencies() == ["a node"]
    monkeypatch.setenv("SKIP_JUPYTER_BUILDER", "1")
    assert made.dependencies() == []
    monkeypatch.delenv("SKIP_JUPYTER_BUILDER")
    for name in hook.BUILT:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert made.dependencies() == []


def build(source: Path, target: Path, **env: str) -> zipfile.ZipFile:
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(target), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **env}, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    (wheel,) = target.glob("*.whl")
    return zipfile.ZipFile(wheel)


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """The tracked files as they are on disk, and nothing that was built."""
    for module in ("build", "hatchling", "hatch_jupyter_builder", "jupyter_builder"):
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"{module} is not installed (the extra `test` has it)")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False).stdout
    if not listed:
        pytest.skip("this is no clone")
    target = tmp_path / "clone"
    for name in listed.decode().split("\0"):
        if name and not name.startswith(("tests/", "bench/")) and (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, target / name)
    return target


@pytest.mark.slow
def test_without_the_panel_on_purpose(clone: Path, tmp_path: Path) -> None:
    names = build(clone, tmp_path / "out", SKIP_JUPYTER_BUILDER="1").namelist()
    assert "jupyterlab_postdoc/app.py" in names
    assert not any("labextensions" in name for name in names)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_wheel_from_a_clone_holds_the_panel(clone: Path, tmp_path: Path, hook: ModuleType) -> None:
    if not hook.has_node():
        pytest.skip("there is no Node 20 or newer here")
    names = set(build(clone, tmp_path / "out").namelist())
    data = {name.partition(".data/data/")[2] for name in names if ".data/data/" in name}
    assert {f"{PANEL}/package.json", f"{PANEL}/install.json", f"{PANEL}/static/style.js"} <= data
    assert "etc/jupyter/jupyter_server_config.d/jupyterlab_postdoc.json" in data
    static = "jupyterlab_postdoc/static/"
    assert {f"{static}page.js", f"{static}page.css", f"{static}follow.js"} <= names
    assert not any("node_modules" in name or name.startswith("jupyterlab_postdoc/labextension") for name in names)
