"""Tokens of GitHub: where they come from, and the only place where they are kept.

A user's own token (a file of mode 0600, the system's keyring, or the login of `gh`) goes before the server's (a file
of the configuration, a GitHub App, the environment). A token is read when it is used and never held: an expired one
can be replaced while the server runs. Whoever reads one registers it, so that nothing writes it down by mistake.
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import json
import os
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from jupyterlab_postdoc import secrets
from jupyterlab_postdoc.errors import PostdocError
from jupyterlab_postdoc.forge import gh, keyrings
from jupyterlab_postdoc.forge.apptoken import AppSettings as AppSettings
from jupyterlab_postdoc.forge.apptoken import AppTokens
from jupyterlab_postdoc.forge.gh import GhLogin as GhLogin
from jupyterlab_postdoc.forge.private import read_private, sync_folder, write_private

Source = Literal["stored", "keyring", "gh", "file", "environment", "app"]
Kept = Literal["stored", "keyring", "gh"]
Where = Literal["file", "keyring"]
Reader = Callable[[], Awaitable[str]]

_FORM = re.compile(r"[\x21-\x7e]{20,4096}")
_PUBLIC = "github.com"
_WHAT = "GitHub token"


@dataclass(frozen=True)
class Choices:
    """Where a token could be kept, and whether `gh` could give one."""

    file: bool
    keyring: bool
    gh: GhLogin


class Credential:
    """Where to get a token. The token itself is asked for at every use and is in no attribute."""

    __slots__ = ("_read", "owner", "source")

    def __init__(self, source: Source, owner: str | None, read: Reader) -> None:
        """``owner`` is the user of this server whose it is; None: the server's own, for all users."""
        self.source = source
        self.owner = owner
        self._read = read

    def __repr__(self) -> str:
        return f"Credential(source={self.source!r}, owner={self.owner!r})"

    @property
    def key(self) -> tuple[str, str | None]:
        """What tells this credential from others; holds no secret."""
        return self.source, self.owner

    async def token(self) -> str:
        """The token, fresh. PostdocError ``github_auth`` in a sentence when there is none that can be used."""
        token = (await self._read()).strip()
        secrets.register(token)
        return checked(token)


def checked(token: str) -> str:
    """The token if it has the form of one. PostdocError ``github_auth``; never shows it."""
    if not _FORM.fullmatch(token):
        raise PostdocError(
            "github_auth",
            "That is not a GitHub token: a token is one line of 20 or more letters, digits and signs.",
            next="Copy the whole token from GitHub's page, without spaces or line breaks.",
        )
    return token


def given(token: str) -> Credential:
    """A token that was just typed in, to be tried out before it is kept."""
    secrets.register(token.strip())

    async def read() -> str:
        return token

    return Credential("stored", None, read)


class Credentials:
    """All tokens that this server may use."""

    def __init__(
        self,
        data_dir: Path,
        *,
        host: str,
        api_url: str,
        token_file: str = "",
        app: AppSettings | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        """``host`` is the name of the web address: a token is sent to that host's API and git only."""
        self.host = host
        self._folder = data_dir / "github"
        self._token_file = token_file
        self._app = AppTokens(app, api_url) if app is not None and app.id and app.key_file else None
        self._environ = os.environ if environ is None else environ
        self._writing = asyncio.Lock()

    async def of(self, user: str) -> Credential | None:
        """Whose token publishes for this user: their own, else the server's; None: not connected."""
        return await self.own(user) or self.server()

    async def own(self, user: str) -> Credential | None:
        """The user's own, as they have connected it."""
        kept = await asyncio.to_thread(self._note, user)
        if kept is None:
            return None
        readers: dict[Kept, Reader] = {
            "stored": lambda: asyncio.to_thread(read_private, self._path(user, "token"), _WHAT, ""),
            "keyring": lambda: self._from_keyring(user),
            "gh": lambda: gh.token(self.host, self._environ),
        }
        return Credential(kept, user, readers[kept])

    def server(self) -> Credential | None:
        """The server's: for everybody who has connected none of their own."""
        if self._token_file:
            path = Path(self._token_file).expanduser()
            return Credential("file", None, lambda: asyncio.to_thread(read_private, path, _WHAT, "github_token_file"))
        if self._app is not None:
            return Credential("app", None, self._app.token)
        if name := self._variable():

            async def read() -> str:
                return self._environ.get(name, "")

            return Credential("environment", None, read)
        return None

    def _variable(self) -> str | None:
        """The environment variable that holds a token for our host; an Enterprise host has its own, as for `gh`."""
        enterprise = ("GH_ENTERPRISE_TOKEN", "GITHUB_ENTERPRISE_TOKEN") if self.host != _PUBLIC else ()
        names = (*enterprise, "GITHUB_TOKEN", "GH_TOKEN")
        return next((name for name in names if self._environ.get(name, "").strip()), None)

    async def _from_keyring(self, user: str) -> str:
        if token := await keyrings.get(self._account(user)):
            return token
        raise PostdocError(
            "github_auth",
            "The system's keyring has no GitHub token any more. Your commits are safe locally.",
            next="Connect GitHub again.",
        )

    # --- connecting ---

    async def store(self, user: str, token: str, *, where: Where = "file") -> None:
        """Keep the user's token, in place of what they had. PostdocError when it cannot be kept there."""
        secrets.register(token.strip())
        token = checked(token.strip())
        async with self._writing:
            if where == "keyring":
                await keyrings.put(self._account(user), token)
                await self._replace(user, "keyring", None)
            else:
                await self._replace(user, "stored", token)

    async def gh_token(self) -> str:
        """What `gh` answers now. PostdocError ``github_auth`` when it has none."""
        token = await gh.token(self.host, self._environ)
        secrets.register(token)
        return checked(token)

    async def use_gh(self, user: str) -> None:
        """From now on `gh` is asked for the user's token; the token is not copied."""
        await self.gh_token()
        async with self._writing:
            await self._replace(user, "gh", None)

    async def forget(self, user: str) -> bool:
        """Remove what the user has connected; False when there was nothing. The token stays valid on GitHub."""
        async with self._writing:
            paths = [self._path(user, "json"), self._path(user, "token")]
            found = [path for path in paths if await asyncio.to_thread(path.exists)]
            if await self._had(user) == "keyring":
                await keyrings.remove(self._account(user))

            def clear() -> None:
                for path in found:
                    path.unlink(missing_ok=True)
                sync_folder(self._folder)

            if found:
                await asyncio.to_thread(clear)
        return bool(found)

    async def choices(self) -> Choices:
        """Where a token could be kept, and whether `gh` could give one (it asks GitHub: may take a second)."""
        keyring, login = await asyncio.gather(keyrings.usable(), gh.login(self.host, self._environ))
        return Choices(True, keyring, login)

    # --- files of ours ---

    def _path(self, user: str, ending: str) -> Path:
        name = hashlib.sha256(f"{self.host}\n{user}".encode()).hexdigest()[:16]
        return self._folder / f"{name}.{ending}"

    def _account(self, user: str) -> str:
        return f"{self.host}/{user}"

    def _note(self, user: str) -> Kept | None:
        """Where the user's token is kept, as the note beside it says."""
        try:
            found = json.loads(self._path(user, "json").read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValueError):
            found = None
        source = found.get("source") if isinstance(found, dict) else None
        if source not in ("stored", "keyring", "gh"):
            raise PostdocError(
                "github_auth",
                "What was kept of your connection to GitHub cannot be read. Your commits are safe locally.",
                next="Connect GitHub again.",
            )
        kept: Kept = source
        return kept

    async def _had(self, user: str) -> Kept | None:
        """As :meth:`_note`; None for a note that cannot be read: it is about to be replaced."""
        try:
            return await asyncio.to_thread(self._note, user)
        except PostdocError:
            return None

    async def _replace(self, user: str, source: Kept, token: str | None) -> None:
        """Write the token (if it is kept in a file) and the note that says where it is; clear what was before."""
        had = await self._had(user)
        await asyncio.to_thread(self._write, user, source, token)
        if had == "keyring" and source != "keyring":
            await keyrings.remove(self._account(user))

    def _write(self, user: str, source: Kept, token: str | None) -> None:
        path = self._path(user, "token")
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._folder.chmod(0o700)
            if token is not None:
                write_private(path, token + "\n")
            write_private(self._path(user, "json"), json.dumps({"version": 1, "host": self.host, "source": source}))
            if token is None:
                path.unlink(missing_ok=True)
                sync_folder(self._folder)
        except OSError as exc:
            full = exc.errno in (errno.ENOSPC, errno.EDQUOT)
            raise PostdocError(
                "storage_full" if full else "forbidden",
                f"The connection to GitHub could not be kept: {exc.strerror}.",
                next="Free some space, then connect again."
                if full
                else "Make the data directory writable for the server's user, then connect again.",
            ) from exc
