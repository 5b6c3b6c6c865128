"""Everything that a wish passes through on its way to a picture, put together over one database."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from backends.base import Backend
from config.catalogue import Catalogue
from config.settings import Settings
from db.audit import AuditStore
from db.confirmations import ConfirmationStore
from db.database import Database
from db.guilds import GuildStore
from db.jobs import JobStore
from db.ledger import LedgerStore
from db.safety import SafetyStore
from jobs.administration import Administration
from jobs.choosing import Chooser
from jobs.confirmations import Confirmations
from jobs.dispatcher import Dispatcher
from jobs.doorkeeper import Doorkeeper
from jobs.estimates import Estimates
from jobs.events import EventStream
from jobs.fleet import Fleet
from jobs.house_rules import outside
from jobs.intake import Intake
from jobs.moderation import Moderation, Moderator
from jobs.outbox import Outbox
from jobs.pictures import Pictures
from jobs.queue import Queue
from jobs.quotas import Quotas
from jobs.rests import Rests
from jobs.workshop import Workshop


@dataclass(frozen=True)
class Heart:
    """The parts, wired to each other. No job is taken before ``dispatcher.running`` is entered."""

    settings: Settings
    catalogue: Catalogue
    clock: Callable[[], datetime]
    database: Database
    boot: int
    jobs: JobStore
    ledger: LedgerStore
    guilds: GuildStore
    safety: SafetyStore
    quotas: Quotas
    administration: Administration
    pictures: Pictures
    fleet: Fleet
    estimates: Estimates
    chooser: Chooser
    queue: Queue
    events: EventStream
    outbox: Outbox
    dispatcher: Dispatcher
    confirmations: Confirmations
    intake: Intake


@asynccontextmanager
async def open_heart(
    path: Path,
    settings: Settings,
    catalogue: Catalogue,
    backends: Mapping[str, Backend],
    moderators: Sequence[Moderator],
    clock: Callable[[], datetime],
    *,
    rests: Rests | None = None,
) -> AsyncIterator[Heart]:
    """Open the database at ``path`` and put the heart together over it; one start of the bot is one boot.

    ``backends`` stand under the names of their places.
    """
    rests = rests or Rests()
    async with Database.open(path) as database:
        boot = await database.boot(int(clock().timestamp() * 1000))
        jobs, ledger, guilds = JobStore(database, boot), LedgerStore(database), GuildStore(database, outside(catalogue))
        safety = SafetyStore(database)
        pictures = Pictures(
            settings.easel_data_dir / "pictures",
            limit_bytes=int(settings.easel_pictures_gb * 1024**3),
            keep_seconds=settings.easel_pictures_days * 86400,
        )
        estimates = Estimates()
        await estimates.learn_from(jobs)
        events = EventStream()
        outbox = Outbox(database, jobs, events)
        fleet = Fleet(backends, clock)
        quotas = Quotas(database, guilds, ledger, settings, clock)
        chooser = Chooser(
            database, guilds, ledger, catalogue, fleet, estimates, clock, settings.easel_max_running_per_user
        )
        queue = Queue(database, jobs, fleet, chooser, clock, rests)
        dispatcher = Dispatcher(
            Workshop(database, jobs, ledger, pictures, fleet, estimates, events, clock),
            catalogue,
            chooser,
            grace_seconds=settings.easel_grace_seconds,
            ring=outbox.ring,
            rests=rests,
        )
        confirmations = Confirmations(database, ConfirmationStore(), guilds, quotas, settings, clock)
        intake = Intake(
            database=database,
            jobs=jobs,
            ledger=ledger,
            guilds=guilds,
            quotas=quotas,
            queue=queue,
            pictures=pictures,
            catalogue=catalogue,
            settings=settings,
            estimates=estimates,
            events=events,
            doorkeeper=Doorkeeper(database, guilds, safety, Moderation(moderators), catalogue),
            confirmations=confirmations,
            clock=clock,
            wake=dispatcher.wake,
        )
        try:
            yield Heart(
                settings=settings,
                catalogue=catalogue,
                clock=clock,
                database=database,
                boot=boot,
                jobs=jobs,
                ledger=ledger,
                guilds=guilds,
                safety=safety,
                quotas=quotas,
                administration=Administration(database, guilds, ledger, AuditStore(database), clock),
                pictures=pictures,
                fleet=fleet,
                estimates=estimates,
                chooser=chooser,
                queue=queue,
                events=events,
                outbox=outbox,
                dispatcher=dispatcher,
                confirmations=confirmations,
                intake=intake,
            )
        finally:
            await queue.aclose()
