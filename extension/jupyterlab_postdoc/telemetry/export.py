"""Where spans go: to the tracer provider that the host has set up, or to an OTLP endpoint of our own.

Everything here is slow to import, so it is imported and set up in a thread, and only when telemetry is on.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import threading
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote, urlsplit

from jupyterlab_postdoc import secrets

DEFAULT_ENDPOINT = "http://localhost:4318"
FLUSH_S = 2.0
MISSING = (
    "Telemetry is on, but its packages are missing: no traces are sent. "
    'Install them with: pip install "jupyterlab-postdoc[telemetry]"'
)

_log = logging.getLogger(__name__)


def endpoint(environ: Mapping[str, str]) -> str:
    """The OTLP address that the standard variables name; empty when they name none."""
    return environ.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") or environ.get("OTEL_EXPORTER_OTLP_ENDPOINT") or ""


def forbidden(environ: Mapping[str, str]) -> bool:
    """Whether the standard variables switch traces off."""
    disabled = environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
    return disabled or environ.get("OTEL_TRACES_EXPORTER", "").strip().lower() == "none"


def host_provider() -> Any | None:
    """The tracer provider that somebody else in this process has set up; None when there is none."""
    trace = sys.modules.get("opentelemetry.trace")
    if trace is None:  # nobody has even imported it
        return None
    provider = trace.get_tracer_provider()
    return None if isinstance(provider, (trace.ProxyTracerProvider, trace.NoOpTracerProvider)) else provider


def own_provider(version: str) -> Any | None:
    """A tracer provider that sends batches from a thread of its own; None (and one line in the log) without the extra.

    It is not made the process's global one: other code's spans are not ours to send.
    """
    if os.environ.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", os.environ.get("OTEL_EXPORTER_OTLP_PROTOCOL")) == "grpc":
        _log.warning("Telemetry speaks http/protobuf, not grpc: traces go to the HTTP port of the collector.")
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        _log.warning(MISSING)
        return None
    _register_headers()
    named = os.environ.get("OTEL_SERVICE_NAME") or "service.name" in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
    described = {"service.version": version} | ({} if named else {"service.name": "jupyterlab-postdoc"})
    provider = TracerProvider(resource=Resource.create(described), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    _log.info("Traces go to %s", urlsplit(endpoint(os.environ) or DEFAULT_ENDPOINT).netloc.rpartition("@")[2])
    return provider


def _register_headers() -> None:
    """The headers for the endpoint hold its key."""
    for name in ("OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_TRACES_HEADERS"):
        for pair in os.environ.get(name, "").split(","):
            key, _, value = pair.partition("=")
            if key.strip().lower() not in ("", "x-bt-parent"):
                secrets.register(unquote(value).split(" ")[-1])


async def shut_down(provider: Any) -> None:
    """Send what is left, for two seconds at most; a collector that does not answer keeps nobody waiting."""
    loop, done = asyncio.get_running_loop(), asyncio.Event()

    def work() -> None:
        provider.shutdown()
        if not loop.is_closed():
            loop.call_soon_threadsafe(done.set)

    threading.Thread(target=work, name="postdoc-telemetry-stop", daemon=True).start()
    try:
        async with asyncio.timeout(FLUSH_S):
            await done.wait()
    except TimeoutError:
        _log.warning("The last traces could not be sent within %s s.", FLUSH_S)
