"""Quotas: who may use how much of what in which window of time."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo

BUCKET_SECONDS = 900
"""Usage is summed in quarters of an hour: every time zone's midnight falls on one."""


class Unit(StrEnum):
    """What is counted; amounts are always whole numbers of the smallest part."""

    IMAGES = "images"
    GPU_SECONDS = "gpu-seconds"
    """Counted in milliseconds."""
    MONEY = "money"
    """Counted in micro-dollars."""


class Window(StrEnum):
    """The time over which usage is summed. An hour rolls; the others follow the server's calendar."""

    HOUR = "hour"
    DAY = "day"
    WEEK = "week"
    MONTH = "month"


class Subject(StrEnum):
    """Whom a rule speaks of."""

    GUILD = "guild"
    CHANNEL = "channel"
    ROLE = "role"
    MEMBER = "member"
    EVERY_MEMBER = "every-member"
    """Each member by themselves: the default that a role's or a member's own rule overrides."""
    OPERATOR = "operator"
    """All guilds together: the operator's own purse."""


@dataclass(frozen=True, slots=True)
class Rule:
    """At most ``limit`` of ``unit`` per ``window`` for the subject. A limit of 0 forbids."""

    id: int
    """0 for a rule that stands in the settings, not in the database."""
    guild_id: int
    subject: Subject
    subject_id: int
    """The snowflake of the guild, channel, role or member; 0 for every member and for the operator."""
    unit: Unit
    window: Window
    limit: int


@dataclass(frozen=True, slots=True)
class Usage:
    """What a rule's subject has used in the window that holds now."""

    rule: Rule
    used: int
    held: int
    """Reserved by jobs that are not over."""
    granted: int
    """Given on top of the limit for this window."""
    resets_at: datetime | None
    """When the window ends; for a rolling window, when the oldest usage leaves it (None: nothing is used)."""

    @property
    def allowed(self) -> int:
        """The limit with what was granted on top."""
        return self.rule.limit + self.granted

    @property
    def left(self) -> int:
        """What may still be reserved."""
        return max(0, self.allowed - self.used - self.held)


@dataclass(frozen=True, slots=True)
class Amounts:
    """How much a job takes of each unit."""

    images: int = 0
    gpu_milliseconds: int = 0
    micro_usd: int = 0

    def of(self, unit: Unit) -> int:
        """The amount in the unit's smallest part."""
        match unit:
            case Unit.IMAGES:
                return self.images
            case Unit.GPU_SECONDS:
                return self.gpu_milliseconds
            case Unit.MONEY:
                return self.micro_usd


def window_start(window: Window, now: datetime, zone: ZoneInfo) -> datetime:
    """The moment (UTC) at which the window that holds ``now`` began.

    A day begins at the zone's midnight (or at the first moment after it, where clocks skip midnight), a week
    on Monday, a month on its first day. An hour is the last sixty minutes, widened to whole buckets.
    """
    if window is Window.HOUR:
        epoch = int(now.timestamp()) - 3600
        return datetime.fromtimestamp(epoch - epoch % BUCKET_SECONDS, UTC)
    return _midnight(_first_day(window, now.astimezone(zone)), zone)


def window_end(window: Window, now: datetime, zone: ZoneInfo) -> datetime | None:
    """The moment (UTC) at which a calendar window ends; None for the rolling hour."""
    if window is Window.HOUR:
        return None
    first = _first_day(window, now.astimezone(zone))
    if window is Window.DAY:
        following = first + timedelta(days=1)
    elif window is Window.WEEK:
        following = first + timedelta(days=7)
    else:
        following = (first.replace(day=1) + timedelta(days=32)).replace(day=1)
    return _midnight(following, zone)


def bucket(moment: datetime) -> int:
    """The number of the quarter of an hour that holds the moment, counted from the epoch."""
    return int(moment.timestamp()) // BUCKET_SECONDS


def _first_day(window: Window, local: datetime) -> datetime:
    day = datetime(local.year, local.month, local.day)  # noqa: DTZ001 (a calendar date, placed in the zone later)
    if window is Window.WEEK:
        return day - timedelta(days=day.weekday())
    if window is Window.MONTH:
        return day.replace(day=1)
    return day


def _midnight(day: datetime, zone: ZoneInfo) -> datetime:
    # Where the clocks skip midnight, fold=0 maps it to the first moment after the gap; where they repeat it,
    # fold=0 is the first of the two: the day begins there.
    return day.replace(tzinfo=zone, fold=0).astimezone(UTC)
