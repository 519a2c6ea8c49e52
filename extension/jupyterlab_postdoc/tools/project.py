"""The research repository of one run, as tools and the agent use it: workspace, notebook, commits, publication."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from jupyterlab_postdoc.errors import PostdocError
from jupyterlab_postdoc.forge import repository
from jupyterlab_postdoc.forge.base import Forge
from jupyterlab_postdoc.forge.repository import StepRecord, Study
from jupyterlab_postdoc.forge.text import disarmed
from jupyterlab_postdoc.notebooks.base import NotebookRuntime
from jupyterlab_postdoc.protocol import ImageRef
from jupyterlab_postdoc.tools.packages import Supply
from jupyterlab_postdoc.workspace.git import Commit, Git
from jupyterlab_postdoc.workspace.workspace import Workspace

RESULTS = "results.json"
REPORT = "reports/report.html"


@dataclass
class Project:
    """A study's repository. ``public_root`` is its path as the file browser shows it, below the server's root.

    ``run`` is the run that works here now: the one that made the study, or a later one. ``marks`` are trailers that
    its commits carry beside those of the step. In somebody's repository ``place`` is its name (``ana/owls``),
    ``branch`` the session's own branch of it, and ``claim`` what has claimed the work tree in place of a run; without
    a study (``plain``) no file is written about one.
    """

    study: Study
    workspace: Workspace
    notebook: NotebookRuntime
    git: Git
    forge: Forge
    public_root: str
    notebook_timeout_s: float = 600.0
    run: str = ""
    marks: dict[str, str] = field(default_factory=dict)
    steps: list[StepRecord] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)
    """Paths that the last commit left out, with the reason."""
    branch: str = "main"
    place: str = ""
    claim: str = ""
    plain: bool = False
    drawn: dict[str, list[ImageRef]] = field(default_factory=dict)
    """What cells drew in the last run, kept beside the log."""
    supply: Supply | None = None
    """How it gets packages that are missing; None: not at all."""

    @property
    def root(self) -> Path:
        """The checkout."""
        return self.workspace.root

    def public(self, path: str) -> str:
        """A path of the project as the file browser knows it."""
        return f"{self.public_root}/{path}"

    def verdict(self) -> dict[str, Any]:
        """The study's result as the notebook computed it; raises tool_failed while there is none."""
        try:
            found = json.loads(self.workspace.read_text(RESULTS))
        except (PostdocError, ValueError) as e:
            raise PostdocError(
                "tool_failed",
                "There is no verdict yet: results.json is missing or damaged.",
                next="Run the notebook (nb_run) until the cell `verdict` has a result.",
            ) from e
        if not isinstance(found, dict):
            raise PostdocError("tool_failed", "results.json does not hold an object.", next="Run the notebook again.")
        return found

    def _trailers(self, step: str) -> dict[str, str]:
        run = self.run or self.study.run
        return {"Research-Session": self.study.session, "Research-Run": run, "Research-Step": step}

    async def commit(self, message: str, *, step: str) -> str | None:
        """Commit everything that changed, marked with the step; None when nothing did. The same step commits once.

        A name in the message notifies nobody and an issue's number closes none when it is published.
        """
        subject, _, body = disarmed(message.strip()).partition("\n")
        commit = await self.git.commit_all(
            self.root, subject=subject[:200], body=body.strip(), trailers={**self._trailers(step), **self.marks}
        )
        if commit is not None:
            self.left_out = {excluded.path: excluded.reason for excluded in commit.excluded}
        return self._noted(commit, step)

    async def find_commit(self, step: str) -> str | None:
        """The commit of a step, if it was made."""
        return self._noted(await self.git.find_trailers(self.root, self._trailers(step)), step)

    def _noted(self, commit: Commit | None, step: str) -> str | None:
        if commit is None:
            return None
        self.note(step, commit.subject, commit.sha)
        return commit.sha

    def note(self, step: str, title: str, commit: str | None) -> None:
        """Remember for the provenance which commit a step made."""
        run = None if self.run in ("", self.study.run) else self.run
        if all((record.key, record.run) != (step, run) for record in self.steps):
            self.steps.append(StepRecord(step, title, commit, run))

    @property
    def changed(self) -> bool:
        """Whether the run that works here now has committed anything."""
        run = None if self.run in ("", self.study.run) else self.run
        return any(record.run == run and record.commit for record in self.steps)

    async def stale(self) -> list[str]:
        """Cells that were changed since the whole notebook ran, or that did not come to their end then.

        When that was an earlier run's work, nothing is known of single cells; then the files' times tell whether the
        notebook was changed since it had its verdict.
        """
        path = self.root / self.notebook.path
        if not path.is_file():
            return []
        cells = [cell for cell in await self.notebook.cells(seen=False) if cell.code.strip()]
        wrong = [cell.name for cell in cells if cell.status != "ok"]
        proven = self.notebook.proven
        if proven is not None:
            return [cell.name for cell in cells if cell.name in wrong or proven.get(cell.name) != cell.code]
        if (self.root / RESULTS).is_file():
            newer = path.stat().st_mtime_ns > (self.root / RESULTS).stat().st_mtime_ns
            return (wrong or [cell.name for cell in cells]) if newer else []
        return wrong

    async def describe(self, *, finished: float, outcome: repository.Outcome | None = None) -> None:
        """Write README, provenance and citation from what there is now; nothing where there is no study."""
        if self.plain:
            return
        try:
            verdict: dict[str, Any] | None = self.verdict()
        except PostdocError:
            verdict = None
        study = replace(self.study, steps=tuple(self.steps), finished=finished)
        own = self.workspace.environment
        await repository.write_results(
            self.root, study, verdict, outcome=outcome, packages=own.packages if own is not None else None
        )

    async def publish(self) -> tuple[str, str]:
        """Send the branch to the forge; returns the remote's address and the commit there."""
        claim = self.claim or self.study.run
        remote = await self.forge.create_repo(self.study.repo_name, session=self.study.session, run=claim)
        pushed = await self.forge.push(self.root, remote, self.branch)
        return remote.url, pushed.after
