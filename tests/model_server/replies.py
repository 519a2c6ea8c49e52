"""What the model server is told to say: plain JSON, so that it can be sent to its process.

A reply is ``{"status", "headers", "events": [[name, data], …], "tokens_per_s", "first_s", "fault": {…}}``, or for an
answer that is no stream ``{"status", "headers", "body"}``. A rule is ``{"when": {…}, "answer": reply, "times": n}``.
Ids and signatures that are None are filled in by the server: unique, and checked when they come back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Literal

Json = dict[str, Any]
Fault = Literal["truncate", "drop", "reset", "corrupt", "letters", "garble", "stall"]


def words(count: int, *, seed: str = "word") -> list[str]:
    """Pieces of text, each about one token."""
    return [f"{seed}{number % 97} " for number in range(count)]


# --- blocks of a reply ---


def text(said: str | Sequence[str], *, citations: Sequence[Json] = ()) -> Json:
    """A text, in given pieces or cut into words."""
    return {"type": "text", "pieces": _pieces(said), "citations": list(citations)}


def thought(said: str | Sequence[str], *, signature: str | None = None) -> Json:
    """Summarised thinking; the server signs it, and refuses it when it comes back changed."""
    return {"type": "thinking", "pieces": _pieces(said), "signature": signature}


def call(name: str, input: Any = None, *, id: str | None = None, raw: str | None = None, pieces: int = 4) -> Json:
    """A call of one of our tools. ``raw`` is sent in place of the input, to be malformed."""
    given = {} if input is None else input
    return {"type": "tool_use", "id": id, "name": name, "input": given, "raw": raw, "cut": pieces}


def search(query: str, results: Sequence[Mapping[str, Any]] = (), *, error: str | None = None) -> Json:
    """A web search by the server itself. Results are ``{"title", "url", "page_age"?}``."""
    found: Any = [{"type": "web_search_result", "encrypted_content": "e30=", "page_age": None, **r} for r in results]
    if error:
        found = {"type": "web_search_tool_result_error", "error_code": error}
    return {"type": "served", "name": "web_search", "input": {"query": query}, "content": found}


def fetched(url: str, said: str, *, title: str = "", error: str | None = None) -> Json:
    """A page that the server itself fetched."""
    source = {"type": "text", "media_type": "text/plain", "data": said}
    found: Json = {
        "type": "web_fetch_result",
        "url": url,
        "retrieved_at": "2026-11-01T00:00:00Z",
        "content": {"type": "document", "title": title, "citations": None, "source": source},
    }
    if error:
        found = {"type": "web_fetch_tool_result_error", "error_code": error}
    return {"type": "served", "name": "web_fetch", "input": {"url": url}, "content": found}


def _pieces(said: str | Sequence[str]) -> list[str]:
    if not isinstance(said, str):
        return list(said)
    starts = [0, *(i + 1 for i, char in enumerate(said[:-1]) if char == " "), len(said)]
    return [said[a:b] for a, b in pairwise(starts)]


# --- replies ---


def reply(
    said: str | Sequence[str] = "",
    *,
    thinking: str | Sequence[str] = "",
    calls: Sequence[Json] = (),
    blocks: Sequence[Json] | None = None,
    stop_reason: str | None = None,
    usage: Mapping[str, Any] | None = None,
    model: str | None = None,
    tokens_per_s: float | None = None,
    first_s: float = 0.0,
) -> Json:
    """A streamed reply: thinking, then text, then calls; or exactly ``blocks``.

    ``usage`` is told at the end, its input half at the start too. ``tokens_per_s`` paces the pieces, the first of which
    comes after ``first_s``. ``model`` None: the one that was asked for.
    """
    if blocks is None:
        blocks = [*([thought(thinking)] if thinking else []), *([text(said)] if said else []), *calls]
    if stop_reason is None:
        stop_reason = "tool_use" if any(block["type"] == "tool_use" for block in blocks) else "end_turn"
    spoken = sum(len(block.get("pieces", [])) or 10 for block in blocks)
    used = {"input_tokens": 100, "output_tokens": spoken, **(usage or {})}
    events: list[Any] = [["message_start", {"model": model, "usage": {**used, "output_tokens": 0}}]]
    index = 0
    for block in blocks:
        for part in _parts(block):
            events += _block_events(index, part)
            index += 1
    end = {"stop_reason": stop_reason, "stop_sequence": None}
    events.append(["message_delta", {"type": "message_delta", "delta": end, "usage": used}])
    events.append(["message_stop", {"type": "message_stop"}])
    return {"status": 200, "events": events, "tokens_per_s": tokens_per_s, "first_s": first_s}


def _parts(block: Json) -> list[Json]:
    """A tool of the server's is two blocks."""
    if block["type"] != "served":
        return [block]
    use = {"type": "server_tool_use", "id": None, "name": block["name"], "input": block["input"], "raw": None, "cut": 2}
    return [use, {"type": f"{block['name']}_tool_result", "tool_use_id": None, "content": block["content"]}]


def _block_events(index: int, block: Json) -> list[Any]:
    kind, deltas = block["type"], []
    if kind == "text":
        start: Json = {"type": "text", "text": ""}
        deltas = [{"type": "text_delta", "text": piece} for piece in block["pieces"]]
        deltas += [{"type": "citations_delta", "citation": citation} for citation in block["citations"]]
    elif kind == "thinking":
        start = {"type": "thinking", "thinking": "", "signature": ""}
        deltas = [{"type": "thinking_delta", "thinking": piece} for piece in block["pieces"]]
        deltas.append({"type": "signature_delta", "signature": block["signature"]})
    elif kind in ("tool_use", "server_tool_use"):
        start = {"type": kind, "id": block["id"], "name": block["name"], "input": {}}
        deltas = [{"type": "input_json_delta", "partial_json": piece} for piece in _json_pieces(block)]
    else:
        start = block
    return [
        ["content_block_start", {"type": "content_block_start", "index": index, "content_block": start}],
        *(["content_block_delta", {"type": "content_block_delta", "index": index, "delta": d}] for d in deltas),
        ["content_block_stop", {"type": "content_block_stop", "index": index}],
    ]


def _json_pieces(block: Json) -> list[str]:
    import json

    whole = block["raw"] if block["raw"] is not None else json.dumps(block["input"])
    size = max(1, -(-len(whole) // block["cut"]))
    return ["", *(whole[at : at + size] for at in range(0, len(whole), size))]


def broken(said: Json, how: Fault, *, after: int | None = None, seconds: float = 3600.0) -> Json:
    """The reply, until ``after`` events of it were sent (None: all but its end), then:

    ``truncate`` ends the stream cleanly; ``drop`` closes the connection, ``reset`` resets it; ``corrupt`` sends an
    event that is no JSON and ``letters`` one that is no UTF-8; ``garble`` breaks the transfer encoding; ``stall`` says
    nothing for ``seconds``, then goes on.
    """
    at = len(said["events"]) - 2 if after is None else after
    return {**said, "fault": {"how": how, "after": at, "seconds": seconds}}


def error_event(said: Json, type: str = "overloaded_error", message: str = "Overloaded", *, after: int = 3) -> Json:
    """The reply until ``after`` events, then an error in the stream."""
    error = ["error", {"type": "error", "error": {"type": type, "message": message}}]
    return {**said, "events": [*said["events"][:after], error]}


# --- answers that are no stream ---


def failed(status: int, type: str, message: str, *, headers: Mapping[str, str] | None = None, body: Any = None) -> Json:
    """An HTTP error as Anthropic tells it, or with any ``body`` (a text is sent as it is)."""
    told = {"type": "error", "error": {"type": type, "message": message}, "request_id": "req_fault"}
    return {"status": status, "headers": dict(headers or {}), "body": told if body is None else body}


def rate_limited(retry_after: float | None = None) -> Json:
    headers = {} if retry_after is None else {"retry-after": f"{retry_after:g}"}
    return failed(429, "rate_limit_error", "Too many requests.", headers=headers)


def overloaded() -> Json:
    return failed(529, "overloaded_error", "Overloaded")


def unauthorized() -> Json:
    return failed(401, "authentication_error", "invalid bearer token")


def bad_request(message: str = "messages.0: something is wrong") -> Json:
    return failed(400, "invalid_request_error", message)


def too_long() -> Json:
    return bad_request("prompt is too long: 1000321 tokens > 1000000 maximum")


def not_found(model: str = "claude-nobody") -> Json:
    return failed(404, "not_found_error", f"model: {model}")


# --- rules, models ---


def on(
    answer: Json,
    *,
    says: str | None = None,
    turn: int | None = None,
    result: str | None = None,
    system: str | None = None,
    tool: str | None = None,
    model: str | None = None,
    times: int | None = None,
) -> Json:
    """Answer so, when all that is given holds; the first rule that fits is taken, ``times`` times at most.

    ``says``: the user's last message (and what he said since) holds this text. ``turn``: how many replies there were
    since that message. ``result``: the newest tool results hold this text. ``system``: the system prompt does.
    ``tool``: a tool of this name is offered. Answers depend on the request alone, so sessions can run side by side.
    """
    when = {"says": says, "turn": turn, "result": result, "system": system, "tool": tool, "model": model}
    return {"when": {k: v for k, v in when.items() if v is not None}, "answer": answer, "times": times}


def model(id: str, name: str | None = None, **fields: Any) -> Json:
    """An entry of the models' list."""
    return {"type": "model", "id": id, "display_name": name or id, "created_at": "2026-01-01T00:00:00Z", **fields}
