"""The worker's own short queue: one job computes, a few wait, each follows its own events."""

import asyncio
import base64
import contextlib
import io
import logging
import os
import secrets
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final

from PIL import Image

from backends.worker.engine.interface import Cancelled, Engine, MakeEngine, Painted, Preview, WarmsUp
from backends.worker.protocol import (
    ErrorEvent,
    JobBody,
    JobEvent,
    LoadingEvent,
    PictureEvent,
    PreviewEvent,
    QueuedEvent,
    StartedEvent,
    StepEvent,
)
from config.logs import bind_job
from domain.errors import Code, EaselError, InternalError, OperatorError, UserError

log = logging.getLogger(__name__)

LOADING_NEWS_SECONDS: Final = 2.0
"""Between two estimates while models are loading."""
READ_BYTES_PER_SECOND: Final = 1.5e9
"""How fast weights come from a disk that is not cold (an ordinary NVMe drive); for the estimate alone."""


class QueueFull(Exception):
    """So many jobs wait that another one would be kept waiting for nothing."""


def error_event(error: EaselError) -> ErrorEvent:
    """An error as it travels."""
    match error:
        case UserError():
            return ErrorEvent(at_fault="request", code=error.code, parameters=error.parameters)
        case OperatorError():
            return ErrorEvent(at_fault="operator", code=error.code, parameters=error.parameters)
        case _:
            return ErrorEvent(at_fault="worker", code=error.code, parameters=error.parameters)


@dataclass(eq=False)
class Job:
    """One picture to make, and what is told about it. Events are put in on the event loop only."""

    body: JobBody
    source: Image.Image | None
    events: "asyncio.Queue[JobEvent | None]" = field(default_factory=asyncio.Queue)
    """None comes after the last event."""
    cancelled: threading.Event = field(default_factory=threading.Event)

    async def follow(self) -> AsyncIterator[JobEvent]:
        """Every event, until the job is over."""
        while (event := await self.events.get()) is not None:
            yield event


class _Watch:
    """Carries news from the engine's thread to the event loop."""

    def __init__(self, job: Job, loop: asyncio.AbstractEventLoop) -> None:
        self._job = job
        self._loop = loop

    def step(self, step: int, steps: int) -> None:
        if self._job.cancelled.is_set():
            raise Cancelled
        self._tell(StepEvent(step=step, steps=steps))

    def preview(self, preview: Preview) -> None:
        data = base64.b64encode(preview.data).decode("ascii")
        self._tell(PreviewEvent(media_type=preview.media_type, data=data))

    def _tell(self, event: JobEvent) -> None:
        self._loop.call_soon_threadsafe(self._job.events.put_nowait, event)


class JobQueue:
    """Runs jobs one at a time on the engine's thread; the event loop stays free."""

    def __init__(
        self,
        make_engine: MakeEngine,
        weights_bytes: int,
        max_waiting: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``weights_bytes``: how much there is to load, for the estimate. ``max_waiting``: jobs behind the one
        that computes. ``clock``: seconds, for the estimate."""
        self._clock = clock
        self._make_engine = make_engine
        self._expected_seconds = 5 + weights_bytes / READ_BYTES_PER_SECOND
        self._max_waiting = max_waiting
        self._waiting: deque[Job] = deque()
        self.running: Job | None = None
        """The job that computes."""
        self._arrived = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, "engine")
        self._deliveries: set[asyncio.Task[None]] = set()
        self._started = clock()
        self.busy_seconds = 0.0
        """Spent on jobs that are over."""
        self.engine: Engine | None = None
        """None until torch is there."""
        self.loading = True

    @property
    def waiting(self) -> int:
        """Jobs that wait."""
        return len(self._waiting)

    @property
    def busy(self) -> int:
        """Jobs that compute: 0 or 1."""
        return int(self.running is not None)

    @property
    def loading_seconds(self) -> float:
        """An estimate of what remains until the first job: weights to read, and what is compiled for them then.

        What takes longer than expected is expected to take a tenth longer still, and never to be done in a moment.
        """
        expected = self._expected_seconds
        if isinstance(self.engine, WarmsUp):
            expected += self.engine.warm_up_seconds
        taken = self._clock() - self._started
        return max(1.0, round(expected - taken if taken < expected else taken / 10, 1))

    def submit(self, job: Job) -> None:
        """Take a job in. Raises QueueFull."""
        if len(self._waiting) >= self._max_waiting:
            raise QueueFull
        self._waiting.append(job)
        if self.loading:
            job.events.put_nowait(LoadingEvent(seconds=self.loading_seconds))
        elif ahead := len(self._waiting) - 1 + self.busy:
            job.events.put_nowait(QueuedEvent(ahead=ahead))
        self._arrived.set()

    def cancel(self, job: Job) -> None:
        """Forget a job that waits; end one that computes at its next step. Does nothing for one that is over."""
        job.cancelled.set()
        if job in self._waiting:
            self._waiting.remove(job)
            self._tell_places()

    async def run(self) -> None:
        """Load the models, then work until cancelled. A running job is cancelled with it and waited for."""
        try:
            await self._load()
            while True:
                await self._arrived.wait()
                if not self._waiting:
                    self._arrived.clear()
                    continue
                await self._work_on(self._waiting.popleft())
        finally:
            # A step under way can't be cut short; the loop meanwhile closes connections. Loading is not waited for.
            await asyncio.to_thread(self._thread.shutdown, wait=not self.loading, cancel_futures=True)

    async def _load(self) -> None:
        loop = asyncio.get_running_loop()

        def load() -> None:
            self.engine = self._make_engine()
            self.engine.load()

        done = loop.run_in_executor(self._thread, load)
        while not (await asyncio.wait({done}, timeout=LOADING_NEWS_SECONDS))[0]:
            for job in self._waiting:
                job.events.put_nowait(LoadingEvent(seconds=self.loading_seconds))
        done.result()
        self.loading = False

    def _tell_places(self) -> None:
        if not self.loading:
            for place, job in enumerate(self._waiting):
                job.events.put_nowait(QueuedEvent(ahead=place + self.busy))

    async def _work_on(self, job: Job) -> None:
        self.running = job
        self._tell_places()
        job.events.put_nowait(StartedEvent())
        loop = asyncio.get_running_loop()
        began = time.monotonic()
        try:
            made = await loop.run_in_executor(self._thread, self._make, job, _Watch(job, loop))
        except asyncio.CancelledError:
            job.cancelled.set()
            raise
        finally:
            self.running = None
            self.busy_seconds += time.monotonic() - began
        # The picture's file is made beside the next job, not before it.
        delivery = loop.create_task(_deliver(job, made))
        self._deliveries.add(delivery)
        delivery.add_done_callback(self._deliveries.discard)

    def _make(self, job: Job, watch: _Watch) -> Painted | ErrorEvent | None:
        """On the engine's thread. None: cancelled."""
        assert self.engine is not None
        if job.cancelled.is_set():
            return None
        bind_job(job.body.job_id, (job.body.prompt, job.body.negative_prompt))
        try:
            return self.engine.make(job.body, job.source, watch)
        except Cancelled:
            return None
        except EaselError as error:
            log.warning("job %s failed: %s", job.body.job_id, error)
            return error_event(error)
        except Exception as error:
            incident = secrets.token_hex(4)
            log.exception("job %s failed unexpectedly (%s)", job.body.job_id, incident)
            if type(error).__name__ == "AcceleratorError":
                # After a CUDA error nothing works in this process any more: whoever started it starts another.
                os._exit(70)
            return error_event(InternalError(Code.UNEXPECTED, incident=incident))


async def _deliver(job: Job, made: Painted | ErrorEvent | None) -> None:
    if isinstance(made, Painted):
        job.events.put_nowait(await asyncio.to_thread(_picture_event, made))
    elif made is not None:
        job.events.put_nowait(made)
    job.events.put_nowait(None)


def _picture_event(painted: Painted) -> PictureEvent:
    file = io.BytesIO()
    # Level 1 is several times faster than the default for about a tenth more bytes; the bot encodes it again.
    painted.image.save(file, "PNG", compress_level=1)
    return PictureEvent(
        width=painted.image.width,
        height=painted.image.height,
        seconds=round(painted.seconds, 3),
        data=base64.b64encode(file.getvalue()).decode("ascii"),
    )


@contextlib.asynccontextmanager
async def working(queue: JobQueue) -> AsyncIterator[None]:
    """Let the queue work for the length of the block."""
    task = asyncio.create_task(queue.run())
    task.add_done_callback(_end_if_broken)
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def _end_if_broken(task: "asyncio.Task[None]") -> None:
    """A worker that cannot work must not look alive."""
    if not task.cancelled() and (error := task.exception()) is not None:
        log.critical("the worker cannot go on", exc_info=error)
        os._exit(70)
