# ruff: noqa: ARG002 - there is one repository, whatever is asked for
"""A forge in memory, for what only time and bad days show: every request is counted, any can fail or hang.

How GitHub itself answers is tested against emulate; here it is the watch that is tested.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import msgspec

from jupyterlab_postdoc.errors import PostdocError
from jupyterlab_postdoc.forge.remote import Comment, Rate, Remote
from jupyterlab_postdoc.log import EventLog
from jupyterlab_postdoc.protocol import Publication, PublishedBranch, PublishedRepository, PullRequest
from jupyterlab_postdoc.store.base import PublicationRow, SessionRow

NAME, BRANCH, SHA = "ana/owls", "agent/owls/0a1b2c3d", "a" * 40
WEB = f"https://github.example/{NAME}"


class Clock:
    """Time that passes when the test says so."""

    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def go(self, seconds: float) -> None:
        self.now += seconds


def pull(number: int = 1, **changes: object) -> PullRequest:
    made = PullRequest(number=number, url=f"{WEB}/pull/{number}", title="Do owls sleep?", draft=True, head=BRANCH)
    return msgspec.structs.replace(made, **changes)


@dataclass
class Board:
    """One repository with one branch. ``asked`` holds the name of every request; ``fail`` is raised by all of them."""

    name: str = NAME
    id: int = 77
    tip: str | None = SHA
    pulls: list[PullRequest] = field(default_factory=list)
    notes: list[Comment] = field(default_factory=list)
    archived: bool = False
    gone: bool = False
    left: Rate | None = None
    fail: PostdocError | None = None
    hang_s: float = 0.0
    connected: bool = True
    asked: list[str] = field(default_factory=list)
    most: int = 0
    _now: int = 0
    host: str = "github.example"

    async def of(self, user: str) -> Board | None:
        return self if self.connected else None

    async def _ask(self, what: str) -> None:
        self.asked.append(what)
        self._now += 1
        self.most = max(self.most, self._now)
        try:
            await asyncio.sleep(self.hang_s)
        finally:
            self._now -= 1
        if self.fail is not None:
            raise self.fail

    async def rate(self) -> Rate | None:
        return self.left

    async def get_repo(self, full_name: str) -> Remote | None:
        await self._ask("repo")
        return None if self.gone else Remote(self.id, self.name, WEB, WEB, "main", True, archived=self.archived)

    async def get_repo_by_id(self, id: int) -> Remote | None:
        await self._ask("repo")
        return Remote(id, self.name, WEB, WEB, "main", True) if id == self.id and not self.gone else None

    async def branch_tip(self, full_name: str, branch: str) -> str | None:
        await self._ask("tip")
        return self.tip

    async def find_pulls(self, full_name: str, branch: str) -> list[PullRequest]:
        await self._ask("find")
        return list(reversed(self.pulls))

    async def pull(self, full_name: str, number: int) -> PullRequest:
        await self._ask("pull")
        found = next((one for one in self.pulls if one.number == number), None)
        if found is None or self.gone:
            raise PostdocError("not_found", "There is no such pull request.")
        return found

    async def comments(self, full_name: str, number: int) -> list[Comment]:
        await self._ask("comments")
        return list(self.notes)


async def published(
    log: EventLog, clock: Clock, session: str = "s1", *, pull: PullRequest | None = None, name: str = NAME
) -> PublicationRow:
    """A session whose work is on the board, as a publish run leaves it, due at once."""
    event = Publication(
        state="published",
        repository=PublishedRepository(name=name, url=WEB),
        branch=PublishedBranch(name=BRANCH, url=f"{WEB}/tree/{BRANCH}", commit=SHA, compareUrl=f"{WEB}/compare"),
        **({"pull": pull} if pull is not None else {}),
    )
    row = PublicationRow(
        session=session, owner="ana", host="github.example", state="published", body={"repository_id": 77},
        shown=msgspec.to_builtins(event), look_at=clock(),
    )  # fmt: skip

    async def unit(tx):  # type: ignore[no-untyped-def]
        if await tx.get_session(session) is None:
            await tx.insert_session(SessionRow(id=session, owner="ana", title=session))
        await tx.append(session, event)
        return await tx.put_publication(row)

    return await log.write(unit)
