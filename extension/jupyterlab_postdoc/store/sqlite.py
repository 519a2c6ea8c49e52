"""The store in one SQLite file: one connection that writes, one that only reads, one transaction per batch."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import sqlite3
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import aiosqlite

from jupyterlab_postdoc.errors import PostdocError, not_found

from .base import Append, Outcome, Unit
from .sqlite_open import connect, explain, lock_alone, migrate, network_type, prepare, set_journal
from .sqlite_reads import SqliteReads
from .sqlite_tx import SqliteTx

FILE_NAME = "postdoc.db"
BLOB_GRACE_S = 3600.0
"""A blob's file is only removed when nobody wrote it lately: its new row may not be stored yet."""

_FATAL = {
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_NOTADB,
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_PROTOCOL,
}


def _fatal(error: sqlite3.Error) -> bool:
    return (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF in _FATAL


class SqliteStore(SqliteReads):
    """See :class:`~.base.Store`. ``network`` overrides the detection of network disks.

    ``busy_s``: how long to wait for another program that holds the file.
    """

    def __init__(self, data_dir: Path | str, *, network: bool | None = None, busy_s: float = 10.0) -> None:
        self.data_dir = Path(data_dir)
        self.path = self.data_dir / FILE_NAME
        self.warnings: list[str] = []
        self._network = network
        self._busy_s = busy_s
        self._writer: aiosqlite.Connection | None = None
        self._reader: aiosqlite.Connection | None = None
        self._lock: int | None = None
        self._journal = ""
        self._identity: tuple[int, int] | None = None

    async def open(self) -> None:
        try:
            await self._open()
        except (sqlite3.Error, OSError) as error:
            await self.close()
            raise explain(error, self.path) from error
        except BaseException:
            await self.close()
            raise

    async def _open(self) -> None:
        await asyncio.to_thread(prepare, self.path)
        found = await asyncio.to_thread(network_type, self.path) if self._network is None else None
        alone = bool(found) if self._network is None else self._network
        self.warnings = []
        if alone:
            self._lock = lock_alone(self.path)
            self.warnings.append(
                f"{self.data_dir} is on a network disk{f' ({found})' if found else ''}: only one server may use it, and"
                " every write is slower. Set PostdocApp.data_dir to a directory on a local disk."
            )
            if self._lock is None:
                self.warnings.append("File locks do not work there: make sure that only one server runs.")
        self._writer = writer = await connect(self.path, self._busy_s)
        await writer.execute_fetchall("SELECT count(*) FROM sqlite_master")  # first touch: no database? damaged?
        self._journal = await set_journal(writer, "TRUNCATE" if alone else "WAL")
        await writer.execute_fetchall("PRAGMA synchronous=FULL")
        await writer.execute_fetchall("PRAGMA fullfsync=1")  # macOS: through the drive's cache; no effect elsewhere
        await writer.execute_fetchall("PRAGMA journal_size_limit=67108864")
        await migrate(writer, self.path)
        self._reader = await connect(self.path, self._busy_s, readonly=True)
        await self._reader.execute_fetchall("PRAGMA query_only=1")
        status = self.path.stat()
        self._identity = (status.st_dev, status.st_ino)

    async def close(self) -> None:
        reader, self._reader = self._reader, None
        writer, self._writer = self._writer, None
        for conn in (reader, writer):
            if conn is not None:
                # The thread is stopped all the same, and the file is whole without a last checkpoint.
                with contextlib.suppress(sqlite3.Error):
                    await conn.close()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    async def fetch(self, sql: str, params: Iterable[Any] = ()) -> list[Any]:
        try:
            return await self._connected(self._reader).execute_fetchall(sql, params)  # type: ignore[no-any-return]
        except sqlite3.Error as error:
            raise explain(error, self.path) from error
        except ValueError as error:  # aiosqlite's word for a connection closed meanwhile
            raise self._closed() from error

    def _closed(self) -> PostdocError:
        return PostdocError(
            "internal", "The database is closed. This change was not stored.", next="Try again.", retryable=True
        )

    def _connected(self, conn: aiosqlite.Connection | None) -> aiosqlite.Connection:
        if conn is None:
            raise self._closed()
        return conn

    # --- writing ---

    async def commit(self, units: Sequence[Unit]) -> list[Outcome]:
        conn = self._connected(self._writer)
        orphans: set[str] = set()
        try:
            await conn.execute_fetchall("BEGIN IMMEDIATE")
            outcomes = await self._run(conn, units, orphans)
            await conn.execute_fetchall("COMMIT")
        except (sqlite3.Error, OSError) as error:
            await self._rollback(conn)
            raise explain(error, self.path) from error
        except BaseException:
            await self._rollback(conn)
            raise
        if orphans:
            await self._drop_blobs(orphans)
        return outcomes

    async def _rollback(self, conn: aiosqlite.Connection) -> None:
        try:
            if conn.in_transaction:
                await conn.execute_fetchall("ROLLBACK")
        except sqlite3.Error:
            pass  # SQLite has rolled back by itself

    async def _run(self, conn: aiosqlite.Connection, units: Sequence[Unit], orphans: set[str]) -> list[Outcome]:
        now = time.time()
        outcomes: list[Outcome] = []
        merged: list[Append] = []
        fences: dict[str, int | None] = {}

        async def flush() -> None:
            if merged:
                outcomes.extend(await SqliteTx(conn, now).append_many(merged))
                merged.clear()
                fences.clear()

        for unit in units:
            if isinstance(unit, Append) and unit.drafts and all(d.replaces is None for d in unit.drafts):
                epoch = unit.fence.epoch if unit.fence else None
                if fences.setdefault(unit.session, epoch) != epoch:
                    await flush()
                    fences[unit.session] = epoch
                merged.append(unit)
            else:
                await flush()
                outcomes.append(await self._run_unit(conn, unit, now, orphans))
        await flush()
        return outcomes

    async def _run_unit(self, conn: aiosqlite.Connection, unit: Unit, now: float, orphans: set[str]) -> Outcome:
        tx = SqliteTx(conn, now)
        await conn.execute_fetchall("SAVEPOINT unit")
        try:
            if isinstance(unit, Append):
                tx.outcome.value = await tx.append(unit.session, *unit.drafts, fence=unit.fence)
            else:
                tx.outcome.value = await unit(tx)
        except Exception as error:  # the unit's caller gets it; its neighbours do not suffer
            if isinstance(error, sqlite3.Error) and _fatal(error):
                raise
            await conn.execute_fetchall("ROLLBACK TO unit")
            await conn.execute_fetchall("RELEASE unit")
            return Outcome(error=error)
        await conn.execute_fetchall("RELEASE unit")
        orphans |= tx.orphans
        return tx.outcome

    # --- changes by others ---

    async def marker(self) -> int:
        # Of the writing connection: its own commits do not change the value, those of any other process do.
        try:
            rows = list(await self._connected(self._writer).execute_fetchall("PRAGMA data_version"))
        except sqlite3.Error as error:
            raise explain(error, self.path) from error
        except ValueError as error:
            raise self._closed() from error
        return int(rows[0][0])

    async def replaced(self) -> bool:
        try:
            status = await asyncio.to_thread(os.stat, self.path)
        except FileNotFoundError:
            return self._identity is not None
        except OSError:
            return False
        return self._identity is not None and self._identity != (status.st_dev, status.st_ino)

    async def changed_since(self, ts: float) -> set[str]:
        rows = await self.fetch(
            "SELECT id FROM session WHERE updated_at >= ?1 UNION SELECT id FROM deleted_session WHERE deleted_at >= ?1",
            (ts,),
        )
        return {r[0] for r in rows}

    # --- blobs ---

    def _blob_path(self, hash: str) -> Path:
        if len(hash) != 64 or not set(hash) <= set("0123456789abcdef"):
            raise not_found("blob", hash)
        return self.data_dir / "blobs" / hash[:2] / hash[2:]

    async def write_blob(self, data: bytes) -> str:
        digest = hashlib.sha256(data).hexdigest()
        try:
            await asyncio.to_thread(_write_durably, self._blob_path(digest), data)
        except OSError as error:
            raise explain(error, self.path) from error
        return digest

    async def read_blob(self, hash: str) -> bytes:
        try:
            return await asyncio.to_thread(self._blob_path(hash).read_bytes)
        except FileNotFoundError:
            raise not_found("blob", hash) from None

    async def _drop_blobs(self, hashes: set[str]) -> None:
        for hash in hashes:
            if not await self.fetch("SELECT 1 FROM blob WHERE hash = ?", (hash,)):
                await asyncio.to_thread(_unlink_old, self._blob_path(hash))

    async def health(self) -> dict[str, Any]:
        size = sum(p.stat().st_size for p in (self.path, self.path.with_name(f"{FILE_NAME}-wal")) if p.exists())
        ok = self._writer is not None and not await self.replaced()
        return {
            "ok": ok,
            "kind": "sqlite",
            "path": str(self.path),
            "journal": self._journal,
            "size": size,
            "warnings": list(self.warnings),
        }


def _write_durably(path: Path, data: bytes) -> None:
    if path.exists():
        os.utime(path)
        return
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    fd, name = tempfile.mkstemp(dir=path.parent)  # mode 0600
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    if os.name != "nt":
        for folder in (path.parent, path.parent.parent):
            handle = os.open(folder, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)


def _unlink_old(path: Path) -> None:
    try:
        if time.time() - path.stat().st_mtime > BLOB_GRACE_S:
            path.unlink()
    except FileNotFoundError:
        pass
