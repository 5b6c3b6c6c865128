"""What every backend is held to, whatever it speaks: the harnesses that ``test_conformance`` runs over.

A new backend joins by adding a harness here.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backends.base import Backend, BackendFailed, BackendUnavailable, Call, Health, HealthState, RequestRefused
from config.catalogue import Offer
from domain.errors import Code, OperatorError
from tests.backends.calls import make_call, offer
from tests.backends.conftest import runware, wavespeed
from tests.doubles import Accept, FakeClock, Paint, ScriptedBackend
from tests.servers.hosted import Fault
from tests.servers.runware import RunwareServer
from tests.servers.wavespeed import WaveSpeedServer


@dataclass
class Harness:
    """One backend with the levers that make it behave in each way. A lever holds for the next call."""

    backend: Backend
    offer: Offer
    submits: Callable[[], int]
    """Calls that reached the place where pictures are made."""
    refuse: Callable[[], Any]
    """The request itself is turned down."""
    vanish: Callable[[], Any]
    """Nobody answers any more, from now on. May return an awaitable."""
    fail_afterwards: Callable[[], Any]
    """The work is accepted and then fails."""
    never_end: Callable[[], Any]
    """The work is accepted and goes on for ever."""
    working: Callable[[], int]
    """Calls that hold something open at our end; 0 where nothing does."""

    def call(self, folder: Path, **request: Any) -> Call:
        """A call that this backend can do, for one picture."""
        return make_call(self.offer, folder, **request)


@asynccontextmanager
async def wavespeed_harness() -> AsyncIterator[Harness]:
    clock = FakeClock()
    async with WaveSpeedServer() as server, wavespeed(server, clock) as backend:
        yield Harness(
            backend=backend,
            offer=offer("wavespeed:hidream-i1-dev"),
            submits=lambda: server.submits,
            refuse=lambda: server.fail("submit", Fault(400, {"message": "no"})),
            vanish=server.stop,
            fail_afterwards=lambda: server.set_plan(statuses=("failed",), error="no"),
            never_end=lambda: server.set_plan(statuses=("processing",)),
            working=lambda: 0,
        )


@asynccontextmanager
async def runware_harness() -> AsyncIterator[Harness]:
    clock = FakeClock()
    async with RunwareServer() as server, runware(server, clock) as backend:
        yield Harness(
            backend=backend,
            offer=offer("runware:hidream-i1-full"),
            submits=lambda: server.submits,
            refuse=lambda: server.fail("submit", Fault(400, {"errors": [{"code": "invalidSteps", "message": "no"}]})),
            vanish=server.stop,
            fail_afterwards=lambda: server.set_plan(failures=(0,)),
            never_end=lambda: server.set_plan(polls=10**9),
            working=lambda: 0,
        )


@asynccontextmanager
async def scripted_harness() -> AsyncIterator[Harness]:
    failure = OperatorError(Code.BACKEND_FAILED, backend="scripted", reason="no")
    double = ScriptedBackend("scripted", script=(Accept(), Paint()), resumes=True)

    def vanish() -> None:
        double.scripts.append([BackendUnavailable(failure)])
        double.health_now = Health(HealthState.DOWN, 1)

    yield Harness(
        backend=double,
        offer=offer("wavespeed:hidream-i1-dev"),
        submits=lambda: len(double.calls),
        refuse=lambda: double.scripts.append([RequestRefused(failure)]),
        vanish=vanish,
        fail_afterwards=lambda: double.scripts.append([Accept(), BackendFailed(failure)]),
        never_end=lambda: double.scripts.append([Accept(), asyncio.Event()]),
        working=lambda: double.running,
    )


HARNESSES: dict[str, Callable[[], AbstractAsyncContextManager[Harness]]] = {
    "wavespeed": wavespeed_harness,
    "runware": runware_harness,
    "scripted": scripted_harness,
}
