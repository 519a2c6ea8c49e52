"""Tools that write, check and run the marimo notebook of the project."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from jupyterlab_postdoc.errors import PostdocError
from jupyterlab_postdoc.notebooks.base import CellEvent, CellState, Issue, Output, RunReport
from jupyterlab_postdoc.notebooks.compare import digest
from jupyterlab_postdoc.protocol import Artifact, Cell, ImageRef
from jupyterlab_postdoc.providers.base import ToolOutcome
from jupyterlab_postdoc.tools import packages
from jupyterlab_postdoc.tools.base import ToolContext, tool

OUTPUT_TEXT = 2_000
OUTPUT_DATA = 4_000
ROWS, COLUMNS, FIELD = 20, 12, 80
PICTURES = 8
COUNTS = {"nRows": "n_rows", "nColumns": "n_columns"}
SHOWN = 24
"""Pictures of one run that people see."""
TITLE = 300
UNDEFINED = "PD001"
"""The check's word for a name that no cell defines (notebooks/worker/check.py)."""


class Put(msgspec.Struct, tag_field="op", tag="put", forbid_unknown_fields=True):
    """Make or replace the cell of this name. ``code`` is the body alone: no decorator, no ``return``."""

    name: str
    code: str
    hide_code: bool | None = None
    after: str | None = None


class Delete(msgspec.Struct, tag_field="op", tag="delete", forbid_unknown_fields=True):
    """Remove a cell."""

    name: str


class Move(msgspec.Struct, tag_field="op", tag="move", forbid_unknown_fields=True):
    """Put a cell behind another one (``after`` null: to the top)."""

    name: str
    after: str | None


Change = Put | Delete | Move


@tool(risk="write", title=lambda given: f"Creating the notebook {given.get('path', 'notebook.py')}")
async def nb_create(
    ctx: ToolContext,
    title: Annotated[str, Meta(min_length=1, description="One line; a longer one is cut")],
    path: Literal["notebook.py"] = "notebook.py",
) -> ToolOutcome:
    """Create the project's marimo notebook. An existing one is kept as it is."""
    title = " ".join(title.split())[:TITLE]
    await ctx.project.notebook.create(path, title=title)
    await ctx.emit(Artifact(artifact="notebook", path=ctx.project.public(path), title=title, provider=ctx.provider))
    return ToolOutcome(True, f"{path} is ready.", {"path": path})


@tool(risk="read", title=lambda given: _cells_title(given.get("names")))
async def nb_cells(
    ctx: ToolContext,
    names: Annotated[
        list[str] | None, Meta(description="Only these cells, with outputs and pictures of the last run")
    ] = None,
) -> ToolOutcome:
    """List the cells with their code, and what became of each in the last run."""
    cells = await ctx.project.notebook.cells()
    if names is None:
        text = "\n\n".join(f"# {cell.name} [{cell.status}]\n{cell.code}" for cell in cells)
        return ToolOutcome(True, text or "The notebook has no cells yet.", {"cells": [cell.name for cell in cells]})
    unknown = [name for name in names if all(cell.name != name for cell in cells)]
    if unknown:
        raise PostdocError(
            "not_found",
            f"There is no cell {', '.join(unknown)}.",
            next=f"The cells are: {', '.join(cell.name for cell in cells) or 'none yet'}.",
        )
    chosen = [cell for cell in cells if cell.name in names]
    images, seen = await _pictures(ctx, [cell.name for cell in chosen])
    text = "\n\n".join([_whole(cell) for cell in chosen] + ([seen] if seen else []))
    return ToolOutcome(True, text, {"cells": [cell.name for cell in chosen]}, images=images)


def _whole(cell: CellState) -> str:
    """A cell with its outputs and its error, as text."""
    parts = [f"# {cell.name} [{cell.status}]\n{cell.code}"]
    parts += [f"## output ({output.kind})\n{output.text}" for output in cell.outputs if output.text]
    if cell.error:
        parts.append(f"## error\n{error_text(cell)}\n{cell.error.traceback}".rstrip())
    return "\n".join(parts)


async def _pictures(ctx: ToolContext, names: Sequence[str]) -> tuple[list[ImageRef], str]:
    """What cells drew, for a model that can see, and a line that says so. A script sees nothing: then none are made."""
    if ctx.provider == "template" or not names:
        return [], ""
    images, problem = await _draw(ctx, names)
    return images, problem or _order(images)


async def _draw(ctx: ToolContext, names: Sequence[str], most: int = PICTURES) -> tuple[list[ImageRef], str]:
    """What cells drew, kept as blobs, in their order; and why there is none."""
    images: list[ImageRef] = []
    left = list(names)
    try:
        while left and len(images) < most:
            found = await ctx.project.notebook.pictures(left)
            images += [await ctx.image(picture.png, picture.cell) for picture in found]
            last = found[-1].cell if found else ""
            left = left[left.index(last) + 1 :] if last in left else []
    except PostdocError as e:
        return [], f"The pictures could not be drawn: {e.message}"
    return images[:most], ""


def _order(images: Sequence[ImageRef]) -> str:
    return f"Pictures, in this order: {', '.join(image.title for image in images)}." if images else ""


async def _edit_done(ctx: ToolContext, given: dict[str, Any]) -> ToolOutcome | None:
    """After a crash: an edit is atomic, so it was made when all its cells are as asked."""
    changes = msgspec.convert(given["changes"], list[Change])
    cells = {cell.name: cell.code.strip() for cell in await ctx.project.notebook.cells(seen=False)}
    for change in changes:
        if isinstance(change, Put) and cells.get(change.name) != change.code.strip():
            return None
        if isinstance(change, Move) or (isinstance(change, Delete) and change.name in cells):
            return None
    if packages.lacking_after_edit(ctx.project, await ctx.project.notebook.check()):
        return None  # it stopped at the question whether they may be installed
    data = {
        "cells": list(cells),
        "written": {change.name: digest(change.code) for change in changes if isinstance(change, Put)},
        "deleted": [change.name for change in changes if isinstance(change, Delete)],
    }
    return ToolOutcome(True, "The cells are as asked.", data)


@tool(risk="write", title=lambda given: _edit_title(given.get("changes") or []), reconcile=_edit_done)
async def nb_edit(
    ctx: ToolContext,
    changes: Annotated[list[Change], Meta(min_length=1, max_length=200, description="Made all together or not at all")],
) -> ToolOutcome:
    """Change cells, addressed by name: put (make or replace), delete, move. Answers what the check found.

    While the notebook is open in a live page, the changed cells and what depends on them also run at once, and the
    answer says what came of them.
    """
    plain = [_without_unset(msgspec.to_builtins(change)) for change in changes]
    try:
        made = await ctx.project.notebook.edit(plain)
    except PostdocError as e:
        raise _with_theirs(e) from e
    result, supplied = await packages.after_edit(ctx, made)
    findings = [_issue(issue) for issue in result.issues]
    text = f"Changed: {', '.join(result.changed) or 'nothing'}."
    if result.deleted:
        text += f" Deleted: {', '.join(result.deleted)}."
    if supplied:
        text += f"\n{supplied}"
    if findings:
        text += "\nThe check found:\n" + "\n".join(findings)
    data: dict[str, Any] = {"changed": list(result.changed), "issues": findings, "written": dict(made.written)}
    if result.deleted:
        data["deleted"] = list(result.deleted)
    written = {change.name for change in changes if isinstance(change, Put)}
    cells = [name for name in result.changed if name in written]
    if not ctx.project.notebook.live or not cells:
        return ToolOutcome(True, text, data)
    try:
        ran = await _run(ctx, cells=cells, ready=True)
    except PostdocError as e:  # the edit was made all the same
        return ToolOutcome(True, f"{text}\nThe changed cells did not run: {e.message} {e.next}".rstrip(), data)
    lacking = sorted({issue.cell for issue in result.issues if issue.code == UNDEFINED and issue.cell})
    if lacking:
        text += f"\nNot run until some cell defines what they read: {', '.join(lacking)}, and what depends on them."
    rest = "Results, figure files and the report are as the last nb_run of the whole notebook left them."
    return ToolOutcome(True, f"{text}\n{ran.content}\n{rest}", {**data, "ran": ran.data}, images=ran.images)


def _with_theirs(error: PostdocError) -> PostdocError:
    """A conflict shows the text that stands in the notebook, so that its reader has seen it."""
    theirs = error.details.get("theirs")
    if error.code != "version_conflict" or not isinstance(theirs, str):
        return error
    return PostdocError(
        error.code, error.message, next=f"{error.next}\n\n# {error.details.get('cell')}\n{theirs}", **error.details
    )


@tool(risk="read", title="Checking the notebook")
async def nb_check(ctx: ToolContext) -> ToolOutcome:
    """Check the notebook without running it: syntax, marimo's rules, undefined names."""
    issues = await ctx.project.notebook.check()
    errors = [issue for issue in issues if issue.severity == "error"]
    text = "\n".join(_issue(issue) for issue in issues) or "No problems found."
    return ToolOutcome(not errors, text, {"issues": [_issue(issue) for issue in issues], "errors": len(errors)})


@tool(risk="execute", title="Running the notebook")
async def nb_run(
    ctx: ToolContext,
    args: Annotated[
        list[str] | None, Meta(description="Command-line arguments for mo.cli_args(), e.g. --seed 1")
    ] = None,
    cells: Annotated[
        list[str] | None,
        Meta(description="Only these cells and what depends on them; works while a live page is open"),
    ] = None,
) -> ToolOutcome:
    """Run the whole notebook. Answers per-cell results and errors; writes results.json, figures and the report.

    Shows the pictures that changed since the last run; nb_cells shows those of the cells that you name.
    """
    if cells and not ctx.project.notebook.live:
        whole = await _run(ctx, args=args or [])
        content = f"No live page is open, so the whole notebook ran. {whole.content}"
        return msgspec.structs.replace(whole, content=content)
    return await _run(ctx, args=args or [], cells=cells)


async def _run(
    ctx: ToolContext, *, args: Sequence[str] = (), cells: Sequence[str] | None = None, ready: bool = False
) -> ToolOutcome:
    """Run the notebook, or some of its cells in the live one, and tell cell by cell what happens."""
    project = ctx.project
    last: dict[str, CellEvent] = {}

    async def on_cell(event: CellEvent) -> None:
        if event.waits:
            await ctx.status(event.sentence, None)
        if event.status == "running":
            await ctx.status(event.sentence, (event.index - 1) / max(event.total, 1))
        if event.status in ("ok", "error", "skipped"):
            last[event.cell] = event
            await ctx.emit(_cell_body(ctx, event))

    async def run() -> RunReport:
        return await project.notebook.run(
            on_cell, args=args, timeout_s=project.notebook_timeout_s, cells=cells, ready=ready
        )

    report, supplied = await packages.after_run(ctx, await run(), run)
    if "reports/report.html" in report.files:
        path = project.public("reports/report.html")
        await ctx.emit(Artifact(artifact="report", path=path, provider=ctx.provider))
    drawn, problem = await _draw(ctx, report.redrawn, SHOWN)
    await _show(ctx, report, last, drawn)
    images = [] if ctx.provider == "template" else drawn[:PICTURES]
    seen = problem if ctx.provider != "template" and problem else _order(images)
    parts = (run_text(report), supplied, seen, _unseen(ctx, report, images))
    text = "\n".join(part for part in parts if part)
    return ToolOutcome(report.ok and report.verdict_error is None, text, run_data(report), images=images)


async def _show(ctx: ToolContext, report: RunReport, last: Mapping[str, CellEvent], drawn: Sequence[ImageRef]) -> None:
    """Say once more what became of the cells that drew something, now with their pictures."""
    project = ctx.project
    kept = {name: images for name, images in project.drawn.items() if name not in report.redrawn}
    project.drawn = {}
    for name in report.pictured:
        if images := [image for image in drawn if image.title == name] or kept.get(name, []):
            project.drawn[name] = images
    shown = [_cell_body(ctx, last[name], images) for name, images in project.drawn.items() if name in last]
    if shown:
        await ctx.emit(*shown)


def _unseen(ctx: ToolContext, report: RunReport, images: Sequence[ImageRef]) -> str:
    """A line about the pictures that are not shown with this answer."""
    if ctx.provider == "template":
        return ""
    shown = {image.title for image in images}
    same = [name for name in report.pictured if name not in report.redrawn]
    left = [name for name in report.redrawn if name not in shown]
    lines = [f"Pictures as in the last run: {', '.join(same)}."] if same else []
    lines += (
        [f"Pictures not shown: {', '.join(left)}; nb_cells shows those of the cells that you name."] if left else []
    )
    return "\n".join(lines)


def run_text(report: RunReport) -> str:
    """The report of a run as a model reads it: errors first, then every cell in a line, then the verdict."""
    lines = [report.message]
    if report.verdict_error:
        lines.append(report.verdict_error)
    for cell in report.cells:
        line = f"- {cell.name}: {cell.status}"
        if cell.duration_ms is not None:
            line += f" ({cell.duration_ms} ms)"
        if cell.error:
            line += f": {error_text(cell)}"
        lines.append(line)
        lines += [f"    {output.text[:500]}" for output in cell.outputs if output.text and output.kind == "text"]
    if report.verdict is not None:
        lines.append("verdict = " + msgspec.json.encode(report.verdict).decode())
    return "\n".join(lines)


def run_data(report: RunReport) -> dict[str, Any]:
    """The report of a run as data, small enough for an event."""
    return {
        "end": report.end,
        "failed": list(report.failed),
        "skipped": list(report.skipped),
        "errors": {cell.name: error_text(cell) for cell in report.cells if cell.error},
        "verdict": dict(report.verdict) if report.verdict is not None else None,
        "figures": list(report.figures),
        "cells": len(report.cells),
        "duration_s": round(report.duration_s, 3),
    }


def error_text(cell: CellState) -> str:
    """One sentence: what went wrong in the cell. A ValueError of the template is a sentence already."""
    assert cell.error is not None
    if cell.error.name == "ValueError":
        return cell.error.message
    where = f" (line {cell.error.line})" if cell.error.line else ""
    return f"{cell.error.name}: {cell.error.message}{where}"


def _cell_body(ctx: ToolContext, event: CellEvent, images: Sequence[ImageRef] = ()) -> Cell:
    fields: dict[str, Any] = {}
    items = [_output(ctx, output) for output in event.outputs]
    left = [{"blob": image.blob, "mediaType": image.mediaType} for image in images]
    for item in items:
        if left and item["kind"] in ("image", "chart"):
            item |= left.pop(0)
            if item["kind"] == "image":
                item.pop("text", None)
    items += [{"kind": "image", **picture} for picture in left]
    if items:
        fields["output"] = {"items": items}
    if event.error is not None:
        fields["error"] = f"{event.error.name}: {event.error.message}"
    if event.duration_ms is not None:
        fields["duration_ms"] = event.duration_ms
    notebook = ctx.project.public(ctx.project.notebook.path)
    return Cell(notebook=notebook, cell=event.cell, status=event.status, provider=ctx.provider, **fields)


def _output(ctx: ToolContext, output: Output) -> dict[str, Any]:
    shown: dict[str, Any] = {"kind": output.kind}
    if output.text:
        shown["text"] = output.text[:OUTPUT_TEXT]
    if output.kind == "table" and isinstance(output.data, dict):
        shown |= _table(output.data)
    elif output.data is not None and len(msgspec.json.encode(output.data)) <= OUTPUT_DATA:
        shown["data"] = output.data
    if output.path:
        shown["path"] = ctx.project.public(output.path)
    return shown


def _table(data: Mapping[str, Any]) -> dict[str, Any]:
    """The head of a table as texts."""
    columns, rows = data.get("columns"), data.get("rows")
    if not isinstance(columns, list) or not isinstance(rows, list):
        return {}
    table = [columns, *(row for row in rows if isinstance(row, list))][: ROWS + 1]
    head, *body = [["" if value is None else str(value)[:FIELD] for value in row[:COLUMNS]] for row in table]
    counts = {name: data[key] for name, key in COUNTS.items() if isinstance(data.get(key), int)}
    return {"columns": head, "rows": body, **counts}


def _issue(issue: Issue) -> str:
    place = f"{issue.cell}, line {issue.line}" if issue.cell and issue.line else issue.cell or "notebook"
    return f"[{issue.severity}] {place}: {issue.message}"


def _without_unset(change: dict[str, Any]) -> dict[str, Any]:
    """A put without ``after`` or ``hide_code`` leaves place and folding as they are; a move keeps its null."""
    if change["op"] != "put":
        return change
    return {name: value for name, value in change.items() if value is not None}


def _cells_title(names: Any) -> str:
    if not isinstance(names, list) or not names:
        return "Looking at the notebook's cells"
    return f"Looking at cells: {', '.join(map(str, names[:4]))}" + (" and more" if len(names) > 4 else "")


def _edit_title(changes: list[Any]) -> str:
    names = [str(change.get("name")) for change in changes if isinstance(change, dict)]
    shown = ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
    return f"Editing cells: {shown}" if names else "Editing the notebook"
