"""The draft pull request that carries the session's branch to whoever reviews it."""

from __future__ import annotations

from jupyterlab_postdoc.errors import PostdocError
from jupyterlab_postdoc.forge.github import GitHubForge
from jupyterlab_postdoc.forge.github_read import text_digest
from jupyterlab_postdoc.protocol import PullRequest
from jupyterlab_postdoc.publishing import pull_text
from jupyterlab_postdoc.publishing.attempt import Attempt


class Pulling:
    """The step ``pull_request``."""

    def __init__(self, attempt: Attempt) -> None:
        self._at = attempt

    async def open(self) -> str | None:
        body, forge = self._at.body, await self._at.forge()
        wanted = self._at.wanted.get("pullRequest")
        if wanted is not None:
            body.no_pull = not wanted
        if body.no_pull:
            return "None was wanted."
        found = await forge.find_pulls(body.full_name, body.branch)
        live = next((one for one in found if one.state == "open"), None)
        ended = next(iter(found), None)
        said = None
        if live is None and ended is not None and body.pull_sent == body.sent:
            live, said = ended, f"It was {ended.state} already, and nothing is new."
        elif live is None:
            live, said = await self._open_one(forge)
        else:
            await self._bring_up_to_date(forge, live)
        if live is None:
            return said or "There is nothing to pull."
        self._at.pull = await forge.pull(body.full_name, live.number)
        body.pull, body.pull_sent = live.number, body.sent
        await self._at.save(
            "publishing", *self._at.announce([("pr", live.url, f"#{live.number} {live.title}".strip())])
        )
        return said

    def _text(self) -> tuple[str, str]:
        """Title and body."""
        body, subject = self._at.body, self._at.subject
        history = pull_text.history_note(history=body.history, workflows=body.workflows)
        text = pull_text.pull_body(
            subject.study,
            subject.verdict,
            subject.outcome,
            notes=[*body.notes, *self._at.notes, *([history] if history else [])],
            home=body.web_url,
            branch=body.branch,
            workflows=body.workflows,
        )
        return pull_text.pull_title(subject.study, subject.verdict), text

    async def _bring_up_to_date(self, forge: GitHubForge, live: PullRequest) -> None:
        """A later run may have come to another verdict; a text that a person has changed is theirs."""
        body = self._at.body
        title, text = self._text()
        digest = text_digest(title, text)
        if live.number != body.pull or not body.pull_text or digest == body.pull_text:
            return
        if await forge.update_pull(body.full_name, live.number, title=title, body=text, was=body.pull_text):
            body.pull_text = digest
        else:
            self._at.note("The pull request's text was changed on GitHub, so it stays as it is there.")

    async def _open_one(self, forge: GitHubForge) -> tuple[PullRequest | None, str | None]:
        body = self._at.body
        title, text = self._text()
        body.pull_text = text_digest(title, text)

        async def look() -> PullRequest | None:
            pulls = await forge.find_pulls(body.full_name, body.branch)
            return next((one for one in pulls if one.state == "open"), None)

        try:
            made = await forge.open_pull(
                body.full_name, base=body.base_branch, head=body.branch, title=title, body=text
            )
        except PostdocError as error:
            if error.code not in ("github_unreachable", "github_conflict"):
                raise
            found = await self._at.look_for(look, lost=error.code == "github_unreachable")
            if found is not None:
                return found, None
            if error.code == "github_unreachable" or error.details.get("reason") != "no_commits":
                raise
            return None, f"There is nothing that {body.base_branch} does not have already."
        if not made.draft:
            self._at.note("GitHub offers no drafts for this repository, so it is an ordinary pull request.")
        return made, None
