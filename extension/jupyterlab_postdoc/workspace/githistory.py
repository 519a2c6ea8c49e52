"""Reading the history of a checkout that somebody else may have written: its commits, what they changed, their files.

Only objects are read, in a throw-away git directory (see git.py): no file of the work tree, no filter, no attribute and
no configuration of the checkout takes part.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from jupyterlab_postdoc.errors import PostdocError
from jupyterlab_postdoc.workspace.git import Git, borrowed
from jupyterlab_postdoc.workspace.gittree import check_layout

SHA = re.compile(r"[0-9a-f]{40}")
NOTHING = "0" * 40
"""The blob of a file that is not there."""

_FORMAT = "--format=tformat:%H%x00%P%x00%ct%x00%an%x00%ae%x00%s%x00%(trailers:only=true,unfold=true)"
_FIELDS = 7
_RAW = re.compile(r"\n?:(\d{6}) (\d{6}) ([0-9a-f]{40}) ([0-9a-f]{40}) ([A-Z])\d*")
_FILE = ("100644", "100755")


@dataclass(frozen=True, slots=True)
class FileChange:
    """One file that a commit changed. A blob is :data:`NOTHING` where there is no regular file (none, or a link)."""

    path: str
    before: str
    after: str
    letter: str
    """git's: A(dded), D(eleted), M(odified), T(ype)."""


@dataclass(frozen=True, slots=True)
class Step:
    """One commit with what it changed against its first parent. ``time`` is the committer's, in UNIX seconds."""

    sha: str
    parent: str
    subject: str
    trailers: Mapping[str, str]
    time: int
    author: str
    email: str
    files: tuple[FileChange, ...]


@contextmanager
def reading(root: Path, head: str | None) -> Iterator[tuple[Path, dict[str, str]]]:
    """A git directory that reads the checkout's objects, and the environment for it.

    PostdocError ``forbidden`` when the checkout borrows objects from elsewhere: they may be of a repository that
    nobody meant to show.
    """
    check_layout(root)
    if os.path.lexists(root / ".git" / "objects" / "info" / "alternates"):
        raise PostdocError(
            "forbidden",
            f"The repository {root.name!r} borrows its objects from another folder, so its history is not read.",
            next="Remove .git/objects/info/alternates after `git repack -a`, then look again.",
        )
    with borrowed(root, head) as view:
        yield view, {"GIT_DIR": str(view)}


async def steps(git: Git, root: Path, *, limit: int, since: str = "") -> list[Step]:
    """The last ``limit`` commits of HEAD, newest first; ``since`` and what it comes from are left out."""
    head = await git.head(root)
    if head is None:
        return []
    with reading(root, head) as (view, env):
        argv = ["log", "-z", "--raw", "--no-abbrev", "--no-renames", "--diff-merges=first-parent", "--first-parent"]
        argv += [f"--max-count={limit}", _FORMAT, head, *([f"^{since}"] if since else [])]
        found = await git.run(*argv, cwd=view, env=env)
    return list(_steps(found.stdout.decode("utf-8", "replace").split("\0")))


def _steps(fields: list[str]) -> Iterator[Step]:
    at = 0
    while at + _FIELDS <= len(fields):
        sha, parents, seconds, author, email, subject, block = fields[at : at + _FIELDS]
        at += _FIELDS
        # Behind the last field there is one that git ends the message with, empty or the begin of the first change.
        files: list[FileChange] = []
        while at + 1 < len(fields) and (raw := _RAW.fullmatch(fields[at])):
            files.append(_file(raw, fields[at + 1]))
            at += 2
        pairs = (line.partition(":") for line in block.splitlines() if line)
        trailers = {key: value.strip() for key, _, value in pairs}
        parent = parents.partition(" ")[0]
        yield Step(sha.strip(), parent, subject, trailers, int(seconds), author, email, tuple(files))


def _file(raw: re.Match[str], path: str) -> FileChange:
    before, after = (blob if mode in _FILE else NOTHING for mode, blob in ((raw[1], raw[3]), (raw[2], raw[4])))
    return FileChange(path, before, after, raw[5])


async def changes(git: Git, root: Path, before: str, after: str) -> list[FileChange]:
    """What is different between two commits."""
    with reading(root, after) as (view, env):
        argv = ("diff-tree", "-r", "-z", "--raw", "--no-abbrev", "--no-renames", "--no-commit-id", before, after)
        found = await git.run(*argv, cwd=view, env=env)
    fields = found.stdout.decode("utf-8", "replace").split("\0")
    matched = ((_RAW.fullmatch(meta), path) for meta, path in zip(fields[::2], fields[1::2], strict=False))
    return [_file(raw, path) for raw, path in matched if raw is not None]


async def holds(git: Git, root: Path, sha: str, *, since: str = "") -> bool:
    """Whether the commit is part of HEAD's history (and, with ``since``, was not part of that one's already)."""
    head = await git.head(root)
    if head is None or not SHA.fullmatch(sha):
        return False
    with reading(root, head) as (view, env):

        async def leads_to(descendant: str) -> bool:
            argv = ("merge-base", "--is-ancestor", sha, descendant)
            return (await git.run(*argv, cwd=view, env=env, ok=(0, 1, 128))).returncode == 0

        return await leads_to(head) and not (since and await leads_to(since))


async def blob_of(git: Git, root: Path, sha: str, path: str) -> str | None:
    """The blob of a regular file in a commit; None when there is none."""
    with reading(root, sha) as (view, env):
        listed = await git.run("ls-tree", "-z", "--full-tree", sha, "--", path, cwd=view, env=env)
    for entry in listed.stdout.decode("utf-8", "replace").split("\0"):
        about, _, name = entry.partition("\t")
        mode, _, blob = about.partition(" ")
        if name == path and mode in _FILE:
            return blob.rpartition(" ")[2]
    return None


async def text_of(git: Git, root: Path, sha: str, path: str, *, limit: int = 64 << 20) -> str | None:
    """The text of a regular file in a commit; None when there is none, or when it has more than ``limit`` bytes."""
    blob = await blob_of(git, root, sha, path)
    if blob is None:
        return None
    with reading(root, sha) as (view, env):
        if int((await git.run("cat-file", "-s", blob, cwd=view, env=env)).text) > limit:
            return None
        return (await git.run("cat-file", "blob", blob, cwd=view, env=env)).stdout.decode("utf-8", "replace")


async def subject(git: Git, root: Path, sha: str) -> str:
    """The first line of a commit's message."""
    with reading(root, sha) as (view, env):
        found = await git.run("log", "--max-count=1", "--format=%s", sha, cwd=view, env=env)
    return found.stdout.decode("utf-8", "replace").strip()


async def parent(git: Git, root: Path, sha: str) -> str:
    """The commit before; empty for the first one."""
    with reading(root, sha) as (view, env):
        argv = ("rev-parse", "--verify", "--quiet", f"{sha}^1")
        return (await git.run(*argv, cwd=view, env=env, ok=(0, 1))).text
