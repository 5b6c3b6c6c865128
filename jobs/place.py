"""One place at which a backend can be had, and what the ends of calls say about it."""

import asyncio
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Final

from backends.base import (
    Backend,
    BackendFailed,
    BackendUnavailable,
    CallEnded,
    Health,
    HealthState,
    OutcomeUnknown,
    WorkerDied,
)
from backends.breaker import Breaker, BreakerState
from backends.selector import LASTING_PROBLEMS, BackendFacts
from backends.worker.warmth import PROMPTS_REMEMBERED
from domain.errors import Code
from domain.job import Failure
from domain.request import ImageRequest

HOLDING: Final = frozenset({Code.BACKEND_KEY_REFUSED, Code.BACKEND_OUT_OF_CREDIT})
"""Nothing is sent any more until the backend says that it is well."""
_FAULTS: Final = frozenset({Code.BACKEND_FAILED, Code.BACKEND_ANSWER_INVALID, Code.DEADLINE_PASSED, Code.WORKER_DIED})
"""Ends of accepted work that the backend is to blame for, and not the wish."""


@dataclass(slots=True)
class Place:
    """One place: how it is, and what our calls take of it."""

    backend: Backend
    breaker: Breaker
    health: Health = field(default_factory=lambda: Health(HealthState.DOWN, slots=0))
    busy: int = 0
    cooling_until: float = 0.0
    rate_limited: bool = False
    """It asked itself to be left alone until then."""
    busy_until: dict[str, float] = field(default_factory=dict)
    """Job id -> when it is expected to be over."""
    prompts: OrderedDict[int, None] = field(default_factory=OrderedDict)
    """Hashes of the prompts painted here last, the newest at the end."""
    look_now: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def free(self) -> int:
        """Slots that a call could take."""
        return max(0, self.health.slots - self.busy)

    @property
    def slots(self) -> int:
        """How many calls may be on it: one more than there are while it is tried with one."""
        if self.breaker.state is BreakerState.HALF_OPEN:
            return min(self.health.slots, self.busy + 1)
        return self.health.slots

    def wait_seconds(self, now: float) -> float:
        """Until a slot is free and the model is loaded. What is overdue takes as long again as it is overdue."""
        loading = self.health.loading_seconds or 0.0
        if self.free:
            return loading
        return min((abs(end - now) for end in self.busy_until.values()), default=0.0) + loading

    def serves(self, model: str | None) -> bool:
        """Whether it has the model; one that does not say which it has has all."""
        return model is None or self.health.models is None or model in self.health.models

    def is_warm(self, model: str) -> bool:
        """The model is in its memory, as far as can be told."""
        return self.health.loaded is None or model in self.health.loaded

    def remember(self, request: ImageRequest) -> None:
        """The request's prompt is encoded here."""
        key = hash(request.prompt)
        self.prompts[key] = None
        self.prompts.move_to_end(key)
        if len(self.prompts) > PROMPTS_REMEMBERED:
            self.prompts.popitem(last=False)


def facts_of(place: Place) -> BackendFacts:
    """What the selector needs to know of a place."""
    held = place.breaker.state is BreakerState.HELD
    return BackendFacts(
        # What only an operator can mend is nothing to wait for, however well the place says it is.
        health=HealthState.DOWN if held else place.health.state,
        slots=place.health.slots,
        busy=place.busy,
        cooling_until=place.cooling_until,
        rate_limited=place.rate_limited,
        suspended=not place.breaker.allows,
        suspended_until=place.breaker.opens_at,
        problem=place.breaker.problem if not place.breaker.allows else place.health.problem,
    )


def is_lasting(health: Health) -> bool:
    """Whether only an operator can mend it."""
    return health.problem is not None and health.problem.code in LASTING_PROBLEMS


def judge(breaker: Breaker, ended: CallEnded) -> None:
    """Tell the breaker of a call that ended so."""
    problem = Failure.of(ended.error)
    match ended:
        case BackendUnavailable() if problem.code is Code.BACKEND_RATE_LIMITED:
            pass
        case BackendUnavailable() if problem.code in HOLDING:
            breaker.hold(problem, ended.retry_after)
        case BackendUnavailable() | WorkerDied():
            breaker.failed(problem)
        case OutcomeUnknown() | BackendFailed() if problem.code is Code.DEADLINE_PASSED:
            breaker.failed(problem, hung=True)
        case OutcomeUnknown():
            breaker.failed(problem)
        case BackendFailed() if problem.code in _FAULTS:
            breaker.failed(problem)
        case _:
            pass  # The wish was at fault.
