"""The table of ``benchmarks.fairness`` on intake, dispatcher and database themselves, at a smaller size."""

import statistics
from pathlib import Path

from benchmarks.fairness import (
    COSTLY_SECONDS,
    Load,
    costly_and_cheap,
    many_behind_a_flood,
    one_behind_a_flood,
    share_of_time,
    waits,
    zipf,
)
from benchmarks.simulation import Played, catalogue, play, simulation


async def played(folder: Path, load: Load) -> list[Played]:
    async with simulation(folder, catalogue(cheap=1, costly=COSTLY_SECONDS)) as house:
        return await play(house, load.wishes, load.enough)


async def test_one_job_behind_a_flood_waits_for_one_at_the_most(tmp_path: Path) -> None:
    (wait,) = waits(await played(tmp_path, one_behind_a_flood(60)), range(1, 2))
    assert wait <= 1.0


async def test_members_behind_a_flood_wait_for_each_other_alone(tmp_path: Path) -> None:
    found = waits(await played(tmp_path, many_behind_a_flood(40, members=10)), range(1, 11))
    assert len(found) == 10
    assert statistics.median(found) <= 1.0


async def test_costly_and_cheap_members_get_half_of_the_time_each(tmp_path: Path) -> None:
    share = share_of_time(await played(tmp_path, costly_and_cheap(160)), 1, until=160)
    assert abs(share - 0.5) <= 0.03


async def test_the_lighter_half_of_many_waits_little(tmp_path: Path) -> None:
    found = waits(await played(tmp_path, zipf(80)), range(20, 40))
    assert statistics.median(found) <= 2.0
