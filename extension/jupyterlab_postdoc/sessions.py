"""Sessions: what REST and sockets do to chats, research sessions and rooms. The one entry for every command.

A command is checked, then carried out in one transaction together with its receipt, so that a resend finds the receipt
and an acknowledged command is never lost. The work itself is done by runs; nothing here waits for one.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from jupyterlab_postdoc import protocol
from jupyterlab_postdoc.agent.execute import set_state, state_change
from jupyterlab_postdoc.agent.personas import Personas
from jupyterlab_postdoc.agent.research import SYNTHETIC, Lab, data_file
from jupyterlab_postdoc.errors import PostdocError, not_found
from jupyterlab_postdoc.forge.names import check_repo_name
from jupyterlab_postdoc.health import health
from jupyterlab_postdoc.log import EventLog
from jupyterlab_postdoc.protocol import (
    Answered,
    ApprovalResolved,
    Event,
    QueueChanged,
    Result,
    UserMessage,
    iso,
    new_id,
)
from jupyterlab_postdoc.runs import Runs, answer, requeue
from jupyterlab_postdoc.store.base import RUN_OPEN, CommandRow, RunRow, SessionRow, Tx

ROOM = "room:"
ROOM_NAME = re.compile(r"[\w.-][\w .-]{0,63}")
MAX_QUEUE = 100


@dataclass(frozen=True)
class User:
    """Who does it, as Jupyter's identity provider says."""

    name: str
    display: str


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
    queue: list[dict[str, Any]]
    from_seq: int
    through_seq: int
    has_more: bool


Receipt = dict[str, Any]
Unit = Callable[[Tx, SessionRow], Awaitable[Receipt]]


class SessionManager:
    """All sessions of one server. Every method takes the user, and knows only what that user may see."""

    def __init__(
        self, log: EventLog, runs: Runs, lab: Lab, personas: Personas, *, default_model: str | None = None
    ) -> None:
        self.log = log
        self._runs = runs
        self._lab = lab
        self._personas = personas
        self._default_model = default_model

    # --- sessions ---

    async def create(
        self,
        user: User,
        *,
        kind: str = "chat",
        title: str | None = None,
        model: str | None = None,
        persona: str | None = None,
        id: str | None = None,
    ) -> dict[str, Any]:
        """A new chat, as an object. The same ``id`` from the same user gives the chat that exists already."""
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
                model=model or chosen.model or self._default_model,
            )

        async def unit(tx: Tx) -> SessionRow:
            known = await tx.get_session(row.id)
            if known is None:
                return await tx.insert_session(row)
            if known.owner != row.owner:
                raise PostdocError("id_conflict", f"The id {row.id!r} is taken.", next="Choose another id, or none.")
            return known

        return chat_object(await self.log.write(unit))

    async def get(self, user: User, id: str) -> dict[str, Any]:
        """One session as an object; raises not_found."""
        return chat_object(await self._row(user, id))

    async def list(
        self,
        user: User,
        *,
        kind: str | None = None,
        limit: int = 200,
        before: float | None = None,
        archived: bool = False,
    ) -> list[dict[str, Any]]:
        """The user's sessions, newest change first (rooms are listed by :meth:`rooms`)."""
        rows = await self.log.store.list_sessions(
            owner=user.name, kind=kind, archived=archived, before=before, limit=limit
        )
        return [chat_object(row) for row in rows]

    async def delete(self, user: User, id: str) -> None:
        """Stop what runs and delete the session's log. Research repositories on disk stay."""
        await self._row(user, id)
        for run in await self.log.store.list_runs(id, status=RUN_OPEN):
            await self._runs.cancel(run.id, "now")
        for _ in range(40):
            if not await self.log.store.list_runs(id, status=("running",)):
                break
            await asyncio.sleep(0.05)
        await self.log.write(lambda tx: tx.delete_session(id))

    async def check(self, user: User, id: str) -> None:
        """Raises not_found unless the session exists and this user may see it."""
        await self._row(user, id)

    async def _row(self, user: User, id: str) -> SessionRow:
        row = await self.log.store.get_session(id)
        return visible(row, user, id)

    async def snapshot(self, user: User, id: str, limit: int = 200) -> Snapshot:
        """The last ``limit`` messages, the partial text still open, the state and the queue."""
        row = await self._row(user, id)
        messages = await self.log.tail(id, limit)
        finals = sum(not event.partial for event in messages)
        has_more = finals >= limit and await self.log.store.count_events(id) > finals
        queue = pending(await self.log.store.list_runs(id, status=("queued",)))
        first, last = (messages[0].seq, messages[-1].seq) if messages else (0, 0)
        return Snapshot(messages, row.state, queue, first, last, has_more)

    async def rooms(self, _user: User) -> list[dict[str, Any]]:
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
        prepared = await self._prepare(user, command, row, id)

        async def unit(tx: Tx) -> tuple[Receipt, bool]:
            session = visible(await tx.get_session(chat), user, chat)
            if (earlier := await tx.get_command(chat, id)) is not None:
                return {**_again(earlier, id, digest).__dict__}, True
            receipt = await prepared(tx, session)
            await tx.put_command(CommandRow(session=chat, id=id, digest=digest, result=receipt))
            return receipt, False

        receipt, duplicate = await self.log.write(unit)
        extra = receipt.get("extra") or {}
        return Ack(id, receipt.get("seq", 0), duplicate, bool(receipt.get("queued")), extra)

    async def _prepare(self, user: User, command: protocol.Command, row: SessionRow, id: str) -> Unit:
        """What the transaction has to do. What needs files, templates or other transactions happens here, before it."""
        match command:
            case protocol.Chat(mode="interrupt"):
                await self._cancel_all(row.id, "now")
                return self._say(user, command, id)
            case protocol.Chat():
                return self._say(user, command, id)
            case protocol.Research():
                return self._research(user, command, id)
            case protocol.Stop():
                return await self._stop(command)
            case protocol.Respond():
                return self._respond(user, command)
            case protocol.QueueCancel() | protocol.QueueUpdate():
                return self._queue(command)
            case protocol.SessionSet():
                return self._set(command)
            case protocol.Resume():
                return self._resume()
            case protocol.Fork():
                return await self._fork(user, command, row)
            case protocol.Post():
                return self._post(user, command, id)
        raise PostdocError("unknown_type", f"The command {type(command).__name__} is not known.")

    def _say(self, user: User, command: protocol.Chat, id: str) -> Unit:
        async def unit(tx: Tx, session: SessionRow) -> Receipt:
            _no_room(session)
            open_runs = await tx.list_runs(session.id, status=RUN_OPEN)
            running = [run for run in open_runs if run.status in ("running", "waiting")]
            if command.mode == "steer" and running:
                body = UserMessage(id=id, content=command.content, by=user.name, runId=running[0].id, mode="steer")
                events = await tx.append(session.id, body, run=running[0].id)
                return {"seq": events[0].seq, "extra": {"runId": running[0].id}}
            run = RunRow(id=new_id("r"), session=session.id, kind="chat", input={"content": command.content})
            body = UserMessage(id=id, content=command.content, by=user.name, runId=run.id)
            return await self._enqueue(tx, session, run, body, open_runs)

        return unit

    def _research(self, user: User, command: protocol.Research, id: str) -> Unit:
        topic = command.topic.strip()
        if not topic:
            raise PostdocError("bad_message", "The topic is empty.", next="Say in a few words what to study.")
        if command.provider not in (None, "template"):
            raise PostdocError(
                "no_model", f"There is no provider {command.provider!r} on this server.", next="Leave it out."
            )
        template, params = self._check_research(command, topic)
        given = {
            "topic": topic,
            "repo_name": command.repo_name,
            "template": template,
            "params": params,
            "budget": msgspec.to_builtins(command.budget) if command.budget else None,
            "author": user.display,
        }

        async def unit(tx: Tx, session: SessionRow) -> Receipt:
            _no_room(session)
            open_runs = await tx.list_runs(session.id, status=RUN_OPEN)
            run = RunRow(id=new_id("r"), session=session.id, kind="research", input={**given, "messageId": id})
            await tx.update_session(session.id, kind="research", title=session.title or topic[:200])
            shown = {key: given[key] for key in ("topic", "repo_name", "template", "params", "budget")}
            body = UserMessage(id=id, content=topic, by=user.name, runId=run.id, research=shown)
            return await self._enqueue(tx, session, run, body, open_runs)

        return unit

    def _check_research(self, command: protocol.Research, topic: str) -> tuple[str | None, dict[str, Any]]:
        """Template and parameters, checked before anything is begun. No template: the run will ask which one."""
        if command.repo_name is not None:
            check_repo_name(command.repo_name)
        templates = self._lab.templates
        template = templates.get(command.template) if command.template else templates.match(topic)
        if template is None:
            return None, command.params
        complete = template.validate_parameters(command.params)
        if complete.get("data") not in (None, *SYNTHETIC):
            data_file(self._lab.root_dir, str(complete["data"]))
        return template.name, {name: complete[name] for name in command.params}

    async def _enqueue(
        self, tx: Tx, session: SessionRow, run: RunRow, body: UserMessage, open_runs: Sequence[RunRow]
    ) -> Receipt:
        if len(open_runs) >= MAX_QUEUE:
            raise PostdocError("queue_full", f"{MAX_QUEUE} messages wait already.", next="Wait, or cancel some.")
        stored = await self._runs.submit(tx, msgspec.structs.replace(run, input={**run.input, "messageId": body.id}))
        events = await tx.append(session.id, body, run=stored.id)
        if open_runs:
            waiting = [open_run for open_run in open_runs if open_run.status == "queued"]
            await tx.append(session.id, QueueChanged(pending=pending([*waiting, stored])))
        else:
            await set_state(tx, session.id, "queued", None, stored.id)
        return {"seq": events[0].seq, "queued": bool(open_runs), "extra": {"runId": stored.id}}

    async def _stop(self, command: protocol.Stop) -> Unit:
        """Stop takes effect at once, before its receipt is written: a stop that is repeated does no harm."""
        ended = await self._cancel_all(command.chatId, command.how)

        async def unit(tx: Tx, session: SessionRow) -> Receipt:
            running = await tx.list_runs(session.id, status=("running",))
            for run in ended:
                kept = "Stopped before it began." if run.status == "cancelled" else "Stopped while it waited."
                result = Result(
                    success=False,
                    cost=None,
                    duration_ms=0,
                    stop_reason="stopped",
                    summary=kept,
                    partial=True,
                    runId=run.id,
                )
                await tx.append(session.id, result, run=run.id)
            if running:
                await set_state(tx, session.id, "stopping", "user", running[0].id)
            elif ended:
                await state_change(session.id, "stopped", "user", ended[0].id)(tx)
            return {"seq": 0, "extra": {"stopping": len(running), "stopped": len(ended)}}

        return unit

    async def _cancel_all(self, session: str, how: Any) -> list[RunRow]:
        """Ask every open run of the session to end; returns those that ended at once, not being at work."""
        ended = []
        for run in await self.log.store.list_runs(session, status=RUN_OPEN):
            now = await self._runs.cancel(run.id, how)
            if now is not None and now.status in ("cancelled", "stopped"):
                ended.append(now)
        return ended

    def _respond(self, user: User, command: protocol.Respond) -> Unit:
        async def unit(tx: Tx, session: SessionRow) -> Receipt:
            request = await tx.get_request(command.requestId)
            if request is None or request.session != session.id:
                raise not_found("request", command.requestId)
            if request.kind == "question":
                if command.answer is None:
                    raise PostdocError("bad_message", "This question needs an `answer`.", next="Send answer as text.")
                await answer(tx, request.id, answer=command.answer, by=user.name)
                body: protocol.Body = Answered(requestId=request.id, answer=command.answer, by=user.name)
            else:
                if command.decision is None:
                    raise PostdocError("bad_message", "This request needs a `decision`.", next="Send allow or deny.")
                await answer(tx, request.id, decision=command.decision, answer=command.answer, by=user.name)
                scope = {"scope": command.scope} if command.scope else {}
                body = ApprovalResolved(requestId=request.id, decision=command.decision, by=user.name, **scope)
            events = await tx.append(session.id, body, run=request.run)
            await set_state(tx, session.id, "queued", None, request.run)
            return {"seq": events[0].seq}

        return unit

    def _queue(self, command: protocol.QueueCancel | protocol.QueueUpdate) -> Unit:
        async def unit(tx: Tx, session: SessionRow) -> Receipt:
            queued = await tx.list_runs(session.id, status=("queued",))
            found = [
                run for run in queued if run.input.get("messageId") == command.messageId and run.started_at is None
            ]
            if not found:
                raise PostdocError(
                    "not_found",
                    f"No message {command.messageId!r} waits in the queue: it was taken already, or never sent.",
                    next="Send a new message, or stop the run.",
                )
            run = found[0]
            if isinstance(command, protocol.QueueCancel):
                changed = await tx.update_run(run.id, expect=("queued",), status="cancelled")
            else:
                key = "topic" if run.kind == "research" else "content"
                changed = await tx.update_run(run.id, expect=("queued",), input={**run.input, key: command.content})
            if changed is None:
                raise PostdocError("busy", "The message was taken in this very moment.", next="Stop the run instead.")
            left = pending(await tx.list_runs(session.id, status=("queued",)))
            cancelled = {"cancelled": [command.messageId]} if isinstance(command, protocol.QueueCancel) else {}
            events = await tx.append(session.id, QueueChanged(pending=left, **cancelled))
            if not await tx.list_runs(session.id, status=RUN_OPEN):
                await set_state(tx, session.id, "stopped", "user", run.id)
            return {"seq": events[0].seq}

        return unit

    def _set(self, command: protocol.SessionSet) -> Unit:
        changes: dict[str, Any] = {
            name: value
            for name in ("title", "model", "persona", "archived")
            if (value := getattr(command, name)) is not None
        }
        if "persona" in changes:
            changes["persona"] = self._personas.get(changes["persona"]).name

        async def unit(tx: Tx, session: SessionRow) -> Receipt:
            new_persona = changes.get("persona", session.persona) != session.persona
            if new_persona and await tx.count_events(session.id, types=["user_message"]):
                raise PostdocError(
                    "version_conflict",
                    "The persona is locked: this chat has messages already.",
                    next="Start a new chat with the other persona.",
                )
            row = await tx.update_session(session.id, expect_version=command.version, **changes)
            body = protocol.SessionState(status=row.state, version=row.version, title=row.title)
            events = await tx.append(session.id, body)
            return {"seq": events[0].seq, "extra": {"version": row.version}}

        return unit

    def _resume(self) -> Unit:
        async def unit(tx: Tx, session: SessionRow) -> Receipt:
            runs = await tx.list_runs(session.id)
            if any(run.status in RUN_OPEN for run in runs):
                raise PostdocError("busy", "This session is at work already.", next="Wait for it, or stop it first.")
            ended = [run for run in runs if run.status in ("stopped", "error")]
            last = max(ended, key=lambda run: run.ended_at or 0.0, default=None)
            again = await requeue(tx, last.id) if last is not None else None
            if again is None:
                raise PostdocError("not_found", "There is no stopped run to carry on.", next="Send a new message.")
            await set_state(tx, session.id, "queued", None, again.id)
            return {"seq": 0, "queued": True, "extra": {"runId": again.id}}

        return unit

    async def _fork(self, user: User, command: protocol.Fork, source: SessionRow) -> Unit:
        _no_room(source)
        new = new_id("c")

        async def unit(tx: Tx, session: SessionRow) -> Receipt:
            row = SessionRow(
                id=new,
                owner=user.name,
                kind=session.kind,
                title=f"{session.title} (fork)"[:200],
                reason="idle",
                persona=session.persona,
                model=session.model,
                meta={"forkOf": session.id, "forkAt": command.at},
            )
            await tx.insert_session(row)
            count = await tx.copy_events(session.id, new, upto=command.at)
            return {"seq": 0, "extra": {"chatId": new, "events": count}}

        return unit

    async def _open_room(self, id: str) -> None:
        if not id.startswith(ROOM):
            raise PostdocError("bad_message", f"{id!r} is not a room.", next="Room ids begin with `room:`.")
        if await self.log.store.get_session(id) is None:
            await self.create(User("", ""), kind="room", id=id)

    def _post(self, user: User, command: protocol.Post, id: str) -> Unit:
        async def unit(tx: Tx, session: SessionRow) -> Receipt:
            body = UserMessage(
                id=id, content=command.content, by=user.name, agent=command.agent, kind=command.kind.strip().lower()
            )
            event = (await tx.append(session.id, body))[0]
            return {"seq": event.seq, "extra": {"ts": iso(event.ts)}}

        return unit

    # --- what there is to choose from ---

    def describe_templates(self) -> list[dict[str, Any]]:
        """All usable research templates."""
        return [template.summary_dict() for template in self._lab.templates.list()]

    def describe_personas(self) -> list[dict[str, Any]]:
        """All personas, without their prompts."""
        return [persona.describe() for persona in self._personas.list()]

    def describe_models(self) -> list[dict[str, Any]]:
        """What can drive a session on this server."""
        return [
            {
                "id": "template",
                "provider": "template",
                "label": "Template script (no AI model)",
                "available": True,
                "kinds": ["research"],
            }
        ]

    async def health(self) -> dict[str, Any]:
        """How every part of the server is, and what to do where one is not."""
        return await health(self.log, self._lab)

    async def tidy(self) -> None:
        """At start: sessions that claim to be at work while none of their runs is get an honest state."""

        async def unit(tx: Tx) -> None:
            for row in await tx.list_sessions(archived=None, limit=100_000):
                at_work = row.state in ("queued", "starting", "running", "waiting", "stopping")
                if at_work and not await tx.list_runs(row.id, status=RUN_OPEN):
                    await set_state(tx, row.id, "stopped", "crash", None)

        await self.log.write(unit)


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
    if row is None or (row.kind != "room" and row.owner != user.name):
        raise not_found("session", id)
    return row


def pending(queued: Sequence[RunRow]) -> list[dict[str, Any]]:
    """The messages that wait, as clients see them."""
    return [
        {
            "id": run.input.get("messageId"),
            "content": run.input.get("content") or run.input.get("topic") or "",
            "runId": run.id,
            "kind": run.kind,
        }
        for run in queued
    ]


def chat_object(row: SessionRow) -> dict[str, Any]:
    """A session as REST shows it."""
    return {
        "id": row.id,
        "title": row.title,
        "kind": row.kind,
        "state": row.state,
        "reason": row.reason,
        "model": row.model,
        "persona": row.persona,
        "provider": "template" if row.kind == "research" else None,
        "archived": row.archived,
        "version": row.version,
        "lastSeq": row.last_seq,
        "createdAt": iso(row.created_at),
        "updatedAt": iso(row.updated_at),
        "project": row.meta.get("project"),
    }


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


def _no_room(session: SessionRow) -> None:
    if session.kind == "room":
        raise PostdocError("bad_message", "Agents do not work in rooms.", next="Use a chat; in a room use `post`.")
