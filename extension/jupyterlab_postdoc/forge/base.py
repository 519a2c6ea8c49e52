"""Where research repositories are published: the protocol every forge follows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True)
class RemoteRepo:
    """A remote repository: ``url`` is what `git clone` takes, ``web_url`` what a person opens (None: nothing)."""

    name: str
    url: str
    default_branch: str = "main"
    web_url: str | None = None
    private: bool = True


@dataclass(frozen=True, slots=True)
class PushResult:
    """``before`` and ``after`` are the remote branch's sha; equal when there was nothing to send."""

    branch: str
    before: str | None
    after: str

    @property
    def changed(self) -> bool:
        """Whether the push moved the branch."""
        return self.before != self.after


@dataclass(frozen=True, slots=True)
class FileChange:
    """Lines added and deleted in one file; None for a binary file."""

    path: str
    added: int | None
    deleted: int | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """How ``head`` relates to ``base``: commits on each side, and the files changed since they parted."""

    ahead: int
    behind: int
    files: tuple[FileChange, ...]


class Forge(Protocol):
    """Creates remote repositories and sends commits to them. Never forces, never deletes."""

    name: str

    async def create_repo(self, name: str, *, session: str, run: str) -> RemoteRepo:
        """Create the repository, or return the one that this run made before.

        PostdocError ``github_conflict`` when the name belongs to another run.
        """
        ...

    async def get_repo(self, name: str) -> RemoteRepo | None:
        """The repository of that name, if there is one."""
        ...

    async def is_taken(self, name: str, *, run: str) -> bool:
        """Whether the name belongs to somebody other than this run."""
        ...

    async def push(self, root: Path, repo: RemoteRepo, branch: str = "main") -> PushResult:
        """Send the checkout's branch. Idempotent; a branch that moved is never overwritten (``github_conflict``)."""
        ...

    async def compare(self, repo: RemoteRepo, base: str, head: str) -> Comparison:
        """Compare two commits or branches of the repository."""
        ...
