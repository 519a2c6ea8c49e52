"""The connection to GitHub, in a worker thread: PyGithub with a patience of ours. Import it in that thread only.

PyGithub signs, throttles and checks requests. What it repeats by itself is narrowed here: reads only, a few times,
within the time of the call; a redirect is never followed blindly (PyGithub would lose the query, or the write).
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

from github import Auth, Github, GithubException
from github.GithubRetry import GithubRetry
from github.Requester import Requester
from requests import Timeout
from urllib3.connectionpool import ConnectionPool
from urllib3.response import HTTPResponse

from jupyterlab_postdoc.forge.github_address import Address
from jupyterlab_postdoc.forge.github_errors import Elsewhere, Moved, Unreadable
from jupyterlab_postdoc.forge.github_said import host_in

TIMEOUT_S = 10
"""For one answer to begin, and between two pieces of it."""
CALL_S = 30.0
"""For a call with all its requests and repetitions."""
LONGEST_WAIT_S = 5.0
"""When GitHub asks for more, the caller is told."""
PAGE = 100
MAX_PAGES = 20
HOPS = 3
_READS = frozenset({"GET", "HEAD"})
_ODD = frozenset({202, 301, 302, 303, 307, 308})
_clock = threading.local()


def _left() -> float:
    """Seconds that the call of this thread still has."""
    return float(getattr(_clock, "ends", 0.0)) - time.monotonic()


class Patience(GithubRetry):
    """Reads are tried four times while the call has time; writes once, unless the connection was never made."""

    def __init__(self, **kwargs: Any) -> None:
        settings: dict[str, Any] = {
            "total": 3,
            "backoff_factor": 0.2,
            "allowed_methods": _READS,
            "max_rate_limit_wait": LONGEST_WAIT_S,
        }
        super().__init__(**{**settings, **kwargs})

    def is_retry(self, method: str, status_code: int, has_retry_after: bool = False) -> bool:
        """Also for redirects, which :meth:`increment` raises."""
        odd = status_code in _ODD and (status_code != 202 or method in _READS)
        return odd or super().is_retry(method, status_code, has_retry_after)

    def increment(  # type: ignore[override]
        self,
        method: str | None = None,
        url: str | None = None,
        response: HTTPResponse | None = None,
        error: Exception | None = None,
        _pool: ConnectionPool | None = None,
        _stacktrace: TracebackType | None = None,
    ) -> Any:
        """Raise what is not to be repeated."""
        if error is not None and method not in _READS and not self._is_connection_error(error):
            raise error
        if response is not None:
            asked = self.get_retry_after(response) or 0.0
            if response.status in _ODD or asked > LONGEST_WAIT_S or _left() < TIMEOUT_S + asked:
                data = _decoded(self.get_content(response, url or ""))
                headers = {name.lower(): value for name, value in response.headers.items()}
                raise Requester.createException(response.status, headers, data)
        elif error is not None and _left() < TIMEOUT_S:
            raise error
        return super().increment(method, url, response, error, _pool, _stacktrace)


def _decoded(content: bytes) -> dict[str, Any]:
    try:
        data = json.loads(content)
    except ValueError:
        return {}
    return data if isinstance(data, dict) else {}


class Line:
    """One account's connection in one thread. What it raises, ``github_errors.of_exception`` reads."""

    def __init__(self, address: Address, token: str, *, throttle: bool) -> None:
        """``throttle``: leave time between requests, as GitHub asks for."""
        self._address = address
        self._github = Github(
            base_url=address.api,
            auth=Auth.Token(token),
            timeout=TIMEOUT_S,
            per_page=PAGE,
            retry=Patience(),
            pool_size=1,
            seconds_between_requests=0.25 if throttle else None,
            seconds_between_writes=1.0 if throttle else None,
            user_agent="jupyterlab-postdoc",
        )
        self._requester = self._github.requester

    @staticmethod
    def start() -> None:
        """A call of this thread begins."""
        _clock.ends = time.monotonic() + CALL_S

    @property
    def rate(self) -> tuple[int, int, float] | None:
        """Limit, remaining, UNIX seconds of the reset, as the last answer told."""
        remaining, limit = self._requester.rate_limiting
        reset = self._requester.rate_limiting_resettime
        return (limit, remaining, float(reset)) if limit > 0 and reset else None

    def close(self) -> None:
        """End its connections."""
        self._github.close()

    def _ask(self, verb: str, path: str, query: Mapping[str, Any] | None, body: Any = None) -> tuple[Any, Any]:
        if _left() <= 0:
            raise Timeout("the call has used up its time")
        return self._requester.requestJsonAndCheck(verb, path, parameters=dict(query or {}), input=body)

    def ask(self, path: str, query: Mapping[str, Any] | None = None) -> tuple[dict[str, str], Any]:
        """GET: the headers (names in lower case) and the decoded answer; follows renamed repositories."""
        for _ in range(HOPS):
            try:
                headers, data = self._ask("GET", path, query)
            except GithubException as exc:
                if not 300 <= exc.status < 400:
                    raise
                path, query = self._location(exc), None
                continue
            if isinstance(data, dict) and set(data) <= {"data", "url"} and isinstance(data.get("data"), str):
                raise Unreadable  # PyGithub's way to hand over what is not JSON
            return headers, data
        raise Unreadable

    def get(self, path: str, query: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """GET of one object."""
        data = self.ask(path, query)[1]
        if not isinstance(data, dict):
            raise Unreadable
        return data

    def find(self, path: str, *, absent: frozenset[int] = frozenset({404})) -> dict[str, Any] | None:
        """GET of one object; None for these statuses."""
        try:
            return self.get(path)
        except GithubException as exc:
            if exc.status in absent:
                return None
            raise

    def pages(
        self, path: str, query: Mapping[str, Any] | None = None, *, key: str = "", most: int = MAX_PAGES
    ) -> Iterator[dict[str, Any]]:
        """The objects of a list, page by page; ``key`` when the list is a field of the answer."""
        for number in range(1, most + 1):
            headers, data = self.ask(path, {**(query or {}), "per_page": PAGE, "page": number})
            found = data.get(key) if key and isinstance(data, dict) else data
            if not isinstance(found, list):
                raise Unreadable
            yield from (one for one in found if isinstance(one, dict))
            if len(found) < PAGE and 'rel="next"' not in str(headers.get("link", "")):
                return

    def send(self, verb: str, path: str, body: Any, *, repo: str = "") -> dict[str, Any]:
        """A write, sent once. :class:`Moved` when the repository answers from another address."""
        try:
            data = self._ask(verb, path, None, body)[1]
        except GithubException as exc:
            if 300 <= exc.status < 400:
                raise Moved(self._new_name(repo)) from exc
            raise
        if not isinstance(data, dict) or isinstance(data.get("data"), str):
            raise Unreadable
        return data

    def _new_name(self, repo: str) -> str:
        found = self.find(f"/repos/{repo}") if repo else None
        name = str((found or {}).get("full_name") or "")
        return name if name.lower() != repo.lower() else ""

    def _location(self, exc: GithubException) -> str:
        """Where a redirect leads, below our API; :class:`Elsewhere` for another host: the token stays here."""
        target = str((exc.headers or {}).get("location") or "")
        if target.startswith("/") and not target.startswith("//"):
            return self._below(target)
        if not self._address.is_ours(target):
            raise Elsewhere(host_in(target))
        at = urlsplit(target)
        return self._below(at.path + (f"?{at.query}" if at.query else ""))

    def _below(self, path: str) -> str:
        prefix = urlsplit(self._address.api).path.rstrip("/")
        if prefix and not path.startswith(f"{prefix}/"):
            raise Unreadable
        return path.removeprefix(prefix)
