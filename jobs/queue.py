"""Where everybody stands in line, and for how long: the fair order played forward."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from db.database import Connection, Database
from db.jobs import JobStore
from db.line import FairClocks, Recent, Waiting
from jobs.choosing import Chooser
from jobs.fleet import Fleet
from jobs.forecast import MOST_RECENT, RECENT_SECONDS, Prospects, UnderWay, forecast, overtaking
from jobs.rests import Rests

REST_SHARE: Final = 4.0
"""A look at the line is followed by a rest of so many times its length, up to ``Rests.forecast``."""


@dataclass(frozen=True, slots=True)
class Standing:
    """A waiting job's place. Position 1 is next."""

    job_id: str
    guild_id: int
    user_id: int
    position: int
    wait_seconds: float | None
    """Until it is started, as far as can be told; None: nothing that could take it is up."""


class Queue:
    """Looks at the line; the dispatcher moves it."""

    def __init__(
        self,
        database: Database,
        jobs: JobStore,
        fleet: Fleet,
        chooser: Chooser,
        clock: Callable[[], datetime],
        rests: Rests,
    ) -> None:
        self._database = database
        self._jobs = jobs
        self._fleet = fleet
        self._chooser = chooser
        self._clock = clock
        self._rests = rests
        self._looking = asyncio.Lock()
        self._rests_until = 0.0
        self._next_look: asyncio.Task[list[Standing]] | None = None
        self._looks: set[asyncio.Task[list[Standing]]] = set()

    async def line(self) -> list[Standing]:
        """Everybody who waits, in the order in which they will be started.

        Fifty who ask at once are answered by one look, which begins after they asked.
        """
        if self._next_look is None:
            self._next_look = asyncio.create_task(self._look())
            self._looks.add(self._next_look)
            self._next_look.add_done_callback(self._looks.discard)
        return await asyncio.shield(self._next_look)

    async def aclose(self) -> None:
        """Let looks that are under way end; to be called before the database is closed."""
        if self._looks:
            await asyncio.wait(self._looks)

    async def _look(self) -> list[Standing]:
        async with self._looking:
            await asyncio.sleep(max(0.0, self._rests_until - time.perf_counter()))
            self._next_look = None
            started = time.perf_counter()
            line = await self._play_forward()
            # A long line is not looked at all the time: most of it belongs to acknowledgements.
            now = time.perf_counter()
            self._rests_until = now + min(self._rests.forecast, REST_SHARE * (now - started))
            return line

    async def _play_forward(self) -> list[Standing]:
        now = self._clock().timestamp()

        async def read(
            reader: Connection,
        ) -> tuple[list[Waiting], FairClocks, dict[str, tuple[int, int]], list[Recent]]:
            return (
                await self._jobs.waiting(reader),
                await self._jobs.clocks(reader),
                await self._jobs.under_way(reader),
                await self._jobs.recent(reader, round((now - RECENT_SECONDS) * 1000), MOST_RECENT),
            )

        waiting, clocks, members, recent = await self._database.read(read)
        settings = await self._chooser.settings(job.guild_id for job in waiting)
        left = self._fleet.seconds_left()
        under_way = [UnderWay(*member, left.get(job_id, 0.0)) for job_id, member in members.items()]
        alike: dict[tuple[int, tuple[str, ...], int], Prospects] = {}

        def prospects(job: Waiting) -> Prospects:
            key = job.guild_id, job.offers, job.count
            if key not in alike:
                alike[key] = self._chooser.prospects(job, settings[job.guild_id])
            return alike[key]

        caps = {guild_id: self._chooser.caps(found) for guild_id, found in settings.items()}
        slots = self._fleet.seconds_until_free()
        line = forecast(waiting, clocks, slots, under_way, prospects, caps.__getitem__)
        share = overtaking(recent, waiting, sum(map(len, slots.values())), now)
        return [
            Standing(job.id, job.guild_id, job.user_id, position, _stretched(job, seconds, clocks, share))
            for position, (job, seconds) in enumerate(line, start=1)
        ]

    async def standing(self, job_id: str) -> Standing | None:
        """One job's place; None where it does not wait (any more)."""
        return next((standing for standing in await self.line() if standing.job_id == job_id), None)


def _stretched(job: Waiting, seconds: float | None, clocks: FairClocks, overtaking: float) -> float | None:
    """The wait with those who will come meanwhile and go before; nobody goes before a member's first job."""
    if seconds is None:
        return None
    _, virtual = clocks.guilds.get(job.guild_id, (0.0, 0.0))
    return seconds / (1 - overtaking) if job.start_tag > virtual else seconds
