"""A real MCP server, run as a program: ``remote_server.py [http PORT] [child] FOLDER``.

FOLDER receives what the tests look at: pids, calls, cancellations.
"""

from __future__ import annotations

import asyncio
import base64
import os
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

from mcp.server import MCPServer
from mcp.server.mcpserver import Context, Image
from mcp_types import CallToolResult, EmbeddedResource, TextContent, TextResourceContents, ToolAnnotations

FOLDER = Path(sys.argv[-1])
READ = ToolAnnotations(read_only_hint=True)
server = MCPServer("papers")


def note(what: str) -> None:
    with (FOLDER / "notes.txt").open("a") as file:
        file.write(what + "\n")


def png() -> bytes:
    """One red pixel."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    head = (1).to_bytes(4, "big") * 2 + bytes([8, 2, 0, 0, 0])
    pixels = zlib.compress(b"\0\xff\0\0")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


@server.tool(annotations=ToolAnnotations(title="Search papers", read_only_hint=True))
def search(query: str, most: int = 3) -> str:
    """Find papers."""
    note(f"search {query}")
    return "\n".join(f"{number}. {query} " + "snippet " * 40 for number in range(most))


@server.tool()
def cite(title: str) -> str:
    """Add a citation."""
    note(f"cite {title}")
    return f"cited {title}"


@server.tool(annotations=READ)
def draw() -> Image:
    """Draw."""
    return Image(data=png(), format="png")


@server.tool(annotations=READ)
def fail() -> str:
    """Fail."""
    raise ValueError("no such paper: 10.1/x")


@server.tool(annotations=READ)
async def slow(seconds: float) -> str:
    """Take long."""
    note("slow began")
    try:
        await asyncio.sleep(seconds)
    except asyncio.CancelledError:
        note("slow cancelled")
        raise
    return "at last"


@server.tool(annotations=READ)
def environment() -> dict[str, str]:
    """The environment."""
    return dict(os.environ)


@server.tool(annotations=READ)
def huge(characters: int) -> str:
    """A lot."""
    return "x" * characters


@server.tool(annotations=READ)
def mixed() -> CallToolResult:
    """All kinds."""
    bad = base64.b64encode(b"<svg/>").decode()
    return CallToolResult(
        content=[
            TextContent(text="one"),
            EmbeddedResource(resource=TextResourceContents(uri="doc://two", text="two", mime_type="text/plain")),
            {"type": "image", "data": bad, "mimeType": "image/svg+xml"},  # type: ignore[list-item]
            {"type": "resource_link", "uri": "https://example.org/three", "name": "three"},  # type: ignore[list-item]
            {"type": "audio", "data": bad, "mimeType": "audio/wav"},  # type: ignore[list-item]
        ],
        structured_content={"found": 2},
    )


@server.tool()
def die() -> str:
    """End the whole program in mid-call."""
    note("died")
    os._exit(3)


@server.tool()
async def grow(ctx: Context[Any]) -> str:
    """Offer one more tool."""

    def grown() -> str:
        return "grown"

    server.add_tool(grown, name="grown")
    await ctx.session.send_tool_list_changed()
    await ctx.notify_tools_changed()
    return "ok"


def main() -> None:
    note(f"pid {os.getpid()}")
    print("papers: started", file=sys.stderr, flush=True)
    if "child" in sys.argv:
        child = subprocess.Popen(["sleep", "300"], start_new_session=True, stdin=-1, stdout=-1)
        note(f"pid {child.pid}")
    if "http" in sys.argv:
        server.run(transport="streamable-http", host="127.0.0.1", port=int(sys.argv[2]))
    else:
        server.run()


if __name__ == "__main__":
    main()
