"""A real JupyterLab (or Notebook) as a process: start it, kill it, start it again at the same address."""

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
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, Self

TOKEN = "a-token-of-the-tests"
START_S = 60.0
TEMPLATES = Path(__file__).parents[1] / "cli" / "templates"


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def wait_for(what: Any, limit_s: float = 30.0, every_s: float = 0.05) -> Any:
    """The first true value of ``what()``; fails after ``limit_s``."""
    end = time.monotonic() + limit_s
    while time.monotonic() < end:
        if value := what():
            return value
        time.sleep(every_s)
    raise AssertionError(f"not within {limit_s} s: {what}")


class Jupyter:
    """One user's Jupyter: own folders, one port for all its lives.

    ``app`` is ``lab`` or ``notebook``; ``base_url`` ends with a slash; ``config`` goes to ``PostdocApp``.
    """

    def __init__(self, home: Path, *, app: str = "lab", base_url: str = "/", extension: bool = True, **config: Any):
        self.home = home
        self.app = app
        self.ready = "postdoc/api/rooms" if extension else "api/status"
        self.base_url = base_url
        self.root = home / "work"
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None
        for folder in (self.root, home / "config", home / "data", home / "tmp"):
            folder.mkdir(parents=True, exist_ok=True)
        shutil.copytree(TEMPLATES, home / "data" / "postdoc" / "templates", dirs_exist_ok=True)
        settings: dict[str, Any] = {"PostdocApp": {"allow_unsandboxed": True, **config}}
        if not extension:
            settings["ServerApp"] = {"jpserver_extensions": {"jupyterlab_postdoc": False}}
        (home / "config" / "jupyter_server_config.json").write_text(json.dumps(settings))
        overrides = home / "data" / "lab" / "settings"
        overrides.mkdir(parents=True, exist_ok=True)
        dropped = ("POSTDOC_", "JUPYTER_", "ANTHROPIC_", "GITHUB_", "GH_", "DATABASE_URL")
        self.env = {name: value for name, value in os.environ.items() if not name.startswith(dropped)} | {
            "JUPYTER_CONFIG_DIR": str(home / "config"),
            "JUPYTER_DATA_DIR": str(home / "data"),
            "JUPYTER_RUNTIME_DIR": str(home / "runtime"),
            "JUPYTERLAB_SETTINGS_DIR": str(home / "config" / "user-settings"),
            "JUPYTERLAB_WORKSPACES_DIR": str(home / "config" / "workspaces"),
            "JUPYTER_PLATFORM_DIRS": "0",
            "HOME": str(home),
            "GIT_CONFIG_GLOBAL": os.devnull,
        }

    @property
    def url(self) -> str:
        """The base address, with a slash at its end."""
        return f"http://127.0.0.1:{self.port}{self.base_url}"

    def setting(self, plugin: str, **values: Any) -> None:
        """A user's setting of a front-end plugin, e.g. ``("@jupyterlab/apputils-extension:themes", theme=…)``."""
        package, _, name = plugin.partition(":")
        file = self.home / "config" / "user-settings" / package / f"{name}.jupyterlab-settings"
        file.parent.mkdir(parents=True, exist_ok=True)
        known = json.loads(file.read_text()) if file.exists() else {}
        file.write_text(json.dumps(known | values))

    def start(self) -> Self:
        quiet = {"fetchNews": "false", "checkForUpdates": False}
        self.setting("@jupyterlab/apputils-extension:notification", **quiet)
        command = [sys.executable, "-m", "jupyter", self.app, "--no-browser", "--ip=127.0.0.1", f"--port={self.port}"]
        command += [f"--IdentityProvider.token={TOKEN}", f"--ServerApp.root_dir={self.root}", "--allow-root"]
        command += [f"--ServerApp.base_url={self.base_url}", "--ServerApp.port_retries=0"]
        command += ["--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate", "--LabApp.news_url="]
        with (self.home / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                command, cwd=self.root, env=self.env, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip
        wait_for(self.answers, START_S)
        return self

    def answers(self) -> bool:
        """Whether the server takes requests. Fails when its process has ended."""
        assert self.process is not None
        assert self.process.poll() is None, self.log()[-4000:]
        with contextlib.suppress(OSError, urllib.error.URLError):
            return self.get(self.ready) is not None
        return False

    def log(self) -> str:
        """All that the server has written so far."""
        return (self.home / "server.log").read_text(errors="replace")

    def kill(self) -> None:
        """``kill -9``: no goodbye."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)

    def stop(self) -> None:
        """As a person would stop it, then all that is left of its process group."""
        if self.process is None or self.process.poll() is not None:
            return
        self.process.terminate()
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    # --- REST ---

    def request(self, path: str, body: Any = None, method: str | None = None) -> Any:
        """A request with the token; the answer's JSON (None when there is none)."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data=data, method=method)
        request.add_header("Authorization", f"token {TOKEN}")
        with urllib.request.urlopen(request, timeout=20) as answer:
            text = answer.read()
        return json.loads(text) if text.strip() else None

    def get(self, path: str) -> Any:
        return self.request(path)

    def post(self, path: str, **body: Any) -> Any:
        return self.request(path, body)

    def chats(self) -> list[dict[str, Any]]:
        """All sessions, newest first."""
        found: list[dict[str, Any]] = self.get("postdoc/api/chats")
        return found

    def events(self, chat: str, *types: str) -> list[dict[str, Any]]:
        """The final events of a session."""
        found: list[dict[str, Any]] = []
        while True:
            after = found[-1]["seq"] if found else 0
            page = self.get(f"postdoc/api/chats/{chat}/messages?after={after}&limit=1000")
            found += page
            if len(page) < 1000:
                return [event for event in found if not types or event["type"] in types]

    def new_chat(self, title: str = "A chat", **fields: Any) -> str:
        return str(self.post("postdoc/api/chats", title=title, **fields)["id"])

    def research(self, topic: str, **fields: Any) -> str:
        """A research session in a chat of its own, with the template provider; the chat's id."""
        chat = self.new_chat(topic)
        self.post(f"postdoc/api/chats/{chat}/research", topic=topic, provider="template", **fields)
        return chat

    def wait_state(self, chat: str, *states: str, limit_s: float = 60.0) -> dict[str, Any]:
        """The chat, once it is in one of these states."""

        def reached() -> dict[str, Any] | None:
            found: dict[str, Any] = self.get(f"postdoc/api/chats/{chat}")
            return found if found["state"] in states else None

        found: dict[str, Any] = wait_for(reached, limit_s)
        return found
