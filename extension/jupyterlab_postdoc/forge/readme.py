"""README.md of a study: the answer with its uncertainty first, every number from the verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from jupyterlab_postdoc.forge import published
from jupyterlab_postdoc.forge.study import Outcome, Study
from jupyterlab_postdoc.forge.text import day, figure, markdown, one_line, paragraphs, simulated

_ENDINGS = {
    "failed": "This study did not finish.",
    "stopped": "This study was stopped before it finished.",
    "changed": "The notebook was changed after its last complete run.",
}


def readme(
    study: Study,
    verdict: Mapping[str, Any] | None,
    outcome: Outcome,
    *,
    python: str,
    present: Sequence[str],
    datasets: Sequence[Mapping[str, Any]],
    licence: str = "ours",
) -> str:
    """The whole file. ``present``: which of the study's files exist; ``datasets``: the manifest's entries;
    ``licence``: whose the file LICENSE is (``ours``, ``other``, ``none``).
    """
    begun = outcome.state == "running"
    sections = [
        f"# {markdown(study.topic, 150) or 'Study'}",
        "" if study.theirs else published.badges(study.home),
        _label(study),
        _question(study),
        f"## Result\n\n{published.under_review(study.home)}" if begun else _result(study, verdict, outcome, datasets),
        _figures(present),
        published.look(present, study.home, pages=study.pages),
        _limits(verdict, outcome) if not begun else "",
        ""
        if begun
        else published.reproduce(
            study.repo_name, study.home, study.branch, python=python, verdict=verdict, datasets=datasets
        ),
        _sources(datasets),
        _done(study, begun),
        _references(study),
        _files(present),
        _provenance(study, outcome, licence),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def maker(study: Study) -> str:
    """Who wrote the study, in one honest sentence part (Markdown)."""
    template = f"template {markdown(study.template)} v{markdown(study.template_version)}"
    if not study.by_model:
        made = f"generated from {template}, no language model was used"
        return made + (f" until it was {_revised(study)}" if study.revisions else "")
    made = f"written by the language model {markdown(study.model or 'unknown')} ({markdown(study.provider)})"
    if study.persona:
        made += f" with the persona {markdown(study.persona)}"
    if study.template:
        made += f", which began with {template}"
    return made + (f"; {_revised(study)}" if study.revisions else "")


def _revised(study: Study) -> str:
    """Later changes by a model, in one sentence part: the models in the order in which they came."""
    models = list(dict.fromkeys(revision.model for revision in study.revisions))
    last = max(revision.at for revision in study.revisions)
    return f"changed later by the language model {' and '.join(map(markdown, models))} (last on {day(last)})"


def _question(study: Study) -> str:
    method = f"Method: {markdown(study.title)}." if study.title else "The method is described in the notebook."
    return f"## Question\n\n{paragraphs(study.topic)}\n\n{method}"


def _label(study: Study) -> str:
    return f"> Made by a research agent; {maker(study)}. **Reviewed by: nobody yet.**"


def _result(
    study: Study, verdict: Mapping[str, Any] | None, outcome: Outcome, datasets: Sequence[Mapping[str, Any]]
) -> str:
    parts = ["## Result"]
    if outcome.state != "done":
        ending = _ENDINGS.get(outcome.state, _ENDINGS["failed"])
        reason = f" {markdown(outcome.reason)}" if outcome.reason else ""
        kept = " What was made until then is in this repository." if outcome.state in ("failed", "stopped") else ""
        parts.append(f"**{ending}**{reason}{kept}")
        if verdict is not None:
            parts.append(
                "The figures below are those of the last complete run of the notebook. Treat them as unfinished."
            )
    if verdict is None:
        if outcome.state == "done":
            parts.append("**There is no verdict:** the notebook did not compute one, so nothing is claimed here.")
        return "\n\n".join(parts)
    parts.append(
        "\n".join(f"{number}. {line}" for number, line in enumerate(_three_lines(study, verdict, datasets), 1))
    )
    if summary := _text(verdict.get("summary")):
        parts.append(markdown(summary))
    return "\n\n".join(parts)


def _three_lines(study: Study, verdict: Mapping[str, Any], datasets: Sequence[Mapping[str, Any]]) -> list[str]:
    claim = _text(verdict.get("claim")) or one_line(study.topic)
    return [f"**{judged(verdict)}:** {markdown(claim)}", _estimate(verdict), _data(study, verdict, datasets)]


def judged(verdict: Mapping[str, Any]) -> str:
    """What the verdict says of the claim, in one or two words."""
    supported = verdict.get("supported")
    return "Supported" if supported is True else "Not supported" if supported is False else "Undecided"


def _estimate(verdict: Mapping[str, Any]) -> str:
    value = figure(verdict.get("estimate"))
    if value is None:
        return f"Estimate: none was computed{_chance(verdict)}."
    unit = _text(verdict.get("unit"))
    low, high = figure(verdict.get("ci_low")), figure(verdict.get("ci_high"))
    interval = f"95 % interval {low} to {high}" if low is not None and high is not None else "no interval was computed"
    return f"Estimate: **{value}**{' ' + markdown(unit) if unit else ''} ({interval}){_chance(verdict)}."


def _chance(verdict: Mapping[str, Any]) -> str:
    found = ""
    p = verdict.get("p_value")
    if (shown := figure(p, 2)) is not None and isinstance(p, (int, float)):
        found += "; p < 0.0001" if 0 <= p < 0.0001 else f"; p = {shown}"
    if (count := figure(verdict.get("n_obs"))) is not None:
        found += f"; n = {count}"
    return found


def _data(study: Study, verdict: Mapping[str, Any], datasets: Sequence[Mapping[str, Any]]) -> str:
    label = _text(verdict.get("data")) or "not stated"
    span = markdown(_text(verdict.get("span")))
    if not span and verdict.get("start") and verdict.get("end"):
        span = markdown(f"{_text(verdict['start'])} to {_text(verdict['end'])}")
    if not span and not simulated(label) and (dates := published.spans(datasets)):
        span = f"dates from {dates}"
    warning = " (simulated: the figures say how the method works, not how the world does)" if simulated(label) else ""
    seed = figure(verdict.get("seed"))
    parts = [
        f"Data: {markdown(label)}{warning}",
        span,
        f"seed {seed.replace(',', '')}" if seed else "",
        f"computed on {day(study.finished if study.finished is not None else study.created)}",
    ]
    return ", ".join(part for part in parts if part) + "."


def _sources(datasets: Sequence[Mapping[str, Any]]) -> str:
    """Every file that was fetched from the network: what it is, where from, when, its licence and checksum."""
    lines = []
    for entry in datasets:
        url = str(entry.get("url") or "")
        if not url:
            continue
        about = [
            markdown(str(entry.get("description") or "")),
            f"<{url}>" if is_link(url) else markdown(url),
            f"retrieved {day_of(entry)}",
            f"licence: {markdown(str(entry.get('licence') or 'unknown'))}",
            f"sha256 `{_code(str(entry.get('sha256')))[:64]}`",
        ]
        lines.append(f"- `{_code(str(entry.get('path')))}`: {'; '.join(part for part in about if part)}.")
    return "## Data from the network\n\n" + "\n".join(lines) if lines else ""


def day_of(entry: Mapping[str, Any]) -> str:
    """The date in a manifest entry."""
    return markdown(str(entry.get("retrieved") or "at an unknown time")[:20].partition("T")[0])


def is_link(url: str) -> bool:
    """Whether an address can stand between angle brackets in Markdown as it is."""
    return url.startswith(("https://", "http://")) and not set(url) & set(" <>\"'`\n\r\t\\")


def _figures(present: Sequence[str]) -> str:
    images = sorted(path for path in present if path.startswith("figures/") and path.endswith(".png"))
    if not images:
        return ""
    chosen = "figures/figure.png" if "figures/figure.png" in images else images[0]
    return f"![The main figure of the study]({chosen})"


def _done(study: Study, begun: bool) -> str:
    if not study.plan:
        return ""
    steps = "\n".join(f"{number}. {markdown(step)}" for number, step in enumerate(study.plan, 1))
    traced = "" if begun else f"\n\n{_TRACED}"
    return f"## What was planned\n\n{steps}{traced}"


_TRACED = (
    "`provenance.json` names the commit of each step. A publication that left out the workflows has the same steps in "
    "commits of other names (the line `Research-Step` of their messages says which), and one that was squashed has "
    "one commit for all of them; the checksums in `provenance.json` hold in each case."
)


def _limits(verdict: Mapping[str, Any] | None, outcome: Outcome) -> str:
    given = verdict.get("limits") if verdict is not None else None
    limits = [text for item in given if (text := _text(item))] if isinstance(given, (list, tuple)) else []
    lines = [f"- {markdown(text)}" for text in limits]
    if outcome.state != "done":
        lines.append("- The study is unfinished.")
    lines.append("- No person has checked the method, the code or the conclusion.")
    return "## Limits\n\n" + "\n".join(lines)


def _references(study: Study) -> str:
    lines = []
    for item in study.references:
        link = item.get("url") or (f"https://doi.org/{item['doi']}" if item.get("doi") else "")
        lines.append(f"- {markdown(str(item.get('text') or link))}" + (f" <{link}>" if is_link(link) else ""))
    return "## References\n\n" + "\n".join(lines) if lines else ""


_ABOUT = {
    "notebook.py": "the study: a marimo notebook",
    "reports/report.html": "the executed notebook; opens in any browser",
    "reports/interactive.html": "the same with charts that can be explored (needs JavaScript and the network)",
    "results.json": "the verdict, for programs",
    "figures/": "the figures as PNG",
    "data/MANIFEST.json": "every data file with its sha256",
    "requirements.lock": "every package version of the run",
    "provenance.json": "who, when, which step made which commit, checksums",
    "reproduce.py": "runs the study again and compares",
}


def _files(present: Sequence[str]) -> str:
    have = {*present, *({"figures/"} if any(path.startswith("figures/") for path in present) else ())}
    rows = [f"| [`{path}`]({path}) | {about} |" for path, about in _ABOUT.items() if path in have]
    return "## Files\n\n| file | content |\n| --- | --- |\n" + "\n".join(rows)


def _provenance(study: Study, outcome: Outcome, licence: str) -> str:
    when = (
        f"finished {day(study.finished)}" if study.finished is not None and outcome.state == "done" else outcome.state
    )
    rows = [
        f"- Asked by {markdown(study.author) or 'unknown'}; started {day(study.created)}, {when}.",
        f"- Session `{_code(study.session)}`, run `{_code(study.run)}`; {maker(study)}.",
        f"- {published.licence(licence)}",
        "- Reviewed by: nobody yet when this was written; on GitHub the pull request shows who has reviewed it since.",
    ]
    return "## Provenance\n\n" + "\n".join(rows)


def _code(text: str) -> str:
    return one_line(text).replace("`", "'")


def _text(value: Any) -> str:
    return one_line(value, 2000) if isinstance(value, str) else ""
