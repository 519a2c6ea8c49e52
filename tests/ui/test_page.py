"""The page without JupyterLab: addresses, the back button, titles, the report, themes."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from .panel import Panel
from .service import TOKEN, Jupyter

DESK, PHONE = {"width": 1400, "height": 900}, {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def finished(lab: Jupyter) -> str:
    chat = lab.research("Short Term Reversal")
    lab.wait_state(chat, "finished", limit_s=90)
    return chat


def test_every_view_has_an_address(lab: Jupyter, finished: str, open_panel: Callable[..., Panel]) -> None:
    page = open_panel(lab, path=f"postdoc/s/{finished}", size=DESK).page
    root = f"{lab.url}postdoc/"
    expect(page).to_have_url(f"{root}s/{finished}")  # the token is gone from the address
    expect(page).to_have_title(re.compile("Short Term Reversal · Postdoc"))
    expect(page.get_by_text("Supported", exact=True).first).to_be_visible()
    page.get_by_role("button", name="New research").first.click()
    expect(page).to_have_url(f"{root}new")
    page.get_by_role("button", name="Rooms").click()
    expect(page).to_have_url(f"{root}rooms")
    page.go_back()
    expect(page).to_have_url(f"{root}new")
    expect(page.get_by_role("textbox").first).to_be_visible()
    page.go_back()
    expect(page).to_have_url(f"{root}s/{finished}")
    expect(page.get_by_text("Supported", exact=True).first).to_be_visible()
    page.reload()
    expect(page.get_by_text("Supported", exact=True).first).to_be_visible()


def test_a_report_has_no_rights(lab: Jupyter, finished: str, open_panel: Callable[..., Panel]) -> None:
    page = open_panel(lab, path=f"postdoc/s/{finished}", size=DESK).page
    page.get_by_role("button", name="Open report").click()
    dialog = page.get_by_role("dialog")
    frame = dialog.locator("iframe")
    # No scripts, no forms, no origin: its links may open a window, and that is all.
    sandbox = frame.get_attribute("sandbox")
    assert sandbox is not None
    assert set(sandbox.split()) <= {"allow-popups", "allow-popups-to-escape-sandbox"}
    expect(dialog.frame_locator("iframe").get_by_role("heading").first).to_be_visible()
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    expect(page.get_by_role("button", name="Open report")).to_be_focused()


def test_nothing_is_kept_that_opens_the_server(lab: Jupyter, finished: str, open_panel: Callable[..., Panel]) -> None:
    page = open_panel(lab, path=f"postdoc/s/{finished}", size=DESK).page
    expect(page.get_by_text("Supported", exact=True).first).to_be_visible()
    kept = page.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}, history.state, location.href])")
    assert TOKEN not in kept + page.content()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [PHONE, DESK], ids=["phone", "desk"])
def test_it_is_accessible(
    lab: Jupyter, finished: str, open_panel: Callable[..., Panel], shoot: Any, size: Any, scheme: str
) -> None:
    page = open_panel(lab, path="postdoc/", size=size, color_scheme=scheme).page
    for view, there in (
        ("", "[role=option]"),
        (f"s/{finished}", "text=Supported"),
        ("new", "textarea"),
        ("rooms", "h2"),
    ):
        page.goto(f"{lab.url}postdoc/{view}")
        page.locator(there).first.wait_for()
        serious = [
            (one["id"], one["nodes"][0]["html"][:200])
            for one in Axe().run(page).response["violations"]
            if one["impact"] in ("serious", "critical")
        ]
        assert not serious, view
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), f"{view} is too wide"
        shoot(page, f"page-{view.partition('/')[0] or 'list'}-{size['width']}-{scheme}")
