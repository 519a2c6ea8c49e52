"""The event log: the one way in (append, write) and the one way out (follow)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from typing import TypeVar

from .protocol import Body, Event
from .store.base import Draft, Fence, Store, Tx

T = TypeVar("T")


class LogReset(Exception):
    """The database was removed or exchanged under a follower: forget what was seen and begin again."""


class EventLog:
    """Appends with group commit and follows sessions. ``store`` is open to read from anywhere (``log.store.get_session(…)``)."""

    store: Store

    def __init__(self, store: Store, *, poll_s: float = 0.1) -> None: ...

    async def start(self) -> None:
        """Open the store and begin to write."""

    async def stop(self) -> None:
        """Commit what is pending, end all followers, close the store."""

    async def append(
        self, session: str, *bodies: Body | Draft, run: str | None = None, fence: Fence | None = None
    ) -> list[Event]:
        """Store the bodies and return their events after COMMIT. ``not_found``, LeaseLost, ``storage_full``…"""
        raise NotImplementedError

    async def write(self, unit: Callable[[Tx], Awaitable[T]]) -> T:
        """Run one unit in the next transaction and return its value after COMMIT. A unit may only touch its ``tx``."""
        raise NotImplementedError

    async def read(
        self,
        session: str,
        *,
        after: int = 0,
        limit: int = 1000,
        finals: bool = False,
        types: Collection[str] | None = None,
    ) -> list[Event]:
        """One page of events."""
        raise NotImplementedError

    async def tail(self, session: str, limit: int = 200) -> list[Event]:
        """The last ``limit`` final events plus the partial frames still open."""
        raise NotImplementedError

    def follow(
        self, session: str, *, after: int, types: Collection[str] | None = None
    ) -> AsyncIterator[list[Event]]:
        """Batches of events after ``after``: replay, then live, no gap and no duplicate. Ends when the session is deleted or the
        log stops; raises LogReset. ``not_found`` at the first step for a session that does not exist. Close it (``aclose``)."""
        raise NotImplementedError

    def follow_sessions(self) -> AsyncIterator[set[str]]:
        """Ids of sessions whose row changed or that were deleted, collected while the reader was busy."""
        raise NotImplementedError

    def on_change(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call ``listener`` after every commit, also one of another process; returns the function that ends this."""
        raise NotImplementedError

    def text(self, session: str, run: str | None, item: str, type: str = "token", *, fence: Fence | None = None) -> TextStream:
        """A stream of partial text: ``type`` is token, thinking or tool_output (``item`` is then the tool's id)."""
        raise NotImplementedError


class TextStream:
    """Partial text, committed in buckets of ~50 ms and then published. Finish with ``Draft(final body, replaces=item)``
    after ``await flush()``."""

    text: str
    first_seq: int | None
    last_seq: int | None

    async def write(self, delta: str) -> None:
        """Add text. Does not wait for the disk; an earlier failure is raised here."""

    async def flush(self) -> None:
        """Everything written so far is committed and published."""
