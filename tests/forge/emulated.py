"""A GitHub for tests: `emulate` (REST) as a process, and behind it the repositories of a :class:`~.githttp.GitHttp`.

    with Emulated(tmp_path) as hub: …            # hub.api_url, hub.token, hub.get("/user")
    with Hub(tmp_path) as hub: …                 # the same, and hub.git takes the pushes: commits keep their sha

emulate does not take pushes, but its git data API makes the same shas as git does; so what is pushed to the git server
is handed to it object by object, and branches, comparisons and pull requests are those of real commits.
"""

from __future__ import annotations

import base64
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote, urlsplit

import pytest

from .faults import Faults
from .githttp import GitHttp

TOKEN = "ghp_Canary0123456789abcdefghijklmnopqrst"
BOB = "ghp_Bob0000123456789abcdefghijklmnopqrst"
NO_WORKFLOW = "ghp_NoFlow0123456789abcdefghijklmnopqrst"
SEED = {
    "tokens": {
        TOKEN: {"login": "ana", "scopes": ["repo", "user", "workflow", "read:org"]},
        NO_WORKFLOW: {"login": "ana", "scopes": ["repo", "user"]},
        BOB: {"login": "bob", "scopes": ["repo", "user"]},
    },
    "github": {
        "users": [
            {"login": "ana", "name": "Ana Owl", "email": "ana@example.org"},
            {"login": "bob", "name": "Bob", "email": "bob@example.org"},
        ],
        "orgs": [{"login": "owl-lab", "name": "Owl Lab", "members": [{"login": "ana", "role": "admin"}]}],
    },
}
OLDEST_NODE = (22, 15)


def tools() -> tuple[str, str] | None:
    """The node and the script of emulate; None when one of them is missing or too old."""
    folder = Path(os.environ.get("POSTDOC_EMULATE", ".venv/emulate")).absolute() / "node_modules"
    script = folder / ".bin" / "emulate"
    for node in (str(folder / "node" / "bin" / "node"), shutil.which("node")):
        if node and Path(node).is_file() and script.exists():
            found = subprocess.run([node, "--version"], capture_output=True, text=True, check=False).stdout
            version = tuple(int(part) for part in found.strip().lstrip("v").split(".")[:2] if part.isdigit())
            if version >= OLDEST_NODE:
                return node, str(script)
    return None


def emulate_or_skip() -> None:
    """Skip without Node 22.15 and emulate; in continuous integration that is a failure."""
    if tools() is None:
        why = "needs Node 22.15 or newer and emulate (make test installs both where there is npm)"
        pytest.fail(why) if os.environ.get("CI") else pytest.skip(why)


class Emulated:
    """emulate on a port of its own; ``api_url`` at the root, ``enterprise_url`` the same below `/api/v3`."""

    def __init__(self, folder: Path) -> None:
        emulate_or_skip()
        self.folder = folder
        self.token = TOKEN
        self.port = _free_port()
        self.api_url = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None
        self._stack = ExitStack()
        self._enterprise: Faults | None = None

    def __enter__(self) -> Self:
        found = tools()
        assert found is not None
        self.folder.mkdir(parents=True, exist_ok=True)
        seed = self.folder / "emulate.seed.json"
        seed.write_text(json.dumps(SEED))
        argv = [*found, "start", "--service", "github", "--port", str(self.port), "--base-url", self.api_url]
        with (self.folder / "emulate.log").open("wb") as out:
            self._process = subprocess.Popen(
                [*argv, "--seed", str(seed)], stdout=out, stderr=out, cwd=self.folder, start_new_session=True
            )
        deadline = time.monotonic() + 30
        while True:
            try:
                self.get("/user")
                return self
            except OSError:
                ended = self._process.poll() is not None
                if ended or time.monotonic() > deadline:
                    self.close()
                    raise AssertionError((self.folder / "emulate.log").read_text()) from None
                time.sleep(0.05)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the process."""
        self._stack.close()
        if self._process is not None:
            if self._process.poll() is None:
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    @property
    def enterprise_url(self) -> str:
        """The same server as an Enterprise Server has it: below `/api/v3`, through a proxy of one line."""
        if self._enterprise is None:
            self._enterprise = self._stack.enter_context(Faults(self.api_url, prefix="/api/v3"))
        return self._enterprise.url

    def request(self, method: str, path: str, body: Any = None, *, token: str | None = None) -> Any:
        """One call as somebody else would make it; the decoded answer. Raises urllib's HTTPError."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"token {token or self.token}", "Content-Type": "application/json"}
        request = urllib.request.Request(self.api_url + path, data=data, headers=headers, method=method)
        with urllib.request.urlopen(request, timeout=20) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    def get(self, path: str, *, token: str | None = None) -> Any:
        """``request("GET", path)``."""
        return self.request("GET", path, token=token)

    def status(self, path: str, *, token: str | None = None) -> int:
        """What a GET of this path is answered with."""
        try:
            self.get(path, token=token)
        except urllib.error.HTTPError as error:
            return error.code
        return 200

    def post(self, path: str, body: Any, *, token: str | None = None) -> Any:
        """``request("POST", path, body)``."""
        return self.request("POST", path, body, token=token)

    def repos(self) -> list[str]:
        """Full names of all repositories of ana and of her organisation, sorted."""
        return sorted(repo["full_name"] for repo in self.get("/user/repos?per_page=100"))

    def pulls(self, name: str) -> list[dict[str, Any]]:
        """All pull requests of a repository, oldest first."""
        found: list[dict[str, Any]] = self.get(f"/repos/{name}/pulls?state=all&per_page=100")
        return sorted(found, key=lambda pull: int(pull["number"]))


class Hub(Emulated):
    """emulate and a git server that know the same commits."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.git = GitHttp(folder, TOKEN, auto_create=True)
        self.git.tokens |= {BOB, NO_WORKFLOW}
        self.git.on_push = self.mirror

    def __enter__(self) -> Self:
        super().__enter__()
        self._stack.enter_context(self.git)
        return self

    @property
    def git_url(self) -> str:
        """What `github_git_url` must be."""
        return self.git.url

    def mirror(self, name: str) -> None:
        """Tell emulate the branches of the bare repository, with everything that they need."""
        token = BOB if name.startswith("bob/") else self.token  # a private repository has its own people
        if self.status(f"/repos/{name}", token=token) == 404:
            return  # made by a push alone: GitHub has no such repository
        bare = self.git.bare(name)
        theirs = {ref["ref"]: ref["object"]["sha"] for ref in self._refs(name, token)}
        for line in _git(bare, "for-each-ref", "--format=%(refname) %(objectname)", "refs/heads").splitlines():
            ref, sha = line.split()
            if theirs.get(ref) == sha:
                continue
            self._hand_over(name, bare, sha, known=set(theirs.values()), token=token)
            if ref in theirs:
                self.request("PATCH", f"/repos/{name}/git/{ref}", {"sha": sha, "force": True}, token=token)
            else:
                self.post(f"/repos/{name}/git/refs", {"ref": ref, "sha": sha}, token=token)

    def _refs(self, name: str, token: str) -> list[dict[str, Any]]:
        try:
            found: list[dict[str, Any]] = self.get(f"/repos/{name}/git/matching-refs/heads", token=token)
        except urllib.error.HTTPError as error:
            if error.code in (404, 409):
                return []
            raise
        return found

    def _hand_over(self, name: str, bare: Path, sha: str, *, known: set[str], token: str) -> None:
        have = {one for one in known if _git(bare, "cat-file", "-t", one, ok=(0, 128)).strip() == "commit"}
        new = _git(bare, "rev-list", "--reverse", "--topo-order", sha, *(f"^{one}" for one in have)).split()
        sent: set[str] = set()
        with _Line(self.api_url, token) as line:
            for commit in new:
                tree: list[dict[str, Any]] = []
                for entry in _git(bare, "ls-tree", "-r", "-z", commit).split("\0"):
                    if not entry:
                        continue
                    (mode, kind, blob), path = entry.split("\t", 1)[0].split(), entry.split("\t", 1)[1]
                    if kind == "blob" and blob not in sent:
                        content = base64.b64encode(_git_bytes(bare, "cat-file", "blob", blob)).decode()
                        line.post(f"/repos/{name}/git/blobs", {"content": content, "encoding": "base64"})
                        sent.add(blob)
                    tree.append({"path": path, "mode": mode, "type": kind, "sha": blob})
                line.post(f"/repos/{name}/git/trees", {"tree": tree})
                made = line.post(f"/repos/{name}/git/commits", _commit(bare, commit))
                assert made["sha"] == commit, f"emulate made {made['sha']} of {commit}"


def _commit(bare: Path, sha: str) -> dict[str, Any]:
    form = "%T%x00%P%x00%an%x00%ae%x00%aI%x00%cn%x00%ce%x00%cI"
    tree, parents, an, ae, ad, cn, ce, cd = _git(bare, "show", "-s", f"--format={form}", sha).rstrip("\n").split("\0")
    raw = _git_bytes(bare, "cat-file", "commit", sha).decode()
    return {
        "message": raw.split("\n\n", 1)[1],
        "tree": tree,
        "parents": parents.split(),
        "author": {"name": an, "email": ae, "date": ad},
        "committer": {"name": cn, "email": ce, "date": cd},
    }


class _Line:
    """Many small requests over one connection."""

    def __init__(self, url: str, token: str) -> None:
        at = urlsplit(url)
        self._connection = http.client.HTTPConnection(at.hostname or "", at.port, timeout=20)
        self._headers = {"Authorization": f"token {token}", "Content-Type": "application/json"}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def status(self, path: str, *, token: str | None = None) -> int:
        """What a GET of this path is answered with."""
        try:
            self.get(path, token=token)
        except urllib.error.HTTPError as error:
            return error.code
        return 200

    def post(self, path: str, body: Any) -> Any:
        self._connection.request("POST", quote(path, safe="/?=&%"), json.dumps(body), self._headers)
        answer = self._connection.getresponse()
        text = answer.read()
        assert answer.status < 300, f"{path}: {answer.status} {text[:300]!r}"
        return json.loads(text)


def _git_bytes(bare: Path, *args: str, ok: tuple[int, ...] = (0,)) -> bytes:
    done = subprocess.run(["git", "--git-dir", str(bare), *args], capture_output=True, check=False)
    assert done.returncode in ok, done.stderr
    return done.stdout


def _git(bare: Path, *args: str, ok: tuple[int, ...] = (0,)) -> str:
    return _git_bytes(bare, *args, ok=ok).decode("utf-8", "surrogateescape")


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    """A GitHub with a git server, for one test."""
    with Hub(tmp_path / "hub") as running:
        yield running
