"""``bot.py ban | unban | bans | reports``: who can use the bot in no server, and what people have reported."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from command_line.maintenance import existing_database
from command_line.terminal import say
from config.settings import Settings
from db.audit import AuditStore
from db.safety import SafetyStore
from domain.guild import OUTSIDE
from domain.safety import EVERYWHERE, Ban
from jobs.safeguards import OPERATOR, Safeguards

Clock = Callable[[], datetime]


async def ban(settings: Settings, user: int, reason: str, clock: Clock) -> None:
    """Let somebody use the bot in no server any more, from their next command on."""
    async with _safeguards(settings, clock) as safeguards:
        await safeguards.ban(Ban(user, EVERYWHERE, reason, OPERATOR))
    say(f"{user} can't use the bot in any server any more. `bot.py unban {user}` ends it.")


async def unban(settings: Settings, user: int, clock: Clock) -> None:
    """End it; what a server's own admins have settled stays."""
    async with _safeguards(settings, clock) as safeguards:
        await safeguards.unban(EVERYWHERE, user, OPERATOR)
    say(f"{user} can use the bot again, except where a server's admins have banned them.")


async def list_bans(settings: Settings, clock: Clock) -> None:
    """A line for everybody who is banned everywhere."""
    async with _safeguards(settings, clock) as safeguards:
        for banned in await safeguards.bans(EVERYWHERE):
            say(f"{banned.user_id} {banned.reason}".rstrip())


async def list_reports(settings: Settings, clock: Clock) -> None:
    """A line for everything that was reported, the newest first."""
    async with _safeguards(settings, clock) as safeguards:
        for report in await safeguards.reports():
            at = datetime.fromtimestamp(report.at / 1000, UTC).isoformat(timespec="seconds")
            reason = " ".join(report.reason.split())
            where = "outside servers" if report.guild_id == OUTSIDE else f"server {report.guild_id}"
            say(f"{at} job {report.job_id} {where} by {report.reporter_id}: {reason}")


@asynccontextmanager
async def _safeguards(settings: Settings, clock: Clock) -> AsyncIterator[Safeguards]:
    async with existing_database(settings) as database:
        yield Safeguards(database, SafetyStore(database), AuditStore(database), clock)
