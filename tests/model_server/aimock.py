"""aimock, an npm package that speaks the Messages API from fixture files: somebody else's reading of the same API.

It is found in ``$POSTDOC_AIMOCK`` (a folder ``node_modules``) or in ``.venv/aimock/node_modules``. Where it is missing
the tests that need it are skipped and say why; in CI they fail.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import threading
import urllib.request
from pathlib import Path
from typing import Any, Self

import pytest

ROOT = Path(__file__).parents[2]
FIXTURES = ROOT / "tests" / "fixtures" / "llm"
CLI = Path("@copilotkit") / "aimock" / "dist" / "cli.js"
START_S = 30.0
LISTENS = re.compile(r"listening on (http://\S+)")
# It ends with the tests even when they are killed: its standard input closes.
LAUNCH = """
process.stdin.resume().on("end", () => process.exit(0));
const [cli, ...given] = process.argv.slice(1);
process.argv = [process.argv[0], ...given];  // as Node reads them in a script of -e
await import("file://" + cli);
"""


def command() -> list[str]:
    """How to start it. Skips the test where it cannot be started, or fails it in CI."""
    places = [os.environ.get("POSTDOC_AIMOCK"), str(ROOT / ".venv" / "aimock" / "node_modules")]
    found = [Path(place) / CLI for place in places if place and (Path(place) / CLI).is_file()]
    node = shutil.which("node")
    if node is None:
        _without("Node.js is not installed")
    if not found:
        _without("aimock is not installed: `make test` does it, or set POSTDOC_AIMOCK to a folder node_modules")
    return [str(node), "--input-type=module", "-e", LAUNCH, "--", str(found[0].resolve())]


def _without(why: str) -> None:
    if os.environ.get("CI"):
        pytest.fail(f"{why}.", pytrace=False)
    pytest.skip(f"{why}.")


class Aimock:
    """The server's process, with one fixture file of ``tests/fixtures/llm`` or any path. A context manager."""

    def __init__(self, fixtures: str | Path) -> None:
        self._fixtures = FIXTURES / fixtures
        self.url = ""

    def __enter__(self) -> Self:
        given = ["-p", "0", "-f", str(self._fixtures), "--strict", "--validate-on-load"]
        self.process = subprocess.Popen(
            [*command(), *given], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        slow = threading.Timer(START_S, self.process.kill)
        slow.start()
        said = ""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            said += line
            if listens := LISTENS.search(line):
                self.url = listens[1]
                break
        slow.cancel()
        if not self.url:
            self.__exit__()
            raise AssertionError(f"aimock did not start:\n{said}")
        self._reader = threading.Thread(target=self.process.stdout.read, daemon=True)  # its log must not fill the pipe
        self._reader.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        if self.url:
            self._reader.join()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()

    def journal(self) -> list[dict[str, Any]]:
        """Every request so far: ``path``, ``headers``, ``body`` (in aimock's own form), ``response``."""
        with urllib.request.urlopen(f"{self.url}/__aimock/journal", timeout=10) as answer:
            entries: list[dict[str, Any]] = json.load(answer)
        return entries
