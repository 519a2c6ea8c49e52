"""One call of git that speaks with a remote: where it may go, what it is told, how long it may take."""

from __future__ import annotations

import asyncio
import ipaddress
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from jupyterlab_postdoc import secrets
from jupyterlab_postdoc.errors import PostdocError
from jupyterlab_postdoc.forge import refusals
from jupyterlab_postdoc.forge.askpass import offered
from jupyterlab_postdoc.workspace import gitlock
from jupyterlab_postdoc.workspace.git import Git
from jupyterlab_postdoc.workspace.gitproc import GitResult

LOCK_WAIT_S = 10.0
STALLED_S = 120
"""A transfer of less than one byte a second for so long is given up, also by a git whose server was killed."""

_PROXY = ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "NO_PROXY", "no_proxy")
_AUTHORITIES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "GIT_SSL_CAINFO", "GIT_SSL_CAPATH")

_CONFIG = {
    # A token is meant for one address: whoever answers "look elsewhere" does not get it.
    "http.followRedirects": "false",
    "http.sslVerify": "true",
    "http.emptyAuth": "false",
    "http.saveCookies": "false",
    "http.lowSpeedLimit": "1",
    "http.lowSpeedTime": str(STALLED_S),
    "credential.useHttpPath": "false",
    "push.gpgSign": "false",
    "push.followTags": "false",
    "push.recurseSubmodules": "no",
    "fetch.writeCommitGraph": "false",
    # Flaws of old commits that harm nobody; a repository with them could not be fetched at all otherwise.
    "fetch.fsck.zeroPaddedFilemode": "ignore",
    "fetch.fsck.badTimezone": "ignore",
    "fetch.fsck.badDateOverflow": "ignore",
    "fetch.fsck.missingEmail": "ignore",
    "fetch.fsck.missingNameBeforeEmail": "ignore",
    "fetch.fsck.missingSpaceBeforeDate": "ignore",
    "fetch.fsck.missingSpaceBeforeEmail": "ignore",
    "fetch.fsck.badEmail": "ignore",
}
FETCHING = {key: value for key, value in _CONFIG.items() if key.startswith("fetch.")}
"""Also for a fetch from a repository of ours that has such commits."""


class TokenSource(Protocol):
    """What gives a fresh token at each use (forge/credentials.py)."""

    async def token(self) -> str:
        """PostdocError ``github_auth`` when there is none any more."""
        ...


@dataclass(frozen=True, slots=True)
class Destination:
    """A remote repository: ``key`` names our copy of it (``github.com/ana/owls``), ``host`` is the only ``host[:port]``
    that ``url`` may have and that the token is told.
    """

    key: str
    url: str
    host: str = ""

    def transport(self) -> str:
        """The protocol of ``url``: https; http for this computer itself; file.

        PostdocError ``forbidden`` for every other address, and for one with a user name or a password in it.
        """
        try:
            at = urlsplit(self.url)
            name, _ = at.hostname, at.port
        except ValueError:
            raise _not_allowed("it is not an address") from None
        if not self.url.isprintable() or " " in self.url or self.url.startswith("-"):
            raise _not_allowed("it is not an address")
        if at.username is not None or at.password is not None:
            raise _not_allowed("it holds a user name or a password")
        if at.query or at.fragment or "?" in self.url or "#" in self.url:
            raise _not_allowed("it has a query")
        if at.scheme == "file" and not at.netloc:
            return "file"
        if at.scheme not in ("https", "http") or not name:
            raise _not_allowed("only https is")
        if at.netloc.lower() != self.host.lower() or at.netloc != at.netloc.lower():
            raise _not_allowed(f"it is not at {self.host or 'the expected host'}")
        if at.scheme == "http" and not _is_here(name):
            raise _not_allowed("only https is")
        return at.scheme


class Transfer:
    """Calls of git that go to a remote. ``folder`` is where the askpass script lies."""

    def __init__(self, git: Git, folder: Path) -> None:
        self._git = git
        self._folder = folder

    async def call(
        self,
        *argv: str,
        bare: Path,
        to: Destination,
        credential: TokenSource | None,
        timeout_s: float = 120.0,
    ) -> GitResult:
        """The result whatever its status; ``argv`` names the url itself.

        PostdocError ``github_auth`` (no token), ``github_unreachable`` (no answer in time), ``forbidden`` (the
        address), ``busy`` (another git holds a lock in ``bare``).
        """
        transport = to.transport()
        deadline = time.monotonic() + LOCK_WAIT_S
        while True:
            token = await credential.token() if credential is not None and transport != "file" else None
            secrets.register(token)
            result = await self._once(argv, bare, to, transport, token, timeout_s)
            lock = gitlock.lock_in(result.stderr) if result.returncode else None
            if lock is None or not lock.is_relative_to(bare):
                return result
            if not await asyncio.to_thread(gitlock.clear_stale, bare, lock):
                if time.monotonic() > deadline:
                    raise PostdocError(
                        "busy",
                        "Another git program is working in the server's copy of the repository; nothing was changed.",
                        next="Try again in a minute.",
                        retryable=True,
                    )
                await asyncio.sleep(0.05)

    async def _once(
        self, argv: tuple[str, ...], bare: Path, to: Destination, transport: str, token: str | None, timeout_s: float
    ) -> GitResult:
        try:
            with offered(self._folder, to.url, token) as offer:
                return await self._git.run(
                    *argv,
                    cwd=bare,
                    env={"GIT_DIR": str(bare), **_surroundings(transport), **offer.env},
                    ok=range(-64, 256),
                    transport=transport,
                    config=_CONFIG,
                    timeout_s=timeout_s,
                    pass_fds=offer.pass_fds,
                )
        except PostdocError as exc:
            if isinstance(exc.__cause__, TimeoutError):
                raise refusals.unreachable(to.host, f"no end after {timeout_s:.0f} s") from exc
            raise
        except ValueError as exc:
            raise PostdocError(
                "github_auth",
                "What is stored as the GitHub token is not one. Your commits are safe locally.",
                next="Connect GitHub again.",
            ) from exc


def _surroundings(transport: str, environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """What this machine needs to reach the internet: its proxy and its certificate authorities."""
    if transport != "https":
        return {}
    env = {name: environ[name] for name in (*_PROXY, *_AUTHORITIES) if environ.get(name)}
    # libcurl does not look at the variables that Python's libraries use.
    bundle = environ.get("SSL_CERT_FILE") or environ.get("REQUESTS_CA_BUNDLE") or environ.get("CURL_CA_BUNDLE")
    if bundle and os.path.isfile(bundle):
        env.setdefault("GIT_SSL_CAINFO", bundle)
    return env


def _is_here(name: str) -> bool:
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _not_allowed(why: str) -> PostdocError:
    return PostdocError(
        "forbidden",
        f"The repository's address may not be used for git: {why}. No token was sent.",
        next="Look at the settings github_api_url and github_git_url.",
    )
