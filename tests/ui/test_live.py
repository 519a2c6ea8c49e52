"""The notebook while an agent works in it: watched, taken over, given back, in a real browser."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import expect

from .live import Live, go_on, growing, waiting
from .panel import Panel
from .service import Jupyter

Open = Callable[..., Panel]
Shoot = Callable[..., None]
FINISHED = re.compile(r"^Finished · ")
WIDE = {"width": 1280, "height": 900}


@pytest.fixture(scope="module")
def templates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("templates")
    growing(folder / "growing")
    return folder


@pytest.fixture(scope="module")
def hub(make_jupyter: Callable[..., Jupyter], templates: Path) -> Jupyter:
    """A server of one user of a hub."""
    return make_jupyter("live-hub", base_url="/user/ana/", template_paths=[str(templates)])


@pytest.fixture(scope="module")
def lab(make_jupyter: Callable[..., Jupyter], templates: Path) -> Jupyter:
    return make_jupyter("live-lab", template_paths=[str(templates)])


@pytest.fixture
def open_live(open_panel: Open) -> Callable[[Jupyter, str], Live]:
    """The page of a session's notebook, without JupyterLab."""

    def open_one(server: Jupyter, chat: str) -> Live:
        live = Live(open_panel(server, path=f"postdoc/notebook/{chat}", size=WIDE), chat)
        live.shows("import marimo as mo", 60)
        return live

    return open_one


def test_each_cell_appears_with_its_output_as_the_agent_adds_it(
    hub: Jupyter, open_live: Callable[..., Live], shoot: Shoot
) -> None:
    chat = waiting(hub)
    live = open_live(hub, chat)
    expect(live.hand).to_have_text(re.compile("you watch", re.IGNORECASE))
    texts = ["one is 121", "slow is 221", "two is 122", "three is 123"]
    live.watch_for(*texts)
    go_on(hub, chat)
    live.shows("one is 121")
    shoot(live.page, "live-watch")
    live.shows("three is 123")
    hub.wait_state(chat, "finished")
    seen = live.seen()
    assert sorted(seen, key=lambda text: seen[text]["at"]) == texts
    for count, text in enumerate(texts[:-1], 1):
        assert seen[text]["with"] == texts[:count], "each is there before the next one begins"
    (run,) = [event for event in hub.events(chat, "result")]
    assert run["success"], run
