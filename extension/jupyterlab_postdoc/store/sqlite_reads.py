"""Reading from SQLite; the same methods serve the read-only connection and a transaction."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable
from typing import Any

from jupyterlab_postdoc.protocol import Event

from .rows import (
    BlobRow,
    CommandRow,
    PublicationRow,
    RepositoryRow,
    RequestRow,
    RequestStatus,
    RunRow,
    RunStatus,
    ScheduleRow,
    SessionRow,
    Spent,
    StepRow,
    WorkerRow,
)
from .sqlite_rows import (
    BLOB,
    COMMAND,
    EVENT_COLUMNS,
    PUBLICATION,
    REPOSITORY,
    REQUEST,
    RUN,
    SCHEDULE,
    SESSION,
    STEP,
    WORKER,
    dump,
    event,
)

_IN = "(SELECT value FROM json_each(?))"
NEWS = ("agent_status", "assistant_message", "error", "result")
"""The types that have an index of their own for :meth:`SqliteReads.newest`; none of them is ever partial."""
QUEUE_ORDER = "run.started_at IS NULL, run.priority DESC, run.n"


class SqliteReads(ABC):
    """Needs only :meth:`fetch`."""

    @abstractmethod
    async def fetch(self, sql: str, params: Iterable[Any] = ()) -> list[Any]:
        """All rows of one statement."""

    async def get_session(self, id: str) -> SessionRow | None:
        rows = await self.fetch(f"{SESSION.select} WHERE id = ?", (id,))
        return SESSION.load(rows[0]) if rows else None

    async def list_sessions(
        self,
        *,
        owner: str | None = None,
        kind: str | None = None,
        archived: bool | None = False,
        before: float | None = None,
        limit: int = 200,
    ) -> list[SessionRow]:
        where: list[str] = []
        params: list[Any] = []
        for text, value in (
            ("owner = ?", owner),
            ("kind = ?", kind),
            ("archived = ?", archived),
            ("updated_at < ?", before),
        ):
            if value is not None:
                where.append(text)
                params.append(value)
        clause = f" WHERE {' AND '.join(where)}" if where else ""
        rows = await self.fetch(f"{SESSION.select}{clause} ORDER BY updated_at DESC, id LIMIT ?", (*params, limit))
        return [SESSION.load(r) for r in rows]

    async def get_run(self, id: str) -> RunRow | None:
        rows = await self.fetch(f"{RUN.select} WHERE id = ?", (id,))
        return RUN.load(rows[0]) if rows else None

    async def list_runs(
        self, session: str | None = None, *, status: Collection[RunStatus] | None = None, limit: int = 1000
    ) -> list[RunRow]:
        where, params = ["1"], []
        if session is not None:
            where.append("session_id = ?")
            params.append(session)
        if status is not None:
            where.append(f"status IN {_IN}")
            params.append(dump(list(status)))
        rows = await self.fetch(
            f"{RUN.select} WHERE {' AND '.join(where)} ORDER BY {QUEUE_ORDER} LIMIT ?", (*params, limit)
        )
        return [RUN.load(r) for r in rows]

    async def next_run_at(self, *, queues: Collection[str] | None = None) -> float | None:
        busy = "EXISTS (SELECT 1 FROM run b WHERE b.session_id = run.session_id AND b.status IN ('running', 'waiting'))"
        queue = f" AND run.queue IN {_IN}" if queues is not None else ""
        params = (dump(list(queues)),) if queues is not None else ()
        rows = await self.fetch(
            f"SELECT min(not_before) FROM run WHERE status = 'queued'{queue} AND NOT {busy}", params
        )
        return None if rows[0][0] is None else float(rows[0][0])

    async def steps(self, run: str) -> dict[str, StepRow]:
        rows = await self.fetch(f"{STEP.select} WHERE run_id = ? ORDER BY n", (run,))
        return {step.key: step for step in map(STEP.load, rows)}

    async def get_step(self, run: str, key: str) -> StepRow | None:
        rows = await self.fetch(f"{STEP.select} WHERE run_id = ? AND key = ?", (run, key))
        return STEP.load(rows[0]) if rows else None

    async def get_request(self, id: str) -> RequestRow | None:
        rows = await self.fetch(f"{REQUEST.select} WHERE id = ?", (id,))
        return REQUEST.load(rows[0]) if rows else None

    async def list_requests(
        self, session: str | None = None, *, status: RequestStatus | None = "open"
    ) -> list[RequestRow]:
        rows = await self.fetch(
            f"{REQUEST.select} WHERE (?1 IS NULL OR session_id = ?1) AND (?2 IS NULL OR status = ?2)"
            " ORDER BY created_at, id",
            (session, status),
        )
        return [REQUEST.load(r) for r in rows]

    async def get_command(self, session: str, id: str) -> CommandRow | None:
        rows = await self.fetch(f"{COMMAND.select} WHERE session_id = ? AND id = ?", (session, id))
        return COMMAND.load(rows[0]) if rows else None

    async def get_blob(self, session: str, hash: str) -> BlobRow | None:
        rows = await self.fetch(f"{BLOB.select} WHERE session_id = ? AND hash = ?", (session, hash))
        return BLOB.load(rows[0]) if rows else None

    async def spent(
        self, *, owner: str | None = None, session: str | None = None, run: str | None = None, since: float = 0.0
    ) -> Spent:
        pairs = [("owner", owner), ("session_id", session), ("run_id", run)]
        given = [pair for pair in pairs if pair[1] is not None]
        if len(given) != 1:
            raise TypeError("give exactly one of owner, session and run")
        ((column, value),) = given
        rows = await self.fetch(
            "SELECT coalesce(sum(cost), 0.0), count(*), count(*) - count(cost) FROM spend"
            f" WHERE {column} = ? AND ts >= ?",
            (value, since),
        )
        return Spent(*rows[0])

    async def costs(self, sessions: Iterable[str]) -> dict[str, float]:
        rows = await self.fetch(
            f"SELECT session_id, sum(cost) FROM spend WHERE session_id IN {_IN} AND NOT (estimated AND EXISTS"
            " (SELECT 1 FROM run WHERE run.id = spend.run_id AND run.status = 'running'))"
            " GROUP BY session_id HAVING sum(cost) > 0",
            (dump(list(sessions)),),
        )
        return dict(rows)

    async def open_requests(self, sessions: Iterable[str]) -> dict[str, int]:
        rows = await self.fetch(
            f"SELECT session_id, count(*) FROM request WHERE session_id IN {_IN} AND status = 'open'"
            " GROUP BY session_id",
            (dump(list(sessions)),),
        )
        return dict(rows)

    async def list_grants(self, owner: str, session: str) -> set[str]:
        rows = await self.fetch(
            "SELECT subject FROM leave_given WHERE owner = ? AND session_id IN ('', ?)", (owner, session)
        )
        return {row[0] for row in rows}

    async def get_repository(self, id: str) -> RepositoryRow | None:
        rows = await self.fetch(f"{REPOSITORY.select} WHERE id = ?", (id,))
        return REPOSITORY.load(rows[0]) if rows else None

    async def list_repositories(self, owner: str) -> list[RepositoryRow]:
        rows = await self.fetch(f"{REPOSITORY.select} WHERE owner = ? ORDER BY name COLLATE NOCASE, host", (owner,))
        return [REPOSITORY.load(r) for r in rows]

    async def get_publication(self, session: str) -> PublicationRow | None:
        return (await self.publications([session])).get(session)

    async def publications(self, sessions: Iterable[str]) -> dict[str, PublicationRow]:
        rows = await self.fetch(f"{PUBLICATION.select} WHERE session_id IN {_IN}", (dump(list(sessions)),))
        return {row.session: row for row in map(PUBLICATION.load, rows)}

    async def due_publications(self, now: float, *, limit: int = 100) -> list[PublicationRow]:
        rows = await self.fetch(
            f"{PUBLICATION.select} WHERE look_at IS NOT NULL AND look_at <= ? ORDER BY look_at LIMIT ?", (now, limit)
        )
        return [PUBLICATION.load(r) for r in rows]

    async def next_look(self) -> float | None:
        rows = await self.fetch("SELECT min(look_at) FROM publication WHERE look_at IS NOT NULL")
        return None if rows[0][0] is None else float(rows[0][0])

    async def list_schedules(self, session: str | None = None) -> list[ScheduleRow]:
        rows = await self.fetch(
            f"{SCHEDULE.select} WHERE ?1 IS NULL OR session_id = ?1 ORDER BY next_at, id", (session,)
        )
        return [SCHEDULE.load(r) for r in rows]

    async def list_workers(self) -> list[WorkerRow]:
        return [WORKER.load(r) for r in await self.fetch(f"{WORKER.select} ORDER BY id")]

    async def read_events(
        self,
        session: str,
        *,
        after: int = 0,
        limit: int = 1000,
        finals: bool = False,
        types: Collection[str] | None = None,
        run: str | None = None,
    ) -> list[Event]:
        where = "session_id = ? AND seq > ?" + (" AND item IS NULL" if finals else "")
        params: list[Any] = [session, after]
        if types is not None:
            where += f" AND type IN {_IN}"
            params.append(dump(list(types)))
        if run is not None:
            where += " AND run_id = ?"
            params.append(run)
        rows = await self.fetch(
            f"SELECT {EVENT_COLUMNS} FROM event WHERE {where} ORDER BY seq LIMIT ?", (*params, limit)
        )
        return [Event(*r) for r in rows]

    async def events_before(
        self, session: str, before: int, *, limit: int = 200, types: Collection[str] | None = None
    ) -> list[Event]:
        rows = await self.fetch(
            f"SELECT {EVENT_COLUMNS} FROM event WHERE session_id = ?1 AND seq < ?2 AND item IS NULL"
            " AND (?3 IS NULL OR type IN (SELECT value FROM json_each(?3))) ORDER BY seq DESC LIMIT ?4",
            (session, before, None if types is None else dump(list(types)), limit),
        )
        return [Event(*r) for r in reversed(rows)]

    async def newest(self, sessions: Iterable[str], types: Collection[str]) -> dict[str, dict[str, Event]]:
        # The index needs its own condition word for word (`news`); without it every event of a session is looked at.
        known = f" AND e.type IN {NEWS}" if set(types) <= set(NEWS) else " AND e.item IS NULL"
        rows = await self.fetch(
            "WITH wanted AS MATERIALIZED (SELECT s.value AS session, (SELECT max(e.seq) FROM event e"
            f" WHERE e.session_id = s.value AND e.type = t.value{known}) AS last FROM json_each(?1) s, json_each(?2) t)"
            f" SELECT {EVENT_COLUMNS} FROM wanted JOIN event ON session_id = wanted.session AND seq = wanted.last",
            (dump(list(sessions)), dump(list(types))),
        )
        found: dict[str, dict[str, Event]] = {}
        for newest in map(event, rows):
            found.setdefault(newest.session, {})[newest.type] = newest
        return found

    async def tail_events(self, session: str, limit: int = 200) -> list[Event]:
        # One statement, so one snapshot: a final event and the frames it replaced are never seen together.
        rows = await self.fetch(
            f"SELECT {EVENT_COLUMNS} FROM event WHERE session_id = ?1 AND item IS NOT NULL UNION ALL "
            f"SELECT * FROM (SELECT {EVENT_COLUMNS} FROM event WHERE session_id = ?1 AND item IS NULL"
            " ORDER BY seq DESC LIMIT ?2) ORDER BY 2",
            (session, limit),
        )
        return [event(r) for r in rows]

    async def open_frames(self, session: str, *, run: str | None = None) -> list[Event]:
        rows = await self.fetch(
            f"SELECT {EVENT_COLUMNS} FROM event WHERE session_id = ?1 AND item IS NOT NULL"
            " AND (?2 IS NULL OR run_id = ?2) ORDER BY seq",
            (session, run),
        )
        return [event(r) for r in rows]

    async def count_events(self, session: str, *, types: Collection[str] | None = None) -> int:
        rows = await self.fetch(
            "SELECT count(*) FROM event WHERE session_id = ?1 AND item IS NULL"
            " AND (?2 IS NULL OR type IN (SELECT value FROM json_each(?2)))",
            (session, None if types is None else dump(list(types))),
        )
        return int(rows[0][0])

    async def heads(self, sessions: Iterable[str]) -> dict[str, int]:
        rows = await self.fetch(f"SELECT id, last_seq FROM session WHERE id IN {_IN}", (dump(list(sessions)),))
        return dict(rows)
