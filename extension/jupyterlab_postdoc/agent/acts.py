"""One call of a tool: asked for where the persona must ask, carried out once and for all, answered."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import UNSET, Struct

from jupyterlab_postdoc.agent import hand
from jupyterlab_postdoc.errors import PostdocError
from jupyterlab_postdoc.log import TextStream
from jupyterlab_postdoc.protocol import ApprovalRequest, Question, ToolResult, iso
from jupyterlab_postdoc.providers.base import ToolCall, ToolOutcome
from jupyterlab_postdoc.runs import RunContext
from jupyterlab_postdoc.store.base import Draft, RequestRow
from jupyterlab_postdoc.tools.base import Tool, ToolContext

if TYPE_CHECKING:
    from jupyterlab_postdoc.agent.agent import Agent


class Done(Struct, frozen=True):
    """One finished tool call, as the journal keeps it."""

    outcome: ToolOutcome
    duration_ms: int
    streamed: bool = False


class Act:
    """One call on its way through: leave, journalled step, result."""

    def __init__(self, agent: Agent, call: ToolCall) -> None:
        self.agent = agent
        self.ctx = agent.ctx
        self.call = call
        self.tool: Tool | None = agent.means.tools.get(call.name)
        self._output: list[TextStream] = []
        self._again = False
        """Whether it was begun before: what it showed then may stand in the log still."""

    async def carry_out(self) -> Done:
        """Once and for all; a tool that fails answers so, and the model reads it."""
        self.ctx.cancel.check()
        refusal = self._refusal() or await self._ask_leave()
        if refusal:
            return await self._answer(Done(ToolOutcome(False, refusal), 0))
        assert self.tool is not None
        tool = self.tool
        context = self._context()

        async def run() -> Any:
            if self._changes and (instead := await self._instead()) is not None:
                return msgspec.to_builtins(instead)
            await self.agent.status(tool.title(self.call.input))
            began = time.monotonic()
            with self.agent.watch.tool(tool.name, self.call.id) as span:
                outcome = await tool.call(context, self.call.input)
                span.ended(outcome.ok)
            for stream in self._output:
                await stream.flush()
            return msgspec.to_builtins(
                Done(self.agent.cleaned(outcome), round(1000 * (time.monotonic() - began)), bool(self._output))
            )

        async def look() -> Any:
            return await self._look(tool, context)

        return await self._step(run, look)

    async def _step(self, run: Callable[[], Awaitable[Any]], look: Callable[[], Awaitable[Any]] | None = None) -> Done:
        result = await self.ctx.step(
            self.agent.key(f"tool:{self.call.id}"),
            run,
            reconcile=look,
            record=lambda done: [self._result_event(done)],
            guard=partial(hand.guard, self.ctx) if self._changes else None,
        )
        return msgspec.convert(result, Done)

    async def _answer(self, done: Done) -> Done:
        async def answer() -> Any:
            return msgspec.to_builtins(done)

        async def begun() -> Any:
            """A call that was begun before a crash, by a tool that is no longer there (an MCP server's)."""
            if self.tool is not None:
                return None
            gone = f"The server stopped while {self.call.name} ran, and the tool is gone; its outcome is unknown."
            return msgspec.to_builtins(Done(ToolOutcome(False, gone, {"interrupted": True}), 0))

        return await self._step(answer, begun)

    # --- may it be done ---

    def _refusal(self) -> str:
        """Why this call can never be carried out; empty when it can."""
        if self.call.problem:
            return self.call.problem
        if self.tool is None:
            names = ", ".join(self.agent.means.tools.names()) or "none in this chat"
            return f"There is no tool {self.call.name!r}. There are: {names}."
        if self.tool.needs_project and self.agent.mission.project is None:
            return "There is no project in this chat yet: this tool works in a research session."
        if self._policy(self.tool) == "never":
            return f"The persona {self.agent.means.persona.title} may not use {self.tool.name}. Find another way."
        return ""

    def _policy(self, tool: Tool) -> str:
        policy = self.agent.means.persona.policy(tool.name, tool.risk)
        project = self.agent.mission.project
        exposed = project is not None and not project.workspace.sandbox.isolated
        if policy == "auto" and tool.risk == "execute" and exposed and self.agent.provider.id != "template":
            return "ask"  # without a sandbox a model's command sees all that the server sees
        return policy

    @property
    def at_once(self) -> bool:
        """Whether it changes nothing and needs nobody's leave, so that it may run beside others of its kind."""
        tool = self.tool
        return tool is None or bool(self._refusal()) or (tool.risk == "read" and self._policy(tool) == "auto")

    async def _ask_leave(self) -> str:
        """Empty when it is allowed, else why not. Raises Paused while nobody has answered."""
        tool = self.tool
        if tool is None or self._policy(tool) != "ask":
            return ""
        owner = self.agent.means.owner
        if tool.name in await self.ctx.log.store.list_grants(owner, self.ctx.session):
            return ""
        title = tool.title(self.call.input)
        hours = self.agent.means.approval_hours
        deadline = time.time() + 3600 * hours if hours else None
        body = ApprovalRequest(
            requestId="",
            what=title,
            toolId=self.call.id,
            toolName=tool.name,
            risk=tool.risk,
            deadline=iso(deadline) if deadline is not None else None,
            where=self.agent.mission.project.public_root if self.agent.mission.project else UNSET,
        )
        row = RequestRow(
            id=request_id("a", self.ctx.run.id, self.call.id),
            session=self.ctx.session,
            run=self.ctx.run.id,
            kind="approval",
            tool_id=self.call.id,
            body={"what": title, "tool": tool.name, "risk": tool.risk, "owner": owner},
            deadline=deadline,
        )
        answered = await ask(self.ctx, row, body)
        if answered.status == "expired":
            return "Nobody gave leave for this in time, so it was not done. Find another way, or ask the researcher."
        if answered.decision == "allow":
            return ""
        why = f" They say: {answered.answer}" if answered.answer else ""
        return f"The researcher did not allow this.{why} It was not done; do not try it again in another form."

    # --- when a person has the notebook, or had it ---

    @property
    def _changes(self) -> bool:
        """Whether a person who has the notebook is not to be disturbed by it. The end of a study rests on it, too."""
        return self.tool is not None and (self.tool.risk != "read" or self.tool.name == "finish")

    async def _instead(self) -> Done | None:
        """The answer in place of a call that was meant for a notebook which a person has changed meanwhile.

        A model decides again. A script cannot: it goes on, but for the cells that are a person's now.
        """
        project = self.agent.mission.project
        if self.agent.parent is not None or project is None:
            return None
        records = await hand.news(self.ctx, project.public_root, f"tool:{self.call.id}")
        if not self.agent.means.speaks:
            return await self._left_out()
        if records:
            told = await hand.sentences(self.ctx, records, undone=True)
            cells = sorted({name for one in records for name in one.cells})
            return Done(ToolOutcome(False, told, {"code": hand.TAKEN, "cells": cells}), 0)
        if self.agent.reconsiders:
            told = "Not carried out either: it was decided before the researcher's changes were known."
            return Done(ToolOutcome(False, told, {"code": hand.TAKEN}), 0)
        return None

    async def _left_out(self) -> Done | None:
        if self.call.name != "nb_edit":
            return None
        asked = [change for change in self.call.input.get("changes") or [] if isinstance(change, dict)]
        names = {str(change.get("name")) for change in asked if change.get("op") != "move"}
        if not (kept := sorted(names & await hand.theirs(self.ctx))):
            return None
        told = f"The researcher has changed {', '.join(kept)}; nothing of this edit was written."
        return Done(ToolOutcome(False, told, {"code": "version_conflict", "cell": kept[0], "cells": kept}), 0)

    # --- doing it ---

    async def _look(self, tool: Tool, context: ToolContext) -> Any:
        """After a crash in mid-tool: what the tool says became of it, or None when it may run again."""
        self._again = True
        if tool.reconcile is None:
            return None
        try:
            outcome = await tool.reconcile(context, tool.parse(self.call.input))
        except PostdocError:
            return None
        return None if outcome is None else msgspec.to_builtins(Done(self.agent.cleaned(outcome), 0))

    def _context(self) -> ToolContext:
        async def write(text: str) -> None:
            if self.agent.parent is not None:
                return
            if not self._output:
                self._output.append(self.ctx.text(self.call.id, "tool_output"))
            await self._output[0].write(text)

        async def question(text: str, options: list[str] | None, key: str = "") -> str:
            return await ask_user(self.ctx, key or self.call.id, text, options)

        return ToolContext(
            call_id=self.call.id,
            session=self.ctx.session,
            emit=self.ctx.emit,
            status=self.agent.status,
            output=write,
            ask=question,
            provider=self.agent.provider.id,
            resources=self.agent.means.resources,
            put_blob=self.ctx.put_blob,
            delegate=lambda task: self.agent.delegate(self.call.id, task),
            in_project=self.agent.mission.project,
        )

    def _result_event(self, result: Any) -> Draft:
        done = msgspec.convert(result, Done)
        outcome = done.outcome
        body = ToolResult(
            toolId=self.call.id,
            toolName=self.call.name,
            ok=outcome.ok,
            content=outcome.content,
            data=outcome.data,
            truncated=bool(outcome.data.get("truncated")),
            blob=outcome.blob or UNSET,
            images=outcome.images or UNSET,
            parent=self.agent.parent or UNSET,
            duration_ms=done.duration_ms,
        )
        return Draft(body, replaces=self.call.id if done.streamed or self._again else None)


# --- asking people ---


def request_id(kind: str, run: str, key: str) -> str:
    """The same for the same key, at most 60 characters; another key has another one, however long they are."""
    if len(key) > 44:
        key = f"{key[:20]}-{hashlib.sha256(key.encode()).hexdigest()[:20]}"
    return f"{kind}_{run[-12:]}_{key}"


async def ask(ctx: RunContext, row: RequestRow, body: Question | ApprovalRequest) -> RequestRow:
    """Ask once under ``row.id``; the closed request. Raises Paused while it is open.

    A request that a stop has cancelled is made anew when the run carries on.
    """
    id, times = row.id, 1
    while (old := await ctx.log.store.get_request(id)) is not None and old.status == "cancelled":
        times += 1
        id = f"{row.id}.{times}"
    answered = await ctx.ask(
        msgspec.structs.replace(row, id=id), Draft(msgspec.structs.replace(body, requestId=id), ctx.run.id)
    )
    ctx.cancel.check()
    return answered


async def ask_user(
    ctx: RunContext, key: str, question: str, options: list[str] | None, *, where: str | None = None
) -> str:
    """Ask under ``key`` and return the answer. Raises Paused while it is open, tool_failed when none will come."""
    body = Question(requestId="", question=question, options=options or UNSET, deadline=None, where=where or UNSET)
    row = RequestRow(
        id=request_id("q", ctx.run.id, key),
        session=ctx.session,
        run=ctx.run.id,
        kind="question",
        tool_id=key,
        body={"question": question, "options": options},
    )
    answered = await ask(ctx, row, body)
    if answered.status != "answered" or answered.answer is None:
        raise PostdocError("tool_failed", "Nobody answered the question in time.")
    return answered.answer
