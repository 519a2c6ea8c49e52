from __future__ import annotations

import io

import pytest

from jupyterlab_postdoc.cli.render import Story, figures
from jupyterlab_postdoc.cli.screen import Screen
from jupyterlab_postdoc.cli.text import Cleaner, bar, clean, duration, number, one_line, table, wrap

HOSTILE = [
    ("\x1b[31mred\x1b[0m", "red"),
    ("\x1b]0;new title\x07text", "text"),
    ("\x1b]8;;http://evil.example\x1b\\link\x1b]8;;\x1b\\", "link"),
    ("\x1b]52;c;ZXZpbA==\x07clipboard", "clipboard"),
    ("\x1bP1$r\x1b\\dcs", "dcs"),
    ("\x9b2Jcleared", "cleared"),
    ("\x1b[2J\x1b[Hhome", "home"),
    ("a\x08\x08b\x7f\x00", "ab"),
    ("safe\rEVIL", "safe\nEVIL"),
    ("line\r\nnext", "line\nnext"),
    ("\u202eelif.txt", "elif.txt"),
    ("\x1bcreset", "reset"),
    ("\x1b(0lqk", "lqk"),
    ("tab\tand\nnewline stay", "tab\tand\nnewline stay"),
    ("naïve 数据 é", "naïve 数据 é"),
]


@pytest.mark.parametrize(("text", "safe"), HOSTILE)
def test_nothing_that_steers_a_terminal_is_left(text, safe):
    assert clean(text) == safe


@pytest.mark.parametrize(("text", "safe"), HOSTILE)
def test_the_same_when_the_text_comes_in_pieces(text, safe):
    for cut in range(1, len(text)):
        cleaner = Cleaner()
        shown = cleaner.feed(text[:cut]) + cleaner.feed(text[cut:])
        assert "\x1b" not in shown
        assert "\x07" not in shown
        assert shown == safe


def test_an_escape_that_never_ends_does_not_swallow_the_rest_for_ever():
    cleaner = Cleaner()
    shown = cleaner.feed("\x1b]0;") + "".join(cleaner.feed("x" * 100) for _ in range(100)) + cleaner.feed("\x07after")
    assert "after" in shown
    assert "\x1b" not in shown


def test_wrap_folds_at_words_and_keeps_lists_hanging():
    lines = wrap("- one two three four five six seven", 20)
    assert lines == ["- one two three four", "  five six seven"]
    assert all(len(line) <= 20 for line in wrap("word " * 50, 20))
    assert wrap("a\n\nb", 20) == ["a", "", "b"]


def test_small_helpers():
    assert one_line("a\n b\x1b[1m  c", 80) == "a b c"
    assert one_line("abcdef", 4) == "abc…"
    assert bar(0.5, 4) == "[##--]"
    assert bar(7, 4) == "[####]"
    assert [number(v) for v in (0.000123, 12, 1234567, 3.14159, -0.5, None)] == [
        "0.000123", "12", "1,234,567", "3.142", "-0.5", "None",
    ]  # fmt: skip
    assert duration(4200) == "4.2 s"
    assert duration(185_000) == "3 min 05 s"
    assert table([["a", "long text " * 10], ["bbb", "x"]], 40)[1] == "bbb  x"
    assert all(len(line) <= 40 for line in table([["a", "long text " * 10]], 40))


def test_figures_say_a_tiny_p_value_as_such():
    verdict = {"estimate": 0.42, "ci_low": 0.1, "ci_high": 0.7, "p_value": 0.00001, "n_obs": 600, "unit": "% a month"}
    assert figures(verdict) == "estimate 0.42 (% a month), 95 % interval 0.1 to 0.7, p < 0.001, n = 600"
    assert figures({"estimate": None}) == ""


class Terminal(io.StringIO):
    """A StringIO that says it is a terminal: the screen asks nothing else of it."""

    def isatty(self) -> bool:
        return True


def story(out):
    return Story(Screen(out))


def test_plain_output_has_no_control_characters_and_no_partial_text():
    out = io.StringIO()
    told = story(out)
    told.show({"type": "agent_status", "message": "Running\x1b[2J cell 4 of 9", "progress": 0.44})
    told.show({"type": "token", "itemId": "i", "delta": "Hel"})
    told.show({"type": "assistant_message", "itemId": "i", "content": "Hello \x1b]0;x\x07there"})
    told.show({"type": "something_new", "x": 1})
    assert out.getvalue() == "- Running cell 4 of 9, 44%\n\nHello there\n"


def test_a_log_is_told_how_far_it_is_but_not_each_cell():
    out = io.StringIO()
    told = story(out)
    for n in range(1, 101):
        told.show({"type": "agent_status", "message": f"Running cell {n} of 100 (name{n})", "progress": n / 100})
    assert 4 <= len(out.getvalue().splitlines()) <= 7


def test_the_summary_is_left_to_the_end():
    out = io.StringIO()
    told = story(out)
    told.show({"type": "assistant_message", "itemId": "i", "content": "It is 3."})
    told.show({"type": "tool_use", "toolId": "t", "toolName": "finish", "toolInput": {"summary": "It is 3."}})
    assert out.getvalue() == ""


def test_a_terminal_gets_a_live_line_and_streamed_text(monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "40")
    out = Terminal()
    told = story(out)
    told.show({"type": "agent_status", "message": "Running cell 4 of 9", "progress": 0.5})
    told.show({"type": "token", "itemId": "i", "delta": "Hello wor"})
    told.show({"type": "token", "itemId": "i", "delta": "ld, this line is longer than forty columns are."})
    told.show(
        {
            "type": "assistant_message",
            "itemId": "i",
            "content": "Hello world, this line is longer than forty columns are. Done.",
        }
    )
    told.show({"type": "result", "success": True})
    shown = out.getvalue()
    assert "[######------] 50% Running" in shown
    assert shown.count("Hello wor") == 1
    assert "Done." in shown
    text = shown.replace("\r\x1b[K", "\n")
    assert "\x1b" not in text
    assert all(len(line) <= 40 for line in text.split("\n"))


def test_a_failing_tool_is_named_by_its_title():
    out = io.StringIO()
    told = story(out)
    told.show(
        {"type": "tool_use", "toolId": "t", "toolName": "nb_run", "toolInput": {}, "title": "Running the notebook"}
    )
    told.show({"type": "tool_result", "toolId": "t", "ok": False, "content": "cell load: no column x"})
    assert out.getvalue() == "> Running the notebook\n! Running the notebook: cell load: no column x\n"


def test_the_plan_is_shown_once_and_then_its_steps():
    out = io.StringIO()
    told = story(out)
    items = [{"text": "Load", "state": "active"}, {"text": "Test", "state": "pending"}]
    told.show({"type": "plan", "items": items})
    items = [{"text": "Load", "state": "done"}, {"text": "Test", "state": "active"}]
    told.show({"type": "plan", "items": items})
    assert out.getvalue().split("\n") == [
        "",
        "Plan",
        "  1. Load",
        "  2. Test",
        "",
        "Step 1 of 2: Load",
        "",
        "Step 2 of 2: Test",
        "",
    ]
