"""What is known of a session, made from its events: small, plain, and without anything secret."""

from __future__ import annotations

import html
import os
import time
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any
from urllib.parse import quote, urlsplit

from jupyterlab_postdoc.cli import text as text_

Json = dict[str, Any]

AT_WORK = frozenset({"queued", "starting", "running", "waiting", "paused", "stopping"})
STATES = {
    "queued": "Queued",
    "starting": "Preparing workspace…",
    "running": "Running",
    "waiting": "Needs your answer",
    "paused": "Needs your answer",
    "stopping": "Stopping after the current step…",
    "finished": "Finished",
    "finished/idle": "Ready",
    "stopped": "Stopped",
    "stopped/user": "Stopped by you",
    "error": "Failed",
    "interrupted": "Server restarted during this run",
}
TEXT, SUMMARY, LINE, PLAN, QUESTIONS = 600, 2000, 160, 30, 5
"""The longest last text, summary and line (characters), and how many items of a plan and questions are shown."""


def one_line(text: object, limit: int = LINE) -> str:
    """Without line breaks and what steers a terminal, cut at ``limit`` characters."""
    return text_.one_line(text, limit)


def safe_link(url: object) -> str | None:
    """An address that a click may open: http or https, without login, query and fragment (they can hold tokens)."""
    try:
        parts = urlsplit(str(url or ""))
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    if parts.scheme not in ("http", "https") or not host:
        return None
    host = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{host}{f':{port}' if port else ''}{quote(parts.path, safe='/%:@~+,;=!$')}"[:500]


class Summary:
    """The status of one session. Events are taken in their order; those that come again change nothing."""

    def __init__(self, chat: str) -> None:
        self.chat = chat
        self.seq = 0
        self.title = ""
        self.state = "unknown"
        self.reason: str | None = None
        self.report = False
        self._made: dict[str, str] = {}
        self._begin(None, None)

    def _begin(self, run: str | None, at: float | None) -> None:
        """A run begins: what an earlier one said is over."""
        self.run = run
        self.began: float | None = at
        self.ended: float | None = None
        self.line = self.text = self._item = ""
        self.progress: float | None = None
        self.plan: list[Json] = []
        self.questions: dict[str, str] = {}
        self.cost: float | None = None
        self.tokens = 0
        self.result: Json | None = None
        self.error: Json | None = None

    @property
    def at_work(self) -> bool:
        """Whether more is to come without anybody starting it."""
        return self.state in AT_WORK

    def about(self, chat: Mapping[str, Any]) -> None:
        """What the list of sessions says of it."""
        self.title = one_line(chat.get("title") or "", 200)
        if self.seq == 0:
            self.state = str(chat.get("state") or "unknown")

    def take(self, events: Iterable[Mapping[str, Any]]) -> None:
        """Bring the status up to date."""
        for event in events:
            if int(event["seq"]) > self.seq:
                self.seq = int(event["seq"])
                handler = getattr(self, f"_on_{event['type']}", None)
                if handler is not None:
                    handler(event)

    def _on_session_state(self, event: Mapping[str, Any]) -> None:
        self.state, self.reason = str(event["status"]), event.get("reason")
        self.title = one_line(event.get("title") or self.title, 200)
        at = datetime.fromisoformat(event["ts"]).timestamp()
        if self.state in ("starting", "running") and event.get("runId") != self.run:
            self._begin(event.get("runId"), at)
        if self.state == "interrupted":
            self.line, self.progress = "", None
        elif not self.at_work:
            self.line, self.progress, self.ended = "", None, at
            self.questions.clear()

    def _on_agent_status(self, event: Mapping[str, Any]) -> None:
        self.line, self.progress = one_line(event["message"]), event.get("progress")

    def _on_plan(self, event: Mapping[str, Any]) -> None:
        items = event["items"][:PLAN]
        self.plan = [{"text": one_line(item["text"]), "state": item.get("state", "pending")} for item in items]

    def _on_token(self, event: Mapping[str, Any]) -> None:
        if self._item != event["itemId"]:
            self._item, self.text = event["itemId"], ""
        self.text = (self.text + event["delta"])[-TEXT:]

    def _on_assistant_message(self, event: Mapping[str, Any]) -> None:
        self._item, self.text = event["itemId"], str(event["content"])[-TEXT:]

    def _on_usage(self, event: Mapping[str, Any]) -> None:
        self.tokens += sum(n for name, n in event["tokens"].items() if name in ("input_tokens", "output_tokens"))
        if event.get("cost") is not None:
            self.cost = (self.cost or 0.0) + float(event["cost"])

    def _on_artifact(self, event: Mapping[str, Any]) -> None:
        self.report = self.report or event["artifact"] == "report"
        if event["artifact"] in ("repo", "compare", "pr") and (url := safe_link(event.get("url"))):
            self._made[event["artifact"]] = url

    def _on_question(self, event: Mapping[str, Any]) -> None:
        self.questions[event["requestId"]] = one_line(event["question"], 300)

    def _on_approval_request(self, event: Mapping[str, Any]) -> None:
        self.questions[event["requestId"]] = one_line(event["what"], 300)

    def _on_answered(self, event: Mapping[str, Any]) -> None:
        self.questions.pop(event["requestId"], None)

    _on_approval_resolved = _on_answered

    def _on_result(self, event: Mapping[str, Any]) -> None:
        verdict = event.get("verdict") or {}
        kept = ("claim", "supported", "estimate", "ci_low", "ci_high", "unit")
        self.result = {
            "success": bool(event["success"]),
            "summary": text_.clean(event.get("summary") or "")[:SUMMARY],
            "duration_ms": event["duration_ms"],
            "verdict": {key: one_line(value, 500) if isinstance(value, str) else value
                        for key in kept if isinstance(value := verdict.get(key), str | int | float | bool)},
            "provider": event.get("provider"),
        }  # fmt: skip
        self.cost = self.cost if event.get("cost") is None else float(event["cost"])
        if event["success"]:
            for item in self.plan:
                item["state"] = "done" if item["state"] == "active" else item["state"]

    def _on_error(self, event: Mapping[str, Any]) -> None:
        self.error = {"error": one_line(event["error"], 500), "next": one_line(event.get("next") or "", 500)}

    def as_dict(self, server: str | None = None) -> Json:
        """The synced status. Times are UNIX seconds, ``cost`` US dollars, ``elapsed`` seconds until ``updated``.

        ``server``: the address that links begin with, with a slash at its end.
        """
        now = time.time()
        return {
            "chat": self.chat, "title": self.title, "state": self.state, "reason": self.reason, "line": self.line,
            "progress": self.progress, "plan": [dict(item) for item in self.plan], "text": text_.clean(self.text),
            "questions": list(self.questions.values())[-QUESTIONS:], "cost": self.cost, "tokens": self.tokens,
            "began": self.began, "ended": self.ended,
            "elapsed": None if self.began is None else max(0.0, (self.ended or now) - self.began),
            "result": self.result, "error": self.error, "links": self._links(server),
            "problem": None, "live": self.at_work, "updated": now,
        }  # fmt: skip

    def _links(self, server: str | None) -> list[Json]:
        """``path`` is what a page of that very server says; ``url`` is for pages from elsewhere."""
        found: list[Json] = []
        if base := safe_link(server):
            chat = quote(self.chat, safe="")
            places = [("Open the session", f"postdoc/s/{chat}")]
            if self.report:
                places.append(("Open the report", f"postdoc/api/chats/{chat}/report"))
            root = base.rstrip("/") + "/"
            found += [{"text": text, "url": root + at, "path": urlsplit(root + at).path} for text, at in places]
        words = {"repo": "Open the repository", "compare": "Compare", "pr": "Open the pull request"}
        return found + [{"text": words[kind], "url": url} for kind, url in self._made.items()]


def verdict_text(verdict: Mapping[str, Any]) -> str:
    """The verdict in words; "" when there is none."""
    if not isinstance(verdict.get("claim"), str):
        return ""
    words = {True: "Supported", False: "Not supported"}
    supported = verdict.get("supported")
    said = f"{words[supported] if isinstance(supported, bool) else 'Undecided'}: {verdict['claim']}"
    estimate, low, high = (verdict.get(name) for name in ("estimate", "ci_low", "ci_high"))
    if isinstance(estimate, int | float):
        unit = f" {verdict['unit']}" if verdict.get("unit") else ""
        both = isinstance(low, int | float) and isinstance(high, int | float)
        said += f" Estimate {estimate:.4g}{unit}" + (f" (95 % interval {low:.4g} to {high:.4g})." if both else ".")
    return said


def state_text(status: Mapping[str, Any]) -> str:
    """The state in words."""
    known = STATES.get(f"{status['state']}/{status['reason']}") or STATES.get(status["state"])
    return known or ("Not followed" if status["problem"] else "Unknown state")


def figures(status: Mapping[str, Any]) -> str:
    """Time, tokens and cost in one line, and as of when."""
    parts = []
    if status["elapsed"] is not None:
        minutes, seconds = divmod(int(status["elapsed"]), 60)
        parts.append(f"{minutes // 60}:{minutes % 60:02}:{seconds:02}" if minutes >= 60 else f"{minutes}:{seconds:02}")
    if status["tokens"]:
        parts.append(f"{status['tokens']:,} tokens")
    if status["cost"] is not None:
        parts.append(f"${status['cost']:.4f}" if 0 < status["cost"] < 0.01 else f"${status['cost']:.2f}")
    if (status["result"] or {}).get("provider") == "template":
        parts.append("made by a research template, no language model took part")
    parts.append(f"as of {datetime.fromtimestamp(status['updated']):%Y-%m-%d %H:%M}")
    return " · ".join(parts)


def as_text(status: Mapping[str, Any]) -> str:
    """The status in a line or two, for terminals and viewers that show no widgets."""
    if problem := status["problem"]:
        said = f"{problem['error']} {problem['next']}"
    else:
        result = status["result"] or {}
        said = status["line"] or verdict_text(result.get("verdict", {})) or result.get("summary") or status["text"]
        if status["error"] and not result.get("success"):
            said = f"{status['error']['error']} {status['error']['next']}"
    title, state = status["title"] or status["chat"], state_text(status)
    return one_line(f"{title}: {state}. {said} ({figures(status)})", 600)


def _address(link: Mapping[str, Any]) -> str:
    """Behind JupyterHub nobody but the kernel can reach the server's own address."""
    return str(link.get("path") if link.get("path") and os.environ.get("JUPYTERHUB_SERVICE_PREFIX") else link["url"])


_TONES = {
    "finished": "var(--jp-success-color1, #388e3c)",
    "waiting": "var(--jp-warn-color1, #f57c00)",
    "paused": "var(--jp-warn-color1, #f57c00)",
    "error": "var(--jp-error-color1, #d32f2f)",
    "interrupted": "var(--jp-error-color1, #d32f2f)",
}


def as_html(status: Mapping[str, Any]) -> str:
    """The status as a card that needs no script. All text is escaped."""
    tone = _TONES["waiting"] if status["problem"] else _TONES.get(status["state"], "var(--jp-brand-color1, #1976d2)")
    style = f"max-width:720px;padding:8px 14px;border:1px solid #8886;border-left:4px solid {tone};border-radius:4px"
    rows = [f"<strong>{html.escape(status['title'] or status['chat'])}</strong> · {html.escape(state_text(status))}"]
    result = status["result"] or {}
    said = verdict_text(result.get("verdict", {}))
    for trouble in (status["problem"], None if result.get("success") else status["error"]):
        if trouble:
            rows.append(html.escape(f"{trouble['error']} {trouble['next']}".strip()))
    if status["line"]:
        rows.append(html.escape(status["line"]))
    if said:
        word, colon, claim = said.partition(":")
        rows.append(f"<strong>{html.escape(word + colon)}</strong>{html.escape(claim)}")
    if text := result.get("summary") or status["text"]:
        rows.append(html.escape(text).replace("\n", "<br>"))
    new_tab = 'target="_blank" rel="noopener noreferrer"'
    links = [
        f'<a href="{html.escape(_address(link))}" {new_tab}>{html.escape(link["text"])}</a>' for link in status["links"]
    ]
    if links:
        rows.append(" · ".join(links))
    rows.append(f"<small>{html.escape(figures(status))}</small>")
    inner = "".join(f'<p style="margin:4px 0">{row}</p>' for row in rows)
    return f'<div class="postdoc-follow" style="{style}">{inner}</div>'
