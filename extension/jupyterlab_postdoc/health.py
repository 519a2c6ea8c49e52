"""How the server is: for each part, whether it works, and if not, what to do."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from jupyterlab_postdoc import __version__
from jupyterlab_postdoc.agent.research import Lab
from jupyterlab_postdoc.errors import PostdocError
from jupyterlab_postdoc.log import EventLog
from jupyterlab_postdoc.models import GET_KEY, ModelCatalogue
from jupyterlab_postdoc.notebooks.live import Editors
from jupyterlab_postdoc.workspace import sandbox

DAY_S = 86_400

if TYPE_CHECKING:
    from jupyterlab_postdoc.agent.spend import Budgets


class Connectors(Protocol):
    """The MCP servers of the configuration."""

    def problems(self) -> Sequence[str]:
        """What is wrong with the file or with a server, a sentence each."""
        ...


class Part(Protocol):
    """The connection to GitHub (forge/connection.py)."""

    async def part(self, user: str) -> dict[str, Any]:
        """This part for that user, within two seconds."""
        ...


@dataclass(frozen=True)
class Beside:
    """What there is beside the lab and its models. ``web_tools`` None: only at Anthropic's own address."""

    connectors: Connectors | None = None
    github: Part | None = None
    budgets: Budgets | None = None
    web_tools: bool | None = None


async def health(log: EventLog, lab: Lab, models: ModelCatalogue, beside: Beside, owner: str) -> dict[str, Any]:
    """``{"ok", "version", "parts": {name: {"ok", "message", "next"?, …}}}``; ok is False when research cannot run.

    ``owner`` is who asks: what they have spent today (UTC) is told to them only.
    """
    if models.configured:
        await models.models()  # whoever has just started the server wants to know whether the key is accepted
    parts = {
        "store": await _store(log),
        "provider": _provider(models),
        "sandbox": await _sandbox(lab),
        "git": await _git(lab),
        "github": await beside.github.part(owner) if beside.github is not None else _local(),
        "notebooks": _notebooks(),
        "templates": _templates(lab),
    }
    if lab.editors is not None:
        parts["live"] = await _live(lab, lab.editors)
    if models.configured:
        parts |= {"budgets": await _budgets(log, beside.budgets, owner), "web": _web(beside.web_tools)}
    if beside.connectors is not None:
        parts["connectors"] = _connectors(beside.connectors)
    needed = ("store", "git", "notebooks")
    return {"ok": all(parts[name]["ok"] for name in needed), "version": __version__, "parts": parts}


def _part(ok: bool, message: str, next: str = "", **more: Any) -> dict[str, Any]:
    return {"ok": ok, "message": message, **({"next": next} if next else {}), **more}


def _local() -> dict[str, Any]:
    return _part(True, "Repositories are kept on this machine.", provider="local")


async def _store(log: EventLog) -> dict[str, Any]:
    found = await log.store.health()
    warnings = found.get("warnings") or []
    message = " ".join(warnings) or f"{found['kind']}, journal mode {found.get('journal', 'unknown')}."
    return _part(bool(found.pop("ok")), message, **found)


def _provider(models: ModelCatalogue) -> dict[str, Any]:
    """Without a key all is well, templates need none; a key that does not work is a problem."""
    if models.provider is None or not models.configured:
        message = "No AI model is configured: research runs on template scripts, and free chat is not answered."
        return _part(True, message, GET_KEY, provider="template")
    status = dict(models.status())
    ok, next = bool(status.pop("ok")), str(status.pop("next", ""))
    if not ok:
        next = f"{next} Until then research runs with the provider `template`, when you ask for it.".strip()
    return _part(ok, str(status.pop("message")), next, provider=models.provider.id, **status)


async def _budgets(log: EventLog, budgets: Budgets | None, owner: str) -> dict[str, Any]:
    limits = {
        "a run": budgets.run_usd if budgets else None,
        "a chat": budgets.session_usd if budgets else None,
        "a user's day": budgets.day_usd if budgets else None,
    }
    spent = await log.store.spent(owner=owner, since=time.time() // DAY_S * DAY_S)
    calls = "1 call" if spent.calls == 1 else f"{spent.calls} calls"
    unknown = f", {spent.unpriced} of them at an unknown price" if spent.unpriced else ""
    today = f"You have spent about ${spent.cost:,.2f} today ({calls}{unknown})."
    figures: dict[str, Any] = {"spentToday": spent.cost, "callsToday": spent.calls, "unpricedToday": spent.unpriced}
    told = ", ".join(f"${usd:g} for {what}" for what, usd in limits.items() if usd is not None)
    if told:
        return _part(True, f"At most {told}. {today}", **figures)
    hint = "PostdocApp.budget_usd_run, budget_usd_session and budget_usd_day limit what models may cost."
    return _part(True, f"No limit on what models may cost. {today}", hint, **figures)


def _web(web_tools: bool | None) -> dict[str, Any]:
    said = {True: "on", False: "off", None: "on at Anthropic's own address, off elsewhere"}[web_tools]
    return _part(True, f"The provider's web search and fetch are {said}; a persona must list them too.")


def _connectors(connectors: Connectors) -> dict[str, Any]:
    problems = [str(problem) for problem in connectors.problems()]
    if not problems:
        return _part(True, "No problem with the MCP servers of the configuration.")
    return _part(False, " ".join(problems), "Correct the file that PostdocApp.mcp_file names; see docs/mcp.md.")


async def _sandbox(lab: Lab) -> dict[str, Any]:
    status = await sandbox.probe()
    if status.available:
        return _part(True, f"{status.name}: notebooks and commands see only their own project.")
    leave = "unsandboxed runs are allowed" if lab.allow_unsandboxed else "only templates that ship with Postdoc run"
    return _part(False, f"{status.why} Until then {leave}.", status.install_hint)


async def _git(lab: Lab) -> dict[str, Any]:
    try:
        version = await lab.git.version()
    except PostdocError as e:
        return _part(False, e.message, e.next)
    return _part(True, f"git {'.'.join(map(str, version))}")


def _notebooks() -> dict[str, Any]:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return _part(True, f"marimo {version('marimo')}")
    except PackageNotFoundError:
        return _part(False, "marimo is not installed.", "Run `pip install marimo` in the server's environment.")


async def _live(lab: Lab, editors: Editors) -> dict[str, Any]:
    """The live notebooks: how many are open, and whether one could be."""
    found = editors.running()
    up = sum(status.state in ("ready", "following", "starting") for status in found)
    failed = [status.message for status in found if status.state == "failed"]
    busy = sum(status.kernel == "busy" for status in found)
    figures: dict[str, Any] = {"open": up, "busy": busy, "failed": len(failed)}
    status = await sandbox.probe()
    if not status.available and not lab.allow_unsandboxed:
        return _part(False, f"No live notebook can be opened. {status.why}", status.install_hint, **figures)
    told = f"{up} live {'notebook' if up == 1 else 'notebooks'}"
    if failed:
        return _part(False, f"{told}; {failed[0]}", "Open the notebook again.", **figures)
    plain = "" if status.available else " They run without a sandbox and see all that the server sees."
    return _part(True, f"{told}.{plain}", **figures)


def _templates(lab: Lab) -> dict[str, Any]:
    problems = lab.templates.problems()
    count = len(lab.templates.list())
    if not problems:
        return _part(True, f"{count} research templates.")
    broken = " ".join(f"{path.name}: {sentence}" for path, sentence in problems)
    return _part(False, f"{count} research templates; not usable: {broken}", "Run `jupyter postdoc templates check`.")
