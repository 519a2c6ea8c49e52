"""GitHub, and GitHub Enterprise Server: accounts, repositories, pull requests and what is said about them.

All calls run in four threads of our own, each with its own client (github_line.py: PyGithub is not made to be shared);
what comes back is converted there (github_read.py), so nothing blocks the event loop later. Failures become sentences
in github_errors.py. A write is sent once; when its answer is lost, that is said, and the caller looks what was done.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from jupyterlab_postdoc import secrets
from jupyterlab_postdoc.errors import PostdocError
from jupyterlab_postdoc.forge.credentials import Credential, Credentials, given
from jupyterlab_postdoc.forge.github_address import address
from jupyterlab_postdoc.forge.github_errors import Call, unreachable
from jupyterlab_postdoc.forge.github_forge import GitHubForge as GitHubForge
from jupyterlab_postdoc.forge.remote import Account, Rate

if TYPE_CHECKING:
    from jupyterlab_postdoc.forge.github_line import Line

T = TypeVar("T")
WORKERS = 4
TOTAL_S = 34.0
"""No call takes longer, whatever GitHub does."""
LINES = 8
"""Accounts whose connections a thread keeps open."""
STATES = 256


@dataclass(slots=True)
class State:
    """What is known of a token's account; gone when the token changes."""

    account: Account | None = None
    rate: Rate | None = None


class GitHub:
    """One per server."""

    def __init__(
        self,
        credentials: Credentials,
        *,
        api_url: str,
        git_url: str = "",
        throttle: bool = True,
        owner: str = "",
    ) -> None:
        """``throttle``: leave time between requests. ``owner``: where a GitHub App is installed, when it is known."""
        self.address = address(api_url, git_url)
        self.owner = owner
        self._credentials = credentials
        self._throttle = throttle
        self._pool = ThreadPoolExecutor(WORKERS, thread_name_prefix="postdoc-github")
        self._own = threading.local()
        self._lines: weakref.WeakSet[Line] = weakref.WeakSet()
        self._states: OrderedDict[str, State] = OrderedDict()
        self._writing: weakref.WeakValueDictionary[str, asyncio.Lock] = weakref.WeakValueDictionary()
        self._closed = False
        _quiet()

    @property
    def host(self) -> str:
        """The name of the web pages: ``github.com``."""
        return self.address.host

    @property
    def git_host(self) -> str:
        """``host[:port]`` that a push may go to."""
        return self.address.git_host

    async def of(self, user: str) -> GitHubForge | None:
        """As this user may use it; None: not connected. PostdocError ``github_auth`` when the connection is broken."""
        credential = await self._credentials.of(user)
        return None if credential is None else GitHubForge(self, credential)

    async def connect(self, token: str) -> GitHubForge:
        """With a token that is not kept, to try it out."""
        return GitHubForge(self, given(token))

    async def close(self) -> None:
        """No call begins any more; those that run end by themselves within seconds."""
        self._closed = True
        self._pool.shutdown(wait=False, cancel_futures=True)
        for line in list(self._lines):
            line.close()

    async def state(self, credential: Credential) -> State:
        """What is known of the account of the credential's token."""
        return self._state(await credential.token())

    def _state(self, token: str) -> State:
        key = hashlib.sha256(token.encode()).hexdigest()
        state = self._states.setdefault(key, State())
        self._states.move_to_end(key)
        while len(self._states) > STATES:
            self._states.popitem(last=False)
        return state

    async def call(self, credential: Credential, call: Call, work: Callable[[Line], T]) -> T:
        """Run ``work`` in one of our threads. PostdocError, also after 34 seconds; writes to a repository wait for
        each other.
        """
        loop = asyncio.get_running_loop()
        ends = loop.time() + TOTAL_S
        lock = self._lock(call.repo) if call.write else None
        try:
            async with asyncio.timeout_at(ends):
                token = await credential.token()
                if lock is not None:
                    await lock.acquire()
        except TimeoutError as exc:
            raise unreachable(call, self.host, "timeout", "other work with it takes too long") from exc
        try:
            if self._closed:
                raise unreachable(call, self.host, "timeout", "Postdoc is stopping")
            future = self._pool.submit(self._work, token, self._state(token), call, work)
        except (PostdocError, RuntimeError):
            if lock is not None:
                lock.release()
            raise
        if lock is not None:
            # Not when the caller stops to wait: what a thread still sends must not be overtaken.
            future.add_done_callback(lambda _: _soon(loop, lock))
        try:
            async with asyncio.timeout_at(ends):
                return await asyncio.wrap_future(future)
        except TimeoutError as exc:
            raise unreachable(call, self.host, "timeout", "no answer in time") from exc

    def _lock(self, repo: str) -> asyncio.Lock:
        return self._writing.setdefault(repo.lower(), asyncio.Lock())

    def _work(self, token: str, state: State, call: Call, work: Callable[[Line], T]) -> T:
        """In a worker thread."""
        from github import GithubException
        from requests import RequestException
        from urllib3.exceptions import HTTPError

        from jupyterlab_postdoc.forge import github_errors as errors

        line = self._line(token)
        line.start()
        try:
            return work(line)
        except (
            *(GithubException, RequestException, HTTPError, errors.Moved, errors.Elsewhere, errors.Unreadable),
            *(AssertionError, RuntimeError, ValueError, LookupError, TypeError, AttributeError, OSError),
        ) as exc:
            raise errors.of_exception(call, self.host, exc) from None
        finally:
            if line.rate is not None:
                state.rate = Rate(*line.rate)

    def _line(self, token: str) -> Line:
        """This thread's connection with this token."""
        from jupyterlab_postdoc.forge.github_line import Line

        lines: OrderedDict[str, Line] = self._own.__dict__.setdefault("lines", OrderedDict())
        if token not in lines:
            lines[token] = Line(self.address, token, throttle=self._throttle)
            self._lines.add(lines[token])
        lines.move_to_end(token)
        while len(lines) > LINES:
            lines.popitem(last=False)[1].close()
        return lines[token]


def _soon(loop: asyncio.AbstractEventLoop, lock: asyncio.Lock) -> None:
    if not loop.is_closed():
        loop.call_soon_threadsafe(lock.release)


def _quiet() -> None:
    """At DEBUG these libraries write whole bodies; what they write at all is cleaned of secrets."""
    loggers = [logging.getLogger(name) for name in ("github", "urllib3", "requests")]
    for logger in loggers:
        if logger.getEffectiveLevel() < logging.INFO:
            logger.setLevel(logging.INFO)
    secrets.guard_logs(*loggers, *map(logging.getLogger, _DEEPER))


_DEEPER = ("github.Requester", "github.GithubRetry", "urllib3.connectionpool", "urllib3.util.retry")
"""A filter sees what its own logger is told only, not what those below it are."""
