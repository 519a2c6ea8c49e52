"""How fast one connection may talk."""

from __future__ import annotations

import time


class Rate:
    """A bucket of ``BURST`` messages that refills with ``PER_SECOND``; ``hopeless`` when a client goes on although it
    is refused.
    """

    __slots__ = ("_at", "_left", "_refused")

    PER_SECOND = 30
    BURST = 60
    PATIENCE = 200
    """Refusals (each accepted message makes up for one) after which the connection is not worth keeping."""

    def __init__(self) -> None:
        self._left = float(self.BURST)
        self._at = time.monotonic()
        self._refused = 0

    def allow(self) -> bool:
        """May the next message pass?"""
        now = time.monotonic()
        self._left = min(self.BURST, self._left + (now - self._at) * self.PER_SECOND)
        self._at = now
        if self._left < 1:
            self._refused += 1
            return False
        self._left -= 1
        self._refused = max(0, self._refused - 1)
        return True

    @property
    def hopeless(self) -> bool:
        """Has the client ignored the refusals?"""
        return self._refused >= self.PATIENCE
