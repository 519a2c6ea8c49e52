"""The provider that needs no key: a template's script, streamed through the same loop and tools as a model's reply.

It is labelled wherever it shows, costs nothing and thinks nothing. It keeps no state: which turn comes next follows
from the turns that are done and from what their tools answered, so a run that was cut off goes on where it was.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from jupyterlab_postdoc.errors import PostdocError
from jupyterlab_postdoc.providers.base import ModelEvent, TextDelta, ToolCall, ToolOutcome, Turn, TurnEnd, TurnRequest
from jupyterlab_postdoc.templates import Template, TemplateRegistry

if TYPE_CHECKING:
    from jinja2.sandbox import SandboxedEnvironment

PIECE = re.compile(r"\S+\s*|\s+")
WORDS_PER_DELTA = 4


@dataclass(frozen=True)
class Failure:
    """The first call of a turn that did not work: what the script's texts know as ``failed``."""

    tool: str
    cell: str
    error: str
    stale: bool = False
    """The notebook was changed since it ran."""

    def as_dict(self) -> dict[str, str]:
        return {"tool": self.tool, "cell": self.cell, "error": self.error}


@dataclass(frozen=True)
class Reply:
    """The next turn: its text and its calls. Without calls it is the last one."""

    say: str
    calls: list[dict[str, Any]]


class TemplateProvider:
    """Plays ``script.yaml`` of the run's template. A failing cell gets the template's repair once, then it gives up.

    Cells are written in the script's order and stand in that of ``notebook.py``: each is put behind the nearest one
    before it that is there already. A cell that a person has changed meanwhile stays as they made it: the script goes
    on without it.
    """

    id = "template"
    label = "Template script (no AI model)"

    def __init__(self, templates: TemplateRegistry, *, pace_s: float = 0.004) -> None:
        self._templates = templates
        self._pace_s = pace_s

    async def stream(self, request: TurnRequest) -> AsyncIterator[ModelEvent]:
        """The text in small pieces, then the calls. Raises not_found when the template is gone."""
        template = self._templates.get(str(request.task["template"]))
        try:
            reply = Script(template, request).next_reply()
        except (KeyError, TypeError, ValueError, AttributeError, OSError) as e:
            raise PostdocError(
                "tool_failed",
                f"The script of template {template.name} is not of the right form: {type(e).__name__}: {e}.",
                next=f"Run `jupyter postdoc templates check {template.name}`.",
            ) from e
        words = PIECE.findall(_heard(request.steer) + reply.say)
        for start in range(0, len(words), WORDS_PER_DELTA):
            yield TextDelta("".join(words[start : start + WORDS_PER_DELTA]))
            await asyncio.sleep(self._pace_s)
        for number, call in enumerate(reply.calls):
            call_id = f"tu_{request.run[-8:]}_{len(request.turns)}_{number}"
            yield ToolCall(call_id, call["tool"], call["input"])
        yield TurnEnd("tool_use" if reply.calls else "end_turn")


class Script:
    """A template's script at the point that the finished turns have reached."""

    def __init__(self, template: Template, request: TurnRequest) -> None:
        self.template = template
        self.request = request
        self.results: dict[str, Any] = {}
        self.verdict: dict[str, Any] | None = None
        self.failure: Failure | None = None
        self.theirs: set[str] = set()
        """The cells that a person has changed: they are left out from then on."""
        self.there: set[str] = set()
        """The cells that are in the notebook, as far as the answers tell."""

    def next_reply(self) -> Reply:
        """Walk the finished turns along the script, then render what comes after them."""
        position, repaired, reran, gave_up = self._next(0), False, False, False
        rerunning, kept = False, ""
        script = self.template.script
        for turn in self.request.turns:
            names = conflicts(turn)
            self.theirs |= set(names)
            self._remember(script[min(position, len(script) - 1)]["id"], turn)
            kept = f"The researcher has changed {', '.join(names)}; their version stays. " if names else ""
            gone = self._written(turn)
            if gone:
                kept += f"{', '.join(gone)} is no longer in the notebook; what follows goes behind the cell before it. "
            if gone or (names and self._unwritten(turn)):
                self.failure = None
                continue
            self.failure = first_failure(turn)
            if self.failure is None:
                position = position if rerunning else self._next(position + 1)
                rerunning = False
            elif self.failure.stale and not reran:
                reran = rerunning = True
            elif not repaired and self._repair_of(self.failure) is not None:
                repaired = True
            else:
                gave_up = True
        if self.failure is not None:
            return self._after_failure(self.failure, gave_up)
        if position >= len(script):
            return Reply(kept, [])
        reply = self._scripted(script[position])
        return Reply(kept + reply.say, reply.calls)

    def _next(self, position: int) -> int:
        """The turn at ``position``, or the first one after it of which something is left to do."""
        script = self.template.script
        while position < len(script) and not self._anything_left(script[position]):
            position += 1
        return position

    def _anything_left(self, turn: Mapping[str, Any]) -> bool:
        calls = turn.get("calls") or []
        return "plan" in turn or not calls or any(self._wanted(call) for call in calls)

    def _wanted(self, call: Mapping[str, Any]) -> bool:
        """Whether a call is to be made: an edit of nothing but a person's cells is not."""
        return not call.get("cells") or not set(call["cells"]) <= self.theirs

    def _unwritten(self, turn: Turn) -> bool:
        """Whether an edit that was refused for a person's cells held others too: those are still to be written."""
        refused = [call for call in turn.calls if is_conflict(turn.results.get(call.id))]
        return any(change.get("name") not in self.theirs for call in refused for change in call.input["changes"])

    def _written(self, turn: Turn) -> list[str]:
        """Learn which cells this turn left in the notebook.

        Answers those that it wanted to put others behind and that are gone, because a person has deleted or renamed
        them: then its edit is to be made again.
        """
        gone = []
        for call in turn.calls:
            outcome = turn.results.get(call.id)
            if outcome is None or call.name != "nb_edit":
                continue
            if outcome.ok:
                for change in call.input["changes"]:
                    (self.there.discard if change["op"] == "delete" else self.there.add)(change["name"])
            elif is_conflict(outcome):
                self.there |= set(conflicts_of(outcome))
            elif outcome.data.get("after") in self.there:
                gone.append(outcome.data["after"])
                self.there &= set(outcome.data.get("cells") or [])
        return gone

    def _remember(self, turn_id: str, turn: Turn) -> None:
        for call in turn.calls:
            outcome = turn.results.get(call.id)
            if outcome is None:
                continue
            self.results[turn_id] = outcome.data
            if call.name == "nb_run" and isinstance(outcome.data.get("verdict"), dict):
                self.verdict = outcome.data["verdict"]

    def _repair_of(self, failure: Failure) -> str | None:
        ours = failure.tool == "nb_run" and failure.cell and failure.cell not in self.theirs
        return self.template.repair(failure.cell) if ours else None

    def _after_failure(self, failure: Failure, gave_up: bool) -> Reply:
        if failure.stale and not gave_up:
            return Reply("The notebook was changed since it ran, so it runs again.", [{"tool": "nb_run", "input": {}}])
        code = None if gave_up else self._repair_of(failure)
        if code is None:
            return Reply(f"{failure.error} The study stops here; what was made so far is kept.", [])
        say = (
            f"The cell `{failure.cell}` failed: {failure.error} "
            "The template has a simpler form of this cell; it takes its place."
        )
        put = {"op": "put", "name": failure.cell, "code": code}
        return Reply(
            say,
            [{"tool": "nb_edit", "input": {"changes": [put]}}, {"tool": "nb_run", "input": {}}],
        )

    def _scripted(self, turn: Mapping[str, Any]) -> Reply:
        calls: list[dict[str, Any]] = []
        if "plan" in turn:
            calls.append({"tool": "plan", "input": {"items": self._plan(int(turn["plan"]))}})
        there = set(self.there)
        for call in filter(self._wanted, turn.get("calls") or []):
            given = self._render_all(call.get("input") or {})
            if call.get("cells"):
                given["changes"] = self._puts(call["cells"], there)
            calls.append({"tool": call["tool"], "input": given})
        return Reply(self._render(str(turn.get("say") or "")).strip(), calls)

    def _plan(self, active: int) -> list[dict[str, str]]:
        states = ("done", "active", "pending")
        return [
            {"text": text, "state": states[1 + (number > active) - (number < active)]}
            for number, text in enumerate(self.template.plan)
        ]

    def _puts(self, names: list[str], there: set[str]) -> list[dict[str, Any]]:
        """These cells, each to its place among those that are ``there``; adds them to these."""
        task = self.request.task
        cells = self.template.cells(topic=task["topic"], parameters=task["parameters"], study=task.get("study") or {})
        puts: list[dict[str, Any]] = []
        before = ""
        for cell in cells:
            if cell.name in names and cell.name not in self.theirs:
                put = {"op": "put", "name": cell.name, "code": cell.code, "hide_code": cell.hide_code, "after": before}
                puts.append(put)
                there.add(cell.name)
            if cell.name in there:
                before = cell.name
        return puts

    def _render_all(self, value: Any) -> Any:
        if isinstance(value, str):
            return self._render(value).strip()
        if isinstance(value, dict):
            return {name: self._render_all(part) for name, part in value.items()}
        if isinstance(value, list):
            return [self._render_all(part) for part in value]
        return value

    def _render(self, text: str) -> str:
        task = self.request.task
        variables = {
            "topic": task["topic"],
            "parameters": task["parameters"],
            "repo_name": task.get("repo_name", ""),
            "template": {"name": self.template.name, "version": self.template.version, "title": self.template.title},
            "results": self.results,
            "verdict": self.verdict or {},
            "failed": self.failure.as_dict() if self.failure else None,
        }
        import jinja2

        try:
            return _jinja().from_string(text).render(variables)
        except jinja2.TemplateError as e:
            raise PostdocError(
                "tool_failed",
                f"The script of template {self.template.name} cannot be rendered: {e}",
                next=f"Run `jupyter postdoc templates check {self.template.name}`.",
            ) from e


def _heard(steer: Sequence[str]) -> str:
    """A script cannot take advice; who gives it must not believe that it was followed."""
    if not steer:
        return ""
    return (
        "Your message is kept, but this study follows a template's script, which cannot change its course. "
        "To change something, stop it and start again with other parameters.\n\n"
    )


def is_conflict(outcome: ToolOutcome | None) -> bool:
    """Whether an edit was refused because a person has changed its cells."""
    return outcome is not None and not outcome.ok and outcome.data.get("code") == "version_conflict"


def conflicts(turn: Turn) -> list[str]:
    """The cells of a person that an edit of this turn would have replaced."""
    found: dict[str, None] = {}
    for call in turn.calls:
        outcome = turn.results.get(call.id)
        if outcome is not None and call.name == "nb_edit" and is_conflict(outcome):
            found |= dict.fromkeys(conflicts_of(outcome))
    return list(found)


def conflicts_of(outcome: ToolOutcome) -> list[str]:
    """The cells of a person that a refused edit would have replaced."""
    return list(outcome.data.get("cells") or [str(outcome.data.get("cell"))])


def first_failure(turn: Turn) -> Failure | None:
    """The first call of the turn that failed, and for a notebook run its first failing cell.

    An edit that a person's change has refused is no failure.
    """
    for call in turn.calls:
        outcome = turn.results.get(call.id)
        if outcome is None or outcome.ok or (call.name == "nb_edit" and is_conflict(outcome)):
            continue
        return _failure(call, outcome)
    return None


def _failure(call: ToolCall, outcome: ToolOutcome) -> Failure:
    failed = outcome.data.get("failed") or []
    if call.name == "nb_run" and failed:
        error = (outcome.data.get("errors") or {}).get(failed[0]) or outcome.content
        return Failure(call.name, failed[0], _sentence(error))
    stale = call.name == "finish" and bool(outcome.data.get("stale"))
    return Failure(call.name, "", _sentence(outcome.content), stale)


def _sentence(text: str) -> str:
    line = text.strip().splitlines()[0] if text.strip() else "It failed without a message."
    return line if line.endswith((".", "!", "?")) else line + "."


@lru_cache(maxsize=1)
def _jinja() -> SandboxedEnvironment:
    from jinja2 import StrictUndefined
    from jinja2.sandbox import SandboxedEnvironment

    return SandboxedEnvironment(autoescape=False, undefined=StrictUndefined)
