"""Discord's ids: 42 bits of milliseconds since 2015, then a counter."""

from __future__ import annotations

import random

from sandbox.clock import Clock

DISCORD_EPOCH_MS = 1_420_070_400_000
FOUNDING_MS = 1_704_067_200_000  # 2024-01-01; where the ids of a world's furniture start


class Snowflakes:
    """Hands out ids that only grow."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._last = 0
        self._founded = 0
        self._steps = random.Random(FOUNDING_MS)  # noqa: S311 -- no secret, only uneven

    def next(self) -> int:
        """An id made now: of a message, an interaction, an attachment."""
        now = (int(self._clock.time() * 1000) - DISCORD_EPOCH_MS) << 22
        self._last = max(self._last + 1, now)
        return self._last

    def founding(self) -> int:
        """An id from the past, the same in every run: of users, guilds, roles and channels of the set world.

        They lie unevenly some milliseconds apart, so that guilds spread over shards; and a bot that kept its
        data finds the same people when the sandbox is started again.
        """
        self._founded += self._steps.randint(1, 9)
        return (FOUNDING_MS - DISCORD_EPOCH_MS + self._founded) << 22


def created_at(snowflake: int) -> float:
    """Unix time in seconds at which the id was made."""
    return ((snowflake >> 22) + DISCORD_EPOCH_MS) / 1000
