"""The API key is in no log, error, message or repr, at debug level and with httpx's own loggers on."""

import logging
import traceback
from pathlib import Path

import pytest
from pydantic import SecretStr

from backends.base import Call, CallEnded
from backends.clock import Clock
from backends.runware import RunwareBackend
from backends.wavespeed import WaveSpeedBackend
from config.loading import load
from domain.errors import Code, OperatorError
from tests.backends.calls import collect, make_call, offer
from tests.backends.conftest import runware, wavespeed
from tests.doubles import FakeClock
from tests.servers.hosted import Fault
from tests.servers.runware import Plan as RunwarePlan
from tests.servers.runware import RunwareServer
from tests.servers.wavespeed import Plan, WaveSpeedServer

CANARY = "canary-5f0b7d1c9e"

FAULTS = [
    None,
    Fault(400, {"message": f"the key {CANARY} may not do this"}),
    Fault(401, {"message": f"bad key {CANARY}"}),
    Fault(402, {"message": CANARY}),
    Fault(429),
    Fault(500, raw=CANARY),
    Fault(cut="before"),
    Fault(cut="middle"),
    Fault(raw=f"<html>{CANARY}"),
    Fault(302, headers={"Location": "https://elsewhere.example/"}),
]


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """Everything that is logged, however little it matters."""
    for name in (None, "httpx", "httpcore", "asyncio", "backends"):
        caplog.set_level(logging.DEBUG, name)
    return caplog


async def said_of(backend: WaveSpeedBackend | RunwareBackend, call: Call) -> list[str]:
    """What anybody could read of a call: its events or its error, and how the backend is."""
    said = []
    try:
        said.append(repr(await collect(backend.run(call))))
    except CallEnded as ended:
        said.append("".join(traceback.format_exception(ended)))
        said.append(repr(ended) + str(ended) + repr(ended.error) + str(ended.error))
    return [*said, repr(await backend.health())]


def is_nowhere(said: list[str], backend: WaveSpeedBackend | RunwareBackend, log: pytest.LogCaptureFixture) -> bool:
    inside = [repr(backend), repr(vars(backend)), repr(vars(backend._api)), repr(vars(backend._outputs))]
    assert "HTTP Request: POST" in log.text
    return all(CANARY not in text for text in (*said, *inside, log.text))


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: "fine" if fault is None else str(fault.status))
async def test_the_key_is_nowhere(
    clock: FakeClock, tmp_path: Path, log: pytest.LogCaptureFixture, fault: Fault | None
) -> None:
    said: list[str] = []
    server = WaveSpeedServer(key=CANARY)
    async with server, wavespeed(server, clock, api_key=SecretStr(CANARY)) as backend:
        for route in ("upload", "submit", "result", "balance"):
            if fault is not None:
                server.fail(route, fault)
            server.set_plan(error=f"failed for {CANARY}", statuses=("failed",) if route == "result" else ("completed",))
            backend._api.limit = type(backend._api.limit)(Clock(clock.now, clock.sleep))
            said += await said_of(backend, make_call(offer("wavespeed:hidream-e1-full"), tmp_path))
            clock.time += 100
        assert is_nowhere(said, backend, log)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: "fine" if fault is None else str(fault.status))
async def test_the_key_of_runware_is_nowhere_either(
    clock: FakeClock, tmp_path: Path, log: pytest.LogCaptureFixture, fault: Fault | None
) -> None:
    said: list[str] = []
    server = RunwareServer(key=CANARY)
    async with server, runware(server, clock, api_key=SecretStr(CANARY)) as backend:
        for route in ("submit", "poll", "account"):
            if fault is not None:
                server.fail(route, fault)
            server.plan = RunwarePlan(message=f"failed for {CANARY}", failures=(0,) if route == "poll" else ())
            said += await said_of(backend, make_call(offer("runware:hidream-i1-full"), tmp_path, submission=route))
            clock.time += 100
        assert is_nowhere(said, backend, log)


@pytest.mark.parametrize("key", [f"{CANARY}\n", f"{CANARY} x", f"{CANARY}é", f"\x00{CANARY}"])
def test_a_key_that_cannot_stand_in_a_header_is_told_without_its_words(key: str, tmp_path: Path) -> None:
    with pytest.raises(OperatorError) as refused:
        WaveSpeedBackend(api_key=SecretStr(key), base_url="https://api.wavespeed.ai", slots=1)
    assert refused.value.parameters["setting"] == "WAVESPEED_API_KEY"
    with pytest.raises(OperatorError) as unset:
        load({"WAVESPEED_API_KEY": key}, tmp_path)
    assert unset.value.code is Code.SETTING_INVALID
    assert CANARY not in f"{refused.value!r} {unset.value!r}"


async def test_words_of_strangers_are_short_lines_of_printable_characters(
    server: WaveSpeedServer, clock: FakeClock, tmp_path: Path
) -> None:
    server.plan = Plan(statuses=("failed",), error="a\x1b[31mb\n\u202ec" + "x" * 5000)
    async with wavespeed(server, clock) as backend:
        with pytest.raises(CallEnded) as ended:
            await collect(backend.run(make_call(offer("wavespeed:hidream-i1-dev"), tmp_path)))
    reason = str(ended.value.error.parameters["reason"])
    assert reason.startswith("a [31mb c")
    assert reason.isprintable()
    assert len(reason) == 200
