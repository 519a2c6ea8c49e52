"""The model server's process: ``python -S -m tests.model_server.fault RECORD STRICT``. It prints its port.

It uses nothing but asyncio and speaks just enough HTTP, so that it can also speak it wrongly. Every request is a line
of JSON in the file RECORD; how its answer ended is a second one with the same number.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.model_server.history import blocks_of, problems, signature_of

Json = dict[str, Any]
BEGIN = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\nrequest-id: req_%d\r\n\r\n"


class Fault(Exception):
    """The scripted fault happened."""


class State:
    """What it was told to say, and the record of what it was asked."""

    def __init__(self, record: Path, strict: bool) -> None:
        self.script: list[Json] = []
        self.rules: list[Json] = []
        self.models: list[Json] | None = None
        self.strict = strict
        self.count = 0
        self._file = record.open("ab", buffering=0)

    def note(self, number: int, **fields: Any) -> None:
        self._file.write(json.dumps({"number": number, **fields}).encode() + b"\n")

    def tell(self, what: str, value: Any) -> None:
        if what not in ("script", "rules", "models"):
            raise KeyError(what)
        setattr(self, what, value)

    def answer(self, body: Json, headers: dict[str, str]) -> tuple[Json, list[str]]:
        """What to say now, and what is wrong with the request."""
        wrong = problems(body, headers)
        if wrong and self.strict:
            return error(400, "invalid_request_error", "; ".join(wrong)), wrong
        if self.script:
            return self.script.pop(0), wrong
        for rule in self.rules:
            if rule["times"] != 0 and fits(rule["when"], body):
                if rule["times"] is not None:
                    rule["times"] -= 1
                return rule["answer"], wrong
        return error(400, "invalid_request_error", "The model server was not told what to say to this."), wrong


def error(status: int, kind: str, message: str) -> Json:
    return {"status": status, "body": {"type": "error", "error": {"type": kind, "message": message}}}


# --- rules ---


def fits(when: Json, body: Json) -> bool:
    """Whether a rule is for this request: see `replies.on`."""
    current = exchange(body["messages"])
    facts = {
        "turn": lambda want: want == sum(message["role"] == "assistant" for message in current),
        "says": lambda want: want in said(current),
        "result": lambda want: want in results(body["messages"][-1]),
        "system": lambda want: want in json.dumps(body.get("system", ""), ensure_ascii=False),
        "tool": lambda want: any(tool.get("name") == want for tool in body.get("tools", [])),
        "model": lambda want: want == body["model"],
    }
    return all(facts[name](want) for name, want in when.items())


def exchange(messages: list[Json]) -> list[Json]:
    """The messages since the user's last one that is not a tool's result, that one included."""
    for at in range(len(messages) - 1, -1, -1):
        blocks = blocks_of(messages[at])
        if messages[at]["role"] == "user" and not any(block["type"] == "tool_result" for block in blocks):
            return messages[at:]
    return messages


def said(messages: list[Json]) -> str:
    mine = [block for message in messages if message["role"] == "user" for block in blocks_of(message)]
    return "\n".join(block["text"] for block in mine if block["type"] == "text")


def results(message: Json) -> str:
    return "\n".join(
        json.dumps(block["content"], ensure_ascii=False)
        for block in blocks_of(message)
        if block["type"] == "tool_result"
    )


# --- answers ---


async def stream(state: State, number: int, body: Json, answer: Json, writer: asyncio.StreamWriter) -> None:
    """Send the events, at their pace, until the fault. Raises Fault there and OSError when the client has gone."""
    fault, rate = answer.get("fault"), answer.get("tokens_per_s")
    begin = BEGIN % number
    if fault is not None and fault["how"] == "truncate":
        # The answer ends well for HTTP; unannounced, the end of the connection would race with the next request on it.
        begin = begin.removesuffix("\r\n") + "connection: close\r\n\r\n"
    writer.write(begin.encode())
    events = filled(number, body, answer["events"])
    start = time.monotonic() + (answer.get("first_s") or 0.0)
    pieces = 0
    for sent, (name, data) in enumerate(events):
        if fault is not None and sent == fault["after"]:
            await go_wrong(fault, writer)
        if sent == 1 and answer.get("first_s"):
            await writer.drain()
            await until(start, writer)
        if rate and name == "content_block_delta":
            await until(start + pieces / rate, writer)
            pieces += 1
        writer.write(chunk(sse(name, data)))
        state_sent[number] = sent + 1
        if sent % 64 == 63:
            await writer.drain()
    writer.write(b"0\r\n\r\n")
    await writer.drain()


state_sent: dict[int, int] = {}


async def until(at: float, writer: asyncio.StreamWriter) -> None:
    """Wait. Raises ConnectionError as soon as the client is seen to have gone."""
    if (left := at - time.monotonic()) > 0:
        await asyncio.sleep(left)
    if writer.transport.is_closing():
        raise ConnectionError


def sse(name: str, data: Any) -> bytes:
    return f"event: {name}\ndata: {json.dumps(data)}\n\n".encode()


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


async def go_wrong(fault: Json, writer: asyncio.StreamWriter) -> None:
    how = fault["how"]
    await writer.drain()
    if how == "stall":
        await until(time.monotonic() + fault["seconds"], writer)
        return
    await asyncio.sleep(0.02)  # what was sent before arrives before
    if how == "truncate":
        writer.write(b"0\r\n\r\n")
    elif how == "corrupt":
        writer.write(chunk(b'event: content_block_delta\ndata: {"type": "content_block_delta", "ind\n\n'))
    elif how == "letters":
        writer.write(chunk(b'event: content_block_delta\ndata: {"type": "\xc3\x28"}\n\n'))
    elif how == "garble":
        writer.write(b"zz-not-a-length\r\nwhat\r\n")
    if how == "reset":
        writer.transport.abort()
    else:
        await writer.drain()
    raise Fault(how)


def filled(number: int, body: Json, events: list[Any]) -> list[Any]:
    """The events with ids, signatures and the model's name in the places that were left open."""
    done: list[Any] = []
    ids: dict[str, str] = {}
    thinking: dict[int, str] = {}
    for name, given in events:
        data = given
        if name == "message_start":
            data = {"type": name, "message": message(number, body, given)}
        elif name == "content_block_start":
            block = given["content_block"]
            if block["type"] in ("tool_use", "server_tool_use"):
                prefix = "toolu" if block["type"] == "tool_use" else "srvtoolu"
                own = block["id"] or f"{prefix}_{number:04d}_{given['index']}"
                ids["last"] = own
                data = {**given, "content_block": {**block, "id": own}}
            elif "tool_use_id" in block:
                data = {**given, "content_block": {**block, "tool_use_id": block["tool_use_id"] or ids["last"]}}
        elif name == "content_block_delta":
            index, delta = given["index"], given["delta"]
            if delta["type"] == "thinking_delta":
                thinking[index] = thinking.get(index, "") + delta["thinking"]
            elif delta["type"] == "signature_delta" and delta["signature"] is None:
                data = {**given, "delta": {**delta, "signature": signature_of(thinking.get(index, ""))}}
        done.append((name, data))
    return done


def message(number: int, body: Json, given: Json) -> Json:
    return {
        "id": f"msg_{number:06d}",
        "type": "message",
        "role": "assistant",
        "model": given["model"] or body["model"],
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": given["usage"],
    }


def plain(status: int, body: Any, headers: Json | None = None) -> bytes:
    data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
    kind = "text/html" if isinstance(body, str) else "application/json"
    lines = {"content-type": kind, "content-length": str(len(data)), "request-id": "req_plain", **(headers or {})}
    head = f"HTTP/1.1 {status} Said\r\n" + "".join(f"{k}: {v}\r\n" for k, v in lines.items())
    return head.encode() + b"\r\n" + data


# --- connections ---


async def serve(state: State, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One connection: requests until it closes."""
    with contextlib.suppress(OSError, asyncio.IncompleteReadError, Fault):
        early = b""
        while True:
            head = (early + await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            method, path, _ = head[0].split(" ", 2)
            headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in head[1:] if line)}
            data = await reader.readexactly(int(headers.get("content-length", "0")))
            if path.startswith("/__control/"):
                state.tell(path.rpartition("/")[2], json.loads(data))
                writer.write(plain(200, {}))
                early = b""
            else:
                early = await handle(state, method, path, headers, data, reader, writer)
            await writer.drain()
    writer.close()


async def handle(
    state: State,
    method: str,
    path: str,
    headers: dict[str, str],
    data: bytes,
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
) -> bytes:
    """Record and answer one request. Returns what was read of the next one."""
    state.count += 1
    number = state.count
    try:
        body = json.loads(data) if data else None
    except ValueError:
        body = data.decode("latin-1")
    peer = writer.get_extra_info("peername")
    state.note(
        number, at=time.time(), connection=peer[1] if peer else 0, method=method, path=path, headers=headers, body=body
    )
    route = urlsplit(path).path  # a proxy is asked for whole addresses
    if (method, route) == ("GET", "/v1/models") and state.models is not None:
        every = {"data": state.models, "has_more": False, "first_id": None, "last_id": None}
        answer: Json = {"status": 200, "body": every}
    elif (method, route) == ("POST", "/v1/messages") and isinstance(body, dict):
        answer, wrong = state.answer(body, headers)
        state.note(number, status=answer["status"], problems=wrong)
    else:
        answer = error(404, "not_found_error", f"There is no {method} {route}.")
    if "events" not in answer:
        writer.write(plain(answer["status"], answer["body"], answer.get("headers")))
        state.note(number, status=answer["status"], ended="complete", ended_at=time.time())
        return b""
    return await answered(state, number, body, answer, reader, writer)


async def answered(
    state: State, number: int, body: Json, answer: Json, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> bytes:
    """Stream, and note how it ended. A client that goes in between is noticed at once: its side of the line closes."""
    work = asyncio.create_task(stream(state, number, body, answer, writer))
    gone = asyncio.create_task(reader.read(1))  # nobody says anything while listening
    ended = "client"
    try:
        await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
        if work.done():
            work.result()
            ended = "complete"
    except Fault:
        ended = "fault"
        raise
    finally:
        state.note(number, sent=state_sent.pop(number, 0), ended=ended, ended_at=time.time())
        work.cancel()
        gone.cancel()
        await asyncio.gather(work, gone, return_exceptions=True)
    if ended == "client":
        raise ConnectionError
    return b"" if gone.cancelled() or gone.exception() else gone.result()


async def main() -> None:
    state = State(Path(sys.argv[1]), sys.argv[2] == "1")
    server = await asyncio.start_server(lambda r, w: serve(state, r, w), "127.0.0.1", 0, limit=1 << 26, backlog=512)
    print(server.sockets[0].getsockname()[1], flush=True)
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    await reader.read()  # until the tests are gone
    os._exit(0)  # connections may be open; everything is written


if __name__ == "__main__":
    asyncio.run(main())
