"""A model server for tests: speaks the streaming Messages API byte by byte, and fails in every way that is asked for.

It runs as a process of its own. Replies are made with :func:`reply` and :func:`failure` and given with
:meth:`ModelServer.script`; each request takes the first that fits it. Every request is kept for inspection.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

MODEL = "claude-haiku-5-5"


def call(name: str, /, **given: Any) -> dict[str, Any]:
    """A call of a tool. ``_id`` gives it an id, ``_raw`` a text in place of its JSON."""
    block = {"type": "tool_use", "name": name, "id": given.pop("_id", None), "raw": given.pop("_raw", None)}
    return {**block, "input": given}


def reply(
    text: str | list[str] = "",
    *calls: dict[str, Any],
    thinking: str = "",
    blocks: list[dict[str, Any]] | None = None,
    stop_reason: str | None = None,
    usage: dict[str, Any] | None = None,
    **how: Any,
) -> dict[str, Any]:
    """A streamed reply: thinking, text and calls, or any ``blocks``.

    ``how``: ``match`` (a text that the request must contain), ``turn`` (how many assistant messages it must have),
    ``repeat`` (not used up), ``per_second`` and ``chunk`` (pieces per second; characters per piece), ``delay_s``
    (before     the first byte), ``fault`` (truncate, drop, corrupt, stall, or an error type such as overloaded_error) after
    ``after`` events.
    """
    if blocks is None:
        blocks = [{"type": "thinking", "thinking": thinking, "signature": "c2lnbmF0dXJl"}] if thinking else []
        blocks += [{"type": "text", "text": t} for t in ([text] if isinstance(text, str) else text) if t]
        blocks += list(calls)
    reason = stop_reason or ("tool_use" if calls else "end_turn")
    return {"blocks": blocks, "stop_reason": reason, "usage": usage or {}, **how}


def failure(status: int, kind: str = "api_error", message: str = "no", **how: Any) -> dict[str, Any]:
    """An answer that is an error; ``headers`` may hold retry-after."""
    return {"status": status, "body": {"type": "error", "error": {"type": kind, "message": message}}, **how}


class ModelServer:
    """The process, as tests see it."""

    def __init__(self, *, seed: str = "") -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__)), seed], stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        self.url = f"http://127.0.0.1:{int(self._process.stdout.readline())}"

    def script(self, *replies: dict[str, Any]) -> None:
        """Add replies."""
        self._ask("script", list(replies))

    def requests(self) -> list[dict[str, Any]]:
        """All requests of messages so far: their bodies, with the headers as ``_headers``."""
        return list(self._ask("requests"))

    def closed(self) -> int:
        """How many streams the client has closed before their end."""
        return int(self._ask("closed"))

    def _ask(self, what: str, body: Any = None) -> Any:
        data = json.dumps(body).encode()
        with urllib.request.urlopen(f"{self.url}/__{what}", data=data, timeout=20) as answer:
            return json.loads(answer.read())

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()


@contextlib.contextmanager
def serving() -> Iterator[ModelServer]:
    """A server for the duration of a block."""
    server = ModelServer()
    try:
        yield server
    finally:
        server.close()


# --- the process ---


def pieces(text: str, size: int) -> list[str]:
    return [text[i : i + size] for i in range(0, len(text), size)] or [""]


class Server:
    def __init__(self) -> None:
        self.replies: list[dict[str, Any]] = []
        self.requests: list[dict[str, Any]] = []
        self.closed = 0
        self.ids = itertools.count(1)

    def choose(self, body: dict[str, Any]) -> dict[str, Any]:
        text = json.dumps(body["messages"])
        turn = sum(message["role"] == "assistant" for message in body["messages"])
        for number, candidate in enumerate(self.replies):
            if candidate.get("match", "") in text and candidate.get("turn", turn) == turn:
                return candidate if candidate.get("repeat") else self.replies.pop(number)
        return failure(400, "invalid_request_error", "the script has no reply for this request")

    def events(self, wanted: dict[str, Any], model: str) -> Iterator[dict[str, Any]]:
        usage = {"input_tokens": 100, "output_tokens": 1, **wanted.get("usage", {})}
        start = {"id": f"msg_{next(self.ids)}", "type": "message", "role": "assistant", "content": [], "model": model}
        start |= {"stop_reason": None, "stop_sequence": None, "usage": {**usage, "output_tokens": 1}}
        yield {"type": "message_start", "message": start}
        size = wanted.get("chunk", 12)
        for index, block in enumerate(wanted["blocks"]):
            opened, deltas = self.block(block, size)
            yield {"type": "content_block_start", "index": index, "content_block": opened}
            for delta in deltas:
                yield {"type": "content_block_delta", "index": index, "delta": delta}
            yield {"type": "content_block_stop", "index": index}
        count = sum(len(json.dumps(block)) for block in wanted["blocks"]) // 4 + 1
        used = {"output_tokens": count, **wanted.get("usage", {})}
        yield {"type": "message_delta", "delta": {"stop_reason": wanted["stop_reason"]}, "usage": used}
        yield {"type": "message_stop"}

    def block(self, block: dict[str, Any], size: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        kind = block["type"]
        if kind == "text":
            deltas = [{"type": "text_delta", "text": t} for t in pieces(block["text"], size)]
            deltas += [{"type": "citations_delta", "citation": c} for c in block.get("cited", [])]
            return {"type": "text", "text": ""}, deltas
        if kind == "thinking":
            deltas = [{"type": "thinking_delta", "thinking": t} for t in pieces(block["thinking"], size)]
            return {"type": "thinking", "thinking": "", "signature": ""}, [
                *deltas,
                {"type": "signature_delta", "signature": block["signature"]},
            ]
        if kind in ("tool_use", "server_tool_use"):
            raw = block.get("raw")
            text = raw if raw is not None else json.dumps(block["input"])
            id = block.get("id") or f"toolu_{time.time_ns():x}_{next(self.ids)}"
            return {"type": kind, "id": id, "name": block["name"], "input": {}}, [
                {"type": "input_json_delta", "partial_json": t} for t in pieces(text, size)
            ]
        return block, []

    # --- HTTP ---

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await self._handle(reader, writer)
        writer.close()

    async def _handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {k.strip().lower(): v.strip() for k, _, v in (line.partition(":") for line in head[1:]) if v}
        raw = await reader.readexactly(int(headers.get("content-length", 0)))
        path = head[0].split()[1]
        body = json.loads(raw) if raw else None
        if path == "/__script":
            self.replies += body
            return answer(writer, 200, True)
        if path == "/__requests":
            return answer(writer, 200, self.requests)
        if path == "/__closed":
            return answer(writer, 200, self.closed)
        if path.partition("?")[0] != "/v1/messages":
            return answer(writer, 404, failure(404, "not_found_error", "not here")["body"])
        self.requests.append({**body, "_headers": headers})
        wanted = self.choose(body)
        await asyncio.sleep(wanted.get("delay_s", 0))
        if "status" in wanted:
            return answer(writer, wanted["status"], wanted["body"], wanted.get("headers"))
        return await self.stream(wanted, body.get("model", MODEL), reader, writer)

    async def stream(
        self, wanted: dict[str, Any], model: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        writer.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nrequest-id: req_1\r\n"
            b"transfer-encoding: chunked\r\nconnection: close\r\n\r\n"
        )
        gone = asyncio.create_task(reader.read(1))
        pause, began = 1 / wanted["per_second"] if wanted.get("per_second") else 0.0, time.monotonic()
        fault, after = wanted.get("fault"), wanted.get("after", 5)
        try:
            for number, event in enumerate(self.events(wanted, model)):
                if fault and number == after and await self.fail(fault, writer, gone):
                    return
                send(writer, event["type"], json.dumps(event))
                if event["type"] == "content_block_delta" and pause:
                    await writer.drain()
                    await asyncio.sleep(max(0.0, began + number * pause - time.monotonic()))
                if gone.done():
                    self.closed += 1
                    return
            writer.write(b"0\r\n\r\n")
            await writer.drain()
        finally:
            gone.cancel()

    async def fail(self, fault: str, writer: asyncio.StreamWriter, gone: asyncio.Task[bytes]) -> bool:
        """Do the damage; True when nothing more is sent."""
        await writer.drain()
        await asyncio.sleep(0.05)
        if fault == "truncate":
            writer.write(b"0\r\n\r\n")
            await writer.drain()
        elif fault == "drop":
            writer.transport.abort()
        elif fault == "corrupt":
            send(writer, "content_block_delta", '{"type": "content_block_delta", "index": 0, "delta": {"type": "text_')
            return False
        elif fault == "stall":
            await gone
            self.closed += 1
        else:
            send(writer, "error", json.dumps({"type": "error", "error": {"type": fault, "message": "later"}}))
            writer.write(b"0\r\n\r\n")
            await writer.drain()
        return True


def send(writer: asyncio.StreamWriter, kind: str, data: str) -> None:
    frame = f"event: {kind}\ndata: {data}\n\n".encode()
    writer.write(b"%x\r\n%b\r\n" % (len(frame), frame))


def answer(writer: asyncio.StreamWriter, status: int, body: Any, headers: dict[str, str] | None = None) -> None:
    data = json.dumps(body).encode()
    more = "".join(f"{k}: {v}\r\n" for k, v in (headers or {}).items())
    head = f"HTTP/1.1 {status} X\r\ncontent-type: application/json\r\n{more}content-length: {len(data)}\r\n"
    writer.write(f"{head}connection: close\r\n\r\n".encode() + data)


async def main() -> None:
    server = await asyncio.start_server(Server().handle, "127.0.0.1", 0, limit=1 << 24)
    print(server.sockets[0].getsockname()[1], flush=True)
    loop = asyncio.get_running_loop()
    await loop.run_in_executor(None, sys.stdin.read)  # ends with the process that started it


if __name__ == "__main__":
    asyncio.run(main())
