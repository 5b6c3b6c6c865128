"""``bot.py doctor``: looks at everything that the bot depends on, and says how to mend what is not right."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Final

from backends.base import Backend, Health, HealthState
from config.settings import Settings
from db.database import Database, SchemaError
from db.folder import DATABASE_NAME
from db.ledger import LedgerStore
from domain.job import Failure
from jobs.checkup_discord import examine_discord
from jobs.checkup_local import examine_local
from jobs.findings import Finding
from jobs.pictures import KEEP_FREE_BYTES

NO_BACKENDS: Final = "backends"
WORKER: Final = "worker"
LOADING_SECONDS: Final = 600
"""How long a model may take to load before the doctor stops waiting for it."""


async def examine(
    settings: Settings,
    backends: Mapping[str, Backend],
    explain: Callable[[Failure], str],
    clock: Callable[[], datetime],
) -> AsyncIterator[Finding]:
    """Everything, one finding after the other. ``explain`` turns a backend's problem into a sentence."""
    async for finding in examine_discord(settings, clock):
        yield finding
    yield await asyncio.to_thread(_disk, settings.easel_data_dir)
    async for finding in _database(settings.easel_data_dir / DATABASE_NAME):
        yield finding
    can_load = True
    async for finding in examine_local(settings):
        can_load = can_load and finding.good
        yield finding
    if not backends:
        yield Finding(
            NO_BACKENDS, False, "none is configured", "Set EASEL_LOCAL_MODEL=tiny to try the bot, or a vendor's key."
        )
    for name, backend in backends.items():
        if name == WORKER and not can_load:
            # Its load would take minutes, to fail for a reason that has been told.
            yield Finding(name, False, "not waited for, as it is lacking something", "Mend that first.")
            continue
        yield _backend(name, await _settled_health(backend), explain)


def _disk(folder: Path) -> Finding:
    subject = "data folder"
    existing = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    free = shutil.disk_usage(existing).free
    if free < KEEP_FREE_BYTES:
        return Finding(subject, False, f"{free // 1024**2} MiB free", "Make room, or lower EASEL_PICTURES_GB.")
    return Finding(subject, True, f"{folder}: {free / 1024**3:.1f} GiB free")


async def _database(path: Path) -> AsyncIterator[Finding]:
    if not await asyncio.to_thread(path.exists):
        yield Finding("database", True, "none yet; the first start makes it")
        return
    mend = "Stop the bot and put the last backup in its place: docs/operating.md, Data, backup, restore."
    try:
        async with Database.open(path, migrate=False) as database:
            damage = await database.damage()
            yield Finding("database", damage is None, damage or "whole", "" if damage is None else mend)
            if damage is not None:
                return
            if not await database.is_up_to_date():
                yield Finding("ledger", True, "not looked at: the next start brings the database up to this version")
                return
            differences = await LedgerStore(database).check()
            yield Finding(
                "ledger",
                not differences,
                f"{len(differences)} balances differ from what the entries add up to" if differences else "adds up",
                "Keep a copy of the database and report this." if differences else "",
            )
    except SchemaError as error:
        yield Finding("database", False, str(error.parameters["problem"]), mend)


async def _settled_health(backend: Backend) -> Health:
    try:
        async with asyncio.timeout(LOADING_SECONDS):
            while True:
                health = await backend.health()
                starting = health.state is HealthState.DOWN and health.problem is None
                if health.state is not HealthState.LOADING and not starting:
                    return health
                await asyncio.sleep(0.5)
    except TimeoutError:
        return health


def _backend(name: str, health: Health, explain: Callable[[Failure], str]) -> Finding:
    match health.state:
        case HealthState.UP:
            models = f"models {', '.join(sorted(health.models))}" if health.models else ""
            told = (f"up, {health.slots} at a time", health.detail, models)
            return Finding(name, True, "; ".join(filter(None, told)))
        case HealthState.LOADING:
            return Finding(name, False, f"still loading after {LOADING_SECONDS} s", "Look at the worker's log.")
        case HealthState.DOWN:
            why = explain(health.problem) if health.problem else "It does not answer."
            return Finding(name, False, "down", why)
