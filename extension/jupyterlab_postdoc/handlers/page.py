"""The page for those who follow without JupyterLab, and the files it is made of.

The page holds nothing of the server but its address and version: what it shows it asks for itself, as the logged-in
user. It may load scripts from here only, and nobody else may put it into a frame.
"""

from __future__ import annotations

import hashlib
import html
import re
from collections.abc import Awaitable
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from jupyter_server.auth.decorator import authorized
from jupyter_server.base.handlers import JupyterHandler
from tornado import web

from jupyterlab_postdoc import __version__, protocol

from .base import RESOURCE, JsonErrors

STATIC = Path(__file__).resolve().parent.parent / "static"
NOT_BUILT = (
    "The page was not built on this machine. In a clone of the project run `make panel`; a release that is installed "
    "with pip has it."
)
HASHED = re.compile(r"-[0-9A-Z]{8}\.(js|css)")
HOST = re.compile(r"[\w.-]+(:\d{1,5})?|\[[0-9a-fA-F:.]+\](:\d{1,5})?")
YEAR_S = 31_536_000


class LookOnly(JsonErrors, JupyterHandler):
    """Base of what is only looked at: GET and HEAD, for those who may read."""

    auth_resource = RESOURCE

    async def prepare(self) -> None:  # type: ignore[override]
        """Fail closed: nothing but looking, and a user that is known; else it is sent to the login."""
        if self.request.method not in ("GET", "HEAD"):
            raise web.HTTPError(403, "This address can only be looked at.")
        await super().prepare()
        if self.current_user is None and not self._finished:
            web.authenticated(LookOnly._nobody)(self)

    def _nobody(self) -> None:
        raise web.HTTPError(403)


class PageHandler(LookOnly):
    """One HTML page for all views; which one is in the address, and the page's own script reads it."""

    @property
    def content_security_policy(self) -> str:
        scheme = "wss" if self.request.protocol == "https" else "ws"
        socket = f" {scheme}://{self.request.host}" if HOST.fullmatch(self.request.host) else ""
        return (
            "default-src 'none'; script-src 'self'; style-src 'self'; style-src-attr 'unsafe-inline'; "
            f"img-src 'self' blob: data:; font-src 'self' data:; connect-src 'self'{socket}; frame-src 'self'; "
            "object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
        )

    def set_default_headers(self) -> None:
        super().set_default_headers()
        self.set_header("Cache-Control", "no-store")
        self.set_header("Referrer-Policy", "same-origin")

    @web.authenticated
    @authorized
    async def get(self) -> None:
        if (clean := self._clean_address()) is not None:
            self.redirect(clean)
            return
        _ = self.xsrf_token  # sets the cookie that the page sends back with what it changes
        self.set_header("Content-Type", "text/html; charset=utf-8")
        self.finish(self._page())

    @web.authenticated
    @authorized
    async def head(self) -> None:
        self.set_header("Content-Type", "text/html; charset=utf-8")
        self.finish()

    def _clean_address(self) -> str | None:
        """Where to go on when the address has no slash at its end, or holds a token: that is in a cookie by now."""
        path, query = self.request.path, self.request.query_arguments
        root = f"{self.base_url.rstrip('/')}/postdoc"
        if "token" not in query and path != root:
            return None
        rest = [(name, value) for name, values in query.items() if name != "token" for value in values]
        at = f"{root}/" if path == root else quote("/" + path.lstrip("/"), safe="/%:@")
        return at + (f"?{urlencode(rest)}" if rest else "")

    def _page(self) -> str:
        if not (STATIC / "page.js").is_file():
            self.set_status(503)
            return document("Postdoc", f'<p role="alert">{html.escape(NOT_BUILT)}</p>')
        base = html.escape(f"{self.base_url.rstrip('/')}/postdoc/static/")
        config = {
            "baseUrl": self.base_url,
            "version": __version__,
            "language": self._language(),
            "lab": self._has_lab(),
        }
        style = f'<link rel="stylesheet" href="{base}{versioned("page.css")}">'
        script = f'<script type="module" src="{base}{versioned("page.js")}"></script>'
        data = f'<script type="application/json" id="postdoc-config">{json_in_html(config)}</script>'
        noscript = "<noscript>This page needs JavaScript.</noscript>"
        icon = f'<link rel="icon" href="{html.escape(self.base_url.rstrip("/"))}/static/favicon.ico">'
        return document("Research · Postdoc", f'<div id="postdoc"></div>{noscript}{data}{script}', icon + style)

    def _language(self) -> str:
        """The language that the browser likes best."""
        first = re.match(r"\s*([A-Za-z]{2,3}(?:-[A-Za-z0-9]{2,8})*)", self.request.headers.get("Accept-Language", ""))
        return first[1] if first else "en"

    def _has_lab(self) -> bool:
        """Whether JupyterLab runs in this server, to open files in."""
        server = self.serverapp
        return server is not None and "jupyterlab" in server.extension_manager.extension_apps

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """A sentence in a page, for whoever looks at it."""
        if self.request.method not in ("GET", "HEAD"):
            super().write_error(status_code, **kwargs)
            return
        exc_info = kwargs.get("exc_info")
        body = self._error_body(status_code, exc_info[1] if exc_info else None)
        text = " ".join(html.escape(str(body[name])) for name in ("error", "next") if body.get(name))
        self.set_header("Content-Type", "text/html; charset=utf-8")
        self.finish(document("Postdoc", f'<p role="alert">{text}</p>'))


class StaticHandler(LookOnly, web.StaticFileHandler):
    """The scripts and styles of the page, for those who may see the page."""

    def initialize(self) -> None:  # type: ignore[override]
        super().initialize(path=str(STATIC))

    def get_login_url(self) -> str:
        """A script has no use for a login page."""
        raise web.HTTPError(403)

    @property
    def content_security_policy(self) -> str:
        return "sandbox; default-src 'none'; frame-ancestors 'none'"

    def get_absolute_path(self, root: str, path: str) -> str:  # type: ignore[override]
        """The parent refuses what leaves the folder; here what no file can be called."""
        if not path.isprintable():
            raise web.HTTPError(404)
        return super().get_absolute_path(root, path)

    def set_extra_headers(self, path: str) -> None:
        """A name or an address with a hash in it never means anything else; others are asked for again."""
        lasting = HASHED.search(path) is not None or self.get_query_argument("v", None) is not None
        self.set_header("Cache-Control", f"private, max-age={YEAR_S}, immutable" if lasting else "private, no-cache")
        self.set_header("Cross-Origin-Resource-Policy", "same-origin")

    @web.authenticated
    @authorized
    def head(self, path: str) -> Awaitable[None]:  # type: ignore[override]
        return web.StaticFileHandler.get(self, path, include_body=False)

    @web.authenticated
    @authorized
    def get(self, path: str, include_body: bool = True) -> Awaitable[None]:  # type: ignore[override]
        return web.StaticFileHandler.get(self, path, include_body)


def versioned(name: str) -> str:
    """The file's name with a hash of its content, so that a browser keeps it until it changes."""
    try:
        stat = (STATIC / name).stat()
    except OSError:
        return name
    return f"{name}?v={_hash(name, stat.st_mtime_ns, stat.st_size)}"


@lru_cache(16)
def _hash(name: str, _changed: int, _size: int) -> str:
    return hashlib.sha256((STATIC / name).read_bytes()).hexdigest()[:16]


def json_in_html(value: Any) -> str:
    """JSON that cannot end the element it stands in."""
    return protocol.encode(value).decode().translate({ord(c): f"\\u{ord(c):04x}" for c in "<>&"})


def document(title: str, body: str, head: str = "") -> str:
    """A whole HTML document; ``body`` and ``head`` are markup."""
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="robots" content="noindex">'
        f"<title>{html.escape(title)}</title>{head}</head>"
        f"<body>{body}</body></html>\n"
    )
