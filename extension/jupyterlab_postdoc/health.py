"""How the server is: for each part, whether it works, and if not, what to do."""

from __future__ import annotations

from typing import Any

from jupyterlab_postdoc import __version__
from jupyterlab_postdoc.agent.research import Lab
from jupyterlab_postdoc.errors import PostdocError
from jupyterlab_postdoc.log import EventLog
from jupyterlab_postdoc.workspace import sandbox


async def health(log: EventLog, lab: Lab) -> dict[str, Any]:
    """``{"ok", "version", "parts": {name: {"ok", "message", "next"?, …}}}``; ok is False when research cannot run."""
    parts = {
        "store": await _store(log),
        "provider": _part(
            True,
            "Research runs on template scripts; no AI model is configured, so free chat is not answered.",
            "Nothing is needed for research.",
            provider="template",
        ),
        "sandbox": await _sandbox(lab),
        "git": await _git(lab),
        "github": _part(True, "Not connected. Repositories are kept on this machine.", provider="local"),
        "notebooks": _notebooks(),
        "templates": _templates(lab),
    }
    needed = ("store", "git", "notebooks")
    return {"ok": all(parts[name]["ok"] for name in needed), "version": __version__, "parts": parts}


def _part(ok: bool, message: str, next: str = "", **more: Any) -> dict[str, Any]:
    return {"ok": ok, "message": message, **({"next": next} if next else {}), **more}


async def _store(log: EventLog) -> dict[str, Any]:
    found = await log.store.health()
    warnings = found.get("warnings") or []
    message = " ".join(warnings) or f"{found['kind']}, journal mode {found.get('journal', 'unknown')}."
    return _part(bool(found.pop("ok")), message, **found)


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


def _templates(lab: Lab) -> dict[str, Any]:
    problems = lab.templates.problems()
    count = len(lab.templates.list())
    if not problems:
        return _part(True, f"{count} research templates.")
    broken = " ".join(f"{path.name}: {sentence}" for path, sentence in problems)
    return _part(False, f"{count} research templates; not usable: {broken}", "Run `jupyter postdoc templates check`.")
