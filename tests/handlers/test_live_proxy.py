"""The proxy to a running editor, with a real marimo behind it: everything a page needs, as it came."""

from __future__ import annotations

import asyncio
import json
import re
import time
from typing import Any

import pytest
from tornado.httpclient import HTTPClientError
from tornado.websocket import WebSocketClientConnection

from jupyterlab_postdoc.handlers.live import ws

from .live_client import Frame, fetch, hold, make_session, operation, policy_of
from .plain_editor import BIG, PlainEditors, marimo


@pytest.fixture(scope="module")
def editor(tmp_path_factory):
    with marimo(tmp_path_factory.mktemp("marimo")) as made:
        yield made


BASES = pytest.mark.parametrize("jp_base_url", ["/a%40b/", "/", "/user/ana/"])
"""Where a server may live; the first is where the other tests have theirs."""


@pytest.fixture
def new_kernel(editor, tmp_path):
    """The same for a test that must not find another's kernel."""
    with marimo(tmp_path / "marimo") as made:
        kept, editor.upstream = editor.upstream, made.upstream
        yield
        editor.upstream = kept


@pytest.fixture
def editors(services, editor):
    services.editors = PlainEditors(editor, services.editors)
    return services.editors


@pytest.fixture
def opened(editors, services, http, listening, jp_root_dir, jp_auth_header):
    """``await opened(mode)`` → Frame, of a session that is made at the first call (its id: ``opened.id``)."""

    async def make(mode: str = "watch") -> Frame:
        if not hasattr(make, "id"):
            make.id = await make_session(services, http, jp_root_dir)
        await hold(services, make.id, "local" if mode == "edit" else None)
        answer = await http("POST", f"api/chats/{make.id}/notebook/open", body={"mode": mode})
        assert answer.status == 200, answer.body
        return await Frame.enter(f"http://{listening}", answer.json, jp_auth_header)

    return make


@BASES
async def test_open_gives_an_address_for_the_one_who_asks(opened, editors, http, jp_base_url, jp_root_dir):
    watch = await opened()
    assert re.fullmatch(
        re.escape(jp_base_url) + r"postdoc/nt/[A-Za-z0-9_-]{43}/\?file=notebook\.py&kiosk=true", watch.opened["url"]
    )
    assert watch.opened["mode"] == "watch"
    assert editors.opened == [((jp_root_dir / "research" / "p").resolve(), "notebook.py")]
    edit = await opened("edit")
    assert edit.opened["url"].endswith("?file=notebook.py")
    assert len({edit.secret, edit.ticket, watch.secret, watch.ticket}) == 4
    assert (await http("POST", f"api/chats/{opened.id}/notebook/open", body={"mode": "own"})).status == 400


async def test_who_has_not_the_notebook_in_hand_gets_no_page_to_edit(opened, services, http):
    await opened()
    address = f"api/chats/{opened.id}/notebook/open"
    answer = await http("POST", address, body={"mode": "edit"})
    assert (answer.status, answer.json["code"], answer.json["reason"]) == (409, "busy", "taken")
    await hold(services, opened.id, "bob")
    answer = await http("POST", address, body={"mode": "edit"})
    assert (answer.status, answer.json["code"]) == (403, "forbidden")
    assert "Bob" in answer.json["error"]


async def test_a_session_without_a_notebook_has_none_to_open(editors, http, services, jp_root_dir):
    chat = (await http("POST", "api/chats", body={})).json["id"]
    answer = await http("POST", f"api/chats/{chat}/notebook/open", body={})
    assert (answer.status, answer.json["code"]) == (404, "not_found")
    id = await make_session(services, http, jp_root_dir)
    (jp_root_dir / "research" / "p").rename(jp_root_dir / "research" / "q")
    assert (await http("POST", f"api/chats/{id}/notebook/open", body={})).status == 404
    assert editors.opened == []


async def test_a_folder_that_leads_out_of_the_server_is_none_of_its_notebooks(
    editors, http, services, jp_root_dir, tmp_path
):
    id = await make_session(services, http, jp_root_dir)
    inside, outside = jp_root_dir / "research" / "p", tmp_path / "outside"
    inside.rename(outside)
    inside.symlink_to(outside)
    assert (await http("POST", f"api/chats/{id}/notebook/open", body={})).status == 404
    assert editors.opened == []


@BASES
async def test_the_outer_page_holds_one_frame_that_goes_nowhere_else(
    opened, jp_auth_header, jp_base_url, listening, editor
):
    frame = await opened()
    text = frame.outer.body.decode()
    here = f"{jp_base_url}postdoc/nt/{frame.ticket}/"
    assert re.findall(r' data-src="([^"]*)"', text) == [f"{here}?file=notebook.py&amp;kiosk=true"]
    assert "allow-same-origin" not in text
    assert "allow-popups" not in text
    policy = policy_of(frame.outer)
    assert policy["frame-src"] == f"http://{listening}{here}"
    assert policy["frame-ancestors"] == "'self'"
    assert policy["default-src"] == "'none'"
    assert "allow-same-origin" not in policy["sandbox"]
    (nonce,) = set(re.findall(r'nonce="([^"]+)"', text))
    assert policy["script-src"] == policy["style-src"] == f"'nonce-{nonce}'"
    assert editor.upstream.token not in text
    with_more = await fetch(f"{frame.url}&x=dark&file=other.py&access_token=y", headers=jp_auth_header)
    assert b"?x=dark&amp;file=notebook.py&amp;kiosk=true" in with_more.body


@BASES
async def test_the_page_comes_with_our_script_and_a_policy(opened, jp_base_url, listening, editor):
    frame = await opened()
    page = await frame.get()
    text = page.body.decode()
    assert page.status == 200, text
    assert text.index("localStorage") < text.index('<script type="module"')
    assert f'src="{jp_base_url}postdoc/assets/0.25.2/assets/index-' in text
    assert editor.upstream.token not in text
    policy = policy_of(page)
    here = f"http://{listening}{jp_base_url}postdoc/nt/{frame.ticket}/"
    assert "allow-same-origin" not in policy["sandbox"]
    assert "allow-popups" not in policy["sandbox"]
    assert policy["default-src"] == policy["form-action"] == "'none'"
    assert policy["base-uri"] == here
    assert set(policy["connect-src"].split()) == {
        *(here, here.replace("http", "ws", 1), "data:", "blob:"),
        f"http://{listening}{jp_base_url}postdoc/assets/0.25.2/",
    }
    assert page.headers["Referrer-Policy"] == "no-referrer"
    assert page.headers["Cache-Control"] == "no-store"
    asset = re.search(r'src="([^"]*/assets/index-[^"]+)"', text)[1]
    assert (await fetch(f"http://{listening}{asset}", headers={"Origin": "null"})).status == 200
    head = await frame.get(method="HEAD")
    assert (head.status, head.body) == (200, b"")


@BASES
async def test_files_come_as_marimo_gives_them(opened, editor):
    frame = await opened()
    direct = f"http://127.0.0.1:{editor.upstream.port}/"
    for path in ("favicon.ico", "manifest.json", "logo.png"):
        ours, theirs = await frame.get(path), await fetch(direct + path)
        assert (ours.status, ours.body) == (200, theirs.body)
        for name in ("Content-Type", "Content-Length", "ETag", "Last-Modified"):
            assert ours.headers.get(name) == theirs.headers.get(name), name
        assert ours.headers["Access-Control-Allow-Origin"] == "null"
    again = await frame.get("logo.png", **{"If-None-Match": theirs.headers["ETag"]})
    assert (again.status, again.body) in ((304, b""), (200, theirs.body))
    head = await frame.get("logo.png", "HEAD")
    assert (head.status, head.body, head.headers["Content-Length"]) == (200, b"", str(len(theirs.body)))
    assert (await frame.get("assets/nothing.js")).status == 404


async def test_a_preflight_is_answered_here(opened):
    frame = await opened()
    asked = {"Access-Control-Request-Method": "POST"}
    asked["Access-Control-Request-Headers"] = "content-type, marimo-session-id"
    answer = await frame.get("api/kernel/run", "OPTIONS", **asked)
    assert (answer.status, answer.body) == (204, b"")
    assert answer.headers["Access-Control-Allow-Origin"] == "null"
    assert answer.headers["Access-Control-Allow-Headers"] == "content-type, marimo-session-id"
    assert "POST" in answer.headers["Access-Control-Allow-Methods"]
    assert "Access-Control-Allow-Credentials" not in answer.headers


async def instantiated(frame: Frame, page: str, session: str) -> tuple[WebSocketClientConnection, dict[str, str]]:
    """A page that has its kernel and has run everything; its socket and the headers of its requests."""
    socket = await frame.socket(session)
    headers = {"Marimo-Session-Id": session, "Marimo-Server-Token": re.search(r'"serverToken": "([^"]+)"', page)[1]}
    ready = await operation(socket, "kernel-ready")
    assert ready["names"] == ["first", "second"]
    started = await frame.post("api/kernel/instantiate", {"objectIds": [], "values": [], "autoRun": True}, **headers)
    assert started.json == {"success": True}, started.body
    return socket, headers | {"ids": json.dumps(ready["cell_ids"])}


async def output(socket: WebSocketClientConnection, wanted: str) -> None:
    """Wait for a cell's output that holds this text."""
    async with asyncio.timeout(20):
        while wanted not in json.dumps((await operation(socket, "cell-op")).get("output") or ""):
            pass


@BASES
async def test_a_person_edits_and_a_watcher_sees_it(new_kernel, opened, editor):
    edit = await opened("edit")
    page = (await edit.get()).body.decode()
    socket, headers = await instantiated(edit, page, "s_edit01")
    ids = json.loads(headers.pop("ids"))
    await output(socket, "21")
    assert editor.viewers == 1

    assert (await edit.get("health")).json == {"status": "healthy"}
    watching = await edit.socket("s_watch1", "&kiosk=true")
    await operation(watching, "kernel-ready")
    assert editor.viewers == 2

    run = await edit.post("api/kernel/run", {"cellIds": [ids[0]], "codes": ["x = 41"]}, **headers)
    assert run.json == {"success": True}
    await output(socket, "42")
    await output(watching, "42")

    ours = await edit.socket("s_watch2", "&kiosk=true&postdoc=together")  # as our script in the page connects
    await operation(ours, "kernel-ready")
    again = await edit.post("api/kernel/run", {"cellIds": [ids[0]], "codes": ["x = 41"]}, **headers)
    assert again.json == {"success": True}
    parts: list[Any] = []
    together = False
    async with asyncio.timeout(20):
        while not parts or parts[-1]["op"] != "completed-run":
            several = (await ours.read_message()).removeprefix("\x1e").split("\x1e")
            together = together or len(several) > 1
            parts += [json.loads(part) for part in several]
    assert together
    assert "42" in [part["data"]["output"]["data"] for part in parts if part["data"].get("output")][-1]
    ours.close()

    await output(socket, "42")
    await operation(socket, "completed-run")
    slow = {"cellIds": [ids[1]], "codes": ["import time; time.sleep(1.5); f'slow {x}'"]}
    assert (await edit.post("api/kernel/run", slow, **headers)).json == {"success": True}
    async with asyncio.timeout(20):
        while (await operation(socket, "cell-op")).get("status") != "running":
            pass
    running = time.monotonic()  # a long run is shown while it goes on
    await output(socket, "slow 41")
    assert time.monotonic() - running > 0.5

    big = await edit.post("api/kernel/run", {"cellIds": [ids[1]], "codes": ["'z' * 4_000_000 + str(x)"]}, **headers)
    assert big.json == {"success": True}
    await operation(socket, "completed-run")
    for connection in (socket, watching):
        connection.close()
    async with asyncio.timeout(5):
        while editor.viewers:
            await asyncio.sleep(0.02)


async def test_public_files_and_names_with_spaces(opened):
    frame = await opened()
    answer = await frame.get("public/a%20b.txt", **{"X-Notebook-Id": "notebook.py"})
    assert (answer.status, answer.body) == (200, b"public")


async def test_large_files_and_parts_of_them(opened):
    frame = await opened()
    name = {"X-Notebook-Id": "notebook.py"}
    whole = await frame.get("public/big.bin", **name)
    assert (whole.status, len(whole.body), whole.headers["Content-Length"]) == (200, BIG, str(BIG))
    assert whole.body[:512] == whole.body[-512:] == bytes(range(256)) * 2
    part = await frame.get("public/big.bin", Range="bytes=255-257", **name)
    assert (part.status, part.body) == (206, b"\xff\x00\x01")
    head = await frame.get("public/big.bin", "HEAD", **name)
    assert (head.status, head.body) in ((200, b""), (405, b""))


async def test_who_leaves_in_the_middle_takes_the_request_along(opened, listening, jp_base_url):
    frame = await opened()
    address, _, port = listening.partition(":")
    for _ in range(3):
        reader, writer = await asyncio.open_connection(address, int(port))
        line = f"GET {jp_base_url}postdoc/nt/{frame.ticket}/public/big.bin HTTP/1.1\r\nHost: {listening}\r\n"
        writer.write(f"{line}X-Notebook-Id: notebook.py\r\n\r\n".encode())
        await reader.readuntil(b"\r\n\r\n")
        writer.close()
    assert (await frame.get("health")).status == 200


async def test_a_page_has_so_many_connections_and_no_more(opened, monkeypatch):
    monkeypatch.setattr(ws, "MOST", 2)
    frame = await opened("edit")
    sockets = [await frame.socket("s_many01"), await frame.socket("s_many02", "&kiosk=true")]
    with pytest.raises(HTTPClientError) as refused:
        await frame.socket("s_many03")
    assert refused.value.code == 429
    for socket in sockets:
        socket.close()


async def test_an_editor_that_is_gone_is_said(opened, editors, jp_auth_header):
    frame = await opened()
    editors.up = False
    answer = await frame.get("health")
    assert (answer.status, answer.json["code"], answer.json["retryable"]) == (503, "capacity", True)
    for page in (await frame.get(), await fetch(frame.url, headers=jp_auth_header)):
        assert page.status == 503
        assert "text/html" in page.headers["Content-Type"]
        assert b'"event":"stopped"' in page.body
    with pytest.raises(HTTPClientError) as refused:
        await frame.socket()
    assert refused.value.code == 503


async def test_a_socket_ends_when_the_notebook_changes_hands(opened, services):
    frame = await opened("edit")
    socket = await frame.socket("s_hands1")
    await operation(socket, "kernel-ready")
    await hold(services, opened.id, None)
    async with asyncio.timeout(4):
        while await socket.read_message() is not None:
            pass
    socket.close()
    assert socket.close_code == 4403
    assert (await frame.get("health")).status == 403


async def test_a_session_that_is_deleted_takes_its_tickets_along(opened, http):
    frame = await opened()
    socket = await frame.socket("s_gone01", "&kiosk=true")
    assert (await http("DELETE", f"api/chats/{opened.id}")).status == 204
    async with asyncio.timeout(4):
        while await socket.read_message() is not None:
            pass
    socket.close()
    assert (await frame.get("health")).status == 403
