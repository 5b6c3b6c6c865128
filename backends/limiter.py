"""How fast a backend is asked."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from backends.clock import Clock

REST_SECONDS: Final = 10.0
"""How long to wait after a 429 that does not say."""
RATE_STEP: Final = 0.02
"""Submits a second by which the rate grows with each that is taken: from one in six seconds (WaveSpeedAI's lowest
account level) to twice that in about a minute."""
LOWEST_RATE: Final = 1 / 60
HIGHEST_RATE: Final = 50.0
"""Above it nothing is held back any more."""
_MEASURED_SECONDS: Final = 60.0
_REMEMBERED_SUBMITS: Final = 1000


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


class RateLimit:
    """One account's rate limit, learned from 429s: all calls of a backend share it.

    Additive increase, multiplicative decrease (D.-M. Chiu, R. Jain, 1989): a 429 that does not say when to come back
    halves the rate of submits, each submit that is taken raises it a little. One that says so is obeyed to the second,
    and tells nothing of a rate. Before the first 429 nothing is held back.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._rested_until = clock.now()
        self._next_at = clock.now()
        self._rate: float | None = None
        self._sent: deque[float] = deque(maxlen=_REMEMBERED_SUBMITS)

    @property
    def rest(self) -> float:
        """Seconds for which nothing at all may be asked; 0 where calls may be made."""
        return max(0.0, self._rested_until - self._clock.now())

    @property
    def rate(self) -> float | None:
        """Submits a second that are let through; None: all."""
        return self._rate

    @property
    def wait(self) -> float:
        """Seconds until the next submit may be sent."""
        return max(self.rest, self._next_at - self._clock.now() if self._rate is not None else 0.0, 0.0)

    def sent(self) -> None:
        """A submit is sent now."""
        now = self._clock.now()
        self._sent.append(now)
        if self._rate is not None:
            self._next_at = now + 1 / self._rate

    def taken(self) -> None:
        """A submit was taken."""
        if self._rate is not None:
            self._rate += RATE_STEP
            if self._rate > HIGHEST_RATE:
                self._rate = None

    def refused(self, retry_after: float | None) -> float:
        """A 429 came; returns the seconds for which it asks to be left alone."""
        rest = REST_SECONDS if retry_after is None else max(1.0, retry_after)
        # Those that come while it is left alone already were sent before: one burst is one mistake.
        if retry_after is None and self.rest == 0:
            self._rate = max(LOWEST_RATE, (self._rate or self._measured()) / 2)
        self._rested_until = max(self._rested_until, self._clock.now() + rest)
        return rest

    def _measured(self) -> float:
        """Submits a second in the last minute, from its first to now."""
        now = self._clock.now()
        recent = [at for at in self._sent if at > now - _MEASURED_SECONDS]
        return len(recent) / max(1.0, now - recent[0]) if recent else LOWEST_RATE
