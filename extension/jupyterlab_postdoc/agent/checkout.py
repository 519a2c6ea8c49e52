"""A session's work tree in somebody's repository: fetched, looked at, and checked out on a branch of its own.

One session has one work tree, whichever of its runs comes first. What is there already belongs to others: a study is
added beside it, and a file that was there is never replaced by one that Postdoc writes.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from jupyterlab_postdoc.agent.fit import Tree, look
from jupyterlab_postdoc.agent.lab import Lab
from jupyterlab_postdoc.errors import PostdocError
from jupyterlab_postdoc.forge import names
from jupyterlab_postdoc.protocol import AgentStatus
from jupyterlab_postdoc.publishing.places import Place, kept_place
from jupyterlab_postdoc.runs import RunContext, unless_stopped
from jupyterlab_postdoc.store.base import SessionRow

T = TypeVar("T")


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
"""Whether a study continues a notebook that is there; raises when it does not fit (see agent/fit.py). The path is
the work tree, None when it is still to be made.
"""


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


def _again(e: PostdocError) -> PostdocError:
    """Of a failed fetch: the next time everything outside may be different, so a resumed run asks again."""
    message = e.message.replace("Your commits are safe locally.", "Nothing was begun.")
    unreachable = e.code == "github_unreachable"
    do = "Look at the network and at the repository's address, then resume." if unreachable else e.next
    return PostdocError(e.code, message, next=do, retryable=True, **e.details)


def _amount(tree: Tree) -> str:
    size = f"{tree.size / (1 << 20):,.1f} MB" if tree.size >= 1 << 20 else f"{max(1, tree.size >> 10)} kB"
    return f"{tree.files:,} {'file' if tree.files == 1 else 'files'}, {size}"
