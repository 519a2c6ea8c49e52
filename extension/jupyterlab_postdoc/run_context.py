"""What an executing run holds: its fence, its journal, its questions and its end."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Any, Literal, TypeVar, cast

import msgspec
from msgspec import UNSET

from .errors import PostdocError
from .log import EventLog, TextStream
from .protocol import (
    Answered,
    ApprovalResolved,
    AssistantMessage,
    Body,
    Event,
    FromRun,
    Thinking,
    ToolResult,
    ToolUse,
)
from .store.base import (
    BlobRow,
    Draft,
    Fence,
    LeaseLost,
    RequestRow,
    RunRow,
    RunSignal,
    RunStatus,
    StepRow,
    Tx,
    as_draft,
)

R = TypeVar("R")
How = Literal["yield", "graceful", "now"]
OnRequeued = Callable[[Tx, RunRow], Awaitable[object]]
_RANK: dict[How | None, int] = {None: 0, "yield": 1, "graceful": 2, "now": 3}


class Stopped(RunSignal):
    """A person asked to stop. ``how`` is graceful or now."""

    def __init__(self, how: Literal["graceful", "now"]) -> None:
        super().__init__(how)
        self.how: Literal["graceful", "now"] = how


class Paused(RunSignal):
    """The run waits (``reason``: question, approval, budget…); ``request`` is the id of the request it waits for, if
    any.
    """

    def __init__(self, reason: str, request: str | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.request = request


class Yielded(RunSignal):
    """The server stops: leave at this edge; the next process carries on."""


class CancelState:
    """Whether and how this execution is to end. ``how`` only grows: yield, graceful, now."""

    def __init__(self) -> None:
        self.how: How | None = None
        self._asked = asyncio.Event()

    def set(self, how: How) -> None:
        if _RANK[how] > _RANK[self.how]:
            self.how = how
        self._asked.set()

    async def wait(self) -> How:
        """Until somebody asks."""
        await self._asked.wait()
        assert self.how is not None
        return self.how

    def check(self) -> None:
        """Raise Stopped or Yielded when somebody has asked."""
        if self.how == "yield":
            raise Yielded
        if self.how is not None:
            raise Stopped(self.how)


class RunContext:
    """Everything written through it is fenced: after the lease is lost every write raises LeaseLost.

    Final bodies that have ``runId`` and ``provider`` get them filled in when unset (``provider`` from the attribute).
    """

    def __init__(self, run: RunRow, log: EventLog, *, lease_s: float = 30.0) -> None:
        self.run = run
        self.session = run.session
        self.fence = Fence(run.id, run.epoch)
        self.log = log
        self.cancel = CancelState()
        self.provider: str | None = None
        self.ended = False
        """True once ``finish`` or ``pause`` has given the run away."""
        self.leaving = False
        """True while ``finish``, ``pause`` or ``release`` is being stored: the run may be gone before we know."""
        self.lost = False
        self.task: asyncio.Task[None] | None = None
        self.on_requeued: OnRequeued | None = None
        self.lease_deadline = time.monotonic() + lease_s
        self._streams: dict[str, TextStream] = {}

    # --- events ---

    async def emit(self, *bodies: Body | Draft) -> list[Event]:
        """Store and publish events of this run. A draft that ``replaces`` an item ends that item's text stream."""
        drafts = self._drafts(bodies)
        await self._settle(drafts)
        return await self.log.append(self.session, *drafts, fence=self.fence)

    async def write(self, unit: Callable[[Tx], Awaitable[R]]) -> R:
        """A unit behind the fence, e.g. events and the session's state in one transaction."""

        async def fenced(tx: Tx) -> R:
            await tx.check(self.session, self.fence)
            return await unit(tx)

        return await self.log.write(fenced)

    async def append(self, tx: Tx, *bodies: Body | Draft) -> list[Event]:
        """Inside such a unit: what emit is outside. Flush the streams of replaced items before the unit."""
        return await tx.append(self.session, *self._drafts(bodies), fence=self.fence)

    def text(self, item: str, type: str = "token", name: str = "") -> TextStream:
        """A stream of partial text of one item (see :meth:`EventLog.text`)."""
        stream = self.log.text(self.session, self.run.id, item, type, name=name, fence=self.fence)
        self._streams[item] = stream
        return stream

    async def put_blob(self, data: bytes, media_type: str) -> str:
        """Keep a large output beside the log; its hash. Name it in an event, or nobody will find it."""
        hash = await self.log.store.write_blob(data)
        row = BlobRow(hash=hash, session=self.session, media_type=media_type, size=len(data))
        await self.write(lambda tx: tx.put_blob(row))
        return hash

    def _drafts(self, bodies: Sequence[Body | Draft]) -> list[Draft]:
        return [self._signed(as_draft(b, self.run.id)) for b in bodies]

    def _signed(self, draft: Draft) -> Draft:
        body = draft.body
        if draft.item is not None or not isinstance(body, FromRun):
            return draft
        changes = {}
        if body.runId is UNSET:
            changes["runId"] = self.run.id
        if body.provider is UNSET and self.provider is not None:
            changes["provider"] = self.provider
        return msgspec.structs.replace(draft, body=msgspec.structs.replace(body, **changes)) if changes else draft

    async def _settle(self, drafts: Sequence[Draft]) -> None:
        """A frame of an item must not follow the event that replaces it."""
        for draft in drafts:
            stream = self._streams.pop(draft.replaces, None) if draft.replaces is not None else None
            if stream is not None:
                await stream.close()

    async def cut_off(self, items: Collection[str]) -> None:
        """These items get no end: what was shown of them becomes final, marked as partial."""
        for item in items:
            stream = self._streams.pop(item, None)
            if stream is not None:
                await stream.flush()
                await stream.close()
        await self.write(lambda tx: close_items(tx, self.run, self.fence, self.provider, tools=False, only=set(items)))

    async def _settle_all(self) -> None:
        for item in list(self._streams):
            stream = self._streams.pop(item)
            with contextlib.suppress(PostdocError, RunSignal):  # what could not be stored was never shown either
                await stream.flush()
            await stream.close()

    # --- journal ---

    async def steps(self) -> dict[str, StepRow]:
        """The journal so far by key, oldest step first."""
        return await self.log.store.steps(self.run.id)

    async def step(
        self,
        key: str,
        fn: Callable[[], Awaitable[R]],
        *,
        reconcile: Callable[[], Awaitable[R | None]] | None = None,
        record: Callable[[R], Sequence[Body | Draft]] | None = None,
        guard: Callable[[Tx], Awaitable[object]] | None = None,
    ) -> R:
        """Do ``fn`` once and for all. The result must be plain JSON.

        Done before: its stored result, nothing is recorded again. Started before (a crash came between):
        ``reconcile()`` looks whether
        the effect is there; what it returns is the result, None means not done, so ``fn()``. ``record(result)``
        makes the events that
        are stored together with the result. ``guard`` is asked in the transaction in which the step begins, or begins
        again; what it raises keeps the step from beginning.

        A PostdocError of ``fn`` is final: stored, and raised again on every resume; unless it is ``retryable``:
        then, as after a
        RunSignal or any other exception, the step stays ``started`` and a resumed run tries again.
        """
        if self.cancel.how == "yield":
            raise Yielded

        async def begin(tx: Tx) -> tuple[StepRow, bool]:
            row, new = await tx.begin_step(self.run.id, key)
            if guard is not None and row.status == "started":
                await guard(tx)
            return row, new

        row, new = await self.write(begin)
        if row.status == "done":
            return cast("R", row.result)
        if row.status == "failed":
            raise stored_error(row.error)
        found = await reconcile() if reconcile is not None and not new else None
        result = found if found is not None else await self._attempt(key, fn)
        drafts = self._drafts(record(result)) if record is not None else []
        await self._settle(drafts)

        async def done(tx: Tx) -> None:
            await tx.end_step(self.run.id, key, "done", result=result)
            await tx.append(self.session, *drafts, fence=self.fence)

        await self.write(done)
        return result

    async def _attempt(self, key: str, fn: Callable[[], Awaitable[R]]) -> R:
        try:
            return await fn()
        except PostdocError as error:
            if not error.retryable:
                stored = error.as_dict()
                await self.write(lambda tx: tx.end_step(self.run.id, key, "failed", error=stored))
            raise

    # --- waiting and ending ---

    async def ask(self, request: RequestRow, *bodies: Body | Draft) -> RequestRow:
        """Ask once (by ``request.id``; the bodies are stored with the first asking).

        Returns the request when it is closed (answered, expired, cancelled: see its ``status``), else raises Paused:
        let it escape. The
        run then waits without a lease and is executed again, in its place in the queue, after the answer.
        """
        drafts = self._drafts(bodies)

        async def unit(tx: Tx) -> RequestRow:
            old = await tx.get_request(request.id)
            if old is not None:
                return old
            row = msgspec.structs.replace(request, session=self.session, run=self.run.id, status="open")
            await tx.append(self.session, *drafts, fence=self.fence)
            return await tx.insert_request(row)

        row = await self.write(unit)
        if row.status == "open":
            raise Paused(row.kind, row.id)
        return row

    async def finish(
        self,
        status: RunStatus,
        *bodies: Body | Draft,
        output: object = None,
        error: object = None,
        then: Callable[[Tx], Awaitable[object]] | None = None,
    ) -> None:
        """End the run (done, error, stopped): last events, row and ``then(tx)`` (the session's state), in one unit.

        Items still open become final first (``partial: true``), open requests are cancelled. Nothing can be written
        after it.
        """
        drafts = self._drafts(bodies)
        await self._settle_all()

        async def unit(tx: Tx) -> None:
            await close_items(tx, self.run, self.fence, self.provider, tools=True)
            await cancel_requests(tx, self.run)
            await tx.append(self.session, *drafts, fence=self.fence)
            if then is not None:
                await then(tx)
            await tx.leave(self.session, self.fence, status, output=output, error=error, ended_at=tx.now)

        await self._leave(unit)

    async def _leave(self, unit: Callable[[Tx], Awaitable[R]]) -> R:
        self.leaving = True
        try:
            value = await self.write(unit)
        finally:
            self.leaving = False
        self.ended = True
        return value

    async def pause(
        self,
        paused: Paused,
        *bodies: Body | Draft,
        then: Callable[[Tx], Awaitable[object]] | None = None,
        still: Callable[[Tx], Awaitable[bool]] | None = None,
    ) -> bool:
        """Give the lease back and wait. False: the answer was faster, the run is queued again (``then`` is not called).

        Without a request the run waits until :func:`~.runs.requeue`, or not at all when what it is to wait for is over
        by now (``still`` says no).
        """
        drafts = self._drafts(bodies)
        await self._settle_all()

        async def unit(tx: Tx) -> bool:
            request = await tx.get_request(paused.request) if paused.request is not None else None
            over = request is not None and request.status != "open"
            if over or (still is not None and not await still(tx)):
                await tx.leave(self.session, self.fence, "queued")
                return False
            await close_items(tx, self.run, self.fence, self.provider, tools=False)
            await tx.append(self.session, *drafts, fence=self.fence)
            if then is not None:
                await then(tx)
            await tx.leave(self.session, self.fence, "waiting")
            return True

        return await self._leave(unit)

    async def release(self) -> None:
        """Give the run back to the queue for the next process; nothing is counted against it."""
        await self._settle_all()

        async def unit(tx: Tx) -> None:
            await close_items(tx, self.run, self.fence, self.provider, tools=False)
            row = await tx.leave(self.session, self.fence, "queued")
            if self.on_requeued is not None:
                await self.on_requeued(tx, row)

        await self._leave(unit)

    def check_lease(self) -> None:
        """LeaseLost when the lease may be somebody else's by now, e.g. after this process was suspended.

        Costs nothing: call it right before an effect on the outside the database cannot refuse (a push, a request).
        """
        if self.lost or time.monotonic() > self.lease_deadline:
            raise LeaseLost(self.run.id)

    def lose(self) -> None:
        """The lease is gone: end the execution."""
        if not (self.lost or self.ended or self.leaving):
            self.lost = True
            if self.task is not None:
                self.task.cancel()


def stored_error(error: Any) -> PostdocError:
    """A PostdocError from its stored form."""
    rest = {k: v for k, v in error.items() if k not in {"code", "error", "next", "retryable"}}
    return PostdocError(error["code"], error["error"], next=error["next"], retryable=error["retryable"], **rest)


async def close_items(
    tx: Tx, run: RunRow, fence: Fence, provider: str | None, *, tools: bool, only: Collection[str] | None = None
) -> None:
    """Make what a run left half said final (``only`` these items). Tool output stays until its tool's result comes,
    unless ``tools``.
    """
    named = provider if provider is not None else run.input.get("provider")
    items: dict[str, list[Event]] = {}
    for event in await tx.open_frames(run.session, run=run.id):
        wanted = event.type != "tool_output" or tools
        if wanted and (only is None or event.item in only):
            items.setdefault(event.item or "", []).append(event)
    for item, frames in items.items():
        body = _cut_off(item, frames[0], "".join(frame.body().get("delta", "") for frame in frames))
        signed = msgspec.structs.replace(body, runId=run.id, provider=named if isinstance(named, str) else UNSET)
        await tx.append(run.session, Draft(signed, run.id, replaces=item), fence=fence)


def _cut_off(item: str, first: Event, text: str) -> FromRun:
    """What stands in the log for an item that will get no end."""
    if first.type == "token":
        return AssistantMessage(itemId=item, content=text, partial=True)
    if first.type == "thinking":
        return Thinking(itemId=item, content=text)
    if first.type == "tool_input":
        body = first.body()
        return ToolUse(toolName=body["toolName"], toolId=body["toolId"], toolInput={"cut": text}, partial=True)
    return ToolResult(toolId=item, ok=False, content=text + "\n[cut off]")


async def unless_stopped(ctx: RunContext, work: Awaitable[R]) -> R:
    """``work``, ended as soon as somebody asks the run to end; raises Stopped or Yielded then."""
    doing, asked = asyncio.ensure_future(work), asyncio.ensure_future(ctx.cancel.wait())
    try:
        await asyncio.wait({doing, asked}, return_when=asyncio.FIRST_COMPLETED)
        if not doing.done():
            ctx.cancel.check()
        return await doing
    finally:
        for task in (doing, asked):
            task.cancel()
        await asyncio.gather(doing, asked, return_exceptions=True)


async def cancel_requests(tx: Tx, run: RunRow) -> None:
    """Nobody waits for these answers any more; who still shows the question learns it."""
    for request in await tx.list_requests(run.session):
        if request.run == run.id:
            await tx.resolve_request(request.id, "cancelled")
            body: Body
            if request.kind == "question":
                body = Answered(requestId=request.id, answer="", by="", decision="cancelled")
            else:
                body = ApprovalResolved(requestId=request.id, decision="cancelled", by="")
            await tx.append(run.session, body, run=run.id)


__all__ = ["CancelState", "How", "LeaseLost", "Paused", "RunContext", "Stopped", "Yielded", "unless_stopped"]
