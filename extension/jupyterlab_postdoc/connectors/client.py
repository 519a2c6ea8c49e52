"""All MCP servers of the configuration, for the whole Jupyter server: one connection each, made when it is first used.

A server that hangs or has died keeps no run waiting longer than a few seconds: the run goes on without its tools, and
``problems`` says so.
"""

from __future__ import annotations

import asyncio
import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jupyterlab_postdoc.connectors.answers import Answer
from jupyterlab_postdoc.connectors.config import Config, ConfigFile
from jupyterlab_postdoc.connectors.link import MISSING, Link
from jupyterlab_postdoc.connectors.names import may_fit
from jupyterlab_postdoc.connectors.offers import Offer
from jupyterlab_postdoc.errors import PostdocError

WAIT_S = 5.0
"""The longest that a run waits for lists of tools."""


class Connectors:
    """``file`` names the administrator's file of servers; None: there are none."""

    def __init__(self, file: Path | None, *, wait_s: float = WAIT_S) -> None:
        self._file = ConfigFile(file)
        self._wait_s = wait_s
        self._links: dict[str, Link] = {}
        self._leaving: set[asyncio.Task[None]] = set()
        self._closed = False

    async def offers(self, patterns: Sequence[str] | None) -> list[Offer]:
        """The tools that can be used now and may fit these patterns (None: all), in the order of servers and names.

        Only servers with such tools are connected.
        """
        self._adopt(await asyncio.to_thread(self._file.read))
        wanted = [link for link in self._links.values() if may_fit(patterns, link.server.prefix)]
        ready = await asyncio.gather(*(link.ready(self._wait_s) for link in wanted))
        return [offer for link, there in zip(wanted, ready, strict=True) if there for offer in link.offers]

    async def call(self, server: str, tool: str, arguments: dict[str, Any], *, repeatable: bool) -> Answer:
        """Call a server's tool. Raises PostdocError("tool_failed") with a sentence for the model."""
        link = self._links.get(server)
        if link is None or not link.server.offers(tool):
            raise PostdocError("tool_failed", f"The MCP server {server!r} does not offer this any more.")
        return await link.call(tool, arguments, repeatable=repeatable)

    def problems(self) -> list[str]:
        """What is wrong with the file or with a server, a sentence each. A server that nobody has used has none."""
        config = self._file.read()
        missing = bool(config.servers) and importlib.util.find_spec("mcp") is None
        if missing:
            return [*config.problems, MISSING]
        return config.problems + [problem for link in self._links.values() for problem in link.problems()]

    async def close(self) -> None:
        """Leave all connections; the programs are gone when this returns."""
        self._closed = True
        await asyncio.gather(*(link.close() for link in self._links.values()), *self._leaving)

    def _adopt(self, config: Config) -> None:
        """A server whose entry is gone or has changed is left; calls that it is busy with end."""
        if self._closed:
            return
        kept: dict[str, Link] = {}
        for server in config.servers:
            old = self._links.pop(server.name, None)
            if old is not None and old.server == server:
                kept[server.name] = old
                continue
            kept[server.name] = Link(server)
            self._leave(old)
        for old in self._links.values():
            self._leave(old)
        self._links = kept

    def _leave(self, link: Link | None) -> None:
        if link is not None:
            task = asyncio.create_task(link.close())
            self._leaving.add(task)
            task.add_done_callback(self._leaving.discard)
