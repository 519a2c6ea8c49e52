"""What a client may send."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from msgspec import Meta, Struct, field

from .basics import Content, Id, Name


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
    """Start research on a topic in this chat. ``provider`` is ``template`` or ``anthropic``; by default a model when
    one is configured. ``model`` is for this chat from now on.
    """

    mutates = True
    chatId: Id
    topic: Annotated[str, Meta(min_length=1, max_length=2000)]
    repo_name: str | None = None
    template: str | None = None
    params: dict[str, Any] = field(default_factory=dict)
    budget: Budget | None = None
    provider: Annotated[str, Meta(max_length=100)] | None = None
    model: Annotated[str, Meta(max_length=100)] | None = None
    repository: Name | None = None
    """A repository to work in, on a new branch of it, instead of in a new one: a registered one's id, or its name as
    ``owner/name``.
    """


class Publish(Command, frozen=True, kw_only=True, tag="publish"):
    """Publish the session's project on GitHub, or send what is new and go on where an earlier attempt stopped.

    What is left out stays as it was the last time; the first time it comes from the server's settings. ``owner`` is a
    user or an organisation, ``name`` the repository's. ``useExisting``: a repository of that name may be used as it
    is. ``history`` ``squashed`` sends one commit in place of all steps. ``branch`` is another name for the session's
    branch. ``force`` lets it overwrite that branch, if it is still as it was seen last. ``acceptMoved``: the
    repository was renamed, and the new place is right.
    """

    mutates = True
    chatId: Id
    owner: Annotated[str, Meta(max_length=100)] | None = None
    name: Annotated[str, Meta(max_length=100)] | None = None
    private: bool | None = None
    useExisting: bool = False
    history: Literal["full", "squashed"] | None = None
    branch: Annotated[str, Meta(max_length=200)] | None = None
    force: bool = False
    acceptMoved: bool = False
    pullRequest: bool | None = None


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
    commit: Annotated[str, Meta(pattern="^[0-9a-f]{40}$")] | None = None
    """With a checkpoint of the project: the new chat gets a project of its own that begins there."""


class NotebookTake(Command, frozen=True, kw_only=True, tag="notebook.take"):
    """Take the notebook into one's own hands: from now on no agent changes it."""

    mutates = True
    chatId: Id


class NotebookGive(Command, frozen=True, kw_only=True, tag="notebook.give"):
    """Give the notebook back: what was changed is committed, and an agent that waits for it goes on."""

    mutates = True
    chatId: Id


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
    Publish,
    Stop,
    Respond,
    QueueCancel,
    QueueUpdate,
    SessionSet,
    Resume,
    Fork,
    NotebookTake,
    NotebookGive,
    Post,
)
"""Every client frame, in the order of the protocol document."""

COMMAND_TYPES: dict[str, type[Command]] = {str(c.__struct_config__.tag): c for c in COMMANDS}
