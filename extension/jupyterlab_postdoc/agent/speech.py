"""Getting a reply: paid for before it is asked, heard to its end, asked again when it was cut off."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Collection
from typing import TYPE_CHECKING

import msgspec
from msgspec import UNSET

from jupyterlab_postdoc.agent.context import estimate_tokens
from jupyterlab_postdoc.agent.spend import estimate_interrupted
from jupyterlab_postdoc.agent.turns import Listener, Reply
from jupyterlab_postdoc.errors import PostdocError
from jupyterlab_postdoc.protocol import Usage
from jupyterlab_postdoc.providers.base import TurnRequest
from jupyterlab_postdoc.telemetry import count_usage

if TYPE_CHECKING:
    from jupyterlab_postdoc.agent.agent import Agent

EMPTY_ATTEMPTS = 2
LONGEST_WAIT_S = 60.0
PATIENCE_S = 300.0
"""A provider that asks for more waiting than this is not waited for: the run ends, and may be resumed later."""


class BudgetReached(PostdocError):
    """The next call cannot be paid for. ``which``: run, session or day.

    Retryable, since the turn has not failed: it is asked when there is money again.
    """

    def __init__(self, which: str, sentence: str, next: str) -> None:
        super().__init__("budget_exceeded", sentence, next=next, retryable=True)
        self.which = which


class TooLong(PostdocError):
    """The request does not fit the model's window. Retryable: it is asked again when it has been made shorter."""

    def __init__(self, e: PostdocError) -> None:
        super().__init__(e.code, e.message, next=e.next, retryable=True)


class Speech:
    """What an agent asks its provider, one reply at a time."""

    def __init__(self, agent: Agent) -> None:
        self.agent = agent
        self._open: tuple[str, Listener] | None = None
        """The call that is being paid for now, and what is known of it."""

    async def reply(self, name: str, build: Callable[[], Awaitable[TurnRequest]], *, alone: bool = False) -> Reply:
        """A whole reply; ``alone``: nobody watches it form. Raises PostdocError when all attempts failed."""
        attempt, empty = 0, 0
        while True:
            attempt += 1
            silent = alone or self.agent.parent is not None
            listener = Listener(self.agent.ctx, self._item(name, attempt), taken=self.agent.ids, silent=silent)
            try:
                reply = await self._one(f"{name}.{attempt}", await build(), listener)
            except PostdocError as e:
                await self._end_items(listener, listener.items)
                await self.settle_interrupted(e)
                await self._wait(e, attempt)
                continue
            if not reply.empty or reply.stop_reason not in ("end_turn", "tool_use", "stop_sequence"):
                await self._end_items(listener, set(listener.items) - reply.items)
                return reply
            empty += 1
            if empty >= EMPTY_ATTEMPTS and self.agent.turns:
                return reply  # a model that is done may have nothing to add after its tools
            await self._end_items(listener, listener.items)
            await self._tell_usage(reply)
            if empty >= EMPTY_ATTEMPTS:
                raise _nothing_said()
            await self.agent.status("The model answered with nothing. Asking again", phase="retry")

    async def _one(self, id: str, request: TurnRequest, listener: Listener) -> Reply:
        purse = self.agent.means.purse
        if purse is None:
            reply = await listener.hear(self.agent.provider, request)
            self.agent.watch.turn(reply, listener)
            return reply
        model = request.model or ""
        cached = self.agent.context.tokens or 0
        expected = estimate_tokens(request, self.agent.context.tokens)
        call = f"{self.agent.ctx.run.id}:{self.agent.key(id)}:{self.agent.ctx.run.attempt}"
        payable = await purse.begin(call, model, expected, cached)
        if payable.exceeded is not None:
            raise BudgetReached(payable.exceeded, payable.sentence, payable.next)
        self._open = (call, listener)
        self.agent.ctx.check_lease()
        reply = await listener.hear(
            self.agent.provider, msgspec.structs.replace(request, max_tokens=payable.max_tokens)
        )
        cost, prices = await purse.settle(call, reply.model or model, reply.usage or {}, estimated=reply.usage is None)
        self._open = None
        self.agent.watch.turn(reply, listener, cost=cost)
        return msgspec.structs.replace(reply, cost=cost, prices=prices)

    def _item(self, name: str, attempt: int) -> str:
        """Short, and new at each attempt: what a cut-off attempt showed stays in the log as a partial message."""
        run = self.agent.ctx.run
        return f"i{run.id[-6:]}.{self.agent.key(name)}.{run.attempt}" + (f".{attempt}" if attempt > 1 else "")

    async def _end_items(self, listener: Listener, items: Collection[str]) -> None:
        """What was shown of these stays, marked as partial: no whole reply will hold it."""
        if not listener.silent and items:
            await self.agent.ctx.cut_off(items)

    async def _tell_usage(self, reply: Reply) -> None:
        """What a reply has cost that is no turn."""
        if reply.usage:
            model = reply.model or self.agent.means.model or UNSET
            await self.agent.ctx.emit(
                Usage(tokens=reply.usage, cost=reply.cost, prices=reply.prices or UNSET, model=model)
            )

    async def settle_interrupted(self, e: PostdocError | None = None) -> None:
        """Count a call that was cut off (``e``: by this failure), and those of the sub-agents: its usage is known in
        part, the rest is estimated. What was refused before it began costs nothing.
        """
        for child in self.agent.children:
            await child.speech.settle_interrupted(e)
        purse = self.agent.means.purse
        if self._open is None or purse is None:
            return
        (call, listener), self._open = self._open, None
        model = self.agent.means.model or ""
        if e is not None and e.code != "provider_timeout" and not listener.usage and not listener.chars:
            await purse.settle(call, model, {"output_tokens": 0}, estimated=False)
            return
        usage = estimate_interrupted(listener.usage or purse.expected_input(call), listener.chars)
        cost, prices = await purse.settle(call, model, usage, estimated=True)
        count_usage(model, usage, cost)
        await self.agent.ctx.emit(
            Usage(tokens=usage, cost=cost, prices=prices or UNSET, model=model or UNSET, estimated=True)
        )

    async def _wait(self, e: PostdocError, attempt: int) -> None:
        """Say what happened and wait, or raise it."""
        if isinstance(e, BudgetReached):
            raise e
        self.agent.watch.provider_error(e.code)
        if e.details.get("context"):
            raise TooLong(e)
        attempts = self.agent.means.attempts
        if not e.retryable or attempt >= attempts:
            raise e
        asked = e.details.get("retry_after_s")
        wait = min(LONGEST_WAIT_S, self.agent.means.retry_wait_s * 2 ** (attempt - 1)) * random.uniform(0.8, 1.2)
        wait = max(wait, float(asked)) if asked is not None else wait
        if wait > PATIENCE_S:
            raise e
        await self.agent.status(
            f"{e.message} Asking again in {max(1, round(wait))} s (attempt {attempt + 1} of {attempts}).", phase="retry"
        )
        try:
            async with asyncio.timeout(wait):
                await self.agent.ctx.cancel.wait()
        except TimeoutError:
            return
        self.agent.ctx.cancel.check()


def _nothing_said() -> PostdocError:
    """Without any word before, it is a failure."""
    return PostdocError(
        "provider_stream_error",
        "The model answered with nothing, twice. Your message is kept.",
        next="Send it again in other words, or choose another model.",
    )
