"""The backends at hand: how each one is, how many of its slots are taken, and when it wants to be left alone.

A backend may be had at several *places*: each worker is one, with slots, models and pauses of its own. Everything
else is one place, called like its backend.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Final

from backends.base import Backend, CallEnded, Health, HealthState
from backends.breaker import Breaker, BreakerState
from backends.selector import BackendFacts
from domain.errors import Code
from domain.job import Failure
from domain.request import ImageRequest
from jobs.place import Place, facts_of, is_lasting, judge

log = logging.getLogger(__name__)

HEALTH_PATIENCE_SECONDS: Final = 30.0
"""One that does not even say how it is for so long is down."""
HEALTH_SECONDS: Final = 2.0
"""Between two looks at a backend; those that ask a vendor keep the answer for longer themselves."""


class Fleet:
    """Keeps the facts that the selector chooses by."""

    def __init__(self, backends: Mapping[str, Backend], clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._members = {key: Place(backend, Breaker(self._now)) for key, backend in backends.items()}
        self._freed = asyncio.Condition()
        self.on_change: Callable[[], None] = lambda: None
        """Called when a backend may take a call that it could not take before."""

    def backend(self, key: str) -> Backend | None:
        """The backend at that place, or of that name; None where it is not configured (any more)."""
        member = self._members.get(key)
        if member is None:
            member = next((member for member in self._members.values() if member.backend.key == key), None)
        return member.backend if member else None

    def facts(self, model: str | None = None) -> dict[str, BackendFacts]:
        """What the selector needs to know of each backend, over all its places that have the model."""
        places: dict[str, list[Place]] = {}
        for member in self._members.values():
            places.setdefault(member.backend.key, []).append(member)
        return {key: self._together(members, model) for key, members in places.items()}

    def _together(self, members: Sequence[Place], model: str | None) -> BackendFacts:
        now = self._now()
        up = [member for member in members if member.health.state is not HealthState.DOWN and member.serves(model)]
        usable = [member for member in up if member.cooling_until <= now and member.breaker.allows]
        if not up:
            down = [member for member in members if member.health.state is HealthState.DOWN]
            # One that will come back by itself lets the job wait.
            passing = [member for member in down if not is_lasting(member.health)]
            if passing or down:
                return facts_of((passing or down)[0])
            missing = Failure(Code.MODEL_NOT_FOUND, {"model": model or ""})
            return BackendFacts(HealthState.DOWN, slots=0, problem=missing)
        if not usable:
            # One that is merely left alone for a while comes back sooner than one that rests.
            return facts_of(min(up, key=lambda member: (not member.breaker.allows, member.cooling_until)))
        best = min(usable, key=lambda member: member.health.state is HealthState.LOADING)
        return BackendFacts(
            health=best.health.state,
            slots=sum(max(member.slots, member.busy) for member in usable),
            busy=sum(member.busy for member in usable),
            wait_seconds=min(member.wait_seconds(now) for member in usable),
        )

    def busy(self) -> int:
        """Slots that are taken, over all places."""
        return sum(member.busy for member in self._members.values())

    def health(self) -> dict[str, Health]:
        """How each backend was at the last look."""
        return {key: member.health for key, member in self._members.items()}

    def loras(self) -> list[str]:
        """Names of the LoRAs that some place has in its folder, by alphabet."""
        found = {name for member in self._members.values() for name in member.health.loras}
        return sorted(found, key=str.casefold)

    def cool_down(self, key: str, seconds: float, *, rate_limited: bool = False) -> None:
        """Leave a backend alone for a while. ``rate_limited``: it asked for that itself."""
        member = self._members[key]
        until = self._now() + seconds
        if until >= member.cooling_until:
            member.cooling_until = until
            member.rate_limited = rate_limited

    def next_change(self) -> float | None:
        """Seconds until a backend may be asked again; None where none is being left alone."""
        now = self._now()
        ends = [member.cooling_until for member in self._members.values()]
        ends += [end for member in self._members.values() if (end := member.breaker.opens_at) is not None]
        return min((end - now for end in ends if end > now), default=None)

    # The breakers.

    def admit(self, place: str, job_id: str) -> None:
        """A job starts there: where the place is being tried with one, this is the one."""
        self._members[place].breaker.admit(job_id)

    def is_probe(self, place: str, job_id: str) -> bool:
        """Whether the job is the one that the place is being tried with."""
        return self._members[place].breaker.is_probe(job_id)

    def is_suspended(self, place: str) -> bool:
        """Nothing new may be sent there now."""
        return self._members[place].breaker.state in (BreakerState.OPEN, BreakerState.HELD)

    def problem(self, place: str) -> Failure | None:
        """Why nothing is sent there; None where something is."""
        return self._members[place].breaker.problem

    def worked(self, place: str) -> None:
        """A picture came from there."""
        self._told(place, Breaker.succeeded)

    def hung(self, place: str, problem: Failure) -> None:
        """A call there told nothing for its whole deadline."""
        self._told(place, lambda breaker: breaker.failed(problem, hung=True))

    def ended(self, place: str, ended: CallEnded) -> None:
        """A call there ended so: the breaker judges the place by it."""
        self._told(place, lambda breaker: judge(breaker, ended))

    def _told(self, place: str, tell: Callable[[Breaker], None]) -> None:
        breaker = self._members[place].breaker
        before = breaker.state
        tell(breaker)
        if breaker.state is not before:
            problem = breaker.problem
            why = f" ({problem.code.value})" if problem is not None else ""
            log.info("the breaker of %s is %s%s", place, breaker.state.value.replace("_", "-"), why)
            self.on_change()

    def seconds_until_free(self) -> dict[str, list[float]]:
        """For each slot of each backend that is up, the seconds until it is free, as far as can be told."""
        now = self._now()
        slots: dict[str, list[float]] = {}
        for member in self._members.values():
            if member.health.state is HealthState.DOWN or not member.breaker.allows:
                continue
            # What is overdue takes as long again as it is overdue.
            taken = sorted(abs(end - now) for end in member.busy_until.values())
            later = (member.health.loading_seconds or 0.0) + max(0.0, member.cooling_until - now)
            free = max(0, member.health.slots - len(taken))
            slots.setdefault(member.backend.key, []).extend([seconds + later for seconds in taken] + [later] * free)
        return slots

    def seconds_left(self) -> dict[str, float]:
        """Job under way -> the seconds until it is over, as far as can be told."""
        now = self._now()
        return {
            job_id: abs(end - now) for member in self._members.values() for job_id, end in member.busy_until.items()
        }

    def expect(self, key: str, job_id: str, seconds: float) -> None:
        """A job was started that should take so long."""
        self._members[key].busy_until[job_id] = self._now() + seconds

    def forget(self, key: str, job_id: str) -> None:
        """The job is over."""
        self._members[key].busy_until.pop(job_id, None)
        self._members[key].breaker.dismiss(job_id)

    def try_take(self, key: str, request: ImageRequest | None = None) -> str | None:
        """Take a slot of a backend if one is free, and say at which place.

        Of several that are up, the one that has the request's prompt encoded, then one that has its model loaded,
        then the one with the most free slots.
        """
        candidates = self._candidates(key, request)
        if not candidates:
            return None
        prompt, model = (hash(request.prompt), request.model) if request is not None else (None, None)
        place, member = max(
            candidates,
            key=lambda found: (
                found[1].health.state is HealthState.UP,
                prompt in found[1].prompts,
                model is None or found[1].is_warm(model),
                found[1].free,
            ),
        )
        member.busy += 1
        if request is not None:
            member.remember(request)
        return place

    def has_warm_slot(self, key: str, request: ImageRequest) -> bool:
        """A place with a free slot has the request's model in its memory."""
        return any(member.is_warm(request.model) for _, member in self._candidates(key, request))

    def _candidates(self, key: str, request: ImageRequest | None) -> list[tuple[str, Place]]:
        now, model = self._now(), request.model if request is not None else None
        return [
            (place, member)
            for place, member in self._members.items()
            if member.backend.key == key
            and member.free
            and member.serves(model)
            # What goes on with work that a backend has already is not kept waiting.
            and (request is None or (member.cooling_until <= now and member.breaker.allows))
        ]

    async def take(self, key: str) -> str:
        """Take a slot, waiting for one if need be; returns the place."""
        place: str | None = None

        def taken() -> bool:
            nonlocal place
            place = self.try_take(key)
            return place is not None

        async with self._freed:
            await self._freed.wait_for(taken)
        assert place is not None
        return place

    def lost(self, place: str) -> None:
        """A worker died with a call: it is looked at at once, and gets no call before it has answered."""
        member = self._members[place]
        member.health = Health(HealthState.DOWN, slots=0)
        member.prompts.clear()
        member.look_now.set()

    def look_again(self) -> None:
        """Look at every place now instead of at its next turn."""
        for member in self._members.values():
            member.look_now.set()

    def is_elsewhere(self, key: str, place: str, model: str) -> bool:
        """Another place of the backend may take a job of this model now or when a slot is free."""
        now = self._now()
        return any(
            name != place
            and member.backend.key == key
            and member.health.state is not HealthState.DOWN
            and member.serves(model)
            and member.cooling_until <= now
            and member.breaker.allows
            for name, member in self._members.items()
        )

    async def give_back(self, key: str) -> None:
        """Free a slot."""
        self._members[key].busy -= 1
        async with self._freed:
            self._freed.notify_all()
        self.on_change()

    @asynccontextmanager
    async def slot(self, key: str) -> AsyncIterator[None]:
        """Hold a slot for the length of the block."""
        place = await self.take(key)
        try:
            yield
        finally:
            await asyncio.shield(self.give_back(place))

    async def watch(self) -> None:
        """Look at every backend again and again, until cancelled."""
        async with asyncio.TaskGroup() as group:
            for key in self._members:
                group.create_task(self._watch(key), name=f"health of {key}")

    async def _watch(self, key: str) -> None:
        member = self._members[key]
        while True:
            member.look_now.clear()
            try:
                async with asyncio.timeout(HEALTH_PATIENCE_SECONDS):
                    health = await member.backend.health()
            except TimeoutError:
                silent = Failure(Code.BACKEND_UNREACHABLE, {"backend": key, "reason": "no answer in time"})
                health = Health(HealthState.DOWN, slots=0, problem=silent)
            except Exception:
                # The boundary of one backend: whatever broke in it, the others are looked at.
                log.exception("the health of backend %s cannot be told", key)
                health = Health(HealthState.DOWN, slots=0)
            well = health.state is not HealthState.DOWN
            self._told(key, Breaker.found_well if well else Breaker.found_down)
            if health != member.health:
                if health.state is not member.health.state or health.problem != member.health.problem:
                    log.info("backend %s is %s %s", key, health.state.value, _why(health))
                before, member.health = member.health, health
                if (before.version, before.models) != (health.version, health.models):
                    self._compare(key)
                async with self._freed:
                    self._freed.notify_all()
                self.on_change()
            try:
                async with asyncio.timeout(HEALTH_SECONDS):
                    await member.look_now.wait()
            except TimeoutError:
                pass

    def _compare(self, key: str) -> None:
        """Say where this place is unlike the others of its backend."""
        member = self._members[key]
        for name, other in self._members.items():
            if other is member or other.backend.key != member.backend.key:
                continue
            ours, theirs = member.health, other.health
            if ours.version and theirs.version and ours.version != theirs.version:
                log.warning(
                    "%s has engine %s and %s engine %s: the same seed may give other pixels there",
                    key,
                    ours.version,
                    name,
                    theirs.version,
                )
            if ours.models is not None and theirs.models is not None and ours.models != theirs.models:
                log.warning(
                    "%s has other models (%s) than %s (%s): each gets only the jobs that it can do",
                    key,
                    ", ".join(sorted(ours.models)),
                    name,
                    ", ".join(sorted(theirs.models)),
                )

    def _now(self) -> float:
        return self._clock().timestamp()


def _why(health: Health) -> str:
    if health.problem is None:
        return f"({health.detail})" if health.detail else ""
    shown = ", ".join(f"{name}: {value}" for name, value in health.problem.parameters.items())
    return f"({health.problem.code.value}{': ' if shown else ''}{shown})"
