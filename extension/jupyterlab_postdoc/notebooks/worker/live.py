"""The live worker: one process in the sandbox that is marimo's editor and our worker at once. Started by editors.py.

It speaks the protocol of serve.py on stdin and stdout (requests may overlap; unasked events have the id 0), and serves
marimo's pages on a Unix socket that it inherits (notebooks/door.py); there is no TCP port. Its argument is
the notebook.
"""

from __future__ import annotations

import os
import sys

from jupyterlab_postdoc.notebooks.worker.serve import limit, pipes

if __name__ == "__mp_main__":
    limit()  # a kernel imports this module before any of the notebook's code runs


def main() -> None:
    receive, send = pipes()
    listening, secret = map(int, os.environ.pop("POSTDOC_LIVE_FDS").split(","))
    for descriptor in (listening, secret):
        os.set_inheritable(descriptor, False)  # no kernel gets them
    import gc
    from pathlib import Path

    from jupyterlab_postdoc.notebooks.worker import launch

    gc.set_threshold(20_000, 20, 50)
    launch.start(filter(None, os.environ.get("POSTDOC_PRELOAD", "").split(",")))  # while marimo is imported here

    from jupyterlab_postdoc.notebooks.worker import live_server

    live_server.serve(
        receive, send, (listening, secret), Path(sys.argv[1] if len(sys.argv) > 1 else "notebook.py").absolute()
    )
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
