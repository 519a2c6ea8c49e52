"""Installation tokens of a GitHub App; each lives an hour and is renewed before it ends."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jupyterlab_postdoc import secrets
from jupyterlab_postdoc.errors import PostdocError
from jupyterlab_postdoc.forge.private import read_private

SPARE_S = 300.0
"""A token is renewed so long before it ends."""
TIMEOUT_S = 15


@dataclass(frozen=True)
class AppSettings:
    """A GitHub App: its id (or client id), the file (mode 0600) of its private key, the installation (0: the owner's).

    ``owner`` is the user or organisation whose installation is looked for.
    """

    id: str
    key_file: str
    installation: int = 0
    owner: str = ""


class AppTokens:
    """The tokens of one App. PyGithub asks for them, in a thread."""

    def __init__(self, settings: AppSettings, api_url: str) -> None:
        self._settings = settings
        self._api_url = api_url
        self._token = ""
        self._ends = 0.0
        self._lock = asyncio.Lock()

    def __repr__(self) -> str:
        return f"AppTokens({self._settings.id!r})"

    async def token(self) -> str:
        """One that is good for five minutes at least. PostdocError ``github_auth``, ``github_unreachable``."""
        async with self._lock:
            if time.time() > self._ends - SPARE_S:
                self._token, self._ends = await asyncio.to_thread(self._new)
            return self._token

    def _new(self) -> tuple[str, float]:
        key = read_private(
            Path(self._settings.key_file).expanduser(), "private key of the GitHub App", "github_app_key_file"
        )
        secrets.register(key)
        import github
        import jwt

        try:
            integration = github.GithubIntegration(
                auth=github.Auth.AppAuth(self._settings.id, key),
                base_url=self._api_url,
                timeout=TIMEOUT_S,
                retry=None,
            )
            made = integration.get_access_token(self._settings.installation or self._find(integration))
        except github.GithubException as exc:
            if exc.status >= 500:
                raise self._unreachable() from exc
            raise PostdocError(
                "github_auth",
                f"GitHub did not accept the App {self._settings.id} (status {exc.status}). Your commits are safe "
                "locally.",
                next="Check PostdocApp.github_app_id, github_app_key_file, github_installation_id, and where the App "
                "is installed.",
            ) from exc
        except (jwt.PyJWTError, ValueError, TypeError) as exc:  # the key is none
            if isinstance(exc, OSError):  # some of requests' errors are both
                raise self._unreachable() from exc
            raise PostdocError(
                "github_auth",
                "The file of PostdocApp.github_app_key_file does not hold a private key.",
                next="Download the App's private key again (PEM) and name that file.",
            ) from exc
        except OSError as exc:  # requests' errors are
            raise self._unreachable() from exc
        secrets.register(made.token)
        return made.token, made.expires_at.timestamp()

    @staticmethod
    def _unreachable() -> PostdocError:
        return PostdocError(
            "github_unreachable",
            "GitHub did not answer when the App asked for a token. Your commits are safe locally.",
            next="Try again in a moment.",
            retryable=True,
        )

    def _find(self, integration: Any) -> int:
        wanted = self._settings.owner.lower()
        found = list(integration.get_installations())
        for one in found:
            if str(one.raw_data.get("account", {}).get("login", "")).lower() == wanted:
                return int(one.id)
        if len(found) == 1 and not wanted:
            return int(found[0].id)
        raise PostdocError(
            "github_auth",
            f"The GitHub App is not installed for {self._settings.owner or 'exactly one account'}.",
            next="Install it there, or set PostdocApp.github_owner or github_installation_id.",
        )
