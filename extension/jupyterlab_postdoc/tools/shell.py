"""The tool that runs a command in the sandbox."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta

from jupyterlab_postdoc.errors import PostdocError
from jupyterlab_postdoc.providers.base import ToolOutcome
from jupyterlab_postdoc.tools.base import ToolContext, tool


async def _unknown_outcome(_ctx: ToolContext, _given: dict[str, Any]) -> ToolOutcome | None:
    """A command that was cut off by a crash is never run again unasked: nobody knows how far it came."""
    return ToolOutcome(
        False,
        "The server stopped while this command ran; its outcome is unknown. Look at the files before running it again.",
        {"interrupted": True},
    )


@tool(
    risk="execute",
    title=lambda given: f"Running a command: {str(given.get('command', ''))[:60]}",
    reconcile=_unknown_outcome,
)
async def shell(
    ctx: ToolContext,
    command: Annotated[str, Meta(min_length=1, max_length=20_000, description="A shell script")],
    timeout_s: Annotated[float, Meta(gt=0, le=3600, description="Seconds until it is stopped")] = 120.0,
) -> ToolOutcome:
    """Run a shell command in the project folder, in a sandbox without network and with a clean environment."""
    done = await ctx.project.workspace.execute(command, timeout=timeout_s, on_output=ctx.output)
    data: dict[str, Any] = {"returncode": done.returncode, "end": done.end, "duration_s": round(done.duration_s, 3)}
    if done.truncated:
        data["bytes_left_out"] = done.truncated
    text = done.stdout.rstrip()
    if done.end == "exit":
        tail = "" if done.returncode == 0 else f"\n(exit code {done.returncode})"
        return ToolOutcome(done.returncode == 0, (text + tail).strip() or "(no output)", data)
    raise PostdocError("tool_failed", f"{_why(done.end, timeout_s)} Output so far:\n{text}", **data)


def _why(end: str, timeout_s: float) -> str:
    return {
        "timeout": f"The command was stopped after {timeout_s:g} s.",
        "memory": "The command was stopped because it used too much memory.",
        "processes": "The command was stopped because it started too many processes.",
    }.get(end, "The command was stopped.")
