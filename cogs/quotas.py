"""/quota for everybody, /quotas for those who manage the server."""

import io
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final, cast

import discord
from discord import app_commands

from cogs.answers import in_time, privately
from cogs.asking import Interaction, asker, check_manages_server, check_server, manages_server
from cogs.change_log import ChangeLog
from cogs.completions import Completions
from cogs.options import CommandOption, malformed, read_choice, read_flag, read_integer, read_number, read_options
from cogs.services import Services
from cogs.slash import SlashCommand, group, slash
from cogs.ui import lists, texts, words
from cogs.ui.language import speaking
from domain.errors import Code, UserError
from domain.job import Place
from domain.language import Language
from domain.money import MicroUSD, micro_usd
from domain.quota import Subject, Unit, Window
from jobs.quotas import Asker
from jobs.reports import Review

MOST: Final[Mapping[Unit, int]] = {Unit.IMAGES: 1_000_000, Unit.GPU_SECONDS: 100_000_000, Unit.MONEY: 1_000_000}
"""Largest limits, in pictures, seconds and dollars."""
_LARGEST: Final = float(max(MOST.values()))
MOST_JOBS: Final = 1000
DAYS: Final = 30
MAX_DAYS: Final = 365
_UNITS: Final = tuple(Unit)
_WINDOWS: Final = tuple(Window)
_RANGE: Final = cast("Any", app_commands.Range)


def read_id(option: str) -> Any:
    """Of whatever Discord resolved: a member, a role, a channel."""

    def read(value: object) -> int:
        found = getattr(value, "id", None)
        if not isinstance(found, int):
            raise malformed(option, value, "one from the list")
        return found

    return read


def _read_rule(value: object) -> int:
    text = str(value).strip().removeprefix("#")
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise UserError(Code.RULE_UNKNOWN, rule=str(value)[:40])
    return int(text)


class MessageChannel(app_commands.Transformer):
    """A channel in which pictures can be posted."""

    @property
    def type(self) -> discord.AppCommandOptionType:
        """A channel."""
        return discord.AppCommandOptionType.channel

    @property
    def channel_types(self) -> list[discord.ChannelType]:
        """Those with messages."""
        kinds = discord.ChannelType
        return [kinds.text, kinds.news, kinds.voice, kinds.public_thread, kinds.private_thread, kinds.news_thread]

    async def transform(self, interaction: Interaction, value: Any, /) -> Any:
        """As it is: only its id is used."""
        return value


_UNIT: Final = CommandOption(
    "unit", "What is counted; left out: images", str, read_choice("unit", _UNITS), choices=_UNITS
)
_SET: Final = (
    CommandOption(
        "limit",
        "The most there may be in the window: pictures, GPU seconds or US dollars. 0 forbids",
        _RANGE[float, 0.0, _LARGEST],
        read_number("limit", 0, _LARGEST),
        required=True,
    ),
    CommandOption("member", "For one member alone", discord.User, read_id("member")),
    CommandOption("role", "For each member with this role", discord.Role, read_id("role")),
    CommandOption(
        "channel",
        "For everybody together in this channel",
        MessageChannel,
        read_id("channel"),
    ),
    _UNIT,
    CommandOption(
        "window",
        "Over which time; left out: a day",
        str,
        read_choice("window", _WINDOWS),
        choices=_WINDOWS,
    ),
    CommandOption(
        "each_member",
        "True: for each member by themselves. Left out: for the whole server together",
        bool,
        read_flag("each_member"),
    ),
)
_REMOVE: Final = (
    CommandOption("rule", "Which rule, by the number in /quotas list", str, _read_rule, True, autocomplete="rule"),
)
_GRANT: Final = (
    CommandOption("member", "Who gets it", discord.User, read_id("member"), required=True),
    CommandOption(
        "amount",
        "How much more: pictures, GPU seconds or US dollars",
        _RANGE[float, 0.0, _LARGEST],
        read_number("amount", 0, _LARGEST),
        required=True,
    ),
    _UNIT,
)


_EXEMPT: Final = (
    CommandOption("member", "Whose own pictures and GPU time are not limited", discord.User, read_id("member"), True),
    CommandOption("off", "True: their limits hold again", bool, read_flag("off")),
)
_QUOTA: Final = (CommandOption("member", "Somebody else's (Manage Server)", discord.User, read_id("member")),)


_CAPS: Final = (
    CommandOption(
        "waiting",
        "Jobs that a member may have waiting or under way here. 0: as the operator has it",
        _RANGE[int, 0, MOST_JOBS],
        read_integer("waiting", 0, MOST_JOBS),
    ),
    CommandOption(
        "running",
        "Of these, jobs under way at a time. 0: as the operator has it",
        _RANGE[int, 0, MOST_JOBS],
        read_integer("running", 0, MOST_JOBS),
    ),
    CommandOption(
        "server",
        "Jobs that may wait in the whole server. 0: as the operator has it",
        _RANGE[int, 0, MOST_JOBS],
        read_integer("server", 0, MOST_JOBS),
    ),
)
_CONFIRM: Final = (
    CommandOption(
        "above",
        "In US dollars. 0: before each job that costs. Left out: as the operator has it",
        _RANGE[float, 0.0, float(MOST[Unit.MONEY])],
        read_number("above", 0, MOST[Unit.MONEY]),
    ),
)
_DAYS: Final = (
    CommandOption(
        "days",
        "How many days back; left out: 30",
        _RANGE[int, 1, MAX_DAYS],
        read_integer("days", 1, MAX_DAYS),
    ),
)
_USAGE: Final = (
    *_DAYS,
    CommandOption(
        "server", "True: the whole server (Manage Server). Left out: all you may see", bool, read_flag("server")
    ),
)


class QuotaCommands:
    """The commands about quotas."""

    def __init__(self, services: Services, completions: Completions, log: ChangeLog) -> None:
        self._services = services
        self._completions = completions
        self._log = log

    def commands(self) -> list[SlashCommand | app_commands.Group]:
        """All of them."""
        return [
            slash("quota", "See what you have used and what is left", self.quota, _QUOTA),
            slash("usage", "See what was painted and spent, as charts", self.usage, _USAGE),
            group(
                "quotas",
                "Set who may paint how much in this server",
                slash("set", "Make a rule or change its limit", self.set, _SET),
                slash("list", "See all rules", self.list_rules),
                slash("remove", "Remove a rule", self.remove, _REMOVE, {"rule": self._completions.rules}),
                slash("grant", "Give a member more, once", self.grant, _GRANT),
                slash("exempt", "Lift a member's own limits", self.exempt, _EXEMPT),
                slash("caps", "Limit how many jobs may wait and run", self.caps, _CAPS),
                slash("confirm", "Set from which price on members are asked first", self.confirm, _CONFIRM),
                slash("export", "Get the ledger as a CSV file", self.export, _DAYS),
                slash("pause", "Take in nothing new in this server", self.pause),
                slash("resume", "Take in jobs again", self.resume),
                permissions=discord.Permissions(manage_guild=True),
            ),
        ]

    async def quota(self, interaction: Interaction, values: Mapping[str, object]) -> None:
        """/quota"""
        check_server(interaction, self._services.settings)
        whose, name = asker(interaction), None
        other = values.get("member")
        if other is not None:
            member_id = read_options(_QUOTA, values)["member"]
            assert isinstance(member_id, int)
            if member_id != interaction.user.id:
                check_manages_server(interaction)
                place = Place(whose.place.guild_id, whose.place.channel_id, member_id)
                roles = other.roles if isinstance(other, discord.Member) else []
                whose, name = (
                    Asker(place, frozenset(role.id for role in roles)),
                    str(getattr(other, "display_name", "")),
                )
        usages = await in_time(interaction, self._services.quotas.usage(whose), private=True)
        await privately(interaction, embed=lists.usage(usages, name))

    async def set(self, interaction: Interaction, values: Mapping[str, object]) -> None:
        """/quotas set"""
        guild_id = self._admin(interaction)
        given = read_options(_SET, values)
        unit, window = Unit(str(given.get("unit", Unit.IMAGES))), Window(str(given.get("window", Window.DAY)))
        limit = _smallest("limit", given["limit"], unit)
        subject, subject_id = _subject(given, guild_id)
        made = self._services.administration.set_rule(
            guild_id, subject, subject_id, unit, window, limit, interaction.user.id
        )
        rule = await in_time(interaction, made, private=True)
        preview = await self._services.quotas.preview(rule)
        await self._log.changed(
            interaction,
            lambda: texts.fill(texts.RULE_SET, rule=rule.id, text=words.rule(rule)),
            lists.rule_set(rule, preview),
        )

    async def list_rules(self, interaction: Interaction, values: Mapping[str, object]) -> None:
        """/quotas list"""
        guild_id = self._admin(interaction)
        found = await in_time(interaction, self._services.quotas.rules(guild_id), private=True)
        exempt = await self._services.administration.exempt_members(guild_id)
        default = self._services.settings.easel_default_daily_images
        await privately(interaction, embed=lists.rules(found, default, exempt))

    async def remove(self, interaction: Interaction, values: Mapping[str, object]) -> None:
        """/quotas remove"""
        guild_id = self._admin(interaction)
        rule_id = _read_rule(values.get("rule", ""))
        removing = self._services.administration.remove_rule(guild_id, rule_id, interaction.user.id)
        rule = await in_time(interaction, removing, private=True)
        await self._log.changed(
            interaction, lambda: texts.fill(texts.RULE_REMOVED, rule=rule_id, text=words.rule(rule))
        )

    async def grant(self, interaction: Interaction, values: Mapping[str, object]) -> None:
        """/quotas grant"""
        guild_id = self._admin(interaction)
        given = read_options(_GRANT, values)
        unit = Unit(str(given.get("unit", Unit.IMAGES)))
        amount = _smallest("amount", given["amount"], unit)
        if amount == 0:
            raise malformed("amount", "0", "more than nothing")
        member_id = given["member"]
        assert isinstance(member_id, int)
        place = Place(guild_id, asker(interaction).place.channel_id, member_id)
        granted = self._services.administration.grant(place, unit, amount, interaction.user.id)
        await in_time(interaction, granted, private=True)
        await self._log.changed(
            interaction, lambda: texts.fill(texts.GRANTED, member=member_id, amount=words.amount(unit, amount))
        )

    async def exempt(self, interaction: Interaction, values: Mapping[str, object]) -> None:
        """/quotas exempt"""
        guild_id = self._admin(interaction)
        given = read_options(_EXEMPT, values)
        member_id = given["member"]
        assert isinstance(member_id, int)
        administration, author = self._services.administration, interaction.user.id
        if given.get("off"):
            await in_time(interaction, administration.end_exemption(guild_id, member_id, author), private=True)
            said = texts.EXEMPTION_ENDED
        else:
            await in_time(interaction, administration.exempt(guild_id, member_id, author), private=True)
            said = texts.EXEMPTED
        await self._log.changed(interaction, lambda: texts.fill(said, member=member_id))

    async def caps(self, interaction: Interaction, values: Mapping[str, object]) -> None:
        """/quotas caps"""
        guild_id = self._admin(interaction)
        given = read_options(_CAPS, values)
        settings = self._services.settings
        operators = {
            "waiting": settings.easel_max_queued_per_user,
            "running": settings.easel_max_running_per_user,
            "server": settings.easel_max_queued,
        }
        caps: dict[str, int | None] = dict.fromkeys(operators)
        for name, most in operators.items():
            value = given.get(name)
            if value is None:
                continue
            assert isinstance(value, int)
            if most is not None and value > most:
                raise UserError(Code.OPTION_OUT_OF_RANGE, option=name, value=value, minimum=0, maximum=most)
            caps[name] = value
        changed = await in_time(
            interaction,
            self._services.administration.set_caps(
                guild_id,
                interaction.user.id,
                max_queued_per_user=caps["waiting"],
                max_running_per_user=caps["running"],
                max_queued=caps["server"],
            ),
            private=True,
        )
        await self._log.changed(
            interaction,
            lambda: texts.fill(
                texts.CAPS_SET,
                waiting=_cap(changed.max_queued_per_user or operators["waiting"]),
                running=_cap(changed.max_running_per_user or operators["running"]),
                server=_cap(changed.max_queued or operators["server"]),
            ),
        )

    async def confirm(self, interaction: Interaction, values: Mapping[str, object]) -> None:
        """/quotas confirm"""
        guild_id = self._admin(interaction)
        given = read_options(_CONFIRM, values)
        operators = self._services.settings.confirm_above
        above = MicroUSD(_smallest("above", given["above"], Unit.MONEY)) if "above" in given else None
        if above is not None and above > operators:
            most = float(self._services.settings.easel_confirm_above_usd)
            raise UserError(Code.OPTION_OUT_OF_RANGE, option="above", value=above / 1e6, minimum=0, maximum=most)
        changing = self._services.administration.set_confirm_above(guild_id, above, interaction.user.id)
        await in_time(interaction, changing, private=True)
        holds = operators if above is None else above
        said = texts.CONFIRM_SET if holds else texts.CONFIRM_ALWAYS
        await self._log.changed(interaction, lambda: texts.fill(said, price=words.dollars(holds)))

    async def export(self, interaction: Interaction, values: Mapping[str, object]) -> None:
        """/quotas export"""
        guild_id = self._admin(interaction)
        days = read_options(_DAYS, values).get("days", DAYS)
        assert isinstance(days, int)
        export = await in_time(interaction, self._services.reports.export(guild_id, days), private=True)
        await self._services.administration.exported(guild_id, days, export.rows, interaction.user.id)

        def said() -> str:
            exported = texts.fill(texts.EXPORTED, rows=export.rows, days=days)
            return words.sentences(exported, "" if export.complete else texts.fill(texts.EXPORT_CUT))

        await self._log.changed(interaction, said, file=discord.File(io.BytesIO(export.data), "ledger.csv"))

    async def usage(self, interaction: Interaction, values: Mapping[str, object]) -> None:
        """/usage"""
        guild_id = check_server(interaction, self._services.settings)
        given = read_options(_USAGE, values)
        days = given.get("days", DAYS)
        assert isinstance(days, int)
        may = manages_server(interaction)
        if given.get("server"):
            check_manages_server(interaction)
        whole = bool(given.get("server", may))
        user_id = None if whole else interaction.user.id
        review, picture = await in_time(interaction, self._review(guild_id, user_id, days), private=True)
        file = discord.File(io.BytesIO(picture), "usage.png")
        await privately(interaction, embed=lists.review(review.members, "usage.png", whole=whole), file=file)

    async def _review(self, guild_id: int, user_id: int | None, days: int) -> tuple[Review, bytes]:
        quotas = self._services.quotas
        zone = (await self._services.administration.settings(guild_id)).time_zone
        budgets = []
        if user_id is None:
            for rule in await quotas.rules(guild_id):
                if rule.unit is Unit.MONEY and rule.subject is Subject.GUILD:
                    usage = (await quotas.preview(rule)).usage
                    assert usage is not None
                    with speaking(Language.ENGLISH):
                        # As all of the charts: they are drawn with a font that has no other letters.
                        label = words.allowance(rule.unit, rule.limit, rule.window)
                    budgets.append((label, usage))
        review = await self._services.reports.review(guild_id, user_id, days, zone, budgets)
        return review, await self._services.reports.draw(review.report)

    async def pause(self, interaction: Interaction, values: Mapping[str, object]) -> None:
        """/quotas pause"""
        guild_id = self._admin(interaction)
        changing = self._services.administration.set_paused(guild_id, True, interaction.user.id)
        await in_time(interaction, changing, private=True)
        await self._log.changed(interaction, texts.PAUSED)

    async def resume(self, interaction: Interaction, values: Mapping[str, object]) -> None:
        """/quotas resume"""
        guild_id = self._admin(interaction)
        changing = self._services.administration.set_paused(guild_id, False, interaction.user.id)
        await in_time(interaction, changing, private=True)
        await self._log.changed(interaction, texts.RESUMED)

    def _admin(self, interaction: Interaction) -> int:
        guild_id = check_server(interaction, self._services.settings)
        check_manages_server(interaction)
        return guild_id


def _cap(value: int | None) -> str:
    return texts.fill(texts.NO_CAP) if value is None else words.number(value)


def _subject(given: Mapping[str, object], guild_id: int) -> tuple[Subject, int]:
    subjects = {"member": Subject.MEMBER, "role": Subject.ROLE, "channel": Subject.CHANNEL}
    chosen = [(subject, given[name]) for name, subject in subjects.items() if name in given]
    if given.get("each_member"):
        chosen.append((Subject.EVERY_MEMBER, 0))
    if len(chosen) > 1:
        chosen_first = next(name for name in subjects if name in given)
        raise malformed(chosen_first, ", ".join(given), "only one of member, role, channel and each_member")
    if not chosen:
        return Subject.GUILD, guild_id
    subject, subject_id = chosen[0]
    assert isinstance(subject_id, int)
    return subject, subject_id


def _smallest(option: str, value: object, unit: Unit) -> int:
    """The amount in the unit's smallest part. Raises UserError that names the option."""
    assert isinstance(value, float)
    if value > MOST[unit]:
        raise UserError(Code.OPTION_OUT_OF_RANGE, option=option, value=value, minimum=0, maximum=MOST[unit])
    match unit:
        case Unit.IMAGES:
            if not value.is_integer():
                raise malformed(option, words.number(value), "a whole number of pictures")
            return int(value)
        case Unit.GPU_SECONDS:
            return round(value * 1000)
        case Unit.MONEY:
            return micro_usd(Decimal(str(value)))
