"""Writing to SQLite: one unit inside the transaction of a batch."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Collection, Iterable, Sequence
from typing import Any

import aiosqlite
import msgspec

from jupyterlab_postdoc.errors import PostdocError, not_found
from jupyterlab_postdoc.protocol import Body, Event, encode, type_of

from .base import Append, LeaseLost, Outcome, as_draft
from .rows import (
    BlobRow,
    CommandRow,
    Draft,
    Fence,
    GrantRow,
    PublicationRow,
    RepositoryRow,
    RequestRow,
    RequestStatus,
    RunRow,
    RunStatus,
    ScheduleRow,
    SessionRow,
    SpendRow,
    StepRow,
    StepStatus,
    WorkerRow,
)
from .sqlite_reads import QUEUE_ORDER, SqliteReads
from .sqlite_rows import (
    BLOB,
    COMMAND,
    GRANT,
    PUBLICATION,
    REPOSITORY,
    REQUEST,
    RUN,
    SCHEDULE,
    SESSION,
    SPEND,
    STEP,
    WORKER,
    dump,
)

_ALLOCATE = """
UPDATE session SET last_seq = last_seq + json_extract(v.value, '$[1]'),
    updated_at = CASE json_extract(v.value, '$[3]') WHEN 1 THEN ?1 ELSE updated_at END
FROM json_each(?2) AS v
WHERE session.id = json_extract(v.value, '$[0]')
  AND (json_extract(v.value, '$[2]') IS NULL OR session.epoch = json_extract(v.value, '$[2]'))
RETURNING session.id, session.last_seq"""
# Partial frames alone leave updated_at, and so its indexes, untouched.
_ALLOCATE_PARTIAL = _ALLOCATE.replace(
    ",\n    updated_at = CASE json_extract(v.value, '$[3]') WHEN 1 THEN ?1 ELSE updated_at END", ""
).replace("?2", "?1")
_INSERT = "INSERT INTO event (session_id, seq, ts, type, run_id, item, payload) VALUES (?, ?, ?, ?, ?, ?, ?)"
_CLAIM = f"""
{RUN.select} WHERE status = 'queued' AND not_before <= ?1
  AND (?2 IS NULL OR queue IN (SELECT value FROM json_each(?2)))
  AND NOT EXISTS (SELECT 1 FROM run b WHERE b.session_id = run.session_id AND (b.status IN ('running', 'waiting')
      OR (b.status = 'queued' AND b.started_at IS NOT NULL AND run.started_at IS NULL)))
ORDER BY run.priority DESC, {QUEUE_ORDER} LIMIT 1"""

_PUT_SPEND = SPEND.upsert_keeping("ts")


class SqliteTx(SqliteReads):
    """See :class:`~.base.Tx`. What the log has to publish is collected in ``outcome``."""

    def __init__(self, conn: aiosqlite.Connection, now: float | None = None) -> None:
        self.conn = conn
        self.now = time.time() if now is None else now
        self.outcome = Outcome(events=[], touched=set(), deleted=set())
        self.orphans: set[str] = set()

    async def fetch(self, sql: str, params: Iterable[Any] = ()) -> list[Any]:
        return await self.conn.execute_fetchall(sql, params)  # type: ignore[no-any-return]

    # --- events ---

    async def append(
        self, session: str, *bodies: Body | Draft, run: str | None = None, fence: Fence | None = None
    ) -> list[Event]:
        drafts = [as_draft(b, run) for b in bodies]
        if not drafts:
            return []
        events: list[Event] = []
        start = 0
        for i, draft in enumerate(drafts):
            if (
                draft.replaces is not None
            ):  # frames of the item in this very call must be stored before they are replaced
                if i > start:
                    events += await self._append(session, drafts[start:i], fence)
                drafts[i] = await self._replace(session, draft)
                start = i
        return events + await self._append(session, drafts[start:], fence)

    async def _append(self, session: str, drafts: Sequence[Draft], fence: Fence | None) -> list[Event]:
        (outcome,) = await self.append_many([Append(session, tuple(drafts), fence)])
        if outcome.error is not None:
            raise outcome.error
        self.outcome.events += outcome.events
        self.outcome.touched |= outcome.touched
        return outcome.events

    async def _replace(self, session: str, draft: Draft) -> Draft:
        key = (session, draft.replaces)
        rows = await self.fetch("SELECT min(seq), max(seq) FROM event WHERE session_id = ? AND item = ?", key)
        if rows[0][0] is None:
            return Draft(draft.body, draft.run)
        await self.fetch("DELETE FROM event WHERE session_id = ? AND item = ?", key)
        body = draft.body
        if "replaces" in body.__struct_fields__:
            body = msgspec.structs.replace(body, replaces=(rows[0][0], rows[0][1]))
        return Draft(body, draft.run)

    async def append_many(self, appends: Sequence[Append]) -> list[Outcome]:
        """Merged appends, at most one fence per session, none with ``replaces``: two statements for all of them."""
        wanted: dict[str, list[Any]] = {}
        for a in appends:
            final = a.drafts[0].item is None or any(d.item is None for d in a.drafts)
            entry = wanted.setdefault(a.session, [a.session, 0, a.fence.epoch if a.fence else None, 0])
            entry[1] += len(a.drafts)
            entry[3] |= final
        entries = dump(list(wanted.values()))
        if any(e[3] for e in wanted.values()):
            rows = await self.fetch(_ALLOCATE, (self.now, entries))
        else:
            rows = await self.fetch(_ALLOCATE_PARTIAL, (entries,))
        following = {id: last - wanted[id][1] + 1 for id, last in rows}
        outcomes, inserts = [], []
        for a in appends:
            seq = following.get(a.session)
            if seq is None:
                outcomes.append(Outcome(error=LeaseLost(a.fence.run) if a.fence else not_found("chat", a.session)))
                continue
            events = []
            for d in a.drafts:
                payload = encode(d.body)
                event = Event(a.session, seq, self.now, type_of(d.body), d.run, d.item, payload)
                events.append(event)
                inserts.append((a.session, seq, self.now, event.type, d.run, d.item, payload.decode()))
                seq += 1
            following[a.session] = seq
            touched = {a.session} if wanted[a.session][3] else set()
            outcomes.append(Outcome(value=events, events=events, touched=touched))
        if inserts:
            await self.conn.executemany(_INSERT, inserts)
        return outcomes

    async def check(self, session: str, fence: Fence) -> None:
        if not await self.fetch("SELECT 1 FROM session WHERE id = ? AND epoch = ?", (session, fence.epoch)):
            raise LeaseLost(fence.run)

    # --- sessions ---

    async def insert_session(self, row: SessionRow) -> SessionRow:
        row = msgspec.structs.replace(row, created_at=row.created_at or self.now, updated_at=row.updated_at or self.now)
        await self._insert(SESSION.insert, SESSION.params(row), "chat", row.id)
        await self.fetch("DELETE FROM deleted_session WHERE id = ?", (row.id,))
        self.outcome.touched.add(row.id)
        return row

    async def _insert(self, sql: str, params: Sequence[Any], what: str, id: str) -> None:
        try:
            await self.fetch(sql, params)
        except sqlite3.IntegrityError as error:
            raise PostdocError(
                "id_conflict", f"The {what} id {id!r} is taken already.", next="Use another id, or send none."
            ) from error

    async def update_session(self, id: str, *, expect_version: int | None = None, **changes: Any) -> SessionRow:
        assign, params = SESSION.assign(changes)
        rows = await self.fetch(
            f"UPDATE session SET {assign}{', ' if assign else ''}version = version + 1, updated_at = ?"
            f" WHERE id = ? AND (? IS NULL OR version = ?){SESSION.returning}",
            (*params, self.now, id, expect_version, expect_version),
        )
        if rows:
            self.outcome.touched.add(id)
            return SESSION.load(rows[0])
        current = await self.get_session(id)
        if current is None:
            raise not_found("chat", id)
        raise PostdocError(
            "version_conflict",
            "The chat was changed meanwhile. Your change was not stored.",
            next="Load the chat again and repeat the change.",
            version=current.version,
        )

    async def delete_session(self, id: str) -> bool:
        if not await self.fetch("DELETE FROM session WHERE id = ? RETURNING id", (id,)):
            return False
        self.orphans |= {r[0] for r in await self.fetch("SELECT hash FROM blob WHERE session_id = ?", (id,))}
        await self.fetch("DELETE FROM step WHERE run_id IN (SELECT id FROM run WHERE session_id = ?)", (id,))
        for table in ("event", "run", "request", "command", "blob", "schedule", "leave_given", "publication"):
            await self.fetch(f"DELETE FROM {table} WHERE session_id = ?", (id,))
        await self.fetch("INSERT OR REPLACE INTO deleted_session VALUES (?, ?)", (id, self.now))
        self.outcome.deleted.add(id)
        self.outcome.runs = True
        return True

    async def copy_events(self, source: str, target: str, *, upto: int | None = None) -> int:
        await self.fetch(
            "INSERT INTO event SELECT ?, seq, ts, type, run_id, NULL, payload FROM event"
            " WHERE session_id = ? AND item IS NULL AND (? IS NULL OR seq <= ?)",
            (target, source, upto, upto),
        )
        rows = await self.fetch("SELECT count(*), coalesce(max(seq), 0) FROM event WHERE session_id = ?", (target,))
        await self.fetch("UPDATE session SET last_seq = ?, updated_at = ? WHERE id = ?", (rows[0][1], self.now, target))
        self.outcome.touched.add(target)
        return int(rows[0][0])

    # --- runs ---

    async def insert_run(self, row: RunRow) -> RunRow:
        if not await self.heads([row.session]):
            raise not_found("chat", row.session)
        row = msgspec.structs.replace(row, created_at=row.created_at or self.now)
        await self._insert(RUN.insert, RUN.params(row), "run", row.id)
        self.outcome.runs = True
        return row

    async def _change_run(self, sql: str, params: Iterable[Any]) -> RunRow | None:
        rows = await self.fetch(sql + RUN.returning, params)
        self.outcome.runs = self.outcome.runs or bool(rows)
        return RUN.load(rows[0]) if rows else None

    async def update_run(
        self, id: str, *, expect: Collection[RunStatus] | None = None, epoch: int | None = None, **changes: Any
    ) -> RunRow | None:
        assign, params = RUN.assign(changes)
        states = None if expect is None else dump(list(expect))
        return await self._change_run(
            f"UPDATE run SET {assign} WHERE id = ? AND (? IS NULL OR status IN (SELECT value FROM json_each(?)))"
            " AND (? IS NULL OR epoch = ?)",
            (*params, id, states, states, epoch, epoch),
        )

    async def claim(
        self, worker: str, *, queues: Collection[str] | None = None, lease_s: float = 30.0
    ) -> RunRow | None:
        rows = await self.fetch(_CLAIM, (self.now, None if queues is None else dump(list(queues))))
        if not rows:
            return None
        found = RUN.load(rows[0])
        epochs = await self.fetch("UPDATE session SET epoch = epoch + 1 WHERE id = ? RETURNING epoch", (found.session,))
        run = await self._change_run(
            "UPDATE run SET status = 'running', owner = ?, epoch = ?, lease_until = ?, attempt = attempt + 1,"
            " interrupted = 0,"
            " started_at = coalesce(started_at, ?) WHERE id = ?",
            (worker, epochs[0][0], self.now + lease_s, self.now, found.id),
        )
        return msgspec.structs.replace(run, interrupted=found.interrupted) if run else None

    async def renew(self, worker: str, fences: Collection[Fence], *, lease_s: float = 30.0) -> dict[str, int]:
        rows = await self.fetch(
            "UPDATE run SET lease_until = ? FROM json_each(?) AS v WHERE run.id = json_extract(v.value, '$[0]')"
            " AND run.epoch = json_extract(v.value, '$[1]') AND run.owner = ? AND run.status = 'running'"
            " RETURNING run.id, run.cancel",
            (self.now + lease_s, dump([tuple(f) for f in fences]), worker),
        )
        await self.fetch("UPDATE worker SET heartbeat_at = ? WHERE id = ?", (self.now, worker))
        return dict(rows)

    async def leave(self, session: str, fence: Fence, status: RunStatus, **changes: Any) -> RunRow:
        assign, params = RUN.assign({"owner": None, "lease_until": 0.0, "interrupted": False, **changes})
        run = await self._change_run(
            f"UPDATE run SET status = ?, {assign} WHERE id = ? AND epoch = ? AND status = 'running'",
            (status, *params, fence.run, fence.epoch),
        )
        if run is None:
            raise LeaseLost(fence.run)
        await self.fetch("UPDATE session SET epoch = epoch + 1 WHERE id = ? AND epoch = ?", (session, fence.epoch))
        return run

    async def interrupt(self, run: str, epoch: int) -> RunRow | None:
        done = "(SELECT count(*) FROM step WHERE run_id = run.id AND status = 'done')"
        row = await self._change_run(
            "UPDATE run SET status = 'queued', owner = NULL, lease_until = 0, interrupted = 1,"
            f" crashes = CASE WHEN {done} > progress THEN 1 ELSE crashes + 1 END, progress = {done}"
            " WHERE id = ? AND epoch = ? AND status = 'running'",
            (run, epoch),
        )
        if row is not None:
            await self.fetch("UPDATE session SET epoch = epoch + 1 WHERE id = ? AND epoch = ?", (row.session, epoch))
        return row

    # --- steps ---

    async def begin_step(self, run: str, key: str) -> tuple[StepRow, bool]:
        old = await self.get_step(run, key)
        if old is None:
            row = StepRow(run=run, key=key, status="started", attempt=1, idem_key=f"{run}:{key}", started_at=self.now)
            await self.fetch(STEP.insert, STEP.params(row))
            return row, True
        if old.status == "started":
            await self.fetch("UPDATE step SET attempt = attempt + 1 WHERE run_id = ? AND key = ?", (run, key))
            old = msgspec.structs.replace(old, attempt=old.attempt + 1)
        return old, False

    async def end_step(self, run: str, key: str, status: StepStatus, *, result: Any = None, error: Any = None) -> None:
        await self.fetch(
            "UPDATE step SET status = ?, result = ?, error = ?, ended_at = ? WHERE run_id = ? AND key = ?",
            (status, dump(result), None if error is None else dump(error), self.now, run, key),
        )

    # --- requests ---

    async def insert_request(self, row: RequestRow) -> RequestRow:
        row = msgspec.structs.replace(row, created_at=row.created_at or self.now)
        await self._insert(REQUEST.insert, REQUEST.params(row), "request", row.id)
        return row

    async def resolve_request(
        self,
        id: str,
        status: RequestStatus,
        *,
        answer: str | None = None,
        decision: str | None = None,
        by: str | None = None,
    ) -> RequestRow:
        rows = await self.fetch(
            "UPDATE request SET status = ?, answer = ?, decision = ?, answered_by = ?, answered_at = ?"
            f" WHERE id = ? AND status = 'open'{REQUEST.returning}",
            (status, answer, decision, by, self.now, id),
        )
        if not rows:
            old = await self.get_request(id)
            if old is None:
                raise not_found("request", id)
            raise PostdocError(
                "busy",
                f"This request was {old.status} already" + (f" by {old.answered_by}." if old.answered_by else "."),
                next="Nothing is left to do.",
                status=old.status,
            )
        request = REQUEST.load(rows[0])
        await self._change_run(
            "UPDATE run SET status = 'queued' WHERE id = ?1 AND status = 'waiting'"
            " AND NOT EXISTS (SELECT 1 FROM request WHERE run_id = ?1 AND status = 'open')",
            (request.run,),
        )
        return request

    # --- the rest ---

    async def put_command(self, row: CommandRow) -> None:
        row = msgspec.structs.replace(row, created_at=row.created_at or self.now)
        await self._insert(COMMAND.insert, COMMAND.params(row), "command", row.id)

    async def put_blob(self, row: BlobRow) -> None:
        await self.fetch(BLOB.upsert, BLOB.params(msgspec.structs.replace(row, created_at=row.created_at or self.now)))

    async def put_spend(self, row: SpendRow) -> None:
        await self.fetch(_PUT_SPEND, SPEND.params(msgspec.structs.replace(row, ts=row.ts or self.now)))

    async def put_grant(self, row: GrantRow) -> None:
        row = msgspec.structs.replace(row, created_at=row.created_at or self.now)
        await self.fetch(GRANT.upsert, GRANT.params(row))

    async def delete_grant(self, owner: str, session: str, subject: str) -> bool:
        return bool(
            await self.fetch(
                "DELETE FROM leave_given WHERE owner = ? AND session_id = ? AND subject = ? RETURNING subject",
                (owner, session, subject),
            )
        )

    async def put_schedule(self, row: ScheduleRow) -> None:
        await self.fetch(SCHEDULE.upsert, SCHEDULE.params(row))

    async def delete_schedule(self, id: str) -> bool:
        return bool(await self.fetch("DELETE FROM schedule WHERE id = ? RETURNING id", (id,)))

    async def put_worker(self, row: WorkerRow) -> None:
        await self.fetch(WORKER.upsert, WORKER.params(msgspec.structs.replace(row, heartbeat_at=self.now)))

    async def delete_worker(self, id: str) -> None:
        await self.fetch("DELETE FROM worker WHERE id = ?", (id,))

    async def put_repository(self, row: RepositoryRow) -> RepositoryRow:
        row = msgspec.structs.replace(row, created_at=row.created_at or self.now, updated_at=self.now)
        try:
            await self.fetch(REPOSITORY.upsert_keeping("created_at"), REPOSITORY.params(row))
        except sqlite3.IntegrityError as exc:
            raise PostdocError(
                "id_conflict", f"{row.name} is registered already.", next="Use the one that is in the list."
            ) from exc
        return row

    async def delete_repository(self, id: str) -> bool:
        return bool(await self.fetch("DELETE FROM repository WHERE id = ? RETURNING id", (id,)))

    async def put_publication(self, row: PublicationRow, *, quiet: bool = False) -> PublicationRow:
        row = msgspec.structs.replace(row, updated_at=self.now)
        await self.fetch(PUBLICATION.upsert, PUBLICATION.params(row))
        if not quiet:
            self.outcome.touched.add(row.session)
        return row
