"""Tickets: what a page without cookies shows instead of a login.

A ticket is for one user, one session and one mode, and lives in memory only. It has two secrets. With the first one its
user, who must be logged in, gets the outer page. The second one stands in that page only: it opens marimo's page within
it, and everything that this one asks for, without a login.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from jupyterlab_postdoc.agent.hand import hand_of
from jupyterlab_postdoc.store.base import SessionRow

Mode = Literal["watch", "edit"]

LIFE_S = 12 * 3600.0
IDLE_S = 30 * 60.0
LOOK_S = 1.0
"""So long a look at the session counts: is it still there, does its user still have the notebook in hand."""
LOGIN_S = 20.0
"""So long a look at the login counts, as on the panel's socket: some identity providers end logins on their side."""
MOST = 16
"""Tickets of one user for one session: a page that is opened again and again fills no memory."""
KEY = "postdoc_tickets"


@dataclass(eq=False, slots=True)
class Ticket:
    """``made`` is UNIX time, ``used``, ``looked`` and ``asked`` are monotonic. ``ends`` close what is open with it,
    ``login`` says whether the login that it was made with still holds.
    """

    secret: str
    inner: str
    user: str
    session: str
    mode: Mode
    root: Path
    login: Callable[[], Awaitable[bool]]
    made: float = field(default_factory=time.time)
    used: float = field(default_factory=time.monotonic)
    looked: float = field(default_factory=time.monotonic)
    asked: float = field(default_factory=time.monotonic)
    ends: set[Callable[[], None]] = field(default_factory=set)
    dead: bool = False

    @property
    def expires(self) -> float:
        """When it ends however much it is used, in UNIX seconds."""
        return self.made + LIFE_S

    @property
    def expired(self) -> bool:
        """Too old, however much it is used."""
        return time.time() > self.expires

    def over(self) -> bool:
        """Ended, too old, or not used for too long; a connection that is open is a use."""
        idle = time.monotonic() - self.used > IDLE_S and not self.ends
        return self.dead or idle or self.expired

    def allowed_by(self, row: SessionRow | None) -> bool:
        """Whether the session still gives this leave."""
        if row is None or row.owner != self.user:
            return False
        return self.mode == "watch" or in_hand(row, self.user)


class Tickets:
    """All tickets of a server."""

    def __init__(self) -> None:
        self._all: dict[str, Ticket] = {}
        self._inner: dict[str, Ticket] = {}
        self.heard = False
        """Whether somebody tells us when a notebook changes hands."""

    def issue(self, user: str, session: str, mode: Mode, root: Path, login: Callable[[], Awaitable[bool]]) -> Ticket:
        """A new ticket; each secret has 256 random bits."""
        self.sweep()
        same = [t for t in self._all.values() if (t.user, t.session) == (user, session)]
        for old in sorted(same, key=lambda t: (bool(t.ends), t.used))[: max(0, len(same) - MOST + 1)]:
            self.end(old)
        ticket = Ticket(secrets.token_urlsafe(32), secrets.token_urlsafe(32), user, session, mode, root, login)
        self._all[ticket.secret] = self._inner[ticket.inner] = ticket
        return ticket

    def find(self, secret: str) -> Ticket | None:
        """The ticket with this first secret that is still good; to be found is to be used."""
        return self._good(self._all.get(secret))

    def find_inner(self, secret: str) -> Ticket | None:
        """The same by the second secret."""
        return self._good(self._inner.get(secret))

    def _good(self, ticket: Ticket | None) -> Ticket | None:
        if ticket is None:
            return None
        if ticket.over():
            self.end(ticket)
            return None
        ticket.used = time.monotonic()
        return ticket

    def end(self, ticket: Ticket) -> None:
        """Worth nothing from now on; connections that are open with it are closed."""
        ticket.dead = True
        self._all.pop(ticket.secret, None)
        self._inner.pop(ticket.inner, None)
        for close in list(ticket.ends):
            close()

    def revoke(self, session: str, mode: Mode | None = None) -> None:
        """End a session's tickets (those of one mode)."""
        for ticket in list(self._all.values()):
            if ticket.session == session and mode in (None, ticket.mode):
                self.end(ticket)

    def leave(self, user: str) -> None:
        """End a person's tickets."""
        for ticket in list(self._all.values()):
            if ticket.user == user:
                self.end(ticket)

    def sweep(self) -> None:
        """Forget those that are over."""
        for ticket in [t for t in self._all.values() if t.over()]:
            self.end(ticket)

    def __len__(self) -> int:
        return len(self._all)


def in_hand(row: SessionRow | None, user: str) -> bool:
    """Whether this person has the session's notebook."""
    hand = hand_of(row)
    return hand is not None and hand.holder == user


def tickets_of(settings: dict[str, Any]) -> Tickets:
    """The server's tickets."""
    found = settings.setdefault(KEY, Tickets())
    assert isinstance(found, Tickets)
    return found
