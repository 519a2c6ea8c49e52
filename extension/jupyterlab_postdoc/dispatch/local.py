"""The dispatcher inside the server: claims queued runs and executes them as tasks of this loop."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine

from jupyterlab_postdoc.errors import PostdocError
from jupyterlab_postdoc.protocol import Error, new_id
from jupyterlab_postdoc.runs import LeaseLost, Paused, RunContext, Runs, Stopped, Yielded

Execute = Callable[[RunContext], Awaitable[None]]
OnCrash = Callable[[RunContext, BaseException], Awaitable[None]]

CANCEL_WAIT_S = 5.0

logger = logging.getLogger("jupyterlab_postdoc.dispatch")


class LocalDispatcher:
    """``execute(ctx)`` does a run and ends it by ``ctx.finish(…)``, lets Paused escape, or calls ``ctx.pause`` itself.

    ``on_crash(ctx, exc)`` is called when ``execute`` raised something else, when ``Stopped`` escaped (a hard stop
    arrives as
    ``Stopped("now")``), and instead of ``execute`` for a run that ended the server too often: it writes the error,
    the ``result`` and
    the session's state by ``ctx.finish("error" or "stopped", …)``. Without it, or when it leaves the run unfinished,
    an ``error`` event
    is written (unless stopped) and the run is ended here.
    """

    def __init__(
        self,
        runs: Runs,
        execute: Execute,
        *,
        on_crash: OnCrash | None = None,
        concurrency: int = 8,
        queues: tuple[str, ...] | None = None,
        sweep_s: float = 3.0,
    ) -> None:
        self.runs = runs
        self._execute = execute
        self._on_crash = on_crash
        self._concurrency = concurrency
        self._queues = queues
        self._sweep_s = sweep_s
        self._tasks: dict[asyncio.Task[None], RunContext] = {}
        self._wake = asyncio.Event()
        self._stopping = False
        self._loop: asyncio.Task[None] | None = None
        self._unlisten: Callable[[], None] = lambda: None

    async def start(self) -> None:
        """Recover, then work. Call after ``log.start()``."""
        await self.runs.start()
        await self.runs.recover()
        self._unlisten = self.runs.log.on_change(self.wake)
        self._loop = asyncio.create_task(self._work(), name="postdoc dispatcher")

    def wake(self) -> None:
        """Look at the queue and at the held runs now (happens by itself after every commit that concerns runs)."""
        self._wake.set()

    async def stop(self, grace_s: float = 5.0) -> None:
        """Claim nothing more, ask runs to yield at their next step edge, cancel the rest after ``grace_s`` seconds.

        All of them go back to the queue, so that the next process carries on.
        """
        self._stopping = True
        self._unlisten()
        if self._loop is not None:
            self._loop.cancel()
            await asyncio.wait([self._loop])
            self._loop = None
        for ctx in self._tasks.values():
            ctx.cancel.set("yield")
        await self._wait(grace_s)
        for task in self._tasks:
            task.cancel()
        await self._wait(CANCEL_WAIT_S)
        for ctx in list(self._tasks.values()):
            logger.error("run %s does not end; it is taken over by the next process", ctx.run.id)
            await _quietly(ctx.release())
        await self.runs.stop()

    async def _wait(self, seconds: float) -> None:
        if self._tasks:
            await asyncio.wait(list(self._tasks), timeout=seconds)

    # --- queue ---

    async def _work(self) -> None:
        swept = time.monotonic()
        while True:
            self._wake.clear()
            wait_s = self._sweep_s
            try:
                await self.runs.look()
                if time.monotonic() - swept >= self._sweep_s:
                    swept = time.monotonic()
                    await self.runs.recover()
                wait_s = await self._fill()
            except PostdocError as error:
                logger.warning("the queue cannot be read now: %s", error)
            except Exception:
                logger.exception("the dispatcher stumbled")
            try:
                async with asyncio.timeout(wait_s):
                    await self._wake.wait()
            except TimeoutError:
                pass

    async def _fill(self) -> float:
        """Start what can be started; returns the seconds until the next look without a wake."""
        while len(self._tasks) < self._concurrency:
            due = await self.runs.log.store.next_run_at(queues=self._queues)
            ahead = self._sweep_s if due is None else due - time.time()
            if ahead > 0:
                return min(ahead, self._sweep_s)
            # Shielded: a stop in this very moment must not lose a run that was just claimed.
            claim = asyncio.ensure_future(self.runs.claim(self._queues))
            try:
                ctx = await asyncio.shield(claim)
            except asyncio.CancelledError:
                late = await claim
                if late is not None:
                    await self._give_back(late)
                raise
            if ctx is None:
                break
            self._begin(ctx)
        return self._sweep_s

    async def _give_back(self, ctx: RunContext) -> None:
        await _quietly(ctx.release())
        self.runs.drop(ctx)

    def _begin(self, ctx: RunContext) -> None:
        task = asyncio.create_task(self._run(ctx), name=f"run {ctx.run.id}")
        self._tasks[task] = ctx
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self.runs.drop(self._tasks.pop(task))
        self.wake()
        if not task.cancelled() and task.exception() is not None:
            logger.error("a run's task failed", exc_info=task.exception())

    # --- one run ---

    async def _run(self, ctx: RunContext) -> None:
        try:
            ctx.task = asyncio.current_task()
            outcome = await self._outcome(ctx)
            ctx.task = None  # the end itself is not to be cancelled
            await self._settle(ctx, outcome)
        finally:
            ctx.task = None

    async def _outcome(self, ctx: RunContext) -> BaseException | None:
        """Execute; whatever comes out of it, as a value."""
        try:
            if ctx.lost:
                return LeaseLost(ctx.run.id)
            if ctx.cancel.how == "now":
                return Stopped("now")
            if ctx.run.crashes > ctx.run.max_attempts:
                return _poisoned(ctx)
            await self._execute(ctx)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            while task is not None and task.cancelling():
                task.uncancel()
            if ctx.lost:
                return LeaseLost(ctx.run.id)
            return Stopped("now") if ctx.cancel.how == "now" else Yielded()
        except Exception as error:  # noqa: BLE001 - the edge of the task: every failure becomes an event
            return error
        return None

    async def _settle(self, ctx: RunContext, outcome: BaseException | None) -> None:
        if ctx.ended:
            if outcome is not None:
                logger.error("run %s failed after its end", ctx.run.id, exc_info=outcome)
            return
        if isinstance(outcome, LeaseLost):
            logger.info("run %s: the lease is gone", ctx.run.id)
        elif outcome is None:
            await _quietly(ctx.finish("done"))
        elif isinstance(outcome, Paused):
            await _quietly(ctx.pause(outcome))
        elif isinstance(outcome, Yielded):
            await _quietly(ctx.release())
        else:
            await _quietly(self._crash(ctx, outcome))

    async def _crash(self, ctx: RunContext, error: BaseException) -> None:
        ref = new_id("e")
        if not isinstance(error, Stopped | PostdocError):
            logger.error("run %s failed (%s)", ctx.run.id, ref, exc_info=error)
        shown = _shown(error, ref)
        if self._on_crash is not None:
            try:
                await self._on_crash(ctx, error if isinstance(error, Stopped) else shown)
            except LeaseLost:
                raise
            except Exception:
                logger.exception("on_crash of run %s failed", ctx.run.id)
        if ctx.ended:
            return
        if isinstance(error, Stopped):
            await ctx.finish("stopped")
        else:
            body = Error(code=shown.code, error=shown.message, retryable=shown.retryable, next=shown.next, ref=ref)
            await ctx.finish("error", body, error=shown.as_dict())


def _shown(error: BaseException, ref: str) -> PostdocError:
    """What a person may see of a failure; the traceback is in the server's log only."""
    if isinstance(error, PostdocError):
        return error
    return PostdocError(
        "internal",
        "Something in the server went wrong. Everything done so far was kept.",
        next=f"Resume the chat to carry on; the server's log has the details under {ref}.",
        ref=ref,
    )


def _poisoned(ctx: RunContext) -> PostdocError:
    return PostdocError(
        "internal",
        f"The server ended {ctx.run.crashes} times in a row while it worked on this and got no further. It was"
        " not tried again.",
        next="Look at the server's log for what happened, then resume the chat to try again.",
    )


async def _quietly(ending: Coroutine[object, object, object]) -> None:
    """End a run; when that is impossible now, its lease runs out and the next sweep takes it up."""
    try:
        await ending
    except (LeaseLost, PostdocError) as error:
        logger.warning("a run could not be ended properly: %s", error)
