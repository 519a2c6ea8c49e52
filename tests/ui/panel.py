"""The panel as a person uses it: words for what tests click, type and read."""

from __future__ import annotations

import re
import uuid
from typing import Any

from playwright.sync_api import Locator, Page, expect

from .service import Jupyter

READY_MS = 40_000


class Panel:
    """The panel of one page of a browser. ``clicks`` counts what a person had to click."""

    def __init__(self, page: Page, server: Jupyter) -> None:
        self.page = page
        self.server = server
        self.clicks = 0

    # --- getting there ---

    def enter(self, path: str | None, token: str) -> None:
        """Log in and show the panel: in the sidebar, or at ``path`` below the server's address."""
        where = path if path is not None else f"lab/workspaces/w{uuid.uuid4().hex[:8]}"
        self.page.goto(f"{self.server.url}{where}?token={token}")
        if path is None:
            self.page.wait_for_selector(".jp-LauncherCard", timeout=READY_MS)
            self.show()

    @property
    def tab(self) -> Locator:
        """The icon in the sidebar."""
        return self.page.locator('.jp-SideBar [data-id="postdoc-panel"]')

    def show(self) -> None:
        """Click the icon, unless the panel is there."""
        if not self.root.is_visible():
            self.click(self.tab)
        self.root.wait_for()

    def click(self, what: Locator) -> None:
        self.clicks += 1
        what.click()

    @property
    def root(self) -> Locator:
        return self.page.locator(".jp-Postdoc-App").first

    def button(self, name: str, *, exact: bool = True) -> Locator:
        return self.root.get_by_role("button", name=name, exact=exact)

    # --- sessions ---

    def sessions(self) -> None:
        """Back to the list."""
        back = self.button("Back to all sessions")
        if back.is_visible():
            back.click()

    def row(self, chat: str) -> Locator:
        return self.root.locator(f'[role=option][data-id="{chat}"]')

    def open(self, chat: str) -> Locator:
        """Open a session from the list; its element."""
        self.sessions()
        self.row(chat).click()
        return self.session

    @property
    def session(self) -> Locator:
        return self.root.locator(".jp-Postdoc-Session")

    def start(self, topic: str) -> str:
        """Start a research by typing one sentence; the session's id."""
        known = {chat["id"] for chat in self.server.chats()}
        new = self.root.get_by_role("button", name="New research").first
        self.click(new)
        self.root.get_by_label("Topic").fill(topic)
        self.click(self.button("Start"))
        self.session.wait_for()
        (made,) = (chat["id"] for chat in self.server.chats() if chat["id"] not in known)
        return str(made)

    def rename(self, title: str) -> None:
        self.session.get_by_role("button", name="Actions of this session").click()
        self.root.get_by_role("menuitem", name="Rename").click()
        self.session.get_by_label("Title").fill(title)
        self.page.keyboard.press("Enter")

    # --- one session ---

    @property
    def live(self) -> Locator:
        """What the session does now, in words."""
        return self.session.locator(".jp-Postdoc-Live-text")

    def wait_live(self, text: str | re.Pattern[str], limit_s: float = 60) -> None:
        expect(self.live).to_have_text(text, timeout=limit_s * 1000)

    def items(self, kind: str | None = None) -> Locator:
        """Rows of the timeline."""
        return self.session.locator(f'[data-item="{kind}"]' if kind else "[data-item]")

    def row_keys(self) -> list[str]:
        """The keys of all rows, in order."""
        found: list[str] = self.items().evaluate_all("rows => rows.map(row => row.dataset.key)")
        return found

    @property
    def box(self) -> Locator:
        return self.session.get_by_label("Message", exact=True)

    def say(self, text: str) -> None:
        self.box.fill(text)
        self.box.press("Enter")

    def streaming(self) -> Locator:
        """The reply that is growing."""
        return self.session.locator(".jp-mod-streaming").first

    @property
    def banner(self) -> Locator:
        return self.root.locator(".jp-Postdoc-Banner")

    def truth(self, chat: str) -> list[str]:
        """What the timeline must show, by the server's log: every row's key, in the order in which they began."""
        rows: dict[str, int] = {}
        for event in self.server.events(chat):
            if (key := row_of(event)) is not None:
                rows.setdefault(key, event.get("replaces", [event["seq"]])[0])
        return sorted(rows, key=lambda key: rows[key])


def row_of(event: dict[str, Any]) -> str | None:
    """The key of the row that an event begins; None for one that begins none (or that the timeline does not show)."""
    match event["type"]:
        case "user_message":
            return f"u:{event['id']}"
        case "assistant_message":
            return f"t:{event['itemId']}"
        case "tool_use" if event["toolName"] != "plan" and "parent" not in event:
            return f"c:{event['toolId']}"
        case "artifact" if event["artifact"] == "commit":
            return f"k:{event['seq']}"
        case "result":
            return f"r:{event['seq']}"
        case "question" | "approval_request":
            return f"q:{event['requestId']}"
        case _:
            return None
