"""A page of this server with a notebook's frame in it, in a real browser."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import Any

from .test_report_in_browser import Tab

RIGHTS = "allow-scripts allow-forms allow-modals allow-popups allow-downloads"
"""What the panel's frame may; the server's answer allows less."""


class Framed(Tab):
    """A page of this server with the notebook in it; ``inside`` evaluates in marimo's page."""

    place: tuple[dict[str, str], int] | None = None
    outer: dict[str, str]

    @classmethod
    def of(cls, tab: Tab) -> Framed:
        """A tab that is open already."""
        made = cls(tab.socket)
        made.session, made.events, made.last = tab.session, tab.events, tab.last
        return made

    async def embed(self, url: str) -> None:
        """As the panel does it, then wait for marimo's page: a frame in a frame, each maybe in a process of its own."""
        self.outer = dict(self.session)
        code = f"""(() => {{ const f = document.createElement("iframe"); f.sandbox = {json.dumps(RIGHTS)};
            window.told = []; addEventListener("message", e => told.push(e.data));
            f.style = "width: 900px; height: 700px"; f.src = {json.dumps(url)}; document.body.append(f); }})()"""
        await self._enter(self.outer)
        await self.js(code)
        async with asyncio.timeout(30):
            while not await self._found():
                await asyncio.sleep(0.1)

    async def _enter(self, session: dict[str, str]) -> None:
        self.session = session
        await self.call("Target.setAutoAttach", autoAttach=True, waitForDebuggerOnStart=False, flatten=True)
        for domain in ("Runtime", "Network"):
            await self.call(f"{domain}.enable")

    async def _found(self) -> bool:
        known = {event["params"]["sessionId"] for event in self.events if event["method"] == "entered"}
        for event in list(self.events):
            if event["method"] == "Target.attachedToTarget" and event["params"]["sessionId"] not in known:
                self.events.append({"method": "entered", "params": {"sessionId": event["params"]["sessionId"]}})
                with contextlib.suppress(AssertionError):  # it may be gone again
                    await self._enter({"sessionId": event["params"]["sessionId"]})
        self.session = self.outer
        await self.js("1")
        gone = {
            (e.get("sessionId"), e["params"]["executionContextId"])
            for e in self.events
            if e["method"] == "Runtime.executionContextDestroyed"
        }
        for event in self.events:
            if event["method"] != "Runtime.executionContextCreated":
                continue
            place = event.get("sessionId"), event["params"]["context"]["id"]
            if place in gone:
                continue
            self.place = {"sessionId": place[0]} if place[0] else {}, place[1]
            with contextlib.suppress(AssertionError):
                if await self.inside("Boolean(document.querySelector('marimo-filename, #root'))"):
                    return True
        return False

    async def inside(self, code: str) -> Any:
        assert self.place is not None
        self.session, context = self.place
        try:
            found = await self.call(
                "Runtime.evaluate", expression=code, awaitPromise=True, returnByValue=True, contextId=context
            )
        finally:
            self.session = self.outer
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    async def until_inside(self, code: str) -> Any:
        async with asyncio.timeout(90):
            while not (value := await self.inside(code)):
                await asyncio.sleep(0.2)
            return value


async def run_all(editor: Any) -> None:
    """Everything runs once, as the agent's nb_run does it."""
    await editor.ask("run", None, args=[], timeout_s=60.0, cells=None, whole=True)
