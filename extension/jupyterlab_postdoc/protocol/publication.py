"""Where a session's work is published: the parts of a ``publication`` event."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct


class PublishStep(Struct, frozen=True, kw_only=True):
    """One step of a publication. ``text`` says in plain words what it does, or why it was skipped."""

    name: Literal["check", "create", "push", "topics", "branch", "pull_request"]
    state: Literal["pending", "active", "done", "failed", "skipped"] = "pending"
    text: str = ""


class PublishedRepository(Struct, frozen=True, kw_only=True):
    """``name`` is ``owner/name`` as the forge has it; ``url`` is its page."""

    name: str
    url: str
    private: bool = True
    defaultBranch: str = "main"


class PublishedBranch(Struct, frozen=True, kw_only=True):
    """The session's branch: its page, the commit that was sent last, and its comparison with the default branch."""

    name: str
    url: str
    commit: str
    compareUrl: str


class Checks(Struct, frozen=True, kw_only=True):
    """The checks of a commit, counted. ``url`` is their page."""

    state: Literal["none", "pending", "passed", "failed"] = "none"
    total: int = 0
    passed: int = 0
    failed: int = 0
    url: str = ""


class Review(Struct, frozen=True, kw_only=True):
    """What reviewers have said, the last word of each."""

    state: Literal["none", "commented", "changes_requested", "approved"] = "none"
    approvedBy: list[str] = []
    changesRequestedBy: list[str] = []


class PullRequest(Struct, frozen=True, kw_only=True):
    """A pull request as the forge has it. ``comments`` counts those that people wrote (and review comments)."""

    number: int
    url: str
    title: str = ""
    state: Literal["open", "closed", "merged"] = "open"
    draft: bool = False
    base: str = ""
    head: str = ""
    checks: Checks = Checks()
    review: Review = Review()
    comments: int = 0
    mergeable: bool | None = None


class Finding(Struct, frozen=True, kw_only=True):
    """Why something may not be sent. Never holds the secret itself: ``text`` is a sentence. ``line`` counts from 1."""

    kind: Literal["secret", "large_file", "workflow", "link", "submodule", "nested_git", "name"]
    path: str
    text: str
    line: int | None = None
    commit: str = ""
    step: str = ""
    blocking: bool = True


class Problem(Struct, frozen=True, kw_only=True):
    """Why a publication stopped. ``actions`` are what may be done now: retry, rename (``proposal`` is a free name),
    use_existing, connect, squash, force, branch (``proposal`` is a free branch name), moved (``proposal`` is where the
    repository is now). ``retryAt`` is when the limit of the forge ends; ``url`` a page that helps.
    """

    code: str
    error: str
    next: str = ""
    retryable: bool = False
    actions: list[str] = []
    proposal: str = ""
    findings: list[Finding] = []
    url: str = ""
    retryAt: str = ""
