"""What has to be told: pictures to post, and endings without a picture. Nothing leaves before it is told.

Whoever posts asks for what is ``due``, says ``begin`` before a post can reach the channel, and ``posted`` after.
A job that is due in state POSTING may have been posted by a process that was killed: look first.
"""

import asyncio

from db.database import Database
from db.jobs import JobStore
from domain.job import Card, Failure, Job, JobState
from jobs.events import EventStream, StateChanged


class Outbox:
    """Outcomes that wait for their person, oldest first."""

    def __init__(self, database: Database, jobs: JobStore, events: EventStream) -> None:
        self._database = database
        self._jobs = jobs
        self._events = events
        self._arrived = asyncio.Event()

    def ring(self) -> None:
        """Something became due."""
        self._arrived.set()

    async def wait(self) -> None:
        """Until something may have become due since the last wait."""
        await self._arrived.wait()
        self._arrived.clear()

    async def due(self) -> list[Job]:
        """Jobs to post (FINISHED, POSTING) and jobs whose end is untold (FAILED, CANCELLED, UNKNOWN)."""
        return await self._jobs.to_post() + await self._jobs.untold()

    async def begin(self, job_id: str) -> None:
        """FINISHED -> POSTING."""
        await self._database.write(lambda tx: self._jobs.posting(tx, job_id))
        self._events.publish(StateChanged(job_id, JobState.POSTING))

    async def posted(self, job_id: str, result: Card) -> None:
        """POSTING -> POSTED: the message carries the pictures."""
        await self._database.write(lambda tx: self._jobs.posted(tx, job_id, result))
        self._events.publish(StateChanged(job_id, JobState.POSTED))

    async def undeliverable(self, job_id: str, failure: Failure) -> None:
        """POSTING -> UNDELIVERABLE: nobody can be reached; the pictures stay in the history."""
        await self._database.write(lambda tx: self._jobs.undeliverable(tx, job_id, failure))
        self._events.publish(StateChanged(job_id, JobState.UNDELIVERABLE))

    async def told(self, job_id: str) -> None:
        """The person has read how the job ended."""
        await self._database.write(lambda tx: self._jobs.told(tx, job_id))

    async def set_card(self, job_id: str, card: Card | None) -> None:
        """Where the job's progress is shown."""
        await self._database.write(lambda tx: self._jobs.set_card(tx, job_id, card))
