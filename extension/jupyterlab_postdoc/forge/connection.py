"""Who is connected to GitHub, with which rights, what is missing and how to get it.

GitHub is asked at most once a minute for each credential, and nobody waits long for its answer: whoever asks while it
is still on its way is told so, and the next one finds it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from jupyterlab_postdoc.errors import PostdocError
from jupyterlab_postdoc.forge.credentials import Choices, Credential, Credentials, Where, given
from jupyterlab_postdoc.forge.gh import GhLogin
from jupyterlab_postdoc.forge.github_address import Address
from jupyterlab_postdoc.forge.remote import Account, Owner, Rate, RemoteForge
from jupyterlab_postdoc.forge.rights import FINE_GRAINED, kind_of, missing, rights
from jupyterlab_postdoc.protocol import iso

T = TypeVar("T")
KEEP_S = 60.0
HEALTH_S = 2.0
PATIENCE_S = 8.0
TRY_OUT_S = 20.0
ASK_S = 60.0
SOURCES = {
    "stored": "a token that you have stored here",
    "keyring": "a token in the system's keyring",
    "gh": "the login of `gh`",
    "file": "the server's token file",
    "environment": "the token in the server's environment",
    "app": "the server's GitHub App",
}
NOT_CONNECTED = "Not connected. Repositories are kept on this machine."
HOW_TO = "Connect with `jupyter postdoc github connect` or in the panel's settings; see docs/github.md."


class GitHubLike(Protocol):
    """What is needed of forge/github.py."""

    @property
    def host(self) -> str: ...

    @property
    def address(self) -> Address: ...

    async def of(self, user: str) -> RemoteForge | None: ...

    async def connect(self, token: str) -> RemoteForge: ...


@dataclass(frozen=True)
class Look:
    """What GitHub answered. ``problem`` None: all is well."""

    account: Account | None = None
    owners: tuple[Owner, ...] = ()
    rights: tuple[dict[str, Any], ...] = ()
    missing: tuple[str, ...] = ()
    rate: Rate | None = None
    problem: PostdocError | None = None


@dataclass
class _Kept:
    """A value that is on its way, or came at ``at`` (monotonic seconds)."""

    task: asyncio.Task[Any]
    at: float = field(default_factory=time.monotonic)


@dataclass
class Connection:
    """The connection of every user of this server. ``owner``, ``private``, ``publish`` and ``history`` are
    the settings' defaults.
    """

    github: GitHubLike
    credentials: Credentials
    owner: str = ""
    private: bool = True
    publish: str = "auto"
    history: str = "full"
    _kept: dict[Any, _Kept] = field(default_factory=dict, repr=False)

    @property
    def token_page(self) -> str:
        """Where a fine-grained token is made."""
        return f"{self.github.address.pages}/settings/personal-access-tokens/new"

    # --- telling ---

    async def describe(self, user: str, *, patience_s: float = PATIENCE_S) -> dict[str, Any]:
        """What ``GET api/github`` answers. Nobody waits longer than ``patience_s`` for GitHub."""
        deadline = time.monotonic() + patience_s
        credential, look = await self._look(user, deadline)
        choices = await self._within("choices", self.credentials.choices, deadline)
        return self._shown(user, credential, look, choices or Choices(True, False, GhLogin(False)))

    async def part(self, user: str) -> dict[str, Any]:
        """The part ``github`` of ``api/health``, within two seconds: ok unless a connection that there is fails."""
        credential, look = await self._look(user, time.monotonic() + HEALTH_S)
        if credential is None and look.problem is None:
            return {"ok": True, "message": NOT_CONNECTED, "next": HOW_TO, "provider": "local"}
        source = credential.source if credential else None
        told: dict[str, Any] = {"provider": "github", "host": self.github.host, "source": source}
        if look.problem is not None:
            waits = look.problem.code in ("github_unreachable", "github_rate_limited")
            return told | {"ok": waits, "message": look.problem.message, "next": look.problem.next}
        assert look.account is not None
        assert credential is not None
        known = [one["name"] for one in look.rights if one["ok"]]
        may = f" (rights: {', '.join(known)})" if known else ""
        who = f"as {look.account.login}" if look.account.kind == "user" else f"for {look.account.login}"
        message = f"Connected to {self.github.host} {who}{may}, by {SOURCES[credential.source]}."
        next = {"next": " ".join(look.missing)} if look.missing else {}
        return (
            told | {"ok": True, "message": message, "login": look.account.login, "missing": list(look.missing)} | next
        )

    def _shown(self, user: str, credential: Credential | None, look: Look, choices: Choices) -> dict[str, Any]:
        account, problem, rate = look.account, look.problem, look.rate
        return {
            "connected": credential is not None and (problem is None or problem.code != "github_auth"),
            "host": self.github.host,
            "apiUrl": self.github.address.api,
            "tokenUrl": self.token_page,
            "account": account
            and {
                "login": account.login,
                "name": account.name,
                "kind": account.kind,
                "url": f"{self.github.address.pages}/{account.login}",
            },
            "source": credential and credential.source,
            "mine": credential is not None and credential.owner == user,
            "choices": {
                "file": choices.file,
                "keyring": choices.keyring,
                "gh": {"available": choices.gh.available, "login": choices.gh.login},
            },
            "owners": [{"login": o.login, "kind": o.kind, "mayCreate": o.may_create} for o in look.owners],
            "rights": list(look.rights)
            or [{"name": name, "ok": None, "needed": needed} for name, needed in FINE_GRAINED],
            "missing": list(look.missing),
            "problem": problem and {"code": problem.code, "error": problem.message, "next": problem.next},
            "rate": rate and {"limit": rate.limit, "remaining": rate.remaining, "resetAt": iso(rate.reset_at)},
            "defaults": {
                "owner": self.owner or (account.login if account else ""),
                "private": self.private,
                "publish": self._when(credential),
                "history": self.history,
            },
        }

    def _when(self, credential: Credential | None) -> str:
        """Whether studies are published at their ``end``, or when somebody does ``ask`` for it."""
        if self.publish != "auto":
            return self.publish
        return "ask" if credential is not None and credential.source == "environment" else "end"

    # --- connecting ---

    async def store(self, user: str, token: str, *, where: Where = "file") -> dict[str, Any]:
        """Try the token out, then keep it. PostdocError (and nothing is changed) when GitHub does not accept it."""
        token = token.strip()
        checked_form = given(token)
        await checked_form.token()
        await self._try_out(await self.github.connect(token))
        await self.credentials.store(user, token, where=where)
        self._kept.clear()
        return await self.describe(user)

    async def use_gh(self, user: str) -> dict[str, Any]:
        """Try the login of `gh` out, then take it from now on. PostdocError as :meth:`store`."""
        token = await self.credentials.gh_token()
        await self._try_out(await self.github.connect(token))
        await self.credentials.use_gh(user)
        self._kept.clear()
        return await self.describe(user)

    async def forget(self, user: str) -> dict[str, Any]:
        """Remove what the user has connected; the server's own connection stays."""
        await self.credentials.forget(user)
        self._kept.clear()
        return await self.describe(user)

    async def close(self) -> None:
        """End what is still on its way."""
        tasks = [kept.task for kept in self._kept.values()]
        self._kept.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _try_out(self, forge: RemoteForge) -> Account:
        try:
            async with asyncio.timeout(TRY_OUT_S):
                return await forge.whoami()
        except TimeoutError as exc:
            raise _silent() from exc

    # --- asking ---

    async def _look(self, user: str, deadline: float) -> tuple[Credential | None, Look]:
        try:
            credential = await self.credentials.of(user)
        except PostdocError as problem:
            return None, Look(problem=problem)
        if credential is None:
            return None, Look()

        async def ask() -> Look:
            return await self._ask(user, credential)

        look = await self._within(credential.key, ask, deadline)
        return credential, look or Look(problem=_silent())

    async def _ask(self, user: str, credential: Credential) -> Look:
        """All that there is to know: three requests at most."""
        try:
            async with asyncio.timeout(ASK_S):
                return await self._asked(user, credential)
        except TimeoutError:
            return Look(problem=_silent())

    async def _asked(self, user: str, credential: Credential) -> Look:
        try:
            token = await credential.token()
            forge = await self.github.of(user)
            if forge is None:  # was forgotten in between
                return Look()
            account = await forge.whoami()
        except PostdocError as problem:
            return Look(problem=problem)
        problem_, owners, rate = None, [Owner(account.login, "user")] if account.kind == "user" else [], None
        try:
            owners = await forge.owners()
            rate = await forge.rate()
        except PostdocError as problem:
            if problem.code != "github_forbidden":  # a token need not be allowed to list organisations
                problem_ = problem
        kind = kind_of(token, account)
        lacks = missing(account, kind, owners, owner=self.owner, private=self.private, now=time.time())
        return Look(account, tuple(owners), tuple(rights(account, kind)), tuple(lacks), rate, problem_)

    async def _within(self, key: Any, ask: Callable[[], Awaitable[T]], deadline: float) -> T | None:
        """The kept answer, or a new one; None when it is not there before the deadline (it goes on coming)."""
        kept = self._kept.get(key)
        if kept is None or (kept.task.done() and time.monotonic() - kept.at > KEEP_S):

            async def run() -> T:
                answer = await ask()
                if (mine := self._kept.get(key)) is not None and mine.task is asyncio.current_task():
                    mine.at = time.monotonic()
                return answer

            kept = self._kept[key] = _Kept(asyncio.create_task(run()))
        await asyncio.wait({kept.task}, timeout=max(0.0, deadline - time.monotonic()))
        if not kept.task.done():
            return None
        if kept.task.cancelled() or kept.task.exception() is not None:
            self._kept.pop(key, None)
        answer: T = kept.task.result()
        return answer


def _silent() -> PostdocError:
    return PostdocError(
        "github_unreachable",
        "GitHub did not answer yet. Work goes on locally.",
        next="Look again in a moment.",
        retryable=True,
    )
