"""The way to an editor: HTTP and WebSocket connections over its Unix socket (or a loopback port)."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Any

from tornado.netutil import Resolver

from jupyterlab_postdoc.notebooks.live import Upstream

if TYPE_CHECKING:
    import httpx2

KEY = "postdoc_upstreams"
CONNECT_S = 5.0
READ_S = 300.0
"""Runs answer at once and tell their outputs on the socket; the longest answer is that of a function call."""
MOST = 64


class UnixResolver(Resolver):
    """Every name is one Unix socket."""

    def initialize(self, path: str) -> None:
        self.path = path

    async def resolve(
        self,
        host: str,  # noqa: ARG002
        port: int,  # noqa: ARG002
        family: socket.AddressFamily = socket.AF_UNSPEC,  # noqa: ARG002
    ) -> list[tuple[int, Any]]:
        return [(socket.AF_UNIX, self.path)]

    def close(self) -> None:
        """Nothing is held."""


def resolver(upstream: Upstream) -> UnixResolver | None:
    """For Tornado's client; None: resolve as usual."""
    return UnixResolver(path=str(upstream.socket)) if upstream.socket is not None else None


class Upstreams:
    """One HTTP client for each editor; clients of editors that are gone are closed when there are many."""

    def __init__(self) -> None:
        self._clients: dict[Upstream, httpx2.AsyncClient] = {}
        self._closing: set[asyncio.Task[None]] = set()

    def client(self, upstream: Upstream) -> httpx2.AsyncClient:
        """A client whose pool is this editor's."""
        made = self._clients.pop(upstream, None)
        if made is None:
            import httpx2

            uds = str(upstream.socket) if upstream.socket is not None else None
            transport = httpx2.AsyncHTTPTransport(
                uds=uds, trust_env=False, limits=httpx2.Limits(max_connections=64, max_keepalive_connections=8)
            )
            made = httpx2.AsyncClient(
                transport=transport,
                base_url=f"http://127.0.0.1:{upstream.port}",
                timeout=httpx2.Timeout(READ_S, connect=CONNECT_S),
                trust_env=False,
                follow_redirects=False,
            )
        self._clients[upstream] = made  # at the end: the first one is that which was not used for longest
        while len(self._clients) > MOST:
            self._close(self._clients.pop(next(iter(self._clients))))
        return made

    def _close(self, client: httpx2.AsyncClient) -> None:
        task = asyncio.ensure_future(client.aclose())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def close(self) -> None:
        """Close all connections."""
        clients, self._clients = list(self._clients.values()), {}
        await asyncio.gather(*(client.aclose() for client in clients), *self._closing)


def upstreams_of(settings: dict[str, Any]) -> Upstreams:
    """The server's connections to its editors."""
    found = settings.setdefault(KEY, Upstreams())
    assert isinstance(found, Upstreams)
    return found
