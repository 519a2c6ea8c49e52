"""What a forge with accounts (GitHub) does for us: plain values in and out, nothing of its client library.

The states of pull requests are those of the protocol; what is here besides is only between the parts of the server.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from jupyterlab_postdoc.protocol import Checks, PullRequest


@dataclass(frozen=True, slots=True)
class Account:
    """Who a token belongs to. ``scopes`` is None when the forge does not tell (fine-grained tokens, apps).

    ``expires`` is UNIX seconds, None when the forge does not say.
    """

    login: str
    id: int
    name: str = ""
    kind: Literal["user", "app"] = "user"
    scopes: tuple[str, ...] | None = None
    expires: float | None = None

    def lacks(self, scope: str) -> bool:
        """Whether it is known that the token has not this scope."""
        return self.scopes is not None and scope not in self.scopes


@dataclass(frozen=True, slots=True)
class Owner:
    """A user or an organisation that a repository may belong to. ``may_create`` is None when the forge does not say."""

    login: str
    kind: Literal["user", "organization"]
    may_create: bool | None = None


@dataclass(frozen=True, slots=True)
class Remote:
    """A repository on the forge. ``id`` stays when it is renamed; ``size`` is kB as the forge counts, ``created_at``
    and ``pushed_at`` UNIX seconds; ``may_push`` is None when the forge does not say.
    """

    id: int
    full_name: str
    web_url: str
    git_url: str
    default_branch: str
    private: bool
    description: str = ""
    size: int = 0
    created_at: float = 0.0
    pushed_at: float | None = None
    archived: bool = False
    may_push: bool | None = None

    @property
    def owner(self) -> str:
        """The part before the slash."""
        return self.full_name.partition("/")[0]

    @property
    def name(self) -> str:
        """The part after the slash."""
        return self.full_name.partition("/")[2]


@dataclass(frozen=True, slots=True)
class Comment:
    """What a person wrote at a pull request. ``path`` and ``line`` (from 1) for one at the code; ``review`` is the
    verdict of a review (approved, changes_requested, commented), else empty. ``at`` is UNIX seconds.
    """

    id: str
    author: str
    body: str
    url: str
    at: float
    path: str = ""
    line: int | None = None
    review: str = ""
    bot: bool = False


@dataclass(frozen=True, slots=True)
class Rate:
    """What is left of the forge's limit: requests, and when it starts anew (UNIX seconds)."""

    limit: int
    remaining: int
    reset_at: float


class RemoteForge(Protocol):
    """One account of a forge. Every method raises PostdocError only: ``github_auth``, ``github_forbidden``,
    ``github_conflict``, ``github_rate_limited``, ``github_unreachable``, ``not_found``.

    Nothing here is repeated blindly: a call that may have been carried out although its answer was lost raises
    ``github_unreachable``, and the caller looks before it tries again.
    """

    host: str
    """The name of the web address: ``github.com``."""

    async def whoami(self) -> Account: ...

    async def owners(self) -> list[Owner]:
        """The account itself first, then its organisations (an app: the account that it is installed in)."""
        ...

    async def rate(self) -> Rate | None:
        """As the last answers told, without a request of its own when that is possible."""
        ...

    async def get_repo(self, full_name: str) -> Remote | None:
        """None when there is none, or when the account may not see it. A renamed one is found under its new name:
        compare ``full_name``.
        """
        ...

    async def get_repo_by_id(self, id: int) -> Remote | None: ...

    async def list_repos(self, query: str = "", *, limit: int = 50) -> list[Remote]:
        """What the account may push to, newest push first; ``query`` is a part of the name."""
        ...

    async def create_repo(self, owner: str, name: str, *, description: str, private: bool) -> Remote:
        """A new, empty repository. ``github_conflict`` when the name is taken; ``bad_message`` for a name the forge
        refuses.
        """
        ...

    async def set_topics(self, full_name: str, topics: Sequence[str]) -> None: ...

    async def branch_tip(self, full_name: str, branch: str) -> str | None:
        """The sha of the branch; None when there is none (or the repository is empty)."""
        ...

    async def find_pulls(self, full_name: str, branch: str) -> list[PullRequest]:
        """Every pull request of that branch of the same repository, newest first, without checks and reviews."""
        ...

    async def open_pull(
        self, full_name: str, *, base: str, head: str, title: str, body: str, draft: bool = True
    ) -> PullRequest:
        """A new pull request. ``github_conflict`` when the forge says that there is one, or nothing to pull. Where the
        plan has no drafts, an ordinary one (its ``draft`` tells).
        """
        ...

    async def update_pull(self, full_name: str, number: int, *, title: str, body: str, was: str) -> bool:
        """Give an open pull request a new text. False: its text is not the one whose digest is ``was``, so somebody
        else has changed it, and it stays.
        """
        ...

    async def pull(self, full_name: str, number: int) -> PullRequest:
        """With its checks, reviews and number of comments."""
        ...

    async def checks(self, full_name: str, sha: str) -> Checks: ...

    async def comments(self, full_name: str, number: int) -> list[Comment]:
        """Comments, review comments and reviews with a text, oldest first."""
        ...

    async def add_comment(self, full_name: str, number: int, body: str) -> Comment: ...
