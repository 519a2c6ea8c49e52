"""A real browser on a real server. Runs in a pytest process of its own: ``pytest tests/ui`` (Playwright's event loop
and that of pytest-jupyter do not share one).
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Dialog, Page

from tests.model_server import ModelServer

from .panel import Panel
from .service import TOKEN, Jupyter

SHOTS = Path(os.environ.get("POSTDOC_SCREENSHOTS", Path(__file__).parents[2] / "screenshots"))
KEY = "sk-ant-test-0123456789abcdef"
SETTINGS = "jupyterlab-postdoc:settings"
NARROW = {"width": 1000, "height": 800}
NOISE = re.compile(
    r"favicon|net::ERR_CONNECTION_REFUSED|WebSocket connection|Failed to load resource|Failed to fetch|NetworkError"
    r"|ResizeObserver loop|Unsatisfied version|Download the React DevTools|service.?worker|sandbox"
)
"""What the console may say when a test cuts the server, or what JupyterLab itself says."""
NOTEBOOK_NOISE = re.compile(NOISE.pattern + r"|reading 'schema'")
"""Notebook 7 itself fails so on its pages, with and without extensions."""


def chromium() -> str | None:
    """The browser of the system; none is ever downloaded."""
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A browser, a server and a kernel take their time where others want the processor, too."""
    for item in items:
        if item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(400))
    if chromium() is None and not os.environ.get("CI"):
        for item in items:
            item.add_marker(pytest.mark.skip(reason="there is no Chromium here (apt install chromium)"))


@pytest.fixture(scope="session")
def browser_type_launch_args(browser_type_launch_args: dict[str, Any]) -> dict[str, Any]:
    path = chromium()
    assert path is not None, "CI needs Chromium: apt install chromium"
    return {
        **browser_type_launch_args,
        "executable_path": path,
        "args": ["--no-sandbox", "--disable-dev-shm-usage", "--force-color-profile=srgb"],
    }


@pytest.fixture(scope="session")
def make_jupyter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Jupyter]]:
    """Start a server; all are stopped at the end."""
    made: list[Jupyter] = []

    def make(name: str = "lab", **options: Any) -> Jupyter:
        server = Jupyter(tmp_path_factory.mktemp(name), **options)
        server.setting(SETTINGS, foldToolCalls=False)  # every call is a row, to be compared with the log
        made.append(server)
        return server.start()

    yield make
    for one in made:
        one.stop()


@pytest.fixture(scope="session")
def lab(make_jupyter: Callable[..., Jupyter]) -> Jupyter:
    """A JupyterLab without any model, shared by the tests that only look."""
    return make_jupyter()


@pytest.fixture(scope="session")
def model() -> Iterator[ModelServer]:
    """A model that says what it is told."""
    with ModelServer() as server:
        yield server


@pytest.fixture(scope="session")
def model_lab(make_jupyter: Callable[..., Jupyter], model: ModelServer, tmp_path_factory: Any) -> Jupyter:
    """A JupyterLab whose agents speak with ``model``."""
    key = tmp_path_factory.mktemp("key") / "key"
    key.touch(mode=0o600)
    key.write_text(KEY)
    return make_jupyter(
        "model-lab", anthropic_base_url=model.url, anthropic_api_key_file=str(key), model_retry_wait_s=0.01
    )


@pytest.fixture(autouse=True)
def jp_server_cleanup() -> None:
    """In place of pytest-jupyter's, which wants an event loop of its own: Playwright has one already."""


@pytest.fixture
def jp_asyncio_loop() -> None:
    """As above. No test here needs it."""


class Watched:
    """What a page must never do: show a dialog, talk to a foreign host, complain in the console."""

    def __init__(self) -> None:
        self.dialogs: list[str] = []
        self.foreign: list[str] = []
        self.complaints: list[str] = []
        self.allowed = NOISE

    def watch(self, context: BrowserContext) -> None:
        context.on("page", self._watch_page)
        context.on("request", lambda request: self._asked(request.url))

    def _watch_page(self, page: Page) -> None:
        page.on("dialog", self._shown)
        page.on("console", self._said)
        page.on("pageerror", lambda error: self._complain(str(error)))

    def _shown(self, dialog: Dialog) -> None:
        if dialog.type == "beforeunload":
            dialog.accept()  # JupyterLab asks so when a page with unsaved changes is left
            return
        self.dialogs.append(dialog.message)
        dialog.dismiss()

    def _asked(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme in ("http", "https", "ws", "wss") and parts.hostname not in ("127.0.0.1", "localhost"):
            self.foreign.append(url)

    def _said(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self._complain(message.text)

    def _complain(self, text: str) -> None:
        if not self.allowed.search(text):
            self.complaints.append(text)

    def check(self) -> None:
        assert not self.dialogs, f"a script of the shown text ran: {self.dialogs}"
        assert not self.foreign, f"a foreign host was asked: {self.foreign}"
        assert not self.complaints, "\n".join(self.complaints)


@pytest.fixture
def watched() -> Iterator[Watched]:
    """The spies, checked when the test is over."""
    spies = Watched()
    yield spies
    spies.check()


@pytest.fixture
def open_panel(browser: Browser, watched: Watched) -> Iterator[Callable[..., Panel]]:
    """Open a server's front end in a fresh browser profile, with the panel shown."""
    contexts: list[BrowserContext] = []

    def open_one(server: Jupyter, *, path: str | None = None, size: Any = None, **options: Any) -> Panel:
        context = browser.new_context(viewport=size or NARROW, **options)
        context.set_default_timeout(20_000)
        watched.watch(context)
        contexts.append(context)
        panel = Panel(context.new_page(), server)
        panel.enter(path, TOKEN)
        return panel

    yield open_one
    for context in contexts:
        context.close()


@pytest.fixture
def shoot() -> Callable[..., None]:
    """Keep a picture of a state, for people to look at; they are not committed."""
    SHOTS.mkdir(parents=True, exist_ok=True)

    def shot(page: Any, name: str) -> None:
        page.screenshot(path=str(SHOTS / f"{name}.png"))

    return shot
