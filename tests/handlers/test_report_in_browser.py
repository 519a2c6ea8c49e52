"""The report of a real run in a real browser: it draws its charts, asks nobody else, and may do nothing."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import signal
from typing import Any
from urllib.parse import urlsplit

import pytest
from tornado.websocket import WebSocketClientConnection, websocket_connect

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-dev-shm-usage"),
    *("--disable-background-networking", "--remote-debugging-port=0"),
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]
pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium here")]


class Tab:
    """One page, driven through the browser's debugging protocol."""

    def __init__(self, socket: WebSocketClientConnection) -> None:
        self.socket = socket
        self.session: dict[str, str] = {}
        self.events: list[dict[str, Any]] = []
        self.last = 0

    async def call(self, method: str, **params: Any) -> Any:
        self.last += 1
        await self.socket.write_message(
            json.dumps({"id": self.last, "method": method, "params": params, **self.session})
        )
        while (answer := await self._read()).get("id") != self.last:
            pass
        assert "error" not in answer, answer
        return answer["result"]

    async def _read(self) -> dict[str, Any]:
        message = await self.socket.read_message()
        assert message is not None, "the browser is gone"
        frame: dict[str, Any] = json.loads(message)
        if "id" not in frame:
            self.events.append(frame)
        return frame

    async def open(self, url: str) -> None:
        target = await self.call("Target.createTarget", url="about:blank")
        attached = await self.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        self.session = {"sessionId": attached["sessionId"]}
        for domain in ("Page", "Network", "Log"):
            await self.call(f"{domain}.enable")
        await self.call("Page.navigate", url=url)
        while not any(event["method"] == "Page.loadEventFired" for event in self.events):
            await self._read()

    async def js(self, code: str) -> Any:
        """The value of an expression, awaited; run by the debugger, which the page's own policy does not stop."""
        found = await self.call("Runtime.evaluate", expression=code, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    async def until(self, code: str) -> Any:
        async with asyncio.timeout(30):
            while not (value := await self.js(code)):
                await asyncio.sleep(0.1)
            return value

    def hosts(self) -> set[str]:
        """Whom the page asked, be it answered or not."""
        asked = [e["params"]["request"]["url"] for e in self.events if e["method"] == "Network.requestWillBeSent"]
        return {urlsplit(url).netloc for url in asked if not url.startswith(("data:", "blob:", "about:"))}


@pytest.fixture
def jp_server_config(with_tiny_template):
    return with_tiny_template


@pytest.fixture
def browse(tmp_path, jp_asyncio_loop):
    """``await browse(url)`` → Tab, in a browser that can resolve no name."""
    started: list[asyncio.subprocess.Process] = []
    tabs: list[Tab] = []

    async def start(url: str) -> Tab:
        process = await asyncio.create_subprocess_exec(
            str(CHROMIUM), *FLAGS, f"--user-data-dir={tmp_path / 'browser'}", stderr=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL, start_new_session=True, env=os.environ | {"HOME": str(tmp_path)},
        )  # fmt: skip
        started.append(process)
        assert process.stderr is not None
        async with asyncio.timeout(30):
            while not (found := re.search(rb"DevTools listening on (ws://\S+)", await process.stderr.readline())):
                assert process.returncode is None, "the browser does not start"
        tab = Tab(await websocket_connect(found[1].decode(), max_message_size=64 << 20))
        tabs.append(tab)
        await tab.open(url)
        return tab

    async def stop() -> None:
        for tab in tabs:
            tab.socket.close()
        for process in started:
            os.killpg(process.pid, signal.SIGKILL)
            await process.communicate()

    yield start
    jp_asyncio_loop.run_until_complete(stop())


@pytest.fixture
def report(http, listening, jp_base_url, jp_serverapp):
    """The address of the report of a finished run."""

    async def make() -> str:
        id = (await http("POST", "api/chats", body={})).json["id"]
        await http("POST", f"api/chats/{id}/research", body={"topic": "A tiny study"})
        after = 0
        while True:
            page = (await http("GET", f"api/chats/{id}/events?after={after}&wait=10&types=result")).json["events"]
            if page:
                assert page[0]["success"] is True, page[0]
                break
        token = jp_serverapp.identity_provider.token
        return f"http://{listening}{jp_base_url}postdoc/api/chats/{id}/report?token={token}"

    return make


REFUSED = """(async () => {
  const answers = [];
  for (const path of ["/api/contents", "%(base)sapi/contents", "%(base)spostdoc/api/chats", "https://example.org/"])
    try { answers.push((await fetch(path, {credentials: "include"})).status); } catch (e) { answers.push(e.name); }
  return answers;
})()"""


async def test_the_report_opens_and_may_do_nothing(browse, report, listening, jp_base_url):
    tab = await browse(await report())
    assert "tiny study" in (await tab.js("document.querySelector('h1').innerText")).lower()
    assert "Verdict" in await tab.js("document.body.innerText")
    charts = await tab.js("[...document.images].map(i => i.complete && i.naturalWidth > 100)")
    assert charts
    assert all(charts)
    assert await tab.js("window.origin") == "null"
    assert await tab.js(REFUSED % {"base": jp_base_url}) == ["TypeError"] * 4
    assert tab.hosts() <= {listening, "example.org"}
    refused = [
        e for e in tab.events if e["method"] == "Network.responseReceived" and "/api/" in e["params"]["response"]["url"]
    ]
    assert [e["params"]["response"]["url"].partition("?")[0].rpartition("/")[2] for e in refused] == ["report"]


async def test_the_interactive_page_draws_with_files_of_this_server_only(browse, report, listening, jp_base_url):
    tab = await browse(await report() + "&interactive=true")
    await tab.until("document.querySelectorAll('h1, h2').length > 1")
    assert await tab.until("document.querySelectorAll('canvas, svg.marks, img, marimo-vega').length")
    assert await tab.js("window.origin") == "null"
    assert tab.hosts() == {listening}
    assert await tab.js(REFUSED % {"base": jp_base_url}) == ["TypeError"] * 4
