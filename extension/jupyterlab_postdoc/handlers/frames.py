"""Frames as data: what a client sent becomes a command, and the flat and the envelope form become each other.

Everything here is pure. A problem is raised as :class:`PostdocError` whose details hold the ``id`` and ``chatId``
that could be read,
so that the answer finds its request.
"""

from __future__ import annotations

import re
from typing import Any, Protocol, TypeVar

import msgspec

from jupyterlab_postdoc import protocol
from jupyterlab_postdoc.errors import PostdocError
from jupyterlab_postdoc.protocol import Ack, Command, RequestError

Frame = dict[str, Any]
S = TypeVar("S")

HEAD = ("v", "type", "chatId", "seq", "ts")
ALIASES = {"subscribe.session": "subscribe", "unsubscribe.session": "unsubscribe"}
"""Names that system E used for the same frames."""

ERROR_FIELDS = frozenset(RequestError.__struct_fields__)
MAX_ECHO = 200
MAX_ECHO_KEYS = 50

_NOT_BRACKETS = bytes(b for b in range(256) if b not in b"[]{}")
_AS_BRACKETS = bytes.maketrans(b"{}", b"[]")


# --- inbound ---


def parse(message: str | bytes) -> Command:
    """One WebSocket message as a command, in either form. Fields that no command knows are ignored."""
    if isinstance(message, bytes):
        raise PostdocError("bad_message", "Binary messages are not understood.", next="Send one JSON object as text.")
    frame = decode(message.encode("utf-8", "surrogatepass"))
    if is_envelope(frame):
        frame = to_flat(frame)
    return command(frame)


def decode(data: bytes) -> Frame:
    """JSON bytes as an object. Refuses what is too big, too deep, not JSON, or not one object."""
    if len(data) > protocol.MAX_INBOUND:
        raise PostdocError("too_large", "The message is larger than 1 MiB.", next="Send it in smaller parts.")
    if too_deep(data, protocol.MAX_DEPTH):
        raise PostdocError(
            "bad_message", f"The JSON is nested deeper than {protocol.MAX_DEPTH} levels.", next="Send it flatter."
        )
    try:
        frame = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise PostdocError(
            "bad_json", f"The message is not valid JSON: {reason}.", next="Send exactly one JSON object."
        ) from error
    if not isinstance(frame, dict):
        raise PostdocError(
            "bad_message", f"Expected a JSON object, got {_json_type(frame)}.", next='Send an object with a "type".'
        )
    return frame


def too_deep(data: bytes, limit: int) -> bool:
    """Is this JSON nested deeper than ``limit``? Looks at brackets only, so that a hostile message costs no parse.

    Each pass takes away the innermost pairs; what is left after ``limit`` passes is deeper, or unbalanced (for the
    decoder to say).
    """
    if data.count(b"[") + data.count(b"{") <= limit:
        return False
    outside = data.replace(b"\\\\", b"").replace(b'\\"', b"").split(b'"')[::2]  # of all strings
    brackets = b"".join(outside).translate(_AS_BRACKETS, _NOT_BRACKETS)
    if b"[" * (limit + 1) in brackets:
        return True
    for _ in range(limit):
        inner = brackets.replace(b"[]", b"")
        if not inner:
            return False
        if len(inner) == len(brackets):
            return brackets.startswith(b"[" * (limit + 1))
        brackets = inner
    return True


def command(frame: Frame) -> Command:
    """A flat frame as a typed command; a command that changes something always leaves with an ``id``."""
    known = _known(frame)
    version = frame.get("v", protocol.VERSION)
    if version != protocol.VERSION:
        raise PostdocError(
            "unsupported_version",
            f"This server speaks version {protocol.VERSION} of the protocol, not {str(version)[:20]}.",
            next=f'Send "v": {protocol.VERSION}, or leave it out.',
            **known,
        )
    name = _type_of(frame, known)
    for field in ("content", "answer"):
        text = frame.get(field)
        if isinstance(text, str) and len(text.encode("utf-8", "surrogatepass")) > protocol.MAX_CONTENT:
            raise PostdocError(
                "too_large",
                f"The field `{field}` holds more than {protocol.MAX_CONTENT // 1000} KB.",
                next="Put long material into a file and name the file.",
                **known,
            )
    return convert(frame | {"type": name}, protocol.COMMAND_TYPES[name], **known)


def convert(value: Frame, to: type[S], **details: Any) -> S:
    """``value`` as a struct; a wrong field becomes a sentence that names it. A mutating command gets an ``id`` if it
    has none.
    """
    try:
        made = msgspec.convert(value, to)
    except msgspec.ValidationError as error:
        raise PostdocError(
            "bad_message", _sentence(str(error)), next="See api/agents.md for the fields.", **details
        ) from error
    if isinstance(made, Command) and made.mutates and made.id is None:
        return msgspec.structs.replace(made, id=protocol.new_id())
    return made


def _known(frame: Frame) -> dict[str, Any]:
    """``id`` and ``chatId`` as far as they can be echoed."""
    return {k: frame[k] for k in ("id", "chatId") if isinstance(frame.get(k), str) and len(frame[k]) <= MAX_ECHO}


def _type_of(frame: Frame, known: dict[str, Any]) -> str:
    given = frame.get("type")
    name = given.strip().lower() if isinstance(given, str) else None
    name = ALIASES.get(name or "", name)
    if name in protocol.COMMAND_TYPES:
        return name
    keys = [key[:MAX_ECHO] for key in list(frame)[:MAX_ECHO_KEYS]]
    echo = given[:MAX_ECHO] if isinstance(given, str) else given if isinstance(given, bool | int | float) else None
    what = f"Unknown message type {echo!r}" if isinstance(given, str) else "The message has no `type` that is a text"
    raise PostdocError(
        "unknown_type",
        f"{what}; keys received: {', '.join(keys) or 'none'}.",
        next="Known types: " + ", ".join(protocol.COMMAND_TYPES) + ".",
        received={"type": echo, "keys": keys},
        **known,
    )


def _sentence(reason: str) -> str:
    """msgspec's ``Expected `str`, got `int` - at `$.chatId` `` as a sentence that starts with the field."""
    text, _, path = reason.partition(" - at ")
    field = path.strip("`").removeprefix("$").lstrip(".")
    missing = re.fullmatch(r"Object missing required field `(.+)`", text)
    if missing:
        field = f"{field}.{missing[1]}" if field else missing[1]
        return f"The field `{field}` is missing."
    text = text[:1].lower() + text[1:]
    return f"The field `{field}` is wrong: {text}." if field else f"The message is wrong: {text}."


def _json_type(value: Any) -> str:
    if value is None:
        return "null"
    names: dict[type, str] = {
        list: "an array",
        str: "a text",
        bool: "true or false",
        int: "a number",
        float: "a number",
    }
    return names.get(type(value), "something else")


# --- flat and envelope ---


def is_envelope(frame: Frame) -> bool:
    """Does this inbound object look like ``{v, kind, sessionId, ts, seq, payload}``?"""
    return "type" not in frame and isinstance(frame.get("payload"), dict)


def kind_of(frame: Frame) -> str:
    """The envelope's ``kind`` of a flat frame."""
    name = frame.get("type")
    if name in ("history", "sessions"):
        return "snapshot"
    if name == "ack" or (name == "error" and "seq" not in frame):
        return str(name)
    if name in ("subscribe", "unsubscribe"):
        return "subscribe"
    return "command" if name in protocol.COMMAND_TYPES else "event"


def to_envelope(flat: Frame) -> Frame:
    """The envelope form of a flat frame. What the flat frame has not (v and ts of partial text) the envelope has not
    either.
    """
    kind = kind_of(flat)
    own_seq = kind == "ack"  # an ack's seq is what it says, not its place
    envelope: Frame = {"v": flat["v"]} if "v" in flat else {}
    envelope |= {"kind": kind, "sessionId": flat.get("chatId")}
    if "ts" in flat:
        envelope["ts"] = flat["ts"]
    envelope["seq"] = 0 if own_seq else flat.get("seq", 0)
    body = {k: v for k, v in flat.items() if k not in HEAD or k == "type" or (k == "seq" and own_seq)}
    if flat.get("type") == "history":
        body["messages"] = [to_envelope(message) for message in flat.get("messages", [])]
    envelope["payload"] = body
    return envelope


def to_flat(envelope: Frame) -> Frame:
    """The flat form of an envelope: the inverse of :func:`to_envelope`."""
    body = dict(envelope["payload"])
    if "type" not in body and envelope.get("kind") in ("subscribe", "ack", "error"):
        body["type"] = envelope["kind"]
    flat: Frame = {"v": envelope["v"]} if "v" in envelope else {}
    if envelope.get("sessionId") is not None:
        flat["chatId"] = envelope["sessionId"]
    if envelope.get("seq"):
        flat["seq"] = envelope["seq"]
    if "ts" in envelope:
        flat["ts"] = envelope["ts"]
    if isinstance(body.get("messages"), list) and body.get("type") == "history":
        body["messages"] = [to_flat(message) for message in body["messages"]]
    return flat | body


class Receipt(Protocol):
    """What ``SessionManager.submit`` answers."""

    @property
    def id(self) -> str: ...
    @property
    def seq(self) -> int: ...
    @property
    def duplicate(self) -> bool: ...
    @property
    def queued(self) -> bool: ...
    @property
    def extra(self) -> dict[str, Any]: ...


def ack_body(ack: Receipt, chat: str) -> Frame:
    """An ack's fields. ``chatId`` is always the chat of the command; the chat that a ``fork`` made is called
    ``fork``.
    """
    extra = {"fork" if k == "chatId" else k: v for k, v in ack.extra.items()}
    body = {"chatId": chat, "id": ack.id, "seq": ack.seq, "duplicate": ack.duplicate, "queued": ack.queued}
    return extra | body


def ack(receipt: Receipt, chat: str) -> Ack:
    """The frame that acknowledges a command."""
    return msgspec.convert(ack_body(receipt, chat), Ack)


def error_frame(error: PostdocError, **known: Any) -> RequestError:
    """A request error: carries the request's ``id`` and ``chatId`` as far as they are known, and no seq.

    Details that the protocol does not name (a provider's own, say) go into ``details``.
    """
    body = {k: v for k, v in known.items() if v is not None} | error.as_dict()
    if not body["next"]:
        del body["next"]
    if rest := {k: body.pop(k) for k in body.keys() - ERROR_FIELDS}:
        body["details"] = rest
    try:
        return msgspec.convert(body, RequestError)
    except msgspec.ValidationError:  # a detail by a known name, but of another kind
        plain = {k: v for k, v in body.items() if k not in error.details}
        return msgspec.convert(plain | {"details": error.details}, RequestError)
