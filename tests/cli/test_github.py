"""`jupyter postdoc github` in real processes: a token comes by a hidden prompt or standard input and is not shown."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from tests.forge.emulated import TOKEN, Emulated
from tests.forge.faults import Faults, status

from .conftest import Home, RunningServer

COMMAND = [sys.executable, "-m", "jupyterlab_postdoc.cli", "github"]


@pytest.fixture(scope="module")
def hub(tmp_path_factory) -> Iterator[Faults]:
    with Emulated(tmp_path_factory.mktemp("hub")) as running, Faults(running.api_url) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def lab(tmp_path_factory, hub) -> Iterator[Home]:
    """A home whose server has its GitHub at the proxy, and no token of the machine's."""
    home = Home(tmp_path_factory.mktemp("lab"))
    for name in ("GITHUB_TOKEN", "GH_TOKEN", "GH_ENTERPRISE_TOKEN", "GITHUB_ENTERPRISE_TOKEN"):
        home.env.pop(name, None)
    home.env["GITHUB_API_URL"] = hub.url
    home.server = RunningServer(home)
    home.server.start()
    yield home
    home.server.stop()


@pytest.fixture(autouse=True)
def disconnected(lab: Home) -> Iterator[None]:
    yield
    lab.run("github", "disconnect", **named(lab))


def named(lab: Home) -> dict[str, str]:
    return {"POSTDOC_URL": lab.server.url, "POSTDOC_TOKEN": lab.server.token}


def piped(lab: Home, *args: str, text: str) -> subprocess.CompletedProcess[str]:
    """The command with this text on its standard input."""
    return subprocess.run(
        [*COMMAND, *args], env=lab.env | named(lab), cwd=lab.root, input=text, capture_output=True, text=True,
        timeout=60, check=False,
    )  # fmt: skip


def at_terminal(lab: Home, typed: str) -> tuple[int, str]:
    """`github connect` at a terminal where somebody types this; exit code and all that the terminal showed."""
    own, theirs = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, "connect"], env=lab.env | named(lab) | {"TERM": "xterm"}, cwd=lab.root, stdin=theirs, stdout=theirs,
        stderr=theirs, start_new_session=True, preexec_fn=lambda: _own_terminal(),
    )  # fmt: skip
    os.close(theirs)
    shown, sent, end = b"", False, time.monotonic() + 60
    while time.monotonic() < end:
        if select.select([own], [], [], 0.1)[0]:
            try:
                piece = os.read(own, 4096)
            except OSError:
                break
            if not piece:
                break
            shown += piece
        if not sent and b"not shown" in shown:
            time.sleep(0.2)
            os.write(own, typed.encode() + b"\r")
            sent = True
    code = process.wait(20)
    os.close(own)
    return code, shown.decode("utf-8", "replace")


def _own_terminal() -> None:
    import fcntl
    import termios

    with contextlib.suppress(OSError):
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def test_not_connected_says_how(lab):
    answer = lab.run("github", **named(lab))
    assert answer.code == 1, answer.err
    assert "not connected" in answer.out
    assert "jupyter postdoc github connect" in answer.out
    assert "/settings/personal-access-tokens/new" in answer.out
    status_lines = lab.run("status", **named(lab))
    assert status_lines.code == 0, status_lines.out + status_lines.err
    assert "github     ok      Not connected. Repositories are kept on this machine." in status_lines.out


def test_a_token_from_standard_input(lab):
    answer = piped(lab, "connect", text=TOKEN + "\n")
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert "ana (Ana Owl), by a token that you have stored" in answer.stdout
    assert "owl-lab" in answer.stdout
    assert "Publishes  at the end of each study" in answer.stdout
    assert TOKEN not in answer.stdout + answer.stderr
    again = lab.run("github", "status", "--json", **named(lab))
    assert again.code == 0
    assert again.json["account"]["login"] == "ana"
    assert "Connected to 127.0.0.1 as ana" in lab.run("status", **named(lab)).out
    gone = lab.run("github", "disconnect", **named(lab))
    assert gone.code == 0
    assert "stays valid until you delete it" in gone.out
    assert "You had connected nothing" in lab.run("github", "disconnect", **named(lab)).out


def test_a_token_typed_at_the_prompt_is_not_shown(lab):
    code, shown = at_terminal(lab, TOKEN)
    assert code == 0, shown
    assert "Make a token at" in shown
    for needed in ("Administration: read and write", "Contents: read and write", "Workflows: read and write"):
        assert needed in shown
    assert "ana (Ana Owl)" in shown
    assert TOKEN not in shown


def test_a_bad_token_is_refused_with_the_servers_sentence(lab, hub):
    hub.rule("GET", r"/user$", status(401, {}, {"message": "Bad credentials"}), times=9)
    answer = piped(lab, "connect", text=TOKEN)
    hub.clear()
    assert answer.returncode == 1
    assert "GitHub refused the token" in answer.stderr
    assert TOKEN not in answer.stdout + answer.stderr
    assert lab.run("github", "--json", **named(lab)).json["connected"] is False


def test_wrong_use_is_said(lab):
    assert piped(lab, "connect", text=" \n").returncode == 2
    assert lab.run("github", "status", "--gh", **named(lab)).code == 2
    assert lab.run("github", "connect", "--gh", "--keyring", **named(lab)).code == 2
    no_gh = lab.run("github", "connect", "--gh", **named(lab))
    assert no_gh.code == 1
    assert "`gh`" in no_gh.err


def test_a_token_does_not_go_through_a_network_in_the_clear(lab):
    from jupyterlab_postdoc.cli.github import _safe
    from jupyterlab_postdoc.cli.problems import Problem
    from jupyterlab_postdoc.cli.server import Server

    for fine in ("https://hub.example/", "http://127.0.0.1:8888/", "http://localhost:1/", "http://[::1]:8888/"):
        _safe(Server(fine))
    for bad in ("http://hub.example/", "http://10.0.0.7:8888/", "http://localhost.evil.example/"):
        with pytest.raises(Problem, match="not encrypted"):
            _safe(Server(bad))
