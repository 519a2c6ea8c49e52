"""Tools of MCP servers. What they answer comes from outside: texts and pictures for the model, never orders to us."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import msgspec

from jupyterlab_postdoc.connectors.answers import Answer, Picture
from jupyterlab_postdoc.connectors.client import WAIT_S, Connectors
from jupyterlab_postdoc.connectors.offers import Offer
from jupyterlab_postdoc.errors import PostdocError
from jupyterlab_postdoc.protocol import ImageRef
from jupyterlab_postdoc.providers.base import ToolOutcome
from jupyterlab_postdoc.tools.base import Tool, ToolContext

MAX_TEXT = 2_000_000
MAX_DATA = 20_000
MAX_PICTURES = 8
MAX_PICTURE = 4 << 20
MAX_PIXELS = 8000
BEGINNINGS = {"image/png": b"\x89PNG\r\n\x1a\n", "image/jpeg": b"\xff\xd8\xff"}


class Anything(msgspec.Struct):
    """The arguments of a remote tool: an object that its server checks."""

    given: dict[str, Any]


@dataclass(frozen=True)
class RemoteTool(Tool):
    """A tool whose arguments are passed on as they are."""

    def parse(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The whole object, under one name."""
        if not isinstance(given, Mapping):
            raise PostdocError("tool_failed", f"{self.name}: the input must be an object.")
        return {"given": dict(given)}


class McpTools:
    """The tools of the servers in the administrator's file (None: no servers)."""

    def __init__(self, file: Path | None, *, wait_s: float = WAIT_S) -> None:
        self.connectors = Connectors(file, wait_s=wait_s)

    async def tools(self, patterns: Sequence[str] | None) -> list[Tool]:
        """Those whose names fit one of these patterns (None: all), after a wait of a few seconds at most."""
        offers = await self.connectors.offers(patterns)
        return [
            _tool(self.connectors, offer)
            for offer in offers
            if patterns is None or any(fnmatchcase(offer.name, pattern) for pattern in patterns)
        ]

    def problems(self) -> list[str]:
        """What is wrong with the file or with a server, a sentence each."""
        return self.connectors.problems()

    async def close(self) -> None:
        """Leave all servers; their programs are gone when this returns."""
        await self.connectors.close()


def _tool(connectors: Connectors, offer: Offer) -> Tool:
    repeatable = offer.risk == "read"

    async def call(ctx: ToolContext, /, **arguments: Any) -> ToolOutcome:
        given: dict[str, Any] = arguments["given"]
        return await outcome_of(ctx, await connectors.call(offer.server, offer.remote, given, repeatable=repeatable))

    async def unknown(_ctx: ToolContext, _arguments: dict[str, Any]) -> ToolOutcome | None:
        """After a crash: what only reads may be asked again."""
        if repeatable:
            return None
        sentence = "The server was stopped while this call was under way: whether it was done is unknown."
        return ToolOutcome(False, f"{sentence} Look before you ask again.", {"unknown": True})

    return RemoteTool(
        name=offer.name,
        description=offer.description,
        parameters=offer.schema,
        risk=offer.risk,
        title=lambda _: offer.title,
        arguments=Anything,
        function=call,
        reconcile=unknown,
        needs_project=False,
    )


async def outcome_of(ctx: ToolContext, answer: Answer) -> ToolOutcome:
    """What the model reads: texts, pictures that it can see, and data where it is not too much for an event."""
    text, data = answer.text, {}
    if answer.structured is not None:
        raw = msgspec.json.encode(answer.structured).decode()
        text = text or raw
        if len(raw) <= MAX_DATA:
            data = {"structured": answer.structured}
    images: list[ImageRef] = []
    for picture in answer.pictures:
        why = _why_not(picture, len(images))
        if why:
            text += f"\n[a picture is left out: {why}]"
        else:
            images.append(await ctx.image(picture.data, media_type=picture.media_type))
    if len(text) > MAX_TEXT:
        text = f"{text[:MAX_TEXT]}\n… {len(text) - MAX_TEXT} characters left out"
    return ToolOutcome(answer.ok, text.strip() or "(no text)", data, images=images)


def _why_not(picture: Picture, so_far: int) -> str:
    beginning = BEGINNINGS.get(picture.media_type)
    if beginning is None or not picture.data.startswith(beginning):
        return "it is neither PNG nor JPEG"
    if len(picture.data) > MAX_PICTURE:
        return f"it has more than {MAX_PICTURE >> 20} MiB"
    if picture.media_type == "image/png" and max(_size(picture.data)) > MAX_PIXELS:
        return f"it is too large; models take at most {MAX_PIXELS} pixels a side"
    return f"there are more than {MAX_PICTURES}" if so_far >= MAX_PICTURES else ""


def _size(png: bytes) -> tuple[int, int]:
    """Width and height of a PNG in pixels, from its first block."""
    return int.from_bytes(png[16:20], "big"), int.from_bytes(png[20:24], "big")
