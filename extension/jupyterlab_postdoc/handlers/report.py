"""The executed report in a page without rights, and the public files it is drawn with.

A report is HTML that an agent made. It is served so that its scripts run with an opaque origin: no cookie, no
storage, no access to the page around it, and no address to talk to but the front-end files of marimo, which are
public and therefore need no login. How that is done is in :mod:`jupyterlab_postdoc.notebooks.report`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from pathlib import Path
from urllib.parse import quote

from jupyter_server.auth.decorator import allow_unauthenticated, authorized
from tornado import web

from jupyterlab_postdoc.errors import PostdocError
from jupyterlab_postdoc.notebooks import report
from jupyterlab_postdoc.secrets import redact

from .base import JsonErrors, PostdocHandler

INTERACTIVE = "interactive.html"


def marimo_files() -> tuple[str, Path]:
    """marimo's version and its front-end files. Looks only: marimo itself is never imported into the server."""
    version, folder = report.static_version(), report.static_root()
    if version is None or folder is None:
        raise PostdocError(
            "notebook_failed", "marimo is not installed.", next="Install jupyterlab-postdoc again with pip."
        )
    return version, folder


def _read(path: Path) -> bytes:
    """The page without secrets of this server: a notebook that runs without a sandbox can find them."""
    text = path.read_bytes().decode("utf-8", "surrogateescape")
    return redact(text).encode("utf-8", "surrogateescape")


class ReportHandler(PostdocHandler):
    """The executed report of a chat's project; ``?interactive=true`` is marimo's own page of the same run."""

    @web.authenticated
    @authorized
    async def get(self, id: str) -> None:
        path = await self._path(id)
        version, _ = marimo_files()
        assets = f"{self.base_url.rstrip('/')}/postdoc/assets/{quote(version)}"
        try:
            html = await asyncio.to_thread(_read, path)
        except OSError as error:
            raise self._no_report(id) from error
        origin, interactive = f"{self.request.protocol}://{self.request.host}", self.flag("interactive")
        for name, value in report.report_headers(origin, assets, interactive=interactive).items():
            self.set_header(name, value)
        self.finish(report.prepare(html, assets), set_content_type="text/html; charset=utf-8")

    async def _path(self, id: str) -> Path:
        """The report's file; a path that leaves the server's root (a symlink, say) is as good as none."""
        project = (await self.sessions.get(self.user, id)).get("project")
        if not project or not project.get("report"):
            raise self._no_report(id)
        root = Path(self.settings["server_root_dir"]).expanduser().resolve()
        path: Path = root / project["report"]
        path = (path.with_name(INTERACTIVE) if self.flag("interactive") else path).resolve()
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
        for name, value in report.static_headers().items():
            self.set_header(name, value)
        self.set_header("Content-Security-Policy", "sandbox; default-src 'none'")

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
