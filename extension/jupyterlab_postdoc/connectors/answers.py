"""What a server answered to a call, in our own words: texts, pictures, data."""

from __future__ import annotations

from typing import Any

from msgspec import Struct


class Picture(Struct, frozen=True):
    """A picture as it came: its media type is what the server says it is."""

    data: bytes
    media_type: str


class Answer(Struct, frozen=True):
    """``text`` holds everything that is text, in its order; ``structured`` is the same as data where there is some."""

    ok: bool
    text: str
    pictures: list[Picture] = []
    structured: Any = None
