"""Secrets are taken out in every form in which they come back, and out of logs; harmless text is left alone."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import logging
import os
import random
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from jupyterlab_postdoc import secrets
from jupyterlab_postdoc.errors import PostdocError
from jupyterlab_postdoc.protocol import Event
from jupyterlab_postdoc.secrets import CHUNK, REMOVED, KeyFileError, RedactingFilter, StreamRedactor, read_key, redact
from jupyterlab_postdoc.text_stream import TextStream
from jupyterlab_postdoc.workspace.git import Git

KEY = "sk-ant-api03-Zk4+pQ/2vT9_xW-canary-0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJ-lastAA"
SHORT = 'pw "q\\é/9'


@pytest.fixture(autouse=True)
def registered() -> Iterator[None]:
    """Every test has these two, and leaves nothing behind."""
    before = set(secrets._values)
    secrets.register(KEY, SHORT)
    yield
    secrets._values.clear()
    secrets._values.update(before or {uuid.uuid4().hex})
    secrets._index()


@pytest.mark.parametrize("value", [KEY, SHORT])
def test_every_form_is_found(value: str) -> None:
    raw = value.encode()
    shown = [value, quote(value, safe=""), quote(value), json.dumps(value)[1:-1], raw.hex(), f"x{value}y"]
    shown += [base64.b64encode(b"u" * before + raw + b"v" * after).decode() for before in range(4) for after in (0, 1)]
    shown += [base64.urlsafe_b64encode(b"user:" + raw).decode()]
    for text in shown:
        clean = redact(f"begin {text} end")
        assert REMOVED in clean, text
        assert value not in clean
        assert clean.startswith("begin ")
        assert clean.endswith(" end")
        left = clean.removeprefix("begin ").removesuffix(" end").replace(REMOVED, "")
        assert len(left) <= 10, "only what belongs to the neighbours is left"


def test_a_part_of_a_long_secret_is_found_too() -> None:
    assert redact(f"… {KEY[:40]}\n") == f"… {REMOVED}\n"
    assert redact(f"{KEY[-35:]}, {KEY[20:60]}") == f"{REMOVED}, {REMOVED}"
    wrapped = base64.encodebytes(b"KEY=" + KEY.encode() + b"\n").decode()
    clean = redact(wrapped)
    assert clean.count(REMOVED) == 2
    assert len(clean.replace(REMOVED, "")) < 20, clean


def test_harmless_text_is_the_same_object() -> None:
    secrets.register("short", "", None)
    text = "sk-ant-api03 is how such keys begin; short is no secret. " * 50
    assert redact(text) is text


def test_pieces_of_a_stream() -> None:
    secrets.register("its-end-is-s")  # which begins the key
    chance = random.Random(7)
    text = f"one its-end-is-s {KEY}two{SHORT}{SHORT} three sk-ant-api03 {base64.b64encode(KEY.encode()).decode()} sk-an"
    whole = redact(text)
    assert whole.count(REMOVED) == 5
    for _ in range(300):
        stream, out, at = StreamRedactor(), [], 0
        while at < len(text):
            size = chance.choice((1, 2, 3, 7, 50, 200))
            out.append(stream.feed(text[at : at + size]))
            at += size
        assert "".join([*out, stream.flush()]) == whole
    assert StreamRedactor().feed("Nothing is held back here.") == "Nothing is held back here."


async def test_a_file_with_a_secret_is_not_committed(tmp_path: Path) -> None:
    root = tmp_path / "study"
    root.mkdir()
    git = Git()
    await git.init(root)
    (root / "good.txt").write_text("nothing to hide\n")
    (root / "bad.ipynb").write_bytes(b"x" * (CHUNK - 20) + base64.b64encode(b"KEY=" + KEY.encode()) + b"y" * 100)
    commit = await git.commit_all(root, subject="Add files", body="", trailers={})
    assert commit is not None
    assert [(excluded.path, excluded.reason) for excluded in commit.excluded] == [
        ("bad.ipynb", "it holds a secret: a key, a token or a password")
    ]
    assert (await git.run("ls-files", cwd=root, env=git.own(root))).text.split() == ["good.txt"]


async def test_no_error_says_a_secret_and_no_stream_shows_one() -> None:
    error = PostdocError("provider_auth", f"The provider refused {KEY}.", next=f"Replace {SHORT}.")
    assert str(error) == error.message == f"The provider refused {REMOVED}."
    assert error.as_dict()["next"] == f"Replace {REMOVED}."
    sent: list[str] = []

    async def append(bodies: Any) -> list[Event]:
        sent.extend(body.delta for body in bodies)
        return [Event("s", len(sent), 0.0, "token", None, "i_1", b"")]

    stream = TextStream(append, "i_1", "token", 0.001)
    for letter in f"The key is {KEY}, he said.":
        await stream.write(letter)
        await asyncio.sleep(0)
    await stream.flush()
    assert "".join(sent) == stream.text == f"The key is {REMOVED}, he said."


def test_its_cost_grows_with_the_text_and_no_faster() -> None:
    """It runs over every result of every tool: four times the text may take four times as long, with some slack."""
    text = "The quick brown fox jumps over 13 lazy dogs.\n" * 700
    small, large = min(_seconds(text) for _ in range(20)), min(_seconds(4 * text) for _ in range(20))
    assert large < 4 * small * 2.5


def _seconds(text: str) -> float:
    began = time.perf_counter()
    redact(text)
    return time.perf_counter() - began


def test_logs() -> None:
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
    handler.addFilter(RedactingFilter())
    log = logging.getLogger("postdoc-test-logs")
    log.addHandler(handler)
    log.propagate = False
    try:
        log.warning("refused: %s for %d", {"key": KEY}, 3)
        try:
            raise ValueError(f"Bearer {KEY}")
        except ValueError:
            log.exception("it failed", stack_info=True)
        log.warning("a plain one: %s", 7)
    finally:
        log.removeHandler(handler)
    text = written.getvalue()
    assert KEY[:20] not in text
    assert f"refused: {{'key': '{REMOVED}'}} for 3" in text
    assert f"ValueError: Bearer {REMOVED}" in text
    assert "Stack (most recent call last)" in text
    assert "a plain one: 7" in text


def test_the_logs_of_libraries_are_guarded_where_no_handler_is() -> None:
    code = f"""
import logging
from jupyterlab_postdoc import secrets
secrets.register({KEY!r})
secrets.guard_logs(logging.getLogger("ServerApp"))
for name in ("anthropic._base_client", "httpx2", "mcp.client.stdio", "jupyterlab_postdoc.runs", "asyncio", "other"):
    logging.getLogger(name).warning("%s says {KEY}", name)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.count(REMOVED) == 6, done.stderr
    assert KEY not in done.stderr


def test_what_the_environment_says_is_secret() -> None:
    secrets.register_environment(
        {
            "MY_API_KEY": "0123456789-a",
            "DATABASE_URL": "postgresql://me:pass-word-77@db/x",
            "SSH_KEY": "/home/me/.ssh/id_ed25519",
            "DB_PASSWORD": "postgres",
            "EDITOR": "editor-of-texts",
        }
    )
    text = "0123456789-a pass-word-77 /home/me/.ssh/id_ed25519 postgres editor-of-texts"
    assert redact(text) == f"{REMOVED} {REMOVED} /home/me/.ssh/id_ed25519 postgres editor-of-texts"


def test_the_key_comes_from_the_file_or_the_environment(tmp_path: Path) -> None:
    name = "POSTDOC_TEST_KEY"
    file = tmp_path / "key"
    file.write_text("  from-the-file-0001\n")
    file.chmod(0o600)
    os.environ[name] = " from-the-environment-0002\n"
    try:
        assert read_key(name) == "from-the-environment-0002"
        assert read_key(name, file) == "from-the-file-0001"
    finally:
        del os.environ[name]
    assert read_key(name) is None
    assert redact("from-the-file-0001 from-the-environment-0002") == f"{REMOVED} {REMOVED}"


def test_a_key_that_somebody_pasted_is_known_by_its_form() -> None:
    keys = ["sk-proj-" + "aB3_" * 10, "ghp_" + "x1Y2" * 9, "AKIA" + "Z9Y8" * 4, "hf_" + "q" * 34]
    text = "Use " + ", ".join(keys) + " and not sk-ant-…, ghp_short, task-force-of-the-whole-institute-2026."
    assert secrets.keys_in(text) == keys
    secrets.register(*secrets.keys_in(text))
    assert redact(text).count(REMOVED) == 4
    block = "-----BEGIN OPENSSH PRIVATE KEY-----\n" + "b3BlbnNzaC1rZXktdjEA\n" * 5 + "-----END OPENSSH PRIVATE KEY-----"
    assert secrets.keys_in(f"my key:\n{block}\n") == [block]


@pytest.mark.parametrize(
    ("content", "mode", "sentence"),
    [
        ("a-good-key-0001", 0o644, "can be read by others (mode 0644)"),
        ("a-good-key-0001", 0o640, "chmod 600"),
        ("", 0o600, "is empty"),
        ("key = a-good-key-0001", 0o600, "the key alone"),
        (None, 0, "No such file"),
    ],
)
def test_a_key_file_that_cannot_be_used_says_why(tmp_path: Path, content: str | None, mode: int, sentence: str) -> None:
    file = tmp_path / "key"
    if content is not None:
        file.write_text(content)
        file.chmod(mode)
    with pytest.raises(KeyFileError, match=r"^The key file .*\.?") as caught:
        read_key("POSTDOC_TEST_KEY", file)
    assert sentence in str(caught.value)
    assert "a-good-key" not in str(caught.value)
