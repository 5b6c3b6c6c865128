"""The cards of jobs that wait or are painted: found again after a restart, kept up to date within the edit budget.

Only the newest state of a job is ever shown; an edit that misses its turn is dropped. A result never waits for one.
"""

import asyncio
import io
import logging
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, assert_never

import discord

from cogs.answers import NETWORK_ERRORS, TOO_LATE
from cogs.card_messages import CardMessages
from cogs.edit_budget import EditBudget
from cogs.services import Services
from cogs.ui import cards
from cogs.whispers import message_of
from domain.errors import UserError
from domain.job import UNDER_WAY, WAITING, WITHOUT_PICTURE, Card, Job, JobState
from jobs.events import JobEvent, ModelLoading, PictureMade, PreviewReady, QueueMoved, StateChanged, StepDone

log = logging.getLogger(__name__)

_SHOWN = WAITING | UNDER_WAY
SETTLING_SECONDS = 0.3
"""A job that was just started says within this time whether it loads a model or takes steps."""
LONGER_SECONDS = 10.0
LOOK_SECONDS = 0.5
"""Between two looks at the line for the cards of those who wait."""
PAUSE_SECONDS = 1.0
"""Rest after something unexpected broke."""
LEAVING_SECONDS = 60.0
"""Before an interaction is over, a card that is reached through it alone says where the result will be."""
_PREVIEW_TYPES = {"image/jpeg": "jpg", "image/png": "png", "image/webp": "webp"}


@dataclass
class _Live:
    """A job whose card is kept up to date."""

    job: Job
    card: Card
    progress: cards.Progress
    preview: bytes | None = None
    made: int = 0
    """Finished pictures that the card shows."""
    changed: bool = False
    not_before: float = 0.0
    """On the clock: more is about to be known, and an edit now would use up the card's turn."""
    editing: asyncio.Task[None] | None = None
    leaving: bool = False
    """The interaction through which the card is reached is about to be over."""


class ProgressCards(CardMessages):
    """Follows the event stream and edits cards. ``clock`` is monotonic, in seconds."""

    def __init__(self, client: discord.Client, services: Services, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(client, services)
        self._clock = clock
        self._budget = EditBudget(clock)
        self.started_at = services.clock().timestamp() * 1000
        self._live: dict[str, _Live] = {}
        self._looked_up: set[str] = set()
        self._answering: dict[str, asyncio.Event] = {}
        self._early: dict[str, cards.Progress] = {}
        """What was told of jobs whose cards are not stored yet."""
        self._next_look = 0.0
        self._queue_moved = False
        self._work = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def edits(self) -> tuple[int, int]:
        """Edits that were sent, and how often one had to wait for its turn."""
        return self._budget.sent, self._budget.put_off

    def start(self) -> None:
        """Begin to listen."""
        self._spawn(_forever(self._listen))
        self._spawn(_forever(self._keep_editing))

    async def stop(self) -> None:
        """Stop listening and editing."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # For those who answer interactions.

    @contextmanager
    def answering(self, job_id: str) -> Iterator[None]:
        """While the interaction that brought the job in is being answered: its card is about to be stored."""
        event = self._answering[job_id] = asyncio.Event()
        self._early[job_id] = cards.Progress()
        try:
            yield
        except BaseException:
            self._early.pop(job_id, None)
            raise
        finally:
            del self._answering[job_id]
            event.set()

    async def answered(self, job_id: str) -> None:
        """Wait until nobody is answering for the job."""
        if job_id in self._answering:
            await self._answering[job_id].wait()

    async def follow(self, job_id: str, shown: cards.Progress) -> None:
        """The job's card is stored and shows this; keep it up to date, or put away what came too late."""
        job = await self._services.jobs.get(job_id)
        early = self._early.pop(job_id, None)
        if job is None or job.card is None:
            return
        if early is not None and job.state in UNDER_WAY:
            shown = early
        if job.state in _SHOWN:
            if job_id not in self._live:
                self._live[job_id] = _Live(job, job.card, shown)
                self._leave_in_time(job)
            live = self._live[job_id]
            live.changed = live.changed or job.state is not JobState.QUEUED
            self._queue_moved = True
            self._work.set()
        elif job.state in (JobState.POSTED, JobState.UNDELIVERABLE):
            await self.remove(job, job.card)
        elif job.state in WITHOUT_PICTURE and job.told:
            await self.show_end(job, job.card)

    def _leave_in_time(self, job: Job) -> None:
        if not job.through_interaction or job.answer is None:
            return
        left = job.answer.expires_at / 1000 - self._services.clock().timestamp()
        asyncio.get_running_loop().call_later(max(0.0, left - LEAVING_SECONDS), self._leave, job.id)

    def _leave(self, job_id: str) -> None:
        live = self._live.get(job_id)
        if live is not None:
            live.leaving = live.changed = True
            self._work.set()

    # For those who post outcomes.

    async def release(self, job_id: str, *, settle: bool) -> None:
        """Stop editing the job's card. ``settle`` also waits for an edit that is on its way."""
        live = self._live.pop(job_id, None)
        if settle and live is not None and live.editing is not None:
            await asyncio.wait({live.editing})

    async def restore(self) -> None:
        """At start-up: follow the jobs that an earlier process left, and give them cards where they have none."""
        for job in [*await self._services.jobs.left_behind(), *await self._services.jobs.waiting_jobs()]:
            await self._look_up(job.id)

    # The event stream.

    async def _listen(self) -> None:
        with self._services.events.listen() as events:
            await self._take(events)

    async def _take(self, events: AsyncIterator[JobEvent]) -> None:
        async for event in events:
            match event:
                case QueueMoved():
                    self._queue_moved = True
                case StateChanged():
                    self._state_changed(event)
                case ModelLoading():
                    self._loading(event)
                case StepDone():
                    step = (event.index, event.step, event.steps)
                    self._update(event.job_id, step=step, loading_seconds=None)
                case PreviewReady():
                    self._previewed(event)
                case PictureMade():
                    self._spawn(self._show_made(event.job_id))
                case _:
                    assert_never(event)
            self._work.set()

    def _state_changed(self, event: StateChanged) -> None:
        if event.state not in _SHOWN:
            self._live.pop(event.job_id, None)
            self._early.pop(event.job_id, None)
            self._looked_up.discard(event.job_id)
            return
        live = self._live.get(event.job_id)
        if live is None:
            if event.job_id in self._early and event.state in WAITING:
                self._early[event.job_id] = cards.Progress()
            self._find(event.job_id)
            return
        if event.state in WAITING:
            live.progress = cards.Progress()
            live.preview = None
            live.made = 0
        elif live.job.state in WAITING:
            live.not_before = self._clock() + SETTLING_SECONDS
        live.job = replace(live.job, state=event.state)
        live.changed = True
        self._spawn(self._refresh(event.job_id))

    async def _refresh(self, job_id: str) -> None:
        # The offer that was chosen stands in the row.
        job = await self._services.jobs.get(job_id)
        live = self._live.get(job_id)
        if live is not None and job is not None and job.state in _SHOWN:
            live.job = job
            live.changed = True
            self._work.set()

    def _loading(self, event: ModelLoading) -> None:
        live = self._live.get(event.job_id)
        shown = live.progress.loading_seconds if live is not None else None
        # A countdown is not worth the edits that it would take from the steps; a longer wait is.
        if shown is None or event.seconds > shown + LONGER_SECONDS:
            self._update(event.job_id, loading_seconds=event.seconds)

    def _update(self, job_id: str, **changes: object) -> None:
        live = self._live.get(job_id)
        if live is None:
            if job_id in self._early:
                self._early[job_id] = replace(self._early[job_id], **changes)  # type: ignore[arg-type]
            else:
                self._find(job_id)
            return
        live.progress = replace(live.progress, **changes)  # type: ignore[arg-type]
        live.changed = True

    def _previewed(self, event: PreviewReady) -> None:
        extension = _PREVIEW_TYPES.get(event.media_type)
        if extension is None:
            return
        live = self._live.get(event.job_id)
        if live is not None and not _is_hidden(live.job):
            live.preview = event.data
        self._update(
            event.job_id, preview=f"{cards.PREVIEW_NAME}.{extension}" if live and live.preview is not None else None
        )

    async def _show_made(self, job_id: str) -> None:
        """One of several pictures is done: the finished ones are shown while the others are made."""
        job = await self._services.jobs.get(job_id)
        live = self._live.get(job_id)
        if live is None or job is None or job.state not in UNDER_WAY:
            return
        # Where everybody can see it, a card never shows what is for adults: the channel may change any time.
        names = [task.picture.name for task in job.tasks if task.picture is not None and not task.flagged]
        if not live.made < len(names) < job.request.count:
            return
        live.job, live.made = job, len(names)
        if not _is_hidden(job):
            try:
                sheet = await self._services.pictures.sheet(names)
            except UserError as error:
                log.debug("job %s: its pictures cannot be shown: %s", job_id, error)
            else:
                if live.made == len(names):
                    live.preview = sheet
                    live.progress = replace(live.progress, preview=f"{cards.PREVIEW_NAME}.jpg")
        live.changed = True
        self._work.set()

    def _find(self, job_id: str) -> None:
        """An event of a job that is not followed: one that an earlier process left, perhaps."""
        if job_id not in self._looked_up and job_id not in self._answering:
            self._spawn(self._look_up(job_id))

    async def _look_up(self, job_id: str) -> None:
        if job_id in self._looked_up or job_id in self._live:
            return
        self._looked_up.add(job_id)
        job = await self._services.jobs.get(job_id)
        if job is None or job.state not in _SHOWN or job_id in self._answering:
            return
        if job.card is None:
            if job.created_at >= self.started_at:
                # Its interaction is being answered by this process.
                self._looked_up.discard(job_id)
                return
            parts = cards.in_progress(job, cards.Progress(), self._services.catalogue)
            card = await self.recover(job, parts) or await self.new_card(job, cards.Progress())
            await self._services.outbox.set_card(job_id, card)
        await self.follow(job_id, cards.Progress())

    # Editing.

    async def _keep_editing(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._work.wait()
            self._work.clear()
            soonest: float | None = None
            if self._queue_moved:
                soonest = max(0.0, self._next_look - self._clock()) or None
                if soonest is None:
                    self._queue_moved = False
                    self._next_look = self._clock() + LOOK_SECONDS
                    await self._move_queue()
            for live in list(self._live.values()):
                if not live.changed or live.editing is not None:
                    continue
                wait = live.not_before - self._clock()
                if wait <= 0:
                    wait = self._budget.take(live.card.channel_id, live.card.message_id)
                if wait > 0:
                    soonest = wait if soonest is None else min(soonest, wait)
                    continue
                live.changed = False
                # Who was edited goes to the end of the row.
                self._live[live.job.id] = self._live.pop(live.job.id)
                live.editing = self._spawn(self._edit(live))
            if soonest is not None:
                loop.call_later(soonest, self._work.set)

    async def _move_queue(self) -> None:
        waiting = {job_id for job_id, live in self._live.items() if live.job.state in WAITING}
        if not waiting:
            return
        for standing in await self._services.queue.line():
            live = self._live.get(standing.job_id)
            if live is None or live.job.state not in WAITING:
                continue
            shown = live.progress
            is_held, was_held = standing.wait_seconds is None, shown.wait_seconds is None
            if shown.position == standing.position and is_held == was_held:
                continue
            live.progress = cards.Progress(position=standing.position, wait_seconds=standing.wait_seconds)
            live.changed = True

    async def _edit(self, live: _Live) -> None:
        leaving = live.leaving
        parts = cards.in_progress(live.job, replace(live.progress, leaving=leaving), self._services.catalogue)
        files = []
        if live.preview is not None and live.progress.preview is not None:
            files.append(discord.File(io.BytesIO(live.preview), live.progress.preview))
        try:
            await message_of(self._client, live.job, live.card).edit(
                embed=parts.embed, view=parts.view, attachments=files
            )
        except NETWORK_ERRORS as error:
            log.debug("job %s: a progress edit is dropped: %s", live.job.id, error)
            if isinstance(error, discord.HTTPException) and error.code in TOO_LATE:
                # Somebody deleted the card, or its interaction is over. The result still comes.
                self._give_up(live)
        else:
            if leaving:
                self._give_up(live)
        finally:
            live.editing = None
            if live.changed:
                self._work.set()

    # Small things.

    def _give_up(self, live: _Live) -> None:
        """The card stays as it is, whatever happens to the job."""
        self._looked_up.add(live.job.id)
        if self._live.get(live.job.id) is live:
            del self._live[live.job.id]

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a card is not kept up to date any more", exc_info=error)


async def _forever(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Cards are a courtesy: what breaks in one round is logged, and the next begins."""
    while True:
        try:
            await work()
        except Exception:
            log.exception("cards were not kept up to date for a moment")
        await asyncio.sleep(PAUSE_SECONDS)


def _is_hidden(job: Job) -> bool:
    return job.request.spoiler or job.request.adult
