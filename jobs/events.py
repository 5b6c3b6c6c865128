"""What happens to jobs, as a stream that any number of listeners can follow.

Nothing in the stream is needed for correctness: every state is in the database first. So a listener that lags
loses the oldest events rather than slowing a job down.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from domain.job import JobState

BACKLOG = 10_000
"""Events that a listener may lag behind."""


@dataclass(frozen=True, slots=True)
class StateChanged:
    """The job is now in this state; committed."""

    job_id: str
    state: JobState


@dataclass(frozen=True, slots=True)
class ModelLoading:
    """The job waits for its model; ``seconds`` is an estimate of what remains."""

    job_id: str
    seconds: float


@dataclass(frozen=True, slots=True)
class StepDone:
    """Denoising step ``step`` of ``steps`` is done for picture ``index``."""

    job_id: str
    index: int
    step: int
    steps: int


@dataclass(frozen=True, slots=True)
class PreviewReady:
    """What picture ``index`` looks like so far."""

    job_id: str
    index: int
    data: bytes
    media_type: str


@dataclass(frozen=True, slots=True)
class PictureMade:
    """Picture ``index`` is on disk, under this name."""

    job_id: str
    index: int
    name: str


@dataclass(frozen=True, slots=True)
class QueueMoved:
    """A job was started or left the queue: every place in line may have changed."""


JobEvent = StateChanged | ModelLoading | StepDone | PreviewReady | PictureMade | QueueMoved


class EventStream:
    """Publishes to all listeners at once; never waits."""

    def __init__(self) -> None:
        self._listeners: set[_Listener] = set()

    def publish(self, event: JobEvent) -> None:
        """Hand the event to every listener."""
        for listener in self._listeners:
            listener.put(event)

    @contextmanager
    def listen(self) -> Iterator[AsyncIterator[JobEvent]]:
        """Events from now on, until the block ends."""
        listener = _Listener()
        self._listeners.add(listener)
        try:
            yield listener
        finally:
            self._listeners.discard(listener)


class _Listener(AsyncIterator[JobEvent]):
    def __init__(self) -> None:
        self._events: deque[JobEvent] = deque(maxlen=BACKLOG)
        self._arrived = asyncio.Event()

    def put(self, event: JobEvent) -> None:
        self._events.append(event)
        self._arrived.set()

    async def __anext__(self) -> JobEvent:
        while not self._events:
            self._arrived.clear()
            await self._arrived.wait()
        return self._events.popleft()
