"""What a server's admins change, each change together with its record in one transaction."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime
from enum import StrEnum
from zoneinfo import ZoneInfo

from db.audit import AuditStore
from db.database import Database, Transaction
from db.guilds import GuildStore
from db.ledger import LedgerStore
from domain.errors import Code, UserError
from domain.guild import Action, AuditEntry, GuildSettings
from domain.job import Place
from domain.money import MicroUSD
from domain.quota import Rule, Subject, Unit, Window
from domain.request import Size


class Administration:
    """Rules, grants, exemptions, weights and settings of servers."""

    def __init__(
        self,
        database: Database,
        guilds: GuildStore,
        ledger: LedgerStore,
        audit: AuditStore,
        clock: Callable[[], datetime],
    ) -> None:
        self._database = database
        self._guilds = guilds
        self._ledger = ledger
        self._audit = audit
        self._clock = clock
        self._known: dict[int, GuildSettings] = {}
        """Guilds' settings that were asked for before: every interaction does. Nobody else changes them."""
        self._changes = 0

    # Looking.

    async def settings(self, guild_id: int) -> GuildSettings:
        """What the guild's admins have set."""
        known = self._known.get(guild_id)
        if known is None:
            changes = self._changes
            known = await self._database.read(lambda reader: self._guilds.settings(reader, guild_id))
            # What was read while it was changed may be what it was before.
            if changes == self._changes:
                self._known[guild_id] = known
        return known

    async def weights(self, guild_id: int) -> dict[int, float]:
        """Role -> its members' weight in the fair order, where one is set."""
        async with self._database.reading() as reader:
            return await self._guilds.weights(reader, guild_id)

    async def exempt_members(self, guild_id: int) -> list[int]:
        """The members whose own quotas are lifted."""
        return await self._guilds.exempt_members(guild_id)

    async def record(self, guild_id: int) -> list[AuditEntry]:
        """What admins did last, newest first."""
        return await self._audit.newest(guild_id)

    # Quotas.

    async def set_rule(
        self,
        guild_id: int,
        subject: Subject,
        subject_id: int,
        unit: Unit,
        window: Window,
        limit: int,
        author_id: int,
    ) -> Rule:
        """Make a rule or change its limit (in the unit's smallest part: pictures, milliseconds, micro-dollars)."""
        if subject in (Subject.GUILD, Subject.EVERY_MEMBER):
            subject_id = guild_id if subject is Subject.GUILD else 0
        rule = Rule(0, guild_id, subject, subject_id, unit, window, limit)
        async with self._database.transaction() as tx:
            rule_id = await self._guilds.set_rule(tx, rule, author_id, self._clock())
            rule = replace(rule, id=rule_id)
            await self._record(tx, guild_id, author_id, Action.RULE_SET, **_told(rule))
        return rule

    async def remove_rule(self, guild_id: int, rule_id: int, author_id: int) -> Rule:
        """Remove a rule, and return it. Raises UserError (RULE_UNKNOWN) where this guild has no such rule."""
        async with self._database.transaction() as tx:
            rules = {rule.id: rule for rule in await self._guilds.rules(tx, guild_id)}
            if not await self._guilds.remove_rule(tx, guild_id, rule_id):
                raise UserError(Code.RULE_UNKNOWN, rule=rule_id)
            await self._record(tx, guild_id, author_id, Action.RULE_REMOVED, **_told(rules[rule_id]))
        return rules[rule_id]

    async def grant(self, place: Place, unit: Unit, amount: int, author_id: int) -> None:
        """Give a member ``amount`` (in the unit's smallest part) on top of their limits, once, from now on.

        It counts in every window of theirs that holds this moment, and ends with it.
        """
        async with self._database.transaction() as tx:
            await self._ledger.grant(tx, place, unit, amount, author_id, self._clock())
            details = {"member": place.user_id, "unit": unit.value, "amount": amount}
            await self._record(tx, place.guild_id, author_id, Action.GRANTED, **details)

    async def exempt(self, guild_id: int, user_id: int, author_id: int) -> None:
        """Lift a member's own quotas (of pictures and GPU time) and the cooldown."""
        async with self._database.transaction() as tx:
            await self._guilds.exempt(tx, guild_id, user_id, author_id, self._clock())
            await self._record(tx, guild_id, author_id, Action.EXEMPTED, member=user_id)

    async def end_exemption(self, guild_id: int, user_id: int, author_id: int) -> None:
        """Let the member's own quotas hold again. Raises UserError (NOT_EXEMPT) where they do already."""
        async with self._database.transaction() as tx:
            if not await self._guilds.end_exemption(tx, guild_id, user_id):
                raise UserError(Code.NOT_EXEMPT)
            await self._record(tx, guild_id, author_id, Action.EXEMPTION_ENDED, member=user_id)

    async def exported(self, guild_id: int, days: int, rows: int, author_id: int) -> None:
        """Record that an admin took the ledger away."""
        async with self._database.transaction() as tx:
            await self._record(tx, guild_id, author_id, Action.EXPORTED, days=days, rows=rows)

    # Settings.

    async def change(self, guild_id: int, author_id: int, **changes: object) -> GuildSettings:
        """Change settings by the names of their fields, and return all of them as they are then.

        Raises pydantic's ValidationError for a value that can't be.
        """
        details = {name: _plainly(value) for name, value in changes.items()}
        async with self._changing(guild_id, author_id, Action.SETTINGS_CHANGED, **details) as (tx, settings):
            changed = replace(settings, **changes)  # type: ignore[arg-type]
            await self._guilds.set_settings(tx, guild_id, changed)
        return changed

    async def set_time_zone(self, guild_id: int, zone: ZoneInfo, author_id: int) -> None:
        """In which zone days, weeks and months begin, from now on."""
        async with self._changing(guild_id, author_id, Action.TIME_ZONE_SET, zone=zone.key) as (tx, settings):
            await self._guilds.set_settings(tx, guild_id, replace(settings, time_zone=zone))

    async def set_cooldown(self, guild_id: int, seconds: int, author_id: int) -> None:
        """How long members wait between two jobs; 0: not at all."""
        async with self._changing(guild_id, author_id, Action.COOLDOWN_SET, seconds=seconds) as (tx, settings):
            await self._guilds.set_settings(tx, guild_id, replace(settings, cooldown_seconds=seconds))

    async def set_log_channel(self, guild_id: int, channel_id: int | None, author_id: int) -> None:
        """Where changes are posted; None: nowhere."""
        changing = self._changing(guild_id, author_id, Action.LOG_CHANNEL_SET, channel=channel_id or 0)
        async with changing as (tx, settings):
            await self._guilds.set_settings(tx, guild_id, replace(settings, log_channel_id=channel_id))

    async def set_caps(
        self,
        guild_id: int,
        author_id: int,
        *,
        max_queued_per_user: int | None,
        max_running_per_user: int | None,
        max_queued: int | None,
    ) -> GuildSettings:
        """How many jobs members and the guild may have; 0: as the operator has it, None: as it was."""
        given = {
            "max_queued_per_user": max_queued_per_user,
            "max_running_per_user": max_running_per_user,
            "max_queued": max_queued,
        }
        details = {name: cap for name, cap in given.items() if cap is not None}
        async with self._changing(guild_id, author_id, Action.CAPS_SET, **details) as (tx, settings):
            changed = replace(
                settings,
                max_queued_per_user=_changed(settings.max_queued_per_user, max_queued_per_user),
                max_running_per_user=_changed(settings.max_running_per_user, max_running_per_user),
                max_queued=_changed(settings.max_queued, max_queued),
            )
            await self._guilds.set_settings(tx, guild_id, changed)
        return changed

    async def set_confirm_above(self, guild_id: int, amount: MicroUSD | None, author_id: int) -> None:
        """What a job may cost without asking first; None: as the operator has it."""
        details = {} if amount is None else {"amount": amount}
        async with self._changing(guild_id, author_id, Action.CONFIRM_SET, **details) as (tx, settings):
            await self._guilds.set_settings(tx, guild_id, replace(settings, confirm_above=amount))

    async def set_paused(self, guild_id: int, paused: bool, author_id: int) -> None:
        """Whether nothing new is admitted in the guild."""
        action = Action.PAUSED if paused else Action.RESUMED
        async with self._changing(guild_id, author_id, action) as (tx, settings):
            await self._guilds.set_settings(tx, guild_id, replace(settings, paused=paused))

    async def set_weight(self, guild_id: int, role_id: int, weight: float, author_id: int) -> None:
        """How much of the line members with the role get beside others; holds for jobs that come in from now on."""
        async with self._database.transaction() as tx:
            await self._guilds.set_weight(tx, guild_id, role_id, weight)
            await self._record(tx, guild_id, author_id, Action.WEIGHT_SET, role=role_id, weight=weight)

    @asynccontextmanager
    async def _changing(
        self, guild_id: int, author_id: int, action: Action, **details: str | int | float
    ) -> AsyncIterator[tuple[Transaction, GuildSettings]]:
        try:
            async with self._database.transaction() as tx:
                yield tx, await self._guilds.settings(tx, guild_id)
                await self._record(tx, guild_id, author_id, action, **details)
        finally:
            self._changes += 1
            self._known.pop(guild_id, None)

    async def _record(
        self, tx: Transaction, guild_id: int, author_id: int, action: Action, **details: str | int | float
    ) -> None:
        at = int(self._clock().timestamp() * 1000)
        await self._audit.append(tx, AuditEntry(at, guild_id, author_id, action, details))


def _changed(before: int | None, given: int | None) -> int | None:
    return before if given is None else given or None


def _plainly(value: object) -> str | int | float:
    match value:
        case None:
            return ""
        case StrEnum():
            return value.value
        case Size():
            return str(value)
        case bool() | int() | float():
            return value
        case tuple():
            return ",".join(map(str, value))
        case _:
            return str(value)


def _told(rule: Rule) -> dict[str, str | int | float]:
    return {
        "rule": rule.id,
        "subject": rule.subject.value,
        "subject_id": rule.subject_id,
        "unit": rule.unit.value,
        "window": rule.window.value,
        "limit": rule.limit,
    }
