"""Guilds' settings and quota rules."""

import json
from collections.abc import Iterable
from datetime import datetime
from functools import lru_cache
from typing import Final

import aiosqlite
from pydantic import TypeAdapter

from db.database import Database, Transaction
from domain.guild import OUTSIDE, GuildSettings
from domain.quota import Rule, Subject, Unit, Window

_SETTINGS: Final = TypeAdapter(GuildSettings)


class GuildStore:
    """What a guild's admins have set."""

    def __init__(self, database: Database, outside: GuildSettings | None = None) -> None:
        """``outside``: what holds where there are no admins (``domain.guild.OUTSIDE``)."""
        self._database = database
        self._outside = outside or GuildSettings()

    async def settings(self, connection: aiosqlite.Connection, guild_id: int) -> GuildSettings:
        """What the guild's admins have set; the defaults where they have set nothing."""
        if guild_id == OUTSIDE:
            return self._outside
        rows = await connection.execute_fetchall("SELECT settings FROM guilds WHERE guild_id = ?", (guild_id,))
        return next((_settings(row["settings"]) for row in rows), GuildSettings())

    async def settings_of_all(
        self, connection: aiosqlite.Connection, guild_ids: Iterable[int]
    ) -> dict[int, GuildSettings]:
        """What the admins of these guilds have set, at once; the defaults where they have set nothing."""
        # Of a long line, nearly every job is of a guild that was named before.
        wanted = dict.fromkeys(guild_ids, GuildSettings())
        if OUTSIDE in wanted:
            wanted[OUTSIDE] = self._outside
        rows = await connection.execute_fetchall(
            "SELECT guild_id, settings FROM guilds WHERE guild_id IN (SELECT value FROM json_each(?))",
            (json.dumps(list(wanted)),),
        )
        return wanted | {row["guild_id"]: _settings(row["settings"]) for row in rows}

    async def set_settings(self, tx: Transaction, guild_id: int, settings: GuildSettings) -> None:
        """Keep the guild's settings, all of them."""
        # What nobody has set is not kept: a later version's defaults are to hold for it.
        document = _SETTINGS.dump_json(settings, exclude_defaults=True).decode()
        await tx.execute(
            "INSERT INTO guilds (guild_id, settings) VALUES (?, ?)"
            " ON CONFLICT (guild_id) DO UPDATE SET settings = excluded.settings",
            (guild_id, document),
        )

    async def is_exempt(self, connection: aiosqlite.Connection, guild_id: int, user_id: int) -> bool:
        """Whether the member's own quotas are lifted."""
        async with connection.execute(
            "SELECT 1 FROM exemptions WHERE guild_id = ? AND user_id = ?", (guild_id, user_id)
        ) as cursor:
            return await cursor.fetchone() is not None

    async def exempt_members(self, guild_id: int) -> list[int]:
        """The members whose own quotas are lifted."""
        async with self._database.reading() as reader:
            rows = await reader.execute_fetchall(
                "SELECT user_id FROM exemptions WHERE guild_id = ? ORDER BY created_at, user_id", (guild_id,)
            )
            return [row[0] for row in rows]

    async def exempt(self, tx: Transaction, guild_id: int, user_id: int, author_id: int, at: datetime) -> None:
        """Lift the member's own quotas."""
        await tx.execute(
            "INSERT INTO exemptions (guild_id, user_id, created_by, created_at) VALUES (?, ?, ?, ?)"
            " ON CONFLICT DO NOTHING",
            (guild_id, user_id, author_id, int(at.timestamp() * 1000)),
        )

    async def end_exemption(self, tx: Transaction, guild_id: int, user_id: int) -> bool:
        """Let the member's own quotas hold again; False where they were not lifted."""
        async with tx.execute(
            "DELETE FROM exemptions WHERE guild_id = ? AND user_id = ?", (guild_id, user_id)
        ) as cursor:
            return cursor.rowcount == 1

    async def weights(self, connection: aiosqlite.Connection, guild_id: int) -> dict[int, float]:
        """Role -> its members' weight in the fair order, where one is set."""
        rows = await connection.execute_fetchall(
            "SELECT role_id, weight FROM role_weights WHERE guild_id = ? ORDER BY role_id", (guild_id,)
        )
        return {row["role_id"]: row["weight"] for row in rows}

    async def set_weight(self, tx: Transaction, guild_id: int, role_id: int, weight: float) -> None:
        """Set a role's weight; 1 is what everybody has, and is not kept."""
        if weight == 1:
            await tx.execute("DELETE FROM role_weights WHERE guild_id = ? AND role_id = ?", (guild_id, role_id))
            return
        await tx.execute(
            "INSERT INTO role_weights (guild_id, role_id, weight) VALUES (?, ?, ?)"
            " ON CONFLICT (guild_id, role_id) DO UPDATE SET weight = excluded.weight",
            (guild_id, role_id, weight),
        )

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


@lru_cache(maxsize=1024)
def _settings(document: str) -> GuildSettings:
    # The dispatcher reads those of everybody who waits, again and again.
    return _SETTINGS.validate_json(document)
