"""Looking back: what a guild or a member used, by time, by member and by model, and the ledger's own rows."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from db.database import Database
from domain.quota import Subject, Unit, bucket

LEDGER_COLUMNS = (
    "id", "at", "kind", "job_id", "channel_id", "user_id", "unit", "bucket", "held", "used", "granted", "author_id",
)  # fmt: skip
"""Of an exported row."""

BY_DAY = (
    "WITH days AS (SELECT key, value AS first, lead(value) OVER (ORDER BY key) AS following FROM json_each(?))"
    " SELECT key, (SELECT coalesce(sum(used), 0) FROM balances"
    " WHERE guild_id = ? AND subject = ? AND subject_id = ? AND unit = ? AND bucket >= first AND bucket < following)"
    " FROM days WHERE following IS NOT NULL ORDER BY key"
)
"""The first parameter is a JSON list of buckets: the first of each day, and after the last day the one that follows."""
BY_MEMBER = (
    "SELECT subject_id, sum(used) AS total FROM balances INDEXED BY balances_in_time"
    " WHERE guild_id = ? AND subject = 'member' AND unit = 'images' AND bucket >= ? AND used > 0"
    " GROUP BY subject_id ORDER BY total DESC, subject_id LIMIT ?"
)
BY_MODEL = (
    "SELECT json_extract(jobs.request, '$.model') AS model, count(*) AS total FROM jobs INDEXED BY jobs_in_time"
    " JOIN tasks ON tasks.job_id = jobs.id AND tasks.state = 'done'"
    " WHERE jobs.guild_id = ? AND jobs.created_at >= ? AND (? IS NULL OR jobs.user_id = ?)"
    " GROUP BY model ORDER BY total DESC, model LIMIT ?"
)
ENTRIES = (
    f"SELECT {', '.join(LEDGER_COLUMNS)} FROM ledger INDEXED BY ledger_of_guild"
    " WHERE guild_id = ? AND at >= ? ORDER BY at DESC, id DESC LIMIT ?"
)


@dataclass(frozen=True, slots=True)
class Count:
    """How much of something: of a bucket, a member, a model."""

    key: int | str
    amount: int


class ReportStore:
    """Reads alone. Sums are made by SQLite: a busy month is thousands of rows."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def by_day(
        self, guild_id: int, subject: Subject, subject_id: int, unit: Unit, midnights: Sequence[datetime]
    ) -> list[int]:
        """What was used between each moment and the next; days of any time zone begin on whole buckets."""
        buckets = json.dumps([bucket(midnight) for midnight in midnights])
        days = await self._counts(BY_DAY, (buckets, guild_id, subject.value, subject_id, unit.value))
        return [day.amount for day in days]

    async def by_member(self, guild_id: int, since: datetime, most: int) -> list[Count]:
        """Pictures of the members who had most."""
        return await self._counts(BY_MEMBER, (guild_id, bucket(since), most))

    async def by_model(self, guild_id: int, user_id: int | None, since: datetime, most: int) -> list[Count]:
        """Pictures made by each model, for everybody in the guild or one member."""
        at = int(since.timestamp() * 1000)
        return await self._counts(BY_MODEL, (guild_id, at, user_id, user_id, most))

    async def entries(self, guild_id: int, since: datetime, most: int) -> list[tuple[object, ...]]:
        """The guild's newest ledger rows, newest first, as LEDGER_COLUMNS says."""
        async with self._database.reading() as reader:
            rows = await reader.execute_fetchall(ENTRIES, (guild_id, int(since.timestamp() * 1000), most))
            return [tuple(row) for row in rows]

    async def _counts(self, query: str, values: Sequence[object]) -> list[Count]:
        async with self._database.reading() as reader:
            return [Count(row[0], row[1]) for row in await reader.execute_fetchall(query, values)]
