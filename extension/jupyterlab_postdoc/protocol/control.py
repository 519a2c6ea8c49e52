"""Control frames: what arrives on a socket beside events."""

from __future__ import annotations

import time
from typing import Any, Literal

import msgspec
from msgspec import UNSET, Struct, UnsetType, field

from .basics import VERSION, iso


def _now() -> str:
    return iso(time.time())


class Control(Struct, frozen=True, kw_only=True, tag_field="type"):
    """Base of the frames that answer one connection and have no place in any log, hence no ``seq`` of their own."""

    v: int = VERSION
    ts: str = field(default_factory=_now)
    chatId: str | UnsetType = UNSET
    id: str | UnsetType = UNSET


class Person(Struct, frozen=True, kw_only=True):
    """A user, as Jupyter's identity provider knows them."""

    name: str
    display: str


class ConnectionLimits(Struct, frozen=True, kw_only=True):
    """What one connection may do: bytes of an inbound message, of ``content`` and of an outbound frame; JSON depth;
    subscriptions; commands per second, and how many at once.
    """

    message: int
    content: int
    frame: int
    depth: int
    subscriptions: int
    perSecond: int
    burst: int


class Welcome(Control, frozen=True, kw_only=True, tag="welcome"):
    """The answer to ``hello``. ``caps`` are those of the client that this server knows too."""

    server: str
    user: Person
    caps: list[str]
    limits: ConnectionLimits
    heartbeatMs: int


class History(Control, frozen=True, kw_only=True, tag="history"):
    """The answer to ``subscribe`` without ``after``: the newest ``messages`` that fit one frame, each an event frame.

    What comes next is after ``throughSeq``; with ``hasMore`` there are older messages before ``fromSeq``. ``queue`` is
    as in ``queue_changed``, ``state`` as in ``session_state``.
    """

    messages: list[msgspec.Raw]
    state: str
    queue: list[dict[str, Any]]
    fromSeq: int
    throughSeq: int
    hasMore: bool


class Ack(Control, frozen=True, kw_only=True, tag="ack"):
    """A command was carried out and committed. ``seq`` is that of its first event, 0 when it made none; of a
    ``subscribe`` it is the one after which following begins, and it is absent for the session list.

    ``fork`` is the chat that a fork made, with so many ``events``; ``version`` is the session's after a change;
    ``stopping`` and ``stopped`` count the runs that a stop has asked to end and that it ended before they began.
    ``hand`` is who has the notebook now, ``working`` that an agent still carries out a call; ``commit`` holds what a
    person has changed, by name in ``cells`` (added, changed, removed, moved).
    """

    id: str
    duplicate: bool
    queued: bool
    seq: int | UnsetType = UNSET
    runId: str | UnsetType = UNSET
    version: int | UnsetType = UNSET
    fork: str | UnsetType = UNSET
    events: int | UnsetType = UNSET
    stopping: int | UnsetType = UNSET
    stopped: int | UnsetType = UNSET
    hand: Literal["agent", "person"] | UnsetType = UNSET
    working: bool | UnsetType = UNSET
    commit: str | UnsetType = UNSET
    cells: dict[str, str] | UnsetType = UNSET


class Received(Struct, frozen=True, kw_only=True):
    """What an unknown message looked like. ``type`` is null when it was missing or no plain value."""

    type: str | int | float | bool | None
    keys: list[str]


class RequestError(Control, frozen=True, kw_only=True, tag="error"):
    """A request was refused, or following a chat ended. Told from the event ``error`` by having no ``seq``.

    ``id`` and ``chatId`` are the request's, as far as they could be read. ``proposal`` is a name that would do instead,
    ``version`` the session's true one, ``git`` what git said, ``reason`` a word for programs, ``retry_at`` when it is
    worth while to try again (UNIX seconds), ``details`` all else.
    """

    code: str
    error: str
    retryable: bool = False
    next: str | UnsetType = UNSET
    ref: str | UnsetType = UNSET
    received: Received | UnsetType = UNSET
    proposal: str | UnsetType | None = UNSET
    version: int | UnsetType = UNSET
    status: str | UnsetType = UNSET
    reason: str | UnsetType = UNSET
    git: str | UnsetType = UNSET
    retry_at: float | UnsetType | None = UNSET
    details: dict[str, Any] | UnsetType = UNSET


class Pong(Control, frozen=True, kw_only=True, tag="pong"):
    """The answer to ``ping``."""


class Published(Struct, frozen=True, kw_only=True):
    """Where a session's work is published, in short. ``url`` is the pull request's page, else the repository's."""

    state: Literal["publishing", "published", "failed"]
    repository: str = ""
    url: str = ""
    pull: int | None = None
    pullState: str = ""
    checks: str = ""
    ahead: int = 0


class ChatInfo(Struct, frozen=True, kw_only=True):
    """A session: the object of ``GET api/chats/{id}``.

    ``line``: what it does now, or what came of it, in one line. ``cost``: US dollars spent so far (null: unknown or
    none). ``needs``: how many questions and approvals wait for the user.
    """

    id: str
    title: str
    kind: str
    state: str
    reason: str | None
    model: str | None
    persona: str | None
    provider: str | None
    archived: bool
    version: int
    lastSeq: int
    createdAt: str
    updatedAt: str
    project: dict[str, Any] | None
    template: str | None = None
    line: str | None = None
    cost: float | None = None
    needs: int = 0
    publication: Published | None = None
    notebook: dict[str, Any] | None = None
    """Who has the notebook in hand, when it is a person: ``{"hand": "person", "holder", "since"}``."""
    repository: str | None = None
    """The registered repository that it works in (its id); null: one of its own."""


class SessionList(Control, frozen=True, kw_only=True, tag="sessions"):
    """All sessions of the user: the first answer to ``subscribe`` with ``sessions: true``."""

    sessions: list[ChatInfo]


class SessionChanged(Control, frozen=True, kw_only=True, tag="session"):
    """A session of the list is new or has changed, or is no longer there (``deleted``)."""

    chatId: str
    session: ChatInfo | UnsetType = UNSET
    deleted: bool | UnsetType = UNSET


class Reset(Control, frozen=True, kw_only=True, tag="reset"):
    """The log was replaced: discard what is known of this chat (without ``chatId``: of all) and subscribe again."""


class Bye(Control, frozen=True, kw_only=True, tag="bye"):
    """The server closes the connection now."""

    reason: str
    retryAfterMs: int


class Done(Control, frozen=True, kw_only=True, tag="done"):
    """The alias of ``result`` for clients that asked for it (cap ``done``): its body, and its seq as ``of``."""

    of: int
    success: bool
    cost: float | None
    duration_ms: int
    stop_reason: str
    runId: str | UnsetType = UNSET
    provider: str | UnsetType = UNSET
    summary: str | UnsetType = UNSET
    usage: dict[str, Any] | UnsetType = UNSET
    partial: bool | UnsetType = UNSET
    verdict: dict[str, Any] | UnsetType | None = UNSET
    artifacts: dict[str, str] | UnsetType = UNSET
    followedBy: str | UnsetType = UNSET


CONTROL_TYPES: tuple[type[Control], ...] = (
    Welcome,
    History,
    Ack,
    RequestError,
    Pong,
    SessionList,
    SessionChanged,
    Reset,
    Bye,
    Done,
)
"""Every control frame, in the order of the protocol document."""
