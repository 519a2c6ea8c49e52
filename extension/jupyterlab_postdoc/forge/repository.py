"""What a research repository contains besides the notebook: written from a :class:`Study`, the same bytes every time.

Every function is safe on a tree that an agent filled: nothing is written or read through a link. Blocking work runs in
a thread. Interrupted calls are simply made again.
"""

from __future__ import annotations

import asyncio
import hashlib
import platform
import sys
from collections.abc import Mapping
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from jupyterlab_postdoc.forge import datasets, environment, published
from jupyterlab_postdoc.forge.names import disk_errors
from jupyterlab_postdoc.forge.readme import readme
from jupyterlab_postdoc.forge.record import provenance
from jupyterlab_postdoc.forge.study import Outcome, Revision, StepRecord, Study
from jupyterlab_postdoc.forge.text import day, one_line, quoted
from jupyterlab_postdoc.forge.tree import put

__all__ = [
    "Outcome",
    "Revision",
    "StepRecord",
    "Study",
    "add_dataset",
    "own_workflows",
    "write_home",
    "write_results",
    "write_skeleton",
]

_STATIC = {
    ".gitignore": "gitignore",
    ".gitattributes": "gitattributes",
    "AGENTS.md": "AGENTS.md",
    "reproduce.py": "reproduce.py",
    ".github/workflows/reproduce.yml": "reproduce.yml",
    "data/README.md": "data-README.md",
}
_PAGES = {".github/workflows/pages.yml": "pages.yml"}
_EARLIER = {".github/workflows/reproduce.yml": ("6a93e54abac04cbd2e961716068c9169e730713a337c6e258f0a025b6a477ec6",)}
_LOOKED_FOR = ("notebook.py", "reports/report.html", "reports/interactive.html", "results.json")


async def write_skeleton(root: Path, study: Study) -> None:
    """Everything that exists before the notebook. A file that is there already is kept, but for the environment's."""
    await asyncio.to_thread(_skeleton, root, study)


async def write_results(
    root: Path,
    study: Study,
    verdict: Mapping[str, Any] | None,
    *,
    outcome: Outcome | None = None,
    packages: Path | None = None,
    header: bool = True,
) -> None:
    """README.md, provenance.json, CITATION.cff and the environment's files, from the verdict (None: there is none).

    A README of an unfinished study says so and names the reason; nothing is claimed without a verdict. ``packages`` are
    those of the project's own environment (site-packages), if it has one. Without ``header`` the notebook stays byte
    for byte as it is; else its list of packages is brought up to date.
    """
    await asyncio.to_thread(_results, root, study, verdict, outcome or Outcome(), packages, header)


async def write_home(root: Path, study: Study, home: str, branch: str = "") -> list[str]:
    """Name the repository's web address (and the study's branch there) in README, citation and provenance.

    For a repository that has just been published: nothing else in those files changes, and the second time nothing
    does. Returns the paths that changed, to be committed. In somebody's repository the address was known from the
    beginning, and their files stay.
    """
    if study.theirs:
        return []
    with disk_errors(root):
        return await asyncio.to_thread(
            published.name_home, root, study.repo_name, home, branch, before=(study.home, study.branch)
        )


def own_workflows() -> Mapping[str, tuple[str, ...]]:
    """Path to the sha256 of each workflow that Postdoc writes, and of those that it wrote in earlier versions.

    What stands there with other contents is somebody else's.
    """
    return {
        path: (hashlib.sha256(_packaged(name).encode()).hexdigest(), *_EARLIER.get(path, ()))
        for path, name in {**_STATIC, **_PAGES}.items()
        if path.startswith(".github/workflows/")
    }


async def add_dataset(
    root: Path,
    source: Path,
    *,
    licence: str = "unknown",
    retrieved: float | None = None,
    origin: datasets.Origin | None = None,
) -> dict[str, Any]:
    """Copy the user's file into ``data/``; returns its manifest entry, whose ``path`` is like ``data/returns.csv``.

    PostdocError ``not_found``, ``forbidden``, ``bad_message`` (no data file, a link, a device, empty) or ``too_large``
    (2 GB). Above 10 MB the file stays out of the commits (``included`` is False).
    """
    return await asyncio.to_thread(datasets.add, root, source, licence=licence, retrieved=retrieved, origin=origin)


def _skeleton(root: Path, study: Study) -> None:
    with disk_errors(root):
        for path, name in {**_STATIC, **(_PAGES if study.pages else {})}.items():
            _write(root, study, path, _packaged(name), keep=True)
        licence = _packaged("LICENSE").replace("@YEAR@", day(study.created)[:4])
        holder = one_line(study.author, 100) or "the authors"
        _write(root, study, "LICENSE", licence.replace("@HOLDER@", holder), keep=True)
        if study.may_write(datasets.MANIFEST) and not (root / datasets.MANIFEST).exists():
            datasets.write_manifest(root, [])
        packages = _write_environment(root, study)
        _write(root, study, "CITATION.cff", _citation(root, study), keep=True)
        running = Outcome("running")
        _write(root, study, study.readme, _readme(root, study, None, running), keep=True)
        _write(root, study, "provenance.json", provenance(root, study, running, packages), keep=True)


def _write(root: Path, study: Study, path: str, text: str, *, keep: bool = False) -> None:
    """One file of the study, unless the place is somebody else's."""
    if study.may_write(path):
        put(root, path, text, keep=keep)


def _results(
    root: Path,
    study: Study,
    verdict: Mapping[str, Any] | None,
    outcome: Outcome,
    own: Path | None,
    header: bool,
) -> None:
    with disk_errors(root):
        packages = _write_environment(root, study, own)
        if header and study.may_write("notebook.py"):
            environment.keep_header(root / "notebook.py", packages)
        _write(root, study, study.readme, _readme(root, study, verdict, outcome))
        _write(root, study, "CITATION.cff", _citation(root, study))
        _write(root, study, "provenance.json", provenance(root, study, outcome, packages))


@cache
def _packaged(name: str) -> str:
    return resources.files("jupyterlab_postdoc.forge").joinpath("files", name).read_text(encoding="utf-8")


def _write_environment(root: Path, study: Study, own: Path | None = None) -> dict[str, str]:
    """pyproject.toml, requirements.lock and .python-version; returns the direct packages with their versions."""
    direct = environment.pinned({*study.requires, *environment.imported_names(root / "notebook.py")}, own)
    everything = environment.locked(direct, own)
    minor = f"{sys.version_info.major}.{sys.version_info.minor}"
    head = f"# Every package of the run, with Python {platform.python_version()} on {sys.platform}.\n"
    pins = "".join(f"{name}=={version}\n" for name, version in everything.items())
    _write(root, study, "requirements.lock", head + pins)
    _write(root, study, ".python-version", f"{minor}\n")
    _write(root, study, "pyproject.toml", _pyproject(study, direct, minor))
    return direct


def _pyproject(study: Study, direct: Mapping[str, str], minor: str) -> str:
    pins = "".join(f'  "{name}=={version}",\n' for name, version in direct.items())
    return (
        "[project]\n"
        f"name = {quoted(study.repo_name)}\n"
        'version = "1.0.0"\n'
        f"description = {quoted(one_line(study.topic))}\n"
        'readme = "README.md"\n'
        f'requires-python = "=={minor}.*"\n'
        f"dependencies = [\n{pins}]\n"
        "\n"
        "[tool.uv]\n"
        "package = false\n"
        "\n"
        "[tool.pytest.ini_options]\n"
        'python_files = ["notebook.py"]\n'
    )


def _licence(root: Path) -> str:
    """Whose the file LICENSE is: ``ours``, ``other``, or ``none`` when there is no such file."""
    for name in ("LICENSE", "LICENSE.md", "LICENSE.txt", "COPYING"):
        if (root / name).is_file():
            ours = name == "LICENSE" and _begin(root / name).startswith(_packaged("LICENSE").partition("\n")[0])
            return "ours" if ours else "other"
    return "none"


def _begin(path: Path) -> str:
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            return file.read(200)
    except OSError:
        return ""


def _citation(root: Path, study: Study) -> str:
    released = day(study.finished if study.finished is not None else study.created)
    made = "by a language model" if study.used_model else f"from template {study.template}, without a language model"
    title = f"{one_line(study.title)}. " if study.title else ""
    licences = "license:\n  - MIT\n  - CC-BY-4.0\n" if _licence(root) == "ours" else ""
    abstract = f"{title}Made by a research agent {made}; reviewed by nobody yet."
    return (
        "cff-version: 1.2.0\n"
        'message: "If you use this study, please cite it as below, and check it first."\n'
        "type: software\n"
        f"title: {quoted(one_line(study.topic) or 'Study')}\n"
        f"abstract: {quoted(abstract)}\n"
        "authors:\n"
        f"  - name: {quoted(one_line(study.author, 100) or 'unknown')}\n"
        'version: "1.0.0"\n'
        f"date-released: {released}\n"
        f"{licences}"
        "keywords:\n"
        "  - research\n"
        "  - marimo\n"
        f"  - {quoted(one_line(study.template) or 'study')}\n"
        f"{published.repository_code(study.home)}"
    )


def _readme(root: Path, study: Study, verdict: Mapping[str, Any] | None, outcome: Outcome) -> str:
    present = [path for path in (*_LOOKED_FOR, *_ALWAYS_THERE) if path in _ALWAYS_THERE or (root / path).is_file()]
    figures = root / "figures"
    if figures.is_dir() and not figures.is_symlink():
        present += [f"figures/{path.name}" for path in figures.glob("*.png") if _plain(path.name) and path.is_file()]
    return readme(
        study,
        verdict,
        outcome,
        python=platform.python_version(),
        present=present,
        datasets=datasets.entries(root),
        licence=_licence(root),
    )


_ALWAYS_THERE = ("data/MANIFEST.json", "requirements.lock", "provenance.json", "reproduce.py")


def _plain(name: str) -> bool:
    return all(character.isalnum() or character in "._-" for character in name) and name.isascii()
