"""The widget of a notebook cell in a real JupyterLab: live, hostile text, and what is left of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from .conftest import NARROW, Watched
from .service import TOKEN, Jupyter, wait_for


def write_notebook(folder: Path, name: str, *cells: str) -> None:
    code = {"cell_type": "code", "metadata": {}, "execution_count": None, "outputs": []}
    notebook = {
        "cells": [code | {"id": f"cell-{n}", "source": source} for n, source in enumerate(cells)],
        "metadata": {"kernelspec": {"name": "python3", "display_name": "Python 3"}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    (folder / name).write_text(json.dumps(notebook))


@pytest.fixture
def page(browser: Browser, watched: Watched) -> Iterator[Page]:
    context = browser.new_context(viewport=NARROW)
    context.set_default_timeout(20_000)
    watched.watch(context)
    yield context.new_page()
    context.close()


def run_all(page: Page, server: Jupyter, name: str) -> None:
    """Open a notebook and run its cells."""
    page.goto(f"{server.url}lab/workspaces/{Path(name).stem}/tree/{name}?token={TOKEN}")
    page.locator(".jp-Notebook .jp-Cell").first.wait_for(timeout=60_000)
    expect(page.locator("#jp-main-statusbar")).to_contain_text("| Idle", timeout=60_000)
    if (choose := page.locator(".jp-Dialog").get_by_role("button", name="Select Kernel")).is_visible():
        choose.click()
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()


def test_a_cell_follows_to_the_end_and_keeps_it(lab: Jupyter, page: Page, shoot: Any) -> None:
    chat = lab.research("Short Term Reversal")
    write_notebook(lab.root, "live.ipynb", f"from jupyterlab_postdoc import Follow\nFollow({chat!r})")
    run_all(page, lab, "live.ipynb")
    card = page.locator("section.postdoc-follow")
    expect(card).to_be_visible(timeout=60_000)
    expect(card.get_by_role("status")).to_be_visible()
    link = card.get_by_role("link", name="Open the session")
    assert link.get_attribute("href") == f"{lab.base_url}postdoc/s/{chat}"
    assert not Axe().run(page, context="section.postdoc-follow").response["violations"]
    shoot(page, "follow-live")
    # At the end it is plain HTML: no widget, no kernel.
    lab.wait_state(chat, "finished", limit_s=90)
    kept = page.locator("div.postdoc-follow")
    expect(kept).to_contain_text("Finished")
    expect(kept).to_contain_text("Supported:")
    expect(card).to_have_count(0)
    shoot(page, "follow-finished")
    page.keyboard.press("Control+s")
    saved = lab.root / "live.ipynb"
    wait_for(lambda: "Supported:" in saved.read_text())
    assert TOKEN not in saved.read_text()
    page.reload()
    expect(page.locator("div.postdoc-follow")).to_contain_text("Supported:", timeout=60_000)


def test_a_cell_shows_what_is_asked_and_hostile_text_as_text(lab: Jupyter, page: Page) -> None:
    chat = lab.research("asks please", template="asks")
    lab.wait_state(chat, "waiting", "paused")
    evil = "<img src=https://evil.example/x onerror=alert(1)>"
    lab.request(f"postdoc/api/chats/{chat}", {"title": evil}, method="PATCH")
    write_notebook(
        lab.root, "asks.ipynb", f"from jupyterlab_postdoc import Follow\nFollow({chat!r})", "Follow('c_nobody')"
    )
    run_all(page, lab, "asks.ipynb")
    card = page.locator("section.postdoc-follow")
    expect(card).to_contain_text("Needs your answer", timeout=60_000)
    expect(card).to_contain_text("Which colour?")
    expect(card.locator(".postdoc-title")).to_have_text(evil)
    expect(page.locator("div.postdoc-follow")).to_contain_text("There is no session")
    lab.post(f"postdoc/api/chats/{chat}/stop")
