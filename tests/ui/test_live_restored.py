"""A checkpoint is brought back into an open page: what the page still shows of other code is marked as that."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import expect

from .live import Live, go_on, growing, waiting
from .service import Jupyter

MARKED = ".marimo-output-stale"
"""How marimo's page says that an output is not that of the code."""


@pytest.fixture(scope="module")
def hub(make_jupyter: Callable[..., Jupyter], tmp_path_factory: pytest.TempPathFactory) -> Jupyter:
    folder = tmp_path_factory.mktemp("templates")
    growing(folder / "growing")
    return make_jupyter("live-restored", template_paths=[str(folder)])


def test_outputs_of_other_code_are_marked_until_they_are_made_anew(
    hub: Jupyter, open_panel: Callable[..., Any]
) -> None:
    chat = waiting(hub)
    live = Live(open_panel(hub, path=f"postdoc/notebook/{chat}", size={"width": 1280, "height": 900}), chat)
    live.shows("import marimo as mo", 60)
    go_on(hub, chat)
    hub.wait_state(chat, "finished")
    live.shows("three is")
    live.take()
    live.write("one", 'one = 7\nmo.md(f"mine is {one}")')
    live.shows("mine is 7")
    live.shows("three is 9")
    live.give()
    live.shows("three is 9")
    old = hub.get(f"postdoc/api/chats/{chat}/checkpoints")[1]
    hub.post(f"postdoc/api/chats/{chat}/checkpoints/{old['sha']}/restore")
    live.shows("11 * 11")
    for name in ("one", "slow", "two", "three"):
        expect(live.cell(name).locator(MARKED).first).to_be_attached()
    for name in ("setup", "study", "load", "verdict"):
        expect(live.cell(name).locator(MARKED)).to_have_count(0)
    live.take()
    expect(live.cell("two").locator(MARKED).first).to_be_attached()
    live.write("one", 'one = 11 * 11\nmo.md(f"one is {one}")')
    live.shows("three is 123")
    expect(live.inside.locator(MARKED)).to_have_count(0)
