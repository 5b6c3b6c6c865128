"""Finding pictures again: search, families, favourites and the gallery of a server."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from db.album import AlbumStore, Entry
from db.database import Database
from db.guilds import GuildStore
from domain.errors import Code, UserError
from domain.job import Job, JobState

GALLERY: Final = 1000
"""Results that a gallery goes back."""
DESCENDANTS: Final = 40


@dataclass(frozen=True, slots=True)
class Family:
    """A job among those that it came from and those that came from it; each list has the oldest first."""

    ancestors: tuple[Job, ...]
    job: Job
    descendants: tuple[Job, ...]

    @property
    def members(self) -> dict[str, Job]:
        """All of them by id."""
        return {job.id: job for job in (*self.ancestors, self.job, *self.descendants)}


class Album:
    """What members look through. Who may see which job is decided by whoever asks: it is Discord that knows."""

    def __init__(
        self,
        database: Database,
        store: AlbumStore,
        guilds: GuildStore,
        clock: Callable[[], datetime],
        favourites_days: int,
    ) -> None:
        self._database = database
        self._store = store
        self._guilds = guilds
        self._clock = clock
        self._favourites_days = favourites_days

    async def history(self, guild_id: int, user_id: int, search: str, limit: int, offset: int) -> list[Job]:
        """A member's jobs whose prompt has the text in it, newest first."""
        return await self._store.history(guild_id, user_id, search, limit, offset)

    async def family(self, job: Job) -> Family:
        """The job's family in its server."""
        ancestors = await self._store.ancestors(job.id)
        descendants = await self._store.descendants(job.id, DESCENDANTS)
        here = job.place.guild_id
        return Family(
            tuple(one for one in ancestors if one.place.guild_id == here),
            job,
            tuple(one for one in descendants if one.place.guild_id == here),
        )

    async def toggle_favourite(self, user_id: int, job: Job) -> bool:
        """Make the job a favourite of the member's, or none any more; whether it is one now.

        Raises UserError: JOB_NOT_OVER, PICTURE_GONE.
        """
        if job.state not in (JobState.POSTED, JobState.UNDELIVERABLE, JobState.POSTING):
            raise UserError(Code.JOB_NOT_OVER)
        if not job.pictures:
            raise UserError(Code.PICTURE_GONE)
        async with self._database.transaction() as tx:
            return await self._store.toggle_favourite(tx, user_id, job, self._milliseconds())

    async def favourites(self, guild_id: int, user_id: int) -> list[Entry]:
        """A member's favourites in a server, the newest first."""
        return await self._store.favourites(guild_id, user_id)

    async def kept_longer(self) -> frozenset[str]:
        """The files that retention leaves alone, as they are somebody's favourites."""
        since = self._clock() - timedelta(days=self._favourites_days)
        return await self._store.favourite_pictures(int(since.timestamp() * 1000))

    async def gallery(self, guild_id: int, search: str) -> list[Entry]:
        """The newest results of a server that everybody was shown, newest first.

        Raises UserError (NO_GALLERY) where the server's admins do not want one.
        """
        async with self._database.reading() as reader:
            settings = await self._guilds.settings(reader, guild_id)
        if not settings.gallery:
            raise UserError(Code.NO_GALLERY)
        return await self._store.gallery(guild_id, search, GALLERY)

    async def is_shown(self, guild_id: int, user_id: int) -> bool:
        """Whether the gallery has the member's pictures."""
        return await self._store.is_shown(guild_id, user_id)

    async def toggle_shown(self, guild_id: int, user_id: int) -> bool:
        """Leave the member's pictures out of the gallery, or show them again; whether they are shown now."""
        async with self._database.transaction() as tx:
            return await self._store.toggle_shown(tx, guild_id, user_id, self._milliseconds())

    async def jobs(self, entries: list[Entry]) -> list[Job]:
        """The jobs of these entries."""
        return await self._store.jobs([entry.job_id for entry in entries])

    def _milliseconds(self) -> int:
        return int(self._clock().timestamp() * 1000)
