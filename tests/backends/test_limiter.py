"""Being left alone, and being asked not too often."""

import asyncio
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

import pytest

from backends.answers import Answer, retry_after
from backends.base import BackendUnavailable, Health, HealthState
from backends.clock import Clock
from backends.health import KeptHealth
from backends.limiter import HIGHEST_RATE, LOWEST_RATE, RATE_STEP, REST_SECONDS, Pace, RateLimit
from tests.backends.calls import CATALOGUE, collect, make_call
from tests.backends.conftest import wavespeed
from tests.doubles import FakeClock
from tests.servers.hosted import Fault
from tests.servers.wavespeed import WaveSpeedServer


def test_a_pace_grows_up_to_its_longest() -> None:
    assert list(islice(Pace(2, 2, 10).delays(), 5)) == [2, 4, 8, 10, 10]


@pytest.fixture
def limit(clock: FakeClock) -> RateLimit:
    return RateLimit(Clock(clock.now, clock.sleep))


def test_nothing_is_held_back_before_the_first_429(limit: RateLimit) -> None:
    for _ in range(1000):
        limit.sent()
        assert limit.wait == 0
    assert limit.rate is None


def test_a_rest_is_only_ever_made_longer(limit: RateLimit, clock: FakeClock) -> None:
    assert limit.refused(10) == 10
    assert limit.refused(5) == 5
    assert (limit.rest, limit.wait) == (10, 10)
    clock.time += 11
    assert (limit.rest, limit.wait) == (0, 0)


def test_one_that_says_when_is_obeyed_and_tells_nothing_of_a_rate(limit: RateLimit, clock: FakeClock) -> None:
    limit.sent()
    assert limit.refused(17) == 17
    assert (limit.refused(0), limit.rest) == (1, 17)
    clock.time += 17
    assert (limit.wait, limit.rate) == (0, None)


def send(limit: RateLimit, clock: FakeClock, count: int, every: float) -> None:
    for _ in range(count):
        limit.sent()
        clock.time += every


def test_one_that_does_not_say_halves_the_rate(limit: RateLimit, clock: FakeClock) -> None:
    send(limit, clock, 20, every=0.5)
    assert limit.refused(None) == REST_SECONDS
    assert limit.rate == pytest.approx(1.0)
    clock.time += REST_SECONDS
    assert limit.wait == 0
    limit.sent()
    assert limit.wait == pytest.approx(1.0)
    clock.time += 1
    limit.sent()
    limit.refused(None)
    assert limit.rate == pytest.approx(0.5)


def test_a_burst_is_one_mistake(limit: RateLimit, clock: FakeClock) -> None:
    send(limit, clock, 8, every=0)
    for _ in range(8):
        limit.refused(None)
    assert limit.rate == pytest.approx(4.0)


def test_it_never_stands_still(limit: RateLimit, clock: FakeClock) -> None:
    for _ in range(50):
        limit.sent()
        limit.refused(None)
        clock.time += REST_SECONDS
    assert limit.rate == LOWEST_RATE
    assert limit.wait <= 60


def test_it_recovers_with_each_that_is_taken(limit: RateLimit, clock: FakeClock) -> None:
    send(limit, clock, 10, every=0.5)
    limit.refused(None)
    before = limit.rate
    assert before is not None
    limit.taken()
    assert limit.rate == pytest.approx(before + RATE_STEP)
    for _ in range(round(HIGHEST_RATE / RATE_STEP)):
        limit.taken()
    assert (limit.rate, limit.wait) == (None, REST_SECONDS)


def test_it_settles_near_what_a_server_takes(limit: RateLimit, clock: FakeClock) -> None:
    """A server that takes one call in six seconds and does not say when to come back."""
    taken: list[float] = []
    sent = refused = 0
    end = clock.time + 3600
    while clock.time < end:
        clock.time += limit.wait
        limit.sent()
        sent += 1
        if not taken or clock.time - taken[-1] >= 6:
            taken.append(clock.time)
            limit.taken()
        else:
            refused += 1
            limit.refused(None)
        clock.time += 0.01
    assert refused < sent / 5
    assert len(taken) > 3600 / 6 / 3


async def test_a_backend_paces_itself_after_a_429(server: WaveSpeedServer, clock: FakeClock, tmp_path: Path) -> None:
    """Over a real socket, with every call of the backend."""
    offer = CATALOGUE.offer("wavespeed:hidream-i1-dev")
    assert offer is not None
    server.fail("submit", Fault(429))
    async with wavespeed(server, clock) as backend:
        waits = []
        for number in range(6):
            start = clock.time
            while True:
                try:
                    await collect(backend.run(make_call(offer, tmp_path, submission=str(number))))
                    break
                except BackendUnavailable as unavailable:
                    clock.time += unavailable.retry_after
            waits.append(clock.time - start)
    assert (server.submits, len(server.tasks)) == (7, 6), "but for the first, none was too early"
    assert waits[0] >= REST_SECONDS
    assert min(waits[1:]) > 1


async def test_many_who_ask_at_once_ask_once(clock: FakeClock) -> None:
    asked = 0

    async def probe() -> Health:
        nonlocal asked
        asked += 1
        await asyncio.sleep(0)
        return Health(HealthState.DOWN if asked == 1 else HealthState.UP, 1)

    kept = KeptHealth(probe, Clock(clock.now, clock.sleep))
    states = {health.state for health in await asyncio.gather(*[kept.get() for _ in range(10)])}
    assert (states, asked) == ({HealthState.DOWN}, 1)
    clock.time += 11
    assert (await kept.get()).state is HealthState.UP
    clock.time += 59
    await kept.get()
    assert asked == 2


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("", None),
        ("0", 0),
        ("17", 17),
        ("1.5", 1.5),
        ("999999", 3600),
        ("-5", None),
        ("soon", None),
        ("Sat, 01 Mar 2025 12:00:30 GMT", 30),
        ("Sat, 01 Mar 2025 11:00:00 GMT", 0),
        ("Sat, 01 Mar 2025 12:00:30 -0000", 30),
    ],
)
def test_retry_after(value: str, seconds: float | None) -> None:
    now = datetime(2025, 3, 1, 12, 0, 0, tzinfo=UTC)
    assert retry_after({"Retry-After": value} if value else {}, now) == seconds


def test_an_answer_worked_or_it_did_not() -> None:
    assert Answer(201, None).ok
    assert not Answer(302, None).ok
