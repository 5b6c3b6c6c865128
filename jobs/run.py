"""One job on one backend, from its start to its conclusion.

What happened is in the database before the backend is asked for more, so that a killed process leaves a state
that the next one can go on from. How each ending of a call is treated stands in ``backends/base.py``.
"""

import asyncio
import logging
import secrets
from collections import deque
from collections.abc import Sequence
from contextlib import aclosing
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
    Cancelling,
    Event,
    Loading,
    Made,
    OutcomeUnknown,
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
from domain.job import EDGES, MAX_STARTS, MAX_WORKER_DEATHS, TASK_OVER, Failure, Job, JobState, Task, TaskState
from jobs.calls import calls_of
from jobs.choosing import Chooser
from jobs.events import JobEvent, ModelLoading, PreviewReady, StepDone
from jobs.pictures import NotAPictureError
from jobs.place import HOLDING
from jobs.record import Record
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

    def __init__(
        self, workshop: Workshop, chooser: Chooser, job: Job, offer: Offer, backend: Backend, place: str
    ) -> None:
        """``place``: which of the backend's places holds the slot."""
        self.job_id = job.id
        self.place = job.place
        self._workshop = workshop
        self._chooser = chooser
        self._record = Record(workshop, job, offer)
        self._job = job
        self._offer = offer
        self._backend = backend
        self._place = place
        self._price = offer.price_of(job.request)
        self._submits = backend.resumes or offer.is_paid
        self._concluding = False
        self.over = asyncio.Event()
        """Set once the job is as far as this run brings it."""
        self._leaving = _Leaving.NO
        self._unavailable: BackendUnavailable | None = None
        self._worker_died: WorkerDied | None = None
        self._runner: asyncio.Task[None] | None = None
        self._sent = False
        """A call was made; else this start was none."""

    @property
    def private(self) -> tuple[str | None, ...]:
        """What the person wrote: not for the log."""
        return self._job.request.prompt, self._job.request.negative_prompt

    def can_cancel(self) -> bool:
        """A paid call that is on its way cannot be taken back; anything else can be dropped."""
        return self._record.state is not JobState.SUBMITTING

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
            calls = await calls_of(self._workshop, self._job, self._offer, workspace)
            if self._backend.resumes:
                await self._in_lanes(deque(calls))
            else:
                for call, remote_id in calls:
                    await self._call(call, remote_id)
                    if self._unavailable or self._worker_died or self._record.turned_down:
                        break
        finally:
            await self._workshop.pictures.remove_workspace(workspace)

    async def _in_lanes(self, calls: deque[tuple[Call, str | None]]) -> None:
        """As many calls at a time as there are slots: one after the other in the job's own, the more the better."""
        waiting: set[asyncio.Task[None]] = set()

        async def lane() -> None:
            while calls and self._unavailable is None and self._record.turned_down is None:
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

        # Where the place is being tried with this job, one call has to tell first how it is.
        more = 0 if self._workshop.fleet.is_probe(self._place, self.job_id) else len(calls) - 1
        async with asyncio.TaskGroup() as group:
            waiting |= {group.create_task(further()) for _ in range(more)}
            await lane()

    async def _call(self, call: Call, remote_id: str | None) -> None:
        """One call with its retries: where siblings were accepted already, this one is tried again right here."""
        attempt, waited = 1, 0.0
        while (unavailable := await self._attempt(call, remote_id)) is not None:
            limited = _too_early(unavailable)
            self._workshop.fleet.cool_down(self._place, unavailable.retry_after, rate_limited=limited)
            if not self._record.is_taken:
                self._unavailable = unavailable
                return
            if attempt == MAX_STARTS or waited + unavailable.retry_after > self._offer.deadline_seconds:
                await self._record.end(_indexes(call), TaskState.FAILED, unavailable.error)
                return
            attempt += not limited
            waited += unavailable.retry_after
            await asyncio.sleep(unavailable.retry_after)

    async def _attempt(self, call: Call, remote_id: str | None) -> BackendUnavailable | None:
        indexes = _indexes(call)
        if remote_id is None:
            problem = self._workshop.fleet.problem(self._place)
            if problem is not None and not self._workshop.fleet.is_probe(self._place, self.job_id):
                # It rests since this job's last call.
                return BackendUnavailable(EaselError(problem.code, **problem.parameters))
            if self._submits:
                await self._record.submitting(indexes)
        self._sent = True
        stream = self._backend.run(call) if remote_id is None else self._backend.resume(call, remote_id)
        since = self._workshop.clock() if remote_id is None else None
        try:
            async with asyncio.timeout(self._offer.deadline_seconds), aclosing(stream):
                async for event in stream:
                    since = await self._handle(event, since)
        except CallEnded as ended:
            self._workshop.fleet.ended(self._place, ended)
            return await self._ended(indexes, ended)
        except TimeoutError:
            late = EaselError(Code.DEADLINE_PASSED, seconds=round(self._offer.deadline_seconds))
            self._workshop.fleet.hung(self._place, Failure.of(late))
            await self._record.lost(indexes, late, self._price)
        except Exception:
            # The boundary of one job: whatever broke in it, the other jobs go on.
            incident = secrets.token_hex(4)
            log.exception("job %s broke (incident %s)", self.job_id, incident)
            await self._record.lost(indexes, EaselError(Code.UNEXPECTED, incident=incident), self._price)
        else:
            nothing = EaselError(Code.BACKEND_ANSWER_INVALID, backend=self._offer.backend)
            await self._record.end(indexes, TaskState.FAILED, nothing)
        return None

    async def _ended(self, indexes: Sequence[int], ended: CallEnded) -> BackendUnavailable | None:
        """What an end without all pictures means for them; one that may be tried again is returned."""
        record = self._record
        match ended:
            case BackendUnavailable() if not record.is_accepted(indexes):
                await record.back_to_pending(indexes)
                return ended
            case BackendUnavailable():
                # Accepted before, so that nobody can tell what became of it.
                await record.lost(indexes, ended.error, self._price)
            case WorkerDied() if self._offer.is_paid:
                await record.lost(indexes, ended.error, self._price)
            case WorkerDied():
                self._workshop.fleet.lost(self._place)
                self._worker_died = ended
            case RequestRefused():
                failure = Failure.of(ended.error)
                if await self._goes_elsewhere(failure):
                    await record.turn_down(indexes, failure)
                else:
                    await record.end(indexes, TaskState.FAILED, ended.error)
            case BackendFailed():
                await record.end(indexes, TaskState.FAILED, ended.error, cost=ended.cost)
            case OutcomeUnknown():
                await record.end(indexes, TaskState.UNKNOWN, ended.error, cost=self._price)
            case _:
                raise AssertionError(f"an ending without a rule: {ended!r}")
        return None

    async def _goes_elsewhere(self, refused: Failure) -> bool:
        """Whether the whole job goes to another offer, as this one definitely does not take it."""
        # What is not to be shown is not shopped around.
        if self._record.is_taken or refused.code is Code.CONTENT_FLAGGED or self._job.starts >= MAX_STARTS:
            return False
        return await self._chooser.takes_over(self._job, refused)

    # What backends say.

    async def _handle(self, event: Event, since: datetime | None) -> datetime | None:
        """``since``: when the work on the next picture began, as far as is known; returns the new one."""
        match event:
            case Accepted():
                await self._record.accepted(event.indexes, event.remote_id)
            case Working():
                await self._record.working()
            case Loading():
                self._publish(ModelLoading(self.job_id, event.seconds))
            case Progress():
                await self._record.working()
                self._publish(StepDone(self.job_id, event.index, event.step, event.steps))
            case Preview():
                self._publish(PreviewReady(self.job_id, event.index, event.data, event.media_type))
            case Made():
                await self._made(event, since)
                return self._workshop.clock()
            case PictureFailed():
                error = EaselError(event.failure.code, **event.failure.parameters)
                await self._record.end((event.index,), TaskState.FAILED, error, cost=event.cost)
            case _:
                assert_never(event)
        return since

    async def _made(self, made: Made, since: datetime | None) -> None:
        workshop, record = self._workshop, self._record
        workshop.fleet.worked(self._place)
        cost = made.cost if made.cost is not None else self._price
        if made.flagged and not self._job.request.flagged_allowed:
            await record.end((made.index,), TaskState.FAILED, EaselError(Code.CONTENT_FLAGGED), cost=cost)
            return
        try:
            picture = await workshop.pictures.keep(self.job_id, made.index, made.path, self._job.request.format)
        except NotAPictureError:
            log.warning("job %s: %s sent something that is no picture", self.job_id, self._offer.backend)
            invalid = EaselError(Code.BACKEND_ANSWER_INVALID, backend=self._offer.backend)
            await record.end((made.index,), TaskState.FAILED, invalid, cost=cost)
            return
        except OperatorError as full:
            log.warning("job %s: its picture cannot be kept: %s", self.job_id, full)
            await record.end((made.index,), TaskState.FAILED, full, cost=cost)
            return
        seconds = made.seconds
        if seconds is None and since is not None:
            # Vendors that do not say are timed from outside: that is what people wait for.
            seconds = (workshop.clock() - since).total_seconds() or None
        if seconds is not None:
            workshop.estimates.learn(self._offer.key, seconds)
        seed = made.seed if made.seed is not None else self._job.tasks[made.index].seed
        await record.made(made.index, picture, seed=seed, seconds=seconds, cost=cost, flagged=made.flagged)

    # The conclusion.

    async def _conclude(self) -> None:
        """Settle and move the job on, in one transaction. What the database says counts: a cancelled step is half."""
        workshop, jobs = self._workshop, self._workshop.jobs
        at_once = self._unavailable is not None and await self._chooser.takes_over(self._job, None)
        async with workshop.database.transaction() as tx:
            # From here on it is too late to cancel.
            self._concluding = True
            job = await jobs.fetch(tx, self.job_id)
            assert job is not None
            state = job.state
            open_tasks = [task for task in job.tasks if task.state not in TASK_OVER]
            if open_tasks and self._leaving is _Leaving.HANDED_BACK and self._submits:
                return  # The next process goes on from the stored remote ids.
            if open_tasks and self._worker_died is not None and state is JobState.ACCEPTED:
                # It cost nothing and was lost before its backend began: back to the line as if it had begun.
                await jobs.working(tx, job.id)
                state = JobState.RUNNING
            again = self._again(state, at_once=at_once)
            if open_tasks and again is not None:
                not_before, worker_died = again
                turned_down = self._record.turned_down
                await jobs.requeue(
                    tx,
                    job.id,
                    state,
                    not_before=not_before,
                    worker_died=worker_died,
                    uncounted=self._leaving is _Leaving.NO and (not self._sent or _too_early(self._unavailable)),
                    turned_down=(self._offer.key, turned_down) if turned_down is not None else None,
                )
                state = JobState.QUEUED
            else:
                await self._end_open(tx, open_tasks)
                job = await jobs.fetch(tx, self.job_id)
                assert job is not None
                state = await conclude(workshop, tx, job, self._offer)
        self._record.moved(state)

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
        failure = self._record.turned_down or Failure.of(error)
        await jobs.end_tasks(tx, self.job_id, [task.index for task in tasks], TaskState.FAILED, failure)

    def _again(self, state: JobState, *, at_once: bool) -> tuple[int, bool] | None:
        """When (milliseconds) the job may start again and whether a worker died; None where it may not.

        ``at_once``: where its offer can't be had, another one takes it.
        """
        now = self._workshop.milliseconds()
        if self._leaving is _Leaving.CANCELLED or JobState.QUEUED not in EDGES[state]:
            return None
        if self._job.starts >= MAX_STARTS and not _too_early(self._unavailable):
            return None
        if self._leaving is _Leaving.HANDED_BACK:
            return now, False
        if self._worker_died is not None:
            return (now, True) if self._job.worker_deaths + 1 < MAX_WORKER_DEATHS else None
        if self._record.turned_down is not None:
            return now, False
        if self._unavailable is not None:
            fleet, model = self._workshop.fleet, self._job.request.model
            held = self._unavailable.error.code in HOLDING
            if at_once or held or fleet.is_elsewhere(self._offer.backend, self._place, model):
                return now, False
            return now + round(self._unavailable.retry_after * 1000), False
        return None

    # Small things.

    def _publish(self, event: JobEvent) -> None:
        self._workshop.events.publish(event)


def _indexes(call: Call) -> tuple[int, ...]:
    return tuple(picture.index for picture in call.pictures)


def _too_early(unavailable: BackendUnavailable | None) -> bool:
    """A rate limit: the call would have been taken later, so that it says nothing against the job."""
    return unavailable is not None and unavailable.error.code is Code.BACKEND_RATE_LIMITED
