"""Jobs that do not succeed at once: when they are tried again, where, and how often."""

from pathlib import Path

from backends.base import (
    BackendUnavailable,
    WorkerDied,
)
from domain.errors import Code, OperatorError
from domain.job import Failure, Job, JobState
from domain.money import MicroUSD
from domain.quota import Unit
from jobs.events import StateChanged
from tests.building import Clock, House, open_house
from tests.doubles import Accept, Paint, ScriptedBackend, Steps
from tests.jobs.runs import ERROR, OVER, PRICE, ended, hosted, house_with, local, nothing_is_held


async def test_a_worker_that_dies_once(tmp_path: Path) -> None:
    backend = local()
    backend.scripts.append([Steps(), ended(WorkerDied)])
    async with house_with(tmp_path, backend) as house:
        job = await house.reached((await house.ask()).id, *OVER)
        assert (job.state, job.starts, job.worker_deaths) == (JobState.FINISHED, 2, 1)


async def test_a_worker_that_dies_twice_takes_the_job_with_it(tmp_path: Path) -> None:
    backend = local(ended(WorkerDied))
    async with house_with(tmp_path, backend) as house:
        job = await house.reached((await house.ask()).id, *OVER)
        assert (job.state, job.starts, len(backend.calls)) == (JobState.FAILED, 2, 2)
        assert await nothing_is_held(house)


async def test_a_picture_made_before_the_worker_died_is_not_made_again(tmp_path: Path) -> None:
    backend = local()
    backend.scripts.extend([[Paint()], [ended(WorkerDied)]])
    async with house_with(tmp_path, backend) as house:
        job = await house.reached((await house.ask(count=3)).id, *OVER)
        assert job.state is JobState.FINISHED
        assert [call.pictures[0].index for call in backend.calls] == [0, 1, 1, 2]
        assert await house.counted(Unit.IMAGES) == (3, 0)


async def moved_on(house: House, job: Job, *states: JobState) -> Job:
    """As ``reached``, with the clock moved past every pause."""
    with house.events.listen() as events:
        async for event in events:
            current = await house.job(job.id)
            if current.state in states:
                return current
            if isinstance(event, StateChanged) and event.state is JobState.QUEUED:
                house.clock.advance(3600)
                house.dispatcher.wake()
    raise AssertionError


async def test_a_backend_that_is_unavailable_is_tried_again_later(tmp_path: Path) -> None:
    backend = hosted()
    backend.scripts.append([BackendUnavailable(ERROR, retry_after=60)])
    async with house_with(tmp_path, backend) as house:
        job = await house.ask("paid")
        job = await moved_on(house, job, JobState.FINISHED)
        assert (job.starts, len(backend.calls)) == (2, 2)
        assert job.tasks[0].failure is None
        assert await house.spent() == (PRICE, 0)


async def test_three_starts_and_no_more(tmp_path: Path) -> None:
    backend = hosted(BackendUnavailable(ERROR, retry_after=60))
    async with house_with(tmp_path, backend) as house:
        job = await moved_on(house, await house.ask("paid"), JobState.FAILED)
        assert (job.starts, len(backend.calls)) == (3, 3)
        assert job.failure == Failure(ERROR.code, dict(ERROR.parameters))
        assert await nothing_is_held(house)


RATE_LIMITED = BackendUnavailable(OperatorError(Code.BACKEND_RATE_LIMITED, backend="wavespeed"), retry_after=60)


async def test_a_rate_limit_is_no_start(tmp_path: Path) -> None:
    backend = hosted()
    backend.scripts.extend([[RATE_LIMITED]] * 7)
    async with house_with(tmp_path, backend) as house:
        job = await moved_on(house, await house.ask("paid"), JobState.FINISHED)
        assert (job.starts, len(backend.calls)) == (1, 8)
        assert await house.spent() == (PRICE, 0)


async def test_a_rate_limit_at_the_last_start_leaves_it_one(tmp_path: Path) -> None:
    backend = hosted(BackendUnavailable(ERROR, retry_after=60))
    backend.scripts.extend([[BackendUnavailable(ERROR, 60)], [BackendUnavailable(ERROR, 60)], [RATE_LIMITED]])
    async with house_with(tmp_path, backend) as house:
        job = await moved_on(house, await house.ask("paid"), JobState.FAILED)
        assert (job.starts, len(backend.calls)) == (3, 4)
        assert job.failure == Failure(ERROR.code, dict(ERROR.parameters))
        assert await nothing_is_held(house)


async def test_a_rate_limit_says_nothing_against_the_job(tmp_path: Path) -> None:
    backend = hosted()
    limited = BackendUnavailable(OperatorError(Code.BACKEND_RATE_LIMITED, backend="wavespeed"), retry_after=60)
    backend.scripts.extend([[limited]] * 5)
    async with house_with(tmp_path, backend) as house:
        job = await moved_on(house, await house.ask("paid"), JobState.FINISHED)
        assert (job.starts, len(backend.calls)) == (1, 6)
        assert await house.spent() == (PRICE, 0)


async def test_it_waits_as_long_as_the_backend_asks(tmp_path: Path, clock: Clock) -> None:
    backend = hosted()
    backend.scripts.append([BackendUnavailable(ERROR, retry_after=60)])
    async with house_with(tmp_path, backend, clock=clock) as house:
        with house.events.listen() as events:
            job = await house.ask("paid")
            async for event in events:
                if event == StateChanged(job.id, JobState.QUEUED):
                    break
        assert house.fleet.next_change() == 60
        clock.advance(59)
        house.dispatcher.wake()
        other = await house.ask("paid")
        assert len(backend.calls) == 1
        clock.advance(1)
        house.dispatcher.wake()
        await house.reached(job.id, JobState.FINISHED)
        await house.reached(other.id, JobState.FINISHED)


async def test_it_goes_elsewhere_when_the_first_is_unavailable(tmp_path: Path, clock: Clock) -> None:
    first = hosted(BackendUnavailable(ERROR, retry_after=60))
    second = ScriptedBackend("runware", [Accept(), Paint(cost=MicroUSD(5))], resumes=True)
    async with open_house(tmp_path, {"wavespeed": first, "runware": second}, clock=clock) as house:
        job = await house.ask("hosted")
        with house.events.listen() as events:
            async for event in events:
                if event == StateChanged(job.id, JobState.QUEUED):
                    break
        # The job itself is left alone as long as the backend; then the first is still cooling for others.
        clock.advance(60)
        house.fleet.cool_down("wavespeed", 600)
        house.dispatcher.wake()
        job = await house.reached(job.id, *OVER)
        assert (job.state, job.offer, job.reason) == (JobState.FINISHED, "runware:hosted", "failed_over")
        assert await house.spent() == (5, 0)


async def test_siblings_of_an_accepted_picture_are_tried_again_right_here(tmp_path: Path) -> None:
    backend = hosted(slots=1)
    backend.scripts.extend([[Accept(), Paint(cost=MicroUSD(PRICE))], [BackendUnavailable(ERROR, retry_after=0)]])
    async with house_with(tmp_path, backend) as house:
        job = await house.reached((await house.ask("paid", count=2)).id, *OVER)
        assert (job.state, job.starts, len(job.pictures)) == (JobState.FINISHED, 1, 2)
        assert backend.accepted == 2


async def test_siblings_of_an_accepted_picture_are_given_up_after_three_tries(tmp_path: Path) -> None:
    backend = hosted(BackendUnavailable(ERROR, retry_after=0), slots=1)
    backend.scripts.append([Accept(), Paint(cost=MicroUSD(PRICE))])
    async with house_with(tmp_path, backend) as house:
        job = await house.reached((await house.ask("paid", count=2)).id, *OVER)
        assert (job.state, len(job.pictures), len(backend.calls)) == (JobState.FINISHED, 1, 4)
        assert await house.spent() == (PRICE, 0)


async def test_a_rate_limit_does_not_give_up_siblings_either(tmp_path: Path) -> None:
    backend = hosted(slots=1)
    too_early = BackendUnavailable(RATE_LIMITED.error, retry_after=0)
    backend.scripts.extend([[Accept(), Paint(cost=MicroUSD(PRICE))], *[[too_early]] * 7])
    async with house_with(tmp_path, backend) as house:
        job = await house.reached((await house.ask("paid", count=2)).id, *OVER)
        assert (job.state, len(job.pictures), len(backend.calls)) == (JobState.FINISHED, 2, 9)


async def test_siblings_do_not_wait_longer_than_the_offer_allows(tmp_path: Path) -> None:
    backend = hosted(BackendUnavailable(RATE_LIMITED.error, retry_after=1e6), slots=1)
    backend.scripts.append([Accept(), Paint(cost=MicroUSD(PRICE))])
    async with house_with(tmp_path, backend) as house:
        job = await house.reached((await house.ask("paid", count=2)).id, *OVER)
        assert (job.state, len(job.pictures), len(backend.calls)) == (JobState.FINISHED, 1, 2)
