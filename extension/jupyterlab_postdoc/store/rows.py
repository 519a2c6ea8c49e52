"""The records of the store: what a row of each table is to the rest of the package.

Times are UNIX seconds (float). ``meta``, ``input``, ``output``, ``error``, ``body`` and ``result`` are plain JSON
values.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

from msgspec import Struct

from jupyterlab_postdoc.protocol import Body

RunStatus = Literal["queued", "running", "waiting", "done", "error", "stopped", "cancelled"]
StepStatus = Literal["started", "done", "failed"]
RequestStatus = Literal["open", "answered", "expired", "cancelled"]

RUN_OPEN: tuple[RunStatus, ...] = ("queued", "running", "waiting")
"""A run in one of these will still do something. ``cancelled`` is a queued run that was taken back before it began."""

CANCEL_GRACEFUL = 1
CANCEL_NOW = 2


class Fence(NamedTuple):
    """The right to write for a run: valid while ``session.epoch`` still is this ``epoch``."""

    run: str
    epoch: int


class Draft(Struct, frozen=True):
    """A body on its way into the log.

    ``run`` is the run it belongs to. ``item`` marks a partial frame of that item. ``replaces`` names the item whose
    partial frames
    this final event stands for: they are deleted in the same transaction and the body's ``replaces`` is set to their
    range.
    """

    body: Body
    run: str | None = None
    item: str | None = None
    replaces: str | None = None


class SessionRow(Struct, frozen=True, kw_only=True):
    """A chat, a research session or a room. ``last_seq``, ``epoch``, ``version`` and the times are the store's own
    business.
    """

    id: str
    owner: str
    kind: str = "chat"
    title: str = ""
    state: str = "finished"
    reason: str | None = None
    persona: str | None = None
    model: str | None = None
    repo: str | None = None
    archived: bool = False
    meta: dict[str, Any] = {}
    version: int = 1
    last_seq: int = 0
    epoch: int = 0
    created_at: float = 0.0
    updated_at: float = 0.0


class RunRow(Struct, frozen=True, kw_only=True):
    """One unit of work. ``started_at`` is set by the first claim; such a run goes before runs of its session that
    have not begun.

    ``attempt`` counts claims, ``crashes`` the interruptions in a row without a newly finished step. ``cancel``: 0, 1
    graceful, 2 now.
    ``interrupted`` is True from the loss of an owner until the next claim has put the log in order.
    """

    id: str
    session: str
    kind: str = "chat"
    queue: str = "agent"
    priority: int = 0
    status: RunStatus = "queued"
    not_before: float = 0.0
    attempt: int = 0
    max_attempts: int = 10
    crashes: int = 0
    interrupted: bool = False
    input: dict[str, Any] = {}
    output: Any = None
    error: Any = None
    cancel: int = 0
    owner: str | None = None
    epoch: int = 0
    lease_until: float = 0.0
    parent: str | None = None
    created_at: float = 0.0
    started_at: float | None = None
    ended_at: float | None = None


class StepRow(Struct, frozen=True, kw_only=True):
    """One journalled step. ``idem_key`` is stable over all attempts: give it to outside services that take one."""

    run: str
    key: str
    status: StepStatus
    attempt: int
    idem_key: str
    result: Any = None
    error: Any = None
    started_at: float = 0.0
    ended_at: float | None = None


class RequestRow(Struct, frozen=True, kw_only=True):
    """A question or an approval that a run waits for. ``deadline`` None means: waits for ever."""

    id: str
    session: str
    run: str | None = None
    kind: Literal["question", "approval"] = "question"
    tool_id: str | None = None
    body: dict[str, Any] = {}
    status: RequestStatus = "open"
    answer: str | None = None
    decision: str | None = None
    answered_by: str | None = None
    deadline: float | None = None
    created_at: float = 0.0
    answered_at: float | None = None


class CommandRow(Struct, frozen=True, kw_only=True):
    """A command that was carried out: a resend with the same ``digest`` gets ``result`` again."""

    session: str
    id: str
    digest: str
    result: dict[str, Any]
    created_at: float = 0.0


class BlobRow(Struct, frozen=True, kw_only=True):
    """A large output kept beside the log; ``hash`` is the SHA-256 of its bytes in hex."""

    hash: str
    session: str
    media_type: str
    size: int
    created_at: float = 0.0


class ScheduleRow(Struct, frozen=True, kw_only=True):
    """A run that is made again and again. ``template`` is the input of the runs; ``catchup`` says what a missed time
    means.
    """

    id: str
    session: str
    name: str
    cron: str
    tz: str = "UTC"
    template: dict[str, Any] = {}
    enabled: bool = True
    next_at: float = 0.0
    last_run: str | None = None
    catchup: Literal["skip", "one"] = "skip"


class WorkerRow(Struct, frozen=True, kw_only=True):
    """A process that runs runs. ``started`` is its start time as the system tells it, so a reused pid is no mistake."""

    id: str
    host: str
    pid: int
    started: str
    heartbeat_at: float = 0.0


class SpendRow(Struct, frozen=True, kw_only=True):
    """One call of a model. ``cost`` is US dollars, None when the model has no known price; ``estimated`` while the call
    lasts, and for one that was interrupted. ``tokens`` by kind, as the provider counts them.
    """

    id: str
    owner: str
    session: str
    run: str
    ts: float = 0.0
    provider: str = ""
    model: str = ""
    tokens: dict[str, int] = {}
    cost: float | None = None
    estimated: bool = False


class Spent(NamedTuple):
    """A sum of calls: US dollars, how many calls, and how many of them have no known price."""

    cost: float
    calls: int
    unpriced: int


class GrantRow(Struct, frozen=True, kw_only=True):
    """Leave given by ``owner`` once and for all to use the tool ``subject``: in one session, or ("") in all."""

    owner: str
    session: str
    subject: str
    created_at: float = 0.0


class RepositoryRow(Struct, frozen=True, kw_only=True):
    """A repository that ``owner`` (a user) has registered. ``name`` is ``owner/name`` on the forge ``host``; ``url``
    is what git takes, ``web_url`` its page; ``remote_id`` the forge's own number, which stays when it is renamed.
    """

    id: str
    owner: str
    forge: str
    host: str
    name: str
    remote_id: int | None = None
    url: str
    web_url: str | None = None
    default_branch: str = "main"
    private: bool = True
    meta: dict[str, Any] = {}
    created_at: float = 0.0
    updated_at: float = 0.0


class PublicationRow(Struct, frozen=True, kw_only=True):
    """Where the work of one session is published. ``body`` is what publishing needs to go on, ``shown`` the newest
    ``publication`` event; ``look_at`` is when the forge is asked next, None: never.
    """

    session: str
    owner: str
    host: str
    state: Literal["publishing", "published", "failed"]
    body: dict[str, Any] = {}
    shown: dict[str, Any] = {}
    look_at: float | None = None
    updated_at: float = 0.0
