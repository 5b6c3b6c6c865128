"""Being left alone, and being asked not too often."""

import asyncio
from datetime import UTC, datetime
from itertools import islice

import pytest

from backends.base import Health, HealthState
from backends.clock import Clock
from backends.http import Answer, retry_after
from backends.limiter import KeptHealth, Pace, Pause
from tests.doubles import FakeClock


def test_a_pace_grows_up_to_its_longest() -> None:
    assert list(islice(Pace(2, 2, 10).delays(), 5)) == [2, 4, 8, 10, 10]


def test_a_pause_is_only_ever_made_longer(clock: FakeClock) -> None:
    pause = Pause(Clock(clock.now, clock.sleep))
    assert pause.remaining == 0
    pause.extend(10)
    pause.extend(5)
    assert pause.remaining == 10
    clock.time += 11
    assert pause.remaining == 0


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
