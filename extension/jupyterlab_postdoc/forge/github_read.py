"""GitHub's JSON as our values. A missing field that we cannot do without raises KeyError, TypeError or ValueError."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Literal

from jupyterlab_postdoc.forge.github_address import Address
from jupyterlab_postdoc.forge.github_errors import Elsewhere
from jupyterlab_postdoc.forge.github_said import host_in
from jupyterlab_postdoc.forge.remote import Account, Comment, Remote
from jupyterlab_postdoc.protocol import Checks, PullRequest, Review
from jupyterlab_postdoc.secrets import redact

Json = Mapping[str, Any]
_GOOD = frozenset({"success", "neutral", "skipped"})
_FULL_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}/[A-Za-z0-9._-]{1,100}")
_PAGE = re.compile(r"https?://[A-Za-z0-9.:\[\]-]{1,260}(?:/[A-Za-z0-9._~/%#?&=+@:,;!*-]{0,1000})?")
_VERDICTS = {"APPROVED": "approved", "CHANGES_REQUESTED": "changes_requested", "COMMENTED": "commented"}


def seconds(text: object) -> float:
    """An ISO time (UTC when it does not say) as UNIX seconds; 0 for none."""
    if not isinstance(text, str) or not text:
        return 0.0
    at = datetime.fromisoformat(text)
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()


def page(url: object) -> str:
    """The address of a page as it may be shown as a link and written into a README; empty for anything else."""
    text = str(url or "")
    return text if _PAGE.fullmatch(text) else ""


def expiry(text: str) -> float | None:
    """When the token ends, as the header tells: ``2026-12-01 10:00:00 UTC`` or with ``+0100``."""
    for form in ("%Y-%m-%d %H:%M:%S %z", "%Y-%m-%d %H:%M:%S UTC"):
        try:
            at = datetime.strptime(text.strip(), form)
        except ValueError:
            continue
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
    return None


def account(data: Json, headers: Json) -> Account:
    """``GET /user`` with its headers."""
    scopes = headers.get("x-oauth-scopes")
    return Account(
        login=str(data["login"]),
        id=int(data["id"]),
        name=str(data.get("name") or ""),
        scopes=None if scopes is None else tuple(one.strip() for one in str(scopes).split(",") if one.strip()),
        expires=expiry(str(headers.get("github-authentication-token-expiration") or "")),
    )


def remote(data: Json, address: Address) -> Remote:
    """A repository. :class:`Elsewhere` when the answer names another API than ours."""
    url = str(data.get("url") or "")
    if "://" in url and not address.is_ours(url):
        raise Elsewhere(host_in(url))
    name = str(data["full_name"])
    if not _FULL_NAME.fullmatch(name) or name.rpartition("/")[2] in (".", ".."):
        raise ValueError("not the name of a repository")
    permissions = data.get("permissions")
    push = permissions.get("push") if isinstance(permissions, dict) else None
    return Remote(
        id=int(data["id"]),
        full_name=name,
        web_url=page(data["html_url"]) or f"{address.pages}/{name}",
        git_url=address.git_url(name),
        default_branch=str(data.get("default_branch") or "main"),
        private=bool(data["private"]),
        description=_text(data, "description"),
        size=int(data.get("size") or 0),
        created_at=seconds(data.get("created_at")),
        pushed_at=seconds(data["pushed_at"]) if data.get("pushed_at") else None,
        archived=bool(data.get("archived")),
        may_push=push if isinstance(push, bool) else None,
    )


def text_digest(title: str, body: str) -> str:
    """What tells one text of a pull request from another; line ends and the space around it do not count."""
    whole = f"{title.strip()}\n{body.strip()}".replace("\r\n", "\n")
    return hashlib.sha256(whole.encode("utf-8", "replace")).hexdigest()


def pull(data: Json, *, checks: Checks | None = None, review: Review | None = None, comments: int = 0) -> PullRequest:
    """A pull request, from a list or by itself."""
    merged = bool(data.get("merged") or data.get("merged_at"))
    state: Literal["open", "closed", "merged"] = (
        "merged" if merged else "closed" if data.get("state") == "closed" else "open"
    )
    mergeable = data.get("mergeable")
    return PullRequest(
        number=int(data["number"]),
        url=page(data["html_url"]),
        title=_text(data, "title"),
        state=state,
        draft=bool(data.get("draft")),
        base=str(data["base"]["ref"]),
        head=str(data["head"]["ref"]),
        checks=checks or Checks(),
        review=review or Review(),
        comments=comments,
        mergeable=mergeable if isinstance(mergeable, bool) else None,
    )


def is_own(data: Json, branch: str) -> bool:
    """Whether a pull request is of this branch of the very repository: GitHub's filter finds forks too."""
    head, base = data.get("head") or {}, data.get("base") or {}
    theirs, ours = (head.get("repo") or {}).get("id"), (base.get("repo") or {}).get("id")
    return head.get("ref") == branch and theirs is not None and theirs == ours


def checks(runs: Iterable[Json], statuses: Iterable[Json], url: str) -> Checks:
    """Check runs and the older commit statuses, counted together."""
    total = passed = failed = 0
    for run in runs:
        total += 1
        if run.get("status") == "completed":
            good = run.get("conclusion") in _GOOD
            passed, failed = passed + good, failed + (not good)
    for status in statuses:
        total += 1
        passed += status.get("state") == "success"
        failed += status.get("state") in ("failure", "error")
    state: Literal["none", "pending", "passed", "failed"] = (
        "none" if not total else "failed" if failed else "passed" if passed == total else "pending"
    )
    return Checks(state=state, total=total, passed=passed, failed=failed, url=url if total else "")


def review(reviews: Iterable[Json]) -> Review:
    """The last word of each reviewer; a remark takes back no verdict, and a program's approval is none."""
    verdicts: dict[str, str] = {}
    spoken = False
    for one in reviews:
        state, who = str(one.get("state") or "").upper(), author(one)
        spoken = spoken or state == "COMMENTED"
        if state == "DISMISSED":
            verdicts.pop(who, None)
        elif state in ("APPROVED", "CHANGES_REQUESTED") and not is_bot(one):
            verdicts[who] = state
    approved = sorted(who for who, state in verdicts.items() if state == "APPROVED")
    refused = sorted(who for who, state in verdicts.items() if state == "CHANGES_REQUESTED")
    state_: Literal["none", "commented", "changes_requested", "approved"] = (
        "changes_requested" if refused else "approved" if approved else "commented" if spoken else "none"
    )
    return Review(state=state_, approvedBy=approved, changesRequestedBy=refused)


def comment(data: Json) -> Comment:
    """A comment below the pull request."""
    return _comment(data, f"issuecomment-{int(data['id'])}")


def code_comment(data: Json) -> Comment:
    """A comment at a line of the code."""
    line = data.get("line") or data.get("original_line")
    return _comment(
        data, f"discussion_r{int(data['id'])}", path=str(data.get("path") or ""), line=int(line) if line else None
    )


def review_comment(data: Json) -> Comment:
    """The text of a review."""
    verdict = _VERDICTS.get(str(data.get("state") or "").upper(), "")
    return _comment(data, f"pullrequestreview-{int(data['id'])}", review=verdict)


def _comment(data: Json, id: str, *, path: str = "", line: int | None = None, review: str = "") -> Comment:
    return Comment(
        id=id,
        author=author(data),
        body=_text(data, "body"),
        url=page(data.get("html_url")),
        at=seconds(data.get("created_at") or data.get("submitted_at")),
        path=path,
        line=line,
        review=review,
        bot=is_bot(data),
    )


def _text(data: Json, name: str) -> str:
    """What people wrote on GitHub; a secret of this server that somebody pasted there is taken out."""
    return redact(str(data.get(name) or ""))


def author(data: Json) -> str:
    """The login; GitHub calls a deleted account ghost."""
    return str((data.get("user") or {}).get("login") or "ghost")


def is_bot(data: Json) -> bool:
    """Whether a program wrote it."""
    user = data.get("user") or {}
    return user.get("type") == "Bot" or str(user.get("login") or "").endswith("[bot]")
