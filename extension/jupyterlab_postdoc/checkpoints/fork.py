"""A new session that goes on from a checkpoint of another one, in a project of its own.

The folder is made before the transaction: a resent command finds its own folder again, whatever became of the first
sending, and the next start removes one that no command came back for (see pending.py). The new session gets a finished
run with the study as its journal, so that everything that asks how the project was made finds an answer.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec

from jupyterlab_postdoc.agent import provenance
from jupyterlab_postdoc.agent.lab import Lab
from jupyterlab_postdoc.checkpoints.pending import Pending
from jupyterlab_postdoc.checkpoints.place import Place, check, place_of
from jupyterlab_postdoc.errors import PostdocError
from jupyterlab_postdoc.forge import datasets, names
from jupyterlab_postdoc.forge.checkout import make_fork
from jupyterlab_postdoc.forge.study import Study
from jupyterlab_postdoc.publishing.places import CHECKOUT, kept_place
from jupyterlab_postdoc.store.base import Reads, RunRow, SessionRow, Tx

Unit = Callable[[Tx, SessionRow], Awaitable[dict[str, Any]]]
ENDED = ("done", "error", "stopped")
KEPT_META = ("provider", "template", "repository", "summary")


@dataclass(frozen=True, slots=True)
class _Fork:
    """What the new session is made of."""

    id: str
    run: str
    root: Path
    branch: str
    about: dict[str, Any]


async def fork(
    lab: Lab, reads: Reads, source: SessionRow, commit: str, *, owner: str, key: str, at: int | None
) -> Unit:
    """The unit that makes the session; its project is there when this returns. ``key`` names the command.

    The events are those up to the checkpoint, or up to ``at``. PostdocError ``not_found``, ``storage_full`` …
    """
    place = await place_of(lab, source)
    await check(lab.git, place, commit)
    tag = hashlib.sha256(f"{source.id}/{owner}/{key}".encode()).hexdigest()[:32]
    made, pending = await _make(lab, source, place, commit, f"c_{tag}", f"r_{tag}")
    study, run = await _study(reads, lab, source, place, made, commit)

    async def unit(tx: Tx, session: SessionRow) -> dict[str, Any]:
        upto = at if at is not None else await _seq_of(tx, session.id, commit)
        row = SessionRow(
            id=made.id,
            owner=owner,
            kind=session.kind,
            title=f"{session.title} (fork)"[:200],
            reason="idle",
            persona=session.persona,
            model=session.model,
            repo=made.root.name,
            meta=_meta(session, made, lab, commit, upto),
        )
        await tx.insert_session(row)
        if study is not None and run is not None:
            await tx.insert_run(run)
            for step, result in (("study", msgspec.to_builtins(study)), ("start", commit)):
                await tx.begin_step(run.id, step)
                await tx.end_step(run.id, step, "done", result=result)
        count = await tx.copy_events(session.id, made.id, upto=upto)
        pending.over()
        return {"seq": 0, "extra": {"chatId": made.id, "events": count, "path": row.meta["project"]["path"]}}

    return unit


async def _make(lab: Lab, source: SessionRow, place: Place, commit: str, id: str, run: str) -> tuple[_Fork, Pending]:
    """The folder of the new session, with the files of the checkpoint, and its mark until there is that session."""
    kept = kept_place(source.meta)
    research = lab.root_dir / lab.research_dir
    if kept is not None:
        stem = names.slugify_topic(kept.short, names.MAX_NAME - 9)
        topic, claim = f"{stem}-{names.session_tag(id)}", id
        branch = names.branch_name(source.title or kept.short, id) if kept.branch else "main"
        about = {"repository": kept.name, "branch": branch, "base": kept.base, "baseSha": kept.base_sha}
    else:
        topic, claim, branch, about = f"{place.root.name} fork", run, "main", {}
    root = await names.claim_directory(
        research,
        topic=topic,
        repo_name=None,
        run_id=claim,
        session_id=id,
        taken=lambda name: lab.forge.is_taken(name, run=claim),
    )
    with names.disk_errors(root):
        pending = Pending(root)
    await make_fork(lab.git, place.root, root, branch=branch, sha=commit)
    await asyncio.to_thread(_bring_data, place.root, root)
    if lab.environments is not None:
        await asyncio.to_thread(lab.environments.adopt, place.root, root)
    if about:
        await asyncio.to_thread(names.write_marker, root / ".git", name=root.name, session=id, run=claim, **about)
    return _Fork(id, run, root, branch, about), pending


def _bring_data(source: Path, root: Path) -> None:
    """Data that is too large for commits, when it still is what the checkpoint's list of data says."""
    for entry in datasets.entries(root):
        path = str(entry.get("path"))
        inside = path.startswith("data/") and "/" not in path[5:] and path[5:] not in ("", ".", "..")
        if entry.get("included") is not False or not inside or os.path.lexists(root / path):
            continue
        with names.disk_errors(root):
            datasets.bring(source, root, path, str(entry.get("sha256")))


async def _study(
    reads: Reads, lab: Lab, source: SessionRow, place: Place, made: _Fork, commit: str
) -> tuple[Study | None, RunRow | None]:
    """The study as the new session's own, and the run that stands for how it was made; None in a chat without one."""
    if source.meta.get(CHECKOUT):
        study = await provenance.newest_study(reads, source.id)
    else:
        marker = names.read_marker(place.root / ".git")
        study = await provenance.known_study(reads, lab.templates, str(marker.get("run")), place.root.name)
        if study is None:
            raise PostdocError(
                "not_found",
                "Nothing is known any more of how this project was made, so no session can go on from it.",
                next="Fork the chat without its project, or start a new research.",
            )
    if study is None:
        return None, None
    run = await reads.get_run(study.run)
    study = replace(
        study,
        session=made.id,
        repo_name=made.root.name,
        home=study.home if source.meta.get(CHECKOUT) else "",
        branch=made.branch if source.meta.get(CHECKOUT) else "",
        origins=(*study.origins, study.session),
        forked_at=commit,
    )
    status = run.status if run is not None and run.status in ENDED else "stopped"
    given = {**run.input, "author": study.author} if run is not None else {"topic": study.topic}
    row = RunRow(
        id=made.run,
        session=made.id,
        kind="research",
        queue=lab.queue,
        status=status,
        input={**given, "repo_name": None},
        output={"stop_reason": "forked", "of": study.run},
        error=run.error if run is not None else None,
        created_at=study.created,
        started_at=run.started_at if run is not None else study.created,
        ended_at=(run.ended_at if run is not None else None) or study.created,
    )
    return study, row


def _meta(source: SessionRow, made: _Fork, lab: Lab, commit: str, upto: int | None) -> dict[str, Any]:
    """What is kept of the other session, and where the project is. In whose hand that notebook is, is not ours."""
    path = made.root.relative_to(lab.root_dir).as_posix()
    shown = source.meta.get("project") or {}
    old = str(shown.get("path") or "")
    moved = {
        name: f"{path}{str(shown[name])[len(old) :]}" if str(shown.get(name) or "").startswith(f"{old}/") else None
        for name in ("notebook", "report")
    }
    meta = {name: source.meta[name] for name in KEPT_META if name in source.meta}
    meta |= {"forkOf": source.id, "forkAt": upto, "forkCommit": commit}
    meta["project"] = {"repo": made.root.name, "path": path, **moved, "commit": commit}
    kept = kept_place(source.meta)
    if kept is not None:
        meta[CHECKOUT] = msgspec.to_builtins(msgspec.structs.replace(kept, branch=made.branch if kept.branch else ""))
    return meta


async def _seq_of(tx: Tx, session: str, commit: str) -> int | None:
    """Where in the log the commit was told; None when it was made beside it: then everything is taken along."""
    for event in await tx.read_events(session, finals=True, types=["artifact"], limit=provenance.MAX_EVENTS):
        data = event.body().get("data")
        if isinstance(data, dict) and data.get("commit") == commit:
            return event.seq
    return None
