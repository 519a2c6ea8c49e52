"""Vega-lite specification → SVG, so that a report shows its charts without scripts and without a server."""

from __future__ import annotations

import base64
import json
import re
from functools import lru_cache
from typing import Any


def svg(spec: dict[str, Any]) -> str | None:
    """None when the converter is not installed or the chart is not valid. Nothing is fetched: data must be in the
    chart.
    """
    return _svg(json.dumps(fit(spec)), str(spec.get("$schema", "")))


@lru_cache(200)
def _svg(spec: str, schema: str) -> str | None:
    try:
        import vl_convert
    except ImportError:
        return None
    try:
        return str(vl_convert.vegalite_to_svg(spec, vl_version=_version(schema), allowed_base_urls=[]))
    except ValueError:
        return None


def png(spec: dict[str, Any], scale: float) -> bytes | None:
    """As :func:`svg`, as a PNG of ``scale`` pixels for each of the chart's own."""
    try:
        import vl_convert
    except ImportError:
        return None
    version = _version(str(spec.get("$schema", "")))
    try:
        text = json.dumps(fit(spec))
        return bytes(vl_convert.vegalite_to_png(text, vl_version=version, scale=scale, allowed_base_urls=[]))
    except ValueError:
        return None


def quick_png(spec: dict[str, Any], scale: float, width: int, height: int) -> bytes | None:
    """A PNG of the chart's SVG, which the report has made already: half the work of :func:`png`. At most ``scale``
    pixels for each of the chart's own, and no larger than ``width`` × ``height``.
    """
    text = svg(spec)
    size = re.search(r'<svg[^>]* width="([\d.]+)" height="([\d.]+)"', text) if text else None
    if text is None or size is None:
        return None
    import vl_convert

    scale = min(scale, 0.99 * width / max(1.0, float(size[1])), 0.99 * height / max(1.0, float(size[2])))
    try:
        return bytes(vl_convert.svg_to_png(text, scale=scale))
    except ValueError:
        return None


def _version(schema: str) -> str:
    """The version that a specification names, or the newest that the converter knows."""
    import vl_convert

    version = re.search(r"/v(\d+)\.(\d+)", schema)
    have: list[str] = vl_convert.get_vegalite_versions()
    wanted = f"{version[1]}.{version[2]}" if version else have[-1]
    return wanted if wanted in have else have[-1]


def fit(spec: dict[str, Any]) -> dict[str, Any]:
    """A width of "container" has no meaning without a page; take the width of the report's column."""
    if spec.get("width") == "container":
        spec = {**spec, "width": 640}
    return spec


def image(spec: dict[str, Any], alt: str) -> str | None:
    """The chart as an <img>: inside of one, nothing can run."""
    text = svg(spec)
    if text is None:
        return None
    width = re.search(r'<svg[^>]* width="([\d.]+)"', text)
    size = f' width="{round(float(width[1]))}"' if width else ""
    data = base64.b64encode(text.encode()).decode()
    return f'<img class="chart" alt="{alt}"{size} src="data:image/svg+xml;base64,{data}">'
