"""A person looks at a notebook and edits it in a real browser, as the panel shows it; the editor is in its sandbox."""

from __future__ import annotations

import asyncio
import json
import shutil

import pytest

from .framed import Framed, run_all
from .live_client import hold, make_session
from .plain_editor import NOTEBOOK
from .test_report_in_browser import CHROMIUM, browse  # noqa: F401

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium here"),
    pytest.mark.skipif(shutil.which("bwrap") is None, reason="there is no bubblewrap here"),
]
OUTPUT = "[...document.querySelectorAll('.output')].some(o => o.innerText.includes('%s'))"
BUTTONS = "document.querySelectorAll('[data-testid=run-button]').length"


@pytest.fixture
def jp_base_url():
    return "/user/ana/"


@pytest.fixture
def shown(services, http, listening, jp_root_dir, jp_base_url, jp_serverapp, browse):  # noqa: F811
    """``await shown(mode)`` → the page with the notebook in it, and its editor."""

    async def make(mode):
        id = await make_session(services, http, jp_root_dir)
        (jp_root_dir / "research" / "p" / "notebook.py").write_text(NOTEBOOK)
        await hold(services, id, "local" if mode == "edit" else None)
        opened = await http("POST", f"api/chats/{id}/notebook/open", body={"mode": mode})
        assert opened.status == 200, opened.body
        here = f"http://{listening}"
        tab = Framed.of(await browse(f"{here}{jp_base_url}login?token={jp_serverapp.identity_provider.token}"))
        await tab.embed(here + opened.json["url"])
        return tab, services.editors.get((jp_root_dir / "research" / "p").resolve())

    return make


def errors(tab):
    """What the page complained about."""
    said = [e["params"] for e in tab.events if e["method"] == "Runtime.consoleAPICalled"]
    thrown = [e["params"] for e in tab.events if e["method"] == "Runtime.exceptionThrown"]
    return [json.dumps(one)[:300] for one in thrown + [p for p in said if p["type"] == "error"]]


async def test_a_watcher_sees_what_the_agent_runs(shown):
    tab, editor = await shown("watch")
    await tab.until_inside("document.querySelectorAll('.cm-content').length >= 2")
    await run_all(editor)
    await tab.until_inside(OUTPUT % "21")
    assert editor.status.viewers == 1
    assert await tab.inside(BUTTONS) == 0
    assert errors(tab) == []


async def test_a_person_edits_and_runs(shown):
    tab, editor = await shown("edit")
    await tab.until_inside(f"{BUTTONS} >= 2")
    await tab.inside("document.querySelectorAll('[data-testid=run-button]').forEach(button => button.click())")
    await tab.until_inside(OUTPUT % "21")
    await tab.inside("document.querySelector('.cm-content').focus()")
    await tab.inside("getSelection().selectAllChildren(document.querySelector('.cm-line'))")
    await tab.inside("document.execCommand('insertText', false, 'x = 41'); true")
    await tab.until_inside("document.querySelector('.cm-content').innerText.includes('41')")
    await tab.inside("document.querySelectorAll('[data-testid=run-button]')[0].click()")
    await tab.until_inside(OUTPUT % "42")
    async with asyncio.timeout(20):  # the page tells what was typed a moment later
        while (await editor.cells())[0].code != "x = 41":
            await asyncio.sleep(0.2)
    assert errors(tab) == []


CARD = "[...document.querySelectorAll('.fixed')].find(e => e.querySelector('[data-testid=remove-banner-button]'))"


async def test_the_card_for_missing_packages_says_who_installs_them(shown):
    tab, _ = await shown("edit")
    await tab.until_inside(f"{BUTTONS} >= 2")
    await tab.inside("document.querySelector('.cm-content').focus()")
    await tab.inside("getSelection().selectAllChildren(document.querySelector('.cm-line'))")
    await tab.inside("document.execCommand('insertText', false, 'import owl_maths'); true")
    await tab.until_inside("document.querySelector('.cm-content').innerText.includes('owl')")
    await tab.inside("document.querySelectorAll('[data-testid=run-button]')[0].click()")
    card = await tab.until_inside(f"{CARD}?.innerText")
    assert "owl" in card
    assert "Install" not in card
    said = await tab.inside(f"getComputedStyle({CARD}.querySelector('.ml-auto.items-baseline'), '::after').content")
    assert "The agent asks" in said


async def test_a_logout_elsewhere_is_told_to_who_holds_the_page(shown, jp_base_url):
    tab, editor = await shown("watch")
    await tab.until_inside("document.querySelectorAll('.cm-content').length >= 2")
    await tab.js(f"fetch('{jp_base_url}logout').then(answer => answer.status)")
    async with asyncio.timeout(10):
        while not await tab.js("told.some(said => said.event === 'expired')"):
            await asyncio.sleep(0.2)
    assert editor.status.viewers == 0
