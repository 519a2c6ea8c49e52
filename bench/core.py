"""Figures of the core: appends per second (1 and 100 sessions), latency, replay of a long log; as JSON lines.

python bench/core.py [--seconds 3] [--replay 100000]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sqlite3
import tempfile
import time
from pathlib import Path

from jupyterlab_postdoc.log import EventLog
from jupyterlab_postdoc.protocol import AgentStatus, encode
from jupyterlab_postdoc.store.base import SessionRow
from jupyterlab_postdoc.store.sqlite import SqliteStore

BODY = AgentStatus(message="x" * 240, phase="run")  # about 300 bytes of JSON, as in the design's table


def show(name: str, **figures: object) -> None:
    print(json.dumps({"bench": name, **figures}), flush=True)


def disk_rate(folder: Path, per_commit: int, seconds: float) -> float:
    """Rows per second that this disk takes at this moment from a bare loop: what an append rate is to be held
    against.
    """
    db = sqlite3.connect(Path(tempfile.mkdtemp(dir=folder)) / "bare.db", isolation_level=None)
    db.execute("PRAGMA journal_mode=WAL")
    db.execute("PRAGMA synchronous=FULL")
    db.execute("CREATE TABLE event (session TEXT, seq INTEGER, payload TEXT, PRIMARY KEY (session, seq)) WITHOUT ROWID")
    payload, seq = encode(BODY).decode(), 0
    began = time.perf_counter()
    while time.perf_counter() - began < seconds:
        db.execute("BEGIN IMMEDIATE")
        db.executemany("INSERT INTO event VALUES (?, ?, ?)", [(f"s{i}", seq, payload) for i in range(per_commit)])
        db.execute("COMMIT")
        seq += 1
    rate = seq * per_commit / (time.perf_counter() - began)
    db.close()
    return rate


async def make_sessions(log: EventLog, ids: list[str]) -> None:
    for id in ids:
        await log.write(lambda tx, id=id: tx.insert_session(SessionRow(id=id, owner="bench")))


async def append_rate(log: EventLog, folder: Path, sessions: int, seconds: float, followed: bool) -> None:
    bare = disk_rate(folder, sessions, seconds / 3)
    ids = [f"s{sessions}{'f' if followed else ''}-{i}" for i in range(sessions)]
    await make_sessions(log, ids)
    latencies: list[float] = []
    seen = 0
    end = time.perf_counter() + seconds

    async def write(id: str) -> None:
        while time.perf_counter() < end:
            began = time.perf_counter()
            await log.append(id, BODY)
            latencies.append(time.perf_counter() - began)

    async def read(id: str) -> None:
        nonlocal seen
        async for batch in log.follow(id, after=0):
            seen += len(batch)

    readers = [asyncio.create_task(read(i)) for i in ids] if followed else []
    began = time.perf_counter()
    await asyncio.gather(*(write(i) for i in ids))
    spent = time.perf_counter() - began
    await asyncio.sleep(0.05)
    for r in readers:
        r.cancel()
    await asyncio.gather(*readers, return_exceptions=True)
    latencies.sort()
    show(
        "append" + ("+follow" if followed else ""),
        sessions=sessions,
        events_per_s=round(len(latencies) / spent),
        bare_loop_per_s=round(bare),
        p50_ms=round(latencies[len(latencies) // 2] * 1e3, 2),
        p99_ms=round(latencies[int(len(latencies) * 0.99)] * 1e3, 2),
        **({"followed": seen, "appended": len(latencies)} if followed else {}),
    )


async def replay(log: EventLog, events: int) -> None:
    await make_sessions(log, ["replay"])
    for _ in range(events // 1000):
        await log.append("replay", *[BODY] * 1000)
    count = size = 0
    began = time.perf_counter()
    follower = log.follow("replay", after=0)
    async for batch in follower:
        count += len(batch)
        for event in batch:
            size += len(event.frame())
        if count == events:
            break
    spent = time.perf_counter() - began
    await follower.aclose()
    show(
        "replay",
        events=count,
        seconds=round(spent, 3),
        events_per_s=round(count / spent),
        megabytes=round(size / 1e6, 1),
    )


async def main(seconds: float, events: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        log = EventLog(SqliteStore(Path(folder)))
        await log.start()
        try:
            await append_rate(log, Path(folder), 1, seconds, False)
            await append_rate(log, Path(folder), 100, seconds, False)
            await append_rate(log, Path(folder), 1, seconds, True)
            await append_rate(log, Path(folder), 100, seconds, True)
            await replay(log, events)
        finally:
            await log.stop()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--replay", type=int, default=100_000)
    options = parser.parse_args()
    asyncio.run(main(options.seconds, options.replay))
