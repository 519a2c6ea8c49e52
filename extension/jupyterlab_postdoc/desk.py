"""A session's notebook as a person asks for it: how it is, and a hand on its kernel and its editor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from jupyterlab_postdoc.agent import hand
from jupyterlab_postdoc.errors import PostdocError
from jupyterlab_postdoc.handover import RUNNING, Actor, Handover, Place
from jupyterlab_postdoc.notebooks.live import Editor, EditorStatus
from jupyterlab_postdoc.store.base import SessionRow
from jupyterlab_postdoc.workspace import sandbox

What = Literal["kernel", "editor"]


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


def _check_mine(user: Actor, row: SessionRow) -> None:
    held = hand.hand_of(row)
    if held is not None and held.holder != user.name:
        raise PostdocError("forbidden", f"{held.display} has the notebook.", next="Ask them to give it back.")
