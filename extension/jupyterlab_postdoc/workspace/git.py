"""Commits in a checkout that somebody else fills: the `git` program, hardened, without a shell.

The work tree and even the checkout's own ``.git/config`` are taken to be hostile. So everything that looks at files
runs in a *view*: a throw-away git directory with our own configuration that borrows only the checkout's objects and
index.
Filters, hooks, signing programs and includes named by the checkout are therefore never even read. The two calls that
touch the checkout's refs (`rev-parse`, `update-ref`) run no program but hooks, and those are switched off.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from weakref import WeakValueDictionary

from jupyterlab_postdoc.errors import PostdocError
from jupyterlab_postdoc.workspace import gitlock
from jupyterlab_postdoc.workspace.gitproc import GitResult, call, environment, failed, missing_git
from jupyterlab_postdoc.workspace.gittree import MAX_FILE_BYTES, Excluded, check_layout, examine
from jupyterlab_postdoc.workspace.gitview import borrowed, sweep

__all__ = ["MAX_FILE_BYTES", "Commit", "Excluded", "Git", "Identity", "borrowed"]

OLDEST = (2, 31, 0)
TRIES = 50
"""So often `git add` may meet a file that vanishes."""
_UNBORN = "0" * 40
_EMPTY_TREE = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
_TRAILER_KEY = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,63}")
_LOG_FORMAT = "--format=tformat:%H%x00%ct%x00%s%x00%(trailers:only=true,unfold=true)"
_TORN_INDEX = re.compile(r"index file|bad signature|bad index|index uses")
_GONE = re.compile(r"""^error: open\("(?P<path>.+)"\): No such file""", re.M)
_REFUSED = re.compile(r"""^error: (?:invalid path '|open\("|unable to index file ')(?P<path>.+?)(?:"\): .*|')$""", re.M)


@dataclass(frozen=True, slots=True)
class Identity:
    """Author and committer of a commit; always given by environment, never written to a config file."""

    name: str = "Postdoc research agent"
    email: str = "postdoc@localhost"


@dataclass(frozen=True, slots=True)
class Commit:
    """One commit: full sha, subject, trailers (the last value wins), committer time in UNIX seconds."""

    sha: str
    subject: str
    trailers: Mapping[str, str]
    time: int
    excluded: tuple[Excluded, ...] = ()


class Git:
    """All calls of one policy; stateless but for the found version. Every method takes the checkout's root."""

    def __init__(
        self,
        identity: Identity | None = None,
        *,
        executable: str = "git",
        timeout_s: float = 60.0,
        lock_wait_s: float = 10.0,
    ) -> None:
        self.identity = identity or Identity()
        self._executable = executable
        self._timeout_s = timeout_s
        self._lock_wait_s = lock_wait_s
        self._version: tuple[int, int, int] | None = None
        self._busy: WeakValueDictionary[Path, asyncio.Lock] = WeakValueDictionary()

    async def version(self) -> tuple[int, int, int]:
        """Git's version. PostdocError ``tool_failed`` with an install hint when it is missing or older than 2.31."""
        if self._version is None:
            env = environment(transport=None, old_git=False, extra={}, config={})
            result = await call([self._executable, "--version"], cwd=Path.cwd(), env=env, timeout_s=self._timeout_s)
            found = re.search(r"(\d+)\.(\d+)(?:\.(\d+))?", result.text)
            if found is None:
                raise missing_git()
            version = (int(found[1]), int(found[2]), int(found[3] or 0))
            if version < OLDEST:
                raise missing_git(found[0])
            self._version = version
            await asyncio.to_thread(sweep)
        return self._version

    async def init(self, root: Path, *, branch: str = "main") -> None:
        """Make ``root`` a repository without hooks or templates; finishes a half-made one, leaves a whole one alone."""
        git_dir = root / ".git"
        if git_dir.exists() or git_dir.is_symlink():
            check_layout(root)
            whole = all((git_dir / part).exists() for part in ("HEAD", "config", "objects", "refs"))
            if whole and (git_dir / "config").stat().st_size:
                return
        env = {"GIT_DIR": str(git_dir), "GIT_WORK_TREE": str(root)}
        await self.run("init", "--quiet", "--template=", f"--initial-branch={branch}", cwd=root, env=env)
        # `git init` records the work tree when it was given by environment; a checkout that is moved must still work.
        await self.run("config", "--file", str(git_dir / "config"), "--unset-all", "core.worktree", cwd=root, ok=(0, 5))

    async def head(self, root: Path) -> str | None:
        """The sha of HEAD; None before the first commit."""
        result = await self.run("rev-parse", "--verify", "--quiet", "HEAD", cwd=root, env=self.own(root), ok=(0, 1))
        return result.text or None

    async def log(self, root: Path, *, limit: int = 1000) -> list[Commit]:
        """Commits of HEAD, newest first."""
        head = await self.head(root)
        if head is None:
            return []
        async with self._view(root, head) as env:
            return _commits(await self.run("log", "-z", f"--max-count={limit}", _LOG_FORMAT, head, cwd=root, env=env))

    async def find_trailer(self, root: Path, key: str, value: str) -> Commit | None:
        """The newest commit of any branch that carries the trailer."""
        return await self.find_trailers(root, {key: value})

    async def find_trailers(self, root: Path, trailers: Mapping[str, str]) -> Commit | None:
        """The newest commit of any branch that carries all of the trailers."""
        wanted = _checked(trailers)
        head = await self.head(root)
        listed = await self.run("for-each-ref", "--format=%(objectname)", "refs/heads", cwd=root, env=self.own(root))
        tips = sorted({*listed.text.split(), *([head] if head else [])})
        if not tips:
            return None
        greps = [f"--grep={key}: {value}" for key, value in wanted.items()]
        argv = ["log", "-z", "--fixed-strings", "--all-match", *greps, _LOG_FORMAT, *tips]
        async with self._view(root, head) as env:
            found = _commits(await self.run(*argv, cwd=root, env=env))
        return next((commit for commit in found if wanted.items() <= dict(commit.trailers).items()), None)

    async def survey(self, root: Path) -> tuple[Excluded, ...]:
        """What a commit would leave out: nested repositories, links out of the tree, files too large or unreadable."""
        async with self._view(root, await self.head(root)) as env:
            return await self._survey(root, env)

    async def is_dirty(self, root: Path) -> bool:
        """Whether a commit would change anything."""
        return bool(await self.changed(root))

    async def changed(self, root: Path) -> list[str]:
        """The paths that a commit would change."""
        async with self._view(root, await self.head(root)) as env:
            excluded = await self._survey(root, env)
            argv = ["status", "--porcelain=v1", "-z", "--untracked-files=all", "--no-renames"]
            listed = await self.run(*argv, "--", *_pathspecs(excluded), cwd=root, env=env)
            return [entry[3:] for entry in os.fsdecode(listed.stdout).split("\0") if entry]

    async def commit_all(
        self,
        root: Path,
        *,
        subject: str,
        trailers: Mapping[str, str],
        body: str = "",
        when: float | None = None,
        author: Identity | None = None,
    ) -> Commit | None:
        """Commit the whole tree to HEAD's branch.

        None: nothing changed. A commit that carries all ``trailers`` already is returned as it is, whatever the tree
        holds by now. What may not be committed (see :meth:`survey`) is left out and named in ``excluded``.
        ``when`` fixes both dates; ``author`` is who has made the changes, when it was not we. PostdocError ``busy``
        when another program keeps the repository locked.
        """
        wanted, date = _checked(trailers), int(time.time() if when is None else when)
        message = _message(subject, body, wanted)
        title = message.split("\n", 1)[0]
        lock = self._busy.setdefault(root, asyncio.Lock())
        async with lock:
            for _ in range(5):
                if wanted and (made := await self.find_trailers(root, wanted)) is not None:
                    return made
                parent = await self.head(root)
                async with self._view(root, parent) as env:
                    excluded = await self._stage(root, parent, env)
                    tree = (await self.change("write-tree", cwd=root, env=env)).text
                    if tree == await self._tree(root, parent, env):
                        return None
                    commit = await self._commit_tree(root, tree, parent, message, env, date, author or self.identity)
                if await self._move_head(root, commit, parent, title):
                    return Commit(commit, title, wanted, date, excluded)
            raise _locked(root)

    async def run(
        self,
        *argv: str,
        cwd: Path,
        env: Mapping[str, str] | None = None,
        stdin: bytes | None = None,
        ok: Sequence[int] = (0,),
        transport: str | None = None,
        config: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
        pass_fds: Sequence[int] = (),
    ) -> GitResult:
        """One hardened call. PostdocError when its exit status is not one of ``ok``."""
        command, hardened = await self.prepared(*argv, env=env, transport=transport, config=config)
        limit = self._timeout_s if timeout_s is None else timeout_s
        result = await call(command, cwd=cwd, env=hardened, timeout_s=limit, stdin=stdin, pass_fds=pass_fds)
        if result.returncode not in ok:
            raise failed(command, result)
        return result

    async def prepared(
        self,
        *argv: str,
        env: Mapping[str, str] | None = None,
        transport: str | None = None,
        config: Mapping[str, str] | None = None,
    ) -> tuple[list[str], dict[str, str]]:
        """The command and the environment of such a call, for a program that is spoken with while it runs."""
        old = await self.version() < (2, 36, 0)
        hardened = environment(transport=transport, old_git=old, extra=env or {}, config=config or {})
        return [self._executable, *argv], hardened

    async def change(
        self,
        *argv: str,
        cwd: Path,
        env: Mapping[str, str] | None = None,
        stdin: bytes | None = None,
        ok: Sequence[int] = (0,),
        transport: str | None = None,
        config: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
    ) -> GitResult:
        """Like :meth:`run`, for calls that take a lock below ``cwd``: a dead git's is removed, a live one's waited for.

        PostdocError ``busy`` when the lock is still held after ``lock_wait_s``.
        """
        deadline = time.monotonic() + self._lock_wait_s
        while True:
            result = await self.run(
                *argv,
                cwd=cwd,
                env=env,
                stdin=stdin,
                ok=range(256),
                transport=transport,
                config=config,
                timeout_s=timeout_s,
            )
            lock = gitlock.lock_in(result.stderr) if result.returncode else None
            if lock is None:
                if result.returncode not in ok:
                    raise failed([self._executable, *argv], result)
                return result
            if not await asyncio.to_thread(gitlock.clear_stale, cwd, lock):
                if time.monotonic() > deadline:
                    raise _locked(cwd)
                await asyncio.sleep(0.05)

    @contextlib.asynccontextmanager
    async def _view(self, root: Path, head: str | None) -> AsyncIterator[dict[str, str]]:
        """The environment of a throw-away git directory over the checkout's objects and index."""
        check_layout(root)
        with borrowed(root, head) as view:
            yield {
                "GIT_DIR": str(view),
                "GIT_WORK_TREE": str(root),
                "GIT_INDEX_FILE": str(root / ".git" / "index"),
                "GIT_OBJECT_DIRECTORY": str(root / ".git" / "objects"),
            }

    def own(self, root: Path) -> dict[str, str]:
        """The environment for the checkout's own refs: only for verbs that run no program but hooks."""
        check_layout(root)
        who = {"GIT_COMMITTER_NAME": self.identity.name, "GIT_COMMITTER_EMAIL": self.identity.email}
        return {"GIT_DIR": str(root / ".git"), **who}

    async def _survey(self, root: Path, env: Mapping[str, str]) -> tuple[Excluded, ...]:
        listed = await self.run("ls-files", "-z", "--cached", "--others", "--exclude-standard", cwd=root, env=env)
        paths = [path for path in listed.text.split("\0") if path]
        return await asyncio.to_thread(examine, root, paths)

    async def _stage(self, root: Path, parent: str | None, env: Mapping[str, str]) -> tuple[Excluded, ...]:
        """Bring the index to the state of the tree; recovers once from an index that a power cut tore."""
        try:
            return await self._add(root, env)
        except PostdocError as exc:
            if not _TORN_INDEX.search(str(exc.details.get("git", ""))):
                raise
        # Nothing but staging is lost: the tree is complete, and HEAD is still known.
        (root / ".git" / "index").unlink(missing_ok=True)
        if parent is not None:
            await self.change("read-tree", parent, cwd=root, env=env)
        return await self._add(root, env)

    async def _add(self, root: Path, env: Mapping[str, str]) -> tuple[Excluded, ...]:
        """Stage the tree, while programs may work in it: a file that vanishes between git's two looks at it ends the
        whole call, which then begins again.
        """
        argv = ["add", "--all", "--ignore-errors", "--pathspec-from-file=-", "--pathspec-file-nul"]
        for _ in range(TRIES):
            excluded = await self._survey(root, env)
            stdin = b"".join(os.fsencode(spec) + b"\0" for spec in _pathspecs(excluded))
            added = await self.change(*argv, cwd=root, env=env, stdin=stdin, ok=(0, 1, 128))
            if added.returncode != 128 or "unable to stat '" not in added.stderr:
                break
        # With --ignore-errors the rest is staged, and each path that failed is named on stderr.
        refused, gone = ({found["path"] for found in kind.finditer(added.stderr)} for kind in (_REFUSED, _GONE))
        if added.returncode and (added.returncode != 1 or not refused):
            raise failed(["git", "add"], added)
        return (*excluded, *(Excluded(path, "git refused it") for path in sorted(refused - gone)))

    async def _tree(self, root: Path, commit: str | None, env: Mapping[str, str]) -> str:
        if commit is None:
            return _EMPTY_TREE
        return (await self.run("rev-parse", "--verify", f"{commit}^{{tree}}", cwd=root, env=env)).text

    async def _commit_tree(
        self,
        root: Path,
        tree: str,
        parent: str | None,
        message: str,
        env: Mapping[str, str],
        date: int,
        author: Identity,
    ) -> str:
        who = {}
        for role, one in (("AUTHOR", author), ("COMMITTER", self.identity)):
            who[f"GIT_{role}_NAME"], who[f"GIT_{role}_EMAIL"] = one.name, one.email
            who[f"GIT_{role}_DATE"] = f"@{date} +0000"
        parents = ["-p", parent] if parent else []
        argv = ["commit-tree", tree, *parents, "-F", "-"]
        return (await self.run(*argv, cwd=root, env={**env, **who}, stdin=message.encode("utf-8"))).text

    async def _move_head(self, root: Path, commit: str, parent: str | None, subject: str) -> bool:
        """Move HEAD's branch if it is still where we saw it. False: somebody else moved it."""
        argv = ["update-ref", "-m", f"commit: {subject}", "HEAD", commit, parent or _UNBORN]
        moved = await self.change(*argv, cwd=root, env=self.own(root), ok=(0, 1, 128))
        if moved.returncode and "cannot lock ref" not in moved.stderr:
            raise failed(["git", "update-ref"], moved)
        return moved.returncode == 0


def _pathspecs(excluded: Sequence[Excluded]) -> list[str]:
    return [":(top)", *(f":(top,exclude,literal){item.path.rstrip('/')}" for item in excluded)]


def _checked(trailers: Mapping[str, str]) -> dict[str, str]:
    """The trailers on one line each, so that no value can add another trailer."""
    for key in trailers:
        if not _TRAILER_KEY.fullmatch(key):
            raise ValueError(f"not a trailer key: {key!r}")
    return {key: _one_line(value) or "-" for key, value in trailers.items()}


def _one_line(text: str) -> str:
    cleaned = text.encode("utf-8", "replace").decode("utf-8")
    return " ".join(re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]", " ", cleaned).split())


def _message(subject: str, body: str, trailers: Mapping[str, str]) -> str:
    title = _one_line(subject) or "update"
    if len(title) > 100:
        title = title[:99].rstrip() + "…"
    prose = "\n".join(_one_line(line) for line in body.splitlines()).strip()
    block = "\n".join(f"{key}: {value}" for key, value in trailers.items())
    return "\n\n".join(part for part in (title, prose, block) if part) + "\n"


def _commits(result: GitResult) -> list[Commit]:
    fields = result.stdout.decode("utf-8", "replace").split("\0")
    found = []
    for at in range(0, len(fields) - 3, 4):
        sha, seconds, subject, block = fields[at : at + 4]
        pairs = (line.partition(":") for line in block.splitlines() if line)
        found.append(Commit(sha, subject, {key: value.strip() for key, _, value in pairs}, int(seconds)))
    return found


def _locked(root: Path) -> PostdocError:
    return PostdocError(
        "busy",
        f"Another git program is working in {root.name!r}; the change is on disk but not committed yet.",
        next="Finish or close that program, then resume.",
        retryable=True,
    )
