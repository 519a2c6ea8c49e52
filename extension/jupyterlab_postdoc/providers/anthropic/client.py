"""The SDK's client, made beside the loop: importing the SDK takes a second."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import anthropic
import httpx2

from jupyterlab_postdoc.providers.anthropic import CONNECT_TIMEOUT_S, OWN_URL
from jupyterlab_postdoc.providers.anthropic.transport import transport

SILENT = {"traces": False, "propagation": False}
"""No spans, whatever the environment says."""


def connect(
    key: str, base_url: str | None, read_timeout_s: float, telemetry: Mapping[str, Any] | None
) -> anthropic.AsyncAnthropic:
    """A client for this key and no other credential, which asks once and never again by itself."""
    options: Any = dict(telemetry) if telemetry is not None else SILENT
    timeout = httpx2.Timeout(read_timeout_s, connect=CONNECT_TIMEOUT_S)
    paced = transport()
    own: Any = {} if paced is None else {"transport": paced}
    return anthropic.AsyncAnthropic(
        api_key=key,
        base_url=base_url or OWN_URL,
        timeout=timeout,
        max_retries=0,
        open_telemetry=options,
        http_client=anthropic.DefaultAsyncHttpxClient(timeout=timeout, **own),
    )
