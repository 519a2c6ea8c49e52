"""The transcript a client builds from events: final events, and the text of items not yet final."""

from __future__ import annotations

from collections.abc import Iterable

from jupyterlab_postdoc.protocol import Event


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
