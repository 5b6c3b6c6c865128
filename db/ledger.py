"""The quota ledger: append-only entries, and balances that triggers derive from them.

An entry belongs to the bucket (quarter of an hour) in which its job reserved, so that a settlement or a release
after midnight still counts for the day before.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import aiosqlite

from db.database import Database, Transaction
from domain.job import Place
from domain.quota import Amounts, Subject, Unit, bucket

Kind = Literal["reserve", "settle", "release", "grant", "correct"]

SUM_SINCE = (
    "SELECT coalesce(sum(held), 0) AS held, coalesce(sum(used), 0) AS used,"
    " coalesce(sum(granted), 0) AS granted,"
    " min(CASE WHEN used > 0 OR held > 0 THEN bucket END) AS oldest FROM balances"
    " WHERE guild_id = ? AND subject = ? AND subject_id = ? AND unit = ? AND bucket >= ?"
)
"""A subject's sums since a bucket: what every limit asks."""


@dataclass(frozen=True, slots=True)
class Balance:
    """What a subject has used, holds and was granted since a moment."""

    used: int
    held: int
    granted: int
    oldest_bucket: int | None
    """The first bucket with anything in it."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A balance that the entries do not add up to."""

    guild_id: int
    subject: str
    subject_id: int
    unit: str
    bucket: int
    stored: tuple[int, int, int]
    """Held, used and granted as stored …"""
    derived: tuple[int, int, int]
    """… and as the entries add up."""


class LedgerStore:
    """Entries and balances. Every writing method wants an open transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def reserve(self, tx: Transaction, job_id: str, place: Place, amounts: Amounts, at: datetime) -> None:
        """Hold the amounts for a job."""
        await _append(
            tx,
            [
                _Entry("reserve", job_id, place, unit, bucket(at), held=amounts.of(unit), used=0)
                for unit in Unit
                if amounts.of(unit)
            ],
            at,
        )

    async def settle(self, tx: Transaction, job_id: str, place: Place, actual: Amounts, at: datetime) -> None:
        """End the job's reservations: what was used counts in the window they came from, the rest is free.

        Settling a job that holds nothing (any more) changes nothing.
        """
        rows = await tx.execute_fetchall(
            "SELECT unit, bucket, sum(held) AS held FROM ledger WHERE job_id = ?"
            " GROUP BY unit, bucket HAVING sum(held) > 0",
            (job_id,),
        )
        entries = []
        for row in rows:
            unit = Unit(row["unit"])
            used = actual.of(unit)
            kind: Kind = "settle" if used else "release"
            entries.append(_Entry(kind, job_id, place, unit, row["bucket"], held=-row["held"], used=used))
        await _append(tx, entries, at)

    async def held(self, connection: aiosqlite.Connection, job_id: str, unit: Unit) -> int:
        """What a job holds of a unit now."""
        async with connection.execute(
            "SELECT coalesce(sum(held), 0) FROM ledger WHERE job_id = ? AND unit = ?", (job_id, unit.value)
        ) as cursor:
            row = await cursor.fetchone()
        assert row is not None
        return int(row[0])

    async def grant(self, tx: Transaction, place: Place, unit: Unit, amount: int, author_id: int, at: datetime) -> None:
        """Give a member ``amount`` on top of what rules allow, in the windows that hold ``at``."""
        entry = _Entry("grant", None, place, unit, bucket(at), held=0, used=0, granted=amount, author_id=author_id)
        await _append(tx, [entry], at)

    async def correct(self, tx: Transaction, job_id: str, place: Place, unit: Unit, used: int, at: datetime) -> None:
        """Add ``used`` (or take it away, where negative) to what a settled job counted.

        Raises ValueError where more would be taken away than the job counted.
        """
        counted, where = await self._counted(tx, job_id, unit)
        if counted + used < 0:
            raise ValueError(f"job {job_id} counted {counted} {unit.value}; {-used} cannot be taken away")
        where = where if where is not None else bucket(at)
        await _append(tx, [_Entry("correct", job_id, place, unit, where, held=0, used=used)], at)

    async def counted(self, connection: aiosqlite.Connection, job_id: str, unit: Unit) -> int:
        """What a job has counted of a unit, corrections included."""
        return (await self._counted(connection, job_id, unit))[0]

    async def correction(self, connection: aiosqlite.Connection, job_id: str, unit: Unit) -> int:
        """What corrections have added to what a job counts of a unit, or (below zero) taken from it."""
        async with connection.execute(
            "SELECT coalesce(sum(used), 0) FROM ledger WHERE job_id = ? AND unit = ? AND kind = 'correct'",
            (job_id, unit.value),
        ) as cursor:
            row = await cursor.fetchone()
        assert row is not None
        return int(row[0])

    async def _counted(self, connection: aiosqlite.Connection, job_id: str, unit: Unit) -> tuple[int, int | None]:
        async with connection.execute(
            "SELECT coalesce(sum(used), 0) AS used, min(bucket) AS bucket FROM ledger WHERE job_id = ? AND unit = ?",
            (job_id, unit.value),
        ) as cursor:
            row = await cursor.fetchone()
        assert row is not None
        return row["used"], row["bucket"]

    async def balance(
        self,
        connection: aiosqlite.Connection,
        guild_id: int,
        subject: Subject,
        subject_id: int,
        unit: Unit,
        since: datetime,
    ) -> Balance:
        """The subject's sums since a moment (the beginning of a window)."""
        async with connection.execute(
            SUM_SINCE, (guild_id, subject.value, subject_id, unit.value, bucket(since))
        ) as cursor:
            row = await cursor.fetchone()
        assert row is not None
        return Balance(row["used"], row["held"], row["granted"], row["oldest"])

    async def members(
        self, connection: aiosqlite.Connection, guild_id: int, unit: Unit, since: datetime, limit: int
    ) -> tuple[int, int]:
        """How many members have used or hold something since a moment, and how many at least ``limit``."""
        async with connection.execute(
            "SELECT count(*), coalesce(sum(total >= ?), 0) FROM (SELECT sum(held + used) AS total FROM balances"
            " WHERE guild_id = ? AND subject = 'member' AND unit = ? AND bucket >= ?"
            " GROUP BY subject_id HAVING total > 0)",
            (limit, guild_id, unit.value, bucket(since)),
        ) as cursor:
            row = await cursor.fetchone()
        assert row is not None
        return row[0], row[1]

    async def check(self) -> list[Difference]:
        """Add the whole ledger up again and compare it with the balances; empty when all is well."""
        async with self._database.reading() as reader:
            stored = await _sums(
                reader,
                "SELECT guild_id, subject, subject_id, unit, bucket, held, used, granted FROM balances",
            )
            derived = await _sums(reader, _DERIVED)
        nothing = (0, 0, 0)
        return [
            Difference(*key, stored=stored.get(key, nothing), derived=derived.get(key, nothing))
            for key in sorted(stored.keys() | derived.keys())
            if stored.get(key, nothing) != derived.get(key, nothing)
        ]


_Key = tuple[int, str, int, str, int]

_DERIVED = """
WITH shared AS (SELECT * FROM ledger WHERE kind <> 'grant')
SELECT guild_id, 'member' AS subject, user_id AS subject_id, unit, bucket,
       sum(held) AS held, sum(used) AS used, sum(granted) AS granted
FROM ledger GROUP BY guild_id, user_id, unit, bucket
UNION ALL
SELECT guild_id, 'channel', channel_id, unit, bucket, sum(held), sum(used), 0
FROM shared GROUP BY guild_id, channel_id, unit, bucket
UNION ALL
SELECT guild_id, 'guild', guild_id, unit, bucket, sum(held), sum(used), 0
FROM shared GROUP BY guild_id, unit, bucket
UNION ALL
SELECT 0, 'operator', 0, unit, bucket, sum(held), sum(used), 0
FROM shared GROUP BY unit, bucket
"""


@dataclass(frozen=True, slots=True)
class _Entry:
    kind: Kind
    job_id: str | None
    place: Place
    unit: Unit
    bucket: int
    held: int
    used: int
    granted: int = 0
    author_id: int | None = None


async def _append(tx: Transaction, entries: Sequence[_Entry], at: datetime) -> None:
    await tx.executemany(
        "INSERT INTO ledger (at, kind, job_id, guild_id, channel_id, user_id, unit, bucket, held, used, granted,"
        " author_id) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (
                int(at.timestamp() * 1000),
                entry.kind,
                entry.job_id,
                entry.place.guild_id,
                entry.place.channel_id,
                entry.place.user_id,
                entry.unit.value,
                entry.bucket,
                entry.held,
                entry.used,
                entry.granted,
                entry.author_id,
            )
            for entry in entries
        ],
    )


async def _sums(reader: aiosqlite.Connection, query: str) -> dict[_Key, tuple[int, int, int]]:
    rows: Iterable[aiosqlite.Row] = await reader.execute_fetchall(query)
    return {
        (row["guild_id"], row["subject"], row["subject_id"], row["unit"], row["bucket"]): (
            row["held"],
            row["used"],
            row["granted"],
        )
        for row in rows
    }
