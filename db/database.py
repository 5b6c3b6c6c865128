"""One SQLite file: a locked writer, readers of their own, numbered migrations, online backup.

What aiosqlite does not do by itself is done here: two coroutines on one connection share a transaction, and
a cancelled task leaves it open. So there is one writer behind a lock, every transaction begins IMMEDIATE, and
its end is shielded from cancellation.

What members wait for goes through ``read`` and ``write``: all statements at one visit to the connection's thread.
"""

import asyncio
import contextvars
import sqlite3
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import aiosqlite

from db.commits import Part, commit_together
from db.connection import ThreadConnection
from domain.errors import Code, OperatorError

T = TypeVar("T")

SCHEMA_FOLDER = Path(__file__).parent / "schema"
BUSY_MILLISECONDS = 10_000
READERS = 2

Connection = aiosqlite.Connection
"""Any connection of ours: stores that only look take one."""

Transaction = aiosqlite.Connection
"""A connection inside BEGIN IMMEDIATE … COMMIT. Stores take it as proof that they are inside one."""


class SchemaError(OperatorError):
    """The file is no database of ours, or was written by a newer version, or a migration is missing."""

    def __init__(self, problem: str) -> None:
        super().__init__(Code.SETTING_INVALID, setting="EASEL_DATA_DIR", problem=problem)


class Database:
    """The open database. Made by ``Database.open``."""

    def __init__(self, path: Path, writer: ThreadConnection, readers: list[ThreadConnection]) -> None:
        self.path = path
        self._writer = writer
        self._writing = asyncio.Lock()
        self._readers: asyncio.LifoQueue[ThreadConnection] = asyncio.LifoQueue()
        for reader in readers:
            self._readers.put_nowait(reader)
        self._parts: list[Part] = []
        """What waits to be written, and for which a commit is on its way."""
        self._commits: set[asyncio.Task[None]] = set()

    @classmethod
    @asynccontextmanager
    async def open(cls, path: Path, schema: Path = SCHEMA_FOLDER, *, migrate: bool = True) -> AsyncIterator["Database"]:
        """Open (and make, and migrate) the file; closed at the end of the block.

        ``migrate=False`` is for who only looks: the schema stays as it is.
        Raises SchemaError where the file is newer than the schema folder, or no database.
        """
        async with AsyncExitStack() as stack:
            writer = await stack.enter_async_context(_connect(path))
            # FULL: a commit survives a power cut. The ledger is money.
            try:
                for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
                    await writer.execute(f"PRAGMA {pragma}")
            except sqlite3.DatabaseError as error:
                raise SchemaError(f"{path.name} cannot be opened: {error}") from error
            if migrate:
                await _migrate(writer, schema)
            readers = []
            for _ in range(READERS):
                reader = await stack.enter_async_context(_connect(path))
                await reader.execute("PRAGMA query_only = ON")
                readers.append(reader)
            database = cls(path, writer, readers)
            try:
                yield database
            finally:
                while database._commits:
                    await asyncio.wait(database._commits)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        """One write transaction: committed at the end of the block, rolled back on any exception."""
        # aiosqlite runs what it is given in order on one thread: even where a cancelled task no longer waits for
        # its commit or rollback, that is done before the next transaction begins.
        async with self._writing:
            try:
                await self._writer.execute("BEGIN IMMEDIATE")
                yield self._writer
                await asyncio.shield(self._writer.commit())
            except BaseException:
                await asyncio.shield(self._writer.rollback())
                raise

    async def write(self, work: Callable[[Transaction], Coroutine[Any, Any, T]]) -> T:
        """All of ``work`` or nothing, at one visit to the writer's thread; committed when this returns.

        What many ask for at once is committed together, one after the other: fifty members wait for one sync of the
        disk. ``work`` may await its transaction alone, and must not touch what belongs to the event loop. Where the
        caller is cancelled, it is not begun, or goes on to its end.
        """
        part = Part(work, asyncio.get_running_loop().create_future(), contextvars.copy_context())
        self._parts.append(part)
        if len(self._parts) == 1:
            commit = asyncio.create_task(self._commit_parts())
            self._commits.add(commit)
            commit.add_done_callback(self._commits.discard)
        result: T = await part.done
        return result

    async def _commit_parts(self) -> None:
        async with self._writing:
            parts, self._parts = self._parts, []
            try:
                await self._writer.at_one_visit(partial(commit_together, self._writer, parts))
            finally:
                for part in parts:
                    part.tell()

    async def read(self, work: Callable[[Connection], Coroutine[Any, Any, T]]) -> T:
        """What ``work`` reads at one visit to a reader's thread; the same holds for it."""
        reader = await self._readers.get()
        try:
            return await reader.at_one_visit(partial(work, reader))
        finally:
            # A cancelled caller's work is done before the reader's next.
            self._readers.put_nowait(reader)

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[aiosqlite.Connection]:
        """A connection that can only read; it sees what was committed when each statement began."""
        reader = await self._readers.get()
        try:
            yield reader
        except BaseException:
            # What a cancelled task began to read would hold the reader at what was committed then; aiosqlite's
            # thread lets go of it with the next thing it is given.
            await asyncio.shield(reader.rollback())
            raise
        finally:
            self._readers.put_nowait(reader)

    async def boot(self, at: int) -> int:
        """Count this start of the bot: the number fences what an earlier process left behind."""
        async with self.transaction() as tx:
            cursor = await tx.execute("INSERT INTO boots (at) VALUES (?) RETURNING number", (at,))
            row = await cursor.fetchone()
            assert row is not None
            return int(row["number"])

    async def damage(self) -> str | None:
        """What SQLite's own integrity check finds; None where the file is whole."""
        try:
            async with self.reading() as reader, reader.execute("PRAGMA integrity_check") as cursor:
                row = await cursor.fetchone()
        except sqlite3.DatabaseError as error:
            return str(error)
        assert row is not None
        return None if row[0] == "ok" else str(row[0])

    async def is_up_to_date(self, schema: Path = SCHEMA_FOLDER) -> bool:
        """Whether every migration of this version was applied."""
        async with self.reading() as reader, reader.execute("PRAGMA user_version") as cursor:
            row = await cursor.fetchone()
        assert row is not None
        return int(row[0]) == len(_migrations(schema))

    async def plan(self, statement: str) -> list[str]:
        """The query plan of a statement, for tests of hot queries. Parameters are taken as NULL."""
        async with self.reading() as reader:
            count = statement.count("?")
            rows = await reader.execute_fetchall(f"EXPLAIN QUERY PLAN {statement}", (None,) * count)
            return [row["detail"] for row in rows]


async def backup(source: Path, target: Path) -> None:
    """Copy the database while it is in use, check the copy, and only then give it its name.

    Raises FileNotFoundError where there is no database, FileExistsError where the target is taken,
    NotADirectoryError where its folder is not there, sqlite3.DatabaseError where the copy is damaged.
    """
    partial = _partial(source, target)
    try:
        async with _connect(source) as original, _connect(partial) as copy:
            await original.backup(copy)
            async with copy.execute("PRAGMA integrity_check") as cursor:
                row = await cursor.fetchone()
            if row is None or row[0] != "ok":
                raise sqlite3.DatabaseError(f"the copy is damaged: {row[0] if row else 'no answer'}")
        await asyncio.to_thread(partial.rename, target)
    finally:
        await asyncio.to_thread(partial.unlink, missing_ok=True)


def _partial(source: Path, target: Path) -> Path:
    if not source.is_file():
        raise FileNotFoundError(source)
    if target.exists():
        raise FileExistsError(target)
    if not target.absolute().parent.is_dir():
        raise NotADirectoryError(target.absolute().parent)
    partial = target.with_name(target.name + ".partial")
    partial.unlink(missing_ok=True)
    return partial


@asynccontextmanager
async def _connect(path: Path) -> AsyncIterator[ThreadConnection]:
    connection = ThreadConnection(path, BUSY_MILLISECONDS / 1000)
    async with connection:
        connection.row_factory = sqlite3.Row
        yield connection


async def _migrate(writer: aiosqlite.Connection, schema: Path) -> None:
    migrations = _migrations(schema)
    async with writer.execute("PRAGMA user_version") as cursor:
        row = await cursor.fetchone()
    assert row is not None
    version = int(row[0])
    if version > len(migrations):
        raise SchemaError(f"the database has schema {version}, this version of Easel knows {len(migrations)}")
    for number, script in enumerate(migrations[version:], start=version + 1):
        try:
            await writer.execute("BEGIN IMMEDIATE")
            for statement in _statements(script):
                await writer.execute(statement)
            await writer.execute(f"PRAGMA user_version = {number}")
            await writer.commit()
        except BaseException:
            await asyncio.shield(writer.rollback())
            raise


def _migrations(schema: Path) -> list[str]:
    scripts = []
    for number, path in enumerate(sorted(schema.glob("[0-9][0-9][0-9]_*.sql")), start=1):
        if int(path.name[:3]) != number:
            raise SchemaError(f"migration {number} is missing before {path.name}")
        scripts.append(path.read_text("utf-8"))
    return scripts


def _statements(script: str) -> Iterator[str]:
    # Not executescript: it commits whatever transaction is open.
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
    # Cut off in its middle, it is SQLite that says so; a comment does nothing.
    if statement.strip():
        yield statement
