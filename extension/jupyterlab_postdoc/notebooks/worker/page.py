"""The report as one self-contained page: no script, no server, no network; opened by a double click, printed, read aloud."""

from __future__ import annotations

import html
import json
import re
from typing import Any

from jupyterlab_postdoc.notebooks.worker import charts, markup, outputs

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
CSS = """
:root{color-scheme:light dark;--fg:#1c1e21;--bg:#fff;--soft:#f5f6f7;--line:#d8dbdf;--dim:#5b6168;--link:#0b57a4;--bad:#a4161a;--bad-bg:#fdf0f0}
@media (prefers-color-scheme:dark){:root{--fg:#e6e7e9;--bg:#16181b;--soft:#212429;--line:#3a3f46;--dim:#a2a9b1;--link:#7db7f0;--bad:#ff9b9b;--bad-bg:#3a2022}}
*{box-sizing:border-box}
body{margin:0;background:var(--bg);color:var(--fg);font:17px/1.6 Charter,"Bitstream Charter","Sitka Text",Cambria,Georgia,serif}
main{max-width:46rem;margin:0 auto;padding:2.5rem 1.25rem 4rem}
h1,h2,h3,h4{font-family:system-ui,-apple-system,"Segoe UI",Roboto,sans-serif;line-height:1.25;margin:2em 0 .6em}
h1{font-size:1.9rem;margin-top:.5em}h2{font-size:1.35rem}h3{font-size:1.1rem}
a{color:var(--link)}
.paragraph,p{display:block;margin:.8em 0}
section{margin:1.2rem 0}
img{max-width:100%;height:auto}
figure{margin:1.2rem 0}
figure img,img.chart{display:block;background:#fff;border-radius:6px;padding:10px;border:1px solid var(--line)}
.scroll{overflow-x:auto}
table{border-collapse:collapse;font:14px/1.45 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif;margin:1rem 0;font-variant-numeric:tabular-nums}
th,td{padding:.35rem .8rem;text-align:left;border-bottom:1px solid var(--line);vertical-align:top}
thead th{border-bottom:2px solid var(--line);white-space:nowrap}td.n,th.n{text-align:right}caption{text-align:left;font-weight:600}
.more,.dim{color:var(--dim);font-size:.85rem}
pre,code{font:13px/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace}
pre{background:var(--soft);padding:.8rem 1rem;border-radius:6px;overflow-x:auto;white-space:pre-wrap;overflow-wrap:anywhere}
code{background:var(--soft);padding:.1em .3em;border-radius:4px}pre code{padding:0}
details.code{margin:.4rem 0;font:13px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
details.code>summary{color:var(--dim);cursor:pointer;width:max-content;max-width:100%}
.error{border-left:4px solid var(--bad);background:var(--bad-bg);padding:.6rem 1rem;border-radius:0 6px 6px 0}.error strong{color:var(--bad)}
.callout,.admonition{border-left:4px solid var(--dim);background:var(--soft);padding:.6rem 1rem;border-radius:0 6px 6px 0;margin:1rem 0}
.callout.warning{border-color:#c27c0e}.callout.danger{border-color:var(--bad)}.callout.success{border-color:#2c7a4b}.callout.info{border-color:var(--link)}
.admonition-title{display:block;font-weight:600}
.stat{display:inline-block;margin:.4rem 2rem .4rem 0;font-family:system-ui,sans-serif}.stat span,.stat small{display:block;color:var(--dim);font-size:.85rem}
.stat strong{font-size:1.5rem;font-variant-numeric:tabular-nums}
.control{display:inline-block;margin:.25rem 1.2rem .25rem 0;font:14px system-ui,sans-serif;color:var(--dim)}
.control .paragraph{display:inline;margin:0}.control output{color:var(--fg);font-weight:600}
.verdict{border:1px solid var(--line);border-radius:8px;padding:1rem 1.25rem;margin:1.5rem 0;background:var(--soft)}
.verdict h2{margin:0 0 .4rem;font-size:1.1rem}.verdict table{margin:.6rem 0 0}.verdict td,.verdict th{border:0;padding:.15rem 1rem .15rem 0}
math{font-size:1.05em}
footer{margin-top:3rem;padding-top:1rem;border-top:1px solid var(--line);color:var(--dim);font:13px/1.5 system-ui,sans-serif}
@media print{:root{--fg:#000;--bg:#fff;--soft:#f4f4f4;--line:#bbb;--dim:#444}body{font-size:11pt}main{max-width:none;padding:0}
 details.code{display:none}figure,table,.verdict,.error{break-inside:avoid}h1,h2,h3{break-after:avoid}}
"""


def build(study: dict[str, Any]) -> str:
    """The page of ``{"title", "cells": [state + hide_code], "session"}``."""
    cells = study["cells"]
    stored = study["session"].get("cells", [])
    body, failed = [], 0
    for cell, snapshot in zip(cells, stored, strict=False):
        failed += cell["status"] == "error"
        body.append(section(cell, snapshot))
    title = str(study.get("title") or first_heading("".join(body)) or "Research report")
    body.insert(0, "" if "<h1" in "".join(body) else f"<h1>{html.escape(title)}</h1>")
    warning = (
        f'<p class="error"><strong>{failed} cell{"s" * (failed > 1)} of this notebook failed.</strong> '
        if failed
        else ""
    )
    warning += "What depends on them is missing below.</p>" if failed else ""
    version = html.escape(str(study["session"].get("metadata", {}).get("marimo_version", "")))
    foot = f"Executed notebook, {len(cells)} cells, marimo {version}. Figures, text and tables come from one run of notebook.py."
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<title>{html.escape(title)}</title>\n'
        f"<style>{CSS}</style>\n</head>\n<body>\n<main>\n{warning}{''.join(body)}\n<footer>{foot}</footer>\n</main>\n</body>\n</html>\n"
    )


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
    return f'<section aria-label="{html.escape(name)}">{shown}{code}</section>\n' if shown or code else ""


def source(name: str, code: str) -> str:
    return f'<details class="code"><summary>Code: {html.escape(name)}</summary><pre><code>{html.escape(code)}</code></pre></details>'


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
        shown = markup.safe(str(value))
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
    rows = "".join(
        f'<tr><th scope="row">{html.escape(label(key))}</th><td>{html.escape(number(item))}</td></tr>'
        for key, item in value.items()
        if key not in ("claim", "supported", "summary", "limits") and isinstance(item, (int, float, str)) and item != ""
    )
    return f'<div class="verdict"><h2>Verdict: {supported}</h2>{claim}{summary}<table><tbody>{rows}</tbody></table>{limits}</div>'


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
