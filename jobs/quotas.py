"""Quotas: which rules hold for whom, what is left of them, and the reservation that keeps them.

Every rule that holds must pass. For pictures and GPU time a member's own rule overrides those of their roles,
the most generous role wins, and either overrides the rule for every member; the settings' default holds where
nothing else speaks of a member's pictures. Rules for a channel or the whole server, and all rules about money,
are never overridden.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from config.settings import Settings
from db.database import Connection, Database, Transaction
from db.guilds import GuildStore
from db.ledger import Balance, LedgerStore
from domain.errors import Code, EaselError, OperatorError, UserError
from domain.job import Place
from domain.quota import (
    BUCKET_SECONDS,
    Amounts,
    Rule,
    Subject,
    Unit,
    Usage,
    Window,
    window_end,
    window_start,
)


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asks, and where, as Discord said in the interaction."""

    place: Place
    role_ids: frozenset[int] = frozenset()


class QuotaExceeded(Exception):
    """A rule does not allow the amounts. ``usage`` is that rule's."""

    def __init__(self, usage: Usage, wanted: int) -> None:
        super().__init__(f"rule {usage.rule} leaves {usage.left}, wanted {wanted}")
        self.usage = usage
        self.wanted = wanted

    def error(self) -> EaselError:
        """What the person reads."""
        rule = self.usage.rule
        parameters = {
            "rule": rule.id,
            "subject": rule.subject.value,
            "subject_id": rule.subject_id,
            "unit": rule.unit.value,
            "window": rule.window.value,
            "limit": self.usage.allowed,
            "used": self.usage.used,
            "held": self.usage.held,
            "left": self.usage.left,
            "wanted": self.wanted,
            "resets_at": int(self.usage.resets_at.timestamp()) if self.usage.resets_at else 0,
        }
        if rule.subject is Subject.OPERATOR:
            return OperatorError(Code.BUDGET_EXHAUSTED, **parameters)
        return UserError(Code.QUOTA_EXCEEDED, **parameters)


class Quotas:
    """Reads and writes rules, and answers what is left."""

    def __init__(
        self,
        database: Database,
        guilds: GuildStore,
        ledger: LedgerStore,
        settings: Settings,
        clock: Callable[[], datetime],
    ) -> None:
        self._database = database
        self._guilds = guilds
        self._ledger = ledger
        self._settings = settings
        self._clock = clock

    async def usage(self, asker: Asker) -> list[Usage]:
        """Every rule that holds for this member here and now, the operator's own budget left out."""
        async with self._database.reading() as reader:
            usages = await self._usages(reader, asker)
        return [usage for usage in usages if usage.rule.subject is not Subject.OPERATOR]

    async def check(self, tx: Transaction, asker: Asker, amounts: Amounts) -> None:
        """Raise QuotaExceeded for the first rule that leaves less than the amounts want."""
        for usage in await self._usages(tx, asker):
            wanted = amounts.of(usage.rule.unit)
            if wanted > usage.left:
                raise QuotaExceeded(usage, wanted)

    async def rules(self, guild_id: int) -> list[Rule]:
        """The guild's rules, oldest first."""
        return await self._guilds.list_rules(guild_id)

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
        return Rule(rule_id, guild_id, subject, subject_id, unit, window, limit)

    async def remove_rule(self, guild_id: int, rule_id: int) -> None:
        """Remove a rule. Raises UserError (RULE_UNKNOWN) where this guild has no such rule."""
        async with self._database.transaction() as tx:
            if not await self._guilds.remove_rule(tx, guild_id, rule_id):
                raise UserError(Code.RULE_UNKNOWN, rule=rule_id)

    async def grant(self, place: Place, unit: Unit, amount: int, author_id: int) -> None:
        """Give a member ``amount`` (in the unit's smallest part) on top of their limits, once, from now on.

        It counts in every window of theirs that holds this moment, and ends with it.
        """
        async with self._database.transaction() as tx:
            await self._ledger.grant(tx, place, unit, amount, author_id, self._clock())

    async def _usages(self, connection: Connection, asker: Asker) -> list[Usage]:
        now = self._clock()
        zone = await self._guilds.time_zone(connection, asker.place.guild_id)
        rules = applicable(await self._guilds.rules(connection, asker.place.guild_id), asker, self._settings)
        usages = []
        for rule in rules:
            # The operator's day is UTC's: it is the same for all servers.
            clock_zone = ZoneInfo("UTC") if rule.subject is Subject.OPERATOR else zone
            balance = await self._ledger.balance(
                connection,
                0 if rule.subject is Subject.OPERATOR else rule.guild_id,
                *counted(rule, asker.place),
                rule.unit,
                window_start(rule.window, now, clock_zone),
            )
            usages.append(
                Usage(rule, balance.used, balance.held, balance.granted, _resets(rule, balance, now, clock_zone))
            )
        return usages


def applicable(rules: Iterable[Rule], asker: Asker, settings: Settings) -> list[Rule]:
    """The rules that hold for this member in this channel, the settings' own included."""
    place = asker.place
    shared: list[Rule] = []
    own: dict[tuple[Subject, Unit], dict[Window, Rule]] = {}
    for rule in rules:
        match rule.subject:
            case Subject.GUILD:
                shared.append(rule)
            case Subject.CHANNEL if rule.subject_id == place.channel_id:
                shared.append(rule)
            case Subject.MEMBER if rule.subject_id == place.user_id:
                pass
            case Subject.ROLE if rule.subject_id in asker.role_ids:
                pass
            case Subject.EVERY_MEMBER:
                pass
            case _:
                continue
        if rule.subject in (Subject.MEMBER, Subject.ROLE, Subject.EVERY_MEMBER):
            if rule.unit is Unit.MONEY:
                shared.append(rule)
                continue
            best = own.setdefault((rule.subject, rule.unit), {})
            if rule.window not in best or best[rule.window].limit < rule.limit:
                best[rule.window] = rule
    for unit in (Unit.IMAGES, Unit.GPU_SECONDS):
        for subject in (Subject.MEMBER, Subject.ROLE, Subject.EVERY_MEMBER):
            if (subject, unit) in own:
                shared.extend(own[subject, unit].values())
                break
        else:
            if unit is Unit.IMAGES:
                shared.append(
                    Rule(
                        0,
                        place.guild_id,
                        Subject.EVERY_MEMBER,
                        0,
                        unit,
                        Window.DAY,
                        settings.easel_default_daily_images,
                    )
                )
    shared.append(Rule(0, 0, Subject.OPERATOR, 0, Unit.MONEY, Window.DAY, settings.daily_budget))
    return shared


def counted(rule: Rule, place: Place) -> tuple[Subject, int]:
    """Whose balance a rule looks at: a role's rule, like every member's, looks at the member's own."""
    if rule.subject in (Subject.MEMBER, Subject.ROLE, Subject.EVERY_MEMBER):
        return Subject.MEMBER, place.user_id
    return rule.subject, rule.subject_id


def _resets(rule: Rule, balance: Balance, now: datetime, zone: ZoneInfo) -> datetime | None:
    end = window_end(rule.window, now, zone)
    if end is not None or balance.oldest_bucket is None:
        return end
    leaves = datetime.fromtimestamp((balance.oldest_bucket + 1) * BUCKET_SECONDS, UTC)
    return leaves + timedelta(hours=1)
