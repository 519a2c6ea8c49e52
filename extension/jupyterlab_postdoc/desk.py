"""A session's notebook as a person asks for it: how it is, and a hand on its kernel and its editor."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from jupyterlab_postdoc.agent import hand
from jupyterlab_postdoc.errors import PostdocError
from jupyterlab_postdoc.forge import names
from jupyterlab_postdoc.handover import RUNNING, Actor, Handover, Place
from jupyterlab_postdoc.log import EventLog
from jupyterlab_postdoc.notebooks.live import Editor, EditorStatus
from jupyterlab_postdoc.store.base import SessionRow
from jupyterlab_postdoc.workspace import sandbox

What = Literal["kernel", "editor"]
SAY_S = 1.0
"""The least time between two events about one editor."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Desk:
    """What REST asks of a session's notebook, besides taking it and giving it back."""

    handover: Handover

    async def show(self, user: Actor, row: SessionRow) -> dict[str, Any]:
        """How it is. Starts nothing, and is no use of the editor: it may be asked every few seconds."""
        try:
            place: Place | None = self.handover.place(row)
        except PostdocError:  # no project yet, or no longer: nothing of it can be running
            place = None
        status = self.handover.editor_status(place.root) if place is not None else EditorStatus("stopped")
        held = hand.hand_of(row)
        box = await sandbox.probe()
        return {
            "state": status.state,
            "message": status.message,
            "kernel": status.kernel,
            "viewers": status.viewers,
            "sandboxed": status.sandboxed if status.state != "stopped" else box.available,
            "outputsFrom": status.outputs_from,
            "hand": "agent" if held is None else "person",
            "holder": "" if held is None else held.display,
            "mine": held is not None and held.holder == user.name,
            "path": place.shown if place is not None else "",
            "running": await self._works(row),
            "sandbox": {"available": box.available, "why": box.why, "next": box.install_hint},
        }

    async def restart(self, user: Actor, row: SessionRow, what: What) -> None:
        """A new kernel, or a new editor process. Not while an agent works with it, nor while somebody else has it."""
        place, editor = await self._up(row)
        await self._check_free(user, row)
        if what == "kernel":
            await editor.restart()
            return
        editors = self.handover.lab.editors
        assert editors is not None
        await editors.close(place.root, reason="It is started again.")
        await editors.open(place.root, place.notebook)

    async def close(self, user: Actor, row: SessionRow) -> None:
        """Save, and end the editor; nothing when there is none."""
        place = self.handover.place(row)
        await self._check_free(user, row)
        if (editors := self.handover.lab.editors) is not None:
            await editors.close(place.root, reason="It was closed.")

    async def interrupt(self, user: Actor, row: SessionRow) -> None:
        """Ctrl-C for what runs in the kernel, whoever has begun it: but not what somebody else has begun by hand."""
        _, editor = await self._up(row)
        _check_mine(user, row)
        await editor.interrupt()

    async def _up(self, row: SessionRow) -> tuple[Place, Editor]:
        place = self.handover.place(row)
        editors = self.handover.lab.editors
        editor = editors.get(place.root) if editors is not None else None
        if editor is None:
            raise PostdocError("busy", "The notebook's editor is not running.", next="Open the notebook first.")
        return place, editor

    async def _check_free(self, user: Actor, row: SessionRow) -> None:
        _check_mine(user, row)
        if hand.hand_of(row) is None and await self._works(row):
            raise PostdocError(
                "busy",
                "The agent works with this notebook now.",
                next="Take the notebook over first, or stop the agent.",
            )

    async def _works(self, row: SessionRow) -> bool:
        return bool(await self.handover.store.list_runs(row.id, status=RUNNING))


class Announcer:
    """Says in a session's log what its people must know of their notebook's editor: that it has failed, that its kernel
    has died, that it is there again. That it was opened, or closed because nobody used it, is no news.
    """

    def __init__(self, log: EventLog, handover: Handover) -> None:
        self._events = log
        self._handover = handover
        self._said: dict[Path, tuple[str, str]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._quiet: set[Path] = set()
        self._due: set[Path] = set()

    def hear(self, root: Path, status: EditorStatus) -> None:
        """The status of this project's editor has changed."""
        now = (status.state, status.message)
        is_news = bool(status.message) and status.state != "stopped"
        if not is_news and root not in self._said:
            return
        if self._said.get(root) == now:
            return
        if is_news:
            self._said[root] = now
        else:
            del self._said[root]
        if root in self._quiet:
            self._due.add(root)
        else:
            self._tell(root)

    def _tell(self, root: Path) -> None:
        """How it is now, then nothing for a while: an editor that changes all the time (it may be a stranger's by now)
        fills no log.
        """
        self._quiet.add(root)
        loop = asyncio.get_running_loop()
        loop.call_later(SAY_S, self._rested, root)
        task = loop.create_task(self._say(root))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _rested(self, root: Path) -> None:
        self._quiet.discard(root)
        if root in self._due:
            self._due.discard(root)
            self._tell(root)

    async def _say(self, root: Path) -> None:
        id = str(names.read_marker(root / ".git").get("session") or "")
        row = await self._events.store.get_session(id)
        try:
            if row is None or (place := self._handover.place(row)).root.resolve() != root:
                return
            await self._events.append(id, self._handover.picture(place, hand.hand_of(row)))
        except PostdocError as e:  # the server stops, or the session was deleted
            _log.info("Nothing is said about the notebook of %s: %s", root.name, e)


def _check_mine(user: Actor, row: SessionRow) -> None:
    held = hand.hand_of(row)
    if held is not None and held.holder != user.name:
        raise PostdocError("forbidden", f"{held.display} has the notebook.", next="Ask them to give it back.")
