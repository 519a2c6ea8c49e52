"""Find the running server, or start one for the duration of a command."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from .problems import Problem, no_connection, usage

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 15.0


@dataclass(frozen=True)
class Server:
    """Where a server listens and how to get in. `root` is its file root when it runs on this machine."""

    url: str
    token: str = field(default="", repr=False)
    root: Path | None = None
    pid: int | None = None
    local: bool = False

    @property
    def where(self) -> str:
        """The address without anything secret."""
        parts = urlsplit(self.url)
        host = parts.hostname or ""
        return f"{parts.scheme}://{host}{f':{parts.port}' if parts.port else ''}{parts.path}"


def _runtime_dir() -> Path:
    from jupyter_core.paths import jupyter_runtime_dir

    return Path(jupyter_runtime_dir())


def _alive(pid: object) -> bool:
    if not isinstance(pid, int) or pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _read(info: Path) -> Server | None:
    try:
        data: dict[str, Any] = json.loads(info.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(data, dict) or not data.get("url") or data.get("sock"):
        return None
    if not _alive(data.get("pid")):
        return None
    root = Path(str(data.get("root_dir") or "/"))
    return Server(str(data["url"]), str(data.get("token") or ""), root, data["pid"], local=True)


def running(cwd: Path, runtime: Path | None = None) -> list[Server]:
    """Servers of this user by their runtime files: those whose root holds `cwd` first, the nearest root before."""
    found = []
    for info in (runtime or _runtime_dir()).glob("jpserver-*.json"):
        with contextlib.suppress(OSError):
            if server := _read(info):
                found.append((info.stat().st_mtime, server))

    def rank(item: tuple[float, Server]) -> tuple[bool, int, float]:
        stamp, server = item
        root = server.root.resolve() if server.root else Path("/")
        return (not cwd.is_relative_to(root), -len(root.parts), -stamp)

    return [server for _, server in sorted(found, key=rank)]


def named(address: str, token: str | None = None) -> Server:
    """The server at `address`, with the token of option, environment, address or runtime file, in this order."""
    parts = urlsplit(address)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise usage(
            f"{address.split('?')[0]!r} is not the address of a server.", "Give one such as http://127.0.0.1:8888/."
        )
    address = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path.rstrip('/')}/"
    same = next((s for s in running(Path.cwd()) if s.url.rstrip("/") == address.rstrip("/")), None)
    given = token or os.environ.get("POSTDOC_TOKEN") or _query_token(parts.query)
    given = given or (same.token if same else "") or os.environ.get("JUPYTER_TOKEN") or ""
    if same is None:
        return Server(address, given)
    return Server(address, given, same.root, same.pid, local=True)


def _query_token(query: str) -> str:
    from urllib.parse import parse_qs

    return next(iter(parse_qs(query).get("token", [])), "")


class OwnServer:
    """A Jupyter server in its own process group, listening on 127.0.0.1 with a token that only this process knows."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.server: Server | None = None
        self._process: subprocess.Popen[bytes] | None = None
        base = _runtime_dir() / "postdoc-cli"
        base.mkdir(parents=True, exist_ok=True, mode=0o700)
        _sweep(base)
        self._folder = base / f"{os.getpid()}-{secrets.token_hex(4)}"
        self._folder.mkdir(mode=0o700)
        self.keep_log = False

    @property
    def log(self) -> Path:
        """What the server wrote; kept when something went wrong."""
        return self._folder / "server.log"

    async def start(self) -> Server:
        """Start (or start again) and wait until it answers. Raises Problem with the end of its log."""
        token = secrets.token_urlsafe(32)
        environment = os.environ | {"JUPYTER_TOKEN": token, "JUPYTER_RUNTIME_DIR": str(self._folder)}
        for name in ("JUPYTER_TOKEN_FILE", "JUPYTER_PORT", "POSTDOC_TOKEN"):
            environment.pop(name, None)
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: ASYNC220 - starts at once, and is watched without blocking
                self._argv(),
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env=environment,
                cwd=self.root,
                start_new_session=True,
            )
        info = self._folder / f"jpserver-{self._process.pid}.json"
        deadline = time.monotonic() + START_TIMEOUT_S
        while self._process.poll() is None and time.monotonic() < deadline:
            if info.exists() and (server := _read(info)):
                self.server = server
                return server
            await asyncio.sleep(0.03)
        self.keep_log = True
        raise Problem(
            f"No Jupyter server could be started for {self.root}: {self._last_words()}",
            next=f"Its log is {self.log}.",
            exit_code=3,
        )

    def _argv(self) -> list[str]:
        options = {
            "ip": "127.0.0.1",
            "port": 0,
            "open_browser": False,
            "terminals_enabled": False,
            "root_dir": self.root,
            "jpserver_extensions": "{'jupyterlab_postdoc': True}",
        }
        if hasattr(os, "geteuid") and os.geteuid() == 0:
            options["allow_root"] = True
        return [
            *(sys.executable, "-m", "jupyterlab_postdoc.cli.serve"),
            *(f"--ServerApp.{name}={value}" for name, value in options.items()),
        ]

    def _last_words(self) -> str:
        with contextlib.suppress(OSError):
            lines = self.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
            if lines:
                return lines[-1].strip()
        return "it said nothing."

    @property
    def alive(self) -> bool:
        """Whether the process still runs."""
        return self._process is not None and self._process.poll() is None

    async def stop(self) -> None:
        """Close the pipe, wait, and make sure that nothing of its process group is left."""
        process = self._process
        if process is not None:
            if process.stdin:
                process.stdin.close()
            deadline = time.monotonic() + STOP_TIMEOUT_S
            while process.poll() is None and time.monotonic() < deadline:  # noqa: ASYNC110
                await asyncio.sleep(0.03)
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        if not self.keep_log:
            shutil.rmtree(self._folder, ignore_errors=True)


def _sweep(base: Path) -> None:
    """Remove what commands that are gone left behind, logs of the last week excepted."""
    for folder in base.iterdir():
        pid = folder.name.partition("-")[0]
        with contextlib.suppress(OSError, ValueError):
            if not _alive(int(pid)) and time.time() - folder.stat().st_mtime > 7 * 86400:
                shutil.rmtree(folder, ignore_errors=True)


@dataclass
class Wish:
    """What the command line says about the server to use."""

    url: str | None = None
    token: str | None = None
    root: Path | None = None
    start: bool = True
    needs: Path | None = None  # a data file the server must be able to read


class Source:
    """Gives the server to talk to, and gives it again after a loss: the same one, its successor, or our own anew."""

    def __init__(self, wish: Wish) -> None:
        self.wish = wish
        self.own: OwnServer | None = None
        self.server: Server | None = None

    async def get(self) -> Server:
        """The server for this command. Raises Problem (exit 3) when there is none."""
        from .client import answers

        if self.wish.url and self.wish.root:
            raise usage("--url and --root exclude each other: --root is for a server on this machine.")
        address = self.wish.url or ("" if self.wish.root else os.environ.get("POSTDOC_URL"))
        if address:
            self.server = named(address, self.wish.token)
            await answers(self.server, explain=True)
            return self.server
        self.server = await self._discover(self.wish.root)
        return self.server or await self._start()

    async def again(self) -> Server:
        """The server after a lost connection; raises Problem when none can be reached now."""
        from .client import answers

        assert self.server is not None
        if self.own is not None:
            if not self.own.alive:
                self.server = await self.own.start()
                await self._ready(self.own)
            return self.server
        if await answers(self.server):
            return self.server
        if self.server.local and (successor := await self._discover(self.server.root)):
            self.server = successor
            return successor
        await answers(self.server, explain=True)
        return self.server

    async def _discover(self, root: Path | None) -> Server | None:
        from .client import answers

        candidates = running(Path.cwd())
        if address := os.environ.get("JUPYTER_SERVER_URL"):  # set in the terminals and kernels of a Jupyter server
            candidates.sort(key=lambda server: server.url.rstrip("/") != address.rstrip("/"))
        for server in candidates:
            assert server.root is not None
            if root is not None and server.root.resolve() != root.resolve():
                continue
            if self.wish.needs and not self.wish.needs.is_relative_to(server.root.resolve()):
                continue
            if await answers(server):
                return server
        return None

    async def _start(self) -> Server:
        root = (self.wish.root or Path.cwd()).resolve()
        if not self.wish.start:
            raise no_connection(
                "No Postdoc server runs here.", "Start one with `jupyter server` or `jupyter lab`, or leave --no-start."
            )
        try:
            root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise usage(f"The folder {root} cannot be used: {error.strerror}.") from error
        if self.wish.needs and not self.wish.needs.is_relative_to(root):
            raise usage(
                f"The data file {self.wish.needs} lies outside the server's folder {root}.",
                f"Copy it there, or choose a folder that holds it with --root {self.wish.needs.parent}.",
            )
        self.own = OwnServer(root)
        self.server = await self.own.start()
        await self._ready(self.own)
        return self.server

    async def _ready(self, own: OwnServer) -> None:
        """Wait until our server has opened its log. Raises Problem that names the server's log."""
        from .client import answers

        assert self.server is not None
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            try:
                await answers(self.server, explain=True)
                return
            except Problem as problem:
                if problem.code not in {"capacity", "silent"} or not own.alive or time.monotonic() > deadline:
                    own.keep_log = True
                    problem.next = f"{problem.next} The server's log is {own.log}.".strip()
                    raise
            await asyncio.sleep(0.05)

    async def close(self) -> None:
        """Stop the server if this command started it."""
        if self.own is not None:
            await self.own.stop()
