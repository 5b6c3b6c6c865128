"""Wishes that cost money and wait for their person's yes. They outlive a restart, and nothing is held for them."""

from dataclasses import dataclass

import aiosqlite

from db.database import Transaction
from domain.job import Place
from domain.money import MicroUSD
from domain.request import ImageRequest


@dataclass(frozen=True, slots=True)
class Unconfirmed:
    """A wish, and the price that its person was told."""

    id: str
    request: ImageRequest
    place: Place
    parent_id: str | None
    price: MicroUSD
    asked_at: int
    """Milliseconds since the epoch."""


class ConfirmationStore:
    """The wishes that wait."""

    async def insert(self, tx: Transaction, wish: Unconfirmed) -> None:
        """Keep a wish."""
        await tx.execute(
            "INSERT INTO confirmations (id, guild_id, channel_id, user_id, parent_id, request, price, asked_at)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                wish.id,
                wish.place.guild_id,
                wish.place.channel_id,
                wish.place.user_id,
                wish.parent_id,
                wish.request.model_dump_json(exclude_defaults=True),
                wish.price,
                wish.asked_at,
            ),
        )

    async def find(self, connection: aiosqlite.Connection, wish_id: str) -> Unconfirmed | None:
        """The wish, as long as it waits."""
        async with connection.execute("SELECT * FROM confirmations WHERE id = ?", (wish_id,)) as cursor:
            row = await cursor.fetchone()
        if row is None:
            return None
        return Unconfirmed(
            id=row["id"],
            request=ImageRequest.model_validate_json(row["request"]),
            place=Place(row["guild_id"], row["channel_id"], row["user_id"]),
            parent_id=row["parent_id"],
            price=MicroUSD(row["price"]),
            asked_at=row["asked_at"],
        )

    async def take(self, tx: Transaction, wish_id: str) -> bool:
        """Let a wish wait no longer; False where it did not (any more)."""
        async with tx.execute("DELETE FROM confirmations WHERE id = ?", (wish_id,)) as cursor:
            return cursor.rowcount == 1

    async def forget(self, tx: Transaction, user_id: int, *, asked_before: int, keep: int) -> None:
        """Drop everybody's wishes that are too old, and of a member's all but the newest."""
        await tx.execute("DELETE FROM confirmations WHERE asked_at < ?", (asked_before,))
        await tx.execute(
            "DELETE FROM confirmations WHERE id IN"
            " (SELECT id FROM confirmations WHERE user_id = ? ORDER BY asked_at DESC LIMIT -1 OFFSET ?)",
            (user_id, keep),
        )
