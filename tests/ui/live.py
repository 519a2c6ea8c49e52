"""A notebook that grows while somebody watches: a template whose script asks first, and words for the page."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import psutil
from playwright.sync_api import Frame, FrameLocator, Locator, expect

from tests.agent.support import NOTEBOOK, lean

from .panel import Panel
from .service import Jupyter, wait_for

PARTS = """\
@app.cell
def one():
    one = 11 * 11
    mo.md(f"one is {one}")
    return (one,)


@app.cell
def slow(one):
    import time

    time.sleep(PAUSE)
    mo.md(f"slow is {one + 100}")
    return


@app.cell
def two(one):
    two = one + 1
    mo.md(f"two is {two}")
    return (two,)


@app.cell
def three(two):
    mo.md(f"three is {two + 1}")
    return


"""
SCRIPT = """\
turns:
  - id: start
    plan: 0
    say: I begin.
    calls:
      - {tool: nb_create, input: {path: notebook.py, title: "{{ topic }}"}}
      - {tool: nb_edit, cells: [setup, study]}
  - id: ask
    say: May I go on?
    calls: [{tool: ask_user, input: {question: "Go on?", options: ["yes", "no"]}}]
  - id: one
    plan: 1
    say: The first part.
    calls: [{tool: nb_edit, cells: [one]}]
  - id: slow
    say: A slow part.
    calls: [{tool: nb_edit, cells: [slow]}]
  - id: two
    say: The second part.
    calls: [{tool: nb_edit, cells: [one, two]}]
  - id: three
    say: The third part.
    calls: [{tool: nb_edit, cells: [three]}]
  - id: run
    plan: 2
    say: The verdict, and the run.
    calls:
      - {tool: nb_edit, cells: [load, verdict]}
      - {tool: nb_run}
  - id: finish
    say: "{{ verdict.summary }}"
    calls:
      - {tool: finish, input: {summary: "{{ verdict.summary }}"}}
"""
SEEN = """texts => {
    const seen = {};
    const look = () => {
        const shown = document.body?.textContent ?? '';  // unlike innerText it makes the page lay out nothing
        for (const text of texts) {
            if (!(text in seen) && shown.includes(text)) {
                seen[text] = { at: performance.now(), with: texts.filter(other => shown.includes(other)) };
            }
        }
    };
    look();
    new MutationObserver(look).observe(document.body, { childList: true, subtree: true, characterData: true });
    window.__seen = seen;
}"""
LOAD = "data = [1, 2, 3]"
EDITING = '[title$=", for editing"]'
WORKER = "jupyterlab_postdoc.notebooks.worker.live"


def growing(folder: Path, name: str = "growing", pause_s: float = 1.0) -> None:
    """The template; its cell `slow` takes ``pause_s``."""
    lean(folder, name, load=LOAD, script=SCRIPT)
    body = NOTEBOOK.format(name=name, load="    " + LOAD)
    at = body.index("@app.cell\ndef load")
    (folder / "notebook.py").write_text(body[:at] + PARTS.replace("PAUSE", str(pause_s)) + body[at:])


def waiting(server: Jupyter, topic: str = "A growing study", template: str = "growing") -> str:
    """A study whose notebook has begun and whose agent asks whether to go on; the chat's id."""
    chat = server.research(topic, template=template)
    server.wait_state(chat, "waiting")
    return chat


def go_on(server: Jupyter, chat: str) -> None:
    """Answer the agent's newest question."""
    asked = server.events(chat, "question")[-1]
    server.post(f"postdoc/api/chats/{chat}/respond", requestId=asked["requestId"], answer="yes")


class Live:
    """The notebook's view on one page of a browser."""

    def __init__(self, panel: Panel, chat: str) -> None:
        self.panel, self.page, self.server, self.chat = panel, panel.page, panel.server, chat

    @property
    def view(self) -> Locator:
        return self.page.locator(".jp-Postdoc-Notebook")

    @property
    def hand(self) -> Locator:
        """Who has it, in words."""
        return self.view.locator(".jp-Postdoc-Notebook-hand")

    @property
    def kernel_word(self) -> Locator:
        """How its kernel is, in words."""
        return self.view.locator(".jp-Postdoc-Notebook-kernel")

    @property
    def inside(self) -> FrameLocator:
        """marimo's page, in its two frames."""
        return self.page.frame_locator(".jp-Postdoc-Notebook-frame:not(.jp-mod-leaving) iframe").frame_locator("iframe")

    def button(self, name: str) -> Locator:
        return self.view.get_by_role("button", name=name, exact=True)

    def cell(self, name: str) -> Locator:
        return self.inside.locator(f'[data-cell-name="{name}"]')

    def frame(self) -> Frame:
        """marimo's page, to run scripts in."""

        def found() -> Frame | None:
            inner = [frame for frame in self.page.frames if frame.parent_frame and frame.parent_frame.parent_frame]
            return inner[-1] if inner else None

        made: Frame = wait_for(found)
        return made

    def shows(self, text: str | re.Pattern[str], limit_s: float = 40) -> None:
        """The notebook's page has this text."""
        expect(self.inside.locator("body")).to_contain_text(text, timeout=limit_s * 1000, use_inner_text=True)

    def watch_for(self, *texts: str) -> None:
        """Write down when each text appears first, and what else was there; ``seen()`` has it."""
        self.frame().evaluate(SEEN, list(texts))

    def seen(self) -> dict[str, Any]:
        found: dict[str, Any] = self.frame().evaluate("() => window.__seen")
        return found

    def write(self, name: str, code: str, *, run: bool = True) -> None:
        """Replace a cell's code with the keyboard, and run it."""
        self.settled()
        editor = self.cell(name).locator(".cm-content").first
        editor.click()
        self.page.keyboard.press("ControlOrMeta+a")
        self.page.keyboard.insert_text(code)
        if run:
            self.page.keyboard.press("ControlOrMeta+Enter")

    def type(self, name: str, code: str) -> None:
        """Replace a cell's code key by key, as a person does."""
        self.cell(name).locator(".cm-content").first.click()
        self.page.keyboard.press("ControlOrMeta+a")
        self.page.keyboard.type(code, delay=20)

    def take(self) -> None:
        self.button("Take over").click()
        expect(self.hand).to_have_text("You edit", timeout=30_000)
        self.settled(EDITING)

    def give(self) -> None:
        self.button("Give back").click()
        expect(self.hand).not_to_have_text("You edit", timeout=30_000)
        self.settled(f":not({EDITING})")

    def settled(self, which: str = "") -> None:
        """Wait until there is one page, whole and connected: not also the one that it takes the place of."""
        page = self.view.locator(f'.jp-Postdoc-Notebook-frame:only-child[aria-busy="false"] iframe{which}')
        expect(page).to_have_count(1, timeout=40_000)

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = self.server.get(f"postdoc/api/chats/{self.chat}/notebook")
        return found

    def file(self) -> Path:
        """The notebook's file."""
        return self.server.root / str(self.status()["path"])

    def text(self) -> str:
        """What the notebook's file holds."""
        return self.file().read_text()

    # --- its processes ---

    def editor(self) -> psutil.Process:
        """The process that is marimo and our worker: within its sandbox, the innermost that is called so."""
        assert self.server.process is not None
        words = {WORKER, str(self.file())}
        below = psutil.Process(self.server.process.pid).children(recursive=True)
        return [one for one in below if words <= set(one.cmdline())][-1]

    def kernel(self) -> psutil.Process:
        """Its kernel, forked from a process that the editor keeps ready for that."""
        (found,) = [kernel for ready in self.editor().children() for kernel in ready.children()]
        return found
