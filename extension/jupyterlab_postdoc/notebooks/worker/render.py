"""The page renderer's process: from stdin outputs of cells, one JSON object per line, to draw their charts early; the
last line is the whole study. To stdout one HTML page.
"""

from __future__ import annotations

import json
import os
import sys


def main() -> None:
    out = os.dup(1)
    os.dup2(2, 1)
    from jupyterlab_postdoc.notebooks.worker import page

    html = ""
    for line in sys.stdin:
        given = json.loads(line)
        if "session" in given:
            html = page.build(given)
            break
        page.output(given["name"], given)
    with os.fdopen(out, "w", encoding="utf-8") as file:
        file.write(html)
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
