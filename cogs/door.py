"""From an interaction to the one door of ``jobs``, and the one answer back: a public card, or a private refusal."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterator
from typing import Final

import discord

from cogs.answers import NETWORK_ERRORS, PUBLIC, in_time, privately
from cogs.asking import answer_of, asker, can_see, check_permissions
from cogs.contexts import Interaction, check_context
from cogs.languages import language_of_jobs
from cogs.progress import ProgressCards
from cogs.services import Services
from cogs.ui import cards, texts, words
from cogs.ui.buttons import Action, job_buttons
from cogs.ui.confirming import question_text
from domain.errors import Code, UserError
from domain.job import Card, Job
from domain.request import ImageRequest
from jobs.confirmations import ConfirmationNeeded, Question
from jobs.intake import Admission

log = logging.getLogger(__name__)

MAX_JOB_ID: Final = 40
CLOSING_SECONDS: Final = 5.0
"""How long those who are being answered may take when the bot is stopped."""


class Door:
    """Every wish goes through here, whatever command, button or modal it comes from."""

    def __init__(self, services: Services, progress: ProgressCards) -> None:
        self._services = services
        self._progress = progress
        self._inside = 0
        self._empty = asyncio.Event()
        self._empty.set()
        self._closed = False

    async def close(self) -> None:
        """Take nothing in any more, and let those who are inside get their answer."""
        self._closed = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSING_SECONDS):
                await self._empty.wait()

    def check_place(self, interaction: Interaction) -> int:
        """The guild's id. Raises OperatorError where the bot does not work, or could not post a picture."""
        guild_id = check_context(interaction, self._services.settings)
        check_permissions(interaction)
        return guild_id

    async def order(self, interaction: Interaction, request: ImageRequest, *, parent: Job | None = None) -> None:
        """Bring the wish in and answer with its card. Raises what intake raises; nothing is public then."""
        self.check_place(interaction)
        if self._closed:
            await privately(interaction, texts.RESTARTING)
            return
        with self._someone_inside():
            try:
                private = await self._is_private(interaction)
                admission = await in_time(interaction, self._submit(interaction, request, parent), private=private)
            except ConfirmationNeeded as needed:
                await _ask(interaction, needed.question)
                return
            await self._answer(interaction, admission, None)

    async def order_after(
        self,
        interaction: Interaction,
        prompt: str,
        prepare: Callable[[], Awaitable[ImageRequest]],
        *,
        parent: Job | None = None,
    ) -> None:
        """The same for a wish whose bytes have to be fetched first: meanwhile a card says so."""
        self.check_place(interaction)
        if self._closed:
            await privately(interaction, texts.RESTARTING)
            return
        with self._someone_inside():
            parts = cards.checking(prompt, language_of_jobs(interaction))
            private = await self._is_private(interaction)
            callback = await interaction.response.send_message(embed=parts.embed, ephemeral=private)
            interaction.extras[PUBLIC] = True
            try:
                admission = await self._submit(interaction, await prepare(), parent)
            except ConfirmationNeeded as needed:
                await _ask(interaction, needed.question)
                return
            interaction.extras[PUBLIC] = False
            assert interaction.channel_id is not None
            card = Card(interaction.channel_id, callback.message_id) if callback.message_id is not None else None
            await self._answer(interaction, admission, card)

    async def confirm(self, interaction: Interaction, wish_id: str) -> None:
        """The button Paint it under a question: the wish comes in as any other, and its card is a new message.

        Raises what intake raises; the question then still stands.
        """
        self.check_place(interaction)
        if self._closed:
            await privately(interaction, texts.RESTARTING)
            return
        with self._someone_inside():
            await interaction.response.defer()
            # The question is private already: what goes wrong is told beside it.
            interaction.extras[PUBLIC] = False
            intake = self._services.intake
            try:
                # A private card is reached through this interaction alone; a public one is a message of its own.
                answer = answer_of(interaction) if await self._is_private(interaction) else None
                admission = await intake.confirm(
                    wish_id, asker(interaction), interaction_id=interaction.id, answer=answer
                )
            except ConfirmationNeeded as needed:
                view = _yes_or_no(needed.question)
                await _put(interaction, question_text(needed.question), view)
                return
            job = admission.job
            shown = cards.Progress(position=admission.position, wait_seconds=admission.wait_seconds)
            with self._progress.answering(job.id):
                card = await self._follow_up(interaction, job, shown) or await self._progress.new_card(job, shown)
                if card is not None:
                    await self._services.outbox.set_card(job.id, card)
            await self._progress.follow(job.id, shown)
            price = cards.most_it_costs(job, self._services.catalogue)
            await _put(interaction, texts.fill(texts.CONFIRMED, price=words.price(price)), None)

    async def decline(self, interaction: Interaction, wish_id: str) -> None:
        """The button Cancel under a question."""
        await interaction.response.defer()
        interaction.extras[PUBLIC] = False
        await self._services.confirmations.decline(wish_id, asker(interaction).place)
        await _put(interaction, texts.fill(texts.DECLINED), None)

    async def job(self, interaction: Interaction, job_id: str) -> Job:
        """A job of this server, in a channel that the member can read.

        Raises UserError (JOB_UNKNOWN) for all others: nobody learns what is asked for elsewhere.
        """
        guild_id = check_context(interaction, self._services.settings)
        found = await self._services.jobs.get(job_id.strip()) if 0 < len(job_id) <= MAX_JOB_ID else None
        if found is None or found.place.guild_id != guild_id or not can_see(interaction, found):
            raise UserError(Code.JOB_UNKNOWN, job=job_id[:MAX_JOB_ID])
        return found

    async def _is_private(self, interaction: Interaction) -> bool:
        guild_id = check_context(interaction, self._services.settings)
        return (await self._services.administration.settings(guild_id)).private_results

    @contextlib.contextmanager
    def _someone_inside(self) -> Iterator[None]:
        self._inside += 1
        self._empty.clear()
        try:
            yield
        finally:
            self._inside -= 1
            if not self._inside:
                self._empty.set()

    async def _submit(self, interaction: Interaction, request: ImageRequest, parent: Job | None) -> Admission:
        return await self._services.intake.submit(
            request,
            asker(interaction),
            interaction_id=interaction.id,
            answer=answer_of(interaction),
            parent_id=parent.id if parent is not None else None,
        )

    async def _answer(self, interaction: Interaction, admission: Admission, card: Card | None) -> None:
        """Show the card. The job is in: whatever happens here, it is painted and posted."""
        job = admission.job
        shown = cards.Progress(position=admission.position, wait_seconds=admission.wait_seconds)
        with self._progress.answering(job.id):
            sent = await self._send_card(interaction, job, shown)
            card = sent or card
            if card is None:
                parts = cards.in_progress(job, shown, self._services.catalogue)
                card = await self._progress.recover(job, parts) or await self._progress.new_card(job, shown)
            if card is not None:
                await self._services.outbox.set_card(job.id, card)
        await self._progress.follow(job.id, shown)

    async def _follow_up(self, interaction: Interaction, job: Job, shown: cards.Progress) -> Card | None:
        parts = cards.in_progress(job, shown, self._services.catalogue)
        assert parts.view is not None
        assert interaction.channel_id is not None
        try:
            message = await interaction.followup.send(
                embed=parts.embed, view=parts.view, wait=True, ephemeral=job.request.private
            )
        except NETWORK_ERRORS as error:
            log.warning("job %s: interaction %s could not be followed up: %s", job.id, interaction.id, error)
            return None
        return Card(interaction.channel_id, message.id)

    async def _send_card(self, interaction: Interaction, job: Job, shown: cards.Progress) -> Card | None:
        parts = cards.in_progress(job, shown, self._services.catalogue)
        assert parts.view is not None
        assert interaction.channel_id is not None
        try:
            if interaction.response.is_done():
                message = await interaction.edit_original_response(embed=parts.embed, view=parts.view)
                return Card(interaction.channel_id, message.id)
            callback = await interaction.response.send_message(
                embed=parts.embed, view=parts.view, ephemeral=job.request.private
            )
        except NETWORK_ERRORS as error:
            log.warning("job %s: interaction %s could not be answered: %s", job.id, interaction.id, error)
            return None
        return Card(interaction.channel_id, callback.message_id) if callback.message_id is not None else None


async def _ask(interaction: Interaction, question: Question) -> None:
    await privately(interaction, question_text(question), view=_yes_or_no(question))


def _yes_or_no(question: Question) -> discord.ui.View:
    return job_buttons(question.id, Action.CONFIRM, Action.DECLINE)


async def _put(interaction: Interaction, text: str, view: discord.ui.View | None) -> None:
    """Change the question that was answered; it is a courtesy."""
    try:
        await interaction.edit_original_response(content=text, view=view)
    except NETWORK_ERRORS as error:
        log.debug("interaction %s: its question can't be changed: %s", interaction.id, error)
