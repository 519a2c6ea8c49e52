"""Commands: what each of them does to a session, as one unit for the transaction that also stores its receipt."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import msgspec
from msgspec import UNSET

from jupyterlab_postdoc import protocol
from jupyterlab_postdoc.agent.execute import set_state
from jupyterlab_postdoc.agent.personas import Personas
from jupyterlab_postdoc.agent.publication import PUBLISH, WANTED, project_root
from jupyterlab_postdoc.agent.research import SYNTHETIC, Lab, data_file
from jupyterlab_postdoc.checkpoints import Checkpoints
from jupyterlab_postdoc.errors import PostdocError, not_found
from jupyterlab_postdoc.forge.names import check_remote_name, check_repo_name
from jupyterlab_postdoc.forge.refs import check_branch
from jupyterlab_postdoc.handover import Handover
from jupyterlab_postdoc.models import ModelCatalogue
from jupyterlab_postdoc.protocol import Answered, ApprovalResolved, QueueChanged, Result, UserMessage, iso, new_id
from jupyterlab_postdoc.publishing import state
from jupyterlab_postdoc.publishing.places import CHECKOUT, kept_place, place_of
from jupyterlab_postdoc.publishing.problems import STOPPED, not_connected
from jupyterlab_postdoc.runs import Runs, answer, cancel, requeue
from jupyterlab_postdoc.store.base import RUN_OPEN, GrantRow, PublicationRow, RunRow, RunStatus, SessionRow, Tx

MAX_QUEUE = 100
QUEUED: tuple[RunStatus, ...] = ("queued",)

Receipt = dict[str, Any]
Unit = Callable[[Tx, SessionRow], Awaitable[Receipt]]


@dataclass(frozen=True)
class User:
    """Who does it, as Jupyter's identity provider says. ``anonymous``: it does not know who (see handlers/base.py)."""

    name: str
    display: str
    anonymous: bool = False


def _one_place(session: SessionRow, asked: dict[str, Any]) -> dict[str, Any]:
    """The change of a session's ``meta`` that makes it work there; refused when it works somewhere else."""
    new, kept = kept_place(asked), kept_place(session.meta)
    if new is None:
        return {}
    if kept is not None and kept.same(new):
        return {"repository": asked["repository"]}
    if kept is not None or session.meta.get("project"):
        where = kept.name if kept is not None else "a repository of its own"
        raise PostdocError(
            "version_conflict",
            f"This session works in {where} already.",
            next=f"Start a new chat for work in {new.name}.",
        )
    return asked


@dataclass(frozen=True)
class Commands:
    """Turns a command into the unit that carries it out. A receipt is ``{"seq", "queued"?, "extra"?}``."""

    runs: Runs
    lab: Lab
    personas: Personas
    models: ModelCatalogue
    checkpoints: Checkpoints

    @property
    def handover(self) -> Handover:
        """The notebooks between agents and people."""
        return Handover(self.runs.log, self.lab)

    async def prepare(self, user: User, command: protocol.Command, row: SessionRow, id: str) -> Unit:
        """What the transaction has to do. What needs files, templates or other transactions happens here, before it."""
        match command:
            case protocol.Chat():
                return self._say(user, command, id)
            case protocol.Research():
                return await self._research(user, command, id, row)
            case protocol.Publish():
                return await self._publish(user, command, row)
            case protocol.Stop():
                return self._stop(command)
            case protocol.Respond():
                return self._respond(user, command)
            case protocol.QueueCancel() | protocol.QueueUpdate():
                return self._queue(command)
            case protocol.SessionSet():
                return await self._set(user, command)
            case protocol.Resume():
                return self._resume()
            case protocol.Fork():
                return await self._fork(user, command, row, id)
            case protocol.NotebookTake():
                return await self.handover.take(user, row)
            case protocol.NotebookGive():
                return await self.handover.give(user, row)
            case protocol.Post():
                return self._post(user, command, id)
        raise PostdocError("unknown_type", f"The command {type(command).__name__} is not known.")

    def _say(self, user: User, command: protocol.Chat, id: str) -> Unit:
        async def unit(tx: Tx, session: SessionRow) -> Receipt:
            _no_room(session)
            if command.mode == "interrupt":
                await self._stop_all(tx, session.id, "now")
            open_runs = await tx.list_runs(session.id, status=RUN_OPEN)
            running = [run for run in open_runs if run.status in ("running", "waiting")]
            heard = running and running[0].kind != PUBLISH  # a publication hears no words
            if command.mode == "steer" and heard and not running[0].cancel:
                body = UserMessage(id=id, content=command.content, by=user.name, runId=running[0].id, mode="steer")
                events = await tx.append(session.id, body, run=running[0].id)
                return {"seq": events[0].seq, "extra": {"runId": running[0].id}}
            given = {"content": command.content, "anonymous": user.anonymous}
            run = RunRow(id=new_id("r"), session=session.id, kind="chat", input=given)
            body = UserMessage(id=id, content=command.content, by=user.name, runId=run.id)
            return await self._enqueue(tx, session, run, body, open_runs)

        return unit

    async def _research(self, user: User, command: protocol.Research, id: str, row: SessionRow) -> Unit:
        topic = command.topic.strip()
        if not topic:
            raise PostdocError("bad_message", "The topic is empty.", next="Say in a few words what to study.")
        provider = self._provider(command)
        template, params = self._check_research(command, topic)
        if provider == "template":
            self._check_persona(row.persona, template)
        model = await self.models.resolve(command.model, user.anonymous) if command.model else None
        place = await self._place(user, command, row)
        given = {
            "provider": provider,
            "anonymous": user.anonymous,
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
            meta = {**session.meta, **_one_place(session, place), "provider": provider, "template": template}
            changes: dict[str, Any] = {"meta": meta} | ({"model": model} if model else {})
            await tx.update_session(session.id, kind="research", title=session.title or topic[:200], **changes)
            shown = {key: given[key] for key in ("topic", "repo_name", "template", "params", "budget", "provider")}
            if (kept := kept_place(meta)) is not None:
                shown["repository"] = kept.name
            body = UserMessage(id=id, content=topic, by=user.name, runId=run.id, research=shown)
            return await self._enqueue(tx, session, run, body, open_runs)

        return unit

    async def place(self, user: User, repository: str) -> dict[str, Any]:
        """What a session's ``meta`` gets when it works in a repository (an id or ``owner/name``)."""
        if self.lab.repositories is None:
            raise PostdocError("internal", "This server has no place for repositories of others.")
        row = await self.lab.repositories.resolve(user.name, repository)
        return {"repository": row.id, CHECKOUT: msgspec.to_builtins(place_of(row))}

    async def _place(self, user: User, command: protocol.Research, row: SessionRow) -> dict[str, Any]:
        """The repository that the research is asked to work in; empty: as the session does."""
        if command.repo_name is not None and (command.repository or row.meta.get(CHECKOUT)):
            raise PostdocError(
                "bad_message",
                "`repo_name` names a new repository, and this research works in one that exists.",
                next="Leave the name out, or start in a new chat without a repository.",
            )
        kept = kept_place(row.meta)
        if command.repository is None or (kept and command.repository in (kept.repository, kept.name)):
            return {}
        return await self.place(user, command.repository)

    async def _publish(self, user: User, command: protocol.Publish, row: SessionRow) -> Unit:
        """A publish run; the one that is under way already answers a second click."""
        _no_room(row)
        project_root(self.lab, row)
        parts = self.lab.publishing
        if parts is None or await parts.github.of(row.owner) is None:
            raise not_connected(str(row.repo or row.title or row.id))
        if command.name is not None:
            check_remote_name(command.name)
        if command.branch is not None:
            check_branch(command.branch)
        given = {name: value for name in WANTED if (value := getattr(command, name, None)) not in (None, False)}
        if command.private is not None:
            given["private"] = command.private
        if command.pullRequest is not None:
            given["pullRequest"] = command.pullRequest
        given["by"] = user.name

        async def unit(tx: Tx, session: SessionRow) -> Receipt:
            _check_same_place(await tx.get_publication(session.id), command, session)
            open_runs = await tx.list_runs(session.id, status=RUN_OPEN)
            for run in open_runs:
                if run.kind == PUBLISH:
                    _check_same_wish(run, given)
                    return {"seq": 0, "queued": run.status == "queued", "extra": {"runId": run.id}}
            run = RunRow(id=new_id("r"), session=session.id, kind=PUBLISH, queue=self.lab.queue, input=given)
            stored = await self.runs.submit(tx, run)
            if not open_runs:
                await set_state(tx, session.id, "queued", "publish", stored.id)
            return {"seq": 0, "queued": bool(open_runs), "extra": {"runId": stored.id}}

        return unit

    def _provider(self, command: protocol.Research) -> str:
        """Who shall do the research: the one that is asked for, else a model when one can be asked."""
        provider, status = self.models.provider, self.models.status()
        if command.provider is None:
            return provider.id if provider is not None and self.models.configured else "template"
        asked_for = provider is not None and command.provider == provider.id
        if command.provider == "template" or (asked_for and status["ok"]):
            return command.provider
        why = status if asked_for else {}
        raise PostdocError(
            "no_model",
            str(why.get("message") or f"There is no provider {command.provider[:80]!r} on this server."),
            next=f"{why.get('next', '')} Or start with the provider `template`, which needs no model.".strip(),
        )

    def _check_research(self, command: protocol.Research, topic: str) -> tuple[str | None, dict[str, Any]]:
        """Template and parameters, checked before anything is begun. No template: the run will ask which one."""
        if command.repo_name is not None:
            check_repo_name(command.repo_name)
        templates = self.lab.templates
        template = templates.get(command.template) if command.template else templates.match(topic)
        if template is None:
            return None, command.params
        complete = template.validate_parameters(command.params)
        if complete.get("data") not in (None, *SYNTHETIC):
            data_file(self.lab.root_dir, str(complete["data"]))
        return template.name, {name: complete[name] for name in command.params}

    def _check_persona(self, name: str | None, template: str | None) -> None:
        """A persona that may not use the tools of the script would fail at its first step."""
        persona = self.personas.get(name)
        if template is None:
            return
        calls = [call for turn in self.lab.templates.get(template).script for call in turn.get("calls") or []]
        lacking = sorted({name for call in calls if not persona.allows(name := str(call.get("tool")))})
        if lacking:
            raise PostdocError(
                "forbidden",
                f"The persona {persona.title} may not use {', '.join(lacking)}, which this research needs.",
                next="Start the research in a chat with another persona, for example the default one.",
            )

    async def _enqueue(
        self, tx: Tx, session: SessionRow, run: RunRow, body: UserMessage, open_runs: Sequence[RunRow]
    ) -> Receipt:
        if len(open_runs) >= MAX_QUEUE:
            raise PostdocError("queue_full", f"{MAX_QUEUE} messages wait already.", next="Wait, or cancel some.")
        stored = await self.runs.submit(
            tx, msgspec.structs.replace(run, queue=self.lab.queue, input={**run.input, "messageId": body.id})
        )
        events = await tx.append(session.id, body, run=stored.id)
        if open_runs:
            waiting = [open_run for open_run in open_runs if open_run.status == "queued"]
            await tx.append(session.id, QueueChanged(pending=pending([*waiting, stored])))
        else:
            await set_state(tx, session.id, "queued", None, stored.id)
        return {"seq": events[0].seq, "queued": bool(open_runs), "extra": {"runId": stored.id}}

    def _stop(self, command: protocol.Stop) -> Unit:
        async def unit(tx: Tx, session: SessionRow) -> Receipt:
            return {"seq": 0, "extra": await self._stop_all(tx, session.id, command.how)}

        return unit

    async def _stop_all(self, tx: Tx, session: str, how: Literal["graceful", "now"]) -> dict[str, int]:
        """Ask every open run to end. One that has begun says so itself; one that has not ends here."""
        stopping: list[RunRow] = []
        ended: list[RunRow] = []
        for run in await tx.list_runs(session, status=RUN_OPEN):
            asked = await cancel(tx, run.id, how)
            if asked is not None:
                (ended if asked.status == "cancelled" else stopping).append(asked)
        for run in ended:
            if run.kind == PUBLISH and (picture := await state.settle(tx, session, STOPPED)) is not None:
                await tx.append(session, picture, run=run.id)
            await tx.append(session, _not_begun(run, "stopped", "Stopped before it began."), run=run.id)
        row = await tx.get_session(session)
        if stopping and row is not None and row.state != "stopping":
            await set_state(tx, session, "stopping", "user", stopping[0].id)
        elif ended:
            await set_state(tx, session, "stopped", "user", ended[0].id)
        return {"stopping": len(stopping), "stopped": len(ended)}

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
                if command.decision == "allow" and command.scope in ("session", "always"):
                    where = session.id if command.scope == "session" else ""
                    owner, tool = str(request.body.get("owner", "")), str(request.body.get("tool", ""))
                    await tx.put_grant(GrantRow(owner=owner, session=where, subject=tool))
            events = await tx.append(session.id, body, run=request.run)
            run = await tx.get_run(request.run) if request.run is not None else None
            if run is not None and run.status == "queued":
                await set_state(tx, session.id, "queued", None, run.id)
            return {"seq": events[0].seq}

        return unit

    def _queue(self, command: protocol.QueueCancel | protocol.QueueUpdate) -> Unit:
        async def unit(tx: Tx, session: SessionRow) -> Receipt:
            queued = await tx.list_runs(session.id, status=QUEUED)
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
                changed = await tx.update_run(run.id, expect=QUEUED, status="cancelled")
            else:
                key = "topic" if run.kind == "research" else "content"
                changed = await tx.update_run(run.id, expect=QUEUED, input={**run.input, key: command.content})
            if changed is None:
                raise PostdocError("busy", "The message was taken in this very moment.", next="Stop the run instead.")
            left = pending(await tx.list_runs(session.id, status=QUEUED))
            cancelled = {"cancelled": [command.messageId]} if isinstance(command, protocol.QueueCancel) else {}
            events = await tx.append(session.id, QueueChanged(pending=left, **cancelled))
            if cancelled:
                await tx.append(session.id, _not_begun(run, "cancelled", "Taken back before it began."), run=run.id)
            if not await tx.list_runs(session.id, status=RUN_OPEN):
                await set_state(tx, session.id, "stopped", "user", run.id)
            return {"seq": events[0].seq}

        return unit

    async def _set(self, user: User, command: protocol.SessionSet) -> Unit:
        changes: dict[str, Any] = {
            name: value
            for name in ("title", "model", "persona", "archived")
            if (value := getattr(command, name)) is not None
        }
        if "persona" in changes:
            changes["persona"] = self.personas.get(changes["persona"]).name
        if "model" in changes:
            changes["model"] = await self.models.resolve(changes["model"], user.anonymous)

        async def unit(tx: Tx, session: SessionRow) -> Receipt:
            new_persona = changes.get("persona", session.persona) != session.persona
            if new_persona and await tx.count_events(session.id, types=["user_message"]):
                raise PostdocError(
                    "version_conflict",
                    "The persona is locked: this chat has messages already.",
                    next="Start a new chat with the other persona.",
                )
            row = await tx.update_session(session.id, expect_version=command.version, **changes)
            model = row.model if row.model and row.model != session.model else UNSET
            body = protocol.SessionState(status=row.state, version=row.version, title=row.title, model=model)
            events = await tx.append(session.id, body)
            return {"seq": events[0].seq, "extra": {"version": row.version}}

        return unit

    def _resume(self) -> Unit:
        async def unit(tx: Tx, session: SessionRow) -> Receipt:
            runs = [run for run in await tx.list_runs(session.id) if run.kind != PUBLISH]
            if any(run.status in RUN_OPEN for run in await tx.list_runs(session.id)):
                raise PostdocError("busy", "This session is at work already.", next="Wait for it, or stop it first.")
            ended = [run for run in runs if run.status in ("stopped", "error")]
            last = max(ended, key=lambda run: run.ended_at or 0.0, default=None)
            if last is not None and last.output is not None:
                raise PostdocError(
                    "bad_message",
                    "The last run came to its end by itself; there is nothing left to carry on.",
                    next="Start a new run, with the input corrected where it failed.",
                )
            again = await requeue(tx, last.id) if last is not None else None
            if again is None:
                raise PostdocError("not_found", "There is no stopped run to carry on.", next="Send a new message.")
            await set_state(tx, session.id, "queued", None, again.id)
            return {"seq": 0, "queued": True, "extra": {"runId": again.id}}

        return unit

    async def _fork(self, user: User, command: protocol.Fork, source: SessionRow, id: str) -> Unit:
        _no_room(source)
        if command.commit is not None:
            return await self.checkpoints.fork(source, command.commit, owner=user.name, key=id, at=command.at)
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

    def _post(self, user: User, command: protocol.Post, id: str) -> Unit:
        async def unit(tx: Tx, session: SessionRow) -> Receipt:
            body = UserMessage(
                id=id, content=command.content, by=user.name, agent=command.agent, kind=command.kind.strip().lower()
            )
            event = (await tx.append(session.id, body))[0]
            return {"seq": event.seq, "extra": {"ts": iso(event.ts)}}

        return unit


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


def _not_begun(run: RunRow, stop_reason: str, summary: str) -> Result:
    return Result(
        success=False,
        cost=None,
        duration_ms=0,
        stop_reason=stop_reason,
        summary=summary,
        partial=True,
        runId=run.id,
    )


def _no_room(session: SessionRow) -> None:
    if session.kind == "room":
        raise PostdocError("bad_message", "Agents do not work in rooms.", next="Use a chat; in a room use `post`.")


def _check_same_wish(run: RunRow, given: Mapping[str, Any]) -> None:
    """A second click is the publication that is under way; one with other choices must not be lost in silence."""
    chosen = {name: value for name, value in given.items() if name != "by"}
    if any(run.input.get(name) != value for name, value in chosen.items()):
        raise PostdocError(
            "busy",
            "A publication of this session is under way, with other choices.",
            next="Wait for its end, or stop it; then publish again.",
        )


def _check_same_place(row: PublicationRow | None, command: protocol.Publish, session: SessionRow) -> None:
    """Once there is a repository, its owner, name and visibility are changed on the forge, not here."""
    path = str((session.meta.get("project") or {}).get("path") or "")
    body = state.load(row) if kept_place(session.meta) else state.load_for(row, path.rpartition("/")[2])
    if body.repository_id is None:
        return
    shown = state.shown_in(row)
    gone = shown is not None and isinstance(shown.problem, protocol.Problem) and "rename" in shown.problem.actions
    given = {"owner": command.owner, "name": command.name, "private": command.private}
    there = {"owner": body.owner, "name": body.name, "private": body.private}
    differs = [name for name, value in given.items() if value is not None and value != there[name]]
    if differs and not (gone and differs == ["name"]):
        differs = ["visibility" if name == "private" else name for name in differs]
        raise PostdocError(
            "bad_message",
            f"The session is published as {body.full_name} already; its {' and '.join(differs)} cannot be chosen anew.",
            next="Change that in the repository's settings on GitHub: it is found again, also under another name.",
        )
