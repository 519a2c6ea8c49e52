"""Sends commits to a remote with a token, out of a repository that no agent can reach.

The commits come from a checkout without any token around; what is sent goes from here, to an explicit address, with a
configuration that is ours alone. So nothing that a checkout or a user's settings hold can see or redirect the token.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from weakref import WeakValueDictionary

from jupyterlab_postdoc.errors import PostdocError
from jupyterlab_postdoc.forge import guard, outgoing, refusals
from jupyterlab_postdoc.forge.base import PushResult
from jupyterlab_postdoc.forge.checkout import make_checkout
from jupyterlab_postdoc.forge.copies import Copies
from jupyterlab_postdoc.forge.guard import Policy
from jupyterlab_postdoc.forge.outgoing import Outgoing
from jupyterlab_postdoc.forge.refs import SHA, check_branch, check_sha, exclude_each_other
from jupyterlab_postdoc.forge.transfer import FETCHING, Destination, TokenSource, Transfer
from jupyterlab_postdoc.protocol import Finding
from jupyterlab_postdoc.workspace.git import Git, borrowed
from jupyterlab_postdoc.workspace.gittree import check_layout

__all__ = ["Destination", "Heads", "Outgoing", "Policy", "Publisher"]

FETCH_S = 1800.0
PUSH_S = (180.0, 3600.0)
SLOWEST = 50_000
"""Bytes a second of a push that is still waited for."""


@dataclass(frozen=True, slots=True)
class Heads:
    """The remote's branches, and the name of its default one (None: empty, or it does not say)."""

    branches: dict[str, str]
    default: str | None


class Publisher:
    """Repositories ``<data_dir>/publish/<key>.git``, one for each remote. Every method may be repeated safely."""

    def __init__(self, data_dir: Path, git: Git | None = None) -> None:
        root = data_dir.absolute() / "publish"
        self._git = git or Git()
        self._copies = Copies(root, self._git)
        self._transfer = Transfer(self._git, root)
        self._busy: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    # --- from the checkout ---

    async def collect(self, key: str, root: Path, tip: str) -> None:
        """Take the commits of the checkout ``root`` up to ``tip``. No token is anywhere near."""
        check_sha(tip)
        check_layout(root)
        if os.path.lexists(root / ".git" / "objects" / "info" / "alternates"):
            raise PostdocError(
                "forbidden",
                f"The repository {root.name!r} borrows objects from another one; nothing of that is published.",
                next="Remove .git/objects/info/alternates after `git repack -a`, then publish again.",
            )
        bare = await self._copies.of(key)
        ref = f"refs/collected/{tip}"
        with borrowed(root, tip, branch="collected") as view:
            await self._git.change(
                *("fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--no-auto-gc", "--no-recurse-submodules"),
                *(str(view), f"+refs/heads/collected:{ref}"),
                cwd=bare,
                env={"GIT_DIR": str(bare)},
                transport="file",
                config=FETCHING,
                timeout_s=600.0,
            )
        # Older tips that this one includes need no name of their own any more.
        listed = await self._run(bare, "for-each-ref", f"--merged={tip}", "--format=%(refname)", "refs/collected")
        old = [name for name in listed.split() if name != ref]
        if old:
            stdin = "".join(f"delete {name}\n" for name in old).encode()
            env = {"GIT_DIR": str(bare)}
            await self._git.change("update-ref", "--stdin", cwd=bare, env=env, stdin=stdin, ok=(0, 128))

    async def first(self, key: str, tip: str) -> str:
        """The root commit of ``tip``, along first parents."""
        check_sha(tip)
        bare = await self._copies.of(key)
        return (await self._run(bare, "rev-list", "--first-parent", "--max-parents=0", tip)).split()[-1]

    async def ahead(self, key: str, base: str, tip: str) -> int:
        """How many commits ``tip`` has that ``base`` has not."""
        check_sha(base, tip)
        bare = await self._copies.of(key)
        return int(await self._run(bare, "rev-list", "--count", tip, f"^{base}"))

    async def prepare(
        self,
        key: str,
        tip: str,
        *,
        base: str | None,
        history: Literal["full", "squashed"],
        workflows: bool,
        message: str,
    ) -> Outgoing:
        """What is to be sent for ``tip``; the same input always gives the same commits.

        ``base`` is a commit that the remote has and ``tip`` comes from; None for a new repository, whose first commit
        is then the base. Without ``workflows`` each commit has those of ``base`` (none in a new repository).
        ``message`` is that of the one commit of a squashed history. PostdocError ``push_rejected`` when a squashed
        ``tip`` does not come from ``base``: one commit would undo what the remote has.
        """
        check_sha(tip, *([base] if base else []))
        bare = await self._copies.of(key)
        first = base or await self.first(key, tip)
        return await outgoing.prepare(
            self._git, bare, tip, first=first, base=base, history=history, workflows=workflows, message=message
        )

    async def scan(self, key: str, tip: str, *, known: Collection[str], policy: Policy) -> list[Finding]:
        """What speaks against sending ``tip`` to a remote that has the commits ``known`` (see forge/guard.py)."""
        check_sha(tip, *known)
        bare = await self._copies.of(key)
        return await guard.scan(self._git, bare, tip, known=known, policy=policy)

    # --- to and from the remote ---

    async def look(self, to: Destination, credential: TokenSource | None) -> Heads:
        """The remote's branches. PostdocError ``github_auth``, ``github_forbidden``, ``github_unreachable``."""
        bare = await self._copies.of(to.key)
        argv = ("ls-remote", "--symref", to.url, "HEAD", "refs/heads/*")
        result = await self._transfer.call(*argv, bare=bare, to=to, credential=credential)
        if result.returncode:
            raise refusals.of_transfer(result, host=to.host, verb="ls-remote", with_token=credential is not None)
        branches: dict[str, str] = {}
        default = None
        for line in result.stdout.decode("utf-8", "replace").splitlines():
            value, _, name = line.partition("\t")
            if name == "HEAD" and value.startswith("ref: refs/heads/"):
                default = value.removeprefix("ref: refs/heads/")
            elif name.startswith("refs/heads/") and SHA.fullmatch(value):
                branches[name.removeprefix("refs/heads/")] = value
        return Heads(branches, default)

    async def heads(self, to: Destination, credential: TokenSource | None) -> dict[str, str]:
        """Branch → sha; {} for an empty repository."""
        return (await self.look(to, credential)).branches

    async def push(
        self, to: Destination, credential: TokenSource | None, branch: str, sha: str, *, lease: str | None = None
    ) -> PushResult:
        """Send ``sha`` as ``branch``; nothing is sent when it is there already.

        With ``lease`` the branch is overwritten, but only while it is at that commit. The remote's default branch is
        never pushed (``publish_blocked``). PostdocError ``push_rejected`` with ``reason`` moved, protected, rule,
        workflow_scope, large_file or other; ``github_auth``, ``github_forbidden``, ``github_unreachable`` (then it is
        not known whether it arrived: look).
        """
        check_branch(branch)
        check_sha(sha, *([lease] if lease else []))
        there = await self.look(to, credential)
        if branch in there.branches and branch == there.default:
            raise PostdocError(
                "publish_blocked",
                f"{branch!r} is the default branch of the repository: an agent's work is never pushed to it.",
                next="Publish to a branch of its own; a draft pull request brings it to the default branch.",
                reason="default_branch",
                proposal=refusals.free_branch(branch, there.branches),
            )
        return await self._push(to, credential, branch, sha, there.branches, lease=lease)

    async def push_first(self, to: Destination, credential: TokenSource | None, branch: str, sha: str) -> PushResult:
        """Send the first commit of a new repository as its default branch, only while the repository is empty.

        Unchanged when exactly this is there already. PostdocError ``publish_blocked`` (``reason`` not_empty) when
        anything else is, also when somebody else was faster.
        """
        check_branch(branch)
        check_sha(sha)
        there = await self.heads(to, credential)
        if there.get(branch) == sha:
            return PushResult(branch, sha, sha)
        if there:
            raise _not_empty(branch)
        try:
            return await self._push(to, credential, branch, sha, there, lease="")
        except PostdocError as exc:
            if exc.details.get("reason") == "moved":
                raise _not_empty(branch) from exc
            raise

    async def fetch(self, to: Destination, credential: TokenSource | None) -> dict[str, str]:
        """Bring the server's copy to the state of the remote's branches: branch → sha."""
        bare = await self._copies.of(to.key)
        async with self._busy.setdefault(to.key, asyncio.Lock()):
            result = await self._transfer.call(
                *("fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--no-auto-gc", "--no-recurse-submodules"),
                *("--prune", to.url, "+refs/heads/*:refs/remotes/origin/*"),
                bare=bare,
                to=to,
                credential=credential,
                timeout_s=FETCH_S,
            )
            if result.returncode:
                raise refusals.of_transfer(result, host=to.host, verb="fetch", with_token=credential is not None)
            listed = await self._run(
                bare, "for-each-ref", "--format=%(objectname) %(refname:lstrip=3)", "refs/remotes/origin"
            )
        return {name: sha for sha, _, name in (line.partition(" ") for line in listed.splitlines())}

    async def checkout(self, to: Destination, root: Path, *, branch: str, base: str) -> str:
        """A work tree at ``root`` on the new ``branch``, from ``base`` (a branch that was fetched, or a sha); its sha.

        See forge/checkout.py. PostdocError ``not_found`` for an unknown ``base``, ``github_conflict`` when ``root``
        holds something else.
        """
        check_branch(branch)
        to.transport()
        bare = await self._copies.of(to.key)
        if not SHA.fullmatch(base):
            check_branch(base)
        ref = base if SHA.fullmatch(base) else f"refs/remotes/origin/{base}"
        argv = ("rev-parse", "--verify", "--quiet", f"{ref}^{{commit}}")
        found = await self._git.run(*argv, cwd=bare, env={"GIT_DIR": str(bare)}, ok=(0, 1, 128))
        if found.returncode:
            raise PostdocError(
                "not_found",
                f"The repository {to.key!r} has no branch or commit {base!r}.",
                next="Look at its branches on the web, then choose one of them.",
            )
        known_as = await self._branch_at(bare, base) if SHA.fullmatch(base) else base
        return await make_checkout(self._git, bare, to, root, branch=branch, sha=found.text, base=known_as)

    async def repository(self, key: str) -> Path:
        """The server's copy (bare), made when it is missing; only to be read by the caller."""
        return await self._copies.of(key)

    # --- inside ---

    async def _push(
        self,
        to: Destination,
        credential: TokenSource | None,
        branch: str,
        sha: str,
        there: dict[str, str],
        *,
        lease: str | None,
    ) -> PushResult:
        before = there.get(branch)
        if before == sha:
            return PushResult(branch, sha, sha)
        if lease and before != lease:
            raise refusals.moved(branch, there)
        blocking = next((name for name in there if exclude_each_other(name, branch)), None)
        if blocking is not None:
            raise refusals.in_the_way(branch, blocking, there)
        bare = await self._copies.of(to.key)
        ref = f"refs/heads/{branch}"
        forced = [] if lease is None else [f"--force-with-lease={ref}:{lease}"]
        result = await self._transfer.call(
            *("push", "--porcelain", "--no-verify", "--no-follow-tags", "--no-signed", "--recurse-submodules=no"),
            *(*forced, to.url, f"{sha}:{ref}"),
            bare=bare,
            to=to,
            credential=credential,
            timeout_s=await self._push_time(bare, sha, there),
        )
        if result.returncode:
            raise refusals.of_push(result, host=to.host, branch=branch, taken=there, with_token=credential is not None)
        return PushResult(branch, before, sha)

    async def _branch_at(self, bare: Path, sha: str) -> str:
        """A fetched branch that is at the commit, by what one is usually called; else a name for the commit."""
        argv = ("for-each-ref", f"--points-at={sha}", "--format=%(refname:lstrip=3)", "refs/remotes/origin")
        names = (await self._run(bare, *argv)).split()
        return min(names, key=lambda name: (name not in ("main", "master"), name), default=f"at-{sha[:12]}")

    async def _push_time(self, bare: Path, sha: str, there: dict[str, str]) -> float:
        known = await guard.present(self._git, bare, there.values())
        size = int(await self._run(bare, "rev-list", "--objects", "--disk-usage", sha, *(f"^{one}" for one in known)))
        return min(PUSH_S[0] + size / SLOWEST, PUSH_S[1])

    async def _run(self, bare: Path, *argv: str) -> str:
        return (await self._git.run(*argv, cwd=bare, env={"GIT_DIR": str(bare)}, timeout_s=300.0)).text


def _not_empty(branch: str) -> PostdocError:
    return PostdocError(
        "publish_blocked",
        f"The repository is not empty: its {branch!r} was not touched.",
        next="Publish to a branch of the existing repository, or create another one.",
        reason="not_empty",
    )
