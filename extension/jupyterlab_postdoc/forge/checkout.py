"""A work tree of our own for a session in an existing repository, made from the server's copy of it."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

from jupyterlab_postdoc.errors import PostdocError
from jupyterlab_postdoc.forge.names import MARKER, disk_errors
from jupyterlab_postdoc.forge.transfer import FETCHING, Destination
from jupyterlab_postdoc.workspace.git import Git
from jupyterlab_postdoc.workspace.githistory import reading

RECORD = "postdoc-checkout.json"
"""Inside `.git`: what is being checked out, so that a crash in the middle is finished, and nothing else touched."""
FORKING = "postdoc-forking"
"""Inside `.git` of a fork whose session is not made yet: see checkpoints/pending.py."""

_SHA = re.compile(r"[0-9a-f]{40}")


async def make_checkout(git: Git, bare: Path, to: Destination, root: Path, *, branch: str, sha: str, base: str) -> str:
    """Put the commit ``sha`` into ``root`` on the new ``branch``; the sha that is there.

    ``root`` may be absent, empty, claimed by a run, or half made by an earlier call (which is finished with the
    commit it began with). PostdocError ``github_conflict`` when it holds anything else. No hook, no filter, no
    submodule and no LFS file is fetched or run; the objects are copies, and the address is without a token.
    """
    with disk_errors(root):
        known = _begin(root, to.key, branch, sha)
    sha = known["sha"]
    if known["done"]:
        return sha
    await git.init(root, branch=branch)
    own = {"GIT_DIR": str(root / ".git"), "GIT_WORK_TREE": str(root)}
    # A name for the commit: only what has one can be fetched.
    offer = f"refs/bases/{sha}"
    await git.change("update-ref", offer, sha, cwd=bare, env={"GIT_DIR": str(bare)})
    await git.change(
        *("fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--no-auto-gc", "--no-recurse-submodules"),
        *(str(bare), f"+{offer}:refs/remotes/origin/{base}"),
        cwd=root,
        env=own,
        transport="file",
        config=FETCHING,
        timeout_s=900.0,
    )
    await git.change("update-ref", f"refs/heads/{branch}", sha, cwd=root, env=git.own(root))
    await git.change("symbolic-ref", "HEAD", f"refs/heads/{branch}", cwd=root, env=git.own(root))
    config = str(root / ".git" / "config")
    for key, value in (("url", to.url), ("fetch", "+refs/heads/*:refs/remotes/origin/*")):
        await git.change("config", "--file", config, "--replace-all", f"remote.origin.{key}", value, cwd=root)
    await git.change("read-tree", sha, cwd=root, env=own)
    # Forced: files that a killed call wrote before the index knew of them are written again.
    await git.change("checkout-index", "--all", "--force", "--index", cwd=root, env=own, timeout_s=900.0)
    _record(root, {**known, "done": True})
    return sha


async def make_fork(git: Git, source: Path, root: Path, *, branch: str, sha: str) -> None:
    """Put the commit ``sha`` of one of our checkouts, with all before it, into ``root`` on ``branch``.

    As :func:`make_checkout`, but that nothing is left that leads back: it has no remote.
    """
    with disk_errors(root):
        known = _begin(root, f"fork/{sha}", branch, sha)
    if known["done"]:
        return
    await git.init(root, branch=branch)
    own = {"GIT_DIR": str(root / ".git"), "GIT_WORK_TREE": str(root)}
    with reading(source, sha) as (view, _):
        offer = view / "refs" / "heads" / "fork"
        offer.write_text(f"{sha}\n")
        await git.change(
            *("fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--no-auto-gc", "--no-recurse-submodules"),
            *(str(view), "+refs/heads/fork:refs/bases/fork"),
            cwd=root,
            env=own,
            transport="file",
            config=FETCHING,
            timeout_s=900.0,
        )
    await git.change("update-ref", f"refs/heads/{branch}", sha, cwd=root, env=git.own(root))
    await git.change("update-ref", "-d", "refs/bases/fork", cwd=root, env=git.own(root))
    await git.change("symbolic-ref", "HEAD", f"refs/heads/{branch}", cwd=root, env=git.own(root))
    await git.change("read-tree", sha, cwd=root, env=own)
    await git.change("checkout-index", "--all", "--force", "--index", cwd=root, env=own, timeout_s=900.0)
    _record(root, {**known, "done": True})


def _begin(root: Path, key: str, branch: str, sha: str) -> dict[str, Any]:
    """What was recorded by an earlier call for the same purpose, else what is recorded now."""
    wanted = {"key": key, "branch": branch, "sha": sha, "done": False}
    git_dir = root / ".git"
    if root.is_symlink() or git_dir.is_symlink():
        raise _taken(root)
    if (known := _recorded(root)) is not None:
        if (known["key"], known["branch"]) != (key, branch):
            raise _taken(root)
        return known
    root.mkdir(parents=True, exist_ok=True)
    if not _untouched(root):
        raise _taken(root)
    git_dir.mkdir(exist_ok=True)
    _record(root, wanted)
    return wanted


def unfinished(root: Path) -> bool:
    """Whether what is being checked out in ``root`` is not all there yet; False where that cannot be told."""
    known = _recorded(root)
    return _untouched(root) if known is None else known["done"] is False


def _recorded(root: Path) -> dict[str, Any] | None:
    """What :func:`_begin` has written down; None: nothing that can be read."""
    try:
        known = json.loads((root / ".git" / RECORD).read_bytes())
    except (OSError, ValueError):
        return None
    whole = isinstance(known, dict) and known.keys() == {"key", "branch", "sha", "done"}
    return known if whole and _SHA.fullmatch(str(known["sha"])) else None


def _untouched(root: Path) -> bool:
    """Whether there is nothing in the folder but what claims it."""
    git_dir = root / ".git"
    return not set(os.listdir(root)) - {".git"} and (
        not git_dir.exists() or not set(os.listdir(git_dir)) - {MARKER, f"{RECORD}.new", FORKING}
    )


def _record(root: Path, what: dict[str, Any]) -> None:
    fresh = root / ".git" / f"{RECORD}.new"
    with fresh.open("w", encoding="utf-8") as file:
        json.dump(what, file, sort_keys=True)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(root / ".git" / RECORD)


def _taken(root: Path) -> PostdocError:
    return PostdocError(
        "github_conflict",
        f"The directory {root.name!r} is not empty; it was not touched.",
        next="Give the session another name, or move that directory away.",
    )
