"""Messages of a job, wherever they are: in the channel, or reached through an interaction alone.

What one person alone sees, and all that is said where the bot is no member, is reached through the interaction that it
answers, as long as its token lives (15 minutes:
https://discord.com/developers/docs/interactions/receiving-and-responding#followup-messages).
"""

from collections.abc import Sequence
from typing import Any

import discord

from domain.job import Answer, Card, Job


class Whisper:
    """A message that is reached through its interaction."""

    def __init__(self, client: discord.Client, answer: Answer | None, card: Card) -> None:
        self._client = client
        self._answer = answer
        self._card = card

    async def edit(
        self,
        *,
        embed: discord.Embed,
        view: discord.ui.View | None,
        attachments: Sequence[discord.File],
        content: str | None = None,
    ) -> None:
        """Change it. Raises what Discord answers."""
        await self._webhook().edit_message(
            self._card.message_id, content=content, embed=embed, view=view, attachments=attachments
        )

    async def delete(self) -> None:
        """Take it away. Raises what Discord answers."""
        await self._webhook().delete_message(self._card.message_id)

    def _webhook(self) -> discord.Webhook:
        assert self._answer is not None, "a job that is answered so keeps its answer"
        return webhook_of(self._client, self._answer)


def message_of(client: discord.Client, job: Job, card: Card) -> Any:
    """The message: it has ``edit`` and ``delete``."""
    if job.through_interaction and card.channel_id == job.place.channel_id:
        return Whisper(client, job.answer, card)
    return client.get_partial_messageable(card.channel_id).get_partial_message(card.message_id)


def webhook_of(client: discord.Client, answer: Answer) -> discord.Webhook:
    """What follows up an interaction."""
    webhook = discord.Webhook.partial(answer.application_id, answer.token, client=client)
    # What belongs to an interaction, alone of all webhooks, can speak to one person.
    webhook.type = discord.WebhookType.application
    return webhook
