"""The fair order: start-time fair queueing on two levels, guilds first and then a guild's members.

(P. Goyal, H. Vin, H. Cheng: "Start-time Fair Queuing", 1996.) Every job gets a start tag when it comes in:
where its member's last job ends, but never before the virtual time, which is the start tag of the job that was
started last. The lowest start tag goes next. So a member who queues a hundred jobs only moves their own tags
away; somebody new starts at the virtual time, which is now. Members' tags are frozen when the job comes in;
guilds are charged when their job is started.
"""

import heapq
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from db.line import FairClocks, Waiting


def member_tags(last_finish: float, virtual_time: float, cost: float, weight: float = 1.0) -> tuple[float, float]:
    """Start and finish tag of a job that comes in now. ``cost`` is in seconds; more weight makes it count less."""
    start = max(last_finish, virtual_time)
    return start, start + cost / weight


@dataclass(frozen=True, slots=True)
class Charge:
    """The clocks after a job was started."""

    virtual_time: float
    guild_finish: float
    guild_virtual: float


def charge(job: Waiting, clocks: FairClocks) -> Charge:
    """What starting this job does to the clocks."""
    finish, virtual = clocks.guilds.get(job.guild_id, (0.0, 0.0))
    start = max(finish, clocks.virtual_time)
    return Charge(start, start + job.cost, max(virtual, job.start_tag))


def fair_order(
    waiting: Iterable[Waiting], clocks: FairClocks, can_run: Callable[[Waiting], bool] = lambda job: True
) -> Iterator[Waiting]:
    """The waiting jobs in the order in which they would be started, one at a time.

    A job that cannot run now is left out, and its guild is not charged for it.
    """
    queues: dict[int, deque[Waiting]] = {}
    for job in sorted(waiting, key=lambda job: (job.start_tag, job.number)):
        if can_run(job):
            queues.setdefault(job.guild_id, deque()).append(job)
    heads = [
        (max(clocks.guilds.get(guild, (0.0, 0.0))[0], clocks.virtual_time), queue[0].number, guild)
        for guild, queue in queues.items()
    ]
    heapq.heapify(heads)
    while heads:
        start, _, guild = heapq.heappop(heads)
        job = queues[guild].popleft()
        yield job
        if queues[guild]:
            heapq.heappush(heads, (start + job.cost, queues[guild][0].number, guild))
