"""What is kept of a person, and forgetting it."""

from dataclasses import dataclass
from typing import Any, Final

import aiosqlite

from db.database import Database, Transaction
from db.rows import read_jobs
from domain.job import Job

NOBODY: Final = 0
"""Stands for a person who was forgotten."""
_OVER: Final = "(state IN ('posted', 'undeliverable') OR told = 1)"
"""And everybody who was to be told has been: nothing is posted about it any more."""
_AT_ONCE: Final = 50


@dataclass(frozen=True, slots=True)
class Erasure:
    """A person who wants to be forgotten; ``asked_at`` in milliseconds since the epoch."""

    user_id: int
    asked_at: int


class ErasureStore:
    """Everything by person, whatever the server."""

    def __init__(self, database: Database) -> None:
        self._database = database

    # Looking.

    async def jobs(self, user_id: int, after: str = "", limit: int = _AT_ONCE) -> list[Job]:
        """Jobs of the person, newest first; those older than the job ``after``."""
        async with self._database.reading() as reader:
            return await read_jobs(
                reader,
                "INDEXED BY jobs_of_user WHERE user_id = ?1 AND (?2 = '' OR number <"
                " (SELECT number FROM jobs WHERE id = ?2)) ORDER BY number DESC LIMIT ?3",
                (user_id, after, limit),
            )

    async def favourites(self, user_id: int) -> list[str]:
        """Ids of the person's favourite jobs."""
        return [str(row[0]) for row in await self._rows("SELECT job_id FROM favourites WHERE user_id = ?", user_id)]

    async def ledger(self, user_id: int) -> list[dict[str, Any]]:
        """The person's ledger entries, oldest first."""
        rows = await self._rows(
            "SELECT at, kind, job_id, guild_id, channel_id, unit, held, used, granted FROM ledger WHERE user_id = ?"
            " ORDER BY at, id",
            user_id,
        )
        return [dict(row) for row in rows]

    async def reports(self, user_id: int) -> list[dict[str, Any]]:
        """What the person has reported."""
        rows = await self._rows("SELECT at, job_id, reason FROM reports WHERE reporter_id = ? ORDER BY id", user_id)
        return [dict(row) for row in rows]

    # Forgetting.

    async def ask(self, tx: Transaction, erasure: Erasure) -> None:
        """Begin; asked again, what came in between goes too."""
        await tx.execute(
            "INSERT INTO erasures (user_id, asked_at) VALUES (?, ?)"
            " ON CONFLICT (user_id) DO UPDATE SET asked_at = excluded.asked_at",
            (erasure.user_id, erasure.asked_at),
        )
        # What is nothing but theirs goes at once.
        for statement in (
            "DELETE FROM favourites WHERE user_id = ?",
            "DELETE FROM confirmations WHERE user_id = ?",
            "DELETE FROM reports WHERE reporter_id = ?",
        ):
            await tx.execute(statement, (erasure.user_id,))

    async def asked(self) -> list[Erasure]:
        """Everybody who is still being forgotten, the first to ask first."""
        async with self._database.reading() as reader:
            rows = await reader.execute_fetchall("SELECT user_id, asked_at FROM erasures ORDER BY asked_at, user_id")
        return [Erasure(*row) for row in rows]

    async def over(self, erasure: Erasure) -> list[Job]:
        """Some jobs of the person that are over, and still theirs."""
        async with self._database.reading() as reader:
            return await read_jobs(
                reader,
                f"INDEXED BY jobs_of_user WHERE user_id = ? AND created_at <= ? AND {_OVER} ORDER BY number LIMIT ?",
                (erasure.user_id, erasure.asked_at, _AT_ONCE),
            )

    async def open(self, user_id: int) -> list[Job]:
        """The person's jobs that are not over."""
        async with self._database.reading() as reader:
            return await read_jobs(
                reader,
                f"INDEXED BY jobs_of_user WHERE user_id = ? AND NOT {_OVER} ORDER BY number",
                (user_id,),
            )

    async def forget_job(self, tx: Transaction, job: Job) -> None:
        """The row stays, because the ledger and other people's family trees point at it; nothing of the person does."""
        request = job.request.model_copy(
            update={"prompt": "…", "negative_prompt": None, "source": None, "references": (), "loras": ()}
        )
        await tx.execute(
            "UPDATE jobs SET user_id = ?, request = ?, interaction_id = NULL, interaction_token = NULL,"
            " failure_parameters = iif(failure_code IS NULL, NULL, '{}'),"
            " card_channel_id = NULL, card_message_id = NULL,"
            " result_channel_id = NULL, result_message_id = NULL, told = 1 WHERE id = ?",
            (NOBODY, request.model_dump_json(), job.id),
        )
        await tx.execute(
            "UPDATE tasks SET picture = NULL,"
            " failure_parameters = iif(failure_code IS NULL, NULL, '{}') WHERE job_id = ?",
            (job.id,),
        )
        await tx.execute("DELETE FROM favourites WHERE job_id = ?", (job.id,))

    async def forget_ledger(self, tx: Transaction, user_id: int, before: int) -> None:
        """Make the person's entries in buckets before that one nobody's, sums and all."""
        for statement in (
            "INSERT INTO balances (guild_id, subject, subject_id, unit, bucket, held, used, granted)"
            " SELECT guild_id, subject, 0, unit, bucket, 0, 0, 0 FROM balances"
            " WHERE subject = 'member' AND subject_id = ?1 AND bucket < ?2 ON CONFLICT DO NOTHING",
            "UPDATE balances SET held = balances.held + theirs.held, used = balances.used + theirs.used,"
            " granted = balances.granted + theirs.granted FROM balances AS theirs"
            " WHERE theirs.subject = 'member' AND theirs.subject_id = ?1 AND theirs.bucket < ?2"
            " AND balances.subject = 'member' AND balances.subject_id = 0 AND balances.guild_id = theirs.guild_id"
            " AND balances.unit = theirs.unit AND balances.bucket = theirs.bucket",
            "DELETE FROM balances WHERE subject = 'member' AND subject_id = ?1 AND bucket < ?2",
            "UPDATE ledger SET user_id = 0 WHERE user_id = ?1 AND bucket < ?2",
        ):
            await tx.execute(statement, (user_id, before))

    async def finish(self, tx: Transaction, erasure: Erasure) -> None:
        """Nothing is left."""
        await tx.execute("DELETE FROM erasures WHERE user_id = ? AND asked_at = ?", (erasure.user_id, erasure.asked_at))

    async def _rows(self, query: str, user_id: int) -> list[aiosqlite.Row]:
        async with self._database.reading() as reader:
            return list(await reader.execute_fetchall(query, (user_id,)))
