"""Tools that read and write files of the workspace."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta

from jupyterlab_postdoc.errors import PostdocError
from jupyterlab_postdoc.providers.base import ToolOutcome
from jupyterlab_postdoc.tools.base import ToolContext, tool

FilePath = Annotated[str, Meta(description="Path relative to the project folder, e.g. data/notes.md", min_length=1)]


@tool(risk="read", title=lambda given: f"Reading {given.get('path', 'a file')}")
async def read_file(
    ctx: ToolContext,
    path: FilePath,
    offset: Annotated[int, Meta(ge=1, description="First line, counted from 1")] = 1,
    limit: Annotated[int, Meta(ge=1, le=2000, description="Number of lines")] = 500,
) -> ToolOutcome:
    """Read a text file of the project, with line numbers."""
    lines = ctx.project.workspace.read_text(path).splitlines()
    shown = lines[offset - 1 : offset - 1 + limit]
    text = "\n".join(f"{number:>5}  {line}" for number, line in enumerate(shown, offset))
    rest = len(lines) - (offset - 1 + len(shown))
    if rest > 0:
        text += f"\n… {rest} more lines; read on with offset={offset + len(shown)}"
    return ToolOutcome(True, text or "(no lines there)", {"path": path, "lines": len(lines)})


@tool(risk="write", title=lambda given: f"Writing {given.get('path', 'a file')}")
async def write_file(
    ctx: ToolContext, path: FilePath, content: Annotated[str, Meta(description="The whole new text")]
) -> ToolOutcome:
    """Write a whole text file of the project; folders are made. Notebooks are changed with nb_edit, not with this."""
    _refuse_notebook(ctx, path)
    ctx.project.workspace.write_text(path, content)
    return ToolOutcome(True, f"Wrote {path} ({len(content.splitlines())} lines).", {"path": path})


async def _edit_done(ctx: ToolContext, given: dict[str, Any]) -> ToolOutcome | None:
    """After a crash: an edit whose old text is gone and whose new text is there was made."""
    text = ctx.project.workspace.read_text(given["path"])
    if given["new"] and given["new"] in text and given["old"] not in text.replace(given["new"], ""):
        return ToolOutcome(True, f"Edited {given['path']}.", {"path": given["path"]})
    return None


@tool(risk="write", title=lambda given: f"Editing {given.get('path', 'a file')}", reconcile=_edit_done)
async def edit_file(
    ctx: ToolContext,
    path: FilePath,
    old: Annotated[str, Meta(min_length=1, description="The exact text to replace; must occur once")],
    new: Annotated[str, Meta(description="What takes its place")],
    replace_all: Annotated[bool, Meta(description="Replace every occurrence")] = False,
) -> ToolOutcome:
    """Replace exact text in a file of the project."""
    _refuse_notebook(ctx, path)
    text = ctx.project.workspace.read_text(path)
    count = text.count(old)
    if count == 0:
        raise PostdocError("tool_failed", f"The text to replace does not occur in {path}.", next="Read the file again.")
    if count > 1 and not replace_all:
        raise PostdocError(
            "tool_failed",
            f"The text to replace occurs {count} times in {path}.",
            next="Give more of the text around it, or set replace_all.",
        )
    ctx.project.workspace.write_text(path, text.replace(old, new))
    return ToolOutcome(True, f"Replaced {count} occurrence(s) in {path}.", {"path": path, "count": count})


def _refuse_notebook(ctx: ToolContext, path: str) -> None:
    workspace = ctx.project.workspace
    if workspace.resolve(path) == workspace.resolve(ctx.project.notebook.path):
        raise PostdocError(
            "tool_failed",
            f"{path} is the notebook; it is not written as a file.",
            next="Use nb_edit: it keeps marimo's cell structure valid.",
        )
