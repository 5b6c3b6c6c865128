"""Limits that hold to the second and to the picture: at every kind of boundary, and from several processes."""

import asyncio
import sys
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from domain.errors import Code, UserError
from domain.job import Place
from domain.quota import Subject, Unit, Window
from jobs.quotas import Asker
from tests.building import CHANNEL, GUILD, USER, Clock, House, open_house

PROCESSES, TRIES, LIMIT = 4, 40, 50


async def test_four_processes_never_take_one_too_many(tmp_path: Path) -> None:
    async with open_house(tmp_path, working=False) as house:
        children = [
            await asyncio.create_subprocess_exec(
                *[sys.executable, "-m", "tests.jobs.hammer", str(tmp_path), str(TRIES)],
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                cwd=Path(__file__).parents[2],
            )
            for _ in range(PROCESSES)
        ]
        for child in children:
            assert child.stdout is not None
            assert await child.stdout.readline() == b"ready\n"
        taken = [int(out) for out, _ in await asyncio.gather(*(child.communicate(b"") for child in children))]
        assert sum(taken) == LIMIT < PROCESSES * TRIES
        assert await house.counted(Unit.IMAGES) == (0, LIMIT)
        assert await house.ledger.check() == []


BOUNDARIES = [
    pytest.param("UTC", Window.DAY, datetime(2026, 3, 12, tzinfo=UTC), id="midnight"),
    pytest.param("UTC", Window.WEEK, datetime(2026, 3, 16, tzinfo=UTC), id="monday"),
    pytest.param("UTC", Window.MONTH, datetime(2026, 5, 1, tzinfo=UTC), id="a month of thirty days"),
    pytest.param("UTC", Window.MONTH, datetime(2027, 1, 1, tzinfo=UTC), id="the year's end"),
    pytest.param("UTC", Window.DAY, datetime(2028, 2, 29, tzinfo=UTC), id="into the leap day"),
    pytest.param("UTC", Window.DAY, datetime(2028, 3, 1, tzinfo=UTC), id="out of the leap day"),
    pytest.param("UTC", Window.MONTH, datetime(2028, 3, 1, tzinfo=UTC), id="february of a leap year"),
    pytest.param("UTC", Window.MONTH, datetime(2026, 3, 1, tzinfo=UTC), id="february"),
    pytest.param("Asia/Kathmandu", Window.DAY, datetime(2026, 3, 11, 18, 15, tzinfo=UTC), id="three quarters off"),
    pytest.param("Europe/Berlin", Window.DAY, datetime(2026, 3, 29, 22, tzinfo=UTC), id="a day of 23 hours"),
    pytest.param("Europe/Berlin", Window.DAY, datetime(2026, 10, 25, 23, tzinfo=UTC), id="a day of 25 hours"),
    pytest.param("Europe/Berlin", Window.WEEK, datetime(2026, 3, 29, 22, tzinfo=UTC), id="a week of 167 hours"),
    pytest.param("Europe/Berlin", Window.MONTH, datetime(2026, 10, 31, 23, tzinfo=UTC), id="a month of 745 hours"),
    pytest.param("America/Santiago", Window.DAY, datetime(2026, 9, 6, 4, tzinfo=UTC), id="a day without a midnight"),
]


async def taken(house: House) -> bool:
    """Whether one more is taken in."""
    try:
        await house.ask()
    except UserError as error:
        if error.code is not Code.QUOTA_EXCEEDED:
            raise
        return False
    return True


@pytest.mark.parametrize(("zone", "window", "boundary"), BOUNDARIES)
async def test_a_window_ends_to_the_second(
    tmp_path: Path, clock: Clock, zone: str, window: Window, boundary: datetime
) -> None:
    clock.now = boundary
    clock.advance(-1)
    async with open_house(tmp_path, clock=clock, working=False) as house:
        await house.administration.set_time_zone(GUILD, ZoneInfo(zone), 1)
        await house.administration.set_rule(GUILD, Subject.EVERY_MEMBER, 0, Unit.IMAGES, window, 1, 1)
        early = await house.ask()
        assert not await taken(house)
        (usage,) = await house.quotas.usage(Asker(Place(GUILD, CHANNEL, USER)))
        assert usage.resets_at == boundary
        clock.advance(1)
        assert await taken(house)
        assert not await taken(house)
        # What is given back after its window closed goes to that window.
        await house.dispatcher.cancel(early.id)
        assert not await taken(house)
        assert await house.counted(Unit.IMAGES) == (0, 1)
        assert await house.ledger.check() == []
