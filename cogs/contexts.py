"""Where an interaction comes from, and whether the bot works there.

A server that has the bot, the bot's own conversation with somebody, or a place where it is only because somebody has
added it to their account: other people's conversations, groups, and servers that do not have it. There it can answer
through the interaction alone (https://discord.com/developers/docs/resources/application#installation-context).
"""

from enum import Enum
from typing import Any, Final

import discord
from discord import app_commands

from config.settings import DirectMessages, Settings
from domain.errors import Code, OperatorError
from domain.guild import OUTSIDE

Interaction = discord.Interaction[Any]

GUILD_INSTALLS: Final = app_commands.AppInstallationType(guild=True, user=False)
ALL_INSTALLS: Final = app_commands.AppInstallationType(guild=True, user=True)
IN_SERVERS: Final = app_commands.AppCommandContext(guild=True, dm_channel=False, private_channel=False)
EVERYWHERE: Final = app_commands.AppCommandContext(guild=True, dm_channel=True, private_channel=True)
OUTSIDE_SERVERS: Final = app_commands.AppCommandContext(guild=False, dm_channel=True, private_channel=True)


class Context(Enum):
    """What kind of place it is for us."""

    SERVER = "server"
    """It has the bot."""
    DIRECT = "direct"
    """The bot's own conversation with a person."""
    VISIT = "visit"
    """A person's account brings the bot, which is no member."""


def context_of(interaction: Interaction) -> Context:
    """Where the interaction comes from, as Discord says."""
    if interaction.guild_id is not None:
        # Of a server that has the bot the gateway tells, too: what a button's message came from does not matter.
        is_ours = interaction.is_guild_integration() or interaction.client.get_guild(interaction.guild_id) is not None
        return Context.SERVER if is_ours else Context.VISIT
    return Context.VISIT if interaction.context.private_channel else Context.DIRECT


def guild_of(interaction: Interaction) -> int:
    """The guild to which belongs what is asked for there: for jobs, quotas and the fair order."""
    guild_id = interaction.guild_id
    return guild_id if guild_id is not None and context_of(interaction) is Context.SERVER else OUTSIDE


def check_context(interaction: Interaction, settings: Settings) -> int:
    """The same. Raises OperatorError where the bot does not work."""
    is_outside = context_of(interaction) is not Context.SERVER
    if is_outside and settings.easel_direct_messages is DirectMessages.OFF:
        raise OperatorError(Code.ONLY_IN_SERVERS)
    # Nobody's account brings the bot into a server that the operator has not chosen.
    if interaction.guild_id is not None and settings.easel_guilds and interaction.guild_id not in settings.easel_guilds:
        raise OperatorError(Code.GUILD_NOT_ALLOWED)
    return guild_of(interaction)


def check_server(interaction: Interaction, settings: Settings) -> int:
    """The server's id. Raises OperatorError outside servers that have the bot, and where it does not work."""
    if context_of(interaction) is not Context.SERVER:
        raise OperatorError(Code.ONLY_IN_SERVERS)
    return check_context(interaction, settings)
