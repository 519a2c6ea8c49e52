"""The same streamed answer through the chat that Jupyter AI 3 runs on (jupyterlab-chat, its default transport).

Only with POSTDOC_PEERS=1 (`make bench PEERS=1`): it installs the package into an environment of its own, bench/.peers.
The chat's own model and WebSocket handler are used; a small route appends the tokens, as a persona does. Jupyter AI
stores the whole chat file and sends the whole message for each token.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

PACKAGE = "jupyterlab-chat==0.25.3"
PLACE = Path(__file__).parent / ".peers"
TOKENS, RATE = 2_000, 100.0
TOKEN = "bench"


def serve(port: int, root: Path) -> None:
    """In the peer's environment: a Jupyter server with its chat and one route that streams an answer into it."""
    import time

    from jupyter_server.serverapp import ServerApp
    from jupyterlab_chat.models import NewMessage
    from tornado import web
    from traitlets.config import Config

    config = Config({"ServerApp": {"jpserver_extensions": {"jupyterlab_chat": True}}})
    config.IdentityProvider.token = TOKEN
    app = ServerApp(
        config=config, port=port, open_browser=False, allow_root=True, root_dir=str(root), log_level="CRITICAL"
    )
    app.initialize(argv=[])

    class Go(web.RequestHandler):
        def check_xsrf_cookie(self) -> None: ...

        async def post(self) -> None:
            chat = app.web_app.settings["chat_manager"].ws_open("bench.chat")
            id = chat.add_message(NewMessage(body="", sender="bot"))
            began = time.monotonic()
            for number in range(TOKENS):
                update = chat.get_message(id)
                update.body = f"word{number % 97} "
                chat.update_message(update, append=True)
                await asyncio.sleep(max(0.0, began + (number + 1) / RATE - time.monotonic()))
            self.finish({})

    app.web_app.add_handlers(".*$", [("/bench/go", Go)])
    app.start()


def start(python: Path, port: int, home: str) -> subprocess.Popen[bytes]:
    """The peer's server, with nothing of this machine's Jupyter settings."""
    env = {**os.environ, "JUPYTER_CONFIG_DIR": home, "JUPYTER_DATA_DIR": home, "JUPYTER_RUNTIME_DIR": home}
    return subprocess.Popen([str(python), "-P", __file__, "serve", str(port), home], env=env)


async def measure(python: Path, subscribers: int) -> dict[str, Any]:
    """One answer to so many clients: bytes on the wire for each token and client, and the server's processor time."""
    import psutil
    from tornado.httpclient import AsyncHTTPClient, HTTPRequest
    from tornado.websocket import websocket_connect

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    with tempfile.TemporaryDirectory() as home:
        server = start(python, port, home)
        head = {"Authorization": f"token {TOKEN}"}
        try:
            async with asyncio.timeout(60):
                while True:
                    try:
                        await AsyncHTTPClient().fetch(f"http://127.0.0.1:{port}/api/status", headers=head)
                        break
                    except OSError:
                        await asyncio.sleep(0.2)
            received = 0

            def take(message: str | bytes | None) -> None:
                nonlocal received
                received += len(message.encode() if isinstance(message, str) else message or b"") + 4

            url = f"ws://127.0.0.1:{port}/api/chat/ws/bench.chat"
            for _ in range(subscribers):
                await websocket_connect(HTTPRequest(url, headers=head), on_message_callback=take)
            received, before = 0, psutil.Process(server.pid).cpu_times()
            go = HTTPRequest(f"http://127.0.0.1:{port}/bench/go", method="POST", body="", request_timeout=300)
            await AsyncHTTPClient().fetch(go)
            await asyncio.sleep(1.0)
            after = psutil.Process(server.pid).cpu_times()
        finally:
            server.kill()
            server.wait()
    return {
        "bench": "stream: Jupyter AI",
        "package": PACKAGE,
        "subscribers": subscribers,
        "tokens": TOKENS,
        "bytes_per_token": round(received / TOKENS / subscribers, 1),
        "cpu_s": round(after.user + after.system - before.user - before.system, 2),
    }


def installed() -> Path | None:
    """The Python of the peer's environment, made on first use; None when that is not wanted or not possible."""
    python = PLACE / "bin" / "python"
    if not python.exists() and os.environ.get("POSTDOC_PEERS") == "1":
        subprocess.run([sys.executable, "-m", "venv", str(PLACE)], check=True)
        done = subprocess.run([str(python), "-m", "pip", "install", "-q", PACKAGE], stdout=subprocess.DEVNULL)
        if done.returncode:
            return None
    return python if python.exists() and os.environ.get("POSTDOC_PEERS") == "1" else None


def main() -> None:
    """The rows, or one that says why there are none."""
    python = installed()
    if python is None:
        print(json.dumps({"bench": "stream: Jupyter AI", "skipped": "set POSTDOC_PEERS=1 to install and measure it"}))
        return
    for subscribers in (1, 10, 50):
        print(json.dumps(asyncio.run(measure(python, subscribers))), flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        serve(int(sys.argv[2]), Path(sys.argv[3]))
    else:
        main()
