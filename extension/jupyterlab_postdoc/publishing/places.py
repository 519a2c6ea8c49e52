"""Where a repository is: what a person may give as one, and what a session keeps of it.

A session keeps its place as its own copy, so that it goes on when the registration is removed.
"""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, quote, unquote, urlsplit

import msgspec
from msgspec import Struct

from jupyterlab_postdoc.errors import PostdocError
from jupyterlab_postdoc.forge.github_address import Address
from jupyterlab_postdoc.forge.text import one_line
from jupyterlab_postdoc.store.rows import RepositoryRow

GITHUB, GIT = "github", "git"
CHECKOUT = "checkout"
"""The key of a session's ``meta`` that holds its :class:`Place`."""

_FULL_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_-]{0,99})/[A-Za-z0-9._-]{1,100}")
_SSH = re.compile(r"(?:ssh|git\+ssh|ssh\+git)://|(?!//)[^/\s]+@[^/\s:]+:", re.I)
_ELSEWHERE = ("commondir", "objects/info/alternates")
_PARTS = ("objects", "objects/info", "objects/pack", "refs", "refs/heads", "packed-refs", "HEAD", "config")
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


class Place(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A repository as a session works in it. ``forge`` is ``github`` or ``git`` (an address, no more).

    ``branch``, ``base`` and ``baseSha`` are set when the session has its work tree: its own branch, and the branch and
    commit that it comes from (both empty for a repository that was empty).
    """

    repository: str
    """The id of the registration, which may be gone."""
    forge: str
    host: str
    name: str
    url: str
    web_url: str | None = None
    default_branch: str = "main"
    private: bool = True
    remote_id: int | None = None
    branch: str = ""
    base: str = ""
    base_sha: str = ""

    @property
    def key(self) -> str:
        """The name of its publisher repository: ``github.com/ana/owls``; three parts, safe as folders."""
        if self.forge == GITHUB:
            return f"{self.host}/{self.name}"
        digest = hashlib.sha256(self.url.encode()).hexdigest()[:16]
        host = re.sub(r"[^A-Za-z0-9.-]", "-", self.host).strip(".-") or "local"
        stem = re.sub(r"[^A-Za-z0-9_-]", "-", self.short).strip("-") or "repository"
        return f"{host}/git/{stem[:60]}-{digest}"

    def same(self, other: Place) -> bool:
        """Whether both are one repository."""
        if self.remote_id is not None and other.remote_id is not None:
            return (self.host, self.remote_id) == (other.host, other.remote_id)
        return (self.host, self.name.casefold()) == (other.host, other.name.casefold())

    @property
    def short(self) -> str:
        """The last part of the name."""
        return self.name.rpartition("/")[2]


def place_of(row: RepositoryRow) -> Place:
    """What a session keeps of a registration."""
    return Place(
        repository=row.id,
        forge=row.forge,
        host=row.host,
        name=row.name,
        url=row.url,
        web_url=row.web_url,
        default_branch=row.default_branch,
        private=row.private,
        remote_id=row.remote_id,
    )


def kept_place(meta: dict[str, Any]) -> Place | None:
    """The place in a session's ``meta``; None for a session without one."""
    kept = meta.get(CHECKOUT)
    return msgspec.convert(kept, Place) if kept else None


def is_full_name(text: str) -> bool:
    """Whether the text is ``owner/name`` as GitHub writes it."""
    return bool(_FULL_NAME.fullmatch(text)) and text.rpartition("/")[2] not in (".", "..", ".git")


def read_address(given: str, *, github: Address, root_dir: Path) -> Place:
    """The place that a person means by ``owner/name`` or a git address. Nothing is asked of anybody.

    PostdocError ``bad_message`` for what is no address or holds a password, ``forbidden`` for a folder outside of
    ``root_dir``.
    """
    text = given.strip()
    if _SSH.match(text):
        raise PostdocError(
            "bad_message",
            "An ssh address cannot be used: the server has no ssh key of its own, and must not use yours.",
            next=f"Give the https address{_https_hint(text)}, or owner/name for one on GitHub.",
        )
    pages = urlsplit(github.pages).netloc.lower()
    if text.lower().startswith((f"{pages}/", f"www.{pages}/")):
        text = f"https://{text}"
    if is_full_name(text):
        return _on_github(text.removesuffix(".git"), github)
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise _no_address(given) from None
    if any(c.isspace() or not c.isprintable() for c in text):
        raise _no_address(given)
    if parts.scheme == "file":
        return _folder(parts, root_dir)
    if parts.scheme not in ("https", "http") or not parts.hostname:
        raise _no_address(given)
    if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
        raise PostdocError(
            "bad_message",
            "The address holds more than a place (a name, a password, a query); it was not kept.",
            next="Leave that out. For a private repository on GitHub connect GitHub, and give owner/name.",
        )
    name = parts.hostname.lower()
    host = f"[{name}]" if ":" in name else name
    host += f":{port}" if port and port != {"https": 443, "http": 80}[parts.scheme] else ""
    path = unquote(parts.path).strip("/").removesuffix(".git")
    repository = "/".join(path.split("/")[:2])  # a page below it, too
    if host in (pages, f"www.{pages}", github.git_host) and is_full_name(repository):
        return _on_github(repository.removesuffix(".git"), github)
    if parts.scheme == "http" and name not in _LOOPBACK:
        raise PostdocError(
            "bad_message",
            "An http address can be read and changed by everybody on the way.",
            next="Give the https address.",
        )
    if not path or any(part in ("", ".", "..") for part in path.split("/")):
        raise _no_address(given)
    address = f"{parts.scheme}://{host}/{quote(parts.path.strip('/'), safe='/%~+@:')}"
    return Place(
        repository="", forge=GIT, host=host, name=path[-200:], url=address, web_url=address.removesuffix(".git")
    )


def _on_github(name: str, github: Address) -> Place:
    return Place(
        repository="",
        forge=GITHUB,
        host=github.host,
        name=name,
        url=github.git_url(name),
        web_url=f"{github.pages}/{name}",
    )


def _folder(parts: SplitResult, root_dir: Path) -> Place:
    """A repository on this machine: only below the folder that the server shows, links followed."""
    root = root_dir.resolve()
    try:
        path = Path(unquote(parts.path)).resolve()
        git = (path / ".git").resolve()
        inside = parts.netloc in ("", "localhost") and path.is_relative_to(root) and git.is_relative_to(root)
        linked = (path / ".git").is_file() or (path / ".git").is_symlink() or _borrows(git if git.is_dir() else path)
        there = inside and path.is_dir()
    except (OSError, ValueError, RuntimeError):
        inside, linked, there = False, False, False
    if not inside or linked:
        raise PostdocError(
            "forbidden",
            "Only a repository below the folder that the Jupyter server shows can be used by its path.",
            next="Copy it there, or give its https address.",
        )
    if not there:
        raise PostdocError(
            "not_found", f"There is no folder {one_line(path.name, 80)!r} there.", next="Correct the path."
        )
    shown = path.relative_to(root).as_posix()
    return Place(repository="", forge=GIT, host="", name=shown if shown != "." else path.name, url=path.as_uri())


def _borrows(git: Path) -> bool:
    """Whether what the repository holds lies, in part, somewhere else."""
    return any((git / name).is_symlink() for name in _PARTS) or any(os.path.lexists(git / name) for name in _ELSEWHERE)


def _https_hint(text: str) -> str:
    found = re.fullmatch(r"(?:[a-z+]+://)?[^@/\s]+@([A-Za-z0-9.-]+)[:/]([A-Za-z0-9._/-]+?)(?:\.git)?", text)
    return f" (https://{found[1]}/{found[2]})" if found else ""


def _no_address(given: str) -> PostdocError:
    return PostdocError(
        "bad_message",
        f"{one_line(given, 100)!r} is neither owner/name nor the address of a repository.",
        next="Give owner/name for a repository on GitHub, or an address such as https://example.org/owner/name.git.",
    )
