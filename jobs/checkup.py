"""``bot.py doctor``: looks at everything that the bot depends on, and says how to mend what is not right."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx

from backends.base import Backend, Health, HealthState
from config.settings import Settings
from db.database import Database
from db.folder import DATABASE_NAME
from db.ledger import LedgerStore
from domain.job import Failure
from jobs.pictures import KEEP_FREE_BYTES

LOADING_SECONDS: Final = 600
"""How long a model may take to load before the doctor stops waiting for it."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    subject: str
    good: bool
    found: str
    mend: str = ""
    """What to do about it; empty where all is well."""


async def examine(
    settings: Settings, backends: Mapping[str, Backend], explain: Callable[[Failure], str]
) -> AsyncIterator[Finding]:
    """Everything, one finding after the other. ``explain`` turns a backend's problem into a sentence."""
    yield await _token(settings)
    yield await asyncio.to_thread(_disk, settings.easel_data_dir)
    async for finding in _database(settings.easel_data_dir / DATABASE_NAME):
        yield finding
    if not backends:
        yield Finding(
            "backends", False, "none is configured", "Set EASEL_LOCAL_MODEL=tiny to try the bot, or a vendor's key."
        )
    for name, backend in backends.items():
        yield _backend(name, await _settled_health(backend), explain)


async def _token(settings: Settings) -> Finding:
    subject = "Discord"
    mend = "Copy the bot's token from Discord's developer portal into DISCORD_TOKEN."
    if settings.discord_token is None:
        return Finding(subject, False, "DISCORD_TOKEN is not set", mend)
    headers = {"Authorization": f"Bot {settings.discord_token.get_secret_value()}"}
    try:
        async with httpx.AsyncClient(trust_env=False, timeout=10) as client:
            answer = await client.get(f"{str(settings.discord_api_url).rstrip('/')}/users/@me", headers=headers)
    except httpx.HTTPError as error:
        return Finding(subject, False, f"cannot be reached ({type(error).__name__})", "Check the network.")
    if answer.status_code == httpx.codes.UNAUTHORIZED:
        return Finding(subject, False, "does not accept the token", mend)
    if answer.status_code != httpx.codes.OK:
        return Finding(subject, False, f"answered {answer.status_code}", "Try again in a few minutes.")
    return Finding(subject, True, f"logged in as {answer.json().get('username', 'the bot')}")


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
    async with Database.open(path) as database:
        damage = await database.damage()
        yield Finding(
            "database",
            damage is None,
            damage or "whole",
            "" if damage is None else "Stop the bot and put the last backup in its place.",
        )
        differences = await LedgerStore(database).check()
        yield Finding(
            "ledger",
            not differences,
            f"{len(differences)} balances differ from what the entries add up to" if differences else "adds up",
            "Keep a copy of the database and report this." if differences else "",
        )


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
            return Finding(name, True, f"up, {health.slots} at a time{f'; {health.detail}' if health.detail else ''}")
        case HealthState.LOADING:
            return Finding(name, False, f"still loading after {LOADING_SECONDS} s", "Look at the worker's log.")
        case HealthState.DOWN:
            why = explain(health.problem) if health.problem else "It does not answer."
            return Finding(name, False, "down", why)
