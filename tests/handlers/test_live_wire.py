"""The proxy byte by byte: requests that no browser of ours sends, and clients that leave or send no further."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import re
from collections.abc import Awaitable, Callable
from urllib.parse import parse_qs, urlsplit

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


class Recorder:
    """An editor that keeps what it was asked, and answers the same to all."""

    def __init__(self, answer: bytes) -> None:
        self.asked: list[bytes] = []
        self.answer = answer

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"(?i)content-length: (\d+)", head)
        self.asked.append(head + (await reader.readexactly(int(length[1])) if length else b""))
        writer.write(self.answer)
        await writer.drain()
        writer.close()


Taker = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n"


@pytest.fixture
def answering(editor):
    """``await answering(bytes)`` → Recorder, which is the editor for the rest of the test."""
    kept, servers = editor.upstream, []

    async def make(answer: bytes = OK + b"\r\nok", take: Taker | None = None) -> Recorder:
        recorder = Recorder(answer)
        servers.append(await asyncio.start_server(take or recorder, "127.0.0.1", 0))
        port = servers[-1].sockets[0].getsockname()[1]
        editor.upstream = Upstream(None, port, "t", "notebook.py")
        return recorder

    yield make
    editor.upstream = kept
    for server in servers:
        server.close()


CHUNKED, RUN = b"Transfer-Encoding: chunked", b"2\r\n{}\r\n0\r\n\r\n"


@pytest.mark.parametrize(
    ("lines", "body"),
    [
        ([CHUNKED, b"Content-Length: 4"], b"0\r\n\r\nGET /auth/token HTTP/1.1\r\n\r\n"),
        ([b"Content-Length: 2", b"Content-Length: 3"], b"{}x"),
        ([b"Content-Length: +2"], b"{}"),
        ([b"Content-Length: 2_0"], b"{}"),
        ([b"Transfer-Encoding: xchunked"], RUN),
        ([b"Transfer-Encoding: \x0bchunked"], RUN),
        ([b"Transfer-Encoding\t: chunked"], RUN),
        ([b"Transfer-Encoding : chunked"], RUN),
        ([CHUNKED], b"0x2\r\n{}\r\n0\r\n\r\n"),
        ([CHUNKED], b"2\r\n{}\r\n0\r\nAuthorization: x\r\n\r\n"),
        ([b"X: a\rAuthorization: b", b"Content-Length: 2"], b"{}"),
        ([b"X: a\x00b", b"Content-Length: 2"], b"{}"),
        ([b"X: a", b" folded", b"Content-Length: 2"], b"{}"),
        ([b": a", b"Content-Length: 2"], b"{}"),
        ([b"Host: evil.example", b"Content-Length: 2"], b"{}"),
        ([b"Origin: https://evil.example", b"Content-Length: 2"], b"{}"),
    ],
)
async def test_a_request_that_can_be_read_in_two_ways_goes_nowhere(opened, wire, answering, lines, body):
    frame, recorder = await opened("edit"), await answering()
    answer = await wire(request(frame, b"api/kernel/run", *lines, method=b"POST", body=body))
    assert status(answer) in (400, 403)
    assert answer.count(b"HTTP/1.1 ") == 1
    assert recorder.asked == []


async def test_a_request_reaches_the_editor_with_our_credentials_only(opened, wire, answering):
    frame, recorder = await opened("edit"), await answering()
    lines = [
        b"Authorization: token x", b"Cookie: a=b", b"X-Forwarded-For: 9.9.9.9", b"Forwarded: for=9.9.9.9", b"Te: x",
        b"X-Mine: 1", b"X-Hop: 1", b"Upgrade: h2c", b"Content-Length: 2",
    ]  # fmt: skip
    sent = request(frame, b"api/kernel/run", *lines, method=b"POST", body=b"{}")
    assert status(await wire(sent.replace(b": close", b": close, X-Hop, Upgrade"), seconds=1)) == 200
    (asked,) = recorder.asked
    assert asked.endswith(b"\r\n\r\n{}")
    lower = asked.lower()
    assert (lower.count(b"\r\nauthorization:"), lower.count(b"\r\nhost:")) == (1, 1)
    assert b"Authorization: Bearer t\r\n" in asked
    assert b"x-mine: 1" in lower
    for gone in (b"cookie", b"forwarded", b"x-hop", b"upgrade", b"origin", b"\r\nte:"):
        assert gone not in lower, gone


@pytest.mark.parametrize("query", [b"a=b#x", b"#", b"file=/etc/passwd#", b"a=\xff#&kiosk=false", b"kiosk=false#"])
async def test_a_query_holds_what_is_forced_however_it_ends(opened, wire, answering, query):
    frame, recorder = await opened("watch"), await answering(b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n")
    await wire(request(frame, b"?" + query))
    upgrade = [b"Upgrade: websocket", b"Sec-WebSocket-Version: 13", b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="]
    sent = request(frame, b"ws?session_id=s_wire02&" + query, *upgrade).replace(b": close", b": Upgrade")
    assert status(await wire(sent, seconds=1)) == 403
    for asked, forced in zip(recorder.asked, ({"file"}, {"file", "kiosk"}), strict=True):
        given = parse_qs(asked.split(b" ")[1].partition(b"?")[2].decode("ascii"), keep_blank_values=True)
        assert {name: given.get(name) for name in forced} == {
            name: {"file": ["notebook.py"], "kiosk": ["true"]}[name] for name in forced
        }


async def test_an_address_that_is_too_long_is_refused(opened, wire):
    frame = await opened("watch")
    assert status(await wire(request(frame, b"public/" + b"%C3%A9" * 5000))) == 404
    assert status(await wire(request(frame, b"public/" + b"\xc3\xa9" * 20_000))) == 400


@pytest.mark.parametrize(
    "lines",
    [
        b'Content-Disposition: attachment; filename="\xc3\xa9\xe6\x97\xa5.csv"\r\n',
        b'Content-Disposition: attachment; filename="\xe9.csv"\r\n',
        b"ETag: a\x7fb\r\n",
        b"Content-Type: text/\x01html\r\n",
        b"ETag: a\rSet-Cookie: x=y\r\n",
        b"ETag: a\x00b\r\n",
        b"Transfer-Encoding: chunked\r\n",
    ],
)
async def test_what_a_stranger_answers_neither_fails_nor_splits(opened, wire, answering, lines):
    frame = await opened("watch")
    await answering(OK + lines + b"\r\n" + (b"2\r\nok\r\n0\r\n\r\n" if b"chunked" in lines else b"ok"))
    head, _, body = (await wire(request(frame, b"health"))).partition(b"\r\n\r\n")
    assert status(head) in (200, 503)
    assert b"ok" in body or status(head) == 503
    assert b"Set-Cookie" not in head
    if b"Disposition" in lines:
        assert lines.strip() in head
    elif b"chunked" in lines:
        assert b"Content-Length" not in head


@pytest.mark.parametrize(
    ("location", "ours"),
    [
        (b"/assets/a.js?x=1&token=y", "assets/a.js?x=1"),
        (b"assets/a.js", "assets/a.js"),
        (b"https://evil.example/a", "a"),
        (b"/../../../api/contents", "api/contents"),
        (b"/%2e%2e/%2e%2e/api", None),
        (b"/%2E%2E%2fapi", None),
        (b"/a//b", None),
        (b"javascript:alert(1)", None),
        (b"http://[::1", None),
        (b"/" + b"a" * 70_000, None),
        (b"/\xe9\xff?\xe9", "%C3%A9%C3%BF?%C3%A9"),
    ],
)
async def test_a_stranger_leads_nobody_out_of_the_ticket(opened, wire, answering, location, ours):
    frame = await opened("watch")
    await answering(OK.replace(b"200", b"302") + b"Location: " + location + b"\r\n\r\nok")
    answer = (await wire(request(frame, b"health"))).decode("latin-1")
    assert status(answer.encode()) in ((302,) if ours else (302, 503))
    found = re.findall(r"(?mi)^location: (.*)\r$", answer)
    assert found == ([] if ours is None else [urlsplit(frame.base).path + ours])


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


async def test_what_a_page_sends_while_its_tab_is_closed_arrives(opened, listening, answering):
    frame, slow = await opened("edit"), Slow()
    await answering(take=slow)
    host, _, port = listening.partition(":")
    for _ in range(20):
        slow.asked.clear()
        _reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(request(frame, b"api/kernel/save", b"Content-Length: 2", method=b"POST", body=b"{}"))
        await writer.drain()
        writer.close()
        async with asyncio.timeout(2):
            await slow.asked.wait()


@pytest.mark.parametrize(("method", "path"), [(b"GET", b""), (b"GET", b"health"), (b"POST", b"api/kernel/run")])
async def test_who_leaves_before_the_answer_takes_the_request_along(opened, listening, answering, method, path):
    frame, slow = await opened("edit"), Slow()
    await answering(take=slow)
    host, _, port = listening.partition(":")
    _reader, writer = await asyncio.open_connection(host, int(port))
    body = b"{}" if method == b"POST" else b""
    writer.write(request(frame, path, b"Content-Length: %d" % len(body), method=method, body=body))
    async with asyncio.timeout(5):
        await slow.asked.wait()
    writer.close()
    async with asyncio.timeout(2):
        await slow.left.wait()


@pytest.mark.parametrize("wait", [0.0, 0.1, 0.5])
async def test_a_socket_whose_page_has_gone_holds_nothing(opened, listening, answering, editor, wait):
    frame = await opened("watch")
    left = asyncio.Event()

    async def late(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        key = re.search(rb"(?i)sec-websocket-key: (\S+)", head)[1]
        accept = base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
        await asyncio.sleep(0.3)
        lines = b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " + accept
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\n" + lines + b"\r\n\r\n")
        await reader.read(1)  # the closing frame, or the end
        left.set()
        writer.close()

    await answering(take=late)
    host, _, port = listening.partition(":")
    _reader, writer = await asyncio.open_connection(host, int(port))
    upgrade = [b"Upgrade: websocket", b"Sec-WebSocket-Version: 13", b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="]
    writer.write(request(frame, b"ws?session_id=s_wire03", *upgrade).replace(b": close", b": Upgrade"))
    await asyncio.sleep(wait)
    writer.close()
    async with asyncio.timeout(3):
        await left.wait()
    assert editor.viewers == 0


def folded(frame: Frame, head: bytes, body: bytes) -> bytes:
    """A request as the script in our page sends it (shim.js): without headers that a browser asks about first."""
    whole = head + b"\n" + body
    lines = [b"Content-Type: text/plain;postdoc=1", b"Content-Length: %d" % len(whole)]
    return request(frame, b"api/kernel/run", *lines, method=b"POST", body=whole)


async def test_the_headers_of_our_page_travel_in_the_body(opened, wire, answering):
    frame, recorder = await opened("edit"), await answering()
    told = {"Content-Type": "application/json", "Marimo-Session-Id": "s_1", "Cookie": "a=b", "Connection": "x"}
    sent = folded(frame, json.dumps(told).encode(), b'{"codes": ["x = 1"]}')
    assert status(await wire(sent, seconds=1)) == 200
    (asked,) = recorder.asked
    head, _, body = asked.lower().partition(b"\r\n\r\n")
    assert body == b'{"codes": ["x = 1"]}', "what marimo gets is what its page wrote"
    assert b"marimo-session-id: s_1" in head
    assert b"content-type: application/json" in head
    for gone in (b"text/plain", b"cookie", b"connection: x"):
        assert gone not in head, gone


@pytest.mark.parametrize(
    "head",
    [b"", b"no json", b"[]", b'{"a": 1}', b'{"a b": "c"}', b'{"a": "b\\r\\nc: d"}', b"[" * 20_000, b'{"a": "\xff"}'],
)
async def test_what_only_looks_like_our_page_is_refused(opened, wire, answering, head):
    frame, recorder = await opened("edit"), await answering()
    assert status(await wire(folded(frame, head, b"{}"), seconds=1)) == 400
    assert not recorder.asked


@pytest.mark.parametrize(
    ("head", "arrives"),
    [
        (b'{"X-Mine": "1", "Authorization": "Bearer x", "Host": "x", "Cookie": "a=b", "Content-Length": "9"}', True),
        (b'{"Transfer-Encoding": "chunked", "Connection": "x-mine", "Forwarded": "for=x", "X-Mine": "1"}', True),
        (b'{"X-Mine": "1\\r\\nAuthorization: Bearer x"}', False),
        (b'{"X-Mine\\r\\nAuthorization": "Bearer x"}', False),
        (b'{"X-Mine": "\\u00e9"}', False),
        (b'{"": "x"}', False),
        (b'{"X-Mine": 1}', False),
        (b'["X-Mine"]', False),
        (b"[" * 9_000, False),
        (b'{"X-Mine": "' + b"a" * 20_000 + b'"}', False),
        (b"\xff", False),
        (b"", False),
    ],
)
async def test_headers_in_a_body_are_no_other_than_headers(opened, wire, answering, head, arrives):
    frame, recorder = await opened("edit"), await answering()
    body = head + b"\n{}"
    lines = [b"Content-Type: text/plain;postdoc=1", b"Content-Length: %d" % len(body)]
    answer = await wire(request(frame, b"api/kernel/run", *lines, method=b"POST", body=body))
    assert status(answer) == (200 if arrives else 400)
    assert len(recorder.asked) == arrives
    for asked in recorder.asked:
        lower = asked.lower()
        assert asked.endswith(b"\r\n\r\n{}")
        assert b"\r\nx-mine: 1\r\n" in lower
        assert (lower.count(b"\r\nauthorization:"), lower.count(b"\r\nhost:")) == (1, 1)
        assert b"Authorization: Bearer t\r\n" in asked
        for gone in (b"cookie", b"transfer-encoding", b"forwarded"):
            assert gone not in lower, gone
