"""What is said when a research run has ended: the verdict, where everything is, and what to do next."""

from __future__ import annotations

import json
import os
import re
import shlex
import sys
from pathlib import Path
from typing import Any

from .asking import answer_command
from .follow import Ending, Follower
from .names import me, program
from .problems import DONE, FAILED, USAGE, WAITING
from .render import WHY, figures, money
from .screen import Screen
from .server import Server
from .text import clean, duration, one_line

Frame = dict[str, Any]


class Places:
    """Where the project lies, as a person at this terminal would write it."""

    def __init__(self, project: Frame | None, server: Server) -> None:
        project = project or {}
        self._root = server.root
        path = project.get("path") or ""
        self.repo = self._local(path) if path else None
        self.repo_shown = self._shown(path)
        self.notebook = self._shown(project.get("notebook"), path)
        self.report = self._shown(project.get("report"), path)
        self.report_file = self._existing(project.get("report"), path)
        self.commit = one_line(project.get("commit") or "")

    def _local(self, path: str, within: str = "") -> Path | None:
        if self._root is None:
            return None
        inside = within and not path.startswith(f"{within}/")
        return self._root / within / path if inside else self._root / path

    def _shown(self, path: object, within: str = "") -> str:
        if not path:
            return ""
        text = one_line(path)
        local = self._local(str(path), within)
        if local is None:
            return text
        relative = os.path.relpath(local, Path.cwd())
        return str(local) if relative.startswith("..") else relative

    def _existing(self, path: object, within: str) -> Path | None:
        local = self._local(str(path), within) if path else None
        return local if local is not None and local.is_file() else None


def tell(screen: Screen, ending: Ending, chat: Frame, server: Server, again: str, log: Path | None = None) -> int:
    """Print the end of a research run; returns the exit code. `again` is the command that ran it."""
    places = Places(chat.get("project"), server)
    if ending.success:
        _verdict(screen, ending)
        _where(screen, places)
        _next(screen, places, again)
        return DONE
    _stopped(screen, ending, places, str(chat.get("id", "")), log)
    return exit_code(ending)


def waits(follower: Follower, chat: str, frame: Frame) -> int:
    """Nobody is here to answer `frame`: say how to do that from elsewhere, and how to follow on; the exit code."""
    follower.screen.close()
    what = one_line(frame.get("what") or frame.get("question"))
    answer, follow = answer_command(chat, frame), f"{me()} watch {chat} --until-done"
    if follower.as_json:
        problem = {"code": "waiting", "error": f"The agent waits for an answer: {what}", "next": answer}
        print(json.dumps(problem, ensure_ascii=False), file=sys.stderr, flush=True)
        return WAITING
    follower.screen.line("The agent waits for an answer, and nobody is at this terminal to give it.", "yellow")
    follower.screen.line(f"Answer with: {answer}", indent="  ")
    follower.screen.line(f"Then follow: {follow}", indent="  ")
    return WAITING


def exit_code(ending: Ending) -> int:
    """0 done, 2 when what was asked for cannot be used, 4 when it waits for an answer, else 1."""
    if ending.waiting is not None:
        return WAITING
    if ending.success:
        return DONE
    if ending.unanswered is not None or (ending.error or {}).get("code") in {"bad_message", "not_found"}:
        return USAGE
    return FAILED


def _verdict(screen: Screen, ending: Ending) -> None:
    result = ending.result or {}
    verdict = result.get("verdict")
    screen.line()
    if isinstance(verdict, dict):
        supported = verdict.get("supported")
        said = "supported by the data" if supported else "not supported by the data"
        screen.line(f"Verdict: {said}", "bold", "green" if supported else "yellow")
        if verdict.get("claim"):
            screen.line(f"Claim: {clean(verdict['claim'])}", indent="  ")
        screen.line(clean(verdict.get("summary") or result.get("summary") or ""), indent="  ")
        if facts := figures(verdict):
            screen.line(f"Figures: {facts}", indent="  ")
        if verdict.get("data"):
            simulated = re.match(r"synthetic(-null)?(?![\w./-])", str(verdict["data"]))
            note = "; they show that the method works, nothing about the world" if simulated else ""
            screen.line(f"Data: {one_line(verdict['data'])}{note}.", indent="  ")
    elif result.get("summary"):
        screen.line("Result", "bold")
        screen.line(clean(result["summary"]), indent="  ")
    took = duration(result.get("duration_ms"))
    if result.get("provider") == "template":
        by = f"Written by a research template{f' in {took}' if took else ''}"
        screen.line(f"{by}; no language model took part and nothing was paid.", "dim", indent="  ")
    else:
        screen.line(spent(ending, took), "dim", indent="  ")


def spent(ending: Ending, took: str) -> str:
    """Which model it was, how long it took and what that cost."""
    by = ", ".join(sorted(one_line(model) for model in ending.models if model)) or "a language model"
    note = "; a price is not known" if ending.unpriced else ""
    return f"By {by}{f' in {took}' if took else ''}: {money((ending.result or {}).get('cost'))}{note}."


def _where(screen: Screen, places: Places) -> None:
    rows = [
        ("Notebook", places.notebook),
        ("Report", places.report),
        ("Repository", places.repo_shown + (f"  (commit {places.commit[:10]})" if places.commit else "")),
    ]
    screen.line()
    for name, value in rows:
        if value.strip():
            screen.line(f"{name:<11} {value}", indent="  ")


def _next(screen: Screen, places: Places, again: str) -> None:
    screen.line()
    screen.line("What next", "bold")
    if places.report_file:
        screen.line(f"- Read the report in a browser: {places.report_file.resolve().as_uri()}", indent="  ")
    if places.notebook:
        screen.line(
            f"- Change a control and look again: {program('marimo')} edit {shlex.quote(places.notebook)}", indent="  "
        )
    if places.repo_shown:
        screen.line(f"- See each step: git -C {shlex.quote(places.repo_shown)} log --stat", indent="  ")
    screen.line(f"- Use your own data: {again}", indent="  ")


def _stopped(screen: Screen, ending: Ending, places: Places, chat: str, log: Path | None) -> None:
    result = ending.result or {}
    why = str(result.get("stop_reason") or ending.reason or ending.state or "")
    screen.line()
    if ending.state == "stopped" or why in {"user", "stopped"}:
        screen.line("Stopped, as you asked.", "bold", "yellow")
    elif ending.state == "paused":
        screen.line(f"Paused: {WHY.get(ending.reason, one_line(ending.reason) or 'it waits')}.", "bold", "yellow")
    else:
        screen.line(f"The research did not come to a verdict: {WHY.get(why, 'the reason is above')}.", "bold", "red")
    if result.get("cost"):
        screen.line(spent(ending, duration(result.get("duration_ms"))), "dim", indent="  ")
    kept = [f"the notebook {places.notebook}"] if places.notebook else []
    if ending.commits:
        commits = "1 commit" if ending.commits == 1 else f"{ending.commits} commits"
        kept.append(f"{commits} in {places.repo_shown or 'the repository'}")
    elif places.repo_shown:
        kept.append(f"the repository {places.repo_shown}")
    kept.append("the whole conversation")
    screen.line(f"Kept: {', '.join(kept)}.", indent="  ")
    if chat and ending.unanswered is None:
        if (ending.error or {}).get("code") != "notebook_failed":  # that would fail again in the same way
            screen.line(f"Carry on: {me()} resume {chat}", indent="  ")
        screen.line(f"Look back: {me()} chats show {chat}", indent="  ")
    if log is not None:
        screen.line(f"The server's log: {log}", indent="  ")
