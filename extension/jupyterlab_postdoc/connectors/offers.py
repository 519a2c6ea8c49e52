"""What a server offers, made safe to show: a model's provider refuses a whole request for one wrong schema in it, and
people decide by titles. Everything here comes from the server and is bounded, cleaned or left out.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Struct

from jupyterlab_postdoc.connectors.config import Risk, Server
from jupyterlab_postdoc.connectors.names import tool_names
from jupyterlab_postdoc.secrets import redact

MAX_TOOLS = 200
MAX_NAME = 200
MAX_TITLE = 80
MAX_DESCRIPTION = 4_000
MAX_SCHEMA = 30_000
_PROPERTY = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_NOT_AT_THE_TOP = ("anyOf", "oneOf", "allOf", "not", "if", "then", "else")
"""Refused there by model providers; the server itself checks what it is given."""


class Described(Struct, frozen=True):
    """A tool as its server describes it."""

    name: str
    title: str
    description: str
    schema: Any
    read_only: bool


class Offer(Struct, frozen=True):
    """A tool that agents may use: ``name`` is theirs for it, ``remote`` the server's, ``server`` the server's name."""

    name: str
    server: str
    remote: str
    title: str
    description: str
    schema: dict[str, Any]
    risk: Risk


def offers(server: Server, described: Sequence[Described]) -> tuple[list[Offer], list[str]]:
    """Those that can be used, in the order of their names, and a sentence for what cannot. Slow: run it in a thread."""
    wanted = {tool.name: tool for tool in described if server.offers(tool.name)}
    notes = []
    if len(wanted) > MAX_TOOLS:
        notes.append(f"it has {len(wanted)} tools, of which {MAX_TOOLS} are used; choose them with `tools`")
        wanted = dict(sorted(wanted.items())[:MAX_TOOLS])
    names = tool_names(server.prefix, sorted(wanted))
    found: dict[str, Offer] = {}
    for remote, name in sorted(names.items(), key=lambda pair: pair[1]):
        tool = wanted[remote]
        why = "its name is too long" if len(remote) > MAX_NAME else wrong_schema(tool.schema)
        if why:
            notes.append(f"the tool {line(remote, 60)!r} is left out: {why}")
            continue
        title = line(tool.title, MAX_TITLE) or line(remote.replace("_", " "), MAX_TITLE) or name
        found[name] = Offer(
            name=name,
            server=server.name,
            remote=remote,
            title=redact(f"{title} ({line(server.name, 60)})"),
            description=redact(paragraph(tool.description, MAX_DESCRIPTION)),
            schema={"properties": {}, **{k: v for k, v in tool.schema.items() if k not in _NOT_AT_THE_TOP}},
            risk=server.risk_of(remote, read_only=tool.read_only),
        )
    return [*found.values()], notes


def wrong_schema(schema: Any) -> str:
    """Why a model cannot be given this schema of arguments; empty when it can."""
    from jsonschema import Draft202012Validator, SchemaError

    if not isinstance(schema, dict) or schema.get("type") != "object":
        return "its arguments are not an object"
    try:
        if len(msgspec.json.encode(schema)) > MAX_SCHEMA:
            return "the description of its arguments is too long"
        Draft202012Validator.check_schema(schema)
    except (SchemaError, RecursionError, ValueError, TypeError):
        return "the description of its arguments is not a JSON Schema"
    properties = schema.get("properties", {})
    if any(_PROPERTY.fullmatch(name) is None for name in properties):
        return "one of its arguments has a name that models cannot use"
    return ""


def line(text: str, most: int) -> str:
    """One line of visible characters."""
    clean = " ".join(_visible(text[: 4 * most]).split())
    return clean if len(clean) <= most else clean[: most - 1] + "…"


def paragraph(text: str, most: int) -> str:
    """Text with its lines, without invisible characters: people must be able to see what a model is told."""
    clean = _visible(text[: 4 * most]).strip()
    return clean if len(clean) <= most else clean[: most - 1] + "…"


def _visible(text: str) -> str:
    return "".join(c if c in "\n\t" or unicodedata.category(c)[0] != "C" else " " for c in text.replace("\r\n", "\n"))
