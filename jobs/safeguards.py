"""What admins and the operator do against misuse: blocked words and patterns, bans, reports. Each is recorded."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Final

from db.audit import AuditStore
from db.database import Database, Transaction
from db.safety import SafetyStore
from domain.errors import Code, UserError
from domain.guild import MAX_BLOCKED_PATTERNS, MAX_BLOCKED_WORD, MAX_BLOCKED_WORDS, Action, AuditEntry
from domain.job import Job
from domain.safety import EVERYWHERE, Ban, Blocked, BlockKind, Report
from jobs.wording import PatternError, can_be_found, check_pattern

REPORTS_A_DAY: Final = 20
"""By one person."""
OPERATOR: Final = 0
"""Stands for the operator as the author of a ban."""


class Safeguards:
    """Blocks, bans and reports."""

    def __init__(
        self, database: Database, safety: SafetyStore, audit: AuditStore, clock: Callable[[], datetime]
    ) -> None:
        self._database = database
        self._safety = safety
        self._audit = audit
        self._clock = clock

    # Blocked words and patterns.

    async def blocked(self, guild_id: int) -> Blocked:
        """What the guild's admins block."""
        async with self._database.reading() as reader:
            return await self._safety.blocked(reader, guild_id)

    async def block(self, guild_id: int, kind: BlockKind, text: str, author_id: int) -> None:
        """Refuse prompts with it from now on.

        Raises UserError: WORD_NOT_USABLE, PATTERN_NOT_USABLE, BLOCKED_ALREADY, BLOCK_LIST_FULL.
        """
        _check(kind, text)
        async with self._database.transaction() as tx:
            blocked = await self._safety.blocked(tx, guild_id)
            count, most = {
                BlockKind.WORD: (len(blocked.words), MAX_BLOCKED_WORDS),
                BlockKind.PATTERN: (len(blocked.patterns), MAX_BLOCKED_PATTERNS),
            }[kind]
            if count >= most:
                raise UserError(Code.BLOCK_LIST_FULL, limit=most)
            if not await self._safety.block(tx, guild_id, kind, text, author_id, self._clock()):
                raise UserError(Code.BLOCKED_ALREADY, text=text)
            await self._record(tx, guild_id, author_id, Action.BLOCKED, kind=kind.value, text=text)

    async def unblock(self, guild_id: int, text: str, author_id: int) -> None:
        """Refuse it no more, word or pattern. Raises UserError (NOT_BLOCKED) where this guild does not block it."""
        async with self._database.transaction() as tx:
            gone = [kind for kind in BlockKind if await self._safety.unblock(tx, guild_id, kind, text)]
            if not gone:
                raise UserError(Code.NOT_BLOCKED, text=text)
            await self._record(tx, guild_id, author_id, Action.UNBLOCKED, text=text)

    # Bans.

    async def bans(self, guild_id: int) -> Sequence[Ban]:
        """Who is banned in the guild, or everywhere (``EVERYWHERE``); the newest first."""
        return await self._safety.bans(guild_id)

    async def ban(self, ban: Ban) -> None:
        """Let the person in no more, there or everywhere. What waits of theirs is still painted."""
        async with self._database.transaction() as tx:
            await self._safety.ban(tx, ban, self._clock())
            if ban.guild_id != EVERYWHERE:
                await self._record(
                    tx, ban.guild_id, ban.author_id, Action.BANNED, member=ban.user_id, reason=ban.reason
                )

    async def unban(self, guild_id: int, user_id: int, author_id: int) -> None:
        """Let the person in again. Raises UserError (NOT_BANNED) where they are not banned there."""
        async with self._database.transaction() as tx:
            if not await self._safety.unban(tx, guild_id, user_id):
                raise UserError(Code.NOT_BANNED)
            if guild_id != EVERYWHERE:
                await self._record(tx, guild_id, author_id, Action.UNBANNED, member=user_id)

    # Reports.

    async def report(self, job: Job, reporter_id: int, reason: str) -> None:
        """Keep it for the operator. Raises UserError: REPORTED_ALREADY, TOO_MANY_REPORTS."""
        now = self._clock()
        async with self._database.transaction() as tx:
            if await self._safety.reports_since(tx, reporter_id, now - timedelta(days=1)) >= REPORTS_A_DAY:
                raise UserError(Code.TOO_MANY_REPORTS, limit=REPORTS_A_DAY)
            report = Report(int(now.timestamp() * 1000), job.id, job.place.guild_id, reporter_id, reason)
            if not await self._safety.report(tx, report):
                raise UserError(Code.REPORTED_ALREADY)

    async def reports(self) -> Sequence[Report]:
        """The last ones of all guilds, newest first."""
        return await self._safety.reports()

    async def _record(
        self, tx: Transaction, guild_id: int, author_id: int, action: Action, **details: str | int | float
    ) -> None:
        at = int(self._clock().timestamp() * 1000)
        await self._audit.append(tx, AuditEntry(at, guild_id, author_id, action, details))


def _check(kind: BlockKind, text: str) -> None:
    match kind:
        case BlockKind.WORD:
            if len(text) > MAX_BLOCKED_WORD or not can_be_found(text):
                raise UserError(Code.WORD_NOT_USABLE, text=text, limit=MAX_BLOCKED_WORD)
        case BlockKind.PATTERN:
            try:
                check_pattern(text)
            except PatternError as error:
                raise UserError(Code.PATTERN_NOT_USABLE, problem=str(error)) from error
