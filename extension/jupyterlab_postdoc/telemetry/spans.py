"""What an agent does, as OpenTelemetry spans: ``invoke_agent`` and, below it, ``execute_tool`` and the SDK's own.

The names follow the GenAI conventions, which are still being developed: they stand in this module alone. A span never
holds content: no prompt, no output, no path, no topic.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Collection, Mapping
from contextvars import ContextVar, Token
from types import TracebackType
from typing import Any, Protocol, Self
from urllib.parse import urlsplit

from jupyterlab_postdoc import __version__
from jupyterlab_postdoc.errors import PostdocError

from . import export, metrics

SCOPE = "jupyterlab_postdoc"
OPERATION = "gen_ai.operation.name"
AGENT_FIELDS = {
    "cost": "postdoc.cost.usd_estimate",
    "stop_reason": "postdoc.stop_reason",
    "turns": "postdoc.turns",
    "model": "gen_ai.response.model",
    "outcome": "postdoc.outcome",
}
OURS = "anthropic.com"


_provider: ContextVar[str | None] = ContextVar("postdoc_provider", default=None)
"""Who drives the agent that works in this context; None when none does."""


class Heard(Protocol):
    """What a listener knows of a reply."""

    @property
    def first_token_s(self) -> float | None: ...


class Replied(Protocol):
    """What is counted of a reply."""

    @property
    def model(self) -> str | None: ...
    @property
    def stop_reason(self) -> str: ...
    @property
    def usage(self) -> Mapping[str, int] | None: ...
    @property
    def duration_ms(self) -> int: ...


class Telemetry:
    """Counts always; makes spans when :meth:`start` found that it should.

    ``enabled``: the administrator's wish. Without it, spans are made when a standard ``OTEL_EXPORTER_OTLP_*`` endpoint
    is set, or when the host has set up OpenTelemetry for the process. ``tools`` are the names of all built-in tools.
    ``provider`` is a tracer provider to use instead of any other.
    """

    def __init__(self, *, enabled: bool = False, tools: Collection[str] = (), provider: Any | None = None) -> None:
        self._enabled = enabled
        self._given = provider
        self._own: Any | None = None
        self._provider: Any | None = None
        self._trace: Any = None
        self._tracer: Any | None = None
        metrics.know_tools(tools)

    @property
    def on(self) -> bool:
        """Whether spans are made."""
        return self._tracer is not None

    async def start(self) -> None:
        """Find out whether spans are wanted, and set up what they need. Never raises for a missing package."""
        if self._given is None and export.forbidden(os.environ):
            return
        provider = self._given or export.host_provider()
        if provider is None and (self._enabled or export.endpoint(os.environ)):
            provider = self._own = await asyncio.to_thread(export.own_provider, __version__)
        if provider is not None:
            self._trace = await asyncio.to_thread(_load_api)
            self._provider = provider
            self._tracer = provider.get_tracer(SCOPE, __version__)

    async def stop(self) -> None:
        """No spans from now on; the last ones are sent, for two seconds at most."""
        own, self._own = self._own, None
        self._tracer = self._provider = None
        if own is not None:
            await export.shut_down(own)

    def sdk_options(self, session: str | None = None, *, base_url: str | None = None) -> dict[str, Any]:
        """``open_telemetry`` of a client of the Anthropic SDK: its spans without content, below ours.

        Without ``session`` they are for a client that many sessions share: name the session at each call then
        (``client.with_options``). Trace headers are sent to Anthropic only.
        """
        if self._provider is None:
            return {"traces": False, "propagation": False}
        options: dict[str, Any] = {
            "tracer_provider": self._provider,
            "propagation": _at_home(base_url),
            "traces": {"enabled": True, "content_mode": "metadata_only"},
        }
        return options | ({"conversation_id": session} if session else {})

    # --- spans ---

    def agent(
        self,
        *,
        persona: str,
        session: str,
        run: str,
        model: str | None = None,
        provider: str = "",
        kind: str = "",
        parent: str | None = None,
    ) -> AgentWatch:
        """Around one execution of a run, or around a sub-agent's work (``parent``: the call that it works for)."""
        attributes = {
            OPERATION: "invoke_agent",
            "gen_ai.agent.name": persona,
            "gen_ai.conversation.id": session,
            "gen_ai.provider.name": provider,
            "gen_ai.request.model": model,
            "postdoc.session.id": session,
            "postdoc.run.id": run,
            "postdoc.run.kind": kind,
            "postdoc.parent.call.id": parent,
        }
        watch = AgentWatch(self, f"invoke_agent {persona}", attributes)
        watch.provider = provider
        return watch

    def tool(self, name: str, call_id: str, kind: str = "function") -> ToolWatch:
        """Around one call of a tool; ``kind`` is ``function``, or ``extension`` for tools of MCP servers."""
        attributes = {
            OPERATION: "execute_tool",
            "gen_ai.tool.name": name,
            "gen_ai.tool.call.id": call_id,
            "gen_ai.tool.type": "extension" if name.startswith("mcp__") else kind,
        }
        watch = ToolWatch(self, f"execute_tool {name}", attributes)
        watch.name = name
        return watch

    # --- figures ---

    def turn(
        self, reply: Replied, heard: Heard | None = None, *, provider: str = "", cost: float | None = None
    ) -> None:
        """Count a reply that was heard to its end."""
        metrics.count_turn(
            provider or _provider.get(),
            reply.model,
            reply.stop_reason,
            usage=reply.usage,
            cost=cost if cost is not None else getattr(reply, "cost", None),
            seconds=reply.duration_ms / 1000,
            first_token_s=heard.first_token_s if heard is not None else None,
        )

    def provider_error(self, code: str) -> None:
        """Count a failed call of a provider."""
        metrics.count_error(code)

    def count_run(self, kind: str, provider: str | None, outcome: str) -> None:
        """Count a run that ended or rests."""
        metrics.count_run(kind, provider, outcome)


class Watch:
    """A span while a ``with`` block lasts, in this context and in tasks begun there; nothing when telemetry is off."""

    __slots__ = ("_attributes", "_failed", "_span", "_telemetry", "_title", "_token")

    def __init__(self, telemetry: Telemetry, title: str, attributes: dict[str, Any]) -> None:
        self._telemetry, self._title, self._attributes = telemetry, title, attributes
        self._span: Any = None
        self._token: Any = None
        self._failed: str | None = None

    def __enter__(self) -> Self:
        tracer, trace = self._telemetry._tracer, self._telemetry._trace
        if tracer is not None:
            given = {key: value for key, value in self._attributes.items() if value not in (None, "")}
            self._span = tracer.start_span(self._title, attributes=given)
            self._token = trace.context_api.attach(trace.set_span_in_context(self._span))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        if self._span is None:
            return
        trace = self._telemetry._trace
        trace.context_api.detach(self._token)
        if failed := self._failed or _error_type(error):
            self._span.set_attribute("error.type", failed)
            self._span.set_status(trace.Status(trace.StatusCode.ERROR))
        self._span.end()


class AgentWatch(Watch):
    """Around an agent's work."""

    __slots__ = ("_before", "provider")
    provider: str

    def __enter__(self) -> Self:
        self._before: Token[str | None] = _provider.set(self.provider)
        if self._before.old_value in (Token.MISSING, None):
            metrics.ACTIVE.inc()
        return super().__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._before.old_value in (Token.MISSING, None):
            metrics.ACTIVE.dec()
        _provider.reset(self._before)
        super().__exit__(kind, error, traceback)

    def set(self, **known: float | str | None) -> None:
        """What became known: ``cost`` (US dollars, estimated), ``stop_reason``, ``turns``, ``model``, ``outcome``."""
        if self._span is not None:
            for name, value in known.items():
                if value is not None:
                    self._span.set_attribute(AGENT_FIELDS[name], value)

    def failed(self, code: str) -> None:
        """It ended with this error, though nothing is raised here."""
        self._failed = code


class ToolWatch(Watch):
    """Around a tool's call."""

    __slots__ = ("_counted", "name")
    name: str

    def ended(self, ok: bool, code: str = "") -> None:
        """The tool answered; ``code`` says what kind of failure it was."""
        metrics.count_tool(self.name, ok)
        if not ok:
            self._failed = code or "tool_failed"

    def set(self, *, error_type: str | None = None) -> None:
        """The kind of failure."""
        self._failed = error_type


def _error_type(error: BaseException | None) -> str | None:
    """None for what is no failure: a pause, a stop, a cancelled task."""
    if isinstance(error, PostdocError):
        return error.code
    return type(error).__name__ if isinstance(error, Exception) and not _signals(error) else None


def _signals(error: Exception) -> bool:
    from jupyterlab_postdoc.store.base import RunSignal

    return isinstance(error, RunSignal)


def _at_home(base_url: str | None) -> bool:
    host = urlsplit(base_url).hostname if base_url else OURS
    return host is not None and (host == OURS or host.endswith("." + OURS))


def _load_api() -> Any:
    from opentelemetry import context, trace

    return _Api(context, trace)


class _Api:
    """The parts of the OpenTelemetry API that spans need."""

    def __init__(self, context: Any, trace: Any) -> None:
        self.context_api = context
        self.set_span_in_context = trace.set_span_in_context
        self.Status, self.StatusCode = trace.Status, trace.StatusCode
