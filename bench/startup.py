"""What the extension adds to a Jupyter server: time until it answers, and memory when idle. One JSON object per line.

    python bench/startup.py [-n 5]

Spawn → first 200 on /api/status, with and without the extension, alternating so that a busy machine slows both:
`added` is the median of the differences within a round, `best` the difference of the quickest two. The CPU seconds
until then hardly depend on what else the machine does. Modules are read as bytecode, as installed ones are.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import psutil

SETTLE_S = 1.0


def one(extension: bool) -> dict[str, float]:
    """Seconds and CPU seconds until the server answers, and MiB of memory after a moment of rest."""
    base = Path(tempfile.mkdtemp(prefix="postdoc-bench-"))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (base / "root").mkdir()
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"} | {
        **{f"JUPYTER_{kind}_DIR": str(base / kind.lower()) for kind in ("CONFIG", "DATA", "RUNTIME")},
        "JUPYTER_TOKEN": "bench",
    }
    command = [
        *(sys.executable, "-m", "jupyter_server", "--ServerApp.ip=127.0.0.1", f"--ServerApp.port={port}"),
        *("--ServerApp.open_browser=False", f"--ServerApp.root_dir={base / 'root'}", "--ServerApp.allow_root=True"),
        f"--ServerApp.jpserver_extensions={{'jupyterlab_postdoc': {extension}}}",
    ]
    began = time.perf_counter()
    server = subprocess.Popen(
        command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        while not _answers(port):
            if server.poll() is not None:
                raise RuntimeError("the server did not start")
            time.sleep(0.002)
        seconds = time.perf_counter() - began
        process = psutil.Process(server.pid)
        cpu = process.cpu_times()
        time.sleep(SETTLE_S)
        return {"s": seconds, "cpu_s": cpu.user + cpu.system, "mb": process.memory_info().rss / 2**20}
    finally:
        server.terminate()
        try:
            server.wait(15)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()
        shutil.rmtree(base, ignore_errors=True)


def _answers(port: int) -> bool:
    request = urllib.request.Request(f"http://127.0.0.1:{port}/api/status", headers={"Authorization": "token bench"})
    try:
        with urllib.request.urlopen(request, timeout=5) as response:
            return bool(response.status == 200)
    except OSError:
        return False


def main(rounds: int) -> None:
    one(False), one(True)  # fills the caches of the file system and of compiled modules
    runs: dict[bool, list[dict[str, float]]] = {False: [], True: []}
    for _ in range(rounds):
        for extension in (False, True):
            runs[extension].append(one(extension))

    def row(name: str, *figures: str) -> None:
        shown: dict[str, object] = {"bench": name}
        for figure in figures:
            pairs = [(plain[figure], ours[figure]) for plain, ours in zip(runs[False], runs[True], strict=True)]
            without, with_ = (statistics.median(side) for side in zip(*pairs, strict=True))
            added = statistics.median(ours - plain for plain, ours in pairs)
            best = min(ours for _, ours in pairs) - min(plain for plain, _ in pairs)
            shown |= {f"added_{figure}": added, f"added_{figure}_best": best}
            shown |= {f"with_{figure}": with_, f"without_{figure}": without}
        shown = {k: round(v, 3) if isinstance(v, float) else v for k, v in shown.items()}
        print(json.dumps(shown | {"n": rounds}), flush=True)

    row("start-up", "s", "cpu_s")
    row("memory", "mb")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-n", type=int, default=5, help="rounds")
    main(parser.parse_args().n)
