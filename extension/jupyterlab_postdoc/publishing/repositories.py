"""Repositories that people have registered, to choose from when a session begins.

A registration is a name and an address, nothing more: no clone, no token. It belongs to one user. Removing it deletes
nothing else; sessions keep their own copy of the place (:class:`~.places.Place`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec

from jupyterlab_postdoc.errors import PostdocError
from jupyterlab_postdoc.forge.remote import Remote
from jupyterlab_postdoc.forge.text import one_line
from jupyterlab_postdoc.forge.transfer import Destination
from jupyterlab_postdoc.log import EventLog
from jupyterlab_postdoc.protocol import iso, new_id
from jupyterlab_postdoc.publishing.places import GIT, GITHUB, Place, is_full_name, place_of, read_address
from jupyterlab_postdoc.store.base import Tx
from jupyterlab_postdoc.store.rows import RepositoryRow

if TYPE_CHECKING:
    from jupyterlab_postdoc.forge.credentials import Credential
    from jupyterlab_postdoc.forge.github import GitHub, GitHubForge
    from jupyterlab_postdoc.forge.publisher import Heads, Publisher

MAX_REGISTERED = 1000
AVAILABLE = 50
Objects = list[dict[str, Any]]  # named here because the class has a method called `list`


class Repositories:
    """All registrations of one server. ``user`` is the name of who asks; each sees only their own."""

    def __init__(self, log: EventLog, *, github: GitHub, publisher: Publisher, root_dir: Path) -> None:
        self._log = log
        self._github = github
        self._root_dir = root_dir
        self.publisher = publisher

    async def list(self, user: str) -> Objects:
        """By name, as ``api/repos`` shows them."""
        rows = await self._log.store.list_repositories(user)
        return await self._shown(user, rows)

    async def get(self, user: str, id: str) -> dict[str, Any]:
        """One of them; raises not_found."""
        (shown,) = await self._shown(user, [await self._row(user, id)])
        return shown

    async def add(self, user: str, given: str) -> tuple[dict[str, Any], bool]:
        """Register what ``owner/name`` or a git address means; whether it is new. The same one twice is one.

        PostdocError ``bad_message``, ``forbidden`` (see :func:`~.places.read_address`), ``github_auth`` (GitHub is not
        connected), ``not_found``, ``github_unreachable`` …
        """
        known = {row.id for row in await self._log.store.list_repositories(user)}
        row = await self._register(user, given)
        return await self.get(user, row.id), row.id not in known

    async def remove(self, user: str, id: str) -> None:
        """Forget the registration. The repository, its copies here and the sessions in it stay, and go on."""
        row = await self._row(user, id)
        await self._log.write(lambda tx: tx.delete_repository(row.id))

    async def available(self, user: str, query: str = "") -> Objects:
        """What the user's GitHub account may push to, newest push first; raises github_auth when there is none."""
        forge = await self._forge(user)
        found = await forge.list_repos(query.strip()[:100], limit=AVAILABLE)
        rows = await self._log.store.list_repositories(user)
        by_number = {row.remote_id: row.id for row in rows if row.forge == GITHUB and row.host == forge.host}
        return [
            {
                "name": remote.full_name,
                "url": remote.git_url,
                "webUrl": remote.web_url,
                "defaultBranch": remote.default_branch,
                "private": remote.private,
                "description": remote.description,
                "pushedAt": None if remote.pushed_at is None else iso(remote.pushed_at),
                "registered": by_number.get(remote.id),
            }
            for remote in found
        ]

    async def resolve(self, user: str, given: str) -> RepositoryRow:
        """The registration of this id or name. A repository of GitHub that is named for the first time is registered.

        Raises not_found, and what :meth:`add` raises.
        """
        given = given.strip()
        rows = await self._log.store.list_repositories(user)
        for found in (
            [row for row in rows if row.id == given],
            [row for row in rows if row.name.casefold() == given.casefold()],
        ):
            if len(found) > 1:
                hosts = ", ".join(sorted(row.host or "this machine" for row in found))
                raise PostdocError(
                    "bad_message",
                    f"{one_line(given, 100)!r} is registered more than once ({hosts}).",
                    next="Give its id instead.",
                )
            if found:
                return found[0]
        if is_full_name(given) or "://" in given:
            return await self._register(user, given)
        raise PostdocError(
            "not_found",
            f"There is no registered repository {one_line(given, 100)!r}.",
            next="Register it with its owner/name or its address first (`jupyter postdoc repos add`).",
        )

    async def located(self, user: str, place: Place) -> Place:
        """The place as it is now: a repository that was renamed on GitHub is found by its number.

        When GitHub cannot be asked the place stays as it was. Raises not_found when it is gone.
        """
        if place.url.startswith("file:"):
            # What lies there may be a link by now that leads elsewhere.
            read_address(place.url, github=self._github.address, root_dir=self._root_dir)
        if place.forge != GITHUB or place.remote_id is None:
            return place
        try:
            forge = await self._github.of(user)
            if forge is None or forge.host != place.host:
                return place
            remote = await forge.get_repo_by_id(place.remote_id)
        except PostdocError as e:
            if e.code in ("github_unreachable", "github_rate_limited", "github_auth"):
                return place  # git itself will say what is wrong, if anything is
            raise
        if remote is None:
            raise PostdocError(
                "not_found",
                f"{place.name} is not on {place.host} any more, or your GitHub account may not see it.",
                next="Look at the repository's page, or connect another account.",
            )
        row = await self._log.store.get_repository(place.repository)
        if row is not None and row.owner == user:
            await self._put(_described(row, remote))
        fresh = _described(_row_of(user, place), remote)
        return msgspec.structs.replace(
            place,
            name=fresh.name,
            url=fresh.url,
            web_url=fresh.web_url,
            private=fresh.private,
            default_branch=fresh.default_branch,
        )

    async def way(self, user: str, place: Place) -> tuple[Destination, Credential | None]:
        """Where git goes, and with whose token: none for any address but that of the user's GitHub."""
        host = urlsplit(place.url).netloc.lower()
        to = Destination(place.key, place.url, host)
        if place.forge != GITHUB or host != self._github.git_host.lower():
            return to, None
        forge = await self._github.of(user)
        return to, None if forge is None else forge.credential

    async def _row(self, user: str, id: str) -> RepositoryRow:
        row = await self._log.store.get_repository(id)
        if row is None or row.owner != user:
            raise PostdocError(
                "not_found",
                f"There is no registered repository {one_line(id, 100)!r}.",
                next="`api/repos` lists them.",
            )
        return row

    async def _register(self, user: str, given: str) -> RepositoryRow:
        place = read_address(given, github=self._github.address, root_dir=self._root_dir)
        row = _row_of(user, place)
        forge = await self._github.of(user) if place.forge == GITHUB else None
        if forge is not None:
            remote = await forge.get_repo(place.name)
            if remote is None:
                raise PostdocError(
                    "not_found",
                    f"{place.host} has no repository {place.name}, or your account may not see it.",
                    next="Look at the spelling, or give the account's token the right to read it.",
                )
            row = _described(row, remote)
        elif place.forge == GITHUB and "://" not in given:
            raise self._not_connected(f"{one_line(given, 100)} cannot be looked up")
        else:
            to, _ = await self.way(user, place)
            there = await self._look(to)
            row = msgspec.structs.replace(row, default_branch=there.default or "main", private=place.host == "")
        rows = await self._log.store.list_repositories(user)
        known = next((old for old in rows if _same(old, row)), None)
        if known is None and len(rows) >= MAX_REGISTERED:
            raise PostdocError("capacity", f"{MAX_REGISTERED} repositories are registered already.", next="Remove one.")
        return await self._put(msgspec.structs.replace(row, id=known.id if known else new_id("repo")))

    async def _look(self, to: Destination) -> Heads:
        """The branches at an address to which no token goes."""
        try:
            return await self.publisher.look(to, None)
        except PostdocError as e:
            if e.code not in ("github_auth", "github_forbidden", "not_found"):
                raise
            raise PostdocError(
                "not_found",
                "There is no repository at this address that can be read without a login.",
                next="Look at the spelling. For a private repository on GitHub connect GitHub, and give owner/name.",
            ) from e

    async def _put(self, row: RepositoryRow) -> RepositoryRow:
        """Store it. Another registration that has this name by now, or the same number, is this one's older self."""

        async def unit(tx: Tx) -> RepositoryRow:
            for old in await tx.list_repositories(row.owner):
                if _same(old, row) and old.remote_id == row.remote_id:
                    return await tx.put_repository(msgspec.structs.replace(row, id=old.id))
                if _same(old, row) and old.id != row.id:
                    await tx.delete_repository(old.id)  # the name went over to another repository
            return await tx.put_repository(row)

        return await self._log.write(unit)

    async def _forge(self, user: str) -> GitHubForge:
        forge = await self._github.of(user)
        if forge is None:
            raise self._not_connected("Your repositories on GitHub cannot be listed")
        return forge

    def _not_connected(self, what: str) -> PostdocError:
        return PostdocError(
            "github_auth",
            f"{what}: GitHub is not connected.",
            next="Connect GitHub (`jupyter postdoc github connect`), or give the https address of a public repository.",
        )

    async def _shown(self, user: str, rows: Sequence[RepositoryRow]) -> Objects:
        sessions = await self._log.store.list_sessions(owner=user, archived=None, limit=100_000)
        used = Counter(session.meta.get("repository") for session in sessions)
        return [
            {
                "id": row.id,
                "name": row.name,
                "forge": row.forge,
                "host": row.host,
                "url": row.url,
                "webUrl": row.web_url,
                "defaultBranch": row.default_branch,
                "private": row.private,
                "mayPush": row.meta.get("mayPush"),
                "archived": bool(row.meta.get("archived")),
                "createdAt": iso(row.created_at),
                "sessions": used[row.id],
            }
            for row in rows
        ]


def _row_of(user: str, place: Place) -> RepositoryRow:
    return RepositoryRow(
        id=place.repository,
        owner=user,
        forge=place.forge,
        host=place.host,
        name=place.name,
        remote_id=place.remote_id,
        url=place.url,
        web_url=place.web_url,
        default_branch=place.default_branch,
        private=place.private,
    )


def _described(row: RepositoryRow, remote: Remote) -> RepositoryRow:
    """The row with what GitHub says."""
    return msgspec.structs.replace(
        row,
        name=remote.full_name,
        remote_id=remote.id,
        url=remote.git_url,
        web_url=remote.web_url,
        default_branch=remote.default_branch or row.default_branch,
        private=remote.private,
        meta={**row.meta, "mayPush": remote.may_push, "archived": remote.archived, "size": remote.size},
    )


def _same(old: RepositoryRow, new: RepositoryRow) -> bool:
    """Whether both are one repository: by GitHub's number, else by its place."""
    if (old.forge, old.host) != (new.forge, new.host):
        return False
    if old.remote_id is not None and old.remote_id == new.remote_id:
        return True
    return old.name.casefold() == new.name.casefold()


__all__ = ["GIT", "GITHUB", "Place", "Repositories", "place_of"]
