"""A turn's request as the Messages API wants it. The same conversation gives the same bytes, so that its beginning is
read from the cache."""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple

from jupyterlab_postdoc.errors import PostdocError
from jupyterlab_postdoc.providers.base import Exchange, ToolOutcome, Turn, TurnRequest

MAX_OUTPUT = 32_000
PLAIN_OUTPUT = 8_192
"""For a model of which nothing is known."""
LEAST_FOR_THINKING = 2_048
MAX_IMAGES = 20
IMAGE_STEP = 10
MAX_IMAGE_BYTES = 5 << 20
IMAGE_TYPES = ("image/png", "image/jpeg", "image/gif", "image/webp")
MAX_ALL_IMAGES = 20 << 20
"""Bytes of all pictures of a request; the API takes 32 MiB, and a picture grows by a third on its way."""
DIRECT = {"max_uses": 8, "allowed_callers": ["direct"]}
"""The model itself calls them, and not code that it runs on the provider's computers."""
FETCHED_TOKENS = 30_000
NO_WORDS = "(a message without words)"
GO_ON = "Go on."
UNKNOWN = "This call was cut off; its outcome is unknown."
EPHEMERAL = {"type": "ephemeral"}
CONTEXT_BETA = "context-management-2025-06-27"

Block = dict[str, Any]


class Abilities(NamedTuple):
    """What the model and its server can do."""

    output: int | None = None
    thinking: bool = False
    effort: tuple[str, ...] = ()
    web_tools: bool = False
    context_management: bool = False


async def parameters(request: TurnRequest, can: Abilities) -> dict[str, Any]:
    """The arguments of ``messages.stream()``."""
    most = min(can.output or PLAIN_OUTPUT, MAX_OUTPUT)
    if request.max_tokens is not None:
        most = max(1, min(most, request.max_tokens))
    asked: dict[str, Any] = {
        "model": request.model,
        "max_tokens": most,
        "messages": await messages(request),
        "cache_control": EPHEMERAL,
    }
    if request.system:
        asked["system"] = [{"type": "text", "text": request.system, "cache_control": EPHEMERAL}]
    if tools := _tools(request, can):
        asked["tools"] = tools
    if can.thinking and request.thinking and most >= LEAST_FOR_THINKING:
        asked["thinking"] = {"type": "adaptive", "display": "summarized"}
    elif can.thinking:  # a model may think unasked, and its thoughts would use up a small max_tokens
        asked["thinking"] = {"type": "disabled"}
    if request.effort in can.effort:
        asked["output_config"] = {"effort": request.effort}
    if can.context_management:
        asked["extra_headers"] = {"anthropic-beta": CONTEXT_BETA}
        asked["extra_body"] = {
            "context_management": {"edits": _edits(asked.get("thinking", {}).get("type") == "adaptive")}
        }
    return asked


def _edits(thinking: bool) -> list[Block]:
    """The server forgets old tool results (and the thinking of old turns) by itself when a conversation is long."""
    clear: Block = {
        "type": "clear_tool_uses_20250919",
        "trigger": {"type": "input_tokens", "value": 100_000},
        "keep": {"type": "tool_uses", "value": 8},
        "clear_at_least": {"type": "input_tokens", "value": 20_000},
    }
    forget: Block = {"type": "clear_thinking_20251015", "keep": {"type": "thinking_turns", "value": 4}}
    return [forget, clear] if thinking else [clear]


def _tools(request: TurnRequest, can: Abilities) -> list[Block]:
    tools: list[Block] = [dict(tool) for tool in request.tools]
    if can.web_tools:
        if "web_search" in request.server_tools:
            tools.append({"type": "web_search_20260318", "name": "web_search", **DIRECT})
        if "web_fetch" in request.server_tools:
            fetch: Block = {"type": "web_fetch_20260318", "name": "web_fetch", **DIRECT}
            tools.append({**fetch, "max_content_tokens": FETCHED_TOKENS, "citations": {"enabled": True}})
    if tools and not request.system:  # otherwise the mark of the system prompt, which comes after them, is enough
        tools[-1] = {**tools[-1], "cache_control": EPHEMERAL}
    return tools


# --- the conversation ---


async def messages(request: TurnRequest) -> list[Block]:
    """User and assistant in turn: the exchanges before this one, the message, and the turns since."""
    talk = _Talk()
    pictures = _Pictures(request)
    for exchange in request.earlier:
        _tell_exchange(talk, exchange)
    if request.summary:
        talk.user(
            _text(f"<summary_of_the_conversation_so_far>\n{request.summary}\n</summary_of_the_conversation_so_far>")
        )
    talk.user(_text(request.prompt) or _text(NO_WORDS))
    for turn in request.turns:
        _said_before(talk, turn.steer, turn.notes)
        blocks = assistant_blocks(turn)
        talk.assistant(blocks)
        for id in _asked(blocks):
            talk.user(await _result(id, turn.results.get(id), pictures))
    _said_before(talk, request.steer, request.notes)
    paused = bool(request.turns) and request.turns[-1].stop_reason == "pause_turn"
    if talk.messages[-1]["role"] == "assistant" and not paused:
        talk.user(_note(GO_ON))
    return talk.messages


def _tell_exchange(talk: _Talk, exchange: Exchange) -> None:
    if exchange.summary:
        talk.user(
            _text(f"<summary_of_the_conversation_so_far>\n{exchange.summary}\n</summary_of_the_conversation_so_far>")
        )
    talk.user(_text(exchange.user) or _text(NO_WORDS))
    for turn in exchange.turns:
        _said_before(talk, turn.steer, turn.notes)
        talk.assistant(_plain_blocks(turn))
        for call in turn.calls:
            talk.user(_result_block(call.id, turn.results.get(call.id), []))


def _said_before(talk: _Talk, steer: Sequence[str], notes: Sequence[str]) -> None:
    for word in steer:
        talk.user(_text(word))
    for note in notes:
        talk.user(_note(note))


def _note(note: str) -> Block | None:
    """What the harness tells, so that the model does not take it for the user's words."""
    return _text(f"<note>\n{note}\n</note>") if note.strip() else None


def _asked(blocks: Sequence[Block]) -> list[str]:
    """The calls in a reply, all of which must be answered."""
    return [block["id"] for block in blocks if block["type"] == "tool_use"]


class _Talk:
    """Messages with roles in turn: what one side says several times in a row is one message."""

    def __init__(self) -> None:
        self.messages: list[Block] = []

    def user(self, block: Block | None) -> None:
        self._add("user", [block] if block else [])

    def assistant(self, blocks: list[Block]) -> None:
        self._add("assistant", blocks)

    def _add(self, role: str, blocks: list[Block]) -> None:
        if not blocks:
            return
        if self.messages and self.messages[-1]["role"] == role:
            self.messages[-1]["content"] += blocks
        else:
            self.messages.append({"role": role, "content": list(blocks)})


def _text(text: str) -> Block | None:
    return {"type": "text", "text": text} if text.strip() else None


def assistant_blocks(turn: Turn) -> list[Block]:
    """A reply as it was given (thinking must go back unchanged), without calls that were never carried out."""
    if turn.blocks is None:
        return _plain_blocks(turn)
    calls = {call.id for call in turn.calls}
    if calls - set(_asked(turn.blocks)):
        return _plain_blocks(turn)
    kept = [block for block in turn.blocks if block["type"] != "tool_use" or block["id"] in calls]
    kept = [block for block in kept if block["type"] != "text" or block["text"].strip()]
    served = {block.get("tool_use_id") for block in kept}
    if turn.stop_reason != "pause_turn":  # a search whose result never came must not dangle
        kept = [block for block in kept if block["type"] != "server_tool_use" or block["id"] in served]
    only_thought = all(block["type"] in ("thinking", "redacted_thinking") for block in kept)
    return [] if only_thought else kept


def _plain_blocks(turn: Turn) -> list[Block]:
    said = _text(turn.text)
    calls = [{"type": "tool_use", "id": call.id, "name": call.name, "input": call.input} for call in turn.calls]
    return [*([said] if said else []), *calls]


async def _result(id: str, outcome: ToolOutcome | None, pictures: _Pictures) -> Block:
    return _result_block(id, outcome, await pictures.of(outcome) if outcome is not None else [])


def _result_block(id: str, outcome: ToolOutcome | None, images: list[Block]) -> Block:
    said = _text(outcome.content if outcome is not None else UNKNOWN)
    content = [*([said] if said else []), *images]
    block: Block = {
        "type": "tool_result",
        "tool_use_id": id,
        "content": content or [{"type": "text", "text": "(nothing)"}],
    }
    if outcome is None or not outcome.ok:
        block["is_error"] = True
    return block


class _Pictures:
    """The pictures of the current run that the model is still shown: the newest ones. Old ones are left out in steps,
    so that the beginning of the request changes seldom.
    """

    def __init__(self, request: TurnRequest) -> None:
        self._load: Callable[[str], Awaitable[bytes]] | None = request.load
        self._total = 0
        outcomes = [outcome for turn in request.turns for outcome in turn.results.values()]
        count = sum(len(outcome.images) for outcome in outcomes)  # of calls that are answered in this request
        self._skip = 0 if count <= MAX_IMAGES else -(-(count - MAX_IMAGES) // IMAGE_STEP) * IMAGE_STEP

    async def of(self, outcome: ToolOutcome) -> list[Block]:
        blocks: list[Block] = []
        for image in outcome.images:
            self._skip -= 1
            if self._skip >= 0:
                blocks.append({"type": "text", "text": f"(picture {image.title!r} is no longer shown)"})
                continue
            data = await self._bytes(image.blob)
            if not data or len(data) > MAX_IMAGE_BYTES or image.mediaType not in IMAGE_TYPES:
                blocks.append({"type": "text", "text": f"(picture {image.title!r} cannot be shown)"})
                continue
            self._total += len(data)
            if self._total > MAX_ALL_IMAGES:
                blocks.append({"type": "text", "text": f"(picture {image.title!r} is too large beside the others)"})
                continue
            if image.title:
                blocks.append({"type": "text", "text": f"Picture: {image.title}"})
            source = {"type": "base64", "media_type": image.mediaType, "data": base64.b64encode(data).decode()}
            blocks.append({"type": "image", "source": source})
        return blocks

    async def _bytes(self, blob: str) -> bytes:
        try:
            return await self._load(blob) if self._load is not None else b""
        except (PostdocError, OSError):
            return b""  # a picture that is gone is no reason to end a conversation
