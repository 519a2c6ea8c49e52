"""The objects of a server, made from its configuration: nothing is opened and nothing heavy is loaded here."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from jupyterlab_postdoc import secrets
from jupyterlab_postdoc.agent.crew import Crew
from jupyterlab_postdoc.agent.execute import Executor, back_in_queue
from jupyterlab_postdoc.agent.personas import Personas
from jupyterlab_postdoc.agent.research import Lab
from jupyterlab_postdoc.agent.spend import Budgets
from jupyterlab_postdoc.dispatch.local import LocalDispatcher
from jupyterlab_postdoc.errors import PostdocError
from jupyterlab_postdoc.forge.connection import Connection
from jupyterlab_postdoc.forge.credentials import AppSettings, Credentials
from jupyterlab_postdoc.forge.github import GitHub
from jupyterlab_postdoc.forge.github_address import address
from jupyterlab_postdoc.forge.local import LocalForge
from jupyterlab_postdoc.forge.publisher import Publisher
from jupyterlab_postdoc.health import Beside
from jupyterlab_postdoc.log import EventLog
from jupyterlab_postdoc.models import ModelCatalogue
from jupyterlab_postdoc.notebooks.editors import EditorPool
from jupyterlab_postdoc.notebooks.runtime import ProjectRuntime
from jupyterlab_postdoc.providers.anthropic import AnthropicProvider
from jupyterlab_postdoc.providers.base import Provider
from jupyterlab_postdoc.providers.prices import Prices
from jupyterlab_postdoc.publishing.attempt import PublishParts, PublishSettings
from jupyterlab_postdoc.publishing.repositories import Repositories
from jupyterlab_postdoc.publishing.watch import PullWatch
from jupyterlab_postdoc.runs import Runs
from jupyterlab_postdoc.sessions import SessionManager
from jupyterlab_postdoc.settings import Settings
from jupyterlab_postdoc.store.sqlite import SqliteStore
from jupyterlab_postdoc.telemetry import Telemetry
from jupyterlab_postdoc.templates import TemplateRegistry
from jupyterlab_postdoc.tools.packages import Policy
from jupyterlab_postdoc.tools.registry import all_tools
from jupyterlab_postdoc.tools.resources import Resources
from jupyterlab_postdoc.workspace import sandbox
from jupyterlab_postdoc.workspace.environments import Environments
from jupyterlab_postdoc.workspace.fetch import Fetcher
from jupyterlab_postdoc.workspace.git import Git
from jupyterlab_postdoc.workspace.kernels import KernelPool
from jupyterlab_postdoc.workspace.processes import Limits
from jupyterlab_postdoc.workspace.workspace import Workspace

if TYPE_CHECKING:
    from jupyterlab_postdoc.tools.mcp import McpTools

FETCH_TIMEOUT_S = 600.0


@dataclass
class Services:
    """What handlers reach: ``settings["postdoc"]``."""

    log: EventLog
    runs: Runs
    sessions: SessionManager
    dispatcher: LocalDispatcher
    crew: Crew
    connection: Connection
    github: GitHub
    repositories: Repositories
    watch: PullWatch
    editors: EditorPool
    environments: Environments

    async def start(self) -> None:
        """Open the log, put the sessions in order, take up the work."""
        await self.log.start()
        await self.crew.watch.start()
        await self.sessions.tidy()
        await self.editors.start()
        await self.environments.start()
        await self.dispatcher.start()
        await self.watch.start()

    async def stop(self, grace_s: float) -> None:
        """Let runs leave at their next step, give them back to the queue, close the log and everything beside it."""
        await self.watch.stop()
        await self.dispatcher.stop(grace_s)
        await self.editors.stop()
        await self.crew.close()
        await self.connection.close()
        await self.github.close()
        await self.log.stop()


def assemble(config: Settings, root_dir: Path, *, kernel_manager: Any = None) -> Services:
    """All objects of a server whose files lie below ``root_dir``, not yet started."""
    data_dir = Path(config.data_dir).expanduser()
    git, memory = Git(), config.memory_limit_mb << 20
    watch = Telemetry(enabled=config.telemetry, tools=all_tools().names())
    templates = TemplateRegistry([Path(path).expanduser() for path in config.template_paths])
    log = EventLog(SqliteStore(data_dir))
    connection, github = _github(config, data_dir)
    publisher = Publisher(data_dir, git)
    repositories = Repositories(log, github=github, publisher=publisher, root_dir=root_dir)
    environments = Environments(data_dir / "environments")
    editors = _editors(config, memory, environments)
    lab = Lab(
        root_dir=root_dir,
        research_dir=_research_dir(config),
        templates=templates,
        tools=all_tools(),
        git=git,
        forge=LocalForge(data_dir, git),
        make_notebook=lambda workspace: ProjectRuntime(workspace, editors, memory_bytes=memory),
        editors=editors,
        environments=environments,
        missing_packages=cast(Policy, config.missing_packages),
        allow_unsandboxed=config.allow_unsandboxed,
        process_limits=Limits(memory_bytes=memory),
        notebook_timeout_s=config.notebook_timeout_s,
        max_turns=config.max_turns,
        max_minutes=config.max_minutes,
        repositories=repositories,
        publishing=PublishParts(github, publisher, git, _publishing(config)),
        pages=config.github_pages,
    )
    provider = _provider(config, watch)
    prices = Prices(config.model_prices)
    models = ModelCatalogue(
        provider,
        prices,
        allowed=config.allowed_models,
        anonymous=config.anonymous_models,
        default=config.default_model,
        built_in=getattr(provider, "built_in", ()),
    )
    budgets = Budgets(
        run_usd=config.budget_usd_run or None,
        session_usd=config.budget_usd_session or None,
        day_usd=config.budget_usd_day or None,
    )
    connectors = _connectors(config)
    crew = Crew(
        models=models,
        model=provider,
        prices=prices,
        budgets=budgets,
        connectors=connectors,
        resources=Resources(
            kernels=KernelPool(kernel_manager, idle_s=60 * config.kernel_idle_minutes),
            fetch=_fetcher(config),
            templates=templates,
        ),
        watch=watch,
        base_prompt=_text(config.base_prompt_file),
        compact_at_tokens=config.compact_at_tokens,
        approval_hours=config.approval_hours,
        attempts=config.model_attempts,
        retry_wait_s=config.model_retry_wait_s,
    )
    personas = Personas(_file(config.personas_file))
    runs = Runs(log, on_requeued=back_in_queue)
    executor = Executor(lab, personas, crew)
    dispatcher = LocalDispatcher(
        runs,
        executor.execute,
        on_crash=executor.on_crash,
        concurrency=config.max_concurrent_runs,
        queues=(lab.queue,),
    )
    beside = Beside(connectors=connectors, github=connection, budgets=budgets, web_tools=config.web_tools)
    sessions = SessionManager(log, runs, lab, personas, models=models, beside=beside)
    editors.on_status.append(sessions.announcer.hear)
    pulls = PullWatch(log, github, poll_s=config.github_poll_s)
    return Services(
        log, runs, sessions, dispatcher, crew, connection, github, repositories, pulls, editors, environments
    )


def _editors(config: Settings, memory: int, environments: Environments) -> EditorPool:
    """The live notebooks. What people write there is no code of ours: without a sandbox only by the setting."""

    async def workspace(root: Path) -> Workspace:
        status = await sandbox.probe()
        box = sandbox.choose(status, trusted=False, allow_unsandboxed=config.allow_unsandboxed)
        return Workspace(root, sandbox=box, limits=Limits(memory_bytes=memory), find_python=environments.find)

    idle_s = 60 * config.notebook_idle_minutes
    return EditorPool(workspace, memory_bytes=memory, most=config.max_notebooks, idle_s=idle_s)


def _github(config: Settings, data_dir: Path) -> tuple[Connection, GitHub]:
    """GitHub as the settings say where it is, with the tokens that may be used there."""
    where = address(config.github_api_url, config.github_git_url)
    app = AppSettings(
        config.github_app_id, config.github_app_key_file, config.github_installation_id, config.github_owner
    )
    credentials = Credentials(
        data_dir, host=where.host, api_url=where.api, token_file=config.github_token_file, app=app
    )
    github = GitHub(credentials, api_url=where.api, git_url=config.github_git_url, owner=config.github_owner)
    connection = Connection(
        github,
        credentials,
        owner=config.github_owner,
        private=config.github_private,
        publish=config.github_publish,
        history="squashed" if config.github_squash else "full",
    )
    return connection, github


def _publishing(config: Settings) -> PublishSettings:
    return PublishSettings(
        owner=config.github_owner,
        private=config.github_private,
        topics=tuple(config.github_topics),
        when=config.github_publish,
        squash=config.github_squash,
        allow_workflows=config.github_allow_workflows,
        max_file_bytes=config.github_max_file_mb << 20,
    )


def _provider(config: Settings, watch: Telemetry) -> Provider:
    if config.chat_provider:
        return cast(Provider, config.chat_provider())
    base_url = config.anthropic_base_url or None
    return AnthropicProvider(
        api_key=partial(secrets.read_key, "ANTHROPIC_API_KEY", config.anthropic_api_key_file),
        base_url=base_url,
        read_timeout_s=config.model_read_timeout_s,
        web_tools=config.web_tools,
        context_management=config.context_management,
        telemetry=partial(watch.sdk_options, base_url=base_url),
    )


def _connectors(config: Settings) -> McpTools | None:
    if not config.mcp_file:
        return None
    from jupyterlab_postdoc.tools.mcp import McpTools

    return McpTools(_file(config.mcp_file))


def _fetcher(config: Settings) -> Fetcher | None:
    if not config.fetch_hosts:
        return None
    return Fetcher(
        max_bytes=config.fetch_limit_mb << 20,
        timeout_s=FETCH_TIMEOUT_S,
        allowed_hosts=config.fetch_hosts,
        private_hosts=config.fetch_private_hosts,
    )


def _file(name: str) -> Path | None:
    return Path(name).expanduser() if name else None


def _text(name: str) -> str:
    path = _file(name)
    if path is None:
        return ""
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as e:
        raise PostdocError(
            "bad_message",
            f"The base prompt {path.name} cannot be read: {e}.",
            next="Correct PostdocApp.base_prompt_file.",
        ) from e


def _research_dir(config: Settings) -> str:
    parts = Path(config.research_dir).parts
    if not parts or Path(config.research_dir).is_absolute() or ".." in parts:
        raise ValueError("PostdocApp.research_dir must be a folder below the server's root directory.")
    return Path(config.research_dir).as_posix()
