"""From a sentence to a report; and nothing is lost or shown twice on the way."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from playwright.sync_api import expect

from .conftest import NOTEBOOK_NOISE, Watched
from .panel import Panel
from .service import Jupyter, wait_for

Open = Callable[..., Panel]
Shoot = Callable[..., None]
FINISHED = re.compile(r"^Finished · ")


def shown(panel: Panel, chat: str) -> None:
    """The timeline shows exactly what the log holds: no hole, nothing twice, in order."""
    wanted = panel.truth(chat)
    found: list[str] = []

    def same() -> bool:
        found[:] = [key for key in panel.row_keys() if key[0] in "utckrq"]
        return found == wanted

    try:
        wait_for(same, 10)
    except AssertionError:
        assert found == wanted
    assert len(set(panel.row_keys())) == len(panel.row_keys())


def test_a_newcomer_gets_from_the_launcher_to_a_report(lab: Jupyter, open_panel: Open, shoot: Shoot) -> None:
    panel = open_panel(lab)
    shoot(panel.page, "empty")
    chat = panel.start("Does short term reversal survive costs?")
    panel.wait_live(re.compile("Running cell|Editing cells|Preparing"))
    shoot(panel.page, "running")
    panel.wait_live(FINISHED)
    expect(panel.items("result")).to_contain_text("Supported")
    expect(panel.items("result")).to_contain_text("no language model took part")
    shoot(panel.page, "finished")
    panel.click(panel.items("result").get_by_role("button", name="Open report"))
    assert panel.clicks <= 4
    frame = panel.page.frame_locator(f'iframe[src*="{chat}"]')
    expect(frame.locator("body")).to_contain_text("reversal", timeout=20_000)
    sandbox = panel.page.locator(f'iframe[src*="{chat}"]').get_attribute("sandbox")
    assert sandbox is not None
    assert "allow-same-origin" not in sandbox
    shoot(panel.page, "report")
    shown(panel, chat)
    panel.session.get_by_role("button", name="Notebook", exact=True).click()
    page = panel.page.frame_locator(".jp-Postdoc-Notebook-frame iframe").frame_locator("iframe")
    expect(page.locator(".cm-content").first).to_contain_text("import marimo", timeout=60_000)
    shoot(panel.page, "notebook")
    panel.page.get_by_role("button", name="More about the notebook").click()
    panel.page.get_by_role("menuitem", name="Open the file").click()
    expect(panel.page.locator(".jp-FileEditor")).to_contain_text("import marimo", timeout=20_000)


def test_figures_are_shown(lab: Jupyter, open_panel: Open) -> None:
    panel = open_panel(lab)
    chat = panel.start("Momentum")
    panel.wait_live(FINISHED)
    picture = panel.items("tool").locator(".jp-Postdoc-Picture img").first
    picture.scroll_into_view_if_needed()
    wait_for(lambda: picture.evaluate("img => img.naturalWidth") > 100)
    shown(panel, chat)


def test_a_reload_in_the_middle_loses_nothing(lab: Jupyter, open_panel: Open) -> None:
    panel = open_panel(lab)
    chat = panel.start("Low volatility")
    panel.items("text").first.wait_for()
    for _ in range(2):
        panel.page.reload()
        panel.page.wait_for_selector(".jp-Postdoc-App, .jp-LauncherCard", timeout=40_000)
        panel.show()
        if not panel.session.is_visible():
            panel.open(chat)
        panel.items("text").first.wait_for()
    panel.wait_live(FINISHED)
    shown(panel, chat)


def test_two_tabs_show_the_same(lab: Jupyter, open_panel: Open) -> None:
    one, two = open_panel(lab), open_panel(lab)
    chat = one.start("Short Term Reversal")
    two.open(chat)
    one.wait_live(FINISHED)
    two.wait_live(FINISHED)
    shown(one, chat)
    shown(two, chat)
    two.rename("Reversal, seen twice")
    expect(one.session.get_by_role("heading")).to_have_text("Reversal, seen twice")


def test_a_killed_server_comes_back_and_the_run_goes_on(
    make_jupyter: Callable[..., Jupyter], open_panel: Open, shoot: Shoot
) -> None:
    server = make_jupyter("killed")
    panel = open_panel(server)
    chat = panel.start("Short Term Reversal")
    panel.wait_live(re.compile("Running cell|Editing cells"))
    server.kill()
    expect(panel.banner).to_contain_text("Connection lost", timeout=20_000)
    expect(panel.root).to_contain_text(re.compile("Reconnecting"))
    shoot(panel.page, "connection-lost")
    server.start()
    expect(panel.banner).not_to_contain_text("Connection lost", timeout=30_000)
    chat_now: dict[str, Any] = server.wait_state(chat, "finished", "interrupted", "error", limit_s=90)
    assert chat_now["state"] == "finished"
    panel.wait_live(FINISHED)
    shown(panel, chat)


def test_stop_stops_and_resume_goes_on(lab: Jupyter, open_panel: Open, shoot: Shoot) -> None:
    panel = open_panel(lab)
    chat = panel.start("Momentum")
    panel.wait_live(re.compile("Running cell|Editing cells"))
    panel.button("Stop").click()
    panel.wait_live(re.compile("^Stopped by you"), 20)
    shoot(panel.page, "stopped")
    assert panel.session.locator(".jp-mod-spin").count() == 0
    panel.session.locator(".jp-Postdoc-Live").get_by_role("button", name="Resume").click()
    panel.wait_live(FINISHED)
    shown(panel, chat)


def test_a_question_waits_and_is_answered(lab: Jupyter, open_panel: Open, shoot: Shoot) -> None:
    panel = open_panel(lab)
    chat = lab.research("asks please", template="asks")
    panel.open(chat)
    panel.wait_live("Needs your answer")
    card = panel.items("question")
    expect(card).to_contain_text("The agent asks")
    shoot(panel.page, "question")
    expect(panel.tab).to_have_attribute("data-postdoc-badge", "1")
    badge = panel.tab.evaluate("tab => parseFloat(getComputedStyle(tab, '::before').height)")
    assert 10 <= badge <= 20  # a badge, and the icon is seen beside it
    panel.session.get_by_role("button", name="Answer", exact=True).first.click()
    card.locator("footer button, input").first.wait_for()
    options = card.locator("footer button")
    if options.count():
        options.first.click()
    else:
        card.get_by_label("Your answer").fill("Yes")
        card.get_by_role("button", name="Answer").click()
    lab.wait_state(chat, "finished", "error")
    expect(card).not_to_contain_text("The agent asks")
    shown(panel, chat)


def test_in_notebook_7_too(
    make_jupyter: Callable[..., Jupyter], open_panel: Open, shoot: Shoot, watched: Watched
) -> None:
    watched.allowed = NOTEBOOK_NOISE
    server = make_jupyter("notebook", app="notebook", base_url="/user/ana/")
    panel = open_panel(server, path="tree")
    panel.page.wait_for_selector(".jp-FileBrowser, .jp-DirListing", timeout=40_000)
    panel.page.get_by_role("menuitem", name="View").click()
    panel.page.get_by_role("menuitem", name=re.compile("Research")).first.click()
    panel.root.wait_for()
    chat = panel.start("Short Term Reversal")
    panel.wait_live(FINISHED)
    shoot(panel.page, "notebook7")
    shown(panel, chat)
