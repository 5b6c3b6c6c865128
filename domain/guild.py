"""What a server's admins can set besides quota rules, and the record of what they did."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final
from zoneinfo import ZoneInfo

MAX_COOLDOWN_SECONDS: Final = 86_400
MIN_WEIGHT: Final = 0.1
MAX_WEIGHT: Final = 10.0


@dataclass(frozen=True, slots=True)
class GuildSettings:
    """One server's settings. The defaults are those of a server that nobody has set anything for."""

    time_zone: ZoneInfo = field(default_factory=lambda: ZoneInfo("UTC"))
    """In which days, weeks and months begin."""
    cooldown_seconds: int = 0
    """How long a member waits between two jobs; 0: not at all."""
    paused: bool = False
    """Nothing new is admitted."""
    log_channel_id: int | None = None
    """Where admins' changes are posted."""


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
    WEIGHT_SET = "weight_set"
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
