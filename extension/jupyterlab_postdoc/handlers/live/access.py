"""Who may use an address below ``nt/``: the ticket, its origin, its user, and that it still holds."""

from __future__ import annotations

import re
import time
from urllib.parse import quote

from jupyter_server.base.handlers import JupyterHandler
from tornado import web

from jupyterlab_postdoc.errors import PostdocError
from jupyterlab_postdoc.handlers.base import JsonErrors, Services, services_of
from jupyterlab_postdoc.handlers.page import HOST
from jupyterlab_postdoc.notebooks import report
from jupyterlab_postdoc.notebooks.live import Editor

from . import filter, headers
from .tickets import LOGIN_S, LOOK_S, Ticket, tickets_of

SECRET = re.compile(r"[A-Za-z0-9_-]{43}")
HIDDEN = "[ticket]"
SETTLE_S = 3.5
"""marimo's page gives a connection up after 4 s."""


def no_ticket() -> PostdocError:
    """The same for a ticket that never was, is over, or is somebody else's."""
    return PostdocError("forbidden", "This address of a notebook is not valid (any more).", next="Open it again.")


def stopped() -> PostdocError:
    """There is no editor behind the ticket now."""
    return PostdocError(
        "capacity", "The notebook's editor is not running.", next="Open the notebook again.", retryable=True
    )


class TicketHandler(JsonErrors, JupyterHandler):
    """Base of the proxy's handlers.

    The ticket is a credential in a path: from the moment a request is here, ``request.uri`` and ``request.path`` (what
    all logs show) do not hold it any more.
    """

    secret: str = ""
    rest: str = ""
    """The raw path behind the ticket."""
    query: str = ""
    ticket: Ticket
    _place: str | None = None

    # --- the address ---

    def _take_address(self) -> None:
        """Read the address and hide the ticket in it; once."""
        if self._place is not None:
            return
        path, mark, self.query = (self.request.uri or "").partition("?")
        parts = path.split("/")
        at = self.settings["base_url"].count("/") + 1  # where `nt` stands
        self._place = "/".join(parts[: at + 1])
        self.secret, self.rest = "".join(parts[at + 1 : at + 2]), "/".join(parts[at + 2 :])
        behind = f"/{self.rest}" if len(parts) > at + 2 else ""
        self.request.path = f"{self._place}/{HIDDEN}{behind}"
        self.request.uri = self.request.path + mark + filter.upstream_query(self.query)

    def set_default_headers(self) -> None:
        """Also errors are for the page of an opaque origin, and can do nothing."""
        self._take_address()
        super().set_default_headers()
        asked = self.request.headers
        wanted = asked.get("Access-Control-Request-Headers", ""), asked.get("Access-Control-Request-Method", "")
        for name, value in headers.cors(*wanted).items():
            self.set_header(name, value)
        self.set_header("Cache-Control", "no-store")

    def set_cors_headers(self) -> None:
        """Jupyter's own: a page of another origin that knows the token might read. Not here."""

    @property
    def content_security_policy(self) -> str:
        """Of errors; :meth:`set_policy` says what holds for pages and files."""
        return headers.NOTHING

    def set_policy(self) -> None:
        """The policy of what marimo sends."""
        self.set_header("Content-Security-Policy", headers.policy(self.here, self.address, self.assets))

    @property
    def here(self) -> str:
        """``scheme://host`` of this server, as the browser sees it; refuses a host that a policy cannot hold."""
        if HOST.fullmatch(self.request.host) is None:
            raise web.HTTPError(403, "Requests to this host name are not allowed.")
        return f"{self.request.protocol}://{self.request.host}"

    @property
    def address(self) -> str:
        """The path of what belongs to the ticket's page, with a slash at its end."""
        return f"{self._place}/{self.ticket.inner}/"

    @property
    def assets(self) -> str:
        """Where marimo's files are, which are public: a path with a slash at its end."""
        return f"{self.base_url.rstrip('/')}/postdoc/assets/{quote(report.static_version() or 'none')}/"

    # --- the checks ---

    def check_xsrf_cookie(self) -> None:
        """marimo's page has no such cookie; what changes something must come from its opaque origin."""

    def checked_host(self) -> None:
        """Refuse a foreign host name; done for every request, for it is not done elsewhere without a login."""
        if not self.check_host():
            raise web.HTTPError(403, "Requests to this host name are not allowed.")

    async def find_ticket(self, *, at_once: bool, outer: bool = False) -> Ticket:
        """The request's ticket, if its session still gives leave; ``at_once``: even if that was seen just now.
        ``outer``: by its first secret.
        """
        tickets = tickets_of(self.settings)
        known = SECRET.fullmatch(self.secret) is not None
        found = (tickets.find if outer else tickets.find_inner)(self.secret) if known else None
        if found is None or not await self.still_allowed(found, at_once=at_once):
            raise no_ticket()
        return found

    async def still_allowed(self, ticket: Ticket, *, at_once: bool) -> bool:
        """Look at the session, and now and then at the login; a ticket without its leave ends."""
        if ticket.dead or (not at_once and time.monotonic() - ticket.looked < LOOK_S):
            return not ticket.dead
        row = await self.services.log.store.get_session(ticket.session)
        ticket.looked = time.monotonic()
        if not ticket.allowed_by(row) or not await self._logged_in(ticket):
            tickets_of(self.settings).end(ticket)
        return not ticket.dead

    async def _logged_in(self, ticket: Ticket) -> bool:
        """Whether the login holds, as far as the identity provider can say: one that fails is asked again later."""
        if time.monotonic() - ticket.asked < LOGIN_S:
            return True
        ticket.asked = time.monotonic()
        try:
            return await ticket.login()
        except web.HTTPError as error:
            self.log.warning("The identity provider does not say whether a login still holds: %s", error)
            return True

    @property
    def services(self) -> Services:
        return services_of(self.settings)

    def editor(self) -> Editor:
        """The running editor of the ticket's project; raises capacity."""
        found = self.services.editors.get(self.ticket.root)
        if found is None:
            raise stopped()
        return found

    async def settled(self) -> None:
        """Wait a little for an editor that is being started again: a page that comes then finds it as soon as it is
        there, and not at some later try of its own.
        """
        await self.services.editors.settled(self.ticket.root, SETTLE_S)

    def origin(self) -> str | None:
        """Who asks, as the browser says."""
        return self.request.headers.get("Origin")

    def compute_etag(self) -> None:
        """marimo's, or none."""
