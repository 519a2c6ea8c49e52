"""One attempt to publish a session's project on GitHub, or to send what is new.

Six steps: check, create, push (the default branch of a new repository), topics, branch, pull request. Each looks
before it acts, writes down what came of it (:class:`~.state.Body`), and is journalled by the run. So an attempt that
was stopped, refused or killed is simply made again: there is never a second repository, branch or pull request.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from jupyterlab_postdoc.errors import PostdocError
from jupyterlab_postdoc.protocol import AgentStatus, PublishStep
from jupyterlab_postdoc.publishing import problems, state
from jupyterlab_postdoc.publishing.attempt import Attempt, Published, PublishParts, Subject
from jupyterlab_postdoc.publishing.creating import Creating
from jupyterlab_postdoc.publishing.pulling import Pulling
from jupyterlab_postdoc.publishing.sending import Sending
from jupyterlab_postdoc.runs import RunContext, unless_stopped

_SAYS = {
    "check": "Looking at what would be sent",
    "create": "Creating the repository",
    "push": "Sending the first commit",
    "topics": "Setting the topic labels",
    "branch": "Sending the branch",
    "pull_request": "Opening the draft pull request",
}

NOT_COMMITTED = "There are changes in the study's folder that are not committed; they are not sent."


class Publishing:
    """One attempt. ``wanted`` is the command's fields, as far as they were given."""

    def __init__(self, ctx: RunContext, parts: PublishParts, subject: Subject, wanted: Mapping[str, Any]) -> None:
        self._at = Attempt(ctx, parts, subject, wanted)
        self._sending = Sending(self._at)
        self._creating = Creating(self._at)
        self._pulling = Pulling(self._at)

    async def execute(self) -> Published:
        """Publish. A failure is an answer, not an exception; signals of the run go through."""
        try:
            await self._at.enter()
            await self._do("check", self._sending.check)
            await self._do("create", self._creating.create)
            await self._do("push", self._sending.push_base)
            await self._do("topics", self._sending.topics)
            await self._do("branch", self._sending.push_branch)
            await self._do("pull_request", self._pulling.open)
            if await self._at.parts.git.is_dirty(self._at.subject.root):
                self._at.note(NOT_COMMITTED)
        except PostdocError as error:
            return await self._failed(error)
        sentence = f"Published as {self._at.body.full_name}"
        if self._at.pull is not None:
            kind = "draft pull request" if self._at.pull.draft else "pull request"
            sentence += f": {kind} #{self._at.pull.number}"
        await self._at.save("published", look_at=time.time() + state.FIRST_LOOK_S, checked_at=time.time())
        return Published("", f"{sentence}.", self._at.links())

    async def stopped(self) -> None:
        """A person asked to stop: what was sent stays, and is told so."""
        self._mark_active("pending")
        look_at = time.time() + state.FIRST_LOOK_S if self._at.body.sent else None
        await self._at.save("failed", problem=problems.STOPPED, look_at=look_at)

    async def _failed(self, error: PostdocError) -> Published:
        self._mark_active("failed", error.message)
        look_at = time.time() + state.FIRST_LOOK_S if self._at.body.sent else None
        await self._at.save("failed", problem=problems.problem_of(error), look_at=look_at)
        return Published(error.code, error.message, self._at.links(), error.next)

    async def _do(self, name: state.StepName, work: Callable[[], Awaitable[str | None]]) -> None:
        """One step, journalled. ``work`` answers why there was nothing to do, or None. Its effects are looked up, so
        it may be done again.
        """
        self._at.ctx.cancel.check()
        self._at.ctx.check_lease()
        self._at.steps[name] = PublishStep(name=name, state="active", text=_SAYS[name])
        await self._at.save("publishing", AgentStatus(message=_SAYS[name], phase="publishing"))

        async def once() -> str | None:
            said = await unless_stopped(self._at.ctx, work())
            await self._at.save("publishing")  # before the journal says done: a crash in between must lose nothing
            return said

        skipped = await self._at.ctx.step(f"publish:{name}", once) if name != "check" else await once()
        self._at.steps[name] = PublishStep(name=name, state="skipped" if skipped else "done", text=skipped or "")
        await self._at.save("publishing")

    def _mark_active(self, to: Any, text: str = "") -> None:
        for name, step in self._at.steps.items():
            if step.state == "active":
                self._at.steps[name] = PublishStep(name=step.name, state=to, text=text)
