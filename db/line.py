"""The line: what the fair order, the caps and the told waits need to know of jobs and of the order's clocks."""

from collections.abc import Mapping
from dataclasses import dataclass

import aiosqlite

from db.database import Transaction
from db.rows import OPEN, number, read_offers

WAITING_GUILDS = (
    "SELECT guild_id, finish_tag, virtual_time FROM fair_guilds"
    " WHERE guild_id IN (SELECT guild_id FROM jobs WHERE state = 'queued')"
)
"""However many guilds ever painted: this is read at every look at the line."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """What the fair order needs to know of a waiting job."""

    id: str
    guild_id: int
    user_id: int
    start_tag: float
    number: int
    cost: float
    """Estimated seconds."""
    not_before: int
    offers: tuple[str, ...]
    """Those that have not turned it down."""
    created_at: int = 0
    """Milliseconds since the epoch."""
    count: int = 1
    """Pictures."""


@dataclass(frozen=True, slots=True)
class Recent:
    """A job that came in lately."""

    guild_id: int
    user_id: int
    created_at: int
    """Milliseconds since the epoch."""
    seconds: float
    """Estimated."""


@dataclass(frozen=True, slots=True)
class FairClocks:
    """The clocks of the fair queue: one for the guilds and, for each guild, its last finish tag and own clock."""

    virtual_time: float
    guilds: Mapping[int, tuple[float, float]]
    """guild id -> (finish tag among guilds, virtual time among its members)."""


class Line:
    """Reads the line, and moves the clocks; part of ``db.jobs.JobStore``."""

    async def open_of(self, connection: aiosqlite.Connection, user_id: int, guild_id: int | None = None) -> int:
        """How many jobs of a member are waiting or under way, in a guild or in all."""
        query = f"SELECT count(*) FROM jobs INDEXED BY jobs_open WHERE user_id = ? AND state IN {OPEN}"
        if guild_id is None:
            return await number(connection, query, user_id)
        return await number(connection, f"{query} AND guild_id = ?", user_id, guild_id)

    async def waiting_in(self, connection: aiosqlite.Connection, guild_id: int) -> int:
        """How many jobs of a guild are waiting."""
        query = "SELECT count(*) FROM jobs INDEXED BY jobs_waiting WHERE guild_id = ? AND state = 'queued'"
        return await number(connection, query, guild_id)

    async def waiting_in_all(self, connection: aiosqlite.Connection) -> int:
        """How many jobs are waiting."""
        return await number(connection, "SELECT count(*) FROM jobs WHERE state = 'queued'")

    async def left(self, connection: aiosqlite.Connection) -> tuple[int, int, int]:
        """How many jobs are waiting, under way, and waiting to be posted."""
        under_way = "SELECT count(*) FROM jobs WHERE state IN ('submitting', 'accepted', 'running')"
        to_post = "SELECT count(*) FROM jobs WHERE state IN ('finished', 'posting')"
        return (
            await self.waiting_in_all(connection),
            await number(connection, under_way),
            await number(connection, to_post),
        )

    async def last_finish_tag(self, connection: aiosqlite.Connection, guild_id: int, user_id: int) -> float:
        """The member's highest finish tag in the guild; 0 for a newcomer."""
        async with connection.execute(
            "SELECT max(finish_tag) FROM jobs WHERE guild_id = ? AND user_id = ?", (guild_id, user_id)
        ) as cursor:
            row = await cursor.fetchone()
        return float(row[0]) if row and row[0] is not None else 0.0

    async def last_came_in(self, connection: aiosqlite.Connection, guild_id: int, user_id: int) -> int | None:
        """When the member's newest job in the guild came in (milliseconds); None where they have none."""
        async with connection.execute(
            "SELECT created_at FROM jobs WHERE guild_id = ? AND user_id = ? ORDER BY number DESC LIMIT 1",
            (guild_id, user_id),
        ) as cursor:
            row = await cursor.fetchone()
        return int(row[0]) if row else None

    # The fair queue.

    async def waiting(self, connection: aiosqlite.Connection) -> list[Waiting]:
        """All waiting jobs, in order within each guild."""
        rows = await connection.execute_fetchall(
            "SELECT id, guild_id, user_id, start_tag, number, estimated_seconds, not_before, offers, turned_down,"
            " created_at, coalesce(json_extract(request, '$.count'), 1) AS count"
            " FROM jobs WHERE state = 'queued' ORDER BY guild_id, start_tag, number"
        )
        return [
            Waiting(
                id=row["id"],
                guild_id=row["guild_id"],
                user_id=row["user_id"],
                start_tag=row["start_tag"],
                number=row["number"],
                cost=row["estimated_seconds"],
                not_before=row["not_before"],
                offers=read_offers(row["offers"], row["turned_down"]),
                created_at=row["created_at"],
                count=row["count"],
            )
            for row in rows
        ]

    async def line(self, connection: aiosqlite.Connection) -> tuple[list[Waiting], FairClocks]:
        """All waiting jobs, and the clocks that they are put in order by."""
        return await self.waiting(connection), await self.clocks(connection)

    async def under_way(self, connection: aiosqlite.Connection) -> dict[str, tuple[int, int]]:
        """Job -> its guild and member, for all jobs under way."""
        rows = await connection.execute_fetchall(
            "SELECT id, guild_id, user_id FROM jobs INDEXED BY jobs_under_way"
            " WHERE state IN ('submitting', 'accepted', 'running')"
        )
        return {row["id"]: (row["guild_id"], row["user_id"]) for row in rows}

    async def recent(self, connection: aiosqlite.Connection, since: int, most: int) -> list[Recent]:
        """The newest jobs that came in since a moment (milliseconds), newest first."""
        rows = await connection.execute_fetchall(
            "SELECT guild_id, user_id, created_at, estimated_seconds FROM"
            " (SELECT * FROM jobs ORDER BY number DESC LIMIT ?) WHERE created_at >= ?",
            (most, since),
        )
        return [Recent(*row) for row in rows]

    async def clocks(self, connection: aiosqlite.Connection) -> FairClocks:
        """The clocks of the fair queue, and those of the guilds that wait in it."""
        async with connection.execute("SELECT virtual_time FROM fair_clock WHERE id = 1") as cursor:
            row = await cursor.fetchone()
        assert row is not None
        rows = await connection.execute_fetchall(WAITING_GUILDS)
        return FairClocks(row[0], {guild_id: (finish, virtual) for guild_id, finish, virtual in rows})

    async def guild_clock(self, connection: aiosqlite.Connection, guild_id: int) -> float:
        """The virtual time among a guild's members."""
        async with connection.execute("SELECT virtual_time FROM fair_guilds WHERE guild_id = ?", (guild_id,)) as cursor:
            row = await cursor.fetchone()
        return float(row[0]) if row else 0.0

    async def advance_clocks(
        self, tx: Transaction, virtual_time: float, guild_id: int, guild_finish: float, guild_virtual: float
    ) -> None:
        """Note that a job of the guild was started."""
        await tx.execute("UPDATE fair_clock SET virtual_time = ? WHERE id = 1", (virtual_time,))
        await tx.execute(
            "INSERT INTO fair_guilds (guild_id, finish_tag, virtual_time) VALUES (?, ?, ?)"
            " ON CONFLICT (guild_id) DO UPDATE SET"
            " finish_tag = excluded.finish_tag, virtual_time = excluded.virtual_time",
            (guild_id, guild_finish, guild_virtual),
        )
