"""One execution of a run: a provider that speaks, tools that act, and the journal that remembers both."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from jupyterlab_postdoc.agent.limits import Limits
from jupyterlab_postdoc.errors import PostdocError
from jupyterlab_postdoc.log import TextStream
from jupyterlab_postdoc.protocol import (
    AgentStatus,
    Artifact,
    AssistantMessage,
    Body,
    Question,
    ToolResult,
    ToolUse,
    Usage,
)
from jupyterlab_postdoc.providers.base import (
    Exchange,
    Provider,
    TextDelta,
    ToolCall,
    ToolOutcome,
    Turn,
    TurnEnd,
    TurnRequest,
)
from jupyterlab_postdoc.runs import RunContext, Stopped
from jupyterlab_postdoc.store.base import Draft, RequestRow
from jupyterlab_postdoc.tools.base import Tool, ToolBox, ToolContext
from jupyterlab_postdoc.tools.project import Project
from jupyterlab_postdoc.tools.resources import Resources

SENTENCE_ENDS = (".", "!", "?", ":", "\n")


class Text(Struct, frozen=True):
    """One text of a reply and the item id under which it was streamed."""

    item: str
    content: str


class Reply(Struct, frozen=True):
    """One finished reply of the provider, as the journal keeps it."""

    texts: list[Text]
    calls: list[ToolCall]
    stop_reason: str
    usage: dict[str, int] | None = None
    steer: list[str] = []

    @property
    def text(self) -> str:
        """All texts of the reply."""
        return "\n\n".join(text.content for text in self.texts)


class Done(Struct, frozen=True):
    """One finished tool call, as the journal keeps it."""

    outcome: ToolOutcome
    duration_ms: int
    streamed: bool = False


class Agent:
    """Asks the provider for turns and carries out the calls, each as one journalled step of ``ctx``'s run."""

    def __init__(
        self,
        ctx: RunContext,
        provider: Provider,
        tools: ToolBox,
        *,
        task: Mapping[str, Any],
        limits: Limits,
        system: str = "",
        model: str | None = None,
        project: Project | None = None,
        earlier: Sequence[Exchange] = (),
    ) -> None:
        self.ctx = ctx
        self.provider = provider
        self.tools = tools
        self.task = task
        self.limits = limits
        self.system = system
        self.model = model
        self.project = project
        self.earlier = earlier
        self.turns: list[Turn] = []
        ctx.provider = provider.id

    # --- a turn ---

    async def ask(self) -> Reply:
        """The next reply, streamed into the log; the stored one when this turn was finished before a crash."""
        self.ctx.cancel.check()
        number = len(self.turns)

        async def speak() -> Any:
            return msgspec.to_builtins(await self._stream(number))

        result = await self.ctx.step(f"turn:{number}", speak, record=self._reply_events)
        return msgspec.convert(result, Reply)

    async def _stream(self, number: int) -> Reply:
        steer = await self._steered()
        request = TurnRequest(
            session=self.ctx.session,
            run=self.ctx.run.id,
            task=self.task,
            system=self.system,
            model=self.model,
            tools=self.tools.specs(),
            earlier=self.earlier,
            turns=self.turns,
            steer=steer,
        )
        streams: dict[int, tuple[str, TextStream]] = {}
        calls: list[ToolCall] = []
        end: TurnEnd | None = None
        async for event in self.provider.stream(request):
            if isinstance(event, TextDelta):
                if event.block not in streams:
                    item = self._item(number, event.block)
                    streams[event.block] = (item, self.ctx.text(item))
                stream = streams[event.block][1]
                await stream.write(event.text)
                if self.ctx.cancel.how == "graceful" and stream.text.rstrip(" ").endswith(SENTENCE_ENDS):
                    raise Stopped("graceful")
            elif isinstance(event, ToolCall):
                calls.append(event)
            elif isinstance(event, TurnEnd):
                end = event
        for _, stream in streams.values():
            await stream.flush()
        if end is None:
            raise PostdocError(
                "provider_stream_error",
                "The reply was cut off before its end. Nothing of it was carried out.",
                next="Resume the run to ask again.",
                retryable=True,
            )
        texts = [Text(item, stream.text) for item, stream in streams.values()]
        return Reply(texts, calls, end.stop_reason, end.usage, steer)

    def _item(self, number: int, block: int) -> str:
        """Short, and new at each attempt: what a cut-off attempt showed stays in the log as a partial message."""
        return f"i{self.ctx.run.id[-6:]}.{number}.{block}.{self.ctx.run.attempt}"

    async def _steered(self) -> list[str]:
        """What the user said to this run since it began and no earlier turn has seen."""
        seen = sum(len(turn.steer) for turn in self.turns)
        store = self.ctx.log.store
        events = await store.read_events(self.ctx.session, types=["user_message"], run=self.ctx.run.id)
        said = [body["content"] for event in events if (body := event.body()).get("mode") == "steer"]
        return said[seen:]

    def _reply_events(self, result: Any) -> list[Body | Draft]:
        reply = msgspec.convert(result, Reply)
        drafts: list[Body | Draft] = [
            Draft(AssistantMessage(itemId=text.item, content=text.content), replaces=text.item) for text in reply.texts
        ]
        for call in reply.calls:
            tool = self.tools.get(call.name)
            drafts.append(
                ToolUse(
                    toolName=call.name,
                    toolId=call.id,
                    toolInput=call.input,
                    title=tool.title(call.input) if tool else call.name,
                    risk=tool.risk if tool else "read",
                )
            )
        if reply.usage:
            drafts.append(Usage(tokens=reply.usage))
        return drafts

    # --- a tool ---

    async def act(self, call: ToolCall) -> ToolOutcome:
        """Carry out one call, once and for all; a tool that fails answers so, and the model reads it."""
        self.ctx.cancel.check()
        tool = self.tools.get(call.name)
        if tool is None or self.project is None:
            return await self._refuse(call)
        output: list[TextStream] = []
        context = self._tool_context(call, self.project, output)

        async def run() -> Any:
            await self.status(tool.title(call.input))
            began = time.monotonic()
            outcome = await tool.call(context, call.input)
            for stream in output:
                await stream.flush()
            return msgspec.to_builtins(Done(outcome, round(1000 * (time.monotonic() - began)), bool(output)))

        async def look() -> Any:
            return await self._look(tool, context, call)

        result = await self.ctx.step(
            f"tool:{call.id}", run, reconcile=look, record=lambda result: [self._result_event(call, result)]
        )
        return msgspec.convert(result, Done).outcome

    async def _look(self, tool: Tool, context: ToolContext, call: ToolCall) -> Any:
        """After a crash in mid-tool: what the tool says became of it, or None when it may run again."""
        if tool.reconcile is None:
            return None
        try:
            outcome = await tool.reconcile(context, tool.parse(call.input))
        except PostdocError:
            return None
        return None if outcome is None else msgspec.to_builtins(Done(outcome, 0))

    async def _refuse(self, call: ToolCall) -> ToolOutcome:
        if self.project is None:
            why = "There is no project in this chat yet: tools work in a research session."
        else:
            why = f"There is no tool {call.name!r}. There are: {', '.join(self.tools.names())}."
        refused = msgspec.to_builtins(Done(ToolOutcome(False, why), 0))

        async def answer() -> Any:
            return refused

        await self.ctx.step(f"tool:{call.id}", answer, record=lambda result: [self._result_event(call, result)])
        return ToolOutcome(False, why)

    def _result_event(self, call: ToolCall, result: Any) -> Draft:
        done = msgspec.convert(result, Done)
        outcome = done.outcome
        body = ToolResult(
            toolId=call.id,
            toolName=call.name,
            ok=outcome.ok,
            content=outcome.content,
            data=outcome.data,
            truncated=bool(outcome.data.get("truncated")),
            duration_ms=done.duration_ms,
        )
        return Draft(body, replaces=call.id if done.streamed else None)

    def _tool_context(self, call: ToolCall, project: Project, output: list[TextStream]) -> ToolContext:
        async def write(text: str) -> None:
            if not output:
                output.append(self.ctx.text(call.id, "tool_output"))
            await output[0].write(text)

        async def ask(question: str, options: list[str] | None) -> str:
            return await self.question(call.id, question, options)

        return ToolContext(
            call_id=call.id,
            session=self.ctx.session,
            emit=self.ctx.emit,
            status=self.status,
            output=write,
            ask=ask,
            provider=self.provider.id,
            resources=Resources(),
            put_blob=self.ctx.put_blob,
            delegate=no_delegate,
            in_project=project,
        )

    async def question(self, key: str, question: str, options: list[str] | None) -> str:
        """The user's answer. Raises Paused while there is none: the run waits without holding anything."""
        return await ask_user(self.ctx, key, question, options)

    async def status(self, message: str, progress: float | None = None) -> None:
        """One line in plain words."""
        await self.ctx.emit(AgentStatus(message=message, progress=progress))

    # --- the end of a turn ---

    async def settle(self, reply: Reply, outcomes: dict[str, ToolOutcome]) -> None:
        """Remember the turn, and commit what it changed: every agent turn is a checkpoint."""
        number = len(self.turns)
        self.turns.append(Turn(reply.text, reply.calls, outcomes, reply.steer))
        project = self.project
        if project is None or not any(self._changes(call) for call in reply.calls):
            return
        step = f"turn:{number}"
        message = self._commit_message(reply)

        async def commit() -> str | None:
            self.ctx.check_lease()
            sha = await project.commit(message, step=step)
            for path, reason in project.left_out.items():
                await self.status(f"Not committed: {path} ({reason})")
            return sha

        async def look() -> str | None:
            return await project.find_commit(step)

        sha = await self.ctx.step(
            f"checkpoint:{number}", commit, reconcile=look, record=lambda sha: commit_events(sha, message)
        )
        project.note(step, message, sha)

    def _changes(self, call: ToolCall) -> bool:
        tool = self.tools.get(call.name)
        return tool is not None and tool.risk != "read"

    def _commit_message(self, reply: Reply) -> str:
        """The step of the plan that the turn is about, or what the agent says it does, or what its first change is."""
        for call in reply.calls:
            if call.name == "plan" and (active := _active_step(call.input)):
                return active
        first = reply.text.strip().splitlines()[0] if reply.text.strip() else ""
        sentence = first.split(". ")[0].strip(" .#*`")
        if 0 < len(sentence) <= 100:
            return sentence
        for call in reply.calls:
            tool = self.tools.get(call.name)
            if tool is not None and tool.risk != "read":
                return tool.title(call.input)
        return "Change the project"


async def no_delegate(task: str) -> ToolOutcome:
    """A sub-agent has none of its own."""
    return ToolOutcome(False, f"There is nobody to give this to: {task[:100]}")


def _active_step(plan: Mapping[str, Any]) -> str:
    items = plan.get("items")
    active = [item for item in items if item.get("state") == "active"] if isinstance(items, list) else []
    return str(active[0].get("text", ""))[:200] if active else ""


def commit_events(sha: str | None, message: str) -> list[Body | Draft]:
    """The artifact of a commit; nothing when nothing changed."""
    if sha is None:
        return []
    return [Artifact(artifact="commit", title=message, data={"commit": sha})]


async def ask_user(ctx: RunContext, key: str, question: str, options: list[str] | None) -> str:
    """Ask once under ``key`` and return the answer. Raises Paused while it is open, tool_failed when none will come.

    A question that a stop has cancelled is asked anew when the run carries on.
    """
    request_id, times = f"q_{ctx.run.id[-12:]}_{key}"[:60], 1
    while (old := await ctx.log.store.get_request(request_id)) is not None and old.status == "cancelled":
        times += 1
        request_id = f"q_{ctx.run.id[-12:]}_{key}"[:60] + f".{times}"
    fields: dict[str, Any] = {"options": options} if options else {}
    body = Question(requestId=request_id, question=question, deadline=None, **fields)
    row = RequestRow(
        id=request_id,
        session=ctx.session,
        run=ctx.run.id,
        kind="question",
        tool_id=key,
        body={"question": question, "options": options},
    )
    answered = await ctx.ask(row, body)
    ctx.cancel.check()
    if answered.status != "answered" or answered.answer is None:
        raise PostdocError("tool_failed", "Nobody answered the question in time.")
    return answered.answer
