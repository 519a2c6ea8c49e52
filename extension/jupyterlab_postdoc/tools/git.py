"""The tool by which the agent names its own commit."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta

from jupyterlab_postdoc.providers.base import ToolOutcome
from jupyterlab_postdoc.tools.base import ToolContext, tool


async def _already_committed(ctx: ToolContext, _given: dict[str, Any]) -> ToolOutcome | None:
    commit = await ctx.project.find_commit(ctx.call_id)
    return None if commit is None else ToolOutcome(True, f"Committed {commit[:10]}.", {"commit": commit})


@tool(risk="write", title="Committing the changes", reconcile=_already_committed)
async def git_commit(
    ctx: ToolContext,
    message: Annotated[str, Meta(min_length=1, max_length=2000, description="What changed, in one line, and why")],
) -> ToolOutcome:
    """Commit all changes of the project with this message. Changes left at the end of a turn are committed anyway."""
    commit = await ctx.project.commit(message, step=ctx.call_id)
    if commit is None:
        return ToolOutcome(True, "Nothing has changed since the last commit.")
    left_out = "".join(f" Left out: {path} ({reason})." for path, reason in ctx.project.left_out.items())
    return ToolOutcome(True, f"Committed {commit[:10]}.{left_out}", {"commit": commit})
