"""What became of each picture of a job under way, in the database before anything is done upon it."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from config.catalogue import Offer
from db.database import Transaction
from domain.errors import EaselError
from domain.job import TASK_OVER, Failure, Job, JobState, StoredPicture, TaskState
from domain.money import MicroUSD
from jobs.events import PictureMade, StateChanged
from jobs.workshop import Workshop

_TAKEN = frozenset({TaskState.ACCEPTED, TaskState.DONE, TaskState.UNKNOWN})


class Record:
    """Follows the states of a job and of its pictures while one run works on it."""

    def __init__(self, workshop: Workshop, job: Job, offer: Offer) -> None:
        self.state = job.state
        self._workshop = workshop
        self._job = job
        self._offer = offer
        self._tasks = {task.index: task.state for task in job.tasks}
        self._turned_down: dict[int, Failure] = {}

    @property
    def is_taken(self) -> bool:
        """A picture was accepted or made (or may have been), so that the job cannot go elsewhere any more."""
        return bool(_TAKEN & set(self._tasks.values()))

    @property
    def turned_down(self) -> Failure | None:
        """Why the offer did not take the job; None where it did, or nothing is known yet."""
        return None if self.is_taken else next(iter(self._turned_down.values()), None)

    def is_accepted(self, indexes: Sequence[int]) -> bool:
        """The provider has one of these pictures."""
        return any(self._tasks[index] is TaskState.ACCEPTED for index in indexes)

    async def submitting(self, indexes: Sequence[int]) -> None:
        """A call for the pictures may be on its way from now on."""
        async with self._workshop.database.transaction() as tx:
            await self._workshop.jobs.submitting_task(tx, self._job.id, indexes)
            self._note(indexes, TaskState.SUBMITTING)

    async def accepted(self, indexes: Sequence[int], remote_id: str) -> None:
        """The provider has the pictures' call."""
        async with self._step() as tx:
            await self._workshop.jobs.accepted_task(tx, self._job.id, indexes, remote_id)
            self._note(indexes, TaskState.ACCEPTED)

    async def working(self) -> None:
        """The provider has begun."""
        if self.state is not JobState.ACCEPTED:
            return
        async with self._workshop.database.transaction() as tx:
            # Another picture's call may have said so while this one waited for its turn.
            moves = self.state is JobState.ACCEPTED
            if moves:
                await self._workshop.jobs.working(tx, self._job.id)
        if moves:
            self.moved(JobState.RUNNING)

    async def made(
        self, index: int, picture: StoredPicture, *, seed: int, seconds: float | None, cost: MicroUSD, flagged: bool
    ) -> None:
        """A picture is on disk. ``flagged``: a safety check marked it."""
        async with self._step() as tx:
            await self._workshop.jobs.made_task(
                tx, self._job.id, index, picture, seed=seed, seconds=seconds, cost=cost, flagged=flagged
            )
            self._note((index,), TaskState.DONE)
        self._workshop.events.publish(PictureMade(self._job.id, index, picture.name))

    async def end(
        self, indexes: Sequence[int], state: TaskState, error: EaselError, cost: MicroUSD | None = None
    ) -> None:
        """End those of the pictures that are not over."""
        still = self._still(indexes)
        if not still:
            return
        failure = Failure.of(error)
        async with self._step() as tx:
            await self._workshop.jobs.end_tasks(tx, self._job.id, still, state, failure, cost)
            self._note(still, state)

    async def lost(self, indexes: Sequence[int], error: EaselError, cost: MicroUSD) -> None:
        """Their call came to no end that tells what it cost: never sent again where that would be paid twice."""
        if self._offer.is_paid:
            await self.end(indexes, TaskState.UNKNOWN, error, cost=cost)
        else:
            await self.end(indexes, TaskState.FAILED, error)

    async def back_to_pending(self, indexes: Sequence[int]) -> None:
        """Their call was definitely not accepted: it may be sent again."""
        still = self._still(indexes)
        async with self._workshop.database.transaction() as tx:
            await self._workshop.jobs.pending_task(tx, self._job.id, still)
        self._note(still, TaskState.PENDING)

    async def turn_down(self, indexes: Sequence[int], failure: Failure) -> None:
        """The offer does not take these. They go elsewhere with the whole job, or fail where it takes another one."""
        await self.back_to_pending(indexes)
        self._turned_down |= dict.fromkeys(indexes, failure)
        if self.is_taken:
            async with self._step():
                pass  # A sibling was taken meanwhile.

    def moved(self, state: JobState) -> None:
        """The job is in this state now; committed."""
        self.state = state
        self._workshop.events.publish(StateChanged(self._job.id, state))

    @asynccontextmanager
    async def _step(self) -> AsyncIterator[Transaction]:
        """One transaction in which pictures move on.

        Those that were turned down fail with the step that binds the job to this offer. SUBMITTING -> ACCEPTED with
        the step after which no picture's fate is open and one of them was accepted.
        """
        async with self._workshop.database.transaction() as tx:
            yield tx
            if self.is_taken:
                for index, failure in self._turned_down.items():
                    await self._workshop.jobs.end_tasks(tx, self._job.id, (index,), TaskState.FAILED, failure)
                    self._note((index,), TaskState.FAILED)
                self._turned_down.clear()
            states = set(self._tasks.values())
            moves = (
                self.state is JobState.SUBMITTING
                and TaskState.ACCEPTED in states
                and not {TaskState.PENDING, TaskState.SUBMITTING} & states
            )
            if moves:
                await self._workshop.jobs.accepted(tx, self._job.id)
        # Told when it is committed: a listener may look at once.
        if moves:
            self.moved(JobState.ACCEPTED)

    def _still(self, indexes: Sequence[int]) -> list[int]:
        return [index for index in indexes if self._tasks[index] not in TASK_OVER]

    def _note(self, indexes: Sequence[int], state: TaskState) -> None:
        for index in indexes:
            self._tasks[index] = state
