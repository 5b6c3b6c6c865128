"""Every way in which a call can end, and what becomes of the job, the quota and the money."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from backends.base import (
    Accepted,
    BackendFailed,
    BackendUnavailable,
    CallEnded,
    Loading,
    Made,
    OutcomeUnknown,
    PictureFailed,
    Preview,
    RequestRefused,
    WorkerDied,
    Working,
)
from domain.errors import Code
from domain.job import Failure, JobState, TaskState
from domain.money import MicroUSD
from domain.quota import Unit
from jobs.events import ModelLoading, PictureMade, PreviewReady, StateChanged, StepDone
from jobs.rests import Rests
from tests.building import PATIENCE_SECONDS, open_house
from tests.doubles import Accept, Paint, ScriptedBackend, Steps
from tests.jobs.runs import ERROR, OVER, PRICE, ended, hosted, house_with, local, nothing_is_held

# Pictures.


@pytest.mark.parametrize("model", ["local", "local-batch"])
async def test_pictures_from_the_own_gpu(tmp_path: Path, model: str) -> None:
    backend = local(Steps(), Paint(seconds=1.5))
    async with house_with(tmp_path, backend) as house:
        job = await house.reached((await house.ask(model, count=4)).id, *OVER)
        assert (job.state, job.starts, job.reason) == (JobState.FINISHED, 1, "only_one")
        assert [task.state for task in job.tasks] == [TaskState.DONE] * 4
        assert [task.seed for task in job.tasks] == [7, 8, 9, 10]
        assert all(house.pictures.path(picture.name).exists() for picture in job.pictures)
        assert len(backend.calls) == (1 if model == "local-batch" else 4)
        assert await house.counted(Unit.IMAGES) == (4, 0)
        assert await house.counted(Unit.GPU_SECONDS) == (6000, 0)
        assert await house.spent() == (0, 0)
        assert not list((tmp_path / "pictures" / "partial").iterdir())


@pytest.mark.parametrize("count", [1, 3])
async def test_pictures_that_were_paid_for(tmp_path: Path, count: int) -> None:
    backend = hosted()
    async with house_with(tmp_path, backend) as house:
        job = await house.reached((await house.ask("paid", count=count)).id, *OVER)
        assert job.state is JobState.FINISHED
        assert backend.accepted == count
        assert len({call.pictures[0].submission_id for call in backend.calls}) == count
        assert await house.spent() == (PRICE * count, 0)
        assert await house.counted(Unit.IMAGES) == (count, 0)


@pytest.mark.parametrize("slots", [1, 2, 3])
async def test_jobs_of_several_calls_share_few_slots_and_all_end(tmp_path: Path, slots: int) -> None:
    backend = hosted(slots=slots)
    async with house_with(tmp_path, backend) as house:
        jobs = [await house.ask("paid", count=4) for _ in range(4)]
        for job in jobs:
            assert (await house.reached(job.id, *OVER)).state is JobState.FINISHED
        assert backend.most_running == slots
        assert await house.spent() == (PRICE * 16, 0)


async def test_the_money_is_what_the_vendor_charged(tmp_path: Path) -> None:
    backend = hosted()
    backend.scripts.extend([[Accept(), Paint(cost=MicroUSD(3))], [Accept(), Paint(cost=None)]])
    async with house_with(tmp_path, backend) as house:
        job = await house.reached((await house.ask("paid", count=2)).id, *OVER)
        assert job.cost == 3 + PRICE
        assert await house.spent() == (3 + PRICE, 0)


async def test_a_seed_that_the_vendor_chose_is_what_people_read(tmp_path: Path) -> None:
    async with open_house(tmp_path / "paint", {"worker": local()}) as painting:
        made = await painting.reached((await painting.ask()).id, *OVER)
        path = painting.pictures.path(made.pictures[0].name)
        backend = local(Made(index=0, path=path, seed=99, seconds=2.0))
        async with house_with(tmp_path / "house", backend) as house:
            job = await house.reached((await house.ask()).id, *OVER)
            assert (job.tasks[0].seed, job.seconds) == (99, 2.0)


async def test_what_is_flagged_is_paid_for_and_not_shown(tmp_path: Path) -> None:
    async with house_with(tmp_path, hosted(Accept(), Paint(cost=MicroUSD(PRICE), flagged=True))) as house:
        job = await house.reached((await house.ask("paid")).id, *OVER)
        assert job.state is JobState.FAILED
        assert job.failure is not None
        assert job.failure.code is Code.CONTENT_FLAGGED
        assert await house.spent() == (PRICE, 0)
        assert await house.counted(Unit.IMAGES) == (0, 0)


async def test_what_is_no_picture_fails_and_is_paid_for(tmp_path: Path) -> None:
    (tmp_path / "letter.png").write_text("no picture")
    backend = hosted(Accept(), Made(0, tmp_path / "letter.png", cost=MicroUSD(PRICE)))
    async with house_with(tmp_path / "house", backend) as house:
        job = await house.reached((await house.ask("paid")).id, *OVER)
        assert job.failure is not None
        assert (job.state, job.failure.code) == (JobState.FAILED, Code.BACKEND_ANSWER_INVALID)
        assert await house.spent() == (PRICE, 0)


async def test_a_disk_that_is_full_by_then(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    async with house_with(tmp_path, hosted()) as house:
        monkeypatch.setattr("jobs.pictures.os.fsync", full)
        job = await house.reached((await house.ask("paid")).id, *OVER)
        assert job.failure is not None
        assert (job.state, job.failure.code) == (JobState.FAILED, Code.DISK_FULL)
        assert await house.spent() == (PRICE, 0)
        assert await house.counted(Unit.IMAGES) == (0, 0)
        assert not list((tmp_path / "pictures" / "partial").iterdir())


# Endings without a picture: (how it ends, before or after it was accepted) -> state, money.

ENDINGS = [
    (RequestRefused, False, JobState.FAILED, 0),
    (BackendFailed, True, JobState.FAILED, 0),
    (OutcomeUnknown, False, JobState.UNKNOWN, PRICE),
    (OutcomeUnknown, True, JobState.UNKNOWN, PRICE),
    (BackendUnavailable, True, JobState.UNKNOWN, PRICE),  # contradicts itself: nobody can tell
    (WorkerDied, True, JobState.UNKNOWN, PRICE),
]


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize(("ending", "accepted", "state", "money"), ENDINGS)
async def test_a_paid_call_that_ends_without_a_picture(
    tmp_path: Path, ending: type[CallEnded], accepted: bool, state: JobState, money: int, count: int
) -> None:
    backend = hosted(*([Accept()] if accepted else []), ended(ending))
    async with house_with(tmp_path, backend) as house:
        job = await house.reached((await house.ask("paid", count=count)).id, *OVER)
        assert job.state is state
        assert job.failure == Failure(ERROR.code, dict(ERROR.parameters))
        assert len(backend.calls) == count
        assert await house.spent() == (money * count, 0)
        assert await house.counted(Unit.IMAGES) == (0, 0)


async def test_what_a_vendor_keeps_of_a_failure_is_charged(tmp_path: Path) -> None:
    async with house_with(tmp_path, hosted(Accept(), BackendFailed(ERROR, MicroUSD(77)))) as house:
        job = await house.reached((await house.ask("paid")).id, *OVER)
        assert (job.state, await house.spent()) == (JobState.FAILED, (77, 0))


@pytest.mark.parametrize("model", ["local", "local-batch"])
@pytest.mark.parametrize("ending", [RequestRefused, BackendFailed])
async def test_a_local_call_that_fails(tmp_path: Path, ending: type[CallEnded], model: str) -> None:
    backend = local(ended(ending))
    async with house_with(tmp_path, backend) as house:
        job = await house.reached((await house.ask(model, count=3)).id, *OVER)
        assert (job.state, job.starts) == (JobState.FAILED, 1)
        assert await nothing_is_held(house)


async def test_a_stream_that_just_ends(tmp_path: Path) -> None:
    async with house_with(tmp_path, hosted(Accept())) as house:
        job = await house.reached((await house.ask("paid")).id, *OVER)
        assert job.failure is not None
        assert (job.state, job.failure.code) == (JobState.FAILED, Code.BACKEND_ANSWER_INVALID)


class Broken(ScriptedBackend):
    """Has a bug."""

    async def run(self, call: Any) -> Any:
        if self.resumes:
            yield Accepted((0,), "remote")
        raise KeyError("oops")


@pytest.mark.parametrize(
    ("backend", "model", "state", "money"),
    [
        (Broken("worker"), "local", JobState.FAILED, 0),
        (Broken("wavespeed", resumes=True), "paid", JobState.UNKNOWN, PRICE),
    ],
)
async def test_a_bug_ends_one_job_with_an_incident(
    tmp_path: Path, backend: Broken, model: str, state: JobState, money: int
) -> None:
    async with house_with(tmp_path, backend) as house:
        job = await house.reached((await house.ask(model)).id, *OVER)
        assert job.failure is not None
        assert (job.state, job.failure.code) == (state, Code.UNEXPECTED)
        assert len(str(job.failure.parameters["incident"])) == 8
        assert await house.spent() == (money, 0)


# Deadlines.


@pytest.mark.parametrize(
    ("backend", "model", "state", "money"),
    [
        (local(asyncio.Event()), "hasty", JobState.FAILED, 0),
        (hosted(asyncio.Event()), "hasty-paid", JobState.UNKNOWN, PRICE),
        (hosted(Accept(), asyncio.Event()), "hasty-paid", JobState.UNKNOWN, PRICE),
    ],
)
async def test_a_call_that_takes_too_long(
    tmp_path: Path, backend: ScriptedBackend, model: str, state: JobState, money: int
) -> None:
    async with house_with(tmp_path, backend) as house:
        job = await house.reached((await house.ask(model)).id, *OVER)
        assert job.failure is not None
        assert (job.state, job.failure.code) == (state, Code.DEADLINE_PASSED)
        assert len(backend.cancelled) == 1
        assert await house.spent() == (money, 0)


# Partial success.


async def test_what_was_made_is_posted_and_charged_and_the_rest_is_free(tmp_path: Path) -> None:
    backend = hosted()
    backend.scripts.extend([[Accept(), Paint(cost=MicroUSD(PRICE))], [ended(RequestRefused)], [ended(OutcomeUnknown)]])
    async with house_with(tmp_path, backend) as house:
        job = await house.reached((await house.ask("paid", count=3)).id, *OVER)
        assert job.state is JobState.FINISHED
        assert sorted(task.state for task in job.tasks) == ["done", "failed", "unknown"]
        assert len(job.pictures) == 1
        assert await house.counted(Unit.IMAGES) == (1, 0)
        assert await house.spent() == (2 * PRICE, 0)


async def test_one_picture_of_a_call_for_several_fails(tmp_path: Path) -> None:
    failure = Failure(Code.CONTENT_FLAGGED, {})
    backend = ScriptedBackend(
        "runware",
        [Accept(), Paint(0, cost=MicroUSD(5)), PictureFailed(1, failure, MicroUSD(2)), Paint(2, cost=MicroUSD(5))],
        resumes=True,
    )
    async with house_with(tmp_path, backend) as house:
        job = await house.reached((await house.ask("paid-batch", count=3)).id, *OVER)
        assert [task.state for task in job.tasks] == [TaskState.DONE, TaskState.FAILED, TaskState.DONE]
        assert job.tasks[1].failure == failure
        assert await house.spent() == (12, 0)


@pytest.mark.parametrize("ending", [BackendFailed, OutcomeUnknown])
async def test_a_call_for_several_ends_in_its_middle(tmp_path: Path, ending: type[CallEnded]) -> None:
    backend = ScriptedBackend("runware", [Accept(), Paint(0, cost=MicroUSD(5)), ended(ending)], resumes=True)
    async with house_with(tmp_path, backend) as house:
        job = await house.reached((await house.ask("paid-batch", count=3)).id, *OVER)
        assert (job.state, len(job.pictures)) == (JobState.FINISHED, 1)
        lost = 2 * 20_000 if ending is OutcomeUnknown else 0
        assert await house.spent() == (5 + lost, 0)


# Errors of our own.


async def test_a_job_that_an_error_left_goes_on_when_the_database_is_well_again(tmp_path: Path) -> None:
    lock = asyncio.Event()
    backend = local(lock, Paint())
    async with house_with(tmp_path, backend, rests=Rests(mend=0.01)) as house:
        job = await house.ask()
        await house.reached(job.id, JobState.RUNNING)
        async with house.database.transaction() as tx:
            await tx.execute(
                "CREATE TRIGGER full BEFORE UPDATE ON jobs BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END"
            )
        lock.set()
        while house.dispatcher.under_way:
            await asyncio.sleep(0)
        assert (await house.job(job.id)).state is JobState.RUNNING
        async with house.database.transaction() as tx:
            await tx.execute("DROP TRIGGER full")
        assert (await house.reached(job.id, *OVER)).state is JobState.FINISHED
        assert await house.counted(Unit.IMAGES) == (1, 0)


async def test_the_dispatcher_outlives_an_error_and_keeps_its_slots(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with house_with(tmp_path, local(slots=1), rests=Rests(mend=0.01)) as house:
        async with house.database.transaction() as tx:
            await tx.execute("CREATE TRIGGER full BEFORE UPDATE ON jobs BEGIN SELECT RAISE(ABORT, 'full'); END")
        job = await house.ask()
        async with asyncio.timeout(PATIENCE_SECONDS):
            while "no job can be started" not in caplog.text:
                await asyncio.sleep(0)
        async with house.database.transaction() as tx:
            await tx.execute("DROP TRIGGER full")
        assert (await house.reached(job.id, *OVER)).state is JobState.FINISHED


# What listeners are told.


async def test_events_of_a_local_job(tmp_path: Path) -> None:
    backend = local(Loading(3.0), Steps(2), Preview(0, b"preview", "image/webp"), Paint())
    async with house_with(tmp_path, backend) as house:
        with house.events.listen() as events:
            job = await house.ask()
            await house.reached(job.id, JobState.FINISHED)
            await house.outbox.begin(job.id)
            told = []
            async for event in events:
                if getattr(event, "job_id", None) == job.id:
                    told.append(event)
                if event == StateChanged(job.id, JobState.POSTING):
                    break
        assert told == [
            StateChanged(job.id, JobState.RUNNING),
            ModelLoading(job.id, 3.0),
            StepDone(job.id, 0, 1, 2),
            StepDone(job.id, 0, 2, 2),
            PreviewReady(job.id, 0, b"preview", "image/webp"),
            PictureMade(job.id, 0, f"{job.id}-0.png"),
            StateChanged(job.id, JobState.FINISHED),
            StateChanged(job.id, JobState.POSTING),
        ]


async def test_states_of_a_hosted_job(tmp_path: Path) -> None:
    both = asyncio.Event()
    backend = hosted(Accept(), both, Working(), Working(), Paint())
    async with house_with(tmp_path, backend) as house:
        states = []
        with house.events.listen() as events:
            job = await house.ask("paid", count=4)
            async for event in events:
                if isinstance(event, StateChanged):
                    assert (await house.job(job.id)).state is event.state, "told before it was committed"
                    states.append(event.state)
                    if event.state is JobState.ACCEPTED:
                        both.set()
                    if event.state in OVER:
                        break
        assert states == [JobState.SUBMITTING, JobState.ACCEPTED, JobState.RUNNING, JobState.FINISHED]
        assert len((await house.job(job.id)).pictures) == 4
