"""One server: a task that holds the connection to it, from its first use to the end of the Jupyter server.

A connection is entered and left in this task alone (its parts demand it); calls come from any task. It is made when
somebody asks for it; one that failed is tried again after a pause that doubles, and only when it is asked for.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
import os
import time
from types import ModuleType
from typing import Any

from jupyterlab_postdoc.connectors.answers import Answer
from jupyterlab_postdoc.connectors.config import Server, Wrong
from jupyterlab_postdoc.connectors.offers import Described, Offer, line, offers
from jupyterlab_postdoc.errors import PostdocError
from jupyterlab_postdoc.secrets import redact

CALL_WAIT_S = 20.0
"""How long a call waits for a connection that has to be made again."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 300.0
STEADY_S = 10.0
"""A connection that held so long was a good one: what ends it is no reason for a pause."""
CLOSE_S = 8.0
HINT = "Try again later, or find another way."
MISSING = "MCP servers need the package mcp (2.3 or newer): run `pip install 'jupyterlab-postdoc[mcp]'`."

_log = logging.getLogger(__name__)


class Lost(Exception):
    """The connection ended in mid-call. ``not_done``: the server has certainly not begun with it."""

    def __init__(self, *, not_done: bool = False) -> None:
        super().__init__("connection lost")
        self.not_done = not_done


class Link:
    """``offers`` are the server's tools as they were listed last; ``problem`` is a sentence while it cannot be used."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.offers: list[Offer] = []
        self.notes: list[str] = []
        self.problem = ""
        self.stirred = asyncio.Event()
        """Set for the task that holds the connection: the list changed, or it shall leave."""
        self._session: Any = None
        self._wanted, self._settled, self._stop = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._failures, self._not_before = 0, 0.0
        self._since: float | None = None
        self._asked: float | None = None
        self._handshake = "auto"

    # --- for those who use it ---

    async def ready(self, wait_s: float) -> bool:
        """Whether it is connected, at most ``wait_s`` after the attempt was asked for; it goes on behind the scenes.

        Who comes later does not wait anew: a server that hangs holds up one run, not each one.
        """
        if self.connected or self._stop.is_set():
            return self.connected
        if self._task is None:
            self._task = asyncio.create_task(self._keep(), name=f"mcp {self.server.slug}")
        now = time.monotonic()
        self._asked = self._asked or now
        self._settled.clear()
        self._wanted.set()
        left = self._asked + wait_s - now
        if self._not_before - now <= left:
            try:
                await asyncio.wait_for(self._settled.wait(), left)
            except TimeoutError:
                self.problem = self.problem or f"{self.title} has not answered yet."
        return self.connected

    async def call(self, tool: str, arguments: dict[str, Any], *, repeatable: bool) -> Answer:
        """Call a tool; ``repeatable``: it only reads, so that it may be asked again when the connection breaks.

        Raises PostdocError("tool_failed") with a sentence for the model.
        """
        for last in (False, True):
            if not await self.ready(CALL_WAIT_S):
                raise PostdocError("tool_failed", self.problem or f"{self.title} cannot be reached.", next=HINT)
            try:
                session = self._session
                async with asyncio.timeout(self.server.entry.timeout_s):
                    answer: Answer = await session.call(tool, arguments)
                    return answer
            except TimeoutError as e:
                raise PostdocError(
                    "tool_failed",
                    f"{self.title} did not answer within {self.server.entry.timeout_s:g} seconds and was told to stop. "
                    + ("" if repeatable else "Whether it did what was asked is unknown."),
                ) from e
            except Lost as e:
                if self._session is session:
                    self.lose()
                if last or not (repeatable or e.not_done):
                    raise self._broken(repeatable or e.not_done) from e
        raise AssertionError("unreachable")

    def _broken(self, harmless: bool) -> PostdocError:
        unknown = "" if harmless else " Whether it did what was asked is unknown: look before you ask again."
        return PostdocError("tool_failed", f"The connection to {self.title} broke in mid-call.{unknown}")

    @property
    def connected(self) -> bool:
        """Whether calls can be made now."""
        return self._session is not None

    @property
    def title(self) -> str:
        """How it is called in sentences."""
        return f"the MCP server {line(self.server.name, 60)!r}"

    def problems(self) -> list[str]:
        """What is wrong with it now, a sentence each."""
        about = self.title[0].upper() + self.title[1:]
        found = [self.problem[0].upper() + self.problem[1:]] if self.problem else []
        return found + [f"{about}: {note}." for note in self.notes]

    def lose(self) -> None:
        """The connection is of no use any more."""
        self._session = None
        self.stirred.set()

    async def close(self) -> None:
        """Leave the connection in order; its programs are gone when this returns."""
        self._stop.set()
        if self._task is None:
            return
        if self.connected:
            self.lose()
            await asyncio.wait([self._task], timeout=CLOSE_S)
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    # --- for the task that holds the connection ---

    async def connect(self, session: Any, described: list[Described]) -> None:
        """It is there, with these tools."""
        await self.list(described)
        self._session, self._since, self._asked, self.problem = session, time.monotonic(), None, ""
        self.stirred.clear()
        self._wanted.clear()
        self._settled.set()

    async def list(self, described: list[Described]) -> None:
        """These are its tools now."""
        self.offers, self.notes = await asyncio.to_thread(offers, self.server, described)

    @property
    def leaving(self) -> bool:
        """Whether the connection shall be left."""
        return self._session is None

    @property
    def stopping(self) -> bool:
        """Whether it is we who end it, for good."""
        return self._stop.is_set()

    @property
    def connected_once(self) -> bool:
        """Whether the connection that is held now, or broke just now, had been made."""
        return self._since is not None

    async def _keep(self) -> None:
        """Connect when somebody asks, hold the connection to its end, wait after a failure."""
        while not self._stop.is_set():
            await self._wanted.wait()
            await asyncio.sleep(max(0.0, self._not_before - time.monotonic()))
            self._since = None
            try:
                wire = await asyncio.to_thread(_wire)
                await self._hold(wire)
                self._ended(f"{self.title} has ended; it is started again when it is needed.")
            except PostdocError as e:
                self._ended(e.message)
            except Wrong as e:
                self._ended(f"{self.title} is not used: {e}")
            except Exception as e:  # noqa: BLE001  (whatever a library raises is this server's problem alone)
                _log.debug("MCP server %s", self.server.name, exc_info=True)
                self._ended(f"{self.title} ({self.server.where}) cannot be reached ({type(e).__name__}).")

    async def _hold(self, wire: ModuleType) -> None:
        """One connection. Some servers end when the newer handshake is tried: then the older one is, too."""
        try:
            await wire.hold(self, os.environ, self._handshake)
        except (Wrong, asyncio.CancelledError):
            raise
        except Exception:
            if self.connected_once or self.stopping:
                raise
            self._handshake = "legacy" if self._handshake == "auto" else "auto"
            await wire.hold(self, os.environ, self._handshake)

    def _ended(self, why: str) -> None:
        """The connection is gone, or was not made."""
        self._session = None
        if self._stop.is_set():
            return
        self.problem = redact(why)
        held = 0.0 if self._since is None else time.monotonic() - self._since
        self._failures = 0 if held >= STEADY_S else self._failures + 1
        pause = FIRST_PAUSE_S * 2 ** (self._failures - 1) if self._failures else 0.0
        self._not_before = time.monotonic() + min(LONGEST_PAUSE_S, pause)
        _log.warning("%s", self.problem)
        if self._since is None:
            self._asked = None
            self._wanted.clear()
            self._settled.set()


def _wire() -> ModuleType:
    """The part that needs the package ``mcp``: more than a second to load, so not in the loop."""
    try:
        return importlib.import_module("jupyterlab_postdoc.connectors.wire")
    except ImportError as e:
        raise PostdocError("tool_failed", MISSING) from e
