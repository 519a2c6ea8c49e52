"""What goes wrong with GitHub, as errors that a person can act on: the only place that makes them."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from jupyterlab_postdoc.errors import PostdocError
from jupyterlab_postdoc.forge.github_said import is_limit, messages, number, permissions

SAFE = "Your commits are safe locally."
SECONDARY_S = 60.0
"""How long GitHub asks to wait when it does not say so."""
_EXISTS = re.compile(r"already exists", re.I)
_SSO = re.compile(r"required;\s*url=(https?://[^\s;,]+)", re.I)


@dataclass(frozen=True, slots=True)
class Call:
    """What was tried. ``doing`` follows “The token may not”; ``needs`` are rights in GitHub's words, ``about`` is what
    was not found; ``repo`` the repository (or the one to be made).
    """

    doing: str
    needs: tuple[str, ...] = ("Metadata: read",)
    about: str = ""
    repo: str = ""
    write: bool = False


class Moved(Exception):
    """The repository answers from another address; ``args[0]`` is its new name, '' when that is not known."""


class Elsewhere(Exception):
    """An answer names another host; ``args[0]``."""


class Unreadable(Exception):
    """An answer that GitHub would not give: a page of a proxy, or fields that are missing."""


def of_status(call: Call, host: str, status: int, data: object, headers: Mapping[str, Any]) -> PostdocError:
    """An answer that is not a success."""
    told = {str(name).lower(): str(value) for name, value in headers.items()}
    said = messages(data)
    if status == 401:
        return _auth()
    if is_limit(status, data, told):
        return _limited(told)
    if status == 403:
        return _forbidden(call, told, said)
    if status in (404, 410):
        return not_there(call, host)
    if status in (409, 422):
        return _refused(call, host, status, said)
    if 300 <= status < 400:
        return moved(call, "")
    if status >= 500 or status < 300:
        return unreachable(call, host, "server", f"status {status}")
    return _refused(call, host, status, said)


def of_exception(call: Call, host: str, error: BaseException) -> PostdocError:
    """Whatever PyGithub and what is below it raise; called where ``github`` is imported already."""
    import requests
    from github import GithubException
    from github.GithubException import RateLimitExceededExceedsMaxWait

    if isinstance(error, PostdocError):
        return error
    if isinstance(error, GithubException):
        headers = dict(error.headers or {})
        if isinstance(error, RateLimitExceededExceedsMaxWait):
            return _limited({str(name).lower(): str(value) for name, value in headers.items()}, error.wait)
        return of_status(call, host, error.status, error.data, headers)
    if isinstance(error, Moved):
        return moved(call, str(error.args[0]) if error.args else "")
    if isinstance(error, Elsewhere):
        return elsewhere(str(error.args[0]))
    if isinstance(error, AssertionError):  # PyGithub's check of addresses in answers
        return elsewhere(str(error.args[0]) if error.args else "")
    if isinstance(error, requests.exceptions.SSLError):
        return unreachable(call, host, "certificate", "its certificate is not trusted here")
    if isinstance(error, requests.Timeout):
        return unreachable(call, host, "timeout", "no answer in time")
    if isinstance(error, requests.exceptions.RetryError):
        return unreachable(call, host, "server", "it answers with errors")
    if isinstance(error, requests.RequestException):
        return unreachable(call, host, "network", "the connection failed")
    return unreadable(call, host)


def _auth() -> PostdocError:
    return PostdocError(
        "github_auth",
        f"GitHub refused the token (expired or revoked). Reconnect; {SAFE[0].lower()}{SAFE[1:]}",
        next="Connect GitHub again, then try again: it continues where it stopped.",
        reason="token",
    )


def _limited(told: Mapping[str, str], wait: float | None = None) -> PostdocError:
    now = time.time()
    spent = told.get("x-ratelimit-remaining") == "0"
    if (after := number(told.get("retry-after"))) is not None:
        until = now + after
    elif spent and (reset := number(told.get("x-ratelimit-reset"))) is not None:
        until = max(reset, now) + 1
    else:
        until = now + (SECONDARY_S if wait is None else wait)
    clock = datetime.fromtimestamp(until, UTC).strftime("%H:%M")
    return PostdocError(
        "github_rate_limited",
        f"GitHub's limit is used up; continuing at {clock} UTC ({max(1, math.ceil((until - now) / 60))} min). "
        "Work goes on locally.",
        next=f"Try again after {clock} UTC.",
        retryable=True,
        reason="primary" if spent else "secondary",
        retry_at=until,
    )


def _forbidden(call: Call, told: Mapping[str, str], said: str) -> PostdocError:
    if found := _SSO.search(told.get("x-github-sso", "")):
        return PostdocError(
            "github_forbidden",
            f"The token is not yet authorised for the single sign-on of {_owner(call) or 'the organisation'}. {SAFE}",
            next=f"Authorise it at {found[1]}, then try again.",
            reason="sso",
            url=found[1],
        )
    if "archived" in said.lower():
        return PostdocError(
            "github_forbidden",
            f"{call.repo or 'The repository'} is archived on GitHub: it takes no changes. {SAFE}",
            next="Unarchive it on GitHub, or publish to another repository.",
            reason="archived",
        )
    needed = permissions(told.get("x-accepted-github-permissions", "")) or list(call.needs)
    return PostdocError(
        "github_forbidden",
        f"The token may not {call.doing}. Needed: {', '.join(needed)}." + (f" GitHub says: {said}" if said else ""),
        next="Give the token these rights on GitHub, or connect another one. " + SAFE,
        reason="permission",
        needed=needed,
    )


def _refused(call: Call, host: str, status: int, said: str) -> PostdocError:
    if _EXISTS.search(said):
        if "pull request" in said.lower():
            return PostdocError("github_conflict", f"{call.repo} has this pull request already.", reason="pull_exists")
        other = f"{call.repo.partition('/')[2]}-2"
        return PostdocError(
            "github_conflict",
            f"{call.repo} exists. Use it, or create {other}? {SAFE}",
            next=f"Use the repository that exists, or choose another name: {other}, for example.",
            reason="exists",
            proposal=other,
        )
    if "no commits between" in said.lower():
        return PostdocError(
            "github_conflict", f"There is nothing in the branch that {call.repo} does not have.", reason="no_commits"
        )
    if re.search(r"invalid.{0,20}name|name (?:is|can|may|must)|repository name|reserved", said, re.I):
        return PostdocError(
            "bad_message",
            f"GitHub does not take the name {call.repo.partition('/')[2] or call.repo!r}: {said}",
            next="Repository names may use letters, digits, - . _ ; choose another one.",
            reason="name",
        )
    if status == 409:
        return PostdocError(
            "github_conflict",
            f"GitHub could not {call.doing}: {said or 'the repository is in another state'}. {SAFE}",
            next="Try again in a moment.",
            retryable=True,
            reason="state",
        )
    return PostdocError(
        "github_conflict",
        f"GitHub did not {call.doing}: {said or f'status {status}'}. {SAFE}",
        next="Look at the repository on GitHub, then try again.",
        reason="refused",
        status=status,
        host=host,
    )


def not_there(call: Call, host: str) -> PostdocError:
    """GitHub says so too when the token may not see it."""
    return PostdocError(
        "not_found",
        f"There is no {call.about or call.repo} on {host}, or the token may not see it.",
        next="Check the name, and that the token may read it.",
        reason="absent",
        needed=list(call.needs),
    )


def moved(call: Call, new: str) -> PostdocError:
    """The repository was renamed or handed over; nothing was changed there."""
    return PostdocError(
        "github_conflict",
        f"The repository is now {new}. Update the link?" if new else f"{call.repo} has moved on GitHub. {SAFE}",
        next=f"Continue with {new}, or publish to another repository."
        if new
        else "Look on GitHub where it is now, or publish to another repository.",
        reason="moved",
        proposal=new,
    )


def elsewhere(name: str) -> PostdocError:
    """The API's answers name another host than the setting does."""
    return PostdocError(
        "github_unreachable",
        f"The server answers as {name or 'another host'}; set GitHub API address to that. {SAFE}",
        next="Correct PostdocApp.github_api_url (an Enterprise Server: https://HOST/api/v3).",
        reason="host",
        answers_as=name,
    )


def unreadable(call: Call, host: str) -> PostdocError:
    """An answer came, and it is not GitHub's."""
    return PostdocError(
        "github_unreachable",
        f"{host} answers, but not as GitHub does (a proxy's page, perhaps). {SAFE}",
        next="Sign in to the network if it asks for it, or correct PostdocApp.github_api_url; then try again.",
        retryable=True,
        reason="not_github",
        maybe_done=call.write,
    )


def unreachable(call: Call, host: str, reason: str, why: str) -> PostdocError:
    """No answer; a write may have been carried out (``maybe_done``), so the caller looks before it tries again."""
    return PostdocError(
        "github_unreachable",
        f"GitHub ({host}) did not answer: {why}. {SAFE}",
        next="Look at the network or at GitHub's status page, then try again: it looks first what was done."
        if reason != "certificate"
        else "Make the certificate known to this server (REQUESTS_CA_BUNDLE), then try again.",
        retryable=reason != "certificate",
        reason=reason,
        maybe_done=call.write,
    )


def _owner(call: Call) -> str:
    return call.repo.partition("/")[0]
