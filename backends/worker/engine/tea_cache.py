"""TeaCache's estimate: how far a step's input has moved tells how far its answer will.

The published polynomials (TeaCache4HiDream-I1) turn the relative change of an input into an estimated change of the
answer. Their values lie far apart (on Dev never below 0.618, on Full about 0.2), so that the document's default
distance of 0.5 would skip two steps of three on Full and none on Dev. Here each value counts in units of its own mean
so far in the run: a distance then skips about the same share of steps on every variant, at any number of steps, and
also on weights for which the polynomials were never fitted.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from torch import Tensor, float32

STEPS_PER_DISTANCE: Final = 5.0
"""A distance of 1 is so many average steps. On Full a step's published estimate averages about 0.2: that is what
TeaCache's own figures for it (distance 0.3: half the time; 0.45: 0.38 of it) come to."""


class Signal(Enum):
    """Which of the transformer's inputs is watched."""

    TIMESTEP = auto()
    """The embedded timestep, (batch, width)."""
    PATCHES = auto()
    """The embedded patches of the latents, (batch, tokens, width)."""


@dataclass(frozen=True, slots=True)
class Curve:
    """Estimated change of the answer by relative change of the input."""

    signal: Signal
    coefficients: tuple[float, ...]
    """Highest degree first."""
    trusted: float = float("inf")
    """Changes above this were never fitted; they count as this."""

    def __call__(self, change: float) -> float:
        """The polynomial's value, above 0."""
        value, x = 0.0, min(change, self.trusted)
        for coefficient in self.coefficients:
            value = value * x + coefficient
        return value


_FULL: Final = Curve(
    Signal.TIMESTEP,
    (-3.13605009e4, -712.425503, 49.1363285, 8.2651549, 0.108053901),
    # Where it is highest: beyond, it falls below zero, and a cache that believed it would skip for ever.
    trusted=0.041079,
)
CURVES: Final[Mapping[str, Curve]] = {
    "dev": Curve(Signal.PATCHES, (1.39997273, -4.30130469, 5.01534416, -2.20504164, 0.93942874)),
    "fast": Curve(Signal.PATCHES, (2.26509623, -6.88864563, 7.61123826, -3.10849353, 0.99927602)),
    "full": _FULL,
    # Both editors were trained from Full, and nothing has been published for them.
    "e1": _FULL,
    "e1.1": _FULL,
}
"""By the variant's name."""


class Estimate:
    """Sums up the estimated change since the last computed step. One for each run."""

    def __init__(self, curve: Curve, distance: float) -> None:
        self._curve = curve
        self._limit = distance * STEPS_PER_DISTANCE
        self._before: Tensor | None = None
        self._sum = self._total = 0.0
        self._count = 0

    def see(self, signal: Tensor) -> None:
        """Take in a step's input, of whatever shape; the same in every step."""
        before, self._before = self._before, signal
        if before is None:
            return
        value = self._curve(relative_change(before, signal))
        self._total += value
        self._count += 1
        self._sum += value * self._count / self._total

    @property
    def is_near(self) -> bool:
        """The answer should still be close to the last computed one."""
        return self._sum < self._limit

    def start_over(self) -> None:
        """The step is computed."""
        self._sum = 0.0


def relative_change(before: Tensor, after: Tensor) -> float:
    """The mean absolute difference by the mean absolute value before. Waits for the GPU."""
    difference = (after - before).abs().mean(dtype=float32)
    return float(difference / before.abs().mean(dtype=float32))
