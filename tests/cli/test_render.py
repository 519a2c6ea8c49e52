"""Events as a person reads them, on a terminal and in a log."""

from __future__ import annotations

import io
import re

import pytest

from jupyterlab_postdoc.cli.answers import unsettled
from jupyterlab_postdoc.cli.asking import answer_fields
from jupyterlab_postdoc.cli.render import Story, money
from jupyterlab_postdoc.cli.screen import Screen


class Tty(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def told(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)

    def tell(*frames, terminal=False):
        out = Tty() if terminal else io.StringIO()
        story = Story(Screen(out))
        for seq, frame in enumerate(frames, 1):
            story.show({"seq": seq, "runId": "r", **frame})
        story.show({"type": "result", "success": True})
        return out.getvalue()

    return tell


def token(item, delta, kind="token"):
    return {"type": kind, "itemId": item, "delta": delta}


def said(item, content, **more):
    return {"type": "assistant_message", "itemId": item, "content": content, **more}


def plain(text):
    return re.sub(r"\x1b\[[0-9;]*m", "", text).replace("\r\x1b[K", "")


REPLY = [
    token("k", "Hmm, ", "thinking"),
    token("k", "let me see.", "thinking"),
    token("a", "First "),
    token("a", "text."),
    token("b", "Second "),
    {"type": "usage", "tokens": {}, "cost": 0.1},
    token("b", "text"),
    {"type": "thinking", "itemId": "k", "content": "Hmm, let me see."},
    said("a", "First text."),
    said("b", "Second text."),
]


def test_several_texts_of_one_reply_are_told_once_each_on_a_terminal(told):
    shown = told(*REPLY, terminal=True)
    assert "\x1b[2mlet \x1b[0m" in shown, "thinking is dimmed"
    text = plain(shown)
    for words, count in (("let me see.", 1), ("First text.", 1), ("Second text.", 1)):
        assert text.count(words) == count, text


def test_a_log_has_the_texts_and_no_thinking(told):
    text = told(*REPLY)
    assert "see" not in text
    assert text.index("First text.") < text.index("Second text.")
    assert "\x1b" not in text


@pytest.mark.parametrize("terminal", [True, False])
def test_cut_replies_retries_and_calls_are_told_in_words(told, terminal):
    text = plain(
        told(
            token("a", "Half a"),
            said("a", "Half a sen", partial=True),
            {"type": "agent_status", "message": "The model is overloaded. Asking again in 2 s", "phase": "retry"},
            {"type": "tool_use", "toolId": "t", "toolName": "shell", "title": "Running ls", "toolInput": {"cut": "{"},
             "partial": True},
            {"type": "context_summary", "content": "all", "through": 3},
            said("b", "Known.", citations=[{"url": "https://e.org/a\x1b[2J", "title": "A study"}]),
            {"type": "tool_use", "toolId": "u", "toolName": "read_file", "title": "Reading x", "toolInput": {},
             "parent": "t9"},
            terminal=terminal,
        )
    )  # fmt: skip
    assert "Half a sen" in text
    assert "was cut off here" in text
    assert "~ The model is overloaded. Asking again in 2 s" in text
    assert "Running ls: cut off before it was complete, and not carried out" in text
    assert "was summed up" in text
    assert "source: A study https://e.org/a" in text
    assert "  > Reading x" in text


def test_a_person_sees_what_they_allow(told):
    code = "\n".join(f"print({n})" for n in range(40))
    text = told(
        {"type": "tool_use", "toolId": "t", "toolName": "shell", "title": "Running a command",
         "toolInput": {"command": f"curl x\x1b]0;owned\x07 | sh\n{code}", "n": [1, 2]}},
        {"type": "approval_request", "requestId": "q", "toolId": "t", "toolName": "shell", "risk": "outside",
         "what": "Running a command"},
        {"type": "approval_resolved", "requestId": "q", "decision": "allow", "scope": "session", "by": "ana"},
    )  # fmt: skip
    assert "shell: it leaves this machine" in text
    assert "command: curl x | sh" in text
    assert "print(10)" in text
    assert "more lines" in text
    assert "owned" not in text
    assert "allow for this chat by ana" in text


def test_what_was_asked_before_the_run_was_resumed_is_shown_too():
    out = io.StringIO()
    story = Story(Screen(out))
    story.recall([{"type": "tool_use", "toolId": "t", "toolInput": {"command": "curl x"}}])
    assert out.getvalue() == ""
    story.show({"type": "approval_request", "requestId": "q", "toolId": "t", "toolName": "shell", "risk": "outside"})
    assert "command: curl x" in out.getvalue()


def test_a_request_that_nobody_answered_names_nobody(told):
    text = told(
        {"type": "approval_resolved", "requestId": "q", "decision": "cancelled", "by": ""},
        {"type": "answered", "requestId": "p", "answer": ""},
    )
    assert text.splitlines()[0] == "  cancelled"
    assert "answered" not in text


@pytest.mark.parametrize(
    ("typed", "fields"),
    [
        ("a", {"decision": "allow", "scope": "once"}),
        ("Yes", {"decision": "allow", "scope": "once"}),
        ("s", {"decision": "allow", "scope": "session"}),
        ("always", {"decision": "allow", "scope": "always"}),
        ("d", {"decision": "deny", "scope": None}),
        ("", None),
        ("maybe", None),
    ],
)
def test_a_slip_allows_nothing(typed, fields):
    assert answer_fields({"type": "approval_request"}, typed) == fields


def test_what_waits_is_what_nobody_answered_in_a_run_that_goes_on():
    events = [
        {"type": "question", "requestId": "q1", "runId": "r1"},
        {"type": "answered", "requestId": "q1"},
        {"type": "question", "requestId": "q2", "runId": "r1"},
        {"type": "result", "runId": "r1"},
        {"type": "tool_use", "toolId": "t", "toolInput": {"x": 1}},
        {"type": "approval_request", "requestId": "q3", "runId": "r2", "toolId": "t"},
    ]
    (waiting,) = unsettled(events)
    assert (waiting["requestId"], waiting["toolInput"]) == ("q3", {"x": 1})


@pytest.mark.parametrize(
    ("cost", "words"),
    [(None, "cost unknown"), (0, "no cost"), (0.004, "less than $0.01"), (1234.5, "about $1,234.50")],
)
def test_money(cost, words):
    assert money(cost) == words
