"""Transactions that nothing can leave open, migrations that happen whole, backups of a file in use."""

import asyncio
import itertools
import re
import sqlite3
from pathlib import Path

import aiosqlite
import pytest

from db.database import SCHEMA_FOLDER, Database, SchemaError, backup
from db.folder import exclusive
from domain.errors import Code, OperatorError
from tests.building import cancelled_at


async def boots(database: Database) -> list[int]:
    async with database.reading() as reader:
        return [row["at"] for row in await reader.execute_fetchall("SELECT at FROM boots ORDER BY number")]


async def insert(tx: aiosqlite.Connection, at: int) -> None:
    await tx.execute("INSERT INTO boots (at) VALUES (?)", (at,))


# Transactions.


async def test_a_transaction_is_kept_whole_or_not_at_all(database: Database) -> None:
    async with database.transaction() as tx:
        await insert(tx, 1)
    with pytest.raises(RuntimeError):  # noqa: PT012
        async with database.transaction() as tx:
            await insert(tx, 2)
            raise RuntimeError
    assert await boots(database) == [1]


async def test_two_coroutines_never_share_a_transaction(database: Database) -> None:
    inside = asyncio.Event()
    go_on = asyncio.Event()

    async def fails() -> None:
        async with database.transaction() as tx:
            await insert(tx, 1)
            inside.set()
            await go_on.wait()
            raise RuntimeError

    async def succeeds() -> None:
        await inside.wait()
        async with database.transaction() as tx:
            await insert(tx, 2)

    failing, succeeding = asyncio.create_task(fails()), asyncio.create_task(succeeds())
    await inside.wait()
    go_on.set()
    with pytest.raises(RuntimeError):
        await failing
    await succeeding
    assert await boots(database) == [2]


async def test_many_transactions_at_once(database: Database) -> None:
    async def add_one() -> None:
        async with database.transaction() as tx:
            (row,) = await tx.execute_fetchall("SELECT count(*) FROM boots")
            await asyncio.sleep(0)
            await insert(tx, row[0])

    await asyncio.gather(*(add_one() for _ in range(50)))
    assert await boots(database) == list(range(50))


async def test_a_transaction_cancelled_anywhere_leaves_nothing_open_and_nothing_lost(database: Database) -> None:
    kept = []
    for attempt in itertools.count(1):

        async def two_rows(attempt: int = attempt) -> None:
            async with database.transaction() as tx:
                await insert(tx, attempt)
                await insert(tx, attempt)

        reached = await cancelled_at(attempt, two_rows())
        async with database.transaction() as tx:
            (row,) = await tx.execute_fetchall("SELECT count(*) FROM boots WHERE at = ?", (attempt,))
        kept.append(row[0])
        if not reached:
            break
    # BEGIN, two INSERTs; from the COMMIT on it is kept.
    assert kept == [0, 0, 0, 2, 2]


@pytest.mark.parametrize("cancellations", [1, 2, 3])
async def test_cancelled_while_its_commit_is_under_way(database: Database, cancellations: int) -> None:
    at_the_end = asyncio.Event()

    async def work() -> None:
        async with database.transaction() as tx:
            await insert(tx, 1)
            at_the_end.set()

    task = asyncio.create_task(work())
    await at_the_end.wait()
    for _ in range(cancellations):
        task.cancel()
        await asyncio.sleep(0)
    await asyncio.wait([task])
    async with database.transaction() as tx:
        await insert(tx, 2)
    assert await boots(database) == [1, 2]


async def test_a_failed_commit_is_rolled_back(database: Database) -> None:
    with pytest.raises(sqlite3.IntegrityError):  # noqa: PT012
        async with database.transaction() as tx:
            await tx.execute("PRAGMA defer_foreign_keys = ON")
            await insert(tx, 1)
            await tx.execute(
                "INSERT INTO tasks (job_id, position, seed, submission_id, state) VALUES ('none', 0, 0, '', 'pending')"
            )
    assert await boots(database) == []
    async with database.transaction() as tx:
        await insert(tx, 2)
    assert await boots(database) == [2]


# Reading.


async def test_readers_only_read(database: Database) -> None:
    async with database.reading() as reader:
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            await reader.execute("INSERT INTO boots (at) VALUES (1)")


async def test_readers_do_not_see_what_is_not_committed(database: Database) -> None:
    async with database.transaction() as tx:
        await insert(tx, 1)
        assert await boots(database) == []
    assert await boots(database) == [1]


async def test_a_reader_whose_task_was_cancelled_is_not_stuck_in_the_past(database: Database) -> None:
    async with database.transaction() as tx:
        await tx.executemany("INSERT INTO boots (at) VALUES (?)", [(number,) for number in range(1000)])

    async def look() -> None:
        async with database.reading() as reader, reader.execute("SELECT * FROM boots") as cursor:
            await cursor.fetchone()

    for number in itertools.count(1):
        reached = await cancelled_at(number, look())
        async with database.transaction() as tx:
            await insert(tx, 1000)
        assert len(await boots(database)) == 1000 + number
        if not reached:
            break
    assert number > 3  # execute, fetch, close


# How the file is opened.


async def test_durable_and_strict(database: Database) -> None:
    async with database.transaction() as tx:
        for pragma, value in (("journal_mode", "wal"), ("synchronous", 2), ("foreign_keys", 1)):
            (row,) = await tx.execute_fetchall(f"PRAGMA {pragma}")
            assert row[0] == value, pragma
        tables = await tx.execute_fetchall("PRAGMA table_list")
        ours = [row for row in tables if row["schema"] == "main" and not row["name"].startswith("sqlite_")]
        assert len(ours) >= 8
        assert all(row["strict"] for row in ours)
        with pytest.raises(sqlite3.IntegrityError):
            await tx.execute("INSERT INTO boots (at) VALUES ('noon')")
        with pytest.raises(sqlite3.IntegrityError, match="FOREIGN KEY"):
            await tx.execute(
                "INSERT INTO tasks (job_id, position, seed, submission_id, state) VALUES ('none', 0, 0, '', 'pending')"
            )


async def test_each_start_has_a_number_of_its_own(tmp_path: Path) -> None:
    numbers = []
    for at in (5, 5, 3):
        async with Database.open(tmp_path / "easel.db") as database:
            numbers.append(await database.boot(at))
    assert numbers == [1, 2, 3]


async def test_a_sound_file_has_no_damage(database: Database) -> None:
    assert await database.damage() is None


async def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "easel.db").write_text("This is a letter, not a database." * 100)
    with pytest.raises(SchemaError) as refused:
        async with Database.open(tmp_path / "easel.db"):
            pass
    assert refused.value.code is Code.SETTING_INVALID
    assert "easel.db" in str(refused.value.parameters["problem"])


# Migrations.


def schema(folder: Path, *scripts: str) -> Path:
    folder.mkdir(exist_ok=True)
    for number, script in enumerate(scripts, start=1):
        (folder / f"{number:03}_step.sql").write_text(script)
    return folder


async def tables(path: Path) -> tuple[int, set[str]]:
    async with aiosqlite.connect(path) as connection:
        (version,) = await connection.execute_fetchall("PRAGMA user_version")
        rows = await connection.execute_fetchall("SELECT name FROM sqlite_schema WHERE type = 'table'")
    return version[0], {row[0] for row in rows}


async def test_migrations_go_on_from_where_the_file_is(tmp_path: Path) -> None:
    path = tmp_path / "easel.db"
    async with Database.open(path, schema(tmp_path / "schema", "CREATE TABLE a (x) STRICT;".replace("x", "x INT"))):
        pass
    folder = schema(tmp_path / "schema", "never read again", "CREATE TABLE b (x INT) STRICT;\n-- The end.")
    async with Database.open(path, folder):
        pass
    assert await tables(path) == (2, {"a", "b"})


@pytest.mark.parametrize(
    "broken",
    [
        "CREATE TABLE b (x INT);\nCREATE TABLE a (x INT);",
        "CREATE TABLE b (x INT);\nINSERT INTO nowhere VALUES (1);",
        "CREATE TABLE b (x INT);\nCREATE TABLE c (x INT",
        "CREATE TABLE b (x INT);\nCREATE TABLE c (x INT)\nCREATE TABLE d (x INT)",
    ],
)
async def test_a_migration_that_fails_leaves_the_old_version(tmp_path: Path, broken: str) -> None:
    path = tmp_path / "easel.db"
    folder = schema(tmp_path / "schema", "CREATE TABLE a (x INT);", broken)
    with pytest.raises(sqlite3.Error):
        async with Database.open(path, folder):
            pass
    assert await tables(path) == (1, {"a"})


async def test_a_migration_may_hold_triggers_and_a_last_statement_without_a_semicolon(tmp_path: Path) -> None:
    script = (
        "CREATE TABLE a (x INT);\nCREATE TRIGGER t AFTER INSERT ON a\nBEGIN\n    DELETE FROM a;\n    SELECT 1;\nEND;\n"
        "CREATE TABLE b (x INT)"
    )
    async with Database.open(tmp_path / "easel.db", schema(tmp_path / "schema", script)):
        pass
    assert await tables(tmp_path / "easel.db") == (1, {"a", "b"})


async def test_a_newer_file_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "easel.db"
    async with Database.open(path):
        pass
    async with aiosqlite.connect(path) as connection:
        await connection.execute("PRAGMA user_version = 999")
    before = await tables(path)
    with pytest.raises(SchemaError, match="999") as refused:
        async with Database.open(path):
            pass
    assert isinstance(refused.value, OperatorError)
    assert await tables(path) == before


async def test_a_missing_migration_is_told(tmp_path: Path) -> None:
    folder = schema(tmp_path / "schema", "CREATE TABLE a (x INT);", "CREATE TABLE b (x INT);")
    (folder / "001_step.sql").unlink()
    with pytest.raises(SchemaError, match="migration 1 is missing"):
        async with Database.open(tmp_path / "easel.db", folder):
            pass


def test_migrations_never_end_their_transaction() -> None:
    for path in SCHEMA_FOLDER.glob("*.sql"):
        code = re.sub(r"--.*", "", path.read_text())
        assert not re.search(r"\b(COMMIT|ROLLBACK|VACUUM|ATTACH|PRAGMA)\b", code, re.IGNORECASE), path.name


# Backups.


async def test_a_backup_of_a_database_in_use_can_be_restored(database: Database, tmp_path: Path) -> None:
    stop = asyncio.Event()

    async def write() -> int:
        written = 0
        while not stop.is_set():
            async with database.transaction() as tx:
                await insert(tx, written)
                await insert(tx, written)
            written += 1
        return written

    writing = asyncio.create_task(write())
    while len(await boots(database)) < 20:
        pass
    await backup(database.path, tmp_path / "copy.db")
    stop.set()
    assert await writing >= 10
    assert sorted(path.name for path in tmp_path.glob("copy*")) == ["copy.db"]
    # The drill: the copy takes the database's place and is opened like it.
    (tmp_path / "restored").mkdir()
    (tmp_path / "copy.db").rename(tmp_path / "restored" / "easel.db")
    async with Database.open(tmp_path / "restored" / "easel.db") as restored:
        kept = await boots(restored)
        assert await restored.damage() is None
        assert len(kept) >= 20
        assert kept == sorted([*range(len(kept) // 2)] * 2)
        await restored.boot(1)


async def test_a_backup_never_overwrites_and_never_invents(database: Database, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("mine")
    with pytest.raises(FileExistsError):
        await backup(database.path, tmp_path / "taken")
    assert (tmp_path / "taken").read_text() == "mine"
    with pytest.raises(FileNotFoundError):
        await backup(tmp_path / "none.db", tmp_path / "copy.db")
    with pytest.raises(NotADirectoryError):
        await backup(database.path, tmp_path / "no" / "folder" / "copy.db")
    assert not list(tmp_path.glob("copy*"))


async def test_a_damaged_database_gives_no_backup(tmp_path: Path) -> None:
    path = tmp_path / "easel.db"
    async with Database.open(path) as database, database.transaction() as tx:
        await tx.executemany("INSERT INTO boots (at) VALUES (?)", [(number,) for number in range(5000)])
    content = bytearray(path.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 9000] = b"\xff" * 9000
    path.write_bytes(content)
    with pytest.raises(sqlite3.DatabaseError):
        await backup(path, tmp_path / "copy.db")
    assert not list(tmp_path.glob("copy*"))


# The folder.


def test_one_process_a_folder(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "data"
    with exclusive(folder) as path:
        assert path == folder / "easel.db"
        with pytest.raises(OperatorError) as refused, exclusive(folder):
            pass
        assert refused.value.code is Code.DATA_DIR_IN_USE
    with exclusive(folder):
        pass


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OperatorError) as refused, exclusive(tmp_path / "file" / "data"):
        pass
    assert refused.value.code is Code.SETTING_INVALID
    assert refused.value.parameters["setting"] == "EASEL_DATA_DIR"
