"""Starts waiting jobs in fair order on the offers that the selector chooses, and sees each to its end.

One loop, woken by whatever may let a job start: a new job, a freed slot, a backend that came up, a pause that
ended. After a restart it first goes on from what the last process left behind.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Final, assert_never

from backends.base import Backend
from backends.selector import Choice, NoChoice, Ruling, Wishes
from config.catalogue import Catalogue, Offer
from config.logs import bind_job
from db.database import Transaction
from db.jobs import StaleMoveError
from db.line import FairClocks, Waiting
from domain.errors import Code, UserError
from domain.job import TASK_OVER, UNDER_WAY, Failure, Job, JobState, TaskState
from jobs.choosing import Chooser, wishes_of
from jobs.events import QueueMoved, StateChanged
from jobs.fairness import charge, fair_order
from jobs.rests import Rests
from jobs.run import JobRun
from jobs.takeover import Moved, Resumable, take_over
from jobs.workshop import Workshop, conclude

log = logging.getLogger(__name__)

AFFINITY_SECONDS: Final = 20.0
"""Age up to which a job gives way to later ones that find their model loaded where it would have to be swapped in:
about what a swap of the full-size weights costs."""
AFFINITY_LOOK_AHEAD: Final = 100
"""Jobs in fair order among which one is sought that finds its model loaded."""

_TOLD_FIRST: Final = (Ruling.TURNED_DOWN, Ruling.NEEDS_OPERATOR, Ruling.CANNOT)
"""What people read where no offer is left for several reasons."""


class Dispatcher:
    """Takes jobs inside its ``running`` block, and hands them back at its end."""

    def __init__(
        self,
        workshop: Workshop,
        catalogue: Catalogue,
        chooser: Chooser,
        *,
        grace_seconds: float,
        ring: Callable[[], None],
        rests: Rests,
    ) -> None:
        self._workshop = workshop
        self._catalogue = catalogue
        self._chooser = chooser
        self._grace_seconds = grace_seconds
        self._ring = ring
        self._rests = rests
        self._runs: dict[str, JobRun] = {}
        self._followers: set[asyncio.Task[None]] = set()
        self._resuming: set[asyncio.Task[None]] = set()
        self._starting: asyncio.Task[bool] | None = None
        self._left: dict[str, float] = {}
        """Jobs that an error left as they were -> when (loop time) to go on with them."""
        self._wake = asyncio.Event()
        self._room = asyncio.Event()
        workshop.fleet.on_change = self._room_made

    def wake(self) -> None:
        """Something changed that may let a job start."""
        self._wake.set()

    @property
    def under_way(self) -> frozenset[str]:
        """Ids of the jobs that are being followed to their end."""
        return frozenset(self._runs)

    def _room_made(self) -> None:
        # Whoever waits for a backend that went down or came up reads so.
        self._workshop.events.publish(QueueMoved())
        self._room.set()
        self._wake.set()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Take jobs until the end of the block; then give running ones a grace period and hand the rest back."""
        watching = asyncio.create_task(self._workshop.fleet.watch(), name="health of the backends")
        try:
            await self._go_on()
            taking = asyncio.create_task(self._take_jobs(), name="dispatcher")
            try:
                yield
            finally:
                await _stopped(taking)
                if self._starting is not None:
                    await asyncio.wait([self._starting])
                await self._hand_back()
        finally:
            await _stopped(watching)

    async def cancel(self, job_id: str) -> Job:
        """Drop a job wherever it is, and return it as it was.

        Raises UserError: JOB_UNKNOWN; JOB_ALREADY_OVER; JOB_UNDER_WAY_ELSEWHERE where a paid call is on its way
        and cannot be taken back.
        """
        workshop = self._workshop
        while True:
            async with workshop.database.transaction() as tx:
                job = await workshop.jobs.fetch(tx, job_id)
                if job is None:
                    raise UserError(Code.JOB_UNKNOWN, job=job_id[:20])
                if job.state is JobState.QUEUED:
                    await self._end_waiting(tx, job, TaskState.CANCELLED, Failure(Code.CANCELLED))
            if job.state is JobState.QUEUED:
                self._announce(job.id, JobState.CANCELLED)
                return job
            if job.state not in UNDER_WAY:
                raise UserError(Code.JOB_ALREADY_OVER, job=job_id)
            run = self._runs.get(job_id)
            if run is None or not run.can_cancel():
                raise UserError(Code.JOB_UNDER_WAY_ELSEWHERE, job=job_id)
            if run.cancel():
                return job
            # It came to its end in the meantime: back in the queue, perhaps.
            await run.over.wait()

    # Taking jobs.

    async def _take_jobs(self) -> None:
        while True:
            self._wake.clear()
            self._room.clear()
            try:
                mended = await self._mend()
                started = await self._start_all()
                pause = min((seconds for seconds in (mended, started) if seconds is not None), default=None)
            except Exception:
                # The boundary of one look at the queue: the database may be well again at the next.
                log.exception("no job can be started; trying again in %.0f s", self._rests.mend)
                pause = self._rests.mend
            # This look found nothing to start: newcomers alone change that only now and then, room does at once.
            await _set_within(self._room, self._rests.fruitless)
            await _set_within(self._wake, pause)

    async def _start_all(self) -> float | None:
        """Start every job that can run now; returns the seconds until one more might (None: until woken)."""
        while True:
            now = self._workshop.clock().timestamp()
            waiting, clocks = await self._workshop.database.read(self._workshop.jobs.line)
            ready = [job for job in waiting if job.not_before <= now * 1000]
            if not await self._start_first(ready, clocks, now):
                pauses = [job.not_before / 1000 - now for job in waiting if job.not_before > now * 1000]
                cooling = self._workshop.fleet.next_change()
                return min([*pauses, *([cooling] if cooling is not None else [])], default=None)

    async def _start_first(self, ready: Sequence[Waiting], clocks: FairClocks, now: float) -> bool:
        """Start the first job in fair order that a free backend can run; False where there is none."""
        seen: dict[str, Job | None] = {}
        asked: dict[str, Choice | NoChoice] = {}
        possible: dict[tuple[tuple[str, ...], Wishes], bool] = {}
        settings = await self._chooser.settings(job.guild_id for job in ready)
        wishes = {guild_id: wishes_of(found) for guild_id, found in settings.items()}
        for waiting in ready:
            # All jobs with the same offers whose servers want the same are in the same boat: one is asked about.
            boat = waiting.offers, wishes[waiting.guild_id]
            if boat not in possible:
                job = seen[waiting.id] = await self._workshop.jobs.get(waiting.id)
                if job is not None:
                    asked[job.id] = await self._chooser.choose(job, boat[1])
                possible[boat] = job is None or _may_start(asked[job.id])
        running: Counter[tuple[int, int]] = Counter()
        for run in self._runs.values():
            running[0, run.place.user_id] += 1
            running[run.place.guild_id, run.place.user_id] += 1
        caps = {guild_id: self._chooser.caps(found) for guild_id, found in settings.items()}

        def can_run(waiting: Waiting) -> bool:
            return possible[waiting.offers, wishes[waiting.guild_id]] and caps[waiting.guild_id].allow(
                running, waiting.user_id, waiting.guild_id
            )

        gave_way: tuple[Job, Waiting, Choice] | None = None
        queued: dict[str, float] = {}
        for looked_at, waiting in enumerate(fair_order(ready, clocks, can_run)):
            if gave_way is not None and looked_at > AFFINITY_LOOK_AHEAD:
                break
            job = seen[waiting.id] if waiting.id in seen else await self._workshop.jobs.get(waiting.id)
            if job is None or job.state is not JobState.QUEUED:
                continue
            choice = asked.get(job.id)
            if choice is None or queued:
                choice = await self._chooser.choose(job, wishes[waiting.guild_id], queued)
            match choice:
                case Choice() if gave_way is None and self._gives_way(job, waiting, choice, now):
                    gave_way = job, waiting, choice
                case Choice() if gave_way is not None and self._swaps(job, choice):
                    continue
                case Choice():
                    if await self._start(job, waiting, clocks, choice):
                        return True
                case NoChoice():
                    if choice.waits_for is None:
                        await self._give_up(job, choice)
                    else:
                        backend = choice.waits_for.backend
                        queued[backend] = queued.get(backend, 0.0) + waiting.cost
                case _:
                    assert_never(choice)
        if gave_way is None:
            return False
        job, waiting, choice = gave_way
        return await self._start(job, waiting, clocks, choice)

    def _swaps(self, job: Job, choice: Choice) -> bool:
        """No free place has the job's model in its memory."""
        return not self._workshop.fleet.has_warm_slot(choice.offer.backend, job.request)

    def _gives_way(self, job: Job, waiting: Waiting, choice: Choice, now: float) -> bool:
        return now - waiting.created_at / 1000 < AFFINITY_SECONDS and self._swaps(job, choice)

    async def _start(self, asked: Job, waiting: Waiting, clocks: FairClocks, choice: Choice) -> bool:
        """Start the job, to the end even where the dispatcher is stopped: what is written as begun is followed."""
        self._starting = asyncio.create_task(self._begin(asked, waiting, clocks, choice))
        return await asyncio.shield(self._starting)

    async def _begin(self, asked: Job, waiting: Waiting, clocks: FairClocks, choice: Choice) -> bool:
        workshop, offer = self._workshop, choice.offer
        place = workshop.fleet.try_take(offer.backend, asked.request)
        backend = workshop.fleet.backend(place) if place is not None else None
        if place is None or backend is None:
            return False
        workshop.fleet.admit(place, asked.id)
        target = JobState.SUBMITTING if backend.resumes or offer.is_paid else JobState.RUNNING
        after = charge(waiting, clocks)
        try:
            async with workshop.database.transaction() as tx:
                await workshop.jobs.start(
                    tx,
                    waiting.id,
                    target,
                    offer=offer.key,
                    reason=choice.reason.value,
                    at=workshop.milliseconds(),
                )
                await workshop.jobs.advance_clocks(
                    tx, after.virtual_time, waiting.guild_id, after.guild_finish, after.guild_virtual
                )
                job = await workshop.jobs.fetch(tx, waiting.id)
            assert job is not None
        except StaleMoveError:
            # Cancelled since we looked.
            workshop.fleet.forget(place, asked.id)
            await workshop.fleet.give_back(place)
            return False
        except BaseException:
            workshop.fleet.forget(place, asked.id)
            await workshop.fleet.give_back(place)
            raise
        self._follow(job, offer, backend, place)
        workshop.events.publish(StateChanged(job.id, target))
        workshop.events.publish(QueueMoved())
        return True

    async def _give_up(self, job: Job, why: NoChoice) -> None:
        """No offer will ever take the job (any more)."""
        backend = job.offers[0].partition(":")[0] if job.offers else job.request.model
        unreachable = Failure(Code.BACKEND_UNREACHABLE, {"backend": backend})
        told = sorted(why.ruled_out, key=lambda out: _TOLD_FIRST.index(out.ruling) if out.ruling in _TOLD_FIRST else 9)
        failure = next((out.failure for out in told if out.failure is not None), unreachable)
        try:
            async with self._workshop.database.transaction() as tx:
                await self._end_waiting(tx, job, TaskState.FAILED, failure)
        except StaleMoveError:
            return  # Cancelled since we looked.
        self._announce(job.id, JobState.FAILED)

    async def _end_waiting(self, tx: Transaction, job: Job, state: TaskState, failure: Failure) -> None:
        indexes = [task.index for task in job.tasks if task.state not in TASK_OVER]
        await self._workshop.jobs.end_tasks(tx, job.id, indexes, state, failure)
        ended = await self._workshop.jobs.fetch(tx, job.id)
        assert ended is not None
        await conclude(self._workshop, tx, ended, None)

    # Following jobs.

    def _follow(self, job: Job, offer: Offer, backend: Backend, place: str) -> None:
        """See a job to its end; the slot that it runs on is held already."""
        run = JobRun(self._workshop, self._chooser, job, offer, backend, place)
        self._runs[job.id] = run
        seconds = self._workshop.estimates.seconds(offer) * job.request.count
        self._workshop.fleet.expect(place, job.id, seconds)
        task = asyncio.create_task(self._to_end(run, place))
        self._followers.add(task)
        task.add_done_callback(self._followers.discard)

    async def _to_end(self, run: JobRun, place: str) -> None:
        bind_job(run.job_id, run.private)
        try:
            await run.to_end()
        except Exception:
            # Its state is as the database says: we go on from there as the next start of the bot would.
            log.exception("job %s was left as it is, for %.0f s", run.job_id, self._rests.mend)
            self._left[run.job_id] = asyncio.get_running_loop().time() + self._rests.mend
        finally:
            del self._runs[run.job_id]
            self._workshop.fleet.forget(place, run.job_id)
            await self._workshop.fleet.give_back(place)
            self._ring()
            self._workshop.events.publish(QueueMoved())

    def _announce(self, job_id: str, state: JobState) -> None:
        self._workshop.events.publish(StateChanged(job_id, state))
        self._workshop.events.publish(QueueMoved())
        self._ring()

    # Stopping and going on.

    async def _hand_back(self) -> None:
        began = asyncio.get_running_loop().time()
        # Those that have no slot yet have not begun: the next process goes on with them.
        for task in self._resuming:
            task.cancel()
        if self._resuming:
            await asyncio.wait(set(self._resuming))
        if self._followers:
            log.info("giving %d running jobs %.0f s", len(self._followers), self._grace_seconds)
            await asyncio.wait(set(self._followers), timeout=self._grace_seconds)
        given_back = len(self._runs)
        for run in self._runs.values():
            run.hand_back()
        if self._followers:
            await asyncio.wait(set(self._followers))
        took = asyncio.get_running_loop().time() - began
        log.info("stopped taking jobs: %.1f s, %d were given back", took, given_back)

    async def _go_on(self) -> None:
        """Take over what the last process left under way."""
        for job in await self._workshop.jobs.left_behind():
            await self._go_on_with(job)
        self._ring()

    async def _mend(self) -> float | None:
        """Go on with what an error left as it was; returns the seconds until the next such job is due."""
        now = asyncio.get_running_loop().time()
        for job_id in [job_id for job_id, due in self._left.items() if due <= now]:
            job = await self._workshop.jobs.get(job_id)
            if job is not None and job.state in UNDER_WAY:
                await self._go_on_with(job)
            del self._left[job_id]
        return min((due - now for due in self._left.values()), default=None)

    async def _go_on_with(self, job: Job) -> None:
        taken = await take_over(self._workshop, self._catalogue, job)
        match taken:
            case Moved():
                self._announce(job.id, taken.state)
            case Resumable():
                task = asyncio.create_task(self._resume(taken))
                self._resuming.add(task)
                task.add_done_callback(self._resuming.discard)
            case _:
                assert_never(taken)

    async def _resume(self, taken: Resumable) -> None:
        place = await self._workshop.fleet.take(taken.offer.backend)
        self._follow(taken.job, taken.offer, taken.backend, place)


def _may_start(choice: Choice | NoChoice) -> bool:
    """Whether those in the same boat have to be looked at one by one."""
    if isinstance(choice, Choice) or not choice.waiting:
        return True
    # Who was asked waits for a faster place; there, the line may be too long for those behind.
    return any(out.ruling is Ruling.WORTH_WAITING for out in choice.ruled_out)


async def _set_within(event: asyncio.Event, seconds: float | None) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        pass


async def _stopped(task: asyncio.Task[None]) -> None:
    """Cancel a task and wait for it; what it failed with is raised."""
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        current = asyncio.current_task()
        if current is not None and current.cancelling():
            raise
