"""A session's work tree in somebody's repository: fetched, looked at, and checked out on a branch of its own.

One session has one work tree, whichever of its runs comes first. What is there already belongs to others: a study is
added beside it, and a file that was there is never replaced by one that Postdoc writes.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from jupyterlab_postdoc.agent.lab import Lab
from jupyterlab_postdoc.errors import PostdocError
from jupyterlab_postdoc.forge import names
from jupyterlab_postdoc.protocol import AgentStatus
from jupyterlab_postdoc.publishing.places import GITHUB, Place, kept_place
from jupyterlab_postdoc.runs import RunContext
from jupyterlab_postdoc.store.base import SessionRow
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

T = TypeVar("T")


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


@dataclass(frozen=True)
class Checkout:
    """The session's work tree below the server's root."""

    root: Path
    place: Place
    tree: Tree
    continues: bool = False
    """Whether the study goes on from a notebook that was there."""

    @property
    def branch(self) -> str:
        """The work tree's branch: ``main`` in a repository that was empty."""
        return self.place.branch or "main"


Study = Callable[[Place, Tree, Path | None], bool]
"""Whether a study continues a notebook that is there; raises when it does not fit (see :func:`check_fit`). The path is
the work tree, None when it is still to be made.
"""


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


class Checkouts:
    """Makes the work tree of a session, as journalled steps of whichever of its runs comes first."""

    def __init__(self, ctx: RunContext, lab: Lab) -> None:
        if lab.repositories is None:
            raise PostdocError("internal", "This server has no place for repositories of others.")
        self._ctx = ctx
        self._lab = lab
        self._git = lab.git
        self._repositories = lab.repositories
        self._research_root = lab.root_dir / lab.research_dir

    async def enter(self, session: SessionRow, topic: str, study: Study | None = None) -> Checkout:
        """The session's work tree. ``topic`` names its branch, when there is none yet. ``study`` is asked whether it
        fits before anything is made.

        Raises not_found when the work tree is gone, and what :meth:`fetch` and ``study`` raise.
        """
        place = kept_place(session.meta)
        assert place is not None
        shown = session.meta.get("project")
        if not isinstance(shown, dict):
            found, tree = await self.fetch(session.owner, place, topic)
            continues = await self._fit(study, found, tree, None)
            return replace(await self.make(session.owner, found, tree), continues=continues)
        root = self._lab.root_dir / str(shown.get("path"))
        if names.read_marker(root / ".git").get("session") != session.id:
            raise PostdocError(
                "not_found",
                f"The work tree {shown.get('path')} is gone: it was moved, renamed or deleted.",
                next="Put it back where it was and resume, or start a new chat in the repository.",
            )
        tree = await look(self._git, place.base_sha, cwd=root, env=self._git.own(root))
        return Checkout(root, place, tree, await self._fit(study, place, tree, root))

    async def _fit(self, study: Study | None, place: Place, tree: Tree, root: Path | None) -> bool:
        if study is None:
            return False

        async def check() -> bool:
            return study(place, tree, root)

        return bool(await self._ctx.step("fit", check))

    async def fetch(self, user: str, place: Place, topic: str) -> tuple[Place, Tree]:
        """The repository's objects in the publisher's copy; the place with the branch that is to be made.

        Raises github_auth, github_forbidden, github_unreachable, not_found: all may be tried again by resuming.
        """
        publisher = self._repositories.publisher

        async def bring() -> Any:
            try:
                now = await self._repositories.located(user, place)
                to, credential = await self._repositories.way(user, now)
                await self._tell(f"Fetching {now.name}" + (f" from {now.host}" if now.host else ""))
                heads = await unless_stopped(self._ctx, publisher.fetch(to, credential))
                base = now.default_branch
                if heads and base not in heads:
                    base = (await publisher.look(to, credential)).default or ""
                    if base not in heads:
                        raise PostdocError(
                            "not_found",
                            f"{now.name} has no default branch to begin from.",
                            next="Choose a default branch in the repository's settings.",
                        )
                branch = names.branch_name(topic, self._ctx.session, heads) if heads else ""
                found = msgspec.structs.replace(
                    now, branch=branch, base=base if heads else "", base_sha=heads[base] if heads else ""
                )
                return msgspec.to_builtins(found)
            except PostdocError as e:
                raise _again(e) from e

        found = msgspec.convert(await self._ctx.step("repository", bring), Place)
        bare = await publisher.repository(found.key)
        tree = await look(self._git, found.base_sha, cwd=bare, env={"GIT_DIR": str(bare)})
        return found, tree

    async def make(self, user: str, place: Place, tree: Tree) -> Checkout:
        """The work tree, made now or found again after a crash; also by a later run of the session."""
        git, session = self._git, self._ctx.session

        async def put() -> str:
            self._check_space(place, tree)
            stem = names.slugify_topic(place.short, names.MAX_NAME - 9)
            # Claimed by the session, not by the run: whichever run makes it, it is the work tree of all of them.
            root = await names.claim_directory(
                self._research_root,
                topic=f"{stem}-{names.session_tag(session)}",
                repo_name=None,
                run_id=session,
                session_id=session,
                taken=lambda name: self._lab.forge.is_taken(name, run=session),
            )
            if place.base_sha:
                to, _ = await self._repositories.way(user, place)
                await self._tell(f"Checking out {place.base} of {place.name} ({_amount(tree)}) as {place.branch}")
                publisher = self._repositories.publisher
                await unless_stopped(self._ctx, publisher.checkout(to, root, branch=place.branch, base=place.base_sha))
            else:
                await git.init(root)
            about = {"repository": place.name, "branch": place.branch, "base": place.base, "baseSha": place.base_sha}
            await asyncio.to_thread(
                names.write_marker, root / ".git", name=root.name, session=session, run=session, **about
            )
            return root.name

        name = await self._ctx.step("checkout", put)
        return Checkout(self._research_root / name, place, tree)

    def _check_space(self, place: Place, tree: Tree) -> None:
        self._research_root.mkdir(parents=True, exist_ok=True)
        if shutil.disk_usage(self._research_root).free < 2 * tree.size + (64 << 20):
            raise PostdocError(
                "storage_full",
                f"The disk has no room for a work tree of {place.name} ({_amount(tree)}).",
                next="Free some space, then resume.",
                retryable=True,
            )

    async def _tell(self, message: str) -> None:
        await self._ctx.emit(AgentStatus(message=message, phase="prepare"))


async def unless_stopped(ctx: RunContext, work: Coroutine[Any, Any, T]) -> T:
    """``work``, ended as soon as somebody asks the run to end; raises Stopped or Yielded then."""
    doing, asked = asyncio.ensure_future(work), asyncio.ensure_future(ctx.cancel.wait())
    try:
        await asyncio.wait({doing, asked}, return_when=asyncio.FIRST_COMPLETED)
        if not doing.done():
            ctx.cancel.check()
        return await doing
    finally:
        for task in (doing, asked):
            task.cancel()
        await asyncio.gather(doing, asked, return_exceptions=True)


def _again(e: PostdocError) -> PostdocError:
    """Of a failed fetch: the next time everything outside may be different, so a resumed run asks again."""
    message = e.message.replace("Your commits are safe locally.", "Nothing was begun.")
    unreachable = e.code == "github_unreachable"
    do = "Look at the network and at the repository's address, then resume." if unreachable else e.next
    return PostdocError(e.code, message, next=do, retryable=True, **e.details)


def where(place: Place) -> str:
    """The repository in a sentence."""
    return f"{place.name} on {place.host}" if place.forge == GITHUB else place.name


def _amount(tree: Tree) -> str:
    size = f"{tree.size / (1 << 20):,.1f} MB" if tree.size >= 1 << 20 else f"{max(1, tree.size >> 10)} kB"
    return f"{tree.files:,} {'file' if tree.files == 1 else 'files'}, {size}"
