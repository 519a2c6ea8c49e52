"""An MCP server of the older protocol, written by hand so that it can also be wrong: ``old_server.py FOLDER MODE…``.

Standard library only. Modes: hostile and text (their lists), long (a message without end),
strict (ends at what it does not know), crash, mute, chatty (prints what is no message).
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

FOLDER, MODES = Path(sys.argv[1]), sys.argv[2:]
OBJECT = {"type": "object"}


def tool(name: str, schema: Any = None, **more: Any) -> dict[str, Any]:
    return {"name": name, "inputSchema": OBJECT if schema is None else schema, **more}


HOSTILE = [
    tool("ok", title="Fine\u202e\u0007 tool", description="See\u200b this\U000e0041\x1b[2J. " + "x" * 9000),
    tool("a.b"),
    tool("a/b"),
    tool("n" * 100),
    tool("n" * 99 + "m"),
    tool("n" * 300),
    tool("mcp__papers__search"),
    tool("список"),
    tool("<script>alert(1)</script>"),
    tool("wrong", {"type": "object", "properties": {"a": {"type": "no such type"}}}),
    tool("keys", {"type": "object", "properties": {"a b": {"type": "string"}}}),
    tool("big", {"type": "object", "description": "d" * 100_000}),
    tool("either", {"type": "object", "properties": {"a": {}}, "anyOf": [{"required": ["a"]}]}),
    tool("both", annotations={"readOnlyHint": True, "destructiveHint": True}),
]


def note(what: str) -> None:
    with (FOLDER / "notes.txt").open("a") as file:
        file.write(what + "\n")


def send(message: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
    sys.stdout.flush()


def tools() -> list[dict[str, Any]]:
    if "text" in MODES:
        return [tool("text", {"type": "string"})]
    if "hostile" in MODES:
        return HOSTILE
    found = [tool("look", annotations={"readOnlyHint": True}), tool("act")]
    return found + ([tool("later")] if (FOLDER / "later").exists() else [])


def call(id: Any, params: dict[str, Any]) -> None:
    name, arguments = params["name"], params.get("arguments") or {}
    note(f"{name} {json.dumps(arguments)}")
    if name == "look" and "long" in MODES:
        sys.stdout.write("x" * (20 << 20))
        sys.stdout.flush()
    if name == "look" and arguments.get("change"):
        (FOLDER / "later").touch()
        send({"method": "notifications/tools/list_changed"})
    if arguments.get("die") and not (FOLDER / "died").exists():
        (FOLDER / "died").touch()
        os._exit(9)
    if arguments.get("refuse"):
        send({"id": id, "error": {"code": -32000, "message": "no\x1b[31m such thing"}})
        return
    send({"id": id, "result": {"content": [{"type": "text", "text": f"{name} done"}], "isError": False}})


def answer(message: dict[str, Any]) -> None:
    id, method, params = message.get("id"), message.get("method"), message.get("params") or {}
    if method == "initialize":
        info = {"name": "old", "version": "1"}
        capabilities = {"tools": {"listChanged": True}}
        send({"id": id, "result": {"protocolVersion": "2025-06-18", "capabilities": capabilities, "serverInfo": info}})
    elif method == "tools/list":
        note("listed")
        send({"id": id, "result": {"tools": tools()}})
    elif method == "tools/call":
        call(id, params)
    elif id is not None:
        if "strict" in MODES:
            note("ended by an unknown request")
            sys.exit("expected initialize")
        send({"id": id, "error": {"code": -32601, "message": "Method not found"}})
    elif method == "notifications/cancelled":
        note("cancelled")


def main() -> None:
    note(f"pid {os.getpid()}")
    print("starting with", os.environ.get("CANARY_TOKEN", "nothing"), "\x1b[31m", file=sys.stderr, flush=True)
    if "crash" in MODES:
        sys.exit(4)
    if "mute" in MODES:
        time.sleep(300)
    if "chatty" in MODES:
        print("Welcome!", "{not json}", "[1, 2]", sep="\n", flush=True)
    for line in sys.stdin:
        answer(json.loads(line))


if __name__ == "__main__":
    main()
