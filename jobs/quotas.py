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
from domain.job import Job, Place
from domain.language import Language
from domain.money import MicroUSD
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
    language: Language = Language.ENGLISH
    """Of what everybody can see of the answer."""
    surroundings: frozenset[int] = frozenset()
    """The channel that a thread is in, and the category."""
    age_restricted: bool = False
    """The channel, or a thread's channel, is for adults."""
    visiting: bool = False
    """The bot is no member there: it can answer through the interaction alone."""


@dataclass(frozen=True, slots=True)
class Preview:
    """What a rule means now."""

    usage: Usage | None
    """Of the one that the rule speaks of: the server, a channel, a member. None: it speaks of many members."""
    active: int
    """Members of the guild who have used something in the window …"""
    full: int
    """… and those who have used up the limit, or more."""


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
    """Reads rules, and answers what is left. ``jobs.administration`` writes them."""

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

    async def money_left(self, asker: Asker) -> MicroUSD:
        """What may still be spent for this member here and now, by every rule and the operator's budget."""
        async with self._database.reading() as reader:
            usages = await self._usages(reader, asker)
        return MicroUSD(max(0, min(usage.left for usage in usages if usage.rule.unit is Unit.MONEY)))

    async def corrected_cost(self, job: Job) -> MicroUSD | None:
        """What the job really cost, where the operator has corrected that since; None where nobody has."""
        async with self._database.reading() as reader:
            correction = await self._ledger.correction(reader, job.id, Unit.MONEY)
        return MicroUSD(job.cost + correction) if correction else None

    async def check(self, tx: Transaction, asker: Asker, amounts: Amounts) -> None:
        """Raise QuotaExceeded for the first rule that leaves less than the amounts want."""
        for usage in await self._usages(tx, asker):
            wanted = amounts.of(usage.rule.unit)
            if wanted > usage.left:
                raise QuotaExceeded(usage, wanted)

    async def purse(self, tx: Transaction, asker: Asker) -> Usage | None:
        """The rule about money that leaves this member least, the operator's own left out; None: there is none."""
        usages = await self._usages(tx, asker)
        purses = [
            usage for usage in usages if usage.rule.unit is Unit.MONEY and usage.rule.subject is not Subject.OPERATOR
        ]
        return min(purses, key=lambda usage: usage.left, default=None)

    async def rules(self, guild_id: int) -> list[Rule]:
        """The guild's rules, oldest first."""
        return await self._guilds.list_rules(guild_id)

    async def preview(self, rule: Rule) -> Preview:
        """Whom a rule of the guild hits, as far as the ledger knows them."""
        now = self._clock()
        async with self._database.reading() as reader:
            zone = (await self._guilds.settings(reader, rule.guild_id)).time_zone
            since = window_start(rule.window, now, zone)
            if rule.subject in (Subject.ROLE, Subject.EVERY_MEMBER):
                # Who has a role is not known here: only Discord says it, and only of those who ask.
                active, full = await self._ledger.members(reader, rule.guild_id, rule.unit, since, rule.limit)
                return Preview(None, active, full)
            balance = await self._ledger.balance(reader, rule.guild_id, rule.subject, rule.subject_id, rule.unit, since)
        resets = _resets(rule, balance, now, zone)
        return Preview(Usage(rule, balance.used, balance.held, balance.granted, resets), 0, 0)

    async def _usages(self, connection: Connection, asker: Asker) -> list[Usage]:
        now = self._clock()
        place = asker.place
        zone = (await self._guilds.settings(connection, place.guild_id)).time_zone
        exempt = await self._guilds.is_exempt(connection, place.guild_id, place.user_id)
        rules = applicable(await self._guilds.rules(connection, place.guild_id), asker, self._settings, exempt=exempt)
        usages = []
        for rule in rules:
            # The operator's day is UTC's: it is the same for all servers.
            clock_zone = ZoneInfo("UTC") if rule.subject is Subject.OPERATOR else zone
            balance = await self._ledger.balance(
                connection,
                0 if rule.subject is Subject.OPERATOR else rule.guild_id,
                *counted(rule, place),
                rule.unit,
                window_start(rule.window, now, clock_zone),
            )
            usages.append(
                Usage(rule, balance.used, balance.held, balance.granted, _resets(rule, balance, now, clock_zone))
            )
        return usages


def applicable(rules: Iterable[Rule], asker: Asker, settings: Settings, *, exempt: bool = False) -> list[Rule]:
    """The rules that hold for this member in this channel, the settings' own included.

    An ``exempt`` member's own pictures and GPU time are not limited; what all share is, and so is money.
    """
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
    for unit in () if exempt else (Unit.IMAGES, Unit.GPU_SECONDS):
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
                        settings.easel_direct_daily_images if place.is_outside else settings.easel_default_daily_images,
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
