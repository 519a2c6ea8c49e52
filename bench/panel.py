"""What the panel costs a browser: the main thread while an answer streams in, the first paint of a long history, the
size of the bundle. A real JupyterLab, a scripted model and headless Chromium, each in processes of their own.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from playwright.sync_api import CDPSession, Page, sync_playwright

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.model_server import ModelServer, on, reply
from tests.ui.conftest import KEY, chromium
from tests.ui.panel import Panel
from tests.ui.service import TOKEN, Jupyter

from jupyterlab_postdoc.log import EventLog
from jupyterlab_postdoc.protocol import AssistantMessage, UserMessage
from jupyterlab_postdoc.store.base import SessionRow
from jupyterlab_postdoc.store.sqlite import SqliteStore

ROOT = Path(__file__).parents[1]
TURNS = 250
LONG = "c_bench_long"
PROSE = (
    "The **mean** return of the portfolio is $\\mu = 0.12$ per year, with an interval that excludes zero. "
    "See `run_backtest` and the [paper](https://example.org/paper) for the method. "
)
ANSWER = "\n".join(
    [
        "## What was found\n",
        PROSE * 2,
        "\n- first, the spread across quantiles rises\n- second, costs eat a third of it\n- third, the placebo is null",
        "\n",
        "\n| quantile | mean | t |\n|---|---|---|\n| 1 | 0.02 | 0.4 |\n| 5 | 0.15 | 4.2 |\n",
        "\n```python\nbase = run_backtest(panel, plan)\nprint(base['gross'].mean())\n```\n",
        "\nThe result holds in three subperiods and without market exposure. " * 3,
        "\n\n",
    ]
)


def show(name: str, **figures: object) -> None:
    print(json.dumps({"bench": name, **figures}), flush=True)


def pieces(count: int) -> list[str]:
    """An answer in markdown, in ``count`` pieces of a word each."""
    found = [word + " " for word in ANSWER.split(" ")]
    return [found[i % len(found)] for i in range(count)]


async def long_history(home: Path) -> None:
    """A session of 500 messages, as if it had been talked through: put into the log before the server starts."""
    folder = home / "data" / "postdoc"
    folder.mkdir(parents=True, exist_ok=True)
    log = EventLog(SqliteStore(folder))
    await log.start()
    row = SessionRow(id=LONG, owner="local", kind="chat", title="A long history", reason="idle", persona="researcher")
    await log.write(lambda tx: tx.insert_session(row))
    for turn in range(TURNS):
        await log.append(LONG, UserMessage(id=f"u{turn}", content=f"Question {turn}: why is that?", by="local"))
        await log.append(LONG, AssistantMessage(itemId=f"i{turn}", content=ANSWER, provider="anthropic"))
    await log.stop()


def task_s(cdp: CDPSession) -> tuple[float, float]:
    """Processor seconds that the main thread has used so far, and when that was, by the browser's clock: what other
    programs do on the machine does not count.
    """
    found = {metric["name"]: metric["value"] for metric in cdp.send("Performance.getMetrics")["metrics"]}
    return found["TaskDuration"], found["Timestamp"]


FRAMES = """() => {
  const seen = { frames: 0, tasks: [] };
  const long = new PerformanceObserver(list => list.getEntries().forEach(e => seen.tasks.push(e.duration)));
  long.observe({ type: 'longtask' });
  const tick = () => { seen.frames += 1; requestAnimationFrame(tick); };
  requestAnimationFrame(tick);
  window.__seen = seen;
}"""


def stream(page: Page, cdp: CDPSession, panel: Panel, ask: str, seconds: float) -> dict[str, Any]:
    """Busy share of the main thread from the first text on, for ``seconds``."""
    panel.say(ask)
    panel.streaming().wait_for(timeout=20_000)
    page.evaluate(FRAMES)
    busy, at = task_s(cdp)
    page.wait_for_timeout(seconds * 1000)
    busy_end, at_end = task_s(cdp)
    seen = page.evaluate("() => window.__seen")
    elapsed = at_end - at
    return {
        "busy": round((busy_end - busy) / elapsed, 3),
        "fps": round(seen["frames"] / elapsed, 1),
        "long_tasks": len(seen["tasks"]),
        "longest_ms": round(max(seen["tasks"], default=0)),
    }


PAINT = """async selector => {
  const began = performance.now();
  document.querySelector(selector).click();
  const items = () => document.querySelectorAll('.jp-Postdoc [data-item]').length;
  while (items() < 20) await new Promise(done => requestAnimationFrame(done));
  const there = performance.now();
  await new Promise(done => requestAnimationFrame(() => setTimeout(done)));
  return { there: there - began, painted: performance.now() - began, items: items() };
}"""


def first_paint(panel: Panel, page: Page) -> dict[str, Any]:
    """Click on the row of the long session until its messages are painted; the median of five."""
    found = []
    for _ in range(6):
        panel.sessions()
        row = f'[role=option][data-id="{LONG}"]'
        page.locator(row).wait_for()
        page.wait_for_timeout(300)
        found.append(page.evaluate(PAINT, row))
        page.wait_for_timeout(500)
    painted = sorted(one["painted"] for one in found[1:])
    return {"first_ms": round(found[0]["painted"]), "ms": round(painted[2]), "items": found[-1]["items"]}


def gzipped(folder: Path, pattern: str) -> float:
    """KB of the scripts in a folder, each gzipped."""
    return round(sum(len(gzip.compress(file.read_bytes(), 9)) for file in folder.rglob(pattern)) / 1000, 1)


def main() -> None:
    package = ROOT / "extension" / "jupyterlab_postdoc"
    show(
        "panel: bundle",
        lab_kb_gz=gzipped(package / "labextension", "*.js"),
        page_kb_gz=gzipped(package / "static", "page.js"),
        formulas_kb_gz=gzipped(package / "static", "page-temml*.js"),
        follow_kb_gz=gzipped(package / "static", "follow.js"),
    )
    with tempfile.TemporaryDirectory() as folder, ModelServer() as model:
        home = Path(folder)
        key = home / "key"
        key.touch(mode=0o600)
        key.write_text(KEY)
        asyncio.run(long_history(home))
        model.rules(
            [
                on(reply(pieces(1_500), tokens_per_s=100), says="slow"),
                on(reply(pieces(5_000), tokens_per_s=500), says="fast"),
                on(reply("Good.")),
            ]
        )
        with (
            Jupyter(home, anthropic_base_url=model.url, anthropic_api_key_file=str(key)) as lab,
            sync_playwright() as playwright,
        ):
            browser = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
            page = browser.new_page(viewport={"width": 1200, "height": 800})
            panel = Panel(page, lab)
            panel.enter(None, TOKEN)
            page.wait_for_timeout(4_000)
            cdp = page.context.new_cdp_session(page)
            cdp.send("Performance.enable", {"timeDomain": "threadTicks"})
            busy, at = task_s(cdp)
            time.sleep(3)
            busy_end, at_end = task_s(cdp)
            show("panel: idle", busy=round((busy_end - busy) / (at_end - at), 3))
            show("panel: history", **first_paint(panel, page))
            panel.open(lab.new_chat("Slow"))
            show("panel: 100/s", **stream(page, cdp, panel, "slow please", 10))
            panel.open(LONG)
            show("panel: 100/s, long", **stream(page, cdp, panel, "slow please", 10))
            panel.open(lab.new_chat("Fast"))
            show("panel: 500/s", **stream(page, cdp, panel, "fast please", 9))
            browser.close()


if __name__ == "__main__":
    main()
