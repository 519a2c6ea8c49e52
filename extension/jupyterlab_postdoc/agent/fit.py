"""What is in somebody's repository already, and whether a study can be added to it without replacing any of it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from jupyterlab_postdoc.errors import PostdocError
from jupyterlab_postdoc.forge import names
from jupyterlab_postdoc.publishing.places import Place
from jupyterlab_postdoc.workspace.git import Git

NOTEBOOK = "notebook.py"
OUTPUTS = ("results.json", "reports/report.html", "reports/interactive.html", "data/MANIFEST.json")
"""What a run of the notebook or the study's data write, whatever was there."""
NEVER_ADDED = (
    "LICENSE",
    "CITATION.cff",
    "AGENTS.md",
    "pyproject.toml",
    ".python-version",
    ".gitattributes",
    ".github/workflows/reproduce.yml",
    ".github/workflows/pages.yml",
)
"""These speak for a whole repository, or change how it is built: its owners decide about them."""
MAX_READ = 4 << 20
MAX_KEPT = 5000
_ABOVE = ("", ".github/workflows", "data", "reports", "figures")
"""Folders that a study writes in."""


@dataclass(frozen=True)
class Tree:
    """What a commit holds: number and bytes of its files, and the mode of each path that matters to a study."""

    files: int = 0
    size: int = 0
    modes: Mapping[str, str] = field(default_factory=dict)
    ours: bool = False
    """Whether Postdoc made it: then its generated files may be brought up to date."""
    marimo: bool = False
    """Whether its notebook.py is a marimo notebook."""

    @property
    def foreign(self) -> bool:
        """Whether there is anything in it, and all of it is others'."""
        return self.files > 0 and not self.ours

    @property
    def theirs(self) -> tuple[str, ...]:
        """Paths that are not the study's to write."""
        return tuple(sorted({*self.modes, *NEVER_ADDED})) if self.foreign else ()

    def readme(self, session: str) -> str:
        """Where the study is described: never in a README that was there."""
        if not self.foreign:
            return "README.md"
        there = {path.casefold() for path in self.modes}
        if not any("/" not in path and path.split(".")[0] == "readme" for path in there):
            return "README.md"
        return "STUDY.md" if "study.md" not in there else f"STUDY-{names.session_tag(session)}.md"


async def look(git: Git, sha: str, *, cwd: Path, env: Mapping[str, str]) -> Tree:
    """The tree of a commit. No file of a work tree is read, and no configuration of it is obeyed."""
    if not sha:
        return Tree()
    listed = await git.run("ls-tree", "-r", "-z", "-l", "--full-tree", sha, cwd=cwd, env=env)
    files = size = 0
    found: dict[str, tuple[str, str, int]] = {}
    for line in listed.text.split("\0"):
        about, _, path = line.partition("\t")
        if not path:
            continue
        mode, _, blob, length = about.split()
        bytes_ = int(length) if length.isdigit() else 0
        files, size = files + 1, size + bytes_
        if path.rpartition("/")[0] in _ABOVE:
            found[path] = (mode, blob, bytes_)

    async def read(path: str) -> bytes:
        mode, blob, bytes_ = found.get(path, ("", "", 0))
        if not mode.startswith("100") or bytes_ > MAX_READ:
            return b""
        return (await git.run("cat-file", "blob", blob, cwd=cwd, env=env)).stdout

    return Tree(
        files,
        size,
        {path: mode for path, (mode, _, _) in list(found.items())[:MAX_KEPT]},
        ours=_is_ours(await read("provenance.json")),
        marimo=b"marimo.App(" in await read(NOTEBOOK),
    )


def _is_ours(provenance: bytes) -> bool:
    try:
        found = json.loads(provenance)
    except ValueError:
        return False
    generator = found.get("generator") if isinstance(found, dict) else None
    return isinstance(generator, dict) and generator.get("name") == "jupyterlab-postdoc"


def check_fit(place: Place, tree: Tree, root: Path | None, *, script: str | None, cells: tuple[str, ...] = ()) -> bool:
    """Whether a notebook that is there is continued; raises ``github_conflict`` when a study would replace anything.

    ``script`` is the template whose script would work (None: a model), ``cells`` its cells, which may draw figures.
    """
    there = {path.casefold(): path for path in tree.modes}
    notebook = there.get(NOTEBOOK)
    if root is not None and os.path.lexists(root / NOTEBOOK) and notebook is None:
        if script is None:
            return True  # of an earlier study of this session
        notebook = NOTEBOOK
    if notebook is not None and script is not None:
        raise _conflict(
            f"{place.name} has a {notebook} already, and the template {script} would begin another one in its place.",
            "Let a model continue that notebook (choose a model), or start the study in a repository of its own.",
        )
    if notebook is not None and not tree.marimo:  # also a link
        raise _conflict(
            f"The {notebook} in {place.name} is not a marimo notebook, and a study needs that name.",
            "Rename that file in the repository, or start the study in a repository of its own.",
        )
    if not tree.foreign:
        return notebook is not None
    drawn = tuple(f"figures/{cell}.png" for cell in cells)
    taken = [there[path.casefold()] for path in (*OUTPUTS, *drawn) if path.casefold() in there]
    taken += [there[folder] for folder in ("reports", "figures", "data") if folder in there]  # files of that name
    if taken:
        raise _conflict(
            f"{place.name} has files of its own where a study writes its results: {', '.join(taken)}.",
            "Move them in the repository, or start the study in a repository of its own.",
        )
    return notebook is not None


def _conflict(what: str, do: str) -> PostdocError:
    return PostdocError("github_conflict", f"{what} Nothing was changed.", next=do)
