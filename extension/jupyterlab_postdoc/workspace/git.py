"""The `git` program behind a hardened, asynchronous wrapper: signatures first, implementation follows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Identity:
    """Author and committer of a commit; always given by environment, never written to a config file."""

    name: str = "Postdoc research agent"
    email: str = "postdoc@localhost"


@dataclass(frozen=True, slots=True)
class Excluded:
    """A path that was left out of a commit, with the reason in words."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class Commit:
    """One commit: full sha, subject, trailers (last value wins), committer time in UNIX seconds."""

    sha: str
    subject: str
    trailers: Mapping[str, str]
    time: int
    excluded: tuple[Excluded, ...] = ()


class Git:
    """All calls of one policy. Every method takes the checkout's root."""

    def __init__(self, identity: Identity | None = None, *, executable: str = "git", timeout_s: float = 60.0) -> None:
        raise NotImplementedError

    async def version(self) -> tuple[int, int, int]:
        """Git's version; PostdocError when git is missing or older than 2.31."""
        raise NotImplementedError

    async def init(self, root: Path, *, branch: str = "main") -> None:
        """Make ``root`` a repository; does nothing when it is one."""
        raise NotImplementedError

    async def commit_all(
        self, root: Path, *, subject: str, trailers: Mapping[str, str], body: str = "", when: float | None = None
    ) -> Commit | None:
        """Commit the whole tree. None: nothing changed. A commit that carries all ``trailers`` already is returned as it is."""
        raise NotImplementedError

    async def survey(self, root: Path) -> tuple[Excluded, ...]:
        """What a commit would leave out now: nested repositories, links out of the tree, files above 50 MB, unreadable files."""
        raise NotImplementedError

    async def find_trailer(self, root: Path, key: str, value: str) -> Commit | None:
        """The newest commit that carries the trailer."""
        raise NotImplementedError

    async def find_trailers(self, root: Path, trailers: Mapping[str, str]) -> Commit | None:
        """The newest commit that carries all of the trailers."""
        raise NotImplementedError

    async def head(self, root: Path) -> str | None:
        """The sha of HEAD; None before the first commit."""
        raise NotImplementedError

    async def log(self, root: Path, *, limit: int = 1000) -> list[Commit]:
        """Commits of HEAD, newest first."""
        raise NotImplementedError

    async def is_dirty(self, root: Path) -> bool:
        """Whether the tree differs from HEAD."""
        raise NotImplementedError
