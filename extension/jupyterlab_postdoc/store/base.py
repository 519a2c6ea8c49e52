"""What a store does. The only words the rest of the package has for the database; SQL stays in the implementations.

A store is read through :class:`Reads` and written through *units*: all units of one :meth:`Store.commit` share one
transaction,
each in its own savepoint, so that many writers pay for one disk flush and a unit that fails takes nobody with it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

from msgspec import Struct

from jupyterlab_postdoc.protocol import Body, Event

from .rows import (
    CANCEL_GRACEFUL,
    CANCEL_NOW,
    RUN_OPEN,
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
    Spent,
    StepRow,
    StepStatus,
    WorkerRow,
)

__all__ = [
    "CANCEL_GRACEFUL",
    "CANCEL_NOW",
    "RUN_OPEN",
    "Append",
    "BlobRow",
    "CommandRow",
    "Draft",
    "Fence",
    "GrantRow",
    "LeaseLost",
    "Outcome",
    "PublicationRow",
    "Reads",
    "RepositoryRow",
    "RequestRow",
    "RequestStatus",
    "RunRow",
    "RunSignal",
    "RunStatus",
    "ScheduleRow",
    "SessionRow",
    "SpendRow",
    "Spent",
    "StepRow",
    "StepStatus",
    "Store",
    "Tx",
    "Unit",
    "WorkerRow",
    "as_draft",
]

T = TypeVar("T")


class RunSignal(Exception):
    """Base of what ends an execution without being a failure. Code that catches ``Exception`` must let these
    through.
    """


class LeaseLost(RunSignal):
    """The run belongs to somebody else now (or its session is gone): stop at once, write nothing more."""


def as_draft(body: Body | Draft, run: str | None = None) -> Draft:
    """``body`` as a draft; ``run`` fills a missing run."""
    if isinstance(body, Draft):
        return body if body.run is not None or run is None else Draft(body.body, run, body.item, body.replaces)
    return Draft(body, run)


class Reads(Protocol):
    """Reading, inside a transaction (:class:`Tx`) or from the read-only connection (:class:`Store`)."""

    async def get_session(self, id: str) -> SessionRow | None: ...

    async def list_sessions(
        self,
        *,
        owner: str | None = None,
        kind: str | None = None,
        archived: bool | None = False,
        before: float | None = None,
        limit: int = 200,
    ) -> list[SessionRow]:
        """Newest change first. ``before`` is an ``updated_at`` to page from; ``archived`` None means both."""

    async def get_run(self, id: str) -> RunRow | None: ...

    async def list_runs(
        self, session: str | None = None, *, status: Collection[RunStatus] | None = None, limit: int = 1000
    ) -> list[RunRow]:
        """In the order in which they will be taken: begun first, then by priority, then oldest first."""

    async def next_run_at(self, *, queues: Collection[str] | None = None) -> float | None:
        """``not_before`` of the first queued run whose session is free; None when nothing waits. Cheap."""

    async def steps(self, run: str) -> dict[str, StepRow]:
        """The journal of a run by key, oldest step first."""

    async def get_step(self, run: str, key: str) -> StepRow | None: ...

    async def get_request(self, id: str) -> RequestRow | None: ...

    async def list_requests(
        self, session: str | None = None, *, status: RequestStatus | None = "open"
    ) -> list[RequestRow]: ...

    async def get_command(self, session: str, id: str) -> CommandRow | None: ...

    async def get_blob(self, session: str, hash: str) -> BlobRow | None: ...

    async def spent(
        self, *, owner: str | None = None, session: str | None = None, run: str | None = None, since: float = 0.0
    ) -> Spent:
        """What the calls of one owner, session or run (exactly one, else TypeError) that began at ``since`` or later
        have cost. Inside a unit it sees the unit's own rows, and no other unit comes between.
        """

    async def costs(self, sessions: Iterable[str]) -> dict[str, float]:
        """US dollars that the calls of each session have cost, as far as their prices are known, without calls under
        way. A session that has cost nothing is missing.
        """

    async def open_requests(self, sessions: Iterable[str]) -> dict[str, int]:
        """How many questions and approvals each session waits for; a session that waits for none is missing."""

    async def list_grants(self, owner: str, session: str) -> set[str]:
        """The tools that this owner has given leave for once and for all, in this session or in all."""

    async def get_repository(self, id: str) -> RepositoryRow | None: ...

    async def list_repositories(self, owner: str) -> list[RepositoryRow]:
        """By name."""

    async def get_publication(self, session: str) -> PublicationRow | None: ...

    async def publications(self, sessions: Iterable[str]) -> dict[str, PublicationRow]:
        """Those of these sessions that have one."""

    async def due_publications(self, now: float, *, limit: int = 100) -> list[PublicationRow]:
        """Those whose ``look_at`` has come, the longest waiting first."""

    async def next_look(self) -> float | None:
        """The smallest ``look_at``; None when there is nothing to look at."""

    async def list_schedules(self, session: str | None = None) -> list[ScheduleRow]: ...

    async def list_workers(self) -> list[WorkerRow]: ...

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
        """Events with ``seq > after``, lowest first. ``finals`` leaves partial frames out."""

    async def events_before(
        self, session: str, before: int, *, limit: int = 200, types: Collection[str] | None = None
    ) -> list[Event]:
        """The last ``limit`` final events with ``seq < before``, lowest first."""

    async def newest(self, sessions: Iterable[str], types: Collection[str]) -> dict[str, dict[str, Event]]:
        """The newest final event of each of the ``types`` in each session: session → type → event. Quick for many
        sessions and long logs when the types are among agent_status, assistant_message, error and result.
        """

    async def tail_events(self, session: str, limit: int = 200) -> list[Event]:
        """The last ``limit`` final events and every partial frame not yet replaced, lowest ``seq`` first."""

    async def open_frames(self, session: str, *, run: str | None = None) -> list[Event]:
        """The partial frames not yet replaced, lowest ``seq`` first."""

    async def count_events(self, session: str, *, types: Collection[str] | None = None) -> int:
        """How many final events a session holds."""

    async def heads(self, sessions: Iterable[str]) -> dict[str, int]:
        """``last_seq`` of each session that exists."""


class Tx(Reads, Protocol):
    """One unit inside a transaction. Methods raise PostdocError (coded, for a person) or LeaseLost; both undo the
    unit.
    """

    now: float

    async def append(
        self, session: str, *bodies: Body | Draft, run: str | None = None, fence: Fence | None = None
    ) -> list[Event]:
        """Give the bodies the next ``seq`` numbers. ``not_found`` without such a session; LeaseLost when the fence
        has fallen.
        """

    async def check(self, session: str, fence: Fence) -> None:
        """LeaseLost unless the fence still stands."""

    # --- sessions ---

    async def insert_session(self, row: SessionRow) -> SessionRow:
        """``id_conflict`` when the id is taken. The times are set here when they are 0."""

    async def update_session(self, id: str, *, expect_version: int | None = None, **changes: Any) -> SessionRow:
        """Change columns and count ``version`` up. ``not_found``; ``version_conflict`` when it is not at
        ``expect_version``.
        """

    async def delete_session(self, id: str) -> bool:
        """Remove a session with everything that belongs to it. False when there was none."""

    async def copy_events(self, source: str, target: str, *, upto: int | None = None) -> int:
        """Copy the final events of ``source`` with ``seq <= upto`` to the (empty) session ``target``; returns how
        many.
        """

    # --- runs ---

    async def insert_run(self, row: RunRow) -> RunRow:
        """``id_conflict`` when the id is taken."""

    async def update_run(
        self, id: str, *, expect: Collection[RunStatus] | None = None, epoch: int | None = None, **changes: Any
    ) -> RunRow | None:
        """Change columns of a run that is in one of the states ``expect`` (and at ``epoch``); None when it is not."""

    async def claim(
        self, worker: str, *, queues: Collection[str] | None = None, lease_s: float = 30.0
    ) -> RunRow | None:
        """Take the next run that may begin now: status running, a new epoch in run and session, ``attempt`` + 1.

        Skips sessions that have a running or waiting run. ``interrupted`` in the answer says that an earlier owner
        was lost.
        """

    async def renew(self, worker: str, fences: Collection[Fence], *, lease_s: float = 30.0) -> dict[str, int]:
        """Lengthen leases. Run id → its ``cancel``; a run that is missing in the answer is lost."""

    async def leave(self, session: str, fence: Fence, status: RunStatus, **changes: Any) -> RunRow:
        """Give a running run another state: the lease ends, the fence falls for any late writer. LeaseLost when not
        ours.
        """

    async def interrupt(self, run: str, epoch: int) -> RunRow | None:
        """Take a running run from a lost owner: queued again, ``interrupted``, ``crashes`` counted. None when it has
        moved on.
        """

    # --- steps ---

    async def begin_step(self, run: str, key: str) -> tuple[StepRow, bool]:
        """The step's row and whether it is new. An old ``started`` row gets ``attempt`` + 1."""

    async def end_step(
        self, run: str, key: str, status: StepStatus, *, result: Any = None, error: Any = None
    ) -> None: ...

    # --- requests ---

    async def insert_request(self, row: RequestRow) -> RequestRow: ...

    async def resolve_request(
        self,
        id: str,
        status: RequestStatus,
        *,
        answer: str | None = None,
        decision: str | None = None,
        by: str | None = None,
    ) -> RequestRow:
        """Close an open request; its waiting run is queued again, in its place, when no other request is open.

        ``not_found``; ``busy`` when it is not open any more (the details hold its ``status``).
        """

    # --- the rest ---

    async def put_command(self, row: CommandRow) -> None: ...

    async def put_blob(self, row: BlobRow) -> None:
        """The bytes must lie on disk before (see :meth:`Store.write_blob`)."""

    async def put_spend(self, row: SpendRow) -> None:
        """A new call, or what became known of one: a row with the same id is replaced, but counts for the time at which
        the call began. Rows outlive their session.
        """

    async def put_grant(self, row: GrantRow) -> None: ...

    async def delete_grant(self, owner: str, session: str, subject: str) -> bool: ...

    async def put_repository(self, row: RepositoryRow) -> RepositoryRow:
        """Insert, or replace the one with this id. ``id_conflict`` when the owner has that name registered under
        another id.
        """

    async def delete_repository(self, id: str) -> bool: ...

    async def put_publication(self, row: PublicationRow, *, quiet: bool = False) -> PublicationRow:
        """Insert or replace; those who list the session hear of it, unless it is of no interest to them (``quiet``)."""

    async def put_schedule(self, row: ScheduleRow) -> None: ...

    async def delete_schedule(self, id: str) -> bool: ...

    async def put_worker(self, row: WorkerRow) -> None: ...

    async def delete_worker(self, id: str) -> None: ...


class Append(Struct, frozen=True):
    """A unit that only appends. Neighbours of this kind are merged into one statement."""

    session: str
    drafts: tuple[Draft, ...]
    fence: Fence | None = None


Unit = Append | Callable[[Tx], Awaitable[Any]]


class Outcome(Struct):
    """What became of a unit: its value (an Append's is its list of events) or its error, and what the log must
    publish.
    """

    value: Any = None
    error: BaseException | None = None
    events: list[Event] = []
    touched: set[str] = set()
    """Sessions whose row changed (other than by partial frames)."""
    deleted: set[str] = set()
    runs: bool = False
    """True when a run was made or changed: somebody may have to look at the queue."""


class Store(Reads, Protocol):
    """A database. One task at a time may call :meth:`commit`; reads may come from anywhere."""

    data_dir: Path

    async def open(self) -> None:
        """Create or migrate and connect. PostdocError in plain words: newer schema, no leave to write, damaged file."""

    async def close(self) -> None: ...

    async def commit(self, units: Sequence[Unit]) -> list[Outcome]:
        """Run the units in one transaction. After an error of the storage itself (full, read-only, locked) *no* unit is
        stored and PostdocError is raised; the store stays usable."""

    async def marker(self) -> int:
        """Changes whenever somebody *else* has committed. Cheap."""

    async def replaced(self) -> bool:
        """True when the database behind the open connection was removed or exchanged."""

    async def changed_since(self, ts: float) -> set[str]:
        """Ids of sessions changed or deleted at or after ``ts`` (by any process)."""

    async def write_blob(self, data: bytes) -> str:
        """Put bytes on disk, flushed; returns their hash. Do this before :meth:`Tx.put_blob`."""

    async def read_blob(self, hash: str) -> bytes: ...

    async def health(self) -> dict[str, Any]:
        """``{"ok", "kind", "path", "journal", "size", "warnings": […]}``."""
