"""The handle on a model server's process: start it, tell it what to say, read what it was asked."""

from __future__ import annotations

import contextlib
import http.client
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Request:
    """One request. ``connection`` is the client's port; ``sent`` counts the events that were written of the answer.

    ``ended`` says how it ended: "" while it lasts, "complete", "fault", or "client" when the client left.
    """

    number: int
    at: float
    connection: int
    method: str
    path: str
    headers: dict[str, str]
    body: Any
    status: int = 0
    sent: int = 0
    ended: str = ""
    ended_at: float = 0.0
    problems: tuple[str, ...] = ()

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The conversation that was sent."""
        return list(self.body["messages"])


class ModelServer:
    """A server process that speaks the streaming Messages API from a script. Use it as a context manager.

    ``strict`` refuses, with a 400 that says why, what the real API refuses: see history.py. ``record`` is the file that
    the requests are written to (a temporary one otherwise).
    """

    def __init__(self, *, strict: bool = True, record: Path | None = None) -> None:
        self._strict = strict
        self._folder = tempfile.TemporaryDirectory(prefix="model-server-") if record is None else None
        self.record = record or Path(self._folder.name if self._folder else "") / "requests.jsonl"
        self.port = 0

    def start(self) -> Self:
        self.record.touch()
        command = [sys.executable, "-S", "-m", "tests.model_server.fault", str(self.record), str(int(self._strict))]
        self.process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline())
        return self

    def stop(self) -> None:
        """It also stops by itself when this process ends: its standard input closes."""
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        if self._folder is not None:
            self._folder.cleanup()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """The base URL for a client."""
        return f"http://127.0.0.1:{self.port}"

    # --- what it says ---

    def script(self, replies: Sequence[dict[str, Any]]) -> None:
        """These, one after another, to whoever asks; in place of what is left of an earlier script."""
        self._tell("script", list(replies))

    def rules(self, rules: Sequence[dict[str, Any]]) -> None:
        """When the script is at its end: the first rule that fits (see `on`). When none does: a 400 that says so."""
        self._tell("rules", list(rules))

    def models(self, models: Sequence[dict[str, Any]] | None) -> None:
        """What ``/v1/models`` lists; None (so it begins): it knows no such route."""
        self._tell("models", None if models is None else list(models))

    def _tell(self, what: str, value: Any) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request("POST", f"/__control/{what}", json.dumps(value))
            answer = connection.getresponse()
            assert answer.status == 200, answer.read()
        finally:
            connection.close()

    # --- what it was asked ---

    def requests(self, path: str | None = "/v1/messages") -> list[Request]:
        """All requests so far to this path (None: to any), in the order in which they came."""
        found: dict[int, dict[str, Any]] = {}
        for line in self.record.read_bytes().split(b"\n")[:-1]:
            entry = json.loads(line)
            found.setdefault(entry["number"], {}).update(entry)
        every = [Request(**{**entry, "problems": tuple(entry.get("problems", ()))}) for entry in found.values()]
        return [request for request in every if path is None or request.path.partition("?")[0] == path]

    def wait(self, fits: Callable[[list[Request]], bool], *, seconds: float = 10.0) -> list[Request]:
        """The requests, as soon as they fit. Blocks: from an ``async`` test call it in a thread."""
        deadline = time.monotonic() + seconds
        while not fits(found := self.requests()):
            assert time.monotonic() < deadline, f"{[(r.number, r.status, r.sent, r.ended) for r in found]}"
            time.sleep(0.01)
        return found

    def cpu_s(self) -> float:
        """The processor time that the server itself has used, where that can be told (Linux)."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / 100
