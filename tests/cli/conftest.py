"""Real commands in real processes, against real Jupyter servers with the real extension."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
LIMIT_S = 60.0


def wait_for(what, limit_s: float = 20.0, every_s: float = 0.05):
    """The first true value of `what()`; fails after `limit_s`."""
    end = time.monotonic() + limit_s
    while time.monotonic() < end:
        if value := what():
            return value
        time.sleep(every_s)
    raise AssertionError(f"not within {limit_s} s: {what}")


@dataclass
class Answer:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def frames(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@dataclass
class Started:
    """A command that runs; its output is read as it comes."""

    process: subprocess.Popen[str]
    lines: list[str] = field(default_factory=list)

    def until(self, text: str) -> str:
        """Read standard output up to the first line that holds `text`."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line)
            if text in line:
                return line
        raise AssertionError(f"{text!r} never came: {self.end()}")

    def interrupt(self) -> None:
        self.process.send_signal(signal.SIGINT)

    def end(self) -> Answer:
        out, err = self.process.communicate(timeout=LIMIT_S)
        return Answer(self.process.returncode, "".join(self.lines) + out, err)


class Home:
    """One user's machine: own Jupyter folders, own environment, templates of the tests."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.root = base / "work"
        self.runtime = base / "runtime"
        self.root.mkdir()
        config = base / "config"
        config.mkdir()
        (config / "jupyter_server_config.json").write_text('{"PostdocApp": {"allow_unsandboxed": true}}')
        shutil.copytree(HERE / "templates", base / "data" / "postdoc" / "templates")
        dropped = ("POSTDOC_", "JUPYTER_", "NO_COLOR", "COLUMNS")
        self.env = {name: value for name, value in os.environ.items() if not name.startswith(dropped)} | {
            "JUPYTER_CONFIG_DIR": str(config),
            "JUPYTER_DATA_DIR": str(base / "data"),
            "JUPYTER_RUNTIME_DIR": str(self.runtime),
            "JUPYTER_PLATFORM_DIRS": "0",
        }

    def start(self, *args: str, cwd: Path | None = None, **env: str) -> Started:
        return Started(
            subprocess.Popen(
                [sys.executable, "-m", "jupyterlab_postdoc.cli", *args],
                cwd=cwd or self.root,
                env=self.env | env,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )

    def run(self, *args: str, cwd: Path | None = None, **env: str) -> Answer:
        return self.start(*args, cwd=cwd, **env).end()

    def own_servers(self) -> list[int]:
        """Process ids of the servers that commands of this home started and that still live."""
        import psutil

        found = []
        for process in psutil.process_iter(["cmdline", "environ"]):
            with contextlib.suppress(psutil.Error):
                words = process.info["cmdline"] or []
                runtime = (process.info["environ"] or {}).get("JUPYTER_RUNTIME_DIR", "")
                if "jupyterlab_postdoc.cli.serve" in words and runtime.startswith(str(self.runtime)):
                    found.append(process.pid)
        return found


class RunningServer:
    """`jupyter server` as a person would run it."""

    token = "a-token-of-the-tests-0123456789"

    def __init__(self, home: Home) -> None:
        self.home = home
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        log = (self.home.base / "server.log").open("ab")
        root = ["--ServerApp.allow_root=True"] if os.geteuid() == 0 else []
        self.process = subprocess.Popen(
            [sys.executable, "-m", "jupyter_server", f"--ServerApp.port={self.port}", "--ServerApp.port_retries=0",
             "--ServerApp.ip=127.0.0.1", "--ServerApp.open_browser=False", f"--ServerApp.root_dir={self.home.root}",
             *root],
            env=self.home.env | {"JUPYTER_TOKEN": self.token}, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            start_new_session=True,
        )  # fmt: skip
        log.close()
        wait_for(self.answers, LIMIT_S)

    def get(self, path: str) -> Any:
        request = urllib.request.Request(self.url + path, headers={"Authorization": f"token {self.token}"})
        with urllib.request.urlopen(request, timeout=10) as response:
            return json.loads(response.read())

    def answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, (self.home.base / "server.log").read_text()
        try:
            self.get("postdoc/api/chats")
        except OSError:
            return False
        return True

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.kill()


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path)


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """A home with a running server, shared by the tests of a module."""
    home = Home(tmp_path_factory.mktemp("shared"))
    server = RunningServer(home)
    server.start()
    home.server = server
    yield home
    server.stop()
