"""The renderer of pictures for a model, a process of its own: from stdin a JSON list of [cell, base64 PNG or Vega-Lite
object], to stdout a line of JSON {"cell", "png"} for each that could be drawn, as soon as it is.
"""

from __future__ import annotations

import base64
import binascii
import io
import json
import os
import struct
import sys
from typing import Any

MOST = 8
WIDTH, HEIGHT, BYTES = 1_200, 2_400, 1_000_000
SCALE = 1.5  # small type stays readable


def main() -> None:
    out = os.dup(1)
    os.dup2(2, 1)
    with os.fdopen(out, "w", encoding="ascii") as lines:
        made = 0
        for cell, drawing in json.load(sys.stdin):
            picture = chart(drawing) if isinstance(drawing, dict) else fitting(decoded(drawing))
            if picture is not None and made < MOST:
                print(json.dumps({"cell": cell, "png": base64.b64encode(picture).decode()}), file=lines, flush=True)
                made += 1
    sys.stderr.flush()
    os._exit(0)


def quick(drawing: str | dict[str, Any]) -> str | None:
    """The same as base64 text, from what the report needs anyway. None: it takes the whole work, or cannot be drawn."""
    if isinstance(drawing, dict):
        from jupyterlab_postdoc.notebooks.worker import charts

        data = charts.quick_png(drawing, SCALE, WIDTH, HEIGHT)
    else:
        data = decoded(drawing)
    if data is None or not data.startswith(b"\x89PNG\r\n") or not 45 <= len(data) <= BYTES or excess(data) > 1:
        return None
    return base64.b64encode(data).decode()


def decoded(text: str) -> bytes | None:
    try:
        return base64.b64decode(text)
    except (binascii.Error, ValueError):
        return None


def chart(spec: dict[str, Any]) -> bytes | None:
    """Drawn once more in a smaller size, rather than shrunk, when it comes out too large."""
    from jupyterlab_postdoc.notebooks.worker import charts

    data = charts.png(spec, SCALE)
    if data is not None and (over := excess(data)) > 1:
        data = charts.png(spec, SCALE / over * 0.99)
    return fitting(data)


def excess(data: bytes) -> float:
    """By how much a PNG is larger than it may be, in one direction."""
    width, height = struct.unpack(">II", data[16:24])
    return float(max(width / WIDTH, height / HEIGHT))


def fitting(data: bytes | None) -> bytes | None:
    """The PNG as it is when it is small enough, else a smaller one; None when there is no way."""
    if data is None or not data.startswith(b"\x89PNG\r\n") or len(data) < 45:
        return None
    if excess(data) <= 1 and len(data) <= BYTES:
        return data
    try:
        from PIL import Image
    except ImportError:
        return None
    try:
        with Image.open(io.BytesIO(data)) as image:
            shown = image.convert("RGBA" if "A" in image.getbands() else "RGB")
    except (OSError, ValueError, Image.DecompressionBombError):
        return None
    factor = 1 / max(1.0, excess(data))
    for _ in range(6):
        size = (max(1, int(shown.width * factor)), max(1, int(shown.height * factor)))
        made = io.BytesIO()
        shown.resize(size, Image.Resampling.LANCZOS).save(made, "PNG", optimize=True)
        if made.tell() <= BYTES:
            return made.getvalue()
        factor *= 0.7
    return None


if __name__ == "__main__":
    main()
