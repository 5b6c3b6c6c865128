"""What one offer definitely does not take goes to the next one; what may have been taken never does."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from backends.base import (
    BackendFailed,
    BackendUnavailable,
    CallEnded,
    OutcomeUnknown,
    RequestRefused,
    WorkerDied,
    Working,
)
from backends.runware import RunwareBackend
from backends.wavespeed import WaveSpeedBackend
from domain.errors import Code, EaselError, OperatorError, UserError
from domain.job import Job, JobState, TaskState
from domain.money import MicroUSD
from jobs.events import StateChanged
from tests.backends.calls import CATALOGUE as SHIPPED
from tests.backends.conftest import IMPATIENT, QUICK, runware, wavespeed
from tests.building import Clock, House, model, offer, open_house
from tests.doubles import Accept, FakeClock, Paint, ScriptedBackend, Steps
from tests.servers.hosted import Fault
from tests.servers.runware import RunwareServer
from tests.servers.wavespeed import WaveSpeedServer

OVER = (JobState.FINISHED, JobState.FAILED, JobState.CANCELLED, JobState.UNKNOWN)
REFUSED = RequestRefused(OperatorError(Code.BACKEND_REFUSED, backend="wavespeed", reason="no"))
GONE = BackendUnavailable(OperatorError(Code.BACKEND_UNREACHABLE, backend="wavespeed", reason="no connection"), 60)
LIMITED = BackendUnavailable(OperatorError(Code.BACKEND_RATE_LIMITED, backend="wavespeed"), 60)
KEY = BackendUnavailable(OperatorError(Code.BACKEND_KEY_REFUSED, backend="wavespeed", status=401, reason=""), 60)
COST = MicroUSD(5_000)


def first(*script: Any, **more: Any) -> ScriptedBackend:
    return ScriptedBackend("wavespeed", script, resumes=True, **({"slots": 4} | more))


def second(*script: Any) -> ScriptedBackend:
    return ScriptedBackend("runware", script or (Accept(), Paint(cost=COST)), resumes=True, slots=4)


@asynccontextmanager
async def two(folder: Path, one: ScriptedBackend, other: ScriptedBackend, **more: Any) -> AsyncIterator[House]:
    async with open_house(folder, {"wavespeed": one, "runware": other}, **more) as house:
        yield house
        assert await house.ledger.check() == []
        assert (await house.spent())[1] == 0, "nothing is held any more"


# What is definitely not taken.


@pytest.mark.parametrize(("ended", "starts"), [(REFUSED, 2), (GONE, 2), (LIMITED, 1), (KEY, 2)])
@pytest.mark.parametrize("count", [1, 3])
async def test_what_one_does_not_take_another_one_gets_at_once(
    tmp_path: Path, ended: CallEnded, starts: int, count: int
) -> None:
    one, other = first(ended, slots=1), second()
    async with two(tmp_path, one, other) as house:
        job = await house.reached((await house.ask("hosted", count=count)).id, *OVER)
        assert (job.state, job.offer, job.reason) == (JobState.FINISHED, "runware:hosted", "failed_over")
        assert job.starts == starts
        assert (len(one.calls), len(other.calls), other.accepted) == (1, count, count)
        assert await house.spent() == (COST * count, 0)
        assert [task.failure for task in job.tasks] == [None] * count
        assert job.turned_down.keys() == ({"wavespeed:hosted"} if ended is REFUSED else set())


async def test_a_free_one_that_refuses_makes_room_for_a_paid_one(tmp_path: Path) -> None:
    gpu = ScriptedBackend("worker", [REFUSED])
    paid = first(Accept(), Paint())
    async with open_house(tmp_path, {"worker": gpu, "wavespeed": paid}) as house:
        job = await house.reached((await house.ask("both")).id, *OVER)
        assert (job.state, job.offer, job.starts) == (JobState.FINISHED, "wavespeed:both", 2)


async def test_a_free_one_that_has_too_much_to_do_does_not(tmp_path: Path) -> None:
    gpu = ScriptedBackend("worker", [Paint()])
    gpu.scripts.append([LIMITED])
    paid = first(Accept(), Paint())
    async with open_house(tmp_path, {"worker": gpu, "wavespeed": paid}) as house:
        job = await house.ask("both")
        await requeued(house, job)
        house.clock.advance(60)
        house.dispatcher.wake()
        job = await house.reached(job.id, *OVER)
        assert (job.state, job.offer, job.starts, paid.calls) == (JobState.FINISHED, "worker:both", 1, [])


async def requeued(house: House, job: Job) -> None:
    with house.events.listen() as events:
        async for event in events:
            if event == StateChanged(job.id, JobState.QUEUED):
                return


async def test_nowhere_else_to_go(tmp_path: Path) -> None:
    one = first(REFUSED)
    async with open_house(tmp_path, {"wavespeed": one}) as house:
        job = await house.reached((await house.ask("hosted", count=2)).id, *OVER)
        assert job.failure is not None
        assert (job.state, job.failure.code, job.starts) == (JobState.FAILED, Code.BACKEND_REFUSED, 1)
        assert len(one.calls) == 2, "another seed may be welcome"


async def test_the_last_refusal_is_what_people_read(tmp_path: Path) -> None:
    other = second(RequestRefused(OperatorError(Code.BACKEND_REFUSED, backend="runware", reason="neither")))
    async with two(tmp_path, first(REFUSED), other) as house:
        job = await house.reached((await house.ask("hosted")).id, *OVER)
        assert job.failure is not None
        assert (job.state, job.failure.parameters["backend"], job.starts) == (JobState.FAILED, "runware", 2)


async def test_three_starts_at_most(tmp_path: Path) -> None:
    one, other = first(GONE), second(GONE)
    async with two(tmp_path, one, other) as house:
        job = await house.ask("hosted")
        with house.events.listen() as events:
            async for event in events:
                if isinstance(event, StateChanged) and event.state is JobState.QUEUED:
                    house.clock.advance(61)
                    house.dispatcher.wake()
                if isinstance(event, StateChanged) and event.state in OVER:
                    break
        job = await house.job(job.id)
        assert (job.state, job.starts) == (JobState.FAILED, 3)
        assert len(one.calls) + len(other.calls) == 3


# What may have been taken, or is not to be shopped around.


@pytest.mark.parametrize(
    ("script", "state"),
    [
        ([OutcomeUnknown(EaselError(Code.OUTCOME_UNKNOWN, backend="wavespeed"))], JobState.UNKNOWN),
        ([Accept(), OutcomeUnknown(EaselError(Code.OUTCOME_UNKNOWN, backend="wavespeed"))], JobState.UNKNOWN),
        ([Accept(), BackendFailed(EaselError(Code.BACKEND_FAILED, backend="wavespeed", reason="no"))], JobState.FAILED),
        ([Accept(), GONE], JobState.UNKNOWN),
        ([WorkerDied(EaselError(Code.WORKER_DIED))], JobState.UNKNOWN),
        ([RequestRefused(UserError(Code.CONTENT_FLAGGED, backend="wavespeed"))], JobState.FAILED),
    ],
)
async def test_never_after_it_may_have_been_taken(tmp_path: Path, script: list[Any], state: JobState) -> None:
    other = second()
    async with two(tmp_path, first(*script), other) as house:
        job = await house.reached((await house.ask("hosted")).id, *OVER)
        assert (job.state, job.starts, other.calls) == (state, 1, [])


async def test_never_after_a_sibling_was_accepted(tmp_path: Path) -> None:
    one, other = first(slots=1), second()
    one.scripts.extend([[Accept(), Paint(cost=COST)], [REFUSED], [REFUSED]])
    async with two(tmp_path, one, other) as house:
        job = await house.reached((await house.ask("hosted", count=3)).id, *OVER)
        assert (job.state, job.starts, other.calls) == (JobState.FINISHED, 1, [])
        assert [task.state for task in job.tasks] == [TaskState.DONE, TaskState.FAILED, TaskState.FAILED]
        assert await house.spent() == (COST, 0)


async def test_a_sibling_that_is_accepted_after_the_refusal_binds_the_job(tmp_path: Path) -> None:
    """Two calls are on their way: one is refused, then the other is accepted."""
    go = asyncio.Event()
    one, other = first(slots=2), second()
    one.scripts.extend([[REFUSED], [go, Accept(), Paint(cost=COST)]])
    async with two(tmp_path, one, other) as house:
        job = await house.ask("hosted", count=2)
        async with asyncio.timeout(60):
            while [task.state for task in (await house.job(job.id)).tasks] != [TaskState.PENDING, TaskState.SUBMITTING]:
                await asyncio.sleep(0)
        go.set()
        job = await house.reached(job.id, *OVER)
        assert (job.state, job.starts, other.calls) == (JobState.FINISHED, 1, [])
        assert [task.state for task in job.tasks] == [TaskState.FAILED, TaskState.DONE]
        assert job.tasks[0].failure is not None
        assert job.tasks[0].failure.code is Code.BACKEND_REFUSED
        assert await house.spent() == (COST, 0)


async def test_a_sibling_that_is_lost_after_the_refusal_binds_the_job(tmp_path: Path) -> None:
    go = asyncio.Event()
    one, other = first(slots=2), second()
    one.scripts.extend([[REFUSED], [go, OutcomeUnknown(EaselError(Code.OUTCOME_UNKNOWN, backend="wavespeed"))]])
    async with two(tmp_path, one, other) as house:
        job = await house.ask("hosted", count=2)
        async with asyncio.timeout(60):
            while [task.state for task in (await house.job(job.id)).tasks] != [TaskState.PENDING, TaskState.SUBMITTING]:
                await asyncio.sleep(0)
        go.set()
        job = await house.reached(job.id, *OVER)
        assert (job.state, other.calls) == (JobState.UNKNOWN, [])
        assert [task.state for task in job.tasks] == [TaskState.FAILED, TaskState.UNKNOWN]


async def test_what_turned_it_down_is_remembered_over_a_restart(tmp_path: Path) -> None:
    one, other = first(REFUSED), second()
    other.health_now = type(other.health_now)(other.health_now.state, 0)  # busy: no slot
    async with open_house(tmp_path, {"wavespeed": one, "runware": other}) as house:
        job = await house.ask("hosted")
        await requeued(house, job)
    again, other = first(Accept(), Paint()), second()
    async with open_house(tmp_path, {"wavespeed": again, "runware": other}) as house:
        job = await house.reached(job.id, *OVER)
        assert (job.offer, job.state, again.calls) == ("runware:hosted", JobState.FINISHED, [])


# Backends that fail again and again.


async def test_after_repeated_faults_a_backend_is_left_alone_and_then_tried_with_one_job(tmp_path: Path) -> None:
    clock = Clock()
    one, other = first(GONE, slots=4), second()
    async with two(tmp_path, one, other, clock=clock) as house:
        for _ in range(5):
            job = await house.reached((await house.ask("hosted")).id, *OVER)
            assert job.offer == "runware:hosted"
            clock.advance(61 if len(one.calls) < 5 else 0)
        # Five faults within two minutes are too many; they were a minute apart, so the first are forgotten.
        clock.advance(61)
        assert not house.fleet.is_suspended("wavespeed")
        one.script = [BackendUnavailable(GONE.error, 0)]
        for _ in range(5):
            await house.reached((await house.ask("hosted")).id, *OVER)
        assert house.fleet.is_suspended("wavespeed")
        calls = len(one.calls)
        job = await house.reached((await house.ask("hosted")).id, *OVER)
        assert (job.reason, len(one.calls)) == ("others_down", calls), "it rests"

        clock.advance(16)
        go = asyncio.Event()
        one.script = [go, Accept(), Paint(cost=COST)]
        probe = await house.ask("hosted")
        await house.reached(probe.id, JobState.SUBMITTING)
        meanwhile = await house.reached((await house.ask("hosted")).id, *OVER)
        assert (meanwhile.offer, len(one.calls)) == ("runware:hosted", calls + 1), "one at a time"
        go.set()
        await house.reached(probe.id, *OVER)
        job = await house.reached((await house.ask("hosted")).id, *OVER)
        assert (job.offer, job.reason) == ("wavespeed:hosted", "first_in_order")


async def test_a_backend_that_hangs_is_taken_out(tmp_path: Path) -> None:
    backend = ScriptedBackend("worker", [asyncio.Event()])
    async with open_house(tmp_path, {"worker": backend}) as house:
        await house.reached((await house.ask("hasty")).id, *OVER)
        assert house.fleet.is_suspended("worker")
        problem = house.fleet.problem("worker")
        assert problem is not None
        assert problem.code is Code.DEADLINE_PASSED
        waiting = await house.ask("local")
        assert (await house.job(waiting.id)).state is JobState.QUEUED
        backend.script = [Steps(), Paint()]
        house.clock.advance(16)
        house.dispatcher.wake()
        assert (await house.reached(waiting.id, *OVER)).state is JobState.FINISHED
        assert not house.fleet.is_suspended("worker")


async def test_a_refused_key_holds_a_backend_until_it_says_that_it_is_well(tmp_path: Path) -> None:
    one = first(Accept(), Paint(cost=COST))
    one.scripts.append([KEY])
    async with open_house(tmp_path, {"wavespeed": one}) as house:
        job = await house.reached((await house.ask("paid")).id, *OVER)
        assert job.failure is not None
        assert (job.state, job.failure.code) == (JobState.FAILED, Code.BACKEND_KEY_REFUSED)
        assert await house.spent() == (0, 0)
        job = await house.reached((await house.ask("paid")).id, *OVER)
        assert (job.state, len(one.calls)) == (JobState.FAILED, 1), "nobody waits for the operator"
        house.clock.advance(61)
        house.fleet.look_again()
        async with asyncio.timeout(60):
            while house.fleet.is_suspended("wavespeed"):
                await asyncio.sleep(0)
        job = await house.reached((await house.ask("paid")).id, *OVER)
        assert job.state is JobState.FINISHED


# Two strict servers over real sockets: how often each was sent to, and what it accepted.


@dataclass(frozen=True)
class Case:
    """A fault of the first server, and what comes of the job."""

    fault: Fault | None
    """None: connections are refused."""
    goes_on: bool


CASES = {
    "connection refused": Case(None, True),
    "400": Case(Fault(400, {"message": "no"}), True),
    "401": Case(Fault(401, {"message": "no"}), True),
    "402": Case(Fault(402, {"message": "no"}), True),
    "403": Case(Fault(403, {"message": "no"}), True),
    "404": Case(Fault(404, {"message": "no"}), True),
    "429": Case(Fault(429), True),
    "429, Retry-After": Case(Fault(429, headers={"Retry-After": "17"}), True),
    "500": Case(Fault(500), False),
    "503": Case(Fault(503), False),
    "504, taken": Case(Fault(504, accepted=True), False),
    "cut before the answer": Case(Fault(cut="before"), False),
    "cut mid-body, taken": Case(Fault(cut="middle", accepted=True), False),
    "invalid JSON": Case(Fault(raw="<html>"), False),
    "silence, taken": Case(Fault(silent=True, accepted=True), False),
}


@dataclass
class Pair:
    """Both servers, and the backends that speak to them."""

    wavespeed: WaveSpeedServer
    runware: RunwareServer
    backends: dict[str, WaveSpeedBackend | RunwareBackend]


@asynccontextmanager
async def servers(impatient: bool) -> AsyncIterator[Pair]:
    clock = FakeClock()
    async with AsyncExitStack() as stack:
        one = await stack.enter_async_context(WaveSpeedServer())
        other = await stack.enter_async_context(RunwareServer())
        timeouts = IMPATIENT if impatient else QUICK
        backends: dict[str, WaveSpeedBackend | RunwareBackend] = {
            "wavespeed": await stack.enter_async_context(wavespeed(one, clock, timeouts=timeouts)),
            "runware": await stack.enter_async_context(runware(other, clock)),
        }
        yield Pair(one, other, backends)


@pytest.mark.parametrize("name", CASES)
async def test_one_submit_is_accepted_over_both_servers(tmp_path: Path, name: str) -> None:
    case = CASES[name]
    async with servers(impatient="silence" in name) as pair:
        catalogue = SHIPPED.restricted_to(["wavespeed", "runware"], [])
        async with open_house(tmp_path, pair.backends, catalogue=catalogue) as house:
            async with asyncio.timeout(60):
                while len([one for one in house.fleet.health().values() if one.slots]) < 2:
                    await asyncio.sleep(0)
            if case.fault is None:
                await pair.wavespeed.stop()
            else:
                pair.wavespeed.fail("submit", case.fault)
            job = await house.reached((await house.ask("hidream-i1-full")).id, *OVER)
            accepted = len(pair.wavespeed.tasks), len(pair.runware.tasks)
            assert pair.wavespeed.submits == (0 if case.fault is None else 1)
            assert sum(accepted) <= 1
            if case.goes_on:
                assert (job.state, job.reason, accepted) == (JobState.FINISHED, "failed_over", (0, 1))
            else:
                assert (job.state, job.starts, pair.runware.count("submit")) == (JobState.UNKNOWN, 1, 0)
            assert await house.ledger.check() == []


# What costs nothing and was lost where it had been accepted.


@pytest.mark.parametrize("begun", [False, True])
async def test_free_work_that_its_backend_lost_runs_again(tmp_path: Path, begun: bool) -> None:
    lost = WorkerDied(EaselError(Code.WORKER_DIED, backend="comfyui"))
    backend = ScriptedBackend("comfyui", [Accept(), Paint()], resumes=True, repeatable_submit=True)
    backend.scripts.append([Accept(), *([Working()] if begun else []), lost])
    catalogue = type(SHIPPED)([model("free", offer("comfyui"))])
    async with open_house(tmp_path, {"comfyui": backend}, catalogue=catalogue) as house:
        job = await house.reached((await house.ask("free")).id, *OVER)
        assert (job.state, job.starts, job.worker_deaths) == (JobState.FINISHED, 2, 1)
        first_call, second_call = backend.calls
        assert first_call.pictures == second_call.pictures, "under the same submission id"


async def test_free_work_that_is_lost_again_and_again_is_given_up(tmp_path: Path) -> None:
    lost = WorkerDied(EaselError(Code.WORKER_DIED, backend="comfyui"))
    backend = ScriptedBackend("comfyui", [Accept(), lost], resumes=True, repeatable_submit=True)
    catalogue = type(SHIPPED)([model("free", offer("comfyui"))])
    async with open_house(tmp_path, {"comfyui": backend}, catalogue=catalogue) as house:
        job = await house.reached((await house.ask("free")).id, *OVER)
        assert (job.state, job.starts, len(backend.calls)) == (JobState.FAILED, 2, 2)
