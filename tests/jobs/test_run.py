"""Every way in which a call can end, and what becomes of the job, the quota and the money."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
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
from domain.errors import Code, EaselError, OperatorError, UserError
from domain.job import Failure, Job, JobState, TaskState
from domain.money import MicroUSD
from domain.quota import Unit
from jobs.events import ModelLoading, PictureMade, PreviewReady, StateChanged, StepDone
from tests.building import PATIENCE_SECONDS, Clock, House, open_house
from tests.doubles import Accept, Paint, ScriptedBackend, Steps

PRICE = 10_000
ERROR = EaselError(Code.BACKEND_FAILED, backend="somewhere")
OVER = (JobState.FINISHED, JobState.FAILED, JobState.CANCELLED, JobState.UNKNOWN)


def ended(kind: type[CallEnded]) -> CallEnded:
    return kind(ERROR)


@asynccontextmanager
async def house_with(folder: Path, backend: ScriptedBackend, **more: Any) -> AsyncIterator[House]:
    async with open_house(folder, {backend.key: backend}, **more) as house:
        yield house
        # Whatever happened: nothing is held, no slot is taken, no stream is open, and the ledger adds up.
        assert await house.ledger.check() == []
        if not house.dispatcher._runs:
            assert house.fleet.facts()[backend.key].busy == 0
            assert backend.running == 0


async def nothing_is_held(house: House) -> bool:
    return all([(await house.counted(unit))[1] == 0 for unit in Unit])


def local(*script: Any, **more: Any) -> ScriptedBackend:
    return ScriptedBackend("worker", script or (Steps(), Paint()), **more)


def hosted(*script: Any, **more: Any) -> ScriptedBackend:
    options: dict[str, Any] = {"resumes": True, "slots": 4}
    return ScriptedBackend("wavespeed", script or (Accept(), Paint(cost=MicroUSD(PRICE))), **options | more)


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


# Again.


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


# Cancelling.


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


# Errors of our own.


async def test_a_job_that_an_error_left_goes_on_when_the_database_is_well_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobs.dispatcher.MEND_SECONDS", 0.01)
    lock = asyncio.Event()
    backend = local(lock, Paint())
    async with house_with(tmp_path, backend) as house:
        job = await house.ask()
        await house.reached(job.id, JobState.RUNNING)
        async with house.database.transaction() as tx:
            await tx.execute(
                "CREATE TRIGGER full BEFORE UPDATE ON jobs BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END"
            )
        lock.set()
        while house.dispatcher._runs:
            await asyncio.sleep(0)
        assert (await house.job(job.id)).state is JobState.RUNNING
        async with house.database.transaction() as tx:
            await tx.execute("DROP TRIGGER full")
        assert (await house.reached(job.id, *OVER)).state is JobState.FINISHED
        assert await house.counted(Unit.IMAGES) == (1, 0)


async def test_the_dispatcher_outlives_an_error_and_keeps_its_slots(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("jobs.dispatcher.MEND_SECONDS", 0.01)
    async with house_with(tmp_path, local(slots=1)) as house:
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
