"""What a look at the forge found, and what the row and the ``publication`` event of a session become by it.

Nothing here asks anything of the log; :mod:`.watch` says when to look, and writes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import msgspec
from msgspec import UNSET, Struct, UnsetType

from jupyterlab_postdoc.errors import PostdocError
from jupyterlab_postdoc.forge.remote import RemoteForge
from jupyterlab_postdoc.protocol import Problem, Publication, PublishedBranch, PublishedRepository, PullRequest, iso
from jupyterlab_postdoc.store.base import PublicationRow

from .pace import SLOWEST_S

HOUR, DAY = 3600.0, 86400.0
REPOSITORY_EVERY_S = 600.0
"""A repository is renamed, archived or deleted seldom: it is looked at less often than its pull request."""
KEY = "watch"


class Watched(Struct, kw_only=True):
    """What the watch remembers of a publication: ``PublicationRow.body["watch"]``. Times are UNIX seconds.

    ``notes`` are those sentences of the event that are the watch's own; ``announced`` the numbers of the pull requests
    that an ``artifact`` event has named; ``handed`` the ids of the comments that the agent was given; ``name`` and
    ``remote_id`` are the repository as the forge has it now, ``commit`` what Postdoc had sent at the last look;
    ``claimed_at`` is when the last look began, ``ended_at`` when it was first seen merged, closed or gone;
    ``problem``: the problem that the event shows is the watch's.
    """

    at: float = 0.0
    claimed_at: float = 0.0
    changed_at: float = 0.0
    ended_at: float | None = None
    repository_at: float = 0.0
    failures: int = 0
    notes: list[str] = []
    announced: list[int] = []
    handed: list[str] = []
    name: str = ""
    remote_id: int | None = None
    commit: str = ""
    problem: bool = False


def watched(row: PublicationRow) -> Watched:
    """What was remembered; a new memory when there is none that can be read."""
    try:
        memory = msgspec.convert(row.body.get(KEY) or {}, Watched)
    except msgspec.ValidationError:
        memory = Watched()
    id = row.body.get("repository_id")
    if isinstance(id, int) and id != memory.remote_id:  # published for the first time, or in another repository
        memory = msgspec.structs.replace(memory, remote_id=id, name="", ended_at=None, announced=[])
    return memory


def remembered(row: PublicationRow, memory: Watched, **changes: Any) -> PublicationRow:
    """The row with this memory; all else of its body stays."""
    body = {**row.body, KEY: msgspec.to_builtins(memory)}
    return msgspec.structs.replace(row, body=body, **changes)


def shown(row: PublicationRow) -> Publication | None:
    """The newest event of the row; None when it has none."""
    if not row.shown:
        return None
    return msgspec.convert({**row.shown, "type": "publication"}, Publication)


def repository_of(event: Publication | None) -> PublishedRepository | None:
    """The repository, when there is one already."""
    return event.repository if event is not None and isinstance(event.repository, PublishedRepository) else None


def branch_of(event: Publication) -> PublishedBranch | None:
    """The branch, when it was sent already."""
    return event.branch if isinstance(event.branch, PublishedBranch) else None


def pull_of(event: Publication | None) -> PullRequest | None:
    """The pull request, when one is known."""
    return event.pull if event is not None and isinstance(event.pull, PullRequest) else None


@dataclass(frozen=True)
class Seen:
    """The forge's answers. ``name`` is the repository's name now; ``tip`` the branch's commit, None: there is no such
    branch; ``remote_id`` None: the repository was not looked at this time.
    """

    name: str
    gone: bool = False
    archived: bool = False
    remote_id: int | None = None
    pull: PullRequest | None = None
    tip: str | None = None


async def see(forge: RemoteForge, event: Publication, memory: Watched, now: float) -> Seen:
    """Ask the forge for everything that the event shows: two to seven requests. Raises PostdocError."""
    repository, branch = repository_of(event), branch_of(event)
    assert repository is not None
    name, remote_id, archived = memory.name or repository.name, None, _archived(memory)
    if now - memory.repository_at >= REPOSITORY_EVERY_S:
        remote = await forge.get_repo(name)
        if memory.remote_id is not None and (remote is None or remote.id != memory.remote_id):
            remote = await forge.get_repo_by_id(memory.remote_id)
        if remote is None:
            return Seen(name, gone=True)
        name, remote_id, archived = remote.full_name, remote.id, remote.archived
    try:
        pull = await _pull(forge, name, event)
        tip = await forge.branch_tip(name, branch.name) if branch is not None else None
    except PostdocError as error:
        if error.code != "not_found" or remote_id is not None:
            raise
        memory = msgspec.structs.replace(memory, repository_at=0.0)  # it may have been deleted since it was looked at
        return await see(forge, event, memory, now)
    return Seen(name, archived=archived, remote_id=remote_id, pull=pull, tip=tip)


async def _pull(forge: RemoteForge, name: str, event: Publication) -> PullRequest | None:
    """The pull request that is known; while there is none, or it was closed, one that somebody opened by hand."""
    known, branch = pull_of(event), branch_of(event)
    pull = await forge.pull(name, known.number) if known is not None else None
    if branch is None or (pull is not None and pull.state != "closed"):
        return pull
    found = await forge.find_pulls(name, branch.name)
    others = [other for other in found if known is None or other.number != known.number]
    better = next((other for other in others if other.state == "open"), None)
    if better is None and pull is None and others:
        better = others[0]
    return await forge.pull(name, better.number) if better is not None else pull


ARCHIVED = "The repository is archived on GitHub: nothing can be pushed to it any more."


def _archived(memory: Watched) -> bool:
    return ARCHIVED in memory.notes


def merged(event: Publication, memory: Watched, seen: Seen, now: float) -> tuple[Publication, Watched, bool]:
    """The event and the memory after this look, and whether a person should hear of it."""
    pull = seen.pull or pull_of(event)
    notes = _notes(event, seen, pull)
    # A publication that failed has a problem of its own, which only publishing again can end.
    mine = memory.problem and event.state == "published"
    problem: Problem | UnsetType = UNSET if mine else event.problem
    commit = branch.commit if (branch := branch_of(event)) is not None else ""
    after = msgspec.structs.replace(
        event,
        runId=UNSET,
        provider=UNSET,
        pull=pull if pull is not None else UNSET,
        notes=[note for note in event.notes if note not in memory.notes and note not in notes] + notes,
        problem=problem,
        checkedAt=iso(now),
    )
    changed = told(after) != told(event)
    known = pull_of(event)
    ended = seen.gone or (pull is not None and pull.state != "open")
    return (
        after,
        msgspec.structs.replace(
            memory,
            at=now,
            changed_at=now if changed or commit != memory.commit or not memory.changed_at else memory.changed_at,
            commit=commit,
            ended_at=(memory.ended_at or now) if ended else None,
            repository_at=now if seen.remote_id is not None or seen.gone else memory.repository_at,
            failures=0,
            notes=notes,
            announced=sorted({*memory.announced, *(p.number for p in (known, pull) if p is not None)}),
            name=seen.name,
            remote_id=seen.remote_id if seen.remote_id is not None else memory.remote_id,
            problem=False,
        ),
        changed,
    )


def told(event: Publication) -> dict[str, Any]:
    """What a person sees of an event: without when it was looked, and by which run."""
    body: dict[str, Any] = msgspec.to_builtins(event)
    return {key: value for key, value in body.items() if key not in ("checkedAt", "runId", "provider")}


def _notes(event: Publication, seen: Seen, pull: PullRequest | None) -> list[str]:
    repository, branch = repository_of(event), branch_of(event)
    assert repository is not None
    if seen.gone:
        return [
            f"The repository {repository.name} is no longer on GitHub, or this account may not see it any more. "
            "All work is kept locally."
        ]
    notes = []
    if seen.name.lower() != repository.name.lower():
        notes.append(f"The repository was renamed on GitHub: it is {seen.name} now.")
    if seen.archived:
        notes.append(ARCHIVED)
    if branch is not None and (pull is None or pull.state == "open"):
        if seen.tip is None:
            notes.append(f"The branch {branch.name} is no longer on GitHub.")
        elif seen.tip != branch.commit:
            notes.append(
                f"Somebody else has pushed to the branch {branch.name} on GitHub: it is at {seen.tip[:10]} now, "
                f"Postdoc sent {branch.commit[:10]}."
            )
    return notes


def failed(event: Publication, memory: Watched, error: PostdocError, now: float) -> tuple[Publication, Watched, bool]:
    """After a look that failed. Only what a person can mend is shown, once: the token, and what it may do."""
    memory = msgspec.structs.replace(memory, failures=memory.failures + 1)
    mendable = error.code in ("github_auth", "github_forbidden") and event.state == "published"
    if not mendable or event.problem is not UNSET:
        return event, memory, False
    problem = Problem(
        code=error.code,
        error=error.message,
        next=error.next,
        retryable=True,
        actions=["connect"],
        url=str(error.details.get("url") or ""),
    )
    event = msgspec.structs.replace(event, runId=UNSET, provider=UNSET, problem=problem, checkedAt=iso(now))
    return event, msgspec.structs.replace(memory, problem=True), True


# --- when to look again ---


def interval(event: Publication, memory: Watched, now: float, poll_s: float) -> float | None:
    """Seconds until the next look when nobody watches; None: never again."""
    pull, idle = pull_of(event), max(now - memory.changed_at, 0.0)
    if memory.ended_at is not None:
        age = now - memory.ended_at
        if age >= DAY:
            return 6 * HOUR if age < 7 * DAY else None
    elif pull is None and idle >= 30 * DAY:
        return None  # nobody opens one any more
    if pull is not None and pull.checks.state == "pending" and idle < HOUR:
        return poll_s
    if idle >= 7 * DAY:
        return max(HOUR, poll_s)
    doubled = max(math.floor(math.log2(idle / (10 * poll_s))), 0) if idle > 0 else 0
    return max(min(poll_s * 2.0**doubled, SLOWEST_S), poll_s)


def may_hurry(memory: Watched) -> bool:
    """Whether somebody who watches may have it looked at more often: not what has ended long ago or does not work."""
    return not memory.failures and (memory.ended_at is None or memory.at - memory.ended_at < HOUR)
