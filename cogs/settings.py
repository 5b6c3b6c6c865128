"""/settings, for those who manage the server."""

from collections.abc import Mapping, Sequence
from typing import Final
from zoneinfo import ZoneInfo, available_timezones

import discord
from discord import app_commands

from cogs.answers import in_time, privately
from cogs.asking import check_manages_server
from cogs.change_log import ChangeLog
from cogs.command_options import (
    CommandOption,
    integer_option,
    malformed,
    message_channel_option,
    number_option,
    read_options,
    role_option,
)
from cogs.contexts import Interaction, check_server
from cogs.services import Services
from cogs.slash import SlashCommand, group, slash
from cogs.ui import lists, texts, words
from domain.guild import MAX_COOLDOWN_SECONDS, MAX_WEIGHT, MIN_WEIGHT

_ZONES: Final = tuple(sorted(zone for zone in available_timezones() if not zone.startswith(("posix/", "right/"))))
_FOLDED: Final = {zone.casefold(): zone for zone in _ZONES}


def read_zone(value: object) -> ZoneInfo:
    """A time zone by its name. Raises UserError."""
    name = _FOLDED.get(str(value).strip().casefold().replace(" ", "_"))
    if name is None:
        raise malformed("zone", value, "a time zone such as Europe/Berlin; pick it from the list")
    return ZoneInfo(name)


async def complete_zone(interaction: Interaction, typed: str) -> Sequence[tuple[str, str]]:
    """The zones whose names hold what was typed."""
    wanted = typed.strip().casefold().replace(" ", "_")
    found = [zone for zone in _ZONES if wanted in zone.casefold()]
    # Places before abbreviations such as CET.
    return [(zone, zone) for zone in sorted(found, key=lambda zone: "/" not in zone)]


_ZONE: Final = (
    CommandOption(
        "zone",
        "In which days, weeks and months begin, such as Europe/Berlin",
        str,
        read_zone,
        True,
        autocomplete="zone",
    ),
)
_COOLDOWN: Final = (
    integer_option(
        "seconds", "How long a member waits between two jobs. 0: not at all", 0, MAX_COOLDOWN_SECONDS, required=True
    ),
)
_LOG: Final = (message_channel_option("channel", "Where changes are posted; left out: nowhere"),)
_WEIGHT: Final = (
    role_option("role", "Whose jobs", required=True),
    number_option(
        "weight",
        "How much of the line they get: 2 is twice as much as others, 1 is what everybody has",
        MIN_WEIGHT,
        MAX_WEIGHT,
        required=True,
    ),
)


class SettingsCommands:
    """The commands about a server's settings."""

    def __init__(self, services: Services, log: ChangeLog, more: Sequence[SlashCommand] = ()) -> None:
        """``more``: further commands of the group."""
        self._services = services
        self._log = log
        self._more = more

    def commands(self) -> list[app_commands.Group]:
        """All of them, in one group."""
        return [
            group(
                "settings",
                "Set up this server",
                slash("show", "See what is set", self.show),
                slash("timezone", "Set the server's time zone", self.set_zone, _ZONE, {"zone": complete_zone}),
                slash("cooldown", "Make members wait between two jobs", self.set_cooldown, _COOLDOWN),
                slash("log", "Post admins' changes in a channel", self.set_log, _LOG),
                *self._more,
                slash("weight", "Give a role more or less of the line", self.set_weight, _WEIGHT),
                permissions=discord.Permissions(manage_guild=True),
            )
        ]

    async def show(self, interaction: Interaction, values: Mapping[str, object]) -> None:
        """/settings show"""
        guild_id = self._admin(interaction)
        administration = self._services.administration
        found = await in_time(interaction, administration.settings(guild_id), private=True)
        weights = await administration.weights(guild_id)
        await privately(interaction, embed=lists.settings(found, weights, self._services.catalogue))

    async def set_zone(self, interaction: Interaction, values: Mapping[str, object]) -> None:
        """/settings timezone"""
        guild_id = self._admin(interaction)
        zone = read_options(_ZONE, values)["zone"]
        assert isinstance(zone, ZoneInfo)
        changing = self._services.administration.set_time_zone(guild_id, zone, interaction.user.id)
        await in_time(interaction, changing, private=True)
        await self._log.changed(interaction, lambda: texts.fill(texts.TIME_ZONE_SET, zone=zone.key))

    async def set_cooldown(self, interaction: Interaction, values: Mapping[str, object]) -> None:
        """/settings cooldown"""
        guild_id = self._admin(interaction)
        seconds = read_options(_COOLDOWN, values)["seconds"]
        assert isinstance(seconds, int)
        changing = self._services.administration.set_cooldown(guild_id, seconds, interaction.user.id)
        await in_time(interaction, changing, private=True)
        said = texts.COOLDOWN_SET if seconds else texts.COOLDOWN_OFF
        await self._log.changed(interaction, lambda: texts.fill(said, time=words.duration(seconds)))

    async def set_log(self, interaction: Interaction, values: Mapping[str, object]) -> None:
        """/settings log"""
        guild_id = self._admin(interaction)
        channel_id = read_options(_LOG, values).get("channel")
        assert channel_id is None or isinstance(channel_id, int)
        changing = self._services.administration.set_log_channel(guild_id, channel_id, interaction.user.id)
        await in_time(interaction, changing, private=True)
        if channel_id is None:
            await privately(interaction, texts.LOG_CHANNEL_OFF)
        else:
            await self._log.changed(interaction, lambda: texts.fill(texts.LOG_CHANNEL_SET, channel=channel_id))

    async def set_weight(self, interaction: Interaction, values: Mapping[str, object]) -> None:
        """/settings weight"""
        guild_id = self._admin(interaction)
        given = read_options(_WEIGHT, values)
        role_id, weight = given["role"], given["weight"]
        assert isinstance(role_id, int)
        assert isinstance(weight, float)
        changing = self._services.administration.set_weight(guild_id, role_id, weight, interaction.user.id)
        await in_time(interaction, changing, private=True)
        await self._log.changed(interaction, lambda: texts.fill(texts.WEIGHT_SET, role=role_id, weight=weight))

    def _admin(self, interaction: Interaction) -> int:
        guild_id = check_server(interaction, self._services.settings)
        check_manages_server(interaction)
        return guild_id
