"""Why a publication stopped, as a person reads it: the sentence, what is kept, and what may be done now."""

from __future__ import annotations

from typing import Any

import msgspec

from jupyterlab_postdoc.errors import PostdocError
from jupyterlab_postdoc.protocol import Finding, Problem, iso

SAFE = "Your commits are safe locally."
STOPPED = Problem(
    code="stopped",
    error="Publishing was stopped. What was sent stays where it is, and all work is safe locally.",
    next="Publish again: it goes on where it stopped.",
    retryable=True,
    actions=["retry"],
)
_PUSH_ACTIONS = {
    "moved": ["branch", "force"],
    "protected": ["branch", "retry"],
    "rule": ["branch", "retry"],
    "workflow_scope": ["connect", "retry"],
    "large_file": ["squash", "retry"],
}


def not_connected(name: str) -> PostdocError:
    """Nobody's token is known: no failure, for everything is saved here."""
    return PostdocError(
        "github_auth",
        f"Saved locally in {name}. Connect GitHub to publish; nothing is lost.",
        next="Connect GitHub in the panel, or with `jupyter postdoc github connect`.",
        reason="not_connected",
    )


def name_taken(full_name: str, proposal: str) -> PostdocError:
    """The repository exists, and is not this session's."""
    name = proposal.rpartition("/")[2]
    return PostdocError(
        "github_conflict",
        f"{full_name} exists. Use it, or create {name}? Nothing was changed there.",
        next=f"Publish with the name {name}, or say that the repository that is there may be used.",
        reason="name_taken",
        proposal=name,
    )


def moved_to(old: str, new: str) -> PostdocError:
    """The repository was renamed or transferred."""
    return PostdocError(
        "github_conflict",
        f"The repository is now {new} (it was {old}). Update the link?",
        next="Accept the new place, and publishing goes on there.",
        reason="moved",
        proposal=new,
    )


def gone(full_name: str) -> PostdocError:
    """It was deleted, or the account may not see it."""
    return PostdocError(
        "github_conflict",
        f"{full_name} is not on GitHub any more, or your account may not see it. {SAFE}",
        next="Connect the account that it belongs to, or publish under another name.",
        reason="gone",
        proposal=full_name.rpartition("/")[2],
    )


def unrelated(full_name: str, branch: str) -> PostdocError:
    """A repository that was there has a history of its own."""
    return PostdocError(
        "github_conflict",
        f"{full_name} has a history of its own on {branch}, which the study does not go on from; nothing was sent.",
        next="Publish under another name, or begin a study in that repository (choose it when you start one).",
        reason="unrelated",
        proposal=f"{full_name.rpartition('/')[2]}-2",
    )


def blocked(findings: list[Finding], *, squash_helps: bool) -> PostdocError:
    """The guard stops the push; nothing left this machine."""
    first = next(finding for finding in findings if finding.blocking)
    line = f" line {first.line}" if first.line else ""
    step = f" (step {first.step})" if first.step else ""
    others = sum(finding.blocking for finding in findings) - 1
    more = f" And {others} more." if others else ""
    helps = "It is in earlier commits only: sending one commit in place of the history leaves it out."
    return PostdocError(
        "publish_blocked",
        f"Push stopped: {first.text} ({first.path}{line}{step}).{more} Nothing was sent; {SAFE[0].lower()}{SAFE[1:]}",
        next=helps
        if squash_helps
        else "Remove it from the file, then publish again; what stays in earlier commits can be left out by sending "
        "one commit in place of the history.",
        reason="findings",
        squash=squash_helps,
        findings=[msgspec.to_builtins(finding) for finding in findings],
    )


def problem_of(error: PostdocError) -> Problem:
    """The problem of an error, with what may be done now."""
    details = error.details
    return Problem(
        code=error.code,
        error=error.message,
        next=error.next,
        retryable=error.retryable,
        actions=_actions(error),
        proposal=str(details.get("proposal") or ""),
        findings=[msgspec.convert(finding, Finding) for finding in details.get("findings") or []],
        url=str(details.get("url") or ""),
        retryAt=_moment(details.get("retry_at")),
    )


def _actions(error: PostdocError) -> list[str]:
    details = error.details
    reason = str(details.get("reason") or "")
    if error.code in ("github_auth", "github_forbidden"):
        return ["connect", "retry"]
    if error.code == "github_conflict":
        known = {"name_taken": ["use_existing", "rename"], "moved": ["moved"], "gone": ["connect", "rename"]}
        return known.get(reason, ["rename"] if reason == "unrelated" else ["retry"])
    if error.code == "publish_blocked" and details.get("proposal"):
        return ["branch"]
    if error.code == "bad_message" and details.get("proposal"):
        return ["rename"]
    if error.code == "push_rejected":
        actions = _PUSH_ACTIONS.get(reason, ["branch", "retry"] if details.get("proposal") else ["retry"])
        return [*actions, "squash"] if details.get("secret") else actions
    if error.code == "publish_blocked" and reason == "findings":
        return ["squash", "retry"] if details.get("squash") else ["retry"]
    return ["retry"]


def _moment(at: Any) -> str:
    if isinstance(at, (int, float)):
        return iso(float(at))
    return str(at or "")
