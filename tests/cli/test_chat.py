"""Talking to a model from the terminal: one message, a conversation, leave that is asked for, what is stopped."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest

from .conftest import Home, RunningServer

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def talking(tmp_path_factory):
    """A home with a running server that has a model."""
    home = Home(tmp_path_factory.mktemp("talking"))
    personas = home.base / "personas.yaml"
    personas.write_text("careful:\n  title: Careful\n  system_prompt: Be.\n  approvals: {list_templates: ask}\n")
    provider = "tests.cli.speaker.Speaker"
    config = {"PostdocApp": {"chat_provider": provider, "personas_file": str(personas)}}
    (home.base / "config" / "jupyter_server_config.json").write_text(json.dumps(config))
    home.env["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), home.env.get("PYTHONPATH")]))
    server = RunningServer(home)
    server.start()
    home.server = server
    home.env |= {"POSTDOC_URL": server.url, "POSTDOC_TOKEN": server.token}
    yield home
    server.stop()


class Terminal:
    """A command at a terminal of its own, and a person who reads and types."""

    def __init__(self, home: Home, *words: str) -> None:
        self.main, terminal = pty.openpty()
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))

        def own_terminal() -> None:
            os.setsid()
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)

        self.process = subprocess.Popen(
            [sys.executable, "-m", "jupyterlab_postdoc.cli", *words],
            cwd=home.root, env=home.env | {"TERM": "xterm"}, stdin=terminal, stdout=terminal, stderr=terminal,
            preexec_fn=own_terminal,
        )  # fmt: skip
        os.close(terminal)
        self.raw = ""
        self._seen = 0

    @property
    def text(self) -> str:
        return re.sub(r"\x1b\[[0-9;]*m", "", self.raw).replace("\r\x1b[K", "\n").replace("\r\n", "\n")

    def until(self, words: str, limit_s: float = 20.0) -> None:
        """Read on until the words have come after those that were waited for before."""
        end = time.monotonic() + limit_s
        while words not in self.text[self._seen :]:
            assert time.monotonic() < end, f"{words!r} did not come:\n{self.text}"
            if select.select([self.main], [], [], 0.2)[0]:
                try:
                    self.raw += os.read(self.main, 65536).decode("utf-8", "replace")
                except OSError:
                    raise AssertionError(f"ended before {words!r}:\n{self.text}") from None
        self._seen = self.text.index(words, self._seen) + len(words)

    def type(self, text: str) -> None:
        os.write(self.main, text.encode())

    def end(self, limit_s: float = 20.0) -> int:
        with contextlib.suppress(OSError):
            while piece := os.read(self.main, 65536):
                self.raw += piece.decode("utf-8", "replace")
        os.close(self.main)
        return self.process.wait(limit_s)


@pytest.fixture
def terminal(talking):
    """`terminal("chat", …)` starts a command at a terminal; it does not outlive its test."""
    started: list[Terminal] = []

    def start(*words: str) -> Terminal:
        started.append(Terminal(talking, *words))
        return started[-1]

    yield start
    for one in started:
        if one.process.poll() is None:
            one.process.kill()
            one.process.wait()
            os.close(one.main)


def chat_of(text: str) -> str:
    found = re.search(r"\b(c_\w+)", text)
    assert found, text
    return found[1]


def test_one_message_and_its_answer(talking):
    answer = talking.run("chat", "say hello")
    assert answer.code == 0, answer.out + answer.err
    assert "claude-haiku-5: hello" in answer.out
    assert not set(answer.out) & {"\x1b", "\x07", "\u202e"}
    assert "local: say hello" not in answer.out, "what was just typed is not told again"
    again = talking.run("chat", chat_of(answer.out), "say again", "--model", "opus")
    assert again.code == 0, again.out + again.err
    assert "claude-opus-5: again" in again.out
    kept = talking.run("chat", chat_of(answer.out), "say once more")
    assert "claude-opus-5: once more" in kept.out, "the model is kept with the chat"


def test_json_prints_the_events_unchanged(talking):
    answer = talking.run("chat", "say hello", "--json")
    assert answer.code == 0, answer.err
    chat = answer.frames[0]["chatId"]
    kept = {e["seq"]: e for e in talking.server.get(f"postdoc/api/chats/{chat}/messages?limit=1000")}
    seen = {frame["seq"]: frame for frame in answer.frames}
    assert all(seen[seq] == event for seq, event in kept.items())
    assert answer.frames[-2]["type"] == "result"


def test_a_message_from_standard_input(talking):
    done = subprocess.run(
        [sys.executable, "-m", "jupyterlab_postdoc.cli", "chat"],
        input="say from a pipe", env=talking.env, cwd=talking.root, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "claude-haiku-5: from a pipe" in done.stdout


@pytest.mark.parametrize(
    ("words", "code", "expected"),
    [
        (["chat", "c_nothing", "hello"], 1, "c_nothing"),
        (["chat", "no_chat", "hello"], 2, "no_chat"),
        (["chat", "hello", "--model", "gpt"], 2, "claude-opus-5"),
        (["chat"], 2, "nothing to send"),
        (["chat", "a", "b", "c"], 2, "in quotes"),
        (["research", "waits please", "--model", "gpt"], 2, "claude-opus-5"),
        (["research", "waits please", "--provider", "anthropic"], 2, "anthropic"),
    ],
)
def test_wrong_use_makes_no_chat(talking, words, code, expected):
    before = len(talking.run("chats", "--json").json)
    answer = talking.run(*words)
    assert answer.code == code, answer.out + answer.err
    assert expected in answer.err
    assert len(talking.run("chats", "--json").json) == before


def test_a_failure_of_the_model_is_told(talking):
    answer = talking.run("chat", "fail now")
    assert answer.code == 1
    assert "The key was not accepted." in answer.out
    assert "Check ANTHROPIC_API_KEY." in answer.out


def test_models_tells_names_prices_and_why_not(talking):
    shown = talking.run("models").out
    assert re.search(r"^claude-haiku-5\* +haiku +200k +\$1 +\$5 +Claude Haiku 5$", shown, re.MULTILINE), shown
    assert re.search(r"^claude-opus-5 +opus +1M ", shown, re.MULTILINE), shown
    listed = talking.run("models", "--json").json
    assert listed[0]["id"] == "template"


def test_a_conversation_at_the_terminal(terminal):
    at = terminal("chat")
    at.until("Your message")
    at.type("think about it\n")
    at.until("After thought: about it")
    assert "\x1b[2msee." in at.raw, "thinking is dimmed"
    assert "owned" not in at.text
    at.until("= Done")
    at.until("Your message")
    at.type("steps on\n")
    at.until("Step 1,")
    at.type("go left\n")
    at.until("heard ['go left']")
    at.type("\x03")
    at.until("Press Ctrl-C again")
    at.until("Your message")
    at.type("long words\n")
    at.until("word 5")
    at.type("\x03")
    at.until("Press Ctrl-C again")
    at.type("\x03")  # two at the same instant would be one signal
    at.until("Stopping at once.")
    at.until("Your message", 6)
    at.type("say goodbye\n")
    at.until("claude-haiku-5: goodbye")
    at.until("Your message")
    at.type("\x04")
    assert at.end() == 0, at.text
    assert "Carry on:" in at.text


def test_a_question_in_a_conversation_is_answered_there(terminal):
    at = terminal("chat", "ask Which colour?")
    at.until("then Enter")
    at.type("blue\n")
    at.until("I heard: blue")
    assert at.end() == 0, at.text


@pytest.mark.parametrize(("typed", "decision"), [("a", "allow"), ("s", "allow for this chat"), ("d", "deny")])
def test_leave_is_given_or_denied_at_the_terminal(terminal, typed, decision):
    at = terminal("chat", "look reversal", "--persona", "careful")
    at.until("a allow once, s allow in this chat, d deny")
    assert "about reversal" in at.text, "a person sees what they allow"
    at.type("perhaps\n")
    at.until("is none of")
    at.type(f"{typed}\n")
    at.until(f"{decision} by")
    assert at.end() == 0, at.text
    assert "I heard:" in at.text


def test_without_a_terminal_the_command_leaves_and_says_how_to_answer(talking):
    asked = talking.run("chat", "look momentum", "--persona", "careful")
    assert asked.code == 4, asked.out + asked.err
    words = asked.out[asked.out.index("Answer with:") :].split()
    chat, request = words[words.index("respond") + 1 :][:2]
    listed = talking.run("requests")
    assert request in listed.out
    assert "about momentum" in listed.out
    assert not set(listed.out) & {"\x1b", "\x07", "\u202e"}
    (event,) = talking.run("requests", chat, "--json").json
    assert (event["type"], event["requestId"]) == ("approval_request", request)
    assert talking.run("respond", chat, request, "perhaps").code == 2
    assert "|" not in listed.out, "a line that is pasted into a shell allows nothing"
    watching = talking.start("watch", chat, "--until-done")
    with pytest.raises(subprocess.TimeoutExpired):
        watching.process.wait(4)
    assert talking.run("respond", chat, request, "deny").code == 0
    followed = watching.end()
    assert followed.code == 0, followed.out + followed.err
    assert f"respond {chat} {request}" in followed.out
    assert "I heard:" in followed.out
    assert talking.run("requests", chat, "--json").json == []


def test_leave_for_a_chat_is_asked_for_once(talking):
    asked = talking.run("chat", "look one", "--persona", "careful", "--json")
    assert asked.code == 4, asked.err
    problem = json.loads(asked.err.splitlines()[-1])
    assert problem["code"] == "waiting"
    request = next(f for f in asked.frames if f["type"] == "approval_request")
    words = ["respond", request["chatId"], request["requestId"], "allow", "--scope", "session"]
    assert talking.run(*words).code == 0
    assert talking.run("watch", request["chatId"], "--until-done").code == 0
    again = talking.run("chat", request["chatId"], "look two")
    assert again.code == 0, again.out + again.err


def test_ctrl_c_stops_an_answer(talking):
    running = talking.start("chat", "steps on")
    running.until("Step 2")
    running.process.send_signal(signal.SIGINT)
    answer = running.end()
    assert answer.code == 1, answer.out + answer.err
    assert "Press Ctrl-C again to stop at once" in answer.out
