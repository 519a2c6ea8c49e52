"""The repository on GitHub: found again, taken over with leave, or made, once."""

from __future__ import annotations

import time

from jupyterlab_postdoc.errors import PostdocError
from jupyterlab_postdoc.forge import names
from jupyterlab_postdoc.forge.github import GitHubForge
from jupyterlab_postdoc.forge.remote import Remote
from jupyterlab_postdoc.publishing import problems, pull_text, state
from jupyterlab_postdoc.publishing.attempt import Attempt
from jupyterlab_postdoc.publishing.places import Place

CLOCKS_S = 60.0
"""GitHub's clock and ours may differ so much."""
MOST_NAMES = 9


class Creating:
    """The step ``create``."""

    def __init__(self, attempt: Attempt) -> None:
        self._at = attempt

    async def create(self) -> str | None:
        if self._at.body.repository_id is not None:
            await self._find_again()
            return "The repository is there already."
        if self._at.subject.place is not None:
            await self._find_place(self._at.subject.place)
            return "The session works in a repository that is there."
        adopted = await self._make()
        return f"{self._at.body.full_name} was there, and is used as it is." if adopted else None

    async def _find_place(self, place: Place) -> None:
        """The repository that the session works in, when it was chosen without asking GitHub."""
        forge = await self._at.forge()
        remote = await forge.get_repo(place.name)
        if remote is None:
            raise problems.gone(place.name)
        self._at.take_place(place)
        self._adopt(remote)
        await self._at.collect()

    async def _find_again(self) -> None:
        forge, body = await self._at.forge(), self._at.body
        assert body.repository_id is not None
        remote = await forge.get_repo_by_id(body.repository_id)
        if remote is None:
            if self._at.wanted.get("name") and self._at.subject.place is None:  # also the same one, made anew
                self._start_over(str(self._at.wanted["name"]))
                await self._at.collect()
                await self._make()
                return
            raise problems.gone(body.full_name)
        if self._may_leave(body):
            self._start_over(str(self._at.wanted["name"]))
            await self._at.collect()
            await self._make()
            return
        if remote.archived:
            raise PostdocError(
                "github_forbidden",
                f"{remote.full_name} is archived: it takes nothing any more. {problems.SAFE}",
                next="Unarchive it on GitHub, then publish again.",
            )
        if remote.full_name.casefold() != body.full_name.casefold() and not self._at.wanted.get("acceptMoved"):
            raise problems.moved_to(body.full_name, remote.full_name)
        moved = remote.full_name != body.full_name
        self._take(remote)
        if moved:
            await self._at.collect()

    def _may_leave(self, body: state.Body) -> bool:
        """Whether another name is wanted in place of a repository that was there, and has nothing of ours yet."""
        name = self._at.wanted.get("name")
        return bool(name) and name != body.name and body.adopted and not body.base and self._at.subject.place is None

    def _start_over(self, name: str) -> None:
        """The repository was deleted, or did not fit: begin anew under another name."""
        old = self._at.body
        self._at.body = state.Body(
            owner=old.owner,
            owner_given=old.owner_given,
            project=old.project,
            name=name,
            private=old.private,
            history=old.history,
            no_pull=old.no_pull,
            forced=old.forced,
            watch=old.watch,
        )
        self._at.pull = None

    async def _make(self) -> bool:
        """The repository, made now or by an attempt whose answer was lost. True: it was there, and may be used."""
        forge, body = await self._at.forge(), self._at.body
        explicit = bool(self._at.wanted.get("name")) or self._at.subject.given_name
        wanted = f"{body.owner}/{body.name}"
        for number in range(1, MOST_NAMES + 1):
            full = wanted if number == 1 else f"{wanted}-{number}"
            remote = await self._there(forge, full)
            if remote is not None and self._is_ours(remote):
                self._take(remote)
                break
            if remote is not None and number == 1 and self._at.wanted.get("useExisting"):
                self._adopt(remote)
                return True
            if remote is not None and explicit:
                raise problems.name_taken(full, await self._free(forge, wanted))
            if remote is None and await self._create_one(forge, full):
                break
            if remote is None and explicit:  # somebody made it in this very moment
                raise problems.name_taken(full, await self._free(forge, wanted))
        else:
            raise problems.name_taken(wanted, await self._free(forge, wanted))
        if body.full_name.casefold() != wanted.casefold():
            note = f"{wanted} exists already, so the repository is {body.full_name}."
            body.notes = [*body.notes, note]
            await self._at.collect()
        return False

    async def _there(self, forge: GitHubForge, full: str) -> Remote | None:
        """The repository of exactly this name; GitHub answers for an old name of a renamed one too."""
        remote = await forge.get_repo(full)
        return remote if remote is not None and remote.full_name.casefold() == full.casefold() else None

    def _is_ours(self, remote: Remote) -> bool:
        """Whether an earlier call of ours has made it, whose answer was lost."""
        intent = self._at.body.intent
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
        description = pull_text.default_description(self._at.subject.study)
        earlier = self._at.body.intent
        again = earlier is not None and (earlier.name, earlier.description) == (full, description)
        if not again:  # else its time stays: what was asked for then may come to light only now
            self._at.body.intent = state.Intent(name=full, description=description, at=time.time())
        await self._at.save("publishing")
        try:
            self._take(await forge.create_repo(owner, name, description=description, private=self._at.body.private))
            return True
        except PostdocError as error:
            if error.code not in ("github_unreachable", "github_conflict"):
                self._at.body.intent = None
                raise
            lost = error.code == "github_unreachable"
            found = await self._at.look_for(lambda: self._there(forge, full), lost=lost)
            # What is there at our first word is somebody else's, however much it looks like ours.
            if found is not None and (lost or again) and self._is_ours(found):
                self._take(found)
                return True
            if lost or found is None:
                raise
            self._at.body.intent = earlier if again else None
            return False

    async def _free(self, forge: GitHubForge, wanted: str) -> str:
        for number in range(2, MOST_NAMES + 1):
            if await forge.get_repo(f"{wanted}-{number}") is None:
                return f"{wanted}-{number}"
        return f"{wanted}-{names.session_tag(self._at.ctx.session)}"

    def _take(self, remote: Remote) -> None:
        body = self._at.body
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
        self._at.body.adopted = True
