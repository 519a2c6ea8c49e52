"""Serving reports from the Jupyter server: into a frame without same-origin rights, with no address outside of this
server.

``reports/report.html`` has no script and needs nothing. ``reports/interactive.html`` is marimo's page: its scripts
come from a public address, which is replaced by our own route to the files of the installed marimo.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import re
from functools import lru_cache
from pathlib import Path

CDN = re.compile(rb"https://[^\s\"'<>]{1,100}?/npm/@marimo-team/frontend@[^/\"'\s]{1,40}/dist")
VERSION = re.compile(rb"/npm/@marimo-team/frontend@([0-9A-Za-z.+-]{1,40})/dist")
HEAD = re.compile(rb"(?i)<head[^>]*>")
SANDBOX = "allow-popups allow-popups-to-escape-sandbox"
"""A report has no scripts; its references open in a window of their own."""
SANDBOX_INTERACTIVE = "allow-scripts"
"""A page with scripts opens no window: its address could carry anything away."""
STATIC_MAX_AGE = 31_536_000

SHIM = b"""<script>(()=>{
const make=()=>{const m=new Map();return{getItem:k=>m.has(k+"")?m.get(k+""):null,setItem:(k,v)=>{m.set(k+"",v+"")},
removeItem:k=>{m.delete(k+"")},clear:()=>m.clear(),key:i=>[...m.keys()][i]??null,get length(){return m.size}}};
for(const name of["localStorage","sessionStorage"])Object.defineProperty(window,name,{value:make(),configurable:true});
Object.defineProperty(document,"cookie",{get:()=>"",set:()=>{},configurable:true});
Object.defineProperty(navigator,"serviceWorker",{value:undefined,configurable:true});
})();</script>"""
"""An opaque origin has no storage and no cookies; marimo's page asks for them. In memory, for this page only."""


def prepare(page: bytes, assets_prefix: str) -> bytes:
    """The interactive page with its assets at ``assets_prefix`` (``{base_url}postdoc/assets/<version>``, no slash at
    the end).

    A page without marimo's front end (report.html) comes back as it is.
    """
    if not CDN.search(page):
        return page
    rewritten = CDN.sub(assets_prefix.rstrip("/").encode().replace(b"\\", rb"\\"), page)
    head = HEAD.search(rewritten)
    at = head.end() if head else 0
    return rewritten[:at] + SHIM + rewritten[at:]


def page_version(page: bytes) -> str | None:
    """The marimo version whose assets the page needs; None for a page that needs none."""
    found = VERSION.search(page)
    return found[1].decode() if found else None


def report_headers(origin: str, assets_prefix: str, *, interactive: bool = False) -> dict[str, str]:
    """Headers of a served report. ``origin`` is scheme://host of the request: in an opaque origin 'self' matches
    nothing.

    ``sandbox`` without allow-same-origin holds even when somebody opens the address directly. The page can reach the
    assets and nothing else: no cookie, no API of the server, no other address.
    """
    assets = f"{origin}{assets_prefix.rstrip('/')}/"
    policy = {
        "sandbox": SANDBOX_INTERACTIVE if interactive else SANDBOX,
        "default-src": "'none'",
        "script-src": f"{assets} 'unsafe-inline' 'unsafe-eval' blob:",  # eval: vega compiles its expressions
        "style-src": f"{assets} 'unsafe-inline'",
        "font-src": f"{assets} data:",
        "img-src": f"{assets} data: blob:",
        "connect-src": f"{assets} data: blob:",
        "worker-src": "blob:",
        "manifest-src": assets,
        "frame-ancestors": "'self'",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    return {
        "Content-Type": "text/html; charset=utf-8",
        "Content-Security-Policy": "; ".join(f"{name} {value}" for name, value in policy.items()),
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cache-Control": "no-store",
    }


def static_headers() -> dict[str, str]:
    """Headers of the assets: public files, asked for without cookies by an opaque origin; a version never changes."""
    return {
        "Access-Control-Allow-Origin": "*",
        "Cross-Origin-Resource-Policy": "cross-origin",
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": f"public, max-age={STATIC_MAX_AGE}, immutable",
    }


@lru_cache(maxsize=1)
def static_root() -> Path | None:
    """The folder of marimo's front end, found without importing marimo."""
    spec = importlib.util.find_spec("marimo")
    if spec is None or not spec.submodule_search_locations:
        return None
    folder = Path(spec.submodule_search_locations[0]) / "_static"
    return folder if (folder / "index.html").is_file() else None


@lru_cache(maxsize=1)
def static_version() -> str | None:
    """The installed marimo's version, from its metadata."""
    try:
        return importlib.metadata.version("marimo")
    except importlib.metadata.PackageNotFoundError:
        return None
