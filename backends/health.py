"""How backends are: their answers are kept for a while."""

import asyncio
from collections.abc import Awaitable, Callable

from backends.base import BackendUnavailable, Health, HealthState
from backends.clock import Clock
from domain.errors import EaselError
from domain.job import Failure


def down(problem: EaselError, slots: int) -> Health:
    """No call goes to it, for this reason."""
    return Health(HealthState.DOWN, slots, problem=Failure.of(problem))


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
                self._put(health, self._down_seconds if health.state is HealthState.DOWN else self._up_seconds)
                return health
            return self._known

    def turned_down(self, ended: BackendUnavailable, slots: int) -> None:
        """What a call found out: holds without asking for as long as the backend is to be left alone."""
        self._put(down(ended.error, slots), ended.retry_after)

    def _put(self, health: Health, seconds: float) -> None:
        self._known = health
        self._until = self._clock.now() + seconds
