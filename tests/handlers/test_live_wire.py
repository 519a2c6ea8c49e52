"""The proxy byte by byte: requests that no browser of ours sends, and clients that leave or send no further."""

from __future__ import annotations

import asyncio

import pytest

from jupyterlab_postdoc.notebooks.live import Upstream

from .live_client import Frame, hold, make_session
from .plain_editor import PlainEditor, PlainEditors, marimo


@pytest.fixture(scope="module")
def editor(tmp_path_factory):
    with marimo(tmp_path_factory.mktemp("marimo")) as made:
        yield made


@pytest.fixture
def opened(services, http, listening, jp_root_dir, jp_auth_header, editor):
    """``await opened(mode, editor)`` → Frame on this editor, else on marimo's."""

    async def make(mode: str = "watch", at: PlainEditor | None = None) -> Frame:
        services.editors = PlainEditors(at or editor, getattr(services.editors, "pool", services.editors))
        if not hasattr(make, "id"):
            make.id = await make_session(services, http, jp_root_dir)
        await hold(services, make.id, "local" if mode == "edit" else None)
        answer = await http("POST", f"api/chats/{make.id}/notebook/open", body={"mode": mode})
        return await Frame.enter(f"http://{listening}", answer.json, jp_auth_header)

    return make


@pytest.fixture
def wire(listening):
    """``await wire(bytes)`` → all that comes back within ``seconds``, until the server closes."""

    async def send(*parts: bytes, seconds: float = 3.0) -> bytes:
        host, _, port = listening.partition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        got = b""
        try:
            async with asyncio.timeout(seconds):
                for part in parts:
                    writer.write(part)
                    await writer.drain()
                while chunk := await reader.read(1 << 16):
                    got += chunk
        except (TimeoutError, ConnectionError):
            pass
        finally:
            writer.close()
        return got

    return send


def request(frame: Frame, path: bytes, *headers: bytes, method: bytes = b"GET", body: bytes = b"") -> bytes:
    """A request in the frame, after which the connection closes."""
    host, _, base = frame.base.removeprefix("http://").partition("/")
    lines = [
        method + b" /" + base.encode() + path + b" HTTP/1.1",
        b"Host: " + host.encode(),
        b"Origin: null",
        b"Connection: close",
        *headers,
    ]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1]) if answer else 0


@pytest.mark.parametrize("value", ["é".encode(), "é".encode("latin-1"), "日".encode(), b"\x80\xff"])
async def test_a_header_beyond_ascii_is_no_failure_of_ours(opened, wire, value):
    frame = await opened("edit")
    for name in (b"X-Notebook-Id", b"Accept-Language", b"If-None-Match", b"Range", b"Marimo-Session-Id", b"X-" + value):
        assert status(await wire(request(frame, b"health", name + b": " + value))) in (200, 400), (name, value)
    upgrade = [b"Upgrade: websocket", b"Sec-WebSocket-Version: 13", b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="]
    for name in (b"Sec-WebSocket-Protocol", b"Accept-Language"):
        lines = [*upgrade, name + b": " + value]
        answer = await wire(
            request(frame, b"ws?session_id=s_wire01", *lines).replace(b": close", b": Upgrade"), seconds=1
        )
        assert status(answer) in (101, 400), (name, value)


class Slow:
    """An editor that takes the request and does not answer; ``left`` is set when who asked has gone."""

    def __init__(self) -> None:
        self.asked, self.left = asyncio.Event(), asyncio.Event()

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        self.asked.set()
        while await reader.read(1 << 16):
            pass
        self.left.set()
        writer.close()


async def test_what_a_page_sends_while_its_tab_is_closed_arrives(opened, listening, editor):
    frame, slow = await opened("edit"), Slow()
    server = await asyncio.start_server(slow, "127.0.0.1", 0)
    kept, editor.upstream = editor.upstream, Upstream(None, server.sockets[0].getsockname()[1], "t", "notebook.py")
    try:
        host, _, port = listening.partition(":")
        for _ in range(20):
            slow.asked.clear()
            _reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(request(frame, b"api/kernel/save", b"Content-Length: 2", method=b"POST", body=b"{}"))
            await writer.drain()
            writer.close()
            async with asyncio.timeout(2):
                await slow.asked.wait()
    finally:
        editor.upstream = kept
        server.close()


@pytest.mark.parametrize(("method", "path"), [("GET", ""), ("GET", "health"), ("POST", "api/kernel/run")])
async def test_who_leaves_before_the_answer_takes_the_request_along(opened, wire, listening, editor, method, path):
    frame, slow = await opened("edit"), Slow()
    server = await asyncio.start_server(slow, "127.0.0.1", 0)
    kept, editor.upstream = editor.upstream, Upstream(None, server.sockets[0].getsockname()[1], "t", "notebook.py")
    try:
        host, _, port = listening.partition(":")
        _reader, writer = await asyncio.open_connection(host, int(port))
        body = b"{}" if method == "POST" else b""
        sent = request(frame, path.encode(), b"Content-Length: %d" % len(body), method=method.encode(), body=body)
        writer.write(sent)
        async with asyncio.timeout(5):
            await slow.asked.wait()
        writer.close()
        async with asyncio.timeout(2):
            await slow.left.wait()
    finally:
        editor.upstream = kept
        server.close()
    assert status(await wire(request(frame, b"health"))) == 200
