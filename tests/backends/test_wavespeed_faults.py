"""Everything that can go wrong between us and WaveSpeedAI: how the call ends, and how often it was sent."""

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
    RequestRefused,
)
from domain.errors import Code
from tests.backends.calls import collect, make_call, offer
from tests.backends.conftest import IMPATIENT, wavespeed
from tests.doubles import FakeClock
from tests.servers.hosted import Fault
from tests.servers.wavespeed import Plan, WaveSpeedServer


@pytest.fixture
def call(tmp_path: Path) -> Call:
    return make_call(offer("wavespeed:hidream-i1-dev"), tmp_path)


SUBMIT_FAULTS: dict[str, tuple[Fault, type[CallEnded], Code]] = {
    "400": (Fault(400, {"code": 400, "message": "bad size"}), RequestRefused, Code.BACKEND_REFUSED),
    "401": (Fault(401, {"message": "bad key"}), BackendUnavailable, Code.BACKEND_KEY_REFUSED),
    "402": (Fault(402, {"message": "no credit"}), BackendUnavailable, Code.BACKEND_OUT_OF_CREDIT),
    "403": (Fault(403), BackendUnavailable, Code.BACKEND_KEY_REFUSED),
    "404": (Fault(404), RequestRefused, Code.BACKEND_REFUSED),
    "408": (Fault(408), BackendUnavailable, Code.BACKEND_UNREACHABLE),
    "422": (Fault(422), RequestRefused, Code.BACKEND_REFUSED),
    "429": (Fault(429), BackendUnavailable, Code.BACKEND_RATE_LIMITED),
    "429 with Retry-After": (
        Fault(429, headers={"Retry-After": "17"}),
        BackendUnavailable,
        Code.BACKEND_RATE_LIMITED,
    ),
    "301": (Fault(301, headers={"Location": "https://elsewhere.example/"}), BackendUnavailable, Code.BACKEND_REFUSED),
    "303": (Fault(303, headers={"Location": "https://elsewhere.example/"}), OutcomeUnknown, Code.OUTCOME_UNKNOWN),
    "500": (Fault(500, accepted=True), OutcomeUnknown, Code.OUTCOME_UNKNOWN),
    "502": (Fault(502, accepted=True), OutcomeUnknown, Code.OUTCOME_UNKNOWN),
    "503": (Fault(503), OutcomeUnknown, Code.OUTCOME_UNKNOWN),
    "504": (Fault(504, accepted=True), OutcomeUnknown, Code.OUTCOME_UNKNOWN),
    "cut before the answer": (Fault(cut="before", accepted=True), OutcomeUnknown, Code.OUTCOME_UNKNOWN),
    "cut in the answer": (Fault(cut="middle", accepted=True), OutcomeUnknown, Code.OUTCOME_UNKNOWN),
    "cut in a refusal": (Fault(400, cut="middle"), RequestRefused, Code.BACKEND_REFUSED),
    "invalid JSON": (Fault(raw="<html>"), OutcomeUnknown, Code.OUTCOME_UNKNOWN),
    "not an object": (Fault(json=[1]), OutcomeUnknown, Code.OUTCOME_UNKNOWN),
    "no id": (Fault(json={"code": 200, "data": {}}), OutcomeUnknown, Code.OUTCOME_UNKNOWN),
    "id of a wrong type": (Fault(json={"code": 200, "data": {"id": 5}}), OutcomeUnknown, Code.OUTCOME_UNKNOWN),
    "200 around 401": (Fault(json={"code": 401, "message": "no"}), BackendUnavailable, Code.BACKEND_KEY_REFUSED),
    "200 around 1200": (Fault(json={"code": 1200, "message": "no"}), RequestRefused, Code.CONTENT_FLAGGED),
    "200 around 1400": (Fault(json={"code": 1400, "message": "no"}), RequestRefused, Code.BACKEND_REFUSED),
    "200 around 5000": (Fault(json={"code": 5000, "message": "?"}), OutcomeUnknown, Code.OUTCOME_UNKNOWN),
}


@pytest.mark.parametrize("name", SUBMIT_FAULTS)
async def test_a_submit_is_sent_once_whatever_comes_back(
    server: WaveSpeedServer, clock: FakeClock, call: Call, name: str
) -> None:
    fault, ending, code = SUBMIT_FAULTS[name]
    server.fail("submit", fault)
    async with wavespeed(server, clock) as backend:
        with pytest.raises(CallEnded) as ended:
            await collect(backend.run(call))
    assert type(ended.value) is ending
    assert ended.value.error.code is code
    assert server.submits == 1
    assert server.count("result") == 0


async def test_silence_after_a_submit_is_unknown(server: WaveSpeedServer, clock: FakeClock, call: Call) -> None:
    server.fail("submit", Fault(silent=True, accepted=True))
    async with wavespeed(server, clock, timeouts=IMPATIENT) as backend:
        with pytest.raises(OutcomeUnknown) as ended:
            await collect(backend.run(call))
    assert ended.value.error.parameters["reason"] == "no answer in time"
    assert server.submits == 1


async def test_a_refused_connection_is_a_definite_refusal(clock: FakeClock, call: Call) -> None:
    server = WaveSpeedServer()
    async with server:
        pass
    async with wavespeed(server, clock) as backend:
        with pytest.raises(BackendUnavailable) as ended:
            await collect(backend.run(call))
    assert ended.value.error.code is Code.BACKEND_UNREACHABLE


async def test_a_name_that_does_not_resolve_is_a_definite_refusal(
    server: WaveSpeedServer, clock: FakeClock, call: Call
) -> None:
    async with wavespeed(server, clock, base_url="https://wavespeed.invalid") as backend:
        with pytest.raises(BackendUnavailable) as ended:
            await collect(backend.run(call))
    assert ended.value.error.code is Code.BACKEND_UNREACHABLE


async def test_after_a_429_nothing_is_sent_before_its_time(
    server: WaveSpeedServer, clock: FakeClock, call: Call
) -> None:
    server.fail("submit", Fault(429, headers={"Retry-After": "17"}))
    async with wavespeed(server, clock) as backend:
        with pytest.raises(BackendUnavailable) as first:
            await collect(backend.run(call))
        clock.time += 16
        with pytest.raises(BackendUnavailable) as second:
            await collect(backend.run(call))
        assert server.submits == 1
        clock.time += 2
        assert isinstance((await collect(backend.run(call)))[-1], Made)
    assert (first.value.retry_after, second.value.retry_after) == (17, 1)
    assert server.submits == 2


async def test_a_refused_key_shows_in_the_health_until_an_operator_had_time_to_act(
    server: WaveSpeedServer, clock: FakeClock, call: Call
) -> None:
    server.fail("submit", Fault(402, {"message": "top up"}))
    async with wavespeed(server, clock) as backend:
        with pytest.raises(BackendUnavailable):
            await collect(backend.run(call))
        health = await backend.health()
        assert health.state is HealthState.DOWN
        assert health.problem is not None
        assert health.problem.code is Code.BACKEND_OUT_OF_CREDIT
        clock.time += 61
        assert (await backend.health()).state is HealthState.UP


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
    "wrong types": Fault(json={"code": 200, "data": {"id": [], "status": 5}}),
    "outputs of a wrong type": Fault(json={"code": 200, "data": {"id": "x", "outputs": {"a": 1}}}),
}


@pytest.mark.parametrize("name", POLL_FAULTS)
async def test_a_poll_is_asked_again(server: WaveSpeedServer, clock: FakeClock, call: Call, name: str) -> None:
    server.fail("result", POLL_FAULTS[name], POLL_FAULTS[name])
    async with wavespeed(server, clock) as backend:
        assert isinstance((await collect(backend.run(call)))[-1], Made)
    assert server.submits == 1
    assert server.count("result") == 4


async def test_a_poll_waits_as_long_as_it_is_told(server: WaveSpeedServer, clock: FakeClock, call: Call) -> None:
    server.fail("result", Fault(429, headers={"Retry-After": "30"}))
    async with wavespeed(server, clock) as backend:
        await collect(backend.run(call))
    assert 30 in clock.slept


async def test_a_silent_poll_is_asked_again(server: WaveSpeedServer, clock: FakeClock, call: Call) -> None:
    server.fail("result", Fault(silent=True))
    async with wavespeed(server, clock, timeouts=IMPATIENT) as backend:
        assert isinstance((await collect(backend.run(call)))[-1], Made)
    assert server.submits == 1


@pytest.mark.parametrize("fault", [Fault(400), Fault(401), Fault(403), Fault(404)])
async def test_a_poll_that_is_refused_for_good_leaves_the_outcome_unknown(
    server: WaveSpeedServer, clock: FakeClock, call: Call, fault: Fault
) -> None:
    server.fail("result", *[fault] * 5)
    async with wavespeed(server, clock) as backend:
        with pytest.raises(OutcomeUnknown):
            await collect(backend.run(call))
    assert server.submits == 1


@pytest.mark.parametrize("data", [{"id": "x", "outputs": {"a": 1}}, {"id": "x", "status": 5}, {"id": "x"}, {}, None])
async def test_polls_that_never_make_sense_come_to_an_end(
    server: WaveSpeedServer, clock: FakeClock, call: Call, data: object
) -> None:
    server.fail("result", *[Fault(json={"code": 200, "data": data})] * 5)
    async with wavespeed(server, clock) as backend:
        with pytest.raises(OutcomeUnknown) as ended:
            await collect(backend.run(call))
    assert ended.value.error.parameters["reason"] == "answers that make no sense"
    assert server.count("result") == 5


async def test_a_provider_that_vanishes_after_it_accepted_leaves_the_outcome_unknown(
    server: WaveSpeedServer, clock: FakeClock, call: Call
) -> None:
    async with wavespeed(server, clock) as backend:
        events = backend.run(call)
        await anext(events)
        await server.stop()
        with pytest.raises(OutcomeUnknown) as ended:
            await collect(events)
    assert ended.value.error.code is Code.DEADLINE_PASSED


UPLOAD_FAULTS: dict[str, tuple[Fault, type[CallEnded], Code, int]] = {
    "400": (Fault(400, {"message": "not a picture"}), RequestRefused, Code.BACKEND_REFUSED, 1),
    "401": (Fault(401), BackendUnavailable, Code.BACKEND_KEY_REFUSED, 1),
    "402": (Fault(402), BackendUnavailable, Code.BACKEND_OUT_OF_CREDIT, 1),
    "429": (Fault(429), BackendUnavailable, Code.BACKEND_RATE_LIMITED, 1),
    "500": (Fault(500), BackendUnavailable, Code.BACKEND_UNREACHABLE, 3),
    "cut": (Fault(cut="before"), BackendUnavailable, Code.BACKEND_UNREACHABLE, 3),
    "cut in the answer": (Fault(cut="middle"), BackendUnavailable, Code.BACKEND_UNREACHABLE, 3),
    "invalid JSON": (Fault(raw="ok"), BackendUnavailable, Code.BACKEND_ANSWER_INVALID, 1),
    "no URL": (Fault(json={"data": {}}), BackendUnavailable, Code.BACKEND_ANSWER_INVALID, 1),
}


@pytest.mark.parametrize("name", UPLOAD_FAULTS)
async def test_a_failed_upload_means_that_nothing_was_submitted(
    server: WaveSpeedServer, clock: FakeClock, tmp_path: Path, name: str
) -> None:
    fault, ending, code, times = UPLOAD_FAULTS[name]
    server.fail("upload", *[fault] * 3)
    async with wavespeed(server, clock) as backend:
        with pytest.raises(CallEnded) as ended:
            await collect(backend.run(make_call(offer("wavespeed:hidream-e1-full"), tmp_path)))
    assert type(ended.value) is ending
    assert ended.value.error.code is code
    assert server.count("upload") == times
    assert server.submits == 0


async def test_an_upload_is_tried_again(server: WaveSpeedServer, clock: FakeClock, tmp_path: Path) -> None:
    server.fail("upload", Fault(cut="before"), Fault(503))
    async with wavespeed(server, clock) as backend:
        events = await collect(backend.run(make_call(offer("wavespeed:hidream-e1-full"), tmp_path)))
    assert isinstance(events[-1], Made)
    assert server.submits == 1


OUTPUTS = {
    "empty": "it says completed and names no picture",
    "missing": "HTTP 404",
    "text": "it is not a picture",
    "cut": "connection lost",
    "huge": "it is too large",
    "redirect:http://127.0.0.1:1/": "its host is not one of the provider's",
    "redirect:https://169.254.169.254/latest/meta-data": "its host is not one of the provider's",
    "redirect:https://evil.example/a.png": "its host is not one of the provider's",
    "redirect:file:///etc/passwd": "its URL is malformed",
    "url:https://evil.example/a.png": "its host is not one of the provider's",
    "url:http://cdn.wavespeed.ai/a.png": "its URL is not https",
    "url:https://cdn.wavespeed.ai:22/a.png": "its port is not one of the provider's",
    "url:https://cdn.wavespeed.ai.evil.example/a.png": "its host is not one of the provider's",
    "url:https://notwavespeed.ai/a.png": "its host is not one of the provider's",
    "url:https://user@cdn.wavespeed.ai/a.png": "its URL is malformed",
    "url:ftp://cdn.wavespeed.ai/a.png": "it is neither a URL nor base64",
    "url:!!!": "it is neither a URL nor base64",
    "url:data:image/png,hello": "it is not a data URI in base64",
    "url:aGVsbG8=": "it is not a picture",
}


@pytest.mark.parametrize("output", OUTPUTS)
async def test_an_output_that_cannot_be_used_is_paid_for_and_not_made_again(
    server: WaveSpeedServer, clock: FakeClock, call: Call, output: str
) -> None:
    server.plan = Plan(output=output)
    async with wavespeed(server, clock) as backend:
        with pytest.raises(BackendFailed) as ended:
            await collect(backend.run(call))
    assert ended.value.error.code is Code.BACKEND_ANSWER_INVALID
    assert str(ended.value.error.parameters["reason"]).endswith(OUTPUTS[output])
    assert ended.value.cost == call.offer.price
    assert server.submits == 1
    assert list(call.workspace.iterdir()) == []


async def test_an_output_that_trickles_is_given_up(server: WaveSpeedServer, clock: FakeClock, call: Call) -> None:
    server.plan = Plan(output="slow")
    async with wavespeed(server, clock, timeouts=IMPATIENT) as backend:
        with pytest.raises(BackendFailed) as ended:
            await collect(backend.run(call))
    assert str(ended.value.error.parameters["reason"]).endswith("no answer in time")


@pytest.mark.parametrize("fault", [Fault(404), Fault(429), Fault(503), Fault(cut="before"), Fault(cut="middle")])
async def test_an_output_that_is_late_is_asked_for_again(
    server: WaveSpeedServer, clock: FakeClock, call: Call, fault: Fault
) -> None:
    server.fail("output", fault, fault)
    async with wavespeed(server, clock) as backend:
        assert isinstance((await collect(backend.run(call)))[-1], Made)
    assert server.count("output") == 3


async def test_a_redirect_on_the_same_host_is_followed(server: WaveSpeedServer, clock: FakeClock, call: Call) -> None:
    server.fail("output", Fault(302, headers={"Location": "?again"}))
    async with wavespeed(server, clock) as backend:
        assert isinstance((await collect(backend.run(call)))[-1], Made)
    assert server.count("output") == 2


async def test_redirects_have_an_end(server: WaveSpeedServer, clock: FakeClock, call: Call) -> None:
    server.fail("output", *[Fault(302, headers={"Location": "?again"})] * 10)
    async with wavespeed(server, clock) as backend:
        with pytest.raises(BackendFailed) as ended:
            await collect(backend.run(call))
    assert server.count("output") == 4
    assert str(ended.value.error.parameters["reason"]).endswith("it is redirected too often")


async def test_a_host_of_the_provider_that_leads_home_is_not_asked(
    server: WaveSpeedServer, clock: FakeClock, call: Call
) -> None:
    async def resolve(host: str, port: int) -> list[str]:
        return ["127.0.0.1"]

    server.plan = Plan(output="url:https://cdn.wavespeed.ai/a.png")
    async with wavespeed(server, clock, resolve=resolve) as backend:
        with pytest.raises(BackendFailed) as ended:
            await collect(backend.run(call))
    assert str(ended.value.error.parameters["reason"]).endswith("its host leads to a private address")


async def test_the_key_goes_to_the_api_and_nowhere_else(
    server: WaveSpeedServer, clock: FakeClock, tmp_path: Path
) -> None:
    async with wavespeed(server, clock) as backend:
        await collect(backend.run(make_call(offer("wavespeed:hidream-e1-full"), tmp_path)))
    for received in server.received:
        assert ("Authorization" in received.headers) is (received.route != "output")
