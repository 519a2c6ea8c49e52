"""The server extension: its configuration, the objects it is made of, and their start and stop."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from jupyter_core.paths import jupyter_data_dir
from jupyter_server.extension.application import ExtensionApp
from jupyter_server.serverapp import ServerApp
from traitlets import Bool, Float, Int, List, Type, Unicode, default

from jupyterlab_postdoc import handlers
from jupyterlab_postdoc.agent.execute import Executor, back_in_queue
from jupyterlab_postdoc.agent.personas import Personas
from jupyterlab_postdoc.agent.research import Lab
from jupyterlab_postdoc.dispatch.local import LocalDispatcher
from jupyterlab_postdoc.errors import PostdocError
from jupyterlab_postdoc.forge.local import LocalForge
from jupyterlab_postdoc.log import EventLog
from jupyterlab_postdoc.notebooks.batch import BatchRuntime
from jupyterlab_postdoc.providers.base import Provider
from jupyterlab_postdoc.runs import Runs
from jupyterlab_postdoc.sessions import SessionManager
from jupyterlab_postdoc.store.sqlite import SqliteStore
from jupyterlab_postdoc.templates import TemplateRegistry
from jupyterlab_postdoc.tools.registry import all_tools
from jupyterlab_postdoc.workspace.git import Git
from jupyterlab_postdoc.workspace.processes import Limits


@dataclass
class Services:
    """What handlers reach: ``settings["postdoc"]``."""

    log: EventLog
    runs: Runs
    sessions: SessionManager
    dispatcher: LocalDispatcher

    async def start(self) -> None:
        """Open the log, put the sessions in order, take up the work."""
        await self.log.start()
        await self.sessions.tidy()
        await self.dispatcher.start()

    async def stop(self, grace_s: float) -> None:
        """Let runs leave at their next step, give them back to the queue, close the log."""
        await self.dispatcher.stop(grace_s)
        await self.log.stop()


class PostdocApp(ExtensionApp):
    """Research agents in the notebook."""

    name = "jupyterlab_postdoc"
    extension_url = "/postdoc"
    load_other_extensions = True

    data_dir = Unicode(help="Folder of the event log and the local repositories (mode 0700).").tag(config=True)
    research_dir = Unicode("research", help="Folder of the research projects, below the server's root directory.").tag(
        config=True
    )
    template_paths = List(Unicode(), help="More folders with research templates; they win over all others.").tag(
        config=True
    )
    personas_file = Unicode("", help="A personas.yaml that adds to the built-in personas or replaces them.").tag(
        config=True
    )
    allow_unsandboxed = Bool(
        False,
        help="Let notebooks and commands of any origin run without a sandbox. They then see all that the server sees.",
    ).tag(config=True)
    max_concurrent_runs = Int(4, min=1, help="Runs at work at the same time in this server.").tag(config=True)
    max_turns = Int(40, min=1, help="Agent turns that one run may take.").tag(config=True)
    max_minutes = Float(60.0, min=0.1, help="Minutes that one run may work.").tag(config=True)
    notebook_timeout_s = Float(900.0, min=1.0, help="Seconds until a running notebook is stopped.").tag(config=True)
    memory_limit_mb = Int(4096, min=512, help="Memory of one notebook or command, in MiB.").tag(config=True)
    stop_grace_s = Float(5.0, min=0.0, help="Seconds that runs get to reach a step's end when the server stops.").tag(
        config=True
    )
    default_model = Unicode("", help="Model of new chats; empty: the persona's.").tag(config=True)
    chat_provider = Type(
        default_value=None,
        allow_none=True,
        klass=object,
        help="Class of the provider that answers free chat (see providers/base.py); none: free chat is not answered.",
    ).tag(config=True)

    services: Services | None = None
    _stopping: asyncio.Task[None] | None = None

    @property
    def _server(self) -> ServerApp:
        assert self.serverapp is not None
        return self.serverapp

    @default("data_dir")
    def _default_data_dir(self) -> str:
        return str(Path(jupyter_data_dir()) / "postdoc")

    def initialize_handlers(self) -> None:
        """All routes, in one list."""
        self.handlers.extend(handlers.routes())

    def initialize_settings(self) -> None:
        """Build the objects. Nothing is opened before the server's loop runs."""
        self.services = self.build(Path(self._server.root_dir))

    def build(self, root_dir: Path) -> Services:
        """The objects of a server whose files lie below ``root_dir``, not yet started."""
        data_dir = Path(self.data_dir).expanduser()
        git, memory = Git(), self.memory_limit_mb << 20
        lab = Lab(
            root_dir=root_dir,
            research_dir=self._checked_research_dir(),
            templates=TemplateRegistry([Path(path).expanduser() for path in self.template_paths]),
            tools=all_tools(),
            git=git,
            forge=LocalForge(data_dir, git),
            make_notebook=lambda workspace: BatchRuntime(workspace, memory_bytes=memory),
            allow_unsandboxed=self.allow_unsandboxed,
            process_limits=Limits(memory_bytes=memory),
            notebook_timeout_s=self.notebook_timeout_s,
            max_turns=self.max_turns,
            max_minutes=self.max_minutes,
        )
        personas = Personas(Path(self.personas_file).expanduser() if self.personas_file else None)
        log = EventLog(SqliteStore(data_dir))
        runs = Runs(log, on_requeued=back_in_queue)
        executor = Executor(lab, personas, self._make_chat_provider())
        dispatcher = LocalDispatcher(
            runs,
            executor.execute,
            on_crash=executor.on_crash,
            concurrency=self.max_concurrent_runs,
            queues=(lab.queue,),
        )
        sessions = SessionManager(log, runs, lab, personas, default_model=self.default_model or None)
        return Services(log, runs, sessions, dispatcher)

    def _make_chat_provider(self) -> Provider | None:
        return cast(Provider, self.chat_provider()) if self.chat_provider else None

    def _checked_research_dir(self) -> str:
        parts = Path(self.research_dir).parts
        if not parts or Path(self.research_dir).is_absolute() or ".." in parts:
            raise ValueError("PostdocApp.research_dir must be a folder below the server's root directory.")
        return Path(self.research_dir).as_posix()

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
