"""The buttons of a result that make no picture: Details, Original, and Delete, which asks first."""

import io

import discord

from cogs.answers import PUBLIC, in_time, privately
from cogs.asking import can_cancel
from cogs.contexts import Interaction
from cogs.discretion import Discretion
from cogs.door import Door
from cogs.posting import REQUEST_BYTES
from cogs.services import Services
from cogs.ui import texts, words
from cogs.ui.buttons import Action, after_details, job_buttons
from cogs.ui.details import details
from cogs.ui.modals import delete_for_good
from domain.errors import Code, OperatorError, UserError
from domain.job import Job, JobState, Task
from domain.money import MicroUSD


class ResultButtons:
    """What members see and do with a result."""

    def __init__(self, services: Services, door: Door, discretion: Discretion) -> None:
        self._services = services
        self._discretion = discretion
        self._door = door

    async def press_details(self, interaction: Interaction, job_id: str) -> None:
        """The button Details: all there is to know, for the presser alone."""

        async def look() -> tuple[Job, MicroUSD | None]:
            job = await self._door.job(interaction, job_id)
            return job, await self._services.quotas.corrected_cost(job)

        job, corrected = await in_time(interaction, look(), private=True)
        *first, last = details(job, self._services.catalogue, corrected)
        for embed in first:
            await privately(interaction, embed=embed)
        await privately(interaction, embed=last, view=after_details(job.id))

    async def press_original(self, interaction: Interaction, job_id: str) -> None:
        """The button Original: the pictures as they were made, as files, for the presser alone."""
        job = await self._door.job(interaction, job_id)
        await interaction.response.defer(ephemeral=True, thinking=True)
        interaction.extras[PUBLIC] = False
        job = await self._discretion.presentable_in(interaction, job)
        tasks = [task for task in job.tasks if task.picture is not None]
        if not tasks or job.state not in (JobState.POSTED, JobState.POSTING, JobState.UNDELIVERABLE):
            raise UserError(Code.PICTURE_GONE)
        for task in tasks:
            await self._hand_over(interaction, job, task)

    async def _hand_over(self, interaction: Interaction, job: Job, task: Task) -> None:
        """One file a message: so that each may be as large as Discord takes."""
        limit = min(interaction.filesize_limit, REQUEST_BYTES)
        data, name = await self._services.originals.of(job, task)
        text = None
        if len(data) > limit:
            size, most = words.size_in_bytes(len(data)), words.size_in_bytes(limit)
            text = texts.fill(texts.ORIGINAL_TOO_LARGE, number=task.index + 1, size=size, limit=most)
            data, name = await self._services.pictures.fit(name, limit)
        await privately(interaction, text, file=discord.File(io.BytesIO(data), name, spoiler=job.request.spoiler))

    async def press_delete(self, interaction: Interaction, job_id: str) -> None:
        """The button Delete: asks first."""
        job = await self._owned(interaction, job_id)
        if job.through_interaction and job.place.channel_id == interaction.channel_id:
            # Only what is done to the message itself brings what it takes to delete it: the question is a form.
            await interaction.response.send_modal(delete_for_good(job))
            return
        question = texts.DELETE_ONE if len(job.pictures) == 1 else texts.DELETE_SEVERAL
        await privately(interaction, question, view=job_buttons(job.id, Action.REMOVE))

    async def press_remove(self, interaction: Interaction, job_id: str) -> None:
        """The answer to the question: the post goes, and the pictures go from the disk."""
        job = await self._owned(interaction, job_id)
        await interaction.response.defer()
        # The message is private already: what goes wrong is told beside it.
        interaction.extras[PUBLIC] = False

        async def unpost(job: Job) -> None:
            if job.result is None:
                return
            channel = interaction.client.get_partial_messageable(job.result.channel_id)
            try:
                await channel.get_partial_message(job.result.message_id).delete()
            except discord.NotFound:
                pass  # Somebody was faster.
            except discord.HTTPException as error:
                raise OperatorError(Code.DISCORD_REFUSED, reason=error.text[:200]) from error

        await self._services.removal.remove(job, unpost)
        await interaction.edit_original_response(content=texts.fill(texts.DELETED), view=None)

    async def submit_delete(self, interaction: Interaction, job_id: str) -> None:
        """The form that asked was sent: the message under which it was opened goes, and the pictures go."""
        job = await self._owned(interaction, job_id)
        await interaction.response.defer()
        interaction.extras[PUBLIC] = False

        async def unpost(job: Job) -> None:
            try:
                await interaction.delete_original_response()
            except discord.NotFound:
                pass  # Somebody was faster.
            except discord.HTTPException as error:
                raise OperatorError(Code.DISCORD_REFUSED, reason=error.text[:200]) from error

        await self._services.removal.remove(job, unpost)
        await privately(interaction, texts.fill(texts.DELETED))

    async def _owned(self, interaction: Interaction, job_id: str) -> Job:
        job = await self._door.job(interaction, job_id)
        if not can_cancel(interaction, job.place):
            raise UserError(Code.JOB_NOT_YOURS)
        return job
