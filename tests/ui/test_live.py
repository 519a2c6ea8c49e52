"""The notebook while an agent works in it: watched, taken over, given back, in a real browser."""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.model_server import ModelServer
from tests.model_server.replies import call, on, reply

from .conftest import KEY, NOTEBOOK_NOISE, Watched
from .live import Live, go_on, growing, waiting
from .panel import Panel
from .service import TOKEN, Jupyter, wait_for

Open = Callable[..., Panel]
Shoot = Callable[..., None]
WIDE = {"width": 1280, "height": 900}


@pytest.fixture(scope="module")
def templates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("templates")
    growing(folder / "growing")
    growing(folder / "slow", "slow", 6.0)
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

    def open_one(server: Jupyter, chat: str, shown: str = "import marimo as mo") -> Live:
        live = Live(open_panel(server, path=f"postdoc/notebook/{chat}", size=WIDE), chat)
        live.shows(shown, 60)
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


def test_what_a_person_wrote_stays_when_the_agent_edits_the_same_cell(
    hub: Jupyter, open_live: Callable[..., Live], shoot: Shoot
) -> None:
    """Taken while a cell of the agent runs; given back; the agent's next step is for the cell that was changed."""
    chat = waiting(hub, template="slow")
    live = open_live(hub, chat)
    go_on(hub, chat)
    live.cell("slow").wait_for(timeout=60_000)
    expect(live.view.locator(".jp-Postdoc-Notebook-kernel")).to_have_text("Kernel busy", timeout=20_000)
    live.take()
    hub.wait_state(chat, "waiting")
    assert hub.get(f"postdoc/api/chats/{chat}")["reason"] == "taken_over"
    live.shows("slow is 221")  # the step that it was at was carried out
    live.write("one", 'one = 7\nmo.md(f"mine is {one}")')
    live.shows("mine is 7")
    live.shows("slow is 107")
    assert "two is" not in live.inside.locator("body").inner_text()
    shoot(live.page, "live-taken")
    live.give()
    live.shows("two is 8")
    live.shows("three is 9")
    hub.wait_state(chat, "finished")
    live.shows("mine is 7")
    text = live.text()
    assert "one = 7" in text
    assert "11 * 11" not in text
    by_hand = [event for event in hub.events(chat, "artifact") if "hand" in str(event)]
    assert by_hand, "what was changed is a commit"


def test_a_notebook_is_taken_edited_and_given_back_at_rest(hub: Jupyter, open_live: Callable[..., Live]) -> None:
    chat = waiting(hub)
    live = open_live(hub, chat)
    editor = live.cell("study").locator(".cm-content").first
    editor.click()
    live.page.keyboard.insert_text("WATCHED")
    live.page.wait_for_timeout(1500)
    assert "WATCHED" not in live.text(), "who watches changes nothing"
    live.take()
    other = open_live(hub, chat)
    expect(other.hand).to_have_text("You edit")
    live.give()
    expect(other.hand).to_have_text(re.compile("you watch", re.IGNORECASE), timeout=20_000)
    assert live.status()["hand"] == "agent"


def test_the_server_is_started_again_while_the_page_is_open(
    make_jupyter: Callable[..., Jupyter], templates: Path, open_live: Callable[..., Live], shoot: Shoot
) -> None:
    server = make_jupyter("live-again", template_paths=[str(templates)])
    chat = waiting(server)
    live = open_live(server, chat)
    go_on(server, chat)
    live.shows("three is 123")
    server.wait_state(chat, "finished")
    live.take()
    live.write("one", 'one = 7\nmo.md(f"mine is {one}")')
    live.shows("three is 9")
    live.page.wait_for_timeout(2000)
    server.kill()
    live.page.wait_for_timeout(1000)
    server.start()
    expect(live.page.get_by_text("Connected", exact=True)).to_be_visible(timeout=60_000)
    expect(live.hand).to_have_text("You edit", timeout=60_000)
    live.shows("one = 7", 60)
    expect(live.view).to_contain_text("Their variables are not in memory")
    shoot(live.page, "live-again")
    live.write("one", 'one = 8\nmo.md(f"mine is {one}")')
    live.shows("mine is 8")
    live.give()
    assert "one = 8" in live.text()


def test_in_jupyterlab_the_tab_survives_a_reload(lab: Jupyter, open_panel: Open, shoot: Shoot) -> None:
    chat = waiting(lab)
    panel = open_panel(lab, size=WIDE)
    panel.open(chat)
    panel.session.get_by_role("button", name="Notebook", exact=True).click()
    live = Live(panel, chat)
    live.shows("import marimo as mo", 60)
    go_on(lab, chat)
    live.shows("three is 123")
    lab.wait_state(chat, "finished")
    shoot(live.page, "live-lab")
    live.page.locator(".lm-TabBar-tab", has_text="Notebook: ").locator(".lm-TabBar-tabCloseIcon").click()
    expect(live.view).to_have_count(0)
    panel.session.get_by_role("button", name="Notebook", exact=True).click()
    live.shows("three is 123", 60)
    live.page.wait_for_timeout(1500)  # the layout is saved by now
    live.page.reload()
    live.shows("three is 123", 60)
    live.take()
    shoot(live.page, "live-lab-taken")
    live.give()
    live.button("Checkpoints").click()
    sheet = live.page.locator("dialog[open]")
    sheet.get_by_role("button", name="The third part").click()
    expect(sheet).to_contain_text('mo.md(f"three is {two + 1}")', timeout=20_000)
    shoot(live.page, "live-checkpoints")
    sheet.get_by_role("button", name="The second part").click()
    sheet.get_by_role("button", name="Restore “The second part”…", exact=True).click()
    sheet.get_by_role("button", name="Restore “The second part”", exact=True).click()
    expect(sheet).to_contain_text("The notebook is again what it was", timeout=20_000)
    sheet.get_by_role("button", name="Close").last.click()
    expect(live.cell("three")).to_have_count(0)
    expect(live.cell("two")).to_have_count(1)
    assert "def three" not in live.text()


LEAST_SHOWN = """() => {
    window.leastShown = 9;
    const look = () => {
        const shown = document.querySelectorAll('.jp-Postdoc-Notebook-frame > iframe:not(.jp-mod-loading)').length;
        window.leastShown = Math.min(window.leastShown, shown);
        requestAnimationFrame(look);
    };
    look();
}"""


def test_who_takes_it_and_gives_it_back_sees_the_same_place_and_no_empty_page(
    lab: Jupyter, open_panel: Open, shoot: Shoot
) -> None:
    chat = waiting(lab)
    go_on(lab, chat)
    lab.wait_state(chat, "finished")
    low = {"width": 1280, "height": 560}
    live = Live(open_panel(lab, path=f"postdoc/notebook/{chat}", size=low, color_scheme="dark"), chat)
    live.shows("three is 123", 60)
    live.settled()
    live.cell("two").evaluate("cell => cell.scrollIntoView({block: 'start'})")
    live.page.wait_for_timeout(500)  # it is told when the page has come to rest

    def top() -> float:
        return float(live.cell("two").evaluate("cell => cell.getBoundingClientRect().top"))

    assert abs(top()) < 20
    live.page.evaluate(LEAST_SHOWN)
    live.take()
    assert abs(top()) < 20
    shoot(live.page, "live-dark-taken")
    live.give()
    assert abs(top()) < 20
    live.page.wait_for_timeout(2500)  # no longer held
    assert abs(top()) < 20
    assert live.page.evaluate("window.leastShown") >= 1
    shoot(live.page, "live-dark")


def test_a_request_with_a_header_beyond_ascii_is_answered_like_any_other(
    lab: Jupyter, open_live: Callable[..., Live]
) -> None:
    frame = open_live(lab, waiting(lab)).frame()
    sent = """async value => {
        const headers = { 'Content-Type': 'application/json', 'X-Mine': value };
        const given = { method: 'POST', headers, body: '{}' };
        return (await fetch(new URL('api/kernel/run', document.baseURI), given)).status;
    }"""
    assert [frame.evaluate(sent, value) for value in ("plain", "\u00e9")] == [403, 403], "who watches runs nothing"


def test_a_page_that_is_opened_while_the_editor_is_started_again_waits_for_it(
    lab: Jupyter, open_live: Callable[..., Live], open_panel: Open
) -> None:
    chat = waiting(lab)
    live = open_live(lab, chat)
    late = Live(open_panel(lab, path="postdoc/", size=WIDE), chat)
    live.editor().kill()
    wait_for(lambda: live.status()["state"] == "starting")
    late.page.goto(f"{lab.url}postdoc/notebook/{chat}")
    late.shows("import marimo as mo", 60)
    late.settled()
    assert late.frame().evaluate("() => document.getElementById('App').dataset.connectionState") == "OPEN"
    expect(late.view).to_contain_text("and was started again")
    late.button("Dismiss").click()
    expect(late.view).not_to_contain_text("and was started again")
    live.settled()  # the one that was open has come back, too
    wait_for(lambda: live.status()["viewers"] == 2)


def test_in_notebook_7_it_opens_on_a_page_of_its_own(
    make_jupyter: Callable[..., Jupyter], templates: Path, open_panel: Open, shoot: Shoot, watched: Watched
) -> None:
    watched.allowed = NOTEBOOK_NOISE
    server = make_jupyter("live-7", app="notebook", base_url="/user/ana/", template_paths=[str(templates)])
    chat = waiting(server)
    panel = open_panel(server, path="tree", size=WIDE)
    panel.page.wait_for_selector(".jp-FileBrowser, .jp-DirListing", timeout=40_000)
    panel.page.get_by_role("menuitem", name="View").click()
    panel.page.get_by_role("menuitem", name=re.compile("Research")).first.click()
    panel.root.wait_for()
    panel.open(chat)
    with panel.page.context.expect_page() as opened:
        panel.session.get_by_role("button", name="Notebook", exact=True).click()
    assert opened.value.url == f"{server.url}postdoc/notebook/{chat}"
    live = Live(Panel(opened.value, server), chat)
    live.shows("import marimo as mo", 60)
    live.take()
    expect(panel.session).to_contain_text("You have the notebook.")
    shoot(panel.page, "live-7")
    live.write("study", STUDY.format(note="a note"))
    live.shows("a note")
    shoot(live.page, "live-7-page")
    live.give()
    go_on(server, chat)
    live.shows("three is 123")
    server.wait_state(chat, "finished")


def test_the_example_notebook_does_what_it_says(hub: Jupyter) -> None:
    path = Path(__file__).parents[2] / "notebooks" / "take_over_a_study.py"
    spec = importlib.util.spec_from_file_location("take_over_a_study", path)
    assert spec is not None
    assert spec.loader is not None
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    server = example.Server(hub.url, TOKEN)
    chat = server.post("chats", title="A study to take over")["id"]
    server.post(f"chats/{chat}/research", topic="A growing study", template="growing", provider="template")
    hub.wait_state(chat, "waiting")
    server.post(f"chats/{chat}/notebook/take")
    assert server.get(f"chats/{chat}/notebook")["holder"]
    file = hub.root / server.get(f"chats/{chat}/notebook")["path"]
    file.write_text(file.read_text().replace("import marimo as mo\n", "import marimo as mo\n    mine = 1\n", 1))
    assert list(server.post(f"chats/{chat}/notebook/give")["cells"]) == ["setup"]
    assert server.get(f"chats/{chat}/checkpoints")[0]["cells"]["changed"] == 1
    assert server.page(chat) == f"{hub.url}postdoc/notebook/{chat}"


KILLED = "The notebook's Python process ended (killed by SIGKILL)."
STUDY = """\
study = {{"template": "growing", "version": "0.1.0", "parameters": {{"data": "synthetic"}}, "session": "", "seed": 0}}
mo.md("{note}")"""


def mine(number: int) -> str:
    """What a person writes into the cell `one`."""
    return f'one = {number}\nmo.md(f"mine is {{one}}")'


def test_a_kernel_is_killed_while_a_cell_of_the_agent_runs_and_while_a_person_edits(
    lab: Jupyter, open_live: Callable[..., Live], open_panel: Open, shoot: Shoot
) -> None:
    """What happened and what is lost is said; the agent goes on in a new kernel, and so does the person."""
    chat = waiting(lab, template="slow")
    live = open_live(lab, chat)
    go_on(lab, chat)
    live.shows("one is 121")
    expect(live.kernel_word).to_have_text("Kernel busy", timeout=20_000)
    wait_for(lambda: "time.sleep" in live.text())
    live.page.wait_for_timeout(500)
    first = live.kernel()
    first.kill()
    live.shows("slow is 221", 60)  # the agent's next step has run it again, with what it depends on
    live.shows("three is 123")
    lab.wait_state(chat, "finished")
    (failed,) = [event for event in lab.events(chat, "tool_result") if "SIGKILL" in event["content"]]
    assert "ended (killed by SIGKILL) while cell 'slow' ran" in failed["content"]
    (told,) = [event for event in lab.events(chat, "notebook") if event["message"]]
    assert told["message"] == f"{KILLED} Its variables are lost; what was written is saved."
    assert lab.events(chat, "result")[-1]["success"]

    panel = open_panel(lab, path=f"postdoc/s/{chat}", size=WIDE)
    live.take()
    second = live.kernel()
    assert second.pid != first.pid
    second.kill()
    expect(live.view).to_contain_text(told["message"], timeout=20_000)
    expect(live.kernel_word).to_have_text("Kernel ended")
    expect(panel.session).to_contain_text(told["message"])
    live.shows("three is 123")  # outputs stay
    shoot(live.page, "live-kernel-killed")
    shoot(panel.page, "live-kernel-killed-panel")
    live.write("one", mine(7))
    live.shows("mine is 7")
    expect(live.kernel_word).to_have_text("Kernel idle", timeout=20_000)
    expect(live.view).not_to_contain_text("SIGKILL")
    expect(live.view).to_contain_text("Their variables are not in memory")
    live.give()
    assert "one = 7" in live.text()


def test_an_editor_is_killed_under_an_open_page(
    lab: Jupyter, open_live: Callable[..., Live], open_panel: Open, shoot: Shoot
) -> None:
    """The page comes back by itself with what was written, says what is lost, and the agent goes on."""
    chat = waiting(lab)
    live = open_live(lab, chat)
    panel = open_panel(lab, path=f"postdoc/s/{chat}", size=WIDE)
    live.take()
    live.write("study", STUDY.format(note="a note"))
    live.shows("a note")
    wait_for(lambda: "a note" in live.text())
    killed = live.editor()
    killed.kill()
    expect(live.view).to_contain_text("The notebook is being started again…")
    said = (
        "The notebook's process ended (it was killed) and was started again. "
        "Its variables are lost, and what was typed or computed in its last second may be."
    )
    expect(live.view).to_contain_text(said, timeout=40_000)
    expect(panel.session).to_contain_text(said)
    assert live.editor().pid != killed.pid
    wait_for(lambda: live.status()["viewers"] == 1)  # the page has found it again
    live.shows("a note")
    shoot(live.page, "live-editor-killed")
    shoot(panel.page, "live-editor-killed-panel")
    live.write("study", STUDY.format(note="a second note"))
    wait_for(lambda: "a second note" in live.text())
    live.shows("a second note", 60)
    expect(live.view).not_to_contain_text("was started again", timeout=20_000)  # all is from the new kernel by now
    expect(panel.session).not_to_contain_text("was started again", timeout=20_000)
    live.give()
    go_on(lab, chat)
    live.shows("three is 123", 60)
    lab.wait_state(chat, "finished", "failed")
    assert lab.events(chat, "result")[-1]["success"]
    assert "a second note" in live.text()


def test_a_person_types_into_the_cell_that_the_agent_edits_at_the_same_time(
    make_jupyter: Callable[..., Jupyter], model: ModelServer, open_live: Callable[..., Live], tmp_path: Path
) -> None:
    """An agent that writes a cell again and again, a person who takes the notebook in the middle of it and types into
    the same cell: in each round the person's text stands, and the agent is told of it before it writes again; as the
    answer to an edit that had come meanwhile, or with the next request when an edit was just done.
    """
    key = tmp_path / "key"
    key.touch(mode=0o600)
    key.write_text(KEY)
    server = make_jupyter("live-model", anthropic_base_url=model.url, anthropic_api_key_file=str(key))
    code = "shared = {}".format
    edits = [call("nb_edit", {"changes": [{"op": "put", "name": "shared", "code": code(at)}]}) for at in range(200)]
    sees = reply("I see.", calls=[call("ask_user", {"question": "Go on?"})])
    asks = [on(sees, result="Not carried out: "), *(on(sees, says=f"{one}000 + 1 + 2", times=1) for one in (1, 2, 3))]
    begin = on(reply("I begin.", calls=[call("nb_create", {"title": "Both"}), edits[0]]), turn=0)
    again = [on(reply("Again.", calls=[edit], first_s=0.2), turn=turn) for turn, edit in enumerate(edits) if turn]
    model.rules([*asks, begin, *again])
    chat = server.new_chat("Two hands")
    server.post(f"postdoc/api/chats/{chat}/research", topic="Two hands", provider="anthropic")
    wait_for(lambda: edits_of(server, chat))
    live = open_live(server, chat, "shared = ")
    for number, pause_ms in enumerate((0, 90, 180), 1):
        edited = len(edits_of(server, chat))
        if number > 1:
            go_on(server, chat)
        wait_for(lambda edited=edited: len(edits_of(server, chat)) > edited)  # it is at it
        live.page.wait_for_timeout(pause_ms)
        live.take()
        text = code(f"{number}000 + 1 + 2 + 3 + 4 + 5 + 6 + 7 + 8 + 9")
        live.type("shared", text)
        # it waits before its next edit
        wait_for(lambda: server.get(f"postdoc/api/chats/{chat}")["reason"] == "taken_over")
        assert live.cell("shared").locator(".cm-line").all_inner_texts() == [text]
        wait_for(lambda text=text: text in live.text())
        live.give()
        wait_for(lambda text=text: any(text in json.dumps(asked.messages[-1]) for asked in model.requests()))
        for told in (one for one in edits_of(server, chat) if text in one["content"]):
            assert told["content"].startswith("Not carried out: the researcher (local) had the notebook")
            assert not told["ok"]
        server.wait_state(chat, "waiting")
        assert text in live.text(), "it stands after the agent was told of it"


def edits_of(server: Jupyter, chat: str) -> list[dict[str, Any]]:
    """What came of the agent's edits."""
    return [result for result in server.events(chat, "tool_result") if result["toolName"] == "nb_edit"]
