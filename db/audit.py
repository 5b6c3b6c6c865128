"""The append-only record of what admins did."""

import json
from typing import Final

import aiosqlite

from db.database import Database, Transaction
from domain.guild import Action, AuditEntry

MOST: Final = 100
"""Entries that are read at once."""


class AuditStore:
    """What admins did, in the order in which they did it."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def append(self, tx: Transaction, entry: AuditEntry) -> None:
        """Record it, in the transaction that does it."""
        await tx.execute(
            "INSERT INTO audit (at, guild_id, author_id, action, details) VALUES (?, ?, ?, ?, ?)",
            (entry.at, entry.guild_id, entry.author_id, entry.action.value, json.dumps(dict(entry.details))),
        )

    async def newest(self, guild_id: int, limit: int = MOST) -> list[AuditEntry]:
        """A guild's last entries, newest first."""
        async with self._database.reading() as reader:
            rows: list[aiosqlite.Row] = list(
                await reader.execute_fetchall(
                    "SELECT at, author_id, action, details FROM audit WHERE guild_id = ? ORDER BY id DESC LIMIT ?",
                    (guild_id, limit),
                )
            )
        return [
            AuditEntry(row["at"], guild_id, row["author_id"], Action(row["action"]), json.loads(row["details"]))
            for row in rows
        ]
