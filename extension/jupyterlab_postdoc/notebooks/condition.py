"""How an editor is, as it changes, and who wants to hear of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any, cast, get_args

from jupyterlab_postdoc.notebooks import messages
from jupyterlab_postdoc.notebooks.live import EditorStatus, KernelState

KERNELS = set(get_args(KernelState))
LOST = "Its variables are lost; what was written is saved."
Hear = Callable[[Mapping[str, Any]], None]


class Condition:
    """The status of one editor. ``settled`` is set while it is not being started."""

    def __init__(self, *, sandboxed: bool) -> None:
        self.status = EditorStatus("starting", sandboxed=sandboxed, since=time.time())
        self.settled = asyncio.Event()
        self.kernel_there = asyncio.Event()
        """Set while there is a kernel, or one that has died."""
        self.passing = ""
        """A message that is over as soon as all that the page shows is from the kernel that runs now."""
        self._hearers: list[Hear] = []

    @property
    def computing(self) -> bool:
        """Whether something executes, or is about to."""
        return self.status.kernel in ("busy", "starting")

    def listen(self, hear: Hear) -> Callable[[], None]:
        """Tell ``hear`` of every event from now on; returns what ends it."""
        self._hearers.append(hear)

        def stop() -> None:
            with suppress(ValueError):
                self._hearers.remove(hear)

        return stop

    def tell(self, event: Mapping[str, Any]) -> None:
        for hear in list(self._hearers):
            hear(event)

    def become(self, **changes: Any) -> None:
        """Change fields of the status, and say so."""
        after = replace(self.status, **changes)
        if after == self.status:
            return
        if after.state != self.status.state:
            after = replace(after, since=time.time())
        self.status = after
        if after.state == "starting":
            self.settled.clear()
        else:
            self.settled.set()
        if after.kernel in ("none", "starting"):
            self.kernel_there.clear()
        else:
            self.kernel_there.set()
        self.tell({"type": "state"})

    def kernel(self, event: Mapping[str, Any], shown_from: Callable[[], float | None]) -> None:
        """The kernel changed. ``shown_from`` gives the time of the outputs that a page shows without a kernel.

        Outputs are the kernel's own when all cells have run in it (``live``), or, where the event does not say so, when
        it has begun to run any.
        """
        if event.get("status") not in KERNELS:
            return
        now = cast(KernelState, event["status"])
        before, changes = self.status, dict[str, Any](kernel=now)
        ran = before.kernel in ("idle", "busy", "dead")
        if now in ("none", "starting", "dead"):
            changes["outputs_from"] = before.outputs_from or shown_from() or (time.time() if ran else None)
        elif event.get("live") is True or (now == "busy" and "live" not in event):
            changes["outputs_from"] = None
            if self.passing and before.message == self.passing:
                changes["message"] = self.passing = ""
        if now == "dead":
            why = messages.text(event.get("message"), 500) or "The notebook's kernel ended."
            changes["message"] = f"{why} {LOST}"
        elif before.kernel == "dead":
            changes["message"] = ""
        self.become(**changes)
