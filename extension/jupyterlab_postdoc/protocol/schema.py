"""The JSON Schema of all frames: the source of the front end's types."""

from __future__ import annotations

from typing import Any, Literal

import msgspec
from msgspec import UNSET, Struct, UnsetType

from .basics import VERSION
from .commands import COMMANDS
from .control import CONTROL_TYPES, ChatInfo, History, Published
from .events import EVENT_TYPES, ImageRef, PlanItem
from .publication import (
    Checks,
    Finding,
    Problem,
    PublishedBranch,
    PublishedRepository,
    PublishStep,
    PullRequest,
    Review,
)


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
_SENT: tuple[type[Struct], ...] = (
    *EVENT_TYPES,
    *CONTROL_TYPES,
    *(ChatInfo, Published, ImageRef, PlanItem),
    *(PublishStep, PublishedRepository, PublishedBranch, PullRequest, Checks, Review, Problem, Finding),
)


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
