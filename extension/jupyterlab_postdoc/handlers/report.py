"""The executed report in a page without rights, and the public files it is drawn with.

A report is HTML that an agent made. It is served so that its scripts run with an opaque origin: no cookie, no
storage, no access to the
page around it, and no address to talk to but the front-end files of marimo, which are public and therefore need no
login.
"""

from __future__ import annotations

import asyncio
import importlib.metadata
import importlib.util
import re
from collections.abc import Awaitable
from functools import cache
from pathlib import Path
from urllib.parse import quote

from jupyter_server.auth.decorator import allow_unauthenticated, authorized
from tornado import web

from jupyterlab_postdoc.errors import PostdocError

from .base import JsonErrors, PostdocHandler

CDN = re.compile(rb"https://[\w.-]+/npm/@marimo-team/frontend@[\w.+-]+/dist")
HEAD = re.compile(rb"<head(?:\s[^>]*)?>", re.IGNORECASE)

SHIM = b"""<script>(() => {
  const put = (on, name, how) => { try { Object.defineProperty(on, name, { configurable: true, ...how }); } catch {} };
  const memory = () => {
    const m = new Map();
    return {
      getItem: k => m.get(String(k)) ?? null,
      setItem: (k, v) => { m.set(String(k), String(v)); },
      removeItem: k => { m.delete(String(k)); },
      clear: () => m.clear(),
      key: i => [...m.keys()][i] ?? null,
      get length() { return m.size; },
    };
  };
  for (const name of ["localStorage", "sessionStorage"])
    try { window[name].length; } catch { put(window, name, { value: memory() }); }
  try { document.cookie; } catch { put(document, "cookie", { get: () => "", set: () => {} }); }
  put(navigator, "serviceWorker", { value: undefined });
})();</script>"""
"""Stands in for the storage that a page with an opaque origin does not have."""


@cache
def marimo_files() -> tuple[str, Path]:
    """marimo's version and its front-end files. Looks only: marimo itself is never imported into the server."""
    spec = importlib.util.find_spec("marimo")
    if spec is None or not spec.submodule_search_locations:
        raise PostdocError(
            "notebook_failed", "marimo is not installed.", next="Install jupyterlab-postdoc again with pip."
        )
    return importlib.metadata.version("marimo"), Path(next(iter(spec.submodule_search_locations))) / "_static"


def rewrite(html: bytes, assets: str) -> bytes:
    """The report with its front-end files taken from ``assets`` and the shim before its first script."""
    html = CDN.sub(assets.encode().replace(b"\\", b"\\\\"), html)
    shimmed, found = HEAD.subn(lambda m: m[0] + SHIM, html, count=1)
    return shimmed if found else SHIM + html


def policy(origin: str, assets: str) -> str:
    """The Content-Security-Policy of a report. In an opaque origin ``'self'`` means nothing, so the full address is
    named.
    """
    a = f"{origin}{assets}/"
    return "; ".join(
        [
            "sandbox allow-scripts",
            "default-src 'none'",
            f"script-src {a} 'unsafe-inline' 'unsafe-eval' blob:",
            f"style-src {a} 'unsafe-inline'",
            f"font-src {a} data:",
            f"img-src {a} data: blob:",
            f"connect-src {a} data: blob:",
            "worker-src blob:",
            f"manifest-src {a}",
            "frame-ancestors 'self'",
            "base-uri 'none'",
            "form-action 'none'",
        ]
    )


class ReportHandler(PostdocHandler):
    """The executed report of a chat's project."""

    @web.authenticated
    @authorized
    async def get(self, id: str) -> None:
        path = await self._path(id)
        version, _ = marimo_files()
        assets = f"{self.base_url.rstrip('/')}/postdoc/assets/{quote(version)}"
        try:
            html = await asyncio.to_thread(path.read_bytes)
        except OSError as error:
            raise self._no_report(id) from error
        self.set_header("Content-Security-Policy", policy(f"{self.request.protocol}://{self.request.host}", assets))
        self.set_header("Referrer-Policy", "no-referrer")
        self.finish(rewrite(html, assets), set_content_type="text/html; charset=utf-8")

    async def _path(self, id: str) -> Path:
        """The report's file; a path that leaves the server's root (a symlink, say) is as good as none."""
        project = (await self.sessions.get(self.user, id)).get("project")
        if not project or not project.get("report"):
            raise self._no_report(id)
        root = Path(self.settings["server_root_dir"]).expanduser().resolve()
        path: Path = (root / project["report"]).resolve()
        if not path.is_relative_to(root):
            raise self._no_report(id)
        return path

    @staticmethod
    def _no_report(id: str) -> PostdocError:
        return PostdocError(
            "not_found", f"The chat {id!r} has no report yet.", next="It is written when the notebook has run."
        )


class AssetsHandler(JsonErrors, web.StaticFileHandler):
    """marimo's front end. Public on purpose: these files are the same for everyone, and a report has no cookie to
    send.
    """

    def initialize(self) -> None:  # type: ignore[override]
        self.version, root = marimo_files()
        super().initialize(path=str(root))

    def set_extra_headers(self, path: str) -> None:  # noqa: ARG002
        self.set_header("Access-Control-Allow-Origin", "*")
        self.set_header("Cross-Origin-Resource-Policy", "cross-origin")
        self.set_header("X-Content-Type-Options", "nosniff")
        self.set_header("Content-Security-Policy", "sandbox; default-src 'none'")
        self.set_header("Cache-Control", "public, max-age=31536000, immutable")

    def _check(self, version: str) -> None:
        if version != self.version:
            raise PostdocError("not_found", f"There are no files of marimo {version[:40]!r} here.")

    @allow_unauthenticated
    def head(self, version: str, path: str) -> Awaitable[None]:  # type: ignore[override]
        self._check(version)
        return super().get(path, include_body=False)

    @allow_unauthenticated
    def get(self, version: str, path: str, include_body: bool = True) -> Awaitable[None]:  # type: ignore[override]
        self._check(version)
        return super().get(path, include_body)
