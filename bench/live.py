"""The live notebook: from an agent's call to the output in an open page, what our way to marimo adds to a cell run by
hand, and what notebooks cost that nobody uses. Real Chromium, real marimo, in the sandbox where there is one.

    python -P bench/live.py [-n 20] [--notebooks 20] [--call] [--hand] [--idle]

`live: call`: from an agent's `tool_use` (an nb_edit that adds a cell) until what the cell drew is in the page of who
watches. `live: by hand`: from Ctrl+Enter in a cell until what the cell depending on it drew is there; through Jupyter,
and in turns with it from a bare `marimo edit`. `live: idle`: notebooks that are open and unused, each with its kernel:
memory (PSS) and processor time, and how long until all of them are saved and gone.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil
from playwright.sync_api import Browser, Frame, Locator, sync_playwright

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.agent.support import NOTEBOOK, lean
from tests.handlers.plain_editor import marimo
from tests.notebooks.live import pool, processes, project, until
from tests.ui.conftest import chromium
from tests.ui.live import SEEN, Live, go_on, waiting
from tests.ui.panel import Panel
from tests.ui.service import TOKEN, Jupyter, wait_for

FIRST = 1_000_000
"""What cells draw is a number from here on, which is written in no cell."""
PAIR = """@app.cell
def given():
    x = 0
    return (x,)


@app.cell
def drawn(x):
    mo.Html(f"hand {x + 1_000_000}")
    return


"""
PART = '@app.cell\ndef part{i}():\n    mo.md(f"seen {{{first} + {i}}}")\n    return\n\n\n'
PARTS = "".join(PART.format(i=i, first=FIRST) for i in range(1, 100))
BEGIN = """\
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
  - {id: pair, say: Two cells., calls: [{tool: nb_edit, cells: [given, drawn]}]}
"""
END = """\
  - id: run
    plan: 2
    say: The run.
    calls: [{tool: nb_edit, cells: [load, verdict]}, {tool: nb_run}]
  - id: finish
    say: Done.
    calls: [{tool: finish, input: {summary: "{{ verdict.summary }}"}}]
"""
PRESSED = """() => document.addEventListener('keydown', event => {
    if (event.key === 'Enter' && event.ctrlKey) window.__pressed = performance.now();
}, true)"""


def show(name: str, **figures: object) -> None:
    print(json.dumps({"bench": name, **figures}), flush=True)


def middle(values: list[float]) -> float:
    return round(statistics.median(values), 1)


def template(folder: Path, count: int) -> None:
    """A study that adds ``count`` cells, one after the other."""
    turns = "".join(
        f"  - {{id: p{i}, say: Part {i}., calls: [{{tool: nb_edit, cells: [part{i}]}}]}}\n" for i in range(1, count + 1)
    )
    lean(folder, "bench", load="data = [1]", script=BEGIN + turns + END)
    body = NOTEBOOK.format(name="bench", load="    data = [1]")
    at = body.index("@app.cell\ndef load")
    (folder / "notebook.py").write_text(body[:at] + PAIR + PARTS + body[at:])


def call(live: Live, count: int, *, shown: bool) -> None:
    """Milliseconds from each call to its output, as the page has it; without ``shown`` the study is only made."""
    texts = [f"seen {FIRST + i}" for i in range(1, count + 1)]
    live.watch_for(*texts)
    begun = live.frame().evaluate("() => performance.timeOrigin")
    go_on(live.server, live.chat)
    live.server.wait_state(live.chat, "finished", limit_s=300)
    seen = live.seen()
    edits = [e for e in live.server.events(live.chat, "tool_use") if e["toolName"] == "nb_edit"][2 : count + 2]
    asked = [datetime.fromisoformat(event["ts"]).timestamp() * 1000 for event in edits]
    took = [begun + seen[text]["at"] - at for text, at in zip(texts, asked, strict=True)]
    ordered = sorted(took)
    if not shown:
        return
    show("live: call", median_ms=middle(took), p95_ms=round(ordered[int(len(ordered) * 0.95)], 1), n=count)


def press(frame: Frame, cell: Locator, number: int) -> float:
    """Milliseconds from Ctrl+Enter to the output of the cell that depends on this one."""
    editor = cell.locator(".cm-content").first
    editor.click()
    editor.press("ControlOrMeta+a")
    frame.page.keyboard.insert_text(f"x = {number}")
    frame.page.wait_for_timeout(700)  # what is typed has reached the server by itself
    text = f"hand {FIRST + number}"
    frame.evaluate(SEEN, [text])
    frame.page.keyboard.press("ControlOrMeta+Enter")
    wait_for(lambda: frame.evaluate("() => Object.keys(window.__seen).length") == 1, 20)
    took: float = frame.evaluate("text => window.__seen[text].at - window.__pressed", text)
    return took


def by_hand(browser: Browser, live: Live, count: int, home: Path) -> None:
    """The same cell run by hand, through us and from marimo alone, in turns."""
    live.take()
    live.cell("given").locator(".cm-content").first.wait_for(timeout=60_000)
    with marimo(home / "bare", live.text()) as editor:  # the same notebook: a page with more cells is slower
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        at = editor.upstream
        page.goto(f"http://127.0.0.1:{at.port}/?file={at.notebook}&access_token={at.token}")
        bare = page.locator('[data-cell-name="given"]')
        bare.wait_for(timeout=60_000)
        bare.locator(".cm-content").first.click()
        page.keyboard.press("ControlOrMeta+Shift+R")  # as ours, it has run
        page.get_by_text(f"hand {FIRST}").wait_for()
        both = [(live.frame(), live.cell("given")), (page.main_frame, bare)]
        for frame, _ in both:
            frame.evaluate(PRESSED)
            last = frame.locator('[data-cell-name="drawn"]')  # what never ran does not run with what it depends on
            last.locator(".cm-content").first.click()
            frame.page.keyboard.press("ControlOrMeta+Enter")
            last.get_by_text(f"hand {FIRST}").wait_for()
        took: list[list[float]] = [[], []]
        for number in range(1, count + 4):
            for (frame, cell), found in zip(both, took, strict=True):
                found.append(press(frame, cell, number))
        page.close()
    ours, theirs = (found[3:] for found in took)  # the first ones load what is drawn with
    added = [mine - other for mine, other in zip(ours, theirs, strict=True)]
    show("live: by hand", added_ms=middle(added), ours_ms=middle(ours), bare_ms=middle(theirs), n=len(ours))


def pages(count: int, which: set[str]) -> None:
    """The two rows for which a browser is needed."""
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        home = Path(folder)
        template(home / "templates" / "bench", count)
        options = ["--no-sandbox", "--disable-dev-shm-usage"]
        browser = playwright.chromium.launch(executable_path=chromium(), args=options)
        try:
            with Jupyter(home / "jupyter", template_paths=[str(home / "templates")]) as server:
                chat = waiting(server, template="bench")
                page = browser.new_page(viewport={"width": 1280, "height": 900})
                panel = Panel(page, server)
                panel.enter(f"postdoc/notebook/{chat}", TOKEN)
                live = Live(panel, chat)
                live.shows("import marimo as mo", 60)
                call(live, count, shown="call" in which)
                if "hand" in which:
                    by_hand(browser, live, count, home)
        finally:
            browser.close()


def at_rest(root: Path) -> list[psutil.Process]:
    """Everything that runs for the notebook in this folder: what names it, and all below that."""
    found = {process.pid: process for process in processes(str(root))}
    for process in list(found.values()):
        with suppress(psutil.Error):
            found |= {child.pid: child for child in process.children(recursive=True)}
    return list(found.values())


async def idle(count: int) -> None:
    """What so many notebooks cost that nobody uses, and their end."""

    def of_all(figure: Any) -> list[float]:
        return [sum(figure(process) for process in at_rest(root)) for root in roots]

    with tempfile.TemporaryDirectory() as folder:
        roots = [project(Path(folder), f"project{i:03}") for i in range(count)]
        async with pool(most=count) as editors:
            began = time.perf_counter()
            opened = await asyncio.gather(*(editors.open(root) for root in roots))
            started = time.perf_counter() - began
            await until(lambda: all(editor.status.kernel == "idle" for editor in opened), 120)
            await asyncio.sleep(3)
            memory = of_all(lambda process: process.memory_full_info().pss / 1e6)
            before, at = of_all(lambda process: sum(process.cpu_times()[:2])), time.perf_counter()
            await asyncio.sleep(20)
            used = sum(of_all(lambda process: sum(process.cpu_times()[:2]))) - sum(before)
            cpu = used / (time.perf_counter() - at)
            editors.idle_s, began = 1.0, time.perf_counter()
            await until(lambda: not any(processes(str(root)) for root in roots), 120)
            show(
                "live: idle", notebooks=count, mb_each=middle(memory), mb_all=round(sum(memory)),
                cpu_all=round(cpu, 3), started_s=round(started, 1), closed_s=round(time.perf_counter() - began, 1),
            )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-n", type=int, default=20)
    parser.add_argument("--notebooks", type=int, default=20)
    for name in ("call", "hand", "idle"):
        parser.add_argument(f"--{name}", action="store_true", help="this row only")
    options = parser.parse_args()
    if not 1 <= options.n <= 30:
        parser.error("-n: from 1 to 30, for a run asks after 40 turns whether it may go on")
    which = {name for name in ("call", "hand", "idle") if getattr(options, name)} or {"call", "hand", "idle"}
    if which & {"call", "hand"}:
        pages(options.n, which)
    if "idle" in which:
        asyncio.run(idle(options.notebooks))


if __name__ == "__main__":
    main()
