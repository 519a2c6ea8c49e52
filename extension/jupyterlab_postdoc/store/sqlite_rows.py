"""Rows of SQLite to records and back: the column lists of each table and which of them hold JSON or booleans."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Generic, TypeVar

import msgspec

from jupyterlab_postdoc.protocol import Event

from .rows import (
    BlobRow,
    CommandRow,
    GrantRow,
    PublicationRow,
    RepositoryRow,
    RequestRow,
    RunRow,
    ScheduleRow,
    SessionRow,
    SpendRow,
    StepRow,
    WorkerRow,
)

S = TypeVar("S", bound=msgspec.Struct)
_JSON = {"meta", "input", "output", "error", "body", "result", "template", "tokens", "shown"}
_BOOL = {"archived", "interrupted", "enabled", "estimated", "private"}
_RENAMED = {"session": "session_id", "run": "run_id", "parent": "parent_run"}

EVENT_COLUMNS = "session_id, seq, ts, type, run_id, item, CAST(payload AS BLOB)"


def dump(value: Any) -> str:
    """JSON text."""
    return msgspec.json.encode(value).decode()


def event(row: Iterable[Any]) -> Event:
    """An event from :data:`EVENT_COLUMNS`; the payload is never parsed."""
    return Event(*row)


class Table(Generic[S]):
    """One table: makes records of its rows, and parameters of records."""

    def __init__(self, name: str, record: type[S]) -> None:
        self.name = name
        self.record = record
        self.fields = record.__struct_fields__
        self.columns = tuple(_RENAMED.get(f, f) for f in self.fields)
        self.select = f"SELECT {', '.join(f'{name}.{c}' for c in self.columns)} FROM {name}"
        self.returning = f" RETURNING {', '.join(self.columns)}"
        self.insert = f"INSERT INTO {name} ({', '.join(self.columns)}) VALUES ({', '.join('?' * len(self.columns))})"
        self.upsert = self.insert.replace("INSERT", "INSERT OR REPLACE", 1)

    def upsert_keeping(self, *kept: str) -> str:
        """As ``upsert``, for a table whose key is ``id``; the columns ``kept`` stay as they were first stored."""
        changed = (column for column in self.columns if column not in ("id", *kept))
        return f"{self.insert} ON CONFLICT (id) DO UPDATE SET {', '.join(f'{c} = excluded.{c}' for c in changed)}"

    def load(self, row: Iterable[Any]) -> S:
        values = {}
        for name, value in zip(self.fields, row, strict=True):
            if name in _JSON:
                value = None if value is None else msgspec.json.decode(value)
            elif name in _BOOL:
                value = bool(value)
            values[name] = value
        return self.record(**values)

    def params(self, record: S) -> list[Any]:
        return [self.param(f, getattr(record, f)) for f in self.fields]

    @staticmethod
    def param(name: str, value: Any) -> Any:
        """The column's value: JSON as text; None stays NULL."""
        if name in _JSON:
            return None if value is None else dump(value)
        return int(value) if name in _BOOL else value

    def assign(self, changes: Mapping[str, Any]) -> tuple[str, list[Any]]:
        """``a = ?, b = ?`` and its parameters; unknown names are a mistake of the caller."""
        unknown = set(changes) - set(self.fields)
        if unknown:
            raise TypeError(f"no such column in {self.name}: {', '.join(sorted(unknown))}")
        text = ", ".join(f"{_RENAMED.get(name, name)} = ?" for name in changes)
        return text, [self.param(name, value) for name, value in changes.items()]


SESSION = Table("session", SessionRow)
RUN = Table("run", RunRow)
STEP = Table("step", StepRow)
REQUEST = Table("request", RequestRow)
COMMAND = Table("command", CommandRow)
BLOB = Table("blob", BlobRow)
SCHEDULE = Table("schedule", ScheduleRow)
WORKER = Table("worker", WorkerRow)
SPEND = Table("spend", SpendRow)
GRANT = Table("leave_given", GrantRow)
REPOSITORY = Table("repository", RepositoryRow)
PUBLICATION = Table("publication", PublicationRow)
