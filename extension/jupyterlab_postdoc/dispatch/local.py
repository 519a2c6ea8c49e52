"""The dispatcher inside the server: claims queued runs and executes them as tasks of this loop."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from ..runs import RunContext, Runs

Execute = Callable[[RunContext], Awaitable[None]]
OnCrash = Callable[[RunContext, BaseException], Awaitable[None]]


class LocalDispatcher:
    """``execute(ctx)`` does a run and ends it by ``ctx.finish(…)`` (or lets Paused escape, or calls ``ctx.pause`` itself).

    ``on_crash(ctx, exc)`` is called when ``execute`` raised something else, when a stop (``Stopped``) escaped, and instead of ``execute``
    for a run that crashed the server too often: write the error, ``result`` and the session's state, by ``ctx.finish("error", …)`` /
    ``ctx.finish("stopped", …)``. Without it, or when it does not finish the run, an ``error`` event is written and the run ended.
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
    ) -> None: ...

    async def start(self) -> None:
        """Recover, then work. Call after ``log.start()``."""

    async def stop(self, grace_s: float = 5.0) -> None:
        """Claim nothing more, ask runs to yield at their next step edge, cancel the rest after ``grace_s``; all go back to the queue."""

    def wake(self) -> None:
        """Look at the queue now (happens by itself after every commit)."""
