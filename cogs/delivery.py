"""The outbox's errand boy: every job that is over reaches its person, and then its card goes.

An outcome stays due until it is posted or told, whatever happens to this process meanwhile.
"""

import asyncio
import logging
from dataclasses import replace
from functools import partial

import discord
from discord.ext import commands

from cogs.answers import NETWORK_ERRORS
from cogs.discretion import Discretion
from cogs.posting import Poster, Unreachable
from cogs.progress import ProgressCards
from cogs.services import Services
from cogs.ui import cards
from config.logs import bind_job
from domain.errors import Code, UserError
from domain.job import WITHOUT_PICTURE, Failure, Job, JobState

log = logging.getLogger(__name__)

AT_A_TIME = 8
"""Outcomes that are brought at the same time; each may hold a few pictures in memory."""
PAUSE_SECONDS = 30.0
"""Rest after something unexpected broke, before the outcome is tried again."""
CARD_ATTEMPTS = 3


class Delivery(commands.Cog):
    """Brings outcomes. ``online`` is set once the gateway knows us."""

    def __init__(
        self,
        services: Services,
        progress: ProgressCards,
        poster: Poster,
        discretion: Discretion,
        online: asyncio.Event,
    ) -> None:
        self._services = services
        self._progress = progress
        self._poster = poster
        self._discretion = discretion
        self._online = online
        self._room = asyncio.Semaphore(AT_A_TIME)
        self._under_way: dict[str, asyncio.Task[None]] = {}
        self._loop_task: asyncio.Task[None] | None = None

    async def cog_load(self) -> None:
        """Pick up what an earlier process left, and go on with what becomes due."""
        self._progress.start()
        self._loop_task = asyncio.create_task(self._run())

    async def cog_unload(self) -> None:
        """Let posts that are under way end, for a moment; what is cut off is looked for at the next start."""
        if self._loop_task is not None:
            self._loop_task.cancel()
            await asyncio.gather(self._loop_task, return_exceptions=True)
        if self._under_way:
            await asyncio.wait(self._under_way.values(), timeout=self._services.settings.easel_grace_seconds)
        left = list(self._under_way.values())
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        await self._progress.stop()

    async def _run(self) -> None:
        await self._online.wait()
        restoring = asyncio.create_task(self._progress.restore())
        try:
            while True:
                try:
                    due = await self._services.outbox.due()
                except Exception:
                    log.exception("the outbox could not be read")
                    await asyncio.sleep(1.0)
                    continue
                for job in due:
                    if job.id not in self._under_way:
                        task = asyncio.create_task(self._bring(job), name=f"deliver {job.id}")
                        self._under_way[job.id] = task
                        task.add_done_callback(partial(self._done, job.id))
                await self._services.outbox.wait()
        finally:
            restoring.cancel()
            await asyncio.gather(restoring, return_exceptions=True)

    def _done(self, job_id: str, _task: asyncio.Task[None]) -> None:
        del self._under_way[job_id]
        # It may be due again: what was not finished, or what ended while it was in this table.
        self._services.outbox.ring()

    async def _bring(self, job: Job) -> None:
        bind_job(job.id, (job.request.prompt, job.request.negative_prompt))
        async with self._room:
            try:
                if job.state in WITHOUT_PICTURE:
                    await self._tell(job)
                else:
                    await self._post(job)
            except Exception:
                # The boundary of one outcome: the others go on, and this one stays due.
                log.exception("the outcome of job %s could not be brought", job.id)
                await asyncio.sleep(PAUSE_SECONDS)

    # Pictures.

    async def _post(self, job: Job) -> None:
        await self._progress.release(job.id, settle=job.through_interaction)
        if job.through_interaction:
            # The card becomes the result: it has to be known.
            await self._progress.answered(job.id)
            job = await self._services.jobs.get(job.id) or job
        # A post that was begun before, by an earlier process or in vain by this one, may be in the channel.
        look_first = job.state is JobState.POSTING
        if not look_first:
            await self._services.outbox.begin(job.id)
        job = await self._discretion.presentable(job)
        if not job.pictures:
            await self._withhold(job)
            return
        parent = await self._services.jobs.get(job.parent_id) if job.parent_id is not None else None
        settings = await self._services.administration.settings(job.place.guild_id)
        parts = cards.result(job, self._services.catalogue, settings, parent)
        try:
            result = await self._poster.post(job, parts, look_first=look_first)
        except Unreachable as nobody:
            await self._give_up(job, nobody.failure)
            return
        except UserError as gone:
            # The file was removed before it could be posted.
            await self._give_up(job, Failure.of(gone))
            return
        if job.card is not None and result.message_id == job.card.message_id:
            await self._services.outbox.posted(job.id, result)
            await self._services.outbox.set_card(job.id, None)
            return
        # The card goes first: a process that ends here posts nothing twice, and leaves no card behind.
        await self._put_card_away(job.id)
        await self._services.outbox.posted(job.id, result)
        await self._put_card_away(job.id)

    async def _put_card_away(self, job_id: str) -> None:
        job = await self._services.jobs.get(job_id)
        if job is None:
            return
        card = job.card
        if card is None and job.created_at < self._progress.started_at:
            # Committed, but never answered: the response may still say "thinking…".
            card = await self._progress.recover(job)
        if card is None:
            return
        for attempt in range(CARD_ATTEMPTS):
            if await self._progress.remove(job, card):
                await self._services.outbox.set_card(job_id, None)
                return
            await asyncio.sleep(attempt)
        log.warning("job %s: its card could not be removed", job_id)

    async def _withhold(self, job: Job) -> None:
        """There were pictures, but none that may be posted: the person is told alone, and the card goes."""
        failure = Failure(Code.CONTENT_WITHHELD)
        await self._discretion.tell(job, cards.ended(replace(job, failure=failure)))
        await self._put_card_away(job.id)
        await self._services.outbox.undeliverable(job.id, failure)
        await self._put_card_away(job.id)

    async def _give_up(self, job: Job, failure: Failure) -> None:
        log.warning("job %s can't be delivered: %s", job.id, failure)
        await self._services.outbox.undeliverable(job.id, failure)
        fresh = await self._services.jobs.get(job.id)
        if fresh is not None and fresh.card is not None:
            try:
                await self._progress.show_end(fresh, fresh.card)
            except NETWORK_ERRORS as error:
                log.debug("job %s: nor can its card be edited: %s", job.id, error)

    # Endings without a picture.

    async def _tell(self, job: Job) -> None:
        await self._progress.answered(job.id)
        await self._progress.release(job.id, settle=True)
        fresh = await self._services.jobs.get(job.id)
        assert fresh is not None
        if fresh.told:
            return
        # What a safety check says of somebody's picture is nobody else's business.
        flagged = fresh.failure is not None and fresh.failure.code is Code.CONTENT_FLAGGED
        if flagged and await self._discretion.tell(fresh, cards.ended(fresh)):
            await self._put_card_away(fresh.id)
            await self._services.outbox.told(fresh.id)
            return
        if not await self._told_on_card(fresh):
            try:
                message = await self._poster.tell(fresh, cards.ended(fresh), look_first=False)
            except Unreachable as nobody:
                log.warning("job %s: nobody could be told how it ended: %s", job.id, nobody.failure)
            else:
                await self._services.outbox.set_card(job.id, message)
        await self._services.outbox.told(job.id)

    async def _told_on_card(self, job: Job) -> bool:
        card = job.card
        if card is None:
            return await self._progress.recover(job, cards.ended(job)) is not None

        async def edit(attempt: int) -> None:
            await self._progress.show_end(job, card)

        try:
            await self._poster.retrying(f"the card of job {job.id}", edit)
        except discord.HTTPException as refusal:
            log.debug("job %s: its card can't be edited any more: %s", job.id, refusal)
            return False
        return True
