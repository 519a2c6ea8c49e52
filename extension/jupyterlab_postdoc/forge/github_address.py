"""Where a GitHub is: its API, its pages, and the host that git may send a token to."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from jupyterlab_postdoc.errors import PostdocError

PUBLIC_API = "https://api.github.com"


@dataclass(frozen=True, slots=True)
class Address:
    """``api``, ``pages`` and ``git`` are addresses without a slash at the end; ``host`` is the name of the web pages
    (``github.com``), ``git_host`` the ``host[:port]`` of git.
    """

    api: str
    pages: str
    git: str
    host: str
    git_host: str

    def git_url(self, full_name: str) -> str:
        """Where a repository is pushed to. Made by us: what an answer says is not trusted with a token."""
        return f"{self.git}/{full_name}.git"

    def is_ours(self, url: str) -> bool:
        """Whether an address in an answer is one of our API's host and port."""
        return _place(url) == _place(self.api)


def address(api_url: str, git_url: str = "") -> Address:
    """``https://api.github.com``, ``https://HOST/api/v3`` (Enterprise Server), ``https://api.NAME.ghe.com``.

    ``git_url`` is for git behind another address. PostdocError ``bad_message`` when one is no address.
    """
    api = _checked(api_url.strip().rstrip("/") or PUBLIC_API, "github_api_url")
    at = urlsplit(api)
    if at.hostname in ("github.com", "www.github.com"):
        return address(PUBLIC_API, git_url)
    host = (at.hostname or "").removeprefix("api.") if not at.path else (at.hostname or "")
    port = f":{at.port}" if at.port else ""
    pages = f"{at.scheme}://{host}{port}"
    git = _checked(git_url.strip().rstrip("/"), "github_git_url") if git_url.strip() else pages
    return Address(api=api, pages=pages, git=git, host=host, git_host=urlsplit(git).netloc.lower())


def _checked(url: str, setting: str) -> str:
    try:
        at = urlsplit(url)
        good = at.scheme in ("http", "https") and bool(at.hostname) and not at.username and not at.password
        good = good and not at.query and not at.fragment and (at.port or 1) > 0
    except ValueError:
        good = False
    if not good:
        raise PostdocError(
            "bad_message",
            f"PostdocApp.{setting} is not an address of GitHub.",
            next=f"Set it to {PUBLIC_API}, or for an Enterprise Server to https://HOST/api/v3."
            if setting == "github_api_url"
            else "Set it to https://HOST, or leave it empty.",
        )
    return url


def _place(url: str) -> tuple[str, int | None]:
    try:
        at = urlsplit(url)
        return at.hostname or "", at.port or {"http": 80, "https": 443}.get(at.scheme)
    except ValueError:
        return "", None
