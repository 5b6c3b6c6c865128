"""Taking a job's pictures away for good: the files first, the row last, so that what is cut off can be done again."""

import logging
from collections.abc import Awaitable, Callable

from db.database import Database
from db.jobs import JobStore
from domain.errors import Code, UserError
from domain.job import Job, JobState
from jobs.pictures import Pictures

log = logging.getLogger(__name__)


class Removal:
    """Removes what jobs made. The rows stay without their pictures: the ledger and family trees point at them."""

    def __init__(self, database: Database, jobs: JobStore, pictures: Pictures) -> None:
        self._database = database
        self._jobs = jobs
        self._pictures = pictures

    async def remove(self, job: Job, unpost: Callable[[Job], Awaitable[None]]) -> None:
        """Remove the pictures and the picture that an edit began with; ``unpost`` takes back the message.

        A source that another job uses too stays for that one. Raises UserError (JOB_NOT_OVER) for a job that may
        still make or post pictures, and what ``unpost`` raises; then it can simply be tried again.
        """
        if job.state not in (JobState.POSTED, JobState.UNDELIVERABLE):
            raise UserError(Code.JOB_NOT_OVER)
        for picture in job.pictures:
            await self._pictures.remove(picture.name)
        for source in job.request.inputs:
            if not await self._jobs.others_use(source.name, job.id):
                await self._pictures.remove(source.name)
        await unpost(job)
        async with self._database.transaction() as tx:
            await self._jobs.removed(tx, job.id)
        log.info("the pictures of job %s were removed", job.id)
