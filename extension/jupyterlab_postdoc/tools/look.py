"""A program, run in the sandbox of a project: finds files by name and lines by pattern. Standard library only.

Python's regular expressions can take for ever and hold the interpreter meanwhile, so they never run in the server.
Argument: {"op": "glob" | "grep", …} (see search.py). Output: one line of JSON, also when the time is up.
"""

from __future__ import annotations

import fnmatch
import json
import os
import re
import signal
import stat
import sys
from collections.abc import Iterator
from typing import Any

SKIPPED = {".git", ".venv", "node_modules", "__pycache__", ".ipynb_checkpoints"}
MAX_FILES = 100_000
MAX_READ = 20 << 20
MAX_LINE = 20_000
SHOWN = 300
OUTPUT = 200_000


class TimeUp(Exception):
    """The time that a search may take is over."""


def walk(folder: str = "", depth: int = 0) -> Iterator[tuple[str, os.stat_result]]:
    """Regular files below the current folder, links never followed, as (path, its facts); folders in order."""
    try:
        with os.scandir(folder or ".") as found:
            entries = sorted(found, key=lambda entry: entry.name)
    except OSError:
        return
    for entry in entries:
        path = f"{folder}/{entry.name}" if folder else entry.name
        try:
            facts = entry.stat(follow_symlinks=False)
        except OSError:
            continue
        if stat.S_ISDIR(facts.st_mode):
            if entry.name.lower() not in SKIPPED and depth < 50:
                yield from walk(path, depth + 1)
        elif stat.S_ISREG(facts.st_mode):
            yield path, facts


def matcher(pattern: str) -> Any:
    """Whether a path fits, part by part; ``**`` stands for any number of folders."""
    parts = [None if part == "**" else re.compile(fnmatch.translate(part)) for part in pattern.split("/") if part]
    if parts and parts[-1] is None:
        parts.append(re.compile(".*"))

    def fits(path: str) -> bool:
        states = {0}
        for name in path.split("/"):
            following = set()
            for state in closed(states):
                if state < len(parts):
                    part = parts[state]
                    if part is None:
                        following.add(state)
                    elif part.match(name):
                        following.add(state + 1)
            states = following
        return len(parts) in closed(states)

    def closed(states: set[int]) -> set[int]:
        """``**`` may also stand for no folder at all."""
        whole = set(states)
        for state in sorted(states):
            while state < len(parts) and parts[state] is None:
                state += 1
                whole.add(state)
        return whole

    return fits


def chosen(pattern: str, answer: dict[str, Any]) -> Iterator[tuple[str, os.stat_result]]:
    fits = matcher(pattern)
    for number, (path, facts) in enumerate(walk()):
        if number >= MAX_FILES:
            answer["cut"] = f"only the first {MAX_FILES:,} files were looked at"
            return
        if fits(path):
            yield path, facts


def glob(given: dict[str, Any], answer: dict[str, Any]) -> None:
    """``files``: [path, bytes] of those that fit, the one changed last first."""
    found = sorted(chosen(given["pattern"], answer), key=lambda item: (-item[1].st_mtime_ns, item[0]))
    answer["total"] = len(found)
    answer["files"] = [[path, facts.st_size] for path, facts in found[: given["limit"]]]


def grep(given: dict[str, Any], answer: dict[str, Any]) -> None:
    """``hits``: {path, line, text, before, after} in the order of the files; ``total`` counts all of them."""
    try:
        pattern = re.compile(given["pattern"], re.IGNORECASE if given["ignore_case"] else 0)
    except (re.error, RecursionError, OverflowError) as error:
        answer["problem"] = str(error)
        return
    hits: list[dict[str, Any]] = answer.setdefault("hits", [])
    room = OUTPUT
    for path, facts in chosen(given["files"], answer):
        lines = read(path)
        if lines is None:
            answer["binary"] += 1
            continue
        answer["searched"] += 1
        if facts.st_size > MAX_READ:
            answer["partly"].append(path)
        for number, line in enumerate(lines):
            found = pattern.search(line[:MAX_LINE])
            if not found:
                continue
            answer["total"] += 1
            if len(hits) < given["limit"] and room > 0:
                hit = one(lines, number, found.start(), given["context"])
                room -= len(json.dumps(hit))
                hits.append({"path": path, **hit})


def one(lines: list[str], number: int, at: int, context: int) -> dict[str, Any]:
    before, after = lines[max(0, number - context) : number], lines[number + 1 : number + 1 + context]
    begin = max(0, at - SHOWN // 2) if len(lines[number]) > SHOWN else 0
    text = lines[number][begin : begin + SHOWN]
    text = ("…" if begin else "") + text + ("…" if begin + SHOWN < len(lines[number]) else "")
    return {
        "line": number + 1,
        "text": text,
        "before": [x[:SHOWN] for x in before],
        "after": [x[:SHOWN] for x in after],
    }


def read(path: str) -> list[str] | None:
    """The lines of a text file, at most 20 MB of it; None for anything else."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with open(descriptor, "rb") as file:
            head = file.read(8192)
            if b"\0" in head:
                return None
            data = head + file.read(MAX_READ - len(head))
    except OSError:
        return None
    return data.decode("utf-8", "replace").splitlines()


def main() -> None:
    given = json.loads(sys.argv[1])
    answer: dict[str, Any] = {"total": 0, "searched": 0, "binary": 0, "partly": [], "timeout": False}

    def ring(_number: int, _frame: object) -> None:
        raise TimeUp

    signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, given["seconds"])
    try:
        {"glob": glob, "grep": grep}[given["op"]](given, answer)
    except TimeUp:
        answer["timeout"] = True
    signal.setitimer(signal.ITIMER_REAL, 0)
    answer["partly"] = answer["partly"][:20]
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
