"""The page without JupyterLab: who is logged in follows a session from anywhere, and nobody else sees anything."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, Response, expect

from .conftest import Watched
from .panel import Panel
from .service import TOKEN, Jupyter, wait_for
from .test_research import FINISHED

Open = Callable[..., Panel]
Shoot = Callable[..., None]
PHONE = {"width": 360, "height": 740}


@pytest.fixture(scope="module")
def hub(make_jupyter: Callable[..., Jupyter]) -> Jupyter:
    """A server of one user of a hub."""
    return make_jupyter("hub", base_url="/user/ana/")


@pytest.fixture(scope="module")
def study(hub: Jupyter) -> str:
    """A finished research."""
    chat = hub.research("Short Term Reversal")
    hub.wait_state(chat, "finished")
    return chat


def shown(panel: Panel, chat: str) -> None:
    """All that the log holds, in order, when the earlier part is loaded too; calls of tools are folded here."""
    wanted = [key for key in panel.truth(chat) if not key.startswith("c:")]

    def complete() -> bool:
        if panel.button("Load earlier").is_visible():
            panel.session.get_by_role("group", name="Timeline").press("Home")
        return [key for key in panel.row_keys() if key[0] in "utkrq"] == wanted

    wait_for(complete, 10)


def narrow(panel: Panel) -> None:
    """Nothing is wider than the window."""
    wide = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert panel.page.evaluate(wide) <= 0
    assert panel.root.evaluate("node => node.scrollWidth - node.clientWidth") <= 0


def test_without_a_login_nothing_is_shown(hub: Jupyter, study: str, open_panel: Open) -> None:
    page = open_panel(hub, path="postdoc/").page.context.browser.new_page()  # type: ignore[union-attr]
    try:
        for path in ("postdoc/", f"postdoc/s/{study}", "postdoc/rooms"):
            page.goto(hub.url + path)
            assert page.url.startswith(f"{hub.url}login?next=")
            page.get_by_label("Password or token").first.wait_for()
            assert page.locator(".jp-Postdoc-App, #postdoc").count() == 0
            assert "Reversal" not in page.content()
        page.get_by_label("Password or token").first.fill(TOKEN)
        page.get_by_role("button", name="Log in").first.click()
        page.wait_for_url(f"{hub.url}postdoc/rooms")
        page.locator(".jp-Postdoc-App").wait_for()
    finally:
        page.close()


def test_the_policy_of_the_page_lets_no_script_in(hub: Jupyter, open_panel: Open, watched: Watched) -> None:
    watched.allowed = re.compile(f"{watched.allowed.pattern}|Content Security Policy")
    panel = open_panel(hub, path="postdoc/")
    answer: Response | None = panel.page.goto(f"{hub.url}postdoc/")
    assert answer is not None
    policy = dict(part.strip().split(" ", 1) for part in answer.headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == "'self'"
    assert policy["frame-ancestors"] == "'self'"
    assert "unsafe" not in str({name: value for name, value in policy.items() if name != "style-src-attr"})
    panel.root.wait_for()
    # The browser keeps to it: a script that came in somehow does not run.
    panel.page.evaluate(
        """() => {
            const script = document.createElement('script');
            script.textContent = 'window.ran = true';
            document.body.append(script);
            document.body.insertAdjacentHTML('beforeend', '<img src=x onerror="window.ran = true">');
        }"""
    )
    panel.page.wait_for_function("document.body.lastElementChild.complete")
    assert panel.page.evaluate("window.ran") is None


def test_the_list_a_deep_link_and_the_way_back(hub: Jupyter, study: str, open_panel: Open, shoot: Shoot) -> None:
    panel = open_panel(hub, path="postdoc/", size=PHONE)
    page = panel.page
    page.wait_for_url(f"{hub.url}postdoc/")
    expect(panel.row(study)).to_contain_text("Finished")
    narrow(panel)
    shoot(page, "page-phone-list")
    panel.row(study).click()
    page.wait_for_url(f"{hub.url}postdoc/s/{study}")
    expect(page).to_have_title(re.compile("Short Term Reversal"))
    expect(panel.items("result")).to_contain_text("Supported")
    narrow(panel)
    shoot(page, "page-phone-session")
    shown(panel, study)
    page.go_back()
    expect(panel.row(study)).to_be_visible()
    page.go_forward()
    expect(panel.items("result")).to_be_visible()

    linked = open_panel(hub, path=f"postdoc/s/{study}")
    linked.page.wait_for_url(f"{hub.url}postdoc/s/{study}")
    expect(linked.items("result")).to_contain_text("Supported")
    expect(linked.row(study)).to_have_count(1)  # there is room for the list beside it
    shoot(linked.page, "page-wide")
    linked.page.goto(f"{hub.url}postdoc/s/nothing-of-this-name")
    expect(linked.root).to_contain_text("This session was deleted.")


def test_what_happens_elsewhere_is_there_at_once(hub: Jupyter, open_panel: Open, shoot: Shoot) -> None:
    panel = open_panel(hub, path="postdoc/", size=PHONE)
    panel.root.wait_for()
    chat = hub.research("Momentum")
    expect(panel.row(chat)).to_contain_text("Momentum")
    panel.row(chat).click()
    panel.wait_live(re.compile("Running cell|Editing cells"))
    shoot(panel.page, "page-phone-running")
    panel.wait_live(FINISHED)
    shown(panel, chat)
    narrow(panel)


def test_the_report_opens_in_a_dialog(hub: Jupyter, study: str, open_panel: Open, shoot: Shoot) -> None:
    panel = open_panel(hub, path=f"postdoc/s/{study}", size=PHONE)
    opener = panel.items("result").get_by_role("button", name="Open report")
    opener.click()
    page: Page = panel.page
    dialog = page.get_by_role("dialog")
    expect(dialog).to_be_visible()
    frame = dialog.locator("iframe")
    sandbox = str(frame.get_attribute("sandbox"))
    assert "allow-scripts" not in sandbox
    assert "allow-same-origin" not in sandbox
    expect(dialog.frame_locator("iframe").locator("body")).to_contain_text("Reversal")
    shoot(page, "page-phone-report")
    link = dialog.get_by_role("link", name="Open in a tab")
    assert "noopener" in str(link.get_attribute("rel"))
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    expect(opener).to_be_focused()
