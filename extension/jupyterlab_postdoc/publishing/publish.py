"""One attempt to publish a session's project on GitHub, or to send what is new.

Six steps: check, create, push (the default branch of a new repository), topics, branch, pull request. Each looks
before it acts, writes down what came of it (:class:`~.state.Body`), and is journalled by the run. So an attempt that
was stopped, refused or killed is simply made again: there is never a second repository, branch or pull request.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from jupyterlab_postdoc.errors import PostdocError
from jupyterlab_postdoc.forge import names
from jupyterlab_postdoc.forge.credentials import Credential
from jupyterlab_postdoc.forge.github import GitHub, GitHubForge
from jupyterlab_postdoc.forge.publisher import Destination, Outgoing, Policy, Publisher
from jupyterlab_postdoc.forge.refs import check_branch
from jupyterlab_postdoc.forge.remote import Remote
from jupyterlab_postdoc.forge.repository import Outcome, Study, own_workflows
from jupyterlab_postdoc.protocol import AgentStatus, Artifact, Body, Finding, Problem, PublishStep, PullRequest
from jupyterlab_postdoc.publishing import problems, pull_text, state
from jupyterlab_postdoc.publishing.places import GITHUB, Place
from jupyterlab_postdoc.runs import RunContext
from jupyterlab_postdoc.store.base import PublicationRow, Tx
from jupyterlab_postdoc.workspace.git import Git

CLOCKS_S = 60.0
"""GitHub's clock and ours may differ so much."""
LOOKS = (1.0, 2.0, 4.0)
"""Seconds before each look for something that was made although its answer was lost."""
MOST_NAMES = 9
FIRST_LOOK_S = 5.0

_SAYS = {
    "check": "Looking at what would be sent",
    "create": "Creating the repository",
    "push": "Sending the first commit",
    "topics": "Setting the topic labels",
    "branch": "Sending the branch",
    "pull_request": "Opening the draft pull request",
}


@dataclass(frozen=True)
class PublishSettings:
    """What the administrator has set; see settings.py."""

    owner: str = ""
    private: bool = True
    topics: tuple[str, ...] = ("marimo", "research")
    at_end: bool = True
    squash: bool = False
    allow_workflows: bool = False
    max_file_bytes: int = 50 << 20


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


class Publishing:
    """One attempt. ``wanted`` is the command's fields, as far as they were given."""

    def __init__(self, ctx: RunContext, parts: PublishParts, subject: Subject, wanted: Mapping[str, Any]) -> None:
        self.ctx = ctx
        self.parts = parts
        self.subject = subject
        self.wanted = wanted
        self.body = state.Body()
        self._row: PublicationRow | None = None
        self._pull: PullRequest | None = None
        self._steps: dict[str, PublishStep] = {}
        self._tip = ""
        self._notes: list[str] = []
        self._forge_: GitHubForge | None = None

    # --- the whole ---

    async def execute(self) -> Published:
        """Publish. A failure is an answer, not an exception; signals of the run go through."""
        try:
            await self._enter()
            await self._do("check", self._check)
            await self._do("create", self._create)
            await self._do("push", self._push_base)
            await self._do("topics", self._topics)
            await self._do("branch", self._push_branch)
            await self._do("pull_request", self._open_pull)
        except PostdocError as error:
            return await self._failed(error)
        sentence = f"Published as {self.body.full_name}"
        if self._pull is not None:
            kind = "draft pull request" if self._pull.draft else "pull request"
            sentence += f": {kind} #{self._pull.number}"
        await self._save("published", look_at=time.time() + FIRST_LOOK_S, checked_at=time.time())
        return Published("", f"{sentence}.", self._links())

    async def stopped(self) -> None:
        """A person asked to stop: what was sent stays, and is told so."""
        self._mark_active("pending")
        look_at = time.time() + FIRST_LOOK_S if self.body.sent else None
        await self._save("failed", problem=problems.STOPPED, look_at=look_at)

    async def _failed(self, error: PostdocError) -> Published:
        self._mark_active("failed", error.message)
        look_at = time.time() + FIRST_LOOK_S if self.body.sent else None
        await self._save("failed", problem=problems.problem_of(error), look_at=look_at)
        return Published(error.code, error.message, self._links(), error.next)

    async def _enter(self) -> None:
        """Begin from what earlier attempts have left."""
        self._row = await self.ctx.log.store.get_publication(self.ctx.session)
        self.body = state.load(self._row)
        self._pull = state.pull_in(self._row)
        self._steps = {name: PublishStep(name=name) for name in state.STEPS}
        place = self.subject.place
        if place is not None and self.body.repository_id is None and place.remote_id is not None:
            self._take_place(place)
        await self._save("publishing")

    def _take_place(self, place: Place) -> None:
        body = self.body
        body.repository_id, body.full_name, body.private = place.remote_id, place.name, place.private
        body.owner, _, body.name = place.name.partition("/")
        body.web_url, body.git_url, body.adopted = place.web_url or "", place.url, True
        body.base_branch, body.base, body.branch = place.base or place.default_branch, place.base_sha, place.branch

    async def _do(self, name: state.StepName, work: Callable[[], Awaitable[str | None]]) -> None:
        """One step, journalled. ``work`` answers why there was nothing to do, or None. Its effects are looked up, so
        it may be done again.
        """
        self.ctx.cancel.check()
        self.ctx.check_lease()
        self._steps[name] = PublishStep(name=name, state="active", text=_SAYS[name])
        await self._save("publishing", AgentStatus(message=_SAYS[name], phase="publishing"))

        async def once() -> str | None:
            return await self._unless_stopped(work())

        skipped = await self.ctx.step(f"publish:{name}", once) if name != "check" else await once()
        self._steps[name] = PublishStep(name=name, state="skipped" if skipped else "done", text=skipped or "")
        await self._save("publishing")

    async def _unless_stopped(self, work: Awaitable[str | None]) -> str | None:
        """A stop ends a push or a question to GitHub at once; what had arrived is found by the next look."""
        doing, asked = asyncio.ensure_future(work), asyncio.ensure_future(self.ctx.cancel.wait())
        try:
            await asyncio.wait({doing, asked}, return_when=asyncio.FIRST_COMPLETED)
            if not doing.done():
                self.ctx.cancel.check()
            return await doing
        finally:
            for task in (doing, asked):
                task.cancel()
            await asyncio.gather(doing, asked, return_exceptions=True)

    # --- 1: check ---

    async def _check(self) -> None:
        forge = await self._forge()
        account = await forge.whoami()
        body, wanted, settings = self.body, self.wanted, self.parts.settings
        if body.repository_id is None:
            private = wanted.get("private")
            if private is not None or not body.owner:
                body.private = settings.private if private is None else bool(private)
            body.owner = str(wanted.get("owner") or body.owner or settings.owner or account.login)
            body.name = str(wanted.get("name") or body.name or self.subject.study.repo_name)
            names.check_remote_name(body.name)
        if wanted.get("history"):
            body.history = wanted["history"]
        elif not body.sent and settings.squash:
            body.history = "squashed"
        if wanted.get("branch"):
            check_branch(str(wanted["branch"]))
            body.branch, body.sent, body.seen = str(wanted["branch"]), "", ""
        if account.lacks("workflow"):
            body.workflows = False
        elif not body.sent and not body.base:
            body.workflows = True
        await self._collect()
        await self._guard(await self._outgoing())

    async def _forge(self) -> GitHubForge:
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
    def _credential(self) -> Credential:
        assert self._forge_ is not None
        return self._forge_.credential

    @property
    def _key(self) -> str:
        return f"{self.parts.github.host}/{self.body.key}"

    def _destination(self) -> Destination:
        return Destination(self._key, self.body.git_url, self.parts.github.git_host)

    async def _collect(self) -> None:
        tip = await self.parts.git.head(self.subject.root)
        if tip is None:
            raise PostdocError("not_found", "The project has no commit yet, so there is nothing to publish.")
        self._tip = tip
        await self.parts.publisher.collect(self._key, self.subject.root, tip)

    async def _outgoing(self) -> Outgoing:
        """What is sent for the tip: all of it, or one commit, with workflows or without."""
        foreign = self.subject.place is not None and self.body.base
        return await self.parts.publisher.prepare(
            self._key,
            self._tip,
            base=self.body.base if foreign else None,
            history=self.body.history,
            workflows=self.body.workflows,
            message=self._squash_message(),
        )

    def _squash_message(self) -> str:
        study = self.subject.study
        trailers = f"Research-Session: {study.session}\nResearch-Run: {study.run}\n"
        return f"{pull_text.pull_title(study, self.subject.verdict)}\n\n{trailers}"

    async def _guard(self, outgoing: Outgoing) -> None:
        """Nothing leaves this machine before this is quiet."""
        policy = Policy(
            max_file_bytes=self.parts.settings.max_file_bytes,
            allow_workflows=self.parts.settings.allow_workflows,
            own_workflows=own_workflows(),
        )
        known = [sha for sha in {self.body.sent, self.body.base} if sha]
        found = await self.parts.publisher.scan(self._key, outgoing.tip, known=known, policy=policy)
        if any(finding.blocking for finding in found):
            raise problems.blocked(found, squash_helps=await self._squash_helps(known, policy))
        self._note_findings(found)

    async def _squash_helps(self, known: Collection[str], policy: Policy) -> bool:
        if self.body.history == "squashed":
            return False
        full, self.body.history = self.body.history, "squashed"
        try:
            outgoing = await self._outgoing()
            found = await self.parts.publisher.scan(self._key, outgoing.tip, known=known, policy=policy)
        except PostdocError:
            return False
        finally:
            self.body.history = full
        return not any(finding.blocking for finding in found)

    def _note_findings(self, found: list[Finding]) -> None:
        for finding in found:
            self._note(f"{finding.text} ({finding.path})")

    def _note(self, sentence: str) -> None:
        if sentence not in self._notes and sentence not in self.body.notes:
            self._notes.append(sentence)

    # --- 2: create ---

    async def _create(self) -> str | None:
        if self.body.repository_id is not None:
            await self._find_again()
            return "The repository is there already."
        adopted = await self._make()
        return f"{self.body.full_name} was there, and is used as it is." if adopted else None

    async def _find_again(self) -> None:
        forge, body = await self._forge(), self.body
        assert body.repository_id is not None
        remote = await forge.get_repo_by_id(body.repository_id)
        if remote is None:
            if self.wanted.get("name") and self.wanted["name"] != body.name and self.subject.place is None:
                self._start_over(str(self.wanted["name"]))
                await self._collect()
                await self._make()
                return
            raise problems.gone(body.full_name)
        if remote.archived:
            raise PostdocError(
                "github_forbidden",
                f"{remote.full_name} is archived: it takes nothing any more. {problems.SAFE}",
                next="Unarchive it on GitHub, then publish again.",
            )
        if remote.full_name.casefold() != body.full_name.casefold() and not self.wanted.get("acceptMoved"):
            raise problems.moved_to(body.full_name, remote.full_name)
        moved = remote.full_name != body.full_name
        self._take(remote)
        if moved:
            await self._collect()

    def _start_over(self, name: str) -> None:
        """The repository was deleted: begin anew under another name."""
        old = self.body
        self.body = state.Body(
            owner=old.owner, name=name, private=old.private, history=old.history, forced=old.forced, watch=old.watch
        )
        self._pull = None

    async def _make(self) -> bool:
        """The repository, made now or by an attempt whose answer was lost. True: it was there, and may be used."""
        forge, body = await self._forge(), self.body
        explicit = bool(self.wanted.get("name")) or self.subject.given_name
        wanted = f"{body.owner}/{body.name}"
        for number in range(1, MOST_NAMES + 1):
            full = wanted if number == 1 else f"{wanted}-{number}"
            remote = await self._there(forge, full)
            if remote is not None and self._is_ours(remote):
                self._take(remote)
                break
            if remote is not None and number == 1 and self.wanted.get("useExisting"):
                self._adopt(remote)
                return True
            if remote is not None and explicit:
                raise problems.name_taken(full, await self._free(forge, wanted))
            if remote is None and await self._create_one(forge, full):
                break
        else:
            raise problems.name_taken(wanted, await self._free(forge, wanted))
        if body.full_name.casefold() != wanted.casefold():
            note = f"{wanted} exists already, so the repository is {body.full_name}."
            body.notes = [*body.notes, note]
            await self._collect()
        return False

    async def _there(self, forge: GitHubForge, full: str) -> Remote | None:
        """The repository of exactly this name; GitHub answers for an old name of a renamed one too."""
        remote = await forge.get_repo(full)
        return remote if remote is not None and remote.full_name.casefold() == full.casefold() else None

    def _is_ours(self, remote: Remote) -> bool:
        """Whether an earlier call of ours has made it, whose answer was lost."""
        intent = self.body.intent
        return (
            intent is not None
            and intent.name.casefold() == remote.full_name.casefold()
            and remote.created_at >= intent.at - CLOCKS_S
            and remote.size == 0
            and remote.description == intent.description
        )

    async def _create_one(self, forge: GitHubForge, full: str) -> bool:
        """Ask for the repository; False when somebody else was faster. What is asked is written down before."""
        owner, _, name = full.partition("/")
        description = pull_text.default_description(self.subject.study)
        self.body.intent = state.Intent(name=full, description=description, at=time.time())
        await self._save("publishing")
        try:
            self._take(await forge.create_repo(owner, name, description=description, private=self.body.private))
            return True
        except PostdocError as error:
            if error.code not in ("github_unreachable", "github_conflict"):
                self.body.intent = None
                raise
            found = await self._look_for(lambda: self._there(forge, full), lost=error.code == "github_unreachable")
            if found is not None and self._is_ours(found):
                self._take(found)
                return True
            if error.code == "github_unreachable" or found is None:
                raise
            return False

    async def _look_for(self, look: Callable[[], Awaitable[Any]], *, lost: bool) -> Any:
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

    async def _free(self, forge: GitHubForge, wanted: str) -> str:
        for number in range(2, MOST_NAMES + 1):
            if await forge.get_repo(f"{wanted}-{number}") is None:
                return f"{wanted}-{number}"
        return f"{wanted}-{names.session_tag(self.ctx.session)}"

    def _take(self, remote: Remote) -> None:
        body = self.body
        body.repository_id, body.full_name, body.private = remote.id, remote.full_name, remote.private
        body.owner, body.name = remote.owner, remote.name
        body.web_url, body.git_url = remote.web_url, remote.git_url
        body.base_branch = body.base_branch or remote.default_branch or "main"

    def _adopt(self, remote: Remote) -> None:
        if remote.archived or remote.may_push is False:
            why = "it is archived" if remote.archived else "your account may not push to it"
            raise PostdocError(
                "github_forbidden",
                f"{remote.full_name} cannot be used: {why}. Nothing was changed there.",
                next="Publish under another name.",
            )
        self._take(remote)
        self.body.adopted = True

    # --- 3: the default branch of a new repository ---

    async def _push_base(self) -> str | None:
        body, publisher = self.body, self.parts.publisher
        there = await publisher.look(self._destination(), self._credential)
        if not there.branches:
            outgoing = await self._with_or_without_workflows(self._send_first)
            body.base = outgoing.base
            await self._save("publishing")
            return None
        body.base_branch = there.default or body.base_branch
        tip = there.branches.get(body.base_branch, "")
        if self.subject.place is not None:
            return "The repository has a default branch; the study goes on from it."
        outgoing = await self._outgoing()
        if not body.base:
            if tip != outgoing.base and not await self._goes_on_from(tip):
                raise problems.unrelated(body.full_name, body.base_branch)
            body.base = outgoing.base
        return f"{body.base_branch} is there already and is not touched."

    async def _send_first(self) -> Outgoing:
        outgoing = await self._outgoing()
        await self._guard(outgoing)
        await self.parts.publisher.push_first(
            self._destination(), self._credential, self.body.base_branch, outgoing.base
        )
        return outgoing

    async def _goes_on_from(self, remote_tip: str) -> bool:
        """Whether the study and the remote's default branch have a commit in common."""
        publisher = self.parts.publisher
        await publisher.fetch(self._destination(), self._credential)
        bare = await publisher.repository(self._key)
        found = await self.parts.git.run(
            "merge-base", remote_tip, self._tip, cwd=bare, env={"GIT_DIR": str(bare)}, ok=(0, 1, 128)
        )
        return found.returncode == 0

    async def _with_or_without_workflows(self, send: Callable[[], Awaitable[Outgoing]]) -> Outgoing:
        try:
            return await send()
        except PostdocError as error:
            if error.details.get("reason") != "workflow_scope" or not self.body.workflows:
                raise
        self.body.workflows = False
        return await send()

    # --- 4: topics ---

    async def _topics(self) -> str | None:
        body = self.body
        if body.topics or body.adopted:
            return "They are set already." if body.topics else "They are the repository's own."
        labels = pull_text.topic_labels(self.subject.study, self.parts.settings.topics)
        try:
            await (await self._forge()).set_topics(body.full_name, labels)
        except PostdocError as error:
            if error.code == "github_auth":
                raise
            self._note(f"The topic labels could not be set: {error.message}")
            return "GitHub did not take them."
        body.topics = True
        return None

    # --- 5: the session's branch ---

    async def _push_branch(self) -> str | None:
        body, publisher = self.body, self.parts.publisher
        there = await publisher.heads(self._destination(), self._credential)
        if not body.branch:
            body.branch = names.branch_name(self.subject.study.topic, self.ctx.session, there)
        if self.subject.write_home is not None and not body.adopted:
            await self.subject.write_home(body.web_url, body.branch)
        await self._collect()
        outgoing = await self._with_or_without_workflows(self._send_branch)
        body.source, body.sent, body.seen = self._tip, outgoing.tip, ""
        self._history_note()
        links = [("branch", state.branch_url(body.web_url, body.branch), body.branch)]
        links += [("compare", state.compare_url(body.web_url, body.base_branch, body.branch), "Compare")]
        await self._save("publishing", *self._announce([("repo", body.web_url, body.full_name), *links]))
        if outgoing.tip == there.get(body.branch):
            return "All commits are there already."
        return None

    async def _send_branch(self) -> Outgoing:
        body, publisher = self.body, self.parts.publisher
        outgoing = await self._outgoing()
        await self._guard(outgoing)
        lease = None
        if self.wanted.get("force") and body.seen:
            lease = body.seen
            body.forced = [*body.forced, {"by": str(self.wanted.get("by") or ""), "over": lease, "at": time.time()}]
        elif body.sent and body.history == "squashed":
            lease = body.sent  # one commit takes the place of another one of ours, if nobody has touched the branch
        try:
            await publisher.push(self._destination(), self._credential, body.branch, outgoing.tip, lease=lease)
        except PostdocError as error:
            if error.details.get("reason") == "moved":
                there = await publisher.heads(self._destination(), self._credential)
                body.seen = there.get(body.branch, "")
            if error.code == "github_unreachable":
                there = await self._look_for(self._heads, lost=True) or {}
                if there.get(body.branch) == outgoing.tip:
                    return outgoing
            raise
        return outgoing

    async def _heads(self) -> dict[str, str]:
        return await self.parts.publisher.heads(self._destination(), self._credential)

    def _history_note(self) -> None:
        note = pull_text.history_note(history=self.body.history, workflows=self.body.workflows)
        if note is not None:
            self._note(note)
        if not self.body.workflows:
            self._note("Token lacks 'workflow': pushed without CI files. Add the scope to include them.")

    # --- 6: the pull request ---

    async def _open_pull(self) -> str | None:
        body, forge = self.body, await self._forge()
        if self.wanted.get("pullRequest") is False:
            return "None was wanted."
        found = await forge.find_pulls(body.full_name, body.branch)
        live = next((one for one in found if one.state == "open"), None)
        ended = next(iter(found), None)
        said = None
        if live is None and ended is not None and body.pull_sent == body.sent:
            live, said = ended, f"It was {ended.state} already, and nothing is new."
        elif live is None:
            live, said = await self._open_one(forge)
        if live is None:
            return said or "There is nothing to pull."
        self._pull = await forge.pull(body.full_name, live.number)
        body.pull, body.pull_sent = live.number, body.sent
        await self._save("publishing", *self._announce([("pr", live.url, f"#{live.number} {live.title}".strip())]))
        return said

    async def _open_one(self, forge: GitHubForge) -> tuple[PullRequest | None, str | None]:
        body, subject = self.body, self.subject
        text = pull_text.pull_body(
            subject.study,
            subject.verdict,
            subject.outcome,
            notes=[*body.notes, *self._notes],
            home=body.web_url,
            branch=body.branch,
        )

        async def look() -> PullRequest | None:
            pulls = await forge.find_pulls(body.full_name, body.branch)
            return next((one for one in pulls if one.state == "open"), None)

        title = pull_text.pull_title(subject.study, subject.verdict)
        try:
            made = await forge.open_pull(
                body.full_name, base=body.base_branch, head=body.branch, title=title, body=text
            )
        except PostdocError as error:
            if error.code not in ("github_unreachable", "github_conflict"):
                raise
            found = await self._look_for(look, lost=error.code == "github_unreachable")
            if found is not None:
                return found, None
            if error.code == "github_unreachable" or error.details.get("reason") != "no_commits":
                raise
            return None, f"There is nothing that {body.base_branch} does not have already."
        if not made.draft:
            self._note("GitHub offers no drafts for this repository, so it is an ordinary pull request.")
        return made, None

    # --- telling ---

    def _announce(self, links: list[tuple[str, str, str]]) -> list[Artifact]:
        """The links that were not told yet, as events."""
        new = [one for one in links if one[1] and one[1] not in self.body.announced]
        self.body.announced = [*self.body.announced, *(url for _, url, _ in new)]
        return [Artifact(artifact=kind, url=url, title=title) for kind, url, title in new]

    def _links(self) -> dict[str, str]:
        body, found = self.body, {}
        if body.repository_id is not None:
            found["repository"] = body.web_url
        if body.sent:
            found["branch"] = state.branch_url(body.web_url, body.branch)
            found["compare"] = state.compare_url(body.web_url, body.base_branch, body.branch)
        if self._pull is not None:
            found["pull_request"] = self._pull.url
        return found

    def _mark_active(self, to: Any, text: str = "") -> None:
        for name, step in self._steps.items():
            if step.state == "active":
                self._steps[name] = PublishStep(name=step.name, state=to, text=text)

    async def _save(
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
            list(self._steps.values()),
            pull=self._pull,
            problem=problem,
            notes=self._notes,
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
