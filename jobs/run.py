"""One job on one backend, from its start to its conclusion.

What happened is in the database before the backend is asked for more, so that a killed process leaves a state
that the next one can go on from. How each ending of a call is treated stands in ``backends/base.py``.
"""

import asyncio
import logging
import secrets
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime
from enum import Enum, auto
from typing import assert_never

from backends.base import (
    Accepted,
    Backend,
    BackendFailed,
    BackendUnavailable,
    Call,
    CallEnded,
    Event,
    Loading,
    Made,
    OutcomeUnknown,
    Picture,
    PictureFailed,
    Preview,
    Progress,
    RequestRefused,
    WorkerDied,
    Working,
)
from config.catalogue import Offer
from db.database import Database, Transaction
from db.jobs import JobStore
from db.ledger import LedgerStore
from domain.errors import Code, EaselError
from domain.job import (
    MAX_STARTS,
    MAX_WORKER_DEATHS,
    TASK_OVER,
    Failure,
    Job,
    JobState,
    TaskState,
)
from domain.money import MicroUSD
from domain.quota import Amounts
from jobs.estimates import Estimates
from jobs.events import EventStream, JobEvent, ModelLoading, PreviewReady, StateChanged, StepDone
from jobs.fleet import Fleet
from jobs.pictures import NotAPictureError, Pictures

log = logging.getLogger(__name__)


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


class _Leaving(Enum):
    NO = auto()
    CANCELLED = auto()
    """The person does not want it any more."""
    HANDED_BACK = auto()
    """This process stops; the next one goes on."""


class JobRun:
    """Follows a job's calls. Make it after the job's start was committed, then await ``to_end``."""

    def __init__(self, workshop: Workshop, job: Job, offer: Offer, backend: Backend) -> None:
        self.job_id = job.id
        self.state = job.state
        self._workshop = workshop
        self._job = job
        self._offer = offer
        self._backend = backend
        self._price = offer.price_of(job.request)
        self._tasks = {task.index: task.state for task in job.tasks}
        self._leaving = _Leaving.NO
        self._unavailable: BackendUnavailable | None = None
        self._worker_died: WorkerDied | None = None
        self._runner: asyncio.Task[None] | None = None

    def can_cancel(self) -> bool:
        """A paid call that is on its way cannot be taken back; anything else can be dropped."""
        return self.state is not JobState.SUBMITTING

    def cancel(self) -> None:
        """The person does not want it any more."""
        self._leave(_Leaving.CANCELLED)

    def hand_back(self) -> None:
        """This process stops."""
        self._leave(_Leaving.HANDED_BACK)

    def _leave(self, why: _Leaving) -> None:
        if self._leaving is _Leaving.NO:
            self._leaving = why
            if self._runner is not None:
                self._runner.cancel()

    async def to_end(self) -> None:
        """Run the calls and conclude the job. The caller holds a slot of the backend."""
        # What runs apart can be cancelled apart: the conclusion is never cut short.
        self._runner = asyncio.create_task(self._calls(), name=f"calls of job {self.job_id}")
        if self._leaving is not _Leaving.NO:
            self._runner.cancel()
        await asyncio.wait([self._runner])
        if not self._runner.cancelled():
            self._runner.result()
        await self._conclude()

    # The calls.

    async def _calls(self) -> None:
        workspace = await self._workshop.pictures.workspace(self.job_id)
        try:
            submissions = await self._workshop.jobs.submission_ids(self.job_id)
            calls = [
                (
                    Call(
                        job_id=self.job_id,
                        offer=self._offer,
                        request=self._job.request,
                        pictures=tuple(
                            Picture(index, self._job.tasks[index].seed, submissions[index]) for index in indexes
                        ),
                        source=self._workshop.pictures.path(self._job.request.source.name)
                        if self._job.request.source
                        else None,
                        workspace=workspace,
                    ),
                    remote_id,
                )
                for indexes, remote_id in self._groups()
            ]
            if self._backend.resumes:
                async with asyncio.TaskGroup() as group:
                    # The first uses the job's own slot, the others wait for theirs.
                    for number, (call, remote_id) in enumerate(calls):
                        group.create_task(self._in_slot(call, remote_id, owns_slot=number == 0))
            else:
                for call, remote_id in calls:
                    await self._call(call, remote_id)
                    if self._unavailable or self._worker_died:
                        break
        finally:
            await self._workshop.pictures.remove_workspace(workspace)

    def _groups(self) -> list[tuple[tuple[int, ...], str | None]]:
        """Pictures that go in one call each: those accepted by their remote id, the rest as many as a call takes."""
        accepted: dict[str, list[int]] = {}
        pending: list[int] = []
        for task in self._job.tasks:
            if task.state is TaskState.ACCEPTED and task.remote_id is not None:
                accepted.setdefault(task.remote_id, []).append(task.index)
            elif task.state not in TASK_OVER:
                pending.append(task.index)
        size = self._offer.pictures_per_call
        return [(tuple(indexes), remote_id) for remote_id, indexes in accepted.items()] + [
            (tuple(pending[start : start + size]), None) for start in range(0, len(pending), size)
        ]

    async def _in_slot(self, call: Call, remote_id: str | None, *, owns_slot: bool) -> None:
        if owns_slot:
            await self._call(call, remote_id)
        else:
            async with self._workshop.fleet.slot(self._offer.backend):
                await self._call(call, remote_id)

    async def _call(self, call: Call, remote_id: str | None) -> None:
        """One call with its retries: where siblings were accepted already, this one is tried again right here."""
        attempt = 1
        while (unavailable := await self._attempt(call, remote_id)) is not None:
            self._workshop.fleet.cool_down(self._offer.backend, unavailable.retry_after)
            if not self._is_taken():
                self._unavailable = unavailable
                return
            if attempt == MAX_STARTS:
                await self._end_tasks(_indexes(call), TaskState.FAILED, unavailable.error)
                return
            attempt += 1
            await asyncio.sleep(unavailable.retry_after)

    async def _attempt(self, call: Call, remote_id: str | None) -> BackendUnavailable | None:
        indexes = _indexes(call)
        if self._backend.resumes and remote_id is None:
            async with self._workshop.database.transaction() as tx:
                await self._workshop.jobs.submitting_task(tx, self.job_id, indexes)
                self._note(indexes, TaskState.SUBMITTING)
        stream = self._backend.run(call) if remote_id is None else self._backend.resume(call, remote_id)
        try:
            async with asyncio.timeout(self._offer.deadline_seconds), aclosing(stream):
                async for event in stream:
                    await self._handle(event)
        except BackendUnavailable as unavailable:
            await self._back_to_pending(indexes)
            return unavailable
        except WorkerDied as died:
            self._worker_died = died
        except RequestRefused as ended:
            await self._end_tasks(indexes, TaskState.FAILED, ended.error)
        except BackendFailed as ended:
            await self._end_tasks(indexes, TaskState.FAILED, ended.error, cost=ended.cost)
        except OutcomeUnknown as ended:
            await self._end_tasks(indexes, TaskState.UNKNOWN, ended.error, cost=self._price)
        except TimeoutError:
            late = EaselError(Code.DEADLINE_PASSED, seconds=round(self._offer.deadline_seconds))
            if self._offer.is_paid:
                await self._end_tasks(indexes, TaskState.UNKNOWN, late, cost=self._price)
            else:
                await self._end_tasks(indexes, TaskState.FAILED, late)
        except CallEnded as ended:
            raise AssertionError(f"an ending without a rule: {ended!r}") from ended
        except Exception:
            # The boundary of one job: whatever broke in it, the other jobs go on.
            incident = secrets.token_hex(4)
            log.exception("job %s broke (incident %s)", self.job_id, incident)
            broken = EaselError(Code.UNEXPECTED, incident=incident)
            paid = self._offer.is_paid
            await self._end_tasks(
                indexes,
                TaskState.UNKNOWN if paid else TaskState.FAILED,
                broken,
                cost=self._price if paid else None,
            )
        else:
            nothing = EaselError(Code.BACKEND_ANSWER_INVALID, backend=self._offer.backend)
            await self._end_tasks(indexes, TaskState.FAILED, nothing)
        return None

    # What backends say.

    async def _handle(self, event: Event) -> None:
        workshop = self._workshop
        match event:
            case Accepted():
                async with workshop.database.transaction() as tx:
                    await workshop.jobs.accepted_task(tx, self.job_id, event.indexes, event.remote_id)
                    self._note(event.indexes, TaskState.ACCEPTED)
                    await self._submitted(tx)
            case Working():
                await self._working()
            case Loading():
                self._publish(ModelLoading(self.job_id, event.seconds))
            case Progress():
                await self._working()
                self._publish(StepDone(self.job_id, event.index, event.step, event.steps))
            case Preview():
                self._publish(PreviewReady(self.job_id, event.index, event.data, event.media_type))
            case Made():
                await self._made(event)
            case PictureFailed():
                error = EaselError(event.failure.code, **event.failure.parameters)
                await self._end_tasks((event.index,), TaskState.FAILED, error, cost=event.cost)
            case _:
                assert_never(event)

    async def _made(self, made: Made) -> None:
        workshop = self._workshop
        cost = made.cost if made.cost is not None else self._price
        if made.flagged:
            await self._end_tasks((made.index,), TaskState.FAILED, EaselError(Code.CONTENT_FLAGGED), cost=cost)
            return
        try:
            picture = await workshop.pictures.keep(self.job_id, made.index, made.path, self._job.request.format)
        except NotAPictureError:
            log.warning("job %s: %s sent something that is no picture", self.job_id, self._offer.backend)
            invalid = EaselError(Code.BACKEND_ANSWER_INVALID, backend=self._offer.backend)
            await self._end_tasks((made.index,), TaskState.FAILED, invalid, cost=cost)
            return
        if made.seconds is not None:
            workshop.estimates.learn(self._offer.key, made.seconds)
        async with workshop.database.transaction() as tx:
            await workshop.jobs.made_task(
                tx,
                self.job_id,
                made.index,
                picture,
                seed=made.seed if made.seed is not None else self._job.tasks[made.index].seed,
                seconds=made.seconds,
                cost=cost,
                flagged=False,
            )
            self._note((made.index,), TaskState.DONE)
            await self._submitted(tx)

    async def _working(self) -> None:
        if self.state is JobState.ACCEPTED:
            async with self._workshop.database.transaction() as tx:
                await self._workshop.jobs.working(tx, self.job_id)
            self._changed(JobState.RUNNING)

    async def _submitted(self, tx: Transaction) -> None:
        """SUBMITTING -> ACCEPTED, once no picture is left whose fate is open and one of them was accepted."""
        states = self._tasks.values()
        if (
            self.state is JobState.SUBMITTING
            and TaskState.ACCEPTED in states
            and not {TaskState.PENDING, TaskState.SUBMITTING} & set(states)
        ):
            await self._workshop.jobs.accepted(tx, self.job_id)
            self._changed(JobState.ACCEPTED)

    async def _end_tasks(
        self, indexes: Sequence[int], state: TaskState, error: EaselError, cost: MicroUSD | None = None
    ) -> None:
        """End those of the pictures that are not over."""
        still = [index for index in indexes if self._tasks[index] not in TASK_OVER]
        if not still:
            return
        failure = Failure(error.code, error.parameters)
        async with self._workshop.database.transaction() as tx:
            await self._workshop.jobs.end_tasks(tx, self.job_id, still, state, failure, cost)
            self._note(still, state)
            await self._submitted(tx)

    async def _back_to_pending(self, indexes: Sequence[int]) -> None:
        still = [index for index in indexes if self._tasks[index] not in TASK_OVER]
        async with self._workshop.database.transaction() as tx:
            await self._workshop.jobs.pending_task(tx, self.job_id, still)
        self._note(still, TaskState.PENDING)

    # The conclusion.

    async def _conclude(self) -> None:
        """Settle and move the job on, in one transaction."""
        if self._leaving is _Leaving.HANDED_BACK and self._backend.resumes:
            return  # The next process goes on from the stored remote ids.
        open_tasks = [index for index, state in self._tasks.items() if state not in TASK_OVER]
        if self._leaving is _Leaving.CANCELLED:
            await self._cancel_tasks(open_tasks)
            open_tasks = []
        if open_tasks:
            again = self._again()
            if again is not None:
                await self._requeue(*again)
                return
            ended = self._worker_died or self._unavailable
            error = ended.error if ended else EaselError(Code.TOO_MANY_STARTS, starts=MAX_STARTS)
            await self._end_tasks(open_tasks, TaskState.FAILED, error)
        workshop = self._workshop
        async with workshop.database.transaction() as tx:
            job = await workshop.jobs.fetch(tx, self.job_id)
            assert job is not None
            self.state = await conclude(workshop, tx, job, self._offer)
        self._publish(StateChanged(self.job_id, self.state))

    async def _cancel_tasks(self, indexes: Sequence[int]) -> None:
        # Money that a vendor has taken is gone; a picture that nobody gets is not counted.
        charged = [index for index in indexes if self._tasks[index] is TaskState.ACCEPTED and self._offer.is_paid]
        free = [index for index in indexes if index not in charged]
        cancelled = EaselError(Code.CANCELLED)
        await self._end_tasks(charged, TaskState.CANCELLED, cancelled, cost=self._price)
        await self._end_tasks(free, TaskState.CANCELLED, cancelled)

    def _again(self) -> tuple[int, bool] | None:
        """When (milliseconds) the job may start again and whether a worker died; None where it may not."""
        now = self._workshop.milliseconds()
        if self._leaving is _Leaving.HANDED_BACK:
            return (now, False) if self._job.starts < MAX_STARTS else None
        if self._worker_died is not None:
            deaths = self._job.worker_deaths + 1
            return (now, True) if deaths < MAX_WORKER_DEATHS and self._job.starts < MAX_STARTS else None
        if self._unavailable is not None and self._job.starts < MAX_STARTS:
            return now + round(self._unavailable.retry_after * 1000), False
        return None

    async def _requeue(self, not_before: int, worker_died: bool) -> None:
        async with self._workshop.database.transaction() as tx:
            await self._workshop.jobs.requeue(
                tx, self.job_id, self.state, not_before=not_before, worker_died=worker_died
            )
        self._changed(JobState.QUEUED)

    # Small things.

    def _is_taken(self) -> bool:
        """A picture of this job was accepted or made, so that the job cannot go back to the queue."""
        return bool({TaskState.ACCEPTED, TaskState.DONE, TaskState.UNKNOWN} & set(self._tasks.values()))

    def _note(self, indexes: Sequence[int], state: TaskState) -> None:
        for index in indexes:
            self._tasks[index] = state

    def _changed(self, state: JobState) -> None:
        self.state = state
        self._publish(StateChanged(self.job_id, state))

    def _publish(self, event: JobEvent) -> None:
        self._workshop.events.publish(event)


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


def _indexes(call: Call) -> tuple[int, ...]:
    return tuple(picture.index for picture in call.pictures)
