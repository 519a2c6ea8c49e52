"""`make bench`: run every piece in this folder and print one table; the rows also go to bench/results.json.

A piece is a program that prints one JSON object per line: `bench` names the row, everything else is a figure. A
benchmark never fails because of a figure: it fails when it does not run.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

for _name in ("GITHUB_TOKEN", "GH_TOKEN"):
    os.environ.pop(_name, None)  # no bench publishes

HERE = Path(__file__).parent
NOT_PIECES = {"run.py", "science.py", "__init__.py"}
GOALS = {
    "start-up": "added_s <= 0.10",
    "memory": "added_mb <= 10",
    "append": "1,553 (1 session) and 27,825 (100 sessions) events/s",
    "append+follow": "as append",
    "replay": ">= 200,000 events/s",
    "notebook": "ratio <= 1.5",
    "stream": "bytes/token <= 30; p99 <= 60 ms; CPU <= 1.2 s; disk <= 2 MB",
    "50 sessions": "p99 <= 50 ms",
    "fan-out": ">= 500,000 deliveries per CPU second",
    "connections": "<= 20 KB each",
    "restart": "<= 1 s",
    "panel: bundle": "lab_kb_gz <= 150",
    "panel: history": "ms <= 100",
    "panel: 100/s": "busy <= 0.15",
    "live: call": "median_ms <= 100",
    "live: by hand": "added_ms <= 20",
    "panel: 100/s, long": "busy <= 0.15",
}


def run(piece: Path) -> list[dict[str, Any]]:
    """The rows of one piece; shows them as they come."""
    rows: list[dict[str, Any]] = []
    command = [sys.executable, "-P", str(piece)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("{"):
                row = json.loads(line)
                rows.append(row)
                show(row)
    if process.returncode:
        rows.append({"bench": piece.stem, "error": f"ended with {process.returncode}"})
        show(rows[-1])
    return rows


def show(row: dict[str, Any]) -> None:
    """One row of the table."""
    figures = ", ".join(f"{name} {value:,}" if isinstance(value, int | float) else f"{name} {value}"
                        for name, value in row.items() if name != "bench")  # fmt: skip
    name = str(row.get("bench"))
    print(f"{name:<15} {figures}" + (f"   [goal: {GOALS[name]}]" if name in GOALS else ""), flush=True)


def main(names: list[str]) -> int:
    pieces = sorted(p for p in HERE.glob("*.py") if p.name not in NOT_PIECES and (not names or p.stem in names))
    about = {
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "when": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
    print(", ".join(about.values()))
    rows = [row for piece in pieces for row in run(piece)]
    (HERE / "results.json").write_text(json.dumps({**about, "rows": rows}, indent=1) + "\n", encoding="utf-8")
    return 1 if any("error" in row for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
