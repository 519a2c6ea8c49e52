"""Spans as they arrive at a collector, figures as the server's own page shows them, and nothing of the contents."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from anthropic import AsyncAnthropic
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client import REGISTRY

from jupyterlab_postdoc.errors import PostdocError
from jupyterlab_postdoc.runs import Paused
from jupyterlab_postdoc.telemetry import Telemetry, metrics

REPO = Path(__file__).parents[1]
AGENT = {"persona": "researcher", "session": "s_1", "run": "r_1", "model": "claude-haiku-5-5", "provider": "anthropic"}


class Reply(msgspec.Struct):
    """A reply, as far as it is counted."""

    model: str | None
    stop_reason: str = "end_turn"
    usage: dict[str, int] | None = None
    duration_ms: int = 1000
    cost: float | None = None


@pytest.fixture
def spans() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def watch(spans: InMemorySpanExporter, jp_asyncio_loop: asyncio.AbstractEventLoop) -> Iterator[Telemetry]:
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(spans))
    watch = Telemetry(provider=provider, tools=["nb_run", "read_file"])
    jp_asyncio_loop.run_until_complete(watch.start())
    yield watch
    jp_asyncio_loop.run_until_complete(watch.stop())


def value(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


def by_name(spans: InMemorySpanExporter) -> dict[str, ReadableSpan]:
    return {span.name: span for span in spans.get_finished_spans()}


# --- spans ---


async def test_an_agent_and_its_tools(watch: Telemetry, spans: InMemorySpanExporter) -> None:
    async def call(name: str, ok: bool) -> None:
        with watch.tool(name, f"c_{name}") as tool:
            await asyncio.sleep(0)
            tool.ended(ok)

    with watch.agent(**AGENT) as span:
        await asyncio.gather(asyncio.create_task(call("read_file", True)), asyncio.create_task(call("nb_run", False)))
        await call("mcp__papers__search", True)
        span.set(cost=0.25, stop_reason="end_turn", turns=3)
    found = by_name(spans)
    assert set(found) == {
        "invoke_agent researcher",
        "execute_tool read_file",
        "execute_tool nb_run",
        "execute_tool mcp__papers__search",
    }
    agent = found["invoke_agent researcher"]
    assert agent.parent is None
    assert dict(agent.attributes or {}) == {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.agent.name": "researcher",
        "gen_ai.conversation.id": "s_1",
        "gen_ai.provider.name": "anthropic",
        "gen_ai.request.model": "claude-haiku-5-5",
        "postdoc.session.id": "s_1",
        "postdoc.run.id": "r_1",
        "postdoc.cost.usd_estimate": 0.25,
        "postdoc.stop_reason": "end_turn",
        "postdoc.turns": 3,
    }
    for name, span in found.items():
        if name.startswith("execute_tool"):
            assert span.parent is not None
            assert agent.context is not None
            assert span.parent.span_id == agent.context.span_id
    assert dict(found["execute_tool read_file"].attributes or {}) == {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": "read_file",
        "gen_ai.tool.call.id": "c_read_file",
        "gen_ai.tool.type": "function",
    }
    assert (found["execute_tool nb_run"].attributes or {})["error.type"] == "tool_failed"
    assert not found["execute_tool nb_run"].status.is_ok
    assert (found["execute_tool mcp__papers__search"].attributes or {})["gen_ai.tool.type"] == "extension"


async def test_two_runs_at_once_do_not_mix(watch: Telemetry, spans: InMemorySpanExporter) -> None:
    async def run(session: str) -> None:
        with watch.agent(persona=session, session=session, run=session):
            await asyncio.sleep(0.01)
            assert watch.sdk_options(session)["conversation_id"] == session
            with watch.tool("read_file", f"call-{session}") as tool:
                await asyncio.sleep(0.01)
                tool.ended(True)

    before = value("postdoc_runs_active")
    await asyncio.gather(run("a"), run("b"))
    assert value("postdoc_runs_active") == before
    assert "conversation_id" not in watch.sdk_options()  # such a client serves all sessions
    done = spans.get_finished_spans()
    agents = {span.name.split()[1]: span for span in done if span.name.startswith("invoke_agent")}
    tools = {(span.attributes or {})["gen_ai.tool.call.id"]: span for span in done if span.name.startswith("execute")}
    assert len(tools) == 2
    for name, agent in agents.items():
        tool = tools[f"call-{name}"]
        assert tool.parent is not None
        assert agent.context is not None
        assert (tool.parent.span_id, tool.parent.trace_id) == (agent.context.span_id, agent.context.trace_id)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (PostdocError("provider_auth", "The key sk-1 was refused."), "provider_auth"),
        (OSError("/home/ana/secret-topic: gone"), "OSError"),
        (Paused("approval", "a_1"), None),
        (asyncio.CancelledError(), None),
    ],
)
async def test_failures_have_a_type_and_no_text(
    watch: Telemetry, spans: InMemorySpanExporter, error: BaseException, expected: str | None
) -> None:
    with pytest.raises(type(error)), watch.agent(**AGENT):
        raise error
    [span] = spans.get_finished_spans()
    assert (span.attributes or {}).get("error.type") == expected
    assert span.status.is_ok is (expected is None)
    assert not span.events
    assert not span.status.description


async def test_off_it_costs_next_to_nothing(spans: InMemorySpanExporter) -> None:
    watch = Telemetry(tools=["nb_run"])
    assert not watch.on
    assert watch.sdk_options("s") == {"traces": False, "propagation": False}
    began = time.perf_counter()
    for _ in range(1000):
        with watch.agent(**AGENT) as span, watch.tool("nb_run", "c") as tool:
            tool.ended(True)
            span.set(cost=1.0, turns=1)
    assert time.perf_counter() - began < 0.2
    assert not spans.get_finished_spans()


def test_off_it_imports_nothing() -> None:
    code = (
        "import asyncio, sys\n"
        "from jupyterlab_postdoc.telemetry import Telemetry\n"
        "watch = Telemetry()\n"
        "asyncio.run(watch.start()); asyncio.run(watch.stop())\n"
        "print(watch.on, [name for name in sys.modules if name.startswith('opentelemetry')])"
    )
    out = subprocess.run([sys.executable, "-c", code], env=_env(), capture_output=True, text=True, check=True).stdout
    assert out.strip() == "False []"


# --- over the wire ---


class Collector(BaseHTTPRequestHandler):
    """An OTLP/HTTP collector, and a model server that answers one sentence."""

    requests: list[tuple[str, dict[str, str], bytes]]
    slow_s = 0.0

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        self.requests.append((self.path, {k.lower(): v for k, v in self.headers.items()}, body))
        time.sleep(self.slow_s)
        answer, media_type = (_sentence(), "text/event-stream") if self.path == "/v1/messages" else (b"", "")
        self.send_response(200)
        self.send_header("Content-Type", media_type or "application/x-protobuf")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: Any) -> None:
        pass


def _sentence() -> bytes:
    usage = {"input_tokens": 3, "output_tokens": 2}
    message = {"id": "m_1", "type": "message", "role": "assistant", "model": "claude-haiku-5-5", "content": []}
    message |= {"stop_reason": None, "stop_sequence": None, "usage": usage}
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": message},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "A secret answer."}},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": None}, "usage": usage},
        {"type": "message_stop"},
    ]
    return b"".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode() for event in events)


@contextmanager
def collecting(slow_s: float = 0.0) -> Iterator[tuple[str, list[tuple[str, dict[str, str], bytes]]]]:
    requests: list[tuple[str, dict[str, str], bytes]] = []
    handler = type("Handler", (Collector,), {"requests": requests, "slow_s": slow_s})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", requests
    finally:
        server.shutdown()
        server.server_close()


def _env(**more: str) -> dict[str, str]:
    return {name: text for name, text in os.environ.items() if not name.startswith("OTEL_")} | more


WORK = """
import asyncio, logging, sys, time
from jupyterlab_postdoc.telemetry import Telemetry

async def main():
    logging.basicConfig(level="INFO")
    watch = Telemetry(enabled="on" in sys.argv, tools=["nb_run"])
    await watch.start()
    with watch.agent(persona="researcher", session="s_1", run="r_1") as span:
        with watch.tool("nb_run", "c_1") as tool:
            tool.ended(False, "notebook_failed")
        span.set(turns=1)
    began = time.monotonic()
    await watch.stop()
    print(round(time.monotonic() - began, 1))

asyncio.run(main())
"""


def _work(*argv: str, before: str = "", **env: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", before + WORK, *argv]
    return subprocess.run(command, env=_env(**env), capture_output=True, text=True, check=True, timeout=60)


def test_spans_reach_a_collector_over_otlp() -> None:
    with collecting() as (url, requests):
        _work(OTEL_EXPORTER_OTLP_ENDPOINT=url, OTEL_EXPORTER_OTLP_HEADERS="Authorization=Bearer%20key-0001")
    [(path, headers, body)] = requests
    assert path == "/v1/traces"
    assert headers["authorization"] == "Bearer key-0001"
    sent = ExportTraceServiceRequest.FromString(body)
    [resource] = sent.resource_spans
    described = {pair.key: pair.value.string_value for pair in resource.resource.attributes}
    assert described["service.name"] == "jupyterlab-postdoc"
    assert not any(key.startswith(("process.", "host.")) for key in described)
    [scope] = resource.scope_spans
    found = {span.name: span for span in scope.spans}
    assert set(found) == {"invoke_agent researcher", "execute_tool nb_run"}
    assert found["execute_tool nb_run"].parent_span_id == found["invoke_agent researcher"].span_id
    attributes = {pair.key: pair.value.string_value for pair in found["execute_tool nb_run"].attributes}
    assert attributes["error.type"] == "notebook_failed"


def test_a_dead_collector_keeps_nobody_waiting() -> None:
    with collecting(slow_s=8.0) as (url, _):
        began = time.monotonic()
        done = _work("on", OTEL_EXPORTER_OTLP_ENDPOINT=url)
        assert time.monotonic() - began < 7.5
    assert float(done.stdout) <= 2.5
    assert "could not be sent within 2.0 s" in done.stderr


def test_without_the_packages_it_says_so_once() -> None:
    blocked = "import sys\nsys.modules['opentelemetry.sdk'] = sys.modules['opentelemetry.exporter'] = None\n"
    done = _work("on", before=blocked)
    assert done.stderr.count("jupyterlab-postdoc[telemetry]") == 1
    assert done.stdout.strip() == "0.0"


@pytest.mark.parametrize("switch", [{"OTEL_SDK_DISABLED": "true"}, {"OTEL_TRACES_EXPORTER": "none"}])
def test_the_standard_switches_turn_it_off(switch: dict[str, str]) -> None:
    with collecting() as (url, requests):
        _work("on", OTEL_EXPORTER_OTLP_ENDPOINT=url, **switch)
    assert requests == []


def test_the_hosts_own_provider_is_used() -> None:
    host = (
        "from opentelemetry import trace\n"
        "from opentelemetry.sdk.trace import TracerProvider\n"
        "from opentelemetry.sdk.trace.export import SimpleSpanProcessor, ConsoleSpanExporter\n"
        "provider = TracerProvider()\n"
        "provider.add_span_processor(SimpleSpanProcessor(ConsoleSpanExporter()))\n"
        "trace.set_tracer_provider(provider)\n"
    )
    assert '"name": "invoke_agent researcher"' in _work(before=host).stdout


async def test_the_sdks_spans_are_below_ours(watch: Telemetry, spans: InMemorySpanExporter) -> None:
    """With the real SDK: one span for each call of the model, no contents, no trace headers to a foreign server."""
    with collecting() as (url, requests), watch.agent(**AGENT):
        options: Any = watch.sdk_options("s_1", base_url=url)
        async with AsyncAnthropic(api_key="k", base_url=url, open_telemetry=options) as client:
            kwargs: Any = {"model": "claude-haiku-5-5", "max_tokens": 9}
            async with client.messages.stream(messages=[{"role": "user", "content": "My topic"}], **kwargs) as stream:
                assert (await stream.get_final_message()).stop_reason == "end_turn"
    found = by_name(spans)
    assert set(found) == {"invoke_agent researcher", "anthropic.messages.create"}
    call, agent = found["anthropic.messages.create"], found["invoke_agent researcher"]
    assert call.parent is not None
    assert agent.context is not None
    assert call.parent.span_id == agent.context.span_id
    assert (call.attributes or {})["gen_ai.conversation.id"] == "s_1"
    shown = call.to_json() + agent.to_json()
    assert "My topic" not in shown
    assert "A secret answer" not in shown
    [(_, headers, _)] = requests
    assert "traceparent" not in headers
    assert watch.sdk_options()["propagation"] is True
    assert watch.sdk_options(base_url="https://anthropic.com.example")["propagation"] is False


# --- figures ---


@pytest.fixture
def fresh_names() -> Iterator[None]:
    """What a test uses up of the names is given back."""
    before = [(names, set(names._seen)) for names in (metrics._models, metrics._providers)]
    yield
    for names, seen in before:
        names._seen = seen


async def test_turns_tokens_and_dollars(watch: Telemetry) -> None:
    usage = {"input_tokens": 5, "output_tokens": 7, "cache_read_input_tokens": 11, "web_search_requests": 1}
    model, labels = "claude-test-1", {"provider": "anthropic", "model": "claude-test-1", "stop_reason": "tool_use"}
    heard = SimpleNamespace(first_token_s=0.3)
    turns, seconds = value("postdoc_turns_total", **labels), value("postdoc_turn_seconds_sum")
    with watch.agent(**AGENT):
        watch.turn(Reply(model, "tool_use", usage, 2500, 0.5), heard)
    assert value("postdoc_turns_total", **labels) == turns + 1
    assert value("postdoc_turn_seconds_sum") == pytest.approx(seconds + 2.5)
    assert value("postdoc_time_to_first_token_seconds_bucket", le="0.5") >= 1
    assert value("postdoc_tokens_total", kind="input", model=model) == 5
    assert value("postdoc_tokens_total", kind="cache_read", model=model) == 11
    assert value("postdoc_cost_usd_total", model=model) == 0.5


async def test_labels_cannot_grow(watch: Telemetry, fresh_names: None) -> None:
    for number in range(200):
        watch.turn(Reply(f"model-{number}", f"reason-{number}"))
        watch.provider_error(f"code-{number}")
        watch.count_run(f"kind-{number}", f"provider-{number}", f"outcome-{number}")
        for name in (f"tool{number}", f"mcp__server{number}__tool"):
            with watch.tool(name, "c") as tool:
                tool.ended(True)
    lines = [sample for metric in REGISTRY.collect() if metric.name.startswith("postdoc") for sample in metric.samples]
    assert len({sample.labels["model"] for sample in lines if "model" in sample.labels}) <= 41
    assert len({sample.labels["provider"] for sample in lines if "provider" in sample.labels}) <= 11
    assert {sample.labels["tool"] for sample in lines if "tool" in sample.labels} <= {
        *metrics._tools,
        "mcp",
        "unknown",
    }
    assert value("postdoc_tool_calls_total", tool="mcp", ok="true") >= 200
    assert {s.labels["code"] for s in lines if "code" in s.labels} <= {*metrics.HTTP_STATUS, "other"}


def test_prometheus_is_there_already() -> None:
    """Counting adds nothing to what the server loads: it has its own page of figures."""
    code = "import jupyter_server.serverapp, sys; print('prometheus_client' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "True"


async def test_the_servers_page_shows_them(jp_serverapp: Any, jp_fetch: Any) -> None:
    metrics.count_run("research", "template", "done")
    metrics.count_error("provider_overloaded")
    page = (await jp_fetch("metrics")).body.decode()
    assert 'postdoc_runs_total{kind="research",outcome="done",provider="template"}' in page
    assert 'postdoc_provider_errors_total{code="provider_overloaded"}' in page
    assert "postdoc_runs_active" in page
