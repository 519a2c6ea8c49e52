"""The tool that runs Python in the session's own kernel."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta

from jupyterlab_postdoc.errors import PostdocError
from jupyterlab_postdoc.providers.base import ToolOutcome
from jupyterlab_postdoc.tools.base import ToolContext, tool

TITLE = 60


async def _unknown_outcome(_ctx: ToolContext, _given: dict[str, Any]) -> ToolOutcome | None:
    """Code that was cut off by a crash is never run again unasked."""
    return ToolOutcome(
        False,
        "The server stopped while this code ran; its outcome is unknown and the kernel's variables are gone.",
        {"interrupted": True},
    )


@tool(
    risk="execute", title=lambda given: f"Running Python: {_first_line(given.get('code'))}", reconcile=_unknown_outcome
)
async def py_exec(
    ctx: ToolContext,
    code: Annotated[str, Meta(min_length=1, max_length=50_000, description="Python code")],
    timeout_s: Annotated[float, Meta(gt=0, le=3600, description="Seconds until it is interrupted")] = 120.0,
) -> ToolOutcome:
    """Run Python in a kernel of your own, in the project folder, without network. Variables stay between calls. Shows
    what is printed, the last value and pictures. For trying things out: what the study needs goes into the notebook.
    """
    kernels = ctx.resources.kernels
    if kernels is None:
        raise PostdocError("tool_failed", "There are no kernels on this server.", next="Use the notebook or the shell.")
    workspace = ctx.project.workspace
    done = await kernels.execute(ctx.session, workspace, code, timeout_s=timeout_s, on_output=ctx.output)
    images = []
    if ctx.provider != "template":
        images = [await ctx.image(png, f"picture {number}") for number, png in enumerate(done.images, 1)]
    parts = [done.text.rstrip()]
    if done.left_out:
        parts.append(f"({done.left_out:,} more characters were left out)")
    parts.append(
        {
            "error": done.error,
            "timeout": f"Interrupted after {timeout_s:g} s. Variables that were set until then are kept.",
            "died": "The kernel ended while this ran (often: too much memory). All its variables are gone; the next "
            "call begins with a new one.",
        }.get(done.end, "")
    )
    text = "\n".join(part for part in parts if part) or "(no output)"
    return ToolOutcome(done.ok, text, {"end": done.end, "new_kernel": done.fresh}, images=images)


def _first_line(code: object) -> str:
    lines = str(code or "").strip().splitlines()
    return lines[0][:TITLE] if lines else "nothing"
