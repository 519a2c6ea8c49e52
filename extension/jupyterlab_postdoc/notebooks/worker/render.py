"""The page renderer's process: from stdin outputs of cells, one JSON object per line, to draw their charts early; the
last line is the whole study. To stdout the size of the HTML page and a newline, the page, then a line of JSON:
{cell: [base64 PNG or null]}, what the cells drew. PNGs are made when nothing else is to be done.
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
from typing import Any


def main() -> None:
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    threading.Thread(target=read, args=(lines,), daemon=True).start()
    from jupyterlab_postdoc.notebooks.worker import page, pictures
    from jupyterlab_postdoc.notebooks.worker.drawings import drawings

    drawn: dict[str, list[Any]] = {}
    made: dict[str, list[str | None]] = {}

    def draw_one() -> bool:
        """False: everything is drawn."""
        for name, items in drawn.items():
            done = made.setdefault(name, [])
            if len(done) < len(items):
                done.append(pictures.quick(items[len(done)]))
                return True
        return False

    html = ""
    while True:
        if lines.empty() and draw_one():
            continue
        if (line := lines.get()) is None:
            break
        given = json.loads(line)
        if "session" in given:
            html = page.build(given)
            break
        page.output(given["name"], given)
        made.pop(given["name"], None)
        drawn[given["name"]] = [item for kind, data in given["data"].items() for item in drawings(kind, data)]
    data = html.encode()
    out.write(b"%d\n%b" % (len(data), data))
    out.flush()
    while draw_one():
        pass
    out.write(json.dumps(made).encode() + b"\n")
    out.flush()
    sys.stderr.flush()
    os._exit(0)


def read(lines: queue.SimpleQueue[str | None]) -> None:
    for line in sys.stdin:
        lines.put(line)
    lines.put(None)


if __name__ == "__main__":
    main()
