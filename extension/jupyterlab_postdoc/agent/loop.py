"""The agent loop: ask, act, settle, until there is nothing more to do. It knows neither providers nor tools."""

from __future__ import annotations

from dataclasses import dataclass

from jupyterlab_postdoc.agent.agent import Agent
from jupyterlab_postdoc.agent.brakes import Brakes


@dataclass(frozen=True)
class Ending:
    """How the conversation ended. ``finished``: the agent said by itself that its work is done."""

    stop_reason: str
    text: str
    finished: bool = False


async def converse(agent: Agent) -> Ending:
    """Turn after turn. Everything done is journalled, so calling this again after a crash carries on where it was.

    Raises Stopped, Paused and Yielded at the edge of a step; PostdocError when the provider fails for good.
    """
    brakes = Brakes(agent)
    while True:
        if (limit := await brakes.before_turn()) is not None:
            return Ending(limit.reason, limit.text)
        reply = await brakes.ask()
        if reply is None:
            continue
        outcomes = await agent.act(reply.calls)
        await agent.settle(reply, outcomes)
        if any(outcome.ends_run for outcome in outcomes.values()):
            return Ending("end_turn", reply.text, finished=True)
        if reply.calls or brakes.goes_on(reply):
            continue
        if reply.stop_reason != "refusal" and await agent.unheard():
            continue  # something was said while it spoke its last word
        return Ending(reply.stop_reason, reply.text)
