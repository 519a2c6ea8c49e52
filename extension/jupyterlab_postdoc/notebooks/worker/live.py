"""The live worker: one process in the sandbox that is marimo's editor and our worker at once. Started by editors.py.

It speaks the protocol of serve.py on stdin and stdout (requests may overlap; unasked events have the id 0), and serves
marimo's pages on the Unix socket ``$POSTDOC_LIVE_DIR/s``; there is no TCP port. The optional argument is the notebook.
"""

from __future__ import annotations

import os
import sys

from jupyterlab_postdoc.notebooks.worker.serve import limit, pipes

if __name__ == "__mp_main__":
    limit()  # a kernel imports this module before any of the notebook's code runs


def main() -> None:
    receive, send = pipes()
    import gc
    from pathlib import Path

    from jupyterlab_postdoc.notebooks.worker import launch

    gc.set_threshold(20_000, 20, 50)
    launch.start(filter(None, os.environ.get("POSTDOC_PRELOAD", "").split(",")))  # while marimo is imported here

    from jupyterlab_postdoc.notebooks.worker import live_server

    live_server.serve(receive, send, Path(sys.argv[1] if len(sys.argv) > 1 else "notebook.py").absolute())
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
