"""What is not shown to everybody: pictures that belong into age-restricted channels alone, and that there were any.

Looked at when a result is about to be posted: the channel, or what the server allows, may have changed since.
"""

import logging
from dataclasses import replace

import discord

from cogs.answers import NETWORK_ERRORS
from cogs.asking import is_age_restricted
from cogs.contexts import Interaction
from cogs.follow_ups import FollowUps
from cogs.services import Services
from cogs.ui import cards
from cogs.whispers import webhook_of
from domain.errors import Code
from domain.guild import NsfwPolicy
from domain.job import Answer, Failure, Job, Task, TaskState

log = logging.getLogger(__name__)

_ENOUGH_MILLISECONDS = 10_000
"""What must be left of an interaction's token for it to be used."""


class Discretion:
    """Decides what may be posted, and tells people what nobody else is to read."""

    def __init__(self, client: discord.Client, services: Services, follow_ups: FollowUps) -> None:
        self._client = client
        self._services = services
        self._follow_ups = follow_ups

    async def presentable(self, job: Job) -> Job:
        """The job with the pictures that may be posted in its channel; the others count as withheld."""
        flagged = any(task.flagged for task in job.tasks)
        if not flagged and not job.request.adult:
            return job
        policy = (await self._services.administration.settings(job.place.guild_id)).nsfw
        # Also what was admitted when the server still allowed it.
        if policy is not NsfwPolicy.OFF and await self._among_adults(job):
            if policy is NsfwPolicy.SPOILER:
                return replace(job, request=job.request.model_copy(update={"spoiler": True}))
            return job
        log.info("job %s: pictures for adults are withheld from channel %d", job.id, job.place.channel_id)
        everything = job.request.adult
        return replace(job, tasks=tuple(_withheld(task, everything=everything) for task in job.tasks))

    async def presentable_in(self, interaction: Interaction, job: Job) -> Job:
        """The job with the pictures that may be shown to somebody who asks for them in another channel."""
        if interaction.channel_id is None:
            return replace(job, tasks=tuple(_withheld(task, everything=job.request.adult) for task in job.tasks))
        here = replace(job, place=replace(job.place, channel_id=interaction.channel_id))
        return replace(await self.presentable(here), place=job.place)

    async def tell(self, job: Job, parts: cards.Parts) -> bool:
        """Say it to the person who asked, and to nobody else; False where they can't be reached."""
        assert parts.view is not None
        answer = job.answer
        now = self._services.clock().timestamp() * 1000
        try:
            in_time = answer is not None and answer.expires_at - now > _ENOUGH_MILLISECONDS
            if answer is not None and in_time and self._may_follow_up(job, answer):
                webhook = webhook_of(self._client, answer)
                await webhook.send(embed=parts.embed, view=parts.view, ephemeral=True)
                return True
        except NETWORK_ERRORS as error:
            log.debug("job %s: its interaction can't be followed up: %s", job.id, error)
        try:
            conversation = await self._client.create_dm(discord.Object(job.place.user_id))
            await conversation.send(embed=parts.embed, view=parts.view)
        except NETWORK_ERRORS as error:
            log.info("job %s: its person can't be told in private: %s", job.id, error)
            return False
        return True

    def _may_follow_up(self, job: Job, answer: Answer) -> bool:
        return not job.place.is_outside or self._follow_ups.take(answer.token)

    async def _among_adults(self, job: Job) -> bool:
        if job.place.is_outside:
            return False
        guild = self._client.get_guild(job.place.guild_id)
        channel = guild.get_channel_or_thread(job.place.channel_id) if guild is not None else None
        if channel is None and guild is not None:
            # A thread that was archived meanwhile is in nobody's memory.
            try:
                fetched = await guild.fetch_channel(job.place.channel_id)
            except (*NETWORK_ERRORS, discord.InvalidData) as error:
                log.debug("job %s: its channel can't be looked at: %s", job.id, error)
                return False
            return is_age_restricted(fetched)
        return is_age_restricted(channel)


def _withheld(task: Task, *, everything: bool) -> Task:
    if task.state is not TaskState.DONE or not (task.flagged or everything):
        return task
    return replace(task, state=TaskState.FAILED, picture=None, failure=Failure(Code.CONTENT_WITHHELD))
