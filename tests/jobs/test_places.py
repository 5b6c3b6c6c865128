"""Several workers: each a place of its own, with slots, models and pauses of its own."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from backends.base import BackendFailed, BackendUnavailable, Health, HealthState, WorkerDied
from domain.errors import Code, InternalError, OperatorError
from domain.job import Job, JobState
from domain.quota import Unit
from jobs.dispatcher import AFFINITY_SECONDS
from tests.building import Clock, House, open_house
from tests.doubles import Paint, Script, ScriptedBackend, Steps

DIED = WorkerDied(InternalError(Code.WORKER_DIED))
FAILED = BackendFailed(InternalError(Code.DEADLINE_PASSED, seconds=600))
UNREACHABLE = BackendUnavailable(OperatorError(Code.BACKEND_UNREACHABLE, backend="worker"), 5.0)


@asynccontextmanager
async def two_workers(folder: Path, *workers: ScriptedBackend, **more: Any) -> AsyncIterator[House]:
    places = {f"worker {number}": worker for number, worker in enumerate(workers, start=1)}
    async with open_house(folder, places, **more) as house:
        yield house
        assert await house.ledger.check() == []
        assert (await house.counted(Unit.IMAGES))[1] == 0
        assert house.fleet.facts()["worker"].busy == 0


def worker(
    *script: Any, models: set[str] | None = None, loaded: set[str] | None = None, slots: int = 1, version: str = "1"
) -> ScriptedBackend:
    backend = ScriptedBackend("worker", script or (Steps(), Paint()), slots=slots)
    backend.health_now = Health(
        HealthState.UP,
        slots,
        version=version,
        models=frozenset(models) if models is not None else None,
        loaded=frozenset(loaded) if loaded is not None else None,
    )
    return backend


def prompts(backend: ScriptedBackend) -> list[str]:
    return [call.request.prompt for call in backend.calls]


async def finished(house: House, *jobs: Job) -> None:
    for job in jobs:
        assert (await house.reached(job.id, JobState.FINISHED, JobState.FAILED)).state is JobState.FINISHED


async def started(*backends: ScriptedBackend) -> None:
    while not all(backend.running for backend in backends):
        await asyncio.sleep(0)


async def test_jobs_are_spread_over_all_workers(tmp_path: Path) -> None:
    go = asyncio.Event()
    first, second = worker(go, Paint()), worker(go, Paint())
    async with two_workers(tmp_path, first, second) as house:
        jobs = [await house.ask() for _ in range(2)]
        await started(first, second)
        assert house.fleet.facts()["worker"].slots == 2
        go.set()
        await finished(house, *jobs)
    assert (len(first.calls), len(second.calls)) == (1, 1)


async def test_a_job_goes_where_its_model_is(tmp_path: Path) -> None:
    first, second = worker(models={"costly"}), worker(models={"local"})
    async with two_workers(tmp_path, first, second) as house:
        jobs = [await house.ask(model) for model in ("local", "costly", "local")]
        await finished(house, *jobs)
    assert [call.request.model for call in first.calls] == ["costly"]
    assert [call.request.model for call in second.calls] == ["local", "local"]


async def test_a_job_whose_model_no_worker_has_any_more_fails_and_says_so(tmp_path: Path) -> None:
    async with two_workers(tmp_path, worker(models={"costly"}), worker(models={"costly"})) as house:
        job = await house.ask("local")
        ended = await house.reached(job.id, JobState.FAILED)
    assert ended.failure is not None
    assert ended.failure.code is Code.MODEL_NOT_FOUND


async def test_a_job_waits_for_a_worker_that_is_away_and_may_have_its_model(tmp_path: Path) -> None:
    away = worker()
    away.health_now = Health(HealthState.DOWN, slots=0)
    async with two_workers(tmp_path, worker(models={"costly"}), away) as house:
        job = await house.ask("local")
        other = await house.ask("costly")
        await finished(house, other)
        assert (await house.job(job.id)).state is JobState.QUEUED
        away.health_now = Health(HealthState.UP, slots=1, models=frozenset({"local"}))
        house.fleet.lost("worker 2")  # looks at it at once
        await finished(house, job)


async def test_a_worker_lost_mid_job_costs_that_job_one_retry_elsewhere(tmp_path: Path) -> None:
    die, go = asyncio.Event(), asyncio.Event()
    dying, well = worker(Steps(1), die, DIED), worker(go, Paint())
    async with two_workers(tmp_path, dying, well) as house:
        jobs = [await house.ask(prompt=prompt) for prompt in ("one", "two")]
        await started(dying, well)
        # It does not come back.
        dying.health_now = Health(HealthState.DOWN, slots=0)
        die.set()
        go.set()
        await finished(house, *jobs)
        lost = next(job for job in jobs if job.request.prompt == prompts(dying)[0])
        other = next(job for job in jobs if job is not lost)
        assert ((await house.job(lost.id)).starts, (await house.job(other.id)).starts) == (2, 1)
        assert await house.counted(Unit.IMAGES) == (2, 0)
    assert len(dying.calls) == 1


async def test_a_worker_that_cannot_be_reached_is_left_alone_and_the_others_go_on(tmp_path: Path) -> None:
    away, well = worker(UNREACHABLE), worker()
    async with two_workers(tmp_path, away, well) as house:
        jobs = [await house.ask() for _ in range(4)]
        await finished(house, *jobs)
        # The clock of this test stands still: nobody waited for the pause to end.
        assert await house.counted(Unit.IMAGES) == (4, 0)
    assert len(away.calls) == 1
    assert len(well.calls) == 4


async def test_a_scale_down_drains(tmp_path: Path) -> None:
    go = asyncio.Event()
    cluster = worker(go, Paint(), slots=3)
    async with two_workers(tmp_path, cluster) as house:
        jobs = [await house.ask() for _ in range(3)]
        while cluster.running < 3:
            await asyncio.sleep(0)
        cluster.health_now = replace(cluster.health_now, slots=1)
        house.fleet.look_again()
        while house.fleet.health()["worker 1"].slots != 1:
            await asyncio.sleep(0)
        late = await house.ask()
        assert (await house.job(late.id)).state is JobState.QUEUED
        go.set()
        await finished(house, *jobs, late)
        assert not cluster.cancelled
    assert cluster.most_running == 3


async def test_a_scale_up_is_used_at_once(tmp_path: Path) -> None:
    go = asyncio.Event()
    cluster = worker(go, Paint())
    async with two_workers(tmp_path, cluster) as house:
        jobs = [await house.ask() for _ in range(2)]
        await started(cluster)
        assert (await house.job(jobs[1].id)).state is JobState.QUEUED
        cluster.health_now = replace(cluster.health_now, slots=2)
        house.fleet.look_again()
        while cluster.running < 2:
            await asyncio.sleep(0)
        go.set()
        await finished(house, *jobs)


async def test_the_same_prompt_goes_to_the_worker_that_has_it_encoded(tmp_path: Path) -> None:
    first, second = worker(), worker()
    async with two_workers(tmp_path, first, second) as house:
        for prompt in ("a fox", "a fox", "a fox", "a hen"):
            await finished(house, await house.ask(prompt=prompt))
    fox, other = (first, second) if "a fox" in prompts(first) else (second, first)
    assert prompts(fox).count("a fox") == 3
    assert "a fox" not in prompts(other)


async def test_a_worker_that_was_lost_has_no_prompts(tmp_path: Path) -> None:
    first, second = worker(), worker(slots=2)
    async with two_workers(tmp_path, first, second) as house:
        await finished(house, await house.ask(prompt="a fox"))
        assert prompts(second) == ["a fox"]
        house.fleet.lost("worker 2")
        await finished(house, await house.ask(prompt="a fox", seed=8))
    assert len(first.calls) + len(second.calls) == 2


async def painted_in_order(folder: Path, script: Script, clock: Clock, wait: float) -> list[str]:
    """``local`` came in first, but the worker has ``costly`` in its memory."""
    backend = worker(*script, models={"local", "costly"}, loaded={"costly"})
    async with open_house(folder, {"worker": backend}, clock=clock, working=False) as house:
        jobs = [await house.ask(model, user=user) for model, user in (("local", 1), ("costly", 2), ("costly", 3))]
        clock.advance(wait)
        async with house.dispatcher.running():
            for job in jobs:
                await house.reached(job.id, JobState.FINISHED)
    return [call.request.model for call in backend.calls]


@pytest.mark.parametrize(
    ("wait", "order"),
    [(0.0, ["costly", "costly", "local"]), (AFFINITY_SECONDS, ["local", "costly", "costly"])],
    ids=["young", "old"],
)
async def test_a_job_gives_way_to_warm_ones_until_it_is_old(tmp_path: Path, wait: float, order: list[str]) -> None:
    assert await painted_in_order(tmp_path, (Paint(),), Clock(), wait) == order


async def test_workers_that_differ_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    first, second = worker(models={"local"}, version="1"), worker(models={"costly"}, version="2")
    async with two_workers(tmp_path, first, second) as house:
        await finished(house, await house.ask("local"), await house.ask("costly"))
    told = "\n".join(record.getMessage() for record in caplog.records)
    assert "engine 2" in told
    assert "other models" in told


async def test_a_worker_that_fails_again_and_again_is_taken_out_alone(tmp_path: Path) -> None:
    failing, well = worker(FAILED), worker()
    async with two_workers(tmp_path, failing, well) as house:
        ends = []
        for number in range(30):
            job = await house.ask(prompt=f"prompt {number}")
            ends.append((await house.reached(job.id, JobState.FINISHED, JobState.FAILED)).state)
        assert house.fleet.facts()["worker"].slots == 1
    # It had its chances, and the other one has all that came after them.
    assert 1 <= ends.count(JobState.FAILED) == len(failing.calls) < 15
    assert set(ends[-5:]) == {JobState.FINISHED}
