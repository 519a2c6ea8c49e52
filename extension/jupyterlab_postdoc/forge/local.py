"""The forge that needs no network and no account: bare repositories below the data directory."""

from __future__ import annotations

import asyncio
import hashlib
import re
import shutil
from pathlib import Path

from jupyterlab_postdoc.errors import PostdocError
from jupyterlab_postdoc.forge.base import Comparison, FileChange, PushResult, RemoteRepo
from jupyterlab_postdoc.forge.names import check_repo_name, disk_errors, read_marker, write_marker
from jupyterlab_postdoc.workspace.git import Git, borrowed

_BRANCH = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)*")
_SHA = re.compile(r"[0-9a-f]{40}")


class LocalForge:
    """Bare repositories ``<data_dir>/repos/local/<name>.git``, each marked with the run that made it."""

    name = "local"

    def __init__(self, data_dir: Path, git: Git | None = None) -> None:
        self._root = data_dir.absolute() / "repos" / "local"
        self._git = git or Git()

    async def create_repo(self, name: str, *, session: str, run: str) -> RemoteRepo:
        """See :class:`~jupyterlab_postdoc.forge.base.Forge`."""
        check_repo_name(name)
        bare = self._path(name)
        owner = read_marker(bare).get("run")
        if owner is None and not bare.exists():
            with disk_errors(self._root):
                await self._create(bare, session, run)
            owner = read_marker(bare).get("run")
        if owner != run:
            raise PostdocError(
                "github_conflict",
                f"There is a local repository {name!r} already, and this run did not make it; it was not touched.",
                next="Give the study another name.",
            )
        return self._describe(name)

    async def get_repo(self, name: str) -> RemoteRepo | None:
        """See :class:`~jupyterlab_postdoc.forge.base.Forge`."""
        check_repo_name(name)
        return self._describe(name) if self._path(name).exists() else None

    async def is_taken(self, name: str, *, run: str) -> bool:
        """See :class:`~jupyterlab_postdoc.forge.base.Forge`."""
        bare = self._path(name)
        return bare.exists() and read_marker(bare).get("run") != run

    async def push(self, root: Path, repo: RemoteRepo, branch: str = "main") -> PushResult:
        """See :class:`~jupyterlab_postdoc.forge.base.Forge`.

        The bare repository fetches, from a view that borrows the checkout's objects: no configuration and no hook of
        the checkout takes part. Also sets the checkout's `origin`, and its idea of where the remote branch is.
        """
        if not _BRANCH.fullmatch(branch):
            raise ValueError(f"not a branch name: {branch!r}")
        bare = self._path(repo.name)
        refs = self._git.own(root)
        ref = f"refs/heads/{branch}"
        tip = (await self._git.run("rev-parse", "--verify", "--quiet", ref, cwd=root, env=refs, ok=(0, 1))).text
        if not tip:
            raise PostdocError("not_found", f"The study {root.name!r} has no commit on {branch!r} yet.")
        before = await self._tip(bare, ref)
        if before != tip:
            await self._fetch(root, bare, tip, branch)
        await self._set_origin(root, bare)
        remote = f"refs/remotes/origin/{branch}"
        await self._git.change("update-ref", remote, tip, cwd=root, env=refs)
        return PushResult(branch, before, tip)

    async def compare(self, repo: RemoteRepo, base: str, head: str) -> Comparison:
        """See :class:`~jupyterlab_postdoc.forge.base.Forge`."""
        bare = self._path(repo.name)
        ends = [await self._commit(bare, base), await self._commit(bare, head)]
        env = {"GIT_DIR": str(bare)}
        counts = await self._git.run("rev-list", "--left-right", "--count", "...".join(ends), cwd=bare, env=env)
        behind, ahead = (int(number) for number in counts.text.split())
        diff = ["diff", "--numstat", "-z", "--no-renames", "--no-ext-diff", "--no-textconv", "...".join(ends)]
        listed = (await self._git.run(*diff, cwd=bare, env=env)).text
        return Comparison(ahead, behind, tuple(_change(line) for line in listed.split("\0") if line))

    def _path(self, name: str) -> Path:
        return self._root / f"{name}.git"

    def _describe(self, name: str) -> RemoteRepo:
        return RemoteRepo(name=name, url=str(self._path(name)))

    async def _create(self, bare: Path, session: str, run: str) -> None:
        """Build aside and rename, so that a repository exists whole or not at all."""
        fresh = bare.with_name(f".{bare.name}-{hashlib.sha256(run.encode()).hexdigest()[:16]}.new")
        await asyncio.to_thread(shutil.rmtree, fresh, ignore_errors=True)
        fresh.mkdir(parents=True, mode=0o700)
        await self._git.run(
            "init", "--quiet", "--bare", "--template=", "--initial-branch=main", cwd=fresh, env={"GIT_DIR": str(fresh)}
        )
        write_marker(fresh, name=bare.stem, session=session, run=run)
        try:
            fresh.rename(bare)
        except OSError:
            # Somebody was faster; the caller looks at whose it is.
            if not bare.exists():
                raise
            await asyncio.to_thread(shutil.rmtree, fresh, ignore_errors=True)

    async def _fetch(self, root: Path, bare: Path, tip: str, branch: str) -> None:
        with borrowed(root, tip, branch=branch) as view:
            fetched = await self._git.change(
                *("fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--no-auto-gc", "--no-recurse-submodules"),
                str(view),
                f"refs/heads/{branch}:refs/heads/{branch}",
                cwd=bare,
                env={"GIT_DIR": str(bare)},
                transport="file",
                ok=(0, 1),
            )
        if fetched.returncode == 0 or await self._tip(bare, f"refs/heads/{branch}") == tip:
            return
        raise PostdocError(
            "github_conflict",
            f"The repository's {branch!r} has commits that the checkout does not have; nothing was overwritten.",
            next="Pull and merge them in the checkout, then resume.",
            git=fetched.stderr[:500],
        )

    async def _set_origin(self, root: Path, bare: Path) -> None:
        config = str(root / ".git" / "config")
        for key, value in (("url", str(bare)), ("fetch", "+refs/heads/*:refs/remotes/origin/*")):
            argv = ("config", "--file", config, "--no-includes")
            known = await self._git.run(*argv, "--get-all", f"remote.origin.{key}", cwd=root, ok=(0, 1))
            # An origin that somebody else set (a publish to GitHub) stays.
            if known.returncode == 1:
                await self._git.change("config", "--file", config, f"remote.origin.{key}", value, cwd=root)

    async def _tip(self, bare: Path, ref: str) -> str | None:
        argv = ("rev-parse", "--verify", "--quiet", ref)
        return (await self._git.run(*argv, cwd=bare, env={"GIT_DIR": str(bare)}, ok=(0, 1))).text or None

    async def _commit(self, bare: Path, name: str) -> str:
        ref = name if _SHA.fullmatch(name) else f"refs/heads/{name}"
        found = await self._tip(bare, f"{ref}^{{commit}}") if _SHA.fullmatch(name) or _BRANCH.fullmatch(name) else None
        if found is None:
            raise PostdocError("not_found", f"The repository has no commit or branch {name!r}.")
        return found


def _change(line: str) -> FileChange:
    added, deleted, path = line.split("\t", 2)
    return FileChange(path, None if added == "-" else int(added), None if deleted == "-" else int(deleted))
