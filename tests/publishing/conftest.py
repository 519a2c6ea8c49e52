"""A service whose GitHub is emulate with a git server behind it, with a proxy for bad days in between."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from jupyterlab_postdoc import protocol
from jupyterlab_postdoc.app import Services
from tests.agent.support import ANA, build, lean, research, settled
from tests.forge.emulated import TOKEN, Hub
from tests.forge.faults import Faults

NAME = "ana/a-lean-study"


@dataclass
class Desk:
    """A running service, its GitHub and the proxy between them."""

    home: Path
    hub: Hub
    faults: Faults
    services: Services

    async def study(self, **fields: Any) -> str:
        """A finished study; the chat's id. With a connection it is published before this returns."""
        chat = await research(self.services, **fields)
        await settled(self.services, chat, limit_s=60)
        return chat

    async def publish(self, chat: str, *, limit_s: float = 60, **fields: Any) -> dict[str, Any]:
        """Publish and wait for the end; the run's result."""
        ack = await self.services.sessions.submit(ANA, protocol.Publish(chatId=chat, **fields))
        return await self.ended(chat, ack.extra["runId"], limit_s=limit_s)

    async def ended(self, chat: str, run: str, *, limit_s: float = 60) -> dict[str, Any]:
        async with asyncio.timeout(limit_s):
            while True:
                for event in reversed(await self.services.log.read(chat, finals=True, types=["result"], limit=1000)):
                    if event.run == run:
                        return event.body()
                await asyncio.sleep(0.02)

    async def shown(self, chat: str) -> dict[str, Any]:
        """The newest picture of the publication."""
        row = await self.services.log.store.get_publication(chat)
        assert row is not None
        return row.shown

    async def root(self, chat: str) -> Path:
        row = await self.services.log.store.get_session(chat)
        assert row is not None
        return self.home / "root" / row.meta["project"]["path"]


Make = Callable[..., Any]


@asynccontextmanager
async def desk_at(
    home: Path, hub: Hub, *, token: str | None = TOKEN, prefix: str = "", **config: Any
) -> AsyncIterator[Desk]:
    """A service over ``home``, connected with ``token`` (None: not connected). ``prefix`` `/api/v3`: Enterprise."""
    if not (home / "templates" / "lean").exists():  # a server that is started again
        lean(home / "templates" / "lean")
    with Faults(hub.api_url, prefix=prefix) as faults:
        config = {"github_api_url": faults.url, "github_git_url": hub.git_url, "github_publish": "ask"} | config
        services = build(home, **config)
        services.github._throttle = False
        await services.start()
        try:
            if token is not None:
                await services.connection.credentials.store(ANA.name, token)
            yield Desk(home, hub, faults, services)
        finally:
            await services.stop(2.0)


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    """A GitHub with a git server."""
    with Hub(tmp_path / "hub") as running:
        yield running


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a lost answer GitHub is looked at three times as ever, without 7 s in between."""
    monkeypatch.setattr("jupyterlab_postdoc.publishing.attempt.LOOKS", (0.05, 0.1, 0.2))
