"""Whatever a user writes is shown as written: parsed back from Markdown, YAML, TOML and JSON."""

from __future__ import annotations

import html
import json
import tomllib

import markdown as python_markdown
import mistune
import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from jupyterlab_postdoc.forge.text import clean, disarmed, figure, json_text, markdown, one_line, paragraphs, quoted

ANY_TEXT = st.text(st.characters(exclude_categories=[]), max_size=120)
MARKUP = st.text("\\`*_{}[]()#+-.!|~<>&$@:/=^'\" \n\tab1", max_size=60)
NASTY = 'x" # y\n- z: {a}\n"""\n\'\'\' \\ & *anchor !!python/object <b>`c`</b> | > %'


@settings(max_examples=200, deadline=None)
@given(ANY_TEXT | MARKUP)
@example(NASTY)
def test_quoted_text_is_read_back_by_yaml_and_toml(text: str) -> None:
    assert yaml.safe_load(f"a: {quoted(text)}\n") == {"a": clean(text)}
    assert yaml.safe_load(f"- name: {quoted(one_line(text))}\n") == [{"name": one_line(text)}]
    assert tomllib.loads(f"a = {quoted(text)}\n") == {"a": clean(text)}


@settings(max_examples=100, deadline=None)
@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | ANY_TEXT, st.lists))
def test_json_is_always_valid_and_in_utf8(value: object) -> None:
    text = json_text({"a": value})
    json.loads(text.encode("utf-8"), parse_constant=pytest.fail)
    assert text == json_text(json.loads(text))


def shown(tokens: list[dict[str, object]]) -> str:
    """The text of inline tokens; anything but text is an error."""
    assert {str(token["type"]) for token in tokens} <= {"text"}, tokens
    return "".join(str(token["raw"]) for token in tokens)


@settings(max_examples=300, deadline=None)
@given(MARKUP | ANY_TEXT)
@example(NASTY)
@example("1. list")
@example("![x](javascript:alert(1)) https://example.org www.example.org @someone #12 $x^2$")
@example("a_b __init__ snake_case_ _x_")
def test_markdown_shows_a_title_exactly(text: str) -> None:
    line = one_line(text)
    parse = mistune.create_markdown(renderer=None, plugins=["strikethrough", "table", "url", "task_lists", "math"])
    for prefix, kind in (("# ", "heading"), ("", "paragraph")):
        if not line:
            continue
        tokens = parse(f"{prefix}{markdown(text)}\n")
        assert isinstance(tokens, list)
        assert [token["type"] for token in tokens] == [kind]
        assert html.unescape(shown(tokens[0]["children"])).split() == line.split()
    rendered = python_markdown.markdown(f"x {markdown(text)}")
    assert "<" not in rendered.removeprefix("<p>").removesuffix("</p>")


def test_paragraphs_keep_the_lines() -> None:
    assert paragraphs("One *a*\r\ntwo\n\n\n<b>three") == "One \\*a\\*  \ntwo\n\n&lt;b&gt;three"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.012345, "0.01235"),
        (1200, "1,200"),
        (3.0, "3"),
        (float("nan"), None),
        (True, None),
        ("1", None),
        (1e-12, "1e-12"),
    ],
)
def test_figures_are_for_people(value: object, text: str | None) -> None:
    assert figure(value) == text


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("Fixes #1 and closes: ana/owls#2", "Fixes issue #1 and closes: issue ana/owls#2"),
        ("resolved GH-3, fix https://github.com/ana/owls/issues/4", None),
        ("fixes\n#5", "fixes\nissue #5"),
        ("thanks @ana, @owl-lab/team", "thanks ana, owl-lab/team"),
        ("see #1; mail a@b.org; fix the mean; @ 3 Hz", "see #1; mail a@b.org; fix the mean; @ 3 Hz"),
    ],
)
def test_a_commit_message_notifies_nobody_and_closes_nothing(text: str, kept: str | None) -> None:
    shown = disarmed(text)
    assert shown == (kept or "resolved issue GH-3, fix issue https://github.com/ana/owls/issues/4")
    assert disarmed(shown) == shown


@pytest.mark.parametrize("hidden", ["\u202e", "\u2066", "\u061c", "\u200b", "\U000e0041", "\x1b", "\ufff9"])
def test_what_is_hidden_is_taken_out(hidden: str) -> None:
    assert clean(f"a{hidden}b") == "ab"
