"""What servers' admins block, who may not use the bot, and what people reported."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

import aiosqlite

from db.database import Database, Transaction
from domain.safety import EVERYWHERE, Ban, Blocked, BlockKind, Report

_NEWEST: Final = 100
"""Rows that are read at once."""


class SafetyStore:
    """Blocks, bans and reports."""

    def __init__(self, database: Database) -> None:
        self._database = database

    # Blocked words and patterns.

    async def blocked(self, connection: aiosqlite.Connection, guild_id: int) -> Blocked:
        """What the guild's admins block, oldest first."""
        rows = await connection.execute_fetchall(
            "SELECT kind, text FROM blocks WHERE guild_id = ? ORDER BY created_at, text", (guild_id,)
        )
        found: dict[str, list[str]] = {kind: [] for kind in BlockKind}
        for row in rows:
            found[row["kind"]].append(row["text"])
        return Blocked(tuple(found[BlockKind.WORD]), tuple(found[BlockKind.PATTERN]))

    async def block(
        self, tx: Transaction, guild_id: int, kind: BlockKind, text: str, author_id: int, at: datetime
    ) -> bool:
        """Block it; False where it is blocked already."""
        async with tx.execute(
            "INSERT INTO blocks (guild_id, kind, text, created_by, created_at) VALUES (?, ?, ?, ?, ?)"
            " ON CONFLICT DO NOTHING",
            (guild_id, kind.value, text, author_id, _milliseconds(at)),
        ) as cursor:
            return cursor.rowcount == 1

    async def unblock(self, tx: Transaction, guild_id: int, kind: BlockKind, text: str) -> bool:
        """Block it no more; False where it was not blocked."""
        async with tx.execute(
            "DELETE FROM blocks WHERE guild_id = ? AND kind = ? AND text = ?", (guild_id, kind.value, text)
        ) as cursor:
            return cursor.rowcount == 1

    # Bans.

    async def ban_of(self, connection: aiosqlite.Connection, guild_id: int, user_id: int) -> Ban | None:
        """Why the person may not use the bot there: banned everywhere first. None: they may."""
        async with connection.execute(
            "SELECT user_id, guild_id, reason, created_by FROM bans WHERE user_id = ? AND guild_id IN (?, ?)"
            " ORDER BY guild_id LIMIT 1",
            (user_id, EVERYWHERE, guild_id),
        ) as cursor:
            row = await cursor.fetchone()
        return None if row is None else _ban(row)

    async def bans(self, guild_id: int) -> list[Ban]:
        """Who is banned in the guild (or everywhere, with EVERYWHERE), the newest first."""
        async with self._database.reading() as reader:
            rows = await reader.execute_fetchall(
                "SELECT user_id, guild_id, reason, created_by FROM bans WHERE guild_id = ?"
                " ORDER BY created_at DESC, user_id LIMIT ?",
                (guild_id, _NEWEST),
            )
        return [_ban(row) for row in rows]

    async def ban(self, tx: Transaction, ban: Ban, at: datetime) -> None:
        """Ban the person, or change the reason."""
        await tx.execute(
            "INSERT INTO bans (user_id, guild_id, reason, created_by, created_at) VALUES (?, ?, ?, ?, ?)"
            " ON CONFLICT DO UPDATE SET reason = excluded.reason, created_by = excluded.created_by",
            (ban.user_id, ban.guild_id, ban.reason, ban.author_id, _milliseconds(at)),
        )

    async def unban(self, tx: Transaction, guild_id: int, user_id: int) -> bool:
        """Let the person use the bot again; False where they were not banned there."""
        async with tx.execute("DELETE FROM bans WHERE user_id = ? AND guild_id = ?", (user_id, guild_id)) as cursor:
            return cursor.rowcount == 1

    # Reports.

    async def report(self, tx: Transaction, report: Report) -> bool:
        """Keep the report; False where this person has reported this job before."""
        async with tx.execute(
            "INSERT INTO reports (at, job_id, guild_id, reporter_id, reason) VALUES (?, ?, ?, ?, ?)"
            " ON CONFLICT DO NOTHING",
            (report.at, report.job_id, report.guild_id, report.reporter_id, report.reason),
        ) as cursor:
            return cursor.rowcount == 1

    async def reports_since(self, connection: aiosqlite.Connection, reporter_id: int, since: datetime) -> int:
        """How many reports the person has made since then."""
        async with connection.execute(
            "SELECT COUNT(*) FROM reports WHERE reporter_id = ? AND at >= ?", (reporter_id, _milliseconds(since))
        ) as cursor:
            row = await cursor.fetchone()
        assert row is not None
        return int(row[0])

    async def reports(self) -> Sequence[Report]:
        """The last reports of all guilds, newest first."""
        async with self._database.reading() as reader:
            rows = await reader.execute_fetchall(
                "SELECT at, job_id, guild_id, reporter_id, reason FROM reports ORDER BY id DESC LIMIT ?", (_NEWEST,)
            )
        return [Report(row["at"], row["job_id"], row["guild_id"], row["reporter_id"], row["reason"]) for row in rows]


def _ban(row: aiosqlite.Row) -> Ban:
    return Ban(row["user_id"], row["guild_id"], row["reason"], row["created_by"])


def _milliseconds(at: datetime) -> int:
    return int(at.timestamp() * 1000)
