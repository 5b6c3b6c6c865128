"""The line played forward: who is started when, as far as can be told now.

The same rules as the dispatcher's: fair order, only on backends that can take the job, and nobody has more under way
than they may. What cannot be known is who else will come.
"""

import heapq
import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from db.line import FairClocks, Recent, Waiting

RECENT_SECONDS: Final = 1800.0
"""How far back is looked for how much comes in …"""
SHORTEST_SECONDS: Final = 300.0
"""… and how far at least: two jobs in a minute are no rate."""
MOST_RECENT: Final = 200
OVERTAKING_SHARE: Final = 0.5
"""Of what comes in, the part that goes before; the rest has jobs of its own before it. Calibrated: at 80 % load
``benchmarks.wait_estimate`` finds a bias of -2 s with a half, of +15 s with all of it and of -8 s with none."""
MOST_OVERTAKING: Final = 0.5
"""No wait is told to be more than twice what the line alone says."""

Prospects = Mapping[str, float]
"""Backend -> the seconds that a job should take there, in order of preference; empty: it can run nowhere now."""


@dataclass(frozen=True, slots=True)
class UnderWay:
    """A job that is being painted."""

    guild_id: int
    user_id: int
    seconds: float
    """Until it is over."""


@dataclass(frozen=True, slots=True)
class Caps:
    """Jobs that a member may have under way; None: any number."""

    everywhere: int | None = None
    here: int | None = None
    """Of these, in the guild."""

    def allow(self, running: Counter[tuple[int, int]], user_id: int, guild_id: int) -> bool:
        """Whether the member may have one more. ``running``: by guild and user, in guild 0 over all of them."""
        return (self.everywhere is None or running[0, user_id] < self.everywhere) and (
            self.here is None or running[guild_id, user_id] < self.here
        )


_Bucket = tuple[int, frozenset[str] | int]
"""Of which guild jobs are set aside, and until one of which backends, or which member, is free."""
_Entry = tuple[float, int]


@dataclass(slots=True)
class _Line:
    """The state of the line at one moment that is played."""

    clocks: FairClocks
    prospects: Callable[[Waiting], Prospects]
    caps: Callable[[int], Caps]
    virtual_time: float
    finish: dict[int, float] = field(default_factory=dict)
    jobs: dict[int, Waiting] = field(default_factory=dict)
    ready: dict[int, list[_Entry]] = field(default_factory=dict)
    """Guild -> heap of start tags and numbers."""
    heads: list[tuple[float, int, int]] = field(default_factory=list)
    """Heap of guilds by their tags; what is stale is found when it is taken."""
    parked: dict[_Bucket, list[_Entry]] = field(default_factory=dict)
    free: Counter[str] = field(default_factory=Counter)
    running: Counter[tuple[int, int]] = field(default_factory=Counter)

    def put(self, job: Waiting) -> None:
        """The job may be the next."""
        self.jobs[job.number] = job
        heap = self.ready.setdefault(job.guild_id, [])
        heapq.heappush(heap, (job.start_tag, job.number))
        self.offer_head(job.guild_id)

    def offer_head(self, guild_id: int) -> None:
        """Let the guild's first job take part in the order."""
        if heap := self.ready[guild_id]:
            heapq.heappush(self.heads, (self.tag(guild_id), heap[0][1], guild_id))

    def tag(self, guild_id: int) -> float:
        finish = self.finish.get(guild_id)
        if finish is None:
            finish = self.clocks.guilds.get(guild_id, (0.0, 0.0))[0]
        return max(finish, self.virtual_time)

    def start_one(self) -> tuple[Waiting, str, float] | None:
        """Start the first job in fair order that can run; what can't is set aside. None where there is none."""
        while self.heads and any(self.free.values()):
            tag, number, guild_id = heapq.heappop(self.heads)
            heap = self.ready[guild_id]
            if not heap or heap[0][1] != number:
                continue
            if self.tag(guild_id) > tag:
                self.offer_head(guild_id)
                continue
            _, number = heapq.heappop(heap)
            job = self.jobs[number]
            self.offer_head(guild_id)
            found = self.prospects(job)
            if not self.caps(guild_id).allow(self.running, job.user_id, guild_id):
                self.park((guild_id, job.user_id), job)
                continue
            backend = next((key for key in found if self.free[key]), None)
            if backend is None:
                self.park((guild_id, frozenset(found)), job)
                continue
            start = self.tag(guild_id)
            self.virtual_time = start
            self.finish[guild_id] = start + job.cost
            self.free[backend] -= 1
            self.count(job.guild_id, job.user_id, 1)
            # Its guild's tag has moved: what was offered above is stale.
            self.offer_head(guild_id)
            del self.jobs[number]
            return job, backend, found[backend]
        return None

    def count(self, guild_id: int, user_id: int, by: int) -> None:
        self.running[0, user_id] += by
        self.running[guild_id, user_id] += by

    def park(self, bucket: _Bucket, job: Waiting) -> None:
        heapq.heappush(self.parked.setdefault(bucket, []), (job.start_tag, job.number))

    def take_up(self) -> bool:
        """Let the first of those who could run now, and were set aside, be looked at again; False: there are none."""
        if not any(self.free.values()):
            return False
        buckets = [bucket for bucket, heap in self.parked.items() if heap and self.is_free(bucket)]
        for bucket in buckets:
            _, number = heapq.heappop(self.parked[bucket])
            self.put(self.jobs[number])
        return bool(buckets)

    def is_free(self, bucket: _Bucket) -> bool:
        """Whether the reason for which jobs are set aside there does not hold any more."""
        guild_id, whom = bucket
        if isinstance(whom, frozenset):
            return any(self.free[key] for key in whom)
        return self.caps(guild_id).allow(self.running, whom, guild_id)


def forecast(
    waiting: Iterable[Waiting],
    clocks: FairClocks,
    slots: Mapping[str, Sequence[float]],
    under_way: Iterable[UnderWay],
    prospects: Callable[[Waiting], Prospects],
    caps: Callable[[int], Caps],
) -> list[tuple[Waiting, float | None]]:
    """Everybody who waits, in the order in which they will be started, and in how many seconds.

    ``slots``: backend -> the seconds until each of its slots is free; ``caps``: of a guild's members. None: as things
    are now nothing will ever start the job; such jobs stand last, in fair order.
    """
    line = _Line(clocks, prospects, caps, clocks.virtual_time)
    numbers = itertools.count()
    ends: list[tuple[float, int, str | None, tuple[int, int] | None]] = []
    for backend, frees in slots.items():
        for until in frees:
            heapq.heappush(ends, (until, next(numbers), backend, None))
    for job in under_way:
        line.count(job.guild_id, job.user_id, 1)
        heapq.heappush(ends, (job.seconds, next(numbers), None, (job.guild_id, job.user_id)))
    for each in waiting:
        line.put(each)
    told: list[tuple[Waiting, float | None]] = []
    while line.jobs and ends:
        now = ends[0][0]
        while ends and ends[0][0] <= now:
            _, _, freed, member = heapq.heappop(ends)
            if freed is not None:
                line.free[freed] += 1
            if member is not None:
                line.count(*member, -1)
        while (started := line.start_one()) is not None or line.take_up():
            if started is None:
                continue
            begun, backend, seconds = started
            told.append((begun, max(0.0, now)))
            over = now + seconds
            heapq.heappush(ends, (over, next(numbers), backend, (begun.guild_id, begun.user_id)))
    left = sorted(line.jobs.values(), key=lambda job: (line.tag(job.guild_id), job.start_tag, job.number))
    return told + [(job, None) for job in left]


def overtaking(recent: Sequence[Recent], waiting: Sequence[Waiting], slots: int, now: float) -> float:
    """The share of the slots' time that goes to jobs which will come in later and be started sooner.

    As it was of late: the work of members who come now and then, not of those who have several jobs waiting. They go
    before every job that is not the first of its member in the fair order. ``now``: seconds since the epoch.
    """
    if not recent or not slots:
        return 0.0
    backlog = Counter((job.guild_id, job.user_id) for job in waiting)
    work = sum(job.seconds for job in recent if backlog[job.guild_id, job.user_id] <= 1)
    began = min(job.created_at for job in recent) / 1000
    span = min(RECENT_SECONDS, max(SHORTEST_SECONDS, now - began))
    return min(MOST_OVERTAKING, OVERTAKING_SHARE * work / (span * slots))
