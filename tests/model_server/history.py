"""What the real Messages API refuses, as far as a client of ours could get it wrong."""

from __future__ import annotations

import hashlib
from typing import Any

FORBIDDEN = ("temperature", "top_p", "top_k")
KNOWN = {
    "model", "max_tokens", "messages", "system", "tools", "tool_choice", "stream", "thinking", "output_config",
    "cache_control", "metadata", "stop_sequences", "service_tier", "container", "diagnostics", "inference_geo",
}  # fmt: skip
BETA = {"context_management": "context-management-"}
LEAST_CACHE_MARKS = 4


def signature_of(thinking: str) -> str:
    """How the server signs what it thought."""
    return "sig_" + hashlib.sha256(thinking.encode()).hexdigest()[:24]


def problems(body: Any, headers: dict[str, str]) -> list[str]:
    """Everything that is wrong with a request; empty when the real API would take it."""
    if not isinstance(body, dict):
        return ["the body is no object"]
    found = [f"{name}: is no longer supported" for name in FORBIDDEN if name in body]
    beta = headers.get("anthropic-beta", "")
    for name in body.keys() - KNOWN - set(FORBIDDEN):
        if name not in BETA or BETA[name] not in beta:
            found.append(f"{name}: Extra inputs are not permitted")
    if not isinstance(body.get("max_tokens"), int) or body["max_tokens"] < 1:
        found.append("max_tokens: must be a positive number")
    if not isinstance(body.get("model"), str) or not body["model"]:
        found.append("model: is required")
    if (marks := _cache_marks(body)) > LEAST_CACHE_MARKS:
        found.append(f"cache_control: {marks} blocks are marked, at most 4")
    if "authorization" not in headers:
        found.append("authorization: is missing")
    thinking = body.get("thinking") or {}
    if thinking.get("type") == "enabled" and thinking.get("budget_tokens", 0) >= body.get("max_tokens", 0):
        found.append("thinking: the budget must be less than max_tokens")
    names = [tool.get("name") for tool in body.get("tools", [])]
    if len(names) != len(set(names)):
        found.append("tools: names must be unique")
    return found + _conversation(body.get("messages") or [])


def _cache_marks(body: Any) -> int:
    """Marked blocks, wherever they are; the mark of the whole request counts as one."""
    if isinstance(body, dict):
        return ("cache_control" in body) + sum(_cache_marks(v) for k, v in body.items() if k != "input_schema")
    return sum(_cache_marks(item) for item in body) if isinstance(body, list) else 0


def _conversation(messages: list[Any]) -> list[str]:
    if not messages or messages[0].get("role") != "user":
        return ["messages: the first one must be the user's"]
    found: list[str] = []
    asked: list[str] = []
    for at, message in enumerate(messages):
        role, blocks = message.get("role"), blocks_of(message)
        if role not in ("user", "assistant"):
            found.append(f"messages.{at}: role {role!r}")
        if at and role == messages[at - 1].get("role"):
            found.append(f"messages.{at}: roles must alternate")
        if not blocks:
            found.append(f"messages.{at}: is empty")
        if role == "user":
            found += _answers(at, blocks, asked)
            asked = []
        found += _blocks(at, role, blocks)
        if role == "assistant":
            asked = [block["id"] for block in blocks if block["type"] == "tool_use"]
    if asked:
        found.append(f"tool_use ids were found without tool_result blocks: {asked}")
    last = blocks_of(messages[-1])
    if messages[-1].get("role") == "assistant" and not any(b["type"] == "server_tool_use" for b in last):
        found.append("messages: the last one must be the user's")
    return found


def _answers(at: int, blocks: list[Any], asked: list[str]) -> list[str]:
    given = [block["tool_use_id"] for block in blocks if block["type"] == "tool_result"]
    found = [f"messages.{at}: tool_result without its tool_use: {id}" for id in given if id not in asked]
    found += [f"messages.{at}: tool_use without its tool_result: {id}" for id in asked if id not in given]
    if len(given) != len(set(given)):
        found.append(f"messages.{at}: a tool_result is there twice")
    kinds = [block["type"] == "tool_result" for block in blocks]
    if kinds != sorted(kinds, reverse=True):
        found.append(f"messages.{at}: tool_result blocks come first")
    return found


def _blocks(at: int, role: str, blocks: list[Any]) -> list[str]:
    found: list[str] = []
    seen = set()
    for number, block in enumerate(blocks):
        place, kind = f"messages.{at}.content.{number}", block.get("type")
        if kind == "text" and not block.get("text", "").strip():
            found.append(f"{place}: text content blocks must be non-empty")
        if kind == "text" and role == "user" and block.get("citations"):
            found.append(f"{place}: citations in a user's text")
        if kind in ("tool_use", "server_tool_use") and not isinstance(block.get("input"), dict):
            found.append(f"{place}: input should be an object")
        if kind == "thinking" and block.get("signature") != signature_of(block.get("thinking", "")):
            found.append(f"{place}: invalid signature in a thinking block")
        if kind == "tool_result" and block.get("content") in (None, "", []):
            found.append(f"{place}: empty content")
        if kind == "server_tool_use":
            seen.add(block["id"])
        if kind in ("web_search_tool_result", "web_fetch_tool_result") and block.get("tool_use_id") not in seen:
            found.append(f"{place}: the result of a search that was never begun")
        found += [f"{place}: {key}: Extra inputs are not permitted" for key in ("parsed_output",) if key in block]
    if role == "assistant" and blocks and blocks[-1].get("type") in ("thinking", "redacted_thinking"):
        found.append(f"messages.{at}: the last block of a reply may not be thinking")
    return found


def blocks_of(message: Any) -> list[Any]:
    """The blocks of a message, whose content may be a plain text."""
    content = message.get("content")
    return [{"type": "text", "text": content}] if isinstance(content, str) else list(content or [])
