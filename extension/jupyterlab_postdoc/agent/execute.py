"""What the dispatcher calls: executes a run of any kind, tells its session's state, and ends it with a result."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from jupyterlab_postdoc.agent.agent import Agent
from jupyterlab_postdoc.agent.history import TYPES, exchanges
from jupyterlab_postdoc.agent.limits import Limits
from jupyterlab_postdoc.agent.loop import converse
from jupyterlab_postdoc.agent.personas import Persona, Personas
from jupyterlab_postdoc.agent.research import BUDGETS, Lab, ResearchRun
from jupyterlab_postdoc.errors import PostdocError
from jupyterlab_postdoc.forge import repository
from jupyterlab_postdoc.protocol import AgentStatus, Body, Error, Result, SessionState
from jupyterlab_postdoc.providers.base import Provider
from jupyterlab_postdoc.providers.template import TemplateProvider
from jupyterlab_postdoc.runs import Paused, RunContext, Stopped
from jupyterlab_postdoc.store.base import RUN_OPEN, RunRow, SessionRow, Tx

KEEP_S = 1.2
"""How long a stopped run may take to commit what it has made: a hard stop has two seconds for everything."""

_log = logging.getLogger(__name__)
Then = Callable[[Tx], Awaitable[object]]


class Executor:
    """Executes runs of kind ``research`` and ``chat``.

    ``chat_provider`` answers free chat. The template provider never does: it would only pretend to understand.
    """

    def __init__(self, lab: Lab, personas: Personas, chat_provider: Provider | None = None) -> None:
        self._lab = lab
        self._personas = personas
        self._chat_provider = chat_provider
        self._template_provider = TemplateProvider(lab.templates)
        self._researching: dict[str, ResearchRun] = {}

    async def execute(self, ctx: RunContext) -> None:
        """One execution: it ends the run, or leaves it waiting, or lets a signal of the dispatcher through."""
        session = await ctx.log.store.get_session(ctx.session)
        if session is None:
            return
        ctx.cancel.check()
        try:
            await self._begin(ctx)
            persona = self._personas.get(session.persona)
            if ctx.run.kind == "research":
                await self._research(ctx, session, persona)
            else:
                await self._chat(ctx, session, persona)
        except Paused as paused:
            self._researching.pop(ctx.run.id, None)
            await ctx.pause(paused, then=state_change(ctx.session, "waiting", paused.reason, ctx.run.id))
        except PostdocError as e:
            await self._fail(ctx, e)

    async def on_crash(self, ctx: RunContext, exc: BaseException) -> None:
        """End a run that was stopped, or that failed in a way nobody foresaw: the dispatcher has put that in words."""
        if isinstance(exc, Stopped):
            await self._stopped(ctx)
        elif isinstance(exc, PostdocError):
            await self._fail(ctx, exc)
        else:
            raise TypeError(f"a failure without a sentence: {exc!r}")

    # --- kinds of runs ---

    async def _research(self, ctx: RunContext, session: SessionRow, persona: Persona) -> None:
        provider: Provider = self._template_provider
        research = ResearchRun(ctx, self._lab, provider, persona, session.model or persona.model)
        self._researching[ctx.run.id] = research
        outcome = await research.execute()
        del self._researching[ctx.run.id]
        last: list[Body] = []
        if not outcome.success:
            last.append(Error(code=outcome.code, error=outcome.summary, next=outcome.hint))
        last.append(
            Result(
                success=outcome.success,
                cost=None,
                duration_ms=_duration_ms(ctx),
                stop_reason=outcome.stop_reason,
                summary=outcome.summary,
                verdict=outcome.verdict,
                artifacts=outcome.artifacts,
                partial=not outcome.success,
            )
        )
        state, reason = ("finished", "end_turn") if outcome.success else ("error", outcome.stop_reason)
        then = state_change(ctx.session, state, reason, ctx.run.id, meta=_project(outcome.artifacts))
        await ctx.finish("done" if outcome.success else "error", *last, output=msgspec.to_builtins(last[-1]), then=then)

    async def _chat(self, ctx: RunContext, session: SessionRow, persona: Persona) -> None:
        provider = self._chat_provider
        if provider is None:
            names = ", ".join(template.name for template in self._lab.templates.list())
            raise PostdocError(
                "no_model",
                "No AI model is configured on this server, so free chat cannot be answered. Your message is kept.",
                next="Start a research session instead: it needs no model. "
                f"Templates: {names}. Or ask the administrator to configure a model.",
            )
        events = await ctx.log.store.read_events(ctx.session, finals=True, types=TYPES, limit=10_000)
        earlier = exchanges(events, before_run=ctx.run.id)
        agent = Agent(
            ctx,
            provider,
            self._lab.tools.only(persona.tools),
            task=ctx.run.input,
            limits=Limits.of(None, turns=self._lab.max_turns, minutes=self._lab.max_minutes),
            system=persona.system_prompt,
            model=session.model or persona.model,
            earlier=earlier,
        )
        ending = await converse(agent)
        if ending.stop_reason in BUDGETS:
            raise PostdocError(
                "budget_exceeded", agent.limits.sentence(ending.stop_reason), next="Send a message to go on from here."
            )
        result = Result(success=True, cost=None, duration_ms=_duration_ms(ctx), stop_reason=ending.stop_reason)
        await ctx.finish("done", result, then=state_change(ctx.session, "finished", "end_turn", ctx.run.id))

    # --- beginnings and ends ---

    async def _begin(self, ctx: RunContext) -> None:
        run = ctx.run

        async def unit(tx: Tx) -> None:
            if run.interrupted:
                await ctx.append(tx, AgentStatus(message="Carrying on from the last finished step", phase="resume"))
            elif run.attempt == 1:
                await set_state(tx, ctx.session, "starting", None, run.id)
            await set_state(tx, ctx.session, "running", None, run.id)

        await ctx.write(unit)

    async def _keep(self, ctx: RunContext, ending: repository.Outcome) -> dict[str, str] | None:
        """Commit what a research run has made but not committed yet; the artifacts that the result shall name.

        None: there is no project, or it cannot be written now; the files stay as they are and the end is told anyway.
        """
        research = self._researching.pop(ctx.run.id, None)
        if research is None:
            return None
        try:
            async with asyncio.timeout(KEEP_S):
                return await research.keep(ending)
        except (PostdocError, OSError, TimeoutError) as e:
            _log.warning("What run %s has made is not committed: %s", ctx.run.id, e or "it took too long")
            return None

    async def _fail(self, ctx: RunContext, e: PostdocError) -> None:
        artifacts = await self._keep(ctx, repository.Outcome("failed", e.message))
        details: dict[str, Any] = {"ref": e.details["ref"]} if "ref" in e.details else {}
        error = Error(code=e.code, error=e.message, next=e.next, retryable=e.retryable, **details)
        result = _unfinished(ctx, e.code, e.message, artifacts)
        then = state_change(ctx.session, "error", e.code, ctx.run.id, meta=_project(artifacts))
        await ctx.finish("error", error, result, error=e.as_dict(), then=then)

    async def _stopped(self, ctx: RunContext) -> None:
        artifacts = await self._keep(ctx, repository.Outcome("stopped"))
        kept = "Stopped as asked. Everything that was made is kept; resume carries on from the last finished step."
        result = _unfinished(ctx, "stopped", kept, artifacts)
        then = state_change(ctx.session, "stopped", "user", ctx.run.id, meta=_project(artifacts))
        await ctx.finish("stopped", result, then=then)


async def back_in_queue(tx: Tx, run: RunRow) -> None:
    """Say so in the session when a run lost its process: by a crash, or because the server stops."""
    if run.interrupted:
        await set_state(tx, run.session, "interrupted", "crash", run.id)
    else:
        await set_state(tx, run.session, "queued", "restart", run.id)


def state_change(
    session: str, status: str, reason: str | None, run: str | None, *, meta: dict[str, Any] | None = None
) -> Then:
    """A unit that gives the session its state after a run: ``queued`` when another run is waiting its turn."""

    async def then(tx: Tx) -> None:
        if meta is not None:
            row = await tx.get_session(session)
            await tx.update_session(session, meta={**(row.meta if row else {}), **meta})
        await set_state(tx, session, status, reason, run)
        queued = [row for row in await tx.list_runs(session, status=RUN_OPEN) if row.id != run]
        if queued and status not in ("waiting", "running"):
            await set_state(tx, session, "queued", None, queued[0].id)

    return then


async def set_state(tx: Tx, session: str, status: str, reason: str | None, run: str | None) -> None:
    """Change the session's state and say so in its log."""
    row = await tx.update_session(session, state=status, reason=reason)
    fields: dict[str, Any] = {"reason": reason} if reason else {}
    await tx.append(session, SessionState(status=status, version=row.version, runId=run or msgspec.UNSET, **fields))


def _duration_ms(ctx: RunContext) -> int:
    began = ctx.run.started_at or ctx.run.created_at
    return max(0, round(1000 * (time.time() - began)))


def _unfinished(ctx: RunContext, stop_reason: str, summary: str, artifacts: dict[str, str] | None) -> Result:
    fields: dict[str, Any] = {"artifacts": artifacts} if artifacts else {}
    return Result(
        success=False,
        cost=None,
        duration_ms=_duration_ms(ctx),
        stop_reason=stop_reason,
        summary=summary,
        partial=True,
        **fields,
    )


def _project(artifacts: dict[str, str] | None) -> dict[str, Any] | None:
    """The change of the session's meta that shows where the project is."""
    if artifacts is None:
        return None
    shown = {name: artifacts.get(name) for name in ("commit", "notebook", "report")}
    return {"project": {"repo": artifacts["repo"].rpartition("/")[2], "path": artifacts["repo"], **shown}}
