"""The part that speaks MCP. It loads the package ``mcp``, which is heavy: import it in a thread, when it is needed."""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import anyio
import httpx2
import mcp_types
from mcp.client.client import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.client.subscriptions import ListenNotSupportedError, SubscriptionLost
from mcp.shared.exceptions import MCPError
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from pydantic import ValidationError

from jupyterlab_postdoc import __version__
from jupyterlab_postdoc.connectors.answers import Answer, Picture
from jupyterlab_postdoc.connectors.config import Wrong
from jupyterlab_postdoc.connectors.offers import Described, line
from jupyterlab_postdoc.connectors.stdio import MAX_MESSAGE, program
from jupyterlab_postdoc.errors import PostdocError

if TYPE_CHECKING:
    from jupyterlab_postdoc.connectors.link import Link

CONNECT_S = 180.0
"""A first start may have to download its program; runs do not wait for that."""
LIST_S = 60.0
LEAVE_S = 3.0
MAX_PAGES = 50
LISTEN_AGAIN_S = 30.0
RELIST_S = 0.2
"""The shortest time between two lists, however often a server says that its tools have changed."""

Transport = AbstractAsyncContextManager[Any]
"""Entered, it gives the two streams that a client reads from and writes to."""


async def hold(link: Link, environ: Mapping[str, str], handshake: str = "auto") -> None:
    """Connect, tell the link, keep its list of tools up to date, leave when it says so. ``handshake``: auto or legacy.

    Raises PostdocError with a sentence, or config.Wrong, when the connection cannot be made or breaks.
    """
    try:
        await _hold(link, environ, handshake)
    except Exception as e:
        error = _first(e)
        if isinstance(error, (PostdocError, Wrong)):
            raise error from e
        if isinstance(error, ValidationError):
            why = "says something that the protocol does not allow; its descriptions of tools may be wrong."
        elif isinstance(error, MCPError):
            why = f"answers with an error: {line(error.message, 200)}"
        else:
            raise
        raise PostdocError("tool_failed", f"{link.title} {why}") from e


async def _hold(link: Link, environ: Mapping[str, str], handshake: str) -> None:
    with anyio.CancelScope(deadline=anyio.current_time() + CONNECT_S) as scope:
        async with _transport(link, environ) as transport, _client(transport, link, handshake) as client:
            await link.connect(Session(client, link.title), await _list(client))
            scope.deadline = float("inf")
            listener = asyncio.create_task(_listen(client, link)) if _tells_changes(client) else None
            try:
                await _serve(client, link)
            finally:
                scope.deadline = anyio.current_time() + LEAVE_S
                if listener is not None:
                    listener.cancel()
                    with anyio.CancelScope(shield=True):
                        await asyncio.wait([listener], timeout=1)
    if scope.cancelled_caught and not link.stopping:
        raise PostdocError("tool_failed", f"{link.title} did not answer within {CONNECT_S:g} seconds.")


async def _serve(client: Client, link: Link) -> None:
    """Until the connection shall be left: list the tools anew when they have changed."""
    while not link.leaving:
        await link.stirred.wait()
        link.stirred.clear()
        if not link.leaving:
            try:
                await link.list(await _list(client))
            except MCPError as e:
                if _closed(e):
                    raise
            await asyncio.sleep(RELIST_S)


def _client(transport: Transport, link: Link, handshake: str) -> Client:
    async def heard(message: Any) -> None:
        if isinstance(message, mcp_types.ToolListChangedNotification):
            link.stirred.set()

    info = mcp_types.Implementation(name="jupyterlab-postdoc", version=__version__)
    return Client(
        transport,
        mode=handshake,
        read_timeout_seconds=LIST_S,
        client_info=info,
        message_handler=heard,
        cache=None,
    )


async def _list(client: Client) -> list[Described]:
    """All tools, page by page; a server without end is cut off."""
    found: list[Described] = []
    cursor = None
    for _ in range(MAX_PAGES):
        page = await client.list_tools(cursor=cursor)
        found += [_described(tool) for tool in page.tools]
        cursor = page.next_cursor
        if cursor is None or len(found) > 10_000:
            break
    return found


def _described(tool: mcp_types.Tool) -> Described:
    hints = tool.annotations
    return Described(
        name=tool.name,
        title=tool.title or (hints.title if hints else None) or "",
        description=tool.description or "",
        schema=tool.input_schema,
        read_only=bool(hints and hints.read_only_hint and not hints.destructive_hint),
    )


# --- changes of the list ---


def _tells_changes(client: Client) -> bool:
    """Whether changes have to be subscribed to; older servers tell them to everybody."""
    tools = client.server_capabilities.tools
    return client.protocol_version in MODERN_PROTOCOL_VERSIONS and tools is not None and bool(tools.list_changed)


async def _listen(client: Client, link: Link) -> None:
    while True:
        try:
            async with client.listen(tools_list_changed=True) as changes:
                async for _ in changes:
                    link.stirred.set()
        except (MCPError, ListenNotSupportedError):
            return
        except (SubscriptionLost, TimeoutError):
            pass
        await asyncio.sleep(LISTEN_AGAIN_S)
        link.stirred.set()  # what was missed meanwhile


# --- calls ---


class Session:
    """Calls over one connection."""

    def __init__(self, client: Client, title: str) -> None:
        self._client, self._title = client, title

    async def call(self, tool: str, arguments: dict[str, Any]) -> Answer:
        """Raises link.Lost when the connection is gone, TimeoutError, or PostdocError with what the server says."""
        from jupyterlab_postdoc.connectors.link import Lost

        try:
            return _answer(await self._client.call_tool(tool, arguments, read_timeout_seconds=86_400))
        except MCPError as e:
            if _closed(e):
                raise Lost from e
            if e.code == mcp_types.INVALID_REQUEST and e.message == "Session terminated":
                raise Lost(not_done=True) from e
            raise PostdocError("tool_failed", f"{self._title} answered with an error: {line(e.message, 500)}") from e
        except (anyio.BrokenResourceError, anyio.ClosedResourceError, httpx2.TransportError) as e:
            raise Lost from e
        except (RuntimeError, ValidationError) as e:  # a result that is not what the server itself announces
            raise PostdocError("tool_failed", f"{self._title} answered in a form that cannot be read.") from e


def _closed(e: MCPError) -> bool:
    """Servers use the same code for errors of their own, so the client's words for it count, too."""
    return e.code == mcp_types.CONNECTION_CLOSED and e.message == "Connection closed"


def _answer(result: mcp_types.CallToolResult) -> Answer:
    texts: list[str] = []
    pictures: list[Picture] = []
    for block in result.content:
        if isinstance(block, mcp_types.TextContent):
            texts.append(block.text)
        elif isinstance(block, mcp_types.ImageContent):
            pictures += _picture(block.data, block.mime_type, texts)
        elif isinstance(block, mcp_types.EmbeddedResource):
            _embedded(block.resource, texts, pictures)
        elif isinstance(block, mcp_types.ResourceLink):
            texts.append(f"[{block.title or block.name}]({block.uri}) {block.description or ''}".strip())
        else:
            texts.append(f"[{block.type} of the type {block.mime_type}: it cannot be shown]")
    return Answer(not result.is_error, "\n".join(texts), pictures, result.structured_content)


def _embedded(resource: Any, texts: list[str], pictures: list[Picture]) -> None:
    if isinstance(resource, mcp_types.TextResourceContents):
        texts.append(f"{resource.uri}:\n{resource.text}")
    elif (resource.mime_type or "").startswith("image/"):
        texts.append(f"{resource.uri}:")
        pictures += _picture(resource.blob, resource.mime_type, texts)
    else:
        kind = resource.mime_type or "an unknown type"
        texts.append(f"{resource.uri}: [about {len(resource.blob) * 3 // 4} bytes of {kind}: they cannot be shown]")


def _picture(data: str, media_type: str, texts: list[str]) -> list[Picture]:
    try:
        return [Picture(base64.b64decode(data, validate=True), media_type)]
    except (binascii.Error, ValueError):
        texts.append("[a picture that cannot be read]")
        return []


# --- the way there ---


@asynccontextmanager
async def _transport(link: Link, environ: Mapping[str, str]) -> AsyncIterator[Transport]:
    """A program of ours, or a server on the network."""
    if link.server.entry.url is None:
        async with program(link, link.server.environment(environ)) as streams:
            yield streams
    else:
        async with _network(link, link.server.entry.url, link.server.http_headers(environ)) as streams:
            yield streams


@asynccontextmanager
async def _network(link: Link, url: str, headers: Mapping[str, str]) -> AsyncIterator[Transport]:
    refused: list[int] = []

    async def seen(response: httpx2.Response) -> None:
        if response.status_code in (401, 403, 407) or response.status_code >= 500:
            refused.append(response.status_code)
        elif response.status_code < 400:
            refused.clear()
        if response.headers.get("content-type", "").lower().startswith("application/json"):
            response.stream = _Bounded(response.stream)

    timeout = httpx2.Timeout(30.0, read=max(300.0, link.server.entry.timeout_s + 10))
    try:
        async with httpx2.AsyncClient(
            headers={"Accept-Encoding": "identity", **headers}, timeout=timeout, event_hooks={"response": [seen]}
        ) as client:
            yield streamable_http_client(url, http_client=client, max_sse_event_size=MAX_MESSAGE)
    except Exception as e:
        error = _first(e)
        if isinstance(error, ValidationError):
            raise
        raise PostdocError("tool_failed", f"{link.title} ({link.server.where}) {_why(error, refused)}") from e


def _first(error: BaseException) -> BaseException:
    """What happened, in a group of what happened because of it."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _why(error: BaseException, refused: list[int]) -> str:
    """What people are told of a broken connection. The errors' own texts are not: they may hold the whole address."""
    if refused and refused[-1] < 500:
        return f"refuses us (HTTP {refused[-1]}): check its `headers`."
    if refused:
        return f"answers with the HTTP error {refused[-1]}."
    if isinstance(error, httpx2.ConnectError):
        return "cannot be reached: nothing answers there."
    if isinstance(error, (httpx2.TimeoutException, TimeoutError)):
        return "does not answer."
    if isinstance(error, MCPError):
        return f"answers with an error: {line(error.message, 200)}. Check its `url`; it often ends with /mcp."
    return f"cannot be reached ({type(error).__name__})."


class _Bounded(httpx2.AsyncByteStream):
    """A body that may not be longer than a message."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    async def __aiter__(self) -> AsyncIterator[bytes]:
        seen = 0
        async for data in self._inner:
            seen += len(data)
            if seen > MAX_MESSAGE:
                raise httpx2.StreamError("the answer is too long")
            yield data

    async def aclose(self) -> None:
        with suppress(httpx2.TransportError):
            await self._inner.aclose()
