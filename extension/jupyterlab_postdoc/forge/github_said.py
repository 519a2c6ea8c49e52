"""What GitHub says in its refusals: messages, limits, rights; read here only."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

_LIMIT = re.compile(
    r"rate limit|abuse detection|wait a few minutes before you try again|retry your request again", re.I
)


def is_limit(status: int, data: object, headers: Mapping[str, Any]) -> bool:
    """Whether a refusal is for asking too often."""
    if status == 429:
        return True
    spent = str(headers.get("x-ratelimit-remaining", headers.get("X-RateLimit-Remaining"))) == "0"
    return (status == 403 and spent) or (status in (403, 422) and _LIMIT.search(messages(data)) is not None)


def permissions(header: str) -> list[str]:
    """``administration=write,contents=read; …`` → Administration: write, Contents: read; the first alternative."""
    found = re.findall(r"([a-z_]+)=([a-z]+)", header.split(";")[0])
    return [f"{name.replace('_', ' ').capitalize()}: {level}" for name, level in found]


def messages(data: object) -> str:
    """What GitHub says in a refusal, as one line of at most 300 characters."""
    if isinstance(data, bytes | str):
        try:
            data = json.loads(data)
        except ValueError:
            return ""
    if not isinstance(data, dict):
        return ""
    errors = data.get("errors") or []
    parts = [data.get("message")]
    for one in errors if isinstance(errors, list) else [errors]:
        parts.append(one.get("message") or _field(one) if isinstance(one, dict) else one)
    said = " ".join(part.strip().rstrip(".") + "." for part in parts if isinstance(part, str) and part.strip())
    return re.sub(r"[\x00-\x1f\x7f\s]+", " ", said)[:300]


def _field(one: Mapping[str, Any]) -> str:
    return f"{one.get('field', '')} {str(one.get('code', '')).replace('_', ' ')}".strip()


def number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(value) and value >= 0 else None


def host_in(url: str) -> str:
    """The host (and port) of an address, to be shown."""
    try:
        return urlsplit(url).netloc.rpartition("@")[2]
    except ValueError:
        return ""
