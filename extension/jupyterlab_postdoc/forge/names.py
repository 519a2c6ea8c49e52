"""Names of research repositories, and the directory that each run owns."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import hashlib
import json
import os
import re
import shutil
import unicodedata
from collections.abc import Awaitable, Callable, Collection, Iterator
from pathlib import Path
from typing import Any

from jupyterlab_postdoc.errors import PostdocError

MAX_NAME = 80
MARKER = "postdoc.json"
"""Inside `.git` (or a bare repository): which run made it. Never committed, so a clone is nobody's."""

_LEGAL = re.compile(r"[a-z0-9][a-z0-9-]{0,79}")
_REMOTE = re.compile(r"[A-Za-z0-9._-]{1,100}")
"""GitHub's rule."""
_RESERVED = {"con", "nul", "prn", "aux", *(f"{port}{n}" for port in ("com", "lpt") for n in range(1, 10))}


def slugify_topic(topic: str, maxlen: int = MAX_NAME) -> str:
    """A legal repository name for a topic in any language; the same topic always gives the same name."""
    from anyascii import anyascii

    normal = unicodedata.normalize("NFC", topic.encode("utf-8", "replace").decode("utf-8"))
    words = re.findall(r"[a-z0-9]+", anyascii(normal).lower().replace("'", ""))
    slug = ""
    for word in words:
        longer = f"{slug}-{word}" if slug else word
        if len(longer) > maxlen:
            break
        slug = longer
    slug = slug or (words[0][:maxlen] if words else "")
    if not slug or slug in _RESERVED:
        digest = hashlib.sha256(normal.encode("utf-8")).hexdigest()[:8]
        slug = f"{slug or 'topic'}-{digest}"[:maxlen]
    return slug


def check_repo_name(name: str) -> None:
    """Refuse an illegal name with PostdocError ``bad_message``, whose ``next`` and ``proposal`` name a legal one."""
    if _LEGAL.fullmatch(name) and name not in _RESERVED:
        return
    stem = name[:-4] if name.lower().endswith((".git", ".wiki")) else name
    proposal = slugify_topic(stem)
    shown = name if len(name) <= 100 else f"{name[:99]}…"
    raise PostdocError(
        "bad_message",
        f"{shown!r} cannot be a repository name: use 1 to {MAX_NAME} lower-case letters, digits and hyphens, "
        "starting with a letter or digit.",
        next=f"Use {proposal!r}, or leave the name out to have one made from the topic.",
        proposal=proposal,
    )


def check_remote_name(name: str) -> None:
    """Refuse what GitHub would not take, or would alter: PostdocError ``bad_message`` with a ``proposal``."""
    fits = _REMOTE.fullmatch(name) and name not in (".", "..") and not name.lower().endswith((".git", ".wiki"))
    if fits:
        return
    proposal = slugify_topic(re.sub(r"(?i)\.(git|wiki)$", "", name))
    raise PostdocError(
        "bad_message",
        f"Repository names may use letters, digits, - . _ ; suggestion: {proposal}.",
        next=f"Publish with the name {proposal}, or another one.",
        proposal=proposal,
    )


def candidates(name: str, *, session: str = "") -> Iterator[str]:
    """``name``, ``name-2`` … ``name-9``, then ``name-<sid6>``; each within the length limit."""
    yield name
    sid = re.sub(r"[^a-z0-9]", "", session.lower())[-6:] or hashlib.sha256(session.encode()).hexdigest()[:6]
    for suffix in (*(f"-{number}" for number in range(2, 10)), f"-{sid}"):
        yield name[: MAX_NAME - len(suffix)].rstrip("-") + suffix


def session_tag(session: str) -> str:
    """Eight letters and digits that tell a session's branch and folder from those of others."""
    letters = re.sub(r"[^a-z0-9]", "", session.lower())
    return letters[-8:] if len(letters) >= 8 else hashlib.sha256(session.encode()).hexdigest()[:8]


def branch_name(topic: str, session: str, taken: Collection[str] = ()) -> str:
    """The branch of a session, ``agent/<topic>/<tag>``, or the first variant that can be beside the ``taken`` ones.

    A branch cannot have the name of a folder of another one: beside ``agent`` it is ``agent-<topic>-<tag>``.
    """
    slug, tag = slugify_topic(topic, 50), session_tag(session)
    taken = {name.casefold() for name in taken}

    def fits(name: str) -> bool:
        folders = {name[: slash.start()] for slash in re.finditer("/", name)}
        return name not in taken and not folders & taken and not any(other.startswith(f"{name}/") for other in taken)

    forms = (f"agent/{slug}/{tag}", f"agent/{slug}-{tag}", f"agent-{slug}-{tag}")
    plain = next((form for form in forms if not {form.rpartition("/")[0], form.partition("/")[0]} & taken), forms[-1])
    return next(name for name in (plain, *(f"{plain}-{number}" for number in range(2, 10_000))) if fits(name))


def next_free(name: str, exists: Callable[[str], bool], *, session: str = "") -> str:
    """The first of :func:`candidates` that does not exist. PostdocError ``github_conflict`` when all do."""
    for candidate in candidates(name, session=session):
        if not exists(candidate):
            return candidate
    raise PostdocError(
        "github_conflict",
        f"{name!r} and all of its numbered variants exist already.",
        next="Give the study a name of its own.",
    )


def read_marker(git_dir: Path) -> dict[str, Any]:
    """What :func:`write_marker` wrote, or an empty dict: then nobody of us made this directory."""
    try:
        marker = json.loads((git_dir / MARKER).read_bytes())
    except (OSError, ValueError):
        return {}
    return marker if isinstance(marker, dict) else {}


def write_marker(git_dir: Path, *, name: str, session: str, run: str, **more: Any) -> None:
    """Record the owner in ``git_dir``, complete or not at all, and on the disk before this returns.

    ``more`` is plain JSON: for a checkout of somebody's repository where it is from (see agent/checkout.py).
    """
    fresh = git_dir / f"{MARKER}.new"
    with fresh.open("w", encoding="utf-8") as file:
        json.dump({**more, "version": 1, "name": name, "session": session, "run": run}, file, sort_keys=True)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(git_dir / MARKER)


async def claim_directory(
    research_root: Path,
    *,
    topic: str,
    repo_name: str | None,
    run_id: str,
    session_id: str,
    taken: Callable[[str], Awaitable[bool]] | None = None,
) -> Path:
    """The run's own directory below ``research_root``: made now, or found again after a crash.

    A name from the topic gets a suffix when it is taken; a given name is used as it is, or refused with
    PostdocError ``bad_message`` (illegal) or ``github_conflict`` (taken). ``taken`` says whether a name is used
    elsewhere by another run (``lambda name: forge.is_taken(name, run=run_id)``).
    """
    if repo_name is not None:
        check_repo_name(repo_name)
    base = repo_name or slugify_topic(topic)
    names = list(candidates(base, session=session_id))
    with disk_errors(research_root):
        # Only the run's own directory may be returned for a given name, so the variants are looked at in any case:
        # they cost nothing, and the first one free is the proposal.
        mine = await asyncio.to_thread(_find_mine, research_root, names, run_id, session_id)
    if mine is not None:
        return mine
    for name in names:
        if taken is not None and await taken(name):
            continue
        if repo_name is not None and name != repo_name:
            if os.path.lexists(research_root / name):
                continue
            raise _name_taken(repo_name, name)
        with disk_errors(research_root):
            claimed = await asyncio.to_thread(_claim, research_root, name, run_id, session_id)
        if claimed is not None:
            return claimed
    raise _name_taken(base, "")


def _name_taken(name: str, proposal: str) -> PostdocError:
    return PostdocError(
        "github_conflict",
        f"There is a repository {name!r} already, and this run did not make it; it was not touched.",
        next=f"Use {proposal!r}, or another name." if proposal else "Give the study a name of its own.",
        proposal=proposal or None,
    )


def _ticket(research_root: Path, run: str) -> Path:
    """A hidden directory that survives a crash between making the directory and marking it as ours."""
    return research_root / f".claim-{hashlib.sha256(run.encode()).hexdigest()[:16]}"


def _find_mine(research_root: Path, names: list[str], run: str, session: str) -> Path | None:
    research_root.mkdir(parents=True, exist_ok=True)
    ticket = _ticket(research_root, run)
    for name in names:
        marker = read_marker(research_root / name / ".git")
        if marker.get("run") == run and marker.get("session") == session:
            shutil.rmtree(ticket, ignore_errors=True)
            return research_root / name
    intended = read_marker(ticket / ".git").get("name")
    if intended in names and (target := research_root / str(intended)).is_dir() and not any(target.iterdir()):
        return _mark(ticket, target)
    shutil.rmtree(ticket, ignore_errors=True)
    return None


def _claim(research_root: Path, name: str, run: str, session: str) -> Path | None:
    """Make the directory and mark it. None: it exists, in whatever spelling."""
    if any(entry.casefold() == name for entry in os.listdir(research_root)):
        return None
    ticket = _ticket(research_root, run)
    (ticket / ".git").mkdir(parents=True, exist_ok=True)
    write_marker(ticket / ".git", name=name, session=session, run=run)
    target = research_root / name
    try:
        target.mkdir()  # the lock: of two runs only one makes it
    except FileExistsError:
        shutil.rmtree(ticket, ignore_errors=True)
        return None
    return _mark(ticket, target)


def _mark(ticket: Path, target: Path) -> Path:
    (ticket / ".git").rename(target / ".git")
    for directory in (target, target.parent):
        _sync(directory)
    with contextlib.suppress(OSError):
        ticket.rmdir()
    return target


def _sync(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def disk_errors(place: Path) -> Iterator[None]:
    """Turn the file system's refusals into sentences."""
    try:
        yield
    except OSError as exc:
        if exc.errno in (errno.ENOSPC, errno.EDQUOT):
            raise PostdocError(
                "storage_full",
                "The disk is full; what was saved before is kept.",
                next="Free some space, then resume.",
                retryable=True,
            ) from exc
        if exc.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise PostdocError(
                "forbidden",
                f"The server may not write in {place.name!r}: it is read-only or belongs to somebody else.",
                next="Make the directory writable for the server's user, then resume.",
            ) from exc
        if exc.errno in (errno.ENOTDIR, errno.EEXIST, errno.ELOOP):
            raise PostdocError(
                "forbidden",
                f"{place.name!r} is not a directory.",
                next="Move that file away, or choose another place.",
            ) from exc
        raise
