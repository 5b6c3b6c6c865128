"""The error ladder: one place decides what a person is told and what the operator finds in the log.

A person's mistake is told to them and logged at debug. What the operator can mend is told plainly and logged as
a warning. The unexpected is logged once, with an id that the person is shown.
"""

import logging
import secrets
from collections.abc import Awaitable

import aiohttp
import discord
from discord import app_commands

from cogs.answers import TOO_LATE, privately
from cogs.contexts import Interaction
from cogs.languages import choose
from cogs.ui import texts
from domain.errors import Code, EaselError, OperatorError, UserError

log = logging.getLogger(__name__)


async def guarded(interaction: Interaction, work: Awaitable[None]) -> None:
    """Do the work, in the member's language; whatever goes wrong in it is told and logged."""
    try:
        await choose(interaction)
        await work
    except Exception as error:  # noqa: BLE001 -- the boundary of one interaction; ``tell`` logs it
        await tell(interaction, error)


async def tell(interaction: Interaction, error: BaseException) -> None:
    """Tell the person what went wrong and log it as the ladder says."""
    while isinstance(error, app_commands.CommandInvokeError):
        error = error.original
    silent = interaction.type is discord.InteractionType.autocomplete
    text = _explain(interaction, error)
    if silent:
        if not interaction.response.is_done():
            await _no_choices(interaction)
    elif text is not None:
        await privately(interaction, text)


def _explain(interaction: Interaction, error: BaseException) -> str | None:
    """The sentence for the person (None: they are not told) after the log was written."""
    match error:
        case EaselError(code=Code.DUPLICATE):
            log.debug("interaction %s was delivered twice", interaction.id)
            return None
        case UserError():
            # Its code alone: the parameters are what people typed.
            log.debug("interaction %s is refused: %s", interaction.id, error.code.value)
            return texts.of_error(error)
        case OperatorError():
            log.warning("refused: %s", error)
            return texts.of_error(error)
        case EaselError(code=code) if code is not Code.UNEXPECTED:
            log.error("failed: %s", error)
            return texts.of_error(error)
        case discord.HTTPException(code=code) if code in TOO_LATE:
            log.info("interaction %s can't be answered any more: %s", interaction.id, error)
            return None
        case app_commands.CommandNotFound() | app_commands.CommandSignatureMismatch():
            log.warning("Discord has other commands than this version registers: %s", error)
            return texts.COMMAND_CHANGED
        case app_commands.TransformerError():
            log.debug("refused: %s", error)
            return texts.OPTION_UNREADABLE
        case _:
            incident = secrets.token_hex(4)
            what = interaction.command.qualified_name if interaction.command is not None else interaction.type.name
            log.error("incident %s in %s (interaction %s)", incident, what, interaction.id, exc_info=error)
            return texts.sentence(Code.UNEXPECTED, {"incident": incident})


async def _no_choices(interaction: Interaction) -> None:
    try:
        await interaction.response.autocomplete([])
    except (discord.HTTPException, discord.InteractionResponded, aiohttp.ClientError, OSError) as error:
        log.debug("autocomplete %s could not be answered: %s", interaction.id, error)
