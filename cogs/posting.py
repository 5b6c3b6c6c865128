"""Bringing a message to a person for certain: retried while there is hope, never twice, at last by direct message.

A message carries a nonce that is made from the job's id, so that Discord drops a repetition within a few minutes;
and before anything is sent a second time, the channel's recent history is searched for it.
"""

import hashlib
import io
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeVar

import aiohttp
import discord
import tenacity

from cogs.answers import TOO_LATE
from cogs.ui import cards, texts
from cogs.ui.buttons import Action, has_button
from cogs.ui.language import speaking
from cogs.whispers import Whisper
from domain.errors import Code
from domain.job import Card, Failure, Job, TaskState
from jobs.pictures import Pictures

log = logging.getLogger(__name__)

T = TypeVar("T")

REQUEST_BYTES: Final = 25 * 2**20 - 2**17
"""What the files of one message may have together: Discord's 25 MiB for a request, less room for the rest of it."""
HISTORY: Final = 100
"""Messages of a channel that are searched for an earlier post."""
SMALLEST_LIMIT: Final = 64 * 2**10
NONCE_CHARACTERS: Final = 25
"""https://discord.com/developers/docs/resources/message#create-message"""
_TOO_LARGE: Final = 40005


_Send = Callable[[discord.Embed, Sequence[discord.File]], Awaitable[Card]]


class Unreachable(Exception):
    """Neither the channel nor the person takes the message; trying again would not help."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(str(failure))
        self.failure = failure


@dataclass(frozen=True)
class _Attachment:
    data: bytes
    name: str
    spoiler: bool
    smaller: bool
    """It was encoded again to fit."""

    def file(self) -> discord.File:
        return discord.File(io.BytesIO(self.data), self.name, spoiler=self.spoiler)


class Poster:
    """Sends outcomes. ``sleep`` is what waits between attempts."""

    def __init__(
        self, client: discord.Client, pictures: Pictures, sleep: Callable[[float], Awaitable[None]] | None = None
    ) -> None:
        self._client = client
        self._pictures = pictures
        self._sleep = sleep

    async def post(self, job: Job, parts: cards.Parts, *, look_first: bool) -> Card:
        """Post the job's pictures, once. ``look_first``: an earlier process may have done it.

        Raises Unreachable, and UserError (PICTURE_GONE) where a picture has been removed.
        """
        return await self._send(job, parts, look_first=look_first, with_pictures=True, nonce=nonce(job.id, "result"))

    async def tell(self, job: Job, parts: cards.Parts, *, look_first: bool) -> Card:
        """Send how the job ended as a message of its own. Raises Unreachable."""
        return await self._send(job, parts, look_first=look_first, with_pictures=False, nonce=nonce(job.id, "end"))

    async def retrying(self, what: str, work: Callable[[int], Awaitable[T]]) -> T:
        """Do it again as long as it fails for a passing reason; ``work`` gets the number of the attempt, from 1."""
        options: dict[str, Any] = {"sleep": self._sleep} if self._sleep is not None else {}
        attempts = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception(is_passing),
            wait=_Patience(),
            before_sleep=lambda state: log.warning(
                "%s: attempt %d failed: %s", what, state.attempt_number, state.outcome and state.outcome.exception()
            ),
            **options,
        )
        async for attempt in attempts:
            with attempt:
                return await work(attempt.retry_state.attempt_number)
        raise AssertionError("it is tried until it works or fails for good")

    async def _send(self, job: Job, parts: cards.Parts, *, look_first: bool, with_pictures: bool, nonce: str) -> Card:
        channel = self._client.get_partial_messageable(job.place.channel_id, guild_id=job.place.server_id)

        async def into_channel(attempt: int) -> Card:
            if look_first or attempt > 1:
                found = await self._find(channel, job, with_pictures)
                if found is not None:
                    return found
            return await self._attach_and_send(job, parts, sending(channel, parts), with_pictures=with_pictures)

        def sending(channel: discord.abc.Messageable, parts: cards.Parts) -> _Send:
            return partial(_sent, channel, job, parts, nonce)

        async def onto_card(attempt: int) -> Card:
            card = job.card
            assert card is not None
            # In place: whatever is repeated, there is one message.
            changing = partial(_changed, Whisper(self._client, job.answer, card), card, parts)
            return await self._attach_and_send(job, parts, changing, with_pictures=with_pictures)

        try:
            if not job.through_interaction:
                return await self.retrying(f"job {job.id}", into_channel)
            if job.card is not None and job.answer is not None:
                return await self.retrying(f"job {job.id}", onto_card)
        except discord.HTTPException as refusal:
            if with_pictures and (job.request.adult or any(task.flagged for task in job.tasks)):
                # Nobody can tell who reads along in a conversation.
                raise Unreachable(Failure(Code.CONTENT_WITHHELD)) from refusal
            log.info("job %s: its channel is closed to us (%s), so it goes to the person", job.id, refusal)
        note = texts.SENT_DIRECTLY if with_pictures else texts.TOLD_DIRECTLY
        if job.request.private:
            note = texts.SENT_PRIVATELY
        with speaking(job.language):
            direct = cards.Parts(parts.embed, parts.view, texts.fill(note, channel=job.place.channel_id))

        async def to_person(attempt: int) -> Card:
            conversation = await self._client.create_dm(discord.Object(job.place.user_id))
            if look_first or attempt > 1:
                found = await self._find(conversation, job, with_pictures)
                if found is not None:
                    return found
            return await self._attach_and_send(job, direct, sending(conversation, direct), with_pictures=with_pictures)

        try:
            return await self.retrying(f"job {job.id}, directly", to_person)
        except discord.HTTPException as refusal:
            raise Unreachable(Failure(Code.DISCORD_REFUSED, {"reason": refusal.text[:200]})) from refusal

    async def _attach_and_send(self, job: Job, parts: cards.Parts, send: _Send, *, with_pictures: bool) -> Card:
        """Have it sent by ``send``, with files that are as large as Discord takes them."""
        limit = self._file_limit(job) if with_pictures else 0
        while True:
            attachments = await self._attachments(job, limit) if with_pictures else []
            try:
                return await send(
                    _noted(job, parts.embed, attachments), [attachment.file() for attachment in attachments]
                )
            except discord.HTTPException as error:
                too_large = error.status == 413 or error.code == _TOO_LARGE
                if not too_large or limit <= SMALLEST_LIMIT:
                    raise
                # The server's limit is lower than it was said to be.
                limit //= 2
                log.info("job %s: too large for Discord; trying %d bytes a file", job.id, limit)

    async def _attachments(self, job: Job, limit: int) -> list[_Attachment]:
        made = []
        for task in job.tasks:
            if task.state is TaskState.DONE and task.picture is not None:
                data, name = await self._pictures.fit(task.picture.name, limit)
                smaller = len(data) < task.picture.bytes
                made.append(_Attachment(data, name, job.request.spoiler, smaller))
        return made

    def _file_limit(self, job: Job) -> int:
        guild = self._client.get_guild(job.place.guild_id)
        limit = guild.filesize_limit if guild is not None else discord.utils.DEFAULT_FILE_SIZE_LIMIT_BYTES
        return min(limit, REQUEST_BYTES // max(1, len(job.pictures)))

    async def _find(self, channel: discord.abc.Messageable, job: Job, with_pictures: bool) -> Card | None:
        """An earlier post of this job: ours, and its buttons carry the job's id."""
        assert self._client.user is not None
        # A minute of grace for clocks that differ.
        since = (job.finished_at or job.created_at) - 60_000
        after = discord.Object(max(0, since - _DISCORD_EPOCH) << 22)
        # What only a result, or only the news of a failure, carries.
        mark = Action.REROLL if with_pictures else Action.RETRY
        # What came right after the job ended, and then what came last: clocks may differ by more than grace.
        places = (channel.history(limit=HISTORY, after=after, oldest_first=True), channel.history(limit=HISTORY))
        try:
            for messages in places:
                async for message in messages:
                    if message.author.id == self._client.user.id and has_button(message, mark, job.id):
                        return Card(message.channel.id, message.id)
        except (discord.Forbidden, discord.NotFound) as error:
            log.debug("job %s: its channel's history can't be read: %s", job.id, error)
        return None


def _noted(job: Job, embed: discord.Embed, attachments: Sequence[_Attachment]) -> discord.Embed:
    """The embed; where pictures had to be made smaller, it says so."""
    if not any(attachment.smaller for attachment in attachments):
        return embed
    noted = embed.copy()
    with speaking(job.language):
        noted.description = f"{embed.description}\n-# {texts.fill(texts.REENCODED)}"
    return noted


async def _sent(
    channel: discord.abc.Messageable,
    job: Job,
    parts: cards.Parts,
    nonce: str,
    embed: discord.Embed,
    files: Sequence[discord.File],
) -> Card:
    assert parts.view is not None
    message = await channel.send(
        parts.content,
        embed=embed,
        view=parts.view,
        files=files,
        nonce=nonce,
        allowed_mentions=discord.AllowedMentions(
            everyone=False, roles=False, users=[discord.Object(job.place.user_id)], replied_user=False
        ),
    )
    return Card(message.channel.id, message.id)


async def _changed(
    message: Whisper, card: Card, parts: cards.Parts, embed: discord.Embed, files: Sequence[discord.File]
) -> Card:
    await message.edit(content=parts.content, embed=embed, view=parts.view, attachments=files)
    return card


def nonce(job_id: str, purpose: str) -> str:
    """What makes a repetition of the same message known to Discord: at most 25 characters."""
    return hashlib.sha256(f"{purpose}:{job_id}".encode()).hexdigest()[:NONCE_CHARACTERS]


def is_passing(error: BaseException) -> bool:
    """Whether the same request may work later."""
    if isinstance(error, discord.HTTPException) and error.code in TOO_LATE:
        return False
    if isinstance(error, discord.HTTPException):
        # 401: the token was changed under us; the operator will mend it, and nothing may be lost meanwhile.
        return error.status in (401, 408, 429) or error.status >= 500
    return isinstance(error, discord.RateLimited | aiohttp.ClientError | OSError)


class _Patience(tenacity.wait.wait_base):
    """As long as Discord asks for, else exponentially longer up to a minute, with chance in it."""

    def __init__(self) -> None:
        self._backoff = tenacity.wait_random_exponential(multiplier=0.5, max=60)

    def __call__(self, retry_state: tenacity.RetryCallState) -> float:
        error = retry_state.outcome.exception() if retry_state.outcome is not None else None
        return max(_asked_for(error), self._backoff(retry_state))


def _asked_for(error: BaseException | None) -> float:
    if isinstance(error, discord.RateLimited):
        return error.retry_after
    if isinstance(error, discord.HTTPException) and error.status == 429:
        try:
            return min(3600.0, max(0.0, float(error.response.headers.get("Retry-After", 1))))
        except ValueError:
            return 1.0
    return 0.0


_DISCORD_EPOCH: Final = 1420070400000
"""https://discord.com/developers/docs/reference#snowflakes, milliseconds."""
