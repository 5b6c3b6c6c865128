"""The cards of jobs as messages: recovered, made anew, taken away, and turned into how the job ended."""

import logging
from typing import Any

import discord

from cogs.answers import NETWORK_ERRORS
from cogs.services import Services
from cogs.ui import cards
from cogs.whispers import message_of
from domain.job import Card, Job

log = logging.getLogger(__name__)


class CardMessages:
    """What is done to single cards; ``cogs.progress`` keeps them up to date."""

    def __init__(self, client: discord.Client, services: Services) -> None:
        self._client = client
        self._services = services

    async def recover(self, job: Job, parts: cards.Parts | None = None) -> Card | None:
        """The card of a job whose answer was cut off: the interaction's own response, where it can still be had.

        ``parts`` are put on it through the interaction: only so does a response that still says "thinking…" end.
        """
        answer = job.answer
        if answer is None or answer.expires_at <= self._services.clock().timestamp() * 1000:
            return None
        webhook = discord.Webhook.partial(answer.application_id, answer.token, client=self._client)
        # The routes take "@original" in place of an id.
        original: Any = "@original"
        try:
            if parts is None:
                message = await webhook.fetch_message(original)
            else:
                message = await webhook.edit_message(original, embed=parts.embed, view=parts.view)
        except NETWORK_ERRORS as error:
            log.debug("job %s: the interaction's response is not to be had: %s", job.id, error)
            return None
        return Card(message.channel.id, message.id)

    async def new_card(self, job: Job, shown: cards.Progress) -> Card | None:
        """A card of its own in the channel, where the interaction can't carry it; None where none can be sent."""
        if job.through_interaction:
            return None
        channel = self._client.get_partial_messageable(job.place.channel_id, guild_id=job.place.server_id)
        parts = cards.in_progress(job, shown, self._services.catalogue)
        assert parts.view is not None
        try:
            message = await channel.send(embed=parts.embed, view=parts.view, nonce=f"card-{job.id}"[:25])
        except NETWORK_ERRORS as error:
            log.warning("job %s has no card: %s", job.id, error)
            return None
        return Card(job.place.channel_id, message.id)

    async def remove(self, job: Job, card: Card) -> bool:
        """Delete a card; False where that has to be tried again."""
        try:
            await message_of(self._client, job, card).delete()
        except discord.HTTPException as error:
            # What is gone is gone; what may not be deleted stays.
            return 400 <= error.status < 500 and error.status != 429
        except NETWORK_ERRORS as error:
            log.debug("card %s could not be deleted: %s", card, error)
            return False
        return True

    async def show_end(self, job: Job, card: Card) -> None:
        """Turn the card into how the job ended. Raises what Discord answers."""
        parts = cards.ended(job)
        await message_of(self._client, job, card).edit(content=None, embed=parts.embed, view=parts.view, attachments=[])
