"""/queue and /cancel: looking at jobs, and taking them back."""

from collections.abc import Mapping

from cogs.answers import PUBLIC, in_time, privately
from cogs.asking import asker, can_cancel, can_see
from cogs.command_options import picked_option, read_options
from cogs.completions import Completions
from cogs.contexts import Interaction, check_context
from cogs.door import Door
from cogs.services import Services
from cogs.slash import SlashCommand, slash
from cogs.ui import lists, texts
from domain.errors import Code, UserError
from domain.job import UNDER_WAY, Job


class JobCommands:
    """The commands that look at jobs and cancel them."""

    def __init__(self, services: Services, door: Door, completions: Completions) -> None:
        self._services = services
        self._door = door
        self._completions = completions
        self._cancel_options = [picked_option("job", "Which job; left out: your last one here", "job")]

    def commands(self) -> list[SlashCommand]:
        """All of them."""
        return [
            slash("queue", "See who is waiting, and for how long", self.queue, everywhere=True),
            slash(
                "cancel",
                "Take back a job that is waiting or being painted",
                self.cancel,
                self._cancel_options,
                {"job": self._completions.jobs_to_cancel},
                everywhere=True,
            ),
        ]

    async def queue(self, interaction: Interaction, values: Mapping[str, object]) -> None:
        """/queue"""
        guild_id = check_context(interaction, self._services.settings)
        line = await in_time(interaction, self._services.queue.line(), private=True)
        # The line first: who is started between the two looks stands in one of them, then.
        open_jobs = await self._services.jobs.open_in(guild_id)
        under_way = [job for job in open_jobs if job.state in UNDER_WAY]
        started = {job.id for job in under_way}
        line = [one for one in line if one.guild_id == guild_id and one.job_id not in started]
        # What is asked for in channels that the member can't read is counted, but not shown.
        readable = {job.id: job for job in open_jobs if can_see(interaction, job)}
        offering = self._services.offering
        waiting = [readable[one.job_id] for one in line if one.job_id in readable][: lists.LINE]
        waits = await offering.waits(waiting)
        await privately(interaction, embed=lists.queue(under_way, line, readable, waits, offering.backends()))

    async def cancel(self, interaction: Interaction, values: Mapping[str, object]) -> None:
        """/cancel"""
        given = read_options(self._cancel_options, values)
        if "job" in given:
            job: Job | None = await self._door.job(interaction, str(given["job"]))
        else:
            place = asker(interaction).place
            check_context(interaction, self._services.settings)
            own = await self._services.jobs.open_in(place.guild_id, place.user_id)
            job = next((job for job in reversed(own) if job.place.channel_id == place.channel_id), None)
        if job is None:
            await privately(interaction, texts.NOTHING_TO_CANCEL)
            return
        self._check_may_cancel(interaction, job)
        await in_time(interaction, self._services.dispatcher.cancel(job.id), private=True)
        await privately(interaction, texts.fill(texts.CANCELLING, job=job.id))

    async def press_cancel(self, interaction: Interaction, job_id: str) -> None:
        """The button Cancel: the card itself shows what comes of it."""
        job = await self._door.job(interaction, job_id)
        self._check_may_cancel(interaction, job)
        await interaction.response.defer()
        interaction.extras[PUBLIC] = False
        await self._services.dispatcher.cancel(job.id)

    def _check_may_cancel(self, interaction: Interaction, job: Job) -> None:
        if not can_cancel(interaction, job.place):
            raise UserError(Code.JOB_NOT_YOURS)
