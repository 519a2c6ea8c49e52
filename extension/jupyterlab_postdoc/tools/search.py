"""Tools that find files and lines of the project. The searching itself is done by look.py, in the sandbox."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

from msgspec import Meta

from jupyterlab_postdoc.errors import PostdocError
from jupyterlab_postdoc.providers.base import ToolOutcome
from jupyterlab_postdoc.tools.base import ToolContext, tool

PROGRAM = Path(__file__).with_name("look.py")
SECONDS = 5.0

FilePattern = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=500,
        description="Path pattern relative to the project, e.g. data/*.csv or **/*.py (** is any number of folders)",
    ),
]


@tool(risk="read", title=lambda given: f"Looking for files: {given.get('pattern', '')}")
async def glob(
    ctx: ToolContext,
    pattern: FilePattern,
    limit: Annotated[int, Meta(ge=1, le=1000, description="Number of files")] = 200,
) -> ToolOutcome:
    """Find files of the project by name, the one changed last first. Links, .git, .venv and caches are left out."""
    answer = await _look(ctx, {"op": "glob", "pattern": _inside(pattern), "limit": limit})
    files = [(str(path), int(size)) for path, size in answer.get("files", [])]
    lines = [f"{path}  ({size:,} bytes)" for path, size in files]
    if (more := answer["total"] - len(files)) > 0:
        lines.append(f"… {more} more files; use a narrower pattern.")
    if answer["timeout"]:
        lines.append(f"The search was ended after {SECONDS:g} s. Use a pattern that begins with a folder.")
    lines += [f"Note: {answer['cut']}."] if answer.get("cut") else []
    found = [path for path, _ in files]
    return ToolOutcome(True, "\n".join(lines) or "No file fits.", {"files": found, "total": answer["total"]})


@tool(risk="read", title=lambda given: f"Searching for {str(given.get('pattern', ''))[:60]}")
async def grep(
    ctx: ToolContext,
    pattern: Annotated[str, Meta(min_length=1, max_length=1000, description="Python regular expression, line by line")],
    files: FilePattern = "**",
    context: Annotated[int, Meta(ge=0, le=10, description="Lines to show before and after each match")] = 0,
    limit: Annotated[int, Meta(ge=1, le=500, description="Number of matches to show")] = 100,
    ignore_case: bool = False,
) -> ToolOutcome:
    """Search the text files of the project for a regular expression. Binary files, links and .git are left out."""
    given = {"op": "grep", "pattern": pattern, "files": _inside(files), "context": context, "limit": limit}
    answer = await _look(ctx, {**given, "ignore_case": ignore_case})
    if answer.get("problem"):
        raise PostdocError(
            "tool_failed",
            f"The pattern is not a valid regular expression: {answer['problem']}.",
            next="Put a backslash before characters that are meant literally.",
        )
    hits = answer.get("hits", [])
    lines = [_hit(hit, context) for hit in hits]
    if (more := answer["total"] - len(hits)) > 0:
        lines.append(f"… {more} more matching lines; use a narrower pattern or fewer files.")
    if not hits:
        lines.append(f"No match in {answer['searched']} text file(s).")
    if answer["partly"]:
        lines.append(f"Only the first 20 MB were searched of: {', '.join(answer['partly'])}.")
    if answer["timeout"]:
        lines.append(f"The search was ended after {SECONDS:g} s, so there may be more. Use a simpler pattern.")
    lines += [f"Note: {answer['cut']}."] if answer.get("cut") else []
    data = {"matches": answer["total"], "files": sorted({hit["path"] for hit in hits}), "timeout": answer["timeout"]}
    return ToolOutcome(True, "\n".join(lines), data)


def _hit(hit: dict[str, Any], context: int) -> str:
    """``path:line: text``, as other programs write it; with context, a block whose other lines are marked by ``-``."""
    path, line = hit["path"], hit["line"]
    if not context:
        return f"{path}:{line}: {hit['text']}"
    before = [f"{path}-{line - len(hit['before']) + number}- {text}" for number, text in enumerate(hit["before"])]
    after = [f"{path}-{line + 1 + number}- {text}" for number, text in enumerate(hit["after"])]
    return "\n".join([*before, f"{path}:{line}: {hit['text']}", *after, "--"])


def _inside(pattern: str) -> str:
    """The pattern without ``./``; PostdocError("forbidden") when it leads out of the project."""
    parts = pattern.split("/")
    if pattern.startswith("/") or ".." in parts or "\0" in pattern:
        raise PostdocError(
            "forbidden",
            f"The pattern {pattern[:200]!r} leads out of the research folder.",
            next="Give a pattern relative to the project, without '..'.",
        )
    return "/".join(part for part in parts if part not in ("", ".")) or "**"


async def _look(ctx: ToolContext, order: dict[str, Any]) -> dict[str, Any]:
    argv = [sys.executable, "-I", "-S", str(PROGRAM), json.dumps({**order, "seconds": SECONDS})]
    done = await ctx.project.workspace.execute(argv, timeout=SECONDS + 5)
    try:
        answer = json.loads(done.stdout.strip().splitlines()[-1])
    except (ValueError, IndexError):
        answer = None
    if not isinstance(answer, dict):
        why = "it took too long" if done.timed_out else f"exit code {done.returncode}"
        raise PostdocError("tool_failed", f"The search did not come to its end ({why}).", next="Use a simpler pattern.")
    return answer
