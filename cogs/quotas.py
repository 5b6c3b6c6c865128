"""/quota for everybody, /quotas for those who manage the server."""

import io
from collections.abc import Mapping
from decimal import Decimal

import discord
from discord import app_commands

from cogs.answers import in_time, privately
from cogs.asking import asker, check_manages_server, manages_server
from cogs.change_log import ChangeLog
from cogs.command_options import malformed, read_options
from cogs.completions import Completions
from cogs.contexts import Interaction, check_context, check_server
from cogs.quota_options import CAPS, CONFIRM, DAYS, DAYS_BACK, EXEMPT, GRANT, MOST, QUOTA, REMOVE, SET, USAGE, read_rule
from cogs.services import Services
from cogs.slash import SlashCommand, group, slash
from cogs.ui import charts, lists, texts, words
from domain.errors import Code, UserError
from domain.job import Place
from domain.money import MicroUSD, micro_usd
from domain.quota import Subject, Unit, Window
from jobs.quotas import Asker
from jobs.reports import Review


class QuotaCommands:
    """The commands about quotas."""

    def __init__(self, services: Services, completions: Completions, log: ChangeLog) -> None:
        self._services = services
        self._completions = completions
        self._log = log

    def commands(self) -> list[SlashCommand | app_commands.Group]:
        """All of them."""
        return [
            slash("quota", "See what you have used and what is left", self.quota, QUOTA, everywhere=True),
            slash("usage", "See what was painted and spent, as charts", self.usage, USAGE),
            group(
                "quotas",
                "Set who may paint how much in this server",
                slash("set", "Make a rule or change its limit", self.set, SET),
                slash("list", "See all rules", self.list_rules),
                slash("remove", "Remove a rule", self.remove, REMOVE, {"rule": self._completions.rules}),
                slash("grant", "Give a member more, once", self.grant, GRANT),
                slash("exempt", "Lift a member's own limits", self.exempt, EXEMPT),
                slash("caps", "Limit how many jobs may wait and run", self.caps, CAPS),
                slash("confirm", "Set from which price on members are asked first", self.confirm, CONFIRM),
                slash("export", "Get the ledger as a CSV file", self.export, DAYS_BACK),
                slash("pause", "Accept no new jobs in this server", self.pause),
                slash("resume", "Accept jobs again", self.resume),
                permissions=discord.Permissions(manage_guild=True),
            ),
        ]

    async def quota(self, interaction: Interaction, values: Mapping[str, object]) -> None:
        """/quota"""
        check_context(interaction, self._services.settings)
        whose, name = asker(interaction), None
        other = values.get("member")
        if other is not None:
            member_id = read_options(QUOTA, values)["member"]
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
        given = read_options(SET, values)
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
        rule_id = read_rule(values.get("rule", ""))
        removing = self._services.administration.remove_rule(guild_id, rule_id, interaction.user.id)
        rule = await in_time(interaction, removing, private=True)
        await self._log.changed(
            interaction, lambda: texts.fill(texts.RULE_REMOVED, rule=rule_id, text=words.rule(rule))
        )

    async def grant(self, interaction: Interaction, values: Mapping[str, object]) -> None:
        """/quotas grant"""
        guild_id = self._admin(interaction)
        given = read_options(GRANT, values)
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
        given = read_options(EXEMPT, values)
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
        given = read_options(CAPS, values)
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
        given = read_options(CONFIRM, values)
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
        days = read_options(DAYS_BACK, values).get("days", DAYS)
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
        given = read_options(USAGE, values)
        days = given.get("days", DAYS)
        assert isinstance(days, int)
        may = manages_server(interaction)
        if given.get("server"):
            check_manages_server(interaction)
        whole = bool(given.get("server", may))
        user_id = None if whole else interaction.user.id
        review, picture = await in_time(interaction, self._review(guild_id, user_id, days), private=True)
        file = discord.File(io.BytesIO(picture), "usage.png")
        await privately(
            interaction,
            embed=lists.review([member for member, _ in review.members], "usage.png", whole=whole),
            file=file,
        )

    async def _review(self, guild_id: int, user_id: int | None, days: int) -> tuple[Review, bytes]:
        quotas = self._services.quotas
        zone = (await self._services.administration.settings(guild_id)).time_zone
        budgets = []
        if user_id is None:
            for rule in await quotas.rules(guild_id):
                if rule.unit is Unit.MONEY and rule.subject is Subject.GUILD:
                    usage = (await quotas.preview(rule)).usage
                    assert usage is not None
                    budgets.append(usage)
        review = await self._services.reports.review(guild_id, user_id, days, zone)
        return review, await self._services.reports.draw(charts.drawing(review, budgets))

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
