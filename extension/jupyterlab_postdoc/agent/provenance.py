"""What only the journal, the log and the commits know of a study: how it was asked for, who worked on it, with what.

The files of a repository may be written by the agent that is described there; these may not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import msgspec

from jupyterlab_postdoc.agent.means import Means
from jupyterlab_postdoc.errors import PostdocError
from jupyterlab_postdoc.forge.repository import Revision, StepRecord, Study
from jupyterlab_postdoc.publishing import state
from jupyterlab_postdoc.runs import RunContext
from jupyterlab_postdoc.store.base import Reads, RunRow
from jupyterlab_postdoc.templates import Template, TemplateRegistry
from jupyterlab_postdoc.tools.project import Project
from jupyterlab_postdoc.workspace.git import Commit

MODEL, PERSONA = "Research-Model", "Research-Persona"
"""Trailers of the commits of a run in which a model worked."""
MAX_COMMITS = 10_000
MAX_EVENTS = 100_000


def marks(means: Means) -> dict[str, str]:
    """The trailers that say which model changed something, as which persona."""
    return {MODEL: means.model or "unknown", PERSONA: means.persona.name} if means.speaks else {}


async def known_study(store: Reads, templates: TemplateRegistry, run: str, name: str) -> Study | None:
    """The study as the run that made it has journalled it. None when that run is gone."""
    made = await store.get_run(run)
    if made is None or made.kind != "research":
        return None
    steps = await store.steps(run)
    kept = steps.get("study")
    if kept is not None and kept.status == "done":
        study = msgspec.convert(kept.result, Study)
        told = steps.get("prompts")
        if told is not None and told.status == "done":
            study = replace(study, prompts=dict(told.result))
        return await _at_home(store, study)
    chosen = steps.get("template")
    asked = _as_asked(made, name, str(chosen.result) if chosen is not None else "unknown", templates)
    return await _at_home(store, asked)


async def _at_home(store: Reads, study: Study) -> Study:
    """The study with the address that it has got since it was made, if it was published."""
    body = state.load(await store.get_publication(study.session))
    return study if study.home or not body.web_url else replace(study, home=body.web_url, branch=body.branch)


async def newest_study(store: Reads, session: str) -> Study | None:
    """The study that this session has begun last in its work tree of somebody's repository."""
    runs = [run for run in await store.list_runs(session) if run.kind == "research"]
    for run in sorted(runs, key=lambda run: run.created_at, reverse=True):
        steps = await store.steps(run.id)
        kept = steps.get("study")
        if kept is not None and kept.status == "done" and "start" in steps:
            return msgspec.convert(kept.result, Study)
    return None


def _as_asked(made: RunRow, name: str, chosen: str, templates: TemplateRegistry) -> Study:
    """The study of a Postdoc that journalled none: then only templates' scripts made studies."""
    template: Template | None
    try:
        template = templates.get(chosen)
    except PostdocError:
        template = None
    return Study(
        topic=str(made.input["topic"]),
        title=template.title if template else "",
        repo_name=name,
        template=chosen,
        template_version=template.version if template else "unknown",
        provider="template",
        session=made.session,
        run=made.id,
        author=str(made.input.get("author") or ""),
        created=made.created_at,
        parameters=dict(made.input.get("params") or {}),
        requires=template.requires if template else (),
        plan=template.plan if template else (),
        references=template.references if template else (),
    )


async def read_commits(project: Project) -> None:
    """Fill in the project's steps and revisions from its commits; those of the run at work are not a revision yet."""
    found = await project.git.log(project.root, limit=MAX_COMMITS)
    project.study, steps = recorded(project.study, found, project.run)
    project.steps += steps


def recorded(study: Study, commits: Sequence[Commit], at_work: str = "") -> tuple[Study, list[StepRecord]]:
    """The study with its revisions, and its steps, as its commits (newest first) tell them."""
    steps: list[StepRecord] = []
    revisions: dict[str, Revision] = {}
    for commit in reversed(commits):
        run = commit.trailers.get("Research-Run")
        if commit.trailers.get("Research-Session") not in (study.session, *study.origins) or run is None:
            continue
        later = None if run == study.run else run
        steps.append(StepRecord(commit.trailers.get("Research-Step", ""), commit.subject, commit.sha, later))
        if later is not None and later != at_work and (model := commit.trailers.get(MODEL)):
            revisions[later] = Revision(later, model, commit.trailers.get(PERSONA, ""), float(commit.time))
    return replace(study, revisions=tuple(revisions.values())), steps


async def learned(ctx: RunContext, means: Means, study: Study, now: float) -> Study:
    """The study with what this run has added: its revision; for a model's study its last plan and its template."""
    if not means.speaks:
        return study
    if study.run != ctx.run.id:
        mine = Revision(ctx.run.id, means.model or "unknown", means.persona.name, now)
        study = replace(study, revisions=(*(other for other in study.revisions if other.run != mine.run), mine))
    if not study.by_model:
        return study
    types = ["plan", "tool_result"]
    for event in await ctx.log.store.read_events(ctx.session, finals=True, types=types, limit=MAX_EVENTS):
        body = event.body()
        if event.type == "plan" and body.get("runId") == study.run:
            study = replace(study, plan=[str(item.get("text", "")) for item in body.get("items") or []])
        elif body.get("toolName") == "use_template" and body.get("ok"):
            used = body.get("data") or {}
            study = replace(study, template=str(used.get("template")), template_version=str(used.get("version")))
    return study
