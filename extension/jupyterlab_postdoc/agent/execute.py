"""What the dispatcher calls: executes a run of any kind, tells its session's state, and ends it with a result."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import msgspec
from msgspec import UNSET

from jupyterlab_postdoc.agent import hand
from jupyterlab_postdoc.agent.agent import spoken_to
from jupyterlab_postdoc.agent.chat import ChatRun
from jupyterlab_postdoc.agent.crew import Crew
from jupyterlab_postdoc.agent.loop import Ending
from jupyterlab_postdoc.agent.means import Means
from jupyterlab_postdoc.agent.personas import Personas
from jupyterlab_postdoc.agent.publication import (
    PUBLISH,
    PublishRun,
    count_ahead,
    follow_up,
    state_before,
    tell_ahead,
)
from jupyterlab_postdoc.agent.research import BUDGETS, Lab, ResearchRun
from jupyterlab_postdoc.errors import PostdocError
from jupyterlab_postdoc.forge import repository
from jupyterlab_postdoc.protocol import AgentStatus, Body, Error, Problem, Result, SessionState, new_id
from jupyterlab_postdoc.providers.base import Provider
from jupyterlab_postdoc.providers.template import TemplateProvider
from jupyterlab_postdoc.publishing.problems import STOPPED, problem_of
from jupyterlab_postdoc.publishing.state import settle
from jupyterlab_postdoc.runs import Paused, RunContext, Stopped
from jupyterlab_postdoc.store.base import RUN_OPEN, RunRow, RunStatus, SessionRow, Tx
from jupyterlab_postdoc.telemetry import AgentWatch

KEEP_S = 1.2
"""How long a stopped run may take to commit what it has made: a hard stop has two seconds for everything."""

MAX_SUMMARY = 1000
"""Characters of a research's summary that lists can show while something else is the newest."""
GOOD_ENDINGS = ("end_turn", "stop_sequence", "tool_use")

_log = logging.getLogger(__name__)
Then = Callable[[Tx], Awaitable[object]]


@dataclass
class Work:
    """What is known of an execution while it lasts."""

    means: Means | None = None
    research: ResearchRun | None = None
    chat: ChatRun | None = None
    publish: PublishRun | None = None
    span: AgentWatch | None = None

    @property
    def provider(self) -> str:
        """Who drives it."""
        return self.means.provider.id if self.means is not None else "unknown"

    async def settle(self) -> None:
        """Count a call of the model that was cut off."""
        making = self.research or self.chat
        if making is not None and making.agent is not None:
            await making.agent.speech.settle_interrupted()

    def tell(self, stop_reason: str, cost: float | None) -> None:
        """Those who watch from outside learn how it ended."""
        making = self.research or self.chat
        if self.span is not None and making is not None and making.agent is not None:
            self.span.set(stop_reason=stop_reason, cost=cost, turns=len(making.agent.turns))

    async def cost(self) -> float | None:
        """What the run has cost in US dollars; None when that is unknown."""
        purse = self.means.purse if self.means is not None else None
        return await purse.total() if purse is not None else None


class Executor:
    """Executes runs of kind ``research``, ``chat`` and ``publish``.

    The template provider never answers free chat: it would only pretend to understand. Nor does it take the place of a
    model that fails.
    """

    def __init__(self, lab: Lab, personas: Personas, crew: Crew) -> None:
        self._lab = lab
        self._personas = personas
        self._crew = crew
        self._template_provider = TemplateProvider(lab.templates)
        self._working: dict[str, Work] = {}

    async def execute(self, ctx: RunContext) -> None:
        """One execution: it ends the run, or leaves it waiting, or lets a signal of the dispatcher through."""
        session = await ctx.log.store.get_session(ctx.session)
        if session is None:
            return
        ctx.cancel.check()
        work = self._working[ctx.run.id] = Work()
        try:
            await self._begin(ctx)
            if ctx.run.kind == PUBLISH:
                await self._publish(ctx, session, work)
                return
            persona = self._personas.get(session.persona)
            means = await self._crew.means(ctx, session, persona, self._provider(ctx), self._lab)
            with self._crew.watch.agent(
                persona=persona.name,
                session=session.id,
                run=ctx.run.id,
                model=means.model,
                provider=means.provider.id,
                kind=ctx.run.kind,
            ) as work.span:
                work.means = means
                if ctx.run.kind == "research":
                    await self._research(ctx, session, work)
                else:
                    await self._chat(ctx, session, work)
        except Paused as paused:
            self._working.pop(ctx.run.id, None)
            await work.settle()
            await self._pause(ctx, paused)
        except PostdocError as e:
            await self._fail(ctx, e)

    async def _pause(self, ctx: RunContext, paused: Paused) -> None:
        then = state_change(ctx.session, "waiting", paused.reason, ctx.run.id)
        if paused.reason != hand.TAKEN:
            await ctx.pause(paused, then=then)
            return
        holder = hand.hand_of(await ctx.log.store.get_session(ctx.session))
        said = [AgentStatus(message=hand.waiting(holder), phase=hand.TAKEN)] if holder is not None else []
        await ctx.pause(paused, *said, then=then, still=partial(hand.still_taken, ctx))

    def _provider(self, ctx: RunContext) -> Provider:
        """Who drives this run: what was chosen when it was asked for, for as long as it lasts."""
        if ctx.run.kind == "research" and ctx.run.input.get("provider", "template") == "template":
            return self._template_provider
        if self._crew.model is None or not self._crew.models.configured:
            raise self._no_model()
        return self._crew.model

    def _no_model(self) -> PostdocError:
        names = ", ".join(template.name for template in self._lab.templates.list())
        return PostdocError(
            "no_model",
            "No AI model is configured on this server, so free chat cannot be answered. Your message is kept.",
            next="Set ANTHROPIC_API_KEY where the server starts, or start a research session: it needs no model. "
            f"Templates: {names}.",
        )

    async def on_crash(self, ctx: RunContext, exc: BaseException) -> None:
        """End a run that was stopped, or that failed in a way nobody foresaw: the dispatcher has put that in words."""
        if isinstance(exc, Stopped):
            await self._stopped(ctx)
        elif isinstance(exc, PostdocError):
            await self._fail(ctx, exc)
        else:
            raise TypeError(f"a failure without a sentence: {exc!r}")

    # --- kinds of runs ---

    async def _research(self, ctx: RunContext, session: SessionRow, work: Work) -> None:
        assert work.means is not None
        work.research = ResearchRun(ctx, self._lab, work.means, self._crew.base_prompt)
        outcome = await work.research.execute()
        await work.settle()
        cost = await work.cost()
        work.tell(outcome.stop_reason, cost)
        follows = await self._follow_up(ctx, session, changed=False) if outcome.success else None
        del self._working[ctx.run.id]
        last: list[Body] = []
        if not outcome.success:
            last.append(Error(code=outcome.code, error=outcome.summary, next=outcome.hint))
        last.append(
            Result(
                success=outcome.success,
                cost=cost,
                duration_ms=_duration_ms(ctx),
                stop_reason=outcome.stop_reason,
                summary=outcome.summary,
                verdict=outcome.verdict,
                artifacts=outcome.artifacts,
                partial=not outcome.success,
                followedBy=follows.id if follows else UNSET,
            )
        )
        state, reason = ("finished", "end_turn") if outcome.success else ("error", outcome.stop_reason)
        meta = {**(_project(outcome.artifacts) or {}), "summary": outcome.summary[:MAX_SUMMARY]}
        then = state_change(ctx.session, state, reason, ctx.run.id, meta=meta)
        then = self._heard_out(ctx, work, _inserting(follows, then))
        self._crew.watch.count_run(ctx.run.kind, work.provider, state)
        await ctx.finish("done" if outcome.success else "error", *last, output=msgspec.to_builtins(last[-1]), then=then)

    async def _chat(self, ctx: RunContext, session: SessionRow, work: Work) -> None:
        assert work.means is not None
        chat = work.chat = ChatRun(ctx, self._lab, work.means, self._crew.base_prompt)
        ending = await chat.execute(session)
        await work.settle()
        cost = await work.cost()
        work.tell(ending.stop_reason, cost)
        follows = await self._follow_up(ctx, session, changed=True) if chat.artifacts else None
        del self._working[ctx.run.id]
        good = ending.stop_reason in GOOD_ENDINGS
        last: list[Body] = [] if good else [_why(ending)]
        last.append(
            Result(
                success=good,
                cost=cost,
                duration_ms=_duration_ms(ctx),
                stop_reason=ending.stop_reason,
                summary=UNSET if good else ending.text,
                partial=UNSET if good else True,
                artifacts=chat.artifacts or UNSET,
                followedBy=follows.id if follows else UNSET,
            )
        )
        state, reason = ("finished", "end_turn") if good else ("error", ending.stop_reason)
        meta = {**(_project(chat.artifacts) or {}), "summary": None}  # its reply says what came of it
        then = state_change(ctx.session, state, reason, ctx.run.id, meta=meta)
        then = self._heard_out(ctx, work, _inserting(follows, then))
        self._crew.watch.count_run(ctx.run.kind, work.provider, state)
        await ctx.finish("done" if good else "error", *last, output=msgspec.to_builtins(last[-1]), then=then)

    async def _follow_up(self, ctx: RunContext, session: SessionRow, *, changed: bool) -> RunRow | None:
        """The publication that begins by itself; without one, a published session says what it has not sent."""
        store = ctx.log.store
        follows = await follow_up(self._lab, store, session, changed=changed)
        if follows is None and (ahead := await count_ahead(self._lab, store, session)) is not None:
            await ctx.write(lambda tx: tell_ahead(tx, ctx.session, ahead, ctx))
        return follows

    async def _publish(self, ctx: RunContext, session: SessionRow, work: Work) -> None:
        """Publish. Whatever comes of it, the session is afterwards what it was before."""
        publish = work.publish = PublishRun(ctx, self._lab)
        published = await publish.execute(session)
        del self._working[ctx.run.id]
        good = not published.code
        result = Result(
            success=good,
            cost=None,
            duration_ms=_duration_ms(ctx),
            stop_reason="published" if good else published.code,
            summary=published.sentence,
            artifacts=published.artifacts or UNSET,
            partial=UNSET if good else True,
        )
        await self._end_publication(ctx, "done" if good else "error", result)

    async def _end_publication(self, ctx: RunContext, status: RunStatus, result: Result, error: Any = None) -> None:
        result = msgspec.structs.replace(result, provider="github")
        before = await state_before(ctx.log.store, ctx.session)
        told = state_change(ctx.session, *before, ctx.run.id)
        why = STOPPED if status == "stopped" else Problem(code=result.stop_reason, error=result.summary or "")
        if isinstance(error, dict):
            why = problem_of(PostdocError(error["code"], error["error"], next=error.get("next", ""), retryable=True))

        async def then(tx: Tx) -> None:
            if (picture := await settle(tx, ctx.session, why)) is not None:
                await ctx.append(tx, picture)
            await told(tx)

        self._crew.watch.count_run(ctx.run.kind, "github", "finished" if result.success else status)
        await ctx.finish(status, result, output=msgspec.to_builtins(result), error=error, then=then)

    def _heard_out(self, ctx: RunContext, work: Work, then: Then) -> Then:
        """Words to the run that no turn of it has seen become the next message, in the transaction that ends it."""
        making = work.research or work.chat
        agent = making.agent if making is not None else None

        async def unit(tx: Tx) -> None:
            words = await spoken_to(tx, ctx.session, ctx.run.id)
            late = words[agent.heard :] if agent is not None and agent.means.speaks else []
            if late:
                content = "\n\n".join(word["content"] for word in late)
                anonymous = bool(ctx.run.input.get("anonymous"))
                given = {"content": content, "anonymous": anonymous, "messageId": late[0]["id"]}
                row = RunRow(id=new_id("r"), session=ctx.session, kind="chat", queue=self._lab.queue, input=given)
                await tx.insert_run(row)
            await then(tx)

        return unit

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

    async def _keep(self, ctx: RunContext, work: Work, ending: repository.Outcome) -> dict[str, str] | None:
        """Commit what a run has made but not committed yet; the artifacts that the result shall name.

        None: there is no project, or it cannot be written now; the files stay as they are and the end is told anyway.
        So they do while a person has the notebook: what lies there may be theirs, and is committed when it is given
        back.
        """
        making = work.research or work.chat
        if making is None or hand.hand_of(await ctx.log.store.get_session(ctx.session)) is not None:
            return None
        try:
            async with asyncio.timeout(KEEP_S):
                return await making.keep(ending)
        except (PostdocError, OSError, TimeoutError) as e:
            _log.warning("What run %s has made is not committed: %s", ctx.run.id, e or "it took too long")
            return None

    async def _fail(self, ctx: RunContext, e: PostdocError) -> None:
        work = self._working.pop(ctx.run.id, Work())
        if ctx.run.kind == PUBLISH:
            result = _unfinished(ctx, e.code, f"{e.message} {e.next}".strip(), None, None)
            await self._end_publication(ctx, "error", result, e.as_dict())
            return
        await work.settle()
        artifacts = await self._keep(ctx, work, repository.Outcome("failed", e.message))
        details: dict[str, Any] = {"ref": e.details["ref"]} if "ref" in e.details else {}
        error = Error(code=e.code, error=e.message, next=e.next, retryable=e.retryable, **details)
        result = _unfinished(ctx, e.code, e.message, artifacts, await work.cost())
        reason = "retries" if e.retryable and e.code.startswith("provider_") else e.code
        then = state_change(ctx.session, "error", reason, ctx.run.id, meta=_project(artifacts))
        self._crew.watch.count_run(ctx.run.kind, work.provider, "error")
        await ctx.finish("error", error, result, error=e.as_dict(), then=then)

    async def _stopped(self, ctx: RunContext) -> None:
        work = self._working.pop(ctx.run.id, Work())
        if ctx.run.kind == PUBLISH:
            if work.publish is not None:
                await work.publish.stopped()
            what = "Publishing was stopped. What was sent stays; publish again to go on from there."
            await self._end_publication(ctx, "stopped", _unfinished(ctx, "stopped", what, None, None))
            return
        await work.settle()
        artifacts = await self._keep(ctx, work, repository.Outcome("stopped"))
        kept = "Stopped as asked. Everything that was made is kept; resume carries on from the last finished step."
        result = _unfinished(ctx, "stopped", kept, artifacts, await work.cost())
        then = state_change(ctx.session, "stopped", "user", ctx.run.id, meta=_project(artifacts))
        self._crew.watch.count_run(ctx.run.kind, work.provider, "stopped")
        await ctx.finish("stopped", result, then=then)


def _why(ending: Ending) -> Error:
    """What a chat turn that did not come to a good end is about."""
    if ending.stop_reason == "refusal":
        return Error(
            code="provider_refusal",
            error="The model declined to answer this. The exchange is kept here, and left out of what it is told next.",
            next="Put the question in other words, or choose another model.",
        )
    if ending.stop_reason in BUDGETS:
        return Error(code="budget_exceeded", error=ending.text, next="Send a message to go on from here.")
    return Error(
        code="provider_stream_error",
        error="The answer is longer than the model can give in one go and was cut off. What was said is kept.",
        next="Ask it to go on, or for a shorter answer.",
    )


def _inserting(row: RunRow | None, then: Then) -> Then:
    """``then``, after the run that follows by itself was put in the queue."""
    if row is None:
        return then
    following = row

    async def unit(tx: Tx) -> None:
        await tx.insert_run(following)
        await then(tx)

    return unit


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


def _unfinished(
    ctx: RunContext, stop_reason: str, summary: str, artifacts: dict[str, str] | None, cost: float | None
) -> Result:
    fields: dict[str, Any] = {"artifacts": artifacts} if artifacts else {}
    return Result(
        success=False,
        cost=cost,
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
