"""Which models there are, whether the key works, what is loaded when, and what is traced."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from tests.model_server import ModelServer, model, on, reply, unauthorized, words
from tests.providers.claude import HAIKU, claude, failure, hear, request

from jupyterlab_postdoc.providers.anthropic import AnthropicProvider
from jupyterlab_postdoc.secrets import KeyFileError

YES = {"supported": True}
NO = {"supported": False}
ABLE = {
    "thinking": {**YES, "types": {"adaptive": YES, "enabled": YES}},
    "effort": {**YES, "low": YES, "medium": YES, "high": YES, "max": NO, "xhigh": None},
}


async def test_the_servers_list(model_server: ModelServer) -> None:
    full = model(
        "claude-new-6", "Claude New 6", line="opus", max_input_tokens=2_000_000, max_tokens=5_000, capabilities=ABLE
    )
    unable = model("claude-old-1", max_tokens=4_000, capabilities={"thinking": NO, "effort": NO})
    empty = model(HAIKU, line=None, max_tokens=None, max_input_tokens=None, capabilities=None)
    bare = {"id": "local", "type": "model"}
    model_server.models([full, unable, empty, bare])
    model_server.rules([on(reply("Yes."))])
    async with claude(model_server.url) as provider:
        new, old, haiku, local = await provider.models()
        assert await provider.models() is not None
        await hear(provider, request(model="claude-new-6", effort="high"))
        await hear(provider, request(model="claude-old-1", effort="high"))
    assert (new.label, new.line, new.context, new.output) == ("Claude New 6", "opus", 2_000_000, 5_000)
    assert new.thinking
    assert set(new.effort) == {"low", "medium", "high"}
    assert (old.thinking, old.effort, old.line) == (False, (), None)
    assert (haiku.line, haiku.context, haiku.thinking) == ("haiku", 1_000_000, True), "what is known fills the gaps"
    assert (local.id, local.label, local.thinking) == ("local", "local", False)
    (asked,) = model_server.requests("/v1/models")
    assert "lifecycle" in asked.path
    able, plain = (one.body for one in model_server.requests())
    assert (able["max_tokens"], able["output_config"]) == (5_000, {"effort": "high"})
    assert able["thinking"]["type"] == "adaptive"
    assert not {"thinking", "output_config"} & plain.keys()


async def test_a_server_without_a_list(model_server: ModelServer) -> None:
    async with claude(model_server.url) as provider:
        found = await provider.models()
        assert [info.line for info in found] == ["haiku", "sonnet", "opus"]
        assert all(info.output and info.context for info in found)
        assert await provider.models() == found
    assert len(model_server.requests("/v1/models")) == 1, "not asked again at once"


@pytest.mark.parametrize("listed", [[], [{"type": "model", "id": "a", "max_tokens": "many"}]])
async def test_an_odd_list(model_server: ModelServer, listed: list[Any]) -> None:
    model_server.models(listed)
    async with claude(model_server.url) as provider:
        assert await provider.models()


async def test_without_a_key_the_built_in_list(model_server: ModelServer) -> None:
    async with claude(model_server.url, api_key=lambda: None) as provider:
        assert len(await provider.models()) == 3
        told = provider.status()
    assert (told["ok"], told["configured"]) == (False, False)
    assert "ANTHROPIC_API_KEY" in told["next"]
    assert model_server.requests(None) == []


async def test_the_status_follows_the_last_call(model_server: ModelServer) -> None:
    model_server.script([unauthorized(), reply("Now.")])
    async with claude(model_server.url) as provider:
        assert provider.status()["ok"], "nothing is known against the key yet"
        await failure(provider, request())
        refused = provider.status()
        assert (refused["ok"], refused["configured"]) == (False, True)
        assert "not accepted" in refused["message"]
        assert refused["next"]
        await hear(provider, request())
        assert provider.status()["ok"]
    assert provider.status()["message"].startswith("Claude")


async def test_the_list_of_models_tells_whether_the_server_can_be_reached() -> None:
    async with claude("http://127.0.0.1:9") as provider:
        await provider.models()
        told = provider.status()
    assert told["ok"], "it may be there for the next call"
    assert "cannot be reached" in told["warnings"][0]
    assert "reply" not in told["warnings"][0]


async def test_the_list_of_models_tells_whether_the_key_is_accepted() -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        body = b'{"type": "error", "error": {"type": "authentication_error", "message": "invalid x-api-key"}}'
        head = b"HTTP/1.1 401 Unauthorized\r\ncontent-type: application/json\r\nconnection: close\r\n"
        writer.write(head + b"content-length: %d\r\n\r\n" % len(body) + body)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    async with server, claude(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}") as provider:
        await provider.models()
        told = provider.status()
    assert (told["ok"], told["configured"]) == (False, True)
    assert "not accepted" in told["message"]
    assert "reply" not in told["message"]


async def test_a_key_file_that_cannot_be_read() -> None:
    def unreadable() -> str:
        raise KeyFileError("the file is readable by others.")

    async with claude("http://127.0.0.1:9", api_key=unreadable) as provider:
        told = provider.status()
        assert (told["ok"], told["configured"]) == (False, True)
        assert "readable by others" in told["message"]
        error, _ = await failure(provider, request())
        assert error.code == "provider_auth"
        assert len(await provider.models()) == 3


def test_the_sdk_is_loaded_late_and_beside_the_loop() -> None:
    """Importing it takes a second of the processor; meanwhile the loop answers others."""
    code = """
import asyncio, sys, time
from jupyterlab_postdoc.providers.anthropic import AnthropicProvider
from jupyterlab_postdoc.providers.base import TurnRequest
assert not {"anthropic", "httpx2", "httpcore2", "pydantic", "opentelemetry"} & sys.modules.keys()
async def main():
    provider = AnthropicProvider(api_key=lambda: "k" * 20, base_url="http://127.0.0.1:9")
    provider.status()
    assert "anthropic" not in sys.modules
    longest = 0.0
    async def watch():
        nonlocal longest
        while True:
            began = time.perf_counter()
            await asyncio.sleep(0.01)
            longest = max(longest, time.perf_counter() - began)
    watcher = asyncio.create_task(watch())
    await asyncio.sleep(0.05)
    try:
        async for _ in provider.stream(TurnRequest("s", "r", {}, "", "m", [], [], [], prompt="x")):
            pass
    except Exception as e:
        print(type(e).__name__, longest)
    assert "anthropic" in sys.modules
    watcher.cancel()
asyncio.run(main())
"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert out[0] == "PostdocError"
    assert float(out[1]) < 0.4, "the loop went on"


async def test_two_first_calls_share_one_client(model_server: ModelServer) -> None:
    model_server.rules([on(reply("Yes."))])
    seen = []

    def telemetry() -> None:
        seen.append(time.monotonic())

    async with claude(model_server.url, telemetry=telemetry) as provider:
        await asyncio.gather(*(hear(provider, request()) for _ in range(4)))
    assert len(seen) == 1


async def test_many_replies_at_once(model_server: ModelServer) -> None:
    model_server.rules([on(reply(words(60, seed=f"s{n}w"), tokens_per_s=60), says=f"number {n}!") for n in range(30)])
    async with claude(model_server.url) as provider:
        heard = await asyncio.gather(*(hear(provider, request(f"number {n}!")) for n in range(30)))
    for number, events in enumerate(heard):
        assert "".join(getattr(event, "text", "") for event in events) == "".join(words(60, seed=f"s{number}w"))


async def test_spans_when_they_are_wanted_and_only_then(
    model_server: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANTHROPIC_OPEN_TELEMETRY", "true")
    model_server.rules([on(reply("Yes.", usage={"input_tokens": 7}))])
    kept = InMemorySpanExporter()
    tracers = TracerProvider()
    tracers.add_span_processor(SimpleSpanProcessor(kept))
    traced = {
        "tracer_provider": tracers,
        "propagation": False,
        "traces": {"enabled": True, "content_mode": "metadata_only"},
    }
    async with claude(model_server.url, telemetry=lambda: traced) as provider:
        await hear(provider, request())
    (span,) = kept.get_finished_spans()
    assert span.attributes is not None
    assert span.attributes["gen_ai.usage.input_tokens"] == 7
    assert span.attributes["gen_ai.conversation.id"] == "chat"
    kept.clear()
    async with claude(model_server.url) as provider:
        await hear(provider, request())
    assert kept.get_finished_spans() == ()
    assert all("traceparent" not in one.headers for one in model_server.requests())


async def test_it_can_be_closed_twice_and_used_again(model_server: ModelServer) -> None:
    model_server.rules([on(reply("Yes."))])
    provider = AnthropicProvider(api_key=lambda: "k" * 20, base_url=model_server.url)
    await provider.close()
    await hear(provider, request())
    await provider.close()
    await hear(provider, request())
    await provider.close()
