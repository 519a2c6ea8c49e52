"""Every view in every theme, narrow and wide: readable, reachable without a mouse, nothing that sticks out."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from .conftest import SETTINGS
from .panel import Panel
from .service import Jupyter

Open = Callable[..., Panel]
Shoot = Callable[..., None]
THEMES = ["JupyterLab Light", "JupyterLab Dark", "JupyterLab Dark High Contrast"]
WIDTHS = [260, 420, 1200]
SIDEBAR = "#jp-main-split-panel > .lm-SplitPanel-handle"


@pytest.fixture(scope="module")
def desk(make_jupyter: Callable[..., Jupyter]) -> dict[str, Any]:
    """A server with sessions in several states, and a room."""
    server = make_jupyter("views")
    server.setting(SETTINGS, foldToolCalls=True)
    finished = server.research("Short Term Reversal")
    asking = server.research("asks please", template="asks")
    server.wait_state(finished, "finished", limit_s=120)
    server.wait_state(asking, "waiting")
    for kind, text in (("status", "Tests **pass**."), ("question", "Which data?"), ("blocker", "No key.")):
        server.post("postdoc/api/messages", agent="codex", kind=kind, content=text, room="lab")
    return {"server": server, "finished": finished, "asking": asking}


def widen(page: Page, width: int) -> None:
    """Make the sidebar so wide."""
    handle = page.locator(SIDEBAR).first.bounding_box()
    assert handle is not None
    bar = page.locator(".jp-SideBar.jp-mod-left").bounding_box()
    assert bar is not None
    page.mouse.move(handle["x"] + handle["width"] / 2, 400)
    page.mouse.down()
    page.mouse.move(bar["x"] + bar["width"] + width, 400, steps=6)
    page.mouse.up()


def sound(panel: Panel, where: str) -> None:
    """axe finds nothing serious, and nothing sticks out at the side."""
    found = Axe().run(panel.page, context=".jp-Postdoc-App", options={"resultTypes": ["violations"]})
    serious = [
        f"{one['id']} ({one['impact']}): {one['nodes'][0]['html'][:200]} {one['nodes'][0].get('failureSummary', '')}"
        for one in found.response["violations"]
        if one["impact"] in ("serious", "critical")
    ]
    assert not serious, f"{where}: " + "\n".join(serious)
    over = panel.root.evaluate("root => root.scrollWidth - root.clientWidth")
    assert over <= 1, f"{where}: {over} px stick out"


@pytest.mark.timeout(240)
@pytest.mark.parametrize("theme", THEMES)
def test_every_view_is_sound(desk: dict[str, Any], theme: str, open_panel: Open, shoot: Shoot) -> None:
    server: Jupyter = desk["server"]
    server.setting("@jupyterlab/apputils-extension:themes", theme=theme)
    panel = open_panel(server, size={"width": 1600, "height": 900})
    expect(panel.page.locator(f'body[data-jp-theme-name="{theme}"]')).to_have_count(1)
    name = theme.replace("JupyterLab ", "").replace(" ", "-").lower()
    for width in WIDTHS:
        widen(panel.page, width)

        def seen(view: str, width: int = width) -> None:
            sound(panel, f"{view}, {theme}, {width} px")
            shoot(panel.page, f"{view}-{name}-{width}")

        panel.sessions()
        expect(panel.row(desk["finished"])).to_be_visible()
        seen("list")
        panel.open(desk["finished"])
        expect(panel.items("result")).to_contain_text("Supported")
        seen("result")
        panel.open(desk["asking"])
        expect(panel.items("question")).to_contain_text("The agent asks")
        seen("asks")
        panel.button("New research").first.click()
        panel.root.get_by_label("Topic").fill("Momentum")
        if panel.root.get_by_role("radiogroup").count() == 0:
            panel.root.get_by_role("button", name=re.compile("^Options")).click()
        seen("form")
        panel.button("Rooms").first.click()
        panel.root.get_by_text("lab", exact=True).first.click()
        expect(panel.root.get_by_text("No key.")).to_be_visible()
        seen("room")
        panel.button("Rooms").first.click()


def test_all_of_it_without_a_mouse(desk: dict[str, Any], open_panel: Open) -> None:
    server: Jupyter = desk["server"]
    panel = open_panel(server, path="lab/workspaces/keys")
    page = panel.page
    page.wait_for_selector(".jp-LauncherCard", timeout=40_000)
    page.keyboard.press("Control+Shift+C")
    page.locator(".lm-CommandPalette-input:visible").fill("New research")
    page.keyboard.press("Enter")
    topic = panel.root.get_by_label("Topic")
    expect(topic).to_be_focused()
    page.keyboard.type("Low volatility")
    page.keyboard.press("Control+Enter")
    panel.session.wait_for()
    panel.wait_live(re.compile("^Finished"), 90)
    panel.button("Back to all sessions").focus()
    page.keyboard.press("Enter")
    options = panel.root.get_by_role("listbox")
    options.focus()
    page.keyboard.press("Home")
    page.keyboard.press("Enter")  # what needs the user comes first
    panel.wait_live("Needs your answer")
    panel.session.get_by_role("button", name="Answer", exact=True).first.focus()
    page.keyboard.press("Enter")
    focused = page.evaluate("() => document.activeElement.closest('[data-request]') !== null")
    assert focused
    outline = page.evaluate("() => getComputedStyle(document.activeElement).outlineStyle")
    assert outline != "none"
    page.keyboard.press("Enter")
    server.wait_state(desk["asking"], "finished", "error")


def test_no_server_part_says_what_to_run(make_jupyter: Callable[..., Jupyter], open_panel: Open, shoot: Shoot) -> None:
    panel = open_panel(make_jupyter("without", extension=False))
    expect(panel.root).to_contain_text("jupyter server extension enable jupyterlab_postdoc", timeout=30_000)
    shoot(panel.page, "no-server-part")
    sound(panel, "no server part")
