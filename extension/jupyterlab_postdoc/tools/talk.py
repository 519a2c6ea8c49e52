"""Tools by which the agent speaks to the researcher: the plan, a question, the end."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from jupyterlab_postdoc.protocol import Plan, PlanItem
from jupyterlab_postdoc.providers.base import ToolOutcome
from jupyterlab_postdoc.tools.base import ToolContext, tool


@tool(risk="read", title="Updating the plan")
async def plan(
    ctx: ToolContext, items: Annotated[list[PlanItem], Meta(min_length=1, max_length=50, description="The whole plan")]
) -> ToolOutcome:
    """Show the plan to the researcher. Give the whole list each time, with the state of every item."""
    await ctx.emit(Plan(items=items, provider=ctx.provider))
    done = sum(item.state == "done" for item in items)
    return ToolOutcome(True, f"Plan shown: {done} of {len(items)} done.")


@tool(risk="read", title="Asking the researcher")
async def ask_user(
    ctx: ToolContext,
    question: Annotated[str, Meta(min_length=1, max_length=4000)],
    options: Annotated[list[str] | None, Meta(description="Answers to choose from, if it is a choice")] = None,
) -> ToolOutcome:
    """Ask the researcher and wait for the answer. The question is kept: it may be answered tomorrow."""
    answer = await ctx.ask(question, options)
    return ToolOutcome(True, answer, {"answer": answer})


@tool(risk="read", title="Finishing the study")
async def finish(
    ctx: ToolContext,
    summary: Annotated[str, Meta(min_length=1, max_length=4000, description="Two sentences with the numbers")],
) -> ToolOutcome:
    """End the work: the notebook has run without errors and has its verdict. The repository is completed from it."""
    verdict = ctx.project.verdict()
    return ToolOutcome(True, summary, {"summary": summary, "verdict": verdict}, ends_run=True)
