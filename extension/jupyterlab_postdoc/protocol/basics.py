"""Versions, limits, names and times: what every frame is made with."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from functools import lru_cache
from typing import Annotated, Any

import msgspec
from msgspec import Meta

VERSION = 1
MAX_CONTENT = 200_000
MAX_INBOUND = 1 << 20
MAX_FRAME = 256 << 10
MAX_DEPTH = 32
ENVELOPE_SUBPROTOCOL = "postdoc.v1.envelope"

Id = Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[^\x00-\x1f\x7f]+$")]
Content = Annotated[str, Meta(max_length=MAX_CONTENT)]
Name = Annotated[str, Meta(min_length=1, max_length=200)]


def new_id(prefix: str = "") -> str:
    """A fresh id of 128 random bits, safe in URLs and file names, e.g. ``c_3fJ…``."""
    token = secrets.token_hex(16)
    return f"{prefix}_{token}" if prefix else token


@lru_cache(maxsize=256)
def iso(ts: float) -> str:
    """UNIX seconds as ISO-8601 UTC with milliseconds, e.g. ``2026-11-21T09:30:00.125Z``.

    Cached, since the events of one commit share their time and this costs more than all the rest of a frame.
    """
    second, rest = divmod(round(ts * 1_000_000), 1_000_000)
    return f"{_until_second(second)}.{rest // 1000:03d}Z"


@lru_cache(maxsize=1024)
def _until_second(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).isoformat()[:19]


_encoder = msgspec.json.Encoder()


def encode(value: Any) -> bytes:
    """JSON bytes of any struct or plain value."""
    return _encoder.encode(value)
