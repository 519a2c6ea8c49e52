"""Claude, through Anthropic's SDK. The SDK is loaded, beside the loop, when the first model is asked."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from jupyterlab_postdoc.errors import PostdocError
from jupyterlab_postdoc.providers.anthropic import models as known_models
from jupyterlab_postdoc.providers.anthropic.errors import KEPT, cut_off, explained, not_the_api
from jupyterlab_postdoc.providers.anthropic.reply import Reading
from jupyterlab_postdoc.providers.anthropic.request import Abilities, parameters
from jupyterlab_postdoc.providers.base import ModelEvent, ModelInfo, TurnRequest
from jupyterlab_postdoc.secrets import KeyFileError

if TYPE_CHECKING:
    import anthropic

__all__ = ["AnthropicProvider"]

OWN_HOST = "api.anthropic.com"
OWN_URL = f"https://{OWN_HOST}"
CONNECT_TIMEOUT_S = 10.0
MODELS_FOR_S = 3600.0
"""How long a list of models counts as fresh."""
RETRY_MODELS_S = 60.0
"""How long after a failure it is asked for again."""
UNREACHED = frozenset({"provider_stream_error", "provider_timeout"})
GET_KEY = (
    "Set ANTHROPIC_API_KEY where the Jupyter server is started, or PostdocApp.anthropic_api_key_file, and restart it."
)

Telemetry = Callable[[], Mapping[str, Any] | None]


class AnthropicProvider:
    """Answers turns with the Messages API of ``base_url`` (None: Anthropic's own).

    ``api_key`` is asked at every call, so that a changed key works at once; no other credential is ever used. The
    stream is cut off after ``read_timeout_s`` of silence. ``web_tools`` and ``context_management`` None: only at
    Anthropic's own address, for other servers do not know these fields. It never asks twice by itself: a reply that was
    cut off is the loop's to ask for again.
    """

    id = "anthropic"
    label = "Claude"
    built_in = known_models.BUILT_IN

    def __init__(
        self,
        *,
        api_key: Callable[[], str | None],
        base_url: str | None = None,
        read_timeout_s: float = 75.0,
        web_tools: bool | None = None,
        context_management: bool | None = None,
        telemetry: Telemetry | None = None,
    ) -> None:
        self._api_key = api_key
        self._base_url = base_url or None
        self._read_timeout_s = read_timeout_s
        own = base_url is None or urlsplit(base_url).hostname == OWN_HOST
        self._web_tools = own if web_tools is None else web_tools
        self._context_management = own if context_management is None else context_management
        self._telemetry = telemetry
        self._client: anthropic.AsyncAnthropic | None = None
        self._client_key: str | None = None
        self._old: list[anthropic.AsyncAnthropic] = []
        self._connecting = asyncio.Lock()
        self._models: list[ModelInfo] = list(known_models.BUILT_IN)
        self._models_at = -MODELS_FOR_S
        self._refused: PostdocError | None = None
        """Why the last call was refused, when it was for the key."""
        self._unreachable: PostdocError | None = None
        """Why the list of models could not be fetched, when nothing answered; no call has been answered since."""

    # --- a turn ---

    async def stream(self, request: TurnRequest) -> AsyncIterator[ModelEvent]:
        """The next reply, as it forms. Raises PostdocError: see errors.py."""
        client = await self._connected()
        if not request.model:
            raise PostdocError("no_model", "No model was chosen. Your message is kept.", next="Choose a model.")
        if (traced := client.open_telemetry)["traces"]["enabled"]:  # one client serves all sessions
            client = client.with_options(open_telemetry={**traced, "conversation_id": request.session})
        asked = await parameters(request, self._abilities(request.model))
        reading = Reading()
        try:
            async with await client.messages.create(**asked, stream=True) as stream:
                async for event in stream:
                    self._refused = self._unreachable = None
                    for told in reading.take(event):
                        yield told
                ends = list(reading.end())
        except Exception as e:
            if (error := self._told(e)) is None:
                raise
            raise error from None  # the SDK's own error may hold the request
        if not ends:
            raise cut_off() if reading.begun else not_the_api()
        for told in ends:
            yield told

    def _told(self, e: Exception) -> PostdocError | None:
        """The error for people; None for a fault of ours."""
        error = explained(e)
        if error is not None and error.code == "provider_auth":
            self._refused = error
        return error

    def _abilities(self, model: str) -> Abilities:
        info = next((info for info in self._models if info.id == model), None)
        return Abilities(
            output=info.output if info is not None else None,
            thinking=info is not None and info.thinking,
            effort=info.effort if info is not None else (),
            web_tools=self._web_tools,
            context_management=self._context_management,
        )

    async def _connected(self) -> anthropic.AsyncAnthropic:
        """The client for the key of now. Raises no_model without a key."""
        key = self._key()
        if key is None:
            raise PostdocError(
                "no_model",
                "No AI model is configured on this server: there is no key for Claude. Your message is kept.",
                next=f"{GET_KEY} Research with the provider `template` needs no key.",
            )
        async with self._connecting:
            if self._client is None or key != self._client_key:
                if self._client is not None:
                    self._old.append(self._client)  # replies may still come through it
                self._client = await asyncio.to_thread(self._connect, key)
                self._client_key, self._refused = key, None
            return self._client

    def _connect(self, key: str) -> anthropic.AsyncAnthropic:
        from jupyterlab_postdoc.providers.anthropic.client import connect

        options = self._telemetry() if self._telemetry is not None else None
        return connect(key, self._base_url, self._read_timeout_s, options)

    def _key(self) -> str | None:
        try:
            return self._api_key() or None
        except KeyFileError as e:
            raise PostdocError("provider_auth", f"The key for Claude cannot be read: {e}", next=GET_KEY) from None

    # --- about it ---

    def status(self) -> dict[str, Any]:
        """``{"ok", "configured", "message", "next"}`` without asking the network."""
        try:
            key = self._key()
        except PostdocError as e:
            return {"ok": False, "configured": True, "message": e.message, "next": e.next}
        if key is None:
            message = "No AI model is configured on this server."
            return {"ok": False, "configured": False, "message": message, "next": GET_KEY}
        if self._refused is not None and key == self._client_key:
            return {"ok": False, "configured": True, "message": _plain(self._refused), "next": self._refused.next}
        where = "" if self._base_url is None else f" at {urlsplit(self._base_url).hostname}"
        told = {"ok": True, "configured": True, "message": f"Claude{where}.", "next": ""}
        if (error := self._unreachable) is None:
            return told
        return told | {"warnings": [f"{_plain(error)} {error.next}".strip()]}

    async def models(self) -> list[ModelInfo]:
        """What the key may use; the built-in list while the server cannot say."""
        if time.monotonic() - self._models_at < MODELS_FOR_S:
            return self._models
        with contextlib.suppress(PostdocError):
            client = await self._connected()
            try:
                found = await known_models.listed(client)
            except Exception as e:
                self._models_at = time.monotonic() - MODELS_FOR_S + RETRY_MODELS_S
                if (error := self._told(e)) is None:
                    raise
                self._unreachable = error if error.code in UNREACHED else None
                raise error from None
            self._models_at, self._refused, self._unreachable = time.monotonic(), None, None
            if found:
                self._models = found
        return self._models

    async def close(self) -> None:
        """Close connections."""
        clients = [*self._old, self._client]
        self._old, self._client = [], None
        for client in clients:
            if client is not None:
                await client.close()


def _plain(error: PostdocError) -> str:
    """What it says about the provider, without what it says about a reply."""
    return error.message.removesuffix(KEPT).rstrip()
