"""A process that ends, and the next one that goes on: nothing lost, nothing paid twice."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from backends.base import Health, HealthState, Working
from config.catalogue import Catalogue
from domain.errors import Code
from domain.job import Failure, JobState, TaskState
from domain.money import MicroUSD
from domain.quota import Unit
from tests.building import CATALOGUE, PATIENCE_SECONDS, open_house
from tests.doubles import Accept, Paint, ScriptedBackend, Steps

PRICE = 10_000
OVER = (JobState.FINISHED, JobState.FAILED, JobState.CANCELLED, JobState.UNKNOWN)
PAID = Paint(cost=MicroUSD(PRICE))


def never() -> asyncio.Event:
    return asyncio.Event()


def local(*script: Any, **more: Any) -> ScriptedBackend:
    return ScriptedBackend("worker", script or (Steps(), Paint()), **more)


def hosted(*script: Any, **more: Any) -> ScriptedBackend:
    options: dict[str, Any] = {"resumes": True, "slots": 4, "resume_script": (PAID,)}
    return ScriptedBackend("wavespeed", script or (Accept(), PAID), **options | more)


async def left_in(
    folder: Path, backend: ScriptedBackend, model: str, *states: JobState, count: int = 1, tasks: str = ""
) -> str:
    """A job that a process left in this state; ``tasks``: once its pictures are in these."""
    async with open_house(folder, {backend.key: backend}) as house:
        with house.events.listen() as events:
            job_id = (await house.ask(model, count=count)).id
            while True:
                job = await house.job(job_id)
                if job.state in states and (not tasks or " ".join(task.state for task in job.tasks) == tasks):
                    return job_id
                if not tasks:
                    await anext(events)
                else:
                    await asyncio.sleep(0)


# A local job runs again.


async def test_a_local_job_is_handed_back_and_runs_again(tmp_path: Path) -> None:
    first = local(Steps(1), never())
    job_id = await left_in(tmp_path, first, "local", JobState.RUNNING)
    assert first.running == 0
    async with open_house(tmp_path, working=False) as house:
        job = await house.job(job_id)
        assert (job.state, job.starts) == (JobState.QUEUED, 1)
        assert await house.counted(Unit.IMAGES) == (0, 1)
    async with open_house(tmp_path, {"worker": local()}) as house:
        job = await house.reached(job_id, *OVER)
        assert (job.state, job.starts) == (JobState.FINISHED, 2)
        assert await house.counted(Unit.IMAGES) == (1, 0)
        assert await house.ledger.check() == []


async def test_pictures_that_are_there_are_not_painted_again(tmp_path: Path) -> None:
    first = local(never())
    first.scripts.append([Paint()])
    job_id = await left_in(tmp_path, first, "local", JobState.RUNNING, count=2, tasks="done pending")
    second = local()
    async with open_house(tmp_path, {"worker": second}) as house:
        job = await house.reached(job_id, *OVER)
        assert (job.state, len(job.pictures), len(second.calls)) == (JobState.FINISHED, 2, 1)
        assert await house.counted(Unit.IMAGES) == (2, 0)


async def test_it_is_started_three_times_at_most(tmp_path: Path) -> None:
    job_id = await left_in(tmp_path, local(never()), "local", JobState.RUNNING)
    for _ in range(2):
        async with open_house(tmp_path, {"worker": local(never())}) as house:
            await house.reached(job_id, JobState.RUNNING)
    async with open_house(tmp_path, working=False) as house:
        job = await house.job(job_id)
        assert job.failure is not None
        assert (job.state, job.starts, job.failure.code) == (JobState.FAILED, 3, Code.TOO_MANY_STARTS)
        assert await house.counted(Unit.IMAGES) == (0, 0)


async def test_running_jobs_are_given_their_time(tmp_path: Path) -> None:
    going = asyncio.Event()
    async with open_house(tmp_path, {"worker": local(going, Paint())}, easel_grace_seconds=20) as house:
        job = await house.ask()
        waiting = await house.ask()
        await house.reached(job.id, JobState.RUNNING)
        going.set()
    async with open_house(tmp_path, working=False) as house:
        assert (await house.job(job.id)).state is JobState.FINISHED
        assert (await house.job(waiting.id)).state is JobState.QUEUED


# Killed: the block is left with nothing handed back. What a kill leaves is what the database says, so that the
# states are written here as the process would have.


async def killed_in(folder: Path, model: str, state: JobState, tasks: list[TaskState], starts: int = 1) -> str:
    """A job that a killed process left: in this state, its pictures in these."""
    async with open_house(folder, working=False) as house:
        job = await house.ask(model, count=len(tasks))
        async with house.database.transaction() as tx:
            await tx.execute(
                "UPDATE jobs SET state = ?, starts = ?, offer = ?, reason = 'only_one' WHERE id = ?",
                (state.value, starts, job.offers[0], job.id),
            )
            for index, task in enumerate(tasks):
                remote = f"remote-{index}" if task is TaskState.ACCEPTED else None
                await tx.execute(
                    "UPDATE tasks SET state = ?, remote_id = ? WHERE job_id = ? AND position = ?",
                    (task.value, remote, job.id, index),
                )
        return job.id


@pytest.mark.parametrize("starts", [1, 2])
async def test_killed_while_painting(tmp_path: Path, starts: int) -> None:
    job_id = await killed_in(tmp_path, "local", JobState.RUNNING, [TaskState.PENDING], starts)
    async with open_house(tmp_path, {"worker": local()}) as house:
        job = await house.reached(job_id, *OVER)
        assert (job.state, job.starts) == (JobState.FINISHED, starts + 1)


async def test_killed_while_painting_for_the_third_time(tmp_path: Path) -> None:
    job_id = await killed_in(tmp_path, "local", JobState.RUNNING, [TaskState.PENDING], starts=3)
    async with open_house(tmp_path, {"worker": local()}) as house:
        job = await house.reached(job_id, *OVER)
        assert job.failure == Failure(Code.TOO_MANY_STARTS, {"starts": 3})
        assert await house.counted(Unit.IMAGES) == (0, 0)


@pytest.mark.parametrize("state", [JobState.ACCEPTED, JobState.RUNNING])
async def test_accepted_pictures_are_asked_for_by_their_id(tmp_path: Path, state: JobState) -> None:
    job_id = await killed_in(tmp_path, "paid", state, [TaskState.ACCEPTED, TaskState.ACCEPTED])
    backend = hosted()
    async with open_house(tmp_path, {"wavespeed": backend}) as house:
        job = await house.reached(job_id, *OVER)
        assert (job.state, job.starts, len(job.pictures)) == (JobState.FINISHED, 1, 2)
        assert sorted(remote for _, remote in backend.resumed) == ["remote-0", "remote-1"]
        assert backend.calls == []
        assert await house.spent() == (2 * PRICE, 0)


async def test_a_submit_whose_answer_was_lost_is_never_sent_again(tmp_path: Path) -> None:
    job_id = await killed_in(tmp_path, "paid", JobState.SUBMITTING, [TaskState.SUBMITTING])
    backend = hosted()
    async with open_house(tmp_path, {"wavespeed": backend}) as house:
        job = await house.reached(job_id, *OVER)
        assert (job.state, job.failure) == (JobState.UNKNOWN, Failure(Code.OUTCOME_UNKNOWN))
        assert not backend.calls
        assert not backend.resumed
        assert await house.spent() == (PRICE, 0)
        assert await house.counted(Unit.IMAGES) == (0, 0)
        assert [due.id for due in await house.outbox.due()] == [job_id]


async def test_a_submit_with_an_idempotency_key_is_sent_again_with_the_same_key(tmp_path: Path) -> None:
    job_id = await killed_in(tmp_path, "paid-batch", JobState.SUBMITTING, [TaskState.SUBMITTING])
    backend = ScriptedBackend("runware", [Accept(), PAID], resumes=True, repeatable_submit=True)
    async with open_house(tmp_path, {"runware": backend}) as house:
        keys = await house.jobs.submission_ids(job_id)
        job = await house.reached(job_id, *OVER)
        assert (job.state, job.starts) == (JobState.FINISHED, 1)
        assert [call.pictures[0].submission_id for call in backend.calls] == keys
        assert await house.spent() == (PRICE, 0)


async def test_each_picture_of_a_job_is_treated_by_itself(tmp_path: Path) -> None:
    states = [TaskState.ACCEPTED, TaskState.SUBMITTING, TaskState.PENDING]
    job_id = await killed_in(tmp_path, "paid", JobState.SUBMITTING, states)
    backend = hosted()
    async with open_house(tmp_path, {"wavespeed": backend}) as house:
        job = await house.reached(job_id, *OVER)
        assert [task.state for task in job.tasks] == [TaskState.DONE, TaskState.UNKNOWN, TaskState.DONE]
        assert [call.pictures[0].index for call in backend.calls] == [2]
        assert len(backend.resumed) == 1
        assert await house.spent() == (3 * PRICE, 0)
        assert await house.counted(Unit.IMAGES) == (2, 0)


async def test_killed_between_the_last_picture_and_the_conclusion(tmp_path: Path) -> None:
    job_id = await killed_in(tmp_path, "paid", JobState.RUNNING, [TaskState.FAILED])
    async with open_house(tmp_path, working=False) as house, house.database.transaction() as tx:
        await tx.execute("UPDATE tasks SET failure_code = 'backend_failed', failure_parameters = '{}'")
    async with open_house(tmp_path, {"wavespeed": hosted()}) as house:
        assert (await house.job(job_id)).state is JobState.FAILED
        assert await house.spent() == (0, 0)


@pytest.mark.parametrize(
    ("state", "tasks", "becomes", "money"),
    [
        (JobState.SUBMITTING, [TaskState.SUBMITTING], JobState.UNKNOWN, PRICE),
        (JobState.ACCEPTED, [TaskState.ACCEPTED], JobState.UNKNOWN, PRICE),
        (JobState.RUNNING, [TaskState.ACCEPTED], JobState.UNKNOWN, PRICE),
        # What was never sent is free; no backend is left to send it to.
        (JobState.SUBMITTING, [TaskState.PENDING], JobState.FAILED, 0),
    ],
)
async def test_the_backend_is_not_configured_any_more(
    tmp_path: Path, state: JobState, tasks: list[TaskState], becomes: JobState, money: int
) -> None:
    job_id = await killed_in(tmp_path, "paid", state, tasks)
    async with open_house(tmp_path, {"worker": local()}) as house:
        job = await house.reached(job_id, *OVER)
        assert job.state is becomes
        assert await house.spent() == (money, 0)


@pytest.mark.parametrize("state", [JobState.SUBMITTING, JobState.ACCEPTED, JobState.RUNNING])
async def test_the_offer_is_not_in_the_catalogue_any_more(tmp_path: Path, state: JobState) -> None:
    task = TaskState.SUBMITTING if state is JobState.SUBMITTING else TaskState.ACCEPTED
    job_id = await killed_in(tmp_path, "paid", state, [task])
    catalogue = Catalogue([model for model in CATALOGUE if model.key != "paid"])
    backend = hosted()
    async with open_house(tmp_path, {"wavespeed": backend}, catalogue=catalogue) as house:
        assert (await house.reached(job_id, *OVER)).state is JobState.UNKNOWN
        assert not backend.calls
        assert not backend.resumed
        assert await house.counted(Unit.IMAGES) == (0, 0)
        # What it may have cost is what was held for it.
        assert await house.spent() == (PRICE, 0)


async def test_a_paid_call_that_cannot_be_resumed_is_never_sent_again(tmp_path: Path) -> None:
    backend = ScriptedBackend("wavespeed", [never(), PAID])
    async with open_house(tmp_path, {"wavespeed": backend}) as house:
        job = await house.ask("paid")
        await house.reached(job.id, JobState.SUBMITTING)
        while not backend.running:
            await asyncio.sleep(0)
    again = ScriptedBackend("wavespeed", [PAID])
    async with open_house(tmp_path, {"wavespeed": again}) as house:
        job = await house.reached(job.id, *OVER)
        assert (job.state, again.calls) == (JobState.UNKNOWN, [])
        assert await house.spent() == (PRICE, 0)


async def test_a_paid_call_that_cannot_be_resumed_and_goes_well(tmp_path: Path) -> None:
    async with open_house(tmp_path, {"wavespeed": ScriptedBackend("wavespeed", [PAID])}) as house:
        job = await house.reached((await house.ask("paid", count=3)).id, *OVER)
        assert (job.state, len(job.pictures)) == (JobState.FINISHED, 3)
        assert await house.spent() == (3 * PRICE, 0)


# Stopping gracefully with hosted calls under way.


@pytest.mark.parametrize("script", [[Accept()], [Accept(), Working()]])
async def test_an_accepted_call_goes_on_at_the_next_start(tmp_path: Path, script: list[Any]) -> None:
    first = hosted(*script, never())
    target = JobState.RUNNING if len(script) == 2 else JobState.ACCEPTED
    job_id = await left_in(tmp_path, first, "paid", target, count=2)
    second = hosted()
    async with open_house(tmp_path, {"wavespeed": second}) as house:
        job = await house.reached(job_id, *OVER)
        assert (job.state, len(second.resumed), second.calls) == (JobState.FINISHED, 2, [])
        assert await house.spent() == (2 * PRICE, 0)


async def test_what_goes_on_waits_for_a_slot_and_can_be_stopped_meanwhile(tmp_path: Path) -> None:
    job_id = await killed_in(tmp_path, "paid", JobState.ACCEPTED, [TaskState.ACCEPTED])
    down = hosted()
    down.health_now = Health(HealthState.DOWN, slots=0)
    async with open_house(tmp_path, {"wavespeed": down}) as house:
        assert (await house.job(job_id)).state is JobState.ACCEPTED
    async with open_house(tmp_path, {"wavespeed": hosted()}) as house:
        assert (await house.reached(job_id, *OVER)).state is JobState.FINISHED


async def test_more_left_behind_than_there_are_slots(tmp_path: Path) -> None:
    job_ids = [
        await killed_in(tmp_path, "paid", JobState.ACCEPTED, [TaskState.ACCEPTED, TaskState.ACCEPTED]) for _ in range(4)
    ]
    backend = hosted(slots=2)
    async with open_house(tmp_path, {"wavespeed": backend}) as house:
        for job_id in job_ids:
            assert (await house.reached(job_id, *OVER)).state is JobState.FINISHED
        assert backend.most_running == 2
        assert await house.spent() == (8 * PRICE, 0)


async def test_finished_jobs_are_due_at_the_next_start(tmp_path: Path) -> None:
    job_ids = []
    async with open_house(tmp_path, {"worker": local()}) as house:
        for _ in range(2):
            job_ids.append((await house.ask()).id)
            await house.reached(job_ids[-1], JobState.FINISHED)
        await house.outbox.begin(job_ids[0])
    async with open_house(tmp_path, working=False) as house:
        assert [(job.id, job.state) for job in await house.outbox.due()] == [
            (job_ids[0], JobState.POSTING),
            (job_ids[1], JobState.FINISHED),
        ]


# Backends that are away.


async def test_a_backend_that_comes_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobs.fleet.HEALTH_SECONDS", 0.01)
    backend = local()
    backend.health_now = Health(HealthState.DOWN, slots=0)
    async with open_house(tmp_path, {"worker": backend}) as house:
        job = await house.ask()
        assert backend.calls == []
        backend.health_now = Health(HealthState.UP, slots=1)
        assert (await house.reached(job.id, *OVER)).state is JobState.FINISHED


async def test_a_job_does_not_wait_for_what_only_an_operator_can_mend(tmp_path: Path) -> None:
    backend = local()
    problem = Failure(Code.MODEL_NOT_FOUND, {"model": "nowhere"})
    backend.health_now = Health(HealthState.DOWN, slots=0, problem=problem)
    async with open_house(tmp_path, {"worker": backend}) as house:
        job = await house.reached((await house.ask()).id, *OVER)
        assert (job.state, job.failure) == (JobState.FAILED, problem)
        assert await house.counted(Unit.IMAGES) == (0, 0)


async def test_a_job_whose_backend_is_not_here_fails_at_once(tmp_path: Path) -> None:
    async with open_house(tmp_path, {"worker": local()}) as house:
        job = await house.reached((await house.ask("paid")).id, *OVER)
        assert job.failure == Failure(Code.BACKEND_UNREACHABLE, {"backend": "wavespeed"})
        assert await house.spent() == (0, 0)


async def test_a_job_that_nobody_can_run_now_does_not_block_the_others(tmp_path: Path) -> None:
    away = hosted()
    away.health_now = Health(HealthState.DOWN, slots=0)
    async with open_house(tmp_path, {"wavespeed": away, "worker": local()}) as house:
        blocked = [await house.ask("paid") for _ in range(5)]
        job = await house.ask("local")
        assert (await house.reached(job.id, *OVER)).state is JobState.FINISHED
        assert {(await house.job(waiting.id)).state for waiting in blocked} == {JobState.QUEUED}


async def test_blocked_jobs_of_a_guild_do_not_push_its_others_back(tmp_path: Path) -> None:
    going = asyncio.Event()
    away = hosted()
    away.health_now = Health(HealthState.DOWN, slots=0)
    backend = local()
    backend.scripts.append([going, Paint()])
    async with open_house(tmp_path, {"wavespeed": away, "worker": backend}) as house:
        first = await house.ask("local", user=1, guild=1)
        await house.reached(first.id, JobState.RUNNING)
        for _ in range(20):
            await house.ask("paid", user=2, guild=2)
        wanted = await house.ask("local", user=3, guild=2)
        for _ in range(5):
            last = await house.ask("local", user=1, guild=1)
        going.set()
        await house.reached(last.id, *OVER)
        assert [call.job_id for call in backend.calls][:2] == [first.id, wanted.id]


async def test_a_paid_backend_is_not_used_while_a_free_one_is_merely_busy(tmp_path: Path) -> None:
    going = asyncio.Event()
    free, paid = local(going, Paint()), hosted()
    async with open_house(tmp_path, {"worker": free, "wavespeed": paid}) as house:
        jobs = [await house.ask("both") for _ in range(3)]
        going.set()
        for job in jobs:
            assert (await house.reached(job.id, *OVER)).offer == "worker:both"
        assert paid.calls == []


async def test_a_backend_whose_health_breaks_is_down_and_the_others_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobs.fleet.HEALTH_SECONDS", 0.01)
    broken, well = hosted(), local()

    async def health() -> Health:
        raise RuntimeError("a bug")

    monkeypatch.setattr(broken, "health", health)
    async with open_house(tmp_path, {"wavespeed": broken, "worker": well}) as house:
        job = await house.ask("both")
        assert (await house.reached(job.id, *OVER)).offer == "worker:both"
        waiting = await house.ask("paid")
        monkeypatch.undo()
        monkeypatch.setattr("jobs.fleet.HEALTH_SECONDS", 0.01)
        assert (await house.reached(waiting.id, *OVER)).state is JobState.FINISHED


async def test_slots_are_never_exceeded(tmp_path: Path) -> None:
    backend, other = local(slots=3), hosted(slots=2)
    backends = {"worker": backend, "wavespeed": other}
    go_on = asyncio.Event()
    # The first ones go on together, once all slots are taken.
    backend.scripts.extend([(go_on, Paint())] * 3)
    other.scripts.extend([(Accept(), go_on, PAID)] * 2)
    async with open_house(tmp_path, backends, easel_default_daily_images=1000) as house:
        jobs = [await house.ask("local" if number % 2 else "paid", count=1 + number % 4) for number in range(24)]
        async with asyncio.timeout(PATIENCE_SECONDS):
            while (backend.running, other.running) != (3, 2):
                await asyncio.sleep(0)
        go_on.set()
        for job in jobs:
            assert (await house.reached(job.id, *OVER)).state is JobState.FINISHED
        assert backend.most_running == 3
        assert other.most_running == 2
        assert await house.ledger.check() == []
