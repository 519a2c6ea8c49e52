"""The SDK's stream of events as ours."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from jupyterlab_postdoc.providers.base import (
    Cited,
    ModelEvent,
    ServerTool,
    TextDelta,
    ThinkingDelta,
    ToolCall,
    ToolInputDelta,
    TurnEnd,
    Usage,
    UsageSoFar,
)

MAX_SNIPPET = 20_000
RESULTS = ("web_search_tool_result", "web_fetch_tool_result")


class Reading:
    """Reads one reply. What it does not know it leaves out: the API may grow."""

    def __init__(self) -> None:
        self._usage: Usage = {}
        self._open: dict[int, Any] = {}
        self._served: dict[str, ServerTool] = {}

    def take(self, event: Any) -> Iterator[ModelEvent]:
        """What one event of the stream says."""
        kind = event.type
        if kind == "content_block_delta":
            yield from self._delta(event.index, event.delta)
        elif kind == "content_block_start":
            self._open[event.index] = event.content_block
            block = event.content_block
            if block.type == "tool_use":
                yield ToolInputDelta(block.id, block.name, "")
            elif block.type in RESULTS:
                yield from self._served_result(block)
        elif kind == "content_block_stop":
            yield from self._stopped(event.content_block)
        elif kind == "message_start":
            yield from self._used(event.message.usage)
        elif kind == "message_delta":
            yield from self._used(event.usage)

    def _delta(self, index: int, delta: Any) -> Iterator[ModelEvent]:
        if delta.type == "text_delta":
            yield TextDelta(delta.text, index)
        elif delta.type == "thinking_delta":
            yield ThinkingDelta(delta.thinking, index)
        elif delta.type == "input_json_delta":
            block = self._open.get(index)
            if block is not None and block.type == "tool_use":
                yield ToolInputDelta(block.id, block.name, delta.partial_json)
        elif delta.type == "citations_delta":
            cited = delta.citation
            url, title = getattr(cited, "url", None), getattr(cited, "title", None)
            title = title or getattr(cited, "document_title", None) or ""
            yield Cited(index, url or "", title, getattr(cited, "cited_text", "") or "")

    def _stopped(self, block: Any) -> Iterator[ModelEvent]:
        if block.type == "server_tool_use":
            begun = ServerTool(block.id, block.name, dict(block.input) if isinstance(block.input, dict) else {})
            self._served[block.id] = begun
            yield begun

    def _served_result(self, block: Any) -> Iterator[ModelEvent]:
        id, name = block.tool_use_id, block.type.partition("_tool")[0]
        begun = self._served.get(id) or ServerTool(id, name, {})
        ok, content, data = _found(block.content)
        yield ServerTool(begun.id, begun.name, begun.input, ok, content, data)

    def _used(self, told: Any) -> Iterator[ModelEvent]:
        """Usage is told as a total each time."""
        kinds = ("input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
        self._usage |= {kind: value for kind in kinds if (value := getattr(told, kind, None)) is not None}
        details = getattr(told, "output_tokens_details", None)
        if thought := getattr(details, "thinking_tokens", None):
            self._usage["thinking_tokens"] = thought
        served = getattr(told, "server_tool_use", None)
        for kind in ("web_search_requests", "web_fetch_requests"):
            if count := getattr(served, kind, None):
                self._usage[kind] = count
        yield UsageSoFar(dict(self._usage))

    def end(self, message: Any) -> Iterator[ModelEvent]:
        """The calls and the end; nothing when the stream broke off without a reason for it."""
        if message.stop_reason is None:
            return
        if message.stop_reason == "tool_use":
            for block in message.content:
                if block.type == "tool_use":
                    yield _call(block)
        blocks = [_sent_back(block) for block in message.content]
        yield TurnEnd(message.stop_reason, dict(self._usage) or None, blocks, message.model)


def _call(block: Any) -> ToolCall:
    if isinstance(block.input, dict):
        return ToolCall(block.id, block.name, block.input)
    problem = f"The input of {block.name} is not a JSON object. Nothing was done; call it again with named arguments."
    return ToolCall(block.id, block.name, {}, problem)


def _sent_back(block: Any) -> dict[str, Any]:
    """The block as the API takes it back: without what only answers carry."""
    plain: dict[str, Any] = block.model_dump(mode="json", exclude_none=True)
    plain.pop("parsed_output", None)
    plain.pop("caller", None)
    if plain["type"] == "tool_use" and not isinstance(plain.get("input"), dict):
        plain["input"] = {}
    return plain


def _found(content: Any) -> tuple[bool, str, dict[str, Any]]:
    """What a search or a fetch came to: whether it worked, as text, and as data."""
    if isinstance(content, list):
        hits = [
            {"title": hit.title, "url": hit.url, **({"age": hit.page_age} if getattr(hit, "page_age", None) else {})}
            for hit in content
        ]
        lines = [f"{hit['title']}\n  {hit['url']}" + (f" ({hit['age']})" if "age" in hit else "") for hit in hits]
        return True, "\n".join(lines) or "Nothing was found.", {"results": hits}
    code = getattr(content, "error_code", None)
    if code is not None:
        return False, f"It did not work: {code}.", {"error": code}
    document = getattr(content, "content", None)
    source = getattr(document, "source", None)
    text = getattr(source, "data", "") if getattr(source, "type", "") == "text" else "(not a text)"
    title = getattr(document, "title", None) or ""
    url = getattr(content, "url", "")
    return True, f"{title}\n{url}\n\n{text[:MAX_SNIPPET]}".strip(), {"url": url, "title": title}
