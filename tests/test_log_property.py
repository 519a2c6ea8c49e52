"""Any interleaving of appends, texts, ends, followers and reconnects shows every client what the database holds."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterable
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jupyterlab_postdoc.log import EventLog
from jupyterlab_postdoc.protocol import AgentStatus, AssistantMessage, Event, Token
from jupyterlab_postdoc.store.base import Draft, SessionRow
from jupyterlab_postdoc.store.sqlite import SqliteStore


class Transcript:
    """Reduces events as a client does. Two transcripts are equal when a reader would see the same."""

    def __init__(self) -> None:
        self.finals: list[tuple[int, bytes]] = []
        self.open: dict[str, str] = {}
        self.last = 0

    def add(self, events: Iterable[Event]) -> None:
        for event in events:
            assert event.seq > self.last, f"{event.seq} after {self.last}"
            self.last = event.seq
            body = event.body()
            item = str(body.get("itemId") or body.get("toolId") or "")
            if event.partial:
                self.open[item] = self.open.get(item, "") + body["delta"]
            else:
                self.open.pop(item, None)
                self.finals.append((event.seq, event.payload))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Transcript) and (self.finals, self.open) == (other.finals, other.open)

    def __repr__(self) -> str:
        return f"Transcript({self.finals}, {self.open})"


def transcript(events: Iterable[Event]) -> Transcript:
    made = Transcript()
    made.add(events)
    return made


ITEMS = st.integers(0, 2)
ACTIONS = st.one_of(
    st.tuples(st.just("append"), st.integers(1, 3)),
    st.tuples(st.just("token"), ITEMS),
    st.tuples(st.just("final"), ITEMS),
    st.tuples(st.just("other"), ITEMS),
    st.tuples(st.just("join"), st.integers(0, 3)),
    st.tuples(st.just("drop"), st.integers(0, 3)),
    st.tuples(st.just("rest"), st.integers(0, 3)),
    st.tuples(st.just("slow"), st.integers(0, 3)),
)


class Client:
    """A client that comes and goes; it keeps its transcript and its last number."""

    def __init__(self, log: EventLog) -> None:
        self.log = log
        self.transcript = Transcript()
        self.task: asyncio.Task[None] | None = None
        self.slow = False

    def join(self) -> None:
        if self.task is None:
            self.task = asyncio.create_task(self._follow())

    async def drop(self) -> None:
        if self.task is not None:
            self.task.cancel()
            await asyncio.gather(self.task, return_exceptions=True)
            self.task = None

    async def _follow(self) -> None:
        async for batch in self.log.follow("s", after=self.transcript.last):
            self.transcript.add(batch)
            if self.slow:
                await asyncio.sleep(0.01)


async def play(actions: list[tuple[str, int]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        log, other = EventLog(SqliteStore(folder), poll_s=0.005), EventLog(SqliteStore(folder), poll_s=0.005)
        await log.start()
        await other.start()
        try:
            await log.write(lambda tx: tx.insert_session(SessionRow(id="s", owner="ada")))
            clients = [Client(log), Client(log), Client(other), Client(other)]
            pending: list[asyncio.Future[Any]] = []
            for i, (name, n) in enumerate(actions):
                await act(log, other, clients, pending, i, name, n)
            await asyncio.gather(*pending)
            last = (await log.append("s", AgentStatus(message="end")))[0].seq
            for client in clients:
                client.join()
            async with asyncio.timeout(5):
                while any(c.transcript.last < last for c in clients):
                    await asyncio.sleep(0.002)
            stored = transcript(await log.read("s", limit=10_000))
            assert stored == transcript(await log.tail("s", 10_000))
            for client in clients:
                await client.drop()
                assert client.transcript == stored
        finally:
            await other.stop()
            await log.stop()


async def act(
    log: EventLog, other: EventLog, clients: list[Client], pending: list[asyncio.Future[Any]], i: int, name: str, n: int
) -> None:
    def later(calls: Any) -> None:
        pending.append(asyncio.ensure_future(calls))

    if name == "append":
        later(log.append("s", *(AgentStatus(message=f"{i}.{k}") for k in range(n))))
    elif name == "token":
        later(log.append("s", Draft(Token(itemId=f"i{n}", delta=f"{i},"), item=f"i{n}")))
    elif name == "final":
        later(log.append("s", Draft(AssistantMessage(itemId=f"i{n}", content=str(i)), replaces=f"i{n}")))
    elif name == "other":
        later(other.append("s", Draft(Token(itemId=f"i{n}", delta=f"{i},"), item=f"i{n}"), AgentStatus(message="o")))
    elif name == "join":
        clients[n].join()
    elif name == "drop":
        await clients[n].drop()
    elif name == "rest":
        await asyncio.sleep(0.002 * n)
    elif name == "slow":
        clients[n].slow = not clients[n].slow


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(actions=st.lists(ACTIONS, max_size=40))
def test_every_client_sees_what_the_database_holds(actions: list[tuple[str, int]]) -> None:
    asyncio.run(play(actions))


def test_events_keep_their_bytes() -> None:
    """The reducer of the tests is no no-op: a lost frame shows."""
    events = [Event("s", 1, 0.0, "token", None, "i", b'{"type":"token","itemId":"i","delta":"a"}')]
    assert transcript(events) != transcript([])
