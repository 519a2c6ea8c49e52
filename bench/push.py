"""Figures of publishing: the guard over new history, a rewritten history, a push over HTTP; as JSON lines.

python bench/push.py
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.forge.githttp import GitHttp
from tests.forge.pushing import BRANCH, NAME, TOKEN, Source, Study, plain, publisher, there

from jupyterlab_postdoc import secrets
from jupyterlab_postdoc.forge.publisher import Policy


def show(name: str, **figures: object) -> None:
    print(json.dumps({"bench": name, **figures}), flush=True)


def rows(count: int) -> str:
    return "".join(f"2026-01-{n % 28 + 1:02},https://example.org/{n},{n * 1.5:.4f},owl {n % 7}\n" for n in range(count))


async def guard(folder: Path) -> None:
    """Milliseconds for what each commit brings, with ten registered secrets as a server has them."""
    for number in range(10):
        secrets.register(f"secret-of-the-server-{number}-{os.urandom(8).hex()}")
    (folder / "study").mkdir()
    study, sender = Study(folder / "study"), publisher(folder)
    steps = {
        "200 files": {f"src/{n}.py": f"x = {n}\n" * 200 for n in range(200)},
        "csv of 20,000 rows": {"data.csv": rows(20_000)},
        "html of 20 MB": {"report.html": ("iVBORw0KGgo" * 1000 + "\n") * 1900},
        "40 MB binary": {"data.parquet": os.urandom(40 << 20)},
    }
    known: list[str] = []
    for name, files in steps.items():
        tip = await study.step(files)  # type: ignore[arg-type]
        await sender.collect("h/a/b", study.root, tip)
        began = time.perf_counter()
        await sender.scan("h/a/b", tip, known=known, policy=Policy())
        show(f"guard: {name}", ms=round(1000 * (time.perf_counter() - began)))
        known = [tip]


async def rewrite(folder: Path) -> None:
    """A history of 1,000 commits without its workflows."""
    (folder / "long").mkdir()
    plain(folder / "long", "init", "-q", "-b", "main")
    stream = "".join(
        f"commit refs/heads/main\nmark :{n + 1}\ncommitter A <a@b> {1700000000 + n} +0000\ndata 2\ns\n"
        + (f"from :{n}\n" if n else "")
        + f"M 100644 inline f{n % 50}\ndata 5\n{n:04}\n\nM 100644 inline .github/workflows/x.yml\ndata 5\n{n:04}\n\n"
        for n in range(1000)
    )
    importing = await asyncio.create_subprocess_exec(
        "git", "fast-import", "--quiet", cwd=folder / "long", stdin=asyncio.subprocess.PIPE
    )
    await importing.communicate(stream.encode())
    tip, sender = plain(folder / "long", "rev-parse", "main"), publisher(folder)
    await sender.collect("h/a/long", folder / "long", tip)
    began = time.perf_counter()
    await sender.prepare("h/a/long", tip, base=None, history="full", workflows=False, message="")
    show("rewrite: 1,000 commits", ms=round(1000 * (time.perf_counter() - began)))


async def push(folder: Path) -> None:
    """From the checkout to a server on this machine: collect, guard, push."""
    (folder / "small").mkdir()
    study, sender = Study(folder / "small"), publisher(folder)
    tip = await study.step({f"{n}.txt": f"{n}\n" for n in range(50)})
    with GitHttp(folder, TOKEN, auto_create=True) as server:
        to = there(server)
        server.create(NAME)
        began = time.perf_counter()
        await sender.collect(to.key, study.root, tip)
        await sender.scan(to.key, tip, known=[], policy=Policy())
        await sender.push(to, Source(), BRANCH, tip)
        show("push: 50 files", ms=round(1000 * (time.perf_counter() - began)))


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        for piece in (guard, rewrite, push):
            await piece(Path(folder))


if __name__ == "__main__":
    asyncio.run(main())
