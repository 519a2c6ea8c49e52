"""The API's stream of events as ours.

The blocks are put together here and not by the SDK's helper, which gives up the whole reply when the input of one call
is no JSON, takes half an input for a whole one, and reads the input anew with each piece of it.
"""

from __future__ import annotations

import json
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
COUNTED = ("input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
SERVED = ("web_search_requests", "web_fetch_requests")

Block = dict[str, Any]


class Reading:
    """Reads one reply. What it does not know it leaves out: the API may grow."""

    def __init__(self) -> None:
        self.begun = False
        self._model: str | None = None
        self._stop_reason: str | None = None
        self._usage: Usage = {}
        self._blocks: dict[int, Block] = {}
        self._inputs: dict[int, list[str]] = {}
        self._problems: dict[str, str] = {}
        self._served: dict[str, ServerTool] = {}

    def take(self, event: Any) -> Iterator[ModelEvent]:
        """What one event of the stream says."""
        kind = event.type
        if kind == "content_block_delta":
            yield from self._delta(event.index, event.delta)
        elif kind == "content_block_start":
            yield from self._started(event.index, event.content_block)
        elif kind == "content_block_stop":
            yield from self._stopped(event.index)
        elif kind == "message_start":
            self.begun = True
            self._model = event.message.model
            yield from self._used(event.message.usage)
        elif kind == "message_delta":
            self._stop_reason = event.delta.stop_reason or self._stop_reason
            yield from self._used(event.usage)

    def _started(self, index: int, block: Any) -> Iterator[ModelEvent]:
        made = self._blocks[index] = block.model_dump(mode="json", exclude_unset=True)
        if made["type"] == "tool_use":
            yield ToolInputDelta(made["id"], made["name"], "")
        elif "tool_use_id" in made:
            yield self._found(made)

    def _delta(self, index: int, delta: Any) -> Iterator[ModelEvent]:
        kind, block = delta.type, self._blocks.get(index)
        if block is None:
            return
        if kind == "text_delta":
            block["text"] = block.get("text", "") + delta.text
            yield TextDelta(delta.text, index)
        elif kind == "thinking_delta":
            block["thinking"] = block.get("thinking", "") + delta.thinking
            yield ThinkingDelta(delta.thinking, index)
        elif kind == "signature_delta":
            block["signature"] = delta.signature
        elif kind == "input_json_delta":
            self._inputs.setdefault(index, []).append(delta.partial_json)
            if block["type"] == "tool_use":
                yield ToolInputDelta(block["id"], block["name"], delta.partial_json)
        elif kind == "citations_delta":
            block["citations"] = [*(block.get("citations") or []), _plain(delta.citation)]
            yield _cited(index, delta.citation)

    def _stopped(self, index: int) -> Iterator[ModelEvent]:
        block = self._blocks.get(index)
        if block is None or block["type"] not in ("tool_use", "server_tool_use"):
            return
        if text := "".join(self._inputs.pop(index, ())):
            block["input"] = self._parsed(block, text)
        elif not isinstance(block.get("input"), dict):
            block["input"] = {}
        if block["type"] == "server_tool_use":
            begun = ServerTool(block["id"], block["name"], block["input"])
            self._served[begun.id] = begun
            yield begun

    def _parsed(self, block: Block, text: str) -> dict[str, Any]:
        """The input of a call; empty, and a problem noted, when it is no JSON object."""
        try:
            given = json.loads(text)
        except ValueError:
            given = None
        if isinstance(given, dict):
            return given
        self._problems[block["id"]] = (
            f"The input of {block['name']} is not a JSON object. Nothing was done; call it again with valid JSON."
        )
        return {}

    def _used(self, told: Any) -> Iterator[ModelEvent]:
        """Usage is told as a total each time."""
        used = {kind: value for kind in COUNTED if (value := getattr(told, kind, None)) is not None}
        details = getattr(told, "output_tokens_details", None)
        if (thought := getattr(details, "thinking_tokens", None)) is not None:
            used["thinking_tokens"] = thought
        served = getattr(told, "server_tool_use", None)
        used |= {kind: count for kind in SERVED if (count := getattr(served, kind, None))}
        if used:
            self._usage |= used
            yield UsageSoFar(dict(self._usage))

    def _found(self, block: Block) -> ServerTool:
        id = block["tool_use_id"]
        begun = self._served.get(id) or ServerTool(id, block["type"].removesuffix("_tool_result"), {})
        ok, content, data = found(block.get("content"))
        return ServerTool(id, begun.name, begun.input, ok, content, data)

    def end(self) -> Iterator[ModelEvent]:
        """The calls and the end; nothing when the stream broke off without a reason for it."""
        if self._stop_reason is None:
            return
        blocks = [self._blocks[index] for index in sorted(self._blocks)]
        if self._stop_reason == "tool_use":
            for block in blocks:
                if block["type"] == "tool_use":
                    problem = self._problems.get(block["id"], "")
                    yield ToolCall(block["id"], block["name"], block["input"], problem)
        yield TurnEnd(self._stop_reason, dict(self._usage) or None, blocks, self._model)


def _plain(model: Any) -> dict[str, Any]:
    plain: dict[str, Any] = model.model_dump(mode="json", exclude_unset=True)
    return plain


def _cited(index: int, cited: Any) -> Cited:
    title = getattr(cited, "title", None) or getattr(cited, "document_title", None) or ""
    return Cited(index, getattr(cited, "url", None) or "", title, getattr(cited, "cited_text", None) or "")


# --- what the provider's own tools found ---


def found(content: Any) -> tuple[bool, str, dict[str, Any]]:
    """What a search or a fetch came to: whether it worked, as text, and as data."""
    if isinstance(content, list):
        hits = [_hit(hit) for hit in content if isinstance(hit, dict)]
        return True, "\n".join(map(_line, hits)) or "Nothing was found.", {"results": hits}
    if not isinstance(content, dict):
        return True, "", {}
    if code := content.get("error_code"):
        return False, f"It did not work: {code}.", {"error": code}
    document = content.get("content") or {}
    source = (document.get("source") or {}) if isinstance(document, dict) else {}
    text = source.get("data", "") if source.get("type") == "text" else "(not a text)"
    title = (document.get("title") or "") if isinstance(document, dict) else ""
    url = content.get("url") or ""
    data = {"url": url, "title": title, "retrieved": content.get("retrieved_at")}
    return True, f"{title}\n{url}\n\n{text[:MAX_SNIPPET]}".strip(), {k: v for k, v in data.items() if v}


def _hit(hit: Block) -> dict[str, str]:
    """Title, address, age and what there is of the text (search results come with it encrypted, mostly)."""
    kept = {"title": hit.get("title"), "url": hit.get("url"), "age": hit.get("page_age")}
    kept["snippet"] = hit.get("snippet") or hit.get("text")
    return {key: str(value) for key, value in kept.items() if value}


def _line(hit: dict[str, str]) -> str:
    age = f" ({hit['age']})" if "age" in hit else ""
    snippet = f"\n  {hit['snippet'][:MAX_SNIPPET]}" if "snippet" in hit else ""
    return f"{hit.get('title', '(no title)')}\n  {hit.get('url', '')}{age}{snippet}"
