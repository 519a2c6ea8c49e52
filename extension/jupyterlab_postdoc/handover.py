"""The notebook between agent and person: taken, given back, and what of it a person may ask for meanwhile.

The lease itself, and what runs do about it, is in agent/hand.py.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import msgspec

from jupyterlab_postdoc.agent import hand, outdated
from jupyterlab_postdoc.agent.by_hand import MAX_DIFFERENCES, OUTPUTS, difference, files_among, subject
from jupyterlab_postdoc.agent.execute import set_state
from jupyterlab_postdoc.agent.hand import GIVEN, HAND, HANDS, Hand, News
from jupyterlab_postdoc.agent.lab import Lab
from jupyterlab_postdoc.agent.publication import count_ahead, tell_ahead
from jupyterlab_postdoc.errors import PostdocError
from jupyterlab_postdoc.forge import names
from jupyterlab_postdoc.forge.text import disarmed, one_line
from jupyterlab_postdoc.forge.tree import read
from jupyterlab_postdoc.log import EventLog
from jupyterlab_postdoc.notebooks.compare import compare
from jupyterlab_postdoc.notebooks.live import Editor, EditorStatus, typed, unsaved
from jupyterlab_postdoc.protocol import Artifact, Notebook
from jupyterlab_postdoc.store.base import RUN_OPEN, BlobRow, RunStatus, SessionRow, Store, Tx
from jupyterlab_postdoc.workspace import githistory

NOTEBOOK = "notebook.py"
SAVE_S = 10.0
BEGUN_S, LOOK_S = 2.0, 0.05
"""So long a take waits for the call that an agent is at; a longer one goes on beside the person."""
KEPT_NEWS = 20
"""So many give-backs wait for an agent to hear of them; of older ones only their commits tell."""

RUNNING: tuple[RunStatus, ...] = ("running",)
WAITING: tuple[RunStatus, ...] = ("waiting",)

Unit = Callable[[Tx, SessionRow], Awaitable[dict[str, Any]]]
_log = logging.getLogger(__name__)


class Actor(Protocol):
    """Who asks."""

    @property
    def name(self) -> str: ...
    @property
    def display(self) -> str: ...


@dataclass(frozen=True)
class Place:
    """A session's project: its folder, the same as the file browser shows it, and the notebook in it."""

    root: Path
    public: str
    notebook: str = NOTEBOOK

    @property
    def shown(self) -> str:
        """The notebook as the file browser shows it."""
        return f"{self.public}/{self.notebook}"


@dataclass(frozen=True)
class Handover:
    """All of a server's notebooks, as people take and give them."""

    log: EventLog
    lab: Lab

    @property
    def store(self) -> Store:
        """For reading, and for blobs."""
        return self.log.store

    # --- commands ---

    async def take(self, user: Actor, row: SessionRow) -> Unit:
        """The unit of ``notebook.take``. An agent at work carries out the call that it has begun, then waits."""
        _check_holder(row, user)
        place = self.place(row)
        base: BlobRow | None = None
        if hand.hand_of(row) is None:
            left = await self._keep_work(place, row, f"before-hand:{int(row.meta.get(HANDS) or 0) + 1}")
            base = await self._blob(left, row.id)

        async def unit(tx: Tx, session: SessionRow) -> dict[str, Any]:
            _check_holder(session, user)
            working = bool(await tx.list_runs(session.id, status=RUNNING))
            if (held := hand.hand_of(session)) is not None:
                return {"seq": 0, "extra": {"hand": "person", "working": working}}
            number = int(session.meta.get(HANDS) or 0) + 1
            if base is not None:
                await tx.put_blob(base)
            held = Hand(
                holder=user.name,
                display=one_line(user.display or user.name, 100),
                since=tx.now,
                number=number,
                path=place.public,
                notebook=place.notebook,
                base=base.hash if base is not None else "",
            )
            meta = {**session.meta, HAND: hand.kept_hand(held), HANDS: number}
            await tx.update_session(session.id, meta=meta)
            events = await tx.append(session.id, self.picture(place, held))
            return {"seq": events[0].seq, "extra": {"hand": "person", "working": working}}

        return unit

    async def settle(self, id: str) -> None:
        """After a take: the call that an agent was at comes to its end, if that takes no time, and what it has made is
        committed as the agent's. So what is there afterwards is the person's.
        """
        for _ in range(round(BEGUN_S / LOOK_S)):
            if not await self._acts(id):
                break
            await asyncio.sleep(LOOK_S)
        try:
            await self._begin_anew(id)
        except PostdocError as e:  # the notebook is taken all the same
            _log.warning("What the agent was at is not told apart: %s", e)

    async def _begin_anew(self, id: str) -> None:
        """Commit the agent's work; what differs from here on is the person's."""
        row = await self.store.get_session(id)
        held = hand.hand_of(row)
        if row is None or held is None or not (root := self.place(row).root).is_dir():
            return
        place = Place(root, held.path, held.notebook)
        left = await self._keep_work(place, row, f"before-hand:{held.number}.2")
        if (base := await self._blob(left, id)) is None or base.hash == held.base:
            return

        async def unit(tx: Tx) -> None:
            session = await tx.get_session(id)
            now = hand.hand_of(session)
            if session is None or now is None or now.number != held.number:
                return
            await tx.put_blob(base)
            now = msgspec.structs.replace(now, base=base.hash)
            await tx.update_session(id, meta={**session.meta, HAND: hand.kept_hand(now)})

        await self.log.write(unit)

    async def _acts(self, id: str) -> bool:
        """Whether an agent is in the middle of a call."""
        for run in await self.store.list_runs(id, status=RUNNING):
            steps = await self.store.steps(run.id)
            if any(step.status == "started" and key.startswith("tool:") for key, step in steps.items()):
                return True
        return False

    async def give(self, user: Actor, row: SessionRow) -> Unit:
        """The unit of ``notebook.give``. What the person has changed is committed by then; an agent that waits goes on.

        PostdocError: forbidden when somebody else has it; busy when another git program is at work; storage_full (or
        notebook_failed) when what they have typed cannot be saved.
        """
        _check_holder(row, user)
        held = hand.hand_of(row)
        if held is None:
            return _nothing_to_give
        news, blob = await self._changes(held, row)
        ahead = await count_ahead(self.lab, self.store, row) if news.commit else None

        async def unit(tx: Tx, session: SessionRow) -> dict[str, Any]:
            now = hand.hand_of(session)
            if now is None or now.number != held.number:
                return await _nothing_to_give(tx, session)
            meta = {name: value for name, value in session.meta.items() if name != HAND}
            if not news.empty:
                meta[GIVEN] = [*session.meta.get(GIVEN, []), msgspec.to_builtins(news)][-KEPT_NEWS:]
            if blob is not None:
                await tx.put_blob(blob)
            shown = meta.get("project")
            if news.commit and isinstance(shown, dict) and shown.get("commit") and shown.get("path") == held.path:
                meta["project"] = {**shown, "commit": news.commit}
            await tx.update_session(session.id, meta=meta)
            place = Place(self.lab.root_dir / held.path, held.path, held.notebook)
            events = await tx.append(session.id, self.picture(place, None))
            if news.commit:
                title = f"By {held.display}: {subject(news)}"
                await tx.append(session.id, Artifact(artifact="commit", title=title, data={"commit": news.commit}))
            await tell_ahead(tx, session.id, ahead)
            goes_on = await _wake(tx, session.id)
            extra: dict[str, Any] = {"hand": "agent", "cells": news.cells}
            extra |= {name: value for name, value in (("commit", news.commit), ("runId", goes_on)) if value}
            return {"seq": events[0].seq, "queued": goes_on is not None, "extra": extra}

        return unit

    def picture(self, place: Place, held: Hand | None) -> Notebook:
        """The event that tells how the notebook is, and in whose hand."""
        status = self.editor_status(place.root)
        return Notebook(
            state=status.state,
            hand="agent" if held is None else "person",
            holder="" if held is None else held.display,
            message=status.message,
            path=place.shown,
        )

    # --- what it is about ---

    def place(self, row: SessionRow) -> Place:
        """The session's project. PostdocError ``not_found`` when there is none, or when it is not where it was."""
        shown = row.meta.get("project")
        path = str(shown.get("path") or "") if isinstance(shown, dict) else ""
        if not path:
            raise PostdocError(
                "not_found",
                "This session has no notebook yet.",
                next="Start a research in it first; its notebook can be taken over as soon as there is one.",
            )
        root = self.lab.root_dir / path
        if names.read_marker(root / ".git").get("session") != row.id:
            raise PostdocError(
                "not_found",
                f"The project's folder {path} is gone: it was moved, renamed or deleted.",
                next="Put it back where it was.",
            )
        assert isinstance(shown, dict)
        notebook = str(shown.get("notebook") or "").removeprefix(f"{path}/")
        return Place(root, path, notebook or NOTEBOOK)

    def editor_status(self, root: Path) -> EditorStatus:
        """How the project's editor is, also when there is none."""
        editors = self.lab.editors
        return editors.status(root) if editors is not None else EditorStatus("stopped")

    def _editor(self, root: Path) -> Editor | None:
        return self.lab.editors.get(root) if self.lab.editors is not None else None

    async def _save(self, root: Path, *, with_typed: bool = False) -> None:
        """What people have typed goes to disk. An editor that cannot do that now has saved what it had by itself."""
        editor = self._editor(root)
        if editor is None:
            return
        if with_typed:
            await typed(editor)
        try:
            async with asyncio.timeout(SAVE_S):
                await editor.save()
        except (PostdocError, TimeoutError) as e:
            if with_typed and isinstance(e, PostdocError) and unsaved(e):
                raise
            _log.warning("The editor of %s could not save: %s", root.name, e or "it took too long")

    async def _keep_work(self, place: Place, row: SessionRow, step: str) -> str | None:
        """What an agent has not committed yet becomes a commit of its own, so that the next one is the person's. The
        notebook as the agent has left it.
        """
        begun = [run for run in await self.store.list_runs(row.id, status=RUN_OPEN) if run.started_at is not None]
        if not begun:
            return await self._committed(place)
        await self._save(place.root)
        subject = "Keep the work before the notebook was taken over"
        try:
            await self.lab.git.commit_all(place.root, subject=subject, trailers=_trailers(row.id, begun[0].id, step))
        except PostdocError as e:  # the person takes it all the same: the work is in the next commit then
            _log.warning("The work in %s was not committed: %s", place.root.name, e)
        return await _text(place)

    async def _committed(self, place: Place) -> str | None:
        """The notebook in the last commit. What somebody has written into the file since, while no agent was at work,
        is told with the rest.
        """
        git = self.lab.git
        try:
            if (head := await git.head(place.root)) is not None:
                return await githistory.text_of(git, place.root, head, place.notebook)
        except PostdocError as e:  # the notebook is taken all the same
            _log.warning("The last commit of %s cannot be read: %s", place.root.name, e)
        return await _text(place)

    async def _blob(self, text: str | None, session: str) -> BlobRow | None:
        """The text on disk, to be named in the unit; None for none."""
        if text is None:
            return None
        data = text.encode("utf-8", "replace")
        media_type = "text/plain; charset=utf-8"
        hash = await self.store.write_blob(data)
        return BlobRow(hash=hash, session=session, media_type=media_type, size=len(data))

    async def _changes(self, held: Hand, row: SessionRow) -> tuple[News, BlobRow | None]:
        """What the person has done, committed in their name; nothing when the project is gone."""
        nothing = News(number=held.number, by=held.display, path=held.path)
        try:
            place = self.place(msgspec.structs.replace(row, meta={**row.meta, "project": {"path": held.path}}))
        except PostdocError:
            return nothing, None
        place = Place(place.root, place.public, held.notebook)
        await self._save(place.root, with_typed=True)
        after = await _text(place)
        before = await self._base(held, after)
        changes = [c for c in compare(before, after, held.notebook) if c.change != "same"]
        files = files_among(await self.lab.git.changed(place.root), besides=held.notebook)
        news = msgspec.structs.replace(nothing, cells={c.name: c.change for c in changes}, files=files)
        if news.cells:
            await self._tell_readers(place, row, held)
        news = msgspec.structs.replace(news, commit=await self._commit(place, row, held, news))
        blob = await self._blob("\n".join(map(difference, changes))[:MAX_DIFFERENCES] or None, row.id)
        return msgspec.structs.replace(news, blob=blob.hash if blob is not None else ""), blob

    async def _tell_readers(self, place: Place, row: SessionRow, held: Hand) -> None:
        """The study's own texts say that its verdict is not that of this notebook, unless an agent will see to it."""
        reason = f"{held.display} has changed the notebook by hand; it was not run as a whole since."
        try:
            await outdated.describe(self.store, self.lab, row, place.root, reason)
        except (PostdocError, OSError) as e:
            _log.warning("The README of %s is as it was: %s", place.root.name, e)

    async def _base(self, held: Hand, now: str | None) -> str | None:
        """The notebook as it was when it was taken."""
        try:
            return (await self.store.read_blob(held.base)).decode("utf-8", "replace") if held.base else None
        except PostdocError as e:  # removed by hand: the commit tells what was changed
            _log.warning("What the notebook was before cannot be read: %s", e)
            return now

    async def _commit(self, place: Place, row: SessionRow, held: Hand, news: News) -> str:
        """The commit of what lies there now, empty when nothing has changed.

        A give-back that a crash cut off may have been committed; then somebody may have typed on.
        """
        runs = await self.store.list_runs(row.id)
        begun = [run for run in runs if run.started_at is not None]
        open_runs = [run for run in begun if run.status in RUN_OPEN]
        newest = sorted(begun, key=lambda run: run.started_at or 0.0)[-1:]
        run = next((run.id for run in [*open_runs, *newest]), row.id)
        git, root, made = self.lab.git, place.root, ""
        for attempt in range(1, 100):
            step = f"hand:{held.number}" + (f".{attempt}" if attempt > 1 else "")
            trailers = _trailers(row.id, run, step)
            known = await git.find_trailers(root, {name: trailers[name] for name in trailers if name != "Research-Run"})
            if known is not None:
                made = known.sha
                continue
            if all(path.startswith(OUTPUTS) for path in await git.changed(root)):
                return made  # nothing but what the editor keeps of outputs: the next step of an agent has it
            author = hand.person(held.holder, held.display)
            commit = await git.commit_all(root, subject=disarmed(subject(news)), trailers=trailers, author=author)
            return commit.sha if commit is not None else made
        return made


def _check_holder(row: SessionRow, user: Actor) -> None:
    if row.kind == "room":
        raise PostdocError("bad_message", "A room has no notebook.", next="Take the notebook of a research session.")
    held = hand.hand_of(row)
    if held is not None and held.holder != user.name:
        raise PostdocError(
            "forbidden",
            f"{held.display} has the notebook.",
            next="Watch it, or ask them to give it back.",
        )


async def _nothing_to_give(_tx: Tx, _session: SessionRow) -> dict[str, Any]:
    return {"seq": 0, "extra": {"hand": "agent", "cells": {}}}


async def _wake(tx: Tx, session: str) -> str | None:
    """The run that waited for the notebook is queued again; its id."""
    asked = {request.run for request in await tx.list_requests(session)}
    for run in await tx.list_runs(session, status=WAITING):
        if run.id in asked:
            continue
        if await tx.update_run(run.id, expect=WAITING, status="queued", not_before=0.0) is not None:
            await set_state(tx, session, "queued", None, run.id)
            return run.id
    return None


def _trailers(session: str, run: str, step: str) -> dict[str, str]:
    return {"Research-Session": session, "Research-Run": run, "Research-Step": step}


async def _text(place: Place) -> str | None:
    try:
        return await asyncio.to_thread(read, place.root, place.notebook)
    except OSError:
        return None
