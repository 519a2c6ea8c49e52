"""Checkpoints: every step of an agent is a commit, to be looked at, brought back, or gone on from elsewhere."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

from jupyterlab_postdoc.agent.lab import Lab
from jupyterlab_postdoc.checkpoints import pending
from jupyterlab_postdoc.checkpoints.fork import Unit
from jupyterlab_postdoc.checkpoints.fork import fork as _fork
from jupyterlab_postdoc.checkpoints.place import place_of
from jupyterlab_postdoc.checkpoints.reading import Reader
from jupyterlab_postdoc.checkpoints.restore import Restored
from jupyterlab_postdoc.checkpoints.restore import restore as _restore
from jupyterlab_postdoc.log import EventLog
from jupyterlab_postdoc.store.base import SessionRow

__all__ = ["Checkpoints", "Restored"]


class Checkpoints:
    """Those of all sessions. Whether a user may see a session is known to who calls."""

    def __init__(self, log: EventLog, lab: Lab) -> None:
        self._log = log
        self._lab = lab
        self._reader = Reader(lab.git)
        self._busy: WeakValueDictionary[Path, asyncio.Lock] = WeakValueDictionary()
        self._forking: WeakValueDictionary[tuple[str, ...], asyncio.Lock] = WeakValueDictionary()

    async def list(self, session: SessionRow, limit: int) -> list[dict[str, Any]]:
        """Newest first: ``sha``, ``short``, ``subject``, ``step``, ``run``, ``ts``, ``by`` (empty: an agent) and the
        number of ``cells`` that were added, changed and removed.
        """
        return await self._reader.list(await place_of(self._lab, session), limit)

    async def look(self, session: SessionRow, sha: str, against: str | None) -> dict[str, Any]:
        """``sha``, ``against``, ``cells`` with their code before and after, and other ``files`` that changed.

        ``before`` is what the checkpoint is compared with: the commit before it, the commit ``against``, or (``live``)
        the notebook as it is now.
        """
        return await self._reader.look(await place_of(self._lab, session), sha, against, self._lab.editors)

    async def restore(self, session: SessionRow, sha: str, *, user: str, display: str, key: str) -> Restored:
        """Make the notebook what it was then, as a new commit; see restore.py for what is refused."""
        place = await place_of(self._lab, session)
        lock = self._busy.setdefault(place.root, asyncio.Lock())
        async with lock:
            return await _restore(self._log, self._lab, self._reader, session, sha, user=user, display=display, key=key)

    async def fork(self, session: SessionRow, commit: str, *, owner: str, key: str, at: int | None) -> Unit:
        """The unit that makes a session which goes on from the checkpoint; its project is there already."""
        # One sending of a command at a time: a second one would check files out in what the first one has finished.
        lock = self._forking.setdefault((session.id, owner, key), asyncio.Lock())
        async with lock:
            return await _fork(self._lab, self._log.store, session, commit, owner=owner, key=key, at=at)

    async def tidy(self) -> None:
        """At start: remove the folders of forks that a crash cut off before there was a session for them. A folder that
        a session has is never one of them, so its mark goes: the session may be deleted later, the project stays then.
        """
        for root in await asyncio.to_thread(pending.folders, self._lab.root_dir / self._lab.research_dir):
            with pending.left_behind(root) as session:
                if session is None:
                    continue
                if await self._log.store.get_session(session) is None:
                    await asyncio.to_thread(pending.remove, root)
                else:
                    pending.forget(root)
