"""A server with secrets in it, a model that wants them, and a scan of everything that was written or shown."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import re
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import psutil
from tests.chaos.harness import Server

from jupyterlab_postdoc.workspace import sandbox

with contextlib.closing(asyncio.new_event_loop()) as _loop:
    SANDBOX = _loop.run_until_complete(sandbox.probe()).available

IN_FILE = "sk-ant-file-canary/0f7d61+Qm9vZz=2d81c4"
"""The key that is used; it looks different in an address, so that the scan has something to tell apart."""
CANARIES = {
    "ANTHROPIC_API_KEY": "sk-ant-env-canary/5b21c9+Zm9vYmFy=77aa03",
    "GITHUB_TOKEN": "ghp_canary/9e4d51c0de+b4d5=6f3a2b",
    "GH_TOKEN": "gho_canary/of-the-program-gh+9e4d=b4d5",
    "GITHUB_ENTERPRISE_TOKEN": "ghp_canary/of-an-enterprise+6f3a=2b0d",
    "JUPYTER_TOKEN": "jupyter-canary-77aa03-c0ffee",
    "DATABASE_URL": "postgresql://canary:pw-canary-9e4d7b@db.invalid/x",
    "OTEL_EXPORTER_OTLP_HEADERS": "Authorization=Bearer otlp-canary-31f0aa",
}
VALUES = [
    IN_FILE,
    *(CANARIES[name] for name in ("ANTHROPIC_API_KEY", "JUPYTER_TOKEN")),
    *(CANARIES[name] for name in ("GITHUB_TOKEN", "GH_TOKEN", "GITHUB_ENTERPRISE_TOKEN")),
    "pw-canary-9e4d7b",
    "otlp-canary-31f0aa",
]
NOWHERE = "http://127.0.0.1:9/api/v3"
"""A GitHub that nobody is: with a token in its environment a server publishes."""
READABLE_BY_DESIGN = ("secret", "runtime")
"""Below the home: the key file itself, and Jupyter's own runtime folder with its token (both mode 0700)."""


def forms(value: str) -> set[bytes]:
    """The value as it is, in addresses, in JSON and in base64 wherever it may begin. Not the package's own list."""
    found = {value, quote(value, safe=""), quote_plus(value), json.dumps(value)[1:-1]}
    found.add(re.sub("%[0-9A-F]{2}", lambda code: code[0].lower(), quote(value, safe="")))
    for before in range(3):
        whole = base64.b64encode(b"." * before + value.encode()).decode()
        sure = whole[-(-before * 8 // 6) : (before + len(value)) * 8 // 6]
        found |= {sure, sure.replace("+", "-").replace("/", "_")}
    return {form.encode() for form in found}


FORMS = {form: value for value in VALUES for form in forms(value)}


def leaks(data: bytes, where: str) -> list[str]:
    """Which canaries these bytes hold."""
    return [f"{where}: {FORMS[form]} as {form.decode()}" for form in FORMS if form in data]


def scan(home: Path) -> list[str]:
    """Every file below ``home`` as it is, every git object unpacked, every value of every database."""
    found = []
    for path in sorted(home.rglob("*")):
        if path.relative_to(home).parts[0] in READABLE_BY_DESIGN or path.is_symlink() or not path.is_file():
            continue
        found += leaks(path.read_bytes(), str(path)) + leaks(os.fsencode(path), "name of a file")
        if path.read_bytes()[:16] == b"SQLite format 3\0":
            found += _scan_database(path)
    for repository in {path.parent for path in home.rglob("HEAD") if (path.parent / "objects").is_dir()}:
        found += _scan_repository(repository)
    return found


def _scan_database(path: Path) -> list[str]:
    """A value may be spread over several pages of the file."""
    found = []
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        tables = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for table in tables:
            for row in connection.execute(f'SELECT * FROM "{table}"'):
                for value in row:
                    data = value if isinstance(value, bytes) else str(value).encode("utf-8", "replace")
                    found += leaks(data, f"{path.name}: {table}")
    return found


def _scan_repository(repository: Path) -> list[str]:
    command = ["git", "--git-dir", str(repository), "cat-file", "--batch-all-objects", "--batch", "--buffer"]
    objects = subprocess.run(command, capture_output=True, check=True).stdout
    return leaks(objects, f"objects of {repository}")


# --- the model ---


def said(text: str) -> list[dict[str, Any]]:
    """A reply that only says something."""
    return [{"type": "text", "text": text}]


def call(number: int, name: str, **given: Any) -> dict[str, Any]:
    """A call of a tool."""
    return {"type": "tool_use", "id": f"toolu_{number:04d}", "name": name, "input": given}


def heard(messages: list[dict[str, Any]]) -> str:
    """Everything that the model was told by tools, as text."""
    return "\n".join(
        json.dumps(block.get("content"), ensure_ascii=False)
        for message in messages
        if isinstance(message["content"], list)
        for block in message["content"]
        if block.get("type") == "tool_result"
    )


class Model(ThreadingHTTPServer):
    """Speaks the Messages API. ``answer(request)`` gives blocks, or ``(status, body)`` for a failure.

    It keeps what it was sent: the key is in the header, and must be nowhere else.
    """

    daemon_threads = True

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.bodies: list[bytes] = []
        self.keys: set[str] = set()
        self.traces: list[bytes] = []
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    @contextlib.contextmanager
    def running(self) -> Iterator[Model]:
        thread = threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self.shutdown()
            self.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Model

    def do_GET(self) -> None:
        self._send(404, b'{"type":"error","error":{"type":"not_found_error","message":"no such thing"}}')

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path.startswith("/v1/traces"):
            self.server.traces.append(body)
            self._send(200, b"", "application/x-protobuf")
            return
        self.server.bodies.append(body)
        self.server.keys.add(self._key())
        if not self.path.startswith("/v1/messages") or "count_tokens" in self.path:
            self.do_GET()
            return
        answer = self.server.answer(json.loads(body), self._key())
        if isinstance(answer, tuple):
            self._send(answer[0], json.dumps(answer[1]).encode(), "application/json")
        else:
            self._send(200, stream(answer), "text/event-stream")

    def _key(self) -> str:
        given = self.headers.get("Authorization") or self.headers.get("X-Api-Key") or ""
        return given.removeprefix("Bearer ")

    def _send(self, status: int, body: bytes, media_type: str = "application/json") -> None:
        self.send_response(status)
        self.send_header("Content-Type", media_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


def failure(status: int, type: str, message: str) -> tuple[int, dict[str, Any]]:
    """An error as the API words it."""
    return status, {"type": "error", "error": {"type": type, "message": message}, "request_id": "req_1"}


def stream(blocks: list[dict[str, Any]]) -> bytes:
    """The reply as server-sent events, text and input in small pieces."""
    usage = {"input_tokens": 30, "output_tokens": 20}
    message = {"id": f"msg_{time.time_ns()}", "type": "message", "role": "assistant", "model": "claude-haiku-5-5"}
    message |= {"content": [], "stop_reason": None, "stop_sequence": None, "usage": usage}
    events: list[dict[str, Any]] = [{"type": "message_start", "message": message}]
    for index, block in enumerate(blocks):
        text, kind = block.get("text"), "text_delta"
        start = {"type": "text", "text": ""}
        if text is None:
            text, kind, start = json.dumps(block["input"]), "input_json_delta", {**block, "input": {}}
        events.append({"type": "content_block_start", "index": index, "content_block": start})
        for at in range(0, len(text), 11):
            piece = {"type": kind, "text" if kind == "text_delta" else "partial_json": text[at : at + 11]}
            events.append({"type": "content_block_delta", "index": index, "delta": piece})
        events.append({"type": "content_block_stop", "index": index})
    reason = "tool_use" if any(block["type"] == "tool_use" for block in blocks) else "end_turn"
    events.append({"type": "message_delta", "delta": {"stop_reason": reason, "stop_sequence": None}, "usage": usage})
    events.append({"type": "message_stop"})
    return b"".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode() for event in events)


# --- the server ---


@dataclass
class Guarded(Server):
    """A `jupyter server` with secrets in its environment and in a key file, and with a sandbox."""

    more: list[str] = field(default_factory=list)
    env: dict[str, str] = field(default_factory=dict)
    seen: list[str] = field(default_factory=list)
    """Command lines and environments with a canary in them."""

    @property
    def key_file(self) -> Path:
        return self.home / "secret" / "key"

    def start(self) -> None:
        for folder in (self.root, self.home / "home", self.home / "tmp", self.key_file.parent, self.templates):
            folder.mkdir(parents=True, exist_ok=True)
        self.key_file.parent.chmod(0o700)
        self.key_file.write_text(IN_FILE + "\n")
        self.key_file.chmod(0o600)
        self.token = CANARIES["JUPYTER_TOKEN"]
        env = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "ANTHROPIC_"))},
            **CANARIES,
            "GITHUB_API_URL": NOWHERE,
            "HOME": str(self.home / "home"),
            "TMPDIR": str(self.home / "tmp"),
            "JUPYTER_DATA_DIR": str(self.home / "jupyter"),
            "JUPYTER_RUNTIME_DIR": str(self.home / "runtime"),
            "JUPYTER_CONFIG_DIR": str(self.home / "config"),
            "IPYTHONDIR": str(self.home / "ipython"),
            **self.env,
        }
        argv = [sys.executable, "-m", "jupyter_server", "--allow-root", "--no-browser", f"--port={self.port}"]
        argv += [f"--ServerApp.root_dir={self.root}", "--ServerApp.port_retries=0", "--ip=127.0.0.1", "--debug"]
        # Only ours: jupyter_lsp runs npm with the server's whole environment, which is not ours to judge.
        others = dict.fromkeys(("jupyter_lsp", "jupyterlab", "notebook", "jupyter_server_terminals"), False)
        argv += [f"--ServerApp.jpserver_extensions={ {'jupyterlab_postdoc': True, **others} }"]
        argv += [f"--PostdocApp.data_dir={self.home / 'data'}", f"--PostdocApp.template_paths={self.templates}"]
        with (self.home / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                [*argv, *self.more], env=env, stdout=log, stderr=log, start_new_session=True
            )

    @contextlib.contextmanager
    def watched(self) -> Iterator[Guarded]:
        """Look at the command lines of all processes, and at the environments of the server's children, while it
        lasts.
        """
        done = threading.Event()

        def watch() -> None:
            while not done.wait(0.05):
                self._look()

        thread = threading.Thread(target=watch, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            done.set()
            thread.join()

    def _look(self) -> None:
        assert self.process is not None
        server = psutil.Process(self.process.pid)
        own = server.cmdline()
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                self.seen += leaks("\0".join(process.cmdline()).encode(), "command line")
        for child in server.children(recursive=True):
            with contextlib.suppress(psutil.Error):
                if child.cmdline() != own:  # between fork and exec a child is the server still
                    environment = json.dumps(child.environ()).encode()
                    if child.cmdline() and child.cmdline() != own:
                        self.seen += leaks(environment, f"environment of {child.cmdline()[:3]}")
