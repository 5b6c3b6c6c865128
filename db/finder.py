"""Finding jobs again: one by its id, those that a restart or the outbox goes on with, a member's own."""

import aiosqlite

from db.database import Database
from db.rows import OPEN, read_jobs
from domain.job import Job


class JobFinder:
    """Reads whole jobs; part of ``db.jobs.JobStore``. ``boot`` is this process's fencing token."""

    def __init__(self, database: Database, boot: int) -> None:
        self._database = database
        self._boot = boot

    async def get(self, job_id: str) -> Job | None:
        """The job, or None."""
        return await self._database.read(lambda reader: self.fetch(reader, job_id))

    async def fetch(self, connection: aiosqlite.Connection, job_id: str) -> Job | None:
        """The job, or None, through the caller's connection."""
        found = await read_jobs(connection, "WHERE id = ?", (job_id,))
        return found[0] if found else None

    async def submission_ids(self, job_id: str) -> list[str]:
        """The idempotency keys of the job's pictures, in order."""
        async with self._database.reading() as reader:
            rows = await reader.execute_fetchall(
                "SELECT submission_id FROM tasks WHERE job_id = ? ORDER BY position", (job_id,)
            )
            return [row[0] for row in rows]

    async def left_behind(self) -> list[Job]:
        """Jobs under way that belong to an earlier boot."""
        async with self._database.reading() as reader:
            return await read_jobs(
                reader,
                "INDEXED BY jobs_under_way"
                " WHERE state IN ('submitting', 'accepted', 'running') AND boot <> ? ORDER BY number",
                (self._boot,),
            )

    async def to_post(self) -> list[Job]:
        """Jobs whose pictures wait to be posted (or whose post was cut off), oldest first."""
        async with self._database.reading() as reader:
            return await read_jobs(
                reader, "INDEXED BY jobs_to_post WHERE state IN ('finished', 'posting') ORDER BY number", ()
            )

    async def untold(self) -> list[Job]:
        """Jobs that ended without a picture and whose person does not know yet, oldest first."""
        async with self._database.reading() as reader:
            return await read_jobs(
                reader, "WHERE told = 0 AND state IN ('failed', 'cancelled', 'unknown') ORDER BY number", ()
            )

    async def waiting_jobs(self) -> list[Job]:
        """Jobs that wait, whole, oldest first."""
        async with self._database.reading() as reader:
            return await read_jobs(reader, "INDEXED BY jobs_waiting WHERE state = 'queued' ORDER BY number", ())

    async def open_in(self, guild_id: int, user_id: int | None = None) -> list[Job]:
        """Jobs of a guild (or of one of its members) that are waiting or under way, oldest first."""
        async with self._database.reading() as reader:
            if user_id is None:
                return await read_jobs(
                    reader,
                    f"INDEXED BY jobs_open WHERE guild_id = ? AND state IN {OPEN} ORDER BY number LIMIT 200",
                    (guild_id,),
                )
            return await read_jobs(
                reader,
                "INDEXED BY jobs_open"
                f" WHERE user_id = ? AND guild_id = ? AND state IN {OPEN} ORDER BY number LIMIT 200",
                (user_id, guild_id),
            )

    async def history(self, guild_id: int, user_id: int, limit: int, before: int | None = None) -> list[Job]:
        """A member's jobs in a guild, newest first. ``before`` is a creation time in milliseconds."""
        async with self._database.reading() as reader:
            return await read_jobs(
                reader,
                "INDEXED BY jobs_history"
                " WHERE guild_id = ? AND user_id = ? AND created_at < ? ORDER BY number DESC LIMIT ?",
                (guild_id, user_id, before if before is not None else 2**62, limit),
            )

    async def last_in_channel(self, guild_id: int, channel_id: int, user_id: int) -> Job | None:
        """The member's newest job in a channel, whatever became of it."""
        async with self._database.reading() as reader:
            found = await read_jobs(
                reader,
                "WHERE guild_id = ? AND user_id = ? AND channel_id = ? ORDER BY number DESC LIMIT 1",
                (guild_id, user_id, channel_id),
            )
        return found[0] if found else None

    async def others_use(self, source: str, job_id: str) -> bool:
        """Whether another job, whose pictures were not removed, begins with the same input picture."""
        async with (
            self._database.reading() as reader,
            reader.execute(
                "SELECT EXISTS (SELECT 1 FROM jobs WHERE (json_extract(request, '$.source.name') = ?1 OR EXISTS"
                " (SELECT 1 FROM json_each(request, '$.references') WHERE json_extract(value, '$.name') = ?1))"
                " AND id <> ?2"
                " AND (state NOT IN ('posted', 'undeliverable') OR EXISTS"
                " (SELECT 1 FROM tasks WHERE job_id = jobs.id AND picture IS NOT NULL)))",
                (source, job_id),
            ) as cursor,
        ):
            row = await cursor.fetchone()
        assert row is not None
        return bool(row[0])
