"""marimo's HTML → plain, script-free HTML: an allow list of elements and attributes, and its web components as
ordinary elements.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any

from jupyterlab_postdoc.notebooks.worker import outputs

ELEMENTS = set(
    [
        "a",
        "abbr",
        "b",
        "blockquote",
        "br",
        "caption",
        "cite",
        "code",
        "col",
        "colgroup",
        "dd",
        "del",
        "details",
        "dfn",
        "div",
        "dl",
        "dt",
        "em",
        "figcaption",
        "figure",
        "h1",
        "h2",
        "h3",
        "h4",
        "h5",
        "h6",
        "hr",
        "i",
        "img",
        "ins",
        "kbd",
        "li",
        "mark",
        "ol",
        "p",
        "pre",
        "q",
        "s",
        "samp",
        "section",
        "small",
        "span",
        "strong",
        "sub",
        "summary",
        "sup",
        "table",
        "tbody",
        "td",
        "tfoot",
        "th",
        "thead",
        "tr",
        "u",
        "ul",
        "var",
        "math",
        "mrow",
        "mi",
        "mo",
        "mn",
        "ms",
        "mtext",
        "mspace",
        "msup",
        "msub",
        "msubsup",
        "mfrac",
        "msqrt",
        "mroot",
        "mover",
        "munder",
        "munderover",
        "mtable",
        "mtr",
        "mtd",
        "mstyle",
        "mpadded",
        "mphantom",
        "menclose",
        "semantics",
        "annotation",
    ]
)
VOID = {"br", "hr", "img", "col"}
DROPPED = {
    "script",
    "style",
    "iframe",
    "object",
    "embed",
    "form",
    "template",
    "noscript",
    "svg",
    "video",
    "audio",
    "canvas",
}
ATTRIBUTES = set(
    [
        "alt",
        "title",
        "colspan",
        "rowspan",
        "scope",
        "span",
        "start",
        "reversed",
        "open",
        "lang",
        "dir",
        "width",
        "height",
        "mathvariant",
        "displaystyle",
        "stretchy",
        "fence",
        "separator",
        "accent",
        "lspace",
        "rspace",
        "linethickness",
        "columnalign",
        "rowspacing",
        "columnspacing",
        "class",
        "xmlns",
        "display",
    ]
)
CLASSES = re.compile(r"^(admonition(-title)?|codehilite|language-\w+|paragraph|footnote|[a-z]{1,3}\d?|gt|gr)$")
STYLES = re.compile(
    r"^(display|flex|flex-direction|flex-wrap|justify-content|align-items|gap|text-align|width|max-width|font-weight|font-style|"
    r"color|background-color|padding|margin|border|border-radius|white-space)$"
)
KINDS = {
    "warn": "warning",
    "danger": "danger",
    "success": "success",
    "info": "info",
    "neutral": "neutral",
    "alert": "danger",
}


Embed = Callable[[str, Any], str]


def nothing(mimetype: str, data: Any) -> str:  # noqa: ARG001
    """The embedder of a place where no outputs are expected."""
    return ""


def safe(markup: str, embed: Embed = nothing) -> str:
    """The markup with everything else than the allow list gone or made plain.

    ``embed`` draws an output that lies inside of the markup (MIME type, data), such as a chart in a stack.
    """
    parser = Rewriter(embed)
    parser.feed(markup)
    parser.close()
    return parser.result()


class Rewriter(HTMLParser):
    def __init__(self, embed: Embed) -> None:
        super().__init__(convert_charrefs=True)
        self.embed = embed
        self.out: list[str] = []
        self.open: list[str] = []
        self.skip: str | None = None
        self.depth = 0
        self.tex: list[str] | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if self.skip:
            self.depth += tag == self.skip
            return
        if tag in DROPPED:
            self.skip, self.depth = tag, 1
        elif tag == "marimo-tex":
            self.tex = []
        elif tag.startswith("marimo-"):
            self.out.append(component(tag, dict(attrs), self.embed))
        elif tag in ELEMENTS:
            self.out.append(f"<{tag}{''.join(attributes(tag, attrs))}>")
            if tag not in VOID:
                self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in DROPPED:
            self.handle_starttag(tag, attrs)
            self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        if self.skip:
            self.depth -= tag == self.skip
            if self.depth <= 0:
                self.skip = None
        elif tag == "marimo-tex" and self.tex is not None:
            self.out.append(math("".join(self.tex)))
            self.tex = None
        elif tag in self.open:
            while (last := self.open.pop()) != tag:
                self.out.append(f"</{last}>")
            self.out.append(f"</{tag}>")

    def handle_data(self, data: str) -> None:
        if self.tex is not None:
            self.tex.append(data)
        elif not self.skip:
            self.out.append(html.escape(data, quote=False))

    def result(self) -> str:
        return "".join(self.out) + "".join(f"</{tag}>" for tag in reversed(self.open))


def attributes(tag: str, attrs: list[tuple[str, str | None]]) -> list[str]:
    found = []
    for name, value in attrs:
        value = value or ""
        if name == "href" and tag == "a" and re.match(r"(?i)(https?:|mailto:|#)", value.strip()):
            away = "" if value.strip().startswith("#") else ' target="_blank" rel="noopener noreferrer"'
            found.append(f' href="{html.escape(value)}"{away}')
        elif name == "src" and tag == "img" and re.match(r"(?i)data:image/(png|jpeg|gif|webp|svg\+xml)[;,]", value):
            found.append(f' src="{html.escape(value)}"')
        elif name == "class":
            if kept := " ".join(c for c in value.split() if CLASSES.match(c)):
                found.append(f' class="{kept}"')
        elif name == "style":
            if kept := style(value):
                found.append(f' style="{html.escape(kept)}"')
        elif name in ATTRIBUTES:
            found.append(f' {name}="{html.escape(value)}"')
    if tag == "img" and not any(name == "alt" for name, _ in attrs):
        found.append(' alt=""')
    return found


def style(text: str) -> str:
    kept = []
    for rule in text.split(";"):
        name, _, value = rule.partition(":")
        harmless = not re.search(r"(?i)url|expression|import|\\|[<>{}@]", value)
        if STYLES.match(name.strip().lower()) and harmless:
            kept.append(f"{name.strip()}:{value.strip()}")
    return ";".join(kept)


def math(text: str) -> str:
    """TeX between marimo's marks → MathML, which browsers draw by themselves; else the TeX source in a code element."""
    text = text.strip()
    block = text.startswith("||[")
    source = re.sub(r"^\|\|[\[(]|\|\|[\])]$", "", text).strip()
    try:
        from latex2mathml.converter import convert

        return str(convert(source, display="block" if block else "inline"))
    except Exception:  # noqa: BLE001  the converter raises many kinds; the source is always readable
        return f'<code class="tex">{html.escape(source)}</code>'


def values(attrs: dict[str, str | None]) -> dict[str, Any]:
    """The ``data-…`` attributes of a component: JSON."""
    found: dict[str, Any] = {}
    for name, value in attrs.items():
        if name.startswith("data-") and value is not None:
            try:
                found[name[5:]] = json.loads(value)
            except ValueError:
                found[name[5:]] = value
    return found


def component(tag: str, attrs: dict[str, str | None], embed: Embed) -> str:
    """A marimo web component as plain HTML; controls show their label and value."""
    data = values(attrs)
    if tag == "marimo-table":
        return table(data)
    if tag == "marimo-mime-renderer":
        return embed(str(data.get("mime")), data.get("data"))
    if tag == "marimo-callout-output":
        kind = KINDS.get(str(data.get("kind")), "neutral")
        return f'<div class="callout {kind}">{safe(str(data.get("html", "")), embed)}</div>'
    if tag == "marimo-stat":
        caption = f"<small>{text(data['caption'])}</small>" if data.get("caption") else ""
        label, value = text(data.get("label")), text(data.get("value"))
        return f'<div class="stat"><span>{label}</span><strong>{value}</strong>{caption}</div>'
    if tag in ("marimo-accordion", "marimo-tabs"):
        labels = data.get("labels") or data.get("tabs") or []
        return (
            "".join(f"<p><strong>{safe(str(label))}</strong></p>" for label in labels[:1]) if len(labels) == 1 else ""
        )
    if tag == "marimo-json-output":
        shown = json.dumps(outputs.decode(data.get("json-data")), indent=2, ensure_ascii=False, default=str)
        return f"<pre>{html.escape(shown)}</pre>"
    if "label" in data and "initial-value" in data and tag not in ("marimo-ui-element", "marimo-form"):
        return control(tag, data)
    return ""


def control(tag: str, data: dict[str, Any]) -> str:
    label, value = safe(str(data.get("label") or "")), data.get("initial-value")
    if tag == "marimo-slider" and isinstance(data.get("steps"), list) and isinstance(value, (int, float)):
        steps = data["steps"]
        value = steps[int(value)] if 0 <= int(value) < len(steps) else value
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    shown = ", ".join(map(str, value)) if isinstance(value, list) else "" if value is None else str(value)
    return f'<span class="control"><span>{label or "Value"}</span> <output>{html.escape(shown)}</output></span>'


def table(data: dict[str, Any]) -> str:
    rows = data.get("data")
    if isinstance(rows, str):
        try:
            rows = json.loads(rows)
        except ValueError:
            rows = None
    if not isinstance(rows, list):
        return "<p><em>A table that only the interactive report shows.</em></p>"
    rows = [row for row in rows if isinstance(row, dict)]
    columns = [c for c in (rows[0] if rows else {}) if c != "_marimo_row_id"]
    index = {row[0] for row in data.get("row-headers") or [] if isinstance(row, list) and row}
    numeric = {c for c in columns if all(isinstance(outputs.decode(r.get(c)), (int, float, type(None))) for r in rows)}
    head = "".join(
        f'<th scope="col"{right(c, numeric)}>{"" if c in index and not c.strip() else html.escape(c)}</th>'
        for c in columns
    )
    body = "".join(f"<tr>{''.join(cell(row, c, c in index, numeric) for c in columns)}</tr>" for row in rows)
    total = data.get("total-rows")
    more = (
        f"<p class='more'>{len(rows):,} of {total:,} rows</p>" if isinstance(total, int) and total > len(rows) else ""
    )
    label = f"<caption>{safe(str(data['label']))}</caption>" if data.get("label") else ""
    return f'<div class="scroll"><table>{label}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>{more}'


def right(column: str, numeric: set[str]) -> str:
    return ' class="n"' if column in numeric else ""


def cell(row: dict[str, Any], column: str, header: bool, numeric: set[str]) -> str:
    value = outputs.decode(row.get(column))
    if isinstance(value, float):
        value = f"{value:,.4g}" if abs(value) < 1e4 else f"{value:,.0f}"
    shown = "" if value is None else html.escape(str(value))
    return f'<th scope="row">{shown}</th>' if header else f"<td{right(column, numeric)}>{shown}</td>"


def text(value: Any) -> str:
    return safe(str(value)) if value is not None else ""
