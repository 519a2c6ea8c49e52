"""Does a frame look as the committed JSON Schema says? Asked of every frame that the socket tests receive."""

from __future__ import annotations

import json
from collections import Counter
from functools import cache
from importlib.resources import files
from typing import Any

from jsonschema import Draft202012Validator

from jupyterlab_postdoc.handlers import frames

PER_TYPE = 50
"""So many frames of a type are looked at; the thousands of a replay are alike."""
HEAD = {"v", "chatId", "seq", "ts"}
seen: Counter[str] = Counter()


@cache
def schema() -> dict[str, Any]:
    return json.loads((files("jupyterlab_postdoc") / "schema/protocol.schema.json").read_text("utf-8"))


@cache
def validator(section: str, type: str) -> tuple[Draft202012Validator, set[str]]:
    """For one type of the section ``events`` or ``control``, and the fields it knows."""
    defs = schema()["$defs"]
    names = [ref["$ref"].rpartition("/")[2] for ref in schema()[section]]
    (name,) = [n for n in names if defs[n]["properties"]["type"]["enum"] == [type]]
    parts = [{"$ref": f"#/$defs/{n}"} for n in ((name, "Head") if section == "events" else (name,))]
    known = set(defs[name]["properties"]) | (HEAD if section == "events" else set())
    return Draft202012Validator({"allOf": parts, "$defs": defs}), known


@cache
def envelopes() -> Draft202012Validator:
    return Draft202012Validator({"$ref": "#/$defs/Envelope", "$defs": schema()["$defs"]})


def check(frame: dict[str, Any]) -> None:
    """Fails when the frame is not as the schema says, or has a field that the schema does not name."""
    if "payload" in frame:
        envelopes().validate(frame)
        frame = frames.to_flat(frame)
    type = frame["type"]
    seen[type] += 1
    if seen[type] > PER_TYPE:
        return
    section = "events" if "seq" in frame and type != "ack" else "control"
    one, known = validator(section, type)
    one.validate(frame)
    assert set(frame) <= known, f"{type}: {sorted(set(frame) - known)} are not in the schema"
