"""What every backend is held to, whatever it speaks: the harnesses that ``test_conformance`` runs over.

A new backend joins by adding a harness here.
"""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from PIL import Image

from backends.base import Backend, BackendFailed, BackendUnavailable, Call, Health, HealthState, RequestRefused
from backends.worker.client import WorkerBackend
from backends.worker.engine.interface import Painted, Watch
from backends.worker.protocol import HealthBody, JobBody
from backends.worker.service import create_app
from backends.worker.variants import local_imagine_model
from config.catalogue import Offer
from domain.errors import Code, EaselError, OperatorError, UserError
from tests.backends.calls import make_call, offer
from tests.backends.conftest import comfyui, openai, runware, wavespeed
from tests.doubles import Accept, FakeClock, Paint, ScriptedBackend
from tests.servers.comfyui import ComfyUIServer
from tests.servers.hosted import Fault
from tests.servers.openai_images import OpenAIImagesServer
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
    settled: Callable[[], Awaitable[None]]
    """Waits until nothing is being worked on any more that a closed call started."""

    def call(self, folder: Path, **request: Any) -> Call:
        """A call that this backend can do, for one picture."""
        return make_call(self.offer, folder, **request)


async def _nothing_to_settle() -> None:
    """A vendor's work goes on without us."""


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
            settled=_nothing_to_settle,
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
            settled=_nothing_to_settle,
        )


@asynccontextmanager
async def comfyui_harness() -> AsyncIterator[Harness]:
    clock = FakeClock()
    async with ComfyUIServer() as server, comfyui(server, clock) as backend:
        yield Harness(
            backend=backend,
            offer=offer("comfyui:hidream-i1-dev"),
            submits=lambda: server.submits,
            refuse=lambda: server.fail("submit", Fault(400, {"error": {"message": "no"}, "node_errors": {}})),
            vanish=server.stop,
            fail_afterwards=lambda: server.set_plan(error="no"),
            never_end=lambda: server.set_plan(looks=10**9),
            settled=_nothing_to_settle,
        )


@asynccontextmanager
async def openai_harness() -> AsyncIterator[Harness]:
    clock = FakeClock()
    async with OpenAIImagesServer() as server, openai(server, clock) as backend:
        yield Harness(
            backend=backend,
            offer=offer("openai:hidream-i1-dev"),
            submits=lambda: server.submits,
            refuse=lambda: server.fail("submit", Fault(400, {"error": {"message": "no"}})),
            vanish=server.stop,
            fail_afterwards=lambda: server.fail("submit", Fault(500, {"error": {"message": "no"}})),
            never_end=lambda: server.fail("submit", Fault(silent=True, accepted=True)),
            settled=_nothing_to_settle,
        )


@asynccontextmanager
async def scripted_harness() -> AsyncIterator[Harness]:
    failure = OperatorError(Code.BACKEND_FAILED, backend="scripted", reason="no")
    double = ScriptedBackend("scripted", script=(Accept(), Paint()), resumes=True)

    def vanish() -> None:
        double.scripts.append([BackendUnavailable(failure)])
        double.health_now = Health(HealthState.DOWN, 1)

    async def settled() -> None:
        assert double.running == 0

    yield Harness(
        backend=double,
        offer=offer("wavespeed:hidream-i1-dev"),
        submits=lambda: len(double.calls),
        refuse=lambda: double.scripts.append([RequestRefused(failure)]),
        vanish=vanish,
        fail_afterwards=lambda: double.scripts.append([Accept(), BackendFailed(failure)]),
        never_end=lambda: double.scripts.append([Accept(), asyncio.Event()]),
        settled=settled,
    )


class _StubEngine:
    """Stands for the GPU behind the real service; ``script`` is what the next job comes to."""

    device = "stub"
    models = (local_imagine_model("tiny"),)
    loaded = frozenset({"tiny"})
    problems: Mapping[str, EaselError] = {}

    def __init__(self) -> None:
        self.made = 0
        self.script: EaselError | str = "paint"

    def load(self) -> None:
        """There is nothing to load."""

    def make(self, body: JobBody, source: Image.Image | None, watch: Watch) -> Painted:
        self.made += 1
        script, self.script = self.script, "paint"
        if isinstance(script, EaselError):
            raise script
        for step in count(1) if script == "for ever" else range(1, 3):
            watch.step(step, step + 1)
            time.sleep(0.001)
        return Painted(Image.new("RGB", (128, 128), (body.seed % 256, 0, 0)), 0.1)


@asynccontextmanager
async def worker_harness() -> AsyncIterator[Harness]:
    engine = _StubEngine()
    app = create_app(lambda: engine, engine.models)
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="on", timeout_graceful_shutdown=1))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        url = "http://{}:{}".format(*listener.getsockname())
        backend = WorkerBackend.at_url(url, None)

        async def vanish() -> None:
            server.should_exit = True
            await serving

        async def settled() -> None:
            async with asyncio.timeout(60), httpx.AsyncClient() as client:
                while True:
                    health = HealthBody.model_validate_json((await client.get(f"{url}/health")).content)
                    if health.busy == health.waiting == 0:
                        return
                    await asyncio.sleep(0.001)

        def script(what: EaselError | str) -> None:
            engine.script = what

        while (await backend.health()).state is HealthState.LOADING:
            await asyncio.sleep(0)
        yield Harness(
            backend=backend,
            offer=offer("worker:tiny"),
            submits=lambda: engine.made,
            refuse=lambda: script(UserError(Code.OPTION_MALFORMED, option="prompt", value="", expected="a picture")),
            vanish=vanish,
            fail_afterwards=lambda: script(OperatorError(Code.OUT_OF_MEMORY)),
            never_end=lambda: script("for ever"),
            settled=settled,
        )
        await backend.aclose()
        await vanish()


HARNESSES: dict[str, Callable[[], AbstractAsyncContextManager[Harness]]] = {
    "wavespeed": wavespeed_harness,
    "runware": runware_harness,
    "comfyui": comfyui_harness,
    "openai": openai_harness,
    "worker": worker_harness,
    "scripted": scripted_harness,
}

RESUMING = [name for name in HARNESSES if name not in ("worker", "openai")]
"""Those whose accepted calls outlive us."""
