"""The wire types: what a client may send, what an event holds, and how both look as bytes.

This module imports nothing else of the package. An event body is a frozen msgspec struct whose ``type`` tag is part of
its JSON; an :class:`Event` is such a body at its place (``seq``) in the log of one session. The store keeps the encoded
body and a replay ships those bytes without parsing them: :meth:`Event.frame` only puts the head in front.
"""

from __future__ import annotations

import secrets
import time
from datetime import UTC, datetime
from functools import lru_cache
from typing import Annotated, Any, ClassVar, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType, field

VERSION = 1
MAX_CONTENT = 200_000
MAX_INBOUND = 1 << 20
MAX_FRAME = 256 << 10
MAX_DEPTH = 32
ENVELOPE_SUBPROTOCOL = "postdoc.v1.envelope"

Id = Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[^\x00-\x1f\x7f]+$")]
Content = Annotated[str, Meta(max_length=MAX_CONTENT)]
Name = Annotated[str, Meta(min_length=1, max_length=200)]


def new_id(prefix: str = "") -> str:
    """A fresh id of 128 random bits, safe in URLs and file names, e.g. ``c_3fJ…``."""
    token = secrets.token_hex(16)
    return f"{prefix}_{token}" if prefix else token


@lru_cache(maxsize=256)
def iso(ts: float) -> str:
    """UNIX seconds as ISO-8601 UTC with milliseconds, e.g. ``2026-11-21T09:30:00.125Z``.

    Cached, since the events of one commit share their time and this costs more than all the rest of a frame.
    """
    second, rest = divmod(round(ts * 1_000_000), 1_000_000)
    return f"{_until_second(second)}.{rest // 1000:03d}Z"


@lru_cache(maxsize=1024)
def _until_second(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).isoformat()[:19]


# --- events: what the log holds ---


class Body(Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="type"):
    """Base of every event body. Unset optional fields are left out of the JSON; an explicit None is sent as null."""


class FromRun(Body, frozen=True, kw_only=True, omit_defaults=True):
    """An event that a run produced: says which run, and which provider drove it."""

    runId: str | UnsetType = UNSET
    provider: str | UnsetType = UNSET


class UserMessage(Body, frozen=True, kw_only=True, tag="user_message"):
    """What a person, or an agent in a room, said. ``by`` is the server's word for the sender, never the client's."""

    id: str
    content: str
    by: str
    runId: str | UnsetType = UNSET
    mode: str | UnsetType = UNSET
    agent: str | UnsetType = UNSET
    kind: str | UnsetType = UNSET
    research: dict[str, Any] | UnsetType = UNSET


class Token(Body, frozen=True, kw_only=True, tag="token"):
    """Partial text of one item; replaced by the final :class:`AssistantMessage`."""

    itemId: str
    delta: str


class Thinking(FromRun, frozen=True, kw_only=True, tag="thinking"):
    """Thinking, partial (``delta``) or final (``content``)."""

    itemId: str
    delta: str | UnsetType = UNSET
    content: str | UnsetType = UNSET
    replaces: tuple[int, int] | UnsetType = UNSET


class AssistantMessage(FromRun, frozen=True, kw_only=True, tag="assistant_message"):
    """A whole reply text. ``partial`` marks one that was cut off; ``replaces`` names the token frames it stands for."""

    itemId: str
    content: str
    partial: bool | UnsetType = UNSET
    replaces: tuple[int, int] | UnsetType = UNSET


class ToolUse(FromRun, frozen=True, kw_only=True, tag="tool_use"):
    """The agent asks for a tool. ``title`` says it in plain words; ``risk`` is read, write, execute or outside."""

    toolName: str
    toolId: str
    toolInput: dict[str, Any]
    title: str | UnsetType = UNSET
    risk: str | UnsetType = UNSET
    itemId: str | UnsetType = UNSET


class ToolOutput(Body, frozen=True, kw_only=True, tag="tool_output"):
    """Partial output of a running tool; replaced by its :class:`ToolResult`."""

    toolId: str
    delta: str


class ToolResult(FromRun, frozen=True, kw_only=True, tag="tool_result"):
    """What a tool answered. ``content`` is text for the model and the reader, ``data`` the same as an object."""

    toolId: str
    ok: bool
    content: str
    toolName: str | UnsetType = UNSET
    data: dict[str, Any] | UnsetType = UNSET
    truncated: bool | UnsetType = UNSET
    blob: str | UnsetType = UNSET
    duration_ms: int | UnsetType = UNSET
    replaces: tuple[int, int] | UnsetType = UNSET


class AgentStatus(FromRun, frozen=True, kw_only=True, tag="agent_status"):
    """One line in plain words about what is going on now; ``progress`` runs from 0 to 1."""

    message: str
    phase: str | UnsetType = UNSET
    progress: float | UnsetType | None = UNSET


class PlanItem(Struct, frozen=True, kw_only=True):
    """One line of the plan."""

    text: str
    state: Literal["pending", "active", "done", "failed", "skipped"] = "pending"


class Plan(FromRun, frozen=True, kw_only=True, tag="plan"):
    """The whole plan; each event replaces the one before."""

    items: list[PlanItem]


class Cell(FromRun, frozen=True, kw_only=True, tag="cell"):
    """The state of one notebook cell: queued, running, ok, error, skipped or stale."""

    notebook: str
    cell: str
    status: str
    output: dict[str, Any] | UnsetType = UNSET
    error: str | UnsetType = UNSET
    duration_ms: int | UnsetType = UNSET


class Artifact(FromRun, frozen=True, kw_only=True, tag="artifact"):
    """Something made: notebook, report, repo, branch, commit, compare, pr."""

    artifact: str
    path: str | UnsetType = UNSET
    url: str | UnsetType = UNSET
    title: str | UnsetType = UNSET
    data: dict[str, Any] | UnsetType = UNSET


class Question(FromRun, frozen=True, kw_only=True, tag="question"):
    """The run waits for an answer."""

    requestId: str
    question: str
    options: list[str] | UnsetType = UNSET
    deadline: str | UnsetType | None = UNSET
    where: str | UnsetType = UNSET


class Answered(Body, frozen=True, kw_only=True, tag="answered"):
    """A question got its answer; ``decision`` is ``expired`` or ``cancelled`` when it will get none."""

    requestId: str
    answer: str
    by: str
    decision: str | UnsetType = UNSET


class ApprovalRequest(FromRun, frozen=True, kw_only=True, tag="approval_request"):
    """The run asks for leave to do one thing."""

    requestId: str
    what: str
    where: str | UnsetType = UNSET
    toolId: str | UnsetType = UNSET
    deadline: str | UnsetType | None = UNSET


class ApprovalResolved(Body, frozen=True, kw_only=True, tag="approval_resolved"):
    """Leave was given or denied."""

    requestId: str
    decision: str
    by: str
    scope: str | UnsetType = UNSET


class Usage(FromRun, frozen=True, kw_only=True, tag="usage", omit_defaults=False):
    """Tokens used by one turn, and what they cost as far as known."""

    tokens: dict[str, int]
    cost: float | None = None
    prices: str | UnsetType = UNSET


class SessionState(Body, frozen=True, kw_only=True, tag="session_state"):
    """The session is now in this state. ``version`` counts changes of the session row."""

    status: str
    version: int
    reason: str | UnsetType = UNSET
    runId: str | UnsetType = UNSET
    title: str | UnsetType = UNSET


class QueueChanged(Body, frozen=True, kw_only=True, tag="queue_changed"):
    """The messages that still wait their turn, first to be taken first."""

    pending: list[dict[str, Any]]
    cancelled: list[str] | UnsetType = UNSET


class Result(FromRun, frozen=True, kw_only=True, tag="result", omit_defaults=False):
    """The end of a run. ``cost`` is US dollars, null when unknown."""

    success: bool
    cost: float | None
    duration_ms: int
    stop_reason: str
    summary: str | UnsetType = UNSET
    usage: dict[str, Any] | UnsetType = UNSET
    partial: bool | UnsetType = UNSET
    verdict: dict[str, Any] | UnsetType | None = UNSET
    artifacts: dict[str, str] | UnsetType = UNSET


class Error(FromRun, frozen=True, kw_only=True, tag="error"):
    """A failure, as a sentence. ``ref`` finds the details in the server's log."""

    code: str
    error: str
    retryable: bool = False
    next: str = ""
    ref: str | UnsetType = UNSET
    toolId: str | UnsetType = UNSET


EVENT_TYPES: tuple[type[Body], ...] = (
    UserMessage,
    Token,
    Thinking,
    AssistantMessage,
    ToolUse,
    ToolOutput,
    ToolResult,
    AgentStatus,
    Plan,
    Cell,
    Artifact,
    Question,
    Answered,
    ApprovalRequest,
    ApprovalResolved,
    Usage,
    SessionState,
    QueueChanged,
    Result,
    Error,
)
"""Every event type, in the order of the protocol document."""

_encoder = msgspec.json.Encoder()


def encode(value: Any) -> bytes:
    """JSON bytes of any struct or plain value."""
    return _encoder.encode(value)


def type_of(body: Body) -> str:
    """The wire name of a body's type, e.g. ``agent_status``."""
    return str(body.__struct_config__.tag)


class Event:
    """One event at its place in a session's log.

    ``payload`` is the encoded body *with* its ``type``; ``item`` names the text item of a partial frame, else None.
    The wire forms are made once and shared by all subscribers.
    """

    __slots__ = ("_envelope", "_frame", "item", "payload", "run", "seq", "session", "ts", "type")

    def __init__(
        self, session: str, seq: int, ts: float, type: str, run: str | None, item: str | None, payload: bytes
    ) -> None:
        self.session = session
        self.seq = seq
        self.ts = ts
        self.type = type
        self.run = run
        self.item = item
        self.payload = payload
        self._frame: bytes | None = None
        self._envelope: bytes | None = None

    def __repr__(self) -> str:
        return f"Event({self.session!r}, {self.seq}, {self.type!r}, {self.payload!r})"

    @property
    def partial(self) -> bool:
        """True for a token, thinking or tool_output frame that a final event will replace."""
        return self.item is not None

    def body(self) -> dict[str, Any]:
        """The decoded body, with ``type``."""
        decoded: dict[str, Any] = msgspec.json.decode(self.payload)
        return decoded

    def frame(self) -> bytes:
        """The flat canonical form, ``{"v":1,"chatId":…,"seq":…,"ts":…,"type":…}``; partial frames omit v and ts."""
        if self._frame is None:
            chat = _encoder.encode(self.session)
            if self.item is not None:
                head = b'{"chatId":%b,"seq":%d,' % (chat, self.seq)
            else:
                head = b'{"v":1,"chatId":%b,"seq":%d,"ts":"%b",' % (chat, self.seq, iso(self.ts).encode())
            self._frame = head + self.payload[1:]
        return self._frame

    def envelope(self) -> bytes:
        """The envelope form of system E: ``{v, kind, sessionId, ts, seq, payload}``."""
        if self._envelope is None:
            self._envelope = b'{"v":1,"kind":"event","sessionId":%b,"ts":"%b","seq":%d,"payload":%b}' % (
                _encoder.encode(self.session),
                iso(self.ts).encode(),
                self.seq,
                self.payload,
            )
        return self._envelope


# --- commands: what a client may send ---


class Command(Struct, frozen=True, kw_only=True, tag_field="type"):
    """Base of every client frame. ``id`` makes a resend harmless; the server makes one when it is missing."""

    mutates: ClassVar[bool] = False
    id: Id | None = None


class Hello(Command, frozen=True, kw_only=True, tag="hello"):
    """Optional first frame: who the client is and what it can take."""

    client: str = ""
    caps: list[str] = field(default_factory=list)


class Subscribe(Command, frozen=True, kw_only=True, tag="subscribe"):
    """Follow one session from ``after``, or the session list.

    Without ``after`` the answer is ``history`` (the last 200 messages that fit one frame), then live; -1 is live only;
    an ``after`` beyond the log is answered by ``reset``. A room may be followed before the first message in it: its
    history is then empty. With an ``id`` an ``ack`` says that following has begun.
    ``sessions: true`` is answered by ``{"type":"sessions","sessions":[chat, …]}``, then by ``{"type":"session",
    "chatId","session":chat}`` for each that is new or changed in more than ``lastSeq`` and ``updatedAt``, and by
    ``{"type":"session","chatId","deleted":true}``; a chat is the object of ``GET api/chats/{id}``.
    """

    chatId: Id | None = None
    after: int | None = None
    types: list[str] | None = None
    kinds: list[str] | None = None
    sessions: bool = False


class Unsubscribe(Command, frozen=True, kw_only=True, tag="unsubscribe"):
    """Stop following one session (or, without ``chatId``, the session list)."""

    chatId: Id | None = None


class Ping(Command, frozen=True, kw_only=True, tag="ping"):
    """Answered by ``pong``."""


class Chat(Command, frozen=True, kw_only=True, tag="chat"):
    """Say something to the agent of a chat."""

    mutates = True
    chatId: Id
    content: Content
    mode: Literal["queue", "steer", "interrupt"] = "queue"


class Budget(Struct, frozen=True, kw_only=True):
    """Limits of one run: US dollars, minutes, agent turns."""

    usd: Annotated[float, Meta(gt=0)] | None = None
    minutes: Annotated[float, Meta(gt=0)] | None = None
    turns: Annotated[int, Meta(gt=0, le=1000)] | None = None


class Research(Command, frozen=True, kw_only=True, tag="research"):
    """Start research on a topic in this chat."""

    mutates = True
    chatId: Id
    topic: Annotated[str, Meta(min_length=1, max_length=2000)]
    repo_name: str | None = None
    template: str | None = None
    params: dict[str, Any] = field(default_factory=dict)
    budget: Budget | None = None
    provider: str | None = None


class Stop(Command, frozen=True, kw_only=True, tag="stop"):
    """Stop the run of a chat: graceful (finish the sentence or tool) or now."""

    mutates = True
    chatId: Id
    how: Literal["graceful", "now"] = "graceful"


class Respond(Command, frozen=True, kw_only=True, tag="respond"):
    """Answer a question or an approval request."""

    mutates = True
    chatId: Id
    requestId: Id
    decision: Literal["allow", "deny"] | None = None
    scope: Literal["once", "session", "always"] | None = None
    answer: Content | None = None


class QueueCancel(Command, frozen=True, kw_only=True, tag="queue.cancel"):
    """Take back a message that was not yet taken."""

    mutates = True
    chatId: Id
    messageId: Id


class QueueUpdate(Command, frozen=True, kw_only=True, tag="queue.update"):
    """Change a message that was not yet taken."""

    mutates = True
    chatId: Id
    messageId: Id
    content: Content


class SessionSet(Command, frozen=True, kw_only=True, tag="session.set"):
    """Change the session itself; ``version`` guards against a lost update."""

    mutates = True
    chatId: Id
    version: int | None = None
    title: Name | None = None
    model: Annotated[str, Meta(max_length=100)] | None = None
    persona: Annotated[str, Meta(max_length=100)] | None = None
    archived: bool | None = None


class Resume(Command, frozen=True, kw_only=True, tag="resume"):
    """Carry on a run that was stopped, interrupted or failed."""

    mutates = True
    chatId: Id


class Fork(Command, frozen=True, kw_only=True, tag="fork"):
    """A new chat that starts with this one's events up to ``at``."""

    mutates = True
    chatId: Id
    at: int | None = None


class Post(Command, frozen=True, kw_only=True, tag="post"):
    """A message in a room, said by a named agent."""

    mutates = True
    chatId: Id
    agent: Annotated[str, Meta(min_length=1, max_length=100)]
    content: Content
    kind: Annotated[str, Meta(min_length=1, max_length=40)] = "note"


COMMANDS: tuple[type[Command], ...] = (
    Hello,
    Subscribe,
    Unsubscribe,
    Ping,
    Chat,
    Research,
    Stop,
    Respond,
    QueueCancel,
    QueueUpdate,
    SessionSet,
    Resume,
    Fork,
    Post,
)
"""Every client frame, in the order of the protocol document."""

COMMAND_TYPES: dict[str, type[Command]] = {str(c.__struct_config__.tag): c for c in COMMANDS}


# --- control frames: what arrives on a socket beside events ---


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


class Received(Struct, frozen=True, kw_only=True):
    """What an unknown message looked like. ``type`` is null when it was missing or no plain value."""

    type: str | int | float | bool | None
    keys: list[str]


class RequestError(Control, frozen=True, kw_only=True, tag="error"):
    """A request was refused, or following a chat ended. Told from the event ``error`` by having no ``seq``.

    ``id`` and ``chatId`` are the request's, as far as they could be read. ``proposal`` is a name that would do instead,
    ``version`` the session's true one, ``git`` what git said, ``reason`` a word for programs, ``details`` all else.
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
    details: dict[str, Any] | UnsetType = UNSET


class Pong(Control, frozen=True, kw_only=True, tag="pong"):
    """The answer to ``ping``."""


class ChatInfo(Struct, frozen=True, kw_only=True):
    """A session: the object of ``GET api/chats/{id}``."""

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


# --- the schema ---


class Head(Struct, frozen=True, kw_only=True):
    """What stands before the body of every event frame. Partial frames (text that a final event replaces) have neither
    ``v`` nor ``ts``.
    """

    chatId: str
    seq: int
    v: int | UnsetType = UNSET
    ts: str | UnsetType = UNSET


class Envelope(Struct, frozen=True, kw_only=True):
    """The other form of every frame (subprotocol ``postdoc.v1.envelope``): ``payload`` is the body with its ``type``.

    ``seq`` is 0 on control frames; ``sessionId`` is the flat form's ``chatId``.
    """

    v: int
    kind: Literal["event", "command", "ack", "error", "subscribe", "snapshot"]
    sessionId: str | None
    ts: str
    seq: int
    payload: dict[str, Any]


_DEFS = "#/$defs/"
_SENT: tuple[type[Struct], ...] = (*EVENT_TYPES, *CONTROL_TYPES, PlanItem)


def json_schema() -> dict[str, Any]:
    """The JSON Schema of all frames, in and out: the source of the front end's types.

    ``commands`` may be sent. What arrives is an ``EventFrame`` (a ``Head`` and one of ``events``) or one of
    ``control``, alone or, after ``caps: ["batch"]``, in an array; with the envelope subprotocol each is put into an
    ``Envelope``.
    """
    types: list[type[Struct]] = [*COMMANDS, *EVENT_TYPES, *CONTROL_TYPES, Head, Envelope]
    refs, defs = msgspec.json.schema_components(types, ref_template=_DEFS + "{name}")
    ref = dict(zip(types, refs, strict=True))
    for sent in _SENT:
        defs[sent.__name__]["required"] = _always_sent(sent)
    defs["EventFrame"] = {
        "title": "EventFrame",
        "description": "An event as it arrives.",
        "allOf": [ref[Head], {"oneOf": [ref[e] for e in EVENT_TYPES]}],
    }
    defs[History.__name__]["properties"]["messages"]["items"] = {"$ref": _DEFS + "EventFrame"}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Postdoc protocol",
        "version": VERSION,
        "commands": [ref[c] for c in COMMANDS],
        "events": [ref[e] for e in EVENT_TYPES],
        "control": [ref[c] for c in CONTROL_TYPES],
        "$defs": defs,
    }


def _always_sent(type: type[Struct]) -> list[str]:
    """What a reader may rely on: a default is left out of the JSON only when it is UNSET, or the type says so."""
    config = type.__struct_config__
    tag = [config.tag_field] if config.tag_field else []
    return tag + [
        f.encode_name
        for f in msgspec.structs.fields(type)
        if f.required or not (config.omit_defaults or f.default is UNSET)
    ]


if __name__ == "__main__":
    print(msgspec.json.format(encode(json_schema()), indent=2).decode())
