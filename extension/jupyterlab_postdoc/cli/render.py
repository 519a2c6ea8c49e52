"""A session's events in plain words."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

from .screen import Screen
from .text import bar, clean, duration, number, one_line

Frame = dict[str, Any]

_QUIET = {"usage", "queue_changed", "cell", "tool_output", "tool_input", "session_state"}
_MARKS = {"done": "+", "skipped": "-", "failed": "!"}
_STEPS = {
    "check": "Looked through what is sent",
    "create": "Repository",
    "push": "Default branch",
    "topics": "Topic labels",
    "branch": "Branch",
    "pull_request": "Pull request",
}
_PIECES = {"token", "usage", "tool_input"}  # what comes while a text forms, and does not end it
MAX_INPUT_LINES = 20
WHY = {
    "max_turns": "it used all the turns it was given",
    "stopped": "it was stopped",
    "provider_stream_error": "the model's answer broke off, although it was asked for several times",
    "provider_timeout": "the model did not answer in time, although it was asked several times",
    "provider_overloaded": "the model is overloaded",
    "provider_rate_limited": "the model takes no more requests for now",
    "retries": "the model could not be reached, although it was asked several times",
    "refusal": "the model declined",
    "provider_auth": "the key for the model was not accepted",
    "no_model": "there is no model to do it",
    "budget_exceeded": "it used up its budget",
    "stuck": "it went round in circles",
    "budget": "it used up its budget",
    "user": "it was stopped",
    "crash": "the server broke down",
    "internal": "something went wrong in the server",
}
"""Why a run ended, where the end was not a good one."""
RISKS = {
    "read": "it reads",
    "write": "it changes files of the project",
    "execute": "it runs code in the sandbox",
    "outside": "it leaves this machine",
}


class Story:
    """Tells one session to a person: status, text, plan, tools; the end is told by `endings`."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._item: str | None = None
        self._told: dict[str, str] = {}  # by item, what was shown of it as it came
        self._status: tuple[str, float] = ("", 0.0)
        self._held = ""  # a text that may be the summary, which the end tells anyway
        self._said = ""
        self._reported = False
        self._plan: list[str] | None = None
        self._titles: dict[str, str] = {}
        self._inputs: dict[str, Frame] = {}
        self._published: set[tuple[str, str]] = set()
        self._hand = "agent"
        self.hidden: set[str] = set()  # ids of messages that were shown already

    def recall(self, frames: Iterable[Frame]) -> None:
        """Remember what earlier calls were given, without showing it: leave may be asked for them again."""
        for frame in frames:
            if frame.get("type") == "tool_use" and isinstance(frame.get("toolInput"), dict):
                self._inputs[str(frame.get("toolId"))] = frame["toolInput"]

    def show(self, frame: Frame) -> None:
        """Show one event; a type this program does not know is left out."""
        kind = str(frame.get("type"))
        self._release(frame)
        finals = {"assistant_message", "thinking"}
        if kind not in _PIECES and self._item is not None and kind not in finals:
            self._close_text()
        tell = getattr(self, f"_on_{kind}", None)
        if tell is not None and kind not in _QUIET:
            tell(frame)

    def _release(self, frame: Frame) -> None:
        """Show the text held back, unless it only says beforehand what the run will end with."""
        if self._held and frame.get("type") not in _PIECES:
            given = frame.get("toolInput") if frame.get("toolName") == "finish" else None
            if isinstance(given, dict) and str(given.get("summary", "")).strip() == self._held:
                self._held = ""
            self._show_held()

    def _close_text(self) -> None:
        self._item = None
        self._screen.end_stream()

    def _on_user_message(self, frame: Frame) -> None:
        if frame.get("id") in self.hidden:
            return
        who = f"{frame.get('agent')} ({frame.get('kind')})" if frame.get("agent") else frame.get("by")
        self._screen.line(f"{one_line(who)}: {clean(frame.get('content', ''))}", "bold")

    def _on_token(self, frame: Frame) -> None:
        if self._screen.terminal and not self._reported:
            self._stream(frame)

    def _stream(self, frame: Frame, *styles: str) -> None:
        item = str(frame.get("itemId"))
        if self._item not in {None, item}:
            self._close_text()
        if self._item is None:
            self._screen.line()
        self._item = item
        self._told[item] = self._told.get(item, "") + str(frame.get("delta", ""))
        self._screen.stream(str(frame.get("delta", "")), *styles)

    def _on_thinking(self, frame: Frame) -> None:
        """Dimmed, and on terminals only: a log is for what was said and done."""
        if not self._screen.terminal:
            return
        if "content" not in frame:
            self._stream(frame, "dim")
            return
        content = clean(frame.get("content") or "").strip()
        item = str(frame.get("itemId"))
        if self._item == item or (content and item not in self._told):
            self._close_text()
        if content and item not in self._told:  # else it was read as it came
            self._screen.line()
            self._screen.line(content, "dim")

    def _on_assistant_message(self, frame: Frame) -> None:
        content, item = str(frame.get("content", "")), str(frame.get("itemId"))
        self._said = content.strip()
        told = self._told.pop(item, None)
        if told is None or not content.startswith(told):
            if self._item is not None:
                self._close_text()
            self._held = content.strip()
        elif self._item == item:
            self._screen.stream(content[len(told) :])
            self._close_text()
        else:  # another text has begun since; what is missing of this one stands alone
            self._held = content[len(told) :].strip()
        if frame.get("partial"):
            self._show_held()
            self._screen.line("(The answer was cut off here. What came is kept; nothing of it is carried out.)", "dim")
        if sources := frame.get("citations"):
            self._show_held()
            for source in sources:
                where = one_line(source.get("url")) if isinstance(source, dict) else ""
                self._screen.line(f"source: {one_line(source.get('title') or '')} {where}".rstrip(), "dim", indent="  ")

    def _show_held(self) -> None:
        if self._held:
            self._screen.line()
            self._screen.line(self._held)
            self._held = ""

    def _on_context_summary(self, _: Frame) -> None:
        self._screen.line("(The conversation so far was summed up for the model. The log keeps all of it.)", "dim")

    def _on_agent_status(self, frame: Frame) -> None:
        message, progress = one_line(frame.get("message")), frame.get("progress")
        known = isinstance(progress, int | float) and not isinstance(progress, bool)
        if frame.get("phase") == "retry":  # a person who waits wants to know why, also afterwards
            self._screen.line(f"~ {message}", "yellow")
        elif self._screen.terminal:
            share = min(max(float(progress), 0.0), 1.0) if known else 0.0  # type: ignore[arg-type]
            head = f"{bar(share, 12 if self._screen.width < 60 else 20)} {share:4.0%}  " if known else "… "
            self._screen.live(head + message)
        elif message and message not in self._titles.values() and frame.get("phase") != "publishing":
            # A log wants to know how far it is, not each of sixty cells.
            kind, now = re.sub(r"\d+|\(.*?\)", "", message), float(progress) if known else 0.0  # type: ignore[arg-type]
            if kind != self._status[0] or now >= self._status[1] + 0.2:
                self._screen.line(f"- {message}" + (f", {now:.0%}" if known else ""))
                self._status = (kind, now)

    def _on_tool_use(self, frame: Frame) -> None:
        title = one_line(frame.get("title") or frame.get("toolName"))
        self._titles[str(frame.get("toolId"))] = title
        given = frame.get("toolInput")
        inner = "  " if frame.get("parent") else ""
        if isinstance(given, dict):
            self._inputs[str(frame.get("toolId"))] = given
        if frame.get("partial"):
            self._screen.line(f"> {title}: cut off before it was complete, and not carried out", "yellow", indent=inner)
        elif frame.get("toolName") == "plan" and isinstance(given, dict):
            self._on_plan(given)  # here, so that a step stands before the tools it uses
        elif frame.get("toolName") != "finish":
            self._screen.line(f"> {title}", "cyan", indent=inner)

    def _on_tool_result(self, frame: Frame) -> None:
        for image in frame.get("images") or []:
            self._screen.line(f"(picture: {one_line(image.get('title') or image.get('mediaType') or '')})", "dim")
        if frame.get("ok"):
            return
        title = self._titles.get(str(frame.get("toolId")), one_line(frame.get("toolName") or "A step"))
        first = clean(frame.get("content", "")).strip().partition("\n")[0]
        self._screen.line(f"! {title}: {one_line(first, 300)}", "yellow")

    def _on_plan(self, frame: Frame) -> None:
        items = [item for item in frame.get("items") or [] if isinstance(item, dict)]
        states = [str(item.get("state", "pending")) for item in items]
        if self._plan is None or len(self._plan) != len(states):
            self._screen.line()
            self._screen.line("Plan", "bold")
            for n, item in enumerate(items, 1):
                self._screen.line(f"{n}. {one_line(item.get('text'))}", indent="  ")
            self._plan = ["pending"] * len(states)
        for n, (old, new, item) in enumerate(zip(self._plan, states, items, strict=True), 1):
            if old != new and new == "active":
                self._screen.line()
                self._screen.line(f"Step {n} of {len(items)}: {one_line(item.get('text'))}", "bold")
            elif old != new and new == "failed":
                self._screen.line(f"Step {n} failed: {one_line(item.get('text'))}", "red")
        self._plan = states

    def _on_artifact(self, frame: Frame) -> None:
        self._reported = self._reported or frame.get("artifact") == "report"
        made = {"report": "Report written", "pr": "Pull request opened"}
        told = frame.get("artifact") == "pr" and self._published  # as a step of the publication
        if not told and (what := made.get(str(frame.get("artifact")))):
            self._screen.line(f"+ {what}", "green")

    def _on_publication(self, frame: Frame) -> None:
        """Each step once, when it is done."""
        steps = frame.get("steps") or []
        if all(step.get("state") == "pending" for step in steps):
            self._published.clear()
        for step in steps:
            done = (str(step.get("name")), str(step.get("state")))
            if done[1] in _MARKS and done not in self._published:
                self._published.add(done)
                if frame.get("state") == "publishing" or step["state"] == "failed":
                    mark, style = _MARKS[step["state"]], {"failed": ["red"], "skipped": ["dim"]}.get(step["state"], [])
                    name = _STEPS.get(str(step.get("name")), one_line(step.get("name")))
                    why = f": {one_line(step['text'], 200)}" if step.get("text") and step["state"] != "done" else ""
                    self._screen.line(f"{mark} {name}{why}", *style)

    def _on_notebook(self, frame: Frame) -> None:
        """Who has the notebook, when that has changed; and what went wrong with it."""
        hand, before = str(frame.get("hand")), self._hand
        self._hand = hand
        if hand == "person" and before != hand:
            self._screen.line(f"{one_line(frame.get('holder'))} has taken the notebook over.", "bold")
        elif hand == "agent" and before == "person":
            self._screen.line("The notebook was given back.", "bold")
        elif frame.get("message"):
            self._screen.line(one_line(frame["message"], 500), "yellow")

    def _on_question(self, frame: Frame) -> None:
        self._screen.line()
        self._screen.line(f"? {clean(frame.get('question', ''))}", "bold")
        for option in frame.get("options") or []:
            self._screen.line(f"- {one_line(option)}", indent="    ")

    def _on_approval_request(self, frame: Frame) -> None:
        self._screen.line()
        where = f" ({one_line(frame.get('where'))})" if frame.get("where") else ""
        self._screen.line(f"? May the agent do this: {clean(frame.get('what', ''))}{where}", "bold")
        if frame.get("toolName"):
            risk = RISKS.get(str(frame.get("risk")), one_line(frame.get("risk") or ""))
            tool = f"{one_line(frame['toolName'])}{f': {risk}' if risk else ''}"
            self._screen.line(tool, "dim", indent="    ")
        lines = shown_input(self._inputs.get(str(frame.get("toolId"))) or {})
        for line in lines[:MAX_INPUT_LINES]:
            self._screen.line(line, indent="    ")
        if len(lines) > MAX_INPUT_LINES:
            self._screen.line(f"… and {len(lines) - MAX_INPUT_LINES} more lines", "dim", indent="    ")

    def _on_answered(self, frame: Frame) -> None:
        if answer := one_line(frame.get("answer") or ""):  # none when the run was stopped
            self._screen.line(f"  answered: {answer}", "dim")

    def _on_approval_resolved(self, frame: Frame) -> None:
        scope = {"session": " for this chat", "always": " for all chats"}.get(str(frame.get("scope")), "")
        by = f" by {one_line(frame['by'])}" if frame.get("by") else ""
        self._screen.line(f"  {one_line(frame.get('decision'))}{scope}{by}", "dim")

    def _on_error(self, frame: Frame) -> None:
        if str(frame.get("error", "")).strip() != self._said:  # the agent may have ended with the same sentence
            self._screen.line(f"! {clean(frame.get('error', ''))}", "red")
        if frame.get("next"):
            self._screen.line(clean(frame["next"]), indent="  ")
        if frame.get("ref"):
            self._screen.line(f"(reference {one_line(frame['ref'])} in the server's log)", "dim", indent="  ")

    def _on_result(self, _: Frame) -> None:
        self._screen.live("")

    def result_line(self, frame: Frame) -> None:
        """One line about a run that ended, for `watch` and `chats show`."""
        self._release(frame)
        stop = one_line(frame.get("stop_reason"))
        how = "Done" if frame.get("success") else f"Ended: {WHY.get(stop, stop)}"
        took = duration(frame.get("duration_ms"))
        free = frame.get("provider") == "template" or (
            frame.get("cost") is None and (not frame.get("success") or stop == "published")
        )
        paid = "" if free else f", {money(frame.get('cost'))}"
        told = f"= {how}{f', after {took}' if took else ''}{paid}"
        self._screen.line(told, "green" if frame.get("success") else "yellow")
        if (verdict := frame.get("verdict")) and isinstance(verdict, dict) and verdict.get("summary"):
            self._screen.line(clean(verdict["summary"]), indent="  ")


def money(cost: object) -> str:
    """A cost in US dollars as a person reads it; it is an estimate from the tokens that the model counted."""
    if isinstance(cost, bool) or not isinstance(cost, int | float):
        return "cost unknown"
    if cost == 0:
        return "no cost"
    return "less than $0.01" if 0 < cost < 0.01 else f"about ${cost:,.2f}"


def shown_input(given: Frame) -> list[str]:
    """The input of a call, line by line: a person who allows something must see what it is."""
    lines: list[str] = []
    for name, value in given.items():
        text = clean(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
        first, *rest = text.split("\n")
        lines += [f"{one_line(name)}: {first}", *(f"  {line}" for line in rest)]
    return lines


def figures(verdict: Frame) -> str:
    """The verdict's figures: `estimate 0.42 (% per month), 95 % interval 0.2 to 0.6, p = 0.003, n = 600`."""
    unit = f" ({one_line(verdict['unit'])})" if verdict.get("unit") else ""
    parts = []
    if verdict.get("estimate") is not None:
        parts.append(f"estimate {number(verdict['estimate'])}{unit}")
    if verdict.get("ci_low") is not None and verdict.get("ci_high") is not None:
        parts.append(f"95 % interval {number(verdict['ci_low'])} to {number(verdict['ci_high'])}")
    if verdict.get("p_value") is not None:
        p = verdict["p_value"]
        small = isinstance(p, int | float) and p < 0.001
        parts.append("p < 0.001" if small else f"p = {number(p)}")
    if verdict.get("n_obs") is not None:
        parts.append(f"n = {number(verdict['n_obs'])}")
    return ", ".join(parts)
