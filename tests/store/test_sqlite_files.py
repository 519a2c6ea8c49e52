"""The SQLite file itself: its rights, its schema, and everything that can be wrong with the place where it lies."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import stat
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from jupyterlab_postdoc.errors import PostdocError
from jupyterlab_postdoc.protocol import AgentStatus
from jupyterlab_postdoc.store.base import Append, Draft, SessionRow, SpendRow
from jupyterlab_postdoc.store.sqlite import SqliteStore
from jupyterlab_postdoc.store.sqlite_open import connect, migrate, migrations, network_type, statements

BODY = Draft(AgentStatus(message="x"))


def run_child(code: str, *args: str, timeout: float = 20) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *args],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


async def open_error(store: SqliteStore) -> PostdocError:
    with pytest.raises(PostdocError) as caught:
        await store.open()
    return caught.value


async def fill(data_dir: Path) -> None:
    store = SqliteStore(data_dir)
    await store.open()
    await store.commit([lambda tx: tx.insert_session(SessionRow(id="s", owner="ada"))])
    await store.commit([Append("s", (BODY,))])
    await store.close()


async def test_private_files_and_safe_settings(data_dir: Path, store: SqliteStore) -> None:
    await store.commit([lambda tx: tx.insert_session(SessionRow(id="s", owner="ada"))])
    assert stat.S_IMODE(data_dir.stat().st_mode) == 0o700
    for file in data_dir.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file
    assert (await store.health())["journal"] == "wal"
    assert [tuple(r) for r in await store._writer.execute_fetchall("PRAGMA synchronous")] == [(2,)]  # type: ignore[union-attr]
    with pytest.raises(PostdocError):
        await store.fetch("DELETE FROM session")


async def test_rights_of_an_older_file_are_narrowed(data_dir: Path) -> None:
    data_dir.mkdir(mode=0o755)
    (data_dir / "postdoc.db").touch(0o644)
    await fill(data_dir)
    assert stat.S_IMODE(data_dir.stat().st_mode) == 0o700
    assert stat.S_IMODE((data_dir / "postdoc.db").stat().st_mode) == 0o600


async def test_a_newer_schema_is_refused_and_kept(data_dir: Path) -> None:
    await fill(data_dir)
    path = data_dir / "postdoc.db"
    with sqlite3.connect(path) as db:
        db.execute("UPDATE schema_version SET version = 99")
    db.close()
    error = await open_error(SqliteStore(data_dir))
    assert "newer" in error.message
    assert "99" in error.message
    assert "Upgrade" in error.next
    db = sqlite3.connect(path)
    assert db.execute("SELECT count(*) FROM event").fetchone() == (1,)
    db.close()


async def test_migration_backs_up_first_and_is_all_or_nothing(data_dir: Path, tmp_path: Path) -> None:
    await fill(data_dir)
    folder = tmp_path / "migrations"
    shutil.copytree(migrations()[0][1].parent, folder)
    (folder / "0090_more.sql").write_text("CREATE TABLE more (x TEXT);\nCREATE TABLE session (id TEXT);\n")
    path = data_dir / "postdoc.db"
    conn = await connect(path, 1.0)
    try:
        with pytest.raises(sqlite3.OperationalError):
            await migrate(conn, path, folder)
        (copy,) = data_dir.glob("*.backup.db")
        assert stat.S_IMODE(copy.stat().st_mode) == 0o600
        assert not await conn.execute_fetchall("SELECT 1 FROM sqlite_master WHERE name = 'more'")
        (folder / "0090_more.sql").write_text("-- a comment; with a semicolon\nCREATE TABLE more (\n  x TEXT\n);\n")
        assert await migrate(conn, path, folder) == 90
        assert [tuple(r) for r in await conn.execute_fetchall("SELECT version FROM schema_version")] == [(90,)]
    finally:
        await conn.close()
    backup = sqlite3.connect(copy)
    assert backup.execute("SELECT count(*) FROM event").fetchone() == (1,)
    backup.close()
    assert "newer" in (await open_error(SqliteStore(data_dir))).message


async def test_a_database_of_the_first_schema_is_migrated_with_its_data(data_dir: Path, tmp_path: Path) -> None:
    older = tmp_path / "older"
    older.mkdir()
    shutil.copy(migrations()[0][1], older)
    data_dir.mkdir(mode=0o700)
    path = data_dir / "postdoc.db"
    path.touch(0o600)
    conn = await connect(path, 1.0)
    assert await migrate(conn, path, older) == 1
    await conn.execute_fetchall(
        "INSERT INTO session (id, owner, kind, title, state, created_at, updated_at)"
        " VALUES ('s', 'ada', 'chat', 'Tides', 'idle', 1.0, 2.0)"
    )
    await conn.commit()
    await conn.close()
    store = SqliteStore(data_dir)
    await store.open()
    try:
        row = await store.get_session("s")
        assert row is not None
        assert row.title == "Tides"
        await store.commit([lambda tx: tx.put_spend(SpendRow(id="c", owner="ada", session="s", run="r", cost=0.5))])
        assert (await store.spent(session="s")).cost == 0.5
    finally:
        await store.close()
    (copy,) = data_dir.glob("*.backup.db")
    backup = sqlite3.connect(copy)
    assert backup.execute("SELECT title FROM session").fetchall() == [("Tides",)]
    backup.close()


@pytest.mark.parametrize("column", ["owner", "session_id", "run_id"])
async def test_a_sum_of_spending_reads_an_index_only(store: SqliteStore, column: str) -> None:
    plan = await store.fetch(
        "EXPLAIN QUERY PLAN SELECT coalesce(sum(cost), 0.0), count(*), count(*) - count(cost) FROM spend"
        f" WHERE {column} = ? AND ts >= ?",
        ("x", 1.0),
    )
    (line,) = [str(row[3]) for row in plan]
    assert "USING COVERING INDEX" in line
    assert f"({column}=? AND ts>?)" in line


def test_statements_are_split_where_they_end() -> None:
    script = "CREATE TABLE a (x);\n-- note\nCREATE TRIGGER t AFTER INSERT ON a BEGIN\n  DELETE FROM a;\nEND;\n"
    assert len(statements(script)) == 2


def test_two_processes_create_the_file_at_once(data_dir: Path) -> None:
    code = """
        import asyncio, sys
        from jupyterlab_postdoc.store.sqlite import SqliteStore
        async def main():
            store = SqliteStore(sys.argv[1]); await store.open(); await store.close()
        asyncio.run(main())
    """
    children = [
        subprocess.Popen([sys.executable, "-c", textwrap.dedent(code), str(data_dir)], stderr=subprocess.PIPE)
        for _ in range(3)
    ]
    for child in children:
        assert child.communicate(timeout=20)[1] == b""
        assert child.returncode == 0


@pytest.mark.parametrize(
    "content", [b"this is no database, but some text" * 100, b"SQLite format 3\0" + b"\xff" * 4096]
)
async def test_a_damaged_file_is_named_and_kept(data_dir: Path, content: bytes) -> None:
    data_dir.mkdir()
    (data_dir / "postdoc.db").write_bytes(content)
    error = await open_error(SqliteStore(data_dir))
    assert "damaged" in error.message
    assert str(data_dir) in error.message
    assert (data_dir / "postdoc.db").read_bytes() == content


async def test_the_database_of_another_program_is_left_alone(data_dir: Path) -> None:
    data_dir.mkdir()
    db = sqlite3.connect(data_dir / "postdoc.db")
    db.execute("CREATE TABLE theirs (x)")
    db.commit()
    db.close()
    assert "another program" in (await open_error(SqliteStore(data_dir))).message


async def test_damage_found_later_is_said_plainly(data_dir: Path) -> None:
    await fill(data_dir)
    path = data_dir / "postdoc.db"
    raw = bytearray(path.read_bytes())
    db = sqlite3.connect(path)
    (page,) = db.execute("SELECT rootpage FROM sqlite_master WHERE name = 'event'").fetchone()
    (size,) = db.execute("PRAGMA page_size").fetchone()
    db.close()
    raw[(page - 1) * size : page * size] = b"\xa5" * size
    path.write_bytes(raw)
    store = SqliteStore(data_dir)
    await store.open()
    try:
        with pytest.raises(PostdocError, match="damaged"):
            await store.read_events("s")
        with pytest.raises(PostdocError, match="damaged"):
            await store.commit([Append("s", (BODY,))])
        assert await store.get_session("s") is not None
    finally:
        await store.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if made.returncode:
        pytest.skip("no right to mount a file system")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def remount(folder: Path, option: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{option}", str(folder)], check=True)


async def test_a_full_disk_loses_nothing_and_heals(small_disk: Path) -> None:
    store = SqliteStore(small_disk / "postdoc")
    await store.open()
    try:
        await store.commit([lambda tx: tx.insert_session(SessionRow(id="s", owner="ada"))])
        acked = 0
        big = Draft(AgentStatus(message="y" * 20_000))

        async def write_until_it_fails() -> None:
            nonlocal acked
            for _ in range(1000):
                (outcome,) = await store.commit([Append("s", (big,))])
                assert outcome.error is None
                acked += 1

        with pytest.raises(PostdocError) as full:
            await write_until_it_fails()
        assert full.value.code == "storage_full"
        assert full.value.retryable
        assert "safe" in full.value.message
        assert acked > 10
        assert len(await store.read_events("s")) == acked
        with pytest.raises(PostdocError):
            await store.commit([lambda tx: tx.append("s", big, big)])
        with pytest.raises(PostdocError) as blob:
            await store.write_blob(b"z" * 3_000_000)
        assert blob.value.code == "storage_full"
        assert not [p for p in (small_disk / "postdoc" / "blobs").rglob("*") if p.is_file()]
        remount(small_disk, "size=8m")
        await store.commit([Append("s", (BODY,))])
        assert [e.seq for e in await store.read_events("s")] == list(range(1, acked + 2))
    finally:
        await store.close()


async def test_a_read_only_directory_is_named(small_disk: Path) -> None:
    await fill(small_disk / "postdoc")
    remount(small_disk, "ro")
    error = await open_error(SqliteStore(small_disk / "postdoc"))
    assert "cannot be written" in error.message
    assert "data_dir" in error.next
    assert "cannot be written" in (await open_error(SqliteStore(small_disk / "new"))).message


def test_a_limit_on_the_file_size_is_a_full_disk(data_dir: Path) -> None:
    done = run_child(
        """
        import asyncio, resource, sys
        from jupyterlab_postdoc.errors import PostdocError
        from jupyterlab_postdoc.log import EventLog
        from jupyterlab_postdoc.protocol import AgentStatus
        from jupyterlab_postdoc.store.base import SessionRow
        from jupyterlab_postdoc.store.sqlite import SqliteStore
        async def main():
            log = EventLog(SqliteStore(sys.argv[1])); await log.start()
            await log.write(lambda tx: tx.insert_session(SessionRow(id="s", owner="a")))
            resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, resource.RLIM_INFINITY))
            acked = 0
            async def writer():
                nonlocal acked
                try:
                    while True:
                        await log.append("s", AgentStatus(message="y" * 5000)); acked += 1
                except PostdocError as error:
                    return error.code
            assert set(await asyncio.gather(*(writer() for _ in range(20)))) == {"storage_full"}
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            await log.append("s", AgentStatus(message="space is back"))
            events = await log.read("s", limit=10_000)
            assert [e.seq for e in events] == list(range(1, acked + 2)), (acked, len(events))
            await log.stop()
            print("ok", acked)
        asyncio.run(main())
        """,
        str(data_dir),
    )
    assert done.stdout.startswith("ok"), done.stderr


async def test_a_locked_database_is_told_and_heals(data_dir: Path) -> None:
    await fill(data_dir)
    store = SqliteStore(data_dir, busy_s=0.2)
    await store.open()
    other = sqlite3.connect(data_dir / "postdoc.db", isolation_level=None)
    try:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(PostdocError, match="locked") as locked:
            await store.commit([Append("s", (BODY,))])
        assert locked.value.retryable
        assert len(await store.read_events("s")) == 1, "reading goes on"
        other.execute("ROLLBACK")
        (outcome,) = await store.commit([Append("s", (BODY,))])
        assert outcome.value[0].seq == 2
    finally:
        other.close()
        await store.close()


async def test_a_network_disk_gets_one_server_and_no_shared_memory(data_dir: Path) -> None:
    store = SqliteStore(data_dir, network=True)
    await store.open()
    try:
        health = await store.health()
        assert health["journal"] == "truncate"
        assert "network disk" in health["warnings"][0]
        await store.commit([lambda tx: tx.insert_session(SessionRow(id="s", owner="ada"))])
        await store.commit([Append("s", (BODY,))])
        assert len(await store.read_events("s")) == 1
        assert not list(data_dir.glob("*-shm"))
        done = run_child(
            """
            import asyncio, sys
            from jupyterlab_postdoc.errors import PostdocError
            from jupyterlab_postdoc.store.sqlite import SqliteStore
            try:
                asyncio.run(SqliteStore(sys.argv[1], network=True).open())
            except PostdocError as error:
                print(error.code, error.message)
            """,
            str(data_dir),
        )
        assert done.stdout.startswith("busy Another server"), done.stderr
    finally:
        await store.close()
    again = SqliteStore(data_dir, network=True)
    await again.open()
    await again.close()


def test_local_disks_are_no_network_disks(tmp_path: Path) -> None:
    assert network_type(tmp_path) is None


@pytest.mark.parametrize("ending", ["return", "raise KeyError('x')", "sys.exit(3)"])
def test_the_interpreter_ends_without_close(data_dir: Path, ending: str) -> None:
    done = run_child(
        f"""
        import asyncio, sys
        from jupyterlab_postdoc.store.sqlite import SqliteStore
        kept = []
        async def main():
            store = SqliteStore(sys.argv[1]); kept.append(store)
            await store.open()
            {ending}
        asyncio.run(main())
        """,
        str(data_dir),
        timeout=10,
    )
    assert done.returncode in {0, 1, 3}, done.stderr


async def test_old_blobs_go_with_their_last_session(store: SqliteStore) -> None:
    from jupyterlab_postdoc.store.base import BlobRow

    for id in ("a", "b"):
        await store.commit([lambda tx, id=id: tx.insert_session(SessionRow(id=id, owner="ada"))])
    digest = await store.write_blob(b"figure")
    for id in ("a", "b"):
        row = BlobRow(hash=digest, session=id, media_type="image/png", size=6)
        await store.commit([lambda tx, row=row: tx.put_blob(row)])
    file = store._blob_path(digest)
    os.utime(file, (1, 1))
    await store.commit([lambda tx: tx.delete_session("a")])
    assert await store.read_blob(digest) == b"figure"
    await store.commit([lambda tx: tx.delete_session("b")])
    assert not file.exists()


def test_importing_the_core_is_light() -> None:
    done = run_child(
        """
        import sys
        import jupyterlab_postdoc.log, jupyterlab_postdoc.dispatch.local, jupyterlab_postdoc.store.sqlite
        heavy = {"marimo", "numpy", "pandas", "jinja2", "jsonschema", "yaml", "tornado", "jupyter_server", "httpx"}
        print(sorted(heavy & set(sys.modules)))
        """
    )
    assert done.stdout.strip() == "[]", done.stderr


async def test_a_closed_store_answers_in_words(data_dir: Path) -> None:
    store = SqliteStore(data_dir)
    with pytest.raises(PostdocError, match="closed"):
        await store.get_session("s")
    with pytest.raises(PostdocError, match="closed"):
        await store.commit([Append("s", (BODY,))])
    await store.open()
    await asyncio.gather(store.close(), store.close())
