"""A git server as GitHub's is, for tests: smart HTTP around ``git http-backend``, Basic auth, bare repositories.

    with GitHttp(tmp_path, token) as server:
        server.create("ana/owls")                       # or auto_create=True: made by the first request
        ...                                             # push to f"{server.url}/ana/owls.git"
        server.bare("ana/owls")                         # the repository on the disk
        server.reject("ana/owls", GH001)                # a pre-receive hook that refuses in GitHub's words
        server.requests                                 # what was asked, in order

Threads of the test's own process; each request runs one ``git http-backend``. Only user ``x-access-token`` with one of
``tokens`` is let in, for reading too (GitHub's private repositories).
"""

from __future__ import annotations

import base64
import contextlib
import os
import re
import shlex
import shutil
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import unquote, urlsplit

USER = "x-access-token"
_ADDRESS = re.compile(r"/([\w.-]+/[\w.-]+?)(?:\.git)?/(?:info/refs|git-(?:upload|receive)-pack)")

GH001 = """\
error: Trace: 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef
error: See https://gh.io/lfs for more information.
error: File data/x.parquet is 182.40 MB; this exceeds GitHub's file size limit of 100.00 MB
error: GH001: Large files detected. You may want to try Git Large File Storage - https://git-lfs.github.com.
"""
GH006 = """\
error: GH006: Protected branch update failed for refs/heads/main.
error: At least 1 approving review is required by reviewers with write access.
"""
GH013_RULE = """\
error: GH013: Repository rule violations found for refs/heads/main.
Review all repository rules at https://github.com/ana/owls/rules?ref=refs%2Fheads%2Fmain

- Changes must be made through a pull request.
"""
GH013_SECRET = """\
error: GH013: Repository rule violations found for refs/heads/agent/owls/12345678.

- GITHUB PUSH PROTECTION
  —————————————————————————————————————————
    Resolve the following violations before pushing again

    - Push cannot contain secrets

     (?) Learn how to resolve a blocked push
     https://docs.github.com/code-security/secret-scanning/working-with-push-protection

      —— Amazon AWS Access Key ID ——————————————————————————
       locations:
         - commit: 8728dbe67ac3fd2c1b3f2e7e8a2f5f9dbd8ddc11
           path: notebook.py:14

       (?) To push, remove secret from commit(s) or follow this URL to allow the secret.
       https://github.com/ana/owls/security/secret-scanning/unblock-secret/2f3d
"""

_PROC_RECEIVE = """\
#!{python}
import sys

def read():
    lines = []
    while size := int(sys.stdin.buffer.read(4), 16):
        lines.append(sys.stdin.buffer.read(size - 4))
    return lines

def write(*lines):
    for line in lines:
        sys.stdout.buffer.write(b"%04x" % (len(line) + 4) + line)
    sys.stdout.buffer.write(b"0000")
    sys.stdout.buffer.flush()

read()
write(b"version=1\\0\\n")
refs = [line.split()[2] for line in read()]
write(*(b"ng " + ref + b" " + {reason!r}.encode() for ref in refs))
"""


@dataclass(frozen=True, slots=True)
class Asked:
    """One request. ``user`` is what Basic auth named (empty: none), ``status`` what was answered."""

    method: str
    path: str
    query: str
    user: str
    authorization: str
    status: int

    @property
    def is_push(self) -> bool:
        """Whether objects were sent."""
        return self.method == "POST" and self.path.endswith("/git-receive-pack")


class GitHttp:
    """See the module. Starts when it is entered; ``close()`` (or leaving) ends its threads and programs."""

    def __init__(
        self, folder: Path, token: str = "", *, auto_create: bool = False, tls: ssl.SSLContext | None = None
    ) -> None:
        self.root = folder / "githttp"
        self.root.mkdir(parents=True, exist_ok=True)
        self.tokens = {token} if token else set()
        self.auto_create = auto_create
        self.requests: list[Asked] = []
        self.forbidden: set[str] = set()
        """Repositories whose pushes are answered 403."""
        self.redirect_to = ""
        """Everything is redirected below this address."""
        self.delay_s = 0.0
        """Before a push is taken."""
        self.lose_answers = 0
        """So many of the next pushes are carried out, and the connection is cut instead of an answer."""
        self.on_push: Callable[[str], None] | None = None
        """Called with ``ana/owls`` after each push that was carried out (also one whose answer is lost)."""
        self.scheme = "http" if tls is None else "https"
        self._server = _Server(self)
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._running: set[subprocess.Popen[bytes]] = set()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Safe to call twice."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        for process in list(self._running):
            process.kill()
        self._server.server_close()

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    @property
    def host(self) -> str:
        """As a push may go to: ``127.0.0.1:PORT``."""
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """Without a slash at the end."""
        return f"{self.scheme}://{self.host}"

    def git_url(self, name: str) -> str:
        return f"{self.url}/{name}.git"

    def bare(self, name: str) -> Path:
        """Where the repository is (or would be)."""
        assert re.fullmatch(r"[\w.-]+/[\w.-]+", name), name
        assert ".." not in name, name
        return self.root / f"{name}.git"

    def create(self, name: str) -> Path:
        """An empty repository; one that exists stays as it is."""
        bare = self.bare(name)
        if not bare.exists():
            _git("init", "--quiet", "--bare", "--template=", "--initial-branch=main", str(bare))
        return bare

    def rename(self, old: str, new: str) -> None:
        self.bare(new).parent.mkdir(parents=True, exist_ok=True)
        self.bare(old).rename(self.bare(new))

    def branches(self, name: str) -> dict[str, str]:
        """Branch → sha, as the disk has it."""
        listed = _git("-C", str(self.bare(name)), "for-each-ref", "--format=%(refname:lstrip=2) %(objectname)")
        return dict(reversed(line.split()[::-1]) for line in listed.splitlines())  # type: ignore[misc]

    def reject(self, name: str, text: str, *, ref: str = "") -> None:
        """Refuse every push (of ``ref``, when it is given) with these lines, as ``remote: …``; '' takes all again."""
        hook = self.create(name) / "hooks" / "pre-receive"
        hook.unlink(missing_ok=True)
        if text:
            said = f"printf '%s' {shlex.quote(text)} >&2; exit 1"
            check = f'while read old new ref; do [ "$ref" = {shlex.quote(ref)} ] && {{ {said}; }}; done; exit 0'
            self._hook(hook, check if ref else said)

    def refuse_ref(self, name: str, reason: str, *, ref: str = "refs/heads") -> None:
        """Decline refs below ``ref`` as GitHub does for workflows and rules: ``! [remote rejected] a -> b (reason)``.

        '' takes all again.
        """
        bare = self.create(name)
        _git("-C", str(bare), "config", "--replace-all", "receive.procReceiveRefs", ref if reason else "refs/none")
        hook = bare / "hooks" / "proc-receive"
        hook.parent.mkdir(exist_ok=True)
        hook.write_text(_PROC_RECEIVE.format(python=sys.executable, reason=reason), encoding="utf-8")
        hook.chmod(0o755)

    @staticmethod
    def _hook(hook: Path, script: str) -> None:
        hook.parent.mkdir(exist_ok=True)
        hook.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
        hook.chmod(0o755)

    def pushes(self) -> list[Asked]:
        """The requests that sent objects."""
        return [asked for asked in self.requests if asked.is_push]


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, owner: GitHttp) -> None:
        self.owner = owner
        super().__init__(("127.0.0.1", 0), _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that are killed in the middle are what these tests are about."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def log_message(self, format: str, *args: Any) -> None:
        """`GitHttp.requests` is the log."""

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def _serve(self) -> None:
        owner, at = self.server.owner, urlsplit(self.path)
        path = unquote(at.path)
        user, password = _credentials(self.headers.get("Authorization", ""))
        found = _ADDRESS.fullmatch(path)
        name = found[1] if found else ""

        def note(status: int) -> None:
            sent = self.headers.get("Authorization", "")
            owner.requests.append(Asked(self.command, path, at.query, user, sent, status))

        if owner.redirect_to:
            note(302)
            return self._answer(302, {"Location": owner.redirect_to + self.path})
        if owner.tokens and (user != USER or password not in owner.tokens):
            note(401)
            return self._answer(401, {"WWW-Authenticate": 'Basic realm="GitHub"'})
        if name and owner.auto_create:
            owner.create(name)
        if not name or not owner.bare(name).is_dir():
            note(404)
            return self._answer(404, {}, b"Not Found\n")
        pushing = path.endswith("git-receive-pack") or "git-receive-pack" in at.query
        if pushing and name in owner.forbidden:
            note(403)
            return self._answer(403, {}, b"Write access to repository not granted.\n")
        sending = self.command == "POST" and path.endswith("git-receive-pack")
        note(200)
        if sending and owner.delay_s:
            time.sleep(owner.delay_s)
        return self._backend(owner, name, path, at.query, sending)

    def _backend(self, owner: GitHttp, name: str, path: str, query: str, sending: bool) -> None:
        verb = path.split(f"{name.split('/')[1]}", 1)[1].removeprefix(".git")
        env = {
            "PATH": os.environ["PATH"],
            "HOME": os.devnull,
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_PROJECT_ROOT": str(owner.root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "PATH_INFO": f"/{name}.git{verb}",
            "QUERY_STRING": query,
            "REQUEST_METHOD": self.command,
            "REMOTE_USER": USER,
            "REMOTE_ADDR": "127.0.0.1",
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
        }
        process = subprocess.Popen(
            ["git", "http-backend"], env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        owner._running.add(process)
        try:
            feeding = threading.Thread(target=self._feed, args=(process,), daemon=True)
            feeding.start()
            assert process.stdout is not None
            if sending:
                body = process.stdout.read()
                process.wait()
                if owner.on_push is not None:
                    owner.on_push(name)
                if owner.lose_answers > 0:
                    owner.lose_answers -= 1
                    self.close_connection = True
                    self.connection.close()
                    return
                self._relay(body)
            else:
                self._relay(process.stdout.read())
        finally:
            process.kill()
            if process.stdout is not None:
                process.stdout.close()
            process.wait()
            owner._running.discard(process)

    def _feed(self, process: subprocess.Popen[bytes]) -> None:
        """The request's body into the program; a client that is gone ends the program's input, as a server's does."""
        assert process.stdin is not None
        with contextlib.suppress(OSError, ValueError), process.stdin:
            if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
                while size := int(self.rfile.readline().split(b";")[0] or b"0", 16):
                    shutil.copyfileobj(_Limited(self.rfile, size), process.stdin)
                    self.rfile.readline()
                self.rfile.readline()
            else:
                size = int(self.headers.get("Content-Length") or 0)
                shutil.copyfileobj(_Limited(self.rfile, size), process.stdin)

    def _relay(self, said: bytes) -> None:
        head, _, body = said.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode("latin-1").splitlines() if ": " in line)
        status = int(headers.pop("Status", "200").split()[0])
        self._answer(status, headers, body)

    def _answer(self, status: int, headers: dict[str, str], body: bytes = b"") -> None:
        with contextlib.suppress(OSError):
            self.send_response(status)
            for key, value in headers.items():
                if key.lower() not in ("content-length", "connection"):
                    self.send_header(key, value)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(body)
        self.close_connection = True


class _Limited:
    """A reader of at most so many bytes."""

    def __init__(self, inner: Any, size: int) -> None:
        self.inner, self.left = inner, size

    def read(self, size: int = -1) -> bytes:
        wanted = self.left if size < 0 else min(size, self.left)
        data: bytes = self.inner.read(wanted) if wanted else b""
        self.left -= len(data)
        return data


def _credentials(header: str) -> tuple[str, str]:
    kind, _, coded = header.partition(" ")
    if kind.lower() != "basic":
        return "", ""
    user, _, password = base64.b64decode(coded).decode("utf-8", "replace").partition(":")
    return user, password


def _git(*argv: str) -> str:
    env = {"PATH": os.environ["PATH"], "HOME": os.devnull, "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull}
    return subprocess.run(["git", *argv], env=env, capture_output=True, text=True, check=True).stdout
