"""The server that has a session, and plain requests to it. The token stays in here."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import socket
import ssl
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from jupyterlab_postdoc.cli.problems import Problem
from jupyterlab_postdoc.cli.server import Server, named, running

Json = dict[str, Any]
TOKENS = ("JUPYTER_TOKEN", "JPY_API_TOKEN", "JUPYTERHUB_API_TOKEN")
"""What kernels and JupyterHub's servers are given, for a server whose runtime file has no token."""


class Lost(Exception):
    """There was no answer; there may be one later. Its text is a sentence."""


class Http:
    """Requests to one server, one at a time. ``url`` begins its links and holds nothing secret."""

    def __init__(self, server: Server) -> None:
        parts = urlsplit(server.url)
        self.where = server.where
        self.url = self.where.rstrip("/") + "/"
        self._host, self._port = parts.hostname or "", parts.port
        self._tls = parts.scheme == "https"
        self._local = server.local
        self._base = parts.path.rstrip("/") + "/postdoc/api/"
        self._headers = {"Accept": "application/json"}
        if server.token:
            self._headers["Authorization"] = f"token {server.token}"
        self._connection: http.client.HTTPConnection | None = None
        self._closed = False

    def get(self, path: str, timeout_s: float = 10.0) -> Any:
        """The JSON at ``path``. Raises Problem with a sentence, Lost when there is no answer."""
        connection = self._connection = self._connect(timeout_s)
        try:
            if self._closed:
                raise Lost("This is not followed any longer.")
            # A redirection is not followed: it would carry the token elsewhere.
            connection.request("GET", self._base + path, headers=self._headers)
            answer = connection.getresponse()
            body = answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise Lost(f"There is no answer from {self.where} ({type(error).__name__}).") from None
        finally:
            connection.close()
        if answer.status == 200:
            with contextlib.suppress(ValueError):
                return json.loads(body)
        raise self._refused(answer.status, body)

    def close(self) -> None:
        """From any thread: the request under way ends now."""
        self._closed = True
        sock = getattr(self._connection, "sock", None)
        if sock is not None:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def _connect(self, timeout_s: float) -> http.client.HTTPConnection:
        if not self._tls:
            return http.client.HTTPConnection(self._host, self._port, timeout=timeout_s)
        # A certificate that somebody made for their own machine is signed by nobody.
        context = ssl._create_unverified_context() if self._local else ssl.create_default_context()
        return http.client.HTTPSConnection(self._host, self._port, timeout=timeout_s, context=context)

    def _refused(self, status: int, body: bytes) -> Exception:
        told: Any = None
        with contextlib.suppress(ValueError):
            told = json.loads(body or b"null")
        coded = isinstance(told, dict) and {"code", "error"} <= told.keys()
        if status in (401, 403) or 300 <= status < 400:
            what = "does not accept the token" if "Authorization" in self._headers else "wants a token"
            return Problem(
                f"The server at {self.where} {what}.",
                next="Give the right one, from a variable or a file: Follow(chat, url=…, token=…).",
                code="unauthorized",
            )
        if coded and told["code"] == "not_found":
            return Problem(str(told["error"]), next=str(told.get("next") or ""), code="not_found")
        if status == 404:
            return Problem(
                f"The server at {self.where} runs without Postdoc.",
                next="Install it into the environment of that server: pip install jupyterlab-postdoc.",
                code="missing",
            )
        return Lost(str(told["error"]) if coded else f"The server at {self.where} answers with status {status}.")


def servers(url: str | None = None, token: str | None = None) -> list[Server]:
    """Where a session may be: at ``url`` or ``POSTDOC_URL`` only; else in this user's servers, the one that runs this
    kernel first, then the nearest to the working directory. Raises Problem when there is none.
    """
    if address := url or os.environ.get("POSTDOC_URL"):
        return [_with_token(named(address, token), token)]
    found = running(Path.cwd())
    parent, around = os.environ.get("JPY_PARENT_PID", ""), os.environ.get("JUPYTER_SERVER_URL", "").rstrip("/")
    if around and all(server.url.rstrip("/") != around for server in found):
        with contextlib.suppress(Problem):  # a kernel on another machine than its server
            found.append(named(around, token))
    found.sort(key=lambda server: (str(server.pid) != parent, server.url.rstrip("/") != around))
    if not found:
        raise Problem(
            "No Jupyter server of yours runs here.",
            next="Start one with `jupyter lab`, or name it: Follow(chat, url=…, token=…). Then run this cell again.",
            code="no_connection",
        )
    return [_with_token(server, token) for server in found]


def _with_token(server: Server, token: str | None) -> Server:
    known = server.token if server.local or token is None else ""
    given = token or known or next((os.environ[name] for name in TOKENS if server.local and os.environ.get(name)), "")
    return replace(server, token=given.strip())  # a file's last line ends with a line break


def locate(chat: str, url: str | None = None, token: str | None = None) -> tuple[Http, Json]:
    """The server that has the session, and what it says of it. Raises Problem, or Lost when one does not answer."""
    troubles: list[Exception] = []
    for server in servers(url, token):
        http_ = Http(server)
        try:
            found: Json = http_.get(f"chats/{quote(chat, safe='')}")
        except (Problem, Lost) as trouble:
            troubles.append(trouble)
        else:
            return http_, found
    # The most hopeful trouble: a server that may come back, then one that only lacks something, then "not here".
    order = [Lost, "unauthorized", "not_found", "missing"]
    raise min(troubles, key=lambda one: order.index(Lost if isinstance(one, Lost) else getattr(one, "code", "missing")))
