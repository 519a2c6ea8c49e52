"""The page renderer's process: one JSON object from stdin, one HTML page to stdout."""

from __future__ import annotations

import json
import os
import sys


def main() -> None:
    out = os.dup(1)
    os.dup2(2, 1)
    from jupyterlab_postdoc.notebooks.worker import charts, page

    charts.warm()
    html = page.build(json.load(sys.stdin))
    with os.fdopen(out, "w", encoding="utf-8") as file:
        file.write(html)
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
