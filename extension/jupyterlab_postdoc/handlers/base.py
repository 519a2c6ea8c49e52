"""What all handlers share: who asks, the services behind them, and one place that turns every failure into JSON."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from http.client import responses
from typing import Any, Protocol, TypeVar, cast

import msgspec
from jupyter_core.utils import ensure_async
from jupyter_server.auth.decorator import authorized
from jupyter_server.auth.identity import IdentityProvider
from jupyter_server.base.handlers import APIHandler, JupyterHandler
from tornado import web
from tornado.httputil import HTTPServerRequest

from jupyterlab_postdoc import protocol
from jupyterlab_postdoc.errors import PostdocError
from jupyterlab_postdoc.forge.connection import Connection
from jupyterlab_postdoc.log import EventLog
from jupyterlab_postdoc.notebooks.live import Editors
from jupyterlab_postdoc.protocol import Command
from jupyterlab_postdoc.publishing.repositories import Repositories
from jupyterlab_postdoc.publishing.watch import PullWatch
from jupyterlab_postdoc.sessions import SessionManager, User

from . import frames

RESOURCE = "postdoc"
LOCAL_USER = "local"
MADE_UP = "Anonymous "
"""How the names begin that Jupyter gives to users it does not know."""

S = TypeVar("S")
F = TypeVar("F", bound=Callable[..., Any])
_UUID = re.compile(r"[0-9a-f]{32}")
_CODES = {
    400: "bad_message",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    405: "bad_message",
    413: "too_large",
    429: "rate_limited",
}
_NEXT = {
    404: "See api/agents.md for the addresses.",
    405: "See api/agents.md for the addresses.",
}


def authorized_to_execute(method: F) -> F:
    """For every verb that changes something: the same leave that the commands of a socket need."""
    return cast(F, authorized(action="execute", resource=RESOURCE)(method))


class Services(Protocol):
    """What the application puts into ``settings["postdoc"]``."""

    @property
    def sessions(self) -> SessionManager: ...
    @property
    def log(self) -> EventLog: ...
    @property
    def repositories(self) -> Repositories: ...
    @property
    def connection(self) -> Connection: ...
    @property
    def watch(self) -> PullWatch: ...
    @property
    def editors(self) -> Editors: ...


def services_of(settings: dict[str, Any]) -> Services:
    """The services; ``capacity`` while the server is still starting (or when its start failed)."""
    services = settings.get("postdoc")
    if services is None:
        if isinstance(failed := settings.get("postdoc_error"), PostdocError):
            raise PostdocError(
                failed.code, failed.message, next=failed.next, retryable=failed.retryable, **failed.details
            )
        raise PostdocError("capacity", "Postdoc is still starting.", next="Try again in a moment.", retryable=True)
    return cast(Services, services)


def user_of(handler: JupyterHandler) -> User:
    """The server's own identity of who asks, never the client's word.

    A server with one shared token or password gives each request a random user (a UUID): these are all one person, so
    they share one name and keep their sessions. ``anonymous`` is who has shown no credential (:func:`is_anonymous`).
    """
    known = handler.current_user
    provider = type(handler.identity_provider)
    anonymous = is_anonymous(handler)
    if _UUID.fullmatch(known.username) and provider.get_user is IdentityProvider.get_user:
        return User(name=LOCAL_USER, display=LOCAL_USER, anonymous=anonymous)
    display = known.display_name or known.name or known.username
    return User(name=known.username, display=display, anonymous=anonymous)


def is_anonymous(handler: JupyterHandler) -> bool:
    """Whether nobody knows who asks, so that the models for anonymous users apply.

    - Authentication is off (neither token nor password): yes, whoever it is.
    - One token or password for all, the usual server: no. Who has it is the server's own user, although Jupyter calls
      them "Anonymous Himalia".
    - A provider that knows people (a hub): those whom it names are known. Yes for the user that it makes up
      (``generate_anonymous_user``: a UUID with such a name) for a request without the server's token.
    """
    provider = handler.identity_provider
    if not provider.auth_enabled:
        return True
    if type(provider).get_user is IdentityProvider.get_user:
        return False
    known = handler.current_user
    made_up = _UUID.fullmatch(known.username) is not None and known.name.startswith(MADE_UP)
    return made_up and not provider.is_token_authenticated(handler)


async def login_holds(application: web.Application, request: HTTPServerRequest, name: str, action: str) -> bool:
    """Whether the login that came with an earlier request is still this user's, and good for this. The identity
    provider is asked with a fresh handler, since it may set cookies.
    """
    fresh = JupyterHandler(application, request)
    user = await ensure_async(fresh.identity_provider.get_user(fresh))
    if user is None:
        return False
    fresh.current_user = user
    return user_of(fresh).name == name and bool(
        await ensure_async(fresh.authorizer.is_authorized(fresh, user, action, RESOURCE))
    )


class JsonErrors(web.RequestHandler):
    """Every failure as ``{"code","error","next",…}`` with its status; the traceback goes to the server's log only."""

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """The one place where errors get their JSON."""
        exc_info = kwargs.get("exc_info")
        body = self._error_body(status_code, exc_info[1] if exc_info else None)
        self.set_header("Content-Type", "application/json")
        self.set_header("Cache-Control", "no-store")
        self.finish(protocol.encode(body))

    def _error_body(self, status: int, error: BaseException | None) -> dict[str, Any]:
        if isinstance(error, PostdocError):
            return error.as_dict()
        if status >= 500:
            ref = protocol.new_id()[:12]
            cast(JupyterHandler, self).log.error(
                "postdoc error %s at %s %s", ref, self.request.method, self.request.path
            )
            return PostdocError(
                "internal", "Something went wrong in the server.", next=f"The server's log has it as {ref}.", ref=ref
            ).as_dict()
        text = error.log_message if isinstance(error, web.HTTPError) and error.log_message else None
        if status == 403 and not getattr(self, "_jupyter_current_user", None):
            return PostdocError(
                "unauthorized", text or "You are not logged in.", next="Log in, or send a token."
            ).as_dict()
        sentence = text or f"{responses.get(status, 'Refused')}: {self.request.method} {self.request.path}."
        return PostdocError(_CODES.get(status, "bad_message"), sentence, next=_NEXT.get(status, "")).as_dict()

    def _handle_request_exception(self, e: BaseException) -> None:
        """A coded error is an answer, not a crash: it gets its status, and no traceback in the log."""
        if isinstance(e, PostdocError) and not self._finished and not self._headers_written:
            self.send_error(e.status, exc_info=(type(e), e, e.__traceback__))
            return
        super()._handle_request_exception(e)


class PostdocHandler(JsonErrors, APIHandler):
    """Base of the REST handlers: parse, call one method, write."""

    auth_resource = RESOURCE

    async def prepare(self) -> None:  # type: ignore[override]
        """Fail closed: nobody unknown reaches a verb, whatever the server's settings say about unauthenticated
        access.
        """
        if len(self.request.body or b"") > protocol.MAX_INBOUND:
            self.set_header("Connection", "close")
            raise PostdocError("too_large", "The request is larger than 1 MiB.", next="Send it in smaller parts.")
        await super().prepare()
        if self.current_user is None and self.request.method != "OPTIONS" and not self._finished:
            raise web.HTTPError(403)

    def check_origin(self, origin_to_satisfy_tornado: str = "") -> bool:
        """A foreign origin is forbidden, not "not found"."""
        if not super().check_origin(origin_to_satisfy_tornado):
            raise web.HTTPError(403, "Requests from this origin are not allowed.")
        return True

    def set_default_headers(self) -> None:
        """Answers are personal and change: no cache keeps them."""
        super().set_default_headers()
        self.set_header("Cache-Control", "no-store")

    @property
    def services(self) -> Services:
        return services_of(self.settings)

    @property
    def sessions(self) -> SessionManager:
        return self.services.sessions

    @property
    def event_log(self) -> EventLog:
        return self.services.log

    @property
    def user(self) -> User:
        return user_of(self)

    # --- in ---

    def body(self) -> dict[str, Any]:
        """The JSON object of the request; nothing at all counts as ``{}``."""
        return frames.decode(self.request.body) if self.request.body.strip() else {}

    def body_as(self, to: type[S]) -> S:
        """The JSON object as a struct of its own."""
        return frames.convert(self.body(), to)

    def command(self, name: str, **fields: Any) -> Command:
        """The JSON object as the command ``name``; ``fields`` (from the address) win, ``Idempotency-Key`` is its
        ``id``.
        """
        frame = self.body() | fields | {"type": name}
        key = self.request.headers.get("Idempotency-Key")
        return frames.command(frame | {"id": key} if key else frame)

    def whole(self, name: str, default: int, low: int = 0, high: int = 2**53) -> int:
        """A whole number from the query."""
        text = self.get_query_argument(name, None)
        if text is None:
            return default
        if re.fullmatch(r"-?\d{1,16}", text) is None or not low <= int(text) <= high:
            limits = f"from {low} to {high}" if high < 2**53 else f"of at least {low}"
            raise PostdocError(
                "bad_message", f"The query value `{name}` must be a whole number {limits}, not {text[:40]!r}."
            )
        return int(text)

    def seconds(self, name: str, high: float) -> float:
        """A time from the query, 0 when absent; longer than ``high`` counts as ``high``."""
        text = self.get_query_argument(name, "0")
        if re.fullmatch(r"\d{1,6}(\.\d{1,6})?", text) is None:
            raise PostdocError(
                "bad_message", f"The query value `{name}` must be a number of seconds, not {text[:40]!r}."
            )
        return min(float(text), high)

    def moment(self, name: str) -> float | None:
        """A point in time from the query: an ISO-8601 time, as our answers hold it, or UNIX seconds. None when
        absent.
        """
        text = self.get_query_argument(name, None)
        if text is None:
            return None
        try:
            if re.fullmatch(r"\d{1,12}(\.\d{1,9})?", text):
                return float(text)
            return datetime.fromisoformat(text).timestamp()
        except ValueError:
            raise PostdocError(
                "bad_message", f"The query value `{name}` must be an ISO-8601 time, not {text[:40]!r}."
            ) from None

    def flag(self, name: str) -> bool:
        """A yes or no from the query."""
        text = self.get_query_argument(name, "false").lower()
        if text not in ("true", "false", "1", "0", ""):
            raise PostdocError("bad_message", f"The query value `{name}` must be true or false, not {text[:40]!r}.")
        return text in ("true", "1", "")

    def names(self, name: str) -> list[str] | None:
        """A comma-separated list from the query."""
        text = self.get_query_argument(name, None)
        return [part.strip() for part in text.split(",") if part.strip()] if text is not None else None

    async def submit(self, name: str, chat: str) -> frames.Frame:
        """Carry out the command ``name`` in a chat; its ack."""
        return frames.ack_body(await self.sessions.submit(self.user, self.command(name, chatId=chat)), chat)

    # --- out ---

    def send(self, value: Any, status: int = 200) -> None:
        """Answer with JSON."""
        self.set_status(status)
        self.finish(value if isinstance(value, bytes) else protocol.encode(value))

    def send_events(self, key: str, events: list[bytes], **rest: Any) -> None:
        """Answer with a page of ready event bytes."""
        raw = msgspec.Raw(b"[" + b",".join(events) + b"]")
        self.send({key: raw, **rest} if key else raw)


class NotFoundHandler(PostdocHandler):
    """Whatever is not an address of ours, below our prefix."""

    async def prepare(self) -> None:  # type: ignore[override]
        await super().prepare()
        if self.request.method != "OPTIONS":
            raise PostdocError(
                "not_found", f"There is nothing at {self.request.path}.", next="See api/agents.md for the addresses."
            )
