"""The real intake, dispatcher and database on a clock of their own: hours of a load are played in seconds.

Nothing waits for real time: the clock jumps to whatever comes next, a wish or the end of a job, and stands still until
the dispatcher has started everything that it can. The backend takes as long as a job's prompt says, in seconds.
"""

import asyncio
import heapq
import itertools
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from backends.base import Call, Event, Events, Health, HealthState, Made
from config.catalogue import Catalogue
from domain.job import Place
from domain.request import ImageRequest, Kind
from jobs.quotas import Asker
from jobs.rests import Rests
from tests.building import CHANNEL, GUILD, Clock, House, model, offer, open_house

FOREVER = float("inf")


@dataclass(frozen=True, slots=True)
class Wish:
    """One job that comes in. Times are in seconds since the load began."""

    at: float
    user: int
    seconds: float = 1.0
    """How long it really takes."""
    model: str = "cheap"
    guild: int = GUILD


@dataclass(frozen=True, slots=True)
class Played:
    """What became of a wish."""

    wish: Wish
    told: float | None
    """The wait that its person was told at the door, in seconds."""
    started: float | None
    """When it was started; None: not before the end."""

    @property
    def wait(self) -> float:
        """From coming in to being started."""
        assert self.started is not None
        return self.started - self.wish.at


def catalogue(**seconds: float) -> Catalogue:
    """A model for each name, with what the catalogue guesses that a picture takes."""
    return Catalogue([model(name, offer("worker", seconds=guess)) for name, guess in seconds.items()])


class TimedBackend:
    """Paints a tiny picture when the clock has come to the job's end."""

    key = "worker"
    resumes = False
    repeatable_submit = False

    def __init__(self, clock: Clock, slots: int) -> None:
        self._clock = clock
        self._slots = slots
        self._numbers = itertools.count()
        self._ends: list[tuple[float, int, str, asyncio.Event]] = []
        self.started: dict[str, float] = {}
        """Job -> when it was started, in seconds since the epoch."""
        self.running = 0
        self.changed = asyncio.Event()

    async def run(self, call: Call) -> Events:
        over, now, seconds = asyncio.Event(), self._clock().timestamp(), float(call.request.prompt)
        self.started[call.job_id] = now
        heapq.heappush(self._ends, (now + seconds, next(self._numbers), call.job_id, over))
        self.running += 1
        self.changed.set()
        await over.wait()
        for picture in call.pictures:
            path = call.workspace / f"{picture.index}.png"
            Image.new("RGB", (16, 16)).save(path)
            yield Made(picture.index, path, seconds=seconds)

    async def resume(self, call: Call, remote_id: str) -> AsyncGenerator[Event, None]:
        raise AssertionError("nothing is resumed here")
        yield

    async def health(self) -> Health:
        return Health(HealthState.UP, self._slots)

    async def aclose(self) -> None:
        pass

    @property
    def next_end(self) -> float:
        """When the next job ends, in seconds since the epoch."""
        return self._ends[0][0] if self._ends else FOREVER

    def end_due(self) -> list[str]:
        """End what the clock has come to; returns the jobs."""
        due = []
        # The clock goes in microseconds.
        while self._ends and self._ends[0][0] <= self._clock().timestamp() + 1e-4:
            _, _, job_id, over = heapq.heappop(self._ends)
            over.set()
            self.running -= 1
            due.append(job_id)
        return due


class Simulation:
    """One load on one house. ``slots``: jobs at a time."""

    def __init__(self, house: House, backend: TimedBackend, slots: int, most_a_member: int | None) -> None:
        self._house = house
        self._backend = backend
        self._slots = slots
        self._most_a_member = most_a_member if most_a_member is not None else slots
        self._began = house.clock().timestamp()
        self._told: dict[str, tuple[Wish, float | None]] = {}
        self._open: Counter[int] = Counter()
        self._interactions = itertools.count(1)

    async def bring_in(self, wishes: Sequence[Wish]) -> None:
        """Everything that comes in at one moment, in this order; each meets the line that those before it left."""
        for wish in wishes:
            await self._bring_in(wish)
            await self._settle()

    async def _bring_in(self, wish: Wish) -> None:
        request = ImageRequest(kind=Kind.IMAGINE, model=wish.model, prompt=str(wish.seconds), seed=1)
        asker = Asker(Place(wish.guild, CHANNEL, wish.user))
        admission = await self._house.intake.submit(request, asker, interaction_id=next(self._interactions))
        self._told[admission.job.id] = (wish, admission.wait_seconds)
        self._open[wish.user] += 1

    async def _settle(self) -> None:
        """Until everything runs that can."""
        runnable = sum(min(count, self._most_a_member) for count in self._open.values())
        while self._backend.running < min(self._slots, runnable):
            await self._backend.changed.wait()
            self._backend.changed.clear()

    async def advance(self, until: float) -> None:
        """Let time pass up to a moment (seconds since the load began)."""
        clock, end = self._house.clock, self._began + until
        while self._backend.next_end <= end and self._backend.next_end < FOREVER:
            clock.advance(self._backend.next_end - clock().timestamp())
            await self._end_due()
            await self._settle()
        if end < FOREVER:
            clock.advance(end - clock().timestamp())

    async def _end_due(self) -> None:
        """End what the clock has come to, until its slot is free and its seconds are learned."""
        with self._house.events.listen() as events:
            due = self._backend.end_due()
            for job_id in due:
                self._open[self._told[job_id][0].user] -= 1
            while self._house.fleet.seconds_left().keys() & due:
                await anext(events)

    def played(self) -> list[Played]:
        """What became of every wish, in the order in which they came in."""
        found = []
        for job_id, (wish, told) in self._told.items():
            started = self._backend.started.get(job_id)
            found.append(Played(wish, told, None if started is None else started - self._began))
        return found


@asynccontextmanager
async def simulation(
    folder: Path, models: Catalogue, *, slots: int = 1, max_running_per_user: int | None = None
) -> AsyncIterator[Simulation]:
    """A house of its own in the folder, that takes in everything."""
    clock = Clock()
    backend = TimedBackend(clock, slots)
    async with open_house(
        folder,
        {"worker": backend},
        clock=clock,
        catalogue=models,
        # Looks at the line rest from each other for the sake of others; here there are none.
        rests=Rests(forecast=0.0),
        easel_default_daily_images=100_000,
        easel_max_queued_per_user=1000,
        easel_max_queued=100_000,
        easel_max_running_per_user=max_running_per_user,
    ) as house:
        while not house.fleet.seconds_until_free():
            await asyncio.sleep(0)
        yield Simulation(house, backend, slots, max_running_per_user)


async def play(load: Simulation, wishes: Sequence[Wish], until: float = FOREVER) -> list[Played]:
    """Bring the wishes in when their time comes."""
    for at, together in itertools.groupby(sorted(wishes, key=lambda wish: wish.at), key=lambda wish: wish.at):
        if at > until:
            break
        await load.advance(at)
        await load.bring_in(list(together))
    await load.advance(until)
    return load.played()
