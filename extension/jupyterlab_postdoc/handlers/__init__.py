"""HTTP and WebSocket: parse, call one method, write. The only package that knows either."""

from __future__ import annotations

import re
from typing import Any

from .live.logout import logout_routes
from .socket import stop as stop_sockets

__all__ = ["logout_routes", "routes", "stop"]

Route = tuple[str, type] | tuple[str, type, dict[str, Any]]


async def stop(settings: dict[str, Any], **how: Any) -> None:
    """Say goodbye on all sockets, and let go of the editors."""
    from .live import upstream, ws

    await ws.stop(settings)
    await stop_sockets(settings, **how)
    await upstream.upstreams_of(settings).close()


def routes(prefix: str = "") -> list[Route]:
    """Every address of the extension, below ``prefix``. What is not here is ``not_found`` as JSON.

    Leave ``prefix`` empty in an ``ExtensionApp``: that puts the server's base URL in front by itself.
    """
    from .about import AgentsHandler, HealthHandler, ModelsHandler, PersonasHandler, TemplatesHandler
    from .base import NotFoundHandler
    from .chats import ChatHandler, ChatsHandler, CommandHandler
    from .checkpoints import CheckpointHandler, CheckpointsHandler, RestoreHandler
    from .events import BlobHandler, EventsHandler, MessagesHandler
    from .github import GitHubHandler
    from .live.http import ProxyHandler
    from .live.open import OpenHandler
    from .live.ws import ProxySocket
    from .live_api import NotebookActionHandler, NotebookCommandHandler, NotebookHandler
    from .page import PageHandler, StaticHandler
    from .publication import CommentsHandler, PublicationHandler, RefreshHandler
    from .report import AssetsHandler, ReportHandler
    from .repos import AvailableHandler, RepositoriesHandler, RepositoryHandler
    from .rooms import RoomMessagesHandler, RoomsHandler
    from .socket import SocketHandler

    root = re.escape(prefix.rstrip("/")) + "/postdoc"
    chats = root + "/api/(?:chats|sessions)"
    chat = chats + "/([^/]+)"
    return [
        (root + "/ws", SocketHandler),
        (chats + "/?", ChatsHandler),
        (chat, ChatHandler),
        (chat + "/messages", MessagesHandler),
        (chat + "/events", EventsHandler),
        (chat + "/(research|publish|stop|respond|resume|fork)", CommandHandler),
        (chat + "/publication", PublicationHandler),
        (chat + "/publication/refresh", RefreshHandler),
        (chat + "/publication/comments", CommentsHandler),
        (chat + "/notebook", NotebookHandler),
        (chat + "/notebook/open", OpenHandler),
        (chat + "/notebook/(take|give)", NotebookCommandHandler),
        (chat + "/notebook/(restart|close|interrupt)", NotebookActionHandler),
        (chat + "/checkpoints", CheckpointsHandler),
        (chat + "/checkpoints/([^/]+)", CheckpointHandler),
        (chat + "/checkpoints/([^/]+)/restore", RestoreHandler),
        (chat + "/report", ReportHandler),
        (chat + "/blobs/([0-9]{1,16}|[0-9a-f]{64})", BlobHandler),
        (root + "/api/messages", RoomMessagesHandler),
        (root + "/api/rooms", RoomsHandler),
        (root + "/api/repos/?", RepositoriesHandler),
        (root + "/api/repos/available", AvailableHandler),
        (root + "/api/repos/([^/]+)", RepositoryHandler),
        (root + "/api/templates", TemplatesHandler),
        (root + "/api/personas", PersonasHandler),
        (root + "/api/models", ModelsHandler),
        (root + "/api/health", HealthHandler),
        (root + "/api/github", GitHubHandler),
        (root + "/api/agents.md", AgentsHandler),
        (root + "/nt/([^/]*)/ws", ProxySocket),
        (root + "/nt(?:/.*)?", ProxyHandler),
        (root + "/assets/([^/]+)/(.+)", AssetsHandler),
        (root + "/static/(.+)", StaticHandler),
        (root + "(?:/(?:new|rooms(?:/[^/]+)?|(?:s|notebook)/[^/]+)?)?/?", PageHandler),
        (root + "(?:/.*)?", NotFoundHandler),
    ]
