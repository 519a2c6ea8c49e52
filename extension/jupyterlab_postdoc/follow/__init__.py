"""Follow a session from a notebook cell, in Jupyter and in marimo: ``Follow("c_…")``.

The kernel follows the session over HTTP, as a terminal would, and keeps one small summary of it in the widget. The
browser gets that summary and nothing else, never a token. So it works where the notebook is shown by another server
than the one at work, and a saved or exported notebook still shows the last status.
"""

from __future__ import annotations

import atexit
import contextlib
import re
import sys
import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import anywidget
import traitlets

from jupyterlab_postdoc.cli.problems import Problem

from .source import Http, Json, Lost, locate
from .summary import AT_WORK, Summary, as_html, as_text

__all__ = ["Follow"]

STATIC = Path(__file__).resolve().parent.parent / "static"
PUSH_S = 0.2
"""Between two updates of the widget: five a second at most."""
WAIT_S = 20.0
"""How long the server may keep a request without news. The card takes 45 s of silence for a kernel that is gone."""
FIRST_S = 5.0
"""How long the constructor waits for the first status, so that a cell that is exported at once has one."""
FINAL = frozenset({"not_found", "unauthorized", "missing", "no_connection", "bad_message"})

NOT_BUILT = """
export default { render({ model, el }) {
  const draw = () => {
    const { title, chat, state, line } = model.get("status");
    el.textContent = `${title || chat}: ${state}. ${line} (The card was not built on this machine: make panel.)`;
  };
  model.on("change:status", draw);
  draw();
} };
"""

_following: weakref.WeakSet[Follower] = weakref.WeakSet()


class Follower:
    """What the thread does. It knows the widget only by ``publish``, which answers False when it is gone."""

    def __init__(self, chat: str, url: str | None, token: str | None, publish: Callable[[Json], bool]) -> None:
        self.summary = Summary(chat)
        self._chat, self._where = quote(chat, safe=""), (url, token)
        self._publish = publish
        self._http: Http | None = None
        self._left = threading.Event()
        self.first, self.done = threading.Event(), threading.Event()
        self.thread: threading.Thread | None = None

    def start(self) -> None:
        """Follow in a thread of its own; in marimo, only those of its own kind reach the browser."""
        marimo = sys.modules.get("marimo")
        if marimo is not None and marimo.running_in_notebook():
            self.thread = marimo.Thread(target=self._run, daemon=True, name="postdoc-follow")
        else:
            self.thread = threading.Thread(target=self._run, daemon=True, name="postdoc-follow")
        _following.add(self)
        self.thread.start()

    def stop(self) -> None:
        """At once, from any thread."""
        self._left.set()
        if self._http is not None:
            self._http.close()

    def _gone(self) -> bool:
        # marimo sets `should_exit` when the cell that made the widget runs again.
        return self._left.is_set() or bool(getattr(threading.current_thread(), "should_exit", False))

    def _run(self) -> None:
        pause_s = 0.5
        while not self._gone():
            try:
                self._catch_up()
                pause_s = 0.5
                if not self.summary.at_work:
                    break
            except Problem as problem:
                # While it has been seen at work, a server that is not there is one that starts again.
                lost = problem.code == "no_connection" and self.summary.seq > 0
                self._say(problem.message, "Trying again." if lost else problem.next)
                if problem.code in FINAL and not lost:
                    break
                pause_s = self._pause(pause_s)
            except Lost as lost_:
                if self._gone():
                    break
                self._say(str(lost_), "Trying again.")
                pause_s = self._pause(pause_s)
            except Exception as error:  # noqa: BLE001 - the card says so; a traceback would stand somewhere else
                # Its text is not shown: that of a header which cannot be sent has the token in it.
                with contextlib.suppress(Exception):
                    self._say(f"This cannot be followed any longer ({type(error).__name__}).", "Run the cell again.")
                break
        self.first.set()
        self.done.set()

    def _pause(self, pause_s: float) -> float:
        self._http = None
        self._left.wait(pause_s)
        return min(15.0, 2 * pause_s)

    def _catch_up(self) -> None:
        """All that has happened, then what happens, until the session rests."""
        summary = self.summary
        self._http, about = locate(summary.chat, *self._where)
        summary.about(about)
        while page := self._http.get(f"chats/{self._chat}/messages?after={summary.seq}&limit=1000"):
            summary.take(page)
        self._push()
        while summary.at_work and not self._gone():
            began = time.monotonic()
            asked = f"chats/{self._chat}/events?after={summary.seq}&limit=1000&wait={WAIT_S}"
            answer: Json = self._http.get(asked, timeout_s=WAIT_S + 10)
            if answer.get("reset"):
                self.summary = Summary(summary.chat)
                return
            summary.take(answer["events"])
            self._push()
            self._left.wait(max(0.0, PUSH_S - (time.monotonic() - began)))

    def status(self, **more: Any) -> Json:
        return self.summary.as_dict(self._http.url if self._http else None) | more

    def _push(self) -> None:
        if not self._publish(self.status()):
            self._left.set()
        self.first.set()

    def _say(self, error: str, next: str) -> None:
        if not self._publish(self.status(live=False, problem={"error": error, "next": next})):
            self._left.set()
        self.first.set()


@atexit.register
def _stop_all() -> None:
    """No thread is left in a request when the interpreter ends."""
    for follower in list(_following):
        follower.stop()
    for follower in list(_following):
        if follower.thread is not None and follower.thread is not threading.current_thread():
            follower.thread.join(1.0)


def _parts(chat: str) -> tuple[str | None, str]:
    """(server, id) of an id or a link. Raises ValueError when there is no id in it."""
    link = re.split(r"[?#]", chat.strip())[0].rstrip("/")
    server, _, path = f"{link}/".rpartition("/postdoc/")
    id = path.rstrip("/").rpartition("/")[2]
    if not id or ("://" in link and not server):
        raise ValueError("Give the id of a session (c_…) or its link: its menu in the Research panel copies both.")
    return server or None, unquote(id)


class Follow(anywidget.AnyWidget):
    """The status of a session, live, in a cell.

    ``chat`` is the session's id, or its link (the panel's menu copies both). ``url`` and ``token`` name a server when
    it is not one of yours on this machine. ``status`` holds what is shown, as plain data; :meth:`wait` blocks until the
    session rests; :meth:`close` stops following. Nothing is stopped or changed by following.
    """

    _esm = STATIC / "follow.js" if (STATIC / "follow.js").exists() else NOT_BUILT
    _css = STATIC / "follow.css" if (STATIC / "follow.css").exists() else ""
    status = traitlets.Dict().tag(sync=True)

    def __init__(self, chat: str, *, url: str | None = None, token: str | None = None) -> None:
        self._shown: list[Any] = []
        self._showing = threading.Lock()
        this = weakref.ref(self)

        def publish(status: Json) -> bool:
            widget = this()
            return widget is not None and widget._take(status)

        server, id = _parts(chat)
        # The server that a link names is asked with a token for it; without one, your own servers are.
        self._follower = Follower(id, url or (server if token else None), token, publish)
        super().__init__(status=self._follower.status(line="Looking for the session…"))
        self._follower.start()
        self._follower.first.wait(FIRST_S)

    def wait(self, timeout_s: float | None = None) -> bool:
        """Until the session neither works nor waits for you (True), or until the time is up (False)."""
        return self._follower.done.wait(timeout_s)

    def close(self) -> None:
        """Stop following; what was shown last stays in :attr:`status`."""
        if follower := getattr(self, "_follower", None):
            follower.stop()
        super().close()

    def __repr__(self) -> str:
        return as_text(self.status)

    # --- how it is shown ---

    def _static(self) -> Json:
        return {"text/plain": as_text(self.status), "text/html": as_html(self.status)}

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        """The widget, and for viewers that know no widgets the last status as text and HTML."""
        bundle = super()._repr_mimebundle_(**kwargs)
        if bundle is None:
            return self._static()
        data, *rest = bundle if isinstance(bundle, tuple) else (bundle,)
        data = {**data, **self._static()}
        return (data, *rest) if isinstance(bundle, tuple) else data

    def _ipython_display_(self, **_: Any) -> None:
        """The widget while there is something to follow, then the last status for good: a notebook that is opened
        again, or exported, has no kernel and often no state of widgets, and shows it all the same.
        """
        from IPython.display import display

        with self._showing:
            at_work = not self._follower.done.is_set() and self.status["live"]
            bundle = self._repr_mimebundle_() if at_work else self._static()
            data, metadata = bundle if isinstance(bundle, tuple) else (bundle, {})
            shown: Any = display(data, metadata=metadata, raw=True, display_id=True)  # type: ignore[no-untyped-call]
            if at_work and shown is not None:
                self._shown.append(shown)

    def _take(self, status: Json) -> bool:
        """From the thread: show it."""
        self.status = status
        if status["state"] not in AT_WORK:
            with self._showing:
                while self._shown:
                    self._shown.pop().update(self._static(), raw=True)
        return True
