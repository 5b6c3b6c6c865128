"""The backends at hand: how each one is, how many of its slots are taken, and when it wants to be left alone."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from backends.base import Backend, Health, HealthState
from backends.selector import BackendFacts

log = logging.getLogger(__name__)

HEALTH_SECONDS: Final = 2.0
"""Between two looks at a backend; those that ask a vendor keep the answer for longer themselves."""


@dataclass(slots=True)
class _Member:
    backend: Backend
    health: Health = field(default_factory=lambda: Health(HealthState.DOWN, slots=0))
    busy: int = 0
    cooling_until: float = 0.0
    busy_until: dict[str, float] = field(default_factory=dict)
    """Job id -> when it is expected to be over."""


class Fleet:
    """Keeps the facts that the selector chooses by."""

    def __init__(self, backends: Mapping[str, Backend], clock: Callable[[], datetime]) -> None:
        self._members = {key: _Member(backend) for key, backend in backends.items()}
        self._clock = clock
        self._freed = asyncio.Condition()
        self.on_change: Callable[[], None] = lambda: None
        """Called when a backend may take a call that it could not take before."""

    def backend(self, key: str) -> Backend | None:
        """The backend of that name; None where it is not configured (any more)."""
        member = self._members.get(key)
        return member.backend if member else None

    def facts(self) -> dict[str, BackendFacts]:
        """What the selector needs to know of each."""
        return {
            key: BackendFacts(
                health=member.health.state,
                slots=member.health.slots,
                busy=member.busy,
                cooling_until=member.cooling_until,
                problem=member.health.problem,
            )
            for key, member in self._members.items()
        }

    def health(self) -> dict[str, Health]:
        """How each backend was at the last look."""
        return {key: member.health for key, member in self._members.items()}

    def cool_down(self, key: str, seconds: float) -> None:
        """Leave a backend alone for a while."""
        member = self._members[key]
        member.cooling_until = max(member.cooling_until, self._now() + seconds)

    def next_change(self) -> float | None:
        """Seconds until a backend may be asked again; None where none is being left alone."""
        now = self._now()
        pauses = [member.cooling_until - now for member in self._members.values() if member.cooling_until > now]
        return min(pauses, default=None)

    def seconds_until_free(self) -> list[float]:
        """For each slot, the seconds until it is free, as far as can be told."""
        now = self._now()
        slots: list[float] = []
        for member in self._members.values():
            taken = sorted(max(0.0, end - now) for end in member.busy_until.values())
            loading = member.health.loading_seconds or 0.0
            free = max(0, member.health.slots - len(taken))
            slots += [seconds + loading for seconds in taken] + [loading] * free
        return slots

    def expect(self, key: str, job_id: str, seconds: float) -> None:
        """A job was started that should take so long."""
        self._members[key].busy_until[job_id] = self._now() + seconds

    def forget(self, key: str, job_id: str) -> None:
        """The job is over."""
        self._members[key].busy_until.pop(job_id, None)

    def try_take(self, key: str) -> bool:
        """Take a slot if one is free."""
        member = self._members[key]
        if member.busy >= member.health.slots:
            return False
        member.busy += 1
        return True

    async def take(self, key: str) -> None:
        """Take a slot, waiting for one if need be."""
        async with self._freed:
            await self._freed.wait_for(lambda: self.try_take(key))

    async def give_back(self, key: str) -> None:
        """Free a slot."""
        self._members[key].busy -= 1
        async with self._freed:
            self._freed.notify_all()
        self.on_change()

    @asynccontextmanager
    async def slot(self, key: str) -> AsyncIterator[None]:
        """Hold a slot for the length of the block."""
        await self.take(key)
        try:
            yield
        finally:
            await asyncio.shield(self.give_back(key))

    async def watch(self) -> None:
        """Look at every backend again and again, until cancelled."""
        async with asyncio.TaskGroup() as group:
            for key in self._members:
                group.create_task(self._watch(key), name=f"health of {key}")

    async def _watch(self, key: str) -> None:
        member = self._members[key]
        while True:
            try:
                health = await member.backend.health()
            except Exception:
                # The boundary of one backend: whatever broke in it, the others are looked at.
                log.exception("the health of backend %s cannot be told", key)
                health = Health(HealthState.DOWN, slots=0)
            if health != member.health:
                if health.state is not member.health.state or health.problem != member.health.problem:
                    log.info("backend %s is %s %s", key, health.state.value, _why(health))
                member.health = health
                async with self._freed:
                    self._freed.notify_all()
                self.on_change()
            await asyncio.sleep(HEALTH_SECONDS)

    def _now(self) -> float:
        return self._clock().timestamp()


def _why(health: Health) -> str:
    if health.problem is None:
        return f"({health.detail})" if health.detail else ""
    shown = ", ".join(f"{name}: {value}" for name, value in health.problem.parameters.items())
    return f"({health.problem.code.value}{': ' if shown else ''}{shown})"
