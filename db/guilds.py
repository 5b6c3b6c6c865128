"""Guilds' settings and quota rules."""

from datetime import datetime
from zoneinfo import ZoneInfo

import aiosqlite

from db.database import Database, Transaction
from domain.quota import Rule, Subject, Unit, Window


class GuildStore:
    """What a guild's admins have set."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def time_zone(self, connection: aiosqlite.Connection, guild_id: int) -> ZoneInfo:
        """The zone in which the guild's days begin; UTC unless set."""
        async with connection.execute("SELECT time_zone FROM guilds WHERE guild_id = ?", (guild_id,)) as cursor:
            row = await cursor.fetchone()
        return ZoneInfo(row["time_zone"] if row else "UTC")

    async def rules(self, connection: aiosqlite.Connection, guild_id: int) -> list[Rule]:
        """All rules of a guild, oldest first."""
        rows = await connection.execute_fetchall(
            "SELECT id, guild_id, subject, subject_id, unit, period, maximum FROM rules WHERE guild_id = ? ORDER BY id",
            (guild_id,),
        )
        return [
            Rule(
                id=row["id"],
                guild_id=row["guild_id"],
                subject=Subject(row["subject"]),
                subject_id=row["subject_id"],
                unit=Unit(row["unit"]),
                window=Window(row["period"]),
                limit=row["maximum"],
            )
            for row in rows
        ]

    async def list_rules(self, guild_id: int) -> list[Rule]:
        """All rules of a guild, oldest first, outside a transaction."""
        async with self._database.reading() as reader:
            return await self.rules(reader, guild_id)

    async def set_rule(self, tx: Transaction, rule: Rule, author_id: int, at: datetime) -> int:
        """Make the rule, or change the limit of the one that speaks of the same; returns its id."""
        async with tx.execute(
            "INSERT INTO rules"
            " (guild_id, subject, subject_id, unit, period, maximum, created_by, created_at)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
            " ON CONFLICT (guild_id, subject, subject_id, unit, period) DO UPDATE SET"
            " maximum = excluded.maximum, created_by = excluded.created_by, created_at = excluded.created_at"
            " RETURNING id",
            (
                rule.guild_id,
                rule.subject.value,
                rule.subject_id,
                rule.unit.value,
                rule.window.value,
                rule.limit,
                author_id,
                int(at.timestamp() * 1000),
            ),
        ) as cursor:
            row = await cursor.fetchone()
        assert row is not None
        return int(row["id"])

    async def remove_rule(self, tx: Transaction, guild_id: int, rule_id: int) -> bool:
        """Remove the guild's rule; False where the guild has no such rule."""
        async with tx.execute("DELETE FROM rules WHERE id = ? AND guild_id = ?", (rule_id, guild_id)) as cursor:
            return cursor.rowcount == 1
