"""marimo's page as it is handed out, and the small page that stands in for it when it cannot be."""

from __future__ import annotations

import html
import re
from functools import lru_cache
from pathlib import Path

from jupyterlab_postdoc import protocol
from jupyterlab_postdoc.notebooks import report

from .headers import SANDBOX

HEAD = re.compile(rb"(?i)<head[^>]*>")
ASSET = re.compile(rb"[\"']\./(assets/[\w.-]+)")


@lru_cache(maxsize=1)
def shim() -> bytes:
    """The script that goes before all others."""
    return b"<script>" + Path(__file__).with_name("shim.js").read_bytes() + b"</script>"


def prepare(page: bytes, assets: str) -> bytes:
    """The page with our script in front. Its files come from ``assets`` (a path that ends with a slash), where a
    browser keeps them from one ticket to the next, if they are the same there.
    """
    root = report.static_root()
    names = {found.decode() for found in ASSET.findall(page)}
    if root is not None and names and all((root / name).is_file() for name in names):
        page = re.sub(rb"([\"'])\./assets/", lambda found: found[1] + assets.encode() + b"assets/", page)
    head = HEAD.search(page)
    at = head.end() if head else 0
    return page[:at] + shim() + page[at:]


RELAY = """const frame = document.querySelector('iframe');
frame.remove();
frame.name = window.name;
frame.src = frame.dataset.src + location.hash;
document.body.prepend(frame);
let last = null;
addEventListener('message', event => {
  if (event.source === frame.contentWindow) {
    if (event.data?.type !== 'postdoc-notebook') return;
    parent.postMessage(event.data, '*');
    if (event.data.event === 'loaded' && last) frame.contentWindow.postMessage(last, '*');
  } else if (event.source === parent && parent !== window) {
    last = event.data;
    frame.contentWindow.postMessage(last, '*');
  }
});"""
"""What the holder of the outer page says (its theme) may come before marimo's page is there. The frame is put in anew:
a name that is given to one that is in the page already does not reach what is loaded in it.
"""


def outer(src: str, nonce: str) -> bytes:
    """The page around marimo's: a frame that fills it, and what either side tells the other passed on."""
    style = "html, body, iframe { margin: 0; border: 0; width: 100%; height: 100%; display: block; overflow: hidden }"
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>Notebook</title>'
        f'<style nonce="{nonce}">{style}</style></head><body>'
        f'<iframe title="Notebook" sandbox="{SANDBOX}" allow="clipboard-write; fullscreen"'
        f' data-src="{html.escape(src)}"></iframe><script nonce="{nonce}">{RELAY}</script></body></html>\n'
    ).encode()


def instead(event: str, sentence: str, next: str) -> bytes:
    """A page that says why there is no notebook, to the person and to the page that holds the frame (which can ask
    for a new ticket). ``event``: expired, stopped.
    """
    message = protocol.encode({"type": "postdoc-notebook", "event": event, "message": sentence}).decode()
    message = message.translate({ord(c): f"\\u{ord(c):04x}" for c in "<>&"})
    style = "font: 15px/1.5 system-ui, sans-serif; margin: 3em auto; max-width: 32em; color-scheme: light dark"
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>Notebook</title></head>'
        f'<body style="{style}"><p role="alert">{html.escape(sentence)} {html.escape(next)}</p>'
        f"<script>if (parent !== window) parent.postMessage({message}, '*')</script></body></html>\n"
    ).encode()
