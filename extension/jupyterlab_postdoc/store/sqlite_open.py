"""Opening a SQLite file: where it lies, who may use it, which schema it has, and what to say when that goes wrong."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import sys
import threading
import time
import weakref
from pathlib import Path

import aiosqlite

from jupyterlab_postdoc.errors import PostdocError

MIGRATIONS = Path(__file__).parent / "migrations" / "sqlite"
NETWORK_TYPES = {
    "nfs",
    "nfs3",
    "nfs4",
    "cifs",
    "smb3",
    "smbfs",
    "smb2",
    "afs",
    "9p",
    "ceph",
    "lustre",
    "gpfs",
    "beegfs",
    "afpfs",
}
NETWORK_TYPES |= {
    "glusterfs",
    "fuse.sshfs",
    "fuse.glusterfs",
    "fuse.s3fs",
    "fuse.rclone",
    "fuse.ceph",
    "webdav",
    "davfs",
    "pvfs2",
}
_FULL = {sqlite3.SQLITE_FULL}
_UNWRITABLE = {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH}
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL}


def explain(error: BaseException, path: Path) -> PostdocError:
    """A database or file error as a sentence that says what was kept and what to do."""
    code = (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF
    extended = getattr(error, "sqlite_errorcode", None)
    if code in _FULL or getattr(error, "errno", None) in {28, 122, 27} or extended == sqlite3.SQLITE_IOERR_WRITE:
        return PostdocError(
            "storage_full",
            f"The disk that holds {path.parent} is full. This change was not stored; everything stored before is safe.",
            next="Free some space and try again.",
            retryable=True,
        )
    if code in _UNWRITABLE or isinstance(error, PermissionError) or getattr(error, "errno", None) == 30:
        return PostdocError(
            "storage_full",
            f"{path.parent} cannot be written. Nothing was changed.",
            next="Make the directory writable for this user, or set PostdocApp.data_dir to another one.",
            reason="read_only",
        )
    if code in _DAMAGED:
        return PostdocError(
            "internal",
            f"The database {path} is damaged or is no database. The file was left as it is.",
            next="Put a copy back in its place, or move the file away to begin with an empty one.",
            reason="damaged",
        )
    if code in _BUSY:
        return PostdocError(
            "internal",
            f"Another program holds the database {path} locked. This change was not stored.",
            next="Try again; close the program that has the file open.",
            retryable=True,
            reason="locked",
        )
    return PostdocError(
        "internal",
        f"The database {path} could not be used ({error}). This change was not stored.",
        next="Try again; look at the server's log if it goes on.",
        retryable=True,
        reason="storage",
    )


def _mount_types() -> list[tuple[str, str]]:
    """(mount point, type) of all mounts, as far as the system tells."""
    table = Path("/proc/self/mounts")
    if table.exists():
        rows = (line.split() for line in table.read_text("utf-8", "replace").splitlines())
        return [(r[1].encode().decode("unicode_escape"), r[2]) for r in rows if len(r) > 2]
    if sys.platform == "darwin":
        out = subprocess.run(["/sbin/mount"], capture_output=True, text=True, check=False, timeout=5).stdout
        found = (line.rpartition(" (") for line in out.splitlines())
        return [(head.partition(" on ")[2], tail.partition(",")[0].rstrip(")")) for head, _, tail in found]
    return []


def network_type(path: Path) -> str | None:
    """The type of the network file system that holds ``path``, None for a local one."""
    real = str(path.resolve())
    best, found = "", ""
    for point, kind in _mount_types():
        prefix = point.rstrip("/") + "/"
        if (real + "/").startswith(prefix) and len(prefix) >= len(best):
            best, found = prefix, kind
    return found if found in NETWORK_TYPES else None


def prepare(path: Path) -> None:
    """Make the directory (0700) and the file (0600). Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if os.name != "nt" and path.parent.stat().st_uid == os.geteuid() and path.parent.stat().st_mode & 0o077:
        path.parent.chmod(0o700)
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    if os.name != "nt" and path.stat().st_mode & 0o077 and path.stat().st_uid == os.geteuid():
        path.chmod(0o600)


def lock_alone(path: Path) -> int | None:
    """Hold ``<path>.lock`` for this process; returns its descriptor, or None where locks do not work. ``busy`` when
    it is held.
    """
    if os.name == "nt":
        return None
    import fcntl

    fd = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError) as error:
        os.close(fd)
        raise PostdocError(
            "busy",
            f"Another server uses {path}, which lies on a network disk: only one server at a time may.",
            next="Stop the other server, or set PostdocApp.data_dir to a directory on a local disk.",
        ) from error
    except OSError:
        os.close(fd)
        return None
    return fd


_open: weakref.WeakSet[aiosqlite.Connection] = weakref.WeakSet()
_guard: threading.Thread | None = None


def _stop_at_exit() -> None:
    """The threads of aiosqlite are no daemons and ``atexit`` runs only after they were joined: so wait for the main
    thread.
    """
    threading.main_thread().join()
    for conn in list(_open):
        conn.stop()


async def connect(path: Path, busy_s: float, *, readonly: bool = False) -> aiosqlite.Connection:
    """A connection in autocommit mode. It never keeps the interpreter from ending, closed or not."""
    global _guard
    if _guard is None or not _guard.is_alive():
        _guard = threading.Thread(target=_stop_at_exit, daemon=True, name="postdoc-sqlite-exit")
        _guard.start()
    mode = "ro" if readonly else "rw"
    conn = aiosqlite.connect(f"{path.absolute().as_uri()}?mode={mode}", uri=True, isolation_level=None, timeout=busy_s)
    await conn
    _open.add(conn)
    return conn


async def set_journal(conn: aiosqlite.Connection, mode: str) -> str:
    """Switch the journal; SQLite does not wait by itself when another connection is in the way."""
    for attempt in range(50):
        try:
            rows = list(await conn.execute_fetchall(f"PRAGMA journal_mode={mode}"))
            return str(rows[0][0])
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF not in _BUSY or attempt == 49:
                raise
            await asyncio.sleep(0.1)
    raise AssertionError


def migrations(folder: Path = MIGRATIONS) -> list[tuple[int, Path]]:
    """The numbered files, in order."""
    return sorted((int(p.name.partition("_")[0]), p) for p in folder.glob("[0-9]*.sql"))


def statements(script: str) -> list[str]:
    """The single statements of a script."""
    found, text = [], ""
    for line in script.splitlines(keepends=True):
        text += line
        if sqlite3.complete_statement(text):
            found.append(text)
            text = ""
    return found


async def _version(conn: aiosqlite.Connection, path: Path) -> int:
    names = {r[0] for r in await conn.execute_fetchall("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if "schema_version" in names:
        rows = list(await conn.execute_fetchall("SELECT version FROM schema_version"))
        return int(rows[0][0]) if rows else 0
    if names:
        raise PostdocError(
            "internal",
            f"{path} is the database of another program. It was left as it is.",
            next="Move the file away, or set PostdocApp.data_dir to another directory.",
            reason="damaged",
        )
    return 0


async def migrate(conn: aiosqlite.Connection, path: Path, folder: Path = MIGRATIONS) -> int:
    """Bring the schema up to date, each step in its own transaction, after a copy of an older file was made beside
    it.
    """
    steps = migrations(folder)
    newest = steps[-1][0]
    version = await _version(conn, path)
    if version > newest:
        raise PostdocError(
            "internal",
            f"The database {path} was written by a newer Postdoc (schema {version}; this one knows {newest})."
            " It was left as it is.",
            next="Upgrade jupyterlab-postdoc, or set PostdocApp.data_dir to another directory.",
            reason="newer_schema",
        )
    if 0 < version < newest:
        copy = path.with_name(
            f"{path.stem}-schema{version}-{time.strftime('%Y%m%dT%H%M%S')}-{time.time_ns() % 10**9:09d}.backup.db"
        )
        await conn.execute_fetchall("VACUUM INTO ?", (str(copy),))
        copy.chmod(0o600)
    for number, file in steps:
        if number > version:
            await _apply(conn, path, number, file)
    return newest


async def _apply(conn: aiosqlite.Connection, path: Path, number: int, file: Path) -> None:
    await conn.execute_fetchall("BEGIN IMMEDIATE")
    try:
        if await _version(conn, path) < number:  # another process may have been faster
            for statement in statements(file.read_text("utf-8")):
                await conn.execute_fetchall(statement)
            await conn.execute_fetchall("CREATE TABLE IF NOT EXISTS schema_version (version INTEGER NOT NULL)")
            await conn.execute_fetchall("DELETE FROM schema_version")
            await conn.execute_fetchall("INSERT INTO schema_version VALUES (?)", (number,))
        await conn.execute_fetchall("COMMIT")
    except BaseException:
        if conn.in_transaction:
            await conn.execute_fetchall("ROLLBACK")
        raise
