"""The SDK's client, made beside the loop: importing the SDK takes a second."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

import anthropic
import httpx2

from jupyterlab_postdoc.providers.anthropic import CONNECT_TIMEOUT_S

READ_EVERY_S = 0.03
"""So much of a streamed reply is read at once. Every read wakes half a dozen layers; every token alone cost ten times
the processor time, and nobody sees text sooner than the log's bucket of 50 ms."""
FROM_BUFFER_S = 0.0005


def connect(
    key: str, base_url: str | None, read_timeout_s: float, telemetry: Mapping[str, Any] | None
) -> anthropic.AsyncAnthropic:
    """A client for this key and no other credential, which asks once and never again by itself."""
    options: Any = dict(telemetry) if telemetry is not None else {"traces": False, "propagation": False}
    timeout = httpx2.Timeout(read_timeout_s, connect=CONNECT_TIMEOUT_S)
    return anthropic.AsyncAnthropic(
        api_key=key,
        base_url=base_url or "https://api.anthropic.com",
        timeout=timeout,
        max_retries=0,
        open_telemetry=options,
        http_client=anthropic.DefaultAsyncHttpxClient(timeout=timeout, event_hooks={"response": [_pace]}),
    )


async def _pace(response: httpx2.Response) -> None:
    """Read a streamed reply in larger pieces."""
    if response.headers.get("content-type", "").startswith("text/event-stream"):
        stream = response.stream
        assert isinstance(stream, httpx2.AsyncByteStream)
        response.stream = _Paced(stream)


class _Paced(httpx2.AsyncByteStream):
    """Waits a moment after each piece that had to be waited for, so that the next read finds several."""

    def __init__(self, stream: httpx2.AsyncByteStream) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        clock = asyncio.get_running_loop().time
        began = clock()
        async for piece in self._stream:
            waited = clock() - began > FROM_BUFFER_S
            yield piece
            if waited:
                await asyncio.sleep(READ_EVERY_S)
            began = clock()

    async def aclose(self) -> None:
        await self._stream.aclose()
