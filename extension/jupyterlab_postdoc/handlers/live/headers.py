"""Headers: what of a request goes on to marimo, what of its answer comes back, and the policy of everything served."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from urllib.parse import quote

from jupyterlab_postdoc.notebooks.live import Upstream

HOP = frozenset(
    {
        "connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailer", "trailers",
        "transfer-encoding", "upgrade", "proxy-connection",
    }
)  # fmt: skip
NOT_SENT = HOP | {
    "host", "cookie", "authorization", "origin", "referer", "x-xsrftoken", "content-length", "accept-encoding",
    "expect", "forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-forwarded-port", "x-real-ip",
}  # fmt: skip
RETURNED = frozenset(
    {
        "accept-ranges", "cache-control", "content-disposition", "content-encoding", "content-language",
        "content-length", "content-range", "content-type", "etag", "expires", "last-modified", "pragma", "retry-after",
        "vary",
    }
)  # fmt: skip
"""What a page and its files need. Many others make a browser talk to somebody (reports, hints, rules for loading)."""

SANDBOX = "allow-scripts allow-forms allow-modals allow-downloads"
"""No same origin, ever. No popups either: the address of a window could carry anything away."""
CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
FOLDED = "text/plain;postdoc=1"
MAX_HEAD = 16 << 10
PLAIN = re.compile(r"[ -~]*")
TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}")


def to_upstream(given: Iterable[tuple[str, str]], upstream: Upstream) -> list[tuple[bytes, bytes]]:
    """The request's headers for marimo, in the bytes that came (Tornado reads them as latin-1): no credential of the
    browser's, but the one that marimo wants.
    """
    came = [(name.lower(), value) for name, value in given]
    hops = {token.strip().lower() for name, value in came if name == "connection" for token in value.split(",")}
    kept = [(name, value) for name, value in came if name not in NOT_SENT | hops]
    ours = [
        ("Host", f"127.0.0.1:{upstream.port}"),
        ("Authorization", f"Bearer {upstream.token}"),
        ("Accept-Encoding", "identity"),  # it comes over a local socket
    ]
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in (*kept, *ours)]


def unfold(type: str, body: bytes) -> tuple[dict[str, str], bytes]:
    """The headers and the body of a request that our page's script has folded (shim.js), so that no preflight goes
    before it. Others come back as they are. Raises ValueError.
    """
    if type != FOLDED:
        return {}, body
    head, _, rest = body.partition(b"\n")
    try:
        told = json.loads(head[:MAX_HEAD])
    except RecursionError:
        raise ValueError("no headers") from None
    if not isinstance(told, dict) or not all(
        TOKEN.fullmatch(name) and isinstance(value, str) and PLAIN.fullmatch(value) for name, value in told.items()
    ):
        raise ValueError("no headers")
    kept = {name.lower(): value for name, value in told.items() if name.lower() not in NOT_SENT}
    return {"content-type": "application/json", **kept}, rest


def from_upstream(given: Iterable[tuple[bytes, bytes]]) -> list[tuple[str, str]]:
    """The answer's headers for the browser, as Tornado wants their bytes. One that a header cannot hold is left out, a
    length too when the answer comes in chunks.
    """
    came = [(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in given]
    left = {"content-length"} if any(name == "transfer-encoding" for name, _ in came) else set()
    return [(n, v) for n, v in came if n in RETURNED and n not in left and not CONTROL.search(v)]


def policy(origin: str, page: str, assets: str) -> str:
    """The Content-Security-Policy of what marimo sends: without rights, it reaches itself and nothing else.

    ``origin`` is scheme://host; ``page`` (with the secret) and ``assets`` are paths that end with a slash. In an
    opaque origin 'self' matches nothing, so they are written out. Who may hold the frame is not said here: the outer
    page has no origin that could be named, and nobody else knows the address.
    """
    here = origin + safe(page)
    own = f"{here} {origin}{safe(assets)}"
    socket = f"{re.sub('^http', 'ws', origin)}{safe(page)}"
    return _joined(
        {
            "sandbox": SANDBOX,
            "default-src": "'none'",
            # eval: vega compiles its expressions. data: and blob: are where widgets bring their scripts from.
            "script-src": f"{own} 'unsafe-inline' 'unsafe-eval' blob: data:",
            "style-src": f"{own} 'unsafe-inline'",
            "font-src": f"{own} data:",
            "img-src": f"{own} data: blob:",
            "media-src": f"{own} data: blob:",
            "connect-src": f"{own} {socket} data: blob:",
            "worker-src": f"{own} data: blob:",
            "frame-src": f"{here} data: blob:",
            "manifest-src": own,
            "base-uri": here,
            "form-action": "'none'",
        }
    )


def outer_policy(origin: str, page: str, nonce: str) -> str:
    """The policy of the outer page. It holds one frame, which can never be taken to another address than ``page``:
    that is what the outer page is for, as nothing else stops a script from navigating its own frame.
    """
    return _joined(
        {
            "sandbox": SANDBOX,
            "default-src": "'none'",
            "script-src": f"'nonce-{nonce}'",
            "style-src": f"'nonce-{nonce}'",
            "frame-src": origin + safe(page),
            "base-uri": "'none'",
            "form-action": "'none'",
            "frame-ancestors": "'self'",
        }
    )


def _joined(rules: dict[str, str]) -> str:
    return "; ".join(f"{name} {value}" for name, value in rules.items())


NOTHING = "sandbox; default-src 'none'"
"""The policy of an answer that is no page."""
SENTENCE = "sandbox allow-scripts; default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'"
"""The policy of a page that only says something; all of it is ours."""


def safe(path: str) -> str:
    """A path as a policy may hold it."""
    return quote(path, safe="/%:@~!$&'()*+=")


def cors(asked_headers: str, asked_method: str) -> dict[str, str]:
    """Answers are for the page of an opaque origin, and for no other."""
    made = {
        "Access-Control-Allow-Origin": "null",
        "Access-Control-Expose-Headers": "Content-Disposition",
        "Vary": "Origin",
        "Cross-Origin-Resource-Policy": "cross-origin",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
        "X-DNS-Prefetch-Control": "off",
    }
    names = [name.strip() for name in asked_headers.split(",")]
    if all(map(TOKEN.fullmatch, names)):
        made["Access-Control-Allow-Headers"] = ", ".join(names)
    if asked_method in ("GET", "HEAD", "POST"):
        made["Access-Control-Allow-Methods"] = "GET, HEAD, POST"
        made["Access-Control-Max-Age"] = "600"
    return made
