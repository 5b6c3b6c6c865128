"""How many members so many GPUs carry: the real dispatcher and the real store, with time that is made up.

    python -m benchmarks.scale [--gpus 1,8,64] [--members 1000,100000,1000000] [--jobs 1000] [--seconds 3.7]

Members ask at random moments (Poisson), most of them in a few large servers (Zipf), for one picture (60 %), two (15 %)
or four (25 %). A GPU takes ``--seconds`` a picture. Only the clock is not real: it jumps to the next moment at which
something happens. Intake, fair order, dispatcher, ledger and SQLite (on disk, synchronous=FULL) are those of the bot,
so that the last columns tell how much processor time one process spends on a job, from the wish to the settled ledger,
with as many guilds and members in the file as there are. (The dispatcher's rest between two looks that found nothing is
real time, and is taken out.)

For each number of GPUs the load is raised: 50, 70, 80, 90, 95 % of what they can paint, and 110 % (too much).
"""

import argparse
import asyncio
import heapq
import itertools
import random
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).parents[1]))

from backends.base import Call, Events, Health, HealthState, Made
from domain.job import JobState, Place
from domain.request import ImageRequest, Kind
from jobs.events import StateChanged
from jobs.quotas import Asker
from jobs.rests import Rests
from tests.building import Clock, House, open_house

COUNTS: Final = (1, 2, 4)
SHARES: Final = (0.60, 0.15, 0.25)
PICTURES_A_JOB: Final = sum(count * share for count, share in zip(COUNTS, SHARES, strict=True))
MEMBERS_A_GUILD: Final = 250
LOADS: Final = (0.5, 0.7, 0.8, 0.9, 0.95, 1.1)
START: Final = datetime(2026, 3, 11, 18, 0, tzinfo=UTC)
PNG: Final = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c49444154789c63f8cfc000000301010018dd8db0"
    "0000000049454e44ae426082"
)


class Gpus:
    """So many GPUs as one backend; a call ends when the made-up clock has come to its end."""

    key = "worker"
    resumes = False
    repeatable_submit = False

    def __init__(self, gpus: int, seconds: float, timetable: "Timetable") -> None:
        self._gpus, self._seconds, self._timetable = gpus, seconds, timetable

    async def run(self, call: Call) -> Events:
        """Every picture of the call, at the end of its time."""
        started = self._timetable.began(call.job_id)
        for picture in call.pictures:
            await self._timetable.sleep(started, self._seconds)
            started += self._seconds
            path = call.workspace / f"{picture.index}.png"
            path.write_bytes(PNG)
            yield Made(picture.index, path, seconds=self._seconds)

    def resume(self, call: Call, remote_id: str) -> Events:
        """Never called."""
        raise NotImplementedError

    async def health(self) -> Health:
        """Always well."""
        return Health(HealthState.UP, self._gpus)

    async def aclose(self) -> None:
        """Nothing to close."""


class Timetable:
    """What happens when, on the made-up clock."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.due: list[tuple[float, int, asyncio.Event | None]] = []
        self.waits: dict[str, float] = {}
        self.asked: dict[str, float] = {}
        self.moved = asyncio.Event()
        self.computing = 0
        self._numbers = itertools.count()

    @property
    def now(self) -> float:
        """Seconds since the simulation's start."""
        return (self.clock.now - START).total_seconds()

    def began(self, job_id: str) -> float:
        """A GPU has the job."""
        self.waits[job_id] = self.now - self.asked.pop(job_id, self.now)
        return self.now

    async def sleep(self, since: float, seconds: float) -> None:
        """Until the clock has come so far."""
        over = asyncio.Event()
        heapq.heappush(self.due, (since + seconds, next(self._numbers), over))
        self.computing += 1
        self.moved.set()
        await over.wait()

    def arrive(self, at: float) -> None:
        """Somebody will ask then."""
        heapq.heappush(self.due, (at, next(self._numbers), None))


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    gpus: int
    members: int
    load: float
    waits: list[float]
    pictures: int
    span: float
    own_seconds: float


def guild_of(member: int, guilds: int) -> int:
    """Zipf: the first guild has the most members."""
    return min(guilds, int(guilds ** (member * 0.6180339887 % 1.0)))


async def prepare(house: House, members: int, guilds: int) -> None:
    """The rows that a bot with so many members has after a week: each guild has a clock, each member a balance."""
    async with house.database.transaction() as tx:
        await tx.executemany(
            "INSERT OR IGNORE INTO fair_guilds (guild_id, finish_tag, virtual_time) VALUES (?, 0, 0)",
            ((guild,) for guild in range(1, guilds + 1)),
        )
        await tx.executemany(
            "INSERT INTO balances (guild_id, subject, subject_id, unit, bucket, held, used, granted)"
            " VALUES (?, 'member', ?, 'images', ?, 0, 3, 0)",
            ((guild_of(member, guilds), member, int(START.timestamp()) // 900 - 96) for member in range(members)),
        )


async def one(gpus: int, members: int, load: float, jobs: int, seconds: float, folder: Path, seed: int) -> Row:
    rng = random.Random(seed)
    guilds = max(1, members // MEMBERS_A_GUILD)
    clock = Clock(START)
    timetable = Timetable(clock)
    rate = load * gpus / seconds / PICTURES_A_JOB
    at = 0.0
    for _ in range(jobs):
        at += rng.expovariate(rate)
        timetable.arrive(at)
    own: list[float] = []
    async with open_house(
        folder,
        {"worker": Gpus(gpus, seconds, timetable)},
        clock=clock,
        rests=Rests(fruitless=0.001),
        easel_default_daily_images=100_000,
        easel_max_queued=1_000_000,
    ) as house:
        await prepare(house, members, guilds)
        finished = asked = pictures = 0
        with house.events.listen() as events:

            async def count() -> None:
                nonlocal finished
                async for event in events:
                    if isinstance(event, StateChanged) and event.state is JobState.FINISHED:
                        finished += 1
                        timetable.moved.set()

            counting = asyncio.create_task(count())
            while timetable.due and (asked < jobs or timetable.computing):
                moment, _, over = heapq.heappop(timetable.due)
                clock.advance(max(0.0, moment - timetable.now))
                began = time.process_time()
                if over is None:
                    member = rng.randrange(members)
                    guild = guild_of(member, guilds)
                    number = rng.choices(COUNTS, SHARES)[0]
                    request = ImageRequest(kind=Kind.IMAGINE, model="local", prompt="a fox", seed=member, count=number)
                    place = Place(guild, guild, 1000 + member)
                    asked_at = timetable.now
                    admission = await house.intake.submit(request, Asker(place, frozenset()), interaction_id=asked + 1)
                    asked += 1
                    pictures += number
                    if admission.job.id not in timetable.waits:
                        timetable.asked[admission.job.id] = asked_at
                else:
                    timetable.computing -= 1
                    over.set()
                # All that follows from it at this moment happens before the clock goes on.
                while timetable.computing < min(gpus, asked - finished):
                    timetable.moved.clear()
                    if timetable.computing < min(gpus, asked - finished):
                        await timetable.moved.wait()
                own.append(time.process_time() - began)
                if asked == jobs and load > 1 and not timetable.asked:
                    break
            counting.cancel()
        span = timetable.now
    return Row(gpus, members, load, list(timetable.waits.values()), pictures, span, sum(own) / jobs)


def print_row(row: Row, seconds: float) -> None:
    waits = sorted(row.waits)
    day = row.load * row.gpus * 86_400 / seconds
    print(
        f"{row.gpus:>4} {row.members:>9,} {row.load:>5.0%}   "
        f"{statistics.median(waits):>7.1f} {waits[int(len(waits) * 0.95)]:>7.1f} {waits[-1]:>7.1f}   "
        f"{day:>12,.0f}   {row.own_seconds * 1000:>10.1f} {1 / row.own_seconds:>7.1f}",
        flush=True,
    )


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gpus", default="1,8,64")
    parser.add_argument("--members", default="1000,100000,1000000")
    parser.add_argument("--loads", default=",".join(map(str, LOADS)))
    parser.add_argument("--jobs", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=3.7)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    print(f"{given.seconds} s a picture, {PICTURES_A_JOB:.2f} pictures a job, {given.jobs} jobs a row")
    print(" GPUs   members  load   wait p50     p95   worst   pictures/day  CPU ms/job  jobs/s", flush=True)
    pairs = zip(map(int, given.gpus.split(",")), map(int, given.members.split(",")), strict=True)
    for gpus, members in pairs:
        for load in map(float, given.loads.split(",")):
            with tempfile.TemporaryDirectory() as folder:
                row = await one(gpus, members, load, given.jobs, given.seconds, Path(folder), given.seed)
                print_row(row, given.seconds)


if __name__ == "__main__":
    asyncio.run(main())
