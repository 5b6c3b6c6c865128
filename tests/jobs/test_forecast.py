"""The line played forward by the dispatcher's rules: fair order, backends that can, caps of members."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.wait_estimate import Load, loads, run
from db.line import FairClocks, Recent, Waiting
from jobs.fairness import fair_order
from jobs.forecast import MOST_OVERTAKING, Caps, Prospects, UnderWay, forecast, overtaking

FRESH = FairClocks(0.0, {})
NO_CAPS = Caps()


def line(*members: int, cost: float = 10.0, guild: int = 1, offers: tuple[str, ...] = ("worker",)) -> list[Waiting]:
    """A job of each, in the order in which they came; a member's own start one after the other."""
    own: dict[int, float] = {}
    jobs = []
    for number, member in enumerate(members, start=1):
        start = own.get(member, 0.0)
        own[member] = start + cost
        jobs.append(Waiting(str(number), guild, member, start, number, cost, 0, offers))
    return jobs


def told(
    waiting: Sequence[Waiting],
    slots: Mapping[str, Sequence[float]],
    under_way: Sequence[UnderWay] = (),
    caps: Caps = NO_CAPS,
    clocks: FairClocks = FRESH,
) -> list[tuple[str, float | None]]:
    def prospects(job: Waiting) -> Prospects:
        return {key: job.cost for key in job.offers if key in slots}

    return [(job.id, at) for job, at in forecast(waiting, clocks, slots, under_way, prospects, lambda guild: caps)]


jobs = st.lists(
    st.tuples(st.integers(1, 3), st.integers(1, 4), st.sampled_from([0.5, 1.0, 8.0])), min_size=1, max_size=30
)


@given(jobs, st.integers(1, 3))
def test_without_obstacles_it_is_the_fair_order(coming: list[tuple[int, int, float]], slots: int) -> None:
    tags: dict[tuple[int, int], float] = {}
    waiting = []
    for number, (guild, member, cost) in enumerate(coming, start=1):
        start = tags.get((guild, member), 0.0)
        tags[guild, member] = start + cost
        waiting.append(Waiting(str(number), guild, member, start, number, cost, 0, ("worker",)))
    clocks = FairClocks(3.0, {2: (5.0, 1.0)})
    found = told(waiting, {"worker": [0.0] * slots}, clocks=clocks)
    assert [job_id for job_id, _ in found] == [job.id for job in fair_order(waiting, clocks)]
    waits = [at for _, at in found if at is not None]
    assert waits == sorted(waits)
    assert len(waits) == len(waiting)


def test_slots_are_used_as_they_become_free() -> None:
    assert told(line(1, 2, 3, 4), {"worker": [3.0, 0.0]}) == [("1", 0.0), ("2", 3.0), ("3", 10.0), ("4", 13.0)]


def test_a_member_with_as_many_as_they_may_have_lets_others_by() -> None:
    flood = line(1, 1, 1, 2)
    assert told(flood, {"worker": [0.0] * 3}, caps=Caps(here=1)) == [
        ("1", 0.0),
        ("4", 0.0),
        ("2", 10.0),
        ("3", 20.0),
    ]
    # What is being painted counts, in other servers too where the operator says so.
    elsewhere = [UnderWay(9, 1, 4.0)]
    assert told(line(1, 2), {"worker": [0.0] * 2}, elsewhere, Caps(everywhere=1)) == [("2", 0.0), ("1", 4.0)]
    assert told(line(1, 2), {"worker": [0.0] * 2}, elsewhere, Caps(here=1)) == [("1", 0.0), ("2", 0.0)]


def test_each_goes_where_it_can() -> None:
    waiting = [
        *line(1, 1, 1, offers=("worker",)),
        *(replace(job, number=job.number + 10, id=f"b{job.id}") for job in line(2, 3, offers=("hosted", "worker"))),
    ]
    found = dict(told(waiting, {"worker": [0.0], "hosted": [0.0]}))
    assert found == {"1": 0.0, "b1": 0.0, "b2": 10.0, "2": 10.0, "3": 20.0}


def test_what_nothing_can_take_stands_last_without_a_time() -> None:
    gone = replace(line(1, offers=("gone",))[0], id="gone")
    waiting = [gone, *(replace(job, number=job.number + 1) for job in line(2, 3))]
    assert told(waiting, {"worker": [0.0]}) == [("1", 0.0), ("2", 10.0), ("gone", None)]
    assert told(line(1, 2), {}) == [("1", None), ("2", None)]


@given(st.integers(0, 2**32))
def test_everybody_stands_in_it_once_whatever_the_obstacles(seed: int) -> None:
    dice = random.Random(seed)
    waiting = [
        replace(job, guild_id=dice.randrange(3), offers=tuple(dice.sample(["a", "b", "c"], dice.randint(1, 2))))
        for job in line(*(dice.randrange(5) for _ in range(40)))
    ]
    slots = {key: [dice.uniform(0, 30) for _ in range(dice.randint(1, 2))] for key in ("a", "b")}
    under_way = [UnderWay(dice.randrange(3), dice.randrange(5), dice.uniform(0, 30)) for _ in range(3)]
    found = told(waiting, slots, under_way, Caps(everywhere=2, here=1))
    assert sorted(job_id for job_id, _ in found) == sorted(job.id for job in waiting)
    stuck = {job.id for job in waiting if set(job.offers) == {"c"}}
    assert {job_id for job_id, at in found if at is None} == stuck


NOW = 10_000.0


def came_in(seconds_ago: float, user: int, seconds: float) -> Recent:
    return Recent(1, user, round((NOW - seconds_ago) * 1000), seconds)


def test_those_who_come_now_and_then_go_before_and_a_flood_does_not() -> None:
    now_and_then = [came_in(ago, user, 30.0) for user, ago in enumerate((600, 400, 200), start=50)]
    # 90 s of work in 600 s, half of it before others.
    assert overtaking(now_and_then, [], 1, NOW) == 0.075
    assert overtaking(now_and_then, [], 3, NOW) == 0.025
    flood = line(*[1] * 20)
    assert overtaking([came_in(0.0, 1, 10.0) for _ in flood], flood, 1, NOW) == 0.0
    assert overtaking([], flood, 1, NOW) == 0.0
    assert overtaking([came_in(1, user, 1e6) for user in range(9)], [], 1, NOW) == MOST_OVERTAKING


@pytest.mark.parametrize("load", [load for load in loads(40) if "crowd" in load.title or "three slots" in load.title])
async def test_the_told_wait_is_honest_where_nobody_else_comes(load: Load) -> None:
    found = await run(load)
    assert found.median_share <= 0.15
    assert abs(found.bias) <= 0.15 * found.wait


async def test_every_play_tells_the_same() -> None:
    flood = loads(40)[5]
    assert await run(flood) == await run(flood)
