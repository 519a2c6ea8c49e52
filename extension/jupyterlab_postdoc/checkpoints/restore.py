"""A checkpoint brought back: the notebook is again what it was then, and that is a commit of its own.

What was there before is committed first, so nothing is lost by going back. Other files stay as they are; when nobody is
at work, the study's own texts say that the notebook was not run since.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec

from jupyterlab_postdoc.agent import outdated
from jupyterlab_postdoc.agent.hand import GIVEN, News, hand_of, person
from jupyterlab_postdoc.agent.lab import Lab
from jupyterlab_postdoc.agent.publication import PUBLISH, count_ahead, tell_ahead
from jupyterlab_postdoc.checkpoints.place import Place, check, place_of
from jupyterlab_postdoc.checkpoints.reading import TOO_LONG, Reader, live_text
from jupyterlab_postdoc.errors import PostdocError
from jupyterlab_postdoc.forge import names, tree
from jupyterlab_postdoc.forge.text import disarmed, one_line
from jupyterlab_postdoc.log import EventLog
from jupyterlab_postdoc.notebooks.compare import compare
from jupyterlab_postdoc.notebooks.live import typed
from jupyterlab_postdoc.protocol import Artifact
from jupyterlab_postdoc.store.base import RUN_OPEN, SessionRow, Tx
from jupyterlab_postdoc.workspace import githistory
from jupyterlab_postdoc.workspace.git import Commit, Identity

MOST_NEWS = 20
TRIES, PAUSE_S = 5, 0.4
KEPT = "Keep what was there before going back"


@dataclass(frozen=True, slots=True)
class Restored:
    """``commit`` holds the notebook as it was; ``changed`` is False when it was so already."""

    commit: str
    changed: bool


async def restore(
    log: EventLog, lab: Lab, reader: Reader, session: SessionRow, sha: str, *, user: str, display: str, key: str
) -> Restored:
    """Make the session's notebook what it was at ``sha``; the same ``key`` does it once.

    PostdocError ``not_found`` (no such checkpoint, or no notebook in it), ``busy`` (an agent works), ``forbidden``
    (somebody else has the notebook), ``notebook_failed`` (it cannot be written back).
    """
    place = await place_of(lab, session)
    await check(lab.git, place, sha)
    text = await _text(reader, place, sha)
    tag = hashlib.sha256(key.encode()).hexdigest()[:16]
    trailers = {"Research-Session": session.id, "Research-Run": outdated.maker(place.root, session)}
    mark = {**trailers, "Research-Step": f"restore:{tag}"}
    if (known := await lab.git.find_trailers(place.root, mark)) is not None:
        return Restored(known.sha, True)
    await log.write(lambda tx: _check_free(tx, session.id, user))
    author = person(user, display)
    before, kept = await _exchange(lab, place, text, {**trailers, "Research-Step": f"kept:{tag}"}, author)
    title = await _title(lab, place, sha)
    reason = f"The notebook was set back to {sha[:7]} and was not run since."
    if before != text:
        await outdated.describe(log.store, lab, session, place.root, reason)
    commit = await lab.git.commit_all(
        place.root,
        subject=title,
        body=f"The notebook is that of {sha}.",
        trailers={**mark, "Research-Restored": sha},
        author=author,
    )
    ahead = await count_ahead(lab, log.store, session)

    async def tell(tx: Tx) -> None:
        await _tell(tx, session.id, display or user, place, before, text, kept, commit, sha)
        await tell_ahead(tx, session.id, ahead)

    await log.write(tell)
    head = commit.sha if commit is not None else await lab.git.head(place.root)
    return Restored(str(head), commit is not None)


async def _text(reader: Reader, place: Place, sha: str) -> str:
    """The notebook's text at a checkpoint, exactly."""
    content = await reader.content(place, sha)
    if content is None:
        raise PostdocError(
            "not_found",
            f"There is no notebook {place.notebook} at {sha[:7]}.",
            next="Choose a checkpoint at which there was one.",
        )
    try:
        if content == TOO_LONG:
            raise ValueError("it is too long")
        return content.decode("utf-8")
    except ValueError as e:
        raise PostdocError(
            "notebook_failed",
            f"The notebook at {sha[:7]} cannot be brought back: it is no text, or it is too long.",
            next="Choose another checkpoint.",
        ) from e


async def _check_free(tx: Tx, id: str, user: str) -> None:
    """Refused while an agent works, unless this user has the notebook: then the agent waits."""
    hand = hand_of(await tx.get_session(id))
    if hand is not None and hand.holder != user:
        raise PostdocError(
            "forbidden",
            f"{one_line(hand.display, 100)} has the notebook.",
            next="Ask them to give it back, then restore the checkpoint.",
        )
    for run in await tx.list_runs(id, status=RUN_OPEN):
        if run.kind == PUBLISH and run.status == "running":
            raise PostdocError(
                "busy",
                "The project is being published.",
                next="Wait for the end of that, then restore.",
                retryable=True,
            )
        if run.kind != PUBLISH and hand is None:
            raise PostdocError(
                "busy",
                "An agent works in this project.",
                next="Stop it or take the notebook over, then restore the checkpoint.",
                retryable=True,
            )


async def _exchange(
    lab: Lab, place: Place, text: str, trailers: Mapping[str, str], author: Identity
) -> tuple[str | None, list[Commit]]:
    """Commit what is there and put ``text`` in its place. What somebody types in between is committed, too, first.

    The notebook as it was at last, and the commits that keep what was there.
    """
    kept: list[Commit] = []
    editor = lab.editors.get(place.root) if lab.editors is not None else None
    if editor is not None:
        await typed(editor)
    for _ in range(TRIES):
        before = await live_text(place, lab.editors)
        if (made := await _keep(lab, place, trailers, author)) is not None:
            kept.append(made)
        await _check_kept(lab, place)
        try:
            await _put(lab, place, text, before)
        except PostdocError as e:
            if e.code != "version_conflict":
                raise
            await asyncio.sleep(PAUSE_S)
        else:
            return before, kept
    raise PostdocError(
        "busy",
        "The notebook changes all the time, so it was not set back. What was typed until now is committed.",
        next="Restore the checkpoint when nobody types.",
        retryable=True,
    )


async def _keep(lab: Lab, place: Place, trailers: Mapping[str, str], author: Identity) -> Commit | None:
    """What is there now as a commit of its own, whatever a restore that was cut off has committed already."""
    step, number = trailers["Research-Step"], 1
    while await lab.git.find_trailers(place.root, trailers) is not None:
        number += 1
        trailers = {**trailers, "Research-Step": f"{step}.{number}"}
    return await lab.git.commit_all(place.root, subject=KEPT, trailers=trailers, author=author)


async def _check_kept(lab: Lab, place: Place) -> None:
    """Refused when the notebook is in no commit as it is, since it would be lost then."""
    if (place.root / place.notebook).is_symlink():
        return
    why = next((left.reason for left in await lab.git.survey(place.root) if left.path == place.notebook), "")
    if why:
        raise PostdocError(
            "notebook_failed",
            f"The notebook as it is cannot be committed ({why}), so going back would lose it; it is as it was.",
            next="Make it smaller, or move it elsewhere; then restore the checkpoint.",
        )


async def _put(lab: Lab, place: Place, text: str, before: str | None) -> None:
    """Into the open editor, where those who watch see it at once; else into the file.

    PostdocError ``version_conflict`` when the notebook is not ``before`` any more.
    """
    editor = lab.editors.get(place.root) if lab.editors is not None else None
    if editor is None and lab.editors is not None and lab.editors.status(place.root).state == "starting":
        editor = await lab.editors.open(place.root, place.notebook)  # it may have read the file already
    if editor is not None and editor.status.state == "ready" and editor.path == place.notebook:
        await editor.replace(text, base=before)
        return
    if await live_text(place, None) != before:
        raise PostdocError("version_conflict", "The notebook's file was changed meanwhile.", next="Look at it first.")
    with names.disk_errors(place.root):
        await asyncio.to_thread(tree.put, place.root, place.notebook, text)


async def _title(lab: Lab, place: Place, sha: str) -> str:
    subject = await githistory.subject(lab.git, place.root, sha)
    return disarmed(f"Go back to {sha[:7]}: {one_line(subject, 80)}")


async def _tell(
    tx: Tx,
    id: str,
    by: str,
    place: Place,
    before: str | None,
    after: str,
    kept: Sequence[Commit],
    commit: Commit | None,
    sha: str,
) -> None:
    """The commits in the session's log; and the next agent learns that these cells are not as it left them."""
    for made, more in (*((one, {}) for one in kept), (commit, {"restored": sha})):
        if made is not None:
            await tx.append(id, Artifact(artifact="commit", title=made.subject, data={"commit": made.sha, **more}))
    row = await tx.get_session(id)
    if row is None or commit is None:
        return
    meta = dict(row.meta)
    shown = meta.get("project")
    if isinstance(shown, dict) and shown.get("commit"):
        meta["project"] = {**shown, "commit": commit.sha}
    if hand_of(row) is None and before != after:
        cells = {one.name: str(one.change) for one in compare(before, after, place.notebook) if one.change != "same"}
        news = News(number=0, by=by, cells=cells, commit=commit.sha)
        meta[GIVEN] = [*meta.get(GIVEN, []), msgspec.to_builtins(news)][-MOST_NEWS:]
    await tx.update_session(id, meta=meta)
