"""One attempt to publish: what it works with, what it knows by now, and the one place where that is written down."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from jupyterlab_postdoc.errors import PostdocError
from jupyterlab_postdoc.forge.credentials import Credential
from jupyterlab_postdoc.forge.github import GitHub, GitHubForge
from jupyterlab_postdoc.forge.publisher import Destination, Publisher
from jupyterlab_postdoc.forge.repository import Outcome, Study
from jupyterlab_postdoc.protocol import AgentStatus, Artifact, Body, Problem, PublishStep, PullRequest
from jupyterlab_postdoc.publishing import problems, state
from jupyterlab_postdoc.publishing.places import GITHUB, Place
from jupyterlab_postdoc.runs import RunContext
from jupyterlab_postdoc.store.base import PublicationRow, Tx
from jupyterlab_postdoc.workspace.git import Git

LOOKS = (1.0, 2.0, 4.0)
"""Seconds before each look for something that was made although its answer was lost."""


@dataclass(frozen=True)
class PublishSettings:
    """What the administrator has set; see settings.py."""

    owner: str = ""
    private: bool = True
    topics: tuple[str, ...] = ("marimo", "research")
    when: str = "auto"
    """auto, end or ask."""
    squash: bool = False
    allow_workflows: bool = False
    max_file_bytes: int = 50 << 20

    def at_end(self, source: str) -> bool:
        """Whether a study is published at its end, with a token from ``source`` (see credentials.py)."""
        return self.when == "end" or (self.when == "auto" and source != "environment")


@dataclass(frozen=True)
class PublishParts:
    """What every publication works with."""

    github: GitHub
    publisher: Publisher
    git: Git
    settings: PublishSettings = field(default_factory=PublishSettings)


@dataclass(frozen=True)
class Subject:
    """What is published: a checkout and what is known of it.

    ``owner`` is the user whose session it is; ``place`` is set in somebody's repository. ``given_name``: a person chose
    the study's name. ``write_home(web address, branch)`` commits the repository's address to the study's own files;
    None: there is nothing to commit.
    """

    owner: str
    root: Path
    study: Study
    verdict: Mapping[str, Any] | None
    outcome: Outcome
    place: Place | None = None
    given_name: bool = False
    write_home: Callable[[str, str], Awaitable[str | None]] | None = None


@dataclass(frozen=True)
class Published:
    """What came of it. ``code`` is empty when all is published, else that of the problem."""

    code: str
    sentence: str
    artifacts: dict[str, str]
    hint: str = ""


class Attempt:
    """``wanted`` is the command's fields, as far as they were given; ``body`` what all attempts know by now."""

    def __init__(self, ctx: RunContext, parts: PublishParts, subject: Subject, wanted: Mapping[str, Any]) -> None:
        self.ctx = ctx
        self.parts = parts
        self.subject = subject
        self.wanted = wanted
        self.body = state.Body()
        self.pull: PullRequest | None = None
        self.steps: dict[str, PublishStep] = {}
        self.tip = ""
        self.notes: list[str] = []
        self._forge_: GitHubForge | None = None

    async def enter(self) -> None:
        """Begin from what earlier attempts have left."""
        row = await self.ctx.log.store.get_publication(self.ctx.session)
        if row is not None and row.host != self.parts.github.host:
            row = None  # the numbers of another server mean other repositories here
        place, project = self.subject.place, self.subject.root.name
        self.body = state.load(row) if place is not None else state.load_for(row, project)
        self.pull = state.pull_in(row) if self.body.project or self.body.repository_id is not None else None
        self.body.project = project
        self.steps = {name: PublishStep(name=name) for name in state.STEPS}
        if place is not None and self.body.repository_id is None and place.remote_id is not None:
            self.take_place(place)
        await self.save("publishing")

    def take_place(self, place: Place) -> None:
        """The repository and branch that the session works in."""
        body = self.body
        body.repository_id, body.full_name, body.private = place.remote_id, place.name, place.private
        body.owner, _, body.name = place.name.partition("/")
        body.web_url, body.git_url, body.adopted = place.web_url or "", place.url, True
        body.base_branch, body.base, body.branch = place.base or place.default_branch, place.base_sha, place.branch

    async def forge(self) -> GitHubForge:
        """The account that publishes; asked anew in each attempt, for a token may have been exchanged."""
        if self._forge_ is None:
            forge = await self.parts.github.of(self.subject.owner)
            if forge is None:
                raise problems.not_connected(self.subject.study.repo_name)
            place = self.subject.place
            if place is not None and (place.forge != GITHUB or place.host != forge.host):
                raise PostdocError(
                    "github_conflict",
                    f"This session works in {place.name}, which is not on {forge.host}; its branch stays here.",
                    next=f"Send the branch {place.branch or 'main'} yourself from the work tree.",
                    reason="unrelated",
                )
            self._forge_ = forge
        return self._forge_

    @property
    def credential(self) -> Credential:
        """Whose token git gets; known as soon as :meth:`forge` was asked."""
        assert self._forge_ is not None
        return self._forge_.credential

    @property
    def key(self) -> str:
        """The name of the publisher's repository for it."""
        return f"{self.parts.github.host}/{self.body.key}"

    def destination(self) -> Destination:
        """Where git sends to."""
        return Destination(self.key, self.body.git_url, self.parts.github.git_host)

    async def collect(self) -> None:
        """Take the newest commits of the session's branch, whatever is checked out; ``tip`` is the last of them."""
        place, root, git = self.subject.place, self.subject.root, self.parts.git
        branch = (place.branch if place is not None else "") or "main"
        argv = ("rev-parse", "--verify", "--quiet", f"refs/heads/{branch}^{{commit}}")
        tip = (await git.run(*argv, cwd=root, env=git.own(root), ok=(0, 1, 128))).text
        if not tip:
            raise PostdocError(
                "not_found",
                f"The project has no commit on its branch {branch!r}, so there is nothing to publish.",
                next=f"Was the branch renamed? `git branch -m {branch}` in the project's folder names it as it was.",
            )
        if await git.head(root) != tip:
            self.note(f"Another branch is checked out in the project; what is published is {branch}.")
        self.tip = tip
        await self.parts.publisher.collect(self.key, self.subject.root, tip)

    def note(self, sentence: str) -> None:
        """A sentence for whoever reads the publication, once."""
        if sentence not in self.notes and sentence not in self.body.notes:
            self.notes.append(sentence)

    async def look_for(self, look: Callable[[], Awaitable[Any]], *, lost: bool) -> Any:
        """What a call may have made although its answer was lost; None: it has not, as far as can be seen."""
        if lost:
            message = "GitHub did not answer; checking whether it was done all the same"
            await self.ctx.emit(AgentStatus(message=message, phase="publishing"))
        for wait in LOOKS if lost else (0.0,):
            await asyncio.sleep(wait)
            try:
                found = await look()
            except PostdocError as error:
                if error.code not in ("github_unreachable", "github_rate_limited"):
                    raise
                continue
            if found:
                return found
        return None

    def announce(self, links: list[tuple[str, str, str]]) -> list[Artifact]:
        """The links that were not told yet, as events."""
        new = [one for one in links if one[1] and one[1] not in self.body.announced]
        self.body.announced = [*self.body.announced, *(url for _, url, _ in new)]
        return [Artifact(artifact=kind, url=url, title=title) for kind, url, title in new]

    def links(self) -> dict[str, str]:
        """Where everything is, as the run's result names it."""
        body, found = self.body, {}
        if body.repository_id is not None:
            found["repository"] = body.web_url
        if body.sent:
            found["branch"] = state.branch_url(body.web_url, body.branch)
            found["compare"] = state.compare_url(body.web_url, body.base_branch, body.branch)
        if self.pull is not None:
            found["pull_request"] = self.pull.url
        return found

    async def save(
        self,
        how: Any,
        *events: Body,
        problem: Problem | None = None,
        look_at: float | None = None,
        checked_at: float | None = None,
    ) -> None:
        """Row and event in one unit; the event only when a person would see a difference."""
        event = state.picture(
            self.body,
            how,
            list(self.steps.values()),
            pull=self.pull,
            problem=problem,
            notes=self.notes,
            checked_at=checked_at,
        )
        shown = msgspec.to_builtins(event)

        async def unit(tx: Tx) -> None:
            row = await tx.get_publication(self.ctx.session)
            if row is not None:  # the watch may have written its part meanwhile
                self.body.watch = dict(row.body.get("watch") or {})
            await tx.put_publication(
                PublicationRow(
                    session=self.ctx.session,
                    owner=self.subject.owner,
                    host=self.parts.github.host,
                    state=how,
                    body=state.dump(self.body),
                    shown=shown,
                    look_at=look_at,
                )
            )
            if row is None or row.shown != shown:
                await self.ctx.append(tx, *events, event)
            elif events:
                await self.ctx.append(tx, *events)

        await self.ctx.write(unit)
