"""The report as one self-contained page: no script, no server, no network; opened by a double click, printed, read
aloud.
"""

from __future__ import annotations

import html
import json
import re
from pathlib import Path
from typing import Any

from jupyterlab_postdoc.notebooks.worker import charts, markup, outputs

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
MAIN = ("estimate", "ci_low", "ci_high", "p_value", "n_obs", "unit", "data")
WORDS = ("claim", "supported", "summary", "limits")
CODE_ONLY = '<section class="quiet"'
PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{css}</style>
</head>
<body>
<main>
{warning}{body}
<footer>Executed notebook: {count} cells, marimo {version}. Text, tables and figures come from one run.</footer>
</main>
</body>
</html>
"""
CSS = Path(__file__).with_name("page.css").read_text(encoding="utf-8")


def build(study: dict[str, Any]) -> str:
    """The page of ``{"title", "cells": [state + hide_code], "session"}``."""
    cells, stored = study["cells"], study["session"].get("cells", [])
    sections = [section(cell, snapshot) for cell, snapshot in zip(cells, stored, strict=False)]
    failed = sum(cell["status"] == "error" for cell in cells)
    title = str(study.get("title") or first_heading("".join(sections)) or "Research report")
    body = arrange(sections, [cell["name"] for cell in cells])
    body = body if "<h1" in body else f"<h1>{html.escape(title)}</h1>{body}"
    return PAGE.format(
        policy=POLICY,
        title=html.escape(title),
        css=CSS,
        warning=warning(failed) if failed else "",
        body=body,
        count=len(cells),
        version=html.escape(str(study["session"].get("metadata", {}).get("marimo_version", ""))),
    )


def warning(failed: int) -> str:
    what = "One cell" if failed == 1 else f"{failed} cells"
    return f'<p class="error"><strong>{what} of this notebook failed.</strong> What depends on it is missing below.</p>'


def arrange(sections: list[str], names: list[str]) -> str:
    """The notebook's order, except that the verdict follows the title and code without output follows what is shown."""
    shown = [s for s in sections if s and not s.startswith(CODE_ONLY)]
    opening = next((s for s in shown if "<h1" in s), None)
    final = next((s for s, name in zip(sections, names, strict=False) if name == "verdict" and s in shown), None)
    if opening is None or final is None:
        return "".join(sections)
    rest = [s for s in sections if s not in (opening, final)]
    start = sections.index(opening)
    before = [s for s in sections[:start] if s.startswith(CODE_ONLY)]
    rest = [s for s in rest if s not in before]
    return "".join([opening, final, *before, *rest])


def first_heading(page: str) -> str:
    found = re.search(r"(?s)<h1[^>]*>(.*?)</h1>", page)
    return outputs.plain(found[1]) if found else ""


def section(cell: dict[str, Any], snapshot: dict[str, Any]) -> str:
    """One cell: its output, its text, its code folded away."""
    name = cell["name"]
    parts = [output(name, item) for item in snapshot.get("outputs", [])]
    parts += [console(snapshot)] if not name.startswith("test_") or cell["status"] == "error" else []
    if cell["status"] == "error" and cell["error"]:
        parts.append(error(cell))
    elif cell["status"] == "skipped":
        parts.append(f'<p class="dim">Cell <code>{html.escape(name)}</code> did not run.</p>')
    shown = "".join(parts)
    if name.startswith("test_") and cell["status"] == "ok":
        shown += f'<p class="dim">Check passed: <code>{html.escape(name)}</code></p>'
    code = "" if cell["hide_code"] or not cell["code"].strip() else source(name, cell["code"])
    start = f'<section aria-label="{html.escape(name)}">' if shown else f"{CODE_ONLY}>"
    return f"{start}{shown}{code}</section>\n" if shown or code else ""


def source(name: str, code: str) -> str:
    shown = f"<pre><code>{html.escape(code)}</code></pre>"
    return f'<details class="code"><summary>Code: {html.escape(name)}</summary>{shown}</details>'


def output(name: str, item: dict[str, Any]) -> str:
    if item.get("type") != "data":
        return ""
    for mimetype, data in item.get("data", {}).items():
        for kind, value in outputs.bundle(mimetype, data).items():
            if shown := one(name, kind, value):
                return shown
    return ""


def one(name: str, kind: str, value: Any) -> str:
    """One output of one MIME type."""
    if value in (None, "", {}):
        return ""
    if "vegalite" in kind:
        return chart(name, value)
    if kind in ("text/markdown", "text/html"):
        shown = markup.safe(str(value), lambda mimetype, data: one(name, mimetype, data))
        return shown if "<img" in shown or outputs.plain(shown) else ""
    if kind.startswith("image/") and str(value).startswith("data:image/"):
        return f'<figure><img alt="Figure: {html.escape(label(name))}" src="{html.escape(str(value))}"></figure>'
    if kind == "application/json":
        value = outputs.decode(json.loads(value) if isinstance(value, str) else value)
        if name == "verdict" and isinstance(value, dict):
            return verdict(value)
        return f"<pre>{html.escape(json.dumps(value, indent=2, ensure_ascii=False, default=str))}</pre>"
    return f"<pre>{html.escape(outputs.clip(str(value)))}</pre>" if kind.startswith("text/") else ""


def label(name: str) -> str:
    return name.replace("_", " ")


def chart(name: str, value: Any) -> str:
    try:
        spec = json.loads(value) if isinstance(value, str) else value
    except ValueError:
        return ""
    title = html.escape(outputs.chart_title(spec) or label(name))
    shown = charts.image(spec, f"Chart: {title}")
    if shown is None:
        shown = f'<p class="dim">Chart “{title}”: the interactive report shows it.</p>'
    return f"<figure>{shown}</figure>"


def verdict(value: dict[str, Any]) -> str:
    """The verdict as a reader wants it: the claim, whether it holds, the figures; all of it is in results.json."""
    supported = {True: "Supported", False: "Not supported", None: "Undecided"}.get(value.get("supported"), "Verdict")
    claim = f"<p><strong>{html.escape(str(value['claim']))}</strong></p>" if value.get("claim") else ""
    summary = f"<p>{html.escape(str(value['summary']))}</p>" if value.get("summary") else ""
    limits = value.get("limits")
    points = "".join(f"<li>{html.escape(str(item))}</li>" for item in limits) if isinstance(limits, list) else ""
    limits = f"<p>Limits:</p><ul>{points}</ul>" if points else ""
    plain = {k: v for k, v in value.items() if k not in WORDS and isinstance(v, (int, float, str)) and v != ""}
    main, more = ({k: v for k, v in plain.items() if (k in MAIN) is wanted} for wanted in (True, False))
    figures = figures_table(main)
    if more:
        figures += f"<details><summary>All figures</summary>{figures_table(more)}</details>"
    return f'<div class="verdict"><h2>Verdict: {supported}</h2>{claim}{summary}{figures}{limits}</div>'


def figures_table(figures: dict[str, Any]) -> str:
    rows = "".join(
        f'<tr><th scope="row">{html.escape(label(key))}</th><td>{html.escape(number(item))}</td></tr>'
        for key, item in figures.items()
    )
    return f"<table><tbody>{rows}</tbody></table>"


def number(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return (
        f"{value:.4g}"
        if isinstance(value, float)
        else f"{value:,}"
        if isinstance(value, int) and abs(value) > 9999
        else str(value)
    )


def console(snapshot: dict[str, Any]) -> str:
    rows = [
        r
        for r in snapshot.get("console", [])
        if r.get("type") == "stream" and r.get("mimetype") in (None, "text/plain")
    ]
    text = re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", "".join(str(r.get("text", "")) for r in rows)).strip()
    return f"<pre>{html.escape(outputs.clip(text))}</pre>" if text else ""


def error(cell: dict[str, Any]) -> str:
    what = cell["error"]
    where = f", line {what['line']}" if what.get("line") else ""
    trace = f"<pre>{html.escape(what['traceback'])}</pre>" if what.get("traceback") else ""
    head = f"<strong>Cell <code>{html.escape(cell['name'])}</code>{where}: {html.escape(str(what['name']))}</strong>"
    return f'<div class="error">{head}<p>{html.escape(str(what["message"]))}</p>{trace}</div>'
