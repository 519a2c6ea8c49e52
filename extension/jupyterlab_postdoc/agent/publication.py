"""The run that publishes a session's project: finds what there is to publish, and tells its end.

No model and no tools take part. What publishing itself is stands in :mod:`jupyterlab_postdoc.publishing.publish`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import UNSET

from jupyterlab_postdoc.agent import provenance
from jupyterlab_postdoc.agent.lab import Lab
from jupyterlab_postdoc.errors import PostdocError
from jupyterlab_postdoc.forge import names, repository
from jupyterlab_postdoc.forge.repository import Outcome, Study
from jupyterlab_postdoc.forge.tree import read
from jupyterlab_postdoc.protocol import new_id
from jupyterlab_postdoc.publishing import state
from jupyterlab_postdoc.publishing.attempt import Published, Subject
from jupyterlab_postdoc.publishing.places import GITHUB, kept_place
from jupyterlab_postdoc.runs import RunContext
from jupyterlab_postdoc.store.base import RUN_OPEN, Reads, RunRow, SessionRow, Tx

if TYPE_CHECKING:
    from jupyterlab_postdoc.publishing.publish import Publishing

PUBLISH = "publish"
HOME = "Name the repository's address"
WANTED = (
    *("owner", "name", "private", "useExisting", "history"),
    *("branch", "force", "acceptMoved", "pullRequest", "by"),
)
"""The fields of a publish run's input that choose something."""
_ENDED = {"done": ("finished", "end_turn"), "stopped": ("stopped", "user")}


class PublishRun:
    """One execution of a run of kind ``publish``."""

    def __init__(self, ctx: RunContext, lab: Lab) -> None:
        self.ctx = ctx
        self.lab = lab
        self._publishing: Publishing | None = None

    async def execute(self, session: SessionRow) -> Published:
        """Publish; an end that a person should read is an answer. Raises PostdocError when there is nothing at all."""
        if self.lab.publishing is None:
            raise PostdocError("github_auth", "This server does not publish.", next="See docs/github.md.")
        from jupyterlab_postdoc.publishing.publish import Publishing  # most servers start long before they publish

        subject = await self._subject(session)
        wanted = {name: self.ctx.run.input[name] for name in WANTED if self.ctx.run.input.get(name) is not None}
        self._publishing = Publishing(self.ctx, self.lab.publishing, subject, wanted)
        return await self._publishing.execute()

    async def stopped(self) -> None:
        """Tell what a stop has left."""
        if self._publishing is not None:
            await self._publishing.stopped()

    async def _subject(self, session: SessionRow) -> Subject:
        root = project_root(self.lab, session)
        place = kept_place(session.meta)
        study, made = await self._study(session, root.name)
        verdict = _verdict(root)
        outcome = _outcome(made, verdict)
        row = await self.ctx.log.store.get_publication(session.id)
        body = state.load(row) if place is not None else state.load_for(row, root.name)
        if body.web_url:
            study = replace(study, home=body.web_url, branch=body.branch)
        return Subject(
            owner=session.owner,
            root=root,
            study=study,
            verdict=verdict,
            outcome=outcome,
            place=place,
            given_name=bool(made is not None and made.input.get("repo_name")),
            write_home=None if place is not None or made is None else self._home_writer(root, study),
        )

    async def _study(self, session: SessionRow, name: str) -> tuple[Study, RunRow | None]:
        """The newest study of the session and its run; a study in name only for a chat in somebody's repository."""
        store = self.ctx.log.store
        runs = [run for run in await store.list_runs(session.id) if run.kind == "research"]
        for run in sorted(runs, key=lambda run: run.created_at, reverse=True):
            study = await provenance.known_study(store, self.lab.templates, run.id, name)
            if study is not None:
                return study, run
        topic = (session.title or name)[:300]
        plain = Study(topic, "", name, "", "", "", session.id, session.id, "", session.created_at)
        return replace(plain, provider=str(session.meta.get("provider") or ""), model=session.model), None

    def _home_writer(self, root: Path, study: Study) -> Any:
        git, forge, session = self.lab.git, self.lab.forge, self.ctx.session

        async def write(home: str, branch: str) -> str | None:
            """Commit the address to the study's own files, unless somebody is just working on the checkout."""
            trailers = {"Research-Session": session, "Research-Run": self.ctx.run.id, "Research-Step": "home"}
            argv = ("symbolic-ref", "--quiet", "HEAD")
            on = await git.run(*argv, cwd=root, env=git.own(root), ok=(0, 1))
            if on.text != "refs/heads/main" or await git.is_dirty(root):
                return None
            if not await repository.write_home(root, study, home, branch):
                return None
            commit = await git.commit_all(root, subject=HOME, trailers=trailers)
            if commit is None:
                return None
            remote = await forge.get_repo(study.repo_name)
            if remote is not None:
                await forge.push(root, remote, "main")
            return commit.sha

        return write


def project_root(lab: Lab, session: SessionRow) -> Path:
    """The session's checkout. PostdocError ``not_found`` when there is none, or when it is not where it was."""
    shown = session.meta.get("project")
    path = str(shown.get("path") or "") if isinstance(shown, dict) else ""
    if not path:
        raise PostdocError(
            "not_found",
            "This session has no project yet, so there is nothing to publish.",
            next="Start a research in it first.",
        )
    root = lab.root_dir / path
    if names.read_marker(root / ".git").get("session") != session.id:
        raise PostdocError(
            "not_found",
            f"The project's folder {path} is gone: it was moved, renamed or deleted.",
            next="Put it back where it was, then publish again.",
        )
    return root


def _verdict(root: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(read(root, "results.json"))
    except (OSError, ValueError, RecursionError):  # an agent may have written anything
        return None
    return found if isinstance(found, dict) else None


def _outcome(made: RunRow | None, verdict: Mapping[str, Any] | None) -> Outcome:
    if made is None or made.status == "done":
        return Outcome() if verdict is not None else Outcome("failed", "There is no verdict.")
    if made.status == "stopped":
        return Outcome("stopped")
    said = made.error.get("error") if isinstance(made.error, dict) else ""
    return Outcome("failed", str(said or "The study did not come to its end."))


# --- when it begins, and what the session is afterwards ---


async def follow_up(lab: Lab, reads: Reads, session: SessionRow, *, changed: bool) -> RunRow | None:
    """The publish run that is to begin by itself after a run, to be inserted in the unit that ends it; None: none is.

    ``changed``: it was a chat turn that changed the project; then only what is published already is brought up to date.
    """
    parts = lab.publishing
    if parts is None or parts.settings.when == "ask":
        return None
    if changed and not state.load(await reads.get_publication(session.id)).sent:
        return None
    place = kept_place(session.meta)
    if place is not None and (place.forge != GITHUB or place.host != parts.github.host):
        return None  # its branch is nothing that GitHub could take
    try:
        forge = await parts.github.of(session.owner)
        if forge is None or not parts.settings.at_end(forge.credential.source):
            return None
    except PostdocError:  # publishing by hand says what is wrong
        return None
    if any(run.kind == PUBLISH for run in await reads.list_runs(session.id, status=RUN_OPEN)):
        return None
    return RunRow(id=new_id("r"), session=session.id, kind=PUBLISH, queue=lab.queue, input={"auto": True})


async def count_ahead(lab: Lab, reads: Reads, session: SessionRow) -> int | None:
    """Commits of the project that are not published yet; None when it is not published, or nobody can tell."""
    row = await reads.get_publication(session.id)
    body = state.load(row)
    if row is None or not body.source:
        return None
    try:
        root = project_root(lab, session)
        env = lab.git.own(root)
        found = await lab.git.run("rev-list", "--count", "HEAD", f"^{body.source}", cwd=root, env=env)
        return int(found.text)
    except (PostdocError, ValueError):
        return None


async def tell_ahead(tx: Tx, session: str, ahead: int | None, ctx: RunContext | None = None) -> None:
    """Say in the session that so many commits are not published, by this run or by nobody's; None: nothing is known."""
    row = await tx.get_publication(session)
    known = state.shown_in(row)
    if ahead is None or row is None or known is None or known.ahead == ahead or known.state == "publishing":
        return
    shown = {**row.shown, "ahead": ahead}
    await tx.put_publication(msgspec.structs.replace(row, shown=shown))
    body = msgspec.structs.replace(known, ahead=ahead, runId=UNSET, provider=UNSET)
    await (ctx.append(tx, body) if ctx is not None else tx.append(session, body))


async def state_before(reads: Reads, session: str) -> tuple[str, str]:
    """State and reason that a session has by its last run that was no publication."""
    runs = [run for run in await reads.list_runs(session) if run.kind != PUBLISH and run.ended_at is not None]
    last = max(runs, key=lambda run: run.ended_at or 0.0, default=None)
    if last is None:
        return "finished", "end_turn"
    if last.status in _ENDED:
        return _ENDED[last.status]
    code = last.error.get("code") if isinstance(last.error, dict) else None
    ended = last.output.get("stop_reason") if isinstance(last.output, dict) else None
    return ("error", str(code or ended or "internal")) if last.status == "error" else ("finished", "end_turn")
