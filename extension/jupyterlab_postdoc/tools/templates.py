"""Tools by which a model begins with a tested template instead of an empty notebook."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta

from jupyterlab_postdoc.errors import PostdocError
from jupyterlab_postdoc.forge.text import moment, one_line
from jupyterlab_postdoc.notebooks.compare import digest
from jupyterlab_postdoc.protocol import Artifact
from jupyterlab_postdoc.providers.base import ToolOutcome
from jupyterlab_postdoc.templates import Template, TemplateRegistry
from jupyterlab_postdoc.templates.parameters import allowed
from jupyterlab_postdoc.tools.base import ToolContext, tool

SYNTHETIC = ("synthetic", "synthetic-null")
UNTOUCHED = "No language model wrote or chose any of the numbers."
TOUCHED = "A language model began with this template and may have changed it."
NOTEBOOK = "notebook.py"


@tool(risk="read", title="Looking at the research templates", needs_project=False)
async def list_templates(
    ctx: ToolContext,
    topic: Annotated[str, Meta(max_length=4000, description="Also says which templates fit this topic")] = "",
) -> ToolOutcome:
    """List the tested research templates with their parameters. A study that begins with one succeeds more often."""
    registry = _registry(ctx)
    templates = registry.list()
    parts = [_described(template) for template in templates]
    fitting = [template.name for template in registry.candidates(topic)] if topic else []
    if topic:
        parts.insert(0, f"Fitting by its keywords: {', '.join(fitting) or 'none'}.")
    names = [template.name for template in templates]
    return ToolOutcome(True, "\n\n".join(parts) or "There are no templates.", {"templates": names, "fitting": fitting})


async def _already_used(ctx: ToolContext, given: dict[str, Any]) -> ToolOutcome | None:
    """After a crash: the edit is atomic, so it was made when the notebook holds exactly the template's cells."""
    template, parameters = _chosen(ctx, given["name"], given["parameters"])
    puts = _puts(ctx, template, parameters)
    wanted = [(change["name"], change["code"].strip()) for change in puts]
    found = [(cell.name, cell.code.strip()) for cell in await ctx.project.notebook.cells(seen=False)]
    return _outcome(template, parameters, puts, []) if found == wanted else None


@tool(
    risk="write",
    title=lambda given: f"Beginning with the template {one_line(str(given.get('name') or ''), 60)}",
    reconcile=_already_used,
)
async def use_template(
    ctx: ToolContext,
    name: Annotated[str, Meta(min_length=1, max_length=200, description="As list_templates names it")],
    parameters: Annotated[
        dict[str, Any] | None, Meta(description="Those that differ from the defaults; `data` may be data/<file>")
    ] = None,
    replace: Annotated[bool, Meta(description="Delete the cells that are there now")] = False,
) -> ToolOutcome:
    """Fill the notebook with all cells of a template, in one edit. The project's topic goes in as data.

    Change the cells afterwards with nb_edit. Makes the notebook if there is none.
    """
    template, checked = _chosen(ctx, name, parameters)
    project = ctx.project
    new = not (project.root / NOTEBOOK).exists()
    await project.notebook.create(NOTEBOOK, title=one_line(project.study.topic))
    cells = await project.notebook.cells()
    there = [cell.name for cell in cells if cell.code.strip()]
    if there and not replace:
        raise PostdocError(
            "tool_failed",
            f"The notebook has {len(there)} cells already ({', '.join(there[:8])}{', …' if len(there) > 8 else ''}).",
            next="Change them with nb_edit, or set replace to delete them all and begin with the template.",
        )
    deletes = [{"op": "delete", "name": cell.name} for cell in cells]
    written = _puts(ctx, template, checked)
    result = await project.notebook.edit([*deletes, *written])
    if new:
        path = project.public(NOTEBOOK)
        await ctx.emit(Artifact(artifact="notebook", path=path, title=project.study.topic[:300], provider=ctx.provider))
    return _outcome(template, checked, written, [issue.message for issue in result.issues])


def _registry(ctx: ToolContext) -> TemplateRegistry:
    if ctx.resources.templates is None:
        raise PostdocError("tool_failed", "There are no templates on this server.", next="Write the notebook anew.")
    return ctx.resources.templates


def _chosen(ctx: ToolContext, name: str, given: dict[str, Any] | None) -> tuple[Template, dict[str, object]]:
    """The template and its complete parameters; a data file must lie in the project."""
    template = _registry(ctx).get(name)
    parameters = template.validate_parameters(given or {})
    data = parameters.get("data")
    if isinstance(data, str) and data not in SYNTHETIC:
        path = ctx.project.workspace.resolve(data)
        if not path.is_file():
            raise PostdocError(
                "tool_failed",
                f"There is no data file {one_line(data)!r} in the project.",
                next='Give a path such as data/<file>, or "synthetic".',
            )
        parameters["data"] = ctx.project.workspace.relative(path)
    return template, parameters


def _puts(ctx: ToolContext, template: Template, parameters: dict[str, object]) -> list[dict[str, Any]]:
    study = ctx.project.study
    about = {"session": study.session, "repository": study.repo_name, "created": moment(study.created)[:10]}
    cells = template.cells(topic=study.topic, parameters=parameters, study=about)
    return [
        {
            "op": "put",
            "name": cell.name,
            # In a model's study the template's own word about how it was made would be untrue.
            "code": cell.code if cell.name == "study" else cell.code.replace(UNTOUCHED, TOUCHED),
            "hide_code": cell.hide_code,
        }
        for cell in cells
    ]


def _outcome(
    template: Template, parameters: dict[str, object], puts: list[dict[str, Any]], findings: list[str]
) -> ToolOutcome:
    names = [cell.name for cell in template.sources]
    lines = [
        f"The notebook now holds {len(names)} cells of the template {template.name} {template.version}: "
        f"{', '.join(names)}.",
        f"Parameters: {', '.join(f'{key}={value!r}' for key, value in parameters.items())}.",
        *findings,
        "Next: look whether question, method and claim are those of this topic (nb_cells), change what is not, "
        "check, run.",
    ]
    data = {
        "template": template.name,
        "version": template.version,
        "parameters": parameters,
        "cells": names,
        "written": {put["name"]: digest(put["code"]) for put in puts},
    }
    return ToolOutcome(True, "\n".join(lines), data)


def _described(template: Template) -> str:
    lines = [f"{template.name} ({template.version}): {template.title}. {one_line(template.summary, 500)}"]
    for name, schema in template.parameters.get("properties", {}).items():
        lines.append(
            f"  {name}: {allowed(schema)}; default {schema.get('default')!r}. "
            f"{one_line(str(schema.get('description', '')), 300)}"
        )
    return "\n".join(lines)
