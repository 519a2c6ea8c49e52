"""Secret values that this process knows, and their removal from everything that is written, shown or logged.

This is the second line. The first one is that no program of an agent can read a secret at all (workspace/sandbox.py);
the second catches what comes back by other ways: a provider that repeats the key in its error, a server of the user's.
"""

from __future__ import annotations

import base64
import json
import logging
import os
import re
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path
from urllib.parse import quote, quote_plus, urlsplit

REMOVED = "[secret removed]"
SHORTEST = 8
"""Characters of the shortest value that is kept: a shorter one would be found in harmless text."""
HEAD = 4
"""Characters by which the forms of secrets are told apart first; every form has more."""
BLOCK = 16
"""Parts of a long secret are found too, when they hold an aligned block of so many characters."""
CHUNK = 1 << 20
LOGGERS = ("jupyterlab_postdoc", "anthropic", "httpx2", "httpcore2", "mcp", "opentelemetry", "asyncio", "tornado")

_NAME = re.compile(r"(KEY|TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|CREDENTIALS?|COOKIE|PAT)$", re.IGNORECASE)
_KEY = re.compile(
    r"\b(?:sk-[A-Za-z0-9_-]{20,}|gh[pousr]_[A-Za-z0-9]{30,}|github_pat_\w{30,}|glpat-[\w-]{20,}|hf_[A-Za-z0-9]{30,}"
    r"|xox[abprs]-[A-Za-z0-9-]{20,}|A(?:KI|SI)A[A-Z0-9]{16}|AIza[\w-]{35}|eyJ[\w-]{15,}\.eyJ[\w-]{15,}\.[\w-]{20,})"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]{40,}?-----END [A-Z ]*PRIVATE KEY-----"
)
"""Keys that say by their form what they are: model providers, GitHub, GitLab, Hugging Face, Slack, AWS, Google, JWT."""
_values: set[str] = set()
_forms: tuple[str, ...] = ()
_needles: tuple[str, ...] = ()
_places: dict[str, list[tuple[str, int]]] = {}
_starts: frozenset[str] = frozenset()
_stubs: frozenset[str] = frozenset()
_heads: dict[str, tuple[str, ...]] = {}
_longest = 0


class KeyFileError(ValueError):
    """A key file that cannot be used; its text is a sentence for the administrator."""


# --- what is secret ---


def register(*values: str | None) -> None:
    """From now on these values are removed. Values of less than 8 characters are not: they would be found anywhere."""
    new = {value.strip() for value in values if value} - _values
    new = {value for value in new if len(value) >= SHORTEST}
    if new:
        _values.update(new)
        _index()


def register_environment(environ: Mapping[str, str] | None = None) -> None:
    """Register what the names of environment variables say is secret, and the passwords in addresses."""
    for name, value in (os.environ if environ is None else environ).items():
        if _NAME.search(name) and not _harmless(value):
            register(value)
        elif "://" in value and "@" in value:
            register(_password(value))


def keys_in(text: str) -> list[str]:
    """What looks like somebody's key: a user may have pasted one. Register it, and no commit will hold it."""
    return _KEY.findall(text)


def _harmless(value: str) -> bool:
    """A path, or what may well be a word: removing it would spoil texts, and it is no secret worth the name."""
    return value.startswith(("/", "~", ".")) or (len(value) < 16 and value.isalpha())


def _password(address: str) -> str | None:
    try:
        password = urlsplit(address).password
    except ValueError:
        return None
    return None if password is None or _harmless(password) else password


def forms(value: str) -> set[str]:
    """The value as it is, and as addresses, JSON, base64 (at any place in a longer text) and hexadecimal show it."""
    raw = value.encode()
    found = {value, quote(value, safe=""), quote(value), quote_plus(value), json.dumps(value)[1:-1]}
    found |= {re.sub("%[0-9A-F]{2}", lambda code: code[0].lower(), quote(value, safe=""))}
    found |= {json.dumps(value, ensure_ascii=False)[1:-1], raw.hex(), raw.hex().upper()}
    for before in range(3):
        coded = base64.b64encode(b"\0" * before + raw).decode()
        inner = coded[(0, 2, 3)[before] : 8 * (before + len(raw)) // 6]  # the rest depends on what stands beside it
        found |= {inner, inner.replace("+", "-").replace("/", "_")}
    return found


def _index() -> None:
    global _forms, _needles, _places, _starts, _stubs, _heads, _longest
    every = {form for value in _values for form in forms(value)}
    places: dict[str, list[tuple[str, int]]] = {}
    for form in every:
        for offset in _offsets(form):
            needle = form[offset : offset + BLOCK] if len(form) >= 2 * BLOCK else form
            places.setdefault(needle, []).append((form, offset))
    _places, _needles, _forms = places, tuple(places), tuple(every)
    _starts = frozenset(form[0] for form in every)
    # Not every beginning of every form: of a long key these would fill the memory, and be slow to look for.
    _stubs = frozenset(form[:size] for form in every for size in range(1, HEAD))
    heads: dict[str, list[str]] = {}
    for form in every:
        heads.setdefault(form[:HEAD], []).append(form)
    _heads = {head: tuple(found) for head, found in heads.items()}
    _longest = max(map(len, every), default=0)


def _begins(text: str, at: int) -> bool:
    """Whether what stands from ``at`` to the end is the beginning of a form."""
    head = text[at : at + HEAD]
    if len(head) < HEAD:
        return head in _stubs
    known = _heads.get(head)
    if known is None:
        return False
    rest = text[at:]
    return any(len(form) > len(rest) and form.startswith(rest) for form in known)


def _offsets(form: str) -> Iterable[int]:
    """Where the blocks of a form begin that give it away; the last one ends where the form ends."""
    if len(form) < 2 * BLOCK:
        return (0,)
    return {*range(0, len(form) - BLOCK + 1, BLOCK), len(form) - BLOCK}


# --- taking it out ---


def redact(text: str) -> str:
    """The text without secrets; the same object when there is none in it."""
    spans = _spans(text)
    return _without(text, spans) if spans else text


def _spans(text: str) -> list[tuple[int, int]]:
    return [span for needle in _needles if needle in text for span in _found(text, needle)]


def _without(text: str, spans: list[tuple[int, int]]) -> str:
    parts: list[str] = []
    end = 0
    for first, last in sorted(spans):
        if first >= end:
            parts += [text[end:first], REMOVED]
        end = max(end, last)
    return "".join([*parts, text[end:]])


def _found(text: str, needle: str) -> Iterable[tuple[int, int]]:
    """Where the needle stands, with as much of the secret around it as is there."""
    at = text.find(needle)
    while at >= 0:
        first, last = at, at + len(needle)
        for form, offset in _places[needle]:
            left, right = offset, offset + len(needle)
            while left > 0 and at - (offset - left) > 0 and text[at - (offset - left) - 1] == form[left - 1]:
                left -= 1
            while right < len(form) and at + right - offset < len(text) and text[at + right - offset] == form[right]:
                right += 1
            first, last = min(first, at - (offset - left)), max(last, at + right - offset)
        yield first, last
        at = text.find(needle, at + 1)


def needles() -> tuple[bytes, ...]:
    """Every form of every secret, to look for in bytes that come in pieces: never show, store or log one."""
    return tuple(form.encode() for form in _forms)


def in_file(path: str | Path) -> bool:
    """Whether the file holds a whole secret, in any of its forms. Reads all of it: call it in a thread."""
    wanted = needles()
    if not wanted:
        return False
    with open(path, "rb") as file:
        tail = b""
        while data := file.read(CHUNK):
            window = tail + data
            if any(form in window for form in wanted):
                return True
            tail = window[-_longest:]
    return False


class StreamRedactor:
    """Takes secrets out of a text that comes in pieces, also where a secret lies across pieces.

    What may be the beginning of a secret is held back until the next piece tells.
    """

    def __init__(self) -> None:
        self._held = ""

    def feed(self, piece: str) -> str:
        """What can be shown now; may be empty."""
        if not _needles and not self._held:
            return piece
        text = self._held + piece
        spans = _spans(text)
        cut = len(text) - self._beginning(text)
        cut = max([cut, *(last for first, last in spans if first < cut)])  # what follows a whole secret begins anew
        self._held = text[cut:]
        spans = [span for span in spans if span[0] < cut]
        return _without(text[:cut], spans) if spans else text[:cut]

    def flush(self) -> str:
        """What was held back, at the end of the text."""
        rest, self._held = self._held, ""
        return redact(rest)

    @staticmethod
    def _beginning(text: str) -> int:
        """Characters at the end of the text that are the beginning of a secret."""
        for at in range(max(0, len(text) - _longest + 1), len(text)):
            if text[at] in _starts and _begins(text, at):
                return len(text) - at
        return 0


# --- logs ---


class RedactingFilter(logging.Filter):
    """Takes secrets out of log records: the message with its arguments, the traceback, the stack."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Always true: the record is cleaned, never dropped. The server's own start message shows its token."""
        if not _needles or record.module == "serverapp":
            return True
        try:
            message = record.getMessage()
        except (TypeError, ValueError):  # wrong arguments: logging itself reports them, and shows both
            message = f"{record.msg} {record.args}"
        clean = redact(message)
        if clean is not message:
            record.msg, record.args = clean, None
        if record.exc_info and not record.exc_text and record.exc_info[0] is not None:
            record.exc_text = logging.Formatter().formatException(record.exc_info)
        if record.exc_text and (text := redact(record.exc_text)) is not record.exc_text:
            record.exc_text, record.exc_info = text, None
        if record.stack_info:
            record.stack_info = redact(record.stack_info)
        return True


_filter = RedactingFilter()


def guard_logs(*loggers: logging.Logger) -> None:
    """Clean what these loggers, ours, our libraries' and all above them write. Safe to call again."""
    for logger in [*loggers, *map(logging.getLogger, LOGGERS)]:
        logger.addFilter(_filter)
        above: logging.Logger | None = logger
        while above is not None:
            for handler in above.handlers:
                handler.addFilter(_filter)
            above = above.parent
    if logging.lastResort is not None:  # writes for loggers that have no handler
        logging.lastResort.addFilter(_filter)


# --- keys ---


def read_key(env: str, file: str | Path = "") -> str | None:
    """The key in this file (mode 0600), else in this environment variable; None when there is none.

    It is registered at once. Raises :class:`KeyFileError` with a sentence when the file cannot be used.
    """
    key = _key_in(Path(file).expanduser()) if str(file) else (os.environ.get(env) or "").strip()
    register(key)
    return key or None


def _key_in(path: Path) -> str:
    try:
        with path.open(encoding="utf-8") as opened:
            mode = os.fstat(opened.fileno()).st_mode
            if not stat.S_ISREG(mode):
                raise KeyFileError(f"The key file {path} is not a file.")
            if os.name == "posix" and mode & 0o077:
                raise KeyFileError(
                    f"The key file {path} can be read by others (mode {stat.S_IMODE(mode):04o}), so it is not used. "
                    f"Run: chmod 600 {path}"
                )
            key = opened.read(1 << 16).strip()
    except OSError as e:
        raise KeyFileError(f"The key file {path} cannot be read: {e.strerror or e}.") from e
    except UnicodeDecodeError as e:
        raise KeyFileError(f"The key file {path} does not hold a key: it is not text.") from e
    if not key:
        raise KeyFileError(f"The key file {path} is empty.")
    if len(key.split()) != 1:
        raise KeyFileError(f"The key file {path} holds more than a key. It must hold the key alone, on one line.")
    return key
