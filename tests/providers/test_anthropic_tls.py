"""Encrypted connections: as fast as plain ones, read in handfuls too, and only with a certificate that is trusted."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.model_server import ModelServer, reply, words
from tests.providers.claude import claude, failure, hear, request, said

from jupyterlab_postdoc.providers.base import TextDelta

PROXIES = ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate of 127.0.0.1 that nobody has signed, and its key."""
    home = tmp_path_factory.mktemp("tls")
    names = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    order = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *names]
    files = ["-keyout", str(home / "key"), "-out", str(home / "cert")]
    subprocess.run([*order, *files], check=True, capture_output=True)
    return home / "cert", home / "key"


@asynccontextmanager
async def encrypted(port: int, certificate: tuple[Path, Path]) -> AsyncIterator[str]:
    """An address that leads to this port through TLS; each piece becomes a record of its own."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*certificate)
    tasks: set[asyncio.Task[Any]] = set()

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65_536):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", port)
        tasks.update((asyncio.create_task(copy(reader, back)), asyncio.create_task(copy(there, writer))))

    server = await asyncio.start_server(forward, "127.0.0.1", 0, ssl=context)
    try:
        yield f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_fast_reply_keeps_its_speed(
    model_server: ModelServer, certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
    model_server.script([reply("warm"), reply(words(300), tokens_per_s=200)])
    async with encrypted(model_server.port, certificate) as url, claude(url) as provider:
        assert said(await hear(provider, request())) == "warm"
        began, at = time.perf_counter(), set()
        heard = []
        async for event in provider.stream(request()):
            heard.append(event)
            if isinstance(event, TextDelta):
                at.add(round(time.perf_counter(), 2))
        assert time.perf_counter() - began < 2.2, "1.5 s of sending"
    assert said(heard) == "".join(words(300))
    assert len(at) < 80, "and in handfuls"
    assert len({one.connection for one in model_server.requests()}) == 1, "the connection is kept"


async def test_a_certificate_that_nobody_signed(model_server: ModelServer, certificate: tuple[Path, Path]) -> None:
    async with encrypted(model_server.port, certificate) as url, claude(url) as provider:
        error, _ = await failure(provider, request())
    assert (error.code, error.retryable) == ("provider_stream_error", False)
    assert "certificate" in error.message
    assert model_server.requests() == []
