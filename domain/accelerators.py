"""Reuse of computations between denoising steps, in the words of Runware's ``acceleratorOptions``.

Names, ranges, defaults and mutual constraints are those of "HiDream-I1 Full" in Runware's documents. The same words go
to Runware as they are and steer Easel's own GPU worker.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt, model_validator
from pydantic.alias_generators import to_camel

from domain.errors import Code, UserError

THRESHOLD = 0.25
"""Default of ``fbCacheThreshold`` and ``dbCacheThreshold``."""
DISTANCE = 0.5
"""Default of ``teaCacheDistance``."""
SKIP_INTERVAL = 5
"""Default of ``dbCacheSkipInterval``."""
MAX_CONSECUTIVE = 3
"""Default of ``cacheMaxConsecutiveSteps``."""
LEAST_STEPS = 2
"""Of a run with a cache: the first step is always computed, so that one alone can reuse nothing."""


class CacheKind(StrEnum):
    """What decides whether a step may be skipped. The words are the options that switch it on."""

    FIRST_BLOCK = "fbCache"
    """How much the first block changes its input, compared with the last computed step."""
    TEA = "teaCache"
    """How far the model's input has moved since the last computed step."""
    DUAL_BLOCK = "dbCache"
    """As the first, after more blocks: dearer and better informed."""


@dataclass(frozen=True, slots=True)
class StepCache:
    """One cache for a run of known length: defaults filled in, percentages turned into steps."""

    kind: CacheKind
    threshold: float
    """0..1: skip while the change is below it; 0 never skips."""
    start: int
    """The first step, counted from 0, that may be skipped."""
    end: int
    """The first step after ``start`` that may no longer be skipped."""
    max_consecutive: int
    """So many steps may be skipped in a row (1..5)."""
    skip_interval: int | None = None
    """dbCache: so many steps lie at most between two that are computed whatever the change is."""


_Number = TypeVar("_Number", int, float)
_Threshold = Annotated[float, Field(ge=0, le=1, multiple_of=0.01, strict=True)]


class AcceleratorOptions(BaseModel):
    """All twelve options; ``None`` is the document's default. By the algorithms a lower threshold reuses less."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", alias_generator=to_camel, validate_by_name=False, serialize_by_alias=True
    )

    cache_start_step: Annotated[StrictInt, Field(ge=0)] | None = None
    cache_end_step: Annotated[StrictInt, Field(ge=1)] | None = None
    cache_start_step_percentage: Annotated[StrictInt, Field(ge=0, le=99)] | None = None
    cache_end_step_percentage: Annotated[StrictInt, Field(ge=1, le=100)] | None = None
    cache_max_consecutive_steps: Annotated[StrictInt, Field(ge=1, le=5)] | None = None
    fb_cache: StrictBool = False
    fb_cache_threshold: _Threshold | None = None
    tea_cache: StrictBool = False
    tea_cache_distance: _Threshold | None = None
    db_cache: StrictBool = False
    db_cache_threshold: _Threshold | None = None
    db_cache_skip_interval: Annotated[StrictInt, Field(ge=1)] | None = None

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        steps = {"cacheStartStep": self.cache_start_step, "cacheEndStep": self.cache_end_step}
        percentages = {
            "cacheStartStepPercentage": self.cache_start_step_percentage,
            "cacheEndStepPercentage": self.cache_end_step_percentage,
        }
        absolute = [name for name, value in steps.items() if value is not None]
        relative = [name for name, value in percentages.items() if value is not None]
        if absolute and relative:
            raise ValueError(f"{absolute[0]} and {relative[0]} exclude each other: steps or percentages, not both")
        for window in (steps, percentages):
            (first, start), (last, end) = window.items()
            if start is not None and end is not None and start >= end:
                raise ValueError(f"{last} ({end}) must be greater than {first} ({start})")
        for on, name, values in (
            (self.fb_cache, "fbCache", {"fbCacheThreshold": self.fb_cache_threshold}),
            (self.tea_cache, "teaCache", {"teaCacheDistance": self.tea_cache_distance}),
            (
                self.db_cache,
                "dbCache",
                {"dbCacheThreshold": self.db_cache_threshold, "dbCacheSkipInterval": self.db_cache_skip_interval},
            ),
        ):
            for setting, value in values.items():
                if not on and value is not None:
                    raise ValueError(f"{setting} is set and {name} is not on")
        return self

    @property
    def kinds(self) -> tuple[CacheKind, ...]:
        """The caches that are on. The document forbids none beside another; Easel's worker runs one at a time."""
        on = {
            CacheKind.FIRST_BLOCK: self.fb_cache,
            CacheKind.TEA: self.tea_cache,
            CacheKind.DUAL_BLOCK: self.db_cache,
        }
        return tuple(kind for kind, is_on in on.items() if is_on)

    def problem_for_worker(self) -> str | None:
        """One line that says why the worker refuses these options for any number of steps; None where it does not."""
        if len(self.kinds) > 1:
            return f"{' and '.join(self.kinds)} exclude each other: one cache at a time"
        idle = [field for field, value in self if value is not None and value is not False]
        if not self.kinds and idle:
            return f"{self._alias(idle[0])} is set and no cache is on"
        return None

    def check_steps(self, steps: int) -> None:
        """Whether they hold for a run of so many steps. Raises UserError (STEPS_TOO_FEW) that names the option."""
        for field, value, least in (
            ("cache_start_step", self.cache_start_step, 1),
            ("cache_end_step", self.cache_end_step, 0),
        ):
            if value is not None and value + least > steps:
                raise _too_few(f"{self._alias(field)} {value}", steps, value + least)
        if self.kinds and steps < LEAST_STEPS:
            raise _too_few(self.kinds[0].value, steps, LEAST_STEPS)

    def step_cache(self, steps: int) -> StepCache | None:
        """What the worker does in a run of so many steps; None where no cache is on.

        The options have to be free of ``problem_for_worker``. Raises UserError (STEPS_TOO_FEW) that names the option.
        """
        self.check_steps(steps)
        if not self.kinds:
            return None
        (kind,) = self.kinds
        threshold = {
            CacheKind.FIRST_BLOCK: _or(self.fb_cache_threshold, THRESHOLD),
            CacheKind.TEA: _or(self.tea_cache_distance, DISTANCE),
            CacheKind.DUAL_BLOCK: _or(self.db_cache_threshold, THRESHOLD),
        }[kind]
        return StepCache(
            kind,
            threshold,
            start=_step(self.cache_start_step, self.cache_start_step_percentage, steps, 0),
            end=_step(self.cache_end_step, self.cache_end_step_percentage, steps, steps),
            max_consecutive=_or(self.cache_max_consecutive_steps, MAX_CONSECUTIVE),
            skip_interval=_or(self.db_cache_skip_interval, SKIP_INTERVAL) if kind is CacheKind.DUAL_BLOCK else None,
        )

    def _alias(self, field: str) -> str:
        return type(self).model_fields[field].alias or field


def _or(value: _Number | None, default: _Number) -> _Number:
    return default if value is None else value


def _step(step: int | None, percentage: int | None, steps: int, default: int) -> int:
    if percentage is not None:
        return steps * percentage // 100
    return default if step is None else step


def _too_few(option: str, steps: int, minimum: int) -> UserError:
    return UserError(Code.STEPS_TOO_FEW, option=option, steps=steps, minimum=minimum)
