"""A job, its tasks, and the table of legal edges between their states.

A job has one to four tasks, one a picture. ``EDGES`` is the whole truth about what may follow what: the store
refuses any other transition, and the crash tests walk the table.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Self

from domain.errors import Code, EaselError, Parameter
from domain.guild import OUTSIDE
from domain.language import Language
from domain.money import MicroUSD
from domain.request import ImageRequest

MAX_STARTS = 3
"""A job is started at most this often; the count is raised before each start."""
MAX_WORKER_DEATHS = 2
"""A job that was running at this many worker deaths fails: it is probably what kills them."""


class JobState(StrEnum):
    """Where a job is on the road."""

    QUEUED = "queued"
    SUBMITTING = "submitting"
    """A paid call may be under way: written before the first byte is sent."""
    ACCEPTED = "accepted"
    """The provider has the job; its remote ids are stored."""
    RUNNING = "running"
    FINISHED = "finished"
    """Every task is over, at least one picture is on disk, quotas are settled."""
    POSTING = "posting"
    POSTED = "posted"
    FAILED = "failed"
    CANCELLED = "cancelled"
    UNKNOWN = "unknown"
    """A paid call whose outcome nobody can tell. Never sent again."""
    UNDELIVERABLE = "undeliverable"
    """The pictures exist but neither the channel nor the person can be reached."""


EDGES: Mapping[JobState, frozenset[JobState]] = {
    JobState.QUEUED: frozenset({JobState.SUBMITTING, JobState.RUNNING, JobState.CANCELLED, JobState.FAILED}),
    JobState.SUBMITTING: frozenset(
        {JobState.ACCEPTED, JobState.QUEUED, JobState.FINISHED, JobState.FAILED, JobState.UNKNOWN}
    ),
    JobState.ACCEPTED: frozenset(
        {JobState.RUNNING, JobState.FINISHED, JobState.FAILED, JobState.CANCELLED, JobState.UNKNOWN}
    ),
    JobState.RUNNING: frozenset(
        {JobState.FINISHED, JobState.QUEUED, JobState.FAILED, JobState.CANCELLED, JobState.UNKNOWN}
    ),
    JobState.FINISHED: frozenset({JobState.POSTING}),
    JobState.POSTING: frozenset({JobState.POSTED, JobState.UNDELIVERABLE}),
    JobState.POSTED: frozenset(),
    JobState.FAILED: frozenset(),
    JobState.CANCELLED: frozenset(),
    JobState.UNKNOWN: frozenset(),
    JobState.UNDELIVERABLE: frozenset(),
}

WAITING = frozenset({JobState.QUEUED})
UNDER_WAY = frozenset({JobState.SUBMITTING, JobState.ACCEPTED, JobState.RUNNING})
WITHOUT_PICTURE = frozenset({JobState.FAILED, JobState.CANCELLED, JobState.UNKNOWN})
"""Over, and the person has to be told on the card."""


class TaskState(StrEnum):
    """Where one picture of a job is."""

    PENDING = "pending"
    SUBMITTING = "submitting"
    ACCEPTED = "accepted"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"
    UNKNOWN = "unknown"


TASK_OVER = frozenset({TaskState.DONE, TaskState.FAILED, TaskState.CANCELLED, TaskState.UNKNOWN})


@dataclass(frozen=True, slots=True)
class Failure:
    """A code and its parameters, as stored with a job or a task."""

    code: Code
    parameters: Mapping[str, Parameter] = field(default_factory=dict)

    @classmethod
    def of(cls, error: EaselError) -> Self:
        """What the error says, without its kind."""
        return cls(error.code, error.parameters)


@dataclass(frozen=True, slots=True)
class Place:
    """Where on Discord a job belongs and who asked for it. All are snowflakes."""

    guild_id: int
    """``domain.guild.OUTSIDE`` where no server of the bot's is."""
    channel_id: int
    user_id: int

    @property
    def is_outside(self) -> bool:
        """It is in no server that has the bot."""
        return self.guild_id == OUTSIDE

    @property
    def server_id(self) -> int | None:
        """The guild as Discord knows it; None outside."""
        return None if self.is_outside else self.guild_id


@dataclass(frozen=True, slots=True)
class Card:
    """The message on which progress is shown."""

    channel_id: int
    message_id: int


@dataclass(frozen=True, slots=True)
class Answer:
    """What it takes to reach the interaction's own response while its token lives (15 minutes)."""

    application_id: int
    token: str = field(repr=False)
    expires_at: int
    """Milliseconds since the epoch."""


@dataclass(frozen=True, slots=True)
class StoredPicture:
    """A picture of ours on disk."""

    name: str
    """File name inside the pictures folder."""
    width: int
    height: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Task:
    """One picture of a job."""

    index: int
    seed: int
    state: TaskState = TaskState.PENDING
    remote_id: str | None = None
    picture: StoredPicture | None = None
    seconds: float | None = None
    """Time that the backend took for this picture."""
    cost: MicroUSD | None = None
    flagged: bool = False
    """The provider marked the picture as not safe for work."""
    failure: Failure | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """A job as it stands in the database."""

    id: str
    request: ImageRequest
    place: Place
    state: JobState
    tasks: tuple[Task, ...]
    offers: tuple[str, ...]
    """Keys of the offers that intake allowed (reserved for), in order of preference."""
    created_at: int
    """Milliseconds since the epoch."""
    estimated_seconds: float
    offer: str | None = None
    """Key of the offer that the job was last started on."""
    reason: str | None = None
    """Why that offer: a code of ``backends.selector.Reason``."""
    turned_down: Mapping[str, Failure] = field(default_factory=dict)
    """Keys of the offers that definitely did not take the job, and why; they are not asked again."""
    parent_id: str | None = None
    starts: int = 0
    worker_deaths: int = 0
    started_at: int | None = None
    finished_at: int | None = None
    card: Card | None = None
    answer: Answer | None = None
    result: Card | None = None
    """The message that carries the pictures."""
    failure: Failure | None = None
    told: bool = False
    """A job that ended without a picture: the person has read so."""
    language: Language = Language.ENGLISH
    """Of the job's messages; chosen when it came in."""

    @property
    def pictures(self) -> tuple[StoredPicture, ...]:
        """The pictures that were made, in order."""
        return tuple(task.picture for task in self.tasks if task.picture is not None)

    @property
    def through_interaction(self) -> bool:
        """Its messages are reached through its interaction alone, and directly once that is over."""
        return self.request.private or self.request.visiting

    @property
    def link(self) -> str | None:
        """The address of the result; None where there is none, or in a place that the bot can't name."""
        if self.result is None:
            return None
        where = f"{self.result.channel_id}/{self.result.message_id}"
        if self.result.channel_id != self.place.channel_id or (self.place.is_outside and not self.request.visiting):
            return f"https://discord.com/channels/@me/{where}"
        return None if self.request.visiting else f"https://discord.com/channels/{self.place.guild_id}/{where}"

    @property
    def cost(self) -> MicroUSD:
        """What the pictures cost, as far as it is known."""
        return MicroUSD(sum(task.cost or 0 for task in self.tasks))

    @property
    def seconds(self) -> float | None:
        """Seconds that the backend took for the whole job, or None where none was measured."""
        measured = [task.seconds for task in self.tasks if task.seconds is not None]
        return sum(measured) if measured else None
