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
from db.folder import DATABASE_NAME, is_taken
from db.ledger import LedgerStore
from domain.errors import Code
from domain.job import Failure
from jobs.checkup_discord import examine_discord
from jobs.checkup_local import examine_local
from jobs.checkup_running import examine_running
from jobs.findings import Finding
from jobs.pictures import KEEP_FREE_BYTES

NO_BACKENDS: Final = "backends"
LOOK_AT_ITS_LOG: Final = "Look at its log."
_MENDS: Final = {
    Code.BACKEND_UNREACHABLE: "Start it; see that its address in the settings is right and can be reached from here.",
    Code.BACKEND_KEY_REFUSED: "Set the right key; for a worker the EASEL_WORKER_TOKEN that it was started with.",
    Code.BACKEND_OUT_OF_CREDIT: "Top up the account at the vendor.",
    Code.BACKEND_RATE_LIMITED: "Wait a minute; ask the vendor for a higher limit if it stays.",
    Code.BACKEND_REFUSED: "Run one version of Easel on both sides, and see that the address is the right one.",
    Code.BACKEND_ANSWER_INVALID: "See that the address leads to the right program, in a version that this one knows.",
    Code.MODEL_NOT_FOUND: "See that EASEL_LOCAL_MODEL and EASEL_LOCAL_EDIT_MODEL name a folder or hub id there is.",
    Code.MODEL_LOADING_FAILED: "The worker's log says what was missing; docs/gpu.md says what it needs.",
}
"""What the operator can do about what a backend says of itself."""
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
    running = settings.easel_metrics_listen
    if running is not None and running.port and await asyncio.to_thread(is_taken, settings.easel_data_dir):
        async for finding in examine_running(running):
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
            if health.problem is None:
                return Finding(name, False, "down: it does not answer", LOOK_AT_ITS_LOG)
            mend = _MENDS.get(health.problem.code, LOOK_AT_ITS_LOG)
            return Finding(name, False, f"down: {explain(health.problem)}", mend)
