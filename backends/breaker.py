"""Whether a backend is given calls at all: after repeated faults it is left alone, then tried with one call.

(M. Nygard: "Release It!", 2007, the circuit breaker.) It knows nothing of backends: whoever makes calls says how they
ended, and asks before the next.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import assert_never

from domain.job import Failure


class BreakerState(StrEnum):
    """Which calls are let through."""

    CLOSED = "closed"
    """All of them."""
    OPEN = "open"
    """None, until its time is over."""
    HALF_OPEN = "half_open"
    """One, and what becomes of it decides."""
    HELD = "held"
    """None, until the backend says that it is well: an operator has to mend something."""


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How much is borne, and how long a backend is left alone (seconds)."""

    faults: int = 5
    """So many within the window open it; each success makes up for one."""
    window: float = 120.0
    first_rest: float = 15.0
    growth: float = 2.0
    """Each probe that fails makes the next rest so many times longer."""
    longest_rest: float = 300.0


class Breaker:
    """One backend's. ``now`` is any clock, in seconds."""

    def __init__(self, now: Callable[[], float], tolerance: Tolerance | None = None) -> None:
        self._now = now
        self._tolerance = tolerance or Tolerance()
        self._state = BreakerState.CLOSED
        self._faults: deque[float] = deque()
        self._rest = 0.0
        self._until = 0.0
        self._probe: str | None = None
        self._problem: Failure | None = None

    @property
    def state(self) -> BreakerState:
        """Now: an open one becomes half-open when its time is over."""
        if self._state is BreakerState.OPEN and self._now() >= self._until:
            self._state = BreakerState.HALF_OPEN
        return self._state

    @property
    def problem(self) -> Failure | None:
        """The fault that it was opened (or is held) for; None while it is closed."""
        return None if self.state is BreakerState.CLOSED else self._problem

    @property
    def opens_at(self) -> float | None:
        """When an open one lets its probe through, on its clock; None for any other."""
        return self._until if self.state is BreakerState.OPEN else None

    @property
    def allows(self) -> bool:
        """Whether a call may start now."""
        match self.state:
            case BreakerState.CLOSED:
                return True
            case BreakerState.HALF_OPEN:
                return self._probe is None
            case BreakerState.OPEN | BreakerState.HELD:
                return False
            case unknown:
                assert_never(unknown)

    def admit(self, call: str) -> None:
        """A call of this name starts; it must have been allowed."""
        assert self.allows
        if self._state is BreakerState.HALF_OPEN:
            self._probe = call

    def is_probe(self, call: str) -> bool:
        """Whether this call is the one that was let through to see how the backend is."""
        return self.state is BreakerState.HALF_OPEN and self._probe == call

    def dismiss(self, call: str) -> None:
        """The call is over. Where it was the probe and told nothing, another one may be."""
        if self._probe == call:
            self._probe = None

    def succeeded(self) -> None:
        """A call worked."""
        match self.state:
            case BreakerState.CLOSED:
                if self._faults:
                    self._faults.popleft()
            case BreakerState.HALF_OPEN:
                self._close()
            case BreakerState.OPEN | BreakerState.HELD:
                pass  # One that began before: the next probe tells.
            case unknown:
                assert_never(unknown)

    def failed(self, problem: Failure, *, hung: bool = False) -> None:
        """A call failed through the backend's fault. One that ``hung`` for its whole deadline opens it at once."""
        match self.state:
            case BreakerState.CLOSED:
                now = self._now()
                self._faults.append(now)
                while self._faults[0] <= now - self._tolerance.window:
                    self._faults.popleft()
                if hung or len(self._faults) >= self._tolerance.faults:
                    self._open(self._tolerance.first_rest, problem)
            case BreakerState.HALF_OPEN:
                longer = self._rest * self._tolerance.growth
                self._open(min(longer, self._tolerance.longest_rest), problem)
            case BreakerState.OPEN | BreakerState.HELD:
                pass
            case unknown:
                assert_never(unknown)

    def hold(self, problem: Failure, seconds: float) -> None:
        """Only an operator can mend this: no calls for so long, and then until the backend says that it is well."""
        self._state = BreakerState.HELD
        self._until = self._now() + seconds
        self._probe = None
        self._problem = problem

    def found_well(self) -> None:
        """The backend was asked how it is, and says that it is well. Pictures it has yet to show."""
        if self._state is BreakerState.HELD and self._now() >= self._until:
            self._close()

    def found_down(self) -> None:
        """The backend was asked how it is, and is down: no call need be the probe."""
        if self.state is BreakerState.HALF_OPEN and self._probe is None and self._problem is not None:
            self.failed(self._problem)

    def _open(self, rest: float, problem: Failure) -> None:
        self._state = BreakerState.OPEN
        self._rest = rest
        self._until = self._now() + rest
        self._faults.clear()
        self._probe = None
        self._problem = problem

    def _close(self) -> None:
        self._state = BreakerState.CLOSED
        self._faults.clear()
        self._probe = None
        self._problem = None
