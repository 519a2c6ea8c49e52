"""What an administrator can set, in `jupyter_server_config.py` or on the command line as `PostdocApp.<name>`."""

from __future__ import annotations

import os
from pathlib import Path

from jupyter_core.paths import jupyter_data_dir
from traitlets import Bool, Dict, Enum, Float, HasTraits, Int, List, Type, Unicode, default


class Settings(HasTraits):
    """All settings of the extension, with their defaults."""

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
    max_concurrent_runs = Int(16, min=1, help="Runs at work at the same time in this server.").tag(config=True)
    max_turns = Int(40, min=1, help="Agent turns that one run may take.").tag(config=True)
    max_minutes = Float(60.0, min=0.1, help="Minutes that one run may work.").tag(config=True)
    notebook_timeout_s = Float(900.0, min=1.0, help="Seconds until a running notebook is stopped.").tag(config=True)
    memory_limit_mb = Int(4096, min=512, help="Memory of one notebook or command, in MiB.").tag(config=True)
    notebook_idle_minutes = Float(
        30.0, min=0.05, help="Minutes until a live notebook that nobody uses is saved and closed."
    ).tag(config=True)
    max_notebooks = Int(20, min=1, help="Live notebooks that may be open at the same time in this server.").tag(
        config=True
    )
    stop_grace_s = Float(5.0, min=0.0, help="Seconds that runs get to reach a step's end when the server stops.").tag(
        config=True
    )
    default_model = Unicode("haiku", help="Model of chats that choose none: a name, or haiku, sonnet or opus.").tag(
        config=True
    )
    allowed_models = List(Unicode(), ["*"], help="Patterns of the models that may be used.").tag(config=True)
    anonymous_models = List(
        Unicode(), ["claude-haiku-*"], help="Patterns of the models for users without a login."
    ).tag(config=True)
    anthropic_api_key_file = Unicode(
        "", help="File (mode 0600) with the key for Claude; empty: the environment's ANTHROPIC_API_KEY."
    ).tag(config=True)
    anthropic_base_url = Unicode(
        help="Address of the Messages API; default: the environment's ANTHROPIC_BASE_URL, else Anthropic's own."
    ).tag(config=True)
    model_read_timeout_s = Float(75.0, min=1.0, help="Seconds of silence after which a reply counts as cut off.").tag(
        config=True
    )
    model_attempts = Int(6, min=1, help="How often a reply that was cut off or refused for load is asked for.").tag(
        config=True
    )
    model_retry_wait_s = Float(
        1.0, min=0.0, help="Seconds before a reply is asked for again; twice as long each time."
    ).tag(config=True)
    web_tools = Bool(
        None,
        allow_none=True,
        help="Offer the provider's own web search and fetch; default: only at Anthropic's own address.",
    ).tag(config=True)
    context_management = Bool(
        None,
        allow_none=True,
        help="Let the provider clear old tool results by itself; default: only at Anthropic's own address.",
    ).tag(config=True)
    compact_at_tokens = Int(150_000, min=2_000, help="A conversation longer than this is summed up.").tag(config=True)
    budget_usd_run = Float(5.0, min=0.0, help="US dollars that one message or research may cost; 0: no limit.").tag(
        config=True
    )
    budget_usd_session = Float(20.0, min=0.0, help="US dollars that one session may cost; 0: no limit.").tag(
        config=True
    )
    budget_usd_day = Float(50.0, min=0.0, help="US dollars that one user may spend in a day (UTC); 0: no limit.").tag(
        config=True
    )
    model_prices = Dict(
        help="Prices of models that the built-in list does not know: pattern -> {input, output, cache_read, "
        "cache_write} in US dollars per million tokens."
    ).tag(config=True)
    approval_hours = Float(24.0, min=0.01, help="Hours until a request for leave counts as denied.").tag(config=True)
    fetch_hosts = List(Unicode(), ["*"], help="Patterns of the hosts that data may be fetched from; none: never.").tag(
        config=True
    )
    fetch_private_hosts = List(
        Unicode(), help="host:port of data servers in your own network; all other private addresses are refused."
    ).tag(config=True)
    fetch_limit_mb = Int(200, min=1, help="Size of a file that an agent may fetch, in MiB.").tag(config=True)
    mcp_file = Unicode("", help="File with MCP servers whose tools agents may use (see docs/mcp.md).").tag(config=True)
    base_prompt_file = Unicode("", help="Text file that every agent is told first.").tag(config=True)
    telemetry = Bool(False, help="Send OpenTelemetry spans (see docs/telemetry.md).").tag(config=True)
    missing_packages = Enum(
        ["ask", "install", "never"],
        default_value="ask",
        help="Packages that a study imports and that are not installed: ask the user (ask), install them into the "
        "project's own environment without asking (install), or never (see docs/environments.md).",
    ).tag(config=True)
    kernel_idle_minutes = Float(60.0, min=0.1, help="Minutes until an unused kernel of an agent is shut down.").tag(
        config=True
    )
    github_api_url = Unicode(
        help="Address of GitHub's API; GitHub Enterprise Server: https://HOST/api/v3. Default: the environment's "
        "GITHUB_API_URL, else GitHub's own.",
    ).tag(config=True)
    github_git_url = Unicode(
        "", help="Address of git, when it is another than the API's answers say: https://HOST (a proxy, for example)."
    ).tag(config=True)
    github_token_file = Unicode(
        "", help="File (mode 0600) with a GitHub token for all users; empty: the environment's GITHUB_TOKEN, GH_TOKEN."
    ).tag(config=True)
    github_app_id = Unicode("", help="Id (or client id) of a GitHub App that publishes instead of a token.").tag(
        config=True
    )
    github_app_key_file = Unicode("", help="File (mode 0600) with the private key of the GitHub App.").tag(config=True)
    github_installation_id = Int(0, min=0, help="Installation of the GitHub App; 0: that of github_owner.").tag(
        config=True
    )
    github_owner = Unicode("", help="User or organisation that new repositories belong to; empty: the token's.").tag(
        config=True
    )
    github_private = Bool(True, help="Whether new repositories are private.").tag(config=True)
    github_topics = List(
        Unicode(), ["marimo", "research"], help="Topic labels of new repositories, beside one of the study's topic."
    ).tag(config=True)
    github_publish = Enum(
        ["auto", "end", "ask"],
        default_value="auto",
        help="Publish when a study has come to its end (end), only when somebody asks for it (ask), or (auto) at the "
        "end where GitHub was connected for Postdoc; a token that lies in the environment then waits to be asked.",
    ).tag(config=True)
    github_squash = Bool(False, help="Send one commit in place of the history of steps.").tag(config=True)
    github_pages = Bool(False, help="Add a workflow that publishes the report as GitHub Pages.").tag(config=True)
    github_allow_workflows = Bool(
        False, help="Let agents change what lies in .github/workflows; else a push with such a change is refused."
    ).tag(config=True)
    github_max_file_mb = Int(50, min=1, max=100, help="Largest file that is pushed, in MiB; GitHub takes 100.").tag(
        config=True
    )
    github_poll_s = Float(
        60.0, min=5.0, help="Seconds between two looks at a pull request; 15 while somebody watches."
    ).tag(config=True)
    chat_provider = Type(
        default_value=None,
        allow_none=True,
        klass=object,
        help="Class of another provider that drives chats and research (see providers/base.py); none: Claude.",
    ).tag(config=True)

    @default("data_dir")
    def _default_data_dir(self) -> str:
        return str(Path(jupyter_data_dir()) / "postdoc")

    @default("github_api_url")
    def _default_github(self) -> str:
        return os.environ.get("GITHUB_API_URL", "https://api.github.com")

    @default("anthropic_base_url")
    def _default_base_url(self) -> str:
        return os.environ.get("ANTHROPIC_BASE_URL", "")
