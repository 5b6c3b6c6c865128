"""Jobs and stores for tests of the memory alone."""

from datetime import UTC, datetime
from typing import Any

from db.database import Database, Transaction
from db.jobs import JobStore, NewJob, NewTask
from domain.errors import Code
from domain.job import Card, Failure, JobState, Place
from domain.request import ImageRequest, Kind

NOON = datetime(2026, 3, 11, 12, 0, tzinfo=UTC)
PLACE = Place(guild_id=900, channel_id=800, user_id=700)
FAILURE = Failure(Code.BACKEND_FAILED, {"backend": "worker", "status": 500, "share": 0.5})


def new_job(job_id: str = "job", **more: Any) -> NewJob:
    """A job of two pictures."""
    defaults: dict[str, Any] = {
        "id": job_id,
        "interaction_id": None,
        "request": ImageRequest(kind=Kind.IMAGINE, model="m", prompt="p", count=2, seed=1),
        "place": PLACE,
        "tasks": [NewTask(1, "uuid-1"), NewTask(2, "uuid-2")],
        "offers": ["worker:m"],
        "created_at": 1000,
        "estimated_seconds": 10.0,
        "start_tag": 0.0,
        "finish_tag": 10.0,
    }
    return NewJob(**defaults | more)


async def store(database: Database) -> JobStore:
    """The jobs, as the next start of the process has them."""
    return JobStore(database, await database.boot(0))


async def queued(database: Database, jobs: JobStore, job_id: str = "job", **more: Any) -> None:
    """A job that waits."""
    async with database.transaction() as tx:
        await jobs.insert(tx, new_job(job_id, **more))


async def move(jobs: JobStore, tx: Transaction, job_id: str, source: JobState, target: JobState) -> None:
    """The store's own method for a move."""
    match target:
        case JobState.QUEUED:
            await jobs.requeue(tx, job_id, source, not_before=0, worker_died=False)
        case JobState.SUBMITTING | JobState.RUNNING if source is JobState.QUEUED:
            await jobs.start(tx, job_id, target, offer="worker:m", reason="only_one", at=2000)
        case JobState.ACCEPTED:
            await jobs.accepted(tx, job_id)
        case JobState.RUNNING:
            await jobs.working(tx, job_id)
        case JobState.FINISHED:
            await jobs.finish(tx, job_id, source, 3000)
        case JobState.POSTING:
            await jobs.posting(tx, job_id)
        case JobState.POSTED:
            await jobs.posted(tx, job_id, Card(1, 2))
        case JobState.UNDELIVERABLE:
            await jobs.undeliverable(tx, job_id, FAILURE)
        case _:
            await jobs.end(tx, job_id, source, target, FAILURE, 3000)


ROADS: dict[JobState, list[JobState]] = {
    JobState.QUEUED: [],
    JobState.SUBMITTING: [JobState.SUBMITTING],
    JobState.ACCEPTED: [JobState.SUBMITTING, JobState.ACCEPTED],
    JobState.RUNNING: [JobState.RUNNING],
    JobState.FINISHED: [JobState.RUNNING, JobState.FINISHED],
    JobState.POSTING: [JobState.RUNNING, JobState.FINISHED, JobState.POSTING],
    JobState.POSTED: [JobState.RUNNING, JobState.FINISHED, JobState.POSTING, JobState.POSTED],
    JobState.UNDELIVERABLE: [JobState.RUNNING, JobState.FINISHED, JobState.POSTING, JobState.UNDELIVERABLE],
    JobState.FAILED: [JobState.FAILED],
    JobState.CANCELLED: [JobState.CANCELLED],
    JobState.UNKNOWN: [JobState.RUNNING, JobState.UNKNOWN],
}
"""A way to every state."""


async def brought_to(database: Database, jobs: JobStore, state: JobState, job_id: str = "job") -> None:
    """A job in that state."""
    await queued(database, jobs, job_id)
    source = JobState.QUEUED
    for target in ROADS[state]:
        async with database.transaction() as tx:
            await move(jobs, tx, job_id, source, target)
        source = target
