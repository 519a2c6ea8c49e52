"""The worker process: reads requests (JSON lines) from stdin, answers on what was stdout. Started by batch.py, in the
sandbox.

Request: {"id", "op", …}. Answers: {"id", "event": {…}}* then {"id", "result": {…}} or {"id", "error": {code, message,
next, …}}.
"""

from __future__ import annotations

import os
import sys


def limit() -> None:
    """In a kernel: its address space limit, in bytes."""
    import resource

    if most := int(os.environ.get("POSTDOC_KERNEL_MEMORY", "0")):
        resource.setrlimit(resource.RLIMIT_AS, (most, most))


if __name__ == "__mp_main__":
    # marimo's kernel is a spawned child, which imports this module before any of the notebook's code runs: the one
    # place to give it, and only it, an address space limit. (This process and the chart renderer need more virtual
    # memory than a kernel may have.)
    limit()


def pipes() -> tuple[int, int]:
    """Take the protocol's pipes away from file descriptors 0 and 1, so that nothing else can read or write them."""
    receive, send = os.dup(0), os.dup(1)
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(2, 1)
    os.close(null)
    for descriptor in (receive, send):
        os.set_inheritable(descriptor, False)
    return receive, send


def main() -> None:
    receive, send = pipes()
    import asyncio
    import gc

    from jupyterlab_postdoc.notebooks.worker import launch

    gc.set_threshold(20_000, 20, 50)  # syntax trees are many small objects: collecting takes a third of an edit's time

    if wanted := os.environ.get("POSTDOC_PRELOAD"):
        launch.start(wanted.split(","))  # while this process imports marimo itself

    from jupyterlab_postdoc.notebooks.worker.server import Server

    asyncio.run(Server(receive, send).serve())
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
