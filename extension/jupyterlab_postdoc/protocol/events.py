"""What the log holds: the body of every event, and an event at its place in the log."""

from __future__ import annotations

from typing import Any, Literal

import msgspec
from msgspec import UNSET, Struct, UnsetType

from .basics import encode, iso
from .publication import Problem, PublishedBranch, PublishedRepository, PublishStep, PullRequest


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
    """A whole reply text. ``partial`` marks one that was cut off; ``replaces`` names the token frames it stands for.

    ``citations`` are ``{"url", "title", "text"}``, as far as known, in the order of the text.
    """

    itemId: str
    content: str
    partial: bool | UnsetType = UNSET
    citations: list[dict[str, Any]] | UnsetType = UNSET
    replaces: tuple[int, int] | UnsetType = UNSET


class ToolUse(FromRun, frozen=True, kw_only=True, tag="tool_use"):
    """The agent asks for a tool. ``title`` says it in plain words; ``risk`` is read, write, execute or outside.

    ``partial``: the call was cut off before it was complete and is never carried out (``toolInput`` is then
    ``{"cut": "<the text so far>"}``). ``server``: the model's own server has run it. ``parent`` is the call of the
    sub-agent that asks.
    """

    toolName: str
    toolId: str
    toolInput: dict[str, Any]
    title: str | UnsetType = UNSET
    risk: str | UnsetType = UNSET
    partial: bool | UnsetType = UNSET
    server: bool | UnsetType = UNSET
    parent: str | UnsetType = UNSET
    replaces: tuple[int, int] | UnsetType = UNSET


class ToolInput(Body, frozen=True, kw_only=True, tag="tool_input"):
    """The input of a call as the model writes it: partial JSON text; replaced by its :class:`ToolUse`."""

    toolId: str
    toolName: str
    delta: str


class ToolOutput(Body, frozen=True, kw_only=True, tag="tool_output"):
    """Partial output of a running tool; replaced by its :class:`ToolResult`."""

    toolId: str
    delta: str


class ImageRef(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A picture among the blobs of its session: ``GET api/chats/{id}/blobs/{blob}``."""

    blob: str
    mediaType: str = "image/png"
    title: str = ""


class ToolResult(FromRun, frozen=True, kw_only=True, tag="tool_result"):
    """What a tool answered. ``content`` is text for the model and the reader, ``data`` the same as an object.

    ``truncated``: ``content`` is the head and the tail; ``blob`` names the whole text.
    """

    toolId: str
    ok: bool
    content: str
    toolName: str | UnsetType = UNSET
    data: dict[str, Any] | UnsetType = UNSET
    truncated: bool | UnsetType = UNSET
    blob: str | UnsetType = UNSET
    images: list[ImageRef] | UnsetType = UNSET
    server: bool | UnsetType = UNSET
    parent: str | UnsetType = UNSET
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


class Notebook(Body, frozen=True, kw_only=True, tag="notebook", omit_defaults=False):
    """The project's notebook as a running editor: how the editor is, and in whose hand the notebook is.

    ``state``: stopped, starting, ready, following (the editor is there, but the agent works on the file beside it),
    failed. While ``hand`` is person, no agent changes the notebook; ``holder`` is then who has it, as others see them.
    ``message`` is a sentence when something is to be said, such as why it failed or what was lost.
    """

    state: Literal["stopped", "starting", "ready", "following", "failed"]
    hand: Literal["agent", "person"] = "agent"
    holder: str = ""
    message: str = ""
    path: str = ""


class Artifact(FromRun, frozen=True, kw_only=True, tag="artifact"):
    """Something made: notebook, report, repo, branch, commit, compare, pr."""

    artifact: str
    path: str | UnsetType = UNSET
    url: str | UnsetType = UNSET
    title: str | UnsetType = UNSET
    data: dict[str, Any] | UnsetType = UNSET


class Publication(FromRun, frozen=True, kw_only=True, tag="publication", omit_defaults=False):
    """Where the session's work is published, as it stands now; each event replaces the one before.

    ``failed`` may still have a repository, a branch or a pull request from before. ``notes`` are sentences for a
    person. ``ahead``: commits of the session that are not published yet. ``checkedAt``: when the forge was last asked.
    """

    state: Literal["publishing", "published", "failed"]
    forge: str = "github"
    repository: PublishedRepository | UnsetType = UNSET
    branch: PublishedBranch | UnsetType = UNSET
    pull: PullRequest | UnsetType = UNSET
    steps: list[PublishStep] = []
    notes: list[str] = []
    problem: Problem | UnsetType = UNSET
    ahead: int = 0
    checkedAt: str | UnsetType = UNSET


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
    """The run asks for leave to do one thing: ``what`` in plain words, ``toolId`` the call (its input is there)."""

    requestId: str
    what: str
    where: str | UnsetType = UNSET
    toolId: str | UnsetType = UNSET
    toolName: str | UnsetType = UNSET
    risk: str | UnsetType = UNSET
    deadline: str | UnsetType | None = UNSET


class ApprovalResolved(Body, frozen=True, kw_only=True, tag="approval_resolved"):
    """Leave was given or denied."""

    requestId: str
    decision: str
    by: str
    scope: str | UnsetType = UNSET


class Usage(FromRun, frozen=True, kw_only=True, tag="usage", omit_defaults=False):
    """Tokens used by one call of the model, and what they cost in US dollars (null when no price is known).

    ``prices`` is the version of the price list. ``estimated``: the call was interrupted before its usage was told.
    """

    tokens: dict[str, int]
    cost: float | None = None
    prices: str | UnsetType = UNSET
    model: str | UnsetType = UNSET
    estimated: bool | UnsetType = UNSET


class ContextSummary(FromRun, frozen=True, kw_only=True, tag="context_summary"):
    """For the model, everything up to and including event ``through`` is from now on this text; the log keeps all."""

    content: str
    through: int


class SessionState(Body, frozen=True, kw_only=True, tag="session_state"):
    """The session is now in this state. ``version`` counts changes of the session row."""

    status: str
    version: int
    reason: str | UnsetType = UNSET
    runId: str | UnsetType = UNSET
    title: str | UnsetType = UNSET
    model: str | UnsetType = UNSET


class QueueChanged(Body, frozen=True, kw_only=True, tag="queue_changed"):
    """The messages that still wait their turn, first to be taken first."""

    pending: list[dict[str, Any]]
    cancelled: list[str] | UnsetType = UNSET


class Result(FromRun, frozen=True, kw_only=True, tag="result", omit_defaults=False):
    """The end of a run. ``cost`` is US dollars, null when unknown. ``followedBy``: a run that begins by itself."""

    success: bool
    cost: float | None
    duration_ms: int
    stop_reason: str
    summary: str | UnsetType = UNSET
    usage: dict[str, Any] | UnsetType = UNSET
    partial: bool | UnsetType = UNSET
    verdict: dict[str, Any] | UnsetType | None = UNSET
    artifacts: dict[str, str] | UnsetType = UNSET
    followedBy: str | UnsetType = UNSET


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
    ToolInput,
    ToolOutput,
    ToolResult,
    AgentStatus,
    Plan,
    Cell,
    Notebook,
    Artifact,
    Publication,
    Question,
    Answered,
    ApprovalRequest,
    ApprovalResolved,
    Usage,
    ContextSummary,
    SessionState,
    QueueChanged,
    Result,
    Error,
)
"""Every event type, in the order of the protocol document."""


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
            chat = encode(self.session)
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
                encode(self.session),
                iso(self.ts).encode(),
                self.seq,
                self.payload,
            )
        return self._envelope
