"""The Jupyter server that one command starts for itself: it ends when the command does, however that ends.

Standard input is a pipe whose other end only the command holds. When the command is gone, even by SIGKILL, the pipe
reads end-of-file and the server stops as if it had been asked to.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Sequence

GRACE_S = 12.0


def _stop_with_parent(fd: int) -> None:
    while os.read(fd, 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE_S)
    os._exit(1)


def main(argv: Sequence[str] | None = None) -> None:
    """Run `jupyter server` with `argv` until standard input closes."""
    watched = os.dup(0)  # not inheritable: no tool of the server keeps the pipe open
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    threading.Thread(target=_stop_with_parent, args=(watched,), daemon=True, name="parent-watch").start()
    from jupyter_server.serverapp import main as serve

    serve(argv=list(sys.argv[1:] if argv is None else argv))


if __name__ == "__main__":
    main()
