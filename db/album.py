"""Finding pictures again: histories that are searched, families, favourites, and the gallery of a server."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from db.database import Database, Transaction
from db.rows import read_jobs
from domain.job import Job

MAX_GENERATIONS: Final = 50
"""How far a family is followed in either direction."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What is needed to decide whether somebody may see a posted result."""

    job_id: str
    channel_id: int
    user_id: int


class AlbumStore:
    """Looks at jobs that are over; they are written by ``db.jobs``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def history(self, guild_id: int, user_id: int, search: str, limit: int, offset: int) -> list[Job]:
        """A member's jobs in a guild whose prompt has the text in it, newest first.

        Small and capital letters are the same for ASCII alone, as SQLite has it.
        """
        async with self._database.reading() as reader:
            return await read_jobs(
                reader,
                "INDEXED BY jobs_history WHERE guild_id = ? AND user_id = ?"
                " AND json_extract(request, '$.prompt') LIKE ? ESCAPE '\\'"
                " ORDER BY number DESC LIMIT ? OFFSET ?",
                (guild_id, user_id, _containing(search), limit, offset),
            )

    async def ancestors(self, job_id: str) -> list[Job]:
        """What the job was made from, the oldest first."""
        return await self._relatives(
            "WITH RECURSIVE line (id, depth) AS ("
            " SELECT parent_id, 1 FROM jobs WHERE id = ? AND parent_id IS NOT NULL"
            " UNION SELECT jobs.parent_id, depth + 1 FROM line JOIN jobs ON jobs.id = line.id"
            f" WHERE jobs.parent_id IS NOT NULL AND depth < {MAX_GENERATIONS})"
            " SELECT id FROM line",
            job_id,
            MAX_GENERATIONS,
        )

    async def descendants(self, job_id: str, limit: int) -> list[Job]:
        """What was made from the job and from that in turn, the oldest first."""
        return await self._relatives(
            "WITH RECURSIVE tree (id, depth) AS ("
            " SELECT id, 1 FROM jobs INDEXED BY jobs_children WHERE parent_id = ?"
            " UNION SELECT jobs.id, depth + 1 FROM tree JOIN jobs INDEXED BY jobs_children ON jobs.parent_id = tree.id"
            f" WHERE depth < {MAX_GENERATIONS})"
            " SELECT id FROM tree",
            job_id,
            limit,
        )

    # Favourites.

    async def toggle_favourite(self, tx: Transaction, user_id: int, job: Job, at: int) -> bool:
        """Add the job to the member's favourites or take it away; whether it is one now."""
        async with tx.execute("DELETE FROM favourites WHERE user_id = ? AND job_id = ?", (user_id, job.id)) as cursor:
            if cursor.rowcount:
                return False
        await tx.execute(
            "INSERT INTO favourites (user_id, job_id, guild_id, at) VALUES (?, ?, ?, ?)",
            (user_id, job.id, job.place.guild_id, at),
        )
        return True

    async def favourites(self, guild_id: int, user_id: int) -> list[Entry]:
        """A member's favourites in a guild whose pictures are there, the newest favourite first."""
        async with self._database.reading() as reader:
            rows = await reader.execute_fetchall(
                "SELECT jobs.id, jobs.channel_id, jobs.user_id FROM favourites JOIN jobs ON jobs.id = favourites.job_id"
                " WHERE favourites.guild_id = ? AND favourites.user_id = ? AND EXISTS"
                " (SELECT 1 FROM tasks WHERE job_id = jobs.id AND picture IS NOT NULL)"
                " ORDER BY favourites.at DESC, jobs.number DESC",
                (guild_id, user_id),
            )
            return [Entry(*row) for row in rows]

    async def favourite_pictures(self, since: int) -> frozenset[str]:
        """The files of everybody's favourites; ``since``: when they became favourites, in milliseconds."""
        async with self._database.reading() as reader:
            rows = await reader.execute_fetchall(
                "SELECT DISTINCT tasks.picture FROM favourites JOIN tasks ON tasks.job_id = favourites.job_id"
                " WHERE favourites.at >= ? AND tasks.picture IS NOT NULL",
                (since,),
            )
            return frozenset(row[0] for row in rows)

    # The gallery.

    async def gallery(self, guild_id: int, search: str, limit: int) -> list[Entry]:
        """The newest results of a guild that were posted, are still there and that no check has flagged.

        What members made who are not in the gallery is left out.
        """
        async with self._database.reading() as reader:
            rows = await reader.execute_fetchall(
                "SELECT id, channel_id, user_id FROM jobs INDEXED BY jobs_gallery"
                " WHERE guild_id = ? AND state = 'posted' AND result_message_id IS NOT NULL"
                " AND result_channel_id = channel_id"
                " AND json_extract(request, '$.prompt') LIKE ? ESCAPE '\\'"
                " AND EXISTS (SELECT 1 FROM tasks WHERE job_id = jobs.id AND picture IS NOT NULL)"
                " AND NOT EXISTS (SELECT 1 FROM tasks WHERE job_id = jobs.id AND flagged)"
                " AND NOT coalesce(json_extract(request, '$.private'), 0)"
                " AND NOT coalesce(json_extract(request, '$.adult'), 0)"
                " AND NOT EXISTS (SELECT 1 FROM gallery_opt_outs AS outs"
                " WHERE outs.guild_id = jobs.guild_id AND outs.user_id = jobs.user_id)"
                " ORDER BY number DESC LIMIT ?",
                (guild_id, _containing(search), limit),
            )
            return [Entry(*row) for row in rows]

    async def is_shown(self, guild_id: int, user_id: int) -> bool:
        """Whether the member's pictures are in the guild's gallery."""
        async with (
            self._database.reading() as reader,
            reader.execute(
                "SELECT 1 FROM gallery_opt_outs WHERE guild_id = ? AND user_id = ?", (guild_id, user_id)
            ) as cursor,
        ):
            return await cursor.fetchone() is None

    async def toggle_shown(self, tx: Transaction, guild_id: int, user_id: int, at: int) -> bool:
        """Leave the member's pictures out of the gallery or show them again; whether they are shown now."""
        async with tx.execute(
            "DELETE FROM gallery_opt_outs WHERE guild_id = ? AND user_id = ?", (guild_id, user_id)
        ) as cursor:
            if cursor.rowcount:
                return True
        await tx.execute(
            "INSERT INTO gallery_opt_outs (guild_id, user_id, at) VALUES (?, ?, ?)", (guild_id, user_id, at)
        )
        return False

    async def jobs(self, ids: Sequence[str]) -> list[Job]:
        """The jobs, in this order."""
        marks = ", ".join("?" * len(ids))
        async with self._database.reading() as reader:
            found = {job.id: job for job in await read_jobs(reader, f"WHERE id IN ({marks})", ids)}
        return [found[job_id] for job_id in ids if job_id in found]

    async def _relatives(self, query: str, job_id: str, limit: int) -> list[Job]:
        async with self._database.reading() as reader:
            return await read_jobs(reader, f"WHERE id IN ({query}) ORDER BY number LIMIT ?", (job_id, limit))


def _containing(search: str) -> str:
    escaped = search.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return f"%{escaped}%"
