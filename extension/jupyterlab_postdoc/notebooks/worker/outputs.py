"""Cell outputs as marimo sends them → small, plain values: text, table heads, figures, the verdict."""

from __future__ import annotations

import base64
import binascii
import html
import json
import math
import re
import struct
import zlib
from typing import Any

TEXT_CHARS = 4_000
TABLE_ROWS, TABLE_COLUMNS, FIELD_CHARS = 20, 12, 80
JSON_CHARS = 20_000
PARTS = 12
TABLE = re.compile(r"(?is)(<table\b.*?</table\s*>)")
ROW = re.compile(r"(?is)<tr\b[^>]*>(.*?)</tr\s*>")
CELL = re.compile(r"(?is)<t[hd]\b[^>]*>(.*?)</t[hd]\s*>")
CONSOLE_CHARS = 20_000

Output = dict[str, Any]


def clip(text: str, limit: int = TEXT_CHARS) -> str:
    if len(text) <= limit:
        return text
    half = limit // 2
    return f"{text[:half]}\n… {len(text) - limit:,} characters left out …\n{text[-half:]}"


def plain(markup: str) -> str:
    """HTML as text, good enough for a log: tags out, blocks on lines of their own."""
    markup = re.sub(r"(?is)<(script|style)\b.*?</\1\s*>", "", markup)
    markup = re.sub(r"(?i)<(br|/p|/div|/li|/tr|/h[1-6]|/pre)\b[^>]*>", "\n", markup)
    text = html.unescape(re.sub(r"(?s)<[^>]*>", "", markup)).replace("||(", "$").replace("||)", "$")
    return re.sub(r"\n{3,}", "\n\n", text).strip()


def bundle(mimetype: str, data: Any) -> dict[str, Any]:
    """MIME type → data, with marimo's own bundle opened."""
    if mimetype == "application/vnd.marimo+mimebundle":
        opened = json.loads(data) if isinstance(data, str) else data
        return {k: v for k, v in opened.items() if "/" in k} if isinstance(opened, dict) else {}
    return {mimetype: data}


def png(mimetype: str, data: Any) -> bytes | None:
    """The bytes of a PNG output."""
    url = bundle(mimetype, data).get("image/png")
    if not isinstance(url, str):
        return None
    try:
        raw = base64.b64decode(url.partition("base64,")[2] or url, validate=False)
    except (binascii.Error, ValueError):
        return None
    return raw if raw.startswith(b"\x89PNG\r\n") else None


def signature(cell: str) -> bytes:
    """The PNG chunk that says which cell drew the picture, so that a later run knows its own files."""
    body = b"tEXtSoftware\0Postdoc, cell " + cell.encode("latin-1", "replace")
    return struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))


def signed(data: bytes, cell: str) -> bytes:
    """The PNG with our signature behind its header (8 bytes and the first chunk, 25 bytes)."""
    return data[:33] + signature(cell) + data[33:]


def summarise(mimetype: str, data: Any, figure: str | None) -> list[Output]:
    """At most a few small outputs of one cell; ``figure`` is the path its PNG was written to."""
    parts = bundle(mimetype, data)
    if figure is not None:
        return [{"kind": "image", "path": figure, "text": ""}]
    for kind, value in parts.items():
        if value in (None, "", {}):
            continue
        if "vegalite" in kind:
            return [chart(value)]
        if kind == "application/json":
            return [as_json(value)]
        if kind == "text/markdown":
            return with_tables(str(value), "markdown") or [{"kind": "markdown", "text": clip(plain(str(value)))}]
        if kind == "text/html":
            return as_html(str(value))
        if kind.startswith("image/"):
            return [{"kind": "image", "text": kind, "path": None}]
        return [{"kind": "text", "text": clip(str(value))}]
    return []


def chart(spec: Any) -> Output:
    try:
        spec = json.loads(spec) if isinstance(spec, str) else spec
    except ValueError:
        return {"kind": "chart", "text": "", "data": {}}
    title = chart_title(spec)
    mark = spec.get("mark") if isinstance(spec, dict) else None
    kind = mark.get("type") if isinstance(mark, dict) else mark
    return {"kind": "chart", "text": title, "data": {"mark": kind, "encoding": axes(spec)}}


def chart_title(spec: Any) -> str:
    """The title of a vega-lite chart; of its first part when only the parts have one."""
    if not isinstance(spec, dict):
        return ""
    title = spec.get("title")
    title = title.get("text") if isinstance(title, dict) else title
    if isinstance(title, list):
        title = " ".join(map(str, title))
    if title:
        return str(title)
    for key in ("layer", "vconcat", "hconcat", "concat"):
        for part in spec.get(key) or []:
            if found := chart_title(part):
                return found
    return chart_title(spec["spec"]) if isinstance(spec.get("spec"), dict) else ""


def axes(spec: Any) -> dict[str, str]:
    encoding = spec.get("encoding") if isinstance(spec, dict) else None
    found = {}
    for channel in ("x", "y", "color"):
        value = (encoding or {}).get(channel)
        if isinstance(value, dict) and (value.get("title") or value.get("field")):
            found[channel] = clip(str(value.get("title") or value.get("field")), 200)
    return found


def as_json(data: Any) -> Output:
    try:
        value = decode(json.loads(data) if isinstance(data, str) else data)
    except (ValueError, RecursionError):
        return {"kind": "text", "text": clip(str(data))}
    text = json.dumps(value, ensure_ascii=False, default=str)
    if len(text) > JSON_CHARS:
        return {"kind": "text", "text": clip(text)}
    return {"kind": "json", "text": clip(text), "data": json.loads(json.dumps(finite(value)))}


def finite(value: Any) -> Any:
    """NaN and infinity as null, for JSON."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {k: finite(v) for k, v in value.items()}
    return [finite(v) for v in value] if isinstance(value, list) else value


def decode(value: Any) -> Any:
    """marimo writes floats, tuples and some other leaves as tagged strings: back to JSON values."""
    if isinstance(value, dict):
        return {key(k): decode(v) for k, v in value.items()}
    if isinstance(value, list):
        return [decode(v) for v in value]
    if not isinstance(value, str) or not value.startswith("text/plain"):
        return value
    tag, _, rest = value.partition(":")
    tag = tag.removeprefix("text/plain").removeprefix("+")
    try:
        if tag == "float":
            return float(rest)
        if tag == "bigint":
            return int(rest)
        if tag in ("tuple", "set", "frozenset"):
            return decode(json.loads(rest))
        if tag == "":  # numpy scalars and other unknown leaves
            return (
                {"True": True, "False": False, "None": None}[rest]
                if rest in ("True", "False", "None")
                else json.loads(rest)
            )
    except ValueError:
        return rest
    return value


def key(name: str) -> str:
    return name.partition(":")[2] if name.startswith("text/plain+") else name


def table(markup: str) -> Output | None:
    """The head of a marimo table element."""
    found = re.search(r"(?s)<marimo-table\b([^>]*)>", markup)
    if not found:
        return None
    data = attribute(found[1], "data-data")
    rows = json.loads(data) if isinstance(data, str) and data.startswith("[") else data
    if not isinstance(rows, list):
        return None
    rows = [{k: decode(v) for k, v in row.items() if k != "_marimo_row_id"} for row in rows if isinstance(row, dict)]
    columns = list(rows[0]) if rows else []
    body = [[field(row.get(c)) for c in columns[:TABLE_COLUMNS]] for row in rows[:TABLE_ROWS]]
    total, width = attribute(found[1], "data-total-rows"), attribute(found[1], "data-total-columns")
    head = {"columns": columns[:TABLE_COLUMNS], "rows": body, "n_rows": total, "n_columns": width}
    text = "\n".join("\t".join(map(str, row)) for row in [columns[:TABLE_COLUMNS], *body])
    return {"kind": "table", "text": clip(text), "data": head}


def with_tables(markup: str, kind: str) -> list[Output]:
    """The text before, between and behind plain HTML tables, and the tables. Empty when there is no table."""
    parts = TABLE.split(markup)
    found: list[Output] = []
    for part in parts if len(parts) > 1 else []:
        if TABLE.fullmatch(part) and (shown := html_table(part)):
            found.append(shown)
        elif text := plain(part):
            found.append({"kind": kind, "text": clip(text)})
    return found[:PARTS]


def html_table(markup: str) -> Output | None:
    """The head of a plain HTML table."""
    rows = [[" ".join(plain(cell).split()) for cell in CELL.findall(row)] for row in ROW.findall(markup)]
    rows = [row for row in rows if row]
    if not rows:
        return None
    width = max(map(len, rows))
    names = rows.pop(0) if "<th" in markup.lower() and len(rows) > 1 else [""] * width
    columns = [clip(name, FIELD_CHARS) for name in names[:TABLE_COLUMNS]]
    body = [[field(value) for value in row[:TABLE_COLUMNS]] for row in rows[:TABLE_ROWS]]
    text = "\n".join("\t".join(map(str, row)) for row in ([columns, *body] if any(columns) else body))
    return {
        "kind": "table",
        "text": clip(text),
        "data": {"columns": columns, "rows": body, "n_rows": len(rows), "n_columns": width},
    }


def field(value: Any) -> Any:
    value = finite(value)
    return value if value is None or isinstance(value, (int, float, bool)) else clip(str(value), FIELD_CHARS)


def attribute(attributes: str, name: str) -> Any:
    """A ``data-…`` attribute of a marimo element: JSON in HTML quotes."""
    found = re.search(rf"(?s)\b{name}=(?:'([^']*)'|\"([^\"]*)\")", attributes)
    if not found:
        return None
    text = html.unescape(found[1] if found[1] is not None else found[2])
    try:
        return json.loads(text)
    except ValueError:
        return text


def as_html(markup: str) -> list[Output]:
    try:
        found = table(markup)
    except (ValueError, TypeError, AttributeError):
        found = None
    if found:
        return [found]
    if parts := with_tables(markup, "html"):
        return parts
    text = plain(markup)
    kind = "text" if markup.lstrip().startswith("<pre") else "html"
    return [{"kind": kind, "text": clip(text)}] if text or kind == "html" else []


class BadVerdict(ValueError):
    """The verdict cell did not give a JSON object; the message is a sentence."""


def verdict(mimetype: str, data: Any) -> dict[str, Any]:
    """The dict of the ``verdict`` cell. Raises BadVerdict."""
    if mimetype != "application/json":
        raise BadVerdict("The cell 'verdict' must end in a plain dict, so that its figures can be read by programs.")
    value = decode(json.loads(data) if isinstance(data, str) else data)
    if not isinstance(value, dict):
        raise BadVerdict(f"The cell 'verdict' must end in a dict, not in a {type(value).__name__}.")
    if bad := sorted(not_finite(value)):
        raise BadVerdict(
            f"The verdict's {', '.join(bad)} is not a finite number; use None where a figure does not exist."
        )
    return value


def not_finite(value: Any, path: str = "") -> list[str]:
    if isinstance(value, float):
        return [] if math.isfinite(value) else [repr(path)]
    if isinstance(value, dict):
        return [p for k, v in value.items() for p in not_finite(v, f"{path}.{k}" if path else str(k))]
    if isinstance(value, list):
        return [p for i, v in enumerate(value) for p in not_finite(v, f"{path}[{i}]")]
    return []


def traceback_text(markup: str, cell: str) -> tuple[str, int | None]:
    """(the traceback's tail as plain text, the line in the cell) of marimo's HTML traceback."""
    text = html.unescape(re.sub(r"(?s)<[^>]*>", "", markup)).strip()
    found = re.findall(r'__marimo__cell_\w+_[^"]*", line (\d+)', text)
    text = re.sub(r'"[^"]*__marimo__cell_\w+_[^"]*"', f'"cell {cell}"', text)
    text = re.sub(r'"[^"]*/(site-packages|lib/python3\.\d+)/', r'"', text)
    text = re.sub(r'(?m)^  File "marimo/.*\n(?:    .*\n)*', "", text)  # the runtime's own frames explain nothing
    return text[-TEXT_CHARS:], int(found[-1]) if found else None


def failed_tests(console: str) -> str | None:
    """``1 of 2 tests failed: test_two: assert 1 == 3`` when marimo's test report in a cell's console has failures."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", console)
    found = re.findall(r"(?m)^Total: (\d+), Passed: \d+, Failed: (\d+), Errors: (\d+)", text)
    if not found or not (bad := int(found[-1][1]) + int(found[-1][2])):
        return None
    first = re.search(r"(?m)^(?:FAILED|ERROR) \S*?::(\S+)(?: - (.*))?$", text)
    what = f": {first[1]}: {first[2] or ''}".rstrip(": ") if first else ""
    return f"{bad} of {found[-1][0]} tests failed{what}"
