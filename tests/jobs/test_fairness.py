"""The fair order: nobody waits behind a flood, costly and cheap share alike, nobody starves."""

import asyncio
import random
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from db.line import FairClocks, Waiting
from domain.job import JobState
from jobs.fairness import charge, fair_order, member_tags
from tests.building import open_house
from tests.doubles import Paint, ScriptedBackend


@dataclass
class Line:
    """The queue as intake and the dispatcher keep it, without a database: one slot, started one by one."""

    clocks: FairClocks = field(default_factory=lambda: FairClocks(0.0, {}))
    waiting: list[Waiting] = field(default_factory=list)
    finish_tags: dict[tuple[int, int], float] = field(default_factory=dict)
    number: int = 0

    def come_in(self, user: int, cost: float = 1.0, guild: int = 1) -> Waiting:
        self.number += 1
        last = self.finish_tags.get((guild, user), 0.0)
        start, finish = member_tags(last, self.clocks.guilds.get(guild, (0.0, 0.0))[1], cost)
        self.finish_tags[guild, user] = finish
        job = Waiting(str(self.number), guild, user, start, self.number, cost, 0, ())
        self.waiting.append(job)
        return job

    def start(self) -> Waiting:
        job = next(fair_order(self.waiting, self.clocks))
        after = charge(job, self.clocks)
        guilds = dict(self.clocks.guilds) | {job.guild_id: (after.guild_finish, after.guild_virtual)}
        self.clocks = FairClocks(after.virtual_time, guilds)
        self.waiting.remove(job)
        return job


def test_a_flood_does_not_hold_up_the_next_member() -> None:
    for already in (0, 1, 10, 99):
        line = Line()
        for _ in range(100):
            line.come_in(user=1)
        for _ in range(already + 1):
            line.start()
        newcomer = line.come_in(user=2)
        assert line.start() == newcomer


def test_nor_the_next_server() -> None:
    line = Line()
    for user in range(100):
        line.come_in(user=user, guild=1)
    line.start()
    newcomer = line.come_in(user=1, guild=2)
    assert line.start() == newcomer


def test_a_server_of_many_members_gets_what_a_server_of_one_gets() -> None:
    line = Line()
    for user in range(60):
        line.come_in(user=user, guild=1)
    for _ in range(30):
        line.come_in(user=1, guild=2)
    started = Counter(line.start().guild_id for _ in range(40))
    assert abs(started[1] - started[2]) <= 1


def share_of_the_costly(costly: float, by: str) -> float:
    line = Line()
    spent: Counter[int] = Counter()
    for _ in range(400):
        for user, cost in ((1, costly), (2, 1.0)):
            while sum(job.cost for job in line.waiting if job.user_id == user) < 4 * costly:
                line.come_in(user, cost, guild=user if by == "server" else 1)
        job = line.start()
        spent[job.user_id] += round(job.cost)
    return spent[1] / spent.total()


def test_costly_and_cheap_share_half_and_half() -> None:
    for by in ("member", "server"):
        assert abs(share_of_the_costly(8.0, by) - 0.5) <= 0.03


def test_who_was_away_has_saved_nothing_up() -> None:
    line = Line()
    for _ in range(50):
        line.come_in(user=1)
        line.start()
    for _ in range(10):
        line.come_in(user=1)
        line.come_in(user=2)
    assert Counter(line.start().user_id for _ in range(10)) == {1: 5, 2: 5}


jobs = st.lists(
    st.tuples(st.integers(1, 3), st.integers(1, 4), st.sampled_from([0.5, 1.0, 8.0, 60.0])), min_size=1, max_size=40
)


@given(jobs, st.integers(0, 20))
def test_the_order_is_everybody_once_and_what_is_really_started(
    coming: list[tuple[int, int, float]], started: int
) -> None:
    line = Line()
    for guild, user, cost in coming:
        line.come_in(user, cost, guild)
    for _ in range(min(started, len(coming))):
        line.start()
    order = [job.id for job in fair_order(line.waiting, line.clocks)]
    assert sorted(order) == sorted(job.id for job in line.waiting)
    assert order == [line.start().id for _ in range(len(order))]


@given(jobs)
def test_a_members_own_jobs_keep_their_order(coming: list[tuple[int, int, float]]) -> None:
    line = Line()
    for guild, user, cost in coming:
        line.come_in(user, cost, guild)
    seen: dict[tuple[int, int], int] = {}
    for job in fair_order(line.waiting, line.clocks):
        assert job.number > seen.get((job.guild_id, job.user_id), 0)
        seen[job.guild_id, job.user_id] = job.number


@given(st.integers(0, 2**32), st.floats(0.5, 60.0))
def test_nobody_starves(seed: int, cost: float) -> None:
    dice = random.Random(seed)
    line = Line()
    for user in range(5):
        line.come_in(user, 1.0)
    patient = line.come_in(user=99, cost=cost)
    # New ones keep coming, and always before the patient one is looked at.
    for _ in range(200):
        line.come_in(dice.randrange(5), dice.choice((0.5, 1.0, 8.0)))
        if line.start() == patient:
            break
    else:
        raise AssertionError("still waiting")


@given(jobs, st.integers(0, 3))
def test_a_job_that_cannot_run_costs_its_guild_nothing(coming: list[tuple[int, int, float]], blocked: int) -> None:
    line, without = Line(), Line()
    for guild, user, cost in coming:
        line.come_in(user, cost, guild)
        without.come_in(user, cost, guild)
    without.waiting = [job for job in without.waiting if job.user_id != blocked]
    able = fair_order(line.waiting, line.clocks, lambda job: job.user_id != blocked)
    assert [job.id for job in able] == [job.id for job in fair_order(without.waiting, without.clocks)]


async def test_behind_a_flood_on_the_real_dispatcher(tmp_path: Path) -> None:
    going = asyncio.Event()
    backend = ScriptedBackend("worker", [Paint()])
    backend.scripts.append([going, Paint()])
    async with open_house(tmp_path, {"worker": backend}, easel_default_daily_images=1000) as house:
        flood = [await house.ask(user=1) for _ in range(100)]
        await house.reached(flood[0].id, JobState.RUNNING)
        other = await house.ask(user=2)
        standing = await house.queue.standing(other.id)
        assert standing is not None
        assert (standing.position, standing.wait_seconds) == (1, 10.0)
        going.set()
        await house.reached(other.id, JobState.FINISHED)
        assert [call.job_id for call in backend.calls][:2] == [flood[0].id, other.id]
