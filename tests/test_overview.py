"""What a list of sessions says of each in one line."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jupyterlab_postdoc.log import EventLog
from jupyterlab_postdoc.overview import LINE, one_line, overview
from jupyterlab_postdoc.protocol import AgentStatus, AssistantMessage, Body, Error, Result, UserMessage
from jupyterlab_postdoc.store.base import RequestRow, SessionRow, SpendRow, Tx
from jupyterlab_postdoc.store.sqlite import SqliteStore

DOING = AgentStatus(message="Running cell 4 of 9 (returns)")
NEXT = AgentStatus(message="Preparing the research project")
REPLY = AssistantMessage(itemId="i", content="## Answer\n\nThe *mean* is **3.2 %**. More of it.")
FAILED = Error(code="tool_failed", error="The file is not there.")


def ended(summary: str | None = None, **fields: Any) -> Result:
    more = {"summary": summary} if summary else {}
    return Result(success=True, cost=None, duration_ms=1, stop_reason="end_turn", **more, **fields)


@pytest.fixture
def log(tmp_path: Path, jp_asyncio_loop: asyncio.AbstractEventLoop) -> Iterator[EventLog]:
    log = EventLog(SqliteStore(tmp_path))
    jp_asyncio_loop.run_until_complete(log.start())
    yield log
    jp_asyncio_loop.run_until_complete(log.stop())


@pytest.mark.parametrize(
    ("state", "said", "line"),
    [
        ("finished", [], None),
        ("running", [DOING], "Running cell 4 of 9 (returns)"),
        ("running", [DOING, FAILED], "Running cell 4 of 9 (returns)"),
        ("queued", [DOING, ended("Done.")], None),
        ("running", [DOING, ended("Done."), NEXT], "Preparing the research project"),
        (
            "finished",
            [DOING, ended("The claim is supported. At 10 basis points it is not.")],
            "The claim is supported.",
        ),
        ("finished", [DOING, REPLY, ended()], "Answer"),
        ("error", [DOING, FAILED], "The file is not there."),
        ("error", [ended("Done."), DOING, FAILED], "The file is not there."),
        ("stopped", [FAILED, DOING, ended("Stopped by you.", partial=True)], "Stopped by you."),
        ("finished", [REPLY], "Answer"),
    ],
)
async def test_the_line(log: EventLog, state: str, said: list[Body], line: str | None) -> None:
    row = await log.write(lambda tx: tx.insert_session(SessionRow(id="s", owner="ana", state=state)))
    await log.append("s", UserMessage(id="m", content="x", by="ana"), *said)
    (chat,) = await overview(log.store, [row])
    assert (chat["line"], chat["cost"], chat["needs"], chat["template"]) == (line, None, 0, None)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", None),
        ("\n \n---\n", None),
        ("- **Mean**: `3.2` of 5", "Mean: 3.2 of 5"),
        (
            "13.17 % per year (95 % interval 8.89 to 17.45): yes. More.",
            "13.17 % per year (95 % interval 8.89 to 17.45): yes.",
        ),
        ("a\x1b[31m\u202eb\x00\tc", "a[31mb c"),
        ("x" * 200, "x" * (LINE - 1) + "…"),
        ("x" * LINE, "x" * LINE),
    ],
)
def test_one_line(text: str, line: str | None) -> None:
    assert one_line(text) == line


async def test_many_sessions_take_four_questions(log: EventLog, monkeypatch: pytest.MonkeyPatch) -> None:
    async def make(tx: Tx) -> list[SessionRow]:
        rows = []
        for i in range(200):
            meta = {"template": "tiny"} if i == 7 else {}
            rows.append(await tx.insert_session(SessionRow(id=f"s{i}", owner="ana", meta=meta)))
            await tx.append(f"s{i}", DOING, ended(f"Study {i}."))
        await tx.put_spend(SpendRow(id="p", owner="ana", session="s7", run="r", cost=0.5))
        await tx.insert_request(RequestRow(id="q", session="s7"))
        return rows

    rows = await log.write(make)
    asked: list[str] = []
    fetch = SqliteStore.fetch

    async def counted(self: SqliteStore, sql: str, params: Any = ()) -> Any:
        asked.append(sql)
        return await fetch(self, sql, params)

    monkeypatch.setattr(SqliteStore, "fetch", counted)
    chats = await overview(log.store, rows)
    assert len(asked) == 4
    assert [chat["line"] for chat in chats] == [f"Study {i}." for i in range(200)]
    assert [(chat["template"], chat["cost"], chat["needs"]) for chat in chats[6:8]] == [
        (None, None, 0),
        ("tiny", 0.5, 1),
    ]
    assert await overview(log.store, []) == []
