"""A job can be cancelled at any moment, except where a paid call is on its way that nobody can take back."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from backends.base import (
    Working,
)
from domain.errors import Code, UserError
from domain.job import Failure, JobState
from domain.money import MicroUSD
from domain.quota import Unit
from jobs.events import StepDone
from tests.building import House, open_house
from tests.doubles import Accept, Paint, ScriptedBackend, Steps
from tests.jobs.runs import OVER, PRICE, hosted, house_with, local, nothing_is_held


async def refused(house: House, job_id: str) -> Code:
    with pytest.raises(UserError) as caught:
        await house.dispatcher.cancel(job_id)
    return caught.value.code


class CancellingBackend(ScriptedBackend):
    """One that can give up what it accepted."""

    def __init__(self, *script: Any) -> None:
        super().__init__("wavespeed", script, resumes=True)
        self.given_up: list[str] = []

    async def cancel(self, remote_id: str) -> None:
        self.given_up.append(remote_id)


async def test_what_was_accepted_is_given_up_where_that_is_possible(tmp_path: Path) -> None:
    backend = CancellingBackend(Accept("remote"), Working(), asyncio.Event())
    async with house_with(tmp_path, backend) as house:
        job = await house.ask("paid")
        await house.reached(job.id, JobState.RUNNING)
        await house.dispatcher.cancel(job.id)
        assert (await house.reached(job.id, *OVER)).state is JobState.CANCELLED
    assert backend.given_up == ["remote"]


async def test_what_is_handed_back_is_not_given_up(tmp_path: Path) -> None:
    backend = CancellingBackend(Accept("remote"), Working(), asyncio.Event())
    async with open_house(tmp_path, {backend.key: backend}) as house:
        job = await house.ask("paid")
        await house.reached(job.id, JobState.RUNNING)
    assert backend.given_up == []


async def test_cancelled_in_the_queue(tmp_path: Path) -> None:
    async with house_with(tmp_path, local(slots=0)) as house:
        job = await house.ask()
        assert (await house.dispatcher.cancel(job.id)).state is JobState.QUEUED
        job = await house.job(job.id)
        assert (job.state, job.failure) == (JobState.CANCELLED, Failure(Code.CANCELLED))
        assert await nothing_is_held(house)
        assert await refused(house, job.id) is Code.JOB_ALREADY_OVER
        assert await refused(house, "none") is Code.JOB_UNKNOWN
        assert await house.queue.line() == []


async def test_cancelled_on_the_own_gpu(tmp_path: Path) -> None:
    backend = local(Steps(1), asyncio.Event())
    async with house_with(tmp_path, backend) as house:
        with house.events.listen() as events:
            job = await house.ask(count=2)
            async for event in events:
                if isinstance(event, StepDone):
                    break
        assert (await house.dispatcher.cancel(job.id)).state is JobState.RUNNING
        assert (await house.reached(job.id, *OVER)).state is JobState.CANCELLED
        assert len(backend.cancelled) == 1
        assert await nothing_is_held(house)
        assert await house.counted(Unit.IMAGES) == (0, 0)


async def test_cancelled_with_one_picture_made(tmp_path: Path) -> None:
    backend = local(Steps(1), asyncio.Event())
    backend.scripts.append([Paint()])
    async with house_with(tmp_path, backend) as house:
        with house.events.listen() as events:
            job = await house.ask(count=2)
            async for event in events:
                if isinstance(event, StepDone):
                    break
        await house.dispatcher.cancel(job.id)
        job = await house.reached(job.id, *OVER)
        assert (job.state, len(job.pictures)) == (JobState.FINISHED, 1)
        assert await house.counted(Unit.IMAGES) == (1, 0)


async def test_a_paid_call_on_its_way_is_not_cancelled(tmp_path: Path) -> None:
    lock = asyncio.Event()
    async with house_with(tmp_path, hosted(lock, Accept(), Paint(cost=MicroUSD(PRICE)))) as house:
        job = await house.ask("paid")
        await house.reached(job.id, JobState.SUBMITTING)
        assert await refused(house, job.id) is Code.JOB_UNDER_WAY_ELSEWHERE
        lock.set()
        assert (await house.reached(job.id, *OVER)).state is JobState.FINISHED


@pytest.mark.parametrize(
    ("script", "state"), [([Accept()], JobState.ACCEPTED), ([Accept(), Working()], JobState.RUNNING)]
)
async def test_a_paid_call_that_was_accepted_is_dropped_and_paid_for(
    tmp_path: Path, script: list[Any], state: JobState
) -> None:
    async with house_with(tmp_path, hosted(*script, asyncio.Event())) as house:
        job = await house.ask("paid", count=2)
        await house.reached(job.id, state)
        await house.dispatcher.cancel(job.id)
        assert (await house.reached(job.id, *OVER)).state is JobState.CANCELLED
        assert await house.spent() == (2 * PRICE, 0)
        assert await house.counted(Unit.IMAGES) == (0, 0)


async def test_a_job_cancelled_at_any_moment_is_over_and_holds_nothing(tmp_path: Path) -> None:
    backend = local(Steps(1), Paint())
    async with house_with(tmp_path, backend) as house:
        seen, codes = set(), set()
        for turns in range(0, 120, 4):
            job = await house.ask(count=2)
            for _ in range(turns):
                await asyncio.sleep(0)
            try:
                await house.dispatcher.cancel(job.id)
            except UserError as error:
                codes.add(error.code)
            job = await house.reached(job.id, *OVER)
            seen.add(job.state)
            assert job.state in (JobState.CANCELLED, JobState.FINISHED)
        assert JobState.CANCELLED in seen
        assert codes <= {Code.JOB_ALREADY_OVER}
        assert await nothing_is_held(house)
