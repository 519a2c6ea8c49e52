"""HTTP through to an editor: streamed as it comes, filtered, without any credential either way."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Coroutine
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

from jupyter_core.utils import ensure_async
from jupyter_server.auth.decorator import allow_unauthenticated
from tornado import web
from tornado.httputil import HTTPHeaders
from tornado.iostream import StreamClosedError

from jupyterlab_postdoc.errors import PostdocError
from jupyterlab_postdoc.handlers.base import RESOURCE, user_of

from . import filter, headers, page
from .access import TicketHandler, no_ticket, stopped
from .tickets import tickets_of
from .upstream import upstreams_of

if TYPE_CHECKING:
    import httpx2

HEALTH = "health"
"""With the first secret: whether the ticket still holds and the editor is up, for the page that holds the frame."""
MAX_BODY = 64 << 20
MAX_PAGE = 8 << 20
PAGE_S = 30.0
LEFT_S = 1.0
"""A change goes on for so long after who sent it has left."""


class ProxyHandler(TicketHandler):
    """``{base_url}postdoc/nt/<first secret>/``: the outer page, for the ticket's user, who is logged in.
    ``{base_url}postdoc/nt/<second secret>/…``: what is in it, for the ticket.
    """

    path: str = ""
    outer: bool = False
    _sending: asyncio.Task[None] | None = None
    _left = False

    # --- who ---

    async def prepare(self) -> None:  # type: ignore[override]
        """Find the ticket and judge the request."""
        method = self.request.method or ""
        self.checked_host()
        if self.origin() not in (None, "null"):
            raise web.HTTPError(403, "Requests from this origin are not allowed.")
        if len(self.request.body or b"") > MAX_BODY:
            raise PostdocError("too_large", "The request is larger than 64 MiB.")
        path = filter.clean(self.rest)
        self.outer = path in ("", HEALTH) and method in ("GET", "HEAD") and not self._is_inner()
        if self.outer:
            await super().prepare()
            if not await self._welcome():
                return
        else:
            self.ticket = await self.find_ticket(at_once=path == "" or method == "POST")
            self.set_policy()
        if path is None:
            raise PostdocError("not_found", "There is nothing at this address.")
        if method == "POST":
            if self.origin() != "null":
                raise web.HTTPError(403, "Requests from this origin are not allowed.")
            self._unfold()
        self.path = path

    def _unfold(self) -> None:
        """The request as the page meant it."""
        try:
            told, self.request.body = headers.unfold(self.request.headers.get("Content-Type", ""), self.request.body)
        except ValueError:
            raise PostdocError("bad_message", "The request is not one of the notebook's page.") from None
        for name, value in told.items():
            self.request.headers[name] = value

    def _is_inner(self) -> bool:
        return tickets_of(self.settings).find_inner(self.secret) is not None

    async def _welcome(self) -> bool:
        """Whether the outer page goes out. It wants the login and the ticket of that user; else this has answered."""
        if self.current_user is None:
            self._to_login()
            return False
        self.ticket = await self.find_ticket(at_once=True, outer=True)
        if user_of(self).name != self.ticket.user:
            raise no_ticket()
        if not await ensure_async(self.authorizer.is_authorized(self, self.current_user, "read", RESOURCE)):
            raise web.HTTPError(403, "You are not allowed to read sessions on this server.")
        return True

    def _to_login(self) -> None:
        """Where a person logs in; the way back is to our page, never to the ticket. A frame cannot log in: it tells
        who holds it.
        """
        if self.rest or self.request.headers.get("Sec-Fetch-Dest") in ("iframe", "frame", "embed", "object"):
            raise PostdocError("forbidden", "The notebook was opened without a login.", next="Open it again.")
        url, back = self.get_login_url(), f"{self.base_url.rstrip('/')}/postdoc/"
        self.redirect(f"{url}{'&' if '?' in url else '?'}{urlencode({'next': back})}")

    # --- what ---

    @allow_unauthenticated
    async def get(self, *_path: str) -> None:
        await self._answer()

    @allow_unauthenticated
    async def head(self, *_path: str) -> None:
        await self._answer()

    @allow_unauthenticated
    async def post(self, *_path: str) -> None:
        await self._answer()

    @allow_unauthenticated
    async def put(self, *_path: str) -> None:
        await self._answer()

    @allow_unauthenticated
    async def patch(self, *_path: str) -> None:
        await self._answer()

    @allow_unauthenticated
    async def delete(self, *_path: str) -> None:
        await self._answer()

    @allow_unauthenticated
    def options(self, *_path: str) -> None:
        """The preflight of an opaque origin; the headers are set already."""
        self.set_status(204)
        self.finish()

    async def _answer(self) -> None:
        verdict = filter.judge(self.ticket.mode, self.request.method or "", self.path)
        if verdict.status == 200:
            self.finish(dict(verdict.answer))
        elif verdict.status:
            raise PostdocError("not_found" if verdict.status == 404 else "forbidden", verdict.why)
        elif self.outer and self.path == HEALTH:
            self.finish({"status": self.editor().status.state})
        elif self.outer:
            await self.settled()
            self._outer_page()
        elif self.path == "" and self.request.method == "GET":
            await self._while_there(self._page())
        else:
            await self._while_there(self._forward())

    # --- through ---

    def _request(self) -> tuple[httpx2.AsyncClient, httpx2.Request]:
        """The request as marimo gets it. The page is always that of the session's notebook."""
        upstream = self.editor().upstream
        client = upstreams_of(self.settings).client(upstream)
        forced = {"file": upstream.notebook} if self.path == "" else {}
        query = filter.upstream_query(self.query, **forced)
        target = filter.upstream_path(self.path) + (f"?{query}" if query else "")
        given = headers.to_upstream(self.request.headers.get_all(), upstream)
        body = self.request.body if self.request.method == "POST" else None
        return client, client.build_request(self.request.method or "GET", target, headers=given, content=body)

    async def _send(self) -> httpx2.Response:
        import httpx2

        try:
            client, request = self._request()
            return await client.send(request, stream=True)
        except httpx2.InvalidURL:
            raise PostdocError("bad_message", "The address is too long.") from None
        except httpx2.TimeoutException:
            raise PostdocError("capacity", "The notebook's editor does not answer.", retryable=True) from None
        except httpx2.TransportError:
            raise stopped() from None

    def _outer_page(self) -> None:
        """The page that holds marimo's page in a frame; asked for by a person who is logged in."""
        forced = {"file": self.editor().upstream.notebook}
        forced |= {"kiosk": "true"} if self.ticket.mode == "watch" else {}
        nonce = secrets.token_urlsafe(16)
        self.set_header("Content-Security-Policy", headers.outer_policy(self.here, self.address, nonce))
        self.set_header("Content-Type", "text/html; charset=utf-8")
        self.finish(page.outer(f"{self.address}?{filter.upstream_query(self.query, **forced)}", nonce))

    async def _page(self) -> None:
        """marimo's page with our script in front."""
        await self.settled()
        answer = await self._send()
        try:
            html = await self._whole(answer)
        finally:
            await answer.aclose()
        if answer.status_code != 200 or not html:
            raise PostdocError(
                "capacity", f"The notebook's editor answers {answer.status_code} instead of its page.", retryable=True
            )
        self.set_header("Content-Type", "text/html; charset=utf-8")
        self.finish(page.prepare(html, self.assets))

    async def _whole(self, answer: httpx2.Response) -> bytes:
        """What was answered, nothing when it is too long: who answers may be a stranger by now."""
        import httpx2

        html = b""
        try:
            async with asyncio.timeout(PAGE_S):
                async for chunk in answer.aiter_raw():
                    html += chunk
                    if len(html) > MAX_PAGE:
                        return b""
        except (httpx2.TransportError, TimeoutError):
            raise stopped() from None
        return html

    async def _while_there(self, work: Coroutine[None, None, None]) -> None:
        """Work for a browser; one that goes ends it."""
        self._sending = asyncio.ensure_future(work)
        if self._left:
            self.on_connection_close()
        await asyncio.wait({self._sending})
        if not self._sending.cancelled():
            self._sending.result()

    async def _forward(self) -> None:
        """The answer as it comes; a browser that does not read is not written to."""
        import httpx2

        answer = await self._send()
        try:
            self._headers_of(answer)
            if self.request.method != "HEAD" and answer.status_code not in (204, 304):
                async for chunk in answer.aiter_raw():
                    self.write(chunk)
                    await self.flush()
            if not self._headers_written:
                await self.flush()
            self.finish()
        except StreamClosedError:
            self.log.debug("A browser left before the end of an answer.")
        except httpx2.TransportError:
            self._broken()
        finally:
            await answer.aclose()

    def _broken(self) -> None:
        """marimo went away in the middle: an answer that is cut off must not look whole."""
        if not self._headers_written:
            raise stopped()
        self.detach().close()

    def _headers_of(self, answer: httpx2.Response) -> None:
        self.set_status(answer.status_code, answer.reason_phrase or None)
        self._headers = HTTPHeaders()
        self.set_default_headers()
        self.set_policy()
        self.clear_header("Cache-Control")
        self.clear_header("Content-Type")
        for name, value in headers.from_upstream(answer.headers.raw):
            self.add_header(name, value)
        if "Cache-Control" not in self._headers:
            self.set_header("Cache-Control", "no-store")
        if (next := answer.next_request) is not None and (to := self._location(next.url)) is not None:
            self.set_header("Location", to)

    def _location(self, to: httpx2.URL) -> str | None:
        """Where marimo sends the browser, as an address of ours; None for one that might lead out of the ticket."""
        path = filter.clean(to.raw_path.decode("ascii").partition("?")[0].removeprefix("/"))
        if path is None:
            return None
        query = filter.upstream_query(to.query.decode("ascii"))
        at = quote(f"{self._place}/{self.secret}", safe="/%:@~") + filter.upstream_path(path)
        return at + (f"?{query}" if query else "")

    def on_connection_close(self) -> None:
        """End what is done for the one who has left; what a page sends while its tab is closed still arrives."""
        self._left = True
        if self._sending is not None:
            wait = LEFT_S if self.request.method == "POST" else 0.0
            asyncio.get_running_loop().call_later(wait, self._sending.cancel)

    # --- not through ---

    def write_error(self, status_code: int, **kwargs: object) -> None:
        """A page instead of the page, JSON instead of anything else."""
        if not (self.rest == "" and self.request.method == "GET"):
            super().write_error(status_code, **kwargs)
            return
        exc_info = kwargs.get("exc_info")
        body = self._error_body(status_code, exc_info[1] if isinstance(exc_info, tuple) else None)
        self.set_header("Content-Type", "text/html; charset=utf-8")
        self.set_header("Content-Security-Policy", headers.SENTENCE)
        event = "expired" if status_code == 403 else "stopped"
        self.finish(page.instead(event, str(body["error"]), str(body.get("next") or "")))
