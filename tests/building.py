"""The heart of the bot on a folder of its own: real SQLite, real files, the real dispatcher, scripted backends.

``open_house`` stands for one start of the process: opened again on the same folder, it is the next boot.
"""

import asyncio
import itertools
from collections.abc import AsyncIterator, Coroutine, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

import aiosqlite

from backends.base import Backend
from config.blocklist import load_blocklist
from config.catalogue import Catalogue, Model
from config.settings import Settings
from domain.job import Job, JobState, Place
from domain.quota import Subject, Unit
from domain.request import ImageRequest, Kind
from jobs.events import StateChanged
from jobs.heart import Heart, open_heart
from jobs.metrics import Metrics
from jobs.moderation import Moderator, WordModerator
from jobs.quotas import Asker
from jobs.rests import Rests

PATIENCE_SECONDS = 60
"""After which a test that waits for a state has failed; none waits this long when all is well."""

GUILD, CHANNEL, USER = 900, 800, 700

_PARAMETERS: dict[str, Any] = {
    "prompt": {"type": "text", "field": "prompt"},
    "seed": {"type": "integer", "field": "seed", "minimum": 0, "maximum": 2**31 - 1},
    "steps": {"type": "integer", "field": "steps", "minimum": 1, "maximum": 50, "default": 10},
}


def offer(backend: str, price: str = "0", **more: Any) -> dict[str, Any]:
    """An offer's data as it stands in the catalogue."""
    return {"backend": backend, "target": "x", "price": price, "seconds": 10, "parameters": _PARAMETERS} | more


def model(key: str, *offers: dict[str, Any], kind: Kind = Kind.IMAGINE) -> Model:
    """A model with these offers."""
    return Model.model_validate({"key": key, "name": key, "kind": kind, "summary": "", "offers": list(offers)})


CATALOGUE = Catalogue(
    [
        model("local", offer("worker")),
        model("local-batch", offer("worker", pictures_per_call=4)),
        model("paid", offer("wavespeed", "0.01")),
        model("paid-batch", offer("runware", "0.02", pictures_per_call=4)),
        model("both", offer("worker"), offer("wavespeed", "0.01")),
        model("hosted", offer("wavespeed", "0.01"), offer("runware", "0.02")),
        model("costly", offer("worker", seconds=80)),
        model("hasty", offer("worker", deadline_seconds=0.05)),
        model("hasty-paid", offer("wavespeed", "0.01", deadline_seconds=0.05)),
    ]
)


class Clock:
    """Says the time that a test wants it to be."""

    def __init__(self, now: datetime = datetime(2026, 3, 11, 12, 0, tzinfo=UTC)) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def advance(self, seconds: float) -> None:
        """Move on (or back, where negative)."""
        self.now += timedelta(seconds=seconds)

    @property
    def milliseconds(self) -> int:
        """Now, as the database writes it."""
        return int(self.now.timestamp() * 1000)


@dataclass(frozen=True)
class House(Heart):
    """The heart, at hand for a test."""

    clock: Clock
    interactions: Iterator[int]

    async def ask(
        self,
        model: str = "local",
        *,
        user: int = USER,
        guild: int = GUILD,
        channel: int = CHANNEL,
        roles: frozenset[int] = frozenset(),
        surroundings: frozenset[int] = frozenset(),
        age_restricted: bool = False,
        **options: Any,
    ) -> Job:
        """Bring a wish in at the door; each with an interaction of its own."""
        defaults = {"kind": Kind.IMAGINE, "model": model, "prompt": "a fox", "seed": 7}
        request = ImageRequest.model_validate(defaults | options)
        asker = Asker(Place(guild, channel, user), roles, surroundings=surroundings, age_restricted=age_restricted)
        admission = await self.intake.submit(request, asker, interaction_id=next(self.interactions))
        return admission.job

    async def job(self, job_id: str) -> Job:
        """The job as it stands."""
        found = await self.jobs.get(job_id)
        assert found is not None
        return found

    async def reached(self, job_id: str, *states: JobState) -> Job:
        """The job, once it is in one of the states."""
        with self.events.listen() as events:
            try:
                async with asyncio.timeout(PATIENCE_SECONDS):
                    while (job := await self.job(job_id)).state not in states:
                        async for event in events:
                            if isinstance(event, StateChanged) and event.job_id == job_id:
                                break
            except TimeoutError:
                raise AssertionError(f"job {job_id} stays {job.state}, not {states}: {job}") from None
        return job

    async def counted(self, unit: Unit, subject: Subject = Subject.MEMBER, subject_id: int = USER) -> tuple[int, int]:
        """What a subject has used and holds, over all time."""
        guild = 0 if subject is Subject.OPERATOR else GUILD
        async with self.database.reading() as reader:
            since = datetime(2000, 1, 1, tzinfo=UTC)
            balance = await self.ledger.balance(reader, guild, subject, subject_id, unit, since)
        return balance.used, balance.held

    async def spent(self) -> tuple[int, int]:
        """The money that all servers together have used and hold."""
        return await self.counted(Unit.MONEY, Subject.OPERATOR, 0)


def metrics_of(house: House) -> Metrics:
    """What a bot with this heart would tell."""
    return Metrics(
        database=house.database,
        jobs=house.jobs,
        ledger=house.ledger,
        fleet=house.fleet,
        events=house.events,
        clock=house.clock,
        daily_budget=house.settings.daily_budget,
        version="1.2.3",
    )


async def cancelled_at(number: int, work: Coroutine[Any, Any, object]) -> bool:
    """Cancel the work just when it hands SQLite its statement of that number (commit and rollback count too).

    False where the work was over before: there is no such statement.
    """
    given = 0
    original: Any = aiosqlite.Connection._execute
    task = asyncio.create_task(work)

    async def counting(self: aiosqlite.Connection, function: Any, *values: Any, **named: Any) -> object:
        nonlocal given
        given += 1
        if given == number:
            task.cancel()
        return await original(self, function, *values, **named)

    with patch.object(aiosqlite.Connection, "_execute", counting):
        await asyncio.wait([task])
    if not task.cancelled():
        task.result()
    return given >= number


@asynccontextmanager
async def open_house(
    folder: Path,
    backends: Mapping[str, Backend] | None = None,
    *,
    clock: Clock | None = None,
    catalogue: Catalogue = CATALOGUE,
    working: bool = True,
    moderators: Sequence[Moderator] = (),
    rests: Rests | None = None,
    **settings: Any,
) -> AsyncIterator[House]:
    """Open the house on a folder, as the process does at its start. ``working``: the dispatcher takes jobs."""
    clock = clock or Clock()
    folder.mkdir(parents=True, exist_ok=True)
    defaults = {"easel_max_queued_per_user": 1000, "easel_confirm_above_usd": 1, "easel_grace_seconds": 0}
    chosen = Settings.model_validate({"easel_data_dir": folder} | defaults | settings)
    moderators = moderators or [WordModerator(load_blocklist())]
    async with AsyncExitStack() as stack:
        opening = open_heart(folder / "easel.db", chosen, catalogue, backends or {}, moderators, clock, rests=rests)
        heart = await stack.enter_async_context(opening)
        if working:
            await stack.enter_async_context(heart.dispatcher.running())
        parts = {field.name: getattr(heart, field.name) for field in fields(heart)}
        yield House(**parts | {"clock": clock, "interactions": itertools.count(heart.boot * 1_000_000)})
