"""Where a run works: the project is made ready or opened again, and described, committed and published at the end."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from jupyterlab_postdoc.agent import hand, provenance
from jupyterlab_postdoc.agent.acts import ask_user
from jupyterlab_postdoc.agent.agent import commit_events
from jupyterlab_postdoc.agent.checkout import Checkout, Checkouts
from jupyterlab_postdoc.agent.fit import check_fit
from jupyterlab_postdoc.agent.lab import SYNTHETIC, Lab, data_file
from jupyterlab_postdoc.agent.means import Means
from jupyterlab_postdoc.errors import PostdocError
from jupyterlab_postdoc.forge import names, repository
from jupyterlab_postdoc.forge.repository import Study
from jupyterlab_postdoc.protocol import AgentStatus, Artifact
from jupyterlab_postdoc.publishing.places import CHECKOUT
from jupyterlab_postdoc.runs import RunContext
from jupyterlab_postdoc.store.base import SessionRow, Tx
from jupyterlab_postdoc.templates import Template
from jupyterlab_postdoc.tools import packages
from jupyterlab_postdoc.tools.packages import Supply
from jupyterlab_postdoc.tools.project import REPORT, Project
from jupyterlab_postdoc.workspace import sandbox
from jupyterlab_postdoc.workspace.workspace import Workspace

START = "Start the research project"
IMPORTED_FIRST = ("marimo", "numpy", "pandas", "altair", "matplotlib")


class Workplace:
    """The project of one execution. Everything it does is a journalled step, so it may be done again at any time."""

    def __init__(self, ctx: RunContext, lab: Lab, means: Means) -> None:
        self.ctx = ctx
        self.lab = lab
        self.means = means
        self.project: Project | None = None
        self.checkout: Checkout | None = None
        """The work tree, when it is one of somebody's repository."""

    # --- a new project ---

    async def prepare(
        self, given: Mapping[str, Any], template: Template | None, parameters: Mapping[str, Any]
    ) -> Project:
        """A folder of the run's own with the user's data and a first commit; found again after a crash.

        ``template`` is None when a model works and none fits. Raises sandbox_missing, github_conflict, not_found …
        """
        session = await self._session()
        if session.meta.get(CHECKOUT):
            box = await self._sandbox(None)  # whatever the template: there may be programs of others beside it
            checkout = self.checkout = await self._enter(session, given, template)
            replaced = await self.ctx.step("data", lambda: self._bring_data(checkout.root, parameters))
            parameters, root = {**parameters, **replaced}, checkout.root
        else:
            box = await self._sandbox(template)
            prepared = await self.ctx.step("workspace", lambda: self._claim(given, parameters))
            parameters = {**parameters, **prepared["parameters"]}
            root = self.lab.root_dir / self.lab.research_dir / prepared["name"]
            self._check_still_there(root)
        study = await self._study(given, template, parameters, root.name)
        project = self.project = self._project(study, root, box)
        await self._supply(project)
        await project.notebook.warm(study.requires or IMPORTED_FIRST)  # its process starts beside the first commit
        await self._first_commit(project)
        return project

    async def _sandbox(self, template: Template | None) -> sandbox.Sandbox:
        """The sandbox; what a template of ours says may run without one, what a model says only if that is allowed."""
        status = await sandbox.probe()
        trusted = not self.means.speaks and template is not None and template.origin == "package"
        box = sandbox.choose(status, trusted=trusted, allow_unsandboxed=self.lab.allow_unsandboxed)
        if not box.isolated:
            await self.ctx.step("sandbox-notice", _nothing, record=lambda _: [AgentStatus(message=_notice(status))])
        return box

    async def _claim(self, given: Mapping[str, Any], parameters: Mapping[str, Any]) -> dict[str, Any]:
        """A folder of our own with the user's data in it; finds its own folder again after a crash."""
        run = self.ctx.run.id
        root = await names.claim_directory(
            self.lab.root_dir / self.lab.research_dir,
            topic=str(given["topic"]),
            repo_name=given.get("repo_name"),
            run_id=run,
            session_id=self.ctx.session,
            taken=lambda name: self.lab.forge.is_taken(name, run=run),
        )
        await self.lab.git.init(root)
        return {"name": root.name, "parameters": await self._bring_data(root, parameters)}

    async def _bring_data(self, root: Path, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """Copy the user's data file into the project; the parameters that name it there."""
        replaced: dict[str, Any] = {}
        if parameters.get("data") is not None and parameters["data"] not in SYNTHETIC:
            source = data_file(self.lab.root_dir, str(parameters["data"]))
            entry = await repository.add_dataset(root, source, retrieved=self.ctx.run.created_at)
            replaced["data"] = entry["path"]
        return replaced

    async def _enter(self, session: SessionRow, given: Mapping[str, Any], template: Template | None) -> Checkout:
        """The session's work tree in somebody's repository, when a study fits into it."""
        script = template.name if template is not None and not self.means.speaks else None
        cells = tuple(cell.name for cell in template.sources) if template is not None and script else ()
        return await Checkouts(self.ctx, self.lab).enter(
            session,
            str(given["topic"]),
            lambda place, tree, root: check_fit(place, tree, root, script=script, cells=cells),
        )

    async def _session(self) -> SessionRow:
        row = await self.ctx.log.store.get_session(self.ctx.session)
        assert row is not None
        return row

    def _check_still_there(self, root: Path) -> None:
        if names.read_marker(root / ".git").get("run") != self.ctx.run.id:
            raise PostdocError(
                "not_found",
                f"The project's folder {self.lab.research_dir}/{root.name} is gone: it was moved, renamed or deleted.",
                next="Put it back where it was and resume, or start a new study.",
            )

    async def _study(
        self, given: Mapping[str, Any], template: Template | None, parameters: Mapping[str, Any], name: str
    ) -> Study:
        """What the repository's files say of the study. Journalled, so that later runs find it as it was."""
        run = self.ctx.run
        study = Study(
            topic=str(given["topic"]),
            title="",
            repo_name=name,
            template="",
            template_version="",
            provider=self.means.provider.id,
            session=self.ctx.session,
            run=run.id,
            author=str(given.get("author") or ""),
            created=run.created_at,
            parameters=dict(parameters),
            pages=self.lab.pages,
        )
        if self.checkout is not None:
            study = _placed(study, self.checkout)
        if self.means.speaks:
            study = replace(study, model=self.means.model, persona=self.means.persona.title)
        elif template is not None:
            study = replace(
                study,
                title=template.title,
                template=template.name,
                template_version=template.version,
                requires=template.requires,
                plan=template.plan,
                references=template.references,
            )

        async def keep() -> Any:
            return msgspec.to_builtins(study)

        return msgspec.convert(await self.ctx.step("study", keep), Study)

    def _project(self, study: Study, root: Path, box: sandbox.Sandbox, *, plain: bool = False) -> Project:
        checkout = self.checkout
        environments = self.lab.environments
        find_python = environments.find if environments is not None else None
        workspace = Workspace(root, sandbox=box, limits=self.lab.process_limits, find_python=find_python)
        notebook = self.lab.make_notebook(workspace)
        notebook.turn = partial(hand.wait, self.ctx)
        notebook.seen = lambda: hand.seen(self.ctx, self.lab.git, root, notebook.path)
        return Project(
            study=study,
            workspace=workspace,
            notebook=notebook,
            git=self.lab.git,
            forge=self.lab.forge,
            public_root=root.relative_to(self.lab.root_dir).as_posix(),
            notebook_timeout_s=self.lab.notebook_timeout_s,
            run=self.ctx.run.id,
            marks=provenance.marks(self.means),
            branch=checkout.branch if checkout else "main",
            place=checkout.place.name if checkout else "",
            claim=self.ctx.session if checkout else "",
            plain=plain,
            supply=Supply(environments, self.lab.missing_packages) if environments is not None else None,
        )

    async def _supply(self, project: Project) -> None:
        """The packages that the template needs."""

        async def question(text: str, options: list[str] | None, key: str = "") -> str:
            return await ask_user(self.ctx, key, text, options, where=project.public_root)

        async def status(message: str, _progress: float | None) -> None:
            await self.ctx.emit(AgentStatus(message=message, phase="prepare"))

        async def provide() -> str:
            return await packages.required(project, project.study.requires, question, status)

        if project.study.requires:
            await self.ctx.step(
                "packages", provide, record=lambda text: [AgentStatus(message=text, phase="prepare")] if text else []
            )

    async def _first_commit(self, project: Project) -> None:
        async def start() -> str | None:
            await repository.write_skeleton(project.root, project.study)
            return await project.commit(START, step="start")

        async def look() -> str | None:
            return await project.find_commit("start")

        sha = await self.ctx.step(
            "start", start, reconcile=look, record=lambda sha: [_where(project), *commit_events(sha, START)]
        )
        project.note("start", START, sha)
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
        template = project.study.template or row.meta.get("template")
        if project.plain:
            shown |= {name: None for name in ("notebook", "report")}
        meta = {**row.meta, "project": shown, "template": template}
        if self.checkout is not None:
            meta[CHECKOUT] = msgspec.to_builtins(self.checkout.place)
        await tx.update_session(row.id, repo=project.study.repo_name, meta=meta)

    # --- a project that is there ---

    async def reopen(self, session: SessionRow) -> Project | None:
        """The project that an earlier run of this session has made, to be worked on by this one.

        None when there is none, or when it cannot be used: then a line in the chat has said why. A session in
        somebody's repository gets its work tree now, if it has none.
        """
        if session.meta.get(CHECKOUT):
            return await self._reopen_checkout(session)
        shown = session.meta.get("project")
        path = str(shown.get("path") or "") if isinstance(shown, dict) else ""
        if not path:
            return None
        root = self.lab.root_dir / path
        marker = names.read_marker(root / ".git")
        if marker.get("session") != session.id:
            await self._without(f"The project's folder {path} is gone: it was moved, renamed or deleted.")
            return None
        study = await provenance.known_study(self.ctx.log.store, self.lab.templates, str(marker.get("run")), root.name)
        if study is None:
            await self._without(f"Nothing is known any more of how the project {path} was made.")
            return None
        try:
            box = sandbox.choose(await sandbox.probe(), trusted=False, allow_unsandboxed=self.lab.allow_unsandboxed)
        except PostdocError as e:
            await self._without(e.message)
            return None
        project = self._project(study, root, box)
        await provenance.read_commits(project)
        self.project = project
        return project

    async def _reopen_checkout(self, session: SessionRow) -> Project | None:
        try:
            box = sandbox.choose(await sandbox.probe(), trusted=False, allow_unsandboxed=self.lab.allow_unsandboxed)
        except PostdocError as e:
            await self._without(e.message)
            return None
        topic = session.title or str(self.ctx.run.input.get("content") or "chat")
        checkout = self.checkout = await Checkouts(self.ctx, self.lab).enter(session, topic)
        study = await provenance.newest_study(self.ctx.log.store, session.id)
        plain = study is None
        if study is None:
            study = Study(
                topic=topic[:300],
                title="",
                repo_name=checkout.root.name,
                template="",
                template_version="",
                provider=self.means.provider.id,
                session=session.id,
                run=session.id,
                author="",
                created=session.created_at,
            )
        project = self._project(_placed(study, checkout), checkout.root, box, plain=plain)
        self.project = project
        if not session.meta.get("project"):
            await self.ctx.step("place", _nothing, record=lambda _: [_where(project)])
            await self.ctx.write(self._show_project)
        await provenance.read_commits(project)
        return project

    async def _without(self, why: str) -> None:
        message = f"{why} This answer goes without the notebook and its tools."
        await self.ctx.step("no-project", _nothing, record=lambda _: [AgentStatus(message=message)])

    # --- the end ---

    async def conclude(self, message: str, outcome: repository.Outcome) -> dict[str, str]:
        """README, provenance, last commit, publication; the artifacts, as the result shows them."""
        project = self.project
        assert project is not None
        doing = "Keeping the branch" if project.plain else "Writing the README and publishing"
        await self.ctx.emit(AgentStatus(message=doing, phase="publish"))

        async def describe() -> str | None:
            await self._describe(project, outcome, await self._finished_at())
            return await project.commit(message, step="describe")

        await self._step("describe", describe, project, message)
        url, commit = await self._publish(project)
        return {**artifacts(project, commit), "remote": url}

    async def conclude_revision(self) -> dict[str, str] | None:
        """After a chat turn on a finished project: the same, when it changed anything; else None."""
        project = self.project
        if project is None or not project.changed:
            return None
        if project.plain:
            return await self.conclude("Keep the changes", repository.Outcome("changed"))
        return await self.conclude("Bring the description up to date", await self._state(project))

    async def _state(self, project: Project) -> repository.Outcome:
        """Whether the verdict is that of the notebook as it stands. Journalled: a resumed run must say the same."""

        async def look() -> Any:
            try:
                project.verdict()
            except PostdocError:
                return msgspec.to_builtins(repository.Outcome("failed", "The notebook has no verdict yet."))
            stale = await project.stale()
            shown = ", ".join(stale[:8])
            return msgspec.to_builtins(
                repository.Outcome("changed", f"Not run since, or failed: {shown}.") if stale else repository.Outcome()
            )

        return msgspec.convert(await self.ctx.step("state", look), repository.Outcome)

    async def keep(self, ending: repository.Outcome) -> dict[str, str] | None:
        """After a stop or a failure: commit what lies there, with a README that says how it ended.

        Returns its artifacts, as the result shows them; None when there is no project, or nothing was changed in one
        that another run has made.
        """
        project = self.project
        if project is None:
            return None
        ours = project.study.run == self.ctx.run.id
        if not ours and not project.changed and not await project.git.is_dirty(project.root):
            await project.notebook.close()
            return None
        message = "Keep the unfinished work"
        outcome = ending if ours else repository.Outcome("changed", ending.reason)
        await project.notebook.close()

        async def commit() -> str | None:
            await self._describe(project, outcome, await self._finished_at())
            return await project.commit(message, step=key)

        key = f"kept:{self.ctx.run.attempt}"
        await self._step(key, commit, project, message)
        return artifacts(project, await project.git.head(project.root))

    async def _describe(self, project: Project, outcome: repository.Outcome, finished: float) -> None:
        project.study = await provenance.learned(self.ctx, self.means, project.study, finished)
        await project.describe(finished=finished, outcome=outcome)

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
                Artifact(artifact="branch", title=project.branch, path=project.public_root, data={"commit": sent[1]})
            ],
        )
        return url, commit


def artifacts(project: Project, commit: str | None) -> dict[str, str]:
    """Where everything is: repo, commit, and notebook and report when they are there."""
    found = {"repo": project.public_root} | ({"commit": commit} if commit else {})
    for name, path in (("notebook", project.notebook.path), ("report", REPORT)):
        if (project.root / path).exists():
            found[name] = project.public(path)
    return found


def _placed(study: Study, checkout: Checkout) -> Study:
    """The study with what is to be known of the repository that it is in."""
    place, tree = checkout.place, checkout.tree
    if not place.branch:
        return study  # it was empty: as in a repository of its own
    return replace(
        study,
        home=place.web_url or "",
        branch=place.branch,
        readme=tree.readme(study.session),
        theirs=tree.theirs,
    )


def _where(project: Project) -> Artifact:
    return Artifact(artifact="repo", path=project.public_root, title=project.place or project.study.repo_name)


async def _nothing() -> None:
    return None


def _notice(status: sandbox.SandboxStatus) -> str:
    allowed = "That is allowed for templates that ship with Postdoc, or by the administrator's setting."
    return f"Running without a sandbox. {status.why} {allowed} {status.install_hint}".strip()
