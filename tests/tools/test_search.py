"""glob and grep on a real project, in the sandbox where there is one."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import Any

import pytest

from jupyterlab_postdoc.tools import search
from jupyterlab_postdoc.tools.base import ToolContext


def fill(root: Path, files: dict[str, str | bytes]) -> None:
    for number, (name, content) in enumerate(files.items()):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        os.utime(path, (1_700_000_000 + number, 1_700_000_000 + number))


async def found(context: ToolContext, pattern: str, **more: Any) -> list[str]:
    outcome = await search.glob.call(context, {"pattern": pattern, **more})
    assert outcome.ok, outcome.content
    return list(outcome.data["files"])


async def test_files_are_found_by_pattern_newest_first(context: ToolContext) -> None:
    names = ["a.py", "data/b.csv", "data/raw/c.csv", "data/raw/deep/d.csv", "ü [1].csv", ".venv/e.csv", "f.CSV"]
    fill(context.project.root, dict.fromkeys(names, "x"))
    assert await found(context, "**/*.csv") == ["ü [1].csv", "data/raw/deep/d.csv", "data/raw/c.csv", "data/b.csv"]
    assert await found(context, "data/*.csv") == ["data/b.csv"]
    assert await found(context, "./data/**") == ["data/raw/deep/d.csv", "data/raw/c.csv", "data/b.csv"]
    assert await found(context, "data/**/d.csv") == ["data/raw/deep/d.csv"]
    assert await found(context, "*.{py}") == []
    assert await found(context, "?.py") == ["a.py"]
    cut = await search.glob.call(context, {"pattern": "**", "limit": 2})
    assert cut.data["total"] == 6
    assert "4 more files" in cut.content
    assert await found(context, "**/.git/**") == await found(context, ".git/*") == []


async def test_links_lead_nowhere(context: ToolContext, tmp_path: Path) -> None:
    root = context.project.root
    (tmp_path / "secret.txt").write_text("canary")
    fill(root, {"in/own.txt": "canary"})
    (root / "link.txt").symlink_to(tmp_path / "secret.txt")
    (root / "folder").symlink_to(tmp_path)
    (root / "loop").symlink_to(root)
    os.mkfifo(root / "pipe.txt")
    assert await found(context, "**/*.txt") == ["in/own.txt"]
    outcome = await search.grep.call(context, {"pattern": "canary"})
    assert outcome.data["files"] == ["in/own.txt"]
    for pattern in ("../*", "/etc/*", "a/../../*", "x\0y"):
        for tool, given in ((search.glob, {"pattern": pattern}), (search.grep, {"pattern": "x", "files": pattern})):
            assert (await tool.call(context, given)).data["code"] == "forbidden"


async def test_lines_are_found_with_their_context(context: ToolContext) -> None:
    text = "one\ntwo\nThree owls\nfour\nfive owls\n"
    fill(context.project.root, {"a.txt": text, "b.bin": b"owls\0", "c/d.md": "größe: owls", "e.txt": b"\xff owls"})
    outcome = await search.grep.call(context, {"pattern": r"\bowls$"})
    lines = ["a.txt:3: Three owls", "a.txt:5: five owls", "c/d.md:1: größe: owls", "e.txt:1: \ufffd owls"]
    assert outcome.content.splitlines() == lines
    outcome = await search.grep.call(context, {"pattern": "THREE", "ignore_case": True, "context": 1, "files": "*.txt"})
    assert outcome.content == "a.txt-2- two\na.txt:3: Three owls\na.txt-4- four\n--"
    outcome = await search.grep.call(context, {"pattern": "owls", "limit": 1})
    assert "3 more matching lines" in outcome.content
    assert "No match in 3 text" in (await search.grep.call(context, {"pattern": "bats"})).content
    outcome = await search.grep.call(context, {"pattern": "(owls"})
    assert "not a valid regular expression" in outcome.content


async def test_long_lines_and_many_matches_stay_small(context: ToolContext) -> None:
    fill(context.project.root, {"a.txt": "x" * 9_000 + "owl" + "y" * 9_000 + "\n" + "owl\n" * 5_000})
    outcome = await search.grep.call(context, {"pattern": "owl", "limit": 500, "context": 10})
    assert "xowly" in outcome.content.splitlines()[0]
    assert len(outcome.content.splitlines()[0]) < 400
    assert outcome.data["matches"] == 5_001


async def test_a_pattern_that_takes_for_ever_is_ended_and_the_server_goes_on(context: ToolContext) -> None:
    fill(context.project.root, {"a.txt": "found: aaaa", "b.txt": "a" * 60 + "!"})
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0.02)
            ticks += 1

    clock = asyncio.create_task(tick())
    began = time.monotonic()
    outcome = await search.grep.call(context, {"pattern": r"^(found: )?(a+)+$"})
    clock.cancel()
    assert 4 < time.monotonic() - began < search.SECONDS + 4
    assert ticks > 100
    assert outcome.data == {"matches": 1, "files": ["a.txt"], "timeout": True}
    assert "ended after 5 s" in outcome.content


@pytest.mark.parametrize("given", [{"pattern": ""}, {"pattern": "x", "context": 11}, {"pattern": "x", "limit": 0}])
async def test_wrong_input_is_refused(context: ToolContext, given: dict[str, Any]) -> None:
    assert not (await search.grep.call(context, given)).ok
