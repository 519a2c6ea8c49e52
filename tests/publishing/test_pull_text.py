"""What is written on a forge: complete, honest, within its limits, and nothing that others wrote acts there."""

from __future__ import annotations

import html
import re
from typing import Any

import mistune
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from jupyterlab_postdoc.forge.study import Outcome, Revision, Study
from jupyterlab_postdoc.forge.text import one_line
from jupyterlab_postdoc.publishing.pull_text import (
    default_description,
    history_note,
    plain,
    prose,
    pull_body,
    pull_title,
    topic_labels,
)

HOME, BRANCH = "https://github.com/ana/owls", "agent/short-term-reversal/1234abcd"
VERDICT: dict[str, Any] = {
    "claim": "Losers beat winners",
    "supported": False,
    "estimate": 0.00123,
    "ci_low": -0.004,
    "ci_high": 0.0065,
    "p_value": 0.00001,
    "n_obs": 1200,
    "unit": "per month",
    "summary": "The spread is 0.12 % a month.",
    "limits": ["One market only.", "No costs."],
    "data": "synthetic-null",
}
ACTING = re.compile(
    r"@[A-Za-z0-9]|#\d|\bgh-\d|://|www\.|\b[0-9a-f]{7,40}\b|<[a-z!/]|!\[", re.IGNORECASE
)  # what GitHub looks for in the rendered text, outside of code
HIDDEN = re.compile("[\u200b\u200e\u200f\u061c\u202a-\u202e\u2060-\u2069\U000e0000-\U000e007f\x00-\x08]")
MARKUP = st.text("\\`*_{}[]()#+-.!|~<>&$@:/=^'\" \n\tab1", max_size=60)
WORDS = st.lists(
    st.sampled_from(
        ["fixes", "closes:", "#1", "@ana", "@org/team", "ana/owls#2", "GH-3", "`", "|", "https://evil.example/x.png",
         "![x](https://evil.example/p.png)", "<img src=//evil.example>", "www.evil.example", "a@b.example", "\u202e",
         "**", "\\", "- [x]", "deadbeef1", "[a]: https://evil.example", ":tada:", "_x_", "$x$", "\U000e0041", "1."]
    ),
    max_size=8,
)  # fmt: skip
TEXT = MARKUP | st.text(max_size=60) | WORDS.map("".join) | WORDS.map(" ".join)
PARSE = mistune.create_markdown(renderer=None, plugins=["strikethrough", "table", "url", "task_lists", "math"])


def study(**changes: Any) -> Study:
    given: dict[str, Any] = {
        "topic": "Short Term Reversal",
        "title": "Signal study",
        "repo_name": "short-term-reversal",
        "template": "equity_signal",
        "template_version": "1.0.0",
        "provider": "template",
        "session": "c_1",
        "run": "r_1",
        "author": "Ada Lovelace",
        "created": 1.79e9,
        "finished": 1.79e9 + 60,
    }
    return Study(**{**given, **changes})


def leaves(tokens: Any) -> list[tuple[str, str]]:
    """Every piece of the parsed text: its kind and what it shows."""
    found: list[tuple[str, str]] = []
    for token in tokens:
        if "children" in token:
            inner = leaves(token["children"])
            kind = token["type"]
            found += [(kind, str(token["attrs"]["url"]))] if kind in ("link", "image") else []
            found += inner
        else:
            found.append((token["type"], html.unescape(str(token.get("raw", "")))))
    return found


@settings(max_examples=300, deadline=None)
@given(TEXT)
@example("`@ana` `#1` |@b|")
@example("![x](https://evil.example/p.png)" * 9)
@example("fixes\u00a0#1 closes https://github.com/ana/owls/issues/1")
def test_a_sentence_is_shown_as_it_is_and_nothing_in_it_acts(text: str) -> None:
    line = one_line(text, 2000)
    tokens = PARSE(f"x {prose(text)} y\n")
    pieces = leaves(tokens)
    assert {kind for kind, _ in pieces} <= {"text", "codespan"}, pieces
    assert "".join(shown for _, shown in pieces).split() == f"x {line} y".split()
    # GitHub looks at the text between two pieces of code
    for part in "".join(shown if kind == "text" else "\0" for kind, shown in pieces).split("\0"):
        assert not ACTING.search(part.replace("<", "(").replace("![", "(")), part
    assert not HIDDEN.search(prose(text))


@settings(max_examples=100, deadline=None)
@given(TEXT, TEXT)
@example("", "://")
@example("a:b:////c", "\u00e9a://x")
def test_the_whole_text_of_others_is_inert_wherever_it_stands(text: str, other: str) -> None:
    made = study(
        topic=text, title=other, author=text, template=other, model=text, persona=other, provider=text,
        revisions=[Revision("r", other, text, 1.0)],
    )  # fmt: skip
    verdict = {**VERDICT, "claim": text, "unit": other, "summary": text, "data": other, "limits": [text, other]}
    body = pull_body(made, verdict, Outcome("failed", other), notes=[text], home=HOME, branch=BRANCH)
    pieces = leaves(PARSE(body))
    links = [shown for kind, shown in pieces if kind in ("link", "image")]
    assert set(links) <= {f"{HOME}/blob/{BRANCH}/{path}" for path in ("reports/report.html", "notebook.py")}
    assert not [kind for kind, _ in pieces if kind in ("image", "inline_html", "block_html")]
    assert not HIDDEN.search(body)
    for kind, shown in pieces:
        if kind == "text":
            assert not re.search(r"@\w|#\d|://", shown), shown
    for line in (pull_title(made, verdict), default_description(made)):
        assert "\n" not in line
        assert not re.search(r"@\w|#\d|://|\bgh-\d|[<>`]", line, re.IGNORECASE), line
        assert not HIDDEN.search(line)
    assert len(pull_title(made, verdict)) <= 120
    assert len(default_description(made)) <= 350


def test_the_pull_request_says_what_a_reviewer_needs() -> None:
    body = pull_body(study(), VERDICT, Outcome(), session_url="http://u:p@lab:8888/lab/tree?token=secret", home=HOME,
                     branch=BRANCH, notes=["2 files were left out."])  # fmt: skip
    for part in (
        "> **Draft: reviewed by nobody yet.** Made by a research agent: template equity\\_signal v1.0.0, without",
        "| Verdict | **Not supported** |",
        "| Estimate | 0.00123 per month |",
        "| 95 % interval | -0.004 to 0.0065 |",
        "| p-value | &lt; 0.0001 |",
        "| Observations | 1,200 |",
        "(simulated: it says how the method works, not how the world does)",
        "- One market only.\n- No costs.\n- No person has checked",
        f"[`reports/report.html`]({HOME}/blob/{BRANCH}/reports/report.html)",
        f"git clone --branch {BRANCH} {HOME} owls\npython3 owls/reproduce.py\n",
        "- [ ] The limits are complete",
        "Session `c_1` (<http://lab:8888/lab/tree>), run `r_1`",
        "## Notes on this publication\n\n- 2 files were left out.",
    ):
        assert part.replace("equity\\_signal", "equity_signal") in body, part
    assert "secret" not in body
    assert "u:p" not in body
    assert "run again, here or by the workflow *reproduce*, with" in body
    for there, sent in ((study(theirs=["README.md"]), True), (study(), False)):
        assert "- [ ] It was run again, with the same figures" in pull_body(there, VERDICT, Outcome(), workflows=sent)
    assert pull_title(study(), VERDICT) == "Study: Short Term Reversal (not supported)"


def test_a_study_without_a_verdict_claims_nothing() -> None:
    body = pull_body(study(), None, Outcome("failed", "Cell `load` failed: see #4."))
    assert "**The study did not finish.** Cell \\`load\\` failed: see `#4.`" in body
    assert "There is no verdict, so nothing is claimed." in body
    assert "Supported" not in body
    assert "git clone ADDRESS short-term-reversal" in body
    assert pull_title(study(), None).endswith("(no verdict yet)")


def test_a_model_its_persona_and_later_changes_are_named() -> None:
    made = study(provider="anthropic", model="some-model", persona="Statistician", template="", title="",
                 revisions=[Revision("r2", "other-model", "", 1.0)])  # fmt: skip
    body = pull_body(made, VERDICT, Outcome())
    assert (
        "the language model some-model (anthropic) with the persona Statistician; changed later by other-model" in body
    )


@pytest.mark.parametrize(
    "verdict",
    [
        {},
        {key: None for key in VERDICT},
        {"limits": [{"a": 1}], "estimate": [1]},
        {"estimate": float("nan"), "p_value": -1, "n_obs": 10**400, "supported": "yes"},
    ],
)
def test_a_strange_verdict_breaks_nothing(verdict: dict[str, Any]) -> None:
    body = pull_body(study(), verdict, Outcome())
    assert "| Verdict | **Undecided** |" in body
    assert not re.search(r"\b(nan|inf|None)\b", body)


def test_what_is_too_long_for_the_forge_is_cut() -> None:
    long = "word " * 5000
    verdict = {**VERDICT, "claim": long, "summary": long, "limits": [long] * 500}
    body = pull_body(study(topic=long, title=long), verdict, Outcome(), notes=[long] * 500)
    assert len(body) <= 60_010
    assert len(pull_title(study(topic=long), verdict)) <= 120
    assert len(default_description(study(topic=long, title=long))) <= 350


@settings(max_examples=100, deadline=None)
@given(TEXT, st.lists(st.text(max_size=80), max_size=30))
def test_labels_are_as_the_forge_takes_them(topic: str, extra: list[str]) -> None:
    labels = topic_labels(study(topic=topic), extra)
    assert len(labels) <= 20
    assert len(set(labels)) == len(labels)
    assert all(re.fullmatch(r"[a-z0-9][a-z0-9-]{0,49}", label) for label in labels), labels


def test_labels_are_the_configured_ones_and_the_topic() -> None:
    labels = topic_labels(study(), ["marimo", "research", "Open Science", "marimo", ""])
    assert labels == ["marimo", "research", "open-science", "short-term-reversal"]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("ask @ana and @owl-lab/team", "ask ana and owl-lab/team"),
        ("fixes #1, GH-2", "fixes no. 1, GH 2"),
        ("closes https://github.com/ana/owls/issues/1", "closes github.com/ana/owls/issues/1"),
        ("mail a@b.org", "mail a at b.org"),
        ("issue #x and C#", "issue #x and C#"),
    ],
)
def test_in_a_title_nothing_acts(text: str, shown: str) -> None:
    assert plain(text, 100) == shown


def test_what_was_not_sent_is_told() -> None:
    assert history_note(history="full", workflows=True) is None
    left_out = history_note(history="full", workflows=False) or ""
    assert "nothing is run again here by itself" in left_out
    assert "other names than provenance.json gives them" in left_out
    assert "one commit" in (history_note(history="squashed", workflows=True) or "")
    assert "without the files of .github/workflows" in (history_note(history="squashed", workflows=False) or "")
