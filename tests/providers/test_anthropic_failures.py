"""Everything that can go wrong with a call, as a real server does it: the code, the sentence, and that it goes on."""

from __future__ import annotations

import asyncio
import socket
import time
from typing import Any

import pytest
from tests.model_server import (
    ModelServer,
    bad_request,
    broken,
    call,
    error_event,
    failed,
    not_found,
    overloaded,
    rate_limited,
    reply,
    too_long,
    unauthorized,
)
from tests.providers.claude import KEY, calls, claude, failure, hear, request, said

from jupyterlab_postdoc.errors import PostdocError
from jupyterlab_postdoc.providers.base import TurnEnd

WORDS = "A sentence that is long enough to be cut somewhere."
LONG = reply(WORDS, calls=[call("plan", {"a": 1})])
SECRET = f"Bearer {KEY} is not good; your prompt was: PRIVATE"


def readable(error: PostdocError) -> None:
    """Sentences for a person, and nothing of the key or of what the server said."""
    for sentence in (error.message, error.next):
        assert sentence.endswith("."), sentence
        for word in (KEY, "PRIVATE", "Traceback", "httpx", "anthropic.", "{"):
            assert word not in sentence, sentence
    assert error.__cause__ is None
    assert error.__context__ is None or error.__suppress_context__, "the SDK's own error may hold the request"


@pytest.mark.parametrize("how", ["truncate", "drop", "reset", "corrupt", "letters", "garble"])
@pytest.mark.parametrize("after", [0, 1, 4, None])
async def test_a_reply_that_breaks_off(model_server: ModelServer, how: Any, after: int | None) -> None:
    model_server.script([broken(LONG, how, after=after), reply("Whole.")])
    async with claude(model_server.url) as provider:
        error, heard = await failure(provider, request())
        assert (error.code, error.retryable) == ("provider_stream_error", True)
        readable(error)
        assert calls(heard) == [], "nothing of it can be carried out"
        assert not any(isinstance(event, TurnEnd) for event in heard)
        expected = {0: "", 1: "", 4: "A sentence ", None: WORDS}[after]
        if how == "reset":  # the system may throw away what was not read yet
            assert expected.startswith(said(heard))
        else:
            assert said(heard) == expected, "what came before is heard"
        assert said(await hear(provider, request())) == "Whole."
    assert len(model_server.requests()) == 2, "it never asks again by itself"


async def test_a_reply_that_is_cut_after_its_reason_is_whole(model_server: ModelServer) -> None:
    model_server.script([broken(LONG, "truncate", after=len(LONG["events"]) - 1)])
    async with claude(model_server.url) as provider:
        assert len(calls(await hear(provider, request()))) == 1


async def test_a_silence(model_server: ModelServer) -> None:
    model_server.script([broken(LONG, "stall", after=4), broken(reply("x"), "stall", after=0), reply("Again.")])
    async with claude(model_server.url, read_timeout_s=0.4) as provider:
        began = time.monotonic()
        for _ in range(2):
            error, heard = await failure(provider, request())
            assert (error.code, error.retryable) == ("provider_timeout", True)
            readable(error)
            assert calls(heard) == []
        assert time.monotonic() - began < 3
        assert said(await hear(provider, request())) == "Again."


ANSWERS = [
    (rate_limited(7), "provider_rate_limited", True, 7.0),
    (rate_limited(), "provider_rate_limited", True, None),
    (failed(429, "rate_limit_error", SECRET, headers={"retry-after-ms": "1500"}), "provider_rate_limited", True, 1.5),
    (failed(429, "rate_limit_error", "x", headers={"retry-after": "soon"}), "provider_rate_limited", True, None),
    (overloaded(), "provider_overloaded", True, None),
    (failed(503, "api_error", SECRET), "provider_overloaded", True, None),
    (failed(500, "api_error", SECRET), "provider_stream_error", True, None),
    (failed(502, "", "", body=f"<html>{SECRET}</html>"), "provider_stream_error", True, None),
    (failed(504, "timeout_error", SECRET), "provider_timeout", True, None),
    (unauthorized(), "provider_auth", False, None),
    (failed(401, "authentication_error", SECRET), "provider_auth", False, None),
    (failed(403, "permission_error", SECRET), "provider_auth", False, None),
    (failed(402, "billing_error", "credit balance is too low"), "provider_auth", False, None),
    (failed(400, "invalid_request_error", "Your credit balance is too low"), "provider_auth", False, None),
    (not_found(), "no_model", False, None),
    (bad_request(SECRET), "bad_message", False, None),
    (failed(422, "invalid_request_error", SECRET), "bad_message", False, None),
    (failed(413, "request_too_large", SECRET), "too_large", False, None),
    (too_long(), "too_large", False, None),
]


@pytest.mark.parametrize(("answer", "code", "again", "after"), ANSWERS)
async def test_what_the_server_refuses(
    model_server: ModelServer, answer: dict[str, Any], code: str, again: bool, after: float | None
) -> None:
    model_server.script([answer, reply("Now.")])
    async with claude(model_server.url) as provider:
        error, _ = await failure(provider, request())
        assert (error.code, error.retryable, error.details.get("retry_after_s")) == (code, again, after)
        assert error.details.get("context") is (True if code == "too_large" else None)
        readable(error)
        assert said(await hear(provider, request())) == "Now."


@pytest.mark.parametrize(
    ("kind", "code", "again"),
    [
        ("overloaded_error", "provider_overloaded", True),
        ("rate_limit_error", "provider_rate_limited", True),
        ("api_error", "provider_stream_error", True),
        ("timeout_error", "provider_timeout", True),
        ("authentication_error", "provider_auth", False),
        ("invalid_request_error", "bad_message", False),
        ("never_heard_of", "provider_stream_error", True),
    ],
)
async def test_an_error_in_mid_stream(model_server: ModelServer, kind: str, code: str, again: bool) -> None:
    model_server.script([error_event(LONG, kind, SECRET, after=4)])
    async with claude(model_server.url) as provider:
        error, _ = await failure(provider, request())
    assert (error.code, error.retryable) == (code, again)
    readable(error)


async def test_events_that_make_no_sense(model_server: ModelServer) -> None:
    start, *rest = reply("Yes.")["events"]
    delta = {"type": "content_block_delta", "index": 7, "delta": {"type": "text_delta", "text": "lost"}}
    strange = {"type": "content_block_start", "index": 0, "content_block": {"type": "hologram", "depth": 3}}
    unknown = ["later_event", {"type": "later_event", "x": 1}]
    model_server.script(
        [
            {"status": 200, "events": [start, unknown, ["content_block_delta", delta], *rest]},
            {"status": 200, "events": [start, ["content_block_start", strange], *rest[-2:]]},
            {"status": 200, "events": [start, ["content_block_delta", {"type": "content_block_delta"}], *rest]},
            {"status": 200, "events": [start, ["message_delta", {"type": "message_delta"}], *rest]},
            {"status": 200, "events": rest[:3]},
        ]
    )
    async with claude(model_server.url) as provider:
        assert said(await hear(provider, request())) == "Yes.", "what is new is passed over"
        assert isinstance((await hear(provider, request()))[-1], TurnEnd)
        for _ in range(3):
            error, _ = await failure(provider, request())
            assert (error.code, error.retryable) == ("provider_stream_error", True)
            readable(error)


@pytest.mark.parametrize("body", ["<html>Log in to the hotel's network</html>", {"hello": "world"}])
async def test_a_server_that_is_none_of_a_model(model_server: ModelServer, body: Any) -> None:
    model_server.script([{"status": 200, "body": body}])
    async with claude(model_server.url) as provider:
        error, _ = await failure(provider, request())
    assert error.code == "provider_stream_error"
    assert "not with a reply" in error.message
    readable(error)


# --- no connection ---


async def test_nobody_is_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    async with claude(f"http://127.0.0.1:{port}") as provider:
        error, _ = await failure(provider, request())
    assert (error.code, error.retryable) == ("provider_stream_error", True)
    assert "Nothing answers" in error.message
    readable(error)


async def test_a_name_that_does_not_exist() -> None:
    async with claude("http://no-such-host.invalid") as provider:
        error, _ = await failure(provider, request())
    assert (error.code, error.retryable) == ("provider_stream_error", True)
    assert "name" in error.message
    readable(error)


async def test_a_server_that_hangs_up_before_it_answers() -> None:
    async def close(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.close()

    async with (
        await asyncio.start_server(close, "127.0.0.1", 0) as server,
        claude(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}") as provider,
    ):
        error, _ = await failure(provider, request())
    assert (error.code, error.retryable) == ("provider_stream_error", True)
    assert "before it answered" in error.message
    readable(error)


async def test_a_server_without_tls() -> None:
    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")
        writer.close()

    async with (
        await asyncio.start_server(plain, "127.0.0.1", 0) as server,
        claude(f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}") as provider,
    ):
        error, _ = await failure(provider, request())
    assert (error.code, error.retryable) == ("provider_stream_error", False)
    assert "TLS" in error.message
    readable(error)


# --- the key ---


@pytest.mark.parametrize("key", [None, ""])
async def test_without_a_key_nothing_is_asked(model_server: ModelServer, key: str | None) -> None:
    async with claude(model_server.url, api_key=lambda: key) as provider:
        error, _ = await failure(provider, request())
    assert (error.code, error.retryable) == ("no_model", False)
    assert "ANTHROPIC_API_KEY" in error.next
    assert "template" in error.next
    assert model_server.requests() == []


async def test_a_key_that_is_no_header(model_server: ModelServer) -> None:
    async with claude(model_server.url, api_key=lambda: "two lines\nof a key file") as provider:
        error, _ = await failure(provider, request())
    assert error.code == "provider_auth"
    assert model_server.requests() == []


async def test_without_a_model_nothing_is_asked(model_server: ModelServer) -> None:
    async with claude(model_server.url) as provider:
        error, _ = await failure(provider, request(model=None))
    assert error.code == "no_model"
    assert model_server.requests() == []
