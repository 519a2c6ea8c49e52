"""A research run from topic to repository: choose the template, prepare the project, converse, complete, publish."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from jupyterlab_postdoc.agent.agent import Agent, ask_user, commit_events
from jupyterlab_postdoc.agent.limits import Limits
from jupyterlab_postdoc.agent.loop import Ending, converse
from jupyterlab_postdoc.agent.personas import Persona
from jupyterlab_postdoc.errors import HTTP_STATUS, PostdocError
from jupyterlab_postdoc.forge import datasets, names, repository
from jupyterlab_postdoc.forge.base import Forge
from jupyterlab_postdoc.notebooks.base import NotebookRuntime
from jupyterlab_postdoc.protocol import AgentStatus, Artifact
from jupyterlab_postdoc.providers.base import Provider, ToolOutcome, Turn
from jupyterlab_postdoc.runs import RunContext
from jupyterlab_postdoc.store.base import Tx
from jupyterlab_postdoc.templates import Template, TemplateRegistry
from jupyterlab_postdoc.tools.base import ToolBox
from jupyterlab_postdoc.tools.project import REPORT, Project
from jupyterlab_postdoc.workspace import sandbox
from jupyterlab_postdoc.workspace.git import Git
from jupyterlab_postdoc.workspace.processes import Limits as ProcessLimits
from jupyterlab_postdoc.workspace.workspace import Workspace

SYNTHETIC = ("synthetic", "synthetic-null")
BUDGETS = ("max_turns", "budget")


@dataclass(frozen=True)
class Lab:
    """Everything a research run works with that is not of the run itself."""

    root_dir: Path
    research_dir: str
    templates: TemplateRegistry
    tools: ToolBox
    git: Git
    forge: Forge
    make_notebook: Callable[[Workspace], NotebookRuntime]
    allow_unsandboxed: bool = False
    process_limits: ProcessLimits | None = None
    notebook_timeout_s: float = 600.0
    max_turns: int = 40
    max_minutes: float = 60.0

    @property
    def queue(self) -> str:
        """The queue of this root directory: a run's files lie below it, so no server with another root may take it."""
        return f"root:{hashlib.sha256(str(self.root_dir.resolve()).encode()).hexdigest()[:16]}"


@dataclass(frozen=True)
class Outcome:
    """What a research run came to. ``code`` and ``hint`` say why it failed, when it did."""

    success: bool
    stop_reason: str
    summary: str
    verdict: dict[str, Any] | None
    artifacts: dict[str, str]
    code: str = ""
    hint: str = ""


class ResearchRun:
    """One execution of a research run. Every part of it is a journalled step, so it may begin again at any time."""

    def __init__(self, ctx: RunContext, lab: Lab, provider: Provider, persona: Persona, model: str | None) -> None:
        self.ctx = ctx
        self.lab = lab
        self.provider = provider
        self.persona = persona
        self.model = model
        self.project: Project | None = None
        ctx.provider = provider.id

    async def execute(self) -> Outcome:
        """Do the research. Raises Paused, Stopped and Yielded; a failure that a person should read is an Outcome."""
        given = self.ctx.run.input
        await self.ctx.emit(AgentStatus(message="Preparing the research project", phase="prepare"))
        template = await self._template(given)
        parameters = template.validate_parameters(given.get("params") or {})
        try:
            project = await self._prepare(given, template, parameters)
            return await self._work(project, template, parameters, given)
        finally:
            if self.project is not None:
                await self.project.notebook.close()

    # --- which template ---

    async def _template(self, given: Mapping[str, Any]) -> Template:
        templates = self.lab.templates

        async def choose() -> str | None:
            if given.get("template"):
                return templates.get(str(given["template"])).name
            found = templates.match(str(given["topic"]))
            return found.name if found else None

        name = await self.ctx.step("template", choose)
        attempt = 0
        while name is None:
            name = await self._ask_for_template(str(given["topic"]), attempt)
            attempt += 1
        return templates.get(name)

    async def _ask_for_template(self, topic: str, attempt: int) -> str | None:
        known = [template.name for template in self.lab.templates.list()]
        found = self.lab.templates.candidates(topic)
        why = "Several research templates fit" if found else "No research template fits"
        again = "That is not the name of a template. " if attempt else ""
        question = f"{again}{why} the topic “{topic[:200]}”. Which one shall be used?"
        answer = await ask_user(self.ctx, f"template-{attempt}", question, known)
        return answer.strip() if answer.strip() in known else None

    # --- the project ---

    async def _prepare(self, given: Mapping[str, Any], template: Template, parameters: dict[str, Any]) -> Project:
        status = await sandbox.probe()
        box = sandbox.choose(status, trusted=template.origin == "package", allow_unsandboxed=self.lab.allow_unsandboxed)
        if not box.isolated:
            await self.ctx.step("sandbox-notice", _nothing, record=lambda _: [AgentStatus(message=_notice(status))])
        prepared = await self.ctx.step("workspace", lambda: self._claim(given, parameters))
        root = self._research_root() / prepared["name"]
        self._check_still_there(root)
        workspace = Workspace(root, sandbox=box, limits=self.lab.process_limits)
        parameters |= prepared["parameters"]
        project = Project(
            study=self._study(given, template, parameters, prepared["name"]),
            workspace=workspace,
            notebook=self.lab.make_notebook(workspace),
            git=self.lab.git,
            forge=self.lab.forge,
            public_root=f"{self.lab.research_dir}/{prepared['name']}",
            notebook_timeout_s=self.lab.notebook_timeout_s,
        )
        self.project = project
        await project.notebook.warm(template.requires)  # its process starts up beside the first commit
        await self._first_commit(project)
        return project

    def _research_root(self) -> Path:
        return self.lab.root_dir / self.lab.research_dir

    def _check_still_there(self, root: Path) -> None:
        if names.read_marker(root / ".git").get("run") != self.ctx.run.id:
            raise PostdocError(
                "not_found",
                f"The project's folder {self.lab.research_dir}/{root.name} is gone: it was moved, renamed or deleted.",
                next="Put it back where it was and resume, or start a new study.",
            )

    async def _claim(self, given: Mapping[str, Any], parameters: Mapping[str, Any]) -> dict[str, Any]:
        """A folder of our own with the user's data in it; finds its own folder again after a crash."""
        run = self.ctx.run.id
        root = await names.claim_directory(
            self._research_root(),
            topic=str(given["topic"]),
            repo_name=given.get("repo_name"),
            run_id=run,
            session_id=self.ctx.session,
            taken=lambda name: self.lab.forge.is_taken(name, run=run),
        )
        await self.lab.git.init(root)
        replaced: dict[str, Any] = {}
        if "data" in parameters and parameters["data"] not in SYNTHETIC:
            source = data_file(self.lab.root_dir, str(parameters["data"]))
            entry = await repository.add_dataset(root, source, retrieved=self.ctx.run.created_at)
            replaced["data"] = entry["path"]
        return {"name": root.name, "parameters": replaced}

    def _study(
        self, given: Mapping[str, Any], template: Template, parameters: Mapping[str, Any], name: str
    ) -> repository.Study:
        return repository.Study(
            topic=str(given["topic"]),
            title=template.title,
            repo_name=name,
            template=template.name,
            template_version=template.version,
            provider=self.provider.id,
            session=self.ctx.session,
            run=self.ctx.run.id,
            author=str(given.get("author") or ""),
            created=self.ctx.run.created_at,
            parameters=dict(parameters),
            requires=template.requires,
            plan=template.plan,
            references=template.references,
            model=None if self.provider.id == "template" else self.model,
        )

    async def _first_commit(self, project: Project) -> None:
        async def start() -> str | None:
            await repository.write_skeleton(project.root, project.study)
            return await project.commit("Start the research project", step="start")

        async def look() -> str | None:
            return await project.find_commit("start")

        place = Artifact(artifact="repo", path=project.public_root, title=project.study.repo_name)
        sha = await self.ctx.step(
            "start",
            start,
            reconcile=look,
            record=lambda sha: [place, *commit_events(sha, "Start the research project")],
        )
        project.note("start", "Start the research project", sha)
        await self.ctx.write(self._show_project)

    async def _show_project(self, tx: Tx) -> None:
        """From now on the session's object tells where the project is."""
        row = await tx.get_session(self.ctx.session)
        assert row is not None
        assert self.project is not None
        project = self.project
        shown = {
            "repo": project.study.repo_name,
            "path": project.public_root,
            "notebook": project.public(project.notebook.path),
            "report": project.public(REPORT),
            "commit": None,
        }
        await tx.update_session(row.id, repo=project.study.repo_name, meta={**row.meta, "project": shown})

    # --- the work ---

    async def _work(
        self, project: Project, template: Template, parameters: Mapping[str, Any], given: Mapping[str, Any]
    ) -> Outcome:
        study = project.study
        task = {
            "topic": study.topic,
            "template": template.name,
            "parameters": dict(parameters),
            "repo_name": study.repo_name,
            "study": {"session": study.session, "repository": study.repo_name, "created": _date(study.created)},
        }
        agent = Agent(
            self.ctx,
            self.provider,
            self.lab.tools.only(self.persona.tools),
            task=task,
            limits=Limits.of(given.get("budget"), turns=self.lab.max_turns, minutes=self.lab.max_minutes),
            system=self.persona.system_prompt,
            model=self.model,
            project=project,
        )
        # A single long run of the notebook must not outlast the budget either; one second is left to say so.
        project.notebook_timeout_s = min(project.notebook_timeout_s, agent.limits.seconds_left() + 1)
        ending = await converse(agent)
        if ending.stop_reason in BUDGETS:
            ending = replace(ending, text=agent.limits.sentence(ending.stop_reason))
        return await self._complete(project, ending, _failed_call(agent.turns))

    async def _complete(self, project: Project, ending: Ending, failed: ToolOutcome | None) -> Outcome:
        """README, provenance, last commit, publication; then the outcome in words."""
        success, code, hint = _judge(ending, failed)
        state = repository.Outcome() if success else repository.Outcome("failed", ending.text or ending.stop_reason)
        await self.ctx.emit(AgentStatus(message="Writing the README and publishing", phase="publish"))
        message = "Describe the study" if success else "Describe what was done so far"

        async def describe() -> str | None:
            finished = await self._finished_at()
            await project.describe(finished=finished, outcome=state)
            return await project.commit(message, step="describe")

        await self._step("describe", describe, project, message)
        url, commit = await self._publish(project)
        verdict = project.verdict() if success else None
        artifacts = {**_artifacts(project, commit), "remote": url}
        summary = str((verdict or {}).get("summary") or ending.text or "The run ended without a result.")
        return Outcome(success, ending.stop_reason, summary, verdict, artifacts, code, hint)

    async def keep(self, ending: repository.Outcome) -> dict[str, str] | None:
        """After a stop or a failure: commit what lies there, with a README that says how it ended.

        Returns its artifacts, as the result shows them; None when there is no project yet.
        """
        project = self.project
        if project is None:
            return None
        await project.notebook.close()
        message = "Keep the unfinished work"

        async def commit() -> str | None:
            await project.describe(finished=await self._finished_at(), outcome=ending)
            return await project.commit(message, step=key)

        key = f"kept:{self.ctx.run.attempt}"
        await self._step(key, commit, project, message)
        return _artifacts(project, await project.git.head(project.root))

    async def _step(
        self, key: str, commit: Callable[[], Awaitable[str | None]], project: Project, message: str
    ) -> None:
        async def look() -> str | None:
            return await project.find_commit(key)

        self.ctx.check_lease()
        sha = await self.ctx.step(key, commit, reconcile=look, record=lambda sha: commit_events(sha, message))
        project.note(key, message, sha)

    async def _finished_at(self) -> float:
        """The time of the last step: the same however often the end is written."""
        steps = (await self.ctx.steps()).values()
        return max((step.ended_at or 0.0 for step in steps), default=0.0) or time.time()

    async def _publish(self, project: Project) -> tuple[str, str]:
        async def push() -> list[str]:
            self.ctx.check_lease()
            return list(await project.publish())

        url, commit = await self.ctx.step(
            "publish",
            push,
            record=lambda sent: [
                Artifact(artifact="branch", title="main", path=project.public_root, data={"commit": sent[1]})
            ],
        )
        return url, commit


def _artifacts(project: Project, commit: str | None) -> dict[str, str]:
    """Where everything is: repo, commit, and notebook and report when they are there."""
    found = {"repo": project.public_root} | ({"commit": commit} if commit else {})
    for name, path in (("notebook", project.notebook.path), ("report", REPORT)):
        if (project.root / path).exists():
            found[name] = project.public(path)
    return found


def data_file(root_dir: Path, given: str) -> Path:
    """The user's data file below the server's root directory; raises forbidden, bad_message or too_large."""
    root = root_dir.resolve()
    try:
        path = (root / given).resolve()
        inside = path.is_relative_to(root)
        exists = inside and path.is_file()
    except (OSError, ValueError):
        inside, exists = True, False
    if not inside:
        raise PostdocError(
            "forbidden",
            f"The data file {given[:200]!r} is outside the server's folder.",
            next="Copy it into the folder that the Jupyter server shows, and give the path from there.",
        )
    if not exists:
        raise PostdocError(
            "bad_message",
            f"There is no data file {given[:200]!r} in the server's folder.",
            next="Give the path relative to the folder that the Jupyter server shows.",
        )
    datasets.check(path)
    return path


def _judge(ending: Ending, failed: ToolOutcome | None) -> tuple[bool, str, str]:
    """Success, else the error's code and what to do next."""
    kept = "Everything made so far is kept and committed."
    if ending.finished:
        return True, "", ""
    if ending.stop_reason in BUDGETS:
        return False, "budget_exceeded", f"{kept} Start again with a larger budget."
    code = str(failed.data.get("code", "")) if failed is not None else ""
    return False, code if code in HTTP_STATUS else "notebook_failed", f"{kept} Correct the input and start again."


def _failed_call(turns: Sequence[Turn]) -> ToolOutcome | None:
    """What a failed study failed of: in the last turn in which something went wrong, the first call that did."""
    for turn in reversed(turns):
        for call in turn.calls:
            if call.id in turn.results and not turn.results[call.id].ok:
                return turn.results[call.id]
    return None


async def _nothing() -> None:
    return None


def _notice(status: sandbox.SandboxStatus) -> str:
    allowed = "That is allowed for templates that ship with Postdoc, or by the administrator's setting."
    return f"Running without a sandbox. {status.why} {allowed} {status.install_hint}".strip()


def _date(ts: float) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(ts))
