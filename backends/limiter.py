"""How a backend is left alone after it asked for it, and how its answers to "how are you" are kept for a while."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass

from backends.base import Health, HealthState
from backends.clock import Clock


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds between polls: ``first``, then growing by the factor ``growth`` up to ``longest``.

    WaveSpeedAI asks for at least 2 s and a growing interval, Runware for 1 to 2 s with backoff.
    """

    first: float = 2.0
    growth: float = 1.3
    longest: float = 10.0

    def delays(self) -> Iterator[float]:
        """Without end."""
        delay = self.first
        while True:
            yield delay
            delay = min(self.longest, delay * self.growth)


class Pause:
    """One account's rate limit, learned from 429s: all calls of a backend share it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._until = clock.now()

    def extend(self, seconds: float) -> None:
        """Leave the backend alone for at least so long from now."""
        self._until = max(self._until, self._clock.now() + seconds)

    @property
    def remaining(self) -> float:
        """Seconds that are left of it; 0 where calls may be made."""
        return max(0.0, self._until - self._clock.now())


class KeptHealth:
    """Asks at most once in ``up_seconds`` (``down_seconds`` after bad news), however many want to know."""

    def __init__(
        self,
        probe: Callable[[], Awaitable[Health]],
        clock: Clock,
        up_seconds: float = 60,
        down_seconds: float = 10,
    ) -> None:
        self._probe = probe
        self._clock = clock
        self._up_seconds = up_seconds
        self._down_seconds = down_seconds
        self._lock = asyncio.Lock()
        self._known: Health | None = None
        self._until = 0.0

    async def get(self) -> Health:
        """What is known, asked again where that is too old."""
        async with self._lock:
            if self._known is None or self._clock.now() >= self._until:
                health = await self._probe()
                self.put(health, self._down_seconds if health.state is HealthState.DOWN else self._up_seconds)
                return health
            return self._known

    def put(self, health: Health, seconds: float) -> None:
        """What a call found out: holds for so long without asking."""
        self._known = health
        self._until = self._clock.now() + seconds
