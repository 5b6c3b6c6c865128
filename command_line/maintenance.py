"""``bot.py pause | drain | resume | backup | correct``: tending the data while a bot works on it."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path

from command_line.terminal import say
from config.settings import Settings
from db import database as sqlite
from db.audit import AuditStore
from db.database import Database
from db.folder import DATABASE_NAME, is_taken
from db.jobs import JobStore
from db.ledger import LedgerStore
from domain.errors import Code, InternalError, OperatorError
from domain.money import MicroUSD, format_usd
from jobs import pause as switch
from jobs.corrections import Corrections
from jobs.draining import draining


@asynccontextmanager
async def existing_database(settings: Settings) -> AsyncIterator[Database]:
    """The database, beside the bot that may have it open. Raises OperatorError where none has been made yet."""
    async with Database.open(_existing_path(settings)) as database:
        yield database


def pause(settings: Settings) -> None:
    """Take in nothing new from now on, in any server."""
    switch.pause(settings.easel_data_dir)
    say("Nothing new is taken in; what is waiting is still painted. `bot.py resume` ends it.")


def resume(settings: Settings) -> None:
    """Take jobs in again."""
    switch.resume(settings.easel_data_dir)
    say("Jobs are taken in again.")


async def drain(settings: Settings) -> None:
    """Take in nothing new, and wait until everything that is there is painted and posted.

    Raises InternalError (NOBODY_PAINTS) where something is left and no bot is there to paint it.
    """
    switch.pause(settings.easel_data_dir)
    path = settings.easel_data_dir / DATABASE_NAME
    if path.is_file():
        async with Database.open(path) as database:
            async for left in draining(database, JobStore(database, 0)):
                if not left.nothing and not is_taken(settings.easel_data_dir):
                    raise InternalError(Code.NOBODY_PAINTS, jobs=left.waiting + left.under_way + left.to_post)
                say(f"{left.waiting} waiting, {left.under_way} being painted, {left.to_post} about to be posted")
    say("Drained: the bot can be stopped. Nothing new is taken in until `bot.py resume`.")


async def back_up(settings: Settings, target: Path) -> None:
    """Copy the database while the bot runs, and check the copy. Raises OperatorError where it can't be written."""
    try:
        await sqlite.backup(_existing_path(settings), target)
    except FileExistsError as error:
        raise OperatorError(Code.SETTING_INVALID, setting="FILE", problem=f"{target} exists already") from error
    except (NotADirectoryError, PermissionError) as error:
        problem = f"there is no folder {target.parent} that can be written to"
        raise OperatorError(Code.SETTING_INVALID, setting="FILE", problem=problem) from error
    say(f"Backed up to {target}; the copy is whole. Pictures lie in {settings.easel_data_dir / 'pictures'}.")


async def correct(settings: Settings, job_id: str, charged: MicroUSD, clock: Callable[[], datetime]) -> None:
    """Note what a job really cost, also while the bot runs."""
    async with existing_database(settings) as database:
        jobs, ledger, audit = JobStore(database, 0), LedgerStore(database), AuditStore(database)
        made = await Corrections(database, jobs, ledger, audit, clock).correct(job_id, charged)
    say(f"Job {job_id} counts {format_usd(made.after)} now; it counted {format_usd(made.before)}.")


def _existing_path(settings: Settings) -> Path:
    path = settings.easel_data_dir / DATABASE_NAME
    if not path.is_file():
        raise OperatorError(Code.SETTING_INVALID, setting="EASEL_DATA_DIR", problem=f"there is no database at {path}")
    return path
