"""The door of an editor: a Unix socket that the server binds, and whose process only inherits it.

So nothing of the sandbox can put something else in its place (a link to another socket of this machine), and the
process needs no folder outside of its own.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path

WAITING = 128
FDS = "POSTDOC_LIVE_FDS"
"""The environment's name for the descriptors that a process inherits: ``<listening socket>,<pipe with the secret>``."""


class Door:
    """``path`` lies in a folder of this user alone. Closed on our side as soon as the process has been started."""

    def __init__(self, path: Path, secret: str) -> None:
        path.unlink(missing_ok=True)
        self._listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._listening.bind(str(path))
            path.chmod(0o600)
            self._listening.listen(WAITING)
            self._listening.setblocking(False)
            self._secret, write = os.pipe()
        except OSError:
            self._listening.close()
            raise
        os.write(write, secret.encode())  # a pipe holds far more
        os.close(write)

    @property
    def fds(self) -> tuple[int, int]:
        """What the process inherits."""
        return self._listening.fileno(), self._secret

    @property
    def env(self) -> dict[str, str]:
        """How it learns of them: numbers, no secret."""
        return {FDS: ",".join(map(str, self.fds))}

    def close(self) -> None:
        self._listening.close()
        os.close(self._secret)
