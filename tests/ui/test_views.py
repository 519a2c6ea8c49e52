"""Every view, narrow and wide, in three themes: for whoever sees little, has no mouse, or has little room."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.model_server import ModelServer
from tests.model_server.replies import bad_request, broken, call, reply

from .panel import Panel
from .service import Jupyter, wait_for
from .test_research import FINISHED

Open = Callable[..., Panel]
Shoot = Callable[..., None]
AXE = Path(__file__).parents[2] / "labextension" / "node_modules" / "axe-core" / "axe.min.js"
THEMES = {"light": "JupyterLab Light", "dark": "JupyterLab Dark", "contrast": "JupyterLab Dark High Contrast"}
WIDTHS = (260, 420, 1200)
SCREEN = {"width": 1600, "height": 860}
LOOK = """async root => (await axe.run(root, {resultTypes: ['violations']})).violations
    .filter(one => ['serious', 'critical'].includes(one.impact))
    .map(one => `${one.id}: ${one.nodes.map(({html, failureSummary}) => `${html.slice(0, 160)} ${failureSummary}`)}`)"""
TOO_WIDE = """root => root.scrollWidth > root.clientWidth + 1 ? [`panel: ${root.scrollWidth} > ${root.clientWidth}`]
    : Array.from(root.querySelectorAll('.jp-Postdoc-Scroller-box, .jp-Postdoc-Sessions-scroll, form, [role=log]'))
        .filter(node => node.scrollWidth > node.clientWidth + 1)
        .map(node => `${node.className}: ${node.scrollWidth} > ${node.clientWidth}`)"""
SEEN = """() => {
    const node = document.activeElement;
    const style = getComputedStyle(node);
    const ring = style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 1;
    return node.matches(':focus-visible') && (ring || style.boxShadow !== 'none') ? '' : node.outerHTML.slice(0, 200);
}"""


def widen(panel: Panel, width: int) -> None:
    """Drag the edge of the sidebar until the panel has this width."""
    box = panel.root.bounding_box()
    assert box is not None
    mouse, y = panel.page.mouse, 700
    mouse.move(box["x"] + box["width"] + 2, y)
    mouse.down()
    mouse.move(box["x"] + width + 2, y, steps=3)
    mouse.up()
    wait_for(lambda: abs((panel.root.bounding_box() or {})["width"] - width) <= 12, 5)


def good(panel: Panel, shoot: Shoot, name: str, widths: tuple[int, ...] = WIDTHS) -> None:
    """The view is readable for everybody at every width."""
    problems: list[str] = []
    for width in widths:
        widen(panel, width)
        panel.page.mouse.move(1500, 20)
        shoot(panel.page, f"view-{name}-{width}")
        found = panel.root.evaluate(TOO_WIDE) + panel.root.evaluate(LOOK)
        problems += [f"{name} at {width}: {one}" for one in found]
    assert not problems, "\n".join(problems)


@pytest.fixture(scope="module")
def studies(model_lab: Jupyter, model: ModelServer) -> dict[str, str]:
    """Sessions in several states, by what they are about."""
    made = {
        "finished": model_lab.research("Short Term Reversal"),
        "waiting": model_lab.research("asks please", template="asks"),
    }
    model_lab.wait_state(made["finished"], "finished")
    model_lab.wait_state(made["waiting"], "waiting")
    ask = call("ask_user", {"question": "Which **owl**?", "options": ["barn", "snowy"]})
    silent = broken(reply("Now I look at `owls.csv`. " * 8, thinking="Owls, then."), "stall", after=24)
    for name, said, state in (
        ("asking", reply("One thing first.", calls=[ask]), "waiting"),
        ("error", bad_request(), "error"),
        ("running", silent, "running"),
    ):
        model.script([said])
        made[name] = model_lab.new_chat(f"A talk of owls, {name}")
        model_lab.post("postdoc/api/messages", room="nest", content=f"I am **{name}**", agent="Owl", kind="status")
        model_lab.post(f"postdoc/api/chats/{made[name]}/messages", content="What of the owls?")
        model_lab.wait_state(made[name], state)
    return made


@pytest.fixture(params=THEMES)
def theme(request: Any, model_lab: Jupyter) -> Iterator[str]:
    """A theme, chosen in the settings of the user."""
    model_lab.setting("@jupyterlab/apputils-extension:themes", theme=THEMES[request.param])
    yield request.param
    model_lab.setting("@jupyterlab/apputils-extension:themes", theme=THEMES["light"])


def themed(open_panel: Open, server: Jupyter, theme: str) -> Panel:
    panel = open_panel(server, size=SCREEN)
    panel.page.wait_for_selector(f'body[data-jp-theme-name="{THEMES[theme]}"]', state="attached")
    panel.page.add_script_tag(path=AXE)
    return panel


def test_every_view(theme: str, studies: dict[str, str], model_lab: Jupyter, open_panel: Open, shoot: Shoot) -> None:
    panel = themed(open_panel, model_lab, theme)
    panel.row(studies["finished"]).wait_for()
    good(panel, shoot, f"{theme}-list")
    for name, text in (
        ("finished", "Supported"),
        ("waiting", "The agent asks"),
        ("error", "did not accept the request"),
        ("running", "owls.csv"),
    ):
        panel.open(studies[name])
        expect(panel.session).to_contain_text(text)
        good(panel, shoot, f"{theme}-{name}")
    panel.root.get_by_role("button", name="New research").first.click()
    panel.root.get_by_label("Topic").fill("Does short term reversal survive costs?")
    panel.root.get_by_role("button", name=re.compile("^Options")).click()
    panel.root.get_by_role("radio").nth(1).check()
    good(panel, shoot, f"{theme}-form")
    panel.button("Rooms").click()
    expect(panel.root).to_contain_text("nest")
    good(panel, shoot, f"{theme}-rooms")


def test_without_research_without_a_server_part_and_offline(
    make_jupyter: Callable[..., Jupyter], open_panel: Open, shoot: Shoot
) -> None:
    bare = make_jupyter("bare", extension=False)
    panel = themed(open_panel, bare, "light")
    expect(panel.root).to_contain_text("jupyter server extension enable jupyterlab_postdoc")
    good(panel, shoot, "light-missing", (260, 1200))
    server = make_jupyter("empty")
    for theme, name in THEMES.items():
        server.setting("@jupyterlab/apputils-extension:themes", theme=name)
        panel = themed(open_panel, server, theme)
        expect(panel.root).to_contain_text("No research yet.")
        expect(panel.root).to_contain_text("No model key found.")
        good(panel, shoot, f"{theme}-empty", (260, 1200))
    server.kill()
    expect(panel.banner.first).to_contain_text("Connection lost", timeout=20_000)
    good(panel, shoot, "contrast-offline", (260, 1200))


def until_focused(panel: Panel, key: str, name: str, most: int = 40) -> None:
    """Press the key until the focus is on the control of this name; it is always to be seen where it is."""
    at = "(document.activeElement.getAttribute('aria-label') || document.activeElement.textContent).trim()"
    for _ in range(most):
        panel.page.keyboard.press(key)
        if panel.root.evaluate("root => root.contains(document.activeElement)"):
            assert panel.page.evaluate(SEEN) == "", "the focus is not to be seen"
        if panel.page.evaluate(at) == name:
            return
    raise AssertionError(f"{key} never leads to {name}")


def test_all_of_it_without_a_mouse(make_jupyter: Callable[..., Jupyter], open_panel: Open) -> None:
    server = make_jupyter("keys")
    server.wait_state(server.research("Short Term Reversal"), "finished")
    panel = open_panel(server, path="lab/workspaces/keys")
    keyboard = panel.page.keyboard
    known = {chat["id"] for chat in server.chats()}
    panel.page.wait_for_selector(".jp-LauncherCard", timeout=40_000)
    keyboard.press("Control+Shift+C")
    panel.page.locator(".lm-CommandPalette-input:visible").fill("New research")
    keyboard.press("Enter")
    expect(panel.root.get_by_label("Topic")).to_be_focused()
    assert panel.page.evaluate(SEEN) == ""
    keyboard.type("asks please")
    keyboard.press("Control+Enter")
    panel.session.wait_for()
    (chat,) = (one["id"] for one in server.chats() if one["id"] not in known)
    panel.wait_live("Needs your answer")

    until_focused(panel, "Shift+Tab", "Back to all sessions")
    keyboard.press("Enter")
    rows = panel.root.get_by_role("option")
    expect(rows.first).to_be_visible()
    listbox = panel.root.get_by_role("listbox").first
    if not listbox.evaluate("node => node.contains(document.activeElement)"):
        until_focused(panel, "Tab", listbox.evaluate("node => node.getAttribute('aria-label')"))
    keyboard.press("End")
    expect(rows.last).to_have_class(re.compile("jp-mod-active"))
    keyboard.press("Home")
    for _ in range(rows.count()):
        if panel.row(chat).evaluate("node => node.classList.contains('jp-mod-active')"):
            break
        keyboard.press("ArrowDown")
    keyboard.press("Enter")
    panel.session.wait_for()
    until_focused(panel, "Tab", "Answer")
    keyboard.press("Enter")
    option = panel.items("question").get_by_role("button", name="red")
    expect(option).to_be_focused()
    assert panel.page.evaluate(SEEN) == ""
    keyboard.press("Enter")
    panel.wait_live(FINISHED)
    assert panel.server.events(chat, "answered")[0]["answer"] == "red"
