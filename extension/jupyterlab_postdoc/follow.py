"""Follow a session from a notebook cell, in Jupyter and in marimo: ``Follow("c_…")``.

The kernel follows the session over HTTP, as a terminal would, and keeps one small summary of it in the widget. The
browser gets that summary and nothing else: no token, no address of a server. So it works where the notebook is shown
by another server than the one at work, and a saved or exported notebook still shows the last status.
"""

from __future__ import annotations

import contextlib
import html
import json
import os
import ssl
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import anywidget
import traitlets

from jupyterlab_postdoc.cli.problems import Problem
from jupyterlab_postdoc.cli.server import Server, named, running

STATIC = Path(__file__).parent / "static"
AT_WORK = frozenset({"queued", "starting", "running", "waiting", "paused", "stopping"})
PUSH_S = 0.2
"""Between two updates of the widget: five a second at most."""
WAIT_S = 25.0
FIRST_S = 5.0
"""How long the constructor waits for the first status, so that a cell that is exported at once has one."""
TEXT = 600
Json = dict[str, Any]


def _one_line(text: object, limit: int = 160) -> str:
    line = " ".join(str(text).split())
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "…"


class Summary:
    """What is known of a session, from its events. Everything in it is plain JSON and small."""

    def __init__(self, chat: str) -> None:
        self.chat = chat
        self.seq = 0
        self.title = ""
        self.state = "unknown"
        self.reason: str | None = None
        self.line = ""
        self.progress: float | None = None
        self.plan: list[Json] = []
        self.text = ""
        self.questions: dict[str, str] = {}
        self.cost: float | None = None
        self.tokens = 0
        self.began: float | None = None
        self.ended: float | None = None
        self.result: Json | None = None
        self.error: Json | None = None
        self.run: str | None = None

    def about(self, chat: Mapping[str, Any]) -> None:
        """What the list of sessions says of it."""
        self.title = _one_line(chat.get("title") or "", 200)
        if self.seq == 0:
            self.state = str(chat.get("state") or "unknown")

    def take(self, events: Iterable[Mapping[str, Any]]) -> None:
        """Events in their order; those that were taken already change nothing."""
        for event in events:
            if int(event["seq"]) > self.seq:
                self.seq = int(event["seq"])
                handler = getattr(self, f"_{event['type']}", None)
                if handler is not None:
                    handler(event)

    def _session_state(self, event: Mapping[str, Any]) -> None:
        self.state, self.reason = str(event["status"]), event.get("reason")
        self.title = _one_line(event.get("title") or self.title, 200)
        at = datetime.fromisoformat(event["ts"]).timestamp()
        if self.state in ("starting", "running") and event.get("runId") != self.run:
            self.run, self.began, self.ended = event.get("runId"), at, None
            self.cost, self.tokens, self.result, self.error = None, 0, None, None
        if self.state not in AT_WORK:
            self.line, self.progress, self.ended = "", None, at
            self.questions.clear()

    def _agent_status(self, event: Mapping[str, Any]) -> None:
        self.line, self.progress = _one_line(event["message"]), event.get("progress")

    def _plan(self, event: Mapping[str, Any]) -> None:
        self.plan = [
            {"text": _one_line(item["text"]), "state": item.get("state", "pending")} for item in event["items"][:30]
        ]

    def _token(self, event: Mapping[str, Any]) -> None:
        if getattr(self, "_item", None) != event["itemId"]:
            self._item, self.text = event["itemId"], ""
        self.text = (self.text + event["delta"])[-TEXT:]

    def _assistant_message(self, event: Mapping[str, Any]) -> None:
        self._item, self.text = event["itemId"], str(event["content"])[-TEXT:]

    def _usage(self, event: Mapping[str, Any]) -> None:
        self.tokens += sum(n for name, n in event["tokens"].items() if name in ("input_tokens", "output_tokens"))
        if event.get("cost") is not None:
            self.cost = (self.cost or 0.0) + float(event["cost"])

    def _question(self, event: Mapping[str, Any]) -> None:
        self.questions[event["requestId"]] = _one_line(event["question"], 300)

    def _approval_request(self, event: Mapping[str, Any]) -> None:
        self.questions[event["requestId"]] = _one_line(event["what"], 300)

    def _answered(self, event: Mapping[str, Any]) -> None:
        self.questions.pop(event["requestId"], None)

    _approval_resolved = _answered

    def _result(self, event: Mapping[str, Any]) -> None:
        verdict = event.get("verdict") or {}
        kept = ("claim", "supported", "estimate", "ci_low", "ci_high", "unit")
        self.result = {
            "success": bool(event["success"]),
            "summary": str(event.get("summary") or "")[:2000],
            "duration_ms": event["duration_ms"],
            "verdict": {key: verdict[key] for key in kept if key in verdict},
            "provider": event.get("provider"),
        }
        if event["success"]:
            for item in self.plan:
                item["state"] = "done" if item["state"] == "active" else item["state"]

    def _error(self, event: Mapping[str, Any]) -> None:
        self.error = {"error": str(event["error"])[:500], "next": str(event.get("next") or "")[:500]}

    def as_dict(self) -> Json:
        """The synced status. Times are UNIX seconds."""
        return {
            "chat": self.chat, "title": self.title, "state": self.state, "reason": self.reason, "line": self.line,
            "progress": self.progress, "plan": self.plan, "text": self.text,
            "questions": list(self.questions.values()), "cost": self.cost, "tokens": self.tokens,
            "began": self.began, "ended": self.ended, "result": self.result, "error": self.error,
            "problem": None, "live": True, "updated": time.time(),
        }  # fmt: skip


class _Http:
    """Requests to one server. The token stays in here."""

    def __init__(self, server: Server) -> None:
        self.where = server.where
        self._base = server.url.rstrip("/") + "/postdoc/api/chats/"
        self._headers = {"Authorization": f"token {server.token}"} if server.token else {}
        # A certificate that somebody made for their own machine is signed by nobody.
        self._context = ssl._create_unverified_context() if server.local else None

    def get(self, path: str, timeout_s: float = 10.0) -> Any:
        """The JSON at ``path``; raises Problem with a sentence, OSError when there is no answer."""
        request = urllib.request.Request(self._base + path, headers=self._headers)
        try:
            with urllib.request.urlopen(request, timeout=timeout_s, context=self._context) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            with contextlib.suppress(ValueError, KeyError, TypeError):
                told = json.loads(error.read() or b"null")
                raise Problem(told["error"], next=told.get("next") or "", code=told["code"]) from None
            raise Problem(f"The server at {self.where} answers with status {error.code}.", code="internal") from None


def find_server(url: str | None = None, token: str | None = None) -> Server:
    """The server to follow: the one named, else that of ``POSTDOC_URL``, else the one that runs this kernel, else the
    nearest one that runs for this user. Raises Problem when there is none.
    """
    if address := url or os.environ.get("POSTDOC_URL"):
        return named(address, token)
    found = running(Path.cwd())
    parent = os.environ.get("JPY_PARENT_PID", "")
    for server in found:
        if parent and str(server.pid) == parent:
            return server
    if not found:
        raise Problem(
            "No Jupyter server is running here.",
            next="Start one with `jupyter lab`, or name it: Follow(chat, url=…, token=…).",
            code="no_connection",
        )
    return found[0]


def _thread(target: Callable[[], None]) -> threading.Thread:
    """A daemon thread whose updates reach the browser: in marimo, threads of Python's own have no way there."""
    marimo = sys.modules.get("marimo")
    if marimo is not None and marimo.running_in_notebook():
        return marimo.Thread(target=target, daemon=True, name="postdoc-follow")  # type: ignore[no-any-return]
    return threading.Thread(target=target, daemon=True, name="postdoc-follow")


class Follow(anywidget.AnyWidget):
    """The status of a session, live, in a cell.

    ``chat`` is the session's id (the panel's menu copies it as a link; the last part of the link will do). ``url`` and
    ``token`` name a server when it is not the one around. ``status`` holds what is shown, as plain data; :meth:`wait`
    blocks until the session rests; :meth:`close` stops following. Nothing is ever stopped or changed by following.
    """

    _esm = STATIC / "follow.js" if (STATIC / "follow.js").exists() else "export default { render() {} }"
    _css = STATIC / "follow.css" if (STATIC / "follow.css").exists() else ""
    status = traitlets.Dict().tag(sync=True)

    def __init__(self, chat: str, *, url: str | None = None, token: str | None = None) -> None:
        self._summary = Summary(chat.rstrip("/").rpartition("/")[2])
        self._done = threading.Event()
        self._first = threading.Event()
        self._gone = threading.Event()
        super().__init__(status=self._summary.as_dict())
        try:
            self._http = _Http(find_server(url, token))
        except Problem as problem:
            self._trouble(problem)
            self._first.set()
            self._done.set()
            return
        self._worker = _thread(self._follow)
        self._worker.start()
        self._first.wait(FIRST_S)

    def wait(self, timeout_s: float | None = None) -> bool:
        """Until the session neither works nor waits (True), or until the time is up (False)."""
        return self._done.wait(timeout_s)

    def close(self) -> None:
        """Stop following; the last status stays."""
        self._gone.set()
        super().close()

    def __repr__(self) -> str:
        status = self.status
        said = status["line"] or (status["result"] or {}).get("summary", "") or status["text"]
        problem = status["problem"]
        if problem:
            said = f"{problem['error']} {problem['next']}".strip()
        return f"{status['title'] or status['chat']}: {status['state']}. {_one_line(said)}".strip()

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        """The widget, and for viewers that know no widgets the last status as text and HTML."""
        bundle = super()._repr_mimebundle_(**kwargs)
        data = bundle[0] if isinstance(bundle, tuple) else bundle
        if data is not None:
            data["text/plain"] = repr(self)
            data["text/html"] = f"<p>{html.escape(repr(self))}</p>"
        return bundle

    # --- in the thread ---

    def _follow(self) -> None:
        wait_s = 0.5
        while not self._left():
            try:
                self._catch_up()
                wait_s = 0.5
                if self._summary.state not in AT_WORK:
                    break
            except Problem as problem:
                if problem.code in ("not_found", "unauthorized", "forbidden"):
                    self._trouble(problem)
                    break
                self._lost(str(problem))
                wait_s = self._pause(wait_s)
            except (OSError, ValueError) as error:
                self._lost(f"There is no answer from {self._http.where}: {type(error).__name__}.")
                wait_s = self._pause(wait_s)
        self._first.set()
        self._done.set()

    def _left(self) -> bool:
        current = threading.current_thread()
        return self._gone.is_set() or bool(getattr(current, "should_exit", False))

    def _pause(self, wait_s: float) -> float:
        self._gone.wait(wait_s)
        return min(15.0, 2 * wait_s)

    def _catch_up(self) -> None:
        """All that has happened, then what happens, until the session rests or the connection is lost."""
        summary, chat = self._summary, quote(self._summary.chat, safe="")
        summary.about(self._http.get(chat))
        page: list[Json] = self._http.get(f"{chat}/messages?after={summary.seq}&limit=1000")
        while page:
            summary.take(page)
            page = self._http.get(f"{chat}/messages?after={summary.seq}&limit=1000") if len(page) == 1000 else []
        self._push()
        while summary.state in AT_WORK and not self._left():
            began = time.monotonic()
            path = f"{chat}/events?after={summary.seq}&limit=1000&wait={WAIT_S}"
            answer: Json = self._http.get(path, timeout_s=WAIT_S + 10)
            if answer.get("reset"):
                self._summary = summary = Summary(self._summary.chat)
            summary.take(answer["events"])
            self._push()
            self._gone.wait(max(0.0, PUSH_S - (time.monotonic() - began)))

    def _push(self) -> None:
        self.status = self._summary.as_dict() | {"live": self._summary.state in AT_WORK}
        self._first.set()

    def _lost(self, why: str) -> None:
        self.status = self._summary.as_dict() | {"live": False, "problem": {"error": why, "next": "Trying again."}}

    def _trouble(self, problem: Problem) -> None:
        told = {"error": problem.message, "next": problem.next}
        self.status = self._summary.as_dict() | {"live": False, "problem": told}
