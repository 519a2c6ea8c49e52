"""Runs: units of work that outlive the process that began them. Lease, fence, step journal, questions, stop, recovery."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Literal, TypeVar

from .log import EventLog, TextStream
from .protocol import Body, Event
from .store.base import CANCEL_GRACEFUL as CANCEL_GRACEFUL
from .store.base import CANCEL_NOW as CANCEL_NOW
from .store.base import Draft, RequestRow, RunRow, RunStatus, StepRow, Tx
from .store.base import Fence as Fence
from .store.base import LeaseLost as LeaseLost
from .store.base import RunSignal as RunSignal

R = TypeVar("R")
How = Literal["graceful", "now", "yield"]


class Stopped(RunSignal):
    """A person asked to stop. ``how`` is graceful or now."""

    def __init__(self, how: Literal["graceful", "now"]) -> None:
        super().__init__(how)
        self.how = how


class Paused(RunSignal):
    """The run waits (``reason``: question, approval…); ``request`` is the id of what it waits for."""

    def __init__(self, reason: str, request: str | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.request = request


class Yielded(RunSignal):
    """The server stops: leave at this step edge; the next process carries on."""


class CancelState:
    """Whether and how this execution is to end. ``how`` only grows: yield < graceful < now."""

    how: How | None = None

    def set(self, how: How) -> None: ...

    async def wait(self) -> How:
        """Until somebody asks."""
        raise NotImplementedError

    def check(self) -> None:
        """Raise Stopped or Yielded when somebody has asked."""


class RunContext:
    """What an executing run holds. All it writes is fenced: after the lease is lost every write raises LeaseLost.

    Bodies that have ``runId``/``provider`` get them filled in when unset (``provider`` from the attribute).
    """

    run: RunRow
    session: str
    fence: Fence
    log: EventLog
    cancel: CancelState
    provider: str | None = None
    ended: bool = False
    """True once ``finish`` or ``pause`` has given the run away."""

    async def emit(self, *bodies: Body | Draft) -> list[Event]:
        raise NotImplementedError

    async def write(self, unit: Callable[[Tx], Awaitable[R]]) -> R:
        """A unit that first checks the fence, e.g. events and a session's state in one transaction."""
        raise NotImplementedError

    async def append(self, tx: Tx, *bodies: Body | Draft) -> list[Event]:
        """Inside such a unit: like emit."""
        raise NotImplementedError

    async def step(
        self,
        key: str,
        fn: Callable[[], Awaitable[R]],
        *,
        reconcile: Callable[[], Awaitable[R | None]] | None = None,
        record: Callable[[R], Sequence[Body | Draft]] | None = None,
    ) -> R:
        """Do ``fn`` once and for all. Done before → its stored result (record is not called again). Started before (a crash) →
        ``reconcile()``: what it returns is the result, None means not done → ``fn()``. ``record(result)`` gives the events that are
        stored together with the result. A PostdocError from ``fn`` is final: stored, and raised again on every resume.
        RunSignals and other exceptions leave the step ``started``. The result must be plain JSON."""
        raise NotImplementedError

    async def steps(self) -> dict[str, StepRow]:
        raise NotImplementedError

    def text(self, item: str, type: str = "token") -> TextStream:
        raise NotImplementedError

    async def ask(self, request: RequestRow, *bodies: Body | Draft) -> RequestRow:
        """Ask once (by ``request.id``; the bodies are stored with the first asking). Returns the request when it is closed (answered,
        expired, cancelled: see its ``status``), else raises Paused: let it escape; the run waits without a lease and begins
        again, in its place in the queue, after the answer."""
        raise NotImplementedError

    async def finish(
        self,
        status: RunStatus,
        *bodies: Body | Draft,
        output: object = None,
        error: object = None,
        then: Callable[[Tx], Awaitable[object]] | None = None,
    ) -> None:
        """End the run (done, error, stopped): its last events, its row and ``then(tx)`` (the session's state) in one transaction.
        Partial items still open become final (``partial: true``). Nothing can be written through this context afterwards."""

    async def pause(self, *bodies: Body | Draft, then: Callable[[Tx], Awaitable[object]] | None = None) -> bool:
        """After Paused: give the lease back. True: now waiting; False: the answer was faster, the run is queued again."""
        raise NotImplementedError


class Runs:
    """The run rows of a log, as this process works on them."""

    worker: str
    log: EventLog

    def __init__(self, log: EventLog, *, lease_s: float = 30.0) -> None: ...

    async def start(self) -> None:
        """Register this process as a worker."""

    async def stop(self) -> None: ...

    async def submit(self, tx: Tx, run: RunRow) -> RunRow:
        """Put a run in the queue, in the caller's transaction. The dispatcher sees it after COMMIT by itself."""
        raise NotImplementedError

    async def claim(self, queues: Collection[str] | None = None) -> RunContext | None:
        raise NotImplementedError

    async def renew(self) -> None:
        """Renew the leases of all held runs; cancels what was lost."""

    async def release(self, ctx: RunContext) -> None:
        """Give a run back to the queue for the next process."""

    async def recover(self) -> list[RunRow]:
        """Take running runs from owners that are dead (this host) or past their lease, put them in the queue again, and let requests
        past their deadline expire. The dispatcher calls this at start and every few seconds."""
        raise NotImplementedError

    async def cancel(self, run_id: str, how: Literal["graceful", "now"]) -> RunRow | None:
        """Ask a run to stop; a queued or waiting run has no execution: it is set ``stopped`` at once (``cancelled`` when it never
        began). None when it had ended already. ``now`` cancels the task; graceful becomes now after 10 s."""
        raise NotImplementedError


async def requeue(tx: Tx, run_id: str) -> RunRow | None:
    """Let an ended run (stopped, error) carry on from its last finished step (command ``resume``)."""
    raise NotImplementedError


async def answer(
    tx: Tx, request_id: str, *, answer: str | None = None, decision: str | None = None, by: str
) -> RequestRow:
    """Answer a request; its waiting run is queued again. The caller appends Answered / ApprovalResolved in the same unit."""
    raise NotImplementedError


_ = asyncio
