"""Tools that read and write files of the workspace."""

from __future__ import annotations

import struct
from typing import Annotated, Any

from msgspec import Meta

from jupyterlab_postdoc.errors import PostdocError
from jupyterlab_postdoc.providers.base import ToolOutcome
from jupyterlab_postdoc.tools.base import ToolContext, tool

PICTURE_BYTES = 3_500_000
PICTURE_PIXELS = 8_000
PICTURES = {".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg"}

FilePath = Annotated[str, Meta(description="Path relative to the project folder, e.g. data/notes.md", min_length=1)]


@tool(risk="read", title=lambda given: f"Reading {given.get('path', 'a file')}")
async def read_file(
    ctx: ToolContext,
    path: FilePath,
    offset: Annotated[int, Meta(ge=1, description="First line, counted from 1")] = 1,
    limit: Annotated[int, Meta(ge=1, le=2000, description="Number of lines")] = 500,
) -> ToolOutcome:
    """Read a text file of the project, with line numbers, or look at a PNG or JPEG picture."""
    if path.lower().endswith(tuple(PICTURES)):
        return await _picture(ctx, path)
    lines = ctx.project.workspace.read_text(path).splitlines()
    shown = lines[offset - 1 : offset - 1 + limit]
    text = "\n".join(f"{number:>5}  {line}" for number, line in enumerate(shown, offset))
    rest = len(lines) - (offset - 1 + len(shown))
    if rest > 0:
        text += f"\n… {rest} more lines; read on with offset={offset + len(shown)}"
    return ToolOutcome(True, text or "(no lines there)", {"path": path, "lines": len(lines)})


async def _picture(ctx: ToolContext, path: str) -> ToolOutcome:
    """The picture for the model to see, as it is: nothing is decoded here."""
    data = ctx.project.workspace.read_bytes(path, max_bytes=PICTURE_BYTES)
    size = pixels(data)
    if size is None:
        raise PostdocError("tool_failed", f"{path} is not a PNG or JPEG picture.", next="Check how it was made.")
    media_type, width, height = size
    if max(width, height) > PICTURE_PIXELS:
        raise PostdocError(
            "too_large",
            f"{path} is {width} × {height} pixels; at most {PICTURE_PIXELS} can be looked at.",
            next="Save a smaller version of it, and read that.",
        )
    seen = await ctx.image(data, path, media_type)
    about = {"path": path, "width": width, "height": height}
    return ToolOutcome(True, f"{path}: {width} × {height} pixels, {len(data):,} bytes.", about, images=[seen])


def pixels(data: bytes) -> tuple[str, int, int] | None:
    """(media type, width, height) as the header of a PNG or JPEG says, None for anything else."""
    if data.startswith(b"\x89PNG\r\n\x1a\n") and data[12:16] == b"IHDR" and len(data) >= 24:
        return ("image/png", *struct.unpack(">II", data[16:24]))
    if not data.startswith(b"\xff\xd8\xff"):
        return None
    at = 2
    while at + 9 <= len(data) and data[at] == 0xFF:
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):  # the frame header: precision, height, width
            height, width = struct.unpack(">HH", data[at + 5 : at + 9])
            return "image/jpeg", width, height
        at += 2 + length
    return None


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
