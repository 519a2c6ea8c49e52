"""One execution of a run: a provider that speaks, tools that act, and the journal that remembers both."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from functools import partial
from typing import Any, TypeVar

import msgspec
from msgspec import UNSET

from jupyterlab_postdoc.agent import hand
from jupyterlab_postdoc.agent.acts import Act, Done
from jupyterlab_postdoc.agent.context import Context
from jupyterlab_postdoc.agent.means import Means, Mission
from jupyterlab_postdoc.agent.speech import Speech
from jupyterlab_postdoc.agent.turns import Reply, reply_of, served_title
from jupyterlab_postdoc.protocol import (
    AgentStatus,
    Artifact,
    AssistantMessage,
    Body,
    Thinking,
    ToolResult,
    ToolUse,
    Usage,
)
from jupyterlab_postdoc.providers.base import ServerTool, ToolCall, ToolOutcome, Turn, TurnRequest
from jupyterlab_postdoc.runs import Paused, RunContext
from jupyterlab_postdoc.secrets import keys_in, redact, register
from jupyterlab_postdoc.store.base import Draft, Reads
from jupyterlab_postdoc.text_stream import INPUT_ITEM

T = TypeVar("T")


class Agent:
    """Asks the provider for turns and carries out the calls, each as one journalled step of ``ctx``'s run.

    ``parent`` is the call of the agent that this one works for: a sub-agent reads, shows its calls, and answers once.
    """

    def __init__(self, ctx: RunContext, means: Means, mission: Mission, *, parent: str | None = None) -> None:
        self.ctx = ctx
        self.means = means
        self.mission = mission
        self.parent = parent
        self.provider = means.provider
        self.limits = means.limits
        self.watch = means.watch
        self.turns: list[Turn] = []
        """All finished turns of this run."""
        self.context = Context(mission.earlier)
        self.notes: list[str] = []
        """What the harness has to tell the model with the next turn."""
        self.ids = {call.id for exchange in mission.earlier for turn in exchange.turns for call in turn.calls}
        """The ids of all calls so far, those of sub-agents too."""
        self.reconsiders = False
        """Whether a call of this turn was not carried out because a person had the notebook: then no other is."""
        self.children: list[Agent] = []
        self.speech = Speech(self)
        ctx.provider = self.provider.id
        for said in [mission.prompt, *(exchange.user for exchange in mission.earlier)]:
            register(*keys_in(said))  # a key that somebody pasted goes into no commit

    def key(self, step: str) -> str:
        """The step's key in the journal: a sub-agent's steps are its own."""
        return f"{self.parent}/{step}" if self.parent else step

    # --- a turn ---

    async def ask(self) -> Reply:
        """The next reply, streamed into the log; the stored one when this turn was finished before a crash."""
        self.ctx.cancel.check()
        number = len(self.turns)

        async def speak() -> Any:
            notes = [*self.notes, *await self._handed_over(f"turn:{number}")]
            return msgspec.to_builtins(await self.speech.reply(f"{number}", lambda: self.request(notes)))

        result = await self.ctx.step(self.key(f"turn:{number}"), speak, record=self._reply_events)
        reply = reply_of(result)
        self.notes = []
        self.ids |= {call.id for call in reply.calls}
        self.limits.worked_s += reply.duration_ms / 1000
        return reply

    async def request(self, notes: Sequence[str] = ()) -> TurnRequest:
        """All that the provider may use to answer now."""
        mission, means = self.mission, self.means
        return TurnRequest(
            session=self.ctx.session,
            run=self.ctx.run.id,
            task=mission.task,
            system=mission.system,
            model=means.model,
            tools=means.tools.specs(),
            earlier=self.context.earlier,
            turns=self.context.turns,
            steer=await self.unheard(),
            notes=list(notes),
            prompt=mission.prompt,
            summary=self.context.summary,
            server_tools=means.server_tools,
            effort=means.persona.effort,
            thinking=means.persona.thinking,
            load=self.ctx.log.store.read_blob,
        )

    async def unheard(self) -> list[str]:
        """What the user said to this run since it began and no earlier turn has seen."""
        if self.parent is not None:
            return []
        words = await spoken_to(self.ctx.log.store, self.ctx.session, self.ctx.run.id)
        return [word["content"] for word in words[self.heard :]]

    async def _handed_over(self, at: str) -> list[str]:
        """What a person has done with the notebook since the model heard of it. A script learns it by its calls."""
        project = self.mission.project
        if self.parent is not None or not self.means.speaks or project is None:
            return []
        records = await hand.news(self.ctx, project.public_root, at)
        return [await hand.sentences(self.ctx, records, undone=False)] if records else []

    @property
    def heard(self) -> int:
        """How many of the words to this run its turns have seen."""
        return sum(len(turn.steer) for turn in self.turns)

    def _reply_events(self, result: Any) -> list[Body | Draft]:
        reply = reply_of(result)
        drafts: list[Body | Draft] = []
        if self.parent is None:
            drafts += [
                Draft(Thinking(itemId=text.item, content=text.content), replaces=text.item) for text in reply.thinking
            ]
        drafts += [event for served in reply.served for event in self._served_events(served)]
        if self.parent is None:
            refused = reply.stop_reason == "refusal"
            drafts += [
                Draft(
                    AssistantMessage(
                        itemId=text.item,
                        content=text.content,
                        citations=text.citations or UNSET,
                        partial=True if refused else UNSET,
                    ),
                    replaces=text.item,
                )
                for text in reply.texts
            ]
        drafts += [self._use_event(call) for call in reply.calls]
        if reply.usage:
            drafts.append(
                Usage(
                    tokens=reply.usage,
                    cost=reply.cost,
                    prices=reply.prices or UNSET,
                    model=reply.model or self.means.model or UNSET,
                )
            )
        return drafts

    def _use_event(self, call: ToolCall) -> Draft:
        tool = self.means.tools.get(call.name)
        body = ToolUse(
            toolName=call.name,
            toolId=call.id,
            toolInput=call.input,
            title=tool.title(call.input) if tool else call.name,
            risk=tool.risk if tool else "read",
            parent=self.parent or UNSET,
        )
        return Draft(body, replaces=f"{call.id}{INPUT_ITEM}")

    def _served_events(self, served: ServerTool) -> list[Body]:
        parent = self.parent or UNSET
        return [
            ToolUse(
                toolName=served.name,
                toolId=served.id,
                toolInput=served.input,
                title=served_title(served),
                risk="outside",
                server=True,
                parent=parent,
            ),
            ToolResult(
                toolId=served.id,
                toolName=served.name,
                ok=bool(served.ok),
                content=served.content,
                data=served.data,
                server=True,
                parent=parent,
            ),
        ]

    # --- tools ---

    async def act(self, calls: Sequence[ToolCall]) -> dict[str, ToolOutcome]:
        """The outcome of every call. What only reads runs side by side; what changes something, one after another."""
        outcomes: dict[str, ToolOutcome] = {}
        beside: list[Act] = []
        self.reconsiders = False

        async def flush() -> None:
            for act, done in zip(beside, await together([act.carry_out() for act in beside]), strict=True):
                outcomes[act.call.id] = self._count(done)
            beside.clear()

        for call in calls:
            act = Act(self, call)
            if act.at_once:
                beside.append(act)
                continue
            await flush()
            outcomes[call.id] = self._count(await act.carry_out())
        await flush()
        return outcomes

    def _count(self, done: Done) -> ToolOutcome:
        self.limits.worked_s += done.duration_ms / 1000
        self.reconsiders = self.reconsiders or done.outcome.data.get("code") == hand.TAKEN
        return done.outcome

    def cleaned(self, outcome: ToolOutcome) -> ToolOutcome:
        """No outcome holds a secret of this server."""
        content = redact(outcome.content)
        data = outcome.data
        if data:
            raw = msgspec.json.encode(data).decode()
            clean = redact(raw)
            data = data if clean is raw else msgspec.json.decode(clean)
        return msgspec.structs.replace(outcome, content=content, data=data)

    async def delegate(self, call: str, task: str) -> ToolOutcome:
        """Let a sub-agent do some reading: it has its own context and answers with a summary."""
        from jupyterlab_postdoc.agent.subagent import read_for

        return await read_for(self, call, task)

    async def status(self, message: str, progress: float | None = None, phase: str | None = None) -> None:
        """One line in plain words."""
        await self.ctx.emit(AgentStatus(message=message, progress=progress, phase=phase or UNSET))

    # --- the end of a turn ---

    async def settle(self, reply: Reply, outcomes: dict[str, ToolOutcome]) -> None:
        """Remember the turn, and commit what it changed: every agent turn is a checkpoint."""
        number = len(self.turns)
        turn = Turn(
            reply.text, reply.calls, outcomes, reply.steer, reply.notes, reply.blocks, stop_reason=reply.stop_reason
        )
        self.turns.append(turn)
        self.context.add(turn, reply.usage)
        project = self.mission.project
        if project is None or self.parent is not None or not any(self._changes(call) for call in reply.calls):
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
            f"checkpoint:{number}",
            commit,
            reconcile=look,
            record=lambda sha: commit_events(sha, message),
            guard=partial(hand.guard, self.ctx),
        )
        project.note(step, message, sha)

    def _changes(self, call: ToolCall) -> bool:
        tool = self.means.tools.get(call.name)
        return tool is not None and tool.risk != "read"

    def _commit_message(self, reply: Reply) -> str:
        """The step of the plan that the turn is about, or what the agent says it does, or what its first change is."""
        for call in reply.calls:
            if call.name == "plan" and (active := _active_step(call.input)):
                return active
        first = reply.text.strip().splitlines()[0] if reply.text.strip() else ""
        sentence = first.split(". ")[0].strip(" .#*`")
        if 0 < len(sentence) <= 100:
            return redact(sentence)
        for call in reply.calls:
            tool = self.means.tools.get(call.name)
            if tool is not None and tool.risk != "read":
                return redact(tool.title(call.input))
        return "Change the project"

    # --- summing up ---

    async def sum_up(self, key: str, wish: str) -> str:
        """A last word without tools: the model's answer to ``wish``. Journalled under ``key``; not shown as a turn."""

        async def speak() -> Any:
            async def build() -> TurnRequest:
                request = await self.request([*self.notes, wish])
                return msgspec.structs.replace(request, steer=[])

            return msgspec.to_builtins(await self.speech.reply(key, build, alone=True))

        reply = reply_of(await self.ctx.step(self.key(key), speak, record=self._summary_events))
        self.limits.worked_s += reply.duration_ms / 1000
        return reply.text

    def _summary_events(self, result: Any) -> list[Body | Draft]:
        """Only what it cost: the text goes where its asker puts it."""
        silent = msgspec.structs.replace(reply_of(result), texts=[], calls=[], thinking=[], served=[])
        return self._reply_events(msgspec.to_builtins(silent))

    def child(self, call: str, means: Means, mission: Mission) -> Agent:
        """An agent that works for this one's ``call``."""
        child = Agent(self.ctx, means, mission, parent=call)
        child.ids = self.ids
        self.children.append(child)
        return child


async def spoken_to(reads: Reads, session: str, run: str) -> list[dict[str, Any]]:
    """The messages that were said to a run while it was at work, oldest first."""
    events = await reads.read_events(session, types=["user_message"], run=run)
    return [body for event in events if (body := event.body()).get("mode") == "steer"]


async def together(work: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    """The results of all, in order. The first failure ends the others, and is raised when they have ended; a question
    that waits for its answer lets the others come to their end first.
    """
    if len(work) == 1:
        return [await work[0]]
    tasks = [asyncio.ensure_future(one) for one in work]
    try:
        unfinished = set(tasks)
        while unfinished:
            done, unfinished = await asyncio.wait(unfinished, return_when=asyncio.FIRST_EXCEPTION)
            for task in done:
                if task.exception() is not None and not isinstance(task.exception(), Paused):
                    task.result()
        return [task.result() for task in tasks]
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise


def _active_step(plan: Any) -> str:
    items = plan.get("items")
    active = (
        [item for item in items if isinstance(item, dict) and item.get("state") == "active"]
        if isinstance(items, list)
        else []
    )
    return str(active[0].get("text", ""))[:200] if active else ""


def commit_events(sha: str | None, message: str) -> list[Body | Draft]:
    """The artifact of a commit; nothing when nothing changed."""
    if sha is None:
        return []
    return [Artifact(artifact="commit", title=message, data={"commit": sha})]
