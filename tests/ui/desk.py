"""A JupyterLab whose GitHub is emulate with a git server behind it, and spies for the token that is typed there."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import BrowserContext, Locator, Page, Request, WebSocket

from tests.forge.emulated import TOKEN as CANARY
from tests.forge.emulated import Hub
from tests.forge.faults import Faults

from .conftest import Watched
from .panel import Panel
from .service import Jupyter, wait_for

Json = dict[str, Any]
KEPT_BY_THE_BROWSER = """async () => {
    const kept = [document.documentElement.outerHTML, JSON.stringify(localStorage), JSON.stringify(sessionStorage)];
    kept.push(...Array.from(document.querySelectorAll('input, textarea'), node => node.value), document.cookie);
    const done = request => new Promise((yes, no) => { request.onsuccess = () => yes(request.result);
        request.onerror = () => no(request.error); });
    for (const {name} of await indexedDB.databases()) {
        const database = await done(indexedDB.open(name));
        for (const store of database.objectStoreNames) {
            kept.push(JSON.stringify(await done(database.transaction(store).objectStore(store).getAll())));
        }
        database.close();
    }
    return kept;
}"""


class Desk:
    """The server, its GitHub, the proxy between them, and finished studies in store."""

    def __init__(self, server: Jupyter, hub: Hub, faults: Faults) -> None:
        self.server, self.hub, self.faults = server, hub, faults
        self._begun: list[str] = []

    def begin(self, count: int) -> None:
        """Let studies be made while something else is tested."""
        self._begun += [self.server.research("A lean study", template="lean") for _ in range(count)]

    def study(self) -> str:
        """A finished study that is not published; the chat's id."""
        if not self._begun:
            self.begin(1)
        chat = self._begun.pop(0)
        self.server.wait_state(chat, "finished")
        return chat

    def name(self, chat: str) -> str:
        """Of its repository."""
        return str(self.server.get(f"postdoc/api/chats/{chat}")["project"]["repo"])

    def root(self, chat: str) -> Path:
        """Its checkout."""
        return self.server.root / str(self.server.get(f"postdoc/api/chats/{chat}")["project"]["path"])

    def commit(self, chat: str, name: str, text: str) -> None:
        """A commit of a person in the checkout."""
        root = self.root(chat)
        (root / name).write_text(text)
        git(root, "add", "-A")
        git(root, "-c", "user.name=Ana", "-c", "user.email=ana@x.org", "commit", "-qm", f"Change {name}")

    # --- GitHub, behind the panel's back ---

    def connect(self) -> None:
        self.server.request("postdoc/api/github", {"token": CANARY}, "PUT")

    def disconnect(self) -> None:
        self.server.request("postdoc/api/github", method="DELETE")

    def publication(self, chat: str) -> Json:
        found: Json = self.server.get(f"postdoc/api/chats/{chat}/publication")
        return found

    def publish(self, chat: str, state: str = "published", **options: Any) -> Json:
        """Publish, and wait until it has come to this state; the picture."""
        self.server.post(f"postdoc/api/chats/{chat}/publish", **options)
        return self.reach(chat, state)

    def reach(self, chat: str, state: str, limit_s: float = 30) -> Json:
        """The picture, once the publication is in this state."""
        wait_for(lambda: self.publication(chat)["state"] == state, limit_s, every_s=0.1)
        return self.publication(chat)

    def taken(self, chat: str) -> None:
        """Somebody has a repository of the study's name already."""
        self.hub.post("/user/repos", {"name": self.name(chat), "auto_init": True})

    def check(self, shown: Json, conclusion: str = "success") -> None:
        """A check of the branch has finished."""
        done = {"name": "reproduce", "head_sha": shown["branch"]["commit"], "status": "completed"}
        name = shown["repository"]["name"]
        self.hub.post(f"/repos/{name}/check-runs", {**done, "conclusion": conclusion})

    @contextmanager
    def held(self, method: str, path: str) -> Iterator[None]:
        """GitHub answers such requests only when this is left."""
        go = threading.Event()

        def hold(asked: Any) -> None:
            if asked.method == method and path in asked.path:
                go.wait(20)

        self.faults.on_request = hold
        try:
            yield
        finally:
            self.faults.on_request = None
            go.set()

    def kept(self) -> list[str]:
        """The files of the server's user in which the token is."""
        found = subprocess.run(
            ["grep", "-rlF", CANARY, str(self.server.home)], capture_output=True, text=True, check=False
        )
        return [str(Path(line).relative_to(self.server.home)) for line in found.stdout.splitlines()]


class Secretive(Watched):
    """What pages send and receive, apart from the one request that connects."""

    def __init__(self) -> None:
        super().__init__()
        self.puts = 0
        self.leaks: list[str] = []
        self.frames = 0
        self.pages: list[Page] = []

    def watch(self, context: BrowserContext) -> None:
        super().watch(context)
        context.on("request", self._sent)
        context.on("page", self._opened)

    def _opened(self, page: Page) -> None:
        self.pages.append(page)
        page.on("websocket", self._socket)

    def _sent(self, request: Request) -> None:
        text = f"{request.url} {request.headers} {request.post_data_buffer!r}"
        if CANARY not in text:
            return
        if request.method == "PUT" and request.url.split("?")[0].endswith("/postdoc/api/github"):
            self.puts += 1
            assert CANARY not in request.url
        else:
            self.leaks.append(f"{request.method} {request.url}")

    def _socket(self, socket: WebSocket) -> None:
        for event in ("framesent", "framereceived"):
            socket.on(event, lambda data, event=event: self._frame(event, data))

    def _frame(self, event: str, data: Any) -> None:
        self.frames += 1
        if CANARY in (data if isinstance(data, str) else data.decode("latin-1")):
            self.leaks.append(f"a frame ({event})")

    def look(self) -> None:
        """Nothing that a page shows or keeps has the token."""
        for page in self.pages:
            if not page.is_closed():
                kept = page.evaluate(KEPT_BY_THE_BROWSER)
                assert len(kept[0]) > 1000
                assert CANARY not in json.dumps(kept), "the browser keeps the token"

    def check(self) -> None:
        super().check()
        assert not self.leaks, self.leaks


class Publications:
    """The parts of one panel that have to do with publishing."""

    def __init__(self, panel: Panel) -> None:
        self.panel = panel

    @property
    def card(self) -> Locator:
        return self.panel.session.locator("[data-publication]")

    @property
    def dialog(self) -> Locator:
        return self.panel.page.locator("dialog[open]")

    def button(self, name: str) -> Locator:
        return self.card.get_by_role("button", name=name, exact=True)

    def link(self, name: str) -> str:
        """Where a link of the card leads."""
        link = self.card.get_by_role("link", name=name, exact=True)
        assert link.get_attribute("rel") == "noopener noreferrer"
        assert link.get_attribute("target") == "_blank"
        return str(link.get_attribute("href"))

    def badge(self, chat: str) -> Locator:
        """In the list of sessions."""
        return self.panel.row(chat).locator(".jp-Postdoc-PublishBadge")

    def connect(self, token: str = CANARY) -> None:
        """In the dialog that is open."""
        field = self.dialog.get_by_label("Token", exact=True)
        field.click()
        self.panel.page.keyboard.type(token)
        self.dialog.get_by_role("button", name="Connect", exact=True).click()


def git(root: Path, *args: str) -> str:
    """What git says."""
    return subprocess.run(["git", "-C", str(root), *args], check=True, capture_output=True, text=True).stdout.strip()


def soon(what: Callable[[], Any], limit_s: float = 10) -> Any:
    """See :func:`~.service.wait_for`."""
    return wait_for(what, limit_s)


def in_seconds(moment: str) -> float:
    """From now until this moment (ISO 8601, UTC)."""
    return time.mktime(time.strptime(moment[:19], "%Y-%m-%dT%H:%M:%S")) - time.timezone - time.time()
