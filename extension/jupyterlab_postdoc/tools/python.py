"""The tool that runs Python in the session's own kernel."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta

from jupyterlab_postdoc.errors import PostdocError
from jupyterlab_postdoc.providers.base import ToolOutcome
from jupyterlab_postdoc.tools import packages
from jupyterlab_postdoc.tools.base import ToolContext, tool
from jupyterlab_postdoc.workspace.kernel_output import Execution

TITLE = 60
TIMEOUT_S = 120.0
AGAIN = "The kernel was ended, so that the next call has what was installed. Its variables are gone: run what you need."


async def _known(ctx: ToolContext, given: dict[str, Any]) -> ToolOutcome | None:
    """Code that was cut off is never run again unasked. Mostly it was not: it waited for an answer after it ran."""
    kernels = ctx.resources.kernels
    done = kernels.failure(ctx.session, ctx.call_id) if kernels is not None else None
    if done is not None:
        return await _told(ctx, done, given.get("timeout_s", TIMEOUT_S))
    return ToolOutcome(
        False,
        "The server stopped while this code ran; its outcome is unknown and the kernel's variables are gone.",
        {"interrupted": True},
    )


@tool(risk="execute", title=lambda given: f"Running Python: {_first_line(given.get('code'))}", reconcile=_known)
async def py_exec(
    ctx: ToolContext,
    code: Annotated[str, Meta(min_length=1, max_length=50_000, description="Python code")],
    timeout_s: Annotated[float, Meta(gt=0, le=3600, description="Seconds until it is interrupted")] = TIMEOUT_S,
) -> ToolOutcome:
    """Run Python in a kernel of your own, in the project folder, without network. Variables stay between calls. Shows
    what is printed, the last value and pictures. For trying things out: what the study needs goes into the notebook.
    """
    kernels = ctx.resources.kernels
    if kernels is None:
        raise PostdocError("tool_failed", "There are no kernels on this server.", next="Use the notebook or the shell.")
    workspace = ctx.project.workspace
    done = await kernels.execute(
        ctx.session, workspace, code, timeout_s=timeout_s, on_output=ctx.output, call=ctx.call_id
    )
    return await _told(ctx, done, timeout_s)


async def _told(ctx: ToolContext, done: Execution, timeout_s: float) -> ToolOutcome:
    """What the model gets to know, after the packages that were lacking came, or did not."""
    try:
        supplied = await packages.after_code(ctx, *done.exception)
    except PostdocError as e:  # the code ran all the same
        supplied = packages.Supplied(text=f"{e.message} {e.next}".strip())
    images = []
    if ctx.provider != "template":
        images = [await ctx.image(png, f"picture {number}") for number, png in enumerate(done.images, 1)]
    parts = [*_parts(done, timeout_s), supplied.text, AGAIN if supplied.helped else ""]
    text = "\n".join(part for part in parts if part) or "(no output)"
    return ToolOutcome(done.ok, text, {"end": done.end, "new_kernel": done.fresh}, images=images)


def _parts(done: Execution, timeout_s: float) -> list[str]:
    """What the model reads, in order."""
    parts = [done.text.rstrip()]
    if done.renewed:
        parts.insert(0, "(The earlier kernel had ended: this ran in a new one, where nothing was defined.)")
    elif done.fresh and "NameError" in done.error:  # after a restart of the server a model may not know
        parts.insert(0, "(This ran in a new kernel, where nothing was defined.)")
    if done.left_out:
        parts.append(f"({done.left_out:,} more characters were left out)")
    if done.end == "error":
        parts.append(done.error)
    if done.end == "died":
        parts.append("The kernel ended while this ran (often: too much memory).")
    if done.end == "timeout":
        kept = "and did not react: the kernel was ended." if done.ended else "The variables that were set are kept."
        parts.append(f"Interrupted after {timeout_s:g} s{' ' if done.ended else '. '}{kept}")
    if done.ended:
        parts.append("All its variables are gone; the next call begins with a new kernel.")
    return parts


def _first_line(code: object) -> str:
    lines = str(code or "").strip().splitlines()
    return lines[0][:TITLE] if lines else "nothing"
