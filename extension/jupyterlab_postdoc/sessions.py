"""Sessions: what REST and sockets do to chats, research sessions and rooms. The one entry for every command.

A command is checked, then carried out in one transaction together with its receipt, so that a resend finds the receipt
and an acknowledged command is never lost. The work itself is done by runs; nothing here waits for one.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any

import msgspec

from jupyterlab_postdoc import protocol
from jupyterlab_postdoc.agent.execute import set_state
from jupyterlab_postdoc.agent.personas import Persona, Personas
from jupyterlab_postdoc.agent.research import Lab
from jupyterlab_postdoc.checkpoints import Checkpoints
from jupyterlab_postdoc.commands import QUEUED, Commands, Receipt, pending
from jupyterlab_postdoc.commands import User as User
from jupyterlab_postdoc.desk import Announcer, Desk
from jupyterlab_postdoc.errors import PostdocError, not_found
from jupyterlab_postdoc.health import Beside, health
from jupyterlab_postdoc.log import EventLog
from jupyterlab_postdoc.models import ModelCatalogue
from jupyterlab_postdoc.overview import chat_object, overview
from jupyterlab_postdoc.protocol import Event, iso, new_id
from jupyterlab_postdoc.runs import Runs
from jupyterlab_postdoc.store.base import RUN_OPEN, CommandRow, RunStatus, SessionRow, Tx

RUNNING: tuple[RunStatus, ...] = ("running",)
Objects = list[dict[str, Any]]
# Named here because the class has a method called `list`.
ROOM = "room:"
ROOM_NAME = re.compile(r"[\w.-][\w .-]{0,63}")


@dataclass(frozen=True)
class Ack:
    """A command was carried out and committed. ``seq`` is that of its first event, 0 when it made none."""

    id: str
    seq: int
    duplicate: bool = False
    queued: bool = False
    extra: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Snapshot:
    """A session as a client that comes in now sees it; following goes on after ``through_seq``."""

    messages: list[Event]
    state: str
    queue: Objects
    from_seq: int
    through_seq: int
    has_more: bool


class SessionManager:
    """All sessions of one server. Every method takes the user, and knows only what that user may see."""

    def __init__(
        self,
        log: EventLog,
        runs: Runs,
        lab: Lab,
        personas: Personas,
        *,
        models: ModelCatalogue | None = None,
        beside: Beside | None = None,
    ) -> None:
        self.log = log
        self.models = models or ModelCatalogue(None)
        self._beside = beside or Beside()
        self._runs = runs
        self._lab = lab
        self._personas = personas
        self.checkpoints = Checkpoints(log, lab)
        self._commands = Commands(runs, lab, personas, self.models, self.checkpoints)
        self.desk = Desk(self._commands.handover)
        self.announcer = Announcer(log, self._commands.handover)
        self.on_hand: list[Callable[[str], None]] = []
        """Called with a session's id after its notebook has changed hands, and when it is deleted."""

    # --- sessions ---

    async def create(
        self,
        user: User,
        *,
        kind: str = "chat",
        title: str | None = None,
        model: str | None = None,
        persona: str | None = None,
        repository: str | None = None,
        id: str | None = None,
    ) -> dict[str, Any]:
        """A new chat, as an object. The same ``id`` from the same user gives the chat that exists already.

        ``repository`` (an id or ``owner/name``) is where it works, on a branch of its own.
        """
        if kind == "room":
            row = room_row(title or "", id)
        else:
            chosen = self._personas.get(persona)
            row = SessionRow(
                id=session_id(id),
                owner=user.name,
                kind="chat",
                title=title or "",
                reason="idle",
                persona=chosen.name,
                model=await self._model(user, model, chosen),
                meta=await self._commands.place(user, repository) if repository else {},
            )

        async def unit(tx: Tx) -> SessionRow:
            known = await tx.get_session(row.id)
            if known is None:
                return await tx.insert_session(row)
            if known.owner != row.owner:
                raise PostdocError("id_conflict", f"The id {row.id!r} is taken.", next="Choose another id, or none.")
            return known

        made = await self.log.write(unit)
        return chat_object(made) if made.last_seq == 0 else await self.get(user, made.id)

    async def _model(self, user: User, model: str | None, persona: Persona) -> str | None:
        """The model of a new chat: the one asked for, else the persona's, else the default. None: none is set up."""
        if model is None and not self.models.configured:
            return None
        return await self.models.resolve(model or persona.model, user.anonymous)

    async def get(self, user: User, id: str) -> dict[str, Any]:
        """One session as an object; raises not_found."""
        (chat,) = await overview(self.log.store, [await self._row(user, id)])
        return chat

    async def known(self, user: User, ids: Collection[str]) -> dict[str, dict[str, Any]]:
        """Those of these sessions that exist and that this user may see, as objects by id."""
        found = [await self.log.store.get_session(id) for id in ids]
        rows = [row for row in found if row is not None and may_see(row, user)]
        return {chat["id"]: chat for chat in await overview(self.log.store, rows)}

    async def list(
        self,
        user: User,
        *,
        kind: str | None = None,
        limit: int = 200,
        before: float | None = None,
        archived: bool = False,
    ) -> Objects:
        """The user's sessions, newest change first (rooms are listed by :meth:`rooms`)."""
        rows = await self.log.store.list_sessions(
            owner=user.name, kind=kind, archived=archived, before=before, limit=limit
        )
        return await overview(self.log.store, rows)

    async def delete(self, user: User, id: str) -> None:
        """Stop what runs and delete the session's log. Research repositories on disk stay."""
        row = await self._row(user, id)
        for run in await self.log.store.list_runs(id, status=RUN_OPEN):
            await self._runs.cancel(run.id, "now")
        for _ in range(40):
            if not await self.log.store.list_runs(id, status=RUNNING):
                break
            await asyncio.sleep(0.05)
        await self.log.write(lambda tx: tx.delete_session(id))
        self._hands_changed(id)
        project = row.meta.get("project")
        if self._lab.editors is not None and isinstance(project, dict) and project.get("path"):
            root = self._lab.root_dir / str(project["path"])
            await self._lab.editors.close(root, reason="Its session was deleted.", anyway=True)

    def _hands_changed(self, id: str) -> None:
        for tell in self.on_hand:
            tell(id)

    async def check(self, user: User, id: str) -> None:
        """Raises not_found unless the session exists and this user may see it."""
        await self._row(user, id)

    async def row(self, user: User, id: str) -> SessionRow:
        """One session as it is stored, for the services beside this one; raises not_found."""
        return await self._row(user, id)

    async def _row(self, user: User, id: str) -> SessionRow:
        row = await self.log.store.get_session(id)
        return visible(row, user, id)

    async def snapshot(self, user: User, id: str, limit: int = 200) -> Snapshot:
        """The last ``limit`` messages, the partial text still open, the state and the queue."""
        row = await self._row(user, id)
        messages = await self.log.tail(id, limit)
        finals = sum(not event.partial for event in messages)
        has_more = finals >= limit and await self.log.store.count_events(id) > finals
        queue = pending(await self.log.store.list_runs(id, status=QUEUED))
        first, last = (messages[0].seq, messages[-1].seq) if messages else (0, 0)
        return Snapshot(messages, row.state, queue, first, last, has_more)

    async def rooms(self, _user: User) -> Objects:
        """All rooms; they belong to everybody on this server."""
        rows = await self.log.store.list_sessions(owner="", kind="room", limit=1000)
        return [
            {"room": row.id.removeprefix(ROOM), "id": row.id, "messages": row.last_seq, "last": iso(row.updated_at)}
            for row in rows
        ]

    # --- commands ---

    async def submit(self, user: User, command: protocol.Command) -> Ack:
        """Carry out one command, once: a resend with the same id gets the first receipt again.

        Raises PostdocError; nothing is changed then.
        """
        id = command.id or new_id()
        chat = getattr(command, "chatId", None)
        if chat is None or not command.mutates:
            raise PostdocError("bad_message", "This frame is not a command that changes a session.")
        digest = digest_of(command)
        if isinstance(command, protocol.Post):
            await self._open_room(chat)
        row = await self._row(user, chat)
        if (known := await self.log.store.get_command(chat, id)) is not None:
            return _again(known, id, digest)
        prepared = await self._commands.prepare(user, command, row, id)

        async def unit(tx: Tx) -> tuple[Receipt, bool]:
            session = visible(await tx.get_session(chat), user, chat)
            if (earlier := await tx.get_command(chat, id)) is not None:
                return {**_again(earlier, id, digest).__dict__}, True
            receipt = await prepared(tx, session)
            await tx.put_command(CommandRow(session=chat, id=id, digest=digest, result=receipt))
            return receipt, False

        receipt, duplicate = await self.log.write(unit)
        if isinstance(command, protocol.NotebookTake | protocol.NotebookGive):
            self._hands_changed(chat)
        if isinstance(command, protocol.NotebookTake) and (receipt.get("extra") or {}).get("working"):
            await self._commands.handover.settle(chat)
        extra = receipt.get("extra") or {}
        return Ack(id, receipt.get("seq", 0), duplicate, bool(receipt.get("queued")), extra)

    async def _open_room(self, id: str) -> None:
        if not id.startswith(ROOM):
            raise PostdocError("bad_message", f"{id!r} is not a room.", next="Room ids begin with `room:`.")
        if await self.log.store.get_session(id) is None:
            await self.create(User("", ""), kind="room", id=id)

    # --- what there is to choose from ---

    def describe_templates(self) -> Objects:
        """All usable research templates."""
        return [template.summary_dict() for template in self._lab.templates.list()]

    def describe_personas(self) -> Objects:
        """All personas, without their prompts."""
        return [persona.describe() for persona in self._personas.list()]

    async def describe_models(self, user: User) -> Objects:
        """What can drive a session on this server, and what of it this user may choose."""
        return await self.models.list(user.anonymous)

    async def health(self, user: User) -> dict[str, Any]:
        """How every part of the server is, and what to do where one is not."""
        return await health(self.log, self._lab, self.models, self._beside, user.name)

    async def tidy(self) -> None:
        """At start: sessions that claim to be at work while none of their runs is get an honest state, and what a
        crash left of sessions that never came to be is removed.
        """

        async def unit(tx: Tx) -> None:
            for row in await tx.list_sessions(archived=None, limit=100_000):
                at_work = row.state in ("queued", "starting", "running", "waiting", "stopping")
                if at_work and not await tx.list_runs(row.id, status=RUN_OPEN):
                    await set_state(tx, row.id, "stopped", "crash", None)

        await self.log.write(unit)
        await self.checkpoints.tidy()


# --- small parts ---


def session_id(given: str | None) -> str:
    """The client's id when it is usable, else a new one; raises bad_message."""
    if given is None:
        return new_id("c")
    if not re.fullmatch(r"[A-Za-z0-9_.-]{1,64}", given):
        raise PostdocError(
            "bad_message", f"{given[:80]!r} cannot be the id of a chat.", next="Use letters, digits, `_`, `-` and `.`."
        )
    return given


def room_row(name: str, id: str | None) -> SessionRow:
    """A room as a session; raises bad_message for a name that cannot be one."""
    name = (id or "").removeprefix(ROOM) or name
    if not ROOM_NAME.fullmatch(name):
        raise PostdocError(
            "bad_message",
            f"{name[:80]!r} cannot be the name of a room.",
            next="Use up to 64 letters, digits, spaces, `_`, `-` and `.`.",
        )
    return SessionRow(id=f"{ROOM}{name}", owner="", kind="room", title=name, reason="idle")


def visible(row: SessionRow | None, user: User, id: str) -> SessionRow:
    """The row when this user may see it; the same not_found for what is absent and what is somebody else's."""
    if row is None or not may_see(row, user):
        raise not_found("session", id)
    return row


def may_see(row: SessionRow, user: User) -> bool:
    """A user sees what is theirs, and rooms."""
    return row.kind == "room" or row.owner == user.name


def digest_of(command: protocol.Command) -> str:
    """What a resend must have in common with the first sending: everything but the id."""
    body = msgspec.to_builtins(command)
    body.pop("id", None)
    return hashlib.sha256(msgspec.json.encode(body, order="sorted")).hexdigest()


def _again(known: CommandRow, id: str, digest: str) -> Ack:
    if known.digest != digest:
        raise PostdocError(
            "id_conflict", f"The id {id!r} was used for another command.", next="Use a new id for a new command."
        )
    receipt = known.result
    return Ack(id, receipt.get("seq", 0), True, bool(receipt.get("queued")), receipt.get("extra") or {})
