"""How marimo's editor is started in our process: with our settings, on a Unix socket, without virtual files.

All names used here are private to marimo, which is why its version is pinned; ``probe`` finds out when they changed.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import socket
import types
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import uvicorn
from marimo._config import manager as config
from marimo._core import protocol
from marimo._core.document import Document, DocumentCell
from marimo._server import session_manager, start
from marimo._server.api.endpoints.ws.session_handler import SessionHandler
from marimo._server.registry import LIFESPAN_REGISTRY
from marimo._server.tokens import AuthToken, SkewProtectionToken
from marimo._server.workspace import DirectoryWorkspace
from marimo._session import session as session_module
from marimo._session.managers import KernelManagerImpl
from marimo._session.model import SessionMode
from marimo._session.requests import InstantiateNotebookRequest
from marimo._session.session import SessionImpl
from marimo._version import __version__

from jupyterlab_postdoc.notebooks.worker import launch
from jupyterlab_postdoc.notebooks.worker.live_outputs import Outputs

VERSION = __version__
PORT = 2718  # only a name: nothing listens there
SETTINGS: dict[str, Any] = {
    "runtime": {
        "on_cell_change": "autorun",
        "auto_instantiate": False,  # opening a page runs nothing
        "auto_reload": "off",
        "watcher_on_save": "autorun",  # of account only while we follow the file
    },
    "save": {"autosave": "after_delay", "autosave_delay": 1000, "format_on_save": False},
    "completion": {"copilot": False},
    "language_servers": {name: {"enabled": False} for name in ("pylsp", "ty", "basedpyright", "pyrefly")},
    "server": {"follow_symlink": False},
}


class Session(SessionImpl):  # type: ignore[misc]
    """marimo's, whose outputs are whole: figures and chart data are in them, not behind addresses that end with the
    process.
    """

    @classmethod
    async def create(cls, **options: Any) -> Any:
        return await super().create(**options | {"virtual_file_storage": None})


class KernelManager(KernelManagerImpl):  # type: ignore[misc]
    """marimo's, which does not hold up everything else while a kernel starts."""

    async def start_kernel(self) -> None:
        await asyncio.to_thread(asyncio.run, super().start_kernel())


def run(
    door: tuple[int, int],
    root: Path,
    lifespan: Callable[[Any], AbstractAsyncContextManager[None]],
    started: Callable[[], None],
) -> None:
    """marimo's edit server for the notebooks in ``root``, until it is told to end. ``door``: the socket that it listens
    on and a pipe with its secret, both inherited; ``started`` is called when it answers.
    """
    listening = socket.socket(fileno=door[0])
    with os.fdopen(door[1], encoding="ascii") as pipe:
        token = pipe.read()

    class Server(uvicorn.Server):
        def run(self, sockets: list[socket.socket] | None = None) -> None:  # noqa: ARG002
            super().run(sockets=[listening])

        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            started()

    known = config.get_default_config_manager
    # start() takes these from its own module; there is no other way to give it a socket and settings.
    start.uvicorn = types.SimpleNamespace(Config=uvicorn.Config, Server=Server, __version__=uvicorn.__version__)
    start.get_default_config_manager = lambda **where: known(**where).with_overrides(SETTINGS)
    session_manager.SessionImpl = Session
    # A page that joins would close the session of a dead kernel, and with it every other page.
    session_manager.SessionManager._cleanup_dead_sessions = lambda _: None
    session_module.KernelManagerImpl = KernelManager
    session_module.CachingExtension = Outputs
    launch.use()
    SessionHandler._serialize_and_notify = quietly(SessionHandler._serialize_and_notify)
    # marimo refuses what a page of an earlier process sends. All processes of one editor have its secret, and so the
    # same word for their pages: one that was open when a process ended goes on with the next.
    word = hashlib.sha256(f"page {token}".encode()).hexdigest()
    SkewProtectionToken.random = staticmethod(lambda: SkewProtectionToken(word))
    LIFESPAN_REGISTRY.register("postdoc", lifespan)
    start.start(
        workspace=DirectoryWorkspace(str(root), include_markdown=False),
        mode=SessionMode.EDIT,
        development_mode=False,
        quiet=True,
        include_code=True,
        ttl_seconds=None,
        headless=True,
        port=PORT,
        host="127.0.0.1",
        proxy=None,
        watch=False,
        cli_args={},
        argv=[],
        auth_token=AuthToken(token),
        redirect_console_to_browser=False,
        skew_protection=True,
        timeout=None,
    )


def quietly(send: Callable[[Any, Any], None]) -> Callable[[Any, Any], None]:
    """Every page joins the agent's session: that is not worth a banner, and its Restart button is not for pages."""

    def without_reconnected(self: Any, notification: Any) -> None:
        if getattr(notification, "title", "") != "Reconnected":
            send(self, notification)

    return without_reconnected


def bridge(app: Any) -> Any:
    """marimo's Host API, as an object. Raises LookupError with the reason why there is none to use."""
    context = getattr(app.state, "host_context", None)
    if context is None:
        raise LookupError("marimo did not start its Host API")
    found = context.bridge
    missing = {"notebook.edit", "notebook.save", "runtime.start", "runtime.stop"} - set(found.host.operations)
    if missing:
        raise LookupError(f"marimo's Host API does not offer {', '.join(sorted(missing))}")
    cell = DocumentCell(protocol.CellId("a"), "x = 1")
    try:
        changed = Document([cell], {}).apply(
            [
                protocol.PutCell(
                    base_etag=cell.etag, cell=protocol.CellInput(id=protocol.CellId("a"), code="x = 2", name="n")
                )
            ]
        )
        good = isinstance(changed, tuple) and changed[0].cell("a").code == "x = 2"
    except (TypeError, AttributeError, ValueError) as error:
        raise LookupError(f"marimo's Host API is another one ({error})") from error
    if not good:
        raise LookupError("marimo's Host API did not apply an edit")
    return found


async def follow(manager: Any, path: Path) -> None:
    """Without the Host API: a session whose page follows the file."""
    from marimo._types.ids import SessionId

    from jupyterlab_postdoc.notebooks.worker.tracks import Listener

    quiet = Listener({}, lambda _: None, lambda *_: None)
    session = await manager.create_session(SessionId("postdoc"), quiet, {}, str(path), False, main=False)
    session.instantiate(InstantiateNotebookRequest(object_ids=[], values=[], auto_run=False), http_request=None)
