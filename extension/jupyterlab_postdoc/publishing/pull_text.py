"""What Postdoc writes on a forge: title and text of a pull request, description and topic labels of a repository.

Topics, claims, limits and plans come from people, agents and fetched pages. In a pull request they would act: a name
would notify its bearer, ``fixes #1`` close an issue, an image tell somebody who looks. So every word that a forge could
act on is shown as code, and everything else is escaped. In one-line texts, where there is no markup, such a word loses
what makes it act.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal
from urllib.parse import urlsplit, urlunsplit

from jupyterlab_postdoc.forge import published
from jupyterlab_postdoc.forge.names import slugify_topic
from jupyterlab_postdoc.forge.readme import judged
from jupyterlab_postdoc.forge.study import Outcome, Study
from jupyterlab_postdoc.forge.text import day, figure, markdown, one_line, simulated

MAX_TITLE, MAX_DESCRIPTION = 120, 350
MAX_BODY = 60_000
"""Characters; GitHub takes 65,536."""
MAX_LABELS, MAX_LABEL = 20, 50
MAX_LIST = 20

_WORD = re.compile(r"[^\s`|]+")
_ACTS = re.compile(
    r"@|#\d|\bgh-\d|://|www\.|\b[0-9a-f]{7,64}\b|[\w.+-]+/[\w.-]+!\d|\bmailto:|^:[a-z0-9_+-]+:$", re.IGNORECASE
)
"""Words that GitHub links, or acts on: mentions, issues, addresses, names of commits, emoji."""


def pull_title(study: Study, verdict: Mapping[str, Any] | None) -> str:
    """At most 120 characters, without anything that a squashed commit of this title would set off."""
    ending = f" ({judged(verdict).lower()})" if verdict is not None else " (no verdict yet)"
    topic = plain(study.topic, MAX_TITLE - len(ending) - len("Study: ")) or "a study"
    return f"Study: {topic}{ending}"


def default_description(study: Study) -> str:
    """What the repository is, on one line of at most 350 characters."""
    ending = f" · {plain(study.title, 100)}" if study.title else ""
    ending += " · made by a research agent with Postdoc, see the README for who has reviewed it"
    return plain(study.topic, MAX_DESCRIPTION - len(ending)) + ending


def topic_labels(study: Study, extra: Iterable[str]) -> list[str]:
    """Topic labels as GitHub takes them: the configured ones first, then one of the study's topic. At most 20."""
    found: list[str] = []
    for text in (*extra, study.topic):
        label = slugify_topic(one_line(text), MAX_LABEL).strip("-") if one_line(text) else ""
        if label and label not in found:
            found.append(label)
    return found[:MAX_LABELS]


def pull_body(
    study: Study,
    verdict: Mapping[str, Any] | None,
    outcome: Outcome,
    *,
    session_url: str | None = None,
    notes: Sequence[str] = (),
    home: str = "",
    branch: str = "",
    workflows: bool = True,
) -> str:
    """The text of the pull request (Markdown). ``home`` and ``branch`` are where it is; those of the study otherwise.

    ``workflows``: the study's own are sent too. ``notes`` are sentences about this publication, such as
    :func:`history_note`.
    """
    home, branch = home or study.home, branch or study.branch
    sections = [
        f"> **Draft: reviewed by nobody yet.** Made by a research agent: {_maker(study)}.",
        f"## Question\n\n{prose(study.topic, 4000)}",
        _verdict(study, verdict, outcome),
        _limits(verdict),
        _review(study, verdict, home, branch, workflows),
        _provenance(study, session_url),
        "## Notes on this publication\n\n" + _items(notes) if notes else "",
    ]
    text = "\n\n".join(section for section in sections if section)
    return (text if len(text) <= MAX_BODY else text[:MAX_BODY].rpartition("\n")[0] + "\n\n…") + "\n"


def history_note(*, history: Literal["full", "squashed"], workflows: bool) -> str | None:
    """What of the session's history is not here as it was made, and what holds nevertheless; None: nothing."""
    if history == "squashed":
        sent = "All steps of the session were sent as one commit"
        sent += ", without the files of .github/workflows" if not workflows else ""
        return (
            f"{sent}. The commits that provenance.json names exist only where the study was made; its checksums hold "
            "here too."
        )
    if not workflows:
        return (
            "The files of .github/workflows were left out, because the token may not change workflows. So nothing is "
            "run again here by itself, and the commits have other names than provenance.json gives them: the line "
            "Research-Step of their messages says which step each one is."
        )
    return None


def prose(text: str, limit: int = 2000) -> str:
    """One line of Markdown that shows the text as it is, and in which nothing acts."""
    line, done, at = one_line(text, limit), [], 0
    for word in _WORD.finditer(line):
        if _ACTS.search(word[0]):
            done += [_escaped(line[at : word.start()]), f"`{word[0]}`"]
            at = word.end()
    return "".join([*done, _escaped(line[at:])])


def _escaped(text: str) -> str:
    """Markdown of a part of a line; the spaces at its ends stay."""
    inner = text.strip(" ")
    if not inner:
        return text
    before, after = text[: len(text) - len(text.lstrip(" "))], text[len(text.rstrip(" ")) :]
    return before + markdown(inner, len(inner) + 1) + after


def plain(text: str, limit: int) -> str:
    """One line for a place without markup: mentions, issue numbers and addresses lose what makes them act."""
    line = one_line(text, 4 * limit + 1000)
    while "://" in line:  # what is left of one may make another: "a:b:////c"
        line = re.sub(r"(?:\b[a-z][a-z0-9+.-]*)?://", "", line, flags=re.IGNORECASE)
    line = re.sub(r"(?<![A-Za-z0-9])@+(?=\w)", "", line).replace("@", " at ")
    line = re.sub(r"\bgh-(?=\d)", "GH ", line, flags=re.IGNORECASE)
    line = re.sub(r"#+(?=\d)", " no. ", line)
    return one_line(re.sub(r"[<>`]", " ", line), limit)


def _maker(study: Study) -> str:
    """Who wrote it: template or model, persona, and who changed it later."""
    template = f"template {prose(study.template, 100)} v{prose(study.template_version, 40)}" if study.template else ""
    if study.by_model:
        made = f"the language model {prose(study.model or 'unknown', 100)} ({prose(study.provider, 60)})"
        made += f" with the persona {prose(study.persona, 100)}" if study.persona else ""
        made += f", which began with {template}" if template else ""
    else:
        made = f"{template or 'a template'}, without a language model"
    models = dict.fromkeys(prose(revision.model, 100) for revision in study.revisions)
    return made + (f"; changed later by {' and '.join(models)}" if models else "")


def _verdict(study: Study, verdict: Mapping[str, Any] | None, outcome: Outcome) -> str:
    parts = ["## Verdict"]
    if outcome.state != "done":
        states = {"stopped": "was stopped", "changed": "was changed after its last complete run"}
        reason = f" {prose(outcome.reason)}" if outcome.reason else ""
        parts.append(f"**The study {states.get(outcome.state, 'did not finish')}.**{reason}")
    if verdict is None:
        parts.append("There is no verdict, so nothing is claimed.")
        return "\n\n".join(parts)
    rows = [f"| {name} | {value} |" for name, value in _rows(study, verdict) if value]
    parts.append("| | |\n| --- | --- |\n" + "\n".join(rows))
    if summary := _text(verdict.get("summary")):
        parts.append(prose(summary))
    return "\n\n".join(parts)


def _rows(study: Study, verdict: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The table: how sure it is stands next to what it says."""
    value, unit = figure(verdict.get("estimate")), _text(verdict.get("unit"))
    low, high = figure(verdict.get("ci_low")), figure(verdict.get("ci_high"))
    p, label = verdict.get("p_value"), _text(verdict.get("data"))
    chance = figure(p, 2)
    if chance is not None and isinstance(p, (int, float)) and 0 <= p < 0.0001:
        chance = "&lt; 0.0001"
    note = " (simulated: it says how the method works, not how the world does)" if simulated(label) else ""
    return [
        ("Verdict", f"**{judged(verdict)}**"),
        ("Claim", prose(_text(verdict.get("claim")) or study.topic, 1000)),
        ("Estimate", f"{value} {prose(unit, 200)}".strip() if value is not None else "none was computed"),
        ("95 % interval", f"{low} to {high}" if low is not None and high is not None else "none was computed"),
        ("p-value", chance or ""),
        ("Observations", figure(verdict.get("n_obs")) or ""),
        ("Data", f"{prose(label, 300)}{note}" if label else "not stated"),
        ("Computed", day(study.finished if study.finished is not None else study.created)),
    ]


def _limits(verdict: Mapping[str, Any] | None) -> str:
    given = verdict.get("limits") if verdict is not None else None
    limits = [text for item in given if (text := _text(item))] if isinstance(given, (list, tuple)) else []
    return f"### Limits\n\n{_items([*limits, 'No person has checked the method, the code or the conclusion.'])}"


def _review(study: Study, verdict: Mapping[str, Any] | None, home: str, branch: str, workflows: bool) -> str:
    known = published.is_home(home) and published.is_branch(branch)

    def file(path: str) -> str:
        return f"[`{path}`]({home}/blob/{branch}/{path})" if known else f"`{path}`"

    again = ", here or by the workflow *reproduce*" if workflows and not study.theirs else ""
    run = published.commands(study.repo_name, home, branch)
    if not known:
        run = (
            published.commands(study.repo_name, home) + "\n\n(the first one with `--branch` and the name of the branch)"
        )
    return "\n\n".join(
        [
            "## How to review",
            f"1. Read the report: {file('reports/report.html')} (GitHub shows it as source: download it and open it in "
            "a browser).\n"
            f"2. Read the code: {file('notebook.py')}, under *Files changed*; one function a cell, each cell named.\n"
            + ("3. Run it again, and compare the figures:" if verdict is not None else "3. Run it:"),
            run,
            "- [ ] The question is the one that the notebook answers\n"
            "- [ ] The data are what they are said to be, and may be used (`data/MANIFEST.json`)\n"
            "- [ ] Nothing of the future is used to predict it; what was tried and not reported is said\n"
            "- [ ] The estimate, its interval and the verdict follow from the code\n"
            "- [ ] The limits are complete\n"
            f"- [ ] It was run again{again}, with the same figures",
        ]
    )


def _provenance(study: Study, session_url: str | None) -> str:
    session = f"session `{_code(study.session)}`"
    if address := _address(session_url or ""):
        session += f" (<{address}>)"
    began = f"began {day(study.created)}" + (f", finished {day(study.finished)}" if study.finished is not None else "")
    lines = [
        f"- Asked by {prose(study.author, 100) or 'unknown'}; {began}.",
        f"- {session[0].upper()}{session[1:]}, run `{_code(study.run)}`; {_maker(study)}.",
        "- `provenance.json` has the steps with their commits, the versions of all packages, and checksums.",
    ]
    return "## Provenance\n\n" + "\n".join(lines)


def _items(texts: Sequence[str]) -> str:
    shown = [f"- {prose(text, 1000)}" for text in texts[:MAX_LIST]]
    if len(texts) > MAX_LIST:
        shown.append(f"- … and {len(texts) - MAX_LIST} more.")
    return "\n".join(shown)


def _address(url: str) -> str:
    """A link to the session without what may be secret in it: no user, no query (a token stands there)."""
    try:
        parts = urlsplit(one_line(url, 500))
        host = f"{parts.hostname}:{parts.port}" if parts.port else str(parts.hostname or "")
    except ValueError:
        return ""
    made = urlunsplit((parts.scheme, host, parts.path, "", ""))
    fits = parts.scheme in ("http", "https") and host and re.fullmatch(r"[A-Za-z0-9:/._~%+-]+", made)
    return made if fits else ""


def _code(text: str) -> str:
    return one_line(text).replace("`", "'")


def _text(value: Any) -> str:
    return one_line(value, 2000) if isinstance(value, str) else ""
