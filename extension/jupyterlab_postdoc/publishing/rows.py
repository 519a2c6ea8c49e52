"""The rows of the table of publications, as the watch reads and writes them: many servers, one look at a time."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from jupyterlab_postdoc.log import EventLog
from jupyterlab_postdoc.protocol import Artifact, Publication
from jupyterlab_postdoc.store.base import RUN_OPEN, PublicationRow, Reads, Tx

from . import seen
from .seen import Watched, remembered, watched

CLAIM_S = 180.0
"""A look that was claimed and never written (its server died) is due again after this."""


async def publishing(reads: Reads, row: PublicationRow) -> bool:
    """Whether a run is just about to change the publication: it has the word."""
    runs = await reads.list_runs(row.session, status=RUN_OPEN)
    return row.state == "publishing" or any(run.kind == "publish" for run in runs)


class Rows:
    """``again_s``: seconds until a look that had to give way is due again."""

    def __init__(self, log: EventLog, *, clock: Callable[[], float], again_s: float) -> None:
        self._log = log
        self._clock = clock
        self._again_s = again_s

    async def claim(self, row: PublicationRow) -> PublicationRow | None:
        """The row as it is now, with ``look_at`` ours. None: somebody else has it, or is publishing, or it is gone."""
        now = self._clock()

        async def unit(tx: Tx) -> PublicationRow | None:
            stored = await tx.get_publication(row.session)
            if stored is None or stored.look_at != row.look_at:
                return None
            if await publishing(tx, stored):
                if stored.look_at is not None:
                    later = msgspec.structs.replace(stored, look_at=now + self._again_s)
                    await tx.put_publication(later, quiet=True)
                return None
            memory = msgspec.structs.replace(watched(stored), claimed_at=now)
            return await tx.put_publication(remembered(stored, memory, look_at=now + CLAIM_S), quiet=True)

        return await self._log.write(unit)

    async def write(
        self, claim: PublicationRow, event: Publication | None, memory: Watched, look_at: float | None
    ) -> PublicationRow | None:
        """Put the row, and the events when there is news. None when the session is gone or somebody else has written
        meanwhile: what was seen is old then, and the next look will see more.
        """
        before = seen.shown(claim)

        async def unit(tx: Tx) -> PublicationRow | None:
            stored = await tx.get_publication(claim.session)
            if stored is None:
                return None
            if stored.shown != claim.shown or await publishing(tx, stored):
                if stored.look_at == claim.look_at:
                    later = msgspec.structs.replace(stored, look_at=self._clock() + self._again_s)
                    await tx.put_publication(later, quiet=True)
                return None
            now_kept = watched(stored)
            kept = msgspec.structs.replace(memory, handed=now_kept.handed)
            if event is None or before is None:
                return await tx.put_publication(remembered(stored, kept, look_at=look_at), quiet=True)
            news = seen.told(event) != seen.told(before)
            row = remembered(stored, kept, look_at=look_at, shown=msgspec.to_builtins(event))
            if news:
                found = _found(event, before, stored)
                if found:  # publishing again must not name it a second time
                    told = [*(stored.body.get("announced") or []), *(one.url for one in found)]
                    row = msgspec.structs.replace(row, body={**row.body, "announced": told})
                await tx.append(claim.session, event, *found)
            return await tx.put_publication(row, quiet=not news)

        return await self._log.write(unit)


def _found(event: Publication, before: Publication, stored: PublicationRow) -> list[Artifact]:
    """A pull request that nobody has announced yet: somebody opened it by hand."""
    pull, known = seen.pull_of(event), seen.pull_of(before)
    if pull is None or pull.number in watched(stored).announced or (known is not None and known.number == pull.number):
        return []
    if pull.url in (stored.body.get("announced") or []):
        return []
    return [Artifact(artifact="pr", url=pull.url, title=pull.title)]
