"""The proxy in front of an editor that a notebook's code has made its own: its answers are a stranger's."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from tornado.httpclient import HTTPClientError

from jupyterlab_postdoc.handlers.live.http import MAX_PAGE
from jupyterlab_postdoc.notebooks.live import EditorStatus, Upstream

from .live_client import Frame, fetch, hold, make_session
from .plain_editor import PlainEditor, PlainEditors

TELLING = {
    "Content-Security-Policy-Report-Only": "default-src 'none'; report-uri https://elsewhere.example/data",
    "Speculation-Rules": '"https://elsewhere.example/rules"',
    "Link": "<https://elsewhere.example/>; rel=preconnect",
    "Set-Cookie": "a=b",
    "Access-Control-Allow-Origin": "*",
}


async def stranger(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers the page without an end in sight, everything else with headers that make a browser tell others."""
    with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
        path = (await reader.readuntil(b"\r\n\r\n")).split(b" ")[1]
        if path.startswith(b"/health"):
            lines = "".join(f"{name}: {value}\r\n" for name, value in TELLING.items())
            writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n{lines}\r\nok".encode())
        else:
            writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            for _ in range(3 * MAX_PAGE >> 20):
                writer.write(b"100000\r\n" + bytes(1 << 20) + b"\r\n")
                await writer.drain()
            writer.write(b"0\r\n\r\n")
        await writer.drain()
    writer.close()


@pytest.fixture
def opened(services, http, listening, jp_root_dir, jp_auth_header):
    """``await opened(mode)`` → Frame on a stranger; its session's id is ``opened.id``."""

    async def make(mode: str = "watch") -> Frame:
        if not hasattr(make, "id"):
            make.server = await asyncio.start_server(stranger, "127.0.0.1", 0)
            port = make.server.sockets[0].getsockname()[1]
            services.editors = PlainEditors(PlainEditor(Upstream(None, port, "t", "notebook.py")), services.editors)
            make.id = await make_session(services, http, jp_root_dir)
        await hold(services, make.id, "local" if mode == "edit" else None)
        answer = await http("POST", f"api/chats/{make.id}/notebook/open", body={"mode": mode})
        return await Frame.enter(f"http://{listening}", answer.json, jp_auth_header)

    yield make
    make.server.close()


async def test_a_page_without_an_end_fills_no_memory(opened):
    frame = await opened()
    async with asyncio.timeout(20):
        page = await frame.get()
    assert page.status == 503
    assert len(page.body) < 10_000


async def test_no_header_makes_the_browser_tell_others(opened):
    answer = await (await opened()).get("health")
    assert (answer.status, answer.body) == (200, b"ok")
    assert not {name for name, value in TELLING.items() if answer.headers.get(name) == value}
    assert "elsewhere" not in str(dict(answer.headers))


async def test_tickets_end_with_the_hand_also_after_a_page_of_an_earlier_server_asked(
    opened, services, listening, jp_base_url
):
    old = await fetch(f"http://{listening}{jp_base_url}postdoc/nt/{'a' * 43}/health", headers={"Origin": "null"})
    assert old.status == 403
    frame = await opened("edit")
    assert (await frame.get("health")).status == 200
    for tell in services.sessions.on_hand:  # given back, and taken again at once
        tell(opened.id)
    assert (await frame.get("health")).status == 403
    with pytest.raises(HTTPClientError):
        await frame.socket()


async def test_an_editor_that_changes_all_the_time_fills_no_log(services, http, jp_root_dir):
    id = await make_session(services, http, jp_root_dir)
    root = (jp_root_dir / "research" / "p").resolve()
    for number in range(2000):
        services.sessions.announcer.hear(root, EditorStatus("ready", f"ended {number}", kernel="dead"))
    async with asyncio.timeout(5):
        while not [e for e in await services.log.tail(id) if e.type == "notebook"]:
            await asyncio.sleep(0.05)
    await asyncio.sleep(2.5)
    assert len([e for e in await services.log.tail(id, 5000) if e.type == "notebook"]) == 2  # the first, the last
