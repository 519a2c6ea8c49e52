"""The wire types: what a client may send, what an event holds, and how both look as bytes.

This module imports nothing else of the package. An event body is a frozen msgspec struct whose ``type`` tag is part of
its JSON; an :class:`Event` is such a body at its place (``seq``) in the log of one session. The store keeps the encoded
body and a replay ships those bytes without parsing them: :meth:`Event.frame` only puts the head in front.
"""

from __future__ import annotations

import secrets
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


def iso(ts: float) -> str:
    """UNIX seconds as ISO-8601 UTC with milliseconds, e.g. ``2026-11-21T09:30:00.125Z``."""
    second, rest = divmod(round(ts * 1_000_000), 1_000_000)
    return f"{_until_second(second)}.{rest // 1000:03d}Z"


@lru_cache(maxsize=1024)
def _until_second(second: int) -> str:
    """Events of a replay come many to a second, and formatting a date costs more than all the rest of a frame."""
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
    """A question got its answer (or ran out of time: ``decision`` is then ``expired``)."""

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
            if self.partial:
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
    an ``after`` beyond the log is answered by ``reset``. With an ``id`` an ``ack`` says that following has begun.
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


def json_schema() -> dict[str, Any]:
    """The JSON Schema of all client frames and events: the source of the front end's types."""
    refs, components = msgspec.json.schema_components([*COMMANDS, *EVENT_TYPES], ref_template="#/$defs/{name}")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Postdoc protocol",
        "version": VERSION,
        "commands": list(refs[: len(COMMANDS)]),
        "events": list(refs[len(COMMANDS) :]),
        "$defs": components,
    }


if __name__ == "__main__":
    print(msgspec.json.format(encode(json_schema()), indent=2).decode())
