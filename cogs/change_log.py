"""Telling admins' changes: to who made them, and to the server's log channel."""

import logging
from collections.abc import Callable
from typing import Final

import discord

from cogs.answers import NETWORK_ERRORS, in_time, privately
from cogs.contexts import Interaction
from cogs.languages import public_language
from cogs.services import Services
from cogs.ui import texts, words
from cogs.ui.language import speaking, translated

log = logging.getLogger(__name__)

_CONTENT: Final = 2000
"""https://discord.com/developers/docs/resources/message#create-message"""

Said = str | Callable[[], str]
"""A sentence, or what words it in the language that is being spoken."""


class ChangeLog:
    """Answers a change that is committed and recorded, and posts it where the server's admins want it."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def changed(
        self, interaction: Interaction, said: Said, answer: str | None = None, *, file: discord.File | None = None
    ) -> None:
        """``said`` goes to the log channel, ``answer`` (the same, where left out) to the admin.

        They may read different languages: ``said`` is worded for each of the two, where it can be.
        Where the channel can't be written, the admin is told with the answer. Nothing in it pings.
        """
        closed = await in_time(interaction, self.post(interaction, said), private=True)
        shown = [answer or _worded(said), closed]
        await privately(interaction, "\n".join(line for line in shown if line), file=file)

    async def post(self, interaction: Interaction, said: Said) -> str:
        """Post it in the log channel alone. Returns what the admin has to know where that can't be, else nothing."""
        assert interaction.guild_id is not None
        channel_id = (await self._services.administration.settings(interaction.guild_id)).log_channel_id
        if channel_id is None or await self._post(interaction, channel_id, said):
            return ""
        return texts.fill(texts.LOG_CHANNEL_CLOSED, channel=channel_id)

    async def _post(self, interaction: Interaction, channel_id: int, said: Said) -> bool:
        with speaking(public_language(interaction)):
            entry = words.cut(texts.fill(texts.LOG_ENTRY, author=interaction.user.id, text=_worded(said)), _CONTENT)
        try:
            await interaction.client.get_partial_messageable(channel_id).send(entry)
        except NETWORK_ERRORS as error:
            log.warning("the log channel %d of server %s can't be written: %s", channel_id, interaction.guild_id, error)
            return False
        return True


def _worded(said: Said) -> str:
    return translated(said) if isinstance(said, str) else said()
