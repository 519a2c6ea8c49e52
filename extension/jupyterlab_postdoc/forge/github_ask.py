"""Questions to GitHub that take more than one request, or another one for another kind of token. In worker threads."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from jupyterlab_postdoc.forge import github_read as read
from jupyterlab_postdoc.forge.github_said import is_limit, messages
from jupyterlab_postdoc.forge.remote import Account, Comment, Owner
from jupyterlab_postdoc.protocol import Checks

if TYPE_CHECKING:
    from jupyterlab_postdoc.forge.github_line import Line

ASKED_OWNERS = 20
"""Organisations of which it is asked whether their members may create repositories."""
CHECK_PAGES = 5
Json = dict[str, Any]


def whoami(line: Line, *, app: bool, owner: str) -> Account:
    """``app``: the token is known to be that of an App's installation, which has no user."""
    from github import GithubException

    if app:
        return _installation(line, owner)
    try:
        headers, data = line.ask("/user")
    except GithubException as exc:
        if exc.status == 403 and "by integration" in messages(exc.data):
            return _installation(line, owner)
        raise
    return read.account(data, headers)


def _installation(line: Line, owner: str) -> Account:
    """The account that the App is installed in: that of its repositories; without any, the one that is configured."""
    listed = line.get("/installation/repositories", {"per_page": 1}).get("repositories") or []
    found: Json = listed[0]["owner"] if listed else {}
    if not found and owner:
        found = line.get(f"/users/{quote(owner, safe='')}")
    return Account(login=str(found.get("login") or ""), id=int(found.get("id") or 0), kind="app")


def owners(line: Line, account: Account) -> list[Owner]:
    """The account first, then its organisations."""
    if account.kind == "app":
        if not account.login:
            return []
        kind = line.get(f"/users/{quote(account.login, safe='')}").get("type")
        # GitHub lets an App make repositories for an organisation only.
        return [Owner(account.login, "organization") if kind == "Organization" else Owner(account.login, "user", False)]
    may: bool | None = None
    if account.scopes is not None:
        may = True if "repo" in account.scopes else None if "public_repo" in account.scopes else False
    return [Owner(account.login, "user", may), *_organizations(line)]


def _organizations(line: Line) -> list[Owner]:
    memberships = _allowed(lambda: line.pages("/user/memberships/orgs", {"state": "active"}))
    if memberships is None:
        return [Owner(str(org["login"]), "organization") for org in _allowed(lambda: line.pages("/user/orgs")) or []]
    return [
        Owner(str(one["organization"]["login"]), "organization", _may_create(line, one, number < ASKED_OWNERS))
        for number, one in enumerate(memberships)
    ]


def _may_create(line: Line, membership: Json, ask: bool) -> bool | None:
    if membership.get("role") == "admin":
        return True
    login = quote(str(membership["organization"]["login"]), safe="")
    found = _allowed(lambda: [line.get(f"/orgs/{login}")]) if ask else None
    may = found[0].get("members_can_create_repositories") if found else None
    return may if isinstance(may, bool) else None


def _allowed(listed: Any) -> list[Json] | None:
    """The list; None when this token may not have it."""
    from github import GithubException

    try:
        return list(listed())
    except GithubException as exc:
        if exc.status in (403, 404, 410) and not is_limit(exc.status, exc.data, dict(exc.headers or {})):
            return None
        raise


def repositories(line: Line, account: Account) -> Iterator[Json]:
    """Those of the account; newest push first, but for an App."""
    if account.kind == "app":
        return line.pages("/installation/repositories", key="repositories")
    query = {"sort": "pushed", "direction": "desc", "affiliation": "owner,collaborator,organization_member"}
    return line.pages("/user/repos", query)


def checks(line: Line, path: str, sha: str, page: str) -> Checks:
    """What may not be read (some tokens lack the right) is not counted. ``path`` is that of the repository."""
    at = f"{path}/commits/{quote(sha, safe='')}"
    runs = _allowed(lambda: line.pages(f"{at}/check-runs", key="check_runs", most=CHECK_PAGES))
    statuses = _allowed(lambda: line.pages(f"{at}/status", key="statuses", most=CHECK_PAGES))
    return read.checks(runs or [], statuses or [], page)


def comments(line: Line, path: str, number: int, reviews: Iterable[Json], pull: Json | None) -> list[Comment]:
    """Everything that was said; ``pull`` (GitHub's answer for it) spares a request when nothing is at the code."""
    at_code: Iterable[Json] = []
    if pull is None or pull.get("review_comments") != 0:
        at_code = line.pages(f"{path}/pulls/{number}/comments")
    return [
        *(read.comment(one) for one in line.pages(f"{path}/issues/{number}/comments")),
        *(read.code_comment(one) for one in at_code),
        *(read.review_comment(one) for one in reviews if str(one.get("body") or "").strip()),
    ]
