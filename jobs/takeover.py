"""What becomes of a job that was under way when somebody let go of it: the last process, or an error of ours."""

from dataclasses import dataclass

from backends.base import Backend
from config.catalogue import Catalogue, Offer
from db.database import Transaction
from domain.errors import Code
from domain.job import EDGES, MAX_STARTS, TASK_OVER, Failure, Job, JobState, TaskState
from domain.money import MicroUSD
from domain.quota import Unit
from jobs.workshop import Workshop, conclude


@dataclass(frozen=True, slots=True)
class Moved:
    """The job is concluded, or waits in line again."""

    state: JobState


@dataclass(frozen=True, slots=True)
class Resumable:
    """The backend has the job still: it is to be followed there."""

    job: Job
    offer: Offer
    backend: Backend


async def take_over(workshop: Workshop, catalogue: Catalogue, job: Job) -> Moved | Resumable:
    """Make the job this process's own, and decide in the same transaction how it goes on."""
    offer = _offer(catalogue, job.offer, job) if job.offer else None
    backend = workshop.fleet.backend(offer.backend) if offer else None
    jobs = workshop.jobs
    async with workshop.database.transaction() as tx:
        await jobs.adopt(tx, job.id)
        await _resolve_open_tasks(workshop, tx, job, offer, backend)
        current = await jobs.fetch(tx, job.id)
        assert current is not None
        if all(task.state in TASK_OVER for task in current.tasks):
            return Moved(await conclude(workshop, tx, current, offer))
        if offer is None or backend is None or not backend.resumes:
            await jobs.requeue(tx, job.id, current.state, not_before=0, worker_died=False)
            return Moved(JobState.QUEUED)
    return Resumable(current, offer, backend)


async def _resolve_open_tasks(
    workshop: Workshop, tx: Transaction, job: Job, offer: Offer | None, backend: Backend | None
) -> None:
    """Decide what became of pictures that were under way when the process ended."""
    jobs = workshop.jobs
    by_state: dict[TaskState, list[int]] = {state: [] for state in TaskState}
    for task in job.tasks:
        by_state[task.state].append(task.index)
    pending, submitting, accepted = (
        by_state[state] for state in (TaskState.PENDING, TaskState.SUBMITTING, TaskState.ACCEPTED)
    )
    unknown = Failure(Code.OUTCOME_UNKNOWN)
    if offer is not None:
        cost = offer.price_of(job.request)
    else:
        cost = MicroUSD(await workshop.ledger.held(tx, job.id, Unit.MONEY) // len(job.tasks))
    if backend is not None and backend.resumes:
        if backend.repeatable_submit:
            await jobs.pending_task(tx, job.id, submitting)
        else:
            await jobs.end_tasks(tx, job.id, submitting, TaskState.UNKNOWN, unknown, cost)
        return
    # Nobody is left to ask. What may have been paid for is not sent again, what was not sent may be.
    if offer is None or offer.is_paid or JobState.QUEUED not in EDGES[job.state]:
        await jobs.end_tasks(tx, job.id, submitting + accepted, TaskState.UNKNOWN, unknown, cost)
        submitting, accepted = [], []
    if job.starts >= MAX_STARTS or JobState.QUEUED not in EDGES[job.state]:
        failure = Failure(Code.TOO_MANY_STARTS, {"starts": job.starts})
        await jobs.end_tasks(tx, job.id, pending + submitting + accepted, TaskState.FAILED, failure)


def _offer(catalogue: Catalogue, key: str, job: Job) -> Offer | None:
    """An offer of the job's; None where it has left the catalogue, or nobody knows its price any more."""
    offer = catalogue.offer(key)
    return offer if offer is not None and offer.known_price_of(job.request) is not None else None
