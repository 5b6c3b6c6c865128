"""One job on one backend, from its start to its conclusion.

What happened is in the database before the backend is asked for more, so that a killed process leaves a state
that the next one can go on from. How each ending of a call is treated stands in ``backends/base.py``.
"""

import asyncio
import logging
import secrets
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from enum import Enum, auto
from typing import assert_never

from backends.base import (
    Accepted,
    Backend,
    BackendFailed,
    BackendUnavailable,
    Call,
    CallEnded,
    Cancelling,
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
from db.database import Transaction
from domain.errors import Code, EaselError, OperatorError
from domain.job import (
    EDGES,
    MAX_STARTS,
    MAX_WORKER_DEATHS,
    TASK_OVER,
    Failure,
    Job,
    JobState,
    Task,
    TaskState,
)
from domain.money import MicroUSD
from jobs.events import JobEvent, ModelLoading, PreviewReady, StateChanged, StepDone
from jobs.pictures import NotAPictureError
from jobs.workshop import Workshop, conclude

log = logging.getLogger(__name__)


class _Leaving(Enum):
    NO = auto()
    CANCELLED = auto()
    """The person does not want it any more."""
    HANDED_BACK = auto()
    """This process stops; the next one goes on."""


class JobRun:
    """Follows a job's calls. Make it after the job's start was committed, then await ``to_end``."""

    def __init__(self, workshop: Workshop, job: Job, offer: Offer, backend: Backend, place: str) -> None:
        """``place``: which of the backend's places holds the slot."""
        self.job_id = job.id
        self.user_id = job.place.user_id
        self.state = job.state
        self._workshop = workshop
        self._job = job
        self._offer = offer
        self._backend = backend
        self._place = place
        self._price = offer.price_of(job.request)
        self._submits = backend.resumes or offer.is_paid
        self._concluding = False
        self.over = asyncio.Event()
        """Set once the job is as far as this run brings it."""
        self._tasks = {task.index: task.state for task in job.tasks}
        self._leaving = _Leaving.NO
        self._unavailable: BackendUnavailable | None = None
        self._worker_died: WorkerDied | None = None
        self._runner: asyncio.Task[None] | None = None

    def can_cancel(self) -> bool:
        """A paid call that is on its way cannot be taken back; anything else can be dropped."""
        return self.state is not JobState.SUBMITTING

    def cancel(self) -> bool:
        """The person does not want it any more; False where the run is at its end already: see what became of it."""
        if self._concluding or self._leaving is _Leaving.HANDED_BACK:
            return False
        self._leave(_Leaving.CANCELLED)
        return True

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
        try:
            await asyncio.wait([self._runner])
            if not self._runner.cancelled():
                self._runner.result()
            if self._leaving is _Leaving.CANCELLED and isinstance(self._backend, Cancelling):
                await self._give_up(self._backend)
            await self._conclude()
        finally:
            self.over.set()

    async def _give_up(self, backend: Cancelling) -> None:
        """Nobody waits for what was accepted and is not made yet."""
        job = await self._workshop.jobs.get(self.job_id)
        assert job is not None
        accepted = {task.remote_id for task in job.tasks if task.state is TaskState.ACCEPTED}
        for remote_id in accepted - {None}:
            assert remote_id is not None
            await backend.cancel(remote_id)

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
                await self._in_lanes(deque(calls))
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

    async def _in_lanes(self, calls: deque[tuple[Call, str | None]]) -> None:
        """As many calls at a time as there are slots: one after the other in the job's own, the more the better."""
        waiting: set[asyncio.Task[None]] = set()

        async def lane() -> None:
            while calls and self._unavailable is None:
                await self._call(*calls.popleft())
            # Nothing is left for those that still wait for a slot.
            for task in waiting:
                task.cancel()

        async def further() -> None:
            current = asyncio.current_task()
            assert current is not None
            async with self._workshop.fleet.slot(self._offer.backend):
                waiting.discard(current)
                await lane()

        async with asyncio.TaskGroup() as group:
            waiting |= {group.create_task(further()) for _ in range(len(calls) - 1)}
            await lane()

    async def _call(self, call: Call, remote_id: str | None) -> None:
        """One call with its retries: where siblings were accepted already, this one is tried again right here."""
        attempt, waited = 1, 0.0
        while (unavailable := await self._attempt(call, remote_id)) is not None:
            self._workshop.fleet.cool_down(self._place, unavailable.retry_after)
            if not self._is_taken():
                self._unavailable = unavailable
                return
            if attempt == MAX_STARTS or waited + unavailable.retry_after > self._offer.deadline_seconds:
                await self._end_tasks(_indexes(call), TaskState.FAILED, unavailable.error)
                return
            attempt += not _too_early(unavailable)
            waited += unavailable.retry_after
            await asyncio.sleep(unavailable.retry_after)

    async def _attempt(self, call: Call, remote_id: str | None) -> BackendUnavailable | None:
        indexes = _indexes(call)
        if self._submits and remote_id is None:
            async with self._workshop.database.transaction() as tx:
                await self._workshop.jobs.submitting_task(tx, self.job_id, indexes)
                self._note(indexes, TaskState.SUBMITTING)
        stream = self._backend.run(call) if remote_id is None else self._backend.resume(call, remote_id)
        try:
            async with asyncio.timeout(self._offer.deadline_seconds), aclosing(stream):
                async for event in stream:
                    await self._handle(event)
        except BackendUnavailable as unavailable:
            if not any(self._tasks[index] is TaskState.ACCEPTED for index in indexes):
                await self._back_to_pending(indexes)
                return unavailable
            # Accepted before, so that nobody can tell what became of it.
            await self._lost(indexes, unavailable.error)
        except WorkerDied as died:
            if self._offer.is_paid:
                await self._lost(indexes, died.error)
            else:
                self._workshop.fleet.lost(self._place)
                self._worker_died = died
        except RequestRefused as ended:
            await self._end_tasks(indexes, TaskState.FAILED, ended.error)
        except BackendFailed as ended:
            await self._end_tasks(indexes, TaskState.FAILED, ended.error, cost=ended.cost)
        except OutcomeUnknown as ended:
            await self._end_tasks(indexes, TaskState.UNKNOWN, ended.error, cost=self._price)
        except TimeoutError:
            await self._lost(indexes, EaselError(Code.DEADLINE_PASSED, seconds=round(self._offer.deadline_seconds)))
        except CallEnded as ended:
            raise AssertionError(f"an ending without a rule: {ended!r}") from ended
        except Exception:
            # The boundary of one job: whatever broke in it, the other jobs go on.
            incident = secrets.token_hex(4)
            log.exception("job %s broke (incident %s)", self.job_id, incident)
            await self._lost(indexes, EaselError(Code.UNEXPECTED, incident=incident))
        else:
            nothing = EaselError(Code.BACKEND_ANSWER_INVALID, backend=self._offer.backend)
            await self._end_tasks(indexes, TaskState.FAILED, nothing)
        return None

    # What backends say.

    async def _handle(self, event: Event) -> None:
        workshop = self._workshop
        match event:
            case Accepted():
                async with self._step() as tx:
                    await workshop.jobs.accepted_task(tx, self.job_id, event.indexes, event.remote_id)
                    self._note(event.indexes, TaskState.ACCEPTED)
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
        if made.flagged and not self._job.request.flagged_allowed:
            await self._end_tasks((made.index,), TaskState.FAILED, EaselError(Code.CONTENT_FLAGGED), cost=cost)
            return
        try:
            picture = await workshop.pictures.keep(self.job_id, made.index, made.path, self._job.request.format)
        except NotAPictureError:
            log.warning("job %s: %s sent something that is no picture", self.job_id, self._offer.backend)
            invalid = EaselError(Code.BACKEND_ANSWER_INVALID, backend=self._offer.backend)
            await self._end_tasks((made.index,), TaskState.FAILED, invalid, cost=cost)
            return
        except OperatorError as full:
            log.warning("job %s: its picture cannot be kept: %s", self.job_id, full)
            await self._end_tasks((made.index,), TaskState.FAILED, full, cost=cost)
            return
        if made.seconds is not None:
            workshop.estimates.learn(self._offer.key, made.seconds)
        async with self._step() as tx:
            await workshop.jobs.made_task(
                tx,
                self.job_id,
                made.index,
                picture,
                seed=made.seed if made.seed is not None else self._job.tasks[made.index].seed,
                seconds=made.seconds,
                cost=cost,
                flagged=made.flagged,
            )
            self._note((made.index,), TaskState.DONE)

    async def _working(self) -> None:
        if self.state is not JobState.ACCEPTED:
            return
        async with self._workshop.database.transaction() as tx:
            # Another picture's call may have said so while this one waited for its turn.
            moves = self.state is JobState.ACCEPTED
            if moves:
                await self._workshop.jobs.working(tx, self.job_id)
        if moves:
            self._changed(JobState.RUNNING)

    @asynccontextmanager
    async def _step(self) -> AsyncIterator[Transaction]:
        """One transaction in which pictures move on.

        SUBMITTING -> ACCEPTED with the step after which no picture's fate is open and one of them was accepted.
        """
        async with self._workshop.database.transaction() as tx:
            yield tx
            states = set(self._tasks.values())
            moves = (
                self.state is JobState.SUBMITTING
                and TaskState.ACCEPTED in states
                and not {TaskState.PENDING, TaskState.SUBMITTING} & states
            )
            if moves:
                await self._workshop.jobs.accepted(tx, self.job_id)
        # Told when it is committed: a listener may look at once.
        if moves:
            self._changed(JobState.ACCEPTED)

    async def _end_tasks(
        self, indexes: Sequence[int], state: TaskState, error: EaselError, cost: MicroUSD | None = None
    ) -> None:
        """End those of the pictures that are not over."""
        still = [index for index in indexes if self._tasks[index] not in TASK_OVER]
        if not still:
            return
        failure = Failure(error.code, error.parameters)
        async with self._step() as tx:
            await self._workshop.jobs.end_tasks(tx, self.job_id, still, state, failure, cost)
            self._note(still, state)

    async def _lost(self, indexes: Sequence[int], error: EaselError) -> None:
        """The call came to no end that tells what it cost: never sent again where that would be paid twice."""
        if self._offer.is_paid:
            await self._end_tasks(indexes, TaskState.UNKNOWN, error, cost=self._price)
        else:
            await self._end_tasks(indexes, TaskState.FAILED, error)

    async def _back_to_pending(self, indexes: Sequence[int]) -> None:
        still = [index for index in indexes if self._tasks[index] not in TASK_OVER]
        async with self._workshop.database.transaction() as tx:
            await self._workshop.jobs.pending_task(tx, self.job_id, still)
        self._note(still, TaskState.PENDING)

    # The conclusion.

    async def _conclude(self) -> None:
        """Settle and move the job on, in one transaction. What the database says counts: a cancelled step is half."""
        workshop, jobs = self._workshop, self._workshop.jobs
        async with workshop.database.transaction() as tx:
            # From here on it is too late to cancel.
            self._concluding = True
            job = await jobs.fetch(tx, self.job_id)
            assert job is not None
            state = job.state
            open_tasks = [task for task in job.tasks if task.state not in TASK_OVER]
            if open_tasks and self._leaving is _Leaving.HANDED_BACK and self._submits:
                return  # The next process goes on from the stored remote ids.
            again = self._again(state)
            if open_tasks and again is not None:
                not_before, worker_died = again
                await jobs.requeue(
                    tx,
                    job.id,
                    state,
                    not_before=not_before,
                    worker_died=worker_died,
                    uncounted=self._leaving is _Leaving.NO and _too_early(self._unavailable),
                )
                state = JobState.QUEUED
            else:
                await self._end_open(tx, open_tasks)
                job = await jobs.fetch(tx, self.job_id)
                assert job is not None
                state = await conclude(workshop, tx, job, self._offer)
        self._changed(state)

    async def _end_open(self, tx: Transaction, tasks: Sequence[Task]) -> None:
        """End the pictures that will not come."""
        jobs = self._workshop.jobs
        if self._leaving is _Leaving.CANCELLED:
            # Money that a vendor has taken is gone; a picture that nobody gets is not counted.
            cancelled = Failure(Code.CANCELLED)
            for task in tasks:
                cost = self._price if task.state is TaskState.ACCEPTED and self._offer.is_paid else None
                await jobs.end_tasks(tx, self.job_id, (task.index,), TaskState.CANCELLED, cancelled, cost)
            return
        ended = self._worker_died or self._unavailable
        error = ended.error if ended else EaselError(Code.TOO_MANY_STARTS, starts=MAX_STARTS)
        failure = Failure(error.code, error.parameters)
        await jobs.end_tasks(tx, self.job_id, [task.index for task in tasks], TaskState.FAILED, failure)

    def _again(self, state: JobState) -> tuple[int, bool] | None:
        """When (milliseconds) the job may start again and whether a worker died; None where it may not."""
        now = self._workshop.milliseconds()
        if self._leaving is _Leaving.CANCELLED or JobState.QUEUED not in EDGES[state]:
            return None
        if self._job.starts >= MAX_STARTS and not _too_early(self._unavailable):
            return None
        if self._leaving is _Leaving.HANDED_BACK:
            return now, False
        if self._worker_died is not None:
            return (now, True) if self._job.worker_deaths + 1 < MAX_WORKER_DEATHS else None
        if self._unavailable is not None:
            elsewhere = self._workshop.fleet.is_elsewhere(self._offer.backend, self._place, self._job.request.model)
            return now if elsewhere else now + round(self._unavailable.retry_after * 1000), False
        return None

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


def _indexes(call: Call) -> tuple[int, ...]:
    return tuple(picture.index for picture in call.pictures)


def _too_early(unavailable: BackendUnavailable | None) -> bool:
    """A rate limit: the call would have been taken later, so that it says nothing against the job."""
    return unavailable is not None and unavailable.error.code is Code.BACKEND_RATE_LIMITED
