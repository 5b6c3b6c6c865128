"""What is kept of a person: handing it out, and forgetting it.

Forgetting goes bit by bit and is taken up again after a restart: jobs that are over lose prompt, pictures, messages
and their person; those under way are cancelled first, where that is possible. Entries of the ledger stay, as quotas
and money are counted from them; they lose their person as soon as no window of a quota looks at them any more.
"""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any, Final

from db.database import Database
from db.erasures import Erasure, ErasureStore
from db.jobs import JobStore
from domain.errors import EaselError
from domain.job import Job
from domain.quota import bucket
from jobs.dispatcher import Dispatcher
from jobs.pictures import Pictures

log = logging.getLogger(__name__)

LONGEST_WINDOW: Final = timedelta(days=32)
"""Longer than every window of a quota (a month)."""
Unpost = Callable[[Job], Awaitable[None]]
"""Takes a job's messages back; what can't be had any more is fine."""


class Erasures:
    """Everything about one person, whatever the server."""

    def __init__(
        self,
        database: Database,
        store: ErasureStore,
        jobs: JobStore,
        pictures: Pictures,
        dispatcher: Dispatcher,
        clock: Callable[[], datetime],
    ) -> None:
        self._database = database
        self._store = store
        self._jobs = jobs
        self._pictures = pictures
        self._dispatcher = dispatcher
        self._clock = clock

    async def export(self, user_id: int) -> dict[str, Any]:
        """All that is kept of the person, as JSON has it; times in milliseconds since the epoch, ids as texts."""
        return {
            "user": str(user_id),
            "exported_at": _milliseconds(self._clock()),
            "jobs": [_told(job) async for job in self._jobs_of(user_id)],
            "favourites": await self._store.favourites(user_id),
            "reports": await self._store.reports(user_id),
            "ledger": [_texts(entry) for entry in await self._store.ledger(user_id)],
        }

    async def ask(self, user_id: int) -> None:
        """Forget the person: from now on, and bit by bit."""
        async with self._database.transaction() as tx:
            await self._store.ask(tx, Erasure(user_id, _milliseconds(self._clock())))

    async def go_on(self, unpost: Unpost) -> bool:
        """Forget what can be forgotten now; False where somebody's jobs were not over yet.

        Raises what ``unpost`` raises; then it can simply be tried again.
        """
        complete = True
        for erasure in await self._store.asked():
            complete = await self._forget(erasure, unpost) and complete
        return complete

    async def _forget(self, erasure: Erasure, unpost: Unpost) -> bool:
        for job in await self._store.open(erasure.user_id):
            if job.created_at <= erasure.asked_at:
                try:
                    await self._dispatcher.cancel(job.id)
                except EaselError as error:
                    log.info("job %s can't be cancelled, so it is forgotten when it is over: %s", job.id, error)
        while jobs := await self._store.over(erasure):
            for job in jobs:
                await self._forget_job(job, unpost)
        now = self._clock()
        async with self._database.transaction() as tx:
            await self._store.forget_ledger(tx, erasure.user_id, bucket(now - LONGEST_WINDOW))
        left = [job for job in await self._store.open(erasure.user_id) if job.created_at <= erasure.asked_at]
        if not left and erasure.asked_at < _milliseconds(now - LONGEST_WINDOW):
            async with self._database.transaction() as tx:
                await self._store.finish(tx, erasure)
            log.info("a person was forgotten wholly")
        return not left

    async def _forget_job(self, job: Job, unpost: Unpost) -> None:
        for picture in job.pictures:
            await self._pictures.remove(picture.name)
        sources = [job.request.source, *job.request.references]
        for source in sources:
            if source is not None and not await self._jobs.others_use(source.name, job.id):
                await self._pictures.remove(source.name)
        await unpost(job)
        async with self._database.transaction() as tx:
            await self._store.forget_job(tx, job)

    async def _jobs_of(self, user_id: int) -> AsyncIterator[Job]:
        after = ""
        while jobs := await self._store.jobs(user_id, after):
            for job in jobs:
                yield job
            after = jobs[-1].id


_NOT_GIVEN: Final = {"adult", "flagged_allowed", "private", "visiting"}
"""What intake adds to a request."""


def _told(job: Job) -> dict[str, Any]:
    request = job.request.model_dump(mode="json", exclude=_NOT_GIVEN, exclude_none=True)
    return {
        "id": job.id,
        "at": job.created_at,
        "server": str(job.place.server_id) if job.place.server_id is not None else None,
        "channel": str(job.place.channel_id),
        "state": job.state.value,
        "request": request,
        "pictures": [
            {
                "seed": task.seed,
                "state": task.state.value,
                "file": task.picture.name if task.picture else None,
                "width": task.picture.width if task.picture else None,
                "height": task.picture.height if task.picture else None,
                "bytes": task.picture.bytes if task.picture else None,
                "flagged": task.flagged,
            }
            for task in job.tasks
        ],
        "cost_micro_usd": job.cost,
        "message": job.link,
    }


def _texts(entry: dict[str, Any]) -> dict[str, Any]:
    """Ids as texts: they are larger than what JSON's readers take for whole numbers."""
    return {name: str(value) if name.endswith("_id") and value is not None else value for name, value in entry.items()}


def _milliseconds(at: datetime) -> int:
    return int(at.timestamp() * 1000)
