"""Runs: units of work that outlive the process that began them. Claim, lease, stop, recovery.

The run row is the truth. A process that executes a run holds a lease and an epoch; whoever takes the run over raises
the epoch of the
session, and from then on the store refuses every write of the old owner.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Collection
from typing import Literal

from .errors import PostdocError, not_found
from .log import EventLog
from .protocol import Answered, ApprovalResolved, Body
from .run_context import CancelState as CancelState
from .run_context import How as How
from .run_context import OnRequeued as OnRequeued
from .run_context import Paused as Paused
from .run_context import RunContext as RunContext
from .run_context import Stopped as Stopped
from .run_context import Yielded as Yielded
from .run_context import cancel_requests, close_items
from .run_context import unless_stopped as unless_stopped
from .store.base import CANCEL_GRACEFUL as CANCEL_GRACEFUL
from .store.base import CANCEL_NOW as CANCEL_NOW
from .store.base import Fence as Fence
from .store.base import LeaseLost as LeaseLost
from .store.base import RequestRow, RunRow, RunStatus, Tx, WorkerRow
from .store.base import RunSignal as RunSignal
from .store.host import host_key, is_dead, this_worker

LEASE_S = 30.0
GRACEFUL_S = 8.0
"""A graceful stop that takes longer becomes a hard one, which has two seconds more: ten in all."""
INSIST_S = 2.0
"""A cancelled task that still runs is cancelled again after this time."""
FORGET_WORKER_S = 86_400.0
RUNNING: tuple[RunStatus, ...] = ("running",)

logger = logging.getLogger("jupyterlab_postdoc.runs")


class Runs:
    """The run rows of a log, as this process works on them."""

    def __init__(
        self,
        log: EventLog,
        *,
        lease_s: float = LEASE_S,
        graceful_s: float = GRACEFUL_S,
        on_requeued: OnRequeued | None = None,
    ) -> None:
        """``on_requeued`` joins the transaction in which a run goes back to the queue without its execution's doing."""
        self.log = log
        self.on_requeued = on_requeued
        self.lease_s = lease_s
        self.graceful_s = graceful_s
        self.row: WorkerRow | None = None
        self.held: dict[str, RunContext] = {}
        self._renewer: asyncio.Task[None] | None = None

    @property
    def worker(self) -> str:
        """The id of this process among the workers."""
        assert self.row is not None, "runs were not started"
        return self.row.id

    async def start(self) -> None:
        """Register this process as a worker and begin to renew leases."""
        row = this_worker()
        await self.log.write(lambda tx: tx.put_worker(row))
        self.row = row
        self._renewer = asyncio.create_task(self._renew_loop(), name="postdoc lease renewer")

    async def stop(self) -> None:
        """Forget this worker, unless a run is still in its name: others see by the row that this process has ended."""
        if self._renewer is not None:
            self._renewer.cancel()
            await asyncio.wait([self._renewer])
            self._renewer = None
        if self.row is not None:
            worker, self.row = self.row.id, None

            async def forget(tx: Tx) -> None:
                if not any(r.owner == worker for r in await tx.list_runs(status=RUNNING, limit=100_000)):
                    await tx.delete_worker(worker)

            try:
                await self.log.write(forget)
            except PostdocError as error:
                logger.info("the worker row stays: %s", error)

    # --- queue ---

    async def submit(self, tx: Tx, run: RunRow) -> RunRow:
        """Put a run in the queue, in the caller's transaction. A dispatcher sees it after COMMIT by itself."""
        return await tx.insert_run(run)

    async def claim(self, queues: Collection[str] | None = None) -> RunContext | None:
        """Take the next run; None when there is nothing to do. What a lost owner left half said is made final with
        it.
        """
        began = time.monotonic()

        async def unit(tx: Tx) -> RunRow | None:
            run = await tx.claim(self.worker, queues=queues, lease_s=self.lease_s)
            if run is not None and run.interrupted:
                await close_items(tx, run, Fence(run.id, run.epoch), None, tools=False)
            return run

        run = await self.log.write(unit)
        if run is None:
            return None
        ctx = RunContext(run, self.log)
        ctx.lease_deadline = began + self.lease_s
        ctx.on_requeued = self.on_requeued
        self.held[run.id] = ctx
        self._ask(ctx, run.cancel)
        return ctx

    def drop(self, ctx: RunContext) -> None:
        """The execution is over: its lease is no longer renewed."""
        if self.held.get(ctx.run.id) is ctx:
            del self.held[ctx.run.id]

    async def release(self, ctx: RunContext) -> None:
        """Give a run back to the queue for the next process."""
        await ctx.release()
        self.drop(ctx)

    # --- lease ---

    async def renew(self) -> None:
        """Renew the leases of all held runs; what was lost is cancelled. PostdocError when the store cannot write."""
        held = [c for c in self.held.values() if not c.ended]
        began = time.monotonic()
        fences = [c.fence for c in held]
        alive = await self.log.write(lambda tx: tx.renew(self.worker, fences, lease_s=self.lease_s))
        for ctx in held:
            if ctx.run.id in alive:
                ctx.lease_deadline = began + self.lease_s
                self._ask(ctx, alive[ctx.run.id])
            else:
                self._lost(ctx)

    async def _renew_loop(self) -> None:
        while True:
            await asyncio.sleep(self.lease_s / 3)
            try:
                await self.renew()
            except PostdocError as error:
                logger.warning("leases could not be renewed: %s", error)
                for ctx in list(self.held.values()):
                    if time.monotonic() > ctx.lease_deadline:
                        self._lost(ctx)

    def _lost(self, ctx: RunContext) -> None:
        if not (ctx.ended or ctx.lost or ctx.leaving):
            logger.warning("run %s was taken over by another process", ctx.run.id)
            ctx.lose()

    async def look(self) -> None:
        """See what others did to the held runs: a stop, a takeover, a deleted session."""
        held = dict(self.held)
        if not held:
            return
        rows = {r.id: r for r in await self.log.store.list_runs(status=RUNNING, limit=100_000)}
        for id, ctx in held.items():
            row = rows.get(id)
            if row is None or row.epoch != ctx.fence.epoch:
                self._lost(ctx)
            else:
                self._ask(ctx, row.cancel)

    # --- stop ---

    async def cancel(self, run_id: str, how: Literal["graceful", "now"]) -> RunRow | None:
        """Ask a run to stop (see :func:`cancel`) and tell its execution at once when it is ours."""
        row = await self.log.write(lambda tx: cancel(tx, run_id, how))
        ctx = self.held.get(run_id)
        if row is not None and ctx is not None:
            self._ask(ctx, row.cancel)
        return row

    def _ask(self, ctx: RunContext, level: int) -> None:
        how: How | None = {CANCEL_GRACEFUL: "graceful", CANCEL_NOW: "now"}.get(level)  # type: ignore[assignment]
        if how is None or ctx.cancel.how == how or ctx.cancel.how == "now":
            return
        ctx.cancel.set(how)
        if how == "now":
            self._insist(ctx)
        else:
            asyncio.get_running_loop().call_later(self.graceful_s, self._ask, ctx, CANCEL_NOW)

    def _insist(self, ctx: RunContext) -> None:
        if ctx.task is not None and not ctx.task.done() and not ctx.ended:
            if not ctx.leaving:  # its end is just being stored: let it
                ctx.task.cancel()
            asyncio.get_running_loop().call_later(INSIST_S, self._insist, ctx)

    # --- recovery ---

    async def recover(self) -> list[RunRow]:
        """Queue the runs of lost owners again (dead on this host: at once; else past their lease); let requests expire.

        Call it at start and every few seconds. Returns the runs that were taken.
        """
        workers = {w.id: w for w in await self.log.store.list_workers()}
        host = host_key()
        dead = {w.id for w in workers.values() if is_dead(w, host)}
        running = await self.log.store.list_runs(status=RUNNING, limit=100_000)
        taken = []
        for run in running:
            if self._is_lost(run, dead):
                row = await self.log.write(lambda tx, run=run: self._interrupt(tx, run))  # type: ignore[misc]
                taken += [row] if row is not None else []
        await self._forget(
            workers, dead | {w.id for w in workers.values() if w.heartbeat_at < time.time() - FORGET_WORKER_S}
        )
        await self._expire()
        return taken

    async def _interrupt(self, tx: Tx, run: RunRow) -> RunRow | None:
        row = await tx.interrupt(run.id, run.epoch)
        if row is not None and self.on_requeued is not None:
            await self.on_requeued(tx, row)
        return row

    def _is_lost(self, run: RunRow, dead: set[str]) -> bool:
        if run.owner in dead:
            return True
        if self.row is not None and run.owner == self.row.id:
            return run.id not in self.held  # its execution ended without being able to say so
        return run.lease_until < time.time()

    async def _forget(self, workers: dict[str, WorkerRow], gone: set[str]) -> None:
        for id in gone - {self.row.id if self.row else ""}:
            if id in workers:
                await self.log.write(lambda tx, id=id: tx.delete_worker(id))  # type: ignore[misc]

    async def _expire(self) -> None:
        now = time.time()
        for request in await self.log.store.list_requests(status="open"):
            if request.deadline is not None and request.deadline <= now:
                try:
                    await self.log.write(lambda tx, request=request: _expire_request(tx, request))  # type: ignore[misc]
                except PostdocError as error:  # answered in this very moment
                    logger.info("request %s did not expire: %s", request.id, error)


async def _expire_request(tx: Tx, request: RequestRow) -> None:
    await tx.resolve_request(request.id, "expired", decision="expired")
    body: Body
    if request.kind == "question":
        body = Answered(requestId=request.id, answer="", by="", decision="expired")
    else:
        body = ApprovalResolved(requestId=request.id, decision="expired", by="")
    await tx.append(request.session, body, run=request.run)


async def cancel(tx: Tx, run_id: str, how: Literal["graceful", "now"]) -> RunRow | None:
    """Ask a run to stop, in the caller's transaction; the execution is told after COMMIT.

    A run that never began becomes ``cancelled``. One that began always ends by its own execution, which says so in
    the log: a waiting
    one is queued again with the wish to stop. None when it had ended already; ``not_found``.
    """
    run = await tx.get_run(run_id)
    if run is None:
        raise not_found("run", run_id)
    level = max(run.cancel, CANCEL_NOW if how == "now" else CANCEL_GRACEFUL)
    if run.status == "queued" and run.started_at is None:
        return await tx.update_run(run_id, status="cancelled", cancel=level, ended_at=tx.now)
    if run.status == "waiting":
        row = await tx.update_run(run_id, status="queued", cancel=level)
        await cancel_requests(tx, run)
        return row
    if run.status in {"queued", "running"}:
        return await tx.update_run(run_id, cancel=level)
    return None


async def requeue(tx: Tx, run_id: str) -> RunRow | None:
    """Let a run carry on from its last finished step (command ``resume``).

    It must have ended (stopped, error) or wait for no request. A step that failed for good is tried again: a person
    asks for it after having removed the cause. None when it is in no such state.
    """
    run = await tx.get_run(run_id)
    if run is None:
        raise not_found("run", run_id)
    if run.status == "waiting" and any(r.run == run_id for r in await tx.list_requests(run.session)):
        return None
    row = await tx.update_run(
        run_id,
        expect=("stopped", "error", "waiting"),
        status="queued",
        cancel=0,
        crashes=0,
        not_before=0.0,
        error=None,
        ended_at=None,
    )
    if row is not None:
        for step in (await tx.steps(run_id)).values():
            if step.status == "failed":
                await tx.end_step(run_id, step.key, "started")
    return row


async def answer(
    tx: Tx, request_id: str, *, answer: str | None = None, decision: str | None = None, by: str
) -> RequestRow:
    """Answer a request; its waiting run is queued again. The caller appends Answered or ApprovalResolved in the same
    unit.

    ``not_found``; ``busy`` when it is closed already.
    """
    return await tx.resolve_request(request_id, "answered", answer=answer, decision=decision, by=by)
