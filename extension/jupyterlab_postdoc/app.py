"""The server extension: its configuration, the objects it is made of, and their start and stop."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from jupyter_server.extension.application import ExtensionApp
from jupyter_server.serverapp import ServerApp

from jupyterlab_postdoc import handlers, secrets
from jupyterlab_postdoc.assemble import Services, assemble
from jupyterlab_postdoc.errors import PostdocError
from jupyterlab_postdoc.settings import Settings


class PostdocApp(Settings, ExtensionApp):
    """Research agents in the notebook."""

    name = "jupyterlab_postdoc"
    extension_url = "/postdoc"
    load_other_extensions = True

    services: Services | None = None
    _stopping: asyncio.Task[None] | None = None

    @property
    def _server(self) -> ServerApp:
        assert self.serverapp is not None
        return self.serverapp

    def initialize_handlers(self) -> None:
        """All routes, in one list."""
        self.handlers.extend(handlers.routes())
        self.handlers.extend(handlers.logout_routes(self._server.identity_provider))

    def initialize_settings(self) -> None:
        """Build the objects. Nothing is opened before the server's loop runs."""
        secrets.register_environment()
        secrets.register(self._server.identity_provider.token)
        secrets.guard_logs(self.log, self._server.log)
        self.services = self.build(Path(self._server.root_dir))

    def build(self, root_dir: Path) -> Services:
        """The objects of a server whose files lie below ``root_dir``, not yet started."""
        return assemble(self, root_dir, kernel_manager=getattr(self.serverapp, "kernel_manager", None))

    async def _start_jupyter_server_extension(self, _serverapp: Any) -> None:
        """Called on the running loop: open the log, carry on what an earlier process left."""
        assert self.services is not None
        try:
            await self.services.start()
        except PostdocError as e:
            self.log.error("Postdoc does not start: %s %s", e.message, e.next)
            self.settings["postdoc_error"] = e
            self._server.web_app.settings["postdoc_error"] = e
            return
        self._server.web_app.settings["postdoc"] = self.services
        if (fetch := self.services.crew.resources.fetch) is not None:
            fetch.forbidden.add((self._server.ip, self._server.port))  # no agent talks to its own server

    async def stop_extension(self) -> None:
        """Say goodbye on the sockets, let runs leave at a step's end, close the log."""
        if self._stopping is None:
            self._stopping = asyncio.create_task(self._stop())
        await asyncio.shield(self._stopping)

    async def _stop(self) -> None:
        web_app = self._server.web_app
        if self.services is None or web_app.settings.pop("postdoc", None) is None:
            return
        await handlers.stop(web_app.settings)
        await self.services.stop(self.stop_grace_s)


main = launch_new_instance = PostdocApp.launch_instance
