"""Tools by which the agent speaks to the researcher: the plan, a question, the end."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from jupyterlab_postdoc.errors import PostdocError
from jupyterlab_postdoc.protocol import Plan, PlanItem
from jupyterlab_postdoc.providers.base import ToolOutcome
from jupyterlab_postdoc.tools.base import ToolContext, tool

VERDICT_KEYS = (
    *("claim", "supported", "estimate", "ci_low", "ci_high", "p_value", "n_obs", "unit"),
    *("summary", "limits", "data", "seed"),
)
"""What a verdict holds (docs/templates.md)."""
NEEDED = ("claim", "supported")
"""Without these there is nothing that a reader could check."""


@tool(risk="read", title="Updating the plan", needs_project=False)
async def plan(
    ctx: ToolContext, items: Annotated[list[PlanItem], Meta(min_length=1, max_length=50, description="The whole plan")]
) -> ToolOutcome:
    """Show the plan to the researcher. Give the whole list each time, with the state of every item."""
    await ctx.emit(Plan(items=items, provider=ctx.provider))
    done = sum(item.state == "done" for item in items)
    return ToolOutcome(True, f"Plan shown: {done} of {len(items)} done.")


@tool(risk="read", title="Asking the researcher", needs_project=False)
async def ask_user(
    ctx: ToolContext,
    question: Annotated[str, Meta(min_length=1, max_length=4000)],
    options: Annotated[list[str] | None, Meta(description="Answers to choose from, if it is a choice")] = None,
) -> ToolOutcome:
    """Ask the researcher and wait for the answer. The question is kept: it may be answered tomorrow."""
    answer = await ctx.ask(question, options)
    return ToolOutcome(True, answer, {"answer": answer})


@tool(risk="read", title=lambda given: f"Reading up: {str(given.get('task', ''))[:80]}", needs_project=False)
async def delegate(
    ctx: ToolContext,
    task: Annotated[
        str, Meta(min_length=1, max_length=8000, description="One precise question, where to look, what to answer with")
    ],
) -> ToolOutcome:
    """Let a sub-agent read much and answer one question: files, cells, the web. Only its summary comes back.

    It changes nothing and knows nothing of this conversation. Several in one turn read side by side.
    """
    return await ctx.delegate(task)


@tool(risk="read", title="Finishing the study")
async def finish(
    ctx: ToolContext,
    summary: Annotated[str, Meta(min_length=1, max_length=4000, description="Two sentences with the numbers")],
) -> ToolOutcome:
    """End the work: the notebook has run without errors and has its verdict. The repository is completed from it."""
    verdict = ctx.project.verdict()
    if any(key not in verdict for key in NEEDED) or verdict["supported"] not in (True, False, None):
        lacking = ", ".join(key for key in VERDICT_KEYS if key not in verdict)
        raise PostdocError(
            "tool_failed",
            f"The verdict is not complete; it lacks {lacking}." if lacking else "`supported` is True, False or None.",
            next="Add them to the cell `verdict` (None for a figure that does not exist) and run the notebook.",
        )
    if stale := await ctx.project.stale():
        told = (
            f"The verdict is not that of the notebook as it stands: {', '.join(stale[:8])} changed since, or failed. "
            "Run the notebook (nb_run) until every cell is ok, then finish."
        )
        return ToolOutcome(False, told, {"code": "tool_failed", "stale": stale})
    return ToolOutcome(True, summary, {"summary": summary, "verdict": verdict}, ends_run=True)
