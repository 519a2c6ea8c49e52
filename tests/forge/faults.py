"""A reverse proxy that does what GitHub does on a bad day, by script.

    with Faults(hub.api_url) as faults:
        faults.rule("POST", r"/user/repos$", after(502))           # carried out, and the answer is lost
        faults.rule("GET", r"/user$", status(401, {}, {"message": "Bad credentials"}), times=99)
        faults.requests                                             # every request, in order

Addresses of the upstream server in its answers become the proxy's own, as GitHub's answers name GitHub.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import socket
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "host", "accept-encoding"}


@dataclass(frozen=True)
class Asked:
    """One request as it arrived."""

    method: str
    path: str
    authorization: str
    body: bytes
    at: float = field(default_factory=time.monotonic)

    def json(self) -> Any:
        """The body, decoded."""
        return json.loads(self.body)


@dataclass(frozen=True)
class Action:
    """What happens to a request. ``forward``: it is carried out first. ``code`` 0: the connection is cut."""

    forward: bool = False
    code: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    wait_s: float = 0.0


def status(code: int, headers: Mapping[str, str] | None = None, body: Any = None) -> Action:
    """An answer instead of the upstream's; a str or bytes body is sent as it is, anything else as JSON."""
    raw = body if isinstance(body, bytes) else body.encode() if isinstance(body, str) else json.dumps(body).encode()
    return Action(code=code, headers={"Content-Type": "application/json", **(headers or {})}, body=raw)


def after(code: int) -> Action:
    """Carried out, but answered with this status (502: the answer was lost on its way)."""
    return Action(forward=True, code=code, headers={"Content-Type": "text/html"}, body=b"<h1>Bad Gateway</h1>")


def after_cut() -> Action:
    """Carried out; the connection is cut before the answer."""
    return Action(forward=True)


def hang(seconds: float) -> Action:
    """No answer for so long, then the connection is cut."""
    return Action(wait_s=seconds)


def cut() -> Action:
    """The connection is cut at once."""
    return Action()


def html() -> Action:
    """An error page of a proxy, as 200."""
    return Action(code=200, headers={"Content-Type": "text/html"}, body=b"<html><h1>Sign in to the network</h1></html>")


def redirect(url: str, code: int = 307) -> Action:
    """A renamed repository."""
    body = {"message": "Moved Permanently", "url": url, "documentation_url": "https://docs.github.com"}
    return status(code, {"Location": url}, body)


def limit_primary(reset_in_s: float) -> Action:
    """The hourly limit is used up."""
    reset = str(int(time.time() + reset_in_s))
    headers = {"x-ratelimit-limit": "5000", "x-ratelimit-remaining": "0", "x-ratelimit-reset": reset}
    return status(403, headers, {"message": "API rate limit exceeded for user ID 1."})


def limit_secondary(retry_after_s: int = 60) -> Action:
    """Too many writes at once."""
    text = "You have exceeded a secondary rate limit. Please wait a few minutes before you try again."
    return status(403, {"Retry-After": str(retry_after_s)}, {"message": text})


@dataclass
class _Rule:
    method: str
    path: re.Pattern[str]
    action: Action
    left: int


class Faults:
    """See the module. ``prefix`` is a path below which the upstream appears (``/api/v3``: an Enterprise Server)."""

    def __init__(self, upstream: str, *, prefix: str = "") -> None:
        self.upstream = upstream
        self.prefix = prefix
        self.requests: list[Asked] = []
        self.headers: dict[str, str] = {}
        """Headers that every answer of the upstream gets in addition, or instead of its own."""
        self.on_request: Callable[[Asked], None] | None = None
        self._rules: list[_Rule] = []
        self._lock = threading.Lock()
        self._released = threading.Event()
        self._server = _Server(self)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    @property
    def url(self) -> str:
        """The address of the API."""
        return f"http://127.0.0.1:{self._server.server_address[1]}{self.prefix}"

    def rule(self, method: str, path: str, action: Action, times: int = 1) -> None:
        """The next ``times`` requests whose path (without the prefix, with the query) matches get this action."""
        with self._lock:
            self._rules.append(_Rule(method, re.compile(path), action, times))

    def release(self) -> None:
        """What hangs now hangs no longer; its connections are cut."""
        hanging, self._released = self._released, threading.Event()
        hanging.set()

    def clear(self) -> None:
        """Forget rules and requests."""
        with self._lock:
            self._rules.clear()
            self.requests.clear()

    def asked(self, method: str, path: str = "") -> list[Asked]:
        """The requests of this method whose path matches."""
        return [one for one in self.requests if one.method == method and re.search(path, one.path)]

    def _take(self, asked: Asked) -> Action | None:
        with self._lock:
            self.requests.append(asked)
            for rule in self._rules:
                if rule.left > 0 and rule.method == asked.method and rule.path.search(asked.path):
                    rule.left -= 1
                    return rule.action
        return None

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Safe to call twice."""
        self._released.set()
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, faults: Faults) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.faults = faults

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no news."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else each answer waits 40 ms between its head and its body
    server: _Server

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing on the terminal."""

    def _any(self) -> None:
        faults = self.server.faults
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = self.path.removeprefix(faults.prefix) if faults.prefix else self.path
        asked = Asked(self.command, path, self.headers.get("Authorization", ""), body)
        if faults.on_request is not None:
            faults.on_request(asked)
        action = faults._take(asked)
        if faults.prefix and not self.path.startswith(faults.prefix):
            action = status(404, {}, {"message": "Not Found"})
        if action is None:
            self._answer(*self._forward(path, body))
            return
        if action.forward:
            self._forward(path, body)
        if action.wait_s:
            faults._released.wait(action.wait_s)
        if action.code:
            self._answer(action.code, dict(action.headers), action.body)
        else:
            self.close_connection = True
            with contextlib.suppress(OSError):
                self.connection.shutdown(socket.SHUT_RDWR)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = _any

    def _forward(self, path: str, body: bytes) -> tuple[int, dict[str, str], bytes]:
        faults = self.server.faults
        upstream = urlsplit(faults.upstream)
        connection = http.client.HTTPConnection(upstream.hostname or "", upstream.port, timeout=60)
        headers = {name: value for name, value in self.headers.items() if name.lower() not in HOP}
        try:
            connection.request(self.command, path, body or None, headers)
            answer = connection.getresponse()
            own = f"http://{self.headers.get('Host')}{faults.prefix}"
            theirs = {name: value for name, value in answer.getheaders() if name.lower() not in HOP}
            text = answer.read().replace(faults.upstream.encode(), own.encode())
            theirs = {name: value.replace(faults.upstream, own) for name, value in theirs.items()}
            given = {name.lower() for name in faults.headers}
            kept = {name: value for name, value in theirs.items() if name.lower() not in given}
            return answer.status, {**kept, **faults.headers}, text
        finally:
            connection.close()

    def _answer(self, code: int, headers: Mapping[str, str], body: bytes) -> None:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.send_response(code)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)
