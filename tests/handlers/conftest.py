from __future__ import annotations

import json
from typing import Any

import pytest
from tornado.httpclient import HTTPClientError, HTTPRequest
from tornado.httpserver import HTTPServer
from tornado.simple_httpclient import SimpleAsyncHTTPClient
from tornado.websocket import websocket_connect
from traitlets.config import Config

from jupyterlab_postdoc.templates import scaffold

from .checked import check


@pytest.fixture
def jp_server_config():
    return Config({"ServerApp": {"jpserver_extensions": {"jupyterlab_postdoc": True}}})


@pytest.fixture
def with_tiny_template(tmp_path):
    """Configuration of a server with one more template, `tiny`, whose study takes seconds. Without bubblewrap it may
    run unsandboxed.
    """
    scaffold(tmp_path / "templates" / "tiny", "tiny", "A tiny study")
    return Config(
        {
            "ServerApp": {"jpserver_extensions": {"jupyterlab_postdoc": True}},
            "PostdocApp": {"template_paths": [str(tmp_path / "templates")], "allow_unsandboxed": True},
        }
    )


@pytest.fixture
def server(jp_serverapp, jp_asyncio_loop):
    """A real Jupyter server with the real extension, started as ``jupyter server`` starts it."""
    jp_asyncio_loop.run_until_complete(jp_serverapp.extension_manager.start_all_extensions())
    assert "postdoc" in jp_serverapp.web_app.settings, jp_serverapp.web_app.settings.get("postdoc_error")
    return jp_serverapp


@pytest.fixture
def services(server):
    return server.web_app.settings["postdoc"]


@pytest.fixture
def listening(server, http_server_port, jp_asyncio_loop):
    """The server's address; it listens on a real port."""

    async def start():
        listener = HTTPServer(server.web_app)
        listener.add_socket(http_server_port[0])
        return listener

    listener = jp_asyncio_loop.run_until_complete(start())
    yield f"127.0.0.1:{http_server_port[1]}"
    listener.stop()
    jp_asyncio_loop.run_until_complete(listener.close_all_connections())


class Reply:
    """An HTTP answer: ``status``, ``json``, ``headers``, ``body``."""

    def __init__(self, response: Any) -> None:
        self.status = response.code
        self.headers = response.headers
        self.body = response.body or b""

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@pytest.fixture
def http(listening, jp_auth_header, jp_base_url):
    """``await http("GET", "api/chats", body=…)`` → Reply, whatever the status."""

    async def fetch(
        method: str, path: str, *, body: Any = None, raw: bytes | None = None, auth: bool = True, headers=None, **kwargs
    ):
        sent = dict(jp_auth_header) if auth else {}
        sent |= headers or {}
        data = raw if raw is not None else json.dumps(body).encode() if body is not None else None
        if method in ("POST", "PATCH", "PUT") and data is None:
            data = b""
        url = f"http://{listening}{jp_base_url}postdoc/{path}"
        try:
            answer = await SimpleAsyncHTTPClient(force_instance=True).fetch(
                url, method=method, headers=sent, body=data, allow_nonstandard_methods=True, request_timeout=20,
                follow_redirects=False,
                **kwargs,
            )  # fmt: skip
        except HTTPClientError as error:
            if error.response is None:
                raise
            return Reply(error.response)
        return Reply(answer)

    return fetch


class Client:
    """A socket client that speaks JSON."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self.waiting: list[dict[str, Any]] = []

    async def send(self, frame: Any) -> None:
        await self.connection.write_message(frame if isinstance(frame, str) else json.dumps(frame))

    async def receive(self) -> dict[str, Any] | None:
        """The next frame, None when the connection is closed."""
        if not self.waiting:
            message = await self.connection.read_message()
            if message is None:
                return None
            value = json.loads(message)
            self.waiting = value if isinstance(value, list) else [value]
            for frame in self.waiting:
                check(frame)
        return self.waiting.pop(0)

    async def until(self, type: str) -> dict[str, Any]:
        """Skip to the next frame of this type."""
        while (frame := await self.receive()) is not None:
            if frame.get("type", frame.get("payload", {}).get("type")) == type:
                return frame
        raise AssertionError(f"closed with {self.connection.close_code} before {type}")

    async def ask(self, frame: Any) -> dict[str, Any]:
        """Send and take the next frame."""
        await self.send(frame)
        answer = await self.receive()
        assert answer is not None, f"closed with {self.code}"
        return answer

    async def closed(self) -> int | None:
        """Read to the end; the close code."""
        while await self.receive() is not None:
            pass
        return self.code

    @property
    def code(self) -> int | None:
        return self.connection.close_code

    def close(self) -> None:
        self.connection.close()


@pytest.fixture
def connect(listening, jp_auth_header, jp_base_url):
    """``await connect()`` → Client; refused upgrades raise HTTPClientError."""
    clients: list[Client] = []

    async def open_socket(
        *, auth: bool = True, headers=None, envelope: bool = False, path: str = "postdoc/ws"
    ) -> Client:
        sent = dict(jp_auth_header) if auth else {}
        request = HTTPRequest(f"ws://{listening}{jp_base_url}{path}", headers=sent | (headers or {}))
        connection = await websocket_connect(
            request, subprotocols=["postdoc.v1.envelope"] if envelope else None, max_message_size=64 << 20
        )
        clients.append(Client(connection))
        return clients[-1]

    yield open_socket
    for client in clients:
        client.close()
