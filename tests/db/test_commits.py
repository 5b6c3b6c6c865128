"""What many want to write at once is committed together, and is each one's own all the same."""

import asyncio
import contextvars
import sqlite3
import threading
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiosqlite
import pytest

from db.database import Database


async def boots(database: Database) -> list[int]:
    async def read(reader: aiosqlite.Connection) -> list[int]:
        return [row["at"] for row in await reader.execute_fetchall("SELECT at FROM boots ORDER BY number")]

    return await database.read(read)


async def insert(tx: aiosqlite.Connection, at: int) -> int:
    await tx.execute("INSERT INTO boots (at) VALUES (?)", (at,))
    return at


@asynccontextmanager
async def busy(database: Database) -> AsyncIterator[None]:
    """Meanwhile the writer is taken: whatever is to be written waits."""
    async with database.transaction():
        yield


@asynccontextmanager
async def commits(database: Database) -> AsyncIterator[list[str]]:
    """The commits that SQLite is told of meanwhile."""
    seen: list[str] = []
    await database._writer.set_trace_callback(
        lambda statement: seen.append(statement) if statement == "COMMIT" else None
    )
    yield seen


async def all_waiting(*work: Coroutine[Any, Any, Any]) -> list[asyncio.Task[Any]]:
    """The tasks, each of which has got as far as it gets without the writer."""
    tasks = [asyncio.create_task(one) for one in work]
    await asyncio.sleep(0)
    return tasks


async def test_fifty_who_write_at_once_wait_for_one_commit(database: Database) -> None:
    async with busy(database):
        tasks = await all_waiting(*(database.write(lambda tx, at=at: insert(tx, at)) for at in range(50)))  # type: ignore[misc]
    async with commits(database) as seen:
        assert await asyncio.gather(*tasks) == list(range(50))
    assert seen == ["COMMIT"]
    assert await boots(database) == list(range(50))


async def test_what_breaks_takes_nothing_of_its_neighbours_with_it(database: Database) -> None:
    async def breaks(tx: aiosqlite.Connection) -> None:
        await insert(tx, 2)
        raise LookupError("of its own")

    async with busy(database):
        one, two, three = await all_waiting(
            database.write(lambda tx: insert(tx, 1)), database.write(breaks), database.write(lambda tx: insert(tx, 3))
        )
    assert (await one, await three) == (1, 3)
    with pytest.raises(LookupError, match="of its own"):
        await two
    assert await boots(database) == [1, 3]


async def test_each_sees_what_those_before_it_wrote(database: Database) -> None:
    async def add_one(tx: aiosqlite.Connection) -> None:
        (row,) = await tx.execute_fetchall("SELECT count(*) FROM boots")
        await insert(tx, row[0])

    await asyncio.gather(*(database.write(add_one) for _ in range(20)))
    assert await boots(database) == list(range(20))


async def test_a_transaction_that_sqlite_gives_up_is_told_to_all_who_wait(database: Database) -> None:
    async def full(tx: aiosqlite.Connection) -> None:
        # What SQLite does by itself where the disk is full: https://www.sqlite.org/lang_transaction.html
        await tx.rollback()
        raise sqlite3.OperationalError("database or disk is full")

    async with busy(database):
        tasks = await all_waiting(database.write(lambda tx: insert(tx, 1)), database.write(full))
    for task in tasks:
        with pytest.raises(sqlite3.OperationalError, match="full"):
            await task
    assert await boots(database) == []
    assert await database.write(lambda tx: insert(tx, 2)) == 2


async def test_a_commit_that_fails_is_told_to_all_who_wait(database: Database) -> None:
    async def orphan(tx: aiosqlite.Connection) -> None:
        await tx.execute("PRAGMA defer_foreign_keys = ON")
        await tx.execute(
            "INSERT INTO tasks (job_id, position, seed, submission_id, state) VALUES ('nobody', 0, 1, 'x', 'pending')"
        )

    async with busy(database):
        tasks = await all_waiting(database.write(lambda tx: insert(tx, 1)), database.write(orphan))
    for task in tasks:
        with pytest.raises(sqlite3.IntegrityError):
            await task
    assert await boots(database) == []


async def test_work_that_waits_for_anything_but_its_connection_is_refused_and_not_kept(database: Database) -> None:
    async def waits(tx: aiosqlite.Connection) -> None:
        await insert(tx, 1)
        await asyncio.sleep(0)

    with pytest.raises(RuntimeError, match="waits for something else"):
        await database.write(waits)
    assert await boots(database) == []
    assert await database.write(lambda tx: insert(tx, 2)) == 2


async def test_who_is_cancelled_before_it_is_begun_leaves_nothing(database: Database) -> None:
    async with busy(database):
        gone, stays = await all_waiting(
            database.write(lambda tx: insert(tx, 1)), database.write(lambda tx: insert(tx, 2))
        )
        gone.cancel()
    await asyncio.wait([gone, stays])
    assert gone.cancelled()
    assert await boots(database) == [2]


async def test_who_is_cancelled_in_the_middle_is_kept_whole(database: Database) -> None:
    loop = asyncio.get_running_loop()
    inside, go_on = asyncio.Event(), threading.Event()

    async def two_rows(tx: aiosqlite.Connection) -> None:
        await insert(tx, 1)
        loop.call_soon_threadsafe(inside.set)
        go_on.wait()
        await insert(tx, 2)

    task = asyncio.create_task(database.write(two_rows))
    await inside.wait()
    task.cancel()
    await asyncio.wait([task])
    go_on.set()
    # The next in row: by then the other is over.
    await database.write(lambda tx: insert(tx, 3))
    assert await boots(database) == [1, 2, 3]


async def test_the_database_is_not_closed_before_what_was_begun_is_kept(tmp_path: Path) -> None:
    async with Database.open(tmp_path / "easel.db") as database:
        (task,) = await all_waiting(database.write(lambda tx: insert(tx, 1)))
    assert await task == 1


async def test_nothing_of_it_runs_on_the_event_loops_thread(database: Database) -> None:
    async def whose(connection: aiosqlite.Connection) -> int:
        await connection.execute_fetchall("SELECT 1")
        return threading.get_ident()

    assert threading.get_ident() not in {await database.write(whose), await database.read(whose)}


async def test_log_lines_inside_name_the_job_of_who_asked(database: Database) -> None:
    job: contextvars.ContextVar[str] = contextvars.ContextVar("job")
    job.set("abc")

    async def named(_connection: aiosqlite.Connection) -> str:
        return job.get()

    assert (await database.write(named), await database.read(named)) == ("abc", "abc")


async def test_a_reader_is_free_again_after_what_broke(database: Database) -> None:
    async def breaks(_reader: aiosqlite.Connection) -> None:
        raise LookupError

    for _ in range(5):
        with pytest.raises(LookupError):
            await database.read(breaks)
    assert await boots(database) == []
