"""/models: what a member can paint with in this channel, and what it costs."""

from collections.abc import Mapping

from cogs.answers import in_time, privately
from cogs.asking import asker
from cogs.contexts import Interaction, check_context
from cogs.services import Services
from cogs.slash import SlashCommand, slash
from cogs.ui import offers
from jobs.offering import OfferedModel


class ModelCommands:
    """The command that lists models."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def commands(self) -> list[SlashCommand]:
        """All of them."""
        description = "See what you can paint with here, and what it costs"
        return [slash("models", description, self.models, everywhere=True)]

    async def models(self, interaction: Interaction, values: Mapping[str, object]) -> None:
        """/models"""
        found = await in_time(interaction, self._found(interaction), private=True)
        embed, view = offers.models(found, 0)
        await privately(interaction, embed=embed, view=view)

    async def turn(self, interaction: Interaction, page: int) -> None:
        """The buttons Back and More: the message is the presser's own, nobody else can see it."""
        found = await self._found(interaction)
        last = max(0, (len(found) - 1) // offers.PAGE)
        embed, view = offers.models(found, min(page, last))
        await interaction.response.edit_message(embed=embed, view=view)

    async def _found(self, interaction: Interaction) -> list[OfferedModel]:
        check_context(interaction, self._services.settings)
        return await self._services.offering.here(asker(interaction))
