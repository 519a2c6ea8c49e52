"""What is sent: looked through by the guard, the first commit to a new repository, then the session's branch."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Collection

from jupyterlab_postdoc.errors import PostdocError
from jupyterlab_postdoc.forge import names
from jupyterlab_postdoc.forge.publisher import Outgoing, Policy
from jupyterlab_postdoc.forge.refs import check_branch
from jupyterlab_postdoc.forge.repository import own_workflows
from jupyterlab_postdoc.protocol import Finding
from jupyterlab_postdoc.publishing import problems, pull_text, state
from jupyterlab_postdoc.publishing.attempt import Attempt


class Sending:
    """The steps ``check``, ``push``, ``topics`` and ``branch``."""

    def __init__(self, attempt: Attempt) -> None:
        self._at = attempt

    async def check(self) -> None:
        forge = await self._at.forge()
        account = await forge.whoami()
        body, wanted, settings = self._at.body, self._at.wanted, self._at.parts.settings
        if body.repository_id is None:
            private = wanted.get("private")
            if private is not None or not body.owner:
                body.private = settings.private if private is None else bool(private)
            if wanted.get("owner"):
                body.owner, body.owner_given = str(wanted["owner"]), True
            elif not body.owner_given and body.intent is None:  # another account may be connected by now
                body.owner = settings.owner or account.login
            body.name = str(wanted.get("name") or body.name or self._at.subject.study.repo_name)
            names.check_remote_name(body.name)
        if wanted.get("history"):
            body.history = wanted["history"]
        elif not body.sent and settings.squash:
            body.history = "squashed"
        if wanted.get("branch") and wanted["branch"] != body.branch:
            check_branch(str(wanted["branch"]))
            body.branch, body.sent, body.seen = str(wanted["branch"]), "", ""
        if account.lacks("workflow"):
            body.workflows = False
        elif not body.sent and not body.base:
            body.workflows = True
        await self._at.collect()
        await self._guard(await self._outgoing())

    async def _outgoing(self) -> Outgoing:
        """What is sent for the tip: all of it, or one commit, with workflows or without."""
        foreign = self._at.subject.place is not None and self._at.body.base
        return await self._at.parts.publisher.prepare(
            self._at.key,
            self._at.tip,
            base=self._at.body.base if foreign else None,
            history=self._at.body.history,
            workflows=self._at.body.workflows,
            message=self._squash_message(),
        )

    def _squash_message(self) -> str:
        study = self._at.subject.study
        trailers = f"Research-Session: {study.session}\nResearch-Run: {study.run}\n"
        return f"{pull_text.pull_title(study, self._at.subject.verdict)}\n\n{trailers}"

    async def _guard(self, outgoing: Outgoing) -> None:
        """Nothing leaves this machine before this is quiet."""
        policy = Policy(
            max_file_bytes=self._at.parts.settings.max_file_bytes,
            allow_workflows=self._at.parts.settings.allow_workflows,
            own_workflows=own_workflows(),
        )
        known = [sha for sha in {self._at.body.sent, self._at.body.base} if sha]
        found = await self._at.parts.publisher.scan(self._at.key, outgoing.tip, known=known, policy=policy)
        if any(finding.blocking for finding in found):
            raise problems.blocked(found, squash_helps=await self._squash_helps(known, policy))
        self._note_findings(found)

    async def _squash_helps(self, known: Collection[str], policy: Policy) -> bool:
        if self._at.body.history == "squashed":
            return False
        full, self._at.body.history = self._at.body.history, "squashed"
        try:
            outgoing = await self._outgoing()
            found = await self._at.parts.publisher.scan(self._at.key, outgoing.tip, known=known, policy=policy)
        except PostdocError:
            return False
        finally:
            self._at.body.history = full
        return not any(finding.blocking for finding in found)

    def _note_findings(self, found: list[Finding]) -> None:
        for finding in found:
            self._at.note(f"{finding.text} ({finding.path})")

    async def push_base(self) -> str | None:
        body, publisher = self._at.body, self._at.parts.publisher
        there = await publisher.look(self._at.destination(), self._at.credential)
        if not there.branches:
            outgoing = await self._with_or_without_workflows(self._send_first)
            body.base = outgoing.base
            await self._at.save("publishing")
            return None
        body.base_branch = there.default or body.base_branch
        tip = there.branches.get(body.base_branch, "")
        if self._at.subject.place is not None:
            return "The repository has a default branch; the study goes on from it."
        outgoing = await self._outgoing()
        if not body.base:
            if tip != outgoing.base and not await self._goes_on_from(tip):
                if not await self._other_first(tip):
                    raise problems.unrelated(body.full_name, body.base_branch)
                outgoing = await self._outgoing()
            body.base = outgoing.base
        return f"{body.base_branch} is there already and is not touched."

    async def _send_first(self) -> Outgoing:
        outgoing = await self._outgoing()
        await self._guard(outgoing)
        await self._at.parts.publisher.push_first(
            self._at.destination(), self._at.credential, self._at.body.base_branch, outgoing.base
        )
        return outgoing

    async def _other_first(self, tip: str) -> bool:
        """Whether an attempt that was cut off has sent the first commit in its other form, which then holds."""
        body = self._at.body
        body.workflows = not body.workflows
        if (await self._outgoing()).base == tip:
            return True
        body.workflows = not body.workflows
        return False

    async def _goes_on_from(self, remote_tip: str) -> bool:
        """Whether the study and the remote's default branch have a commit in common."""
        publisher = self._at.parts.publisher
        await publisher.fetch(self._at.destination(), self._at.credential)
        bare = await publisher.repository(self._at.key)
        found = await self._at.parts.git.run(
            "merge-base", remote_tip, self._at.tip, cwd=bare, env={"GIT_DIR": str(bare)}, ok=(0, 1, 128)
        )
        return found.returncode == 0

    async def _with_or_without_workflows(self, send: Callable[[], Awaitable[Outgoing]]) -> Outgoing:
        try:
            return await send()
        except PostdocError as error:
            if error.details.get("reason") != "workflow_scope" or not self._at.body.workflows:
                raise
        self._at.body.workflows = False
        return await send()

    async def topics(self) -> str | None:
        body = self._at.body
        if body.topics or body.adopted:
            return "They are set already." if body.topics else "They are the repository's own."
        labels = pull_text.topic_labels(self._at.subject.study, self._at.parts.settings.topics)
        try:
            await (await self._at.forge()).set_topics(body.full_name, labels)
        except PostdocError as error:
            if error.code == "github_auth":
                raise
            self._at.note(f"The topic labels could not be set: {error.message}")
            return "GitHub did not take them."
        body.topics = True
        return None

    async def push_branch(self) -> str | None:
        body, publisher = self._at.body, self._at.parts.publisher
        there = await publisher.heads(self._at.destination(), self._at.credential)
        if not body.branch:
            body.branch = names.branch_name(self._at.subject.study.topic, self._at.ctx.session, there)
            await self._at.save("publishing")  # before it is there: after a crash its name must not look taken
        if self._at.subject.write_home is not None:
            await self._at.subject.write_home(body.web_url, body.branch)
        await self._at.collect()
        outgoing = await self._with_or_without_workflows(self._send_branch)
        body.source, body.sent, body.seen = self._at.tip, outgoing.tip, ""
        self._history_note()
        links = [("branch", state.branch_url(body.web_url, body.branch), body.branch)]
        links += [("compare", state.compare_url(body.web_url, body.base_branch, body.branch), "Compare")]
        await self._at.save("publishing", *self._at.announce([("repo", body.web_url, body.full_name), *links]))
        if outgoing.tip == there.get(body.branch):
            return "All commits are there already."
        return None

    async def _send_branch(self) -> Outgoing:
        body, publisher = self._at.body, self._at.parts.publisher
        outgoing = await self._outgoing()
        await self._guard(outgoing)
        lease = None
        if self._at.wanted.get("force") and body.seen:
            lease = body.seen
            body.forced = [*body.forced, {"by": str(self._at.wanted.get("by") or ""), "over": lease, "at": time.time()}]
        elif body.sent and body.history == "squashed":
            lease = body.sent  # one commit takes the place of another one of ours, if nobody has touched the branch
        try:
            await publisher.push(self._at.destination(), self._at.credential, body.branch, outgoing.tip, lease=lease)
        except PostdocError as error:
            if error.details.get("reason") == "moved":
                there = await publisher.heads(self._at.destination(), self._at.credential)
                body.seen = there.get(body.branch, "")
            if error.code == "github_unreachable":
                there = await self._at.look_for(self._heads, lost=True) or {}
                if there.get(body.branch) == outgoing.tip:
                    return outgoing
            raise
        return outgoing

    async def _heads(self) -> dict[str, str]:
        return await self._at.parts.publisher.heads(self._at.destination(), self._at.credential)

    def _history_note(self) -> None:
        if self._at.body.history == "squashed":
            self._at.note("All steps were sent as one commit.")
        if not self._at.body.workflows:
            self._at.note("Token lacks 'workflow': pushed without CI files. With the scope, the next study has them.")
