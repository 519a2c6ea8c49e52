"""What a kernel says of a piece of code, as plain text and pictures. It is untrusted: nothing is believed."""

from __future__ import annotations

import base64
import binascii
import html
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

MAX_TEXT = 200_000
MAX_ERROR = 6_000
MAX_IMAGES = 8
MAX_IMAGE_BYTES = 1 << 20
MAX_PIXELS = 8_000
"""Longest side of a picture that a model is shown."""
_ANSI = re.compile(r"\x1b(?:\[[0-9;?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\^_])")
_TAG = re.compile(r"<[^<>]*>")
_BLOCK = re.compile(r"(?i)<(?:br|/p|/div|/tr|/li|/h[1-6])\b[^<>]*>")
_OBJECT = "<IPython.core.display."


@dataclass
class Execution:
    """What came of a piece of code.

    ``end``: ok, error, timeout or died. ``fresh``: nothing was defined before it, and ``renewed``: although there had
    been a kernel earlier. ``ended``: no variable outlives it. ``exception``: name and text of what the code raised.
    """

    end: str = "ok"
    text: str = ""
    error: str = ""
    exception: tuple[str, str] = ("", "")
    images: list[bytes] = field(default_factory=list)
    left_out: int = 0
    fresh: bool = False
    renewed: bool = False
    ended: bool = False

    @property
    def ok(self) -> bool:
        """Whether the code ran to its end without an error."""
        return self.end == "ok"

    def take(self, kind: str, content: Mapping[str, Any]) -> str:
        """Note one message; the text that is shown while the code runs."""
        if kind == "stream":
            return self._note(str(content.get("text", "")))
        if kind in ("execute_result", "display_data"):
            data = content.get("data")
            return self._show(data) if isinstance(data, Mapping) else ""
        if kind == "error":
            self.failed(content)
        return ""

    def failed(self, content: Mapping[str, Any]) -> None:
        """Note an error, from its message or from the reply."""
        lines = content.get("traceback")
        text = "\n".join(str(line) for line in lines) if isinstance(lines, list) else ""
        self.end = "error"
        self.exception = str(content.get("ename", "")), plain(str(content.get("evalue", "")))[:MAX_ERROR]
        self.error = plain(text)[-MAX_ERROR:] or f"{content.get('ename', 'Error')}: {content.get('evalue', '')}"

    def _show(self, data: Mapping[str, Any]) -> str:
        if "image/png" in data:
            picture = _png(data["image/png"])
            if isinstance(picture, str):
                return self._note(f"(a picture was left out: {picture})\n")
            if len(self.images) >= MAX_IMAGES:
                return self._note(f"(a picture was left out: there are more than {MAX_IMAGES})\n")
            self.images.append(picture)
            return self._note(f"(picture {len(self.images)})\n")
        text = _text(data)
        return self._note(f"{text}\n") if text else ""

    def _note(self, text: str) -> str:
        text = plain(text)
        room = max(0, MAX_TEXT - len(self.text))
        self.text += text[:room]
        self.left_out += len(text) - len(text[:room])
        return text[:room]


def plain(text: str) -> str:
    """Without colours and other orders to a terminal."""
    return _ANSI.sub("", text).replace("\r\n", "\n")


def _png(given: object) -> bytes | str:
    """The picture, or why it is none that can be shown."""
    if not isinstance(given, str):
        return "it is no PNG"
    if len(given) > 2 * MAX_IMAGE_BYTES:
        return f"it has more than {MAX_IMAGE_BYTES >> 20} MiB"
    try:
        data = base64.b64decode(given)
    except (binascii.Error, ValueError):
        return "it is no PNG"
    if data[:16] != b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" or len(data) < 45:
        return "it is no PNG"
    if len(data) > MAX_IMAGE_BYTES:
        return f"it has more than {MAX_IMAGE_BYTES >> 20} MiB"
    if max(int.from_bytes(data[16:20]), int.from_bytes(data[20:24])) > MAX_PIXELS:
        return f"a side has more than {MAX_PIXELS} pixels"
    return data


def _text(data: Mapping[str, Any]) -> str:
    """The most readable of a value's forms. ``display(HTML(…))`` says nothing in its plain one."""
    text = str(data.get("text/plain") or "")
    if text and not text.startswith(_OBJECT):
        return text
    for kind in ("text/markdown", "text/latex"):
        if isinstance(data.get(kind), str):
            return str(data[kind])
    return _of_html(data["text/html"]) if isinstance(data.get("text/html"), str) else text


def _of_html(markup: str) -> str:
    """What a reader would see of it, without its layout. Takes linear time whatever the markup."""
    for tag in ("script", "style"):
        first, *others = re.split(rf"(?i)<{tag}\b", markup)
        ends = [re.split(rf"(?i)</{tag}[^<>]*>", other, maxsplit=1) for other in others]
        markup = first + "".join(end[1] for end in ends if len(end) == 2)
    text = html.unescape(_TAG.sub(" ", _BLOCK.sub("\n", markup)))
    lines = (" ".join(line.split()) for line in text.splitlines())
    return "\n".join(line for line in lines if line)
