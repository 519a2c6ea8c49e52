"""Cell outputs → what they show as pictures, not rendered yet (pictures.py does that)."""

from __future__ import annotations

import json
import re
from typing import Any

from jupyterlab_postdoc.notebooks.worker.outputs import attribute, bundle


def drawings(mimetype: str, data: Any) -> list[str | dict[str, Any]]:
    """What an output shows as pictures: PNGs as base64 text, charts as Vega-Lite objects; also those inside of HTML."""
    found: list[str | dict[str, Any]] = []
    for kind, value in bundle(mimetype, data).items():
        if "vegalite" in kind and (spec := chart_spec(value)):
            return [spec]
        if kind == "image/png" and isinstance(value, str):
            return [value.partition("base64,")[2] or value]
        if kind in ("text/html", "text/markdown") and isinstance(value, str):
            found += inner_drawings(value)
    return found[:4]


def inner_drawings(markup: str) -> list[str | dict[str, Any]]:
    """Pictures in marimo's HTML, in their order."""
    found: list[str | dict[str, Any]] = []
    pattern = (
        r"""(?s)<img\b[^>]*?src=["']data:image/png;base64,([^"']+)|<(?:marimo-vega|marimo-mime-renderer)\b([^>]*)>"""
    )
    for match in re.finditer(pattern, markup):
        if match[1]:
            found.append(match[1])
            continue
        mime = attribute(match[2], "data-mime")
        value = attribute(match[2], "data-spec" if mime is None else "data-data")
        if mime is None or "vegalite" in str(mime):
            found += [spec] if (spec := chart_spec(value)) else []
        elif isinstance(value, str) and value.startswith("data:image/png;base64,"):
            found.append(value.partition("base64,")[2])
    return found


def chart_spec(value: Any) -> dict[str, Any] | None:
    """A Vega-Lite specification as an object."""
    try:
        spec = json.loads(value) if isinstance(value, str) else value
    except ValueError:
        return None
    return spec if isinstance(spec, dict) else None
