"""Everything that can go wrong between us and Runware: how the call ends, and that no task is accepted twice."""

from pathlib import Path

import pytest

from backends.base import (
    BackendFailed,
    BackendUnavailable,
    Call,
    CallEnded,
    HealthState,
    Made,
    OutcomeUnknown,
    PictureFailed,
    RequestRefused,
)
from domain.errors import Code
from tests.backends.calls import collect, make_call, offer
from tests.backends.conftest import IMPATIENT, runware
from tests.doubles import FakeClock
from tests.servers.hosted import Fault
from tests.servers.runware import Plan, RunwareServer


@pytest.fixture
def server(runware_server: RunwareServer) -> RunwareServer:
    return runware_server


@pytest.fixture
def call(tmp_path: Path) -> Call:
    return make_call(offer("runware:hidream-i1-full"), tmp_path)


def errors(code: str, **more: object) -> dict[str, object]:
    return {"errors": [{"code": code, "message": "no", "taskType": "imageInference"} | more]}


REFUSALS: dict[str, tuple[Fault, type[CallEnded], Code]] = {
    "400": (Fault(400, errors("invalidSteps", parameter="steps")), RequestRefused, Code.BACKEND_REFUSED),
    "400 in words": (Fault(400, raw="no"), RequestRefused, Code.BACKEND_REFUSED),
    "401": (Fault(401, errors("invalidApiKey")), BackendUnavailable, Code.BACKEND_KEY_REFUSED),
    "401 in words": (Fault(401, raw="no"), BackendUnavailable, Code.BACKEND_KEY_REFUSED),
    "402": (Fault(402, errors("insufficientCredits")), BackendUnavailable, Code.BACKEND_OUT_OF_CREDIT),
    "402 in words": (Fault(402, raw="no"), BackendUnavailable, Code.BACKEND_OUT_OF_CREDIT),
    "403": (Fault(403, errors("forbidden")), BackendUnavailable, Code.BACKEND_KEY_REFUSED),
    "404": (Fault(404, errors("modelNotFound", parameter="model")), RequestRefused, Code.BACKEND_REFUSED),
    "429": (Fault(429, errors("rateLimitExceeded")), BackendUnavailable, Code.BACKEND_RATE_LIMITED),
    "429 in words": (Fault(429, raw="slow down"), BackendUnavailable, Code.BACKEND_RATE_LIMITED),
    "200 around errors": (Fault(json=errors("invalidSteps")), RequestRefused, Code.BACKEND_REFUSED),
    "200 around a key": (Fault(json=errors("missingApiKey")), BackendUnavailable, Code.BACKEND_KEY_REFUSED),
    "200 around a purse": (Fault(json=errors("insufficientCredits")), BackendUnavailable, Code.BACKEND_OUT_OF_CREDIT),
    "moderation": (Fault(400, errors("promptBlocked")), RequestRefused, Code.CONTENT_FLAGGED),
    "cut in a refusal": (Fault(400, cut="middle"), RequestRefused, Code.BACKEND_REFUSED),
    "301": (Fault(301, headers={"Location": "https://a.example/"}), BackendUnavailable, Code.BACKEND_REFUSED),
}


@pytest.mark.parametrize("name", REFUSALS)
async def test_a_definite_refusal(server: RunwareServer, clock: FakeClock, call: Call, name: str) -> None:
    fault, ending, code = REFUSALS[name]
    server.fail("submit", fault)
    async with runware(server, clock) as backend:
        with pytest.raises(CallEnded) as ended:
            await collect(backend.run(call))
    assert type(ended.value) is ending
    assert ended.value.error.code is code
    assert (server.submits, len(server.tasks), server.count("poll")) == (1, 0, 0)


LOST = {
    "500": Fault(500),
    "502": Fault(502),
    "503": Fault(503),
    "504": Fault(504),
    "408": Fault(408),
    "cut before the answer": Fault(cut="before"),
    "cut in the answer": Fault(cut="middle"),
    "invalid JSON": Fault(raw="<html>"),
    "wrong types": Fault(json={"data": 5}),
    "empty": Fault(json={"data": []}),
    "another task": Fault(json={"data": [{"taskType": "imageInference", "taskUUID": "x"}]}),
}


@pytest.mark.parametrize("accepted", [False, True])
@pytest.mark.parametrize("name", LOST)
async def test_a_lost_answer_is_looked_up_and_the_task_is_accepted_once(
    server: RunwareServer, clock: FakeClock, call: Call, name: str, accepted: bool
) -> None:
    fault = LOST[name]
    server.fail("submit", Fault(**(vars(fault) | {"accepted": accepted})))
    async with runware(server, clock) as backend:
        assert isinstance((await collect(backend.run(call)))[-1], Made)
    assert server.submits == (1 if accepted else 2)
    assert list(server.tasks) == [call.pictures[0].submission_id]


async def test_silence_is_looked_up(server: RunwareServer, clock: FakeClock, call: Call) -> None:
    server.fail("submit", Fault(silent=True, accepted=True))
    async with runware(server, clock, timeouts=IMPATIENT) as backend:
        assert isinstance((await collect(backend.run(call)))[-1], Made)
    assert (server.submits, len(server.tasks)) == (1, 1)


async def test_answers_that_are_lost_again_and_again_leave_the_outcome_unknown(
    server: RunwareServer, clock: FakeClock, call: Call
) -> None:
    server.fail("submit", *[Fault(503)] * 3)
    async with runware(server, clock) as backend:
        with pytest.raises(OutcomeUnknown):
            await collect(backend.run(call))
    assert server.submits == 3


async def test_nobody_to_ask_after_a_lost_answer_leaves_the_outcome_unknown(
    server: RunwareServer, clock: FakeClock, call: Call
) -> None:
    server.fail("submit", Fault(cut="before", accepted=True))
    server.fail("poll", *[Fault(503)] * 50)
    async with runware(server, clock) as backend:
        with pytest.raises(OutcomeUnknown):
            await collect(backend.run(call))
    assert server.submits == 1


async def test_a_refusal_of_the_second_sending_does_not_hide_that_the_first_was_accepted(
    server: RunwareServer, clock: FakeClock, call: Call
) -> None:
    server.fail("submit", Fault(504, accepted=True), Fault(402, errors("insufficientCredits")))
    server.fail("poll", Fault(400, errors("taskFailedOrNotFound")))
    async with runware(server, clock) as backend:
        assert isinstance((await collect(backend.run(call)))[-1], Made)
    assert (server.submits, len(server.tasks)) == (2, 1)


async def test_a_refused_connection_is_a_definite_refusal(clock: FakeClock, call: Call) -> None:
    server = RunwareServer()
    async with server:
        pass
    async with runware(server, clock) as backend:
        with pytest.raises(BackendUnavailable) as ended:
            await collect(backend.run(call))
    assert ended.value.error.code is Code.BACKEND_UNREACHABLE


async def test_after_a_429_nothing_is_sent_before_its_time(server: RunwareServer, clock: FakeClock, call: Call) -> None:
    server.fail("submit", Fault(429, errors("rateLimitExceeded"), headers={"Retry-After": "17"}))
    async with runware(server, clock) as backend:
        with pytest.raises(BackendUnavailable) as ended:
            await collect(backend.run(call))
        assert ended.value.retry_after == 17
        with pytest.raises(BackendUnavailable):
            await collect(backend.run(call))
        assert server.submits == 1
        clock.time += 18
        assert isinstance((await collect(backend.run(call)))[-1], Made)


async def test_a_refused_key_shows_in_the_health(server: RunwareServer, clock: FakeClock, call: Call) -> None:
    server.fail("submit", Fault(401, errors("invalidApiKey")))
    async with runware(server, clock) as backend:
        with pytest.raises(BackendUnavailable):
            await collect(backend.run(call))
        health = await backend.health()
    assert health.state is HealthState.DOWN
    assert health.problem is not None
    assert health.problem.code is Code.BACKEND_KEY_REFUSED


POLL_FAULTS = {
    "429": Fault(429),
    "429 with Retry-After": Fault(429, headers={"Retry-After": "30"}),
    "500": Fault(500),
    "502": Fault(502),
    "503": Fault(503),
    "504": Fault(504),
    "404 for a moment": Fault(404),
    "cut before the answer": Fault(cut="before"),
    "cut in the answer": Fault(cut="middle"),
    "invalid JSON": Fault(raw="<html>"),
    "wrong types": Fault(json={"data": {"taskUUID": 5}, "errors": "none"}),
    "nothing yet": Fault(json={"data": []}),
    "not found yet": Fault(400, errors("taskFailedOrNotFound")),
}


@pytest.mark.parametrize("name", POLL_FAULTS)
async def test_a_poll_is_asked_again(server: RunwareServer, clock: FakeClock, call: Call, name: str) -> None:
    server.fail("poll", POLL_FAULTS[name], POLL_FAULTS[name])
    async with runware(server, clock) as backend:
        assert isinstance((await collect(backend.run(call)))[-1], Made)
    assert server.submits == 1


@pytest.mark.parametrize("status", [401, 402, 403])
async def test_a_poll_that_is_refused_for_good_leaves_the_outcome_unknown(
    server: RunwareServer, clock: FakeClock, call: Call, status: int
) -> None:
    server.fail("poll", Fault(status))
    async with runware(server, clock) as backend:
        with pytest.raises(OutcomeUnknown):
            await collect(backend.run(call))


async def test_a_status_that_never_ends_runs_into_the_deadline(
    server: RunwareServer, clock: FakeClock, call: Call
) -> None:
    server.plan = Plan(polls=10**9)
    begun = clock.now()
    async with runware(server, clock) as backend:
        with pytest.raises(OutcomeUnknown) as ended:
            await collect(backend.run(call))
    assert ended.value.error.code is Code.DEADLINE_PASSED
    assert clock.now() - begun <= call.offer.deadline_seconds


OUTPUTS = {
    "nothing": "it says success and names no picture",
    "missing": "HTTP 404",
    "text": "it is not a picture",
    "redirect:http://127.0.0.1:1/": "its host is not one of the provider's",
    "redirect:https://169.254.169.254/": "its host is not one of the provider's",
    "url:https://evil.example/a.png": "its host is not one of the provider's",
    "url:http://im.runware.ai/a.png": "its URL is not https",
    "url:ftp://im.runware.ai/a.png": "it is neither a URL nor base64",
}


@pytest.mark.parametrize("output", OUTPUTS)
async def test_an_output_that_cannot_be_used_is_paid_for_and_not_made_again(
    server: RunwareServer, clock: FakeClock, call: Call, output: str
) -> None:
    server.plan = Plan(output=output)
    async with runware(server, clock) as backend:
        failed = (await collect(backend.run(call)))[-1]
    assert isinstance(failed, PictureFailed)
    assert failed.failure.code is Code.BACKEND_ANSWER_INVALID
    assert str(failed.failure.parameters["reason"]).endswith(OUTPUTS[output])
    assert failed.cost == 8300
    assert server.submits == 1


async def test_work_that_fails_afterwards_costs_nothing(server: RunwareServer, clock: FakeClock, call: Call) -> None:
    server.plan = Plan(failures=(0,))
    async with runware(server, clock) as backend:
        with pytest.raises(BackendFailed) as ended:
            await collect(backend.run(call))
    assert ended.value.cost == 0
    assert server.submits == 1
