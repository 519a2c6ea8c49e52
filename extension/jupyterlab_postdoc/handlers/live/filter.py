"""What of marimo's addresses a page may reach. What is not listed is refused: a new one of marimo's stays closed.

marimo lets everyone who is logged in do everything; its kiosk page is a default, not a permission. So looking is
enforced here: a watcher's page may fetch what it shows, and nothing it sends arrives.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, quote_plus, unquote_plus, unquote_to_bytes

from .tickets import Mode

GONE = re.compile(r"(auth|api/marimo|terminal|api/lsp|lsp)(/.*)?", re.IGNORECASE)
"""The login (it hands out marimo's token), the Host API (our server's own), shells: as if they were not there."""

LOOK = re.compile(
    r"|health|api/version|api/usage|api/status/connections|public-files-sw\.js"
    r"|favicon\.ico|manifest\.json|logo\.png|apple-touch-icon\.png|android-chrome-\d+x\d+\.png"
    r"|assets/.+|@file/.+|public/.+"
)
LOOK_MORE = re.compile(
    r"api/status|api/kernel/status|api/documentation/snippets|api/packages/(list|tree)|api/files/(roots|download)"
    r"|api/export/availability|api/ai/mcp/status"
)
"""What an editor's page looks at besides."""

CHANGE = re.compile(
    r"api/document/transaction"
    r"|api/kernel/(set_ui_element_value|set_model_value|instantiate|function_call|interrupt|run|scratchpad/run|takeover"
    r"|pdb/pm|pdb/breakpoints|code_autocomplete|delete|focus_cell|format|set_cell_config|stdin|read_code|save"
    r"|save_app_config)"
    r"|api/datasources/(discover|preview_\w+)|api/sql/validate|api/storage/list_entries|api/cache/(info|clear)"
    r"|api/export/(html|script|markdown|ipynb|update_cell_outputs)"
    r"|api/files/(list_files|file_details|create|delete|copy|move|update|search)"
)
"""What an editor may send. Not among them: ``rename`` and ``save_user_config`` (what a project is called and how marimo
works is settled), ``shutdown`` and ``restart_session`` (our own address does that), packages, secrets, AI, other
notebooks.
"""

SILENT = re.compile(r"api/datasources/discover|api/packages/sandbox")
"""What a page sends by itself when it opens: to a watcher's we say yes, and do nothing."""
NO_SERVERS = "api/lsp/health"
"""What a page asks by itself when it opens: there are no language servers, and all of them are well."""

SECRETS = frozenset({"access_token", "token"})
OURS = "postdoc"
"""What our script in the page tells the proxy in a query."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """``status`` 0: it goes through. 200: ``answer`` is given here. Else it is refused with that status."""

    status: int
    why: str = ""
    answer: Mapping[str, Any] = field(default_factory=lambda: {"success": True})


THROUGH = Verdict(0)


def clean(raw: str) -> str | None:
    """The path behind the ticket (latin-1, as Tornado reads it), decoded once; None for one that marimo might read
    otherwise than this filter.
    """
    if re.search(r"%(2f|5c|25|00)", raw, re.IGNORECASE):
        return None
    try:
        path = unquote_to_bytes(raw.encode("latin-1")).decode()
    except UnicodeDecodeError:
        return None
    if not path.isprintable() or "\\" in path or any(part in ("", ".", "..") for part in path.split("/")[:-1]):
        return None
    return None if path.rpartition("/")[2] in (".", "..") else path


def judge(mode: Mode, method: str, path: str) -> Verdict:
    """Whether a request of this method to a clean ``path`` goes through."""
    if path == NO_SERVERS and method == "GET":
        return Verdict(200, answer={"status": "healthy", "servers": []})
    if GONE.fullmatch(path):
        return Verdict(404, "There is nothing at this address.")
    if method in ("GET", "HEAD"):
        if LOOK.fullmatch(path) or (mode == "edit" and LOOK_MORE.fullmatch(path)):
            return THROUGH
    elif method == "POST":
        if mode == "edit" and CHANGE.fullmatch(path):
            return THROUGH
        if SILENT.fullmatch(path):
            return Verdict(200)
    if mode == "watch":
        return Verdict(403, "This page is for looking only. Take the notebook over to change it.")
    return Verdict(403, "This is not available in a notebook of Postdoc.")


def upstream_path(path: str) -> str:
    """A clean path as it is sent on."""
    return "/" + quote(path, safe="/@:!$&'()*+,;=~")


def safe(part: str) -> str:
    """A part of a query as it came, but what no address may hold encoded."""
    return quote(part, safe="/?:@!$'()*+,;=~%", encoding="latin-1")


def upstream_query(raw: str, **forced: str) -> str:
    """The query without credentials; ``forced`` values replace the page's. It holds nothing that could end it (``#``):
    they stand behind it.
    """
    drop = SECRETS | {OURS, *forced}
    kept = [safe(part) for part in raw.split("&") if part and unquote_plus(part.partition("=")[0]) not in drop]
    return "&".join([*kept, *(f"{name}={quote_plus(value)}" for name, value in forced.items())])


def socket_query(mode: Mode, raw: str, notebook: str) -> str:
    """The query of the page's socket: its own notebook, and for a watcher the reader's role, whatever it asks for."""
    forced = {"file": notebook} | ({"kiosk": "true"} if mode == "watch" else {})
    return upstream_query(raw, **forced)
