"""Who can drive a run on this server, and within what bounds: what an execution gets its means from."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from jupyterlab_postdoc.agent.limits import Limits
from jupyterlab_postdoc.agent.means import APPROVAL_HOURS, COMPACT_AT_TOKENS, Means
from jupyterlab_postdoc.agent.personas import Persona
from jupyterlab_postdoc.agent.spend import Budgets, Purse
from jupyterlab_postdoc.providers.base import ModelInfo, Provider
from jupyterlab_postdoc.providers.prices import Prices
from jupyterlab_postdoc.runs import RunContext
from jupyterlab_postdoc.store.base import SessionRow
from jupyterlab_postdoc.telemetry import Telemetry
from jupyterlab_postdoc.tools.base import Tool, ToolBox
from jupyterlab_postdoc.tools.resources import Resources

if TYPE_CHECKING:
    from jupyterlab_postdoc.agent.research import Lab

SERVER_TOOLS = ("web_search", "web_fetch")


class Models(Protocol):
    """What a run asks of the catalogue of models."""

    @property
    def configured(self) -> bool:
        """Whether somebody has set up a model, be it with a bad key."""
        ...

    async def resolve(self, name: str | None, anonymous: bool) -> str:
        """The full name of a model that this user may use; raises no_model or forbidden."""
        ...

    async def models(self) -> list[ModelInfo]:
        """All models that are known."""
        ...


class ToolSource(Protocol):
    """Tools from elsewhere, e.g. MCP servers."""

    async def tools(self, patterns: Sequence[str] | None) -> list[Tool]:
        """Those whose names fit, after a bounded wait."""
        ...


@dataclass(frozen=True)
class Crew:
    """``model`` answers chats and does research when it is asked to; ``base_prompt`` is the administrator's word."""

    models: Models
    model: Provider | None = None
    prices: Prices = field(default_factory=Prices)
    budgets: Budgets = field(default_factory=Budgets)
    connectors: ToolSource | None = None
    resources: Resources = field(default_factory=Resources)
    watch: Telemetry = field(default_factory=Telemetry)
    base_prompt: str = ""
    compact_at_tokens: int = COMPACT_AT_TOKENS
    approval_hours: float = APPROVAL_HOURS
    attempts: int = 6
    retry_wait_s: float = 1.0

    async def close(self) -> None:
        """Let go of what belongs to the server: kernels, connections, the last spans."""
        things: list[Any] = [self.model, self.models, self.connectors]
        closing = [thing.close() for thing in things if hasattr(thing, "close")]
        if self.resources.kernels is not None:
            closing.append(self.resources.kernels.shutdown_all())
        await asyncio.gather(*closing, self.watch.stop())

    async def means(
        self, ctx: RunContext, session: SessionRow, persona: Persona, provider: Provider, lab: Lab
    ) -> Means:
        """What this execution works with. Raises no_model or forbidden when the chat's model may not be used."""
        given: Mapping[str, Any] = ctx.run.input
        budget = given.get("budget") or {}
        limits = Limits.of(budget, turns=lab.max_turns, minutes=lab.max_minutes)
        if provider.id == "template":
            return Means(
                provider=provider,
                model=None,
                persona=persona,
                tools=lab.tools.only(persona.tools),
                limits=limits,
                owner=session.owner,
                resources=self.resources,
                watch=self.watch,
            )
        model = await self.models.resolve(session.model or persona.model, bool(given.get("anonymous")))
        await self.prices.load()
        return Means(
            provider=provider,
            model=model,
            persona=persona,
            tools=await self._tools(persona, lab.tools),
            limits=limits,
            owner=session.owner,
            purse=Purse(
                self.prices,
                self.budgets,
                owner=session.owner,
                session=session.id,
                run=ctx.run.id,
                provider=provider.id,
                run_usd=budget.get("usd"),
                reads=ctx.log.store,
                write=ctx.write,
            ),
            resources=self.resources,
            server_tools=tuple(name for name in SERVER_TOOLS if _may(persona, name)),
            window=await self._window(model),
            compact_at_tokens=self.compact_at_tokens,
            approval_hours=self.approval_hours,
            attempts=self.attempts,
            retry_wait_s=self.retry_wait_s,
            watch=self.watch,
        )

    async def _tools(self, persona: Persona, own: ToolBox) -> ToolBox:
        more = await self.connectors.tools(persona.tools) if self.connectors is not None else []
        return own.plus(more).where(
            lambda tool: persona.allows(tool.name) and persona.policy(tool.name, tool.risk) != "never"
        )

    async def _window(self, model: str) -> int | None:
        return next((info.context for info in await self.models.models() if info.id == model), None)


def _may(persona: Persona, name: str) -> bool:
    """The provider's own web tools run before anybody could be asked: a persona has them or not."""
    return persona.allows(name) and persona.policy(name, "outside") != "never"
