"""What every image maker can do, and how it says what happened.

A backend turns one ``Call`` into a stream of events. The dispatcher handles each event before it asks for the
next: when ``Accepted`` arrives, the remote id is on disk before the backend goes on. Closing the stream
(``aclose``) cancels what cannot be resumed; ``Cancelling`` gives up the rest.

How a call can end is the heart of "never charged twice"; each way is an exception of its own:

=====================  ==========================  =============================================
ended with             was anything accepted?      what the dispatcher does
=====================  ==========================  =============================================
(the stream's end)     yes, and it is done         keeps the pictures
``RequestRefused``     no, the request is at fault  the task fails
``BackendUnavailable`` no, the backend is at fault  the job goes back to the queue
``BackendFailed``      yes, then it failed         the task fails; the vendor refunds
``WorkerDied``         yes, but it is gone, free   the job runs again, at most twice
``OutcomeUnknown``     nobody can tell             the task is unknown; never sent again
=====================  ==========================  =============================================
"""

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Protocol, runtime_checkable

from config.catalogue import Offer
from domain.errors import EaselError
from domain.job import Failure
from domain.money import FREE, MicroUSD
from domain.request import ImageRequest


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture to make: its number in the job and its seed."""

    index: int
    seed: int
    submission_id: str
    """A UUIDv4 stored before sending, for providers with an idempotency key."""


@dataclass(frozen=True, slots=True)
class Call:
    """One request to a backend for one or more pictures of a job."""

    job_id: str
    offer: Offer
    request: ImageRequest
    pictures: tuple[Picture, ...]
    source: Path | None
    """The input picture on disk, already checked and free of metadata."""
    references: tuple[Path, ...] = field(default=(), kw_only=True)
    """Further input pictures, as clean."""
    workspace: Path
    """An existing folder for the files that the backend writes; it is removed after the call."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """The provider has the work for these pictures, under this id."""

    indexes: tuple[int, ...]
    remote_id: str


@dataclass(frozen=True, slots=True)
class Loading:
    """The model is being loaded; ``seconds`` is an estimate of what remains."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Working:
    """The provider has begun, without a count of steps."""


@dataclass(frozen=True, slots=True)
class Progress:
    """Denoising step ``step`` of ``steps`` (1-based) is done for picture ``index``."""

    index: int
    step: int
    steps: int


@dataclass(frozen=True, slots=True)
class Preview:
    """What picture ``index`` looks like so far: a small encoded picture."""

    index: int
    data: bytes
    media_type: str


@dataclass(frozen=True, slots=True)
class Made:
    """Picture ``index`` is done and lies, unchecked, in a file inside the call's workspace."""

    index: int
    path: Path
    seconds: float | None = None
    """Time that the backend took for it."""
    cost: MicroUSD | None = None
    """What the vendor says it charged; None where it does not say."""
    seed: int | None = None
    """The seed that the vendor says it used, where that differs from what was asked."""
    flagged: bool = False
    """The provider marked it as not safe for work."""


@dataclass(frozen=True, slots=True)
class PictureFailed:
    """Picture ``index`` of a call for several failed; the others go on."""

    index: int
    failure: Failure
    cost: MicroUSD = FREE
    """What the vendor keeps all the same."""


Event = Accepted | Loading | Working | Progress | Preview | Made | PictureFailed
Events = AsyncGenerator[Event, None]


class CallEnded(Exception):
    """Base of the ways in which a call can end without its pictures. ``error`` is what people read."""

    def __init__(self, error: EaselError) -> None:
        super().__init__(str(error))
        self.error = error


class RequestRefused(CallEnded):
    """Definitely not accepted, and sending it again would not help: the request itself is at fault."""


class BackendUnavailable(CallEnded):
    """Definitely not accepted, through no fault of the request: it may be sent again, here or elsewhere.

    ``retry_after`` is in seconds: how long this backend asks (or deserves) to be left alone.
    """

    def __init__(self, error: EaselError, retry_after: float = 5.0) -> None:
        super().__init__(error)
        self.retry_after = retry_after


class BackendFailed(CallEnded):
    """Accepted, and then failed for good. Vendors refund such calls.

    ``cost`` is what the vendor keeps all the same: it made a picture that could not be fetched.
    """

    def __init__(self, error: EaselError, cost: MicroUSD = FREE) -> None:
        super().__init__(error)
        self.cost = cost


class WorkerDied(CallEnded):
    """Our own worker was lost with the call; it costs nothing to run it again."""


class OutcomeUnknown(CallEnded):
    """The call may have been accepted: the answer to a paid submit was lost."""


class HealthState(StrEnum):
    """How a backend is."""

    UP = "up"
    LOADING = "loading"
    """Takes calls, but they wait until the weights are there."""
    DOWN = "down"


@dataclass(frozen=True, slots=True)
class Lookups:
    """How often a cache was asked since its process began."""

    hits: int
    misses: int


@dataclass(frozen=True, slots=True)
class Figures:
    """What a machine of our own tells about itself."""

    memory_used_bytes: int
    """Of the GPU, or of the process where there is none."""
    memory_total_bytes: int
    caches: Mapping[str, Lookups]
    """By the cache's name."""
    busy_seconds: float = 0.0
    """Spent on jobs since its process began."""


@dataclass(frozen=True, slots=True)
class Health:
    """What is known of a backend now."""

    state: HealthState
    slots: int
    """Calls that it can work on at the same time."""
    problem: Failure | None = None
    """Why it is down, for the operator."""
    loading_seconds: float | None = None
    """While loading: an estimate of what remains."""
    detail: str = ""
    """One line for the operator: a version, a balance, a device."""
    version: str = ""
    """With the same one, the same seed gives the same pixels; empty where that is not promised."""
    models: frozenset[str] | None = None
    """Keys of the catalogue's models that it has; None where it does not say."""
    loras: tuple[str, ...] = ()
    """Names of the LoRAs in its folder, where it has one."""
    figures: Figures | None = None
    """Where it tells."""
    replicas: Mapping[str, Figures] = field(default_factory=dict)
    """Where several machines are one backend: the figures of each, by its number."""
    loaded: frozenset[str] | None = None
    """Those of them that are in its memory; None where it does not say."""


class Backend(Protocol):
    """An image maker."""

    @property
    def key(self) -> str:
        """Its name in ``EASEL_BACKENDS`` and in the catalogue's offers."""
        ...

    @property
    def resumes(self) -> bool:
        """Accepted calls outlive us: ``resume`` finds them by their remote id after a restart."""
        ...

    @property
    def repeatable_submit(self) -> bool:
        """The submission id is an idempotency key: a submit whose answer was lost may be sent again."""
        ...

    def run(self, call: Call) -> Events:
        """Submit the call and follow it to its end. Raises a ``CallEnded`` from the stream."""
        ...

    def resume(self, call: Call, remote_id: str) -> Events:
        """Follow a call that was accepted earlier. Raises a ``CallEnded`` from the stream."""
        ...

    async def health(self) -> Health:
        """Ask how it is; never raises for a backend that is merely down."""
        ...

    async def aclose(self) -> None:
        """Close connections and child processes."""
        ...


@runtime_checkable
class Cancelling(Protocol):
    """An image maker that can give up accepted work.

    Closing a stream does not do that where accepted calls outlive us: the next process may go on with them.
    """

    async def cancel(self, remote_id: str) -> None:
        """Nobody wants it any more: give it up as far as that is possible. Never raises."""
        ...
