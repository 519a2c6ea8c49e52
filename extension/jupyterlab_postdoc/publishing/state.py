"""What publishing keeps between its attempts: the durable part of a publication, and the picture that people see.

An attempt that fails, is stopped or crashes leaves a :class:`Body` behind; the next one begins from it and looks before
it does anything again.
"""

from __future__ import annotations

import time
from typing import Any, Literal

import msgspec
from msgspec import UNSET, Struct

from jupyterlab_postdoc.protocol import (
    Problem,
    Publication,
    PublishedBranch,
    PublishedRepository,
    PublishStep,
    PullRequest,
    iso,
)
from jupyterlab_postdoc.store.base import PublicationRow, Tx

StepName = Literal["check", "create", "push", "topics", "branch", "pull_request"]
STEPS: tuple[StepName, ...] = ("check", "create", "push", "topics", "branch", "pull_request")
FIRST_LOOK_S = 5.0
"""After an attempt the watch looks at what there is."""
History = Literal["full", "squashed"]


class Intent(Struct, frozen=True, kw_only=True):
    """That we are about to create ``name`` (owner/name): written down before GitHub is asked.

    When the answer is lost, a repository of that name is ours if it is empty, has this description and was made after
    ``at`` (UNIX seconds).
    """

    name: str
    description: str
    at: float


class Body(Struct, kw_only=True, omit_defaults=True):
    """``PublicationRow.body``. ``source`` is the checkout's commit that ``sent`` stands for on the remote branch.

    ``owner_given``: a person chose the owner. ``base`` is the commit of ``base_branch`` that the study goes on from.
    ``adopted``: the repository was there before us. ``seen`` is where the remote branch was when a push was refused:
    what a person may allow to overwrite. ``watch`` belongs to the watch (see seen.py).
    """

    owner: str = ""
    owner_given: bool = False
    project: str = ""
    """The folder of the study that it is about; empty in rows that do not tell."""
    name: str = ""
    private: bool = True
    history: History = "full"
    intent: Intent | None = None
    repository_id: int | None = None
    full_name: str = ""
    web_url: str = ""
    git_url: str = ""
    base_branch: str = ""
    base: str = ""
    adopted: bool = False
    workflows: bool = True
    topics: bool = False
    branch: str = ""
    source: str = ""
    sent: str = ""
    seen: str = ""
    no_pull: bool = False
    """A person wants no pull request."""
    pull: int | None = None
    pull_sent: str = ""
    pull_text: str = ""
    """The digest of the text that we gave the pull request last."""
    announced: list[str] = []
    notes: list[str] = []
    forced: list[dict[str, Any]] = []
    """Who allowed to overwrite what, and when."""
    watch: dict[str, Any] = {}

    @property
    def key(self) -> str:
        """``owner/name`` as it is, or as it is to be."""
        return self.full_name or f"{self.owner}/{self.name}"


def load(row: PublicationRow | None) -> Body:
    """What the row keeps; an empty body without one."""
    return msgspec.convert(row.body, Body) if row is not None else Body()


def load_for(row: PublicationRow | None, project: str) -> Body:
    """The same for the folder ``project`` of the session: another study of the session is another publication."""
    body = load(row)
    if body.project in ("", project):
        return body
    stays = f"An earlier study of this session stays published: {body.web_url}" if body.web_url else ""
    return Body(forced=body.forced, notes=[stays] if stays else [])


def dump(body: Body) -> dict[str, Any]:
    """The body as plain values."""
    found: dict[str, Any] = msgspec.to_builtins(body)
    return found


def shown_in(row: PublicationRow | None) -> Publication | None:
    """The newest event of the row; None without one."""
    if row is None or not row.shown:
        return None
    return msgspec.convert({**row.shown, "type": "publication"}, Publication)


def pull_in(row: PublicationRow | None) -> PullRequest | None:
    """The pull request as it was seen last."""
    found = shown_in(row)
    return found.pull if found is not None and isinstance(found.pull, PullRequest) else None


async def settle(tx: Tx, session: str, problem: Problem) -> Publication | None:
    """End the picture of an attempt that cannot do so itself; the event to append, None when it says its end already.

    An attempt does not tell its end when it is taken out of the queue after a crash, or fails as nobody foresaw.
    """
    row = await tx.get_publication(session)
    known = shown_in(row)
    if row is None or known is None or row.state != "publishing":
        return None
    to: Literal["pending", "failed"] = "pending" if problem.code == "stopped" else "failed"
    steps = [msgspec.structs.replace(step, state=to) if step.state == "active" else step for step in known.steps]
    ended = msgspec.structs.replace(known, state="failed", steps=steps, problem=problem, runId=UNSET, provider=UNSET)
    look_at = time.time() + FIRST_LOOK_S if load(row).sent else None
    shown = msgspec.to_builtins(ended)
    await tx.put_publication(msgspec.structs.replace(row, state="failed", shown=shown, look_at=look_at))
    return ended


def branch_url(web_url: str, branch: str) -> str:
    """The page of a branch."""
    return f"{web_url}/tree/{branch}"


def compare_url(web_url: str, base: str, branch: str) -> str:
    """The page that compares the branch with the default one."""
    return f"{web_url}/compare/{base}...{branch}"


def picture(
    body: Body,
    state: Literal["publishing", "published", "failed"],
    steps: list[PublishStep],
    *,
    pull: PullRequest | None = None,
    problem: Problem | None = None,
    notes: list[str] | None = None,
    ahead: int = 0,
    checked_at: float | None = None,
) -> Publication:
    """The whole picture as an event."""
    there = body.repository_id is not None
    return Publication(
        state=state,
        forge="github",
        repository=PublishedRepository(
            name=body.full_name, url=body.web_url, private=body.private, defaultBranch=body.base_branch or "main"
        )
        if there
        else UNSET,
        branch=PublishedBranch(
            name=body.branch,
            url=branch_url(body.web_url, body.branch),
            commit=body.sent,
            compareUrl=compare_url(body.web_url, body.base_branch, body.branch),
        )
        if there and body.sent
        else UNSET,
        pull=pull or UNSET,
        steps=steps,
        notes=[*body.notes, *(notes or [])],
        problem=problem or UNSET,
        ahead=ahead,
        checkedAt=iso(checked_at) if checked_at is not None else UNSET,
    )
