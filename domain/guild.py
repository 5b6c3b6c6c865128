"""What a server's admins can set besides quota rules, and the record of what they did."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Final
from zoneinfo import ZoneInfo

from pydantic import Field
from pydantic.dataclasses import dataclass as validated

from domain.request import MAX_COUNT, Size

MAX_COOLDOWN_SECONDS: Final = 86_400
MIN_WEIGHT: Final = 0.1
MAX_WEIGHT: Final = 10.0
MAX_BLOCKED_WORD: Final = 60
"""Characters of a word or phrase that is blocked."""
MAX_BLOCKED_WORDS: Final = 200
MAX_BLOCKED_PATTERNS: Final = 50
OUTSIDE: Final = -1
"""Stands for everywhere outside the servers that have the bot: its own conversations, and where a person's account
brings it. For quotas and the fair order, all of these together are like one server; no guild of Discord's has this id.
"""
_UTC: Final = ZoneInfo("UTC")

_Names = Annotated[tuple[str, ...], Field(min_length=1)]
_Snowflakes = Annotated[tuple[int, ...], Field(min_length=1)]


class Policy(StrEnum):
    """Which of several offers that can make a picture is taken."""

    ORDER = "order"
    """The first in the operator's order of backends."""
    CHEAPEST = "cheapest"
    FASTEST = "fastest"


class NsfwPolicy(StrEnum):
    """What becomes of pictures that a safety check marks as not safe for work."""

    OFF = "off"
    """They are posted nowhere."""
    AGE_RESTRICTED = "age-restricted"
    """They are posted in age-restricted channels, and nowhere else."""
    SPOILER = "spoiler"
    """The same, behind a spoiler."""


@validated(frozen=True)
class GuildSettings:
    """One server's settings. The defaults are those of a server that nobody has set anything for.

    ``dataclasses.replace`` makes a changed copy, validated again. ``None`` says "as the operator has it" or "all".
    """

    time_zone: ZoneInfo = _UTC
    """In which days, weeks and months begin."""
    cooldown_seconds: Annotated[int, Field(ge=0, le=MAX_COOLDOWN_SECONDS)] = 0
    """How long a member waits between two jobs; 0: not at all."""
    paused: bool = False
    """Nothing new is admitted."""
    log_channel_id: int | None = None
    """Where admins' changes are posted."""
    confirm_above: Annotated[int, Field(ge=0)] | None = None
    """Micro-dollars that a job may cost without asking first, where that is less than the operator says."""
    max_queued_per_user: Annotated[int, Field(ge=1)] | None = None
    """Jobs that a member may have waiting or under way here, where that is fewer than the operator says."""
    max_running_per_user: Annotated[int, Field(ge=1)] | None = None
    """Of these, jobs under way at a time."""
    max_queued: Annotated[int, Field(ge=1)] | None = None
    """Jobs that may wait in the whole server."""
    policy: Policy = Policy.ORDER
    allowed_backends: _Names | None = None
    spill_to_paid: bool = False
    """Whether a job goes to an offer that costs money while one that costs nothing is merely busy."""
    allowed_models: _Names | None = None
    """Keys of the catalogue's models; those that it does not have (any more) allow nothing."""
    imagine_model: str | None = None
    """The model of /imagine where none is named."""
    edit_model: str | None = None
    """The model of /edit where none is named."""
    max_size: Size | None = None
    """Pictures have no more pixels than this one; their shape is free."""
    max_count: Annotated[int, Field(ge=1, le=MAX_COUNT)] = MAX_COUNT
    """Pictures a job."""
    speed: str | None = None
    """The speed where none is named."""
    private_results: bool = False
    """Cards and pictures are shown to who asked for them, and to nobody else."""
    nsfw: NsfwPolicy = NsfwPolicy.OFF
    channels: _Snowflakes | None = None
    """Channels (with their threads, or categories with their channels) in which pictures can be asked for."""
    roles: _Snowflakes | None = None
    """Who may ask for pictures: members with one of these roles."""
    language: Annotated[str, Field(min_length=2, max_length=10)] | None = None
    """A locale as Discord names them; None: that of each member, and the server's for what all can see."""
    gallery: bool = True
    """Whether the server has a gallery of what its members made."""


class Action(StrEnum):
    """What an admin can do; each is recorded."""

    RULE_SET = "rule_set"
    RULE_REMOVED = "rule_removed"
    GRANTED = "granted"
    EXEMPTED = "exempted"
    EXEMPTION_ENDED = "exemption_ended"
    TIME_ZONE_SET = "time_zone_set"
    COOLDOWN_SET = "cooldown_set"
    LOG_CHANNEL_SET = "log_channel_set"
    SETTINGS_CHANGED = "settings_changed"
    BLOCKED = "blocked"
    UNBLOCKED = "unblocked"
    BANNED = "banned"
    UNBANNED = "unbanned"
    WEIGHT_SET = "weight_set"
    CAPS_SET = "caps_set"
    CONFIRM_SET = "confirm_set"
    CORRECTED = "corrected"
    """By the operator: what a lost call really cost."""
    PAUSED = "paused"
    RESUMED = "resumed"
    EXPORTED = "exported"


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One thing that an admin did."""

    at: int
    """Milliseconds since the epoch."""
    guild_id: int
    author_id: int
    action: Action
    details: Mapping[str, str | int | float]
