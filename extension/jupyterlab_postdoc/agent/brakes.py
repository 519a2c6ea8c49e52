"""What keeps a run within bounds: limits that stop it and ask, warnings, summaries of what has become too long."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from jupyterlab_postdoc.agent import stuck
from jupyterlab_postdoc.agent.acts import ask_user
from jupyterlab_postdoc.agent.context import SUMMARISE, plain_summary
from jupyterlab_postdoc.agent.limits import STUCK_STOP, STUCK_WARN
from jupyterlab_postdoc.agent.speech import BudgetReached, TooLong
from jupyterlab_postdoc.agent.turns import Reply
from jupyterlab_postdoc.errors import PostdocError
from jupyterlab_postdoc.protocol import AssistantMessage, ContextSummary
from jupyterlab_postdoc.run_context import Paused

if TYPE_CHECKING:
    from jupyterlab_postdoc.agent.agent import Agent

GO_ON, STOP = "Go on", "Stop here"
CONTINUATIONS = 3
"""How often in a row a reply that was cut by its length, or a turn without `finish`, is asked to go on."""

LAST_WORD = (
    "The run has reached its limit and stops here. In at most ten sentences, for the researcher: what is done, what "
    "was found (with numbers), what is not done or not checked, and what should come next. Call no tool."
)
CUT = (
    "Your last reply was cut off at the limit of its length; no tool call in it was carried out. Go on exactly where "
    "it stopped. Make long tool inputs shorter, in several calls."
)
UNFINISHED = (
    "You ended your turn, but the study is not finished: that takes a notebook that has run without errors, its "
    "verdict, and a call of `finish`. Go on. If something keeps you from it, say with `ask_user` what you need."
)


@dataclass(frozen=True)
class Limit:
    """Where a run stopped: max_turns, budget or stuck; and what is to be said about it."""

    reason: str
    text: str


class Brakes:
    """The bounds of one agent. Everything it decides follows from the journal, so a resumed run decides the same."""

    def __init__(self, agent: Agent) -> None:
        self.agent = agent
        self._asked = Counter[str]()
        """How often it was asked for each kind of limit: which one is met again after a crash depends on its kind."""
        self._cut = 0
        self._nudged = 0
        self._forgiven = 0
        """So many turns count no more as going round in circles: the user said to go on after them."""
        self._warned = -1
        self._budget: BudgetReached | None = None

    # --- before a turn ---

    async def before_turn(self) -> Limit | None:
        """Sum up what is too long, warn, and stop at a limit: the run then waits for the user's word to go on."""
        while True:
            while (reason := self._reached()) is not None:
                limit = await self._stop_and_ask(reason)
                if limit is not None:
                    return limit
            try:
                await self._compact()
            except BudgetReached as e:
                self._budget = e
                continue
            self._warn()
            return None

    def _reached(self) -> str | None:
        agent = self.agent
        if self._budget is not None:
            return "budget"
        limit = agent.limits.reached(len(agent.turns))
        if limit is not None:
            return limit
        return "stuck" if self._repeats() >= STUCK_STOP else None

    def _repeats(self) -> int:
        agent = self.agent
        return stuck.repeats(agent.turns[self._forgiven :]) if agent.means.speaks else 0

    def _warn(self) -> None:
        """Once, be the turn asked for several times."""
        agent = self.agent
        if self._repeats() == STUCK_WARN and self._warned != len(agent.turns):
            self._warned = len(agent.turns)
            agent.notes.append(stuck.warning(STUCK_WARN))

    async def _stop_and_ask(self, reason: str) -> Limit | None:
        """None: the user said to go on."""
        agent = self.agent
        sentence, final = self._sentence(reason)
        if agent.parent is not None:
            return Limit(reason, await self._last_word(sentence))
        kind = "dollars" if self._budget is not None else reason
        self._asked[kind] += 1
        place = f"{kind}-{self._asked[kind]}"
        word = await self._said(place, sentence)
        if final:
            return Limit(reason, f"{sentence} {word}".strip())
        question = f"{sentence} Everything so far is kept. Shall the agent go on, with as much again?"
        try:
            answer = await ask_user(agent.ctx, f"limit-{place}", question, [GO_ON, STOP], where=reason)
        except Paused as paused:
            raise Paused(reason, paused.request) from None
        if answer.strip(" .!").casefold() in (STOP.casefold(), "stop"):
            return Limit(reason, f"{sentence} {word}".strip())
        if answer.strip() != GO_ON:
            agent.notes.append(f"The researcher says: {answer}")
        self._extend(reason)
        return None

    def _sentence(self, reason: str) -> tuple[str, bool]:
        """What to say, and whether the user cannot change it."""
        if reason == "stuck":
            return "The agent goes round in circles: it does the same again and again with the same outcome.", False
        if self._budget is not None:
            return f"{self._budget.message} {self._budget.next}".strip(), self._budget.which != "run"
        return self.agent.limits.sentence(reason), False

    def _extend(self, reason: str) -> None:
        if reason == "stuck":
            self._forgiven = len(self.agent.turns)
        elif self._budget is not None:
            self._budget = None
            assert self.agent.means.purse is not None
            self.agent.means.purse.extend()
        else:
            self.agent.limits.extended += 1

    async def _said(self, place: str, sentence: str) -> str:
        """The last word at this limit, shown. None is one too: it is not tried again when the run carries on."""
        ctx = self.agent.ctx
        item = f"i{ctx.run.id[-6:]}.last:{place}"

        async def speak() -> str:
            return await self._last_word(sentence, place)

        def show(said: str) -> list[AssistantMessage]:
            return [AssistantMessage(itemId=item, content=said)] if said else []

        return await ctx.step(f"say:last:{place}", speak, record=show)

    async def _last_word(self, sentence: str, place: str = "") -> str:
        """The agent's own summary at a limit; empty where no model can or may be asked."""
        agent = self.agent
        if not agent.means.speaks or not agent.turns or self._budget is not None:
            return ""
        try:
            return await agent.sum_up(f"last:{place}", f"{sentence} {LAST_WORD}")
        except PostdocError:
            return ""  # the limit is what counts; a word about it was only a courtesy

    # --- a turn ---

    async def ask(self) -> Reply | None:
        """The agent's next reply; None when it could not be asked and :meth:`before_turn` has to look again."""
        try:
            return await self.agent.ask()
        except BudgetReached as e:
            self._budget = e
            return None
        except TooLong:
            await self._shorten()
            return None

    def goes_on(self, reply: Reply) -> bool:
        """Whether a reply without calls is not the end yet: the model wants to go on, or has to."""
        agent = self.agent
        if reply.stop_reason == "pause_turn":
            return True
        if reply.stop_reason in ("max_tokens", "model_context_window_exceeded"):
            self._cut += 1
            if self._cut > CONTINUATIONS:
                return False
            agent.notes.append(CUT)
            return True
        self._cut = 0
        if reply.stop_reason == "refusal" or not agent.mission.must_finish or self._nudged >= CONTINUATIONS:
            return False
        self._nudged += 1
        agent.notes.append(UNFINISHED)
        return True

    # --- too long ---

    async def _compact(self) -> None:
        agent = self.agent
        if not agent.means.speaks or agent.context.size < self._compact_at():
            return
        if not agent.context.turns and not agent.context.earlier:
            return
        await self._sum_up(f"summary:{len(agent.turns)}")

    def _compact_at(self) -> int:
        means = self.agent.means
        return min(means.compact_at_tokens, int(0.8 * (means.window or 200_000)))

    async def _sum_up(self, key: str) -> None:
        agent = self.agent
        if agent.parent is None:
            await agent.status("The conversation is long: summing it up to go on", phase="summary")
        try:
            text = await agent.sum_up(key, SUMMARISE)
        except TooLong:
            text = ""
        await self._replace(key, text or self._plain_summary())

    def _plain_summary(self) -> str:
        agent = self.agent
        return plain_summary(agent.mission.prompt, agent.turns, agent.context.earlier, agent.context.summary)

    async def _shorten(self) -> None:
        """The request does not fit the model's window: go on from a summary that needs no model."""
        agent = self.agent
        if not agent.context.turns and not agent.context.earlier:
            raise PostdocError(
                "too_large",
                "The message is longer than the model can read. It is kept.",
                next="Send a shorter one, or put the text into a file of the project.",
            )
        await self._replace(f"shorten:{len(agent.turns)}", self._plain_summary())

    async def _replace(self, key: str, text: str) -> None:
        agent = self.agent
        if agent.parent is None:
            row = await agent.ctx.log.store.get_session(agent.ctx.session)
            through = row.last_seq if agent.turns and row is not None else agent.mission.through

            async def keep() -> Any:
                return {"text": text, "through": through}

            kept = await agent.ctx.step(
                f"say:{key}",
                keep,
                record=lambda kept: [ContextSummary(content=kept["text"], through=kept["through"])],
            )
            text = kept["text"]
        agent.context.replace(text)
