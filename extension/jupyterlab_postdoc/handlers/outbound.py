"""What leaves over a socket: events as bytes of the connection's form, none larger than a frame may be.

The bytes of an event are made once, by :meth:`Event.frame`, and shared by all connections; only an event that is too
large for one frame
is encoded again, with its longest texts cut and a reference to the whole (``api/chats/{id}/blobs/{seq}``).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Protocol

import msgspec
from msgspec import UNSET, UnsetType

from jupyterlab_postdoc import protocol
from jupyterlab_postdoc.protocol import Control, Event, History

from .frames import to_envelope

ROOM_FOR_HEAD = 2048


class Snapshot(Protocol):
    """What a subscriber without ``after`` is shown first."""

    @property
    def messages(self) -> Sequence[Event]: ...
    @property
    def state(self) -> str: ...
    @property
    def queue(self) -> Sequence[dict[str, Any]]: ...
    @property
    def from_seq(self) -> int: ...
    @property
    def through_seq(self) -> int: ...
    @property
    def has_more(self) -> bool: ...


def blob_url(session: str, seq: int) -> str:
    """Where the whole of a cut event is, below ``{base_url}postdoc/``."""
    return f"api/chats/{session}/blobs/{seq}"


def event_bytes(event: Event, envelope: bool) -> bytes:
    """The wire bytes of an event in one of the two forms, at most :data:`protocol.MAX_FRAME`."""
    data = event.envelope() if envelope else event.frame()
    if len(data) <= protocol.MAX_FRAME:
        return data
    small = cut(event)
    return small.envelope() if envelope else small.frame()


def cut(event: Event, size: int = protocol.MAX_FRAME) -> Event:
    """The same event with its longest texts shortened until it fits; says so with ``truncated`` and ``blob``."""
    body = event.body() | {"truncated": True, "blob": blob_url(event.session, event.seq)}
    room = size - ROOM_FOR_HEAD
    payload = protocol.encode(body)
    longest = room // 2
    while len(payload) > room and longest > 64:
        payload = protocol.encode(_shorten(body, longest))
        longest //= 8
    if len(payload) > room:  # a huge number of small things: keep what names the event
        kept = {k: v for k, v in body.items() if isinstance(v, str | int | float | bool) and len(str(v)) <= 256}
        payload = protocol.encode(kept)
    return Event(event.session, event.seq, event.ts, event.type, event.run, event.item, payload)


def _shorten(value: Any, longest: int) -> Any:
    if isinstance(value, str):
        return value if len(value) <= longest else value[:longest] + "…"
    if isinstance(value, list):
        return [_shorten(v, longest) for v in value]
    if isinstance(value, dict):
        return {k: _shorten(v, longest) for k, v in value.items()}
    return value


def control_bytes(frame: Control, envelope: bool) -> bytes:
    """The wire bytes of a control frame."""
    return protocol.encode(to_envelope(msgspec.to_builtins(frame)) if envelope else frame)


def history_bytes(
    chat: str, snapshot: Snapshot, envelope: bool, keep: EventFilter, id: str | UnsetType = UNSET
) -> bytes:
    """The ``history`` frame. Holds the newest messages that fit; ``hasMore`` says that older ones must be fetched."""
    messages: list[bytes] = []
    size, first, more = ROOM_FOR_HEAD, snapshot.from_seq, snapshot.has_more
    for event in reversed(snapshot.messages):
        if not keep(event):
            continue
        data = event_bytes(event, envelope)
        size += len(data) + 1
        if messages and size > protocol.MAX_FRAME:
            more = True
            break
        messages.append(data)
        first = event.seq
    head = History(
        chatId=chat,
        id=id,
        messages=[],
        state=snapshot.state,
        queue=list(snapshot.queue),
        fromSeq=first if more else snapshot.from_seq,
        throughSeq=snapshot.through_seq,
        hasMore=more,
    )
    raw = [msgspec.Raw(message) for message in reversed(messages)]
    if not envelope:
        return protocol.encode(msgspec.structs.replace(head, messages=raw))
    made = to_envelope(msgspec.to_builtins(head))
    made["payload"]["messages"] = raw
    return protocol.encode(made)


class EventFilter:
    """The ``types`` and ``kinds`` of a subscription. ``kinds`` are those of room messages (status, blocker, question
    …).
    """

    __slots__ = ("kinds", "types")

    def __init__(self, types: Iterable[str] | None = None, kinds: Iterable[str] | None = None) -> None:
        self.types = frozenset(t.strip().lower() for t in types) if types is not None else None
        self.kinds = frozenset(kinds) if kinds is not None else None

    @classmethod
    def of(cls, types: Iterable[str] | None, kinds: Iterable[str] | None) -> EventFilter:
        """The filter; the many subscriptions that have none share one."""
        return _ALL if types is None and kinds is None else cls(types, kinds)

    def __bool__(self) -> bool:
        return self.types is not None or self.kinds is not None

    def __call__(self, event: Event) -> bool:
        if self.types is not None and event.type not in self.types:
            return False
        return self.kinds is None or (event.type == "user_message" and event.body().get("kind") in self.kinds)


_ALL = EventFilter()


def array(frames: Sequence[bytes]) -> bytes:
    """Many frames as one JSON array."""
    return b"[" + b",".join(frames) + b"]"
