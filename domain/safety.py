"""What is blocked, who is banned, and what was reported."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

EVERYWHERE: Final = 0
"""Stands for all guilds, in a ban by the operator."""
MAX_REASON: Final = 300
"""Characters of the reason of a ban or a report."""


class BlockKind(StrEnum):
    """How a blocked text is read."""

    WORD = "word"
    """A word or a phrase, however it is written; with ``*`` at its end: with any ending."""
    PATTERN = "pattern"
    """A regular expression in RE2's syntax (https://github.com/google/re2/wiki/Syntax)."""


@dataclass(frozen=True, slots=True)
class Blocked:
    """What a guild's admins block, besides what is blocked everywhere."""

    words: tuple[str, ...] = ()
    patterns: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Ban:
    """A person who may not use the bot."""

    user_id: int
    guild_id: int
    """Where; ``EVERYWHERE`` for a ban by the operator."""
    reason: str
    """For admins; empty where none was given."""
    author_id: int
    """Who banned; 0: the operator."""


@dataclass(frozen=True, slots=True)
class Report:
    """A picture that somebody finds wrong."""

    at: int
    """Milliseconds since the epoch."""
    job_id: str
    guild_id: int
    reporter_id: int
    reason: str
