"""A session's events in plain words."""

from __future__ import annotations

import re
from typing import Any

from .screen import Screen
from .text import bar, clean, duration, number, one_line

Frame = dict[str, Any]

_QUIET = {"usage", "queue_changed", "cell", "tool_output", "session_state"}


class Story:
    """Tells one session to a person: status, text, plan, tools; the end is told by `endings`."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._item: str | None = None
        self._told = ""
        self._status: tuple[str, float] = ("", 0.0)
        self._held = ""  # a text that may be the summary, which the end tells anyway
        self._said = ""
        self._reported = False
        self._plan: list[str] | None = None
        self._titles: dict[str, str] = {}
        self.hidden: str | None = None  # id of a message that was shown already

    def show(self, frame: Frame) -> None:
        """Show one event; a type this program does not know is left out."""
        kind = str(frame.get("type"))
        self._release(frame)
        if kind not in {"token", "usage"} and self._item is not None and kind != "assistant_message":
            self._close_text()
        tell = getattr(self, f"_on_{kind}", None)
        if tell is not None and kind not in _QUIET:
            tell(frame)

    def _release(self, frame: Frame) -> None:
        """Show the text held back, unless it only says beforehand what the run will end with."""
        if self._held and frame.get("type") not in {"token", "usage"}:
            given = frame.get("toolInput") if frame.get("toolName") == "finish" else None
            if not (isinstance(given, dict) and str(given.get("summary", "")).strip() == self._held):
                self._screen.line()
                self._screen.line(self._held)
            self._held = ""

    def _close_text(self) -> None:
        self._item, self._told = None, ""
        self._screen.end_stream()

    def _on_user_message(self, frame: Frame) -> None:
        if self.hidden is not None and frame.get("id") == self.hidden:
            return
        who = f"{frame.get('agent')} ({frame.get('kind')})" if frame.get("agent") else frame.get("by")
        self._screen.line(f"{one_line(who)}: {clean(frame.get('content', ''))}", "bold")

    def _on_token(self, frame: Frame) -> None:
        if not self._screen.terminal or self._reported:
            return
        item = str(frame.get("itemId"))
        if self._item not in {None, item}:
            self._close_text()
        if self._item is None:
            self._screen.line()
        self._item = item
        self._told += str(frame.get("delta", ""))
        self._screen.stream(str(frame.get("delta", "")))

    def _on_assistant_message(self, frame: Frame) -> None:
        content = str(frame.get("content", ""))
        self._said = content.strip()
        if self._item == frame.get("itemId") and content.startswith(self._told):
            self._screen.stream(content[len(self._told) :])
            self._close_text()
        else:
            if self._item is not None:
                self._close_text()
            self._held = content.strip()
        if frame.get("partial"):
            self._screen.line("(cut off here)", "dim")

    def _on_agent_status(self, frame: Frame) -> None:
        message, progress = one_line(frame.get("message")), frame.get("progress")
        known = isinstance(progress, int | float) and not isinstance(progress, bool)
        if self._screen.terminal:
            share = min(max(float(progress), 0.0), 1.0) if known else 0.0  # type: ignore[arg-type]
            head = f"{bar(share, 12 if self._screen.width < 60 else 20)} {share:4.0%}  " if known else "… "
            self._screen.live(head + message)
        elif message and message not in self._titles.values():
            # A log wants to know how far it is, not each of sixty cells.
            kind, now = re.sub(r"\d+|\(.*?\)", "", message), float(progress) if known else 0.0  # type: ignore[arg-type]
            if kind != self._status[0] or now >= self._status[1] + 0.2:
                self._screen.line(f"- {message}" + (f", {now:.0%}" if known else ""))
                self._status = (kind, now)

    def _on_tool_use(self, frame: Frame) -> None:
        title = one_line(frame.get("title") or frame.get("toolName"))
        self._titles[str(frame.get("toolId"))] = title
        given = frame.get("toolInput")
        if frame.get("toolName") == "plan" and isinstance(given, dict):
            self._on_plan(given)  # here, so that a step stands before the tools it uses
        elif frame.get("toolName") != "finish":
            self._screen.line(f"> {title}", "cyan")

    def _on_tool_result(self, frame: Frame) -> None:
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
        if what := made.get(str(frame.get("artifact"))):
            self._screen.line(f"+ {what}", "green")

    def _on_question(self, frame: Frame) -> None:
        self._screen.line()
        self._screen.line(f"? {clean(frame.get('question', ''))}", "bold")
        for option in frame.get("options") or []:
            self._screen.line(f"- {one_line(option)}", indent="    ")

    def _on_approval_request(self, frame: Frame) -> None:
        self._screen.line()
        where = f" ({one_line(frame.get('where'))})" if frame.get("where") else ""
        self._screen.line(f"? May the agent do this: {clean(frame.get('what', ''))}{where}", "bold")

    def _on_answered(self, frame: Frame) -> None:
        self._screen.line(f"  answered: {one_line(frame.get('answer'))}", "dim")

    def _on_approval_resolved(self, frame: Frame) -> None:
        self._screen.line(f"  {one_line(frame.get('decision'))} by {one_line(frame.get('by'))}", "dim")

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
        how = "Done" if frame.get("success") else f"Ended: {one_line(frame.get('stop_reason'))}"
        took = duration(frame.get("duration_ms"))
        self._screen.line(f"= {how}{f' after {took}' if took else ''}", "green" if frame.get("success") else "yellow")
        if (verdict := frame.get("verdict")) and isinstance(verdict, dict) and verdict.get("summary"):
            self._screen.line(clean(verdict["summary"]), indent="  ")


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
