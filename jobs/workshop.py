"""What the dispatcher and every run share, and how a job is concluded."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from config.catalogue import Offer
from db.database import Database, Transaction
from db.jobs import JobStore
from db.ledger import LedgerStore
from domain.job import Job, JobState, TaskState
from domain.quota import Amounts
from jobs.estimates import Estimates
from jobs.events import EventStream
from jobs.fleet import Fleet
from jobs.pictures import Pictures


@dataclass(frozen=True, slots=True)
class Workshop:
    """What every run needs."""

    database: Database
    jobs: JobStore
    ledger: LedgerStore
    pictures: Pictures
    fleet: Fleet
    estimates: Estimates
    events: EventStream
    clock: Callable[[], datetime]

    def milliseconds(self) -> int:
        """Now, as the database writes it."""
        return int(self.clock().timestamp() * 1000)


async def conclude(workshop: Workshop, tx: Transaction, job: Job, offer: Offer | None) -> JobState:
    """Settle the quota and move a job whose pictures are all over on; returns its new state."""
    at = workshop.clock()
    done = [task for task in job.tasks if task.state is TaskState.DONE]
    own_gpu = offer is not None and offer.backend == "worker"
    actual = Amounts(
        images=len(done),
        gpu_milliseconds=round(sum(task.seconds or 0.0 for task in done) * 1000) if own_gpu else 0,
        micro_usd=job.cost,
    )
    await workshop.ledger.settle(tx, job.id, job.place, actual, at)
    milliseconds = int(at.timestamp() * 1000)
    if done:
        await workshop.jobs.finish(tx, job.id, job.state, milliseconds)
        return JobState.FINISHED
    by_state = {task.state: task.failure for task in job.tasks}
    for state, target in (
        (TaskState.UNKNOWN, JobState.UNKNOWN),
        (TaskState.CANCELLED, JobState.CANCELLED),
        (TaskState.FAILED, JobState.FAILED),
    ):
        if state in by_state:
            failure = by_state[state]
            assert failure is not None
            await workshop.jobs.end(tx, job.id, job.state, target, failure, milliseconds)
            return target
    raise AssertionError(f"job {job.id} is not over")
