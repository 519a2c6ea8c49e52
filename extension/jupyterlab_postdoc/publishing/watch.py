"""Watches what became of publications on the forge: pull requests opened by hand, checks, reviews, merges.

One task per server sleeps until the next look is due or something changed here. The table says what is due, so any
number of servers share the work: who writes ``look_at`` first has the look. A look writes the row, and appends a
``publication`` event only when a person would see a difference.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from jupyterlab_postdoc.errors import PostdocError
from jupyterlab_postdoc.log import EventLog
from jupyterlab_postdoc.protocol import Publication
from jupyterlab_postdoc.store.base import PublicationRow

from . import seen
from .comments import PullComments
from .pace import SLOWEST_S, Forges, Pace, not_connected
from .rows import CLAIM_S, Rows, publishing
from .seen import Watched, repository_of, watched

FAST_S = 15.0
LOOK_TIMEOUT_S = 90.0
LONGEST_WAIT_S = 300.0
SETTLE_S = 0.3
"""After a wake-up: a busy server changes many runs, and one look at the table serves them all."""
FRESH_S = 3.0
CONCURRENCY = 2

logger = logging.getLogger("jupyterlab_postdoc.publishing")


class PullWatch:
    """``poll_s``: seconds between two looks, ``fast_s`` while somebody follows; ``clock`` tells UNIX seconds."""

    def __init__(
        self,
        log: EventLog,
        forges: Forges,
        *,
        poll_s: float = 60.0,
        fast_s: float = FAST_S,
        look_timeout_s: float = LOOK_TIMEOUT_S,
        clock: Callable[[], float] = time.time,
        pace: Pace | None = None,
    ) -> None:
        self._log = log
        self._forges = forges
        self._poll_s = poll_s
        self._fast_s = min(fast_s, poll_s)
        self._rows = Rows(log, clock=clock, again_s=self._fast_s)
        self.comments = PullComments(log, forges)
        self._timeout_s = look_timeout_s
        self._clock = clock
        self._pace = pace or Pace(poll_s, clock=clock)
        self._slots = asyncio.Semaphore(CONCURRENCY)
        self._looks: dict[str, asyncio.Task[PublicationRow | None]] = {}
        self._woken = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._deaf: Callable[[], object] = lambda: None

    async def start(self) -> None:
        """Begin to watch; the log must have been started."""
        self._deaf = self._log.on_change(self.wake)
        self._task = asyncio.create_task(self._run(), name="postdoc pull watch")

    async def stop(self) -> None:
        """End the watch and the looks under way. Safe to call twice."""
        self._deaf()
        tasks = [task for task in (self._task, *self._looks.values()) if task is not None]
        self._task = None
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        self._looks.clear()

    def wake(self) -> None:
        """Something may be due now: a publication was made, or a user has connected."""
        self._woken.set()

    async def is_connected(self, user: str) -> bool:
        """Whether anybody can be asked for this user."""
        try:
            return await self._forges.of(user) is not None
        except PostdocError:
            return False  # a connection that does not work; api/github says why

    def connected(self, user: str) -> None:
        """``user`` has another credential now: what was held back for want of one need not wait."""
        self._pace.forget(user)
        self.wake()

    async def _run(self) -> None:
        broken = False
        while True:
            self._woken.clear()
            try:
                wait, broken = await self.round(), False
            except PostdocError as error:
                if not broken:
                    logger.warning("cannot see which publications are due: %s", error.message)
                wait, broken = 30.0, True
            except Exception:  # the boundary of this task: one bad row must not end the watch of all others
                logger.exception("the watch of publications stumbled")
                wait = 60.0
            try:
                async with asyncio.timeout(wait):
                    await self._woken.wait()
                await asyncio.sleep(SETTLE_S)
            except TimeoutError:
                pass

    async def round(self) -> float:
        """Begin the looks that are due; seconds until it is worth to do so again."""
        now, store = self._clock(), self._log.store
        due = {row.session: row for row in await store.due_publications(now)}
        if followed := self._log.followed():
            for row in (await store.publications(followed)).values():
                if self._hurries(row, now):
                    due[row.session] = row
        held: list[PublicationRow] = []
        for row in due.values():
            if row.session in self._looks:
                continue
            if self._pace.held(row.owner) is not None:
                held.append(row)
            else:
                self._begin(row)
        await asyncio.gather(*(self._put_off(row) for row in held))
        next_at = await store.next_look()
        if next_at is None:
            return LONGEST_WAIT_S
        # Somebody may begin to watch at any moment, and nobody tells us: to look for that costs one small query.
        return min(max(next_at - self._clock(), 1.0 if self._looks else 0.05), self._fast_s)

    async def settled(self) -> None:
        """Wait for the looks under way."""
        while self._looks:
            await asyncio.wait(list(self._looks.values()))
            await asyncio.sleep(0)

    def _hurries(self, row: PublicationRow, now: float) -> bool:
        memory = watched(row)
        if row.look_at is None or row.state == "publishing" or self._pace.low(row.owner):
            return False
        under_way = memory.claimed_at > memory.at and now - memory.claimed_at < CLAIM_S  # perhaps by another server
        return seen.may_hurry(memory) and now - memory.at >= self._fast_s and not under_way

    def _begin(self, row: PublicationRow) -> asyncio.Task[PublicationRow | None]:
        task = asyncio.create_task(self._look_due(row), name=f"postdoc look {row.session}")
        self._looks[row.session] = task
        task.add_done_callback(lambda _: self._ended(row.session))
        return task

    def _ended(self, session: str) -> None:
        self._looks.pop(session, None)
        self.wake()

    async def _look_due(self, row: PublicationRow) -> PublicationRow | None:
        try:
            async with self._slots:
                if self._pace.held(row.owner) is not None:
                    await self._put_off(row)
                    return row
                return await self._look(row)
        except PostdocError as error:
            logger.debug("the look at %s failed: %s", row.session, error.message)  # noted where it was written down
        except Exception:  # the boundary of this task
            logger.exception("the look at the publication of %s stumbled", row.session)
        return None

    async def look(self, session: str) -> PublicationRow | None:
        """Look now and return the row; None when the session has no publication.

        Raises PostdocError: ``github_auth`` when nobody is connected, and what the forge says. While the session is
        being published, and within three seconds of the last look, the row is returned as it is.
        """
        if (task := self._looks.get(session)) is not None:
            await asyncio.wait([task])
            return await self._log.store.get_publication(session)
        row, now = await self._log.store.get_publication(session), self._clock()
        if row is None or repository_of(seen.shown(row)) is None or await publishing(self._log.store, row):
            return row
        if 0 <= now - watched(row).at < FRESH_S:
            return row
        hold = self._pace.held(row.owner)
        if hold is not None and hold.error is not None and hold.error.code == "github_rate_limited":
            raise _copy(hold.error)
        async with self._slots:
            looked = await self._look(row)
        return looked if looked is not None else await self._log.store.get_publication(session)

    async def _look(self, row: PublicationRow) -> PublicationRow | None:
        """Claim, ask, write. None when somebody else has the word; raises what the forge says, after writing it."""
        claim = await self._rows.claim(row)
        if claim is None:
            return None
        event, memory = seen.shown(claim), watched(claim)
        if event is None or repository_of(event) is None:
            return await self._rows.write(claim, event, memory, None)
        try:
            async with asyncio.timeout(self._timeout_s):
                forge = await self._forges.of(claim.owner)
                found = await seen.see(forge, event, memory, self._clock()) if forge is not None else None
                rate = await forge.rate() if forge is not None else None
        except TimeoutError:
            error = PostdocError(
                "github_unreachable",
                f"GitHub did not answer within {self._timeout_s:.0f} s.",
                next="It is asked again by itself.",
                retryable=True,
            )
            await self._after_failure(claim, event, memory, error)
            raise error from None
        except PostdocError as error:
            await self._after_failure(claim, event, memory, error)
            raise
        if found is None:
            await self._rows.write(claim, event, memory, self._pace.not_connected(claim.owner))
            raise not_connected()
        self._pace.good(claim.owner, rate)
        after, kept, _ = seen.merged(event, memory, found, self._clock())
        return await self._rows.write(claim, after, kept, self._next(claim, after, kept))

    def _next(self, row: PublicationRow, event: Publication, memory: Watched) -> float | None:
        now = self._clock()
        wait = seen.interval(event, memory, now, self._poll_s)
        if wait is None:
            return None
        if self._pace.low(row.owner):
            wait *= 4
        return now + wait * self._pace.jitter()

    async def _after_failure(
        self, claim: PublicationRow, event: Publication, memory: Watched, error: PostdocError
    ) -> None:
        now = self._clock()
        after, kept, _ = seen.failed(event, memory, error, now)
        self._pace.bad(claim.owner, error)
        hold = self._pace.held(claim.owner)
        if error.code == "github_rate_limited":
            kept = memory  # nothing is wrong with this publication
        elif hold is None and not memory.failures:
            logger.warning("the publication of %s cannot be looked at: %s", claim.session, error.message)
        wait = min(self._poll_s * 2.0 ** min(kept.failures, 10), SLOWEST_S if kept.failures < 100 else seen.HOUR)
        await self._rows.write(claim, after, kept, max(now + wait * self._pace.jitter(), hold.until if hold else 0.0))

    async def _put_off(self, row: PublicationRow) -> None:
        """Not now: the forge is not asked for this user. When it refuses the token, every publication says so."""
        hold = self._pace.held(row.owner)
        if hold is None:
            return  # just over: the row is still due
        event, memory = seen.shown(row), watched(row)
        until = hold.until + self._fast_s * abs(self._pace.jitter() - 1)
        claim = await self._rows.claim(row)
        if claim is None:
            return
        if event is not None and hold.error is not None and hold.error.code == "github_auth":
            event, memory, _ = seen.failed(event, memory, hold.error, self._clock())
        await self._rows.write(claim, event, memory, until)


def _copy(error: PostdocError) -> PostdocError:
    """An exception of its own for each who hears it: one object raised twice would collect both tracebacks."""
    return PostdocError(error.code, error.message, next=error.next, retryable=error.retryable, **error.details)
